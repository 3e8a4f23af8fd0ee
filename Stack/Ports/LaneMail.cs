using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>
/// Datagrams that arrived at another lane's sockets: copied, kept in order, and taken by the lane's loop in its next turn. What there is no room for is
/// lost, as in a socket's buffer, and counted.
/// </summary>
internal sealed class LaneMail(SharedLane lane, LeasePool leases) : IDrain
{
    /// <summary>Datagrams that may wait.</summary>
    public const int Capacity = 1_024;

    private readonly Lock _gate = new();

    // Guarded by _gate.
    private Letter[] _incoming = [];
    private int _count;

    // The loop's thread only.
    private Letter[] _taken = [];

    /// <summary>Puts a datagram in; any thread.</summary>
    public void Add(int portId, in Endpoint remote, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > leases.SlotSize)
            return;

        var lease = leases.Rent();
        bytes.CopyTo(lease.Memory.Span);
        bool isFirst;

        lock (_gate)
        {
            if (_incoming.Length == 0)
                _incoming = new Letter[Capacity];

            isFirst = _count == 0;

            if (_count < Capacity)
            {
                _incoming[_count++] = new Letter(portId, remote, lease, bytes.Length);
                lease = null;
            }
        }

        if (lease is not null)
        {
            leases.Return(lease);
            Telemetry.PortDropped("no room");
        }
        else if (isFirst)
        {
            lane.Loop.Post(this);
        }
    }

    /// <inheritdoc/>
    void IDrain.Drain(long now)
    {
        int count;

        lock (_gate)
        {
            if (_taken.Length == 0)
                _taken = new Letter[Capacity];

            (_incoming, _taken) = (_taken, _incoming);
            (count, _count) = (_count, 0);
        }

        for (var i = 0; i < count; i++)
        {
            ref var letter = ref _taken[i];

            try
            {
                lane.HandedOver(letter.Port, letter.Remote, letter.Lease.Memory[..letter.Length], now);
            }
            finally
            {
                leases.Return(letter.Lease);
                letter = default;
            }
        }
    }

    private readonly record struct Letter(int Port, Endpoint Remote, Lease Lease, int Length);
}
