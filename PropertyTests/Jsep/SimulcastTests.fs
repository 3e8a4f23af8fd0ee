/// What a media section says of simulcast, of its sources and of its track.
module Hybrid.WebRtc.PropertyTests.SimulcastTests

open System
open Expecto
open FsCheck
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.CodecsTests
open Hybrid.WebRtc.PropertyTests.ExtmapTests

let private rid id = { Rid = id; Paused = false }
let private paused id = { Rid = id; Paused = true }

let private streamsOf (lines: string list) =
    Simulcast.ofMedia (section "video" [| "96"; "97"; "98" |] lines)

let private vp8: RtpCodecParameters[] =
    Codecs.ofMedia (section "video" [| "96"; "97" |] [ "rtpmap:96 VP8/90000"; "rtpmap:97 H264/90000" ])

let private encoding (id: string) active : EncodingParameters =
    { Rid = id
      Active = active
      Codec = ValueNone
      MaxBitrate = ValueNone
      MaxFramerate = ValueNone
      ScaleResolutionDownBy = ValueNone
      Priority = Priority.Low
      ScalabilityMode = ValueNone }

let private simulcastTests =
    testList
        "simulcast"
        [ testCase "RFC 8853's examples are read: both directions, alternatives, pauses, payload types" (fun () ->
              let lines =
                  [ "rid:1 send pt=96"
                    "rid:2 send pt=97,98;max-width=640;depend=1"
                    "rid:3 send"
                    "rid:4 send max-br=100000"
                    "rid:5 recv pt=96"
                    "simulcast:send 1;~4;2,~3 recv 5" ]

              let streams = streamsOf lines

              Expect.equal
                  streams.Send
                  [| [| rid "1" |]; [| paused "4" |]; [| rid "2"; paused "3" |] |]
                  "what they send"

              Expect.equal streams.Receive [| [| rid "5" |] |] "what they receive"
              Expect.equal (Simulcast.sent streams) [| "1"; "4"; "2"; "3" |] "rids"
              Expect.equal (streams.Rids |> Array.find (fun r -> r.Id = "2")).Formats [| 97; 98 |] "payload types"

              Expect.equal
                  (List.sort (printed (Simulcast.attributes streams)))
                  (List.sort lines)
                  "and printed as they were")

          testCase "rids that are doubled, malformed or of no payload type here go, the rest is kept" (fun () ->
              let sent =
                  streamsOf
                      [ "rid:a send"
                        "rid:b send"
                        "rid:b send"
                        "rid:c recv"
                        "rid:d send pt=35"
                        "rid:e send pt=35,97"
                        "rid:f send depend=zz"
                        "rid:g! send"
                        "rid:h"
                        "rid:i send pt=x"
                        "simulcast:send a;b;c;d;e;f;h;i;j;a" ]

              Expect.equal (Simulcast.sent sent) [| "a"; "e" |] "of each kind"
              Expect.equal (sent.Rids |> Array.find (fun r -> r.Id = "e")).Formats [| 97 |] "what is there")

          testCase "the drafts' syntax, two lines, and lines of another shape are no simulcast" (fun () ->
              for line in
                  [ "simulcast: send rid=a;b"
                    "simulcast:send rid=a;b"
                    "simulcast:recv"
                    "simulcast:send a;;b"
                    "simulcast:send a send b"
                    "simulcast:send a recv b more"
                    "simulcast:"
                    "simulcast" ] do
                  Expect.equal (streamsOf [ "rid:a send"; "rid:b send"; line ]) Simulcast.none line

              Expect.equal
                  (streamsOf [ "rid:a send"; "simulcast:send a"; "simulcast:send a" ])
                  Simulcast.none
                  "RFC 8853 §5.3.2: two lines disable it")

          testCase "both browsers' simulcast offers are answered with rids to receive, in their order" (fun () ->
              for browser in [ "chromium-156"; "firefox-esr-153" ] do
                  let m = (media ("sdp/" + browser + "/simulcast.offer.sdp"))[0]
                  let offered = Simulcast.ofMedia m
                  let codecs = Codecs.answer Capabilities.defaults.Video [||] (Codecs.ofMedia m)
                  let answered = Simulcast.answer codecs Simulcast.MaxStreams [||] offered

                  Expect.equal
                      (printed (Simulcast.attributes answered))
                      [ "rid:h recv"; "rid:m recv"; "rid:l recv"; "simulcast:recv h;m;l" ]
                      browser

                  Expect.equal
                      (Simulcast.accepted offered answered)
                      [| rid "h"; rid "m"; rid "l" |]
                      (browser + ": and the offerer sends them")

                  let two = Simulcast.answer codecs 2 [||] offered
                  Expect.equal (Simulcast.accepted offered two) [| rid "h"; rid "m" |] (browser + ": two at most"))

          testCase "an SFU's offer to receive is answered with those of our encodings that it names" (fun () ->
              let m = (media "sdp/chromium-156/simulcast-sfu-offer.offer-munged.sdp")[0]
              let offered = Simulcast.ofMedia m
              Expect.equal (offered.Receive |> Array.concat |> Array.map _.Rid) [| "h"; "m"; "l" |] "offered"
              let answered = Simulcast.answer vp8 Simulcast.MaxStreams [| "l"; "h"; "x" |] offered

              Expect.equal
                  (printed (Simulcast.attributes answered))
                  [ "rid:h send"; "rid:l send"; "simulcast:send h;l" ]
                  "of ours"

              Expect.equal (Simulcast.answer vp8 16 [||] offered) Simulcast.none "none of ours")

          testCase "an answer turns down rids whose payload types or restrictions it does not have" (fun () ->
              let offered =
                  streamsOf
                      [ "rid:a send pt=98"
                        "rid:b send pt=96,98;max-novelty=3"
                        "rid:c recv max-width=320"
                        "rid:d recv max-novelty=3"
                        "simulcast:send a;~b recv c;d" ]

              Expect.equal
                  (printed (Simulcast.attributes (Simulcast.answer vp8 16 [| "c"; "d" |] offered)))
                  [ "rid:c send max-width=320"
                    "rid:b recv pt=96;max-novelty=3"
                    "simulcast:send c recv ~b" ]
                  "98 was not answered; what we send is not restricted by what we do not know; pauses stay")

          testCase "our offer names its encodings, those inactive paused; one alone is no simulcast" (fun () ->
              let offered = Simulcast.offer [| encoding "h" true; encoding "l" false |]

              Expect.equal
                  (printed (Simulcast.attributes offered))
                  [ "rid:h send"; "rid:l send"; "simulcast:send h;~l" ]
                  "two"

              Expect.equal (Simulcast.offer [| encoding "h" true |]) Simulcast.none "one"
              Expect.equal (Simulcast.offer [| encoding "" true |]) Simulcast.none "without rid"
              let answer lines = streamsOf lines
              Expect.equal (Simulcast.accepted offered (answer [])) [||] "the peer knows no simulcast"

              Expect.equal
                  (Simulcast.accepted
                      offered
                      (answer
                          [ "rid:l recv"
                            "rid:z recv"
                            "rid:h recv max-width=3"
                            "simulcast:recv l;~z;h" ]))
                  [| rid "l" |]
                  "h has a restriction that was not offered, z was not offered"

              Expect.equal
                  (Simulcast.accepted offered (answer [ "rid:l recv"; "rid:h recv"; "simulcast:recv ~l;h" ]))
                  [| rid "h"; paused "l" |]
                  "paused by the answer")

          testPropertyWithConfig
              Laws.config
              "any lines are read without throwing, and what is read prints and reads the same"
          <| fun (a: string | null) (b: string | null) ->
              let text (s: string | null) =
                  match s with
                  | null -> ""
                  | s -> s.Replace(":", "")

              let streams =
                  streamsOf
                      [ "rid:1 send " + text a
                        "rid:2 recv " + text b
                        "rid:" + text a
                        "simulcast:send 1;" + text b + " recv 2" ]

              let other =
                  streamsOf [ "rid:1 send " + text a; "rid:2 recv " + text b; "simulcast:send 1 recv 2" ]

              let again =
                  Simulcast.ofMedia
                      { section "video" [| "96"; "97"; "98" |] [] with
                          Level = SdpLevel.ofAttributes (Simulcast.attributes other) }

              streams.Send.Length <= Simulcast.MaxStreams && again = other

          testCase "thousands of rids are read in linear time, sixteen streams of them taken" (fun () ->
              let make n =
                  section
                      "video"
                      [| "96" |]
                      [ for i in 0 .. n - 1 do
                            "rid:" + string i + " send pt=96;max-width=" + string i
                        "simulcast:send " + String.Join(";", Array.init n string) ]

              let streams = Simulcast.ofMedia (make 16000)
              Expect.equal streams.Send.Length 16 "bounded"
              isLinear "rid" make (fun m -> Simulcast.ofMedia m |> ignore)) ]

