namespace Hybrid.WebRtc;

/// <summary>
/// What may be negotiated about media, in order of preference. Immutable: <see cref="Default"/> is what browsers have, and the
/// <c>With…</c> methods answer changed ones. Given by <see cref="WebRtcOptions.Media"/>.
/// </summary>
/// <example>
/// VP8 and Opus only, and no bandwidth extension:
/// <code>
/// new WebRtcOptions
/// {
///     Media = RTCMediaCapabilities.Default
///         .WithOnly(MediaKind.Video, "video/VP8")
///         .WithOnly(MediaKind.Audio, "audio/opus"),
/// }
/// </code>
/// </example>
public sealed class RTCMediaCapabilities
{
    private RTCMediaCapabilities(Core.MediaCapabilities core) => Inner = core;

    /// <summary>What browsers have, in their order.</summary>
    public static RTCMediaCapabilities Default { get; } = new(Core.Capabilities.Default);

    /// <summary>Nothing: every media section is turned down. A beginning for <see cref="WithCodec"/>.</summary>
    public static RTCMediaCapabilities None { get; } = new(Core.Capabilities.None);

    internal Core.MediaCapabilities Inner { get; }

    /// <summary>Codecs and header extensions of a kind.</summary>
    public RTCRtpCapabilities Of(MediaKind kind) =>
        new()
        {
            Codecs = [.. Core.Capabilities.Codecs((Core.MediaKind)kind, Inner).Select(each => each.ToW3C())],
            HeaderExtensions =
            [
                .. Core.Capabilities.HeaderExtensions((Core.MediaKind)kind, Inner).Select(each => each.ToW3C()),
            ],
        };

    /// <summary>One codec more, behind the others; one that is there already takes these particulars in its place.</summary>
    /// <param name="kind">Sound or picture.</param>
    /// <param name="codec">Its name, clock rate, channels and format parameters.</param>
    /// <param name="payloadType">Offered where it is free; null: any dynamic one.</param>
    /// <param name="feedback">Of <c>a=rtcp-fb</c>: <c>nack</c>, <c>nack pli</c>…; null: that of the first codec of the kind.</param>
    /// <param name="retransmission">Whether an RTX payload type goes with it, RFC 4588; null: of video.</param>
    public RTCMediaCapabilities WithCodec(
        MediaKind kind,
        RTCRtpCodec codec,
        int? payloadType = null,
        IReadOnlyList<string>? feedback = null,
        bool? retransmission = null
    )
    {
        ArgumentNullException.ThrowIfNull(codec);
        if (payloadType is < 0 or > 127)
            throw new ArgumentOutOfRangeException(nameof(payloadType), payloadType, "A payload type is from 0 to 127.");

        var all = Codecs(kind);
        var core = codec.ToCore();
        var added = new Core.CodecCapability(
            core,
            payloadType is { } number
                ? Microsoft.FSharp.Core.FSharpValueOption<int>.NewValueSome(number)
                : Microsoft.FSharp.Core.FSharpValueOption<int>.None,
            feedback is not null ? [.. feedback]
                : all is [var first, ..] ? first.Feedback
                : [],
            retransmission ?? kind == MediaKind.Video
        );
        var at = Array.FindIndex(all, each => Core.RtpCodecs.AreSame(each.Codec, core));
        return With(kind, at < 0 ? [.. all, added] : [.. all[..at], added, .. all[(at + 1)..]]);
    }

    /// <summary>Only codecs of these names, in the order of the names; retransmission goes with them.</summary>
    /// <param name="kind">Sound or picture.</param>
    /// <param name="mimeTypes">Such as <c>video/VP8</c>.</param>
    public RTCMediaCapabilities WithOnly(MediaKind kind, params string[] mimeTypes)
    {
        ArgumentNullException.ThrowIfNull(mimeTypes);
        return With(
            kind,
            [
                .. mimeTypes.SelectMany(name =>
                    Codecs(kind).Where(each => each.Codec.MimeType.Equals(name, StringComparison.OrdinalIgnoreCase))
                ),
            ]
        );
    }

    /// <summary>No codec of these names.</summary>
    public RTCMediaCapabilities Without(MediaKind kind, params string[] mimeTypes)
    {
        ArgumentNullException.ThrowIfNull(mimeTypes);
        return With(
            kind,
            Array.FindAll(
                Codecs(kind),
                each => !mimeTypes.Contains(each.Codec.MimeType, StringComparer.OrdinalIgnoreCase)
            )
        );
    }

