namespace Hybrid.WebRtc;

/// <summary>What <c>AddTransceiver</c> takes, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtptransceiverinit">RTCRtpTransceiverInit</see>.</summary>
public sealed record RTCRtpTransceiverInit
{
    /// <summary>Default: both ways.</summary>
    public RTCRtpTransceiverDirection Direction { get; init; } = RTCRtpTransceiverDirection.SendRecv;

    /// <summary>The streams that the peer shall find the sender's track in. Default: none.</summary>
    public IReadOnlyList<MediaStream> Streams { get; init; } = [];

    /// <summary>How to encode: one, or several (simulcast), each with a <see cref="RTCRtpEncodingParameters.Rid"/>. Default: one.</summary>
    public IReadOnlyList<RTCRtpEncodingParameters> SendEncodings { get; init; } = [];
}

/// <summary>
/// One encoding of a sender, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpencodingparameters">RTCRtpEncodingParameters</see>. What is
/// for an encoder, which here is the application's, is kept and told, and nothing else.
/// </summary>
public sealed record RTCRtpEncodingParameters
{
    /// <summary>Names the encoding among several, RFC 8852: letters and digits, 16 at most. Cannot be changed. Null where there is one only.</summary>
    public string? Rid { get; init; }

    /// <summary>Whether it is sent. Default true.</summary>
    public bool Active { get; init; } = true;

    /// <summary>The codec to send with; null: the first that was negotiated.</summary>
    public RTCRtpCodec? Codec { get; init; }

    /// <summary>Bits a second at most; null: no limit.</summary>
    public long? MaxBitrate { get; init; }

    /// <summary>Frames a second at most, for the encoder; video only.</summary>
    public double? MaxFramerate { get; init; }

    /// <summary>What the encoder divides width and height by, 1 at least; video only. W3C's defaults: 1, and by powers of two for several.</summary>
    public double? ScaleResolutionDownBy { get; init; }

    /// <summary>How it ranks against others. Default low, which is normal.</summary>
    public RTCPriorityType Priority { get; init; } = RTCPriorityType.Low;

    /// <summary>The layers within the encoding, for the encoder, such as <c>L1T3</c>, <see href="https://www.w3.org/TR/webrtc-svc/">webrtc-svc</see>.</summary>
    public string? ScalabilityMode { get; init; }
}

/// <summary>A codec, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpcodec">RTCRtpCodec</see>.</summary>
public record RTCRtpCodec
{
    /// <summary>Such as <c>video/VP8</c>; also <c>video/rtx</c>, <c>audio/red</c>, <c>video/flexfec-03</c>, <c>audio/telephone-event</c>.</summary>
    public required string MimeType { get; init; }

    /// <summary>Hz.</summary>
    public required int ClockRate { get; init; }

    /// <summary>Of audio: 1 is mono, 2 stereo; null of video.</summary>
    public int? Channels { get; init; }

    /// <summary>What follows the payload type in <c>a=fmtp</c>; null: nothing.</summary>
    public string? SdpFmtpLine { get; init; }
}

/// <summary>A codec as it was negotiated, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpcodecparameters">RTCRtpCodecParameters</see>.</summary>
public sealed record RTCRtpCodecParameters : RTCRtpCodec
{
    /// <summary>From 0 to 127: what its packets carry.</summary>
    public required int PayloadType { get; init; }

    /// <summary>Of <c>a=rtcp-fb</c>, such as <c>nack pli</c>. Beyond W3C.</summary>
    public IReadOnlyList<string> RtcpFeedback { get; init; } = [];
}

/// <summary>A header extension as it was negotiated, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpheaderextensionparameters">RTCRtpHeaderExtensionParameters</see>.</summary>
public sealed record RTCRtpHeaderExtensionParameters
{
    /// <summary>What it means.</summary>
    public required string Uri { get; init; }

    /// <summary>What it is called in packets, RFC 8285.</summary>
    public required int Id { get; init; }

    /// <summary>Whether it is encrypted by RFC 6904.</summary>
    public bool Encrypted { get; init; }
}

/// <summary>RTCP's, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtcpparameters">RTCRtcpParameters</see>.</summary>
public sealed record RTCRtcpParameters
{
    /// <summary>The canonical name that all our sources carry, RFC 3550 §6.5.1.</summary>
    public string? Cname { get; init; }

    /// <summary>Whether RTCP need not be compound, RFC 5506.</summary>
    public bool ReducedSize { get; init; }
}

/// <summary>What senders and receivers have in common, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpparameters">RTCRtpParameters</see>.</summary>
public abstract record RTCRtpParameters
{
    private protected RTCRtpParameters() { }

    /// <summary>As negotiated; none before.</summary>
    public IReadOnlyList<RTCRtpHeaderExtensionParameters> HeaderExtensions { get; init; } = [];

    /// <summary>RTCP's.</summary>
    public RTCRtcpParameters Rtcp { get; init; } = new();

    /// <summary>As negotiated, the preferred one first; none before.</summary>
    public IReadOnlyList<RTCRtpCodecParameters> Codecs { get; init; } = [];
}

