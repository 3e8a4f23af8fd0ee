/// What a peer makes of the media that it receives, in the simulated internet.
module Hybrid.WebRtc.PropertyTests.Media.ReceivingTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests

let private init (kind: MediaKind) : TransceiverInit =
    { Kind = kind
      Direction = Direction.SendRecv
      Streams = [| "stream" |]
      Encodings = [||]
      Track = ValueSome "track" }

let private isReady (world: World) =
    World.connection 'a' world = PeerConnectionState.Connected
    && World.connection 'b' world = PeerConnectionState.Connected

/// `a` sends to `b`: connected, with the transceiver as `a` was told of it last. `prefer`: its codecs in their order; none: all.
let private openedPreferring
    (prefer: string list)
    (kind: MediaKind)
    (capabilities: MediaCapabilities)
    (weather: Weather)
    (seed: int64)
    : struct (World * TransceiverInfo) =
    let world =
        World.createOf
            { World.config with
                Capabilities = capabilities }
            Weather.fair
            seed

    let world, added = World.demand 'a' (fun c -> AddTransceiver(c, init kind)) world

    let preferred =
        [| for name in prefer do
               yield!
                   Capabilities.codecs kind capabilities
                   |> Array.filter (fun codec -> codec.MimeType = name) |]

    let world =
        match added with
        | Transceiver info when preferred.Length > 0 ->
            World.demand 'a' (fun c -> SetCodecPreferences(c, info.Id, preferred)) world
            |> fst
        | _ -> world

    let world = World.negotiate 'a' world
    let world, ready = World.run (Duration.seconds 30L) isReady world
    Expect.isTrue ready "connected"

    let infos =
        world.Ends['a'].Events
        |> List.pick (function
            | TransceiversChanged infos -> Some infos
            | _ -> None)

    struct (World.under weather world, infos[0])

let private opened kind capabilities weather seed =
    openedPreferring [] kind capabilities weather seed

let private payloadType (mimeType: string) (info: TransceiverInfo) : byte =
    info.SendCodecs
    |> Array.pick (fun (codec: RtpCodecParameters) ->
        if codec.Codec.MimeType = mimeType then
            Some(byte codec.PayloadType)
        else
            None)

let private packet (payloadType: byte) (number: int) (timestamp: int) (marker: bool) (payload: byte[]) : RtpPacket =
    { Marker = marker
      PayloadType = payloadType
      SequenceNumber = uint16 number
      Timestamp = uint32 timestamp
      Ssrc = 0u
      Csrcs = ReadOnlyMemory()
      ExtensionProfile = 0us
      Extensions = ReadOnlyMemory()
      Map = ExtensionMap.Empty
      Payload = ReadOnlyMemory payload
      Padding = 0uy }

let private sendPackets (info: TransceiverInfo) (packets: RtpPacket[]) (world: World) : World =
    World.tell 'a' (SendRtp(info.Id, 0, RtpMappings.identity, ReadOnlyMemory packets)) world

/// So many packets of sound, one each 20 ms.
let private sound (info: TransceiverInfo) (count: int) (world: World) : World =
    let opus = payloadType "audio/opus" info

    (world, [ 0 .. count - 1 ])
    ||> List.fold (fun world i ->
        world
        |> sendPackets info [| packet opus (100 + i) (960 * i) false (Array.create 80 (byte i)) |]
        |> World.pass (Duration.milliseconds 20L))

let private inbound (world: World) : InboundRtpStats =
    match World.demand 'b' GetStats world with
    | _, Stats statistics -> statistics.Media.Inbound[0]
    | _ -> failtest "no statistics"

/// What `b` was told of tones, oldest first.
let private tones (world: World) =
    world.Ends['b'].Events
    |> List.choose (function
        | ToneReceived(_, tone, length) -> Some(struct (tone, length))
        | _ -> None)
    |> List.rev

let private play (info: TransceiverInfo) (text: string) (length: int64) (world: World) : World =
    World.demand
        'a'
        (fun c -> InsertDtmf(c, info.Id, text, Duration.milliseconds length, Duration.milliseconds 70L))
        world
    |> fst

