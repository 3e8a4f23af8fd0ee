/// A simulated bottleneck on virtual time: senders of video, and of bulk data, through one queue, each from a seed.
module Hybrid.WebRtc.PropertyTests.Interceptors.Bottleneck

open System
open System.Collections.Generic
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Rtp

/// How the receiver of media tells its sender what came.
type Telling =
    | TransportWide
    | Rfc8888

/// The path that all flows share.
type Path =
    {
        /// Bits a second at a time.
        Rate: Instant -> float
        /// What the queue holds, in time at the present rate; more is dropped.
        Queue: Duration
        /// Without queueing, there and back.
        RoundTrip: Duration
        /// The share of packets that are lost at random, queue or not.
        Loss: float
    }

/// 2 Mbit/s, a queue of 300 ms, 60 ms there and back.
let path: Path =
    { Rate = fun _ -> 2e6
      Queue = Duration.milliseconds 300L
      RoundTrip = Duration.milliseconds 60L
      Loss = 0.0 }

let seconds (s: float) : Instant = int64 (s * 1e6) * 1L<us>

/// Draws from a seed.
type Dice(seed: int64) =
    let mutable entropy = Entropy.ofNumber seed

    member _.Unit() : float =
        let struct (x, e) = Entropy.unit entropy
        entropy <- e
        x

/// Events in order of time, and of scheduling where they are at once.
type Clock() =
    let events = PriorityQueue<(unit -> unit), struct (Instant * int64)>()
    let mutable now: Instant = 0L<us>
    let mutable count = 0L

    member _.Now = now

    member _.At(time: Instant, event: unit -> unit) =
        count <- count + 1L
        events.Enqueue(event, struct (max now time, count))

    member _.Run(until: Instant) =
        let mutable going = true

        while going do
            let mutable event = Unchecked.defaultof<unit -> unit>
            let mutable time = struct (0L<us>, 0L)

            if events.TryPeek(&event, &time) then
                let struct (at, _) = time

                if at <= until then
                    events.Dequeue() |> ignore
                    now <- at
                    event ()
                else
                    going <- false
            else
                going <- false

        now <- until

/// A drop-tail queue before a link.
type Link(clock: Clock, path: Path, dice: Dice) =
    let queue = Queue<struct (int * Instant * (Instant -> unit))>()
    let mutable octets = 0
    let mutable busy = false
    let mutable dropped = 0
    let delays = ResizeArray<struct (Instant * float)>()

    let rec serve () =
        if queue.Count = 0 then
            busy <- false
        else
            busy <- true
            let struct (size, since, arrive) = queue.Dequeue()
            octets <- octets - size
            delays.Add(struct (clock.Now, float (clock.Now - since) / 1000.0))
            let served = clock.Now + seconds (8.0 * float size / path.Rate clock.Now)

            clock.At(
                served,
                fun () ->
                    let at = served + path.RoundTrip / 2L
                    clock.At(at, fun () -> arrive at)
                    serve ()
            )

    member _.Send(size: int, arrive: Instant -> unit) =
        let limit = path.Rate clock.Now / 8.0 * float path.Queue / 1e6

        if dice.Unit() < path.Loss then
            ()
        elif float (octets + size) > limit then
            dropped <- dropped + 1
        else
            queue.Enqueue(struct (size, clock.Now, arrive))
            octets <- octets + size

            if not busy then
                serve ()

    /// The way back has room for all.
    member _.Back(receive: unit -> unit) =
        clock.At(clock.Now + path.RoundTrip / 2L, receive)

    member _.Dropped = dropped

    /// Times that packets waited, in milliseconds, by when they left.
    member _.Delays = delays

/// What arrived, by time.
type Arrivals() =
    let buckets = Dictionary<int, float>()

    member _.Add(at: Instant, octets: int) =
        let bucket = int (at / 100_000L<us>)

        let held =
            match buckets.TryGetValue bucket with
            | true, x -> x
            | _ -> 0.0

        buckets[bucket] <- held + float octets

    /// Bits a second between two times in seconds.
    member _.Rate(from: float, until: float) : float =
        let mutable sum = 0.0

        for bucket in int (from * 10.0) .. int (until * 10.0) - 1 do
            match buckets.TryGetValue bucket with
            | true, x -> sum <- sum + x
            | _ -> ()

        8.0 * sum / (until - from)

