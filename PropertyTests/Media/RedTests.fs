/// RED with redundancy that is sent, RFC 2198.
module Hybrid.WebRtc.PropertyTests.Media.RedTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.FecTests

let private codec mime payloadType fmtp : RtpCodecParameters =
    { Codec =
        { MimeType = mime
          ClockRate = 48_000
          Channels = ValueSome 2
          Fmtp = fmtp }
      PayloadType = payloadType
      Feedback = [||] }

let private opus = codec "audio/opus" 111 ""
let private red = codec "audio/red" 63 "111/111"

let private plan (codecs: RtpCodecParameters[]) : MediaPlan =
    { Sections =
        [| { Transceiver = 1
             Mid = "0"
             Kind = MediaKind.Audio
             Sending = true
             Receiving = false
             Encodings =
               [| { Parameters = Encodings.plain
                    Ssrc = 5u
                    RtxSsrc = 0u
                    FecSsrc = 0u } |]
             SendCodecs = codecs
             ReceiveCodecs = codecs
             Extensions = ExtensionMap.Empty
             ReducedSize = true
             ReceiverRoundTrip = true
             HeaderEncryption = false
             RemoteSources = [||]
             RemoteRids = [||] } |]
      Cname = "cname" }

/// A frame of 20 ms, whose octets tell its number.
let private sound (payloadType: byte) (number: int) : RtpPacket =
    { Marker = (number = 0)
      PayloadType = payloadType
      SequenceNumber = uint16 (100 + number)
      Timestamp = uint32 (960 * number)
      Ssrc = 0u
      Csrcs = ReadOnlyMemory()
      ExtensionProfile = 0us
      Extensions = ReadOnlyMemory()
      Map = ExtensionMap.Empty
      Payload = ReadOnlyMemory(Array.create (20 + number) (byte number))
      Padding = 0uy }

/// What leaves of frames, decrypted.
let private sent (codecs: RtpCodecParameters[]) (mapping: RtpMapping) (packets: RtpPacket list) : RtpPacket list =
    let opening = Srtp.opening World.config.Ciphers profile keys DtlsRole.Server

    let mutable stream = SrtpStream.fresh
    let mutable s = session DtlsRole.Client (plan codecs)
    let found = ResizeArray()

    for packet in packets do
        let struct (next, outputs) =
            MediaSession.step 1L<us> (MediaInput.Send(1, 0, mapping, ReadOnlyMemory [| packet |])) s

        s <- next

        for output in outputs do
            match output with
            | MediaOutput.TransmitRun run ->
                for i in 0 .. run.Count - 1 do
                    let bytes: byte[] = Array.zeroCreate (run.Size i)
                    let length = run.Write(i, Span bytes)
                    let header = (RtpHeader.readSealed (ReadOnlySpan(bytes, 0, length))).Value

                    match opening.OpenRtp(Span(bytes, 0, length), header.PayloadOffset, stream) with
                    | Ok opened ->
                        stream <- opened.Stream

                        match RtpPackets.read (ReadOnlyMemory(bytes, 0, opened.Length)) ExtensionMap.Empty with
                        | ValueSome packet -> found.Add packet
                        | ValueNone -> failtest "no RTP"
                    | Error reason -> failtestf "SRTP: %A" reason
            | _ -> ()

    List.ofSeq found

let tests =
    testList
        "RED of peers"
        [ testCase "where RED comes first each packet repeats the one before" (fun () ->
              let sent = sent [| red; opus |] RtpMappings.identity (List.init 20 (sound 111uy))
              Expect.equal sent.Length 20 "all"

              for i, packet in List.indexed sent do
                  Expect.equal packet.PayloadType 63uy "RED"
                  Expect.equal packet.SequenceNumber (uint16 (100 + i)) "its number"
                  Expect.equal packet.Timestamp (uint32 (960 * i)) "its time"
                  Expect.equal packet.Marker (i = 0) "its marker"
                  let blocks = (Red.read packet.Payload).Value
                  Expect.equal blocks.Length (if i = 0 then 1 else 2) "blocks"
                  let primary = blocks[blocks.Length - 1]
                  Expect.equal primary.PayloadType 111uy "Opus"
                  Expect.equal (primary.Payload.ToArray()) (Array.create (20 + i) (byte i)) "the frame"

                  if i > 0 then
                      Expect.equal blocks[0].PayloadType 111uy "Opus, too"
                      Expect.equal blocks[0].TimestampOffset 960 "20 ms before"

                      Expect.equal
                          (blocks[0].Payload.ToArray())
                          (Array.create (19 + i) (byte (i - 1)))
                          "the frame before")

          testCase "a receiver has every frame though every other packet is lost" (fun () ->
              let sent = sent [| red; opus |] RtpMappings.identity (List.init 40 (sound 111uy))
              let mutable receiver = RedReceiver.create ()
              let mutable frames = []

              for i, packet in List.indexed sent do
                  if i % 2 = 0 then
                      let packet = packet

                      let struct (next, found) =
                          RedReceiver.received (65_536L + int64 packet.SequenceNumber) &packet receiver

                      receiver <- next
                      frames <- (found |> List.ofArray |> List.map (fun f -> int f.Payload.Span[0])) @ frames

              Expect.equal (List.sort frames) [ 0..38 ] "all up to the last that came")

          testCase "RED that is not preferred is not sent, and what it does not carry goes as it is" (fun () ->
              for packet in sent [| opus; red |] RtpMappings.identity (List.init 3 (sound 111uy)) do
                  Expect.equal packet.PayloadType 111uy "Opus"

              let noise = codec "audio/CN" 13 ""

              for packet in sent [| red; opus; noise |] RtpMappings.identity (List.init 3 (sound 13uy)) do
                  Expect.equal packet.PayloadType 13uy "comfort noise"
                  Expect.isTrue (packet.Payload.Span[0] < 3uy) "untouched"

              // RED that is forwarded.
              for packet in sent [| red; opus |] RtpMappings.identity (List.init 3 (sound 63uy)) do
                  Expect.equal packet.PayloadType 63uy "RED"
                  Expect.isTrue (packet.Payload.Span[0] < 3uy) "not wrapped twice")

          testCase "what RED carries is named and timed as it is sent, whatever the application calls it" (fun () ->
              let mapping: RtpMapping =
                  { PayloadTypes = Array.init 128 (fun t -> if t = 0 then 111uy else 255uy)
                    SequenceOffset = 7us
                    TimestampOffset = 1_000u }

              for i, packet in List.indexed (sent [| red; opus |] mapping (List.init 3 (sound 0uy))) do
                  Expect.equal packet.SequenceNumber (uint16 (107 + i)) "its number"
                  Expect.equal packet.Timestamp (uint32 (1_000 + 960 * i)) "its time"

                  for block in (Red.read packet.Payload).Value do
                      Expect.equal block.PayloadType 111uy "Opus"

              Expect.isEmpty (sent [| red; opus |] mapping [ sound 9uy 0 ]) "what has no payload type is not sent") ]
