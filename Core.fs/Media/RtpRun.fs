namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.Core.Turn

/// What a run of packets has in common.
[<NoComparison; NoEquality>]
type internal RtpRunHead =
    {
        Seal: SrtpSeal
        /// Whether CSRCs and header extensions are encrypted, too, RFC 9335.
        Cryptex: bool
        Mapping: RtpMapping
        /// What all packets have alike: numbers and payload type are set packet by packet.
        Rewrite: RtpRewrite
        /// The SRTP index of the first packet; the others lie near it.
        First: uint64
        /// A retransmission, RFC 4588: a run of one, of which `Rewrite` says all.
        IsRetransmission: bool
    }

/// Packets of one source as the core describes them: each is written and sealed by `Write` straight into the shell's buffer.
/// They go to one place, one behind the other, so that they may leave as one send.
[<Sealed>]
type RtpRun internal (head: RtpRunHead, packets: ReadOnlyMemory<RtpPacket>, octets: int, relay: RelayHeader voption) =

    let rewriteOf (packet: inref<RtpPacket>) (i: int) : RtpRewrite =
        if head.IsRetransmission then
            head.Rewrite
        else
            { head.Rewrite with
                SequenceNumber = packet.SequenceNumber + head.Mapping.SequenceOffset
                PayloadType = RtpMappings.payloadType packet.PayloadType head.Mapping
                TransportSequence = head.Rewrite.TransportSequence + uint16 i }

    internal new(head, packets, octets) = RtpRun(head, packets, octets, ValueNone)

    /// Octets that sealing adds to a packet: an extension block of nothing, too, where Cryptex has CSRCs to hide.
    static member internal Overhead(seal: SrtpSeal, cryptex: bool, packet: inref<RtpPacket>) : int =
        seal.RtpOverhead + (if cryptex && packet.Csrcs.Length > 0 then 4 else 0)

    /// The sum of all `Size`s.
    member internal _.Octets = octets

    /// Packets in the run, at least one.
    member _.Count = packets.Length

    /// The same, which a TURN server is to pass on, the first of them in `header`.
    member internal _.Via(header: RelayHeader) : RtpRun =
        RtpRun(head, packets, octets, ValueSome header)

    /// Octets that `Write` fills at most.
    member _.Size(i: int) : int =
        let packet = &packets.Span[i]
        let rewrite = rewriteOf &packet i

        let size =
            RtpWriter.size &packet &rewrite
            + RtpRun.Overhead(head.Seal, head.Cryptex, &packet)

        match relay with
        | ValueSome header -> header.Size size
        | ValueNone -> size

    member private _.Seal(i: int, into: Span<byte>) : int =
        let packet = &packets.Span[i]
        let rewrite = rewriteOf &packet i
        let length = RtpWriter.write &packet &rewrite into

        match RtpHeader.readSealed (Span.op_Implicit (into.Slice(0, length))) with
        | ValueSome header ->
            let index =
                if head.IsRetransmission then
                    head.First
                else
                    head.First + uint64 (int64 (int16 (rewrite.SequenceNumber - uint16 head.First)))

            head.Seal.SealRtp(into, length, header.PayloadOffset, index, head.Cryptex)
        | ValueNone -> 0

    /// Encodes and seals a packet into lent memory of at least `Size` octets; answers the octets written, none where the keys are
    /// spent (RFC 3711 §9.2).
    member run.Write(i: int, into: Span<byte>) : int =
        match relay with
        | ValueNone -> run.Seal(i, into)
        | ValueSome first ->
            let header = first.After i

            match run.Seal(i, into.Slice header.Offset) with
            | 0 -> 0
            | written -> header.Write(into, written)
