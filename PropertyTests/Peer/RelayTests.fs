/// Relayed candidates of whole peers: TURN servers, NATs and loss between them. RFC 8656, 8445, 8829 §3.5.3.
module Hybrid.WebRtc.PropertyTests.RelayTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.RelayWorld

let private seconds n = Duration.seconds n
let private runs = { Laws.config with maxTest = 15 }

let private symmetric (a: PeerConfig) (b: PeerConfig) weather seed =
    World.behindNats Symmetric Symmetric weather seed |> equipped a b seed

let private lossy = { Weather.fair with Loss = 0.1 }

let private gathered who (world: World) =
    world.Ends[who].Events
    |> List.exists (function
        | IceGatheringStateChanged IceGatheringState.Complete -> true
        | _ -> false)

let private hosts = [ address "10.0.0.2"; address "192.168.1.2" ]

let tests =
    testList
        "Relayed peers"
        [ testPropertyWithConfig runs "behind symmetric NATs two peers connect by a relay within 8 s, at 10 % loss, too"
          <| fun (seed: int64) (loses: bool) ->
              let weather = if loses then lossy else Weather.fair
              let world, _ = symmetric good good weather seed |> connecting (seconds 8L)
              Expect.isTrue (isRelayed 'a' world && isRelayed 'b' world) "relayed"

              world
              |> passes 'a' 100_000 (seconds 30L)
              |> passes 'b' 100_000 (seconds 30L)
              |> ignore

          testCase "the same with seeds that took too long once" (fun () ->
              // Eight answers to a nomination were lost, each after a longer wait than the last.
              let world, _ = symmetric good good lossy -58L |> connecting (seconds 5L)
              Expect.isTrue (isRelayed 'a' world && isRelayed 'b' world) "relayed"

              // Every chunk had been sent twice, which measures no round trip: the timeout stayed at its longest.
              for seed in [ 1024L; 1601L; 2154L; 2253L; 2383L ] do
                  let world, _ = symmetric good good lossy seed |> connecting (seconds 8L)

                  world
                  |> passes 'a' 100_000 (seconds 30L)
                  |> passes 'b' 100_000 (seconds 30L)
                  |> ignore)

          testCase "one server is enough, whoever has it" (fun () ->
              for a, b in [ good, poor; poor, good ] do
                  let world, _ = symmetric a b Weather.fair 3L |> connecting (seconds 8L)
                  Expect.isTrue (isRelayed 'a' world) "relayed"

                  world
                  |> passes 'a' 1_000 (seconds 5L)
                  |> passes 'b' 1_000 (seconds 5L)
                  |> ignore)

          testCase "where a direct way is to be had, the relay is not taken" (fun () ->
              let world, _ =
                  World.behindNats FullCone FullCone Weather.fair 4L
                  |> equipped good good 4L
                  |> connecting (seconds 5L)

              let world = World.pass (seconds 5L) world
              Expect.isFalse (isRelayed 'a' world || isRelayed 'b' world) "direct"

              Expect.isTrue (candidates 'a' world |> List.exists _.Type.IsRelayed) "though there is one")

          testCase
              "a relayed candidate has the lowest type preference, and how the server sees us as its base"
              (fun () ->
                  let world, _ = symmetric good good Weather.fair 5L |> connecting (seconds 8L)
                  let all = candidates 'a' world
                  let relayed = all |> List.filter _.Type.IsRelayed
                  Expect.equal relayed.Length 2 "IPv4 and IPv6"

                  for candidate in relayed do
                      Expect.equal (candidate.Priority >>> 24) 0u "type preference"

                      Expect.isTrue
                          (all
                           |> List.exists (fun c ->
                               c.Type.IsServerReflexive
                               && c.Host = candidate.Related.Value.Host
                               && c.Port = candidate.Related.Value.Port))
                          "raddr and rport"

                  Expect.equal
                      (all |> List.filter _.Type.IsServerReflexive |> List.length)
                      1
                      "the allocation's answer told of a server-reflexive candidate")

          testPropertyWithConfig
              runs
              "with the policy `relay` nothing leaves but to the server, and no other candidate is told"
          <| fun (seed: int64) (loses: bool) ->
              let weather = if loses then lossy else Weather.fair

              let world, _ =
                  symmetric relayOnly relayOnly weather seed |> connecting (seconds 10L)

              let world =
                  world
                  |> passes 'a' 50_000 (seconds 30L)
                  |> passes 'b' 50_000 (seconds 30L)
                  |> World.pass (seconds 60L)

              for flow in Internet.watched world.Net do
                  if hosts |> List.exists (fun h -> h.Equals flow.From.Address) then
                      Expect.equal flow.To turnAt "to the server"

              for who in [ 'a'; 'b' ] do
                  for candidate in candidates who world do
                      Expect.isTrue candidate.Type.IsRelayed "relayed"
                      Expect.equal candidate.Related.Value.Port 0us "its base is not told"

          testCase "with the policy `relay` a socket answers nobody who finds it" (fun () ->
              let world, _ =
                  symmetric relayOnly relayOnly Weather.fair 7L |> connecting (seconds 8L)

              let stranger =
                  { Address = address "203.0.113.99"
                    Port = 5us }

              let port, _ =
                  world.Ends['a'].Ports |> Map.toList |> List.find (fun (p, _) -> p > 0<port>)

              let check =
                  SmallServer.written
                      { Message =
                          Stun.Message.request
                              Stun.Method.Binding
                              { High = 1u; Low = 2UL }
                              [| Stun.Username "who:ever"; Stun.Priority 1u |]
                        Integrity = Stun.HmacSha1 [| 1uy |]
                        Fingerprint = true }

              let world =
                  world
                  |> World.tell 'a' (Datagram({ Local = port; Remote = stranger }, Memory check))

              Expect.isFalse (Internet.watched world.Net |> List.exists (fun flow -> flow.To.Equals stranger)) "silent")

          testCase "a wrong password is told with its code, and the rest of the gathering is unharmed" (fun () ->
              let wrong =
                  configOf [| turnUrl; "stun:stun.example.org" |] "wrong" IceTransportPolicy.All

              let world, _ =
                  World.behindNats FullCone FullCone Weather.fair 8L
                  |> equipped wrong wrong 8L
                  |> connecting (seconds 5L)

              let world = World.pass (seconds 2L) world

              match errors 'a' world with
              | [ error ] ->
                  Expect.equal error.Code 401 "the code"
                  Expect.equal error.Url turnUrl "whose"
                  Expect.equal error.Address (ValueSome "10.0.0.2") "from where"
              | other -> failtestf "errors: %A" other

              Expect.isTrue (gathered 'a' world) "complete"
              Expect.isTrue (candidates 'a' world |> List.exists _.Type.IsServerReflexive) "server-reflexive")

          for code in [ 486; 508; 403 ] do
              testCase $"a server that refuses with {code} is told with that, and gathering ends" (fun () ->
                  let world =
                      symmetric good good Weather.fair 9L
                      |> changing (SmallServer.refusing Stun.Method.Allocate code 99)

                  let world, _ = World.create' 'a' (World.channel "x") world
                  let world = World.negotiate 'a' world |> World.pass (seconds 5L)
                  Expect.equal (errors 'a' world |> List.map _.Code) [ code ] "the code"
                  Expect.isTrue (gathered 'a' world) "complete")

          testCase "a server that does not answer is told with 701 after 13.5 s, and gathering ends" (fun () ->
              let world = symmetric good good Weather.fair 10L

              let world =
                  { world with
                      Server =
                          ValueSome
                              { turnAt with
                                  Address = address "203.0.113.77" } }

              let world, _ = World.create' 'a' (World.channel "x") world
              let world = World.negotiate 'a' world |> World.pass (seconds 13L)
              Expect.isFalse (gathered 'a' world) "not yet"
              let world = World.pass (seconds 1L) world
              Expect.equal (errors 'a' world |> List.map _.Code) [ 701 ] "the code"
              Expect.isTrue (gathered 'a' world) "complete")

          testCase "servers that are not supported are told with 701, and the others are asked" (fun () ->
              let config =
                  configOf [| "stuns:stun.example.org"; turnUrl |] "secret" IceTransportPolicy.All

              let world, _ = symmetric config config Weather.fair 11L |> connecting (seconds 8L)
              Expect.equal (errors 'a' world |> List.map _.Code) [ 701 ] "the code")

          testCase "two URLs of one server share one allocation" (fun () ->
              let config =
                  configOf [| turnUrl; turnUrl + "?transport=udp" |] "secret" IceTransportPolicy.All

              let world, _ = symmetric config config Weather.fair 12L |> connecting (seconds 8L)
              let world = World.pass (seconds 5L) world
              Expect.equal (turn world).Allocations.Length 2 "one a peer"
              Expect.isEmpty (errors 'a' world) "nothing went wrong")

          testCase "a nonce that goes stale in mid-call, and hours of refreshing: nobody notices" (fun () ->
              let world, _ =
                  symmetric relayOnly relayOnly Weather.fair 13L |> connecting (seconds 8L)

              let mutable world = world

              for _ in 1..12 do
                  world <-
                      world
                      |> changing SmallServer.renonce
                      |> World.pass (seconds 600L)
                      |> passes 'a' 10_000 (seconds 5L)
                      |> passes 'b' 10_000 (seconds 5L)

              let states =
                  world.Ends['a'].Events
                  |> List.choose (function
                      | IceConnectionStateChanged s -> Some s
                      | _ -> None)

              Expect.isFalse (states |> List.contains IceTransportState.Disconnected) "never disconnected")

          testCase
              "a server that restarts in mid-call: disconnected, and an ICE restart brings all that was sent"
              (fun () ->
                  let world, handle =
                      symmetric relayOnly relayOnly Weather.fair 14L |> connecting (seconds 8L)

                  // Long enough for the selected pair to have answered later than the others.
                  let world =
                      world
                      |> passes 'a' 10_000 (seconds 5L)
                      |> World.pass (seconds 15L)
                      |> changing SmallServer.restart

                  let before = world.Ends['b'].MessageCount

                  let world =
                      world
                      |> World.tell 'a' (Send(handle, false, ReadOnlyMemory(Array.create 50_000 1uy)))
                      |> World.pass (seconds 15L)

                  Expect.equal (World.connection 'a' world) PeerConnectionState.Disconnected "told"
                  let world, _ = World.demand 'a' RestartIce world
                  let world = World.negotiate 'a' world

                  let world, arrived =
                      World.run (seconds 30L) (fun w -> w.Ends['b'].MessageCount > before) world

                  Expect.isTrue arrived "nothing reliable is lost"
                  Expect.isTrue (isRelayed 'a' world) "relayed anew")

          testCase
              "a way that is lost for ten minutes: failed, and an ICE restart still brings all that was sent"
              (fun () ->
                  let world, handle =
                      symmetric relayOnly relayOnly Weather.fair 16L |> connecting (seconds 8L)

                  let before = world.Ends['b'].MessageCount

                  let world =
                      world
                      |> changing SmallServer.restart
                      |> World.tell 'a' (Send(handle, false, ReadOnlyMemory(Array.create 50_000 1uy)))
                      |> World.pass (seconds 600L)

                  Expect.equal (World.connection 'a' world) PeerConnectionState.Failed "told"
                  let world, _ = World.demand 'a' RestartIce world
                  let world = World.negotiate 'a' world

                  let _, arrived =
                      World.run (seconds 30L) (fun w -> w.Ends['b'].MessageCount > before) world

                  Expect.isTrue arrived "nothing reliable is lost")

          testCase
              "a server that restarts in mid-call is known to have by the next refresh, and the path is given up"
              (fun () ->
                  let world, _ = symmetric good poor Weather.fair 15L |> connecting (seconds 8L)

                  let world = world |> changing SmallServer.restart |> World.pass (seconds 245L)
                  Expect.notEqual (World.connection 'a' world) PeerConnectionState.Connected "given up")

          testCase "with continual gathering an allocation that its server has lost is made anew, and told" (fun () ->
              let continual =
                  { good with
                      Options =
                          { good.Options with
                              Mobility =
                                  { good.Options.Mobility with
                                      ContinualGathering = true } } }

              let world, _ =
                  World.behindNats FullCone FullCone Weather.fair 22L
                  |> equipped continual continual 22L
                  |> connecting (seconds 5L)

              // Known by the next refresh, of the permissions.
              let world =
                  world
                  |> World.pass (seconds 5L)
                  |> changing SmallServer.restart
                  |> World.pass (seconds 250L)

              Expect.equal (turn world).Allocations.Length 2 "one each"

              for who in [ 'a'; 'b' ] do
                  let relayed = candidates who world |> List.filter _.Type.IsRelayed
                  Expect.equal relayed.Length 4 "IPv4 and IPv6, twice"
                  Expect.equal (relayed |> List.distinctBy (fun c -> c.Port, c.Host)).Length 4 "other ports"

              // They are paired, too.
              for allocation in (turn world).Allocations do
                  Expect.isNonEmpty allocation.Permissions "asked for")

          testCase "closed: nothing is left on the server" (fun () ->
              let world, _ = symmetric good good Weather.fair 16L |> connecting (seconds 8L)
              Expect.equal (turn world).Allocations.Length 2 "one each"
              let world, _ = World.demand 'a' Close world
              let world, _ = World.demand 'b' Close world
              let world = World.pass (seconds 2L) world
              Expect.isEmpty (turn world).Allocations "nothing")

          testCase
              "closed with an expired nonce, on a line that loses: given back all the same, then the sockets"
              (fun () ->
                  let world, _ = symmetric good good Weather.fair 16L |> connecting (seconds 8L)

                  let world =
                      changing SmallServer.renonce world |> World.under { lossy with Loss = 0.2 }

                  let world, _ = World.demand 'a' Close world
                  let world, _ = World.demand 'b' Close world
                  Expect.isFalse world.Ends['a'].HasEnded "its socket waits for the answer"
                  let world = World.pass (Duration.milliseconds 1_750L) world
                  Expect.isTrue (world.Ends['a'].HasEnded && world.Ends['b'].HasEnded) "ended"
                  Expect.isEmpty (turn world).Allocations "nothing"

                  // Closed is closed.
                  Expect.isTrue (World.ask 'a' (fun c -> CreateOffer(c, false)) world |> snd).IsError "refused")

          testCase "a server that is gone does not keep a connection from closing" (fun () ->
              let world, _ = symmetric good good Weather.fair 16L |> connecting (seconds 8L)
              let world, _ = World.under { lossy with Loss = 1.0 } world |> World.demand 'a' Close
              let world = World.pass (Duration.milliseconds 1_749L) world
              Expect.isFalse world.Ends['a'].HasEnded "it waits"
              let world = World.pass (Duration.milliseconds 1L) world
              Expect.isTrue world.Ends['a'].HasEnded "ended")

          testCase
              "an ICE restart gives back what was before, though its nonce has expired and its socket goes"
              (fun () ->
                  let world, _ = symmetric good good Weather.fair 21L |> connecting (seconds 8L)
                  let world = World.pass (seconds 5L) world
                  let world, _ = World.demand 'a' RestartIce world
                  // The new ones have theirs: those of the former generation are old.
                  let world = World.negotiate 'a' world |> World.pass (seconds 2L)
                  let world = changing SmallServer.renonce world |> World.pass (seconds 60L)
                  Expect.equal (turn world).Allocations.Length 2 "one each")

          testCase "an ICE restart allocates anew, and gives back what was before" (fun () ->
              let world, _ = symmetric good good Weather.fair 17L |> connecting (seconds 8L)
              let first = pair 'a' world
              let world, _ = World.demand 'a' RestartIce world
              let world = World.negotiate 'a' world |> World.pass (seconds 30L)
              let second = pair 'a' world
              Expect.notEqual second.Path.Local first.Path.Local "another"
              Expect.equal (turn world).Allocations.Length 2 "one each"

              world
              |> passes 'a' 10_000 (seconds 5L)
              |> passes 'b' 10_000 (seconds 5L)
              |> ignore)

          testCase "an interface that goes takes its relayed candidates along" (fun () ->
              let world, _ = symmetric good good Weather.fair 18L |> connecting (seconds 8L)

              let port, _ =
                  world.Ends['a'].Ports |> Map.toList |> List.find (fun (p, _) -> p > 0<port>)

              let world = world |> World.tell 'a' (PortClosed port) |> World.pass (seconds 60L)
              Expect.notEqual (World.connection 'a' world) PeerConnectionState.Connected "nothing is left")

          testPropertyWithConfig runs "a forger on the path, who repeats and changes what comes, changes nothing"
          <| fun (seed: int64) ->
              // Allocations and checks, which are signed: connected all the same.
              let world, _ =
                  symmetric relayOnly relayOnly lossy seed
                  |> World.withForger 0.3 seed
                  |> World.create' 'a' (World.channel "forged")

              let _, ready = world |> World.negotiate 'a' |> World.run (seconds 15L) isConnected
              Expect.isTrue ready "connected"

              // A handshake in the clear can be ended by who is on the path, as in every DTLS 1.2: what follows it cannot.
              let world, _ = symmetric relayOnly relayOnly lossy seed |> connecting (seconds 15L)

              world
              |> World.withForger 0.3 seed
              |> passes 'a' 50_000 (seconds 60L)
              |> passes 'b' 50_000 (seconds 60L)
              |> ignore

          for mtu in [ 1472; 1300; 1232; 1204 ] do
              testCase $"datagrams of a relayed path fit one that carries {mtu}" (fun () ->
                  let world, _ =
                      symmetric relayOnly relayOnly { Weather.fair with Mtu = mtu } 19L
                      |> connecting (seconds 10L)

                  let world =
                      (world, [ 1..30 ])
                      ||> List.fold (fun world _ -> passes 'a' 20_000 (seconds 10L) world)

                  match World.demand 'a' GetStats world with
                  | _, Stats statistics ->
                      Expect.isLessThanOrEqual
                          statistics.Association.Value.Mtu
                          (SctpConfig.packetIn mtu)
                          "with the header"

                      Expect.equal statistics.Association.Value.Retransmissions 0L "none was lost"
                  | _ -> failtest "no statistics") ]
