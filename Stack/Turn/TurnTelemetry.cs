using System.Diagnostics.Metrics;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>Counters of the process's TURN servers, under the same meter as <see cref="Telemetry"/>'s.</summary>
internal static class TurnTelemetry
{
    private static readonly UpDownCounter<long> Allocations = Telemetry.Meter.CreateUpDownCounter<long>(
        "turn.allocations",
        "{allocation}",
        "Allocations that are open."
    );

    private static readonly UpDownCounter<long> Connections = Telemetry.Meter.CreateUpDownCounter<long>(
        "turn.connections",
        "{connection}",
        "TCP and TLS connections of clients."
    );

    private static readonly UpDownCounter<long> PeerConnections = Telemetry.Meter.CreateUpDownCounter<long>(
        "turn.peer_connections",
        "{connection}",
        "TCP connections to and from peers (RFC 6062)."
    );

    private static readonly Counter<long> Packets = Telemetry.Meter.CreateCounter<long>(
        "turn.packets",
        "{packet}",
        "Datagrams relayed, by direction: to peers or to clients."
    );

    private static readonly Counter<long> Octets = Telemetry.Meter.CreateCounter<long>(
        "turn.io",
        "By",
        "Payload relayed, by direction: to peers or to clients."
    );

    private static readonly Counter<long> Errors = Telemetry.Meter.CreateCounter<long>(
        "turn.errors",
        "{response}",
        "Error responses, by code."
    );

    private static readonly KeyValuePair<string, object?> ToPeers = new("turn.direction", "to_peer");
    private static readonly KeyValuePair<string, object?> ToClients = new("turn.direction", "to_client");

    /// <summary>An allocation came to be (1) or ended (-1).</summary>
    public static void AllocationsChanged(int by) => Allocations.Add(by);

    /// <summary>A connection came to be (1) or ended (-1).</summary>
    public static void ConnectionsChanged(int by) => Connections.Add(by);

    /// <summary>A connection to or from a peer came to be, or was begun (1), or ended (-1).</summary>
    public static void PeerConnectionsChanged(int by) => PeerConnections.Add(by);

    /// <summary>Octets of a stream left for a peer; any thread.</summary>
    public static void StreamedToPeer(int octets) => Octets.Add(octets, ToPeers);

    /// <summary>Octets of a peer's stream left for a client; any thread.</summary>
    public static void StreamedToClient(int octets) => Octets.Add(octets, ToClients);

    /// <summary>Data left for a peer.</summary>
    public static void Forwarded(int octets)
    {
        Packets.Add(1, ToPeers);
        Octets.Add(octets, ToPeers);
    }

    /// <summary>Data of a peer's left for a client, with what it is wrapped in.</summary>
    public static void Returned(int octets)
    {
        Packets.Add(1, ToClients);
        Octets.Add(octets, ToClients);
    }

    /// <summary>A request was answered with an error.</summary>
    public static void Refused(int code)
    {
        if (Errors.Enabled)
            Errors.Add(1, new KeyValuePair<string, object?>("code", code));
    }

    /// <summary>Noise.</summary>
    public static void Ignored(Drop reason) => Telemetry.Ignored(Layer.Turn, reason);
}
