namespace Hybrid.WebRtc.Core.Tls13

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// A handshake of an end that speaks 1.3: records, flights, ACKs and timers, RFC 9147 §4, §5.8 and §7. Until the hellos are there it may
/// turn out that the peer speaks 1.2; then the machine of 1.2 goes on with what is here.
[<RequireQualifiedAccess>]
module internal Connection13 =
    [<NoComparison; NoEquality>]
    type Side =
        | ClientSide of Client13.State
        | ServerSide of Server13.State

    [<NoComparison; NoEquality>]
    type Handshaking =
        {
            Party: Party
            Side: Side
            Inbox: Reassembly
            /// ValueNone until we have spoken.
            Flight: Flight13 voption
            /// The peer's epoch 2, once the hellos are there.
            Read: ReadEpoch voption
            /// Our epochs, 0 and then 2.
            Writes: WriteEpoch list
            /// Records of the peer's flight under way, newest first.
            Heard: RecordNumber list
            /// When an ACK of them is due.
            AckAt: Instant
            Early: Early
            ExpiresAt: Instant
        }

    /// What the machine of 1.2 goes on with.
    [<NoComparison; NoEquality>]
    type Older =
        {
            Party: Party
            /// The peer's hello is the message that is due in it.
            Inbox: Reassembly
            /// Our hello, of a client, and when it was said.
            Hello: struct (Message * Instant) voption
            /// Epoch 0.
            Writes: WriteEpoch list
            Early: Early
            /// What is left of the datagram, lent.
            Rest: Memory<byte>
            ExpiresAt: Instant
        }

    [<NoComparison; NoEquality>]
    type State =
        | Handshaking of Handshaking
        | Open of Open13.State
        | Older of Older
        | Over

    type private Stepped = Step<State, Event13>

    let private ignored (drop: Drop) (h: Handshaking) : Stepped =
        Step.one (Event13.Ignored drop) (Handshaking h)

    /// Until an ACK says what of a flight is here, RFC 9147 §7.1: a quarter of the time after which it would be said again.
    let private ackDelay (config: DtlsConfig) : Duration = config.Timing.First / 4L

    let private transmit (payload: Payload) (h: Handshaking) : struct (Handshaking * Event13) =
        let struct (datagram, writes) = WriteEpoch.single payload h.Writes
        struct ({ h with Writes = writes }, Event13.Transmit datagram)

    /// Says what is missing of a flight, of the epochs up to `until`.
    let private sayUntil until (now: Instant) (timeout: Duration) (flight: Flight13) (h: Handshaking) =
        let struct (flight, writes, datagrams) =
            Flight13.sayUntil until h.Party.Config.Mtu now timeout h.Writes flight

        struct ({ h with
                    Flight = ValueSome flight
                    Writes = writes },
                datagrams |> List.map Event13.Transmit)

    let private say now timeout flight h =
        sayUntil UInt64.MaxValue now timeout flight h

    let private sayAgain now (timeout: Duration) (flight: Flight13) (h: Handshaking) : Stepped =
        let struct (h, events) = say now timeout flight h
        struct (Handshaking h, events)

    /// Says which of the peer's records are here; that none can be read yet, where that is so.
    let private acknowledge (h: Handshaking) : Stepped =
        let acks =
            match Open13.acks h.Party.Config h.Heard with
            | [] -> [ [||] ]
            | acks -> acks

        let struct (h, events) =
            (struct (h, []), acks)
            ||> List.fold (fun (struct (h, events)) ack ->
                let struct (h, event) = transmit (AckOf ack) h
                struct (h, events @ [ event ]))

        struct (Handshaking { h with AckAt = Instant.never }, events)

    let private refuse (refusal: Refusal) (h: Handshaking) : Stepped =
        let struct (_, event) = transmit (AlertOf(Alert.Fatal, refusal.Alert)) h
        struct (Over, [ event; Event13.Failed(Ending.refused refusal) ])

    // What the handshake asks for

    let private readEpoch k epoch (secret: byte[]) : ReadEpoch =
        { Epoch = epoch
          Secret = secret
          Protection = Protection13.create k secret
          Window = ReplayWindow.empty }

    /// Sent in the epoch that its kind has.
    let private placed (message: Message) =
        struct (message, Flight13.epochOf message.Type |> ValueOption.defaultValue 0UL)

    /// The connection: its keys are those of epoch 3.
    let private opened (h: Handshaking) (k: KeySchedule) (read: byte[]) (write: byte[]) : Open13.State =
        Open13.create
            { Config = h.Party.Config
              Role = h.Party.Role
              Schedule = k
              Read = readEpoch k 3UL read
              Write =
                { Epoch = 3UL
                  Secret = write
                  Sealing = Sealing.Dtls13(Protection13.create k write) }
              Handshake =
                (if h.Party.Role = DtlsRole.Client then
                     ValueSome(WriteEpoch.find 2UL h.Writes)
                 else
                     ValueNone)
              Others = ValueOption.toList h.Read
              Inbox = h.Inbox
              Heard = h.Heard
              // A server's flight is answered by the client's.
              Flight =
                (if h.Party.Role = DtlsRole.Client then
                     h.Flight
                 else
                     ValueNone)
              NextMessage =
                h.Flight
                |> ValueOption.map (fun f -> 1 + (f.Messages |> List.fold (fun n m -> max n m.Message.Sequence) 0))
                |> ValueOption.defaultValue 0
              Update = ValueNone
              UpdateAt = Instant.never
              ExpiresAt = h.ExpiresAt
              Forged = 0UL }

    let private perform (now: Instant) (side: Side) (demands: Demand13 list) (h: Handshaking) : Stepped =
        let mutable h = { h with Side = side }
        let mutable connection = ValueNone
        let mutable reversed = []

        for demand in demands do
            match demand with
            | Demand13.HandshakeKeys(k, read, write) ->
                h <-
                    { h with
                        Read = ValueSome(readEpoch k 2UL read)
                        Writes =
                            h.Writes
                            @ [ { Epoch = 2UL
                                  Sealing = Sealing.Dtls13(Protection13.create k write)
                                  Next = 0UL } ] }
            | Demand13.Say messages ->
                let flight = messages |> List.map placed |> Flight13.create (h.Inbox.Next - 1)

                // The peer's flight is answered, which says that it is here.
                let struct (next, events) =
                    say
                        now
                        (Flight13.timeout h.Party.Config now h.Flight)
                        flight
                        { h with
                            Heard = []
                            AckAt = Instant.never }

                h <- next
                reversed <- List.rev events @ reversed
            | Demand13.TrafficKeys(k, read, write) -> connection <- ValueSome(opened h k read write)
            | Demand13.LogSecret(label, random, secret) -> reversed <- Event13.KeyLog(label, random, secret) :: reversed
            | Demand13.Done connected -> reversed <- Event13.Connected connected :: reversed
            // `drain` has seen to it.
            | Demand13.Older -> ()

        let struct (state, more) =
            match connection with
            // The client's last flight is answered by nothing, so it is acknowledged, RFC 9147 §7.1.
            | ValueSome o when h.Party.Role = DtlsRole.Server ->
                let struct (o, events) = Open13.acknowledge h.Heard o
                struct (Open o, events)
            | ValueSome o -> Step.only (Open o)
            | ValueNone -> Step.only (Handshaking h)

        struct (state, List.rev reversed @ more)

    // What the peer sends

    let private speaks12 (h: Handshaking) =
        Hello.speaks DtlsVersion.Dtls12 h.Party.Config

    let private older (h: Handshaking) : State =
        Older
            { Party =
                (if h.Party.Role = DtlsRole.Server then
                     Hello.downgraded h.Party
                 else
                     h.Party)
              Inbox = h.Inbox
              Hello =
                h.Flight
                |> ValueOption.map (fun f -> struct (f.Messages.Head.Message, f.SentAt))
              Writes = h.Writes
              Early = h.Early
              Rest = Memory.Empty
              ExpiresAt = h.ExpiresAt }

    let private receiveMessage (h: Handshaking) (message: Message) =
        match h.Side with
        | ClientSide state ->
            Client13.receive h.Party message state
            |> Result.map (fun (struct (state, demands)) -> struct (ClientSide state, demands))
        | ServerSide state ->
            Server13.receive h.Party message state
            |> Result.map (fun (struct (state, demands)) -> struct (ServerSide state, demands))

    /// Whether the peer surely speaks 1.3: one of 1.2 need not bear ACKs.
    let private knowsAcks (h: Handshaking) =
        match h.Side with
        | ClientSide(Client13.AwaitServerHello(_, ValueNone, _))
        | ServerSide(Server13.AwaitClientHello(ValueNone, _)) -> false
        | _ -> true

    /// Takes the messages that have become whole, in order.
    let rec private drain (now: Instant) (state: State) : Stepped =
        match state with
        | Handshaking h ->
            match Reassembly.take h.Inbox with
            | ValueNone -> Step.only state
            | ValueSome(struct (message, inbox)) ->
                match receiveMessage h message with
                | Error refusal -> refuse refusal h
                // The message stays the one that is due.
                | Ok(struct (_, [ Demand13.Older ])) -> Step.only (older h)
                | Ok(struct (side, demands)) ->
                    let h =
                        { h with
                            Inbox = inbox
                            Flight = ValueOption.map Flight13.answered h.Flight }

                    perform now side demands h |> Step.bind (catchUp now h) |> Step.bind (drain now)
        | Open _
        | Older _
        | Over -> Step.only state

    /// Once keys are there, or the handshake is done, what came too early has its turn.
    and private catchUp (now: Instant) (before: Handshaking) (state: State) : Stepped =
        match state with
        | Handshaking h when h.Read.IsSome && before.Read.IsNone ->
            replay now before.Early (Handshaking { h with Early = Early.nothing })
        | Open _ -> replay now before.Early state
        | Handshaking _
        | Older _
        | Over -> Step.only state

    and private replay (now: Instant) (early: Early) (state: State) : Stepped =
        (Step.only state, Early.inOrder early)
        ||> List.fold (fun stepped bytes -> Step.bind (receive now (Memory bytes)) stepped)

    and private fragment (now: Instant) (epoch: uint64) (fragment: Fragment) (h: Handshaking) : Stepped =
        // Each message has its epoch, so that nobody can say in the clear what is to be sealed.
        if
            Flight13.epochOf fragment.Type <> ValueSome epoch
            && (epoch > 0UL || knowsAcks h || not (speaks12 h))
        then
            ignored Drop.Unexpected h
        else
            match h.Flight with
            | ValueSome flight when
                Flight.asksAgain now h.Party.Config.Timing.First fragment flight.Answers flight.SentAt
                ->
                sayAgain now flight.Timeout flight h
            | _ ->
                match Reassembly.add fragment h.Inbox with
                | Error drop -> ignored drop h
                | Ok inbox -> drain now (Handshaking { h with Inbox = inbox })

    /// The fragments of a handshake record: one mostly, several where the peer packs them.
    and private fragments (now: Instant) (number: RecordNumber) (plain: Memory<byte>) (h: Handshaking) : Stepped =
        let struct (state, events) =
            (plain,
             Handshaking
                 { h with
                     Heard = Open13.hear number h.Heard })
            ||> Parts.each (fun rest state ->
                let mutable r = Reader(Span.op_Implicit rest.Span)
                let part = Reassembly.readFragment &r

                if not r.Ok || not (Reassembly.isSound part) then
                    struct (Memory.Empty, Step.one (Event13.Ignored Drop.Malformed) state)
                else
                    struct (rest.Slice(rest.Length - r.Remaining),
                            match state with
                            | Handshaking h -> fragment now number.Epoch part h
                            | Open _
                            | Older _
                            | Over -> Step.one (Event13.Ignored Drop.Stale) state))

        let isTaken = Open13.isTaken events

        match state with
        // Part of a flight is here: the rest is due at once, or has been lost.
        | Handshaking h when isTaken && not h.Heard.IsEmpty && knowsAcks h ->
            struct (Handshaking
                        { h with
                            AckAt = Instant.min h.AckAt (Instant.add (ackDelay h.Party.Config) now) },
                    events)
        | Handshaking h when not isTaken ->
            struct (Handshaking
                        { h with
                            Heard =
                                h.Heard
                                |> List.filter (fun n -> n.Epoch <> number.Epoch || n.Sequence <> number.Sequence) },
                    events)
        | state -> struct (state, events)

    and private alert (plain: Memory<byte>) (h: Handshaking) : Stepped =
        if plain.Length <> 2 then
            ignored Drop.Malformed h
        else
            // Its level says nothing in 1.3, RFC 8446 §6, but a peer of 1.2 may be speaking.
            let description = plain.Span[1]

            if
                description = Alert.UserCanceled
                || (h.Read.IsNone
                    && plain.Span[0] <> Alert.Fatal
                    && description <> Alert.CloseNotify)
            then
                ignored Drop.Unexpected h
            else
                struct (Over, [ Event13.Failed(Ending.alerted "handshake" description) ])

    and private ack (now: Instant) (epoch: uint64) (plain: Memory<byte>) (h: Handshaking) : Stepped =
        match Messages13.readAck (Span.op_Implicit plain.Span), h.Flight with
        | ValueNone, _ -> ignored Drop.Malformed h
        | _, ValueNone -> ignored Drop.Unexpected h
        | ValueSome numbers, ValueSome flight ->
            // Who acknowledges in the clear cannot read the rest yet: it is not said again before that can be known, RFC 9147 §7.1.
            let sayMissing (flight: Flight13) =
                let struct (h, events) = sayUntil epoch now flight.Timeout flight h
                struct (Handshaking h, events)

            match Flight13.acknowledge epoch numbers flight with
            | ValueSome flight when Flight13.isAcked flight ->
                Step.only (Handshaking { h with Flight = ValueSome flight })
            | ValueSome flight -> sayMissing flight
            // Copies of an ACK come close behind it.
            | ValueNone when numbers.Length = 0 && now - flight.SentAt >= ackDelay h.Party.Config -> sayMissing flight
            | ValueNone -> ignored Drop.Stale h

    /// The plaintext of a record, by what it carries.
    and private content now kind (number: RecordNumber) (plain: Memory<byte>) (h: Handshaking) : Stepped =
        match kind with
        | ContentType.Handshake -> fragments now number plain h
        | ContentType.Ack -> ack now number.Epoch plain h
        // Once the peer has sealed a record, anyone could have made one in the clear.
        | ContentType.Alert when
            number.Epoch > 0UL
            || not (h.Read |> ValueOption.exists (fun r -> r.Window.Next > 0UL))
            ->
            alert plain h
        // There is none in DTLS 1.3 (RFC 9147 §5), and in TLS 1.3 it means nothing.
        | ContentType.ChangeCipherSpec when number.Epoch = 0UL -> Step.only (Handshaking h)
        | ContentType.Alert
        | ContentType.ChangeCipherSpec
        | ContentType.ApplicationData -> ignored Drop.Unexpected h
        | _ -> ignored Drop.Unsupported h

    and private keepIt (now: Instant) (bytes: Memory<byte>) (h: Handshaking) : Stepped =
        match Early.keep bytes h.Early with
        | ValueSome early ->
            // A client that has no keys yet has missed the ServerHello, or it comes right behind.
            let ackAt =
                if h.Party.Role = DtlsRole.Client && h.Read.IsNone then
                    Instant.min h.AckAt (Instant.add (ackDelay h.Party.Config) now)
                else
                    h.AckAt

            Step.only (Handshaking { h with Early = early; AckAt = ackAt })
        | ValueNone -> ignored Drop.TooMany h

    and private sealedRecord (now: Instant) (record: Ciphertext) (h: Handshaking) : Stepped =
        match h.Read with
        | ValueSome read when record.EpochBits = 2 ->
            match Ciphertext.openInPlace read.Protection read.Window.Next record with
            | Error drop -> ignored drop h
            | Ok(struct (_, sequence, _)) when not (ReplayWindow.isNew sequence read.Window) -> ignored Drop.Replayed h
            | Ok(struct (kind, sequence, plain)) ->
                let read =
                    { read with
                        Window = ReplayWindow.mark sequence read.Window }

                content now kind { Epoch = 2UL; Sequence = sequence } plain { h with Read = ValueSome read }
        // Ahead of the keys, or of the Finished that vouches for them: the network reorders.
        | _ when record.EpochBits = 2 || record.EpochBits = 3 -> keepIt now record.Bytes h
        | _ -> ignored Drop.Unexpected h

    and private clearRecord (now: Instant) (record: Record) (h: Handshaking) : Stepped =
        match record.Epoch with
        | 0us ->
            let number =
                { Epoch = 0UL
                  Sequence = record.Sequence }

            content now record.Type number (Record.fragment record) h
        // Of 1.2, ahead of its hello.
        | 1us when h.Read.IsNone -> keepIt now record.Bytes h
        | _ -> ignored Drop.Unexpected h

    /// The records of a datagram, in order.
    and receive (now: Instant) (datagram: Memory<byte>) (state: State) : Stepped =
        (datagram, state)
        ||> Parts.each (fun rest state ->
            match state with
            | Open o ->
                let struct (outcome, events) = Open13.receive now rest o

                struct (Memory.Empty,
                        match outcome with
                        | ValueSome o -> struct (Open o, events)
                        | ValueNone -> struct (Over, events))
            | Older older -> struct (Memory.Empty, Step.only (Older { older with Rest = rest }))
            | Over -> struct (Memory.Empty, Step.one (Event13.Ignored Drop.Stale) state)
            | Handshaking h when not rest.IsEmpty && Ciphertext.isOne rest.Span[0] ->
                match Ciphertext.first 0 rest with
                | ValueSome record -> struct (rest.Slice record.Bytes.Length, sealedRecord now record h)
                | ValueNone -> struct (Memory.Empty, ignored Drop.Malformed h)
            | Handshaking h ->
                match Record.first rest with
                | ValueSome record -> struct (rest.Slice record.Bytes.Length, clearRecord now record h)
                | ValueNone -> struct (Memory.Empty, ignored Drop.Malformed h))

    // The machine

    let deadline (h: Handshaking) : Instant =
        let retry =
            match h.Flight with
            | ValueSome flight -> Flight13.retryAt flight
            | ValueNone -> Instant.never

        Instant.min (Instant.min retry h.AckAt) h.ExpiresAt

    let start (now: Instant) (party: Party) : Stepped =
        let h =
            { Party = party
              Side = ServerSide Server13.start
              Inbox = Reassembly.empty
              Flight = ValueNone
              Read = ValueNone
              Writes = [ WriteEpoch.clear 0UL ]
              Heard = []
              AckAt = Instant.never
              Early = Early.nothing
              ExpiresAt = Instant.add party.Config.Timing.GiveUp now }

        match party.Role with
        | DtlsRole.Server -> Step.only (Handshaking h)
        | DtlsRole.Client ->
            let struct (client, demands) = Client13.hello party
            perform now (ClientSide client) demands h

    let tick (now: Instant) (h: Handshaking) : Stepped =
        if now >= h.ExpiresAt then
            struct (Over, [ Event13.Failed(Ending.fault "the handshake took too long") ])
        else
            let stepped =
                match h.Flight with
                | ValueSome flight when now >= Flight13.retryAt flight ->
                    sayAgain now (Instant.min (2L * flight.Timeout) h.Party.Config.Timing.Most) flight h
                | _ -> Step.only (Handshaking h)

            stepped
            |> Step.bind (fun state ->
                match state with
                | Handshaking h when now >= h.AckAt -> acknowledge h
                | state -> Step.only state)

    /// Says goodbye.
    let close (h: Handshaking) : Event13 list =
        let struct (_, event) = transmit (AlertOf(Alert.Warning, Alert.CloseNotify)) h
        [ event; Event13.Closed ]
