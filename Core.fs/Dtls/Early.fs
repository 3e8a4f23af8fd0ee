namespace Hybrid.WebRtc.Core.Tls

open System

/// Datagrams before `Start`, or records before their keys, that came too early: copies, newest first.
[<NoComparison; NoEquality>]
type internal Early = { Kept: byte[] list; Octets: int }

[<RequireQualifiedAccess>]
module internal Early =
    let nothing: Early = { Kept = []; Octets = 0 }

    /// Datagrams or records that are kept: a flight, said in small datagrams, and the first data behind it.
    [<Literal>]
    let private MaxKept = 32

    /// Octets of them.
    [<Literal>]
    let private MaxOctets = 16384

    /// Copies what came too early; ValueNone where there is no more room.
    let keep (bytes: Memory<byte>) (early: Early) : Early voption =
        if early.Kept.Length >= MaxKept || early.Octets + bytes.Length > MaxOctets then
            ValueNone
        else
            ValueSome
                { Kept = bytes.ToArray() :: early.Kept
                  Octets = early.Octets + bytes.Length }

    /// In the order in which they came.
    let inOrder (early: Early) : byte[] list = List.rev early.Kept
