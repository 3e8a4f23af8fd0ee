module Hybrid.WebRtc.PropertyTests.Turn.TurnServerDataTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

let private peer = endpoint "192.0.2.99" 5000
let private hello = "hello"B

let private firstOctet (packets: byte[] list) : byte =
    match packets with
    | [ packet ] -> packet[0]
    | several -> failtest $"one packet, not {several.Length}"

let private forwarding =
    testList
        "data"
        [ testCase "permissions decide who is heard and who is reached, for 5 minutes" (fun () ->
              let world = world ()
              let struct (client, relay) = allocated world

              let fromPeer () =
                  world.Feed(RelayReceived(relay, peer, Memory(Array.copy hello)))
                  (world.Take client.Path).Length

              client.SendTo peer hello []
              Expect.equal (world.ToPeers.Count, fromPeer ()) (0, 0) "not yet"
              // Ports do not matter.
              succeeds (client.Permit [ { peer with Port = 1us } ])
              client.SendTo peer hello []
              Expect.equal (world.ToPeers.Count, fromPeer ()) (1, 1) "permitted"
              Expect.equal world.ToPeers[0].Data hello "the data"
              Expect.equal world.ToPeers[0].Peer peer "the peer"
              world.Pass(seconds 299)
              Expect.equal (fromPeer ()) 1 "still"
              world.Pass(seconds 2)
              client.SendTo peer hello []
              Expect.equal (world.ToPeers.Count, fromPeer ()) (1, 0) "no more")

          testCase "a datagram of a peer's comes as a Data indication, or on its channel" (fun () ->
              let world = world ()
              let struct (client, relay) = allocated world
              succeeds (client.Permit [ peer ])
              world.Feed(RelayReceived(relay, peer, Memory(Array.copy hello)))

              match world.Take client.Path with
              | [ bytes ] ->
                  match Message.read (ReadOnlySpan bytes) with
                  | ValueSome { Class = Class.Indication
                                Method = Method.Data
                                Attributes = [| XorPeerAddress from; Data data |] } ->
                      Expect.equal from peer "whose"
                      Expect.equal data hello "what"
                  | _ -> failtest "a Data indication"
              | _ -> failtest "one"

              succeeds (client.Bind 0x4001us peer)
              world.Feed(RelayReceived(relay, peer, Memory(Array.copy hello)))
              Expect.equal (world.Take client.Path) [ Array.append [| 0x40uy; 1uy; 0uy; 5uy |] hello ] "ChannelData"
              // Another port of the same address has the permission, and not the channel.
              world.Feed(RelayReceived(relay, { peer with Port = 7us }, Memory(Array.copy hello)))
              Expect.equal (firstOctet (world.Take client.Path)) 0uy "an indication")

          testCase "a channel carries data both ways for 10 minutes, as long as it is permitted" (fun () ->
              let world = world ()
              let struct (client, relay) = allocated world
              client.SendOn 0x4001us hello
              Expect.equal world.ToPeers.Count 0 "not bound"
              succeeds (client.Bind 0x4001us peer)
              client.SendOn 0x4001us hello
              Expect.equal world.ToPeers[0].Data hello "relayed"
              world.Pass(seconds 301)
              client.SendOn 0x4001us hello
              Expect.equal world.ToPeers.Count 1 "the permission is over"
              succeeds (client.Permit [ peer ])
              client.SendOn 0x4001us hello
              Expect.equal world.ToPeers.Count 2 "the channel is not"
              succeeds (client.Refresh [ Lifetime 3600u ])
              world.Pass(seconds 298)
              succeeds (client.Permit [ peer ])
              world.Pass(seconds 2)
              client.SendOn 0x4001us hello
              Expect.equal world.ToPeers.Count 2 "the channel is over"
              world.Feed(RelayReceived(relay, peer, Memory(Array.copy hello)))
              Expect.equal (firstOctet (world.Take client.Path)) 0uy "an indication again")

          testCase "a channel has one peer, a peer one channel, and numbers are within RFC 5766's range" (fun () ->
              let world = world ()
              let struct (client, _) = allocated world
              let other = endpoint "192.0.2.100" 5000
              succeeds (client.Bind 0x4000us peer)
              succeeds (client.Bind 0x4000us peer)
              succeeds (client.Bind 0x4fffus other)
              Expect.equal (code (client.Bind 0x4000us other)) 400 "another's number"
              Expect.equal (code (client.Bind 0x4002us peer)) 400 "a second number"
              Expect.equal (code (client.Bind 0x3fffus (endpoint "192.0.2.101" 1))) 400 "too low"
              Expect.equal (code (client.Bind 0x8000us (endpoint "192.0.2.101" 1))) 400 "too high"
              Expect.equal (code (client.Ask Method.ChannelBind [ ChannelNumber 0x4003us ])) 400 "no peer"
              Expect.equal (code (client.Ask Method.ChannelBind [ XorPeerAddress peer ])) 400 "no number"
              Expect.equal (code (client.Ask Method.CreatePermission [])) 400 "no peer"
              succeeds (client.Refresh [ Lifetime 3600u ])
              world.Pass(seconds 601)
              succeeds (client.Bind 0x4000us other)
              succeeds (client.Bind 0x4fffus peer)
              client.SendOn 0x4000us hello
              client.SendOn 0x4fffus hello

              Expect.equal
                  [ for sent in world.ToPeers -> sent.Peer ]
                  [ other; peer ]
                  "numbers change hands once they are over")

          testCase "peers of the other family are a mismatch" (fun () ->
              let world = world ()
              let struct (client, _) = allocated world
              let v6Peer = endpoint "2001:db8:1::1" 5000
              Expect.equal (code (client.Permit [ peer; v6Peer ])) 443 "CreatePermission"
              Expect.equal (code (client.Bind 0x4000us v6Peer)) 443 "ChannelBind"
              client.SendTo peer hello []
              Expect.equal world.ToPeers.Count 0 "all or none")

          testCase "addresses of the operator's own network are forbidden, unless allowed" (fun () ->
              let forbidden =
                  [ "127.0.0.1"
                    "10.1.2.3"
                    "172.16.0.1"
                    "172.31.255.255"
                    "192.168.1.1"
                    "100.64.0.1"
                    "169.254.1.1"
                    "224.0.0.251"
                    "239.1.1.1"
                    "255.255.255.255"
                    "0.0.0.0"
                    "0.1.2.3"
                    "::1"
                    "::"
                    "fe80::1"
                    "fc00::1"
                    "fd12::1"
                    "ff02::fb"
                    "64:ff9b::7f00:1"
                    "64:ff9b::a00:1"
                    "2002:a00:1::1"
                    "::10.0.0.1" ]

              let reachable =
                  [ "8.8.8.8"
                    "172.32.0.1"
                    "172.15.0.1"
                    "192.0.2.1"
                    "100.128.0.1"
                    "2001:db8::1"
                    "64:ff9b::808:808" ]

              let world = world ()
              let client = alice world
              succeeds (client.Allocate [ AdditionalAddressFamily 2uy ])

              for text in forbidden do
                  Expect.equal (code (client.Permit [ peer; endpoint text 80 ])) 403 text
                  Expect.equal (code (client.Bind 0x4000us (endpoint text 80))) 403 text

              for text in reachable do
                  Expect.equal (code (client.Permit [ endpoint text 80 ])) 0 text

              let peers =
                  { PeerFilter.standard with
                      Allowed = PeerFilter.loopback }

              let world = World({ config with Peers = peers }, credentials)
              let client = alice world
              succeeds (client.Allocate [])
              succeeds (client.Permit [ endpoint "127.0.0.1" 80 ])
              Expect.equal (code (client.Permit [ endpoint "10.0.0.1" 80 ])) 403 "the rest stays")

          testCase "permissions and channels of one allocation are bounded; what is over makes room" (fun () ->
              let config =
                  { config with
                      Limits =
                          { TurnServer.limits with
                              Permissions = 3
                              Channels = 2 } }

              let world = World(config, credentials)
              let client = alice world
              succeeds (client.Allocate [ Lifetime 3600u ])
              let at i = endpoint $"192.0.2.{i}" 5000
              succeeds (client.Permit [ at 1; at 2; at 3 ])
              Expect.equal (code (client.Permit [ at 4 ])) 508 "no more"
              succeeds (client.Permit [ at 1 ])
              succeeds (client.Bind 0x4000us (at 1))
              succeeds (client.Bind 0x4001us (at 2))
              Expect.equal (code (client.Bind 0x4002us (at 3))) 508 "no third channel"
              world.Pass(seconds 301)
              succeeds (client.Permit [ at 4; at 5; at 6 ])
              world.Pass(seconds 301)
              succeeds (client.Bind 0x4002us (at 3)))

          testCase "DONT-FRAGMENT goes with the datagram" (fun () ->
              let world = world ()
              let struct (client, _) = allocated world
              succeeds (client.Permit [ peer ])
              client.SendTo peer hello []
              client.SendTo peer hello [ DontFragment ]
              Expect.equal [ for sent in world.ToPeers -> sent.MayFragment ] [ true; false ] "as asked")

          testCase "an empty datagram is relayed like any other" (fun () ->
              let world = world ()
              let struct (client, relay) = allocated world
              succeeds (client.Bind 0x4000us peer)
              client.SendTo peer [||] []
              client.SendOn 0x4000us [||]
              Expect.equal world.ToPeers.Count 2 "to the peer"
              world.Feed(RelayReceived(relay, peer, Memory [||]))
              Expect.equal (world.Take client.Path) [ [| 0x40uy; 0uy; 0uy; 0uy |] ] "and back")

          testCase "a Send indication with something unknown that must be understood is ignored" (fun () ->
              let world = world ()
              let struct (client, _) = allocated world
              succeeds (client.Permit [ peer ])
              client.SendTo peer hello [ Unknown(0x7fffus, [||]) ]
              Expect.equal world.ToPeers.Count 0 "ignored"
              client.SendTo peer hello [ Unknown(0xffffus, [||]) ]
              Expect.equal world.ToPeers.Count 1 "what need not be, is passed over")

          testCase "bandwidth: a second's worth may pass at once, then as much as the rate allows" (fun () ->
              let config =
                  { config with
                      Limits =
                          { TurnServer.limits with
                              OctetsPerSecond = 10_000L } }

              let world = World(config, credentials)
              let client = alice world
              succeeds (client.Allocate [])
              succeeds (client.Bind 0x4000us peer)
              let packet: byte[] = Array.zeroCreate 1000

              for _ in 1..20 do
                  client.SendOn 0x4000us packet

              Expect.equal world.ToPeers.Count 10 "the burst"

              for _ in 1..100 do
                  world.Pass(Duration.milliseconds 50L)
                  client.SendOn 0x4000us packet

              Expect.isGreaterThanOrEqual world.ToPeers.Count 58 "the rate"
              Expect.isLessThanOrEqual world.ToPeers.Count 61 "and no more")

          testCase "a datagram too large for an indication is not sent" (fun () ->
              let world = world ()
              let struct (client, relay) = allocated world
              succeeds (client.Permit [ peer ])
              world.Feed(RelayReceived(relay, peer, Memory(Array.zeroCreate<byte> 65_500)))
              Expect.isEmpty (world.Take client.Path) "it would not fit") ]

