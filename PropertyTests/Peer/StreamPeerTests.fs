/// Whole peers over TCP, in the simulated internet: ICE, DTLS, SCTP and all.
module Hybrid.WebRtc.PropertyTests.StreamPeerTests

open System
open Expecto
open Hybrid.WebRtc.Core

let private blocked = { Weather.fair with Loss = 1.0 }

let private listening who world =
    World.change who (fun e -> { e with Listens = true }) world

let private connected (world: World) =
    World.connection 'a' world = PeerConnectionState.Connected
    && World.connection 'b' world = PeerConnectionState.Connected

// What is nominated waits a second for something better.
let private selected who (world: World) =
    match world |> World.pass (Duration.seconds 2L) |> World.demand who GetStats with
    | world, Stats statistics -> world, statistics.Ice.SelectedPair
    | _ -> failtest "no statistics"

let private expectTcp who world =
    match selected who world with
    | world, ValueSome pair ->
        Expect.isTrue pair.Local.Transport.IsTcp "ours is of TCP"
        Expect.isTrue pair.Remote.Transport.IsTcp "theirs, too"
        world
    | _ -> failtest "nothing selected"

/// Connected, with an open channel, within 5 s.
let private opened (world: World) =
    let world, handle = World.create' 'a' (World.channel "chat") world
    let world = World.negotiate 'a' world

    let world, ready =
        World.run (Duration.seconds 5L) (fun w -> connected w && World.openChannels 'b' w <> []) world

    Expect.isTrue ready "open within 5 s"
    world, handle

let private transfer handle count size (world: World) =
    let before = world.Ends['b'].MessageCount

    let world =
        (world, [ 0 .. count - 1 ])
        ||> List.fold (fun world i ->
            World.tell 'a' (Send(handle, false, ReadOnlyMemory(Array.create size (byte i)))) world)

    let world, all =
        World.run (Duration.seconds 60L) (fun w -> w.Ends['b'].MessageCount = before + count) world

    Expect.isTrue all "all arrives"

    let arrived =
        World.messages 'b' world
        |> List.skip before
        |> List.map (fun (struct (_, _, payload)) -> int payload[0])

    Expect.equal arrived [ 0 .. count - 1 ] "once each, in order"
    world

let tests =
    testList
        "Peers over TCP"
        [ for who in [ 'a'; 'b' ] do
              testCase $"with UDP blocked, and {who} listening, two peers connect and talk over TCP" (fun () ->
                  for seed in 1L .. 5L do
                      let world, handle = World.create blocked seed |> listening who |> opened
                      world |> expectTcp 'a' |> expectTcp 'b' |> transfer handle 50 20_000 |> ignore)

          testCase "where nobody listens, UDP blocked is no connection" (fun () ->
              let world = World.create blocked 1L |> World.negotiate 'a'
              let world, ready = World.run (Duration.seconds 30L) connected world
              Expect.isFalse ready "how should it"
              ignore world)

          testCase "a peer behind a NAT reaches one that listens on the Internet" (fun () ->
              let world = World.behindNats Symmetric Symmetric blocked 1L
              // The office has an address on the Internet besides.
              let outside: Address = (Address.parse "198.51.100.77").Value

              let world =
                  world
                  |> World.change 'b' (fun e ->
                      { e with
                          Interfaces = outside :: e.Interfaces })
                  |> listening 'b'

              let world, handle = opened world
              world |> expectTcp 'a' |> transfer handle 20 1_000 |> ignore)

          testCase "UDP is preferred where it passes" (fun () ->
              let world, handle =
                  World.create Weather.fair 1L |> listening 'a' |> listening 'b' |> opened

              match selected 'a' world with
              | world, ValueSome pair ->
                  Expect.isTrue pair.Local.Transport.IsUdp "UDP"
                  transfer handle 20 1_000 world |> ignore
              | _ -> failtest "nothing selected")

          testCase "a connection that ends in mid-transfer is made anew, and nothing reliable is lost" (fun () ->
              for seed in 1L .. 5L do
                  let world, handle = World.create blocked seed |> listening 'b' |> opened

                  let world =
                      (world, [ 0..199 ])
                      ||> List.fold (fun world i ->
                          World.tell 'a' (Send(handle, false, ReadOnlyMemory(Array.create 10_000 (byte i)))) world)

                  let world = World.pass (Duration.milliseconds 150L) world
                  Expect.isLessThan world.Ends['b'].MessageCount 200 "in the middle"

                  let world =
                      { world with
                          Tcp = Tcp.cut world.Now world.Tcp }

                  let world, all =
                      World.run (Duration.seconds 30L) (fun w -> w.Ends['b'].MessageCount = 200) world

                  Expect.isTrue all "all arrives"

                  Expect.equal
                      [ for struct (_, _, payload) in World.messages 'b' world -> int payload[0] ]
                      [ for i in 0..199 -> i % 256 ]
                      "once each, in order"

                  expectTcp 'a' world |> ignore)

          testCase "closing closes the stream, and the other side hears of it" (fun () ->
              let world, _ = World.create blocked 1L |> listening 'b' |> opened
              let world, _ = World.demand 'a' Close world
              let world = World.pass (Duration.seconds 1L) world
              Expect.equal (Tcp.count world.Tcp) 0 "none is left"
              let world, _ = World.demand 'b' Close world
              Expect.isTrue world.Ends['b'].HasEnded "ended")

          testCase "the same seed tells the same story over TCP" (fun () ->
              let story () =
                  let world, handle = World.create blocked 9L |> listening 'b' |> opened
                  let world = transfer handle 10 5_000 world
                  world.Now, world.Steps

              Expect.equal (story ()) (story ()) "the same") ]
