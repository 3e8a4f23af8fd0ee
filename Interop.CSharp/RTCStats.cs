using System.Text.Json;
using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>What all statistics have, <see href="https://www.w3.org/TR/webrtc/#dom-rtcstats">RTCStats</see>. Counters begin with the connection.</summary>
public abstract record RTCStats
{
    private protected RTCStats(string type) => Type = type;

    /// <summary>Names the object; the same object has the same id in every report.</summary>
    public required string Id { get; init; }

    /// <summary>The kind, such as <c>candidate-pair</c>.</summary>
    public string Type { get; }

    /// <summary>When it was so; in JSON, milliseconds since 1970.</summary>
    [JsonConverter(typeof(Milliseconds))]
    public required DateTimeOffset Timestamp { get; init; }

    /// <summary>Ids of what it refers to.</summary>
    internal virtual IEnumerable<string?> References => [];

    internal sealed class Milliseconds : JsonConverter<DateTimeOffset>
    {
        public override DateTimeOffset Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options) =>
            DateTimeOffset.UnixEpoch.AddMilliseconds(reader.GetDouble());

        public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
            writer.WriteNumberValue((value - DateTimeOffset.UnixEpoch).TotalMilliseconds);
    }
}

/// <summary>The connection, <see href="https://www.w3.org/TR/webrtc-stats/#pcstats-dict*">RTCPeerConnectionStats</see>.</summary>
public sealed record RTCPeerConnectionStats() : RTCStats("peer-connection")
{
    /// <summary>Data channels that have opened.</summary>
    public long DataChannelsOpened { get; init; }

    /// <summary>Of those, channels that have closed.</summary>
    public long DataChannelsClosed { get; init; }
}

/// <summary>The transport, <see href="https://www.w3.org/TR/webrtc-stats/#transportstats-dict*">RTCTransportStats</see>.</summary>
public sealed record RTCTransportStats() : RTCStats("transport")
{
    /// <summary>Packets sent, without connectivity checks.</summary>
    public long PacketsSent { get; init; }

    /// <summary>Packets received, without connectivity checks.</summary>
    public long PacketsReceived { get; init; }

    /// <summary>Octets sent, without IP and UDP headers.</summary>
    public long BytesSent { get; init; }

    /// <summary>Octets received, without IP and UDP headers.</summary>
    public long BytesReceived { get; init; }

    /// <summary>Who decides which pair is used.</summary>
    public RTCIceRole IceRole { get; init; }

    /// <summary>Our user name fragment; null before the first local description.</summary>
    public string? IceLocalUsernameFragment { get; init; }

    /// <summary>Where ICE stands.</summary>
    public RTCIceTransportState IceState { get; init; }

    /// <summary>Where DTLS stands.</summary>
    public RTCDtlsTransportState DtlsState { get; init; }

    /// <summary><c>client</c>, <c>server</c> or <c>unknown</c>.</summary>
    public required string DtlsRole { get; init; }

    /// <summary>The two octets of DTLS's version in hexadecimal: <c>FEFD</c> is 1.2, <c>FEFC</c> is 1.3; null before the handshake is done.</summary>
    public string? TlsVersion { get; init; }

    /// <summary>The suite's IANA name; null before the handshake is done.</summary>
    public string? DtlsCipher { get; init; }

    /// <summary>The IANA name of the group that keys were agreed on in, such as <c>X25519MLKEM768</c>; null before the handshake is done. Beyond W3C.</summary>
    public string? TlsGroup { get; init; }

    /// <summary>The <see cref="RTCIceCandidatePairStats"/> that is sent on.</summary>
    public string? SelectedCandidatePairId { get; init; }

    /// <summary>How often another pair was selected.</summary>
    public long SelectedCandidatePairChanges { get; init; }

    /// <summary>Our <see cref="RTCCertificateStats"/>.</summary>
    public string? LocalCertificateId { get; init; }

    /// <summary>The peer's <see cref="RTCCertificateStats"/>; null before the handshake is done.</summary>
    public string? RemoteCertificateId { get; init; }

