using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>Sends a track, <see href="https://www.w3.org/TR/webrtc/#rtcrtpsender-interface">RTCRtpSender</see>.</summary>
public sealed class RTCRtpSender
{
    private readonly RTCPeerConnection _connection;
    private readonly RTCRtpTransceiver _transceiver;
    private readonly Notifier<Rtcp> _rtcp;
    private readonly Notifier<KeyFrameRequest> _keyFrameRequests;

    // Two: a track's lock is taken within the first, and what a track calls may ask for parameters.
    private readonly Lock _binding = new();
    private readonly Lock _gate = new();
    private volatile MediaStreamTrack? _track;
    private RTCRtpSendParameters? _lastParameters;
    private volatile RTCRtpTransform? _transform;

    internal RTCRtpSender(RTCPeerConnection connection, RTCRtpTransceiver transceiver)
    {
        _connection = connection;
        _transceiver = transceiver;
        Feed = new SenderFeed(connection, this, transceiver.Id);
        _rtcp = connection.Notify.Event<Rtcp>();
        _keyFrameRequests = connection.Notify.Event<KeyFrameRequest>(held: 4);
        Dtmf = transceiver.Kind == MediaKind.Audio ? new RTCDTMFSender(connection, transceiver) : null;
    }

    /// <summary>What is sent; null: nothing.</summary>
    public MediaStreamTrack? Track => _track;

    /// <summary>What it is sent over; null until descriptions have brought it into being.</summary>
    public RTCDtlsTransport? Transport => _connection.TransportOf(_transceiver);

    /// <summary>Telephone tones, of sound; null of video.</summary>
    public RTCDTMFSender? Dtmf { get; }

    /// <summary>
    /// What each frame goes through before it is packetized, for this sender only,
    /// <see href="https://www.w3.org/TR/webrtc-encoded-transform/">webrtc-encoded-transform</see>. Of a <see cref="SampleTrack"/>; the packets of
    /// other tracks are sent as they are. Default: none.
    /// </summary>
    public RTCRtpTransform? Transform
    {
        get => _transform;
        set => _transform = value;
    }

    /// <summary>What the peer says in RTCP about what this sends: reports, feedback. Beyond W3C.</summary>
    public IObservable<Rtcp> OnRtcp => _rtcp;

    /// <summary>The peer asks for a key frame: tell the encoder. Beyond W3C.</summary>
    public IObservable<KeyFrameRequest> OnKeyFrameRequest => _keyFrameRequests;

    internal SenderFeed Feed { get; }

    internal RTCRtpTransceiver Transceiver => _transceiver;

    internal RTCPeerConnection Connection => _connection;

    /// <summary>What can be sent unless options say otherwise, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-getcapabilities">WebRTC §5.2</see>.</summary>
    public static RTCRtpCapabilities GetCapabilities(MediaKind kind) => RTCMediaCapabilities.Default.Of(kind);

    /// <summary>
    /// How it sends, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-getparameters">WebRTC §5.2</see>.
    /// </summary>
    /// <remarks>
    /// What is answered may be handed back to <see cref="SetParametersAsync"/> until another one was, or a negotiation has changed it.
    /// A browser forgets it as soon as the script pauses; here threads do not, so only what would be lost counts.
    /// </remarks>
    public RTCRtpSendParameters GetParameters()
    {
        lock (_gate)
            return _lastParameters ??= MakeParameters(_transceiver.Info);
    }

    /// <summary>
    /// Changes how it sends, without negotiation, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-setparameters">WebRTC §5.2</see>.
    /// </summary>
    /// <param name="parameters">What <see cref="GetParameters"/> answered last, with changed <see cref="RTCRtpSendParameters.Encodings"/>.</param>
    /// <param name="options">What the encoder shall do.</param>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: the transceiver is stopped, or <see cref="GetParameters"/> was not called since what is handed back was
    /// superseded. <c>InvalidModificationError</c>: what cannot be changed was: the transaction id, number, order or rids of the
    /// encodings, header extensions, codecs; or a codec was chosen that was not negotiated. <c>RangeError</c>: a scale below 1, or a
    /// negative frame rate.
    /// </exception>
    public Task SetParametersAsync(RTCRtpSendParameters parameters, RTCSetParameterOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        if (_connection.IsClosed)
            return Task.FromException(Mistakes.Closed());
        if (_transceiver.IsStopped)
            return Task.FromException(RTCRtpTransceiver.Stopped());

        Core.EncodingParameters[] encodings;
        lock (_gate)
        {
            if (_lastParameters is not { } last)
                return Task.FromException(
                    Mistakes.InvalidState(
                        "Call GetParameters(), change what it answers, and hand that to SetParametersAsync()."
                    )
                );
            if (Validate(last, parameters) is { } mistake)
                return Task.FromException(mistake);
            if (options is { EncodingOptions.Count: var count } && count > 0 && count != parameters.Encodings.Count)
                return Task.FromException(
                    Mistakes.InvalidModification("EncodingOptions are none, or one for each encoding.")
                );
            try
            {
                encodings = Encodings.ToCore(parameters.Encodings, _transceiver.Kind);
            }
            catch (RTCException e)
            {
                return Task.FromException(e);
            }
            _lastParameters = null;
        }

        return _connection.AskMedia(
            id => Core.Input.NewSetParameters(id, _transceiver.Id, encodings),
            () =>
            {
                for (var i = 0; i < (options?.EncodingOptions.Count ?? 0); i++)
                {
                    if (options!.EncodingOptions[i].KeyFrame)
                        TellKeyFrameRequest(encodings[i].Rid);
                }
            }
        );
    }

