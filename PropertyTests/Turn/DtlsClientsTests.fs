/// A TURN server's clients that come by DTLS: RFC 7350, RFC 6347 §4.2.1 and §4.2.8, against our own client's tunnel.
module Hybrid.WebRtc.PropertyTests.DtlsClientsTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack

let private ciphers = SystemCiphers.Shared
let private seconds n = Duration.seconds n
let private certificate = Certificate.Create CertificateKind.EcdsaP256
let private authority = Certificate.Create CertificateKind.Rsa2048

let private machine: Laws.Machine<DtlsClients.State, DtlsClients.Input, DtlsClients.Output> =
    { Step = DtlsClients.step
      Deadline = DtlsClients.deadline
      Tick = DtlsClients.Tick }

let private config: DtlsClientsConfig =
    { Ciphers = ciphers
      Chain = [| certificate.Der; authority.Der |]
      Key = certificate.Key
      MaxClients = 3
      Patience = seconds 60L }

let private path (n: byte) : Path =
    { Local = 1<port>
      Remote =
        { Address = Address.v4 198uy 51uy 100uy n
          Port = 5000us } }

/// Clients by number, and the server, joined by a wire: ValueNone is towards the server.
type private Scene =
    { Now: Instant
      Server: DtlsClients.State
      Tunnels: Map<byte, DtlsTunnel.State>
      Wire: Wire<struct (byte * bool)>
      Chains: byte[] list
      Opened: byte list
      Ended: byte list
      Heard: (byte * byte[]) list
      Answers: (byte * byte[]) list
      Gone: byte list }

let private scene weather seed : Scene =
    let struct (secret, _) = Entropy.bytes 32 (Entropy.ofNumber seed)

    { Now = seconds 100L
      Server = DtlsClients.create (ReadOnlyMemory secret) config
      Tunnels = Map.empty
      Wire = Wire.create weather (Entropy.ofNumber (seed + 1L))
      Chains = []
      Opened = []
      Ended = []
      Heard = []
      Answers = []
      Gone = [] }

let private written (datagram: DtlsDatagram) : byte[] =
    let bytes = Array.zeroCreate datagram.Size
    datagram.Write(Span bytes) |> ignore
    bytes

let private send n toServer bytes (scene: Scene) : Scene =
    { scene with
        Wire = Wire.send scene.Now struct (n, toServer) bytes scene.Wire }

let private number (path: Path) = byte path.Remote.Address.Low

let private serve (input: DtlsClients.Input) (scene: Scene) : Scene =
    let struct (server, outputs) = DtlsClients.step scene.Now input scene.Server
    Laws.earlyTick machine scene.Now server

    ({ scene with Server = server }, outputs)
    ||> List.fold (fun scene output ->
        match output with
        | DtlsClients.Transmit(path, datagram) -> send (number path) false (written datagram) scene
        | DtlsClients.Challenge(path, bytes) -> send (number path) false bytes scene
        | DtlsClients.Data(path, bytes) ->
            { scene with
                Heard = (number path, bytes.ToArray()) :: scene.Heard }
        | DtlsClients.Gone path ->
            { scene with
                Gone = number path :: scene.Gone }
        | DtlsClients.Ignored _ -> scene)

let rec private tell n (input: DtlsTunnel.Input) (scene: Scene) : Scene =
    let struct (tunnel, outputs) = DtlsTunnel.step scene.Now input scene.Tunnels[n]

    ({ scene with
        Tunnels = Map.add n tunnel scene.Tunnels },
     outputs)
    ||> List.fold (fun scene output ->
        match output with
        | DtlsTunnel.Transmit datagram -> send n true (written datagram) scene
        | DtlsTunnel.Verify chain ->
            tell
                n
                (DtlsTunnel.Verified ValueNone)
                { scene with
                    Chains = Array.toList chain @ scene.Chains }
        | DtlsTunnel.Opened ->
            { scene with
                Opened = n :: scene.Opened }
        | DtlsTunnel.Closed _ -> { scene with Ended = n :: scene.Ended }
        | DtlsTunnel.Data bytes ->
            { scene with
                Answers = (n, bytes.ToArray()) :: scene.Answers }
        | DtlsTunnel.Ignored _ -> scene)

let private begins (n: byte) (seed: int64) (scene: Scene) : Scene =
    { scene with
        Tunnels = Map.add n (DtlsTunnel.create ciphers (Entropy.ofNumber seed)) scene.Tunnels }
    |> tell n (DtlsTunnel.Start "turn.example.org")

let private next (scene: Scene) : Instant =
    (Instant.min (Wire.next scene.Wire) (DtlsClients.deadline scene.Server), scene.Tunnels)
    ||> Map.fold (fun due _ tunnel -> Instant.min due (DtlsTunnel.deadline tunnel))

