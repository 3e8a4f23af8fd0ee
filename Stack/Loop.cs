using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports.Linux;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// One thread with its ports and its peers. A turn drains what arrived, within bounds, lets each peer answer, ticks whoever is due,
/// settles and flushes, and sleeps until something is due or arrives.
/// </summary>
/// <remarks>
/// The thread starts with the first thing to do, and ends when the loop has had no member for a while, so an idle process
/// keeps none. No exception ends it: a bug in one member is logged and fails that member only.
/// On Linux it sleeps in epoll, and takes what its batched ports have straight from their sockets (<see cref="LinuxPoller"/>); elsewhere
/// in a monitor, and portable ports wake it (<see cref="MonitorWaiting"/>). Both kinds of port work on the former.
/// </remarks>
internal sealed class Loop
{
    /// <summary>How long a thread without members waits before it ends, microseconds.</summary>
    private const long IdleFor = 5_000_000;

    /// <summary>A member whose deadline stays in the past after its tick is asked again this much later. The core's laws
    /// forbid that; a bug there shall cost time, not a whole processor.</summary>
    private const long BusyLoopGuard = 1_000;

    /// <summary>Inputs taken from the queue in one turn, after which ports and ticks have theirs.</summary>
    private const int PerTurn = 1_024;

    [ThreadStatic]
    private static Loop? _current;

    private readonly object _gate = new();
    private readonly Clock _clock;
    private readonly bool _threaded;
    private readonly Kernel? _kernel;
    private IWaiting? _waitingBy;

    /// <summary>Ends a sleep by a clock that is not the system's.</summary>
    private readonly ITimer? _alarm;
    private readonly DeadlineHeap _deadlines = new();
    private List<Seat> _touched = [];
    private List<Seat> _settling = [];

    private int _portablePorts;

    // Guarded by _gate.
    private Work[] _incoming = new Work[64];
    private int _waiting;
    private bool _asleep;
    private bool _running;
    private int _members;

    // The loop's thread only.
    private Work[] _batch = new Work[64];
    private int _taken;
    private int _batched;

    /// <summary>Makes a loop.</summary>
    /// <param name="time">Where time comes from.</param>
    /// <param name="threaded">False: nobody runs it but the caller, turn by turn (tests).</param>
    public Loop(TimeProvider time, bool threaded = true)
        : this(time, threaded, Kernel.Here) { }

