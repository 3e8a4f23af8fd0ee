module Hybrid.WebRtc.PropertyTests.Sctp.TurnsTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests

/// What a scheduler has streams send, without an association: `rounds` chunks of at most `size`.
let private served (interleaves: bool) (streams: (int * uint16 * int * int) list) (rounds: int) (size: int) =
    let mutable s = Streams.empty |> Streams.interleaving interleaves (1u <<< 30)

    for stream, priority, count, length in streams do
        for _ in 1..count do
            s <-
                Streams.enqueue
                    { Stream = uint16 stream
                      Ppid = 53u
                      Ordered = true
                      Priority = priority
                      ExpiresAt = Instant.never
                      MaxRetransmits = Int32.MaxValue
                      Payload = ReadOnlyMemory(Array.zeroCreate length) }
                    s

    [ for n in 1..rounds do
          // Every seventh chunk begins a new flush.
          s <-
              if n % 7 = 0 then
                  Streams.draft (Streams.keep s)
              else
                  Streams.draft s

          if Streams.hasMore s then
              let struct (piece, next) = Streams.take (min size (Streams.remaining s)) (int64 n) s
              s <- next
              int piece.Message.Stream, piece.Size ]

let private octets stream (pieces: (int * int) list) =
    pieces |> List.sumBy (fun (s, size) -> if s = stream then size else 0) |> float

