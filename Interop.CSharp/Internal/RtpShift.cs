using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>What a source's payload types stand for.</summary>
internal sealed class RtpCodecTable
{
    /// <summary>They are the sender's own.</summary>
    public static readonly RtpCodecTable AsIs = new(null, []);

    private readonly Core.RtpCodecParameters[] _byType;

    private RtpCodecTable(RTCRtpCodec? single, Core.RtpCodecParameters[] byType)
    {
        Single = single;
        _byType = byType;
    }

    /// <summary>The one codec that all packets are of, whatever their payload type.</summary>
    public RTCRtpCodec? Single { get; }

    /// <summary>All packets are of one codec.</summary>
    public static RtpCodecTable Of(RTCRtpCodec? codec) => codec is null ? AsIs : new(codec, []);

    /// <summary>As a receiver has negotiated it.</summary>
    public static RtpCodecTable Of(Core.RtpCodecParameters[] codecs) => new(null, codecs);

    /// <summary>Whether it was made of these.</summary>
    public bool IsOf(Core.RtpCodecParameters[] codecs) => ReferenceEquals(_byType, codecs);

    /// <summary>Hz; 0 where it is not known.</summary>
    public int ClockRate(byte payloadType) => Single?.ClockRate ?? Find(payloadType)?.Codec.ClockRate ?? 0;

    /// <summary>
    /// What a sender calls them: by payload type, 255 for what it has not; empty: as they are. Null: it has none of them.
    /// </summary>
    public byte[]? For(Core.RtpCodecParameters[] sender)
    {
        if (Single is { } single)
        {
            if (CodecMatch.Find(single.ToCore(), sender) is not { } found)
                return null;
            var all = new byte[128];
            Array.Fill(all, (byte)found.PayloadType);
            return all;
        }

        if (_byType.Length == 0)
            return [];

        var types = new byte[128];
        Array.Fill(types, byte.MaxValue);
        var any = false;
        foreach (var codec in _byType)
        {
            if (codec.PayloadType is < 0 or > 127 || CodecMatch.Find(codec.Codec, sender) is not { } found)
                continue;
            types[codec.PayloadType] = (byte)found.PayloadType;
            any = true;
        }
        return any ? types : null;
    }

    /// <summary>What one of them stands for; null: nothing.</summary>
    public Core.RtpCodecParameters? Find(byte payloadType)
    {
        foreach (var codec in _byType)
        {
            if (codec.PayloadType == payloadType)
                return codec;
        }
        return null;
    }
}

/// <summary>How a source's packets become a track's: its numbers go on where the source before had stopped.</summary>
/// <param name="Sequence">Added to sequence numbers.</param>
/// <param name="Timestamp">Added to timestamps.</param>
/// <param name="Codecs">What its payload types stand for.</param>
internal sealed record RtpShift(ushort Sequence, uint Timestamp, RtpCodecTable Codecs);

/// <summary>The last packet, in order, of a run; and what the next source has to add so that the run goes on.</summary>
internal struct RtpEdge
{
    /// <summary>So far behind, and it is not a packet that comes late but a source that has begun anew.</summary>
    private const int Restart = 3_000;

    private bool _isSet;
    private ushort _sequence;
    private uint _timestamp;
    private long _at;

    /// <summary>Whether there was one.</summary>
    public readonly bool IsSet => _isSet;

    /// <summary>What was there before a packet that does not go on.</summary>
    public static RtpEdge Before(in RtpPacket packet, RtpShift shift, long now) =>
        new()
        {
            _isSet = true,
            _sequence = (ushort)(packet.SequenceNumber + shift.Sequence - 1),
            _timestamp = packet.Timestamp + shift.Timestamp,
            _at = now,
        };

    /// <summary>Takes note of packets.</summary>
    public void Advance(ReadOnlySpan<RtpPacket> packets, RtpShift shift, long now)
    {
        foreach (ref readonly var packet in packets)
        {
            var sequence = (ushort)(packet.SequenceNumber + shift.Sequence);
            if (_isSet && (short)(sequence - _sequence) is <= 0 and > -Restart)
                continue;
            _isSet = true;
            _sequence = sequence;
            _timestamp = packet.Timestamp + shift.Timestamp;
            _at = now;
        }
    }

    /// <summary>The same, where all is shifted once more.</summary>
    public readonly RtpEdge Moved(ushort sequence, uint timestamp) =>
        this with
        {
            _sequence = (ushort)(_sequence + sequence),
            _timestamp = _timestamp + timestamp,
        };

    /// <summary>
    /// What to add to a source's numbers, so that the sequence number of its first packet is the next one, and its timestamp as
    /// far on as time is.
    /// </summary>
    public readonly (ushort Sequence, uint Timestamp) Join(
        ushort sequence,
        uint timestamp,
        int clockRate,
        long now,
        TimeProvider time
    )
    {
        var elapsed = (long)(time.GetElapsedTime(_at, now).TotalSeconds * clockRate);
        return ((ushort)(_sequence + 1 - sequence), _timestamp + (uint)Math.Max(1, elapsed) - timestamp);
    }
}
