/// RTCP octet by octet: each type's vectors, transport-wide feedback, and how packets are framed.
module Hybrid.WebRtc.PropertyTests.Rtp.RtcpVectorTests

open System
open Expecto
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests.Rtp.RtcpTests

let private isWritten (text: string) (packet: Rtcp) =
    Expect.equal (Convert.ToHexString(write packet)) (Convert.ToHexString(hex text)) "octets"
    Expect.equal (key (readOne (hex text))) (key packet) "read"

let private isMalformed (what: string) (text: string) =
    let packets, malformed = read (hex text)
    Expect.isEmpty packets what
    Expect.equal malformed 1 what

let private vectors =
    testList
        "vectors"
        [ testCase "SR and RR, loss negative (RFC 3550 §6.4)" (fun () ->
              let report: ReceptionReport =
                  { Ssrc = 0xBC5E9A40u
                    FractionLost = 1uy
                    CumulativeLost = -2
                    HighestSequence = 0x46E1u
                    Jitter = 273u
                    LastSenderReport = 0x09F36432u
                    DelaySinceLastSenderReport = 150137u }

              isWritten
                  "81C9 0007 902F9E2E BC5E9A40 01 FFFFFE 000046E1 00000111 09F36432 00024A79"
                  (ReceiverReport(0x902F9E2Eu, [| report |]))

              isWritten
                  "80C8 0006 902F9E2E DA8BD1FCDDDDA05A AAF4EDD5 00000001 00000002"
                  (SenderReport(
                      0x902F9E2Eu,
                      { NtpTime = 0xDA8BD1FCDDDDA05AUL
                        RtpTime = 0xAAF4EDD5u
                        PacketCount = 1u
                        OctetCount = 2u },
                      [||]
                  )))

          testCase "a profile's own behind the reports is passed over (RFC 3550 §6.4.3)" (fun () ->
              Expect.equal (readOne (hex "80C9 0002 902F9E2E 01020304")) (ReceiverReport(0x902F9E2Eu, [||])) "a report")

          testCase "SDES: the zero and the padding of each chunk (RFC 3550 §6.5)" (fun () ->
              let cname text = { Type = 1uy; Text = text }

              isWritten
                  "82CA 0006 00000001 01 03 414243 000000 00000002 01 02 4142 00000000"
                  (SourceDescription
                      [| { Source = 1u
                           Items = [| cname "ABC" |] }
                         { Source = 2u
                           Items = [| cname "AB" |] } |]))

          testCase "BYE with and without a reason (RFC 3550 §6.6)" (fun () ->
              isWritten "81CB 0001 902F9E2E" (Goodbye([| 0x902F9E2Eu |], ""))

              isWritten "81CB 0002 902F9E2E 03 464F4F" (Goodbye([| 0x902F9E2Eu |], "FOO")))

          testCase "generic NACK, PLI, FIR, SLI, RPSI, SR request (RFC 4585 §6, 5104 §4.3.1, 6051 §3.2)" (fun () ->
              isWritten
                  "81CD 0004 00000001 00000002 0005 8001 0100 0000"
                  (Nack(
                      1u,
                      2u,
                      [| { PacketId = 5us; Bitmask = 0x8001us }
                         { PacketId = 256us; Bitmask = 0us } |]
                  ))

              isWritten "81CE 0002 00000001 00000002" (PictureLossIndication(1u, 2u))

              isWritten
                  "84CE 0004 00000001 00000000 00000002 07 000000"
                  (FullIntraRequest(1u, [| { Ssrc = 2u; Sequence = 7uy } |]))

              isWritten "82CE 0003 00000001 00000002 00080043" (SliceLossIndication(1u, 2u, [| 0x00080043u |]))

              isWritten
                  "83CE 0003 00000001 00000002 08600100"
                  (ReferencePictureSelection(1u, 2u, memory (hex "08600100")))

              isWritten "85CD 0002 00000001 00000002" (RapidResynchronization(1u, 2u)))

          testCase "TMMBR: 17 bits of mantissa, 6 of exponent, 9 of overhead (RFC 5104 §4.2.1)" (fun () ->
              // 2,000,000 = 125,000 · 2⁴; 125,000 = 0x1E848 fits 17 bits.
              isWritten
                  "83CD 0004 00000001 00000000 00000002 13D09028"
                  (Tmmbr(
                      1u,
                      [| { Ssrc = 2u
                           MaxBitrate = 2_000_000UL
                           Overhead = 40 } |]
                  )))

          testCase "REMB: 18 bits of mantissa (draft-alvestrand-rmcat-remb-03 §2.2)" (fun () ->
              // 8,927,168 = 139,487 · 2⁶; 139,487 = 0x220DF.
              isWritten
                  "8FCE 0005 00000001 00000000 52454D42 01 1A20DF 4854A4E5"
                  (ReceiverEstimatedMaxBitrate(1u, 8_927_168UL, [| 0x4854A4E5u |])))

          testCase
              "a bitrate is rounded down to what its mantissa can say, and one past 64 bits is the largest"
              (fun () ->
                  let remb rate =
                      ReceiverEstimatedMaxBitrate(1u, rate, [||])

                  Expect.equal (readOne (write (remb 0x7FFFFFUL))) (remb 0x7FFFE0UL) "rounded"
                  Expect.equal (readOne (write (remb 0UL))) (remb 0UL) "nothing"

                  Expect.equal
                      (readOne (hex "8FCE 0004 00000001 00000000 52454D42 00 FFFFFF"))
                      (remb UInt64.MaxValue)
                      "largest")

          testCase "RFC 8888 §3.1: an odd number of reports is padded" (fun () ->
              isWritten
                  "8BCD 0006 00000001 00000002 FFFF 0003 8005 0000 FFFE 0000 12345678"
                  (CongestionFeedback(
                      1u,
                      [| { Ssrc = 2u
                           BeginSequence = 65535us
                           Packets =
                             [| { Received = true
                                  Ecn = 0uy
                                  ArrivalOffset = 5us }
                                { Received = false
                                  Ecn = 0uy
                                  ArrivalOffset = 0us }
                                { Received = true
                                  Ecn = 3uy
                                  ArrivalOffset = 0x1FFEus } |] } |],
                      0x12345678u
                  )))

          testCase "XR: RRTR, DLRR, loss RLE (RFC 3611 §4)" (fun () ->
              isWritten
                  "80CF 000C 00000001 04000002 DA8BD1FCDDDDA05A 05000003 00000002 00000003 00000004 01020003 00000005 00010010 4006 0000"
                  (ExtendedReport(
                      1u,
                      [| ReceiverReferenceTime 0xDA8BD1FCDDDDA05AUL
                         Dlrr
                             [| { Ssrc = 2u
                                  LastReceiverReport = 3u
                                  DelaySinceLastReceiverReport = 4u } |]
                         LossRle
                             { Ssrc = 5u
                               Thinning = 2uy
                               Begin = 1us
                               End = 16us
                               Chunks = [| 0x4006us; 0us |] } |]
                  )))

          testCase
              "an XR block whose length is not its type's stays as it is, and the others count (RFC 3611 §3)"
              (fun () ->
                  match readOne (hex "80CF 0006 00000001 04000001 AABBCCDD 04000002 0000000000000007") with
                  | ExtendedReport(1u, [| OtherBlock(4uy, 0uy, content); ReceiverReferenceTime 7UL |]) ->
                      Expect.equal (content.ToArray()) (hex "AABBCCDD") "as it is"
                  | other -> failtest $"{other}") ]

