namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// Connections between an allocation of TCP and its peers, RFC 6062 §4, the client's side: each goes by a data connection of its own to
/// the server. How that is opened, and what the allocation itself needs, are others' parts.
///
///     Connect ──▶ Connecting ──CONNECTION-ID──▶ Opening ──stream open──▶ Binding ──success──▶ Open ──closed──▶ (gone)
///                     └──────── 446, 447…, no answer ───────▶ (gone) ◀──────┴── refused, ended, no answer
///     ConnectionAttempt ─────────────────────────▲
[<RequireQualifiedAccess>]
module internal TcpConnections =
    /// A request that awaits its answer.
    [<NoComparison; NoEquality>]
    type private Pending =
        {
            /// What it was asked with: nonces may be of one connection.
            Login: Login voption
            Transaction: Transaction
            Message: Outgoing
            /// How often it was asked anew with another nonce or realm.
            Renewals: int
        }

    [<RequireQualifiedAccess; NoComparison; NoEquality>]
    type private Stage =
        | Connecting of Pending
        | Opening of Id: uint32
        | Binding of Id: uint32 * Pending
        | Open

    [<NoComparison; NoEquality>]
    type private Connection =
        {
            /// The path that ICE has.
            Inner: Path
            /// The stream to the server that carries it.
            Data: PortId
            Stage: Stage
        }

    [<NoComparison; NoEquality>]
    type State =
        private
            {
                Ciphers: ICiphers
                Username: string
                Password: string
                /// What the server asked for last.
                Login: Login voption
                All: Connection[]
                Entropy: Entropy
                Due: Instant
            }

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        /// Connect to the peer of this path; `Data` is to be the stream's number.
        | Connect of Inner: Path * Data: PortId
        /// The server's indication that a peer has connected; `Inner` is the path that it is to have.
        | Attempted of Inner: Path * Id: uint32 * Data: PortId
        /// An answer on the control connection.
        | Received of Datagram: ReadOnlyMemory<byte>
        | StreamOpened of Data: PortId
        | StreamClosed of Data: PortId
        /// A STUN message on a data connection.
        | DataReceived of Data: PortId * Datagram: ReadOnlyMemory<byte>
        /// It is not wanted any more.
        | Close of Inner: Path
        /// The allocation is gone.
        | CloseAll

    [<NoComparison; NoEquality>]
    type Output =
        /// On the control connection.
        | Transmit of Outgoing
        /// On a data connection.
        | TransmitData of Data: PortId * Outgoing
        | OpenStream of Data: PortId
        | CloseStream of Data: PortId
        /// Datagrams may pass, and come.
        | Opened of Inner: Path
        | Closed of Inner: Path * Reason: string
        /// The server does not make it: RFC 6062 §4.3 forbids to ask again within 10 s.
        | Refused of Inner: Path * Reason: string
        | Ignored of Drop

    /// Connections of one allocation: those that a peer makes us make are bounded by ICE, those that it makes by this.
    [<Literal>]
    let private MaxConnections = 32

    [<Literal>]
    let private MaxRenewals = 4

    // The server has 30 s for its connection, and for a bind.
    let private timing: Timing = Transaction.once Transaction.ti

    let create (ciphers: ICiphers) (username: string) (password: string) (entropy: Entropy) : State =
        { Ciphers = ciphers
          Username = username
          Password = password
          Login = ValueNone
          All = [||]
          Entropy = entropy
          Due = Instant.never }

    let deadline (state: State) : Instant = state.Due

    // By hand: these are asked of every packet.

    let private indexOf (inner: Path) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && not (all[i].Inner.Equals inner) do
            i <- i + 1

        if i < all.Length then i else -1

    let private indexOfData (data: PortId) (state: State) : int =
        let all = state.All
        let mutable i = 0

        while i < all.Length && all[i].Data <> data do
            i <- i + 1

        if i < all.Length then i else -1

    /// The stream that carries a path of ICE's; ValueNone where there is none that is open.
    let streamOf (inner: Path) (state: State) : PortId voption =
        match indexOf inner state with
        | i when i >= 0 && state.All[i].Stage.IsOpen -> ValueSome state.All[i].Data
        | _ -> ValueNone

    /// The path of ICE's that a stream carries; ValueNone where it carries none yet.
    let pathOf (data: PortId) (state: State) : Path voption =
        match indexOfData data state with
        | i when i >= 0 && state.All[i].Stage.IsOpen -> ValueSome state.All[i].Inner
        | _ -> ValueNone

    /// Whether a path of ICE's is one of these.
    let has (inner: Path) (state: State) : bool = indexOf inner state >= 0

    /// Whether a port of ICE's has a connection here.
    let hasPort (port: PortId) (state: State) : bool =
        state.All |> Array.exists (fun connection -> connection.Inner.Local = port)

    /// The paths of a port of ICE's.
    let pathsOf (port: PortId) (state: State) : Path[] =
        state.All |> Array.map _.Inner |> Array.filter (fun inner -> inner.Local = port)

    let hasStream (data: PortId) (state: State) : bool = indexOfData data state >= 0

    let private put (connection: Connection) (state: State) : State =
        { state with
            All =
                state.All
                |> Array.map (fun other -> if other.Data = connection.Data then connection else other) }

    let private without (connection: Connection) (state: State) : State =
        { state with
            All = state.All |> Array.filter (fun other -> other.Data <> connection.Data) }

    // The stream goes where there is one.
    let private hangUp (connection: Connection) : Output list =
        match connection.Stage with
        | Stage.Connecting _ -> []
        | Stage.Opening _
        | Stage.Binding _
        | Stage.Open -> [ CloseStream connection.Data ]

    let private fail (reason: string) (connection: Connection) (state: State) : Step<State, Output> =
        struct (without connection state, hangUp connection @ [ Closed(connection.Inner, reason) ])

    let private ask now (renewals: int) (login: Login voption) (method: Method) attributes (state: State) =
        let struct (id, entropy) = TransactionId.draw state.Entropy
        let request = Message.request method id attributes

        let message =
            match login with
            | ValueSome login -> LongTerm.sign login request
            | ValueNone ->
                { Message = request
                  Integrity = Unprotected
                  Fingerprint = true }

        struct ({ Login = login
                  Transaction = Transaction.start timing id now
                  Message = message
                  Renewals = renewals },
                { state with Entropy = entropy })

    let private askConnect now renewals (connection: Connection) (state: State) : Step<State, Output> =
        let struct (pending, state) =
            ask now renewals state.Login Method.Connect [| XorPeerAddress connection.Inner.Remote |] state

        put
            { connection with
                Stage = Stage.Connecting pending }
            state
        |> Step.one (Transmit pending.Message)

    let private askBind now renewals login (id: uint32) (connection: Connection) (state: State) : Step<State, Output> =
        let struct (pending, state) =
            ask now renewals login Method.ConnectionBind [| ConnectionId id |] state

        put
            { connection with
                Stage = Stage.Binding(id, pending) }
            state
        |> Step.one (TransmitData(connection.Data, pending.Message))

    let private add (connection: Connection) (state: State) : State =
        { state with
            All = Array.append state.All [| connection |] }

    let private connect now (inner: Path) (data: PortId) (state: State) : Step<State, Output> =
        if state.All.Length >= MaxConnections || indexOf inner state >= 0 then
            Step.one (Refused(inner, "There are too many connections by this relay.")) state
        else
            let connection =
                { Inner = inner
                  Data = data
                  Stage = Stage.Opening 0u }

            askConnect now 0 connection (add connection state)

    let private attempted (inner: Path) (id: uint32) (data: PortId) (state: State) : Step<State, Output> =
        let before =
            match indexOf inner state with
            | -1 -> ValueNone
            | i -> ValueSome state.All[i]

        match before with
        | ValueNone when state.All.Length >= MaxConnections -> Step.one (Ignored Drop.TooMany) state
        | _ ->
            // The peer's port is free again, so its last connection is over.
            (match before with
             | ValueSome last -> fail "The peer has connected anew." last state
             | ValueNone -> Step.only state)
            |> Step.bind (
                add
                    { Inner = inner
                      Data = data
                      Stage = Stage.Opening id }
                >> Step.one (OpenStream data)
            )

    let private idIn (message: Message) : uint32 voption =
        Message.pick
            (function
            | ConnectionId id -> ValueSome id
            | _ -> ValueNone)
            message

    // RFC 8489 §9.2.5: the credentials that the answer asks for; ValueNone where it is no such answer, or asks in vain.
    let private renewed (pending: Pending) (message: Message) (state: State) : Login voption =
        match message.Class, Message.errorCode message with
        | _ when pending.Renewals >= MaxRenewals -> ValueNone
        | Class.Error, ValueSome(struct (401, _)) ->
            let isNew =
                match pending.Login with
                | ValueNone -> true
                | ValueSome login ->
                    pending.Message.Integrity.IsUnprotected
                    || message.Attributes
                       |> Array.exists (function
                           | Realm realm -> realm <> login.Realm
                           | _ -> false)

            if isNew then
                match LongTerm.answer state.Ciphers state.Username state.Password message with
                | Ok login -> ValueSome login
                | Error _ -> ValueNone
            else
                ValueNone
        | Class.Error, ValueSome(struct (438, _)) -> pending.Login |> ValueOption.bind (LongTerm.renew message)
        | _ -> ValueNone

    // What an answer that is not to be asked again means: success, or why not.
    let private verdict (pending: Pending) (message: Message) datagram (state: State) : Result<unit, string> =
        let verification = LongTerm.verify state.Ciphers pending.Message datagram

        match message.Class, Message.errorCode message with
        | _ when LongTerm.isBidDown message -> Error "The server's answer was altered on its way."
        | Class.Success, _ when verification.IsRight && (Message.unknownRequired message).Length = 0 -> Ok()
        | Class.Error, ValueSome(struct (code, text)) when LongTerm.isTrusted code verification ->
            Error(String.Concat(code.ToString Globalization.CultureInfo.InvariantCulture, " ", text))
        | _ -> Error "The server's answer was altered on its way."

    let private received now (datagram: ReadOnlyMemory<byte>) (state: State) : Step<State, Output> =
        let isFor (message: Message) (connection: Connection) =
            match connection.Stage with
            | Stage.Connecting pending -> pending.Transaction.Id.Equals message.Transaction
            | _ -> false

        match Message.read datagram.Span with
        | ValueNone -> Step.one (Ignored Drop.Malformed) state
        | ValueSome message ->
            match state.All |> Array.tryFind (isFor message) with
            | Some({ Stage = Stage.Connecting pending } as connection) when message.Method = Method.Connect ->
                match renewed pending message state with
                | ValueSome login ->
                    { state with Login = ValueSome login }
                    |> askConnect now (pending.Renewals + 1) connection
                | ValueNone ->
                    match verdict pending message datagram state, idIn message with
                    | Ok(), ValueSome id ->
                        put
                            { connection with
                                Stage = Stage.Opening id }
                            state
                        |> Step.one (OpenStream connection.Data)
                    | Ok(), ValueNone -> fail "The server's answer has no CONNECTION-ID." connection state
                    | Error reason, _ -> Step.one (Refused(connection.Inner, reason)) (without connection state)
            | _ -> Step.one (Ignored Drop.Unexpected) state

    let private dataReceived now (data: PortId) (datagram: ReadOnlyMemory<byte>) (state: State) =
        match indexOfData data state with
        | -1 -> Step.one (Ignored Drop.Stale) state
        | i ->
            let connection = state.All[i]

            match connection.Stage, Message.read datagram.Span with
            | _, ValueNone -> Step.one (Ignored Drop.Malformed) state
            | Stage.Binding(id, pending), ValueSome message when
                message.Method = Method.ConnectionBind
                && pending.Transaction.Id.Equals message.Transaction
                ->
                match renewed pending message state with
                // Its nonce may be this connection's alone.
                | ValueSome _ as login -> askBind now (pending.Renewals + 1) login id connection state
                | ValueNone ->
                    match verdict pending message datagram state with
                    | Ok() ->
                        put { connection with Stage = Stage.Open } state
                        |> Step.one (Opened connection.Inner)
                    | Error reason -> fail reason connection state
            | _ -> Step.one (Ignored Drop.Unexpected) state

    let private streamOpened now (data: PortId) (state: State) : Step<State, Output> =
        match indexOfData data state with
        | -1 -> Step.one (Ignored Drop.Stale) state
        | i ->
            match state.All[i] with
            | { Stage = Stage.Opening id } as connection -> askBind now 0 state.Login id connection state
            | _ -> Step.one (Ignored Drop.Unexpected) state

    let private streamClosed (data: PortId) (state: State) : Step<State, Output> =
        match indexOfData data state with
        | -1 -> Step.one (Ignored Drop.Stale) state
        | i ->
            let connection = state.All[i]

            // There is no stream to close any more.
            struct (without connection state, [ Closed(connection.Inner, "The data connection has ended.") ])

    let private closeOne (inner: Path) (state: State) : Step<State, Output> =
        match indexOf inner state with
        | -1 -> Step.only state
        | i -> struct (without state.All[i] state, hangUp state.All[i])

    let private tick now (state: State) : Step<State, Output> =
        (Step.only state, state.All)
        ||> Array.fold (fun step connection ->
            match connection.Stage with
            | Stage.Connecting pending
            | Stage.Binding(_, pending) when pending.Transaction.DueAt <= now ->
                step |> Step.bind (fail "The server did not answer." connection)
            | _ -> step)

    let private react now (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick -> tick now state
        | Connect(inner, data) -> connect now inner data state
        | Attempted(inner, id, data) -> attempted inner id data state
        | Received datagram -> received now datagram state
        | StreamOpened data -> streamOpened now data state
        | StreamClosed data -> streamClosed data state
        | DataReceived(data, datagram) -> dataReceived now data datagram state
        | Close inner -> closeOne inner state
        | CloseAll ->
            (Step.only state, state.All)
            ||> Array.fold (fun step connection -> step |> Step.bind (fail "The allocation is gone." connection))

    /// With what the server asks for on the control connection, where that is known.
    let knowing (login: Login voption) (state: State) : State =
        if state.Login.IsNone && login.IsSome then
            { state with Login = login }
        else
            state

    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Tick when now < state.Due -> Step.only state
        | _ ->
            let struct (state, outputs) = react now input state
            let mutable due = Instant.never

            for connection in state.All do
                match connection.Stage with
                | Stage.Connecting pending
                | Stage.Binding(_, pending) -> due <- Instant.min due pending.Transaction.DueAt
                | Stage.Opening _
                | Stage.Open -> ()

            struct ({ state with Due = due }, outputs)
