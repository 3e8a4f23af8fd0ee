namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// Octets that belong together, joined in O(1). Versions share memory as those of a `Log` share segments: the octets past
/// the end are given to one successor only.
[<NoComparison; NoEquality>]
type internal Rope =
    | Nil
    | Leaf of memory: Segment<byte> * length: int
    | Join of left: Rope * right: Rope * length: int

[<RequireQualifiedAccess>]
module internal Rope =
    let length (rope: Rope) : int =
        match rope with
        | Nil -> 0
        | Leaf(_, length)
        | Join(_, _, length) -> length

    let join (left: Rope) (right: Rope) : Rope =
        match left, right with
        | Nil, rope
        | rope, Nil -> rope
        | _ -> Join(left, right, length left + length right)

    /// A copy of `bytes`, with room for `capacity` octets. What is not written is never shown.
    let memory (capacity: int) (bytes: ReadOnlySpan<byte>) : Segment<byte> =
        let memory = GC.AllocateUninitializedArray<byte>(max capacity bytes.Length)
        bytes.CopyTo(Span memory)
        Segment(memory, bytes.Length)

    /// What precedes the last leaf, and that leaf; no leaf where there is none to be had at once.
    let last (rope: Rope) : struct (Rope * Segment<byte> voption * int) =
        match rope with
        | Leaf(memory, length) -> struct (Nil, ValueSome memory, length)
        | Join(left, Leaf(memory, length), _) -> struct (left, ValueSome memory, length)
        | Nil
        | Join _ -> struct (rope, ValueNone, 0)

    /// All of it as one piece of memory, for the receiver to own.
    let toMemory (rope: Rope) : ReadOnlyMemory<byte> =
        match rope with
        // A tail of unused octets is not worth a copy unless it is a large part.
        | Leaf(memory, length) when memory.Items.Length - length <= length / 4 ->
            ReadOnlyMemory(memory.Items, 0, length)
        | _ ->
            let whole = GC.AllocateUninitializedArray<byte>(length rope)
            // From the end backwards: joins lean to the left where pieces came in order, and no stack grows.
            let mutable waiting = [ rope ]
            let mutable at = whole.Length

            while not waiting.IsEmpty do
                match waiting.Head with
                | Nil -> waiting <- waiting.Tail
                | Leaf(memory, length) ->
                    at <- at - length
                    Span(memory.Items, 0, length).CopyTo(Span(whole, at, length))
                    waiting <- waiting.Tail
                | Join(left, right, _) -> waiting <- right :: left :: waiting.Tail

            ReadOnlyMemory whole

/// Neighbouring fragments of one message that lacks others.
[<NoComparison; NoEquality>]
type internal Run =
    {
        /// Of DATA the unwrapped TSN; of I-DATA the MID and below it the FSN.
        First: int64
        Last: int64
        Begun: bool
        Ended: bool
        Unordered: bool
        Stream: uint16
        Mid: Mid
        Ppid: uint32
        Body: Rope
        /// What it takes of the window.
        Charge: int
        /// Has room for a message as long as the last one, whether that comes or not.
        Roomy: bool
    }

/// Runs apart from each other, ascending.
[<RequireQualifiedAccess>]
module internal Runs =
    /// The place of the first run that begins after `key`.
    let place (key: int64) (runs: Run[]) : int =
        let mutable low = 0
        let mutable high = runs.Length

        while low < high do
            let middle = (low + high) >>> 1

            if runs[middle].First <= key then
                low <- middle + 1
            else
                high <- middle

        low

    /// `runs` without `count` of them from `at` on.
    let without (at: int) (count: int) (runs: Run[]) : Run[] =
        if count = 0 then
            runs
        elif runs.Length = count then
            Array.Empty()
        else
            let rest = Array.zeroCreate (runs.Length - count)
            Array.Copy(runs, rest, at)
            Array.Copy(runs, at + count, rest, at, rest.Length - at)
            rest

    /// `runs` with one more, which overlaps none.
    let add (run: Run) (runs: Run[]) : Run[] =
        let at = place run.First runs
        let more = Array.zeroCreate (runs.Length + 1)
        Array.Copy(runs, more, at)
        more[at] <- run
        Array.Copy(runs, at, more, at + 1, runs.Length - at)
        more

    let belongs (data: Data) (run: Run) : bool =
        run.Stream = data.Stream
        && run.Unordered = Flag.has Flag.Unordered data.Flags
        && (Mid.value run.Mid = Mid.value data.Mid
            || (run.Unordered && not data.Interleaved))

    let joined (left: Run) (right: Run) : Run =
        { left with
            Last = right.Last
            Ended = right.Ended
            Body = Rope.join left.Body right.Body
            Charge = left.Charge + right.Charge
            Roomy = left.Roomy || right.Roomy }
