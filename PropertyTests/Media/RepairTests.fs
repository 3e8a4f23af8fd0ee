/// What FlexFEC and RED bring back, between two media sessions: the test is the network.
module Hybrid.WebRtc.PropertyTests.Media.RepairTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests

[<Literal>]
let internal Media = 1_000u

[<Literal>]
let private Fec = 2_000u

let private secrets: SrtpKeys =
    { ClientKey = Array.create 16 1uy
      ServerKey = Array.create 16 2uy
      ClientSalt = Array.create 12 3uy
      ServerSalt = Array.create 12 4uy }

let private codec mimeType clockRate payloadType feedback : RtpCodecParameters =
    { Codec =
        { MimeType = mimeType
          ClockRate = clockRate
          Channels = ValueNone
          Fmtp = "" }
      PayloadType = payloadType
      Feedback = feedback }

let internal picture =
    [| codec "video/VP8" 90_000 96 [| "nack"; "nack pli" |]
       codec "video/flexfec-03" 90_000 35 [||] |]

let private sound =
    [| codec "audio/red" 48_000 63 [||]; codec "audio/opus" 48_000 111 [||] |]

let private encoding ssrc : SendEncoding =
    { Parameters = Encodings.plain
      Ssrc = ssrc
      RtxSsrc = 0u
      FecSsrc = 0u }

let private plan sending (codecs: RtpCodecParameters[]) : MediaPlan =
    { Sections =
        [| { Transceiver = 1
             Mid = "0"
             Kind =
               (if codecs[0].Codec.MimeType.StartsWith("audio", StringComparison.Ordinal) then
                    MediaKind.Audio
                else
                    MediaKind.Video)
             Sending = sending
             Receiving = not sending
             // FEC as an encoding of its own, so that the test says what is in it.
             Encodings = (if sending then [| encoding Media; encoding Fec |] else [||])
             SendCodecs = codecs
             ReceiveCodecs = codecs
             Extensions = ExtensionMap.Empty
             ReducedSize = true
             ReceiverRoundTrip = true
             HeaderEncryption = false
             RemoteSources =
               [| { Ssrc = Media
                    RtxSsrc = 0u
                    FecSsrc = Fec } |]
             RemoteRids = [||] } |]
      Cname = "cname" }

let internal session sending codecs : MediaState =
    let s =
        MediaSession.create
            { Ciphers = World.config.Ciphers
              Estimate = Gcc.defaults
              NtpOffset = 0UL }
            (Entropy.ofNumber 1L)

    let role = if sending then DtlsRole.Client else DtlsRole.Server

    let struct (s, _) =
        MediaSession.step 0L<us> (MediaInput.Keys(SrtpProfile.AeadAes128Gcm, secrets, role)) s

    let struct (s, _) =
        MediaSession.step 0L<us> (MediaInput.Plan(plan sending codecs)) s

    s

let internal packet payloadType number timestamp marker (payload: byte[]) : RtpPacket =
    { Marker = marker
      PayloadType = payloadType
      SequenceNumber = uint16 number
      Timestamp = uint32 timestamp
      Ssrc = Media
      Csrcs = ReadOnlyMemory()
      ExtensionProfile = 0us
      Extensions = ReadOnlyMemory()
      Map = ExtensionMap.Empty
      Payload = ReadOnlyMemory payload
      Padding = 0uy }

/// The packets as datagrams, sealed.
let internal sealAll (encoding: int) (packets: RtpPacket[]) (s: MediaState) : struct (MediaState * byte[][]) =
    let struct (s, outputs) =
        MediaSession.step 0L<us> (MediaInput.Send(1, encoding, RtpMappings.identity, ReadOnlyMemory packets)) s

    let bytes =
        [| for output in outputs do
               match output with
               | MediaOutput.TransmitRun run ->
                   for i in 0 .. run.Count - 1 do
                       let into: byte[] = Array.zeroCreate (run.Size i)
                       into[.. run.Write(i, Span into) - 1]
               | _ -> () |]

    Expect.equal bytes.Length packets.Length "all are sent"
    struct (s, bytes)

