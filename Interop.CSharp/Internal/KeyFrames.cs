namespace Hybrid.WebRtc;

/// <summary>Where a picture that needs no other begins, as far as one packet shows.</summary>
internal static class KeyFrames
{
    /// <summary>Whether a packet is the first of a key frame. Of sound, each is; of a codec that is not known, none.</summary>
    public static bool Begins(string mimeType, ReadOnlySpan<byte> payload)
    {
        if (mimeType.StartsWith("audio/", StringComparison.OrdinalIgnoreCase))
            return true;
        return mimeType.ToUpperInvariant() switch
        {
            "VIDEO/VP8" => Vp8(payload),
            "VIDEO/VP9" => Vp9(payload),
            "VIDEO/H264" => H264(payload),
            "VIDEO/H265" => H265(payload),
            // The aggregation header's N: the first packet of a coded video sequence, AV1 RTP specification §4.4.
            "VIDEO/AV1" => payload is [var aggregation, ..] && (aggregation & 0x08) != 0,
            _ => false,
        };
    }

    /// <summary>RFC 7741 §4.2 and §4.3: S set, partition 0, and P of the frame's header clear.</summary>
    private static bool Vp8(ReadOnlySpan<byte> payload)
    {
        if (payload is not [var head, ..] || (head & 0x10) == 0 || (head & 0x07) != 0)
            return false;
        var at = 1;
        if ((head & 0x80) != 0)
        {
            if (payload.Length < 2)
                return false;
            var more = payload[1];
            at = 2;
            if ((more & 0x80) != 0)
                at += payload.Length > 2 && (payload[2] & 0x80) != 0 ? 2 : 1;
            if ((more & 0x40) != 0)
                at++;
            if ((more & 0x30) != 0)
                at++;
        }
        return payload.Length > at && (payload[at] & 0x01) == 0;
    }

    /// <summary>RFC 9628 §4.2: B set, P clear, and the lowest spatial layer.</summary>
    private static bool Vp9(ReadOnlySpan<byte> payload)
    {
        if (payload is not [var head, ..] || (head & 0x48) != 0x08)
            return false;
        if ((head & 0x20) == 0)
            return true;
        var at = 1;
        if ((head & 0x80) != 0)
            at += payload.Length > 1 && (payload[1] & 0x80) != 0 ? 2 : 1;
        return payload.Length > at && (payload[at] & 0x0E) == 0;
    }

    /// <summary>RFC 6184 §5.2: an IDR slice or a sequence parameter set, alone, aggregated (STAP-A) or at the start of a fragment (FU-A).</summary>
    private static bool H264(ReadOnlySpan<byte> payload)
    {
        if (payload is not [var head, ..])
            return false;
        switch (head & 0x1F)
        {
            case 5 or 7:
                return true;
            case 24:
                for (var rest = payload[1..]; rest.Length > 2; )
                {
                    if ((rest[2] & 0x1F) is 5 or 7)
                        return true;
                    var next = 2 + ((rest[0] << 8) | rest[1]);
                    if (next > rest.Length)
                        return false;
                    rest = rest[next..];
                }
                return false;
            case 28:
                return payload.Length > 1 && (payload[1] & 0x80) != 0 && (payload[1] & 0x1F) is (5 or 7);
            default:
                return false;
        }
    }

    /// <summary>RFC 7798 §4.4: an IRAP picture or a parameter set, alone, aggregated or at the start of a fragment.</summary>
    private static bool H265(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 3)
            return false;
        switch ((payload[0] >> 1) & 0x3F)
        {
            case 48:
                for (var rest = payload[2..]; rest.Length > 2; )
                {
                    if (IsRandomAccess((rest[2] >> 1) & 0x3F))
                        return true;
                    var next = 2 + ((rest[0] << 8) | rest[1]);
                    if (next > rest.Length)
                        return false;
                    rest = rest[next..];
                }
                return false;
            case 49:
                return (payload[2] & 0x80) != 0 && IsRandomAccess(payload[2] & 0x3F);
            case var type:
                return IsRandomAccess(type);
        }

        static bool IsRandomAccess(int type) => type is (>= 16 and <= 21) or (>= 32 and <= 34);
    }
}
