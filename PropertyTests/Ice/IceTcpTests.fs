/// ICE over TCP, RFC 6544.
module Hybrid.WebRtc.PropertyTests.Ice.IceTcpTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Ice.Scenes

let private listening side world =
    World.set
        side
        { World.get side world with
            Listens = true }
        world

let private isTcp (pair: IcePair voption) =
    match pair with
    | ValueSome pair -> pair.Remote.Transport.IsTcp && pair.Local.Transport.IsTcp
    | ValueNone -> false

let private overTcp (world: World) =
    World.areUp world
    && isTcp (World.selected A world)
    && isTcp (World.selected B world)
    && World.agree world

let private until seconds holds (world: World) =
    World.runUntil (world.Now + Duration.seconds seconds) holds world

let private heard side choose (world: World) =
    (World.get side world).Heard
    |> List.choose (fun struct (_, output) -> choose output)

let private opened side world =
    world
    |> heard side (function
        | Ice.OpenStream(port, _, _) -> Some port
        | _ -> None)

let private closed side world =
    world
    |> heard side (function
        | Ice.ClosePort port when port < 0<port> -> Some port
        | _ -> None)

let private passive (endpoint: Endpoint) : Candidate =
    { Puppet.candidate endpoint 5u with
        Transport = CandidateTransport.Tcp TcpType.Passive }

let private streams (outputs: Ice.Output list) =
    outputs
    |> List.choose (function
        | Ice.OpenStream(port, from, target) -> Some(struct (port, from, target))
        | _ -> None)

let private ports (outputs: Ice.Output list) =
    outputs
    |> List.choose (function
        | Ice.ClosePort port -> Some port
        | _ -> None)

/// A puppet that has been told of one passive candidate, and the stream that it asked for.
let private calling role =
    let struct (agent, outputs) =
        Puppet.created role
        |> Puppet.feed
            Puppet.start
            [ Ice.SetRemote(Puppet.remote, false)
              Ice.AddRemote(passive (Puppet.at 2uy), ValueNone) ]

    match streams outputs with
    | [ struct (port, from, target) ] ->
        Expect.equal from 1<port> "from the socket's address"
        Expect.equal target (Puppet.at 2uy) "to the candidate"
        Expect.isEmpty (Puppet.requests outputs) "connect first"
        agent, { Local = port; Remote = target }
    | other -> failtestf "one stream, not %d" other.Length

let private hasFailed (agent: Ice.State) : bool =
    Ice.pairs agent |> Array.forall _.State.IsFailed

let private own: Endpoint = { Puppet.socket with Port = 7777us }

