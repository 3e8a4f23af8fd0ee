namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// RTCP as it leaves: written, not sealed yet.
[<NoComparison; NoEquality>]
type internal SealedRtcp =
    {
        Seal: SrtpSeal
        Plain: byte[]
        /// RFC 3711 §3.4.
        Index: uint32
    }

    member packet.Size = packet.Plain.Length + packet.Seal.RtcpOverhead

    member packet.Write(into: Span<byte>) : int =
        packet.Plain.AsSpan().CopyTo into
        packet.Seal.SealRtcp(into, packet.Plain.Length, packet.Index)

/// A packet that waits in the pacer.
[<Struct; NoComparison; NoEquality>]
type internal Paced =
    {
        /// The place of its stream among the senders.
        Sender: int
        /// Of what left or leaves together; the packet's place in it.
        Packets: ReadOnlyMemory<RtpPacket>
        Place: int
        Mapping: RtpMapping
        /// Sent before, and asked for: where it is; null: not sent before.
        Again: SentBurst | null
        /// Of the sender's FEC.
        IsFec: bool
        Since: Instant
    }

/// What the keys of one handshake made.
[<NoComparison; NoEquality>]
type internal MediaKeys = { Seal: SrtpSeal; Open: SrtpOpen }

/// What a handshake gave, from which keys are made.
[<NoComparison; NoEquality>]
type internal MediaSecrets =
    { Profile: SrtpProfile
      Keys: SrtpKeys
      Role: DtlsRole }

/// What media is made with.
[<NoComparison; NoEquality>]
type internal MediaConfig =
    {
        Ciphers: ICiphers
        Estimate: GccConfig
        /// The NTP time of instant zero, RFC 3550 §4.
        NtpOffset: uint64
    }

/// What all streams share: the path.
[<NoComparison; NoEquality>]
type internal MediaPath =
    {
        SendTimes: TransportSendTimes.State
        StreamTimes: StreamSendTimes.State
        Recorder: TransportCcRecorder.State
        Ccfb: CcfbRecorder.State
        Gcc: Gcc.State
        /// Something was sent that feedback will tell of.
        HasBegun: bool
        Pacer: MediaPacer.State<Paced>
        RoundTrip: Duration
        /// Octets that a relay has around each packet. They count for the estimate and the pacer, as the path carries them.
        Overhead: int
    }

/// Which feedback was agreed on, and who speaks.
[<NoComparison; NoEquality>]
type internal MediaTerms =
    {
        Sections: MediaSection[]
        Cname: string
        /// The extension of transport-wide sequence numbers, and `transport-cc` feedback.
        TransportCc: bool
        /// RFC 8888, in its place.
        Ccfb: bool
        /// RTCRtpReceiver.jitterBufferTarget where one was set, negotiated yet or not.
        Holds: struct (TransceiverId * Duration)[]
    }

/// Of RTCP: what does not change with media packets.
[<NoComparison; NoEquality>]
type internal ControlState =
    {
        /// Whose receiver reports ours are while we send nothing.
        Ssrc: uint32
        NextIndex: uint32
        /// Steps that NACKs of the present datagram may still cost.
        NackWork: int
        ReportAt: Instant
        Entropy: Entropy
        /// What came, by SSRC.
        Streams: struct (uint32 * SrtpStream)[]
        CcfbSent: int64
        CcfbReceived: int64
        /// The last receiver reference times of the peer's that were not answered yet, RFC 3611 §4.4: whose, middle of NTP, when.
        References: struct (uint32 * uint32 * Instant)[]
        Limits: ReceiverLimits
    }

/// All media of a connection.
[<NoComparison; NoEquality>]
type internal MediaState =
    {
        Config: MediaConfig
        Secrets: MediaSecrets voption
        /// Made once there is media to protect: a connection that carries data only has none.
        Keys: MediaKeys voption
        Terms: MediaTerms
        Senders: SendStream[]
        Receivers: ReceiveStream[]
        Path: MediaPath
        /// Of transceivers whose sender was given some.
        Tones: struct (TransceiverId * DtmfSender.State)[]
        Control: ControlState
    }

