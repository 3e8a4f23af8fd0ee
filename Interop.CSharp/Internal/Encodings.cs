using Microsoft.FSharp.Core;

namespace Hybrid.WebRtc;

/// <summary>What W3C checks and fills in of a sender's encodings, and how parameters compare.</summary>
internal static class Encodings
{
    /// <summary>RFC 8851 §4 has 1*(ALPHA / DIGIT / "-" / "_"), RFC 8852 §3.1 takes the last two away; header extensions carry 16 octets.</summary>
    private const int LongestRid = 16;

    /// <summary>As <c>addTransceiver</c> checks and normalises them, W3C WebRTC 1.0 §5.1.</summary>
    /// <exception cref="RTCException">
    /// <c>TypeError</c>: rids are not such, not all there, or not unique. <c>RangeError</c>: a scale below 1, a negative frame rate.
    /// <c>OperationError</c>: a codec is not among the capabilities.
    /// </exception>
    public static Core.EncodingParameters[] ToInit(
        IReadOnlyList<RTCRtpEncodingParameters> encodings,
        MediaKind kind,
        RTCMediaCapabilities capabilities
    )
    {
        if (encodings.Count == 0)
            return [Core(new(), kind, ScaleOf(kind, 1))];

        foreach (var encoding in encodings)
        {
            if (encoding.Rid is { } rid && (rid.Length is 0 or > LongestRid || !rid.All(char.IsAsciiLetterOrDigit)))
                throw Mistakes.Type($"\"{rid}\" is not a rid: from 1 to {LongestRid} letters and digits, RFC 8852.");
            if (encoding.Codec is { } codec && !capabilities.Has(kind, codec))
                throw Mistakes.Operation(
                    $"{codec.MimeType} with \"{codec.SdpFmtpLine}\" is not among the capabilities."
                );
        }

        var rids = encodings.Select(each => each.Rid).Where(rid => rid is not null).ToArray();
        if (encodings.Count > 1 && rids.Length != encodings.Count)
            throw Mistakes.Type("Of several encodings each has a rid.");
        if (rids.Distinct().Count() != rids.Length)
            throw Mistakes.Type("Two encodings have the same rid.");

        // W3C: sound has one encoding, and one encoding has no rid.
        var kept = kind == MediaKind.Audio ? encodings.Take(1).ToArray() : [.. encodings];
        var isScaled = Array.Exists(kept, each => each.ScaleResolutionDownBy is not null);
        return
        [
            .. kept.Select(
                (each, i) =>
                    Core(
                        kept.Length == 1 ? each with { Rid = null } : each,
                        kind,
                        ScaleOf(kind, isScaled ? 1 : Math.Pow(2, kept.Length - 1 - i))
                    )
            ),
        ];
    }

    /// <summary>As <c>setParameters</c> takes them, W3C §5.2.</summary>
    /// <exception cref="RTCException"><c>RangeError</c>: a scale below 1, a negative frame rate.</exception>
    public static Core.EncodingParameters[] ToCore(IReadOnlyList<RTCRtpEncodingParameters> encodings, MediaKind kind) =>
        [.. encodings.Select(each => Core(each, kind, ScaleOf(kind, 1)))];

    /// <summary>Whether two are the same but for transaction and encodings.</summary>
    public static bool AreSame(RTCRtpParameters a, RTCRtpParameters b) =>
        a.Rtcp == b.Rtcp
        && a.HeaderExtensions.SequenceEqual(b.HeaderExtensions)
        && a.Codecs.Count == b.Codecs.Count
        && a.Codecs.Zip(b.Codecs)
            .All(static pair =>
                pair.First with { RtcpFeedback = [] } == pair.Second with { RtcpFeedback = [] }
                && pair.First.RtcpFeedback.SequenceEqual(pair.Second.RtcpFeedback)
            );

    private static double? ScaleOf(MediaKind kind, double scale) => kind == MediaKind.Video ? scale : null;

    private static Core.EncodingParameters Core(RTCRtpEncodingParameters each, MediaKind kind, double? scale)
    {
        if (each.ScaleResolutionDownBy is { } by && !(by >= 1))
            throw Mistakes.Range("ScaleResolutionDownBy is 1 at least.");
        if (each.MaxFramerate is { } rate && !(rate >= 0))
            throw Mistakes.Range("MaxFramerate is not negative.");
        if (each.MaxBitrate < 0)
            throw Mistakes.Range("MaxBitrate is not negative.");
        if (!Enum.IsDefined(each.Priority))
            throw Mistakes.Type("Priority is one of RTCPriorityType's values.");

        // Sound has neither, W3C §5.1 and §5.2.
        var isVideo = kind == MediaKind.Video;
        return new(
            each.Rid ?? "",
            each.Active,
            each.Codec is { } codec
                ? FSharpValueOption<Core.RtpCodec>.NewValueSome(codec.ToCore())
                : FSharpValueOption<Core.RtpCodec>.None,
            Value(each.MaxBitrate),
            Value(isVideo ? each.MaxFramerate : null),
            Value(isVideo ? each.ScaleResolutionDownBy ?? scale : null),
            (Core.Priority)each.Priority,
            each.ScalabilityMode.ToCore()
        );
    }

    private static FSharpValueOption<T> Value<T>(T? value)
        where T : struct => value is { } there ? FSharpValueOption<T>.NewValueSome(there) : FSharpValueOption<T>.None;
}