/// What a receiver says to datagrams at given times, and to the time that passes until then.
let internal feed (datagrams: struct (Instant * byte[]) list) (until: Instant) (s: MediaState) =
    let mutable s = s
    let told = ResizeArray<struct (Instant * MediaOutput)>()

    let step now input =
        let struct (next, outputs) = MediaSession.step now input s
        s <- next

        for output in outputs do
            told.Add(
                struct (now,
                        match output with
                        // Lent.
                        | MediaOutput.Deliver(id, rid, packet) ->
                            MediaOutput.Deliver(
                                id,
                                rid,
                                { packet with
                                    Payload = ReadOnlyMemory(packet.Payload.ToArray()) }
                            )
                        | other -> other)
            )

    let rec passUntil at =
        let due = MediaSession.deadline s

        if due <= at then
            step due MediaInput.Tick
            passUntil at

    for struct (at, bytes) in datagrams do
        passUntil at
        let lent = Array.copy bytes
        step at (MediaInput.Received(Memory lent))
        Array.fill lent 0 lent.Length 0xEEuy

    passUntil until
    struct (s, List.ofSeq told)

let private delivered told : RtpPacket list =
    told
    |> List.choose (fun (struct (_: Instant, output)) ->
        match output with
        | MediaOutput.Deliver(_, _, packet) -> Some packet
        | _ -> None)

let internal numbers told =
    delivered told |> List.map (fun packet -> int packet.SequenceNumber)

let private drops reason told =
    told
    |> List.filter (fun (struct (_: Instant, output)) ->
        match output with
        | MediaOutput.Dropped(_, dropped) -> dropped = reason
        | _ -> false)
    |> List.length

let internal inbound (s: MediaState) = (MediaReports.statistics s).Inbound[0]

let internal ms (n: int) = Duration.milliseconds (int64 n)

