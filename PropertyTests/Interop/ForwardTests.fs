module Hybrid.WebRtc.PropertyTests.Interop.ForwardTests
open Expecto
[<Tests>]
let tests = testList "ForwardTests" []
