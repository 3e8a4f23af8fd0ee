module Hybrid.WebRtc.PropertyTests.Interceptors.NackTests

open System
open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private machine: Laws.Machine<NackGenerator.State, unit, NackGenerator.Output> =
    { Step = fun now () state -> NackGenerator.tick now state
      Deadline = NackGenerator.deadline
      Tick = () }

let private start = 0x1_0000L

/// All of these, one a millisecond.
let private take (numbers: int list) (state: NackGenerator.State) =
    List.fold
        (fun (s, outputs) n ->
            let struct (s, more) = NackGenerator.received (ms n) (start + int64 n) false s
            s, outputs @ more)
        (state, [])
        numbers

let private requested (outputs: NackGenerator.Output list) =
    [ for output in outputs do
          match output with
          | NackGenerator.Request pairs -> yield! expand pairs
          | NackGenerator.GaveUp -> () ]

let private givesUp outputs =
    outputs
    |> List.exists (function
        | NackGenerator.GaveUp -> true
        | NackGenerator.Request _ -> false)

/// A packet of its own burst, as the lead of a stream has it.
let private burst (now: Instant) (number: int64) (count: int) : SentBurst =
    { Packets =
        ReadOnlyMemory [| for i in 0 .. count - 1 -> packet (uint16 number + uint16 i) 0u (Array.zeroCreate 960) |]
      Mapping = RtpMappings.identity
      First = number
      Lowest = number
      Highest = number + int64 count - 1L
      TransportSequence = 0us
      Translation = ExtensionTranslation(ExtensionMap.Empty, ExtensionMap.Empty)
      At = now
      Octets = 1000 * count }

/// A path of 60 ms there and back that loses `loss` of all packets, feedback and retransmissions too, and delays each by up to
/// `jitter`: how many packets of 500 a second come within 300 ms, of how many.
let private recovered (seed: int64) (loss: float) (jitter: Duration) (count: int) : struct (int * int * int64) =
    let agenda = Agenda()
    let draws = Draws seed
    let sentAt = Dictionary<int, Instant>()
    let cameAt = Dictionary<int, Instant>()

    let mutable history = SentHistory.create ()
    let mutable again = 0

    let mutable generator = NackGenerator.create () |> NackGenerator.roundTrip (ms 60)
    let mutable ticks = Instant.never

    let over (act: unit -> unit) =
        if draws.Unit() >= loss then
            let extra = Duration.microseconds (int64 (draws.Unit() * float jitter))
            agenda.At(agenda.Now + ms 30 + extra, act)

    let rec arrive (n: int) (repair: bool) =
        if cameAt.TryAdd(n, agenda.Now) then
            let struct (next, outputs) =
                NackGenerator.received agenda.Now (start + int64 n) repair generator

            generator <- next
            perform outputs

    and perform outputs =
        for output in outputs do
            match output with
            | NackGenerator.Request pairs ->
                over (fun () ->
                    let struct (found, _, next) =
                        SentHistory.asked agenda.Now (ms 60) SentHistory.MaxWork pairs history

                    history <- next

                    for struct (burst, i) in found do
                        again <- again + 1
                        let n = int (burst.Sequence i - start)
                        over (fun () -> arrive n true))
            | NackGenerator.GaveUp -> ()

        arm ()

    and arm () =
        let due = NackGenerator.deadline generator

        if due < ticks then
            ticks <- due

            agenda.At(
                due,
                fun () ->
                    if ticks <= agenda.Now then
                        ticks <- Instant.never

                    Laws.tickMovesOn machine generator
                    Laws.earlyTick machine (agenda.Now - 1L<us>) generator
                    let struct (next, outputs) = NackGenerator.tick agenda.Now generator
                    generator <- next
                    perform outputs
            )

    for n in 0 .. count - 1 do
        agenda.At(
            1_000_000L<us> + 2L * int64 n * 1_000L<us>,
            fun () ->
                sentAt[n] <- agenda.Now
                history <- SentHistory.append (burst agenda.Now (start + int64 n) 1) history
                over (fun () -> arrive n false)
        )

    agenda.Run()
    // What is lost at the very end nobody misses.
    let last = Seq.max cameAt.Keys

    let inTime =
        Seq.length (
            seq {
                for n in 0..last do
                    if cameAt.ContainsKey n && cameAt[n] - sentAt[n] <= ms 300 then
                        n
            }
        )

    struct (inTime, last + 1, int64 again)

