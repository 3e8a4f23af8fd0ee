namespace Hybrid.WebRtc.Core

/// What RFCs leave to the user of an agent.
[<NoComparison>]
type IceOptions =
    {
        /// How long requests on the selected pair stay unanswered until `Disconnected`. 5 s.
        DisconnectedAfter: Duration
        /// Consent expires this long after the last response, RFC 7675 §5.1. 30 s, and no more.
        FailedAfter: Duration
        /// What the peer is told of our addresses.
        Publication: Publication
        /// Whether active candidates of TCP are gathered, and passive ones connected to, RFC 6544. True.
        Tcp: bool
        /// Whether TURN servers that are reached over TCP and TLS are asked for addresses of TCP, too, RFC 6062. False.
        RelayTcp: bool
        /// A full agent, or less.
        Scope: IceScope
        /// Whether gathering goes on for as long as the agent lives, for addresses that appear: it never completes then. False.
        Continual: bool
        /// Whether a controlling agent may nominate anew, where the peer says that it follows. True.
        Renomination: bool
    }

/// Agents' options.
[<RequireQualifiedAccess>]
module IceOptions =
    /// 5 s and 30 s, and TCP.
    let defaults: IceOptions =
        { DisconnectedAfter = Duration.seconds 5L
          FailedAfter = Duration.seconds 30L
          Publication = Publication.plain
          Tcp = true
          RelayTcp = false
          Scope = IceScope.everything
          Continual = false
          Renomination = true }

/// Whether the selected pair answers.
[<RequireQualifiedAccess; Struct; NoComparison; NoEquality>]
type internal Liveness =
    | Answering
    | Unanswered of Since: Instant
    /// For so long that the transport is `disconnected`.
    | Silent of Since: Instant

/// The selected pair and its consent, RFC 7675.
///
///     Answering ──request sent──▶ Unanswered ──5 s──▶ Silent ──30 s after the last response──▶ expired
///         ▲───────── response ────────┴──────────────────┘
[<Struct; NoComparison; NoEquality>]
type internal Selection =
    {
        Path: Path
        AnsweredAt: Instant
        /// When the next request is to be sent.
        NextAt: Instant
        Liveness: Liveness
        /// When it was selected; of a lite agent, when the peer last nominated it.
        NominatedAt: Instant
        /// How long a request stays unanswered until the pair yields to one that answers.
        Patience: Duration
    }