    /// <summary>
    /// One kind of feedback more, for all codecs of a kind that have any: RED, FEC and telephone events have none. With <c>ack ccfb</c> and
    /// without <c>transport-cc</c>, congestion control goes by RFC 8888.
    /// </summary>
    /// <param name="kind">Sound or picture.</param>
    /// <param name="feedback">Of <c>a=rtcp-fb</c>: <c>nack</c>, <c>ccm fir</c>, <c>transport-cc</c>, <c>ack ccfb</c>…</param>
    public RTCMediaCapabilities WithFeedback(MediaKind kind, string feedback)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(feedback);
        return With(
            kind,
            Array.ConvertAll(
                Codecs(kind),
                each =>
                    each.Feedback.Length == 0 || each.Feedback.Contains(feedback)
                        ? each
                        : Feeding(each, [.. each.Feedback, feedback])
            )
        );
    }

    /// <summary>One kind of feedback less, for all codecs of a kind.</summary>
    public RTCMediaCapabilities WithoutFeedback(MediaKind kind, string feedback) =>
        With(
            kind,
            Array.ConvertAll(
                Codecs(kind),
                each => Feeding(each, Array.FindAll(each.Feedback, other => other != feedback))
            )
        );

    /// <summary>A header extension more; one that is there already takes this direction.</summary>
    /// <param name="kind">Sound or picture.</param>
    /// <param name="uri">What it means.</param>
    /// <param name="direction">Which way; <see cref="RTCRtpTransceiverDirection.Stopped"/>: only where a transceiver asks for it.</param>
    public RTCMediaCapabilities WithHeaderExtension(
        MediaKind kind,
        string uri,
        RTCRtpTransceiverDirection direction = RTCRtpTransceiverDirection.SendRecv
    )
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(uri);
        var added = new Core.ExtensionCapability(uri, (Core.Direction)direction);
        var all = Extensions(kind);
        var at = Array.FindIndex(all, each => each.Uri == uri);
        return With(kind, at < 0 ? [.. all, added] : [.. all[..at], added, .. all[(at + 1)..]]);
    }

    /// <summary>A header extension less.</summary>
    public RTCMediaCapabilities WithoutHeaderExtension(MediaKind kind, string uri) =>
        With(kind, Array.FindAll(Extensions(kind), each => each.Uri != uri));

    /// <summary>All header extensions, those that are negotiated only where a transceiver asks for them too.</summary>
    internal RTCRtpHeaderExtensionCapability[] AllExtensions(MediaKind kind) =>
        Array.ConvertAll(Extensions(kind), each => each.ToW3C());

    /// <summary>Whether a codec is among them, with its format parameters.</summary>
    internal bool Has(MediaKind kind, RTCRtpCodec codec)
    {
        var core = codec.ToCore();
        return Array.Exists(Codecs(kind), each => Core.RtpCodecs.AreSame(each.Codec, core));
    }

    private static Core.CodecCapability Feeding(Core.CodecCapability codec, string[] feedback) =>
        new(codec.Codec, codec.PreferredPayloadType, feedback, codec.Retransmission);

    private Core.CodecCapability[] Codecs(MediaKind kind) => kind == MediaKind.Audio ? Inner.Audio : Inner.Video;

    private Core.ExtensionCapability[] Extensions(MediaKind kind) =>
        kind == MediaKind.Audio ? Inner.AudioExtensions : Inner.VideoExtensions;

    private RTCMediaCapabilities With(MediaKind kind, Core.CodecCapability[] codecs) =>
        new(
            kind == MediaKind.Audio
                ? new(codecs, Inner.Video, Inner.AudioExtensions, Inner.VideoExtensions)
                : new(Inner.Audio, codecs, Inner.AudioExtensions, Inner.VideoExtensions)
        );

    private RTCMediaCapabilities With(MediaKind kind, Core.ExtensionCapability[] extensions) =>
        new(
            kind == MediaKind.Audio
                ? new(Inner.Audio, Inner.Video, extensions, Inner.VideoExtensions)
                : new(Inner.Audio, Inner.Video, Inner.AudioExtensions, extensions)
        );
}
