namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// What a SACK and the timers do to the sending half. `Flush` sends.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
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
              ForwardedTo = 0L
              Resent = 0L
              Limited = 0L }
          Recovery =
            { At = -1L<us>
              Reordering = Reordering.none
              Probe = -1L
              ProbeResent = false
              Before = congestion
              Unproven = -1
              Timeouts = 0
              Lost = 0
              LostFrom = 0L } }

    /// Another path, of which nothing is known: its window and its round trip begin anew, RFC 9260 §6.3.1, §7.2.1. What is
    /// under way by the former one still counts, but measures nothing, and is not waited for any longer than by the new one: a probe
    /// asks for it at once (as RFC 8985 §7.3), for it may be lost, or what acknowledged it.
    let rerouted (now: Instant) (link: Link) (s: Sending) : Sending =
        let fresh = create now (Tsn.wrap s.Outstanding.Chunks.Next) link

        { s with
            Congestion = fresh.Congestion
            Trip =
                { fresh.Trip with
                    From = s.Outstanding.Chunks.Next }
            Recovery =
                { fresh.Recovery with
                    At = now
                    LostFrom = s.Outstanding.Sum }
            Timers =
                { s.Timers with
                    T3 =
                        if s.Timers.T3 = Instant.never then
                            Instant.never
                        else
                            Instant.min s.Timers.T3 (now + fresh.Trip.Timeout)
                    ProbeAt =
                        if s.Outstanding.FlightSize > 0 && not s.Repair.Probing then
                            now
                        else
                            Instant.never
                    ReorderAt = Instant.never
                    FlushAt = now
                    Ready = now } }

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

    /// Whether the peer has to be told that we gave something up, RFC 3758 §3.5 rule C3. Once for each advance, and for each
    /// part of it once the part before has been acknowledged; T3 repeats it.
    let hasNews (o: Outstanding) (repair: Repair) : bool =
        let point = Outstanding.advancedAckPoint o
        let cumulative = Outstanding.cumulative o

        point > cumulative
        && (point <> repair.Forwarded
            || (repair.ForwardedTo < repair.Forwarded && cumulative >= repair.ForwardedTo))

    /// When the probe timeout is, RFC 8985 §7.2: never where nothing is in flight, a probe is under way, T3 comes first, or has
    /// expired and waits for its answer.
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
        | ValueSome srtt when flight > 0 && recovery.Probe < 0L && recovery.Timeouts = 0 && not repair.Probing ->
            let delay = if flight <= link.Segment then maxAckDelay else 0L<us>
            let at = now + max minProbe (2L * srtt + delay)
            if at < t3 then at else Instant.never
        | _ -> Instant.never

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
            let wasFalse =
                ack.UnlostAt >= 0L<us> && s.Recovery.Timeouts > 0 && s.Recovery.Unproven >= 0

            // What was sent again has been acknowledged for its first transmission, then.
            let rack = if wasFalse then s.Rack else Rack.updated now ack s.Rack

            let sample =
                if ack.SampleAt >= 0L<us> then
                    now - ack.SampleAt
                else
                    0L<us>

            let trip =
                if wasFalse && s.Recovery.Timeouts = 1 then
                    // The path has become longer, it seems: the timeout is to follow (RFC 4015 §3.2).
                    RoundTrip.measuredFrom before.Chunks.Next link.Config.Times (now - ack.UnlostAt) s.Trip
                elif ack.SampleAt < 0L<us> then
                    if ack.CumulativeAdvanced then
                        RoundTrip.progressed link.Config.Times s.Trip
                    else
                        s.Trip
                elif ack.SampleTsn < s.Trip.From && s.Trip.Smoothed.IsNone then
                    // It went by another path.
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
                          // One by another path says nothing of this one.
                          Sample = (if trip.Smoothed.IsSome then sample else 0L<us>)
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

            let recovery =
                if ack.Bytes > 0 && recovery.Timeouts > 0 then
                    { recovery with Timeouts = 0 }
                else
                    recovery

            // Rules R2 and R3 of §6.3.2.
            let t3 =
                if isEmpty then Instant.never
                elif ack.CumulativeAdvanced then now + trip.Timeout
                else s.Timers.T3

            let window = int64 sack.AdvertisedReceiverWindow - int64 o.FlightSize

            let isPlain =
                o.Stretches.Length = 0
                && not wasFalse
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

                let next = if wasFalse then Recovery.vindicated next else next

                let next =
                    if sack.DuplicateTsns.Length > 0 then
                        Recovery.duplicated cumulative sack next
                    else
                        next

                let struct (streams, next) =
                    Recovery.detect
                        now
                        link
                        ack.Beyond
                        ack.Ceiling
                        &outputs
                        streams
                        (Recovery.settleProbe now link cumulative next)

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
                Recovery.abandonStale now link s.Repair.Limited &outputs (Outstanding.markAll s.Outstanding) streams

            let s =
                if s.Repair.Probing then
                    s
                elif s.Recovery.Timeouts > 0 then
                    // The same loss once more: ssthresh stays, RFC 5681 §3.1, and so does what there was before it.
                    { s with
                        Congestion =
                            { s.Congestion with
                                Window = link.Segment }
                        Recovery = { s.Recovery with At = now } }
                else
                    Recovery.congested
                        now
                        s.Congestion
                        (Congestion.timedOut link.Segment s.Trip s.Congestion)
                        s.Recovery.Reordering
                        s

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
                        Recovery =
                            { s.Recovery with
                                Probe = -1L
                                Timeouts = s.Recovery.Timeouts + 1 } })

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
                Recovery.detect now link 0L (Outstanding.ceiling s.Outstanding) &outputs streams s

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
