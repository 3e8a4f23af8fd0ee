namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// What one flush works on: changed in place, a chunk costs no record; made a state again at its end. Local to `Flush`.
[<Sealed>]
type internal Draft(link: Link, streams: Streams, s: Sending) =
    let interleaved = link.Interleaves
    let mutable chunks = s.Outstanding.Chunks
    let mutable sum = s.Outstanding.Sum
    let mutable stretches = s.Outstanding.Stretches
    let mutable flight = s.Outstanding.FlightSize
    let mutable marked = s.Outstanding.MarkedSize
    // The walk over what is to be sent again: the stretches passed, rebuilt; the stretch it is at, and the TSN in it.
    let mutable passed: ResizeArray<Stretch> = Unchecked.defaultof<_>
    let mutable isWalking = false
    let mutable at = 0
    let mutable next = 0L
    // DATA of the packet. Most packets have one chunk.
    let mutable single = Unchecked.defaultof<Data>
    let mutable several: ResizeArray<Data> = Unchecked.defaultof<_>
    let mutable hasSeveral = false
    let mutable count = 0

    member _.Link = link
    member val Streams = Streams.draft streams with get, set
    /// rwnd.
    member val Window = s.Window with get, set
    /// Octets left in the packet.
    member val Room = 0 with get, set
    /// Octets of chunks sent.
    member val Octets = 0 with get, set
    member val Resent = 0 with get, set
    /// TSN of the last chunk put into a packet, and whether it was sent again though nobody knew of its loss.
    member val LastTsn = -1L with get, set
    member val LastResent = false with get, set
    member val SentNew = false with get, set
    member val ResentEarliest = false with get, set
    /// The highest TSN whose message may be given up.
    member val Limited = s.Repair.Limited with get, set
    /// The window is closed, and nothing is outstanding that would open it.
    member val Shut = false with get, set
    // Octets that left the queue of one stream, not yet told.
    member val Stream = 0us with get, set
    member val Left = 0 with get, set
    member _.CongestionAllows = flight < Congestion.window s.Congestion
    member _.HasMarked = marked > 0
    member _.IsEmpty = chunks.IsEmpty
    member _.First = chunks.First
    member _.NextTsn = chunks.Next
    member _.Count = count

    member _.Slot(tsn: int64) : Slot = chunks[tsn]

    member _.Add(data: Data) : unit =
        if count = 0 then
            single <- data
        else
            if count = 1 then
                if not hasSeveral then
                    several <- ResizeArray()
                    hasSeveral <- true

                several.Add single

            several.Add data

        count <- count + 1

    /// The DATA chunks of the packet; it is empty again.
    member _.Take() : Data[] =
        let taken =
            match count with
            | 0 -> Array.Empty()
            | 1 -> [| single |]
            | _ ->
                let taken = several.ToArray()
                several.Clear()
                taken

        count <- 0
        taken

    /// Gives the next TSN to a piece of a message.
    member _.Append(now: Instant, piece: Piece) : unit =
        let onWire = Data.sizeOf interleaved piece.Size

        chunks <-
            Log.append
                { Message = piece.Message
                  Offset = piece.Offset
                  Size = piece.Size
                  Mid = piece.Mid
                  Fsn = piece.Fsn
                  Before = sum
                  SentAt = now }
                chunks

        sum <- sum + int64 onWire
        flight <- flight + onWire

    /// The next TSN to be sent again; -1 where there is none.
    member _.NextMarked() : int64 =
        if marked = 0 then
            -1L
        else
            if not isWalking then
                isWalking <- true
                passed <- ResizeArray(stretches.Length + 4)
                at <- 0
                next <- chunks.First

            while at < stretches.Length && stretches[at].Fate <> Fate.Marked do
                Outstanding.push { stretches[at] with First = next } passed
                next <- stretches[at].Last + 1L
                at <- at + 1

            if at < stretches.Length then next else -1L

    /// How often the chunk of `NextMarked` was sent again.
    member _.Resends = stretches[at].Resends

    /// The chunk of `NextMarked` is in flight again.
    member _.Resend(now: Instant, onWire: int) : unit =
        let stretch = stretches[at]

        Outstanding.push
            { First = next
              Last = next
              Fate = Fate.InFlight
              Resends = stretch.Resends + 1
              ResentAt = now }
            passed

        flight <- flight + onWire
        marked <- marked - onWire

        if next = stretch.Last then
            at <- at + 1

        next <- next + 1L

    /// Ends the walk: the stretches are whole again.
    member private _.Close() : unit =
        if isWalking then
            while at < stretches.Length do
                Outstanding.push { stretches[at] with First = next } passed
                next <- stretches[at].Last + 1L
                at <- at + 1

            // What follows them may be part of the last one no longer.
            stretches <- Outstanding.finish passed
            isWalking <- false

    member draft.Outstanding: Outstanding =
        draft.Close()

        { Chunks = chunks
          Interleaved = interleaved
          Sum = sum
          Stretches = stretches
          FlightSize = flight
          MarkedSize = marked }

    /// Goes on with what the functions of `Outstanding` have made of it.
    member _.Load(o: Outstanding) : unit =
        chunks <- o.Chunks
        sum <- o.Sum
        stretches <- o.Stretches
        flight <- o.FlightSize
        marked <- o.MarkedSize
        isWalking <- false

