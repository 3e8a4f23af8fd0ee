namespace Hybrid.WebRtc.Stack;

/// <summary>A slot of pinned memory on loan from a <see cref="LeasePool"/>, holding one datagram.</summary>
internal sealed class Lease
{
    internal Lease(Memory<byte> memory) => Memory = memory;

    /// <summary>The whole slot.</summary>
    public Memory<byte> Memory { get; }

    /// <summary>Octets of the datagram in it.</summary>
    public int Length { get; set; }

    /// <summary>Where the datagram came from.</summary>
    public Core.Endpoint Remote { get; set; }

    /// <summary>The next in whichever queue holds this lease; a queue of leases allocates nothing.</summary>
    internal Lease? Next { get; set; }

    /// <summary>Whether it is out on loan; a second return is a bug that must not corrupt the pool.</summary>
    internal bool OnLoan { get; set; }
}

/// <summary>
/// Pinned buffers, pooled and bounded. They are made a slab at a time on the pinned heap, so that receiving fragments
/// no other heap, and are never given back.
/// </summary>
/// <param name="slotSize">Octets of a slot. A larger datagram is cut off, and then fails its integrity check.</param>
/// <param name="capacity">Slots on loan past which <see cref="IsExhausted"/>.</param>
internal sealed class LeasePool(int slotSize = LeasePool.DefaultSlotSize, int capacity = 32_768)
{
    /// <summary>More than any datagram that crosses an Ethernet.</summary>
    public const int DefaultSlotSize = 2_048;

    private const int SlotsPerSlab = 32;

    private readonly Lock _gate = new();
    private Lease? _free;
    private int _onLoan;

    /// <summary>The pool of every port that names no other: 64 MiB at most.</summary>
    public static LeasePool Shared { get; } = new();

    /// <summary>Octets of a slot.</summary>
    public int SlotSize => slotSize;

    /// <summary>Slots that are out.</summary>
    public int OnLoan => Volatile.Read(ref _onLoan);

    /// <summary>Whether <c>capacity</c> slots are out: what arrives now is given up.</summary>
    public bool IsExhausted => OnLoan >= capacity;

    /// <summary>A slot, beyond the bound if need be: each port owns one to receive into, and asks <see cref="IsExhausted"/>
    /// before it keeps what arrived in it.</summary>
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
        lease.Length = 0;
        _onLoan++;
        return lease;
    }
}

/// <summary>A first-in, first-out chain of leases. Not safe for several threads.</summary>
internal struct LeaseQueue
{
    private Lease? _first;
    private Lease? _last;

    /// <summary>How many are queued.</summary>
    public int Count { get; private set; }

    /// <summary>Puts a lease at the end.</summary>
    public void Add(Lease lease)
    {
        lease.Next = null;

        if (_last is null)
            _first = lease;
        else
            _last.Next = lease;

        _last = lease;
        Count++;
    }

    /// <summary>Takes the first, or null.</summary>
    public Lease? Take()
    {
        var lease = _first;

        if (lease is null)
            return null;

        _first = lease.Next;
        lease.Next = null;

        if (_first is null)
            _last = null;

        Count--;
        return lease;
    }
}
