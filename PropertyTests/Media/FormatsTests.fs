/// Payload formats: round trips, arbitrary bytes, and what the RFCs show.
module Hybrid.WebRtc.PropertyTests.Media.FormatsTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.MediaWorld

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", ""))

let private seeds =
    Arb.fromGenShrink (Gen.choose (0, 1_000_000), (fun n -> if n > 0 then Seq.singleton (n / 2) else Seq.empty))

let private property name check =
    testPropertyWithConfig Laws.config name (Prop.forAll seeds check)

let private frame (octets: byte[]) =
    EncodedFrame(Data = ReadOnlyMemory octets)

/// Puts payloads together as one frame; None where they are not one.
let private assembled (depacketizer: IDepacketizer) (payloads: byte[] seq) =
    let into = FrameWriter()
    depacketizer.Begin()

    if
        payloads
        |> Seq.forall (fun payload -> depacketizer.Append(ReadOnlySpan payload, into))
        && depacketizer.End into
    then
        Some(into.Detach().ToArray())
    else
        None

let private payloadsOf mime fmtp (options: PayloadFormatOptions | null) size (frames: EncodedFrame list) =
    let format = PayloadFormats.For(mime, fmtp, options)
    packets format size frames |> Array.map (fun packet -> packet.Payload.ToArray())

let private info (format: PayloadFormat) (octets: byte[]) marker =
    format.CreateDepacketizer().Inspect(ReadOnlySpan octets, marker)

let private roundTrip (kind: Kind) =
    property $"{kind.Mime}: any frames at any size of packet come out as they went in" (fun seed ->
        let dice = Dice seed
        let size = Packetizer.SmallestPayloadSize + dice.Below 1400
        let format = formatOf kind
        let sent = frames kind dice (1 + dice.Below 6000) 12

        let packets = packets format size sent
        let got = rebuilt (SampleBuilder format) packets

        for packet in packets do
            Expect.isLessThanOrEqual packet.Payload.Length size "the payload fits"

        Expect.equal (got |> Array.map octets) (sent |> Array.map octets) "the frames"
        Expect.equal (got |> Array.map _.Timestamp) (sent |> Array.map _.Timestamp) "their timestamps"

        if isVideo kind then
            Expect.equal
                (got |> Array.map _.IsKeyFrame)
                (Array.init sent.Length (fun i -> i % 10 = 0))
                "which are key frames"

            Expect.equal (packets |> Array.filter _.Marker |> Array.length) sent.Length "one marker a frame")

let private anyBytes (kind: Kind) =
    let check (octets: byte[]) =
        let depacketizer = (formatOf kind).CreateDepacketizer()
        let into = FrameWriter()

        for cut in [ 0; octets.Length / 3; octets.Length / 2 ] do
            depacketizer.Begin()

            for part in [ octets[..cut]; octets[cut..]; octets ] do
                depacketizer.Inspect(ReadOnlySpan part, true) |> ignore
                let before = into.Length
                depacketizer.Append(ReadOnlySpan part, into) |> ignore
                // Start codes and sizes: at most five octets for each three.
                Expect.isLessThanOrEqual (into.Length - before) (4 * part.Length + 16) "memory is bounded by what came"

            depacketizer.End into |> ignore

        (formatOf kind).Inspect(ReadOnlySpan octets) |> ignore

    [ Laws.anyBytes $"{kind.Mime}: any bytes are read without throwing" (fun octets ->
          check octets
          true)
      Laws.mutated
          $"{kind.Mime}: payloads and frames with faults are read without throwing"
          [ let dice = Dice 5

            for packet in packets (formatOf kind) 200 (frames kind dice 400 3) do
                packet.Payload.ToArray()

            for original in frames kind dice 100 2 do
                octets original ]
          check ]

/// Payloads that ask for the most work an octet.
let private worst =
    [ "video/H264", fun n -> Array.concat [ [| 24uy |]; Array.concat (Array.replicate n [| 0uy; 1uy; 0x41uy |]) ]
      "video/H265", fun n -> Array.concat [ [| 96uy; 1uy |]; Array.concat (Array.replicate n [| 0uy; 2uy; 2uy; 1uy |]) ]
      "video/AV1", fun n -> Array.append [| 0uy |] (Array.concat (Array.replicate n [| 1uy; 0x30uy |]))
      "video/VP9", fun n -> Array.append [| 0x0Auy; 8uy; 255uy |] (Array.create (3 * n) 0xCuy)
      "audio/red", fun n -> Array.create (3 * n) 0x80uy ]

