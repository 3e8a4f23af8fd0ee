namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// Connections between an allocation of TCP and its peers, RFC 6062 §5.2 to §5.5.
///
///     Connect ──▶ Connecting ──PeerConnected: CONNECTION-ID──▶ Pending ──ConnectionBind──▶ Joined ──either ends──▶ (closed)
///                     └──PeerLost, 30 s: 447──▶ (closed)        ▲  └──PeerLost, 30 s──▶ (closed)
///     a peer connects ──permitted: ConnectionAttempt────────────┘
///
/// All of them end with their allocation. Data is the shell's part: nothing of a joined connection passes through here.
[<RequireQualifiedAccess>]
module internal TcpServing =
    /// How long a peer has to take a connection, and a client to bind one, RFC 6062 §5.2.
    let private patience = Duration.seconds 30L

    let private peerIn (request: Request) : Endpoint voption =
        request.Message
        |> Message.pick (function
            | XorPeerAddress peer when peer.Port <> 0us -> ValueSome peer
            | _ -> ValueNone)

    let private allocationWith (connection: PeerConnection) (s: TurnServerState) : Allocation voption =
        Tables.allocationOf connection.Owner s

    /// Without a connection, in its allocation's table, too.
    let private without (connection: PeerConnection) (s: TurnServerState) : TurnServerState =
        let s = Tables.forget connection s

        match allocationWith connection s with
        | ValueSome allocation ->
            s
            |> Tables.withFlow
                connection.Owner
                (Flow.Open
                    { allocation with
                        Connections = Trie.remove connection.Peer allocation.Connections })
        | ValueNone -> s

    let private close (connection: PeerConnection) (s: TurnServerState) =
        Step.one (ClosePeer connection.Number) (without connection s)

    /// Takes up a connection that its allocation has room for, with its time running.
    let private took now owner (allocation: Allocation) number peer stage (s: TurnServerState) =
        let struct (timer, s) =
            Tables.arm (Tables.expiry now patience) (ConnectionDue number) s

        s
        |> Tables.withConnection
            { Number = number
              Owner = owner
              Peer = peer
              Stage = stage
              Timer = timer }
        |> Tables.withFlow
            owner
            (Flow.Open
                { allocation with
                    Connections = Trie.set peer number allocation.Connections })

    let private hasRoom (allocation: Allocation) (s: TurnServerState) : bool =
        allocation.Connections.Count < s.Config.Limits.PeerConnections
        && s.Held.Connections.Count < s.Config.Limits.AllPeerConnections

    /// A CONNECTION-ID that no pending connection has. It is drawn at random: who guesses one would have to be the same user, too.
    let rec private drawId (number: int) (s: TurnServerState) : struct (uint32 * TurnServerState) =
        let struct (id, entropy) = Entropy.uint32 s.Entropy
        let s = { s with Entropy = entropy }

        if Trie.containsKey id s.Held.Pending then
            drawId number s
        else
            struct (id,
                    { s with
                        Held.Pending = Trie.set id number s.Held.Pending })

    /// A Connect request, RFC 6062 §5.2. No permission is needed, and none comes of it.
    let connect now (request: Request) (allocation: Allocation) (s: TurnServerState) =
        match peerIn request with
        | _ when not allocation.IsTcp -> Answering.refuse 437 "The allocation is not of TCP" request s
        | ValueNone -> Answering.refuse 400 "XOR-PEER-ADDRESS is missing, or its port is 0" request s
        | ValueSome peer when Trie.containsKey peer allocation.Connections ->
            Answering.refuse 446 "Connection Already Exists" request s
        | ValueSome peer ->
            match Tables.objection peer.Address allocation s, Tables.relayFor peer.Address allocation with
            | ValueSome(struct (code, reason)), _ -> Answering.refuse code reason request s
            | ValueNone, ValueSome relay when hasRoom allocation s ->
                let number = s.NextConnection

                { s with NextConnection = number - 1 }
                |> took now request.Path allocation number peer (ConnectionStage.Connecting request)
                |> Step.one (ConnectPeer(relay.Id, number, peer))
            | ValueNone, _ -> Answering.refuse 508 "Insufficient Capacity" request s

    /// A connection that was asked for is established: the client is told of it, and has its time to bind it.
    let connected now (number: int) (s: TurnServerState) =
        match Trie.tryFind number s.Held.Connections with
        | ValueSome({ Stage = ConnectionStage.Connecting request } as connection) ->
            let struct (id, s) = drawId number s

            let struct (timer, s) =
                s
                |> Tables.disarm connection.Timer
                |> Tables.arm (Tables.expiry now patience) (ConnectionDue number)

            s
            |> Tables.withConnection
                { connection with
                    Stage = ConnectionStage.Pending id
                    Timer = timer }
            |> Answering.success request [| ConnectionId id |]
        | ValueSome _ -> Step.one (Ignored Drop.Unexpected) s
        // Who wanted it is gone, and it has been told to close.
        | ValueNone -> Step.one (Ignored Drop.Stale) s

    /// A connection is over, or never came to be.
    let lost (number: int) (s: TurnServerState) =
        match Trie.tryFind number s.Held.Connections with
        // We have closed it.
        | ValueNone -> Step.only s
        | ValueSome connection ->
            match connection.Stage with
            | ConnectionStage.Connecting request ->
                s
                |> close connection
                |> Step.bind (Answering.refuse 447 "Connection Timeout or Failure" request)
            | ConnectionStage.Pending _
            | ConnectionStage.Joined _ -> close connection s

    /// A connection's time is up: the peer has not taken it, or the client not bound it.
    let expire (number: int) (s: TurnServerState) = lost number s

    /// A peer has connected to a relay, RFC 6062 §5.3. What is not wanted is closed, and that is all that anybody hears of it.
    let accepted now (relay: int) (peer: Endpoint) (number: int) (s: TurnServerState) =
        let refuse reason (s: TurnServerState) =
            struct (s, [ ClosePeer number; Ignored reason ]): Step<TurnServerState, TurnServerOutput>

        let admit path (s: TurnServerState) =
            match Tables.allocationOf path s with
            | ValueSome allocation when not (hasRoom allocation s) -> refuse Drop.TooMany s
            | ValueSome allocation ->
                let struct (id, s) = drawId number s
                let struct (transaction, entropy) = TransactionId.draw s.Entropy

                let indication =
                    { Message.request Method.ConnectionAttempt transaction [| ConnectionId id; XorPeerAddress peer |] with
                        Class = Class.Indication }

                { s with Entropy = entropy }
                |> took now path allocation number peer (ConnectionStage.Pending id)
                |> Step.one (
                    Transmit(
                        path,
                        TurnPacket.Response(
                            s.Config.Ciphers,
                            { Message = indication
                              Integrity = Unprotected
                              Fingerprint = false }
                        )
                    )
                )
            | ValueNone -> refuse Drop.Unexpected s

        match Trie.tryFind relay s.Held.Relays with
        | _ when Trie.containsKey number s.Held.Connections -> Step.one (Ignored Drop.Unexpected) s
        | ValueSome(OfFlow path) ->
            match Tables.allocationOf path s with
            | ValueSome allocation when allocation.IsTcp && Tables.isPermitted now peer.Address allocation ->
                match
                    Trie.tryFind peer allocation.Connections
                    |> ValueOption.bind (fun last -> Trie.tryFind last s.Held.Connections)
                with
                | ValueNone -> admit path s
                // Two endpoints have one connection: the one before, ours to it perhaps, has ended without our being told.
                | ValueSome last -> s |> lost last.Number |> Step.bind (admit path)
            | ValueSome allocation when allocation.IsTcp -> refuse Drop.Unvalidated s
            | _ -> refuse Drop.Unexpected s
        | ValueSome(OfReservation _) -> refuse Drop.Unexpected s
        | ValueNone -> refuse Drop.Stale s

    /// A ConnectionBind request on a client's new connection, RFC 6062 §5.4.
    let bind (request: Request) (caller: Caller) (s: TurnServerState) =
        let client = request.Path

        let found =
            request.Message
            |> Message.pick (function
                | ConnectionId id -> ValueSome id
                | _ -> ValueNone)
            |> ValueOption.bind (fun id -> Trie.tryFind id s.Held.Pending)
            |> ValueOption.bind (fun number -> Trie.tryFind number s.Held.Connections)

        match found with
        | _ when
            Array.IndexOf(s.Config.TcpListeners, client.Local) < 0
            || Trie.containsKey client s.Held.Flows
            || Trie.containsKey client s.Held.Joined
            ->
            Answering.refuse 400 "A connection is bound to a TCP or TLS connection that has no other use" request s
        | ValueNone -> Answering.refuse 400 "CONNECTION-ID is missing, or no such connection is pending" request s
        | ValueSome connection ->
            match allocationWith connection s with
            | ValueSome allocation when allocation.Caller.User = caller.User ->
                let s =
                    Tables.forget connection s
                    |> Tables.withConnection
                        { connection with
                            Stage = ConnectionStage.Joined client }

                { s with
                    Held.Joined = Trie.set client connection.Number s.Held.Joined }
                |> Answering.success request [||]
                |> Step.bind (Step.one (JoinPeer(connection.Number, client, connection.Owner)))
            | _ -> Answering.refuse 441 "Wrong Credentials" request s

    /// A client's connection that has no allocation is over.
    let parted (client: Path) (s: TurnServerState) =
        match
            Trie.tryFind client s.Held.Joined
            |> ValueOption.bind (fun number -> Trie.tryFind number s.Held.Connections)
        with
        | ValueSome connection -> close connection s
        | ValueNone -> Step.only s
