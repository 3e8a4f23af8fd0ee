/// One allocation against a small server, in virtual time: RFC 8656 §7 to §12, the client's side.
module Hybrid.WebRtc.PropertyTests.TurnClientTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack

let private ciphers = SystemCiphers.Shared

let private machine: Laws.Machine<TurnClient.State, TurnClient.Input, TurnClient.Output> =
    { Step = TurnClient.step
      Deadline = TurnClient.deadline
      Tick = TurnClient.Tick }

let private at (a: byte) (port: uint16) : Endpoint =
    { Address = Address.v4 198uy 51uy 100uy a
      Port = port }

let private us = at 10uy 5000us
let private first = at 1uy 3478us
let private second = at 2uy 3478us
let private peer = at 77uy 7000us

let private v6: Address =
    { High = 0x20010db800000000UL
      Low = 1UL }

/// A client, servers, and what is on its way between them.
[<NoComparison; NoEquality>]
type private Scene =
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

let private delay = Duration.milliseconds 20L

let private config password families reliable : TurnConfig =
    { Ciphers = ciphers
      Username = SmallServer.username
      Password = password
      IsReliable = reliable
      Families = families }

let private sceneWith (config: TurnConfig) (servers: SmallServer list) (seed: int64) : Scene =
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

let private server = SmallServer.create first [ Address.v4 203uy 0uy 113uy 1uy ]
let private dual = SmallServer.create first [ Address.v4 203uy 0uy 113uy 1uy; v6 ]

let private sceneOf (server: SmallServer) =
    sceneWith (config "secret" RelayFamilies.V4 false) [ server ] 1L

let private post (source: Endpoint) (destination: Endpoint) (bytes: byte[]) (scene: Scene) : Scene =
    let struct (drawn, entropy) = Entropy.unit scene.Entropy
    let scene = { scene with Entropy = entropy }

    if drawn < scene.Loss then
        scene
    else
        { scene with
            Wire = scene.Wire @ [ struct (scene.Now + delay, source, destination, bytes) ] }

let rec private feed (input: TurnClient.Input) (scene: Scene) : Scene =
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

let private update (server: SmallServer) (scene: Scene) : Scene =
    { scene with
        Servers = scene.Servers |> List.map (fun s -> if s.At.Equals server.At then server else s) }

let private deliver source destination bytes (scene: Scene) : Scene =
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

let private next (scene: Scene) : Instant =
    match scene.Wire with
    | struct (at, _, _, _) :: _ -> Instant.min at (TurnClient.deadline scene.Client)
    | [] -> TurnClient.deadline scene.Client

let rec private until (limit: Instant) (scene: Scene) : Scene =
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

let private pass (length: Duration) (scene: Scene) : Scene = until (scene.Now + length) scene
let private seconds n = Duration.seconds n
let private start (scene: Scene) : Scene = feed (TurnClient.Start scene.At) scene

let private allocated (scene: Scene) : Endpoint[] =
    match
        scene.Said
        |> List.tryPick (fun struct (_, output) ->
            match output with
            | TurnClient.Allocated(relayed, _) -> Some relayed
            | _ -> None)
    with
    | Some relayed -> relayed
    | None -> failtestf "no allocation: %A" (scene.Said |> List.map (fun struct (_, o) -> o))

let private failure (scene: Scene) : int =
    match
        scene.Said
        |> List.tryPick (fun struct (_, output) ->
            match output with
            | TurnClient.Failed(code, _) -> Some code
            | _ -> None)
    with
    | Some code -> code
    | None -> failtestf "it did not fail: %A" (scene.Said |> List.map (fun struct (_, o) -> o))

let private loss (scene: Scene) : int voption =
    scene.Said
    |> List.tryPick (fun struct (_, output) ->
        match output with
        | TurnClient.Lost(code, _) -> Some code
        | _ -> None)
    |> ValueOption.ofOption

let private serverOf (scene: Scene) : SmallServer = scene.Servers.Head

let private changing change (scene: Scene) : Scene = update (change (serverOf scene)) scene

/// An allocation with a permission, and a channel.
let private served (scene: Scene) : Scene =
    scene
    |> start
    |> pass (seconds 1L)
    |> feed (TurnClient.Permit peer.Address)
    |> feed (TurnClient.Bind peer)
    |> pass (seconds 1L)

