/// Recorders of arrivals, send times, and the estimator's laws.
module Hybrid.WebRtc.PropertyTests.Interceptors.CongestionTests

open System
open System.Collections.Generic
open Expecto
open FsCheck
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interceptors.Bottleneck

let private ms (n: int) : Duration = Duration.milliseconds (int64 n)

/// What a feedback packet says: sequence numbers and when they came, to a quarter of a millisecond.
let private decoded (f: TransportFeedback) : (uint16 * Instant voption) list =
    let mutable at = int64 f.ReferenceTime * 64_000L<us>

    [ for i in 0 .. f.Packets.Length - 1 do
          let packet = f.Packets[i]

          if packet.Received then
              at <- at + int64 packet.Delta * 250L<us>
              (f.BaseSequence + uint16 i, ValueSome at)
          else
              (f.BaseSequence + uint16 i, ValueNone) ]

/// Octets on the wire, at most: chunks of seven, or of a run that is longer.
let private octets (f: TransportFeedback) : int =
    let mutable chunks = 0
    let mutable i = 0

    while i < f.Packets.Length do
        let mutable run = 0

        while i + run < f.Packets.Length && not f.Packets[i + run].Received && run < 8_191 do
            run <- run + 1

        chunks <- chunks + 1
        i <- i + (if run > 7 then run else 7)

    let deltas =
        f.Packets
        |> Array.sumBy (fun p ->
            if not p.Received then 0
            elif p.Delta >= 0s && p.Delta <= 255s then 1
            else 2)

    20 + 2 * chunks + deltas

let private wideMachine: Laws.Machine<TransportCcRecorder.State, unit, TransportFeedback> =
    { Step = fun now () state -> TransportCcRecorder.tick now 1u 2u state
      Deadline = TransportCcRecorder.deadline
      Tick = () }

let private streamMachine: Laws.Machine<CcfbRecorder.State, unit, Rtcp> =
    { Step = fun now () state -> CcfbRecorder.tick now 1u 2u state
      Deadline = CcfbRecorder.deadline
      Tick = () }

/// Packets numbered on from `first`, with when each arrives; some are lost, late or come twice. In order of arrival.
let private arrivals (seed: int64) (first: int) (count: int) : struct (int * Instant) list =
    let dice = Dice seed

    [ for i in 0 .. count - 1 do
          let at = seconds 100.0 + int64 i * 2_000L<us>
          let draw = dice.Unit()

          if draw < 0.1 then
              ()
          elif draw < 0.2 then
              struct (first + i, at + int64 (dice.Unit() * 30_000.0) * 1L<us>)
          elif draw < 0.25 then
              struct (first + i, at)
              struct (first + i, at + int64 (dice.Unit() * 30_000.0) * 1L<us>)
          else
              struct (first + i, at) ]
    |> List.sortBy (fun (struct (_, at)) -> at)

/// Arrivals through a recorder that is ticked when it is due: every report, in order.
let private reports (arrivals: struct (int * Instant) list) : TransportFeedback list =
    let made = ResizeArray<TransportFeedback>()
    let mutable state = TransportCcRecorder.create ()

    let tick until =
        while TransportCcRecorder.deadline state <= until do
            let due = TransportCcRecorder.deadline state
            Laws.earlyTick wideMachine (due - 1L<us>) state
            Laws.tickMovesOn wideMachine state
            let struct (next, feedback) = TransportCcRecorder.tick due 1u 2u state
            state <- next
            made.AddRange feedback

    for struct (number, at) in arrivals do
        tick (at - 1L<us>)
        state <- TransportCcRecorder.received at (uint16 number) 200 state

    tick (seconds 1e6)
    List.ofSeq made

