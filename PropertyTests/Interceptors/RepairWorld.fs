/// What the tests of the repair machines share: dice, packets, and a path that loses them, all from a seed and on virtual time.
module Hybrid.WebRtc.PropertyTests.Interceptors.RepairWorld

open System
open System.Collections.Generic
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp

let ms (n: int) : Duration = Duration.milliseconds (int64 n)

/// Draws from a seed.
type Draws(seed: int64) =
    let mutable entropy = Entropy.ofNumber seed

    /// From 0 to `bound - 1`.
    member _.Below(bound: int) : int =
        let struct (n, e) = Entropy.below bound entropy
        entropy <- e
        n

    /// From 0 to 1.
    member _.Unit() : float =
        let struct (x, e) = Entropy.unit entropy
        entropy <- e
        x

    member draws.Bytes(count: int) : byte[] =
        Array.init count (fun _ -> byte (draws.Below 256))

/// A packet of a stream.
let packet (sequence: uint16) (timestamp: uint32) (payload: byte[]) : RtpPacket =
    { Marker = false
      PayloadType = 96uy
      SequenceNumber = sequence
      Timestamp = timestamp
      Ssrc = 0x1234_5678u
      Csrcs = ReadOnlyMemory.Empty
      ExtensionProfile = 0us
      Extensions = ReadOnlyMemory.Empty
      Map = ExtensionMap.Empty
      Payload = ReadOnlyMemory payload
      Padding = 0uy }

/// Things to happen, in order of time, and of scheduling where they are at once.
type Agenda() =
    let events = PriorityQueue<unit -> unit, struct (Instant * int64)>()
    let mutable now: Instant = 1_000_000L<us>
    let mutable count = 0L

    member _.Now = now

    member _.At(time: Instant, event: unit -> unit) : unit =
        count <- count + 1L
        events.Enqueue(event, struct (max now time, count))

    /// Until nothing is left to happen.
    member _.Run() : unit =
        let mutable event = Unchecked.defaultof<unit -> unit>
        let mutable time = struct (0L<us>, 0L)

        while events.TryDequeue(&event, &time) do
            let struct (at, _) = time
            now <- at
            event ()

/// The numbers that NACK pairs stand for.
let expand (pairs: NackPair[]) : uint16 list =
    [ for pair in pairs do
          yield pair.PacketId

          for bit in 0..15 do
              if (pair.Bitmask >>> bit) &&& 1us = 1us then
                  yield pair.PacketId + uint16 (bit + 1) ]
