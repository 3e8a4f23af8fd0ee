using System.Net.NetworkInformation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// Watches this machine's addresses for everyone in the process: at once when the system tells of a change, and by looking from time to
/// time, since a link that goes down is told of by no system, and a container may not be allowed to hear of anything. It has no
/// thread, and rests while nobody listens.
/// </summary>
internal sealed class NetworkWatch
{
    /// <summary>The system tells of one change many times. It is looked at once, and again when so long has passed.</summary>
    private static readonly TimeSpan Settling = TimeSpan.FromMilliseconds(250);

    private readonly Func<InterfaceSnapshot> _list;
    private readonly TimeProvider _time;
    private readonly bool _hearsSystem;

    /// <summary>Held while looking: of two looks the later is told later.</summary>
    private readonly object _looking = new();

    // Guarded by the set itself.
    private readonly HashSet<Listener> _listeners = [];
    private ITimer? _poll;
    private ITimer? _settled;
    private bool _isSettling;
    private TimeSpan _pace = Timeout.InfiniteTimeSpan;

    // Guarded by _looking.
    private InterfaceSnapshot? _known;

    /// <summary>1: what is known is to be told again.</summary>
    private int _isDoubted;

    /// <summary>Makes a watch.</summary>
    /// <param name="list">Lists the addresses anew.</param>
    /// <param name="time">Whose timers it has.</param>
    /// <param name="hearsSystem">Whether it asks the system to tell of changes.</param>
    public NetworkWatch(Func<InterfaceSnapshot> list, TimeProvider time, bool hearsSystem)
    {
        _list = list;
        _time = time;
        _hearsSystem = hearsSystem;
    }

    /// <summary>This machine's.</summary>
    public static NetworkWatch Shared { get; } =
        new(
            () =>
            {
                InterfaceSnapshot.Forget();
                return InterfaceSnapshot.Present();
            },
            TimeProvider.System,
            hearsSystem: true
        );

    /// <summary>Where it is told that the addresses cannot be listed.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    /// <summary>Listeners; any thread.</summary>
    public int Listeners
    {
        get
        {
            lock (_listeners)
                return _listeners.Count;
        }
    }

    /// <summary>The addresses now, best first; listing them takes a millisecond where nobody has lately.</summary>
    public InterfaceSnapshot Present() => ReferenceEquals(this, Shared) ? InterfaceSnapshot.Present() : _list();

    /// <summary>Has changes told of, until what is answered is disposed; any thread.</summary>
    /// <param name="interval">How often to look in any case; <see cref="Timeout.InfiniteTimeSpan"/>: only when the system tells. Of
    /// several listeners the most impatient decides.</param>
    /// <param name="changed">Called on the thread pool, one call at a time. It must return soon.</param>
    public IDisposable Listen(TimeSpan interval, Action<InterfaceSnapshot> changed)
    {
        var listener = new Listener(this, changed);

        lock (_listeners)
        {
            _listeners.Add(listener);

            if (_listeners.Count == 1)
                Wake();

            Hasten(interval);
        }

        return listener;
    }

    /// <summary>Something has changed, the system says; any thread.</summary>
    public void Heard()
    {
        lock (_listeners)
        {
            if (_listeners.Count == 0 || _isSettling)
                return;

            _isSettling = true;
            _settled!.Change(Settling, Timeout.InfiniteTimeSpan);
        }

        Task.Run(Look);
    }

    /// <summary>
    /// Somebody has found an address gone, which may be back before it was seen to be: the next look, which is soon, is told of in any
    /// case; any thread.
    /// </summary>
    public void Doubt()
    {
        Interlocked.Exchange(ref _isDoubted, 1);
        Heard();
    }

    /// <summary>Looks now, and tells whoever listens where something is otherwise than before.</summary>
    public void Look()
    {
        lock (_looking)
        {
            InterfaceSnapshot fresh;

            try
            {
                fresh = _list();
            }
            catch (Exception e) when (e is NetworkInformationException or IOException or PlatformNotSupportedException)
            {
                Log.InterfacesUnknown(Logger, e.Message);
                return;
            }

            Listener[] listeners;

            lock (_listeners)
                listeners = [.. _listeners];

            var isDoubted = Interlocked.Exchange(ref _isDoubted, 0) == 1;

            if (listeners.Length == 0 || (!isDoubted && _known is { } known && known.All.SequenceEqual(fresh.All)))
                return;

            _known = fresh;

            foreach (var listener in listeners)
                listener.Tell(fresh);
        }
    }

    private void Wake()
    {
        _poll = _time.CreateTimer(_ => Look(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _settled = _time.CreateTimer(_ => Settle(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        if (!_hearsSystem)
            return;

        try
        {
            NetworkChange.NetworkAddressChanged += OnChanged;
            // A link that comes up, or goes down, with an address.
            NetworkChange.NetworkAvailabilityChanged += OnChanged;
        }
        catch (Exception e) when (e is NetworkInformationException or PlatformNotSupportedException)
        {
            Log.NetworkSilent(Logger, e.Message);
        }
    }

    private void Rest()
    {
        _poll?.Dispose();
        _settled?.Dispose();
        _isSettling = false;
        _pace = Timeout.InfiniteTimeSpan;

        if (!_hearsSystem)
            return;

        NetworkChange.NetworkAddressChanged -= OnChanged;
        NetworkChange.NetworkAvailabilityChanged -= OnChanged;
    }

    private void OnChanged(object? sender, EventArgs e) => Heard();

    private void Settle()
    {
        lock (_listeners)
            _isSettling = false;

        Look();
    }

    // It slows down again only when all have left: few processes have two intervals.
    private void Hasten(TimeSpan interval)
    {
        if (interval == Timeout.InfiniteTimeSpan || (_pace != Timeout.InfiniteTimeSpan && _pace <= interval))
            return;

        _pace = interval;
        _poll!.Change(interval, interval);
    }

    private void Leave(Listener listener)
    {
        lock (_listeners)
        {
            if (!_listeners.Remove(listener))
                return;

            if (_listeners.Count > 0)
                return;

            Rest();
        }
    }

    private sealed class Listener(NetworkWatch watch, Action<InterfaceSnapshot> changed) : IDisposable
    {
        public void Tell(InterfaceSnapshot fresh) => changed(fresh);

        public void Dispose() => watch.Leave(this);
    }
}