[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal MediaOutput =
    | TransmitRun of RtpRun
    | TransmitRtcp of SealedRtcp
    /// Lent.
    | Deliver of Transceiver: TransceiverId * Rid: string * Packet: RtpPacket
    /// Whether packets wait for `Due` before frames are made of them.
    | Held of Transceiver: TransceiverId * IsHeld: bool
    /// Packets of a source up to a number may be made frames of: what is missing below it does not come.
    | Due of Transceiver: TransceiverId * Ssrc: uint32 * UpTo: uint16
    | Unmuted of TransceiverId
    | Found of Transceiver: TransceiverId * Ssrc: uint32 * Rid: string
    | Heard of Rtcp[]
    | KeyFrameWanted of Transceiver: TransceiverId * Encoding: int
    /// Packets of a source are lost for good: only a key frame helps.
    | Unrepaired of Ssrc: uint32
    /// Of the peer's: ValueNone, it begins.
    | ToneHeard of Transceiver: TransceiverId * Tone: char * Duration: Duration voption
    | Toned of Transceiver: TransceiverId * Tone: string * Buffer: string
    | Estimated of BitsPerSecond: int64
    /// Octets around each packet on its way.
    | Wrapped of Overhead: int
    | Dropped of Layer * Drop

[<RequireQualifiedAccess>]
module internal MediaState =
    /// SSRCs of the peer's that are followed.
    [<Literal>]
    let MaxStreams = 512

    let create (config: MediaConfig) (entropy: Entropy) : MediaState =
        let struct (ssrc, entropy) = Entropy.uint32 entropy
        let struct (first, entropy) = Entropy.uint32 entropy

        { Config = config
          Secrets = ValueNone
          Keys = ValueNone
          Terms =
            { Sections = Array.Empty()
              Cname = ""
              TransportCc = false
              Ccfb = false
              Holds = Array.Empty() }
          Senders = Array.Empty()
          Receivers = Array.Empty()
          Path =
            { SendTimes = TransportSendTimes.create (uint16 first)
              StreamTimes = StreamSendTimes.create ()
              Recorder = TransportCcRecorder.create ()
              Ccfb = CcfbRecorder.create ()
              Gcc = Gcc.create config.Estimate
              HasBegun = false
              Pacer = MediaPacer.create ()
              RoundTrip = Duration.milliseconds 100L
              Overhead = 0 }
          Tones = Array.Empty()
          Control =
            { Ssrc = ssrc
              NextIndex = 1u
              NackWork = 0
              ReportAt = Instant.never
              Entropy = entropy
              Streams = Array.Empty()
              CcfbSent = 0L
              CcfbReceived = 0L
              References = Array.Empty()
              Limits = MediaLimits.none } }

    let ntp (now: Instant) (s: MediaState) : uint64 = Ntp.ofInstant s.Config.NtpOffset now

    /// The part of the estimate that is left for media: the rest is FEC's, of the source that has most of it, and what a relay has
    /// around packets, which are taken for full ones.
    let mediaShare (s: MediaState) : float =
        let mutable fec = 1.0

        for stream in s.Senders do
            fec <- min fec (FecStream.share stream.Fec)

        fec * 1200.0 / float (1200 + s.Path.Overhead)

    /// The section of a transceiver.
    let section (transceiver: TransceiverId) (s: MediaState) : MediaSection voption =
        // Once a packet: a loop allocates nothing.
        let sections = s.Terms.Sections
        let mutable at = 0

        while at < sections.Length && sections[at].Plan.Transceiver <> transceiver do
            at <- at + 1

        if at < sections.Length then
            ValueSome sections[at]
        else
            ValueNone

    let withSender (at: int) (stream: SendStream) (s: MediaState) : MediaState =
        let senders = Array.copy s.Senders
        senders[at] <- stream
        { s with Senders = senders }

    let withReceiver (at: int) (stream: ReceiveStream) (s: MediaState) : MediaState =
        { s with
            Receivers = ReceiveStreams.replace at stream s.Receivers }

    /// With other parts of a stream that is received.
    let withParts (at: int) (parts: ReceiveParts) (s: MediaState) : MediaState =
        withReceiver at { s.Receivers[at] with Parts = parts } s
