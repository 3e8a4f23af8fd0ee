/// W3C's rules of transceivers, senders, receivers, over a scripted peer.
module Hybrid.WebRtc.PropertyTests.Interop.ScriptMediaTests

open System
open System.Collections.Concurrent
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests
open Hybrid.WebRtc.PropertyTests.Interop.Scripted
open Hybrid.WebRtc.PropertyTests.Interop.ScriptedMedia

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
                  // Runs behind the first event and before the second.
                  pc.Notify.Context.Post(Action(fun () -> seen.Enqueue(pc.GetTransceivers().Count)))
                  let b = pc.AddTransceiver video
                  a.Direction <- RTCRtpTransceiverDirection.SendOnly
                  seen.Enqueue(pc.GetTransceivers().Count)
                  gate.Set()
                  do! settled pc
                  seen.Enqueue(pc.GetTransceivers().Count)
                  Expect.sequenceEqual seen [ 2; 2; 2 ] "both, all the time"
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

                  // The first event is told once the promise waits behind all of them.
                  use isKept = new System.Threading.ManualResetEventSlim()

                  use _ =
                      pc.OnSignalingStateChange.Subscribe(fun _ ->
                          isKept.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore)

                  media.Script.Media <-
                      fun input ->
                          match input with
                          | Input.SetRemoteDescription(id, _) ->
                              media.Add(infoOf 1 MediaKind.Video Direction.RecvOnly [| plain |] false)
                              sink.Raise(Event.SignalingStateChanged SignalingState.HaveRemoteOffer)
                              sink.Raise(Event.TracksChanged [| TrackChange.TrackAdded(1, [| "s" |]) |])
                              sink.Reply(id, Answer.Done)
                              isKept.Set()
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

[<Tests>]
let tests = testList "Media over a scripted peer" [ transceivers; trackEvents ]
