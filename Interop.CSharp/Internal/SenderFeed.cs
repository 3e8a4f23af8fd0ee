using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// The way from a track to one sender. Called by one track at a time, under that track's lock; what was negotiated changes
/// beside it, on the loop's thread.
/// </summary>
internal sealed class SenderFeed(RTCPeerConnection connection, RTCRtpSender sender, int transceiver)
{
    private volatile Core.TransceiverInfo? _info;
    private Slot[] _slots = [];

    /// <summary>Whose it is.</summary>
    public RTCRtpSender Sender => sender;

    /// <summary>Octets that a relay has around its packets.</summary>
    public int Overhead => connection.PathOverhead;

    /// <summary>What was negotiated; on the loop's thread.</summary>
    public void Retarget(Core.TransceiverInfo info) => _info = info;

    /// <summary>Of an encoding; empty where it has none.</summary>
    public string RidOf(int encoding) =>
        _info is { } info && encoding >= 0 && encoding < info.Encodings.Length ? info.Encodings[encoding].Rid : "";

    /// <summary>The track before has sent up to here.</summary>
    public void Carry(string rid, RtpEdge edge)
    {
        if (!edge.IsSet || _info is not { } info || IndexOf(info, rid) is not (>= 0 and var index))
            return;
        Carry(ref At(index), edge);
    }

    /// <summary>Sends a burst; drops it where nothing is sent.</summary>
    public void Send(string rid, RtpShift shift, ReadOnlyMemory<RtpPacket> packets, long now, TimeProvider time)
    {
        if (_info is not { } info || IndexOf(info, rid) is not (>= 0 and var index))
            return;

        ref var slot = ref At(index);
        if (!IsSending(info))
        {
            // On hold: what is dropped leaves no gap.
            if (slot.Mapping is not null)
                Carry(ref slot, RtpEdge.Before(packets.Span[0], shift, now));
            return;
        }
        if (!ReferenceEquals(slot.Shift, shift) || !ReferenceEquals(slot.Info, info) || slot.IsCarried)
            Prepare(ref slot, info, shift, packets.Span[0], now, time);
        if (slot.Mapping is not { } mapping)
            return;

        if (connection.Interceptors is { Length: > 0 } interceptors)
        {
            foreach (var interceptor in interceptors)
                packets = interceptor.OnOutgoing(sender, rid, packets);
            if (packets.IsEmpty)
                return;
        }
        connection.Post(Core.Input.NewSendRtp(transceiver, index, mapping, packets));
    }

    /// <summary>Whether a description lets it send.</summary>
    public static bool IsSending(Core.TransceiverInfo info) =>
        !info.Stopping
        && info.CurrentDirection is { IsSome: true, Value: Core.Direction.SendRecv or Core.Direction.SendOnly };

    /// <summary>Unless it is carried already: then nothing was sent since.</summary>
    private static void Carry(ref Slot slot, RtpEdge edge)
    {
        if (slot.IsCarried)
            return;
        slot.Carried = edge.Moved(slot.Sequence, slot.Timestamp);
        slot.IsCarried = true;
    }

    private static void Prepare(
        ref Slot slot,
        Core.TransceiverInfo info,
        RtpShift shift,
        in RtpPacket first,
        long now,
        TimeProvider time
    )
    {
        if (slot.IsCarried)
        {
            var clock =
                shift.Codecs.ClockRate(first.PayloadType) is > 0 and var rate ? rate
                : info.Kind == Core.MediaKind.Audio ? 48_000
                : 90_000;
            (slot.Sequence, slot.Timestamp) = slot.Carried.Join(
                (ushort)(first.SequenceNumber + shift.Sequence),
                first.Timestamp + shift.Timestamp,
                clock,
                now,
                time
            );
            slot.IsCarried = false;
        }

        slot.Shift = shift;
        slot.Info = info;
        slot.Mapping = shift.Codecs.For(info.SendCodecs) is { } types
            ? new(types, (ushort)(shift.Sequence + slot.Sequence), shift.Timestamp + slot.Timestamp)
            : null;
    }

    /// <summary>An encoding without a rid takes what was written without one; where nothing says which, the first takes it.</summary>
    private static int IndexOf(Core.TransceiverInfo info, string rid)
    {
        if (rid.Length == 0)
            return 0;
        for (var i = 0; i < info.Encodings.Length; i++)
        {
            if (info.Encodings[i].Rid == rid)
                return i;
        }
        return -1;
    }

    private ref Slot At(int index)
    {
        if (index >= _slots.Length)
            Array.Resize(ref _slots, index + 1);
        return ref _slots[index];
    }

    /// <summary>What one encoding does to packets.</summary>
    private struct Slot
    {
        /// <summary>What it was made of, and so what makes it stale.</summary>
        public RtpShift? Shift;

        public Core.TransceiverInfo? Info;

        /// <summary>Null: the sender has none of the codecs.</summary>
        public RtpMapping? Mapping;

        /// <summary>Beyond the track's own shift, since tracks were replaced.</summary>
        public ushort Sequence;

        public uint Timestamp;

        /// <summary>Where the track before has stopped.</summary>
        public RtpEdge Carried;

        public bool IsCarried;
    }
}
