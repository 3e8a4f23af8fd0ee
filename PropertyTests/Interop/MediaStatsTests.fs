module Hybrid.WebRtc.PropertyTests.Interop.MediaStatsTests
open Expecto
[<Tests>]
let tests = testList "MediaStatsTests" []
