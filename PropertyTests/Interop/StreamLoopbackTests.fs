/// Two RTCPeerConnections in this process that have TCP alone, on the loopback interface.
module Hybrid.WebRtc.PropertyTests.Interop.StreamLoopbackTests

open System
open System.IO
open System.Net
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests

let private isUdp (line: string) =
    line.Contains("candidate:")
    && line.Contains(" udp ", StringComparison.OrdinalIgnoreCase)

/// A description on a network that carries no UDP.
let private withoutUdp (description: RTCSessionDescription | null) =
    let description = nonNull description

    RTCSessionDescription(
        description.Type,
        String.Join("\r\n", description.Sdp.Split("\r\n") |> Array.filter (isUdp >> not))
    )

let private options (listens: bool) (journal: string | null) =
    WebRtcOptions(
        IncludeLoopback = true,
        AddressFilter = Func<IPAddress, bool>(fun a -> a.Equals IPAddress.Loopback),
        TcpListen = listens,
        JournalFolder = journal
    )

/// Offer and answer, with all candidates but those of UDP in them.
let connectWithoutUdp (caller: RTCPeerConnection) (callee: RTCPeerConnection) : Task =
    task {
        do! caller.SetLocalDescriptionAsync()
        do! caller.GatheringCompleteAsync()
        do! callee.SetRemoteDescriptionAsync(withoutUdp caller.LocalDescription)
        do! callee.SetLocalDescriptionAsync()
        do! callee.GatheringCompleteAsync()
        do! caller.SetRemoteDescriptionAsync(withoutUdp callee.LocalDescription)
    }

/// Connected as `connect` has it, a channel's other end echoes; `count` messages of 100,000 octets that are sent come back.
let talkBy
    (connect: RTCPeerConnection -> RTCPeerConnection -> Task)
    (count: int)
    (caller: RTCPeerConnection)
    (callee: RTCPeerConnection)
    : Task =
    task {
        callee.OnDataChannel.Subscribe(fun e ->
            e.Channel.OnMessage.Subscribe(fun m -> e.Channel.Send(m.Data.Span)) |> ignore)
        |> ignore

        let channel = caller.CreateDataChannel "echo"

        let back =
            TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously)

        let mutable seen = 0

        channel.OnMessage.Subscribe(fun m ->
            if m.Data.Length <> 100_000 || m.Data.Span[0] <> byte seen then
                back.TrySetException(InvalidOperationException "not what was sent") |> ignore

            seen <- seen + 1

            if seen = count then
                back.TrySetResult seen |> ignore)
        |> ignore

        do! within (connect caller callee)
        do! within (channel.WaitForOpenAsync())

        for i in 0 .. count - 1 do
            do! channel.SendAsync(ReadOnlyMemory(Array.create 100_000 (byte i)))

        do! within back.Task
    }

let private talk caller callee =
    talkBy connectWithoutUdp 40 caller callee

/// Whether the selected pair is of TCP, as statistics tell.
let private expectTcp (pc: RTCPeerConnection) : Task =
    task {
        let! report = pc.GetStatsAsync()

        let candidates = report.OfType<RTCIceCandidateStats>() |> Seq.toList

        let pair = report.OfType<RTCIceCandidatePairStats>() |> Seq.find _.Nominated

        let protocol id =
            candidates |> List.find (fun c -> c.Id = id) |> _.Protocol

        Expect.equal (protocol pair.LocalCandidateId) (Nullable RTCIceProtocol.Tcp) "local"
        Expect.equal (protocol pair.RemoteCandidateId) (Nullable RTCIceProtocol.Tcp) "remote"
    }

let private journals (folder: string) =
    Directory.GetFiles folder |> Array.toList

let tests =
    testSequenced
    <| testList
        "Loopback over TCP"
        [ for callerListens in [ true; false ] do
              testTask
                  $"""two connections talk, the {if callerListens then "caller" else "callee"} listening; their journals replay""" {
                  let folder = Directory.CreateTempSubdirectory("hybrid-tcp-").FullName

                  try
                      let caller = new RTCPeerConnection(null, options callerListens folder)
                      let callee = new RTCPeerConnection(null, options (not callerListens) folder)
                      do! talk caller callee
                      do! expectTcp caller
                      do! expectTcp callee
                      do! caller.DisposeAsync()
                      do! callee.DisposeAsync()

                      let results =
                          [ for file in journals folder ->
                                JournalReplay.Run(new MemoryStream(File.ReadAllBytes file), SystemCiphers.Shared) ]

                      Expect.equal results.Length 2 "one each"

                      for result in results do
                          Expect.isNull result.Difference "the same again"
                          Expect.isTrue result.IsWhole "to the end"
                  finally
                      Directory.Delete(folder, true)
              }

          testCaseTask "three connections share one port, for UDP and TCP" (fun () ->
              task {
                  let server = options true null
                  let shared = WebRtcSharedPort.Open(0us, server)

                  let pairs =
                      [ for _ in 1..3 ->
                            new RTCPeerConnection(null, options false null),
                            new RTCPeerConnection(null, WebRtcOptions(SharedPort = shared)) ]

                  for caller, callee in pairs do
                      do! talk caller callee
                      do! expectTcp callee

                      Expect.stringContains
                          (nonNull callee.LocalDescription).Sdp
                          $" {shared.Port} typ host tcptype passive"
                          "the number"

                  for caller, callee in pairs do
                      do! caller.DisposeAsync()
                      do! callee.DisposeAsync()

                  shared.Dispose()
              })

          testTask "without TCP there is no candidate of it" {
              let pc =
                  new RTCPeerConnection(null, WebRtcOptions(IncludeLoopback = true, IceTcp = false))

              pc.CreateDataChannel "x" |> ignore
              do! pc.SetLocalDescriptionAsync()
              do! pc.GatheringCompleteAsync()
              Expect.isFalse ((nonNull pc.LocalDescription).Sdp.Contains "tcptype") "none"
              do! pc.DisposeAsync()
          }

          testCase "a proxy that is none, or that carries a password, is refused" (fun () ->
              for proxy in [ "ftp://proxy:21"; "http://me:secret@proxy:3128"; "socks5://proxy" ] do
                  Expect.throwsT<ArgumentException>
                      (fun () -> RTCPeerConnection(null, WebRtcOptions(Proxy = Uri proxy)) |> ignore)
                      proxy) ]
