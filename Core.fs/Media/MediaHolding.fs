namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// When packets may be made frames of, where an application asks for a jitter buffer: packets are delivered as they come, whoever
/// makes frames holds them, and the buffer, which holds only their times, says until when. W3C RTCRtpReceiver.jitterBufferTarget.
[<RequireQualifiedAccess>]
module internal MediaHolding =
    /// What was asked of a transceiver's receiver.
    let target (transceiver: TransceiverId) (s: MediaState) : Duration voption =
        let mutable found = ValueNone

        for struct (id, hold) in s.Terms.Holds do
            if id = transceiver then
                found <- ValueSome hold

        found

    let private withJitter (at: int) (jitter: JitterBuffer.State) (s: MediaState) : MediaState =
        MediaState.withParts
            at
            { s.Receivers[at].Parts with
                Jitter = ValueSome jitter }
            s

    /// What was emitted, in order, is due, the last of it too.
    let private due (stream: ReceiveStream) (emitted: RtpPacket[]) : MediaOutput list =
        match emitted with
        | [||] -> []
        | _ -> [ MediaOutput.Due(stream.Transceiver, stream.Ssrc, emitted[emitted.Length - 1].SequenceNumber) ]

    /// Notes a packet that is delivered.
    let hold
        (now: Instant)
        (at: int)
        (target: Duration)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Receivers[at]
        let trip = if section.AsksAgain then s.Path.RoundTrip else 0L<us>

        let jitter =
            match stream.Parts.Jitter with
            | ValueSome jitter when jitter.Least = target && jitter.RoundTrip = trip -> jitter
            | ValueSome jitter -> jitter |> JitterBuffer.wish target |> JitterBuffer.roundTrip trip
            | ValueNone ->
                JitterBuffer.create trip
                |> JitterBuffer.wish target
                |> JitterBuffer.counting (
                    if section.Plan.Kind = MediaKind.Audio then
                        JitterBufferUnit.Samples
                    else
                        JitterBufferUnit.Frames
                )

        // What is lent is not kept.
        let mutable times =
            { packet with
                Csrcs = ReadOnlyMemory.Empty
                Extensions = ReadOnlyMemory.Empty
                Payload = ReadOnlyMemory.Empty }

        let number = Sequence.unwrap stream.Reception.Highest packet.SequenceNumber

        let struct (jitter, emitted) =
            JitterBuffer.received now number section.ClockRates[int packet.PayloadType] &times jitter

        struct (withJitter at jitter s, due stream emitted)

    let tick (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        let mutable step: Step<MediaState, MediaOutput> = Step.only s

        for i in 0 .. s.Receivers.Length - 1 do
            match s.Receivers[i].Parts.Jitter with
            | ValueSome jitter when JitterBuffer.deadline jitter <= now ->
                step <-
                    Step.bind
                        (fun (s: MediaState) ->
                            let struct (jitter, emitted) = JitterBuffer.tick now jitter
                            struct (withJitter i jitter s, due s.Receivers[i] emitted))
                        step
            | _ -> ()

        step

    /// All that a receiver holds is due.
    let private release (now: Instant) (transceiver: TransceiverId) (s: MediaState) : Step<MediaState, MediaOutput> =
        let mutable step: Step<MediaState, MediaOutput> = Step.only s

        for i in 0 .. s.Receivers.Length - 1 do
            let stream = s.Receivers[i]

            match stream.Parts.Jitter with
            | ValueSome jitter when stream.Transceiver = transceiver ->
                step <-
                    Step.bind
                        (fun (s: MediaState) ->
                            let struct (jitter, emitted) = JitterBuffer.flush now jitter
                            struct (withJitter i jitter s, due stream emitted))
                        step
            | _ -> ()

        step

    /// Holds frames from the next packet on, longer or shorter, or no more.
    let set
        (now: Instant)
        (transceiver: TransceiverId)
        (target: Duration voption)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let others =
            s.Terms.Holds |> Array.filter (fun (struct (id, _)) -> id <> transceiver)

        let next =
            { s with
                Terms =
                    { s.Terms with
                        Holds =
                            (match target with
                             | ValueSome hold -> Array.append others [| struct (transceiver, hold) |]
                             | ValueNone -> others)
                        Sections =
                            s.Terms.Sections
                            |> Array.map (fun section ->
                                if section.Plan.Transceiver = transceiver then
                                    { section with Hold = target }
                                else
                                    section) } }

        if target.IsNone then
            release now transceiver next
            |> Step.bind (Step.one (MediaOutput.Held(transceiver, false)))
        else
            Step.one (MediaOutput.Held(transceiver, true)) next
