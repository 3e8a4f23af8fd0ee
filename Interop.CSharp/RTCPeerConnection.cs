using System.Reactive;
using Hybrid.WebRtc.Stack;

namespace Hybrid.WebRtc;

/// <summary>
/// One end of a connection between two peers,
/// <see href="https://www.w3.org/TR/webrtc/#rtcpeerconnection-interface">RTCPeerConnection</see>. Names and rules are W3C's: a
/// promise is a task and ends in <c>Async</c>, an event <c>onfoo</c> is the observable <c>OnFoo</c>.
/// </summary>
/// <remarks>
/// <para>Every member may be used from any thread, and from inside any notification.</para>
/// <para>
/// Notifications are told one at a time and in order, on the connection's context: one of its own on the thread pool, or that of
/// <see cref="WebRtcOptions"/>. What properties show changes there, just before the notification of the change; tasks end
/// there, in order with the notifications. What an <c>async</c> subscriber does after an <c>await</c> runs there, too. As in any such
/// context, await a task, do not block on it: only <see cref="CloseAsync"/> may be waited for from inside a notification.
/// </para>
/// <para>
/// Events that are told before anyone has subscribed are held for the first subscriber. A state is told to every new subscriber.
/// A connection lives until it is closed, even where nobody refers to it.
/// </para>
/// </remarks>
public sealed partial class RTCPeerConnection : IAsyncDisposable
{
    /// <summary>A connection, not yet connected to anything.</summary>
    /// <param name="configuration">W3C's configuration; null: the defaults.</param>
    /// <param name="options">What W3C leaves open; null: the defaults.</param>
    /// <exception cref="RTCException">
    /// <c>SyntaxError</c>: a server's URL does not parse. <c>InvalidAccessError</c>: a TURN server without credentials, or an
    /// expired certificate. <c>RangeError</c>: <see cref="WebRtcOptions.MinDtlsVersion"/> is above <see cref="WebRtcOptions.MaxDtlsVersion"/>. <c>TypeError</c>:
    /// a cipher suite or group is given twice. <c>NotSupportedError</c>: one is not known, or a version of DTLS is left without any.
    /// </exception>
    /// <exception cref="ArgumentException">An option is out of its range.</exception>
    /// <exception cref="PlatformNotSupportedException">The processor has not what <see cref="WebRtcOptions.Ciphers"/> asks for.</exception>
    public RTCPeerConnection(RTCConfiguration? configuration = null, WebRtcOptions? options = null)
        : this(configuration, options, Connect) { }

    /// <summary>Where the offer and its answer stand.</summary>
    public RTCSignalingState SignalingState => _signalingState;

    /// <summary>How far the gathering of local candidates is.</summary>
    public RTCIceGatheringState IceGatheringState => _iceGatheringState;

    /// <summary>The ICE transports taken together.</summary>
    public RTCIceConnectionState IceConnectionState => _iceConnectionState;

    /// <summary>The connection as a whole.</summary>
    public RTCPeerConnectionState ConnectionState => _connectionState;

    /// <summary>Whether the peer takes candidates one by one; null before its description.</summary>
    public bool? CanTrickleIceCandidates => _descriptions.CanTrickle;

    /// <summary>Our pending description, else our current one; with the candidates gathered so far.</summary>
    public RTCSessionDescription? LocalDescription => _descriptions is var d ? d.PendingLocal ?? d.CurrentLocal : null;

    /// <summary>Ours, as of the last negotiation that was completed; with the candidates gathered so far.</summary>
    public RTCSessionDescription? CurrentLocalDescription => _descriptions.CurrentLocal;

    /// <summary>Ours, in the negotiation that is under way; with the candidates gathered so far.</summary>
    public RTCSessionDescription? PendingLocalDescription => _descriptions.PendingLocal;

    /// <summary>The peer's pending description, else its current one; with the candidates that came so far.</summary>
    public RTCSessionDescription? RemoteDescription =>
        _descriptions is var d ? d.PendingRemote ?? d.CurrentRemote : null;

