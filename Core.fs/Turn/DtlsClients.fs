namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

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
                  Random = HelloCookie.randomOf hello
                  IsOpen = false
                  HasAllocation = false
                  PatientUntil = now + s.Config.Patience }

            State(s.Config, s.Secret, entropy, s.Clients, Instant.min s.Due (now + sweepEvery))
            |> dtls now path (Dtls.Received hello) client

    let private received now (path: Path) (datagram: Memory<byte>) (s: State) : Step<State, Output> =
        let isHello = HelloCookie.isHello datagram

        match Trie.tryFind path s.Clients with
        | ValueSome client when
            not isHello
            || (ReadOnlySpan client.Random).SequenceEqual(ReadOnlySpan(HelloCookie.randomOf datagram))
            ->
            dtls now path (Dtls.Received datagram) client s
        | ValueNone when not isHello -> Step.one (Ignored Drop.Unexpected) s
        | known when HelloCookie.isProved s.Config.Ciphers s.Secret now path.Remote datagram ->
            let rest = withClients (Trie.remove path s.Clients) s

            let struct (s, gone) =
                match known with
                | ValueSome { IsOpen = true } -> Step.one (Gone path) rest
                | ValueSome _
                | ValueNone -> Step.only rest

            let struct (s, outputs) = greet now path datagram s
            struct (s, gone @ outputs)
        | _ -> Step.one (Challenge(path, HelloCookie.request s.Config.Ciphers s.Secret now path.Remote datagram)) s

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
