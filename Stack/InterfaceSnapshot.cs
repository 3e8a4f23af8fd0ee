using System.Net.NetworkInformation;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// The addresses of this machine as they were a moment ago. To list them takes most of a millisecond of system calls and
/// files, which a server that takes hundreds of connections a second would spend on the same answer each time.
/// </summary>
/// <remarks>
/// It is thrown away when the system tells of a change, and after <see cref="FreshFor"/> in any case: some systems do not
/// tell, and a container may not be allowed to hear it.
/// </remarks>
internal sealed class InterfaceSnapshot
{
    /// <summary>How old it may become, milliseconds.</summary>
    private const long FreshFor = 2_000;

    private static InterfaceSnapshot? s_latest;
    private static int s_listens;

    /// <summary>Changes told of so far.</summary>
    private static int s_changes;

    private readonly long _takenAt;

    /// <summary>What was chosen for options without filters: with or without link-local and loopback addresses.</summary>
    private readonly IReadOnlyList<UsableAddress>?[] _chosen = new IReadOnlyList<UsableAddress>?[4];

    /// <summary>Of addresses that were listed at a tick count.</summary>
    public InterfaceSnapshot(IReadOnlyList<InterfaceAddress> all, long takenAt)
    {
        All = all;
        _takenAt = takenAt;
    }

    /// <summary>All of them.</summary>
    public IReadOnlyList<InterfaceAddress> All { get; }

    /// <summary>Whether <see cref="Present"/> answers at once.</summary>
    public static bool IsFresh => Latest is not null;

    private static InterfaceSnapshot? Latest =>
        Volatile.Read(ref s_latest) is { } latest && Environment.TickCount64 - latest._takenAt < FreshFor
            ? latest
            : null;

    /// <summary>The latest where it is fresh; else a new one, which takes milliseconds; any thread.</summary>
    /// <exception cref="NetworkInformationException">The system does not tell.</exception>
    public static InterfaceSnapshot Present()
    {
        if (Latest is { } latest)
            return latest;

        Listen();

        // The time before: what changes while we list is not missed for longer than it would be anyway.
        var now = Environment.TickCount64;
        var changes = Volatile.Read(ref s_changes);
        var fresh = new InterfaceSnapshot(Interfaces.All(), now);
        Volatile.Write(ref s_latest, fresh);

        // Something changed while we listed: ours may be of before. Looked at after the write, so that one of the two forgets it.
        if (Volatile.Read(ref s_changes) != changes)
            Interlocked.CompareExchange(ref s_latest, null, fresh);

        return fresh;
    }

    /// <summary>Forgets what is known: something has changed.</summary>
    public static void Forget()
    {
        Interlocked.Increment(ref s_changes);
        Volatile.Write(ref s_latest, null);
    }

    /// <summary>Addresses to bind ports to, best first. Filters are the user's, so they are asked each time.</summary>
    public IReadOnlyList<UsableAddress> Usable(StackOptions options)
    {
        if (options.InterfaceFilter is not null || options.AddressFilter is not null)
            return Interfaces.Choose(All, options);

        ref var chosen = ref _chosen[(options.IncludeLinkLocal ? 1 : 0) + (options.IncludeLoopback ? 2 : 0)];
        return chosen ??= Interfaces.Choose(All, options);
    }

    private static void Listen()
    {
        if (Interlocked.Exchange(ref s_listens, 1) != 0)
            return;

        try
        {
            NetworkChange.NetworkAddressChanged += (_, _) => Forget();
        }
        catch (Exception e) when (e is NetworkInformationException or PlatformNotSupportedException)
        {
            // Then age alone makes it stale.
        }
    }
}
