using System.Collections.Concurrent;
using System.Reactive.Concurrency;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc;

/// <summary>
/// Runs what is posted to it one after the other, in order, on the thread pool or wherever a user wants it. Nothing that runs
/// here can end it: exceptions are logged.
/// </summary>
/// <remarks>
/// It is the current <see cref="SynchronizationContext"/> while it runs, unless it runs on a user's own: an <c>async</c>
/// subscriber goes on here after its <c>await</c>s, as a script does in a browser, and what it throws is logged, too.
/// </remarks>
internal sealed class SerialContext : SynchronizationContext, IThreadPoolWorkItem
{
    /// <summary>So many items, and others get a turn on the thread.</summary>
    private const int Batch = 64;

    [ThreadStatic]
    private static bool s_scheduling;

    private readonly ConcurrentQueue<(SendOrPostCallback Callback, object? State)> _items = new();
    private readonly Action<SerialContext> _schedule;
    private readonly bool _isAmbient;
    private readonly ILogger _logger;
    private int _busy;
    private Thread? _thread;

    // What the item that runs has to follow it at once; the running thread's alone. Made where it is needed.
    private Queue<Action>? _next;

    private SerialContext(Action<SerialContext> schedule, bool isAmbient, ILogger logger)
    {
        _schedule = schedule;
        _isAmbient = isAmbient;
        _logger = logger;
    }

    /// <summary>Whether the caller runs in it.</summary>
    public bool IsCurrent => Volatile.Read(ref _thread) == Thread.CurrentThread;

    /// <summary>A context of its own on the thread pool.</summary>
    public static SerialContext OnThreadPool(ILogger logger) => new(ToThreadPool, true, logger);

    /// <summary>A context within a user's: in order and one at a time even where the user's promises neither.</summary>
    public static SerialContext On(SynchronizationContext outer, ILogger logger) =>
        new(context => outer.Post(static state => ((SerialContext)state!).Drain(), context), false, logger);

    /// <summary>A context within a user's scheduler.</summary>
    public static SerialContext On(IScheduler outer, ILogger logger) =>
        new(context => outer.Schedule(context.Drain), true, logger);

    /// <summary>Runs it later, after all that was posted before.</summary>
    public override void Post(SendOrPostCallback callback, object? state)
    {
        Enqueue(callback, state);
        Wake();
    }

    /// <summary>The same, at the next <see cref="Wake"/>: who has a batch wakes a thread once.</summary>
    public void Enqueue(SendOrPostCallback callback, object? state) => _items.Enqueue((callback, state));

    /// <summary>Has what was enqueued run.</summary>
    public void Wake()
    {
        // The fence is the one that Drain has, too: either we see that it fell idle, or it sees our item.
        Interlocked.MemoryBarrier();

        // A look before the exchange, which would take the cache line from whoever drains.
        if (!_items.IsEmpty && Volatile.Read(ref _busy) == 0 && Interlocked.Exchange(ref _busy, 1) == 0)
            Schedule();
    }

    /// <summary>Runs it later, after all that was posted before.</summary>
    public void Post(Action action) => Post(static state => ((Action)state!)(), action);

    /// <summary>Runs it after the item that runs here, before all that was posted; as a post, where the caller runs elsewhere.</summary>
    public void PostNext(Action action)
    {
        if (IsCurrent)
            (_next ??= new()).Enqueue(action);
        else
            Post(action);
    }

    /// <summary>Runs it here, and waits for it; at once where the caller is here already.</summary>
    public override void Send(SendOrPostCallback callback, object? state)
    {
        if (IsCurrent)
        {
            callback(state);
            return;
        }

        using var done = new ManualResetEventSlim();
        Exception? thrown = null;
        Post(() =>
        {
            try
            {
                callback(state);
            }
            catch (Exception e)
            {
                thrown = e;
            }
            finally
            {
                done.Set();
            }
        });
        done.Wait();
        if (thrown is not null)
            throw new System.Reflection.TargetInvocationException(thrown);
    }

    /// <inheritdoc/>
    public override SynchronizationContext CreateCopy() => this;

    void IThreadPoolWorkItem.Execute() => Drain();

    private static void ToThreadPool(SerialContext context) =>
        ThreadPool.UnsafeQueueUserWorkItem(context, preferLocal: false);

    private void Schedule()
    {
        // A context or scheduler that runs at once what it is given would run subscribers on the loop's thread, where they
        // must not wait for the loop: Drain sees that it was called from here.
        s_scheduling = true;
        try
        {
            _schedule(this);
        }
        catch (Exception e)
        {
            // A user's context that is gone, such as a closed window's: the connection shall still end in good order.
            Log.ContextGone(_logger, e);
            ToThreadPool(this);
        }
        finally
        {
            s_scheduling = false;
        }
    }

    private void Drain()
    {
        if (s_scheduling)
        {
            ToThreadPool(this);
            return;
        }

        var outer = Current;
        Volatile.Write(ref _thread, Thread.CurrentThread);
        if (_isAmbient)
            SetSynchronizationContext(this);

        try
        {
            for (var i = 0; i < Batch && _items.TryDequeue(out var item); i++)
            {
                Run(item.Callback, item.State);
                while (_next is { } following && following.TryDequeue(out var next))
                    Run(static state => ((Action)state!)(), next);
            }
        }
        finally
        {
            Volatile.Write(ref _thread, null);
            if (_isAmbient)
                SetSynchronizationContext(outer);
        }

        if (!_items.IsEmpty)
        {
            Schedule();
            return;
        }

        // A full fence: with a plain release the look at the queue below could come before the store, and an item posted
        // in between, by someone who saw us busy, would lie there until the next one.
        Interlocked.Exchange(ref _busy, 0);
        // Posted between the two lines above, by someone who saw us busy.
        if (!_items.IsEmpty && Interlocked.Exchange(ref _busy, 1) == 0)
            Schedule();
    }

    private void Run(SendOrPostCallback callback, object? state)
    {
        try
        {
            callback(state);
        }
        catch (Exception e)
        {
            Log.SubscriberThrew(_logger, e);
        }
    }
}
