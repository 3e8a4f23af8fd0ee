/// How much of ICE a peer does: lite agents, which candidates are gathered, where the peer may be, and what is gathered ahead.
module Hybrid.WebRtc.PropertyTests.ScopeTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.PropertyTests.RelayWorld

let private scoped (change: IceScope -> IceScope) (config: PeerConfig) : PeerConfig =
    { config with
        Options =
            { config.Options with
                Scope = change config.Options.Scope } }

let private lite = scoped (fun scope -> { scope with Lite = true }) World.config

let private becomes (who: char) (config: PeerConfig) (seed: int64) (world: World) : World =
    World.change
        who
        (fun e ->
            { e with
                Peer = World.peerOf config seed })
        world

let private isOpen (world: World) =
    World.openChannels 'a' world <> [] && World.openChannels 'b' world <> []

let private talks (offerer: char) (world: World) : World =
    let world, _ = World.create' offerer (World.channel "chat") world
    let world = World.negotiate offerer world
    let world, ready = World.run (Duration.seconds 20L) isOpen world
    Expect.isTrue ready "the channel opens"

    world
    |> passes 'a' 50_000 (Duration.seconds 20L)
    |> passes 'b' 50_000 (Duration.seconds 20L)

let private statistics (who: char) (world: World) : Statistics =
    match World.demand who GetStats world with
    | _, Stats statistics -> statistics
    | _ -> failtest "no statistics"

let private asked (who: char) (world: World) : int64 =
    (statistics who world).Pairs |> Array.sumBy _.RequestsSent

let private sdp (who: char) (world: World) : string =
    world.Ends[who].Events
    |> List.pick (function
        | DescriptionsChanged d ->
            d.CurrentLocal
            |> ValueOption.orElse d.PendingLocal
            |> ValueOption.map _.Sdp
            |> ValueOption.toOption
        | _ -> None)

let private cut (world: World) : World =
    World.under { Weather.fair with Loss = 1.0 } world

let private reaches (state: PeerConnectionState) (who: char) (limit: int64) (world: World) : World * Duration =
    let start = world.Now

    let world, reached =
        World.run (Duration.seconds limit) (fun w -> World.connection who w = state) world

    Expect.isTrue reached $"{state} within {limit} s"
    world, world.Now - start

let private weather loss = { Weather.fair with Loss = loss }

