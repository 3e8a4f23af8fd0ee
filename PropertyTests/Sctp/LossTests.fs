module Hybrid.WebRtc.PropertyTests.Sctp.LossTests

open System
open System.Buffers.Binary
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

let private start (link: LinkRate) (seed: int64) (change: SctpConfig -> SctpConfig) =
    let transfer = Transfer(seed, change)
    let bottleneck = Bottleneck(link, [| transfer |], seed)
    bottleneck.Connect 0
    struct (bottleneck, transfer)

/// Octets of messages as a share of the link's rate, after `warmUp` seconds. Of 1,225 octets on the link 1,132 are a
/// message's: 0.924 is all.
let private share (link: LinkRate) (seed: int64) (warmUp: float) (seconds: float) change =
    let struct (bottleneck, _) = start link seed change
    bottleneck.Run(int64 (warmUp * 1e6) * 1L<us>)

    (bottleneck.Measure(int64 (seconds * 1e6) * 1L<us>))[0] * 8.0 / link.Rate

let private fills (name: string) (link: LinkRate) warmUp seconds change (least: float) =
    testCase name (fun () ->
        let share = share link 1L warmUp seconds change
        Expect.isGreaterThanOrEqual share least "share of the link")

let private filling =
    testList
        "Goodput"
        [ for trip in [ 1L; 20L; 50L; 100L; 200L ] do
              fills
                  $"50 Mbit/s, {trip} ms, a queue of bandwidth times delay: 90 %% of the link"
                  (LinkRate.create 50.0 trip 1.0 0.0)
                  10.0
                  5.0
                  id
                  0.90

              fills
                  $"50 Mbit/s, {trip} ms, a queue of a quarter of that: no collapse"
                  (LinkRate.create 50.0 trip 0.25 0.0)
                  10.0
                  5.0
                  id
                  0.85

          fills "1 Gbit/s, 1 ms" (LinkRate.create 1000.0 1L 1.0 0.0) 1.0 0.5 id 0.90
          fills "1 Gbit/s, 20 ms" (LinkRate.create 1000.0 20L 1.0 0.0) 1.5 0.5 id 0.90
          fills
              "NewReno fills a link, too"
              (LinkRate.create 50.0 50L 1.0 0.0)
              10.0
              5.0
              (fun c ->
                  { c with
                      CongestionControl = CongestionControl.NewReno })
              0.85

          fills
              "half a window lost at once, more gaps than a SACK can report: soon repaired"
              (LinkRate.create 400.0 50L 0.25 0.0)
              4.0
              1.0
              id
              0.8

          testCase "1 Gbit/s, 200 ms: the receive window follows bandwidth times delay, within its bound" (fun () ->
              let link = LinkRate.create 1000.0 200L 1.0 0.0
              let struct (bottleneck, transfer) = start link 1L id
              bottleneck.Run(Duration.milliseconds 3200L)
              let rate = (bottleneck.Measure(Duration.milliseconds 400L))[0]
              Expect.isGreaterThanOrEqual (rate * 8.0 / link.Rate) 0.90 "share of the link"
              let window = (Sctp.figures transfer.Ends[1]).Value.ReceiverWindow
              Expect.isGreaterThan window transfer.Config.ReceiveWindow "it has grown"
              Expect.isLessThanOrEqual window transfer.Config.MaxReceiveWindow "but not beyond")

          seeds 3 "any seed, 0.1 % lost at random, 50 ms: more than half of 50 Mbit/s" (fun seed ->
              let share = share (LinkRate.create 50.0 50L 1.0 0.001) seed 10.0 10.0 id
              Expect.isGreaterThanOrEqual share 0.5 "share of the link")

          seeds 3 "any seed, 3 % lost at random: never a second without progress" (fun seed ->
              for trip in [ 1L; 20L; 50L; 100L; 200L ] do
                  let struct (bottleneck, transfer) =
                      start (LinkRate.create 50.0 trip 1.0 0.03) seed id

                  bottleneck.Run(Duration.seconds 20L)
                  Expect.isGreaterThan transfer.Delivered 100_000L "it gets on"
                  Expect.isLessThan transfer.Stall (Duration.seconds 1L) $"stalled at {trip} ms")

          testCase "two flows share a bottleneck within 60:40 once they have converged" (fun () ->
              for trip in [ 20L; 50L ] do
                  let transfers = [| Transfer(1L, id); Transfer(2L, id) |]
                  let bottleneck = Bottleneck(LinkRate.create 20.0 trip 1.0 0.0, transfers, 1L)
                  bottleneck.Connect 0
                  bottleneck.Run(Duration.seconds 3L)
                  bottleneck.Connect 1
                  bottleneck.Run(Duration.seconds 30L)
                  let rates = bottleneck.Measure(Duration.seconds 30L)
                  let share = rates[0] / (rates[0] + rates[1])
                  Expect.isTrue (share > 0.4 && share < 0.6) $"{share} at {trip} ms"
                  Expect.isGreaterThan ((rates[0] + rates[1]) * 8.0 / 20e6) 0.85 "and waste nothing") ]

// ---- Single losses ----

/// TSN of a packet that begins with DATA or I-DATA.
let private tsnOf (bytes: byte[]) =
    if bytes[12] = Kind.Data || bytes[12] = Kind.IData then
        ValueSome(BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, 16, 4)))
    else
        ValueNone

