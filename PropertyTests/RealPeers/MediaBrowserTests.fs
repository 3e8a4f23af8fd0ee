/// Our media and a real Chromium's: what one sends, the other decodes.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaBrowserTests

open System
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests

/// What the clips show, a second each (Fixtures/media/make.sh).
let private red = [| 200; 40; 40 |]
let private green = [| 40; 160; 60 |]
let private blue = [| 50; 70; 200 |]

/// A clip's frames: 75 of a picture, 150 of the sound.
let private clip (name: string) : ReadOnlyMemory<byte>[] =
    let file =
        File.OpenRead(Path.Combine(Outside.root, "PropertyTests", "Fixtures", "media", name))

    use reader =
        match Path.GetExtension name with
        | ".ivf" -> new IvfReader(file) :> MediaReader
        | ".ogg" -> new OggOpusReader(file)
        | _ -> new AnnexBReader(file, "video/H264", 25.0)

    [| let mutable more = true

       while more do
           match reader.Read() with
           | null -> more <- false
           | frame -> frame.Data.ToArray() |> ReadOnlyMemory |]

/// Plays one second of a clip over and over, as fast as it was made; from its key frame again where the peer asks for one.
type private Player(mimeType: string, name: string, perSecond: int, ?fmtp: string) =
    let track = new SampleTrack(mimeType, Option.toObj fmtp)
    let frames = clip name
    let stop = new CancellationTokenSource()
    let mutable second = 0
    let mutable at = 0
    let mutable requests = 0
    let mutable first = 0

    let asked =
        track.OnKeyFrameRequest.Subscribe(fun _ ->
            Interlocked.Increment &requests |> ignore
            at <- 0)

    let playing =
        task {
            while not stop.IsCancellationRequested do
                // Another second begins with its key frame.
                if first <> second then
                    first <- second
                    at <- 0

                let frame = frames[first * perSecond + at]
                at <- (at + 1) % perSecond
                do! track.WriteAsync(frame, TimeSpan.FromSeconds(1.0 / float perSecond))
        }

    static member Picture(mimeType: string, name: string, ?fmtp: string) =
        new Player(mimeType, name, 25, ?fmtp = fmtp)

    static member Vp8() = Player.Picture("video/VP8", "vp8.ivf")

    static member Sound() =
        new Player("audio/opus", "opus.ogg", 50)

    member _.Track = track

    /// Which second: 0 is red, 1 green, 2 blue.
    member _.Second
        with set value = second <- value

    /// How often a key frame was asked for.
    member _.Requests = requests

    /// No frame follows.
    member _.End() : Task =
        stop.Cancel()
        playing

    interface IAsyncDisposable with
        member this.DisposeAsync() =
            asked.Dispose()
            this.End() |> ValueTask

/// What came on a track of the peer's.
type private Heard(track: RemoteTrack) =
    let mutable frames = 0
    let mutable keys = 0
    let mutable beginsWithKey = false
    let mutable octets = 0

    let listening =
        track.Frames.Subscribe(fun (frame: EncodedFrame) ->
            if frames = 0 then
                beginsWithKey <- frame.IsKeyFrame

            if frame.IsKeyFrame then
                keys <- keys + 1

            octets <- octets + frame.Data.Length
            frames <- frames + 1)

    member _.Track = track
    member _.Frames = frames
    member _.Keys = keys
    member _.BeginsWithKey = beginsWithKey
    member _.Octets = octets
    member _.End() = listening.Dispose()

/// Waits for something of ours; the failure says what.
let private await (what: unit -> string) (holds: unit -> bool) : Task =
    task {
        let deadline = Environment.TickCount64 + 20_000L

        while not (holds ()) && Environment.TickCount64 < deadline do
            do! Task.Delay 20

        if not (holds ()) then
            failtest (what ())
    }

/// Tracks of the peer's, in the order of their events.
let private heard (ours: OurPeer) : ResizeArray<Heard> =
    let tracks = ResizeArray()
    ours.Pc.OnTrack.Subscribe(fun e -> tracks.Add(Heard e.Track)) |> ignore
    tracks

let private ofKind (kind: MediaKind) (tracks: ResizeArray<Heard>) =
    tracks.ToArray() |> Array.filter (fun h -> h.Track.Kind = kind)

/// The page's side: a connection anew, whose videos are shown by their mid.
let private prepare =
    """() => {
        window.pc?.close();
        window.sent?.unpaint();
        document.body.replaceChildren();
        window.pc = new RTCPeerConnection();
        window.videos = {};
        window.sounds = {};
        pc.ontrack = async ({ track, transceiver }) => {
            const element = await show(track);
            // A silenced element's energy is none.
            element.muted = track.kind === "video";
            (track.kind === "video" ? videos : sounds)[transceiver.mid] = element;
        };
    }"""

/// The page sends a picture of a colour, and a tone.
let private sends =
    """({ colour, sound }) => {
        window.sent = painted(colour);
        pc.addTrack(sent);
        if (sound) pc.addTrack(tone());
    }"""

/// The first video shows this colour, or the one of a mid.
let private showsColour =
    """async ({ colour, mid }) => {
        const video = await until(() => mid ? videos[mid] : Object.values(videos)[0]);
        return await shows(video, colour);
    }"""

let private answer =
    "async (offer) => { await pc.setRemoteDescription(offer); await pc.setLocalDescription(); return await gathered(pc); }"

let private offer =
    "async () => { await pc.setLocalDescription(); return await gathered(pc); }"

let private accept = "(answer) => pc.setRemoteDescription(answer)"

/// Who makes the offer.
type private Offerer =
    | Ours
    | Browsers

