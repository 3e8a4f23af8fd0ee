module Hybrid.WebRtc.PropertyTests.Stack.HostTests

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Stack.Kinds
open Hybrid.WebRtc.PropertyTests.Stack.PortTests

/// Writes down what a peer tells, and throws where a test says so.
type internal Sink() =
    member val Told = ConcurrentQueue<string>()
    member val Throws = false with get, set

    member s.Count what =
        s.Told |> Seq.filter ((=) what) |> Seq.length

    interface IPeerSink with
        member s.Raise _ =
            if s.Throws then
                raise (InvalidOperationException "planted")

            s.Told.Enqueue "raise"

        member s.Reply(command, _) =
            s.Told.Enqueue("reply " + string command)

        member s.Refuse(command, _) =
            s.Told.Enqueue("refuse " + string command)

        member s.Message(_, _, payload) =
            s.Told.Enqueue("message of " + string payload.Length)

        member _.Rtp(_, _, _) = ()
        member _.Settle() = ()

        member s.Ended bug =
            s.Told.Enqueue(if isNull bug then "ended" else "ended by a bug")

/// A stream in memory that is written by one thread and looked at by another.
type internal Tape() =
    inherit MemoryStream()
    let gate = obj ()

    override _.Write(buffer: byte[], offset: int, count: int) =
        System.Threading.Monitor.Enter gate
        base.Write(buffer, offset, count)
        System.Threading.Monitor.Exit gate

    member tape.Snapshot() = lock gate (fun () -> tape.ToArray())

    /// Whether these octets are on it.
    member tape.Has(octets: byte[]) =
        tape.Snapshot().AsSpan().IndexOf(ReadOnlySpan octets) >= 0

let internal loopback (a: IPAddress) = a.Equals IPAddress.Loopback

/// Ports on 127.0.0.1, of a kind, and loops for them.
let internal onLoopback (kind: Kind) (leases: LeasePool) (loops: LoopGroup) =
    StackOptions(
        Sockets = kind.Sockets,
        Loops = loops,
        Leases = leases,
        IncludeLoopback = true,
        AddressFilter = Func<IPAddress, bool> loopback
    )

let internal start options sink =
    PeerHost.Start(JournalTests.config (), options, sink)

let internal perform (host: PeerHost) outputs =
    host.Loop.Post(Action(fun () -> host.Perform outputs))

/// The inputs that a journal holds.
let internal inputs (journal: Tape) =
    let octets = journal.Snapshot()

    if octets.Length = 0 then
        []
    else
        [ for struct (_, input) in JournalReader.Inputs(new MemoryStream(octets)) -> input ]

let internal stop (host: PeerHost) =
    Expect.isTrue (host.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds Outside.Patience)) "stops"

let private refused (task: Task<Answer>) =
    try
        task.GetAwaiter().GetResult() |> ignore
        failtest "was answered"
    with :? MistakeException as e ->
        e.Mistake.Name

let private commands =
    testList
        "commands"
        [ testCase "an asked command's reply comes to the asker, another's to the sink, in order" (fun () ->
              let sink = Sink()
              let host = start StackOptions.Default sink
              let mutable id = 0L
              // The stub of a command that the core answers later: what it answers with is performed by hand.
              let asked =
                  host.AskAsync(fun n ->
                      id <- n
                      Consumed 0)

              let turned =
                  host.AskAsync(fun n ->
                      perform host [ Refuse(n, Mistake.create ErrorName.TypeError "no") ]
                      Consumed 0)

              perform
                  host
                  [ Reply(id, Done)
                    Reply(999L, Done)
                    Refuse(998L, Mistake.create ErrorName.TypeError "") ]

              Expect.isTrue (asked.Wait(TimeSpan.FromSeconds Outside.Patience)) "answered"
              Expect.equal (refused turned) ErrorName.TypeError "refused"
              stop host
              Expect.sequenceEqual sink.Told [ "reply 999"; "refuse 998"; "ended" ] "the sink heard the rest")

          testCase "asking waits on any thread, and on the peer's own loop is answered in place" (fun () ->
              let host = start StackOptions.Default (Sink())

              let answer (n: int64) =
                  perform host [ Reply(n, Done) ]
                  Consumed 0

              Expect.isTrue (host.Ask(Func<_, _> answer).IsDone) "from a thread of ours"
              let inPlace = TaskCompletionSource<exn | null>()

              host.Loop.Post(
                  Action(fun () ->
                      try
                          host.Ask(Func<_, _>(fun _ -> Consumed 0)) |> ignore
                          inPlace.SetResult null
                      with e ->
                          inPlace.SetResult e)
              )

              // The core answers no Consumed: what matters is that the loop did not wait for itself.
              Expect.isTrue (inPlace.Task.Result :? InvalidOperationException) "no deadlock"
              stop host)

          testCase "once over, commands are refused, waiting ones too, and inputs come to nothing" (fun () ->
              let sink = Sink()
              let host = start StackOptions.Default sink
              let waiting = host.AskAsync(fun _ -> Consumed 0)
              stop host
              Expect.equal (refused waiting) ErrorName.InvalidStateError "waiting"
              Expect.equal (refused (host.AskAsync(fun _ -> Consumed 0))) ErrorName.InvalidStateError "later"
              Expect.isFalse (host.Post Tick) "posted"
              stop host
              Expect.sequenceEqual sink.Told [ "ended" ] "once") ]

