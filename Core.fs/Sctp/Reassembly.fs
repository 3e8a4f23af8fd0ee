namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// Octets that belong together, joined in O(1). Versions share memory as those of a `Log` share segments: the octets past
/// the end are given to one successor only.
[<NoComparison; NoEquality>]
type internal Rope =
    | Leaf of memory: Segment<byte> * length: int
    | Join of left: Rope * right: Rope * length: int

[<RequireQualifiedAccess>]
module internal Rope =
    let length (rope: Rope) : int =
        match rope with
        | Leaf(_, length)
        | Join(_, _, length) -> length

    /// A copy of `bytes`, with room for `capacity` octets.
    let create (capacity: int) (bytes: ReadOnlySpan<byte>) : Rope =
        let memory = Array.zeroCreate<byte>(max capacity bytes.Length)
        bytes.CopyTo(Span memory)
        Leaf(Segment(memory, bytes.Length), bytes.Length)

    let join (left: Rope) (right: Rope) : Rope =
        Join(left, right, length left + length right)

    /// With `bytes` copied to its end; `hint` is the length that it may come to in all.
    let rec append (hint: int) (bytes: ReadOnlySpan<byte>) (rope: Rope) : Rope =
        match rope with
        | Leaf(memory, length) ->
            let upTo = length + bytes.Length

            if memory.Claim(length, bytes.Length) then
                bytes.CopyTo(Span(memory.Items, length, bytes.Length))
                Leaf(memory, upTo)
            else
                let grown = Array.zeroCreate<byte>(max upTo (max hint (2 * length)))

                Span(memory.Items, 0, length).CopyTo(Span grown)
                bytes.CopyTo(Span(grown, length, bytes.Length))
                Leaf(Segment(grown, upTo), upTo)
        | Join(left, (Leaf _ as right), total) -> Join(left, append 0 bytes right, total + bytes.Length)
        | Join _ -> join rope (create (4 * bytes.Length) bytes)

    /// All of it as one piece of memory, for the receiver to own.
    let toMemory (rope: Rope) : ReadOnlyMemory<byte> =
        match rope with
        // A tail of unused octets is not worth a copy unless it is a large part.
        | Leaf(memory, length) when memory.Items.Length - length <= length / 4 ->
            ReadOnlyMemory(memory.Items, 0, length)
        | _ ->
            let whole = Array.zeroCreate<byte>(length rope)
            // From the end backwards: joins lean to the left where pieces came in order, and no stack grows.
            let mutable waiting = [ rope ]
            let mutable at = whole.Length

            while not waiting.IsEmpty do
                match waiting.Head with
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
        First: int64
        Last: int64
        Begun: bool
        Ended: bool
        Unordered: bool
        Stream: uint16
        Ssn: Ssn
        Ppid: uint32
        Body: Rope
        /// What it takes of the window.
        Charge: int
    }

/// A message that waits for earlier ones of its stream.
[<Struct; NoComparison; NoEquality>]
type internal Waiting =
    { Ppid: uint32
      Payload: ReadOnlyMemory<byte> }

/// One incoming stream.
[<NoComparison; NoEquality>]
type internal Inbound =
    {
        /// The SSN to be delivered next, unwrapped.
        Next: int64
        /// Complete messages beyond it, by unwrapped SSN.
        Waiting: Map<int64, Waiting>
    }

/// Messages that were delivered and that the application has not yet consumed.
[<Struct; NoComparison; NoEquality>]
type internal Unconsumed =
    {
        Bytes: int64
        /// What they take of the window: more than their octets where they are small.
        Charge: int64
    }

/// Fragments become messages, and messages of a stream come in order, RFC 9260 §6.6, §6.9.
///
/// A fragment that follows its predecessor is copied once, to its place in the message. What came out of order is kept in
/// runs of neighbouring TSNs: between two gaps at most two of them are incomplete, so their number is bounded by that of
/// the gaps, and finding a place costs O(log gaps). All that is held is charged to the window, overhead included.
[<NoComparison; NoEquality>]
type internal Reassembly =
    {
        /// Ascending.
        Runs: Run[]
        Streams: Slots<Inbound>
        /// Octets held, with what holding them costs.
        Held: int64
        Unconsumed: Unconsumed
        /// The length of the last message that came in fragments: the next is likely to be as long.
        Hint: int
        MaxMessageSize: int
    }

/// Why a fragment cannot belong to any message.
type internal Violation =
    | None = 0
    /// More pieces of incomplete messages than gaps can explain.
    | Fragments = 1
    | TooLarge = 2

