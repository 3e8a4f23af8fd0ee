namespace Hybrid.WebRtc.Core

open Hybrid.WebRtc.Rtp

/// What a packet is to its source.
type internal Arrival =
    /// Not yet, or no longer, of a valid source: not to be delivered, RFC 3550 §A.1.
    | Invalid = 0
    /// Not seen before.
    | New = 1
    /// Seen before.
    | Duplicate = 2
    /// The first of a source that has begun anew: what is held of it, and counted, is over. Its number lies ahead of all before.
    | Restarted = 3

/// What changes with a report, a duplicate or a restart: rarely.
[<NoComparison; NoEquality>]
type internal ReceptionHistory =
    {
        /// Packets that are still to come in sequence before the source is valid.
        Probation: int
        /// The sequence number that would confirm a jump; -1: none.
        Bad: int
        Duplicates: int64
        Restarts: int64
        ExpectedPrior: int64
        ReceivedPrior: int64
        /// The middle 32 bits of the NTP time of the last sender report; 0: none came.
        LastSenderReport: uint32
        LastSenderReportAt: Instant
    }

/// Which of the last 256 numbers were seen; bit 0 of `A` is the highest.
[<Struct; NoComparison>]
type internal Seen =
    { A: uint64
      B: uint64
      C: uint64
      D: uint64 }

/// What is known of one received source, RFC 3550 §6.4.1, §A.1, §A.3, §A.8. A value that a packet changes in O(1) and without an
/// allocation.
[<Struct; NoComparison; NoEquality>]
type internal Reception =
    {
        /// The unwrapped sequence number that counting began with; 0: no packet yet.
        Base: int64
        /// The highest, unwrapped.
        Highest: int64
        /// Packets that came, duplicates and late ones included, RFC 3550 §A.3.
        Received: int64
        Seen: Seen
        /// When the first packet of the last timestamp came.
        TransitAt: Instant
        TransitTimestamp: uint32
        /// In 16ths of a unit of the clock, RFC 3550 §A.8.
        Jitter: int64
        History: ReceptionHistory
    }

