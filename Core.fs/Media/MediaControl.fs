namespace Hybrid.WebRtc.Core

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Rtp

/// RTCP both ways: reports, feedback, and what is asked of whom. RFC 3550 §6, 4585, 5104, 3611, 8888.
[<RequireQualifiedAccess>]
module internal MediaControl =
    /// A key frame is not asked for more often.
    let private keyFrameInterval: Duration = Duration.milliseconds 250L

    /// Octets of RTCP in one datagram.
    [<Literal>]
    let private MaxDatagram = 1_150

    /// Reference times that are answered at a time.
    [<Literal>]
    let private MaxReferences = 16

    /// Octets a second that reports take at most: 5 % of a session of 1 Mbit/s, RFC 3550 §6.2. With many sources they are further between.
    [<Literal>]
    let private ReportRate = 6_250.0

    // ---- what we send ----

    /// As one datagram, or more where they do not fit.
    let transmit (packets: Rtcp[]) (s: MediaState) : Step<MediaState, MediaOutput> =
        match s.Keys with
        | ValueNone -> Step.only s
        | ValueSome keys ->
            // Packets that leave as one datagram, each.
            let datagrams = ResizeArray<ResizeArray<Rtcp>>()
            let mutable room = 0

            for packet in packets do
                for part in RtcpSplit.split MaxDatagram packet do
                    let size = RtcpCodec.size part

                    if size > 0 then
                        if size > room then
                            datagrams.Add(ResizeArray())
                            room <- MaxDatagram

                        datagrams[datagrams.Count - 1].Add part
                        room <- room - size

            let mutable asked = ListCollector<MediaOutput>()
            let mutable index = s.Control.NextIndex

            for datagram in datagrams do
                let several = datagram.ToArray()
                let plain = Array.zeroCreate<byte>(RtcpCodec.sizeAll several)
                let written = RtcpCodec.writeAll several (Span plain)

                asked.Add(
                    MediaOutput.TransmitRtcp
                        { Seal = keys.Seal
                          Plain =
                            (if written = plain.Length then
                                 plain
                             else
                                 plain[.. written - 1])
                          Index = index }
                )

                index <- index + 1u

            struct ({ s with
                        Control = { s.Control with NextIndex = index } },
                    asked.Close())

    /// Who speaks: a source that we send, else our own SSRC.
    let private speaker (s: MediaState) : uint32 =
        match s.Senders |> Array.tryFind _.HasSent with
        | Some stream -> stream.Terms.Ssrc
        | None -> s.Control.Ssrc

    let private peerSource (s: MediaState) : uint32 =
        match s.Receivers |> Array.tryFind (fun r -> r.Kind = PayloadKind.Media) with
        | Some stream -> stream.Ssrc
        | None -> 0u

    /// Reports of all that was received, and of all that was sent since.
    let private reports (now: Instant) (s: MediaState) : struct (Rtcp[][] * MediaState) =
        let ntp = MediaState.ntp now s

        let senders =
            s.Senders
            |> Array.filter (fun stream -> stream.HasSent && stream.Terms.IsOpen)
            |> Array.map (fun stream -> struct (stream.Terms.Ssrc, SendStream.info now ntp stream))

        let receivers = Array.copy s.Receivers
        let blocks = ResizeArray<ReceptionReport>()

        for i in 0 .. receivers.Length - 1 do
            let stream = receivers[i]

            if stream.Kind = PayloadKind.Media && stream.Reception.Received > 0L then
                let struct (block, reception) = Reception.report now stream.Ssrc stream.Reception
                blocks.Add block
                receivers[i] <- { stream with Reception = reception }

        let compounds =
            RtcpReports.compounds s.Control.Ssrc senders (blocks.ToArray()) s.Terms.Cname

        let isNegotiated =
            s.Terms.Sections |> Array.exists (fun section -> section.Plan.ReceiverRoundTrip)

        // Who only receives learns the round trip by XR, RFC 3611 §4.4, and answers for those who do.
        let blocks =
            [| if isNegotiated && senders.Length = 0 && blocks.Count > 0 then
                   ReceiverReferenceTime ntp
               if s.Control.References.Length > 0 then
                   Dlrr
                       [| for struct (ssrc, reference, at) in s.Control.References do
                              { Ssrc = ssrc
                                LastReceiverReport = reference
                                DelaySinceLastReceiverReport = Ntp.units (now - at) } |] |]

        if blocks.Length > 0 then
            compounds[0] <- Array.append compounds[0] [| ExtendedReport(speaker s, blocks) |]

        struct (compounds,
                { s with
                    Receivers = receivers
                    Control =
                        { s.Control with
                            References = Array.Empty() } })

    /// Between half of a second and one and a half, RFC 3550 §6.3.1; later where reports were of more `octets` than go into a second.
    let private schedule (now: Instant) (octets: int) (s: MediaState) : MediaState =
        let struct (share, entropy) = Entropy.unit s.Control.Entropy
        let interval = max 1.0 (float octets / ReportRate)

        { s with
            Control =
                { s.Control with
                    ReportAt = now + int64 (interval * (500_000.0 + 1_000_000.0 * share)) * 1L<us>
                    Entropy = entropy } }

    /// The first report is due soon.
    let begin' (now: Instant) (s: MediaState) : MediaState =
        { s with
            Control =
                { s.Control with
                    ReportAt = now + Duration.milliseconds 200L } }

    let private hasTraffic (s: MediaState) =
        s.Receivers.Length > 0 || s.Senders |> Array.exists _.HasSent

    let private reportsDue (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        if now < s.Control.ReportAt then
            Step.only s
        elif not (hasTraffic s) then
            Step.only (schedule now 0 s)
        else
            let struct (compounds, s) = reports now s
            let octets = compounds |> Array.sumBy RtcpCodec.sizeAll
            let mutable step: Step<MediaState, MediaOutput> = Step.only (schedule now octets s)

            for compound in compounds do
                step <- Step.bind (transmit compound) step

            step

    let private feedbackDue (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        let path = s.Path

        if s.Terms.Ccfb then
            let struct (ccfb, packets) =
                CcfbRecorder.tick now (speaker s) (Ntp.middle (MediaState.ntp now s)) path.Ccfb

            match packets with
            | [] -> Step.only s
            | _ ->
                transmit
                    (Array.ofList packets)
                    { s with
                        Path = { path with Ccfb = ccfb }
                        Control =
                            { s.Control with
                                CcfbSent = s.Control.CcfbSent + int64 packets.Length } }
        else
            let struct (recorder, feedback) =
                TransportCcRecorder.tick now (speaker s) (peerSource s) path.Recorder

            match feedback with
            | [] -> Step.only s
            | _ ->
                transmit
                    (feedback |> List.map TransportCc |> Array.ofList)
                    { s with
                        Path = { path with Recorder = recorder } }

    /// Asks for a key frame of a source, at most every quarter of a second.
    let askKeyFrame (now: Instant) (at: int) (s: MediaState) : Step<MediaState, MediaOutput> =
        let stream = s.Receivers[at]

        if
            now - stream.KeyFrameAskedAt < keyFrameInterval
            || stream.Kind <> PayloadKind.Media
        then
            Step.only s
        else
            let onlyFir =
                match MediaState.section stream.Transceiver s with
                | ValueSome section -> section.OnlyFir
                | ValueNone -> false

            let asked = stream.Asked

            if onlyFir then
                let sequence = stream.FirSequence + 1uy

                MediaState.withReceiver
                    at
                    { stream with
                        KeyFrameAskedAt = now
                        FirSequence = sequence
                        Asked = { asked with Firs = asked.Firs + 1L } }
                    s
                |> transmit
                    [| FullIntraRequest(
                           speaker s,
                           [| { Ssrc = stream.Ssrc
                                Sequence = sequence } |]
                       ) |]
            else
                MediaState.withReceiver
                    at
                    { stream with
                        KeyFrameAskedAt = now
                        Asked = { asked with Plis = asked.Plis + 1L } }
                    s
                |> transmit [| PictureLossIndication(speaker s, stream.Ssrc) |]

    /// Of a receiver's sources all, or one.
    let requestKeyFrame (now: Instant) (transceiver: TransceiverId) (ssrc: uint32) (s: MediaState) =
        let mutable step: Step<MediaState, MediaOutput> = Step.only s

        for i in 0 .. s.Receivers.Length - 1 do
            let stream = s.Receivers[i]

            if stream.Transceiver = transceiver && (ssrc = 0u || stream.Ssrc = ssrc) then
                step <- Step.bind (askKeyFrame now i) step

        step

    let unrepaired (now: Instant) (ssrc: uint32) (s: MediaState) : Step<MediaState, MediaOutput> =
        let at = ReceiveStreams.find ssrc s.Receivers

        if at < 0 then
            Step.only s
        else
            match MediaState.section s.Receivers[at].Transceiver s with
            | ValueSome section when section.Plan.Kind = MediaKind.Video -> askKeyFrame now at s
            | _ -> Step.only s

    let private nacksDue (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        let mutable step: Step<MediaState, MediaOutput> = Step.only s

        for i in 0 .. s.Receivers.Length - 1 do
            if NackGenerator.deadline s.Receivers[i].Nack <= now then
                step <-
                    Step.bind
                        (fun (s: MediaState) ->
                            let stream = s.Receivers[i]
                            let struct (nack, outputs) = NackGenerator.tick now stream.Nack

                            { stream with Nack = nack }
                            |> fun stream -> MediaState.withReceiver i stream s
                            |> Step.route
                                (fun output s ->
                                    match output with
                                    | NackGenerator.Request lost ->
                                        let stream = s.Receivers[i]

                                        MediaState.withReceiver
                                            i
                                            { stream with
                                                Asked =
                                                    { stream.Asked with
                                                        Nacks = stream.Asked.Nacks + 1L } }
                                            s
                                        |> transmit [| Nack(speaker s, stream.Ssrc, lost) |]
                                    | NackGenerator.GaveUp -> unrepaired now s.Receivers[i].Ssrc s)
                                outputs)
                        step

        step

    let deadline (s: MediaState) : Instant =
        let mutable due = s.Control.ReportAt

        due <-
            Instant.min
                due
                (if s.Terms.Ccfb then
                     CcfbRecorder.deadline s.Path.Ccfb
                 else
                     TransportCcRecorder.deadline s.Path.Recorder)

        for stream in s.Receivers do
            due <- Instant.min due (ReceiveStream.deadline stream)

        due

    let tick (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        reportsDue now s |> Step.bind (feedbackDue now) |> Step.bind (nacksDue now)

    // ---- what the peer sends ----

    let private sender (ssrc: uint32) (s: MediaState) : int =
        s.Senders
        |> Array.tryFindIndex (fun stream -> stream.Terms.Ssrc = ssrc || (ssrc <> 0u && stream.Terms.RtxSsrc = ssrc))
        |> Option.defaultValue -1

    /// A block about one of our sources, RFC 3550 §6.4.1.
    let private block (now: Instant) (s: MediaState) (block: ReceptionReport) : MediaState =
        let at =
            s.Senders
            |> Array.tryFindIndex (fun stream -> stream.Terms.Ssrc = block.Ssrc)
            |> Option.defaultValue -1

        if at < 0 then
            s
        else
            let stream = s.Senders[at]
            let trip = RtcpReports.roundTrip (MediaState.ntp now s) block

            let former =
                stream.Remote
                |> ValueOption.defaultValue
                    { At = now
                      PacketsLost = 0L
                      FractionLost = 0.0
                      Jitter = 0.0
                      RoundTripTime = ValueNone
                      TotalRoundTripTime = 0L<us>
                      RoundTripTimeMeasurements = 0L }

            let remote =
                { former with
                    At = now
                    PacketsLost = int64 block.CumulativeLost
                    FractionLost = float block.FractionLost / 256.0
                    Jitter = float block.Jitter
                    RoundTripTime = ValueOption.orElse former.RoundTripTime trip
                    TotalRoundTripTime = former.TotalRoundTripTime + ValueOption.defaultValue 0L<us> trip
                    RoundTripTimeMeasurements = former.RoundTripTimeMeasurements + (if trip.IsSome then 1L else 0L) }

            let s =
                MediaState.withSender
                    at
                    { stream with
                        Remote = ValueSome remote
                        Fec =
                            (match stream.Fec with
                             | null -> null
                             | fec ->
                                 FecStream.reported
                                     remote.FractionLost
                                     stream.Terms.IsAskedAgain
                                     (ValueOption.defaultValue s.Path.RoundTrip trip)
                                     fec) }
                    s

            match trip with
            | ValueSome trip ->
                { s with
                    Path = { s.Path with RoundTrip = trip }
                    Receivers =
                        s.Receivers
                        |> Array.map (fun receiver ->
                            { receiver with
                                Nack = NackGenerator.roundTrip trip receiver.Nack }) }
            | ValueNone -> s

    let private senderReport (now: Instant) (ssrc: uint32) (info: SenderInfo) (s: MediaState) : MediaState =
        let at = ReceiveStreams.find ssrc s.Receivers

        if at < 0 then
            s
        else
            let stream = s.Receivers[at]

            let former =
                stream.Remote
                |> ValueOption.defaultValue
                    { At = now
                      PacketsSent = 0L
                      BytesSent = 0L
                      RemoteTimestamp = 0UL
                      ReportsSent = 0L
                      RoundTripTime = ValueNone
                      TotalRoundTripTime = 0L<us>
                      RoundTripTimeMeasurements = 0L }

            MediaState.withReceiver
                at
                { stream with
                    Reception = Reception.senderReport now info.NtpTime stream.Reception
                    Remote =
                        ValueSome
                            { former with
                                At = now
                                PacketsSent = int64 info.PacketCount
                                BytesSent = int64 info.OctetCount
                                RemoteTimestamp = info.NtpTime
                                ReportsSent = former.ReportsSent + 1L } }
                s

    let private dlrr (now: Instant) (entries: DlrrEntry[]) (s: MediaState) : MediaState =
        let ours =
            entries
            |> Array.tryFind (fun e -> e.Ssrc = speaker s || e.Ssrc = s.Control.Ssrc)

        match ours |> Option.map (fun e -> RtcpReports.dlrrRoundTrip (MediaState.ntp now s) e) with
        | Some(ValueSome trip) ->
            { s with
                Path = { s.Path with RoundTrip = trip }
                Receivers =
                    s.Receivers
                    |> Array.map (fun stream ->
                        { stream with
                            Nack = NackGenerator.roundTrip trip stream.Nack
                            Remote =
                                stream.Remote
                                |> ValueOption.map (fun remote ->
                                    { remote with
                                        RoundTripTime = ValueSome trip
                                        TotalRoundTripTime = remote.TotalRoundTripTime + trip
                                        RoundTripTimeMeasurements = remote.RoundTripTimeMeasurements + 1L }) }) }
        | _ -> s

    let private keyFrame (ssrc: uint32) (fir: int) (s: MediaState) : Step<MediaState, MediaOutput> =
        match sender ssrc s with
        | -1 -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
        | at ->
            let stream = s.Senders[at]

            // The same request again, RFC 5104 §4.3.1.2.
            if fir >= 0 && fir = stream.FirSequence then
                Step.only s
            else
                let repairs = stream.Repairs

                let next =
                    if fir >= 0 then
                        { stream with
                            FirSequence = fir
                            Repairs =
                                { repairs with
                                    Firs = repairs.Firs + 1L } }
                    else
                        { stream with
                            Repairs =
                                { repairs with
                                    Plis = repairs.Plis + 1L } }

                Step.one
                    (MediaOutput.KeyFrameWanted(stream.Terms.Transceiver, stream.Terms.Encoding))
                    (MediaState.withSender at next s)

    /// Bounds for sources of ours, each answered by what bounds it now, RFC 5104 §4.2.1.2.
    let private bounded (now: Instant) (owner: uint32) (entries: TmmbEntry[]) (s: MediaState) =
        let limits = MediaLimits.requested owner entries s.Senders s.Control.Limits

        let ours =
            s.Senders
            |> Array.filter (fun stream -> Array.exists (fun (e: TmmbEntry) -> e.Ssrc = stream.Terms.Ssrc) entries)

        if ours.Length = 0 then
            Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
        else
            MediaEstimate.limited now limits s
            |> Step.bind (
                transmit (
                    ours
                    |> Array.map (fun stream -> MediaLimits.notification stream.Terms.Ssrc limits)
                )
            )

    let private heard (now: Instant) (s: MediaState) (packet: Rtcp) : Step<MediaState, MediaOutput> =
        match packet with
        | SenderReport(ssrc, info, blocks) -> Step.only (Array.fold (block now) (senderReport now ssrc info s) blocks)
        | ReceiverReport(_, blocks) -> Step.only (Array.fold (block now) s blocks)
        | Nack(_, media, lost) -> MediaSending.repeat now media lost s
        | PictureLossIndication(_, media) -> keyFrame media -1 s
        | FullIntraRequest(_, entries) ->
            (Step.only s, entries)
            ||> Array.fold (fun step entry -> Step.bind (keyFrame entry.Ssrc (int entry.Sequence)) step)
        | TransportCc feedback when s.Path.HasBegun && not s.Terms.Ccfb ->
            let struct (times, report) =
                TransportSendTimes.feedback now feedback s.Path.SendTimes

            let s =
                { s with
                    Path = { s.Path with SendTimes = times } }

            MediaEstimate.heard now (Gcc.Feedback(report, MediaEstimate.sent s)) s
        | CongestionFeedback(_, streams, timestamp) when s.Path.HasBegun && s.Terms.Ccfb ->
            let struct (times, report) =
                StreamSendTimes.feedback now streams timestamp s.Path.StreamTimes

            let s =
                { s with
                    Path = { s.Path with StreamTimes = times }
                    Control =
                        { s.Control with
                            CcfbReceived = s.Control.CcfbReceived + 1L } }

            MediaEstimate.heard now (Gcc.Feedback(report, MediaEstimate.sent s)) s
        | ReceiverEstimatedMaxBitrate(_, bitrate, _) ->
            MediaEstimate.limited now { s.Control.Limits with Remb = bitrate } s
        | Tmmbr(owner, entries) -> bounded now owner entries s
        | Goodbye(sources, _) -> MediaEstimate.limited now (MediaLimits.left sources s.Control.Limits) s
        | ExtendedReport(ssrc, blocks) ->
            (s, blocks)
            ||> Array.fold (fun s block ->
                match block with
                | ReceiverReferenceTime ntp ->
                    let others =
                        s.Control.References
                        |> Array.filter (fun (struct (other, _, _)) -> other <> ssrc)

                    { s with
                        Control =
                            { s.Control with
                                References =
                                    Array.append
                                        (if others.Length < MaxReferences then
                                             others
                                         else
                                             Array.tail others)
                                        [| struct (ssrc, Ntp.middle ntp, now) |] } }
                | Dlrr entries -> dlrr now entries s
                | _ -> s)
            |> Step.only
        | _ -> Step.only s

    /// A datagram of SRTCP, decrypted in place.
    let received (now: Instant) (bytes: Memory<byte>) (s: MediaState) : Step<MediaState, MediaOutput> =
        match s.Keys with
        | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Srtp, Drop.Unexpected)) s
        | ValueSome _ when bytes.Length < 8 -> Step.one (MediaOutput.Dropped(Layer.Srtp, Drop.Malformed)) s
        | ValueSome keys ->
            let ssrc =
                Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(Span.op_Implicit (bytes.Span.Slice 4))

            let streams = s.Control.Streams

            let at =
                streams
                |> Array.tryFindIndex (fun (struct (other, _)) -> other = ssrc)
                |> Option.defaultValue -1

            let stream =
                if at < 0 then
                    SrtpStream.fresh
                else
                    let struct (_, stream) = streams[at]
                    stream

            match keys.Open.OpenRtcp(bytes.Span, stream) with
            | Error reason -> Step.one (MediaOutput.Dropped(Layer.Srtp, reason)) s
            | Ok _ when at < 0 && streams.Length >= MediaState.MaxStreams ->
                Step.one (MediaOutput.Dropped(Layer.Srtp, Drop.TooMany)) s
            | Ok result ->
                let entry = struct (ssrc, result.Stream)

                let s =
                    { s with
                        Control =
                            { s.Control with
                                NackWork = SentHistory.MaxWork
                                Streams =
                                    if at < 0 then
                                        Array.append streams [| entry |]
                                    else
                                        Array.updateAt at entry streams } }

                let struct (packets, malformed) =
                    RtcpCodec.read (Span.op_Implicit (bytes.Span.Slice(0, result.Length)))

                let mutable step: Step<MediaState, MediaOutput> =
                    if malformed > 0 then
                        Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed)) s
                    else
                        Step.only s

                for packet in packets do
                    step <- Step.bind (fun s -> heard now s packet) step

                if packets.Length = 0 then
                    step
                else
                    Step.bind (fun s -> Step.one (MediaOutput.Heard packets) s) step
