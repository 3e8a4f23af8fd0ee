namespace Hybrid.WebRtc.Core

open System

/// The rate at which packets arrive, in bits a second, from windows of 150 ms weighed by how far each strays: libwebrtc's
/// estimator of the acknowledged bitrate.
[<NoComparison; NoEquality>]
type internal Throughput =
    {
        /// Bits a second; 0: not known yet.
        Estimate: float
        /// The same over a second or so, so that frames of different sizes do not show.
        Slow: float
        Variance: float
        /// Arrival of the last packet, by the receiver's clock; `Instant.never` before the first.
        LastReceived: Instant
        /// The present window: how long it is, and octets in it.
        Elapsed: Duration
        Octets: int64
    }

[<RequireQualifiedAccess>]
module internal Throughput =
    let private firstWindow: Duration = Duration.milliseconds 500L

    let private window: Duration = Duration.milliseconds 150L

    let create () : Throughput =
        { Estimate = 0.0
          Slow = 0.0
          Variance = 50.0
          LastReceived = Instant.never
          Elapsed = 0L<us>
          Octets = 0L }

    /// The estimate with one window's rate, in kilobits a second as libwebrtc's constants are.
    let private weighed (sample: float) (t: Throughput) : Throughput =
        let estimate = t.Estimate / 1000.0

        if estimate <= 0.0 then
            { t with
                Estimate = sample * 1000.0
                Slow = sample * 1000.0 }
        else
            let strays = 10.0 * abs (estimate - sample) / estimate
            let uncertainty = strays * strays
            let predicted = t.Variance + 5.0

            let joined =
                (uncertainty * estimate + predicted * sample) / (uncertainty + predicted)

            { t with
                Estimate = max 1.0 joined * 1000.0
                Slow = 0.85 * t.Slow + 0.15 * 1000.0 * sample
                Variance = uncertainty * predicted / (uncertainty + predicted) }

    /// After the application began to send more: what comes next may be far from what was.
    let expectChange (t: Throughput) : Throughput =
        { t with Variance = t.Variance + 200.0 }

    /// Packets came that nothing is known of: the present window says too little.
    let gap (t: Throughput) : Throughput = { t with LastReceived = Instant.never }

    /// With packets that were received, in order of their arrival.
    let feedback (received: PacketResult[]) (t: Throughput) : Throughput =
        let mutable t = t
        let mutable last = t.LastReceived
        let mutable elapsed = t.Elapsed
        let mutable octets = t.Octets

        for i in 0 .. received.Length - 1 do
            let r = received[i]
            let length = if t.Estimate = 0.0 then firstWindow else window

            if last = Instant.never || r.ReceivedAt < last then
                elapsed <- 0L<us>
                octets <- 0L
            else
                let since = r.ReceivedAt - last
                elapsed <- elapsed + since

                // A silence says nothing of the path.
                if since > length then
                    octets <- 0L
                    elapsed <- elapsed % length

                if elapsed >= length then
                    t <- weighed (8000.0 * float octets / float length) t
                    elapsed <- elapsed - length
                    octets <- 0L

            last <- r.ReceivedAt
            octets <- octets + int64 r.Size

        { t with
            LastReceived = last
            Elapsed = elapsed
            Octets = octets }

/// What the path took when it was overused, draft-ietf-rmcat-gcc-02 §5.5: the mean and its spread. libwebrtc.
[<Struct; NoComparison; NoEquality>]
type internal LinkCapacity =
    {
        /// Kilobits a second; 0: not known.
        Mean: float
        Deviation: float
    }

