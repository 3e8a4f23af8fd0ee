using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;
using Hybrid.WebRtc.Media;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>Two peers of this process, connected over UDP on the loopback interface, the first of which sends the second a track of VP8.</summary>
internal sealed class MediaLink : IAsyncDisposable
{
    private const string TransportCc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

    private readonly RTCPeerConnection _from;
    private readonly RTCPeerConnection _to;

    private MediaLink(WebRtcOptions options)
    {
        _from = new RTCPeerConnection(options: options);
        _to = new RTCPeerConnection(options: options);
    }

    /// <summary>What arrives.</summary>
    public RemoteTrack Arriving { get; private set; } = null!;

    /// <summary>
    /// VP8 only. Without feedback about the transport nothing paces: packets leave as the application writes them, which is what a
    /// relay on a path that it knows does. With it the estimate begins where it ends, so that the run is no measure of how fast it rises.
    /// </summary>
    public static WebRtcOptions Options(Setting setting, bool feedback)
    {
        var media = RTCMediaCapabilities.Default.WithOnly(MediaKind.Video, "video/VP8");
        var options = setting.ToOptions();
        return feedback
            ? options with
            {
                Media = media,
                Bitrate = new WebRtcBitrate { Start = options.Bitrate.Max },
            }
            : options with
            {
                Media = media
                    .WithoutFeedback(MediaKind.Video, "transport-cc")
                    .WithoutHeaderExtension(MediaKind.Video, TransportCc),
            };
    }

    /// <summary>Connects two new peers: descriptions, ICE, DTLS, and a track from one to the other.</summary>
    public static async Task<MediaLink> ConnectAsync(WebRtcOptions options, RtpTrack track, CancellationToken stop)
    {
        var link = new MediaLink(options);
        var (from, to) = (link._from, link._to);
        from.AddTrack(track);
        var arriving = to.OnTrack.FirstAsync().ToTask(stop);
        var connected = Task.WhenAll(ConnectedAsync(from, stop), ConnectedAsync(to, stop));
        await from.SetLocalDescriptionAsync();
        await from.GatheringCompleteAsync(stop);
        await to.SetRemoteDescriptionAsync(from.LocalDescription!);
        await to.SetLocalDescriptionAsync();
        await to.GatheringCompleteAsync(stop);
        await from.SetRemoteDescriptionAsync(to.LocalDescription!);
        link.Arriving = (await arriving).Track;
        await connected;
        return link;
    }

    /// <summary>What protects the packets, as statistics name it.</summary>
    public async Task<string> SrtpCipherAsync() =>
        (await _to.GetStatsAsync()).Values.OfType<RTCTransportStats>().First().SrtpCipher ?? "";

    public async ValueTask DisposeAsync()
    {
        await _from.DisposeAsync();
        await _to.DisposeAsync();
    }

    private static Task ConnectedAsync(RTCPeerConnection peer, CancellationToken stop) =>
        peer
            .OnConnectionStateChange.Select(_ => peer.ConnectionState)
            .FirstAsync(state => state == RTCPeerConnectionState.Connected)
            .ToTask(stop);
}
