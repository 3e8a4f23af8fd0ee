/// W3C's rules of parameters, capabilities and telephone tones, over a scripted peer.
module Hybrid.WebRtc.PropertyTests.Interop.ScriptParametersTests

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
              })

          testCaseTask "the peer's tones are told when they begin, and once when they have ended" (fun () ->
              task {
                  let media = MediaScript()
                  let pc = media.Connect()
                  let receiver = pc.AddTransceiver(audio).Receiver
                  media.Negotiate()
                  do! settled pc
                  // Before anyone listens.
                  media.Sink.Raise(Event.ToneReceived(1, "#", ValueNone))
                  media.Sink.Raise(Event.ToneReceived(1, "#", ValueSome 100_000L<us>))
                  do! settled pc
                  let told = ConcurrentQueue<string>()

                  use _ = receiver.OnToneStart.Subscribe(fun tone -> told.Enqueue $"{tone}")

                  use _ =
                      receiver.OnTone.Subscribe(fun tone ->
                          told.Enqueue $"{tone.Tone} {tone.Duration.TotalMilliseconds}")

                  media.Sink.Raise(Event.ToneReceived(1, "A", ValueNone))
                  media.Sink.Raise(Event.ToneReceived(1, "A", ValueSome 70_000L<us>))
                  do! settled pc
                  Expect.sequenceEqual told [ "#"; "# 100"; "A"; "A 70" ] "in order"
              }) ]

[<Tests>]
let tests = testList "Media parameters over a scripted peer" [ parameters; dtmf ]
