using Hybrid.WebRtc.Examples;

namespace Hybrid.WebRtc.Demo;

/// <summary>Picture and sound: plays a clip to the page, sends back what its camera and microphone send, and measures both.</summary>
internal sealed class Studio
{
    private static readonly Lazy<Clip> _clip = new(Clip.Sample);

    private readonly Visitor _visitor;
    private readonly RTCPeerConnection _peer;

    public Studio(Visitor visitor)
    {
        _visitor = visitor;
        _peer = visitor.Peer;
        // Packets go back as they came, in the stream of the page's own: so it knows them again.
        _peer.OnTrack.Subscribe(e => _peer.AddTrack(e.Track, [.. e.Streams]));
    }

    /// <summary>Plays the clip until the page has gone. It comes with an offer of ours.</summary>
    public async Task RunAsync()
    {
        var player = new ClipPlayer(_clip.Value);
        player.AddTo(_peer);
        await _visitor.ConnectedAsync();
        await player.RunAsync(_visitor.Gone);
    }

    /// <summary>What is measured at this end.</summary>
    public async Task<MediaFigures> MeasureAsync()
    {
        var report = await _peer.GetStatsAsync();
        var inbound = report.OfType<RTCInboundRtpStreamStats>().ToArray();
        var transport = report.OfType<RTCTransportStats>().FirstOrDefault();
        var pair = report
            .OfType<RTCIceCandidatePairStats>()
            .FirstOrDefault(each => each.Id == transport?.SelectedCandidatePairId);
        return new MediaFigures(
            inbound.Sum(each => each.BytesReceived),
            inbound.Sum(each => each.PacketsLost),
            pair?.CurrentRoundTripTime * 1000,
            _peer.AvailableOutgoingBitrate
        );
    }
}
