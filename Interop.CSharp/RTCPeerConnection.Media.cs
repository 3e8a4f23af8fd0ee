using System.Collections.Concurrent;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>Audio and video, <see href="https://www.w3.org/TR/webrtc/#rtp-media-api">WebRTC §5</see>.</summary>
public sealed partial class RTCPeerConnection
{
    private readonly Notifier<RTCTrackEvent> _trackEvents;
    private readonly Notifier<IReadOnlyList<Rtcp>> _rtcp;
    private readonly Notifier<long> _bitrates;

    // Made with the first transceiver: many connections carry data only. By id, on the loop's thread and the context.
    private volatile ConcurrentDictionary<int, RTCRtpTransceiver>? _byId;
    private volatile RTCRtpTransceiver[] _transceivers = [];
    private readonly Dictionary<string, MediaStream> _remoteStreams = [];

    // What the core said last, on the loop's thread; and what users see of it.
    private volatile MediaSnapshot _latest = new(0, [], []);
    private long _shownMedia;
    private long _bitrate = -1;

    /// <summary>
    /// The peer sends a track. Who subscribes to its packets or frames inside this notification misses none of them.
    /// </summary>
    public IObservable<RTCTrackEvent> OnTrack => _trackEvents;

    /// <summary>RTCP has come, all that the peer sends; one element is one datagram. Beyond W3C.</summary>
    public IObservable<IReadOnlyList<Rtcp>> OnRtcp => _rtcp;

    /// <summary>
    /// What the network seems to carry towards the peer, bits a second, all media together; null before there is an estimate. Beyond
    /// W3C: what an encoder, or the choice of a simulcast layer, goes by.
    /// </summary>
    public long? AvailableOutgoingBitrate => Interlocked.Read(ref _bitrate) is >= 0 and var bitrate ? bitrate : null;

    /// <summary>It has changed. Beyond W3C.</summary>
    public IObservable<long> OnAvailableOutgoingBitrateChange => _bitrates;

    internal IRtpInterceptor[] Interceptors { get; private set; } = [];

    /// <summary>Octets that a relay has around each packet; any thread.</summary>
    internal int PathOverhead => _pathOverhead;

    private volatile int _pathOverhead;

    internal RTCMediaCapabilities Capabilities => _options.Media;

    internal TimeProvider Time => _options.TimeProvider;

    /// <summary>Senders of transceivers that are not stopped, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-getsenders">WebRTC §5.1</see>.</summary>
    public IReadOnlyList<RTCRtpSender> GetSenders() =>
        [.. _transceivers.Where(static each => !each.IsGone).Select(static each => each.Sender)];

    /// <summary>Receivers of transceivers that are not stopped, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-getreceivers">WebRTC §5.1</see>.</summary>
    public IReadOnlyList<RTCRtpReceiver> GetReceivers() =>
        [.. _transceivers.Where(static each => !each.IsGone).Select(static each => each.Receiver)];

    /// <summary>All transceivers, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-gettransceivers">WebRTC §5.1</see>; a stopped one leaves when a description has said so.</summary>
    public IReadOnlyList<RTCRtpTransceiver> GetTransceivers() => [.. _transceivers];

    /// <summary>
    /// Sends a track, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-addtrack">WebRTC §5.1</see>; <see cref="OnNegotiationNeeded"/>
    /// follows.
    /// </summary>
    /// <param name="track">What to send.</param>
    /// <param name="streams">The streams that the peer shall find it in.</param>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection is closed. <c>InvalidAccessError</c>: the track is sent already.</exception>
    public RTCRtpSender AddTrack(MediaStreamTrack track, params MediaStream[] streams)
    {
        ArgumentNullException.ThrowIfNull(track);
        ArgumentNullException.ThrowIfNull(streams);
        if (_isClosed)
            throw Mistakes.Closed();
        if (Array.Exists(_transceivers, each => !each.IsGone && each.Sender.Track == track))
            throw Mistakes.InvalidAccess(
                "The track is sent already; RemoveTrack() its sender, or add a Clone() of it."
            );

        var transceiver = AddMedia(id =>
            Core.Input.NewAddTrack(id, (Core.MediaKind)track.Kind, track.Id, streams.Ids())
        );
        transceiver.Sender.SetTrack(track);
        return transceiver.Sender;
    }

