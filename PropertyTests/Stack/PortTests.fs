module Hybrid.WebRtc.PropertyTests.Stack.PortTests

open System
open System.Collections.Concurrent
open System.Net
open System.Net.Sockets
open System.Threading
open Expecto
open FsCheck
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Stack.Kinds

/// Waits for what another thread brings about; far longer than it should take.
let internal eventually (what: string) (happened: unit -> bool) =
    if not (SpinWait.SpinUntil(happened, TimeSpan.FromSeconds Outside.Patience)) then
        failtest ("did not happen: " + what)

type internal Owner() =
    member val Datagrams = ConcurrentQueue<struct (Endpoint * byte[])>()
    /// Why the port broke, each time that it did.
    member val Reasons = ConcurrentQueue<string>()
    member val OnReceived: unit -> unit = ignore with get, set

    interface IPortOwner with
        member o.Received(_, remote, bytes, _) =
            o.Datagrams.Enqueue(struct (remote, bytes.ToArray()))
            o.OnReceived()

        member o.Broken(_, reason) = o.Reasons.Enqueue reason

/// Counts, and allocates nothing.
type internal Silent() =
    member val Count = 0 with get, set

    interface IPortOwner with
        member s.Received(_, _, _, _) = s.Count <- s.Count + 1
        member _.Broken(_, _) = ()

/// A member that keeps its loop's thread alive.
type internal Idle() =
    interface ILoopMember with
        member _.Deadline = Int64.MaxValue
        member _.Take(_, _) = ()
        member _.Settle() = ()
        member _.Fail _ = ()

let private bind (address: IPAddress) (range: PortRange) (loop: Loop) (owner: IPortOwner) (options: StackOptions) =
    let mutable error = ""

    match PortSet.TryBind(1, address, range, loop, owner, options, &error) with
    | null -> Error error
    | port -> Ok port

let internal bound address loop owner options =
    match bind address (PortRange()) loop owner options with
    | Ok port -> port
    | Error e -> failtest e

/// Two ports on 127.0.0.1, of one loop that the test turns, both receiving.
let internal pairOn (loop: Loop) (options: StackOptions) =
    let here, there = Owner(), Owner()

    let a, b =
        bound IPAddress.Loopback loop here options, bound IPAddress.Loopback loop there options

    a.Begin()
    b.Begin()
    struct (a, here, b, there)

let internal send (port: IPort) (remote: Endpoint) (bytes: byte[]) =
    let into = port.Reserve(&remote, bytes.Length)
    ReadOnlySpan(bytes).CopyTo into
    port.Commit bytes.Length

/// Turns a loop until something holds.
let internal turnUntil (loop: Loop) what (happened: unit -> bool) =
    eventually what (fun () ->
        loop.Turn() |> ignore
        happened ())

let private echo (kind: Kind) (address: IPAddress) () =
    let leases = LeasePool()
    let options = kind.Options leases
    let loop = kind.Loop false
    let here, there = Owner(), Owner()
    let a, b = bound address loop here options, bound address loop there options
    a.Begin()
    b.Begin()

    for i in 1..50 do
        send a b.Local (Array.create (20 * i) (byte i))
        turnUntil loop "a datagram arrives" (fun () -> there.Datagrams.Count = i)

    let struct (remote, last) = Seq.last there.Datagrams
    Expect.equal remote a.Local "the sender's endpoint"
    Expect.sequenceEqual last (Array.create 1000 50uy) "the bytes"
    a.Dispose()
    b.Dispose()
    turnUntil loop "all ports are closed" (fun () -> openPorts (LoopGroup [| loop |]) = 0)
    Expect.equal leases.OnLoan 0 "every lease is back"

let private leases =
    testList
        "leases"
        [ testPropertyWithConfig Laws.config "no slot is lent twice at a time, and every one comes back"
          <| fun (script: bool list) ->
              let pool = LeasePool 64
              let out = System.Collections.Generic.List<Lease>()
              let mutable apart = true

              for rent in script do
                  if rent || out.Count = 0 then
                      let lease = pool.Rent()
                      apart <- apart && not (out.Contains lease)
                      out.Add lease
                  else
                      pool.Return out[0]
                      // A second return is a bug that must not do harm.
                      pool.Return out[0]
                      out.RemoveAt 0

              let counted = pool.OnLoan = out.Count

              for lease in out do
                  pool.Return lease

              apart && counted && pool.OnLoan = 0 ]

let private path n =
    { Local = 1<port>
      Remote =
        { Address = Address.v4 10uy 0uy 0uy 1uy
          Port = uint16 n } }

