/// Rules of ICE one by one: policies, nomination, lite peers, refusals, forgeries, names, bounds.
module Hybrid.WebRtc.PropertyTests.Ice.RulesTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Ice.Scenes

let tests =
    testList
        "Ice rules"
        [ testCase "with the relay policy nothing is told and nothing leaves" (fun () ->
              let world =
                  World.feed A (Ice.SetServers([||], IceTransportPolicy.Relay)) (direct 12L Weather.fair)

              let world =
                  world
                  |> World.feed A (Ice.SetRole IceRole.Controlling)
                  |> World.feed A (Ice.SetLocal(World.credentials "aaaa1"))
                  |> World.feed A Ice.Gather
                  |> World.feed A (Ice.SetRemote(World.credentials "bbbb1", false))
                  |> World.feed A (Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 5u, ValueNone))
                  |> World.runFor (Duration.seconds 30L)

              Expect.equal world.A.Sent 0 "silent"
              Expect.isEmpty (Ice.localCandidates world.A.Agent) "no candidates")

          testCase "nominated aggressively on two pairs, the better one is selected, whatever the order" (fun () ->
              for first, second in [ 2uy, 3uy; 3uy, 2uy ] do
                  let nominate (octet: byte) n =
                      Puppet.checkFrom (Puppet.at octet) n [ IceControlling 1UL; UseCandidate ]

                  // Both work, and the peer, like Chromium, says USE-CANDIDATE on every check.
                  let struct (agent, _) =
                      Puppet.created IceRole.Controlled
                      |> Puppet.feed
                          Puppet.start
                          [ Ice.SetRemote(Puppet.remote, false)
                            Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 1000u, ValueNone)
                            Ice.AddRemote(Puppet.candidate (Puppet.at 3uy) 2000u, ValueNone) ]
                      |> Puppet.obey 4 Puppet.start

                  let struct (agent, outputs) =
                      Puppet.feed Puppet.start [ nominate first 1; nominate second 2; nominate first 3 ] agent
                      |> Puppet.obey 4 Puppet.start

                  Expect.equal (Ice.selectedPair agent).Value.Path (Puppet.path (Puppet.at 3uy)) "the better"
                  Expect.isTrue (Ice.isValid (Puppet.path (Puppet.at 2uy)) agent) "data may come by the other"
                  Expect.isNonEmpty (Puppet.selections outputs) "told")

          testCase
              "a peer without candidates is given up after 39.5 s, RFC 8863 §4, and its late check opens all again"
              (fun () ->
                  let struct (agent, _) =
                      Puppet.created IceRole.Controlling
                      |> Puppet.feed Puppet.start [ Ice.SetRemote(Puppet.remote, false); Ice.EndOfRemoteCandidates ]

                  let due = Ice.deadline agent
                  Expect.equal (Duration.toMilliseconds (due - Puppet.start)) 39_500L "patience"
                  let struct (agent, _) = Puppet.feed due [ Ice.Tick ] agent
                  Expect.equal (Ice.transportState agent) IceTransportState.Failed "failed"

                  let struct (agent, _) =
                      Puppet.feed
                          (due + Duration.seconds 60L)
                          [ Puppet.checkFrom (Puppet.at 2uy) 1 [ IceControlled 1UL ] ]
                          agent
                      |> Puppet.obey 4 (due + Duration.seconds 60L)

                  Expect.isTrue (Ice.selectedPair agent).IsSome "connected after all")

          testCase "with a lite peer we control, check, and nominate" (fun () ->
              let struct (agent, outputs) =
                  Puppet.created IceRole.Controlled
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, true)
                        Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 2130706431u, ValueNone) ]
                  |> Puppet.obey 4 Puppet.start

              Expect.equal (Ice.role agent) IceRole.Controlling "controlling"

              Expect.isTrue
                  (Puppet.requests outputs
                   |> List.exists (fun struct (_, m) -> Message.usesCandidate m))
                  "nominated"

              Expect.equal (Puppet.selections outputs) [ Puppet.path (Puppet.at 2uy) ] "selected")

          testCase "of regular nomination, the first check never carries USE-CANDIDATE" (fun () ->
              let struct (_, outputs) = connectedPuppet IceRole.Controlling

              match Puppet.requests outputs with
              | struct (_, first) :: _ -> Expect.isFalse (Message.usesCandidate first) "plain"
              | [] -> failtest "checks")

          testCase
              "checks that came before the answer are answered, and their pairs checked at once when it comes"
              (fun () ->
                  let struct (agent, outputs) =
                      Puppet.created IceRole.Controlling
                      |> Puppet.feed Puppet.start [ Puppet.checkFrom (Puppet.at 2uy) 1 [ IceControlled 1UL ] ]

                  Expect.equal (Puppet.sent outputs).Length 1 "answered"

                  let struct (agent, outputs) =
                      Puppet.feed Puppet.start [ Ice.SetRemote(Puppet.remote, false) ] agent

                  match Puppet.requests outputs with
                  | [ struct (path, _) ] -> Expect.equal path (Puppet.path (Puppet.at 2uy)) "checked"
                  | _ -> failtest "one check"

                  Expect.equal
                      (Array.head (Ice.remoteCandidates agent)).Type
                      CandidateType.PeerReflexive
                      "peer-reflexive"

                  let signalled = Puppet.candidate (Puppet.at 2uy) 2130706431u

                  let struct (agent, _) =
                      Puppet.feed Puppet.start [ Ice.AddRemote(signalled, ValueNone) ] agent

                  Expect.equal (Ice.remoteCandidates agent) [| signalled |] "known better once it is signalled"
                  Expect.equal (Ice.pairs agent).Length 1 "one pair")

          testCase "strangers are refused with what RFC 8489 §9.1.3 says, and never with more than they sent" (fun () ->
              let agent = Puppet.created IceRole.Controlling

              let refusals message bytes =
                  let struct (_, outputs) =
                      Puppet.feed Puppet.start [ Puppet.receive (Puppet.at 6uy) bytes ] agent

                  for struct (_, outgoing) in Puppet.sent outputs do
                      Expect.isLessThanOrEqual (Outgoing.size outgoing) bytes.Length message

                  Puppet.errors outputs

              let check = Puppet.check 1 [ IceControlled 1UL ]

              let bare =
                  { Message = check
                    Integrity = Unprotected
                    Fingerprint = true }

              Expect.equal (refusals "wrong" (Puppet.sealedWith "wrong" check)) [ 401 ] "wrong password"
              Expect.equal (refusals "bare" (World.written bare)) [ 400 ] "no integrity"

              let empty =
                  { bare with
                      Message = { check with Attributes = [||] } }

              Expect.equal (refusals "empty" (World.written empty)) [] "too short to be answered"

              let odd =
                  { check with
                      Attributes = Array.append check.Attributes [| Unknown(0x7f00us, [||]) |] }

              Expect.equal (refusals "odd" (Puppet.sealedWith Puppet.local.Password odd)) [ 420 ] "unknown attribute"

              let google =
                  { check with
                      Attributes = Array.append check.Attributes [| Unknown(0xc057us, [| 0uy; 1uy; 0uy; 0uy |]) |] }

              Expect.equal
                  (refusals "google" (Puppet.sealedWith Puppet.local.Password google))
                  []
                  "GOOG-NETWORK-INFO is fine")

          testPropertyWithConfig (runs 1) "forged STUN changes nothing but the counts"
          <| Prop.forAll (Arb.fromGen (Gen.listOf genForged)) (fun forged ->
              let struct (agent, _) = connectedPuppet IceRole.Controlling

              let struct (after, outputs) =
                  Puppet.feed (Puppet.start + Duration.seconds 1L) forged agent

              let look (agent: Ice.State) =
                  struct (Ice.transportState agent,
                          Ice.role agent,
                          Ice.deadline agent,
                          (Ice.remoteCandidates agent).Length,
                          Ice.pairs agent |> Array.map (fun p -> struct (p.Id, p.State, p.Nominated)),
                          (Ice.selectedPair agent).Value.Path)

              let harmless =
                  outputs
                  |> List.forall (fun output ->
                      match output with
                      | Ice.Ignored _ -> true
                      | Ice.Transmit(_, outgoing) ->
                          outgoing.Message.Class.IsError && outgoing.Integrity.IsUnprotected
                      | _ -> false)

              harmless && look agent = look after)

          testCase "a genuine response that comes from elsewhere, RFC 8445 §7.2.5.2.1, changes nothing" (fun () ->
              let struct (agent, outputs) =
                  Puppet.created IceRole.Controlling
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, false)
                        Ice.AddRemote(Puppet.candidate (Puppet.at 2uy) 2130706431u, ValueNone) ]

              let struct (_, message) = (Puppet.requests outputs).Head

              let struct (agent, outputs) =
                  Puppet.feed Puppet.start [ Puppet.receive (Puppet.at 3uy) (Puppet.answerTo message) ] agent

              Expect.equal (Puppet.drops outputs) [ Drop.Unvalidated ] "counted"
              Expect.isFalse (Ice.isValid (Puppet.path (Puppet.at 2uy)) agent) "not valid"

              let struct (agent, _) =
                  Puppet.feed Puppet.start [ Puppet.receive (Puppet.at 2uy) (Puppet.answerTo message) ] agent

              Expect.isTrue (Ice.isValid (Puppet.path (Puppet.at 2uy)) agent) "the right one counts")

          testCase "a .local candidate is resolved and used; an unknown name, TCP and RTCP are not" (fun () ->
              let named name =
                  { Puppet.candidate (Puppet.at 2uy) 5u with
                      Host = CandidateHost.Name name }

              let plain = Puppet.candidate (Puppet.at 4uy) 5u

              let struct (agent, outputs) =
                  Puppet.created IceRole.Controlling
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, false)
                        Ice.AddRemote(named "x.local", ValueNone)
                        Ice.AddRemote(named "example.org", ValueNone)
                        Ice.AddRemote({ plain with Component = 2 }, ValueNone)
                        Ice.AddRemote(
                            { plain with
                                Transport = CandidateTransport.Tcp TcpType.Active
                                Port = 9us },
                            ValueNone
                        )
                        Ice.AddRemote(plain, ValueSome "gone") ]

              let asked =
                  outputs
                  |> List.choose (fun o ->
                      match o with
                      | Ice.Resolve name -> Some name
                      | _ -> None)

              Expect.equal asked [ "x.local" ] "one name"
              Expect.isEmpty (Puppet.requests outputs) "nothing to check yet"
              Expect.equal (Puppet.drops outputs) [ Drop.Unsupported; Drop.Unsupported; Drop.Stale ] "counted"

              let struct (_, outputs) =
                  Puppet.feed Puppet.start [ Ice.Resolved("x.local", ValueSome (Puppet.at 2uy).Address) ] agent

              match Puppet.requests outputs with
              | [ struct (path, _) ] -> Expect.equal path (Puppet.path (Puppet.at 2uy)) "checked"
              | _ -> failtest "one check")

          testCase
              "what a peer can feed is bounded: candidates, pairs, names, early checks, and checks a second"
              (fun () ->
                  let endpoint i =
                      { Address = Address.v4 10uy 0uy (byte (i >>> 8)) (byte i)
                        Port = 6000us }

                  let flood =
                      [ for i in 1..1000 -> Ice.AddRemote(Puppet.candidate (endpoint (i + 300)) (uint32 i), ValueNone) ]

                  let names =
                      [ for i in 1..1000 ->
                            Ice.AddRemote(
                                { Puppet.candidate (endpoint i) 1u with
                                    Host = CandidateHost.Name(string i + ".local") },
                                ValueNone
                            ) ]

                  let early =
                      [ for i in 1..1000 -> Puppet.checkFrom (endpoint (i + 5000)) i [ IceControlled 1UL ] ]

                  let later =
                      [ for i in 1..1000 -> Puppet.checkFrom (endpoint (i + 9000)) i [ IceControlled 1UL ] ]

                  let struct (agent, outputs) =
                      Puppet.created IceRole.Controlling
                      |> Puppet.feed
                          Puppet.start
                          (early @ [ Ice.SetRemote(Puppet.remote, false) ] @ flood @ names @ later)

                  Expect.isLessThanOrEqual (Ice.pairs agent).Length 100 "pairs"
                  Expect.isLessThanOrEqual (Ice.remoteCandidates agent).Length 132 "candidates"
                  Expect.isLessThanOrEqual (outputs |> List.filter _.IsResolve).Length 32 "names"
                  Expect.isLessThanOrEqual (Puppet.requests outputs).Length 12 "checks at once"
                  let mutable agent = agent
                  let mutable sent = 0

                  while Ice.deadline agent < Puppet.start + Duration.milliseconds 499L do
                      let struct (next, outputs) = Ice.step (Ice.deadline agent) Ice.Tick agent
                      agent <- next
                      sent <- sent + (Puppet.requests outputs).Length

                  Expect.isLessThanOrEqual sent 10 "one each 50 ms")

          testPropertyWithConfig
              (runs 1)
              "any script of inputs: nothing throws, ticks are lawful, the story is the same twice"
          <| Prop.forAll (Arb.fromGen (Gen.listOf genInput)) (fun script -> play script = play script)

          testPropertyWithConfig (runs 4) "closed absorbs: every socket is closed, every input ignored"
          <| Prop.forAll (Arb.fromGen (Gen.nonEmptyListOf genInput)) (fun script ->
              let struct (agent, outputs) =
                  connectedPuppet IceRole.Controlled
                  |> fun struct (agent, _) -> Puppet.feed Puppet.start [ Ice.Close ] agent

              let struct (after, ignored) = Puppet.feed Puppet.start script agent

              outputs
              |> List.exists (fun o ->
                  match o with
                  | Ice.ClosePort p -> int p = 1
                  | _ -> false)
              && ignored |> List.forall _.IsIgnored
              && Ice.deadline after = Instant.never
              && Ice.transportState after = IceTransportState.Closed
              && not (Ice.isValid (Puppet.path (Puppet.at 2uy)) after))

          testCase "the kinds of NAT let in whom they should" (fun () ->
              let inside = { Address = home 2uy; Port = 1000us }

              let friend =
                  { Address = publicAddress 9uy
                    Port = 2000us }

              let friendElsewhere = { friend with Port = 2001us }

              let stranger =
                  { Address = publicAddress 8uy
                    Port = 2000us }

              for kind, admits in
                  [ FullCone, [ true; true; true ]
                    RestrictedCone, [ true; true; false ]
                    PortRestrictedCone, [ true; false; false ]
                    Symmetric, [ true; false; false ] ] do
                  let struct (out, nat) =
                      Nat.outbound { From = inside; To = friend } (Nat.create kind false (publicAddress 1uy))

                  let admitted =
                      [ friend; friendElsewhere; stranger ]
                      |> List.map (fun from -> (Nat.inbound { From = from; To = out.From } nat).IsSome)

                  Expect.equal admitted admits "inbound"
                  let struct (again, _) = Nat.outbound { From = inside; To = stranger } nat
                  Expect.equal (again.From = out.From) (kind <> Symmetric) "mapping"
                  Expect.isTrue (Nat.inbound { From = friend; To = out.From } (Nat.rebind nat)).IsNone "forgotten") ]
