/// What a receiver holds, asks for and reports, between two media sessions: the test is the network.
module Hybrid.WebRtc.PropertyTests.Media.ReceiverTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.RepairTests

let private dues told =
    told
    |> List.choose (fun (struct (at: Instant, output: MediaOutput)) ->
        match output with
        | MediaOutput.Due(1, Media, upTo) -> Some(at, int upTo)
        | _ -> None)

let private ask target s : struct (MediaState * MediaOutput list) =
    MediaSession.step 0L<us> (MediaInput.SetJitterBuffer(1, target)) s

/// When a packet of `pictures` leaves.
let private leaves (number: int) =
    let i = number - 1
    ms (100 + 33 * (i / 5)) + int64 (i % 5) * 200L<us>

/// When each packet was due.
let private dueOf told (number: int) =
    dues told |> List.find (fun (_, upTo) -> upTo >= number) |> fst

let private holding =
    testList
        "Jitter buffer"
        [ testCase "nobody asked: nothing is held, and nothing is due" (fun () ->
              let struct (_, media, _) = pictures 10 5
              let struct (s, told) = session false picture |> feed media (ms 2_000)
              Expect.isEmpty (dues told) "no dues"
              Expect.isTrue (s.Receivers |> Array.forall (fun r -> r.Parts.Jitter.IsNone)) "no buffer"
              Expect.equal (inbound s).JitterBufferEmitted 0L "no statistics")

          testCase "each packet comes at once and is due when the target has passed" (fun () ->
              let struct (_, media, _) = pictures 30 5
              let struct (s, said) = session false picture |> ask (ValueSome(ms 100))

              match said with
              | [ MediaOutput.Held(1, true) ] -> ()
              | _ -> failtest "it holds from now on"

              let struct (s, told) = feed media (ms 3_000) s

              for struct (at, output) in told do
                  match output with
                  | MediaOutput.Deliver(_, _, packet) ->
                      Expect.equal at (leaves (int packet.SequenceNumber)) "delivered as it comes"
                  | _ -> ()

              // By the peer's clock a picture takes 33.3 ms, not 33: each is early by a little more.
              for number in 1..150 do
                  let held = dueOf told number - leaves number
                  Expect.isTrue (held >= ms 90 && held <= ms 111) $"{number} is held for {held}"

              let stats = inbound s
              Expect.equal stats.JitterBufferEmitted 30L "all frames"
              let average (sum: Duration) = sum / stats.JitterBufferEmitted
              Expect.isTrue (abs (average stats.JitterBufferDelay - ms 100) < ms 10) "the delay"
              Expect.isTrue (abs (average stats.JitterBufferTargetDelay - ms 100) < ms 2) "the target"
              Expect.isLessThan (average stats.JitterBufferMinimumDelay) (ms 20) "the network asks for less")

          testCase
              "packets that come in disorder within the target are due in order, and a lost one holds up nothing"
              (fun () ->
                  let struct (_, media, _) = pictures 30 5
                  let rnd = Random 3

                  let order =
                      without [ 40; 41; 77 ] media
                      |> List.mapi (fun i (struct (at, bytes)) ->
                          struct ((if i < 5 then at else at + ms (rnd.Next 60)), bytes))
                      |> inTime

                  let struct (s, _) = session false picture |> ask (ValueSome(ms 150))
                  let struct (s, told) = feed order (ms 3_000) s
                  let numbers = dues told |> List.map snd
                  Expect.equal numbers (List.sort numbers) "in order"

                  for number in [ 1..150 ] |> List.except [ 41; 42; 78 ] do
                      Expect.isLessThanOrEqual (dueOf told number - leaves number) (ms 220) $"{number} is due in time"

                  Expect.equal (inbound s).PacketsDiscarded 0L "none was late")

          testCase "what comes later than its place is counted as discarded" (fun () ->
              let struct (_, media, _) = pictures 30 5
              let struct (at, late) = media[50]

              let struct (s, _) = session false picture |> ask (ValueSome(ms 50))

              let struct (s, told) =
                  feed (inTime (without [ 50 ] media @ [ struct (at + ms 600, late) ])) (ms 3_000) s

              Expect.contains (numbers told) 51 "it is delivered all the same"
              Expect.equal (inbound s).PacketsDiscarded 1L "but no frame waited for it")

          testCase "once it is not asked for any more all is due, and then nothing is held" (fun () ->
              let struct (_, media, _) = pictures 10 5
              let struct (s, _) = session false picture |> ask (ValueSome(ms 1_000))
              let struct (s, told) = feed media (ms 450) s
              Expect.isEmpty (dues told) "all wait"
              let struct (s, said) = ask ValueNone s

              match said with
              | [ MediaOutput.Due(1, Media, 50us); MediaOutput.Held(1, false) ] -> ()
              | other -> failtest $"said %A{other}"

              let struct (_, media, _) = pictures 20 5
              let struct (_, told) = feed (List.skip 50 media) (ms 2_000) s
              Expect.equal (List.length (numbers told)) 50 "delivered"
              Expect.isEmpty (dues told) "not held") ]

