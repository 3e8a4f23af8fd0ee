namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// What a server keeps in mind: changes of its tables that belong together.
[<RequireQualifiedAccess>]
module internal Tables =
    let empty: TurnTables =
        { Flows = Trie.empty
          Relays = Trie.empty
          Reservations = Trie.empty
          Connections = Trie.empty
          Pending = Trie.empty
          Joined = Trie.empty
          Users = Trie.empty
          Timers = Map.empty }

    /// Milliseconds stand above this many bits of a timer's key.
    [<Literal>]
    let private TimerBits = 20

    let private millisecond = Duration.milliseconds 1L

    /// `length` after `now`, in whole milliseconds, as timers have them.
    let expiry (now: Instant) (length: Duration) : Instant =
        (now + length + millisecond - 1L<us>) / millisecond * millisecond

    let private instantOf (timer: int64) : Instant = (timer >>> TimerBits) * millisecond

    /// When something is due.
    let deadline (s: TurnServerState) : Instant =
        if s.Held.Timers.IsEmpty then
            Instant.never
        else
            instantOf (fst (Map.minKeyValue s.Held.Timers))

    /// The first that is due, and when.
    let first (s: TurnServerState) : struct (Instant * int64 * Due) voption =
        if s.Held.Timers.IsEmpty then
            ValueNone
        else
            let timer, due = Map.minKeyValue s.Held.Timers
            ValueSome(struct (instantOf timer, timer, due))

    let disarm (timer: int64) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Timers = s.Held.Timers.Remove timer }

    /// A timer for an instant that `expiry` made.
    let arm (at: Instant) (due: Due) (s: TurnServerState) : struct (int64 * TurnServerState) =
        let number = int64 (s.NextTimer &&& ((1 <<< TimerBits) - 1))
        let mutable timer = ((at / millisecond) <<< TimerBits) ||| number

        // A million timers ago the number was another's, of the same millisecond perhaps.
        while s.Held.Timers.ContainsKey timer do
            timer <- timer + 1L

        struct (timer,
                { s with
                    NextTimer = s.NextTimer + 1
                    Held.Timers = s.Held.Timers.Add(timer, due) })

    let countOf (user: string) (s: TurnServerState) : int =
        match Trie.tryFind user s.Held.Users with
        | ValueSome count -> count
        | ValueNone -> 0

    /// One allocation or reservation more, or less, for a user.
    let count (user: string) (change: int) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Users =
                match countOf user s + change with
                | 0 -> Trie.remove user s.Held.Users
                | n -> Trie.set user n s.Held.Users }

    let total (s: TurnServerState) : int =
        s.Held.Flows.Count + s.Held.Reservations.Count

    let withFlow (path: Path) (flow: Flow) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Flows = Trie.set path flow s.Held.Flows }

    let withoutFlow (path: Path) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Flows = Trie.remove path s.Held.Flows }

    let withOwner (relay: int) (owner: Owner) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Relays = Trie.set relay owner s.Held.Relays }

    let withoutOwner (relay: int) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Relays = Trie.remove relay s.Held.Relays }

    /// The number of a relay to be opened for a flow.
    let drawRelay (owner: Owner) (s: TurnServerState) : struct (int * TurnServerState) =
        struct (s.NextRelay, withOwner s.NextRelay owner { s with NextRelay = s.NextRelay + 1 })

    let relaysOf (allocation: Allocation) : Relay list =
        match allocation.V4, allocation.V6 with
        | ValueSome v4, ValueSome v6 -> [ v4; v6 ]
        | ValueSome relay, ValueNone
        | ValueNone, ValueSome relay -> [ relay ]
        | ValueNone, ValueNone -> []

    /// The relay that reaches peers of this address's family.
    let relayFor (peer: Address) (allocation: Allocation) : Relay voption =
        if peer.IsV4 then allocation.V4 else allocation.V6

    /// Closes relays.
    let close (relays: int list) (s: TurnServerState) : Step<TurnServerState, TurnServerOutput> =
        struct (List.fold (fun s id -> withoutOwner id s) s relays, List.map CloseRelay relays)

    let isPermitted (now: Instant) (peer: Address) (allocation: Allocation) : bool =
        match Trie.tryFind peer allocation.Permissions with
        | ValueSome expiresAt -> now < expiresAt
        | ValueNone -> false

    /// Why a client may not have this peer, RFC 8656 §10.2 and §12.2, RFC 6062 §5.2.
    let objection (peer: Address) (allocation: Allocation) (s: TurnServerState) : struct (int * string) voption =
        if (relayFor peer allocation).IsNone then
            ValueSome(struct (443, "Peer Address Family Mismatch"))
        elif not (PeerFilter.allows s.Config.Peers peer) then
            ValueSome(struct (403, "Forbidden"))
        else
            ValueNone

    let withConnection (connection: PeerConnection) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Connections = Trie.set connection.Number connection s.Held.Connections }

    /// Closes a connection to or from a peer; the allocation's own table is the caller's part.
    let forget (connection: PeerConnection) (s: TurnServerState) : TurnServerState =
        let s =
            match connection.Stage with
            | ConnectionStage.Connecting _ -> disarm connection.Timer s
            | ConnectionStage.Pending id ->
                { s with
                    Held.Pending = Trie.remove id s.Held.Pending }
                |> disarm connection.Timer
            | ConnectionStage.Joined client ->
                { s with
                    Held.Joined = Trie.remove client s.Held.Joined }

        { s with
            Held.Connections = Trie.remove connection.Number s.Held.Connections }

    /// Closes those of an allocation's connections that are to or from addresses that `which` names.
    let private closeConnections (which: Address -> bool) (allocation: Allocation) (s: TurnServerState) =
        (struct (s, []), allocation.Connections)
        ||> Trie.fold (fun (struct (s, closed)) peer number ->
            match Trie.tryFind number s.Held.Connections with
            | ValueSome connection when which peer.Address -> struct (forget connection s, ClosePeer number :: closed)
            | _ -> struct (s, closed))

    /// Closes relays of an allocation, and the connections that they have.
    let release (relays: Relay list) (allocation: Allocation) (s: TurnServerState) =
        let isOurs (address: Address) =
            relays |> List.exists (fun relay -> relay.Endpoint.Address.IsV4 = address.IsV4)

        let struct (s, closed) = closeConnections isOurs allocation s
        let struct (s, more) = close (relays |> List.map _.Id) s
        struct (s, closed @ more): Step<TurnServerState, TurnServerOutput>

    /// Ends an allocation.
    let deallocate (path: Path) (reason: DeallocationReason) (allocation: Allocation) (s: TurnServerState) =
        s
        |> disarm allocation.Timer
        |> withoutFlow path
        |> count allocation.Caller.User -1
        |> release (relaysOf allocation) allocation
        |> Step.bind (Step.one (Raise(Deallocated(path, allocation.Caller.Username, reason))))

    /// Gives a reserved port up.
    let unreserve (token: uint64) (reservation: Reservation) (s: TurnServerState) : TurnServerState =
        { s with
            Held.Reservations = Trie.remove token s.Held.Reservations }
        |> disarm reservation.Timer
        |> count reservation.User -1

    /// The allocation of a 5-tuple, once its sockets are open.
    let allocationOf (path: Path) (s: TurnServerState) : Allocation voption =
        match Trie.tryFind path s.Held.Flows with
        | ValueSome(Flow.Open allocation) -> ValueSome allocation
        | ValueSome(Flow.Opening _)
        | ValueNone -> ValueNone

