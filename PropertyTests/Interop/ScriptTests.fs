/// The facade over a scripted peer: what it asks, what it shows, what it tells, and in which order.
module Hybrid.WebRtc.PropertyTests.Interop.ScriptTests

open System
open System.Buffers
open System.Collections.Concurrent
open System.Reactive
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests
open Hybrid.WebRtc.PropertyTests.Interop.Scripted

let private commands =
    testList
        "commands"
        [ testCaseTask "promises become tasks, and refusals RTCExceptions with W3C's names" (fun () ->
              task {
                  let script = Script(replies = false)
                  let pc = script.Connect()
                  let offer = pc.CreateOfferAsync(RTCOfferOptions(IceRestart = true))

                  let set =
                      pc.SetRemoteDescriptionAsync(RTCSessionDescription(RTCSdpType.Offer, "bad"))

                  match script.Posted with
                  | [| Input.CreateOffer(first, true); Input.SetRemoteDescription(second, d) |] ->
                      Expect.equal d.Sdp "bad" "the description"
                      script.Sink.Reply(first, Answer.Created { Type = SdpType.Offer; Sdp = "v=0" })
                      script.Sink.Refuse(second, Mistake.sdp 3 "no")
                  | other -> failtest $"posted {other.Length}"

                  let! made = offer
                  Expect.equal made (RTCSessionDescription(RTCSdpType.Offer, "v=0")) "offer"

                  try
                      do! within set
                      failtest "refused"
                  with :? RTCException as e ->
                      Expect.equal e.Name "OperationError" "name"
                      let error = nonNull e.Error
                      Expect.equal error.ErrorDetail RTCErrorDetailType.SdpSyntaxError "detail"
                      Expect.equal error.SdpLineNumber (Nullable 3) "line"
                      Expect.equal e.Message "no" "message"
              })

          testCaseTask "every name of the core's is W3C's" (fun () ->
              task {
                  for name in Enum.GetValues<ErrorName>() do
                      let script = Script(replies = false)
                      let pc = script.Connect()
                      let answer = pc.CreateAnswerAsync()

                      match script.Posted with
                      | [| Input.CreateAnswer id |] -> script.Sink.Refuse(id, Mistake.create name "")
                      | _ -> failtest "one command"

                      Expect.equal (nameOf (fun () -> answer.Wait())) (name.ToString()) "name"
              })

          testCaseTask "createDataChannel's arguments are checked as W3C has it" (fun () ->
              task {
                  let script = Script()
                  let pc = script.Connect()
                  let long = String('é', 32_768)

                  let check expected label init =
                      Expect.equal (nameOf (fun () -> pc.CreateDataChannel(label, init) |> ignore)) expected label

                  let init = RTCDataChannelInit()
                  check "TypeError" long init
                  check "TypeError" "protocol" (RTCDataChannelInit(Protocol = long))

                  check
                      "TypeError"
                      "both limits"
                      (RTCDataChannelInit(MaxPacketLifeTime = Nullable 1us, MaxRetransmits = Nullable 1us))

                  check "TypeError" "negotiated without id" (RTCDataChannelInit(Negotiated = true))
                  check "TypeError" "id" (RTCDataChannelInit(Negotiated = true, Id = Nullable 65535us))
                  check "nothing" (String('x', 65_535)) init
                  check "nothing" "last id" (RTCDataChannelInit(Negotiated = true, Id = Nullable 65534us))
                  check "nothing" "ignored id" (RTCDataChannelInit(Id = Nullable 65535us))

                  match Array.last script.Posted with
                  | Input.CreateDataChannel(_, init) ->
                      Expect.equal init.Id ValueNone "an id without negotiated is ignored"
                  | _ -> failtest "a channel"
              })

          testCaseTask "other arguments are checked as W3C has it" (fun () ->
              task {
                  let pc = Script().Connect()
                  let candidate = RTCIceCandidateInit(Candidate = "candidate:x")
                  Expect.equal (nameOf (fun () -> pc.AddIceCandidateAsync(candidate).Wait())) "TypeError" "no section"
                  do! within (pc.AddIceCandidateAsync())
                  let expired = TimeProvider.System.GetUtcNow().AddYears 40

                  let later =
                      { new TimeProvider() with
                          member _.GetUtcNow() = expired }

                  Expect.equal
                      (nameOf (fun () -> Script().Connect(WebRtcOptions(TimeProvider = later)) |> ignore))
                      "InvalidAccessError"
                      "an expired certificate"

                  Expect.throwsT<ArgumentOutOfRangeException>
                      (fun () -> Script().Connect(WebRtcOptions(MaxMessageSize = 0)) |> ignore)
                      "options"
              })

          testCaseTask "methods that answer at once may be called inside a notification" (fun () ->
              task {
                  let script = Script()
                  let pc = script.Connect()
                  let made = TaskCompletionSource<RTCDataChannel>()

                  use _ =
                      pc.OnNegotiationNeeded.Subscribe(fun _ ->
                          pc.RestartIce()
                          pc.SetConfiguration(RTCConfiguration(IceCandidatePoolSize = 3uy))
                          made.SetResult(pc.CreateDataChannel "inside"))

                  script.Sink.Raise Event.NegotiationNeeded
                  do! within made.Task
                  Expect.equal made.Task.Result.Label "inside" "made"
                  Expect.equal (pc.GetConfiguration().IceCandidatePoolSize) 3uy "configured"
              })

          testCaseTask "a closed connection refuses, and refuses nothing that W3C lets pass" (fun () ->
              task {
                  let pc = Script().Connect()
                  do! within (pc.CloseAsync())
                  pc.Close()
                  pc.RestartIce()

                  for name, call in
                      [ "createOffer", (fun () -> pc.CreateOfferAsync().Wait())
                        "setLocalDescription", (fun () -> pc.SetLocalDescriptionAsync().Wait())
                        "addIceCandidate", (fun () -> pc.AddIceCandidateAsync().Wait())
                        "createDataChannel", (fun () -> pc.CreateDataChannel "x" |> ignore)
                        "setConfiguration", (fun () -> pc.SetConfiguration(RTCConfiguration())) ] do
                      Expect.equal (nameOf call) "InvalidStateError" name

                  let! report = pc.GetStatsAsync()
                  Expect.isTrue (report.ContainsKey "P") "the last statistics"
              })

          testCaseTask "statistics carry webrtc-stats' names" (fun () ->
              task {
                  let pc = Script().Connect()
                  let! report = pc.GetStatsAsync()
                  let transport = report.OfType<RTCTransportStats>() |> Seq.exactlyOne
                  let pair = report.OfType<RTCIceCandidatePairStats>() |> Seq.exactlyOne
                  Expect.equal transport.SelectedCandidatePairId pair.Id "the selected pair"
                  Expect.equal transport.TlsVersion "FEFD" "as on the wire"
                  Expect.equal transport.TlsGroup "x25519" "the group"
                  Expect.equal pair.CurrentRoundTripTime (Nullable 0.002) "seconds"

                  let candidate = report[pair.LocalCandidateId] :?> RTCIceCandidateStats
                  Expect.equal candidate.Type "local-candidate" "type"

                  for id in
                      [ transport.LocalCertificateId
                        transport.RemoteCertificateId
                        pair.RemoteCandidateId ] do
                      Expect.isTrue (report.ContainsKey(nonNull id)) "references resolve"

                  use json = Json.JsonDocument.Parse(report.ToJson())
                  let pair = json.RootElement.GetProperty pair.Id
                  Expect.equal (pair.GetProperty("type").GetString()) "candidate-pair" "type"
                  Expect.equal (pair.GetProperty("currentRoundTripTime").GetDouble()) 0.002 "camel case"
                  Expect.equal (pair.GetProperty("packetsSent").GetInt64()) 11L "sent"
                  Expect.equal (pair.GetProperty("bytesReceived").GetInt64()) 1_200L "received"

                  Expect.equal
                      (pair.GetProperty("timestamp").GetDouble()
                       - pair.GetProperty("lastPacketSentTimestamp").GetDouble())
                      5.0
                      "milliseconds since 1970"

                  let channel = json.RootElement.GetProperty "D7"
                  Expect.equal (channel.GetProperty("state").GetString()) "open" "enumerations by W3C's names"
                  Expect.equal (channel.GetProperty("dataChannelIdentifier").GetInt32()) 1 "id"
              }) ]

