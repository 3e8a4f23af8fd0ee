namespace Hybrid.WebRtc.Core

open System

/// Bounds of the estimate, bits a second.
[<NoComparison; NoEquality>]
type internal GccConfig = { Start: int; Min: int; Max: int }

/// What may be sent.
[<Struct; NoComparison; NoEquality>]
type internal Bandwidth =
    {
        /// For all media together, bits a second.
        Target: int
        /// At which packets may leave, so that a frame larger than others is not held back for long; `Int32.MaxValue`: as they come.
        Pacing: int
        /// The path was overused of late: what leaves faster than the target waits in its queue.
        Narrow: bool
        /// Smoothed; 0: not known.
        RoundTrip: Duration
        /// The share of packets lost of late.
        Loss: float
        /// Bits a second that arrive; 0: not known.
        Acknowledged: int
        /// The path is overused: a queue grows.
        Overused: bool
    }

/// Whether the application sends less than it may: what arrives then says nothing of the path. libwebrtc's ALR detector.
[<Struct; NoComparison; NoEquality>]
type internal AlrState =
    {
        InAlr: bool
        /// Bits that could have been sent and were not; negative: that were sent beyond.
        Spare: float
        At: Instant
        /// Octets that had been sent by then.
        Sent: int64
    }

/// Google congestion control: how much a path takes, from what feedback says of delay and loss, draft-ietf-rmcat-gcc-02,
/// with what libwebrtc has changed since.
///
///     Waiting ──Begin──▶ Running ──no feedback for 1.5 s──▶ Blind ──Feedback──▶ Running
[<RequireQualifiedAccess>]
module internal Gcc =
    [<NoComparison; NoEquality>]
    type State =
        { Config: GccConfig
          Delay: DelayBased.State
          Control: RateControl
          Throughput: Throughput
          Loss: LossBased.State
          Probing: Probing.State
          Alr: AlrState
          Link: Link }

    /// What is known of the path beside its rate, and what was said of it last.
    and [<NoComparison; NoEquality>] Link =
        {
            /// Smoothed; 0: not known.
            RoundTrip: Duration
            /// REMB; infinite: none.
            ReceiverLimit: float
            Said: Bandwidth
            /// When feedback is overdue; `Instant.never`: none is awaited.
            BlindAt: Instant
            /// The rate was cut because nothing was heard.
            IsBlind: bool
            OverusedAt: Instant
            /// Data that goes by the same path gives way before media does: the rate is held, not cut, where a queue grows.
            DataYields: bool
        }

    [<NoComparison>]
    type Input =
        /// The first packet is about to be sent. `Sent`: octets sent until now.
        | Begin of Sent: int64
        /// `Sent`: octets sent until now, all of them.
        | Feedback of Report: FeedbackReport * Sent: int64
        /// REMB or TMMBR: an upper bound, bits a second.
        | ReceiverLimit of Rate: uint64
        | Bounds of Min: int * Max: int
        | Tick of Sent: int64

    [<NoComparison>]
    type Output =
        /// The target has changed by 1 % at least, or overuse has come or gone.
        | Rate of Bandwidth
        | Probe of ProbeCluster

    /// 300 kbit/s as in libwebrtc, 10 kbit/s, which sound and its feedback take, and what no path here passes.
    let defaults: GccConfig =
        { Start = 300_000
          Min = 10_000
          Max = 2_000_000_000 }

    /// libwebrtc's pacing factor: a frame that the path has room for is not held back for long.
    [<Literal>]
    let private PacingFactor = 2.5

    /// Where the path is known to have no room: what is sent beyond the target would wait in the path's queue instead of ours, and
    /// sound and other flows behind it.
    [<Literal>]
    let private NarrowFactor = 1.15

    /// From 2 Gbit/s on nothing is paced: what leaves at once, 5 ms of it, is more than any burst.
    [<Literal>]
    let private Unpaced = 2e9

    /// A path that was overused is taken to be narrow for that long.
    let private narrow: Duration = Duration.seconds 30L

    /// Shares of a rate and of half a second: bandwidth_usage_ratio, start and stop budget level of libwebrtc.
    [<Literal>]
    let private AlrUsage = 0.65

    [<Literal>]
    let private AlrStart = 0.8

    [<Literal>]
    let private AlrStop = 0.5

    [<Literal>]
    let private AlrWindow = 0.5

    /// What arrives, of what may be sent, once a path has lost much of its room.
    [<Literal>]
    let private Collapse = 0.75

    /// Without feedback for that time packets are taken for lost, RFC 8888 §5.
    let private blind: Duration = Duration.milliseconds 1_500L

    /// And again after that time.
    let private blindAgain: Duration = Duration.seconds 1L

    let private bandwidth
        (target: float)
        (roundTrip: Duration)
        (loss: float)
        (throughput: float)
        (overused: bool)
        (narrow: bool)
        : Bandwidth =
        let pacing = (if narrow then NarrowFactor else PacingFactor) * target

        { Target = int target
          Pacing = (if pacing >= Unpaced then Int32.MaxValue else int pacing)
          Narrow = narrow
          RoundTrip = roundTrip
          Loss = loss
          Acknowledged = int (min 2e9 throughput)
          Overused = overused }

    let create (config: GccConfig) : State =
        let start = float (max config.Min (min config.Max config.Start))

        { Config = config
          Delay = DelayBased.create ()
          Control = RateControl.create start
          Throughput = Throughput.create ()
          Loss = LossBased.create ()
          Probing = Probing.create ()
          Alr =
            { InAlr = false
              Spare = 0.0
              At = Instant.never
              Sent = 0L }
          Link =
            { RoundTrip = 0L<us>
              ReceiverLimit = infinity
              Said = bandwidth start 0L<us> 0.0 0.0 false false
              BlindAt = Instant.never
              IsBlind = false
              OverusedAt = Instant.never
              DataYields = false } }

    /// With or without data on the path that gives way.
    let beside (dataYields: bool) (state: State) : State =
        if state.Link.DataYields = dataYields then
            state
        else
            { state with
                Link =
                    { state.Link with
                        DataYields = dataYields } }

    /// What may be sent now.
    let current (state: State) : Bandwidth = state.Link.Said

    let deadline (state: State) : Instant = state.Link.BlindAt

    let private bounded (config: GccConfig) (rate: float) =
        max (float config.Min) (min (float config.Max) rate)

    /// Says what may be sent, where it has changed.
    let private say (now: Instant) (state: State) : Step<State, Output> =
        let link = state.Link

        let target =
            min state.Control.Rate (min state.Loss.Bandwidth link.ReceiverLimit)
            |> bounded state.Config

        let isOver = DelayBased.usage state.Delay = Usage.Over

        let said =
            bandwidth
                target
                link.RoundTrip
                (LossBased.average state.Loss)
                state.Throughput.Estimate
                isOver
                (now - state.Control.DecreasedAt < narrow)

        let change = abs (said.Target - link.Said.Target)

        if
            change > 0 && int64 change * 100L >= int64 link.Said.Target
            || isOver <> link.Said.Overused
        then
            struct ({ state with
                        Link = { link with Said = said } },
                    [ Rate said ])
        else
            struct ({ state with
                        Link =
                            { link with
                                Said =
                                    { said with
                                        Target = link.Said.Target
                                        Pacing = link.Said.Pacing } } },
                    [])

    let private alr (now: Instant) (sent: int64) (target: int) (alr: AlrState) : AlrState =
        if alr.At = Instant.never then
            { alr with At = now; Sent = sent }
        else
            let rate = AlrUsage * float target
            let most = AlrWindow * rate
            let seconds = float (now - alr.At) / 1e6
            let spare = alr.Spare + rate * seconds - 8.0 * float (sent - alr.Sent)
            let spare = max -most (min most spare)

            { InAlr =
                (if alr.InAlr then
                     spare >= AlrStop * most
                 else
                     spare > AlrStart * most)
              Spare = spare
              At = now
              Sent = sent }

    /// The packets that were received, in order of their arrival.
    let private arrived (report: FeedbackReport) : PacketResult[] =
        let results = report.Results

        let received =
            if report.Lost = 0 then
                results
            else
                let received = Array.zeroCreate report.Acknowledged
                let mutable n = 0

                for i in 0 .. results.Length - 1 do
                    if results[i].ReceivedAt <> Instant.never then
                        received[n] <- results[i]
                        n <- n + 1

                received

        let mutable isOrdered = true

        for i in 1 .. received.Length - 1 do
            if received[i].ReceivedAt < received[i - 1].ReceivedAt then
                isOrdered <- false

        if isOrdered then
            received
        else
            let sorted = Array.copy received
            let keys: int64[] = Array.zeroCreate sorted.Length

            // Those that came at once stay in order of sending.
            for i in 0 .. keys.Length - 1 do
                keys[i] <- (int64 (received[i].ReceivedAt - received[0].ReceivedAt) <<< 20) + int64 i

            Array.Sort(keys, sorted)
            sorted

    let private probes (now: Instant) (found: float voption) (isBack: bool) (state: State) : Step<State, Output> =
        let link = state.Link

        let isQuiet =
            DelayBased.usage state.Delay <> Usage.Over
            && (link.OverusedAt = Instant.never || now - link.OverusedAt > Duration.seconds 1L)
            && not (LossBased.isLimiting state.Loss)

        if not isQuiet then
            Step.only state
        else
            let limit = min link.ReceiverLimit (float state.Config.Max)

            let struct (probing, clusters) =
                Probing.next now state.Control.Rate limit found isBack state.Alr.InAlr state.Probing

            struct ({ state with Probing = probing }, List.map Probe clusters)

    let private heard (now: Instant) (report: FeedbackReport) (sent: int64) (state: State) : Step<State, Output> =
        let received = arrived report
        let link = state.Link
        let alrNow = alr now sent link.Said.Target state.Alr

        let throughput =
            if state.Alr.InAlr && not alrNow.InAlr then
                Throughput.expectChange state.Throughput
            else
                state.Throughput

        let throughput =
            if report.HasGap then
                Throughput.gap throughput
            else
                throughput

        let throughput = Throughput.feedback received throughput
        let delay = DelayBased.feedback now report.HasGap received state.Delay
        let struct (probing, found) = Probing.feedback received state.Probing
        let arriving = Surge.rate delay.Surge
        // Far less arrives than is sent, and a queue is there: what the path had a moment ago it has no more. Where the application
        // sends little anyway, a receiver that was held up looks the same.
        let isCollapse =
            not alrNow.InAlr
            && DelayBased.surges delay
            && arriving < Collapse * state.Control.Rate
            && now - state.Control.ProbedAt > Duration.seconds 1L

        let usage = if isCollapse then Usage.Over else DelayBased.usage delay

        let roundTrip =
            if report.Acknowledged = 0 then link.RoundTrip
            elif link.RoundTrip = 0L<us> then report.RoundTrip
            else (7L * link.RoundTrip + report.RoundTrip) / 8L

        // A probe that found less than what arrives was disturbed.
        let found =
            found
            |> ValueOption.map (fun rate -> max rate (min state.Control.Rate (0.85 * throughput.Estimate)))

        let input =
            { Usage =
                (if link.DataYields && usage = Usage.Over && not isCollapse then
                     Usage.Under
                 else
                     usage)
              Throughput = (if isCollapse then arriving else throughput.Estimate)
              SlowThroughput = (if isCollapse then arriving else throughput.Slow)
              RoundTrip =
                (if roundTrip = 0L<us> then
                     Duration.milliseconds 200L
                 else
                     roundTrip)
              Queue =
                (if isCollapse then
                     DelayBased.recent delay
                 else
                     StandingQueue.length delay.Queue)
              Recent = DelayBased.recent delay
              Competing = delay.Queue.Competing }

        let control =
            match found with
            | ValueSome rate when usage <> Usage.Over -> RateControl.probed now rate state.Control
            | _ -> RateControl.feedback now input state.Control

        let control =
            { control with
                Rate = bounded state.Config control.Rate }

        let before = state.Control.Rate

        let probing =
            // What others take bit by bit is theirs; what is gone at once may come back.
            if control.Rate < before && RateControl.isSevere now input state.Control then
                Probing.decreased now before probing
            else
                probing

        let state =
            { state with
                Delay = delay
                Control = control
                Throughput = throughput
                Loss = LossBased.feedback now control.Rate throughput.Estimate report state.Loss
                Probing = probing
                Alr = alrNow
                Link =
                    { link with
                        RoundTrip = roundTrip
                        BlindAt = now + blind
                        IsBlind = false
                        OverusedAt = (if usage = Usage.Over then now else link.OverusedAt) } }

        probes now found link.IsBlind state |> Step.bind (say now)

    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match input with
        | Begin sent ->
            let limit = min state.Link.ReceiverLimit (float state.Config.Max)

            let struct (probing, clusters) =
                Probing.start now state.Control.Rate limit state.Probing

            struct ({ state with
                        Probing = probing
                        Alr = alr now sent state.Link.Said.Target state.Alr },
                    Rate state.Link.Said :: List.map Probe clusters)
        | Feedback(report, sent) ->
            // A report of nothing that is remembered is no sign of life.
            if report.Results.Length = 0 then
                Step.only state
            else
                heard now report sent state
        | ReceiverLimit rate ->
            say
                now
                { state with
                    Link =
                        { state.Link with
                            ReceiverLimit = float rate } }
        | Bounds(least, most) ->
            let config =
                { state.Config with
                    Min = least
                    Max = max least most }

            say
                now
                { state with
                    Config = config
                    Control =
                        { state.Control with
                            Rate = bounded config state.Control.Rate } }
        | Tick sent when now >= state.Link.BlindAt ->
            if sent = state.Alr.Sent then
                // Nothing was sent that could be told of.
                Step.only
                    { state with
                        Link =
                            { state.Link with
                                BlindAt = Instant.never } }
            else
                say
                    now
                    { state with
                        Control =
                            { state.Control with
                                Rate = bounded state.Config (0.8 * state.Control.Rate)
                                ChangedAt = now }
                        Probing = Probing.decreased now state.Control.Rate state.Probing
                        Link =
                            { state.Link with
                                BlindAt = now + blindAgain
                                IsBlind = true } }
        | Tick _ -> Step.only state
