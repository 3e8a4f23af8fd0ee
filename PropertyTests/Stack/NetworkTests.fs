/// The watch over this machine's addresses, and what a peer's shell does about them.
module Hybrid.WebRtc.PropertyTests.Stack.NetworkTests

open System
open System.Collections.Generic
open System.Net
open System.Threading
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.PropertyTests.Stack.Kinds
open Hybrid.WebRtc.PropertyTests.Stack.LoopTests
open Hybrid.WebRtc.PropertyTests.Stack.PortTests
open Hybrid.WebRtc.PropertyTests.Stack.HostTests

let private never = Timeout.InfiniteTimeSpan

/// A machine whose addresses a test changes: all of the loopback interface, so that they can be bound.
type private Machine() =
    let mutable addresses: string list = [ "127.0.0.1" ]
    let mutable looks = 0

    member _.Addresses
        with set value = Volatile.Write(&addresses, value)

    member _.Looks = Volatile.Read &looks

    member _.List() : InterfaceSnapshot =
        Interlocked.Increment &looks |> ignore

        InterfaceSnapshot(
            Volatile.Read(&addresses)
            |> List.map (fun a -> InterfaceAddress("lo", NetworkKind.Loopback, IPAddress.Parse a))
            |> List.toArray,
            0L
        )

let private watchOf (machine: Machine) (time: TimeProvider) =
    NetworkWatch(Func<_>(machine.List), time, false)

let private texts (snapshot: InterfaceSnapshot) =
    [ for each in snapshot.All -> each.Address.ToString() ]

let private opened (journal: Tape) =
    [ for input in inputs journal do
          match input with
          | PortOpened(_, local, _) -> Address.toText local.Address
          | _ -> () ]

