/// Transceivers as they change: scenarios after the web platform tests' (RTCPeerConnection-transceivers, -ontrack,
/// RTCRtpTransceiver-direction, -stop, RTCRtpSender-setParameters, rollback).
module Hybrid.WebRtc.PropertyTests.JsepTransceiverTests

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

let private changing =
    testList
        "changes"
        [ testCase "direction: negotiation needed by it, and not by the same one" (fun () ->
              let struct (a, b) = sending ()
              Expect.equal (currentDirection "0" a) (ValueSome Direction.SendOnly) "sendonly so far"
              Expect.equal (told (setDirection 0 Direction.SendRecv a)) [ "reply" ] "the same"
              Expect.equal (told (setDirection 0 Direction.Inactive a)) [ "transceivers"; "reply"; "needed" ] "another"

              send (Jsep.SetDirection(1L, 0, Direction.Stopped)) a
              |> refusedWith ErrorName.TypeError "stopped"
              // What the peer offered is intersected: their recvonly answers our sendrecv.
              Expect.isFalse (needed (setDirection 0 Direction.RecvOnly b)) "b: as negotiated"
              Expect.isTrue (needed (setDirection 0 Direction.SendRecv b)) "b: more than the answer"
              let b = setDirection 0 Direction.SendRecv b
              let struct (b, a) = negotiate false b a
              Expect.equal (currentDirection "0" a) (ValueSome Direction.SendRecv) "both ways now"
              Expect.equal (currentDirection "0" b) (ValueSome Direction.SendRecv) "both ways now")

          testCase "hold and resume: the track goes and comes, SSRCs stay" (fun () ->
              let struct (a, b) = sending ()
              let before = (plan "0" a).Encodings[0].Ssrc
              let struct (held, _) = offer false (setDirection 0 Direction.Inactive a)

              // Chromium shows nothing more of a source that a description left out and the next one names again.
              Expect.contains
                  (attributesAt 0 held |> Array.map string)
                  (string (SdpAttribute.create "msid" "s a"))
                  "the msid stays, RFC 9429 §5.2.2"

              Expect.isNonEmpty (Sources.ofMedia (sectionAt 0 held)).Sources "and its source"
              let struct (a, b) = negotiate false (setDirection 0 Direction.Inactive a) b
              Expect.equal (List.last b.Tracks) (TrackRemoved(0, [| "s" |])) "held"
              Expect.isFalse (plan "0" a).Sending "nothing is sent"
              Expect.equal (plan "0" a).Encodings[0].Ssrc before "the SSRC"
              let struct (a, b) = negotiate false (setDirection 0 Direction.SendRecv a) b
              Expect.equal (List.last b.Tracks) (TrackAdded(0, [| "s" |])) "resumed"
              Expect.equal (plan "0" a).Encodings[0].Ssrc before "the SSRC")

          testCase "streams: setStreams needs negotiation, and a new stream is told" (fun () ->
              let struct (a, b) = sending ()
              let a = send (Jsep.SetStreams(1L, 0, [| "s" |])) a
              Expect.isFalse (needed a) "the same"
              let a = send (Jsep.SetStreams(1L, 0, [| "t"; "u"; "t" |])) a
              Expect.isTrue (needed a) "others"
              let struct (a, b) = negotiate false a b
              Expect.equal (List.last b.Tracks) (TrackAdded(0, [| "t"; "u" |])) "the new ones"
              Expect.equal (ofMid "0" b).RemoteStreams [| "t"; "u" |] "as negotiated"
              let told = b.Tracks.Length
              let a = send (Jsep.SetStreams(1L, 0, [||])) a
              let struct (_, b) = negotiate false a b
              Expect.equal (ofMid "0" b).RemoteStreams [||] "none"
              Expect.equal b.Tracks.Length told "which is no track event")

          testCase "replaceTrack never needs negotiation, and the msid's track id stays" (fun () ->
              let struct (a, b) = sending ()
              let a = send (Jsep.ReplaceTrack(1L, 0, ValueSome "other")) a
              Expect.isFalse (needed a) "not needed"
              let struct (o, _) = offer false a
              Expect.equal (SdpAttributes.msids (attributesAt 0 o)) [| "s a" |] "the id"
              let struct (a, _) = negotiate false (stop 0 a) b
              send (Jsep.ReplaceTrack(1L, 1, ValueNone)) a |> must "the other" |> ignore)

          testCase "setParameters: what changes and what does not, and the plan that follows" (fun () ->
              let a =
                  media 1L
                  |> tryAdd (init MediaKind.Video Direction.SendRecv [ rid "h"; rid "l" ])

              let encodings = (answeredInfo a).Encodings

              let set encodings e =
                  send (Jsep.SetParameters(1L, 0, encodings)) e

              set (Array.rev encodings) a
              |> refusedWith ErrorName.InvalidModificationError "order"

              set encodings[..0] a |> refusedWith ErrorName.InvalidModificationError "number"

              set (Array.map (fun e -> { e with Rid = e.Rid + "x" }) encodings) a
              |> refusedWith ErrorName.InvalidModificationError "rids"

              set
                  (Array.map
                      (fun e ->
                          { e with
                              ScaleResolutionDownBy = ValueSome 0.9 })
                      encodings)
                  a
              |> refusedWith ErrorName.RangeError "scale"

              set
                  (Array.map
                      (fun e ->
                          { e with
                              ScaleResolutionDownBy = ValueSome nan })
                      encodings)
                  a
              |> refusedWith ErrorName.RangeError "NaN"

              let struct (a, b) = negotiate false a (media 2L)
              Expect.equal ((plan "0" b).RemoteRids) [| "h"; "l" |] "simulcast"
              let off = encodings |> Array.mapi (fun i e -> { e with Active = i = 0 })
              let a = set off a
              Expect.equal (told a) [ "transceivers"; "reply"; "media" ] "no negotiation, a new plan"
              Expect.equal ((plan "0" a).Encodings |> Array.map _.Parameters.Active) [| true; false |] "active"
              let struct (o, _) = offer false a

              Expect.equal
                  (SdpAttributes.tryValue "simulcast" (attributesAt 0 o))
                  (ValueSome "send h;~l")
                  "paused in the next offer")

          testCase "an answer takes some rids, pauses others, or none" (fun () ->
              let answeredWith (lines: string list) =
                  let a =
                      media 1L
                      |> tryAdd (init MediaKind.Video Direction.SendRecv [ rid "h"; rid "m"; rid "l" ])

                  let struct (o, a) = offer false a
                  let struct (r, _) = answer (setRemote o (media 2L))

                  let kept =
                      r.Sdp.Split "\r\n"
                      |> Array.filter (fun l -> not (l.StartsWith "a=rid" || l.StartsWith "a=simulcast" || l = ""))

                  let text = String.Join("\r\n", Array.append kept (Array.ofList lines)) + "\r\n"
                  setRemote (describe SdpType.Answer text) (setLocal o a)

              let shown (e: End) =
                  (plan "0" e).Encodings
                  |> Array.map (fun x -> x.Parameters.Rid, x.Parameters.Active)
                  |> List.ofArray

              Expect.equal
                  (shown (answeredWith [ "a=rid:h recv"; "a=rid:l recv"; "a=simulcast:recv h;l" ]))
                  [ "h", true; "l", true ]
                  "two"

              Expect.equal
                  (shown (answeredWith [ "a=rid:h recv"; "a=rid:m recv"; "a=rid:l recv"; "a=simulcast:recv h;~m;l" ]))
                  [ "h", true; "m", false; "l", true ]
                  "one paused"

              Expect.equal (shown (answeredWith [])) [ "", true ] "none: the first, alone"
              Expect.equal (transceiver 0 (answeredWith [])).Encodings.Length 1 "for good") ]