let private figures (pair: SctpPair) = (Sctp.figures pair.A.State).Value

/// The path's MTU is known from the start: what it is found out by is not the matter here.
let private pair weather seed =
    SctpPair(weather, seed, (fun c -> { c with MaxMtu = c.Mtu }))

let private quick =
    { Weather.fair with
        Delay = Duration.milliseconds 25L }

/// T3-rtx expires for nothing, since the path has become longer than RTO.Min.
let private longer (pair: SctpPair) =
    pair.Establish()

    for n in 1..60 do
        pair.Send(0, 1, Numbered.make n 20000)

    pair.Run(Duration.milliseconds 300L)
    let before = (figures pair).CongestionWindow

    pair.Weather <-
        { quick with
            Delay = Duration.milliseconds 600L }

    let mutable least = before

    for _ in 1..400 do
        pair.Run(Duration.milliseconds 10L)
        least <- min least (figures pair).CongestionWindow

    Expect.isLessThan least (before / 2) "the timer believed in a loss"
    Expect.isGreaterThanOrEqual (figures pair).CongestionWindow before "and was told better"
    Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 60 pair.B)) "all arrived"

let private single =
    testList
        "Recovery"
        [ for times in 1..3 do
              testCase $"a packet lost {times} times over is repaired in as many round trips, without T3-rtx" (fun () ->
                  let pair = pair quick 1L
                  pair.Establish()

                  for n in 1..100 do
                      pair.Send(0, 1, Numbered.make n 10000)

                  let mutable count = 0
                  let mutable victim = 0u
                  let mutable lost = 0
                  let mutable lostAt = 0L<us>
                  let mutable arrivedAt = 0L<us>

                  pair.Filter <-
                      fun who bytes ->
                          match tsnOf bytes with
                          | ValueSome tsn when who = 0 ->
                              count <- count + 1

                              if count = 60 then
                                  victim <- tsn
                                  lostAt <- pair.Now

                              if tsn = victim && count >= 60 then
                                  if lost < times then
                                      lost <- lost + 1
                                      false
                                  else
                                      arrivedAt <- pair.Now
                                      true
                              else
                                  true
                          | _ -> true

                  Expect.isTrue (pair.Until(Duration.seconds 5L, arrived 100 pair.B)) "all arrived"
                  // A round trip, and the time until three packets behind it have gone.
                  Expect.isLessThan (arrivedAt - lostAt) (int64 times * Duration.milliseconds 62L) "in time"
                  Expect.isGreaterThan (figures pair).CongestionWindow (4 * 1148) "the window has not collapsed")

          testCase "a lost tail is probed for before T3-rtx, and costs the window no more than a loss" (fun () ->
              let pair = pair quick 2L
              pair.Establish()
              pair.Send(0, 1, Numbered.make 1 20000)
              pair.Run(Duration.seconds 1L)
              let before = (figures pair).CongestionWindow
              let mutable data = 0

              pair.Filter <-
                  fun who bytes ->
                      if who = 0 && (tsnOf bytes).IsSome then
                          data <- data + 1

                      // The last three of six.
                      not (who = 0 && (tsnOf bytes).IsSome && data > 3 && data <= 6)

              let sentAt = pair.Now
              pair.Send(0, 1, Numbered.make 2 (6 * 1100))
              Expect.isTrue (pair.Until(Duration.seconds 5L, arrived 2 pair.B)) "arrived"
              Expect.isLessThan (pair.Now - sentAt) (Duration.milliseconds 390L) "before RTO.Min"
              pair.Run(Duration.seconds 1L)
              Expect.isGreaterThan ((figures pair).CongestionWindow * 2) before "the window")

          testCase "packets that overtake each other are not taken for lost, once that is known of the path" (fun () ->
              let pair =
                  pair
                      { quick with
                          Jitter = Duration.milliseconds 8L }
                      3L

              pair.Establish()

              for n in 1..200 do
                  pair.Send(0, 1, Numbered.make n 10000)

              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 200 pair.B)) "all arrived"
              Expect.isLessThan (figures pair).Retransmissions 60L "of 1,800 chunks")

          testCase "another path begins with the first window and the first timeout, and all arrives" (fun () ->
              let pair = pair quick 5L
              pair.Establish()
              let first = figures pair

              for n in 1..1000 do
                  pair.Send(0, 1, Numbered.make n 20000)

              pair.Run(Duration.milliseconds 500L)
              Expect.isGreaterThan (figures pair).CongestionWindow (4 * first.CongestionWindow) "it has grown"

              pair.Weather <-
                  { quick with
                      Delay = Duration.milliseconds 5L }

              pair.Step(0, SctpInput.PathChanged 0)
              Expect.equal (figures pair).CongestionWindow first.CongestionWindow "the first window"
              Expect.isTrue (figures pair).SmoothedRoundTripTime.IsNone "no round trip"
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 1000 pair.B)) "all arrived"

              Expect.isLessThan
                  (figures pair).SmoothedRoundTripTime.Value
                  (Duration.milliseconds 20L)
                  "that of this path")

          testCase "a path that became longer, and lost nothing, gets its window back" (fun () ->
              longer (pair quick 4L))

          testCase "the same while its MTU is being found out" (fun () -> longer (SctpPair(quick, 4L, id))) ]

let tests = testList "Sctp loss" [ filling; single ]
