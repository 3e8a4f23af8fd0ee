/// The facade over a scripted core: messages, events and views of channels.
module Hybrid.WebRtc.PropertyTests.Interop.ScriptDataTests

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

/// A context of one thread: that of who calls `Run`.
type private Pump() =
    inherit SynchronizationContext()
    let queued = ConcurrentQueue<unit -> unit>()

    override _.Post(callback, state) =
        queued.Enqueue(fun () -> callback.Invoke state)

    /// Runs all that was posted, as a window's thread would.
    member pump.Run() =
        let outer = SynchronizationContext.Current
        SynchronizationContext.SetSynchronizationContext pump
        let mutable next = Unchecked.defaultof<unit -> unit>

        while queued.TryDequeue &next do
            next ()

        SynchronizationContext.SetSynchronizationContext outer

let private closing =
    testList
        "closing"
        [ testCase "the last statistics complete on the context, as every promise does" (fun () ->
              let pump = Pump()
              let pc = Script().Connect(WebRtcOptions(SynchronizationContext = pump))
              pc.Close()
              let report = pc.GetStatsAsync()
              Expect.isFalse report.IsCompleted "not before the context runs"
              let mutable thread = 0

              let told =
                  report.ContinueWith(
                      (fun (_: Task<RTCStatsReport>) -> Volatile.Write(&thread, Environment.CurrentManagedThreadId)),
                      CancellationToken.None,
                      TaskContinuationOptions.ExecuteSynchronously,
                      TaskScheduler.Default
                  )

              pump.Run()
              Expect.isTrue (told.Wait(TimeSpan.FromSeconds Outside.Patience)) "completes"
              Expect.equal thread Environment.CurrentManagedThreadId "on the context's thread") ]

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

                  Expect.equal
                      (nameOf (fun () -> waiting.Wait(TimeSpan.FromSeconds Outside.Patience) |> ignore))
                      "InvalidStateError"
                      "closed"
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

                  let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

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
                  script.Message(channel.Handle, false, bytes "hello ")
                  script.Message(channel.Handle, true, bytes "world")
                  let buffer = Array.zeroCreate<byte> 11
                  do! within (stream.ReadExactlyAsync(Memory buffer).AsTask())
                  Expect.equal (Encoding.UTF8.GetString buffer) "hello world" "octets"

                  for _ in 1..100 do
                      script.Message(channel.Handle, false, ReadOnlyMemory(Array.zeroCreate<byte>(10_000)))

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
                  let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

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
                  let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

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
                      script.Message(channel.Handle, false, ReadOnlyMemory(Array.zeroCreate<byte>(10_000)))

                  do! settled pc
                  stream.Dispose()
                  let deadline = DateTime.UtcNow.AddSeconds Outside.Patience

                  while script.Consumed < 500_000 && DateTime.UtcNow < deadline do
                      do! Task.Yield()

                  Expect.equal script.Consumed 500_000 "all"
              }) ]

let tests =
    testList "Interop over a script: data" [ closing; sending; events; views ]
