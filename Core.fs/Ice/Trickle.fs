namespace Hybrid.WebRtc.Core

open System

/// What credentials, sockets and candidates make of a generation, in whatever order they come: trickle, RFC 8838.
[<RequireQualifiedAccess>]
module internal Trickle =
    /// Names being resolved.
    [<Literal>]
    let private MaxUnresolved = 32

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

    let setLocal (credentials: IceParameters) (g: Generation) : Generation =
        { g with
            Local =
                { g.Local with
                    Secret = ValueSome(Binding.secret credentials) } }

    let private pairDatagrams (local: Base) (remote: Candidate) (g: Generation) : Generation =
        match Checklist.reach local remote with
        | ValueSome endpoint ->
            let path =
                { Local = local.Port
                  Remote = endpoint }

            if (Checklist.find path g.List).IsSome then
                g
            else
                match Checklist.add (Generation.isControlling g) path local.Candidate remote g.List with
                | ValueSome list -> { g with List = list }
                | ValueNone -> g
        | ValueNone -> g

    // RFC 6544 §6.2: of TCP, what is active here with what is passive there. The other way round the peer connects.
    let private pairUp (local: Base) (remote: Candidate) (g: Generation) : Generation =
        match local.Kind, remote.Transport with
        | BaseKind.Socket, CandidateTransport.Udp -> pairDatagrams local remote g
        | (BaseKind.Socket | BaseKind.Listener), CandidateTransport.Tcp TcpType.Passive -> Streams.pairUp local remote g
        | _ -> g

    // Whoever connects to a relay needs its permission, RFC 6062 §5.3. It may be at the address of any candidate of the peer's: an active one
    // behind a NAT does not know the address that it comes from, and its server-reflexive one of UDP does.
    let private admitting (bases: Base[]) (remotes: Candidate[]) (g: Generation) : Step<Generation, GenerationOutput> =
        struct (g,
                [ for local in bases do
                      if local.Kind.IsListener && local.Candidate.Type.IsRelayed then
                          for remote in remotes do
                              match Checklist.reach local remote with
                              | ValueSome endpoint ->
                                  GenerationOutput.Permit
                                      { Local = local.Port
                                        Remote = endpoint }
                              | ValueNone -> () ])

    // Of the pairs that are new, those of relays need the relay's permission, RFC 8656 §9.
    let private permitting (before: Generation) (g: Generation) : Step<Generation, GenerationOutput> =
        struct (g,
                [ for pair in g.List.Pairs do
                      if
                          pair.Id >= before.List.NextId
                          && pair.Local.Type.IsRelayed
                          && pair.Local.Transport.IsUdp
                      then
                          GenerationOutput.Permit pair.Path ])

    /// A socket that checks may use: pairs with every remote candidate.
    let addBase (now: Instant) (local: Base) (before: Generation) : Step<Generation, GenerationOutput> =
        let g =
            { before with
                Local =
                    { before.Local with
                        Bases = Array.append before.Local.Bases [| local |] } }

        (g, g.Remote.Candidates)
        ||> Array.fold (fun g remote -> pairUp local remote g)
        |> (fun g -> if g.List.NextId > before.List.NextId then news now g else g)
        |> permitting before
        |> Step.bind (admitting [| local |] before.Remote.Candidates)
        |> Step.bind (Generation.advance now)

    /// A candidate of ours, to be recognised in responses.
    let addLocal (candidate: Candidate) (url: string voption) (g: Generation) : Generation =
        { g with
            Local =
                { g.Local with
                    Candidates = Array.append g.Local.Candidates [| candidate |]
                    Servers =
                        match url with
                        | ValueSome url -> Array.append g.Local.Servers [| struct (candidate, url) |]
                        | ValueNone -> g.Local.Servers } }

    // What was selected has gone with its socket, and nothing that answered lately is left. Whatever may still lead there is
    // checked again; and until consent would have run out, RFC 7675 §5.1, an address that appears is not too late.
    let private seekAnother (options: IceOptions) (selection: Selection) (g: Generation) : Generation =
        if g.Selection.IsSome then
            g
        else
            { g with
                List = Checklist.revive g.List
                Progress =
                    { g.Progress with
                        GraceUntil = Consent.expiresAt options selection } }

    /// A socket is gone, with its pairs and candidates.
    let removePort options now (port: PortId) (g: Generation) : Step<Generation, GenerationOutput> =
        let broke =
            [ for pair in g.List.Pairs do
                  if pair.Path.Local = port && Pair.hasSucceeded pair then
                      GenerationOutput.Broke pair.Path ]

        let gone, bases = g.Local.Bases |> Array.partition (fun b -> b.Port = port)

        let isLeft candidate =
            gone |> Array.forall (fun local -> not (Base.has local candidate))

        let g =
            { g with
                List = Checklist.removePort port g.List
                Local =
                    { g.Local with
                        Bases = bases
                        Candidates = Array.filter isLeft g.Local.Candidates
                        Servers =
                            g.Local.Servers
                            |> Array.filter (fun (struct (candidate, _)) -> isLeft candidate) } }

        match g.Selection with
        | ValueSome selection when selection.Path.Local = port ->
            struct (g, broke)
            |> Step.bind (Generation.replace options now selection.Path)
            |> Step.bind (seekAnother options selection >> Step.only)
        | _ -> struct (g, broke)
        |> Step.bind (Generation.advance now)

    let private withRemote (candidate: Candidate) (g: Generation) : Generation =
        { g with
            Remote =
                { g.Remote with
                    Candidates = Array.append g.Remote.Candidates [| candidate |] } }

    /// The remote candidate at an endpoint, of a protocol.
    let remoteAt (transport: CandidateTransport) (endpoint: Endpoint) (g: Generation) : Candidate voption =
        match
            g.Remote.Candidates
            |> Array.tryFind (fun c ->
                Candidate.sameProtocol transport c.Transport
                && Candidate.endpoint c = ValueSome endpoint)
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
            List = Checklist.learn (Generation.isControlling g) candidate endpoint g.List }

    // Consent holds so long, RFC 7675 §5.1.
    let private alive: Duration = Duration.seconds 30L

    /// A peer on the move has new addresses for as long as the call lasts. Where there are too many of them or of their pairs, the
    /// oldest that lead nowhere any more make room.
    let rec makeRoom (now: Instant) (g: Generation) : Generation =
        let isOf (candidate: Candidate) (pair: Pair) =
            obj.ReferenceEquals(pair.Remote, candidate)

        let isAlive (pair: Pair) =
            Checklist.isWorthwhile g.List pair
            || Pair.holdsStream pair
            || (match g.Selection with
                | ValueSome selection -> selection.Path.Equals pair.Path
                | ValueNone -> false)
            || (Pair.hasSucceeded pair && now - max pair.AnsweredAt pair.HeardAt < alive)

        let isSpent candidate =
            let pairs = g.List.Pairs |> Array.filter (isOf candidate)
            pairs.Length > 0 && not (Array.exists isAlive pairs)

        if
            g.Remote.Candidates.Length < Generation.MaxRemote
            && g.List.Pairs.Length + g.Local.Bases.Length <= Checklist.MaxPairs
        then
            g
        else
            match g.Remote.Candidates |> Array.tryFindIndex isSpent with
            | None -> g
            | Some at ->
                makeRoom
                    now
                    { g with
                        Remote =
                            { g.Remote with
                                Candidates = Array.removeAt at g.Remote.Candidates }
                        List =
                            { g.List with
                                Pairs = g.List.Pairs |> Array.filter (isOf g.Remote.Candidates[at] >> not) } }

    let private addResolved now (endpoint: Endpoint) (candidate: Candidate) (g: Generation) =
        match remoteAt candidate.Transport endpoint g with
        | _ when not (IceScope.reaches endpoint.Address g.Agent.Scope) ->
            Step.one (GenerationOutput.Refused Drop.Unsupported) g
        | ValueSome known when known.Type.IsPeerReflexive -> Step.only (correct endpoint known candidate g)
        // Known already: browsers tell a candidate both in the description and by itself.
        | ValueSome _ -> Step.only g
        | ValueNone ->
            let g = makeRoom now g

            if g.Remote.Candidates.Length >= Generation.MaxRemote then
                Step.one (GenerationOutput.Refused Drop.TooMany) g
            else
                (withRemote candidate g, g.Local.Bases)
                ||> Array.fold (fun g local -> pairUp local candidate g)
                |> news now
                |> permitting g
                |> Step.bind (admitting g.Local.Bases [| candidate |])
                |> Step.bind (Generation.advance now)

    let private isLocalName (name: string) =
        name.EndsWith(".local", StringComparison.OrdinalIgnoreCase)

    let private sameName (name: string) (candidate: Candidate) =
        match candidate.Host with
        | CandidateHost.Name other -> String.Equals(name, other, StringComparison.OrdinalIgnoreCase)
        | CandidateHost.Ip _ -> false

    let private keep (candidate: Candidate) (g: Generation) : Step<Generation, GenerationOutput> =
        if g.Remote.Candidates.Length < Generation.MaxRemote then
            withRemote candidate g |> admitting g.Local.Bases [| candidate |]
        else
            Step.one (GenerationOutput.Refused Drop.TooMany) g

    // Its address is asked for, once for all candidates of the name.
    let private awaitName (name: string) (candidate: Candidate) (g: Generation) : Step<Generation, GenerationOutput> =
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

    let private addHost now (candidate: Candidate) (g: Generation) : Step<Generation, GenerationOutput> =
        match candidate.Host with
        | CandidateHost.Ip address ->
            addResolved
                now
                { Address = address
                  Port = candidate.Port }
                candidate
                g
        | CandidateHost.Name name ->
            if isLocalName name then
                awaitName name candidate g
            else
                // RFC 8839 §5.1 has other names looked up in the DNS; a peer that can choose what we look up is a risk, and
                // nobody does.
                Step.one (GenerationOutput.Refused Drop.Unsupported) g

    /// A remote candidate, RFC 8838 §11. Active ones of TCP are kept and not paired, for it is they who connect; those of RTCP
    /// are not used, as everyone multiplexes.
    let addRemote (now: Instant) (candidate: Candidate) (g: Generation) : Step<Generation, GenerationOutput> =
        if candidate.Component <> 1 then
            Step.one (GenerationOutput.Refused Drop.Unsupported) g
        else
            match candidate.Transport with
            | CandidateTransport.Udp
            | CandidateTransport.Tcp TcpType.Passive -> addHost now candidate g
            | CandidateTransport.Tcp TcpType.Active -> keep candidate g
            // RFC 6544 §3: both would have to connect in the same instant, which few systems can.
            | CandidateTransport.Tcp TcpType.SimultaneousOpen
            | CandidateTransport.OtherTransport _ -> Step.one (GenerationOutput.Refused Drop.Unsupported) g

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
