namespace Hybrid.WebRtc;

/// <summary>
/// A sender and a receiver that share a media section, <see href="https://www.w3.org/TR/webrtc/#rtcrtptransceiver-interface">RTCRtpTransceiver</see>.
/// </summary>
public sealed class RTCRtpTransceiver
{
    private readonly RTCPeerConnection _connection;
    private volatile Core.TransceiverInfo _info;
    private volatile bool _isClosed;

    internal RTCRtpTransceiver(RTCPeerConnection connection, Core.TransceiverInfo info)
    {
        _connection = connection;
        _info = info;
        Id = info.Id;
        Sender = new RTCRtpSender(connection, this);
        Receiver = new RTCRtpReceiver(connection, this, info.ReceiverTrack);
    }

    /// <summary>The name of its media section; null until a description has given it one.</summary>
    public string? Mid => _info.Mid.OrNull();

    /// <summary>What sends.</summary>
    public RTCRtpSender Sender { get; }

    /// <summary>What receives.</summary>
    public RTCRtpReceiver Receiver { get; }

    /// <summary>
    /// Which ways media shall go: what the next offer or answer says. <see cref="RTCPeerConnection.OnNegotiationNeeded"/> follows a
    /// change.
    /// </summary>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: the transceiver is stopped, or the connection closed. <c>TypeError</c>: <c>stopped</c>; call
    /// <see cref="Stop"/>.
    /// </exception>
    public RTCRtpTransceiverDirection Direction
    {
        get =>
            _info.Stopping || _isClosed
                ? RTCRtpTransceiverDirection.Stopped
                : (RTCRtpTransceiverDirection)_info.Direction;
        set
        {
            if (IsStopped)
                throw Stopped();
            if (value == RTCRtpTransceiverDirection.Stopped || !Enum.IsDefined(value))
                throw Mistakes.Type(
                    "A direction is SendRecv, SendOnly, RecvOnly or Inactive; a transceiver is stopped by Stop()."
                );
            if (value != Direction)
                _connection.ChangeMedia(id => Core.Input.NewSetDirection(id, Id, (Core.Direction)value));
        }
    }

    /// <summary>Which ways media goes, by the last answer; null before the first.</summary>
    public RTCRtpTransceiverDirection? CurrentDirection =>
        _isClosed ? RTCRtpTransceiverDirection.Stopped
        : _info.CurrentDirection.OrNothing() is { } direction ? (RTCRtpTransceiverDirection)direction
        : null;

    /// <summary>Whether header extensions and CSRCs are encrypted by agreement, RFC 9335, <see href="https://w3c.github.io/webrtc-extensions/#rtp-header-encryption">webrtc-extensions</see>.</summary>
    public bool RtpHeaderEncryptionNegotiated => _info.HeaderEncryption;

    internal int Id { get; }

    internal MediaKind Kind => (MediaKind)_info.Kind;

    /// <summary>As users see it.</summary>
    internal Core.TransceiverInfo Info => _info;

    internal bool IsStopped => _isClosed || _info.Stopping || _info.Direction == Core.Direction.Stopped;

    /// <summary>W3C's [[Stopped]]: a description has said so.</summary>
    internal bool IsGone => _isClosed || _info.CurrentDirection is { IsSome: true, Value: Core.Direction.Stopped };

    /// <summary>
    /// Stops sending and receiving for good, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtptransceiver-stop">WebRTC §5.4</see>; the next
    /// negotiation tells the peer. Nothing where it is stopped already.
    /// </summary>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: the connection is closed.</exception>
    public void Stop()
    {
        if (_connection.IsClosed)
            throw Mistakes.Closed();
        if (IsStopped)
            return;
        _connection.ChangeMedia(id => Core.Input.NewStopTransceiver(id, Id));
        _connection.Notify.Context.Post(Receiver.FinishTracks);
    }

