namespace Hybrid.WebRtc.Core.Association

open System
open System.Collections.Generic
open Hybrid.WebRtc.Core

/// What the application sent and the association has not given a TSN: a queue a stream, and whose turn it is.
///
/// Turns are by weighted fair queueing, RFC 8260 §3.6, self-clocked (Golestani 1994): what a stream sends next is due when it
/// would be done, had the stream its weight's share from the clock on; the earliest due goes first, and moves the clock. A
/// turn is a chunk where the association interleaves messages, else a message.
///
/// A version is either immutable or a draft. A draft is made by `draft`, changed in place by whoever made it, and becomes
/// immutable by `keep`: so a flush writes the tables once, not once a chunk. Everything here takes either.
[<NoComparison; ReferenceEquality>]
type internal Streams =
    {
        /// One more than that of the version it was made from: tells a draft which streams are its own.
        Version: int64
        mutable IsDraft: bool
        /// Fragments of several messages may mix, RFC 8260.
        Interleaves: bool
        mutable Table: Slots<Outbound>
        /// The stream that was used last, where there is one: it is not in `Table`, or not as it is there, and never in
        /// `Turns`. A lone stream costs no table.
        mutable Hot: Outbound voption
        /// Streams in `Table` that may send.
        mutable Turns: Turns
        /// Octets of messages that may be under way at once, where they mix: as many as the peer has room for in pieces,
        /// lest it be full of beginnings and wait for the ends.
        Budget: int64
        /// Octets of messages under way, from beginning to end.
        mutable UnderWay: int64
        /// Streams in `Table` whose next message waits for others to end.
        mutable Parked: Turns
        /// Messages that their streams have not been told of.
        mutable Inbox: Log<Message>
        /// Octets not yet sent.
        mutable Buffered: int64
        /// Virtual time.
        mutable Clock: int64
        /// Whose turn it is. Outside of a draft only where a message is under way that may not mix with others.
        mutable Serving: Outbound voption
        /// Of a draft: streams of its own that may send, beside `Hot`.
        mutable Open: PriorityQueue<Outbound, int64> | null
    }

