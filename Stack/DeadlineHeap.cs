namespace Hybrid.WebRtc.Stack;

/// <summary>
/// Who is due when: a binary heap of seats in which each seat knows its place, so that moving one costs O(log n)
/// and no stale entry is left behind.
/// </summary>
internal sealed class DeadlineHeap
{
    private Seat[] _seats = new Seat[16];

    /// <summary>Seats that wait for something.</summary>
    public int Count { get; private set; }

    /// <summary>The earliest time in the heap; <see cref="long.MaxValue"/> when nobody waits.</summary>
    public long Earliest => Count == 0 ? long.MaxValue : _seats[0].DueAt;

    /// <summary>The seat that is due first. Ask only while <see cref="Count"/> is above zero.</summary>
    public Seat First => _seats[0];

    /// <summary>Gives a seat a time of its own, later or earlier than before; <see cref="long.MaxValue"/> takes it out.</summary>
    public void Move(Seat seat, long dueAt)
    {
        if (dueAt == long.MaxValue)
        {
            Remove(seat);
            return;
        }

        seat.DueAt = dueAt;

        if (seat.HeapIndex < 0)
        {
            if (Count == _seats.Length)
                Array.Resize(ref _seats, 2 * Count);

            Place(seat, Count++);
        }

        SiftUp(seat.HeapIndex);
        SiftDown(seat.HeapIndex);
    }

    /// <summary>Takes a seat out; harmless where it is not in.</summary>
    public void Remove(Seat seat)
    {
        var at = seat.HeapIndex;
        seat.DueAt = long.MaxValue;

        if (at < 0)
            return;

        seat.HeapIndex = -1;
        var last = _seats[--Count];
        _seats[Count] = null!;

        if (last == seat)
            return;

        Place(last, at);
        SiftUp(at);
        SiftDown(last.HeapIndex);
    }

    private void SiftUp(int at)
    {
        var seat = _seats[at];

        while (at > 0 && _seats[(at - 1) / 2].DueAt > seat.DueAt)
        {
            Place(_seats[(at - 1) / 2], at);
            at = (at - 1) / 2;
        }

        Place(seat, at);
    }

    private void SiftDown(int at)
    {
        var seat = _seats[at];

        while (2 * at + 1 < Count)
        {
            var child = 2 * at + 1;

            if (child + 1 < Count && _seats[child + 1].DueAt < _seats[child].DueAt)
                child++;

            if (_seats[child].DueAt >= seat.DueAt)
                break;

            Place(_seats[child], at);
            at = child;
        }

        Place(seat, at);
    }

    private void Place(Seat seat, int at)
    {
        _seats[at] = seat;
        seat.HeapIndex = at;
    }
}
