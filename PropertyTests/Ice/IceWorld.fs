namespace Hybrid.WebRtc.PropertyTests.Ice

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.Stack

/// Which of the two agents.
type Side =
    | A
    | B

/// An agent with the sockets that its shell has opened for it.
[<NoComparison; NoEquality>]
type Host =
    {
        Agent: Ice.State
        /// Every interface.
        Addresses: Address list
        Ports: Map<int, Endpoint>
        /// Whether it listens for TCP, and where it does.
        Listens: bool
        Listeners: Map<int, Endpoint>
        /// What the agent said, last first, without the datagrams.
        Heard: struct (Instant * Ice.Output) list
        Sent: int
        /// Whether it tells its candidates to the other side.
        Signals: bool
        Lite: bool
    }

/// Two agents, an Internet between them, and a signalling channel that neither loses nor reorders.
[<NoComparison; NoEquality>]
type World =
    { Now: Instant
      Net: Internet
      Tcp: Tcp<Side>
      A: Host
      B: Host
      Signalling: struct (Instant * Side * Ice.Input) list
      SignallingDelay: Duration
      NextPort: int
      Names: Map<string, Address> }

[<RequireQualifiedAccess>]
module World =
    let ciphers: ICiphers = SystemCiphers.Shared

    let stunServer: Endpoint =
        { Address = Address.v4 198uy 51uy 100uy 1uy
          Port = 3478us }

    let stunUrl = "stun:stun.example:3478"

    let machine: Laws.Machine<Ice.State, Ice.Input, Ice.Output> =
        { Step = Ice.step
          Deadline = Ice.deadline
          Tick = Ice.Tick }

    let host (addresses: Address list) (agent: Ice.State) : Host =
        { Agent = agent
          Addresses = addresses
          Ports = Map.empty
          Listens = false
          Listeners = Map.empty
          Heard = []
          Sent = 0
          Signals = true
          Lite = false }

    let create (seed: int64) (net: Internet) (a: Address list) (b: Address list) : World =
        let agent name =
            Ice.create IceOptions.defaults (Entropy.split name (Entropy.ofNumber seed)) ciphers

        { Now = Duration.seconds 1L
          Net = Internet.withServer stunServer net
          Tcp = Tcp.create (Duration.milliseconds 20L)
          A = host a (agent "a")
          B = host b (agent "b")
          Signalling = []
          SignallingDelay = Duration.milliseconds 20L
          NextPort = 1
          Names = Map.empty }

    let get side world =
        match side with
        | A -> world.A
        | B -> world.B

    let set side host world =
        match side with
        | A -> { world with A = host }
        | B -> { world with B = host }

    let other side =
        match side with
        | A -> B
        | B -> A

    let signal side input (world: World) =
        { world with
            Signalling = world.Signalling @ [ struct (world.Now + world.SignallingDelay, side, input) ] }

    let written (message: Outgoing) : byte[] =
        let bytes = Array.zeroCreate (Outgoing.size message)
        let n = Outgoing.write ciphers (Span bytes) message

        if n <> bytes.Length then
            failwith "write fills exactly size"

        bytes

    /// A candidate as the other side reads it from the line.
    let retold (candidate: Candidate) : Candidate =
        match Candidate.parse (Candidate.toText candidate) with
        | ValueSome candidate -> candidate
        | ValueNone -> failwith "a candidate of ours reads"

    let rec feed (side: Side) (input: Ice.Input) (world: World) : World =
        let host = get side world
        let struct (agent, outputs) = Ice.step world.Now input host.Agent

        (set side { host with Agent = agent } world, outputs)
        ||> List.fold (perform side)

    and private openPorts side (world: World) : World =
        let addresses = (get side world).Addresses

        (world, List.indexed addresses)
        ||> List.fold (fun world (i, address) ->
            let number = world.NextPort
            let host = get side world

            let endpoint =
                { Address = address
                  Port = uint16 (40000 + number) }

            let world =
                { world with NextPort = number + 2 }
                |> set
                    side
                    { host with
                        Ports = Map.add number endpoint host.Ports }
                |> feed side (Ice.PortOpened(number * 1<port>, endpoint, 60000 - 100 * i))

            if host.Listens then
                let host = get side world

                set
                    side
                    { host with
                        Listeners = Map.add (number + 1) endpoint host.Listeners }
                    world
                |> feed side (Ice.ListenerOpened((number + 1) * 1<port>, endpoint, 60000 - 100 * i))
            else
                world)
        |> feed side Ice.PortsComplete

    and private perform side (world: World) (output: Ice.Output) : World =
        let host = get side world

        let heard =
            { host with
                Heard = struct (world.Now, output) :: host.Heard }

        match output with
        | Ice.Transmit(path, message) ->
            match Map.tryFind (int path.Local) host.Ports with
            | Some from ->
                { world with
                    Net = Internet.send world.Now { From = from; To = path.Remote } (written message) world.Net }
                |> set side { host with Sent = host.Sent + 1 }
            | None ->
                { world with
                    Tcp = Tcp.send world.Now side path (written message) world.Tcp }
        | Ice.OpenStream(port, from, target) ->
            let address = host.Ports[int from].Address

            { world with
                Tcp = Tcp.connect world.Now side port address target world.Net world.Tcp }
            |> set side heard
        | Ice.OpenPorts -> world |> set side heard |> openPorts side
        | Ice.ClosePort port ->
            { world with
                Tcp = Tcp.close world.Now side port world.Tcp }
            |> set
                side
                { heard with
                    Ports = Map.remove (int port) host.Ports
                    Listeners = Map.remove (int port) host.Listeners }
        | Ice.ResolveServer url -> feed side (Ice.ServerResolved(url, [| stunServer |])) world
        | Ice.Resolve name ->
            let address =
                match Map.tryFind name world.Names with
                | Some address -> ValueSome address
                | None -> ValueNone

            feed side (Ice.Resolved(name, address)) world
        | Ice.Gathered(candidate, _) when host.Signals ->
            world
            |> set side heard
            |> signal (other side) (Ice.AddRemote(retold candidate, ValueNone))
        | Ice.GatheringChanged IceGatheringState.Complete when host.Signals ->
            world |> set side heard |> signal (other side) Ice.EndOfRemoteCandidates
        | _ -> set side heard world

    /// A datagram arrives. Its bytes are spoilt after the step: they were only lent.
    let deliver (flow: Flow) (bytes: byte[]) (world: World) : World =
        let owner (host: Host) =
            host.Ports |> Map.tryFindKey (fun _ endpoint -> endpoint.Equals flow.To)

        let hand side number =
            let path =
                { Local = number * 1<port>
                  Remote = flow.From }

            let world = feed side (Ice.Received(path, ReadOnlyMemory bytes)) world
            Array.fill bytes 0 bytes.Length 0xaauy
            world

        match owner world.A, owner world.B with
        | Some number, _ -> hand A number
        | None, Some number -> hand B number
        | None, None -> world

    // Who listens at an endpoint.
    let private listener (world: World) (at: Endpoint) =
        [ A; B ]
        |> List.tryPick (fun side ->
            (get side world).Listeners
            |> Map.tryPick (fun port endpoint ->
                if endpoint.Equals at then
                    Some(struct (side, port * 1<port>))
                else
                    None))

    let private told (event: TcpEvent<Side>) (world: World) : World =
        match event with
        | TcpOpened(tcp, local) -> feed tcp.Who (Ice.StreamOpened(tcp.Path.Local, local)) world
        | TcpClosed tcp -> feed tcp.Who (Ice.StreamClosed tcp.Path) world
        | TcpArrived(tcp, frame) -> feed tcp.Who (Ice.Received(tcp.Path, ReadOnlyMemory frame)) world

    let private nextSignal (world: World) =
        match world.Signalling with
        | struct (at, _, _) :: _ -> at
        | [] -> Instant.never

    let next (world: World) : Instant =
        Internet.next world.Net
        |> Instant.min (Tcp.next world.Tcp)
        |> Instant.min (nextSignal world)
        |> Instant.min (Ice.deadline world.A.Agent)
        |> Instant.min (Ice.deadline world.B.Agent)

    /// Handles all that is due at the next instant.
    let advance (world: World) : World =
        let now = max world.Now (next world)
        let mutable world = { world with Now = now }
        let mutable busy = true

        while busy do
            let struct (arrived, net) = Internet.receive now world.Net
            world <- { world with Net = net }

            match arrived with
            | ValueNone -> busy <- false
            | ValueSome ValueNone -> ()
            | ValueSome(ValueSome(struct (flow, bytes))) -> world <- deliver flow bytes world

        while Tcp.next world.Tcp <= now do
            let struct (events, tcp) = Tcp.receive now (listener world) world.Net world.Tcp

            world <-
                ({ world with Tcp = tcp }, ValueOption.defaultValue [] events)
                ||> List.fold (fun world event -> told event world)

        while nextSignal world <= now do
            match world.Signalling with
            | struct (_, side, input) :: rest -> world <- feed side input { world with Signalling = rest }
            | [] -> ()

        for side in [ A; B ] do
            Laws.earlyTick machine now (get side world).Agent

            if Ice.deadline (get side world).Agent <= now then
                world <- feed side Ice.Tick world
                // A tick at the deadline moves it on.
                if Ice.deadline (get side world).Agent <= now then
                    failwith "a tick at the deadline moves the deadline on"

        world

    /// Runs until `holds`, or until `limit` has passed, whichever is first.
    let rec runUntil (limit: Instant) (holds: World -> bool) (world: World) : World =
        if holds world || next world > limit then
            if holds world then world else { world with Now = limit }
        else
            runUntil limit holds (advance world)

    let runFor (length: Duration) (world: World) : World =
        runUntil (world.Now + length) (fun _ -> false) world

    let credentials (name: string) : IceParameters =
        { UsernameFragment = name
          Password = name + "-password-of-22-characters" }

    /// Offer and answer: `A` offers. The answer follows when the offer has arrived.
    let negotiate (generation: string) (world: World) : World =
        let a = credentials ("aaaa" + generation)
        let b = credentials ("bbbb" + generation)

        let world =
            world
            |> feed
                A
                (Ice.SetServers(
                    [| { Urls = [| stunUrl |]
                         Username = ValueNone
                         Credential = ValueNone } |],
                    IceTransportPolicy.All
                ))
            |> feed
                B
                (Ice.SetServers(
                    [| { Urls = [| stunUrl |]
                         Username = ValueNone
                         Credential = ValueNone } |],
                    IceTransportPolicy.All
                ))
            |> feed A (Ice.SetRole IceRole.Controlling)
            |> feed A (Ice.SetLocal a)
            |> signal B (Ice.SetRemote(a, false))
            |> signal B (Ice.SetRole IceRole.Controlled)
            |> signal B (Ice.SetLocal b)
            |> signal B Ice.Gather

        // The answer takes another signalling delay.
        let answer =
            struct (world.Now + 2L * world.SignallingDelay, A, Ice.SetRemote(b, false))

        { world with
            Signalling = world.Signalling @ [ answer ] |> List.sortBy (fun struct (at, _, _) -> at) }
        |> feed A Ice.Gather

    let selected side (world: World) : IcePair voption = Ice.selectedPair (get side world).Agent

    /// Whether what one side sends on its pair arrives on the other side's pair, both ways.
    let agree (world: World) : bool =
        let arrives from into =
            match selected from world, selected into world with
            | ValueSome mine, ValueSome theirs ->
                match Map.tryFind (int mine.Path.Local) (get from world).Ports with
                | Some source ->
                    match
                        Internet.trace world.Now { From = source; To = mine.Path.Remote } world.Net,
                        Map.tryFind (int theirs.Path.Local) (get into world).Ports
                    with
                    | ValueSome flow, Some target -> flow.To.Equals target && flow.From.Equals theirs.Path.Remote
                    | _ -> false
                // Who has the one end of a connection has the other.
                | None -> Tcp.joins (from, mine.Path) (into, theirs.Path) world.Tcp
            | _ -> false

        arrives A B && arrives B A

    let states side (world: World) : IceTransportState list =
        (get side world).Heard
        |> List.rev
        |> List.choose (fun struct (_, output) ->
            match output with
            | Ice.StateChanged state -> Some state
            | _ -> None)

    let drops side (world: World) : Drop list =
        (get side world).Heard
        |> List.choose (fun struct (_, output) ->
            match output with
            | Ice.Ignored drop -> Some drop
            | _ -> None)

    let isUp side (world: World) =
        match Ice.transportState (get side world).Agent with
        | IceTransportState.Connected
        | IceTransportState.Completed -> (selected side world).IsSome
        | _ -> false

    let areUp (world: World) = isUp A world && isUp B world

    /// Whether a datagram sent now would come out at a socket of `side`, and be taken for its peer's.
    let isHeard (side: Side) (flow: Flow) (world: World) : bool =
        let host = get side world

        match Internet.trace world.Now flow world.Net with
        | ValueSome arrived ->
            host.Ports
            |> Map.exists (fun number endpoint ->
                endpoint.Equals arrived.To
                && Ice.isValid
                    { Local = number * 1<port>
                      Remote = arrived.From }
                    host.Agent)
        | ValueNone -> false
