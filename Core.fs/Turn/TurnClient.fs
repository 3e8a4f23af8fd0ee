namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// One allocation on a TURN server, RFC 8656, the client's side: from the first request to its release, with its permissions and
/// channels. It does not know how its messages travel.
///
///     Idle ──Start──▶ Asking ──────────success──────────▶ Serving ──Release──▶ Leaving ──answered, or not──▶ Over
///      ▲                │ 401, 438, 437, 440: asked again    │ 437, 441, not refreshed in time
///      └──300───────────┘ anything else, no answer ──▶ Over ◀┘
[<RequireQualifiedAccess>]
module internal TurnClient =
    /// A request that awaits its answer.
    [<NoComparison; NoEquality>]
    type private Pending =
        {
            Request: TurnRequest
            Transaction: Transaction
            Message: Outgoing
            /// How often it was asked anew with another nonce or realm.
            Renewals: int
        }

    [<RequireQualifiedAccess; NoComparison; NoEquality>]
    type private Phase =
        | Idle
        | Asking
        | Serving of ClientAllocation
        /// It is given back.
        | Leaving
        | Over

    [<NoComparison; NoEquality>]
    type State =
        private
            {
                Config: TurnConfig
                Phase: Phase
                /// ValueNone until the server asked who we are.
                Login: Login voption
                Pending: Pending[]
                /// Servers asked so far, the present one last.
                Tried: Endpoint[]
                /// Whether what somebody left behind at this server was to be cleared already.
                HasCleared: bool
                Entropy: Entropy
                Due: Instant
            }

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        /// Asks this server, which messages can now be sent to.
        | Start of Server: Endpoint
        /// A STUN message from the server; Data indications are for `DataIndication`.
        | Received of Datagram: ReadOnlyMemory<byte>
        /// Packets of a peer at this address shall pass.
        | Permit of Peer: Address
        /// Much will be sent to this peer: a channel saves 32 octets a packet.
        | Bind of Peer: Endpoint
        | Release
        /// The stream to the server has ended, or never began.
        | Closed of Reason: string

    [<NoComparison; NoEquality>]
    type Output =
        | Transmit of Outgoing
        /// The server sent us to another, RFC 8656 §7.4: `Start` when messages can be sent there. `Domain`: its name in TLS.
        | Redirected of Server: Endpoint * Domain: string voption
        | Allocated of Relayed: Endpoint[] * Mapped: Endpoint voption
        /// There will be no allocation. `Code` is the server's, or 701 where it did not answer.
        | Failed of Code: int * Text: string
        /// There is none any more.
        | Lost of Code: int * Text: string
        /// It was given back, as far as anybody knows: the end that `Release` begins.
        | Left
        /// What is sent to this peer goes by a channel from now on: see `overhead`.
        | Bound of Peer: Endpoint
        /// The server does not pass packets on to this address.
        | Denied of Peer: Address * Code: int * Text: string
        | Ignored of Drop

    /// W3C WebRTC 1.0 §4.8.3: the server did not answer.
    [<Literal>]
    let private Unreachable = 701

    /// Servers that may send us on from one to the next.
    [<Literal>]
    let private MaxServers = 4

    /// How often one request is asked anew with another nonce.
    [<Literal>]
    let private MaxRenewals = 4

    /// A minute before the 5 minutes of RFC 8656 §9.
    let private permissionRenewal: Duration = Duration.seconds 240L

    /// A minute before the 10 minutes of RFC 8656 §12.
    let private channelRenewal: Duration = Duration.seconds 540L

    /// After a server's passing trouble.
    let private retry: Duration = Duration.seconds 5L

    let create (config: TurnConfig) (entropy: Entropy) : State =
        { Config = config
          Phase = Phase.Idle
          Login = ValueNone
          Pending = [||]
          Tried = [||]
          HasCleared = false
          Entropy = entropy
          Due = Instant.never }

    let deadline (state: State) : Instant = state.Due

    let private allocation (state: State) : ClientAllocation voption =
        match state.Phase with
        | Phase.Serving allocation -> ValueSome allocation
        | Phase.Idle
        | Phase.Asking
        | Phase.Leaving
        | Phase.Over -> ValueNone

    /// The relayed transport addresses; none before and after it serves.
    let relayed (state: State) : Endpoint[] =
        match allocation state with
        | ValueSome allocation -> allocation.Relayed
        | ValueNone -> [||]

    /// Whether it is given back, and an answer awaited.
    let isLeaving (state: State) : bool = state.Phase.IsLeaving

    let isOver (state: State) : bool = state.Phase.IsOver

    /// What the server asked for last.
    let login (state: State) : Login voption = state.Login

    // Data.

    /// What a packet to this peer is wrapped in; ValueNone where none may go.
    let wrap (peer: Endpoint) (state: State) : struct (RelayHeader voption * State) =
        match allocation state with
        | ValueSome allocation ->
            let struct (header, entropy) = ClientAllocation.wrap peer state.Entropy allocation
            struct (header, { state with Entropy = entropy })
        | ValueNone -> struct (ValueNone, state)

    /// Octets around a packet to this peer as `wrap` has it now, padding included.
    let overhead (peer: Endpoint) (state: State) : int =
        match allocation state with
        | ValueSome allocation -> ClientAllocation.overhead peer allocation
        | ValueNone -> 0

    /// Whose data a channel carries. The server may have bound it before we are told.
    let peerOf (channel: uint16) (state: State) : Endpoint voption =
        match allocation state with
        | ValueSome allocation -> ClientAllocation.peerOf channel allocation
        | ValueNone -> ValueNone

    /// Whether data of this address was asked for, RFC 8656 §11.4.
    let isPermitted (address: Address) (state: State) : bool =
        match allocation state with
        | ValueSome allocation -> ClientAllocation.isPermitted address allocation
        | ValueNone -> false

    // Requests.

    let private signed (request: Message) (state: State) : Outgoing =
        match state.Login with
        | ValueSome login -> LongTerm.sign login request
        | ValueNone ->
            { Message = request
              Integrity = Unprotected
              Fingerprint = true }

    let private askAgain now (request: TurnRequest) (renewals: int) (state: State) : Step<State, Output> =
        let struct (id, entropy) = TransactionId.draw state.Entropy
        let message = signed (TurnRequest.message state.Config.RelaysTcp id request) state

        let pending =
            { Request = request
              Transaction = Transaction.start (TurnRequest.timing state.Config.IsReliable request) id now
              Message = message
              Renewals = renewals }

        { state with
            Entropy = entropy
            Pending = Array.append state.Pending [| pending |] }
        |> Step.one (Transmit message)

    let private ask now (request: TurnRequest) (state: State) = askAgain now request 0 state

    let private without (id: TransactionId) (state: State) : State =
        { state with
            Pending = state.Pending |> Array.filter (fun p -> not (p.Transaction.Id.Equals id)) }

    // The end.

    let private over (state: State) : State =
        { state with
            Phase = Phase.Over
            Pending = [||] }

    let private fail code text (state: State) : Step<State, Output> =
        Step.one (Failed(code, text)) (over state)

    let private lose code text (state: State) : Step<State, Output> =
        Step.one (Lost(code, text)) (over state)

    let private unanswered: string = "The server did not answer."

    // The allocation.

    // RFC 8656 §8: what is not wanted is deleted. Nobody waits for the answer.
    let private delete (state: State) : Step<State, Output> =
        match state.Login, state.Phase with
        // Nothing can have been allocated yet.
        | ValueNone, (Phase.Idle | Phase.Asking | Phase.Leaving | Phase.Over) -> Step.only state
        | _ ->
            let struct (id, entropy) = TransactionId.draw state.Entropy

            let message =
                signed (Message.request Method.Refresh id [| Attribute.Lifetime 0u |]) state

            Step.one (Transmit message) { state with Entropy = entropy }

    // RFC 8656 §8, until there is an answer, whatever it is; a nonce that has expired meanwhile is renewed.
    let private leave now (state: State) : Step<State, Output> =
        match state.Login, state.Phase with
        | ValueNone, (Phase.Idle | Phase.Asking | Phase.Leaving | Phase.Over) -> Step.one Left (over state)
        | _ ->
            { state with
                Phase = Phase.Leaving
                Pending = [||] }
            |> ask now TurnRequest.Leave

    // RFC 8656 §7.3.
    let private allocated now families (message: Message) (state: State) : Step<State, Output> =
        let relayed = TurnRequest.relayedAddresses families message
        let lifetime = TurnRequest.lifetimeOf message

        if Array.isEmpty relayed || lifetime = 0L<us> then
            delete state
            |> Step.bind (fail 500 "The server's answer has no relayed address of a family that was asked for.")
        else
            Step.one
                (Allocated(relayed, Message.mappedAddress message))
                { state with
                    Phase = Phase.Serving(ClientAllocation.create now relayed lifetime) }

    // RFC 8656 §7.4 and RFC 8489 §10: of our family, and none that was asked before.
    let private redirected (message: Message) (text: string) (state: State) : Step<State, Output> =
        let isV4 = state.Tried[state.Tried.Length - 1].Address.IsV4

        let alternate =
            Message.pick
                (function
                | AlternateServer e when e.Address.IsV4 = isV4 -> ValueSome e
                | _ -> ValueNone)
                message

        let domain =
            Message.pick
                (function
                | AlternateDomain name -> ValueSome name
                | _ -> ValueNone)
                message

        match alternate with
        | ValueSome server when state.Tried.Length < MaxServers && not (Array.contains server state.Tried) ->
            { state with
                Phase = Phase.Idle
                Login = ValueNone
                HasCleared = false
                Pending = [||] }
            |> Step.one (Redirected(server, domain))
        | _ -> fail 300 text state

    // Peers.

    let private serving (change: ClientAllocation -> ClientAllocation) (state: State) : State =
        match allocation state with
        | ValueSome allocation ->
            { state with
                Phase = Phase.Serving(change allocation) }
        | ValueNone -> state

    let private permit now (address: Address) (allocation: ClientAllocation) (state: State) : Step<State, Output> =
        if ClientAllocation.isPermitted address allocation then
            Step.only state
        elif not (ClientAllocation.reaches address allocation) then
            Step.one (Ignored Drop.Unsupported) state
        else
            match ClientAllocation.addPermission address allocation with
            | ValueSome allocation ->
                { state with
                    Phase = Phase.Serving allocation }
                |> ask now (TurnRequest.CreatePermission address)
            | ValueNone -> Step.one (Ignored Drop.TooMany) state

    let private bind now (peer: Endpoint) (state: State) : Step<State, Output> =
        match allocation state with
        | ValueSome allocation when
            ClientAllocation.isPermitted peer.Address allocation
            && not (ClientAllocation.hasChannel peer allocation)
            ->
            match ClientAllocation.addChannel peer allocation with
            | ValueSome(struct (number, allocation)) ->
                { state with
                    Phase = Phase.Serving allocation }
                |> ask now (TurnRequest.ChannelBind(number, peer))
            | ValueNone -> Step.one (Ignored Drop.TooMany) state
        // It has one, or was refused a permission.
        | _ -> Step.only state

    // Answers.

    let private succeeded now (request: TurnRequest) (message: Message) (state: State) : Step<State, Output> =
        match request with
        | TurnRequest.Allocate families -> allocated now families message state
        | TurnRequest.Clear families -> ask now (TurnRequest.Allocate families) state
        | TurnRequest.Refresh ->
            match TurnRequest.lifetimeOf message with
            | 0L<us> -> lose 437 "The server has ended the allocation." state
            | lifetime -> Step.only (serving (ClientAllocation.refreshed now lifetime) state)
        | TurnRequest.CreatePermission address ->
            Step.only (serving (ClientAllocation.setPermission address (now + permissionRenewal) false) state)
        | TurnRequest.ChannelBind(number, peer) ->
            let wasBound =
                match allocation state with
                | ValueSome allocation -> ClientAllocation.isBound number allocation
                | ValueNone -> true

            let state =
                serving (ClientAllocation.setChannel number (now + channelRenewal) true) state

            if wasBound then
                Step.only state
            else
                Step.one (Bound peer) state
        | TurnRequest.Leave -> Step.one Left (over state)

    // The server does not know the allocation, or not as ours: RFC 8656 §5 and §19.
    let private isFatal (code: int) = code = 401 || code = 437 || code = 441

    // An answer that time may change, RFC 8489 §6.3.4; or none at all.
    let private isPassing (code: int) = code >= 500

    // RFC 8656 §7.4, §8.3, §10.3, §12.3.
    let private rejected now (request: TurnRequest) code text (message: Message voption) (state: State) =
        match request with
        | TurnRequest.Allocate families ->
            match code, families, message with
            | 300, _, ValueSome message -> redirected message text state
            // Somebody before us had this 5-tuple, and our credentials may be his: it is cleared, once.
            | 437, _, _ when state.Login.IsSome && not state.HasCleared ->
                ask now (TurnRequest.Clear families) { state with HasCleared = true }
            // No IPv4 here.
            | 440, RelayFamilies.Both, _ -> ask now (TurnRequest.Allocate RelayFamilies.V6) state
            | _ -> fail code text state
        | TurnRequest.Clear families ->
            // It has gone by itself.
            if code = 437 then
                ask now (TurnRequest.Allocate families) state
            else
                fail 437 "The server has an allocation of somebody else's for this transport address." state
        | TurnRequest.Refresh ->
            if isFatal code || code = 403 then
                lose code text state
            else
                Step.only (
                    serving
                        (fun allocation ->
                            { allocation with
                                RefreshAt = now + retry })
                        state
                )
        | TurnRequest.CreatePermission address ->
            if isFatal code then
                lose code text state
            elif isPassing code then
                Step.only (serving (ClientAllocation.setPermission address (now + retry) false) state)
            else
                serving (ClientAllocation.setPermission address Instant.never true) state
                |> Step.one (Denied(address, code, text))
        | TurnRequest.ChannelBind(number, _) ->
            if isFatal code then
                lose code text state
            else
                // Until then, and where there are no channels, indications do.
                let renewAt = if isPassing code then now + retry else Instant.never
                Step.only (serving (ClientAllocation.setChannel number renewAt false) state)
        | TurnRequest.Leave -> Step.one Left (over state)

    let private renew now (pending: Pending) (login: Login) (state: State) : Step<State, Output> =
        { state with Login = ValueSome login }
        |> askAgain now pending.Request (pending.Renewals + 1)

    // RFC 8489 §9.2.5.
    let private challenged now (pending: Pending) (message: Message) text (state: State) : Step<State, Output> =
        let isNew =
            match state.Login with
            | ValueNone -> true
            | ValueSome login ->
                pending.Message.Integrity.IsUnprotected
                || message.Attributes
                   |> Array.exists (function
                       | Realm realm -> realm <> login.Realm
                       | _ -> false)

        if isNew && pending.Renewals < MaxRenewals then
            match LongTerm.answer state.Config.Ciphers state.Config.Username state.Config.Password message with
            | Ok login -> renew now pending login state
            | Error reason -> rejected now pending.Request 401 reason ValueNone state
        else
            rejected now pending.Request 401 text ValueNone state

    let private stale now (pending: Pending) (message: Message) text (state: State) : Step<State, Output> =
        match state.Login |> ValueOption.bind (LongTerm.renew message) with
        | ValueSome login when pending.Renewals < MaxRenewals -> renew now pending login state
        | _ -> rejected now pending.Request 438 text ValueNone state

    let private answered now (pending: Pending) (message: Message) datagram (state: State) : Step<State, Output> =
        let verification = LongTerm.verify state.Config.Ciphers pending.Message datagram
        let rest = without pending.Transaction.Id state

        match message.Class, Message.errorCode message with
        | Class.Error, ValueSome(struct (401, text)) -> challenged now pending message text rest
        | Class.Error, ValueSome(struct (438, text)) -> stale now pending message text rest
        | _ when LongTerm.isBidDown message -> Step.one (Ignored Drop.Unauthentic) state
        | Class.Success, _ when verification.IsRight ->
            if (Message.unknownRequired message).Length > 0 then
                rejected
                    now
                    pending.Request
                    500
                    "The server's answer has attributes that are not understood."
                    ValueNone
                    rest
            else
                succeeded now pending.Request message rest
        | Class.Error, ValueSome(struct (code, text)) when LongTerm.isTrusted code verification ->
            rejected now pending.Request code text (ValueSome message) rest
        // RFC 8489 §9.2.5: as if it had not come; another cannot come over a stream.
        | _ when state.Config.IsReliable ->
            rejected now pending.Request Unreachable "The server's answer was altered on its way." ValueNone rest
        | _ -> Step.one (Ignored Drop.Unauthentic) state

    let private received now (datagram: ReadOnlyMemory<byte>) (state: State) : Step<State, Output> =
        match Message.read datagram.Span with
        | ValueNone -> Step.one (Ignored Drop.Malformed) state
        | ValueSome message ->
            match message.Class with
            | Class.Request
            | Class.Indication -> Step.one (Ignored Drop.Unexpected) state
            | Class.Success
            | Class.Error ->
                match
                    state.Pending
                    |> Array.tryFind (fun p -> p.Transaction.Id.Equals message.Transaction)
                with
                | Some pending when pending.Message.Message.Method = message.Method ->
                    answered now pending message datagram state
                | Some _
                | None -> Step.one (Ignored Drop.Unexpected) state

    // Time.

    let private resend now (pending: Pending) (state: State) : Step<State, Output> =
        // An answer to another may have ended it all.
        let isThere =
            state.Pending
            |> Array.exists (fun p -> p.Transaction.Id.Equals pending.Transaction.Id)

        if not isThere || now < pending.Transaction.DueAt then
            Step.only state
        elif Transaction.isSpent pending.Transaction then
            let rest = without pending.Transaction.Id state

            match pending.Request with
            // At once: what is left of its lifetime is for this.
            | TurnRequest.Refresh -> ask now TurnRequest.Refresh rest
            | other -> rejected now other Unreachable unanswered ValueNone rest
        else
            let again =
                { pending with
                    Transaction = Transaction.resend now pending.Transaction }

            { state with
                Pending =
                    state.Pending
                    |> Array.map (fun p ->
                        if p.Transaction.Id.Equals pending.Transaction.Id then
                            again
                        else
                            p) }
            |> Step.one (Transmit pending.Message)

    let private refresh now (state: State) : Step<State, Output> =
        match allocation state with
        | ValueSome allocation when now >= allocation.ExpiresAt ->
            lose Unreachable "The allocation could not be refreshed in time." state
        | ValueSome allocation when now >= allocation.RefreshAt ->
            state
            |> serving (fun allocation ->
                { allocation with
                    RefreshAt = Instant.never })
            |> ask now TurnRequest.Refresh
        | _ -> Step.only state

    let private renewPeers now (state: State) : Step<State, Output> =
        match allocation state with
        | ValueSome allocation ->
            let permissions =
                (Step.only state, allocation.Permissions)
                ||> Array.fold (fun step permission ->
                    if now >= permission.RenewAt then
                        step
                        |> Step.bind (
                            serving (ClientAllocation.setPermission permission.Address Instant.never false)
                            >> ask now (TurnRequest.CreatePermission permission.Address)
                        )
                    else
                        step)

            (permissions, Array.indexed allocation.Channels)
            ||> Array.fold (fun step (n, channel) ->
                if now >= channel.RenewAt then
                    let number = ClientAllocation.numberOf n

                    step
                    |> Step.bind (
                        serving (ClientAllocation.setChannel number Instant.never channel.IsBound)
                        >> ask now (TurnRequest.ChannelBind(number, channel.Peer))
                    )
                else
                    step)
        | ValueNone -> Step.only state

    let private tick now (state: State) : Step<State, Output> =
        (Step.only state, state.Pending)
        ||> Array.fold (fun step pending -> Step.bind (resend now pending) step)
        |> Step.bind (refresh now)
        |> Step.bind (renewPeers now)

    let private due (state: State) : Instant =
        let mutable due = Instant.never

        for pending in state.Pending do
            due <- Instant.min due pending.Transaction.DueAt

        match allocation state with
        | ValueSome allocation -> due <- Instant.min due (ClientAllocation.deadline allocation)
        | ValueNone -> ()

        due

    let private react now (input: Input) (state: State) : Step<State, Output> =
        match state.Phase, input with
        | Phase.Idle, Start server ->
            { state with
                Phase = Phase.Asking
                Tried = Array.append state.Tried [| server |] }
            |> ask now (TurnRequest.Allocate state.Config.Families)
        | (Phase.Asking | Phase.Serving _ | Phase.Leaving), Tick -> tick now state
        | (Phase.Asking | Phase.Serving _ | Phase.Leaving), Received datagram -> received now datagram state
        | Phase.Serving allocation, Permit address -> permit now address allocation state
        // The channel's own permission is shorter than the channel, RFC 8656 §12.
        | Phase.Serving allocation, Bind peer -> permit now peer.Address allocation state |> Step.bind (bind now peer)
        // The answer may be on its way: what was allocated meanwhile is not left behind.
        | (Phase.Idle | Phase.Asking | Phase.Serving _), Release -> leave now state
        | (Phase.Idle | Phase.Asking), Closed reason -> fail Unreachable reason state
        | Phase.Serving _, Closed reason -> lose Unreachable reason state
        | Phase.Leaving, Closed _ -> Step.one Left (over state)
        | (Phase.Idle | Phase.Over), Tick
        | Phase.Over, (Release | Closed _)
        | Phase.Leaving, Release -> Step.only state
        | Phase.Leaving, (Start _ | Permit _ | Bind _)
        | Phase.Over, (Start _ | Received _ | Permit _ | Bind _) -> Step.one (Ignored Drop.Stale) state
        | (Phase.Asking | Phase.Serving _), Start _
        | Phase.Idle, Received _
        | (Phase.Idle | Phase.Asking), (Permit _ | Bind _) -> Step.one (Ignored Drop.Unexpected) state

    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick when now < state.Due -> Step.only state
        | _ ->
            let struct (state, outputs) = react now input state
            struct ({ state with Due = due state }, outputs)
