/// Header extensions of media sections: read, offered, answered.
module Hybrid.WebRtc.PropertyTests.ExtmapTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests.CodecsTests

let private parsed (text: string) : Sdp =
    match SdpParser.parse text with
    | Ok sdp -> sdp
    | Error e -> failtest ("line " + string e.Line + ": " + e.Message)

/// The RTP sections of a fixture with what their session says.
let private sections (path: string) : struct (SdpMedia * SdpLevel)[] =
    let sdp = parsed (Fixtures.read path)

    sdp.Media
    |> Array.filter (fun m -> m.Kind = "audio" || m.Kind = "video")
    |> Array.map (fun m -> struct (m, sdp.Level))

let private extmaps path =
    sections path |> Array.map (fun (struct (m, level)) -> Extmaps.ofMedia m level)

let private fixtures =
    Fixtures.list "sdp" ".sdp"
    |> List.filter (fun path -> (sections path).Length > 0)

let internal printed (attributes: SdpAttribute[]) : string list =
    [ for a in attributes ->
          match a.Value with
          | ValueSome value -> a.Name + ":" + value
          | ValueNone -> a.Name ]

let private extensionsOf (kind: string) =
    Capabilities.extensionsOf (if kind = "audio" then MediaKind.Audio else MediaKind.Video) Capabilities.defaults

let private none = SdpLevel.ofAttributes [||]
let private tcc = HeaderExtensions.uri HeaderExtension.TransportCc
let private mid = HeaderExtensions.uri HeaderExtension.Mid

let private idsOf (extmaps: Extmap[]) : int[] = extmaps |> Array.map _.Id

/// 16 times the lines cost about 16 times the time.
let internal isLinear (name: string) (make: int -> SdpMedia) (read: SdpMedia -> unit) =
    let small, large = make 1_000, make 16_000
    // Of what takes no time at all, nobody can tell.
    Laws.costs (name + ": linear") 60.0 1.0 (fun () -> read small) (fun () -> read large)