let rec private until (limit: Instant) (scene: Scene) : Scene =
    let at = next scene

    if at > limit then
        { scene with Now = limit }
    else
        let struct (arrived, wire) = Wire.receive at scene.Wire
        let scene = { scene with Now = at; Wire = wire }

        match arrived with
        | ValueSome(struct (struct (n, true), bytes)) -> serve (DtlsClients.Received(path n, Memory bytes)) scene
        | ValueSome(struct (struct (n, false), bytes)) -> tell n (DtlsTunnel.Received(Memory bytes)) scene
        | ValueNone ->
            Laws.tickMovesOn machine scene.Server

            (serve DtlsClients.Tick scene, scene.Tunnels)
            ||> Map.fold (fun scene n _ -> tell n DtlsTunnel.Tick scene)
        |> until limit

let private pass length (scene: Scene) = until (scene.Now + length) scene

let private say n (packet: byte[]) (scene: Scene) : Scene =
    match DtlsTunnel.seal scene.Now 1 scene.Tunnels[n] with
    | struct (ValueSome seal, tunnel) ->
        let header = RelayHeader.Sealed(seal, ValueNone)
        let bytes = Array.zeroCreate (header.Size packet.Length)
        packet.CopyTo(bytes, header.Offset)
        header.Write(Span bytes, packet.Length) |> ignore

        { scene with
            Tunnels = Map.add n tunnel scene.Tunnels }
        |> send n true bytes
    | _ -> failtest "it is not open"

let private answer n (packet: byte[]) (scene: Scene) : Scene =
    match DtlsClients.seal scene.Now (path n) scene.Server with
    | struct (ValueSome seal, server) ->
        let bytes = Array.zeroCreate (seal.Overhead + packet.Length)
        packet.CopyTo(bytes, seal.PlaintextOffset)
        seal.Write(Span bytes, packet.Length) |> ignore
        send n false bytes { scene with Server = server }
    | _ -> failtest "there is no such client"

/// A hello of a client's, and what it says when it is asked for a cookie.
let private hello (seed: int64) : byte[] =
    let struct (_, outputs) =
        DtlsTunnel.step 0L<us> (DtlsTunnel.Start "") (DtlsTunnel.create ciphers (Entropy.ofNumber seed))

    match outputs with
    | [ DtlsTunnel.Transmit datagram ] -> written datagram
    | other -> failtestf "outputs: %A" other

let private rough =
    { Weather.fair with
        Loss = 0.05
        Duplication = 0.1
        Jitter = Duration.milliseconds 5L }

let private genInput: Gen<DtlsClients.Input> =
    let at =
        Gen.map (fun (n: byte) -> path (n % 5uy)) (ArbMap.defaults |> ArbMap.generate)

    let bytes =
        Gen.oneof
            [ ArbMap.defaults |> ArbMap.generate<byte[]>
              Gen.map (fun n -> hello (int64 (n % 3))) (Gen.choose (0, 100)) ]

    Gen.oneof
        [ Gen.constant DtlsClients.Tick
          Gen.map2 (fun path (bytes: byte[]) -> DtlsClients.Received(path, Memory(Array.copy bytes))) at bytes
          Gen.map2 (fun path held -> DtlsClients.Holds(path, held)) at (ArbMap.defaults |> ArbMap.generate)
          Gen.constant DtlsClients.Close ]

