/// Our media and real browsers': what one sends, the other decodes.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaBrowserTests

open System
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaScenarios
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaChanges

/// Both count the same packets and octets, once nothing flows.
let private counts (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use picture = Player.Vp8()
        use sound = Player.Sound()
        ours.Pc.AddTrack picture.Track |> ignore
        ours.Pc.AddTrack sound.Track |> ignore
        let! _ = page.Call(sends, {| colour = blue; sound = true |})
        do! negotiate Ours ours page
        let! _ = page.Call(20.0, "() => decoded(pc, 'video', 50)", null)

        do!
            await (fun () -> "few frames") (fun () ->
                ofKind MediaKind.Video tracks |> Array.exists (fun h -> h.Frames >= 50))

        do! picture.End()
        do! sound.End()

        let! _ =
            page.Call "() => Promise.all(pc.getSenders().map((s) => s.replaceTrack(null)))"

        let mutable seen = []
        let near (a: int64) (b: int64) = abs (a - b) * 50L <= max a b
        let deadline = Environment.TickCount64 + 5_000L
        let mutable agree = false

        while not agree && Environment.TickCount64 < deadline do
            let! theirs =
                page.Call
                    """async () => [...(await stats(pc, "outbound-rtp")), ...(await stats(pc, "inbound-rtp"))].map((s) => [
                        s.ssrc, (s.packetsSent ?? s.packetsReceived) - (s.retransmittedPacketsSent ?? s.retransmittedPacketsReceived ?? 0),
                        (s.bytesSent ?? s.bytesReceived) - (s.retransmittedBytesSent ?? s.retransmittedBytesReceived ?? 0)])"""

            let theirs =
                [ for s in theirs.EnumerateArray() -> uint32 (s[0].GetInt64()), (s[1].GetInt64(), s[2].GetInt64()) ]
                |> Map.ofList

            let! report = ours.Pc.GetStatsAsync()

            let ours =
                [ for s in report.OfType<RTCInboundRtpStreamStats>() ->
                      s.Ssrc,
                      (s.PacketsReceived.GetValueOrDefault() - s.RetransmittedPacketsReceived,
                       s.BytesReceived - s.RetransmittedBytesReceived)
                  for s in report.OfType<RTCOutboundRtpStreamStats>() ->
                      s.Ssrc, (s.PacketsSent - s.RetransmittedPacketsSent, s.BytesSent - s.RetransmittedBytesSent) ]

            seen <- [ for ssrc, mine in ours -> ssrc, mine, Map.tryFind ssrc theirs ]

            // The browser counts the padding that it probes with among its pictures' packets, and not as sent again.
            agree <-
                seen.Length = 4
                && (seen
                    |> List.filter (function
                        | _, (packets, octets), Some(p, o) -> near packets p && near octets o
                        | _ -> false)
                    |> List.length)
                   >= 3

            do! Task.Delay 100

        Expect.isTrue agree $"packets and octets, ours and theirs: {seen}"
    }

let private chromiums =
    let browser = chromium []

    testSequenced
    <| testList
        "Chromium's media"
        [ browser.Test "picture and sound both ways, Chromium offers" (bothWays Browsers)
          browser.Test "picture and sound both ways, we offer" (bothWays Ours)
          browser.Test "VP9 alone, both ways" (codec "video/VP9" "vp9.ivf" None)
          browser.Test "AV1 alone, both ways" (codec "video/AV1" "av1.ivf" None)
          browser.Test "H.264 alone, both ways" (codec "video/H264" "h264.h264" h264)
          browser.Test "what Chromium sends comes back to it" reflected
          browser.Test "packets and octets are counted alike" counts
          browser.Test "three encodings arrive, and one goes back" simulcast
          browser.Test "tracks come, go and change" changes
          browser.Test "the codec changes within a call" codecChanges
          browser.End ]

let private firefoxes =
    let browser = firefox ()

    testSequenced
    <| testList
        "Firefox's media"
        [ browser.Test "picture and sound both ways, Firefox offers" (bothWays Browsers)
          browser.Test "picture and sound both ways, we offer" (bothWays Ours)
          browser.Test "VP9 alone, both ways" (codec "video/VP9" "vp9.ivf" None)
          browser.Test "AV1 alone, both ways" (codec "video/AV1" "av1.ivf" None)
          browser.Test "what Firefox sends comes back to it" reflected
          browser.Test "three encodings arrive, and one goes back" simulcast
          browser.Test "tracks come, go and change" changes
          browser.Test "the codec changes within a call" codecChanges
          browser.End ]

let tests = testList "browsers' media" [ chromiums; firefoxes ]
