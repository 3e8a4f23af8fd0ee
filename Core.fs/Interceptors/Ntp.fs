namespace Hybrid.WebRtc.Core

/// NTP timestamps, RFC 3550 §4: seconds since 1900 in the upper 32 bits, a fraction in the lower.
[<RequireQualifiedAccess>]
module internal Ntp =
    /// From 1900 to 1970.
    let private toUnix: Duration = Duration.seconds 2_208_988_800L

    /// What has to be added to an `Instant` for microseconds since 1900, where `unixMicroseconds` is the time at `now`.
    let offset (now: Instant) (unixMicroseconds: int64) : Duration =
        Duration.microseconds unixMicroseconds + toUnix - now

    /// The timestamp of an instant.
    let time (offset: Duration) (now: Instant) : uint64 =
        let sum = int64 (now + offset)
        let seconds = sum / 1_000_000L
        let rest = sum - 1_000_000L * seconds
        // Rounded up, so that the way back answers the same microsecond.
        (uint64 seconds <<< 32) + ((uint64 rest <<< 32) + 999_999UL) / 1_000_000UL

    /// The middle 32 bits, which reports carry.
    let inline middle (ntp: uint64) : uint32 = uint32 (ntp >>> 16)

    /// The instant of a timestamp, of the era around `now`.
    let instant (offset: Duration) (ntp: uint64) : Instant =
        let micros =
            int64 (ntp >>> 32) * 1_000_000L
            + int64 (((ntp &&& 0xFFFF_FFFFUL) * 1_000_000UL) >>> 32)

        Duration.microseconds micros - offset

    /// In 65,536ths of a second; 18 hours at most, which is what 32 bits have room for.
    let units (span: Duration) : uint32 =
        uint32 (max 0L<us> (min (Duration.seconds 65_535L) span) * 65_536L / 1_000_000L<us>)

    /// What 65,536ths of a second are.
    let span (units: uint32) : Duration =
        Duration.microseconds ((int64 units * 1_000_000L) >>> 16)

/// Round trips measured by reports, as W3C webrtc-stats counts them.
[<Struct; NoComparison>]
type internal RoundTripTimes =
    {
        Last: Duration voption
        /// Smoothed by an eighth, RFC 6298 §2.
        Smoothed: Duration
        Total: Duration
        Measurements: int64
    }

/// Measuring round trips.
[<RequireQualifiedAccess>]
module internal RoundTripTimes =
    /// None measured.
    let none: RoundTripTimes =
        { Last = ValueNone
          Smoothed = 0L<us>
          Total = 0L<us>
          Measurements = 0L }

    /// Longer ones are a lie or a mistake.
    let private longest: Duration = Duration.seconds 60L

    /// The round trip that a block tells, RFC 3550 §6.4.1: `A - LSR - DLSR`. ValueNone: it answers no report of ours, or cannot be.
    let measured (arrival: uint32) (lastReport: uint32) (delay: uint32) : Duration voption =
        if lastReport = 0u then
            ValueNone
        else
            // Clocks' grain can make a short one negative.
            match int32 (arrival - lastReport - delay) with
            | units when units < 0 && units > -0x1_0000 -> ValueSome 0L<us>
            | units when units >= 0 && Ntp.span (uint32 units) <= longest -> ValueSome(Ntp.span (uint32 units))
            | _ -> ValueNone

    /// With one measurement more.
    let add (roundTrip: Duration) (times: RoundTripTimes) : RoundTripTimes =
        { Last = ValueSome roundTrip
          Smoothed =
            (if times.Measurements = 0L then
                 roundTrip
             else
                 times.Smoothed + (roundTrip - times.Smoothed) / 8L)
          Total = times.Total + roundTrip
          Measurements = times.Measurements + 1L }