    /// <summary>Sends a track no more, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-removetrack">WebRTC §5.1</see>; the sender stays.</summary>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection is closed. <c>InvalidAccessError</c>: the sender is another connection's.</exception>
    public void RemoveTrack(RTCRtpSender sender)
    {
        ArgumentNullException.ThrowIfNull(sender);
        if (_isClosed)
            throw Mistakes.Closed();
        if (sender.Connection != this)
            throw Mistakes.InvalidAccess("The sender is another connection's.");
        if (sender.Transceiver.IsStopped || sender.Track is null)
            return;
        ChangeMedia(id => Core.Input.NewRemoveTrack(id, sender.Transceiver.Id));
        sender.SetTrack(null);
    }

    /// <summary>
    /// Adds a sender and a receiver, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-addtransceiver">WebRTC §5.1</see>: both
    /// ways, with one encoding. <see cref="OnNegotiationNeeded"/> follows.
    /// </summary>
    /// <param name="track">What to send.</param>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection is closed.</exception>
    public RTCRtpTransceiver AddTransceiver(MediaStreamTrack track) =>
        AddTransceiver(track, new RTCRtpTransceiverInit());

    /// <summary>The same, in another way.</summary>
    /// <param name="track">What to send.</param>
    /// <param name="init">How.</param>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: the connection is closed. <c>TypeError</c>: rids are not such, not unique, or missing among several encodings; or
    /// the direction is <c>stopped</c>. <c>RangeError</c>: a scale below 1, or a negative rate. <c>OperationError</c>: a codec is not among
    /// the capabilities.
    /// </exception>
    public RTCRtpTransceiver AddTransceiver(MediaStreamTrack track, RTCRtpTransceiverInit init)
    {
        ArgumentNullException.ThrowIfNull(track);
        ArgumentNullException.ThrowIfNull(init);
        var transceiver = AddTransceiver(track.Kind, track, init);
        transceiver.Sender.SetTrack(track);
        return transceiver;
    }

    /// <summary>The same, both ways, with one encoding, and nothing to send for now.</summary>
    /// <param name="kind">Sound or picture.</param>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection is closed.</exception>
    public RTCRtpTransceiver AddTransceiver(MediaKind kind) => AddTransceiver(kind, new RTCRtpTransceiverInit());

    /// <summary>The same, with nothing to send for now.</summary>
    /// <param name="kind">Sound or picture.</param>
    /// <param name="init">How.</param>
    /// <exception cref="RTCException">As for the one with a track.</exception>
    public RTCRtpTransceiver AddTransceiver(MediaKind kind, RTCRtpTransceiverInit init)
    {
        ArgumentNullException.ThrowIfNull(init);
        if (!Enum.IsDefined(kind))
            throw Mistakes.Type("A transceiver's kind is audio or video.");
        return AddTransceiver(kind, null, init);
    }

    /// <summary>Sends RTCP: an application's own packets, or feedback that it makes itself. Beyond W3C.</summary>
    public void SendRtcp(params Rtcp[] packets)
    {
        ArgumentNullException.ThrowIfNull(packets);
        IReadOnlyList<Rtcp> sent = packets;
        foreach (var interceptor in Interceptors)
            sent = interceptor.OnOutgoingRtcp(sent);
        if (sent.Count > 0)
            _post(Core.Input.NewSendRtcp([.. sent]));
    }

    /// <summary>A transceiver's transport: all share one.</summary>
    internal RTCDtlsTransport? TransportOf(RTCRtpTransceiver transceiver) =>
        transceiver.Mid is null || transceiver.IsGone ? null : _dtls;

