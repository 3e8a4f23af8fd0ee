/// Whole peers whose addresses vanish and appear in the middle of things.
module Hybrid.WebRtc.PropertyTests.MobilityTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Media

let private mobile (mobility: MobilityOptions -> MobilityOptions) (config: PeerConfig) : PeerConfig =
    { config with
        Options =
            { config.Options with
                Mobility = mobility config.Options.Mobility } }

let private continual = mobile (fun m -> { m with ContinualGathering = true })

let private without who (address: Address -> bool) (world: World) =
    World.change
        who
        (fun e ->
            { e with
                Interfaces = List.filter (address >> not) e.Interfaces })
        world

let private connected (world: World) =
    World.connection 'a' world = PeerConnectionState.Connected
    && World.connection 'b' world = PeerConnectionState.Connected

let private other who = if who = 'a' then 'b' else 'a'

/// Connected, with an open channel, and `idle` later.
let private opened (idle: Duration) (world: World) : World * Map<char, ChannelHandle> =
    let world, handle = World.create' 'a' (World.channel "moving") world
    let world = World.negotiate 'a' world

    let world, ready =
        World.run (Duration.seconds 5L) (fun w -> connected w && World.openChannels 'b' w <> []) world

    Expect.isTrue ready "open within 5 s"
    World.pass idle world, Map.ofList [ 'a', handle; 'b', List.head (World.openChannels 'b' world) ]

/// `sender` sends messages, one each 5 ms, numbered from `first` up to before `last`, until all have come or nothing has for `limit`.
/// Answers the longest time that nothing came.
let private flow
    sender
    (channels: Map<char, ChannelHandle>)
    first
    last
    (limit: Duration)
    (world: World)
    : World * Duration =
    let receiver = other sender

    let send i world =
        let payload = Array.append (BitConverter.GetBytes(i: int)) (Array.zeroCreate 3_000)
        World.tell sender (Send(channels[sender], false, ReadOnlyMemory payload)) world

    let rec go (world: World) next had since longest =
        if had = last then
            world, longest
        elif world.Now - since > limit then
            failtestf "%d of %d messages, and nothing for %d ms" had last ((world.Now - since) / 1000L<us>)
        else
            let world, next =
                if next < last then
                    send next world, next + 1
                else
                    world, next

            let world = World.pass (Duration.milliseconds 5L) world
            let have = world.Ends[receiver].MessageCount

            if have > had then
                go world next have world.Now (max longest (world.Now - since))
            else
                go world next had since longest

    go world first world.Ends[receiver].MessageCount world.Now 0L<us>

let private expectAll who count (world: World) =
    let numbers =
        World.messages who world
        |> List.map (fun (struct (_, _, payload)) -> BitConverter.ToInt32(payload, 0))

    Expect.equal numbers [ 0 .. count - 1 ] "once each, in order"

/// What a check round takes, and an RTO beside: RFC 8445 §14.3.
let private round = Duration.milliseconds 1_000L

let private candidates who (world: World) =
    world.Ends[who].Events
    |> List.choose (function
        | IceCandidate(ValueSome told) -> Some told.Candidate
        | _ -> None)
    |> List.rev

let private description who (world: World) =
    world.Ends[who].Events
    |> List.pick (function
        | DescriptionsChanged d -> d.CurrentLocal |> ValueOption.map _.Sdp |> ValueOption.toOption
        | _ -> None)

let private states who (world: World) =
    world.Ends[who].Events
    |> List.choose (function
        | IceConnectionStateChanged state -> Some state
        | _ -> None)

let private isV4 (address: Address) = address.IsV4

let private fresh n = (Address.parse $"192.0.2.{n}").Value

let private renominating (wanted: bool) =
    mobile (fun m -> { m with Renomination = wanted })

/// One end with other options than the other.
let private differing who (config: PeerConfig) (seed: int64) (world: World) =
    World.change
        who
        (fun e ->
            { e with
                Peer = World.peerOf config seed })
        world

let private restarting (policy: IceRestartPolicy) =
    mobile (fun m -> { m with Restart = policy })

/// How often an end was told to negotiate.
let private needed who (world: World) =
    world.Ends[who].Events |> List.filter _.IsNegotiationNeeded |> List.length

