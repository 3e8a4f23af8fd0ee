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
        { Bursts: Log<SentBurst>
          Octets: int64
          Asked: Asked }

    /// How long a packet may be asked for.
    let private age: Duration = Duration.milliseconds 1_500L

    [<Literal>]
    let private MaxOctets = 8_388_608L

    /// Packets that one NACK may ask for.
    [<Literal>]
    let private MaxFound = 256

    /// Numbers that one NACK may ask for: what is beyond is not looked up.
    [<Literal>]
    let private MaxLookups = 1_000

    /// Bursts that are looked at for one packet.
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
            Octets = octets }

    /// The burst and the place of a number, or -1. Bursts are in order of sending, which is that of numbers but for what was late.
    let private find (sequence: int64) (bursts: Log<SentBurst>) : struct (int64 * int) =
        let mutable low = bursts.First
        let mutable high = bursts.Next

        while low < high do
            let middle = (low + high) / 2L

            if bursts[middle].First <= sequence then
                low <- middle + 1L
            else
                high <- middle

        let mutable at = min (bursts.Next - 1L) low
        let last = max bursts.First (at - int64 MaxLooked)
        let mutable place = -1

        while place < 0 && at >= last do
            let burst = bursts[at]
            let count = burst.Packets.Length
            // The place that it has where none is missing.
            let likely = sequence - burst.First

            if likely >= 0L && likely < int64 count && burst.Sequence(int likely) = sequence then
                place <- int likely
            else
                let mutable i = 0

                while place < 0 && i < count && count <= 4_096 do
                    if burst.Sequence i = sequence then
                        place <- i

                    i <- i + 1

            if place < 0 then
                at <- at - 1L

        struct (at, place)

    /// The packets that may be sent again now, with their bursts. Each not more often than a round trip, and all together not more than
    /// 256 KiB at once and as much a second, or twice what was sent of late.
    let asked (now: Instant) (roundTrip: Duration) (asked: NackPair[]) (state: State) =
        let bursts = state.Bursts
        let found = ResizeArray<struct (SentBurst * int)>()

        if bursts.IsEmpty then
            struct (found.ToArray(), state)
        else
            let rate = max BudgetDepth (float state.Octets) / 1e6

            let mutable budget =
                min
                    (max BudgetDepth (float state.Octets / 4.0))
                    (state.Asked.Budget + rate * float (now - state.Asked.BudgetAt))

            let near = bursts[bursts.Next - 1L].First

            let resent =
                ResizeArray(
                    state.Asked.Resent
                    |> Array.filter (fun r -> now - r.At < max roundTrip (Duration.milliseconds 10L))
                )

            let known = Collections.Generic.HashSet<int64>()

            for r in resent do
                known.Add r.Sequence |> ignore

            let mutable lookups = 0

            let ask (sequence: int64) =
                lookups <- lookups + 1

                if
                    lookups <= MaxLookups
                    && found.Count < MaxFound
                    && resent.Count < MaxResent
                    && budget > 0.0
                    && not (known.Contains sequence)
                then
                    match find sequence bursts with
                    | struct (_, -1) -> ()
                    | struct (at, place) ->
                        let burst = bursts[at]
                        budget <- budget - float (burst.Packets.Span[place].Payload.Length + 40)
                        found.Add(struct (burst, place))
                        known.Add sequence |> ignore
                        resent.Add { Sequence = sequence; At = now }

            for pair in asked do
                let first = Sequence.unwrap near pair.PacketId
                ask first

                if pair.Bitmask <> 0us then
                    for bit in 0..15 do
                        if (pair.Bitmask >>> bit) &&& 1us = 1us then
                            ask (first + 1L + int64 bit)

            struct (found.ToArray(),
                    { state with
                        Asked =
                            { Resent = resent.ToArray()
                              Budget = budget
                              BudgetAt = now } })
