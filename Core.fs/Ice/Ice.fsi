namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Turn

/// Interactive Connectivity Establishment for one component: a full agent, RFC 8445, with trickle (RFC 8838, 8840),
/// consent freshness (RFC 7675), TCP (RFC 6544) and mDNS names.
///
///     New ──candidates──▶ Checking ──a pair works──▶ Connected ──all checked──▶ Completed
///                            │                          ▲ │ 5 s unanswered         │
///                            │                          │ ▼                        │
///                            └── all failed ─▶ Failed ◀─ Disconnected ◀────────────┘
///                                                   30 s without consent
///
/// A connection made by an ICE restart is a new generation; the one before serves on until the new one has selected.
[<RequireQualifiedAccess>]
module Ice =
    /// The agent.
    type State = IceState

    [<NoComparison; NoEquality>]
    type Input =
        | Tick
        /// A datagram that is STUN (`Stun.Message.isStun`), lent.
        | Received of Path: Path * Datagram: ReadOnlyMemory<byte>
        /// Servers and policy for the next `Gather`.
        | SetServers of Servers: IceServer[] * Policy: IceTransportPolicy
        /// Whether the first generation gathers before it is asked to, W3C's iceCandidatePoolSize; before anything is gathered.
        | SetPool of IsWanted: bool
        /// Starts gathering for the present generation: once for each.
        | Gather
        /// The shell bound a socket: a base for candidates. `Preference` from 0 to 65535, higher is better: the local
        /// preference of RFC 8445 §5.1.2.1, made unique where two sockets share one.
        | PortOpened of Port: PortId * Base: Endpoint * Preference: int
        /// A socket is gone (its interface went down).
        | PortClosed of Port: PortId
        /// The shell bound a TCP listener: a passive candidate, RFC 6544 §5.1. What it accepts is the path of its port and the remote.
        | ListenerOpened of Port: PortId * Base: Endpoint * Preference: int
        /// Every interface has its socket: no more `PortOpened` and `ListenerOpened` to wait for. Where gathering is continual, those
        /// of interfaces that come later may follow.
        | PortsComplete
        /// A server's name was resolved, answering `ResolveServer`.
        | ServerResolved of Url: string * Endpoints: Endpoint[]
        | ServerFailed of Url: string * Reason: string
        /// An allocation that `Allocate` asked for, by its name: at most one address of each family.
        | Allocated of Port: PortId * Relayed: Endpoint[] * Mapped: Endpoint voption
        /// There is none; `Code` as of `ServerError`.
        | NotAllocated of Port: PortId * Code: int * Text: string
        /// There is none any more.
        | Unallocated of Port: PortId
        | SetRole of IceRole
        /// Our credentials. The first begin; others begin an ICE restart, RFC 8445 §9.
        | SetLocal of IceParameters
        /// Drops the generation that a restart began and resumes the one before.
        | RollbackLocal
        /// The peer's credentials, and whether it is lite. Others than before: the peer restarted.
        | SetRemote of Credentials: IceParameters * Lite: bool
        /// Whether that peer follows nominations after the first, draft-thatcher-ice-renomination; not, until this says so.
        | SetRenomination of bool
        /// Pairs are told of from now on as they are formed and removed, those that there are at once. `Decides`: nominations are put
        /// to the application first, by `Nominating`, and wait for `AnswerNomination`.
        | WatchPairs of Decides: bool
        /// The application accepts a nomination, or does not: then data may go by the pair all the same.
        | AnswerNomination of Path: Path * Accepted: bool
        /// Data is to go by this pair, which works (`isUsable`).
        | SelectPair of Path: Path
        /// This pair is neither asked nor served any more.
        | RemovePair of Path: Path
        /// A candidate of the peer's; the fragment says of which generation, where the signalling knows.
        | AddRemote of Candidate: Candidate * UsernameFragment: string voption
        /// The peer has no more candidates, RFC 8838 §14.
        | EndOfRemoteCandidates
        /// A name was resolved, answering `Resolve`.
        | Resolved of Name: string * Address: Address voption
        /// A stream is connected, from this address of ours, answering `OpenStream`.
        | StreamOpened of Port: PortId * Local: Endpoint
        /// It was not to be had, or has ended; or a connection that a listener accepted has.
        | StreamClosed of Path: Path
        /// A connection that was asked for is not to be had, and not to be asked for again.
        | StreamRefused of Path: Path
        | Close

    [<NoComparison; NoEquality>]
    type Output =
        /// A STUN message, to be written by `Stun.Outgoing.write`.
        | Transmit of Path: Path * Message: Stun.Outgoing
        /// Bind a socket on every interface: `PortOpened` for each, then `PortsComplete`.
        | OpenPorts
        /// Close a socket, a listener or a stream that nobody needs any more.
        | ClosePort of Port: PortId
        /// Connect from the address of the socket `From`, RFC 6544 §7.1; frames of the stream are datagrams of (`Port`, `To`).
        | OpenStream of Port: PortId * From: PortId * To: Endpoint
        /// Find the endpoints of a server, `stun:host:port`.
        | ResolveServer of Url: string
        /// Make an allocation on a TURN server, answered by `Allocated` or `NotAllocated`.
        | Allocate of RelayRequest
        /// Packets of the path, which is of a port of ours on a TURN server, shall pass.
        | Permit of Path: Path
        /// Give an allocation back.
        | Release of Port: PortId
        /// Find the address of a name, `….local` by mDNS.
        | Resolve of Name: string
        /// Others may ask the link for this name, RFC 6762; until the agent is closed.
        | Announce of Name: string * Address: Address
        /// A local candidate, and the server that it was learnt from.
        | Gathered of Candidate: Candidate * Url: string voption
        /// One of the present generation's is of no use any more: its socket is gone.
        | Withdrawn of Candidate: Candidate
        | GatheringChanged of IceGatheringState
        /// RTCPeerConnectionIceErrorEvent: a STUN error code, or 701 where a server did not answer. `Base` is the local end.
        | ServerError of Url: string * Base: Endpoint voption * Code: int * Text: string
        | StateChanged of IceTransportState
        | RoleChanged of IceRole
        /// Data is to be sent here from now on.
        | Selected of Local: Candidate * Remote: Candidate * Path: Path
        /// A check of ours was answered here: data may be sent on this path even before one is selected, RFC 8445 §12.1.
        | Validated of Path: Path
        /// No data may be sent here, and none is taken from here, any more.
        | Invalidated of Path: Path
        /// Where pairs are watched: formed, RFC 8445 §6.1.2.2; and gone.
        | PairFormed of IcePair
        | PairGone of IcePair
        /// A controlling agent would nominate this pair.
        | Nominating of IcePair
        /// An input had no effect.
        | Ignored of Drop

    /// An agent that waits. `entropy` is its own; `ciphers` are used for integrity only.
    [<CompiledName "Create">]
    val create: options: IceOptions -> entropy: Entropy -> ciphers: ICiphers -> State

    /// When a `Tick` is next due; `Instant.never` while only others can move it. Stored, so it costs nothing to ask.
    [<CompiledName "Deadline">]
    val deadline: state: State -> Instant

    [<CompiledName "Step">]
    val step: now: Instant -> input: Input -> state: State -> Step<State, Output>

    /// Whether packets from this path may be taken for the peer's: our check was answered there, or the peer's authentic
    /// check came from there. Cheap enough for every packet.
    [<CompiledName "IsValid">]
    val isValid: path: Path -> state: State -> bool

    /// Present state, W3C RTCIceTransport.state.
    [<CompiledName "TransportState">]
    val transportState: state: State -> IceTransportState

    [<CompiledName "GatheringState">]
    val gatheringState: state: State -> IceGatheringState

    [<CompiledName "Role">]
    val role: state: State -> IceRole

    /// Credentials of the present generation.
    [<CompiledName "LocalCredentials">]
    val localCredentials: state: State -> IceParameters voption

    /// The fragments that requests to this agent may be addressed to: the present generation's, and the former's while it
    /// still serves.
    [<CompiledName "UsernameFragments">]
    val usernameFragments: state: State -> string[]

    [<CompiledName "RemoteCredentials">]
    val remoteCredentials: state: State -> IceParameters voption

    /// Candidates of the present generation; the local ones with those learnt from the peer's responses.
    [<CompiledName "LocalCandidates">]
    val localCandidates: state: State -> Candidate[]

    /// Those of the local candidates that came from a server, and its URL.
    [<CompiledName "LocalServers">]
    val localServers: state: State -> struct (Candidate * string)[]

    [<CompiledName "RemoteCandidates">]
    val remoteCandidates: state: State -> Candidate[]

    /// The pair that data is sent on: the present generation's, or until it has one, that of the generation before.
    [<CompiledName "SelectedPair">]
    val selectedPair: state: State -> IcePair voption

    /// Whether the present generation has the pair of this path.
    [<CompiledName "HasPair">]
    val hasPair: path: Path -> state: State -> bool

    /// Whether data may go by a pair of the present generation: it was answered while consent lasts.
    [<CompiledName "IsUsable">]
    val isUsable: now: Instant -> path: Path -> state: State -> bool

    /// The pairs of the present generation, best first.
    [<CompiledName "Pairs">]
    val pairs: state: State -> IcePair[]
