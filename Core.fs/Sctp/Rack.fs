namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// The most recently sent chunk that has been acknowledged, RFC 8985 §5.2: what was sent before it and has not been
/// acknowledged is late.
[<Struct; NoComparison; NoEquality>]
type internal Rack =
    {
        /// RACK.xmit_ts.
        SentAt: Instant
        /// RACK.end_seq.
        Tsn: int64
        /// RACK.rtt.
        Trip: Duration
    }

/// What a look for losses found.
[<Struct; NoComparison; NoEquality>]
type internal Losses =
    {
        /// When the most recently sent of them was sent; -1 where nothing was lost.
        NewestAt: Instant
        /// When chunks that are late may be taken for lost; `Instant.never` where none is.
        Due: Instant
    }

/// How far packets overtake each other on this path, as far as we have seen.
[<NoComparison; NoEquality>]
type internal Reordering =
    {
        /// RACK.reordering_seen.
        Seen: bool
        /// RACK.reo_wnd_mult.
        Multiplier: int
        /// RACK.reo_wnd_persist: congestions until the multiplier is forgotten.
        Persist: int
        /// RACK.dsack_round: no duplicate below this TSN widens the window again; -1 where any does.
        Round: int64
    }

/// The reordering window, RFC 8985 §6.2 step 4.
[<RequireQualifiedAccess>]
module internal Reordering =
    /// Congestions that a wider window lasts.
    [<Literal>]
    let private Persistence = 16

    /// DupThresh, RFC 5681: without reordering on the path, this many chunks beyond a hole say that it is a loss.
    [<Literal>]
    let private DuplicateThreshold = 3L

    let none: Reordering =
        { Seen = false
          Multiplier = 1
          Persist = 0
          Round = -1L }

    let seen (r: Reordering) : Reordering =
        if r.Seen then r else { r with Seen = true }

    /// The peer reports that a chunk came twice: it had not been lost, the window was too narrow. Once a round trip.
    let duplicated (cumulative: int64) (next: int64) (r: Reordering) : Reordering =
        if r.Round >= 0L && cumulative < r.Round then
            r
        else
            { r with
                Multiplier = r.Multiplier + 1
                Persist = Persistence
                Round = next }

    /// A congestion was answered.
    let persisted (r: Reordering) : Reordering =
        if r.Persist = 0 then
            r
        else
            { r with
                Persist = r.Persist - 1
                Multiplier = if r.Persist = 1 then 1 else r.Multiplier }

    /// RACK.reo_wnd. `beyond`: chunks that arrived beyond the cumulative ack.
    let window (inRecovery: bool) (beyond: int64) (trip: RoundTrip) (r: Reordering) : Duration =
        match trip.Smoothed with
        | ValueNone -> 0L<us>
        | ValueSome _ when not r.Seen && (inRecovery || beyond >= DuplicateThreshold) -> 0L<us>
        | ValueSome srtt -> min (int64 r.Multiplier * trip.Minimum / 4L) srtt