let private stun =
    testList
        "STUN"
        [ testCase "a Binding request is answered without credentials, with a FINGERPRINT where it had one" (fun () ->
              let world = world ()
              let client = alice world
              let answer = client.Exchange(client.Plain Method.Binding [])
              Expect.equal (Message.mappedAddress answer.Message) (ValueSome client.Path.Remote) "mapped"
              Expect.isFalse (Message.hasFingerprint (ReadOnlySpan answer.Bytes)) "none"

              let answer =
                  client.Exchange
                      { client.Plain Method.Binding [] with
                          Fingerprint = true }

              Expect.isTrue (Message.hasFingerprint (ReadOnlySpan answer.Bytes)) "one")

          testCase "unknown methods and attributes are refused, indications not answered" (fun () ->
              let world = world ()
              let client = alice world
              Expect.equal (code (client.Exchange(client.Plain Method.Binding [ Unknown(0x7fffus, [||]) ]))) 420 "420"

              Expect.equal
                  (code (client.Exchange(client.Plain Method.Binding [ ChangeRequest(true, true) ])))
                  420
                  "no other address"

              Expect.equal
                  (code (client.Exchange(client.Plain (LanguagePrimitives.EnumOfValue 0x0dus) [])))
                  400
                  "no such method"

              client.Send(asIndication (client.Plain Method.Binding []))

              Expect.isEmpty (world.Take client.Path) "an indication")

          testCase "behaviour discovery: answers come from the address and port that are asked for" (fun () ->
              let ports: PortId[] = Array.map LanguagePrimitives.Int32WithMeasure [| 1; 2; 3; 4 |]

              let endpoints =
                  [| endpoint "198.51.100.1" 3478
                     endpoint "198.51.100.1" 3479
                     endpoint "198.51.100.2" 3478
                     endpoint "198.51.100.2" 3479 |]

              let config =
                  { config with
                      Discovery = ValueSome { Ports = ports; Endpoints = endpoints } }

              for here in 0..3 do
                  for address in [ false; true ] do
                      for port in [ false; true ] do
                          let world = World(config, credentials)

                          let path: Path =
                              { Local = ports[here]
                                Remote = endpoint "203.0.113.7" 4000 }

                          let client = clientOn world path "" ""
                          client.Send(client.Plain Method.Binding [ ChangeRequest(address, port) ])
                          let from = here ^^^ (if address then 2 else 0) ^^^ (if port then 1 else 0)

                          match world.Take { path with Local = ports[from] } with
                          | [ bytes ] ->
                              match Message.read (ReadOnlySpan bytes) with
                              | ValueSome message ->
                                  let has attribute = Array.contains attribute

                                  let found =
                                      message.Attributes
                                      |> Array.choose (function
                                          | ResponseOrigin e -> Some("from", e)
                                          | OtherAddress e -> Some("other", e)
                                          | _ -> None)

                                  Expect.isTrue (has ("from", endpoints[from]) found) "RESPONSE-ORIGIN"
                                  Expect.isTrue (has ("other", endpoints[3 - here]) found) "OTHER-ADDRESS"
                              | ValueNone -> failtest "an answer that reads"
                          | _ -> failtest "one answer, from there") ]

