namespace Hybrid.WebRtc.Core.Stun

open Hybrid.WebRtc.Core

/// How a request over UDP is repeated, RFC 8489 §6.2.1.
[<Struct; NoComparison>]
type Timing =
    {
        /// The first wait for an answer;
        Rto: Duration
        /// as many more are as long, RFC 8489 §6.2.1 has none; each further one is twice as long,
        Steady: int
        /// up to this.
        Longest: Duration
        /// Rc: how often the request is sent in all.
        Requests: int
        /// Rm: the last wait, in RTOs.
        LastWait: int
    }

/// A request that awaits its answer.
///
///     sent 1 ──Rto──▶ sent 2 ──2 Rto──▶ … ──▶ sent Rc ──Rm·Rto──▶ given up
[<Struct; NoComparison; NoEquality>]
type Transaction =
    {
        Id: TransactionId
        Timing: Timing
        /// How often it was sent.
        Sent: int
        /// When it was sent first.
        FirstAt: Instant
        /// When it is to be sent again, or given up.
        DueAt: Instant
    }

/// Repeating requests.
[<RequireQualifiedAccess>]
module Transaction =
    /// RTO 500 ms, Rc 7, Rm 16, RFC 8489 §6.2.1: given up after 39.5 s.
    let standard: Timing =
        { Rto = Duration.milliseconds 500L
          Steady = 0
          Longest = Duration.seconds 60L
          Requests = 7
          LastWait = 16 }

    /// Ti, RFC 8489 §6.2.2: as long as `standard` takes.
    let internal ti: Duration = Duration.milliseconds 39_500L

    /// Sent once, and waited for, as over a reliable transport, RFC 8489 §6.2.2.
    let internal once (wait: Duration) : Timing =
        { Rto = wait
          Steady = 0
          Longest = wait
          Requests = 1
          LastWait = 1 }

    /// The wait that follows the n-th sending, from 1.
    let wait (timing: Timing) (sent: int) : Duration =
        if sent >= timing.Requests then
            timing.Rto * int64 timing.LastWait
        else
            min timing.Longest (timing.Rto * (1L <<< min 16 (max 0 (sent - 1 - timing.Steady))))

    /// Sent for the first time now.
    let start (timing: Timing) (id: TransactionId) (now: Instant) : Transaction =
        { Id = id
          Timing = timing
          Sent = 1
          FirstAt = now
          DueAt = now + wait timing 1 }

    /// Whether no further sending is left: when `DueAt` comes, it has failed.
    let isSpent (transaction: Transaction) : bool =
        transaction.Sent >= transaction.Timing.Requests

    /// Sent again now.
    let resend (now: Instant) (transaction: Transaction) : Transaction =
        { transaction with
            Sent = transaction.Sent + 1
            DueAt = now + wait transaction.Timing (transaction.Sent + 1) }
