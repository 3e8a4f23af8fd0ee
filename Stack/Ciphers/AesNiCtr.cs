using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// AES in counter mode (SP 800-38A §6.5) with AES-NI, as SRTP has it (RFC 3711 §4.1.1): in place, eight blocks at once,
/// nothing allocated a packet. No branch and no address depends on key, counter or text.
/// </summary>
internal sealed unsafe class AesNiCtr : ICounterKey
{
    private readonly KeyMemory _memory = new(AesNi.MostRoundKeys);
    private readonly int _rounds;

    /// <param name="key">16 or 32 octets.</param>
    /// <exception cref="ArgumentException">The key has another size.</exception>
    public AesNiCtr(ReadOnlySpan<byte> key)
    {
        _rounds = AesNi.Rounds(key);
        AesNi.Expand(key, _memory.Start);
    }

    /// <summary>Whether this processor can.</summary>
    public static bool IsSupported => AesNi.IsSupported;

    /// <inheritdoc />
    /// <exception cref="ArgumentException">The counter has not 16 octets.</exception>
    public void Apply(ReadOnlySpan<byte> counter, Span<byte> text)
    {
        if (counter.Length != AesNi.BlockSize)
            throw new ArgumentException($"A counter block has {AesNi.BlockSize} octets, not {counter.Length}.");
        fixed (
            byte* c = counter,
                t = text
        )
            Apply(_memory.Start, _rounds, *(Vector128<byte>*)c, t, text.Length);
        GC.KeepAlive(_memory);
    }

    /// <summary>Wipes the key.</summary>
    public void Dispose() => _memory.Dispose();

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining), SkipLocalsInit]
    private static void Apply(Vector128<byte>* key, int rounds, Vector128<byte> first, byte* text, int length)
    {
        var counter = AesNi.Reverse(first).AsUInt64();
        var stream = stackalloc Vector128<byte>[AesNi.Batch];
        for (; length > 0; length -= AesNi.BatchSize, text += AesNi.BatchSize)
        {
            var whitening = key[0];
            var b0 = Block(counter, 0) ^ whitening;
            var b1 = Block(counter, 1) ^ whitening;
            var b2 = Block(counter, 2) ^ whitening;
            var b3 = Block(counter, 3) ^ whitening;
            var b4 = Block(counter, 4) ^ whitening;
            var b5 = Block(counter, 5) ^ whitening;
            var b6 = Block(counter, 6) ^ whitening;
            var b7 = Block(counter, 7) ^ whitening;
            counter = Add(counter, AesNi.Batch);
            for (var round = 1; round < rounds; round++)
                AesNi.Round(key[round], ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            if (length >= AesNi.BatchSize)
                AesNi.LastRound(key[rounds], (Vector128<byte>*)text, b0, b1, b2, b3, b4, b5, b6, b7);
            else
            {
                AesNi.LastRoundOfStream(key[rounds], stream, b0, b1, b2, b3, b4, b5, b6, b7);
                AddPart(stream, text, length);
            }
        }
    }

    /// <summary>Adds key stream to fewer than eight blocks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddPart(Vector128<byte>* stream, byte* text, int length)
    {
        for (; length >= AesNi.BlockSize; length -= AesNi.BlockSize, text += AesNi.BlockSize)
            *(Vector128<byte>*)text ^= *stream++;
        if (length > 0)
            AesNi.StorePart(AesNi.LoadPart(text, length) ^ *stream, text, length);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Block(Vector128<ulong> counter, ulong further) =>
        AesNi.Reverse(Add(counter, further).AsByte());

    /// <summary>Adds to a number of 128 bits, least significant half first, with its carry and without a branch.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> Add(Vector128<ulong> counter, ulong further)
    {
        var sum = counter + Vector128.CreateScalar(further);

        // All ones, which is minus one, where the half wrapped; the upper half gets nothing added and never does.
        var wrapped = Vector128.LessThan(sum, Vector128.CreateScalar(further));
        return sum - Sse2.ShiftLeftLogical128BitLane(wrapped, 8);
    }
}
