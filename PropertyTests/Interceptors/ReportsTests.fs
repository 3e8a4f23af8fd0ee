module Hybrid.WebRtc.PropertyTests.Interceptors.ReportsTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

let private machine: Laws.Machine<Reports.State, unit, Reports.Output> =
    { Step = fun now () state -> Reports.tick now state
      Deadline = Reports.deadline
      Tick = () }

/// 2020-01-01T00:00:00Z, in microseconds since 1970.
let private unix = 1_577_836_800_000_000L

let private created (seed: int64) =
    Reports.create 0L<us> (Ntp.offset 0L<us> unix) "name@host" (Entropy.ofNumber seed)

let private block (ssrc: int) : ReceptionReport =
    { Ssrc = uint32 ssrc
      FractionLost = 0uy
      CumulativeLost = 0
      HighestSequence = 0u
      Jitter = 0u
      LastSenderReport = 0u
      DelaySinceLastSenderReport = 0u }

let private sender (ssrc: int) : SentCounters =
    { Ssrc = uint32 ssrc
      Packets = 10L
      Octets = 1000L
      Timestamp = 90_000u
      TimestampAt = ms 1000
      ClockRate = 90_000 }

let private rtt (now: Instant) (state: Reports.State) (lsr: uint32) (delay: uint32) =
    let report =
        { block 1 with
            LastSenderReport = lsr
            DelaySinceLastSenderReport = delay }

    Reports.roundTrip now &report state

