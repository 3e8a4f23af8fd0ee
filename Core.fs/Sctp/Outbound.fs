namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// One outgoing stream. The draft of `Streams` whose version it bears changes it in place; to everyone else it is immutable.
[<NoComparison; ReferenceEquality>]
type internal Outbound =
    {
        Stream: uint16
        Version: int64
        /// Messages, the one under way first.
        mutable Queue: Log<Message>
        /// Octets not yet sent.
        mutable Buffered: int64
        /// The last TSN given to this stream, unwrapped; 0 before the first.
        mutable LastTsn: int64
        /// A reset waits for the messages numbered below this one; `Int64.MaxValue` where none was asked for.
        /// Messages from here on wait for the reset, RFC 6525 §5.1.2 rule A1.
        mutable Barrier: int64
        /// Of the ordered message under way, or the next; DATA's SSN, RFC 9260 §6.5, is its low half.
        mutable NextOrdered: Mid
        /// The same of unordered ones, RFC 8260 §2.1.
        mutable NextUnordered: Mid
        /// Octets of the message under way that have been sent; 0 where none is.
        mutable Sent: int
        /// Of its next fragment.
        mutable Fsn: uint32
        /// The virtual time that the stream has been served for.
        mutable Served: int64
        /// The virtual time at which what it sends next would be done.
        mutable Due: int64
        /// Waits for its turn with others: in `Turns`, or in the draft's queue.
        mutable Queued: bool
    }

    /// Whether something may be sent now.
    member stream.IsReady = stream.Queue.First < min stream.Barrier stream.Queue.Next

    /// Whether a message has been begun and not ended.
    member stream.IsUnderWay = stream.Sent > 0

    member stream.Head = stream.Queue[stream.Queue.First]

/// A message part of which has been sent.
[<Struct; NoComparison; NoEquality>]
type internal Partial =
    {
        Message: Message
        /// Octets that have been sent.
        Sent: int
        Mid: Mid
        /// Of its next fragment.
        Fsn: uint32
    }

/// What is to be sent next.
[<Struct; NoComparison; NoEquality>]
type internal Piece =
    { Message: Message
      Offset: int
      Size: int
      Mid: Mid
      Fsn: uint32 }

[<RequireQualifiedAccess>]
module internal Outbound =
    /// A stream that nothing was sent on.
    let unused (version: int64) (stream: uint16) : Outbound =
        { Stream = stream
          Version = version
          Queue = Log.startingAt 0L
          Buffered = 0L
          LastTsn = 0L
          Barrier = Int64.MaxValue
          NextOrdered = Mid.zero
          NextUnordered = Mid.zero
          Sent = 0
          Fsn = 0u
          Served = 0L
          Due = 0L
          Queued = false }

    /// The number of a message at the head of the queue.
    let midOf (message: Message) (stream: Outbound) : Mid =
        if message.Ordered then
            stream.NextOrdered
        else
            stream.NextUnordered

    /// The message at the head of a queue, and with it its number, is done with.
    let finish (stream: Outbound) : unit =
        let message = stream.Head
        stream.Queue <- Log.dropTo (stream.Queue.First + 1L) stream.Queue
        stream.Sent <- 0
        stream.Fsn <- 0u

        if message.Ordered then
            stream.NextOrdered <- Mid.next stream.NextOrdered
        else
            stream.NextUnordered <- Mid.next stream.NextUnordered
