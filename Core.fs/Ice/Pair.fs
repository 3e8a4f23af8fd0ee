namespace Hybrid.WebRtc.Core

open System

/// Where a candidate pair stands, RFC 8445 §6.1.2.6; RTCStatsIceCandidatePairState.
[<RequireQualifiedAccess; NoComparison>]
type PairState =
    /// Not to be checked until another of its foundation works, or nothing else is left.
    | Frozen
    | Waiting
    | InProgress
    | Succeeded
    | Failed

/// What happened on a candidate pair, RTCIceCandidatePairStats.
[<NoComparison>]
type PairCounters =
    {
        RequestsSent: int64
        RequestsReceived: int64
        ResponsesSent: int64
        ResponsesReceived: int64
        ConsentRequestsSent: int64
        /// The sum over all responses that could be timed.
        TotalRoundTripTime: Duration
        /// The last one measured.
        CurrentRoundTripTime: Duration voption
    }

/// A candidate pair as one sees it from outside.
[<NoComparison>]
type IcePair =
    {
        /// Unique within the agent.
        Id: int
        Local: Candidate
        Remote: Candidate
        Path: Path
        Priority: uint64
        State: PairState
        Nominated: bool
        Counters: PairCounters
    }

/// A request on its way over a pair, for as long as its response would count.
[<Struct; NoComparison; NoEquality>]
type internal CheckRequest =
    {
        Id: Stun.TransactionId
        SentAt: Instant
        /// It carried USE-CANDIDATE.
        Nominating: bool
        /// It carried ICE-CONTROLLING.
        AsControlling: bool
        /// Sent more than once: its response cannot be timed (Karn's rule, RFC 6298 §3).
        Repeated: bool
    }

/// What carries a pair's datagrams.
[<RequireQualifiedAccess; NoComparison>]
type internal PairLink =
    | Datagrams
    /// A TCP connection of ours, RFC 6544 §7.1, to be made before the first check; or one that has ended.
    | Unconnected
    /// One that is to be made again, when its check is due.
    | Resting
    | Connecting
    | Connected
    /// One that the peer made.
    | Accepted

/// How far the nomination of a pair has come, RFC 8445 §8.1.1 and §7.3.1.5.
[<RequireQualifiedAccess; NoComparison>]
type internal Nomination =
    | None
    /// The controlling peer sent USE-CANDIDATE before our own check had succeeded.
    | Requested
    | Done

/// A candidate pair. Its path is its identity: reflexive local candidates stand in for their base (RFC 8445 §6.1.2.4),
/// so no two pairs of a checklist have the same path.
[<NoComparison; NoEquality>]
type internal Pair =
    {
        Id: int
        Path: Path
        Local: Candidate
        Remote: Candidate
        Priority: uint64
        State: PairState
        Link: PairLink
        /// The check that is repeated until it is answered; while the link is `Resting` or `Connecting`, how long for.
        Check: Stun.Transaction voption
        /// Requests that may still be answered, newest first.
        Outstanding: CheckRequest[]
        Nomination: Nomination
        /// The number of its last nomination, draft-thatcher-ice-renomination §4; 0: it had none.
        Number: uint32
        /// When a response last came, and a request; the distant past before the first.
        AnsweredAt: Instant
        HeardAt: Instant
        Counters: PairCounters
    }