/// So many pictures of five packets, one each 33 ms, with a FEC packet behind each group of `per` packets: the datagrams of media and of
/// FEC, each with when it leaves.
let internal pictures count (per: int) =
    let rnd = Random 5

    let packets =
        [| for i in 0 .. 5 * count - 1 do
               let payload = Array.zeroCreate (200 + rnd.Next 800)
               rnd.NextBytes payload
               packet 96uy (i + 1) (3_000 * (i / 5)) (i % 5 = 4) payload |]

    let mutable sender = session true picture
    let struct (s, sealed') = sealAll 0 packets sender
    sender <- s

    let at i =
        ms (100 + 33 * (i / 5)) + int64 (i % 5) * 200L<us>

    let media = [ for i in 0 .. packets.Length - 1 -> struct (at i, sealed'[i]) ]

    let mutable next = 1

    let fec =
        [ for chunk in Array.chunkBySize per (Array.indexed packets) do
              let first = fst chunk[0]
              let mutable mask = FecMask.none
              let plain = chunk |> Array.map (fun (_, p) -> p.ToArray())
              let longest = plain |> Array.map _.Length |> Array.max

              for j in 0 .. chunk.Length - 1 do
                  mask <- FecMask.add j mask

              let size = FlexFec.headerSize mask
              let payload: byte[] = Array.zeroCreate (size + longest - RtpHeader.FixedSize)

              for bytes in plain do
                  FlexFec.protect
                      (ReadOnlySpan bytes)
                      (Span(payload, 0, size))
                      (Span(payload, size, payload.Length - size))

              FlexFec.writeHeader (Span payload) Media (uint16 (first + 1)) mask
              let fecPacket = packet 35uy next 0 false payload
              next <- next + 1
              let struct (s, bytes) = sealAll 1 [| fecPacket |] sender
              sender <- s
              struct (at (fst chunk[chunk.Length - 1]) + 100L<us>, bytes[0]) ]

    struct (packets, media, fec)

let internal inTime (datagrams: struct (Instant * byte[]) list) =
    datagrams |> List.sortBy (fun (struct (at, _)) -> at)

let internal without (some: int list) (datagrams: struct (Instant * byte[]) list) =
    datagrams
    |> List.indexed
    |> List.filter (fun (i, _) -> not (List.contains i some))
    |> List.map snd

let private nacks told =
    told
    |> List.filter (fun (struct (_: Instant, output: MediaOutput)) ->
        match output with
        | MediaOutput.TransmitRtcp packet ->
            let struct (packets, _) = RtcpCodec.read (ReadOnlySpan packet.Plain)
            packets |> Array.exists _.IsNack
        | _ -> false)
    |> List.length

let private fec =
    testList
        "FlexFEC"
        [ testCase "a packet lost of each group comes back as it was sent, once, and nobody asks for it" (fun () ->
              let struct (packets, media, fec) = pictures 20 5
              // Of every picture but the first, whose FEC packet only begins the matter.
              let lost = [ for picture in 1..19 -> 5 * picture + (picture + 1) % 5 ]

              let struct (s, told) =
                  session false picture |> feed (inTime (without lost media @ fec)) (ms 2_000)

              Expect.equal (List.sort (numbers told)) [ 1..100 ] "all, once"

              for packet in delivered told do
                  let sent = packets[int packet.SequenceNumber - 1]
                  Expect.sequenceEqual (packet.Payload.ToArray()) (sent.Payload.ToArray()) "the payload"
                  Expect.equal packet.Timestamp sent.Timestamp "the timestamp"
                  Expect.equal packet.Marker sent.Marker "the marker"
                  Expect.equal packet.PayloadType 96uy "the payload type"
                  Expect.equal packet.Ssrc Media "the source"

              Expect.equal (nacks told) 0 "nothing is asked for"
              let stats = inbound s
              Expect.equal stats.FecSsrc Fec "whose FEC"
              Expect.equal stats.FecPacketsReceived 20L "FEC packets"
              Expect.equal stats.FecPacketsDiscarded 1L "the first brought nothing"
              Expect.equal stats.PacketsReceived 81L "what came by itself"
              Expect.equal stats.PacketsLost 19L "and what did not"
              Expect.equal stats.FramesReceived 20L "every picture")

          testCase "a packet that comes after FEC has brought it is counted, and not delivered again" (fun () ->
              let struct (_, media, fec) = pictures 4 5
              let struct (at, late) = media[11]

              let struct (s, told) =
                  session false picture
                  |> feed (inTime (without [ 11 ] media @ fec @ [ struct (at + ms 20, late) ])) (ms 1_000)

              Expect.equal (List.sort (numbers told)) [ 1..20 ] "once each"
              Expect.equal (inbound s).PacketsReceived 20L "all that came"
              Expect.equal (inbound s).PacketsLost 0L "none is lost")

          testCase "where no FEC comes nothing is kept for it" (fun () ->
              let struct (_, media, _) = pictures 4 5
              let struct (s, told) = session false picture |> feed media (ms 1_000)
              Expect.equal (numbers told) [ 1..20 ] "all"
              Expect.isTrue (s.Receivers |> Array.forall (fun r -> r.Parts.Fec.IsNone)) "nothing kept")

          testCase "FEC of packets that came before the first FEC packet repeats none of them" (fun () ->
              let struct (_, media, fec) = pictures 4 5
              // The group of packets 6 to 10, of which the first came before FEC did.
              let order =
                  media[..5] @ [ fec[0] ] @ media[6..9] @ [ fec[1] ] @ media[10..]
                  |> List.mapi (fun i (struct (_, bytes)) -> struct (ms (100 + i), bytes))

              let struct (s, told) = session false picture |> feed order (ms 1_000)
              Expect.equal (numbers told) [ 1..20 ] "once each"
              Expect.equal (inbound s).FecPacketsDiscarded 2L "both in vain")

          testCase "FEC of nonsense is counted, bounded, and brings nothing" (fun () ->
              let rnd = Random 11
              let struct (_, media, _) = pictures 40 5
              let mutable sender = session true picture

              let forged =
                  [ for i in 1..400 do
                        let payload: byte[] = Array.zeroCreate (20 + rnd.Next 1_000)
                        rnd.NextBytes payload

                        if i % 3 > 0 then
                            let mutable mask = FecMask.none

                            for _ in 0 .. rnd.Next 12 do
                                mask <- FecMask.add (rnd.Next 40) mask

                            let head: byte[] = Array.zeroCreate (FlexFec.headerSize mask)
                            // Of another source each tenth time.
                            let about = if i % 10 = 0 then 77u else Media
                            FlexFec.writeHeader (Span head) about (uint16 (rnd.Next 250)) mask
                            Array.blit head 0 payload 0 (min head.Length payload.Length)

                        let struct (s, bytes) = sealAll 1 [| packet 35uy i 0 false payload |] sender
                        sender <- s
                        struct (ms (100 + 3 * i), bytes[0]) ]

              let struct (s, told) =
                  session false picture |> feed (inTime (media @ forged)) (ms 3_000)

              let own = numbers told |> List.filter (fun n -> n <= 200)
              Expect.equal (List.sort own) [ 1..200 ] "what was sent, once each"
              Expect.isGreaterThan (drops Drop.Unexpected told) 10 "about no source of ours"
              let stats = inbound s
              Expect.isGreaterThan stats.FecPacketsReceived 100L "taken"
              Expect.isGreaterThan stats.FecPacketsDiscarded 50L "in vain"

              for stream in s.Receivers do
                  match stream.Parts.Fec with
                  | ValueSome fec ->
                      Expect.isLessThanOrEqual fec.Held.Length FlexFecReceiver.MaxHeld "FEC packets held"
                      Expect.isLessThanOrEqual fec.Packets.Count FlexFecReceiver.MaxPackets "packets held"
                  | ValueNone -> ()) ]

/// So many packets of sound, each with the two before it, and every tenth as it is.
let private words distance count =
    let mutable red = RedSender.create 63uy distance

    let packets =
        [| for i in 1..count do
               let own = packet 111uy i (960 * i) false (Array.create (20 + i % 30) (byte i))

               if i % 10 = 0 then
                   // It is repeated all the same.
                   let struct (next, _) = RedSender.wrap &own red
                   red <- next
                   own
               else
                   let struct (next, wrapped) = RedSender.wrap &own red
                   red <- next
                   wrapped |]

    let struct (_, bytes) = sealAll 0 packets (session true sound)
    [ for i in 0 .. count - 1 -> struct (ms (100 + 20 * i), bytes[i]) ]

let private redundancy =
    testList
        "RED"
        [ testCase "two packets lost in a row come with the third, in their order, and are counted" (fun () ->
              let all = words 2 30
              let lost = [ 4; 5; 12; 20 ]

              let struct (s, told) = session false sound |> feed (without lost all) (ms 2_000)

              Expect.equal (numbers told) [ 1..30 ] "all, in order"

              for packet in delivered told do
                  let i = int packet.SequenceNumber
                  Expect.equal packet.PayloadType 111uy "as sound"
                  Expect.equal packet.Timestamp (uint32 (960 * i)) "the timestamp"
                  Expect.sequenceEqual (packet.Payload.ToArray()) (Array.create (20 + i % 30) (byte i)) "the payload"

              let stats = inbound s
              Expect.equal (stats.FecPacketsReceived - stats.FecPacketsDiscarded) 4L "brought back"
              Expect.isGreaterThan stats.FecBytesReceived 1_000L "octets"
              Expect.equal stats.PacketsReceived 26L "what came"
              Expect.equal stats.PacketsLost 4L "what did not")

          testCase
              "whatever is lost, late or plain, each packet is delivered once, and all that anything brought"
              (fun () ->
                  for seed in 1..20 do
                      let rnd = Random seed
                      let all = words (1 + seed % 3) 200

                      let some =
                          all
                          |> List.filter (fun _ -> rnd.Next 4 > 0)
                          |> List.map (fun (struct (at, bytes)) -> struct (at + ms (rnd.Next 50), bytes))
                          |> inTime

                      let struct (s, told) = session false sound |> feed some (ms 6_000)
                      let got = numbers told
                      Expect.equal got.Length (List.distinct got).Length "once each"
                      Expect.isGreaterThan got.Length some.Length "more than came"

                      for packet in delivered told do
                          let i = int packet.SequenceNumber
                          Expect.equal packet.Timestamp (uint32 (960 * i)) "the timestamp"
                          Expect.equal packet.Payload.Span[0] (byte i) "the payload"

                      Expect.equal (inbound s).PacketsReceived (int64 some.Length) "what came")

          testCase "RED that is shorter than it says is counted, and brings nothing" (fun () ->
              let bad =
                  [| packet 63uy 1 0 false [| 0xEFuy; 0uy; 4uy; 0xFFuy; 111uy; 1uy |]
                     packet 63uy 2 0 false [| 0xEFuy |] |]

              let struct (_, bytes) = sealAll 0 bad (session true sound)

              let struct (_, told) =
                  session false sound
                  |> feed [ struct (ms 100, bytes[0]); struct (ms 120, bytes[1]) ] (ms 200)

              Expect.isEmpty (numbers told) "nothing"
              Expect.equal (drops Drop.Malformed told) 2 "both") ]

let tests = testList "Repair of received media" [ fec; redundancy ]
