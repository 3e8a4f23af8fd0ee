/// The laws that every machine keeps (docs/Architecture.md, "Laws"). A machine's tests apply each of them in one line.
module Hybrid.WebRtc.PropertyTests.Laws

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core

/// Runs of FsCheck's default number; more where `HYBRID_RUNS` says so (`build.fsx fuzz`).
let config: FsCheckConfig =
    let runs =
        match Int32.TryParse(Environment.GetEnvironmentVariable "HYBRID_RUNS") with
        | true, n -> n
        | _ -> 200

    { FsCheckConfig.defaultConfig with
        maxTest = runs }

/// A property over any bytes, up to 2,000 of them, shrinking to shorter ones.
let anyBytes (name: string) (check: byte[] -> bool) : Test =
    testPropertyWithConfig config name (Prop.forAll (ArbMap.defaults |> ArbMap.arbitrary<byte[]>) check)

/// A property over well-formed bytes of `sample`, each with a few of its octets changed, cut short, or repeated:
/// far closer to a parser's edges than random bytes.
let mutated (name: string) (samples: byte[] list) (check: byte[] -> unit) : Test =
    testCase name (fun () ->
        let mutable entropy = Entropy.ofNumber 7L

        for sample in samples do
            for _ in 1 .. config.maxTest do
                let struct (kind, e) = Entropy.below 3 entropy
                let struct (at, e) = Entropy.below (max 1 sample.Length) e
                let struct (value, e) = Entropy.below 256 e
                entropy <- e
                let copy = Array.copy sample

                let changed =
                    match kind with
                    | 0 when copy.Length > 0 ->
                        copy[at] <- byte value
                        copy
                    | 1 -> copy[.. at - 1]
                    | _ -> Array.append copy copy[at..]

                check changed)

/// A machine as the laws see it.
type Machine<'state, 'input, 'output> =
    { Step: Instant -> 'input -> 'state -> Step<'state, 'output>
      Deadline: 'state -> Instant
      Tick: 'input }

/// A tick before the deadline does nothing: no output, and the deadline stays.
let earlyTick (machine: Machine<'state, 'input, 'output>) (now: Instant) (state: 'state) : unit =
    let due = machine.Deadline state

    if due > now then
        let struct (after, outputs) = machine.Step now machine.Tick state
        Expect.isEmpty outputs "a tick before the deadline asks for nothing"
        Expect.equal (machine.Deadline after) due "a tick before the deadline leaves the deadline alone"

/// A tick at the deadline moves the deadline on, or the loop would spin.
let tickMovesOn (machine: Machine<'state, 'input, 'output>) (state: 'state) : unit =
    let due = machine.Deadline state

    if due <> Instant.never then
        let struct (after, _) = machine.Step due machine.Tick state
        Expect.isGreaterThan (machine.Deadline after) due "a tick at the deadline moves the deadline on"
