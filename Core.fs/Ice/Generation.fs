namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Stun

/// One ICE session, RFC 8445 §2: from the credentials of both sides to a selected pair and its consent.
[<NoComparison; NoEquality>]
type internal Generation =
    { Agent: Agent
      Local: LocalEnd
      Remote: RemoteEnd
      List: Checklist
      Early: EarlyCheck[]
      Selection: Selection voption
      Renominating: Renominating
      Control: PairDecisions
      Progress: Progress
      Pace: Pace
      Entropy: Entropy }

[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal GenerationOutput =
    | Send of Path: Path * Message: Outgoing
    /// Ask for the address of a name.
    | Resolve of Name: string
    /// A relay is to let the peer's packets through, before our check for it leaves.
    | Permit of Path: Path
    | Works of Path: Path
    | Broke of Path: Path
    | Chose of Path: Path
    /// It is to be nominated, unless the application says otherwise.
    | Proposed of Path: Path
    /// Connect from the address of a socket; the path is that of the pair.
    | Connect of Path: Path * From: PortId
    /// Close a stream.
    | Disconnect of Port: PortId
    /// The role conflict was settled against us.
    | Switched of IceRole
    | Refused of Drop

/// Sending checks, nominating, selecting, giving up: the verbs that `Trickle` and `Connectivity` are made of.
[<RequireQualifiedAccess>]
module internal Generation =
    /// Remote candidates, signalled and peer-reflexive together.
    [<Literal>]
    let MaxRemote = 100

    [<Literal>]
    let MaxEarly = 16

    /// Connections that are made in one generation, whatever the peer tells us to connect to.
    [<Literal>]
    let MaxStreams = 64

    /// The first number of the streams of a generation, by its own number. Negative and odd, see `PortId`.
    let private firstStream (number: int) : PortId =
        (-1 - 2 * MaxStreams * (number &&& 0xffffff)) * 1<port>

    /// `number` is unique within the agent.
    let create (agent: Agent) (number: int) (entropy: Entropy) : Generation =
        { Agent = agent
          Local =
            { Secret = ValueNone
              Bases = [||]
              Candidates = [||]
              Servers = [||]
              NextStream = firstStream number
              StreamsLeft = MaxStreams }
          Remote =
            { Secret = ValueNone
              Candidates = [||]
              Unresolved = [||]
              Complete = false
              Lite = false }
          List = Checklist.empty
          Early = [||]
          Selection = ValueNone
          Renominating =
            { IsAgreed = false
              Latest = 0u
              At = Pair.longAgo }
          Control =
            { Decides = false
              Proposed = [||]
              IsChosen = false }
          Progress =
            { NewsAt = Pair.longAgo
              Heard = false
              NominateAt = Instant.never
              GraceUntil = Pair.longAgo
              Verdict = Verdict.Open }
          Pace = Pace.create
          Entropy = entropy }

    let isControlling (g: Generation) = g.Agent.Role = IceRole.Controlling

    /// Whether we are a lite agent.
    let isLite (g: Generation) = g.Agent.Scope.Lite

    let baseOf (port: PortId) (g: Generation) : Base voption =
        match g.Local.Bases |> Array.tryFind (fun b -> b.Port = port) with
        | Some b -> ValueSome b
        | None -> ValueNone

    let put (pair: Pair) (g: Generation) =
        { g with
            List = Checklist.put pair g.List }

    /// The PRIORITY of checks from a base: what a peer-reflexive candidate learnt from it will have, RFC 8445 §7.1.1.
    /// Where that base is a relay's it is a relay's priority: with the type preference that §7.1.1 has for it, a peer that
    /// our check reaches before our candidate would take the relay for better than a direct path.
    let reflexivePriority (local: Base) =
        match local.Candidate.Type, local.Candidate.Transport with
        | CandidateType.Relayed, _ -> Candidate.priority CandidateType.Relayed local.Preference 1
        | _, CandidateTransport.Tcp tcp -> Candidate.tcpPriority CandidateType.PeerReflexive tcp local.Preference 1
        | _, CandidateTransport.Udp
        | _, CandidateTransport.OtherTransport _ -> Candidate.priority CandidateType.PeerReflexive local.Preference 1

    // That of the pair's nomination while it is the last one; else the next.
    let private numberFor (pair: Pair) (g: Generation) : uint32 =
        let latest = g.Renominating.Latest

        if not g.Renominating.IsAgreed then 0u
        elif pair.Number = latest && latest > 0u then latest
        else min (latest + 1u) 0xffffffu

    /// A new request over a pair; the pair remembers it. `transaction`: the pair's check from now on, where it is to be repeated.
    let private ask
        now
        nominating
        (transaction: (TransactionId -> Transaction) voption)
        (pair: Pair)
        (g: Generation)
        : Step<Generation, GenerationOutput> =
        match g.Local.Secret, g.Remote.Secret, baseOf pair.Path.Local g with
        | ValueSome local, ValueSome remote, ValueSome origin ->
            let struct (id, entropy) = TransactionId.draw g.Entropy
            let controlling = isControlling g
            let number = if nominating then numberFor pair g else 0u

            let pair =
                { pair with
                    Number = max number pair.Number }
                |> Pair.remember
                    { Id = id
                      SentAt = now
                      Nominating = nominating
                      AsControlling = controlling
                      Repeated = false }

            let pair =
                match transaction with
                | ValueSome transaction ->
                    { pair with
                        State =
                            if Pair.hasSucceeded pair then
                                PairState.Succeeded
                            else
                                PairState.InProgress
                        Check = ValueSome(transaction id) }
                | ValueNone -> pair

            let message =
                Binding.request
                    id
                    controlling
                    g.Agent.TieBreaker
                    (reflexivePriority origin)
                    nominating
                    number
                    local
                    remote

            { put pair g with
                Renominating =
                    { g.Renominating with
                        Latest = max number g.Renominating.Latest }
                Entropy = entropy
                Pace = Pace.spend now g.Pace }
            |> Step.one (GenerationOutput.Send(pair.Path, message))
        | _ -> Step.only g

    // RFC 6544 §7.1: the connection first; its check follows when it is open.
    let private connect now (asking: bool) (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        match baseOf pair.Path.Local g with
        | ValueSome { Kind = BaseKind.Stream from } ->
            let struct (id, entropy) = TransactionId.draw g.Entropy

            let pair =
                { pair with
                    State = PairState.InProgress
                    Link = PairLink.Connecting
                    Check = ValueSome(Transaction.start Repetition.reliable id now) }

            struct ({ put pair g with
                        Entropy = entropy
                        Pace = Pace.spend now g.Pace },
                    [ if asking then
                          GenerationOutput.Connect(pair.Path, from) ])
        | _ -> Step.only (put { pair with State = PairState.Failed } g)

    /// The connection of a pair is made after a pause of this length, or of up to half as much again: two relays that connect to each other
    // at once may both be refused for it, and are not to be in step for ever.
    let rest now (pause: Duration) (pair: Pair) (g: Generation) : Generation =
        let struct (id, entropy) = TransactionId.draw g.Entropy
        let struct (more, entropy) = Entropy.below (int pause / 2) entropy
        let pause = pause + int64 more * 1L<us>

        { put
              { pair with
                  State = PairState.InProgress
                  Link = PairLink.Resting
                  Check = ValueSome(Transaction.start (Transaction.once pause) id now) }
              g with
            Entropy = entropy }

    /// A connectivity check, RFC 8445 §7.2.2, repeated until it is answered.
    let check now nominating (pair: Pair) g =
        match pair.Link with
        | PairLink.Unconnected
        | PairLink.Resting -> connect now true pair g
        | PairLink.Connecting -> connect now false pair g
        | PairLink.Datagrams
        | PairLink.Connected
        | PairLink.Accepted ->
            ask now nominating (ValueSome(fun id -> Transaction.start (Repetition.ofPair pair g.List) id now)) pair g

    /// The check of a pair that works is due again, and is another request: RFC 8445 §14.3 forbids one to be repeated within
    /// 500 ms, and a path of 20 ms that loses a third of all round trips is not to be nominated for many seconds.
    let askAnew now nominating (check: Transaction) (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        ask now nominating (ValueSome(fun id -> Transaction.resend now { check with Id = id })) pair g

    /// A request for consent, sent once, RFC 7675 §5.1. A controlling agent says again that it nominates: a peer that
    /// sees us come from elsewhere then knows at once where to answer.
    let askConsent now (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let counted =
            { pair with
                Counters =
                    { pair.Counters with
                        ConsentRequestsSent = pair.Counters.ConsentRequestsSent + 1L } }

        ask now (isControlling g && pair.Nomination.IsDone) ValueNone counted g

    /// Starts checks as the pace allows: triggered ones first, RFC 8445 §6.1.4.2.
    let rec pump (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        if g.Remote.Secret.IsNone || g.Local.Secret.IsNone || isLite g then
            Step.only g
        else
            let struct (triggered, list) =
                if now >= Pace.next Pace.Triggered g.Pace then
                    Checklist.takeTriggered g.List
                else
                    struct (ValueNone, g.List)

            let g = { g with List = list }

            match triggered with
            | ValueSome pair -> g |> check now false pair |> Step.bind (pump now)
            | ValueNone when now >= Pace.next Pace.Ordinary g.Pace ->
                match Checklist.nextOrdinary g.List with
                | ValueSome pair -> g |> check now false pair |> Step.bind (pump now)
                | ValueNone -> Step.only g
            | ValueNone -> Step.only g

    /// The best pair that works.
    let bestWorking (g: Generation) : Pair voption =
        match g.List.Pairs |> Array.tryFind Pair.hasSucceeded with
        | Some pair -> ValueSome pair
        | None -> ValueNone

    /// Whether we are the one who nominates, and have not yet.
    let private mayNominate (g: Generation) =
        isControlling g
        && not (isLite g)
        && g.Selection.IsNone
        && not (g.List.Pairs |> Array.exists Pair.isNominating)

    // A pair that would have been as quick as the one that works has answered by then: twice its round trip.
    // A relayed pair waits longer, and one of TCP, for a direct path may need a second try to open the NATs on both sides.
    let private patience (pair: Pair) : Duration =
        let isRelayed (candidate: Candidate) =
            match candidate.Type with
            | CandidateType.Relayed -> true
            | _ -> false

        let roundTrip =
            match pair.Counters.CurrentRoundTripTime with
            | ValueSome rtt -> 2L * rtt
            | ValueNone -> Duration.milliseconds 500L

        let least =
            if isRelayed pair.Local || isRelayed pair.Remote || Pair.isReliable pair then
                Duration.seconds 2L
            else
                Duration.milliseconds 20L

        max least (min roundTrip (Duration.milliseconds 500L))

    /// Until when a better pair, still undecided, holds up the nomination of one that works. A check on its way has as
    /// long as the working pair's patience since it was sent first; one that has not left yet, as long since a pair worked.
    let private hopesUntil (working: Pair) (better: Pair) (g: Generation) : Instant =
        match better.Check with
        | ValueSome check -> Instant.min g.Progress.NominateAt (check.FirstAt + patience working)
        | ValueNone -> g.Progress.NominateAt

    /// When we nominate: once no better pair holds it up. `never` where it is not for us.
    let nominatesAt (g: Generation) : Instant =
        if mayNominate g then
            match bestWorking g with
            | ValueSome working when Array.contains working.Path g.Control.Proposed -> Instant.never
            | ValueSome working ->
                (Pair.longAgo, g.List.Pairs)
                ||> Array.fold (fun until pair ->
                    if pair.Priority > working.Priority && Checklist.isWorthwhile g.List pair then
                        max until (hopesUntil working pair g)
                    else
                        until)
            | ValueNone -> Instant.never
        else
            Instant.never

    /// Regular nomination, RFC 8445 §8.1.1: the check again, with USE-CANDIDATE. Where the application decides, it is asked first, and
    /// once.
    let nominatePair (now: Instant) (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        if not g.Control.Decides then
            check now true pair g
        elif Array.contains pair.Path g.Control.Proposed then
            Step.only g
        else
            { g with
                Control =
                    { g.Control with
                        Proposed = Array.append g.Control.Proposed [| pair.Path |] } }
            |> Step.one (GenerationOutput.Proposed pair.Path)

    let private nominate (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        match bestWorking g with
        | ValueSome pair when now >= nominatesAt g -> nominatePair now pair g
        | _ -> Step.only g

    /// A pair works: how long it waits for a better one.
    let awaitBetter (now: Instant) (pair: Pair) (g: Generation) : Generation =
        if g.Progress.NominateAt = Instant.never then
            { g with
                Progress =
                    { g.Progress with
                        NominateAt = now + patience pair } }
        else
            g

    // The end of a pair's stream, where it has one.
    let private disconnecting (pair: Pair) : GenerationOutput list =
        if Pair.holdsStream pair then
            [ GenerationOutput.Disconnect pair.Path.Local ]
        else
            []

    /// A pair does not work, or not any more.
    let fail (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let failed =
            { pair with
                State = PairState.Failed
                Link =
                    if Pair.holdsStream pair then
                        PairLink.Unconnected
                    else
                        pair.Link
                Check = ValueNone
                Outstanding = [||]
                Nomination = Nomination.None
                HeardAt = Pair.longAgo }

        struct (put failed g,
                [ if Pair.hasSucceeded pair then
                      GenerationOutput.Broke pair.Path
                  yield! disconnecting pair ])

    // RFC 6544 §8: connections that are not selected are closed, by whoever made them. A peer that nominates may still change
    // its mind, so only a controlling agent does.
    let private closeOthers (selected: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        if isControlling g then
            (Step.only g, g.List.Pairs)
            ||> Array.fold (fun step pair ->
                if Pair.holdsStream pair && not (pair.Path.Equals selected) then
                    Step.bind (fail pair) step
                else
                    step)
        else
            Step.only g

    /// Data goes over this pair from now on.
    let select (now: Instant) (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let g =
            put
                { pair with
                    Nomination = Nomination.Done }
                g

        match g.Selection with
        | ValueSome selection when selection.Path.Equals pair.Path -> Step.only g
        | _ ->
            let struct (selection, entropy) =
                match isLite g, g.Remote.Lite with
                | true, true -> struct (Consent.assumed now pair.Path, g.Entropy)
                | true, false -> struct (Consent.listening now pair.Path, g.Entropy)
                | _ -> Consent.create now pair.Path pair.AnsweredAt g.Entropy

            // A controlled agent goes on with better pairs, which an aggressive peer may still nominate; and so does one that may
            // nominate them itself.
            let floor =
                if isControlling g && not g.Renominating.IsAgreed then
                    UInt64.MaxValue
                else
                    pair.Priority

            { g with
                List = Checklist.settle floor g.List
                Selection = ValueSome selection
                Renominating = { g.Renominating with At = now }
                Entropy = entropy }
            |> Step.one (GenerationOutput.Chose pair.Path)
            |> Step.bind (closeOthers pair.Path)

    // RFC 8445 §8.2 of two lite agents: the pair that both take for the best, unasked.
    let private assume (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        if
            isLite g
            && g.Remote.Lite
            && g.Local.Secret.IsSome
            && not (Array.isEmpty g.List.Pairs)
        then
            let best =
                { g.List.Pairs[0] with
                    State = PairState.Succeeded
                    AnsweredAt = now }

            let isKnown = Pair.hasSucceeded g.List.Pairs[0]

            struct (put best g,
                    [ if not isKnown then
                          GenerationOutput.Works best.Path ])
            |> Step.bind (select now best)
        else
            Step.only g

    /// Whatever may be done at once.
    let advance (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        g |> nominate now |> Step.bind (pump now) |> Step.bind (assume now)

    /// The working pair that showed signs of life last, after `since`; not the one of `except`, and none whose consent is over.
    let liveliest (options: IceOptions) (now: Instant) (since: Instant) (except: Path) (g: Generation) : Pair voption =
        let lastSeen (pair: Pair) = max pair.AnsweredAt pair.HeardAt

        let mutable best = ValueNone

        for pair in g.List.Pairs do
            if
                Pair.hasSucceeded pair
                && not (pair.Path.Equals except)
                && now - pair.AnsweredAt < options.FailedAfter
                && lastSeen pair > since
                && (match best with
                    | ValueSome other -> lastSeen pair > lastSeen other
                    | ValueNone -> true)
            then
                best <- ValueSome pair

        best

    /// A request of the peer's came by this path: where another is selected, it may be gone at the peer's end.
    let doubt (now: Instant) (path: Path) (g: Generation) : Generation =
        match g.Selection with
        // A lite agent asks nobody.
        | ValueSome selection when not (isLite g || selection.Path.Equals path) ->
            match Checklist.find selection.Path g.List with
            | ValueSome selected ->
                { g with
                    Selection = ValueSome(Consent.doubt now selected.Counters.CurrentRoundTripTime selection) }
            | ValueNone -> g
        | _ -> g

    /// A pair answers: where another is selected that does not, it need not be waited for any longer.
    let yieldSoon (now: Instant) (path: Path) (g: Generation) : Generation =
        match g.Selection with
        | ValueSome selection when not (selection.Path.Equals path) && Consent.isWeak now selection ->
            { g with
                Selection = ValueSome(Consent.askAt now selection) }
        | _ -> g

    /// A pair takes over from one that is gone, or silent: the peer learns of it by the request for consent, which is sent at once.
    let takeOver (now: Instant) (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        select now pair g
        |> Step.bind (fun g ->
            Step.only
                { g with
                    Selection = ValueOption.map (Consent.askAt now) g.Selection })

    // Pairs that are asked at once when the selected one is gone.
    [<Literal>]
    let private MaxAsked = 8

    // What has worked may not any more: a route may have gone with the address. All are asked, those too that were not worth it
    // before, and the one that took over yields to whichever answers, soon.
    let private verify (now: Instant) (taken: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let g =
            { g with
                List = { g.List with Floor = 0UL }
                Selection = ValueOption.map (Consent.hasten now taken.Counters.CurrentRoundTripTime) g.Selection }

        g.List.Pairs
        |> Array.filter (fun pair -> Pair.hasSucceeded pair && pair.Check.IsNone && not (pair.Path.Equals taken.Path))
        |> Array.truncate MaxAsked
        |> Array.fold (fun step pair -> Step.bind (check now false pair) step) (Step.only g)

    /// The selected pair is gone: another that lives takes its place, or nothing does.
    let replace (options: IceOptions) (now: Instant) (gone: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        let g =
            { g with
                Selection = ValueNone
                List = { g.List with Floor = 0UL } }

        match liveliest options now Pair.longAgo gone g with
        | ValueSome pair ->
            let selected = takeOver now pair g

            if isLite g then
                selected
            else
                Step.bind (verify now pair) selected
        | ValueNone -> Step.only g

    /// Consent is gone, RFC 7675 §5.1: where no other pair lives, these credentials are done with.
    let lose
        (options: IceOptions)
        (now: Instant)
        (selection: Selection)
        (g: Generation)
        : Step<Generation, GenerationOutput> =
        let broken =
            match Checklist.find selection.Path g.List with
            | ValueSome pair -> fail pair g
            | ValueNone -> Step.only g

        broken
        |> Step.bind (replace options now selection.Path)
        |> Step.bind (fun g ->
            if g.Selection.IsSome then
                Step.only g
            else
                Step.only
                    { g with
                        Progress =
                            { g.Progress with
                                Verdict = Verdict.Lost } })
