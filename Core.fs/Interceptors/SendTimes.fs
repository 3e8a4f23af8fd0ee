namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// What became of a packet.
[<Struct; NoComparison; NoEquality>]
type internal PacketResult =
    {
        SentAt: Instant
        /// By the receiver's clock, of which only differences mean anything; `Instant.never`: it did not come.
        ReceivedAt: Instant
        /// Octets, as they were said when it was sent.
        Size: int
        /// The probe that it belongs to; 0: none.
        Probe: int
    }

    member result.Received = result.ReceivedAt <> Instant.never

/// What a feedback packet says of packets that were sent.
[<NoComparison; NoEquality>]
type internal FeedbackReport =
    {
        /// Each packet once as lost at most and once as received at most, in order of sending.
        Results: PacketResult[]
        Acknowledged: int
        AcknowledgedOctets: int64
        Lost: int
        /// The shortest time from sending to feedback; `Instant.never` where nothing was acknowledged.
        RoundTrip: Duration
        /// Packets marked CE, RFC 3168.
        CongestionExperienced: int
        /// Feedback was lost before this: of packets that came nothing is known.
        HasGap: bool
    }

[<RequireQualifiedAccess>]
module internal FeedbackReport =
    /// Of packets sent at that time or later only.
    let since (from: Instant) (report: FeedbackReport) : FeedbackReport =
        // In order of sending, but for what came late.
        if report.Results |> Array.exists (fun r -> r.SentAt < from) then
            let results = report.Results |> Array.filter (fun r -> r.SentAt >= from)
            let received = results |> Array.filter _.Received

            { report with
                Results = results
                Acknowledged = received.Length
                AcknowledgedOctets = received |> Array.sumBy (fun r -> int64 r.Size)
                Lost = results.Length - received.Length
                RoundTrip =
                    if received.Length = 0 then
                        Instant.never
                    else
                        report.RoundTrip }
        else
            report

/// A packet that was sent.
[<Struct; NoComparison; NoEquality>]
type internal SentPacket =
    {
        At: Instant
        /// Octets of it and of all packets before it.
        Total: int64
        /// Octets; negative: no such packet, a gap in the numbers.
        Size: int
        Probe: int
    }

/// Of the packets of one numbered run: which of them feedback has told of.
[<NoComparison; NoEquality>]
type internal Told =
    {
        /// Numbers below it have been told of.
        Below: int64
        /// Those of them that were told as lost, or skipped, and may still be told as received, ascending.
        Missing: int64[]
    }

/// Results as they are put together, the parts of one feedback packet after another.
[<Sealed>]
type internal Tally(now: Instant, capacity: int) =
    let mutable results: PacketResult[] = Array.zeroCreate capacity
    let mutable count = 0
    let mutable acknowledged = 0
    let mutable octets = 0L
    let mutable last = Int64.MinValue * 1L<us>
    let mutable marked = 0
    let mutable hasGap = false

    /// A packet that came at `receivedAt`, or was lost (`Instant.never`).
    member _.Add(sent: SentPacket, receivedAt: Instant) =
        // A gap in the numbers is nothing that could be lost.
        if sent.Size >= 0 then
            if count = results.Length then
                Array.Resize(&results, max 16 (2 * count))

            results[count] <-
                { SentAt = sent.At
                  ReceivedAt = receivedAt
                  Size = sent.Size
                  Probe = sent.Probe }

            count <- count + 1

            if receivedAt <> Instant.never then
                acknowledged <- acknowledged + 1
                octets <- octets + int64 sent.Size

                if sent.At > last then
                    last <- sent.At

    /// Packets are skipped.
    member _.Skip() = hasGap <- true

    /// A packet came with CE.
    member _.Mark() = marked <- marked + 1

    member _.Report() : FeedbackReport =
        { Results =
            (if count = results.Length then
                 results
             else
                 results[.. count - 1])
          Acknowledged = acknowledged
          AcknowledgedOctets = octets
          Lost = count - acknowledged
          RoundTrip = (if acknowledged = 0 then Instant.never else now - last)
          CongestionExperienced = marked
          HasGap = hasGap }

