/// One allocation against a small server, in virtual time: RFC 8656 §7 to §12, the client's side.
module Hybrid.WebRtc.PropertyTests.TurnClientTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.PropertyTests.TurnScene

let private laws =
    [ testPropertyWithConfig Laws.config "any script: it never throws, and its ticks keep the laws"
      <| Prop.forAll (Arb.fromGen (Gen.listOf genInput)) (fun script ->
          (sceneOf server, script)
          ||> List.fold (fun scene input -> scene |> feed input |> pass (Duration.milliseconds 300L))
          |> ignore)

      testPropertyWithConfig
          { Laws.config with maxTest = 30 }
          "any seed, up to 30 % loss: it is allocated, and an hour later data still passes"
      <| fun (seed: int64) (loss: byte) ->
          let scene =
              { sceneWith (config "secret" RelayFamilies.V4 false) [ server ] seed with
                  Loss = float (loss % 31uy) / 100.0 }
              |> start
              |> pass (seconds 30L)
              |> feed (TurnClient.Permit peer.Address)
              |> feed (TurnClient.Bind peer)
              |> pass (seconds 3600L)

          Expect.isTrue (passes 1uy { scene with Loss = 0.0 }) "data passes"

      testPropertyWithConfig Laws.config "the same script tells the same story"
      <| fun (seed: int64) ->
          let story () =
              (sceneWith (config "secret" RelayFamilies.V4 false) [ server ] seed
               |> served
               |> pass (seconds 2000L))
                  .Sent
              |> List.map (fun struct (at, m) -> struct (at, m.Transaction))

          story () = story ()

      Laws.anyBytes "any bytes from the server are ignored" (fun bytes ->
          let scene = start (sceneOf server)

          let struct (after, outputs) =
              TurnClient.step scene.Now (TurnClient.Received(ReadOnlyMemory bytes)) scene.Client

          TurnClient.deadline after = TurnClient.deadline scene.Client
          && outputs |> List.forall _.IsIgnored)

      testCase "answers with a few octets changed never throw, and never make an allocation" (fun () ->
          let mutable entropy = Entropy.ofNumber 5L

          for _ in 1..300 do
              let struct (noise, e) = Entropy.uint32 entropy
              entropy <- e

              // Anything but the fingerprint, which stands behind the integrity.
              let alter (bytes: byte[]) =
                  let copy = Array.copy bytes
                  let i = int (noise % uint32 (copy.Length - 8))
                  copy[i] <- copy[i] ^^^ (1uy + byte (noise >>> 24) % 255uy)
                  copy

              let scene =
                  { (sceneOf server |> start |> pass (Duration.milliseconds 41L)) with
                      Alter = alter }
                  |> pass (seconds 5L)

              Expect.isFalse
                  (scene.Said |> List.exists (fun struct (_, o) -> o.IsAllocated))
                  "not allocated by an altered answer") ]