let private wide =
    testList
        "TransportCcRecorder"
        [ testPropertyWithConfig
              Laws.config
              "tells of every packet that came, when it first came, and of none that did not, over the wrap"
          <| fun (seed: int64) (first: uint16) (NonNegativeInt count) ->
              let sent = arrivals seed (int first) (count * 10)
              let came = Dictionary<uint16, Instant>()

              for struct (number, at) in sent do
                  came.TryAdd(uint16 number, at) |> ignore

              let told = Dictionary<uint16, Instant>()

              for f in reports sent do
                  Expect.isLessThanOrEqual (octets f) 1_150 "a feedback packet fits"

                  Expect.isTrue
                      (f.Packets.Length = 0 || f.Packets[f.Packets.Length - 1].Received)
                      "ends with one that came"

                  for sequence, at in decoded f do
                      match at with
                      | ValueNone -> ()
                      | ValueSome at ->
                          match told.TryGetValue sequence with
                          | true, before -> Expect.equal at before "told the same again"
                          | _ -> told[sequence] <- at

              Expect.equal told.Count came.Count "all are told of"

              for entry in came do
                  // The reference time has 24 bits of 64 ms: here it is the instant itself.
                  Expect.isLessThanOrEqual (abs (told[entry.Key] - entry.Value)) 125L<us> "when it came"

          testPropertyWithConfig Laws.config "the numbers of its feedback count up by one"
          <| fun (seed: int64) (NonNegativeInt count) ->
              reports (arrivals seed 0 (count * 20))
              |> List.mapi (fun i f -> f.FeedbackCount = byte i)
              |> List.forall id

          testCase "what comes late is told with what was told before" (fun () ->
              let at n = seconds 1.0 + int64 n * 1_000L<us>

              let fed =
                  [ struct (1, at 0); struct (3, at 1); struct (2, at 150); struct (4, at 151) ]
                  |> reports
                  |> List.map (decoded >> List.map (fun (s, t) -> s, t.IsSome))

              Expect.equal
                  fed
                  [ [ 1us, true; 2us, false; 3us, true ]; [ 2us, true; 3us, true; 4us, true ] ]
                  "two reports")

          testCase "reports come 4 to 20 times a second, and at once after 500 packets" (fun () ->
              let spaced (gap: Duration) (count: int) =
                  let fed =
                      reports [ for i in 0 .. count - 1 -> struct (i, seconds 1.0 + int64 i * gap) ]

                  float (List.length fed) / (float (int64 count * gap) / 1e6)

              let slow = spaced (Duration.milliseconds 100L) 100
              Expect.isTrue (slow > 2.5 && slow < 5.0) $"10 packets a second: {slow} reports a second"
              let video = spaced (Duration.milliseconds 4L) 5_000
              Expect.isTrue (video > 15.0 && video < 21.0) $"250 packets a second: {video} reports a second"
              let fast = spaced (Duration.microseconds 20L) 50_000
              Expect.isTrue (fast > 95.0 && fast < 130.0) $"50,000 packets a second: {fast} reports a second")

          testCase "whoever skips numbers, or is not answered, makes it neither large nor slow" (fun () ->
              let mutable state = TransportCcRecorder.create ()

              for i in 0..200_000 do
                  state <- TransportCcRecorder.received (seconds 1.0 + int64 i * 1L<us>) (uint16 (i * 9_999)) 200 state

              Expect.isLessThanOrEqual state.Arrivals.Count (2 * TransportCcRecorder.Window + 1) "arrivals held"
              let struct (_, feedback) = TransportCcRecorder.tick (seconds 2.0) 1u 2u state
              let told = feedback |> List.sumBy (fun f -> f.Packets.Length)
              Expect.isLessThanOrEqual told TransportCcRecorder.Window "packets told of")

          testCase "silence is not reported" (fun () ->
              let state = TransportCcRecorder.create ()
              Expect.equal (TransportCcRecorder.deadline state) Instant.never "at first"
              let state = TransportCcRecorder.received (seconds 1.0) 7us 200 state
              let struct (state, _) = TransportCcRecorder.tick (seconds 2.0) 1u 2u state
              Expect.equal (TransportCcRecorder.deadline state) Instant.never "after a report") ]