[<RequireQualifiedAccess>]
module internal LinkCapacity =
    let unknown: LinkCapacity = { Mean = 0.0; Deviation = 0.4 }

    let private spread (c: LinkCapacity) = 3.0 * sqrt (c.Deviation * c.Mean)

    /// Bits a second that a throughput near the capacity is not above; infinite where it is not known.
    let upper (c: LinkCapacity) : float =
        if c.Mean = 0.0 then
            infinity
        else
            (c.Mean + spread c) * 1000.0

    let lower (c: LinkCapacity) : float = max 0.0 (c.Mean - spread c) * 1000.0

    let private update (alpha: float) (rate: float) (c: LinkCapacity) : LinkCapacity =
        let sample = rate / 1000.0

        if c.Mean = 0.0 then
            { c with Mean = sample }
        else
            let mean = (1.0 - alpha) * c.Mean + alpha * sample
            let error = mean - sample
            let deviation = (1.0 - alpha) * c.Deviation + alpha * error * error / max 1.0 mean

            { Mean = mean
              Deviation = max 0.4 (min 2.5 deviation) }

    /// With the throughput at which a queue grew.
    let overused (rate: float) (c: LinkCapacity) = update 0.05 rate c

    /// With what a probe found.
    let probed (rate: float) (c: LinkCapacity) = update 0.5 rate c

/// Additive increase, multiplicative decrease, draft-ietf-rmcat-gcc-02 §5.5.
///
///     Hold ──normal──▶ Increase ──overuse──▶ Decrease ──▶ Hold ;  underuse ──▶ Hold
[<NoComparison; NoEquality>]
type internal RateControl =
    {
        /// Bits a second.
        Rate: float
        IsIncreasing: bool
        /// When the rate last changed; `Instant.never`: not yet.
        ChangedAt: Instant
        /// When a probe last raised it; long ago where none did.
        ProbedAt: Instant
        /// When it last decreased; long ago where it never did.
        DecreasedAt: Instant
        Capacity: LinkCapacity
        /// The last throughput that was known; 0: none.
        Throughput: float
        /// The rate to go on with once the queue of a collapse is gone; 0: there was none.
        Aim: float
    }

/// What the rate control is told with each feedback.
[<Struct; NoComparison; NoEquality>]
type internal RateInput =
    {
        Usage: Usage
        /// Bits a second; 0: not known.
        Throughput: float
        /// The same over a second or so.
        SlowThroughput: float
        RoundTrip: Duration
        /// How long the queue is that does not empty.
        Queue: Duration
        /// The queue of the last 50 to 100 ms.
        Recent: Duration
        /// Another flow fills it.
        Competing: bool
    }

