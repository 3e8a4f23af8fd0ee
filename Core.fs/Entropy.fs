namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open System.Numerics

/// Randomness as a value: a ChaCha20 stream (RFC 8439 §2.3) over 32 bytes that came once from the operating system.
/// The same seed tells the same story; parts get streams of their own by name.
[<NoComparison; NoEquality>]
type Entropy =
    private
        {
            Key: byte[]
            /// The next block of the stream. A block serves one draw.
            Counter: uint64
        }

/// Draws from a stream of randomness. Each answers what was drawn and the stream that follows.
[<RequireQualifiedAccess>]
module Entropy =
    /// Octets in a seed.
    [<Literal>]
    let SeedSize = 32

    let inline private quarterRound (x: uint32[]) a b c d =
        x[a] <- x[a] + x[b]
        x[d] <- BitOperations.RotateLeft(x[d] ^^^ x[a], 16)
        x[c] <- x[c] + x[d]
        x[b] <- BitOperations.RotateLeft(x[b] ^^^ x[c], 12)
        x[a] <- x[a] + x[b]
        x[d] <- BitOperations.RotateLeft(x[d] ^^^ x[a], 8)
        x[c] <- x[c] + x[d]
        x[b] <- BitOperations.RotateLeft(x[b] ^^^ x[c], 7)

    /// One block of 64 octets, RFC 8439 §2.3, the counter and nonce words as given.
    let internal block (key: byte[]) (tail: uint32[]) (into: byte[]) : unit =
        let initial: uint32[] = Array.zeroCreate 16
        initial[0] <- 0x61707865u
        initial[1] <- 0x3320646eu
        initial[2] <- 0x79622d32u
        initial[3] <- 0x6b206574u

        for i in 0..7 do
            initial[4 + i] <- BinaryPrimitives.ReadUInt32LittleEndian(ReadOnlySpan(key, 4 * i, 4))

        for i in 0..3 do
            initial[12 + i] <- tail[i]

        let x = Array.copy initial

        for _ in 1..10 do
            quarterRound x 0 4 8 12
            quarterRound x 1 5 9 13
            quarterRound x 2 6 10 14
            quarterRound x 3 7 11 15
            quarterRound x 0 5 10 15
            quarterRound x 1 6 11 12
            quarterRound x 2 7 8 13
            quarterRound x 3 4 9 14

        for i in 0..15 do
            BinaryPrimitives.WriteUInt32LittleEndian(Span(into, 4 * i, 4), x[i] + initial[i])

    /// The stream of a seed. Fewer than `SeedSize` octets are filled up with zeros, more are not read.
    let ofSeed (seed: ReadOnlySpan<byte>) : Entropy =
        let key: byte[] = Array.zeroCreate SeedSize
        seed.Slice(0, min seed.Length SeedSize).CopyTo(Span key)
        { Key = key; Counter = 0UL }

    /// The stream of a small number, for tests and simulations.
    let ofNumber (n: int64) : Entropy =
        let seed: byte[] = Array.zeroCreate SeedSize
        BinaryPrimitives.WriteInt64LittleEndian(Span seed, n)
        { Key = seed; Counter = 0UL }

    /// A stream of its own for the part called `name`, which is one of a few constants; the parent stays as it was.
    let split (name: string) (entropy: Entropy) : Entropy =
        // FNV-1a 64: names are constants of this library, so the hash has only to tell them apart.
        let mutable hash = 0xcbf29ce484222325UL

        for c in name do
            hash <- (hash ^^^ uint64 c) * 0x100000001b3UL

        let wide: byte[] = Array.zeroCreate 64
        // The last word sets splits apart from draws.
        block entropy.Key [| uint32 entropy.Counter; uint32 hash; uint32 (hash >>> 32); 0x73706c69u |] wide
        { Key = wide[..31]; Counter = 0UL }

    /// `count` octets, from 0.
    let bytes (count: int) (entropy: Entropy) : struct (byte[] * Entropy) =
        let drawn: byte[] = Array.zeroCreate count
        let wide: byte[] = Array.zeroCreate 64
        let mutable counter = entropy.Counter
        let mutable filled = 0

        while filled < count do
            block entropy.Key [| uint32 counter; uint32 (counter >>> 32); 0u; 0u |] wide
            let n = min 64 (count - filled)
            Span(wide, 0, n).CopyTo(Span(drawn, filled, n))
            filled <- filled + n
            counter <- counter + 1UL

        struct (drawn, { entropy with Counter = counter })

    /// 64 bits.
    let uint64 (entropy: Entropy) : struct (uint64 * Entropy) =
        let struct (drawn, rest) = bytes 8 entropy
        struct (BinaryPrimitives.ReadUInt64BigEndian(ReadOnlySpan drawn), rest)

    /// 32 bits.
    let uint32 (entropy: Entropy) : struct (uint32 * Entropy) =
        let struct (drawn, rest) = bytes 4 entropy
        struct (BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan drawn), rest)

    /// A number from 0 to `bound - 1`; `bound` is from 1 to 2³¹-1. The bias is below 2⁻³².
    let below (bound: int) (entropy: Entropy) : struct (int * Entropy) =
        let struct (drawn, rest) = uint64 entropy
        let mutable low = 0UL
        struct (int (Math.BigMul(drawn, Operators.uint64 bound, &low)), rest)

    /// A number from 0 up to but without 1.
    let unit (entropy: Entropy) : struct (float * Entropy) =
        let struct (drawn, rest) = uint64 entropy
        struct (float (drawn >>> 11) / 9007199254740992.0, rest)

    /// `count` characters of ice-char, RFC 8839 §5.4: letters, digits, `+` and `/`; 6 bits each.
    let iceChars (count: int) (entropy: Entropy) : struct (string * Entropy) =
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        let struct (drawn, rest) = bytes count entropy
        struct (String(Array.map (fun (b: byte) -> alphabet[int b &&& 63]) drawn), rest)

    /// A random UUID, RFC 9562 §5.4: what browsers give as ids of tracks, and as names of hosts.
    let uuid (entropy: Entropy) : struct (string * Entropy) =
        let struct (drawn, rest) = bytes 16 entropy
        drawn[6] <- (drawn[6] &&& 0x0Fuy) ||| 0x40uy
        drawn[8] <- (drawn[8] &&& 0x3Fuy) ||| 0x80uy
        let hex = (Convert.ToHexString drawn).ToLowerInvariant()

        struct (String.Join(
                    "-",
                    [| hex.Substring(0, 8)
                       hex.Substring(8, 4)
                       hex.Substring(12, 4)
                       hex.Substring(16, 4)
                       hex.Substring 20 |]
                ),
                rest)
