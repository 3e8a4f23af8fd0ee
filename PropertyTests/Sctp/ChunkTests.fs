module Hybrid.WebRtc.PropertyTests.Sctp.ChunkTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

let private memory (bytes: byte[]) = ReadOnlyMemory bytes

let private bytesOf (chunk: Chunk) =
    let into = Array.zeroCreate (Chunk.size chunk)
    let mutable writer = Writer(Span into)
    Chunk.write &writer chunk
    Expect.equal writer.Written into.Length "write fills exactly size"
    into

/// The chunk without its padding, as `SctpPacket.nextChunk` hands it on.
let private whole (bytes: byte[]) =
    memory bytes[.. (int bytes[2] <<< 8 ||| int bytes[3]) - 1]

let private tlv =
    gen {
        let! kind = Gen.choose (0, 65535)
        let! value = Gen.arrayOf (ArbMap.defaults |> ArbMap.generate<byte>)
        return Tlv.ofBytes (uint16 kind) value
    }

let private uint32s = ArbMap.defaults |> ArbMap.generate<uint32>
let private uint16s = ArbMap.defaults |> ArbMap.generate<uint16>
let private byteArrays = Gen.arrayOf (ArbMap.defaults |> ArbMap.generate<byte>)
let private tlvs = Gen.listOf tlv |> Gen.scaleSize (fun n -> n / 8)

let private init =
    gen {
        let! tag = uint32s
        let! window = uint32s
        let! outbound = uint16s
        let! inbound = uint16s
        let! tsn = uint32s
        let! parameters = tlvs

        return
            { InitiateTag = tag
              AdvertisedReceiverWindow = window
              OutboundStreams = outbound
              InboundStreams = inbound
              InitialTsn = Tsn tsn
              Parameters = parameters }
    }

let private sack =
    gen {
        let! cumulative = uint32s
        let! window = uint32s
        let! steps = Gen.listOf (Gen.two (Gen.choose (1, 40)))
        let! duplicates = Gen.arrayOf uint32s

        let blocks =
            steps
            |> List.scan (fun (_, last) (gap, length) -> last + gap + 1, last + gap + length) (0, 0)
            |> List.tail

        return
            Sack
                { CumulativeTsnAck = Tsn cumulative
                  AdvertisedReceiverWindow = window
                  GapAckBlocks =
                    [| for first, last in blocks ->
                           { Start = uint16 first
                             End = uint16 last } |]
                  DuplicateTsns = Array.map Tsn duplicates }
    }

let private chunk: Gen<Chunk> =
    Gen.oneof
        [ Gen.map Init init
          Gen.map InitAck init
          sack
          Gen.map (memory >> Heartbeat) byteArrays
          Gen.map (memory >> HeartbeatAck) byteArrays
          Gen.map2 (fun t causes -> Abort(t, causes)) (Gen.elements [ true; false ]) tlvs
          Gen.map (Tsn >> Shutdown) uint32s
          Gen.constant ShutdownAck
          Gen.map Error tlvs
          Gen.map (memory >> CookieEcho) byteArrays
          Gen.constant CookieAck
          Gen.map ShutdownComplete (Gen.elements [ true; false ])
          Gen.map Reconfig tlvs
          Gen.map Pad (Gen.choose (0, 2000))
          Gen.map2
              (fun tsn skipped ->
                  ForwardTsn(
                      Tsn tsn,
                      [| for stream, ssn in skipped ->
                             { Stream = stream
                               Unordered = false
                               Mid = Mid.ofSsn (Ssn ssn) } |]
                  ))
              uint32s
              (Gen.listOf (Gen.two uint16s))
          Gen.map2
              (fun tsn skipped ->
                  IForwardTsn(
                      Tsn tsn,
                      [| for stream, mid in skipped ->
                             { Stream = stream
                               Unordered = mid % 3u = 0u
                               Mid = Mid mid } |]
                  ))
              uint32s
              (Gen.listOf (Gen.zip uint16s uint32s)) ]

/// The same chunk as text: lent memory has no equality of its own.
let rec private text (chunk: Chunk) =
    let bytes (m: ReadOnlyMemory<byte>) = Convert.ToHexString m.Span

    let tlvs list =
        list
        |> List.map (fun (t: Tlv) -> string t.Kind + ":" + bytes t.Value)
        |> String.concat ","

    match chunk with
    | Init i
    | InitAck i ->
        sprintf
            "%d %d %d %d %A %s"
            i.InitiateTag
            i.AdvertisedReceiverWindow
            i.OutboundStreams
            i.InboundStreams
            i.InitialTsn
            (tlvs i.Parameters)
    | Sack s ->
        sprintf
            "%A %d %A %A"
            s.CumulativeTsnAck
            s.AdvertisedReceiverWindow
            (List.ofArray s.GapAckBlocks)
            (List.ofArray s.DuplicateTsns)
    | Heartbeat b
    | HeartbeatAck b
    | CookieEcho b -> bytes b
    | Abort(t, causes) -> string t + tlvs causes
    | Error causes
    | Reconfig causes -> tlvs causes
    | Shutdown tsn -> string (Tsn.value tsn)
    | ShutdownComplete t -> string t
    | Pad length -> string length
    | ForwardTsn(tsn, skipped)
    | IForwardTsn(tsn, skipped) -> sprintf "%A %A" tsn (List.ofArray skipped)
    | Unknown(kind, whole) -> string kind + bytes whole
    | ShutdownAck
    | CookieAck -> ""