let private generatorTests =
    testList
        "NACK generator"
        [ testCase "a hole is asked for a little later, again by round trips, and given up" (fun () ->
              let s, outputs =
                  take [ 1; 2; 3; 6 ] (NackGenerator.create () |> NackGenerator.roundTrip (ms 60))

              Expect.isEmpty outputs "not at once: it may be reordered"
              let mutable s = s
              let mutable asked = []
              let mutable last = []

              while NackGenerator.deadline s <> Instant.never do
                  Laws.earlyTick machine (NackGenerator.deadline s - 1L<us>) s
                  Laws.tickMovesOn machine s
                  let due = NackGenerator.deadline s
                  let struct (next, outputs) = NackGenerator.tick due s
                  s <- next
                  asked <- asked @ [ for n in requested outputs -> Duration.toMilliseconds due, n ]
                  last <- outputs

              Expect.equal (List.take 2 (List.map snd asked)) [ 4us; 5us ] "both"
              let times = asked |> List.map fst |> List.distinct
              Expect.isLessThanOrEqual (List.head times - 6L) 10L "soon"
              Expect.isGreaterThanOrEqual (times[1] - times[0]) 60L "not before an answer can be there"
              let apart = List.pairwise times |> List.map (fun (a, b) -> b - a)
              Expect.equal apart (List.sort apart) "longer each time"
              Expect.isLessThanOrEqual times.Length NackGenerator.MaxAsked "not for ever"
              Expect.isTrue (givesUp last) "the last resort"
              Expect.equal s.GivenUp 2L "given up")

          testCase "what comes late by itself is not asked for, and teaches patience" (fun () ->
              let s, _ = take [ 1; 2; 4 ] (NackGenerator.create ())
              let struct (s, _) = NackGenerator.received (ms 24) (start + 3L) false s
              Expect.equal (NackGenerator.deadline s) Instant.never "nothing is missing"
              Expect.isGreaterThanOrEqual s.Patience (ms 20) "it took 20 ms"
              let struct (s, _) = NackGenerator.received (ms 30) (start + 6L) false s
              Expect.isGreaterThanOrEqual (NackGenerator.deadline s) (ms 49) "so the next hole gets as long")

          testCase "a repaired packet closes its hole, and teaches nothing" (fun () ->
              let s, _ = take [ 1; 2; 9 ] (NackGenerator.create ())
              let patience = s.Patience
              let struct (s, _) = NackGenerator.received (ms 40) (start + 5L) true s
              Expect.equal s.Count 5 "3, 4, 6, 7, 8"
              Expect.equal s.Patience patience "patience"
              let struct (_, outputs) = NackGenerator.tick (ms 100) s
              Expect.equal (requested outputs) [ 3us; 4us; 6us; 7us; 8us ] "what is left")

          testCase "numbers wrap" (fun () ->
              let mutable s = NackGenerator.create ()

              for n in [ 65_530L; 65_533L; 65_538L ] do
                  let struct (next, _) = NackGenerator.received (ms 1) (start + n) false s
                  s <- next

              let struct (_, outputs) = NackGenerator.tick (ms 100) s
              Expect.equal (requested outputs) [ 65531us; 65532us; 65534us; 65535us; 0us; 1us ] "over the edge")

          testCase "too much lost at once asks for a key frame instead" (fun () ->
              let s, outputs = take [ 1; 2; 1100 ] (NackGenerator.create ())
              Expect.isTrue (givesUp outputs) "key frame"
              Expect.equal (NackGenerator.deadline s) Instant.never "nothing is asked for"
              let s, outputs = take [ 1..2..2200 ] (NackGenerator.create ())
              Expect.isTrue (givesUp outputs) "many small holes, too"
              Expect.isLessThanOrEqual s.Missing.Length NackGenerator.MaxRuns "bounded")

          testCase "what lies before a key frame is not needed any more" (fun () ->
              let s, _ = take [ 1; 4; 8 ] (NackGenerator.create ())

              let struct (_, outputs) =
                  NackGenerator.tick (ms 50) (NackGenerator.passed (start + 6L) 0 s)

              Expect.equal (requested outputs) [ 6us; 7us ] "from the key frame on"

              let struct (once, outputs) =
                  NackGenerator.tick (ms 50) (NackGenerator.passed (start + 6L) 1 s)

              Expect.equal (requested outputs) [ 2us; 3us; 5us; 6us; 7us ] "once"

              let struct (_, outputs) =
                  NackGenerator.tick (ms 500) (NackGenerator.passed (start + 6L) 1 once)

              Expect.equal (requested outputs) [ 6us; 7us ] "and no second time")

          testPropertyWithConfig
              Laws.config
              "any order of packets: bounded, every tick moves on, and what is missing is what did not come"
          <| fun (seed: int64) ->
              let draws = Draws seed
              let mutable s = NackGenerator.create ()
              let mutable now = 0L<us>
              let mutable n = start
              let came = HashSet<int64>()
              let mutable forgot = false

              for _ in 1..400 do
                  now <- now + Duration.microseconds (int64 (draws.Below 3000))

                  let number =
                      match draws.Below 12 with
                      | 0 -> n + int64 (draws.Below 1200)
                      | 1
                      | 2 -> n + int64 (draws.Below 6)
                      | 3
                      | 4 -> n - int64 (draws.Below 40)
                      | _ -> n + 1L

                  let number = max start number
                  n <- max n number
                  came.Add number |> ignore
                  let struct (next, outputs) = NackGenerator.received now number (draws.Below 2 = 0) s
                  s <- next
                  forgot <- forgot || givesUp outputs
                  Laws.tickMovesOn machine s
                  Laws.earlyTick machine now s

                  if draws.Below 4 = 0 then
                      let struct (next, outputs) = NackGenerator.tick now s
                      s <- next

                      for asked in requested outputs do
                          if came.Contains(Sequence.unwrap n asked) then
                              failtest "asked for what came"

                  if s.Count > NackGenerator.MaxMissing || s.Missing.Length > NackGenerator.MaxRuns then
                      failtest "unbounded"

              let counted = s.Missing |> Array.sumBy (fun run -> int (run.Last - run.First + 1L))
              counted = s.Count

          testCase "a packet in order costs no allocation" (fun () ->
              let mutable s = NackGenerator.create ()

              let turn n =
                  let struct (next, _) = NackGenerator.received (ms n) (start + int64 n) false s
                  s <- next

              for n in 1..1000 do
                  turn n

              let before = GC.GetAllocatedBytesForCurrentThread()

              for n in 1001..2000 do
                  turn n

              Expect.equal (GC.GetAllocatedBytesForCurrentThread() - before) 0L "octets") ]