let private linear =
    [ for mime, payload in worst do
          testCase $"{mime}: the worst payload costs time linear in its size" (fun () ->
              let format =
                  PayloadFormats.For(
                      mime,
                      (if mime = "audio/red" then
                           "111/111"
                       else
                           "packetization-mode=1")
                  )

              let depacketizer = format.CreateDepacketizer()

              let take (octets: byte[]) () =
                  depacketizer.Begin()
                  depacketizer.Inspect(ReadOnlySpan octets, true) |> ignore
                  depacketizer.Append(ReadOnlySpan octets, FrameWriter()) |> ignore

              let small, large = payload 2000, payload 64_000
              // 32 times as long; a quadratic cost would be a thousand times as much.
              Laws.costs "the cost" 300.0 0.005 (take small) (take large)) ]

let private vp8Tests =
    [ testCase "VP8: descriptors of RFC 7741 §4.6, and those cut short" (fun () ->
          let format = PayloadFormats.For "video/VP8"
          // A key frame's first packet with an extended picture id, §4.6.3.
          let first = info format (hex "9080 8011 10 00 00 9d012a 4001 f000 00") false
          Expect.isTrue first.IsValid "valid"
          Expect.equal first.Start FrameStart.Yes "it starts"
          Expect.isTrue first.IsKeyFrame "key"
          Expect.equal (first.Width, first.Height) (320, 240) "its size"
          // Non-reference, picture id of seven bits, TL0PICIDX, TID 2, a partition other than the first.
          let later = info format (hex "b1e0 11 05 80 aa") true
          Expect.equal later.Start FrameStart.No "a later partition"
          Expect.isTrue later.IsDiscardable "N"
          Expect.equal later.TemporalLayer (Nullable 2) "TID"
          Expect.isTrue later.EndsFrame "the marker"

          for cut in [ ""; "90"; "9080"; "908080"; "90808011"; "90f0 8011 05"; "10" ] do
              Expect.isFalse (info format (hex cut) false).IsValid cut)

      testCase "VP8: a frame that just fits is one packet, one octet more makes two equal ones" (fun () ->
          let sizes length =
              payloadsOf "video/VP8" "" null 100 [ frame (Array.create length 0x11uy) ]
              |> Array.map _.Length

          Expect.equal (sizes 96) [| 100 |] "four octets of descriptor"
          Expect.equal (sizes 97) [| 53; 52 |] "balanced")

      testCase "VP8: picture ids run over 15 bits, and TL0PICIDX counts the base layer" (fun () ->
          let options = PayloadFormatOptions(FirstPictureId = Nullable 0x7FFF)

          let payloads =
              payloadsOf
                  "video/VP8"
                  ""
                  options
                  100
                  [ for layer in [ 0; 1; 0 ] ->
                        EncodedFrame(Data = ReadOnlyMemory(hex "11aabb"), TemporalLayer = Nullable layer) ]

          Expect.equal
              (payloads |> Array.map Convert.ToHexString)
              [| "90E0FFFF010011AABB"; "90E08000014011AABB"; "90E08001020011AABB" |]
              "three payloads") ]

