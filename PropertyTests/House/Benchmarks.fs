/// The benchmark program as a user runs it: every scenario ends and prints its figures. What it measures in virtual time or
/// counts exactly is the same on every machine, so it is held to bounds; a time is never asserted.
module Hybrid.WebRtc.PropertyTests.House.Benchmarks

open System
open System.IO
open System.Text.Json
open Expecto
open Hybrid.WebRtc.PropertyTests

/// Runs a scenario; its line of JSON, which has to be the only one.
let private figuresWith environment (program: string) (arguments: string list) =
    task {
        let! struct (code, output) =
            Outside.executeWith environment 120.0 Outside.root "dotnet" (program :: arguments @ [ "--json" ])

        Expect.equal code 0 output
        // Progress goes to the standard error, which `execute` appends.
        let lines = output.Split '\n' |> Array.filter _.StartsWith('{')
        Expect.hasLength lines 1 output
        return (JsonDocument.Parse lines[0]).RootElement
    }

let private figures program arguments = figuresWith [] program arguments

/// What a JIT compiler that has watched the program leaves out depends on what it saw, and on a busy machine on how far it
/// came. Without tiers it compiles once, and the octets are the same in every run, a few more than in a warm process.
let private untiered = [ "DOTNET_TieredCompilation", "0" ]

let private number (name: string) (element: JsonElement) = element.GetProperty(name).GetDouble()

/// Scenarios at their shortest, and figures that are greater than zero in each.
let private scenarios =
    [ [ "ceiling"; "--seconds"; "0.3" ], [ "plainMbPerSecond"; "plainCpuSecondsPerGb"; "sealNanoseconds" ]
      [ "datachannel"; "--seconds"; "1" ],
      [ "mbPerSecond"
        "cpuSecondsPerGb"
        "ratioToCeiling"
        "ceilingMbPerSecond"
        "peakRssMb" ]
      [ "datachannel"
        "--seconds"
        "0.5"
        "--unordered"
        "--port"
        "portable"
        "--ciphers"
        "platform" ],
      [ "mbPerSecond"; "ratioToCeiling" ]
      [ "datachannel"; "--seconds"; "0.5"; "--size"; "1000"; "--datagram"; "900" ], [ "mbPerSecond" ]
      [ "small"; "--seconds"; "0.5" ], [ "messagesPerSecond"; "cpuMicrosecondsPerMessage" ]
      [ "latency"; "--seconds"; "0.5" ], [ "p50Microseconds"; "p99Microseconds" ]
      [ "setup"; "--seconds"; "0.5"; "--parallel"; "2" ],
      [ "openMilliseconds"
        "setupsPerSecond"
        "parallelSetupsPerSecond"
        "firstOpenMilliseconds" ]
      [ "handshake"; "--seconds"; "0.3"; "--setups"; "2" ],
      [ "p256MicrosecondsPerPair"
        "p256ClientMicroseconds"
        "p256ServerMicroseconds"
        "x25519MicrosecondsPerPair"
        "classicalMicrosecondsPerPair"
        "hybridMicrosecondsPerPair"
        "hybridClientMicroseconds"
        "hybridServerMicroseconds"
        "setUpDtls12Milliseconds"
        "setUpDtls13Milliseconds"
        "setUpP256Milliseconds"
        "setUpClassicalMilliseconds" ]
      [ "connections"; "--count"; "10"; "--seconds"; "0.5" ], [ "connections"; "heapKbPerConnection"; "rssMb" ]
      [ "flood"; "--seconds"; "0.5"; "--pairs"; "2"; "--rate"; "10000" ],
      [ "connections"
        "datagramsPerSecond"
        "floodCpuPercent"
        "floodP99Microseconds" ] ]

/// Octets that a step may allocate: what it needed when this was written, so that it can only fall. Issue 3 asks for 450 of a
/// full DATA chunk sent or received.
let private allocations =
    [ "sctpSend", 266.0
      "sctpWrite", 0.0
      "sctpReceive", 426.0
      "sctpMakeSack", 448.0
      "sctpTakeSack", 544.0
      "sctpSack10", 496.0
      "sctpSack100", 496.0
      "sctpSack1000", 496.0
      "sctpSack10000", 496.0
      "sctpSackFourGaps", 2616.0
      "dtlsSeal", 184.0
      "dtlsWrite", 0.0
      "dtlsReceive", 192.0
      "srtpSealGcm", 0.0
      "srtpOpenGcm", 0.0
      "srtpSealCm", 0.0
      "srtpOpenCm", 0.0
      "iceConsentCheck", 3520.0
      "channelSend", 408.0
      "channelDeliver", 352.0
      "jsepCreateOffer", 20_000.0
      "peerSend", 480.0
      "peerWrite", 0.0
      "peerReceive", 890.0
      "peerMakeSack", 1340.0
      "peerTakeSack", 1020.0 ]

