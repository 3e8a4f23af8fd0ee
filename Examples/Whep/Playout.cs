using System.Reactive.Disposables;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>The server: a clip that plays once for all who watch, like a television channel.</summary>
internal sealed class Playout : IAsyncDisposable
{
    private readonly ClipPlayer _player;
    private readonly HttpSessions _sessions;
    private int _watchers;

    public Playout(Clip clip, string? token)
    {
        _player = new ClipPlayer(clip);
        _sessions = new()
        {
            Token = token,
            Options = new() { IncludeLoopback = true },
        };
    }

    public async Task<int> ServeAsync(int port, CancellationToken stop)
    {
        var site = new Site("WHEP", "A clip plays for all who watch; this page came to it by HTTP alone.")
        {
            // The page has no socket to the program: all its signalling is HTTP.
            Attend = _ => Task.CompletedTask,
            Map = app => _sessions.Map(app, "/whep", (_, peer) => Show(peer)),
        };

        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var playing = _player.RunAsync(over.Token);
        var code = await site.ServeAsync(port, stop);
        await over.CancelAsync();
        await playing.ContinueWith(static _ => { }, TaskScheduler.Default);
        return code;
    }

    public ValueTask DisposeAsync() => _sessions.DisposeAsync();

    /// <summary>One track goes to any number of connections: a frame is packetized once.</summary>
    private IDisposable Show(RTCPeerConnection peer)
    {
        _player.AddTo(peer);
        // A viewer has nothing to send us.
        foreach (var transceiver in peer.GetTransceivers())
            transceiver.Direction = RTCRtpTransceiverDirection.SendOnly;

        Report(Interlocked.Increment(ref _watchers));
        return Disposable.Create(() => Report(Interlocked.Decrement(ref _watchers)));
    }

    private static void Report(int watchers) =>
        AnsiConsole.MarkupLineInterpolated($"{watchers} {(watchers == 1 ? "watches" : "watch")}");
}
