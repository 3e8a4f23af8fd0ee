/// What the kernel may refuse, cut off or lose: each is planted, and nothing that was promised reliable is lost by it.
module Hybrid.WebRtc.PropertyTests.Stack.PortFaultTests

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Reflection
open System.Runtime.InteropServices
open System.Threading
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.Stack.Ports.Linux
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Stack.Kinds
open Hybrid.WebRtc.PropertyTests.Stack.PortTests

let private again, noBuffers, inputOutput, messageSize, invalid, unreachable, gone =
    11, 105, 5, 90, 22, 101, 99

/// Fails the calls of one kind, for the first so many times.
let private failing (kind: KernelCall) (times: int) (error: int) =
    let left = ref times

    fun call ->
        if call = kind && Interlocked.Decrement left >= 0 then
            error
        else
            0

let private batchedPair (features: Features) (options: StackOptions) =
    let loop = Loop(TimeProvider.System, false, kernel features)
    let struct (a, _, b, there) = pairOn loop options
    struct (loop, a :?> LinuxUdpPort, b :?> LinuxUdpPort, there)

/// Sends so many packets in one turn, of a size that lets them form a run, and answers what arrived.
let private burst (loop: Loop) (a: LinuxUdpPort) (b: LinuxUdpPort) (there: Owner) count =
    for i in 1..count do
        send a b.Local (Array.create 1_000 (byte i))

    turnUntil loop "all arrive" (fun () -> there.Datagrams.Count = count)
    [ for struct (_, bytes) in there.Datagrams -> int bytes[0], bytes.Length ]

let private inOrder count = [ for i in 1..count -> i, 1_000 ]

/// Sends one datagram and closes the port, in one turn of its loop.
let private lastWords (loop: Loop) (a: LinuxUdpPort) (b: LinuxUdpPort) =
    loop.Post(
        Action(fun () ->
            send a b.Local [| 1uy |]
            a.Dispose())
    )

    loop.Turn() |> ignore

