namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Channel

/// Data channels over one association, RFC 8831 and RFC 8832, with the states of W3C WebRTC 1.0 §6.2.
///
///     Connecting ──association up──▶ Open ──close, or the peer's reset──▶ Closing ──both ways reset──▶ Closed
///          └───────────────────────────┴────────────────association lost────────────────────────────────┘
[<RequireQualifiedAccess>]
module Channels =
    /// Which stream ids we choose, RFC 8832 §6: the DTLS client even ones, the server odd ones.
    [<Struct; NoComparison>]
    type Parity =
        | Even
        | Odd

    [<NoComparison; NoEquality>]
    type Association =
        | Down
        /// Ids are below `Streams`.
        | Up of Parity: Parity * Streams: int
        | Lost

    /// What changes only as channels come and go.
    [<NoComparison; NoEquality>]
    type Book =
        internal
            {
                /// The largest message that the pieces of 52 and 54 may add up to.
                MaxMessageSize: int
                NextHandle: ChannelHandle
                /// Octets of labels and protocols that the peer has us keep.
                PeersText: int
                Opened: int
                Closed: int
            }

    [<NoComparison; NoEquality>]
    type State =
        internal
            {
                Association: Association
                Book: Book
                Channels: Slots<Channel>
                /// Which channel a stream serves.
                Streams: Slots<ChannelHandle>
                /// The channel that was used last, whose traffic is `Traffic` and not what the channel says: a message
                /// changes a few numbers here and no table. Null where `Channels` is all.
                Hot: Channel | null
                Traffic: Traffic
            }

    [<NoComparison; NoEquality>]
    type Input =
        /// Answered by `Created` or `Refused`.
        | Create of Command: CommandId * Init: ChannelInit
        | Send of Handle: ChannelHandle * Text: bool * Payload: ReadOnlyMemory<byte>
        | Close of Handle: ChannelHandle
        | Established of Parity: Parity * Streams: int
        /// A message of the association; `Payload` is ours.
        | Received of Stream: uint16 * Ppid: uint32 * Payload: ReadOnlyMemory<byte>
        /// Octets of a stream have left the association's queue for the first time, or were given up.
        | Transmitted of Stream: uint16 * Octets: int
        /// None: all of them, RFC 6525 §4.1.
        | IncomingReset of Streams: uint16[]
        | OutgoingReset of Streams: uint16[]
        /// The association is over; with a fault, channels tell of it.
        | AssociationLost of Fault: Fault voption

    [<NoComparison; NoEquality>]
    type Output =
        | Created of Command: CommandId * Info: ChannelInfo
        | Refused of Command: CommandId * Mistake: Mistake
        | Queue of Message: OutgoingMessage
        | Reset of Streams: uint16[]
        /// Received octets that nobody is going to consume: the window opens again.
        | Discarded of Octets: int
        | Announced of ChannelInfo
        | Opened of Handle: ChannelHandle * Id: int
        | ClosingBegan of Handle: ChannelHandle
        | Closed of Handle: ChannelHandle * Fault: Fault voption
        | BufferedAmountFell of Handle: ChannelHandle * Octets: int
        | Deliver of Handle: ChannelHandle * Text: bool * Payload: ReadOnlyMemory<byte>
        | Ignored of Drop

    /// The largest stream id, W3C WebRTC 1.0 §6.2: 65,535 is not one (RFC 8832 §5.1 leaves it out).
    [<Literal>]
    let MaxId = Channel.MaxId

    /// What labels and protocols of channels that the peer opens may add up to. Ours.
    [<Literal>]
    let private MaxPeersText = 4_194_304

    /// No channels, and no association yet.
    let create (maxMessageSize: int) : State =
        { Association = Down
          Book =
            { MaxMessageSize = maxMessageSize
              NextHandle = 1
              PeersText = 0
              Opened = 0
              Closed = 0 }
          Channels = Slots.empty
          Streams = Slots.empty
          Hot = null
          Traffic = noTraffic }

    /// Nothing here waits for time to pass.
    let deadline (_: State) : Instant = Instant.never

    let private keep (channel: Channel) (state: State) =
        { state with
            Channels = Slots.set channel.Info.Handle channel state.Channels }

    /// With all of it in the table.
    let private cool (state: State) : State =
        match state.Hot with
        | null -> state
        | hot ->
            { state with
                Channels = Slots.set hot.Info.Handle { hot with Traffic = state.Traffic } state.Channels
                Hot = null }

    /// With a channel as the hot one.
    let private warm (channel: Channel) (state: State) : State =
        if Object.ReferenceEquals(channel, state.Hot) then
            state
        else
            { cool state with
                Hot = channel
                Traffic = channel.Traffic }

    /// A channel, for `warm`, or to see what never changes with traffic.
    let private glance (handle: ChannelHandle) (state: State) : Channel voption =
        match state.Hot with
        // `NonNull` would allocate.
        | null -> Slots.tryFind handle state.Channels
        | hot when hot.Info.Handle = handle -> ValueSome hot
        | _ -> Slots.tryFind handle state.Channels

    let private isOn (stream: uint16) (channel: Channel) =
        match channel.Info.Init.Id with
        | ValueSome id -> id = int stream
        | ValueNone -> false

    let private found (stream: uint16) (state: State) : Channel voption =
        match Slots.tryFind (int stream) state.Streams with
        | ValueSome handle -> Slots.tryFind handle state.Channels
        | ValueNone -> ValueNone

    /// The same, by its stream.
    let private glanceAt (stream: uint16) (state: State) : Channel voption =
        match state.Hot with
        | null -> found stream state
        | hot when isOn stream hot -> ValueSome hot
        | _ -> found stream state

    // --- Creating, W3C WebRTC 1.0 §6.1 createDataChannel

    let private refusal (init: ChannelInit) (state: State) : Mistake voption =
        let taken (id: int) = (Slots.tryFind id state.Streams).IsSome

        let beyond id =
            match state.Association with
            | Up(_, streams) -> id >= streams
            | Down
            | Lost -> false

        match invalid init, init.Id with
        | ValueSome mistake, _ -> ValueSome mistake
        | _, ValueSome id when init.Negotiated && taken id ->
            mistake ErrorName.OperationError ("The id " + string id + " is in use by another channel.")
        | _, ValueSome id when init.Negotiated && beyond id ->
            mistake
                ErrorName.OperationError
                ("The id "
                 + string id
                 + " is beyond the streams that were negotiated with the peer.")
        | _ -> ValueNone

    /// The lowest free id of our parity, RFC 8832 §6.
    let private freeId parity streams (state: State) : int voption =
        let rec search id =
            if id >= streams || id > MaxId then
                ValueNone
            elif (Slots.tryFind id state.Streams).IsSome then
                search (id + 2)
            else
                ValueSome id

        search (if parity = Even then 0 else 1)

    let private closedWith fault (channel: Channel) (state: State) : Step<State, Output> =
        let streams =
            match channel.Info.Init.Id with
            | ValueSome id when Slots.tryFind id state.Streams = ValueSome channel.Info.Handle ->
                Slots.remove id state.Streams
            | _ -> state.Streams


        Step.one
            (Closed(channel.Info.Handle, fault))
            { state with
                Channels = Slots.remove channel.Info.Handle state.Channels
                Streams = streams
                Book =
                    { state.Book with
                        PeersText = state.Book.PeersText - channel.PeersText
                        Closed =
                            match channel.Phase with
                            | Connecting -> state.Book.Closed
                            | Open _
                            | Closing _ -> state.Book.Closed + 1 } }

    /// The association is up: the channel gets its stream, its OPEN goes out, and it is open (RFC 8832 §6 lets data
    /// follow the OPEN at once).
    let private openOn parity streams (channel: Channel) (state: State) : Step<State, Output> =
        let init = channel.Info.Init

        match
            (if init.Negotiated then
                 init.Id
             else
                 freeId parity streams state)
        with
        | ValueSome id when id < streams ->
            let opened =
                { channel with
                    Info =
                        { channel.Info with
                            Init = { init with Id = ValueSome id } }
                    Phase = Open init.Negotiated }

            let state =
                { state with
                    Streams = Slots.set id channel.Info.Handle state.Streams
                    Book =
                        { state.Book with
                            Opened = state.Book.Opened + 1 } }

            if init.Negotiated then
                Step.one (Opened(channel.Info.Handle, id)) (keep opened state)
            else
                let message =
                    Dcep.Open
                        { Ordered = init.Ordered
                          Reliability = reliability init
                          Priority = uint16 init.Priority
                          Label = init.Label
                          Protocol = init.Protocol }

                let struct (opened, queued) = control id message opened
                struct (keep opened state, [ Queue queued; Opened(channel.Info.Handle, id) ])
        | _ ->
            let fault =
                Fault.create Layer.Data ErrorDetail.DataChannelFailure "No stream is left for the channel."

            closedWith (ValueSome fault) channel state

    let private add command (init: ChannelInit) (state: State) : Step<State, Output> =
        // W3C: without `negotiated`, an id that was given is not used.
        let init =
            if init.Negotiated then
                init
            else
                { init with Id = ValueNone }

        let info =
            { Handle = state.Book.NextHandle
              Init = init }

        let channel =
            { Info = info
              Phase = Connecting
              Traffic = noTraffic
              Partial = noPieces
              PeersText = 0 }

        let state =
            keep
                channel
                { state with
                    Book =
                        { state.Book with
                            NextHandle = state.Book.NextHandle + 1 }
                    Streams =
                        match init.Id with
                        | ValueSome id -> Slots.set id info.Handle state.Streams
                        | ValueNone -> state.Streams }

        match state.Association with
        | Up(parity, streams) ->
            let struct (state, outputs) = openOn parity streams channel state
            struct (state, Created(command, info) :: outputs)
        | Down
        | Lost -> Step.one (Created(command, info)) state

    // --- Sending, W3C WebRTC 1.0 §6.2 send()

    let private send text (payload: ReadOnlyMemory<byte>) (channel: Channel) (state: State) : Step<State, Output> =
        match channel.Phase, channel.Info.Init.Id with
        | Open _, ValueSome id ->
            let overhead = if payload.IsEmpty then 1 else 0
            let carried = if payload.IsEmpty then emptyMessage else payload

            let ppid =
                match payload.IsEmpty, text with
                | true, true -> Ppid.StringEmpty
                | true, false -> Ppid.BinaryEmpty
                | false, true -> Ppid.String
                | false, false -> Ppid.Binary

            let state = warm channel state
            let traffic = queued carried.Length overhead state.Traffic

            Step.one
                (Queue(message id ppid false carried channel))
                { state with
                    Traffic =
                        { traffic with
                            MessagesSent = traffic.MessagesSent + 1L
                            BytesSent = traffic.BytesSent + int64 payload.Length } }
        | _ -> Step.one (Ignored Drop.Unexpected) state

    let private transmitted octets (channel: Channel) (state: State) : Step<State, Output> =
        let state = warm channel state
        let struct (traffic, users) = left octets state.Traffic
        let state = { state with Traffic = traffic }

        if users > 0 then
            Step.one (BufferedAmountFell(channel.Info.Handle, users)) state
        else
            Step.only state

    // --- Receiving

    /// DATA_CHANNEL_OPEN, RFC 8832 §6: the channel is open with it, and acknowledged.
    let private answerOpen (stream: uint16) (o: DcepOpen) (state: State) : Step<State, Output> =
        let capped (value: int64) = ValueSome(int (min value 65_535L))

        let struct (retransmits, lifetime) =
            match o.Reliability with
            | Reliable -> struct (ValueNone, ValueNone)
            | MaxRetransmits count -> struct (capped (int64 count), ValueNone)
            | MaxLifetime length -> struct (ValueNone, capped (Duration.toMilliseconds length))

        let init =
            { Label = o.Label
              Protocol = o.Protocol
              Ordered = o.Ordered
              MaxRetransmits = retransmits
              MaxPacketLifeTime = lifetime
              Negotiated = false
              Id = ValueSome(int stream)
              Priority = priority o.Priority }

        let text = textSize init

        if state.Book.PeersText + text > MaxPeersText then
            struct (state, [ Reset [| stream |]; Ignored Drop.TooMany ])
        else
            let info =
                { Handle = state.Book.NextHandle
                  Init = init }

            let channel =
                { Info = info
                  Phase = Open true
                  Traffic = noTraffic
                  Partial = noPieces
                  PeersText = text }

            let struct (channel, ack) = control (int stream) Dcep.Ack channel

            struct (keep
                        channel
                        { state with
                            Streams = Slots.set (int stream) info.Handle state.Streams
                            Book =
                                { state.Book with
                                    NextHandle = state.Book.NextHandle + 1
                                    PeersText = state.Book.PeersText + text
                                    Opened = state.Book.Opened + 1 } },
                    [ Queue ack; Announced info ])

    let private deliver text (payload: ReadOnlyMemory<byte>) (channel: Channel) (state: State) : Step<State, Output> =
        // First, by what it is in the table: its traffic is the state's from here on.
        let state = warm channel state
        let whole = joined channel.Partial payload

        let isPlain =
            channel.Partial.Size = 0
            && match channel.Phase with
               | Open acknowledged -> acknowledged
               | Connecting
               | Closing _ -> true

        let channel =
            if isPlain then
                channel
            else
                { channel with
                    // A message shows that the peer has our OPEN, RFC 8832 §6.
                    Phase =
                        match channel.Phase with
                        | Open _ -> Open true
                        | other -> other
                    Partial = noPieces }

        let traffic = state.Traffic

        Step.one
            (Deliver(channel.Info.Handle, text, whole))
            { state with
                Hot = channel
                Traffic =
                    { traffic with
                        MessagesReceived = traffic.MessagesReceived + 1L
                        BytesReceived = traffic.BytesReceived + int64 whole.Length } }

    let private received stream ppid (payload: ReadOnlyMemory<byte>) (state: State) : Step<State, Output> =
        let refused drop =
            struct (state, [ Discarded payload.Length; Ignored drop ])

        match ppid, found stream state with
        | Ppid.Dcep, found ->
            match Dcep.read payload.Span, found with
            | ValueSome(Dcep.Open o), ValueNone ->
                let struct (state, outputs) = answerOpen stream o state
                struct (state, Discarded payload.Length :: outputs)
            | ValueSome Dcep.Ack, ValueSome({ Phase = Open false } as channel) ->
                Step.one (Discarded payload.Length) (keep { channel with Phase = Open true } state)
            | ValueNone, _ -> refused Drop.Malformed
            | ValueSome _, _ -> refused Drop.Unexpected
        // An empty message's octet is padding; it never comes back as consumed.
        | Ppid.StringEmpty, ValueSome channel ->
            deliver true ReadOnlyMemory.Empty channel state
            |> fun (struct (state, outputs)) -> struct (state, Discarded payload.Length :: outputs)
        | Ppid.BinaryEmpty, ValueSome channel ->
            deliver false ReadOnlyMemory.Empty channel state
            |> fun (struct (state, outputs)) -> struct (state, Discarded payload.Length :: outputs)
        | Ppid.String, ValueSome channel -> deliver true payload channel state
        | Ppid.Binary, ValueSome channel -> deliver false payload channel state
        | (Ppid.StringPartial | Ppid.BinaryPartial), ValueSome channel ->
            let size = channel.Partial.Size + payload.Length

            if size > state.Book.MaxMessageSize then
                refused Drop.TooMany
            else
                Step.only (
                    keep
                        { channel with
                            Partial =
                                { Pieces = payload :: channel.Partial.Pieces
                                  Size = size } }
                        state
                )
        | (Ppid.String | Ppid.Binary | Ppid.StringEmpty | Ppid.BinaryEmpty | Ppid.StringPartial | Ppid.BinaryPartial),
          ValueNone -> refused Drop.Unexpected
        | _ -> refused Drop.Unsupported

    // --- Closing, W3C WebRTC 1.0 §6.2.4 and RFC 8831 §6.7

    let private close (channel: Channel) (state: State) : Step<State, Output> =
        match channel.Phase, channel.Info.Init.Id with
        | Connecting, _ -> closedWith ValueNone channel state
        | Open _, ValueSome id ->
            let closing =
                { channel with
                    Phase = Closing BothResets }

            struct (keep closing state, [ ClosingBegan channel.Info.Handle; Reset [| uint16 id |] ])
        | _ -> Step.only state

    let private incomingReset (stream: uint16) (state: State) : Step<State, Output> =
        match found stream state with
        | ValueSome({ Phase = Open _ } as channel) ->
            let closing =
                { channel with
                    Phase = Closing OurReset }

            struct (keep closing state, [ ClosingBegan channel.Info.Handle; Reset [| stream |] ])
        | ValueSome({ Phase = Closing BothResets } as channel) ->
            Step.only (
                keep
                    { channel with
                        Phase = Closing OurReset }
                    state
            )
        | ValueSome({ Phase = Closing PeersReset } as channel) -> closedWith ValueNone channel state
        | _ -> Step.one (Ignored Drop.Unexpected) state

    let private outgoingReset (stream: uint16) (state: State) : Step<State, Output> =
        match found stream state with
        | ValueSome({ Phase = Closing BothResets } as channel) ->
            Step.only (
                keep
                    { channel with
                        Phase = Closing PeersReset }
                    state
            )
        | ValueSome({ Phase = Closing OurReset } as channel) -> closedWith ValueNone channel state
        | _ -> Step.only state

    let private busyStreams (state: State) =
        Slots.toList state.Channels
        |> List.choose (fun channel ->
            match channel.Phase, channel.Info.Init.Id with
            | (Open _ | Closing _), ValueSome id -> Some(uint16 id)
            | _ -> None)

    /// All but what messages most often do; nothing is hot.
    let private rare (input: Input) (state: State) : Step<State, Output> =
        match state.Association, input with
        | _, Create(command, init) ->
            match refusal init state with
            | ValueSome mistake -> Step.one (Refused(command, mistake)) state
            | ValueNone -> add command init state
        | Down, Established(parity, streams) ->
            let waiting = Slots.toList state.Channels

            { state with
                Association = Up(parity, streams) }
            |> Step.route (openOn parity streams) waiting
        | Up _, Received(stream, ppid, payload) -> received stream ppid payload state
        | Up _, Transmitted _ -> Step.only state
        | _, Send _ -> Step.one (Ignored Drop.Unexpected) state
        | _, Close handle ->
            match Slots.tryFind handle state.Channels with
            | ValueSome channel -> close channel state
            | ValueNone -> Step.only state
        | Up _, IncomingReset [||] -> Step.route incomingReset (busyStreams state) state
        | Up _, IncomingReset streams -> Step.route incomingReset (List.ofArray streams) state
        | Up _, OutgoingReset streams -> Step.route outgoingReset (List.ofArray streams) state
        | (Down | Up _), AssociationLost fault ->
            let held = Slots.toList state.Channels
            { state with Association = Lost } |> Step.route (closedWith fault) held
        | (Down | Lost), (Received _ | Transmitted _ | IncomingReset _ | OutgoingReset _)
        | (Up _ | Lost), Established _
        | Lost, AssociationLost _ -> Step.one (Ignored Drop.Unexpected) state

    /// The channels and what became of them.
    let step (_: Instant) (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Send(handle, text, payload) ->
            match glance handle state with
            | ValueSome channel -> send text payload channel state
            | ValueNone -> rare input state
        | Transmitted(stream, octets) when state.Association.IsUp ->
            match glanceAt stream state with
            | ValueSome channel -> transmitted octets channel state
            | ValueNone -> rare input state
        | Received(stream, (Ppid.String | Ppid.Binary as ppid), payload) when state.Association.IsUp ->
            match glanceAt stream state with
            | ValueSome channel when channel.Partial.Size = 0 -> deliver (ppid = Ppid.String) payload channel state
            | _ -> rare input (cool state)
        | _ -> rare input (cool state)

    /// The channels' figures, by handle.
    let stats (state: State) : ChannelStats[] =
        Slots.toList (cool state).Channels
        |> List.map (fun channel ->
            { Handle = channel.Info.Handle
              Label = channel.Info.Init.Label
              Protocol = channel.Info.Init.Protocol
              Id = channel.Info.Init.Id
              State =
                match channel.Phase with
                | Connecting -> "connecting"
                | Open _ -> "open"
                | Closing _ -> "closing"
              MessagesSent = channel.Traffic.MessagesSent
              BytesSent = channel.Traffic.BytesSent
              MessagesReceived = channel.Traffic.MessagesReceived
              BytesReceived = channel.Traffic.BytesReceived })
        |> Array.ofList