/// A script of things that may happen, by number.
let private act (world: World) (clients: Client[]) (n: int) : unit =
    let client = clients[n % clients.Length]
    let peer = endpoint $"192.0.2.{1 + n / 7 % 5}" (1000 + n / 11 % 3)

    let ask method attributes =
        client.Send(client.Protected method attributes)

    match n / 5 % 11 with
    | 0 -> client.Meet() |> ignore
    | 1 -> ask Method.Allocate [ RequestedTransport 17uy; EvenPort(n % 2 = 0) ]
    | 2 -> ask Method.Allocate [ RequestedTransport 17uy; AdditionalAddressFamily 2uy ]
    | 3 -> ask Method.Refresh [ Lifetime(uint32 (n % 3 * 700)) ]
    | 4 -> ask Method.CreatePermission [ XorPeerAddress peer ]
    | 5 -> ask Method.ChannelBind [ ChannelNumber(uint16 (0x4000 + n / 13 % 4)); XorPeerAddress peer ]
    | 6 -> client.SendTo peer hello []
    | 7 -> client.SendOn (uint16 (0x4000 + n / 13 % 4)) hello
    | 8 -> world.Pass(seconds (n / 17 % 200))
    | 9 -> world.Feed(RelayReceived(1 + n % 9, peer, Memory(Array.copy hello)))
    | _ ->
        match n / 55 % 3 with
        | 0 -> world.Feed(TurnServerInput.Disconnected client.Path)
        | 1 ->
            let id = 1 + n % 9

            if world.Opened.Remove id then
                // A broken socket is closed already; the machine says so once more.
                world.Opened[id] <- endpoint "198.51.100.5" 1
                world.Feed(RelayLost id)
        | _ -> ask Method.Allocate [ RequestedTransport 17uy; ReservationToken(uint64 n) ]

    world.ToClients.Clear()

