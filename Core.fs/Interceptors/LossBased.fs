namespace Hybrid.WebRtc.Core

open System

/// Packets of a quarter of a second, and how many were lost.
[<Struct; NoComparison; NoEquality>]
type internal LossObservation =
    {
        Packets: float
        Lost: float
        /// Bits a second that were sent.
        Rate: float
    }

/// The loss-based half of the estimator, as libwebrtc's second: the loss is explained by a loss that the path has at any
/// rate, and by what was sent beyond a bandwidth. The pair that explains the last observations best is the estimate. So
/// random loss costs no rate, which the thresholds of draft-ietf-rmcat-gcc-02 §6 would take for congestion.
[<RequireQualifiedAccess>]
module internal LossBased =
    [<NoComparison; NoEquality>]
    type State =
        {
            /// Bits a second; infinite: losses limit nothing.
            Bandwidth: float
            /// The share that is lost at any rate.
            Inherent: float
            /// The newest last.
            Observations: LossObservation[]
            Partial: Partial
            /// What an increase may not pass before `WindowAt`.
            WindowLimit: float
            WindowAt: Instant
        }

    /// The observation that is being made.
    and [<NoComparison; NoEquality>] Partial =
        {
            Packets: int
            Lost: int
            Octets: int64
            /// `Instant.never`: of nothing.
            FirstSent: Instant
            LastSent: Instant
        }

    /// Observations that are looked at. libwebrtc.
    [<Literal>]
    let private Window = 20

    [<Literal>]
    let private Least = 3

    /// How much less an observation weighs than the one after it.
    [<Literal>]
    let private Fading = 0.9

    let private observation: Duration = Duration.milliseconds 250L

    /// No faster than to 1.3 of it in 300 ms once losses limit.
    let private window: Duration = Duration.milliseconds 300L

    let private nothing: Partial =
        { Packets = 0
          Lost = 0
          Octets = 0L
          FirstSent = Instant.never
          LastSent = Instant.never }

    let create () : State =
        { Bandwidth = infinity
          Inherent = 0.01
          Observations = Array.Empty()
          Partial = nothing
          WindowLimit = infinity
          WindowAt = Instant.never }

    /// Whether losses allow less than the delay does.
    let isLimiting (state: State) : bool = not (Double.IsInfinity state.Bandwidth)

    let private weight (observations: LossObservation[]) (i: int) =
        Fading ** float (observations.Length - 1 - i)

    /// The share of packets that were lost, the newest weighing most.
    let average (state: State) : float =
        let observations = state.Observations
        let mutable packets = 0.0
        let mutable lost = 0.0

        for i in 0 .. observations.Length - 1 do
            let w = weight observations i
            packets <- packets + w * observations[i].Packets
            lost <- lost + w * observations[i].Lost

        if packets = 0.0 then 0.0 else lost / packets

    let private probability (inherent: float) (bandwidth: float) (rate: float) =
        let p =
            if rate > bandwidth then
                inherent + (1.0 - inherent) * (rate - bandwidth) / rate
            else
                inherent

        max 1e-6 (min (1.0 - 1e-6) p)

    /// A path of many megabits has no large loss of its own.
    let private feasible (bandwidth: float) (inherent: float) =
        max 1e-3 (min (0.05 + 75_000.0 / bandwidth) inherent)

    /// One step of Newton's towards the inherent loss that explains the observations best.
    let private refined (observations: LossObservation[]) (bandwidth: float) (inherent: float) =
        let inherent = feasible bandwidth inherent
        let mutable first = 0.0
        let mutable second = 0.0

        for i in 0 .. observations.Length - 1 do
            let o = observations[i]
            let p = probability inherent bandwidth o.Rate
            let w = weight observations i
            let kept = o.Packets - o.Lost
            first <- first + w * (o.Lost / p - kept / (1.0 - p))
            second <- second - w * (o.Lost / (p * p) + kept / ((1.0 - p) * (1.0 - p)))

        if second = 0.0 then
            inherent
        else
            feasible bandwidth (inherent - 0.75 * first / second)

    /// How well a bandwidth explains the observations; among equals the higher is preferred, unless much is lost.
    let private objective (observations: LossObservation[]) (loss: float) (bandwidth: float) (inherent: float) =
        let kbps = bandwidth / 1000.0

        let bias =
            if loss < 0.2 then
                0.0002 * kbps + 0.02 * log (1.0 + kbps)
            else
                0.0

        let mutable sum = 0.0

        for i in 0 .. observations.Length - 1 do
            let o = observations[i]
            let p = probability inherent bandwidth o.Rate
            let kept = o.Packets - o.Lost

            sum <-
                sum
                + weight observations i
                  * (o.Lost * log p + kept * log (1.0 - p) + bias * o.Packets)

        sum

    /// What no path that loses so much can carry.
    let private instantLimit (loss: float) =
        if loss > 0.05 then 75_000.0 / (loss - 0.05) else infinity

    let private observed (o: LossObservation) (state: State) : State =
        let held = state.Observations
        let skip = if held.Length = Window then 1 else 0

        { state with
            Observations = Array.append held[skip..] [| o |]
            Partial = nothing }

    /// The best of a few bandwidths near the present one, what arrives, and what the delay allows.
    let private estimated (now: Instant) (delayBased: float) (throughput: float) (state: State) : State =
        let loss = average state
        let present = min state.Bandwidth delayBased
        let limit = min delayBased (instantLimit loss)
        let mutable best = present
        let mutable inherent = state.Inherent
        let mutable value = -infinity

        let candidates =
            [| present * 1.02
               present
               present * 0.95
               (if throughput > 0.0 then throughput else present)
               (if delayBased > present then delayBased else present) |]

        for candidate in candidates do
            let candidate = min candidate limit
            let refined = refined state.Observations candidate state.Inherent
            let worth = objective state.Observations loss candidate refined

            if worth > value then
                best <- candidate
                inherent <- refined
                value <- worth

        // More is lost than the path explains.
        if loss > inherent && best > present then
            best <- min best present

        let isLimited = isLimiting state

        if isLimited && best > present then
            let bound =
                if throughput > 0.0 then
                    max present (min best (1.5 * throughput))
                else
                    best

            best <-
                if now < state.WindowAt then
                    max present (min bound state.WindowLimit)
                else
                    bound

        let limits = best < delayBased * 0.999
        let isOver = limits && (state.WindowAt = Instant.never || now >= state.WindowAt)

        { state with
            Bandwidth = if limits then best else infinity
            Inherent = inherent
            WindowLimit = if isOver then best * 1.3 else state.WindowLimit
            WindowAt =
                if isOver then now + window
                elif limits then state.WindowAt
                else Instant.never }

    /// With the packets of a feedback packet. `delayBased`: what the delay allows; `throughput`: what arrives, or 0.
    let feedback
        (now: Instant)
        (delayBased: float)
        (throughput: float)
        (report: FeedbackReport)
        (state: State)
        : State =
        let results = report.Results

        if results.Length = 0 then
            state
        else
            let p = state.Partial
            let mutable octets = p.Octets

            for i in 0 .. results.Length - 1 do
                octets <- octets + int64 results[i].Size

            // In order of sending, of one stream at least: it need not be exact.
            let first =
                if p.FirstSent = Instant.never then
                    results[0].SentAt
                else
                    p.FirstSent

            let last = results[results.Length - 1].SentAt

            let last =
                if p.LastSent = Instant.never then
                    last
                else
                    max p.LastSent last

            let p =
                { Packets = p.Packets + results.Length
                  Lost = p.Lost + report.Lost
                  Octets = octets
                  FirstSent = first
                  LastSent = last }

            if last - first < observation then
                { state with Partial = p }
            else
                observed
                    { Packets = float p.Packets
                      Lost = float p.Lost
                      Rate = 8e6 * float p.Octets / float (last - first) }
                    state
                |> fun state ->
                    if state.Observations.Length < Least then
                        state
                    else
                        estimated now delayBased throughput state
