namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Stun

/// What checks make of a generation: requests answered, responses taken, time passing. RFC 8445 §7, RFC 7675 §5.
[<RequireQualifiedAccess>]
module internal Connectivity =
    let private refused (drop: Drop) (g: Generation) : Step<Generation, GenerationOutput> =
        Step.one (GenerationOutput.Refused drop) g

    // Requests.

    /// A remote candidate that only its check told us of, RFC 8445 §7.3.1.3.
    let private peerReflexive (origin: Base) (source: Endpoint) (priority: uint32) : Candidate =
        { Foundation = Candidate.foundation 0u CandidateType.PeerReflexive source.Address (source.Port.ToString())
          Component = 1
          Transport =
            match origin.Candidate.Transport with
            // Who connects to a passive candidate is an active one, RFC 6544 §7.2.
            | CandidateTransport.Tcp TcpType.Passive -> CandidateTransport.Tcp TcpType.Active
            | CandidateTransport.Tcp _ -> CandidateTransport.Tcp TcpType.Passive
            | other -> other
          Priority = priority
          Host = CandidateHost.Ip source.Address
          Port = source.Port
          Type = CandidateType.PeerReflexive
          Related = ValueNone
          Extensions = [||] }

    // The pair of a path that a request came by, made where there is none. ValueNone: no room.
    let private pairOf
        (now: Instant)
        (path: Path)
        (priority: uint32)
        (origin: Base)
        (g: Generation)
        : struct (Pair * Generation) voption =
        match Checklist.find path g.List with
        | ValueSome pair -> ValueSome(struct (pair, g))
        | ValueNone ->
            let known = Trickle.remoteAt origin.Candidate.Transport path.Remote g
            let g = if known.IsSome then g else Trickle.makeRoom now g

            let scope = g.Agent.Scope

            if
                known.IsNone
                && (g.Remote.Candidates.Length >= Generation.MaxRemote
                    || not (IceScope.has CandidateType.PeerReflexive scope.Candidates)
                    || not (IceScope.reaches path.Remote.Address scope))
            then
                ValueNone
            else
                let remote =
                    ValueOption.defaultWith (fun () -> peerReflexive origin path.Remote priority) known

                let g =
                    if known.IsSome then
                        g
                    else
                        { g with
                            Remote =
                                { g.Remote with
                                    Candidates = Array.append g.Remote.Candidates [| remote |] } }

                match Checklist.add (Generation.isControlling g) path origin.Candidate remote g.List with
                | ValueSome list ->
                    Checklist.find path list
                    |> ValueOption.map (fun pair -> struct (pair, { g with List = list }))
                | ValueNone -> ValueNone

    /// Whether the selection gives way to a pair that the peer nominated: of several the best counts, RFC 8445 §8.1.1 and
    /// the aggressive nomination of RFC 5245 §8.1.1.2; of equals the later; and any that lives where the selected one is silent.
    /// Aggressive or not, a peer asks by the pair that it uses and nominates that: one that nominates another, and has not been heard
    /// by the selected one for a while, has lost it.
    let private givesWay now (pair: Pair) (g: Generation) : bool =
        let numbered = g.Renominating.IsAgreed && g.Renominating.Latest > 0u

        match g.Selection with
        | ValueNone -> true
        | ValueSome selection when selection.Path.Equals pair.Path -> false
        | ValueSome _ when g.Renominating.IsAgreed && pair.Number > g.Renominating.Latest -> true
        // Overtaken by a later one, or without a number where there are numbers.
        | ValueSome selection when numbered || g.Control.IsChosen -> Consent.isWeak now selection
        | ValueSome selection ->
            Consent.isWeak now selection
            || (match Checklist.find selection.Path g.List with
                | ValueSome selected ->
                    pair.Priority >= selected.Priority
                    || now - max selected.AnsweredAt selected.HeardAt > Consent.recent
                | ValueNone -> true)

    // The peer nominates a pair that works: selected where it answered lately, checked again where not, RFC 7675 §5.1.
    let private nominated (options: IceOptions) now (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let isLatest =
            match g.Selection with
            | ValueSome selection -> selection.Path.Equals pair.Path
            | ValueNone -> false

        if not (givesWay now pair g) then
            Generation.put
                { pair with
                    Nomination = Nomination.Done }
                g
            |> (if isLatest then Renomination.followed pair.Number else id)
            |> Step.only
        elif now - pair.AnsweredAt < options.FailedAfter then
            g |> Renomination.followed pair.Number |> Generation.select now pair
        elif pair.Check.IsSome then
            Step.only (
                Generation.put
                    { pair with
                        Nomination = Nomination.Requested }
                    g
            )
        else
            Generation.check
                now
                false
                { pair with
                    Nomination = Nomination.Requested }
                g

    // The peer asks by a pair that has worked once, and that nobody has asked by since: it may need it soon, and it works only
    // where it is answered now.
    let private isStale now (pair: Pair) (g: Generation) : bool =
        pair.Check.IsNone
        && now - pair.AnsweredAt > Consent.period
        && (match g.Selection with
            | ValueSome selection -> not (selection.Path.Equals pair.Path)
            | ValueNone -> true)

    // RFC 8445 §7.3.1.4 and §7.3.1.5.
    let private serve
        options
        now
        (path: Path)
        (priority: uint32)
        (nominates: bool)
        (number: uint32)
        (origin: Base)
        (g: Generation)
        =
        match pairOf now path priority origin g with
        | ValueNone -> refused Drop.TooMany g
        | ValueSome(struct (pair, g)) ->
            let g = Generation.doubt now path g
            let nominates = nominates && not (Generation.isControlling g)

            let pair =
                { Pair.served now pair with
                    Number = if nominates then max number pair.Number else pair.Number }

            if Generation.isLite g then
                Lite.served now nominates pair g
            elif Pair.hasSucceeded pair then
                if nominates then
                    nominated options now pair g
                elif isStale now pair g then
                    Generation.check now false pair g
                else
                    Step.only (Generation.put pair g)
            else
                let pair =
                    if nominates then
                        { pair with
                            Nomination = Nomination.Requested }
                    else
                        pair

                Step.only
                    { g with
                        List = Checklist.trigger pair g.List }

    // Answered already, to be served once the peer's credentials are known.
    let private rememberEarly (early: EarlyCheck) (g: Generation) : Step<Generation, GenerationOutput> =
        let others =
            g.Early
            |> Array.filter (fun other -> not (other.Path.Equals early.Path && other.Fragment = early.Fragment))

        if others.Length >= Generation.MaxEarly then
            refused Drop.TooMany g
        else
            Step.only
                { g with
                    Early = Array.append others [| early |] }

    let private fragments (message: Message) : struct (string * string) =
        match Message.username message with
        | ValueSome username ->
            match username.IndexOf ':' with
            | -1 -> struct (username, "")
            | colon -> struct (username.Substring(0, colon), username.Substring(colon + 1))
        | ValueNone -> struct ("", "")

    let private heard (g: Generation) : Generation =
        { g with
            Progress =
                { g.Progress with
                    Heard = true
                    Verdict =
                        match g.Progress.Verdict with
                        | Verdict.Exhausted -> Verdict.Open
                        | other -> other } }

    // An authentic request whose role goes together with ours, RFC 8445 §7.3.1.
    let private accept options now (path: Path) (message: Message) (local: Secret) (origin: Base) (g: Generation) =
        let priority =
            Message.priority message
            |> ValueOption.defaultWith (fun () -> Generation.reflexivePriority origin)

        let number = Message.nomination message
        let nominates = number > 0u || Message.usesCandidate message
        let struct (_, theirs) = fragments message

        heard g
        |> Step.one (GenerationOutput.Send(path, Binding.success local message path.Remote))
        |> Step.bind (fun g ->
            match g.Remote.Secret with
            | ValueNone ->
                rememberEarly
                    { Path = path
                      Priority = priority
                      Nominated = nominates
                      Number = number
                      Fragment = theirs }
                    g
            // From a generation of the peer's that we do not know (yet, or any more): answered, no more.
            | ValueSome remote when remote.Credentials.UsernameFragment <> theirs -> refused Drop.Stale g
            | ValueSome _ -> serve options now path priority nominates number origin g)
        |> Step.bind (Generation.advance now)

    /// Takes the other role, with a new tie-breaker, RFC 8445 §7.2.5.1.
    let private switchRole (g: Generation) : Step<Generation, GenerationOutput> =
        let role =
            if Generation.isControlling g then
                IceRole.Controlled
            else
                IceRole.Controlling

        Step.one (GenerationOutput.Switched role) (Trickle.setRole role g)

    /// An authentic Binding request that names us, RFC 8445 §7.3.
    let request options now (path: Path) (message: Message) (g: Generation) =
        match g.Local.Secret, Generation.baseOf path.Local g with
        | ValueSome local, ValueSome origin ->
            match g.Progress.Verdict, Message.unknownRequired message with
            | Verdict.Lost, _ -> refused Drop.Stale g
            | _ when Checklist.isRemoved path g.List -> refused Drop.Stale g
            | _, [||] ->
                match Binding.compareRoles g.Agent message with
                // A lite agent has the role that the peer leaves it.
                | _ when Generation.isLite g -> accept options now path message local origin g
                | Binding.Roles.PeerYields ->
                    let conflict = Binding.error local message 487 "Role Conflict" [||]
                    Step.one (GenerationOutput.Send(path, conflict)) g
                | Binding.Roles.WeYield -> switchRole g |> Step.bind (accept options now path message local origin)
                | Binding.Roles.Agree -> accept options now path message local origin g
            | _, unknown ->
                let answer =
                    Binding.error local message 420 "Unknown Attribute" [| UnknownAttributes unknown |]

                struct (g,
                        [ GenerationOutput.Send(path, answer)
                          GenerationOutput.Refused Drop.Unsupported ])
        | _ -> refused Drop.Unexpected g

    /// The peer's credentials are known: what it asked before is served now, RFC 8445 §7.3.
    let setRemote
        options
        (now: Instant)
        (credentials: IceParameters)
        (lite: bool)
        (g: Generation)
        : Step<Generation, GenerationOutput> =
        let early = g.Early

        let g =
            { g with
                Remote =
                    { g.Remote with
                        Secret = ValueSome(Binding.secret credentials)
                        Lite = lite }
                Progress = { g.Progress with NewsAt = now }
                Early = [||] }

        let replay (check: EarlyCheck) (g: Generation) =
            match Generation.baseOf check.Path.Local g with
            | ValueSome origin when check.Fragment = credentials.UsernameFragment ->
                serve options now check.Path check.Priority check.Nominated check.Number origin g
            | _ -> refused Drop.Stale g

        (Step.only g, early)
        ||> Array.fold (fun step check -> Step.bind (replay check) step)
        |> Step.bind (Generation.advance now)

    // Responses.

    // The pair and the request of a transaction.
    let private find (id: TransactionId) (g: Generation) : struct (Pair * CheckRequest) voption =
        let mutable found = ValueNone

        for pair in g.List.Pairs do
            match Pair.request id pair with
            | ValueSome request -> found <- ValueSome(struct (pair, request))
            | ValueNone -> ()

        found

    /// Whether a response is to one of this generation's requests.
    let awaits (id: TransactionId) (g: Generation) : bool = (find id g).IsSome

    // RFC 8445 §7.2.5.3.1: how the peer sees us is one of our candidates, or a new one.
    let private mapped (origin: Base) (seen: Endpoint) (pair: Pair) (g: Generation) : struct (Pair * Generation) =
        let isThere (c: Candidate) =
            Candidate.sameProtocol c.Transport origin.Candidate.Transport
            && Candidate.endpoint c = ValueSome seen

        match g.Local.Candidates |> Array.tryFind isThere with
        // No NAT has changed it: it is what the active candidate stands for.
        | _ when origin.Kind.IsStream && seen.Equals origin.Endpoint -> struct (pair, g)
        | Some candidate -> struct ({ pair with Local = candidate }, g)
        | None when
            g.Local.Candidates.Length >= Generation.MaxRemote
            || not (IceScope.has CandidateType.PeerReflexive g.Agent.Scope.Candidates)
            ->
            struct (pair, g)
        | None ->
            let candidate =
                { origin.Candidate with
                    Foundation =
                        Candidate.foundation 0u CandidateType.PeerReflexive seen.Address origin.Candidate.Foundation
                    Priority = Generation.reflexivePriority origin
                    Host = CandidateHost.Ip seen.Address
                    Port = seen.Port
                    Type = CandidateType.PeerReflexive
                    Related =
                        ValueSome
                            { Host = origin.Candidate.Host
                              Port = origin.Candidate.Port } }

            struct ({ pair with Local = candidate }, Trickle.addLocal candidate ValueNone g)

    // Consent is fresh, RFC 7675 §5.1.
    let private refresh now (pair: Pair) (g: Generation) : Generation =
        match g.Selection with
        | ValueSome selection when selection.Path.Equals pair.Path ->
            let struct (selection, entropy) = Consent.answered now selection g.Entropy

            { g with
                Selection = ValueSome selection
                Entropy = entropy }
        | _ -> g

    // RFC 8445 §7.2.5.3.
    let private succeeded
        options
        now
        (request: CheckRequest)
        (origin: Base)
        (seen: Endpoint)
        (pair: Pair)
        (g: Generation)
        =
        let isNews = not (Pair.hasSucceeded pair)

        let struct (pair, g) =
            mapped
                origin
                seen
                { Pair.answered now request pair with
                    State = PairState.Succeeded
                    AnsweredAt = now }
                g

        let g =
            Generation.put pair g |> refresh now pair |> Generation.yieldSoon now pair.Path

        let step =
            if isNews then
                { g with
                    // A pair that works needs no other check, and frees those like it.
                    List = Checklist.put { pair with Check = ValueNone } g.List |> Checklist.thaw pair }
                |> Generation.awaitBetter now pair
                |> Step.one (GenerationOutput.Works pair.Path)
            else
                Step.only g

        step
        |> Step.bind (fun g ->
            match Checklist.find pair.Path g.List, pair.Nomination with
            | ValueSome current, _ when request.Nominating && request.AsControlling && Generation.isControlling g ->
                Generation.select now current g |> Step.bind (Renomination.reconsider now)
            | ValueSome current, Nomination.Requested when not (Generation.isControlling g) ->
                nominated options now current g
            | ValueSome current, _ when Renomination.isWorthwhile now current g ->
                Generation.nominatePair now current g
            | _ -> Step.only g)

    // RFC 8445 §7.2.5.1: the peer kept its role.
    let private conflicted now (request: CheckRequest) (pair: Pair) (g: Generation) =
        let pair = Pair.answered now request pair
        let g = Generation.put pair g

        let step =
            if request.AsControlling = Generation.isControlling g then
                let struct (tieBreaker, entropy) = Entropy.uint64 g.Entropy

                switchRole
                    { g with
                        Agent = { g.Agent with TieBreaker = tieBreaker }
                        Entropy = entropy }
            else
                Step.only g

        step
        |> Step.bind (fun g ->
            match Checklist.find pair.Path g.List with
            | ValueSome pair when not (Pair.hasSucceeded pair) ->
                Step.only
                    { g with
                        List = Checklist.trigger pair g.List }
            | _ -> Step.only g)

    // RFC 8445 §7.2.5.2.4; 403 takes consent back at once, RFC 7675 §5.2.
    let private rejected options now (code: int) (request: CheckRequest) (pair: Pair) (g: Generation) =
        let isCheck =
            match pair.Check with
            | ValueSome check -> check.Id.Equals request.Id
            | ValueNone -> false

        let answered = Pair.answered now request pair

        match g.Selection with
        | ValueSome selection when selection.Path.Equals pair.Path ->
            if code = 403 then
                Generation.lose options now selection g
            else
                Step.only (Generation.put answered g)
        | _ when isCheck -> Generation.fail answered g
        | _ -> Step.only (Generation.put answered g)

    /// A response to a check of ours, RFC 8445 §7.2.5. One that comes from elsewhere than the request went
    /// (§7.2.5.2.1), or that is not signed with the peer's password, changes nothing.
    let response options ciphers now (path: Path) (message: Message) (datagram: ReadOnlySpan<byte>) (g: Generation) =
        match find message.Transaction g, g.Remote.Secret, Generation.baseOf path.Local g with
        | ValueSome(struct (pair, _)), _, _ when not (pair.Path.Equals path) -> refused Drop.Unvalidated g
        | ValueSome(struct (pair, request)), ValueSome remote, ValueSome origin ->
            match Message.verify ciphers (ReadOnlySpan remote.Key) datagram with
            | Verification.Absent
            | Verification.Wrong -> refused Drop.Unauthentic g
            | Verification.Right ->
                match message.Class, Message.mappedAddress message, Message.errorCode message with
                | _ when (Message.unknownRequired message).Length > 0 -> refused Drop.Unsupported g
                | Class.Success, ValueSome seen, _ -> succeeded options now request origin seen pair g
                | Class.Error, _, ValueSome(struct (487, _)) -> conflicted now request pair g
                | Class.Error, _, ValueSome(struct (code, _)) -> rejected options now code request pair g
                | _ -> refused Drop.Malformed g
                |> Step.bind (Generation.advance now)
        | _ -> refused Drop.Unexpected g

    // Time.

    // The same request again: the same transaction, RFC 8489 §6.2.1. Over a pair that works it is another.
    let private repeat (now: Instant) (check: Transaction) (pair: Pair) (g: Generation) =
        match Pair.request check.Id pair, g.Local.Secret, g.Remote.Secret, Generation.baseOf pair.Path.Local g with
        | ValueSome request, _, _, _ when Pair.hasSucceeded pair ->
            Generation.askAnew now request.Nominating check pair g
        | ValueSome request, ValueSome local, ValueSome remote, ValueSome origin ->
            let message =
                Binding.request
                    check.Id
                    request.AsControlling
                    g.Agent.TieBreaker
                    (Generation.reflexivePriority origin)
                    request.Nominating
                    (if request.Nominating && g.Renominating.IsAgreed then
                         pair.Number
                     else
                         0u)
                    local
                    remote

            let repeated =
                { pair with
                    Check = ValueSome(Transaction.resend now check)
                    Outstanding =
                        pair.Outstanding
                        |> Array.map (fun r ->
                            if r.Id.Equals check.Id then
                                { r with Repeated = true }
                            else
                                r)
                    Counters =
                        { pair.Counters with
                            RequestsSent = pair.Counters.RequestsSent + 1L } }

            Step.one (GenerationOutput.Send(pair.Path, message)) (Generation.put repeated g)
        // Too many newer requests have pushed it out of mind.
        | _ when Pair.hasSucceeded pair -> Step.only (Generation.put { pair with Check = ValueNone } g)
        | _ ->
            Step.only (
                Generation.put
                    { pair with
                        Check = ValueNone
                        State = PairState.Waiting }
                    g
            )

    let private retransmit (now: Instant) (path: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        match Checklist.find path g.List with
        | ValueSome pair ->
            match pair.Check with
            | ValueSome check when now >= check.DueAt && Pair.isResting pair -> Generation.check now false pair g
            | ValueSome check when now >= check.DueAt && Transaction.isSpent check -> Generation.fail pair g
            | ValueSome check when now >= check.DueAt -> repeat now check pair g
            | _ -> Step.only g
        | ValueNone -> Step.only g

    // RFC 7675 §5.1.
    let rec private keepConsent
        (options: IceOptions)
        (now: Instant)
        (g: Generation)
        : Step<Generation, GenerationOutput> =
        match g.Selection with
        | ValueNone -> Step.only g
        | ValueSome selection when now >= Consent.expiresAt options selection ->
            g
            |> Generation.lose options now selection
            |> Step.bind (keepConsent options now)
        | ValueSome selection ->
            let selection = Consent.at now options selection

            let g =
                { g with
                    Selection = ValueSome selection }

            let successor =
                if Consent.isWeak now selection && not (Generation.isLite g) then
                    Generation.liveliest options now selection.AnsweredAt selection.Path g
                else
                    ValueNone

            match successor, Checklist.find selection.Path g.List with
            | ValueSome pair, _ -> g |> Generation.takeOver now pair |> Step.bind (keepConsent options now)
            | ValueNone, ValueSome pair when now >= selection.NextAt ->
                { g with
                    Selection = ValueSome(Consent.asked now selection) }
                |> Generation.askConsent now pair
            | _ -> Step.only g

    // Consent lapses for working pairs that wait to be nominated, too.
    let private lapse (options: IceOptions) (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        if g.Selection.IsSome then
            Step.only g
        else
            (Step.only g, g.List.Pairs)
            ||> Array.fold (fun step pair ->
                if now >= Prospects.lapsesAt options pair then
                    Step.bind (Generation.fail pair) step
                else
                    step)

    let private judge (gathered: bool) (now: Instant) (g: Generation) : Generation =
        if now >= Prospects.exhaustsAt gathered g then
            { g with
                Progress =
                    { g.Progress with
                        Verdict = Verdict.Exhausted } }
        else
            g

    /// Time has passed.
    let tick
        (options: IceOptions)
        (gathered: bool)
        (now: Instant)
        (g: Generation)
        : Step<Generation, GenerationOutput> =
        match g.Progress.Verdict with
        | Verdict.Lost -> Step.only g
        | Verdict.Open
        | Verdict.Exhausted ->
            (Step.only g, g.List.Pairs)
            ||> Array.fold (fun step pair -> Step.bind (retransmit now pair.Path) step)
            |> Step.bind (keepConsent options now)
            |> Step.bind (lapse options now)
            |> Step.bind (Generation.advance now)
            |> Step.bind (judge gathered now >> Step.only)
