namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// What was received, for statistics.
[<Struct; NoComparison; NoEquality>]
type internal ReceiveCounts =
    {
        Packets: int64
        /// Payload, without padding.
        Octets: int64
        HeaderOctets: int64
        /// By marker (video).
        Frames: int64
    }

/// How a packet came.
type internal Arrival =
    /// In a datagram of its own.
    | Itself = 0
    /// Sent again, RFC 4588.
    | Again = 1
    /// Brought back by FEC.
    | Restored = 2

/// What was asked of the source, and what came of it.
[<NoComparison; NoEquality>]
type internal AskedCounts =
    {
        Nacks: int64
        Plis: int64
        Firs: int64
        RtxPackets: int64
        RtxOctets: int64
        /// Packets that FEC brought back of those that had come.
        FecVain: int64
    }

/// A key frame that has begun to come while packets before it are missing.
[<Struct; NoComparison>]
type internal KeyFrameBegun =
    {
        /// The number of its first packet; -1: there is none.
        From: int64
        Timestamp: uint32
        /// That of its last; -1: it has not come.
        UpTo: int64
    }

/// What few streams have need of, and others share one value of.
[<NoComparison; NoEquality>]
type internal ReceiveParts =
    {
        /// What telephone events say, RFC 4733.
        Tones: DtmfReceiver.State
        /// Of the last telephone event's payload type, Hz.
        ToneClock: int
        /// What RED repeats of sound, RFC 2198.
        Red: RedReceiver.State
        /// Of FlexFEC; ValueNone until the first FEC packet that is about the stream.
        Fec: FlexFecReceiver.State voption
        /// The highest number that had come when `Fec` began.
        FecFrom: int64
        /// What was sent again or brought back, the last numbers last, and the highest of them: one that comes by itself after all
        /// is not delivered twice.
        Repaired: int64[]
        RepairedUpTo: int64
        KeyFrame: KeyFrameBegun
        /// When packets may be made frames of; ValueNone until an application asks for it. It holds no payloads.
        Jitter: JitterBuffer.State voption
    }

/// One SSRC that the peer sends.
[<NoComparison; NoEquality>]
type internal ReceiveStream =
    {
        Ssrc: uint32
        /// Media, Retransmission or FlexFec: what its first packet was.
        Kind: PayloadKind
        Transceiver: TransceiverId
        /// Of the encoding; of the repaired one, where it repeats.
        Rid: string
        Srtp: SrtpStream
        Reception: Reception
        Nack: NackGenerator.State
        Counts: ReceiveCounts
        /// Of the last packet.
        PayloadType: byte
        At: Instant
        /// RFC 6464; 255: none.
        AudioLevel: byte
        Asked: AskedCounts
        FirSequence: byte
        /// When a key frame was last asked for.
        KeyFrameAskedAt: Instant
        Remote: RemoteOutboundStats voption
        Parts: ReceiveParts
    }

[<RequireQualifiedAccess>]
module internal ReceiveStream =
    let private noParts: ReceiveParts =
        { Tones = DtmfReceiver.create ()
          ToneClock = 0
          Red = RedReceiver.create ()
          Fec = ValueNone
          FecFrom = 0L
          Repaired = Array.Empty()
          RepairedUpTo = -1L
          KeyFrame =
            { From = -1L
              Timestamp = 0u
              UpTo = -1L }
          Jitter = ValueNone }

    /// Numbers that are remembered of those that came by repair.
    [<Literal>]
    let private MaxRepaired = 128

    let create (ssrc: uint32) (kind: PayloadKind) (transceiver: TransceiverId) (rid: string) : ReceiveStream =
        { Ssrc = ssrc
          Kind = kind
          Transceiver = transceiver
          Rid = rid
          Srtp = SrtpStream.fresh
          Reception = Reception.create ()
          Nack = NackGenerator.create ()
          Counts =
            { Packets = 0L
              Octets = 0L
              HeaderOctets = 0L
              Frames = 0L }
          PayloadType = 255uy
          At = 0L<us>
          AudioLevel = 255uy
          Asked =
            { Nacks = 0L
              Plis = 0L
              Firs = 0L
              RtxPackets = 0L
              RtxOctets = 0L
              FecVain = 0L }
          FirSequence = 0uy
          KeyFrameAskedAt = -1_000_000_000L<us>
          Remote = ValueNone
          Parts = noParts }

    /// Whether a packet came by repair, of late.
    let wasRepaired (sequence: int64) (parts: ReceiveParts) : bool =
        sequence <= parts.RepairedUpTo && Array.IndexOf(parts.Repaired, sequence) >= 0

    let repaired (sequence: int64) (parts: ReceiveParts) : ReceiveParts =
        let known = parts.Repaired
        let kept = min known.Length (MaxRepaired - 1)
        let next: int64[] = Array.zeroCreate (kept + 1)
        Array.Copy(known, known.Length - kept, next, 0, kept)
        next[kept] <- sequence

        { parts with
            Repaired = next
            RepairedUpTo = max parts.RepairedUpTo sequence }

    /// FEC packets and payload octets that came, whether beside the stream (FlexFEC) or within it (RED), and how many of them brought
    /// nothing back.
    let fec (stream: ReceiveStream) : struct (int64 * int64 * int64) =
        let red = stream.Parts.Red

        match stream.Parts.Fec with
        | ValueSome state ->
            let counters = state.Counters

            struct (counters.Received + red.Repeated,
                    counters.Octets + red.RepeatedOctets,
                    counters.Discarded + stream.Asked.FecVain + red.Repeated - red.Recovered)
        | ValueNone -> struct (red.Repeated, red.RepeatedOctets, red.Repeated - red.Recovered)

    /// When it has something to ask for, or to tell.
    let deadline (stream: ReceiveStream) : Instant =
        let due =
            Instant.min (NackGenerator.deadline stream.Nack) (DtmfReceiver.deadline stream.Parts.Tones)

        match stream.Parts.Jitter with
        | ValueSome jitter -> Instant.min due (JitterBuffer.deadline jitter)
        | ValueNone -> due

/// Streams by their SSRC: ascending, so that one is found in a logarithm.
[<RequireQualifiedAccess>]
module internal ReceiveStreams =
    /// The place of an SSRC, or what place it would have, with all bits turned.
    let find (ssrc: uint32) (streams: ReceiveStream[]) : int =
        let mutable low = 0
        let mutable high = streams.Length

        while low < high do
            let middle = (low + high) / 2

            if streams[middle].Ssrc < ssrc then
                low <- middle + 1
            else
                high <- middle

        if low < streams.Length && streams[low].Ssrc = ssrc then
            low
        else
            ~~~low

    let replace (at: int) (stream: ReceiveStream) (streams: ReceiveStream[]) : ReceiveStream[] =
        let next = Array.copy streams
        next[at] <- stream
        next
