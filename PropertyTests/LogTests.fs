module Hybrid.WebRtc.PropertyTests.LogTests

open Expecto
open FsCheck
open Hybrid.WebRtc.Core

let private items (log: Log<int>) =
    [ for n in log.First .. log.Next - 1L -> log[n] ]

let tests =
    testList
        "Log"
        [ testPropertyWithConfig Laws.config "every version stays what it was, however often and wherever it forks"
          <| fun (seed: int64) (NonNegativeInt start) ->
              // Versions with their models; each step takes any of them and adds a successor.
              let versions =
                  ResizeArray<struct (Log<int> * int list)>[struct (Log.startingAt (int64 start), [])]

              let mutable entropy = Entropy.ofNumber seed

              let draw bound =
                  let struct (n, e) = Entropy.below bound entropy
                  entropy <- e
                  n

              for step in 1..60 do
                  let struct (log, model) = versions[draw versions.Count]

                  if draw 4 = 0 then
                      let dropped = draw (log.Count + 1)
                      versions.Add(struct (Log.dropTo (log.First + int64 dropped) log, List.skip dropped model))
                  else
                      let mutable log = log
                      let mutable added = []

                      for i in 1 .. 1 + draw 90 do
                          log <- Log.append (1000 * step + i) log
                          added <- (1000 * step + i) :: added

                      versions.Add(struct (log, model @ List.rev added))

              versions |> Seq.forall (fun (struct (log, model)) -> items log = model)

          testCase "a drained log starts anew at any number" (fun () ->
              for start in 0L .. 130L do
                  let mutable log = Log.startingAt start

                  for round in 0..3 do
                      for i in 1..64 do
                          log <- Log.append i log

                      Expect.equal log.Count 64 "all held"
                      log <- Log.dropTo log.Next log
                      Expect.isTrue log.IsEmpty "all dropped"
                      Expect.equal log.Next (start + 64L * int64 (round + 1)) "numbered on") ]
