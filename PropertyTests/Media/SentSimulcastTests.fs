/// Simulcast that we send: whole peers in the simulated internet.
module Hybrid.WebRtc.PropertyTests.Media.SentSimulcastTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.PeersTests

let private rids = [| "q"; "h"; "f" |]

let private encodings: EncodingParameters[] =
    rids |> Array.map (fun rid -> { Encodings.plain with Rid = rid })

let private simulcast: TransceiverInit = { init with Encodings = encodings }

/// What a description is, with lines added to its first section.
let private withLines (lines: string list) (description: Description) : Description =
    { description with
        Sdp =
            description.Sdp
            + String.Join("", lines |> List.map (fun line -> "a=" + line + "\r\n")) }

let private firstOf (who: char) (world: World) : TransceiverInfo = Array.head (transceivers who world)

let private connected (world: World) : World =
    let world, ready = World.run (Duration.seconds 30L) isReady world
    Expect.isTrue ready "connected"
    world

/// `a` offers three encodings to `b`, who takes them.
let private offering (seed: int64) : struct (World * TransceiverId * byte) =
    let world = World.createOf (config Capabilities.defaults) Weather.fair seed

    match World.demand 'a' (fun c -> AddTransceiver(c, simulcast)) world with
    | world, Transceiver info ->
        let world = World.negotiate 'a' world |> connected
        let codec: RtpCodecParameters = (firstOf 'a' world).SendCodecs[0]
        struct (world, info.Id, byte codec.PayloadType)
    | _ -> failtest "no transceiver"

/// `b` offers to receive three encodings, as an SFU does, and `a` sends them.
let private answering (seed: int64) : struct (World * TransceiverId * byte) =
    let world = World.createOf (config Capabilities.defaults) Weather.fair seed

    let receiving: TransceiverInit =
        { init with
            Direction = Direction.RecvOnly
            Track = ValueNone
            Streams = [||] }

    let world, _ = World.demand 'b' (fun c -> AddTransceiver(c, receiving)) world

    // The answerer has its track before the offer comes.
    let world, _ =
        World.demand 'a' (fun c -> AddTrack(c, MediaKind.Video, "track", [| "stream" |])) world

    let asked (description: Description) =
        if description.Type = SdpType.Offer then
            withLines
                [ for rid in rids do
                      "rid:" + rid + " recv"
                  "simulcast:recv " + String.Join(";", rids) ]
                description
        else
            description

    let world = World.negotiateWith asked 0L<us> 'b' world |> connected
    let info = (firstOf 'a' world)
    struct (world, info.Id, byte info.SendCodecs[0].PayloadType)

/// The index of the encoding is in the third octet of each payload.
let private layerFrame (payloadType: byte) (number: int) (encoding: int) : RtpPacket[] =
    frame payloadType number
    |> Array.map (fun packet ->
        let payload = packet.Payload.ToArray()
        payload[3] <- byte encoding

        { packet with
            SequenceNumber = packet.SequenceNumber + uint16 (10_000 * encoding)
            Payload = ReadOnlyMemory payload })

/// Pictures of all encodings from one number on, thirty a second.
let private sendLayers id payloadType (from: int) (count: int) (world: World) : World =
    (world, [ from .. from + count - 1 ])
    ||> List.fold (fun world number ->
        (world, [ 0 .. rids.Length - 1 ])
        ||> List.fold (fun world encoding ->
            World.tell
                'a'
                (SendRtp(id, encoding, RtpMappings.identity, ReadOnlyMemory(layerFrame payloadType number encoding)))
                world)
        |> World.pass (Duration.milliseconds 33L))

/// What came of a rid, the first one first.
let private came (rid: string) (world: World) : RtpPacket list =
    List.rev world.Ends['b'].Rtp
    |> List.choose (fun (struct (_, _, each, packet)) -> if each = rid then Some packet else None)

let private forget (world: World) : World =
    World.change 'b' (fun e -> { e with Rtp = [] }) world
    |> World.change 'a' (fun e ->
        { e with
            Events = e.Events |> List.filter (fun event -> not event.IsKeyFrameRequested) })

let private numbersOf (packets: RtpPacket list) =
    packets |> List.map _.SequenceNumber |> List.sort

let private isGapless (packets: RtpPacket list) =
    packets
    |> List.pairwise
    |> List.forall (fun (a, b) -> b.SequenceNumber = a.SequenceNumber + 1us)

