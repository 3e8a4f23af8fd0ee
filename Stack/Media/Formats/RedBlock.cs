using System.Buffers.Binary;

namespace Hybrid.WebRtc.Media;

/// <summary>
/// One block of an RFC 2198 payload: one encoding of one piece of audio. The last block is the primary one; those before it are
/// copies of what earlier packets carried.
/// </summary>
/// <param name="PayloadType">Of the encoding in the block, 0 to 127.</param>
/// <param name="TimestampOffset">How much older than the packet's timestamp it is, 0 to 16,383; 0 for the primary block.</param>
/// <param name="Data">The payload of that encoding.</param>
public readonly record struct RedBlock(byte PayloadType, int TimestampOffset, ReadOnlyMemory<byte> Data)
{
    /// <summary>The most octets of a block that is not the primary one, RFC 2198 §3: its length has ten bits.</summary>
    public const int MaxRedundantSize = 1023;

    /// <summary>The oldest that a block may be, RFC 2198 §3: its offset has 14 bits.</summary>
    public const int MaxTimestampOffset = 16_383;

    /// <summary>The blocks of a payload in their order, the primary one last.</summary>
    /// <param name="payload">An RFC 2198 payload; blocks share its memory.</param>
    /// <param name="into">Takes the blocks; those beyond its length are a reason to refuse the payload.</param>
    /// <returns>How many blocks there are; 0: the payload is malformed or has more of them than <paramref name="into"/> takes.</returns>
    public static int Read(ReadOnlyMemory<byte> payload, Span<RedBlock> into)
    {
        var bytes = payload.Span;
        var count = 0;
        var headers = 0;

        while (headers < bytes.Length && (bytes[headers] & 0x80) != 0)
        {
            headers += 4;
            count++;
        }

        if (headers >= bytes.Length || count >= into.Length)
            return 0;

        var at = headers + 1;

        for (var i = 0; i < count; i++)
        {
            var header = BinaryPrimitives.ReadUInt32BigEndian(bytes[(4 * i)..]);
            var length = (int)(header & 0x3FF);

            if (bytes.Length - at < length)
                return 0;

            into[i] = new((byte)(header >> 24 & 0x7F), (int)(header >> 10 & 0x3FFF), payload.Slice(at, length));
            at += length;
        }

        into[count] = new((byte)(bytes[headers] & 0x7F), 0, payload[at..]);
        return count + 1;
    }

    /// <summary>The primary block alone.</summary>
    /// <returns>False: the payload is malformed.</returns>
    public static bool TryReadPrimary(ReadOnlySpan<byte> payload, out byte payloadType, out ReadOnlySpan<byte> data)
    {
        payloadType = 0;
        data = default;
        var headers = 0;
        var redundant = 0;

        while (headers + 4 <= payload.Length && (payload[headers] & 0x80) != 0)
        {
            redundant += BinaryPrimitives.ReadUInt16BigEndian(payload[(headers + 2)..]) & 0x3FF;
            headers += 4;
        }

        if (headers >= payload.Length || (payload[headers] & 0x80) != 0)
            return false;

        if (payload.Length - headers - 1 < redundant)
            return false;

        payloadType = payload[headers];
        data = payload[(headers + 1 + redundant)..];
        return true;
    }

    /// <summary>Octets that blocks take as one payload.</summary>
    public static int Size(ReadOnlySpan<RedBlock> blocks)
    {
        var size = blocks.IsEmpty ? 0 : 4 * blocks.Length - 3;

        foreach (var block in blocks)
            size += block.Data.Length;

        return size;
    }

    /// <summary>Writes a payload.</summary>
    /// <param name="blocks">At least one; the last is the primary one.</param>
    /// <param name="into">At least <see cref="Size"/> octets.</param>
    /// <returns>Octets written.</returns>
    /// <exception cref="ArgumentException">
    /// There is no block, a payload type is above 127, or a block before the last is older or longer than the format can say.
    /// </exception>
    public static int Write(ReadOnlySpan<RedBlock> blocks, Span<byte> into)
    {
        if (blocks.IsEmpty)
            throw new ArgumentException("An RFC 2198 payload has at least one block.", nameof(blocks));

        var at = 4 * blocks.Length - 3;

        for (var i = 0; i < blocks.Length; i++)
        {
            var block = blocks[i];

            if (block.PayloadType > 127)
                throw new ArgumentException($"Payload type {block.PayloadType}: 127 at most.", nameof(blocks));

            if (i == blocks.Length - 1)
                into[4 * i] = block.PayloadType;
            else if (block.Data.Length > MaxRedundantSize || block.TimestampOffset is < 0 or > MaxTimestampOffset)
                throw new ArgumentException(
                    $"A copy of {block.Data.Length} octets, {block.TimestampOffset} old: {MaxRedundantSize} and {MaxTimestampOffset} at most.",
                    nameof(blocks)
                );
            else
                BinaryPrimitives.WriteUInt32BigEndian(
                    into[(4 * i)..],
                    0x8000_0000
                        | (uint)block.PayloadType << 24
                        | (uint)block.TimestampOffset << 10
                        | (uint)block.Data.Length
                );

            block.Data.Span.CopyTo(into[at..]);
            at += block.Data.Length;
        }

        return at;
    }
}
