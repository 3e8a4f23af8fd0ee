using System.Buffers.Binary;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>What the octets of a stream begin with.</summary>
internal enum FrameStatus
{
    /// <summary>A whole frame.</summary>
    Whole,

    /// <summary>The beginning of one.</summary>
    Partial,

    /// <summary>Nothing that can be a frame: the stream is of no more use.</summary>
    Malformed,
}

/// <summary>A frame within the octets of a stream.</summary>
/// <param name="Status">Whether there is one; the rest holds only then.</param>
/// <param name="Offset">Where the datagram begins.</param>
/// <param name="Length">Octets of the datagram.</param>
/// <param name="Total">Octets of the frame, padding included.</param>
internal readonly record struct Frame(FrameStatus Status, int Offset, int Length, int Total);

/// <summary>Datagrams on a stream, as <see cref="StreamKind"/> has them.</summary>
internal static class Framing
{
    /// <summary>The largest datagram that is taken: what UDP would carry.</summary>
    public const int MaxDatagram = 65_507;

    /// <summary>The largest frame, with whatever is around the datagram: it fits a lease.</summary>
    public const int MaxFrame = MaxDatagram + 4;

    /// <summary>Octets of RFC 4571's length.</summary>
    private const int LengthSize = 2;

    /// <summary>Octets of a STUN header, RFC 8489 §5, and of a ChannelData header, RFC 8656 §12.4.</summary>
    private const int StunHeader = 20,
        ChannelHeader = 4;

    /// <summary>The type of a success response of the method ConnectionBind (0x00b).</summary>
    private static ReadOnlySpan<byte> BindSuccess => [0x01, 0x0b];

    private static readonly Frame Partial = new(FrameStatus.Partial, 0, 0, 0);
    private static readonly Frame Malformed = new(FrameStatus.Malformed, 0, 0, 0);

    /// <summary>Octets that a datagram of <paramref name="size"/> takes on the stream.</summary>
    public static int SizeOf(StreamKind kind, int size) => kind == StreamKind.IceTcp ? LengthSize + size : Padded(size);

    /// <summary>Where in its frame a datagram begins.</summary>
    public static int OffsetOf(StreamKind kind) => kind == StreamKind.IceTcp ? LengthSize : 0;

    /// <summary>Writes what is around a datagram of <paramref name="size"/> octets that is in its place already.</summary>
    public static void Seal(StreamKind kind, Span<byte> frame, int size)
    {
        if (kind == StreamKind.IceTcp)
            BinaryPrimitives.WriteUInt16BigEndian(frame, (ushort)size);
        else
            // ChannelData is padded to four octets, RFC 8656 §12.5; a STUN message is, by itself.
            frame[size..Padded(size)].Clear();
    }

    /// <summary>
    /// How what follows a frame is framed, in either direction: the server's success response to a ConnectionBind request is the last message
    /// before the peer's octets, RFC 6062 §4.3.
    /// </summary>
    public static StreamKind After(StreamKind kind, ReadOnlySpan<byte> datagram) =>
        kind is StreamKind.TurnData or StreamKind.TurnDataTls && datagram.StartsWith(BindSuccess)
            ? StreamKind.IceTcp
            : kind;

    /// <summary>The frame that <paramref name="stream"/> begins with.</summary>
    public static Frame Read(StreamKind kind, ReadOnlySpan<byte> stream) =>
        kind == StreamKind.IceTcp ? ReadCounted(stream) : ReadTurn(stream);

    // RFC 4571 §2. A length of 0 is a frame without content.
    private static Frame ReadCounted(ReadOnlySpan<byte> stream)
    {
        if (stream.Length < LengthSize)
            return Partial;

        int length = BinaryPrimitives.ReadUInt16BigEndian(stream);

        return Of(stream, LengthSize, length, LengthSize + length);
    }

    // The first two bits tell which of the two it is, RFC 8656 §12.
    private static Frame ReadTurn(ReadOnlySpan<byte> stream)
    {
        if (stream.Length < ChannelHeader)
            return Partial;

        int length = BinaryPrimitives.ReadUInt16BigEndian(stream[2..]);

        return (stream[0] >> 6) switch
        {
            0 when length % 4 == 0 => Of(stream, 0, StunHeader + length, StunHeader + length),
            1 => Of(stream, 0, ChannelHeader + length, Padded(ChannelHeader + length)),
            _ => Malformed,
        };
    }

    private static Frame Of(ReadOnlySpan<byte> stream, int offset, int length, int total) =>
        length > MaxDatagram ? Malformed
        : stream.Length < total ? Partial
        : new Frame(FrameStatus.Whole, offset, length, total);

    private static int Padded(int size) => (size + 3) & ~3;
}
