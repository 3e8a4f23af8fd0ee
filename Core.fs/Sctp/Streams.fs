namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// One outgoing stream.
[<NoComparison; NoEquality>]
type internal Outbound =
    {
        /// Of the next ordered message, RFC 9260 §6.5.
        NextSsn: Ssn
        /// Messages no part of which has been sent.
        Queue: Log<Message>
        /// Octets not yet sent, of the message under way included.
        Buffered: int64
        /// The last TSN given to this stream, unwrapped; 0 before the first.
        LastTsn: int64
        /// A reset waits for the messages numbered below this one; `Int64.MaxValue` where none was asked for.
        /// Messages from here on wait for the reset, RFC 6525 §5.1.2 rule A1.
        Barrier: int64
    }

    /// Whether the next message may be sent now.
    member stream.IsReady = stream.Queue.First < min stream.Barrier stream.Queue.Next

/// A message part of which has been sent.
[<NoComparison; NoEquality>]
type internal Partial =
    {
        Message: Message
        /// Octets that have been sent.
        Sent: int
        /// Of these, the octets that the stream's `Buffered` knows of. The rest are told to it at the end of the message.
        Settled: int
        Ssn: Ssn
    }

/// What the application sent and the association has not given a TSN: a queue a stream, served in turn, a message at a
/// time (fragments of two messages do not mix before RFC 8260).
[<NoComparison; NoEquality>]
type internal Streams =
    {
        Table: Slots<Outbound>
        /// Streams whose next message may be sent, in the order of their turns.
        Ready: Log<uint16>
        Current: Partial voption
        /// Octets not yet sent.
        Buffered: int64
    }

/// What is to be sent next.
[<Struct; NoComparison; NoEquality>]
type internal Piece =
    { Message: Message
      Offset: int
      Size: int
      Ssn: Ssn }