let private historyTests =
    let pair (sequence: int) (mask: int) =
        { PacketId = uint16 sequence
          Bitmask = uint16 mask }

    /// One packet a millisecond, from 65,500 on.
    let filled (count: int) =
        List.fold
            (fun s n -> SentHistory.append (burst (ms n) (start + 65_500L + int64 n) 1) s)
            (SentHistory.create ())
            [ 0 .. count - 1 ]

    let found now pairs s =
        let struct (items, _, s) = SentHistory.asked now (ms 60) SentHistory.MaxWork pairs s

        [ for struct (burst: SentBurst, i) in items -> int (burst.Sequence i - start) - 65_500 ], s

    testList
        "sent history"
        [ testCase "finds what was asked for, over the wrap, and not again within a round trip" (fun () ->
              let s = filled 100
              let items, s = found (ms 100) [| pair 65_534 0b111; pair 90 0 |] s
              Expect.equal items [ 34; 35; 36; 37 ] "four held, one was never sent"
              let items, s = found (ms 130) [| pair 65_534 0b111 |] s
              Expect.isEmpty items "the answer is on its way"
              let items, _ = found (ms 161) [| pair 65_534 0 |] s
              Expect.equal items [ 34 ] "a round trip later")

          testCase "finds each packet of a burst, and forgets what is old" (fun () ->
              let s =
                  List.fold
                      (fun s n -> SentHistory.append (burst (ms (100 * n)) (start + 65_500L + int64 (8 * n)) 8) s)
                      (SentHistory.create ())
                      [ 0..29 ]

              let items, s =
                  found (ms 2900) [| pair (65_500 + 29 * 8) 0x7F; pair (65_500 + 20 * 8 + 3) 0 |] s

              Expect.equal items ([ 232..239 ] @ [ 163 ]) "of the last burst all, of another one"
              let items, _ = found (ms 2900) [| pair 65_500 0xFFFF |] s
              Expect.isEmpty items "the first two are too old")

          testCase "hostile NACKs cost bounded work and a bounded rate" (fun () ->
              let draws = Draws 5L
              let mutable s = SentHistory.create ()
              let mutable again = 0L

              for n in 0..9999 do
                  s <- SentHistory.append (burst (ms n) (start + int64 n) 1) s

                  for _ in 1..3 do
                      let pairs = Array.init 300 (fun _ -> pair (n - draws.Below 900) 0xFFFF)

                      let struct (items, work, next) =
                          SentHistory.asked (ms n) (ms 5) SentHistory.MaxWork pairs s

                      Expect.isLessThan work (SentHistory.MaxWork + 1_000) "steps"
                      s <- next
                      again <- again + int64 items.Length

              Expect.isLessThan again 25_000L "no more than twice what was sent, and what it began with")

          testCase "late bursts, gaps and any NACK: work is bounded, and what was sent is found" (fun () ->
              for seed in 1L .. 60L do
                  let draws = Draws seed
                  let mutable s = SentHistory.create ()
                  let mutable numbers = Set.empty
                  let mutable next = start

                  for n in 0..299 do
                      let count = 1 + draws.Below 20
                      let isLate = draws.Below 10 = 0 && n > 20
                      // With a gap behind each packet but the last, by chance.
                      let step = 1 + draws.Below 2

                      let first =
                          if isLate then
                              next - int64 (draws.Below 200) - 100_000L
                          else
                              next

                      let made = burst (ms n) first count
                      let span = made.Packets.ToArray()

                      let spread =
                          span
                          |> Array.mapi (fun i packet ->
                              { packet with
                                  SequenceNumber = uint16 first + uint16 (step * i) })

                      let highest = first + int64 (step * (count - 1))

                      s <-
                          SentHistory.append
                              { made with
                                  Packets = ReadOnlyMemory spread
                                  Highest = highest }
                              s

                      if not isLate then
                          next <- highest + 1L + int64 (draws.Below 3)

                          for i in 0 .. count - 1 do
                              numbers <- Set.add (first + int64 (step * i)) numbers

                  for _ in 1..20 do
                      let pairs =
                          Array.init 250 (fun _ ->
                              pair (int (uint16 (next - int64 (draws.Below 6_000)))) (draws.Below 65_536))

                      let allowed = draws.Below SentHistory.MaxWork
                      let struct (items, work, _) = SentHistory.asked (ms 300) (ms 5) allowed pairs s
                      Expect.isLessThan work (allowed + 100) "steps"

                      for struct (burst, i) in items do
                          Expect.isTrue (i >= 0 && i < burst.Packets.Length) "a packet of it"

                  // What was sent of late, one by one.
                  let mutable known = s

                  for number in numbers |> Seq.filter (fun number -> number > next - 200L) do
                      let struct (items, _, after) =
                          SentHistory.asked
                              (ms 300)
                              (ms 5)
                              SentHistory.MaxWork
                              [| pair (int (uint16 number)) 0 |]
                              known

                      known <- after
                      Expect.equal items.Length 1 "found") ]

