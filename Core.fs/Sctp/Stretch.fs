namespace Hybrid.WebRtc.Core.Association

open Hybrid.WebRtc.Core

/// What became of a chunk, as far as we know.
type internal Fate =
    | InFlight = 0uy
    /// By a gap ack block; it may be revoked.
    | Acked = 1uy
    /// To be sent again.
    | Marked = 2uy
    /// Given up, RFC 3758 §3.4.
    | Abandoned = 3uy
    /// It has left the network, and the SACK had no room to say whether it arrived.
    | Unreported = 4uy

/// Neighbouring TSNs of one fate.
[<Struct; NoComparison; NoEquality>]
type internal Stretch =
    {
        First: int64
        Last: int64
        Fate: Fate
        /// How often it was sent again.
        Resends: int
        /// When it was last sent again; 0 where it never was: the slots know when they were sent first.
        ResentAt: Instant
    }
