namespace Hybrid.WebRtc.Core

open System

/// What the delay says of the path, draft-ietf-rmcat-gcc-02 §5.4.
type internal Usage =
    | Normal = 0
    /// A queue is growing.
    | Over = 1
    /// A queue is draining.
    | Under = 2

/// Packets that were sent within 5 ms, or that came in one burst, as one, draft-ietf-rmcat-gcc-02 §5.2.
[<Struct; NoComparison; NoEquality>]
type internal PacketGroup =
    {
        /// `Instant.never`: no group.
        FirstSent: Instant
        LastSent: Instant
        FirstReceived: Instant
        LastReceived: Instant
    }

/// The slope of the delay over the last groups, and what it means. Times are in milliseconds, as the constants are.
[<NoComparison; NoEquality>]
type internal Trendline =
    {
        /// Groups since the start, up to 1,000.
        Deltas: int
        FirstReceived: Instant
        /// The delay since the first group, and the same smoothed.
        Accumulated: float
        Smoothed: float
        /// Arrival and smoothed delay of the last groups, oldest first.
        History: struct (float * float)[]
        Slope: float
        Detector: Detector
    }

/// The overuse detector and its threshold, draft-ietf-rmcat-gcc-02 §5.4 and §5.5.
and [<NoComparison; NoEquality>] internal Detector =
    {
        Usage: Usage
        Threshold: float
        /// When the threshold was adapted; `Instant.never`: not yet.
        AdaptedAt: Instant
        /// How long the slope has been over the threshold; negative: it is not.
        OverFor: float
        OverCount: int
    }

/// The queue that never empties, which is not the frames' own: the least delay of a while against the least ever. libwebrtc
/// looks at the slope alone; but a queue that has grown too slowly to be seen stands, and is delay for everybody.
///
///     Alone ──it does not empty, whatever we give up, for 4 s──▶ Competing ──it is empty, and stays so──▶ Alone
///
/// Whoever fills a queue that we do not is a flow that only losses stop, and we would starve if we gave way to it.
[<NoComparison; NoEquality>]
type internal StandingQueue =
    {
        /// The least time from sending to arrival, of two clocks; it creeps up, as clocks drift. `never` before the first.
        Base: Duration
        /// Of the present bucket of time, and of the one before it.
        Present: Duration
        Before: Duration
        /// By the receiver's clock.
        BucketAt: Instant
        /// When it was last seen empty, by the receiver's clock.
        EmptyAt: Instant
        Competing: bool
        /// Since when it has been empty while competing; `never`: it is not.
        QuietSince: Instant
        /// How close upon one another packets have come, in the present bucket and the one before it.
        Closeness: Closeness
    }

/// Whether packets come far faster than they are sent on average, close upon one another. Those that wait in a queue which our rate has
/// filled do not: they come at the rate of the path, which is about ours. So it is not a queue that they have waited in but a process,
/// ours or the peer's, which was held up, or a queue that is not ours to drain.
and [<Struct; NoComparison; NoEquality>] internal Closeness =
    {
        /// Of the last packet, by the receiver's clock; `never` before it.
        LastAt: Instant
        Close: int
        Packets: int
        CloseBefore: int
        PacketsBefore: int
    }

[<RequireQualifiedAccess>]
module internal Closeness =
    /// Times our rate.
    [<Literal>]
    let private Faster = 6.0

    /// Packets that tell something.
    [<Literal>]
    let private Enough = 3

    let unknown: Closeness =
        { LastAt = Instant.never
          Close = 0
          Packets = 0
          CloseBefore = 0
          PacketsBefore = 0 }

    /// With a packet, where so many bits a second are sent. `isNext`: a bucket begins with it.
    let packet (receivedAt: Instant) (octets: int) (rate: float) (isNext: bool) (c: Closeness) : Closeness =
        let isClose =
            c.LastAt <> Instant.never
            && Faster * rate * float (receivedAt - c.LastAt) <= 8e6 * float octets

        let close = if isClose then 1 else 0

        if isNext then
            { LastAt = receivedAt
              Close = close
              Packets = 1
              CloseBefore = c.Close
              PacketsBefore = c.Packets }
        else
            { c with
                LastAt = receivedAt
                Close = c.Close + close
                Packets = c.Packets + 1 }

    /// Whether four of five do: fewer may be those of a queue that the receiver's process reads a few at a time.
    let isHigh (c: Closeness) : bool =
        let packets = c.Packets + c.PacketsBefore
        packets >= Enough && 5 * (c.Close + c.CloseBefore) >= 4 * packets