let private source ssrc rtx fec : RemoteSource =
    { Ssrc = ssrc
      RtxSsrc = rtx
      FecSsrc = fec }

let private sourceTests =
    testList
        "sources"
        [ testCase "SSRCs, their RTX and FEC, streams and track are read" (fun () ->
              let facts =
                  section
                      "video"
                      [| "96" |]
                      [ "msid:s1 t1"
                        "msid:s2 t1"
                        "msid:- t1"
                        "ssrc-group:FID 10 11"
                        "ssrc-group:FEC-FR 10 12"
                        "ssrc-group:FID 10 13"
                        "ssrc-group:NEW 10 14"
                        "ssrc-group:FID 10"
                        "ssrc-group:FID x y"
                        "ssrc:10 cname:them"
                        "ssrc:11 cname:them"
                        "ssrc:12 cname:them"
                        "ssrc:20"
                        "ssrc:4294967296 cname:far"
                        "ssrc:-1 cname:near"
                        "ssrc:0 cname:nothing"
                        "ssrc:10 msid:old old" ]
                  |> Sources.ofMedia

              Expect.equal facts.Sources [| source 10u 11u 12u; source 20u 0u 0u |] "sources"
              Expect.equal facts.Streams [| "s1"; "s2" |] "streams"
              Expect.equal facts.Track (ValueSome "t1") "track"
              Expect.equal facts.Cname (ValueSome "them") "cname")

          testCase "a=msid may be of no stream, or be missing where a=ssrc says it" (fun () ->
              let facts lines =
                  Sources.ofMedia (section "video" [| "96" |] lines)

              Expect.equal (facts [ "msid:- t" ]).Streams [||] "none"
              Expect.equal (facts [ "msid:- t" ]).Track (ValueSome "t") "its track"
              Expect.equal (facts [ "msid:s" ]).Streams [| "s" |] "a stream alone"
              Expect.equal (facts [ "msid:s" ]).Track ValueNone "no track"
              let old = facts [ "ssrc:1 cname:c"; "ssrc:1 msid:s t"; "ssrc:2 msid:s t" ]
              Expect.equal old.Streams [| "s" |] "as Plan B had it"
              Expect.equal old.Track (ValueSome "t") "its track"
              Expect.equal (facts []).Track ValueNone "nothing")

          testCase "an older peer's simulcast is its SIM group's sources, lowest first, with their RTX" (fun () ->
              let facts =
                  Sources.ofMedia (
                      section
                          "video"
                          [| "96" |]
                          [ "ssrc:6 cname:x"
                            "ssrc-group:FID 3 6"
                            "ssrc-group:FID 1 4"
                            "ssrc-group:SIM 1 2 3"
                            "ssrc-group:FID 2 5"
                            "ssrc:9 cname:x" ]
                  )

              Expect.equal
                  facts.Sources
                  [| source 1u 4u 0u; source 2u 5u 0u; source 3u 6u 0u; source 9u 0u 0u |]
                  "in the group's order")

          testCase "both browsers' and Janus' sections name one source with its RTX, a stream and a track" (fun () ->
              let facts path = media path |> Array.map Sources.ofMedia

              let chromium = facts "sdp/chromium-156/av-sendrecv.offer.sdp"
              Expect.equal chromium[0].Sources [| source 12495529u 0u 0u |] "audio"
              Expect.equal chromium[1].Sources [| source 3707009279u 3935673437u 0u |] "video"
              Expect.equal chromium[1].Track (ValueSome "3ac20c32-adb2-427d-892d-374cfebe8fb8") "track"
              Expect.equal chromium[0].Streams chromium[1].Streams "one stream"
              let firefox = facts "sdp/firefox-esr-153/av-sendrecv.offer.sdp"
              Expect.equal firefox[1].Sources [| source 3185937302u 3085601977u 0u |] "video"
              Expect.equal firefox[1].Cname (ValueSome "{105cc009-c59a-470d-9daf-656bba0a7e4f}") "cname"
              let layers = facts "sdp/firefox-esr-153/simulcast.offer.sdp"

              Expect.equal
                  (layers[0].Sources |> Array.map _.RtxSsrc)
                  [| 1654350537u; 681817799u; 1699373700u |]
                  "three layers"

              let janus = facts "sdp/peers/janus-echotest.answer-to-chromium-av-dc.sdp"
              Expect.equal janus[1].Sources [| source 1779203948u 1942969832u 0u |] "Janus"
              Expect.equal janus[1].Streams [| "janus" |] "its stream")

          testCase "what we say of ours is read as it was meant" (fun () ->
              let send ssrc rtx fec rid : SendEncoding =
                  { Parameters = encoding rid true
                    Ssrc = ssrc
                    RtxSsrc = rtx
                    FecSsrc = fec }

              let read (attributes: SdpAttribute[]) =
                  Sources.ofMedia
                      { section "video" [| "96" |] [] with
                          Level = SdpLevel.ofAttributes attributes }

              let lines = Sources.attributes "us" "s t" [| send 7u 8u 9u "" |]
              let facts = read (Array.append (Sources.msids [| "s"; "r" |] "t") lines)
              Expect.equal facts.Sources [| source 7u 8u 9u |] "sources"
              Expect.equal facts.Streams [| "s"; "r" |] "streams"
              Expect.equal facts.Track (ValueSome "t") "track"
              Expect.equal facts.Cname (ValueSome "us") "cname"
              Expect.equal (read lines).Streams [| "s" |] "and without a=msid"

              Expect.equal
                  (Sources.attributes "us" "s t" [| send 7u 0u 0u "a"; send 8u 0u 0u "b" |])
                  [||]
                  "none with rids"

              Expect.equal (printed (Sources.msids [||] "t")) [ "msid:- t" ] "no stream")

          testCase "thousands of sources are read in linear time, 64 of them taken" (fun () ->
              let make n =
                  section
                      "video"
                      [| "96" |]
                      [ for i in 1..n do
                            "ssrc:" + string i + " cname:x"
                            "ssrc-group:FID " + string i + " " + string (i + 100000)
                            "ssrc:" + string i + " msid:s" + string i + " t" ]

              let facts = Sources.ofMedia (make 16000)
              Expect.isLessThanOrEqual facts.Sources.Length Sources.MaxSources "bounded"
              Expect.isLessThanOrEqual facts.Streams.Length Sources.MaxStreams "bounded"
              isLinear "ssrc" make (fun m -> Sources.ofMedia m |> ignore)

              let one n =
                  section
                      "video"
                      [| "96" |]
                      [ "ssrc-group:SIM " + String.Join(" ", Array.init n (fun i -> string (i + 1))) ]

              Expect.isLessThanOrEqual (Sources.ofMedia (one 16000)).Sources.Length Sources.MaxSources "one long group"
              isLinear "ssrc-group" one (fun m -> Sources.ofMedia m |> ignore)) ]

let tests = testList "Simulcast and sources" [ simulcastTests; sourceTests ]