let private liteAgents =
    testList
        "a lite agent"
        [ for offerer in [ 'a'; 'b' ] do
              testCase
                  $"""answers a full one and asks nothing, {if offerer = 'b' then "offering" else "answering"}"""
                  (fun () ->
                      for seed in 1L .. 5L do
                          let world =
                              World.create (weather (if seed = 1L then 0.0 else 0.1)) seed
                              |> becomes 'b' lite (seed + 100L)
                              |> talks offerer

                          Expect.equal (asked 'b' world) 0L "no check of its own"
                          Expect.isGreaterThan (asked 'a' world) 0L "the other asks"
                          Expect.stringContains (sdp 'b' world) "\r\na=ice-lite\r\n" "it says so"
                          Expect.isFalse ((sdp 'a' world).Contains "ice-lite") "and the other does not"
                          Expect.equal (statistics 'b' world).Ice.Role IceRole.Controlled "controlled"
                          Expect.equal (statistics 'a' world).Ice.Role IceRole.Controlling "controlling"
                          let pairA, pairB = pair 'a' world, pair 'b' world
                          Expect.contains world.Ends['b'].Interfaces pairA.Path.Remote.Address "where it is"
                          Expect.contains world.Ends['a'].Interfaces pairB.Path.Remote.Address "and we are")

          testCase "is reached from behind NATs of every kind" (fun () ->
              for kind in [ FullCone; RestrictedCone; PortRestrictedCone; Symmetric ] do
                  let world =
                      World.behindNats kind FullCone (weather 0.05) 7L
                      |> World.change 'b' (fun e ->
                          { e with
                              Interfaces = [ address "203.0.113.77" ] })
                      |> becomes 'b' lite 107L
                      |> talks 'a'

                  Expect.equal (asked 'b' world) 0L "no check of its own"

                  Expect.isFalse
                      (candidates 'b' world |> List.exists (fun c -> c.Type <> CandidateType.Host))
                      "host candidates only")

          testCase "tells by the peer's silence that it is gone, and later than a full one would" (fun () ->
              let world = World.create Weather.fair 3L |> becomes 'b' lite 103L |> talks 'a'
              // As long as nothing is said, the peer's consent is what it hears.
              let world = World.pass (Duration.seconds 60L) world
              Expect.equal (World.connection 'b' world) PeerConnectionState.Connected "a minute later"

              let world, disconnected =
                  cut world |> reaches PeerConnectionState.Disconnected 'b' 20L

              Expect.isGreaterThan disconnected (Duration.seconds 3L) "not at once"
              let world, failed = reaches PeerConnectionState.Failed 'b' 40L world
              Expect.isLessThanOrEqual (disconnected + failed) (Duration.seconds 31L) "30 s after the last check"
              ignore world)

          testCase "comes back when the peer does" (fun () ->
              let world = World.create Weather.fair 4L |> becomes 'b' lite 104L |> talks 'a'
              let world, _ = cut world |> reaches PeerConnectionState.Disconnected 'b' 20L

              let world, _ =
                  World.under Weather.fair world |> reaches PeerConnectionState.Connected 'b' 5L

              passes 'a' 10_000 (Duration.seconds 30L) world |> ignore)

          testCase "restarts, whoever asks for it" (fun () ->
              for offerer in [ 'a'; 'b' ] do
                  let world = World.create (weather 0.05) 5L |> becomes 'b' lite 105L |> talks 'a'
                  let before = (statistics 'b' world).Ice.LocalParameters
                  let world, _ = World.demand offerer RestartIce world
                  let world = World.negotiate offerer world

                  let world, restarted =
                      World.run
                          (Duration.seconds 20L)
                          (fun w ->
                              (statistics 'b' w).Ice.LocalParameters <> before
                              && (statistics 'b' w).Ice.State = IceTransportState.Connected)
                          world

                  Expect.isTrue restarted "restarted"
                  Expect.equal (asked 'b' world) 0L "no check of its own"

                  world
                  |> passes 'a' 10_000 (Duration.seconds 30L)
                  |> passes 'b' 10_000 (Duration.seconds 30L)
                  |> ignore)

          testCase "and another one connect without any check" (fun () ->
              let world =
                  World.create (weather 0.1) 6L
                  |> becomes 'a' lite 106L
                  |> becomes 'b' lite 206L
                  |> talks 'a'

              Expect.equal (asked 'a' world + asked 'b' world) 0L "none"

              let world = World.pass (Duration.seconds 120L) world
              Expect.equal (World.connection 'a' world) PeerConnectionState.Connected "and stay so") ]

let private kindsOf (kinds: CandidateKinds) =
    configOf [| "stun:stun.example.org"; turnUrl |] "secret" IceTransportPolicy.All
    |> scoped (fun scope -> { scope with Candidates = kinds })

let private filters =
    testList
        "what is gathered"
        [ for kinds in
              [ CandidateKinds.All
                CandidateKinds.Host ||| CandidateKinds.PeerReflexive
                CandidateKinds.ServerReflexive ||| CandidateKinds.PeerReflexive
                CandidateKinds.Relayed
                CandidateKinds.Host ||| CandidateKinds.Relayed ] do
              testCase $"is {kinds}, and nothing else is told" (fun () ->
                  let world =
                      World.behindNats FullCone FullCone Weather.fair 11L
                      |> equipped (kindsOf kinds) good 11L
                      |> talks 'a'

                  // Every server has answered or been given up.
                  let world = World.pass (Duration.seconds 20L) world
                  let told = candidates 'a' world |> List.filter (fun c -> c.Port <> 9us)
                  Expect.isNonEmpty told "something"

                  for candidate in told do
                      Expect.isTrue (IceScope.has candidate.Type kinds) $"{candidate.Type}"

                  for kind in [ CandidateType.Host; CandidateType.ServerReflexive; CandidateType.Relayed ] do
                      if IceScope.has kind kinds then
                          Expect.isTrue (told |> List.exists (fun c -> c.Type = kind)) $"all that it may: {kind}")

          testCase
              "peers are not where they are denied, whatever they say and wherever their checks come from"
              (fun () ->
                  let home = (Prefix.parse "198.51.100.0/24").Value

                  for change in
                      [ fun scope ->
                            { scope with
                                DeniedRemotes = [| home |] }
                        fun scope ->
                            { scope with
                                AllowedRemotes = [| (Prefix.parse "203.0.113.0/24").Value |] } ] do
                      let world =
                          World.create Weather.fair 12L
                          |> World.change 'b' (fun e ->
                              { e with
                                  Interfaces = [ address "198.51.100.9" ] })
                          |> becomes 'a' (scoped change World.config) 112L

                      let world, _ = World.create' 'a' (World.channel "chat") world
                      let world = World.negotiate 'a' world
                      let world, connected = World.run (Duration.seconds 30L) isConnected world
                      Expect.isFalse connected "never"
                      Expect.equal (asked 'a' world) 0L "nothing is sent there")

          testCase "a peer that may only be at a relay is reached there" (fun () ->
              let change (scope: IceScope) =
                  { scope with
                      AllowedRemotes = [| (Prefix.parse "203.0.113.0/24").Value |] }

              let world =
                  World.behindNats FullCone FullCone Weather.fair 13L
                  |> equipped (scoped change good) good 13L
                  |> talks 'a'

              Expect.isTrue (isRelayed 'a' world) "relayed") ]