let private ends =
    testList
        "ends"
        [ testCase "a sink that throws ends its own peer, and no other on the loop" (fun () ->
              let options = StackOptions(Loops = LoopGroup(1))
              let bad, good = Sink(Throws = true), Sink()
              let badHost, goodHost = start options bad, start options good
              perform badHost [ Raise NegotiationNeeded; Raise NegotiationNeeded ]
              perform goodHost [ Raise NegotiationNeeded ]
              Expect.isTrue (badHost.Completion.Wait(TimeSpan.FromSeconds Outside.Patience)) "over"
              stop goodHost
              Expect.sequenceEqual bad.Told [ "ended by a bug" ] "told why"
              Expect.sequenceEqual good.Told [ "raise"; "ended" ] "untouched"
              Expect.equal options.Loops.Loops[0].Members 0 "both have left") ]

let private portsOpened (journal: Tape) =
    [ for input in inputs journal do
          match input with
          | PortOpened(port, local, _) -> struct (int port, local)
          | _ -> () ]

let private ports (kind: Kind) =
    testList
        ("ports, " + kind.Name)
        [ testCase "the core's own end closes the ports and gives every lease back" (fun () ->
              let leases = LeasePool()
              let loops = kind.Loops 1
              let options = onLoopback kind leases loops
              let sink = Sink()
              let host = start options sink
              perform host [ OpenPorts ]
              eventually "ports are bound" (fun () -> openPorts loops > 0)
              perform host [ Ended ]
              Expect.isTrue (host.Completion.Wait(TimeSpan.FromSeconds Outside.Patience)) "over"
              eventually "ports are closed" (fun () -> openPorts loops = 0)
              Expect.equal leases.OnLoan 0 "every lease is back"
              Expect.equal (Seq.last sink.Told) "ended" "nothing follows"
              Expect.equal (sink.Count "ended") 1 "told once")

          testCase "200 peers with their ports come and go in one process, and nothing is left" (fun () ->
              let leases = LeasePool()
              let loops = kind.Loops 2
              let options = onLoopback kind leases loops

              for _ in 1..4 do
                  let hosts = [ for _ in 1..50 -> start options (Sink()) ]

                  for host in hosts do
                      perform host [ OpenPorts ]

                  eventually "all ports are open" (fun () -> openPorts loops = 50)

                  for host in hosts do
                      stop host

                  eventually "all ports are closed" (fun () -> openPorts loops = 0)
                  Expect.equal leases.OnLoan 0 "every lease is back"

              Expect.sequenceEqual [ for loop in loops.Loops -> loop.Members ] [ 0; 0 ] "no member is left"
              // Their threads end by themselves, without members, after a while.
              eventually "the threads end" (fun () -> loops.Loops |> Seq.forall (fun loop -> not loop.IsRunning)))

          testCase
              "each call for ports brings new ones, numbered apart; a range that has no more leaves the former"
              (fun () ->
                  let mutable error = ""
                  let probe = kind.Loop false
                  let options = kind.Options(LeasePool())

                  use taken =
                      PortSet.TryBind(1, IPAddress.Loopback, PortRange(), probe, Owner(), options, &error)
                      |> nonNull

                  let run (range: PortRange) =
                      let journal = new Tape()

                      let options =
                          StackOptions(
                              IncludeLoopback = true,
                              AddressFilter = Func<IPAddress, bool> loopback,
                              Sockets = kind.Sockets,
                              Loops = kind.Loops 1,
                              Ports = range,
                              Journal = (fun () -> journal)
                          )

                      let host = start options (Sink())

                      for _ in 1..2 do
                          perform host [ OpenPorts ]

                      eventually "both calls are answered" (fun () ->
                          (inputs journal |> List.filter _.IsPortsComplete |> List.length) = 2)

                      stop host
                      inputs journal |> List.filter _.IsPortsComplete |> List.length, portsOpened journal

                  let complete, opened = run (PortRange())
                  Expect.equal complete 2 "complete both times"
                  Expect.equal opened.Length 2 "one port each time"
                  Expect.notEqual (opened |> List.distinct |> List.length) 1 "apart"
                  let complete, opened = run (PortRange(taken.Local.Port, taken.Local.Port))
                  Expect.equal (complete, opened) (2, []) "no port to be had, and yet complete")

          testCase "datagrams go out by a port and come in by it" (fun () ->
              let journal = new Tape()

              let options =
                  StackOptions(
                      IncludeLoopback = true,
                      AddressFilter = Func<IPAddress, bool> loopback,
                      Sockets = kind.Sockets,
                      Loops = kind.Loops 1,
                      Journal = (fun () -> journal)
                  )

              let host = start options (Sink())

              use remote =
                  new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

              remote.ReceiveTimeout <- 20_000
              remote.Bind(IPEndPoint(IPAddress.Loopback, 0))

              let path =
                  { Local = 1<port>
                    Remote = Addresses.ToCore(nonNull remote.LocalEndPoint :?> IPEndPoint) }

              perform host [ OpenPorts ]
              let buffer = Array.zeroCreate<byte> 100
              let mutable from: EndPoint = IPEndPoint(IPAddress.Any, 0)
              let mutable size = 0
              remote.ReceiveTimeout <- 100

              // Until the port is open, what is sent is dropped: as on any network.
              eventually "a datagram arrives" (fun () ->
                  host.Loop.Post(
                      Action(fun () ->
                          (host :> IDatagramShell).Send(path, ReadOnlySpan [| 1uy; 2uy; 3uy |], false, false))
                  )

                  try
                      size <- remote.ReceiveFrom(buffer, &from)
                      true
                  with :? SocketException ->
                      false)

              Expect.sequenceEqual buffer[.. size - 1] [| 1uy; 2uy; 3uy |] "the octets"
              remote.SendTo([| 4uy; 5uy |], from) |> ignore
              let told () = journal.Has [| 2uy; 4uy; 5uy |]
              eventually "the answer is an input" told
              stop host

              let arrived =
                  [ for input in inputs journal do
                        match input with
                        | Datagram(path, bytes) -> struct (path, bytes.ToArray())
                        | _ -> () ]

              Expect.equal arrived [ struct (path, [| 4uy; 5uy |]) ] "with its path")

          testCase "a shared port gives each peer what comes along the paths that it sent by" (fun () ->
              use shared = SharedPort.Open(0us, onLoopback kind (LeasePool()) (kind.Loops 1))

              let journals = [ for _ in 1..2 -> new Tape() ]

              let hosts =
                  [ for journal in journals ->
                        start (StackOptions(SharedPort = shared, Journal = (fun () -> journal))) (Sink()) ]

              let remotes =
                  [ for _ in 1..3 do
                        let socket =
                            new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

                        socket.Bind(IPEndPoint(IPAddress.Loopback, 0))
                        socket ]

              let path (remote: Socket) =
                  { Local = 1<port>
                    Remote = Addresses.ToCore(nonNull remote.LocalEndPoint :?> IPEndPoint) }

              for host, remote in List.zip hosts remotes[..1] do
                  perform host [ OpenPorts ]

                  host.Loop.Post(
                      Action(fun () ->
                          host.Loop.Post(
                              Action(fun () ->
                                  (host :> IDatagramShell).Send(path remote, ReadOnlySpan [| 0uy |], false, false))
                          ))
                  )

              for remote in remotes[..1] do
                  remote.Receive(Array.zeroCreate<byte> 10) |> ignore

              let port = IPEndPoint(IPAddress.Loopback, shared.Port)

              for remote in List.rev remotes do
                  remote.SendTo([| 7uy; 7uy |], port) |> ignore

              for journal in journals do
                  eventually "each hears something" (fun () -> journal.Has [| 2uy; 7uy; 7uy |])

              List.iter stop hosts

              for journal, remote in List.zip journals remotes[..1] do
                  let heard =
                      [ for input in inputs journal do
                            match input with
                            | Datagram(path, _) -> path
                            | _ -> () ]

                  Expect.equal heard [ path remote ] "its own remote, and no stranger"

              for remote in remotes do
                  remote.Dispose()) ]

