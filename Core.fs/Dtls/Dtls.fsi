namespace Hybrid.WebRtc.Core

open System

/// One end of a DTLS connection, 1.3 (RFC 9147) or 1.2 (RFC 6347), with use_srtp (RFC 5764), as WebRTC has it (RFC 8827 §6.5): both ends
/// show a certificate that the other knows by its fingerprint, keys are ephemeral, 1.2's extended master secret is required.
///
///     New ──Start──▶ Handshaking ──Finished──▶ Open ──close_notify──▶ Over
///                         └──refusal, alert, time──────fatal alert──────▲
///
/// It speaks through no socket and of no path: every datagram that looks like DTLS (RFC 7983: the first octet is 20 to 63)
/// goes in by `Received`, from whichever validated path it came.
///
/// Noise is `Ignored`: what is malformed, forged, replayed or out of turn changes nothing. Before the handshake is done a
/// well-formed lie in the clear can end it, as in every DTLS; afterwards only what is authenticated counts.
[<RequireQualifiedAccess>]
module Dtls =
    [<NoComparison; NoEquality>]
    type State

    [<NoComparison; NoEquality>]
    type Input =
        /// Time has passed.
        | Tick
        /// What the path has around its packets, octets: so much smaller are the handshake's datagrams. Before `Start`.
        | Wrapped of Octets: int
        /// The handshake begins: the role is known, and which fingerprints the peer's certificate may have.
        | Start of Role: DtlsRole * Fingerprints: Fingerprint[]
        /// The same as on the web: only the server shows a certificate. Its chain is in `Connected`, unverified: nothing is to be
        /// said before whoever began has looked at it. `ServerName`: whom a client asks for, RFC 6066 §3; else empty.
        | StartWithChain of Role: DtlsRole * ServerName: string
        /// A datagram, lent: its records are decrypted in place. Before `Start` a few are kept, as copies.
        | Received of Memory<byte>
        /// Asks for this many records of application data, at least one; answered by `Sealed`, or `Ignored` where there is
        /// no connection.
        | Seal of Records: int
        /// Says goodbye.
        | Close

    [<NoComparison; NoEquality>]
    type Output =
        /// To be written and sent to the peer.
        | Transmit of DtlsDatagram
        /// The answer to `Seal`: the first record's; the others' are its `Next`, and `Next` of that.
        | Sealed of DtlsSeal
        /// Decrypted application data, a slice of what `Received` lent; it may be the whole of SCTP's packet.
        | Data of Memory<byte>
        | Connected of DtlsConnected
        /// A line of a key log file (NSS), where the configuration asks for it.
        | KeyLog of Line: string
        /// The end, by a refusal of ours, an alert of theirs, or time. Nothing follows.
        | Failed of Fault
        /// The end, by close_notify of either side. Nothing follows.
        | Closed
        | Ignored of Drop

    /// An end that waits for `Start`. The entropy is drawn from when it comes, and dropped.
    val create: config: DtlsConfig -> entropy: Entropy -> State

    /// When a `Tick` is next due; `Instant.never` where only the peer can move us.
    val deadline: state: State -> Instant

    val step: now: Instant -> input: Input -> state: State -> Step<State, Output>