/// Of reports: SSRC and sequence number, when it came (1/1,024 s), its mark.
let private decodedStreams (packets: Rtcp list) =
    [ for packet in packets do
          match packet with
          | CongestionFeedback(_, streams, timestamp) ->
              let size =
                  12
                  + (streams
                     |> Array.sumBy (fun s -> 8 + 2 * s.Packets.Length + 2 * (s.Packets.Length &&& 1)))

              Expect.isLessThanOrEqual size 1_150 "a report fits"

              for stream in streams do
                  for i in 0 .. stream.Packets.Length - 1 do
                      let p = stream.Packets[i]
                      (stream.Ssrc, stream.BeginSequence + uint16 i), (timestamp, p)
          | other -> failtest $"made {other}" ]

let private streams =
    testList
        "CcfbRecorder"
        [ testPropertyWithConfig Laws.config "tells of every packet of every stream, when it first came, over the wrap"
          <| fun (seed: int64) (first: uint16) (PositiveInt count) ->
              let came = Dictionary<struct (uint32 * uint16), Instant>()
              let told = Dictionary<struct (uint32 * uint16), Instant>()
              let mutable state = CcfbRecorder.create ()

              let ntp (at: Instant) =
                  uint32 (int64 at * 65_536L / 1_000_000L)

              let tick until =
                  while CcfbRecorder.deadline state <= until do
                      let due = CcfbRecorder.deadline state
                      Laws.earlyTick streamMachine (due - 1L<us>) state
                      Laws.tickMovesOn streamMachine state
                      let struct (next, packets) = CcfbRecorder.tick due 1u (ntp due) state
                      state <- next

                      for (ssrc, sequence), (_, p) in decodedStreams packets do
                          if p.Received then
                              let at = due - int64 p.ArrivalOffset * 1_000_000L<us> / 1_024L
                              told.TryAdd(struct (ssrc, sequence), at) |> ignore

              for struct (number, at) in arrivals seed (int first) (count * 4) do
                  tick (at - 1L<us>)
                  let ssrc = uint32 (number % 3)
                  let sequence = uint16 (number / 3)
                  came.TryAdd(struct (ssrc, sequence), at) |> ignore
                  state <- CcfbRecorder.received at ssrc sequence 200 0uy state

              tick (seconds 1e6)
              Expect.equal told.Count came.Count "all are told of"

              for entry in came do
                  Expect.isLessThanOrEqual (abs (told[entry.Key] - entry.Value)) 1_000L<us> "when it came"

          testCase "of copies the first one's time and any one's CE are told, RFC 8888 §3.1" (fun () ->
              let received at ecn =
                  CcfbRecorder.received (seconds at) 5u 9us 200 ecn

              let state = CcfbRecorder.create () |> received 1.0 2uy |> received 1.01 3uy
              let struct (_, packets) = CcfbRecorder.tick (seconds 1.5) 1u 0u state

              let told =
                  decodedStreams packets
                  |> List.map (fun (key, (_, p)) -> key, p.Ecn, p.ArrivalOffset)

              Expect.equal told [ (5u, 9us), 3uy, 512us ] "half a second before the report")

          testCase "who makes up streams does not make it large" (fun () ->
              let mutable state = CcfbRecorder.create ()

              for i in 0..100_000 do
                  state <- CcfbRecorder.received (seconds 1.0 + int64 i * 1L<us>) (uint32 i) 1us 200 0uy state

              Expect.isLessThanOrEqual state.Arrivals.Count (2 * CcfbRecorder.Window + 1) "arrivals held"
              let struct (state, packets) = CcfbRecorder.tick (seconds 2.0) 1u 0u state
              Expect.isLessThanOrEqual state.Reported.Streams.Length 1_024 "streams held"
              Expect.isNonEmpty packets "reported") ]

