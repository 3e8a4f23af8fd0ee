/// What getStats() tells here and there of the same streams, W3C webrtc-stats.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaCounts

open System
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench

/// The browser's streams by SSRC, its transport, and the pair in use.
let private theirs =
    """async () => {
        const report = [...(await pc.getStats()).values()];
        const transport = report.find((s) => s.type === "transport");
        return {
            sent: report.filter((s) => s.type === "outbound-rtp"),
            received: report.filter((s) => s.type === "inbound-rtp"),
            reported: report.filter((s) => s.type === "remote-inbound-rtp"),
            transport,
            pair: report.find((s) => s.id === transport?.selectedCandidatePairId) ?? report.find((s) => s.type === "candidate-pair" && s.selected),
        };
    }"""

/// A member as a number; absent, as browsers have what never happened: 0.
let private number (name: string) (from: JsonElement) : float =
    match from.TryGetProperty name with
    | true, value when value.ValueKind = JsonValueKind.Number -> value.GetDouble()
    | _ -> 0.0

let private bySsrc (ssrc: uint32) (list: string) (all: JsonElement) : JsonElement =
    all.GetProperty(list).EnumerateArray()
    |> Seq.find (fun s -> number "ssrc" s = float ssrc)

/// What differs by more than 2 %: name, here, there.
let private apart (pairs: (string * float * float) list) : (string * float * float) list =
    pairs |> List.filter (fun (_, a, b) -> abs (a - b) > 0.02 * max a b)

let private optional (n: Nullable<int64>) = float (n.GetValueOrDefault())

let private outbound (s: RTCOutboundRtpStreamStats) (there: JsonElement) : (string * float * float) list =
    let t = bySsrc s.Ssrc "received" there

    [ "packets", float s.PacketsSent, number "packetsReceived" t
      "bytes", float s.BytesSent, number "bytesReceived" t
      "headerBytes", float s.HeaderBytesSent, number "headerBytesReceived" t
      "retransmittedPackets", float s.RetransmittedPacketsSent, number "retransmittedPacketsReceived" t
      "nackCount", float s.NackCount, number "nackCount" t

      if s.Kind = MediaKind.Video then
          "frames", optional s.FramesSent, number "framesReceived" t
          "pliCount", optional s.PliCount, number "pliCount" t
          "firCount", optional s.FirCount, number "firCount" t ]
    |> List.map (fun (name, a, b) -> $"{s.Kind} sent: {name}", a, b)

let private inbound (s: RTCInboundRtpStreamStats) (there: JsonElement) : (string * float * float) list =
    let t = bySsrc s.Ssrc "sent" there

    [ "packets", optional s.PacketsReceived, number "packetsSent" t
      "bytes", float s.BytesReceived, number "bytesSent" t
      "headerBytes", float s.HeaderBytesReceived, number "headerBytesSent" t
      "nackCount", float s.NackCount, number "nackCount" t

      if s.Kind = MediaKind.Video then
          "frames", optional s.FramesReceived, number "framesEncoded" t
          "pliCount", optional s.PliCount, number "pliCount" t
          "firCount", optional s.FirCount, number "firCount" t ]
    |> List.map (fun (name, a, b) -> $"{s.Kind} received: {name}", a, b)

/// Both count the same of all four streams and of their path, once nothing flows.
let counts (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        let video = ours.Pc.AddTransceiver MediaKind.Video
        let audio = ours.Pc.AddTransceiver MediaKind.Audio
        let! _ = page.Call(sends, {| colour = blue; sound = true |})
        let connected = ours.Reaches RTCPeerConnectionState.Connected
        do! negotiate Ours ours page
        do! connected
        // The first frame sent is a key frame: receivers count none before one.
        let begins = TaskCompletionSource()
        use picture = Player.Vp8 begins.Task
        use sound = Player.Sound begins.Task
        do! video.Sender.ReplaceTrackAsync picture.Track
        do! audio.Sender.ReplaceTrackAsync sound.Track
        begins.SetResult()
        let! _ = page.Call("() => decoded(pc, 'video', 60)", null)

        do!
            await (fun () -> "few frames") (fun () ->
                ofKind MediaKind.Video tracks |> Array.exists (fun h -> h.Frames >= 60))

        do! picture.End()
        do! sound.End()

        let! _ =
            page.Call "() => Promise.all(pc.getSenders().map((s) => s.replaceTrack(null)))"

        do!
            eventually (fun () ->
                task {
                    let! there = page.Call theirs
                    let! here = ours.Pc.GetStatsAsync()
                    let sent = here.OfType<RTCOutboundRtpStreamStats>() |> List.ofSeq
                    let received = here.OfType<RTCInboundRtpStreamStats>() |> List.ofSeq
                    let reports = here.OfType<RTCRemoteInboundRtpStreamStats>() |> List.ofSeq
                    let transport = here.OfType<RTCTransportStats>() |> Seq.exactlyOne
                    let theirTransport = there.GetProperty "transport"
                    let theirPair = there.GetProperty "pair"

                    let pair =
                        here.OfType<RTCIceCandidatePairStats>()
                        |> Seq.find (fun p -> String.Equals(p.Id, transport.SelectedCandidatePairId))

                    let path =
                        [ "transport: packets sent",
                          float transport.PacketsSent,
                          number "packetsReceived" theirTransport
                          "transport: packets received",
                          float transport.PacketsReceived,
                          number "packetsSent" theirTransport
                          "transport: bytes sent", float transport.BytesSent, number "bytesReceived" theirTransport
                          "transport: bytes received", float transport.BytesReceived, number "bytesSent" theirTransport
                          "pair: packets sent", float pair.PacketsSent, number "packetsReceived" theirPair
                          "pair: packets received", float pair.PacketsReceived, number "packetsSent" theirPair
                          "pair: bytes sent", float pair.BytesSent, number "bytesReceived" theirPair
                          "pair: bytes received", float pair.BytesReceived, number "bytesSent" theirPair ]

                    let lost =
                        [ for r in reports ->
                              $"{r.Kind}: packetsLost",
                              float r.PacketsLost,
                              number "packetsLost" (bySsrc r.Ssrc "received" there) ]

                    let differ =
                        [ for s in sent do
                              yield! outbound s there
                          for s in received do
                              yield! inbound s there
                          yield! path
                          yield! lost ]
                        |> apart

                    let trips =
                        [ for r in reports -> r.RoundTripTime.GetValueOrDefault -1.0
                          for r in there.GetProperty("reported").EnumerateArray() -> number "roundTripTime" r ]

                    return
                        if
                            sent.Length = 2
                            && received.Length = 2
                            && differ.IsEmpty
                            && trips.Length = 4
                            && List.forall (fun t -> t >= 0.0 && t < 2.0) trips
                        then
                            Ok()
                        else
                            let differ = String.Join(", ", differ)
                            let trips = String.Join(", ", trips)
                            Error $"here and there: {differ}; round trips: {trips}"
                })
    }