    /// <summary>The peer's, as of the last negotiation that was completed; with the candidates that came so far.</summary>
    public RTCSessionDescription? CurrentRemoteDescription => _descriptions.CurrentRemote;

    /// <summary>The peer's, in the negotiation that is under way; with the candidates that came so far.</summary>
    public RTCSessionDescription? PendingRemoteDescription => _descriptions.PendingRemote;

    /// <summary>What data channels run over; null until descriptions have brought it into being.</summary>
    public RTCSctpTransport? Sctp => _sctp.Exists ? _sctp : null;

    /// <summary>An offer has to be made, see <see href="https://www.w3.org/TR/webrtc/#event-negotiation">WebRTC §4.7.3</see>.</summary>
    public IObservable<Unit> OnNegotiationNeeded => _negotiationNeeded;

    /// <summary>A candidate was gathered, to be sent to the peer.</summary>
    public IObservable<RTCPeerConnectionIceEvent> OnIceCandidate => _iceCandidates;

    /// <summary>A STUN or TURN server could not help.</summary>
    public IObservable<RTCPeerConnectionIceErrorEvent> OnIceCandidateError => _iceCandidateErrors;

    /// <summary>Signalling states as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCSignalingState> OnSignalingStateChange => _signalingStates;

    /// <summary>ICE connection states as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCIceConnectionState> OnIceConnectionStateChange => _iceConnectionStates;

    /// <summary>Gathering states as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCIceGatheringState> OnIceGatheringStateChange => _iceGatheringStates;

    /// <summary>Connection states as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCPeerConnectionState> OnConnectionStateChange => _connectionStates;

    /// <summary>The peer opened a data channel. Its messages wait until this notification is over.</summary>
    public IObservable<RTCDataChannelEvent> OnDataChannel => _dataChannels;

    /// <summary>
    /// Makes a certificate, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-generatecertificate">WebRTC §4.9</see>.
    /// </summary>
    /// <param name="algorithm">Its key.</param>
    /// <param name="expires">How long from now it is valid, at most 365 days; null: 30 days.</param>
    /// <exception cref="RTCException"><c>TypeError</c>: <paramref name="expires"/> is not positive. <c>NotSupportedError</c>: the algorithm is unknown.</exception>
    public static Task<RTCCertificate> GenerateCertificateAsync(
        RTCCertificateAlgorithm algorithm = RTCCertificateAlgorithm.EcdsaP256,
        TimeSpan? expires = null
    )
    {
        if (expires <= TimeSpan.Zero)
            return Task.FromException<RTCCertificate>(Mistakes.Type("A certificate expires some time after now."));

        CertificateKind? kind = algorithm switch
        {
            RTCCertificateAlgorithm.EcdsaP256 => CertificateKind.EcdsaP256,
            RTCCertificateAlgorithm.Rsa2048 => CertificateKind.Rsa2048,
            _ => null,
        };
        if (kind is not { } known)
            return Task.FromException<RTCCertificate>(
                new RTCException("NotSupportedError", "A certificate's key is EcdsaP256 or Rsa2048.")
            );

        // W3C lets an implementation bound the lifetime; a year is its own bound for what is not given.
        var lifetime = expires > LongestLifetime ? LongestLifetime : expires;
        return Task.Run(() => new RTCCertificate(Certificate.Create(known, lifetime)));
    }

    /// <summary>Makes an offer, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-createoffer">WebRTC §4.4.2</see>.</summary>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection is closed.</exception>
    public Task<RTCSessionDescription> CreateOfferAsync(RTCOfferOptions? options = null) =>
        Ask(id => Core.Input.NewCreateOffer(id, options?.IceRestart ?? false), Description);

    /// <summary>Makes an answer to the peer's offer, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-createanswer">WebRTC §4.4.2</see>.</summary>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: there is no offer to answer, or the connection is closed.</exception>
    public Task<RTCSessionDescription> CreateAnswerAsync(RTCAnswerOptions? options = null)
    {
        _ = options;
        return Ask(Core.Input.NewCreateAnswer, Description);
    }

