/// Bandwidth estimation by whole peers: encoders that follow the estimate, whose key frames are ten times as large as the other
/// frames, through a link of 2 Mbit/s with a drop-tail queue of 300 ms, at 60 ms. Headers of IP, UDP and SRTP's tags leave 1.92 Mbit/s
/// of RTP, which is what the estimate counts.
module Hybrid.WebRtc.PropertyTests.Media.BandwidthTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Media.Callers

/// Octets that wait: 300 ms at 2 Mbit/s.
[<Literal>]
let private Room = 75_000

/// What a link of 2 Mbit/s has for RTP, bits a second.
[<Literal>]
let private Share = 1.92e6

let private weather (loss: float) : Weather =
    { Weather.fair with
        Loss = loss
        Delay = Duration.milliseconds 30L
        Mtu = 1_472 }

let private steady (_: Instant) = 2e6

/// Frames from key frame to key frame: 3.3 s.
[<Literal>]
let private KeyInterval = 100

/// One call over a link; descriptions and handshakes have no losses to suffer.
let private alone telling loss (rate: Instant -> float) (seed: int64) : Story =
    let struct (camera, world) =
        World.createOf (config telling) (weather 0.0) seed
        |> World.withLink (Link.create rate Room)
        |> call 'a' seed KeyInterval

    { World = World.under (weather loss) world
      Cameras = [ camera ] }

/// Two calls over one link, the second of which begins later.
let private two telling (gap: float) (seed: int64) : Story =
    let world =
        World.createOf (config telling) (weather 0.0) seed
        |> World.withPair (config telling) (seed + 50L)
        |> World.withLink (Link.create steady Room)

    let struct (a, world) = call 'a' seed KeyInterval world
    let struct (c, world) = call 'c' (seed + 1L) (KeyInterval - 10) world

    { World = world
      Cameras =
        [ a
          { c with
              NextAt = c.NextAt + seconds gap } ] }

let private within (low: float) (high: float) (value: float) (what: string) =
    Expect.isTrue (value >= low && value <= high) $"{what}: {value}, wanted {low} to {high}"

/// Milliseconds that the share `p` of the packets did not wait longer than.
let private waits p from upTo (story: Story) =
    Link.waits (seconds from) (seconds upTo) (World.link story.World)
    |> percentile p

/// Each seed with each kind of feedback.
let private each (seeds: int64 list) (check: Telling -> int64 -> unit) () =
    for telling in [ TransportWide; Rfc8888 ] do
        for seed in seeds do
            check telling seed

let private settles loss low telling seed =
    let story = alone telling loss steady seed |> until 30.0
    let what = $"{telling}, seed {seed}, loss {loss}"

    for t in 10.0..0.1..30.0 do
        within (low * Share) (1.2 * Share) (estimateAt t story.Cameras[0]) $"estimate at {t} s, {what}"

    within (low * Share) Share (received 'b' 10.0 30.0 story.World) $"rate, {what}"
    within 0.0 100.0 (waits 0.95 10.0 30.0 story) $"queue, ms, {what}"

/// From 2 Mbit/s to 500 kbit/s at 20 s, and back at 40 s.
let private follows telling seed =
    let rate t =
        if t >= seconds 20.0 && t < seconds 40.0 then 5e5 else 2e6

    let story = alone telling 0.0 rate seed |> until 60.0
    let camera = story.Cameras[0]
    let what = $"{telling}, seed {seed}"

    for t in 23.0..0.1..40.0 do
        within 1e5 6e5 (estimateAt t camera) $"estimate at {t} s, {what}"

    within 3.3e5 5e5 (received 'b' 23.0 40.0 story.World) $"rate after the drop, {what}"
    // What is sent before anyone can know of the drop fills much of the queue, which is 1.2 s long by then. It is gone soon.
    within 0.0 140.0 (waits 0.95 24.0 40.0 story) $"queue once it is gone, ms, {what}"

    for t in 55.0..0.1..60.0 do
        within (0.75 * Share) (1.2 * Share) (estimateAt t camera) $"estimate at {t} s, {what}"

    within 0.0 100.0 (waits 0.95 50.0 60.0 story) $"queue after the rise, ms, {what}"

let private shares gap telling seed =
    let story = two telling gap seed |> until (gap + 60.0)
    let what = $"{telling}, seed {seed}, the second {gap} s later"
    within 0.25 0.75 (received 'b' gap (gap + 60.0) story.World / Share) $"share of 60 s, {what}"
    within 0.25 0.75 (received 'd' gap (gap + 60.0) story.World / Share) $"the other's, {what}"
    // Two that look for more wait for one another's queue: longest where the second comes late, with RFC 8888.
    within 0.0 180.0 (waits 0.95 (gap + 10.0) (gap + 60.0) story) $"queue, ms, {what}"

