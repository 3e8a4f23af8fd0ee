namespace Hybrid.WebRtc.Core.Tls13

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// What a connection of 1.3 tells: `Dtls.Output` without the answer to `Seal`.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal Event13 =
    | Transmit of DtlsDatagram
    | Data of Memory<byte>
    | Connected of DtlsConnected
    | KeyLog of label: string * clientRandom: byte[] * secret: byte[]
    | Failed of Fault
    | Closed
    | Ignored of Drop

/// An epoch of the peer's.
[<NoComparison; NoEquality>]
type internal ReadEpoch =
    { Epoch: uint64
      Secret: byte[]
      Protection: Protection13
      Window: ReplayWindow }

/// Our newest epoch. The next record's number is not here: it changes with every packet.
[<NoComparison; NoEquality>]
type internal WriteKeys =
    { Epoch: uint64
      Secret: byte[]
      Sealing: Sealing }

/// A connection of 1.3 after its handshake: data, ACKs, KeyUpdate (RFC 9147 §8) and the end.
[<RequireQualifiedAccess>]
module internal Open13 =
    /// What stays the same from packet to packet.
    [<NoComparison; NoEquality>]
    type Session =
        {
            Config: DtlsConfig
            Role: DtlsRole
            Schedule: KeySchedule
            /// The peer's newest epoch that it has used. Its window here is where it began: see `State`.
            Read: ReadEpoch
            Write: WriteKeys
            /// Our epoch 2, in which a client says its last flight again, until that is acknowledged.
            Handshake: WriteEpoch voption
            /// The peer's other epochs that may still speak: the one after a KeyUpdate, the one before, the handshake's.
            Others: ReadEpoch list
            Inbox: Reassembly
            /// Records of the peer's last flight, newest first.
            Heard: RecordNumber list
            /// What waits for an ACK: a client's last flight, or a KeyUpdate.
            Flight: Flight13 voption
            /// message_seq of our next message.
            NextMessage: int
            /// The keys that we write with once our KeyUpdate is acknowledged.
            Update: WriteKeys voption
            /// Whether the peer wants us to renew them, and another flight is under way.
            IsUpdateWanted: bool
            /// When a client no longer says its last flight again.
            ExpiresAt: Instant
            /// Records that did not open.
            Forged: uint64
        }

    /// Small: a packet makes a new one.
    [<NoComparison; NoEquality>]
    type State =
        {
            Session: Session
            /// Of the epoch `Session.Read`.
            Window: ReplayWindow
            /// Of our next record.
            Next: uint64
        }

    /// ValueNone is the end.
    type Stepped = Step<State voption, Event13>

    let create (session: Session) : State =
        { Session = session
          Window = session.Read.Window
          Next = 0UL }

    let fault (reason: string) : Fault =
        Fault.create Layer.Dtls ErrorDetail.DtlsFailure reason

    /// The end by an alert of ours.
    let refusal (refusal: Refusal) : Fault =
        { Fault.create Layer.Dtls refusal.Detail refusal.Reason with
            SentAlert = ValueSome refusal.Alert }

    /// The end by an alert of theirs.
    let refused (during: string) (description: byte) : Fault =
        { fault ("the peer ended the " + during + ": " + Alert.name description) with
            ReceivedAlert = ValueSome description }

    /// Records that are remembered for an ACK: more than a flight has.
    [<Literal>]
    let private MaxHeard = 64

    /// One more record of the peer's, newest first.
    let hear (number: RecordNumber) (heard: RecordNumber list) : RecordNumber list =
        List.truncate MaxHeard (number :: heard)

    /// The ACKs of these records, each within a datagram, in numerically increasing order, RFC 9147 §7.
    let acks (config: DtlsConfig) (heard: RecordNumber list) : RecordNumber[] list =
        let most =
            (max Flight.SmallestMtu config.Mtu
             - Ciphertext.Overhead
             - Messages13.ackSize [||])
            / 16

        heard
        |> List.distinctBy (fun n -> struct (n.Epoch, n.Sequence))
        |> List.sortBy (fun n -> struct (n.Epoch, n.Sequence))
        |> List.toArray
        |> Array.chunkBySize most
        |> Array.toList

    let private on (o: State) : Stepped = Step.only (ValueSome o)

    let private ignored drop (o: State) : Stepped =
        Step.one (Event13.Ignored drop) (ValueSome o)

    // What we send

    /// Our newest epoch with the number of its next record.
    let private writing (o: State) : WriteEpoch =
        { Epoch = o.Session.Write.Epoch
          Sealing = o.Session.Write.Sealing
          Next = o.Next }

    let private transmit (payload: Payload) (o: State) : struct (State * Event13 list) =
        let struct (datagram, _) = WriteEpoch.single payload [ writing o ]
        struct ({ o with Next = o.Next + 1UL }, [ Event13.Transmit datagram ])

    /// Says that these records are here, RFC 9147 §7.
    let acknowledge (numbers: RecordNumber list) (o: State) : struct (State * Event13 list) =
        (struct (o, []), acks o.Session.Config numbers)
        ||> List.fold (fun (struct (o, events)) ack ->
            let struct (o, more) = transmit (AckOf ack) o
            struct (o, events @ more))

    let private refuse (why: Refusal) (o: State) : Stepped =
        let struct (_, events) = transmit (AlertOf(Alert.Fatal, why.Alert)) o
        struct (ValueNone, events @ [ Event13.Failed(refusal why) ])

    /// What the peer has not of a flight.
    let private say (now: Instant) (timeout: Duration) (flight: Flight13) (o: State) : struct (State * Event13 list) =
        let session = o.Session

        let struct (flight, writes, datagrams) =
            Flight13.say session.Config.Mtu now timeout (ValueOption.toList session.Handshake @ [ writing o ]) flight

        struct ({ o with
                    Session =
                        { session with
                            Flight = ValueSome flight
                            Handshake = session.Handshake |> ValueOption.map (fun w -> WriteEpoch.find w.Epoch writes) }
                    Next = (WriteEpoch.find session.Write.Epoch writes).Next },
                datagrams |> List.map Event13.Transmit)

    /// Renews the keys that we write with, RFC 9147 §8: the message goes out under the old ones, which stay until it is acknowledged.
    let private update (now: Instant) (o: State) : struct (State * Event13 list) =
        let session = o.Session

        if session.Flight.IsSome then
            struct ({ o with
                        Session = { session with IsUpdateWanted = true } },
                    [])
        else
            let secret = KeySchedule.update session.Schedule session.Write.Secret

            let message: Message =
                { Type = MessageType.KeyUpdate
                  Sequence = session.NextMessage
                  Body = Messages13.writeKeyUpdate false }

            let session =
                { session with
                    IsUpdateWanted = false
                    NextMessage = session.NextMessage + 1
                    Update =
                        ValueSome
                            { Epoch = session.Write.Epoch + 1UL
                              Secret = secret
                              Sealing = Sealing.Dtls13(Protection13.create session.Schedule secret) } }

            let flight = Flight13.create -1 [ struct (message, session.Write.Epoch) ]
            say now session.Config.Timing.First flight { o with Session = session }

    /// Whether it is time to renew the keys that we write with.
    let private isWorn (o: State) =
        o.Next >= o.Session.Config.RekeyAfter && o.Session.Flight.IsNone

    /// Whether the keys allow this many records more.
    let mayWrite (records: int) (o: State) : bool =
        o.Next + uint64 records <= Suite13.sealLimit o.Session.Schedule.Suite

    /// The numbers of this many records are spent; what goes out because of it.
    let spend (now: Instant) (records: int) (o: State) : struct (State * Event13 list) =
        let o =
            { o with
                Next = o.Next + uint64 records }

        if isWorn o then update now o else struct (o, [])

    // What the peer sends

    let private ack (now: Instant) (epoch: uint64) (plain: Memory<byte>) (o: State) : Stepped =
        let session = o.Session

        match Messages13.readAck (Span.op_Implicit plain.Span), session.Flight with
        | ValueNone, _ -> ignored Drop.Malformed o
        | _, ValueNone -> ignored Drop.Stale o
        | ValueSome numbers, ValueSome flight ->
            match Flight13.acknowledge epoch numbers flight with
            | ValueNone -> ignored Drop.Stale o
            | ValueSome flight when not (Flight13.isAcked flight) ->
                let struct (o, events) = say now flight.Timeout flight o
                struct (ValueSome o, events)
            | ValueSome _ ->
                let o =
                    match session.Update with
                    | ValueSome keys ->
                        { o with
                            Session =
                                { session with
                                    Flight = ValueNone
                                    Write = keys
                                    Update = ValueNone }
                            Next = 0UL }
                    // The handshake is over on both sides, and its keys have served.
                    | ValueNone ->
                        { o with
                            Session =
                                { session with
                                    Flight = ValueNone
                                    Handshake = ValueNone
                                    Others = session.Others |> List.filter (fun e -> e.Epoch <> 2UL) } }

                if o.Session.IsUpdateWanted then
                    let struct (o, events) = update now o
                    struct (ValueSome o, events)
                else
                    on o

    /// The peer renews its keys; they are used from its next epoch on.
    let private keyUpdate (now: Instant) (message: Message) (o: State) : Stepped =
        let session = o.Session

        match Messages13.readKeyUpdate message.Body with
        | ValueNone -> refuse (Refusal.malformed "KeyUpdate") o
        // Not before it has used those of the last one.
        | ValueSome _ when session.Others |> List.exists (fun e -> e.Epoch > session.Read.Epoch) ->
            refuse (Refusal.create Alert.UnexpectedMessage "a KeyUpdate before the last one was used") o
        | ValueSome isRequested ->
            let secret = KeySchedule.update session.Schedule session.Read.Secret

            let next: ReadEpoch =
                { Epoch = session.Read.Epoch + 1UL
                  Secret = secret
                  Protection = Protection13.create session.Schedule secret
                  Window = ReplayWindow.empty }

            let o =
                { o with
                    Session =
                        { session with
                            Others = next :: session.Others } }

            if isRequested && session.Update.IsNone then
                let struct (o, events) = update now o
                struct (ValueSome o, events)
            else
                on o

    /// Takes the messages that have become whole, in order.
    let rec private drain (now: Instant) (o: State) : Stepped =
        match Reassembly.take o.Session.Inbox with
        | ValueNone -> on o
        | ValueSome(struct (message, inbox)) ->
            let o =
                { o with
                    Session = { o.Session with Inbox = inbox } }

            let stepped =
                match message.Type, o.Session.Role with
                | MessageType.KeyUpdate, _ -> keyUpdate now message o
                // Sessions are not resumed.
                | MessageType.NewSessionTicket, DtlsRole.Client -> on o
                | _ ->
                    refuse
                        (Refusal.create
                            Alert.UnexpectedMessage
                            ("handshake message " + string (byte message.Type) + " after the handshake"))
                        o

            stepped
            |> Step.bind (fun state ->
                match state with
                | ValueSome o -> drain now o
                | ValueNone -> Step.only ValueNone)

    let private fragment (now: Instant) (epoch: uint64) (fragment: Fragment) (o: State) : Stepped =
        // The handshake's messages are all here: what comes in its epoch is said again.
        if epoch = 2UL then
            ignored Drop.Replayed o
        else
            match Reassembly.add fragment o.Session.Inbox with
            | Error drop -> ignored drop o
            | Ok inbox ->
                drain
                    now
                    { o with
                        Session = { o.Session with Inbox = inbox } }

    /// The peer has not heard our last word.
    let private sayLastAgain (now: Instant) (number: RecordNumber) (o: State) : struct (State * Event13 list) =
        match o.Session.Role, o.Session.Flight with
        | DtlsRole.Client, ValueSome flight when now - flight.SentAt >= o.Session.Config.Timing.First / 2L ->
            say now flight.Timeout flight o
        | DtlsRole.Client, _ -> struct (o, [])
        // All of it is here, whichever of its records the client thinks of.
        | DtlsRole.Server, _ ->
            let heard = hear number o.Session.Heard

            acknowledge
                heard
                { o with
                    Session = { o.Session with Heard = heard } }

    /// Whether the fragments of a record that made these events are all here: what was here already is here, RFC 9147 §7.
    let isTaken (events: Event13 list) : bool =
        events
        |> List.forall (fun event ->
            match event with
            | Event13.Ignored drop -> drop = Drop.Replayed
            | _ -> true)

    let private fragments (now: Instant) (number: RecordNumber) (plain: Memory<byte>) (o: State) : Stepped =
        let struct (state, events) =
            (plain, ValueSome o)
            ||> Parts.each (fun rest state ->
                let mutable r = Reader(Span.op_Implicit rest.Span)
                let part = Reassembly.readFragment &r

                if not r.Ok || not (Reassembly.isSound part) then
                    struct (Memory.Empty, Step.one (Event13.Ignored Drop.Malformed) state)
                else
                    struct (rest.Slice(rest.Length - r.Remaining),
                            match state with
                            | ValueSome o -> fragment now number.Epoch part o
                            | ValueNone -> Step.one (Event13.Ignored Drop.Stale) ValueNone))

        match state with
        | ValueSome o when isTaken events ->
            // Each record is acknowledged, and again where it comes again, RFC 9147 §7.
            let struct (o, more) =
                if number.Epoch = 2UL then
                    sayLastAgain now number o
                else
                    acknowledge [ number ] o

            struct (ValueSome o, events @ more)
        | state -> struct (state, events)

    let private alert (plain: Memory<byte>) (o: State) : Stepped =
        if plain.Length <> 2 then
            ignored Drop.Malformed o
        else
            // Its level says nothing, RFC 8446 §6.
            match plain.Span[1] with
            | Alert.CloseNotify ->
                // Answered with one of our own: what is half closed is of no use to a connection.
                let struct (_, events) = transmit (AlertOf(Alert.Warning, Alert.CloseNotify)) o
                struct (ValueNone, events @ [ Event13.Closed ])
            | Alert.UserCanceled -> ignored Drop.Unexpected o
            | description -> struct (ValueNone, [ Event13.Failed(refused "connection" description) ])

    /// The plaintext of a record, by what it carries.
    let private content (now: Instant) kind (number: RecordNumber) (plain: Memory<byte>) (o: State) : Stepped =
        match kind with
        | ContentType.ApplicationData when number.Epoch < 3UL -> ignored Drop.Unexpected o
        // An empty record is allowed, and says nothing, RFC 8446 §5.1.
        | ContentType.ApplicationData when plain.IsEmpty -> on o
        | ContentType.ApplicationData -> Step.one (Event13.Data plain) (ValueSome o)
        | ContentType.Alert -> alert plain o
        | ContentType.Ack -> ack now number.Epoch plain o
        | ContentType.Handshake -> fragments now number plain o
        | _ -> ignored Drop.Unexpected o

    /// A record that does not open: forged, or of keys that are gone. Too many of them end the connection, RFC 9147 §4.5.3.
    let private unopened (drop: Drop) (o: State) : Stepped =
        let session =
            { o.Session with
                Forged = o.Session.Forged + 1UL }

        if session.Forged >= Suite13.forgeryLimit then
            struct (ValueNone,
                    [ Event13.Ignored drop
                      Event13.Failed(fault "too many records that were not the peer's") ])
        else
            ignored drop { o with Session = session }

    /// Whether a record is of the epoch in `Session.Read`, in which nearly all are.
    let isCurrent (record: Ciphertext) (o: State) : bool =
        record.EpochBits = int (o.Session.Read.Epoch &&& 3UL)

    /// What a record of the epoch in `Session.Read` turned out to be.
    let receiveCurrent now (read: Result<struct (ContentType * uint64 * Memory<byte>), Drop>) (o: State) : Stepped =
        match read with
        | Error Drop.Unauthentic -> unopened Drop.Unauthentic o
        | Error drop -> ignored drop o
        | Ok(struct (_, sequence, _)) when not (ReplayWindow.isNew sequence o.Window) -> ignored Drop.Replayed o
        | Ok(struct (kind, sequence, plain)) ->
            let number =
                { Epoch = o.Session.Read.Epoch
                  Sequence = sequence }

            content
                now
                kind
                number
                plain
                { o with
                    Window = ReplayWindow.mark sequence o.Window }

    /// The peer has begun to use its new keys: those before them stay for what the network has reordered.
    let private promote (epoch: ReadEpoch) (o: State) : State =
        let session = o.Session

        let isKept (e: ReadEpoch) = e.Epoch = 2UL && epoch.Epoch < 6UL

        { o with
            Session =
                { session with
                    Read = epoch
                    Others =
                        { session.Read with Window = o.Window }
                        :: (session.Others |> List.filter isKept) }
            Window = epoch.Window }

    let private receiveOther (now: Instant) (record: Ciphertext) (o: State) : Stepped =
        match
            o.Session.Others
            |> List.tryFind (fun e -> int (e.Epoch &&& 3UL) = record.EpochBits)
        with
        | None -> ignored Drop.Unexpected o
        | Some epoch ->
            match Ciphertext.openInPlace epoch.Protection epoch.Window.Next record with
            | Error Drop.Unauthentic -> unopened Drop.Unauthentic o
            | Error drop -> ignored drop o
            | Ok(struct (_, sequence, _)) when not (ReplayWindow.isNew sequence epoch.Window) -> ignored Drop.Replayed o
            | Ok(struct (kind, sequence, plain)) ->
                let epoch =
                    { epoch with
                        Window = ReplayWindow.mark sequence epoch.Window }

                let o =
                    if epoch.Epoch > o.Session.Read.Epoch then
                        promote epoch o
                    else
                        { o with
                            Session =
                                { o.Session with
                                    Others =
                                        o.Session.Others
                                        |> List.map (fun e -> if e.Epoch = epoch.Epoch then epoch else e) } }

                content
                    now
                    kind
                    { Epoch = epoch.Epoch
                      Sequence = sequence }
                    plain
                    o

    let private receiveRecord (now: Instant) (record: Ciphertext) (o: State) : Stepped =
        if isCurrent record o then
            receiveCurrent now (Ciphertext.openInPlace o.Session.Read.Protection o.Window.Next record) o
        else
            receiveOther now record o

    /// The records of a datagram, in order.
    let receive (now: Instant) (datagram: Memory<byte>) (o: State) : Stepped =
        (datagram, ValueSome o)
        ||> Parts.each (fun rest state ->
            match state with
            | ValueNone -> struct (Memory.Empty, Step.one (Event13.Ignored Drop.Stale) ValueNone)
            | ValueSome o ->
                match Ciphertext.first 0 rest with
                | ValueSome record -> struct (rest.Slice record.Bytes.Length, receiveRecord now record o)
                | ValueNone ->
                    match Record.first rest with
                    // What is left of the handshake, or an alert that anyone may have made.
                    | ValueSome record -> struct (rest.Slice record.Bytes.Length, ignored Drop.Stale o)
                    | ValueNone -> struct (Memory.Empty, ignored Drop.Malformed o))

    let deadline (o: State) : Instant =
        match o.Session.Flight with
        | ValueSome flight -> Flight13.retryAt flight
        | ValueNone -> Instant.never

    /// Says again what is not acknowledged.
    let tick (now: Instant) (o: State) : struct (State * Event13 list) =
        match o.Session.Flight with
        // Some never acknowledge; that they talk to us will have to do.
        | ValueSome _ when o.Session.Update.IsNone && now >= o.Session.ExpiresAt ->
            struct ({ o with
                        Session = { o.Session with Flight = ValueNone } },
                    [])
        | ValueSome flight when now >= Flight13.retryAt flight ->
            say now (Instant.min (2L * flight.Timeout) o.Session.Config.Timing.Most) flight o
        | _ -> struct (o, [])

    let close (o: State) : Event13 list =
        let struct (_, events) = transmit (AlertOf(Alert.Warning, Alert.CloseNotify)) o
        events @ [ Event13.Closed ]