/// <summary>
/// A sender's, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsendparameters">RTCRtpSendParameters</see>: change
/// <see cref="Encodings"/> and hand it back, <c>await sender.SetParametersAsync(p with { Encodings = […] })</c>.
/// </summary>
public sealed record RTCRtpSendParameters : RTCRtpParameters
{
    /// <summary>Ties it to the sender's state at the time. Cannot be changed.</summary>
    public required string TransactionId { get; init; }

    /// <summary>One, or several of simulcast; their number, order and rids cannot be changed.</summary>
    public required IReadOnlyList<RTCRtpEncodingParameters> Encodings { get; init; }
}

/// <summary>A receiver's, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiveparameters">RTCRtpReceiveParameters</see>.</summary>
public sealed record RTCRtpReceiveParameters : RTCRtpParameters;

/// <summary>What <c>SetParametersAsync</c> takes beside the parameters, <see href="https://w3c.github.io/webrtc-extensions/#dom-rtcsetparameteroptions">RTCSetParameterOptions</see>.</summary>
public sealed record RTCSetParameterOptions
{
    /// <summary>By encoding, in order; fewer, or none, may be given.</summary>
    public IReadOnlyList<RTCEncodingOptions> EncodingOptions { get; init; } = [];
}

/// <summary>What to do with one encoding, <see href="https://w3c.github.io/webrtc-extensions/#dom-rtcencodingoptions">RTCEncodingOptions</see>.</summary>
public sealed record RTCEncodingOptions
{
    /// <summary>Whether the encoder shall make a key frame: <see cref="RTCRtpSender.OnKeyFrameRequest"/> tells it so.</summary>
    public bool KeyFrame { get; init; }
}

/// <summary>What can be negotiated, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpcapabilities">RTCRtpCapabilities</see>.</summary>
public sealed record RTCRtpCapabilities
{
    /// <summary>In order of preference.</summary>
    public required IReadOnlyList<RTCRtpCodec> Codecs { get; init; }

    /// <summary>Header extensions.</summary>
    public required IReadOnlyList<RTCRtpHeaderExtensionCapability> HeaderExtensions { get; init; }
}

/// <summary>A header extension that can be negotiated, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpheaderextensioncapability">RTCRtpHeaderExtensionCapability</see>.</summary>
public sealed record RTCRtpHeaderExtensionCapability
{
    /// <summary>What it means.</summary>
    public required string Uri { get; init; }

    /// <summary>Which way, <see href="https://w3c.github.io/webrtc-extensions/#rtp-header-extension-control">webrtc-extensions</see>; <see cref="RTCRtpTransceiverDirection.Stopped"/>: not unless asked for.</summary>
    public RTCRtpTransceiverDirection Direction { get; init; } = RTCRtpTransceiverDirection.SendRecv;
}

/// <summary>The peer sends a track, <see href="https://www.w3.org/TR/webrtc/#rtctrackevent">RTCTrackEvent</see>.</summary>
/// <param name="Receiver">Who receives it.</param>
/// <param name="Track">The receiver's track; subscribe to its packets or frames here, and none is missed.</param>
/// <param name="Streams">The streams that it is in.</param>
/// <param name="Transceiver">Whose receiver it is.</param>
public sealed record RTCTrackEvent(
    RTCRtpReceiver Receiver,
    RemoteTrack Track,
    IReadOnlyList<MediaStream> Streams,
    RTCRtpTransceiver Transceiver
);

/// <summary>A source that contributed to a mix, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpcontributingsource">RTCRtpContributingSource</see>.</summary>
public record RTCRtpContributingSource
{
    /// <summary>When its last packet came.</summary>
    public required DateTimeOffset Timestamp { get; init; }

    /// <summary>Its CSRC, or SSRC.</summary>
    public required uint Source { get; init; }

    /// <summary>From 0 (silence) to 1 (0 dBov), linear, of RFC 6464's or RFC 6465's header extension; null where packets had none.</summary>
    public double? AudioLevel { get; init; }

    /// <summary>Of its last packet.</summary>
    public required uint RtpTimestamp { get; init; }

    /// <summary>When that was captured, by the clock of the one who captured it (abs-capture-time); null where packets had none. Beyond REC: webrtc-extensions.</summary>
    public DateTimeOffset? CaptureTimestamp { get; init; }

    /// <summary>How far the capturer's clock is ahead of the sender's; null where packets did not say. Beyond REC: webrtc-extensions.</summary>
    public TimeSpan? SenderCaptureTimeOffset { get; init; }
}

/// <summary>A source, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtpsynchronizationsource">RTCRtpSynchronizationSource</see>.</summary>
public sealed record RTCRtpSynchronizationSource : RTCRtpContributingSource;

/// <summary>A tone has begun to play, <see href="https://www.w3.org/TR/webrtc/#rtcdtmftonechangeevent">RTCDTMFToneChangeEvent</see>.</summary>
/// <param name="Tone">The tone; empty: all have been played.</param>
public sealed record RTCDTMFToneChangeEvent(string Tone);

/// <summary>The peer asks for a key frame of what is sent to it; beyond W3C, where the encoder hears of it in secret.</summary>
/// <param name="Rid">Of which encoding; empty where there is one only.</param>
public sealed record KeyFrameRequest(string Rid);