let private send (data: byte[]) (scene: Scene) : Scene =
    let struct (header, client) = TurnClient.wrap peer scene.Client
    let scene = { scene with Client = client }

    match header with
    | ValueSome header ->
        let bytes = Array.zeroCreate (header.Size data.Length)
        data.CopyTo(bytes, header.Offset)
        header.Write(Span bytes, data.Length) |> ignore
        post us scene.At bytes scene
    | ValueNone -> scene

let private cameOut (data: byte[]) (scene: Scene) : bool =
    scene.Peers
    |> List.exists (fun struct (_, destination, bytes) -> destination.Equals peer && bytes = data)

let private passes (data: byte) (scene: Scene) : bool =
    scene |> send [| data |] |> pass (seconds 1L) |> cameOut [| data |]

let private count (method: Method) (scene: Scene) : int =
    scene.Sent
    |> List.filter (fun struct (_, m) -> m.Method = method)
    |> List.length

let private gen<'a> : Gen<'a> = ArbMap.defaults |> ArbMap.generate<'a>

let private genInput: Gen<TurnClient.Input> =
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

let private laws =
    [ testPropertyWithConfig Laws.config "any script: it never throws, and its ticks keep the laws"
      <| Prop.forAll (Arb.fromGen (Gen.listOf genInput)) (fun script ->
          (sceneOf server, script)
          ||> List.fold (fun scene input -> scene |> feed input |> pass (Duration.milliseconds 300L))
          |> ignore)

      testPropertyWithConfig
          { Laws.config with maxTest = 30 }
          "any seed, up to 30 % loss: it is allocated, and an hour later data still passes"
      <| fun (seed: int64) (loss: byte) ->
          let scene =
              { sceneWith (config "secret" RelayFamilies.V4 false) [ server ] seed with
                  Loss = float (loss % 31uy) / 100.0 }
              |> start
              |> pass (seconds 30L)
              |> feed (TurnClient.Permit peer.Address)
              |> feed (TurnClient.Bind peer)
              |> pass (seconds 3600L)

          Expect.isTrue (passes 1uy { scene with Loss = 0.0 }) "data passes"

      testPropertyWithConfig Laws.config "the same script tells the same story"
      <| fun (seed: int64) ->
          let story () =
              (sceneWith (config "secret" RelayFamilies.V4 false) [ server ] seed
               |> served
               |> pass (seconds 2000L))
                  .Sent
              |> List.map (fun struct (at, m) -> struct (at, m.Transaction))

          story () = story ()

      Laws.anyBytes "any bytes from the server are ignored" (fun bytes ->
          let scene = start (sceneOf server)

          let struct (after, outputs) =
              TurnClient.step scene.Now (TurnClient.Received(ReadOnlyMemory bytes)) scene.Client

          TurnClient.deadline after = TurnClient.deadline scene.Client
          && outputs |> List.forall _.IsIgnored)

      testCase "answers with a few octets changed never throw, and never make an allocation" (fun () ->
          let mutable entropy = Entropy.ofNumber 5L

          for _ in 1..300 do
              let struct (noise, e) = Entropy.uint32 entropy
              entropy <- e

              // Anything but the fingerprint, which stands behind the integrity.
              let alter (bytes: byte[]) =
                  let copy = Array.copy bytes
                  let i = int (noise % uint32 (copy.Length - 8))
                  copy[i] <- copy[i] ^^^ (1uy + byte (noise >>> 24) % 255uy)
                  copy

              let scene =
                  { (sceneOf server |> start |> pass (Duration.milliseconds 41L)) with
                      Alter = alter }
                  |> pass (seconds 5L)

              Expect.isFalse
                  (scene.Said |> List.exists (fun struct (_, o) -> o.IsAllocated))
                  "not allocated by an altered answer") ]

