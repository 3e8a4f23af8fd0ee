namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// NewReno as RFC 9260 §7.2 has it. All sizes in octets, chunk headers and padding included.
[<Struct; NoComparison; NoEquality>]
type internal NewReno =
    { CongestionWindow: int
      SlowStartThreshold: int
      PartialBytesAcked: int }

/// What a SACK says to congestion control.
[<Struct; NoComparison; NoEquality>]
type internal Progress =
    {
        /// Octets newly acknowledged.
        Acked: int
        /// Octets in flight before the SACK.
        FlightBefore: int
        InFastRecovery: bool
        CumulativeAdvanced: bool
        /// Nothing is outstanding any more.
        AllAcked: bool
    }

/// How much may be in flight. The algorithms are a closed set: CUBIC (RFC 9438) is to be the second.
[<NoComparison; NoEquality>]
type internal Congestion = NewReno of NewReno

[<RequireQualifiedAccess>]
module internal Congestion =
    /// L of RFC 9260 §7.2.1, in packets per SACK: 1, or more. Ours is the batch that one SACK may answer; against bursts
    /// there is `MaxBurst`, against ack splitting the count of octets.
    [<Literal>]
    let private BatchLimit = 32

    /// No window grows beyond this: 1 GiB.
    [<Literal>]
    let private Ceiling = 0x40000000

    /// Before anything was sent, RFC 9260 §7.2.1.
    let create (mtu: int) : Congestion =
        NewReno
            { CongestionWindow = min (4 * mtu) (max (2 * mtu) 4404)
              SlowStartThreshold = Ceiling
              PartialBytesAcked = 0 }

    /// cwnd.
    let window (NewReno c) : int = c.CongestionWindow

    /// ssthresh.
    let threshold (NewReno c) : int = c.SlowStartThreshold

    /// A SACK newly acknowledged something, RFC 9260 §7.2.1, §7.2.2.
    let acknowledged (mtu: int) (progress: Progress) (NewReno c as before) : Congestion =
        let cleared (c: NewReno) =
            if progress.AllAcked then
                { c with PartialBytesAcked = 0 }
            else
                c

        // A packet less than full: the next one would not have fitted.
        let utilised = progress.FlightBefore + mtu > c.CongestionWindow

        if progress.InFastRecovery || not progress.CumulativeAdvanced then
            before
        elif c.CongestionWindow <= c.SlowStartThreshold then
            if utilised then
                NewReno(
                    cleared
                        { c with
                            CongestionWindow = min Ceiling (c.CongestionWindow + min progress.Acked (BatchLimit * mtu)) }
                )
            else
                before
        else
            let acked = c.PartialBytesAcked + progress.Acked

            if acked >= c.CongestionWindow && utilised then
                NewReno(
                    cleared
                        { c with
                            CongestionWindow = min Ceiling (c.CongestionWindow + mtu)
                            PartialBytesAcked = acked - c.CongestionWindow }
                )
            else
                NewReno(
                    cleared
                        { c with
                            PartialBytesAcked = min acked c.CongestionWindow }
                )

    let private halved (mtu: int) (c: NewReno) = max (c.CongestionWindow / 2) (4 * mtu)

    /// Loss found by SACKs, RFC 9260 §7.2.3: once per fast recovery.
    let lost (mtu: int) (NewReno c) : Congestion =
        let half = halved mtu c

        NewReno
            { CongestionWindow = half
              SlowStartThreshold = half
              PartialBytesAcked = 0 }

    /// T3-rtx expired, RFC 9260 §7.2.3.
    let timedOut (mtu: int) (NewReno c) : Congestion =
        NewReno
            { CongestionWindow = mtu
              SlowStartThreshold = halved mtu c
              PartialBytesAcked = 0 }

    /// Nothing was sent for `periods` RTOs, RFC 9260 §7.2.1: half the window for each.
    let idle (mtu: int) (periods: int64) (NewReno c as before) : Congestion =
        if periods <= 0L || c.CongestionWindow <= 4 * mtu then
            before
        else
            NewReno
                { c with
                    SlowStartThreshold = max c.SlowStartThreshold c.CongestionWindow
                    CongestionWindow = max (c.CongestionWindow >>> int (min periods 30L)) (4 * mtu) }

/// The round trip and the timeout that follows from it, RFC 9260 §6.3.1.
[<NoComparison; NoEquality>]
type internal RoundTrip =
    {
        /// ValueNone before the first measurement.
        Smoothed: Duration voption
        Variation: Duration
        /// RTO, with the doublings of `backOff`.
        Timeout: Duration
    }

[<RequireQualifiedAccess>]
module internal RoundTrip =
    let create (times: SctpTimes) : RoundTrip =
        { Smoothed = ValueNone
          Variation = 0L<us>
          Timeout = times.RtoInitial }

    /// A measurement, rules C2 to C7; RTO.Alpha is 1/8 and RTO.Beta 1/4.
    let measured (times: SctpTimes) (sample: Duration) (trip: RoundTrip) : RoundTrip =
        let sample = max 1L<us> sample

        let struct (smoothed, variation) =
            match trip.Smoothed with
            | ValueNone -> struct (sample, sample / 2L)
            | ValueSome srtt ->
                let difference = if srtt > sample then srtt - sample else sample - srtt
                struct ((7L * srtt + sample) / 8L, (3L * trip.Variation + difference) / 4L)

        // Rule G1: the clock's granularity is a microsecond.
        let variation = max 1L<us> variation

        { Smoothed = ValueSome smoothed
          Variation = variation
          Timeout = min times.RtoMax (max times.RtoMin (smoothed + 4L * variation)) }

    /// Rule E2: doubled up to RTO.Max.
    let backOff (times: SctpTimes) (trip: RoundTrip) : RoundTrip =
        { trip with
            Timeout = min times.RtoMax (2L * trip.Timeout) }
