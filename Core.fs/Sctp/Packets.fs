namespace Hybrid.WebRtc.Core.Association

open System
open System.Buffers.Binary
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Association.Endpoint

/// What each packet of the peer does, RFC 9260 §5, §8.4, §8.5, §9.
[<RequireQualifiedAccess>]
module internal Packets =
    let private onInit
        (now: Instant)
        (init: Init)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        : SctpAssociation =
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
        (state: SctpAssociation)
        : SctpAssociation =
        match state.Phase with
        | CookieWait timer ->
            match Handshake.acknowledged state.Own.Config init with
            | ValueSome(struct (peer, cookie, report)) ->
                let own = state.Own

                let a =
                    Association.create
                        now
                        own.Config
                        own.Tag
                        own.InitialTsn
                        (Handshake.tieTag own.Tag peer.Tag)
                        own.Config.ZeroChecksum
                        peer

                // Karn's algorithm: an INIT that was sent once tells the round trip.
                let a =
                    if timer.Attempts = 0 then
                        Association.measured (now - (timer.At - timer.Timeout)) a
                    else
                        a

                Association.reply (CookieEcho(ReadOnlyMemory cookie) :: report) &outputs a

                { state with
                    Phase = CookieEchoed(cookie, startTimer now own.Config.Times.RtoInitial, a) }
            | ValueNone -> ignored Drop.Malformed &outputs state
        // An answer to an INIT that came twice, §5.2.3.
        | _ -> ignored Drop.Unexpected &outputs state

    let private ofCookie (now: Instant) (cookie: Cookie) (state: SctpAssociation) : Association =
        Association.create
            now
            state.Own.Config
            cookie.OwnTag
            cookie.OwnInitialTsn
            (Handshake.tieTag cookie.OwnTag cookie.Peer.Tag)
            // Our INIT offered it, or our INIT ACK.
            (state.Own.Config.ZeroChecksum
             && (cookie.Peer.ZeroChecksum
                 || state.Phase.IsCookieWait
                 || state.Phase.IsCookieEchoed))
            cookie.Peer

    /// A genuine cookie in time, RFC 9260 §5.2.4 table 12, actions A to D.
    let private onCookie
        (now: Instant)
        (cookie: Cookie)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        =
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
        (state: SctpAssociation)
        : SctpAssociation =
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
        (state: SctpAssociation)
        : SctpAssociation =
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

    let private onShutdownAck
        (tag: uint32)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        : SctpAssociation =
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

    let private onError
        (now: Instant)
        (causes: Tlv list)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        =
        match state.Phase with
        // Begin anew, §5.2.6 alternative 1.
        | CookieEchoed _ when causes |> List.exists (fun c -> c.Kind = Cause.StaleCookie) ->
            outputs.Add(Handshake.init false state.Own)

            { state with
                Phase = CookieWait(startTimer now state.Own.Config.Times.RtoInitial) }
        | _ -> ignored Drop.Unexpected &outputs state

    /// A control chunk in a packet whose tag is ours.
    let private onControl
        (now: Instant)
        (tag: uint32)
        (chunk: Chunk)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        : SctpAssociation =
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
        | ForwardTsn _, (Established a | ShutdownPending a | ShutdownSent(_, a)) when a.Link.Interleaves ->
            violated (Cause.protocolViolation "FORWARD TSN, where I-DATA was agreed on.") &outputs state
        | IForwardTsn _, (Established a | ShutdownPending a | ShutdownSent(_, a)) when not a.Link.Interleaves ->
            violated (Cause.protocolViolation "I-FORWARD-TSN, where I-DATA was not agreed on.") &outputs state
        | (ForwardTsn(tsn, skipped) | IForwardTsn(tsn, skipped)),
          (Established a | ShutdownPending a | ShutdownSent(_, a)) ->
            let a = Association.forwarded now tsn skipped &outputs a

            { state with
                Phase = withAssociation a state.Phase }
        | Pad _, _ -> state
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
        (state: SctpAssociation)
        =
        match association state with
        | ValueSome a when kind &&& 0x40uy <> 0uy ->
            let report = whole.Slice(0, min whole.Length MaxReport).ToArray()
            Association.reply [ Error [ Tlv.ofBytes Cause.UnrecognizedChunkType report ] ] &outputs a
        | _ -> ()

        ignored Drop.Unsupported &outputs state

    /// DATA while we shut down is answered with SHUTDOWN, beside the SACK, RFC 9260 §9.2.
    let private remind (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: SctpAssociation) =
        match state.Phase with
        | ShutdownSent(timer, a) ->
            Association.reply [ Shutdown(Tsn.wrap a.Receiving.Cumulative) ] &outputs a

            { state with
                Phase =
                    ShutdownSent(
                        { timer with
                            At = now + timer.Timeout
                            Attempts = 0 },
                        a
                    ) }
        | _ -> state

    /// All chunks of a packet whose tag is ours, in order, RFC 9260 §6.10.
    let private onChunks
        (now: Instant)
        (tag: uint32)
        (chunks: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        : SctpAssociation =
        let mutable state = state
        let mutable rest = chunks
        let mutable hasData = false
        let mutable reported = false
        let mutable going = true

        while going do
            match SctpPacket.nextChunk &rest with
            | ValueNone -> going <- false
            | ValueSome whole when whole.Span[0] = Kind.Data || whole.Span[0] = Kind.IData ->
                match state.Phase with
                | Established a
                | ShutdownPending a
                | ShutdownSent(_, a) ->
                    let mutable violation = ValueNone

                    let urgent = state.Phase.IsShutdownSent
                    let a = Association.data now whole &rest urgent &violation &outputs a

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

        let state = if hasData then remind now &outputs state else state

        settle now &outputs state

    /// Whether a packet that begins with ABORT or SHUTDOWN COMPLETE is from our peer, RFC 9260 §8.5.1 B and C.
    let private isReflected (tag: uint32) (flags: byte) (state: SctpAssociation) : bool =
        match association state with
        | ValueSome a -> flags &&& 1uy <> 0uy && tag = a.Link.Peer.Tag
        | ValueNone -> false

    /// Whether a packet is right in having no checksum: we said in INIT or INIT ACK that DTLS makes up for it, RFC 9653
    /// §5.3; and it is none that always has one, §5.2.
    let private isUnchecked (bytes: ReadOnlySpan<byte>) (state: SctpAssociation) : bool =
        SctpPacket.isUnchecked bytes
        && (match association state with
            | ValueSome a -> a.Link.Unchecked
            | ValueNone -> state.Own.Config.ZeroChecksum && state.Phase.IsCookieWait)
        && bytes[SctpPacket.HeaderSize] <> Kind.Init
        && bytes[SctpPacket.HeaderSize] <> Kind.CookieEcho

    /// A packet, lent: whether it is the peer's, and then what its chunks say.
    let received
        (now: Instant)
        (bytes: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        =
        let span = bytes.Span
        let config = state.Own.Config

        if span.Length < SctpPacket.HeaderSize + Chunk.HeaderSize then
            ignored Drop.Malformed &outputs state
        elif not (isUnchecked span state || SctpPacket.isIntact span) then
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