let private feedback (packets: PacketArrival[]) =
    TransportCc
        { Sender = 1u
          Media = 2u
          BaseSequence = 0x0102us
          ReferenceTime = -2
          FeedbackCount = 9uy
          Packets = packets }

let private got delta = { Received = true; Delta = delta }
let private missed = { Received = false; Delta = 0s }

let private transportTests =
    testList
        "transport-wide feedback"
        [ testCase "a run, octet by octet" (fun () ->
              isWritten
                  "8FCD 0006 00000001 00000002 0102 0004 FFFFFE 09 2004 01 02 03 FF 0000"
                  (feedback [| got 1s; got 2s; got 3s; got 255s |]))

          testCase "a vector of single bits covers 14" (fun () ->
              isWritten
                  // 1 0 11 0 followed by zeros of the vector.
                  "8FCD 0006 00000001 00000002 0102 0005 FFFFFE 09 AC00 01 02 03 000000"
                  (feedback [| got 1s; missed; got 2s; got 3s; missed |]))

          testCase "a vector of two bits covers 7, deltas of two octets are signed" (fun () ->
              isWritten
                  // 01 10 00 10 and zeros behind 11.
                  "8FCD 0006 00000001 00000002 0102 0004 FFFFFE 09 D880 01 0100 FFFF 00"
                  (feedback [| got 1s; got 256s; missed; got -1s |]))

          testCase "padding of 1 to 3 octets with the P bit, as libwebrtc sends it, is taken off" (fun () ->
              Expect.equal
                  (readOne (hex "AFCD 0005 00000001 00000002 0102 0001 FFFFFE 09 2001 05 01"))
                  (feedback [| got 5s |])
                  "read")

          testCase "a run may say more than the count, and a reserved symbol is malformed" (fun () ->
              Expect.equal
                  (readOne (hex "8FCD 0005 00000001 00000002 0102 0001 FFFFFE 09 3FFF 0500"))
                  (feedback [| got 5s |])
                  "clipped"

              isMalformed "reserved run" "8FCD 0005 00000001 00000002 0102 0001 FFFFFE 09 6001 0500"
              isMalformed "reserved in a vector" "8FCD 0005 00000001 00000002 0102 0001 FFFFFE 09 F000 0500"
              isMalformed "no deltas" "8FCD 0005 00000001 00000002 0102 0003 FFFFFE 09 2003 0500"
              isMalformed "no chunks" "8FCD 0004 00000001 00000002 0102 0001 FFFFFE 09")

          testCase "no longer than single bits or single runs would be" (fun () ->
              let random = Random 7

              for _ in 1..200 do
                  let packets =
                      Array.init (random.Next(1, 400)) (fun _ -> if random.Next 10 = 0 then missed else got 3s)

                  let deltas = packets |> Array.sumBy (fun p -> if p.Received then 1 else 0)
                  let vectors = 20 + 2 * ((packets.Length + 13) / 14) + deltas
                  Expect.isLessThanOrEqual (RtcpCodec.size (feedback packets)) (vectors + 3) "size"

              Expect.equal (RtcpCodec.size (feedback (Array.create 8191 missed))) 24 "one run")

          testCase "short packets that claim much cost no more than 64 KiB" (fun () ->
              // 16,000 statuses in 24 octets, a hundred times.
              let one = hex "8FCD 0005 00000001 00000002 0102 3E80 FFFFFE 09 1FFF 1FFF"
              let bytes = Array.concat (Array.replicate 100 one)
              read bytes |> ignore
              let before = GC.GetAllocatedBytesForCurrentThread()
              let packets, malformed = read bytes
              let allocated = GC.GetAllocatedBytesForCurrentThread() - before
              Expect.equal packets.Length 1 "the first is read"
              Expect.equal malformed 99 "the others are past the bound"
              Expect.isLessThan allocated 100_000L "octets") ]

