using System.Net.Sockets;
using Hybrid.WebRtc.Stack.Ports;

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

    private SharedPort(SharedLane[] lanes) => _lanes = lanes;

    /// <summary>Its parts, one a loop.</summary>
    public IReadOnlyList<SharedLane> Lanes => _lanes;

    /// <summary>The number.</summary>
    public int Port => _lanes[0].Bound[0].Port!.Local.Port;

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
                return new SharedPort(lanes);

            foreach (var lane in lanes)
                lane.Dispose();
        }

        throw new SocketException((int)SocketError.AddressAlreadyInUse);
    }

    /// <summary>Closes the port; its peers hear nothing more by it. Any thread.</summary>
    public void Dispose()
    {
        foreach (var lane in _lanes)
            lane.Dispose();
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