    /// <summary>
    /// Which codecs the next offer or answer names, and in which order,
    /// <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtptransceiver-setcodecpreferences">WebRTC §5.4</see>.
    /// </summary>
    /// <param name="codecs">Of <see cref="RTCRtpReceiver.GetCapabilities"/>; none: back to the defaults.</param>
    /// <exception cref="RTCException"><c>InvalidModificationError</c>: one is not among the capabilities, or there is but RTX, RED or FEC.</exception>
    public void SetCodecPreferences(IEnumerable<RTCRtpCodec> codecs)
    {
        ArgumentNullException.ThrowIfNull(codecs);
        Core.RtpCodec[] core = [.. codecs.Distinct().Select(codec => codec.ToCore())];
        _connection.ChangeMedia(id => Core.Input.NewSetCodecPreferences(id, Id, core));
    }

    /// <summary>Header extensions that the next description names, <see href="https://w3c.github.io/webrtc-extensions/#rtp-header-extension-control">webrtc-extensions</see>; those not to be negotiated have the direction <c>stopped</c>.</summary>
    public IReadOnlyList<RTCRtpHeaderExtensionCapability> GetHeaderExtensionsToNegotiate() =>
        _extensions ?? _connection.Capabilities.AllExtensions(Kind);

    /// <summary>Chooses them.</summary>
    /// <param name="extensions">
    /// What <see cref="GetHeaderExtensionsToNegotiate"/> answers, in its order, with other directions.
    /// </param>
    /// <exception cref="RTCException">
    /// <c>InvalidModificationError</c>: other URIs, another order, or a mandatory one (mid) is stopped. <c>InvalidStateError</c>: the
    /// transceiver is stopped.
    /// </exception>
    public void SetHeaderExtensionsToNegotiate(IEnumerable<RTCRtpHeaderExtensionCapability> extensions)
    {
        ArgumentNullException.ThrowIfNull(extensions);
        if (IsStopped)
            throw Stopped();
        RTCRtpHeaderExtensionCapability[] wanted = [.. extensions];
        if (!wanted.Select(each => each.Uri).SequenceEqual(GetHeaderExtensionsToNegotiate().Select(each => each.Uri)))
            throw Mistakes.InvalidModification(
                "Header extensions are those of GetHeaderExtensionsToNegotiate(), all of them and in its order; their directions may differ."
            );
        if (Array.Exists(wanted, each => each is { Uri: MidUri, Direction: not RTCRtpTransceiverDirection.SendRecv }))
            throw Mistakes.InvalidModification($"{MidUri} is mandatory: its direction is SendRecv.");

        _connection.ChangeMedia(id =>
            Core.Input.NewSetHeaderExtensions(id, Id, [.. wanted.Select(each => each.ToCore())])
        );
        _extensions = wanted;
    }

    /// <summary>What was negotiated, in the order of <see cref="GetHeaderExtensionsToNegotiate"/>; what was not has the direction <c>stopped</c>.</summary>
    public IReadOnlyList<RTCRtpHeaderExtensionCapability> GetNegotiatedHeaderExtensions()
    {
        var info = _info;
        return
        [
            .. GetHeaderExtensionsToNegotiate()
                .Select(each =>
                    Array.Exists(info.Extensions, negotiated => negotiated.Uri == each.Uri)
                        ? each with
                        {
                            Direction = RTCRtpTransceiverDirection.SendRecv,
                        }
                        : each with
                        {
                            Direction = RTCRtpTransceiverDirection.Stopped,
                        }
                ),
        ];
    }

    private const string MidUri = "urn:ietf:params:rtp-hdrext:sdes:mid";

    private volatile RTCRtpHeaderExtensionCapability[]? _extensions;

    internal static RTCException Stopped() => Mistakes.InvalidState("The transceiver is stopped; add another one.");

    /// <summary>What users see from now on.</summary>
    internal void Show(Core.TransceiverInfo info)
    {
        var before = _info;
        _info = info;
        if (!ReferenceEquals(before.Encodings, info.Encodings) || !ReferenceEquals(before.SendCodecs, info.SendCodecs))
            Sender.ForgetParameters(before, info);
    }

    /// <summary>What media goes by from now on; on the loop's thread.</summary>
    internal void Wire(Core.TransceiverInfo info)
    {
        Sender.Feed.Retarget(info);
        Receiver.Retarget(info);
    }

    /// <summary>The connection is closed.</summary>
    internal void Close()
    {
        _isClosed = true;
        Receiver.EndTracks();
    }

    /// <summary>Nothing follows; on the context.</summary>
    internal void Complete()
    {
        Sender.Complete();
        Receiver.Complete();
    }
}
