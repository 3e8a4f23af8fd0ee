using System.Reactive;
using System.Reactive.Linq;
using Hybrid.WebRtc.Media;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>Packets that came together.</summary>
/// <param name="Rid">Of which of the peer's simulcast encodings; empty without simulcast.</param>
/// <param name="Packets">In the order of their arrival; theirs to keep who get them.</param>
public readonly record struct RtpBurst(string Rid, ReadOnlyMemory<RtpPacket> Packets)
{
    /// <summary>Whether frames are made of them once they are due.</summary>
    internal bool IsHeld { get; init; }
}

/// <summary>Frames may be made of a source's packets.</summary>
/// <param name="Ssrc">The source.</param>
/// <param name="UpTo">The sequence number of the last of them.</param>
internal readonly record struct RtpDue(uint Ssrc, ushort UpTo);

/// <summary>A source that the peer sends a track with.</summary>
/// <param name="Rid">Which of its simulcast encodings; empty without simulcast.</param>
/// <param name="Ssrc">What its packets carry.</param>
public readonly record struct RtpLayer(string Rid, uint Ssrc);

/// <summary>
/// A track that a peer sends. Subscribe to <see cref="Packets"/>, <see cref="OnRtp"/> or <see cref="Frames"/>, or hand it on: by
/// <see cref="ForwardTo"/>, or simply by adding it to another connection.
/// </summary>
/// <remarks>
/// Observers are told on the connection's context. What comes before anyone has subscribed is held for the first subscriber, some
/// packets of it; who is slower than the network loses packets, which are counted in a log line.
/// </remarks>
public sealed class RemoteTrack : MediaStreamTrack
{
    /// <summary>Bursts that wait for the first subscriber.</summary>
    private const int HeldBursts = 32;

    /// <summary>Packets that wait for their observers.</summary>
    private const int QueuedPackets = 4_096;

    /// <summary>What many subscribers ask for at once is asked once.</summary>
    private static readonly TimeSpan RelayInterval = TimeSpan.FromMilliseconds(250);

    private readonly Lock _gate = new();
    private readonly RTCPeerConnection _connection;
    private readonly RTCRtpReceiver _receiver;
    private readonly Notifier<RtpBurst> _bursts;
    private readonly Notifier<RtpDue> _dues;
    private readonly Notifier<Rtcp> _rtcp;
    private readonly Notifier<RtpLayer> _layerEvents;
    private readonly Notifier<Unit> _mutes;
    private readonly Notifier<Unit> _unmutes;
    private readonly Notifier<Unit> _endings;
    private volatile RtpForward[] _forwards = [];
    private volatile RtpLayer[] _layers = [];
    private volatile bool _muted = true;
    private RtpTrack? _relay;
    private (string Rid, long At)[] _relayed = [];
    private int _queued;
    private bool _isLate;

    internal RemoteTrack(RTCPeerConnection connection, RTCRtpReceiver receiver, MediaKind kind, string id)
        : base(kind, id, "")
    {
        _connection = connection;
        _receiver = receiver;
        var notify = connection.Notify;
        _bursts = notify.Event<RtpBurst>(HeldBursts);
        _dues = notify.Event<RtpDue>(held: 0);
        _rtcp = notify.Event<Rtcp>(held: 16);
        _layerEvents = notify.Event<RtpLayer>(held: 16);
        _mutes = notify.Event<Unit>();
        _unmutes = notify.Event<Unit>();
        _endings = notify.Event<Unit>();
    }

    /// <summary>
    /// Whether the peer sends nothing: so until its first packet, and again once a description says that it does not send.
    /// </summary>
    public override bool Muted => _muted;

    /// <inheritdoc/>
    public override IObservable<Unit> OnMute => _mutes;

    /// <inheritdoc/>
    public override IObservable<Unit> OnUnmute => _unmutes;

    /// <summary>The transceiver was stopped, by either side.</summary>
    public override IObservable<Unit> OnEnded => _endings;

    /// <summary>Packets as they come, those of one batch of the network's together: retransmissions, FEC and padding are done with.</summary>
    public IObservable<RtpBurst> Packets => _bursts;