/// Received sources.
[<RequireQualifiedAccess>]
module internal Reception =
    /// RFC 3550 §A.1.
    [<Literal>]
    let MaxDropout = 3000L

    /// 100 in RFC 3550 §A.1; more here, because a retransmission on the stream's own SSRC comes a round trip late, and two of
    /// them in a row must not pass for a new beginning.
    [<Literal>]
    let MaxMisorder = 1000L

    /// RFC 3550 §A.1, for sources that nothing authenticates.
    [<Literal>]
    let MinSequential = 2

    /// Longer pauses say nothing about jitter, and must not overflow.
    let private longestTransit: Duration = Duration.seconds 60L

    /// Nothing received yet. `probation`: packets in sequence that make the source valid: 1 where SRTP vouches for it, else
    /// `MinSequential`.
    let create (probation: int) : Reception =
        { Base = 0L
          Highest = 0L
          Received = 0L
          Seen = { A = 0UL; B = 0UL; C = 0UL; D = 0UL }
          TransitAt = Instant.never
          TransitTimestamp = 0u
          Jitter = 0L
          History =
            { Probation = max 1 probation
              Bad = -1
              Duplicates = 0L
              Restarts = 0L
              ExpectedPrior = 0L
              ReceivedPrior = 0L
              LastSenderReport = 0u
              LastSenderReportAt = Instant.never } }

    /// Whether enough packets came in sequence.
    let isValid (reception: Reception) : bool =
        reception.History.Probation = 0 && reception.Base > 0L

    /// The numbers moved up by `count`, and the highest seen.
    let private shifted (count: int64) (seen: Seen) : Seen =
        if count = 1L then
            { A = (seen.A <<< 1) ||| 1UL
              B = (seen.B <<< 1) ||| (seen.A >>> 63)
              C = (seen.C <<< 1) ||| (seen.B >>> 63)
              D = (seen.D <<< 1) ||| (seen.C >>> 63) }
        elif count >= 256L then
            { A = 1UL; B = 0UL; C = 0UL; D = 0UL }
        else
            let mutable s = seen
            let mutable left = int count

            while left >= 64 do
                s <- { A = 0UL; B = s.A; C = s.B; D = s.C }

                left <- left - 64

            if left > 0 then
                s <-
                    { A = s.A <<< left
                      B = (s.B <<< left) ||| (s.A >>> (64 - left))
                      C = (s.C <<< left) ||| (s.B >>> (64 - left))
                      D = (s.D <<< left) ||| (s.C >>> (64 - left)) }

            { s with A = s.A ||| 1UL }

    let private word (back: int) (seen: Seen) =
        match back >>> 6 with
        | 0 -> seen.A
        | 1 -> seen.B
        | 2 -> seen.C
        | _ -> seen.D

    let private marked (back: int) (seen: Seen) : Seen =
        let bit = 1UL <<< (back &&& 63)

        match back >>> 6 with
        | 0 -> { seen with A = seen.A ||| bit }
        | 1 -> { seen with B = seen.B ||| bit }
        | 2 -> { seen with C = seen.C ||| bit }
        | _ -> { seen with D = seen.D ||| bit }

    /// Whether a number was seen; false, too, of what is more than 255 below the highest.
    let private wasSeen (number: int64) (reception: Reception) =
        let back = reception.Highest - number

        back < 256L
        && (word (int back) reception.Seen >>> (int back &&& 63)) &&& 1UL = 1UL

    /// The interarrival jitter with one packet more, RFC 3550 §A.8. The packets of a frame share a timestamp and leave one after
    /// the other, which is no jitter: only the first of each timestamp counts.
    let private jittered (now: Instant) (timestamp: uint32) (clockRate: int) (reception: Reception) : Reception =
        if reception.TransitAt = Instant.never then
            { reception with
                TransitAt = now
                TransitTimestamp = timestamp }
        elif timestamp = reception.TransitTimestamp then
            reception
        else
            let elapsed = now - reception.TransitAt
            let stamped = int64 (int32 (timestamp - reception.TransitTimestamp))

            let jitter =
                if elapsed > longestTransit || abs stamped > 60L * int64 clockRate then
                    reception.Jitter
                else
                    let d = abs (elapsed * int64 clockRate / 1_000_000L<us> - stamped)
                    reception.Jitter + d - ((reception.Jitter + 8L) >>> 4)

            { reception with
                Jitter = jitter
                TransitAt = now
                TransitTimestamp = timestamp }

    /// Counting begins with this number, RFC 3550 §A.1 `init_seq`.
    let private begun (number: int64) (history: ReceptionHistory) (reception: Reception) : Reception =
        { reception with
            Base = number
            Highest = number
            Received = 0L
            Seen = { A = 1UL; B = 0UL; C = 0UL; D = 0UL }
            TransitAt = Instant.never
            History =
                { history with
                    Bad = -1
                    ExpectedPrior = 0L
                    ReceivedPrior = 0L } }

    /// A packet of a valid source.
    let private taken now (number: int64) timestamp clockRate (reception: Reception) =
        if number > reception.Highest then
            let reception =
                { reception with
                    Highest = number
                    Seen = shifted (number - reception.Highest) reception.Seen
                    Received = reception.Received + 1L }

            struct (jittered now timestamp clockRate reception, Arrival.New, number)
        elif wasSeen number reception then
            struct ({ reception with
                        Received = reception.Received + 1L
                        History =
                            { reception.History with
                                Duplicates = reception.History.Duplicates + 1L } },
                    Arrival.Duplicate,
                    number)
        else
            let back = reception.Highest - number

            struct ({ reception with
                        Received = reception.Received + 1L
                        Seen =
                            (if back < 256L then
                                 marked (int back) reception.Seen
                             else
                                 reception.Seen) },
                    Arrival.New,
                    number)

    /// Takes a packet. Answers what it is, and its unwrapped sequence number, which means nothing for `Invalid`. `clockRate` is
    /// of its payload type, Hz.
    let received
        (now: Instant)
        (sequence: uint16)
        (timestamp: uint32)
        (clockRate: int)
        (reception: Reception)
        : struct (Reception * Arrival * int64) =
        let history = reception.History

        if reception.Base = 0L then
            let number = Sequence.first sequence

            let history =
                { history with
                    Probation = history.Probation - 1 }

            if history.Probation = 0 then
                let begun = begun number history reception |> jittered now timestamp clockRate

                struct ({ begun with Received = 1L }, Arrival.New, number)
            else
                struct (begun number history reception, Arrival.Invalid, number)
        else
            let number = Sequence.unwrap reception.Highest sequence
            let ahead = number - reception.Highest

            if history.Probation > 0 then
                if ahead = 1L && history.Probation = 1 then
                    let valid =
                        begun number { history with Probation = 0 } reception
                        |> jittered now timestamp clockRate

                    struct ({ valid with Received = 1L }, Arrival.New, number)
                elif ahead = 1L then
                    struct ({ reception with
                                Highest = number
                                History =
                                    { history with
                                        Probation = history.Probation - 1 } },
                            Arrival.Invalid,
                            number)
                else
                    struct (begun
                                number
                                { history with
                                    Probation = MinSequential - 1 }
                                reception,
                            Arrival.Invalid,
                            number)
            elif ahead < MaxDropout && ahead > -MaxMisorder then
                taken now number timestamp clockRate reception
            elif history.Bad = int sequence then
                // Two in sequence: the other side has begun anew without telling. Ahead of all before, so that nothing goes back.
                let number = if ahead > 0L then number else number + 0x1_0000L

                let anew =
                    begun
                        number
                        { history with
                            Restarts = history.Restarts + 1L }
                        reception
                    |> jittered now timestamp clockRate

                struct ({ anew with Received = 1L }, Arrival.Restarted, number)
            else
                struct ({ reception with
                            History =
                                { history with
                                    Bad = int (sequence + 1us) } },
                        Arrival.Invalid,
                        number)

    /// Takes a packet that came another way, by RTX or FEC, and is not counted: answers whether it is new, and its number.
    let repaired (sequence: uint16) (reception: Reception) : struct (Reception * Arrival * int64) =
        let number = Sequence.unwrap reception.Highest sequence
        let back = reception.Highest - number

        if not (isValid reception) || back <= -MaxDropout || back >= MaxDropout then
            struct (reception, Arrival.Invalid, number)
        elif back < 0L then
            struct ({ reception with
                        Highest = number
                        Seen = shifted -back reception.Seen },
                    Arrival.New,
                    number)
        elif wasSeen number reception then
            struct (reception, Arrival.Duplicate, number)
        elif back < 256L then
            struct ({ reception with
                        Seen = marked (int back) reception.Seen },
                    Arrival.New,
                    number)
        else
            struct (reception, Arrival.New, number)

    /// Notes a sender report of the source: its NTP time.
    let heard (now: Instant) (ntpTime: uint64) (reception: Reception) : Reception =
        { reception with
            History =
                { reception.History with
                    LastSenderReport = uint32 (ntpTime >>> 16)
                    LastSenderReportAt = now } }

    /// Packets expected so far, RFC 3550 §A.3.
    let expected (reception: Reception) : int64 =
        if isValid reception then
            reception.Highest - reception.Base + 1L
        else
            0L

    /// Packets lost so far; negative where duplicates outweigh losses.
    let lost (reception: Reception) : int64 = expected reception - reception.Received

    /// In units of the clock rate.
    let jitter (reception: Reception) : float = float reception.Jitter / 16.0

    /// The highest sequence number with its cycles, RFC 3550 §6.4.1.
    let extendedHighest (reception: Reception) : uint32 = uint32 (reception.Highest - 0x1_0000L)

    /// The block of a report, and the reception that the next block counts from.
    let report (now: Instant) (ssrc: uint32) (reception: Reception) : struct (ReceptionReport * Reception) =
        let history = reception.History
        let expected = expected reception
        let expectedInterval = expected - history.ExpectedPrior

        let lostInterval = expectedInterval - (reception.Received - history.ReceivedPrior)

        let block: ReceptionReport =
            { Ssrc = ssrc
              FractionLost =
                (if expectedInterval <= 0L || lostInterval <= 0L then
                     0uy
                 else
                     byte (min 255L ((lostInterval <<< 8) / expectedInterval)))
              CumulativeLost = int (max -0x80_0000L (min 0x7F_FFFFL (lost reception)))
              HighestSequence = extendedHighest reception
              Jitter = uint32 (min (int64 System.UInt32.MaxValue) (reception.Jitter >>> 4))
              LastSenderReport = history.LastSenderReport
              DelaySinceLastSenderReport =
                if history.LastSenderReport = 0u then
                    0u
                else
                    Ntp.units (now - history.LastSenderReportAt) }

        struct (block,
                { reception with
                    History =
                        { history with
                            ExpectedPrior = expected
                            ReceivedPrior = reception.Received } })