let tests =
    testList
        "Sctp turns"
        [ for interleaves in [ true; false ] do
              testCase
                  $"weights 1:2:4:8 give goodputs of these ratios within 10%% (RFC 8260 §3.6), interleaved {interleaves}"
                  (fun () ->
                      let pieces =
                          served
                              interleaves
                              [ for i in 0..3 ->
                                    i,
                                    (128us <<< i),
                                    (if interleaves then 1 else 400),
                                    (if interleaves then 4_000_000 else 10_000) ]
                              3000
                              1140

                      let first = octets 0 pieces

                      for i in 1..3 do
                          let ratio = octets i pieces / first
                          Expect.isTrue (abs (ratio / float (1 <<< i) - 1.0) < 0.1) $"stream {i}: {ratio}")

              testCase
                  $"equal priorities get equal shares, whatever the size of their messages, interleaved {interleaves}"
                  (fun () ->
                      let pieces =
                          served
                              interleaves
                              [ 5, 256us, 100, 60_000; 9, 256us, 10_000, 1_000; 11, 256us, 40_000, 200 ]
                              8000
                              1140

                      let total = octets 5 pieces + octets 9 pieces + octets 11 pieces

                      // Each chunk costs its header too.
                      for stream in [ 5; 9; 11 ] do
                          let share = octets stream pieces / total
                          Expect.isTrue (abs (share - 1.0 / 3.0) < 0.04) $"stream {stream}: {share}")

          testCase "who was idle gets no credit, and who comes late waits no longer than its share" (fun () ->
              let message stream priority length : Message =
                  { Stream = stream
                    Ppid = 53u
                    Ordered = true
                    Priority = priority
                    ExpiresAt = Instant.never
                    MaxRetransmits = Int32.MaxValue
                    Payload = ReadOnlyMemory(Array.zeroCreate length) }

              let mutable s =
                  Streams.empty
                  |> Streams.interleaving true (1u <<< 30)
                  |> Streams.enqueue (message 1us 256us 5_000_000)

              let take () =
                  s <- Streams.draft s
                  let struct (piece, next) = Streams.take (min 1140 (Streams.remaining s)) 1L s
                  s <- Streams.keep next
                  piece.Message.Stream

              for _ in 1..2000 do
                  take () |> ignore

              s <- Streams.enqueue (message 2us 256us 1_000_000) s
              let order = [ for _ in 1..100 -> take () ]
              let late = order |> List.filter (fun stream -> stream = 2us) |> List.length
              Expect.isTrue (abs (late - 50) <= 2) $"half of the turns: {late}"
              s <- Streams.enqueue (message 3us 1024us 100) s
              let order = [ for _ in 1..3 -> take () ]
              Expect.contains order 3us "a small one of high priority is among the next")

          testCase "messages of one stream keep their order, and of DATA nothing comes between fragments" (fun () ->
              let pieces =
                  served false [ for i in 0..4 -> i, (128us <<< (i % 4)), 50, 3000 ] 1000 1140

              pieces
              |> List.chunkBySize 3
              |> List.iter (fun three ->
                  Expect.equal (three |> List.map fst |> List.distinct |> List.length) 1 "whole messages")

              Expect.equal (pieces |> List.sumBy snd) (5 * 50 * 3000) "all of it")

          seeds
              40
              "any script of sends, turns, resets and what is given up: as the model has it, old versions too"
              (fun seed ->
                  let mutable entropy = Entropy.ofNumber seed

                  let draw bound =
                      let struct (n, e) = Entropy.below bound entropy
                      entropy <- e
                      n

                  let mutable s =
                      Streams.empty
                      |> Streams.interleaving (seed % 2L = 0L) (if seed % 3L = 0L then 10_000u else 1_000_000u)
                  // Per stream: lengths not yet begun or under way, and what is sent of the first.
                  let mutable model: Map<int, Message list * int> = Map.empty
                  let versions = ResizeArray<struct (Streams * int64 * bool)>()

                  let total () =
                      model
                      |> Map.fold
                          (fun sum _ (messages, sent) ->
                              sum - int64 sent
                              + List.sumBy (fun (m: Message) -> int64 m.Payload.Length) messages)
                          0L

                  for n in 1L .. 400L do
                      match draw 8 with
                      | 0
                      | 1
                      | 2 ->
                          let stream = draw 12

                          let m =
                              { Stream = uint16 stream
                                Ppid = uint32 n
                                Ordered = draw 2 = 0
                                Priority = 128us <<< draw 4
                                ExpiresAt = Instant.never
                                MaxRetransmits = 0
                                Payload = ReadOnlyMemory(Array.zeroCreate (1 + draw 4000)) }

                          s <- Streams.enqueue m s
                          let messages, sent = model |> Map.tryFind stream |> Option.defaultValue ([], 0)
                          model <- model |> Map.add stream (messages @ [ m ], sent)
                      | 3 ->
                          // Gives up one that is under way.
                          match model |> Map.toList |> List.tryFind (fun (_, (_, sent)) -> sent > 0) with
                          | Some(stream, (messages, sent)) ->
                              let struct (left, next) = Streams.discard messages.Head n s
                              s <- next
                              Expect.equal left (messages.Head.Payload.Length - sent) "what is left"
                              model <- model |> Map.add stream (messages.Tail, 0)
                          | None -> ()
                      | _ ->
                          s <- Streams.draft s

                          for _ in 0 .. draw 6 do
                              if Streams.hasMore s then
                                  let next = Streams.peek s
                                  let stream = int next.Stream
                                  let messages, sent = model[stream]
                                  Expect.isTrue (Object.ReferenceEquals(messages.Head, next)) "the first of its stream"
                                  let size = min (1 + draw 1500) (Streams.remaining s)
                                  Expect.equal (Streams.remaining s) (next.Payload.Length - sent) "remaining"

                                  if sent = 0 && draw 10 = 0 then
                                      s <- Streams.discardNext s
                                      model <- model |> Map.add stream (messages.Tail, 0)
                                  else
                                      let struct (piece, after) = Streams.take size n s
                                      s <- after
                                      Expect.equal (piece.Offset, piece.Size) (sent, size) "the next piece"

                                      model <-
                                          model
                                          |> Map.add
                                              stream
                                              (if sent + size = next.Payload.Length then
                                                   (messages.Tail, 0)
                                               else
                                                   (messages, sent + size))

                          s <- Streams.keep s

                      Expect.equal s.Buffered (total ()) "octets in all"

                      if n % 20L = 0L then
                          versions.Add(struct (s, s.Buffered, Streams.hasMore s))

                      let stream = draw 12
                      let messages, sent = model |> Map.tryFind stream |> Option.defaultValue ([], 0)

                      Expect.equal
                          (Streams.buffered (uint16 stream) s)
                          (List.sumBy (fun (m: Message) -> int64 m.Payload.Length) messages - int64 sent)
                          "octets of a stream"

                  // All that is left comes, from this version and from each older one.
                  versions.Add(struct (s, s.Buffered, Streams.hasMore s))

                  for struct (version, octets, _) in versions do
                      let mutable s = Streams.draft version
                      let mutable taken = 0L

                      while Streams.hasMore s do
                          let struct (piece, next) = Streams.take (Streams.remaining s) 1000L s
                          taken <- taken + int64 piece.Size
                          s <- next

                      Expect.equal taken octets "all of it"
                      Expect.equal version.Buffered octets "and the version is what it was") ]
