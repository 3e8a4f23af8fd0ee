/// RTP packets, their header extensions, and what a sender writes of them.
module Hybrid.WebRtc.PropertyTests.Rtp.PacketTests

open System
open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests

let private memory (bytes: byte[]) = ReadOnlyMemory bytes
let private bytes' = ArbMap.defaults |> ArbMap.generate<byte>
let private uint16s = ArbMap.defaults |> ArbMap.generate<uint16>
let private uint32s = ArbMap.defaults |> ArbMap.generate<uint32>
let private bools = ArbMap.defaults |> ArbMap.generate<bool>

let private hex (text: string) =
    Convert.FromHexString(text.Replace(" ", ""))

let private data (least: int) (most: int) =
    gen {
        let! length =
            Gen.frequency [ 6, Gen.choose (least, min most 20); 1, Gen.choose (least, most) ]

        return! Gen.arrayOfLength length bytes'
    }

/// URIs of a section: most of the known ones, and some that nobody knows.
let private uris =
    Array.append
        [| for i in 1..16 -> HeaderExtensions.uri (enum<HeaderExtension> i) |]
        [| "urn:example:one"; "urn:example:two" |]

/// A map of some URIs to ids of their own.
let private maps =
    gen {
        let! most = Gen.elements [ 14; 14; 30; 255 ]
        let! ids = Gen.shuffle [| 1..most |]
        let! shuffled = Gen.shuffle uris
        let! count = Gen.choose (0, min 14 uris.Length)

        return ExtensionMap(Array.init count (fun i -> KeyValuePair(ids[i], shuffled[i])))
    }

let private elementsOf (map: ExtensionMap) =
    gen {
        let! count = Gen.choose (0, 8)

        return!
            Gen.arrayOfLength
                count
                (gen {
                    let! known =
                        Gen.elements (Array.append [| 0; 300 |] [| for e in map.Entries -> e.Key |])

                    let! any = Gen.choose (1, 255)
                    let! fromMap = Gen.frequency [ 5, Gen.constant true; 1, Gen.constant false ]
                    let! data = Gen.frequency [ 8, data 1 16; 1, data 0 255 ]

                    return
                        { Id = (if fromMap then known else any)
                          Data = memory data }
                })
    }

/// Any packet, and the elements that were put into it.
let private packets =
    gen {
        let! map = maps
        let! elements = elementsOf map
        let! marker = bools
        let! payloadType = Gen.choose (0, 127)
        let! sequence = uint16s
        let! timestamp = uint32s
        let! ssrc = uint32s
        let! csrcs = Gen.choose (0, 15)
        let! csrcs = Gen.arrayOfLength csrcs uint32s
        let! payload = data 0 1400
        let! padding = Gen.frequency [ 3, Gen.constant 0; 1, Gen.choose (1, 255) ]

        let packet =
            RtpPacket
                .Create(byte payloadType, marker, sequence, timestamp, memory payload)
                .WithSsrc(ssrc)
                .WithCsrcs(csrcs)
                .WithPadding(byte padding)
                .WithExtensions(map, elements)

        return struct (packet, elements)
    }

/// Ids and data, in order.
let private walk (profile: uint16) (block: byte[]) : (int * byte[]) list =
    let found = ResizeArray()
    let mutable elements = ExtensionReader(profile, ReadOnlySpan block)

    while elements.MoveNext() do
        found.Add((elements.Id, elements.Data.ToArray()))

    List.ofSeq found

let private walkOf (packet: RtpPacket) =
    walk packet.ExtensionProfile (packet.Extensions.ToArray())

let private parsed (map: ExtensionMap) (bytes: byte[]) =
    match RtpPackets.read (memory bytes) map with
    | ValueSome packet -> packet
    | ValueNone -> failtest "a packet"

/// All that a packet says.
let private said (p: RtpPacket) =
    struct (struct (p.Marker, p.PayloadType, p.SequenceNumber, p.Timestamp, p.Ssrc, p.Padding),
            struct (p.Csrcs.ToArray(), p.ExtensionProfile, p.Extensions.ToArray(), p.Payload.ToArray()))

let private isRefused (what: string) (bytes: byte[]) =
    Expect.isTrue (RtpHeader.read (ReadOnlySpan bytes)).IsNone what

