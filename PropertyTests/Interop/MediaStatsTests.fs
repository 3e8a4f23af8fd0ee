/// What statistics say of media, and which of them a selector chooses.
module Hybrid.WebRtc.PropertyTests.Interop.MediaStatsTests

open System
open System.Text.Json
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests
open Hybrid.WebRtc.PropertyTests.Interop.Scripted
open Hybrid.WebRtc.PropertyTests.Interop.ScriptedMedia

let private inbound transceiver ssrc codec : InboundRtpStats =
    { Transceiver = transceiver
      Ssrc = ssrc
      Rid = "h"
      RtxSsrc = 12u
      FecSsrc = 0u
      Codec = ValueSome codec
      PacketsReceived = 1L
      PacketsLost = -2L
      Jitter = 90.0
      BytesReceived = 3L
      HeaderBytesReceived = 4L
      LastPacketAt = ValueSome 500_000L<us>
      PacketsDiscarded = 5L
      FecPacketsReceived = 6L
      FecBytesReceived = 7L
      FecPacketsDiscarded = 8L
      RetransmittedPacketsReceived = 9L
      RetransmittedBytesReceived = 10L
      NackCount = 11L
      FirCount = 12L
      PliCount = 13L
      FramesReceived = 14L
      JitterBufferDelay = 1_500_000L<us>
      JitterBufferTargetDelay = 2_000_000L<us>
      JitterBufferMinimumDelay = 2_500_000L<us>
      JitterBufferEmitted = 15L
      AudioLevel = ValueSome 20
      RemoteSender =
        ValueSome
            { At = 900_000L<us>
              PacketsSent = 16L
              BytesSent = 17L
              RemoteTimestamp = 2_208_988_800UL <<< 32
              ReportsSent = 18L
              RoundTripTime = ValueSome 20_000L<us>
              TotalRoundTripTime = 40_000L<us>
              RoundTripTimeMeasurements = 2L } }

let private outbound transceiver ssrc codec : OutboundRtpStats =
    { Transceiver = transceiver
      Encoding = 0
      Rid = ""
      Ssrc = ssrc
      RtxSsrc = 0u
      FecSsrc = 0u
      Active = true
      Codec = ValueSome codec
      PacketsSent = 1L
      BytesSent = 2L
      HeaderBytesSent = 3L
      RetransmittedPacketsSent = 4L
      RetransmittedBytesSent = 5L
      FecPacketsSent = 0L
      FecBytesSent = 0L
      TargetBitrate = ValueSome 1_000_000L
      FramesSent = 6L
      HugeFramesSent = 7L
      TotalPacketSendDelay = 8_000_000L<us>
      NackCount = 9L
      FirCount = 10L
      PliCount = 11L
      RemoteReceiver =
        ValueSome
            { At = 800_000L<us>
              PacketsLost = 12L
              FractionLost = 0.25
              Jitter = 180.0
              RoundTripTime = ValueSome 30_000L<us>
              TotalRoundTripTime = 60_000L<us>
              RoundTripTimeMeasurements = 2L } }

let private figures =
    { statistics with
        At = 1_000_000L<us>
        Media =
            { Inbound = [| inbound 1 100u vp8; inbound 2 200u pcmu |]
              Outbound = [| outbound 1 101u vp8; outbound 2 201u pcmu |]
              AvailableOutgoingBitrate = ValueSome 2_000_000L
              SrtpCipher = "SRTP_AEAD_AES_128_GCM"
              CcfbSent = 3L
              CcfbReceived = 4L } }

let private connected () =
    task {
        let media = MediaScript figures
        let pc = media.Connect()
        let picture = new RtpTrack(video)
        let sound = new RtpTrack(audio)
        pc.AddTrack picture |> ignore
        pc.AddTrack sound |> ignore
        media.Negotiate()
        do! settled pc
        return struct (media, pc, picture, sound)
    }