let private pooled (config: PeerConfig) : PeerConfig =
    { config with
        Configuration =
            { config.Configuration with
                IceCandidatePoolSize = 3 } }

let private gatheringStates (who: char) (world: World) =
    List.rev world.Ends[who].Events
    |> List.choose (function
        | IceGatheringStateChanged state -> Some state
        | _ -> None)

let private pool =
    testList
        "candidates that are gathered ahead"
        [ testCase "are there when the description is set, and not heard of before" (fun () ->
              let world =
                  World.behindNats FullCone FullCone Weather.fair 21L
                  |> equipped (pooled good) good 21L
                  |> World.pass (Duration.seconds 20L)

              Expect.equal world.Ends['a'].Ports.Count 1 "a socket"
              Expect.isEmpty world.Ends['b'].Ports "none without"
              Expect.isEmpty (candidates 'a' world) "nothing is told"
              Expect.isEmpty (gatheringStates 'a' world) "of no state either"
              let world, _ = World.create' 'a' (World.channel "chat") world

              let world, offer =
                  match World.demand 'a' (fun c -> CreateOffer(c, false)) world with
                  | world, Created offer -> world, offer
                  | _ -> failtest "no offer"

              let world, _ =
                  World.demand 'a' (fun c -> SetLocalDescription(c, ValueSome offer)) world

              let kinds = candidates 'a' world |> List.map _.Type |> List.distinct

              Expect.containsAll
                  kinds
                  [ CandidateType.Host; CandidateType.ServerReflexive; CandidateType.Relayed ]
                  "at once"

              Expect.equal
                  (gatheringStates 'a' world)
                  [ IceGatheringState.Gathering; IceGatheringState.Complete ]
                  "in turn"

              for candidate in candidates 'a' world do
                  Expect.exists
                      candidate.Extensions
                      (fun (struct (name, _)) -> name = "ufrag")
                      "of the description's generation")

          testCase "serve the connection" (fun () ->
              for seed in 1L .. 3L do
                  World.behindNats PortRestrictedCone PortRestrictedCone (weather 0.1) seed
                  |> equipped (pooled good) (pooled good) seed
                  |> World.pass (Duration.seconds 3L)
                  |> talks 'a'
                  |> ignore)

          testCase
              "are gathered anew where the servers change before, and not at all where the pool is emptied"
              (fun () ->
                  let world =
                      World.behindNats FullCone FullCone Weather.fair 22L
                      |> equipped (pooled poor) good 22L
                      |> World.pass (Duration.seconds 5L)

                  let before = world.Ends['a'].Ports
                  let changed = (pooled good).Configuration
                  let world, _ = World.demand 'a' (fun c -> SetConfiguration(c, changed)) world
                  let world = World.pass (Duration.seconds 5L) world
                  Expect.equal world.Ends['a'].Ports.Count 1 "one socket"
                  Expect.isFalse (world.Ends['a'].Ports = before) "another one"
                  let world = talks 'a' world
                  Expect.isTrue (candidates 'a' world |> List.exists _.Type.IsRelayed) "of the new servers"

                  let world =
                      World.behindNats FullCone FullCone Weather.fair 23L
                      |> equipped (pooled good) good 23L
                      |> World.pass (Duration.seconds 5L)

                  let world, _ =
                      World.demand 'a' (fun c -> SetConfiguration(c, good.Configuration)) world

                  // The allocation is given back by it first.
                  let world = World.pass (Duration.seconds 1L) world
                  Expect.isEmpty world.Ends['a'].Ports "none is left"
                  talks 'a' world |> ignore) ]

let tests = testList "How much of ICE" [ liteAgents; filters; pool ]
