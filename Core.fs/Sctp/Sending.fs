namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// Deadlines of the sending half; `Instant.never` where they do not run.
[<Struct; NoComparison; NoEquality>]
type internal SendTimers =
    {
        /// T3-rtx, RFC 9260 §6.3.2; where nothing is outstanding, the next window probe, §6.1 A.
        T3: Instant
        /// The probe timeout, RFC 8985 §7.2.
        ProbeAt: Instant
        /// When chunks that are late may be taken for lost, RFC 8985 §6.3.
        ReorderAt: Instant
        /// When there is something to be sent: now, or when the next burst may go.
        FlushAt: Instant
        /// When the pacer's bucket was empty, see `Pacing`.
        Ready: Instant
        LastSentAt: Instant
    }

/// What is to be repaired.
[<NoComparison; NoEquality>]
type internal Repair =
    {
        /// Retransmissions in a row without an answer, RFC 9260 §8.1.
        Errors: int
        /// The next packet ignores the window, RFC 9260 §7.2.4 rule 3.
        FastRetransmit: bool
        /// What is outstanding is a window probe, RFC 9260 §6.1 A.
        Probing: bool
        /// New cumulative TSN of the last FORWARD TSN; 0 before the first.
        Forwarded: int64
        /// Chunks sent again, ever.
        Resent: int64
        /// The highest TSN whose message may be given up; what is outstanding beyond it is reliable.
        Limited: int64
    }

/// How loss is being dealt with.
[<NoComparison; NoEquality>]
type internal Recovery =
    {
        /// When congestion was last answered. What was sent before it tells no more news of it; what is lost of what was
        /// sent since, a retransmission included, is another congestion (RFC 9002 §7.3.2, where RFC 9260 §7.2.4 has an
        /// exit point and forgives lost retransmissions). -1 before the first.
        At: Instant
        Reordering: Reordering
        /// TSN of the tail loss probe that was sent and is not settled, RFC 8985 §7.4; -1 where there is none.
        Probe: int64
        /// The probe was a chunk sent again.
        ProbeResent: bool
        /// Before the last answer.
        Before: Congestion
        /// Chunks sent again since, and not reported to have come twice; -1 once it is settled. Zero again: nothing had
        /// been lost, RFC 3708.
        Unproven: int
        /// Octets that were lost of those sent since `LostFrom`, which is an `Outstanding.Sum`.
        Lost: int
        LostFrom: int64
    }

/// The sending half of an association.
[<NoComparison; NoEquality>]
type internal Sending =
    {
        Outstanding: Outstanding
        Congestion: Congestion
        Trip: RoundTrip
        /// rwnd, RFC 9260 §6.2.1: what the peer has room for beyond what is in flight. Negative where it has shrunk.
        Window: int64
        Timers: SendTimers
        Rack: Rack
        Repair: Repair
        Recovery: Recovery
    }

/// What a tick of the sending half may send.
type internal Burst =
    /// As much as windows and pace allow.
    | Paced = 0
    /// One packet, T3-rtx expired, RFC 9260 §7.2.3.
    | Timeout = 1
    /// One packet beyond the congestion window, RFC 8985 §7.3.
    | Probe = 2

