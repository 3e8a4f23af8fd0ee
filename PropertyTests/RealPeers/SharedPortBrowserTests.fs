/// Browsers on a port that two hundred other connections use.
module Hybrid.WebRtc.PropertyTests.RealPeers.SharedPortBrowserTests

open System.Linq
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop

let private prepare =
    """() => {
        window.pc = new RTCPeerConnection();
        const channel = pc.createDataChannel("theirs");
        channel.binaryType = "arraybuffer";
        channel.onmessage = (e) => channel.send(e.data);
    }"""

/// Messages of the browser's own page come back, whatever else goes on.
let private echoes (number: int) (line: Line) : Task =
    task {
        for round in 0..19 do
            let octets = Array.init 20_000 (fun i -> byte (i * number + round))
            line.Channel.Send octets
            let! struct (_, back) = line.Next()
            Expect.sequenceEqual back octets $"page {number}, round {round}"
    }

let private beside (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, true)
        // Every address, for who knows which one Chromium takes.
        use shared = WebRtcSharedPort.Open(0us, WebRtcOptions(IncludeLoopback = true))

        let! others =
            SharedPortTests.connectMany shared (SharedPortTests.options WebRtcSockets.Automatic) 200

        let pages = ResizeArray()

        for offerer in [ Ours; Browsers; Ours ] do
            let! page = chromium.Open()
            let! _ = page.Call prepare
            let ours = new OurPeer(WebRtcOptions(SharedPort = shared))

            if offerer = Ours then
                ours.Create "ours" |> ignore

            do! negotiate offerer ours page
            let! theirs = ours.Incoming "theirs"
            do! theirs.Opened()
            pages.Add(struct (ours, theirs))

        let! struct (peers, _) =
            SharedPortTests.onLoop shared (fun () -> SharedPortTests.tables shared)

        Expect.equal peers 203 "on one port"

        let talk =
            [ yield SharedPortTests.exchange 20 others
              for number, struct (_, line) in Seq.indexed pages do
                  yield echoes (number + 1) line ]

        do! Task.WhenAll talk

        for struct (ours, _) in pages do
            do! ours.Pc.DisposeAsync()

        do! SharedPortTests.closeAll others
    }

/// A lite agent of ours, which the browser checks, nominates, and asks for consent.
let private lite (offerer: Offerer) (path: string) : Task =
    task {
        use! chromium = Chromium.Launch(path, true)
        use shared = WebRtcSharedPort.Open(0us)
        let! page = chromium.Open()
        let! _ = page.Call prepare
        use ours = new OurPeer(WebRtcOptions(SharedPort = shared, IceLite = true))

        if offerer = Ours then
            ours.Create "ours" |> ignore

        do! negotiate offerer ours page
        let! theirs = ours.Incoming "theirs"
        do! theirs.Opened()
        do! echoes 1 theirs
        let! report = ours.Pc.GetStatsAsync()

        for pair in report.OfType<RTCIceCandidatePairStats>() do
            Expect.equal pair.RequestsSent 0L "it asks for nothing"

        // A restart makes another generation, and the channels stay.
        ours.Pc.RestartIce()
        do! negotiate Ours ours page
        do! echoes 1 theirs
        Expect.equal ours.Pc.ConnectionState RTCPeerConnectionState.Connected "as before"
    }

let tests =
    testSequenced
    <| testList
        "Browsers on one port"
        [ Outside.needing Peers.chromium "three Chromium pages beside two hundred other connections" beside
          Outside.needing Peers.chromium "a lite agent, we offer" (lite Ours)
          Outside.needing Peers.chromium "a lite agent, Chromium offers" (lite Browsers) ]
