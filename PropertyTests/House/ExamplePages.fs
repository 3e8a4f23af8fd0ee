/// The examples that serve a page: each a program of its own, whose page is opened in a real Chromium.
module Hybrid.WebRtc.PropertyTests.House.ExamplePages

open System
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers

/// A running example, and the browser for its pages.
type Running(program: Outside.Conversation, address: string, folder: string, chromium: Chromium) =
    /// Its standard input and output.
    member _.Program = program

    /// For its files, gone after the test; in its arguments it is written `{folder}`.
    member _.Folder = folder

    /// Of its page, without a slash at the end.
    member _.Address = address

    /// Opens a page of it: "/", "/?room=…". There are media.js's functions, `pc`, `camera` and `cameraColour` (Peers.fs says which).
    member _.Open(path: string) : Task<Page> =
        chromium.Visit(address + path, PageScript.guest)

    /// Opens its page.
    member this.Open() : Task<Page> = this.Open "/"

/// Presses the button of this text, once it can be pressed.
let press (page: Page) (text: string) : Task =
    task {
        let! _ =
            page.Call(
                """async (text) => (await until(() =>
                    [...document.querySelectorAll("button")].find((b) => b.textContent.trim() === text && !b.disabled))).click()""",
                text
            )

        ()
    }

/// Waits until any video of the page shows this colour.
let sees (page: Page) (colour: int[]) (tolerance: int) : Task =
    task {
        let! _ =
            page.Call(
                """({ colour, tolerance }) => until(() => [...document.querySelectorAll("video")].some((video) => {
                    const seen = colourOf(video);
                    return seen && alike(seen, colour, tolerance);
                }))""",
                {| colour = colour
                   tolerance = tolerance |}
            )

        ()
    }

/// Waits until the page has decoded so many frames of video.
let plays (page: Page) (frames: int) : Task =
    task {
        let! _ = page.Call("(count) => decoded(pc, 'video', count)", frames)
        ()
    }

/// Waits until the page has played a second of sound that is not silence.
let sounds (page: Page) : Task =
    task {
        let! _ =
            page.Call(
                """() => until(async () => (await stats(pc, "inbound-rtp", "audio"))
                    .find((s) => s.totalSamplesReceived - s.concealedSamples >= 48000 && s.totalAudioEnergy > 0))""",
                null
            )

        ()
    }

/// Tests of example programs, one browser for all of them. Each is given its program running, with these arguments and a free port.
let list (name: string) (tests: (string * string * string list * (Running -> Task)) list) : Test =
    let mutable browser: Task<Chromium> voption = ValueNone

    let launch (path: string) =
        match browser with
        | ValueSome running -> running
        | ValueNone ->
            let running = Chromium.Launch(path, true)
            browser <- ValueSome running
            running

    let need (folder: string) () =
        Peers.chromium ()
        |> Result.bind (fun path -> Examples.built folder () |> Result.map (fun program -> struct (path, program)))

    let one (folder: string, sentence: string, arguments: string list, body: Running -> Task) =
        Outside.needing (need folder) sentence (fun struct (path, program) ->
            Examples.temporary (fun folder ->
                task {
                    let! chromium = launch path
                    let arguments = arguments |> List.map _.Replace("{folder}", folder)
                    use running = Examples.converse program (arguments @ [ "--port"; "0" ])
                    let! address = Examples.await running @"(http://127\.0\.0\.1:\d+)"
                    do! body (Running(running, address.Groups[1].Value, folder, chromium))
                }))

    let finish =
        testCaseTask "the browser ends" (fun () ->
            task {
                match browser with
                | ValueSome running ->
                    let! chromium = running
                    do! (chromium :> IAsyncDisposable).DisposeAsync()
                | ValueNone -> ()
            })

    testSequenced <| testList name (List.map one tests @ [ finish ])
