namespace Hybrid.WebRtc.Core.Association

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core

/// A message that waits for earlier ones of its stream.
[<Struct; NoComparison; NoEquality>]
type internal Waiting =
    { Ppid: uint32
      Payload: ReadOnlyMemory<byte> }

/// One incoming stream. The draft of `Reassembly` whose version it bears changes it in place; to everyone else it is immutable.
[<NoComparison; ReferenceEquality>]
type internal Inbound =
    {
        Stream: uint16
        Version: int64
        /// The SSN or MID to be delivered next, unwrapped.
        mutable Next: int64
        /// Complete messages beyond it, by unwrapped number.
        mutable Waiting: Map<int64, Waiting>
        /// Of I-DATA: pieces of ordered messages, and of unordered ones.
        mutable Ordered: Run[]
        mutable Unordered: Run[]
        /// Of I-DATA: the pieces of unordered messages numbered below it come too late.
        mutable Floor: Mid
    }

/// Messages that were delivered and that the application has not yet consumed.
[<Struct; NoComparison; NoEquality>]
type internal Unconsumed =
    {
        Bytes: int64
        /// What they take of the window: more than their octets where they are small.
        Charge: int64
    }

/// A run that is likely to grow, as that of the last fragment is: not among the others of its stream.
[<Struct; NoComparison; NoEquality>]
type internal Growing =
    {
        /// Without its last leaf, and what that is charged.
        Run: Run
        Last: int64
        Leaf: Segment<byte>
        Length: int
    }

/// Fragments become messages, and messages of a stream come in order, RFC 9260 §6.6, §6.9, RFC 8260 §2.2.3.
///
/// A fragment that follows its predecessor is copied once, to its place in the message. What came out of order is kept in
/// runs of neighbours: by TSN, and where messages are interleaved by MID and FSN within their stream. Between two gaps at most
/// two runs of TSNs are incomplete, and of a stream's messages one at a time is under way, so the number of runs is bounded
/// by that of the gaps; finding a place costs O(log gaps). All octets that are held are charged to the window, and what holding
/// them costs; the room that a piece has to grow into, at most three times its length, is not.
///
/// A packet's chunks change one draft in place, made by `draft`; to everyone else a version is immutable.
[<NoComparison; NoEquality>]
type internal Reassembly =
    {
        /// One more than that of the version it was made from: tells a draft which streams are its own.
        Version: int64
        MaxMessageSize: int
        /// Messages come in I-DATA.
        Interleaved: bool
        /// Of DATA.
        mutable Runs: Run[]
        /// That of the last fragment, where it lacks its end.
        mutable Growing: Growing voption
        /// Of other streams and kinds, one of each at most, the last one first: messages that come interleaved.
        mutable Aside: Growing[]
        mutable Streams: Slots<Inbound>
        /// The stream that was used last: not in `Streams`, or not as it is there. A lone stream costs no table.
        mutable Hot: Inbound voption
        /// Octets held, with what holding them costs.
        mutable Held: int64
        mutable Unconsumed: Unconsumed
        /// The length of the last message that came in fragments: the next is likely to be as long.
        mutable Hint: int
        /// Runs that were given room for that much.
        mutable Roomy: int
    }

/// Why a fragment cannot belong to any message.
type internal Violation =
    | None = 0
    /// More pieces of incomplete messages than gaps can explain.
    | Fragments = 1
    | TooLarge = 2

