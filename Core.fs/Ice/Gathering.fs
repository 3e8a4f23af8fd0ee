namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn

/// A request to a STUN server from one of our sockets.
[<NoComparison; NoEquality>]
type internal ServerJob =
    {
        Url: string
        Base: Base
        Server: Endpoint
        /// ValueNone while it waits for its turn.
        Transaction: Transaction voption
    }

/// The gathering of one generation's candidates, RFC 8445 §5.1: host candidates as sockets open, server-reflexive and
/// relayed ones as servers answer.
///
///     New ──start──▶ Gathering ──all ports open, all servers answered or given up──▶ Complete
[<NoComparison; NoEquality>]
type internal Gathering =
    {
        Started: bool
        PortsComplete: bool
        /// Which candidates are gathered.
        Kinds: CandidateKinds
        /// Whether each socket has an active candidate of TCP, too.
        Tcp: bool
        /// Whether relayed addresses of TCP are asked for, too.
        RelayTcp: bool
        /// Whether it goes on for addresses that appear.
        Continual: bool
        Servers: ServerEntry[]
        Bases: Base[]
        Jobs: ServerJob[]
        Relays: RelayJob[]
        /// The next number for ports that the core names, this generation's or a later one's.
        NextPort: PortId
        /// What was found, to tell the redundant from the new.
        Candidates: Candidate[]
        Pace: Pace
        Salt: uint32
        Entropy: Entropy
    }

