/// A TURN client and small servers, joined by a wire that loses, in virtual time.
module Hybrid.WebRtc.PropertyTests.TurnScene

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack

let internal ciphers = SystemCiphers.Shared

let internal machine: Laws.Machine<TurnClient.State, TurnClient.Input, TurnClient.Output> =
    { Step = TurnClient.step
      Deadline = TurnClient.deadline
      Tick = TurnClient.Tick }

let internal at (a: byte) (port: uint16) : Endpoint =
    { Address = Address.v4 198uy 51uy 100uy a
      Port = port }

let internal us = at 10uy 5000us
let internal first = at 1uy 3478us
let internal second = at 2uy 3478us
let internal peer = at 77uy 7000us

let internal v6: Address =
    { High = 0x20010db800000000UL
      Low = 1UL }

/// A client, servers, and what is on its way between them.
[<NoComparison; NoEquality>]
type internal Scene =
    {
        Now: Instant
        Client: TurnClient.State
        /// Whom the client's messages go to.
        At: Endpoint
        Servers: SmallServer list
        Wire: (struct (Instant * Endpoint * Endpoint * byte[])) list
        Loss: float
        Entropy: Entropy
        /// What the client said, last first, without messages.
        Said: struct (Instant * TurnClient.Output) list
        /// Requests that left, last first.
        Sent: struct (Instant * Message) list
        /// Packets that came out at peers, last first.
        Peers: struct (Endpoint * Endpoint * byte[]) list
        Alter: byte[] -> byte[]
    }

let internal delay = Duration.milliseconds 20L

let internal config password families reliable : TurnConfig =
    { Ciphers = ciphers
      Username = SmallServer.username
      Password = password
      IsReliable = reliable
      RelaysTcp = false
      Families = families }

let internal sceneWith (config: TurnConfig) (servers: SmallServer list) (seed: int64) : Scene =
    { Now = Duration.seconds 1L
      Client = TurnClient.create config (Entropy.ofNumber seed)
      At = first
      Servers = servers
      Wire = []
      Loss = 0.0
      Entropy = Entropy.ofNumber (seed + 1L)
      Said = []
      Sent = []
      Peers = []
      Alter = id }

let internal server = SmallServer.create first [ Address.v4 203uy 0uy 113uy 1uy ]
let internal dual = SmallServer.create first [ Address.v4 203uy 0uy 113uy 1uy; v6 ]

let internal sceneOf (server: SmallServer) =
    sceneWith (config "secret" RelayFamilies.V4 false) [ server ] 1L

let internal post (source: Endpoint) (destination: Endpoint) (bytes: byte[]) (scene: Scene) : Scene =
    let struct (drawn, entropy) = Entropy.unit scene.Entropy
    let scene = { scene with Entropy = entropy }

    if drawn < scene.Loss then
        scene
    else
        { scene with
            Wire = scene.Wire @ [ struct (scene.Now + delay, source, destination, bytes) ] }

let rec internal feed (input: TurnClient.Input) (scene: Scene) : Scene =
    let struct (client, outputs) = TurnClient.step scene.Now input scene.Client
    Laws.earlyTick machine scene.Now client

    ({ scene with Client = client }, outputs)
    ||> List.fold (fun scene output ->
        match output with
        | TurnClient.Transmit message ->
            { scene with
                Sent = struct (scene.Now, message.Message) :: scene.Sent }
            |> post us scene.At (SmallServer.written message)
        | TurnClient.Redirected(server, _) -> feed (TurnClient.Start server) { scene with At = server }
        | other ->
            { scene with
                Said = struct (scene.Now, other) :: scene.Said })

let internal update (server: SmallServer) (scene: Scene) : Scene =
    { scene with
        Servers = scene.Servers |> List.map (fun s -> if s.At.Equals server.At then server else s) }

let internal deliver source destination bytes (scene: Scene) : Scene =
    if us.Equals destination then
        feed (TurnClient.Received(ReadOnlyMemory(scene.Alter bytes))) scene
    else
        match
            scene.Servers
            |> List.tryFind (fun s ->
                s.At.Equals destination
                || s.Relays |> List.exists (fun a -> a.Equals destination.Address))
        with
        | Some server ->
            let server, sent = SmallServer.receive scene.Now source destination bytes server

            (update server scene, sent)
            ||> List.fold (fun scene (struct (source, destination, bytes)) -> post source destination bytes scene)
        | None ->
            { scene with
                Peers = struct (source, destination, bytes) :: scene.Peers }

