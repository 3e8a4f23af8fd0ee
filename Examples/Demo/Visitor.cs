using System.Diagnostics;
using System.Net.WebSockets;
using System.Reactive.Linq;
using System.Text.Json;
using System.Threading.Channels;
using Spectre.Console;

namespace Hybrid.WebRtc.Demo;

/// <summary>One open page: its signalling socket, its peer connection, and what the program does on each data channel.</summary>
internal sealed class Visitor : IAsyncDisposable
{
    /// <summary>A description with many candidates has some 10 kB.</summary>
    private const int MaxSignal = 256 * 1024;
    private static readonly TimeSpan _telemetryInterval = TimeSpan.FromMilliseconds(250);

    private readonly WebSocket _socket;
    private readonly Room _room;
    private readonly int _page;
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly RTCPeerConnection _peer;
    private readonly CancellationTokenSource _over = new();
    private readonly Channel<Signal> _outbox = Channel.CreateUnbounded<Signal>();
    private Bulk? _bulk;
    private RTCDataChannel? _telemetry;
    private bool _makingOffer;

    public Visitor(WebSocket socket, Room room)
    {
        _socket = socket;
        _room = room;
        _page = room.NextPage();
        // The page is on this machine: its browser may have no other interface than loopback to meet us on.
        _peer = new RTCPeerConnection(options: new WebRtcOptions { IncludeLoopback = true });
        _peer.OnIceCandidate.Subscribe(e =>
            Say(new Signal { Candidate = e.Candidate?.ToInit() ?? new RTCIceCandidateInit() })
        );
        _peer.OnNegotiationNeeded.Subscribe(_ => Offer());
        _peer.OnDataChannel.Subscribe(e => Attend(e.Channel));
        _peer.OnConnectionStateChange.Subscribe(Report);
    }

