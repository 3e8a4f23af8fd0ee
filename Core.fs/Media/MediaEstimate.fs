namespace Hybrid.WebRtc.Core

/// The one estimate of the path for all media, and what it tells the pacer.
[<RequireQualifiedAccess>]
module internal MediaEstimate =
    let private obey (now: Instant) (output: Gcc.Output) (s: MediaState) : Step<MediaState, MediaOutput> =
        let path = s.Path

        match output with
        | Gcc.Rate bandwidth ->
            Step.one
                (MediaOutput.Estimated(int64 (float bandwidth.Target * MediaState.mediaShare s)))
                { s with
                    Path =
                        { path with
                            Pacer = MediaPacer.rate now bandwidth path.Pacer } }
        | Gcc.Probe cluster ->
            Step.only
                { s with
                    Path =
                        { path with
                            Pacer = MediaPacer.probe cluster path.Pacer } }

    let private take (now: Instant) (input: Gcc.Input) (s: MediaState) : Step<MediaState, MediaOutput> =
        let struct (gcc, outputs) = Gcc.step now input s.Path.Gcc

        { s with
            Path = { s.Path with Gcc = gcc } }
        |> Step.route (obey now) outputs

    /// The path begins to be measured with the first packet that feedback will tell of.
    let begun (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        if s.Path.HasBegun || not (s.Terms.TransportCc || s.Terms.Ccfb) then
            Step.only s
        else
            take
                now
                (Gcc.Begin 0L)
                { s with
                    Path = { s.Path with HasBegun = true } }

    /// Octets that were sent, all of which feedback tells of.
    let sent (s: MediaState) : int64 =
        if s.Terms.Ccfb then
            StreamSendTimes.total s.Path.StreamTimes
        else
            TransportSendTimes.total s.Path.SendTimes

    /// What is heard of a path that is measured.
    let heard (now: Instant) (input: Gcc.Input) (s: MediaState) : Step<MediaState, MediaOutput> =
        if s.Path.HasBegun then take now input s else Step.only s

    /// What a relay has around packets, octets: libwebrtc's OnTransportOverheadChanged.
    let wrapped (overhead: int) (s: MediaState) : Step<MediaState, MediaOutput> =
        if overhead = s.Path.Overhead then
            Step.only s
        else
            Step.one
                (MediaOutput.Wrapped overhead)
                { s with
                    Path = { s.Path with Overhead = overhead } }

    /// The peer's bounds have changed, or what they bound. Where no feedback tells of the path they are all that is known of it.
    let limited (now: Instant) (limits: ReceiverLimits) (s: MediaState) : Step<MediaState, MediaOutput> =
        let limit = MediaLimits.total s.Senders limits

        let former = Gcc.receiverLimit s.Path.Gcc

        let s =
            { s with
                Control = { s.Control with Limits = limits } }

        if limit = former then
            Step.only s
        elif s.Path.HasBegun then
            take now (Gcc.ReceiverLimit limit) s
        else
            // Kept until something is measured.
            let struct (gcc, _) = Gcc.step now (Gcc.ReceiverLimit limit) s.Path.Gcc

            let s =
                { s with
                    Path = { s.Path with Gcc = gcc } }

            if s.Terms.TransportCc || s.Terms.Ccfb then
                Step.only s
            else
                Step.one (MediaOutput.Estimated(int64 (min limit (float s.Config.Estimate.Max)))) s
