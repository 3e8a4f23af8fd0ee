namespace Hybrid.WebRtc.Core

/// What the future may hold for a generation: when it must be looked at again, and when hope ends.
[<RequireQualifiedAccess>]
module internal Prospects =
    let private earliest (g: Generation) : Instant =
        let mutable due = Instant.never

        for pair in g.List.Pairs do
            match pair.Check with
            | ValueSome check -> due <- Instant.min due check.DueAt
            | ValueNone -> ()

        due

    // When the pace lets the next check go, if there is one.
    let private paced (g: Generation) : Instant =
        if g.Remote.Secret.IsNone || g.Local.Secret.IsNone || Generation.isLite g then
            Instant.never
        else
            let struct (triggered, _) = Checklist.takeTriggered g.List

            if triggered.IsSome then
                Pace.next Pace.Triggered g.Pace
            elif (Checklist.nextOrdinary g.List).IsSome then
                Pace.next Pace.Ordinary g.Pace
            else
                Instant.never

    // What a lite agent awaits are not its own checks.
    let private isWorthwhile (g: Generation) (pair: Pair) : bool =
        not (Generation.isLite g) && Checklist.isWorthwhile g.List pair

    /// When a working pair that nobody selected is forgotten: consent to send holds for 30 s, RFC 7675 §5.1.
    let lapsesAt (options: IceOptions) (pair: Pair) : Instant =
        if Pair.hasSucceeded pair then
            pair.AnsweredAt + options.FailedAfter
        else
            Instant.never

    /// A controlled agent that never heard the peer: its answer may travel by hand (copy and paste), and the peer's first
    /// check will open all again.
    let private answerTravels: Duration = Duration.seconds 120L

    /// When all is taken for failed, as things stand. `gathered`: no more local candidates are under way.
    let exhaustsAt (gathered: bool) (g: Generation) : Instant =
        let hope =
            g.Selection.IsSome
            || g.List.Pairs
               |> Array.exists (fun pair -> Pair.hasSucceeded pair || isWorthwhile g pair)

        match g.Progress.Verdict with
        | Verdict.Open when g.Remote.Secret.IsSome && not hope ->
            let patience =
                if not g.Progress.Heard && not (Generation.isControlling g) then
                    answerTravels
                elif gathered && g.Remote.Complete then
                    Repetition.pac
                else
                    2L * Repetition.pac

            max (g.Progress.NewsAt + patience) g.Progress.GraceUntil
        | _ -> Instant.never

    /// When a tick is due.
    let deadline (options: IceOptions) (gathered: bool) (g: Generation) : Instant =
        match g.Progress.Verdict with
        | Verdict.Lost -> Instant.never
        | Verdict.Open
        | Verdict.Exhausted ->
            let consent =
                match g.Selection with
                | ValueSome selection -> Consent.deadline options selection
                | ValueNone ->
                    (Instant.never, g.List.Pairs)
                    ||> Array.fold (fun due pair -> Instant.min due (lapsesAt options pair))

            Generation.nominatesAt g
            |> Instant.min (earliest g)
            |> Instant.min (paced g)
            |> Instant.min consent
            |> Instant.min (exhaustsAt gathered g)

    /// RTCIceTransportState of this generation alone. `gathered`: no more local candidates will come.
    let transportState (gathered: bool) (g: Generation) : IceTransportState =
        let pending = g.List.Pairs |> Array.exists (isWorthwhile g)

        match g.Progress.Verdict, g.Selection with
        | (Verdict.Exhausted | Verdict.Lost), _ -> IceTransportState.Failed
        | Verdict.Open, ValueSome selection when Consent.isSilent selection -> IceTransportState.Disconnected
        | Verdict.Open, ValueSome _ when gathered && g.Remote.Complete && not pending -> IceTransportState.Completed
        | Verdict.Open, ValueSome _ -> IceTransportState.Connected
        | Verdict.Open, ValueNone when (Generation.bestWorking g).IsSome -> IceTransportState.Connected
        | Verdict.Open, ValueNone when Array.isEmpty g.Remote.Candidates -> IceTransportState.New
        // It has worked, and nothing is left to try.
        | Verdict.Open, ValueNone when g.Progress.NominateAt <> Instant.never && not pending ->
            IceTransportState.Disconnected
        | Verdict.Open, ValueNone -> IceTransportState.Checking