    /// <summary>The same, one by one.</summary>
    public IObservable<RtpPacket> OnRtp =>
        Observable.Create<RtpPacket>(observer =>
            _bursts.Subscribe(
                burst =>
                {
                    for (var i = 0; i < burst.Packets.Length; i++)
                        observer.OnNext(burst.Packets.Span[i]);
                },
                observer.OnCompleted
            )
        );

    /// <summary>
    /// Whole frames, in order. One that is not whole in time is dropped, and a key frame is asked for where others depend on it. Without simulcast; with it, of the
    /// encoding that sends first: see <see cref="FramesOf"/>. As soon as they are whole, or when <see cref="RTCRtpReceiver.JitterBufferTarget"/> lets them go.
    /// </summary>
    public IObservable<EncodedFrame> Frames => FrameSource.Of(this, _receiver, null);

    /// <summary>Sources that packets have come from so far.</summary>
    public IReadOnlyList<RtpLayer> Layers => _layers;

    /// <summary>A source was found.</summary>
    public IObservable<RtpLayer> OnLayer => _layerEvents;

    /// <summary>What the peer says in RTCP about its sources: sender reports, descriptions, goodbyes.</summary>
    public IObservable<Rtcp> OnRtcp => _rtcp;

    internal RTCPeerConnection Connection => _connection;

    internal IObservable<RtpDue> Dues => _dues;

    /// <summary>Whole frames of one of the peer's simulcast encodings, in order.</summary>
    /// <param name="rid">Of the encoding.</param>
    public IObservable<EncodedFrame> FramesOf(string rid)
    {
        ArgumentNullException.ThrowIfNull(rid);
        return FrameSource.Of(this, _receiver, rid);
    }

    /// <summary>
    /// Sends its packets on in a track of ours, straight from the network, until disposed of or displaced by another forward to
    /// the same encoding. Key frames that receivers ask for are asked of the peer. Of video, one is asked for now.
    /// </summary>
    /// <param name="track">Where they go; of the same kind.</param>
    /// <param name="rid">Which of the peer's simulcast encodings; null: the first that sends.</param>
    /// <param name="encoding">Which encoding of <paramref name="track"/> they become; empty where it has one only.</param>
    /// <exception cref="RTCException"><c>TypeError</c>: the kinds differ.</exception>
    public RtpForward ForwardTo(RtpTrack track, string? rid = null, string encoding = "")
    {
        ArgumentNullException.ThrowIfNull(track);
        ArgumentNullException.ThrowIfNull(encoding);
        if (track.Kind != Kind)
            throw Mistakes.Type($"A track of {Kind} cannot be forwarded to one of {track.Kind}.");

        var forward = new RtpForward(this, track, rid, encoding);
        track.Attach(forward);
        lock (_gate)
            _forwards = [.. _forwards, forward];
        _bursts.StopHolding();
        if (Kind == MediaKind.Video)
            RequestKeyFrame(rid);
        return forward;
    }

    /// <summary>Asks the peer for a key frame: PLI, or FIR where only that was negotiated.</summary>
    /// <param name="rid">Of which of its simulcast encodings; null: of all.</param>
    public void RequestKeyFrame(string? rid = null) => _receiver.RequestKeyFrame(SsrcOf(rid));

    /// <summary>A track of what the peer sends, enabled and stopped on its own.</summary>
    public override MediaStreamTrack Clone() => _receiver.CloneTrack();

    internal override void Bind(SenderFeed feed) => Relay().Bind(feed);

    internal override void Unbind(SenderFeed feed) => Relay().Unbind(feed);

    internal override void AskForKeyFrame(string rid) => Relay().AskForKeyFrame(rid);

    /// <summary>On any thread: the peer is asked once a quarter of a second at most, of each encoding. Whether it was.</summary>
    internal bool RelayKeyFrameRequest(string rid)
    {
        lock (_gate)
        {
            var now = _connection.Time.GetTimestamp();
            var at = Array.FindIndex(_relayed, other => other.Rid == rid);
            if (at >= 0 && _connection.Time.GetElapsedTime(_relayed[at].At, now) < RelayInterval)
                return false;
            if (at >= 0)
                _relayed[at].At = now;
            else
                _relayed = [.. _relayed.TakeLast(MaxLayers - 1), (rid, now)];
        }
        RequestKeyFrame(rid);
        return true;
    }

