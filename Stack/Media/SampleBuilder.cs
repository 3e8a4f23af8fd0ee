using System.Diagnostics.CodeAnalysis;
using System.Numerics;
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
/// <remarks>
/// A frame ends with the packet that says so, or before a packet of another timestamp. It begins with a packet that says so, or,
/// where the format does not tell, behind a packet of another timestamp that has arrived: after a loss, a frame of which the lost
/// packet may have been a part is not delivered.
/// </remarks>
public sealed class SampleBuilder
{
    private const int FirstCapacity = 64;

    /// <summary>A jump of sequence numbers beyond this is believed once the next packet confirms it, RFC 3550 A.1.</summary>
    private const int MaxDropout = 3000;

    private readonly IDepacketizer _depacketizer;
    private readonly int _clockRate;
    private readonly int _maxPackets;
    private readonly int _maxOctets;
    private readonly long _maxLate;
    private readonly bool _keepPackets;

    private Slot[] _slots = new Slot[FirstCapacity];
    private ulong[] _present = new ulong[FirstCapacity / 64];

    // Sequence numbers here do not wrap; the lower 16 bits are those on the wire.
    private long _next;
    private long _end;
    private long _scan;
    private long _flushTo;
    private int _count;
    private long _octets;
    private bool _isRunning;
    private bool _hasConsumed;
    private bool _isPreviousKnown;
    private uint _previousTimestamp;
    private uint _lastTimestamp;
    private bool _hasDelivered;
    private int _lostSince;
    private Slot? _doubtful;

    /// <summary>A builder for one stream.</summary>
    /// <param name="format">The format of its payloads.</param>
    /// <param name="options">Bounds; null: the defaults.</param>
    public SampleBuilder(PayloadFormat format, SampleBuilderOptions? options = null)
        : this(
            (format ?? throw new ArgumentNullException(nameof(format))).CreateDepacketizer(),
            format.ClockRate,
            options
        ) { }

