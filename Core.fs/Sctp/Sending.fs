namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// A chunk whose acknowledgement measures the round trip, RFC 9260 §6.3.1 C4; -1 where none is timed.
[<Struct; NoComparison; NoEquality>]
type internal Timed = { Tsn: int64; SentAt: Instant }

/// Deadlines of the sending half; `Instant.never` where they do not run.
[<Struct; NoComparison; NoEquality>]
type internal SendTimers =
    {
        /// T3-rtx, RFC 9260 §6.3.2; where nothing is outstanding, the next window probe, §6.1 A.
        T3: Instant
        /// When there is something to be sent: now, or when the next burst may go.
        FlushAt: Instant
        LastSentAt: Instant
    }

/// How loss is being dealt with.
[<Struct; NoComparison; NoEquality>]
type internal Repair =
    {
        /// Retransmissions in a row without an answer, RFC 9260 §8.1.
        Errors: int
        /// The next packet ignores the window, RFC 9260 §7.2.4 rule 3.
        FastRetransmit: bool
        /// What is outstanding is a window probe, RFC 9260 §6.1 A.
        Probing: bool
        /// New cumulative TSN of the last FORWARD TSN; 0 before the first.
        Forwarded: int64
        /// Chunks sent again, ever.
        Resent: int64
    }

/// The sending half of an association.
[<NoComparison; NoEquality>]
type internal Sending =
    {
        Outstanding: Outstanding
        Congestion: Congestion
        Trip: RoundTrip
        /// rwnd, RFC 9260 §6.2.1: what the peer has room for beyond what is in flight. Negative where it has shrunk.
        Window: int64
        Timers: SendTimers
        Timed: Timed
        Repair: Repair
    }