let private allocation =
    [ for name, server, families in
          [ "MD5", server, RelayFamilies.V4
            "SHA-256 and USERHASH", SmallServer.modern server, RelayFamilies.V4 ] do
          testCase $"a server that asks for {name} allocates within two round trips" (fun () ->
              let scene =
                  sceneWith (config "secret" families false) [ server ] 1L
                  |> start
                  |> pass (4L * delay)

              Expect.equal (allocated scene).Length 1 "one relayed address"
              Expect.equal (count Method.Allocate scene) 2 "asked twice"

              match scene.Said with
              | [ struct (_, TurnClient.Allocated(_, ValueSome mapped)) ] -> Expect.equal mapped us "as it sees us"
              | _ -> failtest "no mapped address")

      testCase "the first request names nobody (RFC 8489 §9.2.3.1)" (fun () ->
          let scene = start (sceneOf server)

          match scene.Sent with
          | [ struct (_, message) ] ->
              Expect.equal (message.Attributes |> Array.map Attribute.typeOf) [| 0x0019us |] "REQUESTED-TRANSPORT"
          | _ -> failtest "one request")

      testCase "both families in one allocation" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.Both false) [ dual ] 1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene |> Array.map _.Address.IsV4) [| true; false |] "IPv4 and IPv6")

      testCase "both families, of which the server has IPv4 only: it is enough" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.Both false) [ server ] 1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene |> Array.map _.Address.IsV4) [| true |] "IPv4")

      testCase "both families, of which the server has IPv6 only: 440, and then IPv6" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.Both false) [ SmallServer.create first [ v6 ] ] 1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene |> Array.map _.Address.IsV4) [| false |] "IPv6")

      testCase "IPv6 of a server without: 440, and no more (RFC 8656 §7.4)" (fun () ->
          let scene =
              sceneWith (config "secret" RelayFamilies.V6 false) [ server ] 1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 440 "the code"
          Expect.equal (count Method.Allocate scene) 2 "not asked again")

      testCase "a wrong password: 401, after two requests" (fun () ->
          let scene =
              sceneWith (config "wrong" RelayFamilies.V4 false) [ server ] 1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 401 "the code"
          Expect.equal (count Method.Allocate scene) 2 "not asked again"
          Expect.equal (TurnClient.deadline scene.Client) Instant.never "over")

      for code in [ 403; 420; 442; 486; 500; 508 ] do
          testCase $"a server that refuses with {code}: so it fails" (fun () ->
              let scene =
                  sceneOf (SmallServer.refusing Method.Allocate code 99 server)
                  |> start
                  |> pass (seconds 60L)

              Expect.equal (failure scene) code "the code"
              Expect.isTrue (TurnClient.isOver scene.Client) "over")

      testCase "a server that does not answer: 701 after 13.5 s" (fun () ->
          let scene = { sceneOf server with Loss = 1.0 } |> start |> pass (seconds 60L)
          Expect.equal (failure scene) 701 "the code"
          Expect.equal (count Method.Allocate scene) 16 "repeated"

          match scene.Said with
          | struct (when', _) :: _ -> Expect.equal (when' - seconds 1L) (Duration.milliseconds 13_500L) "then"
          | [] -> failtest "silent")

      testCase "over a stream a request is sent once (RFC 8489 §6.2.2)" (fun () ->
          let scene =
              { sceneWith (config "secret" RelayFamilies.V4 true) [ server ] 1L with
                  Loss = 1.0 }
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 701 "the code"
          Expect.equal (count Method.Allocate scene) 1 "once")

      testCase "a stream that ends before it serves: 701; while it serves: lost" (fun () ->
          let stream = sceneWith (config "secret" RelayFamilies.V4 true) [ server ] 1L
          Expect.equal (stream |> start |> feed (TurnClient.Closed "reset") |> failure) 701 "refused"
          Expect.equal (stream |> served |> feed (TurnClient.Closed "reset") |> loss) (ValueSome 701) "lost")

      testCase "Try Alternate: the other server is asked (RFC 8489 §10)" (fun () ->
          let scene =
              sceneWith
                  (config "secret" RelayFamilies.V4 false)
                  [ { server with
                        Alternate = ValueSome second }
                    SmallServer.create second [ Address.v4 203uy 0uy 113uy 2uy ] ]
                  1L
              |> start
              |> pass (seconds 1L)

          Expect.equal (Array.head (allocated scene)).Address (Address.v4 203uy 0uy 113uy 2uy) "the other's relay")

      testCase "servers that send us to each other: 300" (fun () ->
          let scene =
              sceneWith
                  (config "secret" RelayFamilies.V4 false)
                  [ { server with
                        Alternate = ValueSome second }
                    { SmallServer.create second [] with
                        Alternate = ValueSome first } ]
                  1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 300 "the code"
          Expect.equal (count Method.Allocate scene) 2 "each once")

      testCase "a chain of alternates ends" (fun () ->
          let servers =
              [ for n in 1uy .. 20uy ->
                    { SmallServer.create (at n 3478us) [] with
                        Alternate = ValueSome(at (n + 1uy) 3478us) } ]

          let scene =
              sceneWith (config "secret" RelayFamilies.V4 false) servers 1L
              |> start
              |> pass (seconds 60L)

          Expect.equal (failure scene) 300 "the code"
          Expect.equal (count Method.Allocate scene) 4 "asked")

      testCase "an allocation that somebody left behind on our transport address: cleared, and made anew" (fun () ->
          let left = sceneOf server |> start |> pass (seconds 1L)

          let scene =
              { sceneWith (config "secret" RelayFamilies.V4 false) left.Servers 9L with
                  Now = left.Now }
              |> start
              |> pass (seconds 1L)

          Expect.equal (allocated scene).Length 1 "allocated"
          Expect.equal (count Method.Refresh scene) 1 "after one Refresh")

      testCase "437 for ever: it fails with that" (fun () ->
          let scene =
              sceneOf (SmallServer.refusing Method.Allocate 437 99 server)
              |> start
              |> pass (seconds 60L)

          // The server has nothing to clear, says so, and refuses again: that must end.
          Expect.equal (failure scene) 437 "the code"
          Expect.isLessThan (count Method.Allocate scene) 8 "bounded")

      testCase "a nonce that goes stale with every request: 438 in the end" (fun () ->
          let mutable scene = start (sceneOf server)

          for _ in 1..40 do
              scene <- scene |> changing SmallServer.renonce |> pass delay

          Expect.equal (failure scene) 438 "the code")

      testCase "a 400 that nobody signed is as if it had not come (RFC 8489 §9.2.5)" (fun () ->
          let scene = sceneOf server |> start |> pass (Duration.milliseconds 41L)

          let forged =
              match scene.Sent with
              | struct (_, request) :: _ ->
                  SmallServer.written
                      { Message = Message.error request 400 "Bad Request" [||]
                        Integrity = Unprotected
                        Fingerprint = true }
              | [] -> failtest "nothing sent"

          let scene =
              scene |> feed (TurnClient.Received(ReadOnlyMemory forged)) |> pass (seconds 1L)

          Expect.equal (allocated scene).Length 1 "allocated all the same") ]

