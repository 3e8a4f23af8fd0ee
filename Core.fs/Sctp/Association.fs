namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// The path's heartbeat, RFC 9260 §8.3.
[<Struct; NoComparison; NoEquality>]
type internal Beat =
    {
        /// When the next is due.
        At: Instant
        /// Whether the last one was not answered.
        Unanswered: bool
    }

/// What most packets leave alone: kept apart, so that they do not copy it.
[<NoComparison; NoEquality>]
type internal Upkeep =
    {
        Reset: Reset
        Beat: Beat
        Path: PathMtu
        /// While media leaves by the same path; 0: none does.
        YieldsUntil: Instant
    }

/// An association between two ends that know each other.
[<NoComparison; NoEquality>]
type internal Association =
    { Link: Link
      Sending: Sending
      Receiving: Receiving
      Upkeep: Upkeep }

    member a.Reset = a.Upkeep.Reset
    member a.Beat = a.Upkeep.Beat
    member a.Path = a.Upkeep.Path

/// What goes on while an association is up: data, acknowledgements, resets, heartbeats.
[<RequireQualifiedAccess>]
module internal Association =
    /// Two ends agree on the lesser of what one offers and the other takes, RFC 9260 §5.1.1.
    let create
        (now: Instant)
        (config: SctpConfig)
        (ownTag: uint32)
        (ownTsn: Tsn)
        (tieTag: uint64)
        (unchecked: bool)
        (peer: Introduction)
        : Association =
        let config = SctpConfig.narrowed config

        let link =
            { Config = config
              OwnTag = ownTag
              Peer = peer
              TieTag = tieTag
              OutboundStreams = int (min config.Limits.Streams peer.InboundStreams)
              InboundStreams = int (min config.Limits.Streams peer.OutboundStreams)
              Unchecked = unchecked
              Mtu = config.Mtu
              Fragments = false }

        { Link = link
          Sending = Sending.create now ownTsn link
          Receiving = Receiving.create peer.Interleaves config.MaxMessageSize config.ReceiveWindow peer.InitialTsn
          Upkeep =
            { Reset = Reset.create ownTsn peer.InitialTsn
              Beat =
                { At = now + config.Times.HeartbeatInterval
                  Unanswered = false }
              Path = PathMtu.create config
              YieldsUntil = 0L<us> } }

    let private withReset (reset: Reset) (a: Association) : Association =
        { a with
            Upkeep = { a.Upkeep with Reset = reset } }

    let private withBeat (beat: Beat) (a: Association) : Association =
        { a with
            Upkeep = { a.Upkeep with Beat = beat } }

    /// A round trip that the handshake has measured: the first packets are paced, and the first loss is found, by it.
    let measured (sample: Duration) (a: Association) : Association =
        { a with
            Sending =
                { a.Sending with
                    Trip = RoundTrip.measured a.Link.Config.Times sample a.Sending.Trip } }

    /// When a tick is next due.
    let deadline (a: Association) : Instant =
        Sending.deadline a.Sending
        |> Instant.min a.Receiving.Acknowledging.At
        |> Instant.min (Reset.deadline a.Reset)
        |> Instant.min a.Beat.At
        |> Instant.min a.Path.At

    /// Whether all that was given to us to send has been acknowledged.
    let isDrained (streams: Streams) (a: Association) : bool =
        streams.Buffered = 0L && Outstanding.isEmpty a.Sending.Outstanding

    let flushSoon (now: Instant) (a: Association) : Association =
        let sending = Sending.flushSoon now a.Sending

        if Object.ReferenceEquals(sending, a.Sending) then
            a
        else
            { a with Sending = sending }

    /// There is more to be sent: `octets` in all.
    let queued (now: Instant) (octets: int64) (a: Association) : Association =
        let sending = Sending.queued now a.Link octets a.Sending

        if Object.ReferenceEquals(sending, a.Sending) then
            a
        else
            { a with Sending = sending }

    /// Asks for a SACK once what is in hand has been taken in.
    let acknowledgeSoon (now: Instant) (a: Association) : Association =
        let acknowledging = a.Receiving.Acknowledging

        { a with
            Receiving =
                { a.Receiving with
                    Acknowledging =
                        { acknowledging with
                            At = Instant.min acknowledging.At now } } }

    /// A packet of control chunks only, at once.
    let reply (control: Chunk list) (outputs: byref<ListCollector<SctpOutput>>) (a: Association) : unit =
        outputs.Add(Link.packet control (Array.Empty()) a.Link)

    /// Makes a request for streams that wait for their reset and are drained, RFC 6525 §5.1.2.
    let private requestReset (now: Instant) (streams: Streams) (a: Association) : Association =
        if a.Reset.Wanted.IsEmpty || a.Reset.Request.IsSome then
            a
        else
            let cumulative = Outstanding.cumulative a.Sending.Outstanding
            let lastAssigned = Tsn.wrap (a.Sending.Outstanding.Chunks.Next - 1L)
            let limit = (a.Link.Segment - 20) / 2

            let drained stream =
                Streams.isDrained cumulative stream streams

            withReset (Reset.request now a.Sending.Trip.Timeout lastAssigned limit drained a.Reset) a

    /// The streams are to be reset, each once it is drained. A peer without RE-CONFIG cannot do it.
    let reset
        (now: Instant)
        (wanted: uint16[])
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (a: Association)
        : struct (Streams * Association) =
        if a.Link.Peer.Reconfig then
            let a = withReset (Reset.want wanted a.Reset) a

            struct (streams, requestReset now streams a)
        else
            outputs.Add(SctpOutput.OutgoingReset(wanted, false))
            let mutable streams = streams

            for stream in wanted do
                streams <- Streams.reopen false stream streams

            struct (streams, a)

    let private failure (a: Association) =
        { a with
            Sending =
                { a.Sending with
                    Repair =
                        { a.Sending.Repair with
                            Errors = a.Sending.Repair.Errors + 1 } } }

    /// What is known of the path, and what follows for packets.
    let private withPath (path: PathMtu) (a: Association) : Association =
        if Object.ReferenceEquals(path, a.Path) then
            a
        else
            { a with
                Upkeep = { a.Upkeep with Path = path }
                Link =
                    if path.Current = a.Link.Mtu && path.Fragments = a.Link.Fragments then
                        a.Link
                    else
                        { a.Link with
                            Mtu = path.Current
                            Fragments = path.Fragments } }

    /// Packets take another way, with what `config` has around them. What was acknowledged by the former one may not have arrived.
    let rerouted (now: Instant) (config: SctpConfig) (a: Association) : Association =
        let config = SctpConfig.narrowed config

        let a =
            { a with
                Link = { a.Link with Config = config } }
            |> withPath (PathMtu.rerouted config a.Path)
            |> acknowledgeSoon now

        { a with
            Sending = Sending.rerouted now a.Link a.Sending }

    /// Packets have something else around them. What they may fill is found anew, and nothing else.
    let wrapped (config: SctpConfig) (a: Association) : Association =
        let config = SctpConfig.wrappedAs (SctpConfig.narrowed config) a.Link.Config

        { a with
            Link = { a.Link with Config = config } }
        |> withPath (PathMtu.rerouted config a.Path)

    /// By another congestion control, also where a reduction is taken back.
    let private controlled (now: Instant) (control: CongestionControl) (until: Instant) (a: Association) : Association =
        let link =
            { a.Link with
                Config =
                    { a.Link.Config with
                        CongestionControl = control } }

        let switched = Congestion.switched now control link.Segment

        { a with
            Link = link
            Upkeep = { a.Upkeep with YieldsUntil = until }
            Sending =
                { a.Sending with
                    Congestion = switched a.Sending.Congestion
                    Recovery =
                        { a.Sending.Recovery with
                            Before = switched a.Sending.Recovery.Before } } }

    /// Media leaves by the same path: the association gives way to it, until no more is expected.
    let beside (now: Instant) (until: Instant) (a: Association) : Association =
        controlled now CongestionControl.Ledbat until a

    /// No media for a while: `control` is what the association was made with.
    let private alone (now: Instant) (control: CongestionControl) (a: Association) : Association =
        if a.Upkeep.YieldsUntil = 0L<us> || now < a.Upkeep.YieldsUntil then
            a
        else
            controlled now control 0L<us> a

    /// Octets of heartbeat information: that of a heartbeat, and that of a probe, which tells its size besides.
    [<Literal>]
    let private BeatSize = 24

    [<Literal>]
    let private ProbeSize = 28

    /// The time, a number that only the peer has seen, and which path it goes by.
    let private information (now: Instant) (size: int) (a: Association) : byte[] =
        let bytes = Array.zeroCreate size
        let mutable writer = Writer(Span bytes)
        writer.UInt16 Parameter.HeartbeatInfo
        writer.UInt16(uint16 size)
        writer.UInt64(uint64 now)
        writer.UInt64 a.Link.TieTag
        writer.UInt32 a.Path.Generation

        if size = ProbeSize then
            writer.UInt32(uint32 a.Path.Probed)

        bytes

    /// Sends the probe that is due, RFC 8899 §6.2.3.2: beside the windows, and its loss means nothing to them.
    let private probe (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (a: Association) : Association =
        let path =
            // Data that fills packets is under way: it is worth knowing.
            if a.Path.Resume <= now && a.Sending.Outstanding.FlightSize > a.Link.Segment then
                PathMtu.wanted now a.Link.Config a.Path
            else
                a.Path

        let struct (size, path) = PathMtu.tick now a.Sending.Trip.Timeout path
        let a = withPath path a

        if size > 0 then
            let padding =
                size - SctpPacket.HeaderSize - (Chunk.HeaderSize + ProbeSize) - Chunk.HeaderSize

            reply [ Heartbeat(ReadOnlyMemory(information now ProbeSize a)); Pad padding ] &outputs a

        a

    /// HEARTBEAT, RFC 9260 §8.3, where nothing was sent for the interval.
    let private heartbeat (now: Instant) (a: Association) : struct (Chunk list * Association) =
        let interval = a.Link.Config.Times.HeartbeatInterval
        let sentAt = a.Sending.Timers.LastSentAt

        if now - sentAt < interval then
            let beat =
                { At = sentAt + interval + a.Sending.Trip.Timeout
                  Unanswered = false }

            struct ([], withBeat beat a)
        else
            let bytes = information now BeatSize a
            let a = if a.Beat.Unanswered then failure a else a

            let beat =
                { At = now + interval + a.Sending.Trip.Timeout
                  Unanswered = true }

            struct ([ Heartbeat(ReadOnlyMemory bytes) ], withBeat beat a)

    /// HEARTBEAT ACK, RFC 9260 §8.3: the peer is there, and this far away; of a probe, the path carries its size. None
    /// where it is not an echo of ours.
    let heartbeatAck (now: Instant) (information: ReadOnlyMemory<byte>) (a: Association) : Association voption =
        let mutable reader = Reader(information.Span)
        reader.Skip 4
        let sentAt = int64 (reader.UInt64()) * 1L<us>
        let tie = reader.UInt64()
        let generation = reader.UInt32()

        if reader.Ok && tie = a.Link.TieTag && sentAt >= 0L<us> && sentAt <= now then
            let isOfPath = generation = a.Path.Generation

            let a =
                if information.Length = ProbeSize then
                    let size = reader.UInt32()
                    withPath (PathMtu.answered now a.Link.Config generation (int size) a.Path) a
                else
                    a

            ValueSome
                { withBeat { a.Beat with Unanswered = false } a with
                    Sending =
                        { a.Sending with
                            Trip =
                                if isOfPath then
                                    RoundTrip.measured a.Link.Config.Times (now - sentAt) a.Sending.Trip
                                else
                                    a.Sending.Trip
                            Repair = { a.Sending.Repair with Errors = 0 } } }
        else
            ValueNone

    /// Sends what is due, by `control` where no media is beside it. ValueNone: the peer has not answered for too long, RFC 9260 §8.1.
    let tick
        (now: Instant)
        (control: CongestionControl)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (a: Association)
        : struct (Streams * Association) voption =
        let config = a.Link.Config
        let mutable a = alone now control a
        let mutable streams = streams

        if a.Sending.Timers.T3 <= now then
            let outstanding = a.Sending.Outstanding

            // What was given up, or is to be sent again anyway, tells nothing of sizes.
            if outstanding.FlightSize > 0 && not a.Sending.Repair.Probing then
                a <- withPath (PathMtu.timedOut now config (Outstanding.cumulative outstanding) a.Path) a

        let struct (expired, sending, burst) =
            Sending.expired now a.Link &outputs streams a.Sending

        streams <- expired

        if not (Object.ReferenceEquals(sending, a.Sending)) then
            a <- { a with Sending = sending }

        if Reset.isUnanswered now a.Reset then
            a <- failure a

        let mutable control = []

        if a.Beat.At <= now then
            let struct (beat, beaten) = heartbeat now a
            control <- beat
            a <- beaten

        a <- requestReset now streams a

        match Reset.send now config.Times.RtoMax a.Reset with
        | struct (ValueSome request, reset) ->
            control <- request :: control
            a <- withReset reset a
        | struct (ValueNone, _) -> ()

        // A SACK goes along with whatever is sent, §6.1.
        if a.Receiving.Acknowledging.At <> Instant.never then
            let struct (sack, receiving) = Receiving.sack config a.Receiving
            control <- Sack sack :: control
            a <- { a with Receiving = receiving }

        if a.Sending.Repair.Errors > config.Limits.MaxRetransmissions then
            ValueNone
        else
            let struct (streams, sending) =
                Flush.flush now a.Link burst control &outputs streams a.Sending

            ValueSome(struct (streams, probe now &outputs { a with Sending = sending }))

    /// SACK, RFC 9260 §6.2.1.
    let sacked
        (now: Instant)
        (sack: Sack)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (a: Association)
        : struct (Streams * Association) =
        let cumulative = Outstanding.cumulative a.Sending.Outstanding

        if Tsn.unwrap cumulative sack.CumulativeTsnAck < cumulative then
            // Overtaken by a later one, rule D i.
            outputs.Add(SctpOutput.Ignored Drop.Stale)
            struct (streams, a)
        else
            match Sending.sacked now a.Link sack &outputs streams a.Sending with
            | ValueSome(struct (streams, sending)) ->
                struct (streams, requestReset now streams { a with Sending = sending })
            | ValueNone ->
                outputs.Add(SctpOutput.Ignored Drop.Malformed)
                struct (streams, a)

    /// A cumulative acknowledgement without gap ack blocks, as SHUTDOWN carries it, RFC 9260 §3.3.8.
    let acknowledgedTo
        (now: Instant)
        (tsn: Tsn)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (a: Association)
        : struct (Streams * Association) =
        let room = a.Sending.Window + int64 a.Sending.Outstanding.FlightSize

        let sack =
            { CumulativeTsnAck = tsn
              AdvertisedReceiverWindow = uint32 (max 0L room)
              GapAckBlocks = Array.Empty()
              DuplicateTsns = Array.Empty() }

        sacked now sack &outputs streams a

    /// Lets a reset of the peer happen that waited for data which has now come, RFC 6525 §5.2.2 E2.
    let private releaseReset (outputs: byref<ListCollector<SctpOutput>>) (a: Association) : Association =
        if a.Reset.Deferred.IsNone then
            a
        else
            match Reset.released a.Receiving.Cumulative a.Reset with
            | struct (ValueSome deferred, reset) ->
                let a =
                    { withReset reset a with
                        Receiving =
                            { a.Receiving with
                                Reassembly = Reassembly.reset deferred.Streams a.Receiving.Reassembly } }

                outputs.Add(SctpOutput.IncomingReset deferred.Streams)
                reply [ Reconfig [ Reconfiguration.toTlv (Response(deferred.Number, Result.Performed)) ] ] &outputs a
                a
            | struct (ValueNone, _) -> a

    /// DATA or FORWARD TSN has been taken in: a SACK will say so.
    let private arrived
        (now: Instant)
        (urgent: bool)
        (receiving: Receiving)
        (outputs: byref<ListCollector<SctpOutput>>)
        (a: Association)
        : Association =
        releaseReset
            &outputs
            { a with
                Receiving = Receiving.acknowledge a.Link.Config now urgent receiving }

    /// FORWARD TSN, RFC 3758 §3.6.
    let forwarded
        (now: Instant)
        (newCumulative: Tsn)
        (skipped: Skip[])
        (outputs: byref<ListCollector<SctpOutput>>)
        (a: Association)
        : Association =
        let struct (receiving, isNews) =
            Receiving.skip newCumulative skipped &outputs a.Receiving

        if not isNews then
            outputs.Add(SctpOutput.Ignored Drop.Stale)

        arrived now true receiving &outputs a

    /// The peer's RE-CONFIG, RFC 6525 §5.2.1.
    let reconfigured
        (now: Instant)
        (parameters: Tlv list)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (a: Association)
        : struct (Streams * Association) =
        let mutable streams = streams
        let mutable a = a
        let mutable responses = []
        // One or two parameters, RFC 6525 §3.1.
        let mutable rest = List.truncate 2 parameters

        while not rest.IsEmpty do
            match Reconfiguration.ofTlv rest.Head with
            | ValueSome(Response(number, result)) ->
                match Reset.answered now number result a.Reset with
                | struct (ValueSome outcome, reset) ->
                    for stream in outcome.Streams do
                        streams <- Streams.reopen outcome.Performed stream streams

                    outputs.Add(SctpOutput.OutgoingReset(outcome.Streams, outcome.Performed))
                    a <- a |> withReset reset |> requestReset now streams |> flushSoon now
                | struct (ValueNone, reset) -> a <- withReset reset a
            | ValueSome(OutgoingSsnReset(number, _, lastAssigned, affected)) ->
                let struct (result, performed, reset) =
                    Reset.requested a.Receiving.Cumulative number lastAssigned affected a.Reset

                a <- withReset reset a

                match performed with
                | ValueSome affected ->
                    a <-
                        { a with
                            Receiving =
                                { a.Receiving with
                                    Reassembly = Reassembly.reset affected a.Receiving.Reassembly } }

                    outputs.Add(SctpOutput.IncomingReset affected)
                | ValueNone -> ()

                responses <- Reconfiguration.toTlv (Response(number, result)) :: responses
            | ValueSome(Other(_, number)) ->
                let struct (result, reset) = Reset.denied number a.Reset
                a <- withReset reset a
                responses <- Reconfiguration.toTlv (Response(number, result)) :: responses
            | ValueNone -> outputs.Add(SctpOutput.Ignored Drop.Malformed)

            rest <- rest.Tail

        if responses.IsEmpty then
            struct (streams, a)
        else
            reply [ Reconfig(List.rev responses) ] &outputs a
            // A SACK along with it hastens what a deferred reset waits for, RFC 6525 §5.2.1.
            struct (streams, acknowledgeSoon now a)

    /// The DATA or I-DATA chunks from `first` on, up to the next control chunk; all that they change is copied once. `urgent`:
    /// a SACK is due at once, whatever they say. `violation` holds the cause where the peer is to be told that this is the end.
    let data
        (now: Instant)
        (first: ReadOnlyMemory<byte>)
        (rest: byref<ReadOnlyMemory<byte>>)
        (urgent: bool)
        (violation: byref<Tlv voption>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (a: Association)
        : Association =
        let config = a.Link.Config
        let receiving = Receiving.draft a.Receiving
        let kind = Data.kind a.Link.Interleaves
        let mutable urgent = urgent
        let mutable whole = ValueSome first
        let mutable invalidStream = false

        while whole.IsSome do
            match Data.read whole.Value with
            | ValueNone -> outputs.Add(SctpOutput.Ignored Drop.Malformed)
            // RFC 8260 §2.2.3.
            | ValueSome chunk when chunk.Interleaved <> a.Link.Interleaves ->
                violation <- ValueSome(Cause.protocolViolation "DATA and I-DATA do not go together.")
            | ValueSome chunk when chunk.Payload.IsEmpty -> violation <- ValueSome(Cause.noUserData chunk.Tsn)
            | ValueSome chunk when int chunk.Stream >= a.Link.InboundStreams ->
                Receiving.discard config chunk receiving

                // Said once a packet, §6.5.
                if not invalidStream then
                    invalidStream <- true
                    reply [ Error [ Cause.invalidStream chunk.Stream ] ] &outputs a
            | ValueSome chunk when Reset.holds chunk.Tsn chunk.Stream a.Reset ->
                outputs.Add(SctpOutput.Ignored Drop.Unexpected)
            | ValueSome chunk ->
                match Receiving.data config chunk &outputs receiving with
                | Arrival.Accepted -> urgent <- urgent || Flag.has Flag.Immediate chunk.Flags
                | Arrival.Duplicate ->
                    urgent <- true
                    outputs.Add(SctpOutput.Ignored Drop.Replayed)
                | Arrival.Refused ->
                    urgent <- true
                    outputs.Add(SctpOutput.Ignored Drop.TooMany)
                | _ -> violation <- ValueSome(Cause.protocolViolation "A message is too large, or in too many pieces.")

            whole <-
                if violation.IsNone && rest.Length >= Chunk.HeaderSize && rest.Span[0] = kind then
                    SctpPacket.nextChunk &rest
                else
                    ValueNone

        arrived now urgent receiving &outputs a
