namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// A packet that has not come.
[<Struct; NoComparison; NoEquality>]
type internal MissingPacket =
    {
        Sequence: int64
        /// When a later one came.
        Since: Instant
        /// When it is to be asked for, again.
        AskAt: Instant
        Asked: int
    }

/// Asks for packets that did not come, RFC 4585 §6.2.1.
///
///     Whole ──gap──▶ Missing ──due──▶ Asked ──came, or given up──▶ Whole
///
/// In order, a packet costs a comparison.
[<RequireQualifiedAccess>]
module internal NackGenerator =
    [<NoComparison; NoEquality>]
    type Gaps =
        {
            /// Ascending.
            Missing: MissingPacket[]
            /// The earliest `AskAt`.
            DueAt: Instant
        }

    [<Struct; NoComparison; NoEquality>]
    type State =
        {
            /// 0 before the first packet.
            Highest: int64
            RoundTrip: Duration
            Gaps: Gaps
        }

    [<NoComparison; NoEquality>]
    type Output =
        | Request of NackPair[]
        /// Too much is missing, or for too long: a key frame is what helps.
        | GaveUp

    /// Packets that are waited for, at most; libwebrtc.
    [<Literal>]
    let private MaxMissing = 1_000

    /// A leap of more is another source, or a lie.
    [<Literal>]
    let private MaxGap = 1_000L

    [<Literal>]
    let private MaxAsked = 10

    /// A packet may have been overtaken.
    let private patience: Duration = Duration.milliseconds 10L

    let private oldest: Duration = Duration.seconds 1L

    let private whole: Gaps =
        { Missing = Array.Empty()
          DueAt = Instant.never }

    let create () : State =
        { Highest = 0L
          RoundTrip = Duration.milliseconds 100L
          Gaps = whole }

    let deadline (state: State) : Instant = state.Gaps.DueAt

    let private find (sequence: int64) (missing: MissingPacket[]) : int =
        let mutable low = 0
        let mutable high = missing.Length

        while low < high do
            let middle = (low + high) / 2

            if missing[middle].Sequence < sequence then
                low <- middle + 1
            else
                high <- middle

        if low < missing.Length && missing[low].Sequence = sequence then
            low
        else
            -1

    /// Whether a packet is waited for: one that comes again is a duplicate otherwise.
    let isMissing (sequence: int64) (state: State) : bool = find sequence state.Gaps.Missing >= 0

    let private gaps (missing: MissingPacket[]) : Gaps =
        if missing.Length = 0 then
            whole
        else
            let mutable due = Instant.never

            for m in missing do
                due <- Instant.min due m.AskAt

            { Missing = missing; DueAt = due }

    let roundTrip (trip: Duration) (state: State) : State = { state with RoundTrip = trip }

    /// A packet came, whether for the first time or sent again.
    let received (now: Instant) (sequence: int64) (state: State) : Step<State, Output> =
        if state.Highest = 0L then
            Step.only { state with Highest = sequence }
        elif sequence = state.Highest + 1L then
            Step.only { state with Highest = sequence }
        elif sequence > state.Highest then
            let gap = sequence - state.Highest - 1L

            if gap > MaxGap || int64 state.Gaps.Missing.Length + gap > int64 MaxMissing then
                Step.one
                    GaveUp
                    { state with
                        Highest = sequence
                        Gaps = whole }
            else
                let more: MissingPacket[] = Array.zeroCreate (int gap)

                for i in 0 .. more.Length - 1 do
                    more[i] <-
                        { Sequence = state.Highest + 1L + int64 i
                          Since = now
                          AskAt = now + patience
                          Asked = 0 }

                Step.only
                    { state with
                        Highest = sequence
                        Gaps = gaps (Array.append state.Gaps.Missing more) }
        else
            match find sequence state.Gaps.Missing with
            | -1 -> Step.only state
            | at ->
                Step.only
                    { state with
                        Gaps = gaps (Array.removeAt at state.Gaps.Missing) }

    /// A number and, bit by bit, which of the 16 behind it are meant too, as many as it takes.
    let pairs (sequences: int64[]) : NackPair[] =
        let made = ResizeArray<NackPair>()

        for sequence in sequences do
            let isNew = made.Count = 0 || uint16 sequence - made[made.Count - 1].PacketId > 16us

            if isNew then
                made.Add
                    { PacketId = uint16 sequence
                      Bitmask = 0us }
            else
                let last = made[made.Count - 1]

                made[made.Count - 1] <-
                    { last with
                        Bitmask = last.Bitmask ||| (1us <<< int (uint16 sequence - last.PacketId - 1us)) }

        made.ToArray()

    /// Asks for what is due; gives up what is too old.
    let tick (now: Instant) (state: State) : Step<State, Output> =
        if now < state.Gaps.DueAt then
            Step.only state
        else
            let again = max (Duration.milliseconds 20L) (state.RoundTrip + state.RoundTrip / 2L)

            let asked = ResizeArray<int64>()
            let kept = ResizeArray<MissingPacket>()
            let mutable given = false

            for m in state.Gaps.Missing do
                if now - m.Since > oldest || m.Asked >= MaxAsked then
                    given <- true
                elif m.AskAt <= now then
                    asked.Add m.Sequence

                    kept.Add
                        { m with
                            AskAt = now + again
                            Asked = m.Asked + 1 }
                else
                    kept.Add m

            struct ({ state with
                        Gaps = gaps (kept.ToArray()) },
                    [ if asked.Count > 0 then
                          Request(pairs (asked.ToArray()))
                      if given then
                          GaveUp ])
