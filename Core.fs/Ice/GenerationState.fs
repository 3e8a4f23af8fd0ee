namespace Hybrid.WebRtc.Core

/// Our side of a generation.
[<NoComparison; NoEquality>]
type internal LocalEnd =
    {
        Secret: Secret voption
        Bases: Base[]
        /// Gathered ones, and what the peer's responses told (peer-reflexive, RFC 8445 §7.2.5.3.1).
        Candidates: Candidate[]
        /// Those of them that came from a server, and its URL.
        Servers: struct (Candidate * string)[]
        /// The number of the next stream.
        NextStream: PortId
        /// How many may still be opened.
        StreamsLeft: int
    }

/// The peer's side of a generation.
[<NoComparison; NoEquality>]
type internal RemoteEnd =
    {
        Secret: Secret voption
        Candidates: Candidate[]
        /// Candidates whose names are being resolved.
        Unresolved: Candidate[]
        /// No more will come, RFC 8838 §14.
        Complete: bool
        /// It is a lite agent.
        Lite: bool
    }

/// A check that came before the peer's credentials were known, RFC 8445 §7.3: answered, and remembered.
[<NoComparison; NoEquality>]
type internal EarlyCheck =
    {
        Path: Path
        Priority: uint32
        Nominated: bool
        /// Of the nomination; 0: none.
        Number: uint32
        /// The sender's, from USERNAME.
        Fragment: string
    }

/// Whether a generation may still come to something.
[<RequireQualifiedAccess; NoComparison>]
type internal Verdict =
    | Open
    /// Every pair failed. A new candidate, or the peer's voice, opens it again.
    | Exhausted
    /// Consent expired: these credentials are not used again, RFC 7675 §5.1.
    | Lost

[<NoComparison; NoEquality>]
type internal Progress =
    {
        /// When the peer's credentials or a candidate came last: patience counts from here.
        NewsAt: Instant
        /// Whether the peer's checks have reached us.
        Heard: bool
        /// When we nominate even though better pairs have not been checked yet; `never` until a pair works.
        NominateAt: Instant
        /// Not before this is all taken for failed: what was selected has gone with its socket, and another may come.
        GraceUntil: Instant
        Verdict: Verdict
    }

/// Nominations that follow the first, draft-thatcher-ice-renomination.
[<Struct; NoComparison; NoEquality>]
type internal Renominating =
    {
        /// Both sides say that they can.
        IsAgreed: bool
        /// The greatest number that was given out, or followed.
        Latest: uint32
        /// When a pair was selected last.
        At: Instant
    }

/// What the application decides of pairs, W3C webrtc-extensions.
[<NoComparison; NoEquality>]
type internal PairDecisions =
    {
        /// Nominations are put to it first.
        Decides: bool
        /// Those that were, and are not accepted.
        Proposed: Path[]
        /// It has selected the present pair itself: no other takes its place while it lives.
        IsChosen: bool
    }
