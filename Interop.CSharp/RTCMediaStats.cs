using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>A stream of packets of one source, <see href="https://www.w3.org/TR/webrtc-stats/#streamstats-dict*">RTCRtpStreamStats</see>.</summary>
public abstract record RTCRtpStreamStats : RTCStats
{
    private protected RTCRtpStreamStats(string type)
        : base(type) { }

    /// <summary>Its source.</summary>
    public required uint Ssrc { get; init; }

    /// <summary>Sound or picture.</summary>
    public required MediaKind Kind { get; init; }

    /// <summary>Its <see cref="RTCTransportStats"/>.</summary>
    public required string TransportId { get; init; }

    /// <summary>The <see cref="RTCCodecStats"/> of its last packet; null before one.</summary>
    public string? CodecId { get; init; }

    internal int Transceiver { get; init; }

    internal override IEnumerable<string?> References => [TransportId, CodecId];
}

/// <summary>What a receiver counts, here or there, <see href="https://www.w3.org/TR/webrtc-stats/#receivedrtpstats-dict*">RTCReceivedRtpStreamStats</see>.</summary>
public abstract record RTCReceivedRtpStreamStats : RTCRtpStreamStats
{
    private protected RTCReceivedRtpStreamStats(string type)
        : base(type) { }

    /// <summary>Packets received; of the peer's, null.</summary>
    public long? PacketsReceived { get; init; }

    /// <summary>Packets lost, RFC 3550 §6.4.1; below zero where duplicates outnumber losses.</summary>
    public long PacketsLost { get; init; }

    /// <summary>Seconds, RFC 3550 §6.4.1; null where the clock rate is not known yet.</summary>
    public double? Jitter { get; init; }

    /// <summary>Packets that came marked ECT(1), RFC 9331; null where that cannot be seen.</summary>
    public long? PacketsReceivedWithEct1 { get; init; }

    /// <summary>Packets that came marked CE, RFC 3168; null where that cannot be seen.</summary>
    public long? PacketsReceivedWithCe { get; init; }
}

/// <summary>What is sent, here or there, <see href="https://www.w3.org/TR/webrtc-stats/#sentrtpstats-dict*">RTCSentRtpStreamStats</see>.</summary>
public abstract record RTCSentRtpStreamStats : RTCRtpStreamStats
{
    private protected RTCSentRtpStreamStats(string type)
        : base(type) { }

    /// <summary>Packets sent, retransmissions included.</summary>
    public long PacketsSent { get; init; }

    /// <summary>Octets of payload sent, retransmissions included.</summary>
    public long BytesSent { get; init; }
}

/// <summary>A source that is received, <see href="https://www.w3.org/TR/webrtc-stats/#inboundrtpstats-dict*">RTCInboundRtpStreamStats</see>, as far as it takes no decoder.</summary>
public sealed record RTCInboundRtpStreamStats() : RTCReceivedRtpStreamStats("inbound-rtp")
{
    /// <summary>The receiver's track.</summary>
    public required string TrackIdentifier { get; init; }

    /// <summary>The media section.</summary>
    public string? Mid { get; init; }

    /// <summary>Which of the peer's simulcast encodings; null without simulcast. Beyond W3C.</summary>
    public string? Rid { get; init; }

    /// <summary>What the peer says of it: its <see cref="RTCRemoteOutboundRtpStreamStats"/>; null before a sender report.</summary>
    public string? RemoteId { get; init; }

    /// <summary>Octets of payload received.</summary>
    public long BytesReceived { get; init; }

    /// <summary>Octets of RTP headers and padding received.</summary>
    public long HeaderBytesReceived { get; init; }

    /// <summary>When the last packet came; in JSON, milliseconds since 1970.</summary>
    [JsonConverter(typeof(Milliseconds))]
    public DateTimeOffset? LastPacketReceivedTimestamp { get; init; }

    /// <summary>Packets that came too late, or twice.</summary>
    public long PacketsDiscarded { get; init; }

    /// <summary>FEC packets received.</summary>
    public long FecPacketsReceived { get; init; }

    /// <summary>Octets of FEC received.</summary>
    public long FecBytesReceived { get; init; }

    /// <summary>FEC packets that were of no use.</summary>
    public long FecPacketsDiscarded { get; init; }

    /// <summary>Packets received by retransmission.</summary>
    public long RetransmittedPacketsReceived { get; init; }

    /// <summary>Octets received by retransmission.</summary>
    public long RetransmittedBytesReceived { get; init; }

    /// <summary>The source of retransmissions; null: none negotiated.</summary>
    public uint? RtxSsrc { get; init; }

