module Hybrid.WebRtc.PropertyTests.Sctp.OutstandingTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

/// One chunk of the model: what `Outstanding` must never need to keep.
type private Flags =
    { Tsn: int64
      Fate: Fate
      SentAt: Instant
      Resends: int
      ResentAt: Instant
      Message: int }

    member c.LastSentAt = if c.Resends = 0 then c.SentAt else c.ResentAt

[<Literal>]
let private Segment = 1000

/// Octets of user data that make 1,000 octets of chunk.
[<Literal>]
let private Size = 984

let private leastTrip: Duration = 40L<us>

let private message count : Message =
    { Stream = 1us
      Ppid = 53u
      Ordered = true
      Priority = 256us
      ExpiresAt = Instant.never
      MaxRetransmits = Int32.MaxValue
      Payload = ReadOnlyMemory(Array.zeroCreate (count * Size)) }

let private isOpen (c: Flags) =
    c.Fate <> Fate.Acked && c.Fate <> Fate.Abandoned

/// RFC 9260 §6.2.1 and RFC 8985 §6.2 steps 1 to 3, chunk by chunk. `cut`: the SACK may have left something out.
let private acknowledge now (cumulative: int64) (blocks: (int64 * int64) list) (model: Flags list) =
    let inBlock tsn =
        blocks |> List.exists (fun (first, last) -> first <= tsn && tsn <= last)

    let newly =
        model
        |> List.filter (fun c -> isOpen c && (c.Tsn <= cumulative || inBlock c.Tsn))

    let first = model |> List.tryHead |> Option.map _.Tsn |> Option.defaultValue 0L

    let highestBefore =
        model
        |> List.filter (fun c -> c.Fate = Fate.Acked)
        |> List.fold (fun _ c -> c.Tsn) (first - 1L)

    let telling =
        newly
        |> List.filter (fun c -> c.Fate = Fate.InFlight && (c.Resends = 0 || now - c.ResentAt >= leastTrip))
        |> List.map (fun c -> struct (c.LastSentAt, c.Tsn))

    let newest =
        telling
        |> List.fold
            (fun (struct (at, tsn)) (struct (a, t)) -> if a >= at then struct (a, t) else struct (at, tsn))
            (struct (-1L<us>, -1L))

    let once = newly |> List.filter (fun c -> c.Resends = 0)

    let rest =
        model
        |> List.filter (fun c -> c.Tsn > cumulative)
        |> List.map (fun c ->
            let fresh =
                { c with
                    Fate = Fate.InFlight
                    Resends = 0
                    ResentAt = 0L<us> }

            if inBlock c.Tsn then
                (if c.Fate = Fate.Abandoned then
                     c
                 else
                     { fresh with Fate = Fate.Acked })
            elif c.Fate = Fate.Acked then
                fresh
            else
                c)

    struct (rest, newest, once |> List.exists (fun c -> c.Tsn < highestBefore), List.length newly)

/// RFC 8985 §6.2 step 5, chunk by chunk.
let private detect now (rack: Rack) window ceiling (model: Flags list) =
    let isBefore (c: Flags) =
        c.LastSentAt < rack.SentAt || (c.LastSentAt = rack.SentAt && c.Tsn < rack.Tsn)

    let late = model |> List.filter (fun c -> c.Fate = Fate.InFlight && isBefore c)

    let isLost (c: Flags) =
        c.LastSentAt + rack.Trip + window <= now

    let gone = late |> List.filter isLost |> List.map _.Tsn |> Set.ofList

    let due =
        late
        |> List.filter (isLost >> not)
        |> List.map (fun c -> c.LastSentAt + rack.Trip + window)

    let after =
        model
        |> List.map (fun c ->
            if gone.Contains c.Tsn || c.Fate = Fate.Unreported then
                { c with
                    Fate = if c.Tsn <= ceiling then Fate.Marked else Fate.Unreported }
            else
                c)

    struct (after,
            List.forall2 (fun (a: Flags) (b: Flags) -> a.Fate = b.Fate) model after,
            (List.map2 (fun (a: Flags) (b: Flags) -> b.Fate = Fate.Marked && a.Fate <> Fate.Marked) model after
             |> List.exists id),
            (if due.IsEmpty then Instant.never else List.max due))

