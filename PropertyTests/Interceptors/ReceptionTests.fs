module Hybrid.WebRtc.PropertyTests.Interceptors.ReceptionTests

open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private at (n: int) : Instant = 1_000_000L<us> + ms n

/// Packets of 20 ms at 8,000 Hz, on time.
let private take (sequences: int list) (reception: Reception) : Reception * Arrival list =
    let mutable r = reception

    let arrivals =
        [ for s in sequences do
              let struct (next, arrival, _) =
                  Reception.received (at (20 * s)) (uint16 s) (uint32 (160 * s)) 8000 r

              r <- next
              arrival ]

    r, arrivals

let private report now r =
    let struct (block, r) = Reception.report now 7u r
    block, r

let private windowTests =
    testList
        "Window"
        [ testPropertyWithConfig Laws.config "a window holds what a map with its bounds holds"
          <| fun (seed: int64) ->
              let draws = Draws seed
              let start = 0x1_0000L
              let mutable window: Window<string> = Window.startingAt start
              let model = SortedDictionary<int64, string>()
              let mutable first = start
              let mutable ok = true

              for _ in 1..300 do
                  match draws.Below 8 with
                  | 0 ->
                      let to' = first + int64 (draws.Below 40)
                      window <- Window.dropTo to' window

                      if to' > first then
                          first <- to'

                      for key in Seq.toList model.Keys do
                          if key < first then
                              model.Remove key |> ignore
                  | kind ->
                      let number =
                          if kind = 1 then
                              max first window.Next + int64 (draws.Below 6000)
                          else
                              first - 5L + int64 (draws.Below 80)

                      let struct (next, added) = Window.add number (string number) window
                      ok <- ok && (added = (number >= first && not (model.ContainsKey number)))
                      window <- next

                      if added then
                          model[number] <- string number
                          first <- max first (number - int64 Window.Span + 1L)

                          for key in Seq.toList model.Keys do
                              if key < first then
                                  model.Remove key |> ignore

              ok
              && window.Count = model.Count
              && Seq.forall (fun number -> Window.tryFind number window = ValueSome(string number)) model.Keys
              && Seq.forall
                  (fun number -> (Window.tryFind number window).IsSome = model.ContainsKey number)
                  (seq { first - 3L .. window.Next + 3L })

          testCase "a window that is emptied one by one keeps its memory" (fun () ->
              let item = obj ()
              let mutable window: Window<obj> = Window.startingAt 0L

              let turn n =
                  let struct (next, _) = Window.add n item window
                  window <- Window.dropTo (n + 1L) next

              for n in 0L .. 999L do
                  turn n

              let before = System.GC.GetAllocatedBytesForCurrentThread()

              for n in 1000L .. 1999L do
                  turn n

              let each = (System.GC.GetAllocatedBytesForCurrentThread() - before) / 1000L
              Expect.isLessThan each 60L "octets a packet") ]

