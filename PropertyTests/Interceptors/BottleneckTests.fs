/// What congestion control promises, on a simulated bottleneck of 2 Mbit/s: rate, delay, and shares beside other flows.
module Hybrid.WebRtc.PropertyTests.Interceptors.BottleneckTests

open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Interceptors.Bottleneck

let private seeds = [ 1L .. 5L ]

/// Each seed with each kind of feedback.
let private each (check: Telling -> int64 -> unit) () =
    for telling in [ TransportWide; Rfc8888 ] do
        for seed in seeds do
            check telling seed

let private world (seed: int64) (path: Path) =
    let clock = Clock()
    struct (clock, Link(clock, path, Dice(1_000L + seed)))

let private flow clock link telling (seed: int64) (start: float) =
    MediaFlow(clock, link, telling, Gcc.defaults, Dice(7L * seed + int64 start), seconds start)

let private within (low: float) (high: float) (value: float) (what: string) =
    Expect.isTrue (value >= low && value <= high) $"{what}: {value}, wanted {low} to {high}"

/// Times from `from` to `until` in seconds, ten a second.
let private times from until = [ from .. 0.1 .. until ]

let private settles telling seed =
    let struct (clock, link) = world seed path
    let f = flow clock link telling seed 0.0
    clock.Run(seconds 60.0)

    for t in times 10.0 60.0 do
        within 1.6e6 2.4e6 (f.TargetAt t) $"target, seed {seed}, {telling}, at {t} s"

    within 1.6e6 2.0e6 (f.Arrivals.Rate(5.0, 10.0)) $"rate from 5 to 10 s, seed {seed}, {telling}"
    within 1.8e6 2.0e6 (f.Arrivals.Rate(10.0, 60.0)) $"rate from then on, seed {seed}, {telling}"
    within 0.0 80.0 (delay 0.95 10.0 60.0 link) $"95th percentile of the delay, ms, seed {seed}, {telling}"
    within 0.0 120.0 (delay 0.95 0.0 10.0 link) $"the same at the start, seed {seed}, {telling}"
    Expect.equal link.Dropped 0 "nothing is lost in the queue"

/// From 2 Mbit/s to 500 kbit/s at 20 s, and back at 40 s.
let private follows telling seed =
    let rate t =
        if t >= seconds 20.0 && t < seconds 40.0 then 5e5 else 2e6

    let struct (clock, link) = world seed { path with Rate = rate }
    let f = flow clock link telling seed 0.0
    clock.Run(seconds 70.0)
    // Above a target of 600 kbit/s no more, from 3 s after the drop on.
    for t in times 23.0 40.0 do
        within 2e5 6e5 (f.TargetAt t) $"target, seed {seed}, {telling}, at {t} s"

    within 4e5 5e5 (f.Arrivals.Rate(23.0, 40.0)) $"rate after the drop, seed {seed}, {telling}"

    // What was on its way at the drop fills the queue of 300 ms at once. It is gone soon.
    within 0.0 100.0 (delay 0.95 26.0 40.0 link) $"delay once it has settled, ms, seed {seed}, {telling}"

    for t in times 55.0 70.0 do
        within 1.6e6 2.4e6 (f.TargetAt t) $"target, seed {seed}, {telling}, at {t} s"

    within 0.0 80.0 (delay 0.95 50.0 70.0 link) $"delay after the rise, ms, seed {seed}, {telling}"

let private shares (gap: float) telling seed =
    let struct (clock, link) = world seed path
    let a = flow clock link telling seed 0.0
    let b = flow clock link telling (seed + 100L) gap
    clock.Run(seconds (gap + 60.0))

    for f in [ a; b ] do
        within 0.25 0.75 (f.Arrivals.Rate(gap, gap + 60.0) / 2e6) $"share of 60 s, seed {seed}, {telling}"

    within 0.0 110.0 (delay 0.95 (gap + 10.0) (gap + 60.0) link) $"delay, ms, seed {seed}, {telling}"

let private survives (at: float) telling seed =
    let struct (clock, link) = world seed path
    let f = flow clock link telling seed 0.0
    let bulk = BulkFlow(clock, link, seconds at)
    clock.Run(seconds (at + 60.0))
    within 0.1 0.9 (f.Arrivals.Rate(at, at + 60.0) / 2e6) $"share of 60 s, seed {seed}, {telling}"
    within 0.1 0.9 (bulk.Arrivals.Rate(at, at + 60.0) / 2e6) $"the other's, seed {seed}, {telling}"

let private endures (loss: float) telling seed =
    let struct (clock, link) = world seed { path with Loss = loss }
    let f = flow clock link telling seed 0.0
    clock.Run(seconds 60.0)
    within 0.6 1.0 (f.Arrivals.Rate(10.0, 60.0) / 2e6) $"share of the link, seed {seed}, {telling}"

let tests =
    testList
        "Congestion control at a bottleneck"
        [ testCase
              "settles within 20 % of 2 Mbit/s in 10 s from 300 kbit/s, and keeps the queue's 95th percentile below 80 ms"
              (each settles)
          testCase "follows a drop to 500 kbit/s within 3 s, and the rise back within 15 s" (each follows)
          testCase "two that begin together have a quarter of the link at least over 60 s" (each (shares 0.0))
          testCase "one that comes later has a quarter of the link at least over 60 s" (each (shares 20.0))
          testCase "does not starve beside bulk data that begins with it" (each (survives 0.0))
          testCase "does not starve beside bulk data that comes later" (each (survives 10.0))
          testCase "2 % of random loss leave it 60 % of the link at least" (each (endures 0.02))
          testCase "5 % too" (each (endures 0.05))

          testCase "the same seed tells the same story" (fun () ->
              let story () =
                  let struct (clock, link) = world 9L { path with Loss = 0.01 }
                  let f = flow clock link TransportWide 9L 0.0
                  clock.Run(seconds 20.0)
                  [ for struct (at, target) in f.Targets -> (int64 at, target) ]

              Expect.equal (story ()) (story ()) "targets")

          testCase "other paths: 200 kbit/s to 20 Mbit/s, 10 to 300 ms, are used and not flooded" (fun () ->
              for rate, trip in [ 2e5, 60L; 2e6, 10L; 2e6, 300L; 2e7, 60L ] do
                  let path =
                      { path with
                          Rate = fun _ -> rate
                          RoundTrip = Duration.milliseconds trip }

                  let struct (clock, link) = world 3L path
                  let f = flow clock link TransportWide 3L 0.0
                  clock.Run(seconds 60.0)
                  within 0.6 1.0 (f.Arrivals.Rate(20.0, 60.0) / rate) $"share of {rate} bit/s at {trip} ms"
                  // A packet alone takes 48 ms at 200 kbit/s.
                  within 0.0 200.0 (delay 0.95 20.0 60.0 link) $"delay, ms, {rate} bit/s at {trip} ms")

          testCase "an application that sends less than it may is not taken for the path" (fun () ->
              let struct (clock, link) = world 4L path
              let f = flow clock link TransportWide 4L 0.0
              clock.Run(seconds 10.0)
              f.Cap 300_000
              clock.Run(seconds 60.0)
              f.Cap 2_000_000
              clock.Run(seconds 62.0)
              within 1.4e6 2.6e6 (f.TargetAt 60.0) "target after 50 s of 300 kbit/s"
              within 1.4e6 2.0e6 (f.Arrivals.Rate(61.0, 62.0)) "rate at once when the application wants it") ]
