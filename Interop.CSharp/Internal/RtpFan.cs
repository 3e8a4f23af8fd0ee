using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// A track's packets on their way to its senders. A burst is posted once a sender and shared: nothing is copied, and nothing is
/// made a packet. By encoding, sequence numbers and timestamps go on where another source takes over.
/// </summary>
internal sealed class RtpFan(MediaKind kind, TimeProvider time)
{
    /// <summary>So many packets after a source took over, its packets from before do not come any more.</summary>
    private const int Guarded = 1 << 14;

    private readonly Lock _gate = new();
    private Layer[] _layers = [];
    private SenderFeed[] _feeds = [];

    public void Bind(SenderFeed feed)
    {
        lock (_gate)
            _feeds = [.. _feeds, feed];
    }

    /// <summary>The sender goes on with another track where this one has stopped.</summary>
    public void Unbind(SenderFeed feed)
    {
        lock (_gate)
        {
            if (!_feeds.Contains(feed))
                return;
            _feeds = Array.FindAll(_feeds, other => other != feed);
            foreach (var layer in _layers)
                feed.Carry(layer.Rid, layer.Edge);
        }
    }

    /// <summary>Packets were dropped: what is sent next follows what was sent last.</summary>
    public void Skip()
    {
        lock (_gate)
        {
            foreach (var layer in _layers)
                layer.Source = null;
        }
    }

    /// <summary>Whether an encoding had packets already.</summary>
    public bool HasSent(string rid)
    {
        lock (_gate)
            return Find(rid).Edge.IsSet;
    }

    /// <summary>Sends a burst. One source at a time has an encoding; another one takes it over by sending.</summary>
    public void Send(string rid, object source, RtpCodecTable codecs, ReadOnlyMemory<RtpPacket> packets)
    {
        if (packets.IsEmpty)
            return;

        var now = time.GetTimestamp();
        lock (_gate)
        {
            var layer = Find(rid);
            if (!ReferenceEquals(layer.Source, source))
                TakeOver(layer, source, codecs, packets.Span[0], now);
            else if (!ReferenceEquals(layer.Shift.Codecs, codecs))
                layer.Shift = layer.Shift with { Codecs = codecs };

            if (layer.GuardLeft == 0)
                Pass(layer, packets, now);
            else
                PassGuarded(layer, packets, now);
        }
    }

    private Layer Find(string rid)
    {
        foreach (var layer in _layers)
        {
            if (layer.Rid == rid)
                return layer;
        }
        var made = new Layer(rid);
        _layers = [.. _layers, made];
        return made;
    }

    private void TakeOver(Layer layer, object source, RtpCodecTable codecs, in RtpPacket first, long now)
    {
        layer.Source = source;
        if (!layer.Edge.IsSet)
        {
            layer.Shift = new(0, 0, codecs);
            return;
        }

        var (sequence, timestamp) = layer.Edge.Join(
            first.SequenceNumber,
            first.Timestamp,
            Clock(codecs, first.PayloadType),
            now,
            time
        );
        layer.Shift = new(sequence, timestamp, codecs);
        layer.GuardStart = first.SequenceNumber;
        layer.GuardLeft = Guarded;
    }

    private int Clock(RtpCodecTable codecs, byte payloadType) =>
        codecs.ClockRate(payloadType) is > 0 and var rate ? rate
        : kind == MediaKind.Audio ? 48_000
        : 90_000;

    /// <summary>A packet from before the take-over would have a number that was sent already.</summary>
    private void PassGuarded(Layer layer, ReadOnlyMemory<RtpPacket> packets, long now)
    {
        var start = 0;
        var span = packets.Span;
        for (var i = 0; i < span.Length; i++)
        {
            if ((short)(span[i].SequenceNumber - layer.GuardStart) >= 0)
                continue;
            if (i > start)
                Pass(layer, packets[start..i], now);
            start = i + 1;
        }
        if (start < span.Length)
            Pass(layer, packets[start..], now);
        layer.GuardLeft = Math.Max(0, layer.GuardLeft - span.Length);
    }

    private void Pass(Layer layer, ReadOnlyMemory<RtpPacket> packets, long now)
    {
        layer.Edge.Advance(packets.Span, layer.Shift, now);
        foreach (var feed in _feeds)
            feed.Send(layer.Rid, layer.Shift, packets, now, time);
    }

    private sealed class Layer(string rid)
    {
        public readonly string Rid = rid;
        public object? Source;
        public RtpShift Shift = new(0, 0, RtpCodecTable.AsIs);
        public RtpEdge Edge;
        public ushort GuardStart;
        public int GuardLeft;
    }
}
