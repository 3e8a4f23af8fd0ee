module Hybrid.WebRtc.PropertyTests.SlotsTests

open Expecto
open Hybrid.WebRtc.Core

let tests =
    testList
        "Slots"
        [ testPropertyWithConfig
              Laws.config
              "any script of sets and removes leaves what a Map would hold, old versions included"
          <| fun (script: (bool * uint16 * int) list) ->
              let step (slots, map: Map<int, int>) (put, key: uint16, value) =
                  if put then
                      Slots.set (int key) value slots, Map.add (int key) value map
                  else
                      Slots.remove (int key) slots, Map.remove (int key) map

              let versions = List.scan step (Slots.empty, Map.empty) script

              versions
              |> List.forall (fun (slots, map) ->
                  Slots.toList slots = (Map.toList map |> List.map snd)
                  && slots.Count = map.Count
                  && script
                     |> List.forall (fun (_, key, _) ->
                         Slots.tryFind (int key) slots =
                             (match Map.tryFind (int key) map with
                              | Some v -> ValueSome v
                              | None -> ValueNone)))

          testCase "slots beyond the present depth are empty" (fun () ->
              let slots = Slots.set 3 "three" Slots.empty
              Expect.equal (Slots.tryFind 70_000 slots) ValueNone "far beyond"
              Expect.equal (Slots.tryFind -1 slots) ValueNone "below zero"

              Expect.equal
                  (Slots.tryFind 3 (Slots.set 70_000 "far" slots))
                  (ValueSome "three")
                  "growing keeps what was") ]
