namespace Hybrid.WebRtc.Media;

/// <summary>What the first one or two octets of an Opus packet tell, RFC 6716 §3.1 and §3.2.</summary>
/// <param name="Config">Mode, bandwidth and frame size, 0 to 31, RFC 6716 §3.1 table 2.</param>
/// <param name="IsStereo">Whether two channels are coded.</param>
/// <param name="FrameCount">Frames in the packet, 1 to 48.</param>
/// <param name="FrameSize">Samples of a frame at 48 kHz: 120 (2.5 ms) to 2,880 (60 ms).</param>
public readonly record struct OpusPacket(int Config, bool IsStereo, int FrameCount, int FrameSize)
{
    /// <summary>Samples a second, whatever is coded; the RTP clock too, RFC 7587 §4.1.</summary>
    public const int ClockRate = 48_000;

    /// <summary>The longest packet, 120 ms, RFC 6716 §3.2.5, in samples at 48 kHz.</summary>
    public const int MaxDuration = 5760;

    /// <summary>How long the packet plays, in samples at 48 kHz, which are units of the RTP clock: 120 to 5,760.</summary>
    public int Duration => FrameCount * FrameSize;

    /// <summary>Reads the table-of-contents octet and, for packets of any number of frames, the count behind it.</summary>
    /// <returns>False: it is empty, has no frame, or lasts longer than 120 ms.</returns>
    public static bool TryRead(ReadOnlySpan<byte> packet, out OpusPacket info)
    {
        info = default;

        if (packet.IsEmpty)
            return false;

        var config = packet[0] >> 3;

        var frameSize = config switch
        {
            // SILK: 10, 20, 40, 60 ms.
            < 12 => (config & 3) switch
            {
                0 => 480,
                1 => 960,
                2 => 1920,
                _ => 2880,
            },
            // Hybrid: 10, 20 ms.
            < 16 => (config & 1) == 0 ? 480 : 960,
            // CELT: 2.5, 5, 10, 20 ms.
            _ => 120 << (config & 3),
        };

        int count;

        switch (packet[0] & 3)
        {
            case 0:
                count = 1;
                break;
            // Two frames of one size, RFC 6716 §3.2.3: what is behind the octet is even.
            case 1 when (packet.Length & 1) == 0:
                return false;
            case 1 or 2:
                count = 2;
                break;
            default:
                if (packet.Length < 2)
                    return false;

                count = packet[1] & 0x3F;
                break;
        }

        info = new(config, (packet[0] & 4) != 0, count, frameSize);
        return info.Duration is > 0 and <= MaxDuration;
    }
}
