/// The keys of a telephone, RFC 4733, pressed here and there.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaTones

open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench

/// What we press is heard in the browser, and what the browser presses is told here.
let tones (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use sound = Player.Sound()
        let sender = ours.Pc.AddTrack sound.Track
        let! _ = page.Call "() => { window.microphone = tone(); pc.addTrack(microphone); }"
        do! negotiate Ours ours page
        let! _ = page.Call("() => decoded(pc, 'audio', 4800)", null)

        let! _ =
            page.Call "async () => { window.phone = await keysOf(pc.getReceivers()[0].track); }"

        let told = System.Collections.Concurrent.ConcurrentQueue<char>()
        let receiver = (Seq.exactlyOne (ours.Pc.GetTransceivers())).Receiver
        use _ = receiver.OnTone.Subscribe(fun tone -> told.Enqueue tone.Tone)

        let dtmf =
            match sender.Dtmf with
            | null -> failtest "audio has tones"
            | dtmf -> dtmf

        Expect.isTrue dtmf.CanInsertDTMF "they were negotiated"
        dtmf.InsertDTMF("1#D0", 300, 150)

        do!
            eventually (fun () ->
                task {
                    let! heard = page.Call "() => phone.keys"

                    return
                        if heard.GetString() = "1#D0" then
                            Ok()
                        else
                            Error $"the browser heard {heard}"
                })

        let! _ = page.Call "() => pc.getSenders()[0].dtmf.insertDTMF('19A#D*0', 100, 70)"
        do! await (fun () -> $"we were told {List.ofSeq told}") (fun () -> told.Count >= 7)
        Expect.equal (System.String(told.ToArray())) "19A#D*0" "all of them, once, in order"
        do! await (fun () -> "no sound") (fun () -> tracks.Count > 0 && tracks[0].Frames > 0)
        let before = tracks[0].Frames
        do! await (fun () -> "the sound does not go on") (fun () -> tracks[0].Frames > before + 10)
        let! _ = page.Call "() => phone.context.close()"
        ()
    }

/// What the browser presses is told here, once and in order, and the sound goes on behind it.
let pressed (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        let told = System.Collections.Concurrent.ConcurrentQueue<char>()
        use sound = Player.Sound()
        ours.Pc.AddTrack sound.Track |> ignore
        let! _ = page.Call "() => { window.microphone = tone(); pc.addTrack(microphone); }"
        do! negotiate Ours ours page
        let receiver = (Seq.exactlyOne (ours.Pc.GetTransceivers())).Receiver
        use _ = receiver.OnTone.Subscribe(fun tone -> told.Enqueue tone.Tone)
        do! await (fun () -> "no sound") (fun () -> tracks.Count > 0 && tracks[0].Frames > 0)
        let! _ = page.Call "() => pc.getSenders()[0].dtmf.insertDTMF('19A#D*0', 100, 70)"
        do! await (fun () -> $"we were told {List.ofSeq told}") (fun () -> told.Count >= 7)
        Expect.equal (System.String(told.ToArray())) "19A#D*0" "all of them, once, in order"
        let before = tracks[0].Frames
        do! await (fun () -> "the sound does not go on") (fun () -> tracks[0].Frames > before + 10)
    }
