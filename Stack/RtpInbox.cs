using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// Packets that a peer's receivers got in one turn, copied once out of the memory that the core lends, and handed on as runs: so
/// whoever forwards them does so by the run. The loop's thread only.
/// </summary>
/// <param name="sink">Whom the packets are for.</param>
internal sealed class RtpInbox(IPeerSink sink)
{
    /// <summary>Packets of a run at most.</summary>
    private const int Longest = 64;

    /// <summary>Octets of memory taken at once: below what the collector keeps among its large objects.</summary>
    private const int SlabSize = 65_536;

    private readonly RtpPacket[] _run = new RtpPacket[Longest];
    private int _count;
    private int _transceiver;
    private string _rid = "";
    private byte[] _slab = [];
    private int _used;

    /// <summary>Copies a packet.</summary>
    public void Add(int transceiver, string rid, in RtpPacket packet)
    {
        if (_count == Longest || (_count > 0 && (transceiver != _transceiver || rid != _rid)))
            Flush();

        _transceiver = transceiver;
        _rid = rid;
        var octets = packet.Csrcs.Length + packet.Extensions.Length + packet.Payload.Length;

        if (_used + octets > _slab.Length)
        {
            _slab = GC.AllocateUninitializedArray<byte>(Math.Max(SlabSize, octets));
            _used = 0;
        }

        _run[_count++] = new RtpPacket(
            packet.Marker,
            packet.PayloadType,
            packet.SequenceNumber,
            packet.Timestamp,
            packet.Ssrc,
            Keep(packet.Csrcs),
            packet.ExtensionProfile,
            Keep(packet.Extensions),
            packet.Map,
            Keep(packet.Payload),
            packet.Padding
        );
    }

    /// <summary>Hands on what there is.</summary>
    public void Flush()
    {
        if (_count == 0)
            return;

        var run = _run.AsSpan(0, _count).ToArray();
        _run.AsSpan(0, _count).Clear();
        _count = 0;
        sink.Rtp(_transceiver, _rid, run);
    }

    private ReadOnlyMemory<byte> Keep(ReadOnlyMemory<byte> lent)
    {
        if (lent.IsEmpty)
            return default;

        var kept = _slab.AsMemory(_used, lent.Length);
        lent.CopyTo(kept);
        _used += lent.Length;
        return kept;
    }
}