let private order =
    testList
        "order"
        [ testCaseTask "a property shows a state just before it is told, and a task ends in order with both" (fun () ->
              task {
                  let script = Script(replies = false)
                  let pc = script.Connect()
                  let seen = ConcurrentQueue<string>()
                  use hold = new ManualResetEventSlim()

                  use _ =
                      pc.OnSignalingStateChange.Subscribe(fun state ->
                          seen.Enqueue $"{state} {pc.SignalingState} {isNull pc.LocalDescription}"

                          if state <> RTCSignalingState.Stable then
                              hold.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore)

                  use _ = pc.OnConnectionStateChange.Subscribe(fun state -> seen.Enqueue $"{state}")

                  // Awaited inside, as an async subscriber would.
                  use _ =
                      pc.OnNegotiationNeeded.Subscribe(fun _ ->
                          pc.SetLocalDescriptionAsync().GetAwaiter().OnCompleted(fun () -> seen.Enqueue "set"))

                  script.Sink.Raise Event.NegotiationNeeded

                  let commandOf =
                      function
                      | Input.SetLocalDescription(id, _) -> Some id
                      | _ -> None

                  let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

                  while Array.tryPick commandOf script.Posted = None && DateTime.UtcNow < deadline do
                      Thread.Yield() |> ignore

                  script.Sink.Raise(
                      Event.DescriptionsChanged
                          { CurrentLocal = ValueNone
                            PendingLocal = ValueSome { Type = SdpType.Offer; Sdp = "x" }
                            CurrentRemote = ValueNone
                            PendingRemote = ValueNone
                            CanTrickle = ValueNone }
                  )

                  script.Sink.Raise(Event.SignalingStateChanged SignalingState.HaveLocalOffer)
                  script.Sink.Reply((Array.pick commandOf script.Posted), Answer.Done)
                  script.Sink.Raise(Event.ConnectionStateChanged PeerConnectionState.Connecting)
                  hold.Set()
                  do! settled pc
                  do! settled pc

                  Expect.equal
                      (seen.ToArray())
                      [| "Stable Stable True"
                         "New"
                         "HaveLocalOffer HaveLocalOffer False"
                         "set"
                         "Connecting" |]
                      "state, then promise, then the next"
              })

          testCaseTask
              "an announced channel: datachannel, open, then its messages, whoever subscribes inside"
              (fun () ->
                  task {
                      let script = Script()
                      let pc = script.Connect()
                      script.Sink.Raise(Event.SctpTransportChanged sctpInfo)
                      script.Sink.Raise(Event.ChannelAnnounced { Handle = 9; Init = channelInit "in" })
                      script.Message(9, true, bytes "one")
                      script.Message(9, false, bytes "two")
                      let seen = ConcurrentQueue<string>()

                      use _ =
                          pc.OnDataChannel.Subscribe(fun e ->
                              seen.Enqueue $"datachannel {e.Channel.ReadyState} {e.Channel.Id}"
                              e.Channel.Send "hello"
                              e.Channel.OnOpen.Subscribe(fun _ -> seen.Enqueue "open") |> ignore

                              e.Channel.OnMessage.Subscribe(fun m ->
                                  seen.Enqueue $"{m.Text} {m.Data.Length} {m.IsText}")
                              |> ignore)

                      do! settled pc
                      do! settled pc

                      Expect.equal
                          (seen.ToArray())
                          [| "datachannel Open 1"; "open"; "one 3 True"; " 3 False" |]
                          "though the user came late"

                      Expect.equal script.Sent [| "hello" |] "may send at once"
                      Expect.equal script.Consumed 6 "consumed once told"
                  })

          testCaseTask "a message counts as consumed when its notification has returned, not before" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel()
                  use reading = new ManualResetEventSlim()
                  use entered = new ManualResetEventSlim()

                  use _ =
                      channel.OnMessage.Subscribe(fun _ ->
                          entered.Set()
                          reading.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore)

                  script.Message(channel.Handle, false, bytes "12345")
                  Expect.isTrue (entered.Wait(TimeSpan.FromSeconds Outside.Patience)) "told"
                  Expect.equal script.Consumed 0 "not while it is read"
                  reading.Set()
                  do! settled pc
                  Expect.equal script.Consumed 5 "then"
              })

          testCaseTask "messages that nobody awaits are held up to a bound, and then let go" (fun () ->
              task {
                  let script = Script()

                  let! struct (pc, channel) =
                      script.WithChannel(WebRtcOptions(ReceiveWindow = 65_536, MaxMessageSize = 65_536))

                  let message = ReadOnlyMemory(Array.zeroCreate<byte>(4_096))

                  for _ in 1..6 do
                      script.Message(channel.Handle, false, message)

                  do! settled pc
                  Expect.equal script.Consumed (2 * 4_096) "four fill a quarter of the window; two are let go"
                  let mutable told = 0
                  use _ = channel.OnMessage.Subscribe(fun _ -> told <- told + 1)
                  do! settled pc
                  Expect.equal told 4 "the held"
                  Expect.equal script.Consumed (6 * 4_096) "all, once"
              })

          testCaseTask "a channel that closes unheard gives the window back, and is still readable" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel()
                  script.Message(channel.Handle, true, bytes "late")
                  script.Sink.Raise(Event.ChannelClosed(channel.Handle, ValueNone))
                  do! settled pc
                  Expect.equal script.Consumed 4 "given back"
                  let seen = ConcurrentQueue<string | null>()
                  use _ = channel.OnMessage.Subscribe(fun m -> seen.Enqueue m.Text)
                  do! settled pc
                  Expect.equal (seen.ToArray()) [| "late" |] "still there"
                  Expect.equal script.Consumed 4 "given back once"
              }) ]

