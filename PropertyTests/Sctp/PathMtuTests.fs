module Hybrid.WebRtc.PropertyTests.Sctp.PathMtuTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.Stack

let private configOf (datagram: int) (limit: int) : SctpConfig =
    { SctpConfig.create SystemCiphers.Shared with
        Mtu = SctpConfig.packetIn datagram
        MaxMtu = SctpConfig.packetIn (max datagram limit) }

let private rto = Duration.milliseconds 400L

/// What happens to discovery.
type private Happening =
    /// Data that fills packets is sent.
    | Busy
    /// Time goes on to the deadline; what is sent is answered if the path carries it and `lucky`.
    | Go of lucky: bool
    /// T3 expires; the cumulative TSN has moved or not.
    | Expired of moved: bool
    | Rerouted
    /// An answer to a probe of any path and size.
    | Stray of generation: int * size: int
    | Wait of seconds: int

let private happening =
    Gen.frequency
        [ 4, Gen.constant Busy
          12, Gen.map Go (Gen.frequency [ 5, Gen.constant true; 1, Gen.constant false ])
          2, Gen.map Expired (Gen.elements [ true; false ])
          1, Gen.constant Rerouted
          1, Gen.map2 (fun g s -> Stray(g, s)) (Gen.choose (0, 3)) (Gen.choose (0, 70_000))
          1, Gen.map Wait (Gen.choose (1, 700)) ]

let private scene =
    gen {
        let! datagram = Gen.choose (576, 9000)
        let! limit = Gen.choose (500, 65_507)
        let! carries = Gen.choose (500, 10_000)
        let! happenings = Gen.listOf happening
        return datagram, limit, carries, happenings
    }

let private deadline (path: PathMtu) = path.At

let private machine: Laws.Machine<PathMtu, unit, int> =
    { Step =
        fun now () path ->
            let struct (size, path) = PathMtu.tick now rto path
            struct (path, (if size = 0 then [] else [ size ]))
      Deadline = deadline
      Tick = () }

/// Runs a scene; `check` sees each change, with what was sent.
let private play check (datagram, limit, carries, happenings) =
    let config = configOf datagram limit
    let mutable now = Duration.seconds 1L
    let mutable cumulative = 0L
    let mutable path = PathMtu.create config

    for happening in happenings do
        Laws.earlyTick machine now path
        Laws.tickMovesOn machine path
        let before = path
        let mutable sent = 0

        match happening with
        | Busy ->
            if path.Resume <= now then
                path <- PathMtu.wanted now config path
        | Go lucky when path.At <> Instant.never ->
            now <- max now path.At
            let struct (size, next) = PathMtu.tick now rto path
            path <- next
            sent <- size

            if size > 0 && lucky && size <= SctpConfig.packetIn carries then
                path <- PathMtu.answered (now + Duration.milliseconds 20L) config path.Generation size path
        | Go _ -> ()
        | Expired moved ->
            if moved then
                cumulative <- cumulative + 1L

            path <- PathMtu.timedOut now config cumulative path
        | Rerouted -> path <- PathMtu.rerouted config path
        | Stray(generation, size) -> path <- PathMtu.answered now config (uint32 generation) size path
        | Wait seconds -> now <- now + Duration.seconds (int64 seconds)

        check config happening before sent path

/// Searches until it rests; answers the path and how many probes it took.
let private searched (config: SctpConfig) (carries: int) (path: PathMtu) : PathMtu * int =
    let mutable path = path
    let mutable probes = 0

    while path.At <> Instant.never do
        let now = path.At
        let struct (size, next) = PathMtu.tick now rto path
        path <- next

        if size > 0 then
            probes <- probes + 1

            if size <= carries then
                path <- PathMtu.answered now config path.Generation size path

    path, probes

