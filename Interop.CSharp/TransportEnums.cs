using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>Who decides which pair is used, RFC 8445 §6.1.1, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicerole">RTCIceRole</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceRole>))]
public enum RTCIceRole
{
    /// <summary><c>unknown</c>: not yet known.</summary>
    [JsonStringEnumMemberName("unknown")]
    Unknown,

    /// <summary><c>controlling</c>: we do.</summary>
    [JsonStringEnumMemberName("controlling")]
    Controlling,

    /// <summary><c>controlled</c>: the peer does.</summary>
    [JsonStringEnumMemberName("controlled")]
    Controlled,
}

/// <summary>What a transport carries; the values are those of a candidate line, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicecomponent">RTCIceComponent</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceComponent>))]
public enum RTCIceComponent
{
    /// <summary><c>rtp</c>: RTP, with RTCP where they are multiplexed, and data.</summary>
    [JsonStringEnumMemberName("rtp")]
    Rtp = 1,

    /// <summary><c>rtcp</c>: RTCP alone.</summary>
    [JsonStringEnumMemberName("rtcp")]
    Rtcp = 2,
}

/// <summary>How far the gathering of local candidates is, for one transport, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicegathererstate">RTCIceGathererState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceGathererState>))]
public enum RTCIceGathererState
{
    /// <summary><c>new</c>: it has not begun.</summary>
    [JsonStringEnumMemberName("new")]
    New,

    /// <summary><c>gathering</c>: it is under way.</summary>
    [JsonStringEnumMemberName("gathering")]
    Gathering,

    /// <summary><c>complete</c>: it is done.</summary>
    [JsonStringEnumMemberName("complete")]
    Complete,
}

/// <summary>Where an ICE transport stands, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicetransportstate">RTCIceTransportState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceTransportState>))]
public enum RTCIceTransportState
{
    /// <summary><c>new</c>: it gathers, or waits for the peer's candidates.</summary>
    [JsonStringEnumMemberName("new")]
    New,

    /// <summary><c>checking</c>: pairs are being checked.</summary>
    [JsonStringEnumMemberName("checking")]
    Checking,

    /// <summary><c>connected</c>: a usable pair was found; checks go on.</summary>
    [JsonStringEnumMemberName("connected")]
    Connected,

    /// <summary><c>completed</c>: checks are done, with a pair.</summary>
    [JsonStringEnumMemberName("completed")]
    Completed,

    /// <summary><c>disconnected</c>: the peer stopped answering; it may come back.</summary>
    [JsonStringEnumMemberName("disconnected")]
    Disconnected,

    /// <summary><c>failed</c>: no pair works; an ICE restart may help.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,

    /// <summary><c>closed</c>: it was shut down.</summary>
    [JsonStringEnumMemberName("closed")]
    Closed,
}

/// <summary>A candidate's transport protocol, <see href="https://www.w3.org/TR/webrtc/#dom-rtciceprotocol">RTCIceProtocol</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceProtocol>))]
public enum RTCIceProtocol
{
    /// <summary><c>udp</c>: UDP.</summary>
    [JsonStringEnumMemberName("udp")]
    Udp,

    /// <summary><c>tcp</c>: TCP, RFC 6544.</summary>
    [JsonStringEnumMemberName("tcp")]
    Tcp,
}

/// <summary>Who opens a TCP candidate's connection, RFC 6544 §4.5, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicetcpcandidatetype">RTCIceTcpCandidateType</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceTcpCandidateType>))]
public enum RTCIceTcpCandidateType
{
    /// <summary><c>active</c>: its owner does.</summary>
    [JsonStringEnumMemberName("active")]
    Active,

    /// <summary><c>passive</c>: its owner waits for it.</summary>
    [JsonStringEnumMemberName("passive")]
    Passive,

    /// <summary><c>so</c>: both do, at once.</summary>
    [JsonStringEnumMemberName("so")]
    So,
}

/// <summary>How a candidate came to be, RFC 8445 §5.1.1, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicecandidatetype">RTCIceCandidateType</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceCandidateType>))]
public enum RTCIceCandidateType
{
    /// <summary><c>host</c>: the address of an interface.</summary>
    [JsonStringEnumMemberName("host")]
    Host,