let tests =
    testList
        "Reception"
        [ windowTests

          testCase "a source that nothing vouches for is valid after two packets in sequence, RFC 3550 A.1" (fun () ->
              let r, arrivals = take [ 7; 9; 10; 11 ] (Reception.create Reception.MinSequential)
              Expect.equal arrivals [ Arrival.Invalid; Arrival.Invalid; Arrival.New; Arrival.New ] "arrivals"
              Expect.isTrue (Reception.isValid r) "valid"
              Expect.equal r.Received 2L "counting begins when it is valid")

          testCase "one that SRTP vouches for is valid at once" (fun () ->
              let r, arrivals = take [ 7 ] (Reception.create 1)
              Expect.equal arrivals [ Arrival.New ] "arrivals"
              Expect.equal (Reception.expected r) 1L "expected")

          testCase "losses, duplicates and disorder are counted as RFC 3550 A.3 has it" (fun () ->
              let r, arrivals = take [ 1; 2; 4; 4; 3; 7; 8 ] (Reception.create 1)

              Expect.equal
                  arrivals
                  [ Arrival.New
                    Arrival.New
                    Arrival.New
                    Arrival.Duplicate
                    Arrival.New
                    Arrival.New
                    Arrival.New ]
                  "arrivals"

              Expect.equal (Reception.expected r) 8L "1 to 8"
              Expect.equal (Reception.lost r) 1L "5 and 6 lost, 4 twice"
              let block, r = report (at 200) r
              Expect.equal block.FractionLost 32uy "one of eight, in 256ths"
              Expect.equal block.CumulativeLost 1 "cumulative"
              Expect.equal block.HighestSequence 8u "highest"
              let r, _ = take [ 9; 10; 12; 14 ] r
              let block, _ = report (at 300) r
              Expect.equal block.FractionLost (byte (2 * 256 / 6)) "two of six since the last report"
              Expect.equal block.CumulativeLost 3 "cumulative goes on"
              let r, _ = take [ 14; 14; 14; 14; 14 ] r
              let block, _ = report (at 300) r
              Expect.equal block.CumulativeLost -2 "duplicates count against losses")

          testCase "the extended sequence number counts cycles" (fun () ->
              let r, _ = take [ 65534; 65535; 65536; 65537 ] (Reception.create 1)
              Expect.equal (Reception.extendedHighest r) 0x1_0001u "one cycle"
              Expect.equal (Reception.lost r) 0L "none lost")

          testCase "a jump is believed when a second packet follows it, and leads ahead" (fun () ->
              let r, _ = take [ 100; 101 ] (Reception.create 1)
              let highest = r.Highest
              let struct (r, first, _) = Reception.received (at 100) 40_000us 0u 8000 r
              let struct (r, second, number) = Reception.received (at 120) 40_001us 160u 8000 r
              Expect.equal first Arrival.Invalid "one alone is noise"
              Expect.equal second Arrival.Restarted "two are a new beginning"
              Expect.isGreaterThan number highest "numbers never go back"
              Expect.equal (Reception.expected r) 1L "counting begins anew"
              // And back, which unwraps to less: it leads ahead all the same.
              let struct (r, _, _) = Reception.received (at 140) 20_000us 0u 8000 r
              let struct (_, again, later) = Reception.received (at 160) 20_001us 0u 8000 r
              Expect.equal again Arrival.Restarted "anew"
              Expect.isGreaterThan later number "ahead")

          testCase "what comes on time has no jitter, and jitter follows RFC 3550 A.8" (fun () ->
              let r, _ = take [ 1..50 ] (Reception.create 1)
              Expect.equal (Reception.jitter r) 0.0 "on time"
              // By hand: J += |D| - (J + 8) / 16, in 16ths. Late by 5 ms, 40 units: then 5 ms early against it.
              let struct (r, _, _) =
                  Reception.received (at (20 * 51 + 5)) 51us (160u * 51u) 8000 r

              Expect.equal r.Jitter 40L "first"
              let struct (r, _, _) = Reception.received (at (20 * 52)) 52us (160u * 52u) 8000 r
              Expect.equal r.Jitter (40L + 40L - 3L) "second"
              let block, _ = report (at 2000) r
              Expect.equal block.Jitter 4u "in units of the clock")

          testCase "packets of one frame share a timestamp, which is no jitter" (fun () ->
              let mutable r = Reception.create 1

              for frame in 0..29 do
                  for i in 0..9 do
                      let struct (next, _, _) =
                          Reception.received
                              (at (33 * frame + 2 * i))
                              (uint16 (10 * frame + i))
                              (uint32 (2970 * frame))
                              90_000
                              r

                      r <- next

              Expect.equal (Reception.jitter r) 0.0 "paced, not jittered")

          testCase "the last sender report and its delay are told" (fun () ->
              let r, _ = take [ 1; 2 ] (Reception.create 1)
              let block, _ = report (at 100) r
              Expect.equal (block.LastSenderReport, block.DelaySinceLastSenderReport) (0u, 0u) "none heard"
              let r = Reception.heard (at 100) 0x1122_3344_5566_7788UL r
              let block, _ = report (at 1600) r
              Expect.equal block.LastSenderReport 0x3344_5566u "the middle 32 bits"
              Expect.equal block.DelaySinceLastSenderReport 98_304u "1.5 s in 65,536ths")

          testCase "a repaired packet is known, and counted in no report" (fun () ->
              let r, _ = take [ 1; 2; 4 ] (Reception.create 1)
              let struct (r, arrival, number) = Reception.repaired 3us r
              Expect.equal arrival Arrival.New "it was missing"
              Expect.equal (Sequence.wrap number) 3us "number"
              let struct (_, again, _) = Reception.repaired 3us r
              Expect.equal again Arrival.Duplicate "once"
              Expect.equal (Reception.lost r) 1L "the network lost it all the same")

          testPropertyWithConfig
              Laws.config
              "whatever the numbers: nothing is new twice in a window, and nothing throws"
          <| fun (seed: int64) ->
              let draws = Draws seed
              let mutable r = Reception.create 1
              let mutable seen = HashSet<int64>()
              let mutable ok = true
              let mutable s = draws.Below 65_536

              for n in 1..500 do
                  s <-
                      match draws.Below 20 with
                      | 0 -> draws.Below 65_536
                      | 1
                      | 2 -> s - draws.Below 200
                      | 3 -> s + draws.Below 300
                      | _ -> s + 1

                  let struct (next, arrival, number) =
                      Reception.received (at n) (uint16 s) (uint32 (draws.Below 100_000)) 90_000 r

                  match arrival with
                  | Arrival.New ->
                      let known = seen.Add number
                      ok <- ok && (known || next.Highest - number >= 256L)
                  | Arrival.Restarted ->
                      ok <- ok && number > r.Highest
                      seen <- HashSet [ number ]
                  | _ -> ()

                  r <- next
                  let struct (_, reported) = Reception.report (at n) 1u r

                  if draws.Below 10 = 0 then
                      r <- reported

              ok

          testCase "a packet costs no allocation" (fun () ->
              let mutable r = Reception.create 1

              let turn n =
                  let struct (next, _, _) =
                      Reception.received (at n) (uint16 n) (uint32 (160 * n)) 8000 r

                  r <- next

              for n in 0..999 do
                  turn n

              let before = System.GC.GetAllocatedBytesForCurrentThread()

              for n in 1000..1999 do
                  turn n

              Expect.equal (System.GC.GetAllocatedBytesForCurrentThread() - before) 0L "octets") ]
