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
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests
open Hybrid.WebRtc.PropertyTests.Interop.ValuesTests

let private channelInit label =
    { Label = label
      Protocol = ""
      Ordered = true
      MaxPacketLifeTime = ValueNone
      MaxRetransmits = ValueNone
      Negotiated = false
      Id = ValueSome 1
      Priority = Priority.Low }

let private iceInfo =
    { State = IceTransportState.Connected
      Gathering = IceGatheringState.Complete
      Role = IceRole.Controlling
      LocalParameters =
        ValueSome
            { UsernameFragment = "abcd"
              Password = "0123456789012345678901" }
      RemoteParameters = ValueNone
      LocalCandidates = [| "candidate:1 1 udp 2122194687 192.0.2.2 48917 typ host" |]
      RemoteCandidates = [| "candidate:2 1 udp 2122194687 192.0.2.3 48917 typ host" |]
      SelectedPair =
        ValueSome
            { Local = "candidate:1 1 udp 2122194687 192.0.2.2 48917 typ host"
              Remote = "candidate:2 1 udp 2122194687 192.0.2.3 48917 typ host"
              Path =
                { Local = 1<port>
                  Remote =
                    { Address = Address.v4 192uy 0uy 2uy 3uy
                      Port = 48917us } } } }

let private dtlsInfo =
    { State = DtlsTransportState.Connected
      RemoteCertificates = [| [| 1uy; 2uy |] |]
      Version = "DTLS 1.2"
      CipherSuite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
      Role = "client" }

let private sctpInfo: SctpTransportInfo =
    { State = SctpTransportState.Connected
      MaxMessageSize = 1_000L
      MaxChannels = ValueSome 1024 }

let private statistics =
    { At = 0L<us>
      Ice = iceInfo
      Dtls = dtlsInfo
      Sctp = sctpInfo
      Association =
        ValueSome
            { SmoothedRoundTripTime = ValueSome 1_500L<us>
              CongestionWindow = 1
              PeerReceiverWindow = 2
              Mtu = 1200
              BufferedAmount = 3L
              Retransmissions = 4L }
      Pairs =
        [| { Local = iceInfo.LocalCandidates[0]
             Remote = iceInfo.RemoteCandidates[0]
             State = "succeeded"
             Nominated = true
             RequestsSent = 1L
             RequestsReceived = 2L
             ResponsesSent = 3L
             ResponsesReceived = 4L
             ConsentRequestsSent = 5L
             CurrentRoundTripTime = ValueSome 2_000L<us>
             TotalRoundTripTime = 4_000L<us> } |]
      Channels =
        [| { Handle = 7
             Label = "x"
             Protocol = ""
             Id = ValueSome 1
             State = "open"
             MessagesSent = 1L
             BytesSent = 2L
             MessagesReceived = 3L
             BytesReceived = 4L } |]
      ChannelsOpened = 2
      ChannelsClosed = 1
      PacketsSent = 10L
      BytesSent = 100L
      PacketsReceived = 11L
      BytesReceived = 110L
      Drops =
        [| { Layer = Layer.Dtls
             Reason = Drop.Replayed
             Count = 3L } |] }