[<RequireQualifiedAccess>]
module internal Consent =
    /// RFC 7675 §5.1.
    let period: Duration = Duration.seconds 5L

    /// An unanswered request is followed by connectivity checks (RFC 8445 §7.2) at a faster pace: they tell soon
    /// whether the path is gone or a packet was, and with 30 % loss each way one request in 5 s would often miss 30 s.
    let private firstRetry: Duration = Duration.milliseconds 500L
    let private retry: Duration = Duration.seconds 1L

    /// A pair that answers no request for so long yields to one that has answered since.
    let yieldAfter: Duration = Duration.seconds 2L

    /// The same where the peer's checks come by another pair, which is what they do when it has lost an address: three round
    /// trips, and no less than this, within which a request is repeated so many times.
    let private doubtedFor: Duration = Duration.milliseconds 200L

    /// Just after the selection peers are still at their checks: what comes by other pairs says nothing.
    let private settles: Duration = Duration.seconds 3L

    [<Literal>]
    let private DoubtedRequests = 4L

    /// Requests leave at multiples of this: a machine with a thousand idle connections then wakes up ten times a second and
    /// not four hundred times, and each of the twenty places that a request may fall on is as likely as the others.
    let private grid: Duration = Duration.milliseconds 100L

    /// The next multiple of the grid.
    let private onGrid (at: Instant) : Instant =
        at + (grid - 1L<us>) - (at + (grid - 1L<us>)) % grid

    /// 4 to 6 s from now, RFC 7675 §5.1.
    let private nextTime (now: Instant) (entropy: Entropy) : struct (Instant * Entropy) =
        let struct (drawn, entropy) = Entropy.unit entropy
        // From 0.8 of the period on, and up to 1.2 of it once it is moved on to the grid.
        let wait = float period * 0.8 + float (period * 4L / 10L - grid) * drawn
        struct (onGrid (now + int64 wait * 1L<us>), entropy)

    /// A pair is selected; it answered last at `answeredAt`. A pair that answered just now need not be asked at once.
    let create (now: Instant) (path: Path) (answeredAt: Instant) (entropy: Entropy) : struct (Selection * Entropy) =
        let struct (next, entropy) = nextTime now entropy

        struct ({ Path = path
                  AnsweredAt = answeredAt
                  NextAt = if now - answeredAt < Duration.seconds 1L then next else now
                  Liveness = Liveness.Answering
                  NominatedAt = now
                  Patience = yieldAfter },
                entropy)

    /// A lite agent has selected a pair: it asks for nothing, and hears the peer ask.
    let listening (now: Instant) (path: Path) : Selection =
        { Path = path
          AnsweredAt = now
          NextAt = Instant.never
          Liveness = Liveness.Unanswered now
          NominatedAt = now
          Patience = yieldAfter }

    /// Both agents are lite, and nobody will ask, RFC 8445 §8.2: taken for good.
    let assumed (now: Instant) (path: Path) : Selection =
        { listening now path with
            AnsweredAt = Instant.never / 2L
            Liveness = Liveness.Answering }

    /// The peer asked.
    let heard (now: Instant) (selection: Selection) : Selection =
        { selection with
            AnsweredAt = now
            Liveness = Liveness.Unanswered now }

    /// To be asked at once.
    let askAt (now: Instant) (selection: Selection) : Selection =
        { selection with
            NextAt = Instant.min now selection.NextAt }

    /// Asked at once, and not waited for any longer than it takes.
    let hasten (now: Instant) (roundTrip: Duration voption) (selection: Selection) : Selection =
        let patience =
            match roundTrip with
            | ValueSome roundTrip -> min yieldAfter (max doubtedFor (3L * roundTrip))
            | ValueNone -> yieldAfter / 4L

        { askAt now selection with
            Patience = patience }

    /// The peer speaks by another pair: whether this one still answers is asked at once, and soon known. `roundTrip`: its last.
    let doubt (now: Instant) (roundTrip: Duration voption) (selection: Selection) : Selection =
        if
            selection.Patience < yieldAfter
            || now - selection.AnsweredAt < doubtedFor
            || now - selection.NominatedAt < settles
            || selection.Liveness.IsSilent
        then
            selection
        else
            hasten now roundTrip selection

    /// A request was sent.
    let asked (now: Instant) (selection: Selection) : Selection =
        let isDoubted = selection.Patience < yieldAfter
        let often = selection.Patience / DoubtedRequests

        match selection.Liveness with
        | Liveness.Answering ->
            { selection with
                NextAt = now + (if isDoubted then often else firstRetry)
                Liveness = Liveness.Unanswered now }
        // Nobody else answers either, and it need not be asked so often.
        | Liveness.Unanswered since when isDoubted && now < since + 2L * selection.Patience ->
            { selection with NextAt = now + often }
        | Liveness.Unanswered _
        | Liveness.Silent _ -> { selection with NextAt = now + retry }

    /// A response came.
    let answered (now: Instant) (selection: Selection) (entropy: Entropy) : struct (Selection * Entropy) =
        let struct (next, entropy) = nextTime now entropy

        struct ({ selection with
                    AnsweredAt = now
                    NextAt = next
                    Liveness = Liveness.Answering
                    Patience = yieldAfter },
                entropy)

    let expiresAt (options: IceOptions) (selection: Selection) : Instant =
        selection.AnsweredAt + options.FailedAfter

    /// When it will count as silent; `Instant.never` while it answers, and when it already does.
    let private silentAt (options: IceOptions) (selection: Selection) : Instant =
        match selection.Liveness with
        | Liveness.Unanswered since -> since + options.DisconnectedAfter
        | Liveness.Answering
        | Liveness.Silent _ -> Instant.never

    /// The selection as it is by now.
    let at (now: Instant) (options: IceOptions) (selection: Selection) : Selection =
        match selection.Liveness with
        | Liveness.Unanswered since when now >= silentAt options selection ->
            { selection with
                Liveness = Liveness.Silent since }
        | _ -> selection

    let isSilent (selection: Selection) : bool =
        match selection.Liveness with
        | Liveness.Silent _ -> true
        | Liveness.Answering
        | Liveness.Unanswered _ -> false

    /// A pair that was heard so lately is not gone because the peer says something of another.
    let recent: Duration = Duration.seconds 1L

    /// Whether a request is unanswered for so long that another pair may take over.
    let isWeak (now: Instant) (selection: Selection) : bool =
        match selection.Liveness with
        | Liveness.Answering -> false
        | Liveness.Unanswered since
        | Liveness.Silent since -> now >= since + selection.Patience

    let deadline (options: IceOptions) (selection: Selection) : Instant =
        Instant.min selection.NextAt (Instant.min (expiresAt options selection) (silentAt options selection))
