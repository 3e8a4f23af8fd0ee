/// W3C's rules of transceivers, senders, receivers, over a scripted peer.
module Hybrid.WebRtc.PropertyTests.Interop.ScriptMediaTests

open System
open System.Collections.Concurrent
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests
open Hybrid.WebRtc.PropertyTests.Interop.Scripted
open Hybrid.WebRtc.PropertyTests.Interop.ScriptedMedia

let private failing (task: unit -> Task) = nameOf (fun () -> (task ()).Wait())

let private encoding (rid: string | null) = RTCRtpEncodingParameters(Rid = rid)

let private several (rids: string list) =
    RTCRtpTransceiverInit(SendEncodings = [| for rid in rids -> encoding rid |])

let private transceivers =
    testList
        "transceivers"
        [ testCaseTask "addTransceiver answers at once, and the same object for ever, in order" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let first = pc.AddTransceiver video

                  let second =
                      pc.AddTransceiver(audio, RTCRtpTransceiverInit(Direction = RTCRtpTransceiverDirection.RecvOnly))

                  Expect.sequenceEqual (pc.GetTransceivers()) [ first; second ] "at once, in order"
                  do! settled pc
                  Expect.sequenceEqual (pc.GetTransceivers()) [ first; second ] "after the events, too"
                  Expect.equal second.Direction RTCRtpTransceiverDirection.RecvOnly "direction"
                  Expect.isFalse first.CurrentDirection.HasValue "nothing negotiated"
                  Expect.isNull first.Mid "no mid"
                  Expect.isTrue first.Receiver.Track.Muted "muted from the beginning"
                  media.Negotiate()
                  do! settled pc
                  Expect.sequenceEqual (pc.GetTransceivers()) [ first; second ] "the same objects"
                  Expect.sequenceEqual (pc.GetSenders()) [ first.Sender; second.Sender ] "senders"
                  Expect.sequenceEqual (pc.GetReceivers()) [ first.Receiver; second.Receiver ] "receivers"
                  Expect.equal first.Mid "1" "mid"
                  Expect.equal first.CurrentDirection (Nullable RTCRtpTransceiverDirection.SendRecv) "negotiated"
                  Expect.isNotNull first.Sender.Transport "a transport"
                  media.Set [| media.Infos[1]; media.Infos[0] |]
                  do! settled pc
                  Expect.sequenceEqual (pc.GetTransceivers()) [ second; first ] "the core's order"
              })

          testCaseTask "what an earlier event says does not undo what a later call has shown" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let seen = ConcurrentQueue<int>()
                  let gate = new System.Threading.ManualResetEventSlim()
                  pc.Notify.Context.Post(Action(fun () -> gate.Wait()))
                  let a = pc.AddTransceiver video
                  let b = pc.AddTransceiver video
                  a.Direction <- RTCRtpTransceiverDirection.SendOnly
                  seen.Enqueue(pc.GetTransceivers().Count)
                  gate.Set()
                  do! settled pc
                  seen.Enqueue(pc.GetTransceivers().Count)
                  Expect.sequenceEqual seen [ 2; 2 ] "both, all the time"
                  Expect.equal a.Direction RTCRtpTransceiverDirection.SendOnly "the direction"
                  Expect.isFalse (obj.ReferenceEquals(a, b)) "two"
              })

          testCaseTask "addTransceiver checks encodings as W3C §5.1 has it" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()

                  let check expected name init =
                      Expect.equal (nameOf (fun () -> pc.AddTransceiver(video, init) |> ignore)) expected name

                  check "TypeError" "stopped" (RTCRtpTransceiverInit(Direction = RTCRtpTransceiverDirection.Stopped))

                  check
                      "TypeError"
                      "one without"
                      (RTCRtpTransceiverInit(SendEncodings = [| encoding "a"; encoding null |]))

                  check
                      "TypeError"
                      "two without"
                      (RTCRtpTransceiverInit(SendEncodings = [| encoding null; encoding null |]))

                  check "TypeError" "twice" (several [ "a"; "a" ])
                  check "TypeError" "empty" (several [ "" ])
                  check "TypeError" "not letters" (several [ "a-b" ])
                  check "TypeError" "too long" (several [ String('a', 17) ])

                  check
                      "RangeError"
                      "scale"
                      (RTCRtpTransceiverInit(
                          SendEncodings = [| RTCRtpEncodingParameters(ScaleResolutionDownBy = Nullable 0.5) |]
                      ))

                  check
                      "RangeError"
                      "rate"
                      (RTCRtpTransceiverInit(
                          SendEncodings = [| RTCRtpEncodingParameters(MaxFramerate = Nullable -1.0) |]
                      ))

                  check
                      "OperationError"
                      "codec"
                      (RTCRtpTransceiverInit(
                          SendEncodings =
                              [| RTCRtpEncodingParameters(
                                     Codec = RTCRtpCodec(MimeType = "video/nothing", ClockRate = 90000)
                                 ) |]
                      ))

                  check "nothing" "three" (several [ "h"; "m"; "f" ])
                  Expect.hasLength media.Infos 1 "nothing was asked of the core before"

                  Expect.sequenceEqual
                      (media.Infos[0].Encodings
                       |> Array.map (fun e -> struct (e.Rid, e.ScaleResolutionDownBy)))
                      [ struct ("h", ValueSome 4.0)
                        struct ("m", ValueSome 2.0)
                        struct ("f", ValueSome 1.0) ]
                      "scaled by powers of two"

                  pc.AddTransceiver(audio, several [ "h"; "m" ]) |> ignore
                  Expect.sequenceEqual (media.Infos[1].Encodings |> Array.map _.Rid) [ "" ] "sound has one encoding"
                  Expect.equal media.Infos[1].Encodings[0].ScaleResolutionDownBy ValueNone "and no scale"
                  pc.AddTransceiver(video, several [ "x" ]) |> ignore
                  Expect.sequenceEqual (media.Infos[2].Encodings |> Array.map _.Rid) [ "" ] "one encoding has no rid"
              })

          testCaseTask "direction: what is asked, what is refused" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let t = pc.AddTransceiver video
                  t.Direction <- RTCRtpTransceiverDirection.SendRecv

                  let asked () =
                      media.Posted(function
                          | Input.SetDirection(_, id, direction) -> Some(struct (id, direction))
                          | _ -> None)

                  Expect.isEmpty (asked ()) "no change, no request"
                  t.Direction <- RTCRtpTransceiverDirection.Inactive
                  Expect.sequenceEqual (asked ()) [ struct (1, Direction.Inactive) ] "asked"
                  Expect.equal t.Direction RTCRtpTransceiverDirection.Inactive "shown at once"

                  Expect.equal
                      (nameOf (fun () -> t.Direction <- RTCRtpTransceiverDirection.Stopped))
                      "TypeError"
                      "stopped"

                  t.Stop()
                  Expect.equal t.Direction RTCRtpTransceiverDirection.Stopped "stopped at once"

                  Expect.equal
                      (nameOf (fun () -> t.Direction <- RTCRtpTransceiverDirection.SendRecv))
                      "InvalidStateError"
                      "after stop()"

                  t.Stop()

                  Expect.hasLength
                      (media.Posted(function
                          | Input.StopTransceiver _ -> Some()
                          | _ -> None))
                      1
                      "stopped once"

                  do! settled pc
                  Expect.equal t.Receiver.Track.ReadyState MediaStreamTrackState.Ended "its track has ended"
                  Expect.hasLength (pc.GetSenders()) 1 "still there until a description says so"

                  media.Change 1 (fun info ->
                      { info with
                          CurrentDirection = ValueSome Direction.Stopped })

                  do! settled pc
                  Expect.isEmpty (pc.GetSenders()) "gone"
                  pc.Close()
                  Expect.equal (nameOf t.Stop) "InvalidStateError" "closed"
              })

          testCaseTask "addTrack and removeTrack" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let track = new RtpTrack(video)
                  let stream = MediaStream("s", track)
                  let sender = pc.AddTrack(track, stream, stream)
                  Expect.equal sender.Track track "its track, at once"

                  match
                      media.Posted(function
                          | Input.AddTrack(_, kind, id, streams) -> Some(struct (kind, id, streams))
                          | _ -> None)
                  with
                  | [| struct (kind, id, streams) |] ->
                      Expect.equal kind MediaKind.Video "kind"
                      Expect.equal id track.Id "track"
                      Expect.sequenceEqual streams [ "s" ] "a stream is named once"
                  | _ -> failtest "one"

                  Expect.equal (nameOf (fun () -> pc.AddTrack track |> ignore)) "InvalidAccessError" "twice"
                  let other = MediaScript().Connect()
                  Expect.equal (nameOf (fun () -> other.RemoveTrack sender)) "InvalidAccessError" "another's"
                  pc.RemoveTrack sender
                  Expect.isNull sender.Track "gone"

                  Expect.equal
                      (Seq.head (pc.GetTransceivers())).Direction
                      RTCRtpTransceiverDirection.RecvOnly
                      "direction"

                  pc.RemoveTrack sender

                  Expect.hasLength
                      (media.Posted(function
                          | Input.RemoveTrack _ -> Some()
                          | _ -> None))
                      1
                      "once"

                  pc.AddTrack track |> ignore
                  pc.Close()

                  Expect.equal
                      (nameOf (fun () -> pc.AddTrack(new RtpTrack(video)) |> ignore))
                      "InvalidStateError"
                      "closed"

                  Expect.equal (nameOf (fun () -> pc.AddTransceiver video |> ignore)) "InvalidStateError" "closed"
                  Expect.equal (nameOf (fun () -> pc.RemoveTrack sender)) "InvalidStateError" "closed"
                  Expect.isEmpty (pc.GetSenders()) "no senders"
              })

          testCaseTask "replaceTrack, setStreams and what the core refuses" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let t = pc.AddTransceiver video
                  let track = new RtpTrack(video)
                  do! within (t.Sender.ReplaceTrackAsync track)
                  Expect.equal t.Sender.Track track "replaced"
                  Expect.equal (failing (fun () -> t.Sender.ReplaceTrackAsync(new RtpTrack(audio)))) "TypeError" "kind"
                  do! within (t.Sender.ReplaceTrackAsync null)
                  Expect.isNull t.Sender.Track "nothing"
                  t.Sender.SetStreams(MediaStream "a", MediaStream "b")

                  match
                      media.Posted(function
                          | Input.SetStreams(_, 1, streams) -> Some streams
                          | _ -> None)
                  with
                  | [| streams |] -> Expect.sequenceEqual streams [ "a"; "b" ] "streams"
                  | _ -> failtest "one"

                  media.Refuse(Mistake.create ErrorName.InvalidModificationError "no such codec")

                  Expect.equal
                      (nameOf (fun () -> t.SetCodecPreferences [ RTCRtpCodec(MimeType = "video/x", ClockRate = 1) ]))
                      "InvalidModificationError"
                      "the core's word"

                  t.Stop()
                  Expect.equal (failing (fun () -> t.Sender.ReplaceTrackAsync track)) "InvalidStateError" "stopped"

                  Expect.equal
                      (failing (fun () -> t.Sender.SetParametersAsync(t.Sender.GetParameters())))
                      "InvalidStateError"
                      "stopped"
              }) ]

