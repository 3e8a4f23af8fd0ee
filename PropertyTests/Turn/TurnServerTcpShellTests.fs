/// RFC 6062 with real sockets on this machine: relayed ports of TCP, and octets through them both ways.
module Hybrid.WebRtc.PropertyTests.Turn.TurnServerTcpShellTests

open System
open System.Collections.Generic
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers.TurnServers
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerShellTests

let private patience = TimeSpan.FromSeconds Outside.Patience

/// A control connection that has an allocation, and the relayed address.
let private allocation (transport: TurnServerTransport) (server: TurnServer) =
    let line = new Line(transport, server)
    let client = alice line
    let answer = client.Ask Method.Allocate [ RequestedTransport 6uy ]
    succeeds answer
    struct (line, client, List.head (relayed answer))

let private idOf (message: Message) : uint32 =
    match
        message
        |> picked (function
            | ConnectionId id -> ValueSome id
            | _ -> ValueNone)
    with
    | ValueSome id -> id
    | ValueNone -> failtest "a CONNECTION-ID"

let private parse (bytes: byte[]) : Message =
    match Message.read (ReadOnlySpan bytes) with
    | ValueSome message -> message
    | ValueNone -> failtest "a message"

let private bind (transport: TurnServerTransport) (server: TurnServer) (id: uint32) : Line =
    let line = new Line(transport, server)
    succeeds ((alice line).Ask Method.ConnectionBind [ ConnectionId id ])
    line

let private listen () =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    listener.Start()
    struct (listener, endpoint "127.0.0.1" (listener.LocalEndpoint :?> IPEndPoint).Port)

/// A client's data connection to a peer that it has connected to, and the peer's end of it.
let private joined (transport: TurnServerTransport) (server: TurnServer) =
    task {
        let struct (control, client, relay) = allocation transport server
        let struct (listener, at) = listen ()
        let answer = client.Ask Method.Connect [ XorPeerAddress at ]
        succeeds answer
        let! peer = listener.AcceptTcpClientAsync()
        listener.Dispose()

        Expect.equal
            (nonNull peer.Client.RemoteEndPoint :?> IPEndPoint).Port
            (int relay.Port)
            "it comes from the relayed address"

        let data = bind transport server (idOf answer.Message)
        return struct (control, data, peer)
    }

let private octets (n: int) : byte[] =
    Array.init n (fun i -> byte (i * 31 + (i >>> 8)))

let private readAll (stream: IO.Stream) (n: int) =
    task {
        let into = Array.zeroCreate<byte> n
        do! stream.ReadExactlyAsync(into).AsTask().WaitAsync patience
        return into
    }

let private isOver (stream: IO.Stream) =
    task {
        let! count =
            task {
                try
                    return! stream.ReadAsync(Array.zeroCreate<byte> 1).AsTask().WaitAsync patience
                with :? IO.IOException ->
                    return 0
            }

        Expect.equal count 0 "its end"
    }

let private serving name (body: TurnServer -> Task<unit>) =
    testCaseTask name (fun () -> task { do! withServer (fun server -> body server) })

