/// A data channel beside video, through one link: video is not slowed down by it, and it uses the rest.
module Hybrid.WebRtc.PropertyTests.Media.ShareTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.Callers

/// Octets of a message.
[<Literal>]
let private Message = 16_384

/// What came in a span of time: video and data, bits a second, and how long packets waited, ms.
type private Outcome =
    { Video: float
      Data: float
      Median: float
      P95: float }

/// A camera of at most `cap` bits a second, and a channel that always has something to send from 5 s on, through a link of `rate` with
/// room for 300 ms. The camera is off after `off` seconds. What came from `from` to `upTo` seconds.
let private beside
    (rate: float)
    (delay: int64)
    (cap: float)
    (off: float)
    (from: float)
    (upTo: float)
    (seed: int64)
    : Outcome =
    let weather =
        { Weather.fair with
            Delay = Duration.milliseconds delay
            Mtu = 1_472 }

    let world, channel =
        World.createOf (config TransportWide) weather seed
        |> World.create' 'a' (World.channel "bulk")

    let struct (camera, world) = call 'a' seed 300 world

    let world =
        World.withLink (Link.create (fun _ -> rate) (int (rate * 0.3 / 8.0))) world

    let start = float world.Now / 1e6

    let story =
        until
            (start + 5.0)
            { World = world
              Cameras = [ { camera with Cap = cap } ] }

    let message = ReadOnlyMemory(Array.create Message 1uy)

    let world =
        (story.World, [ 1 .. int (rate * (upTo - 5.0) / 8.0) / Message ])
        ||> List.fold (fun world _ -> World.tell 'a' (Send(channel, false, message)) world)

    let upToOff time story =
        if time <= off then
            until (start + time) story
        else
            until
                (start + time)
                { until (start + min off time) story with
                    Cameras = [] }

    let early = { story with World = world } |> upToOff from
    let late = upToOff upTo early

    let messages =
        late.World.Ends['b'].MessageCount - early.World.Ends['b'].MessageCount

    let waits =
        Link.waits (seconds (start + from)) (seconds (start + upTo)) (World.link late.World)

    { Video = received 'b' (start + from) (start + upTo) late.World
      Data = 8.0 * float (messages * Message) / (upTo - from)
      Median = percentile 0.5 waits
      P95 = percentile 0.95 waits }

/// In Mbit/s and ms, for messages.
let private told (seed: int64) (o: Outcome) : string =
    $"seed %d{seed}: video %.2f{o.Video / 1e6}, data %.2f{o.Data / 1e6} Mbit/s, waits %.0f{o.Median}, %.0f{o.P95} ms"

let tests =
    testList
        "Data beside media"
        [ testCase
              "a camera of 1 Mbit/s on a link of 2 keeps it, data has most of the rest, and the queue is short"
              (fun () ->
                  for seed in 1L .. 3L do
                      let o = beside 2e6 20L 1e6 infinity 10.0 30.0 seed
                      Expect.isGreaterThan o.Video 0.9e6 (told seed o)
                      Expect.isGreaterThan o.Data 0.6e6 (told seed o)
                      Expect.isLessThan o.Median 40.0 (told seed o)
                      Expect.isLessThan o.P95 100.0 (told seed o))

          testCase "the same over a long path" (fun () ->
              for seed in 1L .. 3L do
                  let o = beside 2e6 100L 1e6 infinity 10.0 30.0 seed
                  Expect.isGreaterThan o.Video 0.9e6 (told seed o)
                  Expect.isGreaterThan o.Data 0.4e6 (told seed o)
                  Expect.isLessThan o.P95 100.0 (told seed o))

          testCase "a camera that takes what it gets has half of the link at least" (fun () ->
              for seed in 1L .. 3L do
                  let o = beside 2e6 20L infinity infinity 10.0 30.0 seed
                  Expect.isGreaterThan o.Video 0.9e6 (told seed o)
                  Expect.isGreaterThan o.Data 0.4e6 (told seed o)
                  Expect.isLessThan o.P95 100.0 (told seed o))

          testCase "on a fast link data has nearly all of it" (fun () ->
              let o = beside 50e6 20L 2e6 infinity 6.0 12.0 1L
              Expect.isGreaterThan o.Video 1.8e6 (told 1L o)
              Expect.isGreaterThan o.Data 35e6 (told 1L o))

          testCase "a second after the camera is off, data is as fast as the link" (fun () ->
              let o = beside 10e6 20L 2e6 8.0 10.0 14.0 1L
              Expect.equal o.Video 0.0 "off"
              Expect.isGreaterThan o.Data 8.5e6 (told 1L o)) ]
