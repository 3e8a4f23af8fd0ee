namespace Hybrid.WebRtc.Core

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Rtp

/// Packets leave: numbers are checked and counted, what is congestion-controlled is noted, what may be asked for again is kept, and
/// FEC is made of it.
[<RequireQualifiedAccess>]
module internal MediaLeaving =
    /// Whether a payload type was negotiated.
    let inline private isNegotiated (payloadType: byte) (terms: SendTerms) =
        payloadType < 128uy && terms.ClockRates[int payloadType] <> 0

    /// FEC packets of one sender leave, numbered as they do.
    let leaveFec
        (now: Instant)
        (at: int)
        (probe: int)
        (packets: ReadOnlyMemory<RtpPacket>)
        (keys: MediaKeys)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Senders[at]

        match stream.Fec with
        | null -> Step.only s
        | fec ->
            let terms = stream.Terms
            let span = packets.Span
            let path = s.Path
            let stamps = fec.Own.TransportCcId <> 0

            let rewrite: RtpRewrite =
                { Ssrc = fec.Machine.Ssrc
                  SequenceNumber = 0us
                  TimestampOffset = 0u
                  PayloadType = 0uy
                  Translation = stream.Translation
                  Own = fec.Own
                  AbsSendTime = AbsSendTime.OfInstant now
                  TransportSequence =
                    (if stamps then
                         TransportSendTimes.next path.SendTimes
                     else
                         0us)
                  OriginalSequence = ValueNone }

            let mutable times = path.SendTimes
            let mutable streamTimes = path.StreamTimes
            let mutable total = 0
            let mutable octets = 0

            for i in 0 .. span.Length - 1 do
                let size = RtpWriter.size &span[i] &rewrite
                total <- total + size
                octets <- octets + span[i].Payload.Length

                if stamps then
                    times <- TransportSendTimes.sent now (size + path.Overhead) probe times

                if s.Terms.Ccfb then
                    streamTimes <-
                        StreamSendTimes.sent
                            now
                            fec.Machine.Ssrc
                            (uint16 fec.Next + uint16 i)
                            (size + path.Overhead)
                            probe
                            streamTimes

            let run =
                RtpRun(
                    { Seal = keys.Seal
                      Cryptex = terms.Cryptex
                      Mapping =
                        { RtpMappings.identity with
                            SequenceOffset = uint16 fec.Next - span[0].SequenceNumber }
                      Rewrite = rewrite
                      First = fec.Next
                      IsRetransmission = false },
                    packets,
                    total + span.Length * keys.Seal.RtpOverhead
                )

            Step.one
                (MediaOutput.TransmitRun run)
                ({ s with
                    Path =
                        { path with
                            SendTimes = times
                            StreamTimes = streamTimes } }
                 |> MediaState.withSender
                     at
                     { stream with
                         Fec =
                             { fec with
                                 Next = fec.Next + uint64 span.Length
                                 Packets = fec.Packets + int64 span.Length
                                 Octets = fec.Octets + int64 octets
                                 HeaderOctets = fec.HeaderOctets + int64 (total - octets) } })

    /// FEC packets follow what they protect: in the pacer, where there is one.
    let protect
        (now: Instant)
        (at: int)
        (packets: RtpPacket[])
        (keys: MediaKeys)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        if packets.Length = 0 then
            Step.only s
        elif MediaPacer.isClear s.Path.Pacer then
            leaveFec now at 0 (ReadOnlyMemory packets) keys s
        else
            let mutable pacer = s.Path.Pacer

            for place in 0 .. packets.Length - 1 do
                pacer <-
                    MediaPacer.enqueue
                        now
                        PacketPriority.Video
                        (packets[place].Payload.Length + 40 + s.Path.Overhead)
                        { Sender = at
                          Packets = ReadOnlyMemory packets
                          Place = place
                          Mapping = RtpMappings.identity
                          Again = null
                          IsFec = true
                          Since = now }
                        pacer

            Step.only
                { s with
                    Path = { s.Path with Pacer = pacer } }

    /// Sends packets of one sender that leave together, in as few runs as their numbers allow.
    let leave
        (now: Instant)
        (at: int)
        (probe: int)
        (mapping: RtpMapping)
        (packets: ReadOnlyMemory<RtpPacket>)
        (delay: Duration)
        (keys: MediaKeys)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Senders[at]
        let terms = stream.Terms
        let span = packets.Span
        let stamps = terms.Own.TransportCcId <> 0
        let around = s.Path.Overhead

        let mutable asked = ListCollector<MediaOutput>()
        let mutable used = stream.Used
        let mutable counts = stream.Counts
        let mutable history = stream.History
        let mutable translation = stream.Translation
        let mutable fec = stream.Fec
        let mutable made: RtpPacket[] = Array.Empty()
        let mutable times = s.Path.SendTimes
        let mutable streamTimes = s.Path.StreamTimes
        let mutable timestamp = stream.Timestamp
        let mutable payloadType = stream.PayloadType
        let mutable left = 0
        let mutable from = 0

        while from < span.Length do
            // One run: packets whose extensions are of one map, and whose numbers are new.
            let map = span[from].Map
            // C# can make a packet by `default`.
            translation <- translation.For(if isNull (box map) then ExtensionMap.Empty else map)

            let head: RtpRewrite =
                { Ssrc = terms.Ssrc
                  SequenceNumber = 0us
                  TimestampOffset = mapping.TimestampOffset
                  PayloadType = 0uy
                  Translation = translation
                  Own = terms.Own
                  AbsSendTime = AbsSendTime.OfInstant now
                  TransportSequence = (if stamps then TransportSendTimes.next times else 0us)
                  OriginalSequence = ValueNone }

            let mutable upTo = from
            let mutable first = 0UL
            let mutable lowest = UInt64.MaxValue
            let mutable highest = 0UL
            let mutable octets = 0
            let mutable overhead = 0
            let mutable refused = ValueNone

            while upTo < span.Length
                  && refused.IsNone
                  && Object.ReferenceEquals(span[upTo].Map, map) do
                let packet = &span[upTo]
                let mapped = RtpMappings.payloadType packet.PayloadType mapping

                let index = SrtpStream.guess (packet.SequenceNumber + mapping.SequenceOffset) used

                if not (isNegotiated mapped terms) then
                    refused <- ValueSome Drop.Unsupported
                elif not (SrtpStream.isNew index used) then
                    // One number with two contents would break the encryption.
                    refused <- ValueSome Drop.Replayed
                else
                    used <- SrtpStream.mark index used
                    lowest <- min lowest index
                    highest <- max highest index

                    if upTo = from then
                        first <- index

                    let size = RtpWriter.size &packet &head
                    counts <- SendStream.counted &packet size terms.Kind counts
                    octets <- octets + size
                    overhead <- overhead + RtpRun.Overhead(keys.Seal, terms.Cryptex, &packet)
                    payloadType <- mapped
                    timestamp <- packet.Timestamp + mapping.TimestampOffset

                    match fec with
                    | null -> ()
                    | protecting ->
                        let rewrite =
                            { head with
                                SequenceNumber = uint16 index
                                PayloadType = mapped }

                        let struct (next, more) =
                            FecStream.protect now index terms.Extensions &packet &rewrite size protecting

                        fec <- next

                        if more.Length > 0 then
                            made <- Array.append made more

                    if stamps then
                        times <- TransportSendTimes.sent now (size + around) probe times

                    if s.Terms.Ccfb then
                        streamTimes <-
                            StreamSendTimes.sent now terms.Ssrc (uint16 index) (size + around) probe streamTimes

                    upTo <- upTo + 1

            if upTo > from then
                let run = packets.Slice(from, upTo - from)
                left <- left + run.Length

                asked.Add(
                    MediaOutput.TransmitRun(
                        RtpRun(
                            { Seal = keys.Seal
                              Cryptex = terms.Cryptex
                              Mapping = mapping
                              Rewrite = head
                              First = first
                              IsRetransmission = false },
                            run,
                            octets + overhead
                        )
                    )
                )

                history <-
                    SentHistory.append
                        { Packets = run
                          Mapping = mapping
                          First = Sequence.ofIndex first
                          Lowest = Sequence.ofIndex lowest
                          Highest = Sequence.ofIndex highest
                          TransportSequence = head.TransportSequence
                          Translation = translation
                          At = now
                          Octets = octets }
                        history

            match refused with
            | ValueSome reason ->
                asked.Add(MediaOutput.Dropped(Layer.Rtp, reason))
                from <- upTo + 1
            | ValueNone -> from <- upTo

        let next =
            { s with
                Path =
                    { s.Path with
                        SendTimes = times
                        StreamTimes = streamTimes } }
            |> MediaState.withSender
                at
                { stream with
                    Used = used
                    HasSent = stream.HasSent || left > 0
                    Timestamp = timestamp
                    At = (if left > 0 then now else stream.At)
                    PayloadType = payloadType
                    Translation = translation
                    Counts =
                        { counts with
                            Delay = counts.Delay + int64 left * delay }
                    History = history
                    Fec = fec }

        if made.Length = 0 then
            struct (next, asked.Close())
        else
            let struct (next, more) = protect now at made keys next
            asked.AddMany more
            struct (next, asked.Close())

    /// Sends again, RFC 4588 where that was negotiated, else as it was: the very same octets, since one number must not have two
    /// contents.
    let again
        (now: Instant)
        (at: int)
        (probe: int)
        (burst: SentBurst)
        (place: int)
        (keys: MediaKeys)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        let stream = s.Senders[at]
        let terms = stream.Terms
        let packets = burst.Packets.Slice(place, 1)
        let packet = &packets.Span[0]
        let mapped = RtpMappings.payloadType packet.PayloadType burst.Mapping

        let rtx =
            if terms.RtxSsrc = 0u then
                255uy
            else
                terms.RtxTypes[int (mapped &&& 0x7Fuy)]

        // The payload of a retransmission begins with the original number, RFC 4588 §4.
        let octets = packet.Payload.Length + (if rtx = 255uy then 0 else 2)

        let repairs size =
            { stream.Repairs with
                Packets = stream.Repairs.Packets + 1L
                Octets = stream.Repairs.Octets + int64 octets
                HeaderOctets = stream.Repairs.HeaderOctets + int64 (size - octets) }

        let overhead = RtpRun.Overhead(keys.Seal, terms.Cryptex, &packet)

        if rtx = 255uy then
            let rewrite: RtpRewrite =
                { Ssrc = terms.Ssrc
                  SequenceNumber = 0us
                  TimestampOffset = burst.Mapping.TimestampOffset
                  PayloadType = 0uy
                  Translation = burst.Translation
                  Own = terms.Own
                  AbsSendTime = AbsSendTime.OfInstant burst.At
                  TransportSequence = burst.TransportSequence + uint16 place
                  OriginalSequence = ValueNone }

            let size = RtpWriter.size &packet &rewrite

            let run =
                RtpRun(
                    { Seal = keys.Seal
                      Cryptex = terms.Cryptex
                      Mapping = burst.Mapping
                      Rewrite = rewrite
                      First = Sequence.toIndex (burst.Sequence place)
                      IsRetransmission = false },
                    packets,
                    size + overhead
                )

            Step.one (MediaOutput.TransmitRun run) (MediaState.withSender at { stream with Repairs = repairs size } s)
        else
            let stamps = terms.RtxOwn.TransportCcId <> 0
            let sequence = uint16 stream.NextRtx

            let rewrite: RtpRewrite =
                { Ssrc = terms.RtxSsrc
                  SequenceNumber = sequence
                  TimestampOffset = burst.Mapping.TimestampOffset
                  PayloadType = rtx
                  Translation = burst.Translation
                  Own = terms.RtxOwn
                  AbsSendTime = AbsSendTime.OfInstant now
                  TransportSequence = TransportSendTimes.next s.Path.SendTimes
                  OriginalSequence = ValueSome(packet.SequenceNumber + burst.Mapping.SequenceOffset) }

            let size = RtpWriter.size &packet &rewrite

            let run =
                RtpRun(
                    { Seal = keys.Seal
                      Cryptex = terms.Cryptex
                      Mapping = burst.Mapping
                      Rewrite = rewrite
                      First = stream.NextRtx
                      IsRetransmission = true },
                    packets,
                    size + overhead
                )

            let path = s.Path

            let next =
                { s with
                    Path =
                        { path with
                            SendTimes =
                                (if stamps then
                                     TransportSendTimes.sent now (size + path.Overhead) probe path.SendTimes
                                 else
                                     path.SendTimes)
                            StreamTimes =
                                (if s.Terms.Ccfb then
                                     StreamSendTimes.sent
                                         now
                                         terms.RtxSsrc
                                         sequence
                                         (size + path.Overhead)
                                         probe
                                         path.StreamTimes
                                 else
                                     path.StreamTimes) } }
                |> MediaState.withSender
                    at
                    { stream with
                        NextRtx = stream.NextRtx + 1UL
                        Repairs = repairs size }

            Step.one (MediaOutput.TransmitRun run) next