let private headerTests =
    testList
        "headers"
        [ testPropertyWithConfig Laws.config "read (write packet) = packet, and write fills exactly its size"
          <| Prop.forAll (Arb.fromGen packets) (fun (struct (packet, _)) ->
              let bytes = packet.ToArray()
              Expect.equal bytes.Length packet.Size "size"
              Expect.equal (said (parsed packet.Map bytes)) (said packet) "the same packet")

          testCase "a packet with all there can be, octet by octet (RFC 3550 §5.1, RFC 8285 §4.2)" (fun () ->
              let bytes =
                  hex
                      "B2 E0 698F D9C293DA 1C642782 00000001 FFFFFFFE BEDE 0002 10 FF 3197 42 00 0000 98 36 BE 88 000003"

              match RtpHeader.read (ReadOnlySpan bytes) with
              | ValueNone -> failtest "a header"
              | ValueSome header ->
                  Expect.isTrue header.Marker "marker"
                  Expect.equal header.PayloadType 96uy "payload type"
                  Expect.equal header.SequenceNumber 27023us "sequence number"
                  Expect.equal header.Timestamp 3653407706u "timestamp"
                  Expect.equal header.Ssrc 476325762u "SSRC"
                  Expect.equal header.CsrcCount 2 "CSRCs"
                  Expect.equal header.ExtensionProfile 0xBEDEus "profile"
                  Expect.equal header.ExtensionOffset 24 "offset of the elements"
                  Expect.equal header.ExtensionLength 8 "length of the elements"
                  Expect.equal header.PayloadOffset 32 "offset of the payload"
                  Expect.equal header.PayloadLength 4 "payload"
                  Expect.equal header.PaddingLength 3 "padding"

              let packet = parsed ExtensionMap.Empty bytes
              Expect.equal [ packet.CsrcAt 0; packet.CsrcAt 1; packet.CsrcAt 2 ] [ 1u; 0xFFFFFFFEu; 0u ] "CSRCs"
              Expect.equal (packet.Payload.ToArray()) [| 0x98uy; 0x36uy; 0xBEuy; 0x88uy |] "payload"
              Expect.equal (packet.ToArray()) bytes "written as it was")

          testCase "what is no packet is refused" (fun () ->
              let good = hex "80 60 0001 00000002 00000003 AA"
              Expect.isTrue (RtpHeader.read (ReadOnlySpan good)).IsSome "good"
              isRefused "empty" [||]
              isRefused "eleven octets" good[..10]
              isRefused "version 1" (Array.append [| 0x40uy |] good[1..])
              isRefused "version 3" (Array.append [| 0xC0uy |] good[1..])
              isRefused "a CSRC that is not there" (Array.append [| 0x81uy |] good[1..])
              isRefused "an extension that is not there" (Array.append [| 0x90uy |] good[1..])

              isRefused
                  "an extension longer than the packet"
                  (hex "90 60 0001 00000002 00000003 BEDE 0002 10 AA 00 00")

              isRefused "padding of no octet" (hex "A0 60 0001 00000002 00000003 0000")
              isRefused "more padding than there is" (hex "A0 60 0001 00000002 00000003 0003"))

          testCase "a packet of padding alone is one, and one with an empty extension too" (fun () ->
              let padding = parsed ExtensionMap.Empty (hex "A0 60 0001 00000002 00000003 0002")
              Expect.equal padding.Padding 2uy "padding"
              Expect.equal padding.Payload.Length 0 "payload"
              let empty = hex "90 60 0001 00000002 00000003 BEDE 0000"
              Expect.equal ((parsed ExtensionMap.Empty empty).ToArray()) empty "an empty extension stays")

          testCase "the padding of a sealed packet is not looked at (RFC 3711 §3.1)" (fun () ->
              match RtpHeader.readSealed (ReadOnlySpan(hex "A0 60 0001 00000002 00000003 AABBCCFF")) with
              | ValueSome header ->
                  Expect.isTrue header.HasPadding "the bit"
                  Expect.equal header.PaddingLength 0 "not yet"
                  Expect.equal header.PayloadLength 4 "all of it"
              | ValueNone -> failtest "a header")

          testPropertyWithConfig Laws.config "any bytes are refused, or read as what they are written from"
          <| Prop.forAll
              (Arb.fromGen (
                  gen {
                      let! head = Gen.elements [ 0x80uy; 0x90uy; 0xA0uy; 0xB3uy; 0x8Fuy; 0x00uy ]
                      let! rest = data 0 300
                      return Array.append [| head |] rest
                  }
              ))
              (fun bytes ->
                  match RtpPackets.read (memory bytes) ExtensionMap.Empty with
                  | ValueNone -> ()
                  | ValueSome packet ->
                      Expect.equal packet.Size bytes.Length "nothing is left over"
                      Expect.equal (said (parsed ExtensionMap.Empty (packet.ToArray()))) (said packet) "the same")

          testCase "RTCP is told by packet types 192 to 223 (RFC 5761 §4)" (fun () ->
              for second in 0..255 do
                  Expect.equal
                      (RtpDemux.isRtcp (ReadOnlySpan [| 0x80uy; byte second |]))
                      ((second &&& 0x7F) >= 64 && (second &&& 0x7F) <= 95)
                      $"{second}"

              Expect.isFalse (RtpDemux.isRtcp (ReadOnlySpan [| 0x80uy |])) "one octet") ]

