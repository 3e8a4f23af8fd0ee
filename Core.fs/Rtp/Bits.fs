namespace Hybrid.WebRtc.Rtp

open System
open System.Numerics
open System.Runtime.CompilerServices

/// Reads bits of lent bytes, the most significant first. A read past the end answers zero and turns `Ok` false for good.
[<Struct; IsByRefLike; NoComparison; NoEquality>]
type internal BitReader =
    val private bytes: ReadOnlySpan<byte>
    val mutable private at: int
    val mutable private ok: bool

    new(bytes: ReadOnlySpan<byte>) = { bytes = bytes; at = 0; ok = true }

    member r.Ok = r.ok

    /// f(n): so many bits, 32 at most.
    member r.Bits(count: int) : uint32 =
        if not r.ok || count > 8 * r.bytes.Length - r.at then
            r.ok <- false
            0u
        else
            let mutable value = 0u

            for _ in 1..count do
                let bit = (r.bytes[r.at >>> 3] >>> (7 - (r.at &&& 7))) &&& 1uy
                value <- (value <<< 1) ||| uint32 bit
                r.at <- r.at + 1

            value

    /// f(1).
    member r.Flag() : bool = r.Bits 1 = 1u

    /// ns(n): a number below `bound`, in as few bits as there can be, AV1 §4.10.7.
    member r.NonSymmetric(bound: int) : int =
        let width = 32 - BitOperations.LeadingZeroCount(uint32 bound)
        let short = (1 <<< width) - bound
        let value = int (r.Bits(width - 1))

        if value < short then
            value
        else
            (value <<< 1) - short + int (r.Bits 1)

/// Writes bits into lent memory of zeros, the most significant first. What does not fit turns `Ok` false for good.
[<Struct; IsByRefLike; NoComparison; NoEquality>]
type internal BitWriter =
    val private into: Span<byte>
    val mutable private at: int
    val mutable private ok: bool

    new(into: Span<byte>) = { into = into; at = 0; ok = true }

    /// Whether all of it fitted, and each value its bits.
    member w.Ok = w.ok
    /// Octets begun so far.
    member w.Written = (w.at + 7) >>> 3

    /// f(n): the value in so many bits, 32 at most.
    member w.Bits(value: uint32, count: int) : unit =
        if
            not w.ok
            || count > 8 * w.into.Length - w.at
            || (count < 32 && value >>> count <> 0u)
        then
            w.ok <- false
        else
            for i in count - 1 .. -1 .. 0 do
                if (value >>> i) &&& 1u = 1u then
                    w.into[w.at >>> 3] <- w.into[w.at >>> 3] ||| (0x80uy >>> (w.at &&& 7))

                w.at <- w.at + 1

    /// f(1).
    member w.Flag(value: bool) : unit = w.Bits((if value then 1u else 0u), 1)

    /// ns(n), AV1 §4.10.7.
    member w.NonSymmetric(value: int, bound: int) : unit =
        if value < 0 || value >= bound then
            w.ok <- false
        else
            let width = 32 - BitOperations.LeadingZeroCount(uint32 bound)
            let short = (1 <<< width) - bound

            if value < short then
                w.Bits(uint32 value, width - 1)
            else
                w.Bits(uint32 (value + short), width)
