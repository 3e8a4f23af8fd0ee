namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// Sequence numbers of RTP inside a machine: an `int64` that never wraps, whose low 16 bits are the wire's.
[<RequireQualifiedAccess>]
module internal Sequence =
    /// The number of a first packet: a turn above zero, so that what came before it is still positive.
    let first (sequence: uint16) : int64 = 65_536L + int64 sequence

    /// The number that lies within 2¹⁵ of `near`.
    let unwrap (near: int64) (sequence: uint16) : int64 =
        near + int64 (int16 (sequence - uint16 near))

/// The NTP format of RFC 3550 §4: seconds since 1900 in the upper 32 bits.
[<RequireQualifiedAccess>]
module internal Ntp =
    /// `offset`: the NTP time of instant zero.
    let ofInstant (offset: uint64) (now: Instant) : uint64 =
        let micros = uint64 now

        offset
        + ((micros / 1_000_000UL) <<< 32)
        + ((micros % 1_000_000UL) <<< 32) / 1_000_000UL

    /// The middle 32 bits: 65,536ths of a second.
    let middle (ntp: uint64) : uint32 = uint32 (ntp >>> 16)

    /// A difference of two middles.
    let duration (units: uint32) : Duration =
        int64 units * 1_000_000L / 65_536L * 1L<us>

    /// In the units of a middle.
    let units (d: Duration) : uint32 = uint32 (int64 d * 65_536L / 1_000_000L)

/// What changes once a report, or seldom.
[<NoComparison; NoEquality>]
type internal ReceptionReported =
    {
        /// The number of the first packet.
        First: int64
        ExpectedPrior: int64
        ReceivedPrior: int64
        /// The middle of the last sender report's NTP time, and when it came; 0: none.
        SenderReport: uint32
        SenderReportAt: Instant
    }

/// What came from one source, RFC 3550 §6.4.1, §A.3 and §A.8.
[<Struct; NoComparison; NoEquality>]
type internal Reception =
    {
        /// 0 before the first packet.
        Highest: int64
        Received: int64
        /// In the units of the clock.
        Jitter: float
        /// When the first packet of the last timestamp came, in the units of the clock.
        Transit: float
        /// The last RTP timestamp: the packets of a frame leave one after the other, so that only the first tells of jitter.
        Timestamp: uint32
        Reported: ReceptionReported
    }

[<RequireQualifiedAccess>]
module internal Reception =
    let create () : Reception =
        { Highest = 0L
          Received = 0L
          Jitter = 0.0
          Transit = 0.0
          Timestamp = 0u
          Reported =
            { First = 0L
              ExpectedPrior = 0L
              ReceivedPrior = 0L
              SenderReport = 0u
              SenderReportAt = 0L<us> } }

    /// Notes a packet. `clockRate` in Hz.
    let received (now: Instant) (sequence: int64) (timestamp: uint32) (clockRate: int) (r: Reception) : Reception =
        let arrival = float now * float clockRate / 1e6

        if r.Received = 0L then
            { r with
                Highest = sequence
                Received = 1L
                Transit = arrival
                Timestamp = timestamp
                Reported = { r.Reported with First = sequence } }
        else
            let isFirst = timestamp <> r.Timestamp
            // Unwrapped by way of the difference from the last, so that neither clock's wrap shows.
            let elapsed = float (int32 (timestamp - r.Timestamp))
            let difference = abs (arrival - r.Transit - elapsed)

            { r with
                Highest = max r.Highest sequence
                Received = r.Received + 1L
                // RFC 3550 §A.8. A leap of more than a minute is another clock, not jitter.
                Jitter =
                    (if not isFirst || difference > 60.0 * float clockRate then
                         r.Jitter
                     else
                         r.Jitter + (difference - r.Jitter) / 16.0)
                Transit = (if isFirst then arrival else r.Transit)
                Timestamp = timestamp }

    /// Notes a sender report.
    let senderReport (now: Instant) (ntp: uint64) (r: Reception) : Reception =
        { r with
            Reported =
                { r.Reported with
                    SenderReport = Ntp.middle ntp
                    SenderReportAt = now } }

    let private expected (r: Reception) =
        if r.Received = 0L then
            0L
        else
            r.Highest - r.Reported.First + 1L

    /// Negative where duplicates outweigh losses, RFC 3550 §A.3.
    let lost (r: Reception) : int64 = expected r - r.Received

    /// The report block of a source, and what the next one is measured against.
    let report (now: Instant) (ssrc: uint32) (r: Reception) : struct (ReceptionReport * Reception) =
        let reported = r.Reported
        let expected = expected r
        let expectedInterval = expected - reported.ExpectedPrior
        let lostInterval = expectedInterval - (r.Received - reported.ReceivedPrior)

        let block: ReceptionReport =
            { Ssrc = ssrc
              FractionLost =
                (if expectedInterval <= 0L || lostInterval <= 0L then
                     0uy
                 else
                     byte (min 255L (lostInterval * 256L / expectedInterval)))
              CumulativeLost = int (max -0x80_0000L (min 0x7F_FFFFL (lost r)))
              // A turn is what keeps numbers positive.
              HighestSequence = uint32 (max 0L (r.Highest - 65_536L))
              Jitter = uint32 r.Jitter
              LastSenderReport = reported.SenderReport
              DelaySinceLastSenderReport =
                (if reported.SenderReport = 0u then
                     0u
                 else
                     Ntp.units (now - reported.SenderReportAt)) }

        struct (block,
                { r with
                    Reported =
                        { reported with
                            ExpectedPrior = expected
                            ReceivedPrior = r.Received } })