[<RequireQualifiedAccess>]
module internal Sending =
    /// Longer than a peer may wait with a SACK, RFC 9260 §6.2; TLP.max_ack_delay.
    let private maxAckDelay: Duration = Duration.milliseconds 200L

    /// No probe before this: timers and batches need so long.
    let private minProbe: Duration = Duration.milliseconds 10L

    let create (now: Instant) (initialTsn: Tsn) (link: Link) : Sending =
        let congestion = Congestion.create link.Config.CongestionControl link.Segment

        { Outstanding = Outstanding.create link.Interleaves (Tsn.first initialTsn)
          Congestion = congestion
          Trip = RoundTrip.create link.Config.Times
          Window = int64 link.Peer.Window
          Timers =
            { T3 = Instant.never
              ProbeAt = Instant.never
              ReorderAt = Instant.never
              FlushAt = Instant.never
              Ready = now
              LastSentAt = now }
          Rack = Rack.create now
          Repair =
            { Errors = 0
              FastRetransmit = false
              Probing = false
              Forwarded = 0L
              Resent = 0L
              Limited = 0L }
          Recovery =
            { At = -1L<us>
              Reordering = Reordering.none
              Probe = -1L
              ProbeResent = false
              Before = congestion
              Unproven = -1
              Lost = 0
              LostFrom = 0L } }

    /// When the sending half is next due.
    let deadline (s: Sending) : Instant =
        Instant.min s.Timers.T3 s.Timers.FlushAt
        |> Instant.min s.Timers.ProbeAt
        |> Instant.min s.Timers.ReorderAt

    /// To be flushed once what is in hand has been taken in.
    let flushSoon (now: Instant) (s: Sending) : Sending =
        if s.Timers.FlushAt <= now then
            s
        else
            { s with
                Timers = { s.Timers with FlushAt = now } }

    /// Octets have been queued: to be sent as soon as the pace allows it. Nothing, where the window is full: a SACK will tell.
    let queued (now: Instant) (link: Link) (octets: int64) (s: Sending) : Sending =
        if
            s.Timers.FlushAt <= now
            || s.Outstanding.FlightSize >= Congestion.window s.Congestion
        then
            s
        else
            let at =
                Pacing.ofWindow link s.Congestion s.Trip
                |> Pacing.gate now octets s.Timers.Ready

            if at >= s.Timers.FlushAt then
                s
            else
                { s with
                    Timers = { s.Timers with FlushAt = at } }

    /// Not to be sent again, RFC 3758 §4.1, RFC 7496 §3.2. A peer that does not know FORWARD TSN gets everything.
    let isStale (now: Instant) (link: Link) (resends: int) (message: Message) : bool =
        link.Peer.ForwardTsn
        && (now >= message.ExpiresAt || resends >= message.MaxRetransmits)

    /// Whether a message may be given up at all.
    let isLimited (message: Message) : bool =
        message.ExpiresAt <> Instant.never || message.MaxRetransmits <> Int32.MaxValue

    /// Gives up a message, with what was not sent of it.
    let abandon
        (now: Instant)
        (tsn: int64)
        (outputs: byref<ListCollector<SctpOutput>>)
        (o: Outstanding)
        (streams: Streams)
        : struct (Outstanding * Streams) =
        let message = o.Chunks[tsn].Message
        let struct (o, unsent) = Outstanding.abandon now tsn o

        if unsent then
            let struct (left, streams) = Streams.discard message (o.Chunks.Next - 1L) streams
            outputs.Add(SctpOutput.Transmitted(message.Stream, left))
            struct (o, streams)
        else
            struct (o, streams)

    /// Gives up what has just been marked for retransmission and is not to be sent again. One pass over the marked chunks,
    /// each time that chunks are marked, and only where some message may be given up.
    let private abandonStale
        (now: Instant)
        (link: Link)
        (limited: int64)
        (outputs: byref<ListCollector<SctpOutput>>)
        (o: Outstanding)
        (streams: Streams)
        : struct (Outstanding * Streams) =
        let mutable o = o
        let mutable streams = streams

        let mutable at =
            if o.Chunks.First > limited then
                -1L
            else
                Outstanding.firstMarked 0L o

        while at >= 0L && at <= limited do
            let stretch = Outstanding.stretchOf at o
            let mutable tsn = at

            while tsn <= stretch.Last
                  && not (isStale now link stretch.Resends o.Chunks[tsn].Message) do
                tsn <- tsn + 1L

            if tsn <= stretch.Last then
                let struct (o', streams') = abandon now tsn &outputs o streams
                o <- o'
                streams <- streams'

            at <- Outstanding.firstMarked (tsn + 1L) o

        struct (o, streams)

    /// Whether the peer has to be told that we gave something up, RFC 3758 §3.5 rule C3. Once for each advance; T3 repeats it.
    let hasNews (o: Outstanding) (repair: Repair) : bool =
        let point = Outstanding.advancedAckPoint o
        point > Outstanding.cumulative o && point <> repair.Forwarded

    /// When the probe timeout is, RFC 8985 §7.2: never where nothing is in flight, a probe is under way, or T3 comes first.
    let probeAt
        (now: Instant)
        (link: Link)
        (t3: Instant)
        (flight: int)
        (trip: RoundTrip)
        (recovery: Recovery)
        (repair: Repair)
        : Instant =
        match trip.Smoothed with
        | ValueSome srtt when flight > 0 && recovery.Probe < 0L && not repair.Probing ->
            let delay = if flight <= link.Segment then maxAckDelay else 0L<us>
            let at = now + max minProbe (2L * srtt + delay)
            if at < t3 then at else Instant.never
        | _ -> Instant.never

    /// Answers congestion: the window shrinks.
    let private congested
        (now: Instant)
        (before: Congestion)
        (after: Congestion)
        (reordering: Reordering)
        (s: Sending)
        : Sending =
        { s with
            Congestion = after
            Recovery =
                { s.Recovery with
                    At = now
                    Before = before
                    Unproven = 0
                    Reordering = Reordering.persisted reordering } }

    /// Losses are a share of the last packets sent: of this many at least.
    [<Literal>]
    let private LossSample = 128

    /// Counts `lost` octets; what was sent long ago is forgotten by halves.
    let private counted (link: Link) (lost: int) (s: Sending) : Recovery =
        let recovery = s.Recovery
        let span = s.Outstanding.Sum - recovery.LostFrom

        let enough =
            2L * int64 (max (Congestion.window s.Congestion) (LossSample * link.Segment))

        if span > 2L * enough then
            // Nothing was lost for longer than counts.
            { recovery with
                Lost = lost
                LostFrom = s.Outstanding.Sum - enough / 2L }
        elif span > enough then
            { recovery with
                Lost = (recovery.Lost + lost) / 2
                LostFrom = recovery.LostFrom + span / 2L }
        else
            { recovery with
                Lost = recovery.Lost + lost }

    /// Whether loss is not congestion: at most one packet in fifty, and what was sent right after the lost one arrived as
    /// fast as the path ever was, so that no queue can have been full. What a radio loses would else keep a window of any
    /// length at a few dozen packets (RFC 9438 §5.2: 38 at 0.1 %). NewReno takes every loss for congestion.
    let private isTolerable (link: Link) (s: Sending) : bool =
        let minimum = s.Trip.Minimum
        let recovery = s.Recovery

        let span =
            max (s.Outstanding.Sum - recovery.LostFrom) (int64 (LossSample * link.Segment))

        Congestion.tellsLossFromCongestion s.Congestion
        && s.Rack.Trip <= minimum + minimum / 16L
        && 50L * int64 recovery.Lost <= span

    /// Looks for losses, after a SACK or when the reordering timer expires: what is found is to be sent again, and is
    /// congestion where it is the first loss since the last answer.
    let private detect
        (now: Instant)
        (link: Link)
        (beyond: int64)
        (ceiling: int64)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) =
        let inRecovery = s.Rack.SentAt < s.Recovery.At

        let window = Reordering.window inRecovery beyond s.Trip s.Recovery.Reordering

        let struct (o, losses) = Rack.detect now s.Rack window ceiling s.Outstanding

        if losses.NewestAt < 0L<us> then
            if losses.Due = s.Timers.ReorderAt && Object.ReferenceEquals(o, s.Outstanding) then
                struct (streams, s)
            else
                struct (streams,
                        { s with
                            Outstanding = o
                            Window = s.Window + int64 s.Outstanding.FlightSize - int64 o.FlightSize
                            Timers = { s.Timers with ReorderAt = losses.Due } })
        else
            let lost = o.MarkedSize - s.Outstanding.MarkedSize
            let struct (o, streams) = abandonStale now link s.Repair.Limited &outputs o streams

            // Octets that are lost take no room at the peer.
            let window = s.Window + int64 s.Outstanding.FlightSize - int64 o.FlightSize

            let isNews = losses.NewestAt >= s.Recovery.At
            let recovery = counted link lost s

            let s =
                { s with
                    Recovery = recovery
                    Outstanding = o
                    Window = window
                    Timers = { s.Timers with ReorderAt = losses.Due }
                    Repair =
                        if isNews && not s.Repair.FastRetransmit then
                            { s.Repair with FastRetransmit = true }
                        else
                            s.Repair }

            let s =
                if isNews && not (isTolerable link s) then
                    congested now s.Congestion (Congestion.lost link.Segment s.Congestion) s.Recovery.Reordering s
                else
                    s

            struct (streams, s)

    /// Duplicates are reported: the reordering window grows; and where all that was sent again since the last congestion
    /// came twice, there was none.
    let private duplicated (cumulative: int64) (sack: Sack) (s: Sending) : Sending =
        let reports = sack.DuplicateTsns.Length
        let recovery = s.Recovery

        let ofProbe =
            recovery.Probe >= 0L
            && Array.exists (fun (tsn: Tsn) -> Tsn.unwrap cumulative tsn = recovery.Probe) sack.DuplicateTsns

        let wasFalse = recovery.Unproven > 0 && recovery.Unproven <= reports

        let next =
            { recovery with
                Reordering =
                    // A probe is sent before anyone knows of a loss: it says nothing of reordering.
                    if ofProbe then
                        recovery.Reordering
                    else
                        Reordering.duplicated cumulative s.Outstanding.Chunks.Next recovery.Reordering
                Probe = if ofProbe then -1L else recovery.Probe
                Unproven =
                    if wasFalse then
                        -1
                    else
                        max -1 (recovery.Unproven - (if recovery.Unproven > 0 then reports else 0)) }

        { s with
            Recovery = next
            Congestion =
                if wasFalse then
                    { recovery.Before with
                        Window = max recovery.Before.Window s.Congestion.Window
                        Threshold = max recovery.Before.Threshold s.Congestion.Threshold }
                else
                    s.Congestion }

    /// Settles the tail loss probe once all of its time is acknowledged, RFC 8985 §7.4: a chunk sent again that did not
    /// come twice had been lost, though no one else would notice.
    let private settleProbe (now: Instant) (link: Link) (cumulative: int64) (s: Sending) : Sending =
        let recovery = s.Recovery

        if recovery.Probe < 0L || cumulative < recovery.Probe then
            s
        elif not recovery.ProbeResent then
            { s with
                Recovery = { recovery with Probe = -1L } }
        elif cumulative > recovery.Probe then
            congested
                now
                s.Congestion
                (Congestion.lost link.Segment s.Congestion)
                recovery.Reordering
                { s with
                    Recovery = { recovery with Probe = -1L } }
        else
            s

    /// When to flush after a SACK.
    let private flushAt
        (now: Instant)
        (link: Link)
        (streams: Streams)
        (timers: SendTimers)
        (o: Outstanding)
        (congestion: Congestion)
        (trip: RoundTrip)
        (repair: Repair)
        : Instant =
        if repair.FastRetransmit || hasNews o repair then
            now
        elif o.FlightSize >= Congestion.window congestion then
            timers.FlushAt
        elif o.MarkedSize > 0 || Streams.hasMore streams then
            Pacing.ofWindow link congestion trip
            |> Pacing.gate now (streams.Buffered + int64 o.MarkedSize) timers.Ready
        else
            timers.FlushAt

    /// A SACK, RFC 9260 §6.2.1. ValueNone where it acknowledges what was never sent.
    let sacked
        (now: Instant)
        (link: Link)
        (sack: Sack)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) voption =
        let before = s.Outstanding
        let cumulative = Tsn.unwrap (Outstanding.cumulative before) sack.CumulativeTsnAck

        match Outstanding.acknowledge now s.Trip.Minimum cumulative sack.GapAckBlocks before with
        | ValueNone -> ValueNone
        | ValueSome(struct (o, ack)) ->
            let rack = Rack.updated now ack s.Rack

            let sample =
                if ack.SampleAt >= 0L<us> then
                    now - ack.SampleAt
                else
                    0L<us>

            let trip =
                if ack.SampleAt < 0L<us> then
                    if ack.Bytes > 0 && s.Repair.Errors > 0 then
                        RoundTrip.relaxed link.Config.Times s.Trip
                    else
                        s.Trip
                elif ack.SampleTsn >= s.Trip.From then
                    RoundTrip.measuredFrom before.Chunks.Next link.Config.Times sample s.Trip
                else
                    RoundTrip.glimpsed sample s.Trip

            let congestion =
                if ack.Bytes > 0 then
                    Congestion.acknowledged
                        { Now = now
                          Segment = link.Segment
                          Acked = ack.Bytes
                          FlightBefore = before.FlightSize
                          InRecovery = rack.SentAt < s.Recovery.At
                          Sample = sample
                          Trip = trip }
                        s.Congestion
                else
                    s.Congestion

            let isEmpty = Outstanding.isEmpty o
            // A peer that says its window is closed is alive, §6.1 A.
            let isAlive =
                ack.Bytes > 0 || int64 sack.AdvertisedReceiverWindow < int64 link.Segment

            let repair =
                if (isAlive && s.Repair.Errors > 0) || (isEmpty && s.Repair.Probing) then
                    { s.Repair with
                        Errors = if isAlive then 0 else s.Repair.Errors
                        Probing = s.Repair.Probing && not isEmpty }
                else
                    s.Repair

            let recovery =
                if ack.Reordered && not s.Recovery.Reordering.Seen then
                    { s.Recovery with
                        Reordering = Reordering.seen s.Recovery.Reordering }
                else
                    s.Recovery

            // Rules R2 and R3 of §6.3.2.
            let t3 =
                if isEmpty then Instant.never
                elif ack.CumulativeAdvanced then now + trip.Timeout
                else s.Timers.T3

            let window = int64 sack.AdvertisedReceiverWindow - int64 o.FlightSize

            let isPlain =
                o.Stretches.Length = 0
                && sack.DuplicateTsns.Length = 0
                && recovery.Probe < 0L
                && s.Timers.ReorderAt = Instant.never
                && not (Rack.isLate rack o)

            if isPlain then
                ValueSome(
                    struct (streams,
                            { Outstanding = o
                              Congestion = congestion
                              Trip = trip
                              Window = window
                              Timers =
                                { s.Timers with
                                    T3 = t3
                                    ProbeAt =
                                        if ack.Bytes > 0 then
                                            probeAt now link t3 o.FlightSize trip recovery repair
                                        else
                                            s.Timers.ProbeAt
                                    FlushAt = flushAt now link streams s.Timers o congestion trip repair }
                              Rack = rack
                              Repair = repair
                              Recovery = recovery })
                )
            else
                let next =
                    { Outstanding = o
                      Congestion = congestion
                      Trip = trip
                      Window = window
                      Timers = { s.Timers with T3 = t3 }
                      Rack = rack
                      Repair = repair
                      Recovery = recovery }

                let next =
                    if sack.DuplicateTsns.Length > 0 then
                        duplicated cumulative sack next
                    else
                        next

                let struct (streams, next) =
                    detect now link ack.Beyond ack.Ceiling &outputs streams (settleProbe now link cumulative next)

                ValueSome(
                    struct (streams,
                            { next with
                                Timers =
                                    { next.Timers with
                                        ProbeAt =
                                            if ack.Bytes > 0 || next.Outstanding.FlightSize = 0 then
                                                probeAt
                                                    now
                                                    link
                                                    t3
                                                    next.Outstanding.FlightSize
                                                    trip
                                                    next.Recovery
                                                    next.Repair
                                            else
                                                next.Timers.ProbeAt
                                        FlushAt =
                                            flushAt
                                                now
                                                link
                                                streams
                                                next.Timers
                                                next.Outstanding
                                                next.Congestion
                                                trip
                                                next.Repair } })
                )

    /// T3-rtx expired, RFC 9260 §6.3.3: what is in flight is to be sent again.
    let private timedOut
        (now: Instant)
        (link: Link)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) =
        let trip = RoundTrip.backOff link.Config.Times s.Trip

        if Outstanding.isEmpty s.Outstanding then
            // The window has been closed for an RTO: probe it, §6.1 A.
            struct (streams,
                    { s with
                        Trip = trip
                        Timers = { s.Timers with T3 = Instant.never }
                        Repair = { s.Repair with Probing = true } })
        else
            let window = s.Window + int64 s.Outstanding.FlightSize

            let struct (o, streams) =
                abandonStale now link s.Repair.Limited &outputs (Outstanding.markAll s.Outstanding) streams

            let s =
                if s.Repair.Probing then
                    s
                elif s.Repair.Errors > 0 then
                    // The same loss once more: ssthresh stays, RFC 5681 §3.1, and so does what there was before it.
                    { s with
                        Congestion =
                            { s.Congestion with
                                Window = link.Segment }
                        Recovery = { s.Recovery with At = now } }
                else
                    congested now s.Congestion (Congestion.timedOut link.Segment s.Congestion) s.Recovery.Reordering s

            struct (streams,
                    { s with
                        Outstanding = o
                        Trip = trip
                        Window = window
                        Timers =
                            { s.Timers with
                                T3 = Instant.never
                                ProbeAt = Instant.never
                                ReorderAt = Instant.never }
                        Repair =
                            { s.Repair with
                                Errors = s.Repair.Errors + 1
                                FastRetransmit = false
                                // To be said again, RFC 3758 §3.5 rule A5.
                                Forwarded = 0L }
                        Recovery = { s.Recovery with Probe = -1L } })

    /// What has become due besides a flush; to be followed by one, which may send what is answered here.
    let expired
        (now: Instant)
        (link: Link)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending * Burst) =
        if s.Timers.T3 <= now then
            let struct (streams, s) = timedOut now link &outputs streams s
            struct (streams, s, Burst.Timeout)
        elif s.Timers.ReorderAt <= now then
            // No more is known than when the timer was set: it is over.
            let struct (streams, s) =
                detect now link 0L (Outstanding.ceiling s.Outstanding) &outputs streams s

            struct (streams, s, Burst.Paced)
        elif s.Timers.ProbeAt <= now then
            struct (streams,
                    { s with
                        Timers =
                            { s.Timers with
                                ProbeAt = Instant.never } },
                    Burst.Probe)
        else
            struct (streams, s, Burst.Paced)
