using Hybrid.WebRtc.Core;

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