/// Beside SCTP, which fills the queue until it loses something.
let private survives at telling seed =
    let world =
        World.createOf (config telling) (weather 0.0) seed
        |> World.withPair World.config (seed + 50L)
        |> World.withLink (Link.create steady Room)

    let struct (camera, world) = call 'a' seed KeyInterval world
    let world, handle = World.create' 'c' (World.channel "bulk") world
    let world = World.negotiate 'c' world

    let world, ready =
        World.run (Duration.seconds 30L) (fun w -> not (World.openChannels 'c' w).IsEmpty) world

    Expect.isTrue ready "a channel"
    let story = until at { World = world; Cameras = [ camera ] }

    // More than goes in the time.
    let world =
        (story.World, [ 1..60 ])
        ||> List.fold (fun world _ ->
            World.tell 'c' (Send(handle, false, ReadOnlyMemory(Array.zeroCreate 250_000))) world)

    let story = until (at + 60.0) { story with World = world }

    let bulk =
        story.World.Ends['d'].Messages
        |> List.sumBy (fun (struct (_, _, message)) -> 8.0 * float message.Length / 60.0)

    let what = $"{telling}, seed {seed}, from {at} s on"
    within 0.1 0.9 (received 'b' at (at + 60.0) story.World / Share) $"share, {what}"
    within 0.1 0.9 (bulk / Share) $"the other's, {what}"

/// Processes that are held up for 5 to `most` ms after no more than `runs` ms, at both ends.
let private busy (cap: float) (link: float) (most: int64) (runs: int64) low high telling (seed: int64) =
    let schedule n =
        Schedule.create
            (Duration.milliseconds runs)
            (Duration.milliseconds 5L)
            (Duration.milliseconds most)
            (7L * seed + n)

    let delay = if link > 1e7 then 0L else 30L

    let struct (camera, world) =
        World.createOf
            (config telling)
            { weather 0.0 with
                Delay = Duration.milliseconds delay }
            seed
        |> World.withLink (Link.create (fun _ -> link) (int (link / 8.0 * 0.3)))
        |> call 'a' seed KeyInterval

    let story =
        { World = world |> World.scheduled 'a' (schedule 1L) |> World.scheduled 'b' (schedule 2L)
          Cameras = [ { camera with Cap = cap } ] }
        |> until 30.0

    for t in 10.0..0.1..30.0 do
        within
            low
            high
            (estimateAt t story.Cameras[0])
            $"estimate at {t} s, {telling}, seed {seed}, {most} ms, {link} bit/s"

let private link =
    testList
        "The simulated link"
        [ testPropertyWithConfig
              Laws.config
              "what leaves leaves in order, at the link's rate, and no more waits than there is room for"
          <| fun (seed: int64) ->
              let dice = Hybrid.WebRtc.PropertyTests.Interceptors.Bottleneck.Dice seed
              let draw (below: int) = int (dice.Unit() * float below)

              let room = 3_000 + draw 20_000
              let mutable link = Link.create (fun _ -> 1e6) room
              let mutable now: Instant = 0L<us>
              let mutable last: Instant = 0L<us>
              let mutable sent = 0

              for _ in 1..200 do
                  now <- now + int64 (draw 20_000) * 1L<us>
                  let size = 1 + draw 1_400
                  let struct (left, next) = Link.send now size link
                  link <- next

                  match left with
                  | ValueSome at ->
                      let took = int64 (8.0 * float (size + 28)) * 1L<us>
                      Expect.isTrue (at >= max now last + took - 1L<us>) "no faster than the link"
                      Expect.isTrue (at - now <= int64 (8 * room) * 1L<us>) "no longer than the queue"
                      last <- at
                      sent <- sent + 1
                  | ValueNone -> Expect.isTrue (last - now > 0L<us>) "dropped only where something waits"

              Expect.equal (sent + Link.dropped link) 200 "each one or the other" ]

let tests =
    testList
        "Bandwidth of whole peers"
        [ link
          testCase
              "settles within 20 % of the link in 10 s and stays there, with the queue's 95th percentile below 100 ms"
              (each [ 1L; 2L; 3L ] (settles 0.0 0.8))
          testCase "2 % of random loss leave it 70 % of the link" (each [ 1L; 2L ] (settles 0.02 0.7))
          testCase "5 % too" (each [ 1L; 2L ] (settles 0.05 0.7))
          testCase "follows a drop to 500 kbit/s within 3 s, and the rise back within 15 s" (each [ 1L; 2L ] follows)
          testCase
              "two calls that begin together have a quarter of the link at least over 60 s"
              (each [ 1L ] (shares 0.0))
          testCase "so do two one of which comes later" (each [ 1L ] (shares 20.0))
          testCase "does not starve beside SCTP that begins with it" (each [ 1L ] (survives 1.0))
          testCase "nor beside SCTP that comes later" (each [ 1L ] (survives 10.0))
          testCase
              "busy machines at both ends, which hold processes up for 5 to 30 ms, are not taken for a queue"
              (each [ 1L; 2L ] (busy infinity 2e6 30L 50L (0.6 * Share) (1.2 * Share)))
          testCase
              "nor do they take from an application of 300 kbit/s what it sends, on a path of a gigabit"
              (each [ 1L; 2L ] (busy 3e5 1e9 30L 50L 3e5 2e9))
          testCase
              "hold-ups of up to 400 ms after no more than 100 ms, at both ends, leave a path of a gigabit more than it began with"
              (each [ 1L; 2L; 3L ] (busy infinity 1e9 400L 100L 3e5 2e9))
          testCase "the same seed tells the same story" (fun () ->
              let estimates () =
                  let story = alone TransportWide 0.02 steady 9L |> until 10.0
                  [ for struct (at, e) in story.Cameras[0].Estimates -> (int64 at, e) ]

              Expect.equal (estimates ()) (estimates ()) "estimates") ]