    /// <summary>
    /// Sets our description, <see href="https://www.w3.org/TR/webrtc/#dom-peerconnection-setlocaldescription">WebRTC §4.4.2</see>;
    /// candidates are gathered from then on.
    /// </summary>
    /// <param name="description">Null: what the state calls for, an offer or an answer, is made and set.</param>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: the state does not allow it, or the connection is closed. <c>InvalidModificationError</c>: it is
    /// not what was created last. <c>OperationError</c>: the SDP does not parse (with an <see cref="RTCError"/>).
    /// </exception>
    public Task SetLocalDescriptionAsync(RTCSessionDescription? description = null) =>
        Ask(
            id =>
                Core.Input.NewSetLocalDescription(
                    id,
                    description is null
                        ? Microsoft.FSharp.Core.FSharpValueOption<Core.Description>.None
                        : Microsoft.FSharp.Core.FSharpValueOption<Core.Description>.NewValueSome(description.ToCore())
                ),
            Nothing
        );

    /// <summary>
    /// Sets the peer's description, <see href="https://www.w3.org/TR/webrtc/#dom-peerconnection-setremotedescription">WebRTC §4.4.2</see>.
    /// An offer that collides with ours rolls ours back.
    /// </summary>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: the state does not allow it, or the connection is closed. <c>InvalidAccessError</c>: it lacks
    /// what a description must have. <c>OperationError</c>: the SDP does not parse (with an <see cref="RTCError"/>).
    /// </exception>
    public Task SetRemoteDescriptionAsync(RTCSessionDescription description)
    {
        ArgumentNullException.ThrowIfNull(description);
        return Ask(id => Core.Input.NewSetRemoteDescription(id, description.ToCore()), Nothing);
    }

    /// <summary>
    /// Adds a candidate of the peer's, <see href="https://www.w3.org/TR/webrtc/#dom-peerconnection-addicecandidate">WebRTC §4.4.2</see>.
    /// </summary>
    /// <param name="candidate">Null, or an empty line: there are no more.</param>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: there is no remote description, or the connection is closed. <c>TypeError</c>: it names no media
    /// section. <c>OperationError</c>: it does not parse, or its media section or generation does not exist.
    /// </exception>
    public Task AddIceCandidateAsync(RTCIceCandidateInit? candidate = null)
    {
        if (candidate is { Candidate.Length: > 0, SdpMid: null, SdpMLineIndex: null })
            return Task.FromException(
                Mistakes.Type("A candidate belongs to a media section: give SdpMid, SdpMLineIndex or both.")
            );
        return Ask(id => Core.Input.NewAddIceCandidate(id, (candidate ?? new()).ToCore()), Nothing);
    }

    /// <summary>
    /// Has the next offer restart ICE, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-restartice">WebRTC §4.4.2</see>;
    /// <see cref="OnNegotiationNeeded"/> follows. Does nothing on a closed connection.
    /// </summary>
    public void RestartIce()
    {
        if (!_isClosed)
            AskNow(Core.Input.NewRestartIce);
    }

    /// <summary>What was given last, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-getconfiguration">WebRTC §4.4.2</see>.</summary>
    public RTCConfiguration GetConfiguration() => _configuration;

    /// <summary>Changes servers or the transport policy, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-setconfiguration">WebRTC §4.4.2</see>; applies from the next gathering on.</summary>
    /// <exception cref="RTCException">
    /// <c>InvalidModificationError</c>: it would change what cannot be changed. <c>InvalidStateError</c>: the connection is closed.
    /// <c>SyntaxError</c>, <c>InvalidAccessError</c>: as the constructor.
    /// </exception>
    public void SetConfiguration(RTCConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        AskNow(id => Core.Input.NewSetConfiguration(id, configuration.ToCore(_certificate)));
        _configuration =
            configuration.Certificates.Count > 0
                ? configuration
                : configuration with
                {
                    Certificates = _configuration.Certificates,
                };
    }

