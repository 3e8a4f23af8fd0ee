namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open System.Runtime.CompilerServices

/// Reads lent bytes in network order. A read past the end answers zero and turns `Ok` false for good,
/// so a parser reads straight on and asks once.
[<Struct; IsByRefLike; NoComparison; NoEquality>]
type Reader =
    val mutable private rest: ReadOnlySpan<byte>
    val mutable private ok: bool

    new(bytes: ReadOnlySpan<byte>) = { rest = bytes; ok = true }

    /// Whether every read so far was within the bytes.
    member r.Ok = r.ok
    /// Octets not yet read.
    member r.Remaining = r.rest.Length
    /// Whether nothing is left, or a read failed.
    member r.AtEnd = r.rest.IsEmpty || not r.ok

    /// The next `count` octets, lent; empty once a read has failed.
    member r.Bytes(count: int) : ReadOnlySpan<byte> =
        if r.ok && uint32 count <= uint32 r.rest.Length then
            let taken = r.rest.Slice(0, count)
            r.rest <- r.rest.Slice count
            taken
        else
            r.ok <- false
            ReadOnlySpan<byte>.Empty

    /// All that is left.
    member r.ToEnd() : ReadOnlySpan<byte> = r.Bytes r.rest.Length

    /// Passes over `count` octets.
    member r.Skip(count: int) : unit =
        let _ = r.Bytes count
        ()

    /// One octet.
    member r.Byte() : byte =
        let b = r.Bytes 1
        if b.IsEmpty then 0uy else b[0]

    /// 16 bits.
    member r.UInt16() : uint16 =
        let b = r.Bytes 2

        if b.IsEmpty then
            0us
        else
            BinaryPrimitives.ReadUInt16BigEndian b

    /// 24 bits.
    member r.UInt24() : int =
        let b = r.Bytes 3

        if b.IsEmpty then
            0
        else
            (int b[0] <<< 16) ||| (int b[1] <<< 8) ||| int b[2]

    /// 32 bits.
    member r.UInt32() : uint32 =
        let b = r.Bytes 4

        if b.IsEmpty then
            0u
        else
            BinaryPrimitives.ReadUInt32BigEndian b

    /// 48 bits, as DTLS sequence numbers have.
    member r.UInt48() : uint64 =
        let high = r.UInt16()
        let low = r.UInt32()
        (uint64 high <<< 32) ||| uint64 low

    /// 64 bits.
    member r.UInt64() : uint64 =
        let b = r.Bytes 8

        if b.IsEmpty then
            0UL
        else
            BinaryPrimitives.ReadUInt64BigEndian b

/// Writes network order into lent memory that is known to be large enough: sizes are computed before, by `size`.
[<Struct; IsByRefLike; NoComparison; NoEquality>]
type Writer =
    val private into: Span<byte>
    val mutable private at: int

    new(into: Span<byte>) = { into = into; at = 0 }

    /// Octets written so far.
    member w.Written = w.at

    /// The next `count` octets, to be filled by the caller.
    member w.Take(count: int) : Span<byte> =
        let taken = w.into.Slice(w.at, count)
        w.at <- w.at + count
        taken

    /// Copies octets.
    member w.Bytes(bytes: ReadOnlySpan<byte>) : unit = bytes.CopyTo(w.Take bytes.Length)

    /// One octet.
    member w.Byte(value: byte) : unit = (w.Take 1)[0] <- value

    /// 16 bits.
    member w.UInt16(value: uint16) : unit =
        BinaryPrimitives.WriteUInt16BigEndian(w.Take 2, value)

    /// The low 24 bits.
    member w.UInt24(value: int) : unit =
        let taken = w.Take 3
        taken[0] <- byte (value >>> 16)
        taken[1] <- byte (value >>> 8)
        taken[2] <- byte value

    /// 32 bits.
    member w.UInt32(value: uint32) : unit =
        BinaryPrimitives.WriteUInt32BigEndian(w.Take 4, value)

    /// The low 48 bits.
    member w.UInt48(value: uint64) : unit =
        w.UInt16(uint16 (value >>> 32))
        w.UInt32(uint32 value)

    /// 64 bits.
    member w.UInt64(value: uint64) : unit =
        BinaryPrimitives.WriteUInt64BigEndian(w.Take 8, value)

    /// `count` octets of zero.
    member w.Zeros(count: int) : unit = (w.Take count).Clear()