[<RequireQualifiedAccess>]
module internal StandingQueue =
    /// Long enough for two frames of video, whose own packets queue behind each other.
    let private bucket: Duration = Duration.milliseconds 150L

    /// What is a queue to be drained.
    let private least: Duration = Duration.milliseconds 20L

    /// What is none.
    let private jitter: Duration = Duration.milliseconds 8L

    /// For that long a queue of our own would not stand.
    let private stubborn: Duration = Duration.seconds 4L

    let private quiet: Duration = Duration.seconds 3L

    let unknown: StandingQueue =
        { Base = Instant.never
          Present = Instant.never
          Before = Instant.never
          BucketAt = Instant.never
          EmptyAt = Instant.never
          Competing = false
          QuietSince = Instant.never
          Closeness = Closeness.unknown }

    /// How long it is.
    let length (q: StandingQueue) : Duration =
        let shortest = Instant.min q.Present q.Before

        if shortest = Instant.never then
            0L<us>
        else
            shortest - q.Base

    /// Whether there is one at all.
    let stands (q: StandingQueue) : bool = length q > jitter

    /// Whether it is one that we should drain, and it does not drain already.
    let isToDrain (q: StandingQueue) : bool =
        not q.Competing
        && q.Before <> Instant.never
        && q.Present <> Instant.never
        && length q > least
        && q.Present >= q.Before - 2_000L<us>
        && not (Closeness.isHigh q.Closeness)

    /// With a packet, where so many bits a second are sent.
    let packet (sentAt: Instant) (receivedAt: Instant) (octets: int) (rate: float) (q: StandingQueue) : StandingQueue =
        let delay = receivedAt - sentAt

        let isNext = q.Base <> Instant.never && receivedAt - q.BucketAt >= bucket

        let q =
            { q with
                Closeness = Closeness.packet receivedAt octets rate isNext q.Closeness }

        if q.Base = Instant.never then
            { q with
                Base = delay
                Present = delay
                BucketAt = receivedAt
                EmptyAt = receivedAt }
        elif not isNext then
            if delay < q.Present then { q with Present = delay } else q
        else
            // A quarter of a millisecond a second.
            let drift = max 0L<us> ((receivedAt - q.BucketAt) / 4_000L)
            let shortest = Instant.min q.Present q.Before
            let floor = Instant.min (q.Base + drift) q.Present
            let isEmpty = shortest - floor <= least

            let quietSince =
                if not isEmpty then Instant.never
                elif q.QuietSince = Instant.never then receivedAt
                else q.QuietSince

            let emptyAt = if isEmpty then receivedAt else q.EmptyAt

            { Base = floor
              Present = delay
              Before = q.Present
              BucketAt = receivedAt
              EmptyAt = emptyAt
              Competing =
                (if q.Competing then
                     not (isEmpty && receivedAt - quietSince > quiet)
                 else
                     receivedAt - emptyAt > stubborn)
              QuietSince = quietSince
              Closeness = q.Closeness }

/// Packets that came in one stretch of 50 ms.
[<Struct; NoComparison; NoEquality>]
type internal ArrivalStretch =
    {
        /// When the first was sent, and when it came; `Instant.never`: none came.
        Sent: Instant
        Received: Instant
        /// The least time from sending to arrival, of two clocks.
        Shortest: Duration
        Octets: int
    }

/// The last two stretches: a path that has lost most of its room at once is seen in them long before a queue stands.
[<Struct; NoComparison; NoEquality>]
type internal Surge =
    {
        /// When the present one began, by the receiver's clock; `Instant.never` before the first packet.
        Since: Instant
        LastSent: Instant
        LastReceived: Instant
        Present: ArrivalStretch
        Former: ArrivalStretch
    }