let private renomination =
    testList
        "renomination"
        [ testCase
              "descriptions say that we renominate, and where one end does not, the answer does not either"
              (fun () ->
                  let option (who: char) world =
                      (description who world).Split "\r\n"
                      |> Array.find (fun line -> line.StartsWith "a=ice-options:")

                  let world, _ = World.create Weather.fair 1L |> opened (Duration.seconds 1L)
                  Expect.equal (option 'a' world) "a=ice-options:trickle ice2 renomination" "offer"
                  Expect.equal (option 'b' world) "a=ice-options:trickle ice2 renomination" "answer"

                  let world, _ =
                      World.createOf (renominating false World.config) Weather.fair 1L
                      |> differing 'b' World.config 7L
                      |> opened (Duration.seconds 1L)

                  Expect.equal (option 'b' world) "a=ice-options:trickle ice2" "answer to one who does not")

          testCase
              "where both can, the controlled end follows within a round trip; where one cannot, within a check round"
              (fun () ->
                  for agreed in [ true; false ] do
                      for seed in 1L .. 3L do
                          let world, channels =
                              World.create Weather.fair seed
                              |> (if agreed then
                                      id
                                  else
                                      differing 'b' (renominating false World.config) seed)
                              |> opened (Duration.milliseconds 500L)

                          let world, _ = flow 'b' channels 0 50 (Duration.seconds 1L) world
                          let world = Routes.unplugged 'a' world
                          let world, gap = flow 'b' channels 50 200 (Duration.seconds 20L) world
                          expectAll 'a' 200 world
                          let most = if agreed then Duration.milliseconds 150L else round
                          Expect.isLessThanOrEqual gap most $"stalled for {gap / 1000L<us>} ms, agreed {agreed}")

          testCase
              "a connection that began over TCP moves to UDP when that opens, where both ends renominate"
              (fun () ->
                  for wanted in [ true; false ] do
                      let world, _ =
                          World.createOf (renominating wanted World.config) { Weather.fair with Loss = 1.0 } 1L
                          |> World.change 'b' (fun e -> { e with Listens = true })
                          |> opened (Duration.seconds 3L)

                      let isTcp world =
                          (Routes.path 'a' world).Value.Local < 0<port>

                      Expect.isTrue (isTcp world) "TCP"
                      let world = world |> World.under Weather.fair |> World.pass (Duration.seconds 10L)
                      Expect.equal (isTcp world) (not wanted) $"afterwards, renomination {wanted}"
                      Expect.isTrue (connected world) "connected")

          testCase
              "the interface that is preferred comes back, and the connection with it, once; without renomination it stays"
              (fun () ->
                  for wanted in [ true; false ] do
                      let world, channels =
                          World.createOf (World.config |> continual |> renominating wanted) Weather.fair 1L
                          |> opened (Duration.seconds 1L)

                      let world = Routes.unplugged 'a' world |> World.pass (Duration.seconds 30L)
                      let meanwhile = Routes.path 'a' world
                      let world = Routes.pluggedAs 101 'a' (fresh 50) world

                      let world, gap = flow 'a' channels 0 1_000 (Duration.seconds 1L) world
                      Expect.isLessThanOrEqual gap (Duration.milliseconds 100L) "nobody notices"
                      let after = Routes.path 'a' world
                      Expect.equal (after <> meanwhile) wanted $"moved, renomination {wanted}"
                      let world = World.pass (Duration.seconds 60L) world
                      Expect.equal (Routes.path 'a' world) after "and there it stays") ]