let tests =
    testList
        "ICE-TCP"
        [ testCase "a socket has an active candidate on port 9, a listener a passive one, both behind UDP" (fun () ->
              let struct (agent, _) =
                  Puppet.created IceRole.Controlling
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.ListenerOpened(2<port>, { Puppet.socket with Port = 443us }, 60000) ]

              match Ice.localCandidates agent with
              | [| udp; active; passive |] ->
                  Expect.equal active.Transport (CandidateTransport.Tcp TcpType.Active) "active"
                  Expect.equal active.Port 9us "RFC 6544 §4.5"
                  Expect.equal passive.Transport (CandidateTransport.Tcp TcpType.Passive) "passive"
                  Expect.equal passive.Port 443us "where it listens"
                  Expect.isGreaterThan udp.Priority active.Priority "UDP first"
                  Expect.isGreaterThan active.Priority passive.Priority "RFC 6544 §4.2: 6 before 4"
                  // The direction preference is in the upper three bits of the local preference.
                  Expect.equal ((active.Priority >>> 21) &&& 7u) 6u "direction"
                  Expect.equal ((passive.Priority >>> 21) &&& 7u) 4u "direction"
                  Expect.notEqual udp.Foundation active.Foundation "another protocol, another foundation"

                  for c in [ active; passive ] do
                      Expect.stringContains (Candidate.toText c) " tcptype " "told"
                      Expect.equal (Candidate.toText (World.retold c)) (Candidate.toText c) "and read again"
              | other -> failtestf "three candidates, not %d" other.Length)

          testCase "sockets of nearly the same preference have active candidates of different priority" (fun () ->
              let struct (agent, _) =
                  Puppet.created IceRole.Controlling
                  |> Puppet.feed
                      Puppet.start
                      [ for i in 2..20 ->
                            Ice.PortOpened(
                                i * 1<port>,
                                { Puppet.socket with
                                    Port = uint16 (4000 + i) },
                                60000
                            ) ]

              let priorities = Ice.localCandidates agent |> Array.map _.Priority
              Expect.equal (Array.distinct priorities).Length priorities.Length "unique, RFC 6544 §4.2")

          testCase "without TCP there is no active candidate, and passive ones are not connected to" (fun () ->
              let struct (agent, outputs) =
                  Ice.create { IceOptions.defaults with Tcp = false } (Entropy.ofNumber 5L) World.ciphers
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRole IceRole.Controlling
                        Ice.SetLocal Puppet.local
                        Ice.Gather
                        Ice.PortOpened(1<port>, Puppet.socket, 60000)
                        Ice.PortsComplete
                        Ice.SetRemote(Puppet.remote, false)
                        Ice.AddRemote(passive (Puppet.at 2uy), ValueNone) ]

              Expect.equal (Ice.localCandidates agent).Length 1 "UDP"
              Expect.isEmpty (streams outputs) "no stream")

          testCase "the check follows the connection, once: an answer makes the pair valid and selects it" (fun () ->
              let agent, path = calling IceRole.Controlling

              let struct (agent, outputs) =
                  Puppet.feed Puppet.start [ Ice.StreamOpened(path.Local, own) ] agent

              match Puppet.requests outputs with
              | [ struct (at, message) ] ->
                  Expect.equal at path "over the stream"

                  let answer message =
                      Ice.Received(
                          path,
                          ReadOnlyMemory(
                              Puppet.sealedWith
                                  Puppet.remote.Password
                                  (Message.success message [| XorMappedAddress own |])
                          )
                      )

                  let struct (agent, outputs) = Puppet.feed Puppet.start [ answer message ] agent

                  match Puppet.requests outputs with
                  | [ struct (_, nomination) ] ->
                      Expect.isTrue (Message.usesCandidate nomination) "nominates"

                      let struct (agent, outputs) = Puppet.feed Puppet.start [ answer nomination ] agent

                      Expect.equal (Puppet.selections outputs) [ path ] "selected"
                      Expect.isTrue (Ice.isValid path agent) "valid"

                      match Ice.selectedPair agent with
                      | ValueSome pair ->
                          Expect.equal pair.Local.Type CandidateType.Host "no NAT: it is the active candidate"
                      | ValueNone -> failtest "selected"
                  | other -> failtestf "one nomination, not %d" other.Length
              | other -> failtestf "one check, not %d" other.Length)

          testCase "an unanswered check over TCP is not repeated, and gives up after 39.5 s with its stream" (fun () ->
              let agent, path = calling IceRole.Controlled

              let struct (agent, outputs) =
                  Puppet.feed Puppet.start [ Ice.StreamOpened(path.Local, own) ] agent

              Expect.equal (Puppet.requests outputs).Length 1 "once"
              let mutable agent = agent
              let mutable more = []

              while Ice.deadline agent < Puppet.start + Duration.seconds 60L do
                  let struct (next, outputs) = Ice.step (Ice.deadline agent) Ice.Tick agent
                  more <- more @ outputs
                  agent <- next

              Expect.isEmpty (Puppet.requests more) "and not again"
              Expect.equal (ports more) [ path.Local ] "the stream is closed"
              Expect.isTrue (hasFailed agent) "failed")

          testCase "a connection that is not to be had fails its pair at once, and closes nothing" (fun () ->
              let agent, path = calling IceRole.Controlling

              let struct (agent, outputs) =
                  Puppet.feed Puppet.start [ Ice.StreamClosed path ] agent

              Expect.isTrue (hasFailed agent) "failed"
              Expect.isEmpty (ports outputs) "the shell has closed it"
              Expect.isEmpty (streams outputs) "and it is not tried again"

              let struct (_, outputs) =
                  Puppet.feed Puppet.start [ Ice.StreamOpened(path.Local, own); Ice.StreamClosed path ] agent

              Expect.isEmpty (Puppet.requests outputs) "what comes late changes nothing")

          testCase
              "a relay of the peer's that hangs up is connected to again, ever more seldom, for 39.5 s; one that is refused is not"
              (fun () ->
                  let relayed =
                      { passive (Puppet.at 2uy) with
                          Type = CandidateType.Relayed }

                  let struct (agent, outputs) =
                      Puppet.created IceRole.Controlled
                      |> Puppet.feed
                          Puppet.start
                          [ Ice.SetRemote(Puppet.remote, false); Ice.AddRemote(relayed, ValueNone) ]

                  // Each connection takes 10 ms, and ends at once.
                  let rec attempts now outputs agent =
                      match streams outputs with
                      | [ struct (port, _, target) ] ->
                          let path = { Local = port; Remote = target }
                          let later = now + Duration.milliseconds 10L

                          let struct (agent, outputs) =
                              Puppet.feed later [ Ice.StreamOpened(port, own); Ice.StreamClosed path ] agent

                          Expect.equal (Puppet.requests outputs).Length 1 "its check"
                          Expect.isEmpty (streams outputs) "not at once"
                          now :: attempts later [] agent
                      | [] when Ice.deadline agent < Puppet.start + Duration.seconds 60L ->
                          let now = Ice.deadline agent
                          let struct (agent, outputs) = Ice.step now Ice.Tick agent
                          attempts now outputs agent
                      | [] -> []
                      | other -> failtestf "one at a time, not %d" other.Length

                  let times = attempts Puppet.start outputs agent

                  for earlier, later in List.pairwise times do
                      let ended = earlier + Duration.milliseconds 10L

                      let least =
                          ended - Puppet.start
                          |> max (Duration.milliseconds 50L)
                          |> min (Duration.seconds 4L)

                      Expect.isGreaterThanOrEqual (later - ended) least "as long again as it has taken so far"
                      Expect.isLessThanOrEqual (later - ended) (least * 3L / 2L) "and half as much more at most"

                  let last = List.last times - Puppet.start
                  Expect.isGreaterThan last (Duration.seconds 35L) "as long as an answer may be under way"
                  Expect.isLessThan last (Duration.seconds 44L) "and no longer"

                  match streams outputs with
                  | [ struct (port, _, target) ] ->
                      let struct (agent, outputs) =
                          Puppet.feed Puppet.start [ Ice.StreamRefused { Local = port; Remote = target } ] agent

                      Expect.isEmpty (streams outputs) "no other"
                      Expect.isTrue (hasFailed agent) "failed, and none rests"
                  | other -> failtestf "one stream, not %d" other.Length)

          testCase
              "simultaneous-open, ports below 1024 that are not the web's, and addresses of another kind are not connected to"
              (fun () ->
                  let at port = { Puppet.at 2uy with Port = port }

                  let struct (_, outputs) =
                      Puppet.created IceRole.Controlling
                      |> Puppet.feed
                          Puppet.start
                          [ Ice.SetRemote(Puppet.remote, false)
                            Ice.AddRemote(
                                { passive (at 5000us) with
                                    Transport = CandidateTransport.Tcp TcpType.SimultaneousOpen },
                                ValueNone
                            )
                            Ice.AddRemote(passive (at 25us), ValueNone)
                            Ice.AddRemote(passive (at 0us), ValueNone)
                            Ice.AddRemote(
                                passive
                                    { Address = Address.v4 127uy 0uy 0uy 1uy
                                      Port = 5000us },
                                ValueNone
                            )
                            Ice.AddRemote(passive (at 443us), ValueNone) ]

                  Expect.equal
                      [ for struct (_, _, target) in streams outputs -> target.Port ]
                      [ 443us ]
                      "the web's alone"

                  Expect.equal (Puppet.drops outputs) [ Drop.Unsupported ] "simultaneous-open is counted")

          testCase "a passive candidate with a .local name is resolved first" (fun () ->
              let struct (agent, outputs) =
                  Puppet.created IceRole.Controlling
                  |> Puppet.feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, false)
                        Ice.AddRemote(
                            { passive (Puppet.at 2uy) with
                                Host = CandidateHost.Name "x.local" },
                            ValueNone
                        ) ]

              Expect.isEmpty (streams outputs) "not yet"

              let struct (_, outputs) =
                  Puppet.feed Puppet.start [ Ice.Resolved("x.local", ValueSome (Puppet.at 2uy).Address) ] agent

              Expect.equal (streams outputs).Length 1 "now")

          testCase
              "a peer that tells a thousand passive candidates makes us open 64 streams, all closed in the end"
              (fun () ->
                  let endpoint i =
                      { Address = Address.v4 10uy 0uy (byte (i >>> 8)) (byte i)
                        Port = 6000us }

                  let mutable agent = Puppet.created IceRole.Controlling
                  let mutable all = []

                  let feed now inputs =
                      let struct (next, outputs) = Puppet.feed now inputs agent
                      agent <- next
                      all <- all @ outputs

                  feed
                      Puppet.start
                      [ Ice.SetRemote(Puppet.remote, false)
                        for i in 1..1000 do
                            Ice.AddRemote(
                                { passive (endpoint (i + 300)) with
                                    Priority = uint32 i
                                    Foundation = string i },
                                ValueNone
                            ) ]

                  Expect.isLessThanOrEqual (streams all).Length 12 "at once"

                  while Ice.deadline agent < Puppet.start + Duration.seconds 20L do
                      feed (Ice.deadline agent) [ Ice.Tick ]

                  let opened = [ for struct (port, _, _) in streams all -> port ]
                  Expect.equal opened.Length 64 "bounded"
                  Expect.equal (List.distinct opened).Length 64 "numbers of their own"

                  Expect.isTrue
                      (opened |> List.forall (fun port -> port < 0<port> && int port % 2 <> 0))
                      "negative and odd"

                  feed (Puppet.start + Duration.seconds 21L) [ Ice.Close ]

                  Expect.equal
                      (List.sort (ports all |> List.filter (fun p -> p < 0<port>)))
                      (List.sort opened)
                      "closed")

          testCase "streams of a restart have other numbers than those before" (fun () ->
              let agent, path = calling IceRole.Controlling

              let struct (agent, outputs) =
                  Puppet.feed
                      Puppet.start
                      [ Ice.SetLocal(World.credentials "fresh")
                        Ice.Gather
                        Ice.PortOpened(2<port>, { Puppet.socket with Port = 4001us }, 60000)
                        Ice.SetRemote(World.credentials "other", false)
                        Ice.AddRemote(passive (Puppet.at 2uy), ValueNone) ]
                      agent

              match streams outputs with
              | [ struct (port, _, _) ] -> Expect.notEqual port path.Local "another"
              | other -> failtestf "one stream, not %d" other.Length

              ignore agent)

          testPropertyWithConfig (runs 4) "with UDP blocked two agents connect by TCP, whoever listens, within 5 s"
          <| fun (seed: int64) (aListens: bool) (natted: bool) ->
              let world =
                  if natted then
                      // Who listens is on the Internet, the other behind a NAT.
                      let a, b =
                          if aListens then
                              ValueNone, ValueSome Symmetric
                          else
                              ValueSome Symmetric, ValueNone

                      worldOf seed cut (struct (a, b))
                  else
                      direct seed cut

              let world =
                  world
                  |> listening (if aListens then A else B)
                  |> World.negotiate "1"
                  |> until 5L overTcp

              Expect.isTrue (overTcp world) "selected over TCP, both ends of one connection"
              true

          testCase "where both listen two agents agree on one connection" (fun () ->
              for seed in 1L .. 20L do
                  let world =
                      direct seed cut
                      |> listening A
                      |> listening B
                      |> World.negotiate "1"
                      |> until 5L overTcp

                  Expect.isTrue (overTcp world) "selected over TCP")

          testCase "where UDP passes it is selected, and the streams of who nominates are closed" (fun () ->
              let world =
                  direct 1L local
                  |> listening A
                  |> listening B
                  |> World.negotiate "1"
                  |> upWithin 5L
                  |> World.runFor (Duration.seconds 5L)

              Expect.isFalse (isTcp (World.selected A world)) "UDP"
              Expect.equal (List.sort (closed A world)) (List.sort (opened A world)) "none is left open")

          testCase "consent holds over TCP, and data's path stays, for minutes" (fun () ->
              let world = direct 3L cut |> listening B |> World.negotiate "1" |> until 5L overTcp

              let before = remotePath A world
              let world = World.runFor (Duration.seconds 180L) world
              Expect.isTrue (overTcp world) "still"
              Expect.equal (remotePath A world) before "the same"
              Expect.equal (Tcp.count world.Tcp) 1 "the others are closed")

          testCase "a connection that ends in mid-session is made anew by who is active" (fun () ->
              for seed in 1L .. 10L do
                  let world =
                      direct seed cut |> listening B |> World.negotiate "1" |> until 5L overTcp

                  let before = remotePath A world

                  let world =
                      { world with
                          Tcp = Tcp.cut world.Now world.Tcp }
                      |> World.runFor (Duration.milliseconds 50L)

                  Expect.isFalse (overTcp world) "gone"
                  let world = until 5L overTcp world
                  Expect.isTrue (overTcp world) "again"
                  Expect.notEqual (remotePath A world) before "another stream")

          testCase "where TCP is swallowed, too, both fail in time" (fun () ->
              let world =
                  { direct 1L cut with
                      Tcp = Tcp.create (Duration.milliseconds 20L) |> Tcp.carrying false }
                  |> listening B
                  |> World.negotiate "1"
                  |> until 200L (fun w -> lastState A w = IceTransportState.Failed)

              Expect.equal (lastState A world) IceTransportState.Failed "failed"
              Expect.equal (List.sort (closed A world)) (List.sort (opened A world)) "none is left open") ]