    /// <summary>The SRTP profile's IANA name, such as <c>SRTP_AEAD_AES_128_GCM</c>; null before there are keys.</summary>
    public string? SrtpCipher { get; init; }

    /// <summary>RFC 8888 feedback packets sent.</summary>
    public long CcfbMessagesSent { get; init; }

    /// <summary>RFC 8888 feedback packets received.</summary>
    public long CcfbMessagesReceived { get; init; }

    internal override IEnumerable<string?> References =>
        [SelectedCandidatePairId, LocalCertificateId, RemoteCertificateId];
}

/// <summary>A candidate, ours or the peer's, <see href="https://www.w3.org/TR/webrtc-stats/#icecandidate-dict*">RTCIceCandidateStats</see>. Its type is <c>local-candidate</c> or <c>remote-candidate</c>.</summary>
public sealed record RTCIceCandidateStats : RTCStats
{
    internal RTCIceCandidateStats(string type)
        : base(type) { }

    /// <summary>Its <see cref="RTCTransportStats"/>.</summary>
    public required string TransportId { get; init; }

    /// <summary>An IP address, or an mDNS name.</summary>
    public string? Address { get; init; }

    /// <summary>Its port.</summary>
    public int? Port { get; init; }

    /// <summary>Its transport protocol.</summary>
    public RTCIceProtocol? Protocol { get; init; }

    /// <summary>How it came to be.</summary>
    public RTCIceCandidateType? CandidateType { get; init; }

    /// <summary>Higher is better, RFC 8445 §5.1.2.</summary>
    public long? Priority { get; init; }

    /// <summary>RFC 8445 §5.1.1.3.</summary>
    public string? Foundation { get; init; }

    /// <summary>The base of a derived candidate.</summary>
    public string? RelatedAddress { get; init; }

    /// <summary>The port of the base of a derived candidate.</summary>
    public int? RelatedPort { get; init; }

    /// <summary>The ICE generation that it belongs to.</summary>
    public string? UsernameFragment { get; init; }

    /// <summary>Who opens a TCP candidate's connection.</summary>
    public RTCIceTcpCandidateType? TcpType { get; init; }

    /// <summary>The STUN or TURN server that a local candidate came from.</summary>
    public string? Url { get; init; }

    /// <summary>How the TURN server of a local <see cref="RTCIceCandidateType.Relay"/> candidate is spoken to.</summary>
    public RTCIceServerTransportProtocol? RelayProtocol { get; init; }

    internal override IEnumerable<string?> References => [TransportId];
}

/// <summary>A pair of candidates, <see href="https://www.w3.org/TR/webrtc-stats/#candidatepair-dict*">RTCIceCandidatePairStats</see>.</summary>
public sealed record RTCIceCandidatePairStats() : RTCStats("candidate-pair")
{
    /// <summary>Its <see cref="RTCTransportStats"/>.</summary>
    public required string TransportId { get; init; }

    /// <summary>Our <see cref="RTCIceCandidateStats"/>.</summary>
    public required string LocalCandidateId { get; init; }

    /// <summary>The peer's <see cref="RTCIceCandidateStats"/>.</summary>
    public required string RemoteCandidateId { get; init; }

    /// <summary><c>frozen</c>, <c>waiting</c>, <c>in-progress</c>, <c>failed</c> or <c>succeeded</c>.</summary>
    public required string State { get; init; }

    /// <summary>Whether it was nominated, RFC 8445 §8.</summary>
    public bool Nominated { get; init; }

    /// <summary>Connectivity checks sent, without retransmissions.</summary>
    public long RequestsSent { get; init; }

    /// <summary>Connectivity checks received.</summary>
    public long RequestsReceived { get; init; }

    /// <summary>Answers sent.</summary>
    public long ResponsesSent { get; init; }

    /// <summary>Answers received.</summary>
    public long ResponsesReceived { get; init; }

    /// <summary>Consent checks sent, RFC 7675.</summary>
    public long ConsentRequestsSent { get; init; }

    /// <summary>Seconds, of the last answered check; null where none was answered.</summary>
    public double? CurrentRoundTripTime { get; init; }

    /// <summary>Seconds, the sum over all answered checks.</summary>
    public double TotalRoundTripTime { get; init; }