let private allocation =
    [ for name, server, families in
          [ "MD5", server, RelayFamilies.V4
            "SHA-256 and USERHASH", SmallServer.modern server, RelayFamilies.V4 ] do
          testCase $"a server that asks for {name} allocates within two round trips" (fun () ->
              let scene =
                  sceneWith (config "secret" families false) [ server ] 1L
                  |> start
                  |> pass (4L * delay)

              Expect.equal (allocated scene).Length 1 "one relayed address"
              Expect.equal (count Method.Allocate scene) 2 "asked twice"

              match scene.Said with
              | [ struct (_, TurnClient.Allocated(_, ValueSome mapped)) ] -> Expect.equal mapped us "as it sees us"
              | _ -> failtest "no mapped address")

      testCase "the first request names nobody (RFC 8489 §9.2.3.1)" (fun () ->
          let scene = start (sceneOf server)

          match scene.Sent with
          | [ struct (_, message) ] ->
              Expect.equal (message.Attributes |> Array.map Attribute.typeOf) [| 0x0019us |] "REQUESTED-TRANSPORT"
          | _ -> failtest "one request")

      testCase "both families in one allocation" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.Both false) [ dual ] 1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene |> Array.map _.Address.IsV4) [| true; false |] "IPv4 and IPv6")

      testCase "both families, of which the server has IPv4 only: it is enough" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.Both false) [ server ] 1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene |> Array.map _.Address.IsV4) [| true |] "IPv4")

      testCase "both families, of which the server has IPv6 only: 440, and then IPv6" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.Both false) [ SmallServer.create first [ v6 ] ] 1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene |> Array.map _.Address.IsV4) [| false |] "IPv6")

      testCase "IPv6 of a server without: 440, and no more (RFC 8656 §7.4)" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.V6 false) [ server ] 1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 440 "the code"
          Expect.equal (count Method.Allocate scene) 2 "not asked again")

      testCase "a wrong password: 401, after two requests" (fun () ->
          let scene =
              sceneWith (config "wrong" RelayFamilies.V4 false) [ server ] 1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 401 "the code"
          Expect.equal (count Method.Allocate scene) 2 "not asked again"
          Expect.equal (TurnClient.deadline scene.Client) Instant.never "over")

      for code in [ 403; 420; 442; 486; 500; 508 ] do
          testCase $"a server that refuses with {code}: so it fails" (fun () ->
              let scene =
                  sceneOf (SmallServer.refusing Method.Allocate code 99 server)
                  |> start
                  |> pass (seconds 60L)

              Expect.equal (failure scene) code "the code"
              Expect.isTrue (TurnClient.isOver scene.Client) "over")

      testCase "a server that does not answer: 701 after 13.5 s" (fun () ->
          let scene = { sceneOf server with Loss = 1.0 } |> start |> pass (seconds 60L)
          Expect.equal (failure scene) 701 "the code"
          Expect.equal (count Method.Allocate scene) 14 "repeated"

          match scene.Said with
          | struct (when', _) :: _ -> Expect.equal (when' - seconds 1L) (Duration.milliseconds 13_500L) "then"
          | [] -> failtest "silent")

      testCase "over a stream a request is sent once (RFC 8489 §6.2.2)" (fun () ->
          let scene =
              { sceneWith (config "secret" RelayFamilies.V4 true) [ server ] 1L with
                  Loss = 1.0 }
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 701 "the code"
          Expect.equal (count Method.Allocate scene) 1 "once")

      testCase "a stream that ends before it serves: 701; while it serves: lost" (fun () ->
          let stream = sceneWith (config "secret" RelayFamilies.V4 true) [ server ] 1L
          Expect.equal (stream |> start |> feed (TurnClient.Closed "reset") |> failure) 701 "refused"
          Expect.equal (stream |> served |> feed (TurnClient.Closed "reset") |> loss) (ValueSome 701) "lost")

      testCase "Try Alternate: the other server is asked (RFC 8489 §10)" (fun () ->
          let scene =
              sceneWith
                  (config "secret" RelayFamilies.V4 false)
                  [ { server with
                        Alternate = ValueSome second }
                    SmallServer.create second [ Address.v4 203uy 0uy 113uy 2uy ] ]
                  1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (Array.head (allocated scene)).Address (Address.v4 203uy 0uy 113uy 2uy) "the other's relay")

      testCase "servers that send us to each other: 300" (fun () ->
          let scene =
              sceneWith
                  (config "secret" RelayFamilies.V4 false)
                  [ { server with
                        Alternate = ValueSome second }
                    { SmallServer.create second [] with
                        Alternate = ValueSome first } ]
                  1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 300 "the code"
          Expect.equal (count Method.Allocate scene) 2 "each once")

      testCase "a chain of alternates ends" (fun () ->
          let servers =
              [ for n in 1uy .. 20uy ->
                    { SmallServer.create (at n 3478us) [] with
                        Alternate = ValueSome(at (n + 1uy) 3478us) } ]

          let scene =
              sceneWith (config "secret" RelayFamilies.V4 false) servers 1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 300 "the code"
          Expect.equal (count Method.Allocate scene) 4 "asked")

      testCase "an allocation that somebody left behind on our transport address: cleared, and made anew" (fun () ->
          let left = sceneOf server |> start |> pass (seconds 1L)

          let scene =
              { sceneWith (config "secret" RelayFamilies.V4 false) left.Servers 9L with
                  Now = left.Now }
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene).Length 1 "allocated"
          Expect.equal (count Method.Refresh scene) 1 "after one Refresh")

      testCase "437 for ever: it fails with that" (fun () ->
          let scene =
              sceneOf (SmallServer.refusing Method.Allocate 437 99 server)
              |> start
              |> pass (seconds 60L)

          // The server has nothing to clear, says so, and refuses again: that must end.
          Expect.equal (failure scene) 437 "the code"
          Expect.isLessThan (count Method.Allocate scene) 8 "bounded")

      testCase "a nonce that goes stale with every request: 438 in the end" (fun () ->
          let mutable scene = start (sceneOf server)

          for _ in 1..40 do
              scene <- scene |> changing SmallServer.renonce |> pass delay

          Expect.equal (failure scene) 438 "the code")

      testCase "a 400 that nobody signed is as if it had not come (RFC 8489 §9.2.5)" (fun () ->
          let scene = sceneOf server |> start |> pass (Duration.milliseconds 41L)

          let forged =
              match scene.Sent with
              | struct (_, request) :: _ ->
                  SmallServer.written
                      { Message = Message.error request 400 "Bad Request" [||]
                        Integrity = Unprotected
                        Fingerprint = true }
              | [] -> failtest "nothing sent"

          let scene =
              scene |> feed (TurnClient.Received(ReadOnlyMemory forged)) |> pass (seconds 1L)

          Expect.equal (allocated scene).Length 1 "allocated all the same") ]

