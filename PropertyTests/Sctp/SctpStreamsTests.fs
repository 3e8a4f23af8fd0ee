module Hybrid.WebRtc.PropertyTests.Sctp.SctpStreamsTests

open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

let private window =
    testList
        "Window"
        [ seeds
              6
              "it closes where nothing is consumed, and opens again: nothing is lost, and no progress is never forever"
              (fun seed ->
                  let weather =
                      if seed % 2L = 0L then
                          Weather.fair
                      else
                          { Weather.foul with Loss = 0.1 }

                  let pair =
                      SctpPair(
                          weather,
                          seed,
                          fun c ->
                              { c with
                                  MaxMessageSize = 20000
                                  ReceiveWindow = 65536 }
                      )

                  pair.Establish()
                  pair.B.Consumes <- false

                  for n in 1..60 do
                      pair.Send(0, 1, Numbered.make n 10000)

                  pair.Run(Duration.seconds 30L)
                  let held = pair.B.Messages.Count
                  Expect.isLessThan held 8 "the window holds no more"
                  Expect.isGreaterThan held 4 "and not much less"
                  pair.Run(minutes 10L)
                  Expect.equal pair.B.Messages.Count held "closed is closed"
                  Expect.isTrue (pair.A.Events |> Seq.forall _.IsEstablished) "probing a closed window is no failure"
                  // The application comes back.
                  let mutable consumed = 0

                  while consumed < 60
                        && pair.Until(minutes 2L, (fun () -> pair.B.Messages.Count > consumed)) do
                      pair.Step(1, SctpInput.Consumed 10000)
                      consumed <- consumed + 1

                  Expect.equal (numbers pair.B) [ 1..60 ] "all arrived, in order")

          testCase "small messages that nobody consumes close the window before they fill the memory" (fun () ->
              let pair =
                  SctpPair(
                      Weather.fair,
                      3L,
                      fun c ->
                          { c with
                              MaxMessageSize = 20000
                              ReceiveWindow = 65536 }
                  )

              pair.Establish()
              pair.B.Consumes <- false

              for n in 1..5000 do
                  pair.Send(0, 1, Numbered.make n 4)

              pair.Run(minutes 1L)
              Expect.isLessThan pair.B.Messages.Count 1000 "132 octets each are charged"
              pair.B.Consumes <- true

              while pair.B.Messages.Count < 5000
                    && (pair.Step(1, SctpInput.Consumed(4 * pair.B.Messages.Count))
                        pair.Until(minutes 1L, arrived 5000 pair.B)) do
                  ()

              Expect.equal (numbers pair.B) [ 1..5000 ] "all arrived") ]

let private partial =
    testList
        "Partial reliability"
        [ seeds 20 "any seed: what is given up never blocks, what arrives is intact and in order" (fun seed ->
              let pair = pair { Weather.foul with Loss = 0.2 } seed
              pair.Establish()

              for n in 0..299 do
                  let reliability =
                      match n % 4 with
                      | 0 -> MaxRetransmits 0
                      | 1 -> MaxRetransmits 1
                      | 2 -> MaxLifetime(Duration.milliseconds 200L)
                      | _ -> Reliable

                  pair.Send(
                      0,
                      n % 4,
                      Numbered.make n (4 + (n * 7919) % 6000),
                      ordered = (n % 8 < 4),
                      reliability = reliability
                  )

                  if n % 10 = 0 then
                      pair.Run(Duration.milliseconds 30L)

              let reliable =
                  [ for n in 0..299 do
                        if n % 4 = 3 then
                            n ]

              Expect.isTrue
                  (pair.Until(minutes 20L, (fun () -> List.sort (numbersOf 3 pair.B) = reliable)))
                  "all reliable messages arrived"

              // Whatever was lost, the last message on each stream arrives.
              pair.Weather <- Weather.fair
              pair.Run(Duration.seconds 20L)

              for stream in 0..3 do
                  pair.Send(0, stream, Numbered.make (1000 + stream) 3000)

              pair.Run(Duration.seconds 5L)

              for stream in 0..3 do
                  let got = numbersOf stream pair.B
                  Expect.equal (List.last got) (1000 + stream) "the stream goes on"
                  let ordered = got |> List.filter (fun n -> n % 8 < 4 && n < 1000)
                  Expect.equal ordered (List.sort ordered) "ordered ones in order"
                  Expect.equal (List.distinct got) got "once each"

              let total = Seq.sum pair.A.Left
              Expect.equal (Sctp.bufferedAmount pair.A.State) 0L "nothing is left in the queue"

              Expect.equal
                  total
                  (List.sum [ for n in 0..299 -> int64 (4 + (n * 7919) % 6000) ] + 12000L)
                  "each octet left the queue once")

          testCase "a message half sent and then given up is skipped (RFC 3758 §3.5)" (fun () ->
              let pair = pair Weather.fair 2L
              pair.Establish()
              // More than the first window takes, for less than it takes to send it.
              pair.Send(0, 1, Numbered.make 1 100_000, reliability = MaxLifetime(Duration.milliseconds 15L))
              pair.Send(0, 1, Numbered.make 2 5000)
              pair.Run(Duration.seconds 3L)
              Expect.equal (numbers pair.B) [ 2 ] "the next is there"
              Expect.equal (Sctp.bufferedAmount pair.A.State) 0L "the queue is empty")

          testCase
              "what is given up on more streams than a packet has room for is told on at once, not at each T3-rtx"
              (fun () ->
                  let pair = pair Weather.fair 5L
                  pair.Establish()
                  let mutable losing = true
                  let toldAt = ResizeArray<Instant>()

                  pair.Filter <-
                      fun who bytes ->
                          let kind = bytes[SctpPacket.HeaderSize]

                          if who = 0 && (kind = Kind.ForwardTsn || kind = Kind.IForwardTsn) then
                              toldAt.Add pair.Now

                          not (who = 0 && losing && (kind = Kind.Data || kind = Kind.IData))

                  for stream in 0..599 do
                      pair.Send(0, stream, Numbered.make stream 16, reliability = MaxRetransmits 0)

                  pair.Run(Duration.milliseconds 20L)
                  losing <- false
                  pair.Run(Duration.seconds 10L)
                  Expect.isGreaterThanOrEqual toldAt.Count 3 "in parts"
                  Expect.isLessThan (toldAt[2] - toldAt[0]) (Duration.milliseconds 300L) "one after the other"
                  pair.Send(0, 700, Numbered.make 700 16)

                  Expect.isTrue
                      (pair.Until(Duration.seconds 2L, (fun () -> numbersOf 700 pair.B = [ 700 ])))
                      "all goes on")

          testCase "a lifetime that is over before there is a turn costs no packet" (fun () ->
              let pair = pair Weather.fair 3L
              pair.Send(0, 1, Numbered.make 1 100, reliability = MaxLifetime(Duration.milliseconds 1L))
              pair.Send(0, 1, Numbered.make 2 100)
              pair.Establish()
              pair.Run(Duration.seconds 1L)
              Expect.equal (numbers pair.B) [ 2 ] "only the other"
              Expect.equal pair.A.Left[1] 200L "both left the queue") ]