/// One picture a packet of VP8's that begins or goes on with a key frame or not.
let private asked told =
    [ for struct (_: Instant, output: MediaOutput) in told do
          match output with
          | MediaOutput.TransmitRtcp packet ->
              let struct (packets, _) = RtcpCodec.read (ReadOnlySpan packet.Plain)

              for packet in packets do
                  match packet with
                  | Nack(_, _, pairs) ->
                      for pair in pairs do
                          int pair.PacketId

                          for i in 0..15 do
                              if pair.Bitmask &&& (1us <<< i) <> 0us then
                                  int pair.PacketId + 1 + i
                  | _ -> ()
          | _ -> () ]

/// So many pictures of four packets of VP8, of which one is a key frame.
let private coded count (key: int) =
    let packets =
        [| for i in 0 .. 4 * count - 1 do
               let payload: byte[] = Array.zeroCreate 500
               payload[0] <- if i % 4 = 0 then 0x10uy else 0uy
               payload[1] <- if i / 4 = key then 0uy else 1uy
               packet 96uy (i + 1) (3_000 * (i / 4)) (i % 4 = 3) payload |]

    let struct (_, bytes) = sealAll 0 packets (session true picture)
    [ for i in 0 .. packets.Length - 1 -> struct (ms (100 + 33 * (i / 4)), bytes[i]) ]

let private keyFrames =
    testList
        "Key frames"
        [ testCase "key frames of every format are known by their first packet, other frames by none" (fun () ->
              for kind in MediaWorld.kinds |> List.filter MediaWorld.isVideo do
                  let format = KeyFrames.ofMimeType kind.Mime

                  if kind.Mime <> "video/H266" then
                      for seed in 1..20 do
                          let frames = MediaWorld.frames kind (MediaWorld.Dice seed) 3_000 30

                          for i, frame in Array.indexed frames do
                              let begins =
                                  MediaWorld.packets (MediaWorld.formatOf kind) 900 [ frame ]
                                  |> Array.map (fun p -> KeyFrames.begins format p.Payload.Span)

                              Expect.equal begins[0] (i % 10 = 0) $"{kind.Mime}, frame {i}"
                              Expect.isFalse (Array.exists id begins[1..]) $"{kind.Mime}, behind the first packet")

          Laws.anyBytes "any payload is asked whether it begins a key frame" (fun bytes ->
              for format in Enum.GetValues<KeyFrameFormat>() do
                  KeyFrames.begins format (ReadOnlySpan bytes) |> ignore

              true)

          testCase "what is missing before a whole key frame is not asked for any more" (fun () ->
              let struct (s, told) =
                  session false picture |> feed (without [ 4; 5; 9 ] (coded 20 4)) (ms 1_500)

              let count number =
                  asked told |> List.filter ((=) number) |> List.length

              Expect.equal (count 5) 2 "twice"
              Expect.equal (count 10) 2 "twice"
              Expect.isTrue (s.Receivers |> Array.forall (fun r -> r.Nack.Missing.Length = 0)) "nothing is waited for")

          testCase "a key frame that has a hole is no help" (fun () ->
              let struct (_, told) =
                  session false picture |> feed (without [ 4; 5; 18 ] (coded 20 4)) (ms 900)

              let count number =
                  asked told |> List.filter ((=) number) |> List.length

              Expect.isGreaterThan (count 19) 2 "its own packet is asked for"
              Expect.isGreaterThan (count 5) 2 "and what is before it, too") ]

let private reported told =
    [| for struct (_: Instant, output: MediaOutput) in told do
           match output with
           | MediaOutput.TransmitRtcp packet ->
               let struct (packets, _) = RtcpCodec.read (ReadOnlySpan packet.Plain)
               yield! packets
           | _ -> () |]

let private extended told =
    reported told
    |> Array.collect (function
        | ExtendedReport(_, blocks) -> blocks
        | _ -> [||])

