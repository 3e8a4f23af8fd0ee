namespace Hybrid.WebRtc.Core.Turn

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// The cookies of RFC 6347 §4.2.1: a client shows that it is where it says before anything is kept of it, or much is sent there.
[<RequireQualifiedAccess>]
module internal HelloCookie =
    /// Octets: when it was made, and a seal.
    [<Literal>]
    let private Size = 17

    /// Where the body of a hello stands in a datagram that begins with one.
    [<Literal>]
    let private BodyAt = 25

    /// How long one is good for, from one to two of these.
    let private epoch: Duration = Duration.seconds 60L

    /// Where the cookie of a whole ClientHello in one record stands, and how long it is; ValueNone where there is no such hello.
    let private cookieOf (datagram: ReadOnlySpan<byte>) : struct (int * int) voption =
        if
            datagram.Length < BodyAt + 36
            || datagram[0] <> byte ContentType.Handshake
            || datagram[1] <> 0xfeuy
            // Epoch 0.
            || BinaryPrimitives.ReadUInt16BigEndian(datagram.Slice 3) <> 0us
            || datagram[Record.HeaderSize] <> byte MessageType.ClientHello
        then
            ValueNone
        else
            let record = int (BinaryPrimitives.ReadUInt16BigEndian(datagram.Slice 11))
            let mutable r = Reader(datagram.Slice(Record.HeaderSize + 1))
            let length = r.UInt24()
            r.Skip 2
            let offset = r.UInt24()
            let part = r.UInt24()
            // Version, random, session.
            let mutable body = Reader(datagram.Slice BodyAt)
            body.Skip(2 + Message.RandomSize)
            body.Skip(int (body.Byte()))
            let at = datagram.Length - body.Remaining
            let cookie = int (body.Byte())
            body.Skip cookie

            if
                r.Ok
                && body.Ok
                && offset = 0
                && part = length
                && record = length + Fragment.HeaderSize
                && record + Record.HeaderSize <= datagram.Length
                && at + 1 + cookie <= BodyAt + length
            then
                ValueSome(struct (at + 1, cookie))
            else
                ValueNone

    /// The client's random, which tells one connection from another by the same way.
    let randomOf (datagram: ReadOnlySpan<byte>) : byte[] =
        datagram.Slice(BodyAt + 2, Message.RandomSize).ToArray()

    /// Whether a datagram begins with a ClientHello in the clear.
    let isHello (datagram: ReadOnlySpan<byte>) : bool = (cookieOf datagram).IsSome

    // Of everything that the second hello repeats, and of whence it comes.
    let private make
        (ciphers: ICiphers)
        (secret: byte[])
        (era: byte)
        (client: Endpoint)
        (datagram: ReadOnlySpan<byte>)
        =
        match cookieOf datagram with
        | ValueNone -> [||]
        | ValueSome(struct (at, length)) ->
            let last =
                BodyAt
                + (int (BinaryPrimitives.ReadUInt16BigEndian(datagram.Slice 11))
                   - Fragment.HeaderSize)

            let text = Array.zeroCreate (19 + (at - 1 - BodyAt) + (last - at - length))
            text[0] <- era
            BinaryPrimitives.WriteUInt64BigEndian(Span(text, 1, 8), client.Address.High)
            BinaryPrimitives.WriteUInt64BigEndian(Span(text, 9, 8), client.Address.Low)
            BinaryPrimitives.WriteUInt16BigEndian(Span(text, 17, 2), client.Port)
            datagram.Slice(BodyAt, at - 1 - BodyAt).CopyTo(Span(text, 19, at - 1 - BodyAt))
            datagram.Slice(at + length, last - at - length).CopyTo(Span(text).Slice(19 + at - 1 - BodyAt))

            let seal =
                Ciphers.hmac ciphers HashAlgorithm.Sha256 (ReadOnlySpan secret) (ReadOnlySpan text)

            Array.append [| era |] (Array.sub seal 0 (Size - 1))

    let private eraOf (now: Instant) : byte = byte (now / epoch)

    /// Whether a hello has a cookie that was made for it, not long ago.
    let isProved ciphers (secret: byte[]) (now: Instant) (client: Endpoint) (datagram: ReadOnlySpan<byte>) : bool =
        match cookieOf datagram with
        | ValueSome(struct (at, Size)) ->
            let era = datagram[at]

            (era = eraOf now || era = eraOf now - 1uy)
            && Ciphers.equal (datagram.Slice(at, Size)) (ReadOnlySpan(make ciphers secret era client datagram))
        | _ -> false

    /// The HelloVerifyRequest to a hello, a whole datagram of 44 octets: less than what it answers. Its record has the hello's number.
    let request ciphers (secret: byte[]) (now: Instant) (client: Endpoint) (datagram: ReadOnlySpan<byte>) : byte[] =
        let body =
            Message.writeHelloVerifyRequest (make ciphers secret (eraOf now) client datagram)

        let message =
            Message.encode
                { Type = MessageType.HelloVerifyRequest
                  Sequence = 0
                  Body = body }

        let bytes = Array.zeroCreate (Record.HeaderSize + message.Length)
        let number = BinaryPrimitives.ReadUInt64BigEndian(datagram.Slice 3)

        Record.writeHeader (Span bytes) ContentType.Handshake Record.OldestVersion 0us number message.Length

        message.CopyTo(bytes, Record.HeaderSize)
        bytes