/// Reports as they go out, RFC 3550 §6.
[<RequireQualifiedAccess>]
module internal RtcpReports =
    /// A packet has room for so many blocks.
    [<Literal>]
    let private MaxBlocks = 31

    /// The round trip that a block about us shows, RFC 3550 §6.4.1; ValueNone where it names no report of ours.
    let roundTrip (ntp: uint64) (block: ReceptionReport) : Duration voption =
        if block.LastSenderReport = 0u then
            ValueNone
        else
            let units =
                Ntp.middle ntp - block.LastSenderReport - block.DelaySinceLastSenderReport
            // A peer whose clock runs fast makes it negative.
            if int32 units < 0 then
                ValueSome 0L<us>
            else
                ValueSome(Ntp.duration units)

    /// The round trip that DLRR shows, RFC 3611 §4.5.
    let dlrrRoundTrip (ntp: uint64) (entry: DlrrEntry) : Duration voption =
        if entry.LastReceiverReport = 0u then
            ValueNone
        else
            let units =
                Ntp.middle ntp - entry.LastReceiverReport - entry.DelaySinceLastReceiverReport

            if int32 units < 0 then
                ValueSome 0L<us>
            else
                ValueSome(Ntp.duration units)

    /// Octets of a compound packet: what fits any path, with a short extended report and SRTCP's trailer behind it.
    [<Literal>]
    let MaxCompound = 1_100

    /// Compound packets: a sender report for each source that sent, the blocks in the first of them, or in receiver reports where
    /// they have no room, and in each the CNAME of those who speak in it, RFC 3550 §6.1. `local`: whose receiver reports they are
    /// where nobody sent. One at least.
    let compounds
        (local: uint32)
        (senders: struct (uint32 * SenderInfo)[])
        (blocks: ReceptionReport[])
        (cname: string)
        : Rtcp[][] =
        // A chunk with a CNAME, RFC 3550 §6.5.
        let chunk = (4 + 2 + Text.Encoding.UTF8.GetByteCount cname + 1 + 3) &&& ~~~3
        let made = ResizeArray<Rtcp[]>()
        let packets = ResizeArray<Rtcp>()
        let named = ResizeArray<uint32>()
        // The head of the source description.
        let mutable octets = 4

        let close () =
            packets.Add(
                SourceDescription(
                    [| for ssrc in named ->
                           { Source = ssrc
                             Items = [| { Type = 1uy; Text = cname } |] } |]
                )
            )

            made.Add(packets.ToArray())
            packets.Clear()
            named.Clear()
            octets <- 4

        let put (ssrc: uint32) (size: int) (packet: Rtcp) =
            let whole = size + (if named.Contains ssrc then 0 else chunk)

            if packets.Count > 0 && (octets + whole > MaxCompound || named.Count = MaxBlocks) then
                close ()

            if not (named.Contains ssrc) then
                named.Add ssrc
                octets <- octets + chunk

            packets.Add packet
            octets <- octets + size

        let first = min MaxBlocks blocks.Length

        for i in 0 .. senders.Length - 1 do
            let struct (ssrc, info) = senders[i]
            let part = if i = 0 then Array.sub blocks 0 first else [||]
            put ssrc (28 + 24 * part.Length) (SenderReport(ssrc, info, part))

        let speaker, rest =
            if senders.Length = 0 then
                local, blocks
            else
                let struct (ssrc, _) = senders[0]
                ssrc, Array.sub blocks first (blocks.Length - first)

        for part in
            (if rest.Length = 0 && senders.Length = 0 then
                 [| [||] |]
             else
                 Array.chunkBySize MaxBlocks rest) do
            put speaker (8 + 24 * part.Length) (ReceiverReport(speaker, part))

        close ()
        made.ToArray()
