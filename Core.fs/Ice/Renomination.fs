namespace Hybrid.WebRtc.Core

/// When a controlling agent nominates another pair than the one that is selected, draft-thatcher-ice-renomination. To move costs:
/// congestion control and the bandwidth estimate begin anew. So another pair has to be better by something, and for good.
[<RequireQualifiedAccess>]
module internal Renomination =
    /// A pair of the same kind has to have been selected for so long.
    let private settled: Duration = Duration.seconds 10L

    /// Round trips that differ by less are the same: this, or a quarter of the selected pair's.
    let private margin (roundTrip: Duration) : Duration =
        max (Duration.milliseconds 20L) (roundTrip / 4L)

    // A relay costs its owner, and a detour; TCP costs a queue behind each loss.
    let private kind (pair: Pair) : int =
        if pair.Local.Type.IsRelayed || pair.Remote.Type.IsRelayed then
            0
        elif Pair.isReliable pair then
            1
        else
            2

    let private isBetter (now: Instant) (pair: Pair) (selected: Pair) (g: Generation) : bool =
        let ours, its = kind pair, kind selected

        if ours <> its then
            ours > its
        elif now - g.Renominating.At < settled then
            false
        else
            match pair.Counters.CurrentRoundTripTime, selected.Counters.CurrentRoundTripTime with
            | ValueSome roundTrip, ValueSome present ->
                let isPreferred = pair.Priority > selected.Priority

                roundTrip + margin present < present
                // An interface that is preferred has come back.
                || (isPreferred && roundTrip < present + margin present)
            | _ -> false

    /// Whether a pair that has just answered is to be nominated in place of the selected one.
    let isWorthwhile (now: Instant) (pair: Pair) (g: Generation) : bool =
        g.Renominating.IsAgreed
        && not g.Control.IsChosen
        && Generation.isControlling g
        && Pair.hasSucceeded pair
        && not (g.List.Pairs |> Array.exists Pair.isNominating)
        && (match g.Selection with
            | ValueSome selection when not (selection.Path.Equals pair.Path) ->
                match Checklist.find selection.Path g.List with
                | ValueSome selected -> isBetter now pair selected g
                | ValueNone -> false
            | _ -> false)

    /// A nomination is over, and the pair selected: one of a better kind that began to work meanwhile is nominated. It has answered
    /// already, and will not again; so its round trip is of another time than the selected pair's, and does not count.
    let reconsider (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        let isOfBetterKind (pair: Pair) =
            match g.Selection with
            | ValueSome selection ->
                match Checklist.find selection.Path g.List with
                | ValueSome selected -> kind pair > kind selected && isWorthwhile now pair g
                | ValueNone -> false
            | ValueNone -> false

        match g.List.Pairs |> Array.tryFind isOfBetterKind with
        | Some pair -> Generation.nominatePair now pair g
        | None -> Step.only g

    /// The peer's nomination of this number is followed.
    let followed (number: uint32) (g: Generation) : Generation =
        { g with
            Renominating =
                { g.Renominating with
                    Latest = max number g.Renominating.Latest } }

    /// Both sides can, or not both.
    let agree (agreed: bool) (options: IceOptions) (g: Generation) : Generation =
        { g with
            Renominating =
                { g.Renominating with
                    IsAgreed = agreed && options.Renomination } }
