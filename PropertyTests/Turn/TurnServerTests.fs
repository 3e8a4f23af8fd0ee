module Hybrid.WebRtc.PropertyTests.Turn.TurnServerTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

let private peer = endpoint "192.0.2.99" 5000
let private hello = "hello"B


let private authentication =
    testList
        "authentication"
        [ testCase
              "a request without credentials is challenged, with a nonce whose cookie tells of the features"
              (fun () ->
                  let world = world ()
                  let answer = (alice world).Meet()
                  Expect.equal (code answer) 401 "challenged"

                  let features =
                      answer.Message
                      |> picked (function
                          | Nonce nonce -> ValueSome(NonceFeatures.ofNonce nonce)
                          | _ -> ValueNone)

                  Expect.equal
                      features
                      (ValueSome
                          { PasswordAlgorithms = true
                            UsernameAnonymity = true })
                      "RFC 8489 §9.2"

                  Expect.isTrue
                      (answer.Message.Attributes
                       |> Array.exists (function
                           | PasswordAlgorithms all -> all.Length = 2
                           | _ -> false))
                      "PASSWORD-ALGORITHMS")

          testCase "MD5, SHA-256 and a hashed name are each let in, and answered in kind" (fun () ->
              for style in [ Md5; Sha256; HashedName ] do
                  let world = world ()
                  let client = alice world
                  client.Style <- style
                  let answer = client.Allocate []
                  succeeds answer
                  Expect.isTrue (Message.hasIntegrity (ReadOnlySpan answer.Bytes)) "protected"
                  Expect.equal (Message.hasSha256 (ReadOnlySpan answer.Bytes)) (style <> Md5) "in kind")

          testCase "a wrong password and an unknown name are challenged again" (fun () ->
              let world = world ()
              Expect.equal (code ((clientAt world "203.0.113.7" 1 "alice" "x").Allocate [])) 401 "password"
              Expect.equal (code ((clientAt world "203.0.113.7" 2 "carol" "x").Allocate [])) 401 "name"
              let hashed = clientAt world "203.0.113.7" 3 "carol" "x"
              hashed.Style <- HashedName
              Expect.equal (code (hashed.Allocate [])) 401 "hashed name"
              Expect.equal (TurnServer.allocations world.State) 0 "nothing is kept")

          testCase
              "integrity without a name, or a list of algorithms that is not the server's, is a bad request"
              (fun () ->
                  let world = world ()
                  let client = alice world
                  client.Meet() |> ignore
                  let request = client.Protected Method.Allocate [ RequestedTransport 17uy ]

                  let without choose =
                      { request with
                          Message =
                              { request.Message with
                                  Attributes = request.Message.Attributes |> Array.filter (choose >> not) } }

                  for choose in
                      [ (function
                        | Username _ -> true
                        | _ -> false)
                        (function
                        | Realm _ -> true
                        | _ -> false)
                        (function
                        | Nonce _ -> true
                        | _ -> false) ] do
                      Expect.equal (code (client.Exchange(without choose))) 400 "incomplete"

                  let oneOf attribute =
                      { request with
                          Message =
                              { request.Message with
                                  Attributes = Array.append request.Message.Attributes [| attribute |] } }

                  Expect.equal
                      (code (client.Exchange(oneOf (Attribute.PasswordAlgorithm(2us, [||])))))
                      400
                      "an algorithm without the list"

                  Expect.equal
                      (code (client.Exchange(oneOf (PasswordAlgorithms [| struct (1us, [||]) |]))))
                      400
                      "bid down")

          testCase
              "a nonce is good for its own 5-tuple and its time; then it is stale, and the new one is good"
              (fun () ->
                  let world = world ()
                  let client = alice world
                  let other = clientAt world "203.0.113.7" 4001 "alice" "wonderland"
                  client.Meet() |> ignore
                  other.Meet() |> ignore
                  other.Nonce <- client.Nonce
                  Expect.equal (code (other.Allocate [])) 438 "another's"
                  world.Pass(seconds 3601)
                  Expect.equal (code (client.Allocate [])) 438 "old"
                  client.Meet() |> ignore
                  succeeds (client.Allocate [])
                  client.Nonce <- client.Nonce[..20] + "AAAA" + client.Nonce[25..]
                  Expect.equal (code (client.Refresh [])) 438 "altered")

          testCase "a wrong password with an old nonce is a wrong password" (fun () ->
              let world = world ()
              let client = clientAt world "203.0.113.7" 1 "alice" "x"
              client.Meet() |> ignore
              world.Pass(seconds 3601)
              Expect.equal (code (client.Allocate [])) 401 "RFC 8489 §9.2.4 checks in this order")

          testCase "REST credentials are good until they expire, and what they allocated stays" (fun () ->
              let world =
                  World(
                      config,
                      { Users = [||]
                        Secrets = [| "old"; "secret" |] }
                  )

              let rest expiry name secret port =
                  let username = RestCredentials.username expiry name

                  clientAt world "203.0.113.7" port username (RestCredentials.password ciphers secret username)

              // The world begins at 1,000 s.
              let good = rest (Epoch + 1300L) "carol" "secret" 1
              succeeds (good.Allocate [])
              succeeds ((rest (Epoch + 1300L) "carol" "old" 2).Allocate [])
              Expect.equal (code ((rest (Epoch + 999L) "carol" "secret" 3).Allocate [])) 401 "expired"
              Expect.equal (code ((rest (Epoch + 1300L) "carol" "guess" 4).Allocate [])) 401 "another secret"
              world.Pass(seconds 500)
              succeeds (good.Refresh [])
              Expect.equal (code ((rest (Epoch + 1300L) "carol" "secret" 5).Allocate [])) 401 "expired by now"

              Expect.isFalse
                  (NonceFeatures.ofNonce good.Nonce).UsernameAnonymity
                  "no hashes where names are made elsewhere")

          testCase "REST credentials as the draft gives them" (fun () ->
              // draft-uberti-behave-turn-rest-00 §2.2: base64(hmac(secret key, username)); computed with OpenSSL.
              Expect.equal
                  (RestCredentials.password ciphers "north" "1433895918:ninefingers")
                  (Convert.ToBase64String(Security.Cryptography.HMACSHA1.HashData("north"B, "1433895918:ninefingers"B)))
                  "HMAC-SHA1"

              Expect.equal (RestCredentials.username 5L "") "5" "no name"
              Expect.equal (RestCredentials.read "5:a:b") (ValueSome(struct (5L, "a:b"))) "name with a colon"
              Expect.equal (RestCredentials.read "x5:a") ValueNone "no number")

          testCase "a user's change takes effect for who comes new" (fun () ->
              let world = world ()
              let struct (client, _) = allocated world

              world.Feed(
                  SetCredentials
                      { Users = [| struct ("alice", "new") |]
                        Secrets = [||] }
              )

              succeeds (client.Refresh [])
              Expect.equal (code ((bob world).Allocate [])) 401 "gone"
              succeeds ((clientAt world "203.0.113.9" 1 "alice" "new").Allocate [])) ]

