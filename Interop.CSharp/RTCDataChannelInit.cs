namespace Hybrid.WebRtc;

/// <summary>
/// What a data channel is made with, <see href="https://www.w3.org/TR/webrtc/#dom-rtcdatachannelinit">RTCDataChannelInit</see>.
/// Reliable and ordered where nothing is set.
/// </summary>
public sealed record RTCDataChannelInit
{
    /// <summary>Whether messages arrive in the order they were sent. Default true.</summary>
    public bool Ordered { get; init; } = true;

    /// <summary>
    /// Milliseconds in which a message is sent and sent again, RFC 3758; what has not arrived then is given up. Excludes
    /// <see cref="MaxRetransmits"/>. Default: no limit.
    /// </summary>
    public ushort? MaxPacketLifeTime { get; init; }

    /// <summary>
    /// How often a message is sent again, RFC 7496 §3.1; what has not arrived then is given up. Excludes
    /// <see cref="MaxPacketLifeTime"/>. Default: no limit.
    /// </summary>
    public ushort? MaxRetransmits { get; init; }

    /// <summary>The name of a subprotocol, at most 65,535 octets of UTF-8. Default: none.</summary>
    public string Protocol { get; init; } = "";

    /// <summary>
    /// Whether both sides make the channel, with one <see cref="Id"/>, and need not announce it. Default false: the peer is
    /// told of it and raises its <c>OnDataChannel</c>.
    /// </summary>
    public bool Negotiated { get; init; }

    /// <summary>The SCTP stream of a negotiated channel, from 0 to 65,534. Ignored where it is not negotiated.</summary>
    public ushort? Id { get; init; }

    /// <summary>How its data rank against other channels'. Default low, which is normal.</summary>
    public RTCPriorityType Priority { get; init; } = RTCPriorityType.Low;
}
