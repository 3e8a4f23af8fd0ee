module Hybrid.WebRtc.PropertyTests.Sctp.ReassemblyTests

open System
open Expecto
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.Stack

let private config = SctpConfig.create SystemCiphers.Shared

/// A message and where it belongs.
type private Sample =
    { Number: int
      Stream: int
      Unordered: bool
      Mid: uint32
      Size: int }

/// `count` messages on four streams.
let private samples (draw: int -> int) (count: int) : Sample list =
    let next = Array2D.zeroCreate<uint32> 4 2

    [ for number in 0 .. count - 1 do
          let stream = draw 4
          let unordered = draw 3 = 0
          let kind = if unordered then 1 else 0

          { Number = number
            Stream = stream
            Unordered = unordered
            Mid = next[stream, kind]
            Size = 4 + draw (if draw 4 = 0 then 60 else 6000) }

          next[stream, kind] <- next[stream, kind] + 1u ]

let private cut (draw: int -> int) (interleaved: bool) (sample: Sample) : Data list =
    let bytes = Numbered.make sample.Number sample.Size
    let size = 1 + draw 1200

    [ for i in 0 .. (sample.Size - 1) / size do
          let last = (i + 1) * size >= sample.Size

          { Interleaved = interleaved
            Flags =
              (if i = 0 then Flag.Begin else 0uy)
              ||| (if last then Flag.End else 0uy)
              ||| (if sample.Unordered then Flag.Unordered else 0uy)
            Stream = uint16 sample.Stream
            Mid = Mid sample.Mid
            Fsn = uint32 i
            Tsn = Tsn 0u
            Ppid = if interleaved && i > 0 then 0u else 51u
            Payload = ReadOnlyMemory(bytes, i * size, (min sample.Size ((i + 1) * size)) - i * size) } ]

/// The chunks of all messages as a sender numbers them: DATA one message after the other; I-DATA mixed, but for the messages of
/// one stream and kind.
let private numbered (draw: int -> int) (interleaved: bool) (all: Sample list) : Data[] =
    let ordered =
        if not interleaved then
            all |> List.collect (cut draw false)
        else
            let lanes =
                all
                |> List.groupBy (fun s -> s.Stream, s.Unordered)
                |> List.map (fun (_, messages) -> messages |> List.collect (cut draw true))
                |> Array.ofList

            [ while lanes |> Array.exists (fun lane -> not lane.IsEmpty) do
                  let i = draw lanes.Length

                  if not lanes[i].IsEmpty then
                      lanes[i].Head
                      lanes[i] <- lanes[i].Tail ]

    ordered
    |> List.mapi (fun i data ->
        { data with
            Tsn = Tsn(1000u + uint32 i) })
    |> Array.ofList

/// The same with neighbours out of order: none comes more than `reach` places off.
let private jumbled (draw: int -> int) (reach: int) (chunks: Data[]) : Data[] =
    chunks
    |> Array.mapi (fun i data -> i + draw (reach + 1), data)
    |> Array.sortBy fst
    |> Array.map snd

/// Takes packets of a few chunks from `at` on; answers what was handed up.
let private feed (draw: int -> int) (chunks: Data[]) (at: int) (r: Receiving) =
    let mutable r = r
    let mutable at = at
    let told = ResizeArray<struct (int * byte[])>()
    let versions = ResizeArray<struct (int * int * Receiving)>()

    while at < chunks.Length do
        versions.Add(struct (at, told.Count, r))
        let draft = Receiving.draft r
        let mutable outputs = ListCollector<SctpOutput>()

        for _ in 0 .. draw 3 do
            if at < chunks.Length then
                Expect.equal (Receiving.data config chunks[at] &outputs draft) Arrival.Accepted "accepted"
                at <- at + 1

        for output in outputs.Close() do
            match output with
            | SctpOutput.Message(stream, ppid, payload) ->
                Expect.equal ppid 51u "PPID"
                told.Add(struct (int stream, payload.ToArray()))
            | other -> failtestf "%A" other

        r <- draft

    struct (r, told, versions)

let private isIdle (r: Receiving) =
    let reassembly = r.Reassembly

    reassembly.Held = 0L
    && reassembly.Roomy = 0
    && reassembly.Growing.IsNone
    && reassembly.Aside.Length = 0
    && reassembly.Runs.Length = 0

