/// The examples of audio and video, each with its page in a real Chromium.
module Hybrid.WebRtc.PropertyTests.House.MediaExamples

open System.IO
open System.Threading.Tasks
open Hybrid.WebRtc.PropertyTests

let private fixture name =
    Path.Combine(Outside.root, "PropertyTests", "Fixtures", "media", name)

/// What the clips of the fixtures show, a second each.
let private red = [| 200; 40; 40 |]
let private green = [| 40; 160; 60 |]

let tests =
    ExamplePages.list
        "the examples of media"
        [ "Examples/PlayFromDisk",
          "PlayFromDisk shows its clip, and sounds",
          [],
          fun example ->
              task {
                  let! page = example.Open()
                  do! ExamplePages.plays page 30
                  do! ExamplePages.sounds page
                  do! page.Close()
              }

          "Examples/PlayFromDisk",
          "PlayFromDisk plays a file in a loop, as fast as it was made",
          [ "--video"; fixture "vp9.ivf"; "--audio"; fixture "opus.ogg" ],
          fun example ->
              task {
                  let! page = example.Open()
                  do! ExamplePages.sees page red 24
                  do! ExamplePages.sees page green 24
                  // The file ends in blue.
                  do! ExamplePages.sees page red 24
                  let! page' = example.Open()
                  do! ExamplePages.plays page' 10
                  do! page.Close()
                  do! page'.Close()
              } ]