/// Streams of whole messages, which a draft of `Reassembly` changes in place.
module internal Incoming =
    /// What a piece or a waiting message costs beside its octets.
    [<Literal>]
    let Overhead = 128

    // ---- Streams ----

    let untouched (version: int64) (stream: uint16) : Inbound =
        { Stream = stream
          Version = version
          Next = 0L
          Waiting = Map.empty
          Ordered = Array.Empty()
          Unordered = Array.Empty()
          Floor = Mid.zero }

    let find (stream: uint16) (r: Reassembly) : Inbound voption =
        match r.Hot with
        | ValueSome hot when hot.Stream = stream -> r.Hot
        | _ -> Slots.tryFind (int stream) r.Streams

    /// The draft's own version of a stream, which from now on is the hot one if that costs nothing.
    let touch (stream: uint16) (r: Reassembly) : Inbound =
        match find stream r with
        | ValueSome found when found.Version = r.Version -> found
        | found ->
            let mine =
                match found with
                | ValueSome known -> { known with Version = r.Version }
                | ValueNone -> untouched r.Version stream

            match r.Hot with
            | ValueSome hot when hot.Stream = stream -> r.Hot <- ValueSome mine
            | ValueSome hot when hot.Version = r.Version -> r.Streams <- Slots.set (int stream) mine r.Streams
            | ValueSome hot ->
                r.Streams <- Slots.set (int hot.Stream) hot r.Streams
                r.Hot <- ValueSome mine
            | ValueNone -> r.Hot <- ValueSome mine

            mine

    let unwrap (near: int64) (mid: Mid) (r: Reassembly) : int64 =
        if r.Interleaved then
            Mid.unwrap near mid
        else
            near + int64 (Ssn.ahead (Ssn(uint16 near)) (Mid.toSsn mid))

    // ---- Whole messages ----

    let charge (w: Waiting) = int64 (Overhead + w.Payload.Length)

    /// Hands a message up. It counts until it is consumed.
    let deliver
        (stream: uint16)
        (ppid: uint32)
        (payload: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : unit =
        outputs.Add(SctpOutput.Message(stream, ppid, payload))
        let length = int64 payload.Length

        r.Unconsumed <-
            { Bytes = r.Unconsumed.Bytes + length
              Charge = r.Unconsumed.Charge + length + int64 Overhead }

    /// Delivers messages of a stream from its next number on, as far as they are there.
    let drain (inbound: Inbound) (outputs: byref<ListCollector<SctpOutput>>) (r: Reassembly) : unit =
        let mutable going = not inbound.Waiting.IsEmpty

        while going do
            match inbound.Waiting.TryFind inbound.Next with
            | Some waiting ->
                r.Held <- r.Held - charge waiting
                inbound.Waiting <- inbound.Waiting.Remove inbound.Next
                inbound.Next <- inbound.Next + 1L
                deliver inbound.Stream waiting.Ppid waiting.Payload &outputs r
            | None -> going <- false

    /// A message is complete: hand it up, or let it wait for its turn. One that comes too late, or again, is dropped.
    let complete
        (unordered: bool)
        (stream: uint16)
        (mid: Mid)
        (ppid: uint32)
        (payload: ReadOnlyMemory<byte>)
        (outputs: byref<ListCollector<SctpOutput>>)
        (r: Reassembly)
        : unit =
        if unordered then
            deliver stream ppid payload &outputs r
        else
            let inbound = touch stream r
            let number = unwrap inbound.Next mid r

            if number = inbound.Next then
                inbound.Next <- number + 1L
                deliver stream ppid payload &outputs r
                drain inbound &outputs r
            elif number > inbound.Next && not (inbound.Waiting.ContainsKey number) then
                let message = { Ppid = ppid; Payload = payload }
                inbound.Waiting <- inbound.Waiting.Add(number, message)
                r.Held <- r.Held + charge message

    /// The runs among which those of a stream and kind are.
    let lane (stream: uint16) (unordered: bool) (r: Reassembly) : Run[] =
        if not r.Interleaved then
            r.Runs
        else
            match find stream r with
            | ValueSome inbound -> if unordered then inbound.Unordered else inbound.Ordered
            | ValueNone -> Array.Empty()

    let setLane (stream: uint16) (unordered: bool) (runs: Run[]) (r: Reassembly) : unit =
        if not r.Interleaved then
            r.Runs <- runs
        else
            let inbound = touch stream r

            if unordered then
                inbound.Unordered <- runs
            else
                inbound.Ordered <- runs
