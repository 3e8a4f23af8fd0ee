/// RFC 6062, the server's side, under virtual time: what the core decides of connections to and from peers.
module Hybrid.WebRtc.PropertyTests.Turn.TurnServerTcpTests

open System
open Expecto
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

/// A listener of TCP.
let private tcp: PortId = LanguagePrimitives.Int32WithMeasure 2

let private small =
    { config with
        TcpListeners = [| tcp |]
        Limits =
            { TurnServer.limits with
                PeerConnections = 3
                AllPeerConnections = 5 } }

let private world () = World(small, credentials)

let private overTcp (world: World) (port: int) (name: string) =
    clientOn
        world
        { Local = tcp
          Remote = endpoint "203.0.113.7" port }
        name
        (if name = "alice" then "wonderland" else "builder")

let private peer = endpoint "192.0.2.99" 5000

let private allocateTcp (client: Client) (attributes: Attribute list) : Answer =
    client.Ask Method.Allocate (RequestedTransport 6uy :: attributes)

/// A client with an allocation of TCP, and the number of its relay.
let private holder (world: World) =
    let client = overTcp world 4000 "alice"
    let answer = allocateTcp client []
    succeeds answer
    struct (client, relayAt world (List.head (relayed answer)))

let private idOf (message: Message) : uint32 =
    match
        message
        |> picked (function
            | ConnectionId id -> ValueSome id
            | _ -> ValueNone)
    with
    | ValueSome id -> id
    | ValueNone -> failtest "a CONNECTION-ID"

/// The number of the connection that the shell is asked for last.
let private numberTo (world: World) (peer: Endpoint) : int =
    world.Peers
    |> Seq.pick (fun pair -> if pair.Value.Peer.Equals peer then Some pair.Key else None)

/// Asks for a connection; nothing answers yet.
let private begins (client: Client) (peer: Endpoint) : unit =
    client.Send(client.Protected Method.Connect [ XorPeerAddress peer ])

let private parse (bytes: byte[]) : Message =
    match Message.read (ReadOnlySpan bytes) with
    | ValueSome message -> message
    | ValueNone -> failtest "a message"

let private only (world: World) (client: Client) : Answer =
    match world.Take client.Path with
    | [ bytes ] -> { Message = parse bytes; Bytes = bytes }
    | several -> failtest $"one message, not {several.Length}"

/// A connection to a peer that waits to be bound: its number and its CONNECTION-ID.
let private connects (world: World) (client: Client) (peer: Endpoint) =
    begins client peer
    let number = numberTo world peer
    world.Feed(PeerConnected number)
    let answer = only world client
    succeeds answer
    struct (number, idOf answer.Message)

let private binds (client: Client) (id: uint32) : Answer =
    client.Ask Method.ConnectionBind [ ConnectionId id ]

let private allocating =
    testList
        "allocating"
        [ testCase "TCP is relayed where the option says so, over TCP only, and with nothing that is UDP's" (fun () ->
              let off = TurnServerWorld.world ()
              Expect.equal (code (allocateTcp (overTcp off 4000 "alice") [])) 442 "not without the option"
              let world = world ()
              Expect.equal (code (allocateTcp (alice world) [])) 400 "over UDP"

              for attribute in [ DontFragment; EvenPort false; EvenPort true; ReservationToken 7UL ] do
                  Expect.equal (code (allocateTcp (overTcp world 4000 "alice") [ attribute ])) 400 "UDP's"

              Expect.equal
                  (code ((overTcp world 4000 "alice").Ask Method.Allocate [ RequestedTransport 33uy ]))
                  442
                  "another protocol"

              Expect.equal world.Opened.Count 0 "no port is open"
              let struct (_, _) = holder world
              Expect.equal world.Opened.Count 1 "one is")

          testCase "both families are had at once, and UDP goes on as ever beside" (fun () ->
              let world = world ()
              let both = overTcp world 1 "alice"
              let answer = allocateTcp both [ AdditionalAddressFamily 2uy ]
              succeeds answer
              Expect.equal (relayed answer).Length 2 "one of each"
              succeeds ((overTcp world 2 "alice").Allocate []))

          testCase "an allocation of TCP has no channels, and passes no Send indication on" (fun () ->
              let world = world ()
              let struct (client, _) = holder world
              succeeds (client.Permit [ peer ])
              Expect.equal (code (client.Bind 0x4000us peer)) 400 "no channel"
              client.SendTo peer "hello"B []
              Expect.equal world.ToPeers.Count 0 "nothing is sent"
              Expect.equal (Seq.last world.Ignored) Drop.Unvalidated "counted")

          testCase "an allocation of UDP makes no connections" (fun () ->
              let world = world ()
              let client = overTcp world 4000 "alice"
              succeeds (client.Allocate [])
              Expect.equal (code (client.Ask Method.Connect [ XorPeerAddress peer ])) 437 "Allocation Mismatch"
              Expect.equal world.Peers.Count 0 "nothing is connected to") ]

