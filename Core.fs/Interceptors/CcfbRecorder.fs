namespace Hybrid.WebRtc.Core

open System
open System.Collections.Generic
open Hybrid.WebRtc.Rtp

/// A packet of a stream as it came.
[<Struct; NoComparison; NoEquality>]
type internal StreamArrival =
    { Ssrc: uint32
      Sequence: uint16
      Ecn: byte
      At: Instant }

/// What was reported of a stream. Sequence numbers are unwrapped.
[<Struct; NoComparison; NoEquality>]
type internal StreamReported =
    {
        Ssrc: uint32
        /// The number that the next report begins with.
        Next: int64
        /// When a packet of it was last reported.
        At: Instant
    }

/// What a report changes; a packet rarely does.
[<NoComparison; NoEquality>]
type internal CcfbReported =
    {
        /// The number in the log of the first arrival that no report tells of.
        Through: int64
        Streams: StreamReported[]
        /// When the last report was made.
        At: Instant
        /// When the next one is due; `Instant.never` while nothing has come since the last.
        DueAt: Instant
        Interval: Duration
    }

/// Records when packets came and with which ECN mark, and reports it stream by stream, RFC 8888 §3.
///
///     Silent ──received──▶ Pending ──due: `tick`──▶ Silent
[<RequireQualifiedAccess>]
module internal CcfbRecorder =
    [<Struct; NoComparison; NoEquality>]
    type State =
        {
            Arrivals: Log<StreamArrival>
            /// Octets that came since the last report.
            Octets: int64
            Reported: CcfbReported
        }

    /// Packets that one report may tell of a stream; RFC 8888 §3.1 allows 16,384.
    [<Literal>]
    let Window = 10_000

    /// Streams that are told apart, at most.
    [<Literal>]
    let private MaxStreams = 1_024

    /// Arrivals that are worth a report at once: what one datagram has room for.
    [<Literal>]
    let private Plenty = 400

    /// Octets of a feedback packet, at most, so that it fits any path with others beside it.
    [<Literal>]
    let private MaxOctets = 1_100

    /// How long an arrival can be told again, when an older packet comes late.
    let private history: Duration = Duration.milliseconds 500L

    /// A stream that sends nothing any more is forgotten.
    let private memory: Duration = Duration.seconds 60L

    /// Bounds of the interval: about a frame of video at best, RFC 8888 §4.
    let private shortest: Duration = Duration.milliseconds 25L

    let private longest: Duration = Duration.milliseconds 250L

    let create () : State =
        { Arrivals = Log.startingAt 0L
          Octets = 0L
          Reported =
            { Through = 0L
              Streams = Array.Empty()
              At = 0L<us>
              DueAt = Instant.never
              Interval = Duration.milliseconds 50L } }

    /// When `tick` has a report to make; `Instant.never` while nothing came.
    let deadline (state: State) : Instant = state.Reported.DueAt

    /// Notes a packet of a stream, of so many octets. `ecn`: RFC 3168 §5, 0 where it is not known. O(1).
    let received (now: Instant) (ssrc: uint32) (sequence: uint16) (octets: int) (ecn: byte) (state: State) : State =
        let total = state.Octets + int64 octets

        let arrivals =
            Log.append
                { Ssrc = ssrc
                  Sequence = sequence
                  Ecn = ecn &&& 3uy
                  At = now }
                state.Arrivals

        let reported = state.Reported
        let pending = arrivals.Next - reported.Through

        if pending = 1L then
            let since = if reported.Streams.Length = 0 then now else reported.At

            { Arrivals = arrivals
              Octets = total
              Reported =
                { reported with
                    DueAt = max now (since + reported.Interval) } }
        elif pending = int64 Plenty then
            { Arrivals = arrivals
              Octets = total
              Reported =
                { reported with
                    DueAt = Instant.min now reported.DueAt } }
        elif arrivals.Count > 2 * Window then
            { Arrivals = Log.dropTo (arrivals.Next - int64 Window) arrivals
              Octets = total
              Reported = reported }
        else
            { Arrivals = arrivals
              Octets = total
              Reported = reported }

    /// What one report has to say of one stream.
    [<AllowNullLiteral>]
    type private Told(ssrc: uint32, near: int64, isNew: bool) =
        /// The unwrapped number of the newest packet looked at.
        member val Last = near with get, set
        member val Lowest = Int64.MaxValue with get, set
        member val Highest = Int64.MinValue with get, set
        member val Packets: CcfbArrival[] = Array.Empty() with get, set
        member val First = 0L with get, set
        /// The number that this report begins with if nothing came late.
        member _.Next = near
        member _.IsNew = isNew
        member _.Ssrc = ssrc

    /// In 1,024ths of a second before the report, RFC 8888 §3.1.
    let private offset (now: Instant) (at: Instant) =
        let ato = (now - at) * 1_024L / 1_000_000L<us>

        if ato < 0L then 0x1FFFus
        elif ato > 8_189L then 0x1FFEus
        else uint16 ato

    let private fill (now: Instant) (arrival: StreamArrival) (number: int64) (told: Told) =
        let place = number - told.First

        if place >= 0L && place < told.Packets.LongLength then
            let held = told.Packets[int place]

            if not held.Received then
                told.Packets[int place] <-
                    { Received = true
                      Ecn = arrival.Ecn
                      ArrivalOffset = offset now arrival.At }
            elif arrival.Ecn = 3uy then
                // Of copies the first one's time and any one's mark count.
                told.Packets[int place] <- { held with Ecn = 3uy }

    /// Streams cut into packets that fit a datagram.
    let private cut (sender: uint32) (timestamp: uint32) (streams: ResizeArray<CcfbStream>) : Rtcp list =
        let mutable made: Rtcp list = []
        let mutable part = ResizeArray<CcfbStream>()
        // Header, sender and timestamp.
        let mutable octets = 12

        let close () =
            if part.Count > 0 then
                made <- CongestionFeedback(sender, part.ToArray(), timestamp) :: made
                part <- ResizeArray<CcfbStream>()
                octets <- 12

        for stream in streams do
            let mutable from = 0

            while from < stream.Packets.Length do
                if octets + 12 > MaxOctets then
                    close ()

                let count = min (stream.Packets.Length - from) ((MaxOctets - octets - 8) / 4 * 2)

                part.Add
                    { Ssrc = stream.Ssrc
                      BeginSequence = stream.BeginSequence + uint16 from
                      Packets = stream.Packets[from .. from + count - 1] }

                octets <- octets + 8 + 2 * count + 2 * (count &&& 1)
                from <- from + count

        close ()
        List.rev made

    /// The report of what came since the last, once it is due, in as many packets as it takes; nothing before that.
    /// `sender`: our SSRC. `timestamp`: the middle 32 bits of the NTP time of `now`, by the clock of our sender reports.
    let tick (now: Instant) (sender: uint32) (timestamp: uint32) (state: State) : Step<State, Rtcp> =
        let reported = state.Reported

        if now < reported.DueAt then
            Step.only state
        else
            let arrivals = state.Arrivals
            let through = max reported.Through arrivals.First
            let streams = Dictionary<uint32, Told>()

            for stream in reported.Streams do
                streams[stream.Ssrc] <- Told(stream.Ssrc, stream.Next, false)

            let order = ResizeArray<Told>()
            let mutable isLate = false

            for i in through .. arrivals.Next - 1L do
                let arrival = arrivals[i]

                let told =
                    match streams.TryGetValue arrival.Ssrc with
                    | true, told -> told
                    | _ ->
                        let told = Told(arrival.Ssrc, int64 arrival.Sequence, true)

                        if streams.Count < MaxStreams then
                            streams[arrival.Ssrc] <- told
                            told
                        else
                            null

                if not (isNull told) then
                    let number = Sequence.unwrap told.Last arrival.Sequence

                    if told.Lowest = Int64.MaxValue then
                        order.Add told

                    told.Last <- number
                    told.Lowest <- min told.Lowest number
                    told.Highest <- max told.Highest number

            for told in order do
                let isBehind = told.Lowest < told.Next && not told.IsNew
                isLate <- isLate || isBehind

                let first = if isBehind || told.IsNew then told.Lowest else told.Next

                let top =
                    if isBehind then
                        max told.Highest (told.Next - 1L)
                    else
                        told.Highest

                told.First <- max first (top - int64 Window + 1L)
                told.Packets <- Array.zeroCreate (int (top - told.First) + 1)
                told.Last <- told.Next

            // What was told is told again beside a late one.
            if isLate then
                for i in arrivals.First .. through - 1L do
                    let arrival = arrivals[i]

                    match streams.TryGetValue arrival.Ssrc with
                    | true, told when told.Packets.Length > 0 ->
                        fill now arrival (Sequence.unwrap told.Next arrival.Sequence) told
                    | _ -> ()

            for i in through .. arrivals.Next - 1L do
                let arrival = arrivals[i]

                match streams.TryGetValue arrival.Ssrc with
                | true, told ->
                    let number = Sequence.unwrap told.Last arrival.Sequence
                    told.Last <- number
                    fill now arrival number told
                | _ -> ()

            let found = ResizeArray<CcfbStream>()

            for told in order do
                found.Add
                    { Ssrc = told.Ssrc
                      BeginSequence = uint16 told.First
                      Packets = told.Packets }

            let kept = ResizeArray<StreamReported>()

            for stream in reported.Streams do
                let told = streams[stream.Ssrc]

                if told.Packets.Length > 0 then
                    kept.Add
                        { stream with
                            Next = max stream.Next (told.Highest + 1L)
                            At = now }
                elif stream.At > now - memory then
                    kept.Add stream

            for told in order do
                if told.IsNew && kept.Count < MaxStreams then
                    kept.Add
                        { Ssrc = told.Ssrc
                          Next = told.Highest + 1L
                          At = now }

            let elapsed = max 1_000L<us> (now - arrivals[through].At)
            // As for transport-wide feedback: about 5 % of the rate.
            let interval = elapsed * 68L * 20L / max 1L state.Octets
            let mutable keep = max arrivals.First (arrivals.Next - int64 Window)

            while keep < arrivals.Next && arrivals[keep].At < now - history do
                keep <- keep + 1L

            struct ({ Arrivals = Log.dropTo keep arrivals
                      Octets = 0L
                      Reported =
                        { Through = arrivals.Next
                          Streams = kept.ToArray()
                          At = now
                          DueAt = Instant.never
                          Interval = max shortest (min longest interval) } },
                    cut sender timestamp found)
