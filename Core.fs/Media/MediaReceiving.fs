namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Rtp

/// From datagrams to the packets of receivers: opened, told apart by source, put back where they were lost.
[<RequireQualifiedAccess>]
module internal MediaReceiving =
    /// A text in a header extension; empty where the packet has none.
    let private text
        (extension: HeaderExtension)
        (map: ExtensionMap)
        (header: inref<RtpHeader>)
        (bytes: ReadOnlySpan<byte>)
        =
        let id = map.IdOf extension
        let mutable found = ""

        if id <> 0 && header.ExtensionLength > 0 then
            let mutable elements =
                ExtensionReader(header.ExtensionProfile, bytes.Slice(header.ExtensionOffset, header.ExtensionLength))

            while found = "" && elements.MoveNext() do
                if elements.Id = id then
                    match ExtensionText.read elements.Data with
                    | ValueSome text -> found <- text
                    | ValueNone -> ()

        found

    /// The section that a new source belongs to, RFC 9143 §9.2: by its MID, by a description's `a=ssrc`, or by a payload type that only
    /// one section has.
    let private sectionOf
        (header: inref<RtpHeader>)
        (bytes: ReadOnlySpan<byte>)
        (s: MediaState)
        : MediaSection voption =
        let sections = s.Terms.Sections
        let mutable found = ValueNone
        let mutable named = false

        for section in sections do
            if found.IsNone && not named then
                match text HeaderExtension.Mid section.Plan.Extensions &header bytes with
                | "" -> ()
                | mid ->
                    named <- true

                    for other in sections do
                        if other.Plan.Mid = mid then
                            found <- ValueSome other

        let ssrc = header.Ssrc

        if found.IsNone && not named then
            for section in sections do
                if
                    found.IsNone
                    && section.Plan.RemoteSources
                       |> Array.exists (fun source ->
                           source.Ssrc = ssrc || source.RtxSsrc = ssrc || source.FecSsrc = ssrc)
                then
                    found <- ValueSome section

        if found.IsNone && not named then
            let mutable several = false

            for section in sections do
                if
                    section.Plan.Receiving
                    && section.Kinds[int header.PayloadType] <> PayloadKind.Unknown
                then
                    several <- several || found.IsSome
                    found <- ValueSome section

            if several then
                found <- ValueNone

        found

    /// A source seen for the first time, RFC 8852 §3 for its rid; ValueNone: it belongs nowhere.
    let private bind (header: inref<RtpHeader>) (bytes: ReadOnlySpan<byte>) (s: MediaState) : ReceiveStream voption =
        match sectionOf &header bytes s with
        | ValueSome section ->
            let kind =
                match section.Kinds[int header.PayloadType] with
                | PayloadKind.Retransmission -> PayloadKind.Retransmission
                | PayloadKind.FlexFec -> PayloadKind.FlexFec
                | PayloadKind.Unknown -> PayloadKind.Unknown
                | _ -> PayloadKind.Media

            let map = section.Plan.Extensions

            let rid =
                if kind = PayloadKind.Media then
                    text HeaderExtension.Rid map &header bytes
                else
                    match text HeaderExtension.RepairedRid map &header bytes with
                    | "" -> text HeaderExtension.Rid map &header bytes
                    | rid -> rid

            // A simulcast packet that does not say whose it is may be any encoding's: its rid comes with the next ones.
            if kind = PayloadKind.Unknown || (section.Plan.RemoteRids.Length > 0 && rid = "") then
                ValueNone
            else
                ValueSome(ReceiveStream.create header.Ssrc kind section.Plan.Transceiver rid)
        | ValueNone -> ValueNone

    /// The place of the media stream that a stream of retransmissions repeats, or -1.
    let private repaired (rtx: ReceiveStream) (section: MediaSection) (s: MediaState) : int =
        let declared =
            section.Plan.RemoteSources
            |> Array.tryPick (fun source -> if source.RtxSsrc = rtx.Ssrc then Some source.Ssrc else None)

        match declared with
        | Some ssrc -> ReceiveStreams.find ssrc s.Receivers
        | None ->
            let mutable at = -1

            for i in 0 .. s.Receivers.Length - 1 do
                let stream = s.Receivers[i]

                if
                    stream.Kind = PayloadKind.Media
                    && stream.Transceiver = rtx.Transceiver
                    && stream.Rid = rtx.Rid
                then
                    at <- i

            at

    let private deliver
        (section: MediaSection)
        (stream: ReceiveStream)
        (packet: inref<RtpPacket>)
        (asked: MediaOutput list)
        : MediaOutput list =
        match section.Kinds[int packet.PayloadType] with
        | PayloadKind.Media
        | PayloadKind.TelephoneEvent when packet.Payload.Length > 0 ->
            MediaOutput.Deliver(stream.Transceiver, stream.Rid, packet) :: asked
        | PayloadKind.Red ->
            match Red.primary &packet with
            | ValueSome inner when section.Kinds[int inner.PayloadType] = PayloadKind.Media ->
                MediaOutput.Deliver(stream.Transceiver, stream.Rid, inner) :: asked
            | _ -> asked
        | _ -> asked

    /// RFC 6464's level, where the packet says one.
    let private level (packet: inref<RtpPacket>) (was: byte) : byte =
        let mutable data = ReadOnlyMemory<byte>.Empty

        if packet.TryGetExtension(HeaderExtension.AudioLevel, &data) && data.Length > 0 then
            data.Span[0] &&& 0x7Fuy
        else
            was

    /// A packet of a media stream, that came as itself or was sent again. `index`: unwrapped.
    let private arrived
        (now: Instant)
        (at: int)
        (sequence: int64)
        (isRepair: bool)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (size: int)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Receivers[at]

        if isRepair && not (NackGenerator.isMissing sequence stream.Nack) then
            // It came meanwhile.
            let next =
                { stream with
                    Counts =
                        { stream.Counts with
                            Discarded = stream.Counts.Discarded + 1L } }

            Step.only (MediaState.withReceiver at next s)
        else
            let struct (nack, outputs) =
                if section.AsksAgain then
                    NackGenerator.received now sequence isRepair stream.Nack
                else
                    Step.only stream.Nack

            let counts = stream.Counts

            let next =
                { stream with
                    // What was sent again, in a stream of its own, was lost all the same: RFC 4588 §6.2 has each stream reported on by itself.
                    Reception =
                        (if isRepair then
                             stream.Reception
                         else
                             Reception.received
                                 now
                                 sequence
                                 packet.Timestamp
                                 (max 1 section.ClockRates[int packet.PayloadType])
                                 stream.Reception)
                    Nack = nack
                    PayloadType = packet.PayloadType
                    At = now
                    AudioLevel = level &packet stream.AudioLevel
                    Counts =
                        { counts with
                            Packets = counts.Packets + 1L
                            Octets = counts.Octets + int64 packet.Payload.Length
                            HeaderOctets = counts.HeaderOctets + int64 (size - packet.Payload.Length)
                            Frames =
                                (if packet.Marker && section.Plan.Kind = MediaKind.Video then
                                     counts.Frames + 1L
                                 else
                                     counts.Frames) } }

            let isFirst = counts.Packets = 0L
            let asked = deliver section next &packet []

            let asked =
                if isFirst then
                    MediaOutput.Found(stream.Transceiver, stream.Ssrc, stream.Rid) :: asked
                else
                    asked

            let s = MediaState.withReceiver at next s

            let struct (s, asked) =
                if section.IsHeard then
                    struct (s, asked)
                else
                    struct ({ s with
                                Terms =
                                    { s.Terms with
                                        Sections =
                                            s.Terms.Sections
                                            |> Array.map (fun other ->
                                                if other.Plan.Transceiver = section.Plan.Transceiver then
                                                    { other with IsHeard = true }
                                                else
                                                    other) } },
                            MediaOutput.Unmuted stream.Transceiver :: asked)

            if outputs |> List.exists _.IsGaveUp then
                struct (s, asked @ [ MediaOutput.Unrepaired stream.Ssrc ])
            else
                struct (s, asked)

    let private opened
        (now: Instant)
        (at: int)
        (result: SrtpOpened)
        (bytes: Memory<byte>)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream =
            { s.Receivers[at] with
                Srtp = result.Stream }

        let s = MediaState.withReceiver at stream s

        match MediaState.section stream.Transceiver s with
        | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
        | ValueSome section ->
            match RtpPackets.read (Memory.op_Implicit (bytes.Slice(0, result.Length))) section.Plan.Extensions with
            | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed)) s
            | ValueSome packet ->
                let path = s.Path
                let mutable stamp = ReadOnlyMemory<byte>.Empty

                let path =
                    if s.Terms.Ccfb then
                        { path with
                            Ccfb = CcfbRecorder.received now packet.Ssrc packet.SequenceNumber bytes.Length 0uy path.Ccfb }
                    elif packet.TryGetExtension(HeaderExtension.TransportCc, &stamp) && stamp.Length >= 2 then
                        let sequence = BinaryPrimitives.ReadUInt16BigEndian stamp.Span

                        { path with
                            Recorder = TransportCcRecorder.received now sequence bytes.Length path.Recorder }
                    else
                        path

                let s = { s with Path = path }

                if not section.Plan.Receiving then
                    Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
                else
                    match section.Kinds[int packet.PayloadType] with
                    | PayloadKind.Unknown -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unsupported)) s
                    | PayloadKind.Retransmission ->
                        let original = section.Pairs.Original[int packet.PayloadType]
                        let primary = repaired stream section s

                        let stream =
                            { stream with
                                Counts =
                                    { stream.Counts with
                                        Packets = stream.Counts.Packets + 1L } }

                        let s = MediaState.withReceiver at stream s

                        if primary < 0 || original = 255uy then
                            Step.only s
                        else
                            let repairedStream = s.Receivers[primary]

                            match Rtx.unwrap repairedStream.Ssrc original &packet with
                            | ValueNone -> Step.only s
                            | ValueSome inner ->
                                let sequence = Sequence.unwrap repairedStream.Reception.Highest inner.SequenceNumber

                                let asked = repairedStream.Asked

                                let s =
                                    MediaState.withReceiver
                                        primary
                                        { repairedStream with
                                            Asked =
                                                { asked with
                                                    RtxPackets = asked.RtxPackets + 1L
                                                    RtxOctets = asked.RtxOctets + int64 inner.Payload.Length } }
                                        s

                                arrived now primary sequence true section &inner result.Length s
                    | PayloadKind.FlexFec -> Step.only s
                    | _ ->
                        let sequence = Sequence.ofIndex result.Index
                        arrived now at sequence false section &packet result.Length s

    /// A datagram of SRTP, decrypted in place.
    let received (now: Instant) (bytes: Memory<byte>) (s: MediaState) : Step<MediaState, MediaOutput> =
        match s.Keys with
        | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Srtp, Drop.Unexpected)) s
        | ValueSome keys ->
            match RtpHeader.readSealed (Span.op_Implicit bytes.Span) with
            | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed)) s
            | ValueSome header ->
                let at = ReceiveStreams.find header.Ssrc s.Receivers

                let srtp = if at >= 0 then s.Receivers[at].Srtp else SrtpStream.fresh

                match keys.Open.OpenRtp(bytes.Span, header.PayloadOffset, srtp) with
                | Error reason -> Step.one (MediaOutput.Dropped(Layer.Srtp, reason)) s
                | Ok result when at >= 0 -> opened now at result bytes s
                | Ok result ->
                    if s.Receivers.Length >= MediaState.MaxStreams then
                        Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.TooMany)) s
                    else
                        // With Cryptex the extensions are in the clear only now.
                        match RtpHeader.readSealed (Span.op_Implicit bytes.Span) with
                        | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed)) s
                        | ValueSome header ->
                            match bind &header (Span.op_Implicit bytes.Span) s with
                            | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
                            | ValueSome stream ->
                                let at = ~~~at

                                { s with
                                    Receivers = Array.insertAt at stream s.Receivers }
                                |> opened now at result bytes