/// Loss detection by time, RFC 8985, instead of the counts of RFC 9260 §7.2.4: whatever was sent before something that
/// has been acknowledged, and is late by the reordering window, is lost. It finds lost retransmissions, and lost tails
/// once a probe has been answered. Counts are not kept beside it: three chunks beyond a hole close the window.
[<RequireQualifiedAccess>]
module internal Rack =
    let create (now: Instant) : Rack =
        { SentAt = now
          Tsn = -1L
          Trip = 0L<us> }

    /// RFC 8985 §6.2 step 2.
    let updated (now: Instant) (ack: Acknowledgement) (rack: Rack) : Rack =
        if
            ack.NewestAt > rack.SentAt
            || (ack.NewestAt = rack.SentAt && ack.NewestTsn > rack.Tsn)
        then
            { SentAt = ack.NewestAt
              Tsn = ack.NewestTsn
              Trip = now - ack.NewestAt }
        else
            rack

    /// Whether a transmission came before that of `rack`, RFC 8985 §6.2 RACK_sent_after.
    let inline private isBefore (rack: Rack) (tsn: int64) (sentAt: Instant) =
        sentAt < rack.SentAt || (sentAt = rack.SentAt && tsn < rack.Tsn)

    /// Whether the first of what is outstanding was sent before `rack`. Where there are no gaps, nothing else can have been.
    let isLate (rack: Rack) (o: Outstanding) : bool =
        not o.Chunks.IsEmpty
        && isBefore rack o.Chunks.First o.Chunks[o.Chunks.First].SentAt

    let private holds (rack: Rack) (by: Instant) (tsn: int64) (o: Outstanding) : bool =
        let sentAt = o.Chunks[tsn].SentAt
        sentAt <= by && isBefore rack tsn sentAt

    /// The last TSN from `first` to `last`, all sent once, that was sent before `rack` and no later than `by`; `first` - 1
    /// where none was. They were sent in order: found by halving.
    let private lastBefore (rack: Rack) (by: Instant) (first: int64) (last: int64) (o: Outstanding) : int64 =
        if first > last || not (holds rack by first o) then
            first - 1L
        else
            let mutable low = first
            let mutable high = last

            while low < high do
                let middle = high - (high - low) / 2L

                if holds rack by middle o then
                    low <- middle
                else
                    high <- middle - 1L

            low

    /// The last TSN of a stretch, up to `last`, that is late: sent before `rack` and no later than `by`.
    let private lateIn (rack: Rack) (by: Instant) (stretch: Stretch) (last: int64) (o: Outstanding) : int64 =
        if stretch.Resends = 0 then
            lastBefore rack by stretch.First last o
        elif stretch.ResentAt > by || not (isBefore rack stretch.First stretch.ResentAt) then
            stretch.First - 1L
        elif stretch.ResentAt = rack.SentAt then
            min last (rack.Tsn - 1L)
        else
            last

    /// Looks for what is lost: sent before `rack`, and late by more than `window`, RFC 8985 §6.2 step 5. Up to `ceiling` it is
    /// to be sent again; above, the peer may have it and has not said so: it no longer counts as in flight.
    let detect
        (now: Instant)
        (rack: Rack)
        (window: Duration)
        (ceiling: int64)
        (o: Outstanding)
        : struct (Outstanding * Losses) =
        let allowed = rack.Trip + window
        // Built only where something changes.
        let mutable built: ResizeArray<Stretch> voption = ValueNone
        let mutable flight = o.FlightSize
        let mutable marked = o.MarkedSize
        let mutable newest = -1L<us>
        let mutable due = -1L<us>

        // Whether what follows the stretches is there, and to be looked at.
        let tail =
            if (Outstanding.stretchAt o.Stretches.Length o).First < o.Chunks.Next then
                0
            else
                -1

        for i in 0 .. o.Stretches.Length + tail do
            let stretch = Outstanding.stretchAt i o

            // The last one that is late by more than the window, and how far it is to be sent again.
            let late =
                match stretch.Fate with
                | Fate.InFlight -> lateIn rack (now - allowed) stretch stretch.Last o
                | Fate.Unreported when stretch.First <= ceiling -> stretch.Last
                | _ -> stretch.First - 1L

            let lost = min late ceiling

            if stretch.Fate = Fate.InFlight && late < stretch.Last then
                let rest = { stretch with First = late + 1L }
                let suspect = lateIn rack now rest stretch.Last o

                if suspect > late then
                    due <-
                        max
                            due
                            (allowed
                             + (if stretch.Resends = 0 then
                                    o.Chunks[suspect].SentAt
                                else
                                    stretch.ResentAt))

            if lost >= stretch.First then
                marked <- marked + Outstanding.bytes stretch.First lost o

                newest <-
                    max
                        newest
                        (if stretch.Resends = 0 then
                             o.Chunks[lost].SentAt
                         else
                             stretch.ResentAt)

            if late >= stretch.First then
                if stretch.Fate = Fate.InFlight then
                    flight <- flight - Outstanding.bytes stretch.First late o

                if built.IsNone then
                    let started = ResizeArray(o.Stretches.Length + 8)

                    for j in 0 .. i - 1 do
                        started.Add(Outstanding.stretchAt j o)

                    built <- ValueSome started

            match built with
            | ValueSome built ->
                if lost >= stretch.First then
                    Outstanding.push
                        { stretch with
                            Last = lost
                            Fate = Fate.Marked }
                        built

                let above = max stretch.First (lost + 1L)

                if late >= above then
                    Outstanding.push
                        { stretch with
                            First = above
                            Last = late
                            Fate = Fate.Unreported }
                        built

                if late < stretch.Last then
                    Outstanding.push
                        { stretch with
                            First = max stretch.First (late + 1L) }
                        built
            | ValueNone -> ()

        let losses =
            { NewestAt = newest
              Due = if due < 0L<us> then Instant.never else due }

        match built with
        | ValueSome built ->
            struct ({ o with
                        Stretches = Outstanding.finish built
                        FlightSize = flight
                        MarkedSize = marked },
                    losses)
        | ValueNone -> struct (o, losses)
