/// Two DTLS ends on a simulated wire: whole handshakes in virtual time.
module Hybrid.WebRtc.PropertyTests.DtlsWorld

open System
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack

/// A P-384 certificate, as Firefox can make one; ours are P-256 and RSA.
let private p384 =
    use key = ECDsa.Create ECCurve.NamedCurves.nistP384
    let request = CertificateRequest("CN=WebRTC", key, HashAlgorithmName.SHA384)
    Certificate.From(request.CreateSelfSigned(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays 30.0))

let private p256 = Certificate.Create CertificateKind.EcdsaP256
let private rsa = Certificate.Create CertificateKind.Rsa2048

type Kind =
    | P256
    | P384
    | Rsa

let certificate kind =
    match kind with
    | P256 -> p256
    | P384 -> p384
    | Rsa -> rsa

let fingerprint (algorithm: string) (certificate: Certificate) : Fingerprint =
    { Algorithm = algorithm
      Value = Convert.FromHexString(certificate.Fingerprint(algorithm).Replace(":", "")) }

/// As everybody has it: both versions, 1.3 preferred.
let both kind : DtlsConfig =
    let certificate = certificate kind
    DtlsConfig.create SystemCiphers.Shared certificate.Der certificate.Key

/// DTLS 1.2 and nothing else.
let config kind : DtlsConfig =
    { both kind with
        MaxVersion = DtlsVersion.Dtls12
        Groups = [| NamedGroup.X25519; NamedGroup.Secp256r1; NamedGroup.Secp384r1 |] }

/// DTLS 1.3 and nothing else.
let config13 kind : DtlsConfig =
    { both kind with
        MinVersion = DtlsVersion.Dtls13 }

/// One end and what it has put out.
type End =
    {
        State: Dtls.State
        Connected: DtlsConnected voption
        /// When.
        ConnectedAt: Instant
        /// Newest first.
        Data: byte[] list
        Drops: Drop list
        Fault: Fault voption
        Closed: bool
        KeyLog: string list
        Sent: byte[] list
        /// Epochs and sequence numbers of the records in them.
        Numbers: struct (uint64 * uint64) list
    }

type Side =
    | Client = 0
    | Server = 1

type World =
    {
        Now: Instant
        Client: End
        Server: End
        Wire: Wire<Side>
        /// Datagrams that went on the wire.
        Count: int
        /// Which of them, counted from 0, are lost whatever the weather.
        Lost: Set<int>
    }

let private newEnd config entropy =
    { State = Dtls.create config entropy
      Connected = ValueNone
      ConnectedAt = Instant.never
      Data = []
      Drops = []
      Fault = ValueNone
      Closed = false
      KeyLog = []
      Sent = []
      Numbers = [] }

let encode (datagram: DtlsDatagram) : byte[] =
    let bytes: byte[] = Array.zeroCreate datagram.Size
    let written = datagram.Write(Span bytes)

    if written <> bytes.Length then
        failwith "write does not fill size"

    bytes

let get side world =
    match side with
    | Side.Client -> world.Client
    | _ -> world.Server

let private set side fin world =
    match side with
    | Side.Client -> { world with Client = fin }
    | _ -> { world with Server = fin }

let private other side =
    match side with
    | Side.Client -> Side.Server
    | _ -> Side.Client

/// Lets a sealed record carry `plaintext`.
let sealData (record: DtlsSeal) (plaintext: byte[]) : byte[] =
    let buffer: byte[] = Array.zeroCreate (record.Overhead + plaintext.Length)
    plaintext.CopyTo(buffer, record.PlaintextOffset)
    let written = record.Write(Span buffer, plaintext.Length)

    if written <> buffer.Length then
        failwith "write does not fill size"

    buffer

let private react now (plaintext: byte[]) (fin: End) output =
    let send bytes (fin: End) =
        { fin with Sent = bytes :: fin.Sent }, [ bytes ]

    match output with
    | Dtls.Transmit datagram ->
        let numbers = datagram.Records |> List.map (fun r -> struct (r.Epoch, r.Sequence))

        send
            (encode datagram)
            { fin with
                Numbers = numbers @ fin.Numbers }
    | Dtls.Sealed record ->
        send
            (sealData record plaintext)
            { fin with
                Numbers = struct (record.Epoch, record.Sequence) :: fin.Numbers }
    | Dtls.Data bytes ->
        { fin with
            Data = bytes.ToArray() :: fin.Data },
        []
    | Dtls.Connected connected ->
        { fin with
            Connected = ValueSome connected
            ConnectedAt = now },
        []
    | Dtls.KeyLog line -> { fin with KeyLog = line :: fin.KeyLog }, []
    | Dtls.Failed fault -> { fin with Fault = ValueSome fault }, []
    | Dtls.Closed -> { fin with Closed = true }, []
    | Dtls.Ignored drop -> { fin with Drops = drop :: fin.Drops }, []

