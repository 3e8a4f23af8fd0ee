using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// One UDP port number, on every usable address, for many connections: a server behind a firewall opens one hole. The same of TCP,
/// where <see cref="StackOptions.TcpPorts"/> asks for it. Its peers live on one loop with it, or on several, each with sockets of its own
/// (SO_REUSEPORT): see <see cref="SharedLane"/>.
/// </summary>
/// <remarks>
/// With several sockets the kernel chooses one by both ends' addresses, so all that a remote sends arrives at one loop, and a peer may live on another. There
/// it is handed over, copied, a batch at a time (<see cref="LaneMail"/>). A peer cannot be put where its packets will arrive: it exists before its
/// remote is known.
/// </remarks>
internal sealed class SharedPort : IDisposable
{
    /// <summary>Port numbers that are tried when any would do and some address already uses the first found.</summary>
    private const int Tries = 16;

    private readonly SharedLane[] _lanes;
    private readonly StackOptions _options;
    private readonly IDisposable _watching;

    /// <summary>The last number that a socket was given; the watch's thread only.</summary>
    private int _portIds;

    private SharedPort(SharedLane[] lanes, StackOptions options)
    {
        _lanes = lanes;
        _options = options with { ReusePort = lanes.Length > 1 };
        _portIds = lanes[0].PortIds;
        Port = lanes[0].Bound[0].Port!.Local.Port;
        _watching = options.Network.Listen(options.NetworkWatchInterval, NetworkChanged);
    }

    /// <summary>Its parts, one a loop.</summary>
    public IReadOnlyList<SharedLane> Lanes => _lanes;

    /// <summary>The number.</summary>
    public int Port { get; }

    /// <summary>Where a new peer is to live: the lane with the fewest.</summary>
    public SharedLane Emptiest() => _lanes.MinBy(lane => lane.Residents)!;

    /// <summary>Binds the number on every usable address; any thread.</summary>
    /// <param name="port">The number; 0: any that is free on all of them.</param>
    /// <param name="options">Filters, loops, buffers. Its <see cref="StackOptions.SharedPort"/> plays no part.</param>
    /// <param name="loops">Loops that carry it, at most as many as there are; one where the system cannot, or TCP listens.</param>
    /// <exception cref="SocketException">The number is taken, or there is no address to bind it to.</exception>
    public static SharedPort Open(ushort port, StackOptions options, int loops = 1)
    {
        // A connection that a listener accepted stays on its loop, and its peer would be on another.
        loops =
            OperatingSystem.IsLinux() && options.TcpPorts is null ? Math.Clamp(loops, 1, options.Loops.Loops.Count) : 1;

        for (var i = 0; i < (port == 0 ? Tries : 1); i++)
        {
            var number = port;

            // Other sockets of this user's that would share the number are found out by one that would not.
            if (loops > 1)
            {
                using var probe = MakeLanes(options, 1)[0];

                if (!probe.TryBind(port, options))
                    continue;

                number = probe.Bound[0].Port!.Local.Port;
            }

            var lanes = MakeLanes(options, loops);

            if (
                Array.TrueForAll(lanes, lane => lane.TryBind(number, options with { ReusePort = loops > 1 }))
                && Array.TrueForAll(lanes, lane => lane.TryBegin(options))
            )
                return new SharedPort(lanes, options);

            foreach (var lane in lanes)
                lane.Dispose();
        }

        throw new SocketException((int)SocketError.AddressAlreadyInUse);
    }

    /// <summary>Closes the port; its peers hear nothing more by it. Any thread.</summary>
    public void Dispose()
    {
        _watching.Dispose();

        foreach (var lane in _lanes)
            lane.Dispose();
    }

    /// <summary>The watch tells, one change at a time; the thread pool. Of an address that has come each lane gets a socket, or none does.</summary>
    private void NetworkChanged(InterfaceSnapshot now)
    {
        var present = now.All.Select(each => each.Address.ToCore()).ToHashSet();

        foreach (var lane in _lanes)
            lane.Loop.Post(() => lane.LoseAllBut(present));

        IReadOnlyList<UsableAddress> usable;

        try
        {
            usable = now.Usable(_options);
        }
        catch (Exception e)
        {
            // A user's filter may throw.
            Log.PortRefused(_options.LoggerFactory.CreateLogger<SharedPort>(), "any address", e.Message);
            return;
        }

        foreach (var each in usable)
            Appear(each.Address);
    }

    private void Appear(IPAddress address)
    {
        Appear(address, listens: false);

        if (_options.TcpPorts is not null)
            Appear(address, listens: true);
    }

    // The sockets of one address have one number in all lanes, also where one of them was lost and the others were not.
    private void Appear(IPAddress address, bool listens)
    {
        BoundPort? Find(SharedLane lane)
        {
            foreach (var bound in lane.Bound)
                if (bound.Listens == listens && bound.Usable.Address.Equals(address))
                    return bound;

            return null;
        }

        var without = Array.FindAll(_lanes, lane => Find(lane) is null);

        if (without.Length == 0)
            return;

        var id = Array.Find(_lanes, lane => Find(lane) is not null) is { } other
            ? Find(other)!.Value.Port!.Id
            : ++_portIds;
        var fresh = Array.ConvertAll(without, lane => BindOne(lane, id, address, listens));
        var isWhole = Array.TrueForAll(fresh, each => each is { Port: not null });

        for (var i = 0; i < without.Length; i++)
        {
            if (fresh[i] is not { Port: { } port } bound)
                continue;

            var lane = without[i];

            if (isWhole)
                lane.Loop.Post(() => lane.Take(bound, _options));
            else
                port.Dispose();
        }
    }

    private BoundPort? BindOne(SharedLane lane, int id, IPAddress address, bool listens)
    {
        var range = new PortRange((ushort)Port, (ushort)Port);
        var bound = listens
            ? PortSet.Listen(_options, lane.Loop, lane, range, () => id, address.Equals)
            : PortSet.Bind(_options, lane.Loop, lane, range, () => id, address.Equals);
        return bound.Count > 0 ? bound[0] : null;
    }

    /// <summary>Lanes without sockets, on the emptiest loops.</summary>
    private static SharedLane[] MakeLanes(StackOptions options, int loops)
    {
        var lanes = new SharedLane[loops];
        var directory = loops > 1 ? new LaneDirectory(lanes) : null;
        var emptiest = options.Loops.Loops.OrderBy(loop => loop.Members).Take(loops).ToArray();

        for (var i = 0; i < loops; i++)
            lanes[i] = new SharedLane(emptiest[i], options.Leases, directory, i);

        return lanes;
    }
}