let private sends =
    testList
        "sends"
        [ for error, name in [ again, "EAGAIN"; noBuffers, "ENOBUFS" ] do
              for call in [ KernelCall.SendSegments; KernelCall.Send ] do
                  testCase
                      $"{name} of {call} keeps what was not taken, and it leaves in order once there is room"
                      (fun () ->
                          let struct (loop, a, b, there) =
                              batchedPair
                                  { everything with
                                      Gso = (call = KernelCall.SendSegments)
                                      Fault = failing call 3 error }
                                  StackOptions.Default

                          Expect.equal (burst loop a b there 40) (inOrder 40) "everything, in order"
                          Expect.isTrue a.Kept.IsEmpty "nothing is kept any more"
                          Expect.equal a.Lost 0L "nothing lost"
                          a.Dispose()
                          b.Dispose())

          testCase
              "a socket that never has room costs bounded memory, its loop never blocks, and the loss is counted"
              (fun () ->
                  let struct (loop, a, b, there) =
                      batchedPair
                          { everything with
                              Fault = failing KernelCall.SendSegments Int32.MaxValue again }
                          StackOptions.Default

                  for i in 1..1_000 do
                      send a b.Local (Array.create 1_000 (byte i))

                  loop.Turn() |> ignore
                  Expect.isGreaterThan a.Lost 600L "what does not fit into the bound"
                  Expect.isLessThan a.Lost 1_000L "what fits is kept"
                  Expect.isEmpty there.Datagrams "nothing left"
                  a.Dispose()
                  b.Dispose())

          for error, name, refusals in [ inputOutput, "EIO", 1; invalid, "EINVAL", 3; messageSize, "EMSGSIZE", 3 ] do
              testCase
                  $"{name} of a run: its datagrams leave singly, and after {refusals} the port forms no more runs"
                  (fun () ->
                      let struct (loop, a, b, there) =
                          batchedPair
                              { everything with
                                  Fault = failing KernelCall.SendSegments Int32.MaxValue error }
                              StackOptions.Default

                      Expect.equal a.Segments LinuxOutbox.MaxSegments "it forms runs"

                      for _ in 1..refusals do
                          there.Datagrams.Clear()
                          Expect.equal (burst loop a b there 10) (inOrder 10) "all, in order"

                      Expect.equal a.Segments 1 "and no more"
                      there.Datagrams.Clear()
                      Expect.equal (burst loop a b there 10) (inOrder 10) "all, in order"
                      a.Dispose()
                      b.Dispose())

          testCase "one run that is refused among many says nothing about the port" (fun () ->
              let call = ref 0

              let everyThird kind =
                  if kind = KernelCall.SendSegments then
                      if Interlocked.Increment call % 3 = 0 then
                          messageSize
                      else
                          0
                  else
                      0

              let struct (loop, a, b, there) =
                  batchedPair { everything with Fault = everyThird } StackOptions.Default

              for _ in 1..12 do
                  there.Datagrams.Clear()
                  Expect.equal (burst loop a b there 10) (inOrder 10) "all, in order"

              Expect.equal a.Segments LinuxOutbox.MaxSegments "it still forms runs"
              a.Dispose()
              b.Dispose())

          testCase
              "there is no room in the midst of datagrams that leave singly: the rest follows, none twice"
              (fun () ->
                  let singles = ref 0

                  let fault kind =
                      if kind = KernelCall.SendSegments then
                          inputOutput
                      elif kind = KernelCall.Send then
                          if Interlocked.Increment singles = 4 then again else 0
                      else
                          0

                  let struct (loop, a, b, there) =
                      batchedPair { everything with Fault = fault } StackOptions.Default

                  Expect.equal (burst loop a b there 10) (inOrder 10) "all, in order"
                  a.Dispose()
                  b.Dispose())

          testCase "last words that there was no room for are tried once more as the port closes" (fun () ->
              let struct (loop, a, b, there) =
                  batchedPair
                      { everything with
                          Fault = failing KernelCall.Send 2 again }
                      StackOptions.Default

              lastWords loop a b
              turnUntil loop "they arrive" (fun () -> there.Datagrams.Count = 1)
              Expect.equal a.Lost 0L "not lost"
              b.Dispose())

          testCase "last words that never find room are counted" (fun () ->
              let struct (loop, a, b, there) =
                  batchedPair
                      { everything with
                          Fault = failing KernelCall.Send Int32.MaxValue again }
                      StackOptions.Default

              lastWords loop a b
              Expect.isEmpty there.Datagrams "nothing left"
              Expect.equal a.Lost 1L "counted"
              Expect.isTrue a.Kept.IsEmpty "nothing is kept"
              b.Dispose())

          testCase "what was kept leaves with the leave to be fragmented that it was committed with" (fun () ->
              let socket: Socket option ref = ref None
              let seen = ResizeArray<int>()

              let fault kind =
                  match kind, socket.Value with
                  | KernelCall.Send, Some socket ->
                      let octets = Array.zeroCreate<byte> 4
                      // IP_MTU_DISCOVER: IP_PMTUDISC_DONT is 0, IP_PMTUDISC_PROBE 3.
                      socket.GetRawSocketOption(0, 10, Span octets) |> ignore
                      seen.Add(BitConverter.ToInt32(octets, 0))
                      if seen.Count = 1 then again else 0
                  | _ -> 0

              let struct (loop, a, b, there) =
                  batchedPair { everything with Fault = fault } StackOptions.Default

              let field =
                  typeof<LinuxUdpPort>.GetField("_socket", BindingFlags.Instance ||| BindingFlags.NonPublic)
                  |> nonNull

              socket.Value <- Some(nonNull (field.GetValue a) :?> Socket)
              a.AllowFragments true
              send a b.Local [| 1uy |]
              a.AllowFragments false
              send a b.Local [| 2uy |]
              turnUntil loop "both arrive" (fun () -> there.Datagrams.Count = 2)
              Expect.sequenceEqual seen [ 0; 0; 3 ] "the first, the first again, the second"
              a.Dispose()
              b.Dispose()) ]