/// Steps one end; what it sends goes on the wire.
let stepWith (plaintext: byte[]) (side: Side) (input: Dtls.Input) (world: World) : World =
    let fin = get side world
    let struct (state, outputs) = Dtls.step world.Now input fin.State

    let fin, sent =
        (({ fin with State = state }, []), outputs)
        ||> List.fold (fun (fin, sent) output ->
            let fin, more = react world.Now plaintext fin output
            fin, sent @ more)

    let wire, count =
        ((world.Wire, world.Count), sent)
        ||> List.fold (fun (wire, count) bytes ->
            (if world.Lost.Contains count then
                 wire
             else
                 Wire.send world.Now (other side) bytes wire),
            count + 1)

    // Lent bytes come back poisoned: nobody may have kept them.
    match input with
    | Dtls.Received bytes -> bytes.Span.Fill 0xa5uy
    | _ -> ()

    set
        side
        fin
        { world with
            Wire = wire
            Count = count }

let step side input world = stepWith [||] side input world

/// Application data.
let say side (plaintext: byte[]) world =
    stepWith plaintext side (Dtls.Seal 1) world

let create (weather: Weather) (seed: int64) (client: DtlsConfig) (server: DtlsConfig) : World =
    let entropy = Entropy.ofNumber seed

    { Now = 0L<us>
      Client = newEnd client (Entropy.split "client" entropy)
      Server = newEnd server (Entropy.split "server" entropy)
      Wire = Wire.create weather (Entropy.split "wire" entropy)
      Count = 0
      Lost = Set.empty }

let private fits kind =
    [| fingerprint "sha-256" (certificate kind) |]

/// Both know each other's fingerprints and begin at once.
let start (clientKind: Kind) (serverKind: Kind) (world: World) : World =
    world
    |> step Side.Server (Dtls.Start(DtlsRole.Server, fits clientKind))
    |> step Side.Client (Dtls.Start(DtlsRole.Client, fits serverKind))

let private due world =
    Instant.min
        (Wire.next world.Wire)
        (Instant.min (Dtls.deadline world.Client.State) (Dtls.deadline world.Server.State))

/// To the next event: an arrival, or a timer.
let private advance world =
    let now = due world
    let world = { world with Now = now }
    let struct (arrived, wire) = Wire.receive now world.Wire
    let world = { world with Wire = wire }

    match arrived with
    | ValueSome(struct (side, bytes)) -> step side (Dtls.Received(Memory bytes)) world
    | ValueNone -> world |> step Side.Client Dtls.Tick |> step Side.Server Dtls.Tick

/// Until `isDone`, or nothing is left to happen before `limit`.
let rec runUntil (limit: Instant) (isDone: World -> bool) (world: World) : World =
    if isDone world || due world > limit then
        world
    else
        runUntil limit isDone (advance world)

let bothConnected world =
    world.Client.Connected.IsSome && world.Server.Connected.IsSome

let minute = Duration.seconds 60L

/// A handshake between these kinds, over this weather, to its end.
let handshake weather seed (client: DtlsConfig, clientKind) (server: DtlsConfig, serverKind) =
    create weather seed client server
    |> start clientKind serverKind
    |> runUntil minute bothConnected

/// A copy of a datagram comes to `side`.
let deliver side (bytes: byte[]) world =
    step side (Dtls.Received(Memory(Array.copy bytes))) world

/// What `side` would send of `plaintext`; the world has sent it.
let sealedBy side (plaintext: byte[]) world =
    let after = say side plaintext world
    struct (List.head (get side after).Sent, after)

/// The keys of SRTP that an end has.
let exported (fin: End) =
    match fin.Connected with
    | ValueSome { SrtpKeys = ValueSome keys } ->
        Convert.ToHexString(Array.concat [ keys.ClientKey; keys.ServerKey; keys.ClientSalt; keys.ServerSalt ])
    | ValueSome _ -> "none"
    | ValueNone -> "not connected"

/// How both ends fare, for a person to read.
let told (world: World) =
    String.Join(
        "; ",
        [ for side in [ Side.Client; Side.Server ] do
              let fin = get side world
              string side
              string fin.Fault
              String.Join(",", fin.Drops |> List.map string) ]
    )

let expectConnected (world: World) =
    Expect.isTrue (bothConnected world) ("both connected: " + told world)
    Expect.equal (exported world.Client) (exported world.Server) "equal exported keys"
    Expect.notEqual (exported world.Client) "none" "keys"

/// Both say something, and hear it.
let talk (world: World) : World =
    let before side = (get side world).Data.Length
    let client, server = before Side.Client, before Side.Server
    let world = world |> say Side.Client "ping"B |> say Side.Server "pong"B

    let world =
        runUntil (world.Now + minute) (fun w -> w.Client.Data.Length > client && w.Server.Data.Length > server) world

    Expect.equal (List.head world.Server.Data) "ping"B "the server hears"
    Expect.equal (List.head world.Client.Data) "pong"B "the client hears"
    world
