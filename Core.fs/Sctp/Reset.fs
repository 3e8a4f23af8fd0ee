namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// A request of ours that awaits its response, RFC 6525 §5.1.1: one at a time.
[<NoComparison; NoEquality>]
type internal ResetRequest =
    {
        Number: uint32
        Streams: uint16[]
        /// The TSN before the next one, when the request was made.
        LastAssigned: Tsn
        /// When it is sent (again).
        At: Instant
        Timeout: Duration
        /// How often it was sent.
        Sends: int
        /// The peer said "in progress": what follows is no failure of the path, RFC 6525 §5.2.7 H2.
        InProgress: bool
    }

/// A request of the peer that waits for data to arrive, RFC 6525 §5.2.2 E2.
[<NoComparison; NoEquality>]
type internal DeferredReset =
    { Number: uint32
      Streams: uint16[]
      LastAssigned: Tsn }

/// Stream reset, both ways, RFC 6525.
///
///     ours:  wanted ──drained──▶ requested ──performed, denied──▶ over
///                                  └─ in progress, RTO ─▶ again
///     the peer's: received ──cumulative TSN reached──▶ performed
///                    └─ not yet ─▶ deferred ─┘
[<NoComparison; NoEquality>]
type internal Reset =
    {
        /// Streams to be reset once they are drained, oldest first.
        Wanted: uint16 list
        Request: ResetRequest voption
        /// Of our next request.
        NextNumber: uint32
        /// Of the peer's next request.
        Expected: uint32
        /// What we answered to the peer's last.
        LastResult: uint32
        Deferred: DeferredReset voption
    }

/// What became of a request of ours.
[<Struct; NoComparison; NoEquality>]
type internal ResetOutcome = { Streams: uint16[]; Performed: bool }

