namespace Hybrid.WebRtc;

/// <summary>Finds a codec among those negotiated.</summary>
internal static class CodecMatch
{
    /// <summary>The same in all, else the first that the same packets are for; null: none.</summary>
    public static Core.RtpCodecParameters? Find(Core.RtpCodec codec, Core.RtpCodecParameters[] among) =>
        Array.Find(among, candidate => Core.RtpCodecs.AreSame(codec, candidate.Codec))
        ?? Array.Find(among, candidate => IsNotRtx(codec) && Core.RtpCodecs.Matches(codec, candidate.Codec));

    /// <summary>RTX is of one payload type, which its parameters name.</summary>
    private static bool IsNotRtx(Core.RtpCodec codec) =>
        !codec.MimeType.EndsWith("/rtx", StringComparison.OrdinalIgnoreCase);
}
