/// The laws that every machine keeps (docs/Architecture.md, "Laws"). A machine's tests apply each of them in one line.
module Hybrid.WebRtc.PropertyTests.Laws

open System
open System.Diagnostics
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

/// Milliseconds that something takes.
let private timed (work: unit -> unit) : float =
    let watch = Stopwatch.StartNew()
    work ()
    watch.Elapsed.TotalMilliseconds

/// The large work takes less than so many times as long as the small, which counts as `least` milliseconds at least. The least
/// of several runs tells what work costs, and on a machine that does much else most runs are disturbed: there are more of them,
/// for a minute at most, where five have not told yet. What costs too much does so in every run.
let costs (what: string) (times: float) (least: float) (small: unit -> unit) (large: unit -> unit) : unit =
    // For the compiler's sake.
    small ()
    let watch = Stopwatch.StartNew()
    let mutable runs, short, long = 0, Double.MaxValue, Double.MaxValue
    let isLess short long = long < times * max least short

    while runs < 5
          || (not (isLess short long) && watch.Elapsed.TotalSeconds < Outside.Patience) do
        short <- min short (timed small)
        long <- min long (timed large)
        runs <- runs + 1

    Expect.isTrue (isLess short long) $"{what}: {long} ms are not less than {times} times {max least short} ms"

/// The work takes less than so many seconds, when nothing disturbs it.
let takes (what: string) (seconds: float) (work: unit -> unit) : unit =
    let watch = Stopwatch.StartNew()
    let mutable time = timed work

    while time >= 1_000.0 * seconds && watch.Elapsed.TotalSeconds < Outside.Patience do
        time <- timed work

    Expect.isLessThan time (1_000.0 * seconds) what