let tests =
    testList
        "Sctp reassembly"
        [ for interleaved in [ true; false ] do
              seeds
                  60
                  $"any seed, any order: each message once and whole, ordered ones in order, nothing kept; old versions go on too (I-DATA {interleaved})"
                  (fun seed ->
                      let mutable entropy = Entropy.ofNumber seed

                      let draw bound =
                          let struct (n, e) = Entropy.below bound entropy
                          entropy <- e
                          n

                      let all = samples draw 40
                      let reach = [| 0; 2; 10; 60 |][draw 4]
                      let chunks = numbered draw interleaved all |> jumbled draw reach

                      // SSNs of unordered messages mean nothing.
                      let fresh =
                          Receiving.create interleaved config.MaxMessageSize config.ReceiveWindow (Tsn 1000u)

                      let check (told: seq<struct (int * byte[])>) (r: Receiving) =
                          let numbers = [ for struct (_, bytes) in told -> Numbered.read bytes ]
                          Expect.equal (List.sort numbers) [ 0..39 ] "each once"

                          for stream in 0..3 do
                              let inOrder =
                                  [ for number in numbers do
                                        let s = all[number]

                                        if s.Stream = stream && not s.Unordered then
                                            s.Mid ]

                              Expect.equal inOrder (List.sort inOrder) "in order"

                          Expect.isTrue (isIdle r) "nothing is kept"
                          Expect.equal r.Cumulative (Tsn.first (Tsn 1000u) + int64 chunks.Length - 1L) "all TSNs"

                      let struct (r, told, versions) = feed draw chunks 0 fresh
                      check told r
                      // From an older version the rest comes as it did.
                      let struct (at, count, old) = versions[draw versions.Count]
                      let struct (again, rest, _) = feed draw chunks at old
                      check (Seq.append (Seq.take count told) rest) again)

          testCase "an ordered and an unordered message of the same number are two (RFC 8260 §2.1)" (fun () ->
              let mutable n = 0

              let one unordered =
                  cut
                      (fun _ -> 99)
                      true
                      { Number = (if unordered then 1 else 0)
                        Stream = 1
                        Unordered = unordered
                        Mid = 0u
                        Size = 1000 }

              let chunks =
                  List.zip (one false) (one true)
                  |> List.collect (fun (a, b) -> [ a; b ])
                  |> List.mapi (fun i data ->
                      { data with
                          Tsn = Tsn(1000u + uint32 i) })
                  |> Array.ofList

              n <- chunks.Length

              let struct (r, told, _) =
                  feed (fun _ -> 0) chunks 0 (Receiving.create true 10_000 100_000 (Tsn 1000u))

              Expect.equal [ for struct (_, bytes) in told -> Numbered.read bytes ] [ 0; 1 ] "both"
              Expect.isTrue (isIdle r) $"nothing of {n} is kept")

          testCase "what is skipped is dropped, also when it comes late; the streams go on (RFC 8260 §2.3.1)" (fun () ->
              let draft = Receiving.draft (Receiving.create true 10_000 100_000 (Tsn 1000u))
              let mutable outputs = ListCollector<SctpOutput>()

              let add tsn unordered mid fsn flags =
                  let data =
                      { Interleaved = true
                        Flags = flags ||| (if unordered then Flag.Unordered else 0uy)
                        Stream = 1us
                        Mid = Mid mid
                        Fsn = fsn
                        Tsn = Tsn tsn
                        Ppid = 51u
                        Payload = ReadOnlyMemory(Array.zeroCreate 10) }

                  Receiving.data config data &outputs draft |> ignore

              // Two messages begun, a third waits for the first, and 1004 and 1005 are still to come.
              add 1000u false 0u 0u Flag.Begin
              add 1001u true 0u 0u Flag.Begin
              add 1003u false 1u 0u Flag.Whole
              Expect.isGreaterThan draft.Reassembly.Held 0L "held"

              let skip unordered =
                  { Stream = 1us
                    Unordered = unordered
                    Mid = Mid.zero }

              let struct (next, isNews) =
                  Receiving.skip (Tsn 1002u) [| skip false; skip true |] &outputs draft

              Expect.isTrue isNews "news"
              Expect.equal (outputs.Close().Length) 1 "what waited comes"
              Expect.equal next.Reassembly.Held 0L "what was begun is gone"
              let late = Receiving.draft next
              let mutable outputs = ListCollector<SctpOutput>()

              for unordered in [ false; true ] do
                  let data =
                      { Interleaved = true
                        Flags = if unordered then Flag.Unordered else 0uy
                        Stream = 1us
                        Mid = Mid.zero
                        Fsn = 1u
                        Tsn = Tsn(if unordered then 1005u else 1004u)
                        Ppid = 0u
                        Payload = ReadOnlyMemory(Array.zeroCreate 10) }

                  Expect.equal (Receiving.data config data &outputs late) Arrival.Accepted "its TSN counts"

              Expect.equal late.Reassembly.Held 0L "but it is not kept"
              Expect.equal late.Cumulative (Tsn.first (Tsn 1000u) + 5L) "all is acknowledged") ]
