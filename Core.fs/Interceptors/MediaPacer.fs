namespace Hybrid.WebRtc.Core

open System

/// What leaves first.
type internal PacketPriority =
    /// Never waits.
    | Audio = 0
    | Retransmission = 1
    /// Forward error correction, too.
    | Video = 2
    | Padding = 3

/// A packet that waits.
[<Struct; NoComparison; NoEquality>]
type internal Waiting<'item> =
    { Item: 'item
      Octets: int
      Since: Instant }

/// Packets of one priority.
[<NoComparison; NoEquality>]
type internal Lane<'item> = { Waiting: Log<Waiting<'item>> }

/// A packet that may leave now, and the probe that it is part of; 0: none.
[<Struct; NoComparison; NoEquality>]
type internal Leaving<'item> = { Item: 'item; Probe: int }

/// What may leave now.
[<NoComparison; NoEquality>]
type internal Release<'item> =
    {
        Packets: Leaving<'item>[]
        /// Octets of padding that a probe lacks: to be enqueued, and released, if the session can. 0: none.
        PaddingWanted: int
    }

/// A bucket that empties at a rate, and by what it is limited.
[<NoComparison; NoEquality>]
type internal Bucket =
    {
        /// Octets a microsecond that media leaves at; infinite without an estimator.
        Pacing: float
        /// The rate at which none of what waits would wait too long.
        Floor: float
        /// When what has left is paid for.
        ReadyAt: Instant
        /// What a packet waits at most.
        Longest: Duration
        /// Octets a microsecond that may be sent again, and when what was is paid for.
        Repair: float
        RepairAt: Instant
    }

/// The probe that is being sent.
[<NoComparison; NoEquality>]
type internal ProbeSending =
    {
        Cluster: ProbeCluster
        Packets: int
        Octets: int
        /// `Instant.never`: not begun.
        StartedAt: Instant
        /// When its next packet is due.
        DueAt: Instant
        /// Times that padding was asked for since there was a packet, and when it may be asked for again.
        Asked: int
        RetryAt: Instant
    }