/// A peer that answers by script. `replies` false: commands wait until the test answers them.
type Script(?replies: bool) =
    let posted = ConcurrentQueue<Input>()
    let mutable sink: IPeerSink | null = null
    let mutable handles = 0
    let replies = defaultArg replies true

    member _.Sink = nonNull sink
    member _.Posted = posted.ToArray()

    /// Octets that the facade reported as consumed.
    member _.Consumed =
        posted.ToArray()
        |> Array.sumBy (function
            | Input.Consumed octets -> octets
            | _ -> 0)

    /// What was sent, as text.
    member _.Sent =
        posted.ToArray()
        |> Array.choose (function
            | Input.Send(_, _, payload) -> Some(Encoding.UTF8.GetString payload.Span)
            | _ -> None)

    member private _.Answer(input: Input) =
        let sink = nonNull sink

        match input with
        | Input.CreateOffer(id, _) -> sink.Reply(id, Answer.Created { Type = SdpType.Offer; Sdp = "offer" })
        | Input.CreateAnswer id ->
            sink.Reply(
                id,
                Answer.Created
                    { Type = SdpType.Answer
                      Sdp = "answer" }
            )
        | Input.SetLocalDescription(id, _)
        | Input.SetRemoteDescription(id, _)
        | Input.AddIceCandidate(id, _)
        | Input.RestartIce id
        | Input.SetConfiguration(id, _) -> sink.Reply(id, Answer.Done)
        | _ -> ()

    member script.Post(input: Input) : bool =
        posted.Enqueue input
        let sink = nonNull sink

        match input with
        | Input.CreateDataChannel(id, init) ->
            handles <- handles + 1
            sink.Reply(id, Answer.Channel { Handle = handles; Init = init })
        | Input.GetStats id -> sink.Reply(id, Answer.Stats statistics)
        | Input.Close id ->
            sink.Reply(id, Answer.Done)
            sink.Ended null
        | other ->
            if replies then
                script.Answer other

        true

    member script.Connect(?options: WebRtcOptions) : RTCPeerConnection =
        new RTCPeerConnection(
            null,
            Option.toObj options,
            (fun _ given ->
                sink <- given
                Func<Input, bool>(script.Post))
        )

    /// A connected peer with an open channel.
    member script.WithChannel(?options: WebRtcOptions) : Task<struct (RTCPeerConnection * RTCDataChannel)> =
        task {
            let pc = script.Connect(?options = options)
            let channel = pc.CreateDataChannel "x"
            script.Sink.Raise(Event.SctpTransportChanged sctpInfo)
            script.Sink.Raise(Event.ChannelOpened(channel.Handle, 4))
            do! within (channel.WaitForOpenAsync())
            return struct (pc, channel)
        }

let private bytes (text: string) =
    ReadOnlyMemory(Encoding.UTF8.GetBytes text)

/// Everything that was posted to the connection's context so far has run.
let private settled (pc: RTCPeerConnection) = drained pc.Notify.Context

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
                              hold.Wait(TimeSpan.FromSeconds 20.0) |> ignore)

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

                  let deadline = DateTime.UtcNow.AddSeconds 20.0

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
                      script.Sink.Message(9, true, bytes "one")
                      script.Sink.Message(9, false, bytes "two")
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
                          reading.Wait(TimeSpan.FromSeconds 20.0) |> ignore)

                  script.Sink.Message(channel.Handle, false, bytes "12345")
                  Expect.isTrue (entered.Wait(TimeSpan.FromSeconds 20.0)) "told"
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
                      script.Sink.Message(channel.Handle, false, message)

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
                  script.Sink.Message(channel.Handle, true, bytes "late")
                  script.Sink.Raise(Event.ChannelClosed(channel.Handle, ValueNone))
                  do! settled pc
                  Expect.equal script.Consumed 4 "given back"
                  let seen = ConcurrentQueue<string | null>()
                  use _ = channel.OnMessage.Subscribe(fun m -> seen.Enqueue m.Text)
                  do! settled pc
                  Expect.equal (seen.ToArray()) [| "late" |] "still there"
                  Expect.equal script.Consumed 4 "given back once"
              }) ]