let private elementTests =
    testList
        "elements"
        [ testCase "one-byte elements with padding between them (RFC 8285 §4.2)" (fun () ->
              Expect.equal
                  (walk 0xBEDEus (hex "10 AA 21 BBCC 0000 33 DDEEFF00"))
                  [ 1, hex "AA"; 2, hex "BBCC"; 3, hex "DDEEFF00" ]
                  "three")

          testCase "two-byte elements with padding, whatever the application's bits (RFC 8285 §4.3)" (fun () ->
              for profile in 0x1000us .. 0x100Fus do
                  Expect.equal
                      (walk profile (hex "01 00 02 01 AA 00 FF 04 DDEEFF00"))
                      [ 1, [||]; 2, hex "AA"; 255, hex "DDEEFF00" ]
                      "three")

          testCase "id 15 ends the one-byte walk, whatever its length says (RFC 8285 §4.2)" (fun () ->
              Expect.equal (walk 0xBEDEus (hex "10 AA F0 BB 20 CC 00 00")) [ 1, hex "AA" ] "what came before")

          testCase "id 0 with a length ends the one-byte walk" (fun () ->
              Expect.equal (walk 0xBEDEus (hex "10 AA 01 BB 20 CC 00 00")) [ 1, hex "AA" ] "what came before")

          testCase "id 15 is like any other in the two-byte form" (fun () ->
              Expect.equal (walk 0x1000us (hex "0F 01 AA 00")) [ 15, hex "AA" ] "one")

          testCase "an element that does not fit ends the walk" (fun () ->
              Expect.equal (walk 0xBEDEus (hex "10 AA 22 BB")) [ 1, hex "AA" ] "one-byte"
              Expect.equal (walk 0x1000us (hex "01 01 AA 02")) [ 1, hex "AA" ] "its length is missing"
              Expect.equal (walk 0x1000us (hex "01 01 AA 02 02 BB 00 00")) [ 1, hex "AA"; 2, hex "BB00" ] "just so"
              Expect.equal (walk 0x1000us (hex "01 01 AA 02 04 BB 00 00")) [ 1, hex "AA" ] "its data are missing")

          testCase "a profile of neither form has no elements" (fun () ->
              for profile in [ 0us; 0xBEDFus; 0x1010us; 0x0FFFus; 0xFFFFus ] do
                  Expect.isEmpty (walk profile (hex "10 AA 00 00")) $"{profile:x4}")

          testPropertyWithConfig Laws.config "any bytes are walked in at most as many steps as there are octets"
          <| Prop.forAll
              (Arb.fromGen (Gen.zip (Gen.elements [ 0xBEDEus; 0x1000us ]) (data 0 300)))
              (fun (profile, block) ->
                  let mutable elements = ExtensionReader(profile, ReadOnlySpan block)
                  let mutable steps = 0
                  let mutable behind = 0

                  while elements.MoveNext() do
                      steps <- steps + 1
                      Expect.isGreaterThan elements.Offset behind "forward"
                      behind <- elements.Offset + elements.Length
                      Expect.isLessThanOrEqual behind block.Length "within"
                      Expect.isTrue (elements.Id >= 1 && elements.Id <= 255) "an id"

                  Expect.isLessThanOrEqual steps block.Length "steps"
                  Expect.isFalse (elements.MoveNext()) "the end is the end")

          testPropertyWithConfig
              Laws.config
              "the elements put into a packet are those found in it, in the shorter form that can say them"
          <| Prop.forAll (Arb.fromGen packets) (fun (struct (packet, elements)) ->
              let valid =
                  [ for e in elements do
                        if e.Id > 0 && e.Id < 256 && e.Data.Length < 256 then
                            e.Id, e.Data.ToArray() ]

              Expect.equal (walkOf packet) valid "elements"
              Expect.equal (packet.Extensions.Length % 4) 0 "words"

              let oneByte =
                  valid
                  |> List.forall (fun (id, data) -> id < 15 && data.Length > 0 && data.Length <= 16)

              if not valid.IsEmpty then
                  Expect.equal packet.ExtensionProfile (if oneByte then 0xBEDEus else 0x1000us) "form")

          testPropertyWithConfig Laws.config "an extension is found by its name: the first of its id"
          <| Prop.forAll (Arb.fromGen packets) (fun (struct (packet, _)) ->
              for extension in Enum.GetValues<HeaderExtension>() do
                  let expected =
                      walkOf packet
                      |> List.tryFind (fun (id, _) ->
                          extension <> HeaderExtension.Other && id = packet.Map.IdOf extension)

                  let mutable data = ReadOnlyMemory<byte>.Empty
                  let found = packet.TryGetExtension(extension, &data)
                  Expect.equal found expected.IsSome "found"
                  Expect.equal (data.ToArray()) (expected |> Option.map snd |> Option.defaultValue [||]) "data") ]