[<RequireQualifiedAccess>]
module internal Surge =
    let private length: Duration = Duration.milliseconds 50L

    /// A frame that is sent at 2.5 times the rate leaves less behind.
    let private least: Duration = Duration.milliseconds 30L

    /// Fewer octets are too few packets to tell from.
    let private enough: int = 2_000

    let private nothing: ArrivalStretch =
        { Sent = Instant.never
          Received = Instant.never
          Shortest = Instant.never
          Octets = 0 }

    let unknown: Surge =
        { Since = Instant.never
          LastSent = Instant.never
          LastReceived = Instant.never
          Present = nothing
          Former = nothing }

    /// With a packet.
    let packet (sentAt: Instant) (receivedAt: Instant) (octets: int) (s: Surge) : Surge =
        let delay = receivedAt - sentAt

        if s.Since <> Instant.never && receivedAt - s.Since < length then
            { s with
                LastSent = max s.LastSent sentAt
                LastReceived = max s.LastReceived receivedAt
                Present =
                    { s.Present with
                        Shortest = Instant.min s.Present.Shortest delay
                        Octets = s.Present.Octets + octets } }
        else
            let follows = s.Since <> Instant.never && receivedAt - s.Since < 2L * length

            { Since = (if follows then s.Since + length else receivedAt)
              LastSent = sentAt
              LastReceived = receivedAt
              Present =
                { Sent = sentAt
                  Received = receivedAt
                  Shortest = delay
                  Octets = octets }
              Former = if follows then s.Present else nothing }

    /// The queue that no packet of both stretches was without. `shortestEver`: the least time from sending to arrival.
    let queue (shortestEver: Duration) (s: Surge) : Duration =
        if s.Since = Instant.never || shortestEver = Instant.never then
            0L<us>
        else
            Instant.min s.Present.Shortest s.Former.Shortest - shortestEver

    /// Whether that queue is long already, and grows by a third of the time at least.
    let grows (shortestEver: Duration) (s: Surge) : bool =
        let sent = s.LastSent - s.Former.Sent
        let received = s.LastReceived - s.Former.Received

        s.Former.Sent <> Instant.never
        && s.Present.Octets + s.Former.Octets >= enough
        && queue shortestEver s > least
        && sent >= 0L<us>
        && 3L * received >= 4L * sent

    /// Bits a second that came.
    let rate (s: Surge) : float =
        8e6 * float (s.Present.Octets + s.Former.Octets)
        / float (s.LastReceived - s.Since + length)

