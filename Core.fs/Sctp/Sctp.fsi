namespace Hybrid.WebRtc.Core

/// The association's figures, for getStats.
[<NoComparison>]
type SctpFigures =
    {
        /// RFC 9260 §6.3.1; ValueNone before the first measurement.
        SmoothedRoundTripTime: Duration voption
        /// cwnd, octets.
        CongestionWindow: int
        /// rwnd: octets that the peer has room for beyond what is in flight.
        PeerReceiverWindow: int
        /// Octets in flight, headers included.
        FlightSize: int
        /// Chunks sent again, ever.
        Retransmissions: int64
        /// a_rwnd: octets that we have room for.
        ReceiverWindow: int
    }

/// RFC 9260 §4.
type SctpState =
    | Closed = 0
    | CookieWait = 1
    | CookieEchoed = 2
    | Established = 3
    | ShutdownPending = 4
    | ShutdownSent = 5
    | ShutdownReceived = 6
    | ShutdownAckSent = 7
    /// Closed for good, after `Closed` or `Failed`.
    | Ended = 8

/// One end of an SCTP association over DTLS (RFC 8261): RFC 9260 with partial reliability (RFC 3758), stream reset
/// (RFC 6525), path MTU discovery (RFC 8899) and zero checksums (RFC 9653). A pure machine.
///
///     Closed ──Connect──▶ CookieWait ──INIT ACK──▶ CookieEchoed ──COOKIE ACK──▶ Established
///        └────────────────────┴──COOKIE ECHO──────────┴──────────────────────────▲
///     Established ──Shutdown──▶ ShutdownPending ──drained──▶ ShutdownSent ──SHUTDOWN ACK──▶ Ended
///         └────SHUTDOWN──▶ ShutdownReceived ──drained──▶ ShutdownAckSent ──SHUTDOWN COMPLETE──▶ Ended
///
/// Everything is sent by `Tick`s that the machine asks for, at the instant of what caused them: a batch of inputs of one
/// instant, followed by one `Tick`, makes one SACK, and packets as full as they can be.
[<RequireQualifiedAccess>]
module Sctp =
    /// An association between two steps. Immutable.
    type State = SctpAssociation

    type Input = SctpInput

    type Output = SctpOutput

    /// An association before its first input. Messages may be sent, and streams reset, from here on: they wait.
    val create: entropy: Entropy -> config: SctpConfig -> State

    /// When a `Tick` is next due; `Instant.never` when only an input can move the association.
    val deadline: state: State -> Instant

    /// The next state, and what it asks of the outside, in order.
    val step: now: Instant -> input: SctpInput -> state: State -> Step<State, SctpOutput>

    /// Where in RFC 9260's diagram the association is.
    val state: state: State -> SctpState

    /// Octets that the application sent and that have not been sent to the peer for the first time, of all streams.
    val bufferedAmount: state: State -> int64

    /// The same of one stream.
    val bufferedAmountOf: stream: uint16 -> state: State -> int64

    /// Streams that may be sent on, from 0; ValueNone until the peer has said so.
    val outboundStreams: state: State -> int voption

    /// Octets of the largest packet sent: what discovery has found, RFC 8899.
    val mtu: state: State -> int

    /// Until when the association gives way to media; 0: it does not. `Instant.never` before the peer is known, and after the end.
    val internal yieldsUntil: state: State -> Instant

    /// Whether it has more under way than its least, and will have less as soon as a queue grows.
    val internal gives: state: State -> bool

    /// ValueNone before the peer is known, and after the end.
    val figures: state: State -> SctpFigures voption
