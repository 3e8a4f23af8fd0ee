namespace Hybrid.WebRtc.Media;

/// <summary>Arithmetic of clocks of different rates.</summary>
internal static class Time
{
    /// <summary>A time times a fraction, rounded, modulo 2³²: an RTP timestamp.</summary>
    public static uint Rescale(ulong time, ulong times, ulong by) =>
        (uint)(UInt128)(((UInt128)time * times + by / 2) / by);

    /// <summary>A time times a fraction, rounded, modulo 2⁶⁴.</summary>
    public static ulong Rescale64(ulong time, ulong times, ulong by) => (ulong)(((UInt128)time * times + by / 2) / by);

    /// <summary>So many ticks of a clock, at most a day.</summary>
    public static TimeSpan Span(ulong ticks, uint rate, uint scale) =>
        TimeSpan.FromSeconds(Math.Min(86_400, (double)ticks * scale / rate));
}

/// <summary>RTP timestamps from the first on, without their wrap. One that is older than the first counts as the first.</summary>
internal sealed class Unwrapped
{
    private uint _last;
    private long _time;
    private bool _hasBegun;

    /// <summary>The time since the first, at least 0.</summary>
    public long Add(uint timestamp)
    {
        if (_hasBegun)
            _time += (int)(timestamp - _last);

        _hasBegun = true;
        _last = timestamp;
        return Math.Max(0, _time);
    }
}
