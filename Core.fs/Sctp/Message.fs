namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// A user message on its way out: never changed, shared by all of its chunks.
[<NoComparison; ReferenceEquality>]
type internal Message =
    {
        Stream: uint16
        Ppid: uint32
        Ordered: bool
        /// The weight of its stream among others, RFC 8260 §3.6.
        Priority: uint16
        /// `Instant.never` unless its lifetime is limited.
        ExpiresAt: Instant
        /// `Int32.MaxValue` unless limited.
        MaxRetransmits: int
        Payload: ReadOnlyMemory<byte>
    }

/// A chunk that was given a TSN: a reference into its message.
[<Struct; NoComparison; NoEquality>]
type internal Slot =
    {
        Message: Message
        Offset: int
        /// Octets of user data. Zero only in the placeholder of `Outstanding.abandon`.
        Size: int
        Mid: Mid
        /// Which fragment of the message it is, RFC 8260 §2.1.
        Fsn: uint32
        /// Octets of all chunks before this one, headers and padding included: the sum over any stretch is a difference.
        Before: int64
        /// When it was sent for the first time. Ascends with the TSN.
        SentAt: Instant
    }
