namespace Hybrid.WebRtc.Core

/// A received source, W3C webrtc-stats RTCInboundRtpStreamStats: what does not need a decoder.
[<NoComparison>]
type InboundRtpStats =
    {
        Transceiver: TransceiverId
        Ssrc: uint32
        /// Empty without simulcast.
        Rid: string
        /// 0: none.
        RtxSsrc: uint32
        /// 0: none.
        FecSsrc: uint32
        /// Of the last packet; ValueNone before one came.
        Codec: RtpCodecParameters voption
        /// Those that came again are among them.
        PacketsReceived: int64
        /// May be negative: duplicates count against losses, RFC 3550 §6.4.1.
        PacketsLost: int64
        /// In the units of the clock rate.
        Jitter: float
        BytesReceived: int64
        HeaderBytesReceived: int64
        LastPacketAt: Instant voption
        /// Too late for the jitter buffer.
        PacketsDiscarded: int64
        /// FlexFEC's, and what RED repeats.
        FecPacketsReceived: int64
        FecBytesReceived: int64
        FecPacketsDiscarded: int64
        RetransmittedPacketsReceived: int64
        RetransmittedBytesReceived: int64
        NackCount: int64
        FirCount: int64
        PliCount: int64
        /// Frames whose last packet came, by marker bit (video).
        FramesReceived: int64
        /// Of samples (audio) or frames (video), in sum; 0 where no jitter buffer was asked for.
        JitterBufferDelay: Duration
        JitterBufferTargetDelay: Duration
        JitterBufferMinimumDelay: Duration
        JitterBufferEmitted: int64
        /// 0 to 127, -dBov, of the last packet with RFC 6464's extension.
        AudioLevel: int voption
        /// Of the peer's last sender report.
        RemoteSender: RemoteOutboundStats voption
    }

/// What the sender's reports say, RTCRemoteOutboundRtpStreamStats.
and [<NoComparison>] RemoteOutboundStats =
    {
        /// When the last one came.
        At: Instant
        PacketsSent: int64
        BytesSent: int64
        /// NTP, of the last report.
        RemoteTimestamp: uint64
        ReportsSent: int64
        /// By XR's DLRR, RFC 3611 §4.5.
        RoundTripTime: Duration voption
        TotalRoundTripTime: Duration
        RoundTripTimeMeasurements: int64
    }

/// What the receiver's reports say, RTCRemoteInboundRtpStreamStats.
[<NoComparison>]
type RemoteInboundStats =
    {
        At: Instant
        PacketsLost: int64
        /// From 0 to 1.
        FractionLost: float
        /// In the units of the clock rate.
        Jitter: float
        RoundTripTime: Duration voption
        TotalRoundTripTime: Duration
        RoundTripTimeMeasurements: int64
    }

/// A sent encoding, RTCOutboundRtpStreamStats.
[<NoComparison>]
type OutboundRtpStats =
    {
        Transceiver: TransceiverId
        Encoding: int
        Rid: string
        Ssrc: uint32
        /// 0: none.
        RtxSsrc: uint32
        /// 0: none.
        FecSsrc: uint32
        Active: bool
        Codec: RtpCodecParameters voption
        /// Of media, of retransmissions, and of FEC.
        PacketsSent: int64
        BytesSent: int64
        HeaderBytesSent: int64
        RetransmittedPacketsSent: int64
        RetransmittedBytesSent: int64
        FecPacketsSent: int64
        FecBytesSent: int64
        /// Bits a second that the estimator grants media, without FEC's part; ValueNone: none yet.
        TargetBitrate: int64 voption
        FramesSent: int64
        /// Frames of 2.5 times the average size and more.
        HugeFramesSent: int64
        TotalPacketSendDelay: Duration
        NackCount: int64
        FirCount: int64
        PliCount: int64
        RemoteReceiver: RemoteInboundStats voption
    }

/// All media of a peer.
[<NoComparison>]
type MediaStatistics =
    {
        Inbound: InboundRtpStats[]
        Outbound: OutboundRtpStats[]
        /// Bits a second; ValueNone before there is an estimate.
        AvailableOutgoingBitrate: int64 voption
        /// The profile's IANA name, `SRTP_AEAD_AES_128_GCM`…; empty before there are keys.
        SrtpCipher: string
        /// RFC 8888 packets.
        CcfbSent: int64
        CcfbReceived: int64
    }

/// Statistics of media.
[<RequireQualifiedAccess>]
module MediaStatistics =
    /// Of a peer without media.
    let none: MediaStatistics =
        { Inbound = [||]
          Outbound = [||]
          AvailableOutgoingBitrate = ValueNone
          SrtpCipher = ""
          CcfbSent = 0L
          CcfbReceived = 0L }