let private connecting =
    testList
        "connecting to peers"
        [ testCase "a connection is told with its id once it is there, bound, and joined behind the answer" (fun () ->
              let world = world ()
              let struct (client, relay) = holder world
              begins client peer
              Expect.isEmpty (world.Take client.Path) "no answer before"
              let number = numberTo world peer
              Expect.isLessThan number 0 "a number of the core's"
              Expect.equal world.Peers[number].Relay relay "from the relayed address"
              world.Feed(PeerConnected number)
              let answer = only world client
              succeeds answer
              let data = overTcp world 4001 "alice"
              succeeds (binds data (idOf answer.Message))
              Expect.equal world.Peers[number].Client (ValueSome data.Path) "joined"
              world.Pass(seconds 60)
              Expect.isTrue (world.Peers.ContainsKey number) "and stays")

          testCase "nobody else's: without an allocation 437, by another user 441, without a peer 400" (fun () ->
              let world = world ()

              Expect.equal
                  (code ((overTcp world 9 "alice").Ask Method.Connect [ XorPeerAddress peer ]))
                  437
                  "no allocation"

              let struct (client, _) = holder world

              Expect.equal
                  (code ((overTcp world 4000 "bob").Ask Method.Connect [ XorPeerAddress peer ]))
                  441
                  "another user"

              Expect.equal (code (client.Ask Method.Connect [])) 400 "no peer"
              Expect.equal (code (client.Ask Method.Connect [ XorPeerAddress { peer with Port = 0us } ])) 400 "no port"

              Expect.equal
                  (code (client.Ask Method.Connect [ XorPeerAddress(endpoint "2001:db8::7" 5) ]))
                  443
                  "another family"

              for hidden in [ "127.0.0.1"; "10.0.0.1"; "169.254.169.254" ] do
                  Expect.equal (code (client.Ask Method.Connect [ XorPeerAddress(endpoint hidden 80) ])) 403 "filtered"

              Expect.equal world.Peers.Count 0 "nothing is connected to")

          testCase "a second to the same peer is 446, whether the first is being made, pending or joined" (fun () ->
              let world = world ()
              let struct (client, _) = holder world

              let again () =
                  code (client.Ask Method.Connect [ XorPeerAddress peer ])

              begins client peer
              Expect.equal (again ()) 446 "being made"
              let number = numberTo world peer
              world.Feed(PeerConnected number)
              let id = idOf (only world client).Message
              Expect.equal (again ()) 446 "pending"
              succeeds (binds (overTcp world 4001 "alice") id)
              Expect.equal (again ()) 446 "joined"
              world.Feed(PeerLost number)
              let struct (next, id') = connects world client peer
              Expect.notEqual next number "another number"
              Expect.notEqual id' id "another id")

          testCase "one that fails is 447, and so is one that takes 30 s" (fun () ->
              let world = world ()
              let struct (client, _) = holder world
              begins client peer
              world.Feed(PeerLost(numberTo world peer))
              Expect.equal (code (only world client)) 447 "failed"
              begins client peer
              let number = numberTo world peer
              world.Pass(Duration.milliseconds 29_990L)
              Expect.isEmpty (world.Take client.Path) "not before"
              world.Pass(Duration.milliseconds 20L)
              Expect.equal (code (only world client)) 447 "timed out"
              Expect.equal world.Peers.Count 0 "closed"
              world.Feed(PeerConnected number)
              Expect.equal (Seq.last world.Ignored) Drop.Stale "too late"
              Expect.isEmpty (world.Take client.Path) "and not answered")

          testCase "a flood of Connects is bounded by allocation and by server, with 508" (fun () ->
              let world = world ()
              let struct (first, _) = holder world
              let second = overTcp world 4100 "bob"
              succeeds (allocateTcp second [])

              let flood (client: Client) =
                  for port in 1..200 do
                      begins client { peer with Port = uint16 port }

                  world.Take client.Path |> List.map (parse >> Message.errorCode)

              let refused = flood first
              Expect.equal refused.Length 197 "all but three of one allocation"

              Expect.all
                  refused
                  (function
                  | ValueSome(struct (508, _)) -> true
                  | _ -> false)
                  "Insufficient Capacity"

              Expect.equal (flood second).Length 198 "all but two of what the server has left"
              Expect.equal world.Peers.Count 5 "no more"
              world.Pass(seconds 31)
              Expect.equal world.Peers.Count 0 "and they end") ]

let private binding =
    testList
        "binding"
        [ testCase "an id that is not bound within 30 s is over" (fun () ->
              let world = world ()
              let struct (client, _) = holder world
              let struct (_, id) = connects world client peer
              world.Pass(Duration.milliseconds 29_990L)
              Expect.equal world.Peers.Count 1 "not before"
              world.Pass(Duration.milliseconds 20L)
              Expect.equal world.Peers.Count 0 "closed"
              Expect.equal (code (binds (overTcp world 4001 "alice") id)) 400 "none is pending")

          testCase
              "a wrong id, none, a second time, by another user, over UDP or the control connection: refused"
              (fun () ->
                  let world = world ()
                  let struct (client, _) = holder world
                  let struct (number, id) = connects world client peer
                  let data = overTcp world 4001 "alice"
                  Expect.equal (code (binds data (id + 1u))) 400 "a wrong id"
                  Expect.equal (code (data.Ask Method.ConnectionBind [])) 400 "none"
                  Expect.equal (code (binds (overTcp world 4002 "bob") id)) 441 "another user"
                  Expect.equal (code (binds (alice world) id)) 400 "UDP"
                  Expect.equal (code (binds client id)) 400 "the control connection"
                  Expect.isTrue world.Peers[number].Client.IsNone "it waits yet"
                  succeeds (binds data id)
                  Expect.equal (code (binds (overTcp world 4003 "alice") id)) 400 "a second time"
                  let struct (_, id') = connects world client { peer with Port = 5001us }
                  Expect.equal (code (binds data id')) 400 "by a connection that is bound"

                  Expect.equal
                      (code (data.Exchange(data.Plain Method.ConnectionBind [ ConnectionId id' ])))
                      401
                      "unprotected")

          testCase "credentials that have expired since are good for the allocation's connections" (fun () ->
              let world =
                  World(
                      small,
                      { Users = [||]
                        Secrets = [| "secret" |] }
                  )

              let username = RestCredentials.username (Epoch + 1_000L + 100L) "carol"
              let password = RestCredentials.password ciphers "secret" username

              let at port =
                  clientOn
                      world
                      { Local = tcp
                        Remote = endpoint "203.0.113.7" port }
                      username
                      password

              let client = at 4000
              succeeds (allocateTcp client [])
              world.Pass(seconds 200)
              let struct (_, id) = connects world client peer
              succeeds (binds (at 4001) id)
              Expect.equal (code (allocateTcp (at 4002) [])) 401 "and for nothing new") ]

let private accepting =
    testList
        "peers that connect"
        [ testCase "a permitted one is told to the client by an indication; one that is not is closed" (fun () ->
              let world = world ()
              let struct (client, relay) = holder world
              world.Accept(relay, peer, 1)
              Expect.equal world.Peers.Count 0 "closed at once"
              Expect.equal (Seq.last world.Ignored) Drop.Unvalidated "counted"
              Expect.isEmpty (world.Take client.Path) "and nobody is told"
              succeeds (client.Permit [ { peer with Port = 0us } ])
              world.Accept(relay, peer, 2)
              let told = (only world client).Message
              Expect.isTrue told.Class.IsIndication "an indication"
              Expect.equal told.Method Method.ConnectionAttempt "ConnectionAttempt"
              Expect.isTrue (Array.contains (XorPeerAddress peer) told.Attributes) "of this peer"
              succeeds (binds (overTcp world 4001 "alice") (idOf told))
              Expect.isTrue world.Peers[2].Client.IsSome "joined"
              world.Pass(seconds 301)
              world.Accept(relay, { peer with Port = 5001us }, 3)
              Expect.isFalse (world.Peers.ContainsKey 3) "a permission that is over"
              Expect.isTrue (world.Peers.ContainsKey 2) "what is joined goes on")

          testCase "one that is not bound is closed in 30 s; more than there is room for are at once" (fun () ->
              let world = world ()
              let struct (client, relay) = holder world
              succeeds (client.Permit [ peer ])

              for n in 1..10 do
                  world.Accept(relay, { peer with Port = uint16 (6000 + n) }, n)

              Expect.equal world.Peers.Count 3 "three"
              Expect.equal (world.Take client.Path).Length 3 "indications"
              Expect.equal (Seq.last world.Ignored) Drop.TooMany "the others are counted"
              world.Pass(seconds 31)
              Expect.equal world.Peers.Count 0 "over")

          testCase "a peer that connects anew from the same port has lost its last connection" (fun () ->
              let world = world ()
              let struct (client, relay) = holder world
              succeeds (client.Permit [ peer ])
              world.Accept(relay, peer, 1)
              world.Accept(relay, peer, 2)
              Expect.equal [ for pair in world.Peers -> pair.Key ] [ 2 ] "the newer"

              Expect.equal (world.Take client.Path).Length 2 "the client is told of both"
              Expect.equal (code (client.Ask Method.Connect [ XorPeerAddress peer ])) 446 "it is there already")

          testCase "a peer that connects where we connect to it has refused us" (fun () ->
              let world = world ()
              let struct (client, relay) = holder world
              succeeds (client.Permit [ peer ])
              begins client peer
              world.Accept(relay, peer, 1)
              Expect.equal [ for pair in world.Peers -> pair.Key ] [ 1 ] "its own stays"

              match world.Take client.Path |> List.map parse with
              | [ answer; told ] ->
                  Expect.equal (code { Message = answer; Bytes = [||] }) 447 "ours has failed"
                  Expect.equal told.Method Method.ConnectionAttempt "and its is told of"
              | several -> failtest $"two messages, not {several.Length}")

          testCase "on no relay, or one of UDP, it is closed" (fun () ->
              let world = world ()
              let struct (_, relay) = allocated world
              world.Accept(relay, peer, 1)
              world.Accept(77, peer, 2)
              Expect.equal world.Peers.Count 0 "closed") ]

let private ending =
    testList
        "ending"
        [ testCase "either end of a joined connection ends both, and only them" (fun () ->
              let world = world ()
              let struct (client, _) = holder world

              for endIt in
                  [ (fun number _ -> world.Feed(PeerLost number))
                    (fun _ (data: Client) -> world.Feed(TurnServerInput.Disconnected data.Path)) ] do
                  let struct (number, id) = connects world client peer
                  let struct (other, _) = connects world client { peer with Port = 5001us }
                  let data = overTcp world (4100 + number) "alice"
                  succeeds (binds data id)
                  endIt number data
                  Expect.equal [ for pair in world.Peers -> pair.Key ] [ other ] "the other stays"
                  world.Feed(TurnServerInput.Disconnected data.Path)
                  world.Feed(PeerLost other)
                  Expect.equal world.Peers.Count 0 "gone"

              Expect.equal (TurnServer.allocations world.State) 1 "the allocation lives")

          testCase "all end with their allocation, however it ends" (fun () ->
              for endIt in
                  [ (fun (_: World) (client: Client) _ -> client.Refresh [ Lifetime 0u ] |> succeeds)
                    (fun world client _ -> world.Feed(TurnServerInput.Disconnected client.Path))
                    (fun world _ relay -> world.Feed(RelayLost relay))
                    (fun world _ _ -> world.Pass(seconds 601)) ] do
                  let world = world ()
                  let struct (client, relay) = holder world
                  let struct (_, id) = connects world client peer
                  succeeds (binds (overTcp world 4001 "alice") id)
                  connects world client { peer with Port = 5001us } |> ignore
                  begins client { peer with Port = 5002us }
                  Expect.equal world.Peers.Count 3 "in each stage"
                  endIt world client relay
                  Expect.equal world.Peers.Count 0 "closed"
                  let held = world.State.Held

                  Expect.equal
                      (held.Connections.Count, held.Pending.Count, held.Joined.Count, held.Timers.Count)
                      (0, 0, 0, 0)
                      "nothing is kept"

                  Expect.equal world.Opened.Count 0 "no port is open")

          testCase "one family's connections end with it, and the other's do not" (fun () ->
              let world = world ()
              let client = overTcp world 4000 "alice"
              succeeds (allocateTcp client [ AdditionalAddressFamily 2uy ])
              let struct (v4, _) = connects world client peer
              let struct (v6, _) = connects world client (endpoint "2001:db8::7" 5)
              succeeds (client.Refresh [ Lifetime 0u; RequestedAddressFamily 1uy ])
              Expect.equal [ for pair in world.Peers -> pair.Key ] [ v6 ] "IPv6's"
              Expect.isFalse (world.Peers.ContainsKey v4) "IPv4's is closed"
              Expect.equal (code (client.Ask Method.Connect [ XorPeerAddress peer ])) 443 "no more of these") ]

/// What may happen, in any order, to two users with two relays.
type private Act =
    | Begin of User: int * Port: int
    | Established of Which: int
    | Fails of Which: int
    | Arrives of User: int * Port: int
    | Binds of User: int * Which: int * Port: int
    | Parts of Port: int
    | Ends of User: int
    | Waits of Seconds: int

let private act =
    Gen.oneof
        [ Gen.map2 (fun u p -> Begin(u, p)) (Gen.choose (0, 1)) (Gen.choose (1, 6))
          Gen.map Established (Gen.choose (0, 9))
          Gen.map Fails (Gen.choose (0, 9))
          Gen.map2 (fun u p -> Arrives(u, p)) (Gen.choose (0, 1)) (Gen.choose (1, 6))
          Gen.map3 (fun u w p -> Binds(u, w, p)) (Gen.choose (0, 1)) (Gen.choose (0, 9)) (Gen.choose (1, 6))
          Gen.map Parts (Gen.choose (1, 6))
          Gen.map Ends (Gen.choose (0, 1))
          Gen.map Waits (Gen.choose (0, 40)) ]

let private anyOrder (acts: Act list) =
    let world = world ()
    let users = [| overTcp world 4000 "alice"; overTcp world 4100 "bob" |]
    let names = [| "alice"; "bob" |]
    let ids = ResizeArray<uint32>()
    let mutable accepted = 0
    let nth (n: int) (all: 'a seq) = all |> Seq.tryItem n

    let allocateAll () =
        for user in users do
            if world.State.Held.Flows |> Trie.containsKey user.Path |> not then
                succeeds (allocateTcp user [])
                succeeds (user.Permit [ peer ])

    let gather () =
        for user in users do
            for bytes in world.Take user.Path do
                for attribute in (parse bytes).Attributes do
                    match attribute with
                    | ConnectionId id -> ids.Add id
                    | _ -> ()

    for act in acts do
        allocateAll ()

        match act with
        | Begin(user, port) -> begins users[user] { peer with Port = uint16 port }
        | Established n ->
            nth n [ for p in world.Peers -> p.Key ]
            |> Option.iter (PeerConnected >> world.Feed)
        | Fails n -> nth n [ for p in world.Peers -> p.Key ] |> Option.iter (PeerLost >> world.Feed)
        | Arrives(user, port) ->
            let relays = [ for pair in world.Opened -> pair.Key ]
            accepted <- accepted + 1

            match nth user relays with
            | Some relay -> world.Accept(relay, { peer with Port = uint16 port }, accepted)
            | None -> ()
        | Binds(user, n, port) ->
            match nth n (Seq.rev ids) with
            | Some id -> binds (overTcp world (4200 + port) names[user]) id |> ignore
            | None -> ()
        | Parts port ->
            world.Feed(
                TurnServerInput.Disconnected
                    { Local = tcp
                      Remote = endpoint "203.0.113.7" (4200 + port) }
            )
        | Ends user -> world.Feed(TurnServerInput.Disconnected users[user].Path)
        | Waits n -> world.Pass(seconds n)

        gather ()
        let held = world.State.Held

        Expect.equal
            (set [ for p in world.Peers -> p.Key ])
            (([], held.Connections) ||> Trie.fold (fun all n _ -> n :: all) |> set)
            "the shell has what the core has"

        Expect.isLessThanOrEqual held.Connections.Count 5 "bounded"

        let joined =
            world.Peers |> Seq.filter (fun p -> p.Value.Client.IsSome) |> Seq.length

        Expect.equal held.Joined.Count joined "joined, at both"
        Expect.isLessThanOrEqual (held.Pending.Count + joined) held.Connections.Count "each in one stage"

        let listed =
            (0, held.Flows)
            ||> Trie.fold (fun n _ flow ->
                match flow with
                | Flow.Open allocation -> n + allocation.Connections.Count
                | Flow.Opening _ -> n)

        Expect.equal listed held.Connections.Count "every connection is an allocation's"

    world.Pass(seconds 31)

    Expect.isTrue (world.Peers |> Seq.forall (fun p -> p.Value.Client.IsSome)) "what is not joined in 30 s is over"

    for user in users do
        world.Feed(TurnServerInput.Disconnected user.Path)

    Expect.equal world.Peers.Count 0 "and all with the allocations"
    Expect.isTrue world.State.Held.Timers.IsEmpty "no timer is left"

let tests =
    testList
        "TURN server: TCP to peers (RFC 6062)"
        [ allocating
          connecting
          binding
          accepting
          ending
          testPropertyWithConfig
              { FsCheckConfig.defaultConfig with
                  maxTest = 300 }
              "whatever happens in whatever order, core and shell agree, and nothing is left behind"
              (Prop.forAll (Arb.fromGen (Gen.listOf act)) anyOrder) ]