let private vp9Tests =
    let key = hex "82498342 2013f0 0ef0 0101"
    let format = PayloadFormats.For "video/VP9"

    [ testCase "VP9: without layers it is non-flexible, with TL0PICIDX and a structure in key frames" (fun () ->
          let options = PayloadFormatOptions(FirstPictureId = Nullable 5)

          let payloads =
              payloadsOf "video/VP9" "" options 100 [ frame key; frame (hex "8601") ]

          Expect.equal
              (payloads |> Array.map Convert.ToHexString)
              [| "AE8005000118014000F0010401" + Convert.ToHexString key; "EC800600028601" |]
              "descriptors"

          let first = info format payloads[0] true
          Expect.isTrue first.IsKeyFrame "key"
          Expect.equal (first.Width, first.Height) (320, 240) "its size"
          Expect.isFalse (info format payloads[1] true).IsKeyFrame "an inter frame")

      testCase
          "VP9: pictures of two spatial layers become superframes; differences name the lower temporal layer"
          (fun () ->
              let options = PayloadFormatOptions(SpatialLayers = 2, FirstPictureId = Nullable 0)
              let svc = PayloadFormats.For("video/VP9", "", options)

              let layered data spatial temporal timestamp =
                  EncodedFrame(
                      Data = ReadOnlyMemory data,
                      SpatialLayer = Nullable spatial,
                      TemporalLayer = Nullable temporal,
                      Timestamp = timestamp,
                      EndsPicture = (spatial = 1)
                  )

              let sent =
                  [ layered key 0 0 0u
                    layered (hex "860203") 1 0 0u
                    layered (hex "8604") 0 1 3000u
                    layered (hex "860506") 1 1 3000u
                    layered (hex "8604") 0 0 6000u
                    layered (hex "860506") 1 0 6000u ]

              let packets = packets svc 100 sent
              let got = rebuilt (SampleBuilder svc) packets

              Expect.equal
                  (got |> Array.map (octets >> Convert.ToHexString))
                  [| Convert.ToHexString key + "860203" + "D90B00000003000000D9"
                     "8604860506" + "D90200000003000000D9"
                     "8604860506" + "D90200000003000000D9" |]
                  "superframes with their index"

              Expect.equal (got |> Array.map _.IsKeyFrame) [| true; false; false |] "key"
              Expect.equal (got |> Array.map _.SpatialLayer) (Array.create 3 (Nullable 1)) "the highest layer"

              // P_DIFF of the second picture is 1; of the third, which skips the upper temporal layer, 2.
              Expect.equal (packets[2].Payload.Span[4]) 2uy "one before"
              Expect.equal (packets[4].Payload.Span[4]) 4uy "two before")

      testCase "VP9: a picture may begin with an upper layer only where the packet before it is known" (fun () ->
          // Flexible, inter, SID 1, no prediction from below.
          let upper = info format (hex "fc 8007 02 02 8601") true
          Expect.equal upper.Start FrameStart.Possible "possible"
          Expect.equal (info format (hex "f4 8007 02 02 8601") true).Start FrameStart.No "not without B") ]

