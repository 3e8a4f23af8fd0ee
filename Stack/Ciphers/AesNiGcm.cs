using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// AES-GCM (SP 800-38D) with nonces of 12 octets and tags of 16, in place, with AES-NI and PCLMULQDQ. The platform's library
/// spends a microsecond a call before it does anything; this spends it on the text, and allocates nothing a packet.
/// </summary>
/// <remarks>
/// <para>
/// Eight blocks are encrypted while the eight before them (sealing) or the same eight (opening) are hashed, one block's hash
/// to a round. What is left, up to seven blocks and a part, goes with the block that masks the tag: eight again.
/// </para>
/// <para>
/// No branch and no address depends on a key, a text or a tag, but for the one answer whether the tag fits.
/// A text whose tag does not fit is wiped before anybody can read what it decrypted to.
/// </para>
/// </remarks>
internal sealed unsafe class AesNiGcm : IAeadKey
{
    private const int NonceSize = 12;
    private const int TagSize = AesNi.BlockSize;

    /// <summary>Where the powers of H lie in the key's memory.</summary>
    private const int PowersAt = AesNi.MostRoundKeys + 1;

    private readonly KeyMemory _memory = new(PowersAt + 2 * Ghash.Powers);
    private readonly int _rounds;

    /// <param name="key">16 or 32 octets.</param>
    /// <exception cref="ArgumentException">The key has another size.</exception>
    public AesNiGcm(ReadOnlySpan<byte> key)
    {
        _rounds = AesNi.Rounds(key);
        var start = _memory.Start;
        AesNi.Expand(key, start);
        Ghash.Prepare(AesNi.Encrypt(start, _rounds, Vector128<byte>.Zero), start + PowersAt);
    }

    /// <summary>Whether this processor can.</summary>
    public static bool IsSupported => AesNi.IsSupported && Ghash.IsSupported;

    /// <inheritdoc />
    public void Seal(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, Span<byte> tag)
    {
        CheckSizes(nonce, tag);
        fixed (
            byte* n = nonce,
                a = associated,
                t = text,
                into = tag
        )
            *(Vector128<byte>*)into = Seal(_memory.Start, _rounds, n, a, associated.Length, t, text.Length);
        GC.KeepAlive(_memory);
    }

    /// <inheritdoc />
    public bool Open(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, ReadOnlySpan<byte> tag)
    {
        CheckSizes(nonce, tag);
        bool fits;
        fixed (
            byte* n = nonce,
                a = associated,
                t = text,
                given = tag
        )
        {
            var expected = *(Vector128<byte>*)given;
            fits = Open(_memory.Start, _rounds, n, a, associated.Length, t, text.Length) == expected;
        }
        GC.KeepAlive(_memory);
        if (!fits)
            text.Clear();
        return fits;
    }

    /// <summary>Wipes the key.</summary>
    public void Dispose() => _memory.Dispose();

    private static void CheckSizes(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> tag)
    {
        if (nonce.Length != NonceSize || tag.Length != TagSize)
            ThrowSizes(nonce.Length, tag.Length);
    }

    private static void ThrowSizes(int nonce, int tag) =>
        throw new ArgumentException($"A nonce has {NonceSize} octets, not {nonce}; a tag {TagSize}, not {tag}.");