/// Candidate pairs.
[<RequireQualifiedAccess>]
module internal Pair =
    /// Requests kept in mind for each pair.
    [<Literal>]
    let private MaxOutstanding = 8

    let private noCounters =
        { RequestsSent = 0L
          RequestsReceived = 0L
          ResponsesSent = 0L
          ResponsesReceived = 0L
          ConsentRequestsSent = 0L
          TotalRoundTripTime = 0L<us>
          CurrentRoundTripTime = ValueNone }

    /// Before anything happened.
    let longAgo: Instant = -(Instant.never / 2L)

    /// RFC 8445 §6.1.2.3: 2³² MIN(G, D) + 2 MAX(G, D) + (G > D ? 1 : 0), G being the controlling agent's.
    let priority (controlling: bool) (local: uint32) (remote: uint32) : uint64 =
        let g, d = if controlling then local, remote else remote, local

        (uint64 (min g d) <<< 32)
        + 2UL * uint64 (max g d)
        + (if g > d then 1UL else 0UL)

    let create (id: int) (controlling: bool) (path: Path) (local: Candidate) (remote: Candidate) : Pair =
        { Id = id
          Path = path
          Local = local
          Remote = remote
          Priority = priority controlling local.Priority remote.Priority
          State = PairState.Frozen
          Link =
            match local.Transport with
            | CandidateTransport.Tcp TcpType.Passive -> PairLink.Accepted
            | CandidateTransport.Tcp _ -> PairLink.Unconnected
            | CandidateTransport.Udp
            | CandidateTransport.OtherTransport _ -> PairLink.Datagrams
          Check = ValueNone
          Outstanding = [||]
          Nomination = Nomination.None
          Number = 0u
          AnsweredAt = longAgo
          HeardAt = longAgo
          Counters = noCounters }

    /// The pair with its priority as the other role sees it, RFC 8445 §7.2.5.1.
    let prioritise (controlling: bool) (pair: Pair) : Pair =
        { pair with
            Priority = priority controlling pair.Local.Priority pair.Remote.Priority }

    /// Whether both have the same foundation, RFC 8445 §6.1.2.6.
    let sameFoundation (a: Pair) (b: Pair) : bool =
        a.Local.Foundation = b.Local.Foundation
        && a.Remote.Foundation = b.Remote.Foundation

    /// Not yet decided: it may still come to work.
    let isPending (pair: Pair) : bool =
        match pair.State with
        | PairState.Frozen
        | PairState.Waiting
        | PairState.InProgress -> true
        | PairState.Succeeded
        | PairState.Failed -> false

    let hasSucceeded (pair: Pair) : bool =
        match pair.State with
        | PairState.Succeeded -> true
        | _ -> false

    /// Whether what is sent arrives, or the link ends: nothing is repeated, RFC 6544 §7.1.
    let isReliable (pair: Pair) : bool =
        match pair.Link with
        | PairLink.Datagrams -> false
        | PairLink.Unconnected
        | PairLink.Resting
        | PairLink.Connecting
        | PairLink.Connected
        | PairLink.Accepted -> true

    let isResting (pair: Pair) : bool =
        match pair.Link with
        | PairLink.Resting -> true
        | _ -> false

    let isConnecting (pair: Pair) : bool =
        match pair.Link with
        | PairLink.Connecting -> true
        | _ -> false

    /// Whether the shell has a connection open, or under way, that we asked for: to be closed with the pair.
    let holdsStream (pair: Pair) : bool =
        match pair.Link with
        | PairLink.Connecting
        | PairLink.Connected -> true
        | PairLink.Datagrams
        | PairLink.Unconnected
        | PairLink.Resting
        | PairLink.Accepted -> false

    /// Whether a nominating request is on its way.
    let isNominating (pair: Pair) : bool =
        match pair.Check with
        | ValueSome check -> pair.Outstanding |> Array.exists (fun r -> r.Nominating && r.Id.Equals check.Id)
        | ValueNone -> false

    /// Keeps a request in mind; the oldest goes where there are too many.
    let remember (request: CheckRequest) (pair: Pair) : Pair =
        { pair with
            Outstanding = Array.append [| request |] (Array.truncate (MaxOutstanding - 1) pair.Outstanding)
            Counters =
                { pair.Counters with
                    RequestsSent = pair.Counters.RequestsSent + 1L } }

    /// The request of this transaction, if it may still be answered.
    let request (id: Stun.TransactionId) (pair: Pair) : CheckRequest voption =
        let mutable found = ValueNone

        for r in pair.Outstanding do
            if r.Id.Equals id then
                found <- ValueSome r

        found

    let private forget (id: Stun.TransactionId) (pair: Pair) : Pair =
        { pair with
            Outstanding = pair.Outstanding |> Array.filter (fun r -> not (r.Id.Equals id)) }

    /// A response came to `request`, good or bad.
    let answered (now: Instant) (request: CheckRequest) (pair: Pair) : Pair =
        let pair = forget request.Id pair
        let rtt = now - request.SentAt

        let counters =
            { pair.Counters with
                ResponsesReceived = pair.Counters.ResponsesReceived + 1L }

        { pair with
            Check =
                match pair.Check with
                | ValueSome check when check.Id.Equals request.Id -> ValueNone
                | other -> other
            Counters =
                if request.Repeated then
                    counters
                else
                    { counters with
                        TotalRoundTripTime = counters.TotalRoundTripTime + rtt
                        CurrentRoundTripTime = ValueSome rtt } }

    /// A request came and was answered.
    let served (now: Instant) (pair: Pair) : Pair =
        { pair with
            HeardAt = now
            Counters =
                { pair.Counters with
                    RequestsReceived = pair.Counters.RequestsReceived + 1L
                    ResponsesSent = pair.Counters.ResponsesSent + 1L } }

    /// As one sees it from outside.
    let show (pair: Pair) : IcePair =
        { Id = pair.Id
          Local = pair.Local
          Remote = pair.Remote
          Path = pair.Path
          Priority = pair.Priority
          State = pair.State
          Nominated =
            match pair.Nomination with
            | Nomination.Done -> true
            | Nomination.None
            | Nomination.Requested -> false
          Counters = pair.Counters }