/// What a sender of a section with `into` sets of its own.
let private rewrites (from: ExtensionMap) =
    gen {
        let! into = maps
        let! own = elementsOf into
        let! twoByte = bools
        let! ssrc = uint32s
        let! sequence = uint16s
        let! offset = uint32s
        let! payloadType = Gen.choose (0, 127)
        let! sendTime = Gen.choose (0, 0xFFFFFF)
        let! transport = uint16s

        let! original =
            Gen.frequency [ 2, Gen.constant ValueNone; 1, Gen.map ValueSome uint16s ]

        return
            struct ({ Ssrc = ssrc
                      SequenceNumber = sequence
                      TimestampOffset = offset
                      PayloadType = byte payloadType
                      Translation = ExtensionTranslation(from, into)
                      Own = SenderExtensions(into, twoByte, own)
                      AbsSendTime = sendTime
                      TransportSequence = transport
                      OriginalSequence = original },
                    own)
    }

let private rewritten =
    gen {
        let! struct (packet, _) = packets
        let! struct (rewrite, own) = rewrites packet.Map
        return struct (packet, rewrite, own)
    }

let private write (packet: RtpPacket) (rewrite: RtpRewrite) : byte[] =
    let size = RtpWriter.size &packet &rewrite
    // Full of ones, to see that each octet is written.
    let into = Array.create (size + 1) 0xFFuy
    let written = RtpWriter.write &packet &rewrite (Span(into, 0, size))
    Expect.equal written size "write fills exactly size"
    Expect.equal into[size] 0xFFuy "and nothing behind"
    into[.. size - 1]

/// What each sender sets itself, and what describes all encodings of an encoder.
let private leftBehind =
    [ HeaderExtension.Mid
      HeaderExtension.Rid
      HeaderExtension.RepairedRid
      HeaderExtension.AbsSendTime
      HeaderExtension.TransportCc
      HeaderExtension.DependencyDescriptor
      HeaderExtension.VideoLayersAllocation ]

/// What the elements of a rewritten packet should be, said the long way.
let private expectedElements (packet: RtpPacket) (rewrite: RtpRewrite) (own: ExtensionElement[]) =
    let into = rewrite.Translation.Into
    let twoByte = rewrite.Own.TwoByte

    let fits (id, data: byte[]) =
        id < 15 && data.Length > 0 && data.Length <= 16

    let stampIds =
        [ into.IdOf HeaderExtension.AbsSendTime; into.IdOf HeaderExtension.TransportCc ]

    let stamps =
        [ into.IdOf HeaderExtension.AbsSendTime,
          [| byte (rewrite.AbsSendTime >>> 16)
             byte (rewrite.AbsSendTime >>> 8)
             byte rewrite.AbsSendTime |]
          into.IdOf HeaderExtension.TransportCc,
          [| byte (rewrite.TransportSequence >>> 8); byte rewrite.TransportSequence |] ]
        |> List.filter (fun (id, _) -> id <> 0 && (twoByte || id < 15))

    let kept =
        [ for e in own do
              let it = e.Id, e.Data.ToArray()

              if
                  e.Id > 0
                  && e.Id < 256
                  && not (List.contains e.Id stampIds)
                  && (twoByte || fits it)
              then
                  it ]
        |> List.distinctBy fst

    let set = List.map fst kept @ List.map fst stamps

    let translated =
        [ for id, data in walkOf packet do
              for entry in packet.Map.Entries do
                  if
                      entry.Key = id
                      && not (List.contains (HeaderExtensions.ofUri entry.Value) leftBehind)
                  then
                      for target in into.Entries do
                          if target.Value = entry.Value && not (List.contains target.Key set) then
                              let it = target.Key, data

                              if twoByte || fits it then
                                  it ]

    kept @ stamps @ translated