    /// <summary>Datagrams sent by it, without STUN's.</summary>
    public long PacketsSent { get; init; }

    /// <summary>Octets of those.</summary>
    public long BytesSent { get; init; }

    /// <summary>Datagrams received by it, without STUN's.</summary>
    public long PacketsReceived { get; init; }

    /// <summary>Octets of those.</summary>
    public long BytesReceived { get; init; }

    /// <summary>When the last of those was sent, null where none was; in JSON, milliseconds since 1970.</summary>
    [JsonConverter(typeof(Milliseconds))]
    public DateTimeOffset? LastPacketSentTimestamp { get; init; }

    /// <summary>When the last of those came, null where none did; in JSON, milliseconds since 1970.</summary>
    [JsonConverter(typeof(Milliseconds))]
    public DateTimeOffset? LastPacketReceivedTimestamp { get; init; }

    /// <summary>Bits a second that the pair seems to carry, all media together; null before there is an estimate, or where it is not sent on.</summary>
    public double? AvailableOutgoingBitrate { get; init; }

    internal override IEnumerable<string?> References => [TransportId, LocalCandidateId, RemoteCandidateId];
}

/// <summary>A certificate, <see href="https://www.w3.org/TR/webrtc-stats/#certificatestats-dict*">RTCCertificateStats</see>.</summary>
public sealed record RTCCertificateStats() : RTCStats("certificate")
{
    /// <summary>Upper-case hexadecimal digits, two an octet, separated by colons.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>The hash function's name: <c>sha-256</c>.</summary>
    public required string FingerprintAlgorithm { get; init; }

    /// <summary>DER in base 64.</summary>
    public required string Base64Certificate { get; init; }
}

/// <summary>A data channel, <see href="https://www.w3.org/TR/webrtc-stats/#dcstats-dict*">RTCDataChannelStats</see>.</summary>
public sealed record RTCDataChannelStats() : RTCStats("data-channel")
{
    /// <summary>Its label.</summary>
    public required string Label { get; init; }

    /// <summary>Its subprotocol; empty where there is none.</summary>
    public required string Protocol { get; init; }

    /// <summary>Its SCTP stream; null until it is known.</summary>
    public int? DataChannelIdentifier { get; init; }

    /// <summary>Where it stands.</summary>
    public RTCDataChannelState State { get; init; }

    /// <summary>Messages sent.</summary>
    public long MessagesSent { get; init; }

    /// <summary>Octets of messages sent.</summary>
    public long BytesSent { get; init; }

    /// <summary>Messages received.</summary>
    public long MessagesReceived { get; init; }

    /// <summary>Octets of messages received.</summary>
    public long BytesReceived { get; init; }
}

/// <summary>The SCTP association; not in webrtc-stats any more, and of help where a channel is slow.</summary>
public sealed record RTCSctpTransportStats() : RTCStats("sctp-transport")
{
    /// <summary>Its <see cref="RTCTransportStats"/>.</summary>
    public required string TransportId { get; init; }

    /// <summary>Seconds, RFC 9260 §6.3.1; null before the first measurement.</summary>
    public double? SmoothedRoundTripTime { get; init; }

    /// <summary>Octets that may be in flight, RFC 9260 §7.2.</summary>
    public long CongestionWindow { get; init; }

    /// <summary>Octets that the peer has room for.</summary>
    public long ReceiverWindow { get; init; }

    /// <summary>The largest SCTP packet, octets.</summary>
    public long Mtu { get; init; }

    /// <summary>Octets that wait to be sent.</summary>
    public long BufferedAmount { get; init; }

    /// <summary>Chunks that were sent again.</summary>
    public long Retransmissions { get; init; }
}

/// <summary>What was ignored as noise, by layer and reason; beyond W3C.</summary>
public sealed record RTCIgnoredStats() : RTCStats("ignored")
{
    /// <summary>The protocol.</summary>
    public required string Layer { get; init; }

    /// <summary>Why.</summary>
    public required string Reason { get; init; }

    /// <summary>How often.</summary>
    public long Count { get; init; }
}
