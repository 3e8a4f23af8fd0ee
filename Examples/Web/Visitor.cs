using System.Diagnostics;
using System.Net.WebSockets;
using System.Reactive.Linq;
using System.Reactive.Subjects;
using System.Reactive.Threading.Tasks;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>
/// One open page: its signalling socket and its peer connection. Either side may change the connection at any time: descriptions
/// follow by themselves, by perfect negotiation, and candidates are trickled.
/// </summary>
public sealed class Visitor : IAsyncDisposable
{
    /// <summary>A description with many candidates and codecs has some 20 kB.</summary>
    private const int MaxSignal = 256 * 1024;

    private readonly WebSocket _socket;
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly CancellationTokenSource _gone = new();
    private readonly Channel<Signal> _outbox = Channel.CreateUnbounded<Signal>();
    private readonly Subject<JsonElement> _messages = new();
    private readonly List<Signal> _held = [];
    private bool _isAnswering;
    private bool _makingOffer;
    private bool _ignoringOffer;

    internal Visitor(int number, IQueryCollection query, WebSocket socket, WebRtcOptions options)
    {
        _socket = socket;
        Number = number;
        Query = query;
        Gone = _gone.Token;
        Peer = new RTCPeerConnection(options: options);
        Peer.OnIceCandidate.Subscribe(e =>
            SayCandidate(new Signal { Candidate = e.Candidate?.ToInit() ?? new RTCIceCandidateInit() })
        );
        Peer.OnNegotiationNeeded.Subscribe(_ => Offer());
        Peer.OnConnectionStateChange.Subscribe(Report);
    }

    /// <summary>Pages count from 1.</summary>
    public int Number { get; }

    /// <summary>What the page was asked for with: <c>?room=…</c>.</summary>
    public IQueryCollection Query { get; }

    /// <summary>The connection to the page.</summary>
    public RTCPeerConnection Peer { get; }

    /// <summary>Cancelled once the page has gone, or the program ends.</summary>
    public CancellationToken Gone { get; }

    /// <summary>What the page says beside signalling: <c>signalling.send(…)</c>. One at a time.</summary>
    public IObservable<JsonElement> Messages => _messages;

    /// <summary>Since the page opened its socket.</summary>
    public TimeSpan Age => Stopwatch.GetElapsedTime(_began);

    /// <summary>Waits until the connection is there.</summary>
    public Task ConnectedAsync() =>
        Peer.OnConnectionStateChange.FirstAsync(state => state == RTCPeerConnectionState.Connected).ToTask(Gone);

    /// <summary>Waits until the page has gone.</summary>
    public async Task GoneAsync()
    {
        var gone = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var ending = Gone.Register(() => gone.TrySetResult());
        await gone.Task;
    }

    /// <summary>Tells the page something beside signalling: <c>signalling</c> raises <c>message</c> with it.</summary>
    public void Send(object message) =>
        Say(new Signal { Message = JsonSerializer.SerializeToElement(message, JsonSerializerOptions.Web) });

    /// <summary>Signals until the page goes away.</summary>
    internal async Task ServeAsync(Func<Visitor, Task> attend, CancellationToken cancellation)
    {
        Say(new Signal { Hello = new Hello(Number, Site.Runtime) });
        var sending = SendSignalsAsync(cancellation);
        var attending = AttendAsync(attend);

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

        await _gone.CancelAsync();
        _messages.OnCompleted();
        await attending;
        _outbox.Writer.Complete();
        await sending;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _gone.CancelAsync();
        await Peer.DisposeAsync();
        _gone.Dispose();
    }

    /// <summary>Where two numbers and kinds of address meet, for people to read.</summary>
    public static string Describe(RTCIceCandidatePair pair) =>
        $"{pair.Local.Type} {pair.Local.Address}:{pair.Local.Port} to {pair.Remote.Type} {pair.Remote.Address}:{pair.Remote.Port}".ToLowerInvariant();

    private async Task AttendAsync(Func<Visitor, Task> attend)
    {
        try
        {
            await attend(this);
        }
        catch (Exception) when (Gone.IsCancellationRequested)
        {
            // Whatever it was doing, the page has gone.
        }
        catch (Exception e)
        {
            AnsiConsole.MarkupLineInterpolated($"page {Number}   [red]{e.Message}[/]");
            Say(new Signal { Error = e.Message });
        }
    }

    private void Say(Signal signal) => _outbox.Writer.TryWrite(signal);

    private void SayCandidate(Signal candidate)
    {
        lock (_held)
        {
            if (_isAnswering)
                _held.Add(candidate);
            else
                Say(candidate);
        }
    }

    private void ReleaseCandidates()
    {
        lock (_held)
        {
            _isAnswering = false;
            _held.ForEach(Say);
            _held.Clear();
        }
    }

    private async Task SendSignalsAsync(CancellationToken cancellation)
    {
        try
        {
            await foreach (var signal in _outbox.Reader.ReadAllAsync(cancellation))
            {
                var bytes = JsonSerializer.SerializeToUtf8Bytes(signal, SignalJson.Default.Signal);
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
                    SignalJson.Default.Signal
                );
            }
        }
    }

    /// <summary>Perfect negotiation, WebRTC 1.0 §10.7. We are the impolite side: where offers collide, ours stands.</summary>
    private async Task HandleAsync(Signal signal)
    {
        if (signal.Message is { } message)
            _messages.OnNext(message);

        if (signal.Description is { } description)
        {
            var isOffer = description.Type == RTCSdpType.Offer;
            _ignoringOffer = isOffer && (_makingOffer || Peer.SignalingState != RTCSignalingState.Stable);
            if (_ignoringOffer)
                return;

            await Peer.SetRemoteDescriptionAsync(description);

            if (isOffer)
            {
                // Candidates are told on the connection's context, and this goes on elsewhere: they must not overtake their answer.
                lock (_held)
                    _isAnswering = true;
                try
                {
                    await Peer.SetLocalDescriptionAsync();
                    SayDescription();
                }
                finally
                {
                    ReleaseCandidates();
                }
            }
        }

        if (signal.Candidate is { } candidate)
        {
            try
            {
                await Peer.AddIceCandidateAsync(candidate);
            }
            catch (RTCException) when (_ignoringOffer)
            {
                // It belongs to the offer that was not taken.
            }
        }
    }

    private async void Offer()
    {
        try
        {
            _makingOffer = true;
            await Peer.SetLocalDescriptionAsync();
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

    private void SayDescription() => Say(new Signal { Description = Peer.LocalDescription });

    private void Report(RTCPeerConnectionState state)
    {
        switch (state)
        {
            case RTCPeerConnectionState.Connected:
                var pair = Transport?.IceTransport.GetSelectedCandidatePair();
                AnsiConsole.MarkupLineInterpolated(
                    $"page {Number}   connected after {Age.TotalMilliseconds:F0} ms   [grey]{(pair is null ? "" : Describe(pair))}[/]"
                );
                break;
            case RTCPeerConnectionState.Disconnected:
                AnsiConsole.MarkupLineInterpolated($"page {Number}   [yellow]has gone quiet[/]");
                break;
            case RTCPeerConnectionState.Failed:
                AnsiConsole.MarkupLineInterpolated($"page {Number}   [red]failed[/]");
                break;
        }
    }

    /// <summary>The one that everything travels over, once there is one.</summary>
    private RTCDtlsTransport? Transport =>
        Peer.Sctp?.Transport
        ?? Peer.GetTransceivers()
            .Select(t => t.Sender.Transport ?? t.Receiver.Transport)
            .FirstOrDefault(t => t is not null);
}
