namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Rtp

/// From datagrams to the packets of receivers: opened, told apart by source, put back where they were lost.
[<RequireQualifiedAccess>]
module internal MediaReceiving =
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

    /// Whether a packet has come before, another way.
    let private isKnown (arrival: Arrival) (sequence: int64) (stream: ReceiveStream) : bool =
        match arrival with
        | Arrival.Again -> not (NackGenerator.isMissing sequence stream.Nack)
        | Arrival.Restored ->
            sequence <= stream.Parts.FecFrom
            || ReceiveStream.wasRepaired sequence stream.Parts
        | _ -> ReceiveStream.wasRepaired sequence stream.Parts

    /// Counts a packet: all that the network brought, what was sent again and what came twice too, as webrtc-stats has it.
    let private counted
        (arrival: Arrival)
        (isKnown: bool)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (size: int)
        (counts: ReceiveCounts)
        : ReceiveCounts =
        let came = if arrival = Arrival.Restored then 0L else 1L
        // Of a retransmission the payload begins with the original number, RFC 4588 §4.
        let octets = packet.Payload.Length + (if arrival = Arrival.Again then 2 else 0)

        { Packets = counts.Packets + came
          Octets = counts.Octets + came * int64 octets
          HeaderOctets = counts.HeaderOctets + came * int64 (size - octets)
          Frames =
            (if packet.Marker && not isKnown && section.Plan.Kind = MediaKind.Video then
                 counts.Frames + 1L
             else
                 counts.Frames) }

    /// What sound brings where RED repeats, RFC 2198: the packets before it that did not come, and its own, in order. Null: no RED.
    let private repeated
        (sequence: int64)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (parts: ReceiveParts)
        : struct (ReceiveParts * (RtpPacket[] | null)) =
        if section.Plan.Kind <> MediaKind.Audio then
            struct (parts, null)
        elif section.Kinds[int packet.PayloadType] = PayloadKind.Red then
            let struct (red, brought) = RedReceiver.received sequence &packet parts.Red
            struct ({ parts with Red = red }, brought)
        elif parts.Red.Highest = 0L then
            struct (parts, null)
        else
            let struct (red, isNew) = RedReceiver.plain sequence parts.Red
            let own = packet
            struct ({ parts with Red = red }, (if isNew then [| own |] else Array.Empty()))

    /// Whether more is missing than is worth asking for is the second answer.
    let private noted
        (now: Instant)
        (sequence: int64)
        (arrival: Arrival)
        (section: MediaSection)
        (nack: NackGenerator.State)
        : struct (NackGenerator.State * bool) =
        if section.AsksAgain then
            // What FEC or RED brings is late as disorder is: patience learns of it, and asks for what they leave over.
            let struct (nack, outputs) =
                NackGenerator.received now sequence (arrival = Arrival.Again) nack

            struct (nack, not outputs.IsEmpty)
        else
            struct (nack, false)

    /// How often what is missing before a whole key frame is asked for.
    [<Literal>]
    let private MostAskedBefore = 2

    /// Once a key frame is whole hardly anybody needs what is missing before it: the second answer does not wait for it for long.
    let private keyed
        (sequence: int64)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (parts: ReceiveParts)
        (nack: NackGenerator.State)
        : struct (ReceiveParts * NackGenerator.State) =
        let known = parts.KeyFrame

        if nack.Missing.Length = 0 then
            struct (parts, nack)
        else
            let isOf = known.From >= 0L && packet.Timestamp = known.Timestamp

            let key =
                if
                    not isOf
                    && KeyFrames.begins section.KeyFrames[int packet.PayloadType] packet.Payload.Span
                then
                    { From = sequence
                      Timestamp = packet.Timestamp
                      UpTo = (if packet.Marker then sequence else -1L) }
                elif isOf && packet.Marker then
                    { known with UpTo = sequence }
                else
                    known

            if
                key.From >= 0L
                && key.UpTo >= key.From
                && not (NackGenerator.isMissingWithin key.From key.UpTo nack)
            then
                let nack = NackGenerator.passed key.From MostAskedBefore nack

                let key =
                    if NackGenerator.isMissingWithin 0L (key.From - 1L) nack then
                        key
                    else
                        { key with From = -1L; UpTo = -1L }

                struct ({ parts with KeyFrame = key }, nack)
            elif key.From <> known.From || key.UpTo <> known.UpTo then
                struct ({ parts with KeyFrame = key }, nack)
            else
                struct (parts, nack)

    /// From now on the peer sends: its track is unmuted.
    let private heardFrom (section: MediaSection) (s: MediaState) : MediaState =
        { s with
            Terms =
                { s.Terms with
                    Sections =
                        s.Terms.Sections
                        |> Array.map (fun other ->
                            if other.Plan.Transceiver = section.Plan.Transceiver then
                                { other with IsHeard = true }
                            else
                                other) } }

    /// Packets that are delivered and are to be held.
    let private held
        (now: Instant)
        (at: int)
        (target: Duration)
        (section: MediaSection)
        (asked: MediaOutput list)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let mutable s = s
        let mutable due = []

        for output in asked do
            match output with
            | MediaOutput.Deliver(_, _, packet) when section.Kinds[int packet.PayloadType] = PayloadKind.Media ->
                let struct (next, outputs) = MediaHolding.hold now at target section &packet s
                s <- next
                due <- due @ outputs
            | _ -> ()

        struct (s, asked @ due)

    /// A packet of a media stream, with its unwrapped number. `srtp`: what its stream has had with it, so that the stream is copied once a
    /// packet.
    let private arrived
        (now: Instant)
        (at: int)
        (sequence: int64)
        (arrival: Arrival)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (size: int)
        (srtp: SrtpStream)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Receivers[at]
        let kind = section.Kinds[int packet.PayloadType]

        let reception =
            // What was sent again, in a stream of its own, was lost all the same: RFC 4588 §6.2 has each stream reported on by itself.
            if arrival = Arrival.Itself then
                Reception.received
                    now
                    sequence
                    packet.Timestamp
                    (max 1 section.ClockRates[int packet.PayloadType])
                    stream.Reception
            else
                stream.Reception

        let isKnown = isKnown arrival sequence stream

        let struct (parts, brought) =
            if isKnown then
                struct (stream.Parts, null)
            else
                repeated sequence section &packet stream.Parts

        let isKnown =
            isKnown
            || (match brought with
                | null -> false
                | brought -> brought.Length = 0)

        let counts = counted arrival isKnown section &packet size stream.Counts

        if isKnown then
            let asked = stream.Asked

            MediaState.withReceiver
                at
                { stream with
                    Srtp = srtp
                    Reception = reception
                    Parts = parts
                    Counts = counts
                    Asked =
                        (if arrival = Arrival.Restored then
                             { asked with
                                 FecVain = asked.FecVain + 1L }
                         else
                             asked) }
                s
            |> (if parts.Red.Malformed > stream.Parts.Red.Malformed then
                    Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed))
                else
                    Step.only)
        else
            let mutable nack = stream.Nack
            let mutable gaveUp = false

            match brought with
            | null -> ()
            | brought ->
                for i in 0 .. brought.Length - 1 do
                    let number = Sequence.unwrap sequence brought[i].SequenceNumber

                    if number <> sequence then
                        let struct (next, over) = noted now number Arrival.Restored section nack
                        nack <- next
                        gaveUp <- gaveUp || over

            let struct (nack, over) = noted now sequence arrival section nack
            let struct (parts, nack) = keyed sequence section &packet parts nack
            let isEvent = kind = PayloadKind.TelephoneEvent

            let next =
                { stream with
                    Srtp = srtp
                    Reception = reception
                    Nack = nack
                    // Events go between the packets of a codec, which stays what it is.
                    PayloadType = (if isEvent then stream.PayloadType else packet.PayloadType)
                    At = now
                    AudioLevel = level &packet stream.AudioLevel
                    Counts = counts
                    Parts =
                        (if arrival = Arrival.Itself then
                             parts
                         else
                             ReceiveStream.repaired sequence parts) }

            let struct (next, tones) =
                if isEvent then
                    ReceivedTones.heard now section &packet next
                else
                    Step.only next

            let asked =
                match brought with
                | null -> deliver section next &packet tones
                | brought ->
                    let mutable asked = tones

                    for i in brought.Length - 1 .. -1 .. 0 do
                        asked <- deliver section next &brought[i] asked

                    asked

            let asked =
                if stream.Counts.Packets = 0L then
                    MediaOutput.Found(stream.Transceiver, stream.Ssrc, stream.Rid) :: asked
                else
                    asked

            let s = MediaState.withReceiver at next s

            let struct (s, asked) =
                if section.IsHeard then
                    struct (s, asked)
                else
                    struct (heardFrom section s, MediaOutput.Unmuted stream.Transceiver :: asked)

            let struct (s, asked) =
                match section.Hold with
                | ValueNone -> struct (s, asked)
                | ValueSome target -> held now at target section asked s

            if gaveUp || over then
                struct (s, asked @ [ MediaOutput.Unrepaired stream.Ssrc ])
            else
                struct (s, asked)

    // ---- FEC ----

    let private withFec (at: int) (fec: FlexFecReceiver.State) (s: MediaState) : MediaState =
        MediaState.withParts
            at
            { s.Receivers[at].Parts with
                Fec = ValueSome fec }
            s

    /// Packets that came back have arrived.
    let private restored
        (now: Instant)
        (at: int)
        (section: MediaSection)
        (packets: byte[][])
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let mutable step: Step<MediaState, MediaOutput> = Step.only s

        for bytes in packets do
            step <-
                Step.bind
                    (fun (s: MediaState) ->
                        match RtpPackets.read (ReadOnlyMemory bytes) section.Plan.Extensions with
                        | ValueSome packet when section.Kinds[int packet.PayloadType] = PayloadKind.Media ->
                            let stream = s.Receivers[at]

                            let sequence = Sequence.unwrap stream.Reception.Highest packet.SequenceNumber

                            arrived now at sequence Arrival.Restored section &packet bytes.Length stream.Srtp s
                        // FEC of something else than what was sent.
                        | _ -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed)) s)
                    step

        step

    /// Tells FEC of a packet that came by itself, decrypted. One that was sent again has the header extensions of another stream.
    let private protect
        (now: Instant)
        (at: int)
        (sequence: int64)
        (section: MediaSection)
        (bytes: ReadOnlyMemory<byte>)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        match s.Receivers[at].Parts.Fec with
        | ValueNone -> Step.only s
        | ValueSome fec ->
            let struct (fec, back) =
                FlexFecReceiver.media sequence section.Plan.Extensions bytes.Span fec

            restored now at section back (withFec at fec s)

    /// A FEC packet, which names the stream that it is about.
    let private repair
        (now: Instant)
        (section: MediaSection)
        (payload: ReadOnlyMemory<byte>)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        match FlexFec.read payload.Span with
        | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed)) s
        | ValueSome header ->
            let at = ReceiveStreams.find header.Ssrc s.Receivers

            if
                at < 0
                || s.Receivers[at].Kind <> PayloadKind.Media
                || s.Receivers[at].Transceiver <> section.Plan.Transceiver
            then
                Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
            else
                let stream = s.Receivers[at]

                match stream.Parts.Fec with
                | ValueSome fec ->
                    let struct (fec, back) = FlexFecReceiver.repair payload.Span fec
                    restored now at section back (withFec at fec s)
                // Packets are kept from here on: without FEC that costs nothing.
                | ValueNone ->
                    let struct (fec, _) =
                        FlexFecReceiver.repair payload.Span (FlexFecReceiver.create header.Ssrc)

                    Step.only (
                        MediaState.withReceiver
                            at
                            { stream with
                                Parts =
                                    { stream.Parts with
                                        Fec = ValueSome fec
                                        FecFrom = stream.Reception.Highest } }
                            s
                    )

    /// What came of a stream is noted, so that no other packet of its number is taken, whatever becomes of this one.
    let private kept (at: int) (srtp: SrtpStream) (path: MediaPath) (s: MediaState) : MediaState =
        { s with
            Path = path
            Receivers = ReceiveStreams.replace at { s.Receivers[at] with Srtp = srtp } s.Receivers }

    /// A packet that was sent again in a stream of its own.
    let private sentAgain
        (now: Instant)
        (at: int)
        (section: MediaSection)
        (packet: inref<RtpPacket>)
        (size: int)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Receivers[at]
        let original = section.Pairs.Original[int packet.PayloadType]
        let primary = ReceiveBinding.repaired stream section s

        // Padding, with which the peer probes, even before there is a packet to send again: counted with the source's own, as
        // browsers do.
        let padded (s: MediaState) =
            let counts = stream.Counts

            Step.only (
                MediaState.withReceiver
                    at
                    { stream with
                        Counts =
                            { counts with
                                Packets = counts.Packets + 1L
                                HeaderOctets = counts.HeaderOctets + int64 size } }
                    s
            )

        if primary < 0 || original = 255uy then
            padded s
        else
            let repairedStream = s.Receivers[primary]

            match Rtx.unwrap repairedStream.Ssrc original &packet with
            | ValueNone -> padded s
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
                                    RtxOctets = asked.RtxOctets + int64 packet.Payload.Length } }
                        s

                arrived now primary sequence Arrival.Again section &inner size repairedStream.Srtp s

    let private opened
        (now: Instant)
        (at: int)
        (result: SrtpOpened)
        (bytes: Memory<byte>)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Receivers[at]
        let path = s.Path

        match MediaState.section stream.Transceiver s with
        | ValueNone ->
            kept at result.Stream path s
            |> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected))
        | ValueSome section ->
            match RtpPackets.read (Memory.op_Implicit (bytes.Slice(0, result.Length))) section.Plan.Extensions with
            | ValueNone ->
                kept at result.Stream path s
                |> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Malformed))
            | ValueSome packet ->
                let mutable stamp = ReadOnlyMemory<byte>.Empty

                let path =
                    if s.Terms.Ccfb then
                        { path with
                            Ccfb =
                                CcfbRecorder.received now packet.Ssrc packet.SequenceNumber bytes.Length 0uy path.Ccfb }
                    elif packet.TryGetExtension(HeaderExtension.TransportCc, &stamp) && stamp.Length >= 2 then
                        let sequence = BinaryPrimitives.ReadUInt16BigEndian stamp.Span

                        { path with
                            Recorder = TransportCcRecorder.received now sequence bytes.Length path.Recorder }
                    else
                        path

                if not section.Plan.Receiving then
                    kept at result.Stream path s
                    |> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected))
                else
                    match section.Kinds[int packet.PayloadType] with
                    | PayloadKind.Unknown ->
                        kept at result.Stream path s
                        |> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unsupported))
                    | PayloadKind.Retransmission ->
                        sentAgain now at section &packet result.Length (kept at result.Stream path s)
                    | PayloadKind.FlexFec -> repair now section packet.Payload (kept at result.Stream path s)
                    | _ ->
                        let sequence = Sequence.ofIndex result.Index

                        let s =
                            if Object.ReferenceEquals(path, s.Path) then
                                s
                            else
                                { s with Path = path }

                        let step =
                            arrived now at sequence Arrival.Itself section &packet result.Length result.Stream s

                        if stream.Parts.Fec.IsNone then
                            step
                        else
                            let whole = Memory.op_Implicit (bytes.Slice(0, result.Length))
                            Step.bind (protect now at sequence section whole) step

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
                            match ReceiveBinding.bind &header (Span.op_Implicit bytes.Span) s with
                            | ValueNone -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
                            | ValueSome stream ->
                                let at = ~~~at

                                { s with
                                    Receivers = Array.insertAt at stream s.Receivers }
                                |> opened now at result bytes
