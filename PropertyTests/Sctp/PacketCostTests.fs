/// What one packet costs in octets allocated: exact, hence a gate.
module Hybrid.WebRtc.PropertyTests.Sctp.PacketCostTests

open System
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.PropertyTests

/// An association whose end `b` is fed by hand with the packets that `a` sends.
let private captured (messages: byte[] list) (ordered: bool) : SctpPair * byte[][] =
    let pair = SctpPair(Weather.fair, 1L, (fun c -> { c with MaxMtu = c.Mtu }))
    pair.Establish()
    pair.Run(Duration.seconds 1L)
    // All streams' state is there.
    pair.Send(0, 1, Array.zeroCreate 3_900)
    pair.Run(Duration.seconds 1L)
    let packets = ResizeArray<byte[]>()

    pair.Filter <-
        fun who bytes ->
            if who = 0 then
                packets.Add bytes

            who <> 0

    for message in messages do
        pair.Send(0, 1, message, ordered = ordered)
        pair.Run(Duration.milliseconds 1L)

    pair, packets.ToArray()

/// Octets that the step of each packet allocates, the received ones' input not counted.
let private costs (pair: SctpPair) (packets: byte[][]) : int64[] =
    let mutable state = pair.B.State
    let inputs = packets |> Array.map (ReadOnlyMemory >> SctpInput.Received)
    let costs = Array.zeroCreate inputs.Length

    for i in 0 .. inputs.Length - 1 do
        let before = GC.GetAllocatedBytesForCurrentThread()
        let struct (next, _) = Sctp.step pair.Now inputs[i] state
        costs[i] <- GC.GetAllocatedBytesForCurrentThread() - before
        state <- next

    costs

/// Most that may be allocated beside what a payload is copied to: by the first packet of a batch, which notes when a SACK
/// is due, and by one for which that is known.
let private first, others = 520L, 450L

/// Octets of the array that a payload is copied to.
let private copy (length: int) = int64 ((24 + length + 7) &&& ~~~7)

let tests =
    testList
        "Sctp packet cost"
        [ testCase "a packet with a fragment from the midst of a message: at most 450 octets (issue 3)" (fun () ->
              // Several packets long, and of the length of the message before: its memory is there from the second on.
              let pair, packets = captured [ Array.zeroCreate 3_900 ] true
              let costs = costs pair packets
              Expect.isGreaterThanOrEqual costs.Length 4 "beginning, midst, end"
              Expect.isLessThanOrEqual costs[1] first "at first"
              Expect.isLessThanOrEqual costs[2] others "in a batch")

          testCase "a packet with a whole message: at most 450 octets, and the message" (fun () ->
              let pair, packets = captured [ for _ in 1..4 -> Array.zeroCreate 1_000 ] false
              let costs = costs pair packets |> Array.map (fun cost -> cost - copy 1_000)
              Expect.equal costs.Length 4 "a packet each"
              Expect.isLessThanOrEqual (Array.max costs) first "at first"
              Expect.isLessThanOrEqual (Array.max costs[2..]) others "in a batch") ]
