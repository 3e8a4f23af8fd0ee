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
        Discarded: int64
        /// By marker (video).
        Frames: int64
    }

/// What was asked of the source, and what came of it.
[<NoComparison; NoEquality>]
type internal AskedCounts =
    { Nacks: int64
      Plis: int64
      Firs: int64
      RtxPackets: int64
      RtxOctets: int64
      FecPackets: int64
      FecOctets: int64
      FecDiscarded: int64 }

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
    }

[<RequireQualifiedAccess>]
module internal ReceiveStream =
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
              Discarded = 0L
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
              FecPackets = 0L
              FecOctets = 0L
              FecDiscarded = 0L }
          FirSequence = 0uy
          KeyFrameAskedAt = -1_000_000_000L<us>
          Remote = ValueNone }

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
