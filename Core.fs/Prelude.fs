namespace Hybrid.WebRtc.Core

open System
open Microsoft.FSharp.Core.CompilerServices

/// Microseconds. Erased when compiled: an `Instant` is a `long` to C#.
[<Measure>]
type us

/// A point in time: microseconds since an epoch that the shell chose. Only differences mean anything.
type Instant = int64<us>

/// A length of time in microseconds.
type Duration = int64<us>

/// What a machine answers: its next state, and what it asks of the outside, in order.
type Step<'state, 'output> = (struct ('state * 'output list))

/// Points in time.
[<RequireQualifiedAccess>]
module Instant =
    /// Later than any instant: "no timer is waiting".
    [<Literal>]
    let never: Instant = Int64.MaxValue * 1L<us>

    /// The earlier of two, without a boxed comparison.
    let inline min (a: Instant) (b: Instant) : Instant = if a < b then a else b

    /// `start + length`, staying `never` where either is.
    let add (length: Duration) (start: Instant) : Instant =
        if start = never || length >= never - start then
            never
        else
            start + length

/// Lengths of time.
[<RequireQualifiedAccess>]
module Duration =
    /// From a count of microseconds.
    let inline microseconds (n: int64) : Duration = n * 1L<us>
    /// From a count of milliseconds.
    let inline milliseconds (n: int64) : Duration = n * 1_000L<us>
    /// From a count of seconds.
    let inline seconds (n: int64) : Duration = n * 1_000_000L<us>
    /// In whole milliseconds, rounded down.
    let inline toMilliseconds (d: Duration) : int64 = d / 1_000L<us>

/// How steps are built and joined.
[<RequireQualifiedAccess>]
module Step =
    /// The next state, with nothing to ask of the outside.
    let inline only (state: 'state) : Step<'state, 'output> = struct (state, [])

    /// The next state with one output.
    let inline one (output: 'output) (state: 'state) : Step<'state, 'output> = struct (state, [ output ])

    /// Lets each output of a part act on the whole, in order, and joins what the whole answers.
    let route
        (react: 'part -> 'state -> Step<'state, 'output>)
        (outputs: 'part list)
        (state: 'state)
        : Step<'state, 'output> =
        match outputs with
        | [] -> struct (state, [])
        | [ single ] -> react single state
        | several ->
            let mutable state = state
            let mutable asked = ListCollector<'output>()

            for output in several do
                let struct (next, more) = react output state
                state <- next
                asked.AddMany more

            struct (state, asked.Close())

    /// Runs `next` on the state of a step; the outputs of both, in order.
    let bind (next: 'state -> Step<'state, 'output>) (struct (state, outputs): Step<'state, 'output>) =
        let struct (state, more) = next state

        match outputs, more with
        | [], _ -> struct (state, more)
        | _, [] -> struct (state, outputs)
        | _ -> struct (state, outputs @ more)

/// Why an input was ignored. Noise is counted, never fatal.
type Drop =
    /// Not a well-formed message of the protocol it claims to be.
    | Malformed = 0
    /// An integrity check failed, or a checksum, a verification tag, a fingerprint.
    | Unauthentic = 1
    /// Seen before: a replayed record, a duplicate.
    | Replayed = 2
    /// Well-formed, but not awaited in the present state.
    | Unexpected = 3
    /// A version, suite, type or parameter that is not supported.
    | Unsupported = 4
    /// A bound on memory or on work was reached.
    | TooMany = 5
    /// From a path that has not been validated.
    | Unvalidated = 6
    /// Belongs to a session, generation or attempt that is over.
    | Stale = 7

/// Which protocol a drop or a fault belongs to.
type Layer =
    | Demux = 0
    | Stun = 1
    | Turn = 2
    | Ice = 3
    | Dtls = 4
    | Sctp = 5
    | Data = 6
    | Srtp = 7
    | Rtp = 8
    | Jsep = 9
    | Peer = 10

/// RTCErrorDetailType, W3C WebRTC 1.0 §11.3; `None` where W3C has no name for it.
type ErrorDetail =
    | None = 0
    | DataChannelFailure = 1
    | DtlsFailure = 2
    | FingerprintFailure = 3
    | SctpFailure = 4
    | SdpSyntaxError = 5

/// The end of a connection, as a value. `Reason` is for a person to read.
[<NoComparison>]
type Fault =
    {
        Layer: Layer
        Detail: ErrorDetail
        Reason: string
        /// The DTLS alert that was received, RFC 5246 §7.2.
        ReceivedAlert: byte voption
        /// The DTLS alert that was sent.
        SentAlert: byte voption
        /// The SCTP cause code of an ABORT, RFC 9260 §3.3.10.
        SctpCauseCode: uint16 voption
    }

/// Ends of connections.
[<RequireQualifiedAccess>]
module Fault =
    /// A fault with no code beside its reason.
    let create (layer: Layer) (detail: ErrorDetail) (reason: string) : Fault =
        { Layer = layer
          Detail = detail
          Reason = reason
          ReceivedAlert = ValueNone
          SentAlert = ValueNone
          SctpCauseCode = ValueNone }

/// The DOMException names that a caller's mistake is answered with, W3C WebRTC 1.0 and Web IDL.
type ErrorName =
    | InvalidStateError = 0
    | InvalidAccessError = 1
    | InvalidModificationError = 2
    | NotSupportedError = 3
    | SyntaxError = 4
    | OperationError = 5
    | TypeError = 6
    | RangeError = 7
    | UnknownError = 8
    | AbortError = 9
    | NotFoundError = 10

/// A caller's mistake, or an operation that could not be done. `Message` says what was wrong and what would be right.
[<NoComparison>]
type Mistake =
    {
        Name: ErrorName
        Message: string
        /// More than `None` makes it an RTCError, W3C WebRTC 1.0 §11.
        Detail: ErrorDetail
        /// The line of the SDP, from 1, that an `SdpSyntaxError` is about.
        SdpLine: int voption
    }

/// Callers' mistakes.
[<RequireQualifiedAccess>]
module Mistake =
    /// A DOMException with a name and a message.
    let create (name: ErrorName) (message: string) : Mistake =
        { Name = name
          Message = message
          Detail = ErrorDetail.None
          SdpLine = ValueNone }

    /// The RTCError of a description that does not parse, W3C WebRTC 1.0 §4.4.1.5.
    let sdp (line: int) (message: string) : Mistake =
        { Name = ErrorName.OperationError
          Message = message
          Detail = ErrorDetail.SdpSyntaxError
          SdpLine = ValueSome line }