let tests =
    testList
        "Extmap"
        [ testCase "ids, directions and URIs are read, the section's before the session's" (fun () ->
              let m =
                  section
                      "video"
                      [| "96" |]
                      [ "extmap:3/recvonly " + tcc
                        "extmap:4 " + mid + " some attributes"
                        "extmap:5/sideways urn:x"
                        "extmap:0 urn:zero"
                        "extmap:256 urn:many"
                        "extmap:4097 urn:wish"
                        "extmap:7 urn:ietf:params:rtp-hdrext:encrypt urn:secret"
                        "extmap:4 urn:again"
                        "extmap:9 " + tcc
                        "extmap:10"
                        "extmap" ]

              let session =
                  SdpLevel.ofAttributes
                      [| SdpAttribute.create "extmap" "3 urn:taken"
                         SdpAttribute.create "extmap" "255 urn:last"
                         SdpAttribute.flag "extmap-allow-mixed" |]

              let read = Extmaps.ofMedia m session

              Expect.equal
                  (printed (Extmaps.attributes read))
                  [ "extmap:3/recvonly " + tcc; "extmap:4 " + mid; "extmap:255 urn:last" ]
                  "what is well-formed, each id and URI once"

              Expect.isTrue (Extmaps.allowsMixed m session) "of the session"
              Expect.isFalse (Extmaps.allowsMixed m none) "of neither"
              Expect.equal ((Extmaps.toMap read).At 3) HeaderExtension.TransportCc "for packets"
              Expect.equal ((Extmaps.toMap read).IdOf HeaderExtension.Mid) 4 "and back")

          testCase "every fixture's sections are read and printed as they were" (fun () ->
              for path in fixtures do
                  for struct (m, level) in sections path do
                      // The offer that Chromium itself refuses: an id twice.
                      if not (path.Contains "glare-c-second-offer-rejected") then
                          let expected =
                              m.Level.Attributes |> Array.filter (fun a -> a.Name = "extmap") |> printed

                          Expect.equal (printed (Extmaps.attributes (Extmaps.ofMedia m level))) expected path)

          testCase "an offer numbers extensions from 1, the same URI alike in every section" (fun () ->
              let struct (audio, ids) =
                  Extmaps.offer (extensionsOf "audio") false ExtensionIds.None

              let struct (video, ids) = Extmaps.offer (extensionsOf "video") false ids
              Expect.equal (idsOf audio) [| 1..4 |] "audio"
              Expect.equal video.Length 13 "all of video's"

              let union =
                  Array.append audio video |> Array.map (fun e -> e.Id, e.Uri) |> Array.distinct

              Expect.equal (union |> Array.map fst |> Array.distinct).Length union.Length "an id means one thing"
              Expect.equal (union |> Array.map snd |> Array.distinct).Length union.Length "a URI has one id"
              Expect.isTrue (union |> Array.forall (fun (id, _) -> id <= 14)) "one-byte elements can number them"
              let struct (again, _) = Extmaps.offer (extensionsOf "video") false ids
              Expect.equal again video "stable")

          testCase
              "an offer numbers extensions as Chromium does: where both offer the same, no id means two things"
              (fun () ->
                  for path in [ "rollback.glare-c-offer"; "av-sendrecv.offer"; "simulcast.offer" ] do
                      let mutable ids = ExtensionIds.None

                      for struct (m, level) in sections $"sdp/chromium-156/{path}.sdp" do
                          let theirs = Extmaps.ofMedia m level
                          let struct (ours, with') = Extmaps.offer (extensionsOf m.Kind) false ids
                          ids <- with'

                          for e in ours do
                              for o in theirs do
                                  Expect.equal (e.Id = o.Id) (e.Uri = o.Uri) $"{path}: {e.Id} {e.Uri}, {o.Id} {o.Uri}")

          testCase "after Chromium's glare its own next offer had an id twice; ours has not" (fun () ->
              // First what was agreed on, then what was offered and rolled back: the agreed ids are 1 to 4 of audio.
              let agreed =
                  extmaps "sdp/chromium-156/rollback.glare-c-answer-after-implicit-rollback.sdp"

              let rolledBack = extmaps "sdp/chromium-156/rollback.glare-c-offer.sdp"

              let ids =
                  Array.append agreed rolledBack
                  |> Array.fold (fun ids e -> Extmaps.remember e ids) ExtensionIds.None

              let struct (video, _) = Extmaps.offer (extensionsOf "video") false ids

              let all =
                  Array.append agreed[0] video
                  |> Array.map (fun e -> e.Id, e.Uri)
                  |> Array.distinct

              Expect.equal (all |> Array.map fst |> Array.distinct).Length all.Length "no id means two things"
              Expect.equal (ids.IdOf mid) 4 "mid keeps the id that was agreed on"
              Expect.equal (video |> Array.find (fun e -> e.Uri = mid)).Id 4 "and is offered so"

              let theirs =
                  extmaps "sdp/chromium-156/rollback.glare-c-second-offer-rejected-by-itself.sdp"

              let used = theirs[1] |> idsOf
              Expect.equal (Array.distinct used) used "theirs is read without what stands there twice")

          testCase "an answer takes what both know, with the offer's ids, its directions turned round" (fun () ->
              let offered = extmaps "sdp/firefox-esr-153/av-sendrecv.offer.sdp"

              Expect.equal
                  (printed (Extmaps.attributes (Extmaps.answer (extensionsOf "audio") true offered[0])))
                  [ "extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"
                    "extmap:3 " + mid
                    "extmap:7 " + tcc ]
                  "CSRC levels are stopped by default"

              let video = Extmaps.answer (extensionsOf "video") true offered[1]

              Expect.contains
                  (printed (Extmaps.attributes video))
                  "extmap:6/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
                  "Firefox only receives it"

              Expect.equal video.Length 5 "and the others"

              let theirs = Extmaps.agreed offered[1] video
              Expect.equal (idsOf theirs) (idsOf video) "the peer agrees on the same"

              let stopped =
                  extensionsOf "video"
                  |> Array.map (fun e ->
                      if e.Uri = tcc then
                          { e with Direction = Direction.Stopped }
                      elif e.Uri = mid then
                          { e with
                              Direction = Direction.RecvOnly }
                      else
                          e)

              let chosen = printed (Extmaps.attributes (Extmaps.answer stopped true offered[1]))
              Expect.isFalse (List.contains ("extmap:7 " + tcc) chosen) "stopped"
              Expect.contains chosen ("extmap:3/recvonly " + mid) "received only")

          testCase "ids above 14 are taken and given only where one- and two-byte elements mix" (fun () ->
              let offered: Extmap[] =
                  [| { Id = 14
                       Uri = tcc
                       Direction = Direction.SendRecv }
                     { Id = 16
                       Uri = mid
                       Direction = Direction.SendRecv } |]

              let answered mixed =
                  Extmaps.answer (extensionsOf "video") mixed offered |> idsOf

              Expect.equal (answered false) [| 14 |] "one byte"
              Expect.equal (answered true) [| 14; 16 |] "two bytes"

              let many =
                  Array.init 400 (fun i ->
                      { Uri = "urn:x:" + string i
                        Direction = Direction.SendRecv })

              let struct (one, _) = Extmaps.offer many false ExtensionIds.None
              Expect.equal (idsOf one) [| 1..14 |] "one byte"
              let struct (two, _) = Extmaps.offer many true ExtensionIds.None
              Expect.equal (idsOf two) (Array.append [| 1..14 |] [| 16..255 |]) "15 is reserved")

          testCase "every fixture's extensions are answered within its own" (fun () ->
              for path in fixtures do
                  for struct (m, level) in sections path do
                      let offered = Extmaps.ofMedia m level

                      let answered =
                          Extmaps.answer (extensionsOf m.Kind) (Extmaps.allowsMixed m level) offered

                      if offered.Length > 0 then
                          Expect.isNonEmpty answered path

                      for e in answered do
                          Expect.isTrue (Array.exists (fun (o: Extmap) -> o.Id = e.Id && o.Uri = e.Uri) offered) path)

          testPropertyWithConfig Laws.config "any ids taken: an offer's are free or mean the same, and stay"
          <| fun (given: (byte * byte) list) ->
              let video = extensionsOf "video"

              let ids =
                  given
                  |> List.map (fun (id, uri) ->
                      { Id = max 1 (int id)
                        Uri = video[int uri % 13].Uri
                        Direction = Direction.SendRecv }
                      : Extmap)
                  |> List.toArray
                  |> fun e -> Extmaps.remember e ExtensionIds.None

              let struct (first, after) = Extmaps.offer (extensionsOf "video") true ids
              let struct (second, _) = Extmaps.offer (extensionsOf "video") true after

              first = second
              && first.Length = 13
              && first
                 |> Array.forall (fun (e: Extmap) -> ids.At e.Id = "" || ids.At e.Id = e.Uri)
              && (first |> idsOf |> Array.distinct).Length = 13

          testCase "thousands of lines are read in linear time, 255 of them taken" (fun () ->
              let make n =
                  section
                      "video"
                      [| "96" |]
                      [ for i in 0 .. n - 1 -> "extmap:" + string (i % 300) + " urn:" + string i ]

              Expect.isLessThanOrEqual (Extmaps.ofMedia (make 16000) none).Length 255 "bounded"
              isLinear "extmap" make (fun m -> Extmaps.ofMedia m none |> ignore)) ]
