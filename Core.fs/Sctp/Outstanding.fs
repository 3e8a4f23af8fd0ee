namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// What a SACK brought.
[<Struct; NoComparison; NoEquality>]
type internal Acknowledgement =
    {
        /// Octets newly acknowledged, headers and padding included.
        Bytes: int
        CumulativeAdvanced: bool
        /// When the most recently sent of them was sent, RFC 8985 §6.2 step 2, and its TSN. -1 where there is none that says
        /// which of its transmissions was acknowledged.
        NewestAt: Instant
        NewestTsn: int64
        /// The same of those that were sent once: they measure the round trip (Karn's algorithm). -1 where there is none.
        SampleAt: Instant
        SampleTsn: int64
        /// One that was sent once was overtaken by another, RFC 8985 §6.2 step 3.
        Reordered: bool
        /// Chunks beyond the cumulative ack that the SACK reports.
        Beyond: int64
        /// When the newest of those was sent that were to be sent again, and had not been: they were not lost. -1 where there
        /// is none.
        UnlostAt: Instant
        /// TSNs above it may have arrived unreported: the SACK had no room for them.
        Ceiling: int64
    }

/// The chunks that have a TSN and are not cumulatively acknowledged, by unwrapped TSN.
///
///     cumulative ack │ stretches that differ │ in flight, sent once │ next TSN
///        First - 1   │ First …          …    │ …          … Next - 1 │ Next
///
/// There is no flag per chunk. In good weather there is no stretch either, and a SACK moves two numbers; otherwise it
/// costs O(gap blocks), however many chunks are outstanding.
[<NoComparison; NoEquality>]
type internal Outstanding =
    {
        Chunks: Log<Slot>
        /// They are I-DATA.
        Interleaved: bool
        /// `Before` of the next chunk.
        Sum: int64
        /// From `Chunks.First` on without a hole, ascending; what follows them is in flight and was sent once.
        Stretches: Stretch[]
        /// Octets in flight, headers and padding included.
        FlightSize: int
        /// Octets to be sent again.
        MarkedSize: int
    }

