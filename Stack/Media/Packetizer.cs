using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Media;

/// <summary>
/// Turns the frames of one stream into RTP packets with consecutive sequence numbers, RFC 3550 §5.1. The payloads of a frame share
/// one piece of memory. Payload type and SSRC are set by whoever sends; until then they are those given here. Not safe for
/// concurrent use.
/// </summary>
public sealed class Packetizer
{
    /// <summary>The least that every payload format can work with, in octets.</summary>
    public const int SmallestPayloadSize = 64;

    /// <summary>
    /// Leaves room in a datagram of 1,200 octets for the RTP header, some 20 octets of header extensions, retransmission's two, and
    /// SRTP's tag.
    /// </summary>
    public const int DefaultPayloadSize = 1140;

    private readonly IPacketizer _format;
    private readonly PayloadBuilder _payloads = new();
    private int _maxPayloadSize;

    /// <summary>A packetizer of one stream.</summary>
    /// <param name="format">The payload format, with what it counts.</param>
    /// <param name="maxPayloadSize">Octets of payload a packet may have, <see cref="SmallestPayloadSize"/> to 65,535.</param>
    /// <param name="firstSequenceNumber">Null: a random one below 32,768, which RFC 3711 §3.3.1 asks for.</param>
    public Packetizer(IPacketizer format, int maxPayloadSize = DefaultPayloadSize, ushort? firstSequenceNumber = null)
    {
        ArgumentNullException.ThrowIfNull(format);
        _format = format;
        MaxPayloadSize = maxPayloadSize;
        NextSequenceNumber = firstSequenceNumber ?? (ushort)Random.Shared.Next(0x8000);
    }

    /// <summary>Of the next packet.</summary>
    public ushort NextSequenceNumber { get; private set; }

    /// <summary>Octets of payload a packet may have; takes effect with the next frame.</summary>
    public int MaxPayloadSize
    {
        get => _maxPayloadSize;
        set
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(value, SmallestPayloadSize);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(value, ushort.MaxValue);
            _maxPayloadSize = value;
        }
    }

    /// <summary>The payload type of the packets, 0 to 127. Default 0: the sender sets it.</summary>
    public byte PayloadType { get; set; }

    /// <summary>The source of the packets. Default 0: the sender sets it.</summary>
    public uint Ssrc { get; set; }

    /// <summary>Appends the packets of a frame to a list.</summary>
    /// <returns>How many there are.</returns>
    /// <exception cref="ArgumentException">
    /// The frame is empty, is not one of the format, or is audio too large for one packet. No sequence number was used.
    /// </exception>
    public int Packetize(EncodedFrame frame, List<RtpPacket> into)
    {
        ArgumentNullException.ThrowIfNull(frame);
        ArgumentNullException.ThrowIfNull(into);

        if (frame.Data.IsEmpty)
            throw new ArgumentException("The frame has no data.", nameof(frame));

        try
        {
            _format.Packetize(frame, _maxPayloadSize, _payloads);
            var count = _payloads.Count;

            for (var i = 0; i < count; i++)
                into.Add(
                    new RtpPacket(
                        _payloads.HasMarker(i),
                        PayloadType,
                        NextSequenceNumber++,
                        frame.Timestamp + _payloads.TimestampOffset(i),
                        Ssrc,
                        default,
                        0,
                        default,
                        ExtensionMap.Empty,
                        _payloads[i],
                        0
                    )
                );

            return count;
        }
        finally
        {
            _payloads.Clear();
        }
    }

    /// <summary>The packets of a frame.</summary>
    /// <exception cref="ArgumentException">As for the other.</exception>
    public RtpPacket[] Packetize(EncodedFrame frame)
    {
        var packets = new List<RtpPacket>();
        Packetize(frame, packets);
        return [.. packets];
    }
}
