namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// What descriptions say of one encoding that is sent: changed by negotiation only.
[<NoComparison; NoEquality>]
type internal SendTerms =
    {
        Transceiver: TransceiverId
        Encoding: int
        Kind: MediaKind
        Parameters: EncodingParameters
        Ssrc: uint32
        RtxSsrc: uint32
        /// Whether packets may leave: negotiated, and active.
        IsOpen: bool
        Codecs: RtpCodecParameters[]
        /// For each payload type its clock rate in Hz; 0: not one of `Codecs`.
        ClockRates: int[]
        /// For each payload type that of its retransmissions, RFC 4588; 255: none.
        RtxTypes: byte[]
        Own: SenderExtensions
        RtxOwn: SenderExtensions
        Cryptex: bool
        Priority: PacketPriority
    }

/// What was sent, for reports and statistics.
[<Struct; NoComparison; NoEquality>]
type internal SendCounts =
    {
        Packets: int64
        /// Payload and padding.
        Octets: int64
        HeaderOctets: int64
        Frames: int64
        HugeFrames: int64
        /// Octets of the frame being sent, and of frames sent.
        FrameOctets: int64
        FramesOctets: int64
        /// Of packets that waited in the pacer.
        Delay: Duration
    }

/// What retransmissions came to.
[<NoComparison; NoEquality>]
type internal RepairCounts =
    { Packets: int64
      Octets: int64
      Nacks: int64
      Plis: int64
      Firs: int64 }

/// One SSRC that we send, and its retransmissions.
[<NoComparison; NoEquality>]
type internal SendStream =
    {
        Terms: SendTerms
        /// Which indices have been used: none is twice, or the encryption breaks.
        Used: SrtpStream
        HasSent: bool
        /// Added to the application's sequence numbers: packets of ours that lie between its own.
        Shift: uint16
        /// The RTP timestamp of the last packet, and when it left.
        Timestamp: uint32
        At: Instant
        PayloadType: byte
        Translation: ExtensionTranslation
        Counts: SendCounts
        History: SentHistory.State
        /// The index of the next retransmission.
        NextRtx: uint64
        Repairs: RepairCounts
        /// What the peer's reports say.
        Remote: RemoteInboundStats voption
        /// The peer's last FIR, RFC 5104 §4.3.1.2; -1: none.
        FirSequence: int
    }

[<RequireQualifiedAccess>]
module internal SendStream =
    let private noCounts: SendCounts =
        { Packets = 0L
          Octets = 0L
          HeaderOctets = 0L
          Frames = 0L
          HugeFrames = 0L
          FrameOctets = 0L
          FramesOctets = 0L
          Delay = 0L<us> }

    /// Before its first packet. `firstRtx`: the first sequence number of retransmissions.
    let create (firstRtx: uint16) (terms: SendTerms) : SendStream =
        { Terms = terms
          Used = SrtpStream.fresh
          HasSent = false
          Shift = 0us
          Timestamp = 0u
          At = 0L<us>
          PayloadType = 255uy
          Translation = ExtensionTranslation(ExtensionMap.Empty, ExtensionMap.Empty)
          Counts = noCounts
          History = SentHistory.create ()
          NextRtx = uint64 firstRtx
          Repairs =
            { Packets = 0L
              Octets = 0L
              Nacks = 0L
              Plis = 0L
              Firs = 0L }
          Remote = ValueNone
          FirSequence = -1 }

    /// With new terms, the numbers going on where they are.
    let renegotiated (terms: SendTerms) (stream: SendStream) : SendStream = { stream with Terms = terms }

    /// A packet counted: a frame ends with a marker (video).
    let counted (packet: inref<RtpPacket>) (size: int) (kind: MediaKind) (c: SendCounts) : SendCounts =
        let octets = packet.Payload.Length + int packet.Padding
        let frame = c.FrameOctets + int64 octets
        let isEnd = kind = MediaKind.Video && packet.Marker

        { Packets = c.Packets + 1L
          Octets = c.Octets + int64 octets
          HeaderOctets = c.HeaderOctets + int64 (size - octets)
          Frames = (if isEnd then c.Frames + 1L else c.Frames)
          HugeFrames =
            (if isEnd && c.Frames > 0L && 2L * frame * c.Frames >= 5L * c.FramesOctets then
                 c.HugeFrames + 1L
             else
                 c.HugeFrames)
          FrameOctets = (if isEnd then 0L else frame)
          FramesOctets = (if isEnd then c.FramesOctets + frame else c.FramesOctets)
          Delay = c.Delay }

    /// What a sender report says at `now`, RFC 3550 §6.4.1: the RTP time that the present has.
    let info (now: Instant) (ntp: uint64) (stream: SendStream) : SenderInfo =
        let clock =
            if stream.PayloadType < 128uy then
                stream.Terms.ClockRates[int stream.PayloadType]
            else
                0

        { NtpTime = ntp
          RtpTime = stream.Timestamp + uint32 (int64 (now - stream.At) * int64 clock / 1_000_000L)
          PacketCount = uint32 stream.Counts.Packets
          OctetCount = uint32 stream.Counts.Octets }
