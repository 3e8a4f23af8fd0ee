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
      Misses: int
      Fast: bool
      Resends: int
      Message: int }

[<Literal>]
let private Segment = 1000

/// Octets of user data that make 1,000 octets of chunk.
[<Literal>]
let private Size = 984

let private message count : Message =
    { Stream = 1us
      Ppid = 53u
      Ordered = true
      Priority = 256us
      ExpiresAt = Instant.never
      MaxRetransmits = Int32.MaxValue
      Payload = ReadOnlyMemory(Array.zeroCreate (count * Size)) }

/// The rules of RFC 9260 §6.2.1 and §7.2.4, chunk by chunk.
let private acknowledge
    (cumulative: int64)
    (blocks: (int64 * int64) list)
    (recovering: bool)
    (advanced: bool)
    (model: Flags list)
    =
    let inBlock tsn =
        blocks |> List.exists (fun (first, last) -> first <= tsn && tsn <= last)

    let newly =
        model
        |> List.filter (fun c ->
            (c.Fate = Fate.InFlight || c.Fate = Fate.Marked)
            && (c.Tsn <= cumulative || inBlock c.Tsn))

    let highestNewly = if newly.IsEmpty then -1L else (List.last newly).Tsn

    let highest =
        if blocks.IsEmpty then
            cumulative
        else
            snd (List.last blocks)

    let below = if recovering && advanced then highest else highestNewly

    model
    |> List.filter (fun c -> c.Tsn > cumulative)
    |> List.map (fun c ->
        let fresh =
            { c with
                Fate = Fate.InFlight
                Misses = 0
                Fast = false
                Resends = 0 }

        let c =
            if inBlock c.Tsn then
                (if c.Fate = Fate.Abandoned then
                     c
                 else
                     { fresh with Fate = Fate.Acked })
            elif c.Fate = Fate.Acked then
                fresh
            else
                c

        if c.Fate = Fate.InFlight && not c.Fast && c.Tsn < below then
            let behind = newly |> List.filter (fun n -> n.Tsn > c.Tsn) |> List.length
            let misses = c.Misses + max 1 (min 3 behind)

            if misses >= 3 then
                { c with
                    Fate = Fate.Marked
                    Misses = 0
                    Fast = true }
            else
                { c with Misses = misses }
        else
            c)

let private agrees (o: Outstanding) (model: Flags list) =
    let flight = model |> List.filter (fun c -> c.Fate = Fate.InFlight) |> List.length

    o.FlightSize = flight * Segment
    && o.Chunks.Count = model.Length
    && model
       |> List.forall (fun c ->
           let s = Outstanding.stretchOf c.Tsn o

           s.Fate = c.Fate
           && (c.Fate = Fate.Acked
               || c.Fate = Fate.Abandoned
               || (int s.Misses, s.Fast, s.Resends) = (c.Misses, c.Fast, c.Resends)))

let tests =
    testList
        "Outstanding"
        [ testCase "any script: stretches say what flags per chunk would say" (fun () ->
              for seed in 1L .. int64 Laws.config.maxTest do
                  let mutable entropy = Entropy.ofNumber seed

                  let draw bound =
                      let struct (n, e) = Entropy.below bound entropy
                      entropy <- e
                      n

                  let mutable o = Outstanding.create false 1000L
                  let mutable model: Flags list = []
                  let mutable messages = 0

                  for _ in 1..60 do
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
                                        Misses = 0
                                        Fast = false
                                        Resends = 0
                                        Message = messages } ]

                              o <- Outstanding.append m (i * Size) Size Mid.zero 0u o
                      | 3 ->
                          o <- Outstanding.markAll o

                          model <-
                              model
                              |> List.map (fun c ->
                                  if c.Fate = Fate.InFlight then
                                      { c with
                                          Fate = Fate.Marked
                                          Misses = 0
                                          Fast = false }
                                  else
                                      c)
                      | 4
                      | 5 ->
                          let tsn = Outstanding.firstMarked 0L o
                          let expected = model |> List.tryFind (fun c -> c.Fate = Fate.Marked)
                          Expect.equal tsn (expected |> Option.map _.Tsn |> Option.defaultValue -1L) "the first marked"

                          if tsn >= 0L then
                              o <- Outstanding.resent tsn tsn o

                              model <-
                                  model
                                  |> List.map (fun c ->
                                      if c.Tsn = tsn then
                                          { c with
                                              Fate = Fate.InFlight
                                              Misses = 0
                                              Resends = c.Resends + 1 }
                                      else
                                          c)
                      | 6 when not model.IsEmpty ->
                          let victim = model[draw model.Length]
                          let struct (next, unsent) = Outstanding.abandon victim.Tsn o
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

                          let recovering = o.RecoveryExit >= 0L && cumulative < o.RecoveryExit

                          match Outstanding.acknowledge Segment cumulative wire o with
                          | ValueSome(struct (next, ack)) ->
                              model <- acknowledge cumulative blocks recovering (cumulative > before) model

                              o <-
                                  if ack.LossFound && not (Outstanding.inRecovery next) then
                                      Outstanding.enterRecovery next
                                  else
                                      next
                          | ValueNone -> failtestf "seed %d: refused" seed

                      if not (agrees o model) then
                          failtestf "seed %d: the model says otherwise" seed)

          testCase "what was never sent cannot be acknowledged" (fun () ->
              let o =
                  Outstanding.create false 10L
                  |> Outstanding.append (message 1) 0 Size Mid.zero 0u

              Expect.isTrue (Outstanding.acknowledge Segment 11L [||] o).IsNone "cumulatively"
              Expect.isTrue (Outstanding.acknowledge Segment 9L [| { Start = 2us; End = 2us } |] o).IsNone "by a gap")

          testCase "a SACK costs the same for 10 and for 10,000 outstanding chunks" (fun () ->
              let cost count =
                  let mutable o = Outstanding.create false 1000L
                  let m = message 1

                  for _ in 1..count do
                      o <- Outstanding.append m 0 Size Mid.zero 0u o

                  let blocks = [| { Start = 3us; End = 4us } |]

                  let before = GC.GetAllocatedBytesForCurrentThread()

                  for _ in 1..100 do
                      Outstanding.acknowledge Segment 1000L blocks o |> ignore

                  float (GC.GetAllocatedBytesForCurrentThread() - before) / 100.0

              cost 10 |> ignore
              Expect.isLessThan (cost 10_000) (cost 10 * 1.1 + 64.0) "octets allocated") ]
