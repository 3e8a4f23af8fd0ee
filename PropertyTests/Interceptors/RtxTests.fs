module Hybrid.WebRtc.PropertyTests.Interceptors.RtxTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private codec (mime: string) (fmtp: string) (payloadType: int) : RtpCodecParameters =
    { Codec =
        { MimeType = mime
          ClockRate = 90_000
          Channels = ValueNone
          Fmtp = fmtp }
      PayloadType = payloadType
      Feedback = [||] }

let private map =
    Rtx.pairs
        [| codec "video/VP8" "" 96
           codec "video/rtx" "apt=96" 97
           codec "video/VP9" "profile-id=0" 98
           codec "video/RTX" "rtx-time=200; apt=98" 99
           codec "video/rtx" "apt=300" 100
           codec "video/rtx" "" 101 |]

let private rtxTests =
    testList
        "RTX"
        [ testCase "apt leads from one payload type to the other and back" (fun () ->
              Expect.equal (map.Rtx[96], map.Rtx[98]) (97uy, 99uy) "repair"
              Expect.equal (map.Original[97], map.Original[99]) (96uy, 98uy) "original"
              Expect.equal (map.Original[96], map.Original[100], map.Original[101]) (255uy, 255uy, 255uy) "none"
              Expect.equal map.Rtx[97] 255uy "no repair of repairs")

          testPropertyWithConfig Laws.config "what was written as a retransmission is what comes back"
          <| fun (sequence: uint16) (timestamp: uint32) (payload: byte[]) ->
              let original = packet sequence timestamp payload

              let rewrite: RtpRewrite =
                  { Ssrc = 5u
                    SequenceNumber = 77us
                    TimestampOffset = 0u
                    PayloadType = 97uy
                    Translation = ExtensionTranslation(ExtensionMap.Empty, ExtensionMap.Empty)
                    Own = SenderExtensions.None
                    AbsSendTime = 0
                    TransportSequence = 0us
                    OriginalSequence = ValueSome sequence }

              let bytes: byte[] = Array.zeroCreate (RtpWriter.size &original &rewrite)
              RtpWriter.write &original &rewrite (Span bytes) |> ignore

              match RtpPackets.read (ReadOnlyMemory bytes) ExtensionMap.Empty with
              | ValueNone -> false
              | ValueSome wrapped ->
                  match Rtx.unwrap original.Ssrc 96uy &wrapped with
                  | ValueSome back ->
                      wrapped.SequenceNumber = 77us
                      && wrapped.Ssrc = 5u
                      && back.SequenceNumber = sequence
                      && back.PayloadType = 96uy
                      && back.Ssrc = original.Ssrc
                      && back.Timestamp = timestamp
                      && back.Payload.Span.SequenceEqual(ReadOnlySpan payload)
                  | ValueNone -> false

          testCase "padding to probe with is no packet" (fun () ->
              let probe =
                  { packet 1us 1u [||] with
                      PayloadType = 97uy
                      Padding = 255uy }

              Expect.isTrue (Rtx.unwrap 1u 96uy &probe).IsNone "empty"

              let short =
                  { packet 1us 1u [| 1uy |] with
                      PayloadType = 97uy }

              Expect.isTrue (Rtx.unwrap 1u 96uy &short).IsNone "too short") ]

let private blocks (draws: Draws) =
    let count = 1 + draws.Below 4

    [| for i in 1..count ->
           { PayloadType = byte (draws.Below 128)
             TimestampOffset = (if i = count then 0 else draws.Below 16_384)
             Payload = ReadOnlyMemory(draws.Bytes(draws.Below(if i = count then 1500 else 1024))) } |]

/// Opus packets of 20 ms.
let private audio (n: int) : RtpPacket =
    { packet (uint16 n) (uint32 (960 * n)) [| byte n; byte (n >>> 8); 1uy |] with
        PayloadType = 111uy }