let private laws =
    testList
        "Laws"
        [ testPropertyWithConfig Laws.config "no probe exceeds the limit, and no size falls below the base"
          <| Prop.forAll
              (Arb.fromGen scene)
              (play (fun config _ _ sent path ->
                  Expect.isLessThanOrEqual sent config.MaxMtu "a probe"
                  Expect.isLessThanOrEqual path.Current config.MaxMtu "a size"
                  Expect.isGreaterThanOrEqual path.Current config.Mtu "a size"

                  if config.MaxMtu <= config.Mtu then
                      Expect.equal sent 0 "nothing to discover"))

          testPropertyWithConfig Laws.config "the size grows by answers alone, and shrinks in black holes alone"
          <| Prop.forAll
              (Arb.fromGen scene)
              (play (fun config happening before _ path ->
                  match happening with
                  | Go true
                  | Stray _ -> Expect.isGreaterThanOrEqual path.Current before.Current "grows"
                  | Expired _
                  | Rerouted ->
                      Expect.isTrue (path.Current = before.Current || path.Current = config.Mtu) "back to the base"
                  | Go false
                  | Busy
                  | Wait _ -> Expect.equal path.Current before.Current "stays"))

          testPropertyWithConfig Laws.config "a black hole is found with the second T3 that nothing came between"
          <| Prop.forAll
              (Arb.fromGen scene)
              (play (fun config _ _ _ path ->
                  let mutable hole = path

                  for _ in 1 .. PathMtu.BlackHole do
                      hole <- PathMtu.timedOut (Duration.seconds 1000L) config 77L hole

                  Expect.equal hole.Current config.Mtu "back to the base"

                  if path.Current > config.Mtu then
                      Expect.equal hole.Phase PathPhase.Base "it is confirmed anew"
                      Expect.equal hole.At (Duration.seconds 1000L) "at once"
                      Expect.isGreaterThan hole.Generation path.Generation "old answers are over"

                  let once = PathMtu.timedOut (Duration.seconds 1000L) config 77L path
                  Expect.equal once.Current path.Current "one is not enough"))

          testPropertyWithConfig Laws.config "there is no timer where there is no probing"
          <| Prop.forAll
              (Arb.fromGen scene)
              (play (fun _ _ _ _ path ->
                  Expect.isTrue (path.At = Instant.never || path.Resume = Instant.never) "one of the two at most"

                  if path.Phase = PathPhase.Disabled || path.Phase = PathPhase.SearchComplete then
                      Expect.equal path.At Instant.never "at rest")) ]

let private steps =
    testList
        "Search"
        [ testCase "it finds the greatest step that the path carries, with at most three probes lost" (fun () ->
              for limit in [ 1200; 1300; 1472; 9000; 65_507 ] do
                  for carries in 1200..4..10_000 do
                      let config = configOf 1200 limit
                      let packet = SctpConfig.packetIn carries

                      let path, probes =
                          searched config packet (PathMtu.wanted 0L<us> config (PathMtu.create config))

                      if limit = 1200 then
                          Expect.equal (path.Current, probes) (config.Mtu, 0) "no discovery"
                      else
                          Expect.isLessThanOrEqual path.Current packet "the path carries it"

                          let beyond = PathMtu.next config path.Current
                          Expect.isTrue (beyond = path.Current || beyond > packet) "and not the step beyond"
                          Expect.isLessThan probes 16 "a dozen probes")

          testCase "Ethernet over IPv4 and IPv6, tunnels, and the least that IPv6 carries" (fun () ->
              for carries, found in [ 1472, 1472; 1452, 1444; 1392, 1372; 1280, 1280; 1232, 1200 ] do
                  let config = configOf 1200 1472

                  let path, _ =
                      searched
                          config
                          (SctpConfig.packetIn carries)
                          (PathMtu.wanted 0L<us> config (PathMtu.create config))

                  Expect.equal path.Current (SctpConfig.packetIn found) (string carries)
                  Expect.equal path.Phase PathPhase.SearchComplete "complete")

          testCase "where nothing is answered the first size stays in use, and is tried again later" (fun () ->
              let config = configOf 1200 1472

              let path, probes =
                  searched config 0 (PathMtu.wanted 0L<us> config (PathMtu.create config))

              Expect.equal (path.Phase, path.Current, probes) (PathPhase.Error, config.Mtu, PathMtu.MaxProbes) "ERROR"
              Expect.isFalse path.Fragments "no reason to fragment"
              let later = path.Resume

              let path, _ = searched config config.MaxMtu (PathMtu.wanted later config path)

              Expect.equal path.Current config.MaxMtu "answered at last")

          testCase "where not even the first size passes, packets may be fragmented until it does" (fun () ->
              let config = configOf 1200 1472
              let mutable path = PathMtu.create config

              for _ in 1 .. PathMtu.BlackHole do
                  path <- PathMtu.timedOut 0L<us> config 5L path

              Expect.isTrue path.Fragments "fragments"
              Expect.equal path.At 0L<us> "and probes"
              let path, _ = searched config config.MaxMtu path
              Expect.isFalse path.Fragments "no more"
              Expect.equal path.Current config.MaxMtu "all is well") ]