type private Feedback =
    | Wide of TransportFeedback
    | Streams of Rtcp

/// A camera at 30 frames a second, whose encoder keeps to the target rate on average, through the pacer; the receiver's
/// recorder; and the feedback between them.
type internal MediaFlow(clock: Clock, link: Link, telling: Telling, config: GccConfig, dice: Dice, start: Instant) =
    let mutable gcc = Gcc.create config
    let mutable pacer: MediaPacer.State<int> = MediaPacer.create ()
    let mutable wide = TransportSendTimes.create 65_500us
    let mutable streams = StreamSendTimes.create ()
    let mutable wideRecorder = TransportCcRecorder.create ()
    let mutable streamRecorder = CcfbRecorder.create ()
    let mutable sequence = 65_000us
    let mutable armed = Instant.never
    let arrivals = Arrivals()
    let targets = ResizeArray<struct (Instant * int)>()
    let probes = ResizeArray<struct (Instant * int)>()
    let mutable cap = Int32.MaxValue
    // Frames' worth that the encoder has made too much.
    let mutable ahead = 0.0

    let total () =
        match telling with
        | TransportWide -> TransportSendTimes.total wide
        | Rfc8888 -> StreamSendTimes.total streams

    let rec arm () =
        let due = Instant.min (MediaPacer.deadline pacer) (Gcc.deadline gcc)

        if due < armed then
            armed <- due
            clock.At(due, fun () -> fire due)

    and fire due =
        if due = armed then
            armed <- Instant.never

            if clock.Now >= Gcc.deadline gcc then
                control (Gcc.Tick(total ()))

            pump ()

    and control input =
        let struct (next, outputs) = Gcc.step clock.Now input gcc
        gcc <- next

        for output in outputs do
            match output with
            | Gcc.Rate bandwidth ->
                targets.Add(struct (clock.Now, bandwidth.Target))
                pacer <- MediaPacer.rate clock.Now bandwidth pacer
            | Gcc.Probe cluster ->
                probes.Add(struct (clock.Now, cluster.Rate))
                pacer <- MediaPacer.probe cluster pacer

    and pump () =
        let struct (next, release) = MediaPacer.release clock.Now pacer
        pacer <- next

        for packet in release.Packets do
            transmit packet.Item packet.Probe

        if release.PaddingWanted > 0 then
            // At most 255 octets of padding a packet, RFC 3550 §5.1.
            let mutable left = release.PaddingWanted

            while left > 0 do
                pacer <- MediaPacer.enqueue clock.Now PacketPriority.Padding 280 280 pacer
                left <- left - 280

            pump ()

        arm ()

    and transmit octets probe =
        let now = clock.Now

        match telling with
        | TransportWide ->
            let sequence = TransportSendTimes.next wide
            wide <- TransportSendTimes.sent now octets probe wide

            link.Send(
                octets,
                fun at ->
                    arrivals.Add(at, octets)
                    wideRecorder <- TransportCcRecorder.received at sequence octets wideRecorder
                    await ()
            )
        | Rfc8888 ->
            let number = sequence
            sequence <- sequence + 1us
            streams <- StreamSendTimes.sent now 7u number octets probe streams

            link.Send(
                octets,
                fun at ->
                    arrivals.Add(at, octets)
                    streamRecorder <- CcfbRecorder.received at 7u number octets 0uy streamRecorder
                    await ()
            )

    and await () =
        let due =
            match telling with
            | TransportWide -> TransportCcRecorder.deadline wideRecorder
            | Rfc8888 -> CcfbRecorder.deadline streamRecorder

        clock.At(due, report)

    and report () =
        match telling with
        | TransportWide ->
            let struct (next, feedback) = TransportCcRecorder.tick clock.Now 1u 7u wideRecorder
            wideRecorder <- next

            for f in feedback do
                link.Back(fun () -> hear (Wide f))
        | Rfc8888 ->
            let ntp = uint32 (int64 clock.Now * 65_536L / 1_000_000L)
            let struct (next, feedback) = CcfbRecorder.tick clock.Now 1u ntp streamRecorder
            streamRecorder <- next

            for f in feedback do
                link.Back(fun () -> hear (Streams f))

    and hear feedback =
        let report =
            match feedback with
            | Wide f ->
                let struct (next, report) = TransportSendTimes.feedback clock.Now f wide
                wide <- next
                report
            | Streams(CongestionFeedback(_, reports, timestamp)) ->
                let struct (next, report) =
                    StreamSendTimes.feedback clock.Now reports timestamp streams

                streams <- next
                report
            | Streams other -> failwith $"the recorder made {other}"

        control (Gcc.Feedback(report, total ()))
        pump ()

    let rec frame (number: int) () =
        let target = float (min cap (Gcc.current gcc).Target)
        // Frames differ; one in a hundred is thrice as large, and those after it are smaller until the encoder's own bucket
        // is level again.
        let wave = if dice.Unit() < 0.01 then 3.0 else 0.7 + 0.6 * dice.Unit()
        let wave = wave - max -0.25 (min 0.25 ahead)
        ahead <- ahead + wave - 1.0
        let mutable left = int (target / 30.0 / 8.0 * wave)

        while left > 0 do
            let octets = max 60 (min 1_200 left)
            pacer <- MediaPacer.enqueue clock.Now PacketPriority.Video octets octets pacer
            left <- left - octets

        pump ()
        clock.At(start + int64 (number + 1) * 33_333L<us>, frame (number + 1))

    do
        clock.At(
            start,
            fun () ->
                control (Gcc.Begin 0L)
                frame 0 ()
        )

    member _.Arrivals = arrivals
    /// Target rates as they changed.
    member _.Targets = targets
    /// Probes that were asked for, with their rates.
    member _.Probes = probes
    member _.Gcc = gcc
    /// The application sends no more than that from now on.
    member _.Cap(rate: int) = cap <- rate

    /// The target at a time in seconds.
    member _.TargetAt(time: float) : float =
        let mutable target = config.Start

        for struct (at, t) in targets do
            if at <= seconds time then
                target <- t

        float target