    /// <summary>The source of FEC; null: none negotiated.</summary>
    public uint? FecSsrc { get; init; }

    /// <summary>NACKs sent.</summary>
    public long NackCount { get; init; }

    /// <summary>FIRs sent; of video.</summary>
    public long? FirCount { get; init; }

    /// <summary>PLIs sent; of video.</summary>
    public long? PliCount { get; init; }

    /// <summary>Frames whose last packet came; of video.</summary>
    public long? FramesReceived { get; init; }

    /// <summary>Seconds that packets have been in the jitter buffer, in all.</summary>
    public double JitterBufferDelay { get; init; }

    /// <summary>Seconds that they should have been.</summary>
    public double JitterBufferTargetDelay { get; init; }

    /// <summary>Seconds that the network alone would have asked for.</summary>
    public double JitterBufferMinimumDelay { get; init; }

    /// <summary>What has come out of the jitter buffer.</summary>
    public long JitterBufferEmittedCount { get; init; }

    /// <summary>From 0 to 1, of the last packet's header extension (RFC 6464); of sound, where packets have it.</summary>
    public double? AudioLevel { get; init; }

    internal override IEnumerable<string?> References => [.. base.References, RemoteId];
}

/// <summary>A source that is sent, as the peer's reports see it, <see href="https://www.w3.org/TR/webrtc-stats/#remoteinboundrtpstats-dict*">RTCRemoteInboundRtpStreamStats</see>.</summary>
public sealed record RTCRemoteInboundRtpStreamStats() : RTCReceivedRtpStreamStats("remote-inbound-rtp")
{
    /// <summary>Our <see cref="RTCOutboundRtpStreamStats"/>.</summary>
    public required string LocalId { get; init; }

    /// <summary>Seconds, by the last report; null: it did not tell.</summary>
    public double? RoundTripTime { get; init; }

    /// <summary>Seconds, of all measurements.</summary>
    public double TotalRoundTripTime { get; init; }

    /// <summary>Of the packets since the report before, from 0 to 1.</summary>
    public double FractionLost { get; init; }

    /// <summary>Reports that told the round trip time.</summary>
    public long RoundTripTimeMeasurements { get; init; }

    internal override IEnumerable<string?> References => [.. base.References, LocalId];
}

/// <summary>An encoding that is sent, <see href="https://www.w3.org/TR/webrtc-stats/#outboundrtpstats-dict*">RTCOutboundRtpStreamStats</see>, as far as it takes no encoder.</summary>
public sealed record RTCOutboundRtpStreamStats() : RTCSentRtpStreamStats("outbound-rtp")
{
    /// <summary>The media section.</summary>
    public string? Mid { get; init; }

    /// <summary>Its <see cref="RTCMediaSourceStats"/>; null: the sender has no track.</summary>
    public string? MediaSourceId { get; init; }

    /// <summary>What the peer says of it: its <see cref="RTCRemoteInboundRtpStreamStats"/>; null before a report.</summary>
    public string? RemoteId { get; init; }

    /// <summary>Of simulcast; null without.</summary>
    public string? Rid { get; init; }

    /// <summary>Which of the sender's encodings, from 0.</summary>
    public int EncodingIndex { get; init; }

    /// <summary>Octets of RTP headers and padding sent.</summary>
    public long HeaderBytesSent { get; init; }

    /// <summary>Packets sent again.</summary>
    public long RetransmittedPacketsSent { get; init; }

    /// <summary>Octets sent again.</summary>
    public long RetransmittedBytesSent { get; init; }

    /// <summary>The source of retransmissions; null: none negotiated.</summary>
    public uint? RtxSsrc { get; init; }

    /// <summary>The source of FlexFEC, which is sent where setCodecPreferences named it; null: none negotiated. An addition to W3C's.</summary>
    public uint? FecSsrc { get; init; }

    /// <summary>Packets of FEC sent, which <see cref="RTCSentRtpStreamStats.PacketsSent"/> counts too. An addition to W3C's.</summary>
    public long FecPacketsSent { get; init; }

    /// <summary>Octets of FEC sent. An addition to W3C's.</summary>
    public long FecBytesSent { get; init; }

    /// <summary>Bits a second that congestion control grants it; null before there is an estimate.</summary>
    public double? TargetBitrate { get; init; }

    /// <summary>Frames sent; of video.</summary>
    public long? FramesSent { get; init; }

    /// <summary>Of those, frames of 2.5 times the average size and more; of video.</summary>
    public long? HugeFramesSent { get; init; }

