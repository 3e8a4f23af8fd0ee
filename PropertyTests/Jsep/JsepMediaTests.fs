/// Media in offers and answers: scenarios after the web platform tests' (RTCPeerConnection-addTransceiver, -addTrack,
/// -removeTrack, -createOffer, -createAnswer).
module Hybrid.WebRtc.PropertyTests.JsepMediaTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests.Signalling
open Hybrid.WebRtc.PropertyTests.MediaEnds

let private refusedWith (name: ErrorName) (what: string) (e: End) =
    Expect.equal (errorOf e) (ValueSome name) what

/// Two ends, the first sends audio and video, both negotiated.
let private sending () =
    negotiate false (media 1L |> audio |> video) (media 2L)

let private adding =
    testList
        "adding"
        [ testCase "addTransceiver: its defaults, its ids, negotiation needed once" (fun () ->
              let a = media 1L |> addTransceiver MediaKind.Audio Direction.RecvOnly
              let t = answeredInfo a
              Expect.equal (told a) [ "transceivers"; "reply"; "needed" ] "what is told"
              Expect.equal t.Direction Direction.RecvOnly "direction"
              Expect.equal t.Mid ValueNone "no mid"
              Expect.equal t.CurrentDirection ValueNone "no current direction"
              Expect.equal t.Encodings.Length 1 "one encoding"
              Expect.equal t.Encodings[0].Rid "" "without a rid"
              let a = a |> addTransceiver MediaKind.Video Direction.SendRecv
              Expect.equal (told a) [ "transceivers"; "reply" ] "needed already"
              Expect.notEqual (answeredInfo a).Id t.Id "another id"
              Expect.notEqual (answeredInfo a).ReceiverTrack t.ReceiverTrack "another track")

          testCase "sendEncodings: rids that are bad, doubled or missing; ranges; what is filled in" (fun () ->
              let add encodings =
                  tryAdd (init MediaKind.Video Direction.SendRecv encodings) (media 1L)

              for what, encodings in
                  [ "not alphanumeric", [ rid "a-b" ]
                    "not ASCII", [ rid "ä" ]
                    "too long", [ rid (String('a', 256)) ]
                    "doubled", [ rid "a"; rid "a" ]
                    "some without", [ rid "a"; plain ] ] do
                  add encodings |> refusedWith ErrorName.TypeError what

              add
                  [ { plain with
                        ScaleResolutionDownBy = ValueSome 0.5 } ]
              |> refusedWith ErrorName.RangeError "scale below 1"

              add
                  [ { plain with
                        MaxFramerate = ValueSome -1.0 } ]
              |> refusedWith ErrorName.RangeError "negative framerate"

              tryAdd (init MediaKind.Audio Direction.Stopped []) (media 1L)
              |> refusedWith ErrorName.TypeError "stopped"

              let made encodings =
                  (answeredInfo (add encodings)).Encodings

              Expect.equal (made [ rid "x" ] |> Array.map _.Rid) [| "" |] "one encoding has no rid"
              let three = made [ rid "q"; rid "h"; rid "f" ]

              Expect.equal
                  (three |> Array.map _.ScaleResolutionDownBy)
                  [| ValueSome 4.0; ValueSome 2.0; ValueSome 1.0 |]
                  "scaled where nobody says"

              let said =
                  made
                      [ { rid "q" with
                            ScaleResolutionDownBy = ValueSome 3.0 }
                        rid "h" ]

              Expect.equal
                  (said |> Array.map _.ScaleResolutionDownBy)
                  [| ValueSome 3.0; ValueSome 1.0 |]
                  "not scaled where somebody says"

              Expect.equal ((made [ plain; plain ]) |> Array.map _.Rid) [| "0"; "1" |] "rids of ours"
              Expect.equal (made [ for n in 1..20 -> rid (string n) ]).Length 8 "cut off"

              let audio =
                  tryAdd
                      (init
                          MediaKind.Audio
                          Direction.SendRecv
                          [ { plain with
                                ScaleResolutionDownBy = ValueSome 0.5 } ])
                      (media 1L)

              Expect.equal (answeredInfo audio).Encodings[0].ScaleResolutionDownBy ValueNone "audio is not scaled")

          testCase "addTrack uses a sender again that never sent, and makes one else" (fun () ->
              let a = media 1L |> addTransceiver MediaKind.Audio Direction.RecvOnly
              let first = (answeredInfo a).Id
              let a = a |> addTrack MediaKind.Audio "one" [ "s" ]
              Expect.equal (answeredInfo a).Id first "used again"
              Expect.equal (answeredInfo a).Direction Direction.SendRecv "and sends"

              tryAddTrack MediaKind.Audio "one" [] a
              |> refusedWith ErrorName.InvalidAccessError "the same track"

              let a = a |> addTrack MediaKind.Audio "two" []
              Expect.notEqual (answeredInfo a).Id first "another"
              // A sender that sent is never used again.
              let struct (a, _) = negotiate false a (media 2L)
              let a = removeTrack first a |> addTrack MediaKind.Audio "three" []
              Expect.notEqual (answeredInfo a).Id first "it has sent")

          testCase "removeTrack: the direction gives up sending; of an unknown transceiver it is refused" (fun () ->
              let struct (a, b) = sending ()
              let a = removeTrack 0 a
              Expect.equal (transceiver 0 a).Direction Direction.RecvOnly "recvonly"
              Expect.isTrue (needed a) "needed"
              Expect.equal (told (removeTrack 0 a)) [ "reply" ] "again: nothing"

              send (Jsep.RemoveTrack(1L, 99)) a
              |> refusedWith ErrorName.InvalidAccessError "unknown"

              let struct (a, b) = negotiate false a b
              Expect.equal (tracks b) [] "told with the offer"
              Expect.equal (List.last b.Tracks) (TrackRemoved(0, [| "s" |])) "the track is gone"
              Expect.equal (currentDirection "0" a) (ValueSome Direction.Inactive) "inactive")

          testCase "a closed connection answers every request with InvalidStateError" (fun () ->
              let a = send Jsep.Close (audio (media 1L))

              for input in
                  [ Jsep.AddTransceiver(1L, init MediaKind.Audio Direction.SendRecv [])
                    Jsep.AddTrack(1L, MediaKind.Audio, "x", [||])
                    Jsep.RemoveTrack(1L, 0)
                    Jsep.StopTransceiver(1L, 0)
                    Jsep.SetDirection(1L, 0, Direction.Inactive) ] do
                  send input a |> refusedWith ErrorName.InvalidStateError "closed") ]

