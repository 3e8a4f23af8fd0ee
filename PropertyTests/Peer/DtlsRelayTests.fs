/// Whole peers that reach their TURN server by DTLS over UDP, RFC 7350, in the simulated internet.
module Hybrid.WebRtc.PropertyTests.DtlsRelayTests

open System
open Expecto
open FsCheck
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.RelayWorld

let private seconds n = Duration.seconds n
let private runs = { Laws.config with maxTest = 15 }
let private url = "turns:turn.example.org:3478?transport=udp"
let private lossy = { Weather.fair with Loss = 0.1 }

let private config = configOf [| url |] "secret" IceTransportPolicy.Relay

let private behind (front: TurnDtls) (peers: PeerConfig) weather seed =
    World.behindNats Symmetric Symmetric weather seed
    |> equipped peers peers seed
    |> changing (fun server -> { server with Dtls = ValueSome front })

let private front (world: World) : TurnDtls = (turn world).Dtls.Value

let private gathered who (world: World) =
    world.Ends[who].Events
    |> List.exists (function
        | IceGatheringStateChanged IceGatheringState.Complete -> true
        | _ -> false)

let private fails (world: World) : CandidateError =
    let world, _ = World.create' 'a' (World.channel "x") world
    let world = World.negotiate 'a' world |> World.pass (seconds 15L)
    Expect.isTrue (gathered 'a' world) "complete"

    match errors 'a' world with
    | [ error ] -> error
    | other -> failtestf "errors: %A" other

let tests =
    testList
        "Peers relayed over DTLS"
        [ testPropertyWithConfig
              runs
              "two peers connect by it within 10 s, at 10 % loss, too, and nothing passes in the clear"
          <| fun (seed: int64) (loses: bool) (isRsa: bool) ->
              let front = if isRsa then TurnDtls.withRsa () else TurnDtls.ecdsa ()
              let weather = if loses then lossy else Weather.fair
              let world, _ = behind front config weather seed |> connecting (seconds 10L)

              let world =
                  world |> passes 'a' 100_000 (seconds 30L) |> passes 'b' 100_000 (seconds 30L)

              // The server takes records alone.
              Expect.isTrue (isRelayed 'a' world && isRelayed 'b' world) "relayed"
              Expect.isGreaterThanOrEqual (World.demand 'a' GetStats world |> fst).Steps 1 "lives"

          testCase "its mapped address is a server-reflexive candidate, as over UDP" (fun () ->
              let peers = configOf [| url |] "secret" IceTransportPolicy.All

              let world, _ =
                  behind (TurnDtls.ecdsa ()) peers Weather.fair 2L |> connecting (seconds 8L)

              Expect.isTrue (candidates 'a' world |> List.exists _.Type.IsServerReflexive) "told")

          testCase
              "a certificate that is not trusted: 701, which says why, and the rest of the gathering is unharmed"
              (fun () ->
                  let error = behind (TurnDtls.stranger ()) config Weather.fair 3L |> fails
                  Expect.equal error.Code 701 "the code"
                  Expect.stringContains error.Text "nobody vouches for it" "why"
                  Expect.equal error.Url url "whose")

          testCase "a certificate for another name is not trusted" (fun () ->
              let other =
                  configOf [| "turns:203.0.113.5:3478?transport=udp" |] "secret" IceTransportPolicy.Relay

              let error = behind (TurnDtls.ecdsa ()) other Weather.fair 4L |> fails
              Expect.stringContains error.Text "another name" "why")

          testCase "a server that does not speak DTLS is given up after 13.5 s" (fun () ->
              let world =
                  World.behindNats Symmetric Symmetric Weather.fair 5L
                  |> equipped config config 5L

              let world, _ = World.create' 'a' (World.channel "x") world
              let world = World.negotiate 'a' world |> World.pass (seconds 13L)
              Expect.isFalse (gathered 'a' world) "not yet"
              let world = World.pass (seconds 1L) world
              Expect.isTrue (gathered 'a' world) "complete"
              Expect.equal (errors 'a' world |> List.map _.Code) [ 701 ] "the code")

          testCase "plain datagrams that claim to be the server's are not taken for it" (fun () ->
              let world, _ =
                  behind (TurnDtls.ecdsa ()) config Weather.fair 6L |> connecting (seconds 8L)

              let port, _ =
                  world.Ends['a'].Ports |> Map.toList |> List.find (fun (p, _) -> p > 0<port>)

              let before = world.Ends['a'].Ignored
              let path = { Local = port; Remote = turnAt }

              // ChannelData, a Data indication, and a record that nobody sealed.
              let forged =
                  [ Array.concat [ [| 0x40uy; 0uy; 0uy; 4uy |]; Array.zeroCreate 4 ]
                    SmallServer.written
                        { Message =
                            { Class = Stun.Class.Indication
                              Method = Stun.Method.Data
                              Transaction = { High = 1u; Low = 2UL }
                              Attributes = [| Stun.XorPeerAddress turnAt; Stun.Data [| 128uy; 1uy |] |] }
                          Integrity = Stun.Unprotected
                          Fingerprint = false }
                    Array.concat
                        [ [| 23uy; 254uy; 253uy; 0uy; 1uy; 0uy; 0uy; 0uy; 0uy; 9uy; 9uy; 0uy; 40uy |]
                          Array.zeroCreate 40 ] ]

              let world =
                  (world, forged)
                  ||> List.fold (fun world bytes -> World.tell 'a' (Datagram(path, Memory bytes)) world)

              Expect.equal (world.Ends['a'].Ignored - before) 3 "ignored, each"

              world
              |> passes 'a' 1_000 (seconds 5L)
              |> passes 'b' 1_000 (seconds 5L)
              |> ignore)

          testCase "closed: nothing is left on the server, and both say goodbye" (fun () ->
              let world, _ =
                  behind (TurnDtls.ecdsa ()) config Weather.fair 7L |> connecting (seconds 8L)

              Expect.equal (front world).Connected 2 "one handshake each"
              let world, _ = World.demand 'a' Close world
              let world, _ = World.demand 'b' Close world
              let world = World.pass (seconds 2L) world
              Expect.isEmpty (turn world).Allocations "given back"
              Expect.equal (front world).Closed 2 "close_notify")

          testCase "hours of refreshing, and nonces that go stale: nobody notices" (fun () ->
              let world, _ =
                  behind (TurnDtls.ecdsa ()) config Weather.fair 8L |> connecting (seconds 8L)

              let mutable world = world

              for _ in 1..6 do
                  world <-
                      world
                      |> changing SmallServer.renonce
                      |> World.pass (seconds 600L)
                      |> passes 'a' 10_000 (seconds 5L)
                      |> passes 'b' 10_000 (seconds 5L))

          for mtu in [ 1472; 1300; 1241 ] do
              testCase $"datagrams fit a path that carries {mtu}: record, channel and packet" (fun () ->
                  let world, _ =
                      behind (TurnDtls.ecdsa ()) config { Weather.fair with Mtu = mtu } 9L
                      |> connecting (seconds 10L)

                  let world =
                      (world, [ 1..30 ])
                      ||> List.fold (fun world _ -> passes 'a' 20_000 (seconds 10L) world)

                  Expect.isLessThanOrEqual (front world).Largest mtu "none was larger"

                  match World.demand 'a' GetStats world with
                  | _, Stats statistics -> Expect.equal statistics.Association.Value.Retransmissions 0L "none was lost"
                  | _ -> failtest "no statistics") ]
