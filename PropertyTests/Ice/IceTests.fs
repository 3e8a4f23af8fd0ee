module Hybrid.WebRtc.PropertyTests.Ice.IceTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Ice.Scenes

let tests =
    testList
        "Ice"
        [ testCase "on a LAN both have selected the best pair one round trip and a half after the answer" (fun () ->
              let world =
                  { direct 1L local with
                      SignallingDelay = Duration.milliseconds 1L }

              let start = world.Now
              let world = world |> World.negotiate "1" |> upWithin 5L
              let took = Duration.toMilliseconds (world.Now - start)
              Expect.isLessThanOrEqual took 6L "2 ms of signalling, and two round trips"
              Expect.isTrue (World.agree world) "the same pair"

              Expect.equal (roleOf A world) IceRole.Controlling "offerer"
              Expect.equal (roleOf B world) IceRole.Controlled "answerer"
              let world = World.runFor (Duration.seconds 3L) world

              Expect.equal
                  (World.states A world)
                  [ IceTransportState.Checking
                    IceTransportState.Connected
                    IceTransportState.Completed ]
                  "states")

          testPropertyWithConfig
              { Laws.config with
                  maxTest = Laws.config.maxTest / 4 }
              "any seed, up to 30 % loss, jitter and duplication, behind NATs: both selected within 60 s, and agree"
          <| Prop.forAll (Arb.fromGen (Gen.zip3 gen<int64> genWeather genNats)) (fun (seed, weather, nats) ->
              let world = worldOf seed weather nats |> World.negotiate "1" |> upWithin 60L
              World.agree (agreeSoon world))

          testPropertyWithConfig (runs 10) "two controlling agents, or two controlled ones, settle who is which"
          <| fun (seed: int64) (controlling: bool) ->
              let role =
                  if controlling then
                      IceRole.Controlling
                  else
                      IceRole.Controlled

              let world = direct seed Weather.fair |> World.negotiate "1"

              let world =
                  { world with
                      Signalling =
                          world.Signalling
                          |> List.map (fun struct (at, side, input) ->
                              match input with
                              | Ice.SetRole _ -> struct (at, side, Ice.SetRole role)
                              | _ -> struct (at, side, input)) }
                  |> World.feed A (Ice.SetRole role)
                  |> upWithin 10L
                  |> agreeSoon

              roleOf A world <> roleOf B world

          testPropertyWithConfig
              (runs 10)
              "an ICE restart keeps the path until the new one is selected, under 20 % loss"
          <| fun (seed: int64) ->
              let weather = { Weather.fair with Loss = 0.2 }
              let world = direct seed weather |> World.negotiate "1" |> upWithin 60L |> agreeSoon
              let world = World.runFor (Duration.seconds 10L) world
              let ports = (World.get A world).Ports
              let before = World.states A world |> List.length

              let renewed (world: World) =
                  let isNew side name =
                      match Ice.localCredentials (World.get side world).Agent with
                      | ValueSome c ->
                          c.UsernameFragment = name
                          && Ice.pairs (World.get side world).Agent |> Array.exists _.Nominated
                      | ValueNone -> false

                  isNew A "aaaa2" && isNew B "bbbb2"

              // What either sends on its pair comes out at an open socket of the other's, which takes it for its peer's.
              let served (world: World) =
                  let reaches from into =
                      match World.selected from world with
                      | ValueSome pair ->
                          match Map.tryFind (int pair.Path.Local) (World.get from world).Ports with
                          | Some source -> World.isHeard into { From = source; To = pair.Path.Remote } world
                          | None -> false
                      | ValueNone -> false

                  reaches A B && reaches B A

              let restarted = World.negotiate "2" world

              let renewedAt =
                  World.runUntil (restarted.Now + Duration.seconds 60L) (fun w -> renewed w || not (served w)) restarted

              Expect.isTrue (served renewedAt) "a valid pair was selected all along"
              Expect.isTrue (renewed renewedAt) "both have selected anew"
              let after = World.runFor (Duration.seconds 15L) renewedAt |> agreeSoon

              Expect.isFalse
                  (after.A.Ports |> Map.exists (fun number _ -> Map.containsKey number ports))
                  "the former sockets are closed"

              Expect.isFalse
                  (World.states A after
                   |> List.skip before
                   |> List.exists (fun s -> s = IceTransportState.New || s = IceTransportState.Failed))
                  "it never looked new or failed"

          testCase
              "a restart that is rolled back leaves the former pair in service, and closes its own sockets"
              (fun () ->
                  let world = direct 3L Weather.fair |> World.negotiate "1" |> upWithin 10L
                  let selected = remotePath A world
                  let ports = world.A.Ports |> Map.toList |> List.map fst

                  let world =
                      world
                      |> World.feed A (Ice.SetLocal(World.credentials "newer"))
                      |> World.feed A Ice.Gather

                  Expect.equal (remotePath A world) selected "still selected"
                  Expect.equal world.A.Ports.Count 4 "new sockets"
                  let world = World.feed A Ice.RollbackLocal world
                  Expect.equal (world.A.Ports |> Map.toList |> List.map fst) ports "new sockets are closed"
                  let world = World.runFor (Duration.seconds 90L) world
                  Expect.equal (remotePath A world) selected "served on"
                  Expect.isTrue (World.areUp world) "up")

          testCase
              "without answers: disconnected after 5 s, failed when consent expires after 30 s, and silent from then on"
              (fun () ->
                  let world =
                      direct 4L local
                      |> World.negotiate "1"
                      |> upWithin 5L
                      |> World.runFor (Duration.seconds 20L)

                  let start = world.Now
                  let world = world |> under cut |> World.runFor (Duration.seconds 40L)

                  for side in [ A; B ] do
                      let disconnected = (at side IceTransportState.Disconnected world).Value - start
                      let failed = (at side IceTransportState.Failed world).Value - start
                      // The last answer came up to 6 s before the cut, the next request up to 6 s after it.
                      Expect.isTrue
                          (disconnected >= Duration.seconds 5L && disconnected <= Duration.seconds 11L)
                          "disconnected"

                      Expect.isTrue (failed >= Duration.seconds 24L && failed <= Duration.seconds 30L) "failed"

                  let sent = world.A.Sent
                  let world = world |> under local |> World.runFor (Duration.seconds 60L)
                  Expect.equal world.A.Sent sent "nothing is sent without consent"
                  Expect.equal (lastState A world) IceTransportState.Failed "failed it stays"
                  Expect.isTrue (World.selected A world).IsNone "no pair")

          testCase "a path that comes back within 30 s is connected again" (fun () ->
              let world =
                  direct 5L local
                  |> World.negotiate "1"
                  |> upWithin 5L
                  |> World.runFor (Duration.seconds 8L)

              let world = world |> under cut |> World.runFor (Duration.seconds 15L)
              Expect.equal (lastState A world) IceTransportState.Disconnected "gone"
              let world = world |> under local |> World.runFor (Duration.seconds 3L)
              Expect.isTrue (World.areUp world) "back"
              Expect.isFalse (World.states A world |> List.contains IceTransportState.Failed) "never failed")

          testCase "an ICE restart leads out of failed" (fun () ->
              let world = direct 6L local |> World.negotiate "1" |> upWithin 5L
              let world = world |> under cut |> World.runFor (Duration.seconds 60L)
              Expect.equal (lastState A world) IceTransportState.Failed "failed"
              let world = world |> under local |> World.negotiate "2"
              Expect.equal (lastState A world) IceTransportState.New "new"
              upWithin 5L world |> agreeSoon |> ignore)

          testCase "consent is asked for every 4 to 6 s, RFC 7675 §5.1" (fun () ->
              let world = direct 7L local |> World.negotiate "1" |> upWithin 5L

              let asked (w: World) =
                  (World.selected A w).Value.Counters.ConsentRequestsSent

              let later = World.runFor (Duration.seconds 120L) world
              let count = asked later - asked world
              Expect.isTrue (count >= 20L && count <= 30L) "120 s / 5 s"
              Expect.isTrue (later.A.Sent - world.A.Sent < 70) "requests, and answers to the peer's"

              Expect.equal
                  (Ice.deadline later.A.Agent % Duration.milliseconds 100L)
                  0L<us>
                  "the next together with those of this machine's other connections")

          testCase "a NAT that forgets its mappings is survived: the peer's new address is learnt, and used" (fun () ->
              for rebound in [ 1; 2 ] do
                  let world =
                      behind 8L Weather.fair FullCone FullCone
                      |> World.negotiate "1"
                      |> upWithin 10L
                      |> World.runFor (Duration.seconds 7L)

                  let world =
                      { world with
                          Net = Internet.rebind rebound world.Net }

                  let healed =
                      World.runUntil (world.Now + Duration.seconds 20L) (fun w -> World.areUp w && World.agree w) world

                  Expect.isTrue (World.agree healed) "data passes both ways again"
                  let later = World.runFor (Duration.seconds 60L) healed
                  Expect.isTrue (World.areUp later && World.agree later) "and stays"
                  Expect.isFalse (World.states A later |> List.contains IceTransportState.Failed) "without failing")

          testCase "an answer that travels by hand for 100 s still connects" (fun () ->
              let world =
                  behind 9L Weather.fair PortRestrictedCone PortRestrictedCone
                  |> World.negotiate "1"

              let world =
                  { world with
                      Signalling =
                          world.Signalling
                          |> List.map (fun struct (at, side, input) ->
                              struct ((if side = A then at + Duration.seconds 100L else at), side, input))
                          |> List.sortBy (fun struct (at, _, _) -> at) }

              world |> upWithin 110L |> agreeSoon |> ignore)

          testCase "where no pair works the agents fail, but not before RFC 8863's 39.5 s" (fun () ->
              let world = behind 10L Weather.fair Symmetric Symmetric |> World.negotiate "1"
              let start = world.Now
              let world = World.runFor (Duration.seconds 200L) world

              for side in [ A; B ] do
                  let failed = (at side IceTransportState.Failed world).Value - start
                  Expect.isTrue (failed >= Duration.milliseconds 39_500L) "patience"
                  Expect.isTrue (failed <= Duration.seconds 130L) "and its end")

          testCase
              "a server-reflexive candidate tells the NAT's address and its base; a public host has none"
              (fun () ->
                  let world =
                      behind 11L Weather.fair FullCone FullCone |> World.negotiate "1" |> upWithin 10L

                  let udp agent =
                      Ice.localCandidates agent |> Array.filter _.Transport.IsUdp

                  let kinds side w =
                      udp (World.get side w).Agent |> Array.map (fun c -> Candidate.typeText c.Type)

                  Expect.equal (kinds A world) [| "host"; "srflx" |] "behind a NAT"
                  let reflexive = (udp world.A.Agent)[1]
                  Expect.equal reflexive.Host (CandidateHost.Ip(publicAddress 1uy)) "the NAT's"
                  Expect.equal reflexive.Related.Value.Host (CandidateHost.Ip(home 2uy)) "the base"
                  let world = direct 11L Weather.fair |> World.negotiate "1" |> upWithin 10L
                  Expect.equal (kinds A world) [| "host"; "host" |] "public"
                  let all = udp world.A.Agent
                  Expect.notEqual all[0].Priority all[1].Priority "distinct priorities"
                  Expect.notEqual all[0].Foundation all[1].Foundation "distinct foundations")

          testCase
              "a server that does not answer, or whose name is unknown, is told as 701, and gathering completes"
              (fun () ->
                  let servers =
                      [| { Urls = [| "stun:dead:1"; "stun:nobody:2"; "stuns:later:3" |]
                           Username = ValueNone
                           Credential = ValueNone } |]

                  let struct (agent, outputs) =
                      Ice.create IceOptions.defaults (Entropy.ofNumber 1L) World.ciphers
                      |> Puppet.feed
                          Puppet.start
                          [ Ice.SetServers(servers, IceTransportPolicy.All)
                            Ice.SetLocal Puppet.local
                            Ice.Gather
                            Ice.PortOpened(1<port>, Puppet.socket, 1)
                            Ice.PortsComplete
                            Ice.ServerResolved("stun:dead:1", [| Puppet.at 9uy |])
                            Ice.ServerFailed("stun:nobody:2", "no such host") ]

                  let mutable agent = agent
                  let mutable all = outputs
                  let mutable requests = (Puppet.requests outputs).Length

                  while Ice.deadline agent <> Instant.never do
                      let struct (next, outputs) = Ice.step (Ice.deadline agent) Ice.Tick agent
                      agent <- next
                      all <- all @ outputs
                      requests <- requests + (Puppet.requests outputs).Length

                  let urls =
                      all
                      |> List.choose (fun output ->
                          match output with
                          | Ice.ServerError(url, _, 701, _) -> Some url
                          | _ -> None)

                  Expect.equal (List.sort urls) [ "stun:dead:1"; "stun:nobody:2"; "stuns:later:3" ] "told"
                  Expect.equal requests 16 "asked sixteen times"
                  Expect.equal (Ice.gatheringState agent) IceGatheringState.Complete "complete") ]