let private parameters =
    testList
        "parameters"
        [ testCaseTask "setParameters takes back what getParameters answered last, once" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let sender = pc.AddTransceiver(video, several [ "h"; "f" ]).Sender
                  media.Negotiate()
                  do! settled pc
                  let p = sender.GetParameters()
                  Expect.equal (sender.GetParameters().TransactionId) p.TransactionId "the same until it is set"
                  Expect.sequenceEqual (p.Codecs |> Seq.map _.PayloadType) [ 96; 98 ] "codecs"
                  Expect.equal p.Rtcp.Cname "cname" "cname"

                  let slower =
                      RTCRtpSendParameters(
                          TransactionId = p.TransactionId,
                          HeaderExtensions = p.HeaderExtensions,
                          Rtcp = p.Rtcp,
                          Codecs = p.Codecs,
                          Encodings =
                              [| p.Encodings[0]
                                 RTCRtpEncodingParameters(Rid = "f", Active = false, MaxBitrate = Nullable 100_000L) |]
                      )

                  do! within (sender.SetParametersAsync slower)
                  let after = sender.GetParameters()
                  Expect.notEqual after.TransactionId p.TransactionId "another transaction"
                  Expect.isFalse after.Encodings[1].Active "set"
                  Expect.equal after.Encodings[1].MaxBitrate (Nullable 100_000L) "set"
                  Expect.equal after.Encodings[1].ScaleResolutionDownBy (Nullable 1.0) "the default"

                  Expect.equal
                      (failing (fun () -> sender.SetParametersAsync slower))
                      "InvalidModificationError"
                      "the old one"

                  do! within (sender.SetParametersAsync after)

                  Expect.equal
                      (failing (fun () -> sender.SetParametersAsync after))
                      "InvalidStateError"
                      "nothing answered since"
              })

          testCaseTask "what cannot be changed, and what is out of range" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let sender = pc.AddTransceiver(video, several [ "h"; "f" ]).Sender
                  media.Negotiate()
                  do! settled pc
                  let p = sender.GetParameters()

                  let changed encodings codecs =
                      RTCRtpSendParameters(
                          TransactionId = p.TransactionId,
                          HeaderExtensions = p.HeaderExtensions,
                          Rtcp = p.Rtcp,
                          Codecs = codecs,
                          Encodings = encodings
                      )

                  let check expected name encodings codecs =
                      Expect.equal
                          (failing (fun () -> sender.SetParametersAsync(changed encodings codecs)))
                          expected
                          name

                  let both = [| p.Encodings[0]; p.Encodings[1] |]
                  check "InvalidModificationError" "fewer" both[..0] p.Codecs
                  check "InvalidModificationError" "order" [| both[1]; both[0] |] p.Codecs
                  check "InvalidModificationError" "codecs" both [| p.Codecs[1] |]
                  check "InvalidModificationError" "a rid" [| both[0]; encoding "g" |] p.Codecs

                  check
                      "InvalidModificationError"
                      "a codec that was not negotiated"
                      [| both[0]
                         RTCRtpEncodingParameters(
                             Rid = "f",
                             Codec = RTCRtpCodec(MimeType = "video/H264", ClockRate = 90_000)
                         ) |]
                      p.Codecs

                  check
                      "RangeError"
                      "a scale"
                      [| both[0]
                         RTCRtpEncodingParameters(Rid = "f", ScaleResolutionDownBy = Nullable 0.9) |]
                      p.Codecs

                  check
                      "nothing"
                      "a codec that was"
                      [| both[0]
                         RTCRtpEncodingParameters(
                             Rid = "f",
                             Codec = RTCRtpCodec(MimeType = "video/vp9", ClockRate = 90_000)
                         ) |]
                      p.Codecs
              })

          testCaseTask "a negotiation that changes parameters ends the transaction, another does not" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let sender = pc.AddTransceiver(video).Sender
                  media.Negotiate()
                  do! settled pc
                  let p = sender.GetParameters()
                  media.Negotiate()
                  do! settled pc
                  Expect.equal (sender.GetParameters().TransactionId) p.TransactionId "nothing changed"
                  media.Change 1 (fun info -> { info with SendCodecs = [| vp9 |] })
                  do! settled pc
                  Expect.equal (failing (fun () -> sender.SetParametersAsync p)) "InvalidStateError" "superseded"
              })

          testCaseTask "a key frame can be asked for with the parameters" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let sender = pc.AddTransceiver(video, several [ "h"; "f" ]).Sender
                  let asked = ConcurrentQueue<string>()
                  use _ = sender.OnKeyFrameRequest.Subscribe(fun e -> asked.Enqueue e.Rid)

                  let options =
                      RTCSetParameterOptions(
                          EncodingOptions = [| RTCEncodingOptions(); RTCEncodingOptions(KeyFrame = true) |]
                      )

                  do! within (sender.SetParametersAsync(sender.GetParameters(), options))
                  do! settled pc
                  Expect.sequenceEqual asked [ "f" ] "of one"

                  Expect.equal
                      (failing (fun () ->
                          sender.SetParametersAsync(
                              sender.GetParameters(),
                              RTCSetParameterOptions(EncodingOptions = [| RTCEncodingOptions() |])
                          )))
                      "InvalidModificationError"
                      "one for each"
              })

          testCaseTask "capabilities, header extensions and the jitter buffer's target" (fun () ->
              task {
                  let capabilities = RTCRtpSender.GetCapabilities video
                  Expect.isTrue (capabilities.Codecs |> Seq.exists (fun c -> c.MimeType = "video/VP8")) "VP8"
                  Expect.hasLength (capabilities.Codecs |> Seq.filter (fun c -> c.MimeType = "video/rtx")) 1 "RTX once"
                  let media = MediaScript()
                  let pc = media.Connect()
                  let t = pc.AddTransceiver video
                  let extensions = t.GetHeaderExtensionsToNegotiate()

                  let changed direction uri =
                      [ for e in extensions ->
                            if e.Uri = uri then
                                RTCRtpHeaderExtensionCapability(Uri = uri, Direction = direction)
                            else
                                e ]

                  let mid = HeaderExtensions.uri HeaderExtension.Mid
                  let orientation = HeaderExtensions.uri HeaderExtension.VideoOrientation

                  let set wanted =
                      nameOf (fun () -> t.SetHeaderExtensionsToNegotiate wanted)

                  Expect.equal (set (changed RTCRtpTransceiverDirection.Stopped mid)) "InvalidModificationError" "mid"
                  Expect.equal (set (Seq.tail extensions)) "InvalidModificationError" "one missing"
                  Expect.equal (set (changed RTCRtpTransceiverDirection.Stopped orientation)) "nothing" "orientation"

                  Expect.equal
                      (t.GetHeaderExtensionsToNegotiate() |> Seq.find (fun e -> e.Uri = orientation)).Direction
                      RTCRtpTransceiverDirection.Stopped
                      "kept"

                  Expect.all
                      (t.GetNegotiatedHeaderExtensions())
                      (fun e -> e.Direction = RTCRtpTransceiverDirection.Stopped)
                      "nothing negotiated"

                  let target seconds =
                      nameOf (fun () ->
                          t.Receiver.JitterBufferTarget <- Nullable(TimeSpan.FromSeconds(seconds: float)))

                  Expect.equal (target 4.1) "RangeError" "more than four seconds"
                  Expect.equal (target -0.1) "RangeError" "negative"
                  Expect.equal (target 0.2) "nothing" "within"

                  Expect.sequenceEqual
                      (media.Posted(function
                          | Input.SetJitterBuffer(1, target) -> Some target
                          | _ -> None))
                      [ ValueSome 200_000L<us> ]
                      "asked"
              })

          testCase "options of media are checked" (fun () ->
              let refuses (options: WebRtcOptions) =
                  Expect.throwsT<ArgumentOutOfRangeException>
                      (fun () -> MediaScript().Connect options |> ignore)
                      "refused"

              refuses (WebRtcOptions(Bitrate = WebRtcBitrate(Min = 999)))
              refuses (WebRtcOptions(Bitrate = WebRtcBitrate(Start = 1_000)))
              refuses (WebRtcOptions(Bitrate = WebRtcBitrate(Start = 5_000, Min = 1_000, Max = 4_000)))
              refuses (WebRtcOptions(JitterBufferTarget = Nullable(TimeSpan.FromSeconds 5.0)))
              let media = MediaScript()
              let pc = media.Connect(WebRtcOptions(JitterBufferTarget = Nullable TimeSpan.Zero))
              pc.AddTransceiver video |> ignore

              Expect.sequenceEqual
                  (media.Posted(function
                      | Input.SetJitterBuffer(id, target) -> Some(struct (id, target))
                      | _ -> None))
                  [ struct (1, ValueSome 0L<us>) ]
                  "of every receiver")

          testCase "capabilities are values: what is added, taken away, ordered" (fun () ->
              let some =
                  RTCMediaCapabilities.Default
                      .WithOnly(video, "video/vp9", "video/VP8")
                      .WithFeedback(video, "ack ccfb")
                      .WithoutFeedback(video, "transport-cc")
                      .WithoutHeaderExtension(video, HeaderExtensions.uri HeaderExtension.ColorSpace)
                      .WithHeaderExtension(video, "urn:x")
                      .WithCodec(video, RTCRtpCodec(MimeType = "video/own", ClockRate = 90_000), Nullable 120)

              let names =
                  some.Inner.Video |> Array.map (fun c -> c.Codec.MimeType) |> Array.distinct

              Expect.sequenceEqual names [ "video/VP9"; "video/VP8"; "video/own" ] "ours, in our order"

              Expect.all
                  some.Inner.Video
                  (fun c -> Array.contains "ack ccfb" c.Feedback)
                  "feedback, the new codec's too"

              Expect.all some.Inner.Video (fun c -> not (Array.contains "transport-cc" c.Feedback)) "less of it"
              let uris = some.Inner.VideoExtensions |> Array.map _.Uri
              Expect.contains uris "urn:x" "added"
              Expect.isFalse (Array.contains (HeaderExtensions.uri HeaderExtension.ColorSpace) uris) "taken away"
              Expect.isNonEmpty some.Inner.Audio "sound is as it was"
              Expect.isEmpty (RTCMediaCapabilities.None.Of(video).Codecs) "none") ]

