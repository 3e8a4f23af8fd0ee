module Hybrid.WebRtc.PropertyTests.PeerTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core

let private connected (world: World) =
    World.connection 'a' world = PeerConnectionState.Connected
    && World.connection 'b' world = PeerConnectionState.Connected

/// `a` offers and has a channel, and time passes until both ends have it open.
let private openedIn (world: World) seed init =
    let world, handle = World.create' 'a' init world
    let world = World.negotiate 'a' world

    let world, ready =
        World.run (Duration.seconds 60L) (fun w -> connected w && World.openChannels 'b' w <> []) world

    if not ready then
        let told =
            world.Ends
            |> Map.toList
            |> List.map (fun (who, e) -> $"{who}: {World.connection who world}, {e.Ignored} ignored")

        failtestf "seed %d: not ready after 60 s: %A" seed told

    world, handle, List.head (World.openChannels 'b' world)

let private opened weather seed init =
    openedIn (World.create weather seed) seed init

let private text (s: string) =
    ReadOnlyMemory(Encoding.UTF8.GetBytes s)

/// Any seed, shrinking to smaller ones.
let private seeds = ArbMap.defaults |> ArbMap.arbitrary<int64>

let private sessions =
    { Laws.config with
        maxTest = max 10 (Laws.config.maxTest / 10) }

