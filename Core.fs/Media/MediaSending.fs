namespace Hybrid.WebRtc.Core

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Rtp

/// From the application's packets, and from what the peer asks for again, to what leaves when the pacer says so.
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
                  SequenceNumber = next
                  Timestamp = timestamp
                  Ssrc = 0u
                  Csrcs = ReadOnlyMemory()
                  ExtensionProfile = 0us
                  Extensions = ReadOnlyMemory()
                  Map = ExtensionMap.Empty
                  Payload = payload
                  Padding = 0uy }

            let struct (s, outputs) =
                MediaLeaving.leave now at 0 RtpMappings.identity (ReadOnlyMemory [| packet |]) 0L<us> keys s

            let sent = s.Senders[at]

            // The sound's own clock and codec are those of the next sender report.
            struct (MediaState.withSender
                        at
                        { sent with
                            Shift = (if stream.HasSent then stream.Shift + 1us else stream.Shift)
                            Timestamp = stream.Timestamp
                            At = stream.At
                            PayloadType = stream.PayloadType
                            // It lies between a packet and the one that would repeat it.
                            Red =
                                (match stream.Red with
                                 | null -> null
                                 | red -> { red with Past = Array.Empty() }) }
                        s,
                    outputs)

    let private depart (now: Instant) (probe: int) (paced: Paced) (keys: MediaKeys) (s: MediaState) =
        if paced.Sender >= s.Senders.Length then
            Step.only s
        else
            match paced.Again with
            | null when paced.IsFec -> MediaLeaving.leaveFec now paced.Sender probe paced.Packets keys s
            | null -> MediaLeaving.leave now paced.Sender probe paced.Mapping paced.Packets (now - paced.Since) keys s
            | burst -> MediaLeaving.again now paced.Sender probe burst paced.Place keys s

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
                  IsFec = false
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

                // FEC packets have come in behind what left.
                isGoing <- s.Path.Pacer.Octets > pacer.Octets

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
                                                (paced.Packets.Span[paced.Place].Payload.Length + 40 + s.Path.Overhead)
                                                paced
                                                s.Path.Pacer } }
                    | ValueNone -> ()

            struct (s, asked.Close())

    /// When FEC packets are due for a group that is not full.
    let fecDeadline (s: MediaState) : Instant =
        let mutable due = Instant.never

        for stream in s.Senders do
            due <- Instant.min due (FecStream.deadline stream.Fec)

        due

    /// Groups that nothing was added to for long get their FEC packets.
    let fecDue (now: Instant) (s: MediaState) : Step<MediaState, MediaOutput> =
        match s.Keys with
        | ValueNone -> Step.only s
        | ValueSome keys ->
            let mutable step: Step<MediaState, MediaOutput> = Step.only s

            for at in 0 .. s.Senders.Length - 1 do
                if FecStream.deadline s.Senders[at].Fec <= now then
                    step <-
                        step
                        |> Step.bind (fun s ->
                            let stream = s.Senders[at]

                            match stream.Fec with
                            | null -> Step.only s
                            | fec ->
                                let struct (machine, made) = FlexFecSender.tick now fec.Machine

                                MediaState.withSender
                                    at
                                    { stream with
                                        Fec = { fec with Machine = machine } }
                                    s
                                |> MediaLeaving.protect now at made keys)

            step

    /// Packets with those before them, RFC 2198, where RED is sent. What RED does not carry, comfort noise or RED itself, goes
    /// as it is.
    let private redundant
        (at: int)
        (red: RedSender.State)
        (mapping: RtpMapping)
        (packets: ReadOnlyMemory<RtpPacket>)
        (s: MediaState)
        : struct (MediaState * RtpMapping * ReadOnlyMemory<RtpPacket>) =
        let stream = s.Senders[at]
        let given = packets.Span
        let wrapped: RtpPacket[] = Array.zeroCreate given.Length
        let mutable red = red

        for i in 0 .. given.Length - 1 do
            let packet =
                { given[i] with
                    PayloadType = RtpMappings.payloadType given[i].PayloadType mapping
                    SequenceNumber = given[i].SequenceNumber + mapping.SequenceOffset
                    Timestamp = given[i].Timestamp + mapping.TimestampOffset }

            if Array.contains (int packet.PayloadType) stream.Terms.RedCarries then
                let struct (next, packet) = RedSender.wrap &packet red
                red <- next
                wrapped[i] <- packet
            else
                wrapped[i] <- packet

        struct (MediaState.withSender at { stream with Red = red } s, RtpMappings.identity, ReadOnlyMemory wrapped)

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
                // A paused encoding leaves no gap: the peer would ask for what was never sent.
                Step.one
                    (MediaOutput.Dropped(Layer.Rtp, Drop.Unexpected))
                    (MediaState.withSender at (SendStream.passedOver packets.Length s.Senders[at]) s)
            else
                let shift = s.Senders[at].Shift

                let mapping =
                    if shift = 0us then
                        mapping
                    else
                        { mapping with
                            SequenceOffset = mapping.SequenceOffset + shift }

                let struct (s, mapping, packets) =
                    match s.Senders[at].Red with
                    | null -> struct (s, mapping, packets)
                    | red -> redundant at red mapping packets s

                MediaEstimate.begun now s
                |> Step.bind (fun s ->
                    if MediaPacer.isClear s.Path.Pacer then
                        MediaLeaving.leave now at 0 mapping packets 0L<us> keys s
                    else
                        let mutable pacer = s.Path.Pacer

                        for place in 0 .. packets.Length - 1 do
                            pacer <-
                                MediaPacer.enqueue
                                    now
                                    terms.Priority
                                    (packets.Span[place].Payload.Length + 40 + s.Path.Overhead)
                                    { Sender = at
                                      Packets = packets
                                      Place = place
                                      Mapping = mapping
                                      Again = null
                                      IsFec = false
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

            let struct (found, work, history) =
                SentHistory.asked now s.Path.RoundTrip s.Control.NackWork lost stream.History

            let mutable s =
                MediaState.withSender
                    at
                    { stream with
                        History = history
                        Repairs =
                            { stream.Repairs with
                                Nacks = stream.Repairs.Nacks + 1L } }
                    { s with
                        Control =
                            { s.Control with
                                NackWork = s.Control.NackWork - work } }

            let isClear = MediaPacer.isClear s.Path.Pacer
            let mutable asked = ListCollector<MediaOutput>()
            let mutable pacer = s.Path.Pacer

            for struct (burst, place) in found do
                if isClear then
                    let struct (next, more) = MediaLeaving.again now at 0 burst place keys s
                    s <- next
                    asked.AddMany more
                elif MediaPacer.mayRepair now pacer then
                    pacer <-
                        MediaPacer.enqueue
                            now
                            PacketPriority.Retransmission
                            (burst.Packets.Span[place].Payload.Length + 40 + s.Path.Overhead)
                            { Sender = at
                              Packets = burst.Packets
                              Place = place
                              Mapping = burst.Mapping
                              Again = burst
                              IsFec = false
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