let private sending =
    testList
        "sending"
        [ testCaseTask "what cannot be sent is refused as W3C has it" (fun () ->
              task {
                  let script = Script()
                  let pc = script.Connect(WebRtcOptions(SendBuffer = 1_500))
                  let channel = pc.CreateDataChannel "x"
                  Expect.equal (nameOf (fun () -> channel.Send "x")) "InvalidStateError" "connecting"
                  script.Sink.Raise(Event.SctpTransportChanged sctpInfo)
                  script.Sink.Raise(Event.ChannelOpened(channel.Handle, 4))
                  do! within (channel.WaitForOpenAsync())
                  Expect.equal channel.Id (Nullable 4us) "id"
                  Expect.equal (nameOf (fun () -> channel.Send(Array.zeroCreate<byte>(1_001)))) "TypeError" "too long"
                  channel.Send(Array.zeroCreate<byte>(1_000))
                  Expect.equal (nameOf (fun () -> channel.Send(String('x', 501)))) "OperationError" "full"
                  channel.Send(Array.zeroCreate<byte>(500))
                  Expect.equal channel.BufferedAmount 1_500L "only what was taken counts"
                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 1_000))
                  channel.Send(Array.zeroCreate<byte>(1_000))
                  channel.Close()
                  Expect.equal channel.ReadyState RTCDataChannelState.Closing "at once"
                  Expect.equal (nameOf (fun () -> channel.Send "x")) "InvalidStateError" "closing"
              })

          testCaseTask "bytes are copied when they are sent" (fun () ->
              task {
                  let script = Script()
                  let! struct (_, channel) = script.WithChannel()
                  let mine = "abc"B
                  channel.Send mine
                  channel.Send(ReadOnlyMemory mine)
                  mine[0] <- 0uy
                  Expect.equal script.Sent [| "abc"; "abc" |] "as they were"
              })

          testCaseTask "SendAsync waits for room, in order, on the loop's word alone" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel(WebRtcOptions(SendHighWaterMark = 10))
                  let first = channel.SendAsync(String('a', 8)).AsTask()
                  let second = channel.SendAsync(String('b', 100)).AsTask()
                  let third = channel.SendAsync("c").AsTask()
                  Expect.isTrue first.IsCompletedSuccessfully "room"
                  Expect.isFalse second.IsCompleted "no room"
                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 7))
                  do! settled pc
                  Expect.isFalse second.IsCompleted "longer than the mark: waits for an empty queue"
                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 1))
                  do! within second
                  Expect.isFalse third.IsCompleted "behind it"
                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 100))
                  do! within third
                  Expect.equal script.Sent [| String('a', 8); String('b', 100); "c" |] "in order"
              })

          testCaseTask "a cancelled SendAsync is not sent, and lets the next pass" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel(WebRtcOptions(SendHighWaterMark = 10))
                  channel.Send(String('a', 10))
                  use cancel = new CancellationTokenSource()
                  let given = channel.SendAsync("up", cancel.Token).AsTask()
                  let next = channel.SendAsync("next").AsTask()
                  cancel.Cancel()

                  try
                      do! within given
                      failtest "cancelled"
                  with :? OperationCanceledException ->
                      ()

                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 10))
                  do! within next
                  do! settled pc
                  Expect.equal script.Sent [| String('a', 10); "next" |] "not the cancelled one"
              })

          testCaseTask "who waits to send when the channel closes is told" (fun () ->
              task {
                  let script = Script()
                  let! struct (_, channel) = script.WithChannel(WebRtcOptions(SendHighWaterMark = 10))
                  channel.Send(String('a', 10))
                  let waiting = channel.SendAsync("x").AsTask()
                  channel.Close()
                  Expect.equal (nameOf (fun () -> waiting.Wait(20_000) |> ignore)) "InvalidStateError" "closed"
              })

          testCaseTask "bufferedamountlow is told on the way down across the threshold, and only then" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel()
                  channel.BufferedAmountLowThreshold <- 5L
                  let seen = ConcurrentQueue<int64>()

                  use _ =
                      channel.OnBufferedAmountLow.Subscribe(fun _ -> seen.Enqueue channel.BufferedAmount)

                  channel.Send(String('a', 10))

                  for octets in [ 4; 2; 1; 3 ] do
                      script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, octets))

                  do! settled pc
                  channel.Send(String('b', 6))
                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 1))
                  do! settled pc
                  Expect.equal seen.Count 2 "twice"
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
                          closed.SetResult(pc.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds 20.0)))

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
                  script.Sink.Message(channel.Handle, true, bytes "late")
                  Expect.equal pc.SignalingState RTCSignalingState.Closed "signalling"
                  Expect.equal pc.IceConnectionState RTCIceConnectionState.Closed "ice"
                  Expect.equal pc.ConnectionState RTCPeerConnectionState.Closed "connection"
                  Expect.equal channel.ReadyState RTCDataChannelState.Closed "channel"
                  let sctp = nonNull pc.Sctp
                  Expect.equal sctp.State RTCSctpTransportState.Closed "sctp"
                  Expect.equal sctp.Transport.State RTCDtlsTransportState.Closed "dtls"
                  Expect.equal sctp.Transport.IceTransport.State RTCIceTransportState.Closed "ice transport"

                  Expect.equal
                      (nameOf (fun () -> pending.Wait(20_000) |> ignore))
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
                  Expect.equal (nameOf (fun () -> pending.Wait(20_000) |> ignore)) "InvalidStateError" "pending"
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
                  Expect.equal (nameOf (fun () -> never.Wait(20_000) |> ignore)) "InvalidStateError" "closed before"
              }) ]