/// What became of packets that went over a wire with this fate, with feedback that is lost, doubled or overtaken.
let private sentOverWire (seed: int64) (count: int) =
    let dice = Dice seed
    let mutable sends = TransportSendTimes.create (uint16 seed)
    let mutable recorder = TransportCcRecorder.create ()
    let mutable feedback: TransportFeedback list = []
    let came = HashSet<int>()

    for i in 0 .. count - 1 do
        let now = seconds 5.0 + int64 i * 3_000L<us>
        let sequence = TransportSendTimes.next sends
        sends <- TransportSendTimes.sent now (100 + i) 0 sends

        if dice.Unit() < 0.8 then
            came.Add i |> ignore
            recorder <- TransportCcRecorder.received (now + ms 30) sequence 200 recorder

        if TransportCcRecorder.deadline recorder <= now + ms 30 then
            let struct (next, more) = TransportCcRecorder.tick (now + ms 30) 1u 2u recorder
            recorder <- next
            feedback <- feedback @ more

    struct (sends, feedback, came)

let private sendTimes =
    testList
        "SendTimes"
        [ testPropertyWithConfig Laws.config "each packet is acknowledged or lost once, with its size and its times"
          <| fun (seed: int64) (PositiveInt count) ->
              let struct (sends, feedback, came) = sentOverWire seed (20 * count)
              let mutable sends = sends
              let dice = Dice(seed + 1L)
              let results = ResizeArray<PacketResult>()

              // Every feedback twice, some overtaken by the next.
              for f in feedback |> List.collect (fun f -> [ f; f ]) |> List.chunkBySize 4 do
                  for f in (if dice.Unit() < 0.5 then List.rev f else f) do
                      let struct (next, report) = TransportSendTimes.feedback (seconds 900.0) f sends
                      sends <- next
                      Expect.equal report.Results.Length (report.Acknowledged + report.Lost) "counted"
                      results.AddRange report.Results

              let acknowledged = results |> Seq.filter _.Received |> Seq.map _.Size |> Seq.toList
              Expect.equal (List.length acknowledged) (Set.count (set acknowledged)) "none twice"

              let lost =
                  results |> Seq.filter (fun r -> not r.Received) |> Seq.map _.Size |> Seq.toList

              Expect.equal (List.length lost) (Set.count (set lost)) "none lost twice"

              for r in results do
                  let i = r.Size - 100
                  Expect.equal r.SentAt (seconds 5.0 + int64 i * 3_000L<us>) "when it was sent"

                  if r.Received then
                      Expect.isTrue (came.Contains i) "it came"
                      // Both clocks are one here.
                      Expect.isLessThanOrEqual (abs (r.ReceivedAt - r.SentAt - ms 30)) 125L<us> "when it came"

              // What the last report tells of is all told.
              let reported =
                  feedback
                  |> List.sumBy (fun f -> f.Packets |> Seq.filter _.Received |> Seq.length)

              Expect.equal acknowledged.Length reported "all that were reported"

          testPropertyWithConfig Laws.config "feedback that lies is bounded, and says nothing of what was not sent"
          <| fun (packets: (bool * int16)[]) (first: uint16) (reference: int) (PositiveInt count) ->
              let mutable sends = TransportSendTimes.create 65_000us

              for i in 1..count do
                  sends <- TransportSendTimes.sent (seconds (float i)) 100 0 sends

              let lie: TransportFeedback =
                  { Sender = 1u
                    Media = 2u
                    BaseSequence = first
                    ReferenceTime = reference >>> 8
                    FeedbackCount = 0uy
                    Packets =
                      packets
                      |> Array.map (fun (r, d) -> ({ Received = r; Delta = d }: PacketArrival)) }

              let mutable acknowledged = 0

              for _ in 1..3 do
                  let struct (next, report) = TransportSendTimes.feedback (seconds 1e3) lie sends
                  sends <- next
                  acknowledged <- acknowledged + report.Acknowledged
                  Expect.isLessThanOrEqual sends.Heard.Told.Missing.Length 1_024 "what is kept"

              acknowledged <= count

          testCase "old packets are forgotten: 10 s, and 100,000" (fun () ->
              let mutable sends = TransportSendTimes.create 0us

              for i in 0..300_000 do
                  sends <- TransportSendTimes.sent (int64 i * 2L<us>) 1_200 0 sends

              Expect.isLessThanOrEqual sends.Sent.Count (SentRun.Bound + 1_024) "packets held"

              for i in 0..100_000 do
                  sends <- TransportSendTimes.sent (seconds 20.0 + int64 i * 1_000L<us>) 1_200 0 sends

              Expect.isLessThanOrEqual sends.Sent.Count 11_024 "packets of 10 s"

              Expect.equal
                  (TransportSendTimes.outstanding sends)
                  (int64 sends.Sent.Count * 1_200L)
                  "octets outstanding")

          testPropertyWithConfig Laws.config "by stream, too: each packet is acknowledged or lost once"
          <| fun (seed: int64) (PositiveInt count) ->
              let dice = Dice seed
              let mutable sends = StreamSendTimes.create ()
              let mutable recorder = CcfbRecorder.create ()
              let mutable lost = 0
              let sizes = ResizeArray<int>()
              let mutable reported = 0
              let numbers = Array.create 3 65_500us

              for i in 0 .. 10 * count do
                  let now = seconds 5.0 + int64 i * 3_000L<us>
                  let ssrc = int (3.0 * dice.Unit())
                  let sequence = numbers[ssrc]
                  numbers[ssrc] <- sequence + 1us
                  sends <- StreamSendTimes.sent now (uint32 ssrc) sequence (100 + i) 0 sends

                  if dice.Unit() < 0.8 then
                      recorder <- CcfbRecorder.received (now + ms 30) (uint32 ssrc) sequence 200 3uy recorder
                      reported <- reported + 1

                  if CcfbRecorder.deadline recorder <= now + ms 30 || i = 10 * count then
                      let at = max (now + ms 30) (CcfbRecorder.deadline recorder)
                      let at = if at = Instant.never then now + ms 30 else at
                      let ntp = uint32 (int64 at * 65_536L / 1_000_000L)
                      let struct (next, packets) = CcfbRecorder.tick at 1u ntp recorder
                      recorder <- next

                      for packet in packets do
                          match packet with
                          | CongestionFeedback(_, streams, timestamp) ->
                              // Twice: the second time it says nothing new.
                              for _ in 1..2 do
                                  let struct (next, report) = StreamSendTimes.feedback at streams timestamp sends
                                  sends <- next
                                  lost <- lost + report.Lost
                                  Expect.isTrue (report.CongestionExperienced >= report.Acknowledged) "marks"

                                  for r in report.Results do
                                      if r.Received then
                                          sizes.Add r.Size
                                          let trip = r.ReceivedAt - r.SentAt
                                          Expect.isLessThanOrEqual (abs (trip - ms 30)) 1_100L<us> "when it came"
                          | other -> failtest $"made {other}"

              Expect.equal sizes.Count reported "all that came"
              Expect.equal (Set.count (set sizes)) sizes.Count "none twice"
              Expect.isLessThanOrEqual (lost + reported) (10 * count + 1) "none lost that came" ]

