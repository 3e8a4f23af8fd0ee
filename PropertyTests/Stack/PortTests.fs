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

/// Waits for what another thread brings about; far longer than it should take.
let internal eventually (what: string) (happened: unit -> bool) =
    if not (SpinWait.SpinUntil(happened, TimeSpan.FromSeconds 20.0)) then
        failtest ("did not happen: " + what)

type internal Owner() =
    member val Datagrams = ConcurrentQueue<struct (Endpoint * byte[])>()

    interface IPortOwner with
        member o.Received(_, remote, bytes, _) =
            o.Datagrams.Enqueue(struct (remote, bytes.ToArray()))

        member _.Broken(_, _) = ()

let private bind (address: IPAddress) (range: PortRange) (loop: Loop) (owner: IPortOwner) (options: StackOptions) =
    let mutable error = ""

    match UdpPort.TryBind(1, address, range, loop, owner, options, &error) with
    | null -> Error error
    | port -> Ok port

let private bound address loop owner options =
    match bind address (PortRange()) loop owner options with
    | Ok port -> port
    | Error e -> failtest e

let private send (port: UdpPort) (remote: Endpoint) (bytes: byte[]) =
    let into = (port :> IPort).Reserve(&remote, bytes.Length)
    ReadOnlySpan(bytes).CopyTo into
    (port :> IPort).Commit bytes.Length

let private echo (address: IPAddress) () =
    let leases = LeasePool()
    let options = StackOptions(Leases = leases)
    let loop = Loop(TimeProvider.System, false)
    let here, there = Owner(), Owner()
    let a, b = bound address loop here options, bound address loop there options
    a.Begin()
    b.Begin()

    for i in 1..50 do
        send a b.Local (Array.create (20 * i) (byte i))

        eventually "a datagram arrives" (fun () ->
            loop.Turn() |> ignore
            there.Datagrams.Count = i)

    let struct (remote, last) = Seq.last there.Datagrams
    Expect.equal remote a.Local "the sender's endpoint"
    Expect.sequenceEqual last (Array.create 1000 50uy) "the bytes"
    (a :> IDisposable).Dispose()
    (b :> IDisposable).Dispose()
    eventually "all leases are back" (fun () -> leases.OnLoan = 0)

let private leases =
    testList
        "leases"
        [ testPropertyWithConfig Laws.config "no slot is lent twice at a time, and every one comes back"
          <| fun (script: bool list) ->
              let pool = LeasePool(64, 8)
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
              let exhausted = pool.IsExhausted = (out.Count >= 8)

              for lease in out do
                  pool.Return lease

              apart && counted && exhausted && pool.OnLoan = 0

          testCase "a queue of leases is first in, first out" (fun () ->
              let pool = LeasePool()
              let all = [ for _ in 1..5 -> pool.Rent() ]
              let mutable queue = LeaseQueue()

              for lease in all do
                  queue.Add lease

              let taken = [ for _ in 1..5 -> queue.Take() ]

              Expect.isTrue
                  (List.forall2 (fun (a: Lease) (b: Lease | null) -> obj.ReferenceEquals(a, b)) all taken)
                  "order"

              Expect.isNull (queue.Take()) "empty") ]

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

let tests =
    testList
        "Ports"
        [ leases
          table
          interfaces
          fragmentation
          testCase "datagrams cross a pair of IPv4 ports, and every lease comes back" (echo IPAddress.Loopback)

          testCase "datagrams cross a pair of IPv6 ports, and every lease comes back" (fun () ->
              if Socket.OSSupportsIPv6 then
                  echo IPAddress.IPv6Loopback ())

          testCase "a flood beyond the queue is dropped and counted, and memory stays bounded" (fun () ->
              let leases = LeasePool()
              let options = StackOptions(Leases = leases, ReceiveQueue = 10)
              let loop = Loop(TimeProvider.System, false)
              let flooded = bound IPAddress.Loopback loop (Owner()) options
              let flooder = bound IPAddress.Loopback loop (Owner()) options
              flooded.Begin()

              for _ in 1..200 do
                  send flooder flooded.Local [| 1uy |]

              eventually "drops are counted" (fun () -> flooded.Dropped >= 100L)
              Expect.isLessThanOrEqual leases.OnLoan 11 "the queue, and the one to receive into"
              (flooded :> IDisposable).Dispose()
              (flooder :> IDisposable).Dispose()
              eventually "all leases are back" (fun () -> leases.OnLoan = 0))

          testCase "a range of ports that is taken up says so" (fun () ->
              let loop = Loop(TimeProvider.System, false)
              let options = StackOptions.Default

              use first = bound IPAddress.Loopback loop (Owner()) options
              let range = PortRange(first.Local.Port, first.Local.Port)

              match bind IPAddress.Loopback range loop (Owner()) options with
              | Ok _ -> failtest "the port was taken"
              | Error error -> Expect.stringContains error "are taken" "the reason")

          testCase "a port sends to the other family and to port 0 without throwing" (fun () ->
              let loop = Loop(TimeProvider.System, false)
              use port = bound IPAddress.Loopback loop (Owner()) StackOptions.Default

              for remote in
                  [ { Address = { High = 0UL; Low = 1UL }
                      Port = 9us }
                    { Address = Address.v4 127uy 0uy 0uy 1uy
                      Port = 0us }
                    { Address = Address.v4 255uy 255uy 255uy 255uy
                      Port = 9us } ] do
                  send port remote [| 0uy |])

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