let private service =
    [ testCase "indications until the channel is bound, ChannelData from then on" (fun () ->
          let scene =
              sceneOf server
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)
              |> pass (seconds 1L)

          let struct (before, _) = TurnClient.wrap peer scene.Client
          Expect.equal (before |> ValueOption.map _.Offset) (ValueSome 36) "an indication"
          Expect.isTrue (passes 1uy scene) "it passes"
          let scene = scene |> feed (TurnClient.Bind peer) |> pass (seconds 1L)
          let struct (after, _) = TurnClient.wrap peer scene.Client
          Expect.equal (after |> ValueOption.map _.Offset) (ValueSome 4) "ChannelData"
          Expect.isTrue (passes 2uy scene) "it passes"
          Expect.equal (TurnClient.peerOf 0x4000us scene.Client) (ValueSome peer) "whose it is"
          Expect.equal (TurnClient.peerOf 0x4001us scene.Client) ValueNone "nobody's")

      testCase "nothing goes to an address without a permission, nor is taken from it" (fun () ->
          let scene = sceneOf server |> start |> pass (seconds 1L)
          let struct (header, _) = TurnClient.wrap peer scene.Client
          Expect.isTrue header.IsNone "nothing"
          Expect.isFalse (TurnClient.isPermitted peer.Address scene.Client) "not permitted")

      testCase "a permission is asked for before a packet to its peer could leave" (fun () ->
          let scene =
              sceneOf server
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)

          Expect.equal (count Method.CreatePermission scene) 1 "at once"
          Expect.isTrue (passes 1uy scene) "what follows it passes")

      testCase "ports of one address need one permission" (fun () ->
          let scene =
              sceneOf server
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)
              |> feed (TurnClient.Permit peer.Address)
              |> pass (seconds 1L)

          Expect.equal (count Method.CreatePermission scene) 1 "one")

      testCase "within a day, allocation, permission and channel never lapse" (fun () ->
          let mutable scene = served (sceneOf server)

          for n in 1..288 do
              scene <- pass (seconds 300L) scene
              Expect.isTrue (passes (byte n) scene) "data passes"

          // 86,400 s / 540 s, and / 240 s.
          Expect.isLessThan (count Method.Refresh scene) 170 "refreshed no more than need be"
          Expect.isLessThan (count Method.CreatePermission scene) 370 "permitted no more than need be"
          Expect.isLessThan (count Method.ChannelBind scene) 170 "bound no more than need be")

      testCase "a short lifetime is refreshed half-way" (fun () ->
          let scene =
              sceneOf { server with Lifetime = seconds 20L } |> served |> pass (seconds 300L)

          Expect.isTrue (passes 1uy scene) "data passes"
          Expect.isLessThan (count Method.Refresh scene) 32 "no more often")

      testCase "a nonce that goes stale in mid-call costs one request more" (fun () ->
          let scene =
              sceneOf server |> served |> changing SmallServer.renonce |> pass (seconds 2000L)

          Expect.isTrue (passes 1uy scene) "data passes"
          Expect.equal (loss scene) ValueNone "nothing lost")

      testCase "a server that restarts in mid-call: lost with 437 at the next request" (fun () ->
          let scene =
              sceneOf server |> served |> changing SmallServer.restart |> pass (seconds 250L)

          Expect.equal (loss scene) (ValueSome 437) "lost"
          Expect.equal (TurnClient.deadline scene.Client) Instant.never "over")

      testCase "441 is the end, too" (fun () ->
          let scene =
              sceneOf server
              |> served
              |> changing (SmallServer.refusing Method.Refresh 441 1)
              |> pass (seconds 600L)

          Expect.equal (loss scene) (ValueSome 441) "lost")

      testCase "a server that falls silent: lost when the lifetime is over, and not before" (fun () ->
          let scene =
              { served (sceneOf server) with
                  Loss = 1.0 }

          Expect.equal (loss (pass (seconds 590L) scene)) ValueNone "not before"
          Expect.equal (loss (pass (seconds 600L) scene)) (ValueSome 701) "then")

      for code in [ 500; 508 ] do
          testCase $"passing trouble, {code}: asked again until it is over" (fun () ->
              let scene =
                  sceneOf server
                  |> served
                  |> changing (
                      SmallServer.refusing Method.Refresh code 2
                      >> SmallServer.refusing Method.CreatePermission code 2
                      >> SmallServer.refusing Method.ChannelBind code 2
                  )
                  |> pass (seconds 2000L)

              Expect.isTrue (passes 1uy scene) "data passes")

      testCase "a peer that is forbidden: told, nothing more is sent to it, and the others pass" (fun () ->
          let scene =
              sceneOf (SmallServer.refusing Method.CreatePermission 403 1 server)
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit (at 66uy 1us).Address)
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)
              |> pass (seconds 1000L)

          Expect.isTrue
              (scene.Said
               |> List.exists (fun struct (_, o) ->
                   match o with
                   | TurnClient.Denied(address, 403, _) -> address.Equals (at 66uy 1us).Address
                   | _ -> false))
              "told"

          let struct (header, _) = TurnClient.wrap (at 66uy 1us) scene.Client
          Expect.isTrue header.IsNone "nothing"
          Expect.isTrue (passes 1uy scene) "the other passes")

      testCase "a server without channels: indications do" (fun () ->
          let scene =
              sceneOf (SmallServer.refusing Method.ChannelBind 400 99 server) |> served

          Expect.isTrue (passes 1uy scene) "data passes"
          Expect.isTrue (passes 2uy (pass (seconds 2000L) scene)) "later, too")

      testCase "a peer of the other family is not asked for" (fun () ->
          let scene =
              sceneOf server |> start |> pass (seconds 1L) |> feed (TurnClient.Permit v6)

          Expect.equal (count Method.CreatePermission scene) 0 "not asked")

      testCase "addresses and channels are bounded" (fun () ->
          let scene = sceneOf server |> start |> pass (seconds 1L)

          let scene =
              (scene, [ 0..300 ])
              ||> List.fold (fun scene n ->
                  feed
                      (TurnClient.Bind
                          { Address = Address.v4 10uy 1uy (byte (n / 250)) (byte (n % 250))
                            Port = 9us })
                      scene)

          Expect.equal (count Method.CreatePermission scene) 100 "permissions"
          Expect.equal (count Method.ChannelBind scene) 100 "channels")

      testCase "released: the server has nothing left, and nothing more is sent" (fun () ->
          let scene = sceneOf server |> served |> feed TurnClient.Release |> pass (seconds 1L)

          Expect.isEmpty (serverOf scene).Allocations "nothing left"
          let sent = scene.Sent.Length
          Expect.equal (pass (seconds 3600L) scene).Sent.Length sent "silent"
          let struct (header, _) = TurnClient.wrap peer scene.Client
          Expect.isTrue header.IsNone "nothing goes")

      testCase "released while it is asked for: nothing is left behind either" (fun () ->
          // The answer is on its way.
          let scene =
              sceneOf server
              |> start
              |> pass (Duration.milliseconds 65L)
              |> feed TurnClient.Release
              |> pass (seconds 60L)

          Expect.isEmpty (serverOf scene).Allocations "nothing left") ]

let tests = testList "TURN client" (laws @ allocation @ service)
