module Hybrid.WebRtc.PropertyTests.Ice.IceTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests

let private lan a = Address.v4 10uy 0uy 0uy a
let private home a = Address.v4 192uy 168uy 1uy a
let private office a = Address.v4 172uy 16uy 0uy a
let private publicAddress a = Address.v4 203uy 0uy 113uy a

let private v6 (n: uint64) : Address =
    { High = 0x20010db800000000UL; Low = n }

/// Half a millisecond each way, nothing lost.
let private local =
    { Weather.fair with
        Delay = Duration.microseconds 500L }

let private direct seed weather =
    World.create
        seed
        (Internet.create weather (Entropy.ofNumber seed))
        [ publicAddress 10uy; v6 10UL ]
        [ publicAddress 20uy; v6 20UL ]

let private behind seed weather (a: NatKind) (b: NatKind) =
    let net =
        Internet.create weather (Entropy.ofNumber seed)
        |> Internet.withNat 1 (Nat.create a false (publicAddress 1uy)) [ home 2uy ]
        |> Internet.withNat 2 (Nat.create b false (publicAddress 2uy)) [ office 2uy ]

    World.create seed net [ home 2uy ] [ office 2uy ]

let private upWithin (seconds: int64) (world: World) : World =
    let world = World.runUntil (world.Now + Duration.seconds seconds) World.areUp world
    Expect.isTrue (World.areUp world) "both are connected and have selected"
    world

let private agreeSoon (world: World) : World =
    let world =
        World.runUntil (world.Now + Duration.seconds 20L) (fun w -> World.areUp w && World.agree w) world

    Expect.isTrue (World.agree world) "both selected the same pair"
    world

let private roleOf side world = Ice.role (World.get side world).Agent

let private gen<'a> : Gen<'a> = ArbMap.defaults |> ArbMap.generate<'a>

/// Pairs of NATs that hole punching gets through, RFC 5128 §3.3; none is ValueNone.
let private genNats: Gen<struct (NatKind voption * NatKind voption)> =
    let kinds =
        [ ValueNone
          ValueSome FullCone
          ValueSome RestrictedCone
          ValueSome PortRestrictedCone
          ValueSome Symmetric ]

    let passes a b =
        match a, b with
        | ValueSome Symmetric, ValueSome(Symmetric | PortRestrictedCone)
        | ValueSome PortRestrictedCone, ValueSome Symmetric -> false
        | _ -> true

    Gen.elements
        [ for a in kinds do
              for b in kinds do
                  if passes a b then
                      struct (a, b) ]

let private genWeather: Gen<Weather> =
    gen<int * int>
    |> Gen.map (fun (a, b) ->
        { Weather.fair with
            Loss = float (abs a % 31) / 100.0
            Duplication = float (abs b % 11) / 100.0
            Jitter = Duration.milliseconds (int64 (abs (a + b) % 60)) })

let private worldOf seed weather (struct (a, b): struct (NatKind voption * NatKind voption)) =
    let net = Internet.create weather (Entropy.ofNumber seed)

    let natted number kind outside inside net =
        match kind with
        | ValueSome kind -> struct (Internet.withNat number (Nat.create kind false outside) [ inside ] net, inside)
        | ValueNone -> struct (net, outside)

    let struct (net, a) = natted 1 a (publicAddress 1uy) (home 2uy) net
    let struct (net, b) = natted 2 b (publicAddress 2uy) (office 2uy) net
    World.create seed net [ a ] [ b ]

let private runs divisor =
    { Laws.config with
        maxTest = max 1 (Laws.config.maxTest / divisor) }

let private cut = { local with Loss = 1.0 }

let private under weather (world: World) =
    { world with
        Net = Internet.under weather world.Net }

let private lastState side world =
    Ice.transportState (World.get side world).Agent

let private at side (state: IceTransportState) (world: World) : Instant voption =
    (World.get side world).Heard
    |> List.tryPick (fun struct (now, output) ->
        match output with
        | Ice.StateChanged s when s = state -> Some now
        | _ -> None)
    |> ValueOption.ofOption

let private remotePath side world =
    match World.selected side world with
    | ValueSome pair -> ValueSome pair.Path
    | ValueNone -> ValueNone

