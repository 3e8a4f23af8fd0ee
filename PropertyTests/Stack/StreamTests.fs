/// Streams: their framing, connections, listeners, TLS and proxies.
module Hybrid.WebRtc.PropertyTests.Stack.StreamTests

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Ice
open Hybrid.WebRtc.PropertyTests.Stack.Kinds
open Hybrid.WebRtc.PropertyTests.Stack.PortTests

// --- Framing

/// What a stream of this kind may carry: a length, and octets that say so.
let internal datagram (kind: StreamKind) (length: int) (seed: int) : byte[] =
    let octets = Array.init length (fun i -> byte (i * 31 + seed))

    match kind, seed % 2 with
    | StreamKind.IceTcp, _ -> octets
    | _, 0 ->
        // STUN, its length a multiple of four.
        let attributes = length / 4 * 4

        Array.concat
            [ [| 0uy; 1uy; byte (attributes >>> 8); byte attributes |]
              Array.zeroCreate 16
              octets[.. attributes - 1] ]
    | _ -> Array.append [| 0x40uy; 7uy; byte (length >>> 8); byte length |] octets

let private framed (kind: StreamKind) (datagrams: byte[] list) : byte[] =
    [| for datagram in datagrams do
           let frame: byte[] = Array.create (Framing.SizeOf(kind, datagram.Length)) 0xEEuy

           datagram.CopyTo(frame, Framing.OffsetOf kind)
           Framing.Seal(kind, Span frame, datagram.Length)
           yield! frame |]

/// Reads a stream that comes in pieces, as a connection does.
let private unframed (kind: StreamKind) (pieces: byte[] list) : byte[] list =
    let mutable held: byte[] = [||]

    [ for piece in pieces do
          held <- Array.append held piece
          let mutable frame = Framing.Read(kind, ReadOnlySpan held)

          while frame.Status = FrameStatus.Whole do
              held[frame.Offset .. frame.Offset + frame.Length - 1]
              held <- held[frame.Total ..]
              frame <- Framing.Read(kind, ReadOnlySpan held)

          if frame.Status = FrameStatus.Malformed then
              failtest "malformed"

      if held.Length > 0 then
          failtestf "%d octets are left" held.Length ]

let private cut (cuts: int list) (stream: byte[]) : byte[] list =
    let places = cuts |> List.map (fun c -> abs (c % (stream.Length + 1))) |> List.sort

    [ for from, until in List.pairwise ([ 0 ] @ places @ [ stream.Length ]) -> stream[from .. until - 1] ]

let private framing =
    testList
        "framing"
        [ for kind in
              [ StreamKind.IceTcp
                StreamKind.TurnTcp
                StreamKind.TurnTls
                StreamKind.TurnData
                StreamKind.TurnDataTls ] do
              testPropertyWithConfig Laws.config $"{kind}: what is framed is read again, however the stream is cut"
              <| fun (lengths: uint16 list) (cuts: int list) ->
                  let datagrams =
                      lengths |> List.mapi (fun i length -> datagram kind (int length % 3_000) i)

                  unframed kind (cut cuts (framed kind datagrams)) = datagrams

              Laws.anyBytes
                  $"{kind}: any bytes are a frame within them, the beginning of one, or malformed"
                  (fun bytes ->
                      let frame = Framing.Read(kind, ReadOnlySpan bytes)

                      frame.Status <> FrameStatus.Whole
                      || (frame.Total > 0
                          && frame.Total <= bytes.Length
                          && frame.Offset + frame.Length <= frame.Total))

          testCase "frames are as RFC 4571 §2 and RFC 8656 §12.5 have them" (fun () ->
              let channelData = [| 0x40uy; 1uy; 0uy; 5uy; 1uy; 2uy; 3uy; 4uy; 5uy |]
              Expect.equal (framed StreamKind.IceTcp [ [| 7uy; 8uy; 9uy |] ]) [| 0uy; 3uy; 7uy; 8uy; 9uy |] "counted"

              for kind in [ StreamKind.TurnTcp; StreamKind.TurnTls ] do
                  let padded = Array.append channelData [| 0uy; 0uy; 0uy |]
                  Expect.equal (framed kind [ channelData ]) padded "padded with zeros"

                  Expect.equal
                      (Framing.Read(kind, ReadOnlySpan(padded: byte[])))
                      (Hybrid.WebRtc.Stack.Ports.Frame(FrameStatus.Whole, 0, 9, 12))
                      "without its padding"

                  Expect.equal
                      (Framing.Read(kind, ReadOnlySpan(channelData: byte[]))).Status
                      FrameStatus.Partial
                      "not before it is there")

          testCase
              "what follows the answer to a ConnectionBind is counted, and after nothing else (RFC 6062 §4.3)"
              (fun () ->
                  let stun (kind: byte) (method: byte) =
                      Array.append [| kind; method; 0uy; 0uy; 0x21uy; 0x12uy; 0xa4uy; 0x42uy |] (Array.zeroCreate 12)

                  let success = stun 1uy 0x0buy

                  let after kind message =
                      Framing.After(kind, ReadOnlySpan(message: byte[]))

                  for kind in [ StreamKind.TurnData; StreamKind.TurnDataTls ] do
                      Expect.equal (after kind success) StreamKind.IceTcp "success"

                      for other in
                          [ stun 1uy 0x1buy
                            stun 0uy 0x0buy
                            stun 1uy 0x0auy
                            [| 0x40uy; 0x0buy; 0uy; 0uy |] ] do
                          Expect.equal (after kind other) kind "anything else"

                  for kind in [ StreamKind.IceTcp; StreamKind.TurnTcp; StreamKind.TurnTls ] do
                      Expect.equal (after kind success) kind "and no other stream")

          testCase "a frame that no datagram could have been is malformed, and the largest fits a lease" (fun () ->
              let status kind bytes =
                  Framing.Read(kind, ReadOnlySpan(bytes: byte[])).Status

              Expect.equal (status StreamKind.IceTcp [| 0xffuy; 0xffuy |]) FrameStatus.Malformed "65,535"
              Expect.equal (status StreamKind.TurnTcp [| 0x80uy; 0uy; 0uy; 0uy |]) FrameStatus.Malformed "RTP"
              Expect.equal (status StreamKind.TurnTcp [| 0uy; 1uy; 0uy; 3uy |]) FrameStatus.Malformed "STUN of 3"
              Expect.isLessThanOrEqual Framing.MaxFrame LeasePool.DefaultSlotSize "fits") ]