let private activate id (active: string -> bool) world =
    let encodings =
        (firstOf 'a' world).Encodings
        |> Array.map (fun e -> { e with Active = active e.Rid })

    World.demand 'a' (fun c -> SetParameters(c, id, encodings)) world |> fst

let private keyFramesAsked (world: World) =
    world.Ends['a'].Events
    |> List.choose (function
        | KeyFrameRequested(_, encoding) -> Some encoding
        | _ -> None)
    |> List.rev

/// Every encoding arrives whole, in order and under its rid, with transport-wide numbers that are one series.
let private arrives (start: int64 -> struct (World * TransceiverId * byte)) () =
    let struct (world, id, payloadType) = start 21L

    Expect.equal
        ((firstOf 'a' world).Encodings |> Array.map _.Rid |> Array.toList)
        (Array.toList rids)
        "the sender's encodings"

    let world = sendLayers id payloadType 0 30 world |> World.pass (Duration.seconds 1L)

    for encoding, rid in Array.indexed rids do
        let packets = came rid world
        Expect.equal packets.Length 150 $"all of {rid}"
        Expect.isTrue (isGapless packets) $"{rid} in order"

        for packet in packets do
            Expect.equal packet.Payload.Span[3] (byte encoding) "its own"

    let found =
        world.Ends['b'].Events
        |> List.choose (function
            | SourceFound(_, _, rid) -> Some rid
            | _ -> None)
        |> List.rev

    Expect.equal found (Array.toList rids) "each was found once"

    let transportWide =
        List.rev world.Ends['b'].Rtp
        |> List.map (fun (struct (_, _, _, packet)) ->
            let mutable data = ReadOnlyMemory<byte>.Empty
            Expect.isTrue (packet.TryGetExtension(HeaderExtension.TransportCc, &data)) "stamped"
            Buffers.Binary.BinaryPrimitives.ReadUInt16BigEndian data.Span)

    Expect.equal (List.distinct transportWide).Length 450 "no number is there twice"
    // Probes take some.
    let first, last = List.min transportWide, List.max transportWide
    Expect.isLessThan (int (last - first)) 600 "one series"

    let sent = (media 'a' world).Outbound

    for encoding, rid in Array.indexed rids do
        let stream =
            sent |> Array.find (fun s -> s.Encoding = encoding && s.PacketsSent > 0L)

        Expect.equal stream.Rid rid "statistics name it"
        Expect.equal (stream.PacketsSent - stream.RetransmittedPacketsSent) 150L "and count it"

    Expect.isTrue (media 'a' world).AvailableOutgoingBitrate.IsSome "and the path is measured"

