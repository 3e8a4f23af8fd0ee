module Hybrid.WebRtc.PropertyTests.Interceptors.DtmfTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private machine: Laws.Machine<DtmfSender.State, unit, DtmfSender.Output> =
    { Step = fun now () state -> DtmfSender.tick now (uint32 now * 8u / 1000u) state
      Deadline = DtmfSender.deadline
      Tick = () }

/// All that a sender says, with its time in milliseconds.
let private run (state: DtmfSender.State) : (int64 * DtmfSender.Output) list =
    let mutable s = state
    let mutable said = []

    while DtmfSender.deadline s <> Instant.never do
        let due = DtmfSender.deadline s
        Laws.earlyTick machine (due - 1L<us>) s
        Laws.tickMovesOn machine s
        let struct (next, outputs) = machine.Step due () s
        s <- next
        said <- said @ [ for output in outputs -> Duration.toMilliseconds due, output ]

    said

let private play (tones: string) (length: int) (gap: int) =
    DtmfSender.create 8000
    |> DtmfSender.insert (ms 1000) tones (ms length) (ms gap)
    |> run

let private changes said =
    [ for at, output in said do
          match output with
          | DtmfSender.ToneChange(tone, buffer) -> at, tone, buffer
          | DtmfSender.Send _ -> () ]

let private sends said =
    [ for at, output in said do
          match output with
          | DtmfSender.Send(marker, timestamp, payload) ->
              match TelephoneEvent.read (ReadOnlySpan payload) with
              | ValueSome event -> at, marker, timestamp, event
              | ValueNone -> failtest "payload"
          | DtmfSender.ToneChange _ -> () ]

let private event tone ends duration =
    TelephoneEvent.write
        { Event = tone
          End = ends
          Volume = 10uy
          Duration = duration }

let private take at marker timestamp (payload: byte[]) s =
    DtmfReceiver.received (ms at) marker timestamp (ReadOnlySpan payload) s

let private detect said =
    let mutable s = DtmfReceiver.create ()

    [ for at, output in said do
          match output with
          | DtmfSender.Send(marker, timestamp, payload) ->
              let struct (next, outputs) =
                  DtmfReceiver.received (ms (int at)) marker timestamp (ReadOnlySpan payload) s

              s <- next
              yield! outputs
          | DtmfSender.ToneChange _ -> () ]

