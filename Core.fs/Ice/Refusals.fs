namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Stun

/// Whose a Binding request is.
[<RequireQualifiedAccess; Struct; NoComparison; NoEquality>]
type internal Author =
    /// The peer's, to the present generation.
    | OfPresent
    /// The peer's, to the former one.
    | OfFormer
    /// Of somebody who has not shown a password of ours; the code that tells them so.
    | Stranger of Code: int

/// Answers to strangers. They are few: whoever floods us has forged where they would go, and an honest peer that is told late
/// that it is wrong repeats its request.
[<Struct; NoComparison; NoEquality>]
type internal Refusals =
    {
        /// The second that is counted began here.
        Since: Instant
        Given: int
    }

[<RequireQualifiedAccess>]
module internal Refusals =
    /// Answers a second.
    [<Literal>]
    let PerSecond = 20

    let none: Refusals = { Since = Pair.longAgo; Given = 0 }

    /// RFC 8489 §9.1.3: 400 without integrity or user name, else 401. A request's fragment and integrity are all that is looked at.
    let author (ciphers: ICiphers) (datagram: ReadOnlyMemory<byte>) (present: IceSession) (former: IceSession voption) =
        let mine = IceSession.judge ciphers datagram present

        let theirs =
            match mine, former with
            | ValueNone, ValueSome session -> IceSession.judge ciphers datagram session
            | _ -> ValueNone

        match mine, theirs with
        | ValueSome Verification.Right, _ -> Author.OfPresent
        | _, ValueSome Verification.Right -> Author.OfFormer
        | ValueSome Verification.Wrong, _
        | _, ValueSome Verification.Wrong -> Author.Stranger 401
        | ValueNone, ValueNone when not (Message.fragmentOctets datagram.Span).IsEmpty -> Author.Stranger 401
        | _ -> Author.Stranger 400

    /// What a stranger is answered, if anything, and why the request came to nothing.
    let refuse
        (now: Instant)
        (code: int)
        (datagram: ReadOnlyMemory<byte>)
        (refusals: Refusals)
        : struct (Refusals * Outgoing voption * Drop) =
        let isOver = now - refusals.Since >= Duration.seconds 1L

        if not isOver && refusals.Given >= PerSecond then
            struct (refusals, ValueNone, Drop.Unauthentic)
        else
            let refusals =
                if isOver then
                    { Since = now; Given = 1 }
                else
                    { refusals with
                        Given = refusals.Given + 1 }

            match Message.read datagram.Span with
            | ValueSome message -> struct (refusals, Binding.refuse message code datagram.Length, Drop.Unauthentic)
            | ValueNone -> struct (refusals, ValueNone, Drop.Malformed)
