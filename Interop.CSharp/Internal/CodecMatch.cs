using Hybrid.WebRtc.Media;

namespace Hybrid.WebRtc;

/// <summary>Finds a codec among those negotiated.</summary>
internal static class CodecMatch
{
    /// <summary>The same in all, else the first that the same packets are for; null: none.</summary>
    public static Core.RtpCodecParameters? Find(Core.RtpCodec codec, Core.RtpCodecParameters[] among) =>
        Array.Find(among, candidate => Core.RtpCodecs.AreSame(codec, candidate.Codec))
        ?? Array.Find(among, candidate => IsNotRtx(codec) && Core.RtpCodecs.Matches(codec, candidate.Codec))
        ?? Array.Find(among, candidate => IsOfAnyProfile(codec, candidate.Codec));

    /// <summary>H.264 that names no profile: what decodes it says so itself, but how it is packetized has to be agreed on.</summary>
    private static bool IsOfAnyProfile(Core.RtpCodec codec, Core.RtpCodec candidate) =>
        codec.MimeType.Equals("video/H264", StringComparison.OrdinalIgnoreCase)
        && candidate.MimeType.Equals("video/H264", StringComparison.OrdinalIgnoreCase)
        && Fmtp.Value(codec.Fmtp, "profile-level-id") is null
        && Fmtp.Number(codec.Fmtp, "packetization-mode", 0) == Fmtp.Number(candidate.Fmtp, "packetization-mode", 0);

    /// <summary>RTX is of one payload type, which its parameters name.</summary>
    private static bool IsNotRtx(Core.RtpCodec codec) =>
        !codec.MimeType.EndsWith("/rtx", StringComparison.OrdinalIgnoreCase);
}
