using System.Diagnostics.Metrics;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// Counters of the whole process under the meter <c>Hybrid.WebRtc</c> (System.Diagnostics.Metrics). With nobody listening
/// a count costs a few nanoseconds.
/// </summary>
internal static class Telemetry
{
    internal static readonly Meter Meter = new("Hybrid.WebRtc");

    private static readonly Counter<long> Packets = Meter.CreateCounter<long>(
        "webrtc.packets",
        "{packet}",
        "Datagrams sent and received."
    );

    private static readonly Counter<long> Octets = Meter.CreateCounter<long>(
        "webrtc.io",
        "By",
        "UDP payload sent and received."
    );

    private static readonly Counter<long> Drops = Meter.CreateCounter<long>(
        "webrtc.drops",
        "{packet}",
        "Inputs that were ignored, by layer and reason."
    );

    private static readonly Counter<long> PortDrops = Meter.CreateCounter<long>(
        "webrtc.port.drops",
        "{packet}",
        "Datagrams that a port gave up, by reason."
    );

    private static readonly UpDownCounter<long> Peers = Meter.CreateUpDownCounter<long>(
        "webrtc.peers",
        "{peer}",
        "Peers that are alive."
    );

    private static readonly KeyValuePair<string, object?> Out = new("network.io.direction", "transmit");
    private static readonly KeyValuePair<string, object?> In = new("network.io.direction", "receive");

    // Names by number, so that a count boxes and formats nothing.
    private static readonly string[] Layers = Enum.GetNames<Layer>();
    private static readonly string[] Reasons = Enum.GetNames<Drop>();

    /// <summary>Datagrams left, of so many octets together.</summary>
    public static void Sent(int packets, int octets)
    {
        Packets.Add(packets, Out);
        Octets.Add(octets, Out);
    }

    /// <summary>Datagrams arrived, of so many octets together.</summary>
    public static void Received(int packets, int octets)
    {
        Packets.Add(packets, In);
        Octets.Add(octets, In);
    }

    /// <summary>The core ignored an input.</summary>
    public static void Ignored(Layer layer, Drop reason)
    {
        if (Drops.Enabled)
            Drops.Add(1, new("layer", NameOf(layer)), new("reason", NameOf(reason)));
    }

    /// <summary>A port gave datagrams up; <paramref name="reason"/> is one of a few constants.</summary>
    public static void PortDropped(string reason, int packets = 1) =>
        PortDrops.Add(packets, new KeyValuePair<string, object?>("reason", reason));

    /// <summary>A peer came to be (1) or ended (-1).</summary>
    public static void PeersChanged(int by) => Peers.Add(by);

    /// <summary>The layer's name, from a table.</summary>
    public static string NameOf(Layer layer) => Name(Layers, (int)layer);

    /// <summary>The reason's name, from a table.</summary>
    public static string NameOf(Drop reason) => Name(Reasons, (int)reason);

    private static string Name(string[] names, int at) => (uint)at < (uint)names.Length ? names[at] : "Unknown";
}