let private table =
    testList
        "the table of a shared port"
        [ testCase "a fragment names its member; a forged claim of another's is not heeded" (fun () ->
              let table = SharedPortTable<string>()
              table.Add "alice"
              table.Add "mallory"
              table.Name("alice", [| "aaaa" |])
              table.Name("mallory", [| "mmmm"; "aaaa" |])
              Expect.equal (table.ByFragment "aaaa") "alice" "the first keeps it"
              table.Name("mallory", [||])
              Expect.equal (table.ByFragment "aaaa") "alice" "and mallory's leaving takes nothing along"
              table.Name("alice", [| "aaaa"; "bbbb" |])
              Expect.equal (table.ByFragment(ReadOnlySpan "bbbb"B)) "alice" "by octets"
              Expect.isNull (table.ByFragment(ReadOnlySpan [| 98uy; 98uy; 98uy; 255uy |])) "not ASCII"
              Expect.isNull (table.ByFragment(ReadOnlySpan(Array.create 300 97uy))) "too long"
              Expect.equal (table.ByFragment "bbbb") "alice" "a restart adds one"
              table.Remove "alice"
              Expect.isNull (table.ByFragment "aaaa") "gone"
              Expect.isNull (table.ByFragment "bbbb") "gone")

          testCase "a path goes to whoever sent along it; a second claimant does not take it from the first" (fun () ->
              let table = SharedPortTable<string>()

              for name in [ "alice"; "bob"; "c"; "d"; "e" ] do
                  table.Add name

              let p = path 1
              Expect.isTrue (table.ByPath(&p).IsEmpty) "nobody's"
              table.Claim("alice", &p)
              table.Claim("alice", &p)
              table.Claim("bob", &p)
              Expect.sequenceEqual (table.ByPath(&p).ToArray()) [ "alice"; "bob" ] "both, the first first"

              for name in [ "c"; "d"; "e" ] do
                  table.Claim(name, &p)

              Expect.equal (table.ByPath(&p).Length) SharedPortTable<string>.MembersPerPath "bounded"
              table.Remove "alice"
              Expect.equal (table.ByPath(&p).ToArray()[0]) "bob" "the next"
              table.Claim("stranger", &p)
              Expect.isFalse (table.ByPath(&p).ToArray() |> Array.contains "stranger") "no member, no claim")

          testCase "a member's claims are bounded, and its end leaves nothing" (fun () ->
              let table = SharedPortTable<string>()
              table.Add "alice"

              for n in 1..1000 do
                  let p = path n
                  table.Claim("alice", &p)

              Expect.equal table.Paths SharedPortTable<string>.PathsPerMember "bounded"
              let newest = path 1000
              Expect.equal (table.ByPath(&newest).Length) 1 "the newest stand"
              table.Remove "alice"
              Expect.equal (struct (table.Paths, table.Count)) (struct (0, 0)) "nothing left") ]

let private interfaceAddress name kind (text: string) =
    InterfaceAddress(name, kind, IPAddress.Parse text)

let private chosen (options: StackOptions) addresses =
    [ for a in Interfaces.Choose(List.toArray addresses, options) -> a.Address.ToString() ]