[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal GatheringOutput =
    | Send of Path: Path * Message: Outgoing
    | Resolve of Url: string
    | Allocate of RelayRequest
    /// Nobody wants the allocation any more.
    | Release of Port: PortId
    /// A socket that checks may use.
    | Opened of Base
    | Found of Candidate: Candidate * Url: string voption
    /// Its socket is gone.
    | Withdrawn of Candidate
    | Failed of Url: string * Base: Endpoint voption * Code: int * Text: string
    | Refused of Drop

[<RequireQualifiedAccess>]
module internal Gathering =
    /// Sockets of one generation.
    [<Literal>]
    let private MaxBases = 32

    /// Requests of one generation, waiting and on their way.
    [<Literal>]
    let private MaxJobs = 64

    /// Allocations of one generation.
    [<Literal>]
    let private MaxRelays = 32

    /// RTCPeerConnectionIceErrorEvent: no answer, W3C WebRTC 1.0 §4.8.3.
    [<Literal>]
    let private Unreachable = 701

    /// Requests after 0, 0.5, 1, 1.5, 2, 2.5, 3.5 … 12.5 s, given up after 13.5 s. RFC 8489 §6.2.1 would go on doubling the wait and
    /// take 39.5 s, which the end of gathering would have to wait for; and with 30 % loss each way its seven requests fail
    /// one time in a hundred, these one time in ten thousand. A candidate that comes seconds late finds the peers connected by a relay.
    let private timing =
        { Transaction.standard with
            Steady = 4
            Longest = Duration.seconds 1L
            Requests = 16
            LastWait = 2 }

    let create (salt: uint32) (nextPort: PortId) (entropy: Entropy) : Gathering =
        { Started = false
          PortsComplete = false
          Kinds = CandidateKinds.All
          Tcp = false
          RelayTcp = false
          Continual = false
          Servers = [||]
          Bases = [||]
          Jobs = [||]
          Relays = [||]
          NextPort = nextPort
          Candidates = [||]
          Pace = Pace.create
          Salt = salt
          Entropy = entropy }

    /// Whether all that may be had of the present ports and servers is.
    let isIdle (g: Gathering) : bool =
        g.PortsComplete
        && Array.isEmpty g.Jobs
        && not (Array.exists RelayJobs.isPending g.Relays)
        && g.Servers |> Array.forall (fun server -> server.Endpoints.IsSome)

    /// RFC 8838 §13: after the end of candidates none may follow, so there is no end of those that are gathered continually.
    let state (g: Gathering) : IceGatheringState =
        if not g.Started then
            IceGatheringState.New
        elif isIdle g && not g.Continual then
            IceGatheringState.Complete
        else
            IceGatheringState.Gathering

    let deadline (g: Gathering) : Instant =
        let mutable due = Instant.never

        for job in g.Jobs do
            due <-
                Instant.min
                    due
                    (match job.Transaction with
                     | ValueSome transaction -> transaction.DueAt
                     | ValueNone -> Pace.next Pace.Ordinary g.Pace)

        if Array.exists RelayJobs.isWaiting g.Relays then
            due <- Instant.min due (Pace.next Pace.Ordinary g.Pace)

        due

    let private binding (id: TransactionId) : Outgoing =
        { Message = Message.request Method.Binding id [||]
          Integrity = Unprotected
          Fingerprint = true }

    let private pathOf (job: ServerJob) : Path =
        { Local = job.Base.Port
          Remote = job.Server }

    /// Starts jobs as the pace allows.
    let pump (now: Instant) (g: Gathering) : Step<Gathering, GatheringOutput> =
        let mutable g = g
        let mutable outputs = []
        let mutable waiting = 0

        while waiting >= 0 && Pace.next Pace.Ordinary g.Pace <= now do
            waiting <- g.Jobs |> Array.tryFindIndex _.Transaction.IsNone |> Option.defaultValue -1

            if waiting >= 0 then
                let job = g.Jobs[waiting]
                let struct (id, entropy) = TransactionId.draw g.Entropy

                let started =
                    { job with
                        Transaction = ValueSome(Transaction.start timing id now) }

                outputs <- GatheringOutput.Send(pathOf job, binding id) :: outputs

                g <-
                    { g with
                        Jobs = Array.updateAt waiting started g.Jobs
                        Pace = Pace.spend now g.Pace
                        Entropy = entropy }
            else
                match Array.tryFindIndex RelayJobs.isWaiting g.Relays with
                | Some i ->
                    waiting <- i
                    outputs <- GatheringOutput.Allocate g.Relays[i].Request :: outputs

                    g <-
                        { g with
                            Relays =
                                Array.updateAt
                                    i
                                    { g.Relays[i] with
                                        State = RelayState.Asked }
                                    g.Relays
                            Pace = Pace.spend now g.Pace }
                | None -> ()

        struct (g, List.rev outputs)

    // What cannot reach a server does not ask it.
    let private endpointFor (local: Base) (server: ServerEntry) : Endpoint voption =
        let address = local.Endpoint.Address

        let isInReach (endpoint: Endpoint) =
            endpoint.Address.IsV4 = address.IsV4
            && (not (Address.isLoopback address) || Address.isLoopback endpoint.Address)

        match server.Endpoints with
        | ValueSome endpoints when local.Kind.IsSocket && not (Address.isLinkLocal address) ->
            match Array.tryFind isInReach endpoints with
            | Some endpoint -> ValueSome endpoint
            | None -> ValueNone
        | _ -> ValueNone

    let private enqueueRelay (server: ServerEntry) (endpoint: Endpoint) (local: Base) (relaysTcp: bool) (g: Gathering) =
        let struct (job, next) =
            RelayJobs.create relaysTcp server.Url server.Where endpoint server.Username server.Password local g.NextPort

        if
            g.Relays.Length >= MaxRelays
            || g.Relays
               |> Array.exists (fun other -> RelayJobs.isSame other.Request job.Request)
        then
            g
        else
            { g with
                Relays = Array.append g.Relays [| job |]
                NextPort = next }

    // A server-reflexive candidate costs one request from each base of the server's family, an allocation one of each server's.
    let private enqueueOne (server: ServerEntry) (local: Base) (g: Gathering) : Gathering =
        match endpointFor local server with
        | ValueSome endpoint when not server.Where.IsTurn ->
            if g.Jobs.Length >= MaxJobs then
                g
            else
                { g with
                    Jobs =
                        Array.append
                            g.Jobs
                            [| { Url = server.Url
                                 Base = local
                                 Server = endpoint
                                 Transaction = ValueNone } |] }
        | ValueSome endpoint ->
            let g = enqueueRelay server endpoint local false g

            // RFC 6062 §4.1: not by a UDP association.
            match server.Where.Transport with
            | ServerTransport.Tcp
            | ServerTransport.Tls when g.RelayTcp -> enqueueRelay server endpoint local true g
            | _ -> g
        | ValueNone -> g

    /// Asks a server from a base.
    let askFrom (local: Base) (url: string) (g: Gathering) : Gathering =
        match g.Servers |> Array.tryFind (fun server -> server.Url = url) with
        | Some server -> enqueueOne server local g
        | None -> g

    let private supported (where: ServerUrl) : bool =
        match where.Transport with
        | ServerTransport.Udp -> true
        | _ -> where.IsTurn

    let private entries (servers: IceServer[]) : ServerEntry[] =
        servers
        |> Array.collect (fun server ->
            server.Urls
            |> Array.choose (fun url ->
                match ServerUrl.parse url with
                | ValueSome where ->
                    Some
                        { Url = url
                          Where = where
                          Username = server.Username |> ValueOption.defaultValue ""
                          Password = server.Credential |> ValueOption.defaultValue ""
                          Endpoints = ValueNone }
                | ValueNone -> None))
        |> Array.distinctBy _.Url

    /// Begins, with these servers and for these candidates.
    let start (servers: IceServer[]) (kinds: CandidateKinds) (options: IceOptions) (g: Gathering) =
        let known, unknown =
            entries servers |> Array.partition (fun server -> supported server.Where)

        // With `relay`, not even a request to a STUN server leaves, RFC 8829 §3.5.3.
        let asked =
            known
            |> Array.filter (fun server ->
                kinds
                |> IceScope.has (
                    if server.Where.IsTurn then
                        CandidateType.Relayed
                    else
                        CandidateType.ServerReflexive
                ))

        let outputs =
            [ for server in unknown do
                  GatheringOutput.Failed(
                      server.Url,
                      ValueNone,
                      Unreachable,
                      "STUN over TLS finds no candidate that is used; give the server as stun:host, or turns: where UDP does not pass."
                  )
              for server in asked do
                  GatheringOutput.Resolve server.Url ]

        struct ({ g with
                    Started = true
                    Kinds = kinds
                    Tcp = options.Tcp && not options.Scope.Lite
                    RelayTcp = options.RelayTcp && options.Tcp && not options.Scope.Lite
                    Continual = options.Continual
                    Servers = asked },
                outputs)

    /// The bases that allocations have made.
    let relayed (g: Gathering) : Base[] = Array.collect RelayJobs.bases g.Relays

    /// RFC 8445 §5.1.2.1: unique, so that no two candidates of a type have one priority.
    let rec unique (preference: int) (bases: Base[]) : uint16 =
        if bases |> Array.exists (fun b -> int b.Preference = preference) then
            unique (if preference > 0 then preference - 1 else 65535) bases
        else
            uint16 preference

    let private hostCandidate (salt: uint32) (endpoint: Endpoint) (preference: uint16) : Candidate =
        { Foundation = Candidate.foundation salt CandidateType.Host endpoint.Address ""
          Component = 1
          Transport = CandidateTransport.Udp
          Priority = Candidate.priority CandidateType.Host preference 1
          Host = CandidateHost.Ip endpoint.Address
          Port = endpoint.Port
          Type = CandidateType.Host
          Related = ValueNone
          Extensions = [||] }

    // RFC 6544 §4.2: unique again, in 13 bits and of one direction.
    let rec private tcpPreference (tcp: TcpType) (preference: uint16) (g: Gathering) : uint16 =
        let priority = Candidate.tcpPriority CandidateType.Host tcp preference 1

        if g.Candidates |> Array.exists (fun known -> known.Priority = priority) then
            tcpPreference tcp (preference - 8us) g
        else
            preference

    // RFC 6544 §4.5: port 9, discard, stands for the port that a connection will have.
    let private tcpCandidate (tcp: TcpType) (endpoint: Endpoint) (preference: uint16) (g: Gathering) : Candidate =
        { hostCandidate g.Salt endpoint preference with
            Foundation = Candidate.foundation g.Salt CandidateType.Host endpoint.Address "tcp"
            Transport = CandidateTransport.Tcp tcp
            Priority = Candidate.tcpPriority CandidateType.Host tcp (tcpPreference tcp preference g) 1
            Port =
                match tcp with
                | TcpType.Active -> 9us
                | TcpType.Passive
                | TcpType.SimultaneousOpen -> endpoint.Port }

    // A base more, unless it is there or there are too many; its preference is `choose`'s.
    let private withBase port (choose: Gathering -> Base) (g: Gathering) : Step<Gathering, GatheringOutput> =
        if g.Bases |> Array.exists (fun b -> b.Port = port) then
            Step.one (GatheringOutput.Refused Drop.Unexpected) g
        elif g.Bases.Length >= MaxBases then
            Step.one (GatheringOutput.Refused Drop.TooMany) g
        else
            let local = choose g

            let g =
                { g with
                    Bases = Array.append g.Bases [| local |] }

            if not (IceScope.isDirect g.Kinds) then
                Step.only g
            else
                let candidates =
                    [| if IceScope.has CandidateType.Host g.Kinds then
                           local.Candidate

                           match local.Active with
                           | ValueSome active -> active
                           | ValueNone -> () |]

                struct ({ g with
                            Candidates = Array.append g.Candidates candidates },
                        [ GatheringOutput.Opened local
                          for candidate in candidates do
                              GatheringOutput.Found(candidate, ValueNone) ])

    let private clamp (preference: int) = max 0 (min 65535 preference)

    // Whoever was not to be found may be by the new address.
    let private resolveAgain (g: Gathering) : Step<Gathering, GatheringOutput> =
        let isUnknown (server: ServerEntry) =
            server.Endpoints |> ValueOption.exists Array.isEmpty

        struct ({ g with
                    Servers =
                        g.Servers
                        |> Array.map (fun server ->
                            if isUnknown server then
                                { server with Endpoints = ValueNone }
                            else
                                server) },
                [ for server in Array.filter isUnknown g.Servers do
                      GatheringOutput.Resolve server.Url ])

    /// A socket is open: a host candidate, and requests to the servers that are known. With `relay` it serves no check.
    let opened now (port: PortId) (endpoint: Endpoint) (preference: int) (g: Gathering) : Step<_, GatheringOutput> =
        let before = g.Bases.Length

        g
        |> withBase port (fun g ->
            let preference = unique (clamp preference) (Array.append g.Bases (relayed g))

            { Port = port
              Kind = BaseKind.Socket
              Endpoint = endpoint
              Preference = preference
              Candidate = hostCandidate g.Salt endpoint preference
              Active =
                if g.Tcp then
                    ValueSome(tcpCandidate TcpType.Active endpoint preference g)
                else
                    ValueNone })
        |> Step.bind (fun g ->
            if g.Bases.Length = before then
                Step.only g
            else
                (g, g.Servers)
                ||> Array.fold (fun g server -> enqueueOne server g.Bases[before] g)
                |> pump now
                |> Step.bind (if g.PortsComplete then resolveAgain else Step.only))

    /// A listener is open: a passive host candidate, RFC 6544 §5.1.
    let listening (port: PortId) (endpoint: Endpoint) (preference: int) (g: Gathering) : Step<_, GatheringOutput> =
        g
        |> withBase port (fun g ->
            let preference = uint16 (clamp preference)

            { Port = port
              Kind = BaseKind.Listener
              Endpoint = endpoint
              Preference = preference
              Candidate = tcpCandidate TcpType.Passive endpoint preference g
              Active = ValueNone })

    /// The relayed bases of a socket, which go with it.
    let relayedFrom (port: PortId) (g: Gathering) : Base[] =
        g.Relays
        |> Array.filter (fun job -> job.Request.From = port)
        |> Array.collect RelayJobs.bases

    /// A socket is gone, and what was asked from it, with the candidates of both.
    let closed (port: PortId) (g: Gathering) : Step<Gathering, GatheringOutput> =
        let own, others = g.Bases |> Array.partition (fun b -> b.Port = port)
        let bases = Array.append own (relayedFrom port g)

        let gone, left =
            g.Candidates
            |> Array.partition (fun candidate -> bases |> Array.exists (fun b -> Base.has b candidate))

        struct ({ g with
                    Bases = others
                    Candidates = left
                    Jobs = g.Jobs |> Array.filter (fun job -> job.Base.Port <> port)
                    Relays = g.Relays |> Array.filter (fun job -> job.Request.From <> port) },
                [ for candidate in gone do
                      GatheringOutput.Withdrawn candidate ])

    /// An allocation is gone.
    let unrelayed (port: PortId) (g: Gathering) : Gathering =
        { g with
            Relays = g.Relays |> Array.filter (fun job -> job.Request.V4 <> port) }

    let portsComplete (g: Gathering) : Gathering = { g with PortsComplete = true }

    let private isAwaited (url: string) (server: ServerEntry) =
        server.Url = url && server.Endpoints.IsNone

    let private resolve (url: string) (endpoints: Endpoint[]) (g: Gathering) : Gathering =
        { g with
            Servers =
                g.Servers
                |> Array.map (fun server ->
                    if isAwaited url server then
                        { server with
                            Endpoints = ValueSome endpoints }
                    else
                        server) }

    /// A server's name was resolved: every base of the family asks it.
    let resolved now (url: string) (endpoints: Endpoint[]) (g: Gathering) : Step<Gathering, GatheringOutput> =
        if not (g.Servers |> Array.exists (isAwaited url)) then
            Step.one (GatheringOutput.Refused Drop.Unexpected) g
        elif Array.isEmpty endpoints then
            Step.one (GatheringOutput.Failed(url, ValueNone, Unreachable, "No address.")) (resolve url [||] g)
        else
            let g = resolve url endpoints g

            match g.Servers |> Array.tryFind (fun server -> server.Url = url) with
            | Some server ->
                (g, g.Bases)
                ||> Array.fold (fun g local -> enqueueOne server local g)
                |> pump now
            | None -> Step.only g

    /// A server's name was not.
    let unresolved (url: string) (reason: string) (g: Gathering) : Step<Gathering, GatheringOutput> =
        if g.Servers |> Array.exists (isAwaited url) then
            Step.one (GatheringOutput.Failed(url, ValueNone, Unreachable, reason)) (resolve url [||] g)
        else
            Step.one (GatheringOutput.Refused Drop.Unexpected) g

    let private isOf (id: TransactionId) (job: ServerJob) =
        match job.Transaction with
        | ValueSome transaction -> transaction.Id.Equals id
        | ValueNone -> false

    /// Whether a response is to one of our requests to servers.
    let awaits (id: TransactionId) (g: Gathering) : bool = g.Jobs |> Array.exists (isOf id)

    let private reflexive (g: Gathering) (url: string) (local: Base) (mapped: Endpoint) : Candidate =
        { local.Candidate with
            Foundation = Candidate.foundation g.Salt CandidateType.ServerReflexive local.Endpoint.Address url
            Priority = Candidate.priority CandidateType.ServerReflexive local.Preference 1
            Host = CandidateHost.Ip mapped.Address
            Port = mapped.Port
            Type = CandidateType.ServerReflexive
            Related =
                ValueSome
                    { Host = CandidateHost.Ip local.Endpoint.Address
                      Port = local.Endpoint.Port } }

    // RFC 8445 §5.1.3: one transport address is one candidate, the one of higher priority: a host candidate that no
    // NAT changed, or what another server told before.
    let private isRedundant (mapped: Endpoint) (g: Gathering) =
        g.Candidates
        |> Array.exists (fun known ->
            Candidate.sameProtocol known.Transport CandidateTransport.Udp
            && Candidate.endpoint known = ValueSome mapped)

    /// A server told how it sees a base.
    let found (url: string) (local: Base) (mapped: Endpoint) (g: Gathering) : Step<Gathering, GatheringOutput> =
        if isRedundant mapped g then
            Step.only g
        else
            let candidate = reflexive g url local mapped

            { g with
                Candidates = Array.append g.Candidates [| candidate |] }
            |> Step.one (GatheringOutput.Found(candidate, ValueSome url))

    /// A response of a server, RFC 8445 §5.1.1.2. It must come from where we asked.
    let received now (path: Path) (message: Message) (g: Gathering) : Step<Gathering, GatheringOutput> =
        match g.Jobs |> Array.tryFind (isOf message.Transaction) with
        | Some job when (pathOf job).Equals path ->
            let g =
                { g with
                    Jobs = g.Jobs |> Array.filter (fun other -> not (isOf message.Transaction other)) }

            match message.Class, Message.mappedAddress message, Message.errorCode message with
            | Class.Success, ValueSome mapped, _ -> found job.Url job.Base mapped g |> Step.bind (pump now)
            | Class.Error, _, ValueSome(struct (code, reason)) ->
                g
                |> Step.one (GatheringOutput.Failed(job.Url, ValueSome job.Base.Endpoint, code, reason))
                |> Step.bind (pump now)
            | _ ->
                g
                |> Step.one (GatheringOutput.Failed(job.Url, ValueSome job.Base.Endpoint, 500, "No mapped address."))
                |> Step.bind (pump now)
        | Some _ -> Step.one (GatheringOutput.Refused Drop.Unvalidated) g
        | None -> Step.one (GatheringOutput.Refused Drop.Unexpected) g

    let private give now (job: ServerJob) (g: Gathering) : Step<Gathering, GatheringOutput> =
        match job.Transaction with
        | ValueSome transaction when now >= transaction.DueAt ->
            let others = g.Jobs |> Array.filter (fun other -> not (isOf transaction.Id other))

            if Transaction.isSpent transaction then
                { g with Jobs = others }
                |> Step.one (
                    GatheringOutput.Failed(
                        job.Url,
                        ValueSome job.Base.Endpoint,
                        Unreachable,
                        "The server did not answer."
                    )
                )
            else
                { g with
                    Jobs =
                        Array.append
                            others
                            [| { job with
                                   Transaction = ValueSome(Transaction.resend now transaction) } |] }
                |> Step.one (GatheringOutput.Send(pathOf job, binding transaction.Id))
        | _ -> Step.only g

    /// Repeats what is due, gives up what is spent, starts what may start.
    let tick (now: Instant) (g: Gathering) : Step<Gathering, GatheringOutput> =
        (Step.only g, g.Jobs)
        ||> Array.fold (fun step job -> Step.bind (give now job) step)
        |> Step.bind (pump now)
