namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// The round trip and the timeout that follows from it, RFC 9260 §6.3.1; and the least round trip of late, which says
/// how long the path is without its queues (RFC 8985 §6.1 RACK.min_RTT, RFC 9406).
[<NoComparison; NoEquality>]
type internal RoundTrip =
    {
        /// SRTT; ValueNone before the first measurement.
        Smoothed: Duration voption
        Variation: Duration
        /// RTO, with the doublings of `backOff`.
        Timeout: Duration
        /// The least of the last span of measurements and of the present one; `Int64.MaxValue` before the first.
        Minimum: Duration
        /// The least of the present span.
        Recent: Duration
        /// Measurements of the present span.
        Measurements: int
        /// TSNs below it do not measure: one measurement a round trip, RFC 9260 §6.3.1 C4.
        From: int64
    }

[<RequireQualifiedAccess>]
module internal RoundTrip =
    /// Measurements, which is to say round trips, that the least one is remembered for, and at most as long again: a
    /// path that has become longer is believed after a while.
    [<Literal>]
    let private Span = 128

    let private unknown: Duration = Int64.MaxValue * 1L<us>

    /// No round trip is longer: what a peer echoes may say anything.
    let private longest: Duration = Duration.seconds 60L

    let create (times: SctpTimes) : RoundTrip =
        { Smoothed = ValueNone
          Variation = 0L<us>
          Timeout = times.RtoInitial
          Minimum = unknown
          Recent = unknown
          Measurements = 0
          From = 0L }

    // Rules C3, C6 and C7.
    let private timeout (times: SctpTimes) (smoothed: Duration) (variation: Duration) : Duration =
        min times.RtoMax (max times.RtoMin (smoothed + 4L * variation))

    /// A measurement, rules C2 to C7; RTO.Alpha is 1/8 and RTO.Beta 1/4. TSNs from `from` on may be the next.
    let measuredFrom (from: int64) (times: SctpTimes) (sample: Duration) (trip: RoundTrip) : RoundTrip =
        let sample = max 1L<us> (min longest sample)

        let struct (smoothed, variation) =
            match trip.Smoothed with
            | ValueNone -> struct (sample, sample / 2L)
            | ValueSome srtt ->
                let difference = if srtt > sample then srtt - sample else sample - srtt
                struct ((7L * srtt + sample) / 8L, (3L * trip.Variation + difference) / 4L)

        // Rule G1: the clock's granularity is a microsecond.
        let variation = max 1L<us> variation
        let recent = min trip.Recent sample
        let isOver = trip.Measurements + 1 >= Span

        { trip with
            Smoothed = ValueSome smoothed
            Variation = variation
            Timeout = timeout times smoothed variation
            Minimum = if isOver then recent else min trip.Minimum sample
            Recent = if isOver then unknown else recent
            Measurements = if isOver then 0 else trip.Measurements + 1
            From = from }

    /// A measurement by other means than DATA.
    let measured (times: SctpTimes) (sample: Duration) (trip: RoundTrip) : RoundTrip =
        measuredFrom trip.From times sample trip

    /// A sample that is no measurement, for there is one of this round trip, may still be the least.
    let glimpsed (sample: Duration) (trip: RoundTrip) : RoundTrip =
        let sample = max 1L<us> sample

        if sample >= trip.Recent then
            trip
        else
            { trip with
                Minimum = min trip.Minimum sample
                Recent = sample }

    // Without doublings; rule C1 before there is a measurement.
    let private plain (times: SctpTimes) (trip: RoundTrip) : Duration =
        match trip.Smoothed with
        | ValueNone -> times.RtoInitial
        | ValueSome smoothed -> timeout times smoothed trip.Variation

    /// What was sent again has been acknowledged, which measures nothing (rule C5): the path carries packets, and one doubling is
    /// taken back. By rule E2 all would stay until there is a measurement. Where a third of all round trips is lost, and the window is
    /// one packet, nothing but repetitions may be acknowledged for very long, at RTO.Max each. libwebrtc takes all of them back.
    let progressed (times: SctpTimes) (trip: RoundTrip) : RoundTrip =
        let plain = plain times trip

        if trip.Timeout > plain then
            { trip with
                Timeout = max plain (trip.Timeout / 2L) }
        else
            trip

    /// Rule E2: doubled up to RTO.Max.
    let backOff (times: SctpTimes) (trip: RoundTrip) : RoundTrip =
        { trip with
            Timeout = min times.RtoMax (2L * trip.Timeout) }