let private noSpace = 28

let private watches =
    let watched name (test: StackOptions -> LoopGroup -> unit) =
        testCase name (fun () ->
            let kind =
                batchedBy
                    ""
                    { everything with
                        Fault = failing KernelCall.Watch 1 noSpace }

            let loops = kind.Loops 1
            test (HostTests.onLoopback kind (LeasePool()) loops) loops)

    testList
        "a port that the kernel has no room to watch"
        [ watched "is told to who begins it, and leaves its place to the next" (fun options loops ->
              let loop = loops.Loops[0]
              let a = bound IPAddress.Loopback loop (Owner()) options
              Expect.throwsT<IOException> a.Begin "refused"
              Expect.equal (openPorts loops) 0 "no place taken"
              a.Dispose()
              let b = bound IPAddress.Loopback loop (Owner()) options
              b.Begin()
              Expect.equal (openPorts loops) 1 "the next"
              b.Dispose()
              Expect.equal (openPorts loops) 0 "none left")

          watched "is not opened to its peer, whose ports are complete all the same" (fun options loops ->
              let journal = new HostTests.Tape()

              let host =
                  HostTests.start
                      (StackOptions(
                          Loops = loops,
                          IncludeLoopback = true,
                          AddressFilter = options.AddressFilter,
                          Journal = (fun () -> journal)
                      ))
                      (HostTests.Sink())

              let complete count =
                  HostTests.inputs journal |> List.filter _.IsPortsComplete |> List.length = count

              let opened () =
                  HostTests.inputs journal |> List.filter _.IsPortOpened |> List.length

              HostTests.perform host [ OpenPorts ]
              eventually "complete" (fun () -> complete 1)
              Expect.equal (opened ()) 0 "without it"
              HostTests.perform host [ OpenPorts ]
              eventually "complete again" (fun () -> complete 2)
              Expect.equal (opened ()) 1 "another one"
              HostTests.stop host
              Expect.equal (openPorts loops) 0 "none left")

          watched "leaves a shared port to its next try" (fun options loops ->
              use shared = SharedPort.Open(0us, options)
              Expect.equal (openPorts loops) shared.Lanes[0].Bound.Count "watched") ]

let private owners =
    testList
        "an owner with a bug"
        [ for kind in both do
              testCase $"its port goes on, {kind.Name}" (fun () ->
                  let loop = kind.Loop false
                  let struct (a, _, b, there) = pairOn loop (kind.Options(LeasePool()))

                  there.OnReceived <-
                      fun () ->
                          there.OnReceived <- ignore
                          invalidOp "planted"

                  send a b.Local [| 1uy |]
                  turnUntil loop "the first arrives" (fun () -> there.Datagrams.Count = 1)
                  send a b.Local [| 2uy |]
                  turnUntil loop "the second arrives" (fun () -> there.Datagrams.Count = 2)
                  a.Dispose()
                  b.Dispose()) ]