let tests =
    testList
        "DTMF"
        [ testCase "a sound's clock that falls back hides no tone" (fun () ->
              let mutable s =
                  DtmfSender.create 8000 |> DtmfSender.insert (ms 1000) "12*" (ms 100) (ms 70)

              let mutable said = []
              let mutable clock = 50_000u

              while DtmfSender.deadline s <> Instant.never do
                  let due = DtmfSender.deadline s
                  let struct (next, outputs) = DtmfSender.tick due clock s
                  s <- next
                  clock <- clock - 100u
                  said <- said @ [ for output in outputs -> Duration.toMilliseconds due, output ]

              let begun =
                  detect said
                  |> List.choose (fun output ->
                      match output with
                      | DtmfReceiver.ToneStarted tone -> Some tone
                      | DtmfReceiver.ToneEnded _ -> None)

              Expect.equal begun [ '1'; '2'; '*' ] "all")

          testCase "a tone: marker on the first, longer every 50 ms, the last three times, one timestamp" (fun () ->
              let said = sends (play "5" 170 70)

              Expect.equal
                  [ for at, _, _, event in said -> at, event.End, int event.Duration ]
                  [ 1000L, false, 400
                    1050L, false, 400
                    1100L, false, 800
                    1150L, false, 1200
                    1170L, true, 1360
                    1170L, true, 1360
                    1170L, true, 1360 ]
                  "durations in units of 8,000 Hz"

              Expect.equal [ for _, marker, _, _ in said -> marker ] (true :: List.replicate 6 false) "marker"
              Expect.allEqual [ for _, _, timestamp, _ in said -> timestamp ] 8000u "timestamp"
              Expect.allEqual [ for _, _, _, event in said -> event.Event ] 5uy "event")

          testCase
              "tones follow each other by their gap, a comma pauses two seconds, and an empty change ends"
              (fun () ->
                  Expect.equal
                      (changes (play "1,a#" 100 70))
                      [ 1000L, "1", ",A#"
                        1170L, ",", "A#"
                        3170L, "A", "#"
                        3340L, "#", ""
                        3510L, "", "" ]
                      "tone changes with what is left")

          testCase "durations are clamped as W3C 7.2 has it" (fun () ->
              Expect.equal (changes (play "12" 1 1)) [ 1000L, "1", "2"; 1070L, "2", ""; 1140L, "", "" ] "40 and 30 ms"

              Expect.equal
                  (fst (List.last (sends (play "1" 99_999 30) |> List.map (fun (at, _, _, e) -> at, e))))
                  7000L
                  "6 s")

          testCase "what may be inserted" (fun () ->
              for tones, valid in
                  [ "", true
                    "0123456789*#ABCDabcd,", true
                    "E", false
                    "1 2", false
                    "1-2", false ] do
                  Expect.equal (DtmfSender.isValid tones) valid tones)

          testCase "inserting while a tone sounds replaces what follows it" (fun () ->
              let s = DtmfSender.create 8000 |> DtmfSender.insert (ms 1000) "123" (ms 100) (ms 70)
              let struct (s, _) = machine.Step (ms 1000) () s
              let s = DtmfSender.insert (ms 1020) "9" (ms 100) (ms 70) s
              Expect.equal (changes (run s)) [ 1170L, "9", ""; 1340L, "", "" ] "1 ends in its time, then 9"
              let s = DtmfSender.insert (ms 1020) "" (ms 100) (ms 70) s
              Expect.equal (changes (run s)) [ 1170L, "", "" ] "nothing more")

          testCase "every tone sent is noticed, once, whatever single packet is lost or repeated" (fun () ->
              let said = play "0123456789*#ABCD" 100 70

              let expected =
                  [ for tone in "0123456789*#ABCD" do
                        DtmfReceiver.ToneStarted tone
                        DtmfReceiver.ToneEnded(tone, 800L) ]

              Expect.equal (detect said) expected "all"
              Expect.equal (detect (List.collect (fun x -> [ x; x ]) said)) expected "twice each"

              for missing in 0 .. said.Length - 1 do
                  Expect.equal (detect (List.removeAt missing said)) expected $"without packet {missing}")

          testCase "an end that was lost is noticed by the next tone, and a late packet changes nothing" (fun () ->
              let struct (s, first) =
                  take 0 true 100u (event 1uy false 400us) (DtmfReceiver.create ())

              let struct (s, second) = take 200 true 2000u (event 2uy false 400us) s
              let struct (_, late) = take 201 false 100u (event 1uy true 800us) s
              Expect.equal first [ DtmfReceiver.ToneStarted '1' ] "first"
              Expect.equal second [ DtmfReceiver.ToneEnded('1', 400L); DtmfReceiver.ToneStarted '2' ] "second"
              Expect.isEmpty late "late")

          testCase "a tone of which nothing more comes is over after a while, once" (fun () ->
              let struct (s, _) =
                  take 0 true 100u (event 7uy false 400us) (DtmfReceiver.create ())

              let struct (s, _) = take 50 false 100u (event 7uy false 800us) s
              Expect.equal (DtmfReceiver.deadline s) (ms 350) "after the last packet"
              let struct (s, early) = DtmfReceiver.tick (ms 349) s
              Expect.isEmpty early "not before"
              let struct (s, due) = DtmfReceiver.tick (ms 350) s
              Expect.equal due [ DtmfReceiver.ToneEnded('7', 800L) ] "as long as is known"
              Expect.equal (DtmfReceiver.deadline s) Instant.never "silent"
              let struct (_, after) = take 400 false 100u (event 7uy true 1200us) s
              Expect.isEmpty after "it does not end twice")

          testCase "a tone longer than its duration can say goes on under another timestamp" (fun () ->
              let struct (s, first) =
                  take 0 true 0u (event 5uy false 65_535us) (DtmfReceiver.create ())

              let struct (s, second) = take 20 false 65_600u (event 5uy false 100us) s
              let struct (s, third) = take 40 false 65_600u (event 5uy true 4_465us) s
              Expect.equal first [ DtmfReceiver.ToneStarted '5' ] "once"
              Expect.isEmpty second "the same tone"
              Expect.equal third [ DtmfReceiver.ToneEnded('5', 70_000L) ] "both together"
              let struct (_, marked) = take 60 true 90_000u (event 5uy false 100us) s
              Expect.equal marked [ DtmfReceiver.ToneStarted '5' ] "a new one")

          Laws.anyBytes "any payload is taken" (fun bytes ->
              let struct (_, outputs) =
                  DtmfReceiver.received (ms 0) true 1u (ReadOnlySpan bytes) (DtmfReceiver.create ())

              outputs.Length <= 2) ]
