using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// Memory of a key: aligned to cache lines, at a place that the collector never moves, so that no copies of it stay behind,
/// and wiped when it is disposed of or, at the latest, collected.
/// </summary>
internal sealed unsafe class KeyMemory : IDisposable
{
    private const int Alignment = 64;

    private readonly byte[] _octets;
    private Vector128<byte>* _start;

    /// <param name="blocks">Its size, 16 octets each.</param>
    public KeyMemory(int blocks)
    {
        _octets = GC.AllocateArray<byte>(blocks * AesNi.BlockSize + Alignment - 1, pinned: true);
        var address = (nuint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_octets));
        _start = (Vector128<byte>*)((address + (Alignment - 1)) & ~(nuint)(Alignment - 1));
    }

    /// <summary>Wipes it.</summary>
    ~KeyMemory() => Wipe();

    /// <summary>Where it begins. Whoever reads it keeps this object alive until done, or it is wiped under the reader's hands.</summary>
    /// <exception cref="ObjectDisposedException">It has been wiped.</exception>
    public Vector128<byte>* Start
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            var start = _start;
            if (start is null)
                ThrowDisposed();
            return start;
        }
    }

    /// <summary>Wipes it.</summary>
    public void Dispose()
    {
        Wipe();
        GC.SuppressFinalize(this);
    }

    private static void ThrowDisposed() => throw new ObjectDisposedException("key");

    private void Wipe()
    {
        _start = null;
        CryptographicOperations.ZeroMemory(_octets);
    }
}
