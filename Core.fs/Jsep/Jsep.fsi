namespace Hybrid.WebRtc.Core

/// The signalling of a peer connection: offers, answers, candidates. JSEP (RFC 8829, RFC 9429), W3C WebRTC 1.0 §4.4.
///
///                  setRemote(offer)                     setLocal(pranswer)
///      ┌────────── HaveRemoteOffer ◀──┐ again        ┌─▶ HaveLocalPranswer ◀──┐ again
///      │            │   ▲   └─────────┘              │     │        └─────────┘
///      │ setLocal   │   │ setRemote(offer)  ─────────┘     │ setLocal(answer)
///      │ (answer)   │   │                                  │
///      └─────────▶  Stable ◀───── rollback ────────────────┘
///      ┌─────────▶  │   ▲ setRemote(answer)                ▲
///      │ setRemote  │   └─────────────────────────┐        │ setRemote(answer)
///      │ (answer)   ▼ setLocal(offer)             │        │
///      └────────── HaveLocalOffer ── setRemote(pranswer) ─▶ HaveRemotePranswer ◀─ again
///                   └─ again
///
/// A rollback leads from either offer state to `Stable`; an offer of the peer's in `HaveLocalOffer` rolls ours back by
/// itself. A provisional answer cannot be rolled back (W3C, against RFC 8829 §5.7). `Close` leads from anywhere to
/// `Closed`, which answers every request with InvalidStateError.
///
/// W3C's chain of operations is the order of the inputs: each operation is done whole within one step, or refused whole
/// and nothing has changed. There is no clock in signalling, so neither `Tick` nor deadline.
[<RequireQualifiedAccess>]
module Jsep =
    /// What a session is made with.
    [<NoComparison; NoEquality>]
    type Config =
        {
            Configuration: Configuration
            /// Of our certificates, one at least.
            Fingerprints: Fingerprint[]
            /// Of the largest message we take, in octets; 0: no limit. 262,144 is every browser's least.
            MaxMessageSize: int64
            /// Ours; 5000 is every browser's.
            SctpPort: uint16
            /// Whether descriptions say that we follow nominations after the first, draft-thatcher-ice-renomination.
            Renomination: bool
            /// Whether descriptions say that our agent of ICE is lite, RFC 8839 §5.3.
            IceLite: bool
            /// What media may be negotiated.
            Capabilities: MediaCapabilities
        }

    /// A session between two steps. Immutable.
    [<NoComparison; NoEquality>]
    type State

    /// Requests carry a number of the caller's, which the `Reply` carries back.
    [<NoComparison>]
    type Input =
        | CreateOffer of Command: int64 * IceRestart: bool
        | CreateAnswer of Command: int64
        /// ValueNone: the type that suits the state. Empty SDP: what was created last, or is created now. Else it must be
        /// what was created last, line ends apart: descriptions are not edited on their way (InvalidModificationError).
        | SetLocalDescription of Command: int64 * Description: Description voption
        | SetRemoteDescription of Command: int64 * Description: Description
        | AddIceCandidate of Command: int64 * Candidate: CandidateInit
        | RestartIce of Command: int64
        | SetConfiguration of Command: int64 * Configuration: Configuration
        /// A data channel was created. May come with every channel.
        | NeedDataSection
        /// W3C WebRTC 1.0 §5.1 addTransceiver(); answered by `Transceiver`.
        | AddTransceiver of Command: int64 * Init: TransceiverInit
        /// addTrack(): a sender that is free is used again; answered by `Transceiver`.
        | AddTrack of Command: int64 * Kind: MediaKind * Track: string * Streams: string[]
        | RemoveTrack of Command: int64 * Transceiver: TransceiverId
        /// replaceTrack(), which never renegotiates: the kind was checked by the caller.
        | ReplaceTrack of Command: int64 * Transceiver: TransceiverId * Track: string voption
        | SetDirection of Command: int64 * Transceiver: TransceiverId * Direction: Direction
        | StopTransceiver of Command: int64 * Transceiver: TransceiverId
        | SetCodecPreferences of Command: int64 * Transceiver: TransceiverId * Codecs: RtpCodec[]
        | SetStreams of Command: int64 * Transceiver: TransceiverId * Streams: string[]
        /// setParameters(): number, order and rids of the encodings are as they were, W3C §5.2.
        | SetParameters of Command: int64 * Transceiver: TransceiverId * Encodings: EncodingParameters[]
        /// setHeaderExtensionsToNegotiate(), webrtc-extensions §5.
        | SetHeaderExtensions of Command: int64 * Transceiver: TransceiverId * Extensions: ExtensionCapability[]
        /// restartIce(), which nobody waits for.
        | NeedIceRestart
        /// ICE gathered: the line behind `a=`, `candidate:…`, and the generation that it belongs to.
        | LocalCandidate of Candidate: string * UsernameFragment: string
        /// A candidate of it is of no use any more.
        | CandidateWithdrawn of Candidate: string * UsernameFragment: string
        /// A generation has all its candidates.
        | GatheringComplete of UsernameFragment: string
        | Close

    /// What a request is answered with when it succeeds.
    [<NoComparison>]
    type Answer =
        | Done
        | Created of Description
        | Transceiver of TransceiverInfo

    /// Orders come after the events and the reply of the operation that they follow from, in the order that transports
    /// take them; `NegotiationNeeded` is last.
    [<NoComparison; NoEquality>]
    type Output =
        | Reply of Command: int64 * Result: Result<Answer, Mistake>
        | DescriptionsChanged of Descriptions
        /// All transceivers, in order, because one of them changed, is new, or is gone; before `SignalingStateChanged`. One
        /// that is gone is stopped and has no mid any more.
        | TransceiversChanged of TransceiverInfo[]
        /// What the operation did to receivers' tracks, a remote description above all, but a rollback, an answer of ours and
        /// `StopTransceiver` too; behind `SignalingStateChanged`, before the reply. Streams that a track has only left are
        /// told by `TransceiversChanged` alone.
        | TracksChanged of TrackChange[]
        | SignalingStateChanged of SignalingState
        | NegotiationNeeded
        | Order of JsepOrder
        | Ignored of Drop

    /// A session before its first input.
    [<CompiledName "Create">]
    val create: config: Config -> entropy: Entropy -> State

    /// The next state, and what follows, in order.
    [<CompiledName "Step">]
    val step: input: Input -> state: State -> Step<State, Output>

    [<CompiledName "SignalingState">]
    val signalingState: state: State -> SignalingState

    /// The four descriptions, and whether the peer trickles.
    [<CompiledName "Descriptions">]
    val descriptions: state: State -> Descriptions

    [<CompiledName "Configuration">]
    val configuration: state: State -> Configuration

    /// The mid and the index of the section that a generation of ours belongs to, for `icecandidate` events.
    [<CompiledName "SectionOf">]
    val sectionOf: usernameFragment: string -> state: State -> struct (string voption * int) voption

    /// Our DTLS role, once an answer has settled it: data channels take odd or even streams by it, RFC 8832 §6.
    [<CompiledName "DtlsRole">]
    val dtlsRole: state: State -> JsepDtlsRole voption
