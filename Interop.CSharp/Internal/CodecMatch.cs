namespace Hybrid.WebRtc;

/// <summary>Finds a codec among those negotiated.</summary>
internal static class CodecMatch
{
    /// <summary>The best match: the same in all, else the same in what tells formats apart; null: none.</summary>
    public static Core.RtpCodecParameters? Find(Core.RtpCodec codec, Core.RtpCodecParameters[] among)
    {
        Core.RtpCodecParameters? close = null;
        foreach (var candidate in among)
        {
            if (!IsSameFormat(codec, candidate.Codec))
                continue;
            if (codec.Fmtp == candidate.Codec.Fmtp)
                return candidate;
            close ??= IsCompatible(codec, candidate.Codec) ? candidate : null;
        }
        return close;
    }

    /// <summary>W3C's "match": name, clock rate, channels; and the format parameters, where <paramref name="exactly"/>.</summary>
    public static bool Matches(Core.RtpCodec a, Core.RtpCodec b, bool exactly) =>
        IsSameFormat(a, b) && (exactly ? a.Fmtp == b.Fmtp : IsCompatible(a, b));

    private static bool IsSameFormat(Core.RtpCodec a, Core.RtpCodec b) =>
        a.MimeType.Equals(b.MimeType, StringComparison.OrdinalIgnoreCase)
        && a.ClockRate == b.ClockRate
        && (a.Channels.IsSome ? a.Channels.Value : 1) == (b.Channels.IsSome ? b.Channels.Value : 1);

    private static bool IsCompatible(Core.RtpCodec a, Core.RtpCodec b) =>
        a.MimeType.ToUpperInvariant() switch
        {
            // RFC 6184 §8.2.2: profile and packetization mode; the level may differ.
            "VIDEO/H264" => Value(a, "packetization-mode", "0") == Value(b, "packetization-mode", "0")
                && Profile(a).Equals(Profile(b), StringComparison.OrdinalIgnoreCase),
            "VIDEO/VP9" => Value(a, "profile-id", "0") == Value(b, "profile-id", "0"),
            "VIDEO/AV1" => Value(a, "profile", "0") == Value(b, "profile", "0"),
            "VIDEO/H265" => Value(a, "profile-id", "1") == Value(b, "profile-id", "1"),
            "VIDEO/RTX" => false,
            _ => true,
        };

    private static string Profile(Core.RtpCodec codec) =>
        Value(codec, "profile-level-id", "420010") is { Length: 6 } id ? id[..4] : "";

    private static string Value(Core.RtpCodec codec, string name, string otherwise)
    {
        foreach (var part in codec.Fmtp.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (
                part.Length > name.Length
                && part[name.Length] == '='
                && part.StartsWith(name, StringComparison.OrdinalIgnoreCase)
            )
                return part[(name.Length + 1)..];
        }
        return otherwise;
    }
}
