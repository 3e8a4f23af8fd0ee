namespace Hybrid.WebRtc.Core

open System

/// A burst that shows whether the path takes more than is sent: packets sent at `Rate`, until both `Packets` and `Octets`
/// are reached. Padding where there is nothing else to send.
[<Struct; NoComparison; NoEquality>]
type internal ProbeCluster =
    {
        /// Not 0. The pacer marks the packets of the probe with it.
        Id: int
        /// Bits a second.
        Rate: int
        Packets: int
        Octets: int
    }

/// What is known of a probe whose packets are being acknowledged.
[<Struct; NoComparison; NoEquality>]
type internal ProbeProgress =
    {
        Cluster: ProbeCluster
        /// Packets and octets that came.
        Packets: int
        Octets: int
        FirstSent: Instant
        LastSent: Instant
        LastSentSize: int
        FirstReceived: Instant
        FirstReceivedSize: int
        LastReceived: Instant
        /// The longest time between two that came one after the other.
        Pause: Duration
    }

/// Why the next probe is made.
[<NoComparison; NoEquality>]
type internal ProbePurpose =
    /// The rate is doubled as long as probes succeed.
    | Exponential of FurtherAbove: float * Until: Instant
    | Resting

/// A rate that was once possible.
[<NoComparison; NoEquality>]
type internal Setback =
    {
        /// Bits a second.
        Before: float
        /// When it was given up.
        At: Instant
    }

