module Hybrid.WebRtc.PropertyTests.Sctp.CongestionTests

open System
open Expecto
open FsCheck
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.Stack

[<Literal>]
let private Segment = 1000

let private times = (SctpConfig.create SystemCiphers.Shared).Times

let private tripOf (milliseconds: int64) =
    RoundTrip.measured times (Duration.milliseconds milliseconds) (RoundTrip.create times)

/// `rounds` round trips in which a full window is acknowledged, two packets a SACK.
let private rounds (count: int) (milliseconds: int64) (since: Instant) (c: Congestion) : struct (Instant * Congestion) =
    let trip = tripOf milliseconds
    let mutable c = c
    let mutable now = since

    for _ in 1..count do
        let window = Congestion.window c
        let sacks = max 1 (window / (2 * Segment))

        for i in 1..sacks do
            let at = now + Duration.milliseconds milliseconds * int64 i / int64 sacks

            c <-
                Congestion.acknowledged
                    { Now = at
                      Segment = Segment
                      Acked = window / sacks
                      FlightBefore = Congestion.window c
                      InRecovery = false
                      Sample = Duration.milliseconds milliseconds
                      Trip = trip }
                    c

        now <- now + Duration.milliseconds milliseconds

    struct (now, c)

let private sampled (milliseconds: int64) (minimum: int64) (c: Congestion) =
    let mutable c = c

    for i in 1..8 do
        c <-
            Congestion.acknowledged
                { Now = int64 i * 1L<us>
                  Segment = Segment
                  Acked = Segment
                  FlightBefore = Congestion.window c
                  InRecovery = false
                  Sample = Duration.milliseconds milliseconds
                  Trip = tripOf minimum }
                c

    c

