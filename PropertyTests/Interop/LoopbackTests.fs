/// Two RTCPeerConnections in this process, over real UDP on the loopback interface.
module Hybrid.WebRtc.PropertyTests.Interop.LoopbackTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests

let private peerOf (options: WebRtcOptions) = new RTCPeerConnection(null, options)

let private peerWith sockets ciphers =
    peerOf (
        WebRtcOptions(
            IncludeLoopback = true,
            AddressFilter = Func<IPAddress, bool>(IPAddress.IsLoopback),
            Sockets = sockets,
            Ciphers = ciphers
        )
    )

let private peer sockets =
    peerWith sockets WebRtcCiphers.Automatic

/// Offer, answer, and candidates one by one, as over a signalling server.
let private connect (caller: RTCPeerConnection) (callee: RTCPeerConnection) : Task =
    task {
        do! caller.SetLocalDescriptionAsync()
        do! callee.SetRemoteDescriptionAsync(nonNull caller.LocalDescription)
        do! callee.SetLocalDescriptionAsync()
        do! caller.SetRemoteDescriptionAsync(nonNull callee.LocalDescription)

        // Candidates that came before are held for these, the first subscribers.
        let forward (from: RTCPeerConnection) (toward: RTCPeerConnection) =
            from.OnIceCandidate.Subscribe(fun e ->
                match e.Candidate with
                | null -> ()
                | candidate -> toward.AddIceCandidateAsync(candidate.ToInit()) |> ignore)
            |> ignore

        forward caller callee
        forward callee caller
    }

/// Connects two and gives each a channel.
let private pairOf (caller: RTCPeerConnection) (callee: RTCPeerConnection) =
    task {
        let channel = caller.CreateDataChannel "chat"

        let announced =
            TaskCompletionSource<RTCDataChannel>(TaskCreationOptions.RunContinuationsAsynchronously)

        callee.OnDataChannel.Subscribe(fun e -> announced.TrySetResult e.Channel |> ignore)
        |> ignore

        do! within (connect caller callee)
        do! within (channel.WaitForOpenAsync())
        do! within announced.Task
        return struct (caller, callee, channel, announced.Task.Result)
    }

/// A connected pair with a channel each.
let private pair sockets = pairOf (peer sockets) (peer sockets)

/// The next `count` messages of a channel.
let private receive (count: int) (channel: RTCDataChannel) : Task<MessageEvent[]> =
    let source =
        TaskCompletionSource<MessageEvent[]>(TaskCreationOptions.RunContinuationsAsynchronously)

    let received = ConcurrentQueue<MessageEvent>()

    channel.OnMessage.Subscribe(fun m ->
        received.Enqueue m

        if received.Count = count then
            source.TrySetResult(received.ToArray()) |> ignore)
    |> ignore

    source.Task

let private files () =
    if OperatingSystem.IsLinux() then
        Directory.GetFileSystemEntries("/proc/self/fd").Length
    else
        0

let private sockets () =
    if OperatingSystem.IsLinux() then
        Directory.GetFiles("/proc/self/fd")
        |> Array.filter (fun path ->
            // One that is closed meanwhile, by whoever else runs in this process, is none.
            try
                match File.ResolveLinkTarget(path, false) with
                | null -> false
                | target -> target.Name.StartsWith "socket:"
            with :? IOException ->
                false)
        |> Array.length
    else
        0

let private threads () =
    use here = Diagnostics.Process.GetCurrentProcess()
    here.Threads.Count

/// Opens a pair, sends a message across, closes it; answers weak references to all that there was.
let private openAndClose sockets : Task<WeakReference[]> =
    task {
        let! struct (caller, callee, ours, theirs) = pair sockets
        let came = receive 1 theirs
        ours.Send "hello"
        do! within came
        do! within (caller.CloseAsync())
        do! within (callee.CloseAsync())

        return
            [| WeakReference caller
               WeakReference callee
               WeakReference ours
               WeakReference theirs |]
    }

/// Connections that are connected and do nothing, and the managed octets that each of them holds.
let private idle (kind: WebRtcSockets) (pairs: int) =
    task {
        let! _ = pair kind
        let before = GC.GetTotalMemory true
        let held = ResizeArray()

        for _ in 1..pairs do
            let! one = pair kind
            held.Add one

        let octets = GC.GetTotalMemory true - before

        for struct (caller, callee, _, _) in held do
            do! caller.CloseAsync()
            do! callee.CloseAsync()

        return octets / int64 (2 * pairs)
    }

