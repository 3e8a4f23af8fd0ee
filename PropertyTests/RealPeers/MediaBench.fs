/// What the tests of our media with browsers share: clips that play, what arrives, and the page's side of it.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Media
open Hybrid.WebRtc.PropertyTests

/// What the clips show, a second each (Fixtures/media/make.sh).
let red = [| 200; 40; 40 |]
let green = [| 40; 160; 60 |]
let blue = [| 50; 70; 200 |]

/// A clip's frames: 75 of a picture, 150 of the sound.
let clip (name: string) : ReadOnlyMemory<byte>[] =
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
type Player(mimeType: string, name: string, perSecond: int, ?fmtp: string, ?after: Task) =
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
            do! defaultArg after Task.CompletedTask

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

    /// From its key frame on, once that has happened.
    static member Vp8(?after: Task) =
        new Player("video/VP8", "vp8.ivf", 25, ?after = after)

    static member Sound(?after: Task) =
        new Player("audio/opus", "opus.ogg", 50, ?after = after)

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
type Heard(track: RemoteTrack) =
    let gate = obj ()
    let mutable frames = 0
    let mutable keys = 0
    let mutable beginsWithKey = false
    let mutable octets = 0
    // Since the last key frame.
    let latest = ResizeArray<byte[]>()

    let listening =
        track.Frames.Subscribe(fun (frame: EncodedFrame) ->
            lock gate (fun () ->
                if frames = 0 then
                    beginsWithKey <- frame.IsKeyFrame

                if frame.IsKeyFrame then
                    keys <- keys + 1
                    latest.Clear()

                latest.Add(frame.Data.ToArray())
                octets <- octets + frame.Data.Length
                frames <- frames + 1))

    member _.Track = track
    member _.Frames = frames
    member _.Keys = keys
    member _.BeginsWithKey = beginsWithKey
    member _.Octets = octets
    /// The frames since the last key frame, that one included.
    member _.Latest = lock gate latest.ToArray
    member _.End() = listening.Dispose()

/// Waits for something that takes asking; the failure says what was the case last.
let eventually (ask: unit -> Task<Result<unit, string>>) : Task =
    task {
        let deadline = Environment.TickCount64 + int64 (1_000.0 * Outside.Patience)
        let! first = ask ()
        let mutable seen = first

        while seen.IsError && Environment.TickCount64 < deadline do
            do! Task.Delay 50
            let! next = ask ()
            seen <- next

        match seen with
        | Ok() -> ()
        | Error what -> failtest what
    }

/// The mean colour that a decoder which is not ours, ffmpeg's, sees in the last of these frames; a key frame is the first.
let private decodedBy (ffmpeg: string) (matrix: string) (mimeType: string) (frames: byte[][]) : Task<int[]> =
    task {
        let file = Path.GetTempFileName()
        let pixels = Path.GetTempFileName()

        do
            if mimeType = "video/H264" then
                File.WriteAllBytes(file, Array.concat frames)
            else
                use writer =
                    new IvfWriter(File.Create file, IvfHeader.For(PayloadFormats.For(mimeType, null, null)))

                for i in 0 .. frames.Length - 1 do
                    writer.Write(EncodedFrame(Data = frames[i], Timestamp = uint32 (3_000 * i)))

        let! struct (code, told) =
            Outside.execute
                Outside.Patience
                Outside.root
                ffmpeg
                [ "-v"
                  "error"
                  "-y"
                  "-f"
                  (if mimeType = "video/H264" then "h264" else "ivf")
                  "-i"
                  file
                  "-vf"
                  $"scale=in_color_matrix={matrix},format=gbrp,scale=1:1:flags=area"
                  "-f"
                  "rawvideo"
                  "-pix_fmt"
                  "rgb24"
                  pixels ]

        let picture = File.ReadAllBytes pixels
        File.Delete file
        File.Delete pixels
        Expect.equal (code, told) (0, "") $"{mimeType}: ffmpeg decodes without a complaint"
        Expect.isGreaterThanOrEqual picture.Length 3 $"{mimeType}: a picture"
        return Array.map int picture[picture.Length - 3 ..]
    }