// ---- Associations ----

let private packet = SctpConfig.packetIn

let private carrying (mtu: int) = { Weather.fair with Mtu = mtu }

/// A megabyte, in messages of 20,000 octets, from `first` on.
let private transfer (who: int) (first: int) (pair: SctpPair) =
    for i in first .. first + 49 do
        pair.Send(who, 1 + i % 3, Numbered.make i 20_000)

let private isProbe (bytes: byte[]) =
    bytes[12] = Kind.Heartbeat && bytes.Length > 200

let private worlds =
    testList
        "Associations"
        [ for carries, found in [ 1472, 1472; 1500, 1472; 1400, 1372; 1280, 1280; 1200, 1200 ] do
              testCase $"a path of {carries}: packets of {found}, and no loss of probes counts as congestion" (fun () ->
                  let pair = pair (carrying carries) 1L
                  pair.Establish()
                  transfer 0 0 pair
                  Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 50 pair.B)) "all arrives"
                  pair.Run(Duration.seconds 5L)
                  Expect.equal (Sctp.mtu pair.A.State) (packet found) "found"
                  let figures = (Sctp.figures pair.A.State).Value
                  Expect.equal figures.Retransmissions 0L "nothing was lost but probes"
                  Expect.equal (Sctp.mtu pair.B.State) (packet 1200) "who sends nothing asks nothing")

          testCase "six round trips to the full size on Ethernet" (fun () ->
              let pair = pair (carrying 1472) 1L
              pair.Establish()
              transfer 0 0 pair
              let full () = Sctp.mtu pair.A.State = packet 1472
              Expect.isTrue (pair.Until(Duration.milliseconds 150L, full)) "found while the window opens")

          testCase "an association at rest, or with little to say, sends no probe and has no timer for one" (fun () ->
              let pair = pair (carrying 1472) 1L
              let mutable probes = 0

              pair.Filter <-
                  fun _ bytes ->
                      probes <- probes + (if isProbe bytes then 1 else 0)
                      true

              pair.Establish()

              for i in 1..100 do
                  pair.Send(i % 2, 1, Numbered.make i 500)
                  pair.Run(Duration.seconds 1L)

              pair.Run(minutes 30L)
              Expect.equal probes 0 "none")

          testCase "where the limit is the first size there is no discovery" (fun () ->
              let pair = SctpPair(carrying 1472, 1L, (fun c -> { c with MaxMtu = c.Mtu }))

              pair.Filter <-
                  fun _ bytes ->
                      Expect.isFalse (isProbe bytes) "no probe"
                      true

              pair.Establish()
              transfer 0 0 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 50 pair.B)) "all arrives"
              Expect.equal (Sctp.mtu pair.A.State) (packet 1200) "as it began")

          testCase "a peer that answers no probe keeps the first size and loses no speed" (fun () ->
              let pair = pair (carrying 1472) 1L
              pair.Filter <- fun _ bytes -> not (isProbe bytes)
              pair.Establish()
              transfer 0 0 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 50 pair.B)) "all arrives"
              Expect.equal (Sctp.mtu pair.A.State) (packet 1200) "as it began"
              Expect.equal (Sctp.figures pair.A.State).Value.Retransmissions 0L "nothing is amiss")

          for shrunk, found in [ 1400, 1372; 1280, 1280; 1200, 1200; 600, 1200 ] do
              seeds
                  (if shrunk = 600 then 3 else 10)
                  $"a path that shrinks to {shrunk} under way: every message arrives, and packets are of {found} again"
                  (fun seed ->
                      let weather =
                          { Weather.fair with
                              Mtu = 1472
                              Loss = if seed % 3L = 0L then 0.02 else 0.0
                              Jitter = Duration.milliseconds (seed % 2L) }

                      let pair = pair weather seed
                      pair.Establish()
                      transfer 0 0 pair
                      transfer 1 1000 pair
                      Expect.isTrue (pair.Until(Duration.seconds 60L, arrived (int seed % 30) pair.B)) "it begins"
                      pair.Weather <- { weather with Mtu = shrunk }
                      transfer 0 50 pair
                      transfer 1 1050 pair
                      Expect.isTrue (pair.Until(minutes 10L, arrived 100 pair.B)) "all arrives"
                      Expect.isTrue (pair.Until(minutes 10L, arrived 100 pair.A)) "both ways"

                      for e in pair.Ends do
                          Expect.isLessThanOrEqual (Sctp.mtu e.State) (packet found) "no more than it carries"

                      for e, first in [ pair.B, 0; pair.A, 1000 ] do
                          Expect.equal (List.sort (numbers e)) [ first .. first + 99 ] "each once")

          testCase "small messages do not hide a black hole" (fun () ->
              let pair = pair (carrying 1472) 3L
              pair.Establish()
              transfer 0 0 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 50 pair.B)) "all arrives"
              pair.Weather <- carrying 1280
              pair.Send(0, 9, Numbered.make 100 5_000)

              for i in 101..160 do
                  pair.Send(0, 8, Numbered.make i 50, ordered = false)
                  pair.Run(Duration.milliseconds 50L)

              Expect.isTrue (pair.Until(Duration.seconds 10L, arrived 111 pair.B)) "all arrives")

          testCase "a path that has grown is found out after PMTU_RAISE_TIMER, when there is data" (fun () ->
              let pair = pair (carrying 1280) 1L
              pair.Establish()
              transfer 0 0 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 50 pair.B)) "all arrives"
              Expect.equal (Sctp.mtu pair.A.State) (packet 1280) "at first"
              pair.Weather <- carrying 1472
              transfer 0 50 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 100 pair.B)) "all arrives"
              Expect.equal (Sctp.mtu pair.A.State) (packet 1280) "too soon to look"
              pair.Run PathMtu.raise
              transfer 0 100 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 150 pair.B)) "all arrives"
              Expect.equal (Sctp.mtu pair.A.State) (packet 1472) "found")

          testCase "another path begins anew; answers from the old one say nothing of it" (fun () ->
              let pair = pair (carrying 1472) 1L
              let answers = ResizeArray<byte[]>()

              pair.Filter <-
                  fun who bytes ->
                      if who = 1 && bytes[12] = Kind.HeartbeatAck then
                          answers.Add bytes

                      true

              pair.Establish()
              transfer 0 0 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 50 pair.B)) "all arrives"
              pair.Run(Duration.seconds 5L)
              Expect.equal (Sctp.mtu pair.A.State) (packet 1472) "found"
              let old = answers.ToArray()
              Expect.equal old.Length 5 "a base, and four steps"
              pair.Weather <- carrying 1280
              pair.Step(0, SctpInput.PathChanged 0)
              Expect.equal (Sctp.mtu pair.A.State) (packet 1200) "the first size"
              transfer 0 50 pair

              for _ in 1..200 do
                  for answer in old do
                      pair.Inject(0, answer)

                  pair.Run(Duration.milliseconds 25L)
                  Expect.isLessThanOrEqual (Sctp.mtu pair.A.State) (packet 1280) "what this path has"

              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 100 pair.B)) "all arrives"
              Expect.equal (Sctp.mtu pair.A.State) (packet 1280) "found again")

          testCase "a jumbo path, where it is asked for" (fun () ->
              let pair = SctpPair(carrying 8_972, 1L, (fun c -> { c with MaxMtu = packet 8_972 }))

              pair.Establish()
              transfer 0 0 pair
              Expect.isTrue (pair.Until(Duration.seconds 20L, arrived 50 pair.B)) "all arrives"
              pair.Run(Duration.seconds 5L)
              Expect.equal (Sctp.mtu pair.A.State) (packet 8_972) "found") ]

let tests = testList "Sctp path MTU" [ laws; steps; worlds ]
