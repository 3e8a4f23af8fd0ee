/// One UDP port for many connections: two hundred at once, and strangers who send what they like to it.
module Hybrid.WebRtc.PropertyTests.Interop.SharedPortTests

open System
open System.Buffers.Binary
open System.Net
open System.Text
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.PropertyTests.Interop.ContextTests

let internal options sockets =
    WebRtcOptions(
        IncludeLoopback = true,
        AddressFilter = Func<IPAddress, bool>(fun a -> a.Equals IPAddress.Loopback),
        Sockets = sockets
    )

/// A connection of a client's, with a port of its own, to one on the shared port; and a channel that both have agreed upon.
type internal Line =
    { Client: RTCPeerConnection
      Server: RTCPeerConnection
      ToServer: RTCDataChannel
      ToClient: RTCDataChannel }

let private connectTo (server: WebRtcOptions) (client: WebRtcOptions) : Task<Line> =
    task {
        let caller = new RTCPeerConnection(null, client)
        let callee = new RTCPeerConnection(null, server)
        let agreed = RTCDataChannelInit(Negotiated = true, Id = Nullable 1us)

        let line =
            { Client = caller
              Server = callee
              ToServer = caller.CreateDataChannel("line", agreed)
              ToClient = callee.CreateDataChannel("line", agreed) }

        do! caller.SetLocalDescriptionAsync()
        do! caller.GatheringCompleteAsync()
        do! callee.SetRemoteDescriptionAsync(nonNull caller.LocalDescription)
        do! callee.SetLocalDescriptionAsync()
        do! callee.GatheringCompleteAsync()
        do! caller.SetRemoteDescriptionAsync(nonNull callee.LocalDescription)
        do! within (line.ToServer.WaitForOpenAsync())
        do! within (line.ToClient.WaitForOpenAsync())
        return line
    }

let private connect (shared: WebRtcSharedPort) (client: WebRtcOptions) : Task<Line> =
    connectTo (WebRtcOptions(SharedPort = shared)) client

/// Many, a few of them at a time.
let internal connectMany (shared: WebRtcSharedPort) client count : Task<Line[]> =
    task {
        let lines = ResizeArray()

        for lot in Seq.chunkBySize 8 (seq { 1..count }) do
            let! connected = lot |> Array.map (fun _ -> connect shared client) |> Task.WhenAll
            lines.AddRange connected

        return lines.ToArray()
    }

let internal closeAll (lines: Line[]) : Task =
    task {
        for line in lines do
            do! line.Client.DisposeAsync()
            do! line.Server.DisposeAsync()
    }

/// Each says a number of its own, `rounds` times, and hears it back by one who says whose it was.
let internal exchange (rounds: int) (lines: Line[]) : Task =
    task {
        let answers =
            lines
            |> Array.mapi (fun i line ->
                let all = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
                let mutable heard = 0

                line.ToClient.OnMessage.Subscribe(fun m -> line.ToClient.Send(nonNull m.Text + " heard"))
                |> ignore

                line.ToServer.OnMessage.Subscribe(fun m ->
                    if m.Text <> $"{i}.{heard} heard" then
                        all.TrySetException(InvalidOperationException $"not what was said at {i}")
                        |> ignore

                    heard <- heard + 1

                    if heard = rounds then
                        all.TrySetResult() |> ignore)
                |> ignore

                all.Task)

        for round in 0 .. rounds - 1 do
            for i in 0 .. lines.Length - 1 do
                lines[i].ToServer.Send $"{i}.{round}"

        do! within (Task.WhenAll answers)
    }

