namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// An allocation that ICE asks for. Its ports are the core's, even and negative: its addresses of either family, and the stream
/// that it travels by where it does (with DTLS, the core's own tunnel). The first names the allocation.
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
    {
        Request: RelayRequest
        /// By which its messages go and come: of a socket, or of a stream, which a tunnel counts as.
        Path: Path
        /// Where it is reached by DTLS.
        Tunnel: DtlsTunnel.State voption
        Turn: TurnClient.State
        /// Whether its socket is to be closed once it has left: nothing else uses it any more.
        IsLast: bool
    }

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
        /// Data goes by a channel on this path of ICE's from now on.
        | Bound of Path: Path
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

    /// Whether there is no allocation any more, none that is given back either.
    let isEmpty (state: State) : bool = state.All.Length = 0

    /// Whether a port is one that ICE has on a server.
    let inline isRelayed (port: PortId) : bool = port < 0<port> && int port &&& 1 = 0

    let private isStream (relay: RelayLink) : bool =
        match relay.Request.Transport with
        | ServerTransport.Tcp
        | ServerTransport.Tls -> true
        | _ -> false

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

    // The socket's path that a tunnel's records go by.
    let private outerPath (relay: RelayLink) : Path =
        { relay.Path with
            Local = relay.Request.From }

    let private indexOfTunnel (outer: Path) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && not (all[i].Tunnel.IsSome && (outerPath all[i]).Equals outer) do
            i <- i + 1

        if i < all.Length then i else -1

    let private portOf (address: Address) (request: RelayRequest) : PortId =
        if address.IsV4 then request.V4 else request.V6

    // Data.

    /// Whether a path leads to a server that we have, or ask for, an allocation on.
    let isServer (path: Path) (state: State) : bool =
        state.All.Length > 0 && indexOfPath path state >= 0

    /// Whether DTLS records that come by this path are a server's.
    let isTunnel (path: Path) (state: State) : bool =
        state.All.Length > 0 && indexOfTunnel path state >= 0

    // What a message to the server is in, and by which path it goes; so many of them.
    let private around now (count: int) (inner: RelayHeader voption) (relay: RelayLink) =
        match relay.Tunnel with
        | ValueNone -> struct (ValueSome(struct (relay.Path, inner)), relay)
        | ValueSome tunnel ->
            let struct (seal, tunnel) = DtlsTunnel.seal now count tunnel
            let relay = { relay with Tunnel = ValueSome tunnel }

            match seal with
            | ValueSome seal ->
                struct (ValueSome(struct (outerPath relay, ValueSome(RelayHeader.Sealed(seal, inner)))), relay)
            | ValueNone -> struct (ValueNone, relay)

    /// How `count` packets for a path of ICE's reach their peer: the path to the server, and what the first is wrapped in.
    /// ValueNone: they may not, or not any more.
    let wrap
        now
        (count: int)
        (path: Path)
        (state: State)
        : struct (struct (Path * RelayHeader voption) voption * State) =
        match indexOf path.Local state with
        | -1 -> struct (ValueNone, state)
        | i ->
            let relay = state.All[i]
            let struct (header, turn) = TurnClient.wrap path.Remote relay.Turn

            match header with
            | ValueNone -> struct (ValueNone, state)
            | ValueSome(RelayHeader.Channel _) when relay.Tunnel.IsNone ->
                struct (ValueSome(struct (relay.Path, header)), state)
            | ValueSome _ ->
                let struct (way, relay) = around now count header { relay with Turn = turn }

                struct (way,
                        { state with
                            All = Array.updateAt i relay state.All })

    /// Octets around a packet by this path of ICE's as `wrap` has it now: the one rule for what a relayed packet leaves room for.
    /// ChannelData, or an indication until the channel is bound, and a record where the server is spoken to by DTLS.
    let overhead (path: Path) (state: State) : int =
        match indexOf path.Local state with
        | -1 -> 0
        | i ->
            TurnClient.overhead path.Remote state.All[i].Turn
            + (if state.All[i].Tunnel.IsSome then
                   DtlsTunnel.Overhead
               else
                   0)

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

    let private without (relay: RelayLink) (state: State) : State =
        { state with
            All = state.All |> Array.filter (fun other -> other.Request.V4 <> relay.Request.V4) }

    // The end of what it is reached by.
    let private hangUp now (relay: RelayLink) : Output list =
        match relay.Tunnel with
        | ValueSome tunnel ->
            let struct (_, outputs) = DtlsTunnel.step now DtlsTunnel.Close tunnel

            [ for output in outputs do
                  match output with
                  | DtlsTunnel.Transmit datagram -> TransmitHandshake(outerPath relay, datagram)
                  | _ -> () ]
        | ValueNone ->
            [ if isStream relay then
                  CloseNow relay.Request.Stream ]

    let private drop now (relay: RelayLink) (state: State) : Step<State, Output> =
        let rest = without relay state

        let isAwaited =
            rest.All |> Array.exists (fun other -> other.Request.From = relay.Request.From)

        struct (rest,
                [ yield! hangUp now relay
                  if relay.IsLast && not isAwaited then
                      CloseNow relay.Request.From ])

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
                    | TurnClient.Transmit message ->
                        match around now 1 ValueNone relay with
                        | struct (ValueSome(struct (path, header)), relay) ->
                            Step.one (Transmit(path, message, header)) (put relay state)
                        | struct (ValueNone, _) -> Step.only state
                    | TurnClient.Redirected(server, domain) -> redirected now server domain relay state
                    | TurnClient.Allocated(relayed, mapped) -> Step.one (Allocated(port, relayed, mapped)) state
                    | TurnClient.Failed(code, text) ->
                        Step.one (Failed(port, code, text)) state |> Step.bind (drop now relay)
                    | TurnClient.Lost _ -> Step.one (Lost port) state |> Step.bind (drop now relay)
                    | TurnClient.Left -> drop now relay state
                    | TurnClient.Bound peer ->
                        let path =
                            { Local = portOf peer.Address relay.Request
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
            indexOfPath relay.Path state >= 0 || indexOfTunnel (outerPath relay) state >= 0

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
        | ServerTransport.Udp -> turn now (TurnClient.Start server) relay (put relay state)
        | ServerTransport.Dtls ->
            let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize state.Entropy

            let relay =
                { relay with
                    Request = { relay.Request with ServerName = name }
                    Tunnel = ValueSome(DtlsTunnel.create state.Ciphers (Entropy.ofSeed (ReadOnlySpan seed))) }

            // An address is no host name, RFC 6066 §3.
            let asked = if (Address.parse name).IsSome then "" else name
            tunnel now (DtlsTunnel.Start asked) relay (put relay { state with Entropy = entropy })
        | _ -> Step.one (openStream server name relay) (put relay state)

    and private tunnel now (input: DtlsTunnel.Input) (relay: RelayLink) (state: State) : Step<State, Output> =
        match relay.Tunnel with
        | ValueNone -> Step.one (Ignored Drop.Unexpected) state
        | ValueSome before ->
            let port = relay.Request.V4
            let struct (part, outputs) = DtlsTunnel.step now input before
            let state = put { relay with Tunnel = ValueSome part } state

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
                                Step.one (TransmitHandshake(outerPath relay, datagram)) state
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
        if state.All.Length >= MaxRelays || indexOf request.V4 state >= 0 then
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
                  IsLast = false
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

            reach now request.ServerName relay state

    // Of an allocation, where there is one.
    let private at now (port: PortId) (input: TurnClient.Input) (state: State) : Step<State, Output> =
        match indexOf port state with
        | -1 -> Step.one (Ignored Drop.Stale) state
        | i -> turn now input state.All[i] state

    let private release now (port: PortId) (state: State) : Step<State, Output> =
        match indexOf port state with
        | -1 -> Step.only state
        | i -> turn now TurnClient.Release state.All[i] state

    let private closePort (port: PortId) (state: State) : Step<State, Output> =
        let leaves (relay: RelayLink) =
            relay.Request.From = port && TurnClient.isLeaving relay.Turn

        if Array.exists leaves state.All then
            Step.only
                { state with
                    All =
                        state.All
                        |> Array.map (fun relay ->
                            if relay.Request.From = port then
                                { relay with IsLast = true }
                            else
                                relay) }
        else
            Step.one (CloseNow port) state

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

    let private portClosed (port: PortId) (state: State) : State =
        { state with
            All =
                state.All
                // A stream has a socket of its own, and tells of its end by itself.
                |> Array.filter (fun relay -> relay.Request.From <> port || isStream relay) }

    let private react now (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick -> tick now state
        | Allocate request -> allocate now request state
        | Permit path -> at now path.Local (TurnClient.Permit path.Remote.Address) state
        | Bind path -> at now path.Local (TurnClient.Bind path.Remote) state
        | Release port -> release now port state
        | ClosePort port -> closePort port state
        | Received(path, datagram) ->
            match indexOfPath path state with
            | -1 -> Step.one (Ignored Drop.Unexpected) state
            | i -> turn now (TurnClient.Received datagram) state.All[i] state
        | Record(path, datagram) ->
            match indexOfTunnel path state with
            | -1 -> Step.one (Ignored Drop.Unexpected) state
            | i -> tunnel now (DtlsTunnel.Received datagram) state.All[i] state
        | CertificateVerified(port, refusal) ->
            match ofStream port state with
            | ValueSome relay -> tunnel now (DtlsTunnel.Verified refusal) relay state
            | ValueNone -> Step.one (Ignored Drop.Stale) state
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

            struct ({ state with Due = due }, outputs)
