namespace Hybrid.WebRtc.Core

open System

/// One end of a connection: the composition of ICE, DTLS, SCTP, data channels and JSEP. A pure machine.
[<RequireQualifiedAccess>]
module Peer =
    /// A peer between two steps. Immutable: an old one may be kept, compared by reference, and stepped again.
    [<Sealed>]
    type State

    /// The defaults of `PeerOptions`.
    [<CompiledName "DefaultOptions">]
    val defaultOptions: PeerOptions

    /// A peer before its first input. `entropy` is 32 octets from the operating system.
    /// Error: the configuration is not valid (W3C WebRTC 1.0 §4.4.1.1).
    [<CompiledName "Create">]
    val create: entropy: ReadOnlyMemory<byte> -> config: PeerConfig -> Result<State, Mistake>

    /// When a `Tick` is next due; `Instant.never` when only an input can move the peer.
    [<CompiledName "Deadline">]
    val deadline: state: State -> Instant

    /// The next state, and what it asks of the outside, in order.
    [<CompiledName "Step">]
    val step: now: Instant -> input: Input -> state: State -> Step<State, Output>

    /// Calls one method of the shell per output, in order.
    [<CompiledName "Perform">]
    val perform: shell: IShell -> outputs: Output list -> unit

    /// The username fragments that STUN requests to this peer may carry, for a port that several peers share: the present
    /// generation's, and the former's while it still serves.
    [<CompiledName "UsernameFragments">]
    val usernameFragments: state: State -> string[]

    /// The username fragment a STUN request is addressed to (the part of USERNAME before the colon, RFC 8445 §7.2.2);
    /// as octets of the datagram; empty where it is not a STUN request that names one. Allocates nothing.
    [<CompiledName "RequestedFragment">]
    val requestedFragment: datagram: ReadOnlySpan<byte> -> ReadOnlySpan<byte>
