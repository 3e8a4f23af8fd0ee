namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Core.IceStates

[<RequireQualifiedAccess>]
module Ice =
    type State = IceState

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        | Received of Path: Path * Datagram: ReadOnlyMemory<byte>
        | SetServers of Servers: IceServer[] * Policy: IceTransportPolicy
        | SetPool of IsWanted: bool
        | Gather
        | PortOpened of Port: PortId * Base: Endpoint * Preference: int
        | PortClosed of Port: PortId
        | ListenerOpened of Port: PortId * Base: Endpoint * Preference: int
        | PortsComplete
        | ServerResolved of Url: string * Endpoints: Endpoint[]
        | ServerFailed of Url: string * Reason: string
        | Allocated of Port: PortId * Relayed: Endpoint[] * Mapped: Endpoint voption
        | NotAllocated of Port: PortId * Code: int * Text: string
        | Unallocated of Port: PortId
        | SetRole of IceRole
        | SetLocal of IceParameters
        | RollbackLocal
        | SetRemote of Credentials: IceParameters * Lite: bool
        | SetRenomination of bool
        | WatchPairs of Decides: bool
        | AnswerNomination of Path: Path * Accepted: bool
        | SelectPair of Path: Path
        | RemovePair of Path: Path
        | AddRemote of Candidate: Candidate * UsernameFragment: string voption
        | EndOfRemoteCandidates
        | Resolved of Name: string * Address: Address voption
        | StreamOpened of Port: PortId * Local: Endpoint
        | StreamClosed of Path: Path
        | StreamRefused of Path: Path
        | Close

    [<NoComparison; NoEquality>]
    type Output =
        | Transmit of Path: Path * Message: Outgoing
        | OpenPorts
        | ClosePort of Port: PortId
        | OpenStream of Port: PortId * From: PortId * To: Endpoint
        | ResolveServer of Url: string
        | Allocate of RelayRequest
        | Permit of Path: Path
        | Release of Port: PortId
        | Resolve of Name: string
        | Announce of Name: string * Address: Address
        | Gathered of Candidate: Candidate * Url: string voption
        | Withdrawn of Candidate: Candidate
        | GatheringChanged of IceGatheringState
        | ServerError of Url: string * Base: Endpoint voption * Code: int * Text: string
        | StateChanged of IceTransportState
        | RoleChanged of IceRole
        | Selected of Local: Candidate * Remote: Candidate * Path: Path
        | Validated of Path: Path
        | Invalidated of Path: Path
        | PairFormed of IcePair
        | PairGone of IcePair
        | Nominating of IcePair
        | Ignored of Drop

    /// How long the former generation serves on once the new one has selected. RFC 8445 §8.3 asks for 3 s; under loss
    /// the peer may need some more until it has selected, too.
    let private grace: Duration = Duration.seconds 10L

    [<CompiledName "Create">]
    let create (options: IceOptions) (entropy: Entropy) (ciphers: ICiphers) : State =
        IceStates.create options entropy ciphers

    [<CompiledName "Deadline">]
    let deadline (state: State) : Instant = state.Shown.Deadline

    [<CompiledName "IsValid">]
    let isValid (path: Path) (state: State) : bool = isKnown path state.Shown.Valid

    [<CompiledName "TransportState">]
    let transportState (state: State) : IceTransportState = state.Shown.Transport

    [<CompiledName "GatheringState">]
    let gatheringState (state: State) : IceGatheringState = state.Shown.Gathering

    [<CompiledName "Role">]
    let role (state: State) : IceRole = state.Current.Checks.Agent.Role

    [<CompiledName "LocalCredentials">]
    let localCredentials (state: State) : IceParameters voption =
        state.Current.Checks.Local.Secret |> ValueOption.map _.Credentials

    [<CompiledName "RemoteCredentials">]
    let remoteCredentials (state: State) : IceParameters voption =
        state.Current.Checks.Remote.Secret |> ValueOption.map _.Credentials

    [<CompiledName "LocalCandidates">]
    let localCandidates (state: State) : Candidate[] =
        state.Current.Checks.Local.Candidates
        |> Array.map (Publication.see state.Published)

    [<CompiledName "LocalServers">]
    let localServers (state: State) : struct (Candidate * string)[] =
        state.Current.Checks.Local.Servers
        |> Array.map (fun struct (candidate, url) -> struct (Publication.see state.Published candidate, url))

    [<CompiledName "RemoteCandidates">]
    let remoteCandidates (state: State) : Candidate[] = state.Current.Checks.Remote.Candidates

    [<CompiledName "UsernameFragments">]
    let usernameFragments (state: State) : string[] = ofBoth IceSession.fragments state

    [<CompiledName "SelectedPair">]
    let selectedPair (state: State) : IcePair voption =
        IceSession.selected state.Current
        |> ValueOption.orElseWith (fun () -> former state |> ValueOption.bind IceSession.selected)
        |> ValueOption.map (Publication.seePair state.Published)

    [<CompiledName "HasPair">]
    let hasPair (path: Path) (state: State) : bool =
        (Checklist.find path state.Current.Checks.List).IsSome

    [<CompiledName "IsUsable">]
    let isUsable (now: Instant) (path: Path) (state: State) : bool =
        PairControl.isUsable state.Setup.Options now path state.Current.Checks

    [<CompiledName "Pairs">]
    let pairs (state: State) : IcePair[] =
        state.Current.Checks.List.Pairs
        |> Array.map (Publication.seePair state.Published)

    // One function a part: steps it, and says what its outputs mean to the whole.

    // What is told of a pair, where it is still there.
    let private told (output: IcePair -> Output) (path: Path) (state: State) (session: IceSession) : Output list =
        match Checklist.find path session.Checks.List with
        | ValueSome pair -> [ output (Publication.seePair state.Published pair) ]
        | ValueNone -> []

    let private announce (path: Path) (session: IceSession) : Output list =
        match Checklist.find path session.Checks.List with
        | ValueSome pair -> [ Selected(pair.Local, pair.Remote, path) ]
        | ValueNone -> []

    // What both generations mean alike.
    let private common (output: GenerationOutput) (session: State -> IceSession) (state: State) : Step<State, Output> =
        match output with
        | GenerationOutput.Send(path, message) -> Step.one (Transmit(path, message)) state
        | GenerationOutput.Resolve name -> Step.one (Resolve name) state
        | GenerationOutput.Permit path -> Step.one (Permit path) state
        | GenerationOutput.Works path -> Step.one (Validated path) state
        // `finish` tells: the path may still be valid in the other generation.
        | GenerationOutput.Broke _ -> Step.only state
        | GenerationOutput.Chose path -> struct (state, announce path (session state))
        | GenerationOutput.Proposed path -> struct (state, told Nominating path state (session state))
        | GenerationOutput.Connect(path, from) -> Step.one (OpenStream(path.Local, from, path.Remote)) state
        | GenerationOutput.Disconnect port -> Step.one (ClosePort port) state
        | GenerationOutput.Switched role -> Step.one (RoleChanged role) (withRole role state)
        | GenerationOutput.Refused drop -> Step.one (Ignored drop) state

    let private current now (change: Generation -> Step<Generation, GenerationOutput>) (state: State) =
        let struct (checks, outputs) = change state.Current.Checks

        { state with
            Current = { state.Current with Checks = checks } }
        |> Step.route
            (fun output state ->
                match output, state.Former with
                // The new generation serves: the days of the former are counted.
                | GenerationOutput.Chose _, ValueSome f when f.DropAt = Instant.never ->
                    common
                        output
                        _.Current
                        { state with
                            Former = ValueSome { f with DropAt = now + grace } }
                | _ -> common output _.Current state)
            outputs

    let private previous (change: Generation -> Step<Generation, GenerationOutput>) (state: State) =
        match state.Former with
        | ValueNone -> Step.only state
        | ValueSome f ->
            let struct (checks, outputs) = change f.Session.Checks

            { state with
                Former =
                    ValueSome
                        { f with
                            Session = { f.Session with Checks = checks } } }
            |> Step.route
                (fun output state ->
                    match output with
                    // Once the new generation has selected, the former one's changes of mind are its own.
                    | GenerationOutput.Chose _ when state.Current.Checks.Selection.IsSome -> Step.only state
                    | _ ->
                        common
                            output
                            (fun s ->
                                match s.Former with
                                | ValueSome f -> f.Session
                                | ValueNone -> s.Current)
                            state)
                outputs

    let private both now (change: Generation -> Step<Generation, GenerationOutput>) (state: State) =
        current now change state |> Step.bind (previous change)

    let private publish (candidate: Candidate) (url: string voption) (state: State) : Step<State, Output> =
        let struct (told, announced, candidates) =
            Publication.tell candidate state.Published

        struct ({ state with Published = told },
                [ match announced with
                  | ValueSome(struct (name, address)) -> Announce(name, address)
                  | ValueNone -> ()
                  for candidate in candidates do
                      // A NAT that maps one to one leaves a server-reflexive one beside that of the host.
                      if IceScope.has candidate.Type state.Setup.Options.Scope.Candidates then
                          Gathered(candidate, url) ])

    let private gathering
        now
        (change: Gathering -> Step<Gathering, GatheringOutput>)
        (state: State)
        : Step<State, Output> =
        let struct (part, found) = change state.Current.Gathering
        let struct (pool, outputs) = IcePool.hold found state.Pool

        { state with
            Pool = pool
            Current = { state.Current with Gathering = part } }
        |> Step.route
            (fun output state ->
                match output with
                | GatheringOutput.Send(path, message) -> Step.one (Transmit(path, message)) state
                | GatheringOutput.Resolve url -> Step.one (ResolveServer url) state
                | GatheringOutput.Allocate request -> Step.one (Allocate request) state
                | GatheringOutput.Release port -> Step.one (Release port) state
                | GatheringOutput.Opened local -> current now (Trickle.addBase now local) state
                | GatheringOutput.Found(candidate, url) ->
                    let candidate = IceSession.labelled state.Current candidate

                    state
                    |> current now (Trickle.addLocal candidate url >> Step.only)
                    |> Step.bind (publish candidate url)
                | GatheringOutput.Withdrawn candidate ->
                    let candidate = IceSession.labelled state.Current candidate
                    struct (state, Publication.told state.Published candidate |> List.map Withdrawn)
                | GatheringOutput.Failed(url, local, code, text) ->
                    Step.one (ServerError(url, local, code, text)) state
                | GatheringOutput.Refused drop -> Step.one (Ignored drop) state)
            outputs

    // Closes what only a generation that is gone had open; what was allocated from a socket is given back by it before.
    let private closing (gone: IceSession) (state: State) : Step<State, Output> =
        struct (state,
                [ for port in IceSession.relays gone do
                      Release port
                  for port in Array.except (ofBoth IceSession.ports state) (IceSession.ports gone) do
                      ClosePort port ])

    /// ICE restart, RFC 8445 §9: a new generation. The one that serves data is kept; one that never came to serve is dropped.
    let private restart (state: State) : Step<State, Output> =
        let struct (next, state) = fresh state
        let serves = (Generation.bestWorking state.Current.Checks).IsSome

        match state.Former with
        | ValueSome f when not serves ->
            closing
                state.Current
                { state with
                    Current = next
                    Former = ValueSome { f with DropAt = Instant.never } }
        | dropped ->
            let state =
                { state with
                    Current = next
                    Former =
                        ValueSome
                            { Session = state.Current
                              DropAt = Instant.never } }

            match dropped with
            | ValueSome f -> closing f.Session state
            | ValueNone -> Step.only state

    /// Back to the generation before; or where there was none, and nothing was agreed upon, to the beginning.
    let private rollback (state: State) : Step<State, Output> =
        let gone = state.Current

        match state.Former with
        | ValueSome f when f.DropAt = Instant.never ->
            { state with
                Current = f.Session
                Former = ValueNone }
            |> closing gone
        | _ when gone.Checks.Local.Secret.IsSome && gone.Checks.Remote.Secret.IsSome ->
            Step.one (Ignored Drop.Unexpected) state
        | _ ->
            let struct (next, state) = fresh state
            closing gone { state with Current = next }

    let private setLocal now (credentials: IceParameters) (state: State) : Step<State, Output> =
        let known = state.Current.Checks.Local.Secret

        if Binding.isSame credentials known then
            Step.only state
        else
            (if known.IsSome then restart state else Step.only state)
            |> Step.bind (current now (Trickle.setLocal credentials >> Generation.advance now))

    let private setRole (role: IceRole) (state: State) : Step<State, Output> =
        if state.Current.Checks.Agent.Role = role then
            Step.only state
        else
            Step.one (RoleChanged role) (withRole role state)

    let private setRemote now (credentials: IceParameters) (lite: bool) (state: State) : Step<State, Output> =
        let known = state.Current.Checks.Remote.Secret

        if Binding.isSame credentials known then
            Step.only state
        else
            (if known.IsSome then restart state else Step.only state)
            // RFC 8445 §6.1.1: of a full and a lite agent the full one controls.
            |> Step.bind (fun state ->
                match state.Setup.Options.Scope.Lite, lite with
                | false, true -> setRole IceRole.Controlling state
                | true, false -> setRole IceRole.Controlled state
                | _ -> Step.only state)
            |> Step.bind (current now (Connectivity.setRemote state.Setup.Options now credentials lite))

    let private addRemote now (candidate: Candidate) (fragment: string voption) (state: State) : Step<State, Output> =
        let fragment =
            fragment
            |> ValueOption.orElseWith (fun () -> Candidate.usernameFragment candidate)

        match former state with
        | _ when IceSession.expects fragment state.Current -> current now (Trickle.addRemote now candidate) state
        | ValueSome session when IceSession.expects fragment session -> previous (Trickle.addRemote now candidate) state
        | _ -> Step.one (Ignored Drop.Stale) state

    // Datagrams.

    // Told so, but with the policy `relay` nothing leaves a socket for whoever finds it.
    let private refuse now (path: Path) (code: int) (datagram: ReadOnlyMemory<byte>) (state: State) =
        let struct (refusals, answer, drop) =
            Refusals.refuse now code datagram state.Refusals

        struct ({ state with Refusals = refusals },
                [ match answer with
                  | ValueSome refusal when either (IceSession.serves path.Local) state -> Transmit(path, refusal)
                  | _ -> ()
                  Ignored drop ])

    let private request now (path: Path) (datagram: ReadOnlyMemory<byte>) change (state: State) =
        match Message.read datagram.Span with
        | ValueSome message -> change (Connectivity.request state.Setup.Options now path message) state
        | ValueNone -> Step.one (Ignored Drop.Malformed) state

    let private response now (path: Path) (message: Message) (datagram: ReadOnlyMemory<byte>) (state: State) =
        let setup = state.Setup
        let id = message.Transaction

        let take =
            fun g -> Connectivity.response setup.Options setup.Ciphers now path message datagram.Span g

        match former state with
        | _ when Gathering.awaits id state.Current.Gathering ->
            gathering now (Gathering.received now path message) state
        | _ when Connectivity.awaits id state.Current.Checks -> current now take state
        | ValueSome session when Connectivity.awaits id session.Checks -> previous take state
        | _ -> Step.one (Ignored Drop.Unexpected) state

    let private received now (path: Path) (datagram: ReadOnlyMemory<byte>) (state: State) : Step<State, Output> =
        if not (either (IceSession.hasPort path.Local) state) then
            Step.one (Ignored Drop.Unexpected) state
        else
            match Message.read datagram.Span with
            | ValueNone -> Step.one (Ignored Drop.Malformed) state
            | ValueSome message when message.Method <> Method.Binding -> Step.one (Ignored Drop.Unsupported) state
            | ValueSome message ->
                match message.Class with
                | Class.Success
                | Class.Error -> response now path message datagram state
                // A keepalive, RFC 8445 §11.
                | Class.Request
                | Class.Indication -> Step.only state

    let private retire now (state: State) : Step<State, Output> =
        match state.Former with
        | ValueSome f when now >= f.DropAt -> closing f.Session { state with Former = ValueNone }
        | _ -> Step.only state

    let private gather now (state: State) : Step<State, Output> =
        let setup = state.Setup
        let kinds = IceScope.gathers setup.Policy setup.Options.Scope

        Step.one OpenPorts state
        |> Step.bind (gathering now (Gathering.start setup.Servers kinds setup.Options))

    // What was gathered ahead is told, now that there is somebody to tell.
    let private released now (state: State) : Step<State, Output> =
        let struct (pool, held) = IcePool.release state.Pool

        struct ({ state with Pool = pool },
                [ if Gathering.state state.Current.Gathering = IceGatheringState.Complete then
                      GatheringChanged IceGatheringState.Gathering ])
        |> Step.bind (gathering now (fun g -> struct (g, held)))

    // What was gathered ahead is dropped, and gathered anew where that is still wanted.
    let private setPool (isWanted: bool) (state: State) : Step<State, Output> =
        let pool = { IcePool.none with Wanted = isWanted }

        if IcePool.isHeld state.Pool then
            let gone = state.Current
            let struct (next, state) = fresh state

            closing
                gone
                { state with
                    Current = next
                    Pool = pool }
        else
            Step.only { state with Pool = pool }

    let private setServers (servers: IceServer[]) (policy: IceTransportPolicy) (state: State) : Step<State, Output> =
        let isNews = servers <> state.Setup.Servers || policy <> state.Setup.Policy

        { state with
            Setup =
                { state.Setup with
                    Servers = servers
                    Policy = policy } }
        |> if isNews && IcePool.isHeld state.Pool then
               setPool true
           else
               Step.only

    let private ahead now (state: State) : Step<State, Output> =
        if state.Pool.Wanted && not state.Current.Gathering.Started then
            gather
                now
                { state with
                    Pool = { Wanted = true; Held = ValueSome [] } }
        else
            Step.only state

    let private tick now (state: State) : Step<State, Output> =
        let options = state.Setup.Options

        state
        |> retire now
        |> Step.bind (ahead now)
        |> Step.bind (gathering now (Gathering.tick now))
        |> Step.bind (fun state ->
            current now (Connectivity.tick options (IceSession.isGathered state.Current) now) state)
        |> Step.bind (previous (Connectivity.tick options true now))

    let private close (state: State) : Step<State, Output> =
        struct ({ state with
                    Closed = true
                    Former = ValueNone },
                [ for port in ofBoth IceSession.relays state do
                      Release port
                  for port in ofBoth IceSession.ports state do
                      ClosePort port ])

    // Tells what changed, and stores what is asked often.
    let private finish (before: State) (struct (state, outputs): Step<State, Output>) : Step<State, Output> =
        let shown = shownOf state
        let told = before.Shown
        let state = { state with Shown = shown }

        let struct (formed, gone) =
            if state.Setup.Watch.IsNone then
                struct ([||], [||])
            else
                let known =
                    if before.Setup.Watch.IsNone then
                        Checklist.empty
                    else
                        before.Current.Checks.List

                PairControl.changes known state.Current.Checks.List

        let changes =
            [ for pair in gone do
                  PairGone(Publication.seePair state.Published pair)
              for pair in formed do
                  PairFormed(Publication.seePair state.Published pair)
              for path in told.Valid do
                  if not (isValid path state) then
                      Invalidated path
              if told.Gathering <> shown.Gathering && not state.Closed then
                  GatheringChanged shown.Gathering
              if told.Transport <> shown.Transport then
                  StateChanged shown.Transport ]

        match changes with
        | [] -> struct (state, outputs)
        | _ -> struct (state, outputs @ changes)

    let private removePorts now (ports: PortId[]) (state: State) : Step<State, Output> =
        (Step.only state, ports)
        ||> Array.fold (fun step port -> Step.bind (both now (Trickle.removePort state.Setup.Options now port)) step)

    // An allocation is gone: what its pairs carried goes by another that works.
    let private unallocated now (port: PortId) (state: State) : Step<State, Output> =
        let without f =
            { f with
                Session = IceSession.unrelayed port f.Session }

        { state with
            Former = ValueOption.map without state.Former }
        |> gathering now (Relaying.lost now port)
        |> Step.bind (removePorts now (ofBoth (IceSession.relayedPorts port) state))

    // What happened to a stream, or to a connection that a listener accepted, told to the generation that has it: both, where
    // they share a listener.
    let private ofStream port change now (state: State) : Step<State, Output> =
        let has (session: IceSession) =
            (Generation.baseOf port session.Checks).IsSome

        match has state.Current, former state |> ValueOption.exists has with
        | true, true -> both now change state
        | true, false -> current now change state
        | false, true -> previous change state
        | false, false -> Step.one (Ignored Drop.Stale) state

    let private react now (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick -> tick now state
        | Received(path, datagram) -> received now path datagram state
        | SetServers(servers, policy) -> setServers servers policy state
        | SetPool _ when state.Current.Gathering.Started && not (IcePool.isHeld state.Pool) -> Step.only state
        | SetPool isWanted -> setPool isWanted state
        | Gather when IcePool.isHeld state.Pool -> released now state
        | Gather when state.Current.Gathering.Started -> Step.one (Ignored Drop.Unexpected) state
        | Gather -> gather now { state with Pool = IcePool.none }
        | PortOpened(port, endpoint, preference) -> gathering now (Gathering.opened now port endpoint preference) state
        | ListenerOpened(port, endpoint, preference) ->
            gathering now (Gathering.listening port endpoint preference) state
        | StreamOpened(port, local) -> ofStream port (Streams.opened now port local) now state
        | StreamClosed path -> ofStream path.Local (Streams.closed state.Setup.Options now path) now state
        | StreamRefused path -> ofStream path.Local (Streams.refused now path) now state
        | PortClosed port ->
            state
            |> gathering now (Gathering.closed port)
            |> Step.bind (removePorts now (ofBoth (IceSession.portsOf port) state))
        | Allocated(port, relayed, mapped) -> gathering now (Relaying.allocated now port relayed mapped) state
        | NotAllocated(port, code, text) -> gathering now (Relaying.notAllocated now port code text) state
        | Unallocated port -> unallocated now port state
        | PortsComplete -> gathering now (Gathering.portsComplete >> Step.only) state
        | ServerResolved(url, endpoints) -> gathering now (Gathering.resolved now url endpoints) state
        | ServerFailed(url, reason) -> gathering now (Gathering.unresolved url reason) state
        | SetRole role -> setRole role state
        | SetLocal credentials -> setLocal now credentials state
        | RollbackLocal -> rollback state
        | SetRemote(credentials, lite) -> setRemote now credentials lite state
        | SetRenomination agreed -> current now (Renomination.agree agreed state.Setup.Options >> Step.only) state
        | WatchPairs decides ->
            { state with
                Setup =
                    { state.Setup with
                        Watch = ValueSome decides } }
            |> current now (PairControl.decide decides >> Step.only)
        | AnswerNomination(path, accepted) -> current now (PairControl.answer now path accepted) state
        | SelectPair path -> current now (PairControl.select state.Setup.Options now path) state
        | RemovePair path -> current now (PairControl.remove state.Setup.Options now path) state
        | AddRemote(candidate, fragment) -> addRemote now candidate fragment state
        | EndOfRemoteCandidates -> current now (Trickle.endOfCandidates >> Step.only) state
        | Resolved(name, address) -> both now (Trickle.resolved now name address) state
        | Close -> close state

    [<CompiledName "Step">]
    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match input with
        | _ when state.Closed -> Step.one (Ignored Drop.Stale) state
        | Tick when now < state.Shown.Deadline -> Step.only state
        | Received(path, datagram) when
            Message.isBindingRequest datagram.Span
            && either (IceSession.hasPort path.Local) state
            ->
            match Refusals.author state.Setup.Ciphers datagram state.Current (former state) with
            // Nothing that is shown changes: it is cheap enough for a flood.
            | Author.Stranger code -> refuse now path code datagram state
            | Author.OfPresent -> request now path datagram (current now) state |> finish state
            | Author.OfFormer -> request now path datagram previous state |> finish state
        | _ -> react now input state |> finish state
