using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>A DTMF tone that the peer has sent as a telephone event, RFC 4733. Beyond W3C.</summary>
/// <param name="Tone"><c>0</c> to <c>9</c>, <c>*</c>, <c>#</c>, <c>A</c> to <c>D</c>.</param>
/// <param name="Duration">How long it sounded, as the peer says; where its end was lost, as long as is known.</param>
public readonly record struct RTCDTMFTone(char Tone, TimeSpan Duration);

/// <summary>Receives a track, <see href="https://www.w3.org/TR/webrtc/#rtcrtpreceiver-interface">RTCRtpReceiver</see>.</summary>
public sealed class RTCRtpReceiver
{
    private readonly RTCPeerConnection _connection;
    private readonly RTCRtpTransceiver _transceiver;
    private readonly RtpSources _sources;
    private readonly Notifier<char> _toneStarts;
    private readonly Notifier<RTCDTMFTone> _tones;
    private readonly Lock _gate = new();
    private volatile RemoteTrack[] _tracks;
    private volatile Core.RtpCodecParameters[] _codecs = [];
    private volatile RTCRtpTransform? _transform;
    private TimeSpan? _jitterBufferTarget;

    // The loop's thread only.
    private bool _isHeld;

    internal RTCRtpReceiver(RTCPeerConnection connection, RTCRtpTransceiver transceiver, string track)
    {
        _connection = connection;
        _transceiver = transceiver;
        _sources = new RtpSources(connection.Time);
        _toneStarts = connection.Notify.Event<char>(held: 64);
        _tones = connection.Notify.Event<RTCDTMFTone>(held: 64);
        Track = new RemoteTrack(connection, this, transceiver.Kind, track);
        _tracks = [Track];
    }

    /// <summary>What is received; there from the beginning, muted until something comes.</summary>
    public RemoteTrack Track { get; }

    /// <summary>
    /// DTMF tones of the peer's, RFC 4733, each once, when it has ended: audio with <c>audio/telephone-event</c> negotiated. Their packets are
    /// among those of <see cref="RemoteTrack.Packets"/>, too. What comes before anyone has subscribed is held for the first subscriber. Beyond W3C.
    /// </summary>
    public IObservable<RTCDTMFTone> OnTone => _tones;

    /// <summary>The same tones when they begin to sound: <c>0</c> to <c>9</c>, <c>*</c>, <c>#</c>, <c>A</c> to <c>D</c>. Beyond W3C.</summary>
    public IObservable<char> OnToneStart => _toneStarts;

    /// <summary>What it is received over; null until descriptions have brought it into being.</summary>
    public RTCDtlsTransport? Transport => _connection.TransportOf(_transceiver);

    /// <summary>
    /// How long frames are held at least to even out their arrival,
    /// <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-jitterbuffertarget">WebRTC §5.3</see>. Null, the default: <see cref="RemoteTrack.Frames"/>
    /// tells each as soon as it is whole. Zero: as long as the network asks for, 500 ms at most. Packets are told, and forwarded, as they
    /// come, whatever it is.
    /// </summary>
    /// <exception cref="RTCException"><c>RangeError</c>: not from 0 to 4 seconds.</exception>
    public TimeSpan? JitterBufferTarget
    {
        get
        {
            lock (_gate)
                return _jitterBufferTarget;
        }
        set
        {
            if (value < TimeSpan.Zero || value > TimeSpan.FromSeconds(4))
                throw Mistakes.Range("JitterBufferTarget is null, or from 0 to 4 seconds.");
            lock (_gate)
            {
                if (_jitterBufferTarget == value)
                    return;
                _jitterBufferTarget = value;
            }
            _connection.Post(
                Core.Input.NewSetJitterBuffer(
                    _transceiver.Id,
                    value is { } target
                        ? Microsoft.FSharp.Core.FSharpValueOption<long>.NewValueSome(target.ToMicroseconds())
                        : Microsoft.FSharp.Core.FSharpValueOption<long>.None
                )
            );
        }
    }

    /// <summary>
    /// What each received frame goes through before <see cref="RemoteTrack.Frames"/> tells it,
    /// <see href="https://www.w3.org/TR/webrtc-encoded-transform/">webrtc-encoded-transform</see>. Packets are told, and forwarded, as they came.
    /// Set it before subscribing. Default: none.
    /// </summary>
    public RTCRtpTransform? Transform
    {
        get => _transform;
        set => _transform = value;
    }

    internal RTCRtpTransceiver Transceiver => _transceiver;

    /// <summary>What can be received unless options say otherwise, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getcapabilities">WebRTC §5.3</see>.</summary>
    public static RTCRtpCapabilities GetCapabilities(MediaKind kind) => RTCMediaCapabilities.Default.Of(kind);