[<RequireQualifiedAccess>]
module internal Reassembly =
    /// What a piece or a waiting message costs beside its octets.
    [<Literal>]
    let Overhead = 128

    /// Incomplete runs. Gaps explain at most twice as many as a SACK can report, which is less.
    [<Literal>]
    let private MaxRuns = 2048

    let create (maxMessageSize: int) : Reassembly =
        { Runs = Array.Empty()
          Streams = Slots.empty
          Held = 0L
          Unconsumed = { Bytes = 0L; Charge = 0L }
          Hint = 0
          MaxMessageSize = maxMessageSize }

    let private untouched: Inbound = { Next = 0L; Waiting = Map.empty }

    let private find (stream: uint16) (r: Reassembly) : Inbound =
        match Slots.tryFind (int stream) r.Streams with
        | ValueSome inbound -> inbound
        | ValueNone -> untouched

    let private put (stream: uint16) (inbound: Inbound) (r: Reassembly) : Reassembly =
        { r with
            Streams = Slots.set (int stream) inbound r.Streams }

    let private unwrap (near: int64) (ssn: Ssn) : int64 =
        near + int64 (Ssn.ahead (Ssn(uint16 near)) ssn)

    let private charge (w: Waiting) = int64 (Overhead + w.Payload.Length)

    /// Hands a message up. It counts until it is consumed.
    let private deliver
        (stream: uint16)
        (ppid: uint32)
        (payload: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : Reassembly =
        outputs.Add(SctpOutput.Message(stream, ppid, payload))
        let length = int64 payload.Length

        { r with
            Unconsumed =
                { Bytes = r.Unconsumed.Bytes + length
                  Charge = r.Unconsumed.Charge + length + int64 Overhead } }

    /// Delivers messages of a stream from its next SSN on, as far as they are there.
    let private drain
        (stream: uint16)
        (inbound: Inbound)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : Reassembly =
        let mutable r = r
        let mutable inbound = inbound
        let mutable going = not inbound.Waiting.IsEmpty

        while going do
            match inbound.Waiting.TryFind inbound.Next with
            | Some waiting ->
                r <-
                    deliver
                        stream
                        waiting.Ppid
                        waiting.Payload
                        &outputs
                        { r with
                            Held = r.Held - charge waiting }

                inbound <-
                    { Next = inbound.Next + 1L
                      Waiting = inbound.Waiting.Remove inbound.Next }
            | None -> going <- false

        put stream inbound r

    /// A message is complete: hand it up, or let it wait for its turn.
    let private complete
        (unordered: bool)
        (stream: uint16)
        (ssn: Ssn)
        (message: Waiting)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : Reassembly =
        if unordered then
            deliver stream message.Ppid message.Payload &outputs r
        else
            let inbound = find stream r
            let number = unwrap inbound.Next ssn

            if number = inbound.Next then
                let r = deliver stream message.Ppid message.Payload &outputs r
                drain stream { inbound with Next = number + 1L } &outputs r
            else
                put
                    stream
                    { inbound with
                        Waiting = inbound.Waiting.Add(number, message) }
                    { r with
                        Held = r.Held + charge message }

    /// The place of the first run that begins after `tsn`.
    let private place (tsn: int64) (runs: Run[]) : int =
        let mutable low = 0
        let mutable high = runs.Length

        while low < high do
            let middle = (low + high) >>> 1

            if runs[middle].First <= tsn then
                low <- middle + 1
            else
                high <- middle

        low

    /// `runs` with `count` of them from `at` on replaced by `into`.
    let private splice (at: int) (count: int) (into: Run voption) (runs: Run[]) : Run[] =
        let extra = if into.IsSome then 1 else 0
        let size = runs.Length - count + extra

        if size = 0 then
            Array.Empty()
        else
            let spliced = Array.zeroCreate size
            Array.Copy(runs, spliced, at)

            match into with
            | ValueSome run -> spliced[at] <- run
            | ValueNone -> ()

            Array.Copy(runs, at + count, spliced, at + extra, runs.Length - at - count)
            spliced

    let private belongs (data: Data) (run: Run) =
        run.Stream = data.Stream
        && run.Unordered = Flag.has Flag.Unordered data.Flags
        && (run.Unordered || Ssn.value run.Ssn = Ssn.value data.Ssn)

    let private single (tsn: int64) (data: Data) : Run =
        let length = data.Payload.Length
        // Room for the fragments to come; a lone one in the midst may stay alone.
        let capacity =
            if Flag.has Flag.Begin data.Flags then
                4 * length
            else
                length

        { First = tsn
          Last = tsn
          Begun = Flag.has Flag.Begin data.Flags
          Ended = Flag.has Flag.End data.Flags
          Unordered = Flag.has Flag.Unordered data.Flags
          Stream = data.Stream
          Ssn = data.Ssn
          Ppid = data.Ppid
          Body = Rope.create capacity data.Payload.Span
          Charge = Overhead + length }

    let private extended (hint: int) (tsn: int64) (data: Data) (run: Run) : Run =
        { run with
            Last = tsn
            Ended = Flag.has Flag.End data.Flags
            Body = Rope.append hint data.Payload.Span run.Body
            Charge = run.Charge + data.Payload.Length + (if run.Ended then Overhead else 0) }

    let private joined (left: Run) (right: Run) : Run =
        { left with
            Last = right.Last
            Ended = right.Ended
            Body = Rope.join left.Body right.Body
            Charge = left.Charge + right.Charge }

    /// A fragment, whose TSN has not been seen before.
    let private addFragment (tsn: int64) (data: Data) (outputs: byref<ListCollector<SctpOutput>>) (r: Reassembly) =
        let runs = r.Runs
        let after = place tsn runs

        let isBegin = Flag.has Flag.Begin data.Flags
        let isEnd = Flag.has Flag.End data.Flags

        let joinsLeft =
            not isBegin
            && after > 0
            && runs[after - 1].Last = tsn - 1L
            && not runs[after - 1].Ended
            && belongs data runs[after - 1]

        let joinsRight =
            not isEnd
            && after < runs.Length
            && runs[after].First = tsn + 1L
            && not runs[after].Begun
            && belongs data runs[after]

        // Neighbours that contradict each other stay apart: a sender may give up the rest of a message and say so later.
        if runs.Length >= MaxRuns then
            struct (r, Violation.Fragments)
        else
            let grown =
                if joinsLeft then
                    extended (min r.Hint r.MaxMessageSize) tsn data runs[after - 1]
                else
                    single tsn data

            let run = if joinsRight then joined grown runs[after] else grown
            let at = if joinsLeft then after - 1 else after

            let replaced = (if joinsLeft then 1 else 0) + (if joinsRight then 1 else 0)

            let chargeBefore =
                (if joinsLeft then runs[after - 1].Charge else 0)
                + (if joinsRight then runs[after].Charge else 0)

            if Rope.length run.Body > r.MaxMessageSize then
                struct (r, Violation.TooLarge)
            elif run.Begun && run.Ended then
                let r =
                    { r with
                        Runs = splice at replaced ValueNone runs
                        Held = r.Held - int64 chargeBefore
                        Hint = Rope.length run.Body }

                let message =
                    { Waiting.Ppid = run.Ppid
                      Payload = Rope.toMemory run.Body }

                struct (complete run.Unordered run.Stream run.Ssn message &outputs r, Violation.None)
            else
                struct ({ r with
                            Runs = splice at replaced (ValueSome run) runs
                            Held = r.Held + int64 (run.Charge - chargeBefore) },
                        Violation.None)

    /// A DATA chunk whose TSN has not been seen before. Adds the messages that are complete and due.
    let add
        (tsn: int64)
        (data: Data)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : struct (Reassembly * Violation) =
        if data.Flags &&& Flag.Whole = Flag.Whole then
            if data.Payload.Length > r.MaxMessageSize then
                struct (r, Violation.TooLarge)
            else
                let message =
                    { Waiting.Ppid = data.Ppid
                      Payload = ReadOnlyMemory(data.Payload.ToArray()) }

                let unordered = Flag.has Flag.Unordered data.Flags
                struct (complete unordered data.Stream data.Ssn message &outputs r, Violation.None)
        else
            addFragment tsn data &outputs r

    /// FORWARD TSN, RFC 3758 §3.6: what lacks a piece up to `tsn` is dropped, and streams go on after what is skipped.
    let skip (tsn: int64) (skipped: Skip[]) (outputs: byref<ListCollector<SctpOutput>>) (r: Reassembly) : Reassembly =
        let keeps (run: Run) =
            (run.Begun || run.First - 1L > tsn) && run.Last + 1L > tsn

        let mutable held = r.Held

        for run in r.Runs do
            if not (keeps run) then
                held <- held - int64 run.Charge

        let mutable r =
            { r with
                Runs = Array.filter keeps r.Runs
                Held = held }

        for skip in skipped do
            let inbound = find skip.Stream r
            let number = unwrap inbound.Next skip.Ssn

            // Half the numbers lie ahead, RFC 1982: the others were delivered before.
            if number - inbound.Next < 0x8000L then
                let mutable waiting = inbound.Waiting
                let mutable going = not waiting.IsEmpty

                while going do
                    let key, (first: Waiting) = Map.minKeyValue waiting
                    going <- key <= number

                    if going then
                        r <-
                            deliver
                                skip.Stream
                                first.Ppid
                                first.Payload
                                &outputs
                                { r with Held = r.Held - charge first }

                        waiting <- waiting.Remove key
                        going <- not waiting.IsEmpty

                r <-
                    drain
                        skip.Stream
                        { Next = number + 1L
                          Waiting = waiting }
                        &outputs
                        r

        r

    /// The peer resets its outgoing streams, RFC 6525 §5.2.2: SSNs start anew; what waited for its turn never comes.
    let reset (streams: uint16[]) (r: Reassembly) : Reassembly =
        let released (inbound: Inbound) =
            Map.fold (fun total _ w -> total + charge w) 0L inbound.Waiting

        if streams.Length = 0 then
            { r with
                Streams = Slots.empty
                Held = r.Held - Slots.fold (fun total inbound -> total + released inbound) 0L r.Streams }
        else
            let mutable r = r

            for stream in streams do
                match Slots.tryFind (int stream) r.Streams with
                | ValueSome inbound ->
                    r <-
                        { r with
                            Streams = Slots.remove (int stream) r.Streams
                            Held = r.Held - released inbound }
                | ValueNone -> ()

            r
