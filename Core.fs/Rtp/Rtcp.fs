namespace Hybrid.WebRtc.Rtp

open System

/// A report block, RFC 3550 §6.4.1.
[<Struct; NoComparison>]
type ReceptionReport =
    {
        Ssrc: uint32
        /// In 256ths, of the packets since the last report.
        FractionLost: byte
        /// 24 bits, signed: duplicates count against losses.
        CumulativeLost: int
        /// Cycles in the upper 16 bits.
        HighestSequence: uint32
        /// In units of the clock rate.
        Jitter: uint32
        /// The middle 32 bits of the NTP time of the last sender report; 0: none.
        LastSenderReport: uint32
        /// In 65,536ths of a second.
        DelaySinceLastSenderReport: uint32
    }

/// What a sender says of itself, RFC 3550 §6.4.1.
[<Struct; NoComparison>]
type SenderInfo =
    {
        /// NTP, seconds since 1900 in the upper 32 bits.
        NtpTime: uint64
        RtpTime: uint32
        PacketCount: uint32
        OctetCount: uint32
    }

/// An item of a source description, RFC 3550 §6.5. `Type` 1 is CNAME.
[<Struct; NoComparison>]
type SdesItem = { Type: byte; Text: string }

/// A source and its description, RFC 3550 §6.5.
[<NoComparison>]
type SdesChunk = { Source: uint32; Items: SdesItem[] }

/// A lost packet and, bit by bit, which of the 16 behind it are lost too, RFC 4585 §6.2.1.
[<Struct; NoComparison>]
type NackPair = { PacketId: uint16; Bitmask: uint16 }

/// A packet as transport-wide feedback reports it.
[<Struct; NoComparison>]
type PacketArrival =
    {
        /// Not received: `Delta` means nothing.
        Received: bool
        /// Since the packet received before it, or the reference time, in units of 250 µs.
        Delta: int16
    }

/// Transport-wide congestion control feedback, draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
[<NoComparison>]
type TransportFeedback =
    {
        Sender: uint32
        Media: uint32
        BaseSequence: uint16
        /// 24 bits, signed, in units of 64 ms.
        ReferenceTime: int
        FeedbackCount: byte
        Packets: PacketArrival[]
    }

/// A packet as RFC 8888 §3.1 reports it.
[<Struct; NoComparison>]
type CcfbArrival =
    {
        Received: bool
        /// RFC 3168: 0 not-ECT, 1 ECT(1), 2 ECT(0), 3 CE.
        Ecn: byte
        /// Before the report's timestamp, in 1,024ths of a second; 0x1FFF: not known, 0x1FFE: longer than can be said.
        ArrivalOffset: uint16
    }

/// What RFC 8888 reports of one source.
[<NoComparison>]
type CcfbStream =
    { Ssrc: uint32
      BeginSequence: uint16
      Packets: CcfbArrival[] }

/// A request for an intra picture, RFC 5104 §4.3.1.
[<Struct; NoComparison>]
type FirEntry = { Ssrc: uint32; Sequence: byte }

/// A bitrate of TMMBR and TMMBN, RFC 5104 §4.2.
[<Struct; NoComparison>]
type TmmbEntry =
    {
        Ssrc: uint32
        /// Bits a second.
        MaxBitrate: uint64
        /// Octets a packet, from the measured layer down.
        Overhead: int
    }

/// What XR says of one source's run of packets, RFC 3611 §4.1 and §4.2: chunks as they are.
[<NoComparison>]
type XrRle =
    {
        Ssrc: uint32
        /// 0 to 15.
        Thinning: byte
        Begin: uint16
        End: uint16
        Chunks: uint16[]
    }

/// A receiver's reference times, RFC 3611 §4.5.
[<Struct; NoComparison>]
type DlrrEntry =
    { Ssrc: uint32
      LastReceiverReport: uint32
      DelaySinceLastReceiverReport: uint32 }

