/// The pacer's laws: everything leaves, in order, in time, no faster than it should; data does not starve.
module Hybrid.WebRtc.PropertyTests.Interceptors.MediaPacerTests

open System
open Expecto
open FsCheck
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.Bottleneck

let private machine: Laws.Machine<MediaPacer.State<int>, unit, int> =
    { Step =
        fun now () state ->
            let struct (next, release) = MediaPacer.release now state

            struct (next,
                    [ for p in release.Packets do
                          yield p.Item

                      if release.PaddingWanted > 0 then
                          yield -1 ])
      Deadline = MediaPacer.deadline
      Tick = () }

let private bandwidth (target: int) (overused: bool) : Bandwidth =
    { Target = target
      Pacing = int (2.5 * float target)
      Narrow = false
      RoundTrip = Duration.milliseconds 60L
      Loss = 0.0
      Acknowledged = target
      Overused = overused }

let private at (target: int) : MediaPacer.State<int> =
    MediaPacer.create () |> MediaPacer.rate (seconds 1.0) (bandwidth target false)

/// Releases whenever it is due, up to a time. What left, and when.
let private runs (until: Instant) (state: MediaPacer.State<int>) =
    let left = ResizeArray<struct (Instant * int * int)>()
    let mutable state = state
    let mutable steps = 0

    while MediaPacer.deadline state <= until && steps < 100_000 do
        let due = MediaPacer.deadline state
        let struct (next, release) = MediaPacer.release due state
        state <- next
        steps <- steps + 1

        for p in release.Packets do
            left.Add(struct (due, p.Item, p.Probe))

    Expect.isLessThan steps 100_000 "it does not spin"
    struct (state, List.ofSeq left)

let private video now octets item state =
    MediaPacer.enqueue now PacketPriority.Video octets item state

