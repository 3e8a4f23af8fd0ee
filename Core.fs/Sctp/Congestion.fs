namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// Where slow start stands: HyStart++ (RFC 9406), which leaves it once the path's queue grows instead of once the queue
/// is full. Samples are taken eight at a time, not a round at a time: a round of doubling is all that a queue holds.
[<NoComparison; NoEquality>]
type internal SlowStart =
    {
        Samples: int
        /// The least of these samples.
        Least: Duration
        /// Conservative slow start began with this round trip; `Int64.MaxValue` in standard slow start.
        Baseline: Duration
        /// When conservative slow start becomes congestion avoidance.
        Until: Instant
    }

/// The curve of CUBIC, RFC 9438 §4. Octets and seconds.
[<Struct; NoComparison; NoEquality>]
type internal Curve =
    {
        /// W_max: where the last congestion was met.
        Plateau: float
        /// cwnd_prior, §4.3.
        Prior: float
        /// K: the time from `Since` to the plateau.
        Rise: float
        /// W_est, what Reno would have by now, §4.3.
        Estimate: float
        /// α: packets a round trip with which Reno is as fast at the last β.
        Alpha: float
        /// t_epoch; `Instant.never` until the next growth, which begins the curve anew.
        Since: Instant
    }

/// What gives way to media, LEDBAT (RFC 6817), knows of the path's queue. Its slowdowns are those of LEDBAT++
/// (draft-irtf-iccrg-ledbat-plus-plus §4.4): an empty queue is seen, and the least round trip stays true.
[<NoComparison; NoEquality>]
type internal Yielding =
    {
        /// CURRENT_FILTER of RFC 6817 §2.4.2: samples so far, the least of them, and the octets acknowledged with them.
        Samples: int
        Least: Duration
        Acked: int
        /// When the window was made small for the present slowdown; `Instant.never` between two.
        SlowSince: Instant
        /// When the next slowdown begins; `Instant.never` in slow start, behind which the first one comes.
        SlowAt: Instant
    }

/// How a window grows and shrinks: a closed set. All that differs between the algorithms is in `Congestion.grow`,
/// `Congestion.reduced` and this.
[<NoComparison; NoEquality>]
type internal Growth =
    /// RFC 9260 §7.2.
    | NewReno of partialBytesAcked: int
    | Cubic of Curve
    /// Beside media that leaves by the same path.
    | Ledbat of Yielding

/// How much may be in flight. Sizes in octets, chunk headers and padding included.
[<Struct; NoComparison; NoEquality>]
type internal Congestion =
    {
        /// cwnd.
        Window: int
        /// ssthresh.
        Threshold: int
        /// Acknowledged and not yet counted.
        Uncounted: int
        SlowStart: SlowStart
        Growth: Growth
    }

/// What a SACK says to congestion control.
[<Struct; NoComparison; NoEquality>]
type internal Progress =
    {
        Now: Instant
        /// Octets of chunks in a full packet.
        Segment: int
        /// Octets newly acknowledged.
        Acked: int
        /// Octets in flight before the SACK.
        FlightBefore: int
        /// What was acknowledged had been sent before the last congestion was answered.
        InRecovery: bool
        /// How long the newest of it took; 0 where that is not known.
        Sample: Duration
        Trip: RoundTrip
    }