let private trackEvents =
    testList
        "track events"
        [ testCaseTask "a description's events come in W3C's order, before its promise" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let told = ConcurrentQueue<string>()
                  let mutable wasThere = false
                  let seen = Collections.Generic.HashSet<string>()

                  use _ = pc.OnSignalingStateChange.Subscribe(fun s -> told.Enqueue $"{s}")

                  use _ =
                      pc.OnTrack.Subscribe(fun e ->
                          told.Enqueue $"track {e.Track.Id} in {e.Streams[0].Id}"
                          wasThere <- Seq.contains e.Transceiver (pc.GetTransceivers())

                          if seen.Add e.Track.Id then
                              e.Streams[0].OnRemoveTrack.Subscribe(fun r -> told.Enqueue $"removed {r.Track.Id}")
                              |> ignore

                              e.Streams[0].OnAddTrack.Subscribe(fun r -> told.Enqueue $"added {r.Track.Id}")
                              |> ignore

                              e.Track.OnMute.Subscribe(fun _ -> told.Enqueue "muted") |> ignore
                              e.Track.OnUnmute.Subscribe(fun _ -> told.Enqueue "unmuted") |> ignore
                              e.Track.OnEnded.Subscribe(fun _ -> told.Enqueue "ended") |> ignore)

                  do! settled pc
                  told.Clear()
                  let sink = media.Sink

                  let sets () =
                      pc.SetRemoteDescriptionAsync(RTCSessionDescription(RTCSdpType.Offer, ""))

                  media.Script.Media <-
                      fun input ->
                          match input with
                          | Input.SetRemoteDescription(id, _) ->
                              media.Add(infoOf 1 MediaKind.Video Direction.RecvOnly [| plain |] false)
                              sink.Raise(Event.SignalingStateChanged SignalingState.HaveRemoteOffer)
                              sink.Raise(Event.TracksChanged [| TrackChange.TrackAdded(1, [| "s" |]) |])
                              sink.Reply(id, Answer.Done)
                              true
                          | _ -> false

                  do!
                      within (
                          task {
                              do! sets ()
                              told.Enqueue "done"
                          }
                      )

                  do! settled pc

                  Expect.sequenceEqual
                      told
                      [ "HaveRemoteOffer"; "track receiver-1 in s"; "added receiver-1"; "done" ]
                      "in order"

                  Expect.isTrue wasThere "the transceiver was there already"
                  let receiver = Seq.head (pc.GetReceivers())
                  Expect.isTrue receiver.Track.Muted "muted still"
                  told.Clear()
                  sink.Raise(Event.ReceiverUnmuted 1)
                  sink.Raise(Event.TracksChanged [| TrackChange.TrackRemoved(1, [| "s" |]) |])
                  sink.Raise(Event.TracksChanged [| TrackChange.TrackAdded(1, [| "s" |]) |])
                  sink.Raise(Event.TracksChanged [| TrackChange.TrackEnded 1; TrackChange.TrackEnded 1 |])
                  do! settled pc

                  Expect.sequenceEqual
                      told
                      [ "unmuted"
                        "muted"
                        "removed receiver-1"
                        "added receiver-1"
                        "track receiver-1 in s"
                        "ended" ]
                      "in order"
              })

          testCaseTask "a peer's stream is one object for all its tracks, and leaves with the last" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let events = ConcurrentQueue<RTCTrackEvent>()
                  use _ = pc.OnTrack.Subscribe events.Enqueue
                  media.Add(infoOf 1 MediaKind.Video Direction.RecvOnly [| plain |] false)
                  media.Add(infoOf 2 MediaKind.Audio Direction.RecvOnly [| plain |] false)

                  media.Sink.Raise(
                      Event.TracksChanged
                          [| TrackChange.TrackAdded(1, [| "s" |])
                             TrackChange.TrackAdded(2, [| "s"; "t" |]) |]
                  )

                  do! settled pc
                  let events = events.ToArray()
                  let s = events[0].Streams[0]
                  Expect.isTrue (obj.ReferenceEquals(s, events[1].Streams[0])) "one object"
                  Expect.hasLength (s.GetTracks()) 2 "both"
                  Expect.equal (s.GetVideoTracks()[0]) (events[0].Track :> MediaStreamTrack) "the picture"
                  Expect.equal (nonNull (s.GetTrackById "receiver-2")) (events[1].Track :> MediaStreamTrack) "by id"
                  media.Sink.Raise(Event.TracksChanged [| TrackChange.TrackAdded(2, [| "t" |]) |])
                  do! settled pc
                  Expect.hasLength (s.GetTracks()) 1 "it has moved"
                  Expect.isTrue s.Active "active"
              })

          testCaseTask "close inside ontrack: nothing follows, and nothing hangs" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let mutable tracks = 0
                  let mutable completed = false

                  use _ =
                      pc.OnTrack.Subscribe(
                          (fun (_: RTCTrackEvent) ->
                              tracks <- tracks + 1
                              pc.Close()),
                          (fun () -> completed <- true)
                      )

                  media.Add(infoOf 1 MediaKind.Video Direction.RecvOnly [| plain |] false)
                  media.Add(infoOf 2 MediaKind.Video Direction.RecvOnly [| plain |] false)

                  media.Sink.Raise(
                      Event.TracksChanged [| TrackChange.TrackAdded(1, [||]); TrackChange.TrackAdded(2, [||]) |]
                  )

                  media.Receive(1, "", [| packet 1 1 96 true |])
                  do! settled pc
                  do! settled pc
                  Expect.equal tracks 1 "one event"
                  Expect.isTrue completed "all has ended"

                  Expect.equal
                      (Seq.head (pc.GetTransceivers())).Receiver.Track.ReadyState
                      MediaStreamTrackState.Ended
                      "ended"
              })

          testCaseTask "methods that answer at once may be called inside ontrack" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let mutable sender: RTCRtpSender | null = null

                  use _ =
                      pc.OnTrack.Subscribe(fun e ->
                          sender <- pc.AddTrack(e.Track)
                          e.Transceiver.Direction <- RTCRtpTransceiverDirection.Inactive)

                  media.Add(infoOf 1 MediaKind.Video Direction.RecvOnly [| plain |] false)
                  media.Sink.Raise(Event.TracksChanged [| TrackChange.TrackAdded(1, [||]) |])
                  do! settled pc
                  Expect.isNotNull sender "added"
                  Expect.equal (Seq.head (pc.GetTransceivers())).Direction RTCRtpTransceiverDirection.Inactive "set"
              }) ]

