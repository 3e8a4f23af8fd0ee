/// The browsers' media among themselves: proves what the tests of our media stand on.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaPeersTests

open System
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.PropertyTests

/// Sends a picture of one colour, or the camera's, and a sound, as this codec; answers the offer.
let private offer =
    """async ({ codec, colour }) => {
        window.pc = new RTCPeerConnection();
        window.sent = colour ? painted(colour) : await device("video");
        const video = pc.addTransceiver(sent, { direction: "sendonly" });
        pc.addTransceiver(await device("audio"), { direction: "sendonly" });
        if (codec) prefer(video, codec);
        await pc.setLocalDescription();
        return await gathered(pc);
    }"""

let private answer =
    """async (offer) => {
        window.pc = new RTCPeerConnection();
        pc.ontrack = async ({ track }) => { window[track.kind] = await show(track); };
        await pc.setRemoteDescription(offer);
        await pc.setLocalDescription();
        return await gathered(pc);
    }"""

let private accept = "(answer) => pc.setRemoteDescription(answer)"

/// What the receiver has once it decoded some frames: their codec, and the picture's colour.
let private received =
    """async () => {
        const video = await decoded(pc, "video", 10);
        const audio = await decoded(pc, "audio", 4800);
        const colour = await until(() => colourOf(window.video));
        return { codec: video.codec, sound: audio.codec, frames: video.framesDecoded, colour };
    }"""

/// Seconds for what waits for pictures: Firefox's AV1 needs the better part of a minute for ten of them on two processors.
[<Literal>]
let private patience = 180.0

let private connect (sender: Page) (receiver: Page) (what: obj) : Task<JsonElement> =
    task {
        let! offered = sender.Call(offer, what)
        let! answered = receiver.Call(answer, offered)
        let! _ = sender.Call(accept, answered)
        return! receiver.Call(patience, received, null)
    }

let private colourOf (e: JsonElement) : int[] =
    [| for c in e.EnumerateArray() -> c.GetInt32() |]

let private isAlike (expected: int[]) (seen: int[]) =
    Array.forall2 (fun a b -> abs (a - b) <= 24) expected seen

/// Each codec that a browser has, from one page to another: the painted colour arrives.
let private everyCodec (sender: Page) (receiver: Page) (expected: string list) : Task =
    task {
        let! known = sender.Call "() => codecsOf(\"video\")"
        let known = [ for m in known.EnumerateArray() -> string (m.GetString()) ]

        for codec in expected do
            Expect.contains known codec "the browser has it"

        for codec in
            known
            |> List.filter (fun m -> not (m.EndsWith "rtx" || m.EndsWith "red" || m.EndsWith "fec")) do
            let! seen =
                connect
                    sender
                    receiver
                    {| codec = codec
                       colour = [| 200; 40; 40 |] |}

            Expect.equal ((seen.GetProperty "codec").GetString()) codec "the codec that arrives"
            Expect.equal ((seen.GetProperty "sound").GetString()) "audio/opus" "the sound"
            let! red = receiver.Call(patience, "() => shows(video, [200, 40, 40])", null)
            Expect.isTrue (isAlike [| 200; 40; 40 |] (colourOf red)) codec
            let! _ = sender.Call "() => sent.paint([40, 160, 60])"
            let! green = receiver.Call(patience, "() => shows(video, [40, 160, 60])", null)
            Expect.isTrue (isAlike [| 40; 160; 60 |] (colourOf green)) codec
            let! _ = sender.Call "() => { pc.close(); sent.unpaint(); }"
            let! _ = receiver.Call "() => pc.close()"
            ()
    }

let private chromium (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, true)
        let! sender = chromium.Open()
        let! receiver = chromium.Open()
        do! everyCodec sender receiver [ "video/VP8"; "video/VP9"; "video/AV1" ]
        // The camera's picture has a colour too.
        let! seen = connect sender receiver {| codec = null |}
        Expect.isGreaterThan (Array.sum (colourOf (seen.GetProperty "colour"))) 30 "the fake camera is not black"
    }

let private firefox (path: string) : Task =
    task {
        use! firefox = Firefox.Launch path
        let! sender = firefox.Open()
        let! receiver = firefox.Open()
        do! everyCodec sender receiver [ "video/VP8"; "video/VP9" ]
        let! seen = connect sender receiver {| codec = null |}
        Expect.isGreaterThan (Array.sum (colourOf (seen.GetProperty "colour"))) 30 "the fake camera is not black"
    }

let private between (path: string) : Task =
    task {
        match Peers.chromium () with
        | Error reason -> skiptest reason
        | Ok chromium ->
            use! firefox = Firefox.Launch path
            use! chromium = Chromium.Launch(chromium, true)
            let! here = firefox.Open()
            let! there = chromium.Open()

            // With preferences set, Firefox 153 offers a=rtcp-fb of codecs that it left out, and Chromium refuses the offer.
            for sender, receiver, codec in [ here, there, ""; there, here, "video/VP8" ] do
                let! _ =
                    connect
                        sender
                        receiver
                        {| codec = codec
                           colour = [| 50; 70; 200 |] |}

                let! blue = receiver.Call "() => shows(video, [50, 70, 200])"
                Expect.isTrue (isAlike [| 50; 70; 200 |] (colourOf blue)) "the colour"
    }

/// The clips are what the tests take them for: by ffmpeg's own decoder, a colour a second.
let private clips (ffmpeg: string) : Task =
    task {
        for clip in [ "vp8.ivf"; "vp9.ivf"; "av1.ivf"; "h264.h264" ] do
            let file = IO.Path.Combine(Outside.root, "PropertyTests", "Fixtures", "media", clip)

            let output = IO.Path.GetTempFileName()

            let! struct (code, told) =
                Outside.execute
                    Outside.Patience
                    Outside.root
                    ffmpeg
                    [ "-v"
                      "error"
                      "-y"
                      "-i"
                      file
                      "-vf"
                      "scale=1:1:flags=area"
                      "-f"
                      "rawvideo"
                      "-pix_fmt"
                      "rgb24"
                      output ]

            Expect.equal code 0 told
            let pixels = IO.File.ReadAllBytes output
            IO.File.Delete output
            Expect.equal pixels.Length (75 * 3) (clip + ": 75 frames")

            for second, colour in [ 0, [| 200; 40; 40 |]; 1, [| 40; 160; 60 |]; 2, [| 50; 70; 200 |] ] do
                for frame in [ 0; 12; 24 ] do
                    let at = (second * 25 + frame) * 3

                    Expect.isTrue
                        (isAlike colour (Array.map int pixels[at .. at + 2]))
                        $"{clip}, frame {frame} of {second} s"
    }

let tests =
    testSequenced
    <| testList
        "RealPeers' media"
        [ Outside.needing Peers.ffmpeg "the clips show red, green and blue, a second each" clips
          Outside.needing Peers.chromium "two pages of Chromium see each other's colours in every codec" chromium
          Outside.needing Peers.firefox "two pages of Firefox see each other's colours in every codec" firefox
          Outside.needing Peers.firefox "Firefox and Chromium see each other's colours" between ]