let private events =
    testList
        "events"
        [ testCaseTask "candidates, errors and transports are told in W3C's terms" (fun () ->
              task {
                  let script = Script()
                  let pc = script.Connect()
                  Expect.isNull pc.Sctp "no description yet"

                  script.Sink.Raise(
                      Event.IceCandidate(
                          ValueSome
                              { Candidate =
                                  { Candidate = "candidate:1 1 udp 1 192.0.2.2 9 typ relay raddr 0.0.0.0 rport 0"
                                    SdpMid = ValueSome "0"
                                    SdpMLineIndex = ValueSome 0
                                    UsernameFragment = ValueSome "abcd" }
                                Url = ValueSome "turns:example.org" }
                      )
                  )

                  script.Sink.Raise(Event.IceCandidate ValueNone)

                  script.Sink.Raise(
                      Event.IceCandidateError
                          { Address = ValueSome "192.0.2.2"
                            Port = ValueSome 5
                            Url = "stun:a"
                            Code = 701
                            Text = "no" }
                  )

                  script.Sink.Raise(Event.SctpTransportChanged sctpInfo)
                  script.Sink.Raise(Event.DtlsTransportChanged dtlsInfo)
                  script.Sink.Raise(Event.IceTransportChanged iceInfo)
                  script.Sink.Raise(Event.DtlsError(Fault.create Layer.Dtls ErrorDetail.FingerprintFailure "wrong"))
                  do! settled pc
                  let candidates = ConcurrentQueue<RTCPeerConnectionIceEvent>()
                  let errors = ConcurrentQueue<RTCPeerConnectionIceErrorEvent>()
                  let failures = ConcurrentQueue<RTCErrorEvent>()
                  let pairs = ConcurrentQueue<Unit>()
                  let dtls = (nonNull pc.Sctp).Transport
                  use _ = pc.OnIceCandidate.Subscribe candidates.Enqueue
                  use _ = pc.OnIceCandidateError.Subscribe errors.Enqueue
                  use _ = dtls.OnError.Subscribe failures.Enqueue
                  use _ = dtls.IceTransport.OnSelectedCandidatePairChange.Subscribe pairs.Enqueue
                  do! settled pc

                  match candidates.ToArray() with
                  | [| first; last |] ->
                      let candidate = nonNull first.Candidate
                      Expect.equal candidate.RelayProtocol (Nullable RTCIceServerTransportProtocol.Tls) "relayProtocol"
                      Expect.equal candidate.SdpMid "0" "mid"
                      Expect.isNull last.Candidate "the end of all"
                  | other -> failtest $"{other.Length} candidates"

                  Expect.equal (Seq.exactlyOne errors).ErrorCode 701 "error"

                  Expect.equal
                      (Seq.exactlyOne failures).Error.ErrorDetail
                      RTCErrorDetailType.FingerprintFailure
                      "failure"

                  Expect.equal pairs.Count 1 "one pair"
                  let pair = nonNull (dtls.IceTransport.GetSelectedCandidatePair())
                  Expect.equal pair.Remote.Address "192.0.2.3" "pair"
                  Expect.equal dtls.IceTransport.Role RTCIceRole.Controlling "role"
                  let parameters = nonNull (dtls.IceTransport.GetLocalParameters())
                  Expect.equal parameters.UsernameFragment "abcd" "parameters"
                  Expect.isNull (dtls.IceTransport.GetRemoteParameters()) "not yet"
                  Expect.equal dtls.CipherSuite dtlsInfo.CipherSuite "suite"
                  let certificate = dtls.GetRemoteCertificates()[0]
                  Expect.equal (certificate.ToArray()) [| 1uy; 2uy |] "certificate"
                  let sctp = nonNull pc.Sctp
                  Expect.equal sctp.MaxMessageSize 1_000L "max"
              })

          testCaseTask "a negotiation that has begun takes an unheard negotiationneeded with it" (fun () ->
              task {
                  let script = Script()
                  let pc = script.Connect()
                  script.Sink.Raise Event.NegotiationNeeded
                  script.Sink.Raise(Event.SignalingStateChanged SignalingState.HaveLocalOffer)
                  do! settled pc
                  let mutable told = 0
                  use _ = pc.OnNegotiationNeeded.Subscribe(fun _ -> told <- told + 1)
                  do! settled pc
                  Expect.equal told 0 "old news"
              })

          testCaseTask "on a given context every notification and completion happens there" (fun () ->
              task {
                  let ours =
                      SerialContext.OnThreadPool(Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance)

                  let script = Script()
                  let pc = script.Connect(WebRtcOptions(SynchronizationContext = ours))
                  let seen = ConcurrentQueue<bool>()
                  use _ = pc.OnConnectionStateChange.Subscribe(fun _ -> seen.Enqueue ours.IsCurrent)
                  script.Sink.Raise(Event.ConnectionStateChanged PeerConnectionState.Connecting)

                  ours.Post(
                      Action(fun () ->
                          pc.CreateOfferAsync().GetAwaiter().OnCompleted(fun () -> seen.Enqueue ours.IsCurrent))
                  )

                  let deadline = DateTime.UtcNow.AddSeconds 20.0

                  while seen.Count < 3 && DateTime.UtcNow < deadline do
                      do! drained ours

                  Expect.equal (seen.ToArray()) [| true; true; true |] "there"
              }) ]