    /// <summary>Signals until the page goes away.</summary>
    public async Task ServeAsync(string runtime, CancellationToken cancellation)
    {
        Say(new Signal { Hello = new Hello(_page, runtime) });
        var sending = SendSignalsAsync(cancellation);

        try
        {
            while (await ReceiveAsync(cancellation) is { } signal)
                await HandleAsync(signal);
        }
        catch (Exception e) when (e is RTCException or JsonException)
        {
            // A description or a candidate that we cannot use: the page says so to its user.
            Say(new Signal { Error = $"The program refused: {e.Message}" });
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException)
        {
            // The page was closed, or the program is ending.
        }

        _outbox.Writer.Complete();
        await sending;
    }

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        await _peer.DisposeAsync();
        _over.Dispose();
    }

    // Signalling ------------------------------------------------------------------------------------------------------

    private void Say(Signal signal) => _outbox.Writer.TryWrite(signal);

    private async Task SendSignalsAsync(CancellationToken cancellation)
    {
        try
        {
            await foreach (var signal in _outbox.Reader.ReadAllAsync(cancellation))
            {
                var bytes = JsonSerializer.SerializeToUtf8Bytes(signal, Json.Default.Signal);
                await _socket.SendAsync(bytes, WebSocketMessageType.Text, endOfMessage: true, cancellation);
            }

            if (_socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
                await _socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, cancellation);
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException)
        {
            // Nobody reads any longer.
        }
    }

    /// <summary>The next signal; null once the page has closed the socket.</summary>
    private async Task<Signal?> ReceiveAsync(CancellationToken cancellation)
    {
        var buffer = new byte[16 * 1024];
        using var message = new MemoryStream();

        while (true)
        {
            var part = await _socket.ReceiveAsync(buffer, cancellation);
            if (part.MessageType == WebSocketMessageType.Close)
                return null;

            message.Write(buffer, 0, part.Count);
            if (message.Length > MaxSignal)
                throw new JsonException($"A signal may have {MaxSignal / 1024} KiB.");

            if (part.EndOfMessage)
            {
                return JsonSerializer.Deserialize(
                    message.GetBuffer().AsSpan(0, (int)message.Length),
                    Json.Default.Signal
                );
            }
        }
    }

    /// <summary>Perfect negotiation, WebRTC 1.0 §10.7. We are the impolite side: where offers collide, ours stands.</summary>
    private async Task HandleAsync(Signal signal)
    {
        if (signal.Description is { } description)
        {
            var isOffer = description.Type == RTCSdpType.Offer;
            if (isOffer && (_makingOffer || _peer.SignalingState != RTCSignalingState.Stable))
                return;

            await _peer.SetRemoteDescriptionAsync(description);

            if (isOffer)
            {
                // Our own channel, beside those that the page opens.
                _telemetry ??= OpenTelemetry();
                await _peer.SetLocalDescriptionAsync();
                SayDescription();
            }
        }

        if (signal.Candidate is { } candidate)
            await _peer.AddIceCandidateAsync(candidate);
    }

    private async void Offer()
    {
        try
        {
            _makingOffer = true;
            await _peer.SetLocalDescriptionAsync();
            SayDescription();
        }
        catch (RTCException)
        {
            // Closed meanwhile.
        }
        finally
        {
            _makingOffer = false;
        }
    }

    private void SayDescription() => Say(new Signal { Description = _peer.LocalDescription });

    // Data channels ---------------------------------------------------------------------------------------------------

    private void Attend(RTCDataChannel channel)
    {
        switch (channel.Label)
        {
            case "chat":
                _room.Join(_page, channel, StatsAsync);
                break;
            case "ping":
                channel.OnMessage.Subscribe(message => Quietly(() => channel.Send(message.Text ?? "")));
                break;
            case "throughput":
                _bulk = new Bulk(channel, _over.Token);
                break;
            case "file":
                _ = new FileEcho(channel).RunAsync(_over.Token);
                break;
        }
    }

    private RTCDataChannel OpenTelemetry()
    {
        var channel = _peer.CreateDataChannel("telemetry");
        channel.OnOpen.Subscribe(opened => _ = TellAsync(channel));
        return channel;
    }

    /// <summary>Tells the page how things look from here, until it has gone.</summary>
    private async Task TellAsync(RTCDataChannel telemetry)
    {
        using var timer = new PeriodicTimer(_telemetryInterval);

        try
        {
            while (await timer.WaitForNextTickAsync(_over.Token))
                telemetry.Send(JsonSerializer.Serialize(Look(), Json.Default.Telemetry));
        }
        catch (Exception e) when (e is OperationCanceledException or RTCException)
        {
            // The page has gone.
        }
    }

    private Telemetry Look() =>
        new(
            Stopwatch.GetElapsedTime(_began).TotalMilliseconds,
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

    // What the terminal and the chat are told ------------------------------------------------------------------------

    private void Report(RTCPeerConnectionState state)
    {
        switch (state)
        {
            case RTCPeerConnectionState.Connected
                when _peer.Sctp?.Transport.IceTransport.GetSelectedCandidatePair() is { } pair:
                var took = Stopwatch.GetElapsedTime(_began).TotalMilliseconds;
                AnsiConsole.MarkupLineInterpolated(
                    $"page {_page}   connected after {took:F0} ms   [grey]{Describe(pair)}[/]"
                );
                break;
            case RTCPeerConnectionState.Disconnected:
                AnsiConsole.MarkupLineInterpolated($"page {_page}   [yellow]has gone quiet[/]");
                break;
            case RTCPeerConnectionState.Failed:
                AnsiConsole.MarkupLineInterpolated($"page {_page}   [red]failed[/]");
                break;
        }
    }

    private async Task<string> StatsAsync()
    {
        var report = await _peer.GetStatsAsync();
        var transport = report.Values.OfType<RTCTransportStats>().Single();
        var pair = _peer.Sctp?.Transport.IceTransport.GetSelectedCandidatePair();
        return $"{(pair is null ? "No path." : Describe(pair))}\n"
            + $"{_peer.Sctp?.Transport.Version}, {_peer.Sctp?.Transport.CipherSuite}\n"
            + $"{transport.PacketsSent:N0} packets out, {transport.PacketsReceived:N0} in; "
            + $"{transport.BytesSent / 1e6:F1} MB out, {transport.BytesReceived / 1e6:F1} MB in.";
    }

    private static string Describe(RTCIceCandidatePair pair) =>
        $"{pair.Local.Type} {pair.Local.Address}:{pair.Local.Port} to {pair.Remote.Type} {pair.Remote.Address}:{pair.Remote.Port}".ToLowerInvariant();

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
