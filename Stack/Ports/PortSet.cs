using System.Net;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports.Linux;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>An address, and the port that was bound on it.</summary>
/// <param name="Usable">The address and how much it is liked.</param>
/// <param name="Port">The port, which does not receive yet; null where none could be had.</param>
/// <param name="Listens">Whether it is a TCP listener.</param>
internal readonly record struct BoundPort(UsableAddress Usable, IPort? Port, bool Listens = false);

/// <summary>Ports by number: small numbers from 1 on; and streams, which the core gives negative ones.</summary>
internal sealed class PortSet
{
    private readonly List<IPort?> _ports = [];
    private readonly Dictionary<int, IPort> _streams = [];

    /// <summary>Ports that are open.</summary>
    public IEnumerable<IPort> Open => _ports.OfType<IPort>();

    /// <summary>Streams that are open, or under way.</summary>
    public IEnumerable<IPort> Streams => _streams.Values;

    /// <summary>The port of this number; null where there is none, or none any more.</summary>
    public IPort? this[int id] =>
        (uint)(id - 1) < (uint)_ports.Count ? _ports[id - 1]
        : id < 0 ? _streams.GetValueOrDefault(id)
        : null;

    /// <summary>Takes a port in under its number.</summary>
    public void Add(IPort port)
    {
        if (port.Id < 0)
        {
            _streams[port.Id] = port;
            return;
        }

        while (_ports.Count < port.Id)
            _ports.Add(null);

        _ports[port.Id - 1] = port;
    }

    /// <summary>A port, or a listener, that is open on this address; null where there is none.</summary>
    public IPort? On(Address address, bool listens = false)
    {
        foreach (var port in _ports)
            if (port is not null && port is ListenerPort == listens && port.Local.Address.Equals(address))
                return port;

        return null;
    }

    /// <summary>Forgets a port; answers it.</summary>
    public IPort? Remove(int id)
    {
        var port = this[id];

        if (id < 0)
            _streams.Remove(id);
        else if (port is not null)
            _ports[id - 1] = null;

        return port;
    }

    /// <summary>Closes and forgets every stream.</summary>
    public void ClearStreams()
    {
        foreach (var stream in _streams.Values)
            stream.Dispose();

        _streams.Clear();
    }

    /// <summary>Closes and forgets every port.</summary>
    public void Clear()
    {
        ClearStreams();

        for (var i = 0; i < _ports.Count; i++)
        {
            _ports[i]?.Dispose();
            _ports[i] = null;
        }
    }

    /// <summary>Has what is held back leave.</summary>
    public void Flush()
    {
        foreach (var port in _ports)
            port?.Flush();
    }

    /// <summary>
    /// Binds one port for each usable address of this machine that <paramref name="wanted"/> accepts; any thread, and best
    /// the thread pool's, since listing interfaces takes milliseconds.
    /// </summary>
    public static List<BoundPort> Bind(
        StackOptions options,
        Loop loop,
        IPortOwner owner,
        PortRange range,
        Func<int> nextId,
        Func<IPAddress, bool> wanted
    ) =>
        ForEach(
            options,
            wanted,
            usable =>
            {
                var port = TryBind(nextId(), usable.Address, range, loop, owner, options, out var error);
                return (new BoundPort(usable, port), error);
            }
        );

    /// <summary>Listens on each usable address that <paramref name="wanted"/> accepts; as <see cref="Bind"/>.</summary>
    public static List<BoundPort> Listen(
        StackOptions options,
        Loop loop,
        IStreamDirectory directory,
        PortRange range,
        Func<int> nextId,
        Func<IPAddress, bool> wanted
    ) =>
        ForEach(
            options,
            wanted,
            usable =>
            {
                var port = ListenerPort.TryBind(
                    nextId(),
                    usable.Address,
                    range,
                    loop,
                    directory,
                    options,
                    out var error
                );
                return (new BoundPort(usable, port, Listens: true), error);
            }
        );

    private static List<BoundPort> ForEach(
        StackOptions options,
        Func<IPAddress, bool> wanted,
        Func<UsableAddress, (BoundPort Bound, string Error)> open
    )
    {
        var logger = options.LoggerFactory.CreateLogger<PortSet>();
        var all = new List<BoundPort>();

        foreach (var usable in Interfaces.Usable(options))
        {
            if (!wanted(usable.Address))
                continue;

            var (bound, error) = open(usable);
            all.Add(bound);

            if (bound.Port is null)
                Log.PortRefused(logger, usable.Address.ToString(), error);
            else
                Log.PortOpened(logger, EndpointModule.ToText(bound.Port.Local), usable.Interface, usable.Preference);
        }

        return all;
    }

    /// <summary>Binds one port of the kind that the options ask for and the loop can carry. Null: <c>error</c> says why.</summary>
    public static IPort? TryBind(
        int id,
        IPAddress address,
        PortRange range,
        Loop loop,
        IPortOwner owner,
        StackOptions options,
        out string error
    ) =>
        options.Sockets == SocketKind.Automatic && loop.Poller is { } poller
            ? LinuxUdpPort.TryBind(id, address, range, loop, poller, owner, options, out error)
            : UdpPort.TryBind(id, address, range, loop, owner, options, out error);
}
