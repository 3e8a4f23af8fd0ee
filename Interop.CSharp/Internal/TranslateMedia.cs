using Microsoft.FSharp.Core;

namespace Hybrid.WebRtc;

/// <summary>Between the core's vocabulary of media and W3C's.</summary>
internal static class TranslateMedia
{
    public static Core.RtpCodec ToCore(this RTCRtpCodec codec) =>
        new(
            codec.MimeType,
            codec.ClockRate,
            codec.Channels is { } channels
                ? FSharpValueOption<int>.NewValueSome(channels)
                : FSharpValueOption<int>.None,
            codec.SdpFmtpLine ?? ""
        );

    public static RTCRtpCodec ToW3C(this Core.RtpCodec codec) =>
        new()
        {
            MimeType = codec.MimeType,
            ClockRate = codec.ClockRate,
            Channels = codec.Channels.OrNothing(),
            SdpFmtpLine = codec.Fmtp.Length > 0 ? codec.Fmtp : null,
        };

    public static RTCRtpCodecParameters ToW3C(this Core.RtpCodecParameters codec) =>
        new()
        {
            MimeType = codec.Codec.MimeType,
            ClockRate = codec.Codec.ClockRate,
            Channels = codec.Codec.Channels.OrNothing(),
            SdpFmtpLine = codec.Codec.Fmtp.Length > 0 ? codec.Codec.Fmtp : null,
            PayloadType = codec.PayloadType,
            RtcpFeedback = [.. codec.Feedback],
        };

    public static RTCRtpHeaderExtensionParameters ToW3C(this Core.ExtensionParameters extension) =>
        new()
        {
            Uri = extension.Uri,
            Id = extension.Id,
            Encrypted = extension.Encrypted,
        };

    public static RTCRtpHeaderExtensionCapability ToW3C(this Core.ExtensionCapability extension) =>
        new() { Uri = extension.Uri, Direction = (RTCRtpTransceiverDirection)extension.Direction };

    public static Core.ExtensionCapability ToCore(this RTCRtpHeaderExtensionCapability extension) =>
        new(extension.Uri, (Core.Direction)extension.Direction);

    public static RTCRtpEncodingParameters ToW3C(this Core.EncodingParameters encoding) =>
        new()
        {
            Rid = encoding.Rid.Length > 0 ? encoding.Rid : null,
            Active = encoding.Active,
            Codec = encoding.Codec.IsSome ? encoding.Codec.Value.ToW3C() : null,
            MaxBitrate = encoding.MaxBitrate.OrNothing(),
            MaxFramerate = encoding.MaxFramerate.OrNothing(),
            ScaleResolutionDownBy = encoding.ScaleResolutionDownBy.OrNothing(),
            Priority = (RTCPriorityType)encoding.Priority,
            ScalabilityMode = encoding.ScalabilityMode.OrNull(),
        };

    /// <summary>W3C: a stream is named once.</summary>
    public static string[] Ids(this IEnumerable<MediaStream> streams) =>
        [.. streams.Select(static stream => stream.Id).Distinct()];
}