    // Not inlined: next to the pinning of spans the loop's registers spill, which made it three times slower.
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static Vector128<byte> Seal(
        Vector128<byte>* key,
        int rounds,
        byte* nonce,
        byte* associated,
        int associatedLength,
        byte* text,
        int length
    )
    {
        var counter = First(nonce);
        var hash = HashAssociated(key, associated, associatedLength);
        var end = text + (length & -AesNi.BatchSize);
        if (text != end)
        {
            // The first eight have none before them; the last eight have none behind them.
            Batch(key, rounds, ref counter, text, null, ref hash);
            for (text += AesNi.BatchSize; text != end; text += AesNi.BatchSize)
                Batch(key, rounds, ref counter, text, text - AesNi.BatchSize, ref hash);
            hash = HashBatch(key, text - AesNi.BatchSize, hash);
        }
        return Rest(key, rounds, nonce, counter, text, length, associatedLength, hash, isSealing: true);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static Vector128<byte> Open(
        Vector128<byte>* key,
        int rounds,
        byte* nonce,
        byte* associated,
        int associatedLength,
        byte* text,
        int length
    )
    {
        var counter = First(nonce);
        var hash = HashAssociated(key, associated, associatedLength);
        var end = text + (length & -AesNi.BatchSize);
        for (; text != end; text += AesNi.BatchSize)
            Batch(key, rounds, ref counter, text, text, ref hash);
        return Rest(key, rounds, nonce, counter, text, length, associatedLength, hash, isSealing: false);
    }

    /// <summary>The counter block of the tag, with the count, 1, in the processor's order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> First(byte* nonce) =>
        Vector128
            .Create(Unsafe.ReadUnaligned<ulong>(nonce), Unsafe.ReadUnaligned<uint>(nonce + sizeof(ulong)) | 1UL << 32)
            .AsUInt32();

    /// <summary>The counter block so many further on. The count starts at 1 and ends below 2²⁸: it cannot wrap.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Counter(Vector128<uint> counter, uint further) =>
        Ssse3.Shuffle(
            (counter + Vector128.Create(0, 0, 0, further)).AsByte(),
            Vector128.Create((byte)0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12)
        );

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> HashAssociated(Vector128<byte>* key, byte* associated, int length)
    {
        var hash = Vector128<ulong>.Zero;
        for (; length >= AesNi.BlockSize; length -= AesNi.BlockSize, associated += AesNi.BlockSize)
            hash = HashBlock(key, *(Vector128<byte>*)associated, hash);
        return length > 0 ? HashBlock(key, AesNi.LoadPart(associated, length), hash) : hash;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> HashBlock(Vector128<byte>* key, Vector128<byte> block, Vector128<ulong> hash)
    {
        Vector128<ulong> low = default,
            middle = default,
            high = default;
        var power = (Vector128<ulong>*)(key + PowersAt + Ghash.Powers - 1);
        Ghash.Accumulate(AesNi.Reverse(block).AsUInt64() ^ hash, power, ref low, ref middle, ref high);
        return Ghash.Reduce(low, middle, high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> HashBatch(Vector128<byte>* key, byte* blocks, Vector128<ulong> hash)
    {
        Vector128<ulong> low = default,
            middle = default,
            high = default;
        for (var i = 0; i < AesNi.Batch; i++)
        {
            var block = AesNi.Reverse(((Vector128<byte>*)blocks)[i]).AsUInt64() ^ hash;
            hash = default;
            Ghash.Accumulate(block, (Vector128<ulong>*)(key + PowersAt + 1 + i), ref low, ref middle, ref high);
        }
        return Ghash.Reduce(low, middle, high);
    }

    /// <summary>Adds the key stream to eight blocks, and hashes eight meanwhile.</summary>
    /// <param name="key">The key's memory.</param>
    /// <param name="rounds">Of AES.</param>
    /// <param name="counter">The counter block used last.</param>
    /// <param name="text">What to encrypt or decrypt.</param>
    /// <param name="hashed">What to hash, as it is before; null: nothing. A constant where this is inlined.</param>
    /// <param name="hash">The hash so far.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Batch(
        Vector128<byte>* key,
        int rounds,
        ref Vector128<uint> counter,
        byte* text,
        byte* hashed,
        ref Vector128<ulong> hash
    )
    {
        var whitening = key[0];
        var b0 = Counter(counter, 1) ^ whitening;
        var b1 = Counter(counter, 2) ^ whitening;
        var b2 = Counter(counter, 3) ^ whitening;
        var b3 = Counter(counter, 4) ^ whitening;
        var b4 = Counter(counter, 5) ^ whitening;
        var b5 = Counter(counter, 6) ^ whitening;
        var b6 = Counter(counter, 7) ^ whitening;
        var b7 = Counter(counter, 8) ^ whitening;
        counter += Vector128.Create(0, 0, 0, (uint)AesNi.Batch);
        if (hashed is not null)
        {
            Vector128<ulong> low = default,
                middle = default,
                high = default;
            var power = (Vector128<ulong>*)(key + PowersAt + 1);
            var c = (Vector128<byte>*)hashed;
            Ghash.Accumulate(AesNi.Reverse(c[0]).AsUInt64() ^ hash, power, ref low, ref middle, ref high);
            AesNi.Round(key[1], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Ghash.Accumulate(AesNi.Reverse(c[1]).AsUInt64(), power + 1, ref low, ref middle, ref high);
            AesNi.Round(key[2], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Ghash.Accumulate(AesNi.Reverse(c[2]).AsUInt64(), power + 2, ref low, ref middle, ref high);
            AesNi.Round(key[3], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Ghash.Accumulate(AesNi.Reverse(c[3]).AsUInt64(), power + 3, ref low, ref middle, ref high);
            AesNi.Round(key[4], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Ghash.Accumulate(AesNi.Reverse(c[4]).AsUInt64(), power + 4, ref low, ref middle, ref high);
            AesNi.Round(key[5], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Ghash.Accumulate(AesNi.Reverse(c[5]).AsUInt64(), power + 5, ref low, ref middle, ref high);
            AesNi.Round(key[6], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Ghash.Accumulate(AesNi.Reverse(c[6]).AsUInt64(), power + 6, ref low, ref middle, ref high);
            AesNi.Round(key[7], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Ghash.Accumulate(AesNi.Reverse(c[7]).AsUInt64(), power + 7, ref low, ref middle, ref high);
            AesNi.Round(key[8], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            hash = Ghash.Reduce(low, middle, high);
        }
        else
        {
            for (var round = 1; round <= AesNi.Batch; round++)
                AesNi.Round(key[round], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
        }
        for (var round = AesNi.Batch + 1; round < rounds; round++)
            AesNi.Round(key[round], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
        AesNi.LastRound(key[rounds], (Vector128<byte>*)text, b0, b1, b2, b3, b4, b5, b6, b7);
    }

    /// <summary>What is left of the text, fewer than eight whole blocks, the lengths' block, and the tag.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining), SkipLocalsInit]
    private static Vector128<byte> Rest(
        Vector128<byte>* key,
        int rounds,
        byte* nonce,
        Vector128<uint> counter,
        byte* text,
        int length,
        int associatedLength,
        Vector128<ulong> hash,
        bool isSealing
    )
    {
        var whitening = key[0];
        var b0 = Counter(First(nonce), 0) ^ whitening;
        var b1 = Counter(counter, 1) ^ whitening;
        var b2 = Counter(counter, 2) ^ whitening;
        var b3 = Counter(counter, 3) ^ whitening;
        var b4 = Counter(counter, 4) ^ whitening;
        var b5 = Counter(counter, 5) ^ whitening;
        var b6 = Counter(counter, 6) ^ whitening;
        var b7 = Counter(counter, 7) ^ whitening;
        for (var round = 1; round < rounds; round++)
            AesNi.Round(key[round], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
        var stream = stackalloc Vector128<byte>[AesNi.Batch + 1];
        AesNi.LastRoundOfStream(key[rounds], stream, b0, b1, b2, b3, b4, b5, b6, b7);

        var left = length & (AesNi.BatchSize - 1);
        if (left > AesNi.BatchSize - AesNi.BlockSize)
            stream[AesNi.Batch] = AesNi.Encrypt(key, rounds, Counter(counter, AesNi.Batch));
        var power =
            (Vector128<ulong>*)(key + PowersAt + Ghash.Powers - 1) - (left + AesNi.BlockSize - 1) / AesNi.BlockSize;
        Vector128<ulong> low = default,
            middle = default,
            high = default;
        var mask = stream + 1;
        for (; left >= AesNi.BlockSize; left -= AesNi.BlockSize, text += AesNi.BlockSize)
        {
            var before = *(Vector128<byte>*)text;
            var after = before ^ *mask++;
            *(Vector128<byte>*)text = after;
            hash ^= AesNi.Reverse(isSealing ? after : before).AsUInt64();
            Ghash.Accumulate(hash, power++, ref low, ref middle, ref high);
            hash = default;
        }
        if (left > 0)
        {
            var before = AesNi.LoadPart(text, left);
            var after = before ^ *mask;
            AesNi.StorePart(after, text, left);

            // Zeros fill up the block that is hashed.
            hash ^= AesNi.Reverse(isSealing ? AesNi.LoadPart(text, left) : before).AsUInt64();
            Ghash.Accumulate(hash, power++, ref low, ref middle, ref high);
            hash = default;
        }

        // The lengths in bits, reversed as every block.
        hash ^= Vector128.Create((ulong)length * 8, (ulong)associatedLength * 8);
        Ghash.Accumulate(hash, power, ref low, ref middle, ref high);
        return AesNi.Reverse(Ghash.Reduce(low, middle, high).AsByte()) ^ stream[0];
    }
}