/// Probing: at 3 and 6 times the start rate, on by doubling while it succeeds, and again after a drop and while the
/// application sends less than it may, as libwebrtc does.
[<RequireQualifiedAccess>]
module internal Probing =
    [<NoComparison; NoEquality>]
    type State =
        {
            Purpose: ProbePurpose
            NextId: int
            Underway: ProbeProgress[]
            Setback: Setback voption
            /// When the last probe was asked for.
            ProbedAt: Instant
            /// How often the first probes may be made again; none once one has found something.
            Starts: int
        }

    /// Packets that a probe has at least.
    [<Literal>]
    let private Packets = 5

    /// A probe lasts 15 ms.
    [<Literal>]
    let private Seconds = 0.015

    /// Probes whose results are awaited, at most.
    [<Literal>]
    let private MaxUnderway = 8

    /// Times that the first probes are made again: what they found may be lost, and without it the rate would grow by 8 % a second.
    [<Literal>]
    let private MaxStarts = 4

    /// A result is awaited that long.
    let private patience: Duration = Duration.seconds 1L

    /// The application may not send at once, so the first probes have longer.
    let private firstPatience: Duration = Duration.seconds 5L

    /// Between two probes that nothing but time asks for.
    let private interval: Duration = Duration.seconds 5L

    /// After a drop that has lasted as long as `patient`.
    let private seldom: Duration = Duration.seconds 15L

    let private patient: Duration = Duration.seconds 60L

    /// A rate that was possible before that time is forgotten.
    let private memory: Duration = Duration.seconds 300L

    /// Less than that of the rate before is a large drop.
    [<Literal>]
    let private LargeDrop = 0.66

    /// What a probe has to find, of its rate, to be followed by the next.
    [<Literal>]
    let private Further = 0.7

    let create () : State =
        { Purpose = Resting
          NextId = 1
          Underway = Array.Empty()
          Setback = ValueNone
          ProbedAt = Instant.never
          Starts = MaxStarts }

    let private cluster (id: int) (rate: float) : ProbeCluster =
        { Id = id
          Rate = int (min 2e9 rate)
          Packets = Packets
          Octets = int (min 2e9 rate * Seconds / 8.0) }

    let private progress (c: ProbeCluster) : ProbeProgress =
        { Cluster = c
          Packets = 0
          Octets = 0
          FirstSent = Instant.never
          LastSent = Int64.MinValue * 1L<us>
          LastSentSize = 0
          FirstReceived = Instant.never
          FirstReceivedSize = 0
          LastReceived = Int64.MinValue * 1L<us>
          Pause = 0L<us> }

    /// Probes at these rates, which are no more than `limit`; while they find most of it, on to the double.
    let private probe (now: Instant) (patience: Duration) (limit: float) (rates: float[]) (state: State) =
        let rates = rates |> Array.map (min limit) |> Array.distinct
        let clusters = rates |> Array.mapi (fun i rate -> cluster (state.NextId + i) rate)
        let underway = Array.append state.Underway (Array.map progress clusters)
        let last = rates[rates.Length - 1]

        struct ({ state with
                    Purpose =
                        if last < limit then
                            Exponential(Further * last, now + patience)
                        else
                            Resting
                    NextId = state.NextId + clusters.Length
                    Underway = underway[max 0 (underway.Length - MaxUnderway) ..]
                    ProbedAt = now },
                List.ofArray clusters)

    /// The first probes.
    let start (now: Instant) (start: float) (limit: float) (state: State) : Step<State, ProbeCluster> =
        probe now firstPatience limit [| 3.0 * start; 6.0 * start |] state

    let private with' (r: PacketResult) (p: ProbeProgress) : ProbeProgress =
        { p with
            Packets = p.Packets + 1
            Octets = p.Octets + r.Size
            FirstSent = min p.FirstSent r.SentAt
            LastSent = max p.LastSent r.SentAt
            LastSentSize = if r.SentAt >= p.LastSent then r.Size else p.LastSentSize
            FirstReceived = min p.FirstReceived r.ReceivedAt
            FirstReceivedSize =
                if r.ReceivedAt < p.FirstReceived then
                    r.Size
                else
                    p.FirstReceivedSize
            LastReceived = max p.LastReceived r.ReceivedAt
            Pause =
                if p.Packets = 0 then
                    0L<us>
                else
                    max p.Pause (r.ReceivedAt - p.LastReceived) }

    /// The rate that the path took, bits a second; ValueNone while too little has come, or it makes no sense.
    let private found (p: ProbeProgress) : float voption =
        let enough =
            5 * p.Packets >= 4 * p.Cluster.Packets
            && 5L * int64 p.Octets >= 4L * int64 p.Cluster.Octets

        let sendTime = p.LastSent - p.FirstSent
        let receiveTime = p.LastReceived - p.FirstReceived

        if
            not enough
            || sendTime <= 0L<us>
            || receiveTime <= 0L<us>
            || max sendTime receiveTime > Duration.seconds 1L
        then
            ValueNone
        else
            let sent = 8e6 * float (p.Octets - p.LastSentSize) / float sendTime
            let received = 8e6 * float (p.Octets - p.FirstReceivedSize) / float receiveTime

            if received > 2.0 * sent then
                ValueNone
            // Packets that waited in a queue come evenly: who made a pause was a process that was held up.
            elif received < 0.9 * sent && 4L * p.Pause > 3L * receiveTime && p.Packets >= 4 then
                ValueNone
            // Less came than was sent: that is what the path has, and a little less lets the queue drain.
            elif received < 0.9 * sent then
                ValueSome(0.95 * received)
            else
                ValueSome(min sent received)

    /// With packets that were received. What a probe found, bits a second.
    let feedback (received: PacketResult[]) (state: State) : struct (State * float voption) =
        let mutable underway: ProbeProgress[] | null = null
        let mutable result = ValueNone

        if state.Underway.Length > 0 then
            for i in 0 .. received.Length - 1 do
                let r = received[i]

                if r.Probe <> 0 then
                    let held =
                        match underway with
                        | null ->
                            let copy = Array.copy state.Underway
                            underway <- copy
                            copy
                        | held -> held

                    for k in 0 .. held.Length - 1 do
                        if held[k].Cluster.Id = r.Probe then
                            held[k] <- with' r held[k]

                            match found held[k] with
                            | ValueSome rate -> result <- ValueSome rate
                            | ValueNone -> ()

        match underway with
        | null -> struct (state, ValueNone)
        | held -> struct ({ state with Underway = held }, result)

    /// After a decrease from a rate.
    let decreased (now: Instant) (before: float) (state: State) : State =
        match state.Setback with
        | ValueSome setback when before <= setback.Before && now - setback.At < memory -> state
        | _ ->
            { state with
                Setback = ValueSome { Before = before; At = now } }

    /// The probes that are due at a rate of which the delay says nothing bad. `found`: what a probe just found. `isBack`: the rate
    /// was cut because nothing was heard of the path, and now something is.
    let next
        (now: Instant)
        (rate: float)
        (limit: float)
        (found: float voption)
        (isBack: bool)
        (inAlr: bool)
        (state: State)
        =
        let state = if found.IsSome then { state with Starts = 0 } else state

        match state.Purpose, found with
        | _ when isBack && rate < limit -> probe now patience limit [| 2.0 * rate |] state
        | _ when state.Starts > 0 && rate < limit && now - state.ProbedAt >= patience ->
            probe now patience limit [| 3.0 * rate; 6.0 * rate |] { state with Starts = state.Starts - 1 }
        | Exponential(above, until), ValueSome found when now <= until && found >= above ->
            probe now patience limit [| 2.0 * found |] state
        | Exponential(_, until), _ when now <= until -> struct (state, [])
        | _ ->
            let lost =
                match state.Setback with
                | ValueSome setback when rate < LargeDrop * setback.Before && now - setback.At < memory -> setback.At
                | _ -> Instant.never

            let isAsked = inAlr || lost <> Instant.never
            // Nothing was lost, or long ago: seldom.
            let since =
                if lost = Instant.never then
                    state.ProbedAt
                else
                    max lost state.ProbedAt

            let interval =
                if lost <> Instant.never && now - lost > patient then
                    seldom
                else
                    interval

            if isAsked && rate < limit && now - since >= interval then
                probe now patience limit [| 2.0 * rate |] state
            else
                struct ({ state with Purpose = Resting }, [])
