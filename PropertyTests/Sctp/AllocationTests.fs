/// What a message and a chunk allocate in the parts that see each of them. Octets are exact: they are the gate that times are not.
module Hybrid.WebRtc.PropertyTests.Sctp.AllocationTests

open System
open Expecto
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.Stack

/// Octets allocated by each of `count` calls, after as many to warm up.
let private allocated (count: int) (act: int -> unit) : float =
    for n in 0 .. count - 1 do
        act n

    let before = GC.GetAllocatedBytesForCurrentThread()

    for n in count .. 2 * count - 1 do
        act n

    float (GC.GetAllocatedBytesForCurrentThread() - before) / float count

let private message (stream: int) (payload: byte[]) : Message =
    { Stream = uint16 stream
      Ppid = 53u
      Ordered = true
      Priority = 256us
      ExpiresAt = Instant.never
      MaxRetransmits = Int32.MaxValue
      Payload = ReadOnlyMemory payload }

/// `burst` messages on `streams` streams queued, and sent in one flush, again and again: octets a message.
let private sent (interleaves: bool) (streams: int) (burst: int) : float =
    let mutable s = Streams.empty |> Streams.interleaving interleaves (1u <<< 30)

    let messages =
        [| for n in 0 .. burst - 1 -> message (n % streams) (Array.zeroCreate 100) |]

    let flush _ =
        for m in messages do
            s <- Streams.enqueue m s

        s <- Streams.draft s

        while Streams.hasMore s do
            let struct (_, next) = Streams.take 100 1L s
            s <- next

        s <- Streams.keep s

    allocated 200 flush / float burst

/// Flushes of `burst` chunks of large messages on `streams` streams: octets a chunk.
let private cut (interleaves: bool) (streams: int) (burst: int) : float =
    let mutable s = Streams.empty |> Streams.interleaving interleaves (1u <<< 30)

    for n in 0 .. streams - 1 do
        s <- Streams.enqueue (message n (Array.zeroCreate 20_000_000)) s

    let flush _ =
        s <- Streams.draft s

        for _ in 1..burst do
            let struct (_, next) = Streams.take 1140 1L s
            s <- next

        s <- Streams.keep s

    allocated 100 flush / float burst

let private config =
    let c = SctpConfig.create SystemCiphers.Shared

    { c with ReceiveWindow = 1 <<< 30 }

let private chunk
    (interleaved: bool)
    (tsn: int64)
    (flags: byte)
    (stream: int)
    (number: int)
    (fsn: int)
    (size: int)
    : Data =
    { Interleaved = interleaved
      Flags = flags
      Stream = uint16 stream
      Mid = Mid(uint32 number)
      Fsn = uint32 fsn
      Tsn = Tsn.wrap tsn
      Ppid = 53u
      Payload = ReadOnlyMemory(Array.zeroCreate size) }

/// Packets of `chunks.[n]`, each a draft of its own: octets a chunk beyond those of the user, which become one message.
let private received (interleaved: bool) (packets: Data[][]) : float =
    let first = Tsn.wrap 1000L

    let mutable r =
        Receiving.create interleaved config.MaxMessageSize config.ReceiveWindow first

    let half = packets.Length / 2
    let mutable before = 0L
    let mutable payload = 0
    let mutable chunks = 0

    for n in 0 .. packets.Length - 1 do
        if n = half then
            before <- GC.GetAllocatedBytesForCurrentThread()

        let draft = Receiving.draft r
        let mutable outputs = ListCollector<SctpOutput>()
        let packet = packets[n]

        for i in 0 .. packet.Length - 1 do
            if Receiving.data config packet[i] &outputs draft <> Arrival.Accepted then
                failtest "not accepted"

            if n >= half then
                payload <- payload + packet[i].Payload.Length
                chunks <- chunks + 1

        outputs.Close() |> ignore
        r <- draft

    float (GC.GetAllocatedBytesForCurrentThread() - before - int64 payload)
    / float chunks