let private h264Tests =
    let format = PayloadFormats.For("video/H264", "packetization-mode=1")
    let sps = "6742c01f da014016e8"

    let annexB (units: string list) =
        units
        |> List.map (fun u -> Array.append [| 0uy; 0uy; 0uy; 1uy |] (hex u))
        |> Array.concat

    [ testCase "H.264: parameter sets travel before their picture in one STAP-A, RFC 6184 §5.7.1" (fun () ->
          let payloads =
              payloadsOf
                  "video/H264"
                  "packetization-mode=1"
                  null
                  100
                  [ frame (annexB [ "6742c01f"; "68ce3c80"; "658884" ]) ]

          Expect.equal
              (payloads |> Array.map Convert.ToHexString)
              [| "78" + "0004" + "6742C01F" + "0004" + "68CE3C80" + "0003" + "658884" |]
              "one packet"

          let stap = info format payloads[0] true
          Expect.isTrue stap.IsKeyFrame "key"
          Expect.equal stap.Start FrameStart.Yes "a parameter set comes first")

      testCase "H.264: FU-A of equal size, RFC 6184 §5.8" (fun () ->
          let unit = Array.append [| 0x65uy |] (Array.create 150 0xAAuy)

          let payloads =
              payloadsOf "video/H264" "packetization-mode=1" null 64 [ frame (Array.append [| 0uy; 0uy; 1uy |] unit) ]

          Expect.equal (payloads |> Array.map _.Length) [| 52; 52; 52 |] "sizes"
          Expect.equal (payloads |> Array.map (fun p -> p[0])) [| 0x7Cuy; 0x7Cuy; 0x7Cuy |] "indicators"
          Expect.equal (payloads |> Array.map (fun p -> p[1])) [| 0x85uy; 0x05uy; 0x45uy |] "S and E"

          Expect.equal
              (assembled (format.CreateDepacketizer()) payloads)
              (Some(Array.append [| 0uy; 0uy; 0uy; 1uy |] unit))
              "together again"

          for wrong in [ [ 0; 1 ]; [ 1; 2 ]; [ 0; 0; 2 ]; [ 0; 2; 2 ] ] do
              Expect.isNone (assembled (format.CreateDepacketizer()) [ for i in wrong -> payloads[i] ]) $"{wrong}")

      testCase "H.264: interleaved packets and reserved types are malformed" (fun () ->
          for kind in [ 0; 25; 26; 27; 29; 30; 31 ] do
              let payload = Array.append [| byte (0x60 ||| kind) |] (hex "0001000165")
              Expect.isFalse (info format payload true).IsValid $"type {kind}"
              Expect.isNone (assembled (format.CreateDepacketizer()) [ payload ]) $"type {kind}")

      testCase "H.264: a key frame without parameter sets gets those before it" (fun () ->
          let packetizer = Packetizer(format.CreatePacketizer())
          packetizer.Packetize(frame (annexB [ sps; "68ce3c80"; "658884" ])) |> ignore
          let again = packetizer.Packetize(frame (annexB [ "658885" ]))

          Expect.equal
              (assembled (format.CreateDepacketizer()) [ for p in again -> p.Payload.ToArray() ])
              (Some(annexB [ sps; "68ce3c80"; "658885" ]))
              "with them"

          let off =
              PayloadFormats.For(
                  "video/H264",
                  "packetization-mode=1",
                  PayloadFormatOptions(RepeatParameterSets = false)
              )

          let packetizer = Packetizer(off.CreatePacketizer())
          packetizer.Packetize(frame (annexB [ sps; "658884" ])) |> ignore
          let again = packetizer.Packetize(frame (annexB [ "658885" ]))
          Expect.equal again[0].Payload.Length 3 "as told")

      testCase "H.264: length-prefixed both ways" (fun () ->
          let options = PayloadFormatOptions(Framing = NalFraming.LengthPrefixed)
          let avcc = PayloadFormats.For("video/H264", "packetization-mode=1", options)

          let data =
              Array.concat [ hex "00000004 6742c01f"; hex "000000c9 65"; Array.create 200 0x99uy ]

          let packets = packets avcc 64 [ frame data ]

          Expect.equal
              (assembled (avcc.CreateDepacketizer()) [ for p in packets -> p.Payload.ToArray() ])
              (Some data)
              "the frame"

          Expect.throwsT<ArgumentException>
              (fun () -> MediaWorld.packets avcc 64 [ frame (hex "00000005 6742") ] |> ignore)
              "a length beyond the end")

      testCase "H.264: what cannot be packetized is said, and uses no sequence number" (fun () ->
          let packetizer =
              Packetizer(PayloadFormats.For("video/H264", "").CreatePacketizer(), 64, Nullable 7us)

          for wrong, word in
              [ hex "6742c01f", "start code"
                hex "000001", "no NAL unit"
                hex "0000017c8500", "type 28"
                Array.append (hex "00000165") (Array.create 100 9uy), "packetization-mode" ] do
              let thrown =
                  try
                      packetizer.Packetize(frame wrong) |> ignore
                      ""
                  with :? ArgumentException as e ->
                      e.Message

              Expect.stringContains thrown word "the message"

          Expect.equal packetizer.NextSequenceNumber 7us "as before")

      testCase "H.264: the size in a sequence parameter set" (fun () ->
          // Of x264: 1280 × 720, and 1920 × 1080, which is cropped from 1088.
          for set, size in
              [ "6764001facd9405005bb011000000300100000030320f1831960", (1280, 720)
                "67640028acd940780227e5c044000003000400000300c83c60c658", (1920, 1080) ] do
              let told = format.Inspect(ReadOnlySpan(annexB [ set ]))
              Expect.equal (told.Width, told.Height) size "size") ]

let private h265Tests =
    let format = PayloadFormats.For "video/H265"

    [ testCase "H.265: a PACI packet is what it carries, RFC 7798 §4.4.4" (fun () ->
          // PHSsize 3 with a TSCI; cType 19, IDR_W_RADL.
          let paci = hex "6401 2638 aabbcc 8877"
          let told = info format paci true
          Expect.isTrue told.IsKeyFrame "key"
          Expect.equal told.TemporalLayer (Nullable 0) "TID"

          Expect.equal
              (assembled (format.CreateDepacketizer()) [ paci ])
              (Some(hex "00000001 2601 8877"))
              "the NAL unit"

          Expect.isFalse (info format (hex "6401 2638 aabb") true).IsValid "cut short"
          Expect.isFalse (info format (hex "6401 6400 6401 0000") true).IsValid "a PACI in a PACI")

      testCase "H.265: the aggregate has the lowest layer and TID, RFC 7798 §4.4.2" (fun () ->
          let payloads =
              payloadsOf "video/H265" "" null 100 [ frame (hex "00000001 0203 88aa 00000001 0212 88bb") ]

          Expect.equal
              (payloads |> Array.map Convert.ToHexString)
              [| "6002" + "0004" + "020388AA" + "0004" + "021288BB" |]
              "AP")

      testCase "H.265: decoding order numbers and several streams are refused" (fun () ->
          for fmtp in [ "sprop-max-don-diff=1"; "tx-mode=MRST" ] do
              Expect.throwsT<NotSupportedException> (fun () -> PayloadFormats.For("video/H265", fmtp) |> ignore) fmtp) ]