let private laws =
    testList
        "laws"
        [ testPropertyWithConfig
              Laws.config
              "whatever clients do: early ticks do nothing, ticks move on, and every socket is an allocation's"
              (fun (script: NonNegativeInt list) ->
                  let world = world ()

                  let clients =
                      [| for i in 1..3 -> clientAt world "203.0.113.7" i "alice" "wonderland"
                         for i in 1..2 -> clientAt world "203.0.113.8" i "bob" "builder" |]

                  for client in clients do
                      client.Meet() |> ignore

                  let machine: Laws.Machine<TurnServerState, TurnServerInput, TurnServerOutput> =
                      { Step = TurnServer.step
                        Deadline = TurnServer.deadline
                        Tick = Tick }

                  // Many steps in few cases: numbers up to 2³¹ choose everything.
                  for i, NonNegativeInt n in List.indexed script do
                      act world clients ((n * 7919 + i * 104_729) &&& 0xfffff)
                      Laws.earlyTick machine world.Now world.State
                      Laws.tickMovesOn machine world.State
                      Expect.equal world.State.Held.Relays.Count world.Opened.Count "relays that are known are open"

                      let users =
                          (0, world.State.Held.Users) ||> Trie.fold (fun sum _ count -> sum + count)

                      Expect.equal users (Tables.total world.State) "every allocation is somebody's"

                  world.Pass(seconds 4000)
                  Expect.equal world.Opened.Count 0 "in the end all are closed"
                  Expect.equal world.State.Held.Users.Count 0 "and nobody is counted")

          Laws.anyBytes "any bytes end without throwing, and change nothing" (fun bytes ->
              let world = world ()
              let struct (client, relay) = allocated world
              world.Receive(client.Path, bytes)

              for first in [| 0uy; 1uy; 0x40uy |] do
                  let changed = Array.copy bytes

                  if changed.Length > 0 then
                      changed[0] <- first

                  world.Receive(client.Path, changed)

              world.Feed(RelayReceived(relay, peer, Memory(Array.copy bytes)))
              world.Opened.Count = 1 && world.ToPeers.Count = 0)

          Laws.mutated
              "well-formed messages with changes end without throwing"
              (let world = world ()
               let client = alice world
               succeeds (client.Allocate [])

               let bytes (outgoing: Outgoing) =
                   let bytes = Array.zeroCreate (Outgoing.size outgoing)
                   Outgoing.write ciphers (Span bytes) outgoing |> ignore
                   bytes

               [ bytes (client.Protected Method.Allocate [ RequestedTransport 17uy; EvenPort true ])
                 bytes (client.Protected Method.CreatePermission [ XorPeerAddress peer ])
                 bytes (client.Protected Method.ChannelBind [ ChannelNumber 0x4000us; XorPeerAddress peer ])
                 bytes (asIndication (client.Plain Method.Send [ XorPeerAddress peer; Data hello; DontFragment ]))
                 [| 0x40uy; 0uy; 0uy; 5uy; 1uy; 2uy; 3uy; 4uy; 5uy |] ])
              (fun bytes ->
                  let world = world ()
                  let struct (client, _) = allocated world
                  world.Receive(client.Path, bytes))

          testCase "a flood without credentials leaves nothing in memory" (fun () ->
              let world = world ()
              let before = world.State.Held

              for i in 1..20_000 do
                  let client =
                      clientAt world $"203.0.{i % 200}.{i / 200 % 200}" (1 + i % 60_000) "mallory" "guess"

                  client.Meet() |> ignore

                  if i % 10 = 0 then
                      Expect.equal (code (client.Allocate [])) 401 "not let in"

              Expect.isTrue (obj.ReferenceEquals(before, world.State.Held)) "the very same tables"
              Expect.equal (TurnServer.deadline world.State) Instant.never "and no timer") ]

let tests = testList "TURN server: data, STUN, laws" [ forwarding; stun; laws ]