let private allocating =
    testList
        "Allocate"
        [ testCase "an allocation tells its relayed and mapped addresses, and its lifetime" (fun () ->
              let world = world ()
              let client = alice world
              let answer = client.Allocate []
              Expect.equal (relayed answer) [ endpoint "198.51.100.5" 49152 ] "relayed"
              Expect.equal (Message.mappedAddress answer.Message) (ValueSome client.Path.Remote) "mapped"
              Expect.equal (lifetime answer) 600u "the default"

              Expect.exists
                  world.Events
                  (function
                  | Allocated(path, "alice", [| _ |]) -> path.Equals client.Path
                  | _ -> false)
                  "it is told of")

          testCase "a repeated request gets the same answer, another one is refused" (fun () ->
              let world = world ()
              let client = alice world
              client.Meet() |> ignore
              let request = client.Protected Method.Allocate [ RequestedTransport 17uy ]
              let first = client.Exchange request
              world.Pass(seconds 2)
              let second = client.Exchange request
              Expect.equal (relayed second) (relayed first) "one allocation"
              Expect.equal (lifetime second) 598u "what is left"
              Expect.equal world.Opened.Count 1 "one socket"
              Expect.equal (code (client.Allocate [])) 437 "Allocation Mismatch")

          testCase "a request repeated while the socket is being opened opens no second one" (fun () ->
              let world = world ()
              world.Opens <- false
              let client = alice world
              client.Meet() |> ignore
              let request = client.Protected Method.Allocate [ RequestedTransport 17uy ]
              client.Send request
              client.Send request
              Expect.equal world.Asked.Count 1 "one"
              world.Answer world.Asked[0]
              Expect.equal (world.Take client.Path).Length 1 "one answer")

          testCase "lifetimes are kept within bounds" (fun () ->
              for asked, granted in [ 1u, 600u; 600u, 600u; 1000u, 1000u; 3600u, 3600u; 100_000u, 3600u; 0u, 600u ] do
                  let world = world ()
                  Expect.equal (lifetime ((alice world).Allocate [ Lifetime asked ])) granted $"{asked} s")

          testCase "transports other than UDP are refused, and none at all" (fun () ->
              let world = world ()
              let client = alice world
              Expect.equal (code (client.Ask Method.Allocate [ RequestedTransport 6uy ])) 442 "TCP"
              Expect.equal (code (client.Ask Method.Allocate [])) 400 "none")

          testCase "families: what is asked for, both, or what there is" (fun () ->
              let families config has attributes =
                  let world = World(config, credentials)
                  world.Has <- has
                  let answer = (alice world).Allocate attributes

                  let failed =
                      answer.Message
                      |> picked (function
                          | AddressErrorCode(family, code, _) -> ValueSome(struct (family, code))
                          | _ -> ValueNone)

                  code answer, relayed answer |> List.map _.Address.IsV4, failed

              let all _ = true
              let v4Only = { config with V6 = false }
              let v6Only = { config with V4 = false }
              Expect.equal (families config all []) (0, [ true ], ValueNone) "IPv4 by default"
              Expect.equal (families config all [ RequestedAddressFamily 2uy ]) (0, [ false ], ValueNone) "IPv6"
              Expect.equal (families config all [ RequestedAddressFamily 1uy ]) (0, [ true ], ValueNone) "IPv4"
              Expect.equal (families config all [ RequestedAddressFamily 3uy ]) (440, [], ValueNone) "none such"
              Expect.equal (families v4Only all [ RequestedAddressFamily 2uy ]) (440, [], ValueNone) "no IPv6"
              Expect.equal (families v6Only all []) (440, [], ValueNone) "no IPv4"

              Expect.equal (families config all [ AdditionalAddressFamily 2uy ]) (0, [ true; false ], ValueNone) "both"

              Expect.equal
                  (families v4Only all [ AdditionalAddressFamily 2uy ])
                  (0, [ true ], ValueSome(struct (2uy, 440)))
                  "one of two"

              Expect.equal
                  (families config id [ AdditionalAddressFamily 2uy ])
                  (0, [ false ], ValueSome(struct (1uy, 508)))
                  "the other of two"

              Expect.equal
                  (families config (fun _ -> false) [ AdditionalAddressFamily 2uy ])
                  (508, [], ValueNone)
                  "neither"

              Expect.equal (families config all [ AdditionalAddressFamily 1uy ]) (400, [], ValueNone) "IPv4 added"

              Expect.equal
                  (families config all [ RequestedAddressFamily 1uy; AdditionalAddressFamily 2uy ])
                  (400, [], ValueNone)
                  "both attributes")

          testCase "an even port, and the next one reserved for who brings the token" (fun () ->
              let world = world ()
              let first = alice world
              let odd = bob world
              succeeds (odd.Allocate [])
              let answer = first.Allocate [ EvenPort true ]
              let even = List.exactlyOne (relayed answer)
              Expect.equal (int even.Port % 2) 0 "even"

              let token =
                  match
                      answer.Message
                      |> picked (function
                          | ReservationToken token -> ValueSome token
                          | _ -> ValueNone)
                  with
                  | ValueSome token -> token
                  | ValueNone -> failtest "a token"

              let second = clientAt world "203.0.113.7" 4001 "alice" "wonderland"

              for attribute in [ EvenPort false; RequestedAddressFamily 1uy; AdditionalAddressFamily 2uy ] do
                  Expect.equal (code (second.Allocate [ ReservationToken token; attribute ])) 400 "excluded"

              Expect.equal (code (second.Allocate [ ReservationToken(token + 1UL) ])) 508 "another token"
              let reserved = second.Allocate [ ReservationToken token ]
              Expect.equal (List.exactlyOne (relayed reserved)).Port (even.Port + 1us) "the next port"
              let third = clientAt world "203.0.113.7" 4002 "alice" "wonderland"
              Expect.equal (code (third.Allocate [ ReservationToken token ])) 508 "spent"

              let plain = clientAt world "203.0.113.7" 4003 "alice" "wonderland"
              Expect.equal (int (List.exactlyOne (relayed (plain.Allocate [ EvenPort false ]))).Port % 2) 0 "even"

              Expect.equal
                  (code (
                      (clientAt world "203.0.113.7" 4004 "alice" "wonderland").Allocate
                          [ EvenPort true; AdditionalAddressFamily 2uy ]
                  ))
                  400
                  "no reservation of two families")

          testCase "a reserved port is given up after 30 s" (fun () ->
              let world = world ()
              succeeds ((alice world).Allocate [ EvenPort true ])
              Expect.equal world.Opened.Count 2 "two"
              world.Pass(seconds 29)
              Expect.equal world.Opened.Count 2 "held"
              world.Pass(seconds 2)
              Expect.equal world.Opened.Count 1 "given up")

          testCase "no port to be had is 508, and counts for nobody" (fun () ->
              let world = world ()
              world.Has <- fun _ -> false
              let client = alice world
              Expect.equal (code (client.Allocate [])) 508 "Insufficient Capacity"
              Expect.equal (code (client.Allocate [ EvenPort true ])) 508 "nor two"
              Expect.equal (TurnServer.allocations world.State) 0 "nothing is left"
              world.Has <- fun _ -> true
              succeeds (client.Allocate []))

          testCase "quotas: of a user, of the server, with an alternate, and while it drains" (fun () ->
              let limits =
                  { TurnServer.limits with
                      AllocationsPerUser = 2
                      Allocations = 3 }

              let config = { config with Limits = limits }
              let world = World(config, credentials)

              let at port =
                  clientAt world "203.0.113.7" port "alice" "wonderland"

              let first = at 1
              succeeds (first.Allocate [])
              Expect.equal (code ((at 2).Allocate [ EvenPort true ])) 486 "two more are too many"
              succeeds ((at 2).Allocate [])
              Expect.equal (code ((at 3).Allocate [])) 486 "of a user"

              let bobs port =
                  clientAt world "203.0.113.8" port "bob" "builder"

              succeeds ((bobs 1).Allocate [])
              Expect.equal (code ((bobs 2).Allocate [])) 486 "of the server"
              succeeds (first.Refresh [ Lifetime 0u ])
              succeeds ((at 3).Allocate [])

              let alternates = [| endpoint "2001:db8::9" 3478; endpoint "198.51.100.9" 3478 |]
              let world = World({ config with Alternates = alternates }, credentials)
              world.Feed(Drain true)
              let answer = (alice world).Allocate []
              Expect.equal (code answer) 300 "Try Alternate"

              Expect.exists
                  answer.Message.Attributes
                  (function
                  | AlternateServer e -> e.Equals alternates[1]
                  | _ -> false)
                  "of the client's family"

              world.Feed(Drain false)
              succeeds ((alice world).Allocate []))

          testCase "what must be understood and is not is named in a 420, protected" (fun () ->
              let world = world ()

              let answer =
                  (alice world).Allocate [ Unknown(0x7fffus, [| 1uy |]); Unknown(0xff00us, [||]) ]

              Expect.equal (code answer) 420 "Unknown Attribute"
              Expect.isTrue (Message.hasIntegrity (ReadOnlySpan answer.Bytes)) "protected"

              Expect.exists
                  answer.Message.Attributes
                  (function
                  | UnknownAttributes types -> types = [| 0x7fffus |]
                  | _ -> false)
                  "the one that must be")

          testCase "a client that is gone before its socket is open leaves none" (fun () ->
              let world = world ()
              world.Opens <- false
              let client = alice world
              client.Meet() |> ignore
              client.Send(client.Protected Method.Allocate [ RequestedTransport 17uy; AdditionalAddressFamily 2uy ])
              world.Answer world.Asked[0]
              world.Feed(TurnServerInput.Disconnected client.Path)
              world.Answer world.Asked[1]
              Expect.equal world.Opened.Count 0 "closed"
              Expect.equal (TurnServer.allocations world.State) 0 "nothing is left") ]

