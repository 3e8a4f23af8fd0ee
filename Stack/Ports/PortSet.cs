using System.Net;
using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>A port just bound, and how much its address is liked.</summary>
/// <param name="Port">The port; it does not receive yet.</param>
/// <param name="Preference">From 0 to 65535, RFC 8445 §5.1.2.1.</param>
internal readonly record struct BoundPort(UdpPort Port, int Preference);

/// <summary>Ports by number: small numbers from 1 on, none used twice.</summary>
internal sealed class PortSet
{
    private readonly List<IPort?> _ports = [];

    /// <summary>Ports that are open.</summary>
    public IEnumerable<IPort> Open => _ports.OfType<IPort>();

    /// <summary>The port of this number; null where there is none, or none any more.</summary>
    public IPort? this[int id] => (uint)(id - 1) < (uint)_ports.Count ? _ports[id - 1] : null;

    /// <summary>Takes a port in under its number.</summary>
    public void Add(IPort port)
    {
        while (_ports.Count < port.Id)
            _ports.Add(null);

        _ports[port.Id - 1] = port;
    }

    /// <summary>Whether a port is open on this address.</summary>
    public bool Covers(Address address)
    {
        foreach (var port in _ports)
            if (port is not null && port.Local.Address.Equals(address))
                return true;

        return false;
    }

    /// <summary>Forgets a port; answers it.</summary>
    public IPort? Remove(int id)
    {
        var port = this[id];

        if (port is not null)
            _ports[id - 1] = null;

        return port;
    }

    /// <summary>Closes and forgets every port.</summary>
    public void Clear()
    {
        for (var i = 0; i < _ports.Count; i++)
        {
            _ports[i]?.Dispose();
            _ports[i] = null;
        }
    }

    /// <summary>Ends the turn for every port.</summary>
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
    )
    {
        var logger = options.LoggerFactory.CreateLogger<PortSet>();
        var bound = new List<BoundPort>();

        foreach (var usable in Interfaces.Usable(options))
        {
            if (!wanted(usable.Address))
                continue;

            if (UdpPort.TryBind(nextId(), usable.Address, range, loop, owner, options, out var error) is not { } port)
            {
                Log.PortRefused(logger, usable.Address.ToString(), error);
                continue;
            }

            bound.Add(new BoundPort(port, usable.Preference));
            Log.PortOpened(logger, EndpointModule.toText(port.Local), usable.Interface, usable.Preference);
        }

        return bound;
    }
}
