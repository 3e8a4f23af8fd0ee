/// What happens to media when the section that the transport belonged to is over: it goes on with the next of its BUNDLE group,
/// RFC 9143 §7.5.2.
module Hybrid.WebRtc.PropertyTests.Media.SectionEndTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.PeersTests

/// As browsers write it, who say nothing of associations.
let private silent (description: Description) : Description =
    { description with
        Sdp =
            String.Join(
                "\r\n",
                description.Sdp.Split("\r\n")
                |> Array.filter (fun line -> not (line.StartsWith("a=tls-id", StringComparison.Ordinal)))
            ) }

let private firstOf (who: char) (world: World) : TransceiverInfo = Array.head (transceivers who world)

/// Two pictures of `a`'s, in the first two sections, and data in the third; `offerer` began.
let private two (change: Description -> Description) (offerer: char) (seed: int64) =
    let world = World.createOf (config Capabilities.defaults) Weather.fair seed

    let add world =
        match World.demand 'a' (fun c -> AddTransceiver(c, init)) world with
        | world, Transceiver info -> world, info.Id
        | _ -> failtest "no transceiver"

    let receiving =
        { init with
            Direction = Direction.RecvOnly
            Track = ValueNone
            Streams = [||] }

    let world, first, second =
        if offerer = 'a' then
            let world, first = add world
            let world, second = add world
            world, first, second
        else
            let world =
                (world, [ 1..2 ])
                ||> List.fold (fun world _ -> World.demand 'b' (fun c -> AddTransceiver(c, receiving)) world |> fst)

            let track (id: string) world =
                match World.demand 'a' (fun c -> AddTrack(c, MediaKind.Video, id, [| "stream" |])) world with
                | world, Transceiver info -> world, info.Id
                | _ -> failtest "no transceiver"

            let world, first = track "first" world
            let world, second = track "second" world
            world, first, second

    let world, channel = World.create' offerer (World.channel "data") world
    let world = World.negotiateWith change 0L<us> offerer world
    let world, ready = World.run (Duration.seconds 30L) isReady world
    Expect.isTrue ready "connected"
    let codec: RtpCodecParameters = (firstOf 'a' world).SendCodecs[0]
    struct (world |> World.pass (Duration.seconds 1L), first, second, byte codec.PayloadType, channel)

let private forget (world: World) =
    ([ 'a'; 'b' ], world)
    ||> List.foldBack (fun who ->
        World.change who (fun e ->
            { e with
                Rtp = []
                Events = []
                Messages = [] }))

let private handshakes (who: char) (world: World) =
    world.Ends[who].Events
    |> List.filter (function
        | DtlsTransportChanged info -> info.State = DtlsTransportState.Connecting
        | _ -> false)
    |> List.length

/// The second picture and data arrive.
let private flows second payloadType (sender: char) channel (world: World) =
    let world =
        send second payloadType 30 world
        |> World.tell sender (Send(channel, true, ReadOnlyMemory [| 104uy; 105uy |]))
        |> World.pass (Duration.seconds 2L)

    Expect.equal (received world).Length 150 "the second picture"
    let other = if sender = 'a' then 'b' else 'a'
    Expect.equal (World.messages other world).Length 1 "data"
    world

let private goesOn change offerer (stopper: char) () =
    let struct (world, _, second, payloadType, channel) = two change offerer 31L

    let world =
        World.demand stopper (fun c -> StopTransceiver(c, (firstOf stopper world).Id)) (forget world)
        |> fst
        |> World.negotiateWith change 0L<us> stopper

    let live =
        transceivers 'a' world |> Array.filter (fun t -> t.CurrentDirection.IsSome)

    Expect.equal live.Length 1 "one is left"

    let world =
        flows second payloadType offerer channel (World.pass (Duration.seconds 5L) world)

    Expect.equal (handshakes 'a' world + handshakes 'b' world) 0 "by the same association"
    Expect.equal (World.connection 'a' (world)) PeerConnectionState.New "no change was told"

let tests =
    testList
        "A transport whose section is over"
        [ testCase "goes on with the next section: we stop the first" (goesOn id 'a' 'a')
          testCase "goes on with the next section: the peer stops the first" (goesOn id 'a' 'b')
          testCase "goes on where the peer says nothing of associations: we stop the first" (goesOn silent 'b' 'a')
          testCase "goes on where the peer says nothing of associations: the peer does" (goesOn silent 'b' 'b')

          testCase
              "a peer that says nothing of associations and comes by another path then has made a new one, as Chromium does"
              (fun () ->
                  for offerer, stopper in [ 'a', 'b'; 'b', 'b'; 'a', 'a' ] do
                      let struct (world, _, second, payloadType, channel) = two silent offerer 32L

                      let world =
                          World.demand stopper (fun c -> StopTransceiver(c, (firstOf stopper world).Id)) (forget world)
                          |> fst
                          |> World.negotiateWith silent 0L<us> stopper
                          |> Routes.unplugged 'a'

                      let world, ready = World.run (Duration.seconds 30L) isReady world
                      Expect.isTrue ready "connected anew"
                      Expect.equal (handshakes 'a' world) 1 "one handshake"
                      Expect.equal (handshakes 'b' world) 1 "of both"
                      let world = World.pass (Duration.seconds 2L) world

                      flows second payloadType offerer channel (forget world) |> ignore)

          testCase "a minute later, or after an ICE restart, another path is what it always was" (fun () ->
              for wait, restarts in [ 60L, false; 1L, true ] do
                  let struct (world, _, second, payloadType, channel) = two silent 'a' 35L

                  let world =
                      World.demand 'a' (fun c -> StopTransceiver(c, (firstOf 'a' world).Id)) world
                      |> fst
                      |> World.negotiateWith silent 0L<us> 'a'
                      |> World.pass (Duration.seconds wait)
                      |> forget

                  let restarted world =
                      Routes.restarted silent world |> World.pass (Duration.seconds 1L)

                  let world =
                      (if restarts then restarted world else world)
                      |> Routes.unplugged 'a'
                      |> restarted

                  let world =
                      flows second payloadType 'a' channel (World.pass (Duration.seconds 10L) world)

                  Expect.equal (handshakes 'a' world + handshakes 'b' world) 0 "the same association")

          testCase "without the end of a section another path changes nothing" (fun () ->
              let struct (world, _, second, payloadType, channel) = two silent 'a' 33L
              let world = Routes.unplugged 'a' world |> World.pass (Duration.seconds 10L)

              let world = flows second payloadType 'a' channel (forget world)
              Expect.equal (handshakes 'a' world) 0 "none")

          testCase "roles are turned round by a new association only" (fun () ->
              // `b` began: `a` is the DTLS client.
              let struct (world, _, _, _, _) = two silent 'b' 34L

              let turned (description: Description) =
                  if description.Type = SdpType.Answer then
                      silent
                          { description with
                              Sdp = description.Sdp.Replace("a=setup:passive", "a=setup:active") }
                  else
                      silent description

              let tried () =
                  try
                      Ok(World.negotiateWith turned 0L<us> 'a' world)
                  with Failure message ->
                      Error message

              match tried () with
              | Error message -> Expect.stringContains message "turns the role" "refused"
              | Ok _ -> failtest "taken"

              let world =
                  World.demand 'a' (fun c -> StopTransceiver(c, (firstOf 'a' world).Id)) (forget world)
                  |> fst
                  |> World.negotiateWith turned 0L<us> 'a'

              Expect.equal (handshakes 'a' world) 1 "a new association") ]