let tests =
    testList
        "Reports"
        [ testCase
              "go out about once a second, never less than half and never more than one and a half apart"
              (fun () ->
                  for seed in 1L .. 50L do
                      let mutable s = created seed
                      Expect.isLessThanOrEqual (Reports.deadline s) (ms 750) "the first comes early"
                      let mutable last = Reports.deadline s

                      for _ in 1..20 do
                          Laws.earlyTick machine (Reports.deadline s - 1L<us>) s
                          Laws.tickMovesOn machine s
                          let now = Reports.deadline s
                          let struct (next, outputs) = Reports.tick now s
                          Expect.hasLength outputs 1 "due"
                          s <- next
                          let wait = Reports.deadline s - now
                          Expect.isTrue (wait >= ms 500 && wait < ms 1500) $"{wait}"
                          last <- now

                      Expect.isTrue (last > ms 10_000 && last < ms 30_000) "a second on average"
                      Expect.equal (Reports.deadline (Reports.leave s)) Instant.never "until it is left")

          testCase "NTP time: 2020-01-01 is 3,786,825,600 s after 1900, and back again" (fun () ->
              let offset = Ntp.offset 0L<us> unix
              Expect.equal (Ntp.time offset 0L<us> >>> 32) 3_786_825_600UL "seconds"
              Expect.equal (Ntp.time offset (ms 500) &&& 0xFFFF_FFFFUL >>> 31) 1UL "half a second"

              for now in [ 0L<us>; 1L<us>; 999_999L<us>; 123_456_789L<us> ] do
                  Expect.equal (Ntp.instant offset (Ntp.time offset now)) now "round trip")

          testCase "the round trip is A - LSR - DLSR: the example of RFC 3550 6.4.1" (fun () ->
              Expect.equal
                  (RoundTripTimes.measured 0xb710_8000u 0xb705_2000u 0x0005_4000u)
                  (ValueSome(Duration.microseconds 6_125_000L))
                  "6.125 s"

              Expect.equal (RoundTripTimes.measured 0xb710_8000u 0u 5u) ValueNone "no report heard"
              Expect.equal (RoundTripTimes.measured 5u 0x8000_0000u 5u) ValueNone "nonsense"
              Expect.equal (RoundTripTimes.measured 100u 99u 2u) (ValueSome 0L<us>) "clocks' grain")

          testCase "a sender report, told back, gives the round trip" (fun () ->
              let s = created 1L
              let struct (compounds, s) = Reports.compose (ms 2000) 9u [| sender 1 |] [||] s

              match compounds with
              | [| [| SenderReport(1u, info, [||]); SourceDescription [| chunk |] |] |] ->
                  Expect.equal info.RtpTime 180_000u "the stream's clock, now"
                  Expect.equal (info.PacketCount, info.OctetCount) (10u, 1000u) "counters"
                  Expect.equal chunk.Source 1u "source"
                  Expect.equal (chunk.Items[0].Type, chunk.Items[0].Text) (1uy, "name@host") "CNAME"
                  // 30 ms there, held for 250 ms, 30 ms back.
                  let heard = Reception.heard (ms 2030) info.NtpTime (Reception.create 1)
                  let struct (told, _) = Reception.report (ms 2280) 1u heard

                  match rtt (ms 2310) s told.LastSenderReport told.DelaySinceLastSenderReport with
                  | ValueSome time -> Expect.isLessThan (abs (time - ms 60)) (Duration.microseconds 50L) "60 ms"
                  | ValueNone -> failtest "no round trip"
              | other -> failtest $"{other.Length} compounds")

          testCase "each compound begins with a report, has the CNAME of each who speaks, and fits a path" (fun () ->
              for senders in [ 0; 1; 2; 40; 100 ] do
                  for receptions in [ 0; 1; 31; 32; 200 ] do
                      let struct (compounds, _) =
                          Reports.compose
                              (ms 2000)
                              9u
                              (Array.init senders (fun i -> sender (100 + i)))
                              (Array.init receptions (fun i -> block (1000 + i)))
                              (created 1L)

                      let mutable reported = []

                      for compound in compounds do
                          let mutable octets = 0
                          let mutable speakers = []

                          for packet in compound do
                              match packet with
                              | SenderReport(ssrc, _, blocks) ->
                                  octets <- octets + 28 + 24 * blocks.Length
                                  speakers <- ssrc :: speakers
                                  Expect.isLessThanOrEqual blocks.Length 31 "blocks"
                                  reported <- reported @ [ for b in blocks -> b.Ssrc ]
                              | ReceiverReport(ssrc, blocks) ->
                                  octets <- octets + 8 + 24 * blocks.Length
                                  speakers <- ssrc :: speakers
                                  Expect.isLessThanOrEqual blocks.Length 31 "blocks"
                                  reported <- reported @ [ for b in blocks -> b.Ssrc ]
                              | SourceDescription chunks ->
                                  octets <- octets + 4 + 16 * chunks.Length

                                  Expect.equal
                                      (Set.ofArray (chunks |> Array.map _.Source))
                                      (Set.ofList speakers)
                                      "who speaks"
                              | _ -> failtest "unexpected"

                          match compound[0] with
                          | SenderReport _
                          | ReceiverReport _ -> ()
                          | _ -> failtest "a report comes first"

                          Expect.isLessThanOrEqual octets Reports.MaxCompound "size"

                      Expect.equal reported [ for i in 0 .. receptions - 1 -> uint32 (1000 + i) ] "each once")

          testCase "who only receives asks by RRTR and learns its round trip by DLRR, RFC 3611 4.4 and 4.5" (fun () ->
              let viewer = created 1L |> Reports.measuring true
              let origin = created 2L

              let struct (compounds, viewer) =
                  Reports.compose (ms 2000) 9u [||] [| block 1 |] viewer

              let asked =
                  compounds
                  |> Array.concat
                  |> Array.pick (function
                      | ExtendedReport(9u, blocks) -> Some blocks
                      | _ -> None)

              let origin = Reports.extended (ms 2040) 9u asked (fun _ -> false) origin

              let struct (compounds, origin) =
                  Reports.compose (ms 2540) 1u [| sender 1 |] [||] origin

              let answered =
                  compounds
                  |> Array.concat
                  |> Array.pick (function
                      | ExtendedReport(1u, blocks) -> Some blocks
                      | _ -> None)

              let learned = Reports.extended (ms 2580) 1u answered (fun ssrc -> ssrc = 9u) viewer

              match learned.RoundTrips.Last with
              | ValueSome time -> Expect.isLessThan (abs (time - ms 80)) (Duration.microseconds 50L) "80 ms"
              | ValueNone -> failtest "no round trip"

              let others = Reports.extended (ms 2580) 1u answered (fun _ -> false) viewer
              Expect.equal others.RoundTrips.Measurements 0L "somebody else's answer"
              Expect.isEmpty origin.References "answered once")

          testCase "reference times of many receivers are bounded" (fun () ->
              let s =
                  List.fold
                      (fun s n -> Reports.extended (ms n) (uint32 n) [| ReceiverReferenceTime 1UL |] (fun _ -> true) s)
                      (created 1L)
                      [ 1..1000 ]

              Expect.isLessThanOrEqual s.References.Length 16 "bounded"
              Expect.equal s.References[s.References.Length - 1].Ssrc 1000u "the newest stay")

          testCase "feedback goes alone where reduced size was agreed on, else behind a report and the CNAME" (fun () ->
              let pli = [| PictureLossIndication(9u, 1u) |]
              Expect.hasLength (Reports.feedback true 9u pli (created 1L)) 1 "alone"

              match Reports.feedback false 9u pli (created 1L) with
              | [| ReceiverReport(9u, [||]); SourceDescription _; PictureLossIndication _ |] -> ()
              | _ -> failtest "compound")

          testCase "BYE of many sources takes several packets" (fun () ->
              match Reports.goodbye 9u [| 1u .. 40u |] "closed" (created 1L) with
              | [| ReceiverReport _; SourceDescription _; Goodbye(first, "closed"); Goodbye(second, "closed") |] ->
                  Expect.equal (Array.append first second) [| 1u .. 40u |] "all"
              | _ -> failtest "BYE") ]