let private names =
    testList
        "names"
        [ testCase "servers and candidates are resolved, or not, and the core is told" (fun () ->
              let journal = new Tape()

              let quiet =
                  Names.MulticastDns(Names.MulticastDnsOptions(Patience = List<TimeSpan>()))

              let resolver = Resolver(ResolverOptions(MulticastDns = quiet))

              let host =
                  start (StackOptions(Journal = (fun () -> journal), Resolver = resolver)) (Sink())

              perform host [ ResolveServer "stun:192.0.2.1"; ResolveServer "bogus"; ResolveName "a.local" ]

              eventually "all three are told" (fun () ->
                  let text = Text.Encoding.ASCII.GetString(journal.Snapshot())

                  text.Contains "bogus"
                  && text.Contains "stun:192.0.2.1"
                  && text.Contains "a.local")

              stop host

              let told =
                  [ for input in inputs journal do
                        match input with
                        | ServerResolved(url, endpoints) -> url + " " + Endpoint.toText endpoints[0]
                        | ServerFailed(url, _) -> url + " failed"
                        | NameResolved(name, address) -> name + " " + string address.IsNone
                        | _ -> () ]

              Expect.containsAll told [ "stun:192.0.2.1 192.0.2.1:3478"; "bogus failed"; "a.local True" ] "told") ]

