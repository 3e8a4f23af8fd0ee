/// Whole peers in the simulated internet, sending pictures.
module Hybrid.WebRtc.PropertyTests.Media.PeersTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests

let config capabilities : PeerConfig =
    { World.config with
        Capabilities = capabilities }

let init: TransceiverInit =
    { Kind = MediaKind.Video
      Direction = Direction.SendOnly
      Streams = [| "stream" |]
      Encodings = [||]
      Track = ValueSome "track" }

/// The transceivers that an end was told of last.
let transceivers (who: char) (world: World) : TransceiverInfo[] =
    world.Ends[who].Events
    |> List.tryPick (function
        | TransceiversChanged infos -> Some infos
        | _ -> None)
    |> Option.defaultValue [||]

let isReady (world: World) =
    World.connection 'a' world = PeerConnectionState.Connected
    && World.connection 'b' world = PeerConnectionState.Connected

/// `a` sends a picture to `b`: connected, with the transceiver and the payload type of VP8. `prefer`: the codecs that `a`
/// prefers, of those there are; none: no preference.
let openedPreferring
    (prefer: RtpCodec -> bool)
    capabilities
    (weather: Weather)
    (seed: int64)
    : struct (World * TransceiverId * byte) =
    let world = World.createOf (config capabilities) Weather.fair seed

    match World.demand 'a' (fun c -> AddTransceiver(c, init)) world with
    | world, Transceiver info ->
        let world =
            match Capabilities.codecs MediaKind.Video capabilities |> Array.filter prefer with
            | [||] -> world
            | codecs -> World.demand 'a' (fun c -> SetCodecPreferences(c, info.Id, codecs)) world |> fst

        let world = World.negotiate 'a' world
        let world, ready = World.run (Duration.seconds 30L) isReady world
        Expect.isTrue ready "connected"
        let infos = transceivers 'a' world
        let codec: RtpCodecParameters = infos[0].SendCodecs[0]
        Expect.equal codec.Codec.MimeType "video/VP8" "what is preferred"
        struct (World.under weather world, info.Id, byte codec.PayloadType)
    | _ -> failtest "no transceiver"

/// The same, without a preference.
let opened capabilities weather seed =
    openedPreferring (fun _ -> false) capabilities weather seed

/// A picture of five packets; its number is in each of them.
let frame (payloadType: byte) (number: int) : RtpPacket[] =
    [| for i in 0..4 ->
           let payload = Array.create 800 (byte i)
           // As VP8 goes on, no key frame.
           payload[0] <- 0uy
           payload[1] <- byte number
           payload[2] <- byte (number >>> 8)

           { Marker = (i = 4)
             PayloadType = payloadType
             SequenceNumber = uint16 (1_000 + 5 * number + i)
             Timestamp = uint32 (3_000 * number)
             Ssrc = 0u
             Csrcs = ReadOnlyMemory()
             ExtensionProfile = 0us
             Extensions = ReadOnlyMemory()
             Map = ExtensionMap.Empty
             Payload = ReadOnlyMemory payload
             Padding = 0uy } |]

/// So many pictures, thirty a second.
let send (transceiver: TransceiverId) (payloadType: byte) (count: int) (world: World) : World =
    (world, [ 0 .. count - 1 ])
    ||> List.fold (fun world number ->
        world
        |> World.tell 'a' (SendRtp(transceiver, 0, RtpMappings.identity, ReadOnlyMemory(frame payloadType number)))
        |> World.pass (Duration.milliseconds 33L))

let received (world: World) : RtpPacket list =
    List.rev world.Ends['b'].Rtp
    |> List.map (fun (struct (_, _, _, packet)) -> packet)

/// Pictures all of whose packets came within half a second of the first.
let whole (world: World) : int =
    world.Ends['b'].Rtp
    |> List.groupBy (fun (struct (_, _, _, packet)) -> packet.Timestamp)
    |> List.filter (fun (_, packets) ->
        let times = packets |> List.map (fun (struct (at, _, _, _)) -> at)

        packets
        |> List.distinctBy (fun (struct (_, _, _, packet)) -> packet.SequenceNumber)
        |> List.length
            =
            5
        && List.max times - List.min times <= Duration.milliseconds 500L)
    |> List.length

let lossy: Weather =
    { Weather.fair with
        Loss = 0.05
        Delay = Duration.milliseconds 30L }

let dropsOf (who: char) (layer: Layer) (reason: Drop) (world: World) : int64 =
    match World.demand who GetStats world with
    | _, Stats statistics ->
        statistics.Drops
        |> Array.filter (fun drop -> drop.Layer = layer && drop.Reason = reason)
        |> Array.sumBy _.Count
    | _ -> failtest "no statistics"

let media (who: char) (world: World) : MediaStatistics =
    match World.demand who GetStats world with
    | _, Stats statistics -> statistics.Media
    | _ -> failtest "no statistics"