let private over (kind: WebRtcSockets) =
    testList
        (string kind)
        [ testCaseTask "an idle connection with a channel holds less than 48 KiB of managed memory" (fun () ->
              task {
                  let! octets = idle kind 25
                  Expect.isLessThan octets (48L * 1024L) "octets a connection"
              })

          testCaseTask "messages of every kind arrive whole and in order, both ways" (fun () ->
              task {
                  let! struct (caller, callee, ours, theirs) = pair kind
                  let large = Array.init 262_144 (fun i -> byte (i * 7 + i / 256))
                  Expect.equal caller.ConnectionState RTCPeerConnectionState.Connected "connected"

                  for from, toward in [ ours, theirs; theirs, ours ] do
                      let came = receive 5 toward
                      from.Send "grüße"
                      from.Send ""
                      from.Send [| 1uy; 2uy |]
                      from.Send(Array.empty<byte>)
                      from.Send large
                      do! within came

                      match came.Result with
                      | [| text; emptyText; octets; noOctets; many |] ->
                          Expect.equal text.Text "grüße" "text"
                          Expect.equal emptyText.Text "" "empty text"
                          Expect.equal (octets.Data.ToArray()) [| 1uy; 2uy |] "octets"
                          Expect.isFalse noOctets.IsText "no octets"
                          Expect.equal noOctets.Data.Length 0 "none"
                          Expect.isTrue (many.Data.Span.SequenceEqual large) "256 KiB"
                      | other -> failtest $"{other.Length} messages"

                  let! report = caller.GetStatsAsync()
                  let transport = report.OfType<RTCTransportStats>() |> Seq.exactlyOne
                  Expect.equal transport.DtlsState RTCDtlsTransportState.Connected "dtls"
                  Expect.isTrue (report.ContainsKey(nonNull transport.SelectedCandidatePairId)) "the pair"
                  do! within (caller.CloseAsync())
                  do! within (callee.CloseAsync())
              })

          testCaseTask "one with the platform's ciphers and one with the fastest understand each other" (fun () ->
              task {
                  let! struct (caller, callee, ours, theirs) =
                      pairOf (peerWith kind WebRtcCiphers.Platform) (peerWith kind WebRtcCiphers.Automatic)

                  let came, answered = receive 1 theirs, receive 1 ours
                  let text = String('x', 5000)
                  ours.Send text
                  do! within came
                  Expect.equal came.Result[0].Text text "there"
                  theirs.Send text
                  do! within answered
                  Expect.equal answered.Result[0].Text text "and back"
                  do! within (caller.CloseAsync())
                  do! within (callee.CloseAsync())
              })

          testCaseTask "a channel closed on one side closes on both" (fun () ->
              task {
                  let! struct (caller, callee, ours, theirs) = pair kind
                  ours.Send "last"
                  let came = receive 1 theirs
                  do! within (ours.CloseAsync())
                  do! within came
                  do! eventually (fun () -> theirs.ReadyState = RTCDataChannelState.Closed)
                  Expect.equal theirs.ReadyState RTCDataChannelState.Closed "theirs"
                  Expect.equal came.Result[0].Text "last" "what was sent before arrives"
                  do! within (caller.CloseAsync())
                  do! within (callee.CloseAsync())
              })

          testCaseTask "SendAsync and streams move megabytes with little buffered" (fun () ->
              task {
                  let! struct (caller, callee, ours, theirs) = pair kind
                  let size = 8 * 1024 * 1024
                  let data = Array.init size (fun i -> byte (i * 31 + i / 65_536))
                  let back = Array.zeroCreate<byte> size

                  // Theirs echoes what comes.
                  let far = theirs.AsStream()
                  let near = ours.AsStream()
                  let echo = far.CopyToAsync far
                  let reading = near.ReadExactlyAsync(Memory back).AsTask()
                  do! near.WriteAsync(ReadOnlyMemory data)
                  do! reading.WaitAsync(TimeSpan.FromSeconds Outside.Patience)
                  Expect.isTrue (data.AsSpan().SequenceEqual back) "as it was sent"
                  near.Dispose()
                  do! within echo
                  do! within (caller.CloseAsync())
                  do! within (callee.CloseAsync())
              })

          testCaseTask "messages of an octet are taken from the smallest window, and open it again" (fun () ->
              task {
                  // What holding a message costs counts, too: all that is held here is many times the window.
                  let small =
                      WebRtcOptions(
                          IncludeLoopback = true,
                          AddressFilter = Func<IPAddress, bool>(IPAddress.IsLoopback),
                          ReceiveWindow = 65_536,
                          MaxMessageSize = 32_768
                      )

                  let! struct (caller, callee, ours, theirs) = pairOf (peerOf small) (peerOf small)
                  let count = 20_000
                  let came = receive count theirs

                  for _ in 1..count do
                      do! ours.SendAsync(ReadOnlyMemory [| 7uy |])

                  do! within came
                  Expect.equal came.Result.Length count "all of them"
                  do! within (caller.CloseAsync())
                  do! within (callee.CloseAsync())
              })

          testCaseTask
              "a message as large as the window arrives, after small ones that the core has not heard were taken"
              (fun () ->
                  task {
                      let size = 262_144

                      let tight =
                          WebRtcOptions(
                              IncludeLoopback = true,
                              AddressFilter = Func<IPAddress, bool>(IPAddress.IsLoopback),
                              Sockets = kind,
                              ReceiveWindow = size,
                              MaxReceiveWindow = Nullable size,
                              MaxMessageSize = size
                          )

                      let! struct (caller, callee, ours, theirs) = pairOf (peerOf tight) (peerOf tight)
                      let came = receive 101 theirs

                      for _ in 1..100 do
                          ours.Send [| 7uy |]

                      ours.Send(Array.zeroCreate<byte> size)
                      do! within came
                      Expect.equal came.Result[100].Data.Length size "whole"
                      do! within (caller.CloseAsync())
                      do! within (callee.CloseAsync())
                  })

          testCaseTask "disposing inside a notification of a live connection is no deadlock" (fun () ->
              task {
                  let! struct (caller, callee, ours, theirs) = pair kind

                  let closed =
                      TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously)

                  theirs.OnMessage.Subscribe(fun _ ->
                      closed.SetResult(callee.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds Outside.Patience)))
                  |> ignore

                  ours.Send "die"
                  do! within closed.Task
                  Expect.isTrue closed.Task.Result "closed"
                  do! eventually (fun () -> ours.ReadyState = RTCDataChannelState.Closed)
                  Expect.equal ours.ReadyState RTCDataChannelState.Closed "the other side hears of it"
                  do! within (caller.CloseAsync())
              })

          testCaseTask "200 connections opened and closed leave nothing behind" (fun () ->
              task {
                  // The first few make what the process keeps: loops, pools, the certificate, code.
                  for _ in 1..3 do
                      let! _ = openAndClose kind
                      ()

                  let socketsBefore, filesBefore = sockets (), files ()
                  let threadsBefore = threads ()
                  let all = ResizeArray<WeakReference>()

                  for _ in 1..25 do
                      let! four = Task.WhenAll [| for _ in 1..4 -> openAndClose kind |]
                      all.AddRange(Array.concat four)

                  do!
                      eventually (fun () ->
                          GC.Collect()
                          GC.WaitForPendingFinalizers()
                          all |> Seq.forall (fun w -> not w.IsAlive))

                  let alive = all |> Seq.filter _.IsAlive |> Seq.length
                  Expect.equal alive 0 $"of {all.Count} objects are still referred to"
                  // A socket that is read from when it is closed goes once the system has ended that; a thread that has nothing
                  // to do ends by itself.
                  do! eventually (fun () -> sockets () <= socketsBefore && files () <= filesBefore + 8)
                  do! eventually (fun () -> threads () < threadsBefore + 32)
                  Expect.isLessThanOrEqual (sockets ()) socketsBefore "sockets"
                  Expect.isLessThanOrEqual (files ()) (filesBefore + 8) "file descriptors"
                  Expect.isLessThan (threads ()) (threadsBefore + 32) "threads"
              }) ]

let tests =
    testSequenced
    <| testList "Interop over loopback" [ over WebRtcSockets.Automatic; over WebRtcSockets.Portable ]
