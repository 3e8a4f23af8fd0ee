/// The TURN server with real sockets on this machine: listeners, framing, relayed ports, options.
module Hybrid.WebRtc.PropertyTests.Turn.TurnServerShellTests

open System
open System.Collections.Generic
open System.Diagnostics.Metrics
open System.IO
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.Stack.Turn
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.RealPeers.TurnServers
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

let private hello = "hello"B

/// How long an answer may take on a busy machine, milliseconds.
[<Literal>]
let private Patience = 60_000

/// A connection of any kind to a server, and a client that speaks by it.
type Line(transport: TurnServerTransport, server: TurnServer) =
    let remote = endpointOf transport server

    let udp, stream =
        match transport with
        | TurnServerTransport.Udp ->
            let udp = new UdpClient(IPEndPoint(remote.Address, 0))
            udp.Connect remote
            udp.Client.ReceiveTimeout <- Patience
            udp, Stream.Null
        | _ ->
            let tcp = new TcpClient(remote.AddressFamily)
            tcp.Connect remote
            tcp.ReceiveTimeout <- Patience
            let plain: Stream = tcp.GetStream()

            if transport = TurnServerTransport.Tls then
                let encrypted = new SslStream(plain, false, (fun _ _ _ _ -> true))
                encrypted.AuthenticateAsClient "localhost"
                new UdpClient(), encrypted
            else
                new UdpClient(), plain

    let padded (bytes: byte[]) =
        Array.append bytes (Array.zeroCreate (TurnFraming.Padded bytes.Length - bytes.Length))

    member _.Stream = stream

    member _.Send(bytes: byte[]) : unit =
        if transport = TurnServerTransport.Udp then
            udp.Send(bytes, bytes.Length) |> ignore
        else
            stream.Write(ReadOnlySpan(padded bytes))
            stream.Flush()

    /// The next message, without padding of a stream's; waits for it.
    member _.Next() : byte[] =
        if transport = TurnServerTransport.Udp then
            let mutable from = IPEndPoint(IPAddress.Any, 0)
            udp.Receive &from
        else
            let head = Array.zeroCreate<byte> 4
            stream.ReadExactly(Span head)
            let message: byte[] = Array.zeroCreate (TurnFraming.Length(ReadOnlySpan head))
            head.CopyTo(message, 0)
            stream.ReadExactly(message, 4, message.Length - 4)

            if ChannelData.isFromClient (ReadOnlySpan message) then
                message[.. 3 + (int message[2] <<< 8 ||| int message[3])]
            else
                message

    member this.Client (name: string) (password: string) : Client =
        let path: Path =
            { Local = LanguagePrimitives.Int32WithMeasure 1
              Remote = endpoint "127.0.0.1" (Random.Shared.Next 60_000) }

        Client(path, this.Send, (fun () -> [ this.Next() ]), name, password)

    interface IDisposable with
        member _.Dispose() =
            udp.Dispose()
            stream.Dispose()

let alice (line: Line) = line.Client "alice" "wonderland"

/// Waits until something is so.
let eventually (what: string) (holds: unit -> bool) : Task =
    task {
        let until = Environment.TickCount64 + int64 Patience

        while not (holds ()) && Environment.TickCount64 < until do
            do! Task.Delay 10

        Expect.isTrue (holds ()) what
    }

let private serving name (change: TurnServerOptions -> TurnServerOptions) (body: TurnServer -> Task) =
    testCaseTask name (fun () ->
        task {
            use! server = TurnServer.StartAsync(change (options IPAddress.Loopback))
            do! body server
        })

/// A peer of this machine.
let private withPeer (body: UdpClient -> Endpoint -> unit) =
    use peer = new UdpClient(IPEndPoint(IPAddress.Loopback, 0))
    peer.Client.ReceiveTimeout <- Patience
    body peer (endpoint "127.0.0.1" (nonNull peer.Client.LocalEndPoint :?> IPEndPoint).Port)

let private receive (peer: UdpClient) : struct (byte[] * IPEndPoint) =
    let mutable from = IPEndPoint(IPAddress.Any, 0)
    let bytes = peer.Receive &from
    struct (bytes, from)

/// Port numbers that no UDP socket has at the moment.
let private freeUdpPorts (count: int) : int[] =
    let sockets =
        [| for _ in 1..count -> new UdpClient(IPEndPoint(IPAddress.Loopback, 0)) |]

    let ports =
        sockets
        |> Array.map (fun socket -> (nonNull socket.Client.LocalEndPoint :?> IPEndPoint).Port)

    for socket in sockets do
        socket.Dispose()

    ports