// --- Ends

/// A peer as far as streams know it.
type internal StreamOwner(loop: Loop) =
    member val Frames = ConcurrentQueue<byte[]>()
    member val Remotes = ConcurrentQueue<Endpoint>()
    member val Opened = ConcurrentQueue<Endpoint>()
    member val Ended = ConcurrentQueue<string>()
    member _.Loop = loop

    interface IStreamOwner with
        member o.Received(_, remote, bytes, _) =
            o.Frames.Enqueue(bytes.ToArray())
            o.Remotes.Enqueue remote
            // What is lent may be spoilt.
            bytes.Span.Fill 0xEEuy

        member _.Broken(_, _) = ()
        member o.Opened(_, local) = o.Opened.Enqueue local
        member o.Ended(_, _, reason) = o.Ended.Enqueue reason

    interface IStreamDirectory with
        member o.Find fragment =
            if fragment = Puppet.local.UsernameFragment then o else null

let internal loopback: Endpoint =
    { Address = Address.v4 127uy 0uy 0uy 1uy
      Port = 0us }

/// A port of ours, whose address streams are opened from.
let internal origin: IPort =
    { new IPort with
        member _.Id = 1
        member _.Local = loopback
        member _.Begin() = ()
        member _.Reserve(_, _) = Span.Empty
        member _.Commit _ = ()
        member _.AllowFragments _ = ()
        member _.Flush() = ()
        member _.Dispose() = () }

/// The frame that says whom a connection is for.
let private hello () =
    Puppet.sealedWith Puppet.local.Password (Puppet.check 1 [])

