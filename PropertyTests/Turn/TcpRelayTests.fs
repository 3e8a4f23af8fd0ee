/// RFC 6062, the client's side, against our server's core, under virtual time: relayed addresses of TCP and the connections by them.
module Hybrid.WebRtc.PropertyTests.Turn.TcpRelayTests

open System
open System.Collections.Generic
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

/// The server's listener of TCP.
let private tcp: PortId = LanguagePrimitives.Int32WithMeasure 2

let private serverConfig = { config with TcpListeners = [| tcp |] }
let private server = endpoint "198.51.100.5" 3478
let private peer = endpoint "192.0.2.99" 5000
let private port (n: int) : PortId = LanguagePrimitives.Int32WithMeasure n
let private v4 = port -2
let private control = port -6

/// A stream of ICE's from the relay.
let private stream = RelayPorts.ofStream (port -1)

let private request: RelayRequest =
    { V4 = v4
      V6 = port -4
      Stream = control
      From = port 1
      Transport = ServerTransport.Tcp
      Server = server
      ServerName = "turn.example.org"
      Username = "alice"
      Password = "wonderland"
      RelaysTcp = true }

/// The client's machine, and a server that its streams lead to.
type private Scene(config: TurnServerConfig) =
    let world = World(config, credentials)
    let mutable relays = Relays.create ciphers (Entropy.ofNumber 7L)
    let told = List<Relays.Output>()
    let streams = Dictionary<PortId, StreamKind>()
    let waiting = Queue<Relays.Input>()

    // By which the server knows a stream.
    let far (local: PortId) : Path =
        { Local = tcp
          Remote =
            endpoint
                "203.0.113.7"
                ((if local <= RelayPorts.firstData then 20_000 else 10_000)
                 + (int local &&& 0xfff)) }

    member _.World = world
    member _.Relays = relays
    /// Whether what is sent arrives.
    member val Answers = true with get, set
    /// Streams that are open or asked for.
    member _.Streams = streams
    member _.Told = told

    member private _.Take(input: Relays.Input) : unit =
        let struct (next, outputs) = Relays.step world.Now input relays
        relays <- next

        for output in outputs do
            match output with
            | Relays.Transmit(path, message, around) ->
                Expect.isTrue around.IsNone "nothing is around a message on a stream"
                let bytes = Array.zeroCreate (Outgoing.size message)
                Outgoing.write ciphers (Span bytes) message |> ignore

                if streams.ContainsKey path.Local then
                    world.Receive(far path.Local, bytes)
            | Relays.OpenStream(port, kind, _, target, _) ->
                Expect.equal target server "to the server"
                streams.Add(port, kind)
                waiting.Enqueue(Relays.StreamOpened port)
            | Relays.CloseNow port ->
                if streams.Remove port then
                    world.Feed(TurnServerInput.Disconnected(far port))
            | output -> told.Add output

    /// Until nothing is on its way.
    member this.Pump() : unit =
        let mutable busy = true

        while busy do
            busy <- false

            for local in List.ofSeq streams.Keys do
                for bytes in world.Take(far local) do
                    if this.Answers then
                        waiting.Enqueue(Relays.Received({ Local = local; Remote = server }, ReadOnlyMemory bytes))

            while waiting.Count > 0 do
                busy <- true
                this.Take(waiting.Dequeue())

    member this.Step(input: Relays.Input) : unit =
        waiting.Enqueue input
        this.Pump()

    member this.Pass(length: Duration) : unit =
        let until = world.Now + length

        while Relays.deadline relays <= until do
            world.Pass(max 0L<us> (Relays.deadline relays - world.Now))
            this.Step Relays.Tick

        world.Pass(until - world.Now)
        this.Pump()

    member _.Connected =
        [ for output in told do
              match output with
              | Relays.Connected(port, at) -> (port, at)
              | _ -> () ]

    member _.Disconnected =
        [ for output in told do
              match output with
              | Relays.Disconnected path -> path
              | _ -> () ]

    member _.Refused =
        [ for output in told do
              match output with
              | Relays.Refused path -> path
              | _ -> () ]

    member _.Ignored =
        [ for output in told do
              match output with
              | Relays.Ignored drop -> drop
              | _ -> () ]

    /// The streams that carry connections.
    member _.Data =
        [ for pair in streams do
              if pair.Key <= RelayPorts.firstData then
                  pair.Key ]

