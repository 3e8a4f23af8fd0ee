using System.Diagnostics.CodeAnalysis;

namespace Hybrid.WebRtc.Media;

/// <summary>How NAL units of H.264, H.265 and H.266 are told apart in <see cref="EncodedFrame.Data"/>.</summary>
public enum NalFraming
{
    /// <summary>
    /// Start codes, Annex B of each standard: what encoders put out and raw files hold. Three or four octets are read, four are
    /// written.
    /// </summary>
    AnnexB,

    /// <summary>Four octets of length before each, ISO/IEC 14496-15 ("AVCC"): what MP4 files and some hardware hold.</summary>
    LengthPrefixed,
}

/// <summary>What a payload format leaves to its user.</summary>
public sealed record PayloadFormatOptions
{
    /// <summary>How NAL units are told apart in frames, both ways. Default <see cref="NalFraming.AnnexB"/>.</summary>
    public NalFraming Framing { get; init; }

    /// <summary>
    /// Whether parameter sets seen before are sent again with each key frame that has none, so that whoever joins can decode it.
    /// H.264, H.265, H.266. Default true.
    /// </summary>
    public bool RepeatParameterSets { get; init; } = true;

    /// <summary>
    /// The picture id of the first frame, VP8 and VP9, 0 to 32,767. Null, the default: a random one, as RFC 7741 §4.2 has it.
    /// </summary>
    public int? FirstPictureId { get; init; }

    /// <summary>Spatial layers that the encoder puts out, VP9, 1 to 8. Default 1.</summary>
    public int SpatialLayers { get; init; } = 1;
}

/// <summary>One payload format with its parameters: makes packetizers and depacketizers, and reads frames.</summary>
public abstract class PayloadFormat
{
    /// <summary>A format; users may write their own.</summary>
    protected PayloadFormat(string mimeType, int clockRate)
    {
        MimeType = mimeType;
        ClockRate = clockRate;
    }

    /// <summary>As registered: <c>video/VP8</c>, <c>audio/opus</c>…</summary>
    public string MimeType { get; }

    /// <summary>Units of the RTP timestamp in a second. 8,000 for G.722 too, RFC 3551 §4.5.2, though it samples 16,000 times.</summary>
    public int ClockRate { get; }

    /// <summary>Whether it is video.</summary>
    public bool IsVideo => MimeType.StartsWith("video/", StringComparison.Ordinal);

    /// <summary>A packetizer for one stream.</summary>
    public abstract IPacketizer CreatePacketizer();

    /// <summary>A depacketizer for one stream.</summary>
    public abstract IDepacketizer CreateDepacketizer();

    /// <summary>What a whole frame says of itself; never throws for what it holds.</summary>
    public abstract FrameInfo Inspect(ReadOnlySpan<byte> frame);
}

/// <summary>The payload formats of this library.</summary>
public static class PayloadFormats
{
    private const string Known =
        "audio/opus, audio/PCMU, audio/PCMA, audio/G722, audio/red, audio/telephone-event, "
        + "video/VP8, video/VP9, video/H264, video/H265, video/H266, video/AV1";

    /// <summary>The format of a MIME type with its parameters.</summary>
    /// <param name="mimeType">As in SDP and in RTCRtpCodec, letter case aside: <c>video/H264</c>, <c>audio/opus</c>…</param>
    /// <param name="fmtp">
    /// What follows the payload type in <c>a=fmtp</c>; empty: nothing does. Null: not known, and for H.264 that is <c>packetization-mode=1</c>.
    /// </param>
    /// <param name="options">What the format leaves to its user; null: the defaults.</param>
    /// <param name="clockRate">
    /// Of a format that may have several, <c>audio/telephone-event</c> and <c>audio/red</c>; 0: 8,000 and 48,000. Others have their own.
    /// </param>
    /// <exception cref="NotSupportedException">The library has no such format, or not with these parameters; the message says what it has.</exception>
    public static PayloadFormat For(
        string mimeType,
        string? fmtp = null,
        PayloadFormatOptions? options = null,
        int clockRate = 0
    )
    {
        ArgumentNullException.ThrowIfNull(mimeType);
        ArgumentOutOfRangeException.ThrowIfNegative(clockRate);
        options ??= new();

        return mimeType.ToUpperInvariant() switch
        {
            "AUDIO/OPUS" => new OpusFormat(),
            "AUDIO/PCMU" => new OctetPerTickFormat("audio/PCMU"),
            "AUDIO/PCMA" => new OctetPerTickFormat("audio/PCMA"),
            "AUDIO/G722" => new OctetPerTickFormat("audio/G722"),
            "AUDIO/TELEPHONE-EVENT" => new TelephoneEventFormat(clockRate == 0 ? 8000 : clockRate),
            "AUDIO/RED" => new RedFormat(Primary(fmtp), clockRate == 0 ? OpusPacket.ClockRate : clockRate),
            "VIDEO/VP8" => new Vp8Format(options),
            "VIDEO/VP9" => new Vp9Format(options),
            "VIDEO/AV1" => new Av1Format(),
            "VIDEO/H264" => NalFormat.H264(fmtp, options),
            "VIDEO/H265" => NalFormat.Later("video/H265", new H265Syntax(), fmtp, options),
            "VIDEO/H266" => NalFormat.Later("video/H266", new H266Syntax(), fmtp, options),
            _ => throw new NotSupportedException($"No payload format for {mimeType}. There are: {Known}."),
        };
    }

    /// <summary>The same; false where the library has no such format, or not with these parameters.</summary>
    public static bool TryFor(
        string mimeType,
        string? fmtp,
        PayloadFormatOptions? options,
        [NotNullWhen(true)] out PayloadFormat? format
    )
    {
        try
        {
            format = For(mimeType, fmtp, options);
            return true;
        }
        catch (NotSupportedException)
        {
            format = null;
            return false;
        }
    }

    /// <summary>The payload type of the primary encoding: the first of <c>111/111</c>, RFC 2198 §5.</summary>
    private static byte Primary(string? fmtp) =>
        byte.TryParse((fmtp ?? "").Split('/')[0], out var primary) && primary < 128
            ? primary
            : throw new NotSupportedException(
                $"audio/red with the parameters \"{fmtp}\": payload types, the primary one first, were expected, as in 111/111."
            );
}
