/// One offence of each kind against the core's purity, never called: the purity test must find each of them.
module Hybrid.WebRtc.PropertyTests.House.PlantedFaults

open System
open System.Threading

let clock () = DateTime.UtcNow
let offsetClock () = DateTimeOffset.UtcNow
let stopwatch () = Diagnostics.Stopwatch.GetTimestamp()
let provider () = TimeProvider.System.GetTimestamp()
let ticks () = Environment.TickCount64
let random () = Random.Shared.Next()
let guid () = Guid.NewGuid()

let strongRandom () =
    Security.Cryptography.RandomNumberGenerator.GetInt32 6

let hash (bytes: byte[]) =
    Security.Cryptography.SHA256.HashData bytes

let thread () = Thread.Sleep 1
let tasks () = Tasks.Task.Delay 1
let timer () = new Timer(ignore, null, 0, 0)
let locked (gate: obj) = lock gate (fun () -> 1)

let claim (slot: byref<int>) =
    Interlocked.CompareExchange(&slot, 1, 0)

let asynchronous () = async { return 1 }
let socket () = new Net.Sockets.UdpClient()
let file () = IO.File.Exists "x"
let console () = Console.ReadLine()
let printed (n: int) = sprintf "%d" n
let thrown () = raise (InvalidOperationException())
let failed () = failwith "x"
let lazily () = lazy (Environment.ProcessId)
let emitted () = Reflection.Emit.OpCodes.Nop

let reflected (value: obj) =
    Reflection.IntrospectionExtensions.GetTypeInfo(value.GetType())

/// A function above, and the type that it must be found to use.
let all: (string * string) list =
    [ nameof clock, "System.DateTime"
      nameof offsetClock, "System.DateTimeOffset"
      nameof stopwatch, "System.Diagnostics.Stopwatch"
      nameof provider, "System.TimeProvider"
      nameof ticks, "System.Environment"
      nameof random, "System.Random"
      nameof guid, "System.Guid"
      nameof strongRandom, "System.Security.Cryptography.RandomNumberGenerator"
      nameof hash, "System.Security.Cryptography.SHA256"
      nameof thread, "System.Threading.Thread"
      nameof tasks, "System.Threading.Tasks.Task"
      nameof timer, "System.Threading.Timer"
      nameof locked, "System.Threading.Monitor"
      nameof claim, "System.Threading.Interlocked"
      nameof asynchronous, "Microsoft.FSharp.Control"
      nameof socket, "System.Net.Sockets"
      nameof file, "System.IO.File"
      nameof console, "System.Console"
      nameof printed, "Microsoft.FSharp.Core.PrintfFormat"
      nameof thrown, "throw"
      nameof failed, "throw"
      nameof lazily, "Microsoft.FSharp.Control.Lazy"
      nameof emitted, "System.Reflection.Emit"
      nameof reflected, "System.Reflection" ]