/// Congestion control. The interface: `create`, `acknowledged`, `lost`, `timedOut`, `idle`, and the window.
[<RequireQualifiedAccess>]
module internal Congestion =
    /// No window grows beyond this: 1 GiB.
    [<Literal>]
    let private Ceiling = 0x40000000

    /// Initial window in packets, RFC 6928, where RFC 9260 §7.2.1 has four of these sizes: ICE and DTLS have just exchanged
    /// packets over the path, and the window is paced. Idle paths come back to it.
    [<Literal>]
    let private Initial = 10

    /// No loss takes the window below this many packets, RFC 9260 §7.2.3.
    [<Literal>]
    let private Least = 4

    /// β of CUBIC, RFC 9438 §4.6: the most that is left of a window.
    [<Literal>]
    let private MostLeft = 0.7

    /// The least that is left of it, RFC 5681 §3.1.
    [<Literal>]
    let private LeastLeft = 0.5

    /// C of CUBIC in packets a second cubed, RFC 9438 §5.
    [<Literal>]
    let private Scale = 0.4

    /// β of one congestion. Where RFC 9438 has 0.7, ours is what empties the queue: the path's least round trip as a part of
    /// the present one, within bounds. The link stays busy, the queue does not stand, and a newcomer, who finds it full and
    /// leaves slow start at once, gets its share in a third of the time.
    let private left (trip: RoundTrip) : float =
        match trip.Smoothed with
        | ValueSome smoothed -> max LeastLeft (min MostLeft (float trip.Minimum / float (max 1L<us> smoothed)))
        | ValueNone -> MostLeft

    /// N_RTT_SAMPLE, RFC 9406 §4.3.
    [<Literal>]
    let private SamplesToJudge = 8

    /// CSS_GROWTH_DIVISOR, RFC 9406 §4.3.
    [<Literal>]
    let private ConservativeDivisor = 4

    /// CSS_ROUNDS, RFC 9406 §4.3.
    [<Literal>]
    let private ConservativeRounds = 5L

    /// MIN_RTT_THRESH and MAX_RTT_THRESH. RFC 9406 has 4 and 16 ms: what is above the former fills the queue while it is
    /// being noticed, at twice the rate of the link.
    let private leastRise: Duration = Duration.milliseconds 4L
    let private mostRise: Duration = Duration.milliseconds 8L

    let private unknown: Duration = Int64.MaxValue * 1L<us>

    let private standard: SlowStart =
        { Samples = 0
          Least = unknown
          Baseline = unknown
          Until = Instant.never }

    let private flat: Curve =
        { Plateau = 0.0
          Prior = 0.0
          Rise = 0.0
          Estimate = 0.0
          Alpha = 1.0
          Since = Instant.never }

    /// TARGET, RFC 6817 §2.4.2, which allows up to 100 ms: what the queue may have of ours. Media still answers at once, and
    /// a link is not idle while a SACK is on its way.
    let private target: Duration = Duration.milliseconds 30L

    /// Samples of which the least counts.
    [<Literal>]
    let private SamplesToYield = 4

    /// The least window of one that yields, in packets, RFC 6817 §2.4.2 MIN_CWND.
    [<Literal>]
    let private LeastYielding = 2

    /// A slowdown lasts two round trips and the way back; then as much nine times without one.
    let private slowdownRounds = 2L

    [<Literal>]
    let private SlowdownPart = 9L

    let private yielding: Yielding =
        { Samples = 0
          Least = unknown
          Acked = 0
          SlowSince = Instant.never
          SlowAt = Instant.never }

    /// IW.
    let initial (segment: int) : int = Initial * segment

    /// Before anything was sent.
    let create (control: CongestionControl) (segment: int) : Congestion =
        { Window = initial segment
          Threshold = Ceiling
          Uncounted = 0
          SlowStart = standard
          Growth =
            match control with
            | CongestionControl.NewReno -> NewReno 0
            | CongestionControl.Ledbat -> Ledbat yielding
            | _ -> Cubic flat }

    /// cwnd.
    let window (c: Congestion) : int = c.Window

    /// Whether the window doubles each round trip.
    let inSlowStart (c: Congestion) : bool = c.Window < c.Threshold

    /// Leaves slow start where the round trip has risen, RFC 9406 §4.2. Differs from it: samples are compared with the path's
    /// least round trip; and where the queue is already half as long as the path, there is no conservative phase.
    let private sampled (p: Progress) (c: Congestion) : Congestion =
        let slow = c.SlowStart
        let least = min slow.Least p.Sample

        if slow.Until <= p.Now then
            // Five rounds, and the round trip has stayed: the path is full.
            { c with
                Threshold = c.Window
                SlowStart = standard }
        elif slow.Samples + 1 < SamplesToJudge then
            { c with
                SlowStart =
                    { slow with
                        Samples = slow.Samples + 1
                        Least = least } }
        else
            let minimum = p.Trip.Minimum
            let rise = max leastRise (min mostRise (minimum / 8L))

            if least >= minimum + max rise (minimum / 2L) then
                { c with
                    Threshold = c.Window
                    SlowStart = standard }
            elif slow.Baseline = unknown && least >= minimum + rise then
                { c with
                    SlowStart =
                        { standard with
                            Baseline = least
                            Until = p.Now + ConservativeRounds * least } }
            elif slow.Baseline <> unknown && least < slow.Baseline then
                // It was not the queue.
                { c with SlowStart = standard }
            else
                { c with
                    SlowStart =
                        { slow with
                            Samples = 0
                            Least = unknown } }

    /// Congestion avoidance of CUBIC, RFC 9438 §4.2 to §4.5.
    let private climb (p: Progress) (acked: int) (curve: Curve) (window: int) : struct (int * Curve) =
        let segment = float p.Segment
        let cwnd = float window

        let curve =
            if curve.Since <> Instant.never then
                curve
            else
                { curve with
                    Plateau = max cwnd curve.Plateau
                    Rise = Math.Cbrt(max 0.0 (curve.Plateau - cwnd) / (segment * Scale))
                    Estimate = cwnd
                    Since = p.Now }

        let at (seconds: float) =
            let x = seconds - curve.Rise
            segment * Scale * x * x * x + curve.Plateau

        let elapsed = float (p.Now - curve.Since) / 1e6

        let trip =
            match p.Trip.Smoothed with
            | ValueSome srtt -> float srtt / 1e6
            | ValueNone -> 0.0

        let alpha = if curve.Estimate >= curve.Prior then 1.0 else curve.Alpha
        let estimate = curve.Estimate + alpha * segment * float acked / cwnd

        let grown =
            if at elapsed < estimate then
                max cwnd estimate
            else
                let target = max cwnd (min (1.5 * cwnd) (at (elapsed + trip)))
                cwnd + (target - cwnd) * float acked / cwnd

        struct (int (min (float Ceiling) grown), { curve with Estimate = estimate })

    let private grow (p: Progress) (acked: int) (c: Congestion) : Congestion =
        match c.Growth with
        // Counted by samples, by `courteous`.
        | Ledbat _ -> c
        | NewReno partial ->
            let partial = partial + acked

            if partial >= c.Window then
                { c with
                    Window = min Ceiling (c.Window + p.Segment)
                    Growth = NewReno(partial - c.Window) }
            else
                { c with Growth = NewReno partial }
        | Cubic curve ->
            let struct (window, curve) = climb p acked curve c.Window

            { c with
                Window = window
                Growth = Cubic curve }

    /// What was acknowledged is not for growth: the next curve begins when it is.
    let private pause (c: Congestion) : Congestion =
        match c.Growth with
        | Cubic curve when curve.Since <> Instant.never ->
            { c with
                Uncounted = 0
                Growth = Cubic { curve with Since = Instant.never } }
        | Cubic _ -> if c.Uncounted = 0 then c else { c with Uncounted = 0 }
        | NewReno _
        | Ledbat _ -> c

    /// Whether the window was kept empty by something else than the network.
    let private isUnused (p: Progress) (c: Congestion) : bool =
        p.FlightBefore + max (2 * p.Segment) (c.Window / 8) <= c.Window

    /// GAIN of LEDBAT++ §4.1, inverted: on short paths the window is as much as that slower than that of TCP.
    let private gain (p: Progress) : int =
        int (min 16.0 (Math.Ceiling(2.0 * float target / float (max 1L<us> p.Trip.Minimum))))

    /// Slow start.
    let private doubled (p: Progress) (c: Congestion) : Congestion =
        if 2 * p.FlightBefore < c.Window then
            c
        else
            let c = if p.Sample > 0L<us> then sampled p c else c
            let conservative = c.SlowStart.Baseline <> unknown

            let more =
                match c.Growth with
                | Ledbat _ -> p.Acked / gain p
                | NewReno _
                | Cubic _ ->
                    if conservative then
                        p.Acked / ConservativeDivisor
                    else
                        p.Acked

            { c with
                Window = min c.Threshold (min Ceiling (c.Window + more)) }

    /// Congestion avoidance of LEDBAT, RFC 6817 §2.4.2: by a packet each few round trips while the queue is short, so little that
    /// whoever watches the slope of its delay (GCC) does not take it for congestion; and back by what the queue is too long, by half
    /// in a round trip at most (LEDBAT++ §4.2).
    let private yielded (p: Progress) (y: Yielding) (c: Congestion) : Congestion =
        let y =
            { y with
                Samples = (if p.Sample > 0L<us> then y.Samples + 1 else y.Samples)
                Least = (if p.Sample > 0L<us> then min y.Least p.Sample else y.Least)
                Acked = y.Acked + p.Acked }

        if y.Samples < SamplesToYield then
            { c with Growth = Ledbat y }
        else
            let excess = float (y.Least - p.Trip.Minimum - target) / float target

            let change =
                if excess >= 0.0 then
                    -(float y.Acked * min 0.5 excess)
                elif isUnused p c then
                    0.0
                else
                    float p.Segment * float y.Acked / (float (gain p) * float c.Window)

            let window = max (LeastYielding * p.Segment) (min Ceiling (c.Window + int change))

            { c with
                Window = window
                Threshold = min c.Threshold window
                Growth = Ledbat { yielding with SlowAt = y.SlowAt } }

    /// LEDBAT with the slowdowns of LEDBAT++.
    let private courteous (p: Progress) (y: Yielding) (c: Congestion) : Congestion =
        if y.SlowAt <= p.Now then
            { c with
                Threshold = c.Window
                Window = min c.Window (LeastYielding * p.Segment)
                SlowStart = standard
                Growth = Ledbat { yielding with SlowSince = p.Now } }
        else
            let rounds =
                match p.Trip.Smoothed with
                | ValueSome srtt -> slowdownRounds * srtt
                | ValueNone -> 0L<us>

            if not (inSlowStart c) && y.SlowAt <> Instant.never then
                yielded p y c
            elif y.SlowSince <> Instant.never && p.Now < y.SlowSince + rounds then
                c
            else
                let c =
                    if not (inSlowStart c) then
                        c
                    elif p.Sample > p.Trip.Minimum + target * 3L / 4L then
                        // LEDBAT++ §4.3.
                        { c with
                            Threshold = c.Window
                            SlowStart = standard }
                    else
                        doubled p c

                if inSlowStart c then
                    c
                else
                    let pause =
                        if y.SlowSince = Instant.never then
                            rounds
                        else
                            SlowdownPart * (p.Now - y.SlowSince)

                    { c with
                        Growth = Ledbat { yielding with SlowAt = p.Now + pause } }

    /// Whether one that yields still can.
    let hasToGive (segment: int) (c: Congestion) : bool =
        inSlowStart c || c.Window > LeastYielding * segment

    /// By another algorithm from now on. To LEDBAT: what stands in the queue is ours, and is to leave first. From it: as fast as
    /// the path turns out to be.
    let switched (now: Instant) (control: CongestionControl) (segment: int) (c: Congestion) : Congestion =
        let fresh = create control segment

        match c.Growth, fresh.Growth with
        | Ledbat _, Ledbat _
        | Cubic _, Cubic _
        | NewReno _, NewReno _ -> c
        | _, Ledbat _ ->
            { c with
                Uncounted = 0
                Growth =
                    Ledbat
                        { yielding with
                            SlowAt = (if inSlowStart c then Instant.never else now) } }
        | _ ->
            { fresh with
                Window = c.Window
                Threshold = Ceiling }

    /// A SACK newly acknowledged something, RFC 9260 §7.2.1, §7.2.2. A window grows only where it was used: one that the
    /// application, the peer's window or the pacer kept empty says nothing about the path (RFC 7661 §4.2).
    let acknowledged (p: Progress) (c: Congestion) : Congestion =
        if p.InRecovery then
            c
        else
            match c.Growth with
            | Ledbat y -> courteous p y c
            | NewReno _
            | Cubic _ ->
                if inSlowStart c then
                    doubled p c
                elif isUnused p c then
                    pause c
                else
                    // Counted in steps of a 32nd of the window: a SACK in between costs an addition.
                    let acked = c.Uncounted + p.Acked

                    if acked < c.Window / 32 then
                        { c with Uncounted = acked }
                    else
                        grow p acked { c with Uncounted = 0 }

    /// The window and the growth after a congestion, RFC 9260 §7.2.3, RFC 9438 §4.6, §4.7.
    let private reduced (segment: int) (trip: RoundTrip) (c: Congestion) : struct (int * Growth) =
        match c.Growth with
        | NewReno _ -> struct (max (c.Window / 2) (Least * segment), NewReno 0)
        | Ledbat y ->
            struct (max (c.Window / 2) (LeastYielding * segment),
                    Ledbat
                        { yielding with
                            SlowSince = y.SlowSince
                            SlowAt = y.SlowAt })
        | Cubic curve ->
            let window = float c.Window
            let beta = left trip

            // Fast convergence: who meets congestion sooner than last time lets a newcomer have some.
            let plateau =
                if window < curve.Plateau then
                    window * (1.0 + beta) / 2.0
                else
                    window

            struct (max (int (window * beta)) (Least * segment),
                    Cubic
                        { flat with
                            Plateau = plateau
                            Prior = window
                            Alpha = 3.0 * (1.0 - beta) / (1.0 + beta) })

    /// Whether `lost` is only to be told of losses that a full queue may have caused.
    let tellsLossFromCongestion (c: Congestion) : bool =
        match c.Growth with
        | Cubic _
        | Ledbat _ -> true
        | NewReno _ -> false

    /// Loss was found: once for what was in flight at the time.
    let lost (segment: int) (trip: RoundTrip) (c: Congestion) : Congestion =
        let struct (window, growth) = reduced segment trip c

        { Window = window
          Threshold = window
          Uncounted = 0
          SlowStart = standard
          Growth = growth }

    /// T3-rtx expired, RFC 9260 §7.2.3.
    let timedOut (segment: int) (trip: RoundTrip) (c: Congestion) : Congestion =
        let struct (window, growth) = reduced segment trip c

        { Window = segment
          Threshold = window
          Uncounted = 0
          SlowStart = standard
          Growth = growth }

    /// Nothing was sent for `periods` RTOs, RFC 9260 §7.2.1: half the window for each, and back to it by slow start.
    let idle (segment: int) (periods: int64) (c: Congestion) : Congestion =
        if periods <= 0L || c.Window <= initial segment then
            c
        else
            let c = pause c

            { c with
                Threshold = max c.Threshold (c.Window / 4 * 3)
                Window = max (c.Window >>> int (min periods 30L)) (initial segment)
                SlowStart = standard }