/// A window that grows in slow start keeps its samples anew, whatever is outstanding.
[<Literal>]
let private SlowStart = 48.0

/// A path by its link (Mbit/s), round trip (ms) and loss (%).
let private path (cell: JsonElement) =
    struct (number "linkMbitPerSecond" cell, number "rttMilliseconds" cell, number "lossPercent" cell)

/// The part of the link that issue 3 asks for.
let private wanted =
    function
    | struct (_, _, 0.0) -> 0.9
    | struct (50.0, 50.0, 0.1) -> 0.5
    | _ -> 0.0

let tests =
    testList
        "Benchmarks"
        [ for arguments, keys in scenarios do
              Outside.needing (Examples.built "Benchmarks") $"""bench {String.Join(" ", arguments)}""" (fun program ->
                  task {
                      let! result = figures program arguments
                      Expect.equal (result.GetProperty("scenario").GetString()) arguments.Head "the scenario"

                      for key in keys do
                          Expect.isGreaterThan (number key result) 0.0 key
                  })

          Outside.needing (Examples.built "Benchmarks") "no step allocates more than it may" (fun program ->
              task {
                  let! result = figuresWith untiered program [ "step" ]

                  let measured =
                      Map.ofSeq (
                          seq {
                              for step in result.GetProperty("steps").EnumerateArray() do
                                  string (step.GetProperty("step").GetString()), number "allocatedBytes" step
                          }
                      )

                  Expect.equal (set measured.Keys) (set (List.map fst allocations)) "the steps that are bounded"

                  for step, most in allocations do
                      Expect.isLessThanOrEqual measured[step] most step

                  Expect.isLessThanOrEqual
                      (abs (measured["sctpSack10000"] - measured["sctpSack10"]))
                      SlowStart
                      "a SACK's cost does not depend on how much is outstanding"
              })

          Outside.needing
              (Examples.built "Benchmarks")
              "over the simulated path: the link is filled, never a stall, and two flows share it"
              (fun program ->
                  task {
                      let! result = figures program [ "curve"; "--quick" ]

                      for cell in result.GetProperty("cells").EnumerateArray() do
                          Expect.isGreaterThanOrEqual (number "linkShare" cell) (wanted (path cell)) $"{cell}"
                          Expect.isLessThan (number "longestGapMilliseconds" cell) 1000.0 $"{cell}"

                      for flows in result.GetProperty("sharing").EnumerateArray() do
                          Expect.isLessThanOrEqual (number "largerShare" flows) 0.6 $"{flows}"
                  })

          Outside.needing
              (Examples.built "Benchmarks")
              "what was measured is printed as Markdown and drawn"
              (fun program ->
                  task {
                      let folder = Directory.CreateTempSubdirectory("hybrid-plots-").FullName

                      try
                          let cells =
                              [ for rtt in [ 1; 200 ] ->
                                    $"""{{"linkMbitPerSecond":50,"rttMilliseconds":{rtt},"lossPercent":0,"goodputMbitPerSecond":46}}""" ]

                          let file = Path.Combine(folder, "all.json")

                          // What a build says stands in such a file too.
                          File.WriteAllLines(
                              file,
                              [ "[00:01] building"
                                $"""{{"command":"curve","scenario":"curve","cells":[{String.Join(",", cells)}]}}"""
                                """{"command":"small","scenario":"small","messagesPerSecond":500000,"cpuMicrosecondsPerMessage":2}""" ]
                          )

                          let run arguments =
                              Outside.execute 120.0 folder "dotnet" (program :: arguments)

                          let! struct (code, markdown) = run [ "all"; "--from"; file ]
                          Expect.equal code 0 markdown
                          Expect.stringContains markdown "| 100-byte messages | 500,000 a second" "the summary"
                          Expect.stringContains markdown "| 200 ms | 46 |" "the curve"
                          let! struct (code, output) = run [ "plots"; "--from"; file; "--out"; folder ]
                          Expect.equal code 0 output
                          let drawing = File.ReadAllText(Path.Combine(folder, "goodput-50.svg"))
                          Expect.stringContains drawing "<polyline" "a line"
                          Xml.Linq.XDocument.Parse drawing |> ignore
                      finally
                          Directory.Delete(folder, true)
                  }) ]