/// Without whatever repairs.
let unrepaired: MediaCapabilities =
    { Capabilities.defaults with
        Video =
            Capabilities.defaults.Video
            |> Array.map (fun codec ->
                { codec with
                    Retransmission = false
                    Feedback =
                        codec.Feedback
                        |> Array.filter (fun f -> not (f.StartsWith("nack", StringComparison.Ordinal))) }) }

let tests =
    testList
        "Media of peers"
        [ testCase "in fair weather every packet arrives once, in order, and both ends count alike" (fun () ->
              let struct (world, id, payloadType) = opened Capabilities.defaults Weather.fair 1L
              let world = send id payloadType 60 world |> World.pass (Duration.seconds 3L)
              let packets = received world
              Expect.equal packets.Length 300 "all"

              for i, packet in List.indexed packets do
                  Expect.equal packet.SequenceNumber (uint16 (1_000 + i)) "in order"
                  Expect.equal packet.Marker (i % 5 = 4) "the marker"
                  Expect.equal packet.Timestamp (uint32 (3_000 * (i / 5))) "the timestamp"
                  Expect.equal packet.Payload.Span[1] (byte (i / 5)) "the payload"

              let events = world.Ends['b'].Events
              Expect.equal (events |> List.filter _.IsReceiverUnmuted |> List.length) 1 "unmuted once"
              Expect.equal (events |> List.filter _.IsSourceFound |> List.length) 1 "one source"
              let sent = (media 'a' world).Outbound[0]
              let came = (media 'b' world).Inbound[0]
              // Probes repeat packets.
              Expect.equal (came.PacketsReceived - came.RetransmittedPacketsReceived) 300L "received"
              Expect.equal (sent.PacketsSent - sent.RetransmittedPacketsSent) 300L "sent"
              Expect.equal (came.BytesReceived - came.RetransmittedBytesReceived) (300L * 800L) "octets"
              Expect.equal came.PacketsLost 0L "lost"

              match sent.RemoteReceiver with
              | ValueSome remote ->
                  let trip = ValueOption.defaultValue 0L<us> remote.RoundTripTime
                  Expect.isTrue (trip >= 20_000L<us> && trip < 40_000L<us>) "the round trip of 20 ms"
              | ValueNone -> failtest "no report")

          testCase "at 5 % loss and 60 ms more than 99 % of pictures are whole, and far fewer without NACK" (fun () ->
              for seed in 1L .. 3L do
                  let struct (world, id, payloadType) = opened Capabilities.defaults lossy seed
                  let world = send id payloadType 300 world |> World.pass (Duration.seconds 2L)
                  Expect.isGreaterThan (whole world) 297 "repaired"
                  let struct (world, id, payloadType) = opened unrepaired lossy seed
                  let world = send id payloadType 300 world |> World.pass (Duration.seconds 2L)
                  Expect.isLessThan (whole world) 285 "not repaired")

          testCase "a connection without media makes no keys of SRTP and asks for no ticks" (fun () ->
              let keys: SrtpKeys =
                  { ClientKey = Array.create 16 1uy
                    ServerKey = Array.create 16 2uy
                    ClientSalt = Array.create 12 3uy
                    ServerSalt = Array.create 12 4uy }

              let bare =
                  MediaSession.create
                      { Ciphers = World.config.Ciphers
                        Estimate = Gcc.defaults
                        NtpOffset = 0UL }
                      (Entropy.ofNumber 1L)

              let struct (idle, _) =
                  MediaSession.step 1L<us> (MediaInput.Keys(SrtpProfile.AeadAes128Gcm, keys, DtlsRole.Client)) bare

              Expect.isTrue idle.Keys.IsNone "no keys"
              Expect.equal (MediaSession.deadline idle) Instant.never "no ticks"

              let section: SectionPlan =
                  { Transceiver = 1
                    Mid = "0"
                    Kind = MediaKind.Video
                    Sending = true
                    Receiving = false
                    Encodings = [||]
                    SendCodecs = [||]
                    ReceiveCodecs = [||]
                    Extensions = ExtensionMap.Empty
                    ReducedSize = true
                    ReceiverRoundTrip = true
                    HeaderEncryption = false
                    RemoteSources = [||]
                    RemoteRids = [||] }

              let plan: MediaPlan =
                  { Sections = [| section |]
                    Cname = "cname" }

              let struct (busy, _) = MediaSession.step 2L<us> (MediaInput.Plan plan) idle
              Expect.isTrue busy.Keys.IsSome "keys"
              Expect.isLessThan (MediaSession.deadline busy) Instant.never "reports")

          testCase
              "SRTP profiles: the first of the server's that the client offers protects packets; without one in common none flow"
              (fun () ->
                  let of' profiles : PeerConfig =
                      { config Capabilities.defaults with
                          Options =
                              { Peer.defaultOptions with
                                  SrtpProfiles = profiles } }

                  // The answerer is the DTLS client, as in browsers.
                  let run server client =
                      let world =
                          World.createOf (of' server) Weather.fair 11L
                          |> World.change 'b' (fun e ->
                              { e with
                                  Peer = World.peerOf (of' client) 12L })

                      match World.demand 'a' (fun c -> AddTransceiver(c, init)) world with
                      | world, Transceiver info ->
                          let world, ready =
                              World.run (Duration.seconds 30L) isReady (World.negotiate 'a' world)

                          Expect.isTrue ready "connected"
                          let infos = transceivers 'a' world
                          let codec: RtpCodecParameters = infos[0].SendCodecs[0]

                          let world =
                              send info.Id (byte codec.PayloadType) 10 world
                              |> World.pass (Duration.seconds 1L)

                          struct ((received world).Length, (media 'b' world).SrtpCipher)
                      | _ -> failtest "no transceiver"

                  let cm80, cm32 = SrtpProfile.Aes128CmHmacSha1_80, SrtpProfile.Aes128CmHmacSha1_32

                  let gcm = SrtpProfile.AeadAes256Gcm

                  for server, client, expected in
                      [ [| gcm; cm80 |], [| cm80; gcm |], "SRTP_AEAD_AES_256_GCM"
                        [| cm80; gcm |], [| gcm; cm80 |], "SRTP_AES128_CM_HMAC_SHA1_80"
                        [| gcm; cm32 |], [| cm80; cm32 |], "SRTP_AES128_CM_HMAC_SHA1_32"
                        [| SrtpProfile.AeadAes128Gcm |], [| SrtpProfile.AeadAes128Gcm |], "SRTP_AEAD_AES_128_GCM" ] do
                      let struct (count, cipher) = run server client
                      Expect.equal cipher expected "the profile"
                      Expect.equal count 50 "all"

                  let struct (count, cipher) = run [| gcm |] [| cm80 |]
                  Expect.equal cipher "" "none"
                  Expect.equal count 0 "nothing")

          testCase "a packet without a map of extensions is sent as one without extensions" (fun () ->
              let struct (world, id, payloadType) = opened Capabilities.defaults Weather.fair 3L

              let bare =
                  frame payloadType 0
                  |> Array.map (fun packet ->
                      { packet with
                          Map = Unchecked.defaultof<ExtensionMap> })

              let world =
                  world
                  |> World.tell 'a' (SendRtp(id, 0, RtpMappings.identity, ReadOnlyMemory bare))
                  |> World.pass (Duration.seconds 1L)

              Expect.equal (received world).Length 5 "all")

          testCase "one sequence number is not sent with two contents" (fun () ->
              let struct (world, id, payloadType) = opened Capabilities.defaults Weather.fair 5L
              let world = send id payloadType 3 world
              let before = dropsOf 'a' Layer.Rtp Drop.Replayed world

              let world =
                  world
                  |> World.tell 'a' (SendRtp(id, 0, RtpMappings.identity, ReadOnlyMemory(frame payloadType 1)))
                  |> World.pass (Duration.seconds 1L)

              Expect.equal (dropsOf 'a' Layer.Rtp Drop.Replayed world - before) 5L "refused"
              Expect.equal (received world).Length 15 "and not delivered")

          testCase "forged, cut and repeated packets are counted and nothing else" (fun () ->
              let struct (world, id, payloadType) = opened Capabilities.defaults Weather.fair 7L

              let world =
                  send id payloadType 90 (World.withForger 1.0 7L world)
                  |> World.pass (Duration.seconds 1L)

              Expect.equal (received world).Length 450 "each once"
              Expect.isGreaterThan (dropsOf 'b' Layer.Srtp Drop.Replayed world) 50L "replays"
              Expect.isGreaterThan (dropsOf 'b' Layer.Srtp Drop.Unauthentic world) 10L "forgeries")

          testCase "a flood of NACKs brings a bounded number of packets" (fun () ->
              let struct (world, id, payloadType) = opened Capabilities.defaults Weather.fair 9L
              let world = send id payloadType 60 world
              let ssrc = (media 'a' world).Outbound[0].Ssrc

              let asked: Rtcp =
                  Nack(
                      1u,
                      ssrc,
                      [| for i in 0..16 ->
                             { PacketId = uint16 (1_000 + 17 * i)
                               Bitmask = 0xFFFFus } |]
                  )

              let world =
                  (world, [ 1..200 ])
                  ||> List.fold (fun world _ -> World.tell 'b' (SendRtcp [| asked |]) world)
                  |> World.pass (Duration.milliseconds 500L)

              let again = (media 'a' world).Outbound[0].RetransmittedPacketsSent
              Expect.isGreaterThan again 0L "some"
              Expect.isLessThan again 700L "not all of 57,800") ]