let internal next (scene: Scene) : Instant =
    match scene.Wire with
    | struct (at, _, _, _) :: _ -> Instant.min at (TurnClient.deadline scene.Client)
    | [] -> TurnClient.deadline scene.Client

let rec internal until (limit: Instant) (scene: Scene) : Scene =
    let now = next scene

    if now > limit then
        { scene with Now = limit }
    else
        match scene.Wire with
        | struct (at, source, destination, bytes) :: rest when at <= now ->
            until limit (deliver source destination bytes { scene with Now = at; Wire = rest })
        | _ ->
            let scene = { scene with Now = now }
            Laws.tickMovesOn machine scene.Client
            until limit (feed TurnClient.Tick scene)

let internal pass (length: Duration) (scene: Scene) : Scene = until (scene.Now + length) scene
let internal seconds n = Duration.seconds n
let internal start (scene: Scene) : Scene = feed (TurnClient.Start scene.At) scene

let internal allocated (scene: Scene) : Endpoint[] =
    match
        scene.Said
        |> List.tryPick (fun struct (_, output) ->
            match output with
            | TurnClient.Allocated(relayed, _) -> Some relayed
            | _ -> None)
    with
    | Some relayed -> relayed
    | None -> failtestf "no allocation: %A" (scene.Said |> List.map (fun struct (_, o) -> o))

let internal failure (scene: Scene) : int =
    match
        scene.Said
        |> List.tryPick (fun struct (_, output) ->
            match output with
            | TurnClient.Failed(code, _) -> Some code
            | _ -> None)
    with
    | Some code -> code
    | None -> failtestf "it did not fail: %A" (scene.Said |> List.map (fun struct (_, o) -> o))

let internal loss (scene: Scene) : int voption =
    scene.Said
    |> List.tryPick (fun struct (_, output) ->
        match output with
        | TurnClient.Lost(code, _) -> Some code
        | _ -> None)
    |> ValueOption.ofOption

let internal serverOf (scene: Scene) : SmallServer = scene.Servers.Head

let internal changing change (scene: Scene) : Scene = update (change (serverOf scene)) scene

/// An allocation with a permission, and a channel.
let internal served (scene: Scene) : Scene =
    scene
    |> start
    |> pass (seconds 1L)
    |> feed (TurnClient.Permit peer.Address)
    |> feed (TurnClient.Bind peer)
    |> pass (seconds 1L)

let internal send (data: byte[]) (scene: Scene) : Scene =
    let struct (header, client) = TurnClient.wrap peer scene.Client
    let scene = { scene with Client = client }

    match header with
    | ValueSome header ->
        let bytes = Array.zeroCreate (header.Size data.Length)
        data.CopyTo(bytes, header.Offset)
        header.Write(Span bytes, data.Length) |> ignore
        post us scene.At bytes scene
    | ValueNone -> scene

let internal cameOut (data: byte[]) (scene: Scene) : bool =
    scene.Peers
    |> List.exists (fun struct (_, destination, bytes) -> destination.Equals peer && bytes = data)

let internal passes (data: byte) (scene: Scene) : bool =
    scene |> send [| data |] |> pass (seconds 1L) |> cameOut [| data |]

let internal count (method: Method) (scene: Scene) : int =
    scene.Sent
    |> List.filter (fun struct (_, m) -> m.Method = method)
    |> List.length

let internal gen<'a> : Gen<'a> = ArbMap.defaults |> ArbMap.generate<'a>

let internal genInput: Gen<TurnClient.Input> =
    let endpoint = Gen.map (fun (n: byte) -> at (n % 5uy) (uint16 (n % 3uy))) gen<byte>

    Gen.oneof
        [ Gen.constant TurnClient.Tick
          Gen.constant TurnClient.Tick
          Gen.map TurnClient.Start endpoint
          Gen.map (fun (bytes: byte[]) -> TurnClient.Received(ReadOnlyMemory bytes)) gen<byte[]>
          Gen.map (fun (e: Endpoint) -> TurnClient.Permit e.Address) endpoint
          Gen.constant (TurnClient.Permit v6)
          Gen.map TurnClient.Bind endpoint
          Gen.constant TurnClient.Release
          Gen.constant (TurnClient.Closed "gone") ]
