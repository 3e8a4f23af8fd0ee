using System.Buffers;
using System.Collections.Concurrent;
using System.Text;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>Who is told what a table holds: every fragment and path that comes, and that goes with its last holder.</summary>
internal interface ITableObserver
{
    /// <summary>A fragment is a member's, or nobody's any more.</summary>
    void FragmentChanged(string fragment, bool held);

    /// <summary>A path is claimed, or by nobody any more.</summary>
    void PathChanged(in Path path, bool held);
}

/// <summary>
/// Which lanes of a shared port hold what: read by all of them, at any time, and written where one's table changes, which is rare. Bounded as
/// the tables are.
/// </summary>
internal sealed class LaneDirectory(SharedLane[] lanes)
{
    /// <summary>Lanes that fit in a set.</summary>
    public const int MaxLanes = 64;

    private readonly ConcurrentDictionary<string, SharedLane> _byFragment = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<Path, ulong> _byPath = new();
    private readonly Lock _gate = new();

    /// <summary>Whom a lane's table is observed by.</summary>
    public ITableObserver ObserverOf(int lane) => new Observer(this, lane);

    /// <summary>The lane of the peer that a fragment belongs to; null: nobody's. Any thread.</summary>
    public SharedLane? ByFragment(ReadOnlySpan<byte> fragment)
    {
        Span<char> text = stackalloc char[SharedPortTable<object>.LongestFragment];

        return
            Ascii.ToUtf16(fragment, text, out var length) == OperationStatus.Done
            && _byFragment.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(text[..length], out var lane)
            ? lane
            : null;
    }

    /// <summary>Hands a datagram over to the lanes, but for <paramref name="except"/>, whose peers have claimed its path. False: none has. Any thread.</summary>
    public bool Post(in Path path, int except, ReadOnlySpan<byte> bytes)
    {
        if (!_byPath.TryGetValue(path, out var holders) || (holders &= ~(1UL << except)) == 0)
            return false;

        for (var i = 0; i < lanes.Length; i++)
            if ((holders & (1UL << i)) != 0)
                lanes[i].Mail.Add(path.Local, path.Remote, bytes);

        return true;
    }

    private void Note(int lane, in Path path, bool held)
    {
        lock (_gate)
        {
            var holders = _byPath.GetValueOrDefault(path);
            holders = held ? holders | (1UL << lane) : holders & ~(1UL << lane);

            if (holders == 0)
                _byPath.TryRemove(path, out _);
            else
                _byPath[path] = holders;
        }
    }

    private sealed class Observer(LaneDirectory directory, int lane) : ITableObserver
    {
        public void FragmentChanged(string fragment, bool held)
        {
            var self = directory.Lane(lane);

            if (held)
                directory._byFragment.TryAdd(fragment, self);
            else
                directory._byFragment.TryRemove(new KeyValuePair<string, SharedLane>(fragment, self));
        }

        public void PathChanged(in Path path, bool held) => directory.Note(lane, path, held);
    }

    private SharedLane Lane(int number) => lanes[number];
}
