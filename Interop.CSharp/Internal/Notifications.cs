using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc;

/// <summary>Makes a connection's notifiers: all on its one context.</summary>
internal sealed record Notifications(SerialContext Context, ILogger Logger)
{
    /// <summary>Of an event; up to <paramref name="held"/> are held for the first subscriber.</summary>
    public Notifier<T> Event<T>(int held = 1) => new(Context, Logger, held);

    /// <summary>Of a state; a new subscriber is told the present one.</summary>
    public Notifier<T> State<T>(Func<T> present) => new(Context, Logger, present);
}
