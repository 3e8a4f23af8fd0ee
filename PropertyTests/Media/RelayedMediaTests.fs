/// Pictures by way of a TURN server: whole runs of packets are wrapped for it in place. RFC 8656 §12.
module Hybrid.WebRtc.PropertyTests.Media.RelayedMediaTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RelayWorld
open Hybrid.WebRtc.PropertyTests.Media.PeersTests

let private relayed: PeerConfig =
    { relayOnly with
        Capabilities = Capabilities.defaults }

let tests =
    testList
        "Media by relays"
        [ testCase "pictures and reports pass two relays, and the estimate follows" (fun () ->
              for seed in 1L .. 3L do
                  let world =
                      World.behindNats Symmetric Symmetric Weather.fair seed
                      |> equipped relayed relayed seed

                  match World.demand 'a' (fun c -> AddTransceiver(c, init)) world with
                  | world, Transceiver info ->
                      let world = World.negotiate 'a' world
                      let world, ready = World.run (Duration.seconds 30L) isReady world
                      Expect.isTrue ready "connected"
                      let payloadType = byte (transceivers 'a' world).[0].SendCodecs[0].PayloadType

                      let world = world |> send info.Id payloadType 90 |> World.pass (Duration.seconds 2L)

                      Expect.isTrue (isRelayed 'a' world && isRelayed 'b' world) "relayed"
                      Expect.equal (whole world) 90 "every picture"
                      let packets = received world
                      Expect.isTrue (packets |> List.forall (fun p -> p.Payload.Length = 800)) "as it was sent"

                      let told =
                          world.Ends['a'].Events
                          |> List.exists (function
                              | BitrateEstimated _ -> true
                              | _ -> false)

                      Expect.isTrue told "feedback comes back"
                  | _ -> failtest "no transceiver")

          testCase "what relays have around packets is told, as it is once channels are bound" (fun () ->
              let overheads who (world: World) =
                  List.rev world.Ends[who].Events
                  |> List.choose (function
                      | PathOverheadChanged octets -> Some octets
                      | _ -> None)

              let call (config: PeerConfig) (change: World -> World) =
                  let world =
                      World.behindNats Symmetric Symmetric Weather.fair 4L
                      |> equipped config config 4L
                      |> change

                  let world, _ = World.demand 'a' (fun c -> AddTransceiver(c, init)) world
                  let world = World.negotiate 'a' world
                  let world, ready = World.run (Duration.seconds 30L) isReady world
                  Expect.isTrue ready "connected"
                  World.pass (Duration.seconds 3L) world

              let plain = call relayed id

              let sealed' =
                  let dtls =
                      configOf [| "turns:turn.example.org:3478?transport=udp" |] "secret" IceTransportPolicy.Relay

                  call
                      { dtls with
                          Capabilities = Capabilities.defaults }
                      (changing (fun server ->
                          { server with
                              Dtls = ValueSome(TurnDtls.ecdsa ()) }))

              for who in [ 'a'; 'b' ] do
                  Expect.equal (List.last (overheads who plain)) 4 "ChannelData"
                  Expect.equal (List.last (overheads who sealed')) 41 "in a record"

              let struct (direct, _, _) = opened Capabilities.defaults Weather.fair 4L
              Expect.isEmpty (overheads 'a' direct) "nothing around") ]
