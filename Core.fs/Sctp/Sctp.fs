namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core.Association

[<NoComparison>]
type SctpFigures =
    { SmoothedRoundTripTime: Duration voption
      CongestionWindow: int
      PeerReceiverWindow: int
      FlightSize: int
      Retransmissions: int64
      ReceiverWindow: int }

type SctpState =
    | Closed = 0
    | CookieWait = 1
    | CookieEchoed = 2
    | Established = 3
    | ShutdownPending = 4
    | ShutdownSent = 5
    | ShutdownReceived = 6
    | ShutdownAckSent = 7
    | Ended = 8

[<RequireQualifiedAccess>]
module Sctp =
    /// T1 or T2: doubled with each attempt up to RTO.Max.
    [<NoComparison; NoEquality>]
    type private Timer =
        { At: Instant
          Timeout: Duration
          Attempts: int }

    /// RFC 9260 §4, each with what it knows.
    [<NoComparison; NoEquality>]
    type private Phase =
        | Closed
        | CookieWait of t1: Timer
        | CookieEchoed of cookie: byte[] * t1: Timer * Association
        | Established of Association
        | ShutdownPending of Association
        | ShutdownSent of t2: Timer * Association
        | ShutdownReceived of Association
        | ShutdownAckSent of t2: Timer * Association
        | Ended of ownTag: uint32

    [<NoComparison; NoEquality>]
    type State =
        private
            {
                Own: Own
                Phase: Phase
                /// What is not yet sent; from the beginning, for what is sent before there is an association.
                Streams: Streams
                /// Resets asked for before there is an association.
                Wanted: uint16 list
            }

    type Input = SctpInput

    type Output = SctpOutput

    let create (entropy: Entropy) (config: SctpConfig) : State =
        { Own = Handshake.create entropy config
          Phase = Closed
          Streams = Streams.empty
          Wanted = [] }

    let private startTimer (now: Instant) (timeout: Duration) : Timer =
        { At = now + timeout
          Timeout = timeout
          Attempts = 0 }

    let private restarted (now: Instant) (limit: Duration) (timer: Timer) : Timer =
        let timeout = min limit (2L * timer.Timeout)

        { At = now + timeout
          Timeout = timeout
          Attempts = timer.Attempts + 1 }

    /// The association, where there is one.
    let private association (state: State) : Association voption =
        match state.Phase with
        | CookieEchoed(_, _, a)
        | Established a
        | ShutdownPending a
        | ShutdownSent(_, a)
        | ShutdownReceived a
        | ShutdownAckSent(_, a) -> ValueSome a
        | Closed
        | CookieWait _
        | Ended _ -> ValueNone

    /// The same phase with its association changed.
    let private withAssociation (a: Association) (phase: Phase) : Phase =
        match phase with
        | CookieEchoed(cookie, timer, _) -> CookieEchoed(cookie, timer, a)
        | Established _ -> Established a
        | ShutdownPending _ -> ShutdownPending a
        | ShutdownSent(timer, _) -> ShutdownSent(timer, a)
        | ShutdownReceived _ -> ShutdownReceived a
        | ShutdownAckSent(timer, _) -> ShutdownAckSent(timer, a)
        | Closed
        | CookieWait _
        | Ended _ -> phase

    let deadline (state: State) : Instant =
        match state.Phase with
        | Closed
        | Ended _ -> Instant.never
        | CookieWait timer
        | CookieEchoed(_, timer, _) -> timer.At
        | Established a
        | ShutdownPending a
        | ShutdownReceived a -> Association.deadline a
        | ShutdownSent(timer, a)
        | ShutdownAckSent(timer, a) -> Instant.min timer.At (Association.deadline a)

    let private ignored (drop: Drop) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        outputs.Add(SctpOutput.Ignored drop)
        state

    /// The tag that packets to us carry.
    let private ownTag (state: State) : uint32 =
        match state.Phase, association state with
        | Ended tag, _ -> tag
        | _, ValueSome a -> a.Link.OwnTag
        | _ -> state.Own.Tag

    let private ended (state: State) : State =
        { state with
            Phase = Ended(ownTag state)
            Streams = Streams.empty }

    let private failed
        (reason: string)
        (cause: uint16 voption)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        =
        outputs.Add(
            SctpOutput.Failed
                { Fault.create Layer.Sctp ErrorDetail.SctpFailure reason with
                    SctpCauseCode = cause }
        )

        ended state

    /// The peer broke the rules: it is told so, and that is the end, RFC 9260 §3.3.10.13.
    let private violated (cause: Tlv) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        match association state with
        | ValueSome a -> Association.reply [ Abort(false, [ cause ]) ] &outputs a
        | ValueNone -> ()

        failed "The peer violated the protocol." (ValueSome cause.Kind) &outputs state

    /// Data may flow: the application is told, and what waited goes.
    let private establish (now: Instant) (a: Association) (outputs: byref<ListCollector<SctpOutput>>) (state: State) =
        outputs.Add(SctpOutput.Established(a.Link.OutboundStreams, a.Link.InboundStreams))

        let struct (streams, a) =
            if state.Wanted.IsEmpty then
                struct (state.Streams, a)
            else
                Association.reset now (List.toArray state.Wanted) &outputs state.Streams a

        { state with
            Phase =
                Established(
                    if Streams.hasMore streams then
                        Association.flushSoon now a
                    else
                        a
                )
            Streams = streams
            Wanted = [] }

    /// Goes on with a shutdown once all has been sent and acknowledged, RFC 9260 §9.2.
    let private settle (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        match state.Phase with
        | ShutdownPending a when Association.isDrained state.Streams a ->
            Association.reply [ Shutdown(Tsn.wrap a.Receiving.Cumulative) ] &outputs a

            { state with
                Phase = ShutdownSent(startTimer now a.Sending.Trip.Timeout, a) }
        | ShutdownReceived a when Association.isDrained state.Streams a ->
            Association.reply [ ShutdownAck ] &outputs a

            { state with
                Phase = ShutdownAckSent(startTimer now a.Sending.Trip.Timeout, a) }
        | _ -> state

    // ---- Packets ----

    let private onInit (now: Instant) (init: Init) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        let own = state.Own

        match state.Phase with
        // Nothing is kept of it; and a collision is answered with what our own INIT said, §5.2.1.
        | Closed
        | CookieWait _ ->
            Handshake.initAck now own own.Tag own.InitialTsn 0UL init &outputs
            state
        | CookieEchoed(_, _, a) ->
            Handshake.initAck now own own.Tag own.InitialTsn a.Link.TieTag init &outputs
            state
        // Our SHUTDOWN ACK was answered and the answer was lost, §9.2.
        | ShutdownAckSent(_, a) ->
            Association.reply [ ShutdownAck ] &outputs a
            state
        // A restart, or an old packet: its cookie will tell, §5.2.2.
        | Established a
        | ShutdownPending a
        | ShutdownSent(_, a)
        | ShutdownReceived a ->
            let struct (tag, tsn, own) = Handshake.renewed own
            Handshake.initAck now own tag tsn a.Link.TieTag init &outputs
            { state with Own = own }
        | Ended _ -> ignored Drop.Stale &outputs state

    let private onInitAck
        (now: Instant)
        (init: Init)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        : State =
        match state.Phase with
        | CookieWait _ ->
            match Handshake.acknowledged init with
            | ValueSome(struct (peer, cookie, report)) ->
                let own = state.Own

                let a =
                    Association.create now own.Config own.Tag own.InitialTsn (Handshake.tieTag own.Tag peer.Tag) peer

                Association.reply (CookieEcho(ReadOnlyMemory cookie) :: report) &outputs a

                { state with
                    Phase = CookieEchoed(cookie, startTimer now own.Config.Times.RtoInitial, a) }
            | ValueNone -> ignored Drop.Malformed &outputs state
        // An answer to an INIT that came twice, §5.2.3.
        | _ -> ignored Drop.Unexpected &outputs state

    let private ofCookie (now: Instant) (cookie: Cookie) (state: State) : Association =
        Association.create
            now
            state.Own.Config
            cookie.OwnTag
            cookie.OwnInitialTsn
            (Handshake.tieTag cookie.OwnTag cookie.Peer.Tag)
            cookie.Peer

    /// A genuine cookie in time, RFC 9260 §5.2.4 table 12, actions A to D.
    let private onCookie (now: Instant) (cookie: Cookie) (outputs: byref<ListCollector<SctpOutput>>) (state: State) =
        match state.Phase, association state with
        | Ended _, _ -> ignored Drop.Stale &outputs state
        // §5.1.5; and B where the peer's tag is not known yet.
        | (Closed | CookieWait _), _ ->
            let a = ofCookie now cookie state
            Association.reply [ CookieAck ] &outputs a
            establish now a &outputs state
        | _, ValueNone -> ignored Drop.Unexpected &outputs state
        | phase, ValueSome a ->
            let isOwn = cookie.OwnTag = a.Link.OwnTag
            let isPeers = cookie.Peer.Tag = a.Link.Peer.Tag

            match phase with
            // D: our COOKIE ECHO crossed the peer's, or our COOKIE ACK was lost.
            | CookieEchoed _ when isOwn && isPeers ->
                Association.reply [ CookieAck ] &outputs a
                establish now a &outputs state
            | _ when isOwn && isPeers ->
                Association.reply [ CookieAck ] &outputs a
                state
            // B: the peer began anew after it had answered our INIT.
            | CookieEchoed _ when isOwn ->
                let a = ofCookie now cookie state
                Association.reply [ CookieAck ] &outputs a
                establish now a &outputs state
            // A: the peer has restarted. §5.2.4 forbids it to succeed while we shut down.
            | ShutdownAckSent _ when cookie.TieTag = a.Link.TieTag ->
                let cause = Tlv.ofBytes Cause.CookieWhileShuttingDown (Array.Empty())
                Association.reply [ ShutdownAck; Error [ cause ] ] &outputs a
                state
            | _ when not isOwn && not isPeers && cookie.TieTag = a.Link.TieTag ->
                let closing = Reset.streams a.Reset
                let a = ofCookie now cookie state
                Association.reply [ CookieAck ] &outputs a

                if closing.Length > 0 then
                    outputs.Add(SctpOutput.OutgoingReset(closing, true))

                establish
                    now
                    a
                    &outputs
                    { state with
                        Streams = Streams.restart state.Streams }
            // C, and whatever the table does not have.
            | _ -> ignored Drop.Stale &outputs state

    let private onCookieEcho
        (now: Instant)
        (tag: uint32)
        (bytes: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        : State =
        match Cookie.read state.Own.Config.Ciphers state.Own.CookieKey bytes.Span with
        | ValueSome cookie when cookie.OwnTag = tag ->
            let isCurrent =
                match association state with
                | ValueSome a -> cookie.OwnTag = a.Link.OwnTag && cookie.Peer.Tag = a.Link.Peer.Tag
                | ValueNone -> false

            let late = now - cookie.CreatedAt - state.Own.Config.Times.CookieLifetime

            if late > 0L<us> && not isCurrent then
                let staleness = uint32 (min (int64 UInt32.MaxValue) (int64 late))
                outputs.Add(Handshake.packet state.Own.Config cookie.Peer.Tag [ Error [ Cause.staleCookie staleness ] ])
                ignored Drop.Stale &outputs state
            else
                onCookie now cookie &outputs state
        | _ -> ignored Drop.Unauthentic &outputs state

    /// SHUTDOWN, RFC 9260 §9.2.
    let private onShutdown
        (now: Instant)
        (tsn: Tsn)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        : State =
        match state.Phase with
        | Established a
        | ShutdownPending a
        | ShutdownReceived a ->
            let struct (streams, a) =
                Association.acknowledgedTo now tsn &outputs state.Streams a

            settle
                now
                &outputs
                { state with
                    Phase = ShutdownReceived a
                    Streams = streams }
        // Both at once.
        | ShutdownSent(_, a) ->
            Association.reply [ ShutdownAck ] &outputs a

            { state with
                Phase = ShutdownAckSent(startTimer now a.Sending.Trip.Timeout, a) }
        | ShutdownAckSent(_, a) ->
            Association.reply [ ShutdownAck ] &outputs a
            state
        | Closed
        | CookieWait _
        | CookieEchoed _
        | Ended _ -> ignored Drop.Unexpected &outputs state

    let private onShutdownAck (tag: uint32) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        match state.Phase with
        | ShutdownSent(_, a)
        | ShutdownAckSent(_, a) ->
            Association.reply [ ShutdownComplete false ] &outputs a
            outputs.Add SctpOutput.Closed
            ended state
        // Of an association that we have forgotten: its tag is reflected, §8.4 rule 5, §8.5.1 E.
        | Closed
        | CookieWait _
        | CookieEchoed _
        | Ended _ ->
            outputs.Add(Handshake.packet state.Own.Config tag [ ShutdownComplete true ])
            ignored Drop.Unexpected &outputs state
        | Established _
        | ShutdownPending _
        | ShutdownReceived _ -> ignored Drop.Unexpected &outputs state

    let private onError (now: Instant) (causes: Tlv list) (outputs: byref<ListCollector<SctpOutput>>) (state: State) =
        match state.Phase with
        // Begin anew, §5.2.6 alternative 1.
        | CookieEchoed _ when causes |> List.exists (fun c -> c.Kind = Cause.StaleCookie) ->
            outputs.Add(Handshake.init state.Own)

            { state with
                Phase = CookieWait(startTimer now state.Own.Config.Times.RtoInitial) }
        | _ -> ignored Drop.Unexpected &outputs state

    /// A control chunk in a packet whose tag is ours.
    let private onControl
        (now: Instant)
        (tag: uint32)
        (chunk: Chunk)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        : State =
        match chunk, state.Phase with
        | InitAck init, _ -> onInitAck now init &outputs state
        | CookieAck, CookieEchoed(_, _, a) -> establish now a &outputs state
        | Abort(_, causes),
          (CookieWait _ | CookieEchoed _ | Established _ | ShutdownPending _ | ShutdownSent _ | ShutdownReceived _ | ShutdownAckSent _) ->
            let code =
                match causes with
                | [] -> ValueNone
                | cause :: _ -> ValueSome cause.Kind

            failed (Cause.describe causes) code &outputs state
        | Shutdown tsn, _ -> onShutdown now tsn &outputs state
        | ShutdownAck, _ -> onShutdownAck tag &outputs state
        | ShutdownComplete _, ShutdownAckSent _ ->
            outputs.Add SctpOutput.Closed
            ended state
        | Error causes, _ -> onError now causes &outputs state
        | Sack sack, (Established a | ShutdownPending a | ShutdownReceived a) ->
            let struct (streams, a) = Association.sacked now sack &outputs state.Streams a

            { state with
                Phase = withAssociation a state.Phase
                Streams = streams }
        | Heartbeat information,
          (CookieEchoed(_, _, a) | Established a | ShutdownPending a | ShutdownSent(_, a) | ShutdownReceived a) ->
            if information.Length + Chunk.HeaderSize <= a.Link.Segment then
                Association.reply [ HeartbeatAck(ReadOnlyMemory(information.ToArray())) ] &outputs a
                state
            else
                ignored Drop.TooMany &outputs state
        | HeartbeatAck information, (Established a | ShutdownPending a | ShutdownReceived a) ->
            match Association.heartbeatAck now information a with
            | ValueSome a ->
                { state with
                    Phase = withAssociation a state.Phase }
            | ValueNone -> ignored Drop.Unauthentic &outputs state
        | Reconfig parameters, (Established a | ShutdownPending a | ShutdownReceived a) ->
            let struct (streams, a) =
                Association.reconfigured now parameters &outputs state.Streams a

            { state with
                Phase = withAssociation a state.Phase
                Streams = streams }
        | ForwardTsn(tsn, skipped), (Established a | ShutdownPending a | ShutdownSent(_, a)) ->
            let a = Association.forwarded tsn skipped &outputs a

            { state with
                Phase = withAssociation (Association.arrived now true &outputs a) state.Phase }
        | Unknown _, _ -> ignored Drop.Unsupported &outputs state
        | _ -> ignored Drop.Unexpected &outputs state

    /// Octets of an unknown chunk that are told to its sender, RFC 9260 §3.3.10.6.
    [<Literal>]
    let private MaxReport = 128

    /// An unknown chunk: its two highest bits say whether to report it and whether to go on, RFC 9260 §3.2.
    let private onUnknown
        (kind: byte)
        (whole: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        =
        match association state with
        | ValueSome a when kind &&& 0x40uy <> 0uy ->
            let report = whole.Slice(0, min whole.Length MaxReport).ToArray()
            Association.reply [ Error [ Tlv.ofBytes Cause.UnrecognizedChunkType report ] ] &outputs a
        | _ -> ()

        ignored Drop.Unsupported &outputs state

    /// What a packet with DATA calls for once it has been taken in.
    let private onArrival (now: Instant) (urgent: bool) (outputs: byref<ListCollector<SctpOutput>>) (state: State) =
        match state.Phase with
        // Answered with SHUTDOWN and SACK, §9.2.
        | ShutdownSent(timer, a) ->
            let a = Association.arrived now true &outputs a
            Association.reply [ Shutdown(Tsn.wrap a.Receiving.Cumulative) ] &outputs a

            { state with
                Phase =
                    ShutdownSent(
                        { timer with
                            At = now + timer.Timeout
                            Attempts = 0 },
                        a
                    ) }
        | Established a ->
            { state with
                Phase = Established(Association.arrived now urgent &outputs a) }
        | ShutdownPending a ->
            { state with
                Phase = ShutdownPending(Association.arrived now urgent &outputs a) }
        | _ -> state

    /// All chunks of a packet whose tag is ours, in order, RFC 9260 §6.10.
    let private onChunks
        (now: Instant)
        (tag: uint32)
        (chunks: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        : State =
        let mutable state = state
        let mutable rest = chunks
        let mutable hasData = false
        let mutable urgent = false
        let mutable reported = false
        let mutable going = true

        while going do
            match SctpPacket.nextChunk &rest with
            | ValueNone -> going <- false
            | ValueSome whole when whole.Span[0] = Kind.Data ->
                match state.Phase with
                | Established a
                | ShutdownPending a
                | ShutdownSent(_, a) ->
                    let mutable violation = ValueNone

                    let a = Association.data whole &rest &urgent &violation &outputs a

                    hasData <- true

                    state <-
                        { state with
                            Phase = withAssociation a state.Phase }

                    match violation with
                    | ValueSome cause ->
                        state <- violated cause &outputs state
                        hasData <- false
                        going <- false
                    | ValueNone -> ()
                | _ -> state <- ignored Drop.Unexpected &outputs state
            | ValueSome whole ->
                match Chunk.read whole with
                | ValueNone -> state <- ignored Drop.Malformed &outputs state
                | ValueSome(Unknown(kind, whole)) ->
                    // One report a packet.
                    if reported then
                        state <- ignored Drop.Unsupported &outputs state
                    else
                        state <- onUnknown kind whole &outputs state

                    reported <- true
                    going <- kind &&& 0x80uy <> 0uy
                // Neither is ever bundled, §6.10; a COOKIE ECHO comes first, and was seen to before.
                | ValueSome(Init _)
                | ValueSome(CookieEcho _) -> state <- ignored Drop.Unexpected &outputs state
                | ValueSome chunk -> state <- onControl now tag chunk &outputs state

            going <- going && not state.Phase.IsEnded

        let state =
            if hasData then
                onArrival now urgent &outputs state
            else
                state

        settle now &outputs state

    /// Whether a packet that begins with ABORT or SHUTDOWN COMPLETE is from our peer, RFC 9260 §8.5.1 B and C.
    let private isReflected (tag: uint32) (flags: byte) (state: State) : bool =
        match association state with
        | ValueSome a -> flags &&& 1uy <> 0uy && tag = a.Link.Peer.Tag
        | ValueNone -> false

    let private received
        (now: Instant)
        (bytes: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        =
        let span = bytes.Span
        let config = state.Own.Config

        if span.Length < SctpPacket.HeaderSize + Chunk.HeaderSize then
            ignored Drop.Malformed &outputs state
        elif not (SctpPacket.isIntact span) then
            ignored Drop.Unauthentic &outputs state
        elif
            BinaryPrimitives.ReadUInt16BigEndian span <> config.RemotePort
            || BinaryPrimitives.ReadUInt16BigEndian(span.Slice 2) <> config.LocalPort
        then
            ignored Drop.Unexpected &outputs state
        else
            let tag = BinaryPrimitives.ReadUInt32BigEndian(span.Slice 4)
            let kind = span[SctpPacket.HeaderSize]
            let flags = span[SctpPacket.HeaderSize + 1]
            let mutable rest = bytes.Slice SctpPacket.HeaderSize

            match kind with
            // Alone in its packet, whose tag is 0, §8.5.1 A.
            | Kind.Init ->
                match SctpPacket.nextChunk &rest with
                | ValueSome whole when tag = 0u && rest.IsEmpty ->
                    match Chunk.read whole with
                    | ValueSome(Init init) -> onInit now init &outputs state
                    | _ -> ignored Drop.Malformed &outputs state
                | _ -> ignored Drop.Malformed &outputs state
            // Its tag is that of the cookie, §5.1.5; what follows it is of the association that it makes.
            | Kind.CookieEcho ->
                match SctpPacket.nextChunk &rest with
                | ValueSome whole ->
                    let state = onCookieEcho now tag (whole.Slice Chunk.HeaderSize) &outputs state

                    if rest.IsEmpty || ownTag state <> tag then
                        state
                    else
                        onChunks now tag rest &outputs state
                | ValueNone -> ignored Drop.Malformed &outputs state
            | Kind.Abort
            | Kind.ShutdownComplete when (tag = ownTag state && flags &&& 1uy = 0uy) || isReflected tag flags state ->
                onChunks now tag rest &outputs state
            | Kind.Abort
            | Kind.ShutdownComplete -> ignored Drop.Unauthentic &outputs state
            | _ when tag <> ownTag state -> ignored Drop.Unauthentic &outputs state
            | _ -> onChunks now tag rest &outputs state

    // ---- Ticks ----

    let private unreachable (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        failed "The peer does not answer." ValueNone &outputs state

    /// T1 or T2 expired; `chunks` are sent again.
    let private again
        (now: Instant)
        (limit: int)
        (timer: Timer)
        (packet: SctpOutput)
        (phase: Timer -> Phase)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        : State =
        if timer.Attempts >= limit then
            unreachable &outputs state
        else
            outputs.Add packet

            { state with
                Phase = phase (restarted now state.Own.Config.Times.RtoMax timer) }

    let private tickAssociation
        (now: Instant)
        (a: Association)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        =
        if Association.deadline a > now then
            state
        else
            match Association.tick now &outputs state.Streams a with
            | ValueSome(struct (streams, a)) ->
                settle
                    now
                    &outputs
                    { state with
                        Phase = withAssociation a state.Phase
                        Streams = streams }
            | ValueNone -> unreachable &outputs state

    let private tick (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        let limits = state.Own.Config.Limits

        match state.Phase with
        | CookieWait timer ->
            again now limits.MaxInitRetransmits timer (Handshake.init state.Own) CookieWait &outputs state
        | CookieEchoed(cookie, timer, a) ->
            let echo = Link.packet [ CookieEcho(ReadOnlyMemory cookie) ] (Array.Empty()) a.Link
            again now limits.MaxInitRetransmits timer echo (fun t -> CookieEchoed(cookie, t, a)) &outputs state
        | Established a
        | ShutdownPending a
        | ShutdownReceived a -> tickAssociation now a &outputs state
        | ShutdownSent(timer, a) when timer.At <= now ->
            let packet =
                Link.packet [ Shutdown(Tsn.wrap a.Receiving.Cumulative) ] (Array.Empty()) a.Link

            again now limits.MaxRetransmissions timer packet (fun t -> ShutdownSent(t, a)) &outputs state
        | ShutdownAckSent(timer, a) when timer.At <= now ->
            let packet = Link.packet [ ShutdownAck ] (Array.Empty()) a.Link
            again now limits.MaxRetransmissions timer packet (fun t -> ShutdownAckSent(t, a)) &outputs state
        | ShutdownSent(_, a)
        | ShutdownAckSent(_, a) -> tickAssociation now a &outputs state
        | Closed
        | Ended _ -> state

    // ---- The application ----

    let private toMessage (now: Instant) (message: OutgoingMessage) : Message =
        { Stream = message.Stream
          Ppid = message.Ppid
          Ordered = message.Ordered
          ExpiresAt =
            match message.Reliability with
            | MaxLifetime lifetime -> Instant.add lifetime now
            | Reliable
            | MaxRetransmits _ -> Instant.never
          MaxRetransmits =
            match message.Reliability with
            | MaxRetransmits times -> max 0 times
            | Reliable
            | MaxLifetime _ -> Int32.MaxValue
          Payload = message.Payload }

    let private send
        (now: Instant)
        (message: OutgoingMessage)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: State)
        =
        match state.Phase with
        | _ when message.Payload.IsEmpty -> ignored Drop.Malformed &outputs state
        | Closed
        | CookieWait _
        | CookieEchoed _ ->
            { state with
                Streams = Streams.enqueue (toMessage now message) state.Streams }
        | Established a ->
            let flushing = Association.flushSoon now a

            { state with
                Phase =
                    if Object.ReferenceEquals(flushing, a) then
                        state.Phase
                    else
                        Established flushing
                Streams = Streams.enqueue (toMessage now message) state.Streams }
        // No new data once shutdown has begun, §9.2.
        | ShutdownPending _
        | ShutdownSent _
        | ShutdownReceived _
        | ShutdownAckSent _
        | Ended _ -> ignored Drop.Unexpected &outputs state

    let private reset (now: Instant) (wanted: uint16[]) (outputs: byref<ListCollector<SctpOutput>>) (state: State) =
        let closed (streams: Streams) =
            Array.fold (fun streams stream -> Streams.close stream streams) streams wanted

        match state.Phase with
        | Closed
        | CookieWait _
        | CookieEchoed _ ->
            { state with
                Streams = closed state.Streams
                Wanted = state.Wanted @ List.ofArray wanted }
        | Established a ->
            let struct (streams, a) =
                Association.reset now wanted &outputs (closed state.Streams) a

            { state with
                Phase = Established a
                Streams = streams }
        | ShutdownPending _
        | ShutdownSent _
        | ShutdownReceived _
        | ShutdownAckSent _
        | Ended _ -> ignored Drop.Unexpected &outputs state

    let private shutdown (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        match state.Phase with
        | Established a -> settle now &outputs { state with Phase = ShutdownPending a }
        // Nothing to take leave of.
        | Closed
        | CookieWait _
        | CookieEchoed _ ->
            outputs.Add SctpOutput.Closed
            ended state
        | ShutdownPending _
        | ShutdownSent _
        | ShutdownReceived _
        | ShutdownAckSent _
        | Ended _ -> ignored Drop.Unexpected &outputs state

    let private abort (reason: string) (outputs: byref<ListCollector<SctpOutput>>) (state: State) : State =
        if state.Phase.IsEnded then
            ignored Drop.Unexpected &outputs state
        else
            match association state with
            | ValueSome a -> Association.reply [ Abort(false, [ Cause.userInitiatedAbort reason ]) ] &outputs a
            | ValueNone -> ()

            outputs.Add SctpOutput.Closed
            ended state

    let step (now: Instant) (input: SctpInput) (state: State) : Step<State, SctpOutput> =
        let mutable outputs = ListCollector<SctpOutput>()

        let next =
            match input with
            | SctpInput.Tick when now < deadline state -> state
            | SctpInput.Tick -> tick now &outputs state
            | SctpInput.Received packet -> received now packet &outputs state
            | SctpInput.Send message -> send now message &outputs state
            | SctpInput.Consumed bytes ->
                match association state with
                | ValueSome a ->
                    let receiving = Receiving.consumed state.Own.Config now bytes a.Receiving

                    { state with
                        Phase = withAssociation { a with Receiving = receiving } state.Phase }
                | ValueNone -> state
            | SctpInput.Reset streams -> reset now streams &outputs state
            | SctpInput.Connect when state.Phase.IsClosed ->
                outputs.Add(Handshake.init state.Own)

                { state with
                    Phase = CookieWait(startTimer now state.Own.Config.Times.RtoInitial) }
            | SctpInput.Connect -> ignored Drop.Unexpected &outputs state
            | SctpInput.Shutdown -> shutdown now &outputs state
            | SctpInput.Abort reason -> abort reason &outputs state

        struct (next, outputs.Close())

    // ---- Views ----

    let state (state: State) : SctpState =
        match state.Phase with
        | Closed -> SctpState.Closed
        | CookieWait _ -> SctpState.CookieWait
        | CookieEchoed _ -> SctpState.CookieEchoed
        | Established _ -> SctpState.Established
        | ShutdownPending _ -> SctpState.ShutdownPending
        | ShutdownSent _ -> SctpState.ShutdownSent
        | ShutdownReceived _ -> SctpState.ShutdownReceived
        | ShutdownAckSent _ -> SctpState.ShutdownAckSent
        | Ended _ -> SctpState.Ended

    let bufferedAmount (state: State) : int64 = state.Streams.Buffered

    let bufferedAmountOf (stream: uint16) (state: State) : int64 = Streams.buffered stream state.Streams

    let outboundStreams (state: State) : int voption =
        association state |> ValueOption.map (fun a -> a.Link.OutboundStreams)

    let mtu (state: State) : int = state.Own.Config.Mtu

    let figures (state: State) : SctpFigures voption =
        match association state with
        | ValueNone -> ValueNone
        | ValueSome a ->
            ValueSome
                { SmoothedRoundTripTime = a.Sending.Trip.Smoothed
                  CongestionWindow = Congestion.window a.Sending.Congestion
                  PeerReceiverWindow = int (max 0L (min (int64 Int32.MaxValue) a.Sending.Window))
                  FlightSize = a.Sending.Outstanding.FlightSize
                  Retransmissions = a.Sending.Repair.Resent
                  ReceiverWindow = int (Receiving.window a.Link.Config a.Receiving) }