    /// <summary><c>srflx</c>: the address that a STUN server saw.</summary>
    [JsonStringEnumMemberName("srflx")]
    Srflx,

    /// <summary><c>prflx</c>: the address that the peer saw.</summary>
    [JsonStringEnumMemberName("prflx")]
    Prflx,

    /// <summary><c>relay</c>: an address of a TURN server.</summary>
    [JsonStringEnumMemberName("relay")]
    Relay,
}

/// <summary>How a TURN server is spoken to, <see href="https://www.w3.org/TR/webrtc/#dom-rtciceservertransportprotocol">RTCIceServerTransportProtocol</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceServerTransportProtocol>))]
public enum RTCIceServerTransportProtocol
{
    /// <summary><c>udp</c>: UDP.</summary>
    [JsonStringEnumMemberName("udp")]
    Udp,

    /// <summary><c>tcp</c>: TCP.</summary>
    [JsonStringEnumMemberName("tcp")]
    Tcp,

    /// <summary><c>tls</c>: TLS over TCP.</summary>
    [JsonStringEnumMemberName("tls")]
    Tls,
}

/// <summary>Where a DTLS transport stands, <see href="https://www.w3.org/TR/webrtc/#dom-rtcdtlstransportstate">RTCDtlsTransportState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCDtlsTransportState>))]
public enum RTCDtlsTransportState
{
    /// <summary><c>new</c>: the handshake has not begun.</summary>
    [JsonStringEnumMemberName("new")]
    New,

    /// <summary><c>connecting</c>: the handshake is under way.</summary>
    [JsonStringEnumMemberName("connecting")]
    Connecting,

    /// <summary><c>connected</c>: the handshake is done, and the peer's fingerprint was right.</summary>
    [JsonStringEnumMemberName("connected")]
    Connected,

    /// <summary><c>closed</c>: it was closed, by us or by the peer.</summary>
    [JsonStringEnumMemberName("closed")]
    Closed,

    /// <summary><c>failed</c>: the handshake failed, or an alert ended it.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,
}

/// <summary>Where the SCTP association stands, <see href="https://www.w3.org/TR/webrtc/#dom-rtcsctptransportstate">RTCSctpTransportState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCSctpTransportState>))]
public enum RTCSctpTransportState
{
    /// <summary><c>connecting</c>: it is being set up.</summary>
    [JsonStringEnumMemberName("connecting")]
    Connecting,

    /// <summary><c>connected</c>: data can flow.</summary>
    [JsonStringEnumMemberName("connected")]
    Connected,

    /// <summary><c>closed</c>: it is over.</summary>
    [JsonStringEnumMemberName("closed")]
    Closed,
}

/// <summary>Where a data channel stands, <see href="https://www.w3.org/TR/webrtc/#dom-rtcdatachannelstate">RTCDataChannelState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCDataChannelState>))]
public enum RTCDataChannelState
{
    /// <summary><c>connecting</c>: it is being set up; nothing can be sent.</summary>
    [JsonStringEnumMemberName("connecting")]
    Connecting,

    /// <summary><c>open</c>: messages can be sent.</summary>
    [JsonStringEnumMemberName("open")]
    Open,

    /// <summary><c>closing</c>: it is being closed; what was sent before still leaves.</summary>
    [JsonStringEnumMemberName("closing")]
    Closing,

    /// <summary><c>closed</c>: it is over, or could not be set up.</summary>
    [JsonStringEnumMemberName("closed")]
    Closed,
}

/// <summary>How one channel's data rank against another's; the values are those of DCEP, RFC 8831 §6.4, <see href="https://www.w3.org/TR/webrtc-priority/#dom-rtcprioritytype">RTCPriorityType</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCPriorityType>))]
public enum RTCPriorityType
{
    /// <summary><c>very-low</c>: below normal.</summary>
    [JsonStringEnumMemberName("very-low")]
    VeryLow = 128,

    /// <summary><c>low</c>: normal.</summary>
    [JsonStringEnumMemberName("low")]
    Low = 256,

    /// <summary><c>medium</c>: high.</summary>
    [JsonStringEnumMemberName("medium")]
    Medium = 512,

    /// <summary><c>high</c>: extra high.</summary>
    [JsonStringEnumMemberName("high")]
    High = 1024,
}