let private connectedPuppet role =
    let struct (agent, outputs) =
        Puppet.created role
        |> Puppet.feed
            Puppet.start
            [ Ice.SetRemote(Puppet.remote, false)
              Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 2130706431u, ValueNone) ]
        |> Puppet.obey 4 Puppet.start

    struct (agent, outputs)

/// What a stranger can send: noise around the real thing, all of it without the password.
let private genForged: Gen<Ice.Input> =
    let stranger = Puppet.at 66uy

    Gen.oneof
        [ Gen.map (fun bytes -> Puppet.receive stranger bytes) gen<byte[]>
          Gen.map
              (fun n ->
                  Puppet.receive
                      stranger
                      (Puppet.sealedWith "wrong" (Puppet.check n [ UseCandidate; IceControlling 9UL ])))
              gen<int>
          Gen.map
              (fun n ->
                  Puppet.receive (Puppet.at 2uy) (Puppet.sealedWith "wrong" (Puppet.check n [ IceControlled 1UL ])))
              gen<int>
          Gen.map
              (fun n ->
                  Puppet.receive
                      (Puppet.at 2uy)
                      (Puppet.sealedWith
                          Puppet.remote.Password
                          (Message.success (Puppet.check n []) [| XorMappedAddress stranger |])))
              gen<int>
          Gen.map
              (fun n ->
                  Puppet.receive
                      stranger
                      (World.written
                          { Message = Message.error (Puppet.check n []) 487 "Role Conflict" [||]
                            Integrity = Unprotected
                            Fingerprint = true }))
              gen<int> ]

/// Any input at all, plausible or not.
let private genInput: Gen<Ice.Input> =
    let endpoint = Gen.map (fun (n: byte) -> Puppet.at (1uy + n % 6uy)) gen<byte>
    let port = Gen.map (fun n -> n * 1<port>) (Gen.choose (1, 3))

    Gen.oneof
        [ Gen.constant Ice.Tick
          Gen.constant Ice.Tick
          Gen.map2 (fun e n -> Puppet.checkFrom e n [ IceControlling 5UL; UseCandidate ]) endpoint gen<int>
          Gen.map2 (fun e n -> Puppet.checkFrom e n [ IceControlled(uint64 n) ]) endpoint gen<int>
          Gen.map2 Puppet.receive endpoint gen<byte[]>
          Gen.constant (
              Ice.SetServers(
                  [| { Urls = [| World.stunUrl; "turn:x" |]
                       Username = ValueNone
                       Credential = ValueNone } |],
                  IceTransportPolicy.All
              )
          )
          Gen.constant Ice.Gather
          Gen.map3 (fun p e n -> Ice.PortOpened(p, e, n)) port endpoint gen<int>
          Gen.map Ice.PortClosed port
          Gen.constant Ice.PortsComplete
          Gen.map (fun e -> Ice.ServerResolved(World.stunUrl, [| e |])) endpoint
          Gen.constant (Ice.ServerFailed(World.stunUrl, "no"))
          Gen.elements [ Ice.SetRole IceRole.Controlling; Ice.SetRole IceRole.Controlled ]
          Gen.elements [ Ice.SetLocal Puppet.local; Ice.SetLocal(World.credentials "other") ]
          Gen.elements
              [ Ice.SetRemote(Puppet.remote, false)
                Ice.SetRemote(World.credentials "else", true) ]
          Gen.constant Ice.RollbackLocal
          Gen.map2 (fun e p -> Ice.AddRemote(Puppet.candidate e p, ValueNone)) endpoint gen<uint32>
          Gen.constant (
              Ice.AddRemote(
                  { Puppet.candidate (Puppet.at 2uy) 1u with
                      Host = CandidateHost.Name "a.local" },
                  ValueSome "them"
              )
          )
          Gen.constant (Ice.Resolved("a.local", ValueSome (Puppet.at 3uy).Address))
          Gen.constant Ice.EndOfRemoteCandidates ]

let private describe (outputs: Ice.Output list) : string list =
    outputs
    |> List.map (fun output ->
        match output with
        | Ice.Transmit(path, message) -> Endpoint.toText path.Remote + Convert.ToHexString(World.written message)
        | Ice.StateChanged state -> "state" + string (int state)
        | Ice.Ignored drop -> "drop" + string (int drop)
        | Ice.Selected(_, _, path) -> "selected" + Endpoint.toText path.Remote
        | _ -> "other")