[<RequireQualifiedAccess>]
module internal Outstanding =
    let create (interleaved: bool) (initialTsn: int64) : Outstanding =
        { Chunks = Log.startingAt initialTsn
          Interleaved = interleaved
          Sum = 0L
          Stretches = Array.Empty()
          FlightSize = 0
          MarkedSize = 0 }

    /// The Cumulative TSN Ack Point.
    let cumulative (o: Outstanding) = o.Chunks.First - 1L

    let isEmpty (o: Outstanding) = o.Chunks.IsEmpty

    let private before (tsn: int64) (o: Outstanding) =
        if tsn = o.Chunks.Next then o.Sum else o.Chunks[tsn].Before

    /// Octets of all chunks from `first` to `last`.
    let bytes (first: int64) (last: int64) (o: Outstanding) : int =
        int (before (last + 1L) o - before first o)

    /// Octets not cumulatively acknowledged.
    let total (o: Outstanding) : int = int (o.Sum - before o.Chunks.First o)

    /// With the next TSN given to a piece of a message, in flight.
    let append
        (now: Instant)
        (message: Message)
        (offset: int)
        (size: int)
        (mid: Mid)
        (fsn: uint32)
        (o: Outstanding)
        : Outstanding =
        let onWire = Data.sizeOf o.Interleaved size

        { o with
            Chunks =
                Log.append
                    { Message = message
                      Offset = offset
                      Size = size
                      Mid = mid
                      Fsn = fsn
                      Before = o.Sum
                      SentAt = now }
                    o.Chunks
            Sum = o.Sum + int64 onWire
            FlightSize = o.FlightSize + onWire }

    /// The chunk of a slot and its TSN, described.
    let describe (interleaved: bool) (tsn: int64) (slot: Slot) : Data =
        let message = slot.Message

        let flags =
            (if slot.Offset = 0 then Flag.Begin else 0uy)
            ||| (if slot.Offset + slot.Size = message.Payload.Length then
                     Flag.End
                 else
                     0uy)
            ||| (if message.Ordered then 0uy else Flag.Unordered)

        { Interleaved = interleaved
          Flags = flags
          Stream = message.Stream
          Tsn = Tsn.wrap tsn
          Mid = slot.Mid
          Fsn = slot.Fsn
          Ppid = message.Ppid
          Payload = message.Payload.Slice(slot.Offset, slot.Size) }

    /// Adds a stretch, to the last one where it continues it.
    let push (stretch: Stretch) (built: ResizeArray<Stretch>) : unit =
        let last = built.Count - 1

        if
            last >= 0
            && built[last].Fate = stretch.Fate
            && built[last].Resends = stretch.Resends
            && built[last].ResentAt = stretch.ResentAt
        then
            built[last] <- { built[last] with Last = stretch.Last }
        else
            built.Add stretch

    /// In flight and sent once: what is not kept as a stretch at the end.
    let private fresh (first: int64) (last: int64) : Stretch =
        { First = first
          Last = last
          Fate = Fate.InFlight
          Resends = 0
          ResentAt = 0L<us> }

    /// The stretches, without what need not be kept.
    let finish (built: ResizeArray<Stretch>) : Stretch[] =
        let last = built.Count - 1

        if last >= 0 && built[last].Fate = Fate.InFlight && built[last].Resends = 0 then
            built.RemoveAt last

        if built.Count = 0 then Array.Empty() else built.ToArray()

    /// The `i`th stretch, the unwritten last one included.
    let stretchAt (i: int) (o: Outstanding) : Stretch =
        let stretches = o.Stretches

        if i < stretches.Length then
            stretches[i]
        elif stretches.Length = 0 then
            fresh o.Chunks.First (o.Chunks.Next - 1L)
        else
            fresh (stretches[stretches.Length - 1].Last + 1L) (o.Chunks.Next - 1L)

    /// Every stretch from `first` to `last` as `change` has it, where `extent` says so: of a TSN and a limit, whether, and up
    /// to where that holds.
    let private paintWhere
        (extent: int64 -> int64 -> struct (bool * int64))
        (first: int64)
        (last: int64)
        (change: Stretch -> Stretch)
        (o: Outstanding)
        : Outstanding =
        let built = ResizeArray(o.Stretches.Length + 3)
        let mutable flight = o.FlightSize
        let mutable marked = o.MarkedSize
        let mutable i = 0
        let mutable at = o.Chunks.First

        while at < o.Chunks.Next do
            let stretch = stretchAt i o

            let upTo =
                if at < first then min stretch.Last (first - 1L)
                elif at <= last then min stretch.Last last
                else stretch.Last

            let struct (isTouched, upTo) =
                if at >= first && at <= last then
                    extent at upTo
                else
                    struct (false, upTo)

            let piece = { stretch with First = at; Last = upTo }

            let painted = if isTouched then change piece else piece

            if painted.Fate <> piece.Fate then
                let size = bytes at upTo o

                match piece.Fate with
                | Fate.InFlight -> flight <- flight - size
                | Fate.Marked -> marked <- marked - size
                | _ -> ()

                match painted.Fate with
                | Fate.InFlight -> flight <- flight + size
                | Fate.Marked -> marked <- marked + size
                | _ -> ()

            push painted built

            if upTo = stretch.Last then
                i <- i + 1

            at <- upTo + 1L

        { o with
            Stretches = finish built
            FlightSize = flight
            MarkedSize = marked }

    /// Every stretch from `first` to `last` as `change` has it.
    let private paint (first: int64) (last: int64) (change: Stretch -> Stretch) (o: Outstanding) : Outstanding =
        paintWhere (fun _ limit -> struct (true, limit)) first last change o

    /// A SACK with this many gap ack blocks may have left some out: implementations report no more than 20, or as many
    /// as a packet holds.
    [<Literal>]
    let private ManyBlocks = 20

    /// The highest TSN that was acknowledged before, RACK.fack.
    let private highestAcked (o: Outstanding) : int64 =
        let mutable i = o.Stretches.Length - 1

        while i >= 0 && o.Stretches[i].Fate <> Fate.Acked do
            i <- i - 1

        if i < 0 then cumulative o else o.Stretches[i].Last

    /// `Acknowledgement.Ceiling` of the last SACK.
    let ceiling (o: Outstanding) : int64 =
        let mutable blocks = 0

        for stretch in o.Stretches do
            if stretch.Fate = Fate.Acked then
                blocks <- blocks + 1

        if blocks >= ManyBlocks then
            highestAcked o
        else
            Int64.MaxValue

    /// The SACK where there are gaps, now or before.
    let private acknowledgeGaps
        (now: Instant)
        (leastTrip: Duration)
        (cumulativeAck: int64)
        (blocks: GapAckBlock[])
        (o: Outstanding)
        : struct (Outstanding * Acknowledgement) =
        let built = ResizeArray(o.Stretches.Length + 2 * blocks.Length + 2)
        let highestBefore = highestAcked o

        let highest =
            if blocks.Length = 0 then
                cumulativeAck
            else
                cumulativeAck + int64 blocks[blocks.Length - 1].End

        let isCut = blocks.Length >= ManyBlocks
        let mutable flight = o.FlightSize
        let mutable marked = o.MarkedSize
        let mutable acked = 0
        let mutable beyond = 0L
        let mutable newestAt = -1L<us>
        let mutable newestTsn = -1L
        let mutable sampleAt = -1L<us>
        let mutable sampleTsn = -1L
        let mutable reordered = false
        let mutable unlostAt = -1L<us>
        let mutable block = 0
        let mutable i = 0
        let mutable at = o.Chunks.First

        while at < o.Chunks.Next do
            let stretch = stretchAt i o

            while block < blocks.Length && cumulativeAck + int64 blocks[block].End < at do
                block <- block + 1

            let isCumulative = at <= cumulativeAck

            let isBlock =
                block < blocks.Length && cumulativeAck + int64 blocks[block].Start <= at

            let regionEnd =
                if isCumulative then
                    cumulativeAck
                elif isBlock then
                    cumulativeAck + int64 blocks[block].End
                elif block < blocks.Length then
                    cumulativeAck + int64 blocks[block].Start - 1L
                else
                    o.Chunks.Next - 1L

            let upTo = min stretch.Last regionEnd
            let piece = { stretch with First = at; Last = upTo }

            if isCumulative || isBlock then
                if stretch.Fate <> Fate.Acked && stretch.Fate <> Fate.Abandoned then
                    let size = bytes at upTo o
                    acked <- acked + size

                    match stretch.Fate with
                    | Fate.InFlight -> flight <- flight - size
                    | Fate.Marked -> marked <- marked - size
                    | _ -> ()

                    if stretch.Resends = 0 then
                        reordered <- reordered || at < highestBefore

                    // What was taken for lost had long arrived, perhaps, and only the SACK was lost: it tells no time.
                    if stretch.Fate <> Fate.InFlight then
                        if stretch.Resends = 0 then
                            unlostAt <- o.Chunks[upTo].SentAt
                    elif stretch.Resends = 0 then
                        sampleAt <- o.Chunks[upTo].SentAt
                        sampleTsn <- upTo

                        if sampleAt >= newestAt then
                            newestAt <- sampleAt
                            newestTsn <- upTo
                    // Sooner than the path allows: an earlier transmission was acknowledged, RFC 8985 §6.2 step 2.
                    elif now - stretch.ResentAt >= leastTrip && stretch.ResentAt >= newestAt then
                        newestAt <- stretch.ResentAt
                        newestTsn <- upTo

                if not isCumulative then
                    beyond <- beyond + (upTo - at + 1L)

                    push
                        (if stretch.Fate = Fate.Abandoned then
                             piece
                         else
                             { fresh at upTo with Fate = Fate.Acked })
                        built
            elif stretch.Fate = Fate.Acked && not (isCut && at > highest) then
                // Revoked, RFC 9260 §6.2.1 rule D iii.
                flight <- flight + bytes at upTo o
                push (fresh at upTo) built
            else
                push piece built

            if upTo = stretch.Last then
                i <- i + 1

            at <- upTo + 1L

        struct ({ o with
                    Chunks = Log.dropTo (cumulativeAck + 1L) o.Chunks
                    Stretches = finish built
                    FlightSize = flight
                    MarkedSize = marked },
                { Bytes = acked
                  CumulativeAdvanced = cumulativeAck > cumulative o
                  NewestAt = newestAt
                  NewestTsn = newestTsn
                  SampleAt = sampleAt
                  SampleTsn = sampleTsn
                  Reordered = reordered
                  Beyond = beyond
                  UnlostAt = unlostAt
                  Ceiling = if isCut then highest else Int64.MaxValue })

    /// A SACK, RFC 9260 §6.2.1, whose cumulative ack is not before ours. ValueNone where it acknowledges what was never
    /// sent. `leastTrip`: no acknowledgement takes less.
    let acknowledge
        (now: Instant)
        (leastTrip: Duration)
        (cumulativeAck: int64)
        (blocks: GapAckBlock[])
        (o: Outstanding)
        : struct (Outstanding * Acknowledgement) voption =
        let highest =
            if blocks.Length = 0 then
                cumulativeAck
            else
                cumulativeAck + int64 blocks[blocks.Length - 1].End

        if highest >= o.Chunks.Next then
            ValueNone
        elif blocks.Length = 0 && o.Stretches.Length = 0 then
            let acked = bytes o.Chunks.First cumulativeAck o
            let advanced = cumulativeAck > cumulative o

            let newest = if advanced then o.Chunks[cumulativeAck].SentAt else -1L<us>

            let next =
                if advanced then
                    { o with
                        Chunks = Log.dropTo (cumulativeAck + 1L) o.Chunks
                        FlightSize = o.FlightSize - acked }
                else
                    o

            ValueSome(
                struct (next,
                        { Bytes = acked
                          CumulativeAdvanced = advanced
                          NewestAt = newest
                          NewestTsn = cumulativeAck
                          SampleAt = newest
                          SampleTsn = cumulativeAck
                          Reordered = false
                          Beyond = 0L
                          UnlostAt = -1L<us>
                          Ceiling = Int64.MaxValue })
            )
        else
            ValueSome(acknowledgeGaps now leastTrip cumulativeAck blocks o)

    /// T3-rtx expired: all in flight is to be sent again, RFC 9260 §6.3.3.
    let markAll (o: Outstanding) : Outstanding =
        paint
            o.Chunks.First
            (o.Chunks.Next - 1L)
            (fun stretch ->
                if stretch.Fate = Fate.InFlight || stretch.Fate = Fate.Unreported then
                    { stretch with Fate = Fate.Marked }
                else
                    stretch)
            o

    /// What was marked and not sent again was not lost: it is in flight.
    let unmark (o: Outstanding) : Outstanding =
        paint
            o.Chunks.First
            (o.Chunks.Next - 1L)
            (fun stretch ->
                if stretch.Fate = Fate.Marked && stretch.Resends = 0 then
                    { stretch with Fate = Fate.InFlight }
                else
                    stretch)
            o

    /// The first TSN from `from` on that is to be sent again; -1 where there is none.
    let firstMarked (from: int64) (o: Outstanding) : int64 =
        let mutable found = -1L
        let mutable i = 0

        while found < 0L && i < o.Stretches.Length do
            let stretch = o.Stretches[i]

            if stretch.Fate = Fate.Marked && stretch.Last >= from then
                found <- max from stretch.First

            i <- i + 1

        found

    /// The stretch that a TSN lies in.
    let stretchOf (tsn: int64) (o: Outstanding) : Stretch =
        let mutable i = 0

        while (stretchAt i o).Last < tsn do
            i <- i + 1

        stretchAt i o

    /// The chunk of a TSN has been sent again.
    let resent (now: Instant) (tsn: int64) (o: Outstanding) : Outstanding =
        paint
            tsn
            tsn
            (fun stretch ->
                { stretch with
                    Fate = Fate.InFlight
                    Resends = stretch.Resends + 1
                    ResentAt = now })
            o

    /// The highest TSN in flight; -1 where nothing is.
    let lastInFlight (o: Outstanding) : int64 =
        let mutable i = o.Stretches.Length

        while i >= 0
              && (let stretch = stretchAt i o in stretch.Fate <> Fate.InFlight || stretch.First > stretch.Last) do
            i <- i - 1

        if i < 0 then -1L else (stretchAt i o).Last

    /// Gives up the whole message that a TSN belongs to, RFC 3758 §3.5 rule A3. Where part of it was never sent, one TSN
    /// more stands for that part: the receiver has to learn that the message ends here even if it acknowledged the rest.
    /// Answers whether there was such a part.
    let abandon (now: Instant) (tsn: int64) (o: Outstanding) : struct (Outstanding * bool) =
        let message = o.Chunks[tsn].Message

        let isIts (o: Outstanding) (at: int64) =
            Object.ReferenceEquals(o.Chunks[at].Message, message)

        // Without RFC 8260 neighbours; with it others may lie between.
        let mutable first = tsn
        let mutable last = tsn
        let mutable at = tsn

        while at >= o.Chunks.First
              && o.Chunks[first].Offset > 0
              && (o.Interleaved || isIts o at) do
            if isIts o at then
                first <- at

            at <- at - 1L

        at <- tsn

        while at < o.Chunks.Next
              && o.Chunks[last].Offset + o.Chunks[last].Size < message.Payload.Length
              && (o.Interleaved || isIts o at) do
            if isIts o at then
                last <- at

            at <- at + 1L

        let tail = o.Chunks[last]
        let unsent = tail.Offset + tail.Size < message.Payload.Length

        let o =
            if unsent then
                append now message message.Payload.Length 0 tail.Mid tail.Fsn o
            else
                o

        let last = if unsent then o.Chunks.Next - 1L else last

        let extent (at: int64) (limit: int64) : struct (bool * int64) =
            let its = isIts o at
            let mutable upTo = at

            while upTo < limit && isIts o (upTo + 1L) = its do
                upTo <- upTo + 1L

            struct (its, upTo)

        struct (paintWhere extent first last (fun stretch -> { stretch with Fate = Fate.Abandoned }) o, unsent)

    /// Advanced.Peer.Ack.Point, RFC 3758 §3.5 rule C2.
    let advancedAckPoint (o: Outstanding) : int64 =
        if o.Stretches.Length > 0 && o.Stretches[0].Fate = Fate.Abandoned then
            o.Stretches[0].Last
        else
            cumulative o

    /// FORWARD TSN or I-FORWARD-TSN up to the advanced ack point, or as far as `limit` streams reach, RFC 3758 §3.5 rule C4.
    let forward (limit: int) (o: Outstanding) : struct (int64 * Skip[]) =
        let upTo = advancedAckPoint o
        // By stream, and whether ordered: the former in the high bits.
        let skipped = System.Collections.Generic.Dictionary<int, Mid>()
        let mutable at = o.Chunks.First
        let mutable full = false

        while not full && at <= upTo do
            let slot = o.Chunks[at]
            let key = (int slot.Message.Stream <<< 1) + (if slot.Message.Ordered then 0 else 1)

            if not slot.Message.Ordered && not o.Interleaved then
                at <- at + 1L
            elif skipped.Count < limit || skipped.ContainsKey key then
                // TSNs ascend, hence so do the numbers of a stream.
                skipped[key] <- slot.Mid
                at <- at + 1L
            else
                full <- true

        let skips = Array.zeroCreate skipped.Count
        let mutable i = 0

        for entry in skipped do
            skips[i] <-
                { Stream = uint16 (entry.Key >>> 1)
                  Unordered = entry.Key &&& 1 <> 0
                  Mid = entry.Value }

            i <- i + 1

        struct (at - 1L, skips)
