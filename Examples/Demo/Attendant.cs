using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;
using System.Text.Json;
using Hybrid.WebRtc.Examples;

namespace Hybrid.WebRtc.Demo;

/// <summary>What the program does for an open page: on each data channel that the page opens, and on one of its own.</summary>
internal sealed class Attendant
{
    private static readonly TimeSpan _telemetryInterval = TimeSpan.FromMilliseconds(250);

    private readonly Visitor _visitor;
    private readonly Room _room;
    private readonly RTCPeerConnection _peer;
    private Bulk? _bulk;

    public Attendant(Visitor visitor, Room room)
    {
        _visitor = visitor;
        _room = room;
        _peer = visitor.Peer;
        _peer.OnDataChannel.Subscribe(e => Attend(e.Channel));
    }

    /// <summary>Tells the page how things look from here, until it has gone.</summary>
    public async Task RunAsync()
    {
        // Once there is one channel, another needs no offer.
        await _peer.OnDataChannel.FirstAsync().ToTask(_visitor.Gone);
        var telemetry = _peer.CreateDataChannel("telemetry");
        using var timer = new PeriodicTimer(_telemetryInterval);

        try
        {
            await telemetry.WaitForOpenAsync(_visitor.Gone);
            while (await timer.WaitForNextTickAsync(_visitor.Gone))
                telemetry.Send(JsonSerializer.Serialize(Look(), Json.Default.Telemetry));
        }
        catch (RTCException)
        {
            // The page has closed the connection.
        }
    }

    private void Attend(RTCDataChannel channel)
    {
        switch (channel.Label)
        {
            case "chat":
                _room.Join(_visitor.Number, channel, StatsAsync);
                break;
            case "ping":
                channel.OnMessage.Subscribe(message => Quietly(() => channel.Send(message.Text ?? "")));
                break;
            case "throughput":
                _bulk = new Bulk(channel, _visitor.Gone);
                break;
            case "file":
                _ = new FileEcho(channel).RunAsync(_visitor.Gone);
                break;
        }
    }

    private Telemetry Look() =>
        new(
            _visitor.Age.TotalMilliseconds,
            _bulk?.Received ?? 0,
            new States(
                _peer.SignalingState,
                _peer.IceGatheringState,
                _peer.IceConnectionState,
                _peer.Sctp?.Transport.State,
                _peer.Sctp?.State,
                _peer.ConnectionState
            )
        );

    private async Task<string> StatsAsync()
    {
        var report = await _peer.GetStatsAsync();
        var transport = report.Values.OfType<RTCTransportStats>().Single();
        var pair = _peer.Sctp?.Transport.IceTransport.GetSelectedCandidatePair();
        return $"{(pair is null ? "No path." : Visitor.Describe(pair))}\n"
            + $"{_peer.Sctp?.Transport.Version}, {_peer.Sctp?.Transport.CipherSuite}\n"
            + $"{transport.PacketsSent:N0} packets out, {transport.PacketsReceived:N0} in; "
            + $"{transport.BytesSent / 1e6:F1} MB out, {transport.BytesReceived / 1e6:F1} MB in.";
    }

    /// <summary>Does what may come too late: between two checks, the page may have closed the channel.</summary>
    private static void Quietly(Action action)
    {
        try
        {
            action();
        }
        catch (RTCException)
        {
            // Too late.
        }
    }
}