/// One numbered run of packets that were sent: what both kinds of feedback have in common.
[<RequireQualifiedAccess>]
module internal SentRun =
    /// Packets that are remembered, at most: at 500,000 a second those of the last 200 ms.
    [<Literal>]
    let Bound = 100_000

    /// A packet that was lost may still come late. Those told of longest ago do not any more, which bounds what lying
    /// feedback costs.
    [<Literal>]
    let private MaxMissing = 1_024

    /// Nor do those that so many packets after them were told of.
    [<Literal>]
    let private MaxLate = 4_096L

    /// A packet that feedback has not told of by then is forgotten.
    let horizon: Duration = Duration.seconds 10L

    let nothingTold (first: int64) : Told =
        { Below = first
          Missing = Array.Empty() }

    /// With one more packet at its end, and without what is too old or too much. O(1).
    let append (sent: SentPacket) (run: Log<SentPacket>) : Log<SentPacket> =
        let run = Log.append sent run

        // Many at a time: each drop copies what is left of the log's directory.
        if run.Next &&& 1_023L <> 0L then
            run
        else
            let mutable first = max run.First (run.Next - int64 Bound)
            // Twice as many as came: what is too old is gone soon, and no append pays for all of it.
            let limit = min (run.Next - 1L) (first + 2_048L)

            while first < limit && run[first].At < sent.At - horizon do
                first <- first + 1L

            Log.dropTo first run

    /// Without the packets that nothing more can be told of. The last one stays, for what was sent in all is read from it.
    let settled (told: Told) (run: Log<SentPacket>) : Log<SentPacket> =
        let missing = told.Missing
        let keep = if missing.Length = 0 then told.Below else missing[0]
        Log.dropTo (min (run.Next - 1L) (max keep (told.Below - MaxLate))) run

    /// Adds to `tally` what became of the packets from `first` on. `arrivals`: when each came, or `never`.
    let tell (first: int64) (arrivals: Instant[]) (tally: Tally) (run: Log<SentPacket>) (told: Told) : Told =
        let upTo = min (first + arrivals.LongLength) run.Next

        if upTo <= run.First then
            told
        else
            let missing = told.Missing
            // Numbers that come into `Missing`, and the places that leave it.
            let more = ResizeArray<int64>()
            let found = ResizeArray<int>()

            // What is skipped may be told by a report that was overtaken.
            for number in max (max told.Below run.First) (first - int64 MaxMissing) .. first - 1L do
                more.Add number

            if more.Count > 0 then
                tally.Skip()

            for number in max first run.First .. upTo - 1L do
                let at = arrivals[int (number - first)]

                if number >= told.Below then
                    tally.Add(run[number], at)

                    if at = Instant.never then
                        more.Add number
                elif at <> Instant.never && missing.Length > 0 then
                    let place = Array.BinarySearch(missing, number)

                    if place >= 0 then
                        tally.Add(run[number], at)
                        found.Add place

            let below = max told.Below upTo

            if more.Count = 0 && found.Count = 0 then
                { told with Below = below }
            else
                let kept = ResizeArray<int64>(missing.Length)
                let mutable next = 0

                for place in 0 .. missing.Length - 1 do
                    if next < found.Count && found[next] = place then
                        next <- next + 1
                    else
                        kept.Add missing[place]

                kept.AddRange more
                let surplus = max 0 (kept.Count - MaxMissing)

                { Below = below
                  Missing = (kept.GetRange(surplus, kept.Count - surplus)).ToArray() }