    internal void Detach(RtpForward forward)
    {
        lock (_gate)
            _forwards = Array.FindAll(_forwards, other => other != forward);
    }

    /// <summary>A burst of the peer's; on the loop's thread.</summary>
    internal void Receive(string rid, ReadOnlyMemory<RtpPacket> packets, Core.RtpCodecParameters[] codecs, bool isHeld)
    {
        if (!Flows)
            return;

        foreach (var forward in _forwards)
            forward.Pass(rid, packets, codecs);

        if (!_bursts.IsWanted)
            return;
        if (Interlocked.Add(ref _queued, packets.Length) > QueuedPackets)
        {
            Interlocked.Add(ref _queued, -packets.Length);
            if (!_isLate)
                Log.PacketsUnheard(_connection.Notify.Logger, Id);
            _isLate = true;
            return;
        }
        _connection.Notify.Context.Enqueue(
            static state => ((Delivery)state!).Run(),
            new Delivery(this, new RtpBurst(rid, packets) { IsHeld = isHeld })
        );
    }

    /// <summary>On the loop's thread.</summary>
    internal void Due(RtpDue due)
    {
        if (_dues.IsWanted)
            _connection.Notify.Context.Post(() => _dues.Tell(due));
    }

    /// <summary>On the context.</summary>
    internal void SetMuted(bool muted)
    {
        if (_muted == muted || ReadyState == MediaStreamTrackState.Ended)
            return;
        _muted = muted;
        (muted ? _mutes : _unmutes).Tell(Unit.Default);
    }

    /// <summary>The transceiver was stopped; on the context.</summary>
    internal void Finish()
    {
        if (End())
            _endings.Tell(Unit.Default);
    }

    /// <summary>On the context.</summary>
    internal void Found(RtpLayer layer)
    {
        if (_layers.Contains(layer))
            return;
        // One source of a rid at a time: a peer that begins anew does so with another SSRC.
        _layers = [.. _layers.Where(other => other.Rid != layer.Rid || layer.Rid.Length == 0), layer];
        if (_layers.Length > MaxLayers)
            _layers = _layers[^MaxLayers..];
        _layerEvents.Tell(layer);
    }

    /// <summary>On the context.</summary>
    internal void TellRtcp(Rtcp packet) => _rtcp.Tell(packet);

    internal bool HasSource(uint ssrc) => Array.Exists(_layers, layer => layer.Ssrc == ssrc);

    /// <summary>The connection is closed: no event, but nothing follows; on the context.</summary>
    internal void Complete()
    {
        foreach (var forward in _forwards)
            forward.Dispose();
        _bursts.Complete();
        _dues.Complete();
        _rtcp.Complete();
        _layerEvents.Complete();
        _mutes.Complete();
        _unmutes.Complete();
        _endings.Complete();
    }

    /// <summary>What the peer may have us remember.</summary>
    private const int MaxLayers = 32;

    private uint SsrcOf(string? rid)
    {
        if (!string.IsNullOrEmpty(rid))
        {
            foreach (var layer in _layers)
            {
                if (layer.Rid == rid)
                    return layer.Ssrc;
            }
        }
        return 0;
    }

    /// <summary>How it is sent as it is: by a track of its own that it is forwarded to.</summary>
    private RtpTrack Relay()
    {
        lock (_gate)
        {
            if (_relay is { } there)
                return there;
            _relay = new RtpTrack(Kind, null, null, Label, _connection.Time, new RtpHub());
        }
        ForwardTo(_relay);
        return _relay;
    }

    private sealed class Delivery(RemoteTrack track, RtpBurst burst)
    {
        public void Run()
        {
            Interlocked.Add(ref track._queued, -burst.Packets.Length);
            track._isLate = false;
            if (track.Flows)
                track._bursts.Tell(burst);
        }
    }
}
