using System.Collections.Concurrent;
using System.Reactive.Disposables;
using System.Reactive.Linq;
using Hybrid.WebRtc.Media;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>The server: a publisher's packets go on to all who watch its channel, as they are.</summary>
internal sealed class Ingest : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, Channel> _channels = new();
    private readonly HttpSessions _sessions;

    public Ingest(string? token, IReadOnlyList<string> iceServers)
    {
        _sessions = new()
        {
            Token = token,
            IceServers = [.. iceServers.Select(url => new RTCIceServer(url))],
            Options = new() { IncludeLoopback = true },
        };
        Site = new Site(
            "WHIP",
            "Publish by HTTP alone, RFC 9725: from this page, from OBS, or from the Whip example's client."
        )
        {
            // The page has no socket to the program: all its signalling is HTTP.
            Attend = _ => Task.CompletedTask,
            Map = app =>
            {
                _sessions.Map(app, "/whip/{channel}", (context, peer) => ChannelOf(context).Publish(peer));
                _sessions.Map(app, "/whep/{channel}", (context, peer) => ChannelOf(context).Watch(context, peer));
            },
        };
    }

    public Site Site { get; }

    public ValueTask DisposeAsync() => _sessions.DisposeAsync();

    private Channel ChannelOf(HttpContext context)
    {
        var name = (string)context.GetRouteValue("channel")!;
        if (name.Length > 64 || !_channels.ContainsKey(name) && _channels.Count >= 100)
            throw new RefusalException(
                404,
                "A channel's name has 64 characters at most, and there are 100 of them at most."
            );
        return _channels.GetOrAdd(name, static name => new(name));
    }

    /// <summary>One publisher at a time, and who watches; they may stay for the next.</summary>
    private sealed class Channel(string name)
    {
        private readonly RtpTrack _video = new(MediaKind.Video);
        private readonly RtpTrack _audio = new(MediaKind.Audio);
        private RTCPeerConnection? _publisher;

        public IDisposable Publish(RTCPeerConnection peer)
        {
            if (Interlocked.CompareExchange(ref _publisher, peer, null) is not null)
                throw new RefusalException(409, $"Somebody publishes on {name} already.");

            peer.OnTrack.Subscribe(e =>
            {
                e.Track.ForwardTo(e.Track.Kind == MediaKind.Video ? _video : _audio);
                // Packets take that short way; one frame is looked at beside, to say what comes.
                e.Track.Frames.Take(1).Subscribe(frame => Tell(e.Receiver, frame));
            });
            return Disposable.Create(() =>
            {
                Interlocked.CompareExchange(ref _publisher, null, peer);
                AnsiConsole.MarkupLineInterpolated($"{name}   is free");
            });
        }

        public IDisposable Watch(HttpContext context, RTCPeerConnection peer)
        {
            if (_publisher is null)
            {
                // As draft-ietf-wish-whep has it: come again.
                context.Response.Headers.RetryAfter = "2";
                throw new RefusalException(409, $"Nobody publishes on {name} yet.");
            }

            // Tracks added before the offer is set are what its media sections get; one way only, as the draft has it.
            var stream = new MediaStream();
            peer.AddTrack(_video, stream);
            peer.AddTrack(_audio, stream);
            foreach (var transceiver in peer.GetTransceivers())
                transceiver.Direction = RTCRtpTransceiverDirection.SendOnly;
            AnsiConsole.MarkupLineInterpolated($"{name}   somebody watches");
            return Disposable.Empty;
        }

        private void Tell(RTCRtpReceiver receiver, EncodedFrame frame)
        {
            var codec = receiver
                .GetParameters()
                .Codecs.FirstOrDefault(each => each.PayloadType == frame.PayloadType)
                ?.MimeType;
            var size = frame.Width > 0 ? $"{frame.Width} × {frame.Height}" : "";
            AnsiConsole.MarkupLineInterpolated($"{name}   [green]{codec}[/] {size}");
        }
    }
}