/// The delay-based half of the estimator: inter-group delays and their trend, draft-ietf-rmcat-gcc-02 §5.2 to §5.5, with
/// the line fit that libwebrtc uses in place of the Kalman filter.
[<RequireQualifiedAccess>]
module internal DelayBased =
    [<NoComparison; NoEquality>]
    type State =
        {
            Current: PacketGroup
            Previous: PacketGroup
            Trend: Trendline
            Queue: StandingQueue
            Surge: Surge
            /// When the last feedback came.
            LastAt: Instant
            /// What is sent, bits a second.
            Rate: float
        }

    /// burst_time, draft-ietf-rmcat-gcc-02 §5.2.
    let private burst: Duration = Duration.milliseconds 5L

    /// A burst of arrivals is one group for that long at most. libwebrtc.
    let private longestBurst: Duration = Duration.milliseconds 100L

    /// After a silence that long the delay begins anew. libwebrtc.
    let private silence: Duration = Duration.seconds 2L

    /// A jump of the receiver's clock. libwebrtc.
    let private jump: Duration = Duration.seconds 3L

    /// Groups that the line is laid through. libwebrtc.
    [<Literal>]
    let private Window = 20

    /// Share of the old in the smoothed delay. libwebrtc.
    [<Literal>]
    let private Smoothing = 0.9

    /// What a slope is multiplied by before it is compared. libwebrtc.
    [<Literal>]
    let private Gain = 4.0

    /// Milliseconds that the slope has to be over the threshold, draft-ietf-rmcat-gcc-02 §5.4: overuse_time_th.
    [<Literal>]
    let private OveruseTime = 10.0

    /// K_u and K_d, draft-ietf-rmcat-gcc-02 §5.4, as libwebrtc has them.
    [<Literal>]
    let private AdaptUp = 0.0087

    [<Literal>]
    let private AdaptDown = 0.039

    let private none: PacketGroup =
        { FirstSent = Instant.never
          LastSent = Instant.never
          FirstReceived = Instant.never
          LastReceived = Instant.never }

    let private flat: Trendline =
        { Deltas = 0
          FirstReceived = Instant.never
          Accumulated = 0.0
          Smoothed = 0.0
          History = Array.Empty()
          Slope = 0.0
          Detector =
            { Usage = Usage.Normal
              Threshold = 12.5
              AdaptedAt = Instant.never
              OverFor = -1.0
              OverCount = 0 } }

    let create () : State =
        { Current = none
          Previous = none
          Trend = flat
          Queue = StandingQueue.unknown
          Surge = Surge.unknown
          LastAt = Instant.never
          Rate = 0.0 }

    /// At another rate, bits a second.
    let at (rate: float) (state: State) : State = { state with Rate = rate }

    /// What the delay says of the path.
    let usage (state: State) : Usage =
        match state.Trend.Detector.Usage with
        | _ when StandingQueue.isToDrain state.Queue -> Usage.Over
        // A slope without a queue that stands is that of a frame, whose packets come at 2.5 times the rate.
        | Usage.Over when not (StandingQueue.stands state.Queue) -> Usage.Normal
        | usage -> usage

    /// The queue of the last 50 to 100 ms.
    let recent (state: State) : Duration =
        Surge.queue state.Queue.Base state.Surge

    /// Whether packets have waited for a process that was held up, and not in a queue.
    let isHeldUp (state: State) : bool = Closeness.isHigh state.Queue.Closeness

    /// Whether a queue is growing at once, and much longer already than it should be.
    let surges (state: State) : bool =
        not state.Queue.Competing && Surge.grows state.Queue.Base state.Surge

    let inline private ms (d: Duration) = float d / 1000.0

    /// The slope of the line through the points, by least squares; `otherwise` where they lie upon one another.
    let private fit (points: struct (float * float)[]) (otherwise: float) =
        let n = float points.Length
        let mutable sx = 0.0
        let mutable sy = 0.0

        for struct (x, y) in points do
            sx <- sx + x
            sy <- sy + y

        let mx = sx / n
        let my = sy / n
        let mutable over = 0.0
        let mutable under = 0.0

        for struct (x, y) in points do
            over <- over + (x - mx) * (y - my)
            under <- under + (x - mx) * (x - mx)

        if under = 0.0 then otherwise else over / under

    /// gamma_1 follows the slope, so that a flow that fills queues does not starve us, draft-ietf-rmcat-gcc-02 §5.4.
    let private adapt (now: Instant) (slope: float) (d: Detector) : Detector =
        let since = if d.AdaptedAt = Instant.never then now else d.AdaptedAt
        let size = abs slope

        if size > d.Threshold + 15.0 then
            // A spike is no trend.
            { d with AdaptedAt = now }
        else
            let k = if size < d.Threshold then AdaptDown else AdaptUp
            let dt = min 100.0 (ms (now - since))

            { d with
                Threshold = max 6.0 (min 600.0 (d.Threshold + k * (size - d.Threshold) * dt))
                AdaptedAt = now }

    let private detect (now: Instant) (sendDelta: float) (groups: int) (slope: float) (before: float) (d: Detector) =
        if groups < 2 then
            { d with Usage = Usage.Normal }
        else
            let weighed = float (min groups 60) * slope * Gain

            let detected =
                if weighed > d.Threshold then
                    let over =
                        if d.OverFor < 0.0 then
                            sendDelta / 2.0
                        else
                            d.OverFor + sendDelta

                    let count = d.OverCount + 1

                    if over > OveruseTime && count > 1 && slope >= before then
                        { d with
                            Usage = Usage.Over
                            OverFor = 0.0
                            OverCount = 0 }
                    else
                        { d with
                            OverFor = over
                            OverCount = count }
                else
                    { d with
                        Usage = (if weighed < -d.Threshold then Usage.Under else Usage.Normal)
                        OverFor = -1.0
                        OverCount = 0 }

            adapt now weighed detected

    let private follow (received: Instant) (receiveDelta: float) (sendDelta: float) (t: Trendline) : Trendline =
        let first =
            if t.FirstReceived = Instant.never then
                received
            else
                t.FirstReceived

        let deltas = min 1_000 (t.Deltas + 1)
        let accumulated = t.Accumulated + receiveDelta - sendDelta
        let smoothed = Smoothing * t.Smoothed + (1.0 - Smoothing) * accumulated
        let skip = if t.History.Length = Window then 1 else 0
        let history = Array.zeroCreate (t.History.Length - skip + 1)
        Array.Copy(t.History, skip, history, 0, history.Length - 1)
        history[history.Length - 1] <- struct (ms (received - first), smoothed)

        let slope =
            if history.Length = Window then
                fit history t.Slope
            else
                t.Slope

        { Deltas = deltas
          FirstReceived = first
          Accumulated = accumulated
          Smoothed = smoothed
          History = history
          Slope = slope
          Detector = detect received sendDelta deltas slope t.Slope t.Detector }

    let private opened (r: PacketResult) : PacketGroup =
        { FirstSent = r.SentAt
          LastSent = r.SentAt
          FirstReceived = r.ReceivedAt
          LastReceived = r.ReceivedAt }

    let private belongs (r: inref<PacketResult>) (g: inref<PacketGroup>) =
        if r.SentAt - g.FirstSent <= burst then
            true
        else
            // Packets that queued behind others and came at once.
            let receiveDelta = r.ReceivedAt - g.LastReceived
            let sendDelta = r.SentAt - g.LastSent

            sendDelta = 0L<us>
            || (receiveDelta < sendDelta
                && receiveDelta <= burst
                && r.ReceivedAt - g.FirstReceived < longestBurst)

    /// With the packets of a feedback packet that were received, in order of their arrival. `hasGap`: others came that nothing is
    /// known of.
    let feedback (now: Instant) (hasGap: bool) (received: PacketResult[]) (state: State) : State =
        let isStale = state.LastAt = Instant.never || now - state.LastAt > silence
        let mutable current = if isStale then none else state.Current
        let mutable previous = if isStale then none else state.Previous
        let mutable queue = if isStale then StandingQueue.unknown else state.Queue
        let mutable surge = if isStale || hasGap then Surge.unknown else state.Surge
        // The threshold has learnt what others on the path do.
        let mutable trend =
            if isStale then
                { flat with
                    Detector =
                        { flat.Detector with
                            Threshold = state.Trend.Detector.Threshold } }
            else
                state.Trend

        for i in 0 .. received.Length - 1 do
            let r = received[i]
            queue <- StandingQueue.packet r.SentAt r.ReceivedAt r.Size state.Rate queue
            surge <- Surge.packet r.SentAt r.ReceivedAt r.Size surge

            if current.FirstSent = Instant.never then
                current <- opened r
            elif abs (r.ReceivedAt - current.LastReceived) > jump then
                current <- opened r
                previous <- none
                queue <- StandingQueue.packet r.SentAt r.ReceivedAt r.Size state.Rate StandingQueue.unknown
                surge <- Surge.packet r.SentAt r.ReceivedAt r.Size Surge.unknown
            elif r.SentAt < current.FirstSent then
                // Overtaken: its delay is not that of the queue now.
                ()
            elif belongs &r &current then
                current <-
                    { current with
                        LastSent = max current.LastSent r.SentAt
                        LastReceived = max current.LastReceived r.ReceivedAt }
            else
                if previous.FirstSent <> Instant.never then
                    let sendDelta = ms (current.LastSent - previous.LastSent)
                    let receiveDelta = ms (current.LastReceived - previous.LastReceived)
                    trend <- follow current.LastReceived receiveDelta sendDelta trend

                previous <- current
                current <- opened r

        { Current = current
          Previous = previous
          Trend = trend
          Queue = queue
          Surge = surge
          LastAt = now
          Rate = state.Rate }