/// Bulk data as RFC 5681 and 6582 have it: slow start, congestion avoidance, half the window at a loss. All it has is sent.
type BulkFlow(clock: Clock, link: Link, start: Instant) =
    let size = 1_200
    let arrivals = Arrivals()
    let mutable window = 10.0
    let mutable threshold = infinity
    let mutable next = 0L
    let mutable recover = -1L
    // What was sent before a timeout is forgotten.
    let mutable valid = 0L
    // Sent and not known to be lost, in order; and those of them that came, though older ones did not.
    let sent = Queue<int64>()
    let ahead = HashSet<int64>()
    let mutable heardAt: Instant = start

    let rec send () =
        while float (sent.Count - ahead.Count) < window do
            let number = next
            next <- next + 1L
            sent.Enqueue number

            link.Send(
                size,
                fun at ->
                    arrivals.Add(at, size)
                    link.Back(fun () -> acknowledged number)
            )

    and lost number =
        if number > recover then
            threshold <- max 2.0 (window / 2.0)
            window <- threshold
            recover <- next - 1L

    and acknowledged number =
        heardAt <- clock.Now

        if number >= valid then
            ahead.Add number |> ignore

            window <-
                if window < threshold then
                    window + 1.0
                else
                    window + 1.0 / window

            // Three later ones came: it did not.
            while sent.Count > 0 && (ahead.Contains(sent.Peek()) || sent.Peek() < number - 3L) do
                let oldest = sent.Dequeue()

                if not (ahead.Remove oldest) then
                    lost oldest

        send ()

    let rec timer () =
        if clock.Now - heardAt > seconds 1.0 then
            sent.Clear()
            ahead.Clear()
            valid <- next
            threshold <- max 2.0 (window / 2.0)
            window <- 1.0
            heardAt <- clock.Now
            send ()

        clock.At(clock.Now + seconds 0.2, timer)

    do
        clock.At(
            start,
            fun () ->
                heardAt <- clock.Now
                send ()
                timer ()
        )

    member _.Arrivals = arrivals
    member _.Window = window

/// The share `p` of the times that packets waited between two times in seconds are below this, in milliseconds.
let delay (p: float) (from: float) (until: float) (link: Link) : float =
    let chosen =
        [| for struct (at, ms) in link.Delays do
               if at >= seconds from && at < seconds until then
                   ms |]
        |> Array.sort

    if chosen.Length = 0 then
        0.0
    else
        chosen[min (chosen.Length - 1) (int (p * float chosen.Length))]