/// Statistics summary, RFC 3611 §4.6.
[<NoComparison>]
type XrSummary =
    {
        Ssrc: uint32
        /// L, D, J and ToH as they are in the block's type-specific octet.
        Flags: byte
        Begin: uint16
        End: uint16
        LostPackets: uint32
        DuplicatePackets: uint32
        MinJitter: uint32
        MaxJitter: uint32
        MeanJitter: uint32
        DeviationJitter: uint32
        MinTtl: byte
        MaxTtl: byte
        MeanTtl: byte
        DeviationTtl: byte
    }

/// A block of an extended report, RFC 3611 §4.
[<NoComparison>]
type XrBlock =
    | LossRle of XrRle
    | DuplicateRle of XrRle
    /// One arrival time a packet, RFC 3611 §4.3.
    | ReceiptTimes of Ssrc: uint32 * Thinning: byte * Begin: uint16 * End: uint16 * Times: uint32[]
    /// NTP, RFC 3611 §4.4.
    | ReceiverReferenceTime of NtpTime: uint64
    | Dlrr of DlrrEntry[]
    | Summary of XrSummary
    /// Its 32 octets behind the block's head, RFC 3611 §4.7.
    | VoipMetrics of Metrics: ReadOnlyMemory<byte>
    | OtherBlock of Type: byte * TypeSpecific: byte * Content: ReadOnlyMemory<byte>

/// An RTCP packet, RFC 3550 §6, RFC 4585, 5104, 3611, 8888. The application receives and sends these values.
[<NoComparison>]
type Rtcp =
    /// RFC 3550 §6.4.1. `Reports`: 31 at most.
    | SenderReport of Ssrc: uint32 * Info: SenderInfo * Reports: ReceptionReport[]
    /// RFC 3550 §6.4.2. `Reports`: 31 at most.
    | ReceiverReport of Ssrc: uint32 * Reports: ReceptionReport[]
    /// RFC 3550 §6.5.
    | SourceDescription of Chunks: SdesChunk[]
    /// RFC 3550 §6.6.
    | Goodbye of Sources: uint32[] * Reason: string
    /// RFC 3550 §6.7. `Name` is four ASCII characters, `Data` a multiple of four octets.
    | ApplicationDefined of Subtype: byte * Ssrc: uint32 * Name: string * Data: ReadOnlyMemory<byte>
    /// Generic NACK, RFC 4585 §6.2.1.
    | Nack of Sender: uint32 * Media: uint32 * Lost: NackPair[]
    /// RFC 6051 §3.2.
    | RapidResynchronization of Sender: uint32 * Media: uint32
    | TransportCc of TransportFeedback
    /// RFC 8888 §3.1. `Timestamp`: the middle 32 bits of the NTP time.
    | CongestionFeedback of Sender: uint32 * Streams: CcfbStream[] * Timestamp: uint32
    /// RFC 5104 §4.2.1.
    | Tmmbr of Sender: uint32 * Entries: TmmbEntry[]
    /// RFC 5104 §4.2.2.
    | Tmmbn of Sender: uint32 * Entries: TmmbEntry[]
    /// RFC 4585 §6.3.1.
    | PictureLossIndication of Sender: uint32 * Media: uint32
    /// RFC 4585 §6.3.2: (first macroblock, number, picture id) packed as on the wire.
    | SliceLossIndication of Sender: uint32 * Media: uint32 * Slices: uint32[]
    /// RFC 4585 §6.3.3: the bits as they are, padding included.
    | ReferencePictureSelection of Sender: uint32 * Media: uint32 * Indication: ReadOnlyMemory<byte>
    /// RFC 5104 §4.3.1.
    | FullIntraRequest of Sender: uint32 * Entries: FirEntry[]
    /// draft-alvestrand-rmcat-remb-03. `Bitrate` in bits a second.
    | ReceiverEstimatedMaxBitrate of Sender: uint32 * Bitrate: uint64 * Ssrcs: uint32[]
    /// RFC 3611.
    | ExtendedReport of Ssrc: uint32 * Blocks: XrBlock[]
    /// A type or format that is not known: `Count` is the five bits behind V and P, `Content` what follows the first four octets.
    | OtherRtcp of PayloadType: byte * Count: byte * Content: ReadOnlyMemory<byte>