let private dtmf =
    testList
        "DTMF"
        [ testCaseTask "insertDTMF is checked as W3C §7.2 has it" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  Expect.isNull (pc.AddTransceiver(video).Sender.Dtmf) "none of video"
                  let t = pc.AddTransceiver audio
                  let dtmf = nonNull t.Sender.Dtmf
                  let insert text = nameOf (fun () -> dtmf.InsertDTMF text)
                  Expect.isFalse dtmf.CanInsertDTMF "nothing negotiated"
                  Expect.equal (insert "1") "InvalidStateError" "nothing negotiated"
                  media.Negotiate()
                  media.Sink.Raise(Event.ConnectionStateChanged PeerConnectionState.Connected)
                  do! settled pc
                  Expect.isTrue dtmf.CanInsertDTMF "now"
                  Expect.equal (insert "12E") "InvalidCharacterError" "a letter that is no tone"
                  Expect.equal (insert "0123456789abcd#*,") "nothing" "all tones"
                  Expect.equal dtmf.ToneBuffer "0123456789ABCD#*," "in upper case"
                  dtmf.InsertDTMF("1", 1, 100_000)
                  dtmf.InsertDTMF("2", 7_000, 1)
                  dtmf.InsertDTMF ""

                  Expect.sequenceEqual
                      (media.Posted(function
                          | Input.InsertDtmf(_, 2, tones, duration, gap) ->
                              Some(struct (tones, int64 duration, int64 gap))
                          | _ -> None))
                      [ struct ("0123456789ABCD#*,", 100_000L, 70_000L)
                        struct ("1", 40_000L, 6_000_000L)
                        struct ("2", 6_000_000L, 30_000L)
                        struct ("", 100_000L, 70_000L) ]
                      "with W3C's defaults and bounds"

                  media.Change 2 (fun info ->
                      { info with
                          CurrentDirection = ValueSome Direction.RecvOnly })

                  do! settled pc
                  Expect.equal (insert "1") "InvalidStateError" "it does not send"
                  t.Stop()
                  Expect.equal (insert "1") "InvalidStateError" "stopped"
              })

          testCaseTask "tones are told, with what is left" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let dtmf = nonNull (pc.AddTransceiver(audio).Sender.Dtmf)
                  media.Negotiate()
                  media.Sink.Raise(Event.ConnectionStateChanged PeerConnectionState.Connected)
                  do! settled pc
                  let told = ConcurrentQueue<string>()

                  use _ =
                      dtmf.OnToneChange.Subscribe(fun e -> told.Enqueue $"{e.Tone}|{dtmf.ToneBuffer}")

                  dtmf.InsertDTMF "12"
                  media.Sink.Raise(Event.ToneChanged(1, "1", "2"))
                  media.Sink.Raise(Event.ToneChanged(1, "2", ""))
                  media.Sink.Raise(Event.ToneChanged(1, "", ""))
                  do! settled pc
                  Expect.sequenceEqual told [ "1|2"; "2|"; "|" ] "in order"
              }) ]

[<Tests>]
let tests =
    testList "Media over a scripted peer" [ transceivers; parameters; trackEvents; dtmf ]
