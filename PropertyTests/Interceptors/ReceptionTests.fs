module Hybrid.WebRtc.PropertyTests.Interceptors.ReceptionTests

open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private start = 0x1_0000L

let private at (n: int) : Instant = 1_000_000L<us> + ms n

/// Packets of 20 ms at 8,000 Hz, on time.
let private take (sequences: int list) (reception: Reception) : Reception =
    List.fold
        (fun r s -> Reception.received (at (20 * s)) (start + int64 s) (uint32 (160 * s)) 8000 r)
        reception
        sequences

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

          testCase "losses, duplicates and disorder are counted as RFC 3550 A.3 has it" (fun () ->
              let r = take [ 1; 2; 4; 4; 3; 7; 8 ] (Reception.create ())
              Expect.equal (Reception.lost r) 1L "5 and 6 lost, 4 twice"
              let block, r = report (at 200) r
              Expect.equal block.FractionLost 32uy "one of eight, in 256ths"
              Expect.equal block.CumulativeLost 1 "cumulative"
              Expect.equal block.HighestSequence 8u "highest"
              let r = take [ 9; 10; 12; 14 ] r
              let block, _ = report (at 300) r
              Expect.equal block.FractionLost (byte (2 * 256 / 6)) "two of six since the last report"
              Expect.equal block.CumulativeLost 3 "cumulative goes on"
              let r = take [ 14; 14; 14; 14; 14 ] r
              let block, _ = report (at 300) r
              Expect.equal block.CumulativeLost -2 "duplicates count against losses")

          testCase "the extended sequence number counts cycles" (fun () ->
              let r = take [ 65534; 65535; 65536; 65537 ] (Reception.create ())
              let block, _ = report (at 300) r
              Expect.equal block.HighestSequence 0x1_0001u "one cycle"
              Expect.equal (Reception.lost r) 0L "none lost")

          testCase "what comes on time has no jitter, and jitter follows RFC 3550 A.8" (fun () ->
              let r = take [ 1..50 ] (Reception.create ())
              Expect.equal r.Jitter 0.0 "on time"
              // By hand: J += (|D| - J) / 16. Late by 5 ms, 40 units; then 5 ms early against it.
              let r = Reception.received (at (20 * 51 + 5)) (start + 51L) (160u * 51u) 8000 r
              Expect.floatClose Accuracy.high r.Jitter 2.5 "first"
              let r = Reception.received (at (20 * 52)) (start + 52L) (160u * 52u) 8000 r
              Expect.floatClose Accuracy.high r.Jitter (2.5 + (40.0 - 2.5) / 16.0) "second"
              let block, _ = report (at 2000) r
              Expect.equal block.Jitter 4u "in units of the clock")

          testCase "packets of one frame share a timestamp, which is no jitter" (fun () ->
              let mutable r = Reception.create ()

              for frame in 0..29 do
                  for i in 0..9 do
                      r <-
                          Reception.received
                              (at (33 * frame + 2 * i))
                              (start + int64 (10 * frame + i))
                              (uint32 (2970 * frame))
                              90_000
                              r

              Expect.isLessThan r.Jitter 0.001 "paced, not jittered")

          testCase "the last sender report and its delay are told" (fun () ->
              let r = take [ 1; 2 ] (Reception.create ())
              let block, _ = report (at 100) r
              Expect.equal (block.LastSenderReport, block.DelaySinceLastSenderReport) (0u, 0u) "none heard"
              let r = Reception.senderReport (at 100) 0x1122_3344_5566_7788UL r
              let block, _ = report (at 1600) r
              Expect.equal block.LastSenderReport 0x3344_5566u "the middle 32 bits"
              Expect.equal block.DelaySinceLastSenderReport 98_304u "1.5 s in 65,536ths")

          testCase "the round trip is A - LSR - DLSR: the example of RFC 3550 6.4.1" (fun () ->
              let struct (block, _) = Reception.report (at 0) 1u (Reception.create ())

              let block =
                  { block with
                      LastSenderReport = 0xb705_2000u
                      DelaySinceLastSenderReport = 0x0005_4000u }

              Expect.equal
                  (RtcpReports.roundTrip 0x0000_b710_8000_0000UL block)
                  (ValueSome(Duration.microseconds 6_125_000L))
                  "6.125 s"

              let none = { block with LastSenderReport = 0u }
              Expect.equal (RtcpReports.roundTrip 0x0000_b710_8000_0000UL none) ValueNone "no report heard")

          testCase "each compound begins with a report, has the CNAME of each who speaks, and fits a path" (fun () ->
              let struct (block, _) = Reception.report (at 0) 1u (Reception.create ())

              let info: SenderInfo =
                  { NtpTime = 1UL
                    RtpTime = 2u
                    PacketCount = 3u
                    OctetCount = 4u }

              for senders in [ 0; 1; 2; 40; 100 ] do
                  for receptions in [ 0; 1; 31; 32; 200 ] do
                      let compounds =
                          RtcpReports.compounds
                              9u
                              (Array.init senders (fun i -> struct (uint32 (100 + i), info)))
                              (Array.init receptions (fun i -> { block with Ssrc = uint32 (1000 + i) }))
                              "name@host"

                      let mutable reported = []
                      let mutable sent = []

                      for compound in compounds do
                          let mutable octets = 0
                          let mutable speakers = Set.empty

                          for packet in compound do
                              match packet with
                              | SenderReport(ssrc, _, blocks) ->
                                  octets <- octets + 28 + 24 * blocks.Length
                                  speakers <- speakers.Add ssrc
                                  sent <- sent @ [ ssrc ]
                                  Expect.isLessThanOrEqual blocks.Length 31 "blocks"
                                  reported <- reported @ [ for b in blocks -> b.Ssrc ]
                              | ReceiverReport(ssrc, blocks) ->
                                  octets <- octets + 8 + 24 * blocks.Length
                                  speakers <- speakers.Add ssrc
                                  Expect.isLessThanOrEqual blocks.Length 31 "blocks"
                                  reported <- reported @ [ for b in blocks -> b.Ssrc ]
                              | SourceDescription chunks ->
                                  octets <- octets + 4 + 16 * chunks.Length
                                  Expect.isLessThanOrEqual chunks.Length 31 "chunks"
                                  Expect.equal (Set.ofSeq [ for c in chunks -> c.Source ]) speakers "who speaks"
                              | _ -> failtest "unexpected"

                          match compound[0], compound[compound.Length - 1] with
                          | (SenderReport _ | ReceiverReport _), SourceDescription _ -> ()
                          | _ -> failtest "a report comes first, the description last"

                          Expect.isLessThanOrEqual octets RtcpReports.MaxCompound "size"

                      Expect.isGreaterThan compounds.Length 0 "one at least"
                      Expect.equal reported [ for i in 0 .. receptions - 1 -> uint32 (1000 + i) ] "each once"
                      Expect.equal sent [ for i in 0 .. senders - 1 -> uint32 (100 + i) ] "each sender once")

          testCase "a packet costs no allocation" (fun () ->
              let mutable r = Reception.create ()

              let turn n =
                  r <- Reception.received (at n) (start + int64 n) (uint32 (160 * n)) 8000 r

              for n in 0..999 do
                  turn n

              let before = System.GC.GetAllocatedBytesForCurrentThread()

              for n in 1000..1999 do
                  turn n

              Expect.equal (System.GC.GetAllocatedBytesForCurrentThread() - before) 0L "octets") ]
