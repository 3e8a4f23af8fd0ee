namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Core.Stun

/// How often checks are repeated, and how long they are waited for.
[<RequireQualifiedAccess>]
module internal Repetition =
    /// As long as all checks of one pair take; patiently awaiting connectivity, RFC 8863 §4.
    let pac: Duration = Transaction.ti

    /// Of a check over TCP; a connection has as long to be made.
    let reliable: Timing = Transaction.once Transaction.ti

    // RFC 8445 §14.3: RTO = MAX(500 ms, Ta * N * (waiting and in-progress pairs)), there being one checklist.
    // Five requests are one RTO apart, and then the wait doubles up to four RTOs and not beyond: a check is repeated for the same
    // 39.5 s as with RFC 8489's seven requests, but a path that loses much is found within the first seconds, and one that opens late
    // within two more and not within sixteen. All pairs together then repeat at most once every Ta, the pace that §14.2 has for checks.
    let private ordinary (list: Checklist) : Timing =
        let busy =
            list.Pairs
            |> Array.sumBy (fun pair ->
                match pair.State with
                | PairState.Waiting
                | PairState.InProgress -> 1L
                | PairState.Frozen
                | PairState.Succeeded
                | PairState.Failed -> 0L)

        let rto = max Transaction.standard.Rto (Pace.ta * busy)

        { Rto = rto
          Steady = 4
          Longest = 4L * rto
          Requests = 24
          LastWait = 4 }

    // A pair that works is asked anew, see `Generation.askAnew`: every two round trips, for as long as a path that loses much could take, and
    // then as seldom as any other. None is known where the first answer was to a request that had been repeated.
    let private anew (roundTrip: Duration voption) : Timing =
        let often =
            match roundTrip with
            | ValueSome roundTrip -> max (2L * Pace.ta) (2L * roundTrip)
            | ValueNone -> 4L * Pace.ta

        { Rto = min Transaction.standard.Rto often
          Steady = 19
          Longest = 4L * Transaction.standard.Rto
          Requests = 40
          LastWait = 4 }

    /// How the check of a pair is repeated.
    let ofPair (pair: Pair) (list: Checklist) : Timing =
        if Pair.isReliable pair then
            reliable
        elif Pair.hasSucceeded pair then
            anew pair.Counters.CurrentRoundTripTime
        else
            ordinary list