let tests =
    testList
        "MediaPacer"
        [ testPropertyWithConfig
              Laws.config
              "everything leaves once, in order within its priority, none later than 250 ms"
          <| fun (seed: int64) (PositiveInt count) ->
              let dice = Dice seed
              let mutable state = at 100_000
              let mutable now = seconds 1.0
              let entered = ResizeArray<Instant>()
              let priorities = ResizeArray<PacketPriority>()
              let left = ResizeArray<struct (Instant * int)>()

              let release until =
                  let struct (next, more) = runs until state
                  state <- next

                  for struct (at, item, _) in more do
                      left.Add(struct (at, item))

              for i in 0 .. 10 * count do
                  now <- now + int64 (dice.Unit() * dice.Unit() * 30_000.0) * 1L<us>
                  release now
                  let priority = enum<PacketPriority>(int (4.0 * dice.Unit()))
                  entered.Add now
                  priorities.Add priority
                  state <- MediaPacer.enqueue now priority (50 + int (dice.Unit() * 1_150.0)) i state
                  Laws.earlyTick machine now state
                  Laws.tickMovesOn machine state

                  if dice.Unit() < 0.1 then
                      let target = 30_000 + int (dice.Unit() * 1e6)
                      state <- MediaPacer.rate now (bandwidth target (dice.Unit() < 0.3)) state

                  if dice.Unit() < 0.05 then
                      state <-
                          MediaPacer.probe
                              { Id = i + 1
                                Rate = 2_000_000
                                Packets = 5
                                Octets = 3_000 }
                              state

              release (now + seconds 10.0)
              Expect.equal left.Count entered.Count "as many as entered"
              Expect.equal (left |> Seq.map (fun (struct (_, i)) -> i) |> set |> Set.count) left.Count "each once"
              Expect.equal state.Octets 0L "nothing is left"

              for struct (at, item) in left do
                  Expect.isLessThanOrEqual (at - entered[item]) (Duration.milliseconds 250L) "in time"

                  if priorities[item] = PacketPriority.Audio then
                      Expect.equal at entered[item] "sound does not wait"

              for priority in Enum.GetValues<PacketPriority>() do
                  let order =
                      [ for struct (_, item) in left do
                            if priorities[item] = priority then
                                item ]

                  Expect.equal order (List.sort order) "in order"

          testCase "a frame leaves at 2.5 times the target, 5 ms of it at a time" (fun () ->
              // 2.5 Mbit/s: 1,562 octets in 5 ms.
              let mutable state = at 1_000_000

              for i in 0..19 do
                  state <- video (seconds 1.0) 1_200 i state

              let struct (_, left) = runs (seconds 2.0) state
              let struct (last, _, _) = List.last left
              let took = float (last - seconds 1.0) / 1e3
              Expect.isTrue (took > 68.0 && took < 77.0) $"24,000 octets take 76.8 ms: the last left after {took}"

              for _, together in left |> List.groupBy (fun (struct (at, _, _)) -> at) do
                  Expect.isLessThanOrEqual together.Length 2 "5 ms and the packet that begins in them")

          testCase "retransmissions go before video, and video before padding" (fun () ->
              let state =
                  at 1_000_000 |> video (seconds 1.0) 1_200 0 |> video (seconds 1.0) 1_200 1

              let struct (state, _) = MediaPacer.release (seconds 1.0) state

              let add priority item =
                  MediaPacer.enqueue (seconds 1.0) priority 1_200 item

              let state =
                  state
                  |> add PacketPriority.Padding 4
                  |> add PacketPriority.Video 3
                  |> add PacketPriority.Retransmission 2

              let struct (_, left) = runs (seconds 2.0) state
              Expect.equal [ for struct (_, item, _) in left -> item ] [ 2; 3; 4 ] "order")

          testCase "a sender that ignores the rate is smoothed, not throttled" (fun () ->
              // 30 kbit/s allowed, 80 Mbit/s sent.
              let mutable state = at 30_000
              let mutable worst = 0L<us>

              for i in 0..9_999 do
                  let now = seconds 1.0 + int64 i * 120L<us>
                  let struct (next, left) = runs now state
                  state <- next

                  for struct (at, item, _) in left do
                      worst <- max worst (at - seconds 1.0 - int64 item * 120L<us>)

                  state <- video now 1_200 i state

              Expect.isLessThanOrEqual worst (Duration.milliseconds 250L) "the longest wait"
              Expect.isLessThan state.Octets 2_600_000L "at most 250 ms of it waits")

          testCase
              "a frame that the rate has no room for leaves evenly over 250 ms, not at once at their end"
              (fun () ->
                  let mutable state = at 30_000

                  for i in 0..99 do
                      state <- video (seconds 1.0) 1_200 i state

                  let struct (_, left) = runs (seconds 2.0) state
                  Expect.equal left.Length 100 "all"

                  for _, together in left |> List.groupBy (fun (struct (at, _, _)) -> at) do
                      Expect.isLessThanOrEqual together.Length 4 "5 ms of them, and the packet that begins in them")

          testCase "without an estimator all passes" (fun () ->
              let state: MediaPacer.State<int> = MediaPacer.create ()
              Expect.isTrue (MediaPacer.isClear state) "clear"
              let mutable state = state

              for i in 0..99 do
                  state <- video (seconds 1.0) 1_200 i state

              let struct (state, release) = MediaPacer.release (seconds 1.0) state
              Expect.equal release.Packets.Length 100 "at once"
              Expect.isTrue (MediaPacer.isClear state) "clear again"
              Expect.isFalse (MediaPacer.isClear (at 1_000_000)) "not with an estimator"

              Expect.isTrue
                  (at 1_000_000 |> MediaPacer.unlimited (seconds 2.0) |> MediaPacer.isClear)
                  "nor without one again")

          testCase "a probe leaves at its rate, with padding where the queue is empty" (fun () ->
              let cluster =
                  { Id = 7
                    Rate = 2_000_000
                    Packets = 5
                    Octets = 3_750 }

              let mutable state = at 300_000 |> MediaPacer.probe cluster
              Expect.equal (MediaPacer.deadline state) Instant.never "not before there is media"
              state <- video (seconds 1.0) 800 0 state
              let mutable octets = 0
              let mutable item = 0
              let mutable first = Instant.never
              let mutable last = Instant.never
              let mutable count = 0

              while MediaPacer.deadline state <> Instant.never do
                  let due = max (seconds 1.0) (MediaPacer.deadline state)
                  let struct (next, release) = MediaPacer.release due state
                  state <- next

                  for p in release.Packets do
                      Expect.equal p.Probe 7 "marked"
                      count <- count + 1
                      octets <- octets + (if p.Item = 0 then 800 else 280)
                      first <- Instant.min first due
                      last <- due

                  for _ in 1..280 .. release.PaddingWanted do
                      item <- item + 1
                      state <- MediaPacer.enqueue due PacketPriority.Padding 280 item state

              Expect.isTrue (octets >= 3_750 && octets < 4_100) $"{octets} octets in {count} packets"
              let took = float (last - first) / 1e3
              Expect.isTrue (took > 10.0 && took < 17.0) $"15 ms: {took}")

          testCase "a probe that nobody pads is dropped" (fun () ->
              let cluster =
                  { Id = 7
                    Rate = 2_000_000
                    Packets = 5
                    Octets = 3_750 }

              let state = at 300_000 |> MediaPacer.probe cluster |> video (seconds 1.0) 800 0
              let struct (state, left) = runs (seconds 3.0) state
              Expect.equal left.Length 1 "the packet"
              Expect.equal state.Probes.Length 0 "no probe"
              Expect.equal (MediaPacer.deadline state) Instant.never "nothing is due") ]
