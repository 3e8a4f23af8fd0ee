using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// GHASH, SP 800-38D §6.4, by carry-less multiplication. A block is held with its octets reversed, so that bit 0 of the
/// standard is the top bit of a register; the key's powers are held multiplied by x, which spares each product a shift
/// (S. Gueron, M. Kounavis: Carry-Less Multiplication and Its Usage for Computing the GCM Mode).
/// </summary>
/// <remarks>
/// Eight blocks are multiplied by H⁸ … H¹, summed unreduced, and reduced once: (((y + c₁)·H + c₂)·H + …) multiplied out.
/// </remarks>
internal static unsafe class Ghash
{
    /// <summary>Powers of H that are held: one for each block of a batch, one for the lengths behind the last of them.</summary>
    public const int Powers = AesNi.Batch + 1;

    /// <summary>Whether this processor multiplies without carry.</summary>
    public static bool IsSupported => Pclmulqdq.IsSupported && Ssse3.IsSupported;

    /// <summary>Writes H⁹ … H¹, each multiplied by x, and behind them the sums of their halves (Karatsuba).</summary>
    /// <param name="hash">H: zero, encrypted.</param>
    /// <param name="powers">18 blocks.</param>
    public static void Prepare(Vector128<byte> hash, Vector128<byte>* powers)
    {
        // x⁷ + x² + x + 1 of the field, reflected; the top bit is added where x¹²⁸ would come to be. No branch: H is secret.
        var field = new UInt128(0xc200000000000000, 1);
        var number = Unsafe.BitCast<Vector128<byte>, UInt128>(AesNi.Reverse(hash));
        number = (number << 1) ^ (field & (UInt128.Zero - (number >> 127)));
        var first = Unsafe.BitCast<UInt128, Vector128<ulong>>(number);
        var power = first;
        for (var i = Powers - 1; i >= 0; i--)
        {
            powers[i] = power.AsByte();
            powers[Powers + i] = (power ^ Swap(power)).AsByte();
            power = Multiply(power, first);
        }
    }

    /// <summary>Adds the product of a reversed block and a power, unreduced, to the three sums.</summary>
    /// <param name="block">The block.</param>
    /// <param name="power">One of the powers; its sum of halves lies nine further.</param>
    /// <param name="low">Sum of the low halves' products.</param>
    /// <param name="middle">Sum of the products of the halves' sums.</param>
    /// <param name="high">Sum of the high halves' products.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Accumulate(
        Vector128<ulong> block,
        Vector128<ulong>* power,
        ref Vector128<ulong> low,
        ref Vector128<ulong> middle,
        ref Vector128<ulong> high
    )
    {
        low ^= Pclmulqdq.CarrylessMultiply(block, power[0], 0x00);
        high ^= Pclmulqdq.CarrylessMultiply(block, power[0], 0x11);
        middle ^= Pclmulqdq.CarrylessMultiply(block ^ Swap(block), power[Powers], 0x00);
    }

    /// <summary>Joins the three sums to 256 bits and reduces them modulo the field's polynomial, 64 bits at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<ulong> Reduce(Vector128<ulong> low, Vector128<ulong> middle, Vector128<ulong> high)
    {
        middle ^= low ^ high;
        low ^= Sse2.ShiftLeftLogical128BitLane(middle, 8);
        high ^= Sse2.ShiftRightLogical128BitLane(middle, 8);
        var field = Vector128.Create(1, 0xc200000000000000);
        low = Swap(low) ^ Pclmulqdq.CarrylessMultiply(low, field, 0x10);
        low = Swap(low) ^ Pclmulqdq.CarrylessMultiply(low, field, 0x10);
        return low ^ high;
    }

    /// <summary>The product of a reversed block (or of a power) and a power that is multiplied by x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> Multiply(Vector128<ulong> block, Vector128<ulong> power)
    {
        var low = Pclmulqdq.CarrylessMultiply(block, power, 0x00);
        var high = Pclmulqdq.CarrylessMultiply(block, power, 0x11);
        var middle = Pclmulqdq.CarrylessMultiply(block ^ Swap(block), power ^ Swap(power), 0x00);
        return Reduce(low, middle, high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> Swap(Vector128<ulong> halves) =>
        Sse2.Shuffle(halves.AsUInt32(), 0b01_00_11_10).AsUInt64();
}
