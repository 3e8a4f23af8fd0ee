/// Path MTU discovery of whole peers: ICE, DTLS and all.
module Hybrid.WebRtc.PropertyTests.PathTests

open System
open Expecto
open Hybrid.WebRtc.Core

let private opened (weather: Weather) (seed: int64) =
    let world = World.create weather seed
    let world, handle = World.create' 'a' (World.channel "bulk") world
    let world = World.negotiate 'a' world

    let world, ready =
        World.run (Duration.seconds 60L) (fun w -> World.openChannels 'b' w <> []) world

    Expect.isTrue ready "open"
    world, handle

/// `count` messages of 20,000 octets, the first octet their number.
let private transfer handle first count (world: World) =
    (world, [ first .. first + count - 1 ])
    ||> List.fold (fun world i ->
        World.tell 'a' (Send(handle, false, ReadOnlyMemory(Array.create 20_000 (byte i)))) world)

let private arrived count limit world =
    let world, all = World.run limit (fun w -> w.Ends['b'].MessageCount >= count) world

    Expect.isTrue all "all arrives"

    Expect.equal
        [ for struct (_, _, payload) in World.messages 'b' world -> int payload[0] ]
        [ 0 .. count - 1 ]
        "once each, in order"

    world

let private mtu world =
    match World.demand 'a' GetStats world with
    | world, Stats statistics -> world, statistics.Association.Value.Mtu
    | _ -> failtest "no statistics"

let tests =
    testList
        "Peer path MTU"
        [ for carries, found in [ 1472, 1472; 1280, 1280; 1200, 1200 ] do
              testCase $"a path of {carries}: the statistics say so" (fun () ->
                  let world, handle = opened { Weather.fair with Mtu = carries } 1L

                  let world =
                      world
                      |> transfer handle 0 50
                      |> arrived 50 (Duration.seconds 20L)
                      |> World.pass (Duration.seconds 5L)

                  let _, mtu = mtu world
                  Expect.equal mtu (SctpConfig.packetIn found) "mtu")

          for shrunk in [ 1280; 1200; 700 ] do
              testCase $"a path that shrinks to {shrunk} under way loses nothing" (fun () ->
                  let weather = { Weather.fair with Mtu = 1472 }
                  let world, handle = opened weather 2L

                  let world =
                      world
                      |> transfer handle 0 50
                      |> World.pass (Duration.milliseconds 200L)
                      |> World.under { weather with Mtu = shrunk }
                      |> transfer handle 50 50
                      |> arrived 100 (Duration.seconds 300L)

                  let _, mtu = mtu world
                  Expect.isLessThanOrEqual mtu (SctpConfig.packetIn (max 1200 shrunk)) "mtu")

          testCase "another path is found out anew; the same one after an ICE restart is not" (fun () ->
              let path world =
                  match World.demand 'a' GetStats world with
                  | world, Stats statistics -> world, statistics.Ice.SelectedPair.Value.Path
                  | _ -> failtest "no statistics"

              let restarted world =
                  let world, _ = World.demand 'a' RestartIce world
                  world |> World.negotiate 'a' |> World.pass (Duration.seconds 10L)

              let world, handle = opened { Weather.fair with Mtu = 1472 } 3L

              let world =
                  world
                  |> transfer handle 0 50
                  |> arrived 50 (Duration.seconds 20L)
                  |> World.pass (Duration.seconds 5L)

              let world, before = path world
              let world, found = mtu world
              Expect.equal found (SctpConfig.packetIn 1472) "found"
              let world, same = path (restarted world)
              Expect.equal same before "the same way"
              let world, kept = mtu world
              Expect.equal kept found "and what is known of it"
              // The interface goes.
              let world, other =
                  world |> World.tell 'a' (PortClosed before.Local) |> restarted |> path

              Expect.notEqual other before "another way"
              let world, anew = mtu world
              Expect.equal anew (SctpConfig.packetIn 1200) "nothing is known of it"

              let world =
                  world
                  |> transfer handle 50 50
                  |> arrived 100 (Duration.seconds 20L)
                  |> World.pass (Duration.seconds 5L)

              let _, again = mtu world
              Expect.equal again (SctpConfig.packetIn 1472) "found again") ]
