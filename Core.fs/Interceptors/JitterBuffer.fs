namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// A packet that waits in a jitter buffer.
[<NoComparison; NoEquality>]
type internal Buffered =
    {
        Packet: RtpPacket
        ArrivedAt: Instant
        /// What the packet's timestamp says, in time since the stream's first.
        MediaTime: Duration
        /// What it is held for, in octets.
        Octets: int
    }

/// What a jitter buffer's statistics are counted in.
type internal JitterBufferUnit =
    | Packets = 0
    /// Of video: a frame is emitted with its last packet, and has waited since its first came.
    | Frames = 1
    /// Of sound: as many as lie between a packet's timestamp and that of the one before it.
    | Samples = 2

/// What was emitted last.
[<Struct; NoComparison; NoEquality>]
type internal LastEmitted =
    {
        /// Its sequence number, unwrapped; negative: none.
        Number: int64
        Timestamp: uint32
        /// When the first packet of its timestamp came.
        FirstAt: Instant
        /// Samples that a packet had last; 0: not known.
        Samples: int64
    }

/// What W3C webrtc-stats asks of a jitter buffer. Sums over all that was emitted, in its unit.
[<Struct; NoComparison>]
type internal JitterBufferCounters =
    {
        /// From arrival to emission.
        Delay: Duration
        /// What the buffer aimed at.
        TargetDelay: Duration
        /// What it would have aimed at without the application's wish.
        MinimumDelay: Duration
        Emitted: int64
        /// Came too late, or twice.
        Discarded: int64
        /// Never came, or too late.
        Skipped: int64
    }

/// The clock of the other side, as its packets tell it.
[<NoComparison; NoEquality>]
type internal Transit =
    {
        /// The timestamp that `MediaTime` belongs to.
        Timestamp: uint32
        MediaTime: Duration
        ClockRate: int
        /// The smallest arrival time less media time, of this period and of the one before it: nobody was faster.
        Fastest: Duration
        FastestBefore: Duration
        PeriodEndsAt: Instant
    }