/// Waits for something of ours; the failure says what.
let await (what: unit -> string) (holds: unit -> bool) : Task =
    task {
        let deadline = Environment.TickCount64 + int64 (1_000.0 * Outside.Patience)

        while not (holds ()) && Environment.TickCount64 < deadline do
            do! Task.Delay 20

        if not (holds ()) then
            failtest (what ())
    }

/// Tracks of the peer's, in the order of their events.
let heard (ours: OurPeer) : ResizeArray<Heard> =
    let tracks = ResizeArray()
    ours.Pc.OnTrack.Subscribe(fun e -> tracks.Add(Heard e.Track)) |> ignore
    tracks

let ofKind (kind: MediaKind) (tracks: ResizeArray<Heard>) =
    tracks.ToArray() |> Array.filter (fun h -> h.Track.Kind = kind)

/// Waits for a picture of this colour on a track, seen by a decoder that is not ours; without ffmpeg, for frames.
let shows (colour: int[]) (mimeType: string) (heard: Heard) : Task =
    task {
        do! await (fun () -> $"{heard.Frames} frames") (fun () -> heard.Frames >= 5)

        match Peers.ffmpeg () with
        | Error _ -> ()
        | Ok ffmpeg ->
            // Firefox encodes by BT.601, Chromium by BT.709, which it says in a header extension where the codec does not.
            let mutable matrix = "bt601"

            do!
                eventually (fun () ->
                    task {
                        matrix <- if matrix = "bt601" then "bt709" else "bt601"
                        let! seen = decodedBy ffmpeg matrix mimeType heard.Latest

                        return
                            if Array.forall2 (fun a b -> abs (a - b) <= 24) seen colour then
                                Ok()
                            else
                                Error $"{mimeType} shows {List.ofArray seen} by {matrix}, not {List.ofArray colour}"
                    })
    }

/// The page's side: a connection anew, whose videos are shown by their mid.
let prepare =
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
let sends =
    """({ colour, sound }) => {
        window.sent = painted(colour);
        pc.addTrack(sent);
        if (sound) pc.addTrack(tone());
    }"""

/// The first video shows this colour, or the one of a mid.
let showsColour =
    """async ({ colour, mid }) => {
        const video = await until(() => mid ? videos[mid] : Object.values(videos)[0]);
        return await shows(video, colour);
    }"""

let sees (page: Page) (colour: int[]) : Task =
    task {
        let! _ = page.Call(showsColour, {| colour = colour |})
        ()
    }

/// One browser for a list of tests, started by the first of them; each has a page of its own.
type Shared<'browser when 'browser :> IAsyncDisposable>
    (need: unit -> Result<string, string>, launch: string -> Task<'browser>, openPage: 'browser -> Task<Page>) =
    let mutable running: Task<'browser> voption = ValueNone

    member _.Test (name: string) (body: Page -> Task) : Test =
        Outside.needing need name (fun path ->
            task {
                if running.IsNone then
                    running <- ValueSome(launch path)

                let! browser = running.Value
                let! page = openPage browser

                try
                    do! body page
                finally
                    page.Close() |> ignore
            })

    /// The last test of the list: the browser ends.
    member _.End: Test =
        testCaseTask "the browser ends" (fun () ->
            task {
                match running with
                | ValueSome running ->
                    let! browser = running
                    do! browser.DisposeAsync()
                | ValueNone -> ()
            })

/// A Chromium with these switches beside the usual ones.
let chromium (switches: string list) : Shared<Chromium> =
    Shared(
        Peers.chromium,
        (fun path -> Chromium.Launch(path, true, Array.ofList switches)),
        (fun browser -> browser.Open())
    )

let firefox () : Shared<Firefox> =
    Shared(Peers.firefox, (fun path -> Firefox.Launch path), (fun browser -> browser.Open()))