let private reports =
    testList
        "Reports"
        [ testCase "who only receives asks for the round trip by XR, where that was negotiated" (fun () ->
              let asks isNegotiated =
                  let s = session false picture

                  let s =
                      { s with
                          Terms =
                              { s.Terms with
                                  Sections =
                                      s.Terms.Sections
                                      |> Array.map (fun section ->
                                          { section with
                                              Plan =
                                                  { section.Plan with
                                                      ReceiverRoundTrip = isNegotiated } }) } }

                  let struct (_, media, _) = pictures 4 5
                  let struct (_, told) = feed media (ms 3_000) s
                  Expect.exists (reported told) _.IsReceiverReport "it reports"
                  extended told |> Array.exists _.IsReceiverReferenceTime

              Expect.isTrue (asks true) "negotiated"
              Expect.isFalse (asks false) "not negotiated")

          testCase
              "each of several that ask for the round trip is answered, once, and a flood of them is bounded"
              (fun () ->
                  let ask ssrc =
                      ExtendedReport(ssrc, [| ReceiverReferenceTime(uint64 ssrc <<< 16) |])

                  let answered (askers: uint32 list) =
                      let struct (_, outputs) =
                          MediaSession.step
                              (ms 10)
                              (MediaInput.SendRtcp [| ReceiverReport(1u, [||]); yield! List.map ask askers |])
                              (session false picture)

                      let datagrams =
                          [ for output in outputs do
                                match output with
                                | MediaOutput.TransmitRtcp packet ->
                                    let into: byte[] = Array.zeroCreate packet.Size
                                    struct (ms 50, into[.. packet.Write(Span into) - 1])
                                | _ -> () ]

                      let own = packet 96uy 1 0 true (Array.create 100 1uy)
                      let struct (sender, _) = sealAll 0 [| own |] (session true picture)
                      let struct (_, told) = feed datagrams (ms 4_000) sender

                      extended told
                      |> Array.collect (function
                          | Dlrr entries -> entries |> Array.map (fun e -> struct (e.Ssrc, e.LastReceiverReport))
                          | _ -> [||])

                  Expect.sequenceEqual (answered [ 7u; 8u; 7u ]) [ struct (8u, 8u); struct (7u, 7u) ] "both"
                  Expect.hasLength (answered [ 1u .. 40u ]) 16 "the last ones") ]

let private withFec capabilities (seed: int64) : World =
    let isWanted (codec: RtpCodec) =
        codec.MimeType = "video/VP8"
        || codec.MimeType = "video/rtx"
        || codec.MimeType = "video/flexfec-03"

    let struct (world, id, payloadType) =
        PeersTests.openedPreferring isWanted capabilities PeersTests.lossy seed

    PeersTests.send id payloadType 600 world |> World.pass (Duration.seconds 2L)

let private eachOnce (world: World) =
    let numbers = PeersTests.received world |> List.map _.SequenceNumber
    Expect.equal numbers.Length (List.distinct numbers).Length "each packet once"

let private wholePeers =
    testList
        "FlexFEC between peers"
        [ testCase "at 5 % loss and 60 ms more than 99.5 % of pictures are whole with NACK and FEC" (fun () ->
              for seed in 1L .. 3L do
                  let world = withFec Capabilities.defaults seed
                  let came = (PeersTests.media 'b' world).Inbound[0]
                  Expect.isGreaterThan (PeersTests.whole world) 597 "whole"
                  eachOnce world
                  Expect.isGreaterThan came.FecPacketsReceived 50L "FEC came"
                  Expect.isGreaterThanOrEqual came.FecPacketsReceived came.FecPacketsDiscarded "and was counted"
                  Expect.isGreaterThan came.PacketsLost 100L "packets were lost"
                  Expect.notEqual came.FecSsrc 0u "whose FEC")

          testCase "FEC alone brings back most of what single losses took" (fun () ->
              for seed in 1L .. 3L do
                  let world = withFec PeersTests.unrepaired seed
                  let came = (PeersTests.media 'b' world).Inbound[0]

                  let struct (bare, id, payloadType) =
                      PeersTests.opened PeersTests.unrepaired PeersTests.lossy seed

                  let bare =
                      PeersTests.send id payloadType 600 bare |> World.pass (Duration.seconds 2L)

                  Expect.isLessThan (PeersTests.whole bare) 500 "without"
                  Expect.isGreaterThan (PeersTests.whole world) 520 "with"
                  eachOnce world
                  Expect.isGreaterThan (came.FecPacketsReceived - came.FecPacketsDiscarded) 30L "brought back"
                  Expect.equal came.NackCount 0L "nothing is asked for") ]

let tests =
    testList "Receivers of media" [ holding; keyFrames; reports; wholePeers ]
