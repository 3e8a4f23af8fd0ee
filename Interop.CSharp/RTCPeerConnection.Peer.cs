using System.Collections.Concurrent;
using System.Reactive;
using Hybrid.WebRtc.Stack;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc;

/// <summary>The side of a connection that its users do not see: what it asks of the core, and what the core tells it.</summary>
public sealed partial class RTCPeerConnection
{
    private static readonly TimeSpan LongestLifetime = TimeSpan.FromDays(365);
    private static readonly Lock KeyLogGate = new();

    private readonly WebRtcOptions _options;
    private readonly RTCCertificate _certificate;
    private readonly Func<Core.Input, bool> _post;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Small at first: most connections have one channel or a few.
    private readonly ConcurrentDictionary<int, RTCDataChannel> _channels = new(concurrencyLevel: 1, capacity: 3);

    private readonly RTCIceTransport _ice;
    private readonly RTCDtlsTransport _dtls;
    private readonly RTCSctpTransport _sctp;

    private readonly Notifier<Unit> _negotiationNeeded;
    private readonly Notifier<RTCPeerConnectionIceEvent> _iceCandidates;
    private readonly Notifier<RTCPeerConnectionIceErrorEvent> _iceCandidateErrors;
    private readonly Notifier<RTCSignalingState> _signalingStates;
    private readonly Notifier<RTCIceConnectionState> _iceConnectionStates;
    private readonly Notifier<RTCIceGatheringState> _iceGatheringStates;
    private readonly Notifier<RTCPeerConnectionState> _connectionStates;
    private readonly Notifier<RTCDataChannelEvent> _dataChannels;

    // Guards requests, and what users see against Close, which changes it on the caller's thread.
    private readonly Lock _gate = new();
    private readonly Dictionary<long, Request> _requests = [];
    private long _lastCommand;
    private volatile bool _isClosed;
    private volatile Lazy<Task<RTCStatsReport>>? _finalStats;

    // What users see.
    private volatile RTCConfiguration _configuration;
    private volatile Descriptions _descriptions = new(null, null, null, null, null);
    private volatile RTCSignalingState _signalingState = RTCSignalingState.Stable;
    private volatile RTCIceGatheringState _iceGatheringState = RTCIceGatheringState.New;
    private volatile RTCIceConnectionState _iceConnectionState = RTCIceConnectionState.New;
    private volatile RTCPeerConnectionState _connectionState = RTCPeerConnectionState.New;

    private long _reserved;
    private long _held;

