/// RTCP on the wire.
module Hybrid.WebRtc.PropertyTests.Rtp.RtcpTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests

let private generated<'value> = ArbMap.defaults |> ArbMap.generate<'value>
let private bytes' = generated<byte>
let private uint16s = generated<uint16>
let private uint32s = generated<uint32>
let private uint64s = generated<uint64>

let hex (text: string) =
    Convert.FromHexString(text.Replace(" ", ""))

let memory (bytes: byte[]) = ReadOnlyMemory bytes

let private upTo (most: int) (items: Gen<'item>) =
    gen {
        let! length = Gen.choose (0, most)
        return! Gen.arrayOfLength length items
    }

let private words (most: int) =
    gen {
        let! count = Gen.choose (0, most)
        let! data = Gen.arrayOfLength (4 * count) bytes'
        return memory data
    }

let private texts =
    Gen.elements [ ""; "a"; "user@example"; "Grüße, 世界"; String('x', 255); "🎥" ]

let private report: Gen<ReceptionReport> =
    gen {
        let! ssrc = uint32s
        let! fraction = bytes'
        let! lost = Gen.choose (-0x80_0000, 0x7F_FFFF)
        let! highest = uint32s
        let! jitter = uint32s
        let! last = uint32s
        let! delay = uint32s

        return
            { Ssrc = ssrc
              FractionLost = fraction
              CumulativeLost = lost
              HighestSequence = highest
              Jitter = jitter
              LastSenderReport = last
              DelaySinceLastSenderReport = delay }
    }

let private chunk =
    gen {
        let! source = uint32s

        let! items =
            upTo
                4
                (gen {
                    let! kind = Gen.choose (1, 255)
                    let! text = texts
                    return { Type = byte kind; Text = text }
                })

        return { Source = source; Items = items }
    }

let private pair =
    Gen.map2 (fun id bits -> { PacketId = id; Bitmask = bits }) uint16s uint16s

/// Runs of what real feedback has: received in time, late, before its predecessor, and lost.
let private arrivals =
    let lost = Gen.constant { Received = false; Delta = 0s }

    let received (least: int) (most: int) =
        Gen.map (fun delta -> { Received = true; Delta = int16 delta }) (Gen.choose (least, most))

    gen {
        let! runs =
            upTo
                12
                (gen {
                    let! length = Gen.frequency [ 5, Gen.choose (1, 20); 1, Gen.choose (1, 200) ]

                    let! kind =
                        Gen.elements
                            [ lost
                              received 0 255
                              received -32768 32767
                              Gen.oneof [ lost; received 0 255 ]
                              Gen.oneof [ lost; received 0 255; received 256 32767; received -32768 -1 ] ]

                    return! Gen.arrayOfLength length kind
                })

        return Array.concat runs
    }

let private transportFeedback =
    gen {
        let! sender = uint32s
        let! media = uint32s
        let! first = uint16s
        let! time = Gen.choose (-0x80_0000, 0x7F_FFFF)
        let! count = bytes'
        let! packets = arrivals

        return
            { Sender = sender
              Media = media
              BaseSequence = first
              ReferenceTime = time
              FeedbackCount = count
              Packets = packets }
    }

let private ccfbArrival =
    gen {
        let! received = generated<bool>
        let! ecn = Gen.choose (0, 3)
        let! offset = Gen.choose (0, 0x1FFF)

        return
            if received then
                { Received = true
                  Ecn = byte ecn
                  ArrivalOffset = uint16 offset }
            else
                Unchecked.defaultof<CcfbArrival>
    }

let private ccfbStream =
    gen {
        let! ssrc = uint32s
        let! first = uint16s
        let! packets = upTo 40 ccfbArrival

        return
            { Ssrc = ssrc
              BeginSequence = first
              Packets = packets }
    }

/// A bitrate that a mantissa of so many bits can say.
let private bitrate (mantissaBits: int) =
    gen {
        let! mantissa = Gen.choose (0, (1 <<< mantissaBits) - 1)
        let! exponent = Gen.choose (0, 64 - mantissaBits)
        return uint64 mantissa <<< exponent
    }

let private tmmb =
    gen {
        let! ssrc = uint32s
        let! rate = bitrate 17
        let! overhead = Gen.choose (0, 511)

        return
            { Ssrc = ssrc
              MaxBitrate = rate
              Overhead = overhead }
    }

let private rle =
    gen {
        let! ssrc = uint32s
        let! thinning = Gen.choose (0, 15)
        let! first = uint16s
        let! last = uint16s
        let! chunks = Gen.choose (0, 10)
        let! chunks = Gen.arrayOfLength (2 * chunks) uint16s

        return
            { Ssrc = ssrc
              Thinning = byte thinning
              Begin = first
              End = last
              Chunks = chunks }
    }

let private summary =
    gen {
        let! ssrc = uint32s
        let! flags = bytes'
        let! first = uint16s
        let! last = uint16s
        let! numbers = Gen.arrayOfLength 6 uint32s
        let! ttls = Gen.arrayOfLength 4 bytes'

        return
            { Ssrc = ssrc
              Flags = flags
              Begin = first
              End = last
              LostPackets = numbers[0]
              DuplicatePackets = numbers[1]
              MinJitter = numbers[2]
              MaxJitter = numbers[3]
              MeanJitter = numbers[4]
              DeviationJitter = numbers[5]
              MinTtl = ttls[0]
              MaxTtl = ttls[1]
              MeanTtl = ttls[2]
              DeviationTtl = ttls[3] }
    }

let private dlrrEntry =
    Gen.map3
        (fun ssrc last delay ->
            { Ssrc = ssrc
              LastReceiverReport = last
              DelaySinceLastReceiverReport = delay })
        uint32s
        uint32s
        uint32s

let private block =
    Gen.oneof
        [ Gen.map LossRle rle
          Gen.map DuplicateRle rle
          gen {
              let! it = rle
              let! times = upTo 10 uint32s
              return ReceiptTimes(it.Ssrc, it.Thinning, it.Begin, it.End, times)
          }
          Gen.map ReceiverReferenceTime uint64s
          Gen.map Dlrr (upTo 5 dlrrEntry)
          Gen.map Summary summary
          Gen.map (memory >> VoipMetrics) (Gen.arrayOfLength 32 bytes')
          gen {
              let! kind = Gen.choose (8, 255)
              let! specific = bytes'
              let! content = words 8
              return OtherBlock(byte kind, specific, content)
          } ]

let private info =
    gen {
        let! ntp = uint64s
        let! rtp = uint32s
        let! packets = uint32s
        let! octets = uint32s

        return
            { NtpTime = ntp
              RtpTime = rtp
              PacketCount = packets
              OctetCount = octets }
    }

/// Every case, as the wire can say it.
let private packets: Gen<Rtcp> =
    Gen.oneof
        [ Gen.map3 (fun a b c -> SenderReport(a, b, c)) uint32s info (upTo 31 report)
          Gen.map2 (fun a b -> ReceiverReport(a, b)) uint32s (upTo 31 report)
          Gen.map SourceDescription (upTo 31 chunk)
          Gen.map2 (fun a b -> Goodbye(a, b)) (upTo 31 uint32s) texts
          gen {
              let! subtype = Gen.choose (0, 31)
              let! ssrc = uint32s
              let! name = Gen.elements [ "PION"; "qwer"; "a  z" ]
              let! data = words 20
              return ApplicationDefined(byte subtype, ssrc, name, data)
          }
          Gen.map3 (fun a b c -> Nack(a, b, c)) uint32s uint32s (upTo 60 pair)
          Gen.map2 (fun a b -> RapidResynchronization(a, b)) uint32s uint32s
          Gen.map TransportCc transportFeedback
          Gen.map3 (fun a b c -> CongestionFeedback(a, b, c)) uint32s (upTo 5 ccfbStream) uint32s
          Gen.map2 (fun a b -> Tmmbr(a, b)) uint32s (upTo 10 tmmb)
          Gen.map2 (fun a b -> Tmmbn(a, b)) uint32s (upTo 10 tmmb)
          Gen.map2 (fun a b -> PictureLossIndication(a, b)) uint32s uint32s
          Gen.map3 (fun a b c -> SliceLossIndication(a, b, c)) uint32s uint32s (upTo 10 uint32s)
          Gen.map3 (fun a b c -> ReferencePictureSelection(a, b, c)) uint32s uint32s (words 5)
          Gen.map2
              (fun a b -> FullIntraRequest(a, b))
              uint32s
              (upTo 10 (Gen.map2 (fun ssrc n -> ({ Ssrc = ssrc; Sequence = n }: FirEntry)) uint32s bytes'))
          Gen.map3 (fun a b c -> ReceiverEstimatedMaxBitrate(a, b, c)) uint32s (bitrate 18) (upTo 40 uint32s)
          Gen.map2 (fun a b -> ExtendedReport(a, b)) uint32s (upTo 6 block)
          gen {
              let! kind = Gen.elements [ 192uy; 195uy; 208uy; 209uy; 223uy ]
              let! count = Gen.choose (0, 31)
              let! content = words 20
              return OtherRtcp(kind, byte count, content)
          } ]

/// A value that compares by content: memory only compares by place.
let key (packet: Rtcp) : objnull =
    match packet with
    | ApplicationDefined(subtype, ssrc, name, data) -> box (subtype, ssrc, name, data.ToArray())
    | ReferencePictureSelection(sender, media, bits) -> box (sender, media, bits.ToArray())
    | OtherRtcp(kind, count, content) -> box (kind, count, content.ToArray())
    | ExtendedReport(ssrc, blocks) ->
        box (
            ssrc,
            blocks
            |> Array.map (fun block ->
                match block with
                | VoipMetrics content -> box ("voice", content.ToArray())
                | OtherBlock(kind, specific, content) -> box (kind, specific, content.ToArray())
                | other -> box other)
        )
    | other -> box other

let write (packet: Rtcp) : byte[] =
    let size = RtcpCodec.size packet
    let into = Array.create (size + 4) 0xFFuy
    let written = RtcpCodec.write packet (Span into)
    Expect.equal written size "write fills exactly size"
    Expect.equal (size % 4) 0 "words"
    Expect.equal into[size..] (Array.create 4 0xFFuy) "and nothing behind"
    into[.. size - 1]

let read (bytes: byte[]) =
    let struct (packets, malformed) = RtcpCodec.read (ReadOnlySpan bytes)
    packets, malformed

let readOne (bytes: byte[]) : Rtcp =
    match read bytes with
    | [| one |], 0 -> one
    | several, malformed -> failtest $"{several.Length} packets, {malformed} malformed"

let tests =
    testList
        "RTCP"
        [ testPropertyWithConfig
              { Laws.config with
                  maxTest = 10 * Laws.config.maxTest }
              "read (write packet) = packet, and write fills exactly its size"
          <| Prop.forAll (Arb.fromGen packets) (fun packet ->
              Expect.equal (key (readOne (write packet))) (key packet) "the same")

          testPropertyWithConfig Laws.config "a compound packet reads as its parts, in order"
          <| Prop.forAll (Arb.fromGen (upTo 6 packets)) (fun packets ->
              let bytes = Array.zeroCreate<byte>(RtcpCodec.sizeAll packets)
              Expect.equal (RtcpCodec.writeAll packets (Span bytes)) bytes.Length "size"
              let back, malformed = read bytes
              Expect.equal malformed 0 "sound"
              Expect.equal (back |> Array.map key) (packets |> Array.map key) "the same")

          Laws.anyBytes "any bytes are read or counted, and what is read can be written" (fun bytes ->
              let packets, _ = read bytes
              let again = Array.zeroCreate<byte>(RtcpCodec.sizeAll packets)
              RtcpCodec.writeAll packets (Span again) = again.Length)

          testPropertyWithConfig
              { Laws.config with
                  maxTest = 20 * Laws.config.maxTest }
              "octets changed, cut and repeated: what is read, once written, reads as itself"
          <| Prop.forAll
              (Arb.fromGen (Gen.zip packets (Gen.zip3 (Gen.choose (0, 2)) (Gen.choose (0, 10_000)) bytes')))
              (fun (packet, (kind, at, value)) ->
                  let sample = write packet
                  let at = at % sample.Length

                  let changed =
                      match kind with
                      | 0 -> Array.mapi (fun i octet -> if i = at then value else octet) sample
                      | 1 -> sample[.. at - 1]
                      | _ -> Array.append sample sample[at..]

                  let packets, _ = read changed

                  for packet in packets do
                      let bytes = write packet
                      let back, malformed = read bytes
                      Expect.equal malformed 0 "sound"
                      Expect.equal back.Length 1 "one"
                      // A name or text that is not what it should be is mended once.
                      Expect.equal (write back[0]) bytes "the same octets")

          testPropertyWithConfig Laws.config "lost sequence numbers make pairs and come back"
          <| Prop.forAll
              (Arb.fromGen (
                  Gen.zip uint16s (upTo 200 (Gen.frequency [ 8, Gen.choose (1, 20); 1, Gen.choose (1, 400) ]))
              ))
              (fun (start, steps) ->
                  let lost = steps |> Array.scan (fun at step -> at + uint16 step) start
                  let pairs = NackPairs.ofLost (ReadOnlySpan lost)
                  Expect.equal (NackPairs.toLost pairs) lost "the same"
                  Expect.equal (NackPairs.count (ReadOnlySpan lost)) pairs.Length "count"
                  Expect.equal (NackPairs.countLost pairs) lost.Length "lost"
                  let doubled = lost |> Array.collect (fun n -> [| n; n |])
                  Expect.equal (NackPairs.ofLost (ReadOnlySpan doubled)) pairs "repeated ones count once"

                  for i in 1 .. pairs.Length - 1 do
                      Expect.isGreaterThan
                          (pairs[i].PacketId - pairs[i - 1].PacketId)
                          16us
                          "no pair says what the one before could")

          testPropertyWithConfig Laws.config "what is split fits its limit, loses nothing, and is within its counts"
          <| Prop.forAll (Arb.fromGen (Gen.zip (Gen.choose (300, 1200)) packets)) (fun (limit, packet) ->
              let parts = RtcpSplit.split limit packet

              for part in parts do
                  let single =
                      match part with
                      | TransportCc _
                      | ReceiverEstimatedMaxBitrate _
                      | ApplicationDefined _
                      | OtherRtcp _ -> true
                      | SourceDescription [| _ |] -> true
                      | _ -> false

                  if not single then
                      Expect.isLessThanOrEqual (RtcpCodec.size part) limit "size"

                  Expect.equal (key (readOne (write part))) (key part) "nothing is left out"

              if RtcpCodec.size packet <= limit then
                  Expect.equal parts.Length 1 "one that fits stays whole") ]
