namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// How fast a window leaves: a window a round trip and a quarter more, twice of it in slow start, RFC 9002 §7.7. A bucket
/// of octets that fills at that rate: a burst takes from it, and the next one goes once there is enough for a burst
/// again. Where timers are too coarse for that, the arriving SACKs are the pace.
[<Struct; NoComparison; NoEquality>]
type internal SendPace =
    {
        /// Octets a microsecond; infinite where nothing is paced.
        Rate: float
        /// Octets that are worth a tick.
        Quantum: int
        /// Octets that an idle association may send at once.
        Depth: int
    }

[<RequireQualifiedAccess>]
module internal Pacing =
    /// Octets that one burst of datagrams may have, DTLS and UDP payload: what the kernel takes as one send, and the limit
    /// of an IPv4 packet.
    [<Literal>]
    let private MaxDatagrams = 65_000

    /// DTLS and SCTP headers of a packet, at most.
    [<Literal>]
    let private Headers = 52

    /// A time shorter than this is not worth a timer.
    let private granularity: Duration = Duration.microseconds 100L

    /// The shortest time between two bursts of one window.
    let least: Duration = Duration.microseconds 50L

    /// What a burst has at most, in packets.
    let packets (link: Link) : int =
        max 1 (min link.Config.Limits.MaxBurst (MaxDatagrams / (link.Segment + Headers)))

    let unlimited: SendPace =
        { Rate = Double.PositiveInfinity
          Quantum = 0
          Depth = Int32.MaxValue }

    /// The pace of a window.
    let ofWindow (link: Link) (c: Congestion) (trip: RoundTrip) : SendPace =
        match trip.Smoothed with
        | ValueNone -> unlimited
        | ValueSome srtt ->
            let gain = if Congestion.inSlowStart c then 2.0 else 1.25
            let rate = gain * float (Congestion.window c) / float srtt
            let burst = packets link * link.Segment

            if float burst < rate * float granularity then
                unlimited
            else
                // A millisecond's worth: timers are no finer, and neither is whoever else uses the link.
                let least = min (2 * link.Segment) (Congestion.window c)
                let quantum = max least (min burst (int (rate * 1000.0)))

                { Rate = rate
                  Quantum = quantum
                  // A late tick makes up for what it missed.
                  Depth = max (Congestion.initial link.Segment) (int (rate * 2000.0)) }

    /// Octets that may go now. `ready`: when the bucket was empty; later than `now` where more was taken than there was.
    let tokens (now: Instant) (ready: Instant) (pace: SendPace) : int =
        if Double.IsInfinity pace.Rate then
            Int32.MaxValue
        else
            int (max -1e9 (min (float pace.Depth) (float (now - ready) * pace.Rate)))

    /// `ready` after `octets` have gone.
    let spent (now: Instant) (octets: int) (ready: Instant) (pace: SendPace) : Instant =
        if octets = 0 || Double.IsInfinity pace.Rate then
            ready
        else
            now - int64 (float (tokens now ready pace - octets) / pace.Rate) * 1L<us>

    /// When there will be enough for `octets`, or for a burst where that is less.
    let gate (now: Instant) (octets: int64) (ready: Instant) (pace: SendPace) : Instant =
        if Double.IsInfinity pace.Rate then
            now
        else
            let wanted = min (int64 pace.Quantum) octets
            max now (ready + int64 (Math.Ceiling(float wanted / pace.Rate)) * 1L<us>)
