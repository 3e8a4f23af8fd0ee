namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Stun

/// Our side of a generation.
[<NoComparison; NoEquality>]
type internal LocalEnd =
    {
        Secret: Secret voption
        Bases: Base[]
        /// Gathered ones, and what the peer's responses told (peer-reflexive, RFC 8445 §7.2.5.3.1).
        Candidates: Candidate[]
    }

/// The peer's side of a generation.
[<NoComparison; NoEquality>]
type internal RemoteEnd =
    {
        Secret: Secret voption
        Candidates: Candidate[]
        /// Candidates whose names are being resolved.
        Unresolved: Candidate[]
        /// No more will come, RFC 8838 §14.
        Complete: bool
    }

/// A check that came before the peer's credentials were known, RFC 8445 §7.3: answered, and remembered.
[<NoComparison; NoEquality>]
type internal EarlyCheck =
    {
        Path: Path
        Priority: uint32
        Nominated: bool
        /// The sender's, from USERNAME.
        Fragment: string
    }

/// Whether a generation may still come to something.
[<RequireQualifiedAccess; NoComparison>]
type internal Verdict =
    | Open
    /// Every pair failed. A new candidate, or the peer's voice, opens it again.
    | Exhausted
    /// Consent expired: these credentials are not used again, RFC 7675 §5.1.
    | Lost

[<NoComparison; NoEquality>]
type internal Progress =
    {
        /// When the peer's credentials or a candidate came last: patience counts from here.
        NewsAt: Instant
        /// Whether the peer's checks have reached us.
        Heard: bool
        /// When we nominate even though better pairs are undecided; `never` until a pair works.
        NominateAt: Instant
        Verdict: Verdict
    }

/// One ICE session, RFC 8445 §2: from the credentials of both sides to a selected pair and its consent.
[<NoComparison; NoEquality>]
type internal Generation =
    { Agent: Agent
      Local: LocalEnd
      Remote: RemoteEnd
      List: Checklist
      Early: EarlyCheck[]
      Selection: Selection voption
      Progress: Progress
      Pace: Pace
      Entropy: Entropy }