let tests =
    testList
        "TURN server: TCP to peers (RFC 6062), real sockets"
        [ for transport in [ TurnServerTransport.Tcp; TurnServerTransport.Tls ] do
              serving $"megabytes go both ways at once as they are: {transport}" (fun server ->
                  task {
                      let! struct (control, data, peer) = joined transport server
                      use _ = control
                      use _ = data
                      use peer = peer
                      let sent = octets 3_000_000
                      let up = data.Stream.WriteAsync(ReadOnlyMemory sent).AsTask()
                      let down = peer.GetStream().WriteAsync(ReadOnlyMemory(Array.rev sent)).AsTask()
                      let atPeer = readAll (peer.GetStream()) sent.Length
                      let! atClient = readAll data.Stream sent.Length
                      let! atPeer = atPeer
                      do! Task.WhenAll(up, down)
                      Expect.isTrue (atPeer = sent) "to the peer"
                      Expect.isTrue (atClient = Array.rev sent) "to the client"
                  })

              serving
                  $"a peer that connects is told of, and what it says before it is bound is not lost: {transport}"
                  (fun server ->
                      task {
                          let struct (control, client, relay) = allocation transport server
                          use _ = control
                          use refused = new TcpClient()

                          // Reset, perhaps before the system has told us that it was there.
                          try
                              do! refused.ConnectAsync(IPAddress.Loopback, int relay.Port)
                              do! isOver (refused.GetStream())
                          with :? SocketException ->
                              ()

                          succeeds (client.Permit [ endpoint "127.0.0.1" 0 ])
                          use peer = new TcpClient()
                          do! peer.ConnectAsync(IPAddress.Loopback, int relay.Port)
                          do! peer.GetStream().WriteAsync(ReadOnlyMemory "hello"B)

                          let told = parse (control.Next())
                          Expect.equal told.Method Method.ConnectionAttempt "an indication"
                          use data = bind transport server (idOf told)
                          let! heard = readAll data.Stream 5
                          Expect.equal heard "hello"B "what it said"
                          do! data.Stream.WriteAsync(ReadOnlyMemory "world"B)
                          let! heard = readAll (peer.GetStream()) 5
                          Expect.equal heard "world"B "and back"
                      })

              serving $"the end of one direction is passed on, and the other goes on: {transport}" (fun server ->
                  task {
                      let! struct (control, data, peer) = joined transport server
                      use _ = control
                      use _ = data
                      use peer = peer
                      do! data.Stream.WriteAsync(ReadOnlyMemory "question"B)

                      match data.Stream with
                      | :? SslStream as tls -> do! tls.ShutdownAsync()
                      | stream -> (stream :?> NetworkStream).Socket.Shutdown SocketShutdown.Send

                      let! heard = readAll (peer.GetStream()) 8
                      Expect.equal heard "question"B "all of it"
                      do! isOver (peer.GetStream())
                      do! peer.GetStream().WriteAsync(ReadOnlyMemory "answer"B)
                      let! heard = readAll data.Stream 6
                      Expect.equal heard "answer"B "after the end"
                      peer.Close()
                      do! isOver data.Stream
                  })

          serving "a peer that does not read holds the client up, and loses nothing" (fun server ->
              task {
                  let! struct (control, data, peer) = joined TurnServerTransport.Tcp server
                  use _ = control
                  use _ = data
                  use peer = peer
                  let sent = octets 64_000_000
                  let writing = data.Stream.WriteAsync(ReadOnlyMemory sent).AsTask()
                  // Long enough for tens of megabytes.
                  let! _ = Task.WhenAny(writing, Task.Delay 500)
                  Expect.isFalse writing.IsCompleted "it waits"
                  let! heard = readAll (peer.GetStream()) sent.Length
                  do! writing
                  Expect.isTrue (heard = sent) "all came"
              })

          serving "a connection ends with either end, and all with the control connection" (fun server ->
              task {
                  let! struct (control, data, peer) = joined TurnServerTransport.Tcp server
                  peer.Close()
                  do! isOver data.Stream
                  (data :> IDisposable).Dispose()
                  (control :> IDisposable).Dispose()
                  let! struct (control, data, peer) = joined TurnServerTransport.Tcp server
                  (data :> IDisposable).Dispose()
                  do! isOver (peer.GetStream())
                  peer.Dispose()
                  (control :> IDisposable).Dispose()
                  let! struct (control, data, peer) = joined TurnServerTransport.Tcp server
                  (control :> IDisposable).Dispose()
                  do! isOver data.Stream
                  do! isOver (peer.GetStream())
                  do! eventually "no allocation is left" (fun () -> server.Allocations = 0)
              })

          serving "nobody listens: 447; and what an operator hides: 403" (fun server ->
              task {
                  let struct (control, client, _) = allocation TurnServerTransport.Tcp server
                  use _ = control
                  let struct (listener, at) = listen ()
                  listener.Dispose()
                  Expect.equal (code (client.Ask Method.Connect [ XorPeerAddress at ])) 447 "no such port"

                  Expect.equal
                      (code (client.Ask Method.Connect [ XorPeerAddress(endpoint "169.254.169.254" 80) ]))
                      403
                      "a cloud's metadata"
              })

          testCaseTask "without the option there is none: 442" (fun () ->
              task {
                  use! server =
                      TurnServer.StartAsync(
                          TurnServerOptions(
                              Realm = "example.org",
                              Listeners =
                                  [| TurnServerListener(TurnServerTransport.Tcp, IPEndPoint(IPAddress.Loopback, 0)) |],
                              Users = Dictionary(dict [ "alice", "wonderland" ])
                          )
                      )

                  use line = new Line(TurnServerTransport.Tcp, server)
                  Expect.equal (code ((alice line).Ask Method.Allocate [ RequestedTransport 6uy ])) 442 "unsupported"
              }) ]
