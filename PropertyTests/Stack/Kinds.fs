/// The kinds of port and of loop, and the kernels that lack a feature: what holds for one is tested of all.
module internal Hybrid.WebRtc.PropertyTests.Stack.Kinds

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Stack
open Hybrid.WebRtc.Stack.Ports
open Hybrid.WebRtc.Stack.Ports.Linux

/// A kernel like this one, or one that has less.
type Features =
    {
        Gro: bool
        Gso: bool
        FineTimeouts: bool
        SlotSize: int
        /// Asked before each call; above zero: the error that it fails with.
        Fault: KernelCall -> int
    }

let private nothing (_: KernelCall) = 0

/// All that there is.
let everything =
    { Gro = true
      Gso = true
      FineTimeouts = true
      SlotSize = 65_536
      Fault = nothing }

/// This machine's kernel with no more than these features; null where there are no batched ports.
let kernel (features: Features) : Kernel | null =
    match Kernel.Here with
    | null -> null
    | here ->
        Kernel(
            Gro = (here.Gro && features.Gro),
            Gso = (here.Gso && features.Gso),
            FineTimeouts = (here.FineTimeouts && features.FineTimeouts),
            SlotSize = features.SlotSize,
            Fault = features.Fault
        )

/// Whether this machine has batched ports at all. Where it has not, theirs are the portable ones, tested a second time.
let batches = not (isNull Kernel.Here)

type Kind =
    { Name: string
      Sockets: SocketKind
      Kernel: unit -> Kernel | null }

    member kind.Loop threaded =
        Loop(TimeProvider.System, threaded, kind.Kernel())

    member kind.Loops count =
        LoopGroup [| for _ in 1..count -> kind.Loop true |]

    /// Ports of this kind on loops of this kind.
    member kind.Options(leases: LeasePool) =
        StackOptions(Sockets = kind.Sockets, Leases = leases)

let portable =
    { Name = "portable"
      Sockets = SocketKind.Portable
      Kernel = fun () -> null }

let batchedBy name features =
    { Name = name
      Sockets = SocketKind.Automatic
      Kernel = fun () -> kernel features }

let batched = batchedBy "batched" everything

/// The two that most tests run over.
let both = [ portable; batched ]

/// Every step of the way from the one to the other.
let all =
    both
    @ [ { portable with
            Name = "portable, on a loop that waits in the kernel"
            Kernel = batched.Kernel }
        batchedBy "batched without GRO" { everything with Gro = false }
        batchedBy "batched without GSO" { everything with Gso = false }
        batchedBy
            "batched by recvmmsg and epoll_wait alone"
            { everything with
                Gro = false
                Gso = false
                FineTimeouts = false } ]

/// Ports that are open.
let openPorts (loops: LoopGroup) =
    loops.Loops
    |> Seq.sumBy (fun loop ->
        loop.PortablePorts
        + match loop.Poller with
          | null -> 0
          | poller -> poller.Ports)