[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal GenerationOutput =
    | Send of Path: Path * Message: Outgoing
    /// Ask for the address of a name.
    | Resolve of Name: string
    | Works of Path: Path
    | Broke of Path: Path
    | Chose of Path: Path
    /// The role conflict was settled against us.
    | Switched of IceRole
    | Refused of Drop

/// What candidates, credentials and time make of a generation; `Connectivity` is what messages make of it.
[<RequireQualifiedAccess>]
module internal Generation =
    /// Remote candidates, signalled and peer-reflexive together.
    [<Literal>]
    let MaxRemote = 100

    /// Names being resolved.
    [<Literal>]
    let private MaxUnresolved = 32

    [<Literal>]
    let MaxEarly = 16

    let create (agent: Agent) (entropy: Entropy) : Generation =
        { Agent = agent
          Local =
            { Secret = ValueNone
              Bases = [||]
              Candidates = [||] }
          Remote =
            { Secret = ValueNone
              Candidates = [||]
              Unresolved = [||]
              Complete = false }
          List = Checklist.empty
          Early = [||]
          Selection = ValueNone
          Progress =
            { NewsAt = Pair.longAgo
              Heard = false
              NominateAt = Instant.never
              Verdict = Verdict.Open }
          Pace = Pace.create
          Entropy = entropy }

    let isControlling (g: Generation) = g.Agent.Role = IceRole.Controlling

    let baseOf (port: PortId) (g: Generation) : Base voption =
        match g.Local.Bases |> Array.tryFind (fun b -> b.Port = port) with
        | Some b -> ValueSome b
        | None -> ValueNone

    let put (pair: Pair) (g: Generation) =
        { g with
            List = Checklist.put pair g.List }

    /// The PRIORITY of checks from a base: what a peer-reflexive candidate learnt from it will have, RFC 8445 §7.1.1.
    let reflexivePriority (local: Base) =
        Candidate.priority CandidateType.PeerReflexive local.Preference 1

    // RFC 8445 §14.3: RTO = MAX(500 ms, Ta * N * (waiting and in-progress pairs)), there being one checklist.
    let private timing (g: Generation) : Timing =
        let busy =
            g.List.Pairs
            |> Array.sumBy (fun pair ->
                match pair.State with
                | PairState.Waiting
                | PairState.InProgress -> 1L
                | PairState.Frozen
                | PairState.Succeeded
                | PairState.Failed -> 0L)

        { Transaction.standard with
            Rto = max Transaction.standard.Rto (Pace.ta * busy) }

    /// A new request over a pair; the pair remembers it. `repeated` requests become the pair's check.
    let private ask now nominating repeated (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        match g.Local.Secret, g.Remote.Secret, baseOf pair.Path.Local g with
        | ValueSome local, ValueSome remote, ValueSome origin ->
            let struct (id, entropy) = TransactionId.draw g.Entropy
            let controlling = isControlling g

            let pair =
                pair
                |> Pair.remember
                    { Id = id
                      SentAt = now
                      Nominating = nominating
                      AsControlling = controlling
                      Repeated = false }

            let pair =
                if repeated then
                    { pair with
                        State =
                            if Pair.hasSucceeded pair then
                                PairState.Succeeded
                            else
                                PairState.InProgress
                        Check = ValueSome(Transaction.start (timing g) id now) }
                else
                    pair

            let message =
                Binding.request id controlling g.Agent.TieBreaker (reflexivePriority origin) nominating local remote

            { put pair g with
                Entropy = entropy
                Pace = Pace.spend now g.Pace }
            |> Step.one (GenerationOutput.Send(pair.Path, message))
        | _ -> Step.only g

    /// A connectivity check, RFC 8445 §7.2.2, repeated until it is answered.
    let check now nominating pair g = ask now nominating true pair g

    /// A request for consent, sent once, RFC 7675 §5.1. A controlling agent says again that it nominates: a peer that
    /// sees us come from elsewhere then knows at once where to answer.
    let askConsent now (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let counted =
            { pair with
                Counters =
                    { pair.Counters with
                        ConsentRequestsSent = pair.Counters.ConsentRequestsSent + 1L } }

        ask now (isControlling g) false counted g

    /// Starts checks as the pace allows: triggered ones first, RFC 8445 §6.1.4.2.
    let rec pump (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        if g.Remote.Secret.IsNone || g.Local.Secret.IsNone then
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
        && g.Selection.IsNone
        && not (g.List.Pairs |> Array.exists Pair.isNominating)

    /// Whether a pair better than this one may still come to work.
    let private hasHope (pair: Pair) (g: Generation) =
        g.List.Pairs
        |> Array.exists (fun other -> other.Priority > pair.Priority && Checklist.isWorthwhile g.List other)

    /// When we nominate: at once where no better pair is undecided, else when patience ends. `never` where it is not for us.
    let private nominatesAt (g: Generation) : Instant =
        if mayNominate g then
            match bestWorking g with
            | ValueSome pair when hasHope pair g -> g.Progress.NominateAt
            | ValueSome _ -> Pair.longAgo
            | ValueNone -> Instant.never
        else
            Instant.never

    // Regular nomination, RFC 8445 §8.1.1: the check again, with USE-CANDIDATE.
    let private nominate (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        match bestWorking g with
        | ValueSome pair when now >= nominatesAt g -> check now true pair g
        | _ -> Step.only g

    /// Whatever may be done at once.
    let advance (now: Instant) (g: Generation) : Step<Generation, GenerationOutput> =
        g |> nominate now |> Step.bind (pump now)

    // A pair that would have been as quick as the one that works has answered by then: twice its round trip.
    // A relayed pair waits longer, for a direct path may need a second try to open the NATs on both sides.
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
            if isRelayed pair.Local || isRelayed pair.Remote then
                Duration.seconds 1L
            else
                Duration.milliseconds 20L

        max least (min roundTrip (Duration.milliseconds 500L))

    /// A pair works: how long it waits for a better one.
    let awaitBetter (now: Instant) (pair: Pair) (g: Generation) : Generation =
        if g.Progress.NominateAt = Instant.never then
            { g with
                Progress =
                    { g.Progress with
                        NominateAt = now + patience pair } }
        else
            g

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
                Consent.create now pair.Path pair.AnsweredAt g.Entropy

            // A controlled agent goes on with better pairs, which an aggressive peer may still nominate.
            let floor = if isControlling g then UInt64.MaxValue else pair.Priority

            { g with
                List = Checklist.settle floor g.List
                Selection = ValueSome selection
                Entropy = entropy }
            |> Step.one (GenerationOutput.Chose pair.Path)

    /// The working pair that showed signs of life last, after `since`; not the one of `except`.
    let liveliest (since: Instant) (except: Path) (g: Generation) : Pair voption =
        let lastSeen (pair: Pair) = max pair.AnsweredAt pair.HeardAt

        let mutable best = ValueNone

        for pair in g.List.Pairs do
            if
                Pair.hasSucceeded pair
                && not (pair.Path.Equals except)
                && lastSeen pair > since
                && (match best with
                    | ValueSome other -> lastSeen pair > lastSeen other
                    | ValueNone -> true)
            then
                best <- ValueSome pair

        best

    /// A pair does not work, or not any more.
    let fail (pair: Pair) (g: Generation) : Step<Generation, GenerationOutput> =
        let failed =
            { pair with
                State = PairState.Failed
                Check = ValueNone
                Outstanding = [||]
                Nomination = Nomination.None }

        if Pair.hasSucceeded pair then
            Step.one (GenerationOutput.Broke pair.Path) (put failed g)
        else
            Step.only (put failed g)

    /// The selected pair is gone: another that lives takes its place, or nothing does.
    let replace options now (gone: Path) (g: Generation) : Step<Generation, GenerationOutput> =
        let g =
            { g with
                Selection = ValueNone
                List = { g.List with Floor = 0UL } }

        match liveliest (now - options.FailedAfter) gone g with
        | ValueSome pair -> select now pair g
        | ValueNone -> Step.only g

    /// Consent is gone, RFC 7675 §5.1: where no other pair lives, these credentials are done with.
    let lose options now (selection: Selection) (g: Generation) : Step<Generation, GenerationOutput> =
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

    /// There is something new to try.
    let private news (now: Instant) (g: Generation) : Generation =
        { g with
            Progress =
                { g.Progress with
                    NewsAt = now
                    Verdict =
                        match g.Progress.Verdict with
                        | Verdict.Exhausted -> Verdict.Open
                        | other -> other } }

    let setLocal (credentials: IceCredentials) (g: Generation) : Generation =
        { g with
            Local =
                { g.Local with
                    Secret = ValueSome(Binding.secret credentials) } }

    let private pairUp (local: Base) (remote: Candidate) (g: Generation) : Generation =
        match Checklist.pathOf local remote with
        | ValueSome path when (Checklist.find path g.List).IsNone ->
            match Checklist.add (isControlling g) path local.Candidate remote g.List with
            | ValueSome list -> { g with List = list }
            | ValueNone -> g
        | _ -> g

    /// A socket that checks may use: pairs with every remote candidate.
    let addBase (now: Instant) (local: Base) (g: Generation) : Step<Generation, GenerationOutput> =
        let g =
            { g with
                Local =
                    { g.Local with
                        Bases = Array.append g.Local.Bases [| local |] } }

        (g, g.Remote.Candidates)
        ||> Array.fold (fun g remote -> pairUp local remote g)
        |> advance now

    /// A candidate of ours, to be recognised in responses.
    let addLocal (candidate: Candidate) (g: Generation) : Generation =
        { g with
            Local =
                { g.Local with
                    Candidates = Array.append g.Local.Candidates [| candidate |] } }

    /// A socket is gone, with its pairs.
    let removePort options now (port: PortId) (g: Generation) : Step<Generation, GenerationOutput> =
        let broke =
            [ for pair in g.List.Pairs do
                  if pair.Path.Local = port && Pair.hasSucceeded pair then
                      GenerationOutput.Broke pair.Path ]

        let g =
            { g with
                List = Checklist.removePort port g.List
                Local =
                    { g.Local with
                        Bases = g.Local.Bases |> Array.filter (fun b -> b.Port <> port) } }

        match g.Selection with
        | ValueSome selection when selection.Path.Local = port ->
            struct (g, broke) |> Step.bind (replace options now selection.Path)
        | _ -> struct (g, broke)
        |> Step.bind (advance now)

    let private withRemote (candidate: Candidate) (g: Generation) : Generation =
        { g with
            Remote =
                { g.Remote with
                    Candidates = Array.append g.Remote.Candidates [| candidate |] } }

    /// The remote candidate at an endpoint.
    let remoteAt (endpoint: Endpoint) (g: Generation) : Candidate voption =
        match
            g.Remote.Candidates
            |> Array.tryFind (fun c ->
                match c.Transport, Candidate.endpoint c with
                | CandidateTransport.Udp, ValueSome e -> e.Equals endpoint
                | _ -> false)
        with
        | Some candidate -> ValueSome candidate
        | None -> ValueNone

    // What a check told is corrected by what signalling tells: RFC 8838 §11.4 and RFC 8445 §7.3.1.3.
    let private correct (endpoint: Endpoint) (known: Candidate) (candidate: Candidate) (g: Generation) : Generation =
        { g with
            Remote =
                { g.Remote with
                    Candidates =
                        g.Remote.Candidates
                        |> Array.map (fun c -> if obj.ReferenceEquals(c, known) then candidate else c) }
            List = Checklist.learn (isControlling g) candidate endpoint g.List }

    let private addResolved now (endpoint: Endpoint) (candidate: Candidate) (g: Generation) =
        match remoteAt endpoint g with
        | ValueSome known when known.Type.IsPeerReflexive -> Step.only (correct endpoint known candidate g)
        // Known already: browsers tell a candidate both in the description and by itself.
        | ValueSome _ -> Step.only g
        | ValueNone when g.Remote.Candidates.Length >= MaxRemote -> Step.one (GenerationOutput.Refused Drop.TooMany) g
        | ValueNone ->
            (withRemote candidate g, g.Local.Bases)
            ||> Array.fold (fun g local -> pairUp local candidate g)
            |> news now
            |> advance now

    let private isLocalName (name: string) =
        name.EndsWith(".local", StringComparison.OrdinalIgnoreCase)

    let private sameName (name: string) (candidate: Candidate) =
        match candidate.Host with
        | CandidateHost.Name other -> String.Equals(name, other, StringComparison.OrdinalIgnoreCase)
        | CandidateHost.Ip _ -> false

    /// A remote candidate, RFC 8838 §11. TCP ones are kept and not paired; those of RTCP are not used, as everyone multiplexes.
    let addRemote (now: Instant) (candidate: Candidate) (g: Generation) : Step<Generation, GenerationOutput> =
        match candidate.Host, candidate.Transport with
        | _ when candidate.Component <> 1 -> Step.one (GenerationOutput.Refused Drop.Unsupported) g
        | _, CandidateTransport.OtherTransport _ -> Step.one (GenerationOutput.Refused Drop.Unsupported) g
        | CandidateHost.Ip address, CandidateTransport.Udp ->
            addResolved
                now
                { Address = address
                  Port = candidate.Port }
                candidate
                g
        | CandidateHost.Ip _, CandidateTransport.Tcp _ ->
            if g.Remote.Candidates.Length < MaxRemote then
                Step.only (withRemote candidate g)
            else
                Step.one (GenerationOutput.Refused Drop.TooMany) g
        | CandidateHost.Name name, CandidateTransport.Udp when isLocalName name ->
            if g.Remote.Unresolved.Length >= MaxUnresolved then
                Step.one (GenerationOutput.Refused Drop.TooMany) g
            else
                let isAsked = g.Remote.Unresolved |> Array.exists (sameName name)

                let g =
                    { g with
                        Remote =
                            { g.Remote with
                                Unresolved = Array.append g.Remote.Unresolved [| candidate |] } }

                if isAsked then
                    Step.only g
                else
                    Step.one (GenerationOutput.Resolve name) g
        // RFC 8839 §5.1 has other names looked up in the DNS; a peer that can choose what we look up is a risk, and nobody does.
        | CandidateHost.Name _, _ -> Step.one (GenerationOutput.Refused Drop.Unsupported) g

    /// The address of a `.local` name, or that nobody has it.
    let resolved now (name: string) (address: Address voption) (g: Generation) : Step<Generation, GenerationOutput> =
        let mine, others = g.Remote.Unresolved |> Array.partition (sameName name)

        let g =
            { g with
                Remote = { g.Remote with Unresolved = others } }

        match address with
        | ValueSome address ->
            (Step.only g, mine)
            ||> Array.fold (fun step candidate ->
                step
                |> Step.bind (
                    addRemote
                        now
                        { candidate with
                            Host = CandidateHost.Ip address }
                ))
        | ValueNone -> Step.only g

    let endOfCandidates (g: Generation) : Generation =
        { g with
            Remote = { g.Remote with Complete = true } }

    /// The other role, RFC 8445 §7.2.5.1.
    let setRole (role: IceRole) (g: Generation) : Generation =
        if g.Agent.Role = role then
            g
        else
            { g with
                Agent = { g.Agent with Role = role }
                List = Checklist.switchRole (role = IceRole.Controlling) g.List }

    let private earliest (g: Generation) : Instant =
        let mutable due = Instant.never

        for pair in g.List.Pairs do
            match pair.Check with
            | ValueSome check -> due <- Instant.min due check.DueAt
            | ValueNone -> ()

        due

    // When the pace lets the next check go, if there is one.
    let private paced (g: Generation) : Instant =
        if g.Remote.Secret.IsNone || g.Local.Secret.IsNone then
            Instant.never
        else
            let struct (triggered, _) = Checklist.takeTriggered g.List

            if triggered.IsSome then
                Pace.next Pace.Triggered g.Pace
            elif (Checklist.nextOrdinary g.List).IsSome then
                Pace.next Pace.Ordinary g.Pace
            else
                Instant.never

    /// When a working pair that nobody selected is forgotten: consent to send holds for 30 s, RFC 7675 §5.1.
    let lapsesAt (options: IceOptions) (pair: Pair) : Instant =
        if Pair.hasSucceeded pair then
            pair.AnsweredAt + options.FailedAfter
        else
            Instant.never

    /// Patiently awaiting connectivity, RFC 8863 §4: as long as all checks of one pair take.
    let private pac: Duration = Duration.milliseconds 39_500L

    /// A controlled agent that never heard the peer: its answer may travel by hand (copy and paste), and the peer's first
    /// check will open all again.
    let private answerTravels: Duration = Duration.seconds 120L

    /// When all is taken for failed, as things stand. `gathered`: no more local candidates will come.
    let exhaustsAt (gathered: bool) (g: Generation) : Instant =
        let hope =
            g.Selection.IsSome
            || g.List.Pairs
               |> Array.exists (fun pair -> Pair.hasSucceeded pair || Checklist.isWorthwhile g.List pair)

        match g.Progress.Verdict with
        | Verdict.Open when g.Remote.Secret.IsSome && not hope ->
            let patience =
                if not g.Progress.Heard && not (isControlling g) then
                    answerTravels
                elif gathered && g.Remote.Complete then
                    pac
                else
                    2L * pac

            g.Progress.NewsAt + patience
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

            nominatesAt g
            |> Instant.min (earliest g)
            |> Instant.min (paced g)
            |> Instant.min consent
            |> Instant.min (exhaustsAt gathered g)

    /// RTCIceTransportState of this generation alone.
    let transportState (gathered: bool) (g: Generation) : IceTransportState =
        let pending = g.List.Pairs |> Array.exists (Checklist.isWorthwhile g.List)

        match g.Progress.Verdict, g.Selection with
        | (Verdict.Exhausted | Verdict.Lost), _ -> IceTransportState.Failed
        | Verdict.Open, ValueSome selection when Consent.isSilent selection -> IceTransportState.Disconnected
        | Verdict.Open, ValueSome _ when gathered && g.Remote.Complete && not pending -> IceTransportState.Completed
        | Verdict.Open, ValueSome _ -> IceTransportState.Connected
        | Verdict.Open, ValueNone when (bestWorking g).IsSome -> IceTransportState.Connected
        | Verdict.Open, ValueNone when Array.isEmpty g.Remote.Candidates -> IceTransportState.New
        // It has worked, and nothing is left to try.
        | Verdict.Open, ValueNone when g.Progress.NominateAt <> Instant.never && not pending ->
            IceTransportState.Disconnected
        | Verdict.Open, ValueNone -> IceTransportState.Checking