let private interfaces =
    let wired = interfaceAddress "eth0" NetworkKind.Wired
    let vpn = interfaceAddress "wg0" NetworkKind.Virtual
    let loopback = interfaceAddress "lo" NetworkKind.Loopback

    testList
        "interfaces"
        [ testCase "IPv6 and IPv4 take turns, tunnels come last, preferences all differ" (fun () ->
              let all =
                  [ loopback "127.0.0.1"
                    vpn "10.8.0.2"
                    wired "192.0.2.2"
                    wired "192.0.2.3"
                    wired "fd00::2"
                    wired "fe80::1" ]

              Expect.equal
                  (chosen StackOptions.Default all)
                  [ "fd00::2"; "192.0.2.2"; "192.0.2.3"; "10.8.0.2" ]
                  "RFC 8421 §4"

              let preferences =
                  [ for a in Interfaces.Choose(List.toArray all, StackOptions.Default) -> a.Preference ]

              Expect.equal preferences (List.distinct preferences |> List.sortDescending) "falling")

          testCase "loopback alone is better than nothing, link-local better still" (fun () ->
              Expect.equal
                  (chosen StackOptions.Default [ loopback "127.0.0.1"; loopback "::1" ])
                  [ "::1"; "127.0.0.1" ]
                  "loopback"

              Expect.equal
                  (chosen StackOptions.Default [ loopback "127.0.0.1"; wired "169.254.1.1" ])
                  [ "169.254.1.1" ]
                  "link-local")

          testCase "loopback and link-local come when asked for" (fun () ->
              let options = StackOptions(IncludeLoopback = true, IncludeLinkLocal = true)

              Expect.equal
                  (chosen options [ loopback "127.0.0.1"; wired "192.0.2.2"; wired "fe80::1" ])
                  [ "192.0.2.2"; "fe80::1"; "127.0.0.1" ]
                  "all three")

          testCase
              "a temporary address stands for its prefix; deprecated, site-local, multicast ones are left out"
              (fun () ->
                  let temporary =
                      InterfaceAddress("eth0", NetworkKind.Wired, IPAddress.Parse "2001:db8::aaaa", IsTemporary = true)

                  let deprecated =
                      InterfaceAddress("eth0", NetworkKind.Wired, IPAddress.Parse "2001:db8:1::1", IsDeprecated = true)

                  Expect.equal
                      (chosen
                          StackOptions.Default
                          [ temporary
                            deprecated
                            wired "2001:db8::1"
                            wired "2001:db8:2::1"
                            wired "fec0::1"
                            wired "ff02::1"
                            wired "0.0.0.0" ])
                      [ "2001:db8::aaaa"; "2001:db8:2::1" ]
                      "RFC 8445 §5.1.1.1")

          testCase "filters by name and by address" (fun () ->
              let options =
                  StackOptions(
                      InterfaceFilter = (fun name -> name = "eth0"),
                      AddressFilter = (fun a -> a.AddressFamily = AddressFamily.InterNetwork)
                  )

              Expect.equal
                  (chosen options [ wired "192.0.2.2"; wired "2001:db8::1"; vpn "10.8.0.2" ])
                  [ "192.0.2.2" ]
                  "one left")

          testCase "this machine has an address" (fun () ->
              Expect.isNonEmpty (Interfaces.Usable StackOptions.Default) "at least loopback")

          testCase "what is known of the machine is what listing it tells, with filters and without" (fun () ->
              let v4 =
                  StackOptions(
                      AddressFilter = (fun a -> a.AddressFamily = AddressFamily.InterNetwork),
                      IncludeLoopback = true
                  )

              for options in [ StackOptions.Default; StackOptions(IncludeLoopback = true); v4 ] do
                  let listed = Interfaces.Choose(Interfaces.All(), options)
                  Expect.sequenceEqual (InterfaceSnapshot.Present().Usable options) listed "the first time"
                  Expect.sequenceEqual (InterfaceSnapshot.Present().Usable options) listed "and again") ]

let private fragmentation =
    testList
        "Fragmentation"
        [ testCase "sockets drop what is too large, but where they are told to fragment it, and then again" (fun () ->
              if OperatingSystem.IsLinux() then
                  let option (socket: Socket) level name =
                      let octets = Array.zeroCreate<byte> 4
                      socket.GetRawSocketOption(level, name, Span octets) |> ignore
                      BitConverter.ToInt32(octets, 0)

                  for family, level, name in
                      [ AddressFamily.InterNetwork, 0, 10
                        if Socket.OSSupportsIPv6 then
                            AddressFamily.InterNetworkV6, 41, 23 ] do
                      use socket = new Socket(family, SocketType.Dgram, ProtocolType.Udp)

                      // IP_PMTUDISC_PROBE, IP_PMTUDISC_DONT.
                      for allowed, expected in [ false, 3; true, 0; false, 3 ] do
                          Fragmentation.Set(socket, allowed)
                          Expect.equal (option socket level name) expected (string family)) ]