let private living =
    testList
        "Refresh and expiry"
        [ testCase "an allocation ends when its time is up, and not before" (fun () ->
              let world = world ()
              let struct (client, _) = allocated world
              world.Pass(seconds 599)
              Expect.equal world.Opened.Count 1 "lives"
              world.Pass(seconds 2)
              Expect.equal world.Opened.Count 0 "over"
              Expect.equal (TurnServer.deadline world.State) Instant.never "nothing more is due"

              Expect.exists
                  world.Events
                  (function
                  | Deallocated(_, _, DeallocationReason.Expired) -> true
                  | _ -> false)
                  "expired"

              Expect.equal (code (client.Refresh [])) 437 "nothing to refresh"
              succeeds (client.Allocate []))

          testCase "a refresh renews it, within bounds; 0 ends it at once" (fun () ->
              let world = world ()
              let struct (client, _) = allocated world
              world.Pass(seconds 500)
              Expect.equal (lifetime (client.Refresh [ Lifetime 1200u ])) 1200u "granted"
              world.Pass(seconds 1199)
              Expect.equal world.Opened.Count 1 "lives"
              Expect.equal (lifetime (client.Refresh [ Lifetime 0u ])) 0u "ended"
              Expect.equal world.Opened.Count 0 "closed"
              Expect.equal (code (client.Refresh [ Lifetime 0u ])) 437 "already")

          testCase "families of a dual allocation live and end apart" (fun () ->
              let world = world ()
              let client = alice world
              succeeds (client.Allocate [ AdditionalAddressFamily 2uy ])
              let v6Peer = endpoint "2001:db8:1::1" 5000
              succeeds (client.Permit [ peer; v6Peer ])
              Expect.equal (lifetime (client.Refresh [ Lifetime 3000u; RequestedAddressFamily 2uy ])) 3000u "IPv6"
              world.Pass(seconds 200)
              client.SendTo peer hello []
              client.SendTo v6Peer hello []
              Expect.equal world.ToPeers.Count 2 "both"
              world.Pass(seconds 401)
              Expect.equal world.Opened.Count 1 "IPv4's time was up"
              Expect.equal (code (client.Permit [ peer ])) 443 "no IPv4"
              Expect.equal (code (client.Refresh [ RequestedAddressFamily 1uy ])) 443 "no IPv4 to refresh"
              succeeds (client.Permit [ v6Peer ])
              Expect.equal (lifetime (client.Refresh [ Lifetime 0u; RequestedAddressFamily 2uy ])) 0u "IPv6 too"
              Expect.equal world.Opened.Count 0 "nothing is left")

          testCase "another user's credentials do not touch it" (fun () ->
              let world = world ()
              let struct (_, _) = allocated world
              let thief = clientAt world "203.0.113.7" 4000 "bob" "builder"

              for method in [ Method.Refresh; Method.CreatePermission; Method.ChannelBind ] do
                  Expect.equal (code (thief.Ask method [ Lifetime 0u ])) 441 "Wrong Credentials"

              Expect.equal (code (thief.Allocate [])) 437 "Allocation Mismatch"
              Expect.equal world.Opened.Count 1 "lives")

          testCase "without an allocation everything but Allocate is a mismatch" (fun () ->
              let world = world ()
              let client = alice world

              for method in [ Method.Refresh; Method.CreatePermission; Method.ChannelBind ] do
                  Expect.equal (code (client.Ask method [ XorPeerAddress peer ])) 437 "Allocation Mismatch")

          testCase "a connection that ends, and a socket that breaks, end it" (fun () ->
              let world = world ()
              let struct (client, relay) = allocated world
              world.Feed(TurnServerInput.Disconnected client.Path)
              Expect.equal world.Opened.Count 0 "disconnected"
              let struct (_, relay') = allocated world
              Expect.notEqual relay' relay "numbers are not used twice"
              world.Feed(RelayLost relay')
              Expect.equal (TurnServer.allocations world.State) 0 "lost")

          testCase "10,000 allocations end with nothing left behind" (fun () ->
              let config =
                  { config with
                      Limits =
                          { TurnServer.limits with
                              AllocationsPerUser = 20_000
                              Allocations = 20_000 } }

              let world = World(config, credentials)

              for i in 1..10_000 do
                  succeeds ((clientAt world "203.0.113.7" i "alice" "wonderland").Allocate [])

              Expect.equal world.Opened.Count 10_000 "all at once"
              world.Pass(seconds 601)
              Expect.equal world.Opened.Count 0 "all gone"
              Expect.equal world.State.Held.Users.Count 0 "no user is counted"
              Expect.equal world.State.Held.Relays.Count 0 "no relay"
              Expect.isTrue world.State.Held.Timers.IsEmpty "no timer") ]

let tests =
    testList "TURN server: credentials, allocations, expiry" [ authentication; allocating; living ]