/// Plays a script, half a second (or until the deadline) between inputs; the laws hold at every step.
let private play (script: Ice.Input list) : string list =
    let mutable agent = Puppet.created IceRole.Controlling
    let mutable now = Puppet.start
    let mutable story = []

    for input in script do
        let struct (next, outputs) = Ice.step now input agent
        agent <- next
        story <- story @ describe outputs
        Laws.earlyTick World.machine now agent
        Laws.tickMovesOn World.machine agent
        let due = Ice.deadline agent

        now <-
            if due < now + Duration.milliseconds 500L then
                max now due
            else
                now + Duration.milliseconds 500L

    story

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
              Expect.isTrue (later.A.Sent - world.A.Sent < 70) "requests, and answers to the peer's")

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

                  let kinds side w =
                      Ice.localCandidates (World.get side w).Agent
                      |> Array.map (fun c -> Candidate.typeText c.Type)

                  Expect.equal (kinds A world) [| "host"; "srflx" |] "behind a NAT"
                  let reflexive = (Ice.localCandidates world.A.Agent)[1]
                  Expect.equal reflexive.Host (CandidateHost.Ip(publicAddress 1uy)) "the NAT's"
                  Expect.equal reflexive.Related.Value.Host (CandidateHost.Ip(home 2uy)) "the base"
                  let world = direct 11L Weather.fair |> World.negotiate "1" |> upWithin 10L
                  Expect.equal (kinds A world) [| "host"; "host" |] "public"
                  let all = Ice.localCandidates world.A.Agent
                  Expect.notEqual all[0].Priority all[1].Priority "distinct priorities"
                  Expect.notEqual all[0].Foundation all[1].Foundation "distinct foundations")

          testCase
              "a server that does not answer, or whose name is unknown, is told as 701, and gathering completes"
              (fun () ->
                  let servers =
                      [| { Urls = [| "stun:dead:1"; "stun:nobody:2"; "turn:later:3" |]
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

                  Expect.equal (List.sort urls) [ "stun:dead:1"; "stun:nobody:2"; "turn:later:3" ] "told"
                  Expect.equal requests 14 "asked fourteen times"
                  Expect.equal (Ice.gatheringState agent) IceGatheringState.Complete "complete")

          testCase "with the relay policy nothing is told and nothing leaves" (fun () ->
              let world =
                  World.feed A (Ice.SetServers([||], IceTransportPolicy.Relay)) (direct 12L Weather.fair)

              let world =
                  world
                  |> World.feed A (Ice.SetRole IceRole.Controlling)
                  |> World.feed A (Ice.SetLocal(World.credentials "aaaa1"))
                  |> World.feed A Ice.Gather
                  |> World.feed A (Ice.SetRemote(World.credentials "bbbb1", false))
                  |> World.feed A (Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 5u, ValueNone))
                  |> World.runFor (Duration.seconds 30L)

              Expect.equal world.A.Sent 0 "silent"
              Expect.isEmpty (Ice.localCandidates world.A.Agent) "no candidates")

          testCase "nominated aggressively on two pairs, the better one is selected, whatever the order" (fun () ->
              for first, second in [ 2uy, 3uy; 3uy, 2uy ] do
                  let nominate (octet: byte) n =
                      Puppet.checkFrom (Puppet.at octet) n [ IceControlling 1UL; UseCandidate ]

                  // Both work, and the peer, like Chromium, says USE-CANDIDATE on every check.
                  let struct (agent, _) =
                      Puppet.created IceRole.Controlled
                      |> Puppet.feed
                          Puppet.start
                          [ Ice.SetRemote(Puppet.remote, false)
                            Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 1000u, ValueNone)
                            Ice.AddRemote(Puppet.candidate (Puppet.at 3uy) 2000u, ValueNone) ]
                      |> Puppet.obey 4 Puppet.start

                  let struct (agent, outputs) =
                      Puppet.feed Puppet.start [ nominate first 1; nominate second 2; nominate first 3 ] agent
                      |> Puppet.obey 4 Puppet.start

                  Expect.equal (Ice.selectedPair agent).Value.Path (Puppet.path (Puppet.at 3uy)) "the better"
                  Expect.isTrue (Ice.isValid (Puppet.path (Puppet.at 2uy)) agent) "data may come by the other"
                  Expect.isNonEmpty (Puppet.selections outputs) "told")

          testCase
              "a peer without candidates is given up after 39.5 s, RFC 8863 §4, and its late check opens all again"
              (fun () ->
                  let struct (agent, _) =
                      Puppet.created IceRole.Controlling
                      |> Puppet.feed Puppet.start [ Ice.SetRemote(Puppet.remote, false); Ice.EndOfRemoteCandidates ]

                  let due = Ice.deadline agent
                  Expect.equal (Duration.toMilliseconds (due - Puppet.start)) 39_500L "patience"
                  let struct (agent, _) = Puppet.feed due [ Ice.Tick ] agent
                  Expect.equal (Ice.transportState agent) IceTransportState.Failed "failed"

                  let struct (agent, _) =
                      Puppet.feed
                          (due + Duration.seconds 60L)
                          [ Puppet.checkFrom (Puppet.at 2uy) 1 [ IceControlled 1UL ] ]
                          agent
                      |> Puppet.obey 4 (due + Duration.seconds 60L)

                  Expect.isTrue (Ice.selectedPair agent).IsSome "connected after all")

          testCase "with a lite peer we control, check, and nominate" (fun () ->
              let struct (agent, outputs) =
                  Puppet.created IceRole.Controlled
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, true)
                        Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 2130706431u, ValueNone) ]
                  |> Puppet.obey 4 Puppet.start

              Expect.equal (Ice.role agent) IceRole.Controlling "controlling"

              Expect.isTrue
                  (Puppet.requests outputs
                   |> List.exists (fun struct (_, m) -> Message.usesCandidate m))
                  "nominated"

              Expect.equal (Puppet.selections outputs) [ Puppet.path (Puppet.at 2uy) ] "selected")

          testCase "of regular nomination, the first check never carries USE-CANDIDATE" (fun () ->
              let struct (_, outputs) = connectedPuppet IceRole.Controlling

              match Puppet.requests outputs with
              | struct (_, first) :: _ -> Expect.isFalse (Message.usesCandidate first) "plain"
              | [] -> failtest "checks")

          testCase
              "checks that came before the answer are answered, and their pairs checked at once when it comes"
              (fun () ->
                  let struct (agent, outputs) =
                      Puppet.created IceRole.Controlling
                      |> Puppet.feed Puppet.start [ Puppet.checkFrom (Puppet.at 2uy) 1 [ IceControlled 1UL ] ]

                  Expect.equal (Puppet.sent outputs).Length 1 "answered"

                  let struct (agent, outputs) =
                      Puppet.feed Puppet.start [ Ice.SetRemote(Puppet.remote, false) ] agent

                  match Puppet.requests outputs with
                  | [ struct (path, _) ] -> Expect.equal path (Puppet.path (Puppet.at 2uy)) "checked"
                  | _ -> failtest "one check"

                  Expect.equal
                      (Array.head (Ice.remoteCandidates agent)).Type
                      CandidateType.PeerReflexive
                      "peer-reflexive"

                  let signalled = Puppet.candidate (Puppet.at 2uy) 2130706431u

                  let struct (agent, _) =
                      Puppet.feed Puppet.start [ Ice.AddRemote(signalled, ValueNone) ] agent

                  Expect.equal (Ice.remoteCandidates agent) [| signalled |] "known better once it is signalled"
                  Expect.equal (Ice.pairs agent).Length 1 "one pair")

          testCase "strangers are refused with what RFC 8489 §9.1.3 says, and never with more than they sent" (fun () ->
              let agent = Puppet.created IceRole.Controlling

              let refusals message bytes =
                  let struct (_, outputs) =
                      Puppet.feed Puppet.start [ Puppet.receive (Puppet.at 6uy) bytes ] agent

                  for struct (_, outgoing) in Puppet.sent outputs do
                      Expect.isLessThanOrEqual (Outgoing.size outgoing) bytes.Length message

                  Puppet.errors outputs

              let check = Puppet.check 1 [ IceControlled 1UL ]

              let bare =
                  { Message = check
                    Integrity = Unprotected
                    Fingerprint = true }

              Expect.equal (refusals "wrong" (Puppet.sealedWith "wrong" check)) [ 401 ] "wrong password"
              Expect.equal (refusals "bare" (World.written bare)) [ 400 ] "no integrity"

              let empty =
                  { bare with
                      Message = { check with Attributes = [||] } }

              Expect.equal (refusals "empty" (World.written empty)) [] "too short to be answered"

              let odd =
                  { check with
                      Attributes = Array.append check.Attributes [| Unknown(0x7f00us, [||]) |] }

              Expect.equal (refusals "odd" (Puppet.sealedWith Puppet.local.Password odd)) [ 420 ] "unknown attribute"

              let google =
                  { check with
                      Attributes = Array.append check.Attributes [| Unknown(0xc057us, [| 0uy; 1uy; 0uy; 0uy |]) |] }

              Expect.equal
                  (refusals "google" (Puppet.sealedWith Puppet.local.Password google))
                  []
                  "GOOG-NETWORK-INFO is fine")

          testPropertyWithConfig (runs 1) "forged STUN changes nothing but the counts"
          <| Prop.forAll (Arb.fromGen (Gen.listOf genForged)) (fun forged ->
              let struct (agent, _) = connectedPuppet IceRole.Controlling

              let struct (after, outputs) =
                  Puppet.feed (Puppet.start + Duration.seconds 1L) forged agent

              let look (agent: Ice.State) =
                  struct (Ice.transportState agent,
                          Ice.role agent,
                          Ice.deadline agent,
                          (Ice.remoteCandidates agent).Length,
                          Ice.pairs agent |> Array.map (fun p -> struct (p.Id, p.State, p.Nominated)),
                          (Ice.selectedPair agent).Value.Path)

              let harmless =
                  outputs
                  |> List.forall (fun output ->
                      match output with
                      | Ice.Ignored _ -> true
                      | Ice.Transmit(_, outgoing) ->
                          outgoing.Message.Class.IsError && outgoing.Integrity.IsUnprotected
                      | _ -> false)

              harmless && look agent = look after)

          testCase "a genuine response that comes from elsewhere, RFC 8445 §7.2.5.2.1, changes nothing" (fun () ->
              let struct (agent, outputs) =
                  Puppet.created IceRole.Controlling
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, false)
                        Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 2130706431u, ValueNone) ]

              let struct (_, message) = (Puppet.requests outputs).Head

              let struct (agent, outputs) =
                  Puppet.feed Puppet.start [ Puppet.receive (Puppet.at 3uy) (Puppet.answerTo message) ] agent

              Expect.equal (Puppet.drops outputs) [ Drop.Unvalidated ] "counted"
              Expect.isFalse (Ice.isValid (Puppet.path (Puppet.at 2uy)) agent) "not valid"

              let struct (agent, _) =
                  Puppet.feed Puppet.start [ Puppet.receive (Puppet.at 2uy) (Puppet.answerTo message) ] agent

              Expect.isTrue (Ice.isValid (Puppet.path (Puppet.at 2uy)) agent) "the right one counts")

          testCase "a .local candidate is resolved and used; an unknown name, TCP and RTCP are not" (fun () ->
              let named name =
                  { Puppet.candidate (Puppet.at 2uy) 5u with
                      Host = CandidateHost.Name name }

              let plain = Puppet.candidate (Puppet.at 4uy) 5u

              let struct (agent, outputs) =
                  Puppet.created IceRole.Controlling
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, false)
                        Ice.AddRemote(named "x.local", ValueNone)
                        Ice.AddRemote(named "example.org", ValueNone)
                        Ice.AddRemote({ plain with Component = 2 }, ValueNone)
                        Ice.AddRemote(
                            { plain with
                                Transport = CandidateTransport.Tcp TcpType.Active
                                Port = 9us },
                            ValueNone
                        )
                        Ice.AddRemote(plain, ValueSome "gone") ]

              let asked =
                  outputs
                  |> List.choose (fun o ->
                      match o with
                      | Ice.Resolve name -> Some name
                      | _ -> None)

              Expect.equal asked [ "x.local" ] "one name"
              Expect.isEmpty (Puppet.requests outputs) "nothing to check yet"
              Expect.equal (Puppet.drops outputs) [ Drop.Unsupported; Drop.Unsupported; Drop.Stale ] "counted"

              let struct (_, outputs) =
                  Puppet.feed Puppet.start [ Ice.Resolved("x.local", ValueSome (Puppet.at 2uy).Address) ] agent

              match Puppet.requests outputs with
              | [ struct (path, _) ] -> Expect.equal path (Puppet.path (Puppet.at 2uy)) "checked"
              | _ -> failtest "one check")

          testCase
              "what a peer can feed is bounded: candidates, pairs, names, early checks, and checks a second"
              (fun () ->
                  let endpoint i =
                      { Address = Address.v4 10uy 0uy (byte (i >>> 8)) (byte i)
                        Port = 6000us }

                  let flood =
                      [ for i in 1..1000 -> Ice.AddRemote(Puppet.candidate (endpoint (i + 300)) (uint32 i), ValueNone) ]

                  let names =
                      [ for i in 1..1000 ->
                            Ice.AddRemote(
                                { Puppet.candidate (endpoint i) 1u with
                                    Host = CandidateHost.Name(string i + ".local") },
                                ValueNone
                            ) ]

                  let early =
                      [ for i in 1..1000 -> Puppet.checkFrom (endpoint (i + 5000)) i [ IceControlled 1UL ] ]

                  let later =
                      [ for i in 1..1000 -> Puppet.checkFrom (endpoint (i + 9000)) i [ IceControlled 1UL ] ]

                  let struct (agent, outputs) =
                      Puppet.created IceRole.Controlling
                      |> Puppet.feed
                          Puppet.start
                          (early @ [ Ice.SetRemote(Puppet.remote, false) ] @ flood @ names @ later)

                  Expect.isLessThanOrEqual (Ice.pairs agent).Length 100 "pairs"
                  Expect.isLessThanOrEqual (Ice.remoteCandidates agent).Length 132 "candidates"
                  Expect.isLessThanOrEqual (outputs |> List.filter _.IsResolve).Length 32 "names"
                  Expect.isLessThanOrEqual (Puppet.requests outputs).Length 12 "checks at once"
                  let mutable agent = agent
                  let mutable sent = 0

                  while Ice.deadline agent < Puppet.start + Duration.milliseconds 499L do
                      let struct (next, outputs) = Ice.step (Ice.deadline agent) Ice.Tick agent
                      agent <- next
                      sent <- sent + (Puppet.requests outputs).Length

                  Expect.isLessThanOrEqual sent 10 "one each 50 ms")

          testPropertyWithConfig
              (runs 1)
              "any script of inputs: nothing throws, ticks are lawful, the story is the same twice"
          <| Prop.forAll (Arb.fromGen (Gen.listOf genInput)) (fun script -> play script = play script)

          testPropertyWithConfig (runs 4) "closed absorbs: every socket is closed, every input ignored"
          <| Prop.forAll (Arb.fromGen (Gen.nonEmptyListOf genInput)) (fun script ->
              let struct (agent, outputs) =
                  connectedPuppet IceRole.Controlled
                  |> fun struct (agent, _) -> Puppet.feed Puppet.start [ Ice.Close ] agent

              let struct (after, ignored) = Puppet.feed Puppet.start script agent

              outputs
              |> List.exists (fun o ->
                  match o with
                  | Ice.ClosePort p -> int p = 1
                  | _ -> false)
              && ignored |> List.forall _.IsIgnored
              && Ice.deadline after = Instant.never
              && Ice.transportState after = IceTransportState.Closed
              && not (Ice.isValid (Puppet.path (Puppet.at 2uy)) after))

          testCase "the kinds of NAT let in whom they should" (fun () ->
              let inside = { Address = home 2uy; Port = 1000us }

              let friend =
                  { Address = publicAddress 9uy
                    Port = 2000us }

              let friendElsewhere = { friend with Port = 2001us }

              let stranger =
                  { Address = publicAddress 8uy
                    Port = 2000us }

              for kind, admits in
                  [ FullCone, [ true; true; true ]
                    RestrictedCone, [ true; true; false ]
                    PortRestrictedCone, [ true; false; false ]
                    Symmetric, [ true; false; false ] ] do
                  let struct (out, nat) =
                      Nat.outbound { From = inside; To = friend } (Nat.create kind false (publicAddress 1uy))

                  let admitted =
                      [ friend; friendElsewhere; stranger ]
                      |> List.map (fun from -> (Nat.inbound { From = from; To = out.From } nat).IsSome)

                  Expect.equal admitted admits "inbound"
                  let struct (again, _) = Nat.outbound { From = inside; To = stranger } nat
                  Expect.equal (again.From = out.From) (kind <> Symmetric) "mapping"
                  Expect.isTrue (Nat.inbound { From = friend; To = out.From } (Nat.rebind nat)).IsNone "forgotten") ]
