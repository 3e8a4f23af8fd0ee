module Hybrid.WebRtc.PropertyTests.Sctp.CostTests

open System
open System.Diagnostics
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.Stack

/// What the sending half costs: octets allocated are exact, and gate; times are for whoever asks.
type Cost =
    {
        /// Octets allocated for a DATA chunk: its share of the message, the tick, the packet.
        Chunk: float
        /// Octets allocated for a SACK without gaps.
        Sack: float
        ChunkNanoseconds: float
        SackNanoseconds: float
        /// Chunks that a tick sent.
        Burst: float
    }

/// A sends 64 KiB messages to B over a path of `trip`, one SACK every `sackEvery` packets, in virtual time.
let measure (sackEvery: int) (turns: int) : Cost =
    let config = SctpConfig.create SystemCiphers.Shared
    let mutable a = Sctp.create (Entropy.ofNumber 1L) config
    let mutable b = Sctp.create (Entropy.ofNumber 2L) config
    let mutable now: Instant = Duration.seconds 1L
    let buffer = Array.zeroCreate 2048
    let toB = Collections.Generic.Queue<byte[]>()
    let toA = Collections.Generic.Queue<byte[]>()

    let bytesOf (packet: SctpPacket) =
        let size = SctpPacket.write (Span buffer) packet
        buffer[.. size - 1]

    let mutable chunks = 0L
    let mutable chunkOctets = 0L
    let mutable chunkTicks = 0L
    let mutable sacks = 0L
    let mutable sackOctets = 0L
    let mutable sackTicks = 0L
    let mutable bursts = 0L
    let mutable consumed = 0

    let stepA input =
        let before = GC.GetAllocatedBytesForCurrentThread()
        let start = Stopwatch.GetTimestamp()
        let struct (next, outputs) = Sctp.step now input a
        let ticks = Stopwatch.GetTimestamp() - start
        let octets = GC.GetAllocatedBytesForCurrentThread() - before
        a <- next

        if input.IsReceived then
            sacks <- sacks + 1L
            sackOctets <- sackOctets + octets
            sackTicks <- sackTicks + ticks
        else
            chunkOctets <- chunkOctets + octets
            chunkTicks <- chunkTicks + ticks

        let mutable sent = 0

        for output in outputs do
            match output with
            | SctpOutput.Transmit packet ->
                toB.Enqueue(bytesOf packet)
                sent <- sent + 1
            | _ -> ()

        chunks <- chunks + int64 sent

        if sent > 0 then
            bursts <- bursts + 1L

    let stepB input =
        let struct (next, outputs) = Sctp.step now input b
        b <- next

        for output in outputs do
            match output with
            | SctpOutput.Transmit packet -> toA.Enqueue(bytesOf packet)
            | SctpOutput.Message(_, _, payload) -> consumed <- consumed + payload.Length
            | _ -> ()

    let message = ReadOnlyMemory(Array.zeroCreate 65536)
    stepA SctpInput.Connect

    for turn in 1..turns do
        if turn = turns / 2 then
            chunks <- 0L
            chunkOctets <- 0L
            chunkTicks <- 0L
            sacks <- 0L
            sackOctets <- 0L
            sackTicks <- 0L
            bursts <- 0L

        now <- now + 50L<us>

        if Sctp.state a = SctpState.Established then
            while Sctp.bufferedAmount a < 262144L do
                stepA (
                    SctpInput.Send
                        { Stream = 1us
                          Ppid = 53u
                          Ordered = true
                          Reliability = Reliable
                          Priority = 256us
                          Payload = message }
                )

        if Sctp.deadline a <= now then
            stepA SctpInput.Tick

        let mutable received = 0

        while toB.Count > 0 do
            stepB (SctpInput.Received(ReadOnlyMemory(toB.Dequeue())))
            received <- received + 1

            if received % sackEvery = 0 && Sctp.deadline b <= now then
                stepB SctpInput.Tick

        if Sctp.deadline b <= now then
            stepB SctpInput.Tick

        if consumed > 0 then
            stepB (SctpInput.Consumed consumed)
            consumed <- 0

        while toA.Count > 0 do
            stepA (SctpInput.Received(ReadOnlyMemory(toA.Dequeue())))

    let nanoseconds (ticks: int64) (count: int64) =
        float ticks * 1e9 / float Stopwatch.Frequency / float (max 1L count)

    { Chunk = float chunkOctets / float (max 1L chunks)
      Sack = float sackOctets / float (max 1L sacks)
      ChunkNanoseconds = nanoseconds chunkTicks chunks
      SackNanoseconds = nanoseconds sackTicks sacks
      Burst = float chunks / float (max 1L bursts) }

let tests =
    testList
        "Sctp cost"
        [ testCase
              "a full DATA chunk allocates at most 450 octets, its share of message, tick and packet included"
              (fun () ->
                  let cost = measure 2 2000
                  Expect.isGreaterThan cost.Burst 8.0 "bursts"
                  Expect.isLessThanOrEqual cost.Chunk 450.0 "octets")

          testCase "a SACK without gaps allocates at most 450 octets" (fun () ->
              for sackEvery in [ 1; 2 ] do
                  Expect.isLessThanOrEqual (measure sackEvery 2000).Sack 450.0 $"octets, a SACK every {sackEvery}") ]
