using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc.Stack;

/// <summary>What a loop carries: in practice a <see cref="PeerHost"/>. Every method is called on the loop's thread.</summary>
internal interface ILoopMember
{
    /// <summary>When a <c>Tick</c> is next due; <see cref="long.MaxValue"/> when only an input can move it.</summary>
    long Deadline { get; }

    /// <summary>Takes one input.</summary>
    void Take(long now, Input input);

    /// <summary>The turn in which it took something is over: what was held back for the batch leaves now.</summary>
    void Settle();

    /// <summary>It threw. Nothing more is given to it.</summary>
    void Fail(Exception bug);
}

/// <summary>A source of datagrams that has told the loop, by <see cref="Loop.Post(IDrain)"/>, that some have arrived.</summary>
internal interface IDrain
{
    /// <summary>Hands over what has arrived so far, on the loop's thread.</summary>
    void Drain(long now);
}

/// <summary>A member's place in its loop.</summary>
internal sealed class Seat(Loop loop, ILoopMember member)
{
    /// <summary>The loop.</summary>
    public Loop Loop { get; } = loop;

    /// <summary>Who sits here.</summary>
    public ILoopMember Member { get; } = member;

    /// <summary>The member's time in the heap of deadlines: never later than its deadline, often earlier (it is moved on lazily).</summary>
    public long DueAt { get; internal set; } = long.MaxValue;

    /// <summary>Where the heap keeps this seat; -1 when it does not.</summary>
    internal int HeapIndex { get; set; } = -1;

    /// <summary>Whether the member took something in this turn.</summary>
    internal bool Touched { get; set; }

    /// <summary>Whether the member has left: it is given nothing more.</summary>
    public bool IsVacant { get; internal set; }

    /// <summary>Queues an input; any thread.</summary>
    public void Post(Input input) => Loop.Post(this, input);

    /// <summary>Gives the member an input at once, on the loop's thread. A bug in the member ends the member, not the loop.</summary>
    public void Run(long now, Input input)
    {
        if (IsVacant)
            return;

        Loop.Touch(this);

        try
        {
            Member.Take(now, input);
        }
        catch (Exception bug)
        {
            Loop.Evict(this, bug);
        }
    }

    /// <summary>Gives the place up, on the loop's thread.</summary>
    public void Leave() => Loop.Leave(this);
}

/// <summary>
/// One thread with its ports and its peers. A turn drains what arrived, in order of arrival, lets each peer answer, ticks
/// whoever is due, flushes, and sleeps until something is due or arrives.
/// </summary>
/// <remarks>
/// The thread starts with the first thing to do, and ends when the loop has had no member for a while, so an idle process
/// keeps none. No exception ends it: a bug in one member is logged and fails that member only.
/// A batched port (epoll) would take the place of <see cref="Sleep"/>; nothing else knows how the loop waits.
/// </remarks>
internal sealed class Loop
{
    /// <summary>How long a thread without members waits before it ends.</summary>
    private static readonly TimeSpan IdleFor = TimeSpan.FromSeconds(5);

    /// <summary>A member whose deadline stays in the past after its tick is asked again this much later. The core's laws
    /// forbid that; a bug there shall cost time, not a whole processor.</summary>
    private const long BusyLoopGuard = 1_000;

    [ThreadStatic]
    private static Loop? _current;

    private readonly object _gate = new();
    private readonly Clock _clock;
    private readonly bool _threaded;

    /// <summary>Ends a sleep by a clock that is not the system's.</summary>
    private readonly ITimer? _alarm;
    private readonly DeadlineHeap _deadlines = new();
    private List<Seat> _touched = [];
    private List<Seat> _settling = [];

    // Guarded by _gate.
    private Work[] _incoming = new Work[64];
    private int _waiting;
    private bool _asleep;
    private bool _running;
    private int _members;

    // The loop's thread only.
    private Work[] _batch = new Work[64];

    /// <summary>Makes a loop.</summary>
    /// <param name="time">Where time comes from.</param>
    /// <param name="threaded">False: nobody runs it but the caller, turn by turn (tests).</param>
    public Loop(TimeProvider time, bool threaded = true)
    {
        _clock = new Clock(time);
        _threaded = threaded;

        if (!ReferenceEquals(time, TimeProvider.System))
            _alarm = time.CreateTimer(_ => Wake(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>The loop whose thread this is, or null.</summary>
    public static Loop? Current => _current;

    /// <summary>Whether the caller is on this loop's thread.</summary>
    public bool IsCurrent => _current == this;

    /// <summary>The present instant.</summary>
    public long Now => _clock.Now;

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

    /// <summary>One turn. Answers when the next is due; <see cref="long.MaxValue"/> when only an arrival brings it.</summary>
    public long Turn()
    {
        var outer = _current;
        _current = this;

        try
        {
            var count = TakeBatch();

            for (var i = 0; i < count; i++)
            {
                Do(_batch[i]);
                _batch[i] = default;
            }

            TickWhoIsDue();
            Settle();
        }
        finally
        {
            _current = outer;
        }

        return _deadlines.Earliest;
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

    private void Enqueue(Work work)
    {
        lock (_gate)
        {
            if (_waiting == _incoming.Length)
                Array.Resize(ref _incoming, 2 * _waiting);

            _incoming[_waiting++] = work;

            if (_asleep)
            {
                _asleep = false;
                Monitor.Pulse(_gate);
            }
            else if (!_running && _threaded)
            {
                _running = true;
                new Thread(Main) { IsBackground = true, Name = "Hybrid.WebRtc loop" }.Start();
            }
        }
    }

    private int TakeBatch()
    {
        lock (_gate)
        {
            (_incoming, _batch) = (_batch, _incoming);
            var count = _waiting;
            _waiting = 0;
            return count;
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
                _deadlines.Move(seat, Math.Max(seat.Member.Deadline, now + BusyLoopGuard));
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
        lock (_gate)
        {
            if (_waiting > 0)
                return true;

            var idle = due == long.MaxValue && _members == 0;
            _asleep = true;

            if (idle)
                Monitor.Wait(_gate, IdleFor);
            else if (due == long.MaxValue)
                Monitor.Wait(_gate);
            else
                WaitUntil(due);

            _asleep = false;
            _running = !idle || _waiting > 0 || _members > 0;
            return _running;
        }
    }

    private void WaitUntil(long due)
    {
        // Rounded up, or the last fraction of a millisecond would be spent spinning.
        var milliseconds = Math.Clamp((due - _clock.Now + 999) / 1_000, 0, int.MaxValue);

        if (_alarm is null)
        {
            Monitor.Wait(_gate, (int)milliseconds);
        }
        else if (milliseconds > 0)
        {
            _alarm.Change(TimeSpan.FromMilliseconds(milliseconds), Timeout.InfiniteTimeSpan);
            Monitor.Wait(_gate);
        }
    }

    private void Wake()
    {
        lock (_gate)
        {
            if (_asleep)
            {
                _asleep = false;
                Monitor.Pulse(_gate);
            }
        }
    }

    /// <summary>Something to do: an input for a seat, a source to drain, an action.</summary>
    private readonly record struct Work(object Target, Input? Input);
}

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

    /// <summary>A group of one loop that the caller made.</summary>
    public LoopGroup(Loop loop) => _loops = [loop];

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