/// Media leaves at 2.5 times the target rate, so that a large frame does not fill the queues of the path at once, and faster
/// where a packet would else wait longer than 250 ms: it smooths, it does not throttle. Sound does not wait. Probes leave at
/// their own rate. Data has its own pace and gives way by itself: `CongestionControl.Ledbat`.
///
///     Clear ──enqueue──▶ Waiting ──due: `release`──▶ Clear
[<RequireQualifiedAccess>]
module internal MediaPacer =
    [<NoComparison; NoEquality>]
    type State<'item> =
        {
            Audio: Lane<'item>
            Retransmission: Lane<'item>
            Video: Lane<'item>
            Padding: Lane<'item>
            /// Of all that waits.
            Octets: int64
            Bucket: Bucket
            /// First the one that is being sent.
            Probes: ProbeSending[]
        }

    /// What may leave at once: timers are not much finer. libwebrtc.
    let private burst: Duration = Duration.milliseconds 5L

    /// Of a probe. libwebrtc.
    let private probeBurst: Duration = Duration.milliseconds 2L

    /// What a packet waits at most. libwebrtc has 2 s, which is no conversation.
    let private longest: Duration = Duration.milliseconds 250L

    /// Where the path is narrow: what would leave sooner would wait there.
    let private longestNarrow: Duration = Duration.milliseconds 500L

    /// A probe that has not been sent by then is dropped.
    let private probePatience: Duration = Duration.seconds 1L

    /// The share of the target that is for what is sent again.
    [<Literal>]
    let private RepairShare = 0.5

    let private repairBurst: Duration = Duration.milliseconds 500L

    /// Requests for padding that may stay unanswered.
    [<Literal>]
    let private MaxAsked = 3

    /// Octets of a packet of padding that is asked for.
    [<Literal>]
    let private PaddingPacket = 1_200

    [<Literal>]
    let private MaxProbes = 8

    let private lane () : Lane<'item> = { Waiting = Log.startingAt 0L }

    /// A pacer that lets everything pass, until it is told a rate.
    let create () : State<'item> =
        { Audio = lane ()
          Retransmission = lane ()
          Video = lane ()
          Padding = lane ()
          Octets = 0L
          Bucket =
            { Pacing = infinity
              Floor = 0.0
              ReadyAt = 0L<us>
              Longest = longest
              Repair = infinity
              RepairAt = 0L<us> }
          Probes = Array.Empty() }

    /// Whether a packet may be sent without asking: no estimator, and nothing that it would overtake.
    let isClear (state: State<'item>) : bool =
        Double.IsInfinity state.Bucket.Pacing && state.Octets = 0L

    let private effective (b: Bucket) = max b.Pacing b.Floor

    /// What is owed is owed in octets: at another rate it is paid sooner or later.
    let private rescaled (now: Instant) (next: Bucket) (b: Bucket) : Bucket =
        let owed = b.ReadyAt - now

        if owed <= 0L<us> then
            next
        else
            let before = effective b
            let after = effective next

            if Double.IsInfinity after then
                { next with ReadyAt = now }
            else
                { next with
                    ReadyAt = now + int64 (float owed * before / after) * 1L<us> }

    /// With a new estimate.
    let rate (now: Instant) (bandwidth: Bandwidth) (state: State<'item>) : State<'item> =
        let perMicrosecond (bits: float) = bits / 8e6
        let target = perMicrosecond (float bandwidth.Target)

        { state with
            Bucket =
                rescaled
                    now
                    { state.Bucket with
                        Pacing =
                            (if bandwidth.Pacing = Int32.MaxValue then
                                 infinity
                             else
                                 perMicrosecond (float bandwidth.Pacing))
                        Longest = (if bandwidth.Narrow then longestNarrow else longest)
                        Repair = RepairShare * target }
                    state.Bucket }

    /// Without an estimator: what waits leaves with the next `release`, and all that follows passes.
    let unlimited (now: Instant) (state: State<'item>) : State<'item> =
        { state with
            Bucket =
                { state.Bucket with
                    Pacing = infinity
                    ReadyAt = now
                    Repair = infinity }
            Probes = Array.Empty() }

    /// Adds a packet of `octets`, which leaves with a `release`: this one's, where it need not wait. O(1).
    let enqueue (now: Instant) (priority: PacketPriority) (octets: int) (item: 'item) (state: State<'item>) =
        let waiting: Waiting<'item> =
            { Item = item
              Octets = octets
              Since = now }

        let total = state.Octets + int64 octets
        let floor = float total / float state.Bucket.Longest
        let b = state.Bucket

        let bucket =
            if floor > effective b then
                rescaled now { b with Floor = floor } b
            else
                b

        let add (lane: Lane<'item>) : Lane<'item> =
            { Waiting = Log.append waiting lane.Waiting }

        match priority with
        | PacketPriority.Audio ->
            { state with
                Audio = add state.Audio
                Octets = total
                Bucket = bucket }
        | PacketPriority.Retransmission ->
            { state with
                Retransmission = add state.Retransmission
                Octets = total
                Bucket =
                    { bucket with
                        RepairAt = max now bucket.RepairAt + int64 (float octets / bucket.Repair) * 1L<us> } }
        | PacketPriority.Padding ->
            { state with
                Padding = add state.Padding
                Octets = total
                Bucket = bucket }
        | _ ->
            { state with
                Video = add state.Video
                Octets = total
                Bucket = bucket }

    /// Whether a packet may be sent again now. What a queue has dropped is asked for at once, and fills the queue anew if all of it
    /// is sent at once: half the rate is for repair, over half a second.
    let mayRepair (now: Instant) (state: State<'item>) : bool =
        state.Bucket.RepairAt - now < repairBurst

    /// Sends a probe as soon as there is media to send.
    let probe (cluster: ProbeCluster) (state: State<'item>) : State<'item> =
        if state.Probes.Length >= MaxProbes then
            state
        else
            { state with
                Probes =
                    Array.append
                        state.Probes
                        [| { Cluster = cluster
                             Packets = 0
                             Octets = 0
                             StartedAt = Instant.never
                             DueAt = Instant.never
                             Asked = 0
                             RetryAt = 0L<us> } |] }

    let private since (lane: Log<Waiting<'item>>) : Instant =
        if lane.IsEmpty then
            Instant.never
        else
            lane[lane.First].Since

    /// Since when the oldest packet waits, sound apart; `Instant.never`: none does.
    let private oldest (state: State<'item>) : Instant =
        Instant.min
            (since state.Retransmission.Waiting)
            (Instant.min (since state.Video.Waiting) (since state.Padding.Waiting))

    /// When `release` has something to do; `Instant.never`: nothing waits.
    let deadline (state: State<'item>) : Instant =
        if not state.Audio.Waiting.IsEmpty then
            since state.Audio.Waiting
        else
            let oldest = oldest state
            let isWaiting = oldest <> Instant.never

            if state.Probes.Length = 0 then
                if isWaiting then
                    Instant.min (oldest + state.Bucket.Longest) (max oldest state.Bucket.ReadyAt)
                else
                    Instant.never
            else
                let p = state.Probes[0]

                if p.StartedAt = Instant.never then
                    // With the first packet of media.
                    oldest
                elif isWaiting then
                    Instant.min (oldest + state.Bucket.Longest) (max oldest (p.DueAt - probeBurst))
                else
                    max p.RetryAt (p.DueAt - probeBurst)

    let private isDone (now: Instant) (p: ProbeSending) =
        p.Packets >= p.Cluster.Packets && p.Octets >= p.Cluster.Octets
        || p.StartedAt <> Instant.never && now - p.StartedAt > probePatience

    /// Octets in so many microseconds.
    let private probeTime (octets: int) (p: ProbeSending) : Duration =
        int64 (8e6 * float octets / float p.Cluster.Rate) * 1L<us>

    let private withSent (now: Instant) (octets: int) (p: ProbeSending) : ProbeSending =
        let started = if p.StartedAt = Instant.never then now else p.StartedAt
        let sent = p.Octets + octets

        { p with
            Packets = p.Packets + 1
            Octets = sent
            StartedAt = started
            DueAt = started + probeTime sent p
            Asked = 0 }

    /// After asking for padding: nobody may have any.
    let private withAsked (now: Instant) (p: ProbeSending) : ProbeSending =
        { p with
            Asked = p.Asked + 1
            RetryAt = now + probeBurst }

    let private missing (p: ProbeSending) : int =
        let octets =
            max (p.Cluster.Octets - p.Octets) (200 * (p.Cluster.Packets - p.Packets))

        max 1 (min PaddingPacket octets)

    let private withFirst (p: ProbeSending) (probes: ProbeSending[]) : ProbeSending[] =
        let next = Array.copy probes
        next[0] <- p
        next

    /// What may leave now. Where it asks for padding, and the session has some, that is enqueued and `release` called
    /// again. O(1) a packet.
    let release (now: Instant) (state: State<'item>) : struct (State<'item> * Release<'item>) =
        let mutable audio = state.Audio.Waiting
        let mutable retransmission = state.Retransmission.Waiting
        let mutable video = state.Video.Waiting
        let mutable padding = state.Padding.Waiting
        let mutable octets = state.Octets
        let mutable readyAt = state.Bucket.ReadyAt
        let mutable probes = state.Probes
        let mutable wanted = 0
        let leaving = ResizeArray<Leaving<'item>>()
        let rate = effective state.Bucket
        let longest = state.Bucket.Longest
        // Once it is empty the bucket is filled by a burst.
        let limit =
            if readyAt <= now then
                now + burst
            else
                Int64.MinValue * 1L<us>

        let mutable isGoing = true

        while isGoing do
            while probes.Length > 0 && isDone now probes[0] do
                probes <- probes[1..]

            let heads =
                Instant.min (since retransmission) (Instant.min (since video) (since padding))

            let isProbing =
                probes.Length > 0
                && (heads <> Instant.never || probes[0].StartedAt <> Instant.never)

            let isProbeDue =
                isProbing
                && (probes[0].StartedAt = Instant.never || probes[0].DueAt - probeBurst <= now)

            let mutable waiting = Unchecked.defaultof<Waiting<'item>>
            let mutable isPacket = true
            let isSound = not audio.IsEmpty

            if isSound then
                waiting <- audio[audio.First]
                audio <- Log.dropTo (audio.First + 1L) audio
            elif heads = Instant.never then
                isPacket <- false
            else
                let isOverdue = heads + longest <= now

                if isOverdue || isProbeDue || (not isProbing && readyAt <= limit) then
                    // What has waited too long leaves in any case; else the lanes have their order.
                    let upTo = if isOverdue then now - longest else Instant.never

                    if not retransmission.IsEmpty && since retransmission <= upTo then
                        waiting <- retransmission[retransmission.First]
                        retransmission <- Log.dropTo (retransmission.First + 1L) retransmission
                    elif not video.IsEmpty && since video <= upTo then
                        waiting <- video[video.First]
                        video <- Log.dropTo (video.First + 1L) video
                    else
                        waiting <- padding[padding.First]
                        padding <- Log.dropTo (padding.First + 1L) padding
                else
                    isPacket <- false

            if isPacket then
                octets <- octets - int64 waiting.Octets
                readyAt <- max readyAt now + int64 (float waiting.Octets / rate) * 1L<us>

                if isProbeDue && not isSound then
                    leaving.Add
                        { Item = waiting.Item
                          Probe = probes[0].Cluster.Id }

                    probes <- withFirst (withSent now waiting.Octets probes[0]) probes
                else
                    leaving.Add { Item = waiting.Item; Probe = 0 }
            else
                isGoing <- false

                if isProbeDue && heads = Instant.never && probes[0].RetryAt <= now then
                    if probes[0].Asked >= MaxAsked then
                        probes <- probes[1..]
                    else
                        wanted <- missing probes[0]
                        probes <- withFirst (withAsked now probes[0]) probes

        let lane (before: Lane<'item>) (after: Log<Waiting<'item>>) : Lane<'item> =
            if before.Waiting.First = after.First then
                before
            else
                { Waiting = after }

        struct ({ Audio = lane state.Audio audio
                  Retransmission = lane state.Retransmission retransmission
                  Video = lane state.Video video
                  Padding = lane state.Padding padding
                  Octets = octets
                  Bucket =
                    { state.Bucket with
                        Floor = (if octets = 0L then 0.0 else state.Bucket.Floor)
                        ReadyAt = readyAt }
                  Probes = probes },
                { Packets = leaving.ToArray()
                  PaddingWanted = wanted })
