namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// All allocations of a peer: between the ports of the shell, and the ports that ICE has on TURN servers.
[<RequireQualifiedAccess>]
module internal Relays =
    type State = RelayTable.State

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        | Allocate of RelayRequest
        /// Packets from the peer, and to it, shall pass: `Path` is of one of our ports there.
        | Permit of Path: Path
        /// This is where data goes.
        | Bind of Path: Path
        /// Connect to a peer, from a relayed address of TCP; `Path` is to be the connection's.
        | Connect of Path: Path * From: PortId
        | Release of Port: PortId
        /// A socket is done with: it is closed when whatever leaves by it has left.
        | ClosePort of Port: PortId
        /// A STUN message of TURN's, by a path of ours to a server.
        | Received of Path: Path * Datagram: ReadOnlyMemory<byte>
        /// A DTLS record of a server's, by a socket's path, lent.
        | Record of Path: Path * Datagram: Memory<byte>
        /// What the shell has found a tunnel's certificate to be: ValueNone is trusted.
        | CertificateVerified of Port: PortId * Refusal: string voption
        | StreamOpened of Port: PortId
        | StreamClosed of Port: PortId * Reason: string
        /// The shell's socket is gone, and with it what was allocated from it.
        | PortClosed of Port: PortId

    [<NoComparison; NoEquality>]
    type Output =
        /// `Around`: what the message is in, where it is in something.
        | Transmit of Path: Path * Message: Outgoing * Around: RelayHeader voption
        | TransmitHandshake of Path: Path * Datagram: DtlsDatagram
        /// A datagram of the server's, opened in place, and the path of the tunnel that it came through.
        | Unsealed of Path: Path * Datagram: Memory<byte>
        /// Answered by `CertificateVerified`.
        | VerifyCertificate of Port: PortId * ServerName: string * Chain: byte[][]
        | OpenStream of Port: PortId * Kind: StreamKind * From: PortId * To: Endpoint * ServerName: string
        /// A socket, or a stream.
        | CloseNow of Port: PortId
        | Allocated of Port: PortId * Relayed: Endpoint[] * Mapped: Endpoint voption
        | Failed of Port: PortId * Code: int * Text: string
        | Lost of Port: PortId
        /// A connection that was asked for is there, from this address.
        | Connected of Port: PortId * Local: Endpoint
        /// A connection to or from a peer is not, or not any more.
        | Disconnected of Path: Path
        /// One that was asked for is not made.
        | Refused of Path: Path
        /// Data goes by a channel on this path of ICE's from now on.
        | Bound of Path: Path
        | Ignored of Drop

    /// Allocations of one peer: as many as two generations of gathering may ask for.
    [<Literal>]
    let private MaxRelays = 64

    let create (ciphers: ICiphers) (entropy: Entropy) : State = RelayTable.create ciphers entropy

    let deadline (state: State) : Instant = state.Due

    /// Whether there is no allocation any more, none that is given back either.
    let isEmpty (state: State) : bool = state.All.Length = 0

    // The end of what it is reached by.
    let private hangUp now (relay: RelayLink) : Output list =
        match relay.Tunnel with
        | ValueSome tunnel ->
            let struct (_, outputs) = DtlsTunnel.step now DtlsTunnel.Close tunnel

            [ for output in outputs do
                  match output with
                  | DtlsTunnel.Transmit datagram -> TransmitHandshake(RelayTable.outerPath relay, datagram)
                  | _ -> () ]
        | ValueNone ->
            [ if RelayTable.isStream relay then
                  CloseNow relay.Request.Stream ]

    // The end of its connections.
    let private disconnect now (relay: RelayLink) : Output list =
        match relay.Tcp with
        | ValueNone -> []
        | ValueSome tcp ->
            let struct (_, outputs) = TcpConnections.step now TcpConnections.CloseAll tcp

            [ for output in outputs do
                  match output with
                  | TcpConnections.CloseStream data -> CloseNow data
                  | TcpConnections.Closed(inner, _) -> Disconnected inner
                  | _ -> () ]

    let private drop now (relay: RelayLink) (state: State) : Step<State, Output> =
        let rest = RelayTable.without relay state

        let isAwaited =
            rest.All |> Array.exists (fun other -> other.Request.From = relay.Request.From)

        struct (rest,
                [ yield! disconnect now relay
                  yield! hangUp now relay
                  if relay.IsLast && not isAwaited then
                      CloseNow relay.Request.From ])

    let private openStream (port: PortId) (server: Endpoint) (name: string) (relay: RelayLink) : Output =
        let isTls = relay.Request.Transport = ServerTransport.Tls

        let kind =
            match isTls, RelayPorts.isData port with
            | true, true -> StreamKind.TurnDataTls
            | false, true -> StreamKind.TurnData
            | true, false -> StreamKind.TurnTls
            | false, false -> StreamKind.TurnTcp

        OpenStream(port, kind, relay.Request.From, server, (if isTls then name else ""))

    // Steps the connections of an allocation.
    let private connections now (input: TcpConnections.Input) (relay: RelayLink) (state: State) : Step<State, Output> =
        match relay.Tcp with
        | ValueNone -> Step.one (Ignored Drop.Unexpected) state
        | ValueSome before ->
            let struct (part, outputs) =
                TcpConnections.step now input (TcpConnections.knowing (TurnClient.login relay.Turn) before)

            struct (RelayTable.put { relay with Tcp = ValueSome part } state,
                    [ for output in outputs do
                          match output with
                          | TcpConnections.Transmit message -> Transmit(relay.Path, message, ValueNone)
                          | TcpConnections.TransmitData(data, message) ->
                              Transmit(
                                  { Local = data
                                    Remote = relay.Path.Remote },
                                  message,
                                  ValueNone
                              )
                          | TcpConnections.OpenStream data ->
                              openStream data relay.Path.Remote relay.Request.ServerName relay
                          | TcpConnections.CloseStream data -> CloseNow data
                          // Of a peer's that has connected to us its first check will tell.
                          | TcpConnections.Opened inner when RelayTable.indexOf inner.Local state < 0 ->
                              for relayed in TurnClient.relayed relay.Turn do
                                  if relayed.Address.IsV4 = inner.Remote.Address.IsV4 then
                                      Connected(inner.Local, relayed)
                          | TcpConnections.Opened _ -> ()
                          | TcpConnections.Closed(inner, _) -> Disconnected inner
                          | TcpConnections.Refused(inner, _) -> Refused inner
                          | TcpConnections.Ignored reason -> Ignored reason ])

    let private drawData (state: State) : struct (PortId * State) =
        struct (state.NextData,
                { state with
                    NextData = state.NextData - 2<port> })

    let private connect now (path: Path) (from: PortId) (state: State) : Step<State, Output> =
        match RelayTable.indexOf from state with
        | i when i >= 0 && state.All[i].Tcp.IsSome ->
            let relay = state.All[i]
            let struct (data, state) = drawData state
            connections now (TcpConnections.Connect(path, data)) relay state
        | _ -> Step.one (Refused path) state

    // The server says that a peer has connected, RFC 6062 §4.4: one whose address we asked to be let through.
    let private attempted now (message: Message) (relay: RelayLink) (state: State) : Step<State, Output> =
        let id =
            Message.pick
                (function
                | ConnectionId id -> ValueSome id
                | _ -> ValueNone)
                message

        let peer =
            Message.pick
                (function
                | XorPeerAddress peer -> ValueSome peer
                | _ -> ValueNone)
                message

        match id, peer with
        | ValueSome id, ValueSome peer when TurnClient.isPermitted peer.Address relay.Turn ->
            let inner =
                { Local = RelayTable.portOf peer.Address relay.Request
                  Remote = peer }

            let struct (data, state) = drawData state
            connections now (TcpConnections.Attempted(inner, id, data)) relay state
        | ValueSome _, ValueSome _ -> Step.one (Ignored Drop.Unvalidated) state
        | _ -> Step.one (Ignored Drop.Malformed) state

    let rec private turn now (input: TurnClient.Input) (relay: RelayLink) (state: State) : Step<State, Output> =
        let struct (part, outputs) = TurnClient.step now input relay.Turn
        let port = relay.Request.V4

        RelayTable.put { relay with Turn = part } state
        |> Step.route
            (fun output state ->
                // As it is by now; it may be gone.
                match state.All |> Array.tryFind (fun other -> other.Request.V4 = port) with
                | None -> Step.only state
                | Some relay ->
                    match output with
                    | TurnClient.Transmit message ->
                        match RelayTable.around now 1 ValueNone relay with
                        | struct (ValueSome(struct (path, header)), relay) ->
                            Step.one (Transmit(path, message, header)) (RelayTable.put relay state)
                        | struct (ValueNone, _) -> Step.only state
                    | TurnClient.Redirected(server, domain) -> redirected now server domain relay state
                    | TurnClient.Allocated(relayed, mapped) -> Step.one (Allocated(port, relayed, mapped)) state
                    | TurnClient.Failed(code, text) ->
                        Step.one (Failed(port, code, text)) state |> Step.bind (drop now relay)
                    | TurnClient.Lost _ -> Step.one (Lost port) state |> Step.bind (drop now relay)
                    | TurnClient.Left -> drop now relay state
                    | TurnClient.Bound peer ->
                        let path =
                            { Local = RelayTable.portOf peer.Address relay.Request
                              Remote = peer }

                        Step.one (Bound path) state
                    // Its checks will fail.
                    | TurnClient.Denied _ -> Step.only state
                    | TurnClient.Ignored reason -> Step.one (Ignored reason) state)
            outputs

    // RFC 8489 §10: by the same transport.
    and private redirected now (server: Endpoint) (domain: string voption) (relay: RelayLink) (state: State) =
        let before = relay

        let relay =
            { relay with
                Path = { relay.Path with Remote = server } }

        let isTaken =
            RelayTable.indexOfPath relay.Path state >= 0
            || RelayTable.indexOfTunnel (RelayTable.outerPath relay) state >= 0

        if isTaken then
            // There is an allocation on it by this very path.
            turn now (TurnClient.Closed "The server sent us to one that is asked already.") relay state
        else
            struct (state, hangUp now before)
            |> Step.bind (reach now (domain |> ValueOption.defaultValue relay.Request.ServerName) relay)

    // Its server is to be spoken to: at once, or when a stream or a tunnel to it is open.
    and private reach now (name: string) (relay: RelayLink) (state: State) : Step<State, Output> =
        let server = relay.Path.Remote

        match relay.Request.Transport with
        | ServerTransport.Udp -> turn now (TurnClient.Start server) relay (RelayTable.put relay state)
        | ServerTransport.Dtls ->
            let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize state.Entropy

            let relay =
                { relay with
                    Request = { relay.Request with ServerName = name }
                    Tunnel = ValueSome(DtlsTunnel.create state.Ciphers (Entropy.ofSeed (ReadOnlySpan seed))) }

            // An address is no host name, RFC 6066 §3.
            let asked = if (Address.parse name).IsSome then "" else name
            tunnel now (DtlsTunnel.Start asked) relay (RelayTable.put relay { state with Entropy = entropy })
        | _ ->
            let relay =
                { relay with
                    Request = { relay.Request with ServerName = name } }

            Step.one (openStream relay.Request.Stream server name relay) (RelayTable.put relay state)

    and private tunnel now (input: DtlsTunnel.Input) (relay: RelayLink) (state: State) : Step<State, Output> =
        match relay.Tunnel with
        | ValueNone -> Step.one (Ignored Drop.Unexpected) state
        | ValueSome before ->
            let port = relay.Request.V4
            let struct (part, outputs) = DtlsTunnel.step now input before
            let state = RelayTable.put { relay with Tunnel = ValueSome part } state

            match outputs with
            // Nearly every datagram.
            | [ DtlsTunnel.Data datagram ] -> Step.one (Unsealed(relay.Path, datagram)) state
            | _ ->
                state
                |> Step.route
                    (fun output state ->
                        match state.All |> Array.tryFind (fun other -> other.Request.V4 = port) with
                        | None -> Step.only state
                        | Some relay ->
                            match output with
                            | DtlsTunnel.Transmit datagram ->
                                Step.one (TransmitHandshake(RelayTable.outerPath relay, datagram)) state
                            | DtlsTunnel.Verify chain ->
                                Step.one
                                    (VerifyCertificate(relay.Request.Stream, relay.Request.ServerName, chain))
                                    state
                            | DtlsTunnel.Opened -> turn now (TurnClient.Start relay.Path.Remote) relay state
                            | DtlsTunnel.Data datagram -> Step.one (Unsealed(relay.Path, datagram)) state
                            | DtlsTunnel.Closed reason -> turn now (TurnClient.Closed reason) relay state
                            | DtlsTunnel.Ignored reason -> Step.one (Ignored reason) state)
                    outputs

    let private allocate now (request: RelayRequest) (state: State) : Step<State, Output> =
        if state.All.Length >= MaxRelays || RelayTable.indexOf request.V4 state >= 0 then
            Step.one (Failed(request.V4, 701, "There are too many allocations.")) state
        else
            let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize state.Entropy

            let isReliable =
                request.Transport = ServerTransport.Tcp
                || request.Transport = ServerTransport.Tls

            let relay =
                { Request = request
                  Path =
                    { Local =
                        if request.Transport = ServerTransport.Udp then
                            request.From
                        else
                            request.Stream
                      Remote = request.Server }
                  Tunnel = ValueNone
                  Tcp =
                    if request.RelaysTcp then
                        ValueSome(
                            TcpConnections.create
                                state.Ciphers
                                request.Username
                                request.Password
                                (Entropy.split "connections" (Entropy.ofSeed (ReadOnlySpan seed)))
                        )
                    else
                        ValueNone
                  IsLast = false
                  Turn =
                    TurnClient.create
                        { Ciphers = state.Ciphers
                          Username = request.Username
                          Password = request.Password
                          IsReliable = isReliable
                          Families = RelayFamilies.Both
                          RelaysTcp = request.RelaysTcp }
                        (Entropy.ofSeed (ReadOnlySpan seed)) }

            let state =
                { state with
                    Entropy = entropy
                    All = Array.append state.All [| relay |] }

            reach now request.ServerName relay state

    // Of an allocation, where there is one.
    let private at now (port: PortId) (input: TurnClient.Input) (state: State) : Step<State, Output> =
        match RelayTable.indexOf port state with
        | -1 -> Step.one (Ignored Drop.Stale) state
        | i -> turn now input state.All[i] state

    let private release now (port: PortId) (state: State) : Step<State, Output> =
        match RelayTable.indexOf port state with
        | -1 -> Step.only state
        | i -> turn now TurnClient.Release state.All[i] state

    let private closePort now (port: PortId) (state: State) : Step<State, Output> =
        let leaves (relay: RelayLink) =
            relay.Request.From = port && TurnClient.isLeaving relay.Turn

        match RelayTable.tryTcp (TcpConnections.hasPort port) state with
        | ValueSome relay when RelayTable.indexOf port state < 0 ->
            (Step.only state, relay.Tcp.Value |> TcpConnections.pathsOf port)
            ||> Array.fold (fun step path -> step |> Step.bind (connections now (TcpConnections.Close path) relay))
        | _ when Array.exists leaves state.All ->
            Step.only
                { state with
                    All =
                        state.All
                        |> Array.map (fun relay ->
                            if relay.Request.From = port then
                                { relay with IsLast = true }
                            else
                                relay) }
        | _ -> Step.one (CloseNow port) state

    // What a stream, or a tunnel, belongs to.
    let private ofStream (port: PortId) (state: State) : RelayLink voption =
        match
            state.All
            |> Array.tryFind (fun relay -> relay.Path.Local = port && relay.Request.Stream = port)
        with
        | Some relay -> ValueSome relay
        | None -> ValueNone

    let private tick now (state: State) : Step<State, Output> =
        (Step.only state, state.All)
        ||> Array.fold (fun step relay ->
            match relay.Tunnel with
            | ValueSome dtls when DtlsTunnel.deadline dtls <= now ->
                step |> Step.bind (tunnel now DtlsTunnel.Tick relay)
            // Until the tunnel is open it waits for nothing, and afterwards the tunnel does not.
            | _ when TurnClient.deadline relay.Turn <= now ->
                step |> Step.bind (at now relay.Request.V4 TurnClient.Tick)
            | _ -> step)
        |> Step.bind (fun state ->
            (Step.only state, state.All)
            ||> Array.fold (fun step relay ->
                match relay.Tcp with
                | ValueSome tcp when TcpConnections.deadline tcp <= now ->
                    step |> Step.bind (connections now TcpConnections.Tick relay)
                | _ -> step))

    let private portClosed (port: PortId) (state: State) : State =
        { state with
            All =
                state.All
                // A stream has a socket of its own, and tells of its end by itself.
                |> Array.filter (fun relay -> relay.Request.From <> port || RelayTable.isStream relay) }

    // What a stream that carries a connection, or shall, belongs to.
    let private ofData (port: PortId) (take: RelayLink -> Step<State, Output>) (state: State) : Step<State, Output> =
        match RelayTable.tryTcp (TcpConnections.hasStream port) state with
        | ValueSome relay -> take relay
        | ValueNone -> Step.one (Ignored Drop.Stale) state

    // A message of a server's, on what the allocation was asked for by.
    let private control now (relay: RelayLink) (datagram: ReadOnlyMemory<byte>) (state: State) =
        match relay.Tcp, Message.read datagram.Span with
        | ValueSome _, ValueSome message when message.Method = Method.Connect ->
            connections now (TcpConnections.Received datagram) relay state
        | ValueSome _, ValueSome message when message.Method = Method.ConnectionAttempt && message.Class.IsIndication ->
            attempted now message relay state
        | _ -> turn now (TurnClient.Received datagram) relay state

    let private react now (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick -> tick now state
        | Allocate request -> allocate now request state
        // Of TCP it is where data goes already.
        | Bind path when RelayTable.streamOf path state <> ValueNone -> Step.only state
        | Permit path -> at now path.Local (TurnClient.Permit path.Remote.Address) state
        | Bind path -> at now path.Local (TurnClient.Bind path.Remote) state
        | Release port -> release now port state
        | ClosePort port -> closePort now port state
        | Connect(path, from) -> connect now path from state
        | Received(path, datagram) ->
            match RelayTable.indexOfPath path state with
            | -1 ->
                let data = path.Local

                ofData
                    data
                    (fun relay -> connections now (TcpConnections.DataReceived(data, datagram)) relay state)
                    state
            | i -> control now state.All[i] datagram state
        | Record(path, datagram) ->
            match RelayTable.indexOfTunnel path state with
            | -1 -> Step.one (Ignored Drop.Unexpected) state
            | i -> tunnel now (DtlsTunnel.Received datagram) state.All[i] state
        | CertificateVerified(port, refusal) ->
            match ofStream port state with
            | ValueSome relay -> tunnel now (DtlsTunnel.Verified refusal) relay state
            | ValueNone -> Step.one (Ignored Drop.Stale) state
        | StreamOpened port when RelayPorts.isData port ->
            ofData port (fun relay -> connections now (TcpConnections.StreamOpened port) relay state) state
        | StreamClosed(port, _) when RelayPorts.isData port ->
            ofData port (fun relay -> connections now (TcpConnections.StreamClosed port) relay state) state
        | StreamOpened port ->
            match ofStream port state with
            | ValueSome relay -> turn now (TurnClient.Start relay.Path.Remote) relay state
            | ValueNone -> Step.one (Ignored Drop.Stale) state
        | StreamClosed(port, reason) ->
            match ofStream port state with
            | ValueSome relay -> turn now (TurnClient.Closed reason) relay state
            | ValueNone -> Step.one (Ignored Drop.Stale) state
        | PortClosed port -> Step.only (portClosed port state)

    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick when now < state.Due -> Step.only state
        | _ ->
            let struct (state, outputs) = react now input state
            let mutable due = Instant.never

            for relay in state.All do
                due <- Instant.min due (TurnClient.deadline relay.Turn)

                match relay.Tunnel with
                | ValueSome tunnel -> due <- Instant.min due (DtlsTunnel.deadline tunnel)
                | ValueNone -> ()

                match relay.Tcp with
                | ValueSome tcp -> due <- Instant.min due (TcpConnections.deadline tcp)
                | ValueNone -> ()

            struct ({ state with Due = due }, outputs)
