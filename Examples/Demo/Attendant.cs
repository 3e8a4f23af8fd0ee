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
    private readonly Studio _studio;
    private Bulk? _bulk;

    public Attendant(Visitor visitor, Room room)
    {
        _visitor = visitor;
        _room = room;
        _peer = visitor.Peer;
        _studio = new Studio(visitor);
        _peer.OnDataChannel.Subscribe(e => Attend(e.Channel));
    }

    /// <summary>Until the page has gone.</summary>
    public async Task RunAsync()
    {
        // The first offer is the page's; once there is one channel, another needs none.
        await _peer.OnDataChannel.FirstAsync().ToTask(_visitor.Gone);
        await Task.WhenAll(_studio.RunAsync(), TellAsync());
    }

    /// <summary>Tells the page how things look from here.</summary>
    private async Task TellAsync()
    {
        var telemetry = _peer.CreateDataChannel("telemetry");
        using var timer = new PeriodicTimer(_telemetryInterval);

        try
        {
            await telemetry.WaitForOpenAsync(_visitor.Gone);
            for (var tick = 0; await timer.WaitForNextTickAsync(_visitor.Gone); tick++)
            {
                var media = tick % 4 == 0 ? await _studio.MeasureAsync() : null;
                telemetry.Send(JsonSerializer.Serialize(Look(media), Json.Default.Telemetry));
            }
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

    private Telemetry Look(MediaFigures? media) =>
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
            ),
            media
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
