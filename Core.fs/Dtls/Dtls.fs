namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Tls.Connection12
open Hybrid.WebRtc.Core.Tls13

[<RequireQualifiedAccess>]
module Dtls =
    [<NoComparison; NoEquality>]
    type State =
        | New of DtlsConfig * Entropy * Early
        | Handshaking of Handshaking
        | Open of Open
        /// Of 1.3, or with a peer whose version is not known yet.
        | Handshaking13 of Connection13.Handshaking
        | Open13 of Open13.State
        | Over

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        | Wrapped of Octets: int
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

    let private ignored (drop: Drop) (state: State) : Step<State, Output> = Step.one (Ignored drop) state

    let private failed (reason: string) : Step<State, Output> =
        Step.one (Failed(Ending.fault reason)) Over

    // What we send

    let private alert (level: byte) (description: byte) (writes: WriteEpoch list) : Output =
        let struct (datagram, _) = WriteEpoch.single (AlertOf(level, description)) writes
        Transmit datagram

    /// Our epoch once there is a connection, with the number of its next record.
    let private writing (o: Open) : WriteEpoch =
        { Epoch = 1UL
          Sealing = o.Session.Write
          Next = o.Next }

    /// Sends items as a flight that waits for an answer.
    let private say (now: Instant) (items: Item list) answers (timeout: Duration) (h: Handshaking) =
        let struct (datagrams, writes) =
            Flight.describe h.Party.Config.Mtu items h.Line.Writes

        let flight =
            { Items = items
              Answers = answers
              SentAt = now
              Timeout = timeout }

        struct ({ h with
                    Flight = ValueSome flight
                    Line = { h.Line with Writes = writes } },
                List.map Transmit datagrams)

    /// The flight once more, RFC 6347 §4.2.4: the timer ran out, or the peer repeats what we have answered.
    let private sayAgain (now: Instant) (flight: Flight) (timeout: Duration) (h: Handshaking) : Step<State, Output> =
        let struct (h, outputs) = say now flight.Items flight.Answers timeout h
        struct (Handshaking h, outputs)

    /// The last flight once more, after the handshake.
    let private sayLastAgain (now: Instant) (last: Flight) (o: Open) : Step<State, Output> =
        let session = o.Session

        let struct (datagrams, writes) =
            Flight.describe session.Config.Mtu last.Items [ WriteEpoch.clear session.Plain; writing o ]

        let session =
            { session with
                Plain = (WriteEpoch.find 0UL writes).Next
                Last = ValueSome { last with SentAt = now } }

        struct (Open
                    { o with
                        Session = session
                        Next = (WriteEpoch.find 1UL writes).Next },
                List.map Transmit datagrams)

    /// Ends a handshake with a fatal alert of ours.
    let private refuse (refusal: Refusal) (h: Handshaking) : Step<State, Output> =
        struct (Over,
                [ alert Alert.Fatal refusal.Alert h.Line.Writes
                  Failed(Ending.refused refusal) ])

    /// Ends it at an alert of theirs.
    let private alerted (during: string) (description: byte) : Step<State, Output> =
        Step.one (Failed(Ending.alerted during description)) Over

    /// Ends it at a wish, of ours or of theirs.
    let private goodbye (writes: WriteEpoch list) : Step<State, Output> =
        struct (Over, [ alert Alert.Warning Alert.CloseNotify writes; Closed ])

    // What the handshake asks for

    /// `Done` comes when both keys are there.
    let private opened (h: Handshaking) : State =
        match h.Line.Read, h.Line.Writes with
        | ValueSome(struct (read, window)), [ clear; write ] ->
            Open
                { Session =
                    { Config = h.Party.Config
                      Read = read
                      Write = write.Sealing
                      Last =
                        (if h.Party.Role = DtlsRole.Server then
                             h.Flight
                         else
                             ValueNone)
                      Plain = clear.Next }
                  Window = window
                  Next = write.Next }
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
                                Writes =
                                    h.Line.Writes
                                    @ [ { Epoch = 1UL
                                          Sealing = Sealing.Dtls12 protection
                                          Next = 0UL } ] } }
            | Say items ->
                let struct (next, outputs) =
                    say now items (h.Inbox.Next - 1) h.Party.Config.Timing.First h

                h <- next
                reversed <- List.rev outputs @ reversed
            | LogKey(random, master) -> reversed <- KeyLog(Keys.logLine "CLIENT_RANDOM" random master) :: reversed
            | Done connected ->
                state <- ValueSome(opened h)
                reversed <- Connected connected :: reversed

        struct (ValueOption.defaultValue (Handshaking h) state, List.rev reversed)

    // What the peer sends

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
        | MessageType.Finished, ValueSome last when
            Flight.asksAgain now o.Session.Config.Timing.First fragment last.Answers last.SentAt
            ->
            sayLastAgain now last o
        // Renegotiation, RFC 5246 §7.2.2.
        | (MessageType.HelloRequest | MessageType.ClientHello), _ when fragment.Offset = 0 ->
            struct (Open { o with Next = o.Next + 1UL }, [ alert Alert.Warning Alert.NoRenegotiation [ writing o ] ])
        | _ -> ignored Drop.Unexpected (Open o)

    let private alertInHandshake (plain: Memory<byte>) (h: Handshaking) : Step<State, Output> =
        if plain.Length <> 2 then
            ignored Drop.Malformed (Handshaking h)
        else
            let level, description = plain.Span[0], plain.Span[1]

            if level = Alert.Fatal || description = Alert.CloseNotify then
                alerted "handshake" description
            else
                ignored Drop.Unexpected (Handshaking h)

    let private alertWhenOpen (plain: Memory<byte>) (o: Open) : Step<State, Output> =
        if plain.Length <> 2 then
            ignored Drop.Malformed (Open o)
        else
            let level, description = plain.Span[0], plain.Span[1]

            if description = Alert.CloseNotify then
                // RFC 5246 §7.2.1: answered with one of our own.
                goodbye [ writing o ]
            elif level = Alert.Fatal then
                alerted "connection" description
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
        | _ -> Step.only state

    /// Once keys are there, or the handshake is done, what came too early has its turn.
    and private catchUp (now: Instant) (before: Handshaking) (state: State) : Step<State, Output> =
        match state with
        | Handshaking h when h.Line.Read.IsSome && before.Line.Read.IsNone ->
            replay now before.Early (Handshaking { h with Early = Early.nothing })
        | Open _ -> replay now before.Early state
        | _ -> Step.only state

    and private replay (now: Instant) (early: Early) (state: State) : Step<State, Output> =
        (Step.only state, Early.inOrder early)
        ||> List.fold (fun stepped bytes -> Step.bind (receive now (Memory bytes)) stepped)

    and private fragmentInHandshake (now: Instant) (epoch: uint16) (fragment: Fragment) (h: Handshaking) =
        // Finished is the one message under the new keys, so an epoch tells which of them may come in it.
        if (fragment.Type = MessageType.Finished) <> (epoch = 1us) then
            ignored Drop.Unexpected (Handshaking h)
        else
            match h.Flight with
            | ValueSome flight when
                Flight.asksAgain now h.Party.Config.Timing.First fragment flight.Answers flight.SentAt
                ->
                sayAgain now flight flight.Timeout h
            | _ ->
                match Reassembly.add fragment h.Inbox with
                | Error drop -> ignored drop (Handshaking h)
                | Ok inbox -> drain now (Handshaking { h with Inbox = inbox })

    /// The fragments of a handshake record: one mostly, several where the peer packs them.
    and private fragments (now: Instant) (epoch: uint16) (plain: Memory<byte>) (state: State) : Step<State, Output> =
        (plain, state)
        ||> Parts.each (fun rest state ->
            let mutable r = Reader(Span.op_Implicit rest.Span)
            let fragment = Reassembly.readFragment &r

            if not r.Ok || not (Reassembly.isSound fragment) then
                struct (Memory.Empty, ignored Drop.Malformed state)
            else
                struct (rest.Slice(rest.Length - r.Remaining),
                        match state with
                        | Handshaking h -> fragmentInHandshake now epoch fragment h
                        | Open o -> fragmentWhenOpen now fragment o
                        | _ -> ignored Drop.Stale state))

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
                        Writes = [ WriteEpoch.clear record.Sequence ] } }
        | _ -> h

    and private recordInHandshake (now: Instant) (record: Record) (h: Handshaking) : Step<State, Output> =
        let keepIt () =
            match Early.keep record.Bytes h.Early with
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
    and private receive12 (now: Instant) (datagram: Memory<byte>) (state: State) : Step<State, Output> =
        (datagram, state)
        ||> Parts.each (fun rest state ->
            match Record.first rest with
            | ValueNone -> struct (Memory.Empty, ignored Drop.Malformed state)
            | ValueSome record ->
                struct (rest.Slice record.Bytes.Length,
                        match state with
                        | Handshaking h -> recordInHandshake now record h
                        | Open o -> recordWhenOpen now record o
                        | _ -> ignored Drop.Stale state))

    // 1.3

    and private tell (event: Event13) : Output =
        match event with
        | Event13.Transmit datagram -> Transmit datagram
        | Event13.Data bytes -> Data bytes
        | Event13.Connected connected -> Connected connected
        | Event13.KeyLog(label, random, secret) -> KeyLog(Keys.logLine label random secret)
        | Event13.Failed fault -> Failed fault
        | Event13.Closed -> Closed
        | Event13.Ignored drop -> Ignored drop

    /// The peer speaks 1.2: its machine goes on with the peer's hello.
    and private older (now: Instant) (older: Connection13.Older) : Step<State, Output> =
        Handshaking(ofOlder older)
        |> drain now
        |> Step.bind (fun state ->
            if older.Rest.IsEmpty then
                Step.only state
            else
                receive now older.Rest state)

    and private in13 (now: Instant) (struct (state, events): Step<Connection13.State, Event13>) : Step<State, Output> =
        let outputs = List.map tell events

        match state with
        | Connection13.Handshaking h -> struct (Handshaking13 h, outputs)
        | Connection13.Open o -> struct (Open13 o, outputs)
        | Connection13.Over -> struct (Over, outputs)
        | Connection13.Older peer ->
            let struct (state, more) = older now peer
            struct (state, outputs @ more)

    and private open13 (struct (state, events): Open13.Stepped) : Step<State, Output> =
        match state with
        | ValueSome o -> struct (Open13 o, List.map tell events)
        | ValueNone -> struct (Over, List.map tell events)

    /// Nearly every datagram is one record of data, which goes by the shortest way.
    and private receive13 (now: Instant) (datagram: Memory<byte>) (o: Open13.State) : Step<State, Output> =
        match Ciphertext.first 0 datagram with
        | ValueSome record when record.Bytes.Length = datagram.Length && Open13.isCurrent record o ->
            match Ciphertext.openInPlace o.Session.Read.Protection o.Window.Next record with
            | Ok(struct (ContentType.ApplicationData, sequence, plain)) when
                ReplayWindow.isNew sequence o.Window && not plain.IsEmpty
                ->
                Step.one
                    (Data plain)
                    (Open13
                        { o with
                            Window = ReplayWindow.mark sequence o.Window })
            | read -> open13 (Open13.receiveCurrent now read o)
        | _ -> open13 (Open13.receive now datagram o)

    and private receive (now: Instant) (datagram: Memory<byte>) (state: State) : Step<State, Output> =
        match state with
        | Open13 o -> receive13 now datagram o
        | Handshaking13 h -> in13 now (Connection13.receive now datagram (Connection13.Handshaking h))
        | _ -> receive12 now datagram state

    // The machine

    let create (config: DtlsConfig) (entropy: Entropy) : State = New(config, entropy, Early.nothing)

    let deadline (state: State) : Instant =
        match state with
        | Handshaking h ->
            match h.Flight with
            | ValueSome flight -> Instant.min (Flight.retryAt flight) h.ExpiresAt
            | ValueNone -> h.ExpiresAt
        | Handshaking13 h -> Connection13.deadline h
        | Open13 o -> Open13.deadline o
        | New _
        | Open _
        | Over -> Instant.never

    let private start12 (now: Instant) (party: Party) : Step<State, Output> =
        let begun = beginning now party

        match party.Role with
        | DtlsRole.Server -> Step.only (Handshaking begun)
        | DtlsRole.Client ->
            let struct (client, actions) = Client.hello party [||] (Transcript.start 0)
            perform now (ClientSide client) actions begun

    let private start (now: Instant) role trust config entropy : Step<State, Output> =
        let struct (random, entropy) = Entropy.bytes Message.RandomSize entropy
        let struct (seed, _) = Entropy.bytes 64 entropy

        let party =
            { Config = config
              Role = role
              Trust = trust
              Random = random
              Seed = seed }

        if Hello.speaks DtlsVersion.Dtls13 config then
            in13 now (Connection13.start now party)
        else
            start12 now party

    let private tickHandshake (now: Instant) (h: Handshaking) : Step<State, Output> =
        if now >= h.ExpiresAt then
            failed "the handshake took too long"
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
        | New(config, entropy, early), Wrapped octets ->
            Step.only (
                New(
                    { config with
                        Mtu = config.Mtu - octets },
                    entropy,
                    early
                )
            )
        // The peer's hello may be here before its fingerprint: signalling is slower than ICE.
        | New(config, entropy, early), Received datagram ->
            match Early.keep datagram early with
            | ValueSome early -> Step.only (New(config, entropy, early))
            | ValueNone -> ignored Drop.TooMany state
        | New _, Close -> Step.one Closed Over
        | (New _ | Handshaking _ | Handshaking13 _), Seal _ -> ignored Drop.Unexpected state
        | Handshaking h, Tick -> tickHandshake now h
        | (Handshaking _ | Open _ | Handshaking13 _ | Open13 _), Received datagram -> receive now datagram state
        | Handshaking h, Close -> goodbye h.Line.Writes
        | (Handshaking _ | Open _ | Handshaking13 _ | Open13 _), (Wrapped _ | Start _ | StartWithChain _) ->
            ignored Drop.Unexpected state
        | Open o, Seal records when o.Next <= Record.LastSequence - uint64 records ->
            let record: DtlsSeal =
                { Sealing = o.Session.Write
                  Epoch = 1UL
                  Sequence = o.Next }

            Step.one
                (Sealed record)
                (Open
                    { o with
                        Next = o.Next + uint64 records })
        // After 2⁴⁸ records, which no connection lives to see, RFC 6347 §4.1.
        | Open _, Seal _ -> failed "the sequence numbers are used up"
        | Open o, Close -> goodbye [ writing o ]
        | Handshaking13 h, Tick -> in13 now (Connection13.tick now h)
        | Handshaking13 h, Close -> struct (Over, List.map tell (Connection13.close h))
        | Open13 o, Seal records when Open13.mayWrite records o ->
            let record: DtlsSeal =
                { Sealing = o.Session.Write.Sealing
                  Epoch = o.Session.Write.Epoch
                  Sequence = o.Next }

            Step.one (Sealed record) (Open13(Open13.spend now records o))
        // The peer has not acknowledged that we renew them, RFC 9147 §4.5.3.
        | Open13 _, Seal _ -> failed "the keys are worn out"
        | Open13 o, Tick ->
            let struct (o, events) = Open13.tick now o
            struct (Open13 o, List.map tell events)
        | Open13 o, Close -> struct (Over, List.map tell (Open13.close o))
        | (New _ | Open _ | Over), Tick -> Step.only state
        | Over, (Wrapped _ | Start _ | StartWithChain _ | Received _ | Seal _ | Close) -> ignored Drop.Stale state
