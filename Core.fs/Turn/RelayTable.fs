namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core

/// The allocations of a peer, and how its packets find them: what `Relays` changes, and what every packet asks.
[<RequireQualifiedAccess>]
module internal RelayTable =
    [<NoComparison; NoEquality>]
    type State =
        {
            Ciphers: ICiphers
            All: RelayLink[]
            /// The number of the next stream that carries a connection.
            NextData: PortId
            Entropy: Entropy
            Due: Instant
        }

    let create (ciphers: ICiphers) (entropy: Entropy) : State =
        { Ciphers = ciphers
          All = [||]
          NextData = RelayPorts.firstData
          Entropy = entropy
          Due = Instant.never }

    let isStream (relay: RelayLink) : bool =
        match relay.Request.Transport with
        | ServerTransport.Tcp
        | ServerTransport.Tls -> true
        | _ -> false

    let indexOf (port: PortId) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && all[i].Request.V4 <> port && all[i].Request.V6 <> port do
            i <- i + 1

        if i < all.Length then i else -1

    let indexOfPath (path: Path) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && not (all[i].Path.Equals path) do
            i <- i + 1

        if i < all.Length then i else -1

    // The socket's path that a tunnel's records go by.
    let outerPath (relay: RelayLink) : Path =
        { relay.Path with
            Local = relay.Request.From }

    let indexOfTunnel (outer: Path) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && not (all[i].Tunnel.IsSome && (outerPath all[i]).Equals outer) do
            i <- i + 1

        if i < all.Length then i else -1

    let portOf (address: Address) (request: RelayRequest) : PortId =
        if address.IsV4 then request.V4 else request.V6

    // The allocation whose connections have what `has` looks for.
    let tryTcp (has: TcpConnections.State -> bool) (state: State) : RelayLink voption =
        let mutable found = ValueNone

        for relay in state.All do
            match relay.Tcp with
            | ValueSome tcp when has tcp -> found <- ValueSome relay
            | _ -> ()

        found

    // Data.

    // By which stream a connection of ours goes; ValueNone where there is none.
    let streamOf (path: Path) (state: State) : Path voption =
        let all = state.All
        let mutable found = ValueNone
        let mutable i = 0

        while found.IsNone && i < all.Length do
            match all[i].Tcp with
            | ValueSome tcp ->
                match TcpConnections.streamOf path tcp with
                | ValueSome data ->
                    found <-
                        ValueSome
                            { Local = data
                              Remote = all[i].Path.Remote }
                | ValueNone -> ()
            | ValueNone -> ()

            i <- i + 1

        found

    /// Which path of ICE's a stream carries, RFC 6062 §4.5; ValueNone while it carries none.
    let carried (data: PortId) (state: State) : Path voption =
        let all = state.All
        let mutable found = ValueNone
        let mutable i = 0

        while found.IsNone && i < all.Length do
            match all[i].Tcp with
            | ValueSome tcp -> found <- TcpConnections.pathOf data tcp
            | ValueNone -> ()

            i <- i + 1

        found

    /// Whether what comes by a path is a connection's.
    let carries (path: Path) (state: State) : bool =
        RelayPorts.isData path.Local && (carried path.Local state).IsSome

    /// Whether a path leads to a server that we have, or ask for, an allocation on.
    let isServer (path: Path) (state: State) : bool =
        state.All.Length > 0 && indexOfPath path state >= 0

    /// Whether DTLS records that come by this path are a server's.
    let isTunnel (path: Path) (state: State) : bool =
        state.All.Length > 0 && indexOfTunnel path state >= 0

    // What a message to the server is in, and by which path it goes; so many of them.
    let around now (count: int) (inner: RelayHeader voption) (relay: RelayLink) =
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
        | i when i < 0 || state.All[i].Tcp.IsSome ->
            match streamOf path state with
            | ValueSome stream -> struct (ValueSome(struct (stream, ValueNone)), state)
            | ValueNone -> struct (ValueNone, state)
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
        // A connection's frames have nothing around them that a datagram could lack.
        | i when i < 0 || state.All[i].Tcp.IsSome -> 0
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
        | -1 when RelayPorts.isData path.Local ->
            match carried path.Local state with
            | ValueSome inner -> ValueSome(struct (inner, datagram))
            | ValueNone -> ValueNone
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

    let put (relay: RelayLink) (state: State) : State =
        { state with
            All =
                state.All
                |> Array.map (fun other -> if other.Request.V4 = relay.Request.V4 then relay else other) }

    let without (relay: RelayLink) (state: State) : State =
        { state with
            All = state.All |> Array.filter (fun other -> other.Request.V4 <> relay.Request.V4) }
