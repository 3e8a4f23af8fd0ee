/// FlexFEC that whole peers send.
module Hybrid.WebRtc.PropertyTests.Media.FecTests

open System
open System.Buffers.Binary
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.PeersTests

/// VP8, its retransmissions, and FlexFEC.
let private protecting (codec: RtpCodec) =
    codec.MimeType = "video/VP8"
    || codec.MimeType = "video/rtx"
    || codec.MimeType = "video/flexfec-03"

let private localDescription (world: World) : string =
    world.Ends['a'].Events
    |> List.tryPick (function
        | DescriptionsChanged descriptions ->
            match descriptions.CurrentLocal with
            | ValueSome d -> Some d.Sdp
            | ValueNone -> None
        | _ -> None)
    |> Option.defaultValue ""

// ---- One session alone, and the bytes that it sends ----

let keys: SrtpKeys =
    { ClientKey = Array.init 16 byte
      ServerKey = Array.init 16 (fun i -> byte (100 + i))
      ClientSalt = Array.init 12 (fun i -> byte (50 + i))
      ServerSalt = Array.init 12 (fun i -> byte (150 + i)) }

let profile = SrtpProfile.AeadAes128Gcm

let private codecs: RtpCodecParameters[] =
    let codec mime fmtp payloadType feedback =
        { Codec =
            { MimeType = mime
              ClockRate = 90_000
              Channels = ValueNone
              Fmtp = fmtp }
          PayloadType = payloadType
          Feedback = feedback }

    [| codec "video/VP8" "" 96 [| "nack" |]
       codec "video/flexfec-03" "repair-window=10000000" 118 [||] |]

let private extensions =
    ExtensionMap(
        [| Collections.Generic.KeyValuePair(2, HeaderExtensions.uri HeaderExtension.AbsSendTime)
           Collections.Generic.KeyValuePair(3, HeaderExtensions.uri HeaderExtension.TransportCc)
           Collections.Generic.KeyValuePair(4, HeaderExtensions.uri HeaderExtension.Mid)
           Collections.Generic.KeyValuePair(13, HeaderExtensions.uri HeaderExtension.VideoOrientation) |]
    )

let plan (fec: uint32) : MediaPlan =
    { Sections =
        [| { Transceiver = 1
             Mid = "0"
             Kind = MediaKind.Video
             Sending = true
             Receiving = false
             Encodings =
               [| { Parameters = Encodings.plain
                    Ssrc = 0x1234_5678u
                    RtxSsrc = 0u
                    FecSsrc = fec } |]
             SendCodecs = codecs
             ReceiveCodecs = codecs
             Extensions = extensions
             ReducedSize = true
             ReceiverRoundTrip = true
             HeaderEncryption = false
             RemoteSources = [||]
             RemoteRids = [||] } |]
      Cname = "cname" }

let internal session (role: DtlsRole) (plan: MediaPlan) : MediaState =
    let step input s =
        let struct (s, _) = MediaSession.step 0L<us> input s
        s

    MediaSession.create
        { Ciphers = World.config.Ciphers
          Estimate = Gcc.defaults
          NtpOffset = 1UL <<< 40 }
        (Entropy.ofNumber (if role = DtlsRole.Client then 1L else 2L))
    |> step (MediaInput.Keys(profile, keys, role))
    |> step (MediaInput.Plan plan)

/// A report of a loss in 256ths, as the peer's datagram.
let private report (now: Instant) (lost: byte) (peer: MediaState) : struct (MediaState * byte[]) =
    let block: ReceptionReport =
        { Ssrc = 0x1234_5678u
          FractionLost = lost
          CumulativeLost = 0
          HighestSequence = 0u
          Jitter = 0u
          LastSenderReport = 0u
          DelaySinceLastSenderReport = 0u }

    match MediaSession.step now (MediaInput.SendRtcp [| ReceiverReport(7u, [| block |]) |]) peer with
    | struct (peer, [ MediaOutput.TransmitRtcp packet ]) ->
        let bytes: byte[] = Array.zeroCreate packet.Size
        struct (peer, bytes[.. packet.Write(Span bytes) - 1])
    | _ -> failtest "one datagram"

/// Decrypted packets of the wire.
[<NoComparison; NoEquality>]
type private Sent =
    { Media: struct (uint16 * byte[])[]
      Fec: byte[][] }

/// What a session sends of frames of five packets, thirty a second, while reports tell of a loss.
let private sent (lost: byte) (plan: MediaPlan) : Sent =
    let opening = Srtp.opening World.config.Ciphers profile keys DtlsRole.Server

    let media = ResizeArray<struct (uint16 * byte[])>()
    let fec = ResizeArray<byte[]>()
    let mutable streams = Map.empty

    let take (outputs: MediaOutput list) =
        for output in outputs do
            match output with
            | MediaOutput.TransmitRun run ->
                for i in 0 .. run.Count - 1 do
                    let bytes: byte[] = Array.zeroCreate (run.Size i)
                    let length = run.Write(i, Span bytes)
                    let header = (RtpHeader.readSealed (ReadOnlySpan(bytes, 0, length))).Value
                    let stream = Map.tryFind header.Ssrc streams |> Option.defaultValue SrtpStream.fresh

                    match opening.OpenRtp(Span(bytes, 0, length), header.PayloadOffset, stream) with
                    | Ok opened ->
                        streams <- Map.add header.Ssrc opened.Stream streams
                        let plain = bytes[.. opened.Length - 1]

                        if header.Ssrc = 0x1234_5678u then
                            media.Add(struct (header.SequenceNumber, plain))
                        else
                            Expect.equal header.Ssrc 99u "the source of FEC"
                            Expect.equal header.PayloadType 118uy "its payload type"
                            Expect.isGreaterThan header.ExtensionLength 0 "its extensions"
                            fec.Add plain
                    | Error reason -> failtestf "SRTP: %A" reason
            | _ -> ()

    let mutable peer = session DtlsRole.Server (plan)
    let mutable ours = session DtlsRole.Client plan
    let mutable now = 0L<us>

    let step input =
        let struct (next, outputs) = MediaSession.step now input ours
        ours <- next
        take outputs

    for number in 0..89 do
        if number % 15 = 1 then
            let struct (next, bytes) = report now lost peer
            peer <- next
            step (MediaInput.Received(Memory bytes))

        step (MediaInput.Send(1, 0, RtpMappings.identity, ReadOnlyMemory(frame 96uy number)))
        let next = now + 33_000L<us>

        while MediaSession.deadline ours <= next do
            now <- max now (MediaSession.deadline ours)
            step MediaInput.Tick

        now <- next

    { Media = media.ToArray()
      Fec = fec.ToArray() }