/// When packets were sent, by their transport-wide sequence number, and what TransportFeedback
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1) says became of them.
[<RequireQualifiedAccess>]
module internal TransportSendTimes =
    /// What feedback changes; a packet does not.
    [<NoComparison; NoEquality>]
    type Heard =
        {
            Told: Told
            /// The reference time of the last feedback, in units of 64 ms, unwrapped; `Int64.MinValue` before the first.
            Reference: int64
        }

    [<Struct; NoComparison; NoEquality>]
    type State =
        {
            /// Numbered as the packets are, unwrapped.
            Sent: Log<SentPacket>
            Heard: Heard
        }

    /// `first`: the first sequence number, any.
    let create (first: uint16) : State =
        { Sent = Log.startingAt (int64 first)
          Heard =
            { Told = SentRun.nothingTold (int64 first)
              Reference = Int64.MinValue } }

    /// The transport-wide sequence number of the next packet.
    let next (state: State) : uint16 = uint16 state.Sent.Next

    /// Octets of all packets that were sent.
    let total (state: State) : int64 =
        let sent = state.Sent
        if sent.IsEmpty then 0L else sent[sent.Next - 1L].Total

    /// Octets of packets that no feedback has told of.
    let outstanding (state: State) : int64 =
        let sent = state.Sent
        let below = max sent.First state.Heard.Told.Below

        if below >= sent.Next then
            0L
        else
            sent[sent.Next - 1L].Total - sent[below].Total + int64 sent[below].Size

    /// Notes a packet of `octets`, which has the sequence number `next state`. `probe`: the probe that it belongs to, or 0.
    let sent (now: Instant) (octets: int) (probe: int) (state: State) : State =
        { Sent =
            SentRun.append
                { At = now
                  Total = total state + int64 octets
                  Size = octets
                  Probe = probe }
                state.Sent
          Heard = state.Heard }

    /// What a feedback packet says of packets that were sent. Of others it says nothing.
    let feedback (now: Instant) (feedback: TransportFeedback) (state: State) : struct (State * FeedbackReport) =
        let run = state.Sent
        let heard = state.Heard
        let packets = feedback.Packets

        let reference =
            if heard.Reference = Int64.MinValue then
                int64 feedback.ReferenceTime
            else
                // 24 bits, the nearest.
                heard.Reference
                + ((int64 feedback.ReferenceTime - heard.Reference) <<< 40 >>> 40)

        let mutable first = Sequence.unwrap heard.Told.Below feedback.BaseSequence

        // After a long silence the nearest number is one of long ago.
        while first < run.First && first + 65_536L < run.Next do
            first <- first + 65_536L

        let tally = Tally(now, packets.Length)
        let mutable at = reference * 64_000L<us>

        let arrivals: Instant[] = Array.zeroCreate packets.Length

        for i in 0 .. packets.Length - 1 do
            let packet = packets[i]

            if packet.Received then
                at <- at + int64 packet.Delta * 250L<us>
                arrivals[i] <- at
            else
                arrivals[i] <- Instant.never

        let told = SentRun.tell first arrivals tally run heard.Told

        struct ({ Sent = SentRun.settled told run
                  Heard = { Told = told; Reference = reference } },
                tally.Report())