    /// <summary>A W3C method that answers at once and changes transceivers: the change shows when it returns.</summary>
    /// <param name="input">What is asked.</param>
    /// <param name="then">Done before anything else that the core has to say; on its thread.</param>
    internal void ChangeMedia(Func<long, Core.Input> input, Action? then = null) =>
        AskNow(
            input,
            _ =>
            {
                ShowLatest();
                then?.Invoke();
            }
        );

    /// <summary>A W3C promise about transceivers.</summary>
    /// <param name="input">What is asked.</param>
    /// <param name="then">Done before the promise is kept, on the context.</param>
    internal Task AskMedia(Func<long, Core.Input> input, Action then) =>
        Ask<ValueTuple>(
            input,
            _ =>
            {
                then();
                return default;
            }
        );

    private RTCRtpTransceiver AddTransceiver(MediaKind kind, MediaStreamTrack? track, RTCRtpTransceiverInit init)
    {
        if (_isClosed)
            throw Mistakes.Closed();
        if (init.Direction == RTCRtpTransceiverDirection.Stopped || !Enum.IsDefined(init.Direction))
            throw Mistakes.Type("A transceiver begins with the direction SendRecv, SendOnly, RecvOnly or Inactive.");

        var core = new Core.TransceiverInit(
            (Core.MediaKind)kind,
            (Core.Direction)init.Direction,
            init.Streams.Ids(),
            Encodings.ToInit(init.SendEncodings, kind, Capabilities),
            track?.Id.ToCore() ?? default
        );
        return AddMedia(id => Core.Input.NewAddTransceiver(id, core));
    }

    /// <summary>Adds, or takes again, a transceiver.</summary>
    private RTCRtpTransceiver AddMedia(Func<long, Core.Input> input)
    {
        RTCRtpTransceiver? transceiver = null;
        AskNow(
            input,
            answer =>
            {
                var info = ((Core.Answer.Transceiver)answer).Item;
                transceiver = Adopt(info);
                ShowLatest();
            }
        );
        return transceiver!;
    }

    /// <summary>The transceiver of an id: the same object for ever; on the loop's thread.</summary>
    private RTCRtpTransceiver Adopt(Core.TransceiverInfo info)
    {
        var byId = _byId ??= new(concurrencyLevel: 1, capacity: 3);
        if (byId.TryGetValue(info.Id, out var known))
            return known;

        var transceiver = new RTCRtpTransceiver(this, info);
        transceiver.Wire(info);
        byId[info.Id] = transceiver;
        if (_options.JitterBufferTarget is { } target)
            transceiver.Receiver.JitterBufferTarget = target;
        if (_isClosed)
        {
            transceiver.Close();
            Notify.Context.Post(transceiver.Complete);
        }
        return transceiver;
    }

    /// <summary>All transceivers, as the core has them now; on the loop's thread. Media goes by it at once, users see it on the context.</summary>
    private MediaSnapshot Take(Core.TransceiverInfo[] infos)
    {
        var transceivers = new RTCRtpTransceiver[infos.Length];
        for (var i = 0; i < infos.Length; i++)
        {
            transceivers[i] = Adopt(infos[i]);
            transceivers[i].Wire(infos[i]);
        }
        return _latest = new(_latest.Version + 1, infos, transceivers);
    }

    /// <summary>What a method that answers at once has changed shows when it returns; on the loop's thread.</summary>
    private void ShowLatest()
    {
        lock (_gate)
            Show(_latest);
    }

    /// <summary>Users see it from now on, unless they see something newer already; within the gate.</summary>
    private void Show(MediaSnapshot snapshot)
    {
        if (snapshot.Version <= _shownMedia || _isClosed)
            return;
        _shownMedia = snapshot.Version;
        for (var i = 0; i < snapshot.Infos.Length; i++)
            snapshot.Transceivers[i].Show(snapshot.Infos[i]);
        _transceivers = snapshot.Transceivers;
    }

    private RTCRtpTransceiver? Transceiver(int id) =>
        _byId is { } byId && byId.TryGetValue(id, out var transceiver) ? transceiver : null;