let private frameTests =
    testList
        "framing"
        [ testCase "what is malformed is counted, and what follows it is read" (fun () ->
              let packets, malformed =
                  read (hex "81CB 0000  81CE 0002 00000001 00000002  81CE 0001 00000001  80C9 0001 00000007")

              Expect.equal packets [| PictureLossIndication(1u, 2u); ReceiverReport(7u, [||]) |] "two of four"

              Expect.equal malformed 2 "two")

          testCase "a length past the end ends the reading, and counts once" (fun () ->
              let packets, malformed = read (hex "80C9 0001 00000007 80C9 0002 00000007")
              Expect.equal packets [| ReceiverReport(7u, [||]) |] "the first"
              Expect.equal malformed 1 "the rest"
              isMalformed "version 1" "40C9 0001 00000007"
              isMalformed "three octets" "80C900")

          testCase "padding of the last packet is taken off; padding that cannot be is malformed" (fun () ->
              Expect.equal (readOne (hex "A0C9 0002 00000007 00000004")) (ReceiverReport(7u, [||])) "padded"
              isMalformed "no octet" "A0C9 0002 00000007 00000000"
              isMalformed "more than there is" "A0C9 0002 00000007 00000009")

          testCase "counts that the content does not bear out are malformed" (fun () ->
              isMalformed "a report" "81C9 0001 00000007"
              isMalformed "a source" "82CB 0001 00000007"
              isMalformed "a reason" "81CB 0002 00000007 04414141"
              isMalformed "a chunk" "82CA 0002 00000001 00000000"
              isMalformed "a chunk without end" "81CA 0002 00000001 01024142"
              isMalformed "REMB's sources" "8FCE 0004 00000001 00000000 52454D42 01 000001"
              isMalformed "reports of RFC 8888" "8BCD 0004 00000001 00000002 0000 0005 00000000"
              isMalformed "an XR block" "80CF 0002 00000001 04000002")

          testCase "a compound packet begins with a report without padding (RFC 3550 §A.2)" (fun () ->
              let isCompound text =
                  RtcpCodec.isCompound (ReadOnlySpan(hex text))

              Expect.isTrue (isCompound "80C9 0001 00000007 81CB 0001 00000007") "RR, BYE"
              Expect.isTrue (isCompound "80C9 0001 00000007") "RR alone"
              Expect.isFalse (isCompound "81CE 0002 00000001 00000002") "reduced-size"
              Expect.isFalse (isCompound "A0C9 0002 00000007 00000004") "padding first"
              Expect.isFalse (isCompound "80C9 0001 00000007 81CB 0002 00000007") "a length past the end"
              Expect.isFalse (isCompound "80C9 0001 00000007 41CB 0001 00000007") "version 1"
              Expect.isFalse (isCompound "") "nothing")

          testCase "lists that are too long are cut by write, and made more packets by split" (fun () ->
              let report = Unchecked.defaultof<ReceptionReport>
              let many = SenderReport(1u, Unchecked.defaultof<SenderInfo>, Array.create 70 report)

              match readOne (write many) with
              | SenderReport(_, _, reports) -> Expect.equal reports.Length 31 "cut"
              | other -> failtest $"{other}"

              let counts =
                  RtcpSplit.split 65_536 many
                  |> Array.map (fun part ->
                      match readOne (write part) with
                      | SenderReport(_, _, reports) -> "SR", reports.Length
                      | ReceiverReport(_, reports) -> "RR", reports.Length
                      | _ -> "?", 0)

              Expect.equal counts [| "SR", 31; "RR", 31; "RR", 8 |] "split"
              let pairs = Array.create 100_000 { PacketId = 0us; Bitmask = 0us }

              match readOne (write (Nack(1u, 2u, pairs))) with
              | Nack(_, _, lost) -> Expect.equal lost.Length 65_533 "as many as the length can say"
              | other -> failtest $"{other}"

              let stream =
                  { Ssrc = 1u
                    BeginSequence = 65_000us
                    Packets =
                      Array.init 20_000 (fun i ->
                          { Received = true
                            Ecn = 0uy
                            ArrivalOffset = uint16 (i &&& 0x1FFF) }) }

              let joined =
                  RtcpSplit.split 1200 (CongestionFeedback(1u, [| stream |], 5u))
                  |> Array.collect (fun part ->
                      match readOne (write part) with
                      | CongestionFeedback(_, streams, 5u) -> streams
                      | other -> failtest $"{other}")

              Expect.equal (joined |> Array.collect _.Packets) stream.Packets "all of them"
              let mutable next = stream.BeginSequence

              for part in joined do
                  Expect.equal part.BeginSequence next "in order"
                  next <- next + uint16 part.Packets.Length)

          testCase "texts past 255 octets are cut between characters" (fun () ->
              match readOne (write (Goodbye([| 1u |], String('é', 200)))) with
              | Goodbye(_, reason) -> Expect.equal reason (String('é', 127)) "254 octets"
              | other -> failtest $"{other}")

          testCase "nothing read holds on to the bytes" (fun () ->
              let bytes =
                  hex "81CC 0003 00000001 41424344 AABBCCDD 86CE 0003 00000001 00000002 AABBCCDD"

              let packets, _ = read bytes
              let before = packets |> Array.map key
              Array.fill bytes 0 bytes.Length 0uy
              Expect.equal (packets |> Array.map key) before "as it was") ]

let tests = testList "RTCP on the wire" [ vectors; transportTests; frameTests ]
