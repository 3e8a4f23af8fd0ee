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