[<RequireQualifiedAccess>]
module internal Streams =
    let empty: Streams =
        { Version = 0L
          IsDraft = false
          Interleaves = false
          Table = Slots.empty
          Hot = ValueNone
          Turns = Nobody
          Budget = 0L
          UnderWay = 0L
          Parked = Nobody
          Inbox = Log.startingAt 0L
          Buffered = 0L
          Clock = 0L
          Serving = ValueNone
          Open = null }

    let private isSame (stream: Outbound) (other: Outbound voption) =
        match other with
        | ValueSome other -> Object.ReferenceEquals(stream, other)
        | ValueNone -> false

    // ---- Virtual time ----

    /// Octets that a turn is taken to send where messages may mix: about a packet.
    [<Literal>]
    let private Quantum = 1200

    /// What an I-DATA chunk takes beside its payload, so that many small messages are no cheaper than they are.
    [<Literal>]
    let private ChunkCost = 20

    /// The virtual time that `octets` of a message take at its weight.
    let private cost (octets: int) (message: Message) : int64 =
        (int64 (octets + ChunkCost) <<< 16) / int64 (max 1us message.Priority)

    let private due (s: Streams) (stream: Outbound) : int64 =
        let message = stream.Head
        let left = message.Payload.Length - stream.Sent
        stream.Served + cost (if s.Interleaves then min left Quantum else left) message

    // ---- Drafts ----

    let private thaw (s: Streams) : Streams =
        { s with
            Version = s.Version + 1L
            IsDraft = true }

    /// A draft's own version of one of its streams.
    let private own (stream: Outbound) (s: Streams) : Outbound =
        if stream.Version = s.Version then
            stream
        else
            let copy = { stream with Version = s.Version }

            if isSame stream s.Hot then
                s.Hot <- ValueSome copy
            else
                s.Table <- Slots.set (int stream.Stream) copy s.Table

            if isSame stream s.Serving then
                s.Serving <- ValueSome copy

            copy

    /// Into the line of those that may send, unless it is there, or stands outside of it.
    let private queue (stream: Outbound) (s: Streams) : unit =
        if not stream.Queued && not (isSame stream s.Hot) && not (isSame stream s.Serving) then
            stream.Queued <- true

            match s.Open with
            | null ->
                let queue = PriorityQueue<Outbound, int64>()
                queue.Enqueue(stream, stream.Due)
                s.Open <- queue
            | queue -> queue.Enqueue(stream, stream.Due)

    let private find (stream: uint16) (s: Streams) : Outbound voption =
        match s.Hot with
        | ValueSome hot when hot.Stream = stream -> s.Hot
        | _ -> Slots.tryFind (int stream) s.Table

    /// A draft's own version of a stream, which from now on is the hot one if that costs nothing.
    let private touch (stream: uint16) (s: Streams) : Outbound =
        match find stream s with
        | ValueSome found when found.Version = s.Version || found.Queued || isSame found s.Hot -> own found s
        | found ->
            let version = s.Version

            let mine =
                match found with
                | ValueSome known -> { known with Version = version }
                | ValueNone -> Outbound.unused version stream

            match s.Hot with
            // Busy in this very draft.
            | ValueSome hot when hot.Version = version -> s.Table <- Slots.set (int stream) mine s.Table
            | ValueSome hot ->
                let cold = if hot.IsReady then { hot with Version = version } else hot

                s.Table <- Slots.set (int hot.Stream) cold s.Table

                if isSame hot s.Serving then
                    s.Serving <- ValueSome cold

                s.Hot <- ValueSome mine

                if cold.IsReady then
                    queue cold s
            | ValueNone -> s.Hot <- ValueSome mine

            (match found with
             | ValueSome known when isSame known s.Serving -> s.Serving <- ValueSome mine
             | _ -> ())

            mine

    /// May send, and could not before.
    let private activate (stream: Outbound) (s: Streams) : unit =
        stream.Served <- max stream.Served s.Clock
        stream.Due <- due s stream
        queue stream s

    /// Tells streams of their messages.
    let private sort (s: Streams) : unit =
        if not s.Inbox.IsEmpty then
            for number in s.Inbox.First .. s.Inbox.Next - 1L do
                let message = s.Inbox[number]
                let stream = touch message.Stream s
                let wasReady = stream.IsReady
                stream.Queue <- Log.append message stream.Queue
                stream.Buffered <- stream.Buffered + int64 message.Payload.Length

                if stream.IsReady && not wasReady then
                    activate stream s

            s.Inbox <- Log.dropTo s.Inbox.Next s.Inbox

    /// The end of a turn, whatever came of it.
    let private release (s: Streams) : unit =
        match s.Serving with
        | ValueNone -> ()
        | ValueSome stream ->
            s.Serving <- ValueNone

            if stream.IsReady then
                stream.Due <- due s stream
                queue stream s

    /// Whether a message that is not sent in one chunk has to wait for others to end.
    let private isTooMuch (underWay: int64) (stream: Outbound) (s: Streams) : bool =
        let length = stream.Head.Payload.Length

        s.Interleaves
        && underWay > 0L
        && length > Quantum
        && not stream.IsUnderWay
        && underWay + int64 length > s.Budget

    /// Out of line until others have ended.
    let private park (stream: Outbound) (s: Streams) : unit =
        if isSame stream s.Hot then
            s.Hot <- ValueNone
            s.Table <- Slots.set (int stream.Stream) stream s.Table

        stream.Queued <- true
        s.Parked <- Turns.add stream.Due stream.Stream s.Parked

    /// Lets messages begin that waited for others to end, as many as may be under way at once. Called wherever one ends or
    /// is given up, however small: what was let go before may never have been under way.
    let private unpark (s: Streams) : unit =
        let mutable planned = s.UnderWay
        let mutable going = s.Parked.IsTurn

        while going do
            match s.Parked with
            | Nobody -> going <- false
            | Turn(_, number, _, _, _) ->
                match find number s with
                | ValueSome parked when parked.IsReady && isTooMuch planned parked s -> going <- false
                | ValueSome parked ->
                    s.Parked <- Turns.withoutFirst s.Parked
                    let parked = own parked s
                    parked.Queued <- false

                    if parked.IsReady then
                        planned <- planned + int64 parked.Head.Payload.Length
                        queue parked s
                | ValueNone -> s.Parked <- Turns.withoutFirst s.Parked

    /// Of a draft: the first in line, out of it. None where nothing may be sent.
    let private choose (s: Streams) : Outbound voption =
        sort s

        while s.Serving.IsNone
              && (s.Turns.IsTurn
                  || (match s.Open with
                      | null -> false
                      | opened -> opened.Count > 0)
                  || (match s.Hot with
                      | ValueSome hot -> hot.IsReady
                      | ValueNone -> false)) do
            let hotDue =
                match s.Hot with
                | ValueSome hot when hot.IsReady -> hot.Due
                | _ -> Int64.MaxValue

            let openDue =
                match s.Open with
                | null -> Int64.MaxValue
                | opened when opened.Count = 0 -> Int64.MaxValue
                | opened -> opened.Peek().Due

            let turnDue =
                match s.Turns with
                | Turn(due, _, _, _, _) -> due
                | Nobody -> Int64.MaxValue

            let next =
                match s.Hot, s.Turns, s.Open with
                | ValueSome hot, _, _ when hotDue <= openDue && hotDue <= turnDue -> own hot s
                | _, Turn(_, stream, _, _, _), _ when turnDue <= openDue ->
                    s.Turns <- Turns.withoutFirst s.Turns

                    match find stream s with
                    | ValueSome waiting -> own waiting s
                    | ValueNone -> Outbound.unused s.Version stream
                | _, _, null -> Outbound.unused s.Version 0us
                | _, _, opened -> opened.Dequeue()

            next.Queued <- false

            // It may have lost what it stood in line for.
            if next.IsReady && isTooMuch s.UnderWay next s then
                park next s
            elif next.IsReady then
                s.Clock <- max s.Clock next.Due
                s.Serving <- ValueSome next

        s.Serving

    /// A draft, for the caller alone to change, until it is kept.
    let draft (s: Streams) : Streams = if s.IsDraft then s else thaw s

    /// A draft, immutable from now on.
    let keep (s: Streams) : Streams =
        if s.IsDraft then
            match s.Serving with
            | ValueSome stream when s.Interleaves || not stream.IsUnderWay -> release s
            | _ -> ()

            match s.Open with
            | null -> ()
            | opened ->
                for struct (stream, due) in opened.UnorderedItems do
                    s.Turns <- Turns.add due stream.Stream s.Turns

                s.Open <- null

            s.IsDraft <- false

        s

    /// What `change` makes of it; immutable where it was.
    let inline private changed ([<InlineIfLambda>] change: Streams -> unit) (s: Streams) : Streams =
        if s.IsDraft then
            change s
            s
        else
            let draft = thaw s
            change draft
            keep draft

    // ---- What is there ----

    /// Octets of a stream not yet sent.
    let buffered (stream: uint16) (s: Streams) : int64 =
        let mutable total =
            match find stream s with
            | ValueSome found -> found.Buffered
            | ValueNone -> 0L

        for number in s.Inbox.First .. s.Inbox.Next - 1L do
            if s.Inbox[number].Stream = stream then
                total <- total + int64 s.Inbox[number].Payload.Length

        total

    /// Whether anything could be sent: of a draft exactly, else at least where something could be.
    let hasMore (s: Streams) : bool =
        if s.IsDraft then
            (choose s).IsSome
        else
            not s.Inbox.IsEmpty
            || s.Serving.IsSome
            || s.Turns.IsTurn
            || (match s.Hot with
                | ValueSome hot -> hot.IsReady
                | ValueNone -> false)

    /// The stream whose turn it is. Call only where `hasMore`.
    let private next (s: Streams) : Outbound = (choose (draft s)).Value

    /// The message that comes next, whole or what is left of it. Call only where `hasMore`.
    let peek (s: Streams) : Message = (next s).Head

    /// Octets of the message that comes next which are not yet sent. Call only where `hasMore`.
    let remaining (s: Streams) : int =
        let stream = next s
        stream.Head.Payload.Length - stream.Sent

    /// The message that comes next, where part of it has been sent.
    let current (s: Streams) : Partial voption =
        match choose (draft s) with
        | ValueSome stream when stream.IsUnderWay ->
            ValueSome
                { Message = stream.Head
                  Sent = stream.Sent
                  Mid = Outbound.midOf stream.Head stream
                  Fsn = stream.Fsn }
        | _ -> ValueNone

    // ---- Sending ----

    /// A message at the end of its stream's queue.
    let enqueue (message: Message) (s: Streams) : Streams =
        let buffered = s.Buffered + int64 message.Payload.Length
        let inbox = Log.append message s.Inbox

        if s.IsDraft then
            s.Inbox <- inbox
            s.Buffered <- buffered
            s
        else
            { s with
                Inbox = inbox
                Buffered = buffered }

    /// Takes `size` octets, at most `remaining`, of the message that comes next, for `tsn`.
    let take (size: int) (tsn: int64) (s: Streams) : struct (Piece * Streams) =
        let d = draft s
        let stream = own (next d) d
        let message = stream.Head

        let piece =
            { Message = message
              Offset = stream.Sent
              Size = size
              Mid = Outbound.midOf message stream
              Fsn = stream.Fsn }

        let length = message.Payload.Length
        let wasUnderWay = stream.IsUnderWay
        d.Buffered <- d.Buffered - int64 size
        stream.Buffered <- stream.Buffered - int64 size
        stream.LastTsn <- tsn
        stream.Served <- stream.Served + cost size message
        stream.Sent <- stream.Sent + size
        stream.Fsn <- stream.Fsn + 1u

        if stream.Sent = length then
            Outbound.finish stream

            if wasUnderWay then
                d.UnderWay <- d.UnderWay - int64 length

            unpark d
            release d
        else
            if not wasUnderWay then
                d.UnderWay <- d.UnderWay + int64 length

            if d.Interleaves then
                release d

        struct (piece, (if s.IsDraft then d else keep d))

    /// Gives up what is left of the message at the head of a queue, part of which was sent.
    let private cut (tsn: int64) (stream: Outbound) (s: Streams) : int =
        let length = stream.Head.Payload.Length
        let left = length - stream.Sent
        stream.Buffered <- stream.Buffered - int64 left
        stream.LastTsn <- tsn
        s.Buffered <- s.Buffered - int64 left
        s.UnderWay <- s.UnderWay - int64 length
        Outbound.finish stream
        unpark s

        if isSame stream s.Serving then
            release s

        left

    /// Gives up the message that comes next, no part of which was sent: it gets no TSN and no number, RFC 3758 §4.1 rule TR3.
    let discardNext (s: Streams) : Streams =
        changed
            (fun d ->
                let stream = own (next d) d
                let size = int64 stream.Head.Payload.Length
                stream.Queue <- Log.dropTo (stream.Queue.First + 1L) stream.Queue
                stream.Buffered <- stream.Buffered - size
                d.Buffered <- d.Buffered - size
                unpark d
                release d)
            s

    /// Gives up what is left of a message that is under way; `tsn` stands for it. Answers the octets given up: none where
    /// it is not under way.
    let discard (message: Message) (tsn: int64) (s: Streams) : struct (int * Streams) =
        match find message.Stream s with
        | ValueSome found when found.IsUnderWay && Object.ReferenceEquals(found.Head, message) ->
            let mutable left = 0
            let d = draft s
            left <- cut tsn (own found d) d
            struct (left, (if s.IsDraft then d else keep d))
        | _ -> struct (0, s)

    // ---- Resets ----

    /// A reset was asked for: messages from now on wait for it. Nothing, where one waits already.
    let close (stream: uint16) (s: Streams) : Streams =
        changed
            (fun d ->
                sort d
                let closing = touch stream d

                if closing.Barrier = Int64.MaxValue then
                    closing.Barrier <- closing.Queue.Next)
            s

    /// Whether all that was queued before the reset has been sent, and acknowledged up to `cumulativeAck`.
    let isDrained (cumulativeAck: int64) (stream: uint16) (s: Streams) : bool =
        match find stream s with
        | ValueSome found -> found.Queue.First >= found.Barrier && found.LastTsn <= cumulativeAck
        | ValueNone -> false

    let private reopened (performed: bool) (stream: Outbound) (s: Streams) : unit =
        let wasReady = stream.IsReady
        stream.Barrier <- Int64.MaxValue
        stream.LastTsn <- 0L

        if performed then
            stream.NextOrdered <- Mid.zero
            stream.NextUnordered <- Mid.zero

        if stream.IsReady && not wasReady then
            activate stream s

    /// The reset is over: numbers start anew where it was performed, and the messages that waited may go.
    let reopen (performed: bool) (stream: uint16) (s: Streams) : Streams =
        changed (fun d -> reopened performed (touch stream d) d) s

    /// The peer restarted, RFC 9260 §5.2.4: numbers start anew, messages under way are lost, the queues stay.
    let restart (s: Streams) : Streams =
        changed
            (fun d ->
                sort d

                let all =
                    match d.Hot with
                    | ValueSome hot -> hot :: (Slots.toList d.Table |> List.filter (fun o -> o.Stream <> hot.Stream))
                    | ValueNone -> Slots.toList d.Table

                for stream in all do
                    let stream = own stream d

                    if stream.IsUnderWay then
                        cut 0L stream d |> ignore

                    reopened true stream d)
            s

    /// Whether fragments of several messages may mix from now on, with a peer that has room for `window` octets. Nothing may
    /// be under way.
    let interleaving (allowed: bool) (window: uint32) (s: Streams) : Streams =
        { s with
            Interleaves = allowed
            // The other half is for messages that wait for their turn, or to be read.
            Budget = int64 window / 2L }
