using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Turn;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>The relayed ports: bound within a range, from a random place on (RFC 6056 §3.3.1). The loop's thread only.</summary>
internal sealed class TurnRelays(TurnSettings settings, Loop loop, IPortOwner owner, IPAddress? v4, IPAddress? v6)
{
    /// <summary>Where ports come from that have to be even, in a machine that leaves the choice to the system (RFC 8656 §7.2).</summary>
    private static readonly PortRange Dynamic = new(49_152, 65_535);

    private readonly Dictionary<int, IPort> _open = [];
    private readonly ILogger _logger = settings.Stack.LoggerFactory.CreateLogger<TurnRelays>();

    /// <summary>Ports that are open.</summary>
    public int Count => _open.Count;

    /// <summary>The port of this number; null where there is none, or none any more.</summary>
    public IPort? this[int id] => _open.GetValueOrDefault(id);

    /// <summary>Opens what the core asks for; the answers go to <paramref name="answers"/>.</summary>
    public void Open(int id, bool isV6, RelayKind kind, Queue<TurnServerInput> answers)
    {
        var next = kind is RelayKind.Pair pair ? pair.Next : 0;
        var address = isV6 ? v6 : v4;

        var opened = address is not null && (kind.IsAny ? TryOpen(id, address) : TryOpenEven(id, next, address));

        foreach (var relay in next == 0 ? (ReadOnlySpan<int>)[id] : [id, next])
            answers.Enqueue(
                opened
                    ? TurnServerInput.NewRelayOpened(relay, Relayed(_open[relay].Local))
                    : TurnServerInput.NewRelayFailed(relay)
            );
    }

    /// <summary>Closes a port; harmless where it is closed already.</summary>
    public void Close(int id)
    {
        if (_open.Remove(id, out var port))
            port.Dispose();
    }

    /// <summary>Closes them all.</summary>
    public void Clear()
    {
        foreach (var port in _open.Values)
            port.Dispose();

        _open.Clear();
    }

    private Endpoint Relayed(Endpoint local) =>
        settings.External.TryGetValue(local.Address.ToNet(), out var seen)
            ? new Endpoint(seen.ToCore(), local.Port)
            : local;

    private bool TryOpen(int id, IPAddress address) => TryOpen(id, address, settings.RelayPorts);

    private bool TryOpen(int id, IPAddress address, PortRange range)
    {
        if (PortSet.TryBind(id, address, range, loop, owner, settings.Stack, out var error) is not { } port)
        {
            Log.PortRefused(_logger, address.ToString(), error);
            return false;
        }

        try
        {
            // What peers sent with leave to be fragmented is relayed with it, RFC 8656 §14.
            port.AllowFragments(true);
            port.Begin();
        }
        catch (IOException e)
        {
            Log.PortRefused(_logger, address.ToString(), e.Message);
            port.Dispose();
            return false;
        }

        _open[id] = port;
        return true;
    }

    /// <summary>An even port, and the next one where <paramref name="next"/> is not 0.</summary>
    private bool TryOpenEven(int id, int next, IPAddress address)
    {
        var range = settings.RelayPorts.IsAny ? Dynamic : settings.RelayPorts;
        var first = (range.First + 1) & ~1;
        var count = (range.Last - first + (next == 0 ? 2 : 1)) / 2;
        var start = count > 0 ? Random.Shared.Next(count) : 0;

        for (var i = 0; i < count; i++)
        {
            var even = (ushort)(first + 2 * ((start + i) % count));

            if (!TryOpen(id, address, new PortRange(even, even)))
                continue;

            if (next == 0 || TryOpen(next, address, new PortRange((ushort)(even + 1), (ushort)(even + 1))))
                return true;

            Close(id);
        }

        return false;
    }
}
