using System.Buffers.Binary;
using Hybrid.WebRtc.Core.Turn;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>
/// Messages in a stream, RFC 8656 §12.5 and RFC 8489 §6.2.2: each tells its own length, and each begins at a multiple of 4 octets.
/// </summary>
internal static class TurnFraming
{
    /// <summary>Octets of the largest message: a STUN header and what its length can say.</summary>
    public const int MaxFrame = 20 + 65_532;

    /// <summary>Octets that tell a message's length.</summary>
    public const int Prefix = 4;

    /// <summary>Octets of the message that begins here, padding included; -1 where none can begin so. <paramref name="head"/> has <see cref="Prefix"/> octets at least.</summary>
    public static int Length(ReadOnlySpan<byte> head)
    {
        var length = BinaryPrimitives.ReadUInt16BigEndian(head[2..]);

        return head[0] switch
        {
            // STUN's length is always a multiple of 4, RFC 8489 §5.
            < 4 => length % 4 == 0 ? 20 + length : -1,
            _ when ChannelData.IsFromClient(head) => Padded(ChannelData.HeaderSize + length),
            _ => -1,
        };
    }

    /// <summary>With padding to a multiple of 4.</summary>
    public static int Padded(int length) => (length + 3) & ~3;
}
