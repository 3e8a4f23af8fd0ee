/// Offers and answers of media by real browsers and other peers.
module Hybrid.WebRtc.PropertyTests.JsepMediaFixtureTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling
open Hybrid.WebRtc.PropertyTests.MediaEnds

let private files = Fixtures.list "sdp" ".sdp"

let private nameOf (path: string) =
    path.Substring(path.LastIndexOf '/' + 1)

let private offers =
    files |> List.filter (fun path -> (nameOf path).Contains "offer")

let private codecs (m: SdpMedia) = Codecs.ofMedia m |> Array.toList

/// What an answer of ours to an offer of media must be.
let private checkAnswer (path: string) (offered: Sdp) (answered: Sdp) =
    Expect.equal answered.Media.Length offered.Media.Length (path + ": as many sections")
    Expect.equal (Section.mids answered) (Section.mids offered) (path + ": the mids, in their order")

    for o, a in Array.zip offered.Media answered.Media do
        let what = path + ", " + o.Kind
        Expect.equal (a.Kind, a.Protocol) (o.Kind, o.Protocol) (what + ": kind and protocol")
        Expect.isFalse (SdpAttributes.bundleOnly a.Level.Attributes) (what + ": no bundle-only in an answer")

        if a.Port <> 0us && a.Kind <> "application" then
            Expect.isNonEmpty (codecs a) (what + ": codecs")

            for c in codecs a do
                let same =
                    codecs o
                    |> List.exists (fun d -> d.PayloadType = c.PayloadType && d.Codec.ClockRate = c.Codec.ClockRate)

                Expect.isTrue same (what + ": a payload type of the offer's, " + string c.PayloadType)

                if
                    Codecs.isPrimary c.Codec
                    && Array.contains "nack" c.Feedback
                    && c.Codec.MimeType.StartsWith "video"
                then
                    let isRtx (d: RtpCodecParameters) =
                        Codecs.apt d.Codec = ValueSome c.PayloadType

                    Expect.equal
                        (List.exists isRtx (codecs a))
                        (List.exists isRtx (codecs o))
                        (what + ": RTX of " + string c.PayloadType + " where it was offered")

            for e in Extmaps.ofMedia a answered.Level do
                let same =
                    Extmaps.ofMedia o offered.Level
                    |> Array.exists (fun f -> f.Id = e.Id && f.Uri = e.Uri)

                Expect.isTrue same (what + ": an id of the offer's, " + e.Uri)

            let send, receive =
                let d = Directions.ofSection a
                Directions.sends d, Directions.receives d

            Expect.isFalse send (what + ": nothing to send")
            Expect.equal receive (Directions.sends (Directions.ofSection o)) (what + ": what they send is received")
            Expect.isTrue (SdpAttributes.rtcpMux a.Level.Attributes) (what + ": rtcp-mux")

            Expect.equal
                (SdpAttributes.rtcpRsize a.Level.Attributes)
                (SdpAttributes.rtcpRsize o.Level.Attributes)
                (what + ": rtcp-rsize as offered")

            Expect.equal
                (SdpAttributes.receiverRoundTrip a.Level.Attributes)
                (SdpAttributes.receiverRoundTrip o.Level.Attributes)
                (what + ": rtcp-xr as offered")

let private isUnbundled (path: string) = path.Contains "nobundle"

/// An offer of ours with the sections of an answer, which is known to fit them.
let private offerShapedAs (answer: Sdp) : End =
    let simulcast (m: SdpMedia) =
        (Simulcast.ofMedia m).Receive
        |> Array.concat
        |> Array.map (fun r -> rid r.Rid)
        |> List.ofArray

    let add (e: End) (m: SdpMedia) =
        match m.Kind with
        | "audio" -> tryAdd (init MediaKind.Audio Direction.SendRecv []) e
        | "video" -> tryAdd (init MediaKind.Video Direction.SendRecv (simulcast m)) e
        | _ -> withData e

    Array.fold add (media 8L) answer.Media

