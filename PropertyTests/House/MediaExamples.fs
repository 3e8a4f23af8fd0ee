/// The examples of audio and video, each with its page in a real Chromium.
module Hybrid.WebRtc.PropertyTests.House.MediaExamples

open System.IO
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers
open Hybrid.WebRtc.PropertyTests.House.ExamplePages

let private fixture name =
    Path.Combine(Outside.root, "PropertyTests", "Fixtures", "media", name)

/// What the clips of the fixtures show, a second each.
let private red = [| 200; 40; 40 |]
let private green = [| 40; 160; 60 |]
let private blue = [| 50; 70; 200 |]

/// Of the stream in a file, ffprobe's word: its codec, its pixels across (of pictures), and how many frames of it decode.
let private probed (path: string) : Task<string> =
    task {
        let! struct (code, output) =
            Outside.execute
                120.0
                Outside.root
                "ffprobe"
                [ "-v"
                  "error"
                  "-count_frames"
                  "-show_entries"
                  "stream=codec_name,width,nb_read_frames"
                  "-of"
                  "csv=p=0"
                  path ]

        Expect.equal code 0 output
        return output.Trim()
    }

/// What the page has sent of each kind, once that is enough.
let private sends (page: Page) (packets: int) : Task =
    task {
        let! _ =
            page.Call(
                """(count) => until(async () => {
                    const sent = await stats(pc, "outbound-rtp");
                    return sent.length === 2 && sent.every((s) => s.packetsSent >= count);
                })""",
                packets
            )

        ()
    }

/// The page's camera and microphone, saved as this codec; both files decode without a complaint.
let private saves (codec: string) (extension: string) (name: string) =
    "Examples/SaveToDisk",
    $"SaveToDisk writes files that ffmpeg decodes, {codec} and Opus",
    [ "--into"; "{folder}"; "--codec"; codec ],
    fun (example: Running) ->
        task {
            match Peers.ffmpeg () with
            | Error reason -> skiptest reason
            | Ok _ ->
                let! page = example.Open()
                do! press page "Start recording"
                do! sends page 60
                do! press page "Stop"
                let mutable found = []

                for _ in 1..2 do
                    let! path = Examples.await example.Program @"^(/.*page1\.\w+)$"
                    let! probed = probed path.Value
                    let fields = probed.Split ','
                    Expect.isGreaterThan (int (Array.last fields)) 30 $"{path.Value}: {probed}"

                    found <-
                        [ Path.GetExtension path.Value; yield! Array.take (fields.Length - 1) fields ]
                        :: found

                Expect.equal
                    (List.sort found)
                    (List.sort [ [ extension; name; "320" ]; [ ".ogg"; "opus" ] ])
                    "the files"

                do! page.Close()
        }
        :> Task

let private example name sentence arguments (body: Running -> Task<unit>) =
    $"Examples/{name}", sentence, arguments, (fun running -> body running :> Task)

