namespace Hybrid.WebRtc.Core

/// What a lite agent makes of the peer's checks, RFC 8445 §7.3 and §8.2: it answers them, sends none, and selects the pair that
/// the peer nominates. It asks for no consent (RFC 7675 §5.1): that the peer goes on asking is what it knows of the path.
[<RequireQualifiedAccess>]
module internal Lite =
    // The peer may have changed its mind: a nomination counts against the selected pair where it is of a better one, RFC 5245 §8.1.1.2, or
    // the selected one has not been nominated again.
    let private givesWay now (pair: Pair) (g: Generation) : bool =
        match g.Selection with
        | ValueNone -> true
        | ValueSome selection ->
            now - selection.NominatedAt >= Consent.yieldAfter
            || (g.Renominating.IsAgreed && pair.Number > g.Renominating.Latest)
            || (match Checklist.find selection.Path g.List with
                | ValueSome selected -> pair.Priority >= selected.Priority
                | ValueNone -> true)

    let private select now (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let isNews = not (Pair.hasSucceeded pair)

        let pair =
            { pair with
                State = PairState.Succeeded
                AnsweredAt = now
                Nomination = Nomination.Done }

        let g =
            { Generation.put pair g with
                Renominating =
                    { g.Renominating with
                        Latest = max pair.Number g.Renominating.Latest } }

        struct (g,
                [ if isNews then
                      GenerationOutput.Works pair.Path ])
        |> Step.bind (Generation.select now pair)

    /// An authentic check came along a pair.
    let served now (nominates: bool) (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        match g.Selection with
        | ValueSome selection when selection.Path.Equals pair.Path ->
            let heard = Consent.heard now selection

            Step.only
                { Generation.put { pair with AnsweredAt = now } g with
                    Selection =
                        ValueSome(
                            if nominates then
                                { heard with NominatedAt = now }
                            else
                                heard
                        ) }
        | _ when nominates && givesWay now pair g -> select now pair g
        | _ -> Step.only (Generation.put pair g)