/// 64 KiB messages in chunks of 1,140 octets, one a packet, by turns on `streams` streams.
let private bulk (interleaved: bool) (streams: int) : Data[][] =
    let mutable tsn = Tsn.first (Tsn.wrap 1000L)
    let pieces = (65536 + 1139) / 1140

    [| for round in 0..15 do
           for i in 0 .. pieces - 1 do
               for stream in 0 .. streams - 1 do
                   let flags =
                       (if i = 0 then Flag.Begin else 0uy)
                       ||| (if i = pieces - 1 then Flag.End else 0uy)

                   let size = min 1140 (65536 - i * 1140)
                   [| chunk interleaved tsn flags stream round i size |]
                   tsn <- tsn + 1L |]

/// Messages of 40 octets, `count` a packet, by turns on `streams` streams.
let private small (interleaved: bool) (streams: int) (count: int) : Data[][] =
    let mutable n = 0

    [| for _ in 1..200 ->
           [| for _ in 1..count ->
                  let tsn = Tsn.first (Tsn.wrap 1000L) + int64 n
                  let stream = n % streams
                  let number = n / streams
                  n <- n + 1
                  chunk interleaved tsn Flag.Whole stream number 0 40 |] |]

/// Octets of each input of `count`, of one channel.
let private channel (inputs: (int -> Channels.Input)) : float =
    let init =
        { Label = "x"
          Protocol = ""
          Ordered = true
          MaxPacketLifeTime = ValueNone
          MaxRetransmits = ValueNone
          Negotiated = true
          Id = ValueSome 0
          Priority = Priority.Low }

    let step input state =
        let struct (state, _) = Channels.step 0L<us> input state
        state

    let mutable state =
        Channels.create 1_000_000
        |> step (Channels.Established(Channels.Even, 1024))
        |> step (Channels.Create(1L, init))

    allocated 1000 (fun n -> state <- step (inputs n) state)

let private payload = ReadOnlyMemory(Array.zeroCreate<byte> 100)

/// An input of `Channels` is 48 octets of its own.
[<Literal>]
let private InputSize = 48.0

let private cases: (string * float * (unit -> float)) list =
    [ "sending a small message, 20 to a flush", 250.0, (fun () -> sent true 1 20)
      "the same in DATA", 250.0, (fun () -> sent false 1 20)
      "sending small messages by turns on 4 streams, 20 to a flush", 250.0, (fun () -> sent true 4 20)
      "sending one small message and nothing else", 450.0, (fun () -> sent true 1 1)
      "taking a chunk of a large message, 32 to a flush", 64.0, (fun () -> cut true 1 32)
      "the same in DATA", 64.0, (fun () -> cut false 1 32)
      "taking chunks of 4 large messages by turns, 32 to a flush", 100.0, (fun () -> cut true 4 32)
      "receiving a chunk of a 64 KiB message", 240.0, (fun () -> received true (bulk true 1))
      "the same in DATA", 240.0, (fun () -> received false (bulk false 1))
      "receiving chunks of two such messages by turns", 300.0, (fun () -> received true (bulk true 2))
      "receiving chunks of eight such messages by turns", 550.0, (fun () -> received true (bulk true 8))
      "receiving small messages, 20 to a packet", 200.0, (fun () -> received true (small true 1 20))
      "the same in DATA", 200.0, (fun () -> received false (small false 1 20))
      "the same on 4 streams", 250.0, (fun () -> received true (small true 4 20))
      "receiving one small message alone", 450.0, (fun () -> received true (small true 1 1))
      "a channel's Send", 256.0, (fun () -> channel (fun _ -> Channels.Send(1, false, payload)) - InputSize)
      "a channel's Deliver", 250.0, (fun () -> channel (fun _ -> Channels.Received(0us, 53u, payload)) - InputSize)
      "a channel's Transmitted", 250.0, (fun () -> channel (fun _ -> Channels.Transmitted(0us, 100)) - 24.0) ]

let tests =
    testSequenced
    <| testList
        "Sctp allocations"
        [ for name, limit, measure in cases do
              testCase $"{name}: at most {limit} octets" (fun () ->
                  let octets = measure ()

                  if not (isNull (Environment.GetEnvironmentVariable "HYBRID_SHOW_ALLOCATIONS")) then
                      printfn "%-70s %7.1f" name octets

                  Expect.isLessThan octets limit name) ]