[<RequireQualifiedAccess>]
module internal Reset =
    /// Requests number from the initial TSN on, RFC 6525 §4.1.
    let create (ownInitialTsn: Tsn) (peerInitialTsn: Tsn) : Reset =
        { Wanted = []
          Request = ValueNone
          NextNumber = Tsn.value ownInitialTsn
          Expected = Tsn.value peerInitialTsn
          LastResult = Result.NothingToDo
          Deferred = ValueNone }

    /// All streams that are to be reset, or being so.
    let streams (reset: Reset) : uint16[] =
        match reset.Request with
        | ValueSome request -> Array.append request.Streams (List.toArray reset.Wanted)
        | ValueNone -> List.toArray reset.Wanted

    /// When a request is to be sent.
    let deadline (reset: Reset) : Instant =
        match reset.Request with
        | ValueSome request -> request.At
        | ValueNone -> Instant.never

    /// More streams to be reset.
    let want (streams: uint16[]) (reset: Reset) : Reset =
        { reset with
            Wanted =
                reset.Wanted
                @ (List.ofArray streams
                   |> List.filter (fun s -> not (List.contains s reset.Wanted))) }

    /// Makes a request for at most `limit` of the wanted streams that are drained, where none is under way.
    let request
        (now: Instant)
        (rto: Duration)
        (lastAssigned: Tsn)
        (limit: int)
        (drained: uint16 -> bool)
        (reset: Reset)
        =
        if reset.Request.IsSome || reset.Wanted.IsEmpty then
            reset
        else
            match reset.Wanted |> List.filter drained |> List.truncate limit with
            | [] -> reset
            | streams ->
                { reset with
                    Wanted = List.except streams reset.Wanted
                    NextNumber = reset.NextNumber + 1u
                    Request =
                        ValueSome
                            { Number = reset.NextNumber
                              Streams = List.toArray streams
                              LastAssigned = lastAssigned
                              At = now
                              Timeout = rto
                              Sends = 0
                              InProgress = false } }

    /// The chunk to be sent where the request is due, and what follows: the timer of RFC 6525 §5.1.1, doubled up to
    /// `limit`.
    let send (now: Instant) (limit: Duration) (reset: Reset) : struct (Chunk voption * Reset) =
        match reset.Request with
        | ValueSome request when request.At <= now ->
            let parameter =
                OutgoingSsnReset(request.Number, reset.Expected - 1u, request.LastAssigned, request.Streams)

            struct (ValueSome(Reconfig [ Reconfiguration.toTlv parameter ]),
                    { reset with
                        Request =
                            ValueSome
                                { request with
                                    At = now + request.Timeout
                                    Timeout = min limit (2L * request.Timeout)
                                    Sends = request.Sends + 1
                                    InProgress = false } })
        | _ -> struct (ValueNone, reset)

    /// Whether what `send` would send now was sent before, and nothing was heard of it: one error of the path.
    let isUnanswered (now: Instant) (reset: Reset) : bool =
        match reset.Request with
        | ValueSome request -> request.At <= now && request.Sends > 0 && not request.InProgress
        | ValueNone -> false

    /// The peer's answer, RFC 6525 §5.2.7.
    let answered
        (now: Instant)
        (number: uint32)
        (result: uint32)
        (reset: Reset)
        : struct (ResetOutcome voption * Reset) =
        match reset.Request with
        | ValueSome request when request.Number = number ->
            match result with
            | Result.InProgress
            | Result.AlreadyInProgress ->
                struct (ValueNone,
                        { reset with
                            Request =
                                ValueSome
                                    { request with
                                        At = now + request.Timeout
                                        InProgress = true } })
            | _ ->
                struct (ValueSome
                            { Streams = request.Streams
                              Performed = (result = Result.Performed || result = Result.NothingToDo) },
                        { reset with Request = ValueNone })
        // Not ours, or an answer that came twice.
        | _ -> struct (ValueNone, reset)

    /// A request of the peer to reset its streams, RFC 6525 §5.2.2. Answers the result, and the streams that are to be
    /// reset at once.
    let requested
        (cumulative: int64)
        (number: uint32)
        (lastAssigned: Tsn)
        (streams: uint16[])
        (reset: Reset)
        : struct (uint32 * uint16[] voption * Reset) =
        if number = reset.Expected - 1u then
            // The same again: our answer was lost, or has changed since.
            struct (reset.LastResult, ValueNone, reset)
        elif number <> reset.Expected then
            struct (Result.BadSequenceNumber, ValueNone, reset)
        elif reset.Deferred.IsSome then
            struct (Result.AlreadyInProgress, ValueNone, reset)
        elif Tsn.unwrap cumulative lastAssigned <= cumulative then
            struct (Result.Performed,
                    ValueSome streams,
                    { reset with
                        Expected = number + 1u
                        LastResult = Result.Performed })
        else
            struct (Result.InProgress,
                    ValueNone,
                    { reset with
                        Expected = number + 1u
                        LastResult = Result.InProgress
                        Deferred =
                            ValueSome
                                { Number = number
                                  Streams = streams
                                  LastAssigned = lastAssigned } })

    /// Any other request: denied, RFC 6525 §5.2.1 leaves that to us. Data channels use none of them.
    let denied (number: uint32) (reset: Reset) : struct (uint32 * Reset) =
        if number = reset.Expected - 1u then
            struct (reset.LastResult, reset)
        elif number <> reset.Expected then
            struct (Result.BadSequenceNumber, reset)
        else
            struct (Result.Denied,
                    { reset with
                        Expected = number + 1u
                        LastResult = Result.Denied })

    /// The deferred request whose data has now arrived, RFC 6525 §5.2.2 E2 to E5.
    let released (cumulative: int64) (reset: Reset) : struct (DeferredReset voption * Reset) =
        match reset.Deferred with
        | ValueSome deferred when Tsn.unwrap cumulative deferred.LastAssigned <= cumulative ->
            struct (ValueSome deferred,
                    { reset with
                        Deferred = ValueNone
                        LastResult = Result.Performed })
        | _ -> struct (ValueNone, reset)

    /// Whether a chunk has to wait for a deferred reset of its stream, RFC 6525 §5.2.2 E2. We let it come again.
    let holds (tsn: Tsn) (stream: uint16) (reset: Reset) : bool =
        match reset.Deferred with
        | ValueNone -> false
        | ValueSome deferred ->
            Tsn.isAfter deferred.LastAssigned tsn
            && (deferred.Streams.Length = 0 || Array.IndexOf(deferred.Streams, stream) >= 0)
