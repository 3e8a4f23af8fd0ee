namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// A chunk that was given a TSN: a reference into its message.
[<Struct; NoComparison; NoEquality>]
type internal Slot =
    {
        Message: Message
        Offset: int
        /// Octets of user data. Zero only in the placeholder of `Outstanding.abandon`.
        Size: int
        Mid: Mid
        /// Which fragment of the message it is, RFC 8260 §2.1.
        Fsn: uint32
        /// Octets of all chunks before this one, headers and padding included: the sum over any stretch is a difference.
        Before: int64
    }

/// What became of a chunk, as far as we know.
type internal Fate =
    | InFlight = 0uy
    /// By a gap ack block; it may be revoked.
    | Acked = 1uy
    /// To be sent again.
    | Marked = 2uy
    /// Given up, RFC 3758 §3.4.
    | Abandoned = 3uy

/// Neighbouring TSNs of one fate.
[<Struct; NoComparison; NoEquality>]
type internal Stretch =
    {
        First: int64
        Last: int64
        Fate: Fate
        /// Miss indications, RFC 9260 §7.2.4.
        Misses: byte
        /// Fast retransmitted, hence not to be so again, RFC 9260 §7.2.4 rule 5.
        Fast: bool
        /// How often it was sent again.
        Resends: int
    }

/// What a SACK brought.
[<Struct; NoComparison; NoEquality>]
type internal Acknowledgement =
    {
        /// Octets newly acknowledged, headers and padding included.
        Bytes: int
        CumulativeAdvanced: bool
        /// Some chunk has been reported missing for the third time.
        LossFound: bool
    }

/// The chunks that have a TSN and are not cumulatively acknowledged, by unwrapped TSN.
///
///     cumulative ack │ stretches that differ │ in flight, never missed │ next TSN
///        First - 1   │ First …          …    │ …           … Next - 1  │ Next
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
        /// From `Chunks.First` on without a hole, ascending; what follows them is in flight and was never missed.
        Stretches: Stretch[]
        /// Octets in flight, headers and padding included.
        FlightSize: int
        /// The fast recovery exit point, RFC 9260 §7.2.4 rule 6; -1 outside of fast recovery.
        RecoveryExit: int64
    }

