namespace Hybrid.WebRtc.Core.Turn

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// What clients do with an allocation that they have: RFC 8656 §8 to §12.
[<RequireQualifiedAccess>]
module internal Serving =
    /// RFC 8656 §9: permissions last 5 minutes.
    let private permissionLifetime = Duration.seconds 300L

    /// RFC 8656 §12: channels last 10 minutes.
    let private channelLifetime = Duration.seconds 600L

    /// The largest UDP payload over IPv4.
    [<Literal>]
    let private MaxDatagram = 65_507

    let private peersIn (request: Request) : Endpoint[] =
        request.Message.Attributes
        |> Array.choose (fun attribute ->
            match attribute with
            | XorPeerAddress peer -> Some peer
            | _ -> None)

    /// Forgets what is over: done only where an allocation has no room left, so that it costs nothing else anything.
    let private purged (now: Instant) (allocation: Allocation) : Allocation =
        let live =
            (Trie.empty, allocation.Permissions)
            ||> Trie.fold (fun live peer at -> if now < at then Trie.set peer at live else live)

        let channels =
            ([], allocation.Channels)
            ||> Trie.fold (fun live _ channel -> if now < channel.ExpiresAt then channel :: live else live)

        { allocation with
            Permissions = live
            Numbers =
                channels
                |> List.fold (fun t channel -> Trie.set (int channel.Number) channel t) Trie.empty
            Channels =
                channels
                |> List.fold (fun t channel -> Trie.set channel.Peer channel t) Trie.empty }

    /// With permissions for these peers; ValueNone where there is no room for all of them.
    let private permit (now: Instant) (limits: TurnLimits) (peers: Endpoint[]) (allocation: Allocation) =
        let add (allocation: Allocation) =
            { allocation with
                Permissions =
                    (allocation.Permissions, peers)
                    ||> Array.fold (fun t peer -> Trie.set peer.Address (now + permissionLifetime) t) }

        let fits (allocation: Allocation) =
            allocation.Permissions.Count <= limits.Permissions

        match add allocation with
        | more when fits more -> ValueSome more
        | _ ->
            match add (purged now allocation) with
            | more when fits more -> ValueSome more
            | _ -> ValueNone

    /// Why a client may not have these peers; the first that stands against them.
    let private objection (peers: Endpoint[]) (allocation: Allocation) (s: TurnServerState) =
        let found =
            peers |> Array.map (fun peer -> Tables.objection peer.Address allocation s)

        // 443 before 403, whichever the order of the peers.
        let isMismatch (objection: struct (int * string) voption) =
            match objection with
            | ValueSome(struct (443, _)) -> true
            | _ -> false

        match Array.tryFind isMismatch found with
        | Some mismatch -> mismatch
        | None ->
            match Array.tryFind ValueOption.isSome found with
            | Some objection -> objection
            | None -> ValueNone

    let createPermission now (request: Request) (allocation: Allocation) (s: TurnServerState) =
        let peers = peersIn request

        if peers.Length = 0 then
            Answering.refuse 400 "XOR-PEER-ADDRESS is missing" request s
        else
            match objection peers allocation s with
            | ValueSome(struct (code, reason)) -> Answering.refuse code reason request s
            | ValueNone ->
                match permit now s.Config.Limits peers allocation with
                | ValueNone -> Answering.refuse 508 "Insufficient Capacity" request s
                | ValueSome allocation ->
                    s
                    |> Tables.withFlow request.Path (Flow.Open allocation)
                    |> Answering.success request [||]

    let private live (now: Instant) (found: Channel voption) : Channel voption =
        match found with
        | ValueSome channel when now < channel.ExpiresAt -> found
        | _ -> ValueNone

    /// Binds a channel or refreshes it; ValueNone where there is no room.
    let private bind (now: Instant) (limits: TurnLimits) (channel: Channel) (allocation: Allocation) =
        let add (allocation: Allocation) =
            // What is over may stand in the way under the other of its two keys.
            let over =
                match Trie.tryFind (int channel.Number) allocation.Numbers with
                | ValueSome old when not (old.Peer.Equals channel.Peer) -> Trie.remove old.Peer allocation.Channels
                | _ -> allocation.Channels

            let numbers =
                match Trie.tryFind channel.Peer allocation.Channels with
                | ValueSome old when old.Number <> channel.Number -> Trie.remove (int old.Number) allocation.Numbers
                | _ -> allocation.Numbers

            { allocation with
                Numbers = Trie.set (int channel.Number) channel numbers
                Channels = Trie.set channel.Peer channel over }

        let fits (allocation: Allocation) =
            allocation.Channels.Count <= limits.Channels

        match add allocation with
        | more when fits more -> permit now limits [| channel.Peer |] more
        | _ ->
            match add (purged now allocation) with
            | more when fits more -> permit now limits [| channel.Peer |] more
            | _ -> ValueNone

    let channelBind now (request: Request) (allocation: Allocation) (s: TurnServerState) =
        let number =
            request.Message
            |> Message.pick (function
                | ChannelNumber number -> ValueSome number
                | _ -> ValueNone)

        match number, peersIn request with
        | _ when allocation.IsTcp -> Answering.refuse 400 "A relayed address of TCP has no channels" request s
        | ValueSome number, peers when peers.Length > 0 && ChannelData.isChannel number ->
            let peer = peers[0]
            let ofNumber = live now (Trie.tryFind (int number) allocation.Numbers)
            let ofPeer = live now (Trie.tryFind peer allocation.Channels)

            match ofNumber, ofPeer with
            | ValueSome channel, _ when not (channel.Peer.Equals peer) ->
                Answering.refuse 400 "The channel is bound to another peer" request s
            | _, ValueSome channel when channel.Number <> number ->
                Answering.refuse 400 "The peer is bound to another channel" request s
            | _ ->
                match objection [| peer |] allocation s with
                | ValueSome(struct (code, reason)) -> Answering.refuse code reason request s
                | ValueNone ->
                    let channel =
                        { Number = number
                          Peer = peer
                          ExpiresAt = now + channelLifetime }

                    match bind now s.Config.Limits channel allocation with
                    | ValueNone -> Answering.refuse 508 "Insufficient Capacity" request s
                    | ValueSome allocation ->
                        s
                        |> Tables.withFlow request.Path (Flow.Open allocation)
                        |> Answering.success request [||]
        | _ -> Answering.refuse 400 "CHANNEL-NUMBER, from 0x4000 to 0x7FFF, or XOR-PEER-ADDRESS is missing" request s

    /// Without one of its two families: with it go its permissions and channels, RFC 8656 §8.1.
    let private withoutFamily (v4: bool) (allocation: Allocation) : Allocation =
        let gone (address: Address) = address.IsV4 = v4

        { allocation with
            V4 = if v4 then ValueNone else allocation.V4
            V6 = if v4 then allocation.V6 else ValueNone
            Permissions =
                (allocation.Permissions, allocation.Permissions)
                ||> Trie.fold (fun t peer _ -> if gone peer then Trie.remove peer t else t)
            Numbers =
                (allocation.Numbers, allocation.Numbers)
                ||> Trie.fold (fun t number channel ->
                    if gone channel.Peer.Address then
                        Trie.remove number t
                    else
                        t)
            Channels =
                (allocation.Channels, allocation.Channels)
                ||> Trie.fold (fun t peer _ -> if gone peer.Address then Trie.remove peer t else t)
            Connections =
                (allocation.Connections, allocation.Connections)
                ||> Trie.fold (fun t peer _ -> if gone peer.Address then Trie.remove peer t else t) }

    /// The allocation with its timer set anew.
    let private rearmed (path: Path) (allocation: Allocation) (s: TurnServerState) : TurnServerState =
        let at =
            Tables.relaysOf allocation
            |> List.fold (fun earliest relay -> Instant.min earliest relay.ExpiresAt) Instant.never

        let struct (timer, s) =
            s |> Tables.disarm allocation.Timer |> Tables.arm at (FlowDue path)

        Tables.withFlow path (Flow.Open { allocation with Timer = timer }) s

    /// Ends one relay of an allocation, and the allocation with its last one.
    let release (path: Path) (reason: DeallocationReason) (relay: Relay) (allocation: Allocation) (s: TurnServerState) =
        match Tables.relaysOf allocation with
        | [ _; _ ] ->
            s
            |> Tables.release [ relay ] allocation
            |> Step.bind (fun s -> Step.only (rearmed path (withoutFamily relay.Endpoint.Address.IsV4 allocation) s))
        | _ -> Tables.deallocate path reason allocation s

    let refresh now (request: Request) (allocation: Allocation) (s: TurnServerState) =
        let path = request.Path
        let asked = Allocating.lifetimeIn request

        let concerned =
            match Allocating.familyIn request with
            | ValueNone -> Tables.relaysOf allocation
            | ValueSome Allocating.V4Family -> allocation.V4 |> ValueOption.toList
            | ValueSome Allocating.V6Family -> allocation.V6 |> ValueOption.toList
            | ValueSome _ -> []

        match concerned with
        | [] -> Answering.refuse 443 "Peer Address Family Mismatch" request s
        | _ when asked = ValueSome 0u ->
            let struct (s, answer) = Answering.success request [| Lifetime 0u |] s

            let struct (s, closed) =
                match concerned with
                | [ relay ] -> release path DeallocationReason.Released relay allocation s
                | _ -> Tables.deallocate path DeallocationReason.Released allocation s

            struct (s, answer @ closed)
        | _ ->
            let at = Tables.expiry now (Allocating.granted s.Config.Limits asked)

            let renewed (relay: Relay voption) =
                match relay with
                | ValueSome r when concerned |> List.exists (fun c -> c.Id = r.Id) ->
                    ValueSome { r with ExpiresAt = at }
                | _ -> relay

            s
            |> rearmed
                path
                { allocation with
                    V4 = renewed allocation.V4
                    V6 = renewed allocation.V6 }
            |> Answering.success request [| Allocating.lifetimeUntil at now |]

    /// An allocation's time is up, or that of one of its families.
    let expire now (path: Path) (s: TurnServerState) =
        match Tables.allocationOf path s with
        | ValueNone -> Step.only s
        | ValueSome allocation ->
            match Tables.relaysOf allocation |> List.filter (fun relay -> relay.ExpiresAt <= now) with
            | [ relay ] -> release path DeallocationReason.Expired relay allocation s
            | _ -> Tables.deallocate path DeallocationReason.Expired allocation s

    /// With the credit of `octets` taken; ValueNone where there is not so much. Asked only where there is a bound.
    let private charged now (octets: int) (allocation: Allocation) (s: TurnServerState) =
        let rate = s.Config.Limits.OctetsPerSecond
        let struct (left, at) = allocation.Credit
        // A second's worth at most, so the product fits.
        let since = min (Duration.seconds 1L) (now - at)
        let credit = min rate (left + int64 (float rate * float since / 1e6))

        if credit < int64 octets then
            ValueNone
        else
            ValueSome
                { allocation with
                    Credit = struct (credit - int64 octets, now) }

    /// Lets a packet pass, within the bound there may be.
    let private passing now (path: Path) (octets: int) (allocation: Allocation) (output: TurnServerOutput) s =
        if s.Config.Limits.OctetsPerSecond = Int64.MaxValue then
            Step.one output s
        else
            match charged now octets allocation s with
            | ValueSome charged -> Step.one output (Tables.withFlow path (Flow.Open charged) s)
            | ValueNone -> Step.one (Ignored Drop.TooMany) s

    /// To a peer, where that is permitted. `Data` is lent.
    let private forward now path (peer: Endpoint) (data: ReadOnlyMemory<byte>) mayFragment (allocation: Allocation) s =
        match Tables.relayFor peer.Address allocation with
        | ValueSome relay when not allocation.IsTcp && Tables.isPermitted now peer.Address allocation ->
            passing now path data.Length allocation (Forward(relay.Id, peer, data, mayFragment)) s
        | _ -> Step.one (Ignored Drop.Unvalidated) s

    /// ChannelData of a client, RFC 8656 §12.6.
    let channelData now (path: Path) (bytes: Memory<byte>) (s: TurnServerState) =
        match ChannelData.readFromClient (Span.op_Implicit bytes.Span), Tables.allocationOf path s with
        | ValueNone, _ -> Step.one (Ignored Drop.Malformed) s
        | _, ValueNone -> Step.one (Ignored Drop.Unexpected) s
        | ValueSome(struct (number, length)), ValueSome allocation ->
            match live now (Trie.tryFind (int number) allocation.Numbers) with
            | ValueSome channel ->
                let data = bytes.Slice(ChannelData.HeaderSize, length)
                forward now path channel.Peer (Memory.op_Implicit data) true allocation s
            | ValueNone -> Step.one (Ignored Drop.Unvalidated) s

    /// A Send indication, RFC 8656 §11.2. Read in place: it is what data travels in where no channel is bound.
    let send now (path: Path) (bytes: Memory<byte>) (s: TurnServerState) =
        match SendIndication.read (Span.op_Implicit bytes.Span), Tables.allocationOf path s with
        | ValueNone, _ -> Step.one (Ignored Drop.Malformed) s
        | _, ValueNone -> Step.one (Ignored Drop.Unexpected) s
        | ValueSome sent, ValueSome allocation ->
            let data = bytes.Slice(sent.DataAt, sent.DataLength)
            forward now path sent.Peer (Memory.op_Implicit data) sent.MayFragment allocation s

    // What tells indications apart: nothing answers them, so a trace alone has to.
    let private indicationId (now: Instant) (peer: Endpoint) : TransactionId =
        { High = uint32 (int64 now)
          Low = (uint64 now ^^^ (uint64 peer.Port <<< 48)) * 0x9e3779b97f4a7c15UL }

    /// A datagram of a peer's, RFC 8656 §11.3 and §12.7.
    let fromPeer now (relay: int) (peer: Endpoint) (bytes: Memory<byte>) (s: TurnServerState) =
        match Trie.tryFind relay s.Held.Relays with
        | ValueSome(OfFlow path) ->
            match Tables.allocationOf path s with
            | ValueSome allocation when Tables.isPermitted now peer.Address allocation ->
                let data: ReadOnlyMemory<byte> = Memory.op_Implicit bytes

                let packet =
                    match live now (Trie.tryFind peer allocation.Channels) with
                    | ValueSome channel -> TurnPacket.Channel(channel.Number, data)
                    | ValueNone -> TurnPacket.Indication(indicationId now peer, peer, data)

                if packet.Size > MaxDatagram then
                    Step.one (Ignored Drop.Unsupported) s
                else
                    passing now path data.Length allocation (Transmit(path, packet)) s
            | ValueSome _ -> Step.one (Ignored Drop.Unvalidated) s
            | ValueNone -> Step.one (Ignored Drop.Unexpected) s
        | ValueSome(OfReservation _) -> Step.one (Ignored Drop.Unexpected) s
        | ValueNone -> Step.one (Ignored Drop.Stale) s

