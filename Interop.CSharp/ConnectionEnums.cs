using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>Where an offer and its answer stand, <see href="https://www.w3.org/TR/webrtc/#dom-rtcsignalingstate">RTCSignalingState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCSignalingState>))]
public enum RTCSignalingState
{
    /// <summary><c>stable</c>: no offer is under way; also before the first.</summary>
    [JsonStringEnumMemberName("stable")]
    Stable,

    /// <summary><c>have-local-offer</c>: our offer is set and waits for an answer.</summary>
    [JsonStringEnumMemberName("have-local-offer")]
    HaveLocalOffer,

    /// <summary><c>have-remote-offer</c>: the peer's offer is set and waits for our answer.</summary>
    [JsonStringEnumMemberName("have-remote-offer")]
    HaveRemoteOffer,

    /// <summary><c>have-local-pranswer</c>: the peer's offer is set, and a provisional answer of ours.</summary>
    [JsonStringEnumMemberName("have-local-pranswer")]
    HaveLocalPranswer,

    /// <summary><c>have-remote-pranswer</c>: our offer is set, and a provisional answer of the peer's.</summary>
    [JsonStringEnumMemberName("have-remote-pranswer")]
    HaveRemotePranswer,

    /// <summary><c>closed</c>: the connection was closed.</summary>
    [JsonStringEnumMemberName("closed")]
    Closed,
}

/// <summary>How far the gathering of local candidates is, over all transports, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicegatheringstate">RTCIceGatheringState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceGatheringState>))]
public enum RTCIceGatheringState
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

/// <summary>The connection as a whole: its ICE and DTLS transports taken together, <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnectionstate">RTCPeerConnectionState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCPeerConnectionState>))]
public enum RTCPeerConnectionState
{
    /// <summary><c>new</c>: no transport has begun.</summary>
    [JsonStringEnumMemberName("new")]
    New,

    /// <summary><c>connecting</c>: a transport is on its way, and none has failed.</summary>
    [JsonStringEnumMemberName("connecting")]
    Connecting,

    /// <summary><c>connected</c>: every transport is connected.</summary>
    [JsonStringEnumMemberName("connected")]
    Connected,

    /// <summary><c>disconnected</c>: a transport lost its peer; it may come back.</summary>
    [JsonStringEnumMemberName("disconnected")]
    Disconnected,

    /// <summary><c>failed</c>: a transport has failed.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,

    /// <summary><c>closed</c>: the connection was closed.</summary>
    [JsonStringEnumMemberName("closed")]
    Closed,
}

/// <summary>The ICE transports taken together, <see href="https://www.w3.org/TR/webrtc/#dom-rtciceconnectionstate">RTCIceConnectionState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceConnectionState>))]
public enum RTCIceConnectionState
{
    /// <summary><c>new</c>: none has begun to check.</summary>
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

    /// <summary><c>failed</c>: no pair works.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,

    /// <summary><c>closed</c>: the connection was closed.</summary>
    [JsonStringEnumMemberName("closed")]
    Closed,
}

/// <summary>What a description is, <see href="https://www.w3.org/TR/webrtc/#dom-rtcsdptype">RTCSdpType</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCSdpType>))]
public enum RTCSdpType
{
    /// <summary><c>offer</c>: a proposal.</summary>
    [JsonStringEnumMemberName("offer")]
    Offer,

    /// <summary><c>pranswer</c>: an answer that is not final.</summary>
    [JsonStringEnumMemberName("pranswer")]
    Pranswer,

    /// <summary><c>answer</c>: a final answer.</summary>
    [JsonStringEnumMemberName("answer")]
    Answer,

    /// <summary><c>rollback</c>: back to the last stable state; carries no SDP.</summary>
    [JsonStringEnumMemberName("rollback")]
    Rollback,
}

/// <summary>Which candidates may be used, <see href="https://www.w3.org/TR/webrtc/#dom-rtcicetransportpolicy">RTCIceTransportPolicy</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCIceTransportPolicy>))]
public enum RTCIceTransportPolicy
{
    /// <summary><c>all</c>: any.</summary>
    [JsonStringEnumMemberName("all")]
    All,

    /// <summary><c>relay</c>: those of TURN servers only: the peer does not learn our addresses.</summary>
    [JsonStringEnumMemberName("relay")]
    Relay,
}

/// <summary>How media share transports with a peer that knows nothing of BUNDLE, <see href="https://www.w3.org/TR/webrtc/#dom-rtcbundlepolicy">RTCBundlePolicy</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCBundlePolicy>))]
public enum RTCBundlePolicy
{
    /// <summary><c>balanced</c>: one transport per kind of media.</summary>
    [JsonStringEnumMemberName("balanced")]
    Balanced,

    /// <summary><c>max-compat</c>: one transport per media section.</summary>
    [JsonStringEnumMemberName("max-compat")]
    MaxCompat,

    /// <summary><c>max-bundle</c>: one transport for all.</summary>
    [JsonStringEnumMemberName("max-bundle")]
    MaxBundle,
}

/// <summary>Whether RTP and RTCP share a port, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtcpmuxpolicy">RTCRtcpMuxPolicy</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCRtcpMuxPolicy>))]
public enum RTCRtcpMuxPolicy
{
    /// <summary><c>require</c>: they always do.</summary>
    [JsonStringEnumMemberName("require")]
    Require,
}
