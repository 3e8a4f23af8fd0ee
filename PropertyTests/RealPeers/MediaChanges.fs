/// How a call changes while it goes on: tracks, directions, sections and codecs, with any browser.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaChanges

open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaScenarios

/// The video of a section shows this colour.
let private seesAt (page: Page) (mid: string) (colour: int[]) : Task =
    task {
        let! _ = page.Call(showsColour, {| colour = colour; mid = mid |})
        ()
    }

/// A second picture comes and goes, a track is replaced, and the browser pauses its own.
let changes (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use first = Player.Vp8()
        use second = Player.Vp8()
        use third = Player.Vp8()
        second.Second <- 1
        third.Second <- 2
        let sender = ours.Pc.AddTrack first.Track
        let! _ = page.Call(sends, {| colour = blue; sound = false |})
        do! negotiate Ours ours page

        let seesAt = seesAt page
        do! seesAt "0" red
        let added = ours.Pc.AddTrack second.Track
        do! negotiate Ours ours page
        do! seesAt "1" green
        do! sender.ReplaceTrackAsync third.Track
        do! seesAt "0" blue

        // The browser pauses, and goes on.
        do! await (fun () -> "nothing came") (fun () -> tracks.Count > 0 && tracks[0].Frames > 0)
        let! _ = page.Call """() => { pc.getTransceivers()[0].direction = "recvonly"; }"""
        do! negotiate Browsers ours page
        do! await (fun () -> "not muted") (fun () -> tracks[0].Track.Muted)
        let! _ = page.Call """() => { pc.getTransceivers()[0].direction = "sendrecv"; }"""
        do! negotiate Browsers ours page
        do! await (fun () -> "still muted") (fun () -> not tracks[0].Track.Muted)

        ours.Pc.RemoveTrack added
        do! negotiate Ours ours page

        let! _ =
            page.Call("() => until(() => pc.getTransceivers()[1].receiver.track.muted)", null)

        let stopped = ours.Pc.GetTransceivers() |> Seq.find (fun t -> t.Mid = "1")
        stopped.Stop()
        do! negotiate Ours ours page

        let! _ = page.Call("() => until(() => pc.getTransceivers().length === 1)", null)

        do! seesAt "0" blue
    }

/// Either side replaces its track, which takes no negotiation, and stops to send for a while, which does.
let pauses (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use first = Player.Vp8()
        use second = Player.Vp8()
        second.Second <- 1
        let sender = ours.Pc.AddTrack first.Track
        let! _ = page.Call(sends, {| colour = blue; sound = false |})
        do! negotiate Browsers ours page
        do! sees page red
        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        do! shows blue "video/VP8" tracks[0]

        do! sender.ReplaceTrackAsync second.Track
        do! sees page green

        let! _ =
            page.Call(
                """async (colour) => {
                    const former = sent;
                    window.sent = painted(colour);
                    await pc.getSenders()[0].replaceTrack(sent);
                    former.unpaint();
                }""",
                red
            )

        do! shows red "video/VP8" tracks[0]

        // Nothing instead of a track: the numbers go on, and nobody is told.
        do! sender.ReplaceTrackAsync null
        do! sender.ReplaceTrackAsync first.Track
        do! sees page red

        let transceiver = ours.Pc.GetTransceivers() |> Seq.exactlyOne
        transceiver.Direction <- RTCRtpTransceiverDirection.RecvOnly
        do! negotiate Ours ours page

        let! _ =
            page.Call("() => until(() => pc.getTransceivers()[0].receiver.track.muted)", null)

        let before = tracks[0].Frames
        do! await (fun () -> "theirs stopped, too") (fun () -> tracks[0].Frames > before + 5)
        transceiver.Direction <- RTCRtpTransceiverDirection.SendRecv
        first.Second <- 1
        do! negotiate Ours ours page

        let! _ =
            page.Call("() => until(() => !pc.getTransceivers()[0].receiver.track.muted)", null)

        do! sees page green
    }

/// A section that was stopped is another transceiver's after it, RFC 9429 §5.2.2.
let recycled (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        use first = Player.Vp8()
        use second = Player.Vp8()
        use third = Player.Vp8()
        second.Second <- 1
        third.Second <- 2
        ours.Pc.AddTrack first.Track |> ignore
        ours.Pc.AddTrack second.Track |> ignore
        do! negotiate Ours ours page
        do! seesAt page "0" red
        do! seesAt page "1" green
        let stopped = ours.Pc.GetTransceivers() |> Seq.item 1
        stopped.Stop()
        do! negotiate Ours ours page

        let! _ = page.Call("() => until(() => pc.getTransceivers().length === 1)", null)

        let added = ours.Pc.AddTransceiver third.Track
        do! negotiate Ours ours page
        Expect.notEqual added.Mid "1" "another section"
        do! seesAt page (string added.Mid) blue
        do! seesAt page "0" red

        let sections () =
            match ours.Pc.CurrentLocalDescription with
            | null -> 0
            | description -> description.Sdp.Split("m=video").Length - 1

        Expect.equal (sections ()) 2 "two sections"

        // The browser stops it, too, and has another use for it. Not the first section, with which Chromium ends the transport: MediaSimulcast does that.
        let! _ =
            page.Call("(mid) => pc.getTransceivers().find((t) => t.mid === mid).stop()", added.Mid)

        do! negotiate Browsers ours page
        Expect.equal (Seq.length (ours.Pc.GetTransceivers())) 1 "stopped here, too"
        let tracks = heard ours

        let! _ =
            page.Call(
                """(colour) => {
                    window.sent = painted(colour);
                    pc.addTransceiver(sent);
                }""",
                green
            )

        do! negotiate Browsers ours page
        Expect.equal (sections ()) 2 "two sections still"
        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        do! shows green "video/VP8" tracks[0]
        do! seesAt page "0" red
    }

/// Another codec is preferred in the middle of a call: both sides change to it.
let codecChanges (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use first = Player.Vp8()
        let transceiver = ours.Pc.AddTransceiver first.Track
        let! _ = page.Call(sends, {| colour = blue; sound = false |})
        do! negotiate Ours ours page
        do! sees page red
        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        do! shows blue "video/VP8" tracks[0]

        for mimeType, file, second, colour in
            [ "video/VP9", "vp9.ivf", 1, green
              "video/AV1", "av1.ivf", 2, blue
              "video/VP8", "vp8.ivf", 0, red ] do
            use next = Player.Picture(mimeType, file)
            next.Second <- second

            RTCRtpSender.GetCapabilities(MediaKind.Video).Codecs
            |> Seq.sortBy (fun c -> if c.MimeType = mimeType then 0 else 1)
            |> transceiver.SetCodecPreferences

            do! negotiate Ours ours page
            do! transceiver.Sender.ReplaceTrackAsync next.Track
            do! sees page colour

            let! _ =
                page.Call(
                    """(codec) => until(async () => (await stats(pc, "inbound-rtp")).some((s) => s.codec === codec))""",
                    mimeType
                )

            let! _ = page.Call("(colour) => sent.paint(colour)", colour)
            do! shows colour mimeType tracks[0]
    }