let private lossTests =
    testList
        "NACK and history together"
        [ for seed in 1L .. 4L do
              testCase $"5%% loss both ways, 60 ms round trip: 99.9%% come within 300 ms, seed {seed}" (fun () ->
                  let struct (inTime, all, again) = recovered seed 0.05 0L<us> 20_000
                  Expect.isGreaterThanOrEqual (float inTime / float all) 0.999 $"{inTime} of {all}"
                  Expect.isLessThan (float again / float all) 0.07 $"{again} sent again")

          for seed in 5L .. 6L do
              testCase $"the same with 10 ms of jitter, and few sent again for nothing, seed {seed}" (fun () ->
                  let struct (inTime, all, again) = recovered seed 0.05 (ms 10) 20_000
                  Expect.isGreaterThanOrEqual (float inTime / float all) 0.999 $"{inTime} of {all}"
                  Expect.isLessThan (float again / float all) 0.08 $"{again} sent again")

          testCase "without loss nothing is sent again, whatever the order" (fun () ->
              let struct (inTime, all, again) = recovered 9L 0.0 (ms 4) 5_000
              Expect.equal inTime all "all"
              Expect.equal again 0L "sent again")

          testCase "the same seed tells the same story" (fun () ->
              Expect.equal (recovered 3L 0.1 (ms 20) 3000) (recovered 3L 0.1 (ms 20) 3000) "twice") ]

let tests = testList "Repair by NACK" [ generatorTests; historyTests; lossTests ]
