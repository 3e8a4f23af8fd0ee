namespace Hybrid.WebRtc.Core

/// How fast new transactions may start, RFC 8445 §14.2: one every Ta on average.
///
/// The RFC's Ta of 50 ms would delay the fifth check by a fifth of a second even on an idle LAN. What Ta protects is the
/// network and the NATs on the way, against many agents that start at once; a handful of packets of about 120 octets
/// is far less than the ten full segments that every TCP connection may begin with (RFC 6928). So a few transactions may start
/// at once, after which Ta holds, and over any second the rate is the RFC's. A check that a peer triggered, or that nominates,
/// may draw deeper on the same account: the peer has just proved that the path carries packets.
[<Struct; NoComparison; NoEquality>]
type internal Pace =
    {
        /// When the account is even again.
        EvenAt: Instant
    }

[<RequireQualifiedAccess>]
module internal Pace =
    /// Ta, RFC 8445 §14.2.
    let ta: Duration = Duration.milliseconds 50L

    /// Ordinary transactions that may start at once.
    [<Literal>]
    let Ordinary = 5L

    /// The same for triggered and nominating checks.
    [<Literal>]
    let Triggered = 12L

    let create: Pace = { EvenAt = -(Instant.never / 2L) }

    /// When the next transaction may start.
    let next (burst: int64) (pace: Pace) : Instant = pace.EvenAt - (burst - 1L) * ta

    /// One started now.
    let spend (now: Instant) (pace: Pace) : Pace =
        { EvenAt = (if pace.EvenAt > now then pace.EvenAt else now) + ta }