let private stopping =
    testList
        "stopping"
        [ testCase
              "stop: direction stopped at once, then stopped and gone on both sides, and the section is recycled"
              (fun () ->
                  let struct (a, b) = sending ()
                  let a = stop 0 a
                  Expect.equal (tracks a) [ TrackEnded 0 ] "the track ends"
                  Expect.isTrue (needed a) "needed"
                  Expect.equal (transceiver 0 a).Direction Direction.Stopped "direction"
                  Expect.equal (transceiver 0 a).Stopping true "stopping"
                  Expect.equal (transceiver 0 a).CurrentDirection (ValueSome Direction.SendOnly) "not yet"
                  Expect.isFalse ((plan "0" a).Sending || (plan "0" a).Receiving) "nothing flows"
                  Expect.equal (told (stop 0 a)) [ "reply" ] "again"

                  send (Jsep.SetDirection(1L, 0, Direction.SendRecv)) a
                  |> refusedWith ErrorName.InvalidStateError "direction"

                  send (Jsep.ReplaceTrack(1L, 0, ValueNone)) a
                  |> refusedWith ErrorName.InvalidStateError "replaceTrack"

                  let struct (o, a') = offer false a
                  Expect.equal (shape o) [ "audio", false; "video", true ] "port zero"
                  Expect.equal (SdpAttributes.msids (attributesAt 0 o)) [||] "no msid"
                  let struct (a, b) = answeredBy (setRemote o b) (setLocal o a')

                  Expect.equal
                      (a.Transceivers |> List.map _.Mid, b.Transceivers |> List.map _.Mid)
                      ([ ValueSome "1" ], [ ValueSome "1" ])
                      "gone"

                  Expect.equal (List.contains (TrackEnded 0) b.Tracks) true "ended there"
                  let struct (o, _) = offer false (a |> addTrack MediaKind.Video "w" [])
                  Expect.equal (shape o) [ "video", true; "video", true ] "recycled"
                  Expect.equal (Section.mids (parsed o.Sdp)) [| "2"; "1" |] "under a new mid"
                  // The other side may recycle too, with another kind or its own.
                  let struct (b, a) = negotiate false (b |> addTrack MediaKind.Audio "c" []) a
                  Expect.equal (shape (held b).CurrentLocal.Value) [ "audio", true; "video", true ] "recycled"
                  Expect.equal (List.length a.Transceivers) 2 "a new one there")

          testCase "a transceiver that no description spoke of is gone at once" (fun () ->
              let a = media 1L |> audio |> video |> stop 0
              Expect.equal (a.Transceivers |> List.map _.Id) [ 1 ] "gone"
              let struct (o, _) = offer false a
              Expect.equal (shape o) [ "video", true ] "and not offered")

          testCase "a transceiver stopped while an offer is in hand is turned down in the answer" (fun () ->
              let struct (a, b) = offered (media 1L |> audio) (media 2L |> audio)
              let b = stop 0 b
              let struct (a, b) = answeredBy b a
              Expect.equal (a.Transceivers, b.Transceivers) ([], []) "gone on both sides"
              Expect.equal (a.Orders.Dtls, b.Orders.Dtls) (ValueNone, ValueNone) "nothing was opened")

          testCase "a rejected answer stops the transceiver" (fun () ->
              let a = media 1L |> audio |> video
              let struct (o, a) = offer false a

              let struct (r, _) =
                  answer (
                      setRemote
                          o
                          (startWith
                              { mediaConfig 2L with
                                  Capabilities = Capabilities.only [| "audio/opus" |] Capabilities.defaults }
                              2L)
                  )

              Expect.equal (shape r) [ "audio", true; "video", false ] "no video codec"
              let a = setRemote r (setLocal o a)
              Expect.equal (a.Transceivers |> List.map _.Kind) [ MediaKind.Audio ] "gone"
              Expect.contains a.Tracks (TrackEnded 1) "ended") ]

let private rollingBack =
    testList
        "rollback"
        [ testCase "of our offer: transceivers stay, and lose their sections" (fun () ->
              let a = media 1L |> audio
              let struct (o, a') = offer false a
              let a' = setLocal o a' |> trySetLocal (ValueSome rollback)

              Expect.equal
                  (told a')
                  [ "descriptions"
                    "transceivers"
                    "Stable"
                    "reply"
                    "rollback to none"
                    "media"
                    "needed" ]
                  "what is told"

              Expect.equal (a'.Transceivers |> List.map _.Mid) [ ValueNone ] "no mid"
              Expect.isEmpty a'.Plan "nothing is awaited")

          testCase "of their offer: what it made is gone and its tracks end, what addTrack took stays" (fun () ->
              let struct (_, b) = offered (media 1L |> audio |> video) (media 2L)
              let b = b |> addTrack MediaKind.Audio "b" []
              Expect.equal (answeredInfo b).Id 0 "addTrack takes what the offer made"
              let b = trySetRemote rollback b
              Expect.equal (b.Transceivers |> List.map (fun t -> t.Id, t.Mid)) [ 0, ValueNone ] "one stays"
              Expect.isTrue b.Transceivers[0].CreatedByAddTrack "as addTrack's"
              Expect.equal (tracks b) [ TrackRemoved(0, [| "s" |]); TrackRemoved(1, [| "s" |]); TrackEnded 1 ] "tracks"
              Expect.isTrue (needed b) "needed for the one"
              let struct (_, b) = offered (media 3L |> audio) b
              Expect.equal (ofMid "0" b).Id 0 "which the next offer takes")

          testCase "of their re-offer: directions, streams and tracks are as they were" (fun () ->
              let struct (a, b) = sending ()
              let a = a |> setDirection 0 Direction.Inactive
              let a = send (Jsep.SetStreams(1L, 1, [| "z" |])) a
              let struct (o, _) = offer false a
              let after = setRemote o b
              Expect.equal (tracks after) [ TrackRemoved(0, [| "s" |]); TrackAdded(1, [| "z" |]) ] "the offer's"
              let after = trySetRemote rollback after
              Expect.equal after.Transceivers b.Transceivers "as before"
              Expect.equal (state after) SignalingState.Stable "stable")

          testCase "implicit: a glaring offer takes our transceivers, and ours is made anew" (fun () ->
              let struct (theirs, a) = offer false (media 1L |> audio)
              let b = media 2L |> audio |> video
              let struct (ours, b) = offer false b
              let b = setRemote theirs (setLocal ours b)

              Expect.equal
                  (b.Transceivers |> List.map (fun t -> t.Id, t.Mid))
                  [ 0, ValueSome "0"; 1, ValueNone ]
                  "one has a section"

              let struct (a, b) = answeredBy b (setLocal theirs a)
              Expect.isTrue (needed b) "the other waits"
              let struct (b, a) = negotiate false b a
              Expect.equal (shape (held a).CurrentLocal.Value) [ "audio", true; "video", true ] "both"
              Expect.isFalse (needed b) "done") ]

let private hostile =
    testList
        "hostile descriptions"
        [ testCase "more formats, payload types that are none: refused, and the message says why" (fun () ->
              let section (formats: string) =
                  head "actpass"
                  + "m=audio 9 UDP/TLS/RTP/SAVPF "
                  + formats
                  + "\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\n"

              let refused text =
                  match reply (trySetRemote (theirOffer text) (media 1L)) with
                  | Error mistake -> mistake
                  | Ok _ -> failtest "taken"

              let many = refused (section (String.Join(" ", [ 0..5000 ])))
              Expect.equal many.Detail ErrorDetail.SdpSyntaxError "thousands"
              Expect.stringContains many.Message "256" "the limit"
              Expect.equal (refused (section "200")).Name ErrorName.InvalidAccessError "no payload type")

          testCase "a thousand sections of media, each with all codecs, are answered in seconds" (fun () ->
              let body =
                  String.Join("", [ for n in 96..120 -> "a=rtpmap:" + string n + " VP8/90000\r\n" ])

              let section (n: int) =
                  "m=video 9 UDP/TLS/RTP/SAVPF "
                  + String.Join(" ", [ 96..120 ])
                  + "\r\na=rtcp-mux\r\na=msid:s t\r\na=mid:"
                  + string n
                  + "\r\n"
                  + body

              let group = "a=group:BUNDLE " + String.Join(" ", [ 0..999 ]) + "\r\n"
              let text = head "actpass" + group + String.Join("", Seq.init 1000 section)

              Laws.takes "in seconds" 20.0 (fun () ->
                  let b = setRemote (theirOffer text) (media 1L)
                  let struct (r, b) = answer b
                  let b = setLocal r b
                  Expect.equal b.Plan.Length 1000 "all"
                  let struct (_, _) = offer false b
                  ()))

          testCase "an answer cannot make us send what we did not offer to" (fun () ->
              let a = media 1L |> addTransceiver MediaKind.Audio Direction.RecvOnly
              let struct (o, a) = offer false a
              let struct (r, _) = answer (setRemote o (media 2L |> audio))
              let lie = describe SdpType.Answer (replaced "a=sendonly" "a=sendrecv" r.Sdp)
              let a = setRemote lie (setLocal o a)
              Expect.equal (currentDirection "0" a) (ValueSome Direction.RecvOnly) "recvonly") ]

let tests =
    testList "Jsep transceivers" [ changing; stopping; rollingBack; hostile ]
