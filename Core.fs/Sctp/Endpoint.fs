namespace Hybrid.WebRtc.Core.Association

open Hybrid.WebRtc.Core

/// T1 or T2: doubled with each attempt up to RTO.Max.
[<NoComparison; NoEquality>]
type internal Timer =
    { At: Instant
      Timeout: Duration
      Attempts: int }

/// RFC 9260 §4, each with what it knows.
[<NoComparison; NoEquality>]
type internal Phase =
    | Closed
    | CookieWait of t1: Timer
    | CookieEchoed of cookie: byte[] * t1: Timer * Association
    | Established of Association
    | ShutdownPending of Association
    | ShutdownSent of t2: Timer * Association
    | ShutdownReceived of Association
    | ShutdownAckSent of t2: Timer * Association
    | Ended of ownTag: uint32


namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Core.Association

/// One end of an association between two steps: `Sctp` has its functions.
[<NoComparison; NoEquality>]
type SctpAssociation =
    internal
        {
            Own: Own
            Phase: Phase
            /// What is not yet sent; from the beginning, for what is sent before there is an association.
            Streams: Streams
            /// Resets asked for before there is an association.
            Wanted: uint16 list
        }

namespace Hybrid.WebRtc.Core.Association

open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// Steps from one phase to another, which packets, ticks and the application share.
module internal Endpoint =
    let startTimer (now: Instant) (timeout: Duration) : Timer =
        { At = now + timeout
          Timeout = timeout
          Attempts = 0 }

    let restarted (now: Instant) (limit: Duration) (timer: Timer) : Timer =
        let timeout = min limit (2L * timer.Timeout)

        { At = now + timeout
          Timeout = timeout
          Attempts = timer.Attempts + 1 }

    /// The association, where there is one.
    let association (state: SctpAssociation) : Association voption =
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
    let withAssociation (a: Association) (phase: Phase) : Phase =
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

    let ignored (drop: Drop) (outputs: byref<ListCollector<SctpOutput>>) (state: SctpAssociation) : SctpAssociation =
        outputs.Add(SctpOutput.Ignored drop)
        state

    /// The tag that packets to us carry.
    let ownTag (state: SctpAssociation) : uint32 =
        match state.Phase, association state with
        | Ended tag, _ -> tag
        | _, ValueSome a -> a.Link.OwnTag
        | _ -> state.Own.Tag

    let ended (state: SctpAssociation) : SctpAssociation =
        { state with
            Phase = Ended(ownTag state)
            Streams = Streams.empty }

    let failed
        (reason: string)
        (cause: uint16 voption)
        (outputs: byref<ListCollector<SctpOutput>>)
        (state: SctpAssociation)
        =
        outputs.Add(
            SctpOutput.Failed
                { Fault.create Layer.Sctp ErrorDetail.SctpFailure reason with
                    SctpCauseCode = cause }
        )

        ended state

    /// The peer broke the rules: it is told so, and that is the end, RFC 9260 §3.3.10.13.
    let violated (cause: Tlv) (outputs: byref<ListCollector<SctpOutput>>) (state: SctpAssociation) : SctpAssociation =
        match association state with
        | ValueSome a -> Association.reply [ Abort(false, [ cause ]) ] &outputs a
        | ValueNone -> ()

        failed "The peer violated the protocol." (ValueSome cause.Kind) &outputs state

    /// Data may flow: the application is told, and what waited goes.
    let establish (now: Instant) (a: Association) (outputs: byref<ListCollector<SctpOutput>>) (state: SctpAssociation) =
        outputs.Add(SctpOutput.Established(a.Link.OutboundStreams, a.Link.InboundStreams))

        let streams =
            Streams.interleaving a.Link.Interleaves a.Link.Peer.Window state.Streams

        let struct (streams, a) =
            if state.Wanted.IsEmpty then
                struct (streams, a)
            else
                Association.reset now (List.toArray state.Wanted) &outputs streams a

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
    let settle (now: Instant) (outputs: byref<ListCollector<SctpOutput>>) (state: SctpAssociation) : SctpAssociation =
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
