namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open System.Numerics
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open System.Runtime.Intrinsics
open System.Runtime.Intrinsics.X86

/// CRC32c, RFC 9260 Appendix A, RFC 3720 §12.1: the state, without the inversions at both ends. A state is a polynomial
/// over GF(2) below x³², its bit 0 the coefficient of x³¹; a zero bit that follows multiplies it by x, modulo the CRC's polynomial.
[<RequireQualifiedAccess>]
module internal Crc32c =
    /// Words of 8 octets that one of the three streams has at most: 1,536 octets together, more than a packet.
    [<Literal>]
    let private MostWords = 64

    /// Below this many octets joining the streams costs more than it saves.
    [<Literal>]
    let private Worthwhile = 128

    /// What moves a state past n words, x⁶⁴ⁿ, divided by x³³: a carry-less product of two reflected numbers comes
    /// out divided by x, and its reduction by CRC multiplies by x³². The first is x³¹; 64 zero bits lead to the next.
    let private past: uint32[] =
        Array.init (2 * MostWords) id
        |> Array.scan (fun power _ -> BitOperations.Crc32C(power, 0UL)) 1u

    /// One octet after the other: on any processor, and the twin that the other is tested against.
    [<MethodImpl(MethodImplOptions.AggressiveOptimization)>]
    let serial (crc: uint32) (bytes: ReadOnlySpan<byte>) : uint32 =
        let mutable crc = crc
        let mutable at = 0

        while at + 8 <= bytes.Length do
            crc <- BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes.Slice at))
            at <- at + 8

        if at + 4 <= bytes.Length then
            crc <- BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt32LittleEndian(bytes.Slice at))
            at <- at + 4

        while at < bytes.Length do
            crc <- BitOperations.Crc32C(crc, bytes[at])
            at <- at + 1

        crc

    /// The unreduced product.
    let inline private times (a: uint32) (b: uint32) =
        Pclmulqdq.CarrylessMultiply(Vector128.CreateScalar(uint64 a), Vector128.CreateScalar(uint64 b), 0uy)

    /// Three thirds of `words` words each at once, then joined. The instruction takes three cycles, but one can begin every cycle.
    [<MethodImpl(MethodImplOptions.AggressiveOptimization)>]
    let private interleaved (crc: uint32) (words: int) (block: ReadOnlySpan<uint64>) : uint32 =
        let first = block.Slice(0, words)
        let second = block.Slice(words, words)
        let third = block.Slice(2 * words, words)
        let mutable a = crc
        let mutable b = 0u
        let mutable c = 0u

        for i in 0 .. first.Length - 1 do
            a <- BitOperations.Crc32C(a, first[i])
            b <- BitOperations.Crc32C(b, second[i])
            c <- BitOperations.Crc32C(c, third[i])

        let sum = times a past[2 * words - 1] ^^^ times b past[words - 1]
        c ^^^ BitOperations.Crc32C(0u, sum.ToScalar())

    /// The state after `bytes`, carried on from `crc`.
    [<MethodImpl(MethodImplOptions.AggressiveOptimization)>]
    let add (crc: uint32) (bytes: ReadOnlySpan<byte>) : uint32 =
        if
            bytes.Length >= Worthwhile
            && Pclmulqdq.IsSupported
            && BitConverter.IsLittleEndian
        then
            let mutable crc = crc
            let mutable rest = bytes

            while rest.Length >= Worthwhile do
                let words = min MostWords (rest.Length / 24)
                crc <- interleaved crc words (MemoryMarshal.Cast<byte, uint64> rest)
                rest <- rest.Slice(24 * words)

            serial crc rest
        else
            serial crc bytes
