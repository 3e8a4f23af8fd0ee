/// Bandwidth estimation by whole peers: encoders that follow the estimate, with key frames ten times as large as the others,
/// through a link of 2 Mbit/s with a drop-tail queue, at 60 ms.
module Hybrid.WebRtc.PropertyTests.Media.BandwidthTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.Callers

/// Octets that wait: 300 ms at 2 Mbit/s.
[<Literal>]
let private Room = 75_000

let private weather (loss: float) : Weather =
    { Weather.fair with
        Loss = loss
        Delay = Duration.milliseconds 30L
        Mtu = 1_472 }

let private steady (_: Instant) = 2e6

/// Frames from key frame to key frame: 3.3 s.
[<Literal>]
let private KeyInterval = 100

let private alone telling loss (rate: Instant -> float) (seed: int64) : Story =
    let struct (camera, world) =
        World.createOf (config telling) (weather loss) seed
        |> World.withLink (Link.create rate Room)
        |> call 'a' seed KeyInterval

    { World = world; Cameras = [ camera ] }

let private within (low: float) (high: float) (value: float) (what: string) =
    Expect.isTrue (value >= low && value <= high) $"{what}: {value}, wanted {low} to {high}"

let private waits p from upTo (story: Story) =
    Link.waits (seconds from) (seconds upTo) (World.link story.World) |> percentile p

let private each (seeds: int64 list) (check: Telling -> int64 -> unit) () =
    for telling in [ TransportWide; Rfc8888 ] do
        for seed in seeds do
            check telling seed

let private settles telling seed =
    let story = alone telling 0.0 steady seed |> until 30.0

    for t in 10.0..0.1..30.0 do
        within 1.6e6 2.4e6 (estimateAt t story.Cameras[0]) $"estimate, seed {seed}, {telling}, at {t} s"

    within 1.5e6 2.0e6 (received 'b' 10.0 30.0 story.World) $"rate, seed {seed}, {telling}"
    within 0.0 100.0 (waits 0.95 10.0 30.0 story) $"queue, ms, seed {seed}, {telling}"

let tests =
    testList
        "Bandwidth of whole peers"
        [ testCase "settles within 20 % of 2 Mbit/s in 10 s, with the queue below 100 ms" (each [ 1L; 2L ] settles) ]