let private traffic (kind: Kind) =
    testList
        kind.Name
        [ testCase "datagrams cross a pair of IPv4 ports" (echo kind IPAddress.Loopback)

          testCase "datagrams cross a pair of IPv6 ports" (fun () ->
              if Socket.OSSupportsIPv6 then
                  echo kind IPAddress.IPv6Loopback ())

          testPropertyWithConfig
              { Laws.config with maxTest = 40 }
              "any sizes to any remotes, in one turn or several: all arrive whole, and in order at each"
          <| fun (script: (byte * bool * bool) list) ->
              let loop = kind.Loop false
              let options = kind.Options(LeasePool())
              let struct (a, _, b, there) = pairOn loop options
              let other = Owner()
              use c = bound IPAddress.Loopback loop other options
              c.Begin()

              // Few sizes, so that there are runs, which a shorter or a larger datagram ends.
              let datagrams =
                  [ for i, (size, toOther, turn) in List.indexed script do
                        let length = 1 + int (size % 4uy) * 400
                        struct (toOther, turn, Array.init length (fun n -> byte (i * 31 + n))) ]

              for struct (toOther, turn, bytes) in datagrams do
                  send a (if toOther then c.Local else b.Local) bytes

                  if turn then
                      loop.Turn() |> ignore

              let expected who =
                  [ for struct (toOther, _, bytes) in datagrams do
                        if toOther = who then
                            bytes ]

              turnUntil loop "all arrive" (fun () -> there.Datagrams.Count + other.Datagrams.Count = datagrams.Length)

              let arrived (owner: Owner) =
                  [ for struct (_, bytes) in owner.Datagrams -> bytes ]

              a.Dispose()
              b.Dispose()
              arrived there = expected false && arrived other = expected true

          testCase "a long run at the limits of a send arrives whole" (fun () ->
              let loop = kind.Loop false
              let struct (a, _, b, there) = pairOn loop (kind.Options(LeasePool()))

              for size, count in [ 1200, 300; 9000, 40; 65_507, 4; 1, 200; 0, 2 ] do
                  let before = there.Datagrams.Count

                  for i in 1..count do
                      send a b.Local (Array.create size (byte i))

                  turnUntil loop "all arrive" (fun () -> there.Datagrams.Count = before + count)

                  for i, struct (_, bytes) in there.Datagrams |> Seq.skip before |> Seq.indexed do
                      Expect.isTrue
                          (bytes.Length = size && Array.forall ((=) (byte (i + 1))) bytes)
                          "the octets of each"

              a.Dispose()
              b.Dispose())

          testCase "a packet allocates nothing, neither way" (fun () ->
              let loop = kind.Loop false
              let options = kind.Options(LeasePool())
              let silent = Silent()
              use a = bound IPAddress.Loopback loop (Owner()) options
              use b = bound IPAddress.Loopback loop silent options
              a.Begin()
              b.Begin()
              let packet = Array.zeroCreate<byte> 1_200

              let exchange packets =
                  let until = silent.Count + packets
                  let mutable sent = 0
                  let clock = Diagnostics.Stopwatch.StartNew()

                  while silent.Count < until && clock.ElapsedMilliseconds < 20_000L do
                      // No more under way than any socket has room for.
                      if sent < packets && sent - (silent.Count - until + packets) < 60 then
                          for _ in 1..20 do
                              send a b.Local packet

                          sent <- sent + 20

                      loop.Turn() |> ignore

              exchange 2_000
              let before = GC.GetAllocatedBytesForCurrentThread()
              exchange 20_000
              let allocated = GC.GetAllocatedBytesForCurrentThread() - before
              Expect.equal silent.Count 22_000 "all arrived"
              Expect.isLessThan allocated 20_000L "octets, for 20,000 packets there and here")

          testCase "a flood on one port starves neither another port nor a tick" (fun () ->
              let loop = kind.Loop false
              let options = StackOptions(Sockets = kind.Sockets, ReceiveBuffer = 64 * 1024 * 1024)
              let struct (flooder, _, flooded, victim) = pairOn loop options
              let other = Owner()
              use quiet = bound IPAddress.Loopback loop other options
              quiet.Begin()

              // From outside the loop's turns, so that all of it waits when the turn begins.
              use socket =
                  new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

              let toward (port: IPort) = Addresses.ToNet(port.Local, 0L)

              for _ in 1..2_000 do
                  socket.SendTo([| 1uy |], toward flooded) |> ignore

              socket.SendTo([| 2uy |], toward quiet) |> ignore
              let counts = ResizeArray [ 0 ]

              turnUntil loop "both have all" (fun () ->
                  counts.Add victim.Datagrams.Count
                  other.Datagrams.Count = 1 && victim.Datagrams.Count >= 1_000)

              // A call that fetched the last of a turn's share may have brought some more.
              let most = counts |> Seq.pairwise |> Seq.map (fun (a, b) -> b - a) |> Seq.max
              Expect.isLessThanOrEqual most 512 "in one turn"
              flooder.Dispose()
              flooded.Dispose())

          testCase "an owner that closes ports while they have something is not called for them again" (fun () ->
              let loop = kind.Loop false
              let options = kind.Options(LeasePool())
              let struct (a, first, b, second) = pairOn loop options
              use c = bound IPAddress.Loopback loop (Owner()) options
              c.Begin()

              let closeBoth () =
                  a.Dispose()
                  b.Dispose()

              first.OnReceived <- closeBoth
              second.OnReceived <- closeBoth

              for _ in 1..5 do
                  send c a.Local [| 1uy |]
                  send c b.Local [| 2uy |]

              // Both have several by the time of the turn, or the test says less.
              turnUntil loop "one is told" (fun () -> first.Datagrams.Count + second.Datagrams.Count > 0)

              for _ in 1..5 do
                  // A new one may have the old one's descriptor and place, and hears nothing of the old one's.
                  let fresh = Owner()
                  use d = bound IPAddress.Loopback loop fresh options
                  d.Begin()
                  loop.Turn() |> ignore
                  Expect.isEmpty fresh.Datagrams "not its own"

              Expect.equal (first.Datagrams.Count + second.Datagrams.Count) 1 "the one that closed them")

          testCase "what was sent before a port is closed in the same turn leaves" (fun () ->
              let loop = kind.Loop false
              let struct (a, _, b, there) = pairOn loop (kind.Options(LeasePool()))

              loop.Post(
                  Action(fun () ->
                      send a b.Local [| 1uy |]
                      a.Dispose())
              )

              turnUntil loop "it arrives" (fun () -> there.Datagrams.Count = 1)
              b.Dispose())

          testCase "ports come and go on other threads while their loop runs and is flooded" (fun () ->
              let loop = kind.Loop true
              let seat = loop.Join(Idle())
              loop.Post(Action ignore)
              let options = kind.Options(LeasePool())

              use socket =
                  new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)

              let one () =
                  for _ in 1..100 do
                      let owner = Owner()
                      let port = bound IPAddress.Loopback loop owner options
                      let remote = Addresses.ToNet(port.Local, 0L)
                      port.Begin()

                      for _ in 1..5 do
                          socket.SendTo([| 9uy |], remote) |> ignore

                      eventually "it receives" (fun () -> owner.Datagrams.Count > 0)
                      port.Dispose()
                      Expect.isTrue (owner.Datagrams |> Seq.forall (fun struct (_, b) -> b = [| 9uy |])) "its own"

              let threads = [ for _ in 1..3 -> Tasks.Task.Run one ]

              Expect.isTrue
                  (Tasks.Task.WaitAll(Array.ofList threads, TimeSpan.FromSeconds Outside.Patience))
                  "all done"

              loop.Post(Action seat.Leave))

          testCase "a range of ports that is taken up says so" (fun () ->
              let loop = kind.Loop false
              let options = kind.Options(LeasePool())
              use first = bound IPAddress.Loopback loop (Owner()) options
              let range = PortRange(first.Local.Port, first.Local.Port)

              match bind IPAddress.Loopback range loop (Owner()) options with
              | Ok _ -> failtest "the port was taken"
              | Error error -> Expect.stringContains error "are taken" "the reason")

          testCase "a port sends to the other family and to port 0 without throwing" (fun () ->
              let loop = kind.Loop false
              let owner = Owner()
              use port = bound IPAddress.Loopback loop owner (kind.Options(LeasePool()))
              port.Begin()

              for remote in
                  [ { Address = { High = 0UL; Low = 1UL }
                      Port = 9us }
                    { Address = Address.v4 127uy 0uy 0uy 1uy
                      Port = 0us }
                    { Address = Address.v4 192uy 0uy 2uy 1uy
                      Port = 9us }
                    { Address = Address.v4 255uy 255uy 255uy 255uy
                      Port = 9us } ] do
                  for _ in 1..3 do
                      send port remote [| 0uy |]

                  loop.Turn() |> ignore

              send port port.Local [| 7uy |]
              turnUntil loop "what can arrive does" (fun () -> owner.Datagrams.Count = 1)
              Expect.isEmpty owner.Reasons "and the port is not blamed for the others") ]

let tests =
    testList
        "Ports"
        [ leases
          table
          interfaces
          fragmentation
          yield! List.map traffic all

          testPropertyWithConfig Laws.config "addresses cross to System.Net and back"
          <| fun (high: uint64) (low: uint64) (NonNegativeInt n) ->
              let check (address: Address) =
                  let endpoint = { Address = address; Port = uint16 n }
                  let net = Addresses.ToNet(endpoint, 3L)
                  Addresses.ToCore(net) = endpoint && Addresses.ToCore(net.Serialize()) = endpoint

              check { High = high; Low = low }
              && check
                  { High = 0UL
                    Low = 0xffff00000000UL ||| (low >>> 32) } ]
