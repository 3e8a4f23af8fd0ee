namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// Allocate, RFC 8656 §7.2.
///
///     (nothing) ──Allocate──▶ Opening ──RelayOpened, RelayFailed…──▶ Open ──Refresh 0, expiry──▶ (nothing)
///         ▲                      └──────── no relay, disconnected ─────┐
///         └──────────────────────────────────────────────────────────────┘
[<RequireQualifiedAccess>]
module internal Allocating =
    [<Literal>]
    let V4Family = 0x01uy

    [<Literal>]
    let V6Family = 0x02uy

    /// How long a reserved port is held, RFC 8656 §7.2.
    let private reservedFor = Duration.seconds 30L

    let lifetimeIn (request: Request) : uint32 voption =
        request.Message
        |> Message.pick (function
            | Lifetime seconds -> ValueSome seconds
            | _ -> ValueNone)

    let familyIn (request: Request) : byte voption =
        request.Message
        |> Message.pick (function
            | RequestedAddressFamily family -> ValueSome family
            | _ -> ValueNone)

    /// What is granted where a client asks for a lifetime other than 0, RFC 8656 §7.2.
    let granted (limits: TurnLimits) (asked: uint32 voption) : Duration =
        match asked with
        | ValueNone -> limits.DefaultLifetime
        | ValueSome seconds -> max limits.DefaultLifetime (min limits.MaxLifetime (Duration.seconds (int64 seconds)))

    /// LIFETIME of what expires then.
    let lifetimeUntil (expiresAt: Instant) (now: Instant) : Attribute =
        Lifetime(uint32 (max 0L ((expiresAt - now) / Duration.seconds 1L)))

    /// The success response, of a first request or of its repetition.
    let private succeed now (request: Request) (allocation: Allocation) (s: TurnServerState) =
        let expiresAt =
            Tables.relaysOf allocation
            |> List.fold (fun earliest relay -> Instant.min earliest relay.ExpiresAt) Instant.never

        Answering.success request (Array.append allocation.Answer [| lifetimeUntil expiresAt now |]) s

    /// What an Allocate request asks for.
    [<NoComparison; NoEquality>]
    type private Wish =
        | Reserved of Token: uint64
        | Ports of V4: bool * V6: bool * Parity: bool voption
        /// RFC 6062.
        | TcpPorts of V4: bool * V6: bool

    let private isTcp (protocol: byte voption) = protocol = ValueSome 6uy

    /// The checks of RFC 8656 §7.2, from the third on, and of RFC 6062 §5.1; an error code and its reason where one fails.
    let private wish (request: Request) (s: TurnServerState) : Result<Wish, struct (int * string)> =
        let pick choose = Message.pick choose request.Message

        let transport =
            pick (function
                | RequestedTransport protocol -> ValueSome protocol
                | _ -> ValueNone)

        let parity =
            pick (function
                | EvenPort reserve -> ValueSome reserve
                | _ -> ValueNone)

        let token =
            pick (function
                | ReservationToken token -> ValueSome token
                | _ -> ValueNone)

        let additional =
            pick (function
                | AdditionalAddressFamily family -> ValueSome family
                | _ -> ValueNone)

        let fragments =
            pick (function
                | DontFragment -> ValueSome()
                | _ -> ValueNone)

        let family = familyIn request
        let refuse code reason = Error(struct (code, reason))
        let listeners = s.Config.TcpListeners

        let ports v4 v6 =
            Ok(
                if isTcp transport then
                    TcpPorts(v4, v6)
                else
                    Ports(v4, v6, parity)
            )

        match transport, token, family, additional with
        | ValueNone, _, _, _ -> refuse 400 "REQUESTED-TRANSPORT is missing"
        | ValueSome protocol, _, _, _ when protocol <> 17uy && (protocol <> 6uy || listeners.Length = 0) ->
            refuse 442 "Unsupported Transport Protocol"
        | ValueSome 6uy, _, _, _ when Array.IndexOf(listeners, request.Path.Local) < 0 ->
            refuse 400 "A relayed address of TCP is asked for over TCP or TLS"
        | ValueSome 6uy, _, _, _ when token.IsSome || parity.IsSome || fragments.IsSome ->
            refuse 400 "TCP excludes RESERVATION-TOKEN, EVEN-PORT and DONT-FRAGMENT"
        | _, ValueSome _, _, _ when parity.IsSome || family.IsSome || additional.IsSome ->
            refuse 400 "RESERVATION-TOKEN excludes EVEN-PORT and address families"
        | _, ValueSome token, _, _ ->
            if Trie.containsKey token s.Held.Reservations then
                Ok(Reserved token)
            else
                refuse 508 "Insufficient Capacity"
        | _, _, ValueSome _, ValueSome _ -> refuse 400 "REQUESTED-ADDRESS-FAMILY excludes ADDITIONAL-ADDRESS-FAMILY"
        | _, _, _, ValueSome family when family <> V6Family -> refuse 400 "ADDITIONAL-ADDRESS-FAMILY is not IPv6"
        | _, _, _, ValueSome _ when parity = ValueSome true ->
            refuse 400 "ADDITIONAL-ADDRESS-FAMILY excludes a reservation"
        | _, _, _, ValueSome _ when s.Config.V4 || s.Config.V6 -> ports true true
        | _, _, ValueSome V6Family, ValueNone when s.Config.V6 -> ports false true
        | _, _, ValueSome V4Family, ValueNone when s.Config.V4 -> ports true false
        | _, _, ValueNone, ValueNone when s.Config.V4 -> ports true false
        | _ -> refuse 440 "Address Family not Supported"

    let private alternateFor (request: Request) (s: TurnServerState) : Endpoint voption =
        let v4 = request.Path.Remote.Address.IsV4
        let mutable found = ValueNone

        for alternate in s.Config.Alternates do
            if found.IsNone && alternate.Address.IsV4 = v4 then
                found <- ValueSome alternate

        found

    /// The error of a quota that is used up, RFC 8656 §7.2, tenth and eleventh check.
    let private quota (caller: Caller) (wish: Wish) (s: TurnServerState) : int voption =
        let more =
            match wish with
            // It is counted already.
            | Reserved _ -> 0
            | Ports(_, _, ValueSome true) -> 2
            | Ports _
            | TcpPorts _ -> 1

        if s.Draining || Tables.total s > s.Config.Limits.Allocations - more then
            ValueSome 300
        elif Tables.countOf caller.User s > s.Config.Limits.AllocationsPerUser - more then
            ValueSome 486
        else
            ValueNone

    /// Every socket that was asked for is there, or will not be: the allocation comes to be, or is refused.
    let private conclude now (path: Path) (opening: Opening) (s: TurnServerState) =
        let expiresAt = Tables.expiry now opening.Lifetime

        let relayOf leg =
            match leg with
            | Got relay -> ValueSome { relay with ExpiresAt = expiresAt }
            | Unasked
            | Asked _
            | Denied _ -> ValueNone

        let got = [ opening.V4; opening.V6; opening.Next ] |> List.filter _.IsGot

        let wantedMore =
            match opening.Next with
            | Denied _ -> true
            | Unasked
            | Asked _
            | Got _ -> false

        match relayOf opening.V4, relayOf opening.V6 with
        | v4, v6 when wantedMore || (v4.IsNone && v6.IsNone) ->
            let ids =
                got
                |> List.choose (fun leg ->
                    match leg with
                    | Got relay -> Some relay.Id
                    | _ -> None)

            s
            |> Tables.withoutFlow path
            |> Tables.count opening.Caller.User (if opening.Next.IsUnasked then -1 else -2)
            |> Tables.close ids
            |> Step.bind (Answering.refuse 508 "Insufficient Capacity" opening.Request)
        | v4, v6 ->
            let struct (reservation, s) =
                match opening.Next with
                | Got next ->
                    let struct (token, entropy) = Entropy.uint64 s.Entropy
                    let s = { s with Entropy = entropy }

                    let struct (timer, s) =
                        Tables.arm (Tables.expiry now reservedFor) (ReservationDue token) s

                    let reservation =
                        { Relay = next
                          User = opening.Caller.User
                          Timer = timer }

                    let s = Tables.withOwner next.Id (OfReservation token) s

                    struct ([| ReservationToken token |],
                            { s with
                                Held.Reservations = Trie.set token reservation s.Held.Reservations })
                | Unasked
                | Asked _
                | Denied _ -> struct ([||], s)

            let relayed = [| v4; v6 |] |> Array.choose ValueOption.toOption

            let failed =
                match opening.V4, opening.V6 with
                | Denied code, _ -> [| AddressErrorCode(V4Family, code, "") |]
                | _, Denied code -> [| AddressErrorCode(V6Family, code, "") |]
                | _ -> [||]

            let struct (timer, s) = Tables.arm expiresAt (FlowDue path) s

            let allocation =
                { Caller = opening.Caller
                  Created = opening.Request.Message.Transaction
                  Answer =
                    Array.concat
                        [ relayed |> Array.map (fun relay -> XorRelayedAddress relay.Endpoint)
                          [| XorMappedAddress path.Remote |]
                          reservation
                          failed ]
                  IsTcp = opening.IsTcp
                  V4 = v4
                  V6 = v6
                  Timer = timer
                  Permissions = Trie.empty
                  Numbers = Trie.empty
                  Channels = Trie.empty
                  Connections = Trie.empty
                  Credit = struct (s.Config.Limits.OctetsPerSecond, now) }

            s
            |> Tables.withFlow path (Flow.Open allocation)
            |> succeed now opening.Request allocation
            |> Step.bind (
                Step.one (
                    Raise(Allocated(path, opening.Caller.Username, relayed |> Array.map (fun relay -> relay.Endpoint)))
                )
            )

    let private isAsked leg =
        match leg with
        | Asked _ -> true
        | Unasked
        | Got _
        | Denied _ -> false

    /// Goes on with an allocation of which a socket has been opened, or not.
    let private proceed now (path: Path) (opening: Opening) (s: TurnServerState) =
        if isAsked opening.V4 || isAsked opening.V6 || isAsked opening.Next then
            Step.only (Tables.withFlow path (Flow.Opening opening) s)
        else
            conclude now path opening s

    /// Asks for the sockets of a request that passed every check.
    let private opening now (request: Request) (caller: Caller) (wish: Wish) (s: TurnServerState) =
        let lifetime = granted s.Config.Limits (lifetimeIn request)
        let path = request.Path

        let started =
            { Request = request
              Caller = caller
              Lifetime = lifetime
              IsTcp = false
              V4 = Unasked
              V6 = Unasked
              Next = Unasked }

        let ask v4 v6 reserves kindOf (s: TurnServerState) =
            let s = Tables.count caller.User (if reserves then 2 else 1) s

            // A leg of a family that the server has not: an ADDRESS-ERROR-CODE beside what can be had.
            let leg wanted has (s: TurnServerState) =
                if not wanted then
                    struct (Unasked, s)
                elif not has then
                    struct (Denied 440, s)
                else
                    let struct (id, s) = Tables.drawRelay (OfFlow path) s
                    struct (Asked id, s)

            let struct (v4, s) = leg v4 s.Config.V4 s
            let struct (v6, s) = leg v6 s.Config.V6 s
            let struct (next, s) = leg reserves true s
            let kind: RelayKind = kindOf next

            let asks =
                [ match v4 with
                  | Asked id -> OpenRelay(id, false, kind)
                  | _ -> ()
                  match v6 with
                  | Asked id -> OpenRelay(id, true, kind)
                  | _ -> () ]

            let opening =
                { started with
                    IsTcp = kind.IsTcp
                    V4 = v4
                    V6 = v6
                    Next = next }

            struct (Tables.withFlow path (Flow.Opening opening) s, asks)

        match wish with
        | TcpPorts(v4, v6) -> ask v4 v6 false (fun _ -> RelayKind.Tcp) s
        | Ports(v4, v6, parity) ->
            s
            |> ask v4 v6 (parity = ValueSome true) (fun next ->
                match next, parity with
                | Asked id, _ -> RelayKind.Pair id
                | _, ValueSome _ -> RelayKind.Even
                | _, ValueNone -> RelayKind.Any)
        | Reserved token ->
            match Trie.tryFind token s.Held.Reservations with
            | ValueNone -> Answering.refuse 508 "Insufficient Capacity" request s
            | ValueSome reservation ->
                let relay = reservation.Relay

                s
                |> Tables.unreserve token reservation
                |> Tables.count caller.User 1
                |> Tables.withOwner relay.Id (OfFlow path)
                |> proceed
                    now
                    path
                    (if relay.Endpoint.Address.IsV4 then
                         { started with V4 = Got relay }
                     else
                         { started with V6 = Got relay })

    /// A request of one who is known.
    let allocate now (request: Request) (caller: Caller) (s: TurnServerState) =
        match Trie.tryFind request.Path s.Held.Flows with
        | ValueSome(Flow.Opening opening) when opening.Request.Message.Transaction = request.Message.Transaction ->
            // The answer is under way.
            Step.one (Ignored Drop.Replayed) s
        | ValueSome(Flow.Open allocation) when allocation.Created = request.Message.Transaction ->
            succeed now request allocation s
        | ValueSome _ -> Answering.refuse 437 "Allocation Mismatch" request s
        | ValueNone ->
            match wish request s with
            | Error(struct (code, reason)) -> Answering.refuse code reason request s
            | Ok wish ->
                match quota caller wish s, alternateFor request s with
                | ValueNone, _ -> opening now request caller wish s
                | ValueSome 300, ValueSome alternate ->
                    Answering.refuseWith 300 "Try Alternate" [| AlternateServer alternate |] request s
                | ValueSome _, _ -> Answering.refuse 486 "Allocation Quota Reached" request s

    let private settle (id: int) (outcome: Leg) (opening: Opening) : Opening =
        let leg leg =
            match leg with
            | Asked asked when asked = id -> outcome
            | Asked _
            | Unasked
            | Got _
            | Denied _ -> leg

        { opening with
            V4 = leg opening.V4
            V6 = leg opening.V6
            Next = leg opening.Next }

    let private answered now (id: int) (outcome: Leg) (s: TurnServerState) =
        match Trie.tryFind id s.Held.Relays with
        | ValueSome(OfFlow path) ->
            match Trie.tryFind path s.Held.Flows with
            | ValueSome(Flow.Opening opening) -> proceed now path (settle id outcome opening) s
            | ValueSome(Flow.Open _)
            | ValueNone -> Step.one (Ignored Drop.Unexpected) s
        | ValueSome(OfReservation _) -> Step.one (Ignored Drop.Unexpected) s
        | ValueNone ->
            match outcome with
            // Who wanted it is gone.
            | Got _ -> Step.one (CloseRelay id) s
            | Unasked
            | Asked _
            | Denied _ -> Step.one (Ignored Drop.Stale) s

    /// A relay that was asked for is open.
    let opened now (id: int) (endpoint: Endpoint) (s: TurnServerState) =
        answered
            now
            id
            (Got
                { Id = id
                  Endpoint = endpoint
                  ExpiresAt = now })
            s

    /// A relay that was asked for cannot be had.
    let failed now (id: int) (s: TurnServerState) =
        let struct (s, outputs) = answered now id (Denied 508) s
        struct (Tables.withoutOwner id s, outputs)

    /// An allocation that is still being opened is given up: its sockets are closed, or will be once they are open.
    let abandon (path: Path) (opening: Opening) (s: TurnServerState) =
        let idOf leg =
            match leg with
            | Got relay -> ValueSome relay.Id
            | Unasked
            | Asked _
            | Denied _ -> ValueNone

        let forget (s: TurnServerState) leg =
            match leg with
            | Asked id -> Tables.withoutOwner id s
            | Got _
            | Unasked
            | Denied _ -> s

        let legs = [ opening.V4; opening.V6; opening.Next ]

        (List.fold forget s legs)
        |> Tables.withoutFlow path
        |> Tables.count opening.Caller.User (if opening.Next.IsUnasked then -1 else -2)
        |> Tables.close (legs |> List.choose (idOf >> ValueOption.toOption))
