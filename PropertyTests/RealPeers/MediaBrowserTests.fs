/// Our media and real browsers': what one sends, the other decodes.
module Hybrid.WebRtc.PropertyTests.RealPeers.MediaBrowserTests

open Expecto
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaBench
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaScenarios
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaChanges
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaCounts
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaTones
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaLoss
open Hybrid.WebRtc.PropertyTests.RealPeers.MediaSimulcast

let private chromiums =
    let browser = chromium []

    testSequenced
    <| testList
        "Chromium's media"
        [ browser.Test "picture and sound both ways, Chromium offers" (bothWays Browsers)
          browser.Test "picture and sound both ways, we offer" (bothWays Ours)
          browser.Test "VP9 alone, both ways" (codec "video/VP9" "vp9.ivf" None)
          browser.Test "AV1 alone, both ways" (codec "video/AV1" "av1.ivf" None)
          browser.Test "H.264 alone, both ways" (codec "video/H264" "h264.h264" h264)
          browser.Test "what Chromium sends comes back to it" reflected
          browser.Test "both count alike what flows between them" counts
          browser.Test "three encodings arrive, and one goes back" simulcast
          browser.Test "tracks come, go and change" changes
          browser.Test "tracks are replaced and paused on either side" pauses
          browser.Test "a stopped section is used again" recycled
          browser.Test "the first section ends here: the second goes on" (firstEnds Browsers Ours)
          browser.Test "the first section ends there: the second goes on" (firstEnds Browsers Browsers)
          browser.Test "we began, and the first section ends here" (firstEnds Ours Ours)
          browser.Test "we began, and the first section ends there" (firstEnds Ours Browsers)
          browser.Test "of three encodings that we send each is shown" relayed
          browser.Test "the codec changes within a call" codecChanges
          browser.Test "keys are pressed and heard, here and there" tones
          browser.Test "pictures go both ways at 5 % loss" lossy
          browser.End ]

let private repaired =
    let browser =
        chromium [ "--force-fieldtrials=WebRTC-FlexFEC-03-Advertised/Enabled/WebRTC-FlexFEC-03/Enabled/" ]

    testSequenced
    <| testList "Chromium with FlexFEC" [ browser.Test "FEC goes both ways at 5 % loss" flexFec; browser.End ]

let private firefoxes =
    let browser = firefox ()

    testSequenced
    <| testList
        "Firefox's media"
        [ browser.Test "picture and sound both ways, Firefox offers" (bothWays Browsers)
          browser.Test "picture and sound both ways, we offer" (bothWays Ours)
          browser.Test "VP9 alone, both ways" (codec "video/VP9" "vp9.ivf" None)
          browser.Test "AV1 alone, both ways" (codec "video/AV1" "av1.ivf" None)
          browser.Test "what Firefox sends comes back to it" reflected
          browser.Test "three encodings arrive, and one goes back" simulcast
          browser.Test "tracks come, go and change" changes
          browser.Test "tracks are replaced and paused on either side" pauses
          browser.Test "the first section ends here: the second goes on" (firstEnds Browsers Ours)
          browser.Test "the first section ends there: the second goes on" (firstEnds Browsers Browsers)
          browser.Test "we began, and the first section ends here" (firstEnds Ours Ours)
          browser.Test "we began, and the first section ends there" (firstEnds Ours Browsers)
          browser.Test "of three encodings that we send each is shown" relayed
          browser.Test "the codec changes within a call" codecChanges
          browser.Test "keys pressed there are told here" pressed
          browser.End ]

let tests = testList "browsers' media" [ chromiums; repaired; firefoxes ]