let private one<'T when 'T :> RTCStats> (report: RTCStatsReport) (chosen: 'T -> bool) : 'T =
    report.OfType<'T>() |> Seq.filter chosen |> Seq.exactlyOne

[<Tests>]
let tests =
    testList
        "Media statistics"
        [ testCaseTask "every figure of the core's is W3C's, in W3C's units" (fun () ->
              task {
                  let! struct (_, pc, picture, _) = connected ()
                  let! report = pc.GetStatsAsync()
                  let into = one<RTCInboundRtpStreamStats> report (fun s -> s.Ssrc = 100u)
                  Expect.equal into.Type "inbound-rtp" "type"
                  Expect.equal into.Kind video "kind"
                  Expect.equal into.Mid "1" "mid"
                  Expect.equal into.Rid "h" "rid"
                  Expect.equal into.TrackIdentifier "receiver-1" "track"
                  Expect.equal into.PacketsLost -2L "lost"
                  Expect.equal into.Jitter (Nullable 0.001) "seconds"
                  Expect.equal into.JitterBufferDelay 1.5 "seconds"
                  Expect.equal into.RtxSsrc (Nullable 12u) "rtx"
                  Expect.isFalse into.FecSsrc.HasValue "zero is none"
                  Expect.isFalse into.AudioLevel.HasValue "none of pictures"
                  Expect.equal into.FramesReceived (Nullable 14L) "frames"

                  Expect.equal
                      (into.Timestamp - into.LastPacketReceivedTimestamp.GetValueOrDefault())
                      (TimeSpan.FromSeconds 0.5)
                      "half a second ago"

                  let sound = one<RTCInboundRtpStreamStats> report (fun s -> s.Ssrc = 200u)
                  Expect.floatClose Accuracy.medium (sound.AudioLevel.GetValueOrDefault()) 0.1 "linear"
                  Expect.isFalse sound.FramesReceived.HasValue "no frames of sound"
                  let remote = one<RTCRemoteOutboundRtpStreamStats> report (fun s -> s.Ssrc = 100u)
                  Expect.equal into.RemoteId remote.Id "what the peer says"
                  Expect.equal remote.LocalId into.Id "and back"
                  Expect.equal remote.RemoteTimestamp (Nullable DateTimeOffset.UnixEpoch) "NTP"
                  Expect.equal remote.RoundTripTime (Nullable 0.02) "seconds"
                  let out = one<RTCOutboundRtpStreamStats> report (fun s -> s.Ssrc = 101u)
                  Expect.equal out.TargetBitrate (Nullable 1_000_000.0) "target"
                  Expect.equal out.TotalPacketSendDelay 8.0 "seconds"
                  Expect.isTrue out.Active "active"
                  let source = one<RTCVideoSourceStats> report (fun _ -> true)
                  Expect.equal out.MediaSourceId source.Id "its source"
                  Expect.equal source.TrackIdentifier picture.Id "the track"
                  let receiver = one<RTCRemoteInboundRtpStreamStats> report (fun s -> s.Ssrc = 101u)
                  Expect.equal out.RemoteId receiver.Id "what the peer says"
                  Expect.equal receiver.FractionLost 0.25 "fraction"
                  Expect.equal receiver.Jitter (Nullable 0.002) "seconds"
                  Expect.isFalse receiver.PacketsReceived.HasValue "a report does not tell"
                  let codec = one<RTCCodecStats> report (fun c -> String.Equals(c.Id, out.CodecId))
                  Expect.equal codec.MimeType "video/VP8" "codec"
                  Expect.equal codec.PayloadType 96 "payload type"
                  Expect.hasLength (report.OfType<RTCCodecStats>()) 4 "each way's own"
                  let transport = one<RTCTransportStats> report (fun _ -> true)
                  Expect.equal transport.SrtpCipher "SRTP_AEAD_AES_128_GCM" "cipher"
                  Expect.equal transport.CcfbMessagesSent 3L "ccfb"
                  let pair = one<RTCIceCandidatePairStats> report (fun _ -> true)
                  Expect.equal pair.AvailableOutgoingBitrate (Nullable 2_000_000.0) "the estimate"
              })

          testCaseTask "ids stay, and JSON has W3C's names" (fun () ->
              task {
                  let! struct (_, pc, _, _) = connected ()
                  let! first = pc.GetStatsAsync()
                  let! second = pc.GetStatsAsync()
                  Expect.sequenceEqual (Seq.sort first.Keys) (Seq.sort second.Keys) "the same objects"
                  use json = JsonDocument.Parse(first.ToJson())

                  let named (kind: string) (member': string) =
                      json.RootElement.EnumerateObject()
                      |> Seq.exists (fun each ->
                          each.Value.GetProperty("type").GetString() = kind
                          && (let mutable found = JsonElement()
                              each.Value.TryGetProperty(member', &found)))

                  for kind, names in
                      [ "inbound-rtp",
                        [ "ssrc"
                          "kind"
                          "transportId"
                          "codecId"
                          "trackIdentifier"
                          "mid"
                          "remoteId"
                          "packetsReceived"
                          "packetsLost"
                          "jitter"
                          "lastPacketReceivedTimestamp"
                          "headerBytesReceived"
                          "bytesReceived"
                          "nackCount"
                          "firCount"
                          "pliCount"
                          "rtxSsrc"
                          "jitterBufferDelay"
                          "jitterBufferEmittedCount"
                          "framesReceived"
                          "audioLevel"
                          "fecPacketsReceived"
                          "retransmittedPacketsReceived" ]
                        "outbound-rtp",
                        [ "packetsSent"
                          "bytesSent"
                          "mediaSourceId"
                          "encodingIndex"
                          "targetBitrate"
                          "active"
                          "framesSent" ]
                        "remote-inbound-rtp",
                        [ "localId"; "roundTripTime"; "fractionLost"; "roundTripTimeMeasurements" ]
                        "remote-outbound-rtp", [ "localId"; "remoteTimestamp"; "reportsSent" ]
                        "codec", [ "payloadType"; "mimeType"; "clockRate" ]
                        "media-source", [ "trackIdentifier"; "kind" ]
                        "transport", [ "srtpCipher"; "ccfbMessagesSent"; "ccfbMessagesReceived" ]
                        "candidate-pair",
                        [ "availableOutgoingBitrate"
                          "packetsSent"
                          "packetsReceived"
                          "bytesSent"
                          "bytesReceived"
                          "lastPacketSentTimestamp"
                          "currentRoundTripTime" ] ] do
                      for name in names do
                          Expect.isTrue (named kind name) $"{kind}.{name}"
              })

          testCaseTask "a selector chooses what is about it, and what that refers to" (fun () ->
              task {
                  let! struct (media, pc, picture, sound) = connected ()

                  let types (report: RTCStatsReport) =
                      report.Values |> Seq.map _.Type |> Set.ofSeq

                  let closed (report: RTCStatsReport) =
                      for out in report.OfType<RTCRtpStreamStats>() do
                          Expect.isTrue (report.ContainsKey out.TransportId) "its transport"
                          Expect.isTrue (report.ContainsKey(nonNull out.CodecId)) "its codec"

                  let transport = [ "candidate-pair"; "certificate"; "codec"; "local-candidate" ]

                  let! sending = pc.GetStatsAsync picture
                  closed sending

                  Expect.equal
                      (types sending)
                      (Set.ofList (
                          transport
                          @ [ "media-source"
                              "outbound-rtp"
                              "remote-candidate"
                              "remote-inbound-rtp"
                              "transport" ]
                      ))
                      "a sender's"

                  Expect.all (sending.OfType<RTCRtpStreamStats>()) (fun s -> s.Ssrc = 101u) "of it only"
                  let! receiving = (Seq.item 1 (pc.GetReceivers())).GetStatsAsync()
                  closed receiving

                  Expect.equal
                      (types receiving)
                      (Set.ofList (
                          transport
                          @ [ "inbound-rtp"; "remote-candidate"; "remote-outbound-rtp"; "transport" ]
                      ))
                      "a receiver's"

                  Expect.all (receiving.OfType<RTCRtpStreamStats>()) (fun s -> s.Ssrc = 200u) "of it only"
                  let! byTrack = pc.GetStatsAsync((Seq.item 1 (pc.GetReceivers())).Track)
                  Expect.sequenceEqual (Seq.sort byTrack.Keys) (Seq.sort receiving.Keys) "by its track"

                  Expect.equal
                      (nameOf (fun () -> pc.GetStatsAsync(new RtpTrack(video)).Wait()))
                      "InvalidAccessError"
                      "nobody's"

                  do! within ((Seq.item 1 (pc.GetSenders())).ReplaceTrackAsync null)

                  Expect.equal
                      (nameOf (fun () -> pc.GetStatsAsync(sound).Wait()))
                      "InvalidAccessError"
                      "nobody's any more"

                  let sender = Seq.head (pc.GetSenders())
                  pc.Close()
                  let! after = sender.GetStatsAsync()
                  Expect.isNonEmpty (after.OfType<RTCOutboundRtpStreamStats>()) "of the moment it was closed"
                  ignore media
              }) ]
