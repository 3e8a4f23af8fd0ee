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
        /// Of FlexFEC; 0: none is sent.
        FecSsrc: uint32
        FecType: byte
        FecOwn: SenderExtensions
        /// RED, RFC 2198, where the peer prefers it to all other codecs; 255: not sent.
        RedType: byte
        /// What RED carries.
        RedCarries: int[]
        /// Lost packets may be asked for.
        IsAskedAgain: bool
        /// Of the section.
        Extensions: ExtensionMap
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
      HeaderOctets: int64
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
        /// Added to the application's sequence numbers: packets of ours that lie between its own, less those of its own that
        /// were not sent.
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
        /// null: never negotiated.
        Fec: FecStream | null
        /// null: not sent.
        Red: RedSender.State | null
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

    let private fec (terms: SendTerms) (former: FecStream | null) : FecStream | null =
        match former with
        | null when terms.FecSsrc = 0u -> null
        | null -> FecStream.create terms.FecType terms.FecSsrc terms.FecOwn
        | former when terms.FecSsrc = 0u -> FecStream.closed former
        | former -> FecStream.opened terms.FecType terms.FecOwn former

    /// Packets before it that each packet of RED repeats: Chromium's.
    [<Literal>]
    let private RedDistance = 1

    let private red (terms: SendTerms) (former: RedSender.State | null) : RedSender.State | null =
        match former with
        | _ when terms.RedType = 255uy -> null
        | null -> RedSender.create terms.RedType RedDistance
        | former ->
            { former with
                PayloadType = terms.RedType }

    /// Before its first packet. `firstRtx`: the first sequence number of retransmissions.
    let create (firstRtx: uint16) (terms: SendTerms) : SendStream =
        { Terms = terms
          Used = SrtpStream.fresh
          HasSent = false
          Shift = 0us
          Timestamp = 0u
          At = 0L<us>
          PayloadType = 255uy
          Translation = ExtensionTranslation(ExtensionMap.Empty, terms.Extensions)
          Counts = noCounts
          History = SentHistory.create ()
          NextRtx = uint64 firstRtx
          Repairs =
            { Packets = 0L
              Octets = 0L
              HeaderOctets = 0L
              Nacks = 0L
              Plis = 0L
              Firs = 0L }
          Fec = fec terms null
          Red = red terms null
          Remote = ValueNone
          FirSequence = -1 }

    /// With new terms, the numbers going on where they are.
    let renegotiated (terms: SendTerms) (stream: SendStream) : SendStream =
        // What is sent again under its number has to be the same octets, or the encryption breaks.
        let isSameOnWire =
            terms.Cryptex = stream.Terms.Cryptex
            && terms.Extensions.Entries.Length = stream.Terms.Extensions.Entries.Length
            && (terms.Extensions.Entries, stream.Terms.Extensions.Entries)
               ||> Array.forall2 (fun a b -> a.Key = b.Key && a.Value = b.Value)

        { stream with
            Terms = terms
            History =
                (if isSameOnWire then
                     stream.History
                 else
                     SentHistory.create ())
            Fec = fec terms stream.Fec
            Red = red terms stream.Red
            Translation = ExtensionTranslation(stream.Translation.From, terms.Extensions) }

    /// Packets of the application's that are not sent: those behind them take their numbers.
    let passedOver (count: int) (stream: SendStream) : SendStream =
        if stream.HasSent then
            { stream with
                Shift = stream.Shift - uint16 count }
        else
            stream

    /// Not sent for now: its numbers, and what they were used for, stay.
    let resting (stream: SendStream) : SendStream =
        { stream with
            Terms = { stream.Terms with IsOpen = false } }

    /// Its SSRCs.
    let sources (stream: SendStream) : uint32[] =
        [| stream.Terms.Ssrc
           if stream.Terms.RtxSsrc <> 0u then
               stream.Terms.RtxSsrc
           match stream.Fec with
           | null -> ()
           | fec -> fec.Machine.Ssrc |]

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
