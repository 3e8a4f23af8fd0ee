namespace Hybrid.WebRtc.Core

/// What the application decides of candidate pairs, W3C webrtc-extensions, "RTCIceTransport extensions".
///
///     nominate ──▶ proposed ──accepted──▶ nominated
///                     └────declined────▶ used, if none is selected; never proposed again, unless selected
[<RequireQualifiedAccess>]
module internal PairControl =
    let private without (path: Path) (paths: Path[]) : Path[] =
        paths |> Array.filter (fun other -> not (other.Equals path))

    let private withControl (change: PairDecisions -> PairDecisions) (g: Generation) : Generation =
        { g with Control = change g.Control }

    /// Whether nominations are put to the application first.
    let decide (decides: bool) (g: Generation) : Generation =
        withControl (fun control -> { control with Decides = decides }) g

    /// What became of a nomination that was put to it.
    let answer now (path: Path) (accepted: bool) (g: Generation) : Step<Generation, GenerationOutput> =
        match Checklist.find path g.List with
        | ValueSome pair when
            Array.contains path g.Control.Proposed
            && Pair.hasSucceeded pair
            && Generation.isControlling g
            ->
            if accepted then
                g
                |> withControl (fun control ->
                    { control with
                        Proposed = without path control.Proposed })
                |> Generation.check now true pair
            elif g.Selection.IsNone then
                Generation.select now pair g
                |> Step.bind (
                    Generation.put
                        { pair with
                            Nomination = Nomination.None }
                    >> Step.only
                )
            else
                Step.only g
        | _ -> Step.one (GenerationOutput.Refused Drop.Stale) g

    /// Whether data may go by a pair: it was answered lately enough for consent.
    let isUsable (options: IceOptions) now (path: Path) (g: Generation) : bool =
        match Checklist.find path g.List with
        | ValueSome pair -> Pair.hasSucceeded pair && now - pair.AnsweredAt < options.FailedAfter
        | ValueNone -> false

    /// The application has data go by this pair. A controlling agent nominates it, too; a controlled one stays with it while it lives.
    let select now (path: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        match Checklist.find path g.List with
        | ValueSome pair when Pair.hasSucceeded pair ->
            let g =
                g
                |> withControl (fun control ->
                    { control with
                        Proposed = without path control.Proposed
                        IsChosen = true })

            Generation.select now pair g
            |> Step.bind (fun g ->
                match Checklist.find path g.List with
                | ValueSome pair when Generation.isControlling g ->
                    Generation.put
                        { pair with
                            Nomination = Nomination.None }
                        g
                    |> Generation.nominatePair
                        now
                        { pair with
                            Nomination = Nomination.None }
                | _ -> Step.only g)
        | _ -> Step.one (GenerationOutput.Refused Drop.Unexpected) g

    /// Neither asked nor answered by this pair any more.
    let remove options now (path: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        match Checklist.find path g.List with
        | ValueNone -> Step.one (GenerationOutput.Refused Drop.Stale) g
        | ValueSome pair ->
            let isSelected =
                match g.Selection with
                | ValueSome selection -> selection.Path.Equals path
                | ValueNone -> false

            Generation.fail pair g
            |> Step.bind (fun g ->
                Step.only
                    { g with
                        List = Checklist.remove path g.List })
            |> Step.bind (fun g ->
                if isSelected then
                    Generation.replace options now path g
                else
                    Step.only g)
            |> Step.bind (Generation.advance now)

    /// Pairs that were not there before, and those that are not any more.
    let changes (before: Checklist) (after: Checklist) : struct (Pair[] * Pair[]) =
        let isIn (list: Checklist) (pair: Pair) = (Checklist.find pair.Path list).IsSome

        if before.Pairs.Length = after.Pairs.Length && before.NextId = after.NextId then
            struct ([||], [||])
        else
            struct (after.Pairs |> Array.filter (isIn before >> not), before.Pairs |> Array.filter (isIn after >> not))
