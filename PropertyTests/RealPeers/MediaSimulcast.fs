/// Simulcast that we send, and what happens when a call's first section ends, with any browser.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaSimulcast

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaScenarios

/// A track of three encodings, `q`, `h` and `f`, which are red, green and blue; each begins with its key frame again where one is
/// asked for.
type Layered() =
    let track = new SampleTrack("video/VP8")
    let frames = clip "vp8.ivf"
    let stop = new CancellationTokenSource()
    let rids = [| "q"; "h"; "f" |]
    let places = Array.zeroCreate<int> 3
    let asked = Array.zeroCreate<int> 3

    let listening =
        track.OnKeyFrameRequest.Subscribe(fun (request: KeyFrameRequest) ->
            match Array.IndexOf(rids, request.Rid) with
            | -1 -> ()
            | i ->
                Interlocked.Increment &asked[i] |> ignore
                places[i] <- 0)

    let playing =
        [| for i in 0..2 ->
               task {
                   while not stop.IsCancellationRequested do
                       let place = places[i]
                       places[i] <- (place + 1) % 25
                       do! track.WriteAsync(frames[25 * i + place], TimeSpan.FromMilliseconds 40.0, rids[i])
               }
               :> Task |]

    member _.Track = track
    member _.Rids = rids

    /// How often a key frame of an encoding was asked for.
    member _.Asked(rid: string) = asked[Array.IndexOf(rids, rid)]

    member _.Init =
        RTCRtpTransceiverInit(
            Direction = RTCRtpTransceiverDirection.SendOnly,
            SendEncodings = [| for rid in rids -> RTCRtpEncodingParameters(Rid = rid) |]
        )

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            listening.Dispose()
            stop.Cancel()
            Task.WhenAll playing |> ValueTask

/// Connects two peers of ours, the first of which offers.
let connect (caller: RTCPeerConnection) (callee: RTCPeerConnection) : Task =
    task {
        let forward (from: RTCPeerConnection) (toward: RTCPeerConnection) =
            from.OnIceCandidate.Subscribe(fun e ->
                match e.Candidate with
                | null -> ()
                | candidate -> toward.AddIceCandidateAsync(candidate.ToInit()) |> ignore)
            |> ignore

        do! caller.SetLocalDescriptionAsync()
        do! callee.SetRemoteDescriptionAsync(nonNull caller.LocalDescription)
        do! callee.SetLocalDescriptionAsync()
        do! caller.SetRemoteDescriptionAsync(nonNull callee.LocalDescription)
        forward caller callee
        forward callee caller
    }

/// Three encodings that we send, through an SFU of ours, each of which the browser shows in turn. Neither browser takes simulcast
/// itself.
let relayed (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use publisher = new RTCPeerConnection()
        use sfu = new RTCPeerConnection()
        use ours = new OurPeer()
        use layers = new Layered()
        let tracks = ResizeArray<RemoteTrack>()
        sfu.OnTrack.Subscribe(fun e -> tracks.Add e.Track) |> ignore
        publisher.AddTransceiver(layers.Track, layers.Init) |> ignore
        do! connect publisher sfu
        let back = RtpTrack(MediaKind.Video)
        ours.Pc.AddTrack back |> ignore
        do! negotiate Ours ours page
        do! await (fun () -> "no track") (fun () -> tracks.Count > 0)
        let track = tracks[0]

        do!
            await (fun () -> $"layers: {[ for l in track.Layers -> l.Rid ]}") (fun () ->
                Set.ofSeq [ for l in track.Layers -> l.Rid ] = Set.ofArray layers.Rids)

        for rid, colour in [ "q", red; "f", blue; "h", green; "q", red ] do
            use _ = track.ForwardTo(back, rid)
            do! sees page colour

        Expect.isGreaterThan (layers.Asked "q") 0 "a key frame of the encoding to be shown was asked for"
    }

/// The first section ends, whose transport all share; the second goes on, both ways.
let firstEnds (begins: Offerer) (ends: Offerer) (page: Page) : Task =
    task {
        let! _ = page.Call prepare
        use ours = new OurPeer()
        let tracks = heard ours
        use first = Player.Vp8()
        use second = Player.Vp8()
        second.Second <- 1
        ours.Pc.AddTrack first.Track |> ignore
        ours.Pc.AddTrack second.Track |> ignore

        let! _ =
            page.Call(
                """([one, two]) => {
                    window.sent = painted(one);
                    window.other = painted(two);
                    pc.addTrack(sent);
                    pc.addTrack(other);
                }""",
                [| red; blue |]
            )

        do! negotiate begins ours page
        do! await (fun () -> $"{tracks.Count} tracks") (fun () -> tracks.Count = 2)

        let seesAt (mid: string) (colour: int[]) =
            page.Call(showsColour, {| colour = colour; mid = mid |})

        let! _ = seesAt "0" red
        let! _ = seesAt "1" green

        for h in tracks do
            do! await (fun () -> $"{h.Frames} frames") (fun () -> h.Frames >= 5)

        match ends with
        | Ours -> (Seq.head (ours.Pc.GetTransceivers())).Stop()
        | Browsers ->
            let! _ = page.Call "() => pc.getTransceivers()[0].stop()"
            ()

        do! negotiate ends ours page
        Expect.equal (Seq.length (ours.Pc.GetTransceivers())) 1 "one is left"
        second.Second <- 2
        let! _ = seesAt "1" blue
        let left = tracks[1]
        let! _ = page.Call("(colour) => other.paint(colour)", green)
        let before = left.Frames
        do! await (fun () -> $"{left.Frames} frames, {before} before") (fun () -> left.Frames >= before + 20)
        do! shows green "video/VP8" left
        Expect.equal ours.Pc.ConnectionState RTCPeerConnectionState.Connected "connected"
    }
