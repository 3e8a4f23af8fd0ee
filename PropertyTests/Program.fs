module Hybrid.WebRtc.PropertyTests.Program

open Expecto

[<EntryPoint>]
let main args =
    runTestsWithCLIArgs [] args (testList "Hybrid" [ PreludeTests.tests; SdpTests.tests ])
