/// What is asked of our media with any browser: what one sends, the other decodes.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaScenarios

open System
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench

/// Picture and sound go both ways, in the codec that the sides prefer, and changes of the picture show.
let bothWays (offerer: Offerer) (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use picture = Player.Vp8()
        use sound = Player.Sound()
        ours.Pc.AddTrack(picture.Track, MediaStream()) |> ignore
        ours.Pc.AddTrack sound.Track |> ignore
        let! _ = page.Call(sends, {| colour = blue; sound = true |})
        do! negotiate offerer ours page

        let! video = page.Call("() => decoded(pc, 'video', 10)", null)
        Expect.equal (video.GetProperty("codec").GetString()) "video/VP8" "the browser decodes"
        do! sees page red
        picture.Second <- 1
        do! sees page green

        let! audio =
            page.Call(
                """() => until(async () => (await stats(pc, "inbound-rtp", "audio"))
                    .find((s) => s.totalSamplesReceived - s.concealedSamples >= 24000 && s.totalAudioEnergy > 0))""",
                null
            )

        Expect.equal (audio.GetProperty("codec").GetString()) "audio/opus" "the browser plays"

        for kind, enough in [ MediaKind.Video, 20; MediaKind.Audio, 40 ] do
            do!
                await (fun () -> $"{kind}: {[ for h in ofKind kind tracks -> h.Frames ]} frames") (fun () ->
                    ofKind kind tracks |> Array.exists (fun h -> h.Frames >= enough))

            let h = Array.exactlyOne (ofKind kind tracks)
            Expect.isTrue h.BeginsWithKey $"{kind} begins with a key frame"
            Expect.isFalse h.Track.Muted $"{kind} flows"

        let theirs = Array.exactlyOne (ofKind MediaKind.Video tracks)
        do! shows blue "video/VP8" theirs
        let! _ = page.Call("(colour) => sent.paint(colour)", red)
        do! shows red "video/VP8" theirs
    }

/// One codec alone, both ways: each side sees the other's colours.
let codec (mimeType: string) (file: string) (fmtp: string option) (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use picture = Player.Picture(mimeType, file, ?fmtp = fmtp)
        let transceiver = ours.Pc.AddTransceiver picture.Track

        RTCRtpSender.GetCapabilities(MediaKind.Video).Codecs
        |> Seq.filter (fun c -> c.MimeType = mimeType || c.MimeType = "video/rtx")
        |> transceiver.SetCodecPreferences

        let! _ = page.Call(sends, {| colour = green; sound = false |})
        do! negotiate Ours ours page
        let! video = page.Call("() => decoded(pc, 'video', 5)", null)
        Expect.equal (video.GetProperty("codec").GetString()) mimeType "the browser decodes"
        do! sees page red
        picture.Second <- 2
        do! sees page blue

        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        do! shows green mimeType tracks[0]
        let! report = ours.Pc.GetStatsAsync()

        let codecs =
            [ for s in report.OfType<RTCInboundRtpStreamStats>() do
                  for c in report.OfType<RTCCodecStats>() do
                      if s.CodecId = c.Id then
                          string c.MimeType ]

        Expect.equal codecs [ mimeType ] "what came"
    }

/// Constrained baseline, the one profile that every browser with H.264 has.
let h264 =
    Some "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"

/// What the browser sends comes back to it, packet by packet.
let reflected (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let back = RtpTrack(MediaKind.Video)
        ours.Pc.AddTrack back |> ignore
        ours.Pc.OnTrack.Subscribe(fun e -> e.Track.ForwardTo back |> ignore) |> ignore
        let! _ = page.Call(sends, {| colour = blue; sound = false |})
        do! negotiate Browsers ours page
        do! sees page blue
        let! _ = page.Call("(colour) => sent.paint(colour)", green)

        // That Chromium encodes by BT.709 it says in a header extension, which is forwarded, too: green would differ most.
        do! sees page green
    }

/// Three encodings of the browser's picture arrive, and one of them goes back.
let simulcast (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let back = RtpTrack(MediaKind.Video)
        ours.Pc.AddTrack back |> ignore
        let tracks = ResizeArray()
        ours.Pc.OnTrack.Subscribe(fun e -> tracks.Add e.Track) |> ignore

        let! _ =
            page.Call(
                """(colour) => {
                    window.sent = painted(colour, 960, 540);
                    pc.addTransceiver(sent, { direction: "sendonly", sendEncodings: [
                        { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 100000 },
                        { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 200000 },
                        { rid: "f", maxBitrate: 400000 }] });
                    pc.addTransceiver("video", { direction: "recvonly" });
                }""",
                blue
            )

        do! negotiate Browsers ours page
        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        let track: RemoteTrack = tracks[0]
        // Frames of each, and how wide they are.
        let counts = Collections.Concurrent.ConcurrentDictionary<string, int>()
        let widths = Collections.Concurrent.ConcurrentDictionary<string, int>()

        for rid in [ "q"; "h"; "f" ] do
            track
                .FramesOf(rid)
                .Subscribe(fun (frame: EncodedFrame) ->
                    counts.AddOrUpdate(rid, 1, (fun _ n -> n + 1)) |> ignore

                    if frame.Width > 0 then
                        widths[rid] <- frame.Width)
            |> ignore

        do!
            await (fun () -> $"frames of each: {List.ofSeq counts}") (fun () ->
                counts.Count = 3 && counts.Values |> Seq.forall (fun n -> n >= 5))

        Expect.equal (Set.ofSeq [ for l in track.Layers -> l.Rid ]) (Set.ofList [ "q"; "h"; "f" ]) "the layers"

        // A browser on a busy machine scales all of them down: what a layer is now, it says itself.
        Expect.isTrue (widths["q"] < widths["h"] && widths["h"] < widths["f"]) $"how wide: {List.ofSeq widths}"

        for rid in [ "q"; "h"; "q"; "f" ] do
            use _ = track.ForwardTo(back, rid)

            do!
                eventually (fun () ->
                    task {
                        let! seen = page.Call "() => Object.values(videos)[0]?.videoWidth ?? 0"

                        return
                            if seen.GetInt32() = widths[rid] then
                                Ok()
                            else
                                Error $"{rid}: {seen} wide, of {List.ofSeq widths}; frames: {List.ofSeq counts}"
                    })

            do! sees page blue
    }