let tests =
    testList
        "Jsep media fixtures"
        [ testCase
              "every offer of both browsers and of other peers is answered: all that is bundled is accepted"
              (fun () ->
                  Expect.isGreaterThan offers.Length 60 "the offers are there"

                  for path in offers do
                      let offer = parsed (Fixtures.read path)
                      let b = setRemote (describe SdpType.Offer (Fixtures.read path)) (media 5L)
                      let struct (answered, b) = answer b
                      let sdp = parsed answered.Sdp
                      checkAnswer path offer sdp
                      let b = setLocal answered b

                      let expected =
                          offer.Media
                          |> Array.mapi (fun i m -> not (Section.isRejected m) && (i = 0 || not (isUnbundled path)))

                      Expect.equal
                          (sdp.Media |> Array.map (fun m -> m.Port <> 0us))
                          expected
                          (path + ": what is accepted")

                      Expect.isTrue b.Orders.Dtls.IsSome (path + ": a transport")

                      for p in b.Plan do
                          let what = path + ", " + p.Mid
                          Expect.isNonEmpty p.SendCodecs (what + ": codecs to send")
                          Expect.isNonEmpty p.ReceiveCodecs (what + ": codecs to receive")
                          Expect.isGreaterThan p.Extensions.Entries.Length 2 (what + ": extensions")

                          let facts =
                              offer.Media
                              |> Array.find (fun m -> Section.mid m = ValueSome p.Mid)
                              |> Sources.ofMedia

                          Expect.equal p.RemoteSources facts.Sources (what + ": sources"))

          testCase "a peer's simulcast is received, and a request to receive it makes as many encodings" (fun () ->
              for browser in [ "chromium-156"; "firefox-esr-153" ] do
                  let read name =
                      describe SdpType.Offer (Fixtures.read ("sdp/" + browser + "/" + name + ".sdp"))

                  let b = setRemote (read "simulcast.offer") (media 5L)
                  let struct (answered, b) = answer b
                  let b = setLocal answered b
                  Expect.equal (plan "0" b).RemoteRids [| "h"; "m"; "l" |] "the rids that arrive"

                  Expect.equal
                      (SdpAttributes.tryValue "simulcast" (attributesAt 0 answered))
                      (ValueSome "recv h;m;l")
                      "the answer"

                  // An SFU asks for three: addTrack's sender has them.
                  let b = setRemote (read "simulcast-sfu-offer.offer-munged") (video (media 6L))
                  let struct (answered, b) = answer b
                  let b = setLocal answered b
                  let p = plan "0" b
                  Expect.equal (p.Encodings |> Array.map _.Parameters.Rid) [| "h"; "m"; "l" |] "three encodings"
                  Expect.isTrue p.Sending "sent"

                  Expect.equal
                      (p.Encodings |> Array.map _.Parameters.ScaleResolutionDownBy.Value)
                      [| 4.0; 2.0; 1.0 |]
                      "each half of the next"

                  Expect.equal
                      (SdpAttributes.tryValue "simulcast" (attributesAt 0 answered))
                      (ValueSome "send h;m;l")
                      "the answer")

          testCase "every recorded answer of media fits an offer of ours of the same sections" (fun () ->
              let isLast (sdp: Sdp) =
                  // Our first offer has data last; the others answer later offers.
                  let at = Array.FindIndex(sdp.Media, (fun m -> m.Kind = "application"))
                  at < 0 || at = sdp.Media.Length - 1

              let answers =
                  files
                  |> List.filter (fun path -> (nameOf path).Contains "answer" && not (offers |> List.contains path))
                  |> List.map (fun path -> path, parsed (Fixtures.read path))
                  |> List.filter (fun (_, sdp) ->
                      isLast sdp
                      && sdp.Media |> Array.exists (fun m -> (Section.mediaKind m).IsSome)
                      && sdp.Media |> Array.forall (fun m -> m.Port <> 0us))

              Expect.isGreaterThan answers.Length 30 "the answers are there"

              for path, sdp in answers do
                  let struct (o, a) = offer false (offerShapedAs sdp)
                  let a = setRemote (describe SdpType.Answer (Fixtures.read path)) (setLocal o a)
                  Expect.equal (state a) SignalingState.Stable path
                  Expect.isTrue a.Orders.Dtls.IsSome (path + ": a transport")

                  for i in 0 .. sdp.Media.Length - 1 do
                      let m = sdp.Media[i]

                      if m.Kind <> "application" then
                          let p = plan (Section.mid m).Value a
                          let what = path + ", " + p.Mid
                          let isCarried = i = 0 || not (isUnbundled path)
                          let d = Directions.ofSection m
                          Expect.equal p.Sending (isCarried && Directions.receives d) (what + ": sending")
                          Expect.equal p.Receiving (isCarried && Directions.sends d) (what + ": receiving")
                          Expect.isNonEmpty p.SendCodecs (what + ": codecs to send")

                          let first =
                              Codecs.ofMedia m
                              |> Array.find (fun c -> c.PayloadType = p.SendCodecs[0].PayloadType)

                          Expect.equal
                              first.Codec.ClockRate
                              p.SendCodecs[0].Codec.ClockRate
                              (what + ": by their types")

                          if path.Contains "answer-browser" then
                              Expect.equal p.Encodings.Length 1 (what + ": no simulcast, one encoding")

                          if path.Contains "answer-sfu" then
                              Expect.equal p.Encodings.Length 3 (what + ": simulcast"))

          testCase "each browser's six offers of a growing session are followed, section by section" (fun () ->
              for browser in [ "chromium-156"; "firefox-esr-153" ] do
                  let series =
                      offers
                      |> List.filter (fun path -> path.Contains(browser + "/add-later."))
                      |> List.sort

                  let follow (e: End, shown: string list) path =
                      let e = setRemote (describe SdpType.Offer (Fixtures.read path)) e
                      let struct (answered, e) = answer e
                      let e = setLocal answered e

                      let now =
                          String.Join(
                              " ",
                              [ for t in e.Transceivers ->
                                    t.Mid.Value
                                    + (match t.CurrentDirection with
                                       | ValueSome Direction.RecvOnly -> "r"
                                       | ValueSome Direction.Inactive -> "-"
                                       | _ -> "?") ]
                          )

                      e, shown @ [ now ]

                  let e, shown = List.fold follow (media 7L, []) series
                  Expect.equal shown [ "0r"; "0r"; "0r 2r"; "0- 2r"; "2r"; "2r 3r" ] browser
                  Expect.equal e.Orders.Closed 0 "one transport, never closed"

                  Expect.equal
                      (e.Tracks
                       |> List.map (fun change ->
                           match change with
                           | TrackAdded(id, streams) -> "+" + string id + " " + string streams.Length
                           | TrackRemoved(id, _) -> "-" + string id
                           | TrackEnded id -> "." + string id))
                      // The last one is in no stream.
                      [ "+0 1"; "+1 1"; "-0"; ".0"; "+2 0" ]
                      "the tracks")

          testCase
              "a browser's offer of media without what older peers leave out is answered: mids, BUNDLE, extensions, msid"
              (fun () ->
                  for browser in [ "chromium-156"; "firefox-esr-153" ] do
                      let lines (without: string list) =
                          (Fixtures.read ("sdp/" + browser + "/av-sendrecv.offer.sdp")).Split "\r\n"
                          |> Array.filter (fun line ->
                              not (List.exists (fun (w: string) -> line.StartsWith w) without))
                          |> String.concat "\r\n"

                      let answeredTo text =
                          let b = setRemote (describe SdpType.Offer text) (media 5L |> audio |> video)
                          let struct (answered, b) = answer b
                          struct (answered, setLocal answered b)

                      let struct (answered, b) =
                          answeredTo (lines [ "a=extmap"; "a=msid"; "a=rtcp-rsize"; "a=rtcp-xr"; "a=rtcp-fb" ])

                      Expect.equal (shape answered) [ "audio", true; "video", true ] "both"
                      Expect.equal (plan "0" b).Extensions.Entries [||] "no extensions"
                      Expect.isFalse (plan "1" b).ReducedSize "no reduced size"
                      Expect.isFalse (plan "1" b).ReceiverRoundTrip "no XR"
                      Expect.isTrue (plan "1" b).Sending "sent"

                      // One transport is taken: the first section's.
                      let struct (answered, b) = answeredTo (lines [ "a=mid"; "a=group"; "a=extmap" ])
                      Expect.equal (shape answered) [ "audio", true; "video", false ] "the first"
                      Expect.equal (Section.mids (parsed answered.Sdp)) [||] "no mids"

                      Expect.equal
                          (b.Transceivers |> List.map _.Mid)
                          [ ValueSome "0" ]
                          "a mid of ours; what was turned down is stopped"

                      let struct (again, _) = offer false (b |> addTrack MediaKind.Video "w" [])
                      Expect.equal (shape again) [ "audio", true; "video", true ] "we offer to bundle"

                      let struct (answered, _) = answeredTo (lines [ "a=rtcp-mux" ])

                      Expect.equal
                          (shape answered)
                          [ "audio", false; "video", false ]
                          "RTCP on a port of its own is not taken") ]