    private SampleBuilder(IDepacketizer depacketizer, int clockRate, SampleBuilderOptions? options)
    {
        ArgumentNullException.ThrowIfNull(depacketizer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(clockRate);
        options ??= new();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxPackets, 16);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.MaxPackets, 16_384);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxOctets, 65_536);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxLate, TimeSpan.Zero);
        _depacketizer = depacketizer;
        _clockRate = clockRate;
        _maxPackets = (int)BitOperations.RoundUpToPowerOf2((uint)options.MaxPackets);
        _maxOctets = options.MaxOctets;
        _maxLate = (long)Math.Min(int.MaxValue / 2, options.MaxLate.TotalSeconds * clockRate);
        _keepPackets = options.KeepPackets;
    }

    /// <summary>A builder for one stream of a format that the user reads.</summary>
    /// <param name="depacketizer">Reads its payloads.</param>
    /// <param name="clockRate">Units of the RTP timestamp in a second.</param>
    /// <param name="options">Bounds; null: the defaults.</param>
    public static SampleBuilder For(IDepacketizer depacketizer, int clockRate, SampleBuilderOptions? options = null) =>
        new(depacketizer, clockRate, options);

    /// <summary>Packets dropped with a frame that was not whole in time, or for a bound.</summary>
    public long PacketsDropped { get; private set; }

    /// <summary>Sequence numbers given up that never arrived.</summary>
    public long PacketsLost { get; private set; }

    /// <summary>Packets that came twice, or after their place had been given up, or whose sequence number nothing confirmed.</summary>
    public long PacketsLate { get; private set; }

    /// <summary>Packets whose payload was malformed.</summary>
    public long PacketsMalformed { get; private set; }

    /// <summary>Packets held at present.</summary>
    public int PacketsHeld => _count;

    /// <summary>Takes a packet, whose memory it may keep. Frames it completes are taken with <see cref="TryPop"/>.</summary>
    /// <param name="packet">Without encryption, and with padding stripped from its payload.</param>
    /// <param name="receivedAt">When it arrived.</param>
    public void Push(in RtpPacket packet, DateTimeOffset? receivedAt = null)
    {
        var payload = packet.Payload;
        var info = payload.IsEmpty ? default : _depacketizer.Inspect(payload.Span, packet.Marker);

        if (!payload.IsEmpty && !info.IsValid)
        {
            PacketsMalformed++;
            // Its frame will not be whole, but may end here.
            info = new() { EndsFrame = packet.Marker };
        }

        Place(new(packet, info, receivedAt));
    }

    /// <summary>The next whole frame, if there is one.</summary>
    public bool TryPop([NotNullWhen(true)] out EncodedFrame? frame)
    {
        frame = null;

        while (_count > 0)
        {
            if (!IsPresent(_next))
            {
                var found = FirstPresent(_next);

                if (!IsOverdue(At(found).Packet.Timestamp))
                    return false;

                PassGap(found);
                continue;
            }

            ref var head = ref At(_next);

            if (head.IsPadding)
            {
                Consume();
                continue;
            }

            if (!Starts(in head))
            {
                DropHead();
                continue;
            }

            var timestamp = head.Packet.Timestamp;

            if (!FindEnd(timestamp))
            {
                if (!IsOverdue(timestamp))
                    return false;

                DropTo(_scan);
            }
            else if (TryAssemble(out frame))
                return true;
            else
                DropTo(_scan);
        }

        return false;
    }

    /// <summary>
    /// Says that no more packets come, or not soon: <see cref="TryPop"/> no longer waits for any that is missing before the newest.
    /// A last frame without a marker is not known to be whole, and is dropped.
    /// </summary>
    public void Flush() => _flushTo = _end;

    private void Place(in Slot slot)
    {
        var number = slot.Packet.SequenceNumber;

        if (!_isRunning)
        {
            _isRunning = true;
            Restart(number + 0x10000L);
        }

        var sequence = _end - 1 + (short)(number - (ushort)(_end - 1));
        var limit = Math.Max(MaxDropout, _maxPackets);

        if (sequence - _end >= limit || _next - sequence > limit)
        {
            if (_doubtful is not { } before || (ushort)(before.Packet.SequenceNumber + 1) != number)
            {
                PacketsLate++;
                _doubtful = slot;
                return;
            }

            // Two in a row: the sender began anew.
            PacketsLate--;
            DropTo(_end);
            Restart(before.Packet.SequenceNumber + 0x10000L);
            Store(_end, before);
            sequence = _end;
        }

        _doubtful = null;

        if (sequence < _next)
        {
            if (_hasConsumed || _end - sequence > _maxPackets)
            {
                PacketsLate++;
                return;
            }

            if (_end - sequence > _slots.Length)
                Grow(_end - sequence);

            // Nothing was told yet of what came first: an earlier one may still come first.
            _next = sequence;
            _scan = sequence;
        }
        else if (sequence < _end && IsPresent(sequence))
        {
            PacketsLate++;
            return;
        }

        if (sequence - _next >= _maxPackets)
            DropTo(sequence - _maxPackets + 1);

        Store(sequence, slot);

        while (_octets > _maxOctets)
            DropTo(FirstPresent(_next) + 1);
    }

    private void Restart(long sequence)
    {
        _next = sequence;
        _end = sequence;
        _scan = sequence;
        _flushTo = 0;
        _isPreviousKnown = false;
        _hasConsumed = false;
    }

    private void Store(long sequence, in Slot slot)
    {
        if (sequence - _next >= _slots.Length)
            Grow(sequence - _next + 1);

        var index = Index(sequence);
        _slots[index] = slot;
        _present[index >> 6] |= 1UL << index;
        _count++;
        _octets += slot.Packet.Payload.Length;
        _end = Math.Max(_end, sequence + 1);
    }

    private void Grow(long span)
    {
        var slots = new Slot[BitOperations.RoundUpToPowerOf2((ulong)span)];
        var present = new ulong[slots.Length / 64];

        for (var sequence = _next; sequence < _end; sequence++)
            if (IsPresent(sequence))
            {
                var index = (int)(sequence & (slots.Length - 1));
                slots[index] = At(sequence);
                present[index >> 6] |= 1UL << index;
            }

        _slots = slots;
        _present = present;
    }

    /// <summary>Whether the newest packet is too far ahead to wait for one of this timestamp.</summary>
    private bool IsOverdue(uint timestamp) =>
        _next < _flushTo || (int)(At(_end - 1).Packet.Timestamp - timestamp) > _maxLate;

    private bool Starts(in Slot head) =>
        head.Info.Start switch
        {
            FrameStart.Yes => true,
            FrameStart.Possible => _isPreviousKnown && _previousTimestamp != head.Packet.Timestamp,
            _ => false,
        };

    /// <summary>Moves the scan on behind the last packet of the frame that begins at the head. False: it has not all arrived.</summary>
    private bool FindEnd(uint timestamp)
    {
        while (_scan < _end && IsPresent(_scan))
        {
            ref var slot = ref At(_scan);

            if (!slot.IsPadding && slot.Packet.Timestamp != timestamp)
                return true;

            _scan++;

            if (slot.Info.EndsFrame)
                return true;
        }

        return false;
    }

    private bool TryAssemble([NotNullWhen(true)] out EncodedFrame? frame)
    {
        frame = null;
        var octets = 0;
        var packets = 0;

        for (var sequence = _next; sequence < _scan; sequence++)
        {
            octets += At(sequence).Packet.Payload.Length;
            packets += At(sequence).IsPadding ? 0 : 1;
        }

        // What formats add: start codes, sizes, a temporal delimiter.
        var writer = new FrameWriter(octets + 4 * packets + 8);
        var kept = _keepPackets ? new RtpPacket[packets] : [];
        _depacketizer.Begin();
        var info = new PayloadInfo { IsDiscardable = true };
        var last = _next;
        var index = 0;

        for (var sequence = _next; sequence < _scan; sequence++)
        {
            ref var slot = ref At(sequence);

            if (slot.IsPadding)
                continue;

            if (!slot.Info.IsValid || !_depacketizer.Append(slot.Packet.Payload.Span, writer))
                return false;

            info = Merge(info, slot.Info);
            last = sequence;

            if (_keepPackets)
                kept[index++] = slot.Packet;
        }

        if (!_depacketizer.End(writer))
            return false;

        ref var head = ref At(_next);
        var timestamp = head.Packet.Timestamp;

        frame = new()
        {
            Data = writer.Detach(),
            Timestamp = timestamp,
            Duration = DurationOf(timestamp, info.Duration),
            IsKeyFrame = info.IsKeyFrame,
            IsDiscardable = info.IsDiscardable,
            SpatialLayer = info.SpatialLayer,
            TemporalLayer = info.TemporalLayer,
            Width = info.Width,
            Height = info.Height,
            FirstSequenceNumber = head.Packet.SequenceNumber,
            LastSequenceNumber = At(last).Packet.SequenceNumber,
            PacketCount = packets,
            LostBefore = _lostSince,
            ReceivedAt = At(last).ReceivedAt,
            Ssrc = head.Packet.Ssrc,
            PayloadType = head.Packet.PayloadType,
            Csrcs = head.Packet.Csrcs,
            Packets = kept,
        };

        var end = _scan;

        while (_next < end)
            Consume();

        _lostSince = 0;
        _lastTimestamp = timestamp;
        _hasDelivered = true;
        return true;
    }

    private static PayloadInfo Merge(in PayloadInfo sum, in PayloadInfo part) =>
        sum with
        {
            IsKeyFrame = sum.IsKeyFrame || part.IsKeyFrame,
            IsDiscardable = sum.IsDiscardable && part.IsDiscardable,
            SpatialLayer =
                part.SpatialLayer > sum.SpatialLayer ? part.SpatialLayer : sum.SpatialLayer ?? part.SpatialLayer,
            TemporalLayer = sum.TemporalLayer ?? part.TemporalLayer,
            Width = part.Width > 0 ? part.Width : sum.Width,
            Height = part.Height > 0 ? part.Height : sum.Height,
            Duration = sum.Duration + part.Duration,
        };

    private TimeSpan DurationOf(uint timestamp, int told)
    {
        var units = told;

        if (units == 0 && _scan < _end && IsPresent(_scan) && !At(_scan).IsPadding)
            units = (int)(At(_scan).Packet.Timestamp - timestamp);

        if (units == 0 && _hasDelivered)
            units = (int)(timestamp - _lastTimestamp);

        return units <= 0 ? TimeSpan.Zero : TimeSpan.FromTicks(units * TimeSpan.TicksPerSecond / _clockRate);
    }

    private void PassGap(long to)
    {
        PacketsLost += to - _next;
        _lostSince = (int)Math.Min(int.MaxValue, _lostSince + to - _next);
        _next = to;
        _scan = to;
        _isPreviousKnown = false;
        _hasConsumed = true;
    }

    private void DropTo(long to)
    {
        while (_next < to)
            if (_count == 0)
                PassGap(to);
            else if (IsPresent(_next))
                DropHead();
            else
                PassGap(Math.Min(to, FirstPresent(_next)));
    }

    private void DropHead()
    {
        ref var head = ref At(_next);

        if (!head.IsPadding)
        {
            if (head.Info.IsValid)
                PacketsDropped++;

            _lostSince++;
        }

        Consume();
    }

    /// <summary>Lets go of the packet at the head.</summary>
    private void Consume()
    {
        var index = Index(_next);
        ref var slot = ref _slots[index];

        if (!slot.IsPadding)
        {
            _isPreviousKnown = true;
            _previousTimestamp = slot.Packet.Timestamp;
        }

        _octets -= slot.Packet.Payload.Length;
        slot = default;
        _present[index >> 6] &= ~(1UL << index);
        _count--;
        _next++;
        _scan = Math.Max(_scan, _next);
        _hasConsumed = true;
    }

    private int Index(long sequence) => (int)(sequence & (_slots.Length - 1));

    private ref Slot At(long sequence) => ref _slots[Index(sequence)];

    private bool IsPresent(long sequence)
    {
        var index = Index(sequence);
        return sequence - _next < _slots.Length && (_present[index >> 6] >> index & 1) != 0;
    }

    /// <summary>The first that is held, from a number on; there is one. One test for 64 numbers.</summary>
    private long FirstPresent(long from)
    {
        for (var sequence = from; ; )
        {
            var index = Index(sequence);
            var word = _present[index >> 6] >> index;

            if (word != 0)
                return sequence + BitOperations.TrailingZeroCount(word);

            sequence += 64 - (index & 63);
        }
    }

    private readonly struct Slot(RtpPacket packet, PayloadInfo info, DateTimeOffset? receivedAt)
    {
        public readonly RtpPacket Packet = packet;
        public readonly PayloadInfo Info = info;
        public readonly DateTimeOffset? ReceivedAt = receivedAt;

        /// <summary>Sent to probe or to fill: it has a sequence number and else nothing, RFC 3550 §5.1.</summary>
        public bool IsPadding => Packet.Payload.IsEmpty;
    }
}
