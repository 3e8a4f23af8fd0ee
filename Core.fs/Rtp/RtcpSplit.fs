namespace Hybrid.WebRtc.Rtp

open System

/// Making several packets of one whose lists are too long.
[<RequireQualifiedAccess>]
module RtcpSplit =
    /// Runs of at most `room` items, one run at least.
    let private runs (room: int) (items: 'item[]) : 'item[][] =
        if items.Length <= room then
            [| items |]
        else
            Array.chunkBySize (max 1 room) items

    /// Runs of as many items as `fitting from` says, one item at least.
    let private runsFitting (fitting: int -> int) (items: 'item[]) : 'item[][] =
        let made = ResizeArray<'item[]>()
        let mutable from = 0

        while from < items.Length do
            let count = max 1 (fitting from)
            made.Add(Array.sub items from count)
            from <- from + count

        if made.Count = 0 then [| items |] else made.ToArray()

    /// A source's packets in runs of at most `room`, RFC 8888 §3.1.
    let private streamRuns (room: int) (stream: CcfbStream) : CcfbStream[] =
        runs room stream.Packets
        |> Array.mapi (fun i packets ->
            { stream with
                BeginSequence = stream.BeginSequence + uint16 (i * room)
                Packets = packets })

    /// <summary>Packets that say the same in at most so many octets each, and within the bounds of their count fields: what
    /// <c>RtcpCodec.write</c> writes of each is all of it. A packet that fits is answered as it is; one whose single item
    /// is longer is left so, and so are transport-wide feedback, REMB, APP and unknown types, which have nothing to be split by.</summary>
    [<CompiledName "Split">]
    let split (limit: int) (packet: Rtcp) : Rtcp[] =
        let limit = max 64 (min RtcpLimits.MaxSize limit)
        let counted (fixedSize: int) (itemSize: int) = (limit - fixedSize) / itemSize

        let reports (fixedSize: int) =
            min RtcpLimits.MaxCount (counted fixedSize RtcpReports.ReportSize)

        match packet with
        | SenderReport(ssrc, info, blocks) ->
            let first = reports (8 + RtcpReports.SenderInfoSize)

            if blocks.Length <= first then
                [| packet |]
            else
                // The others' reports follow as receiver reports, RFC 3550 §6.1.
                Array.append
                    [| SenderReport(ssrc, info, Array.sub blocks 0 first) |]
                    (runs (reports 8) (Array.skip first blocks)
                     |> Array.map (fun more -> ReceiverReport(ssrc, more)))
        | ReceiverReport(ssrc, blocks) -> runs (reports 8) blocks |> Array.map (fun some -> ReceiverReport(ssrc, some))
        | SourceDescription chunks ->
            runsFitting (fun from -> RtcpReports.chunksFitting limit from chunks) chunks
            |> Array.map SourceDescription
        | Goodbye(sources, reason) ->
            let room =
                min RtcpLimits.MaxCount (counted (RtcpLimits.Head + RtcpReports.reasonSize reason) 4)

            runs (max 1 room) sources |> Array.map (fun some -> Goodbye(some, reason))
        | Nack(sender, media, lost) ->
            runs (counted RtcpFeedback.Head 4) lost
            |> Array.map (fun some -> Nack(sender, media, some))
        | CongestionFeedback(sender, streams, timestamp) ->
            // An even number a run, so that only the last is padded.
            let room =
                min RtcpFeedback.MaxArrivals (counted (RtcpFeedback.Head + RtcpFeedback.StreamHead) 4 * 2)

            let pieces = streams |> Array.collect (streamRuns room)

            runsFitting (fun from -> RtcpFeedback.streamsFitting limit from pieces) pieces
            |> Array.map (fun some -> CongestionFeedback(sender, some, timestamp))
        | Tmmbr(sender, entries) ->
            runs (counted RtcpFeedback.Head 8) entries
            |> Array.map (fun some -> Tmmbr(sender, some))
        | Tmmbn(sender, entries) ->
            runs (counted RtcpFeedback.Head 8) entries
            |> Array.map (fun some -> Tmmbn(sender, some))
        | SliceLossIndication(sender, media, slices) ->
            runs (counted RtcpFeedback.Head 4) slices
            |> Array.map (fun some -> SliceLossIndication(sender, media, some))
        | FullIntraRequest(sender, entries) ->
            runs (counted RtcpFeedback.Head 8) entries
            |> Array.map (fun some -> FullIntraRequest(sender, some))
        | ExtendedReport(ssrc, blocks) ->
            runsFitting (fun from -> RtcpExtended.blocksFitting limit from blocks) blocks
            |> Array.map (fun some -> ExtendedReport(ssrc, some))
        | ApplicationDefined _
        | RapidResynchronization _
        | TransportCc _
        | PictureLossIndication _
        | ReferencePictureSelection _
        // The bitrate is of all its sources together.
        | ReceiverEstimatedMaxBitrate _
        | OtherRtcp _ -> [| packet |]
