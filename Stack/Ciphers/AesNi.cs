using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// AES (FIPS 197) with the processor's own instructions, whose time depends on nothing secret: the key schedule, and eight
/// blocks at once, which is what keeps an AES unit of four cycles' latency and two instructions a cycle busy.
/// </summary>
internal static unsafe class AesNi
{
    /// <summary>Octets in a block.</summary>
    public const int BlockSize = 16;

    /// <summary>Blocks that are encrypted together.</summary>
    public const int Batch = 8;

    /// <summary>Octets in them.</summary>
    public const int BatchSize = Batch * BlockSize;

    /// <summary>Round keys of AES-256, the most there are.</summary>
    public const int MostRoundKeys = 15;

    /// <summary>Whether this processor has AES and the shuffles that go with it.</summary>
    public static bool IsSupported => Aes.IsSupported && Ssse3.IsSupported;

    /// <summary>Rounds by the size of the key, FIPS 197 §5: 10 or 14.</summary>
    /// <exception cref="ArgumentException">The key has neither 16 nor 32 octets.</exception>
    public static int Rounds(ReadOnlySpan<byte> key) =>
        key.Length switch
        {
            16 => 10,
            32 => 14,
            _ => throw new ArgumentException($"The key has {key.Length} octets, not 16 or 32."),
        };

    /// <summary>The key schedule, FIPS 197 §5.2: one round key more than there are rounds.</summary>
    public static void Expand(ReadOnlySpan<byte> key, Vector128<byte>* schedule)
    {
        var words = (uint*)schedule;
        var size = key.Length / sizeof(uint);
        var count = 4 * (Rounds(key) + 1);
        key.CopyTo(new Span<byte>(words, key.Length));
        uint constant = 1;
        for (var i = size; i < count; i++)
        {
            var word = words[i - 1];
            if (i % size == 0)
            {
                // RotWord: the words are in memory's order, least octet first.
                word = SubWord(uint.RotateRight(word, 8)) ^ constant;

                // xtime of a public number.
                constant = (constant << 1) ^ (constant >> 7) * 0x11b;
            }
            else if (size > 6 && i % size == 4)
                word = SubWord(word);
            words[i] = words[i - size] ^ word;
        }
    }

    /// <summary>One block.</summary>
    public static Vector128<byte> Encrypt(Vector128<byte>* schedule, int rounds, Vector128<byte> block)
    {
        block ^= schedule[0];
        for (var round = 1; round < rounds; round++)
            block = Aes.Encrypt(block, schedule[round]);
        return Aes.EncryptLast(block, schedule[rounds]);
    }

    /// <summary>One round of eight blocks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Round(
        Vector128<byte> key,
        ref Vector128<byte> b0,
        ref Vector128<byte> b1,
        ref Vector128<byte> b2,
        ref Vector128<byte> b3,
        ref Vector128<byte> b4,
        ref Vector128<byte> b5,
        ref Vector128<byte> b6,
        ref Vector128<byte> b7
    )
    {
        b0 = Aes.Encrypt(b0, key);
        b1 = Aes.Encrypt(b1, key);
        b2 = Aes.Encrypt(b2, key);
        b3 = Aes.Encrypt(b3, key);
        b4 = Aes.Encrypt(b4, key);
        b5 = Aes.Encrypt(b5, key);
        b6 = Aes.Encrypt(b6, key);
        b7 = Aes.Encrypt(b7, key);
    }

    /// <summary>The last round of eight blocks, and their addition to a text in place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LastRound(
        Vector128<byte> key,
        Vector128<byte>* text,
        Vector128<byte> b0,
        Vector128<byte> b1,
        Vector128<byte> b2,
        Vector128<byte> b3,
        Vector128<byte> b4,
        Vector128<byte> b5,
        Vector128<byte> b6,
        Vector128<byte> b7
    )
    {
        // EncryptLast ends with the addition of its key, so the text goes in with that.
        text[0] = Aes.EncryptLast(b0, key ^ text[0]);
        text[1] = Aes.EncryptLast(b1, key ^ text[1]);
        text[2] = Aes.EncryptLast(b2, key ^ text[2]);
        text[3] = Aes.EncryptLast(b3, key ^ text[3]);
        text[4] = Aes.EncryptLast(b4, key ^ text[4]);
        text[5] = Aes.EncryptLast(b5, key ^ text[5]);
        text[6] = Aes.EncryptLast(b6, key ^ text[6]);
        text[7] = Aes.EncryptLast(b7, key ^ text[7]);
    }

    /// <summary>The last round of eight blocks of key stream.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LastRoundOfStream(
        Vector128<byte> key,
        Vector128<byte>* into,
        Vector128<byte> b0,
        Vector128<byte> b1,
        Vector128<byte> b2,
        Vector128<byte> b3,
        Vector128<byte> b4,
        Vector128<byte> b5,
        Vector128<byte> b6,
        Vector128<byte> b7
    )
    {
        into[0] = Aes.EncryptLast(b0, key);
        into[1] = Aes.EncryptLast(b1, key);
        into[2] = Aes.EncryptLast(b2, key);
        into[3] = Aes.EncryptLast(b3, key);
        into[4] = Aes.EncryptLast(b4, key);
        into[5] = Aes.EncryptLast(b5, key);
        into[6] = Aes.EncryptLast(b6, key);
        into[7] = Aes.EncryptLast(b7, key);
    }

    /// <summary>The octets of a block, last first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Reverse(Vector128<byte> block) =>
        Ssse3.Shuffle(block, Vector128.Create((byte)15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));

    /// <summary>From 1 to 15 octets, zeros behind them. Nothing beyond them is read; branches depend on their number alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadPart(byte* from, int count)
    {
        if (count >= 8)
        {
            var low = Unsafe.ReadUnaligned<ulong>(from);
            var high = Unsafe.ReadUnaligned<ulong>(from + count - 8) >> (8 * (15 - count)) >> 8;
            return Vector128.Create(low, high).AsByte();
        }

        // Octets that are read twice land on themselves.
        var few =
            count >= 4
                ? Unsafe.ReadUnaligned<uint>(from)
                    | (ulong)Unsafe.ReadUnaligned<uint>(from + count - 4) << (8 * (count - 4))
                : from[0] | (ulong)from[count >> 1] << (8 * (count >> 1)) | (ulong)from[count - 1] << (8 * (count - 1));
        return Vector128.CreateScalar(few).AsByte();
    }

    /// <summary>The first 1 to 15 octets of a block. Nothing beyond them is written.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePart(Vector128<byte> block, byte* into, int count)
    {
        var low = block.AsUInt64().GetElement(0);
        if (count >= 8)
        {
            var high = block.AsUInt64().GetElement(1);
            Unsafe.WriteUnaligned(into, low);
            Unsafe.WriteUnaligned(into + count - 8, (low >> (8 * (count - 8))) | (high << (8 * (15 - count)) << 8));
        }
        else if (count >= 4)
        {
            Unsafe.WriteUnaligned(into, (uint)low);
            Unsafe.WriteUnaligned(into + count - 4, (uint)(low >> (8 * (count - 4))));
        }
        else
        {
            into[0] = (byte)low;
            into[count >> 1] = (byte)(low >> (8 * (count >> 1)));
            into[count - 1] = (byte)(low >> (8 * (count - 1)));
        }
    }

    /// <summary>The S-box on each octet. ShiftRows, which comes with it, moves nothing where the columns are equal.</summary>
    private static uint SubWord(uint word) =>
        Aes.EncryptLast(Vector128.Create(word).AsByte(), Vector128<byte>.Zero).AsUInt32().ToScalar();
}
