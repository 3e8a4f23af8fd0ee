using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>
/// A caller's mistake, or an operation that could not be done:
/// <see href="https://webidl.spec.whatwg.org/#idl-DOMException">DOMException</see> as W3C WebRTC uses it.
/// <see cref="Name"/> tells which.
/// </summary>
public sealed class RTCException : Exception
{
    /// <summary>An exception of that name.</summary>
    /// <param name="name">The DOMException's name, such as <c>InvalidStateError</c>.</param>
    /// <param name="message">What was wrong, and what would be right.</param>
    /// <param name="error">More about it, where it is an <see cref="RTCError"/>.</param>
    public RTCException(string name, string message, RTCError? error = null)
        : base(message)
    {
        Name = name;
        Error = error;
    }

    /// <summary>
    /// The DOMException's name: <c>InvalidStateError</c>, <c>InvalidAccessError</c>, <c>InvalidModificationError</c>,
    /// <c>NotSupportedError</c>, <c>SyntaxError</c>, <c>OperationError</c>, <c>UnknownError</c>, <c>AbortError</c> or <c>NotFoundError</c>; and
    /// <c>TypeError</c> or <c>RangeError</c>, which ECMAScript has beside them.
    /// </summary>
    public string Name { get; }

    /// <summary>More about it, where W3C makes it an <see cref="RTCError"/>; null elsewhere.</summary>
    public RTCError? Error { get; }
}

/// <summary>
/// What went wrong in a transport, a channel or a description,
/// <see href="https://www.w3.org/TR/webrtc/#rtcerror-interface">WebRTC §11.2</see>.
/// </summary>
public sealed record RTCError
{
    /// <summary>What kind of error it is.</summary>
    public required RTCErrorDetailType ErrorDetail { get; init; }

    /// <summary>What happened, for a person to read.</summary>
    public required string Message { get; init; }

    /// <summary>The line of the SDP, from 1, that a <see cref="RTCErrorDetailType.SdpSyntaxError"/> is about.</summary>
    public int? SdpLineNumber { get; init; }

    /// <summary>The cause code of the peer's SCTP ABORT, RFC 9260 §3.3.10.</summary>
    public int? SctpCauseCode { get; init; }

    /// <summary>The DTLS alert that was received, RFC 5246 §7.2.</summary>
    public int? ReceivedAlert { get; init; }

    /// <summary>The DTLS alert that was sent, RFC 5246 §7.2.</summary>
    public int? SentAlert { get; init; }
}

/// <summary>
/// What kind of error it is,
/// <see href="https://www.w3.org/TR/webrtc/#dom-rtcerrordetailtype">RTCErrorDetailType</see>.
/// </summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCErrorDetailType>))]
public enum RTCErrorDetailType
{
    /// <summary><c>data-channel-failure</c>: the data channel failed.</summary>
    [JsonStringEnumMemberName("data-channel-failure")]
    DataChannelFailure = 1,

    /// <summary><c>dtls-failure</c>: the handshake failed, or an alert ended the connection.</summary>
    [JsonStringEnumMemberName("dtls-failure")]
    DtlsFailure = 2,

    /// <summary><c>fingerprint-failure</c>: the peer's certificate is not the one that its description promised.</summary>
    [JsonStringEnumMemberName("fingerprint-failure")]
    FingerprintFailure = 3,

    /// <summary><c>sctp-failure</c>: the SCTP association failed or was aborted.</summary>
    [JsonStringEnumMemberName("sctp-failure")]
    SctpFailure = 4,

    /// <summary><c>sdp-syntax-error</c>: a description does not parse.</summary>
    [JsonStringEnumMemberName("sdp-syntax-error")]
    SdpSyntaxError = 5,
}