let private agrees (o: Outstanding) (model: Flags list) =
    let count fate =
        model |> List.filter (fun c -> c.Fate = fate) |> List.length

    o.FlightSize = count Fate.InFlight * Segment
    && o.MarkedSize = count Fate.Marked * Segment
    && o.Chunks.Count = model.Length
    && model
       |> List.forall (fun c ->
           let s = Outstanding.stretchOf c.Tsn o

           s.Fate = c.Fate
           && o.Chunks[c.Tsn].SentAt = c.SentAt
           && (c.Fate = Fate.Acked
               || c.Fate = Fate.Abandoned
               || (s.Resends = c.Resends && (s.Resends = 0 || s.ResentAt = c.ResentAt))))

let private acknowledged now cumulative blocks o =
    Outstanding.acknowledge now leastTrip cumulative blocks o

let private filled count =
    let mutable o = Outstanding.create false 1000L
    let m = message 1

    for i in 1..count do
        o <- Outstanding.append (int64 i * 1L<us>) m 0 Size Mid.zero 0u o

    o

let tests =
    testList
        "Outstanding"
        [ testCase "any script: stretches say what flags and times per chunk would say" (fun () ->
              for seed in 1L .. int64 Laws.config.maxTest do
                  let mutable entropy = Entropy.ofNumber seed

                  let draw bound =
                      let struct (n, e) = Entropy.below bound entropy
                      entropy <- e
                      n

                  let mutable now: Instant = 1000L<us>
                  let mutable o = Outstanding.create false 1000L
                  let mutable rack = Rack.create now
                  let mutable model: Flags list = []
                  let mutable messages = 0

                  for _ in 1..60 do
                      now <- now + int64 (draw 30) * 1L<us>

                      match draw 10 with
                      | 0
                      | 1
                      | 2 ->
                          let count = 1 + draw 6
                          let m = message count
                          messages <- messages + 1

                          for i in 0 .. count - 1 do
                              model <-
                                  model
                                  @ [ { Tsn = o.Chunks.Next
                                        Fate = Fate.InFlight
                                        SentAt = now
                                        Resends = 0
                                        ResentAt = 0L<us>
                                        Message = messages } ]

                              o <- Outstanding.append now m (i * Size) Size Mid.zero 0u o
                      | 3 when draw 3 = 0 ->
                          o <- Outstanding.markAll o

                          model <-
                              model
                              |> List.map (fun c ->
                                  if c.Fate = Fate.InFlight || c.Fate = Fate.Unreported then
                                      { c with Fate = Fate.Marked }
                                  else
                                      c)
                      | 3
                      | 4
                      | 5 ->
                          let tsn = Outstanding.firstMarked 0L o
                          let expected = model |> List.tryFind (fun c -> c.Fate = Fate.Marked)
                          Expect.equal tsn (expected |> Option.map _.Tsn |> Option.defaultValue -1L) "the first marked"
                          let last = model |> List.tryFindBack (fun c -> c.Fate = Fate.InFlight)

                          Expect.equal
                              (Outstanding.lastInFlight o)
                              (last |> Option.map _.Tsn |> Option.defaultValue -1L)
                              "the last in flight"

                          if tsn >= 0L then
                              o <- Outstanding.resent now tsn o

                              model <-
                                  model
                                  |> List.map (fun c ->
                                      if c.Tsn = tsn then
                                          { c with
                                              Fate = Fate.InFlight
                                              Resends = c.Resends + 1
                                              ResentAt = now }
                                      else
                                          c)
                      | 6 when not model.IsEmpty && draw 2 = 0 ->
                          let victim = model[draw model.Length]
                          let struct (next, unsent) = Outstanding.abandon now victim.Tsn o
                          Expect.isFalse unsent "the messages of this test are sent whole"
                          o <- next

                          model <-
                              model
                              |> List.map (fun c ->
                                  if c.Message = victim.Message then
                                      { c with Fate = Fate.Abandoned }
                                  else
                                      c)
                      | _ ->
                          let before = Outstanding.cumulative o
                          let cumulative = before + int64 (draw (1 + min 4 model.Length))
                          let mutable at = cumulative
                          let mutable blocks = []

                          for _ in 1 .. draw 4 do
                              let first = at + 2L + int64 (draw 3)
                              let last = first + int64 (draw 4)

                              if last < o.Chunks.Next then
                                  blocks <- (first, last) :: blocks
                                  at <- last

                          let blocks = List.rev blocks

                          let wire =
                              [| for first, last in blocks ->
                                     { Start = uint16 (first - cumulative)
                                       End = uint16 (last - cumulative) } |]

                          match acknowledged now cumulative wire o with
                          | ValueNone -> failtestf "seed %d: refused" seed
                          | ValueSome(struct (next, ack)) ->
                              let struct (rest, newest, reordered, count) =
                                  acknowledge now cumulative blocks model

                              let struct (newestAt, _) = newest
                              Expect.equal ack.Bytes (count * Segment) "octets newly acknowledged"
                              Expect.equal ack.NewestAt newestAt "the most recently sent"
                              Expect.equal ack.Reordered reordered "overtaken"
                              rack <- Rack.updated now ack rack
                              let window = int64 (draw 20) * 1L<us>
                              let ceiling = if draw 4 = 0 then at else Int64.MaxValue
                              let struct (model', same, lost, due) = detect now rack window ceiling rest
                              let struct (o', losses) = Rack.detect now rack window ceiling next
                              Expect.equal losses.Due due "the reordering timer"
                              Expect.equal (losses.NewestAt >= 0L<us>) lost "lost or not"

                              if same then
                                  Expect.isTrue (Object.ReferenceEquals(o', next)) "untouched"

                              o <- o'
                              model <- model'

                      if not (agrees o model) then
                          failtestf "seed %d: the model says otherwise" seed)

          testCase "what was never sent cannot be acknowledged" (fun () ->
              let o =
                  Outstanding.create false 10L
                  |> Outstanding.append 0L<us> (message 1) 0 Size Mid.zero 0u

              Expect.isTrue (acknowledged 0L<us> 11L [||] o).IsNone "cumulatively"
              Expect.isTrue (acknowledged 0L<us> 9L [| { Start = 2us; End = 2us } |] o).IsNone "by a gap"
              Expect.isTrue (acknowledged 0L<us> 10L [||] o).IsSome "but what was")

          testCase
              "a peer that reports 20 gaps at most takes nothing back, and what it cannot report is not lost"
              (fun () ->
                  let o = filled 200
                  // Every second chunk, as far as 30 blocks go; then only the first 20 are said.
                  let blocks count =
                      [| for i in 1..count ->
                             { Start = uint16 (2 * i)
                               End = uint16 (2 * i) } |]

                  let struct (all, _) = (acknowledged 500L<us> 999L (blocks 30) o).Value
                  let struct (some, ack) = (acknowledged 600L<us> 999L (blocks 20) all).Value
                  Expect.equal some.FlightSize all.FlightSize "nothing is revoked"
                  Expect.equal ack.Ceiling 1039L "the last one reported"

                  let rack =
                      { SentAt = 400L<us>
                        Tsn = 1050L
                        Trip = 10L<us> }

                  let struct (marked, _) = Rack.detect 1000L<us> rack 0L<us> ack.Ceiling some
                  Expect.equal (marked.MarkedSize / Segment) 20 "only the holes below"

                  Expect.equal
                      ((some.FlightSize - marked.FlightSize) / Segment)
                      170
                      "those above have left the network too"

                  let struct (told, _) = Rack.detect 1000L<us> rack 0L<us> Int64.MaxValue marked
                  Expect.equal (told.MarkedSize / Segment) 170 "and are lost once the peer can say so"
                  // A short report is complete: the peer has let go of the rest.
                  let struct (revoked, _) = (acknowledged 600L<us> 999L (blocks 10) all).Value
                  Expect.equal (revoked.FlightSize - all.FlightSize) (20 * Segment) "revoked")

          testCase "a SACK costs the same for 10 and for 10,000 outstanding chunks" (fun () ->
              let cost count =
                  let o = filled count
                  let blocks = [| { Start = 3us; End = 4us } |]
                  let before = GC.GetAllocatedBytesForCurrentThread()

                  for _ in 1..100 do
                      match acknowledged 20_000L<us> 1000L blocks o with
                      | ValueSome(struct (next, ack)) ->
                          Rack.detect
                              20_000L<us>
                              (Rack.updated 20_000L<us> ack (Rack.create 0L<us>))
                              0L<us>
                              ack.Ceiling
                              next
                          |> ignore
                      | ValueNone -> failtest "refused"

                  float (GC.GetAllocatedBytesForCurrentThread() - before) / 100.0

              cost 10 |> ignore
              Expect.isLessThan (cost 10_000) (cost 10 * 1.1 + 64.0) "octets allocated") ]