let tests =
    testList
        "Peer"
        [ testCase "in fair weather two peers connect and exchange messages both ways" (fun () ->
              let world, a, b = opened Weather.fair 1L (World.channel "chat")

              let world =
                  world
                  |> World.tell 'a' (Send(a, true, text "ping"))
                  |> World.tell 'b' (Send(b, false, text "pong"))

              let world, arrived =
                  World.run
                      (Duration.seconds 5L)
                      (fun w -> World.messages 'a' w <> [] && World.messages 'b' w <> [])
                      world

              Expect.isTrue arrived "both arrived"
              Expect.equal (World.messages 'b' world) [ struct (b, true, "ping"B) ] "at b"
              Expect.equal (World.messages 'a' world) [ struct (a, false, "pong"B) ] "at a")

          testPropertyWithConfig
              sessions
              "any seed, 30% loss, jitter and duplication: ready within 60 s, every message once and in order"
          <| Prop.forAll seeds (fun seed ->
              let world, a, b = opened Weather.foul seed (World.channel "chat")

              let sent =
                  [ for i in 1..50 -> Encoding.UTF8.GetBytes(string i + String('x', 37 * i)) ]

              let world =
                  (world, sent)
                  ||> List.fold (fun w m -> World.tell 'a' (Send(a, false, ReadOnlyMemory m)) w)

              let world, arrived =
                  World.run (Duration.seconds 120L) (fun w -> w.Ends['b'].MessageCount >= sent.Length) world

              Expect.isTrue arrived $"seed {seed}: all arrived"
              let world = World.pass (Duration.seconds 10L) world
              Expect.equal (World.messages 'b' world) [ for m in sent -> struct (b, false, m) ] "once, in order")

          testPropertyWithConfig sessions "any seed: the same story ends in the same outputs, byte for byte"
          <| Prop.forAll seeds (fun seed ->
              let world, _, _ = opened Weather.foul seed (World.channel "chat")
              let again, _, _ = opened Weather.foul seed (World.channel "chat")

              world.Now = again.Now
              && world.Steps = again.Steps
              && world.Story.Length = again.Story.Length)

          testCase "a channel closes from either side, and its stream serves again" (fun () ->
              for closer in [ 'a'; 'b' ] do
                  let world, a, b = opened Weather.fair 3L (World.channel "short")
                  let handle = if closer = 'a' then a else b
                  let world = World.tell closer (CloseChannel handle) world

                  let closed who (w: World) =
                      w.Ends[who].Events
                      |> List.exists (function
                          | ChannelClosed(_, ValueNone) -> true
                          | _ -> false)

                  let _, both =
                      World.run (Duration.seconds 10L) (fun w -> closed 'a' w && closed 'b' w) world

                  Expect.isTrue both $"closed by {closer}")

          testCase "closing one peer ends the other's channels with the association's failure" (fun () ->
              let world, _, _ = opened Weather.fair 4L (World.channel "x")
              let world, _ = World.demand 'a' Close world
              Expect.isTrue world.Ends['a'].HasEnded "a ended"

              let told (w: World) =
                  w.Ends['b'].Events
                  |> List.tryPick (function
                      | ChannelClosed(_, ValueSome fault) -> Some fault.SctpCauseCode
                      | _ -> None)

              let world, closed = World.run (Duration.seconds 5L) (fun w -> (told w).IsSome) world
              Expect.isTrue closed "b's channel closed"
              Expect.equal (told world) (Some(ValueSome 12us)) "User-Initiated Abort")

          testCase "when the network goes away: disconnected after about 5 s, failed after 30, RFC 7675" (fun () ->
              let world, _, _ = opened Weather.fair 5L (World.channel "x")

              let dark = World.under { Weather.fair with Loss = 1.0 } world

              let start = dark.Now
              let state state (w: World) = World.connection 'a' w = state

              let dark, disconnected =
                  World.run (Duration.seconds 20L) (state PeerConnectionState.Disconnected) dark

              Expect.isTrue disconnected "disconnected"
              Expect.isLessThan (dark.Now - start) (Duration.seconds 15L) "soon"

              let dark, failed =
                  World.run (Duration.seconds 60L) (state PeerConnectionState.Failed) dark

              Expect.isTrue failed "failed"
              Expect.isGreaterThan (dark.Now - start) (Duration.seconds 24L) "not before consent expires"
              Expect.isLessThan (dark.Now - start) (Duration.seconds 40L) "consent expires after 30 s")

          testCase "an ICE restart keeps the channel going and changes the credentials" (fun () ->
              let world, a, b = opened Weather.fair 6L (World.channel "x")
              let world, _ = World.demand 'a' RestartIce world
              let world = World.negotiate 'a' world
              let world = World.pass (Duration.seconds 10L) world
              let world = World.tell 'a' (Send(a, true, text "after")) world

              let world, arrived =
                  World.run (Duration.seconds 5L) (fun w -> World.messages 'b' w <> []) world

              Expect.isTrue arrived "arrived"
              Expect.equal (World.messages 'b' world) [ struct (b, true, "after"B) ] "as it was sent"
              Expect.isTrue (connected world) "connected")

          testCase "a peer left alone does not spin: an hour of peace costs few steps" (fun () ->
              let world, _, _ = opened Weather.fair 7L (World.channel "x")
              let later = World.pass (Duration.seconds 3_600L) world
              Expect.isTrue (connected later) "still connected"
              Expect.isLessThan (later.Steps - world.Steps) 30_000 "consent checks and heartbeats only")

          testPropertyWithConfig sessions "any datagrams from anywhere change nothing for the healthy connection"
          <| Prop.forAll seeds (fun seed ->
              let world, a, b = opened Weather.fair seed (World.channel "x")
              let port, _ = world.Ends['b'].Ports |> Map.toSeq |> Seq.head
              let good = world.Ends['a'].Ports |> Map.toSeq |> Seq.head |> snd
              let mutable entropy = Entropy.ofNumber seed
              let mutable attacked = world

              for i in 1..200 do
                  let struct (size, e) = Entropy.below 1_500 entropy
                  let struct (bytes, e) = Entropy.bytes size e
                  let struct (first, e) = Entropy.below 256 e
                  entropy <- e

                  if size > 0 then
                      bytes[0] <- byte first

                  let remote =
                      if i % 2 = 0 then
                          good
                      else
                          { Address = Address.v4 203uy 0uy 113uy 9uy
                            Port = 9us }

                  attacked <- World.tell 'b' (Datagram({ Local = port; Remote = remote }, Memory bytes)) attacked

              let attacked = World.tell 'a' (Send(a, true, text "still here")) attacked

              let attacked, arrived =
                  World.run (Duration.seconds 5L) (fun w -> World.messages 'b' w <> []) attacked

              arrived
              && World.messages 'b' attacked = [ struct (b, true, "still here"B) ]
              && attacked.Ends['b'].Ignored > 0)

          testPropertyWithConfig
              sessions
              "behind any two NATs that let STUN work: ready within 60 s, in foul weather too"
          <| Prop.forAll seeds (fun seed ->
              // Symmetric NATs map each destination anew: only a NAT that does not filter by port lets those in.
              let kinds =
                  [ NatKind.FullCone, NatKind.PortRestrictedCone
                    NatKind.RestrictedCone, NatKind.RestrictedCone
                    NatKind.PortRestrictedCone, NatKind.PortRestrictedCone
                    NatKind.Symmetric, NatKind.FullCone
                    NatKind.RestrictedCone, NatKind.Symmetric ]

              let a, b = kinds[int (uint64 seed % uint64 kinds.Length)]

              let world, handle, _ =
                  openedIn (World.behindNats a b Weather.foul seed) seed (World.channel "x")

              let world = World.tell 'a' (Send(handle, true, text "through")) world

              let _, arrived =
                  World.run (Duration.seconds 60L) (fun w -> World.messages 'b' w <> []) world

              arrived)

          testPropertyWithConfig
              sessions
              "a forger on the path changes nothing: every message once, in order, and each forgery counted"
          <| Prop.forAll seeds (fun seed ->
              // Once connected: a handshake in the clear can be ended by who is on the path, as in every DTLS 1.2.
              let world, a, b = opened Weather.fair seed (World.channel "x")
              let world = World.withForger 0.3 (seed + 1L) world

              let sent =
                  [ for i in 1..40 -> Encoding.UTF8.GetBytes(string i + String('y', 91 * i)) ]

              let world =
                  (world, sent)
                  ||> List.fold (fun w m -> World.tell 'a' (Send(a, false, ReadOnlyMemory m)) w)

              let world, arrived =
                  World.run (Duration.seconds 60L) (fun w -> w.Ends['b'].MessageCount >= sent.Length) world

              let world = World.pass (Duration.seconds 40L) world

              arrived
              && World.messages 'b' world = [ for m in sent -> struct (b, false, m) ]
              && connected world
              && world.Ends['b'].Ignored > 0)

          testCase
              "an answer that arrives after the answerer's checks and its ClientHello costs no retransmission"
              (fun () ->
                  let near = { Weather.fair with Delay = 100L<us> }
                  let world, _ = World.create near 13L |> World.create' 'a' (World.channel "x")
                  let world = World.negotiateWith id (Duration.milliseconds 20L) 'a' world
                  let answered = world.Now

                  let world, opened =
                      World.run (Duration.seconds 5L) (fun w -> World.openChannels 'a' w <> []) world

                  Expect.isTrue opened "open"
                  Expect.isLessThan (world.Now - answered) (Duration.milliseconds 5L) "within a few round trips")

          testCase "a wrong fingerprint ends the connection with a fingerprint-failure, W3C §5.5" (fun () ->
              let wrong (d: Description) =
                  let at = d.Sdp.IndexOf "a=fingerprint:sha-256 " + 22
                  let other = if d.Sdp[at] = '0' then "1" else "0"

                  { d with
                      Sdp = d.Sdp.Remove(at, 1).Insert(at, other) }

              let world, _ =
                  World.create Weather.fair 11L |> World.create' 'a' (World.channel "x")

              let world = World.negotiateWith wrong 0L<us> 'a' world

              let failure (w: World) =
                  w.Ends['b'].Events
                  |> List.tryPick (function
                      | DtlsError fault -> Some fault.Detail
                      | _ -> None)

              let world, failed =
                  World.run (Duration.seconds 20L) (fun w -> (failure w).IsSome) world

              Expect.isTrue failed "b refuses"
              Expect.equal (failure world) (Some ErrorDetail.FingerprintFailure) "for the fingerprint"
              Expect.equal (World.connection 'b' world) PeerConnectionState.Failed "failed")

          testCase "70,000 messages on one stream: serial numbers wrap, nothing is lost or turned around" (fun () ->
              let world, a, _ =
                  opened
                      { Weather.fair with
                          Delay = Duration.milliseconds 1L }
                      12L
                      (World.channel "x")

              let count = 70_000
              let message (i: int) = ReadOnlyMemory(BitConverter.GetBytes i)
              let mutable world = world

              for batch in 0 .. count / 500 - 1 do
                  for i in batch * 500 .. batch * 500 + 499 do
                      world <- World.tell 'a' (Send(a, false, message i)) world

                  let next, arrived =
                      World.run
                          (Duration.seconds 60L)
                          (fun w -> w.Ends['b'].MessageCount >= (batch + 1) * 500)
                          { world with Story = [] }

                  Expect.isTrue arrived $"batch {batch}"
                  world <- next

              World.messages 'b' world
              |> List.iteri (fun i (struct (_, _, m)) ->
                  if BitConverter.ToInt32(m, 0) <> i then
                      failtestf "message %d is number %d" i (BitConverter.ToInt32(m, 0)))) ]