let private av1Tests =
    let format = PayloadFormats.For "video/AV1"

    [ testCase "AV1: OBUs travel without sizes and delimiters, N in the first packet of a sequence" (fun () ->
          let unit = hex "1200 0a05 1821e7fde0 3203 10aabb"
          let payloads = payloadsOf "video/AV1" "" null 100 [ frame unit ]

          Expect.equal
              (payloads |> Array.map Convert.ToHexString)
              [| "28" + "06" + "081821E7FDE0" + "30" + "10AABB" |]
              "W is 2, the last element has no size"

          let told = info format payloads[0] true
          Expect.isTrue told.IsKeyFrame "key"
          Expect.equal told.Start FrameStart.Yes "it starts"
          Expect.equal (told.Width, told.Height) (320, 240) "its size"
          Expect.equal (assembled (format.CreateDepacketizer()) payloads) (Some unit) "with a delimiter again")

      testCase "AV1: four elements and more have sizes each" (fun () ->
          let unit =
              hex "1200"
              |> fun d -> Array.append d (Array.concat (Array.replicate 4 (hex "320230aa")))

          let payloads = payloadsOf "video/AV1" "" null 100 [ frame unit ]
          Expect.equal (Convert.ToHexString payloads[0]) ("00" + String.replicate 4 "033030AA") "W is 0"
          Expect.equal (assembled (format.CreateDepacketizer()) payloads) (Some unit) "the unit")

      testCase "AV1: sizes in elements are kept, delimiters are not, and lying ones are refused" (fun () ->
          let read payload =
              assembled (format.CreateDepacketizer()) [ hex payload ]

          Expect.equal (read "10 3202 30aa") (Some(hex "1200 320230aa")) "an OBU with its size"
          Expect.equal (read "20 01 10 30 30aa") (Some(hex "1200 320230aa")) "a delimiter"

          for wrong in
              [ "10"
                "10 3205 30aa"
                "20 05 30"
                "20 01 30"
                "88 30aa"
                "00 8080808080808080 01"
                "10 b0aa" ] do
              Expect.isNone (read wrong) wrong)

      testCase "AV1: a fragment goes on where one is open, and nowhere else" (fun () ->
          let unit = Array.append (hex "1200 3290 02 30") (Array.create 271 0xAAuy)
          let payloads = payloadsOf "video/AV1" "" null 100 [ frame unit ]
          Expect.equal payloads.Length 3 "fragments"
          Expect.equal (assembled (format.CreateDepacketizer()) payloads) (Some unit) "all of them"

          for wrong in [ [ 1; 2 ]; [ 0; 0; 1; 2 ]; [ 0; 1 ] ] do
              Expect.isNone (assembled (format.CreateDepacketizer()) [ for i in wrong -> payloads[i] ]) $"{wrong}")

      testCase "AV1: OBUs of two layers are not in one packet" (fun () ->
          let layered (layer: int) =
              Array.concat [ hex "36"; [| byte (layer <<< 3) |]; hex "02 30aa" ]

          let payloads =
              payloadsOf "video/AV1" "" null 100 [ frame (Array.append (layered 0) (layered 1)) ]

          Expect.equal payloads.Length 2 "packets"
          Expect.equal (info format payloads[1] true).SpatialLayer (Nullable 1) "its layer") ]