/// A peer that keeps its candidates until the other side can take them.
type internal Talker() =
    let candidates = ConcurrentQueue<CandidateInit>()
    member val Received = ConcurrentQueue<string>()
    member val Opened = ConcurrentQueue<ChannelHandle>()
    member val Gathered = false with get, set
    member _.Candidates = candidates

    interface IPeerSink with
        member t.Raise event =
            match event with
            | Event.IceCandidate(ValueSome found) -> candidates.Enqueue found.Candidate
            | Event.IceCandidate ValueNone -> t.Gathered <- true
            | Event.ChannelOpened(handle, _) -> t.Opened.Enqueue handle
            | Event.ChannelAnnounced info -> t.Opened.Enqueue info.Handle
            | _ -> ()

        member _.Reply(_, _) = ()
        member _.Refuse(_, _) = ()

        member t.Message(_, _, payload) =
            t.Received.Enqueue(Text.Encoding.UTF8.GetString payload.Span)

        member _.Rtp(_, _, _) = ()
        member _.Settle() = ()
        member _.Ended _ = ()

let private describe (answer: Answer) =
    match answer with
    | Created description -> description
    | _ -> failtest "no description"

/// Two hosts that have opened a channel over real sockets.
let internal connect (optionsA: StackOptions) (optionsB: StackOptions) =
    let sinkA, sinkB = Talker(), Talker()
    let a, b = start optionsA sinkA, start optionsB sinkB

    let init =
        { Label = "chat"
          Protocol = ""
          Ordered = true
          MaxPacketLifeTime = ValueNone
          MaxRetransmits = ValueNone
          Negotiated = false
          Id = ValueNone
          Priority = Priority.Low }

    a.Ask(fun n -> CreateDataChannel(n, init)) |> ignore
    let offer = a.Ask(fun n -> CreateOffer(n, false)) |> describe
    a.Ask(fun n -> SetLocalDescription(n, ValueSome offer)) |> ignore
    b.Ask(fun n -> SetRemoteDescription(n, offer)) |> ignore
    let answer = b.Ask(fun n -> CreateAnswer n) |> describe
    b.Ask(fun n -> SetLocalDescription(n, ValueSome answer)) |> ignore
    a.Ask(fun n -> SetRemoteDescription(n, answer)) |> ignore
    eventually "candidates are gathered" (fun () -> sinkA.Gathered && sinkB.Gathered)

    for candidate in sinkA.Candidates do
        b.Ask(fun n -> AddIceCandidate(n, candidate)) |> ignore

    for candidate in sinkB.Candidates do
        a.Ask(fun n -> AddIceCandidate(n, candidate)) |> ignore

    eventually "the channel opens" (fun () -> sinkA.Opened.Count = 1 && sinkB.Opened.Count = 1)
    struct (a, sinkA, b, sinkB)

