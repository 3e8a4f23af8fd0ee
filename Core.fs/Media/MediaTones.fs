namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// DTMF tones among the packets of an audio sender, W3C WebRTC 1.0 §7, RFC 4733.
[<RequireQualifiedAccess>]
module internal MediaTones =
    let private isEvent (codec: RtpCodecParameters) =
        codec.Codec.MimeType.Equals("audio/telephone-event", StringComparison.OrdinalIgnoreCase)

    /// The sender of a transceiver's audio that may send tones, and the payload type that it sends them with: the one whose clock is
    /// that of the sound, RFC 4733 §2.1.
    let private place (transceiver: TransceiverId) (s: MediaState) : struct (int * RtpCodecParameters) voption =
        let at =
            s.Senders
            |> Array.tryFindIndex (fun stream ->
                stream.Terms.Transceiver = transceiver
                && stream.Terms.Kind = MediaKind.Audio
                && stream.Terms.IsOpen)

        match at with
        | None -> ValueNone
        | Some at ->
            let stream = s.Senders[at]

            let clock =
                if stream.PayloadType < 128uy then
                    stream.Terms.ClockRates[int stream.PayloadType]
                elif stream.Terms.Codecs.Length > 0 then
                    stream.Terms.Codecs[0].Codec.ClockRate
                else
                    0

            let events = Array.filter isEvent stream.Terms.Codecs

            match
                events
                |> Array.tryFind (fun codec -> codec.Codec.ClockRate = clock)
                |> Option.orElse (Array.tryHead events)
            with
            | Some codec -> ValueSome(struct (at, codec))
            | None -> ValueNone

    /// W3C `canInsertDTMF`.
    let canInsert (transceiver: TransceiverId) (s: MediaState) : bool = (place transceiver s).IsSome

    let private find (transceiver: TransceiverId) (s: MediaState) : DtmfSender.State voption =
        let mutable found = ValueNone

        for struct (id, tones) in s.Tones do
            if id = transceiver then
                found <- ValueSome tones

        found

    let private withTones (transceiver: TransceiverId) (tones: DtmfSender.State) (s: MediaState) : MediaState =
        { s with
            Tones =
                Array.append
                    (s.Tones |> Array.filter (fun (struct (id, _)) -> id <> transceiver))
                    [| struct (transceiver, tones) |] }

    /// In place of the tones that were still to be played.
    let insert
        (now: Instant)
        (transceiver: TransceiverId)
        (tones: string)
        (length: Duration)
        (gap: Duration)
        (s: MediaState)
        =
        match place transceiver s with
        | ValueNone -> s
        | ValueSome(struct (_, codec)) ->
            let clock = codec.Codec.ClockRate

            let before =
                find transceiver s
                |> ValueOption.defaultWith (fun () -> DtmfSender.create clock)

            withTones transceiver (DtmfSender.insert now tones length gap (DtmfSender.retimed clock before)) s

    let deadline (s: MediaState) : Instant =
        let mutable due = Instant.never

        for struct (_, tones) in s.Tones do
            due <- Instant.min due (DtmfSender.deadline tones)

        due

    /// What is due.
    let tick (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        let mutable step: Step<MediaState, MediaOutput> = Step.only s

        for struct (transceiver, tones) in s.Tones do
            if DtmfSender.deadline tones <= now then
                let timestamp =
                    match place transceiver s with
                    | ValueSome(struct (at, _)) -> (SendStream.info now 0UL s.Senders[at]).RtpTime
                    | ValueNone -> 0u

                let struct (tones, outputs) = DtmfSender.tick now timestamp tones

                step <-
                    step
                    |> Step.bind (fun s ->
                        withTones transceiver tones s
                        |> Step.route
                            (fun output s ->
                                match output, place transceiver s with
                                | DtmfSender.ToneChange(tone, buffer), _ ->
                                    Step.one (MediaOutput.Toned(transceiver, tone, buffer)) s
                                | DtmfSender.Send(marker, timestamp, payload), ValueSome(struct (at, codec)) ->
                                    MediaSending.insert
                                        now
                                        at
                                        (byte codec.PayloadType)
                                        marker
                                        timestamp
                                        (ReadOnlyMemory payload)
                                        s
                                | DtmfSender.Send _, ValueNone -> Step.only s)
                            outputs)

        step