let tests =
    testList
        "The network watch"
        [ testCase "tells of each change once, to whoever listens, and of nothing else" (fun () ->
              let machine = Machine()
              let watch = watchOf machine TimeProvider.System
              let first, second = List<string list>(), List<string list>()
              let one = watch.Listen(never, (fun s -> first.Add(texts s)))
              use _ = watch.Listen(never, (fun s -> second.Add(texts s)))
              watch.Look()
              watch.Look()
              machine.Addresses <- [ "127.0.0.1"; "127.0.0.2" ]
              watch.Look()
              watch.Look()
              one.Dispose()
              one.Dispose()
              machine.Addresses <- []
              watch.Look()
              let both = [ "127.0.0.1"; "127.0.0.2" ]
              Expect.sequenceEqual first [ [ "127.0.0.1" ]; both ] "until it was disposed"
              Expect.sequenceEqual second [ [ "127.0.0.1" ]; both; [] ] "to the end"
              Expect.equal watch.Listeners 1 "one is left")

          testCase "an address that somebody found gone is told again, though no look has missed it" (fun () ->
              let machine = Machine()
              let time = TestTime(Manual = true)
              let watch = watchOf machine time
              let told = List<string list>()
              use _ = watch.Listen(never, (fun s -> told.Add(texts s)))
              watch.Look()
              watch.Look()
              Expect.hasLength told 1 "once"
              watch.Doubt()

              Expect.isTrue
                  (SpinWait.SpinUntil((fun () -> machine.Looks >= 3), TimeSpan.FromSeconds Outside.Patience))
                  "at once"

              watch.Look()
              Expect.sequenceEqual told [ [ "127.0.0.1" ]; [ "127.0.0.1" ] ] "once more")

          testCase "a storm of the system's messages is two looks: one at once, and one when it has settled" (fun () ->
              let machine = Machine()
              let time = TestTime(Manual = true)
              let watch = watchOf machine time
              use _ = watch.Listen(never, ignore)

              for _ in 1..100 do
                  watch.Heard()

              eventually "it looks at once" (fun () -> machine.Looks = 1)
              Expect.equal time.Armed (TimeSpan.FromMilliseconds 250.0) "and will again"
              time.Fire()
              eventually "it looks again" (fun () -> machine.Looks = 2)
              watch.Heard()
              eventually "the next storm is another" (fun () -> machine.Looks = 3))

          testCase "nobody looks while nobody listens" (fun () ->
              let machine = Machine()
              let watch = watchOf machine TimeProvider.System
              watch.Heard()
              (watch.Listen(TimeSpan.FromMilliseconds 100.0, ignore)).Dispose()
              watch.Heard()
              Expect.equal machine.Looks 0 "not once"
              Expect.equal watch.Listeners 0 "nobody")

          testCase "it looks from time to time where the system tells nothing" (fun () ->
              let machine = Machine()
              let watch = watchOf machine TimeProvider.System
              use _ = watch.Listen(TimeSpan.FromHours 1.0, ignore)
              use _ = watch.Listen(TimeSpan.FromMilliseconds 100.0, ignore)
              eventually "the most impatient decides" (fun () -> machine.Looks >= 3))

          testCase "where the addresses cannot be listed, everything stays as it is" (fun () ->
              let watch =
                  NetworkWatch(
                      Func<_>(fun () -> raise (NetworkInformation.NetworkInformationException())),
                      TimeProvider.System,
                      false
                  )

              use _ = watch.Listen(never, (fun _ -> failtest "told"))
              watch.Look())

          for continual in [ true; false ] do
              let what =
                  if continual then
                      "is bound"
                  else
                      "is not bound without continual gathering"

              testCase $"an address that appears {what}, once" (fun () ->
                  let machine = Machine()
                  let watch = watchOf machine TimeProvider.System
                  use tape = new Tape()

                  let options =
                      StackOptions(
                          Loops = batched.Loops 1,
                          IncludeLoopback = true,
                          ContinualGathering = continual,
                          Network = watch,
                          NetworkWatchInterval = never,
                          Journal = (fun () -> tape :> IO.Stream)
                      )

                  let host = start options (Sink())
                  perform host [ OpenPorts ]
                  eventually "bound" (fun () -> opened tape = [ "127.0.0.1" ])
                  machine.Addresses <- [ "127.0.0.1"; "127.0.0.2" ]

                  for _ in 1..3 do
                      watch.Look()

                  // Told to whoever is at home on the loop, before what is asked now.
                  let asked = host.AskAsync(fun n -> GetStats n)
                  Expect.isTrue (asked.Wait(TimeSpan.FromSeconds Outside.Patience)) "answered"

                  if continual then
                      eventually "the new one" (fun () -> opened tape = [ "127.0.0.1"; "127.0.0.2" ])
                  else
                      Expect.equal (opened tape) [ "127.0.0.1" ] "as before"

                  Expect.equal watch.Listeners 1 "it listens"
                  stop host
                  Expect.equal watch.Listeners 0 "it does not listen any more")

          testCase "an address that is not listed for a moment, and is there all the same, keeps its port" (fun () ->
              let machine = Machine()
              let watch = watchOf machine TimeProvider.System
              use tape = new Tape()

              let options =
                  StackOptions(
                      Loops = batched.Loops 1,
                      IncludeLoopback = true,
                      Network = watch,
                      NetworkWatchInterval = never,
                      Journal = (fun () -> tape :> IO.Stream)
                  )

              let host = start options (Sink())
              perform host [ OpenPorts ]
              eventually "bound" (fun () -> opened tape = [ "127.0.0.1" ])
              machine.Addresses <- []
              watch.Look()

              Expect.isTrue
                  ((host.AskAsync(fun n -> GetStats n)).Wait(TimeSpan.FromSeconds Outside.Patience))
                  "answered"

              Expect.isFalse (inputs tape |> List.exists _.IsPortClosed) "open"
              stop host)

          testCase
              "a shared port comes to an address that appears, goes from one that is lost, and tells its peers"
              (fun () ->
                  let machine = Machine()
                  let watch = watchOf machine TimeProvider.System
                  use tape = new Tape()
                  let loops = batched.Loops 1

                  let options (shared: SharedPort | null) =
                      StackOptions(
                          Loops = loops,
                          IncludeLoopback = true,
                          ContinualGathering = true,
                          Network = watch,
                          NetworkWatchInterval = never,
                          SharedPort = shared,
                          Journal = (fun () -> tape :> IO.Stream)
                      )

                  use shared = SharedPort.Open(0us, options null, 1)
                  let lane = shared.Lanes[0]
                  let host = start (options shared) (Sink())
                  perform host [ OpenPorts ]
                  eventually "bound" (fun () -> opened tape = [ "127.0.0.1" ])
                  machine.Addresses <- [ "127.0.0.1"; "127.0.0.2" ]

                  for _ in 1..3 do
                      watch.Look()

                  eventually "the new one" (fun () -> opened tape = [ "127.0.0.1"; "127.0.0.2" ])

                  // As a send finds it that has no address any more to leave from. It is back when the watch looks.
                  let first = lane.Bound[0].Port
                  lane.Loop.Post(fun () -> (lane :> IPortOwner).Broken(nonNull first, "Its address is gone."))
                  eventually "told" (fun () -> inputs tape |> List.exists _.IsPortClosed)
                  eventually "back" (fun () -> opened tape = [ "127.0.0.1"; "127.0.0.2"; "127.0.0.1" ])

                  Expect.equal
                      [ for bound in lane.Bound -> int (nonNull bound.Port).Local.Port ]
                      [ shared.Port; shared.Port ]
                      "of one number"

                  stop host) ]