    private Action OnTransceiver(int id, Action<RTCRtpTransceiver> tell) =>
        Transceiver(id) is { } transceiver ? () => tell(transceiver) : static () => { };

    /// <summary>What the peer's description did to tracks, in the order of W3C WebRTC 1.0 §4.4.1.5's last steps.</summary>
    private void TellTracks(Core.TrackChange[] changes)
    {
        var removed = new List<(MediaStream Stream, RemoteTrack Track)>();
        var added = new List<(MediaStream Stream, RemoteTrack Track)>();
        var events = new List<RTCTrackEvent>();
        foreach (var change in changes)
        {
            switch (change)
            {
                case Core.TrackChange.TrackAdded e when Transceiver(e.Transceiver) is { } transceiver:
                    var streams = e.Streams.Distinct().Select(RemoteStream).ToArray();
                    var track = transceiver.Receiver.Track;
                    foreach (var stream in _remoteStreams.Values)
                    {
                        if (!streams.Contains(stream) && stream.Take(track))
                            removed.Add((stream, track));
                    }
                    foreach (var stream in streams)
                    {
                        if (stream.Put(track))
                            added.Add((stream, track));
                    }
                    events.Add(new(transceiver.Receiver, track, streams, transceiver));
                    break;

                case Core.TrackChange.TrackRemoved e when Transceiver(e.Transceiver) is { } transceiver:
                    transceiver.Receiver.SetMuted(true);
                    foreach (var id in e.Streams)
                    {
                        if (_remoteStreams.TryGetValue(id, out var left) && left.Take(transceiver.Receiver.Track))
                            removed.Add((left, transceiver.Receiver.Track));
                    }
                    break;

                case Core.TrackChange.TrackEnded e when Transceiver(e.Transceiver) is { } transceiver:
                    transceiver.Receiver.FinishTracks();
                    break;
            }
        }

        // Whoever is told may close the connection, and then nothing follows.
        foreach (var (stream, track) in removed.TakeWhile(_ => !_isClosed))
            stream.TellRemoved(track);
        foreach (var (stream, track) in added.TakeWhile(_ => !_isClosed))
            stream.TellAdded(track);
        foreach (var happened in events.TakeWhile(_ => !_isClosed))
            _trackEvents.Tell(happened);
    }

    /// <summary>W3C: one object for each id that the peer names, for as long as the connection lives.</summary>
    private MediaStream RemoteStream(string id)
    {
        if (!_remoteStreams.TryGetValue(id, out var stream))
            _remoteStreams[id] = stream = new MediaStream(id, Notify);
        return stream;
    }

    private void TellRtcp(Rtcp[] packets)
    {
        _rtcp.Tell(packets);
        foreach (var transceiver in _transceivers)
        {
            foreach (var packet in packets)
            {
                if (transceiver.Sender.Concerns(packet))
                    transceiver.Sender.TellRtcp(packet);
                if (transceiver.Receiver.Concerns(packet))
                    transceiver.Receiver.TellRtcp(packet);
            }
        }
    }

    private void TellKeyFrameRequest(RTCRtpTransceiver transceiver, int encoding)
    {
        var encodings = transceiver.Info.Encodings;
        transceiver.Sender.TellKeyFrameRequest(
            encoding >= 0 && encoding < encodings.Length ? encodings[encoding].Rid : ""
        );
    }

    private void TellBitrate(long bitrate)
    {
        Interlocked.Exchange(ref _bitrate, bitrate);
        _bitrates.Tell(bitrate);
    }

    /// <summary>Nothing follows; on the context.</summary>
    private void CompleteMedia()
    {
        foreach (var transceiver in _byId?.Values ?? [])
            transceiver.Complete();
        foreach (var stream in _remoteStreams.Values)
            stream.Complete();
        _trackEvents.Complete();
        _rtcp.Complete();
        _bitrates.Complete();
    }

    /// <summary>All transceivers, in order, and what is known of each.</summary>
    private sealed record MediaSnapshot(long Version, Core.TransceiverInfo[] Infos, RTCRtpTransceiver[] Transceivers);
}
