namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// Packets in a row that are missing, and when they are to be asked for.
[<Struct; NoComparison>]
type internal LostRun =
    {
        First: int64
        Last: int64
        FoundAt: Instant
        DueAt: Instant
        /// How often they were asked for.
        Asked: int
    }

/// Finds out what is missing of one received stream, and asks for it, RFC 4585 §6.2.1.
///
///     missing ──a little later: perhaps only reordered──▶ asked for ──a round trip, and longer each time──┐
///                                                            ▲                                          │
///                                                            └──────────────────────────────────────────┤
///                                                                     too often, or too old: given up ◀─┘
[<RequireQualifiedAccess>]
module internal NackGenerator =
    [<Struct; NoComparison; NoEquality>]
    type State =
        {
            /// One above the highest unwrapped number that came; 0 before the first.
            Next: int64
            /// Ascending, disjoint.
            Missing: LostRun[]
            /// Packets in `Missing`.
            Count: int
            /// Of the run that is due first; `Instant.never` where nothing is missing.
            DueAt: Instant
            /// How long to wait for what is only reordered, learned from what came late by itself.
            Patience: Duration
            /// As reports or ICE measured it.
            RoundTrip: Duration
            /// Packets asked for, each time counted.
            Asked: int64
            GivenUp: int64
        }

    [<NoComparison>]
    type Output =
        /// To be sent as `Nack`: 250 pairs at most, 1,000 octets.
        | Request of NackPair[]
        /// More was lost than is worth asking for, or it did not come in time: only a picture that needs none of it helps.
        | GaveUp

    /// Packets asked for at a time; of more, all are given up.
    [<Literal>]
    let MaxMissing = 1000

    /// Runs of missing packets.
    [<Literal>]
    let MaxRuns = 256

    /// How often a packet is asked for. libwebrtc's number.
    [<Literal>]
    let MaxAsked = 10

    /// Pairs of one request.
    [<Literal>]
    let MaxPairs = 250

    /// What is not there by then is not worth asking for.
    let maxAge: Duration = Duration.seconds 1L

    let private leastPatience: Duration = Duration.milliseconds 2L
    let private mostPatience: Duration = Duration.milliseconds 50L

    /// Before there is a measurement. libwebrtc's number.
    let private defaultRoundTrip: Duration = Duration.milliseconds 100L

    /// What falls due so little later goes with what is due.
    let private slack: Duration = Duration.milliseconds 1L

    let create () : State =
        { Next = 0L
          Missing = Array.Empty()
          Count = 0
          DueAt = Instant.never
          Patience = Duration.milliseconds 5L
          RoundTrip = defaultRoundTrip
          Asked = 0L
          GivenUp = 0L }

    /// When `tick` has something to ask for.
    let deadline (state: State) : Instant = state.DueAt

    let private withMissing (missing: LostRun[]) (state: State) : State =
        let mutable due = Instant.never
        let mutable count = 0L

        for run in missing do
            due <- Instant.min due run.DueAt
            count <- count + run.Last - run.First + 1L

        { state with
            Missing = missing
            Count = int count
            DueAt = due }

    /// The round trip as it is now known.
    let roundTrip (time: Duration) (state: State) : State =
        { state with
            RoundTrip = max (Duration.milliseconds 1L) (min (Duration.seconds 2L) time) }

    /// The place of the run that `number` is in; -1: it is not missing.
    let private place (number: int64) (runs: LostRun[]) : int =
        let mutable low = 0
        let mutable high = runs.Length - 1
        let mutable found = -1

        while found < 0 && low <= high do
            let middle = (low + high) >>> 1
            let run = runs[middle]

            if number < run.First then high <- middle - 1
            elif number > run.Last then low <- middle + 1
            else found <- middle

        found

    /// Whether a packet is waited for: one that comes again is a duplicate otherwise.
    let isMissing (number: int64) (state: State) : bool = place number state.Missing >= 0

    let private without (number: int64) (at: int) (runs: LostRun[]) : LostRun[] =
        let run = runs[at]
        let before = Array.sub runs 0 at
        let behind = Array.sub runs (at + 1) (runs.Length - at - 1)

        let rest =
            if run.First = run.Last then
                Array.Empty()
            elif number = run.First then
                [| { run with First = number + 1L } |]
            elif number = run.Last then
                [| { run with Last = number - 1L } |]
            else
                [| { run with Last = number - 1L }; { run with First = number + 1L } |]

        Array.concat [ before; rest; behind ]

    let private forgotten (state: State) : State =
        { withMissing (Array.Empty()) state with
            GivenUp = state.GivenUp + int64 state.Count }

    /// Takes the unwrapped number of a packet that came. `repair`: by retransmission or FEC, not by itself.
    let received (now: Instant) (number: int64) (repair: bool) (state: State) : Step<State, Output> =
        if number = state.Next then
            Step.only { state with Next = number + 1L }
        elif state.Next = 0L then
            Step.only { state with Next = number + 1L }
        elif number < state.Next then
            match place number state.Missing with
            | -1 -> Step.only state
            | at ->
                let run = state.Missing[at]

                let late = now - run.FoundAt

                let patience =
                    // An answer takes a round trip at least: before that it was only late. Others like it get a little more.
                    if repair || (run.Asked > 0 && late >= state.RoundTrip) then
                        state.Patience
                    else
                        max state.Patience (min mostPatience (late + late / 4L))

                let missing = without number at state.Missing

                if missing.Length > MaxRuns then
                    Step.one GaveUp (forgotten state)
                else
                    Step.only
                        { withMissing missing state with
                            Patience = patience }
        else
            let gap = number - state.Next

            if gap + int64 state.Count > int64 MaxMissing || state.Missing.Length = MaxRuns then
                let state = forgotten state

                Step.one
                    GaveUp
                    { state with
                        Next = number + 1L
                        GivenUp = state.GivenUp + gap }
            else
                let run =
                    { First = state.Next
                      Last = number - 1L
                      FoundAt = now
                      DueAt = now + state.Patience
                      Asked = 0 }

                Step.only
                    { state with
                        Next = number + 1L
                        Missing = Array.append state.Missing [| run |]
                        Count = state.Count + int gap
                        DueAt = Instant.min state.DueAt run.DueAt }

    /// Whether something is waited for from one number to another.
    let isMissingWithin (first: int64) (last: int64) (state: State) : bool =
        let mutable found = false

        for run in state.Missing do
            found <- found || (run.First <= last && run.Last >= first)

        found

    /// Nothing below `number` is needed any more: a key frame begins there, and is whole. What was asked for less than `asked` times is
    /// still waited for: a picture before it is worth the answer that may be on its way.
    let passed (number: int64) (asked: int) (state: State) : State =
        if state.Missing.Length = 0 || state.Missing[0].First >= number then
            state
        else
            let missing =
                state.Missing
                |> Array.choose (fun run ->
                    if run.Asked < asked then
                        Some run
                    elif run.Last < number then
                        None
                    else
                        Some
                            { run with
                                First = max run.First number })

            withMissing missing state

    /// Numbers, ascending, as pairs.
    let private pairs (numbers: Collections.Generic.List<int64>) : Output list =
        let found = Collections.Generic.List<NackPair>()
        let mutable i = 0

        while i < numbers.Count do
            let first = numbers[i]
            let mutable mask = 0us
            i <- i + 1

            while i < numbers.Count && numbers[i] - first <= 16L do
                mask <- mask ||| (1us <<< int (numbers[i] - first - 1L))
                i <- i + 1

            found.Add
                { PacketId = uint16 first
                  Bitmask = mask }

        [ for some in Array.chunkBySize MaxPairs (found.ToArray()) -> Request some ]

    /// How long an answer may take; longer each time.
    let private backoff (asked: int) (state: State) : Duration =
        let answer = state.RoundTrip + state.RoundTrip / 4L + Duration.milliseconds 5L
        answer + answer * int64 (min asked 8) / 4L

    let tick (now: Instant) (state: State) : Step<State, Output> =
        if now < state.DueAt then
            Step.only state
        else
            let numbers = Collections.Generic.List<int64>()
            let kept = Collections.Generic.List<LostRun>(state.Missing.Length)
            let mutable givenUp = 0L
            let oldest = max maxAge (4L * state.RoundTrip)

            for run in state.Missing do
                if run.DueAt > now + slack then
                    kept.Add run
                elif run.Asked >= MaxAsked || now - run.FoundAt > oldest then
                    givenUp <- givenUp + run.Last - run.First + 1L
                else
                    for number in run.First .. run.Last do
                        numbers.Add number

                    kept.Add
                        { run with
                            Asked = run.Asked + 1
                            DueAt = now + backoff run.Asked state }

            let state = withMissing (kept.ToArray()) state

            let state =
                { state with
                    // Where nothing comes late by itself, patience goes down again.
                    Patience = max leastPatience (state.Patience - state.Patience / 64L)
                    Asked = state.Asked + int64 numbers.Count
                    GivenUp = state.GivenUp + givenUp }

            let asked = pairs numbers
            struct (state, (if givenUp > 0L then asked @ [ GaveUp ] else asked))