/// Sends what there is and may be sent, RFC 9260 §6.1.
[<RequireQualifiedAccess>]
module internal Flush =
    /// A message is not cut to fill less than this of a packet.
    [<Literal>]
    let private MinFragment = 256

    /// Tells of octets that left a stream's queue, one output for a run of one stream.
    let private leave (stream: uint16) (bytes: int) (outputs: byref<ListCollector<SctpOutput>>) (b: Draft) : unit =
        if b.Left > 0 && b.Stream <> stream then
            outputs.Add(SctpOutput.Transmitted(b.Stream, b.Left))
            b.Left <- 0

        b.Stream <- stream
        b.Left <- b.Left + bytes

    /// Puts chunks marked for retransmission into the packet, RFC 9260 §6.1 C. `ignoring` the congestion window for a fast
    /// retransmit or a probe. A chunk from before the path's MTU shrank goes alone, and in fragments of IP, §6.9.
    let private resend (now: Instant) (ignoring: bool) (outputs: byref<ListCollector<SctpOutput>>) (b: Draft) : unit =
        let mutable tsn = b.NextMarked()

        while tsn >= 0L && (ignoring || b.CongestionAllows) do
            let slot = b.Slot tsn
            let size = Data.sizeOf b.Link.Interleaves slot.Size

            if Recovery.isStale now b.Link b.Resends slot.Message then
                let struct (o, streams) = Recovery.abandon now tsn &outputs b.Outstanding b.Streams

                b.Load o
                b.Streams <- streams
                tsn <- b.NextMarked()
            elif
                size <= b.Room
                || (b.Count = 0 && Link.outgrew (b.Link.Segment - b.Room) size b.Link)
            then
                b.Add(Outstanding.describe b.Link.Interleaves tsn slot)
                b.ResentEarliest <- b.ResentEarliest || tsn = b.First
                b.Resend(now, size)
                b.Room <- b.Room - size
                b.Window <- b.Window - int64 size
                b.Resent <- b.Resent + 1
                b.LastTsn <- tsn
                // It is known to be lost: as a probe it tells nothing more.
                b.LastResent <- false
                tsn <- b.NextMarked()
            else
                tsn <- -1L

    /// Drops messages whose time is over, or whose stream the peer has not, from the head of the queue. False where
    /// nothing is left.
    let private trimmed (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (b: Draft) : bool =
        let mutable going = Streams.hasMore b.Streams

        while going do
            let message = Streams.peek b.Streams

            match Streams.current b.Streams with
            | ValueSome current when b.Link.Peer.ForwardTsn && now >= message.ExpiresAt ->
                // Its chunks may all be acknowledged: a placeholder stands for what will not be sent.
                let o =
                    Outstanding.append now message message.Payload.Length 0 current.Mid current.Fsn b.Outstanding

                let placeholder = o.Chunks.Next - 1L
                let struct (o, _) = Outstanding.abandon now placeholder o
                let struct (left, streams) = Streams.discard message placeholder b.Streams
                b.Load o
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
    let private share (b: Draft) : int =
        let room = b.Room - Data.headerSize b.Link.Interleaves
        let remaining = Streams.remaining b.Streams

        if remaining <= room then remaining
        elif room >= MinFragment then room &&& ~~~3
        else 0

    /// Puts new chunks into the packet as far as windows allow, RFC 9260 §6.1 A, B.
    let private sendNew
        (now: Instant)
        (ignoring: bool)
        (probing: bool)
        (outputs: byref<ListCollector<SctpOutput>>)
        (b: Draft)
        : unit =
        let mutable going = (ignoring || b.CongestionAllows) && trimmed now &outputs b

        while going do
            let size = share b
            let onWire = Data.sizeOf b.Link.Interleaves size
            let fits = int64 onWire <= b.Window || (probing && b.IsEmpty)

            if size > 0 && fits then
                let tsn = b.NextTsn
                let struct (piece, streams) = Streams.take size tsn b.Streams
                b.Streams <- streams
                b.Append(now, piece)
                b.Room <- b.Room - onWire
                b.Window <- b.Window - int64 onWire
                b.SentNew <- true
                b.LastTsn <- tsn
                b.LastResent <- false

                if Recovery.isLimited piece.Message then
                    b.Limited <- tsn

                leave piece.Message.Stream size &outputs b
                let chunk = Outstanding.describe b.Link.Interleaves tsn (b.Slot tsn)
                going <- ignoring || b.CongestionAllows

                // The window is full: its SACK lets us go on, RFC 7053. And a probe is to be answered.
                b.Add(
                    if going && not ignoring then
                        chunk
                    else
                        { chunk with
                            Flags = chunk.Flags ||| Flag.Immediate }
                )

                going <- going && trimmed now &outputs b
            else
                b.Shut <- size > 0 && b.IsEmpty
                going <- false

    /// A tail loss probe where nothing else could be sent: the last chunk in flight, again. RFC 8985 §7.3. Not where
    /// `control` has left no room for it: then the next packet is tried.
    let private probe (now: Instant) (control: Chunk list) (b: Draft) : unit =
        let o = b.Outstanding
        let tsn = Outstanding.lastInFlight o

        if
            tsn >= 0L
            && (control.IsEmpty || Data.sizeOf b.Link.Interleaves o.Chunks[tsn].Size <= b.Room)
        then
            let slot = o.Chunks[tsn]
            let chunk = Outstanding.describe b.Link.Interleaves tsn slot

            b.Add
                { chunk with
                    Flags = chunk.Flags ||| Flag.Immediate }

            b.Load(Outstanding.resent now tsn o)
            b.Room <- b.Room - Data.sizeOf b.Link.Interleaves slot.Size
            b.Resent <- b.Resent + 1
            b.LastTsn <- tsn
            b.LastResent <- true

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

    /// FORWARD TSN, or I-FORWARD-TSN, where there is news, RFC 3758 §3.5 rules C3 to C5.
    let private forward (link: Link) (s: Sending) : struct (Chunk voption * Sending) =
        if Sending.hasNews s.Outstanding s.Repair then
            let struct (point, skipped) =
                Outstanding.forward ((link.Segment - 8) / Chunk.skipSize link.Interleaves) s.Outstanding

            let chunk =
                if link.Interleaves then
                    IForwardTsn(Tsn.wrap point, skipped)
                else
                    ForwardTsn(Tsn.wrap point, skipped)

            struct (ValueSome chunk,
                    { s with
                        Repair =
                            { s.Repair with
                                Forwarded = Outstanding.advancedAckPoint s.Outstanding
                                ForwardedTo = point } })
        else
            struct (ValueNone, s)

    /// The window of a path that was idle shrinks, RFC 9260 §7.2.1.
    let private rested (now: Instant) (link: Link) (s: Sending) : Sending =
        let idle = (now - s.Timers.LastSentAt) / s.Trip.Timeout

        if idle > 0L && Outstanding.isEmpty s.Outstanding then
            { s with
                Congestion = Congestion.idle link.Segment idle s.Congestion }
        else
            s

    let private ended
        (now: Instant)
        (burst: Burst)
        (pace: SendPace)
        (isLimited: bool)
        (b: Draft)
        (s: Sending)
        : Sending =
        let o = b.Outstanding
        let sentAny = b.Resent > 0 || b.SentNew
        let ready = Pacing.spent now b.Octets s.Timers.Ready pace
        let isProbe = burst = Burst.Probe && sentAny

        let recovery =
            if isProbe || (b.Resent > 0 && s.Recovery.Unproven >= 0) then
                { s.Recovery with
                    Probe = if isProbe then b.LastTsn else s.Recovery.Probe
                    ProbeResent = if isProbe then b.LastResent else s.Recovery.ProbeResent
                    // A probe that comes twice proves nothing of the last congestion.
                    Unproven =
                        if isProbe || s.Recovery.Unproven < 0 then
                            s.Recovery.Unproven
                        else
                            s.Recovery.Unproven + b.Resent }
            else
                s.Recovery

        let probing = s.Repair.Probing && not (Outstanding.isEmpty o)

        let repair =
            if
                b.Resent > 0
                || s.Repair.FastRetransmit
                || probing <> s.Repair.Probing
                || b.Limited <> s.Repair.Limited
            then
                { s.Repair with
                    FastRetransmit = false
                    Probing = probing
                    Resent = s.Repair.Resent + int64 b.Resent
                    Limited = b.Limited }
            else
                s.Repair

        let t3 =
            if b.ResentEarliest || isProbe then
                now + s.Trip.Timeout
            elif s.Timers.T3 = Instant.never && (b.Shut || not (Outstanding.isEmpty o)) then
                now + s.Trip.Timeout
            else
                s.Timers.T3

        { s with
            Outstanding = o
            Window = b.Window
            Recovery = recovery
            Repair = repair
            Timers =
                { s.Timers with
                    T3 = t3
                    ProbeAt =
                        if sentAny then
                            Sending.probeAt now b.Link t3 o.FlightSize s.Trip recovery repair
                        else
                            s.Timers.ProbeAt
                    FlushAt =
                        if isLimited then
                            Pacing.gate (now + Pacing.least) (b.Streams.Buffered + int64 o.MarkedSize) ready pace
                        else
                            Instant.never
                    Ready = ready
                    LastSentAt = if sentAny then now else s.Timers.LastSentAt } }

    /// Sends `control` chunks and nothing else: who only receives has nothing else to send.
    let private speak
        (link: Link)
        (control: Chunk list)
        (outputs: byref<ListCollector<SctpOutput>>)
        (s: Sending)
        : Sending =
        let mutable left = control

        while not left.IsEmpty do
            let struct (taken, rest, _) = fitting link.Segment left
            outputs.Add(Link.packet taken (Array.Empty()) link)
            left <- rest

        if s.Timers.FlushAt = Instant.never then
            s
        else
            { s with
                Timers =
                    { s.Timers with
                        FlushAt = Instant.never } }

    /// `control` chunks first, then retransmissions, then new data, see `flush`.
    let private send
        (now: Instant)
        (link: Link)
        (burst: Burst)
        (control: Chunk list)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) =
        let mutable control = control
        let s = rested now link s
        let b = Draft(link, streams, s)
        let pace = Pacing.ofWindow link s.Congestion s.Trip
        let limit = if burst = Burst.Paced then Pacing.packets link else 1

        let allowed = Pacing.tokens now s.Timers.Ready pace

        // The first packet may go whatever the pace.
        let mutable free = burst <> Burst.Paced || s.Repair.FastRetransmit
        let mutable ignoring = burst = Burst.Probe || s.Repair.FastRetransmit
        let mutable packets = 0
        let mutable going = true

        while going do
            let struct (taken, rest, room) = fitting link.Segment control
            control <- rest
            b.Room <- room

            if free || (packets < limit && b.Octets < allowed) then
                resend now ignoring &outputs b

                if not b.HasMarked then
                    sendNew now (ignoring && burst = Burst.Probe) s.Repair.Probing &outputs b

                if burst = Burst.Probe && b.Count = 0 then
                    probe now taken b

            if b.Count > 0 || not taken.IsEmpty then
                if b.Count > 0 then
                    b.Octets <- b.Octets + (room - b.Room)
                    packets <- packets + 1
                    free <- false
                    ignoring <- false

                outputs.Add(Link.packet taken (b.Take()) link)
                going <- free || (packets < limit && b.Octets < allowed) || not control.IsEmpty
            else
                going <- false

        if b.Left > 0 then
            outputs.Add(SctpOutput.Transmitted(b.Stream, b.Left))

        // Cut short by the pace, not by a window.
        let isLimited =
            burst <> Burst.Timeout
            && (packets >= limit || b.Octets >= allowed)
            && b.CongestionAllows
            && (b.HasMarked || (Streams.hasMore b.Streams && b.Window > 0L))

        let next = ended now burst pace isLimited b s

        // Given up while resending: said at once, in a packet of its own.
        let struct (news, next) = forward link next

        match news with
        | ValueSome chunk -> outputs.Add(Link.packet [ chunk ] (Array.Empty()) link)
        | ValueNone -> ()

        struct (Streams.keep b.Streams, next)

    /// Sends `control` chunks first, then retransmissions, then new data, in as many packets as a burst and the
    /// pace allow; what is left over asks for another flush by the deadline.
    let flush
        (now: Instant)
        (link: Link)
        (burst: Burst)
        (control: Chunk list)
        (outputs: byref<ListCollector<SctpOutput>>)
        (streams: Streams)
        (s: Sending)
        : struct (Streams * Sending) =
        let struct (news, s) = forward link s

        let control =
            match news with
            | ValueSome chunk -> control @ [ chunk ]
            | ValueNone -> control

        if
            burst = Burst.Paced
            && s.Outstanding.MarkedSize = 0
            && not s.Repair.FastRetransmit
            && not (Streams.hasMore streams)
        then
            struct (streams, speak link control &outputs s)
        else
            send now link burst control &outputs streams s
