using System.Diagnostics.CodeAnalysis;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Media;

/// <summary>Bounds of a <see cref="SampleBuilder"/>.</summary>
public sealed record SampleBuilderOptions
{
    /// <summary>Sequence numbers that packets held may span, 16 to 16,384, rounded up to a power of two. Default 2,048.</summary>
    public int MaxPackets { get; init; } = 2048;

    /// <summary>Octets of payload held, at least 65,536. Default 16 MiB.</summary>
    public int MaxOctets { get; init; } = 16 * 1024 * 1024;

    /// <summary>
    /// How far, by RTP timestamps, the newest packet may be ahead of a frame that is waited for before that is given up. Default
    /// 500 ms.
    /// </summary>
    public TimeSpan MaxLate { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Whether frames keep their packets, <see cref="EncodedFrame.Packets"/>. Default false.</summary>
    public bool KeepPackets { get; init; }
}

/// <summary>
/// Puts the packets of one RTP stream, in whatever order they arrive, together to whole frames in order. What is not whole in time
/// is dropped, never delivered in part. Memory is bounded, and a packet costs O(1), amortised. Not safe for concurrent use.
/// </summary>
public sealed class SampleBuilder
{
    /// <summary>A builder for one stream.</summary>
    /// <param name="format">The format of its payloads.</param>
    /// <param name="options">Bounds; null: the defaults.</param>
    public SampleBuilder(PayloadFormat format, SampleBuilderOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(format);
    }

    /// <summary>Packets dropped with a frame that was not whole in time, or for a bound.</summary>
    public long PacketsDropped { get; private set; }

    /// <summary>Sequence numbers given up that never arrived.</summary>
    public long PacketsLost { get; private set; }

    /// <summary>Packets that came twice, or after their place had been given up.</summary>
    public long PacketsLate { get; private set; }

    /// <summary>Packets whose payload was malformed.</summary>
    public long PacketsMalformed { get; private set; }

    /// <summary>Takes a packet, whose memory it may keep. Frames it completes are taken with <see cref="TryPop"/>.</summary>
    /// <param name="packet">Without encryption, and with padding stripped from its payload.</param>
    /// <param name="receivedAt">When it arrived.</param>
    public void Push(in RtpPacket packet, DateTimeOffset? receivedAt = null) { }

    /// <summary>The next whole frame, if there is one.</summary>
    public bool TryPop([NotNullWhen(true)] out EncodedFrame? frame)
    {
        frame = null;
        return false;
    }

    /// <summary>Says that no more packets come, or not soon: <see cref="TryPop"/> no longer waits for any that is missing before the newest.</summary>
    public void Flush() { }
}