let private closing =
    testList
        "closing"
        [ testCaseTask "closing from inside a notification, and waiting for it there, is no deadlock" (fun () ->
              task {
                  let script = Script()
                  let pc = script.Connect()
                  let closed = TaskCompletionSource<bool>()

                  use _ =
                      pc.OnNegotiationNeeded.Subscribe(fun _ ->
                          closed.SetResult(pc.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds Outside.Patience)))

                  script.Sink.Raise Event.NegotiationNeeded
                  do! within closed.Task
                  Expect.isTrue closed.Task.Result "closed"
                  Expect.equal pc.ConnectionState RTCPeerConnectionState.Closed "closed"
              })

          testCaseTask "Close shows closed at once, tells nothing more, and ends what was begun" (fun () ->
              task {
                  let script = Script(replies = false)
                  let! struct (pc, channel) = script.WithChannel()
                  let seen = ConcurrentQueue<string>()

                  let watch (name: string) (source: IObservable<'t>) =
                      source.Subscribe(
                          { new IObserver<'t> with
                              member _.OnNext value = seen.Enqueue $"{name} {value}"
                              member _.OnError _ = seen.Enqueue $"{name} error"
                              member _.OnCompleted() = seen.Enqueue $"{name} end" }
                      )

                  use _ = watch "connection" pc.OnConnectionStateChange
                  use _ = watch "closing" channel.OnClosing
                  use _ = watch "close" channel.OnClose
                  use _ = watch "message" channel.OnMessage
                  do! settled pc
                  let pending = pc.CreateOfferAsync()
                  pc.Close()
                  script.Sink.Raise(Event.ConnectionStateChanged PeerConnectionState.Failed)
                  script.Message(channel.Handle, true, bytes "late")
                  Expect.equal pc.SignalingState RTCSignalingState.Closed "signalling"
                  Expect.equal pc.IceConnectionState RTCIceConnectionState.Closed "ice"
                  Expect.equal pc.ConnectionState RTCPeerConnectionState.Closed "connection"
                  Expect.equal channel.ReadyState RTCDataChannelState.Closed "channel"
                  let sctp = nonNull pc.Sctp
                  Expect.equal sctp.State RTCSctpTransportState.Closed "sctp"
                  Expect.equal sctp.Transport.State RTCDtlsTransportState.Closed "dtls"
                  Expect.equal sctp.Transport.IceTransport.State RTCIceTransportState.Closed "ice transport"

                  Expect.equal
                      (nameOf (fun () -> pending.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore))
                      "InvalidStateError"
                      "the pending offer"

                  do! within (channel.CloseAsync())
                  do! settled pc

                  Expect.equal
                      (seen.ToArray() |> Array.sort)
                      [| "close end"
                         "closing end"
                         "connection New"
                         "connection end"
                         "message end" |]
                      "nothing but the end"

                  Expect.equal pc.ConnectionState RTCPeerConnectionState.Closed "stays closed"
              })

          testCaseTask "a channel that the peer closes: closing, error, close, in order" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel()
                  let seen = ConcurrentQueue<string>()

                  use _ =
                      channel.OnClosing.Subscribe(fun _ -> seen.Enqueue $"closing {channel.ReadyState}")

                  use _ =
                      channel.OnError.Subscribe(fun e ->
                          seen.Enqueue $"error {e.Error.ErrorDetail} {e.Error.SctpCauseCode}")

                  use _ =
                      channel.OnClose.Subscribe(fun _ -> seen.Enqueue $"close {channel.ReadyState}")

                  script.Sink.Raise(Event.ChannelClosing channel.Handle)

                  script.Sink.Raise(
                      Event.ChannelClosed(
                          channel.Handle,
                          ValueSome
                              { Fault.create Layer.Sctp ErrorDetail.SctpFailure "abort" with
                                  SctpCauseCode = ValueSome 12us }
                      )
                  )

                  do! settled pc
                  Expect.equal (seen.ToArray()) [| "closing Closing"; "error SctpFailure 12"; "close Closed" |] "order"
              })

          testCaseTask "a channel that we close tells close and no closing" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel()
                  let seen = ConcurrentQueue<string>()
                  use _ = channel.OnClosing.Subscribe(fun _ -> seen.Enqueue "closing")
                  use _ = channel.OnClose.Subscribe(fun _ -> seen.Enqueue "close")
                  channel.Close()
                  script.Sink.Raise(Event.ChannelClosing channel.Handle)
                  script.Sink.Raise(Event.ChannelClosed(channel.Handle, ValueNone))
                  do! within (channel.CloseAsync())
                  do! settled pc
                  Expect.equal (seen.ToArray()) [| "close" |] "W3C 6.2"
              })

          testCaseTask "a peer that dies of a bug fails its connection and everybody who waits" (fun () ->
              task {
                  let script = Script(replies = false)
                  let pc = script.Connect()
                  let states = ConcurrentQueue<RTCPeerConnectionState>()
                  use _ = pc.OnConnectionStateChange.Subscribe states.Enqueue
                  let pending = pc.CreateOfferAsync()
                  script.Sink.Ended(Exception "a bug")

                  Expect.equal
                      (nameOf (fun () -> pending.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore))
                      "InvalidStateError"
                      "pending"

                  do! within (pc.CloseAsync())
                  do! settled pc
                  Expect.contains states RTCPeerConnectionState.Failed "told"
              })

          testCaseTask "gathering is waited for, and given up with the connection or the token" (fun () ->
              task {
                  let script = Script()
                  let pc = script.Connect()
                  let complete = pc.GatheringCompleteAsync()
                  use cancel = new CancellationTokenSource()
                  let cancelled = pc.GatheringCompleteAsync cancel.Token
                  cancel.Cancel()

                  try
                      do! within cancelled
                      failtest "cancelled"
                  with :? OperationCanceledException ->
                      ()

                  script.Sink.Raise(Event.IceGatheringStateChanged IceGatheringState.Gathering)
                  script.Sink.Raise(Event.IceGatheringStateChanged IceGatheringState.Complete)
                  do! within complete
                  let other = Script().Connect()
                  let never = other.GatheringCompleteAsync()
                  other.Close()

                  Expect.equal
                      (nameOf (fun () -> never.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore))
                      "InvalidStateError"
                      "closed before"
              }) ]

let tests = testList "Interop over a script" [ commands; order; closing ]
