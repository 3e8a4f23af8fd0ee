using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc;

/// <summary>
/// One <c>onfoo</c> of W3C as an observable. Values are told on the connection's context, one at a time; a subscriber that
/// throws is logged and stays.
/// </summary>
/// <remarks>
/// In a browser nobody can miss an event between making an object and subscribing, because events wait until the script has
/// run. Here the script is another thread, so what is told before the first subscriber comes is held for it, up to a bound. Who
/// subscribes in a notification is told right after it, before the next.
/// </remarks>
/// <param name="context">Where values are told.</param>
/// <param name="logger">Who hears of subscribers that throw.</param>
/// <param name="hold">Whether a value that nobody has subscribed to yet is held. Called with how many are held already.</param>
/// <param name="told">Called when a value has been told to everybody, or to nobody.</param>
/// <param name="present">Of a state: what it is now. A new subscriber is told, and nothing is held.</param>
internal sealed class Notifier<T>(
    SerialContext context,
    ILogger logger,
    Func<T, int, bool> hold,
    Action<T>? told = null,
    Func<T>? present = null
) : IObservable<T>
{
    private readonly Lock _gate = new();
    private Subscription[] _subscriptions = [];

    // Made when they are needed: a connection has some twenty notifiers, most of which nobody ever asks.
    private List<Subscription>? _joining;
    private Queue<T>? _held;
    private bool _isHolding = true;
    private bool _isOver;

    /// <summary>A notifier that holds up to <paramref name="count"/> values for its first subscriber.</summary>
    public Notifier(SerialContext context, ILogger logger, int count = 1)
        : this(context, logger, (_, held) => held < count) { }

    /// <summary>A notifier of a state: a new subscriber is told the present one.</summary>
    public Notifier(SerialContext context, ILogger logger, Func<T> present)
        : this(context, logger, static (_, _) => false, present: present) { }

    /// <inheritdoc/>
    public IDisposable Subscribe(IObserver<T> observer)
    {
        ArgumentNullException.ThrowIfNull(observer);
        var subscription = new Subscription(this, observer);
        lock (_gate)
        {
            if (present is not null || _held is { Count: > 0 } || _joining is not null || _isOver)
            {
                (_joining ??= []).Add(subscription);
                context.PostNext(Join);
            }
            else
            {
                _isHolding = false;
                _subscriptions = [.. _subscriptions, subscription];
            }
        }
        return subscription;
    }

    /// <summary>Tells everybody; on the context.</summary>
    public void Tell(T value)
    {
        Subscription[] subscriptions;
        lock (_gate)
        {
            if (_isOver)
                return;
            if (_isHolding && hold(value, _held?.Count ?? 0))
            {
                (_held ??= new()).Enqueue(value);
                return;
            }
            subscriptions = _subscriptions;
        }
        Tell(subscriptions, value);
    }

    /// <summary>Nothing follows; on the context.</summary>
    public void Complete()
    {
        Subscription[] subscriptions;
        lock (_gate)
        {
            if (_isOver)
                return;
            _isOver = true;
            subscriptions = _subscriptions;
            _subscriptions = [];
        }
        foreach (var subscription in subscriptions)
            End(subscription);
    }

    /// <summary>Whether a value that is told now would be heard, or held. Any thread; may be out of date when it is read.</summary>
    public bool IsWanted
    {
        get
        {
            lock (_gate)
            {
                return !_isOver
                    && (
                        _subscriptions.Length > 0
                        || _joining is not null
                        || (_isHolding && hold(default!, _held?.Count ?? 0))
                    );
            }
        }
    }

    /// <summary>Nobody will want what nobody has subscribed to.</summary>
    public void StopHolding()
    {
        lock (_gate)
        {
            _isHolding = false;
            if (_joining is null)
                _held = null;
        }
    }

    /// <summary>What is held has lost its meaning.</summary>
    public void Forget()
    {
        lock (_gate)
            _held?.Clear();
    }

    /// <summary>What is held, still waiting for its first subscriber.</summary>
    public T[] Held()
    {
        lock (_gate)
            return _held?.ToArray() ?? [];
    }

    /// <summary>Tells those who wait to join what was held, or the present state; on the context.</summary>
    private void Join()
    {
        Subscription[] joining;
        T[] first;
        bool isOver;
        lock (_gate)
        {
            if (_joining is null)
                return;
            joining = [.. _joining];
            _joining = null;
            first = present is not null ? [present()] : _held?.ToArray() ?? [];
            _held = null;
            _isHolding = false;
            isOver = _isOver;
            if (!isOver)
                _subscriptions = [.. _subscriptions, .. joining];
        }

        foreach (var value in first)
            Tell(joining, value);

        if (isOver)
            foreach (var subscription in joining)
                End(subscription);
    }

    private void Tell(Subscription[] subscriptions, T value)
    {
        foreach (var subscription in subscriptions)
        {
            try
            {
                subscription.Observer?.OnNext(value);
            }
            catch (Exception e)
            {
                Log.SubscriberThrew(logger, e);
            }
        }
        told?.Invoke(value);
    }

    private void End(Subscription subscription)
    {
        try
        {
            subscription.Observer?.OnCompleted();
        }
        catch (Exception e)
        {
            Log.SubscriberThrew(logger, e);
        }
        subscription.Observer = null;
    }

    private void Leave(Subscription subscription)
    {
        lock (_gate)
        {
            _subscriptions = Array.FindAll(_subscriptions, other => other != subscription);
            if (_joining?.Remove(subscription) == true && _joining.Count == 0)
                _joining = null;
        }
    }

    private sealed class Subscription(Notifier<T> notifier, IObserver<T> observer) : IDisposable
    {
        /// <summary>Null once disposed.</summary>
        public volatile IObserver<T>? Observer = observer;

        public void Dispose()
        {
            if (Observer is null)
                return;
            Observer = null;
            notifier.Leave(this);
        }
    }
}