    /// <summary>Makes a data channel, <see href="https://www.w3.org/TR/webrtc/#dom-peerconnection-createdatachannel">WebRTC §6.1</see>.</summary>
    /// <param name="label">What tells it from others, at most 65,535 octets of UTF-8; need not be unique.</param>
    /// <param name="init">How it behaves; null: reliable and ordered.</param>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: the connection is closed. <c>TypeError</c>: <paramref name="init"/> contradicts itself or is too
    /// long. <c>OperationError</c>: the id is taken, or there is no free one.
    /// </exception>
    public RTCDataChannel CreateDataChannel(string label, RTCDataChannelInit? init = null)
    {
        ArgumentNullException.ThrowIfNull(label);
        if (_isClosed)
            throw Mistakes.Closed();
        var core = (init ?? new()).ToCore(label);
        RTCDataChannel? channel = null;
        AskNow(
            id => Core.Input.NewCreateDataChannel(id, core),
            answer => channel = Adopt(((Core.Answer.Channel)answer).Item)
        );
        return channel!;
    }

    /// <summary>
    /// Statistics, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-getstats">WebRTC §8.2</see>. Of a closed connection,
    /// those of the moment it was closed.
    /// </summary>
    /// <param name="selector">A track: only what is about its sending or receiving, and what that refers to. Null: all.</param>
    /// <exception cref="RTCException"><c>InvalidAccessError</c>: the track is sent or received by nobody, or more than once.</exception>
    public Task<RTCStatsReport> GetStatsAsync(MediaStreamTrack? selector = null)
    {
        if (selector is null)
            return _finalStats?.Value ?? Ask(Core.Input.NewGetStats, Report);

        // W3C §8.2: exactly one sender or receiver.
        var senders = Array.FindAll(_transceivers, each => each.Sender.Track == selector);
        var receivers = Array.FindAll(_transceivers, each => each.Receiver.Track == selector);
        return (senders, receivers) switch
        {
            ([var one], []) => one.Sender.GetStatsAsync(),
            ([], [var one]) => one.Receiver.GetStatsAsync(),
            _ => Task.FromException<RTCStatsReport>(
                Mistakes.InvalidAccess(
                    "The selector is a track that exactly one sender or receiver of the connection has."
                )
            ),
        };
    }

    /// <summary>A part of a report.</summary>
    internal Task<RTCStatsReport> GetStatsAsync(Func<RTCStatsReport, RTCStatsReport> select)
    {
        if (_finalStats?.Value is not { } final)
            return Ask(Core.Input.NewGetStats, answer => select(Report(answer)));
        return final.ContinueWith(
            report => select(report.GetAwaiter().GetResult()),
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
    }

    /// <summary>Waits until the gathering of local candidates is complete: for signalling that sends descriptions only.</summary>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection was closed before.</exception>
    public Task GatheringCompleteAsync(CancellationToken cancellationToken = default) =>
        StateWait<RTCIceGatheringState>.For(
            OnIceGatheringStateChange,
            state => state == RTCIceGatheringState.Complete,
            cancellationToken
        );

    /// <summary>
    /// Closes the connection at once, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-close">WebRTC §4.4.2</see>:
    /// states are <c>closed</c> when it returns, no notification follows, and all observables end. Tasks that W3C would leave
    /// pending for ever fail with <c>InvalidStateError</c>. Closing twice does nothing.
    /// </summary>
    public void Close() => CloseOnce();

    /// <summary>Closes the connection as <see cref="Close"/> does, and waits until its sockets are released: at once, or where TURN servers are
    /// told, once they have answered, 1.75 s at most. May be waited for anywhere.</summary>
    public Task CloseAsync()
    {
        CloseOnce();
        return _ended.Task;
    }

    /// <summary>As <see cref="CloseAsync"/>.</summary>
    public ValueTask DisposeAsync() => new(CloseAsync());
}