/// One round of negotiation.
let private negotiate (offerer: Offerer) (ours: OurPeer) (page: Page) : Task =
    task {
        match offerer with
        | Ours ->
            let! offered = ours.Describe()
            let! answered = page.Call(answer, offered)
            do! ours.Accept answered
        | Browsers ->
            let! offered = page.Call offer
            do! ours.Accept offered
            let! answered = ours.Describe()
            let! _ = page.Call(accept, answered)
            ()
    }

let private sees (page: Page) (colour: int[]) : Task =
    task {
        let! _ = page.Call(20.0, showsColour, {| colour = colour |})
        ()
    }

/// Picture and sound go both ways, and a change of the picture shows.
let private bothWays (offerer: Offerer) (page: Page) : Task =
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

        let! video = page.Call(20.0, "() => decoded(pc, 'video', 10)", null)
        Expect.equal (video.GetProperty("codec").GetString()) "video/VP8" "the browser decodes"
        do! sees page red
        picture.Second <- 1
        do! sees page green

        let! audio =
            page.Call(
                20.0,
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
    }

/// Our picture in one codec alone is decoded.
let private codec (mimeType: string) (file: string) (fmtp: string option) (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        use picture = Player.Picture(mimeType, file, ?fmtp = fmtp)
        let transceiver = ours.Pc.AddTransceiver picture.Track

        RTCRtpSender.GetCapabilities(MediaKind.Video).Codecs
        |> Seq.filter (fun c -> c.MimeType = mimeType || c.MimeType = "video/rtx")
        |> transceiver.SetCodecPreferences

        do! negotiate Ours ours page
        let! video = page.Call(20.0, "() => decoded(pc, 'video', 5)", null)
        Expect.equal (video.GetProperty("codec").GetString()) mimeType "the browser decodes"
        do! sees page red
        picture.Second <- 2
        do! sees page blue
    }

/// What the browser sends comes back to it, packet by packet.
let private reflected (page: Page) : Task =
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

        // Chromium tells BT.709 in the color-space extension of key frames, which is not forwarded: what comes back is decoded
        // by BT.601, and green moves most.
        let! _ =
            page.Call(20.0, "(colour) => shows(Object.values(videos)[0], colour, 40)", green)

        ()
    }

/// Three encodings of the browser's picture arrive, and one of them goes back.
let private simulcast (page: Page) : Task =
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
        let counts = Collections.Concurrent.ConcurrentDictionary<string, int>()

        for rid in [ "q"; "h"; "f" ] do
            track
                .FramesOf(rid)
                .Subscribe(fun (_: EncodedFrame) -> counts.AddOrUpdate(rid, 1, (fun _ n -> n + 1)) |> ignore)
            |> ignore

        do!
            await (fun () -> $"frames of each: {List.ofSeq counts}") (fun () ->
                counts.Count = 3 && counts.Values |> Seq.forall (fun n -> n >= 5))

        Expect.equal (Set.ofSeq [ for l in track.Layers -> l.Rid ]) (Set.ofList [ "q"; "h"; "f" ]) "the layers"

        for rid, width in [ "q", 240; "h", 480 ] do
            use _ = track.ForwardTo(back, rid)

            let! _ =
                page.Call(20.0, "(width) => until(() => Object.values(videos)[0]?.videoWidth === width)", width)

            do! sees page blue
    }

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

/// A second picture comes and goes, a track is replaced, and the browser pauses its own.
let private changes (page: Page) : Task =
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

        let seesAt (mid: string) (colour: int[]) : Task =
            page.Call(20.0, showsColour, {| colour = colour; mid = mid |})

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
            page.Call(10.0, "() => until(() => pc.getTransceivers()[1].receiver.track.muted)", null)

        let stopped = ours.Pc.GetTransceivers() |> Seq.find (fun t -> t.Mid = "1")
        stopped.Stop()
        do! negotiate Ours ours page

        let! _ =
            page.Call(10.0, "() => until(() => pc.getTransceivers().length === 1)", null)

        do! seesAt "0" blue
    }

let private session (body: Page -> Task) (browser: Lazy<Task<Chromium>>) : Task =
    task {
        let! chromium = browser.Value
        let! page = chromium.Open()

        try
            do! body page
        finally
            page.Close() |> ignore
    }

let tests =
    // One browser for all: each test has a page of its own.
    let mutable browser: Lazy<Task<Chromium>> voption = ValueNone

    let on (path: string) : Lazy<Task<Chromium>> =
        match browser with
        | ValueSome running -> running
        | ValueNone ->
            let running = lazy (Chromium.Launch(path, true))
            browser <- ValueSome running
            running

    let chromium (name: string) (body: Page -> Task) =
        Outside.needing Peers.chromium name (fun path -> session body (on path))

    let finish =
        testCaseTask "the browser ends" (fun () ->
            task {
                match browser with
                | ValueSome running ->
                    let! chromium = running.Value
                    do! (chromium :> IAsyncDisposable).DisposeAsync()
                | ValueNone -> ()
            })

    testSequenced
    <| testList
        "Chromium's media"
        [ chromium "picture and sound both ways, Chromium offers" (bothWays Browsers)
          chromium "picture and sound both ways, we offer" (bothWays Ours)
          chromium "VP9 of ours is seen" (codec "video/VP9" "vp9.ivf" None)
          chromium "AV1 of ours is seen" (codec "video/AV1" "av1.ivf" None)
          chromium
              "H.264 of ours is seen"
              (codec
                  "video/H264"
                  "h264.h264"
                  (Some "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"))
          chromium "what Chromium sends comes back to it" reflected
          chromium "packets and octets are counted alike" counts
          chromium "three encodings arrive, and one goes back" simulcast
          chromium "tracks come, go and change" changes
          finish ]
