module Hybrid.WebRtc.PropertyTests.Interceptors.JitterBufferTests

open System
open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private start = 0x1_0000L

let private machine: Laws.Machine<JitterBuffer.State, unit, RtpPacket> =
    { Step =
        fun now () state ->
            let struct (state, packets) = JitterBuffer.tick now state
            struct (state, List.ofArray packets)
      Deadline = JitterBuffer.deadline
      Tick = () }

/// A packet to come: its number, its timestamp in milliseconds, and when.
type private Coming =
    { Number: int; Media: int; At: Instant }

/// What a buffer emits, and when; and the buffer at the end.
let private run (state: JitterBuffer.State) (coming: Coming list) =
    let mutable s = state
    let emitted = List<struct (Instant * int)>()

    let drain (until: Instant) =
        while JitterBuffer.deadline s <= until do
            let due = JitterBuffer.deadline s
            Laws.earlyTick machine (due - 1L<us>) s
            Laws.tickMovesOn machine s
            let struct (next, packets) = JitterBuffer.tick due s
            s <- next

            for p in packets do
                emitted.Add(struct (due, int p.SequenceNumber))

    for c in coming |> List.sortBy (fun c -> int64 c.At) do
        drain (c.At - 1L<us>)
        let p = packet (uint16 c.Number) (uint32 (90 * c.Media)) [| 1uy |]

        let struct (next, packets) =
            JitterBuffer.received c.At (start + int64 c.Number) 90_000 &p s

        s <- next

        for p in packets do
            emitted.Add(struct (c.At, int p.SequenceNumber))

    if coming <> [] then
        drain (Instant.never - 1L<us>)

    List.ofSeq emitted, s

let private numbers emitted =
    [ for struct (_: Instant, n: int) in emitted -> n ]

/// 20 ms of audio each, `late n` later than the fastest way.
let private stream (count: int) (late: int -> int) : Coming list =
    [ for n in 0 .. count - 1 ->
          { Number = n
            Media = 20 * n
            At = ms (1000 + 20 * n + late n) } ]