let tests =
    ExamplePages.list
        "the examples of media"
        [ example "PlayFromDisk" "PlayFromDisk shows its clip, and sounds" [] (fun running ->
              task {
                  let! page = running.Open()
                  do! plays page 30
                  do! sounds page
                  do! page.Close()
              })

          example
              "PlayFromDisk"
              "PlayFromDisk plays a file in a loop, to each page from its beginning"
              [ "--video"; fixture "vp9.ivf"; "--audio"; fixture "opus.ogg" ]
              (fun running ->
                  task {
                      let! page = running.Open()

                      // The file ends in blue, and begins again.
                      for colour in [ red; green; blue; red ] do
                          do! sees page colour 24

                      let! another = running.Open()
                      do! sees another red 24
                      do! page.Close()
                      do! another.Close()
                  })

          saves "VP8" ".ivf" "vp8"
          saves "VP9" ".ivf" "vp9"
          saves "AV1" ".ivf" "av1"
          saves "H264" ".h264" "h264"

          example "Reflect" "Reflect sends picture and sound back" [] (fun running ->
              task {
                  let! page = running.Open()
                  do! press page "Start the camera"
                  do! plays page 20
                  do! sounds page
                  do! sees page blue 40
                  do! page.Close()
              })

          example
              "Broadcast"
              "Broadcast shows one page's camera to all others, and the next one's in its place"
              []
              (fun running ->
                  task {
                      let! early = running.Open()
                      let! publisher = running.Open "/?publish"
                      do! press publisher "Publish the camera"
                      let! late = running.Open()

                      for viewer in [ early; late ] do
                          do! sees viewer blue 40
                          do! sounds viewer

                      let! next = running.Open "/?publish"
                      let! _ = next.Call("(colour) => { cameraColour = colour; }", red)
                      do! press next "Publish the camera"

                      for viewer in [ early; late ] do
                          do! sees viewer red 40

                      for page in [ early; late; publisher; next ] do
                          do! page.Close()
                  })

          example
              "Dtmf"
              "Dtmf hears the browser's tones, each once and in order, and plays them back for it to make sound of"
              []
              (fun running ->
                  task {
                      let! page = running.Open()

                      let! _ = page.Call("() => until(() => pc.connectionState === 'connected')", null)

                      for key in [ "1"; "5"; "#" ] do
                          do! press page key

                      let! heard =
                          page.Call(
                              """() => until(() => {
                                  const lines = [...document.querySelectorAll("#log li")].map((l) => l.textContent);
                                  const heard = lines.flatMap((l) => l.match(/heard (.)/)?.[1] ?? []);
                                  return lines.some((l) => l.includes("plays #")) && heard.join("");
                              })""",
                              null
                          )

                      Expect.equal (heard.GetString()) "15#" "what the program heard"
                      do! sounds page
                      do! page.Close()
                  })

          example
              "InsertableStreams"
              "InsertableStreams opens what the browser seals, and the browser what it seals; not with another key"
              []
              (fun running ->
                  task {
                      let! page = running.Open()
                      do! press page "Start the camera"
                      do! sees page blue 40
                      do! sounds page
                      let! other = running.Open()

                      let! _ =
                          other.Call
                              """() => {
                                  const input = document.querySelector("input");
                                  input.value = "another";
                                  input.dispatchEvent(new Event("input"));
                              }"""

                      do! press other "Start the camera"
                      do! sends other 200

                      let! seen =
                          other.Call(
                              "(colour) => [...document.querySelectorAll('video')].some((v) => alike(colourOf(v) ?? [0, 0, 0], colour, 60))",
                              blue
                          )

                      Expect.isFalse (seen.GetBoolean()) "nothing opens"
                      do! page.Close()
                      do! other.Close()
                  })

          example
              "Demo"
              "the demo plays its clip, sends camera and microphone back, and plots how they fare"
              []
              (fun running ->
                  task {
                      let! page = running.Open()
                      do! plays page 20
                      do! press page "Send my camera"
                      do! sees page blue 40
                      do! press page "Echo my microphone"

                      let! figures =
                          page.Call(
                              """() => until(() => {
                                  const text = (id) => document.getElementById(id).textContent;
                                  const loud = parseInt(document.querySelector("#level i").style.width);
                                  const seen = ["bitrate-up", "bitrate-down", "trip-up", "trip-down", "lost-up", "available-down"].map(text);
                                  return loud > 5 && seen.every((s) => s !== "") && seen;
                              })""",
                              null
                          )

                      Expect.stringContains (figures[1].GetString() |> string) "bit/s" "the bitrate from the program"
                      do! press page "Stop my camera"

                      let! _ = page.Call """() => until(() => document.getElementById("echo").hidden)"""

                      do! page.Close()
                  })

          example "Demo" "the demo says kindly that a camera is refused" [] (fun running ->
              task {
                  let! page = running.Open()

                  let! _ =
                      page.Call
                          """() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("Permission denied", "NotAllowedError"); }; }"""

                  do! press page "Send my camera"

                  let! said =
                      page.Call """() => until(() => document.querySelector("#media-note.bad")?.textContent)"""

                  Expect.stringContains (said.GetString() |> string) "Allow it in the address bar" "what the page says"
                  do! page.Close()
              }) ]
