using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>
/// A loop's sleep in the kernel: epoll on all its ports' sockets, and on an eventfd that other threads write to wake it. What its
/// ports receive into and send from is here too, once for all of them, so that a port costs no memory but its socket's.
/// </summary>
/// <remarks>
/// Sockets are watched level-triggered: one that has more to give than a turn takes is reported again. The eventfd is
/// edge-triggered, so that it need not be read. An event names its port by place and generation, so that one that was
/// fetched before its port closed finds nobody, whoever has that place by then.
/// </remarks>
internal sealed unsafe class LinuxPoller : IWaiting, IDisposable
{
    /// <summary>Datagrams handed over in one turn, after which others and their ticks have theirs.</summary>
    public const int PerTurn = 512;

    /// <summary>Datagrams that one port hands over at a time, but for the rest of what was fetched with the last of them.</summary>
    public const int PerPort = 256;

    /// <summary>Events fetched at a time.</summary>
    private const int EventCount = 64;

    /// <summary>Microseconds until a port that found no buffers tries again.</summary>
    private const long RetryPause = 1_000;

    /// <summary>The eventfd's key; a port's has a generation, from 1, in its upper half.</summary>
    private const ulong WakeKey = 0;

    private readonly SafeFileHandle _epoll;
    private readonly SafeFileHandle _wake;
    private readonly byte[] _events = GC.AllocateArray<byte>(EventCount * Kernel.EventStride, pinned: true);
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private Place[] _places = new Place[8];
    private readonly Stack<int> _free = new();
    private int _used;
    private uint _generation;

    // The loop's thread only.
    private int _fetched;
    private int _next;
    private readonly List<LinuxUdpPort> _retrying = [];
    private LinuxInbox? _inbox;
    private LinuxOutbox? _outbox;

    /// <summary>Makes one.</summary>
    /// <exception cref="IOException">There are no descriptors left, or it is not allowed here.</exception>
    public LinuxPoller(Kernel kernel)
    {
        Kernel = kernel;
        _epoll = Open(Libc.EpollCreate(Libc.CloseOnExec));
        _wake = Open(Libc.EventFd(0, Libc.CloseOnExec | Libc.NonBlocking));

        if (Control(Libc.EpollAdd, (int)_wake.DangerousGetHandle(), Libc.EpollIn | Libc.EpollEdge, WakeKey) < 0)
            throw new IOException("The loop cannot be woken.");
    }

    /// <summary>The kernel.</summary>
    public Kernel Kernel { get; }

    /// <summary>What is received into.</summary>
    public LinuxInbox Inbox => _inbox ??= new LinuxInbox(Kernel);

    /// <summary>What packets are built in until the turn is over.</summary>
    public LinuxOutbox Outbox => _outbox ??= new LinuxOutbox();

    /// <summary>When a port that found no buffers is to try again; <see cref="long.MaxValue"/> where none did.</summary>
    public long RetryAt { get; private set; } = long.MaxValue;

    /// <summary>Whether events are fetched that no turn has seen to yet.</summary>
    public bool HasEvents => _next < _fetched;

    /// <summary>Ports that are watched.</summary>
    public int Ports
    {
        get
        {
            lock (_gate)
                return _used - _free.Count;
        }
    }

    /// <summary>Watches a port; any thread, also while the loop sleeps.</summary>
    /// <param name="port">The port.</param>
    /// <param name="fd">Its socket.</param>
    /// <param name="key">Its name here, set before anything can be told of the port; 0 where it is not watched.</param>
    /// <exception cref="IOException">The user's watches are used up, or the kernel's memory.</exception>
    public void Add(LinuxUdpPort port, int fd, out ulong key)
    {
        lock (_gate)
        {
            if (!_free.TryPop(out var at))
            {
                if (_used == _places.Length)
                    Array.Resize(ref _places, 2 * _used);

                at = _used++;
            }

            // A generation comes again only after four thousand million ports.
            _generation = Math.Max(1, _generation + 1);
            _places[at] = new Place(port, _generation);
            key = (ulong)_generation << 32 | (uint)at;

            if (!Kernel.RefusesToWatch && Control(Libc.EpollAdd, fd, Libc.EpollIn, key) >= 0)
                return;

            key = 0;
            _places[at] = default;
            _free.Push(at);
            throw new IOException("The port cannot be watched.");
        }
    }

