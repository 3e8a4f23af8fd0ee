using System.Text;

namespace Hybrid.WebRtc;

/// <summary>A candidate was gathered, <see href="https://www.w3.org/TR/webrtc/#rtcpeerconnectioniceevent">RTCPeerConnectionIceEvent</see>.</summary>
/// <param name="Candidate">
/// To be sent to the peer; its line is empty at the end of a generation's candidates. Null at the end of all, which a peer need
/// not be told.
/// </param>
/// <param name="Url">The STUN or TURN server that it came from.</param>
public sealed record RTCPeerConnectionIceEvent(RTCIceCandidate? Candidate, string? Url);

/// <summary>
/// A STUN or TURN server could not help,
/// <see href="https://www.w3.org/TR/webrtc/#rtcpeerconnectioniceerrorevent">RTCPeerConnectionIceErrorEvent</see>.
/// </summary>
/// <param name="Address">The local address it was asked from.</param>
/// <param name="Port">The local port.</param>
/// <param name="Url">The server.</param>
/// <param name="ErrorCode">STUN's code from 300 to 699, or 701 where the server did not answer.</param>
/// <param name="ErrorText">STUN's reason, or what happened.</param>
public sealed record RTCPeerConnectionIceErrorEvent(
    string? Address,
    ushort? Port,
    string Url,
    int ErrorCode,
    string ErrorText
);

/// <summary>The peer opened a data channel, <see href="https://www.w3.org/TR/webrtc/#rtcdatachannelevent">RTCDataChannelEvent</see>.</summary>
/// <param name="Channel">It is open.</param>
public sealed record RTCDataChannelEvent(RTCDataChannel Channel);

/// <summary>Something failed, <see href="https://www.w3.org/TR/webrtc/#rtcerrorevent-interface">RTCErrorEvent</see>.</summary>
/// <param name="Error">What.</param>
public sealed record RTCErrorEvent(RTCError Error);

/// <summary>A message came, <see href="https://www.w3.org/TR/webrtc/#event-datachannel-message">WebRTC §6.6</see>. It may be kept.</summary>
public sealed class MessageEvent
{
    private readonly RTCDataChannel _channel;
    private string? _text;
    private int _claims = 1;
    private int _isConsumed;

    internal MessageEvent(RTCDataChannel channel, bool isText, ReadOnlyMemory<byte> data)
    {
        _channel = channel;
        IsText = isText;
        Data = data;
    }

    /// <summary>Whether it was sent as a string.</summary>
    public bool IsText { get; }

    /// <summary>Its octets; of a string, the UTF-8.</summary>
    public ReadOnlyMemory<byte> Data { get; }

    /// <summary>The string that was sent; null where octets were. What is not UTF-8 reads as U+FFFD.</summary>
    public string? Text => IsText ? _text ??= Encoding.UTF8.GetString(Data.Span) : null;

    /// <summary>Whether it has waited for its channel's first subscriber.</summary>
    internal bool IsHeld { get; set; }

    /// <summary>Hands it to its channel; on the context.</summary>
    internal void Deliver() => _channel.Receive(this);

    /// <summary>A view keeps the message beyond its notification: it counts against the receive window until <see cref="Release"/>.</summary>
    internal void Claim() => Interlocked.Increment(ref _claims);

    /// <summary>The notification is over, or a view has handed the message on. The last one out opens the receive window again, once.</summary>
    internal void Release()
    {
        if (Interlocked.Decrement(ref _claims) > 0 || Interlocked.Exchange(ref _isConsumed, 1) != 0)
            return;
        _channel.Consumed(Data.Length);
        if (IsHeld)
            _channel.Unhold(Data.Length);
    }
}
