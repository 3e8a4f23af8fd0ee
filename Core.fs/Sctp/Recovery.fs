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
        /// Advanced.Peer.Ack.Point when the last FORWARD TSN was said, and as far as that reached: fewer where there were too
        /// many streams for a packet. 0 before the first.
        Forwarded: int64
        ForwardedTo: int64
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
        /// Expirations of T3 since something was last acknowledged: the next answer judges them, RFC 5682.
        Timeouts: int
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

/// Finds out what is lost, what is congestion, and what was neither.
[<RequireQualifiedAccess>]
module internal Recovery =
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
    let abandonStale
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

            at <- Outstanding.firstMarked tsn o

        struct (o, streams)

    /// Answers congestion: the window shrinks.
    let congested
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
    let detect
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
                    congested
                        now
                        s.Congestion
                        (Congestion.lost link.Segment s.Trip s.Congestion)
                        s.Recovery.Reordering
                        s
                else
                    s

            struct (streams, s)

    /// T3-rtx expired for nothing: the first answer after it acknowledges what had been taken for lost and was not sent again
    /// (F-RTO, RFC 5682). The window is what it was, and the rest of what was marked is under way.
    let vindicated (s: Sending) : Sending =
        let o = Outstanding.unmark s.Outstanding

        { s with
            Outstanding = o
            Window = s.Window + int64 s.Outstanding.FlightSize - int64 o.FlightSize
            Congestion = s.Recovery.Before
            Recovery =
                { s.Recovery with
                    Unproven = -1
                    Probe = -1L } }

    /// Duplicates are reported: the reordering window grows; and where all that was sent again since the last congestion
    /// came twice, there was none.
    let duplicated (cumulative: int64) (sack: Sack) (s: Sending) : Sending =
        let recovery = s.Recovery

        let ofProbe =
            recovery.Probe >= 0L
            && Array.exists (fun (tsn: Tsn) -> Tsn.unwrap cumulative tsn = recovery.Probe) sack.DuplicateTsns

        // A probe that comes twice proves nothing of the last congestion.
        let reports = sack.DuplicateTsns.Length - (if ofProbe then 1 else 0)

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
    let settleProbe (now: Instant) (link: Link) (cumulative: int64) (s: Sending) : Sending =
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
                (Congestion.lost link.Segment s.Trip s.Congestion)
                recovery.Reordering
                { s with
                    Recovery = { recovery with Probe = -1L } }
        else
            s
