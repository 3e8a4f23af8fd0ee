namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Rtp

/// DTMF tones of the peer's among the packets of its sound, RFC 4733.
[<RequireQualifiedAccess>]
module internal ReceivedTones =
    let private toned (clockRate: int) (transceiver: TransceiverId) (output: DtmfReceiver.Output) : MediaOutput =
        match output with
        | DtmfReceiver.ToneStarted tone -> MediaOutput.ToneHeard(transceiver, tone, ValueNone)
        | DtmfReceiver.ToneEnded(tone, units) ->
            MediaOutput.ToneHeard(transceiver, tone, ValueSome(units * 1_000_000L<us> / int64 (max 1 clockRate)))

    /// A telephone event, RFC 4733.
    let heard
        (now: Instant)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (stream: ReceiveStream)
        : Step<ReceiveStream, MediaOutput> =
        let clockRate = section.ClockRates[int packet.PayloadType]

        let struct (tones, outputs) =
            DtmfReceiver.received now packet.Marker packet.Timestamp packet.Payload.Span stream.Parts.Tones

        struct ({ stream with
                    Parts =
                        { stream.Parts with
                            Tones = tones
                            ToneClock = clockRate } },
                outputs |> List.map (toned clockRate stream.Transceiver))

    /// Tones whose end did not come.
    let tick (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        let mutable step: Step<MediaState, MediaOutput> = Step.only s

        for i in 0 .. s.Receivers.Length - 1 do
            if DtmfReceiver.deadline s.Receivers[i].Parts.Tones <= now then
                step <-
                    Step.bind
                        (fun (s: MediaState) ->
                            let stream = s.Receivers[i]
                            let parts = stream.Parts
                            let struct (tones, outputs) = DtmfReceiver.tick now parts.Tones

                            struct (MediaState.withParts i { parts with Tones = tones } s,
                                    outputs |> List.map (toned parts.ToneClock stream.Transceiver)))
                        step

        step