let tests =
    testList
        "DTLS clients of a TURN server"
        [ testPropertyWithConfig
              Laws.config
              "over a wire that loses, repeats and reorders a client is in within 13 s, and both are heard"
          <| fun (seed: int64) ->
              let scene = scene rough seed |> begins 7uy seed |> pass (seconds 13L)
              Expect.equal scene.Opened [ 7uy ] "open"
              Expect.equal scene.Chains [ certificate.Der; authority.Der ] "the whole chain is shown"

              let fair =
                  { scene with
                      Wire = Wire.under Weather.fair scene.Wire }

              let scene =
                  fair |> say 7uy [| 1uy; 2uy |] |> answer 7uy [| 3uy |] |> pass (seconds 1L)

              Expect.equal scene.Heard [ 7uy, [| 1uy; 2uy |] ] "to the server"
              Expect.equal scene.Answers [ 7uy, [| 3uy |] ] "and back"

          testCase "a hello without a cookie leaves nothing behind, and is answered with less than it has" (fun () ->
              let scene = scene Weather.fair 1L
              let hello = hello 1L

              let step (scene: Scene) =
                  DtlsClients.step scene.Now (DtlsClients.Received(path 1uy, Memory(Array.copy hello))) scene.Server

              match step scene with
              | struct (server, [ DtlsClients.Challenge(to', bytes) ]) ->
                  Expect.equal (DtlsClients.count server) 0 "nothing"
                  Expect.equal (DtlsClients.deadline server) Instant.never "no timer"
                  Expect.equal to' (path 1uy) "back"
                  Expect.isLessThan bytes.Length hello.Length "no amplification"
                  Expect.equal bytes[3..10] hello[3..10] "the record has the hello's number"
              | struct (_, other) -> failtestf "outputs: %A" other)

          testCase "a cookie is good for its address, its hello and two minutes" (fun () ->
              let now = seconds 100L
              let secret = Array.create 32 7uy
              let first = hello 2L
              let from (n: byte) = (path n).Remote
              let asked = HelloCookie.request ciphers secret now (from 1uy) (Memory first)
              let cookie = asked[asked.Length - 17 ..]

              // The second hello: the cookie stands behind an empty session.
              let withCookie (hello: byte[]) =
                  let at = 25 + 2 + 32 + 1
                  let grown = Array.concat [ hello[.. at - 1]; [| 17uy |]; cookie; hello[at + 1 ..] ]
                  let length = hello.Length - 25 + 17
                  grown[11] <- byte ((length + 12) >>> 8)
                  grown[12] <- byte (length + 12)

                  for start in [ 14; 22 ] do
                      grown[start] <- 0uy
                      grown[start + 1] <- byte (length >>> 8)
                      grown[start + 2] <- byte length

                  grown

              let second = withCookie first

              let proved now (n: byte) (bytes: byte[]) =
                  HelloCookie.isProved ciphers secret now (from n) (Memory bytes)

              Expect.isTrue (proved now 1uy second) "as it was given"
              Expect.isTrue (proved (now + seconds 60L) 1uy second) "a minute later"
              Expect.isFalse (proved (now + seconds 130L) 1uy second) "not for ever"
              Expect.isFalse (proved now 2uy second) "not from elsewhere"

              let otherPort = { from 1uy with Port = 5001us }

              Expect.isFalse
                  (HelloCookie.isProved ciphers secret now otherPort (Memory second))
                  "not from another port"

              Expect.isFalse (proved now 1uy (withCookie (hello 3L))) "not for another hello"
              Expect.isFalse (proved now 1uy first) "not without"

              for i in 25 .. second.Length - 1 do
                  let changed = Array.copy second
                  changed[i] <- changed[i] ^^^ 1uy
                  Expect.isFalse (proved now 1uy changed) "not changed")

          testCase "a client that begins anew by the same way takes the place of what was" (fun () ->
              let scene = scene Weather.fair 4L |> begins 1uy 4L |> pass (seconds 1L)
              let scene = scene |> begins 1uy 5L |> pass (seconds 1L)
              Expect.equal scene.Gone [ 1uy ] "the first is gone"
              Expect.equal scene.Opened [ 1uy; 1uy ] "the second is open"
              Expect.equal (DtlsClients.count scene.Server) 1 "one"
              Expect.equal (scene |> say 1uy [| 9uy |] |> pass (seconds 1L)).Heard [ 1uy, [| 9uy |] ] "heard")

          testCase "without an allocation a client is let go after a minute, with one not" (fun () ->
              let scene =
                  scene Weather.fair 6L |> begins 1uy 6L |> begins 2uy 7L |> pass (seconds 1L)

              let scene = scene |> serve (DtlsClients.Holds(path 1uy, true)) |> pass (seconds 70L)
              Expect.equal scene.Gone [ 2uy ] "let go"
              Expect.equal scene.Ended [ 2uy ] "and told"

              let scene =
                  scene |> serve (DtlsClients.Holds(path 1uy, false)) |> pass (seconds 70L)

              Expect.equal scene.Gone [ 1uy; 2uy ] "both"
              Expect.equal (DtlsClients.deadline scene.Server) Instant.never "nothing is left to do")

          testCase "a client that says goodbye is gone" (fun () ->
              let scene = scene Weather.fair 8L |> begins 1uy 8L |> pass (seconds 1L)
              let scene = scene |> tell 1uy DtlsTunnel.Close |> pass (seconds 1L)
              Expect.equal scene.Gone [ 1uy ] "told"
              Expect.equal (DtlsClients.count scene.Server) 0 "nothing")

          testCase "there are no more clients than there may be, and a server that closes tells them all" (fun () ->
              let scene =
                  (scene Weather.fair 9L, [ 1uy .. 5uy ])
                  ||> List.fold (fun scene n -> begins n (int64 n) scene)
                  |> pass (seconds 1L)

              Expect.equal scene.Opened.Length 3 "three"
              let after = scene |> serve DtlsClients.Close |> pass (Duration.milliseconds 100L)
              Expect.equal after.Gone.Length 3 "all"
              Expect.equal (List.sort after.Ended) (List.sort scene.Opened) "told")

          testPropertyWithConfig Laws.config "any inputs in any order: it never throws, and the laws of ticks hold"
          <| Prop.forAll (Arb.fromGen (Gen.listOf genInput)) (fun script ->
              ((0L<us>, (scene Weather.fair 10L).Server), script)
              ||> List.fold (fun (now, state) input ->
                  let struct (state, _) = DtlsClients.step now input state
                  Laws.earlyTick machine now state
                  Laws.tickMovesOn machine state
                  now + seconds 7L, state)
              |> ignore) ]