/// Answering requests.
[<RequireQualifiedAccess>]
module internal Answering =
    let private respond (s: TurnServerState) (request: Request) (path: Path) (message: Message) : TurnServerOutput =
        let message =
            if s.Config.Software = "" then
                message
            else
                { message with
                    Attributes = Array.append message.Attributes [| Software s.Config.Software |] }

        Transmit(
            path,
            TurnPacket.Response(
                s.Config.Ciphers,
                { Message = message
                  Integrity = request.Integrity
                  Fingerprint = request.Fingerprint }
            )
        )

    /// A success response.
    let success (request: Request) (attributes: Attribute[]) (s: TurnServerState) =
        Step.one (respond s request request.Path (Message.success request.Message attributes)) s

    /// A success response that leaves by another listener, RFC 5780 §6.1.
    let successFrom (local: PortId) (request: Request) (attributes: Attribute[]) (s: TurnServerState) =
        let path = { request.Path with Local = local }
        Step.one (respond s request path (Message.success request.Message attributes)) s

    /// An error response with further attributes.
    let refuseWith (code: int) (reason: string) (more: Attribute[]) (request: Request) (s: TurnServerState) =
        struct (s,
                [ respond s request request.Path (Message.error request.Message code reason more)
                  Raise(Refused(request.Path, code)) ])
        : Step<TurnServerState, TurnServerOutput>

    /// An error response.
    let refuse (code: int) (reason: string) (request: Request) (s: TurnServerState) =
        refuseWith code reason [||] request s
