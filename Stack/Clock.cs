namespace Hybrid.WebRtc.Stack;

/// <summary>Turns a <see cref="TimeProvider"/> into the core's instants: microseconds since the clock was made.</summary>
/// <param name="time">Where time comes from; a test gives its own.</param>
internal sealed class Clock(TimeProvider time)
{
    private readonly long _start = time.GetTimestamp();

    /// <summary>The Unix time of the clock's zero, microseconds.</summary>
    public long Epoch { get; } = (time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    /// <summary>Microseconds since the clock was made.</summary>
    public long Now => time.GetElapsedTime(_start).Ticks / TimeSpan.TicksPerMicrosecond;
}