let private gccMachine: Laws.Machine<Gcc.State, Gcc.Input, Gcc.Output> =
    { Step = Gcc.step
      Deadline = Gcc.deadline
      Tick = Gcc.Tick Int64.MaxValue }

/// Feedback of packets of any size and times.
let private anyReport (now: Instant) (dice: Dice) : FeedbackReport =
    let results =
        [| for _ in 0 .. int (50.0 * dice.Unit()) ->
               { SentAt = now - int64 (dice.Unit() * 2e6) * 1L<us>
                 ReceivedAt =
                   (if dice.Unit() < 0.3 then
                        Instant.never
                    else
                        int64 ((dice.Unit() - 0.5) * 1e7) * 1L<us>)
                 Size = int (1_500.0 * dice.Unit())
                 Probe = int (4.0 * dice.Unit()) } |]

    let acknowledged = results |> Array.filter _.Received |> Array.length

    { Results = results
      Acknowledged = acknowledged
      AcknowledgedOctets = 0L
      Lost = results.Length - acknowledged
      RoundTrip = int64 (dice.Unit() * 1e6) * 1L<us>
      CongestionExperienced = 0
      HasGap = dice.Unit() < 0.1 }

let private gcc =
    testList
        "Gcc"
        [ testPropertyWithConfig Laws.config "any feedback leaves the target within its bounds, and its ticks in order"
          <| fun (seed: int64) ->
              let dice = Dice seed

              let mutable state =
                  Gcc.create
                      { Gcc.defaults with
                          Min = 30_000
                          Max = 5_000_000 }

              let mutable now = seconds 1.0
              let mutable sent = 0L

              for i in 0..200 do
                  now <- now + int64 (dice.Unit() * 3e5) * 1L<us>
                  sent <- sent + int64 (dice.Unit() * 1e5)

                  let input =
                      match int (10.0 * dice.Unit()) with
                      | 0 when i = 0 -> Gcc.Begin 0L
                      | 1 -> Gcc.ReceiverLimit(dice.Unit() * 1e7)
                      | 2 -> Gcc.Tick sent
                      | _ -> Gcc.Feedback(anyReport now dice, sent)

                  let struct (next, outputs) = Gcc.step now input state
                  state <- next
                  Laws.earlyTick gccMachine now state
                  Laws.tickMovesOn gccMachine state

                  for output in outputs do
                      match output with
                      | Gcc.Rate b ->
                          Expect.isTrue (b.Target >= 30_000 && b.Target <= 5_000_000) $"target {b.Target}"
                          Expect.isGreaterThanOrEqual b.Pacing b.Target "pacing"
                      | Gcc.Probe p ->
                          Expect.isTrue (p.Rate > 0 && p.Rate <= 10_000_000 && p.Octets > 0) $"probe at {p.Rate}"

          testCase "begins with its start rate, and probes at three and six times of it" (fun () ->
              let struct (_, outputs) =
                  Gcc.step (seconds 1.0) (Gcc.Begin 0L) (Gcc.create Gcc.defaults)

              match outputs with
              | [ Gcc.Rate b; Gcc.Probe first; Gcc.Probe second ] ->
                  Expect.equal b.Target 300_000 "start"
                  Expect.equal b.Pacing 750_000 "2.5 times"
                  Expect.equal (first.Rate, second.Rate) (900_000, 1_800_000) "probes"
                  Expect.equal (first.Packets, first.Octets) (5, 1_687) "15 ms"
              | other -> failtest $"said {other}")

          testCase "REMB is an upper bound, until it says more" (fun () ->
              let limited (rate: float) state =
                  let struct (next, _) = Gcc.step (seconds 1.0) (Gcc.ReceiverLimit rate) state
                  next

              let state = Gcc.create Gcc.defaults |> limited 100_000.0
              Expect.equal (Gcc.current state).Target 100_000 "bounded"
              Expect.equal (Gcc.current (limited 1_000_000.0 state)).Target 300_000 "as it was")

          testCase "without feedback for what is sent the rate goes down, and only then" (fun () ->
              let clock = Clock()
              let link = Link(clock, path, Dice 1L)
              let f = MediaFlow(clock, link, TransportWide, Gcc.defaults, Dice 2L, seconds 0.0)
              clock.Run(seconds 10.0)
              let before = (Gcc.current f.Gcc).Target
              // All that was sent is told of: nothing is awaited.
              let struct (idle, outputs) =
                  Gcc.step (Gcc.deadline f.Gcc) (Gcc.Tick f.Gcc.Alr.Sent) f.Gcc

              Expect.isEmpty outputs "idle"
              Expect.equal (Gcc.deadline idle) Instant.never "nothing is awaited"
              let mutable state = f.Gcc
              let mutable sent = state.Alr.Sent

              for _ in 1..3 do
                  sent <- sent + 1_000L
                  let struct (next, _) = Gcc.step (Gcc.deadline state) (Gcc.Tick sent) state
                  state <- next

              let share = float (Gcc.current state).Target / float before
              Expect.isTrue (share > 0.5 && share < 0.53) $"a fifth less each time: {share}") ]

let tests = testList "Congestion" [ wide; streams; sendTimes; gcc ]
