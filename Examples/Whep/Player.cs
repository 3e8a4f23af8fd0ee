using System.Reactive.Linq;
using Hybrid.WebRtc.Media;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>The client: watches, says what comes, and may keep it.</summary>
internal static class Player
{
    public static async Task<int> RunAsync(
        Uri endpoint,
        string? token,
        DirectoryInfo? save,
        double? seconds,
        CancellationToken stop
    )
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var received = new List<Received>();

        try
        {
            await using var peer = new RTCPeerConnection(
                new RTCConfiguration { BundlePolicy = RTCBundlePolicy.MaxBundle },
                new WebRtcOptions { IncludeLoopback = true }
            );
            foreach (var kind in new[] { MediaKind.Video, MediaKind.Audio })
                peer.AddTransceiver(kind, new() { Direction = RTCRtpTransceiverDirection.RecvOnly });
            // Who subscribes inside the notification misses no frame.
            peer.OnTrack.Subscribe(e =>
            {
                lock (received)
                    received.Add(new Received(e.Receiver, save));
            });

            if (seconds is { } limit)
                peer.OnConnectionStateChange.Where(state => state == RTCPeerConnectionState.Connected)
                    .Take(1)
                    .Subscribe(_ => over.CancelAfter(TimeSpan.FromSeconds(limit)));

            await using var session = await HttpSession.OpenAsync(endpoint, token, peer, over.Token);
            AnsiConsole.MarkupLineInterpolated($"Session [grey]{session.Location}[/]   (Ctrl+C ends)");

            // Until we leave, or the server ends the session.
            await peer.DepartureAsync(over.Token);
        }
        catch (OperationCanceledException) when (over.IsCancellationRequested)
        {
            // Enough.
        }
        catch (Exception e) when (e is HttpRequestException or RTCException or IOException)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]Failed:[/] {e.Message}");
            return 1;
        }
        finally
        {
            foreach (var each in received)
                each.Dispose();
        }

        // Nothing came: whoever runs this in a script wants to know.
        return received.Any(each => each.Frames > 0) ? 0 : 1;
    }

    /// <summary>A track that comes, and its file.</summary>
    private sealed class Received : IDisposable
    {
        private readonly RTCRtpReceiver _receiver;
        private readonly DirectoryInfo? _folder;
        private readonly IDisposable _subscription;
        private string? _path;
        private MediaWriter? _file;

        public Received(RTCRtpReceiver receiver, DirectoryInfo? folder)
        {
            _receiver = receiver;
            _folder = folder;
            _subscription = receiver.Track.Frames.Subscribe(Take);
        }

        public int Frames { get; private set; }

        public void Dispose()
        {
            _subscription.Dispose();
            _file?.Dispose();
            AnsiConsole.MarkupLineInterpolated(
                $"{Frames} frames of {_receiver.Track.Kind}{(_path is null ? "" : $" in {_path}")}"
            );
        }

        private void Take(EncodedFrame frame)
        {
            if (Frames++ == 0)
                Begin(frame);
            _file?.Write(frame);
        }

        /// <summary>Several codecs may have been negotiated: the first frame says which is sent.</summary>
        private void Begin(EncodedFrame frame)
        {
            var codec = _receiver.GetParameters().Codecs.First(each => each.PayloadType == frame.PayloadType).MimeType;
            AnsiConsole.MarkupLineInterpolated($"{codec} {(frame.Width > 0 ? $"{frame.Width} × {frame.Height}" : "")}");
            if (_folder is null)
                return;
            _folder.Create();
            (_path, _file) = Create(_folder.FullName, codec);
        }

        private static (string, MediaWriter) Create(string folder, string codec)
        {
            var name = codec switch
            {
                "audio/opus" => "audio.ogg",
                "video/H264" => "video.h264",
                "video/H265" => "video.h265",
                _ when codec.StartsWith("video/", StringComparison.Ordinal) => "video.ivf",
                _ => throw new IOException($"{codec} has no file format here."),
            };
            var path = Path.Combine(folder, name);
            var file = File.Create(path);
            return (
                path,
                codec switch
                {
                    "audio/opus" => new OggOpusWriter(file, new OpusHeader()),
                    "video/H264" or "video/H265" => new AnnexBWriter(file),
                    _ => new IvfWriter(file, IvfHeader.For(PayloadFormats.For(codec))),
                }
            );
        }
    }
}
