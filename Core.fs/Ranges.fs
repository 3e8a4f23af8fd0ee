namespace Hybrid.WebRtc.Core

open System

/// All whole numbers from `First` to `Last`, both included.
[<Struct; NoComparison>]
type Range = { First: int64; Last: int64 }

/// A set of whole numbers as its maximal runs, ascending: gap ack blocks, NACK lists. Immutable.
/// A lookup costs O(log runs); an addition copies the runs, so whoever lets a peer add bounds their number.
[<Struct; NoComparison; NoEquality>]
type RangeSet =
    internal
        {
            /// Ascending, neither overlapping nor adjacent.
            Runs: Range[]
        }

/// Sets of whole numbers as runs.
[<RequireQualifiedAccess>]
module RangeSet =
    /// The set of nothing.
    let empty: RangeSet = { Runs = Array.Empty() }

    /// Whether nothing is in the set.
    let isEmpty (set: RangeSet) : bool = set.Runs.Length = 0

    /// The number of runs.
    let count (set: RangeSet) : int = set.Runs.Length

    /// The runs, ascending, lent.
    let runs (set: RangeSet) : ReadOnlySpan<Range> = ReadOnlySpan set.Runs

    /// The first run; ValueNone of the empty set.
    let lowest (set: RangeSet) : Range voption =
        if isEmpty set then ValueNone else ValueSome set.Runs[0]

    /// The greatest number; ValueNone of the empty set.
    let highest (set: RangeSet) : int64 voption =
        if isEmpty set then
            ValueNone
        else
            ValueSome set.Runs[set.Runs.Length - 1].Last

    /// The place of the first run that ends at or after `n`; the number of runs where none does.
    let private place (n: int64) (runs: Range[]) : int =
        // Most additions are beyond all others.
        if runs.Length = 0 || runs[runs.Length - 1].Last < n then
            runs.Length
        else
            let mutable low = 0
            let mutable high = runs.Length - 1

            while low < high do
                let middle = (low + high) >>> 1

                if runs[middle].Last < n then
                    low <- middle + 1
                else
                    high <- middle

            low

    /// Whether `n` is in the set.
    let contains (n: int64) (set: RangeSet) : bool =
        let at = place n set.Runs
        at < set.Runs.Length && set.Runs[at].First <= n

    /// The set with all of `first` to `last`; `first <= last`.
    let addRange (first: int64) (last: int64) (set: RangeSet) : RangeSet =
        let runs = set.Runs
        // Runs from `low` up to but without `high` touch the new one, and become one with it.
        let low = place (first - 1L) runs
        let mutable high = low

        while high < runs.Length && runs[high].First <= last + 1L do
            high <- high + 1

        let added =
            if high = low then
                { First = first; Last = last }
            else
                { First = min first runs[low].First
                  Last = max last runs[high - 1].Last }

        let grown: Range[] = Array.zeroCreate (runs.Length - (high - low) + 1)
        Array.Copy(runs, grown, low)
        grown[low] <- added
        Array.Copy(runs, high, grown, low + 1, runs.Length - high)
        { Runs = grown }

    /// The set with `n`.
    let add (n: int64) (set: RangeSet) : RangeSet =
        if contains n set then set else addRange n n set

    /// The set without any number up to and including `last`.
    let removeTo (last: int64) (set: RangeSet) : RangeSet =
        let at = place (last + 1L) set.Runs

        if at = set.Runs.Length then
            empty
        elif at = 0 && set.Runs[0].First > last then
            set
        else
            let rest = Array.sub set.Runs at (set.Runs.Length - at)

            rest[0] <-
                { rest[0] with
                    First = max rest[0].First (last + 1L) }

            { Runs = rest }