[<RequireQualifiedAccess>]
module internal Streams =
    let empty: Streams =
        { Table = Slots.empty
          Ready = Log.startingAt 0L
          Current = ValueNone
          Buffered = 0L }

    let private unused: Outbound =
        { NextSsn = Ssn.zero
          Queue = Log.startingAt 0L
          Buffered = 0L
          LastTsn = 0L
          Barrier = Int64.MaxValue }

    let private find (stream: uint16) (s: Streams) : Outbound =
        match Slots.tryFind (int stream) s.Table with
        | ValueSome outbound -> outbound
        | ValueNone -> unused

    let private put (stream: uint16) (outbound: Outbound) (s: Streams) : Streams =
        { s with
            Table = Slots.set (int stream) outbound s.Table }

    /// Octets of a stream not yet sent.
    let buffered (stream: uint16) (s: Streams) : int64 =
        let known = (find stream s).Buffered

        match s.Current with
        | ValueSome current when current.Message.Stream = stream -> known - int64 (current.Sent - current.Settled)
        | _ -> known

    /// Whether anything could be sent.
    let hasMore (s: Streams) : bool = s.Current.IsSome || not s.Ready.IsEmpty

    /// A message at the end of its stream's queue.
    let enqueue (message: Message) (s: Streams) : Streams =
        let before = find message.Stream s
        let size = int64 message.Payload.Length

        let after =
            { before with
                Queue = Log.append message before.Queue
                Buffered = before.Buffered + size }

        let s =
            { put message.Stream after s with
                Buffered = s.Buffered + size }

        if after.IsReady && not before.IsReady then
            { s with
                Ready = Log.append message.Stream s.Ready }
        else
            s

    /// The stream whose turn it was, after its next message has been taken: to the end of the line.
    let private turned (stream: uint16) (outbound: Outbound) (s: Streams) : Streams =
        let s = put stream outbound s

        let ready =
            if not outbound.IsReady then
                Log.dropTo (s.Ready.First + 1L) s.Ready
            elif s.Ready.Count = 1 then
                s.Ready
            else
                Log.append stream (Log.dropTo (s.Ready.First + 1L) s.Ready)

        { s with Ready = ready }

    /// The message that comes next, whole or what is left of it; none where all is sent. Call only where `hasMore`.
    let peek (s: Streams) : Message =
        match s.Current with
        | ValueSome current -> current.Message
        | ValueNone ->
            let outbound = find s.Ready[s.Ready.First] s
            outbound.Queue[outbound.Queue.First]

    /// Octets of the message that comes next which are not yet sent.
    let remaining (s: Streams) : int =
        match s.Current with
        | ValueSome current -> current.Message.Payload.Length - current.Sent
        | ValueNone -> (peek s).Payload.Length

    /// Takes `size` octets, at most `remaining`, of the message that comes next, for `tsn`.
    let take (size: int) (tsn: int64) (s: Streams) : struct (Piece * Streams) =
        match s.Current with
        | ValueSome current ->
            let message = current.Message
            let sent = current.Sent + size

            let piece =
                { Message = message
                  Offset = current.Sent
                  Size = size
                  Ssn = current.Ssn }

            if sent = message.Payload.Length then
                let outbound = find message.Stream s

                let s =
                    put
                        message.Stream
                        { outbound with
                            Buffered = outbound.Buffered - int64 (sent - current.Settled)
                            LastTsn = tsn }
                        s

                struct (piece,
                        { s with
                            Buffered = s.Buffered - int64 size
                            Current = ValueNone })
            else
                struct (piece,
                        { s with
                            Buffered = s.Buffered - int64 size
                            Current = ValueSome { current with Sent = sent } })
        | ValueNone ->
            let message = peek s
            let outbound = find message.Stream s

            let next =
                { outbound with
                    Queue = Log.dropTo (outbound.Queue.First + 1L) outbound.Queue
                    Buffered = outbound.Buffered - int64 size
                    LastTsn = tsn
                    NextSsn =
                        if message.Ordered then
                            Ssn.next outbound.NextSsn
                        else
                            outbound.NextSsn }

            let s = turned message.Stream next s

            struct ({ Message = message
                      Offset = 0
                      Size = size
                      Ssn = outbound.NextSsn },
                    { s with
                        Buffered = s.Buffered - int64 size
                        Current =
                            if size = message.Payload.Length then
                                ValueNone
                            else
                                ValueSome
                                    { Message = message
                                      Sent = size
                                      Settled = size
                                      Ssn = outbound.NextSsn } })

    /// Gives up the message that comes next, no part of which was sent: it gets no TSN and no SSN, RFC 3758 §4.1 rule TR3.
    let discardNext (s: Streams) : Streams =
        let message = peek s
        let outbound = find message.Stream s
        let size = int64 message.Payload.Length

        turned
            message.Stream
            { outbound with
                Queue = Log.dropTo (outbound.Queue.First + 1L) outbound.Queue
                Buffered = outbound.Buffered - size }
            { s with Buffered = s.Buffered - size }

    /// Gives up what is left of the message under way; `tsn` stands for it. Answers the octets given up.
    let discardCurrent (tsn: int64) (s: Streams) : struct (int * Streams) =
        match s.Current with
        | ValueNone -> struct (0, s)
        | ValueSome current ->
            let left = current.Message.Payload.Length - current.Sent
            let outbound = find current.Message.Stream s

            struct (left,
                    put
                        current.Message.Stream
                        { outbound with
                            Buffered = outbound.Buffered - int64 (current.Message.Payload.Length - current.Settled)
                            LastTsn = tsn }
                        { s with
                            Current = ValueNone
                            Buffered = s.Buffered - int64 left })

    /// A reset was asked for: messages from now on wait for it. Nothing, where one waits already.
    let close (stream: uint16) (s: Streams) : Streams =
        let outbound = find stream s

        if outbound.Barrier <> Int64.MaxValue then
            s
        else
            put
                stream
                { outbound with
                    Barrier = outbound.Queue.Next }
                s

    /// Whether all that was queued before the reset has been sent, and acknowledged up to `cumulativeAck`.
    let isDrained (cumulativeAck: int64) (stream: uint16) (s: Streams) : bool =
        let outbound = find stream s

        let underWay =
            match s.Current with
            | ValueSome current -> current.Message.Stream = stream
            | ValueNone -> false

        not underWay
        && outbound.Queue.First >= outbound.Barrier
        && outbound.LastTsn <= cumulativeAck

    /// The reset is over: SSNs start anew where it was performed, and the messages that waited may go.
    let reopen (performed: bool) (stream: uint16) (s: Streams) : Streams =
        let before = find stream s

        let after =
            { before with
                Barrier = Int64.MaxValue
                LastTsn = 0L
                NextSsn = if performed then Ssn.zero else before.NextSsn }

        let s = put stream after s

        if after.IsReady && not before.IsReady then
            { s with
                Ready = Log.append stream s.Ready }
        else
            s

    /// The peer restarted, RFC 9260 §5.2.4: SSNs start anew, the message under way is lost, the queues stay.
    let restart (s: Streams) : Streams =
        let struct (_, s) = discardCurrent 0L s
        let mutable streams = s

        for key in 0..65535 do
            if (Slots.tryFind key s.Table).IsSome then
                streams <- reopen true (uint16 key) streams

        streams