    /// <summary>Makes a loop that waits in this kernel; null: portably.</summary>
    public Loop(TimeProvider time, bool threaded, Kernel? kernel)
    {
        _clock = new Clock(time);
        _threaded = threaded;
        _kernel = kernel;

        if (!ReferenceEquals(time, TimeProvider.System))
            _alarm = time.CreateTimer(_ => Wake(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>The loop whose thread this is, or null.</summary>
    public static Loop? Current => _current;

    /// <summary>Whether the caller is on this loop's thread.</summary>
    public bool IsCurrent => _current == this;

    /// <summary>The present instant.</summary>
    public long Now => _clock.Now;

    /// <summary>The Unix time of its instant zero, microseconds.</summary>
    public long Epoch => _clock.Epoch;

    /// <summary>Members; any thread.</summary>
    public int Members => Volatile.Read(ref _members);

    /// <summary>Whether a thread runs at present.</summary>
    public bool IsRunning
    {
        get
        {
            lock (_gate)
                return _running;
        }
    }

    /// <summary>Where packets of this loop's portable ports are built: pinned, one packet at a time.</summary>
    public byte[] Scratch { get; } = GC.AllocateUninitializedArray<byte>(65_536, pinned: true);

    /// <summary>What batched ports are watched by; null where the loop waits portably.</summary>
    public LinuxPoller? Poller => WaitingBy as LinuxPoller;

    /// <summary>Portable ports that are open; any thread.</summary>
    public int PortablePorts => Volatile.Read(ref _portablePorts);

    /// <summary>Where the loop's own bugs are told.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    /// <summary>Gives a member a place; any thread.</summary>
    public Seat Join(ILoopMember member)
    {
        lock (_gate)
            _members++;

        return new Seat(this, member);
    }

    /// <summary>Queues an input for a member; any thread.</summary>
    public void Post(Seat seat, Input input) => Enqueue(new Work(seat, input));

    /// <summary>Has a source drained in the next turn; any thread.</summary>
    public void Post(IDrain source) => Enqueue(new Work(source, null));

    /// <summary>Has something done on the loop's thread, in order with all else; any thread.</summary>
    public void Post(Action action) => Enqueue(new Work(action, null));

    /// <summary>Notes that a portable port has begun (1) or is closed (-1); any thread.</summary>
    public void CountPort(int change) => Interlocked.Add(ref _portablePorts, change);

    /// <summary>One turn. Answers when the next is due; <see cref="long.MaxValue"/> when only an arrival brings it.</summary>
    public long Turn()
    {
        var outer = _current;
        _current = this;

        try
        {
            var poller = Poller;

            if (poller is not null)
            {
                // Nothing to wait for, but to fetch; where the thread has slept, it has fetched already.
                poller.Wait(0);
                poller.HandOver(this);
            }

            DoWork();
            TickWhoIsDue();
            Settle();
            poller?.Flush();

            return HasWork ? _clock.Now : Math.Min(_deadlines.Earliest, poller?.RetryAt ?? long.MaxValue);
        }
        finally
        {
            _current = outer;
        }
    }

    /// <summary>Notes that a member takes part in this turn.</summary>
    internal void Touch(Seat seat)
    {
        if (seat.Touched)
            return;

        seat.Touched = true;
        _touched.Add(seat);
    }

    /// <summary>See <see cref="Seat.Leave"/>.</summary>
    internal void Leave(Seat seat)
    {
        if (seat.IsVacant)
            return;

        seat.IsVacant = true;
        _deadlines.Remove(seat);

        lock (_gate)
            _members--;
    }

    /// <summary>Ends a member that threw.</summary>
    internal void Evict(Seat seat, Exception bug)
    {
        Leave(seat);

        try
        {
            seat.Member.Fail(bug);
        }
        catch (Exception worse)
        {
            Log.LoopCrashed(Logger, worse);
        }
    }

    private IWaiting WaitingBy => Volatile.Read(ref _waitingBy) ?? MakeWaiting();

    /// <summary>Whether something is in hand that the turn left to the next.</summary>
    private bool HasWork => _taken < _batched || Poller is { HasEvents: true };

    private IWaiting MakeWaiting()
    {
        lock (_gate)
        {
            if (_waitingBy is not null)
                return _waitingBy;

            IWaiting made;

            try
            {
                made = _kernel is null ? new MonitorWaiting() : new LinuxPoller(_kernel);
            }
            catch (IOException)
            {
                // No descriptors left: this loop's ports will be portable ones.
                made = new MonitorWaiting();
            }

            Volatile.Write(ref _waitingBy, made);
            return made;
        }
    }

    private void Enqueue(Work work)
    {
        bool wake;

        // Who adds and who falls asleep exclude each other: either the sleeper sees the work, or it is seen asleep, once.
        lock (_gate)
        {
            if (_waiting == _incoming.Length)
                Array.Resize(ref _incoming, 2 * _waiting);

            _incoming[_waiting++] = work;
            wake = _asleep;
            _asleep = false;

            if (!_running && _threaded)
            {
                _running = true;
                new Thread(Main) { IsBackground = true, Name = "Hybrid.WebRtc loop" }.Start();
            }
        }

        // A system call, perhaps, and only where there is a sleeper.
        if (wake)
            WaitingBy.Wake();
    }

    /// <summary>Does what was queued before the turn, up to a bound.</summary>
    private void DoWork()
    {
        if (_taken == _batched)
            TakeBatch();

        var end = Math.Min(_batched, _taken + PerTurn);

        while (_taken < end)
        {
            var work = _batch[_taken];
            _batch[_taken++] = default;
            Do(work);
        }
    }

    private void TakeBatch()
    {
        lock (_gate)
        {
            (_incoming, _batch) = (_batch, _incoming);
            _batched = _waiting;
            _taken = 0;
            _waiting = 0;
        }
    }

    private void Do(in Work work)
    {
        try
        {
            switch (work.Target)
            {
                case Seat seat:
                    seat.Run(_clock.Now, work.Input!);
                    break;
                case IDrain source:
                    source.Drain(_clock.Now);
                    break;
                case Action action:
                    action();
                    break;
            }
        }
        catch (Exception bug)
        {
            Log.LoopCrashed(Logger, bug);
        }
    }

    private void TickWhoIsDue()
    {
        var now = _clock.Now;

        // Only an earlier deadline moves the heap; a later one is found out when the old one comes due.
        foreach (var seat in _touched)
            if (!seat.IsVacant && seat.Member.Deadline is var deadline && deadline < seat.DueAt)
                _deadlines.Move(seat, deadline);

        while (_deadlines.Earliest <= now)
        {
            var seat = _deadlines.First;
            var deadline = seat.Member.Deadline;

            if (deadline > now)
            {
                _deadlines.Move(seat, deadline);
                continue;
            }

            seat.Run(now, Input.Tick);

            if (!seat.IsVacant)
                _deadlines.Move(seat, seat.Member.Deadline is var next && next > now ? next : now + BusyLoopGuard);
        }
    }

    private void Settle()
    {
        (_touched, _settling) = (_settling, _touched);

        foreach (var seat in _settling)
        {
            seat.Touched = false;

            try
            {
                seat.Member.Settle();
            }
            catch (Exception bug)
            {
                if (seat.IsVacant)
                    Log.LoopCrashed(Logger, bug);
                else
                    Evict(seat, bug);
            }
        }

        _settling.Clear();
    }

    private void Main()
    {
        var due = long.MaxValue;

        do
        {
            try
            {
                due = Turn();
            }
            catch (Exception bug)
            {
                Log.LoopCrashed(Logger, bug);
            }
        } while (Sleep(due));
    }

    /// <summary>Sleeps until <paramref name="due"/> or an arrival. False: the thread has nothing left to live for.</summary>
    private bool Sleep(long due)
    {
        bool idle;

        lock (_gate)
        {
            if (_waiting > 0 || HasWork)
                return true;

            idle = due == long.MaxValue && _members == 0;
            _asleep = true;
        }

        WaitUntil(due, idle);

        lock (_gate)
        {
            _asleep = false;
            _running = !idle || _waiting > 0 || _members > 0 || HasWork;
            return _running;
        }
    }

    private void WaitUntil(long due, bool idle)
    {
        var microseconds =
            idle ? IdleFor
            : due == long.MaxValue ? -1
            : Math.Max(0, due - _clock.Now);

        if (_alarm is not null && !idle && microseconds > 0)
        {
            // Not before the next millisecond, or the last fraction of one would be spent spinning.
            _alarm.Change(TimeSpan.FromMilliseconds((microseconds + 999) / 1_000), Timeout.InfiniteTimeSpan);
            microseconds = -1;
        }

        WaitingBy.Wait(microseconds);
    }

    private void Wake()
    {
        lock (_gate)
        {
            if (!_asleep)
                return;

            _asleep = false;
        }

        WaitingBy.Wake();
    }

    /// <summary>Something to do: an input for a seat, a source to drain, an action.</summary>
    private readonly record struct Work(object Target, Input? Input);
}