let private receives =
    testList
        "receives"
        [ testCase "a batch that is larger than its slot loses its tail alone, and is counted" (fun () ->
              let struct (loop, a, b, there) =
                  batchedPair { everything with SlotSize = 4_500 } StackOptions.Default

              for i in 1..10 do
                  send a b.Local (Array.create 1_000 (byte i))

              turnUntil loop "something arrives" (fun () -> there.Datagrams.Count > 0)

              let arrived =
                  [ for struct (_, bytes) in there.Datagrams -> int bytes[0], bytes.Length ]

              // Without GRO they come singly, and all fit.
              if b.Truncated > 0L then
                  Expect.equal arrived (inOrder 4) "four whole ones, and not the one across the cut"
                  Expect.equal b.Truncated 1L "counted"

              there.Datagrams.Clear()
              Expect.equal (burst loop a b there 3) (inOrder 3) "and the next are whole"
              a.Dispose()
              b.Dispose())

          testCase "a datagram that is larger than its slot is dropped, and counted" (fun () ->
              let struct (loop, a, b, there) =
                  batchedPair { everything with SlotSize = 4_500 } StackOptions.Default

              send a b.Local (Array.zeroCreate 5_000)
              // In a turn of its own: behind the large one in a run it would be the tail that is lost.
              loop.Turn() |> ignore
              send a b.Local (Array.create 1_000 1uy)
              turnUntil loop "the other one arrives" (fun () -> there.Datagrams.Count > 0)
              let struct (_, bytes) = Seq.exactlyOne there.Datagrams
              Expect.equal bytes.Length 1_000 "it alone"
              Expect.equal b.Truncated 1L "counted"
              a.Dispose()
              b.Dispose())

          testCase
              "errors of receives are borne for a while, then the port is broken, and its owner told once"
              (fun () ->
                  let on = ref true

                  let fault kind =
                      if kind = KernelCall.Receive && on.Value then 111 else 0

                  let struct (loop, a, b, there) =
                      batchedPair { everything with Fault = fault } StackOptions.Default

                  let turns count =
                      for _ in 1..count do
                          send a b.Local [| 1uy |]
                          loop.Turn() |> ignore

                  turns 20
                  Expect.isEmpty there.Reasons "borne"
                  on.Value <- false
                  turnUntil loop "one arrives" (fun () -> there.Datagrams.Count > 0)
                  on.Value <- true
                  turns 50
                  Expect.isEmpty there.Reasons "counted anew"
                  turns 200
                  Expect.equal there.Reasons.Count 1 "told once"
                  a.Dispose()
                  b.Dispose()) ]

[<DllImport("libc", EntryPoint = "unshare")>]
extern int private unshare(int flags)

let private cloneNewNetwork = 0x40000000

let private ip (arguments: string) =
    try
        use ran = Process.Start("ip", arguments)
        ran.WaitForExit()
        ran.ExitCode = 0
    with _ ->
        false

/// Does something on a thread with a network of its own, where there is an address 10.99.99.1; where we may.
let private inOwnNetwork (action: unit -> unit) =
    let failure: (exn | null) ref = ref null

    let run () =
        try
            if
                OperatingSystem.IsLinux()
                && unshare cloneNewNetwork = 0
                && ip "link set lo up"
                && ip "address add 10.99.99.1/32 dev lo"
            then
                action ()
        with e ->
            failure.Value <- e

    let thread = Thread run
    thread.Start()
    thread.Join()

    match failure.Value with
    | null -> ()
    | e -> raise e

let private interfaces =
    testList
        "a vanished interface"
        [ testCase "its address is not there any more: the port is broken, and the owner told once" (fun () ->
              let there = ref true

              let fault kind =
                  if there.Value then 0
                  elif kind = KernelCall.Send then invalid
                  elif kind = KernelCall.Bind then gone
                  else 0

              let loop =
                  Loop(TimeProvider.System, false, kernel { everything with Fault = fault })

              let struct (a, owner, b, _) = pairOn loop StackOptions.Default
              send a b.Local [| 1uy |]
              loop.Turn() |> ignore
              there.Value <- false

              for _ in 1..3 do
                  send a b.Local [| 1uy |]
                  loop.Turn() |> ignore

              Expect.equal owner.Reasons.Count 1 "told"
              a.Dispose()
              b.Dispose())

          testCase "a remote that cannot be reached does not break a port whose address is there" (fun () ->
              let fault kind =
                  if kind = KernelCall.Send then unreachable else 0

              let loop =
                  Loop(TimeProvider.System, false, kernel { everything with Fault = fault })

              let struct (a, owner, b, _) = pairOn loop StackOptions.Default

              for _ in 1..200 do
                  send a b.Local [| 1uy |]
                  loop.Turn() |> ignore

              Expect.isEmpty owner.Reasons "it is not"
              a.Dispose()
              b.Dispose())

          for kind in both do
              testCase $"the real thing, {kind.Name}: an address is taken from the machine" (fun () ->
                  inOwnNetwork (fun () ->
                      let loop = kind.Loop false
                      let owner, there = Owner(), Owner()
                      let options = kind.Options(LeasePool())
                      use a = bound (IPAddress.Parse "10.99.99.1") loop owner options
                      use b = bound (IPAddress.Parse "10.99.99.1") loop there options
                      a.Begin()
                      b.Begin()
                      send a b.Local [| 1uy |]
                      turnUntil loop "a datagram arrives" (fun () -> there.Datagrams.Count = 1)
                      Expect.isTrue (ip "address delete 10.99.99.1/32 dev lo") "deleted"

                      turnUntil loop "the port is broken" (fun () ->
                          send a b.Local [| 1uy |]
                          owner.Reasons.Count > 0)

                      loop.Turn() |> ignore
                      Expect.equal owner.Reasons.Count 1 "told once")) ]