[<RequireQualifiedAccess>]
module internal Sending =
    /// A message is not cut to fill less than this of a packet.
    [<Literal>]
    let private MinFragment = 256

    /// The shortest time between two bursts of one window.
    let private minPace: Duration = Duration.microseconds 50L

    let create (now: Instant) (initialTsn: Tsn) (link: Link) : Sending =
        { Outstanding = Outstanding.create (Tsn.first initialTsn)
          Congestion = Congestion.create link.Segment
          Trip = RoundTrip.create link.Config.Times
          Window = int64 link.Peer.Window
          Timers =
            { T3 = Instant.never
              FlushAt = Instant.never
              LastSentAt = now }
          Timed = { Tsn = -1L; SentAt = now }
          Repair =
            { Errors = 0
              FastRetransmit = false
              Probing = false
              Forwarded = 0L
              Resent = 0L } }

    /// When the sending half is next due.
    let deadline (s: Sending) : Instant =
        Instant.min s.Timers.T3 s.Timers.FlushAt

    /// To be flushed once what is in hand has been taken in.
    let flushSoon (now: Instant) (s: Sending) : Sending =
        if s.Timers.FlushAt <= now then
            s
        else
            { s with
                Timers = { s.Timers with FlushAt = now } }

    /// Not to be sent again, RFC 3758 §4.1, RFC 7496 §3.2. A peer that does not know FORWARD TSN gets everything.
    let private isStale (now: Instant) (link: Link) (resends: int) (message: Message) =
        link.Peer.ForwardTsn
        && (now >= message.ExpiresAt || resends >= message.MaxRetransmits)

    /// Gives up a message, with what was not sent of it.
    let private abandon
        (tsn: int64)
        (outputs: byref<ListCollector<SctpOutput>>)
        (o: Outstanding)
        (streams: Streams)
        : struct (Outstanding * Streams) =
        let message = o.Chunks[tsn].Message
        let struct (o, unsent) = Outstanding.abandon tsn o

        if unsent then
            let struct (left, streams) = Streams.discardCurrent (o.Chunks.Next - 1L) streams
            outputs.Add(SctpOutput.Transmitted(message.Stream, left))
            struct (o, streams)
        else
            struct (o, streams)

    /// Gives up what has just been marked for retransmission and is not to be sent again. One pass over the marked chunks,
    /// each time that chunks are marked.
    let private abandonStale
        (now: Instant)
        (link: Link)
        (outputs: byref<ListCollector<SctpOutput>>)
        (o: Outstanding)
        (streams: Streams)
        : struct (Outstanding * Streams) =
        let mutable o = o
        let mutable streams = streams
        let mutable at = Outstanding.firstMarked 0L o

        while at >= 0L do
            let stretch = Outstanding.stretchOf at o
            let mutable tsn = at

            while tsn <= stretch.Last
                  && not (isStale now link stretch.Resends o.Chunks[tsn].Message) do
                tsn <- tsn + 1L

            if tsn <= stretch.Last then
                let struct (o', streams') = abandon tsn &outputs o streams
                o <- o'
                streams <- streams'

            at <- Outstanding.firstMarked (tsn + 1L) o

        struct (o, streams)

    /// Whether the peer has to be told that we gave something up, RFC 3758 §3.5 rule C3. Once for each advance; T3 repeats it.
    let private hasNews (s: Sending) : bool =
        let point = Outstanding.advancedAckPoint s.Outstanding

        point > Outstanding.cumulative s.Outstanding && point <> s.Repair.Forwarded

    /// Whether a flush would find anything to do.
    let private wantsFlush (streams: Streams) (s: Sending) : bool =
        s.Repair.FastRetransmit
        || hasNews s
        || (s.Outstanding.FlightSize < Congestion.window s.Congestion
            && (Streams.hasMore streams || Outstanding.firstMarked 0L s.Outstanding >= 0L))

    /// A SACK, RFC 9260 §6.2.1. ValueNone where it acknowledges what was never sent.
    let sacked
        (now: Instant)
        (link: Link)
        (sack: Sack)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) voption =
        let before = s.Outstanding

        let cumulative = Tsn.unwrap (Outstanding.cumulative before) sack.CumulativeTsnAck

        match Outstanding.acknowledge link.Segment cumulative sack.GapAckBlocks before with
        | ValueNone -> ValueNone
        | ValueSome(struct (o, ack)) ->
            let timed = s.Timed

            let isMeasured =
                timed.Tsn >= 0L
                && (timed.Tsn <= cumulative || (Outstanding.stretchOf timed.Tsn o).Fate = Fate.Acked)

            let progress =
                { Acked = ack.Bytes
                  FlightBefore = before.FlightSize
                  InFastRecovery = Outstanding.inRecovery o
                  CumulativeAdvanced = ack.CumulativeAdvanced
                  AllAcked = Outstanding.isEmpty o }

            let congestion =
                if ack.Bytes > 0 then
                    Congestion.acknowledged link.Segment progress s.Congestion
                else
                    s.Congestion

            // Fast recovery is entered once for a window of data, §7.2.4 rule 2 and 6.
            let entersRecovery = ack.LossFound && not (Outstanding.inRecovery o)

            let struct (o, streams) =
                if ack.LossFound then
                    let struct (o, streams) = abandonStale now link &outputs o streams
                    struct ((if entersRecovery then Outstanding.enterRecovery o else o), streams)
                else
                    struct (o, streams)

            let trip =
                if isMeasured then
                    RoundTrip.measured link.Config.Times (now - timed.SentAt) s.Trip
                else
                    s.Trip

            let next =
                { s with
                    Outstanding = o
                    Congestion =
                        if entersRecovery then
                            Congestion.lost link.Segment congestion
                        else
                            congestion
                    Trip = trip
                    Window = int64 sack.AdvertisedReceiverWindow - int64 o.FlightSize
                    Timed = if isMeasured then { timed with Tsn = -1L } else timed
                    Timers =
                        { s.Timers with
                            // Rules R2 and R3 of §6.3.2.
                            T3 =
                                if Outstanding.isEmpty o then Instant.never
                                elif ack.CumulativeAdvanced then now + trip.Timeout
                                else s.Timers.T3 }
                    Repair =
                        { s.Repair with
                            // A peer that says its window is closed is alive, §6.1 A.
                            Errors =
                                if ack.Bytes > 0 || int64 sack.AdvertisedReceiverWindow < int64 link.Segment then
                                    0
                                else
                                    s.Repair.Errors
                            Probing = s.Repair.Probing && not (Outstanding.isEmpty o)
                            FastRetransmit = s.Repair.FastRetransmit || entersRecovery } }

            ValueSome(struct (streams, (if wantsFlush streams next then flushSoon now next else next)))

    /// T3-rtx expired, RFC 9260 §6.3.3: what is in flight is to be sent again. To be followed by `flush` of one packet.
    let timedOut
        (now: Instant)
        (link: Link)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) =
        let trip = RoundTrip.backOff link.Config.Times s.Trip

        if Outstanding.isEmpty s.Outstanding then
            // The window has been closed for an RTO: probe it, §6.1 A.
            struct (streams,
                    { s with
                        Trip = trip
                        Timers = { s.Timers with T3 = Instant.never }
                        Repair = { s.Repair with Probing = true } })
        else
            let window = s.Window + int64 s.Outstanding.FlightSize

            let struct (o, streams) =
                abandonStale now link &outputs (Outstanding.markAll s.Outstanding) streams

            struct (streams,
                    { s with
                        Outstanding = o
                        Trip = trip
                        Congestion =
                            if s.Repair.Probing then
                                s.Congestion
                            else
                                Congestion.timedOut link.Segment s.Congestion
                        Window = window
                        Timed = { s.Timed with Tsn = -1L }
                        Timers = { s.Timers with T3 = Instant.never }
                        Repair =
                            { s.Repair with
                                Errors = s.Repair.Errors + 1
                                FastRetransmit = false
                                // To be said again, RFC 3758 §3.5 rule A5.
                                Forwarded = 0L } })

    /// What one flush works on. Local to `flush`.
    [<Sealed>]
    type private Burst(link: Link, streams: Streams, s: Sending) =
        member val Streams = streams with get, set
        member val Outstanding = s.Outstanding with get, set
        member val Window = s.Window with get, set
        member val Chunks = ResizeArray<Data>() with get
        /// Octets left in the packet.
        member val Room = 0 with get, set
        member val Resent = 0 with get, set
        /// The first chunk sent for the first time; -1 before.
        member val FirstNew = -1L with get, set
        member val ResentEarliest = false with get, set
        /// The window is closed, and nothing is outstanding that would open it.
        member val Shut = false with get, set
        // Octets that left the queue of one stream, not yet told.
        member val Stream = 0us with get, set
        member val Left = 0 with get, set
        member _.CongestionWindow = Congestion.window s.Congestion
        member _.Link = link

        member b.CongestionAllows = b.Outstanding.FlightSize < b.CongestionWindow

    /// Tells of octets that left a stream's queue, one output for a run of one stream.
    let private leave (stream: uint16) (bytes: int) (outputs: byref<ListCollector<SctpOutput>>) (b: Burst) : unit =
        if b.Left > 0 && b.Stream <> stream then
            outputs.Add(SctpOutput.Transmitted(b.Stream, b.Left))
            b.Left <- 0

        b.Stream <- stream
        b.Left <- b.Left + bytes

    /// Puts chunks marked for retransmission into the packet, RFC 9260 §6.1 C. `ignoring` the congestion window for a fast
    /// retransmit.
    let private resend (now: Instant) (ignoring: bool) (outputs: byref<ListCollector<SctpOutput>>) (b: Burst) : unit =
        let mutable tsn = Outstanding.firstMarked 0L b.Outstanding

        while tsn >= 0L && (ignoring || b.CongestionAllows) do
            let slot = b.Outstanding.Chunks[tsn]
            let resends = (Outstanding.stretchOf tsn b.Outstanding).Resends
            let size = Data.sizeOf slot.Size

            if isStale now b.Link resends slot.Message then
                let struct (o, streams) = abandon tsn &outputs b.Outstanding b.Streams
                b.Outstanding <- o
                b.Streams <- streams
                tsn <- Outstanding.firstMarked (tsn + 1L) b.Outstanding
            elif
                size <= b.Room
                || (b.Chunks.Count = 0 && Link.outgrew (b.Link.Segment - b.Room) size b.Link)
            then
                b.Chunks.Add(Outstanding.describe tsn b.Outstanding)
                b.ResentEarliest <- b.ResentEarliest || tsn = b.Outstanding.Chunks.First
                b.Outstanding <- Outstanding.resent tsn tsn b.Outstanding
                b.Room <- b.Room - size
                b.Window <- b.Window - int64 size
                b.Resent <- b.Resent + 1
                tsn <- Outstanding.firstMarked (tsn + 1L) b.Outstanding
            else
                tsn <- -1L

    /// Drops messages whose time is over, or whose stream the peer has not, from the head of the queue. False where
    /// nothing is left.
    let private trimmed (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (b: Burst) : bool =
        let mutable going = Streams.hasMore b.Streams

        while going do
            let message = Streams.peek b.Streams

            match b.Streams.Current with
            | ValueSome current when b.Link.Peer.ForwardTsn && now >= message.ExpiresAt ->
                // Its chunks may all be acknowledged: a placeholder stands for what will not be sent.
                let o =
                    Outstanding.append message message.Payload.Length 0 current.Ssn b.Outstanding

                let placeholder = o.Chunks.Next - 1L
                let struct (o, _) = Outstanding.abandon placeholder o
                let struct (left, streams) = Streams.discardCurrent placeholder b.Streams
                b.Outstanding <- o
                b.Streams <- streams
                leave message.Stream left &outputs b
                going <- Streams.hasMore b.Streams
            | ValueNone when now >= message.ExpiresAt || int message.Stream >= b.Link.OutboundStreams ->
                b.Streams <- Streams.discardNext b.Streams
                leave message.Stream message.Payload.Length &outputs b
                going <- Streams.hasMore b.Streams
            | _ -> going <- false

        Streams.hasMore b.Streams

    /// How much of the next message goes into this packet; 0 for none.
    let private share (b: Burst) : int =
        let room = b.Room - Data.HeaderSize
        let remaining = Streams.remaining b.Streams

        if remaining <= room then remaining
        elif room >= MinFragment then room &&& ~~~3
        else 0

    /// Puts new chunks into the packet as far as windows allow, RFC 9260 §6.1 A, B.
    let private sendNew (now: Instant) (probe: bool) (outputs: byref<ListCollector<SctpOutput>>) (b: Burst) : unit =
        let mutable going = b.CongestionAllows && trimmed now &outputs b

        while going do
            let size = share b
            let onWire = Data.sizeOf size
            let fits = int64 onWire <= b.Window || (probe && Outstanding.isEmpty b.Outstanding)

            if size > 0 && fits then
                let tsn = b.Outstanding.Chunks.Next
                let struct (piece, streams) = Streams.take size tsn b.Streams
                b.Streams <- streams
                b.Outstanding <- Outstanding.append piece.Message piece.Offset size piece.Ssn b.Outstanding
                b.Room <- b.Room - onWire
                b.Window <- b.Window - int64 onWire

                if b.FirstNew < 0L then
                    b.FirstNew <- tsn

                leave piece.Message.Stream size &outputs b
                let chunk = Outstanding.describe tsn b.Outstanding
                going <- b.CongestionAllows

                // The window is full: its SACK lets us go on, RFC 7053.
                b.Chunks.Add(
                    if going then
                        chunk
                    else
                        { chunk with
                            Flags = chunk.Flags ||| Flag.Immediate }
                )

                going <- going && trimmed now &outputs b
            else
                b.Shut <- size > 0 && Outstanding.isEmpty b.Outstanding
                going <- false

    /// The control chunks that fit into one packet, and those that do not.
    let private fitting (room: int) (control: Chunk list) : struct (Chunk list * Chunk list * int) =
        match control with
        | [] -> struct ([], [], room)
        | [ single ] -> struct (control, [], room - Chunk.size single)
        | _ ->
            let mutable room = room
            let mutable taken = []
            let mutable rest = control

            while not rest.IsEmpty && (taken.IsEmpty || Chunk.size rest.Head <= room) do
                room <- room - Chunk.size rest.Head
                taken <- rest.Head :: taken
                rest <- rest.Tail

            struct (List.rev taken, rest, room)

    /// FORWARD TSN where there is news, RFC 3758 §3.5 rules C3 to C5.
    let private forward (link: Link) (s: Sending) : struct (Chunk voption * Sending) =
        if hasNews s then
            let struct (point, skipped) =
                Outstanding.forward ((link.Segment - 8) / 4) s.Outstanding

            struct (ValueSome(ForwardTsn(Tsn.wrap point, skipped)),
                    { s with
                        Repair =
                            { s.Repair with
                                Forwarded = Outstanding.advancedAckPoint s.Outstanding } })
        else
            struct (ValueNone, s)

    /// Sends what there is and may be sent: `control` chunks first, then retransmissions, then new data, in at most `limit`
    /// packets. RFC 9260 §6.1.
    let flush
        (now: Instant)
        (link: Link)
        (limit: int)
        (control: Chunk list)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) =
        let struct (news, s) = forward link s

        let mutable control =
            match news with
            | ValueSome chunk -> control @ [ chunk ]
            | ValueNone -> control

        // The window of a path that was idle shrinks, §7.2.1.
        let idle = (now - s.Timers.LastSentAt) / s.Trip.Timeout

        let s =
            if idle > 0L && Outstanding.isEmpty s.Outstanding then
                { s with
                    Congestion = Congestion.idle link.Segment idle s.Congestion }
            else
                s

        let b = Burst(link, streams, s)
        let mutable fast = s.Repair.FastRetransmit
        let mutable packets = 0
        let mutable going = true

        while going do
            let struct (taken, rest, room) = fitting link.Segment control
            control <- rest
            b.Room <- room
            b.Chunks.Clear()
            resend now fast &outputs b

            if b.Chunks.Count > 0 then
                fast <- false

            if Outstanding.firstMarked 0L b.Outstanding < 0L then
                sendNew now s.Repair.Probing &outputs b

            if b.Chunks.Count > 0 || not taken.IsEmpty then
                outputs.Add(
                    Link.packet
                        taken
                        (if b.Chunks.Count = 0 then
                             Array.Empty()
                         else
                             b.Chunks.ToArray())
                        link
                )

                packets <- packets + 1
                going <- packets < limit || not control.IsEmpty
            else
                going <- false

        if b.Left > 0 then
            outputs.Add(SctpOutput.Transmitted(b.Stream, b.Left))

        let sentAny = b.Resent > 0 || b.FirstNew >= 0L

        // A burst ended by its limit goes on at the pace of one window a round trip.
        let limited =
            packets >= limit
            && b.CongestionAllows
            && (Streams.hasMore b.Streams || Outstanding.firstMarked 0L b.Outstanding >= 0L)
            && limit > 1

        let pace =
            match s.Trip.Smoothed with
            | ValueSome srtt ->
                max minPace (srtt * int64 (limit * link.Segment) / int64 (Congestion.window s.Congestion))
            | ValueNone -> s.Trip.Timeout / 8L

        let next =
            { s with
                Outstanding = b.Outstanding
                Window = b.Window
                Timed =
                    if b.Resent > 0 then
                        // Karn's algorithm, §6.3.1 C5.
                        { Tsn = -1L; SentAt = now }
                    elif s.Timed.Tsn < 0L && b.FirstNew >= 0L then
                        { Tsn = b.FirstNew; SentAt = now }
                    else
                        s.Timed
                Timers =
                    { T3 =
                        if b.ResentEarliest then
                            now + s.Trip.Timeout
                        elif
                            s.Timers.T3 = Instant.never
                            && (b.Shut || not (Outstanding.isEmpty b.Outstanding))
                        then
                            now + s.Trip.Timeout
                        else
                            s.Timers.T3
                      FlushAt = if limited then now + pace else Instant.never
                      LastSentAt = if sentAny then now else s.Timers.LastSentAt }
                Repair =
                    { s.Repair with
                        FastRetransmit = false
                        Probing = s.Repair.Probing && not (Outstanding.isEmpty b.Outstanding)
                        Resent = s.Repair.Resent + int64 b.Resent } }

        // Given up while resending: said at once, in a packet of its own.
        let struct (news, next) = forward link next

        match news with
        | ValueSome chunk -> outputs.Add(Link.packet [ chunk ] (Array.Empty()) link)
        | ValueNone -> ()

        struct (b.Streams, next)