    /// <param name="configuration">W3C's configuration.</param>
    /// <param name="options">What W3C leaves open.</param>
    /// <param name="connect">Makes the peer that tells the sink; answers what takes its inputs: false, where it is over.</param>
    internal RTCPeerConnection(
        RTCConfiguration? configuration,
        WebRtcOptions? options,
        Func<RTCPeerConnection, IPeerSink, Func<Core.Input, bool>> connect
    )
    {
        _configuration = configuration ?? new();
        _options = options ?? new();
        _options.Check();
        _certificate =
            _configuration.Certificates is [var first, ..] ? first
            : _options.Certificate is { } given ? given
            : new RTCCertificate(Certificate.Default);

        var now = _options.TimeProvider.GetUtcNow();
        if (_certificate.Expires <= now || _configuration.Certificates.Any(each => each.Expires <= now))
            throw Mistakes.InvalidAccess("A certificate has expired: generate a new one.");

        var logger = (_options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger<RTCPeerConnection>();
        var context =
            _options.SynchronizationContext is { } outer ? SerialContext.On(outer, logger)
            : _options.Scheduler is { } scheduler ? SerialContext.On(scheduler, logger)
            : SerialContext.OnThreadPool(logger);
        Notify = new Notifications(context, logger);

        _negotiationNeeded = Notify.Event<Unit>();
        _iceCandidates = Notify.Event<RTCPeerConnectionIceEvent>(held: 256);
        _iceCandidateErrors = Notify.Event<RTCPeerConnectionIceErrorEvent>(held: 64);
        _dataChannels = Notify.Event<RTCDataChannelEvent>(held: 1024);
        _signalingStates = Notify.State(() => SignalingState);
        _iceConnectionStates = Notify.State(() => IceConnectionState);
        _iceGatheringStates = Notify.State(() => IceGatheringState);
        _connectionStates = Notify.State(() => ConnectionState);

        _ice = new RTCIceTransport(Notify, input => _post!(input), input => Ask(input, Nothing));
        _dtls = new RTCDtlsTransport(Notify, _ice);
        _sctp = new RTCSctpTransport(Notify, _dtls);

        _trackEvents = Notify.Event<RTCTrackEvent>(held: 256);
        _rtcp = Notify.Event<IReadOnlyList<Rtp.Rtcp>>(held: 0);
        _bitrates = Notify.Event<long>();
        Interceptors = [.. _options.Interceptors.Select(make => make(this))];

        _post = connect(this, new Sink(this));
    }

    /// <summary>The context, and who makes notifiers on it.</summary>
    internal Notifications Notify { get; }

    internal long MaxMessageSize => _sctp.MaxMessageSize;

    internal int SendHighWaterMark => _options.SendHighWaterMark;

    internal bool IsClosed => _isClosed;

    internal void Post(Core.Input input) => _post(input);

    /// <summary>Room for octets to be sent; false where there is none.</summary>
    internal bool TryReserve(int octets)
    {
        if (Interlocked.Add(ref _reserved, octets) <= _options.SendBuffer)
            return true;
        Interlocked.Add(ref _reserved, -octets);
        return false;
    }

    /// <summary>Room for octets to be sent, in any case.</summary>
    internal void Reserve(long octets) => Interlocked.Add(ref _reserved, octets);

    /// <summary>Room for a message that waits for its channel's first subscriber; false where there is none.</summary>
    internal bool TryHold(int octets)
    {
        if (Interlocked.Add(ref _held, octets) <= _options.ReceiveWindow / 4)
            return true;
        Interlocked.Add(ref _held, -octets);
        return false;
    }

    internal void Unhold(int octets) => Interlocked.Add(ref _held, -octets);

    private static Func<Core.Input, bool> Connect(RTCPeerConnection connection, IPeerSink sink)
    {
        var certificate = connection._certificate;
        var config = new Core.PeerConfig(
            connection._options.ToCiphers(),
            new Core.Identity(certificate.Inner.Der, certificate.Inner.Key),
            connection._configuration.ToCore(certificate),
            connection.Capabilities.Inner,
            connection._options.ToCore()
        );
        try
        {
            return PeerHost.Start(config, connection._options.ToStack(), sink).Post;
        }
        catch (MistakeException e)
        {
            throw e.Mistake.ToW3C();
        }
    }

    private static RTCSessionDescription Description(Core.Answer answer) => ((Core.Answer.Created)answer).Item.ToW3C();

    private static ValueTuple Nothing(Core.Answer answer) => default;

    private (Core.Statistics Figures, DateTimeOffset At) Figures(Core.Answer answer) =>
        (((Core.Answer.Stats)answer).Item, _options.TimeProvider.GetUtcNow());

    private RTCStatsReport Report(Core.Answer answer) => Report(Figures(answer));

    private RTCStatsReport Report((Core.Statistics Figures, DateTimeOffset At) stats) =>
        RTCStatsReport.From(stats.Figures, stats.At, _certificate, _ice.PairChanges, Transceiver);

    /// <summary>
    /// The report of a closed connection, made where someone asks for it: few do, and it has some twenty parts. Not awaited: that
    /// would go on off the context, on which every promise is settled.
    /// </summary>
    private Task<RTCStatsReport> FinalReport(Task<(Core.Statistics Figures, DateTimeOffset At)> stats) =>
        stats.ContinueWith(
            settled => Report(settled.GetAwaiter().GetResult()),
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );

    /// <summary>A W3C promise.</summary>
    private Task<T> Ask<T>(Func<long, Core.Input> input, Func<Core.Answer, T> read)
    {
        var promise = new Promise<T>(Notify.Context, read);
        return TryGive(promise, input) ? promise.Task : Task.FromException<T>(Mistakes.Closed());
    }

    /// <summary>A W3C method that answers at once. The core's loop never waits for the context, so this may be called there.</summary>
    private void AskNow(Func<long, Core.Input> input, Action<Core.Answer>? react = null)
    {
        var call = new Call(react);
        if (!TryGive(call, input))
            throw Mistakes.Closed();
        call.Wait();
    }

    /// <summary>Gives a command to the core; false where the connection is closed.</summary>
    private bool TryGive(Request request, Func<long, Core.Input> input)
    {
        long id;
        lock (_gate)
        {
            if (_isClosed)
                return false;
            id = ++_lastCommand;
            _requests[id] = request;
        }
        if (!_post(input(id)))
            Take(id)?.Fail(Mistakes.Closed());
        return true;
    }

    private Request? Take(long id)
    {
        lock (_gate)
            return _requests.Remove(id, out var request) ? request : null;
    }

    /// <summary>A channel that the core has made; on its thread, so that nothing can be said of it before.</summary>
    private RTCDataChannel Adopt(Core.ChannelInfo info)
    {
        var channel = new RTCDataChannel(this, info);
        _channels[channel.Handle] = channel;
        if (_isClosed)
        {
            channel.Shut();
            Notify.Context.Post(channel.Complete);
        }
        return channel;
    }

    /// <summary>W3C WebRTC 1.0 §4.4.1.10, "close the connection".</summary>
    private void CloseOnce()
    {
        Request[] unanswered;
        lock (_gate)
        {
            if (_isClosed)
                return;

            // Asked before Close reaches the core, for who wants to know afterwards.
            var stats = new Promise<(Core.Statistics Figures, DateTimeOffset At)>(Notify.Context, Figures);
            var statsId = ++_lastCommand;
            unanswered = [.. _requests.Values];
            _requests.Clear();
            _requests[statsId] = stats;
            _finalStats = new(() => FinalReport(stats.Task));
            _isClosed = true;
            SetClosed();

            if (!_post(Core.Input.NewGetStats(statsId)) | !_post(Core.Input.NewClose(++_lastCommand)))
                _ended.TrySetResult();
        }

        foreach (var request in unanswered)
            request.Fail(Mistakes.ClosedMeanwhile());
        foreach (var channel in _channels.Values)
            channel.Shut();
        foreach (var transceiver in _byId?.Values ?? [])
            transceiver.Close();
        Notify.Context.Post(Complete);
    }

    private void SetClosed()
    {
        _signalingState = RTCSignalingState.Closed;
        _iceConnectionState = RTCIceConnectionState.Closed;
        _connectionState = RTCPeerConnectionState.Closed;
        _ice.Close();
        _dtls.Close();
        _sctp.Close();
    }

    /// <summary>Nothing follows; on the context.</summary>
    private void Complete()
    {
        foreach (var channel in _channels.Values)
            channel.Complete();
        _channels.Clear();
        _negotiationNeeded.Complete();
        _iceCandidates.Complete();
        _iceCandidateErrors.Complete();
        _dataChannels.Complete();
        _signalingStates.Complete();
        _iceConnectionStates.Complete();
        _iceGatheringStates.Complete();
        _connectionStates.Complete();
        _ice.Complete();
        _dtls.Complete();
        _sctp.Complete();
        CompleteMedia();
    }

    /// <summary>Users see the transceivers so from now on; on the context.</summary>
    private void Tell(MediaSnapshot snapshot)
    {
        lock (_gate)
            Show(snapshot);
    }

    /// <summary>What happened, on the context: first what users see, then the notification.</summary>
    private void Tell(Core.Event happened)
    {
        Action tell;
        lock (_gate)
        {
            if (_isClosed)
                return;
            tell = Apply(happened);
        }
        tell();
    }

    /// <summary>Changes what users see; answers what is to be told.</summary>
    private Action Apply(Core.Event happened)
    {
        switch (happened)
        {
            case Core.Event.SignalingStateChanged e:
                var signaling = _signalingState = (RTCSignalingState)e.Item;
                // An offer that is under way covers what was needed.
                if (signaling != RTCSignalingState.Stable)
                    _negotiationNeeded.Forget();
                return () => _signalingStates.Tell(signaling);

            case Core.Event.DescriptionsChanged e:
                _descriptions = Descriptions.From(e.Item);
                return static () => { };

            case Core.Event.ConnectionStateChanged e:
                var connection = _connectionState = (RTCPeerConnectionState)e.Item;
                return () => _connectionStates.Tell(connection);

            case Core.Event.IceConnectionStateChanged e:
                var iceConnection = _iceConnectionState = (RTCIceConnectionState)e.Item;
                return () => _iceConnectionStates.Tell(iceConnection);

            case Core.Event.IceGatheringStateChanged e:
                var gathering = _iceGatheringState = (RTCIceGatheringState)e.Item;
                return () => _iceGatheringStates.Tell(gathering);

            case Core.Event.IceCandidate e:
                return () => _iceCandidates.Tell(e.Item.IsSome ? e.Item.Value.ToW3C() : new(null, null));

            case Core.Event.IceCandidateError e:
                return () => _iceCandidateErrors.Tell(e.Item.ToW3C());

            case Core.Event.IceTransportChanged e:
                return _ice.Apply(e.Item);

            case Core.Event.CandidatePairAdded e:
                return () => _ice.TellAdded(e.Item);

            case Core.Event.CandidatePairRemoved e:
                return () => _ice.TellRemoved(e.Item);

            case Core.Event.CandidatePairNominated e:
                return () => _ice.Propose(e.Item);

            case Core.Event.DtlsTransportChanged e:
                return _dtls.Apply(e.Item);

            case Core.Event.DtlsError e:
                return () => _dtls.Fail(e.Item);

            case Core.Event.SctpTransportChanged e:
                return _sctp.Apply(e.Item);

            case Core.Event.ChannelOpened e:
                return OnChannel(
                    e.Handle,
                    channel =>
                    {
                        channel.SetOpen(e.Id);
                        return channel.TellOpen;
                    }
                );

            case Core.Event.ChannelClosing e:
                return OnChannel(e.Handle, channel => channel.StartClosing);

            case Core.Event.BufferedAmountFell e:
                return OnChannel(e.Handle, channel => () => channel.TellFell(e.Octets));

            case Core.Event.TracksChanged e:
                return () => TellTracks(e.Item);

            case Core.Event.ReceiverUnmuted e:
                return OnTransceiver(e.Transceiver, static transceiver => transceiver.Receiver.SetMuted(false));

            case Core.Event.SourceFound e:
                return OnTransceiver(e.Transceiver, transceiver => transceiver.Receiver.Found(e.Ssrc, e.Rid));

            case Core.Event.RtcpReceived e:
                return () => TellRtcp(e.Item);

            case Core.Event.KeyFrameRequested e:
                return OnTransceiver(e.Transceiver, transceiver => TellKeyFrameRequest(transceiver, e.Encoding));

            case Core.Event.BitrateEstimated e:
                return () => TellBitrate(e.BitsPerSecond);

            case Core.Event.PathOverheadChanged e:
                return () => _pathOverhead = e.Octets;

            case Core.Event.ToneChanged e:
                return OnTransceiver(e.Transceiver, transceiver => transceiver.Sender.Dtmf?.Tell(e.Tone, e.Buffer));

            case Core.Event.ToneReceived e:
                return OnTransceiver(
                    e.Transceiver,
                    transceiver => transceiver.Receiver.TellTone(e.Tone[0], e.Duration.OrNothing())
                );

            case Core.Event.KeyLogged e:
                return () => LogKey(e.Line);

            case { IsNegotiationNeeded: true }:
                return () => _negotiationNeeded.Tell(Unit.Default);

            // ChannelAnnounced and ChannelClosed, which the sink has had a part in.
            default:
                return static () => { };
        }
    }

    private Action OnChannel(int handle, Func<RTCDataChannel, Action> apply) =>
        _channels.TryGetValue(handle, out var channel) ? apply(channel) : static () => { };

    private void TellAnnounced(RTCDataChannel channel)
    {
        // W3C §6.2: open already, so that the subscriber can send; its open event comes after.
        if (_isClosed)
            return;
        channel.SetOpen(null);
        _dataChannels.Tell(new RTCDataChannelEvent(channel));
        if (!_isClosed)
            channel.TellOpen();
    }

    private void TellClosed(RTCDataChannel channel, Core.Fault? fault)
    {
        if (!_isClosed)
            channel.FinishClosing(fault);
        _channels.TryRemove(channel.Handle, out _);
    }

    private void LogKey(string line)
    {
        try
        {
            lock (KeyLogGate)
            {
                var mode = new FileStreamOptions { Mode = FileMode.Append, Access = FileAccess.Write };
                if (!OperatingSystem.IsWindows())
                    mode.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
                using var file = new StreamWriter(_options.KeyLogPath!, mode);
                file.WriteLine(line);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Log.KeyLogFailed(Notify.Logger, e);
        }
    }

    /// <summary>The four descriptions, changed as one.</summary>
    private sealed record Descriptions(
        RTCSessionDescription? CurrentLocal,
        RTCSessionDescription? PendingLocal,
        RTCSessionDescription? CurrentRemote,
        RTCSessionDescription? PendingRemote,
        bool? CanTrickle
    )
    {
        public static Descriptions From(Core.Descriptions core) =>
            new(
                core.CurrentLocal.ToW3C(),
                core.PendingLocal.ToW3C(),
                core.CurrentRemote.ToW3C(),
                core.PendingRemote.ToW3C(),
                core.CanTrickle.OrNothing()
            );
    }

    /// <summary>What the core tells, on its loop's thread: done here is only what cannot wait, the rest on the context.</summary>
    private sealed class Sink(RTCPeerConnection connection) : IPeerSink
    {
        public void Reply(long command, Core.Answer answer) => connection.Take(command)?.Succeed(answer);

        public void Refuse(long command, Core.Mistake mistake) => connection.Take(command)?.Fail(mistake.ToW3C());

        public void Message(int channel, bool text, ReadOnlyMemory<byte> payload)
        {
            if (!connection._channels.TryGetValue(channel, out var receiver))
            {
                connection.Post(Core.Input.NewConsumed(payload.Length));
                return;
            }

            var message = new MessageEvent(receiver, text, payload);
            connection.Notify.Context.Enqueue(static state => ((MessageEvent)state!).Deliver(), message);
        }

        public void Rtp(int transceiver, string rid, ReadOnlyMemory<Rtp.RtpPacket> packets) =>
            connection.Transceiver(transceiver)?.Receiver.Receive(rid, packets);

        public void Settle() => connection.Notify.Context.Wake();

        public void Raise(Core.Event happened)
        {
            switch (happened)
            {
                case Core.Event.ChannelAnnounced e:
                    var announced = connection.Adopt(e.Item);
                    connection.Notify.Context.Post(() => connection.TellAnnounced(announced));
                    return;

                case Core.Event.ChannelClosed e when connection._channels.TryGetValue(e.Handle, out var closed):
                    connection.Reserve(-closed.End());
                    var fault = e.Fault.OrNull();
                    connection.Notify.Context.Post(() => connection.TellClosed(closed, fault));
                    return;

                // In their places among the packets, which come on this thread.
                case Core.Event.JitterBufferChanged e:
                    connection.Transceiver(e.Transceiver)?.Receiver.Hold(e.IsHeld);
                    return;

                case Core.Event.PacketsDue e:
                    connection.Transceiver(e.Transceiver)?.Receiver.Due(new(e.Ssrc, e.UpTo));
                    return;

                case Core.Event.TransceiversChanged e:
                    var snapshot = connection.Take(e.Item);
                    connection.Notify.Context.Post(() => connection.Tell(snapshot));
                    return;

                case Core.Event.KeyFrameRequested e when connection.Transceiver(e.Transceiver) is { } asked:
                    asked.Sender.RelayKeyFrameRequest(e.Encoding);
                    break;

                case Core.Event.RtcpReceived e when connection.Interceptors is { Length: > 0 } interceptors:
                    IReadOnlyList<Rtp.Rtcp> packets = e.Item;
                    foreach (var interceptor in interceptors.AsEnumerable().Reverse())
                        packets = interceptor.OnIncomingRtcp(packets);
                    if (packets.Count == 0)
                        return;
                    happened = Core.Event.NewRtcpReceived([.. packets]);
                    break;

                case Core.Event.BufferedAmountFell e when connection._channels.TryGetValue(e.Handle, out var channel):
                    connection.Reserve(-e.Octets);
                    channel.Fell(e.Octets);
                    break;
            }

            connection.Notify.Context.Post(() => connection.Tell(happened));
        }

        public void Ended(Exception? bug)
        {
            // Not asked for: the peer died of a bug, or was stopped with its loop.
            if (!connection._isClosed)
            {
                Raise(Core.Event.NewConnectionStateChanged(Core.PeerConnectionState.Failed));
                connection.Notify.Context.Post(connection.CloseOnce);
            }

            Request[] unanswered;
            lock (connection._gate)
            {
                unanswered = [.. connection._requests.Values];
                connection._requests.Clear();
            }
            foreach (var request in unanswered)
                request.Fail(Mistakes.ClosedMeanwhile());
            connection._ended.TrySetResult();
        }
    }
}
