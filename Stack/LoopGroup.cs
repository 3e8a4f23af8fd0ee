namespace Hybrid.WebRtc.Stack;

/// <summary>Loops among which peers are shared out, the emptiest first.</summary>
internal sealed class LoopGroup
{
    private readonly Loop[] _loops;

    /// <summary>Makes a group.</summary>
    /// <param name="count">Loops, and so threads; 0: one per processor.</param>
    /// <param name="time">Where time comes from; null: the system's.</param>
    public LoopGroup(int count = 0, TimeProvider? time = null)
    {
        _loops = new Loop[count > 0 ? count : Environment.ProcessorCount];

        for (var i = 0; i < _loops.Length; i++)
            _loops[i] = new Loop(time ?? TimeProvider.System);
    }

    /// <summary>A group of loops that the caller made.</summary>
    public LoopGroup(Loop[] loops) => _loops = loops;

    /// <summary>The loops of every peer that names no others: one per processor, for the whole process.</summary>
    public static LoopGroup Shared { get; } = new();

    /// <summary>The loops.</summary>
    public IReadOnlyList<Loop> Loops => _loops;

    /// <summary>The loop with the fewest members.</summary>
    public Loop Emptiest()
    {
        var emptiest = _loops[0];

        foreach (var loop in _loops)
            if (loop.Members < emptiest.Members)
                emptiest = loop;

        return emptiest;
    }
}
