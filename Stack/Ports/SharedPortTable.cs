using System.Buffers;
using System.Text;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>
/// Which member of a shared port a datagram is for. A STUN request says it by the username fragment that it is addressed to
/// (RFC 8445 §7.2.2); anything else goes by the path, to whoever has sent along it before.
/// </summary>
/// <remarks>
/// A path is claimed by sending only: a peer sends to remotes that were signalled or have authenticated themselves, so a forged
/// request from another's address claims nothing. A signalled candidate can still lie, so a path may have several claimants,
/// each of whom gets a copy, and whoever cannot authenticate it drops it. Every table is bounded per member.
/// </remarks>
/// <param name="observer">Who is told of every change; null: nobody.</param>
internal sealed class SharedPortTable<TMember>(ITableObserver? observer = null)
    where TMember : class
{
    /// <summary>Paths that one member may claim; past them its oldest claim lapses.</summary>
    public const int PathsPerMember = 256;

    /// <summary>Members that may claim one path; more are not heard along it.</summary>
    public const int MembersPerPath = 4;

    /// <summary>Characters of a fragment, RFC 8839 §5.4.</summary>
    public const int LongestFragment = 256;

    private readonly Dictionary<string, TMember> _byFragment = new(StringComparer.Ordinal);
    private readonly Dictionary<Path, TMember[]> _byPath = [];
    private readonly Dictionary<TMember, Holdings> _members = [];

    /// <summary>Members.</summary>
    public int Count => _members.Count;

    /// <summary>Who they are.</summary>
    public IEnumerable<TMember> Members => _members.Keys;

    /// <summary>Paths that are claimed.</summary>
    public int Paths => _byPath.Count;

    /// <summary>Takes a member in; harmless when it is in.</summary>
    public void Add(TMember member) => _members.TryAdd(member, new Holdings());

    /// <summary>Takes a member out with all that it claimed.</summary>
    public void Remove(TMember member)
    {
        if (!_members.Remove(member, out var holdings))
            return;

        foreach (var fragment in holdings.Fragments)
            Forget(fragment, member);

        foreach (var path in holdings.Paths)
            Unclaim(path, member);
    }

    /// <summary>Says which fragments are a member's from now on. One that is another's stays the other's.</summary>
    public void Name(TMember member, string[] fragments)
    {
        if (!_members.TryGetValue(member, out var holdings))
            return;

        foreach (var former in holdings.Fragments)
            if (!fragments.Contains(former))
                Forget(former, member);

        foreach (var fragment in fragments)
            if (_byFragment.TryAdd(fragment, member))
                observer?.FragmentChanged(fragment, held: true);

        holdings.Fragments = fragments;
    }

    /// <summary>A member sends along a path: what comes back along it may be for that member.</summary>
    public void Claim(TMember member, in Path path)
    {
        var claimed = _byPath.TryGetValue(path, out var claimants);

        if (claimed && (claimants![0] == member || claimants.Contains(member)))
            return;

        if (!_members.TryGetValue(member, out var holdings) || claimants?.Length >= MembersPerPath)
            return;

        if (holdings.Paths.Count >= PathsPerMember)
            Unclaim(holdings.Paths.Dequeue(), member);

        holdings.Paths.Enqueue(path);
        _byPath[path] = claimed ? [.. claimants!, member] : [member];

        if (!claimed)
            observer?.PathChanged(path, held: true);
    }

    /// <summary>Whom a fragment belongs to; null: nobody.</summary>
    public TMember? ByFragment(string fragment) => _byFragment.GetValueOrDefault(fragment);

    /// <summary>The same by the fragment's octets as they came, and allocates nothing: most may be forged.</summary>
    public TMember? ByFragment(ReadOnlySpan<byte> fragment)
    {
        Span<char> text = stackalloc char[LongestFragment];

        // Fragments of ours are ASCII (RFC 8839 §5.4), so what is not, or is longer, is nobody's.
        return
            Ascii.ToUtf16(fragment, text, out var length) == OperationStatus.Done
            && _byFragment.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(text[..length], out var member)
            ? member
            : null;
    }

    /// <summary>Who has claimed a path, the first first.</summary>
    public ReadOnlySpan<TMember> ByPath(in Path path) => _byPath.GetValueOrDefault(path);

    private void Forget(string fragment, TMember member)
    {
        if (!_byFragment.TryGetValue(fragment, out var owner) || owner != member)
            return;

        _byFragment.Remove(fragment);
        observer?.FragmentChanged(fragment, held: false);
    }

    private void Unclaim(in Path path, TMember member)
    {
        if (!_byPath.TryGetValue(path, out var claimants))
            return;

        if (claimants.Length == 1 && claimants[0] == member)
        {
            _byPath.Remove(path);
            observer?.PathChanged(path, held: false);
        }
        else
        {
            _byPath[path] = [.. claimants.Where(claimant => claimant != member)];
        }
    }

    private sealed class Holdings
    {
        public string[] Fragments { get; set; } = [];
        public Queue<Path> Paths { get; } = new();
    }
}