let internal say (host: PeerHost) (sink: Talker) (text: string) =
    host.Post(Send(Seq.head sink.Opened, true, ReadOnlyMemory(Text.Encoding.UTF8.GetBytes text)))
    |> ignore

let private close (host: PeerHost) =
    host.Ask(fun n -> Close n) |> ignore
    Expect.isTrue (host.Completion.Wait(TimeSpan.FromSeconds Outside.Patience)) "over"

let private sessions (kind: Kind) =
    testList
        ("sessions, " + kind.Name)
        [ testCase "two hosts talk over sockets, and both their journals replay with every output equal" (fun () ->
              let leases = LeasePool()
              let loops = kind.Loops 2
              let tapes = [ new Tape(); new Tape() ]

              let options =
                  [ for tape in tapes ->
                        StackOptions(
                            Leases = leases,
                            Sockets = kind.Sockets,
                            Loops = loops,
                            IncludeLoopback = true,
                            AddressFilter = Func<IPAddress, bool> loopback,
                            Journal = (fun () -> tape)
                        ) ]

              let struct (a, sinkA, b, sinkB) = connect options[0] options[1]

              for i in 1..100 do
                  say a sinkA ("to b " + string i)
                  say b sinkB ("to a " + string i)

              eventually "all messages arrive" (fun () -> sinkA.Received.Count = 100 && sinkB.Received.Count = 100)
              Expect.sequenceEqual sinkB.Received [ for i in 1..100 -> "to b " + string i ] "in order"
              close a
              stop b
              eventually "all ports are closed" (fun () -> openPorts loops = 0)

              // Whoever sealed the packets, everybody replays them.
              for tape, choice in List.allPairs tapes [ CipherChoice.Automatic; CipherChoice.Platform ] do
                  let result =
                      JournalReplay.Run(new MemoryStream(tape.Snapshot()), SystemCiphers.Of choice)

                  Expect.isNull result.Difference "no difference"
                  Expect.isTrue result.IsWhole "to the end"
                  Expect.isGreaterThan result.Outputs 150L "100 messages and more")

          testCase "many connections share one port, each with its own words" (fun () ->
              use shared = SharedPort.Open(0us, onLoopback kind (LeasePool()) (kind.Loops 1))

              let server = StackOptions(SharedPort = shared)
              let client = onLoopback kind (LeasePool()) (kind.Loops 1)
              let pairs = [ for _ in 1..5 -> connect client server ]

              for i, struct (a, sinkA, b, sinkB) in List.indexed pairs do
                  say a sinkA ("client " + string i)
                  say b sinkB ("server " + string i)

              for i, struct (_, sinkA, _, sinkB) in List.indexed pairs do
                  eventually "both hear" (fun () -> sinkA.Received.Count = 1 && sinkB.Received.Count = 1)
                  Expect.sequenceEqual sinkA.Received [ "server " + string i ] "the server's own words"
                  Expect.sequenceEqual sinkB.Received [ "client " + string i ] "the client's own words"

              for struct (a, _, b, _) in pairs do
                  close a
                  stop b

              eventually "no peer is left on the loop" (fun () -> shared.Lanes[0].Loop.Members = 0)) ]

let private consumed =
    testCase "what is consumed without the core's knowing leaves room for the largest message" (fun () ->
        let sizes = [ 1; 16_384; 65_536; 262_144; 270_336; 8 <<< 20; 1 <<< 30 ]

        for window, message in List.allPairs sizes sizes do
            let limit =
                PeerHost.ConsumedLimit
                    { JournalTests.config().Options with
                        ReceiveWindow = window
                        MaxMessageSize = message }

            // The window as SCTP has it.
            let window = max (int64 window) (2L * int64 message)
            Expect.isLessThanOrEqual limit (window / 16L) $"a part of {window}"

            if limit > 0L then
                Expect.isGreaterThan (window - limit) (int64 message + 4_096L) $"{message} in {window}"
            else
                Expect.isLessThan window (int64 message + 8_192L) $"only where a message fills {window}")

let tests =
    testList
        "Hosts"
        [ consumed
          commands
          ends
          names
          yield! List.map ports both
          yield! List.map sessions both ]