let private service =
    [ testCase "indications until the channel is bound, ChannelData from then on" (fun () ->
          let scene =
              sceneOf server
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)
              |> pass (seconds 1L)

          let struct (before, _) = TurnClient.wrap peer scene.Client
          Expect.equal (before |> ValueOption.map _.Offset) (ValueSome 36) "an indication"
          Expect.isTrue (passes 1uy scene) "it passes"
          let scene = scene |> feed (TurnClient.Bind peer) |> pass (seconds 1L)
          let struct (after, _) = TurnClient.wrap peer scene.Client
          Expect.equal (after |> ValueOption.map _.Offset) (ValueSome 4) "ChannelData"
          Expect.isTrue (passes 2uy scene) "it passes"
          Expect.equal (TurnClient.peerOf 0x4000us scene.Client) (ValueSome peer) "whose it is"
          Expect.equal (TurnClient.peerOf 0x4001us scene.Client) ValueNone "nobody's")

      testCase "nothing goes to an address without a permission, nor is taken from it" (fun () ->
          let scene = sceneOf server |> start |> pass (seconds 1L)
          let struct (header, _) = TurnClient.wrap peer scene.Client
          Expect.isTrue header.IsNone "nothing"
          Expect.isFalse (TurnClient.isPermitted peer.Address scene.Client) "not permitted")

      testCase "a permission is asked for before a packet to its peer could leave" (fun () ->
          let scene =
              sceneOf server
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)

          Expect.equal (count Method.CreatePermission scene) 1 "at once"
          Expect.isTrue (passes 1uy scene) "what follows it passes")

      testCase "ports of one address need one permission" (fun () ->
          let scene =
              sceneOf server
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)
              |> feed (TurnClient.Permit peer.Address)
              |> pass (seconds 1L)

          Expect.equal (count Method.CreatePermission scene) 1 "one")

      testCase "within a day, allocation, permission and channel never lapse" (fun () ->
          let mutable scene = served (sceneOf server)

          for n in 1..288 do
              scene <- pass (seconds 300L) scene
              Expect.isTrue (passes (byte n) scene) "data passes"

          // 86,400 s / 540 s, and / 240 s.
          Expect.isLessThan (count Method.Refresh scene) 170 "refreshed no more than need be"
          Expect.isLessThan (count Method.CreatePermission scene) 370 "permitted no more than need be"
          Expect.isLessThan (count Method.ChannelBind scene) 170 "bound no more than need be")

      testCase "a short lifetime is refreshed half-way" (fun () ->
          let scene =
              sceneOf { server with Lifetime = seconds 20L } |> served |> pass (seconds 300L)

          Expect.isTrue (passes 1uy scene) "data passes"
          Expect.isLessThan (count Method.Refresh scene) 32 "no more often")

      testCase "a nonce that goes stale in mid-call costs one request more" (fun () ->
          let scene =
              sceneOf server |> served |> changing SmallServer.renonce |> pass (seconds 2000L)

          Expect.isTrue (passes 1uy scene) "data passes"
          Expect.equal (loss scene) ValueNone "nothing lost")

      testCase "a server that restarts in mid-call: lost with 437 at the next request" (fun () ->
          let scene =
              sceneOf server |> served |> changing SmallServer.restart |> pass (seconds 250L)

          Expect.equal (loss scene) (ValueSome 437) "lost"
          Expect.equal (TurnClient.deadline scene.Client) Instant.never "over")

      testCase "441 is the end, too" (fun () ->
          let scene =
              sceneOf server
              |> served
              |> changing (SmallServer.refusing Method.Refresh 441 1)
              |> pass (seconds 600L)

          Expect.equal (loss scene) (ValueSome 441) "lost")

      testCase "a server that falls silent: lost when the lifetime is over, and not before" (fun () ->
          let scene =
              { served (sceneOf server) with
                  Loss = 1.0 }

          Expect.equal (loss (pass (seconds 590L) scene)) ValueNone "not before"
          Expect.equal (loss (pass (seconds 600L) scene)) (ValueSome 701) "then")

      for code in [ 500; 508 ] do
          testCase $"passing trouble, {code}: asked again until it is over" (fun () ->
              let scene =
                  sceneOf server
                  |> served
                  |> changing (
                      SmallServer.refusing Method.Refresh code 2
                      >> SmallServer.refusing Method.CreatePermission code 2
                      >> SmallServer.refusing Method.ChannelBind code 2
                  )
                  |> pass (seconds 2000L)

              Expect.isTrue (passes 1uy scene) "data passes")

      testCase "a peer that is forbidden: told, nothing more is sent to it, and the others pass" (fun () ->
          let scene =
              sceneOf (SmallServer.refusing Method.CreatePermission 403 1 server)
              |> start
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit (at 66uy 1us).Address)
              |> pass (seconds 1L)
              |> feed (TurnClient.Permit peer.Address)
              |> pass (seconds 1000L)

          Expect.isTrue
              (scene.Said
               |> List.exists (fun struct (_, o) ->
                   match o with
                   | TurnClient.Denied(address, 403, _) -> address.Equals (at 66uy 1us).Address
                   | _ -> false))
              "told"

          let struct (header, _) = TurnClient.wrap (at 66uy 1us) scene.Client
          Expect.isTrue header.IsNone "nothing"
          Expect.isTrue (passes 1uy scene) "the other passes")

      testCase "a server without channels: indications do" (fun () ->
          let scene =
              sceneOf (SmallServer.refusing Method.ChannelBind 400 99 server) |> served

          Expect.isTrue (passes 1uy scene) "data passes"
          Expect.isTrue (passes 2uy (pass (seconds 2000L) scene)) "later, too")

      testCase "a peer of the other family is not asked for" (fun () ->
          let scene =
              sceneOf server |> start |> pass (seconds 1L) |> feed (TurnClient.Permit v6)

          Expect.equal (count Method.CreatePermission scene) 0 "not asked")

      testCase "addresses and channels are bounded" (fun () ->
          let scene = sceneOf server |> start |> pass (seconds 1L)

          let scene =
              (scene, [ 0..300 ])
              ||> List.fold (fun scene n ->
                  feed
                      (TurnClient.Bind
                          { Address = Address.v4 10uy 1uy (byte (n / 250)) (byte (n % 250))
                            Port = 9us })
                      scene)

          Expect.equal (count Method.CreatePermission scene) 100 "permissions"
          Expect.equal (count Method.ChannelBind scene) 100 "channels")

      testCase "released: the server has nothing left, and nothing more is sent" (fun () ->
          let scene = sceneOf server |> served |> feed TurnClient.Release |> pass (seconds 1L)

          Expect.isEmpty (serverOf scene).Allocations "nothing left"
          let sent = scene.Sent.Length
          Expect.equal (pass (seconds 3600L) scene).Sent.Length sent "silent"
          let struct (header, _) = TurnClient.wrap peer scene.Client
          Expect.isTrue header.IsNone "nothing goes")

      testCase "released with a nonce that has expired: given back with another" (fun () ->
          let scene =
              sceneOf server
              |> served
              |> changing SmallServer.renonce
              |> feed TurnClient.Release
              |> pass (seconds 1L)

          Expect.isEmpty (serverOf scene).Allocations "nothing left"
          Expect.isTrue (TurnClient.isOver scene.Client) "over")

      testPropertyWithConfig Laws.config "released where half of all is lost: asked again, and over within 1.75 s"
      <| fun (seed: int64) ->
          let scene = sceneOf server |> served

          let scene =
              { scene with
                  Loss = 0.5
                  Entropy = Entropy.ofNumber seed }
              |> feed TurnClient.Release
              |> pass (Duration.milliseconds 1_750L)

          Expect.isTrue (TurnClient.isOver scene.Client) "over"

          let left =
              scene.Said
              |> List.filter (fun struct (_, output) ->
                  match output with
                  | TurnClient.Left -> true
                  | _ -> false)

          Expect.equal left.Length 1 "told once"
          let farewells = count Method.Refresh scene
          Expect.isTrue (farewells >= 1 && farewells <= 4) "asked up to four times"

      testCase "a packet leaves room for what is around it, before and after its channel is bound" (fun () ->
          for address, indication in [ peer.Address, 39; v6, 51 ] do
              let server = SmallServer.create first [ Address.v4 203uy 0uy 113uy 1uy; v6 ]

              let scene =
                  sceneWith (config "secret" RelayFamilies.Both false) [ server ] 1L
                  |> start
                  |> pass (seconds 1L)

              let peer = { peer with Address = address }
              let scene = scene |> feed (TurnClient.Permit address)
              Expect.equal (TurnClient.overhead peer scene.Client) indication "an indication, padded"

              for length in 1..8 do
                  match TurnClient.wrap peer scene.Client with
                  | struct (ValueSome header, _) ->
                      Expect.isLessThanOrEqual (header.Size length - length) indication "and no more"
                  | _ -> failtest "nothing goes"

              let scene = scene |> feed (TurnClient.Bind peer) |> pass (seconds 1L)
              Expect.equal (TurnClient.overhead peer scene.Client) 4 "a channel"

              let bound =
                  scene.Said
                  |> List.filter (fun struct (_, output) ->
                      match output with
                      | TurnClient.Bound e -> e.Equals peer
                      | _ -> false)

              Expect.equal bound.Length 1 "told"
              let later = pass (seconds 2000L) scene

              Expect.equal (later.Said.Length - scene.Said.Length) 0 "bound again, and not told again")

      testCase "released while it is asked for: nothing is left behind either" (fun () ->
          // The answer is on its way.
          let scene =
              sceneOf server
              |> start
              |> pass (Duration.milliseconds 65L)
              |> feed TurnClient.Release
              |> pass (seconds 60L)

          Expect.isEmpty (serverOf scene).Allocations "nothing left") ]

let tests = testList "TURN client" (laws @ allocation @ service)