let private offering =
    testList
        "offers and answers"
        [ testCase "audio, video and data both ways: sections, transport, plans, orders" (fun () ->
              let a = media 1L |> audio |> video |> withData
              let b = media 2L |> audio |> video
              let struct (o, a) = offer false a
              Expect.equal (shape o) [ "audio", true; "video", true; "application", true ] "sections"
              Expect.equal (Section.bundles (parsed o.Sdp)) [| [| "0"; "1"; "2" |] |] "one bundle"
              let a = setLocal o a

              Expect.equal
                  (told a)
                  [ "descriptions"
                    "transceivers"
                    "HaveLocalOffer"
                    "reply"
                    "role True"
                    "local"
                    "gather"
                    "media" ]
                  "our offer"

              Expect.isTrue (plan "0" a).Receiving "early media"
              Expect.isFalse (plan "0" a).Sending "nothing is sent yet"
              let b = setRemote o b

              Expect.equal
                  (told b)
                  [ "descriptions"; "transceivers"; "HaveRemoteOffer"; "tracks"; "reply" ]
                  "their offer"

              Expect.equal (tracks b) [ TrackAdded(0, [| "s" |]); TrackAdded(1, [| "s" |]) ] "tracks"
              let struct (r, b) = answer b
              let b = setLocal r b

              Expect.equal
                  (told b)
                  [ "descriptions"
                    "transceivers"
                    "Stable"
                    "reply"
                    "role False"
                    "local"
                    "remote"
                    "gather"
                    "dtls Client"
                    "sctp 5000 262144"
                    "media" ]
                  "our answer"

              let a = setRemote r a

              Expect.equal
                  (told a)
                  [ "descriptions"
                    "transceivers"
                    "Stable"
                    "tracks"
                    "reply"
                    "remote"
                    "dtls Server"
                    "sctp 5000 262144"
                    "media" ]
                  "their answer"

              for e in [ a; b ] do
                  for mid in [ "0"; "1" ] do
                      Expect.equal (currentDirection mid e) (ValueSome Direction.SendRecv) "both ways"
                      Expect.isTrue ((plan mid e).Sending && (plan mid e).Receiving) "planned"
                      Expect.isTrue (plan mid e).ReducedSize "reduced size"
                      Expect.isTrue (plan mid e).ReceiverRoundTrip "XR")

          testCase "a section of ours says all that RFC 8829 asks for" (fun () ->
              let a =
                  media 1L
                  |> tryAdd
                      { init MediaKind.Video Direction.SendRecv [ rid "h"; rid "l" ] with
                          Streams = [| "x"; "y" |]
                          Track = ValueSome "cam" }

              let a = a |> audio
              let struct (o, _) = offer false a
              let video, sound = attributesAt 0 o, attributesAt 1 o

              for flag in [ "rtcp-mux"; "rtcp-rsize"; "sendrecv"; "extmap-allow-mixed" ] do
                  Expect.isTrue (SdpAttributes.has flag video && SdpAttributes.has flag sound) flag

              Expect.equal (SdpAttributes.values "rtcp-xr" video) [| "rcvr-rtt=all" |] "rtcp-xr"
              Expect.equal (SdpAttributes.msids video) [| "x cam"; "y cam" |] "msid"
              Expect.equal (SdpAttributes.msids sound) [| "s a" |] "msid of addTrack"
              Expect.equal (SdpAttributes.tryValue "rtcp" video) (ValueSome "9 IN IP4 0.0.0.0") "rtcp"
              Expect.equal (SdpAttributes.values "rid" video) [| "h send"; "l send" |] "rids"
              Expect.equal (SdpAttributes.tryValue "simulcast" video) (ValueSome "send h;l") "simulcast"
              Expect.equal (SdpAttributes.values "ssrc" video) [||] "no ssrc with rids"
              Expect.isNonEmpty (SdpAttributes.values "ssrc" sound) "ssrc without"
              Expect.isFalse (SdpAttributes.has "cryptex" video) "no Cryptex where it is disabled")

          testCase "bundle policies: which sections have no port of their own" (fun () ->
              for policy, ports in
                  [ BundlePolicy.Balanced, [ true; true; false; true ]
                    BundlePolicy.MaxCompat, [ true; true; true; true ]
                    BundlePolicy.MaxBundle, [ true; false; false; false ] ] do
                  let a =
                      withConfiguration (fun c -> { c with BundlePolicy = policy }) 1L
                      |> audio
                      |> video
                      |> addTransceiver MediaKind.Video Direction.SendRecv
                      |> withData

                  let struct (o, a) = offer false a
                  let sdp = parsed o.Sdp
                  Expect.equal [ for m in sdp.Media -> m.Port <> 0us ] ports (string policy)

                  for m in sdp.Media do
                      Expect.equal
                          (SdpAttributes.bundleOnly m.Level.Attributes)
                          (m.Port = 0us)
                          "bundle-only with port zero"

                  // Once negotiated no section is bundle-only, RFC 8829 §5.2.2.
                  let struct (r, _) = answer (setRemote o (media 2L))
                  Expect.equal [ for m in (parsed r.Sdp).Media -> m.Port <> 0us ] [ true; true; true; true ] "accepted"
                  let struct (again, _) = offer false (setRemote r (setLocal o a))

                  Expect.equal
                      [ for m in (parsed again.Sdp).Media -> m.Port <> 0us ]
                      [ true; true; true; true ]
                      "later")

          testCase "directions are intersected in the answer, and mirrored" (fun () ->
              for ours in 0..3 do
                  for theirs in 0..3 do
                      let ours, theirs = enum<Direction> ours, enum<Direction> theirs
                      let a = media 1L |> addTransceiver MediaKind.Audio ours
                      let b = media 2L |> addTrack MediaKind.Audio "b" []
                      let b = setDirection 0 theirs b
                      let struct (a, b) = offered a b

                      let mid =
                          if Directions.receives ours then
                              0
                          else
                              b.Transceivers[b.Transceivers.Length - 1].Id
                      // What our offer does not receive makes a transceiver of its own.
                      let wanted = (transceiver mid b).Direction
                      let struct (a, b) = answeredBy b a
                      let flow = Directions.intersect ours (Directions.reversed wanted)
                      Expect.equal (currentDirection "0" a) (ValueSome flow) "ours"
                      Expect.equal (currentDirection "0" b) (ValueSome(Directions.reversed flow)) "theirs")

          testCase
              "a remote offer takes addTrack's transceivers of its kind, never addTransceiver's, and makes what is missing"
              (fun () ->
                  let b =
                      media 2L
                      |> addTransceiver MediaKind.Audio Direction.SendRecv
                      |> addTrack MediaKind.Video "b" []

                  let struct (a, b) = offered (media 1L |> audio |> video) b

                  Expect.equal
                      (b.Transceivers |> List.map (fun t -> t.Id, t.Mid))
                      [ 0, ValueNone; 1, ValueSome "1"; 2, ValueSome "0" ]
                      "as JSEP pairs them"

                  Expect.equal (transceiver 2 b).Direction Direction.RecvOnly "recvonly"
                  let struct (_, b) = answeredBy b a
                  Expect.isTrue (needed b) "the one that waits needs negotiation")

          testCase "codec preferences order offers and answers, and drop what is not among them" (fun () ->
              let vp9 =
                  Capabilities.codecs MediaKind.Video Capabilities.defaults
                  |> Array.find (fun c -> c.MimeType = "video/VP9")

              let h264 =
                  Capabilities.codecs MediaKind.Video Capabilities.defaults
                  |> Array.filter (fun c -> c.MimeType = "video/H264")

              let prefer codecs e =
                  send (Jsep.SetCodecPreferences(1L, 0, codecs)) e

              let a = media 1L |> video |> prefer [| vp9 |] |> must "preferences"
              let struct (o, a') = offer false a
              Expect.equal (Codecs.ofMedia (sectionAt 0 o) |> Array.map _.Codec.MimeType) [| "video/VP9" |] "the one"
              let b = media 2L |> video |> prefer h264 |> must "preferences"
              let struct (r, _) = answer (setRemote o b)
              Expect.equal (shape r) [ "video", false ] "nothing in common is turned down"
              let struct (o, _) = offer false (media 3L |> video)
              let struct (r, _) = answer (setRemote o b)

              Expect.isTrue
                  (Codecs.ofMedia (sectionAt 0 r)
                   |> Array.forall (fun c -> c.Codec.MimeType = "video/H264"))
                  "the answer's"

              prefer [| { vp9 with MimeType = "video/nope" } |] a
              |> refusedWith ErrorName.InvalidModificationError "unknown"

              let struct (o2, _) = offer false (prefer [||] a' |> must "reset")
              Expect.isGreaterThan (Codecs.ofMedia (sectionAt 0 o2)).Length 10 "reset")

          testCase "header extensions: those stopped are not offered, the mid stays" (fun () ->
              let a = media 1L |> audio

              let set change =
                  send (Jsep.SetHeaderExtensions(1L, 0, Capabilities.defaults.AudioExtensions |> Array.map change)) a

              let level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

              let stop uri (e: ExtensionCapability) =
                  if e.Uri = uri then
                      { e with Direction = Direction.Stopped }
                  else
                      e

              let struct (o, _) = offer false (set (stop level) |> must "stopped")
              Expect.isFalse (o.Sdp.Contains level) "not offered"

              set (stop "urn:ietf:params:rtp-hdrext:sdes:mid")
              |> refusedWith ErrorName.InvalidModificationError "mid"

              set (fun e -> { e with Uri = e.Uri + "x" })
              |> refusedWith ErrorName.InvalidModificationError "unknown")

          testCase "Cryptex: negotiated, disabled, required" (fun () ->
              let one policy seed =
                  withConfiguration (fun c -> { c with HeaderEncryption = policy }) seed |> audio

              let results =
                  [ for x in 0..2 do
                        for y in 0..2 do
                            let x, y = enum<HeaderEncryptionPolicy> x, enum<HeaderEncryptionPolicy> y
                            let struct (a, b) = negotiate false (one x 1L) (one y 2L)

                            let show (e: End) =
                                match e.Plan with
                                | [ p ] -> if p.HeaderEncryption then "encrypted" else "plain"
                                | _ -> "none"

                            x, y, show a, show b ]

              for x, y, a, b in results do
                  let expected =
                      match x, y with
                      | HeaderEncryptionPolicy.Disable, HeaderEncryptionPolicy.Require
                      | HeaderEncryptionPolicy.Require, HeaderEncryptionPolicy.Disable -> "none"
                      | HeaderEncryptionPolicy.Disable, _
                      | _, HeaderEncryptionPolicy.Disable -> "plain"
                      | _ -> "encrypted"

                  Expect.equal a expected (string x + " offers to " + string y)

                  if x <> HeaderEncryptionPolicy.Require then
                      Expect.equal b expected (string y + " answers " + string x))

          testCase
              "data turned down beside live media closes SCTP alone; media turned down keeps the transport"
              (fun () ->
                  let struct (a, b) = negotiate false (media 1L |> audio |> withData) (media 2L)
                  let struct (again, _) = offer false b

                  let off =
                      describe
                          SdpType.Offer
                          (replaced "m=application 9" "m=application 0" again.Sdp
                           |> replaced "BUNDLE 0 1" "BUNDLE 0")

                  let struct (r, a) = answer (setRemote off a)
                  let a = setLocal r a
                  Expect.contains (told a) "close sctp" "SCTP"
                  Expect.isFalse (List.contains "close" (told a)) "not the transport"
                  Expect.isTrue (plan "0" a).Sending "audio goes on"
                  let struct (c, d) = negotiate false (media 1L |> audio |> withData) (media 2L)
                  let struct (c, d) = negotiate false (stop 0 c) d
                  Expect.equal (c.Orders.Closed, d.Orders.Closed) (0, 0) "the transport stays"
                  Expect.equal (c.Plan.Length, d.Plan.Length) (0, 0) "no media"
                  Expect.isTrue c.Orders.Sctp.IsSome "data goes on"

                  let struct (fragment, _) = struct (c.Orders.Local.Value.UsernameFragment, 0)

                  Expect.equal
                      (Jsep.sectionOf fragment c.Session)
                      (ValueSome(struct (ValueSome "1", 1)))
                      "data's section owns it now")

          testCase "the last section turned down closes the transport" (fun () ->
              let struct (a, b) = negotiate false (media 1L |> audio) (media 2L)
              let struct (a, b) = negotiate false (stop 0 a) b
              Expect.equal (a.Orders.Closed, b.Orders.Closed) (1, 1) "closed"
              Expect.equal (a.Plan.Length, b.Plan.Length) (0, 0) "and no media before") ]

let tests = testList "Jsep media" [ adding; offering ]