/// Done on the port's loop, where its tables may be looked at.
let internal onLoop (shared: WebRtcSharedPort) (look: unit -> 'a) : Task<'a> =
    let answer =
        TaskCompletionSource<'a>(TaskCreationOptions.RunContinuationsAsynchronously)

    shared.Inner.Lanes[0]
        .Loop.Post(
            Action(fun () ->
                try
                    answer.SetResult(look ())
                with error ->
                    answer.SetException error)
        )

    answer.Task

let internal tables (shared: WebRtcSharedPort) =
    struct (shared.Inner.Lanes |> Seq.sumBy (fun lane -> lane.Peers),
            shared.Inner.Lanes |> Seq.sumBy (fun lane -> lane.Paths))

let private ciphers: ICiphers = SystemCiphers.Shared

/// A check as a peer sends it, to whoever has this fragment, by one who does not know the password.
let private check (fragment: string) (integrity: Integrity) : byte[] =
    let message =
        { Message =
            Message.request
                Method.Binding
                { High = 1u; Low = 2UL }
                [| Username(fragment + ":stra")
                   Priority 1u
                   IceControlling 1UL
                   UseCandidate |]
          Integrity = integrity
          Fingerprint = true }

    let octets = Array.zeroCreate (Outgoing.size message)
    Outgoing.write ciphers (Span octets) message |> ignore
    octets

let private begin' (first: byte) (size: int) =
    Array.init size (fun i -> if i = 0 then first else byte (i * 31))

/// What a stranger may send, and the octets that one of it may have us allocate.
let private forgeries (known: string) =
    let wrong = HmacSha1(Encoding.ASCII.GetBytes "not the password")

    [ "checks of nobody's", check "nobody" wrong, 0L
      "checks of a peer's, with a wrong password", check known wrong, 1_000L
      "checks of a peer's, without integrity", check known Unprotected, 1_000L
      "DTLS", begin' 22uy 200, 0L
      "SRTP", begin' 0x80uy 1_000, 0L
      "STUN that is none", begin' 0uy 20, 0L
      "noise", begin' 0xffuy 64, 0L
      "nothing", [||], 0L ]

/// As if by `count` datagrams from as many places.
let private flood (shared: WebRtcSharedPort) (count: int) (octets: byte[]) =
    let port = nonNull shared.Inner.Lanes[0].Bound[0].Port
    let owner = shared.Inner.Lanes[0] :> IPortOwner
    let copy = Array.copy octets
    let loop = shared.Inner.Lanes[0].Loop

    for i in 1..count do
        octets.CopyTo(copy, 0)

        let source =
            { Address = Address.v4 127uy (byte (i >>> 16)) (byte (i >>> 8)) (byte i)
              Port = uint16 (1024 + i % 60_000) }

        owner.Received(port, &source, Memory copy, loop.Now)

let tests =
    testSequenced
    <| testList
        "One port for many"
        [ testCaseTask "two hundred peers on one UDP port exchange data, and leave nothing behind" (fun () ->
              task {
                  use shared = WebRtcSharedPort.Open(0us, options WebRtcSockets.Automatic)
                  let! lines = connectMany shared (options WebRtcSockets.Automatic) 200
                  let! struct (peers, paths) = onLoop shared (fun () -> tables shared)
                  Expect.equal peers 200 "all of them"
                  Expect.equal paths 200 "one path each"
                  do! exchange 20 lines
                  do! closeAll lines
                  let! left = onLoop shared (fun () -> tables shared)
                  Expect.equal left (struct (0, 0)) "nothing is left"
              })

          for sockets in [ WebRtcSockets.Automatic; WebRtcSockets.Portable ] do
              testCaseTask
                  $"forty peers share a port that two loops carry, wherever their packets arrive, {sockets}"
                  (fun () ->
                      task {
                          use shared = WebRtcSharedPort.Open(0us, options sockets, 2)
                          let! lines = connectMany shared (options sockets) 40

                          if OperatingSystem.IsLinux() && Environment.ProcessorCount > 1 then
                              Expect.equal shared.Inner.Lanes.Count 2 "two"

                              for lane in shared.Inner.Lanes do
                                  Expect.isGreaterThan lane.Residents 0 "some live on each"

                          do! exchange 50 lines
                          do! closeAll lines
                          Expect.equal (tables shared) (struct (0, 0)) "nothing is left"
                      })

          testCaseTask "lite agents share a port, too" (fun () ->
              task {
                  use shared = WebRtcSharedPort.Open(0us, options WebRtcSockets.Automatic)
                  let server = WebRtcOptions(SharedPort = shared, IceLite = true)

                  let! lines =
                      [ for _ in 1..5 -> connectTo server (options WebRtcSockets.Automatic) ]
                      |> Task.WhenAll

                  for line in lines do
                      Expect.stringContains
                          (nonNull line.Server.LocalDescription).Sdp
                          "\r\na=ice-lite\r\n"
                          "it says so"

                      Expect.equal
                          (nonNull line.Server.Sctp).Transport.IceTransport.Role
                          RTCIceRole.Controlled
                          "and is controlled"

                  do! exchange 20 lines
                  do! closeAll lines
              })

          for loops in [ 1; 2 ] do
              testCase $"a number that is taken is refused, {loops} loops" (fun () ->
                  use shared = WebRtcSharedPort.Open(0us, options WebRtcSockets.Automatic, loops)

                  Expect.throwsT<System.Net.Sockets.SocketException>
                      (fun () ->
                          WebRtcSharedPort.Open(uint16 shared.Port, options WebRtcSockets.Automatic, 2).Dispose())
                      "by a port of ours")

          for sockets in [ WebRtcSockets.Automatic; WebRtcSockets.Portable ] do
              testCaseTask $"100,000 forged datagrams of each kind leave nothing behind, {sockets}" (fun () ->
                  task {
                      use shared = WebRtcSharedPort.Open(0us, options sockets)
                      let! lines = connectMany shared (options sockets) 3
                      do! exchange 1 lines

                      let known =
                          (nonNull lines[0].Server.LocalDescription).Sdp.Split("\r\n")
                          |> Array.find _.StartsWith("a=ice-ufrag:")
                          |> _.Substring("a=ice-ufrag:".Length)

                      for name, octets, most in forgeries known do
                          let! before = onLoop shared (fun () -> tables shared)

                          let! struct (allocated, after) =
                              onLoop shared (fun () ->
                                  flood shared 2_000 octets
                                  let before = GC.GetAllocatedBytesForCurrentThread()
                                  flood shared 100_000 octets
                                  let allocated = GC.GetAllocatedBytesForCurrentThread() - before
                                  struct (allocated, tables shared))

                          Expect.equal after before name
                          // The clock of this test, and what a second's answers weigh.
                          Expect.isLessThanOrEqual allocated (most * 100_000L + 50_000L) name

                      for line in lines do
                          Expect.equal line.Server.ConnectionState RTCPeerConnectionState.Connected "as before"

                      do! exchange 1 lines[1..]
                      do! closeAll lines
                  }) ]