    /// <summary>How it receives, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getparameters">WebRTC §5.3</see>.</summary>
    public RTCRtpReceiveParameters GetParameters()
    {
        var info = _transceiver.Info;
        return new()
        {
            HeaderExtensions = [.. info.Extensions.Select(each => each.ToW3C())],
            Codecs = [.. info.ReceiveCodecs.Select(each => each.ToW3C())],
            Rtcp = new() { ReducedSize = info.ReducedSize },
        };
    }

    /// <summary>Who contributed to a mix in the last ten seconds, the latest first, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getcontributingsources">WebRTC §5.3</see>.</summary>
    public IReadOnlyList<RTCRtpContributingSource> GetContributingSources() => _sources.Contributing();

    /// <summary>What packets came from in the last ten seconds, the latest first, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getsynchronizationsources">WebRTC §5.3</see>.</summary>
    public IReadOnlyList<RTCRtpSynchronizationSource> GetSynchronizationSources() => _sources.Synchronization();

    /// <summary>Statistics of what it receives and what they refer to, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getstats">WebRTC §5.3</see>.</summary>
    public Task<RTCStatsReport> GetStatsAsync() =>
        _connection.GetStatsAsync(report => report.Of(RTCStatsReport.InboundOf(_transceiver.Id)));

    /// <summary>Asks the peer for a key frame. Beyond W3C.</summary>
    /// <param name="ssrc">Of one of its sources; 0: of all.</param>
    public void RequestKeyFrame(uint ssrc = 0) =>
        _connection.Post(Core.Input.NewRequestKeyFrame(_transceiver.Id, ssrc));

    /// <summary>What a payload type stands for; null: nothing that was negotiated.</summary>
    internal Core.RtpCodecParameters? CodecOf(byte payloadType) =>
        Array.Find(_codecs, codec => codec.PayloadType == payloadType);

    /// <summary>Of the first codec; empty where nothing was negotiated.</summary>
    internal string MainMimeType => _codecs is [var first, ..] ? first.Codec.MimeType : "";

    internal void Retarget(Core.TransceiverInfo info) => _codecs = info.ReceiveCodecs;

    /// <summary>Packets have come; on the loop's thread.</summary>
    internal void Receive(string rid, ReadOnlyMemory<RtpPacket> packets)
    {
        var interceptors = _connection.Interceptors;
        for (var i = interceptors.Length - 1; i >= 0; i--)
            packets = interceptors[i].OnIncoming(this, rid, packets);
        if (packets.IsEmpty)
            return;
        _sources.Note(packets.Span);
        var codecs = _codecs;
        foreach (var track in _tracks)
            track.Receive(rid, packets, codecs, _isHeld);
    }

    /// <summary>Whether frames wait from the next packet on; on the loop's thread.</summary>
    internal void Hold(bool isHeld) => _isHeld = isHeld;

    /// <summary>Frames may be made of packets so far; on the loop's thread.</summary>
    internal void Due(RtpDue due)
    {
        foreach (var track in _tracks)
            track.Due(due);
    }

    internal RemoteTrack CloneTrack()
    {
        var clone = new RemoteTrack(_connection, this, _transceiver.Kind, Guid.NewGuid().ToString());
        lock (_gate)
            _tracks = [.. _tracks.Where(each => each == Track || each.ReadyState == MediaStreamTrackState.Live), clone];
        if (Track.ReadyState == MediaStreamTrackState.Ended)
            clone.Stop();
        _connection.Notify.Context.Post(() => clone.SetMuted(Track.Muted));
        return clone;
    }

    /// <summary>On the context.</summary>
    internal void SetMuted(bool muted)
    {
        foreach (var track in _tracks)
            track.SetMuted(muted);
    }

    /// <summary>On the context.</summary>
    internal void FinishTracks()
    {
        foreach (var track in _tracks)
            track.Finish();
    }

    /// <summary>Without an event.</summary>
    internal void EndTracks()
    {
        foreach (var track in _tracks)
            track.Stop();
    }

    /// <summary>On the context.</summary>
    internal void Found(uint ssrc, string rid)
    {
        foreach (var track in _tracks)
            track.Found(new RtpLayer(rid, ssrc));
    }

    internal bool Concerns(Rtcp packet) => RtcpTargets.IsFrom(packet, Track);

    /// <summary>On the context.</summary>
    internal void TellRtcp(Rtcp packet)
    {
        foreach (var track in _tracks)
            track.TellRtcp(packet);
    }

    /// <summary>A tone begins, or has ended; on the context.</summary>
    internal void TellTone(char tone, long? micros)
    {
        if (micros is { } sounded)
            _tones.Tell(new(tone, TimeSpan.FromMicroseconds(sounded)));
        else
            _toneStarts.Tell(tone);
    }

    internal void Complete()
    {
        _toneStarts.Complete();
        _tones.Complete();
        foreach (var track in _tracks)
            track.Complete();
    }
}