[<RequireQualifiedAccess>]
module internal RateControl =
    /// beta, draft-ietf-rmcat-gcc-02 §5.5.
    [<Literal>]
    let private Beta = 0.85

    /// Of what is sent.
    [<Literal>]
    let private Severe = 0.8

    /// The share of what arrives that is sent at least while a queue drains.
    [<Literal>]
    let private Least = 0.25

    /// The share of what arrives that is given up for a second of queue.
    [<Literal>]
    let private Drain = 1.2

    /// What is no queue any more.
    let private drained: Duration = Duration.milliseconds 20L

    /// For that long after a decrease the rate is near the capacity, whatever is known of that.
    let private near: Duration = Duration.seconds 5L

    /// The queue that stands is seen after that time.
    let private settling: Duration = Duration.milliseconds 300L

    /// eta: 8 % a second, draft-ietf-rmcat-gcc-02 §5.5.
    [<Literal>]
    let private Eta = 1.08

    let private longAgo: Instant = Int64.MinValue / 2L * 1L<us>

    let create (start: float) : RateControl =
        { Rate = start
          IsIncreasing = false
          ChangedAt = Instant.never
          ProbedAt = longAgo
          DecreasedAt = longAgo
          Capacity = LinkCapacity.unknown
          Throughput = 0.0
          Aim = 0.0 }

    /// The rate that a probe found.
    let probed (now: Instant) (rate: float) (c: RateControl) : RateControl =
        { c with
            Rate = rate
            ChangedAt = now
            ProbedAt = (if rate > c.Rate then now else c.ProbedAt)
            Capacity = LinkCapacity.probed rate c.Capacity }

    /// A packet a response time, draft-ietf-rmcat-gcc-02 §5.5: the increase a second near the capacity. Of 1,200 octets for
    /// all, so that flows that share a queue come to have equal shares; but no leap for those that send little.
    let private additive (roundTrip: Duration) (rate: float) =
        let response = float (roundTrip + Duration.milliseconds 100L) / 1e6
        max 4_000.0 (min (9_600.0 / response) (0.16 * rate))

    let private increased (now: Instant) (input: RateInput) (c: RateControl) : RateControl =
        let capacity =
            if input.Competing || input.SlowThroughput > LinkCapacity.upper c.Capacity then
                LinkCapacity.unknown
            else
                c.Capacity

        let seconds =
            if c.ChangedAt = Instant.never then
                0.0
            else
                float (min (Duration.seconds 1L) (now - c.ChangedAt)) / 1e6

        // No further than what arrives vouches for.
        let limit =
            if input.Throughput > 0.0 then
                1.5 * input.Throughput + 10_000.0
            else
                infinity

        let wanted =
            if capacity.Mean > 0.0 || now - c.DecreasedAt < near then
                c.Rate + seconds * additive input.RoundTrip c.Rate
            else
                c.Rate + max 1_000.0 (c.Rate * (Eta ** seconds - 1.0))

        { c with
            Rate = (if c.Rate < limit then min wanted limit else c.Rate)
            Capacity = capacity
            ChangedAt = now }

    /// Far less arrives than is sent: the path has changed. What a probe allowed is not sent at once.
    let isSevere (now: Instant) (input: RateInput) (c: RateControl) =
        not input.Competing
        && input.Throughput > 0.0
        && max input.Throughput input.SlowThroughput < Severe * c.Rate
        && now - c.ProbedAt > Duration.seconds 1L

    /// The share of what arrives that is sent while a queue of that length drains.
    let private draining (queue: Duration) =
        max Least (Beta - Drain * float queue / 1e6)

    let private decreased (now: Instant) (input: RateInput) (c: RateControl) : RateControl =
        let queue = float input.Queue / 1e6

        let measured =
            if input.Throughput > 0.0 then
                input.Throughput
            else
                c.Throughput

        let severe = isSevere now input c

        let wanted =
            if severe then
                // What arrives is what the path has; less than that, so that the queue is gone within a second or so.
                draining input.Queue * measured
            elif input.Competing then
                0.95 * c.Rate
            else
                // All who share the queue see the same of it and give up the same share, so that they come to have equal
                // shares. Where more arrives than is sent the queue drains already.
                (max 0.6 (0.94 - 0.8 * queue)) * max c.Rate input.Throughput

        let slow =
            if input.SlowThroughput > 0.0 then
                input.SlowThroughput
            else
                measured

        let capacity =
            if slow < LinkCapacity.lower c.Capacity then
                LinkCapacity.unknown
            else
                c.Capacity

        { c with
            Rate = min c.Rate wanted
            IsIncreasing = false
            ChangedAt = now
            DecreasedAt = now
            Aim =
                (if severe then Beta * measured
                 elif input.Competing then 0.0
                 else c.Aim)
            Capacity =
                if slow > 0.0 then
                    LinkCapacity.overused slow capacity
                else
                    capacity }

    /// Whether the last decrease has had time to show, or was by far too little.
    let private mayDecrease (now: Instant) (input: RateInput) (c: RateControl) =
        let interval =
            if isSevere now input c then
                max 10_000L<us> (min 200_000L<us> input.RoundTrip)
            else
                settling + input.RoundTrip

        now - c.DecreasedAt >= interval

    /// With what a feedback packet says.
    let feedback (now: Instant) (input: RateInput) (c: RateControl) : RateControl =
        let next =
            match input.Usage with
            | Usage.Over when not (mayDecrease now input c) -> { c with IsIncreasing = false }
            | Usage.Over -> decreased now input c
            | _ when c.Aim > 0.0 && input.Recent <= drained ->
                { c with
                    Rate = max c.Rate c.Aim
                    Aim = 0.0
                    ChangedAt = now }
            // The queue drains: what is in it would only be taken for room.
            | Usage.Under -> { c with IsIncreasing = false }
            | _ when not c.IsIncreasing ->
                { c with
                    IsIncreasing = true
                    ChangedAt = now }
            | _ -> increased now input c

        // How long the queue of a collapse is shows only once its end arrives.
        let next =
            if next.Aim > 0.0 then
                { next with
                    Rate = min next.Rate (draining input.Recent * next.Aim / Beta) }
            else
                next

        if input.Throughput > 0.0 then
            { next with
                Throughput = input.Throughput }
        else
            next