/// Reorders the packets of one stream, and evens out the time between them. Each is emitted when it would have come by the slowest of
/// the ways seen of late: its media time, plus the fastest way, plus a target that follows the jitter. A missing packet is waited
/// for until the one behind it is due, so that a target that has grown by a round trip leaves a retransmission time to come.
///
///     Empty ──received──▶ Holding ──tick at the deadline: what is due, in order──▶ Empty
[<RequireQualifiedAccess>]
module internal JitterBuffer =
    [<NoComparison; NoEquality>]
    type State =
        {
            Held: Window<Buffered>
            /// The number of the first that is held; that of the window's end where nothing is.
            Head: int64
            Octets: int64
            /// ValueNone: before the first packet.
            Transit: Transit voption
            /// How much slower than the fastest packets are, a peak that fades.
            Spread: Duration
            SpreadAt: Instant
            /// What a retransmission takes; 0: nothing is retransmitted.
            RoundTrip: Duration
            /// Until when losses make the target wait for retransmissions.
            RepairUntil: Instant
            /// The application's wish: `jitterBufferTarget`.
            Least: Duration
            Unit: JitterBufferUnit
            Last: LastEmitted
            Counters: JitterBufferCounters
        }

    /// Packets held, holes not counted.
    [<Literal>]
    let MaxPackets = 2048

    /// Octets held.
    [<Literal>]
    let MaxOctets = 8_388_608L

    /// Missing packets in a row that are waited for.
    [<Literal>]
    let MaxGap = 512L

    /// Beyond what a call bears, a packet is late: the adaptive part of the target ends there.
    let mostAdaptive: Duration = Duration.milliseconds 500L

    /// `jitterBufferTarget` ends there, W3C webrtc-extensions.
    let mostWished: Duration = Duration.seconds 4L

    /// How long the fastest way is remembered, once or twice.
    let private period: Duration = Duration.seconds 5L

    /// A timestamp that is further off than that from its arrival is another clock's.
    let private sameClock: Duration = Duration.seconds 3L

    /// How long a loss keeps the target up.
    let private repairs: Duration = Duration.seconds 10L

    /// The time in which the spread fades to half, about.
    let private fade: Duration = Duration.seconds 7L

    let none: JitterBufferCounters =
        { Delay = 0L<us>
          TargetDelay = 0L<us>
          MinimumDelay = 0L<us>
          Emitted = 0L
          Discarded = 0L
          Skipped = 0L }

    let create (roundTrip: Duration) : State =
        { Held = Window.startingAt 0L
          Head = 0L
          Octets = 0L
          Transit = ValueNone
          Spread = 0L<us>
          SpreadAt = 0L<us>
          RoundTrip = roundTrip
          RepairUntil = Int64.MinValue * 1L<us>
          Least = 0L<us>
          Unit = JitterBufferUnit.Packets
          Last =
            { Number = -1L
              Timestamp = 0u
              FirstAt = 0L<us>
              Samples = 0L }
          Counters = none }

    /// What statistics are counted in.
    let counting (unit: JitterBufferUnit) (state: State) : State = { state with Unit = unit }

    /// What packets are to be held for at least, W3C `jitterBufferTarget`; 0: as short as can be.
    let wish (least: Duration) (state: State) : State =
        { state with
            Least = max 0L<us> (min mostWished least) }

    /// The round trip as it is now known; 0: nothing is retransmitted.
    let roundTrip (time: Duration) (state: State) : State =
        { state with
            RoundTrip = max 0L<us> time }

    /// What the network asks for, now.
    let adaptive (state: State) : Duration =
        let repair =
            if state.RoundTrip > 0L<us> && state.SpreadAt < state.RepairUntil then
                state.RoundTrip + state.RoundTrip / 2L + Duration.milliseconds 10L
            else
                0L<us>

        min mostAdaptive (max state.Spread repair)

    /// How long the slowest packets may take more than the fastest.
    let target (state: State) : Duration = max state.Least (adaptive state)

    let private dueAt (state: State) (transit: Transit) (held: Buffered) : Instant =
        let target = target state
        let fastest = min transit.Fastest transit.FastestBefore
        // Whatever the timestamps say: not before it came, and no longer than the target's bound.
        max held.ArrivedAt (min (held.ArrivedAt + max mostAdaptive target) (fastest + held.MediaTime + target))

    /// The first number from `from` on that is held, or the window's end.
    let private headFrom (from: int64) (held: Window<Buffered>) : int64 =
        let mutable number = from

        while number < held.Next && (Window.tryFind number held).IsNone do
            number <- number + 1L

        number

    /// Whether more is held than may be.
    let private overfull (state: State) =
        state.Held.Count > MaxPackets || state.Octets > MaxOctets

    /// When the next packet is due.
    let deadline (state: State) : Instant =
        match state.Transit, Window.tryFind state.Head state.Held with
        | ValueSome _, ValueSome item when overfull state -> item.ArrivedAt
        | ValueSome transit, ValueSome item -> dueAt state transit item
        | _ -> Instant.never

    /// Media time as a packet has it, and the clock that follows from it.
    let private clocked (now: Instant) (timestamp: uint32) (clockRate: int) (known: Transit voption) =
        let begun () =
            { Timestamp = timestamp
              MediaTime = 0L<us>
              ClockRate = clockRate
              Fastest = now
              FastestBefore = Instant.never
              PeriodEndsAt = now + period }

        match known with
        | ValueNone -> begun ()
        | ValueSome transit when clockRate <> transit.ClockRate || clockRate <= 0 ->
            // Another codec: its first packet goes on where the last one was.
            let fastest = min transit.Fastest transit.FastestBefore

            { transit with
                Timestamp = timestamp
                MediaTime = max transit.MediaTime (now - fastest)
                ClockRate = clockRate }
        | ValueSome transit ->
            let ticks = int64 (int32 (timestamp - transit.Timestamp))

            let mediaTime = transit.MediaTime + ticks * 1_000_000L<us> / int64 transit.ClockRate

            let off = now - mediaTime - min transit.Fastest transit.FastestBefore

            if abs off > sameClock then
                { begun () with
                    MediaTime = transit.MediaTime
                    Fastest = now - transit.MediaTime }
            else
                let way = now - mediaTime

                let transit =
                    if now >= transit.PeriodEndsAt then
                        { transit with
                            FastestBefore = transit.Fastest
                            Fastest = way
                            PeriodEndsAt = now + period }
                    elif way < transit.Fastest then
                        { transit with Fastest = way }
                    else
                        transit

                // The newest timestamp is the one to count on from.
                if ticks > 0L then
                    { transit with
                        Timestamp = timestamp
                        MediaTime = mediaTime }
                else
                    transit

    /// No codec has longer packets, RFC 7587 §4.2; until two of them are known they are of 20 ms.
    let private samplesOf (number: int64) (packet: inref<RtpPacket>) (state: State) : int64 =
        let clock =
            match state.Transit with
            | ValueSome transit -> int64 transit.ClockRate
            | ValueNone -> 0L

        let since = int64 (packet.Timestamp - state.Last.Timestamp)

        if number = state.Last.Number + 1L && since > 0L && since <= clock * 12L / 100L then
            since
        elif state.Last.Samples > 0L then
            state.Last.Samples
        else
            clock / 50L

    /// With one packet more that is emitted, in order.
    let private counted (now: Instant) (number: int64) (item: Buffered) (state: State) : State =
        let packet = item.Packet
        let last = state.Last

        let firstAt =
            if last.Number >= 0L && last.Timestamp = packet.Timestamp then
                min last.FirstAt item.ArrivedAt
            else
                item.ArrivedAt

        let samples =
            if state.Unit = JitterBufferUnit.Samples then
                samplesOf number &packet state
            else
                0L

        let units =
            match state.Unit with
            | JitterBufferUnit.Samples -> samples
            | JitterBufferUnit.Frames -> if packet.Marker then 1L else 0L
            | _ -> 1L

        let waited =
            match state.Unit with
            | JitterBufferUnit.Frames -> now - firstAt
            | _ -> now - item.ArrivedAt

        let counters = state.Counters

        { state with
            Last =
                { Number = number
                  Timestamp = packet.Timestamp
                  FirstAt = firstAt
                  Samples = samples }
            Counters =
                { counters with
                    Delay = counters.Delay + units * max 0L<us> waited
                    TargetDelay = counters.TargetDelay + units * target state
                    MinimumDelay = counters.MinimumDelay + units * adaptive state
                    Emitted = counters.Emitted + units } }

    /// Emits all that is held, in order, whatever is missing: the stream has ended or begun anew.
    let flush (now: Instant) (state: State) : struct (State * RtpPacket[]) =
        let emitted = Collections.Generic.List<RtpPacket>()
        let held = state.Held
        let mutable state = state

        for number in state.Head .. held.Next - 1L do
            match Window.tryFind number held with
            | ValueSome item ->
                emitted.Add item.Packet
                state <- counted now number item state
            | ValueNone -> ()

        struct ({ create state.RoundTrip with
                    Least = state.Least
                    Unit = state.Unit
                    Last = { state.Last with Number = -1L }
                    Counters = state.Counters },
                emitted.ToArray())

    let private taken
        (now: Instant)
        (number: int64)
        (clockRate: int)
        (packet: inref<RtpPacket>)
        (state: State)
        : State =
        let transit = clocked now packet.Timestamp clockRate state.Transit
        let ticks = int64 (int32 (packet.Timestamp - transit.Timestamp))

        let mediaTime =
            if transit.ClockRate <= 0 then
                transit.MediaTime
            else
                transit.MediaTime + ticks * 1_000_000L<us> / int64 transit.ClockRate

        let late = max 0L<us> (now - mediaTime - min transit.Fastest transit.FastestBefore)

        let faded =
            let passed = min fade (max 0L<us> (now - state.SpreadAt))
            state.Spread - state.Spread * (passed / 2L<us>) / (fade / 1L<us>)

        let fresh = state.Transit.IsNone

        let octets =
            packet.Payload.Length + packet.Extensions.Length + packet.Csrcs.Length + 100

        let buffered =
            { Packet = packet
              ArrivedAt = now
              MediaTime = mediaTime
              Octets = octets }

        let struct (window, added) =
            Window.add number buffered (if fresh then Window.startingAt number else state.Held)

        let state =
            { state with
                Transit = ValueSome transit
                Spread = min mostAdaptive (max faded late)
                SpreadAt = now
                RepairUntil =
                    (if not fresh && number > state.Held.Next then
                         now + repairs
                     else
                         state.RepairUntil) }

        if added then
            { state with
                Held = window
                // Nothing held: the head was the end, wherever this one is.
                Head =
                    (if fresh || window.Count = 1 then
                         number
                     else
                         min state.Head number)
                Octets = state.Octets + int64 octets }
        else
            { state with
                Counters =
                    { state.Counters with
                        Discarded = state.Counters.Discarded + 1L } }

    /// Takes a packet, whose memory is the buffer's to keep, with its unwrapped sequence number. One that comes too late, or again,
    /// is counted and gone. One that lies far ahead lets all go that is held: the answer.
    let received
        (now: Instant)
        (number: int64)
        (clockRate: int)
        (packet: inref<RtpPacket>)
        (state: State)
        : struct (State * RtpPacket[]) =
        if state.Transit.IsSome && number - state.Held.Next > MaxGap then
            let struct (state, emitted) = flush now state
            struct (taken now number clockRate &packet state, emitted)
        else
            struct (taken now number clockRate &packet state, Array.Empty())

    /// Emits what is due, in order.
    let tick (now: Instant) (state: State) : struct (State * RtpPacket[]) =
        if now < deadline state then
            struct (state, Array.Empty())
        else
            let emitted = Collections.Generic.List<RtpPacket>()
            let mutable state = state
            let mutable going = true

            while going do
                match state.Transit, Window.tryFind state.Head state.Held with
                | ValueSome transit, ValueSome item when overfull state || dueAt state transit item <= now ->
                    emitted.Add item.Packet
                    let head = state.Head
                    let skipped = head - state.Held.First
                    let held = Window.dropTo (head + 1L) state.Held
                    let next = counted now head item state

                    state <-
                        { next with
                            Held = held
                            Head = headFrom (head + 1L) held
                            Octets = state.Octets - int64 item.Octets
                            Counters =
                                { next.Counters with
                                    Skipped = next.Counters.Skipped + skipped } }
                | _ -> going <- false

            struct (state, emitted.ToArray())