let private restarts =
    testList
        "ICE restart by policy"
        [ for policy in
              [ IceRestartPolicy.Never
                IceRestartPolicy.OnFailed
                IceRestartPolicy.OnDisconnected ] do
              testCase $"{policy}: negotiation is needed when the options say so, and leads on" (fun () ->
                  let world, channels =
                      World.createOf (restarting policy World.config) Weather.fair 1L
                      |> without 'a' (isV4 >> not)
                      |> opened (Duration.seconds 2L)

                  let before = needed 'a' world
                  let world = Routes.unplugged 'a' world

                  Expect.equal
                      (needed 'a' world - before)
                      (if policy = IceRestartPolicy.OnDisconnected then 1 else 0)
                      "disconnected"

                  let world = World.pass (Duration.seconds 40L) world

                  Expect.equal
                      (needed 'a' world - before)
                      (if policy = IceRestartPolicy.Never then 0 else 1)
                      "failed, too: once"

                  if policy <> IceRestartPolicy.Never then
                      // Its new interface is what the restart gathers from.
                      let world =
                          World.change 'a' (fun e -> { e with Interfaces = [ fresh 60 ] }) world
                          |> Routes.renegotiated id

                      let world, ready = World.run (Duration.seconds 5L) connected world
                      Expect.isTrue ready "connected again"
                      let world, _ = flow 'a' channels 0 20 (Duration.seconds 5L) world
                      expectAll 'b' 20 world) ]