/// Without what is written late.
let private masked (packet: byte[]) : byte[] =
    (FlexFec.protectable extensions (ReadOnlySpan packet)).Value

let tests =
    testList
        "FEC of peers"
        [ testCase "each group of packets may lose one, and its FEC packet brings it back as it was" (fun () ->
              let sent = sent 13uy (plan 99u)
              Expect.equal sent.Media.Length 450 "all of the media"
              Expect.isGreaterThan sent.Fec.Length 30 "a fifth of it, once the loss is known"
              Expect.isLessThan sent.Fec.Length 95 "no more"

              for fec in sent.Fec do
                  let packet = (RtpHeader.read (ReadOnlySpan fec)).Value
                  let payload = fec[packet.PayloadOffset ..]
                  let header = (FlexFec.read (ReadOnlySpan payload)).Value
                  Expect.equal header.Ssrc 0x1234_5678u "the source that is protected"

                  let covered =
                      [ 0 .. FecMask.Width - 1 ]
                      |> List.filter (fun i -> FecMask.contains i header.Mask)

                  let lost = uint16 (int header.BaseSequence + covered[covered.Length / 2])
                  let mutable receiver = FlexFecReceiver.create 0x1234_5678u
                  let mutable original = [||]

                  for struct (sequence, bytes) in sent.Media do
                      if sequence = lost then
                          original <- bytes
                      elif uint16 (sequence - header.BaseSequence) < 110us then
                          let struct (next, _) =
                              FlexFecReceiver.media (65_536L + int64 sequence) extensions (ReadOnlySpan bytes) receiver

                          receiver <- next

                  let struct (_, found) = FlexFecReceiver.repair (ReadOnlySpan payload) receiver
                  Expect.equal found.Length 1 "one comes back"
                  Expect.equal found[0] (masked original) "as it was")

          testCase "nothing is protected where nothing is lost, or where FEC was not negotiated" (fun () ->
              Expect.equal (sent 0uy (plan 99u)).Fec.Length 0 "no loss"
              Expect.equal (sent 13uy (plan 0u)).Fec.Length 0 "no source")

          testCase "who negotiates FEC again goes on with its numbers" (fun () ->
              let step input s =
                  let struct (s, _) = MediaSession.step 0L<us> input s
                  s

              let next (s: MediaState) =
                  match s.Senders[0].Fec with
                  | null -> failtest "no FEC"
                  | fec -> struct (fec.IsOpen, fec.Next)

              let s = session DtlsRole.Client (plan 99u)
              let struct (isOpen, first) = next s
              Expect.isTrue isOpen "open"
              let s = step (MediaInput.Plan(plan 0u)) s
              Expect.equal (next s) (struct (false, first)) "closed"
              let s = step (MediaInput.Plan(plan 99u)) s
              Expect.equal (next s) (struct (true, first)) "open again")

          testCase "a peer declares FEC where its preferences name it, and only there" (fun () ->
              let struct (world, _, _) = opened Capabilities.defaults Weather.fair 1L
              let text = localDescription world
              Expect.stringContains text "flexfec-03/90000" "it can be received"
              Expect.isFalse (text.Contains "FEC-FR") "and is not sent"

              let struct (world, _, _) =
                  openedPreferring protecting Capabilities.defaults Weather.fair 1L

              Expect.stringContains (localDescription world) "a=ssrc-group:FEC-FR " "its source"
              let sender = (media 'a' world).Outbound[0]
              Expect.stringContains (localDescription world) (string sender.FecSsrc) "that of the statistics")

          testCase "FEC follows the loss that reports tell of" (fun () ->
              let fec weather =
                  let struct (world, id, payloadType) =
                      openedPreferring protecting Capabilities.defaults weather 3L

                  let world = send id payloadType 300 world |> World.pass (Duration.seconds 2L)
                  (media 'a' world).Outbound[0]

              let fair = fec Weather.fair
              Expect.equal fair.FecPacketsSent 0L "none in fair weather"
              let foul = fec lossy
              let share = float foul.FecPacketsSent / 1500.0
              Expect.isGreaterThan share 0.08 "some at 5 % loss"
              Expect.isLessThan share 0.4 "not too many"

              Expect.equal
                  (foul.PacketsSent - foul.RetransmittedPacketsSent - foul.FecPacketsSent)
                  1500L
                  "packets sent are media, what was sent again, and FEC") ]