/// A path whose queue has made the round trip `times` as long as it is without.
let private queued (times': float) =
    { tripOf 50L with
        Smoothed = ValueSome(int64 (50_000.0 * times') * 1L<us>) }

let private at (packets: int) control =
    let c = Congestion.create control Segment

    Congestion.lost
        Segment
        (queued 1.0)
        { c with
            Window =
                packets * Segment * (if control = CongestionControl.Cubic then 10 else 2)
                / (if control = CongestionControl.Cubic then 7 else 1) }

let private packets c =
    float (Congestion.window c) / float Segment

let tests =
    testList
        "Sctp congestion"
        [ testCase "slow start doubles a window a round trip" (fun () ->
              for control in [ CongestionControl.Cubic; CongestionControl.NewReno ] do
                  let struct (_, c) = rounds 3 50L 0L<us> (Congestion.create control Segment)
                  Expect.isTrue (packets c >= 78.0 && packets c <= 80.0) "10, 20, 40, 80")

          testCase
              "a loss takes half from NewReno and 30 % from CUBIC; a timeout leaves one packet; four are the least"
              (fun () ->
                  let reduced control =
                      let c =
                          { Congestion.create control Segment with
                              Window = 100 * Segment }

                      packets (Congestion.lost Segment (queued 1.0) c),
                      packets (Congestion.timedOut Segment (queued 1.0) c),
                      (Congestion.timedOut Segment (queued 1.0) c).Threshold

                  Expect.equal (reduced CongestionControl.NewReno) (50.0, 1.0, 50 * Segment) "RFC 9260 §7.2.3"
                  Expect.equal (reduced CongestionControl.Cubic) (70.0, 1.0, 70 * Segment) "RFC 9438 §4.6"
                  let mutable c = at 8 CongestionControl.Cubic

                  for _ in 1..10 do
                      c <- Congestion.lost Segment (queued 1.0) c

                  Expect.equal (packets c) 4.0 "four packets")

          testCase "NewReno grows by a packet a round trip" (fun () ->
              let struct (_, c) = rounds 10 50L 0L<us> (at 50 CongestionControl.NewReno)
              Expect.isTrue (packets c >= 59.0 && packets c <= 60.0) "ten packets")

          testCase "CUBIC is back where congestion was met after K, whatever the round trip (RFC 9438 §4.2)" (fun () ->
              // K is the cube root of 1,000 · 0.3 / 0.4: 9.09 s.
              for trip in [ 50L; 100L; 200L ] do
                  let struct (_, c) =
                      rounds (int (9085L / trip)) trip 0L<us> (at 700 CongestionControl.Cubic)

                  Expect.isTrue (abs (packets c - 1000.0) < 10.0) $"{packets c} packets at {trip} ms"
                  let half = rounds (int (4540L / trip)) trip 0L<us> (at 700 CongestionControl.Cubic)
                  let struct (_, c) = half
                  // An eighth of the way is left: 1,000 - 300 / 8.
                  Expect.isTrue (abs (packets c - 962.0) < 10.0) $"{packets c} packets half-way")

          testCase "CUBIC is no slower than Reno on a short path (RFC 9438 §4.3)" (fun () ->
              let struct (_, c) = rounds 20 2L 0L<us> (at 30 CongestionControl.Cubic)
              Expect.isTrue (packets c >= 39.0 && packets c <= 42.0) $"{packets c}: 30 + 20 · 0.53")

          testCase
              "CUBIC makes room for a newcomer: a plateau below the last one is lowered further (RFC 9438 §4.7)"
              (fun () ->
                  let plateau (c: Congestion) =
                      match c.Growth with
                      | Cubic curve -> curve.Plateau / float Segment
                      | NewReno _
                      | Ledbat _ -> 0.0

                  let first = at 700 CongestionControl.Cubic
                  Expect.floatClose Accuracy.low (plateau first) 1000.0 "first"
                  let second = Congestion.lost Segment (queued 1.0) first
                  Expect.floatClose Accuracy.low (plateau second) (700.0 * 0.85) "second")

          testCase "CUBIC gives up what stands in the queue: 30 % at least, half at most" (fun () ->
              for times', left in [ 1.0, 70.0; 1.25, 70.0; 1.6, 62.5; 2.0, 50.0; 8.0, 50.0 ] do
                  let c =
                      { Congestion.create CongestionControl.Cubic Segment with
                          Window = 100 * Segment }

                  Expect.floatClose Accuracy.low (packets (Congestion.lost Segment (queued times') c)) left $"{times'}")

          testCase "a window that is not used does not grow" (fun () ->
              for control in [ CongestionControl.Cubic; CongestionControl.NewReno ] do
                  for c in
                      [ at 100 control
                        { at 100 control with
                            Threshold = Int32.MaxValue } ] do
                      let progress =
                          { Now = Duration.seconds 100L
                            Segment = Segment
                            Acked = 10 * Segment
                            FlightBefore = 40 * Segment
                            InRecovery = false
                            Sample = Duration.milliseconds 50L
                            Trip = tripOf 50L }

                      Expect.equal (Congestion.acknowledged progress c).Window c.Window "unused"

                      let used =
                          { progress with
                              FlightBefore = c.Window }

                      Expect.isGreaterThanOrEqual (Congestion.acknowledged used c).Window c.Window "used"

                      Expect.equal
                          (Congestion.acknowledged { used with InRecovery = true } c).Window
                          c.Window
                          "in recovery")

          testCase
              "slow start ends once the round trip has risen, and goes on where that was a passing noise (RFC 9406)"
              (fun () ->
                  let c = Congestion.create CongestionControl.Cubic Segment
                  Expect.isTrue (Congestion.inSlowStart (sampled 41L 40L c)) "a millisecond is noise"
                  let conservative = sampled 46L 40L c
                  Expect.isTrue (Congestion.inSlowStart conservative) "six: conservative"
                  let grown = sampled 46L 40L conservative
                  Expect.isLessThan (grown.Window - conservative.Window) (3 * Segment) "a quarter of the pace"
                  let back = sampled 40L 40L conservative
                  let again = sampled 40L 40L back
                  Expect.equal (again.Window - back.Window) (8 * Segment) "the old pace"
                  Expect.isFalse (Congestion.inSlowStart (sampled 62L 40L c)) "a queue of half the path: over")

          testCase
              "LEDBAT grows while the queue is short, keeps its target, and gives way beyond it (RFC 6817 §2.4.2)"
              (fun () ->
                  let acknowledged (sample: int64) c =
                      Congestion.acknowledged
                          { Now = Duration.seconds 1L
                            Segment = Segment
                            Acked = 2 * Segment
                            FlightBefore = Congestion.window c
                            InRecovery = false
                            Sample = Duration.milliseconds sample
                            Trip = tripOf 50L }
                          c

                  let round (sample: int64) c =
                      Seq.fold (fun c _ -> acknowledged sample c) c (seq { 1 .. Congestion.window c / (2 * Segment) })

                  // Out of slow start, between two slowdowns.
                  let steady =
                      let c = Congestion.create CongestionControl.Ledbat Segment

                      { c with
                          Window = 40 * Segment
                          Threshold = 40 * Segment
                          Growth =
                              match c.Growth with
                              | Ledbat y -> Ledbat { y with SlowAt = Duration.seconds 10L }
                              | other -> other }

                  Expect.floatClose
                      Accuracy.low
                      (packets (round 50L steady))
                      40.5
                      "half a packet a round trip: GAIN on a path of 50 ms"

                  Expect.equal (packets (round 80L steady)) 40.0 "the target is met: 30 ms"
                  let given = packets (round 95L steady)
                  Expect.isTrue (given >= 19.0 && given <= 28.0) $"half as much again: {given}"
                  let least = Seq.fold (fun c _ -> acknowledged 500L c) steady (seq { 1..200 })
                  Expect.equal (packets least) 2.0 "MIN_CWND"
                  Expect.isFalse (Congestion.hasToGive Segment least) "there is no more to give"
                  Expect.isTrue (Congestion.hasToGive Segment steady) "here there is")

          testCase "LEDBAT empties the queue now and then, and comes back (LEDBAT++ §4.4)" (fun () ->
              let lone =
                  { Congestion.create CongestionControl.Cubic Segment with
                      Window = 40 * Segment
                      Threshold = 40 * Segment }

              let yielding = Congestion.switched 0L<us> CongestionControl.Ledbat Segment lone
              let mutable c = yielding
              let mutable now = 0L<us>
              let mutable windows = []

              for _ in 1..200 do
                  let struct (later, next) = rounds 1 50L now c
                  now <- later
                  c <- next
                  windows <- packets c :: windows

              let windows = List.rev windows
              Expect.equal windows[0] 2.0 "what stands in the queue leaves first"
              Expect.isTrue (windows |> List.take 15 |> List.exists (fun w -> w >= 40.0)) "back where it was"
              let slowed = windows |> List.filter (fun w -> w < 3.0) |> List.length
              Expect.isTrue (slowed >= 4 && slowed <= 12) $"rarely: {slowed} of 200 round trips"
              let alone = Congestion.switched now CongestionControl.Cubic Segment c
              Expect.isTrue (Congestion.inSlowStart alone) "alone again: as fast as it can")

          testCase "an idle path loses half of its window each RTO, down to the initial one" (fun () ->
              let c =
                  { Congestion.create CongestionControl.Cubic Segment with
                      Window = 160 * Segment }

              Expect.equal (packets (Congestion.idle Segment 1L c)) 80.0 "one"
              Expect.equal (packets (Congestion.idle Segment 3L c)) 20.0 "three"
              Expect.equal (packets (Congestion.idle Segment 9L c)) 10.0 "many"
              Expect.isTrue (Congestion.inSlowStart (Congestion.idle Segment 9L c)) "to find back quickly")

          testCase "the least round trip is forgotten once the path has become longer" (fun () ->
              let mutable trip = tripOf 10L

              for _ in 1..100 do
                  trip <- RoundTrip.measured times (Duration.milliseconds 50L) trip

              Expect.equal trip.Minimum (Duration.milliseconds 10L) "remembered"

              for _ in 1..200 do
                  trip <- RoundTrip.measured times (Duration.milliseconds 50L) trip

              Expect.equal trip.Minimum (Duration.milliseconds 50L) "forgotten"

              Expect.equal
                  (RoundTrip.glimpsed (Duration.milliseconds 20L) trip).Minimum
                  (Duration.milliseconds 20L)
                  "less is believed at once")

          testCase
              "what was sent again and acknowledged takes one doubling of the timeout back, and no more than there were"
              (fun () ->
                  for trip in [ RoundTrip.create times; tripOf 10L; tripOf 100L ] do
                      let back = RoundTrip.backOff times
                      let forth = RoundTrip.progressed times
                      Expect.equal (forth trip).Timeout trip.Timeout "none"
                      Expect.equal (trip |> back |> forth).Timeout (trip |> forth).Timeout "one"
                      Expect.isGreaterThan (trip |> back |> back |> forth).Timeout trip.Timeout "two"
                      Expect.equal (trip |> back |> back |> forth |> forth |> forth).Timeout trip.Timeout "all")

          testPropertyWithConfig
              Laws.config
              "the pacer lets through a bucket, a packet, and its rate, whatever is asked of it"
          <| fun (seed: int64) (PositiveInt rate) ->
              let pace =
                  { Rate = float (1 + rate % 500)
                    Quantum = 2296
                    Depth = 11480 }

              let mutable entropy = Entropy.ofNumber seed

              let draw bound =
                  let struct (n, e) = Entropy.below bound entropy
                  entropy <- e
                  n

              let mutable now = Duration.seconds 1L
              let mutable ready = 0L<us>
              let mutable sent = 0
              let mutable since = now
              let mutable holds = true

              for _ in 1..100 do
                  now <- now + int64 (draw 200) * 1L<us>
                  let tokens = Pacing.tokens now ready pace
                  let mutable octets = 0

                  while octets < tokens && draw 8 > 0 do
                      octets <- octets + 1148

                  ready <- Pacing.spent now octets ready pace
                  sent <- sent + octets
                  let allowed = float (pace.Depth + 1148) + float (now - since) * pace.Rate
                  // Each burst is rounded to a microsecond.
                  holds <- holds && float sent <= allowed + 100.0 * pace.Rate
                  // Once the gate is open there is enough for a burst.
                  let gate = Pacing.gate now 100_000L ready pace
                  holds <- holds && (gate = now || Pacing.tokens gate ready pace >= pace.Quantum)

              holds ]