/// A reliable, ordered transfer both ways between two hosts whose ports misbehave.
let private transfer (optionsA: StackOptions) (optionsB: StackOptions) =
    let struct (a, sinkA, b, sinkB) = HostTests.connect optionsA optionsB
    let count = 150

    let text n =
        String(char (0x41 + n % 26), 8_000) + string n

    for n in 1..count do
        HostTests.say a sinkA (text n)
        HostTests.say b sinkB (text (n + 1))

    let whole (sink: HostTests.Talker) shift =
        if not (SpinWait.SpinUntil((fun () -> sink.Received.Count = count), TimeSpan.FromSeconds Outside.Patience)) then
            failtest $"{sink.Received.Count} of {count} arrived"

        Expect.isTrue (Seq.forall2 (=) sink.Received (Seq.init count (fun i -> text (i + 1 + shift)))) "whole, in order"

    whole sinkB 0
    whole sinkA 1
    HostTests.stop a
    HostTests.stop b

let private reliable =
    let over name (kind: Kind) (change: StackOptions -> StackOptions) =
        testCase name (fun () ->
            let options () =
                change (HostTests.onLoopback kind (LeasePool()) (kind.Loops 1))

            transfer (options ()) (options ()))

    /// Fails one call in so many, with one of these errors; by dice, or a regular pattern could hit each retransmission.
    let oneIn n (errors: int list) =
        let dice = Random 1

        fun kind ->
            if kind = KernelCall.Bind || kind = KernelCall.Watch then
                0
            else
                lock dice (fun () ->
                    if dice.Next n = 0 then
                        errors[dice.Next errors.Length]
                    else
                        0)

    testSequenced
    <| testList
        "what was promised reliable arrives whole"
        [ for kind in both do
              over $"a receive buffer that overflows, {kind.Name}" kind (fun o ->
                  StackOptions(
                      Sockets = o.Sockets,
                      Loops = o.Loops,
                      IncludeLoopback = true,
                      AddressFilter = o.AddressFilter,
                      // As little as the system allows: a few packets.
                      ReceiveBuffer = 4_096
                  ))

              over $"a send buffer of the least size, {kind.Name}" kind (fun o ->
                  StackOptions(
                      Sockets = o.Sockets,
                      Loops = o.Loops,
                      IncludeLoopback = true,
                      AddressFilter = o.AddressFilter,
                      SendBuffer = 2_048
                  ))

          over
              "EAGAIN and ENOBUFS, now and then"
              (batchedBy
                  ""
                  { everything with
                      Fault = oneIn 5 [ again; noBuffers ] })
              id

          over
              "runs refused, and datagrams lost to errors, now and then"
              (batchedBy
                  ""
                  { everything with
                      Fault = oneIn 7 [ messageSize; inputOutput; unreachable ] })
              id

          over "GRO batches that do not fit" (batchedBy "" { everything with SlotSize = 3_000 }) id ]

let tests =
    testList
        "Port faults"
        (if batches then
             [ sends; watches; owners; receives; interfaces; reliable ]
         else
             [ owners ])