let private isReset (streams: uint16 list) (event: SctpOutput) =
    match event with
    | SctpOutput.IncomingReset reset -> List.ofArray reset = streams
    | _ -> false

let private isDone (streams: uint16 list) (event: SctpOutput) =
    match event with
    | SctpOutput.OutgoingReset(reset, ok) -> ok && List.ofArray reset = streams
    | _ -> false

let private resets =
    testList
        "Stream reset"
        [ seeds
              30
              "any seed, 20% loss, both ends reset the same stream at once: all data first, then SSNs from 0"
              (fun seed ->
                  let pair = pair { Weather.foul with Loss = 0.2 } seed
                  pair.Establish()

                  for round in 0..2 do
                      for who in 0..1 do
                          for n in 0..9 do
                              pair.Send(who, 1, Numbered.make (100 * round + n) 1500)
                              pair.Send(who, 2, Numbered.make (100 * round + n) 700)

                          pair.Step(who, SctpInput.Reset [| 1us |])
                          // A message behind the reset waits for it.
                          pair.Send(who, 1, Numbered.make (100 * round + 50) 100)

                      let count check (e: End) =
                          e.Events |> Seq.filter check |> Seq.length

                      let reset () =
                          pair.Ends
                          |> Array.forall (fun e ->
                              count (isReset [ 1us ]) e = round + 1
                              && count (isDone [ 1us ]) e = round + 1
                              && e.Messages.Count >= 21 * (round + 1))

                      Expect.isTrue (pair.Until(minutes 10L, reset)) "both ways"

                  for e in pair.Ends do
                      Expect.equal
                          (numbersOf 1 e)
                          [ for r in 0..2 do
                                yield! [ for n in 0..9 -> 100 * r + n ]
                                100 * r + 50 ]
                          "in order across resets"

                      Expect.isTrue
                          (e.Events
                           |> Seq.forall (fun x -> x.IsEstablished || x.IsIncomingReset || x.IsOutgoingReset))
                          "nothing else")

          testCase "it waits until what was queued is sent and acknowledged" (fun () ->
              let pair =
                  pair
                      { Weather.fair with
                          Delay = Duration.milliseconds 50L }
                      1L

              pair.Establish()
              pair.Send(0, 7, Numbered.make 1 200_000)
              pair.Step(0, SctpInput.Reset [| 7us |])

              let done' () =
                  pair.A.Events |> Seq.exists (isDone [ 7us ])

              Expect.isTrue (pair.Until(Duration.seconds 5L, done')) "performed"
              Expect.equal (numbers pair.B) [ 1 ] "the message came first")

          testCase "many streams at once" (fun () ->
              let pair = pair Weather.fair 2L
              pair.Establish()
              let streams = [| 0us .. 1999us |]

              for stream in streams do
                  pair.Send(0, int stream, Numbered.make (int stream) 10)

              pair.Step(0, SctpInput.Reset streams)

              let reset () =
                  pair.B.Events
                  |> Seq.sumBy (function
                      | SctpOutput.IncomingReset s -> s.Length
                      | _ -> 0)
                      =
                      2000

              Expect.isTrue (pair.Until(Duration.seconds 20L, reset)) "all"
              Expect.equal pair.B.Messages.Count 2000 "after their data")

          testCase "a reset asked for before there is an association" (fun () ->
              let pair = pair Weather.fair 3L
              pair.Send(0, 1, Numbered.make 1 10)
              pair.Step(0, SctpInput.Reset [| 1us |])
              pair.Establish()

              Expect.isTrue
                  (pair.Until(Duration.seconds 2L, (fun () -> pair.A.Events |> Seq.exists (isDone [ 1us ]))))
                  "performed"

              Expect.equal (numbers pair.B) [ 1 ] "after the message") ]

let tests = testList "Sctp streams" [ window; partial; resets ]
