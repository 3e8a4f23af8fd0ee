using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Benchmarks.Ceiling;

/// <summary>
/// The bytes' work of one direction, without protocol: a DTLS 1.2 record of AES-128-GCM (13 + 8 octets before, 16 behind)
/// around an SCTP packet (12 octets and a CRC32c) with one chunk (16 octets and the payload).
/// </summary>
internal sealed class Records(IAeadKey key) : IDisposable
{
    private const int RecordHeader = 13;
    private const int BeforePlaintext = RecordHeader + 8;
    private const int Tag = 16;
    private const int SctpHeader = 12;
    private const int Chunk = 16;

    /// <summary>Octets of a datagram that are not payload.</summary>
    public const int Overhead = BeforePlaintext + SctpHeader + Chunk + Tag;

    /// <summary>Octets of a datagram that are not the SCTP packet.</summary>
    public const int RecordOverhead = BeforePlaintext + Tag;

    private readonly byte[] _nonce = new byte[12];
    private readonly byte[] _crcField = new byte[4];
    private ulong _sequence;

    /// <summary>Makes a datagram of a payload: copy, checksum, seal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Make(ReadOnlySpan<byte> payload, Span<byte> datagram)
    {
        var packet = datagram[BeforePlaintext..^Tag];
        payload.CopyTo(packet[(SctpHeader + Chunk)..]);
        packet[..(SctpHeader + Chunk)].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(packet[8..], Crc32C(packet));
        Seal(packet, datagram);
    }

    /// <summary>Takes a datagram apart: open, checksum, copy. False where it was damaged.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Take(Span<byte> datagram, Span<byte> payload)
    {
        var packet = datagram[BeforePlaintext..^Tag];
        if (!Open(packet, datagram))
            return false;
        var sum = BinaryPrimitives.ReadUInt32LittleEndian(packet[8..]);
        packet.Slice(8, 4).Clear();
        if (sum != Crc32C(packet))
            return false;
        packet[(SctpHeader + Chunk)..].CopyTo(payload);
        return true;
    }

    public void Seal(Span<byte> packet, Span<byte> datagram)
    {
        // The sequence number is the explicit nonce, RFC 5288 §3; the record's header, its length apart, is what is associated.
        BinaryPrimitives.WriteUInt64BigEndian(datagram[RecordHeader..], ++_sequence);
        BinaryPrimitives.WriteUInt64BigEndian(datagram, _sequence);
        datagram.Slice(RecordHeader, 8).CopyTo(_nonce.AsSpan(4));
        key.Seal(_nonce, datagram[..RecordHeader], packet, datagram[^Tag..]);
    }

    public bool Open(Span<byte> packet, Span<byte> datagram)
    {
        datagram.Slice(RecordHeader, 8).CopyTo(_nonce.AsSpan(4));
        return key.Open(_nonce, datagram[..RecordHeader], packet, datagram[^Tag..]);
    }

    /// <summary>CRC32c, RFC 9260 Appendix A: the library's own, which is as fast as the processor.</summary>
    public static uint Crc32C(ReadOnlySpan<byte> bytes) => ~Core.Crc32c.add(uint.MaxValue, bytes);

    public void Dispose() => key.Dispose();
}