let private loud: AudioLevel = { Voice = true; Level = 5uy }

let private writerTests =
    testList
        "the sender's writer"
        [ testPropertyWithConfig
              { Laws.config with
                  maxTest = 5 * Laws.config.maxTest }
              "what is written reads as the packet with the sender's numbers and elements"
          <| Prop.forAll (Arb.fromGen rewritten) (fun (struct (packet, rewrite, own)) ->
              let bytes = write packet rewrite
              let sent = parsed rewrite.Translation.Into bytes
              Expect.equal sent.Marker packet.Marker "marker"
              Expect.equal sent.PayloadType rewrite.PayloadType "payload type"
              Expect.equal sent.SequenceNumber rewrite.SequenceNumber "sequence number"
              Expect.equal sent.Timestamp (packet.Timestamp + rewrite.TimestampOffset) "timestamp"
              Expect.equal sent.Ssrc rewrite.Ssrc "SSRC"
              Expect.equal (sent.Csrcs.ToArray()) (packet.Csrcs.ToArray()) "CSRCs"
              Expect.equal sent.Padding packet.Padding "padding"

              let payload =
                  match rewrite.OriginalSequence with
                  | ValueSome original ->
                      Array.append [| byte (original >>> 8); byte original |] (packet.Payload.ToArray())
                  | ValueNone -> packet.Payload.ToArray()

              Expect.equal (sent.Payload.ToArray()) payload "payload"
              let expected = expectedElements packet rewrite own
              Expect.equal (walkOf sent) expected "elements"

              let form =
                  if expected.IsEmpty then
                      0us
                  elif
                      expected
                      |> List.forall (fun (id, d) -> id < 15 && d.Length > 0 && d.Length <= 16)
                  then
                      0xBEDEus
                  else
                      0x1000us

              Expect.equal sent.ExtensionProfile form "form")

          testCase "a retransmission has the original's number before its payload (RFC 4588 §4)" (fun () ->
              let packet = RtpPacket.Create(96uy, true, 7us, 9000u, memory (hex "AABB"))

              let rewrite =
                  { Ssrc = 0x01020304u
                    SequenceNumber = 0x1111us
                    TimestampOffset = 0xFFFFFFFFu
                    PayloadType = 97uy
                    Translation = ExtensionTranslation(packet.Map, ExtensionMap.Empty)
                    Own = SenderExtensions.None
                    AbsSendTime = 0
                    TransportSequence = 0us
                    OriginalSequence = ValueSome 0x0708us }

              Expect.equal
                  (write packet rewrite)
                  (hex "80 E1 1111 00002327 01020304 0708 AABB")
                  "the number, then the payload")

          testCase "MID, RID, send time and transport-wide number, octet by octet" (fun () ->
              let map =
                  ExtensionMap
                      [| KeyValuePair(4, HeaderExtensions.uri HeaderExtension.Mid)
                         KeyValuePair(10, HeaderExtensions.uri HeaderExtension.Rid)
                         KeyValuePair(2, HeaderExtensions.uri HeaderExtension.AbsSendTime)
                         KeyValuePair(3, HeaderExtensions.uri HeaderExtension.TransportCc)
                         KeyValuePair(1, HeaderExtensions.uri HeaderExtension.AudioLevel) |]

              let given =
                  ExtensionMap [| KeyValuePair(9, HeaderExtensions.uri HeaderExtension.AudioLevel) |]

              let packet =
                  RtpPacket
                      .Create(111uy, false, 0us, 0u, memory (hex "FC"))
                      .WithExtensions(given, ExtensionElement.Of(given, loud))

              let rewrite =
                  { Ssrc = 1u
                    SequenceNumber = 2us
                    TimestampOffset = 3u
                    PayloadType = 111uy
                    Translation = ExtensionTranslation(given, map)
                    Own = SenderExtensions.Identifying(map, true, "0", "hi", "")
                    AbsSendTime = 0x123456
                    TransportSequence = 0xABCDus
                    OriginalSequence = ValueNone }

              Expect.equal
                  (write packet rewrite)
                  (hex "90 6F 0002 00000003 00000001 BEDE 0004 40 30 A1 6869 22 123456 31 ABCD 10 85 0000 FC")
                  "bytes")

          testCase "a translation is made anew only for another map" (fun () ->
              let a = ExtensionMap [| KeyValuePair(1, "urn:example:one") |]
              let b = ExtensionMap [| KeyValuePair(7, "urn:example:one") |]
              let translation = ExtensionTranslation(a, b)
              Expect.equal (translation.At 1) 7 "by URI"
              Expect.isTrue (Object.ReferenceEquals(translation.For a, translation)) "the same"
              Expect.equal ((translation.For b).At 7) 7 "another")

          testCase "what means something on one hop only, or describes all encodings, is not carried over" (fun () ->
              let map =
                  ExtensionMap
                      [| for i, extension in List.indexed (leftBehind @ [ HeaderExtension.ColorSpace ]) do
                             KeyValuePair(i + 1, HeaderExtensions.uri extension) |]

              let translation = ExtensionTranslation(map, map)

              for id in 1 .. leftBehind.Length do
                  Expect.equal (translation.At id) 0 "left out"

              Expect.equal (translation.At(leftBehind.Length + 1)) (leftBehind.Length + 1) "carried over")

          testCase "reading, walking and writing allocate nothing" (fun () ->
              let map =
                  ExtensionMap
                      [| KeyValuePair(4, HeaderExtensions.uri HeaderExtension.Mid)
                         KeyValuePair(2, HeaderExtensions.uri HeaderExtension.AbsSendTime)
                         KeyValuePair(3, HeaderExtensions.uri HeaderExtension.TransportCc)
                         KeyValuePair(1, HeaderExtensions.uri HeaderExtension.AudioLevel) |]

              let bytes =
                  RtpPacket
                      .Create(111uy, false, 0us, 0u, memory (Array.zeroCreate 1000))
                      .WithCsrcs(1u, 2u)
                      .WithExtensions(
                          map,
                          ExtensionElement.Of(map, loud),
                          ExtensionText.element map HeaderExtension.Mid "0"
                      )
                      .ToArray()

              let lent = memory bytes
              let into = Array.zeroCreate<byte> 1500

              let rewrite =
                  { Ssrc = 1u
                    SequenceNumber = 2us
                    TimestampOffset = 3u
                    PayloadType = 111uy
                    Translation = ExtensionTranslation(map, map)
                    Own = SenderExtensions.Identifying(map, true, "0", "hi", "")
                    AbsSendTime = 0x123456
                    TransportSequence = 0xABCDus
                    OriginalSequence = ValueSome 7us }

              let once () =
                  match RtpPackets.read lent map with
                  | ValueNone -> 0
                  | ValueSome packet ->
                      let mutable data = ReadOnlyMemory<byte>.Empty
                      let found = packet.TryGetExtension(HeaderExtension.Mid, &data)
                      let isZero = found && ExtensionText.is "0" data.Span
                      let mutable level = Unchecked.defaultof<AudioLevel>

                      let heard =
                          packet.TryGetExtension(HeaderExtension.AudioLevel, &data)
                          && AudioLevel.TryRead(data.Span, &level)

                      if isZero && heard && level.Voice then
                          RtpWriter.size &packet &rewrite
                          + RtpWriter.write &packet &rewrite (Span into)
                          + packet.Write(Span into)
                      else
                          0

              Expect.isGreaterThan (once ()) 3000 "it does something"

              for _ in 1..2000 do
                  once () |> ignore

              let before = GC.GetAllocatedBytesForCurrentThread()

              for _ in 1..1000 do
                  once () |> ignore

              let allocated = GC.GetAllocatedBytesForCurrentThread() - before
              Expect.equal allocated 0L "octets") ]

let tests = testList "RTP packets" [ headerTests; elementTests; writerTests ]
