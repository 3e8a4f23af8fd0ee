using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>Sound or picture: <c>kind</c> of a <see href="https://www.w3.org/TR/mediacapture-streams/#dom-mediastreamtrack-kind">MediaStreamTrack</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<MediaKind>))]
public enum MediaKind
{
    /// <summary><c>audio</c></summary>
    [JsonStringEnumMemberName("audio")]
    Audio,

    /// <summary><c>video</c></summary>
    [JsonStringEnumMemberName("video")]
    Video,
}

/// <summary>Whether a track has more to come, <see href="https://www.w3.org/TR/mediacapture-streams/#dom-mediastreamtrackstate">MediaStreamTrackState</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<MediaStreamTrackState>))]
public enum MediaStreamTrackState
{
    /// <summary><c>live</c>: more may come.</summary>
    [JsonStringEnumMemberName("live")]
    Live,

    /// <summary><c>ended</c>: nothing more comes, for good.</summary>
    [JsonStringEnumMemberName("ended")]
    Ended,
}

/// <summary>Which ways media goes, seen from here, <see href="https://www.w3.org/TR/webrtc/#dom-rtcrtptransceiverdirection">RTCRtpTransceiverDirection</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCRtpTransceiverDirection>))]
public enum RTCRtpTransceiverDirection
{
    /// <summary><c>sendrecv</c>: both ways.</summary>
    [JsonStringEnumMemberName("sendrecv")]
    SendRecv,

    /// <summary><c>sendonly</c>: from here.</summary>
    [JsonStringEnumMemberName("sendonly")]
    SendOnly,

    /// <summary><c>recvonly</c>: to here.</summary>
    [JsonStringEnumMemberName("recvonly")]
    RecvOnly,

    /// <summary><c>inactive</c>: neither way, for now.</summary>
    [JsonStringEnumMemberName("inactive")]
    Inactive,

    /// <summary><c>stopped</c>: neither way, for good.</summary>
    [JsonStringEnumMemberName("stopped")]
    Stopped,
}

/// <summary>Whether RTP's header extensions and CSRCs are encrypted, RFC 9335, <see href="https://w3c.github.io/webrtc-extensions/#dom-rtcrtpheaderencryptionpolicy">RTCRtpHeaderEncryptionPolicy</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCRtpHeaderEncryptionPolicy>))]
public enum RTCRtpHeaderEncryptionPolicy
{
    /// <summary><c>negotiate</c>: where the peer can do it.</summary>
    [JsonStringEnumMemberName("negotiate")]
    Negotiate,

    /// <summary><c>require</c>: media of a peer that cannot are turned down.</summary>
    [JsonStringEnumMemberName("require")]
    Require,

    /// <summary><c>disable</c>: neither offered nor taken.</summary>
    [JsonStringEnumMemberName("disable")]
    Disable,
}
