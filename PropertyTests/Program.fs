module Hybrid.WebRtc.PropertyTests.Program

open Expecto

[<EntryPoint>]
let main args =
    // One to a line, so that two changes to the list merge.
    [ PreludeTests.tests; SdpTests.tests; CiphersTests.tests ]
    |> testList "Hybrid"
    |> runTestsWithCLIArgs [] args
