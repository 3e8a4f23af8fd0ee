namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// What a sender report says of one sent stream.
[<Struct; NoComparison>]
type internal SentCounters =
    {
        Ssrc: uint32
        Packets: int64
        /// Of payload, RFC 3550 §6.4.1.
        Octets: int64
        /// Of the last packet.
        Timestamp: uint32
        /// When the last packet was captured, or sent where that is not known.
        TimestampAt: Instant
        /// Hz.
        ClockRate: int
    }

/// A receiver's reference time that waits for its answer, RFC 3611 §4.5.
[<Struct; NoComparison>]
type internal ReferenceTime =
    { Ssrc: uint32
      Last: uint32
      At: Instant }

/// When reports go out, and what they say, RFC 3550 §6.2 to §6.6, RFC 4585 §3.4, RFC 3611 §4.4 and §4.5. One for each transport.
///
///     Waiting ──tick at the deadline──▶ Waiting, `Due`: the compounds of `compose` are to be sent
///        └─────── leave ─────▶ Left
///
/// Feedback (NACK, PLI…) goes out at once beside it: two peers on a path with room are in "immediate feedback mode", RFC 4585 §3.3,
/// where early packets do not put off regular ones.
[<RequireQualifiedAccess>]
module internal Reports =
    [<NoComparison; NoEquality>]
    type State =
        {
            Entropy: Entropy
            /// Of `Ntp.offset`.
            NtpOffset: Duration
            Cname: string
            /// When a report is due; `Instant.never` once left.
            DueAt: Instant
            /// Reports were asked for by `a=rtcp-xr:rcvr-rtt`, RFC 3611 §5.1.
            ReceiverRoundTrip: bool
            References: ReferenceTime[]
            /// By DLRR: of one who only receives.
            RoundTrips: RoundTripTimes
        }

    [<NoComparison>]
    type Output =
        /// `compose`, and send what it answers.
        | Due

    /// Blocks in one report: the count has five bits, RFC 3550 §6.4.1.
    [<Literal>]
    let MaxBlocks = 31

    /// Octets of a compound packet: what fits any path, SRTCP's trailer included.
    [<Literal>]
    let MaxCompound = 1150

    /// Receivers whose reference times wait for an answer.
    [<Literal>]
    let private MaxReferences = 16

    /// The interval before it is randomised. RFC 3550 §6.2's five seconds are a group's; RFC 4585 §3.4 lets a bandwidth as ours
    /// report each second.
    let interval: Duration = Duration.seconds 1L

    /// From half to one and a half of the interval, RFC 3550 §6.3.1.
    let private drawn (entropy: Entropy) : struct (Duration * Entropy) =
        let struct (part, entropy) = Entropy.below (int interval) entropy
        struct (interval / 2L + Duration.microseconds (int64 part), entropy)

    /// The first report is due after half of what the others wait, RFC 3550 §6.2.
    let create (now: Instant) (ntpOffset: Duration) (cname: string) (entropy: Entropy) : State =
        let struct (wait, entropy) = drawn entropy

        { Entropy = entropy
          NtpOffset = ntpOffset
          Cname = cname
          DueAt = now + wait / 2L
          ReceiverRoundTrip = false
          References = Array.Empty()
          RoundTrips = RoundTripTimes.none }

    /// When a report is due.
    let deadline (state: State) : Instant = state.DueAt

    /// Whether a reception's round trip is to be measured by XR, as `a=rtcp-xr:rcvr-rtt` has it.
    let measuring (receiverRoundTrip: bool) (state: State) : State =
        { state with
            ReceiverRoundTrip = receiverRoundTrip }

    /// Nothing is due any more.
    let leave (state: State) : State = { state with DueAt = Instant.never }

    /// Makes the next report due at once, for a stream that has just begun.
    let hasten (now: Instant) (state: State) : State =
        { state with
            DueAt =
                (if state.DueAt = Instant.never then
                     Instant.never
                 else
                     Instant.min now state.DueAt) }

    let tick (now: Instant) (state: State) : Step<State, Output> =
        if now < state.DueAt then
            Step.only state
        else
            let struct (wait, entropy) = drawn state.Entropy

            Step.one
                Due
                { state with
                    Entropy = entropy
                    DueAt = now + wait }

    /// Notes the blocks of a received extended report. Of a reference time the answer goes out with the next report.
    let extended (now: Instant) (ssrc: uint32) (blocks: XrBlock[]) (ours: uint32 -> bool) (state: State) : State =
        let mutable state = state

        for block in blocks do
            match block with
            | ReceiverReferenceTime ntp ->
                let reference =
                    { Ssrc = ssrc
                      Last = Ntp.middle ntp
                      At = now }

                let others = state.References |> Array.filter (fun known -> known.Ssrc <> ssrc)

                // The oldest makes room.
                let others =
                    if others.Length >= MaxReferences then
                        Array.sub others 1 (MaxReferences - 1)
                    else
                        others

                state <-
                    { state with
                        References = Array.append others [| reference |] }
            | Dlrr entries ->
                let arrival = Ntp.middle (Ntp.time state.NtpOffset now)

                for entry in entries do
                    if ours entry.Ssrc then
                        match
                            RoundTripTimes.measured arrival entry.LastReceiverReport entry.DelaySinceLastReceiverReport
                        with
                        | ValueSome time ->
                            state <-
                                { state with
                                    RoundTrips = RoundTripTimes.add time state.RoundTrips }
                        | ValueNone -> ()
            | _ -> ()

        state

    /// The round trip that a block about a stream of ours tells, RFC 3550 §6.4.1.
    let roundTrip (now: Instant) (report: inref<ReceptionReport>) (state: State) : Duration voption =
        RoundTripTimes.measured
            (Ntp.middle (Ntp.time state.NtpOffset now))
            report.LastSenderReport
            report.DelaySinceLastSenderReport

    let private described (cname: string) (sources: uint32[]) : Rtcp =
        SourceDescription(
            sources
            |> Array.map (fun source ->
                { Source = source
                  Items = [| { Type = 1uy; Text = cname } |] })
        )

    /// Octets of a chunk with a CNAME, RFC 3550 §6.5.
    let private chunkSize (cname: string) =
        (4 + 2 + Text.Encoding.UTF8.GetByteCount cname + 1 + 3) &&& ~~~3

    let private info (state: State) (now: Instant) (sent: inref<SentCounters>) : SenderInfo =
        let since = max 0L<us> (now - sent.TimestampAt)

        { NtpTime = Ntp.time state.NtpOffset now
          // What the stream's clock says now, not at the last packet, RFC 3550 §6.4.1.
          RtpTime = sent.Timestamp + uint32 (since * int64 sent.ClockRate / 1_000_000L<us>)
          PacketCount = uint32 sent.Packets
          OctetCount = uint32 sent.Octets }

    let private dlrr (now: Instant) (state: State) : XrBlock =
        Dlrr(
            state.References
            |> Array.map (fun known ->
                { Ssrc = known.Ssrc
                  LastReceiverReport = known.Last
                  DelaySinceLastReceiverReport = Ntp.units (now - known.At) })
        )

    /// Regular reports: compound packets, each with a report first and then the CNAME of each source that speaks in it (RFC 3550 §6.1).
    /// `local`: the SSRC to speak by where nothing is sent. `reports`: about sources that were heard since the last time; they
    /// are the first sender's words. The references are answered, and forgotten.
    let compose
        (now: Instant)
        (local: uint32)
        (sent: SentCounters[])
        (reports: ReceptionReport[])
        (state: State)
        : struct (Rtcp[][] * State) =
        let chunk = chunkSize state.Cname
        let compounds = Collections.Generic.List<Rtcp[]>()
        let packets = Collections.Generic.List<Rtcp>()
        let sources = Collections.Generic.List<uint32>()
        let mutable octets = 0

        let flush () =
            if packets.Count > 0 then
                packets.Add(described state.Cname (sources.ToArray()))
                compounds.Add(packets.ToArray())
                packets.Clear()
                sources.Clear()
                octets <- 0

        /// Into the present compound, or a new one where it has no room.
        let put (source: uint32) (size: int) (packet: Rtcp) =
            let whole = size + (if sources.Contains source then 0 else chunk)
            // The SDES packet's own head is four octets.
            if octets > 0 && octets + whole + 4 > MaxCompound then
                flush ()

            if not (sources.Contains source) then
                sources.Add source
                octets <- octets + chunk

            packets.Add packet
            octets <- octets + size

        let speaker = if sent.Length > 0 then sent[0].Ssrc else local
        let mutable told = 0

        let next () =
            let count = min MaxBlocks (reports.Length - told)
            let blocks = Array.sub reports told count
            told <- told + count
            blocks

        for i in 0 .. sent.Length - 1 do
            let blocks = if i = 0 then next () else Array.Empty()
            put sent[i].Ssrc (28 + 24 * blocks.Length) (SenderReport(sent[i].Ssrc, info state now &sent[i], blocks))

        if sent.Length = 0 then
            let blocks = next ()
            put speaker (8 + 24 * blocks.Length) (ReceiverReport(speaker, blocks))

        while told < reports.Length do
            let blocks = next ()
            put speaker (8 + 24 * blocks.Length) (ReceiverReport(speaker, blocks))

        let references = state.References.Length

        let blocks =
            [| if references > 0 then
                   dlrr now state
               if state.ReceiverRoundTrip && sent.Length = 0 then
                   ReceiverReferenceTime(Ntp.time state.NtpOffset now) |]

        if blocks.Length > 0 then
            let size =
                8
                + (if references > 0 then 4 + 12 * references else 0)
                + (if blocks.Length > (if references > 0 then 1 else 0) then
                       12
                   else
                       0)

            // Behind the report that a compound begins with, RFC 3611 §2.
            if octets + size + 4 > MaxCompound then
                flush ()
                put speaker 8 (ReceiverReport(speaker, Array.Empty()))

            packets.Add(ExtendedReport(speaker, blocks))

        flush ()

        struct (compounds.ToArray(),
                { state with
                    References = Array.Empty() })

    /// Feedback to be sent at once: alone where `a=rtcp-rsize` was agreed on (RFC 5506 §3.4.1), else behind an empty report and
    /// the CNAME (RFC 4585 §3.1).
    let feedback (reducedSize: bool) (local: uint32) (packets: Rtcp[]) (state: State) : Rtcp[] =
        if reducedSize then
            packets
        else
            Array.append [| ReceiverReport(local, Array.Empty()); described state.Cname [| local |] |] packets

    /// The last words of sources, RFC 3550 §6.6. The count has five bits: 31 sources a packet.
    let goodbye (local: uint32) (sources: uint32[]) (reason: string) (state: State) : Rtcp[] =
        [| ReceiverReport(local, Array.Empty())
           described state.Cname [| local |]

           for some in Array.chunkBySize MaxBlocks sources do
               Goodbye(some, reason) |]
