using System.Buffers.Binary;

namespace Hybrid.WebRtc.Media;

/// <summary>
/// One report of a telephone event, RFC 4733 §2.3: four octets. An event is reported again and again while it lasts, always with
/// the timestamp of its start, and three times when it has ended, §2.5.1.4.
/// </summary>
/// <param name="Event">0 to 9: digits, 10: <c>*</c>, 11: <c>#</c>, 12 to 15: <c>A</c> to <c>D</c>, RFC 4733 §3.2; others up to 255.</param>
/// <param name="IsEnd">Whether the event has ended.</param>
/// <param name="Volume">The power of a tone in -dBm0, 0 (loudest) to 63.</param>
/// <param name="Duration">How long it has lasted so far, in units of the RTP clock.</param>
public readonly record struct TelephoneEvent(byte Event, bool IsEnd, byte Volume, ushort Duration)
{
    /// <summary>Octets of a report.</summary>
    public const int Size = 4;

    private const string Tones = "0123456789*#ABCD";

    /// <summary>The tone as W3C WebRTC 1.0 §7 names it; null for events that are no DTMF digit.</summary>
    public char? Tone => Event < Tones.Length ? Tones[Event] : null;

    /// <summary>The event of a tone, letter case aside; null where it is none.</summary>
    public static byte? EventOf(char tone) =>
        Tones.IndexOf(char.ToUpperInvariant(tone)) is >= 0 and var index ? (byte)index : null;

    /// <summary>Reads the first report of a payload; others, of events before it (§2.5.1.5), lie behind it.</summary>
    /// <returns>False: the payload is not of four octets or a multiple.</returns>
    public static bool TryRead(ReadOnlySpan<byte> payload, out TelephoneEvent report)
    {
        report = default;

        if (payload.IsEmpty || payload.Length % Size != 0)
            return false;

        report = new(
            payload[0],
            (payload[1] & 0x80) != 0,
            (byte)(payload[1] & 0x3F),
            BinaryPrimitives.ReadUInt16BigEndian(payload[2..])
        );
        return true;
    }

    /// <summary>Writes the report into at least four octets.</summary>
    public void Write(Span<byte> into)
    {
        into[0] = Event;
        into[1] = (byte)((IsEnd ? 0x80 : 0) | Math.Min(Volume, (byte)63));
        BinaryPrimitives.WriteUInt16BigEndian(into[2..], Duration);
    }
}