type internal Scene(kind: Kind, ?options: StackOptions) =
    let leases = LeasePool()
    let options = defaultArg options (kind.Options leases)
    let loop = kind.Loop true
    // Keeps the thread.
    let seat = loop.Join(Idle())
    member _.Loop = loop
    member _.Options = options
    member _.Leases = leases

    /// Does something on the loop's thread, and waits for it.
    member _.On(action: unit -> 'a) : 'a =
        let source = TaskCompletionSource<'a>()

        loop.Post(
            Action(fun () ->
                try
                    source.SetResult(action ())
                with e ->
                    source.SetException e)
        )

        source.Task.GetAwaiter().GetResult()

    member scene.Owner() = StreamOwner loop

    member scene.Listen(owner: StreamOwner) : ListenerPort =
        let mutable error = ""

        match ListenerPort.TryBind(2, IPAddress.Loopback, PortRange(), loop, owner, options, &error) with
        | null -> failtest error
        | port ->
            port.Begin()
            port

    member scene.Connect(kind: StreamKind, target: Endpoint, name: string, owner: StreamOwner) : StreamPort =
        scene.On(fun () -> StreamPort.Open(-1, kind, origin, &target, name, loop, owner, options))

    member scene.Send(port: IPort, remote: Endpoint, bytes: byte[]) =
        scene.On(fun () -> send port remote bytes)

    interface IDisposable with
        member scene.Dispose() = scene.On(fun () -> seat.Leave())

let internal has (queue: ConcurrentQueue<'a>) count = fun () -> queue.Count >= count

let private raw (port: ListenerPort) : TcpClient =
    let client = new TcpClient()
    client.Connect(IPAddress.Loopback, int port.Local.Port)
    client.ReceiveTimeout <- int (1_000.0 * Outside.Patience)
    client

/// Whether the other side has closed the connection.
let private isClosed (client: TcpClient) =
    try
        client.GetStream().ReadByte() < 0
    with
    | :? IOException
    | :? InvalidOperationException -> true

let private write (client: TcpClient) (bytes: byte[]) =
    client.GetStream().Write(bytes, 0, bytes.Length)

let private connections (kind: Kind) =
    [ testCase $"{kind.Name}: frames go both ways, whole and in order, and leases come back" (fun () ->
          use scene = new Scene(kind)
          let here, there = scene.Owner(), scene.Owner()
          use listener = scene.Listen there
          use port = scene.Connect(StreamKind.IceTcp, listener.Local, "", here)
          eventually "it opens" (has here.Opened 1)

          let frames = [ for i in 1..100 -> Array.init (17 * i) (fun j -> byte (i + j)) ]
          scene.Send(port, listener.Local, hello ())
          eventually "the listener knows whose it is" (has there.Remotes 1)
          let remote = Seq.head there.Remotes
          Expect.equal remote (Seq.head here.Opened) "the address that it was told"

          // In one turn each, and both at once.
          scene.On(fun () ->
              for frame in frames do
                  send port listener.Local frame
                  send listener remote frame)

          eventually "all come" (fun () -> there.Frames.Count = 101 && here.Frames.Count = 100)
          Expect.equal (List.ofSeq here.Frames) frames "there to here"
          Expect.equal (Seq.toList there.Frames).Tail frames "here to there"

          // The last words leave.
          scene.On(fun () ->
              send port listener.Local [| 1uy; 2uy |]
              port.Dispose())

          eventually "the listener's peer hears of the end" (has there.Ended 1)
          Expect.equal (Seq.last there.Frames) [| 1uy; 2uy |] "and of the last words before it"
          Expect.isEmpty here.Ended "who closes is not told"
          Expect.equal (scene.On(fun () -> listener.Named)) 0 "forgotten"
          eventually "every lease is back" (fun () -> scene.Leases.OnLoan = 0))

      testCase $"{kind.Name}: a listener that is closed ends its connections" (fun () ->
          use scene = new Scene(kind)
          let here, there = scene.Owner(), scene.Owner()
          let listener = scene.Listen there
          use port = scene.Connect(StreamKind.IceTcp, listener.Local, "", here)
          eventually "it opens" (has here.Opened 1)
          scene.Send(port, listener.Local, hello ())
          eventually "it is named" (has there.Frames 1)
          listener.Dispose()
          eventually "the other end hears of it" (has here.Ended 1)

          use again = scene.Connect(StreamKind.IceTcp, listener.Local, "", here)
          eventually "and nothing is to be had there any more" (has here.Ended 2)
          Expect.equal here.Opened.Count 1 "not opened") ]

let private strangers =
    [ testCase "a connection whose first frame names no peer is closed, whatever it says" (fun () ->
          use scene = new Scene(portable)
          let owner = scene.Owner()
          use listener = scene.Listen owner

          for words in
              [ "GET / HTTP/1.1\r\n\r\n"B
                Array.append [| 0uy; 4uy |] "none"B
                [| 0xffuy; 0xffuy; 0uy |]
                framed
                    StreamKind.IceTcp
                    [ Puppet.sealedWith
                          "x"
                          (Stun.Message.request Stun.Method.Binding (Puppet.id 1) [| Stun.Username "other:them" |]) ] ] do
              use client = raw listener
              write client words
              // What begins as a long frame is closed when its time is over; a hang-up tells us here.
              if words[0] = 'G'B then
                  client.Client.Shutdown SocketShutdown.Send

              Expect.isTrue (isClosed client) "closed"

          Expect.isEmpty owner.Frames "nothing was handed on"
          Expect.equal (scene.On(fun () -> struct (listener.Named, listener.Unnamed))) (struct (0, 0)) "nothing kept")

      testCase "of many connections that say nothing the oldest make room, and a peer still comes through" (fun () ->
          use scene = new Scene(portable)
          let owner = scene.Owner()
          use listener = scene.Listen owner
          let silent = [ for _ in 1 .. ListenerPort.MaxUnnamed + 20 -> raw listener ]
          use client = raw listener
          write client (framed StreamKind.IceTcp [ hello () ])
          eventually "the peer's is named" (has owner.Frames 1)
          Expect.isLessThanOrEqual (scene.On(fun () -> listener.Unnamed)) ListenerPort.MaxUnnamed "bounded"
          Expect.isTrue (isClosed silent.Head) "the first is closed"

          for client in silent do
              client.Dispose())

      testCase "who knows a peer's fragment has 32 connections, and the silent ones make room" (fun () ->
          use scene = new Scene(portable)
          let owner = scene.Owner()
          use listener = scene.Listen owner

          let clients =
              [ for i in 1 .. ListenerPort.MaxPerPeer + 8 ->
                    let client = raw listener
                    write client (framed StreamKind.IceTcp [ hello () ])
                    eventually "named" (has owner.Frames i)
                    client ]

          Expect.equal (scene.On(fun () -> listener.Named)) ListenerPort.MaxPerPeer "bounded"
          Expect.equal owner.Ended.Count 8 "told"
          Expect.isTrue (isClosed clients.Head) "closed"

          for client in clients do
              client.Dispose())

      testCase
          "a reader that does not read costs a bounded queue and no time, and frames that it gets are whole"
          (fun () ->
              use scene = new Scene(portable)
              let owner = scene.Owner()
              use listener = scene.Listen owner
              use client = raw listener
              write client (framed StreamKind.IceTcp [ hello () ])
              eventually "named" (has owner.Remotes 1)
              let remote = Seq.head owner.Remotes
              let begun = DateTime.UtcNow
              let count = 40_000

              // 48 MB, more than any system holds for a reader.
              for batch in 0 .. count / 100 - 1 do
                  scene.On(fun () ->
                      for i in 0..99 do
                          let frame: byte[] = Array.zeroCreate 1_200
                          BitConverter.TryWriteBytes(Span frame, batch * 100 + i) |> ignore
                          send listener remote frame)

              Expect.isLessThan (DateTime.UtcNow - begun) (TimeSpan.FromSeconds Outside.Patience) "nobody waits for it"
              let stream = client.GetStream()
              let length: byte[] = Array.zeroCreate 2
              let frame: byte[] = Array.zeroCreate 1_200
              let seen = List<int>()

              // What fits was kept; the next thing that is sent tells the end.
              let next () =
                  stream.ReadExactly(Span length)
                  Expect.equal length [| 4uy; 0xb0uy |] "1,200 octets"
                  stream.ReadExactly(Span frame)
                  BitConverter.ToInt32(frame, 0)

              let rec drain () =
                  let mutable more = true

                  while more do
                      seen.Add(next ())
                      more <- seen[seen.Count - 1] <> Int32.MaxValue

              let last = Array.zeroCreate<byte> 1_200
              BitConverter.TryWriteBytes(Span last, Int32.MaxValue) |> ignore

              let teller =
                  new Timer((fun _ -> scene.Send(listener, remote, last)), null, 200, 200)

              drain ()
              // Not while the scene ends.
              use told = new ManualResetEvent(false)
              teller.Dispose told |> ignore
              Expect.isTrue (told.WaitOne(TimeSpan.FromSeconds Outside.Patience)) "the timer ends"
              Expect.isLessThan seen.Count count "some were lost"
              Expect.isTrue (seen |> Seq.pairwise |> Seq.forall (fun (a, b) -> a < b)) "the others are in order")

      testCase "what cannot be connected to ends with a reason" (fun () ->
          use scene = new Scene(portable)
          let owner = scene.Owner()
          let target = loopback

          let none =
              scene.On(fun () ->
                  StreamPort.Open(-1, StreamKind.IceTcp, null, &target, "", scene.Loop, owner, scene.Options))

          eventually "without a socket" (has owner.Ended 1)
          none.Dispose()

          // Closed before it is open: nobody is told.
          use listener = scene.Listen owner
          let target = listener.Local

          scene.On(fun () ->
              StreamPort.Open(-1, StreamKind.IceTcp, origin, &target, "", scene.Loop, owner, scene.Options).Dispose())

          eventually "and let go of" (fun () -> scene.On(fun () -> listener.Unnamed) = 0)
          Expect.equal owner.Ended.Count 1 "no word of it") ]

let tests =
    testList
        "Streams"
        [ framing
          testSequenced
          <| testList
              "connections"
              [ for kind in both do
                    yield! connections kind
                yield! strangers ] ]