let private audioTests =
    [ testCase "Opus: durations by the table of RFC 6716 §3.1" (fun () ->
          for packet, duration in
              [ "00aa", 480
                "18aa", 2880
                "60aa", 480
                "80aa", 120
                "f8aa", 960
                "f9aabb", 1920
                "faaabb", 1920
                "fb03aa", 2880
                "fb86aa", 5760
                "8330aa", 5760 ] do
              let mutable read = OpusPacket()
              Expect.isTrue (OpusPacket.TryRead(ReadOnlySpan(hex packet), &read)) packet
              Expect.equal read.Duration duration packet

          for wrong in [ ""; "f9aa"; "fb"; "fb00"; "fb07"; "1b03aa" ] do
              let mutable read = OpusPacket()
              Expect.isFalse (OpusPacket.TryRead(ReadOnlySpan(hex wrong), &read)) wrong)

      testCase "G.711 and G.722: 8,000 ticks a second, an octet each; a long frame goes on in later packets" (fun () ->
          for mime in [ "audio/PCMU"; "audio/PCMA"; "audio/G722" ] do
              let format = PayloadFormats.For mime
              Expect.equal format.ClockRate 8000 "its clock"

              let packets =
                  packets format 100 [ EncodedFrame(Data = ReadOnlyMemory(Array.zeroCreate 160), Timestamp = 5u) ]

              Expect.equal (packets |> Array.map _.Timestamp) [| 5u; 85u |] "timestamps")

      testCase "an Opus packet that does not fit is refused" (fun () ->
          Expect.throwsT<ArgumentException>
              (fun () ->
                  packets (PayloadFormats.For "audio/opus") 64 [ frame (Array.create 65 0xF8uy) ]
                  |> ignore)
              "65 octets")

      property "RED: blocks come out as they went in, RFC 2198" (fun seed ->
          let dice = Dice seed

          let blocks =
              [| for i in dice.Below 4 .. -1 .. 0 ->
                     RedBlock(byte (dice.Below 128), 960 * i, ReadOnlyMemory(dice.Bytes(1 + dice.Below 200))) |]

          let payload = Array.zeroCreate (RedBlock.Size(ReadOnlySpan blocks))
          Expect.equal (RedBlock.Write(ReadOnlySpan blocks, Span payload)) payload.Length "it fills its size"
          let read = Array.zeroCreate<RedBlock> 8
          Expect.equal (RedBlock.Read(ReadOnlyMemory payload, Span read)) blocks.Length "how many"

          for i in 0 .. blocks.Length - 1 do
              Expect.equal
                  (read[i].PayloadType, read[i].TimestampOffset)
                  (blocks[i].PayloadType, blocks[i].TimestampOffset)
                  "a block"

              Expect.equal (read[i].Data.ToArray()) (blocks[i].Data.ToArray()) "its data"

          let primary =
              assembled (PayloadFormats.For("audio/red", "111/111").CreateDepacketizer()) [ payload ]

          Expect.equal primary (Some((Array.last blocks).Data.ToArray())) "the primary one")

      Laws.anyBytes "RED: any bytes are read without throwing" (fun octets ->
          RedBlock.Read(ReadOnlyMemory octets, Span(Array.zeroCreate<RedBlock> 4)) >= 0)

      testCase "telephone events: the packet of RFC 4733 §2.3, and tones" (fun () ->
          let report = TelephoneEvent(11uy, true, 10uy, 1600us)
          let octets = Array.zeroCreate<byte> 4
          report.Write(Span octets)
          Expect.equal (Convert.ToHexString octets) "0B8A0640" "#, ended, -10 dBm0"
          let mutable read = TelephoneEvent()
          Expect.isTrue (TelephoneEvent.TryRead(ReadOnlySpan octets, &read)) "reads"
          Expect.equal read report "the same"
          Expect.equal read.Tone (Nullable '#') "its tone"
          Expect.equal (TelephoneEvent.EventOf 'd') (Nullable 15uy) "D"
          Expect.isFalse (TelephoneEvent.EventOf('x').HasValue) "no tone"
          Expect.isFalse (TelephoneEvent.TryRead(ReadOnlySpan(hex "010203"), &read)) "cut short") ]

let private choice =
    [ testCase "an unknown format is refused with those there are; letter case does not matter" (fun () ->
          for mime, fmtp, word in
              [ "video/theora", "", "video/AV1"
                "video/H264", "packetization-mode=2", "packetization-mode=2"
                "audio/red", "", "111/111" ] do
              let message =
                  try
                      PayloadFormats.For(mime, fmtp) |> ignore
                      ""
                  with :? NotSupportedException as e ->
                      e.Message

              Expect.stringContains message word mime
              Expect.isFalse (fst (PayloadFormats.TryFor(mime, fmtp, null))) mime

          Expect.equal (PayloadFormats.For "VIDEO/vp8").MimeType "video/VP8" "as registered") ]

let tests =
    testList
        "Payload formats"
        [ yield! List.map roundTrip kinds
          yield! List.collect anyBytes kinds
          yield! linear
          yield! vp8Tests
          yield! vp9Tests
          yield! h264Tests
          yield! h265Tests
          yield! av1Tests
          yield! audioTests
          yield! choice ]
