using System.Reactive.Linq;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>The client: plays a clip to a WHIP server.</summary>
internal static class Publisher
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(20);

    public static async Task<int> RunAsync(
        Uri endpoint,
        string? token,
        Clip clip,
        double? seconds,
        double? restartAfter,
        CancellationToken stop
    )
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);

        try
        {
            var player = new ClipPlayer(clip);
            await using var peer = new RTCPeerConnection(
                new RTCConfiguration { BundlePolicy = RTCBundlePolicy.MaxBundle },
                new WebRtcOptions { IncludeLoopback = true }
            );
            // It only sends, WHIP has no way back; and all of it is one stream, RFC 9725 §4.4.2.
            var stream = new MediaStream();
            foreach (var track in new[] { player.Video, player.Audio }.OfType<SampleTrack>())
                peer.AddTransceiver(
                    track,
                    new() { Direction = RTCRtpTransceiverDirection.SendOnly, Streams = [stream] }
                );

            await using var session = await HttpSession.OpenAsync(endpoint, token, peer, stop);
            AnsiConsole.MarkupLineInterpolated($"Session [grey]{session.Location}[/]");
            await peer
                .OnConnectionStateChange.FirstAsync(state => state == RTCPeerConnectionState.Connected)
                .Timeout(_patience);
            AnsiConsole.MarkupLine("[green]Publishing.[/]   (Ctrl+C ends)");

            // Another network, other addresses: ICE finds a path anew, and the session goes on.
            peer.OnConnectionStateChange.Where(state => state == RTCPeerConnectionState.Disconnected)
                .Select(_ => 0L)
                .Merge(
                    restartAfter is { } wait ? Observable.Timer(TimeSpan.FromSeconds(wait)) : Observable.Empty<long>()
                )
                .Subscribe(_ => Restart(session));

            if (seconds is { } limit)
                over.CancelAfter(TimeSpan.FromSeconds(limit));
            var departure = peer.DepartureAsync(over.Token);
            await await Task.WhenAny(player.RunAsync(over.Token), departure);
            AnsiConsole.MarkupLine("[yellow]The server has ended the session.[/]");
            return 1;
        }
        catch (OperationCanceledException) when (over.IsCancellationRequested)
        {
            // Enough; the session was ended by DELETE.
            return 0;
        }
        catch (Exception e) when (e is HttpRequestException or RTCException or TimeoutException)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]Failed:[/] {e.Message}");
            return 1;
        }
    }

    private static async void Restart(HttpSession session)
    {
        try
        {
            await session.RestartIceAsync();
            AnsiConsole.MarkupLine("ICE was restarted.");
        }
        catch (Exception e) when (e is HttpRequestException or RTCException or OperationCanceledException)
        {
            // The session goes on as it was, RFC 9725 §4.3.3, or has ended.
            AnsiConsole.MarkupLineInterpolated($"[yellow]ICE was not restarted:[/] {e.Message}");
        }
    }
}