    /// <summary>Seconds that packets have waited for the pacer, in all.</summary>
    public double TotalPacketSendDelay { get; init; }

    /// <summary>NACKs received.</summary>
    public long NackCount { get; init; }

    /// <summary>FIRs received; of video.</summary>
    public long? FirCount { get; init; }

    /// <summary>PLIs received; of video.</summary>
    public long? PliCount { get; init; }

    /// <summary>Whether the encoding is sent.</summary>
    public bool Active { get; init; }

    /// <summary>The layers within it, as parameters say.</summary>
    public string? ScalabilityMode { get; init; }

    /// <summary>Pixels across of the last key frame written, where a <see cref="SampleTrack"/> could see it.</summary>
    public int? FrameWidth { get; init; }

    /// <summary>Pixels down of it.</summary>
    public int? FrameHeight { get; init; }

    /// <summary>Frames written to a <see cref="SampleTrack"/> in the last second.</summary>
    public double? FramesPerSecond { get; init; }

    internal override IEnumerable<string?> References => [.. base.References, MediaSourceId, RemoteId];
}

/// <summary>A source that is received, as the peer's sender reports see it, <see href="https://www.w3.org/TR/webrtc-stats/#remoteoutboundrtpstats-dict*">RTCRemoteOutboundRtpStreamStats</see>.</summary>
public sealed record RTCRemoteOutboundRtpStreamStats() : RTCSentRtpStreamStats("remote-outbound-rtp")
{
    /// <summary>Our <see cref="RTCInboundRtpStreamStats"/>.</summary>
    public required string LocalId { get; init; }

    /// <summary>When the last report was made, by the peer's clock; in JSON, milliseconds since 1970.</summary>
    [JsonConverter(typeof(Milliseconds))]
    public DateTimeOffset? RemoteTimestamp { get; init; }

    /// <summary>Reports received.</summary>
    public long ReportsSent { get; init; }

    /// <summary>Seconds, by the last measurement (RFC 3611 §4.5); null: none.</summary>
    public double? RoundTripTime { get; init; }

    /// <summary>Seconds, of all measurements.</summary>
    public double TotalRoundTripTime { get; init; }

    /// <summary>How many there were.</summary>
    public long RoundTripTimeMeasurements { get; init; }

    internal override IEnumerable<string?> References => [.. base.References, LocalId];
}

/// <summary>A codec in use, <see href="https://www.w3.org/TR/webrtc-stats/#codec-dict*">RTCCodecStats</see>.</summary>
public sealed record RTCCodecStats() : RTCStats("codec")
{
    /// <summary>What its packets carry.</summary>
    public required int PayloadType { get; init; }

    /// <summary>Its <see cref="RTCTransportStats"/>.</summary>
    public required string TransportId { get; init; }

    /// <summary>Such as <c>video/VP8</c>.</summary>
    public required string MimeType { get; init; }

    /// <summary>Hz.</summary>
    public int? ClockRate { get; init; }

    /// <summary>Of sound.</summary>
    public int? Channels { get; init; }

    /// <summary>What follows the payload type in <c>a=fmtp</c>; null: nothing.</summary>
    public string? SdpFmtpLine { get; init; }

    internal override IEnumerable<string?> References => [TransportId];
}

/// <summary>A sender's track, <see href="https://www.w3.org/TR/webrtc-stats/#mediasourcestats-dict*">RTCMediaSourceStats</see>.</summary>
public abstract record RTCMediaSourceStats : RTCStats
{
    private protected RTCMediaSourceStats()
        : base("media-source") { }

    /// <summary>The track's id.</summary>
    public required string TrackIdentifier { get; init; }

    /// <summary>Sound or picture.</summary>
    public required MediaKind Kind { get; init; }
}

/// <summary>Of sound, <see href="https://www.w3.org/TR/webrtc-stats/#audiosourcestats-dict*">RTCAudioSourceStats</see>; how loud it is takes a decoder.</summary>
public sealed record RTCAudioSourceStats : RTCMediaSourceStats;

/// <summary>Of pictures, <see href="https://www.w3.org/TR/webrtc-stats/#videosourcestats-dict*">RTCVideoSourceStats</see>; known of a <see cref="SampleTrack"/>.</summary>
public sealed record RTCVideoSourceStats : RTCMediaSourceStats
{
    /// <summary>Pixels across of the last key frame.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels down of it.</summary>
    public int? Height { get; init; }

    /// <summary>Frames written.</summary>
    public long? Frames { get; init; }

    /// <summary>Frames written in the last second.</summary>
    public double? FramesPerSecond { get; init; }
}
