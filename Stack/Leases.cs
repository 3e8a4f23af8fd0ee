namespace Hybrid.WebRtc.Stack;

/// <summary>A slot of pinned memory on loan from a <see cref="LeasePool"/>.</summary>
internal sealed class Lease
{
    internal Lease(Memory<byte> memory) => Memory = memory;

    /// <summary>The whole slot.</summary>
    public Memory<byte> Memory { get; }

    /// <summary>The next one that is free.</summary>
    internal Lease? Next { get; set; }

    /// <summary>Whether it is out on loan; a second return is a bug that must not corrupt the pool.</summary>
    internal bool OnLoan { get; set; }
}

/// <summary>
/// Pinned buffers, pooled. They are made a slab at a time on the pinned heap, so that receiving fragments no other heap, and are
/// never given back. A slot's pages are touched, and so cost memory, only as far as something was written to them.
/// </summary>
/// <param name="slotSize">Octets of a slot. A larger datagram is cut off, and then fails its integrity check.</param>
internal sealed class LeasePool(int slotSize = LeasePool.DefaultSlotSize)
{
    /// <summary>More than any UDP datagram.</summary>
    public const int DefaultSlotSize = 65_536;

    private const int SlotsPerSlab = 8;

    private readonly Lock _gate = new();
    private Lease? _free;
    private int _onLoan;

    /// <summary>The pool of every port that names no other.</summary>
    public static LeasePool Shared { get; } = new();

    /// <summary>Octets of a slot.</summary>
    public int SlotSize => slotSize;

    /// <summary>Slots that are out.</summary>
    public int OnLoan => Volatile.Read(ref _onLoan);

    /// <summary>A slot.</summary>
    public Lease Rent()
    {
        lock (_gate)
            return Take();
    }

    /// <summary>Gives a slot back.</summary>
    public void Return(Lease lease)
    {
        lock (_gate)
        {
            if (!lease.OnLoan)
                return;

            lease.OnLoan = false;
            lease.Next = _free;
            _free = lease;
            _onLoan--;
        }
    }

    private Lease Take()
    {
        if (_free is null)
        {
            var slab = GC.AllocateUninitializedArray<byte>(SlotsPerSlab * slotSize, pinned: true);

            for (var i = 0; i < SlotsPerSlab; i++)
                _free = new Lease(slab.AsMemory(i * slotSize, slotSize)) { Next = _free };
        }

        var lease = _free!;
        _free = lease.Next;
        lease.Next = null;
        lease.OnLoan = true;
        _onLoan++;
        return lease;
    }
}