let private relays =
    [ for transport in [ TurnServerTransport.Udp; TurnServerTransport.Tcp; TurnServerTransport.Tls ] do
          serving $"data goes to a peer and comes back, by indications and channels: {transport}" id (fun server ->
              task {
                  use line = new Line(transport, server)
                  let client = alice line
                  let answer = client.Allocate []
                  succeeds answer
                  let relayed = List.exactlyOne (relayed answer)

                  withPeer (fun peer at ->
                      succeeds (client.Permit [ at ])
                      client.SendTo at hello []
                      let struct (data, from) = receive peer
                      Expect.equal data hello "the peer hears it"
                      Expect.equal from.Port (int relayed.Port) "from the relayed address"
                      peer.Send(hello, hello.Length, from) |> ignore

                      match Message.read (ReadOnlySpan(line.Next())) with
                      | ValueSome { Attributes = [| XorPeerAddress who; Data data |] } ->
                          Expect.equal who at "whose"
                          Expect.equal data hello "the client hears it"
                      | _ -> failtest "a Data indication"

                      succeeds (client.Bind 0x4000us at)

                      for size in [ 0; 1; 2; 3; 4; 5; 1200; 9000; 60_000 ] do
                          let payload = Array.init size byte
                          client.SendOn 0x4000us payload
                          let struct (data, from) = receive peer
                          Expect.equal data payload $"{size} octets there"
                          peer.Send(payload, payload.Length, from) |> ignore
                          Expect.equal (line.Next()[4..]) payload $"{size} octets back")

                  succeeds (client.Refresh [ Lifetime 0u ])
                  do! eventually "the allocation has ended" (fun () -> server.Allocations = 0)
              })

      serving "messages of a stream may come in pieces, and many at once" id (fun server ->
          task {
              use line = new Line(TurnServerTransport.Tcp, server)
              let client = alice line
              client.Meet() |> ignore
              let request = client.Plain Method.Binding []
              let bytes = Array.zeroCreate (Outgoing.size request)
              Outgoing.write ciphers (Span bytes) request |> ignore

              for b in bytes do
                  line.Stream.Write(ReadOnlySpan [| b |])

              Expect.isTrue (Message.read(ReadOnlySpan(line.Next())).IsSome) "one octet at a time"
              let many = Array.concat [ for _ in 1..1000 -> bytes ]
              line.Stream.Write(ReadOnlySpan many)

              for _ in 1..1000 do
                  Expect.isTrue (Message.read(ReadOnlySpan(line.Next())).IsSome) "each is answered"
          })

      serving "a stream of anything else is closed, and so is its allocation" id (fun server ->
          task {
              use line = new Line(TurnServerTransport.Tcp, server)
              let client = alice line
              succeeds (client.Allocate [])
              do! eventually "allocated" (fun () -> server.Allocations = 1)
              // The beginning of TLS.
              line.Stream.Write(ReadOnlySpan [| 0x16uy; 3uy; 1uy; 2uy; 0uy |])
              Expect.equal (line.Stream.ReadByte()) -1 "closed"
              do! eventually "ended" (fun () -> server.Allocations = 0)
          })

      serving "a client that hangs up leaves nothing" id (fun server ->
          task {
              for transport in [ TurnServerTransport.Tcp; TurnServerTransport.Tls ] do
                  let line = new Line(transport, server)
                  succeeds ((alice line).Allocate [])
                  do! eventually "allocated" (fun () -> server.Allocations = 1)
                  (line :> IDisposable).Dispose()
                  do! eventually "ended" (fun () -> server.Allocations = 0)
          })

      serving
          "more connections than there may be are hung up on"
          (fun o ->
              TurnServerOptions(
                  Realm = o.Realm,
                  Listeners = o.Listeners,
                  Users = o.Users,
                  Tls = o.Tls,
                  Limits = TurnServerLimits(Connections = 2)
              ))
          (fun server ->
              task {
                  use first = new Line(TurnServerTransport.Tcp, server)
                  (alice first).Meet() |> ignore
                  use second = new Line(TurnServerTransport.Tcp, server)
                  (alice second).Meet() |> ignore
                  use third = new Line(TurnServerTransport.Tcp, server)
                  Expect.equal (third.Stream.ReadByte()) -1 "one too many"
              })

      serving
          "relayed ports are of the range; when it is used up there is none"
          (fun o ->
              TurnServerOptions(
                  Realm = o.Realm,
                  Listeners = o.Listeners,
                  Users = o.Users,
                  Tls = o.Tls,
                  RelayAddresses = o.RelayAddresses,
                  RelayPorts = WebRtcPortRange(58_130us, 58_133us)
              ))
          (fun server ->
              task {
                  let lines = [ for _ in 1..4 -> new Line(TurnServerTransport.Udp, server) ]
                  let pair = (alice lines[0]).Allocate [ EvenPort true ]
                  succeeds pair
                  Expect.equal (int (List.exactlyOne (relayed pair)).Port % 2) 0 "even"
                  let others = [ for line in lines[1..2] -> (alice line).Allocate [] ]

                  for other in others do
                      succeeds other

                  let ports =
                      [ for answer in pair :: others do
                            for relayed in relayed answer -> int relayed.Port ]

                  for port in ports do
                      Expect.isTrue (port >= 58_130 && port <= 58_133) $"{port}"

                  Expect.equal (List.distinct ports).Length 3 "all different"
                  Expect.equal (code ((alice lines[3]).Allocate [])) 508 "Insufficient Capacity"

                  for line in lines do
                      (line :> IDisposable).Dispose()
              })

      testCaseTask "a dual allocation relays to peers of both families" (fun () ->
          task {
              let v6 = IPAddress.IPv6Loopback

              if not (UdpSockets.IsLocal v6) then
                  skiptest "no IPv6 here"

              let o = options IPAddress.Loopback

              use! server =
                  TurnServer.StartAsync(
                      TurnServerOptions(
                          Realm = o.Realm,
                          Listeners =
                              [| TurnServerListener(TurnServerTransport.Udp, IPEndPoint(v6, 0))
                                 TurnServerListener(TurnServerTransport.Tcp, IPEndPoint(v6, 0)) |],
                          Users = o.Users,
                          RelayAddresses = [| IPAddress.Loopback; v6 |],
                          AllowLoopbackPeers = true
                      )
                  )

              for transport in [ TurnServerTransport.Udp; TurnServerTransport.Tcp ] do
                  use line = new Line(transport, server)
                  let client = alice line
                  let answer = client.Allocate [ AdditionalAddressFamily 2uy ]
                  succeeds answer
                  Expect.equal (relayed answer |> List.map _.Address.IsV4) [ true; false ] "both"

                  for address in [ IPAddress.Loopback; v6 ] do
                      use peer = new UdpClient(IPEndPoint(address, 0))
                      peer.Client.ReceiveTimeout <- Patience
                      let port = (nonNull peer.Client.LocalEndPoint :?> IPEndPoint).Port
                      let at = endpoint (string address) port
                      succeeds (client.Permit [ at ])
                      client.SendTo at hello []
                      let struct (data, from) = receive peer
                      Expect.equal data hello "the peer hears it"
                      peer.Send(hello, hello.Length, from) |> ignore

                      match Message.read (ReadOnlySpan(line.Next())) with
                      | ValueSome { Attributes = [| XorPeerAddress who; Data data |] } ->
                          Expect.equal who at "whose"
                          Expect.equal data hello "the client hears it"
                      | _ -> failtest "a Data indication"
          })

      serving "credentials change, and a server drains" id (fun server ->
          task {
              use first = new Line(TurnServerTransport.Udp, server)
              let client = alice first
              succeeds (client.Allocate [])
              server.Drain true
              use second = new Line(TurnServerTransport.Udp, server)
              Expect.equal (code ((alice second).Allocate [])) 486 "no more"
              succeeds (client.Refresh [])
              server.Drain false
              server.SetCredentials(Dictionary(dict [ "carol", "x" ]), [||])
              Expect.equal (code ((alice second).Allocate [])) 401 "gone"
              use third = new Line(TurnServerTransport.Udp, server)
              succeeds ((third.Client "carol" "x").Allocate [])
              succeeds (client.Refresh [])
          })

      serving "figures are told to who listens" id (fun server ->
          task {
              let told = Dictionary<string, int64>()
              use listener = new MeterListener()

              listener.InstrumentPublished <-
                  fun instrument listener ->
                      if instrument.Name.StartsWith "turn." then
                          listener.EnableMeasurementEvents(instrument, null)

              listener.SetMeasurementEventCallback<int64>(fun instrument by _ _ ->
                  lock told (fun () ->
                      told[instrument.Name] <-
                          by
                          + (if told.ContainsKey instrument.Name then
                                 told[instrument.Name]
                             else
                                 0L)))

              listener.Start()
              use line = new Line(TurnServerTransport.Udp, server)
              let client = alice line
              succeeds (client.Allocate [])

              withPeer (fun peer at ->
                  succeeds (client.Permit [ at ])
                  client.SendTo at hello []
                  let struct (_, _) = receive peer
                  ())

              let figure name =
                  lock told (fun () -> if told.ContainsKey name then told[name] else 0L)

              // Other tests' servers count, too.
              do! eventually "an allocation" (fun () -> figure "turn.errors" >= 1L && figure "turn.packets" >= 1L)
              Expect.isGreaterThanOrEqual (figure "turn.io") 5L "octets"
          })

      testCaseTask "NAT behaviour is discovered by a second address and port" (fun () ->
          task {
              let address = IPAddress.Parse "127.0.0.1"
              let other = IPAddress.Parse "127.0.0.2"

              if not (OperatingSystem.IsLinux()) then
                  skiptest "127.0.0.2 is there on Linux alone"

              let free = freeUdpPorts 2

              use! server =
                  TurnServer.StartAsync(
                      TurnServerOptions(
                          Realm = "x",
                          Listeners = [| TurnServerListener(TurnServerTransport.Udp, IPEndPoint(address, free[0])) |],
                          BehaviourDiscovery = IPEndPoint(other, free[1])
                      )
                  )

              Expect.equal server.Listeners.Count 4 "two addresses with two ports each"
              use socket = new UdpClient(IPEndPoint(IPAddress.Any, 0))
              socket.Client.ReceiveTimeout <- Patience

              for changeAddress, changePort in [ false, false; true, false; false, true; true, true ] do
                  let struct (id, _) = TransactionId.draw (Entropy.ofNumber 3L)

                  let request =
                      { Message = Message.request Method.Binding id [| ChangeRequest(changeAddress, changePort) |]
                        Integrity = Unprotected
                        Fingerprint = false }

                  let bytes = Array.zeroCreate (Outgoing.size request)
                  Outgoing.write ciphers (Span bytes) request |> ignore
                  socket.Send(bytes, bytes.Length, IPEndPoint(address, free[0])) |> ignore
                  let struct (_, from) = receive socket
                  Expect.equal (from.Address.Equals other) changeAddress "the address"
                  Expect.equal (from.Port = free[1]) changePort "the port"
          })

      testCaseTask "a port that is taken is said so" (fun () ->
          task {
              use! server = TurnServer.StartAsync(options IPAddress.Loopback)

              for transport in [ TurnServerTransport.Udp; TurnServerTransport.Tcp ] do
                  let again =
                      TurnServerOptions(
                          Realm = "x",
                          Listeners = [| TurnServerListener(transport, endpointOf transport server) |]
                      )

                  let! said =
                      task {
                          try
                              use! _second = TurnServer.StartAsync again
                              return "nothing"
                          with :? IOException as e ->
                              return e.Message
                      }

                  Expect.stringContains said (string (endpointOf transport server)) "which endpoint it is"
          })

      testCaseTask "a server that is disposed lets go of its ports, twice if need be" (fun () ->
          task {
              let! server = TurnServer.StartAsync(options IPAddress.Loopback)
              use line = new Line(TurnServerTransport.Tcp, server)
              succeeds ((alice line).Allocate [])
              let listeners = server.Listeners
              do! server.DisposeAsync()
              do! server.DisposeAsync()
              Expect.equal (line.Stream.ReadByte()) -1 "connections are closed"

              use! again =
                  TurnServer.StartAsync(TurnServerOptions(Realm = "x", Listeners = [| listeners[0]; listeners[1] |]))

              Expect.equal again.Listeners.Count 2 "the ports are free again"
          }) ]

