namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core.Tls

[<RequireQualifiedAccess>]
module Dtls =
    /// Datagrams before `Start`, or records of epoch 1 before they can be read, that came too early: copies, newest first.
    [<NoComparison; NoEquality>]
    type Early = { Kept: byte[] list; Octets: int }

    [<NoComparison; NoEquality>]
    type Side =
        | ClientSide of Client.State
        | ServerSide of Server.State

    /// The record layer while keys change.
    [<NoComparison; NoEquality>]
    type Line =
        {
            Counters: Counters
            /// Of epoch 1, once they are known.
            Read: struct (Protection * ReplayWindow) voption
            /// Of epoch 1, once ChangeCipherSpec has been sent.
            Write: Protection voption
        }

    [<NoComparison; NoEquality>]
    type Handshaking =
        {
            Party: Party
            Side: Side
            Inbox: Reassembly
            /// ValueNone until we have spoken.
            Flight: Flight voption
            Line: Line
            Early: Early
            ExpiresAt: Instant
        }

    /// What stays the same from packet to packet.
    [<NoComparison; NoEquality>]
    type Session =
        {
            Config: DtlsConfig
            Read: Protection
            Write: Protection
            /// Our last flight, which the peer may ask for again; of a server only.
            Last: Flight voption
            /// The next record in the clear, for the ChangeCipherSpec in it.
            Plain: uint64
        }

    /// Small: a packet makes a new one.
    [<NoComparison; NoEquality>]
    type Open =
        {
            Session: Session
            Window: ReplayWindow
            /// Of our next record.
            Next: uint64
        }

    [<NoComparison; NoEquality>]
    type State =
        | New of DtlsConfig * Entropy * Early
        | Handshaking of Handshaking
        | Open of Open
        | Over

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        | Start of Role: DtlsRole * Fingerprints: Fingerprint[]
        | StartWithChain of Role: DtlsRole * ServerName: string
        | Received of Memory<byte>
        | Seal of Records: int
        | Close

    [<NoComparison; NoEquality>]
    type Output =
        | Transmit of DtlsDatagram
        | Sealed of DtlsSeal
        | Data of Memory<byte>
        | Connected of DtlsConnected
        | KeyLog of Line: string
        | Failed of Fault
        | Closed
        | Ignored of Drop

    /// Datagrams or records that are kept for later: a flight, and the first data behind it.
    [<Literal>]
    let private MaxEarly = 8

    /// Octets of them.
    [<Literal>]
    let private MaxEarlyOctets = 16384

    let private nothingEarly = { Kept = []; Octets = 0 }

    /// Copies what came too early; ValueNone where there is no more room.
    let private keep (bytes: Memory<byte>) (early: Early) : Early voption =
        if early.Kept.Length >= MaxEarly || early.Octets + bytes.Length > MaxEarlyOctets then
            ValueNone
        else
            ValueSome
                { Kept = bytes.ToArray() :: early.Kept
                  Octets = early.Octets + bytes.Length }

    let private ignored (drop: Drop) (state: State) : Step<State, Output> = Step.one (Ignored drop) state

    let private fault detail (reason: string) : Fault = Fault.create Layer.Dtls detail reason

    // What we send

    let private alert (level: byte) (description: byte) (counters: Counters) (write: Protection voption) : Output =
        let record =
            match write with
            | ValueSome _ ->
                { Payload = AlertOf(level, description)
                  Epoch = 1us
                  Sequence = counters.Sealed
                  Protection = write }
            | ValueNone ->
                { Payload = AlertOf(level, description)
                  Epoch = 0us
                  Sequence = counters.Plain
                  Protection = ValueNone }

        Transmit { DtlsDatagram.Records = [ record ] }

    /// Sends items as a flight that waits for an answer.
    let private say (now: Instant) (items: Item list) answers (timeout: Duration) (h: Handshaking) =
        let struct (datagrams, counters) =
            Flight.describe h.Party.Config.Mtu h.Line.Write items h.Line.Counters

        let flight =
            { Items = items
              Answers = answers
              SentAt = now
              Timeout = timeout }

        struct ({ h with
                    Flight = ValueSome flight
                    Line = { h.Line with Counters = counters } },
                List.map Transmit datagrams)

    /// The flight once more, RFC 6347 §4.2.4: the timer ran out, or the peer repeats what we have answered.
    let private sayAgain (now: Instant) (flight: Flight) (timeout: Duration) (h: Handshaking) : Step<State, Output> =
        let struct (h, outputs) = say now flight.Items flight.Answers timeout h
        struct (Handshaking h, outputs)

    /// The last flight once more, after the handshake.
    let private sayLastAgain (now: Instant) (last: Flight) (o: Open) : Step<State, Output> =
        let session = o.Session

        let struct (datagrams, counters) =
            Flight.describe
                session.Config.Mtu
                (ValueSome session.Write)
                last.Items
                { Plain = session.Plain
                  Sealed = o.Next }

        let session =
            { session with
                Plain = counters.Plain
                Last = ValueSome { last with SentAt = now } }

        struct (Open
                    { o with
                        Session = session
                        Next = counters.Sealed },
                List.map Transmit datagrams)

    /// Ends a handshake with a fatal alert of ours.
    let private refuse (refusal: Refusal) (h: Handshaking) : Step<State, Output> =
        struct (Over,
                [ alert Alert.Fatal refusal.Alert h.Line.Counters h.Line.Write
                  Failed
                      { fault refusal.Detail refusal.Reason with
                          SentAlert = ValueSome refusal.Alert } ])

    /// Ends it at an alert of theirs.
    let private refused (during: string) (description: byte) : Step<State, Output> =
        Step.one
            (Failed
                { fault ErrorDetail.DtlsFailure ("the peer ended the " + during + ": " + Alert.name description) with
                    ReceivedAlert = ValueSome description })
            Over

    // What the handshake asks for

    let private keyLogLine (clientRandom: byte[]) (master: byte[]) =
        "CLIENT_RANDOM "
        + Convert.ToHexStringLower clientRandom
        + " "
        + Convert.ToHexStringLower master

    /// `Done` comes when both keys are there.
    let private opened (h: Handshaking) : State =
        match h.Line.Read, h.Line.Write with
        | ValueSome(struct (read, window)), ValueSome write ->
            Open
                { Session =
                    { Config = h.Party.Config
                      Read = read
                      Write = write
                      Last =
                        (if h.Party.Role = DtlsRole.Server then
                             h.Flight
                         else
                             ValueNone)
                      Plain = h.Line.Counters.Plain }
                  Window = window
                  Next = h.Line.Counters.Sealed }
        | _ -> Handshaking h

    let private perform (now: Instant) (side: Side) (actions: Demand list) (h: Handshaking) : Step<State, Output> =
        let mutable h = { h with Side = side }
        let mutable state = ValueNone
        let mutable reversed = []

        for action in actions do
            match action with
            | ReadWith protection ->
                h <-
                    { h with
                        Line =
                            { h.Line with
                                Read = ValueSome(struct (protection, ReplayWindow.empty)) } }
            | WriteWith protection ->
                h <-
                    { h with
                        Line =
                            { h.Line with
                                Write = ValueSome protection } }
            | Say items ->
                let struct (next, outputs) =
                    say now items (h.Inbox.Next - 1) h.Party.Config.Timing.First h

                h <- next
                reversed <- List.rev outputs @ reversed
            | LogKey(random, master) -> reversed <- KeyLog(keyLogLine random master) :: reversed
            | Done connected ->
                state <- ValueSome(opened h)
                reversed <- Connected connected :: reversed

        struct (ValueOption.defaultValue (Handshaking h) state, List.rev reversed)

    // What the peer sends

    /// Whether a fragment is the end of the message that our flight answered: then the peer has not heard us. Copies that
    /// the network made come close behind the first, and are not asked twice.
    let private asksAgain (now: Instant) (config: DtlsConfig) (fragment: Fragment) (flight: Flight) =
        fragment.Sequence = flight.Answers
        && fragment.Offset + fragment.Bytes.Length = fragment.Length
        && now - flight.SentAt >= config.Timing.First / 2L

    let private receiveMessage (h: Handshaking) (message: Message) =
        match h.Side with
        | ClientSide state ->
            Client.receive h.Party message state
            |> Result.map (fun (struct (state, actions)) -> struct (ClientSide state, actions))
        | ServerSide state ->
            Server.receive h.Party message state
            |> Result.map (fun (struct (state, actions)) -> struct (ServerSide state, actions))

    let private fragmentWhenOpen (now: Instant) (fragment: Fragment) (o: Open) : Step<State, Output> =
        match fragment.Type, o.Session.Last with
        | MessageType.Finished, ValueSome last when asksAgain now o.Session.Config fragment last ->
            sayLastAgain now last o
        // Renegotiation, RFC 5246 §7.2.2.
        | (MessageType.HelloRequest | MessageType.ClientHello), _ when fragment.Offset = 0 ->
            let counters = { Plain = 0UL; Sealed = o.Next }

            struct (Open { o with Next = o.Next + 1UL },
                    [ alert Alert.Warning Alert.NoRenegotiation counters (ValueSome o.Session.Write) ])
        | _ -> ignored Drop.Unexpected (Open o)

    let private alertInHandshake (plain: Memory<byte>) (h: Handshaking) : Step<State, Output> =
        if plain.Length <> 2 then
            ignored Drop.Malformed (Handshaking h)
        else
            let level, description = plain.Span[0], plain.Span[1]

            if level = Alert.Fatal || description = Alert.CloseNotify then
                refused "handshake" description
            else
                ignored Drop.Unexpected (Handshaking h)

    let private alertWhenOpen (plain: Memory<byte>) (o: Open) : Step<State, Output> =
        if plain.Length <> 2 then
            ignored Drop.Malformed (Open o)
        else
            let level, description = plain.Span[0], plain.Span[1]

            if description = Alert.CloseNotify then
                // RFC 5246 §7.2.1: answered with one of our own.
                let counters = { Plain = 0UL; Sealed = o.Next }

                struct (Over,
                        [ alert Alert.Warning Alert.CloseNotify counters (ValueSome o.Session.Write)
                          Closed ])
            elif level = Alert.Fatal then
                refused "connection" description
            else
                ignored Drop.Unexpected (Open o)

    /// Takes the messages that have become whole, in order.
    let rec private drain (now: Instant) (state: State) : Step<State, Output> =
        match state with
        | Handshaking h ->
            match Reassembly.take h.Inbox with
            | ValueNone -> Step.only state
            | ValueSome(struct (message, inbox)) ->
                let h = { h with Inbox = inbox }

                match receiveMessage h message with
                | Error refusal -> refuse refusal h
                | Ok(struct (side, actions)) ->
                    perform now side actions h |> Step.bind (catchUp now h) |> Step.bind (drain now)
        | New _
        | Open _
        | Over -> Step.only state

    /// Once keys are there, or the handshake is done, what came too early has its turn.
    and private catchUp (now: Instant) (before: Handshaking) (state: State) : Step<State, Output> =
        match state with
        | Handshaking h when h.Line.Read.IsSome && before.Line.Read.IsNone ->
            replay now before.Early (Handshaking { h with Early = nothingEarly })
        | Open _ -> replay now before.Early state
        | New _
        | Handshaking _
        | Over -> Step.only state

    and private replay (now: Instant) (early: Early) (state: State) : Step<State, Output> =
        (Step.only state, List.rev early.Kept)
        ||> List.fold (fun stepped bytes -> Step.bind (receive now (Memory bytes)) stepped)

    and private fragmentInHandshake (now: Instant) (epoch: uint16) (fragment: Fragment) (h: Handshaking) =
        // Finished is the one message under the new keys, so an epoch tells which of them may come in it.
        if (fragment.Type = MessageType.Finished) <> (epoch = 1us) then
            ignored Drop.Unexpected (Handshaking h)
        else
            match h.Flight with
            | ValueSome flight when asksAgain now h.Party.Config fragment flight -> sayAgain now flight flight.Timeout h
            | _ ->
                match Reassembly.add fragment h.Inbox with
                | Error drop -> ignored drop (Handshaking h)
                | Ok inbox -> drain now (Handshaking { h with Inbox = inbox })

    /// The fragments of a handshake record: one mostly, several where the peer packs them.
    and private fragments (now: Instant) (epoch: uint16) (plain: Memory<byte>) (state: State) : Step<State, Output> =
        let mutable r = Reader(Span.op_Implicit plain.Span)
        let mutable state = state
        let mutable reversed = if plain.IsEmpty then [ Ignored Drop.Malformed ] else []

        while not r.AtEnd do
            let fragment = Reassembly.readFragment &r

            let struct (next, outputs) =
                if not r.Ok || not (Reassembly.isSound fragment) then
                    r.Skip r.Remaining
                    ignored Drop.Malformed state
                else
                    match state with
                    | Handshaking h -> fragmentInHandshake now epoch fragment h
                    | Open o -> fragmentWhenOpen now fragment o
                    | New _
                    | Over -> ignored Drop.Stale state

            state <- next

            for output in outputs do
                reversed <- output :: reversed

        struct (state, List.rev reversed)

    /// The plaintext of a record, by what it carries.
    and private content now kind (epoch: uint16) (plain: Memory<byte>) (h: Handshaking) : Step<State, Output> =
        match kind with
        | ContentType.Handshake -> fragments now epoch plain (Handshaking h)
        | ContentType.Alert -> alertInHandshake plain h
        // It says that the next records are of the next epoch, which they say themselves: one that is lost is not missed.
        | ContentType.ChangeCipherSpec when plain.Length = 1 && plain.Span[0] = 1uy -> Step.only (Handshaking h)
        | ContentType.ChangeCipherSpec -> ignored Drop.Malformed (Handshaking h)
        | ContentType.ApplicationData -> ignored Drop.Unexpected (Handshaking h)
        | _ -> ignored Drop.Unsupported (Handshaking h)

    // Behind a HelloVerifyRequest, which somebody has sent for us, the client's numbers go on, and ours with them, RFC 6347 §4.2.1.
    and private begun (record: Record) (h: Handshaking) : Handshaking =
        match h.Side, h.Party.Trust with
        | ServerSide Server.AwaitClientHello, Trust.Chain _ when
            record.Bytes.Length >= Record.HeaderSize + Fragment.HeaderSize
            ->
            let sequence =
                BinaryPrimitives.ReadUInt16BigEndian(
                    Span.op_Implicit (record.Bytes.Span.Slice(Record.HeaderSize + 4, 2))
                )

            { h with
                Inbox =
                    { Reassembly.empty with
                        Next = int sequence }
                Line =
                    { h.Line with
                        Counters =
                            { h.Line.Counters with
                                Plain = record.Sequence } } }
        | _ -> h

    and private recordInHandshake (now: Instant) (record: Record) (h: Handshaking) : Step<State, Output> =
        let keepIt () =
            match keep record.Bytes h.Early with
            | ValueSome early -> Step.only (Handshaking { h with Early = early })
            | ValueNone -> ignored Drop.TooMany (Handshaking h)

        match record.Epoch, h.Line.Read with
        | 0us, _ -> content now record.Type 0us (Record.fragment record) (begun record h)
        // Ahead of the keys, or of the Finished that vouches for it: the network reorders.
        | 1us, ValueNone -> keepIt ()
        | 1us, ValueSome _ when record.Type = ContentType.ApplicationData -> keepIt ()
        | 1us, ValueSome(struct (read, window)) when ReplayWindow.isNew record.Sequence window ->
            match Record.openInPlace read record with
            | Error drop -> ignored drop (Handshaking h)
            | Ok plain ->
                let window = ReplayWindow.mark record.Sequence window

                let line =
                    { h.Line with
                        Read = ValueSome(struct (read, window)) }

                content now record.Type 1us plain { h with Line = line }
        | 1us, ValueSome _ -> ignored Drop.Replayed (Handshaking h)
        | _ -> ignored Drop.Unexpected (Handshaking h)

    and private recordWhenOpen (now: Instant) (record: Record) (o: Open) : Step<State, Output> =
        if record.Epoch <> 1us then
            // What is left of the handshake, or an alert that anyone may have made: not authenticated, so not believed.
            ignored Drop.Stale (Open o)
        elif not (ReplayWindow.isNew record.Sequence o.Window) then
            ignored Drop.Replayed (Open o)
        else
            match Record.openInPlace o.Session.Read record with
            | Error drop -> ignored drop (Open o)
            | Ok plain ->
                let o =
                    { o with
                        Window = ReplayWindow.mark record.Sequence o.Window }

                match record.Type with
                // An empty record is allowed, and says nothing, RFC 5246 §6.2.1.
                | ContentType.ApplicationData when plain.IsEmpty -> Step.only (Open o)
                | ContentType.ApplicationData -> Step.one (Data plain) (Open o)
                | ContentType.Alert -> alertWhenOpen plain o
                | ContentType.Handshake -> fragments now 1us plain (Open o)
                | _ -> ignored Drop.Unexpected (Open o)

    /// The records of a datagram, in order.
    and private receive (now: Instant) (datagram: Memory<byte>) (state: State) : Step<State, Output> =
        let mutable rest = datagram
        let mutable state = state
        let mutable reversed = []
        let mutable single = ValueNone

        if rest.IsEmpty then
            reversed <- [ Ignored Drop.Malformed ]

        while not rest.IsEmpty do
            let struct (next, outputs) =
                match Record.first rest with
                | ValueNone ->
                    rest <- Memory.Empty
                    ignored Drop.Malformed state
                | ValueSome record ->
                    rest <- rest.Slice record.Bytes.Length

                    match state with
                    | Handshaking h -> recordInHandshake now record h
                    | Open o -> recordWhenOpen now record o
                    | New _
                    | Over -> ignored Drop.Stale state

            state <- next

            // One record a datagram is the rule, and its outputs need no copy.
            if rest.IsEmpty && reversed.IsEmpty then
                single <- ValueSome outputs
            else
                for output in outputs do
                    reversed <- output :: reversed

        match single with
        | ValueSome outputs -> struct (state, outputs)
        | ValueNone -> struct (state, List.rev reversed)

    // The machine

    let create (config: DtlsConfig) (entropy: Entropy) : State = New(config, entropy, nothingEarly)

    let deadline (state: State) : Instant =
        match state with
        | Handshaking h ->
            match h.Flight with
            | ValueSome flight -> Instant.min (Flight.retryAt flight) h.ExpiresAt
            | ValueNone -> h.ExpiresAt
        | New _
        | Open _
        | Over -> Instant.never

    let private start (now: Instant) role trust config entropy : Step<State, Output> =
        let struct (random, entropy) = Entropy.bytes Message.RandomSize entropy
        let struct (seed, _) = Entropy.bytes 64 entropy

        let party =
            { Config = config
              Role = role
              Trust = trust
              Random = random
              Seed = seed }

        let begun =
            { Party = party
              Side = ServerSide Server.AwaitClientHello
              Inbox = Reassembly.empty
              Flight = ValueNone
              Line =
                { Counters = { Plain = 0UL; Sealed = 0UL }
                  Read = ValueNone
                  Write = ValueNone }
              Early = nothingEarly
              ExpiresAt = Instant.add config.Timing.GiveUp now }

        match role with
        | DtlsRole.Server -> Step.only (Handshaking begun)
        | DtlsRole.Client ->
            let struct (client, actions) = Client.hello party [||] (Transcript.start 0)
            perform now (ClientSide client) actions begun

    let private goodbye counters write : Step<State, Output> =
        struct (Over, [ alert Alert.Warning Alert.CloseNotify counters write; Closed ])

    let private tickHandshake (now: Instant) (h: Handshaking) : Step<State, Output> =
        if now >= h.ExpiresAt then
            Step.one (Failed(fault ErrorDetail.DtlsFailure "the handshake took too long")) Over
        else
            match h.Flight with
            | ValueSome flight when now >= Flight.retryAt flight ->
                sayAgain now flight (Instant.min (2L * flight.Timeout) h.Party.Config.Timing.Most) h
            | _ -> Step.only (Handshaking h)

    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match state, input with
        | New(config, entropy, early), Start(role, fingerprints) ->
            start now role (Trust.Fingerprints fingerprints) config entropy
            |> Step.bind (replay now early)
        | New(config, entropy, early), StartWithChain(role, name) ->
            start now role (Trust.Chain name) config entropy |> Step.bind (replay now early)
        // The peer's hello may be here before its fingerprint: signalling is slower than ICE.
        | New(config, entropy, early), Received datagram ->
            match keep datagram early with
            | ValueSome early -> Step.only (New(config, entropy, early))
            | ValueNone -> ignored Drop.TooMany state
        | New _, Close -> Step.one Closed Over
        | (New _ | Handshaking _), Seal _ -> ignored Drop.Unexpected state
        | Handshaking h, Tick -> tickHandshake now h
        | (Handshaking _ | Open _), Received datagram -> receive now datagram state
        | Handshaking h, Close -> goodbye h.Line.Counters h.Line.Write
        | (Handshaking _ | Open _), (Start _ | StartWithChain _) -> ignored Drop.Unexpected state
        | Open o, Seal records when o.Next <= Record.LastSequence - uint64 records ->
            let record: DtlsSeal =
                { Protection = o.Session.Write
                  Epoch = 1us
                  Sequence = o.Next }

            Step.one
                (Sealed record)
                (Open
                    { o with
                        Next = o.Next + uint64 records })
        // After 2⁴⁸ records, which no connection lives to see, RFC 6347 §4.1.
        | Open _, Seal _ -> Step.one (Failed(fault ErrorDetail.DtlsFailure "the sequence numbers are used up")) Over
        | Open o, Close -> goodbye { Plain = 0UL; Sealed = o.Next } (ValueSome o.Session.Write)
        | (New _ | Open _ | Over), Tick -> Step.only state
        | Over, (Start _ | StartWithChain _ | Received _ | Seal _ | Close) -> ignored Drop.Stale state