let private dtmf =
    testList
        "DTMF"
        [ testCase "every tone is told when it begins and when it has ended, and sound stays the codec" (fun () ->
              let struct (world, info) =
                  opened MediaKind.Audio Capabilities.defaults Weather.fair 1L

              let world = world |> sound info 10 |> play info "19*#AD" 100L |> sound info 100

              let expected =
                  [ for tone in [ "1"; "9"; "*"; "#"; "A"; "D" ] do
                        struct (tone, ValueNone)
                        struct (tone, ValueSome(Duration.milliseconds 100L)) ]

              Expect.equal (tones world) expected "all, once"

              match (inbound world).Codec with
              | ValueSome codec -> Expect.equal codec.Codec.MimeType "audio/opus" "the codec"
              | ValueNone -> failtest "no codec")

          testCase "at 30 % loss tones are told once, in order, and none stays" (fun () ->
              for seed in 1L .. 5L do
                  let struct (world, info) =
                      opened MediaKind.Audio Capabilities.defaults { Weather.fair with Loss = 0.3 } seed

                  let world = world |> sound info 10 |> play info "0123456789" 200L |> sound info 180

                  let told = tones world

                  let begun =
                      told
                      |> List.choose (fun (struct (tone, length)) -> if length.IsNone then Some tone else None)

                  let ended =
                      told
                      |> List.choose (fun (struct (tone, length)) -> if length.IsSome then Some tone else None)

                  Expect.equal begun (List.distinct begun |> List.sort) "in order, once"
                  Expect.equal ended begun "none stays"
                  Expect.isGreaterThan begun.Length 8 "nearly all")

          testCase "a peer that goes silent within a tone does not leave it sounding" (fun () ->
              let struct (world, info) =
                  opened MediaKind.Audio Capabilities.defaults Weather.fair 3L

              let world =
                  world
                  |> sound info 5
                  |> play info "5" 3_000L
                  |> World.pass (Duration.milliseconds 420L)
                  |> World.under { Weather.fair with Loss = 1.0 }
                  |> World.pass (Duration.seconds 1L)

              match tones world with
              | [ struct ("5", ValueNone); struct ("5", ValueSome length) ] ->
                  Expect.isGreaterThan length (Duration.milliseconds 300L) "as long as is known"
                  Expect.isLessThan length (Duration.milliseconds 500L) "and no longer"
              | other -> failtest $"told %A{other}") ]

let private holding =
    testList
        "Jitter buffer"
        [ testCase
              "a peer delivers packets as they come, says when they are due, and tells how long they waited"
              (fun () ->
                  let struct (world, info) =
                      opened
                          MediaKind.Audio
                          Capabilities.defaults
                          { Weather.fair with
                              Jitter = Duration.milliseconds 30L }
                          1L

                  let id =
                      world.Ends['b'].Events
                      |> List.pick (function
                          | TransceiversChanged infos -> Some infos[0].Id
                          | _ -> None)

                  let world =
                      world
                      |> World.tell 'b' (SetJitterBuffer(id, ValueSome(Duration.milliseconds 200L)))
                      |> sound info 100
                      |> World.pass (Duration.seconds 1L)

                  let events = List.rev world.Ends['b'].Events

                  let dues =
                      events
                      |> List.choose (function
                          | PacketsDue(_, _, upTo) -> Some(int upTo)
                          | _ -> None)

                  Expect.equal dues (List.sort dues) "in order"
                  Expect.equal (List.last dues) 199 "all"
                  Expect.isTrue (List.length dues > 80) "one after the other"
                  let stats = inbound world
                  Expect.equal stats.JitterBufferEmitted 96_000L "all samples"
                  let average = stats.JitterBufferDelay / stats.JitterBufferEmitted

                  Expect.isTrue
                      (average > Duration.milliseconds 160L && average < Duration.milliseconds 240L)
                      $"held for {average}"

                  let world = World.tell 'b' (SetJitterBuffer(id, ValueNone)) world

                  match world.Ends['b'].Events with
                  | JitterBufferChanged(_, false) :: _ -> ()
                  | _ -> failtest "it holds no more") ]

let private redundancy =
    testList
        "RED"
        [ testCase "at 10 % loss 98 % of sound arrive, in order as far as they can, each packet once" (fun () ->
              let struct (world, info) =
                  openedPreferring
                      [ "audio/red"; "audio/opus" ]
                      MediaKind.Audio
                      Capabilities.defaults
                      { Weather.fair with Loss = 0.1 }
                      1L

              let world = sound info 500 world |> World.pass (Duration.seconds 1L)
              let opus = payloadType "audio/opus" info

              let numbers =
                  List.rev world.Ends['b'].Rtp
                  |> List.map (fun (struct (_, _, _, packet)) ->
                      Expect.equal packet.PayloadType opus "as sound"
                      int packet.SequenceNumber)

              let late = List.pairwise numbers |> List.filter (fun (a, b) -> b <= a)
              // One that is lost with what repeats it, as five in 500 are on average, comes late, if at all: by NACK.
              Expect.isLessThan late.Length 13 "in order, but for what was sent again"
              Expect.equal numbers.Length (List.distinct numbers).Length "once"
              Expect.isGreaterThan numbers.Length 485 "nearly all"
              let stats = inbound world
              Expect.isGreaterThan stats.PacketsLost 30L "of which many were lost"
              Expect.isGreaterThan (stats.FecPacketsReceived - stats.FecPacketsDiscarded) 30L "and brought back") ]

let tests = testList "Receiving media" [ dtmf; holding; redundancy ]