/// When packets were sent, by SSRC and sequence number, and what RFC 8888 feedback says became of them.
[<RequireQualifiedAccess>]
module internal StreamSendTimes =
    [<NoComparison; NoEquality>]
    type Stream =
        { Ssrc: uint32
          Sent: Log<SentPacket>
          Told: Told }

    /// A stream's packets leave in runs, so that the stream of the last packet is at hand, and the others are as they were.
    [<NoComparison; NoEquality>]
    type State =
        {
            Last: Stream
            Others: Stream[]
            /// Octets of all packets.
            Total: int64
            /// The last report's timestamp, unwrapped, in 65,536ths of a second; `Int64.MinValue` before the first.
            Timestamp: int64
        }

    /// A sequence number further ahead than this begins a run of its own.
    [<Literal>]
    let private MaxGap = 1_000L

    let private stream (ssrc: uint32) (first: int64) : Stream =
        { Ssrc = ssrc
          Sent = Log.startingAt first
          Told = SentRun.nothingTold first }

    let create () : State =
        { Last = stream 0u 0L
          Others = Array.Empty()
          Total = 0L
          Timestamp = Int64.MinValue }

    /// Octets of all packets that were sent.
    let total (state: State) : int64 = state.Total

    let private append
        (now: Instant)
        (sequence: uint16)
        (octets: int)
        (probe: int)
        (total: int64)
        (s: Stream)
        : Stream =
        let number =
            // Room for packets from before the first.
            if s.Sent.IsEmpty && s.Sent.Next = 0L then
                65_536L + int64 sequence
            else
                Sequence.unwrap s.Sent.Next sequence

        let gap = number - s.Sent.Next

        let s =
            if gap > MaxGap then
                stream s.Ssrc number
            else
                let mutable run = s.Sent

                for _ in 1L .. gap do
                    run <-
                        Log.append
                            { At = now
                              Total = total
                              Size = -1
                              Probe = 0 }
                            run

                { s with Sent = run }

        if gap < 0L then
            // Sent again under its old number: which copy came cannot be told.
            s
        else
            { s with
                Sent =
                    SentRun.append
                        { At = now
                          Total = total + int64 octets
                          Size = octets
                          Probe = probe }
                        s.Sent }

    /// Notes a packet of `octets` of a stream. O(1) within a run of packets of one stream, O(streams) where another begins.
    let sent (now: Instant) (ssrc: uint32) (sequence: uint16) (octets: int) (probe: int) (state: State) : State =
        let total = state.Total + int64 octets

        if state.Last.Ssrc = ssrc then
            { state with
                Last = append now sequence octets probe state.Total state.Last
                Total = total }
        else
            let place = Array.FindIndex(state.Others, fun s -> s.Ssrc = ssrc)
            let isFirst = state.Last.Sent.IsEmpty && state.Last.Sent.Next = 0L

            let others =
                if place >= 0 then
                    let others = Array.copy state.Others
                    others[place] <- state.Last
                    others
                elif isFirst then
                    state.Others
                else
                    Array.append state.Others [| state.Last |]

            let current = if place >= 0 then state.Others[place] else stream ssrc 0L

            { state with
                Last = append now sequence octets probe state.Total current
                Others = others
                Total = total }

    /// Without a stream that has ended.
    let forget (ssrc: uint32) (state: State) : State =
        if state.Last.Ssrc = ssrc then
            { state with Last = stream 0u 0L }
        else
            { state with
                Others = Array.filter (fun s -> s.Ssrc <> ssrc) state.Others }

    /// 0x1FFE: longer ago than can be said. 0x1FFF, not known or after the timestamp, is taken as the timestamp.
    let private offset (ato: uint16) : Duration =
        if ato = 0x1FFFus then
            0L<us>
        else
            int64 ato * 1_000_000L / 1_024L * 1L<us>

    let private tell (at: Instant) (tally: Tally) (report: CcfbStream) (s: Stream) : Stream =
        let packets = report.Packets
        let first = Sequence.unwrap s.Told.Below report.BeginSequence

        let arrivals: Instant[] = Array.zeroCreate packets.Length

        for i in 0 .. packets.Length - 1 do
            let packet = packets[i]

            arrivals[i] <-
                if packet.Received then
                    at - offset packet.ArrivalOffset
                else
                    Instant.never

            if packet.Received && packet.Ecn = 3uy then
                tally.Mark()

        let told = SentRun.tell first arrivals tally s.Sent s.Told

        { s with
            Sent = SentRun.settled told s.Sent
            Told = told }

    /// What a report says of packets that were sent. Of others it says nothing. `timestamp`: the middle 32 bits of NTP.
    let feedback (now: Instant) (reports: CcfbStream[]) (timestamp: uint32) (state: State) =
        let unwrapped =
            if state.Timestamp = Int64.MinValue then
                int64 timestamp
            else
                state.Timestamp + int64 (int32 (timestamp - uint32 state.Timestamp))

        let at = unwrapped * 1_000_000L / 65_536L * 1L<us>
        let mutable capacity = 0

        for report in reports do
            capacity <- capacity + report.Packets.Length

        let tally = Tally(now, min capacity SentRun.Bound)
        let others = Array.copy state.Others
        let mutable last = state.Last

        for report in reports do
            if report.Ssrc = last.Ssrc then
                last <- tell at tally report last
            else
                let place = Array.FindIndex(others, fun s -> s.Ssrc = report.Ssrc)

                if place >= 0 then
                    others[place] <- tell at tally report others[place]

        struct ({ state with
                    Last = last
                    Others = others
                    Timestamp = unwrapped },
                tally.Report())