/// A TURN and STUN server, RFC 8656 and RFC 8489: one machine for all its clients.
///
///     Binding ─────────────────────────▶ success
///     Allocate ── 401 ── credentials ──▶ Opening ── sockets ──▶ Open ── Refresh… ── Refresh 0, expiry, disconnection ──▶ closed
///     Open: CreatePermission, ChannelBind; Send and ChannelData to peers; Data and ChannelData from them
///     Open, of TCP: Connect, ConnectionBind and peers that connect, see `TcpServing`
///
/// A flood of requests that lack credentials leaves nothing behind: nonces are checked without being remembered.
[<RequireQualifiedAccess>]
module TurnServer =
    /// The limits that `TurnLimits` names as default.
    [<CompiledName "Limits">]
    let limits: TurnLimits =
        { DefaultLifetime = Duration.seconds 600L
          MaxLifetime = Duration.seconds 3600L
          NonceLifetime = Duration.seconds 3600L
          AllocationsPerUser = 100
          Allocations = 10_000
          Permissions = 256
          Channels = 256
          OctetsPerSecond = Int64.MaxValue
          PeerConnections = 32
          AllPeerConnections = 10_000 }

    /// A server with nobody served; `seed` is 32 octets of randomness.
    [<CompiledName "Create">]
    let create (seed: byte[]) (config: TurnServerConfig) (credentials: TurnCredentials) : TurnServerState =
        let struct (nonceKey, entropy) =
            Entropy.bytes 32 (Entropy.ofSeed (ReadOnlySpan seed))

        { Config = config
          Credentials = Auth.prepare config credentials
          NonceKey = nonceKey
          Entropy = entropy
          Held = Tables.empty
          NextRelay = 1
          NextConnection = -1
          NextTimer = 0
          Draining = false }

    /// When a `Tick` is next due.
    [<CompiledName "Deadline">]
    let deadline (state: TurnServerState) : Instant = Tables.deadline state

    /// Allocations that are, or are about to be.
    [<CompiledName "Allocations">]
    let allocations (state: TurnServerState) : int = state.Held.Flows.Count

    let private requestOf (path: Path) (message: Message) (datagram: ReadOnlySpan<byte>) : Request =
        { Path = path
          Message = message
          Integrity = Unprotected
          Fingerprint = Message.hasFingerprint datagram }

    /// RFC 8489 §6.3.1: what must be understood and is not.
    let private refuseUnknown (unknown: uint16[]) (request: Request) (s: TurnServerState) =
        Answering.refuseWith 420 "Unknown Attribute" [| UnknownAttributes unknown |] request s

    /// Binding, RFC 8489 §2, and with CHANGE-REQUEST RFC 5780 §6.1.
    let private binding (request: Request) (s: TurnServerState) =
        let change =
            request.Message
            |> Message.pick (function
                | ChangeRequest(address, port) -> ValueSome(struct (address, port))
                | _ -> ValueNone)

        let mapped = XorMappedAddress request.Path.Remote

        match Message.unknownRequired request.Message, s.Config.Discovery, change with
        | unknown, _, _ when unknown.Length > 0 -> refuseUnknown unknown request s
        | _, ValueNone, ValueSome _ -> refuseUnknown [| Attribute.ChangeRequestType |] request s
        | _, ValueNone, ValueNone -> Answering.success request [| mapped |] s
        | _, ValueSome discovery, change ->
            match Array.IndexOf(discovery.Ports, request.Path.Local), change with
            | -1, ValueSome _ -> refuseUnknown [| Attribute.ChangeRequestType |] request s
            | -1, ValueNone -> Answering.success request [| mapped |] s
            | here, change ->
                let from =
                    match change with
                    | ValueSome(struct (address, port)) ->
                        here ^^^ (if address then 2 else 0) ^^^ (if port then 1 else 0)
                    | ValueNone -> here

                Answering.successFrom
                    discovery.Ports[from]
                    request
                    [| mapped
                       MappedAddress request.Path.Remote
                       ResponseOrigin discovery.Endpoints[from]
                       OtherAddress discovery.Endpoints[here ^^^ 3] |]
                    s

    let private serve now (request: Request) (caller: Caller) (s: TurnServerState) =
        match Message.unknownRequired request.Message, request.Message.Method with
        | unknown, _ when unknown.Length > 0 -> refuseUnknown unknown request s
        | _, Method.Allocate -> Allocating.allocate now request caller s
        | _, Method.ConnectionBind -> TcpServing.bind request caller s
        | _, method ->
            match Tables.allocationOf request.Path s with
            | ValueNone -> Answering.refuse 437 "Allocation Mismatch" request s
            | ValueSome allocation when allocation.Caller.User <> caller.User ->
                Answering.refuse 441 "Wrong Credentials" request s
            | ValueSome allocation ->
                match method with
                | Method.Refresh -> Serving.refresh now request allocation s
                | Method.CreatePermission -> Serving.createPermission now request allocation s
                | Method.Connect -> TcpServing.connect now request allocation s
                | _ -> Serving.channelBind now request allocation s

    let private request now (path: Path) (message: Message) (datagram: ReadOnlySpan<byte>) (s: TurnServerState) =
        let request = requestOf path message datagram

        match message.Method with
        | Method.Binding -> binding request s
        | Method.Allocate
        | Method.Refresh
        | Method.CreatePermission
        | Method.ChannelBind
        | Method.Connect
        | Method.ConnectionBind ->
            match Auth.require now datagram request s with
            | struct (ValueSome caller, _) ->
                serve
                    now
                    { request with
                        Integrity = caller.Integrity }
                    caller
                    s
            | struct (ValueNone, refusal) -> refusal
        | _ -> Answering.refuse 400 "The method is not known" request s

    let private received now (path: Path) (bytes: Memory<byte>) (s: TurnServerState) =
        let datagram: ReadOnlySpan<byte> = Span.op_Implicit bytes.Span

        if ChannelData.isFromClient datagram then
            Serving.channelData now path bytes s
        elif SendIndication.isSend datagram then
            Serving.send now path bytes s
        else
            match Message.read datagram with
            | ValueSome message when message.Class.IsRequest -> request now path message datagram s
            // Binding indications keep mappings alive and are not answered, RFC 8489 §6.3.2.
            | ValueSome message when message.Class.IsIndication && message.Method = Method.Binding -> Step.only s
            | ValueSome _ -> Step.one (Ignored Drop.Unexpected) s
            | ValueNone -> Step.one (Ignored Drop.Malformed) s

    let private lost (relay: int) (s: TurnServerState) =
        match Trie.tryFind relay s.Held.Relays with
        | ValueSome(OfFlow path) ->
            match Tables.allocationOf path s with
            | ValueSome allocation ->
                match Tables.relaysOf allocation |> List.tryFind (fun r -> r.Id = relay) with
                | Some relay -> Serving.release path DeallocationReason.RelayLost relay allocation s
                | None -> Step.only s
            | ValueNone -> Step.only s
        | ValueSome(OfReservation token) ->
            match Trie.tryFind token s.Held.Reservations with
            | ValueSome reservation -> s |> Tables.unreserve token reservation |> Tables.close [ relay ]
            | ValueNone -> Step.only s
        | ValueNone -> Step.only s

    let private disconnected (path: Path) (s: TurnServerState) =
        match Trie.tryFind path s.Held.Flows with
        | ValueSome(Flow.Open allocation) -> Tables.deallocate path DeallocationReason.Disconnected allocation s
        | ValueSome(Flow.Opening opening) -> Allocating.abandon path opening s
        | ValueNone -> TcpServing.parted path s

    let private expired now (due: Due) (s: TurnServerState) =
        match due with
        | FlowDue path -> Serving.expire now path s
        | ReservationDue token ->
            match Trie.tryFind token s.Held.Reservations with
            | ValueSome reservation -> s |> Tables.unreserve token reservation |> Tables.close [ reservation.Relay.Id ]
            | ValueNone -> Step.only s
        | ConnectionDue number -> TcpServing.expire number s

    /// Everything that is due: no more than there are allocations, reservations and connections to peers.
    let private tick now (s: TurnServerState) : Step<TurnServerState, TurnServerOutput> =
        let mutable s = s
        let mutable outputs = ListCollector<TurnServerOutput>()
        let mutable left = true

        while left do
            match Tables.first s with
            | ValueSome(struct (at, timer, due)) when at <= now ->
                let struct (next, asked) = s |> Tables.disarm timer |> expired now due
                s <- next
                outputs.AddMany asked
            | _ -> left <- false

        struct (s, outputs.Close())

    /// Takes one input.
    [<CompiledName "Step">]
    let step
        (now: Instant)
        (input: TurnServerInput)
        (state: TurnServerState)
        : Step<TurnServerState, TurnServerOutput> =
        match input with
        | Received(path, bytes) -> received now path bytes state
        | RelayReceived(relay, peer, bytes) -> Serving.fromPeer now relay peer bytes state
        | RelayOpened(relay, endpoint) -> Allocating.opened now relay endpoint state
        | RelayFailed relay -> Allocating.failed now relay state
        | RelayLost relay -> lost relay state
        | TurnServerInput.Disconnected path -> disconnected path state
        | PeerConnected connection -> TcpServing.connected now connection state
        | PeerLost connection -> TcpServing.lost connection state
        | PeerAccepted(relay, peer, connection) -> TcpServing.accepted now relay peer connection state
        | SetCredentials credentials ->
            Step.only
                { state with
                    Credentials = Auth.prepare state.Config credentials }
        | Drain draining -> Step.only { state with Draining = draining }
        | Tick -> tick now state

    /// Calls the shell, one method for each output, in order.
    [<CompiledName "Perform">]
    let perform (shell: ITurnServerShell) (outputs: TurnServerOutput list) : unit =
        for output in outputs do
            match output with
            | Transmit(path, packet) -> shell.Transmit(path, packet)
            | Forward(relay, peer, data, mayFragment) -> shell.Forward(relay, peer, data, mayFragment)
            | OpenRelay(relay, v6, kind) -> shell.OpenRelay(relay, v6, kind)
            | CloseRelay relay -> shell.CloseRelay relay
            | ConnectPeer(relay, connection, peer) -> shell.ConnectPeer(relay, connection, peer)
            | JoinPeer(connection, client, control) -> shell.JoinPeer(connection, client, control)
            | ClosePeer connection -> shell.ClosePeer connection
            | Raise event -> shell.Raise event
            | Ignored reason -> shell.Ignored reason
