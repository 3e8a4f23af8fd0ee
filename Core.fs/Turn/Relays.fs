namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// An allocation that ICE asks for. Its ports are the core's, even and negative: its addresses of either family, and the stream
/// that it travels by where it does. The first names the allocation.
[<NoComparison; NoEquality>]
type RelayRequest =
    {
        V4: PortId
        V6: PortId
        Stream: PortId
        /// The socket that it is asked for from, or whose interface the stream leaves by.
        From: PortId
        Transport: ServerTransport
        Server: Endpoint
        /// Of the URL; what a certificate must name.
        ServerName: string
        Username: string
        Password: string
    }

/// An allocation of a peer's, and how messages reach its server.
[<NoComparison; NoEquality>]
type internal RelayLink =
    { Request: RelayRequest
      Path: Path
      Turn: TurnClient.State }

/// All allocations of a peer: between the ports of the shell, and the ports that ICE has on TURN servers.
[<RequireQualifiedAccess>]
module internal Relays =
    [<NoComparison; NoEquality>]
    type State =
        private
            { Ciphers: ICiphers
              All: RelayLink[]
              Entropy: Entropy
              Due: Instant }

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        | Allocate of RelayRequest
        /// Packets from the peer, and to it, shall pass: `Path` is of one of our ports there.
        | Permit of Path: Path
        /// This is where data goes.
        | Bind of Path: Path
        | Release of Port: PortId
        /// A STUN message of TURN's, by a path of ours to a server.
        | Received of Path: Path * Datagram: ReadOnlyMemory<byte>
        | StreamOpened of Port: PortId
        | StreamClosed of Port: PortId * Reason: string
        /// The shell's socket is gone, and with it what was allocated from it.
        | PortClosed of Port: PortId

    [<NoComparison; NoEquality>]
    type Output =
        | Transmit of Path: Path * Message: Outgoing
        | OpenStream of Port: PortId * Kind: StreamKind * From: PortId * To: Endpoint * ServerName: string
        | CloseStream of Port: PortId
        | Allocated of Port: PortId * Relayed: Endpoint[] * Mapped: Endpoint voption
        | Failed of Port: PortId * Code: int * Text: string
        | Lost of Port: PortId
        | Ignored of Drop

    /// Allocations of one peer: as many as two generations of gathering may ask for.
    [<Literal>]
    let private MaxRelays = 64

    let create (ciphers: ICiphers) (entropy: Entropy) : State =
        { Ciphers = ciphers
          All = [||]
          Entropy = entropy
          Due = Instant.never }

    let deadline (state: State) : Instant = state.Due

    /// Whether a port is one that ICE has on a server.
    let inline isRelayed (port: PortId) : bool = port < 0<port> && int port &&& 1 = 0

    let private isStream (relay: RelayLink) : bool =
        match relay.Request.Transport with
        | ServerTransport.Udp -> false
        | _ -> true

    let private indexOf (port: PortId) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && all[i].Request.V4 <> port && all[i].Request.V6 <> port do
            i <- i + 1

        if i < all.Length then i else -1

    let private indexOfPath (path: Path) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && not (all[i].Path.Equals path) do
            i <- i + 1

        if i < all.Length then i else -1

    let private portOf (address: Address) (request: RelayRequest) : PortId =
        if address.IsV4 then request.V4 else request.V6

    // Data.

    /// Whether a path leads to a server that we have, or ask for, an allocation on.
    let isServer (path: Path) (state: State) : bool =
        state.All.Length > 0 && indexOfPath path state >= 0

    /// How a packet for a path of ICE's reaches its peer: the path to the server, and what it is wrapped in. ValueNone: it may
    /// not, or not any more.
    let wrap (path: Path) (state: State) : struct (struct (Path * RelayHeader) voption * State) =
        match indexOf path.Local state with
        | -1 -> struct (ValueNone, state)
        | i ->
            let relay = state.All[i]
            let struct (header, turn) = TurnClient.wrap path.Remote relay.Turn

            match header with
            | ValueSome(RelayHeader.Channel _ as header) -> struct (ValueSome(struct (relay.Path, header)), state)
            | ValueSome header ->
                struct (ValueSome(struct (relay.Path, header)),
                        { state with
                            All = Array.updateAt i { relay with Turn = turn } state.All })
            | ValueNone -> struct (ValueNone, state)

    /// A packet that came from a server: by which path of ICE's, and the packet, in place. ValueNone: it carries none that was
    /// asked for.
    let unwrap (path: Path) (datagram: Memory<byte>) (state: State) : struct (Path * Memory<byte>) voption =
        match indexOfPath path state with
        | -1 -> ValueNone
        | i ->
            let relay = state.All[i]
            let bytes = Span.op_Implicit datagram.Span

            match ChannelData.read bytes with
            | ValueSome(struct (channel, length)) ->
                match TurnClient.peerOf channel relay.Turn with
                | ValueSome peer ->
                    ValueSome(
                        struct ({ Local = portOf peer.Address relay.Request
                                  Remote = peer },
                                datagram.Slice(ChannelData.HeaderSize, length))
                    )
                | ValueNone -> ValueNone
            | ValueNone ->
                match DataIndication.read bytes with
                | ValueSome(struct (peer, offset, length)) when TurnClient.isPermitted peer.Address relay.Turn ->
                    ValueSome(
                        struct ({ Local = portOf peer.Address relay.Request
                                  Remote = peer },
                                datagram.Slice(offset, length))
                    )
                | _ -> ValueNone

    // Allocations.

    let private put (relay: RelayLink) (state: State) : State =
        { state with
            All =
                state.All
                |> Array.map (fun other -> if other.Request.V4 = relay.Request.V4 then relay else other) }

    let private drop (relay: RelayLink) (state: State) : Step<State, Output> =
        let rest =
            { state with
                All = state.All |> Array.filter (fun other -> other.Request.V4 <> relay.Request.V4) }

        if isStream relay then
            Step.one (CloseStream relay.Request.Stream) rest
        else
            Step.only rest

    let private openStream (server: Endpoint) (name: string) (relay: RelayLink) : Output =
        let kind =
            match relay.Request.Transport with
            | ServerTransport.Tls -> StreamKind.TurnTls
            | _ -> StreamKind.TurnTcp

        OpenStream(
            relay.Request.Stream,
            kind,
            relay.Request.From,
            server,
            (if kind = StreamKind.TurnTls then name else "")
        )

    let rec private turn now (input: TurnClient.Input) (relay: RelayLink) (state: State) : Step<State, Output> =
        let struct (part, outputs) = TurnClient.step now input relay.Turn
        let port = relay.Request.V4

        put { relay with Turn = part } state
        |> Step.route
            (fun output state ->
                // As it is by now; it may be gone.
                match state.All |> Array.tryFind (fun other -> other.Request.V4 = port) with
                | None -> Step.only state
                | Some relay ->
                    match output with
                    | TurnClient.Transmit message -> Step.one (Transmit(relay.Path, message)) state
                    | TurnClient.Redirected(server, domain) -> redirected now server domain relay state
                    | TurnClient.Allocated(relayed, mapped) -> Step.one (Allocated(port, relayed, mapped)) state
                    | TurnClient.Failed(code, text) ->
                        Step.one (Failed(port, code, text)) state |> Step.bind (drop relay)
                    | TurnClient.Lost _ -> Step.one (Lost port) state |> Step.bind (drop relay)
                    // Its checks will fail.
                    | TurnClient.Denied _ -> Step.only state
                    | TurnClient.Ignored reason -> Step.one (Ignored reason) state)
            outputs

    // RFC 8489 §10: by the same transport.
    and private redirected now (server: Endpoint) (domain: string voption) (relay: RelayLink) (state: State) =
        let relay =
            { relay with
                Path = { relay.Path with Remote = server } }

        if indexOfPath relay.Path state >= 0 then
            // There is an allocation on it by this very path.
            turn now (TurnClient.Closed "The server sent us to one that is asked already.") relay state
        elif isStream relay then
            let name = domain |> ValueOption.defaultValue relay.Request.ServerName

            struct (put relay state, [ CloseStream relay.Request.Stream; openStream server name relay ])
        else
            turn now (TurnClient.Start server) relay (put relay state)

    let private allocate now (request: RelayRequest) (state: State) : Step<State, Output> =
        if state.All.Length >= MaxRelays || indexOf request.V4 state >= 0 then
            Step.one (Failed(request.V4, 701, "There are too many allocations.")) state
        else
            let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize state.Entropy
            let isReliable = request.Transport <> ServerTransport.Udp

            let relay =
                { Request = request
                  Path =
                    { Local = if isReliable then request.Stream else request.From
                      Remote = request.Server }
                  Turn =
                    TurnClient.create
                        { Ciphers = state.Ciphers
                          Username = request.Username
                          Password = request.Password
                          IsReliable = isReliable
                          Families = RelayFamilies.Both }
                        (Entropy.ofSeed (ReadOnlySpan seed)) }

            let state =
                { state with
                    Entropy = entropy
                    All = Array.append state.All [| relay |] }

            if isReliable then
                Step.one (openStream request.Server request.ServerName relay) state
            else
                turn now (TurnClient.Start request.Server) relay state

    // Of an allocation, where there is one.
    let private at now (port: PortId) (input: TurnClient.Input) (state: State) : Step<State, Output> =
        match indexOf port state with
        | -1 -> Step.one (Ignored Drop.Stale) state
        | i -> turn now input state.All[i] state

    let private release now (port: PortId) (state: State) : Step<State, Output> =
        match indexOf port state with
        | -1 -> Step.only state
        | i ->
            turn now TurnClient.Release state.All[i] state
            |> Step.bind (fun state ->
                match indexOf port state with
                | -1 -> Step.only state
                | i -> drop state.All[i] state)

    let private ofStream (port: PortId) (state: State) : RelayLink voption =
        match
            state.All
            |> Array.tryFind (fun relay -> isStream relay && relay.Request.Stream = port)
        with
        | Some relay -> ValueSome relay
        | None -> ValueNone

    let private tick now (state: State) : Step<State, Output> =
        (Step.only state, state.All)
        ||> Array.fold (fun step relay ->
            if TurnClient.deadline relay.Turn <= now then
                step |> Step.bind (at now relay.Request.V4 TurnClient.Tick)
            else
                step)

    let private portClosed (port: PortId) (state: State) : Step<State, Output> =
        (Step.only state, state.All)
        ||> Array.fold (fun step relay ->
            // A stream has a socket of its own, and tells of its end by itself.
            if relay.Request.From = port && not (isStream relay) then
                step |> Step.bind (drop relay)
            else
                step)

    let private react now (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick -> tick now state
        | Allocate request -> allocate now request state
        | Permit path -> at now path.Local (TurnClient.Permit path.Remote.Address) state
        | Bind path -> at now path.Local (TurnClient.Bind path.Remote) state
        | Release port -> release now port state
        | Received(path, datagram) ->
            match indexOfPath path state with
            | -1 -> Step.one (Ignored Drop.Unexpected) state
            | i -> turn now (TurnClient.Received datagram) state.All[i] state
        | StreamOpened port ->
            match ofStream port state with
            | ValueSome relay -> turn now (TurnClient.Start relay.Path.Remote) relay state
            | ValueNone -> Step.one (Ignored Drop.Stale) state
        | StreamClosed(port, reason) ->
            match ofStream port state with
            | ValueSome relay -> turn now (TurnClient.Closed reason) relay state
            | ValueNone -> Step.one (Ignored Drop.Stale) state
        | PortClosed port -> portClosed port state

    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick when now < state.Due -> Step.only state
        | _ ->
            let struct (state, outputs) = react now input state
            let mutable due = Instant.never

            for relay in state.All do
                due <- Instant.min due (TurnClient.deadline relay.Turn)

            struct ({ state with Due = due }, outputs)
