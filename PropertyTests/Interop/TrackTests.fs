module Hybrid.WebRtc.PropertyTests.Interop.TrackTests
open Expecto
[<Tests>]
let tests = testList "TrackTests" []