    /// <summary>
    /// Sends another track, without negotiation, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-replacetrack">WebRTC §5.2</see>. The
    /// peer sees the stream go on.
    /// </summary>
    /// <param name="track">Null: nothing is sent.</param>
    /// <exception cref="RTCException"><c>TypeError</c>: it is of another kind. <c>InvalidStateError</c>: the transceiver is stopped, or the connection closed.</exception>
    public Task ReplaceTrackAsync(MediaStreamTrack? track)
    {
        if (track is not null && track.Kind != _transceiver.Kind)
            return Task.FromException(
                Mistakes.Type($"The sender's kind is {_transceiver.Kind}, the track's {track.Kind}.")
            );
        if (_connection.IsClosed)
            return Task.FromException(Mistakes.Closed());
        if (_transceiver.IsStopped)
            return Task.FromException(RTCRtpTransceiver.Stopped());
        return _connection.AskMedia(
            id => Core.Input.NewReplaceTrack(id, _transceiver.Id, track?.Id.ToCore() ?? default),
            () => SetTrack(track)
        );
    }

    /// <summary>The streams that the peer shall find the track in, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-setstreams">WebRTC §5.2</see>; the next negotiation tells it.</summary>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection is closed.</exception>
    public void SetStreams(params MediaStream[] streams)
    {
        ArgumentNullException.ThrowIfNull(streams);
        if (_connection.IsClosed)
            throw Mistakes.Closed();
        _connection.ChangeMedia(id => Core.Input.NewSetStreams(id, _transceiver.Id, streams.Ids()));
    }

    /// <summary>Statistics of what it sends and what they refer to, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-getstats">WebRTC §5.2</see>.</summary>
    public Task<RTCStatsReport> GetStatsAsync() =>
        _connection.GetStatsAsync(report => report.Of(RTCStatsReport.OutboundOf(_transceiver.Id)));

    /// <summary>Sends RTCP, such as an application's own (APP); what it is about is in the packets. Beyond W3C.</summary>
    public void SendRtcp(params Rtcp[] packets) => _connection.SendRtcp(packets);

    internal bool Concerns(Rtcp packet) => RtcpTargets.AreSent(packet, _transceiver.Info.Ssrcs);

    /// <summary>On the context.</summary>
    internal void TellRtcp(Rtcp packet) => _rtcp.Tell(packet);

    /// <summary>To where what is sent comes from, at once; on the loop's thread.</summary>
    internal void RelayKeyFrameRequest(int encoding) => Track?.AskForKeyFrame(Feed.RidOf(encoding));

    /// <summary>On the context.</summary>
    internal void TellKeyFrameRequest(string rid)
    {
        var request = new KeyFrameRequest(rid);
        _keyFrameRequests.Tell(request);
        Track?.TellKeyFrameRequest(request);
    }

    /// <summary>Sends it from now on.</summary>
    internal void SetTrack(MediaStreamTrack? track)
    {
        lock (_binding)
        {
            if (ReferenceEquals(_track, track))
                return;
            _track?.Unbind(Feed);
            _track = track;
            if (!_connection.IsClosed)
                track?.Bind(Feed);
        }
    }

    /// <summary>A negotiation has changed what was answered last, or not.</summary>
    internal void ForgetParameters(Core.TransceiverInfo before, Core.TransceiverInfo after)
    {
        var (old, now) = (MakeParameters(before, ""), MakeParameters(after, ""));
        if (Encodings.AreSame(old, now) && old.Encodings.SequenceEqual(now.Encodings))
            return;
        lock (_gate)
            _lastParameters = null;
    }

    /// <summary>Nothing follows; on the context.</summary>
    internal void Complete()
    {
        lock (_binding)
            _track?.Unbind(Feed);
        _rtcp.Complete();
        _keyFrameRequests.Complete();
        Dtmf?.Complete();
    }

    private static RTCRtpSendParameters MakeParameters(Core.TransceiverInfo info) =>
        MakeParameters(info, Guid.NewGuid().ToString());

    private static RTCRtpSendParameters MakeParameters(Core.TransceiverInfo info, string transactionId) =>
        new()
        {
            TransactionId = transactionId,
            Encodings = [.. info.Encodings.Select(each => each.ToW3C())],
            HeaderExtensions = [.. info.Extensions.Select(each => each.ToW3C())],
            Codecs = [.. info.SendCodecs.Select(each => each.ToW3C())],
            Rtcp = new() { Cname = info.Cname.Length > 0 ? info.Cname : null, ReducedSize = info.ReducedSize },
        };

    /// <summary>W3C §5.2 "setParameters validation steps".</summary>
    private RTCException? Validate(RTCRtpSendParameters last, RTCRtpSendParameters parameters)
    {
        if (parameters.TransactionId != last.TransactionId)
            return Mistakes.InvalidModification("TransactionId is not that of the last GetParameters().");
        if (!parameters.Encodings.Select(each => each.Rid).SequenceEqual(last.Encodings.Select(each => each.Rid)))
            return Mistakes.InvalidModification("Number, order and rids of the encodings cannot be changed.");
        if (!Encodings.AreSame(parameters, last))
            return Mistakes.InvalidModification("HeaderExtensions, Rtcp and Codecs cannot be changed here.");

        foreach (var encoding in parameters.Encodings)
        {
            if (encoding.Codec is not { } codec)
                continue;
            var core = codec.ToCore();
            var isNegotiated = _transceiver.Info.SendCodecs is { Length: > 0 } negotiated
                ? Array.Exists(negotiated, each => Core.RtpCodecs.AreSame(each.Codec, core))
                : _connection.Capabilities.Has(_transceiver.Kind, codec);
            if (!isNegotiated)
                return Mistakes.InvalidModification(
                    $"{codec.MimeType} with \"{codec.SdpFmtpLine}\" is not among the codecs that were negotiated."
                );
        }
        return null;
    }
}