/// How a TURN server takes clients that come by DTLS.
[<NoComparison; NoEquality>]
type DtlsClientsConfig =
    {
        Ciphers: ICiphers
        /// X.509, DER: the leaf, and those that lead to an authority.
        Chain: byte[][]
        Key: ISigningKey
        /// At once. Default 10,000.
        MaxClients: int
        /// How long a client may do without an allocation, its handshake included. Default 60 s.
        Patience: Duration
    }

/// A client of a server's DTLS listener.
[<NoComparison; NoEquality>]
type internal DtlsClient =
    {
        Dtls: Dtls.State
        /// Of its hello: another comes by the same way from who has begun anew, RFC 6347 §4.2.8.
        Random: byte[]
        IsOpen: bool
        HasAllocation: bool
        PatientUntil: Instant
    }

/// All clients of a TURN server that come by DTLS over UDP, RFC 7350: their handshakes and records, in front of the server.
///
///     nobody ──hello, cookie──▶ Greeting ──Finished──▶ Open ──close_notify, alert, idle, hello anew──▶ nobody
///       ↺ hello: HelloVerifyRequest   └──refusal, idle──▶ nobody
[<RequireQualifiedAccess>]
module DtlsClients =
    [<Sealed; AllowNullLiteral(false)>]
    type State
        internal
        (config: DtlsClientsConfig, secret: byte[], entropy: Entropy, clients: Trie<Path, DtlsClient>, due: Instant) =
        member internal _.Config = config
        member internal _.Secret = secret
        member internal _.Entropy = entropy
        member internal _.Clients = clients
        member internal _.Due = due

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        /// A datagram, lent: its records are opened in place.
        | Received of Client: Path * Datagram: Memory<byte>
        /// Whether a client has an allocation: who has one may be silent.
        | Holds of Client: Path * Allocation: bool
        /// Goodbye to all.
        | Close

    [<NoComparison; NoEquality>]
    type Output =
        | Transmit of Client: Path * Datagram: DtlsDatagram
        /// A HelloVerifyRequest.
        | Challenge of Client: Path * Datagram: byte[]
        /// What a client says, a slice of what `Received` lent.
        | Data of Client: Path * Bytes: Memory<byte>
        /// A client that was open is gone.
        | Gone of Client: Path
        | Ignored of Drop

    /// How often idle clients are looked for.
    let private sweepEvery: Duration = Duration.seconds 5L

    [<CompiledName "Create">]
    let create (entropy: ReadOnlyMemory<byte>) (config: DtlsClientsConfig) : State =
        let struct (secret, entropy) = Entropy.bytes 32 (Entropy.ofSeed entropy.Span)
        State(config, secret, entropy, Trie.empty, Instant.never)

    /// When a `Tick` is next due.
    [<CompiledName "Deadline">]
    let deadline (state: State) : Instant = state.Due

    /// Clients, those that are still greeting included.
    [<CompiledName "Count">]
    let count (state: State) : int = state.Clients.Count

    let private withClients (clients: Trie<Path, DtlsClient>) (s: State) : State =
        State(s.Config, s.Secret, s.Entropy, clients, (if clients.Count = 0 then Instant.never else s.Due))

    let private put (path: Path) (client: DtlsClient) (s: State) : State =
        withClients (Trie.set path client s.Clients) s

    /// Leave to say one thing to a client; ValueNone where it has no connection.
    [<CompiledName "Seal">]
    let seal (now: Instant) (path: Path) (s: State) : struct (DtlsSeal voption * State) =
        match Trie.tryFind path s.Clients with
        | ValueSome client when client.IsOpen ->
            match Dtls.step now (Dtls.Seal 1) client.Dtls with
            | struct (dtls, [ Dtls.Sealed seal ]) -> struct (ValueSome seal, put path { client with Dtls = dtls } s)
            | struct (dtls, _) -> struct (ValueNone, put path { client with Dtls = dtls } s)
        | ValueSome _
        | ValueNone -> struct (ValueNone, s)

    let private onDtls (path: Path) (output: Dtls.Output) (s: State) : Step<State, Output> =
        match output, Trie.tryFind path s.Clients with
        | Dtls.Transmit datagram, _ -> Step.one (Transmit(path, datagram)) s
        | Dtls.Data bytes, _ -> Step.one (Data(path, bytes)) s
        | Dtls.Connected _, ValueSome client -> Step.only (put path { client with IsOpen = true } s)
        | (Dtls.Failed _ | Dtls.Closed), ValueSome client ->
            let s = withClients (Trie.remove path s.Clients) s

            if client.IsOpen then
                Step.one (Gone path) s
            else
                Step.only s
        | Dtls.Ignored reason, _ -> Step.one (Ignored reason) s
        | (Dtls.Connected _ | Dtls.Failed _ | Dtls.Closed), ValueNone
        | (Dtls.Sealed _ | Dtls.KeyLog _), _ -> Step.only s

    let private dtls now (path: Path) (input: Dtls.Input) (client: DtlsClient) (s: State) : Step<State, Output> =
        let struct (part, outputs) = Dtls.step now input client.Dtls
        let s = put path { client with Dtls = part } s

        match outputs with
        // Nearly every datagram.
        | [ Dtls.Data bytes ] -> Step.one (Data(path, bytes)) s
        | _ -> Step.route (onDtls path) outputs s

    // A hello that has proved where it comes from.
    let private greet now (path: Path) (hello: Memory<byte>) (s: State) : Step<State, Output> =
        if s.Clients.Count >= s.Config.MaxClients then
            Step.one (Ignored Drop.TooMany) s
        else
            let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize s.Entropy
            let config = DtlsConfig.create s.Config.Ciphers s.Config.Chain[0] s.Config.Key

            let struct (begun, _) =
                Dtls.create
                    { config with
                        // Its cookie is that of a HelloVerifyRequest.
                        MaxVersion = DtlsVersion.Dtls12
                        Intermediates = Array.skip 1 s.Config.Chain
                        SrtpProfiles = [||]
                        Timing =
                            { config.Timing with
                                GiveUp = s.Config.Patience } }
                    (Entropy.ofSeed (ReadOnlySpan seed))
                |> Dtls.step now (Dtls.StartWithChain(DtlsRole.Server, ""))

            let client =
                { Dtls = begun
                  Random = HelloCookie.randomOf (Span.op_Implicit hello.Span)
                  IsOpen = false
                  HasAllocation = false
                  PatientUntil = now + s.Config.Patience }

            State(s.Config, s.Secret, entropy, s.Clients, Instant.min s.Due (now + sweepEvery))
            |> dtls now path (Dtls.Received hello) client

    let private received now (path: Path) (datagram: Memory<byte>) (s: State) : Step<State, Output> =
        let bytes: ReadOnlySpan<byte> = Span.op_Implicit datagram.Span
        let isHello = HelloCookie.isHello bytes

        match Trie.tryFind path s.Clients with
        | ValueSome client when
            not isHello
            || (ReadOnlySpan client.Random).SequenceEqual(ReadOnlySpan(HelloCookie.randomOf bytes))
            ->
            dtls now path (Dtls.Received datagram) client s
        | ValueNone when not isHello -> Step.one (Ignored Drop.Unexpected) s
        | known when HelloCookie.isProved s.Config.Ciphers s.Secret now path.Remote bytes ->
            let rest = withClients (Trie.remove path s.Clients) s

            let struct (s, gone) =
                match known with
                | ValueSome { IsOpen = true } -> Step.one (Gone path) rest
                | ValueSome _
                | ValueNone -> Step.only rest

            let struct (s, outputs) = greet now path datagram s
            struct (s, gone @ outputs)
        | _ -> Step.one (Challenge(path, HelloCookie.request s.Config.Ciphers s.Secret now path.Remote bytes)) s

    let private over now (path: Path) (s: State) : Step<State, Output> =
        match Trie.tryFind path s.Clients with
        | ValueSome client -> dtls now path Dtls.Close client s
        | ValueNone -> Step.only s

    let private allOver now (isOver: DtlsClient -> bool) (s: State) : Step<State, Output> =
        ([], s.Clients)
        ||> Trie.fold (fun paths path client -> if isOver client then path :: paths else paths)
        |> List.fold (fun step path -> Step.bind (over now path) step) (Step.only s)

    let private sweep now (s: State) : Step<State, Output> =
        s
        |> allOver now (fun client -> not client.HasAllocation && now >= client.PatientUntil)
        |> Step.bind (fun s ->
            let due =
                if s.Clients.Count = 0 then
                    Instant.never
                else
                    now + sweepEvery

            Step.only (State(s.Config, s.Secret, s.Entropy, s.Clients, due)))

    [<CompiledName "Step">]
    let step (now: Instant) (input: Input) (s: State) : Step<State, Output> =
        match input with
        | Tick when now < s.Due -> Step.only s
        | Tick -> sweep now s
        | Received(path, datagram) -> received now path datagram s
        | Holds(path, allocation) ->
            match Trie.tryFind path s.Clients with
            | ValueSome client ->
                put
                    path
                    { client with
                        HasAllocation = allocation
                        PatientUntil = now + s.Config.Patience }
                    s
                |> Step.only
            | ValueNone -> Step.only s
        | Close -> allOver now (fun _ -> true) s