[<RequireQualifiedAccess>]
module internal Outstanding =
    let create (interleaved: bool) (initialTsn: int64) : Outstanding =
        { Chunks = Log.startingAt initialTsn
          Interleaved = interleaved
          Sum = 0L
          Stretches = Array.Empty()
          FlightSize = 0
          RecoveryExit = -1L }

    /// The Cumulative TSN Ack Point.
    let cumulative (o: Outstanding) = o.Chunks.First - 1L

    let isEmpty (o: Outstanding) = o.Chunks.IsEmpty

    let inRecovery (o: Outstanding) = o.RecoveryExit >= 0L

    let private before (tsn: int64) (o: Outstanding) =
        if tsn = o.Chunks.Next then o.Sum else o.Chunks[tsn].Before

    /// Octets of all chunks from `first` to `last`.
    let private bytes (first: int64) (last: int64) (o: Outstanding) : int =
        int (before (last + 1L) o - before first o)

    /// Octets not cumulatively acknowledged.
    let total (o: Outstanding) : int = int (o.Sum - before o.Chunks.First o)

    /// With the next TSN given to a piece of a message, in flight.
    let append (message: Message) (offset: int) (size: int) (mid: Mid) (fsn: uint32) (o: Outstanding) : Outstanding =
        let onWire = Data.sizeOf o.Interleaved size

        { o with
            Chunks =
                Log.append
                    { Message = message
                      Offset = offset
                      Size = size
                      Mid = mid
                      Fsn = fsn
                      Before = o.Sum }
                    o.Chunks
            Sum = o.Sum + int64 onWire
            FlightSize = o.FlightSize + onWire }

    /// The chunk of a TSN, described.
    let describe (tsn: int64) (o: Outstanding) : Data =
        let slot = o.Chunks[tsn]
        let message = slot.Message

        let flags =
            (if slot.Offset = 0 then Flag.Begin else 0uy)
            ||| (if slot.Offset + slot.Size = message.Payload.Length then
                     Flag.End
                 else
                     0uy)
            ||| (if message.Ordered then 0uy else Flag.Unordered)

        { Interleaved = o.Interleaved
          Flags = flags
          Stream = message.Stream
          Tsn = Tsn.wrap tsn
          Mid = slot.Mid
          Fsn = slot.Fsn
          Ppid = message.Ppid
          Payload = message.Payload.Slice(slot.Offset, slot.Size) }

    let private same (a: Stretch) (b: Stretch) =
        a.Fate = b.Fate
        && a.Misses = b.Misses
        && a.Fast = b.Fast
        && a.Resends = b.Resends

    let private push (stretch: Stretch) (built: ResizeArray<Stretch>) : unit =
        let last = built.Count - 1

        if last >= 0 && same built[last] stretch then
            built[last] <- { built[last] with Last = stretch.Last }
        else
            built.Add stretch

    /// In flight and never missed: what is not kept as a stretch at the end.
    let private fresh (first: int64) (last: int64) : Stretch =
        { First = first
          Last = last
          Fate = Fate.InFlight
          Misses = 0uy
          Fast = false
          Resends = 0 }

    let private finish (built: ResizeArray<Stretch>) : Stretch[] =
        let last = built.Count - 1

        if last >= 0 && same built[last] (fresh 0L 0L) then
            built.RemoveAt last

        if built.Count = 0 then Array.Empty() else built.ToArray()

    /// The `i`th stretch, the unwritten last one included.
    let private stretchAt (i: int) (o: Outstanding) : Stretch =
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

            if (painted.Fate = Fate.InFlight) <> (piece.Fate = Fate.InFlight) then
                let size = bytes at upTo o

                flight <-
                    if painted.Fate = Fate.InFlight then
                        flight + size
                    else
                        flight - size

            push painted built

            if upTo = stretch.Last then
                i <- i + 1

            at <- upTo + 1L

        { o with
            Stretches = finish built
            FlightSize = flight }

    /// Every stretch from `first` to `last` as `change` has it.
    let private paint (first: int64) (last: int64) (change: Stretch -> Stretch) (o: Outstanding) : Outstanding =
        paintWhere (fun _ limit -> struct (true, limit)) first last change o

    /// Third miss indication, RFC 9260 §7.2.4.
    [<Literal>]
    let private MissesToMark = 3uy

    /// The SACK where there are gaps, now or before.
    let private acknowledgeGaps (cumulative: int64) (blocks: GapAckBlock[]) (o: Outstanding) =
        let built = ResizeArray(o.Stretches.Length + 2 * blocks.Length + 2)
        // What the gap ack blocks newly acknowledge.
        let newly = ResizeArray<Stretch>()
        let mutable flight = o.FlightSize
        let mutable acked = 0
        // HTNA, RFC 9260 §7.2.4.
        let mutable highestNewly = -1L
        let mutable block = 0
        let mutable i = 0
        let mutable at = o.Chunks.First

        while at < o.Chunks.Next do
            let stretch = stretchAt i o

            while block < blocks.Length && cumulative + int64 blocks[block].End < at do
                block <- block + 1

            let isCumulative = at <= cumulative

            let isBlock = block < blocks.Length && cumulative + int64 blocks[block].Start <= at

            let regionEnd =
                if isCumulative then
                    cumulative
                elif isBlock then
                    cumulative + int64 blocks[block].End
                elif block < blocks.Length then
                    cumulative + int64 blocks[block].Start - 1L
                else
                    o.Chunks.Next - 1L

            let upTo = min stretch.Last regionEnd
            let size = bytes at upTo o

            let piece = { stretch with First = at; Last = upTo }

            if isCumulative || isBlock then
                match stretch.Fate with
                | Fate.InFlight ->
                    flight <- flight - size
                    acked <- acked + size
                    highestNewly <- upTo
                | Fate.Marked ->
                    acked <- acked + size
                    highestNewly <- upTo
                | _ -> ()

                if isBlock && not isCumulative then
                    if stretch.Fate = Fate.InFlight || stretch.Fate = Fate.Marked then
                        newly.Add piece

                    push
                        (if stretch.Fate = Fate.Abandoned then
                             piece
                         else
                             { fresh at upTo with Fate = Fate.Acked })
                        built
            elif stretch.Fate = Fate.Acked then
                // Revoked, RFC 9260 §6.2.1 rule D iii.
                flight <- flight + size
                push (fresh at upTo) built
            else
                push piece built

            if upTo = stretch.Last then
                i <- i + 1

            at <- upTo + 1L

        struct (built, newly, flight, acked, highestNewly)

    /// Counts the miss indications of a SACK, RFC 9260 §7.2.4, and marks what was missed three times. A receiver answers
    /// each packet that arrives behind a gap with a SACK, §6.7, unless it answers a batch of them with one: that one counts
    /// for as many packets of `segment` octets as it newly acknowledges behind the gap, as RFC 6675 §4 counts octets.
    let private countMisses
        (segment: int)
        (below: int64)
        (built: ResizeArray<Stretch>)
        (newly: ResizeArray<Stretch>)
        (flight: int)
        (o: Outstanding)
        =
        let counted = ResizeArray built.Count
        let mutable flight = flight
        let mutable found = false
        // Octets newly acknowledged from `newly[at]` on.
        let mutable at = 0
        let mutable behind = 0

        for piece in newly do
            behind <- behind + bytes piece.First piece.Last o

        for stretch in built do
            while at < newly.Count && newly[at].First < stretch.First do
                behind <- behind - bytes newly[at].First newly[at].Last o
                at <- at + 1

            if stretch.Fate = Fate.InFlight && not stretch.Fast && stretch.Last < below then
                let indications = min 3 (max 1 ((behind + segment / 2) / segment))
                let misses = stretch.Misses + byte indications

                if misses >= MissesToMark then
                    flight <- flight - bytes stretch.First stretch.Last o
                    found <- true

                    push
                        { stretch with
                            Fate = Fate.Marked
                            Misses = 0uy
                            Fast = true }
                        counted
                else
                    push { stretch with Misses = misses } counted
            else
                push stretch counted

        struct (counted, flight, found)

    /// A SACK, RFC 9260 §6.2.1, whose cumulative ack is not before ours. ValueNone where it acknowledges what was never
    /// sent. `segment`: octets of chunks in a full packet.
    let acknowledge
        (segment: int)
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
        else
            let advanced = cumulativeAck > cumulative o

            // Fast recovery ends where the exit point is acknowledged, rule D iv.
            let exit =
                if cumulativeAck >= o.RecoveryExit then
                    -1L
                else
                    o.RecoveryExit

            if blocks.Length = 0 && o.Stretches.Length = 0 then
                let acked = bytes o.Chunks.First cumulativeAck o

                let next =
                    { o with
                        Chunks = Log.dropTo (cumulativeAck + 1L) o.Chunks
                        FlightSize = o.FlightSize - acked
                        RecoveryExit = exit }

                ValueSome(
                    struct (next,
                            { Bytes = acked
                              CumulativeAdvanced = advanced
                              LossFound = false })
                )
            else
                let struct (built, newly, flight, acked, highestNewly) =
                    acknowledgeGaps cumulativeAck blocks o

                // Only what is below a newly acknowledged TSN; in fast recovery all that is reported missing.
                let below = if exit >= 0L && advanced then highest else highestNewly

                let struct (counted, flight, found) = countMisses segment below built newly flight o

                let next =
                    { o with
                        Chunks = Log.dropTo (cumulativeAck + 1L) o.Chunks
                        Stretches = finish counted
                        FlightSize = flight
                        RecoveryExit = exit }

                ValueSome(
                    struct (next,
                            { Bytes = acked
                              CumulativeAdvanced = advanced
                              LossFound = found })
                )

    /// Enters fast recovery: the highest outstanding TSN is the exit point, RFC 9260 §7.2.4 rule 6.
    let enterRecovery (o: Outstanding) : Outstanding =
        { o with
            RecoveryExit = o.Chunks.Next - 1L }

    /// T3-rtx expired: all in flight is to be sent again, RFC 9260 §6.3.3. Fast recovery is over.
    let markAll (o: Outstanding) : Outstanding =
        { paint
              o.Chunks.First
              (o.Chunks.Next - 1L)
              (fun stretch ->
                  if stretch.Fate = Fate.InFlight then
                      { stretch with
                          Fate = Fate.Marked
                          Misses = 0uy
                          Fast = false }
                  else
                      stretch)
              o with
            RecoveryExit = -1L }

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

    /// `first` to `last`, which were marked, are in flight again.
    let resent (first: int64) (last: int64) (o: Outstanding) : Outstanding =
        paint
            first
            last
            (fun stretch ->
                { stretch with
                    Fate = Fate.InFlight
                    Misses = 0uy
                    Resends = stretch.Resends + 1 })
            o

    /// Gives up the whole message that a TSN belongs to, RFC 3758 §3.5 rule A3. Where part of it was never sent, one TSN
    /// more stands for that part: the receiver has to learn that the message ends here even if it acknowledged the rest.
    /// Answers whether there was such a part.
    let abandon (tsn: int64) (o: Outstanding) : struct (Outstanding * bool) =
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
                append message message.Payload.Length 0 tail.Mid tail.Fsn o
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
