namespace Hybrid.WebRtc.Core

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Rtp

/// From the application's packets to described runs: numbers are checked and counted, what is congestion-controlled is noted, what
/// may be asked for again is kept.
[<RequireQualifiedAccess>]
module internal MediaSending =
    let private find (transceiver: TransceiverId) (encoding: int) (s: MediaState) : int =
        let senders = s.Senders
        let mutable at = 0

        while at < senders.Length
              && not (
                  senders[at].Terms.Transceiver = transceiver
                  && senders[at].Terms.Encoding = encoding
              ) do
            at <- at + 1

        if at < senders.Length then at else -1

    /// Whether a payload type was negotiated.
    let inline private isNegotiated (payloadType: byte) (terms: SendTerms) =
        payloadType < 128uy && terms.ClockRates[int payloadType] <> 0

    /// Sends packets of one sender that leave together, in as few runs as their numbers allow.
    let private leave
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

        let mapping =
            if stream.Shift = 0us then
                mapping
            else
                { mapping with
                    SequenceOffset = mapping.SequenceOffset + stream.Shift }

        let mutable asked = ListCollector<MediaOutput>()
        let mutable used = stream.Used
        let mutable counts = stream.Counts
        let mutable history = stream.History
        let mutable translation = stream.Translation
        let mutable times = s.Path.SendTimes
        let mutable streamTimes = s.Path.StreamTimes
        let mutable timestamp = stream.Timestamp
        let mutable payloadType = stream.PayloadType
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

                    if upTo = from then
                        first <- index

                    let size = RtpWriter.size &packet &head
                    counts <- SendStream.counted &packet size terms.Kind counts
                    octets <- octets + size
                    overhead <- overhead + RtpRun.Overhead(keys.Seal, terms.Cryptex, &packet)
                    payloadType <- mapped
                    timestamp <- packet.Timestamp + mapping.TimestampOffset

                    if stamps then
                        times <- TransportSendTimes.sent now size probe times

                    if s.Terms.Ccfb then
                        streamTimes <- StreamSendTimes.sent now terms.Ssrc (uint16 index) size probe streamTimes

                    upTo <- upTo + 1

            if upTo > from then
                let run = packets.Slice(from, upTo - from)

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
                    HasSent = true
                    Timestamp = timestamp
                    At = now
                    PayloadType = payloadType
                    Translation = translation
                    Counts =
                        { counts with
                            Delay = counts.Delay + int64 span.Length * delay }
                    History = history }

        struct (next, asked.Close())

    /// Sends again, RFC 4588 where that was negotiated, else as it was: the very same octets, since one number must not have two
    /// contents.
    let private again
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

        let repairs octets =
            { stream.Repairs with
                Packets = stream.Repairs.Packets + 1L
                Octets = stream.Repairs.Octets + int64 octets }

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

            let run =
                RtpRun(
                    { Seal = keys.Seal
                      Cryptex = terms.Cryptex
                      Mapping = burst.Mapping
                      Rewrite = rewrite
                      First = Sequence.toIndex (burst.Sequence place)
                      IsRetransmission = false },
                    packets,
                    RtpWriter.size &packet &rewrite + overhead
                )

            Step.one
                (MediaOutput.TransmitRun run)
                (MediaState.withSender
                    at
                    { stream with
                        Repairs = repairs packet.Payload.Length }
                    s)
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
                                     TransportSendTimes.sent now size probe path.SendTimes
                                 else
                                     path.SendTimes)
                            StreamTimes =
                                (if s.Terms.Ccfb then
                                     StreamSendTimes.sent now terms.RtxSsrc sequence size probe path.StreamTimes
                                 else
                                     path.StreamTimes) } }
                |> MediaState.withSender
                    at
                    { stream with
                        NextRtx = stream.NextRtx + 1UL
                        Repairs = repairs packet.Payload.Length }

            Step.one (MediaOutput.TransmitRun run) next

    /// A packet of ours between those of the application, which are numbered on behind it.
    let insert
        (now: Instant)
        (at: int)
        (payloadType: byte)
        (marker: bool)
        (timestamp: uint32)
        (payload: ReadOnlyMemory<byte>)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        match s.Keys with
        | ValueNone -> Step.only s
        | ValueSome keys ->
            let stream = s.Senders[at]

            let next =
                if stream.HasSent then
                    uint16 stream.Used.Highest + 1us
                else
                    uint16 stream.NextRtx

            let packet: RtpPacket =
                { Marker = marker
                  PayloadType = payloadType
                  SequenceNumber = next - stream.Shift
                  Timestamp = timestamp
                  Ssrc = 0u
                  Csrcs = ReadOnlyMemory()
                  ExtensionProfile = 0us
                  Extensions = ReadOnlyMemory()
                  Map = ExtensionMap.Empty
                  Payload = payload
                  Padding = 0uy }

            let struct (s, outputs) =
                leave now at 0 RtpMappings.identity (ReadOnlyMemory [| packet |]) 0L<us> keys s

            let sent = s.Senders[at]

            // The sound's own clock and codec are those of the next sender report.
            struct (MediaState.withSender
                        at
                        { sent with
                            Shift = (if stream.HasSent then stream.Shift + 1us else stream.Shift)
                            Timestamp = stream.Timestamp
                            At = stream.At
                            PayloadType = stream.PayloadType }
                        s,
                    outputs)

    let private depart (now: Instant) (probe: int) (paced: Paced) (keys: MediaKeys) (s: MediaState) =
        if paced.Sender >= s.Senders.Length then
            Step.only s
        else
            match paced.Again with
            | null -> leave now paced.Sender probe paced.Mapping paced.Packets (now - paced.Since) keys s
            | burst -> again now paced.Sender probe burst paced.Place keys s

    /// Packets of padding on the retransmission source of a stream that has one, for a probe, RFC 4588 §4 and libwebrtc.
    let private padding (now: Instant) (s: MediaState) : Paced voption =
        let mutable at = -1

        for i in 0 .. s.Senders.Length - 1 do
            let stream = s.Senders[i]
            let terms = stream.Terms

            if
                at < 0
                && terms.IsOpen
                && stream.HasSent
                && terms.Kind = MediaKind.Video
                && terms.RtxSsrc <> 0u
                && stream.PayloadType < 128uy
                && terms.RtxTypes[int stream.PayloadType] <> 255uy
                && not stream.History.Bursts.IsEmpty
            then
                at <- i

        if at < 0 then
            ValueNone
        else
            // What was sent last is worth more than zeros: it may be missing.
            let bursts = s.Senders[at].History.Bursts
            let burst = bursts[bursts.Next - 1L]
            let packets = burst.Packets.Span
            let last = packets.Length - 1

            // A frame's last packet is what was left of it, and may be short: a probe of those would be too slow.
            let place =
                if packets[0].Payload.Length > packets[last].Payload.Length then
                    0
                else
                    last

            ValueSome
                { Sender = at
                  Packets = burst.Packets
                  Place = place
                  Mapping = burst.Mapping
                  Again = burst
                  Since = now }

    /// Lets go what the pacer lets go.
    let release (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        match s.Keys with
        | ValueNone -> Step.only s
        | ValueSome keys ->
            let mutable asked = ListCollector<MediaOutput>()
            let mutable s = s
            let mutable isGoing = true
            let mutable padded = 0

            while isGoing do
                let struct (pacer, release) = MediaPacer.release now s.Path.Pacer

                s <-
                    { s with
                        Path = { s.Path with Pacer = pacer } }

                let leaving = release.Packets
                let mutable i = 0

                while i < leaving.Length do
                    let first = leaving[i].Item
                    let mutable count = 1

                    // What lies together in one burst leaves as one run.
                    if isNull first.Again then
                        while i + count < leaving.Length
                              && (let other = leaving[i + count]

                                  isNull other.Item.Again
                                  && other.Probe = leaving[i].Probe
                                  && other.Item.Sender = first.Sender
                                  && other.Item.Place = first.Place + count
                                  && other.Item.Packets.Equals first.Packets) do
                            count <- count + 1

                    let paced =
                        if isNull first.Again then
                            { first with
                                Packets = first.Packets.Slice(first.Place, count) }
                        else
                            first

                    let struct (next, more) = depart now leaving[i].Probe paced keys s
                    s <- next
                    asked.AddMany more
                    i <- i + count

                isGoing <- false

                if release.PaddingWanted > 0 && padded < 8 then
                    match padding now s with
                    | ValueSome paced ->
                        padded <- padded + 1
                        isGoing <- true

                        s <-
                            { s with
                                Path =
                                    { s.Path with
                                        Pacer =
                                            MediaPacer.enqueue
                                                now
                                                PacketPriority.Padding
                                                (paced.Packets.Span[paced.Place].Payload.Length + 40)
                                                paced
                                                s.Path.Pacer } }
                    | ValueNone -> ()

            struct (s, asked.Close())

    /// Packets of the application's.
    let send
        (now: Instant)
        (transceiver: TransceiverId)
        (encoding: int)
        (mapping: RtpMapping)
        (packets: ReadOnlyMemory<RtpPacket>)
        (s: MediaState)
        : Step<MediaState, MediaOutput> =
        match s.Keys, find transceiver encoding s with
        | ValueNone, _
        | _, -1 -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
        | ValueSome keys, at ->
            let terms = s.Senders[at].Terms

            if not terms.IsOpen || packets.IsEmpty then
                Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
            else
                MediaEstimate.begun now s
                |> Step.bind (fun s ->
                    if MediaPacer.isClear s.Path.Pacer then
                        leave now at 0 mapping packets 0L<us> keys s
                    else
                        let mutable pacer = s.Path.Pacer

                        for place in 0 .. packets.Length - 1 do
                            pacer <-
                                MediaPacer.enqueue
                                    now
                                    terms.Priority
                                    (packets.Span[place].Payload.Length + 40)
                                    { Sender = at
                                      Packets = packets
                                      Place = place
                                      Mapping = mapping
                                      Again = null
                                      Since = now }
                                    pacer

                        release
                            now
                            { s with
                                Path = { s.Path with Pacer = pacer } })

    /// What the peer asks for again, RFC 4585 §6.2.1.
    let repeat (now: Instant) (media: uint32) (lost: NackPair[]) (s: MediaState) : Step<MediaState, MediaOutput> =
        let at = s.Senders |> Array.tryFindIndex (fun stream -> stream.Terms.Ssrc = media)

        match s.Keys, at with
        | ValueSome keys, Some at ->
            let stream = s.Senders[at]

            let struct (found, history) =
                SentHistory.asked now s.Path.RoundTrip lost stream.History

            let mutable s =
                MediaState.withSender
                    at
                    { stream with
                        History = history
                        Repairs =
                            { stream.Repairs with
                                Nacks = stream.Repairs.Nacks + 1L } }
                    s

            let isClear = MediaPacer.isClear s.Path.Pacer
            let mutable asked = ListCollector<MediaOutput>()
            let mutable pacer = s.Path.Pacer

            for struct (burst, place) in found do
                if isClear then
                    let struct (next, more) = again now at 0 burst place keys s
                    s <- next
                    asked.AddMany more
                elif MediaPacer.mayRepair now pacer then
                    pacer <-
                        MediaPacer.enqueue
                            now
                            PacketPriority.Retransmission
                            (burst.Packets.Span[place].Payload.Length + 40)
                            { Sender = at
                              Packets = burst.Packets
                              Place = place
                              Mapping = burst.Mapping
                              Again = burst
                              Since = now }
                            pacer

            if isClear then
                struct (s, asked.Close())
            else
                release
                    now
                    { s with
                        Path = { s.Path with Pacer = pacer } }
        | _ -> Step.one (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected)) s