let tests =
    testList
        "Jitter buffer"
        [ testCase "what comes on time and in order goes on at once" (fun () ->
              let emitted, s = run (JitterBuffer.create 0L<us>) (stream 100 (fun _ -> 0))
              Expect.equal (numbers emitted) [ 0..99 ] "all"
              Expect.equal s.Counters.Delay 0L<us> "no delay"
              Expect.equal s.Counters.Emitted 100L "emitted")

          testCase "disorder is put right once it has been seen, and time is evened out" (fun () ->
              let draws = Draws 3L

              let emitted, s =
                  run (JitterBuffer.create 0L<us>) (stream 1000 (fun _ -> draws.Below 60))

              let got = numbers emitted
              Expect.equal got (List.sort got) "in order"
              Expect.isGreaterThan got.Length 985 "few are too late, at the beginning"
              Expect.equal (s.Counters.Emitted + s.Counters.Discarded) 1000L "each counted"
              let settled = emitted |> List.skip 500

              for struct (a, n), struct (b, m) in List.pairwise settled do
                  let uneven = abs (b - a - ms (20 * (m - n)))
                  Expect.isLessThan uneven (ms 5) "as even as it was sent"

              let mean = s.Counters.Delay / s.Counters.Emitted
              Expect.isTrue (mean > ms 15 && mean < ms 60) $"{mean} on average")

          testCase "a hole is waited for until the packet behind it is due, and counted" (fun () ->
              let s = JitterBuffer.create 0L<us> |> JitterBuffer.wish (ms 100)

              let emitted, s =
                  run
                      s
                      (stream 20 (fun n ->
                          if n = 7 then 90
                          elif n = 12 then 500
                          else 0))

              Expect.equal (numbers emitted) ([ 0..11 ] @ [ 13..19 ]) "7 came in time, 12 did not"
              Expect.equal (s.Counters.Discarded, s.Counters.Skipped) (1L, 1L) "counted")

          testCase "jitterBufferTarget holds packets for as long as it says, and the sums tell it apart" (fun () ->
              let s = JitterBuffer.create 0L<us> |> JitterBuffer.wish (ms 200)
              let emitted, s = run s (stream 50 (fun _ -> 0))

              for struct (at, n) in emitted do
                  Expect.equal at (ms (1200 + 20 * n)) "200 ms later"

              Expect.equal (s.Counters.Delay / s.Counters.Emitted) (ms 200) "delay"
              Expect.equal (s.Counters.TargetDelay / s.Counters.Emitted) (ms 200) "target"
              Expect.equal s.Counters.MinimumDelay 0L<us> "the network asked for none")

          testCase "with retransmissions a loss makes it wait a round trip and a half from then on" (fun () ->
              // One in ten is lost, and comes 70 ms late.
              let late n = if n % 10 = 9 then 70 else 0
              let emitted, s = run (JitterBuffer.create (ms 60)) (stream 500 late)
              let got = numbers emitted
              Expect.equal got (List.sort got) "in order"
              Expect.isLessThanOrEqual s.Counters.Discarded 1L "the first at most comes too late"
              Expect.isLessThan (JitterBuffer.target s) (ms 150) "target")

          testCase "the target goes down again when the network has calmed" (fun () ->
              let late n = if n < 100 && n % 7 = 3 then 80 else 0
              let _, s = run (JitterBuffer.create 0L<us>) (stream 3000 late)
              Expect.isLessThan (JitterBuffer.target s) (ms 8) "a minute later")

          testCase "a clock that runs 500 ppm slow or fast neither piles up nor runs dry" (fun () ->
              for ppm in [ -500; 500 ] do
                  let coming =
                      [ for n in 0..9_000 ->
                            { Number = n
                              Media = 20 * n
                              At = ms (1000 + 20 * n) + Duration.microseconds (int64 n * 20L * int64 ppm / 1000L) } ]

                  let emitted, s =
                      run (JitterBuffer.create 0L<us> |> JitterBuffer.wish (ms 40)) coming

                  Expect.equal (numbers emitted) [ 0..9_000 ] "all"
                  let struct (at, n) = List.last emitted
                  let held = at - coming[n].At
                  Expect.isTrue (held >= ms 30 && held <= ms 60) $"{held} at {ppm} ppm"
                  Expect.isLessThan (JitterBuffer.target s) (ms 60) "target")

          testCase "a timestamp that jumps is another clock, and holds nothing up" (fun () ->
              let coming =
                  stream 100 (fun _ -> 0)
                  |> List.map (fun c ->
                      if c.Number >= 50 then
                          { c with Media = c.Media + 20_000_000 }
                      else
                          c)

              let emitted, s =
                  run (JitterBuffer.create 0L<us> |> JitterBuffer.wish (ms 50)) coming

              Expect.equal (numbers emitted) [ 0..99 ] "all"
              Expect.isLessThan (s.Counters.Delay / s.Counters.Emitted) (ms 60) "none held up")

          testCase "a number far ahead lets go what is held" (fun () ->
              let coming =
                  stream 10 (fun _ -> 0)
                  |> List.map (fun c ->
                      if c.Number >= 5 then
                          { c with Number = c.Number + 5000 }
                      else
                          c)

              let emitted, _ =
                  run (JitterBuffer.create 0L<us> |> JitterBuffer.wish (ms 500)) coming

              Expect.equal (numbers emitted) ([ 0..4 ] @ [ 5005..5009 ]) "all, in order")

          testCase "what a codec change does to the clock holds nothing up" (fun () ->
              let mutable s = JitterBuffer.create 0L<us> |> JitterBuffer.wish (ms 40)
              let mutable count = 0

              for n in 0..99 do
                  let clock = if n < 50 then 48_000 else 8_000
                  let p = packet (uint16 n) (uint32 (n * clock / 50)) [| 1uy |]

                  let struct (next, _) =
                      JitterBuffer.received (ms (20 * n)) (start + int64 n) clock &p s

                  let struct (next, packets) = JitterBuffer.tick (ms (20 * n)) next
                  s <- next
                  count <- count + packets.Length

              Expect.isGreaterThanOrEqual count 97 "but for what is held for 40 ms")

          testPropertyWithConfig Laws.config "any packets: in order, each once, bounded, and every tick moves on"
          <| fun (seed: int64) ->
              let draws = Draws seed

              let mutable s =
                  JitterBuffer.create (ms (draws.Below 200))
                  |> JitterBuffer.wish (ms (draws.Below 3) * 300L)

              let mutable now = 0L<us>
              let mutable n = start
              let mutable last = 0L
              let mutable ok = true
              let mutable added = 0
              let mutable out = 0

              let check (packets: RtpPacket[]) =
                  for p in packets do
                      let number = Sequence.unwrap n p.SequenceNumber
                      ok <- ok && number > last
                      last <- number
                      out <- out + 1

              for _ in 1..400 do
                  now <- now + Duration.microseconds (int64 (draws.Below 20_000))

                  let number =
                      match draws.Below 15 with
                      | 0 -> n + int64 (draws.Below 3000)
                      | 1
                      | 2 -> n + int64 (draws.Below 6)
                      | 3
                      | 4 -> n - int64 (draws.Below 40)
                      | _ -> n + 1L

                  n <- max n number

                  let timestamp =
                      if draws.Below 20 = 0 then
                          uint32 (draws.Below Int32.MaxValue)
                      else
                          uint32 (1800L * (number - start))

                  let p = packet (uint16 number) timestamp [| 1uy |]

                  let struct (next, packets) =
                      JitterBuffer.received now number (if draws.Below 30 = 0 then 0 else 90_000) &p s

                  s <- next
                  added <- added + 1
                  check packets
                  Laws.earlyTick machine (now - 1L<us>) s
                  Laws.tickMovesOn machine s
                  let struct (next, packets) = JitterBuffer.tick now s
                  s <- next
                  check packets

                  let due = JitterBuffer.deadline s

                  ok <-
                      ok
                      && s.Held.Count <= JitterBuffer.MaxPackets
                      && (due = Instant.never || due <= now + JitterBuffer.mostWished)

              let struct (s, packets) = JitterBuffer.flush (Duration.seconds 1_000L) s
              check packets

              ok
              && s.Counters.Emitted = int64 out
              && int64 out + s.Counters.Discarded = int64 added

          testCase "sound is counted in samples, whatever the packets' lengths, losses and pauses" (fun () ->
              // 20 ms, 60 ms, one that is lost, and a pause of a second before the last two.
              let media = [ 0; 20; 40; 100; 160; 1_160; 1_180 ]

              let coming =
                  media
                  |> List.mapi (fun i m ->
                      { Number = i
                        Media = m
                        At = ms (1_000 + m) })
                  |> List.filter (fun c -> c.Number <> 4)

              let state =
                  JitterBuffer.create 0L<us>
                  |> JitterBuffer.wish (ms 100)
                  |> JitterBuffer.counting JitterBufferUnit.Samples

              let _, s = run state coming
              // 20, 20, 20, 60; behind the loss as many as before it; then 20.
              Expect.equal s.Counters.Emitted (90L * (20L + 20L + 20L + 60L + 60L + 20L)) "samples"
              Expect.equal (s.Counters.Delay / s.Counters.Emitted) (ms 100) "each by its own delay"
              Expect.equal (s.Counters.TargetDelay / s.Counters.Emitted) (ms 100) "the target")

          testCase "pictures are counted in frames, each from its first packet to its last" (fun () ->
              let mutable s =
                  JitterBuffer.create 0L<us>
                  |> JitterBuffer.wish (ms 100)
                  |> JitterBuffer.counting JitterBufferUnit.Frames

              // Three packets a frame, 10 ms apart; the second frame's last is lost.
              for n in 0..8 do
                  if n <> 5 then
                      let frame = n / 3
                      let now = ms (1_000 + 40 * frame + 10 * (n % 3))

                      let p =
                          { packet (uint16 n) (uint32 (90 * 40 * frame)) [| 1uy |] with
                              Marker = (n % 3 = 2) }

                      let struct (next, _) = JitterBuffer.received now (start + int64 n) 90_000 &p s
                      s <- next

              while JitterBuffer.deadline s < Instant.never do
                  let struct (next, _) = JitterBuffer.tick (JitterBuffer.deadline s) s
                  s <- next

              Expect.equal s.Counters.Emitted 2L "those that ended"
              let mean = s.Counters.Delay / s.Counters.Emitted
              Expect.isTrue (mean >= ms 100 && mean <= ms 120) $"{mean} from the first packet on")

          testCase "more packets than it may hold leave early" (fun () ->
              let mutable s = JitterBuffer.create 0L<us> |> JitterBuffer.wish (ms 4000)
              let mutable out = 0

              for n in 0..9_999 do
                  let p = packet (uint16 n) (uint32 n) (Array.zeroCreate 10)
                  let now = Duration.microseconds (int64 n)
                  let struct (next, _) = JitterBuffer.received now (start + int64 n) 90_000 &p s
                  let struct (next, packets) = JitterBuffer.tick now next
                  s <- next
                  out <- out + packets.Length

                  if s.Held.Count > JitterBuffer.MaxPackets then
                      failtest "unbounded"

              Expect.equal out (10_000 - JitterBuffer.MaxPackets) "the rest") ]