let tests =
    testList
        "Simulcast sent"
        [ testCase "we offer it: every encoding arrives under its rid" (arrives offering)

          testCase "an SFU asks for it: every encoding arrives under its rid" (arrives answering)

          testCase "a peer asks for a key frame of one encoding: that one is asked" (fun () ->
              let struct (world, id, payloadType) = offering 22L
              let world = sendLayers id payloadType 0 5 world |> World.pass (Duration.seconds 1L)
              let receiver = (firstOf 'b' world).Id

              let ssrcs = (firstOf 'a' world).Ssrcs

              let world =
                  (forget world, [ 2; 0; 1 ])
                  ||> List.fold (fun world encoding ->
                      World.tell 'b' (RequestKeyFrame(receiver, ssrcs[encoding])) world
                      |> World.pass (Duration.milliseconds 300L))

              Expect.equal (keyFramesAsked world) [ 2; 0; 1 ] "in order"

              let world =
                  World.tell 'b' (RequestKeyFrame(receiver, 0u)) (forget world)
                  |> World.pass (Duration.milliseconds 300L)

              Expect.equal (List.sort (keyFramesAsked world)) [ 0; 1; 2 ] "all, where none is named")

          testCase
              "an encoding that is not active is not sent; when it is again, it goes on with a key frame and without a gap"
              (fun () ->
                  let struct (world, id, payloadType) = offering 23L
                  let world = sendLayers id payloadType 0 10 world |> World.pass (Duration.seconds 1L)
                  let before = came "f" world |> numbersOf |> List.last

                  let world = forget world |> activate id (fun rid -> rid <> "f")

                  let world =
                      sendLayers id payloadType 10 30 world |> World.pass (Duration.seconds 1L)

                  Expect.isEmpty (came "f" world) "nothing of it"
                  Expect.equal (came "q" world).Length 150 "all of another"
                  Expect.isEmpty (keyFramesAsked world) "nor asked for"

                  let world = activate id (fun _ -> true) world
                  Expect.equal (keyFramesAsked world) [ 2 ] "a key frame of that one"

                  let world =
                      sendLayers id payloadType 40 10 (forget world)
                      |> World.pass (Duration.seconds 1L)

                  let packets = came "f" world
                  Expect.equal packets.Length 50 "all again"
                  Expect.equal (List.head packets).SequenceNumber (before + 1us) "without a gap"
                  Expect.isTrue (isGapless packets) "nor later"

                  let inbound =
                      (media 'b' world).Inbound |> Array.find (fun stream -> stream.Rid = "f")

                  Expect.equal inbound.NackCount 0L "nothing was missed"
                  Expect.equal inbound.PacketsLost 0L "nor lost")

          testCase "an encoding that the peer pauses in its answer is not sent until it is resumed" (fun () ->
              let struct (world, id, payloadType) = offering 24L
              let world = sendLayers id payloadType 0 10 world |> World.pass (Duration.seconds 1L)

              let paused (description: Description) =
                  if description.Type = SdpType.Answer then
                      { description with
                          Sdp = description.Sdp.Replace("simulcast:recv q;h;f", "simulcast:recv q;~h;f") }
                  else
                      description

              let world = forget world |> World.negotiateWith paused 0L<us> 'a'

              let world =
                  sendLayers id payloadType 10 10 world |> World.pass (Duration.seconds 1L)

              Expect.isEmpty (came "h" world) "paused"
              Expect.equal (came "f" world).Length 50 "the others are not"

              let world = forget world |> World.negotiate 'a'
              Expect.equal (keyFramesAsked world) [ 1 ] "a key frame is needed"

              let world =
                  sendLayers id payloadType 20 10 world |> World.pass (Duration.seconds 1L)

              Expect.equal (came "h" world).Length 50 "resumed"
              Expect.isTrue (isGapless (came "h" world)) "without a gap")

          testCase "a peer that takes two of three, or no simulcast at all, gets those, or one without a rid" (fun () ->
              let run (kind: SdpType) (change: string -> string) (seed: int64) =
                  let world = World.createOf (config Capabilities.defaults) Weather.fair seed

                  match World.demand 'a' (fun c -> AddTransceiver(c, simulcast)) world with
                  | world, Transceiver info ->
                      let changed (description: Description) =
                          if description.Type = kind then
                              { description with
                                  Sdp = change description.Sdp }
                          else
                              description

                      let world = World.negotiateWith changed 0L<us> 'a' world |> connected
                      let codec: RtpCodecParameters = (firstOf 'a' world).SendCodecs[0]

                      let world =
                          sendLayers info.Id (byte codec.PayloadType) 0 10 world
                          |> World.pass (Duration.seconds 1L)

                      struct (world, (firstOf 'a' world).Encodings |> Array.map _.Rid)
                  | _ -> failtest "no transceiver"

              let struct (world, kept) =
                  run SdpType.Answer (fun sdp -> sdp.Replace("simulcast:recv q;h;f", "simulcast:recv q;f")) 25L

              Expect.equal (Array.toList kept) [ "q"; "f" ] "two"
              Expect.equal (came "q" world).Length 50 "the first"
              Expect.equal (came "f" world).Length 50 "the second of the two"
              // The index is that of what was kept.
              Expect.equal (came "f" world).Head.Payload.Span[3] 1uy "by its index"

              let without (sdp: string) =
                  sdp.Split("\r\n")
                  |> Array.filter (fun line -> not (line.StartsWith "a=simulcast" || line.StartsWith "a=rid:"))
                  |> fun lines -> String.Join("\r\n", lines)

              let struct (world, kept) = run SdpType.Offer without 26L
              Expect.equal (Array.toList kept) [ "" ] "one, without a rid"
              Expect.equal world.Ends['b'].Rtp.Length 50 "of one encoding")

          testCase "at 5 % loss every encoding is repaired by retransmissions of its own" (fun () ->
              let struct (world, id, payloadType) = offering 27L

              let world =
                  sendLayers id payloadType 0 200 (World.under lossy world)
                  |> World.pass (Duration.seconds 2L)

              for rid in rids do
                  let distinct = came rid world |> List.distinctBy _.SequenceNumber
                  Expect.isGreaterThan distinct.Length 995 $"{rid}"

              for stream in (media 'a' world).Outbound do
                  Expect.isGreaterThan stream.RetransmittedPacketsSent 0L "some of each") ]