let tests =
    testList
        "Networks that change"
        [ for idle in [ 1L; 100L ] do
              for gone in [ 'a'; 'b' ] do
                  for sender in [ 'a'; 'b' ] do
                      testCase
                          $"{idle} s into a connection the address of {gone} vanishes while {sender} sends: nothing reliable is lost, and it stalls no longer than a check round and an RTO"
                          (fun () ->
                              for seed in 1L .. 3L do
                                  let world, channels =
                                      World.create Weather.fair seed |> opened (Duration.seconds idle)

                                  let world, _ = flow sender channels 0 100 (Duration.seconds 1L) world
                                  let before = Routes.path gone world
                                  let world = Routes.unplugged gone world
                                  let world, gap = flow sender channels 100 400 (Duration.seconds 20L) world
                                  expectAll (other sender) 400 world
                                  Expect.notEqual (Routes.path gone world) before "by another path"

                                  Expect.isLessThanOrEqual gap round $"stalled for {gap / 1000L<us>} ms, seed {seed}"

                                  Expect.isTrue (connected world) "never anything but connected")

          for gone in [ 'a'; 'b' ] do
              testCase
                  $"media goes on where the address of {gone} vanishes: its largest gap is a check round and an RTO"
                  (fun () ->
                      for seed in 1L .. 2L do
                          let struct (camera, world) =
                              World.createOf (Callers.config Callers.TransportWide) Weather.fair seed
                              |> Callers.call 'a' seed 100

                          let story =
                              Callers.until
                                  20.0
                                  { World = world
                                    Cameras = [ { camera with Cap = 1e6 } ] }

                          let before = Routes.path gone story.World

                          let story =
                              Callers.until
                                  30.0
                                  { story with
                                      World = Routes.unplugged gone story.World }

                          Expect.notEqual (Routes.path gone story.World) before "by another path"

                          let times =
                              story.World.Ends['b'].Rtp
                              |> List.map (fun (struct (at, _, _, _)) -> at)
                              |> List.rev

                          let gap =
                              List.pairwise times
                              |> List.filter (fun (from, _) -> from > Callers.seconds 15.0)
                              |> List.map (fun (a, b) -> b - a)
                              |> List.max

                          Expect.isGreaterThan (List.last times) (Callers.seconds 29.9) "to the end"
                          Expect.isLessThanOrEqual gap round $"gap of {gap / 1000L<us>} ms")

          for gone in [ 'a'; 'b' ] do
              for away in [ 1L; 5L; 20L ] do
                  testCase
                      $"the only address of {gone} vanishes, and {away} s later another comes: with continual gathering all goes on, without a restart"
                      (fun () ->
                          for seed in 1L .. 3L do
                              let world, channels =
                                  World.createOf (continual World.config) Weather.fair seed
                                  |> without 'a' (isV4 >> not)
                                  |> without 'b' (isV4 >> not)
                                  |> opened (Duration.seconds 40L)

                              let sender = other gone
                              let told = candidates gone world
                              let world, _ = flow sender channels 0 50 (Duration.seconds 1L) world
                              let world = Routes.unplugged gone world |> World.pass (Duration.seconds away)
                              let world = Routes.plugged gone (fresh 77) world
                              let world, gap = flow sender channels 50 200 (Duration.seconds 20L) world
                              expectAll gone 200 world
                              Expect.isLessThanOrEqual gap round $"from when it has come, {gap / 1000L<us>} ms"
                              let world = World.pass (Duration.seconds 5L) world
                              Expect.isTrue (connected world) "connected"

                              Expect.isFalse
                                  (List.contains IceTransportState.Failed (states 'a' world @ states 'b' world))
                                  "never failed"

                              let added = candidates gone world |> List.skip told.Length
                              Expect.isNonEmpty added "told"

                              for candidate in added do
                                  Expect.equal
                                      candidate.UsernameFragment
                                      told.Head.UsernameFragment
                                      "in the same generation")

          testCase
              "without continual gathering a connection without addresses is disconnected at once, and failed when consent would be over"
              (fun () ->
                  let world, _ =
                      World.create Weather.fair 1L
                      |> without 'a' (isV4 >> not)
                      |> opened (Duration.seconds 20L)

                  let world = Routes.unplugged 'a' world
                  Expect.equal (List.head (states 'a' world)) IceTransportState.Disconnected "at once"
                  let world = World.pass (Duration.seconds 20L) world
                  Expect.equal (List.head (states 'a' world)) IceTransportState.Disconnected "it may come back"
                  let world = World.pass (Duration.seconds 11L) world
                  Expect.equal (List.head (states 'a' world)) IceTransportState.Failed "30 s")

          testCase
              "continual gathering has no end of candidates, RFC 8838 §13; and descriptions tell of addresses that are there"
              (fun () ->
                  let world, _ =
                      World.createOf (continual World.config) Weather.fair 1L
                      |> opened (Duration.seconds 20L)

                  let isEnd =
                      function
                      | IceCandidate ValueNone
                      | IceGatheringStateChanged IceGatheringState.Complete -> true
                      | IceCandidate(ValueSome told) -> told.Candidate.Candidate = ""
                      | _ -> false

                  Expect.isFalse (List.exists isEnd world.Ends['a'].Events) "no end"
                  Expect.isFalse ((description 'a' world).Contains "end-of-candidates") "nor in the description"
                  Expect.isTrue ((description 'a' world).Contains " 192.0.2.1 ") "it is there"
                  let world = World.change 'a' id world |> Routes.unplugged 'a'

                  let gone =
                      if (description 'a' world).Contains " 192.0.2.1 " then
                          "2001:db8::1"
                      else
                          "192.0.2.1"

                  Expect.isFalse ((description 'a' world).Contains $" {gone} ") "it is not"
                  let world = Routes.plugged 'a' (fresh 9) world
                  Expect.isTrue ((description 'a' world).Contains " 192.0.2.9 ") "the new one is")

          testCase
              "an address that comes and goes a thousand times costs no memory, and the connection lives"
              (fun () ->
                  let world, _ =
                      World.createOf (continual World.config) Weather.fair 1L
                      |> without 'a' (isV4 >> not)
                      |> opened (Duration.seconds 1L)

                  let world =
                      (world, [ 1..1_000 ])
                      ||> List.fold (fun world i ->
                          if (Routes.path 'a' world).IsNone then
                              failtestf "no path before flap %d" i

                          world
                          |> Routes.unplugged 'a'
                          |> World.pass (Duration.milliseconds 200L)
                          |> Routes.plugged 'a' (fresh (1 + i % 200))
                          |> World.run (Duration.seconds 10L) (fun w -> (Routes.path 'a' w).IsSome)
                          |> fst)

                  let world = World.pass (Duration.seconds 8L) world
                  Expect.isTrue (connected world) "it lives"

                  match World.demand 'b' GetStats world, World.demand 'a' GetStats world with
                  | (_, Stats b), (_, Stats a) ->
                      Expect.isLessThanOrEqual b.Ice.RemoteCandidates.Length 100 "what b knows of a"
                      Expect.isLessThanOrEqual a.Ice.LocalCandidates.Length 4 "what a has"
                      Expect.isLessThanOrEqual b.Pairs.Length 100 "pairs"
                  | _ -> failtest "no statistics"

                  Expect.isLessThan (description 'a' world).Length 3_000 "the description")

          renomination
          restarts ]