/// `count` packets as RED with `distance`, those of `lost` lost: the numbers that came, in order of coming.
let private redundant (distance: int) (count: int) (lost: int -> bool) =
    let mutable sender = RedSender.create 63uy distance
    let mutable receiver = RedReceiver.create ()

    [ for n in 0 .. count - 1 do
          let sent = audio n
          let struct (next, wrapped) = RedSender.wrap &sent sender
          sender <- next

          if not (lost n) then
              let struct (next, packets) =
                  RedReceiver.received (0x1_0000L + int64 n) &wrapped receiver

              receiver <- next

              for p in packets do
                  let expected = audio (int p.SequenceNumber)
                  Expect.equal p.Timestamp expected.Timestamp "timestamp"
                  Expect.equal p.PayloadType 111uy "payload type"
                  Expect.isTrue (p.Payload.Span.SequenceEqual expected.Payload.Span) "payload"
                  int p.SequenceNumber ]

let private redTests =
    testList
        "RED"
        [ testPropertyWithConfig Laws.config "read (write blocks) = blocks, and write fills exactly size"
          <| fun (seed: int64) ->
              let written = blocks (Draws seed)
              let payload = Red.write written

              match Red.read (ReadOnlyMemory payload) with
              | ValueSome read ->
                  payload.Length = Red.size written
                  && read.Length = written.Length
                  && Array.forall2
                      (fun (a: RedBlock) (b: RedBlock) ->
                          a.PayloadType = b.PayloadType
                          && a.TimestampOffset = b.TimestampOffset
                          && a.Payload.Span.SequenceEqual b.Payload.Span)
                      read
                      written
              | ValueNone -> false

          testCase "the example of RFC 2198 section 4: a PCM block with an LPC block before it" (fun () ->
              // PT 7 (LPC), timestamp offset 160, length 14; then PT 5 (DVI4).
              let payload =
                  Array.concat
                      [ [| 0x87uy; 0x02uy; 0x80uy; 0x0Euy; 0x05uy |]
                        Array.zeroCreate 14
                        Array.create 84 1uy ]

              match Red.read (ReadOnlyMemory payload) with
              | ValueSome [| lpc; dvi |] ->
                  Expect.equal (lpc.PayloadType, lpc.TimestampOffset, lpc.Payload.Length) (7uy, 160, 14) "redundant"
                  Expect.equal (dvi.PayloadType, dvi.TimestampOffset, dvi.Payload.Length) (5uy, 0, 84) "primary"
              | _ -> failtest "two blocks")

          Laws.anyBytes "any bytes are read to an end" (fun bytes ->
              match Red.read (ReadOnlyMemory bytes) with
              | ValueSome blocks -> blocks.Length <= Red.MaxBlocks && Red.size blocks = bytes.Length
              | ValueNone -> true)

          testCase "video in RED is one block, and ULPFEC is known by its payload type" (fun () ->
              let video = packet 5us 9u [| 1uy; 2uy |]
              let wrapped = Red.wrap 116uy &video
              Expect.equal (wrapped.Payload.ToArray()) [| 96uy; 1uy; 2uy |] "an octet before"

              match Red.primary &wrapped with
              | ValueSome back -> Expect.equal (back.PayloadType, back.Payload.ToArray()) (96uy, [| 1uy; 2uy |]) "back"
              | ValueNone -> failtest "malformed")

          testCase "with distance 2 two lost packets in a row come back, in order and once" (fun () ->
              let came = redundant 2 200 (fun n -> n > 0 && n % 5 < 2 && n > 4)
              Expect.equal came [ 0..199 ] "all")

          testCase "with distance 1 one lost packet comes back, of two one" (fun () ->
              Expect.equal (redundant 1 20 (fun n -> n = 7)) [ 0..19 ] "all"
              Expect.equal (redundant 1 20 (fun n -> n = 7 || n = 8)) ([ 0..6 ] @ [ 8..19 ]) "one is gone")

          testCase "what was silent too long is not repeated: its offset has no room" (fun () ->
              let sender = RedSender.create 63uy 1
              let first = audio 0
              let struct (sender, _) = RedSender.wrap &first sender
              let later = { audio 1 with Timestamp = 20_000u }
              let struct (_, wrapped) = RedSender.wrap &later sender

              match Red.read wrapped.Payload with
              | ValueSome blocks -> Expect.hasLength blocks 1 "only itself"
              | ValueNone -> failtest "malformed") ]

let tests = testList "Retransmission and redundancy" [ rtxTests; redTests ]
