namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// A packet as it came. The sequence number is unwrapped.
[<Struct; NoComparison; NoEquality>]
type internal TransportArrival = { Sequence: int64; At: Instant }

/// What a report changes; a packet rarely does.
[<NoComparison; NoEquality>]
type internal TransportCcReported =
    {
        /// The number in the log of the first arrival that no report tells of.
        Through: int64
        /// The unwrapped sequence number that the next report begins with; `Int64.MinValue` before the first.
        Next: int64
        /// When the last report was made.
        At: Instant
        /// When the next one is due; `Instant.never` while nothing has come since the last.
        DueAt: Instant
        Interval: Duration
        Count: byte
    }

/// Records when packets came and reports it to their sender, draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.
///
///     Silent ──received──▶ Pending ──due: `tick`──▶ Silent
///
/// A packet is an entry of an append-only log, whatever its place in the order; what was lost, was late or came twice is
/// told apart once a report.
[<RequireQualifiedAccess>]
module internal TransportCcRecorder =
    [<Struct; NoComparison; NoEquality>]
    type State =
        {
            Arrivals: Log<TransportArrival>
            /// Octets that came since the last report.
            Octets: int64
            Reported: TransportCcReported
        }

    /// Packets that one report may tell of: whoever skips more numbers is told of the newest.
    [<Literal>]
    let Window = 10_000

    /// Arrivals that are worth a report at once: what one datagram has room for.
    [<Literal>]
    let private Plenty = 500

    /// Octets of a feedback packet, at most, so that it fits any path with others beside it.
    [<Literal>]
    let private MaxOctets = 1_100

    /// How long an arrival can be told again, when an older packet comes late. libwebrtc's back window.
    let private history: Duration = Duration.milliseconds 500L

    /// libwebrtc's bounds of the interval; the first report is due after its default of 100 ms at most.
    let private shortest: Duration = Duration.milliseconds 50L

    let private longest: Duration = Duration.milliseconds 250L

    let create () : State =
        { Arrivals = Log.startingAt 0L
          Octets = 0L
          Reported =
            { Through = 0L
              Next = Int64.MinValue
              At = 0L<us>
              DueAt = Instant.never
              Interval = Duration.milliseconds 100L
              Count = 0uy } }

    /// When `tick` has a report to make; `Instant.never` while nothing came.
    let deadline (state: State) : Instant = state.Reported.DueAt

    /// The number that `sequence` stands for, next to the one that came before it. A number that is further back than
    /// any report goes is taken as one ahead: the sender has begun anew.
    let private unwrap (sequence: uint16) (last: int64) =
        let distance = int64 (int16 (sequence - uint16 last))

        last
        + (if distance <= int64 -Window then
               distance + 65_536L
           else
               distance)

    /// Notes a packet of so many octets with a transport-wide sequence number. O(1).
    let received (now: Instant) (sequence: uint16) (octets: int) (state: State) : State =
        let arrivals = state.Arrivals
        let total = state.Octets + int64 octets

        let number =
            if arrivals.IsEmpty then
                int64 sequence
            else
                unwrap sequence arrivals[arrivals.Next - 1L].Sequence

        let arrivals = Log.append { Sequence = number; At = now } arrivals
        let reported = state.Reported
        let pending = arrivals.Next - reported.Through

        if pending = 1L then
            let dueAt = max now (Instant.add reported.Interval reported.At)
            // Nobody has waited yet: the first report tells of a little more than one packet.
            let dueAt =
                if reported.Next = Int64.MinValue then
                    now + reported.Interval
                else
                    dueAt

            { Arrivals = arrivals
              Octets = total
              Reported = { reported with DueAt = dueAt } }
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

    /// Ticks of 64 ms, as many bits as the field has.
    let private reference (at: Instant) =
        int32 ((at / 64_000L<us>) <<< 40 >>> 40)

    /// Feedback of the packets from `first` on, in as many parts as it takes. `times`: when each came, or `never`.
    let private parts (sender: uint32) (media: uint32) (count: byte) (first: int64) (times: Instant[]) =
        let mutable made: TransportFeedback list = []
        let mutable count = count
        let mutable from = 0
        // A part that ends with losses ends before them: the next begins with them.
        let mutable last = times.Length

        while last > 0 && times[last - 1] = Instant.never do
            last <- last - 1

        while from < last do
            let packets: PacketArrival[] = Array.zeroCreate (last - from)
            let mutable at = from

            while times[at] = Instant.never do
                at <- at + 1

            let start = times[at] / 64_000L<us>
            // In units of 250 µs; an arrival is rounded to the same one in every report, and rounding does not add up.
            let origin = start * 256L
            let mutable told = 0L
            let mutable i = from
            let mutable lost = 0
            // Header, and a chunk that is not full.
            let mutable octets = 20 + 2
            let mutable sevenths = 0
            let mutable filled = 0
            let mutable isFull = false

            while not isFull && i < last do
                if times[i] = Instant.never then
                    lost <- lost + 1

                    if lost < 14 then
                        sevenths <- sevenths + 2

                    i <- i + 1
                else
                    let units = (times[i] + 125L<us>) / 250L<us> - origin
                    let delta = units - told

                    let cost = if delta >= 0L && delta <= 255L then 1 else 2

                    if
                        (delta > int64 Int16.MaxValue || delta < int64 Int16.MinValue)
                        || octets + sevenths / 7 + cost > MaxOctets
                    then
                        isFull <- true
                    else
                        packets[i - from] <- { Received = true; Delta = int16 delta }

                        told <- units
                        octets <- octets + cost
                        sevenths <- sevenths + 2
                        lost <- 0
                        i <- i + 1
                        filled <- i - from

            made <-
                { Sender = sender
                  Media = media
                  BaseSequence = uint16 (first + int64 from)
                  ReferenceTime = reference times[at]
                  FeedbackCount = count
                  Packets =
                    (if filled = packets.Length then
                         packets
                     else
                         packets[.. filled - 1]) }
                :: made

            count <- count + 1uy
            from <- from + filled

        struct (List.rev made, count)

    /// Feedback of what came since the last, once it is due; nothing before that. `sender`: our SSRC; `media`: that of
    /// any source of the peer's, which senders do not read.
    let tick (now: Instant) (sender: uint32) (media: uint32) (state: State) : Step<State, TransportFeedback> =
        let reported = state.Reported

        if now < reported.DueAt then
            Step.only state
        else
            let arrivals = state.Arrivals
            let through = max reported.Through arrivals.First
            let mutable lowest = Int64.MaxValue
            let mutable highest = Int64.MinValue

            for i in through .. arrivals.Next - 1L do
                let sequence = arrivals[i].Sequence
                lowest <- min lowest sequence
                highest <- max highest sequence

            let isLate = lowest < reported.Next

            let first, top =
                if reported.Next = Int64.MinValue then lowest, highest
                elif isLate then lowest, max highest (reported.Next - 1L)
                else reported.Next, highest

            let first = max first (top - int64 Window + 1L)
            let times: Instant[] = Array.create (int (top - first) + 1) Instant.never

            // The first copy of a packet counts. What was told is told again beside a late one.
            for i in (if isLate then arrivals.First else through) .. arrivals.Next - 1L do
                let arrival = arrivals[i]
                let place = arrival.Sequence - first

                if place >= 0L && place < times.LongLength && times[int place] = Instant.never then
                    times[int place] <- arrival.At

            let struct (feedback, count) = parts sender media reported.Count first times
            let elapsed = max 1_000L<us> (now - arrivals[through].At)
            // 5 % of the rate for feedback packets of 68 octets, as libwebrtc has it.
            let interval = elapsed * 68L * 20L / max 1L state.Octets

            // Of what is older than the window nobody asks again; one stays, to unwrap the next by.
            let mutable keep = max arrivals.First (arrivals.Next - int64 Window)

            while keep < arrivals.Next - 1L && arrivals[keep].At < now - history do
                keep <- keep + 1L

            struct ({ Arrivals = Log.dropTo keep arrivals
                      Octets = 0L
                      Reported =
                        { Through = arrivals.Next
                          Next = max reported.Next (highest + 1L)
                          At = now
                          DueAt = Instant.never
                          Interval = max shortest (min longest interval)
                          Count = count } },
                    feedback)