let private allocated () : Scene =
    let scene = Scene serverConfig
    scene.Step(Relays.Allocate request)
    scene

let private toPeer: Path = { Local = stream; Remote = peer }

/// Where packets for a path of ICE's go.
let private way (scene: Scene) (path: Path) : Path voption =
    match RelayTable.wrap scene.World.Now 1 path scene.Relays with
    | struct (ValueSome(struct (outer, header)), _) ->
        Expect.isTrue header.IsNone "as they are"
        ValueSome outer
    | struct (ValueNone, _) -> ValueNone

let private numberTo (scene: Scene) (peer: Endpoint) : int =
    scene.World.Peers
    |> Seq.pick (fun pair -> if pair.Value.Peer.Equals peer then Some pair.Key else None)

/// A connection to the peer, which takes it.
let private connected () : Scene =
    let scene = allocated ()
    scene.Step(Relays.Connect(toPeer, v4))
    scene.World.Feed(PeerConnected(numberTo scene peer))
    scene.Pump()
    scene

let private isAllocated (scene: Scene) : bool = scene.Told |> Seq.exists _.IsAllocated

let tests =
    testList
        "TURN client: TCP to peers (RFC 6062)"
        [ testCase "an allocation of TCP has one address of each family, beside that of UDP" (fun () ->
              let scene = allocated ()

              scene.Step(
                  Relays.Allocate
                      { request with
                          V4 = port -8
                          V6 = port -10
                          Stream = port -12
                          RelaysTcp = false }
              )

              Expect.equal (scene.Told |> Seq.filter _.IsAllocated |> Seq.length) 2 "both"
              Expect.equal scene.World.Opened.Count 4 "an address of each family each")

          testCase "a server that does not relay TCP says 442, and UDP's is not disturbed" (fun () ->
              let scene = Scene config

              scene.Step(
                  Relays.Allocate
                      { request with
                          V4 = port -8
                          V6 = port -10
                          Stream = port -12
                          RelaysTcp = false }
              )

              scene.Step(Relays.Allocate request)

              Expect.exists
                  scene.Told
                  (function
                  | Relays.Failed(port, 442, _) -> port = v4
                  | _ -> false)
                  "its code"

              Expect.isTrue (isAllocated scene) "UDP's"
              Expect.equal [ for pair in scene.Streams -> pair.Key ] [ port -12 ] "and its stream alone is open")

          testCase "a connection to a peer goes by a stream of its own, once that is bound" (fun () ->
              let scene = allocated ()
              scene.Step(Relays.Connect(toPeer, v4))
              Expect.isEmpty scene.Data "no stream before the peer has taken it"
              Expect.isTrue (way scene toPeer).IsNone "and no way"
              let number = numberTo scene peer
              scene.World.Feed(PeerConnected number)
              scene.Pump()
              let data = List.exactlyOne scene.Data
              Expect.equal scene.Streams[data] StreamKind.TurnData "of this kind"

              match scene.Connected with
              | [ port, at ] ->
                  Expect.equal port stream "ICE's"
                  Expect.isTrue (scene.World.Opened.ContainsValue at) "from the relayed address"
              | _ -> failtest "told once"

              Expect.isTrue scene.World.Peers[number].Client.IsSome "joined"

              Expect.equal (way scene toPeer) (ValueSome { Local = data; Remote = server }) "its packets' way"

              Expect.equal (RelayTable.carried data scene.Relays) (ValueSome toPeer) "and back"
              Expect.equal (RelayTable.overhead toPeer scene.Relays) 0 "nothing is around them"
              Expect.equal (RelayTable.carried (data - 2<port>) scene.Relays) ValueNone "no other")

          testCase "a peer that connects is one on the relayed address, where it is permitted" (fun () ->
              let scene = allocated ()
              let inner = { Local = v4; Remote = peer }
              scene.Step(Relays.Permit inner)

              let relay =
                  scene.World.Opened
                  |> Seq.pick (fun pair -> if pair.Value.Address.IsV4 then Some pair.Key else None)

              scene.World.Accept(relay, peer, 1)
              scene.Pump()
              let data = List.exactlyOne scene.Data
              Expect.isTrue scene.World.Peers[1].Client.IsSome "bound without being asked"
              Expect.equal (RelayTable.carried data scene.Relays) (ValueSome inner) "its path"
              Expect.equal (way scene inner) (ValueSome { Local = data; Remote = server }) "and its packets' way"
              Expect.isEmpty scene.Connected "its check will tell of it"
              scene.Step(Relays.Bind inner)
              Expect.isEmpty scene.Ignored "it needs no channel"
              // The peer connects anew from the same port.
              scene.World.Accept(relay, peer, 2)
              scene.Pump()
              Expect.equal scene.Disconnected [ inner ] "the former is over"
              Expect.notEqual (List.exactlyOne scene.Data) data "another stream")

          testCase "an indication of a peer that nobody asked for opens nothing" (fun () ->
              let scene = allocated ()

              let attempt =
                  { Message.request
                        Method.ConnectionAttempt
                        { High = 1u; Low = 2UL }
                        [| ConnectionId 5u; XorPeerAddress peer |] with
                      Class = Class.Indication }

              let outgoing =
                  { Message = attempt
                    Integrity = Unprotected
                    Fingerprint = false }

              let bytes = Array.zeroCreate (Outgoing.size outgoing)
              Outgoing.write ciphers (Span bytes) outgoing |> ignore
              scene.Step(Relays.Received({ Local = control; Remote = server }, ReadOnlyMemory bytes))
              Expect.isEmpty scene.Data "nothing"
              Expect.equal scene.Ignored [ Drop.Unvalidated ] "counted")

          testCase "what the server refuses, or a peer does not take, is told as refused" (fun () ->
              let scene = allocated ()

              let hidden =
                  { toPeer with
                      Remote = endpoint "10.0.0.1" 80 }

              scene.Step(Relays.Connect(hidden, v4))
              Expect.equal scene.Refused [ hidden ] "403"
              scene.Step(Relays.Connect(toPeer, v4))
              scene.World.Feed(PeerLost(numberTo scene peer))
              scene.Pump()
              Expect.equal scene.Refused [ hidden; toPeer ] "447"
              scene.Step(Relays.Connect(toPeer, port -40))
              Expect.equal scene.Refused [ hidden; toPeer; toPeer ] "no such relay"
              Expect.isEmpty scene.Disconnected "nothing was connected"
              Expect.isEmpty scene.Data "no stream is left")

          testCase "a server that does not answer is given up after 39.5 s, and not before" (fun () ->
              for untilBound in [ false; true ] do
                  let scene = allocated ()

                  if untilBound then
                      scene.Step(Relays.Connect(toPeer, v4))
                      scene.Answers <- false
                      scene.World.Feed(PeerConnected(numberTo scene peer))
                      scene.Answers <- true
                      scene.Pump()
                  else
                      scene.Answers <- false
                      scene.Step(Relays.Connect(toPeer, v4))
                      let before = scene.Relays
                      scene.Pass(Duration.milliseconds 39_499L)
                      Expect.isEmpty scene.Disconnected "not before"
                      Expect.isTrue (Relays.deadline before > scene.World.Now) "nothing was due"
                      scene.Pass(Duration.milliseconds 2L)
                      Expect.equal scene.Disconnected [ toPeer ] "then")

          testCase "either end of the stream ends the connection, and the relay goes on" (fun () ->
              let scene = connected ()
              let data = List.exactlyOne scene.Data
              scene.Step(Relays.StreamClosed(data, "gone"))
              Expect.equal scene.Disconnected [ toPeer ] "told"
              Expect.isTrue (way scene toPeer).IsNone "no way"
              scene.Streams.Remove data |> ignore
              scene.World.Feed(PeerLost(numberTo scene peer))
              let again = { toPeer with Local = stream - 2<port> }
              scene.Step(Relays.Connect(again, v4))
              scene.World.Feed(PeerConnected(numberTo scene peer))
              scene.Pump()
              Expect.equal (List.length scene.Connected) 2 "another"
              scene.Step(Relays.ClosePort again.Local)
              Expect.isEmpty scene.Data "closed by ICE"
              Expect.equal scene.World.Peers.Count 0 "and by the server")

          testCase "all end with the allocation" (fun () ->
              for endIt in
                  [ (fun (scene: Scene) -> scene.Step(Relays.Release v4))
                    (fun scene -> scene.Step(Relays.StreamClosed(control, "gone"))) ] do
                  let scene = connected ()
                  endIt scene
                  Expect.equal scene.Disconnected [ toPeer ] "told"
                  Expect.isEmpty scene.Data "no stream"
                  Expect.isTrue (Relays.isEmpty scene.Relays) "nothing is kept")

          testCase "an allocation and its connections live for hours" (fun () ->
              let scene = connected ()
              scene.Step(Relays.Permit { Local = v4; Remote = peer })
              scene.Pass(seconds 20_000)
              Expect.equal (TurnServer.allocations scene.World.State) 1 "refreshed"
              Expect.isTrue (way scene toPeer).IsSome "and the connection with it")

          testCase "a peer that floods makes us open no more than there is room for" (fun () ->
              let scene =
                  Scene
                      { serverConfig with
                          Limits =
                              { TurnServer.limits with
                                  PeerConnections = 100 } }

              scene.Step(Relays.Allocate request)
              scene.Step(Relays.Permit { Local = v4; Remote = peer })

              let relay =
                  scene.World.Opened
                  |> Seq.pick (fun pair -> if pair.Value.Address.IsV4 then Some pair.Key else None)

              for n in 1..100 do
                  scene.World.Accept(relay, { peer with Port = uint16 (6000 + n) }, n)
                  scene.Pump()

              Expect.equal scene.Data.Length 32 "bounded"
              Expect.equal scene.Ignored (List.replicate 68 Drop.TooMany) "the others are counted")

          testPropertyWithConfig
              { FsCheckConfig.defaultConfig with
                  maxTest = 500 }
              "any bytes on either connection end without harm"
              (Prop.forAll
                  (Arb.fromGen (
                      Gen.zip (Gen.elements [ true; false ]) (Gen.arrayOf (Gen.map byte (Gen.choose (0, 255))))
                  ))
                  (fun (onData, bytes) ->
                      let scene = allocated ()
                      scene.Step(Relays.Connect(toPeer, v4))
                      let local = if onData then RelayPorts.firstData else control

                      for message in
                          [ bytes
                            // What begins as an answer of each method.
                            Array.append [| 0x01uy; 0x0auy; 0uy; 0uy; 0x21uy; 0x12uy; 0xa4uy; 0x42uy |] bytes
                            Array.append [| 0x01uy; 0x0buy; 0uy; 0uy; 0x21uy; 0x12uy; 0xa4uy; 0x42uy |] bytes
                            Array.append [| 0x00uy; 0x1cuy; 0uy; 0uy; 0x21uy; 0x12uy; 0xa4uy; 0x42uy |] bytes ] do
                          scene.Step(Relays.Received({ Local = local; Remote = server }, ReadOnlyMemory message))

                      Expect.isEmpty scene.Data "no stream is opened"
                      Expect.isTrue (isAllocated scene) "the allocation lives")) ]