let private views =
    testList
        "views"
        [ testCaseTask "a stream reads messages as octets, and what is unread keeps the window closed" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel()
                  use stream = channel.AsStream()
                  script.Sink.Message(channel.Handle, false, bytes "hello ")
                  script.Sink.Message(channel.Handle, true, bytes "world")
                  let buffer = Array.zeroCreate<byte> 11
                  do! within (stream.ReadExactlyAsync(Memory buffer).AsTask())
                  Expect.equal (Encoding.UTF8.GetString buffer) "hello world" "octets"

                  for _ in 1..100 do
                      script.Sink.Message(channel.Handle, false, ReadOnlyMemory(Array.zeroCreate<byte>(10_000)))

                  do! settled pc
                  Expect.isLessThan script.Consumed 200_000 "most is not consumed, for nobody reads it"
                  let all = Array.zeroCreate<byte> 1_000_000
                  do! within (stream.ReadExactlyAsync(Memory all).AsTask())
                  script.Sink.Raise(Event.ChannelClosed(channel.Handle, ValueNone))
                  let! last = stream.ReadAsync(Memory buffer)
                  Expect.equal last 0 "the end"
                  Expect.equal script.Consumed 1_000_011 "all consumed"
              })

          testCaseTask "a stream's writes become messages that the peer takes, and wait for room" (fun () ->
              task {
                  let script = Script()

                  let! struct (_, channel) =
                      script.WithChannel(WebRtcOptions(SendHighWaterMark = 1_000))

                  let stream = channel.AsStream()

                  let writing =
                      stream.WriteAsync(ReadOnlyMemory(Array.zeroCreate<byte>(2_500))).AsTask()

                  Expect.equal (script.Sent |> Array.map String.length) [| 1_000 |] "no more than the mark"
                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 1_000))
                  let deadline = DateTime.UtcNow.AddSeconds 20.0

                  while script.Sent.Length < 2 && DateTime.UtcNow < deadline do
                      do! Task.Yield()

                  script.Sink.Raise(Event.BufferedAmountFell(channel.Handle, 1_000))
                  do! within writing
                  Expect.equal (script.Sent |> Array.map String.length) [| 1_000; 1_000; 500 |] "the rest"
                  stream.Dispose()
                  Expect.equal channel.ReadyState RTCDataChannelState.Closing "disposing closes"
              })

          testCaseTask "a pipe sends what is written, and closes when its output completes" (fun () ->
              task {
                  let script = Script()
                  let! struct (_, channel) = script.WithChannel()
                  let pipe = channel.AsDuplexPipe()
                  let! _ = pipe.Output.WriteAsync(bytes "abc")
                  pipe.Output.Write("def"B)
                  pipe.Output.Complete()
                  let deadline = DateTime.UtcNow.AddSeconds 20.0

                  while channel.ReadyState = RTCDataChannelState.Open && DateTime.UtcNow < deadline do
                      do! Task.Yield()

                  Expect.equal (String.Concat script.Sent) "abcdef" "sent"
                  Expect.equal channel.ReadyState RTCDataChannelState.Closing "closed"
              })

          testCaseTask "a view that nobody reads any more lets its messages go" (fun () ->
              task {
                  let script = Script()
                  let! struct (pc, channel) = script.WithChannel()
                  let stream = channel.AsStream()

                  for _ in 1..50 do
                      script.Sink.Message(channel.Handle, false, ReadOnlyMemory(Array.zeroCreate<byte>(10_000)))

                  do! settled pc
                  stream.Dispose()
                  let deadline = DateTime.UtcNow.AddSeconds 20.0

                  while script.Consumed < 500_000 && DateTime.UtcNow < deadline do
                      do! Task.Yield()

                  Expect.equal script.Consumed 500_000 "all"
              }) ]

let tests =
    testList "Interop over a script" [ commands; order; sending; closing; events; views ]
