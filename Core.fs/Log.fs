namespace Hybrid.WebRtc.Core

open System
open System.Threading

/// Slots that lie together, in a log or in a message that grows. Each is written once, by the version that claimed it.
[<Sealed; AllowNullLiteral>]
type internal Segment<'T>(items: 'T[], used: int) =
    let mutable used = used

    member _.Items = items

    /// True for one caller only: `count` slots from `at` on are now its own to write. False, too, where there are fewer.
    member _.Claim(at: int, count: int) : bool =
        at + count <= items.Length
        && Interlocked.CompareExchange(&used, at + count, at) = at

/// A queue of items numbered on from `First`: added at the end, dropped at the front, read anywhere, each in O(1).
/// Immutable to whoever holds a version. Versions share segments: `append` writes the slot just past the end, which no
/// older version can see, and which the compare-and-swap of `Claim` gives to one successor only; a second successor of
/// the same version copies the segment. A slot is never written again.
[<Struct; NoComparison; NoEquality>]
type Log<'T> =
    internal
        {
            /// Cover `First` up to `Next`, and nothing before the segment of `First`.
            Segments: Segment<'T>[]
            Start: int64
            End: int64
        }

    /// The number of the oldest item.
    member log.First = log.Start
    /// The number that the next item will have.
    member log.Next = log.End
    /// Items held.
    member log.Count = int (log.End - log.Start)
    /// Whether nothing is held.
    member log.IsEmpty = log.Start = log.End

    /// The item of a number from `First` up to but without `Next`.
    member log.Item
        with get (number: int64): 'T = log.Segments[int ((number >>> 6) - (log.Start >>> 6))].Items[int number &&& 63]

/// Append-only logs.
[<RequireQualifiedAccess>]
module Log =
    /// 64: an append copies 1/64 of the directory, and at most 63 dropped items are kept from the collector.
    [<Literal>]
    let private SegmentSize = 64

    /// A log of nothing, whose first item will have the number `first`; not negative.
    let startingAt (first: int64) : Log<'T> =
        { Segments = Array.Empty()
          Start = first
          End = first }

    let private withSegment (segment: Segment<'T>) (keep: int) (log: Log<'T>) : Log<'T> =
        let segments = Array.zeroCreate (keep + 1)
        Array.Copy(log.Segments, segments, keep)
        segments[keep] <- segment

        { log with
            Segments = segments
            End = log.End + 1L }

    /// The log with one more item at its end.
    let append (item: 'T) (log: Log<'T>) : Log<'T> =
        let slot = int log.End &&& (SegmentSize - 1)
        let held = log.Segments.Length

        if slot = 0 || held = 0 then
            let items = Array.zeroCreate SegmentSize
            items[slot] <- item
            withSegment (Segment(items, slot + 1)) held log
        else
            let last = log.Segments[held - 1]

            if last.Claim(slot, 1) then
                last.Items[slot] <- item
                { log with End = log.End + 1L }
            else
                let items = Array.zeroCreate SegmentSize
                Array.Copy(last.Items, items, slot)
                items[slot] <- item
                withSegment (Segment(items, slot + 1)) (held - 1) log

    /// The log without the items before `first`, which is at most `Next`.
    let dropTo (first: int64) (log: Log<'T>) : Log<'T> =
        if first <= log.Start then
            log
        else
            let passed = int ((first >>> 6) - (log.Start >>> 6))

            if passed = 0 then
                { log with Start = first }
            else
                { log with
                    Segments = log.Segments[passed..]
                    Start = first }
