namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// Packets that left together, as they were described: to be described again when they are asked for.
[<NoComparison; NoEquality>]
type internal SentBurst =
    {
        Packets: ReadOnlyMemory<RtpPacket>
        Mapping: RtpMapping
        /// The number of the first packet, as it was sent; the others lie near it.
        First: int64
        /// The least and the greatest number of the burst.
        Lowest: int64
        Highest: int64
        /// The first packet's transport-wide sequence number; the others' follow it.
        TransportSequence: uint16
        Translation: ExtensionTranslation
        At: Instant
        /// Of all, as they were sent.
        Octets: int
    }

    /// The number of a packet.
    member burst.Sequence(i: int) : int64 =
        Sequence.unwrap burst.First (burst.Packets.Span[i].SequenceNumber + burst.Mapping.SequenceOffset)

/// A packet that was sent again.
[<Struct; NoComparison; NoEquality>]
type internal Resent = { Sequence: int64; At: Instant }

/// What one source has sent of late, for those who ask for it again, RFC 4585 §6.2.1. A burst is one entry, however many packets
/// it has.
[<RequireQualifiedAccess>]
module internal SentHistory =
    [<NoComparison; NoEquality>]
    type Asked =
        {
            /// Of the last round trips.
            Resent: Resent[]
            /// Octets that may be sent again: a bucket, so that who asks for everything does not get everything.
            Budget: float
            BudgetAt: Instant
        }

    [<NoComparison; NoEquality>]
    type State =
        {
            Bursts: Log<SentBurst>
            Octets: int64
            /// The greatest number of all, and the last burst in which one was less than one before it; -1: none.
            Highest: int64
            Late: int64
            Asked: Asked
        }

    /// How long a packet may be asked for.
    let private age: Duration = Duration.milliseconds 1_500L

    [<Literal>]
    let private MaxOctets = 8_388_608L

    /// Packets that one NACK may ask for.
    [<Literal>]
    let private MaxFound = 256

    /// Steps that the NACKs of one datagram may cost: a look at a burst, at a packet, at a number sent again. A thousand lost packets
    /// that follow each other cost about as many.
    [<Literal>]
    let MaxWork = 16_384

    /// Bursts that are looked at for one packet where some were late.
    [<Literal>]
    let private MaxLooked = 64

    [<Literal>]
    let private MaxResent = 512

    /// Octets that may be sent again at once.
    [<Literal>]
    let private BudgetDepth = 262_144.0

    let create () : State =
        { Bursts = Log.startingAt 0L
          Octets = 0L
          Highest = -1L
          Late = -1L
          Asked =
            { Resent = Array.Empty()
              Budget = BudgetDepth
              BudgetAt = 0L<us> } }

    /// With one burst more, and without what is too old or too much. O(1) amortised.
    let append (burst: SentBurst) (state: State) : State =
        let bursts = Log.append burst state.Bursts
        let mutable octets = state.Octets + int64 burst.Octets
        let mutable first = bursts.First

        while first < bursts.Next - 1L
              && (octets > MaxOctets || burst.At - bursts[first].At > age) do
            octets <- octets - int64 bursts[first].Octets
            first <- first + 1L

        { state with
            Bursts = Log.dropTo first bursts
            Octets = octets
            Highest = max state.Highest burst.Highest
            Late =
                (if burst.Lowest < state.Highest then
                     bursts.Next - 1L
                 else
                     state.Late) }

    /// The burst and the place of a number, or -1, and the steps that it has cost. Bursts are in order of sending, which is that
    /// of numbers but for what was late.
    let private find (sequence: int64) (allowed: int) (state: State) : struct (int64 * int * int) =
        let bursts = state.Bursts
        let mutable work = 0
        let mutable low = bursts.First
        let mutable high = bursts.Next

        while low < high do
            let middle = (low + high) / 2L
            work <- work + 1

            if bursts[middle].Lowest <= sequence then
                low <- middle + 1L
            else
                high <- middle

        // The last one that begins before the number, and where some were late, those about it.
        let isOrdered = state.Late < bursts.First
        let mutable at = if isOrdered then low - 1L else min (bursts.Next - 1L) low
        let last = max bursts.First (if isOrdered then at else at - int64 MaxLooked)
        let mutable place = -1

        while place < 0 && at >= last do
            let burst = bursts[at]
            work <- work + 1

            if sequence >= burst.Lowest && sequence <= burst.Highest then
                let count = burst.Packets.Length
                // The place that it has where none is missing.
                let likely = sequence - burst.First

                if likely >= 0L && likely < int64 count && burst.Sequence(int likely) = sequence then
                    place <- int likely
                else
                    let mutable i = 0

                    while place < 0 && i < count && work < allowed do
                        work <- work + 1

                        if burst.Sequence i = sequence then
                            place <- i

                        i <- i + 1

            if place < 0 then
                at <- at - 1L

        struct (at, place, work)

    /// The packets that may be sent again now, with their bursts, and the steps that it has cost, of those `allowed`. Each not more often
    /// than a round trip, and all together not more than 256 KiB at once and as much a second, or twice what was sent of late.
    let asked
        (now: Instant)
        (roundTrip: Duration)
        (allowed: int)
        (asked: NackPair[])
        (state: State)
        : struct (struct (SentBurst * int)[] * int * State) =
        let bursts = state.Bursts
        let found = ResizeArray<struct (SentBurst * int)>()

        if bursts.IsEmpty || allowed <= 0 then
            struct (found.ToArray(), 0, state)
        else
            let rate = max BudgetDepth (float state.Octets) / 1e6

            let mutable budget =
                min
                    (max BudgetDepth (float state.Octets / 4.0))
                    (state.Asked.Budget + rate * float (now - state.Asked.BudgetAt))

            let near = state.Highest

            let resent =
                ResizeArray(
                    state.Asked.Resent
                    |> Array.filter (fun r -> now - r.At < max roundTrip (Duration.milliseconds 10L))
                )

            let known = Collections.Generic.HashSet<int64>()

            for r in resent do
                known.Add r.Sequence |> ignore

            let mutable work = state.Asked.Resent.Length

            let mutable next = 0

            while next < asked.Length && work < allowed do
                let pair = asked[next]
                let first = Sequence.unwrap near pair.PacketId
                next <- next + 1

                for bit in -1 .. 15 do
                    if bit < 0 || (pair.Bitmask >>> bit) &&& 1us = 1us then
                        let sequence = first + 1L + int64 bit
                        work <- work + 1

                        if
                            work < allowed
                            && found.Count < MaxFound
                            && resent.Count < MaxResent
                            && budget > 0.0
                            && not (known.Contains sequence)
                        then
                            let struct (at, place, cost) = find sequence (allowed - work) state
                            work <- work + cost

                            if place >= 0 then
                                let burst = bursts[at]
                                budget <- budget - float (burst.Packets.Span[place].Payload.Length + 40)
                                found.Add(struct (burst, place))
                                known.Add sequence |> ignore
                                resent.Add { Sequence = sequence; At = now }

            struct (found.ToArray(),
                    work,
                    { state with
                        Asked =
                            { Resent = resent.ToArray()
                              Budget = budget
                              BudgetAt = now } })
