namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// A bound that the peer has set on one source of ours, RFC 5104 §4.2.1.
[<Struct; NoComparison; NoEquality>]
type internal SourceLimit =
    {
        /// Ours.
        Source: uint32
        /// The peer's that set it.
        Owner: uint32
        /// Bits a second, headers of lower layers among them.
        MaxBitrate: uint64
        /// Octets of those headers, a packet.
        Overhead: int
    }

/// What the peer wants no more than.
[<NoComparison; NoEquality>]
type internal ReceiverLimits =
    {
        /// REMB's, for all, bits a second; `UInt64.MaxValue`: none.
        Remb: uint64
        Sources: SourceLimit[]
    }

/// The bounds that the peer sets on what we send: REMB (draft-alvestrand-rmcat-remb-03) on all, TMMBR (RFC 5104 §3.5.4) on one
/// source.
[<RequireQualifiedAccess>]
module internal MediaLimits =
    /// Bounds that are kept: a peer has few sources that could set some.
    [<Literal>]
    let private MaxLimits = 64

    let none: ReceiverLimits =
        { Remb = UInt64.MaxValue
          Sources = Array.Empty() }

    /// With what an owner asks for, in place of what it asked for before. Of sources that are not ours nothing is kept.
    let requested
        (owner: uint32)
        (entries: TmmbEntry[])
        (senders: SendStream[])
        (limits: ReceiverLimits)
        : ReceiverLimits =
        let mutable sources = limits.Sources

        for entry in entries do
            if senders |> Array.exists (fun stream -> stream.Terms.Ssrc = entry.Ssrc) then
                let others =
                    sources
                    |> Array.filter (fun limit -> limit.Source <> entry.Ssrc || limit.Owner <> owner)

                if others.Length < MaxLimits then
                    sources <-
                        Array.append
                            others
                            [| { Source = entry.Ssrc
                                 Owner = owner
                                 MaxBitrate = entry.MaxBitrate
                                 Overhead = entry.Overhead } |]

        { limits with Sources = sources }

    /// Without those of owners that have said goodbye, RFC 5104 §3.5.4.1.
    let left (owners: uint32[]) (limits: ReceiverLimits) : ReceiverLimits =
        if limits.Sources |> Array.exists (fun limit -> Array.contains limit.Owner owners) then
            { limits with
                Sources =
                    limits.Sources
                    |> Array.filter (fun limit -> not (Array.contains limit.Owner owners)) }
        else
            limits

    /// The least of a source's bounds; ValueNone: it has none.
    let private ofSource (source: uint32) (limits: ReceiverLimits) : SourceLimit voption =
        let mutable least = ValueNone

        for limit in limits.Sources do
            if limit.Source = source then
                match least with
                | ValueSome found when found.MaxBitrate <= limit.MaxBitrate -> ()
                | _ -> least <- ValueSome limit

        least

    /// What TMMBN says of a source: whose request bounds it, RFC 5104 §4.2.2.
    let notification (source: uint32) (limits: ReceiverLimits) : Rtcp =
        Tmmbn(
            source,
            match ofSource source limits with
            | ValueSome limit ->
                [| { Ssrc = limit.Owner
                     MaxBitrate = limit.MaxBitrate
                     Overhead = limit.Overhead } |]
            | ValueNone -> [||]
        )

    /// The bound of a stream's RTP, in bits a second: without the headers below it, which have a share by the size of its
    /// packets. Infinite: none.
    let ofStream (stream: SendStream) (limits: ReceiverLimits) : float =
        match ofSource stream.Terms.Ssrc limits with
        | ValueNone -> infinity
        | ValueSome limit ->
            let counts = stream.Counts

            let size =
                if counts.Packets = 0L then
                    1_000.0
                else
                    float (counts.Octets + counts.HeaderOctets) / float counts.Packets

            float limit.MaxBitrate * size / (size + float limit.Overhead)

    /// The bound of all that is sent, bits a second: REMB's, or the sum of the sources' where each that is sent has one. Sound
    /// without one beside bounded pictures is not what fills a path, and is left out. Infinite: none.
    let total (senders: SendStream[]) (limits: ReceiverLimits) : float =
        let remb =
            if limits.Remb = UInt64.MaxValue then
                infinity
            else
                float limits.Remb

        if limits.Sources.Length = 0 then
            remb
        else
            let mutable sum = 0.0
            let mutable bounded = 0

            for stream in senders do
                if stream.Terms.IsOpen then
                    let bound = ofStream stream limits

                    if not (Double.IsInfinity bound) then
                        bounded <- bounded + 1
                        sum <- sum + bound
                    elif stream.Terms.Kind = MediaKind.Video then
                        sum <- infinity

            if bounded = 0 then remb else min remb sum
