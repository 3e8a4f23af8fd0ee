namespace Hybrid.WebRtc.PropertyTests.Sctp

open System
open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association
open Hybrid.WebRtc.PropertyTests
open Hybrid.WebRtc.Stack

/// A link with a rate and a queue: what does not fit into the queue is lost.
type LinkRate =
    {
        /// Bits a second, UDP payload and 28 octets of headers.
        Rate: float
        /// Octets that may wait.
        Queue: int
        /// There and back, without the queue.
        RoundTrip: Duration
        /// Probability that a packet is lost anyway.
        Loss: float
    }

[<RequireQualifiedAccess>]
module LinkRate =
    let bandwidthDelay (rate: float) (trip: Duration) : int = int (rate / 8.0 * float trip / 1e6)

    /// A queue of `share` of bandwidth times delay, and of ten packets at least.
    let create (megabits: float) (milliseconds: int64) (share: float) (loss: float) : LinkRate =
        let rate = megabits * 1e6
        let trip = Duration.milliseconds milliseconds

        { Rate = rate
          Queue = max 15_000 (int (share * float (bandwidthDelay rate trip)))
          RoundTrip = trip
          Loss = loss }

/// One association over a `Bottleneck`: A sends as much as it may, B takes it all.
type Transfer(seed: int64, change: SctpConfig -> SctpConfig) =
    let config = change (SctpConfig.create SystemCiphers.Shared)
    let entropy = Entropy.ofNumber seed

    member val Ends =
        [| Sctp.create (Entropy.split "a" entropy) config
           Sctp.create (Entropy.split "b" entropy) config |] with get

    member _.Config = config
    /// Octets delivered.
    member val Delivered = 0L with get, set
    member val DeliveredAt: Instant = 0L<us> with get, set
    /// The longest time between two deliveries.
    member val Stall: Duration = 0L<us> with get, set
    member val Stopped = false with get, set
    member val Queued = 0L with get, set

/// Transfers that share a link from A to B, in virtual time; the way back is free. Far leaner than `SctpPair`: it runs a
/// million packets in seconds.
type Bottleneck(link: LinkRate, transfers: Transfer[], seed: int64) =
    let mutable link = link
    let mutable now: Instant = Duration.seconds 1L
    let mutable entropy = Entropy.split "link" (Entropy.ofNumber seed)
    // Arrivals each way, in order: instant, transfer, packet.
    let ways =
        [| Queue<struct (Instant * int * byte[] * int)>()
           Queue<struct (Instant * int * byte[] * int)>() |]

    let pool = Stack<byte[]>()
    // When the link will have sent all that waits.
    let mutable busyUntil = 0.0

    let message =
        ReadOnlyMemory(Array.zeroCreate (if link.Loss > 0.0 then 4096 else 65536))

    let mutable dropped = 0

    member _.Now = now
    member _.Dropped = dropped

    member _.Link
        with get () = link
        and set value = link <- value

    member private this.Send(t: int, who: int, packet: SctpPacket) : unit =
        let size = SctpPacket.size packet

        let lost =
            who = 0
            && (let waiting = max 0.0 (busyUntil - float now) * link.Rate / 8e6

                waiting + float size > float link.Queue
                || (link.Loss > 0.0
                    && (let struct (drawn, e) = Entropy.unit entropy
                        entropy <- e
                        drawn < link.Loss)))

        if lost then
            dropped <- dropped + 1
        else
            let buffer =
                if pool.Count > 0 then
                    pool.Pop()
                else
                    Array.zeroCreate 65536

            let written = SctpPacket.write (Span buffer) packet
            let half = link.RoundTrip / 2L

            let at =
                if who = 0 then
                    busyUntil <- max busyUntil (float now) + float (size + 65) * 8e6 / link.Rate
                    int64 busyUntil * 1L<us> + half
                else
                    now + half

            ways[1 - who].Enqueue(struct (at, t, buffer, written))

    member private this.Step(t: int, who: int, input: SctpInput) : unit =
        let transfer = transfers[t]
        let struct (next, outputs) = Sctp.step now input transfer.Ends[who]
        transfer.Ends[who] <- next
        let mutable consumed = 0

        for output in outputs do
            match output with
            | SctpOutput.Transmit packet -> this.Send(t, who, packet)
            | SctpOutput.Message(_, _, payload) -> consumed <- consumed + payload.Length
            | SctpOutput.Failed fault -> failtestf "failed: %s" fault.Reason
            | _ -> ()

        if consumed > 0 then
            if transfer.Delivered > 0L then
                transfer.Stall <- max transfer.Stall (now - transfer.DeliveredAt)

            transfer.Delivered <- transfer.Delivered + int64 consumed
            transfer.DeliveredAt <- now
            this.Step(t, who, SctpInput.Consumed consumed)

    /// Sends so that there is always something to send.
    member private this.Feed(t: int) : unit =
        let transfer = transfers[t]

        if not transfer.Stopped && Sctp.state transfer.Ends[0] = SctpState.Established then
            while Sctp.bufferedAmount transfer.Ends[0] < 262144L do
                this.Step(
                    t,
                    0,
                    SctpInput.Send
                        { Stream = 1us
                          Ppid = 53u
                          Ordered = true
                          Reliability = Reliable
                          Priority = 256us
                          Payload = message }
                )

    member this.Connect(t: int) : unit = this.Step(t, 0, SctpInput.Connect)

    member this.Advance(until: Instant) : bool =
        let mutable next = Instant.never

        for way in ways do
            if way.Count > 0 then
                let struct (at, _, _, _) = way.Peek()
                next <- Instant.min next at

        for transfer in transfers do
            next <- Instant.min next (Instant.min (Sctp.deadline transfer.Ends[0]) (Sctp.deadline transfer.Ends[1]))

        if next > until then
            now <- max now until
            false
        else
            now <- max now next

            for who in 0..1 do
                let way = ways[who]
                let mutable going = true

                while going && way.Count > 0 do
                    let struct (at, t, buffer, size) = way.Peek()

                    if at > now then
                        going <- false
                    else
                        way.Dequeue() |> ignore
                        this.Step(t, who, SctpInput.Received(ReadOnlyMemory(buffer, 0, size)))
                        pool.Push buffer

            for t in 0 .. transfers.Length - 1 do
                this.Feed t

                for who in 0..1 do
                    if Sctp.deadline transfers[t].Ends[who] <= now then
                        let flight () =
                            match Sctp.figures transfers[t].Ends[who] with
                            | ValueSome f -> struct (f.FlightSize, f.CongestionWindow)
                            | ValueNone -> struct (0, 0)

                        let struct (before, _) = flight ()
                        this.Step(t, who, SctpInput.Tick)

                        if Sctp.deadline transfers[t].Ends[who] <= now then
                            failtest "a tick at the deadline left the deadline"

                        let struct (after, window) = flight ()
                        // One packet may go beyond the window: a fast retransmit, a probe.
                        let packet = Sctp.mtu transfers[t].Ends[who]

                        if after > window + packet && after > before + packet then
                            failtestf "%d octets in flight, of a window of %d" after window

            true

    member this.Run(length: Duration) : unit =
        let until = now + length

        while this.Advance until do
            ()

    /// Octets a second delivered of each transfer over `length`.
    member this.Measure(length: Duration) : float[] =
        let before = transfers |> Array.map _.Delivered
        this.Run length
        Array.map2 (fun (t: Transfer) b -> float (t.Delivered - b) / (float length / 1e6)) transfers before