let private samples = Gen.sampleWithSeed (Rnd 7UL) 12 60 chunk |> List.ofArray

let private data payload flags =
    { Interleaved = false
      Flags = flags
      Stream = 7us
      Mid = Mid 8u
      Fsn = 0u
      Tsn = Tsn 9u
      Ppid = 51u
      Payload = memory payload }

let tests =
    testList
        "Chunk"
        [ testCase
              "of a SACK's gap ack blocks the first 1,024 count, and what follows them is read all the same"
              (fun () ->
                  let sack =
                      { CumulativeTsnAck = Tsn 7u
                        AdvertisedReceiverWindow = 9u
                        GapAckBlocks =
                          [| for i in 1..4_000 ->
                                 { Start = uint16 (2 * i)
                                   End = uint16 (2 * i) } |]
                        DuplicateTsns = [| Tsn 5u |] }

                  let bytes = Array.zeroCreate (Chunk.size (Sack sack))
                  let mutable writer = Writer(Span bytes)
                  Chunk.write &writer (Sack sack)

                  match Chunk.read (ReadOnlyMemory bytes) with
                  | ValueSome(Sack read) ->
                      Expect.equal read.GapAckBlocks.Length 1_024 "blocks"
                      Expect.equal (int read.GapAckBlocks[1_023].End) 2_048 "in order"
                      Expect.equal read.DuplicateTsns [| Tsn 5u |] "duplicates"
                  | _ -> failtest "a SACK")

          testPropertyWithConfig Laws.config "read (write chunk) = chunk"
          <| Prop.forAll (Arb.fromGen chunk) (fun chunk ->
              let bytes = bytesOf chunk

              match Chunk.read (whole bytes) with
              | ValueSome again -> text again = text chunk && bytesOf again = bytes
              | ValueNone -> false)

          testPropertyWithConfig Laws.config "read (write data) = data"
          <| fun (payload: byte[]) (flags: byte) (tsn: uint32) ->
              let chunk =
                  { data payload flags with
                      Tsn = Tsn tsn }

              let into = Array.zeroCreate (Data.size chunk)
              let mutable writer = Writer(Span into)
              Data.write &writer chunk

              match Data.read (whole into) with
              | ValueSome again ->
                  writer.Written = into.Length
                  && again.Flags = flags
                  && again.Tsn = Tsn tsn
                  && again.Stream = 7us
                  && not again.Interleaved
                  && again.Mid = Mid 8u
                  && again.Ppid = 51u
                  && again.Payload.ToArray() = payload
              | ValueNone -> false

          testPropertyWithConfig Laws.config "read (write data) = data, in I-DATA too (RFC 8260 §2.1)"
          <| fun (payload: byte[]) (flags: byte) (mid: uint32) (fsn: uint32) ->
              let chunk =
                  { data payload flags with
                      Interleaved = true
                      Mid = Mid mid
                      Fsn = fsn }

              let into = Array.zeroCreate (Data.size chunk)
              let mutable writer = Writer(Span into)
              Data.write &writer chunk
              let begins = flags &&& Flag.Begin <> 0uy

              match Data.read (whole into) with
              | ValueSome again ->
                  writer.Written = into.Length
                  && again.Interleaved
                  && again.Flags = flags
                  && again.Mid = Mid mid
                  && again.Fsn = (if begins then 0u else fsn)
                  && again.Ppid = (if begins then 51u else 0u)
                  && again.Payload.ToArray() = payload
              | ValueNone -> false

          testCase "I-DATA and I-FORWARD-TSN octet by octet (RFC 8260 figures 3 and 4)" (fun () ->
              let written flags =
                  let chunk =
                      { data [| 0xaauy; 0xbbuy; 0xccuy |] flags with
                          Interleaved = true
                          Mid = Mid 0x01020304u
                          Fsn = 0x05060708u }

                  let into = Array.zeroCreate (Data.size chunk)
                  let mutable writer = Writer(Span into)
                  Data.write &writer chunk
                  Convert.ToHexString(into).ToLowerInvariant()

              Expect.equal (written Flag.Begin) "4002001700000009000700000102030400000033aabbcc00" "first: the PPID"
              Expect.equal (written Flag.End) "4001001700000009000700000102030405060708aabbcc00" "other: the FSN"

              let skip =
                  IForwardTsn(
                      Tsn 9u,
                      [| { Stream = 7us
                           Unordered = true
                           Mid = Mid 0x01020304u } |]
                  )

              Expect.equal
                  (Convert.ToHexString(bytesOf skip).ToLowerInvariant())
                  "c2000010000000090007000101020304"
                  "U in the last bit of the reserved 16")

          Laws.anyBytes "reading any bytes as a chunk ends without throwing" (fun bytes ->
              if bytes.Length >= 4 then
                  for kind in [ 0uy .. 15uy ] @ [ 0x40uy; 0x82uy; 0xc0uy; 0xc2uy; 0xffuy ] do
                      let copy = Array.copy bytes
                      copy[0] <- kind

                      match Chunk.read (memory copy) with
                      | ValueSome(Reconfig tlvs) -> tlvs |> List.iter (fun t -> Reconfiguration.ofTlv t |> ignore)
                      | ValueSome(Abort(_, causes)) -> Cause.describe causes |> ignore
                      | ValueSome(Init i) -> Parameter.sift 4 i.Parameters |> ignore
                      | _ -> ()

                      Data.read (memory copy) |> ignore

              true)

          Laws.mutated "reading almost a chunk ends without throwing" (List.map bytesOf samples) (fun bytes ->
              if bytes.Length >= 4 then
                  match Chunk.read (memory bytes) with
                  | ValueSome chunk ->
                      // What was read can be written.
                      if Chunk.size chunk < 60000 then
                          bytesOf chunk |> ignore
                  | ValueNone -> ())

          testPropertyWithConfig Laws.config "a packet's size is what is written, and its checksum holds"
          <| Prop.forAll (Arb.fromGen (Gen.listOf chunk)) (fun chunks ->
              let packet =
                  { SourcePort = 5000us
                    DestinationPort = 5000us
                    VerificationTag = 1u
                    Control = chunks
                    Data = [| data [| 1uy; 2uy; 3uy |] Flag.Whole |]
                    ZeroChecksum = false
                    MayFragment = false }

              let into = Array.zeroCreate (SctpPacket.size packet)
              let written = SctpPacket.write (Span into) packet
              let intact = SctpPacket.isIntact (ReadOnlySpan into)
              into[written / 2] <- into[written / 2] ^^^ 0x10uy
              written = into.Length && intact && not (SctpPacket.isIntact (ReadOnlySpan into)))

          testCase "the checksum is CRC32c, least octet first (RFC 9260 Appendix A)" (fun () ->
              // The check value of CRC-32C: "123456789" gives e3069283.
              let bytes = Encoding.ASCII.GetBytes "123456789"
              let mutable crc = UInt32.MaxValue

              for b in bytes do
                  crc <- Numerics.BitOperations.Crc32C(crc, b)

              Expect.equal (~~~crc) 0xe3069283u "the function"
              // Over a whole packet, octet by octet.
              let packet = Array.init 40 (fun i -> byte (i * 7))
              let zeroed = Array.copy packet
              Array.fill zeroed 8 4 0uy
              let mutable crc = UInt32.MaxValue

              for b in zeroed do
                  crc <- Numerics.BitOperations.Crc32C(crc, b)

              Expect.equal (SctpPacket.checksum (ReadOnlySpan packet)) (~~~crc) "eight octets at a time is the same")

          testCase "an INIT of Chromium reads as it was captured" (fun () ->
              // fixtures/captures: a_rwnd 5,242,880, 65,535 streams, 0xc000, 0x8008 = 82 c0.
              let bytes =
                  Convert.FromHexString(
                      "01000020"
                      + "97255f2a"
                      + "00500000"
                      + "ffffffff"
                      + "71741bd3"
                      + "c0000004"
                      + "80080006"
                      + "82c00000"
                  )

              match Chunk.read (memory bytes) with
              | ValueSome(Init init) ->
                  Expect.equal init.AdvertisedReceiverWindow 5242880u "a_rwnd"
                  Expect.isTrue (Parameter.find Parameter.ForwardTsnSupported init.Parameters).IsSome "forward TSN"

                  Expect.equal
                      ((Parameter.find Parameter.SupportedExtensions init.Parameters).Value.ToArray()[..1])
                      [| 0x82uy; 0xc0uy |]
                      "extensions"
              | _ -> failtest "not an INIT")

          testCase
              "unknown parameters are passed over or reported by their two highest bits (RFC 9260 §3.2.1)"
              (fun () ->
                  let sift kinds =
                      let struct (kept, reported) =
                          Parameter.sift 8 (kinds |> List.map (fun k -> Tlv.ofBytes k [||]))

                      kept |> List.map _.Kind, reported |> List.map _.Kind

                  Expect.equal (sift [ 0x3fffus; 7us ]) ([], []) "00: stop"
                  Expect.equal (sift [ 0x7fffus; 7us ]) ([], [ 0x7fffus ]) "01: stop and report"
                  Expect.equal (sift [ 0xbfffus; 7us ]) ([ 7us ], []) "10: go on"
                  Expect.equal (sift [ 0xfff0us; 7us ]) ([ 7us ], [ 0xfff0us ]) "11: go on and report") ]