let private valid = options IPAddress.Loopback

/// What is said of options that do not fit.
let private refusal (change: unit -> TurnServerOptions) : string =
    try
        change().Check()
        "nothing"
    with :? ArgumentException as e ->
        e.Message

let private choices =
    [ testCase "options that cannot be are refused by name" (fun () ->
          valid.Check()
          let loopback port = IPEndPoint(IPAddress.Loopback, port)

          for what, options in
              [ "Realm", (fun () -> TurnServerOptions(Realm = ""))
                "Listeners", (fun () -> TurnServerOptions(Realm = "x", Listeners = [||]))
                "Tls",
                (fun () ->
                    TurnServerOptions(
                        Realm = "x",
                        Listeners = [| TurnServerListener(TurnServerTransport.Tls, loopback 0) |]
                    ))
                "RelayTcp",
                (fun () ->
                    TurnServerOptions(
                        Realm = "x",
                        RelayTcp = true,
                        Listeners = [| TurnServerListener(TurnServerTransport.Udp, loopback 0) |]
                    ))
                "PeerConnections",
                (fun () -> TurnServerOptions(Realm = "x", Limits = TurnServerLimits(PeerConnections = 0)))
                "Users", (fun () -> TurnServerOptions(Realm = "x", Users = Dictionary(dict [ "a", "" ])))
                "SharedSecrets", (fun () -> TurnServerOptions(Realm = "x", SharedSecrets = [| "" |]))
                "RelayPorts", (fun () -> TurnServerOptions(Realm = "x", RelayPorts = WebRtcPortRange()))
                "RelayAddresses",
                (fun () ->
                    TurnServerOptions(
                        Realm = "x",
                        RelayAddresses = [| IPAddress.Loopback; IPAddress.Parse "127.0.0.2" |]
                    ))
                "RelayAddresses", (fun () -> TurnServerOptions(Realm = "x", RelayAddresses = [| IPAddress.Any |]))
                "ExternalAddresses",
                (fun () ->
                    TurnServerOptions(
                        Realm = "x",
                        ExternalAddresses = Dictionary(dict [ IPAddress.Loopback, IPAddress.IPv6Loopback ])
                    ))
                "BehaviourDiscovery", (fun () -> TurnServerOptions(Realm = "x", BehaviourDiscovery = loopback 3479))
                "BehaviourDiscovery",
                (fun () ->
                    TurnServerOptions(
                        Realm = "x",
                        Listeners = [| TurnServerListener(TurnServerTransport.Udp, loopback 3478) |],
                        BehaviourDiscovery = loopback 3479
                    ))
                "MaxLifetime",
                (fun () ->
                    TurnServerOptions(Realm = "x", Limits = TurnServerLimits(MaxLifetime = TimeSpan.FromSeconds 5.0)))
                "OctetsPerSecond",
                (fun () -> TurnServerOptions(Realm = "x", Limits = TurnServerLimits(OctetsPerSecond = Nullable 1L))) ] do
              Expect.stringContains (refusal options) what "what was wrong")

      testCase "which peers are reached follows the options" (fun () ->
          let allows (options: TurnServerOptions) text =
              PeerFilter.allows (options.ToStack().Peers) (endpoint text 1).Address

          let standard = TurnServerOptions(Realm = "x")

          for text in
              [ "127.0.0.1"
                "10.0.0.1"
                "169.254.169.254"
                "224.0.0.1"
                "::1"
                "fe80::1"
                "fd00::1" ] do
              Expect.isFalse (allows standard text) text

          Expect.isTrue (allows standard "8.8.8.8") "the world"
          Expect.isTrue (allows (TurnServerOptions(Realm = "x", AllowLoopbackPeers = true)) "127.0.0.1") "loopback"
          Expect.isTrue (allows (TurnServerOptions(Realm = "x", AllowPrivatePeers = true)) "10.0.0.1") "private"
          Expect.isTrue (allows (TurnServerOptions(Realm = "x", AllowLinkLocalPeers = true)) "fe80::1") "link-local"

          let chosen =
              TurnServerOptions(
                  Realm = "x",
                  AllowedPeers = [| IPNetwork.Parse "10.1.0.0/16" |],
                  DeniedPeers = [| IPNetwork.Parse "8.0.0.0/8" |]
              )

          Expect.isTrue (allows chosen "10.1.2.3") "allowed"
          Expect.isFalse (allows chosen "10.2.2.3") "the rest is not"
          Expect.isFalse (allows chosen "8.8.8.8") "denied")

      testCase "credentials that expire tell when" (fun () ->
          let made = TurnServer.CreateCredential("north", "alice", TimeSpan.FromHours 1.0)
          Expect.stringEnds made.Username ":alice" "the name"

          Expect.equal
              made.Credential
              (RestCredentials.password ciphers "north" made.Username)
              "made of the name and the secret"

          Expect.equal made.Username $"{made.ExpiresAt.ToUnixTimeSeconds()}:alice" "the expiry"

          Expect.throwsT<ArgumentException>
              (fun () -> TurnServer.CreateCredential("", "x", TimeSpan.FromHours 1.0) |> ignore)
              "no secret") ]

let tests =
    testSequenced
    <| testList "TURN server: sockets and options" [ testList "sockets" relays; testList "options" choices ]
