namespace Hybrid.WebRtc.Stack;

/// <summary>How a loop's thread sleeps, and how others wake it.</summary>
internal interface IWaiting
{
    /// <summary>Sleeps, on the loop's thread, until woken, or until something arrived where this kind of waiting knows of it.
    /// To wake too early is harmless.</summary>
    /// <param name="microseconds">The most that it may take; below zero: as long as need be.</param>
    void Wait(long microseconds);

    /// <summary>Ends the present sleep, or, where there is none, the next one; any thread.</summary>
    void Wake();
}

/// <summary>The way that works everywhere: a monitor.</summary>
internal sealed class MonitorWaiting : IWaiting
{
    private readonly object _gate = new();
    private bool _woken;

    /// <inheritdoc/>
    public void Wait(long microseconds)
    {
        lock (_gate)
        {
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            if (!_woken && microseconds != 0)
                Monitor.Wait(
                    _gate,
                    microseconds < 0 ? Timeout.Infinite : (int)Math.Min((microseconds + 999) / 1_000, int.MaxValue)
                );

            _woken = false;
        }
    }

    /// <inheritdoc/>
    public void Wake()
    {
        lock (_gate)
        {
            _woken = true;
            Monitor.Pulse(_gate);
        }
    }
}
