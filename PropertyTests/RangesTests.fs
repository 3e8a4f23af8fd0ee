module Hybrid.WebRtc.PropertyTests.RangesTests

open Expecto
open FsCheck
open Hybrid.WebRtc.Core

/// An operation on the set, over a small universe so that runs touch and merge often.
type private Operation =
    | Add of int64
    | AddRange of int64 * int64
    | RemoveTo of int64

let private operation (kind: byte, a: byte, b: byte) =
    let a = int64 (a % 64uy)

    match kind % 4uy with
    | 0uy
    | 1uy -> Add a
    | 2uy -> AddRange(a, a + int64 (b % 8uy))
    | _ -> RemoveTo(int64 (b % 24uy))

let private between first last = Set.ofSeq [ first..last ]

let private apply (set: RangeSet, model: Set<int64>) operation =
    match operation with
    | Add n -> RangeSet.add n set, Set.add n model
    | AddRange(first, last) -> RangeSet.addRange first last set, Set.union model (between first last)
    | RemoveTo last -> RangeSet.removeTo last set, Set.filter (fun n -> n > last) model


let private members (set: RangeSet) =
    Set.ofSeq
        [ for run in (RangeSet.runs set).ToArray() do
              yield! [ run.First .. run.Last ] ]

let tests =
    testList
        "Ranges"
        [ testPropertyWithConfig Laws.config "a range set holds what a set holds, whatever is done to both"
          <| fun (script: (byte * byte * byte) list) ->
              let set, model =
                  List.fold (fun both step -> apply both (operation step)) (RangeSet.empty, Set.empty) script

              members set = model
              && List.forall (fun n -> RangeSet.contains n set = Set.contains n model) [ -1L .. 80L ]
              && RangeSet.highest set =
                  (if model.IsEmpty then
                       ValueNone
                   else
                       ValueSome model.MaximumElement)

          testPropertyWithConfig Laws.config "runs ascend, apart from each other"
          <| fun (script: (byte * byte * byte) list) ->
              let set, _ =
                  List.fold (fun both step -> apply both (operation step)) (RangeSet.empty, Set.empty) script

              let runs = (RangeSet.runs set).ToArray()

              runs |> Array.forall (fun r -> r.First <= r.Last)
              && runs |> Array.pairwise |> Array.forall (fun (a, b) -> a.Last + 1L < b.First) ]