    /// <summary>Watches a port no more; any thread, before its socket is closed.</summary>
    public void Remove(ulong key, int fd)
    {
        lock (_gate)
        {
            if (Find(key) is null)
                return;

            _places[(int)(uint)key] = default;
            _free.Push((int)(uint)key);
            // Closing would do it too, unless a child process that is just being started holds a copy of the descriptor.
            Control(Libc.EpollDelete, fd, 0, key);
        }
    }

    /// <summary>Says whether a port is to be told when it can send again.</summary>
    public void AwaitRoom(ulong key, int fd, bool wanted) =>
        Control(Libc.EpollModify, fd, wanted ? Libc.EpollIn | Libc.EpollOut : Libc.EpollIn, key);

    /// <summary>Has a port try again soon: the device had no buffers, and nothing tells when it has.</summary>
    public void RetryLater(LinuxUdpPort port, long now)
    {
        if (!_retrying.Contains(port))
            _retrying.Add(port);

        RetryAt = Math.Min(RetryAt, now + RetryPause);
    }

    /// <summary>The turn is over: what was built leaves.</summary>
    public void Flush() => _outbox?.Flush();

    /// <inheritdoc/>
    public void Wait(long microseconds)
    {
        if (HasEvents)
            return;

        _next = 0;
        // An interrupted wait, the one error there is, is one that ended early.
        _fetched = Math.Max(0, Kernel.Wait(Descriptor, EventsAt(0), EventCount, microseconds));
    }

    /// <inheritdoc/>
    public void Wake()
    {
        var one = 1UL;
        // Fails only where 2^64 wakes are outstanding, which is awake enough.
        _ = Libc.Write((int)_wake.DangerousGetHandle(), &one, sizeof(ulong));
    }

    /// <summary>Has the ports that have something hand it over, in turn and within bounds. Answers how many datagrams it was.</summary>
    public int HandOver(Loop loop)
    {
        var taken = 0;

        if (RetryAt <= loop.Now)
            Retry();

        while (HasEvents && taken < PerTurn)
        {
            var happened = EventsAt(_next++);
            var events = Unsafe.ReadUnaligned<int>(happened);
            var key = Unsafe.ReadUnaligned<ulong>(happened + Kernel.EventKeyAt);
            LinuxUdpPort? port;

            lock (_gate)
                port = Find(key);

            try
            {
                if (port is not null)
                    taken += port.Serve(events, loop.Now);
            }
            catch (Exception bug)
            {
                Log.LoopCrashed(loop.Logger, bug);
            }
        }

        return taken;
    }

    /// <summary>Fetches nothing, and answers whether that works: for the probe.</summary>
    internal int Look(bool fine = false)
    {
        var now = new Libc.TimeSpec();
        return fine
            ? Libc.EpollWait2(Descriptor, EventsAt(0), 1, &now, null)
            : Libc.EpollWait(Descriptor, EventsAt(0), 1, 0);
    }

    /// <summary>Closes both descriptors. A loop never does: it may be used again at any time, and they go when it is collected.</summary>
    public void Dispose()
    {
        _epoll.Dispose();
        _wake.Dispose();
    }

    private void Retry()
    {
        RetryAt = long.MaxValue;
        var ports = _retrying.ToArray();
        _retrying.Clear();

        foreach (var port in ports)
            port.SendKept();
    }

    private int Descriptor => (int)_epoll.DangerousGetHandle();

    private byte* EventsAt(int i) =>
        (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_events)) + i * Kernel.EventStride;

    private LinuxUdpPort? Find(ulong key)
    {
        var at = (int)(uint)key;
        return at < _used && _places[at].Generation == key >> 32 ? _places[at].Port : null;
    }

    private int Control(int operation, int fd, int events, ulong key)
    {
        var happening = stackalloc byte[16];
        Unsafe.WriteUnaligned(happening, events);
        Unsafe.WriteUnaligned(happening + Kernel.EventKeyAt, key);
        return Libc.EpollControl(Descriptor, operation, fd, happening);
    }

    private static SafeFileHandle Open(int fd) =>
        fd >= 0
            ? new SafeFileHandle(fd, ownsHandle: true)
            : throw new IOException(Marshal.GetLastPInvokeErrorMessage());

    /// <summary>Who has a place, and since which generation; nobody: generation 0.</summary>
    private readonly record struct Place(LinuxUdpPort? Port, uint Generation);
}
