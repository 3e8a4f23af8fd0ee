namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// What W3C leaves to the implementation; each default is a field's own.
[<NoComparison>]
type PeerOptions =
    {
        /// How long without an answer to checks until `disconnected`. Default 5 s.
        DisconnectedAfter: Duration
        /// Consent expires this long after the last answer, RFC 7675 §5.1. Default 30 s.
        FailedAfter: Duration
        /// The largest UDP payload sent before more is known of the path. Default 1,200 octets.
        MaxDatagramSize: int
        /// The largest UDP payload that path MTU discovery (RFC 8899) may find; at most `MaxDatagramSize`: no discovery.
        /// Default 1,472 octets, as Ethernet has it.
        MtuDiscoveryLimit: int
        /// SCTP's receive window, octets. Default 8 MiB.
        ReceiveWindow: int
        /// What the receive window may grow to while the application keeps up, octets. Default 32 MiB.
        MaxReceiveWindow: int
        /// Default `Cubic`.
        CongestionControl: CongestionControl
        /// The largest message taken from the peer, octets, offered in `a=max-message-size`. Default 262,144.
        MaxMessageSize: int
        /// Octets that `send` may queue on one connection before it answers OperationError. Default 16 MiB.
        SendBuffer: int
        /// What the bandwidth estimator takes the network for before it knows, bits a second. Default 300,000.
        StartBitrate: int
        /// What it never goes below, bits a second. Default 10,000.
        MinBitrate: int
        /// What it never goes above, bits a second. Default 2,000,000,000.
        MaxBitrate: int
        /// The Unix time of the shell's instant zero, microseconds: what sender reports say of the wall clock, RFC 3550 §4.
        /// Default 0.
        Epoch: int64
        /// Whether TLS secrets are raised for a key log file (NSS format). Default false.
        KeyLog: bool
        /// SRTP profiles offered in use_srtp and chosen from, in order of preference, RFC 5764 §4.1.2. Default all, GCM first.
        SrtpProfiles: SrtpProfile[]
        /// Versions, cipher suites and groups. Default: `DtlsOptions.defaults`.
        Dtls: DtlsOptions
        /// Whether connections are made to the peer's TCP candidates, RFC 6544, where UDP does not pass. Listeners are the
        /// shell's to open (`ListenerOpened`). Default true.
        IceTcp: bool
        /// Whether TURN servers that are reached over TCP and TLS are asked for relayed addresses of TCP, too, RFC 6062. Default false.
        RelayTcp: bool
        /// What peers are told of our addresses. Default: what they are.
        Publication: Publication
        /// A full agent of ICE or a lite one, which candidates it gathers, and where its peers may be. Default: everything.
        Scope: IceScope
        /// What is done about networks that change.
        Mobility: MobilityOptions
    }

    /// With the wall clock of a shell.
    member options.At(epoch: int64) : PeerOptions = { options with Epoch = epoch }

/// The certificate that a peer shows, and its key.
[<NoComparison; NoEquality>]
type Identity =
    {
        /// X.509, DER.
        Certificate: byte[]
        Key: ISigningKey
    }

/// Everything that a peer is made of, given once.
[<NoComparison; NoEquality>]
type PeerConfig =
    { Ciphers: ICiphers
      Identity: Identity
      Configuration: Configuration
      Capabilities: MediaCapabilities
      Options: PeerOptions }

    /// With the wall clock of a shell.
    member config.At(epoch: int64) : PeerConfig =
        { config with
            Options = config.Options.At epoch }

/// A candidate that was gathered, for the `icecandidate` event.
[<NoComparison>]
type LocalCandidate =
    {
        /// `candidate:…`, RFC 8839 §5.1; empty at the end of a generation.
        Candidate: CandidateInit
        /// The STUN or TURN server that it came from.
        Url: string voption
    }

/// RTCPeerConnectionIceErrorEvent, W3C WebRTC 1.0 §4.8.3.
[<NoComparison>]
type CandidateError =
    {
        Address: string voption
        Port: int voption
        Url: string
        /// STUN's code from 300 to 699, or 701 where the server did not answer.
        Code: int
        Text: string
    }

/// RTCIceCandidatePair: candidates and the transport addresses behind them.
[<NoComparison>]
type CandidatePair =
    { Local: Candidate
      Remote: Candidate
      Path: Path }

/// What RTCIceTransport shows, W3C WebRTC 1.0 §5.6.
[<NoComparison>]
type IceTransportInfo =
    {
        State: IceTransportState
        Gathering: IceGatheringState
        Role: IceRole
        LocalParameters: IceParameters voption
        RemoteParameters: IceParameters voption
        LocalCandidates: Candidate[]
        /// Those of the local candidates that came from a STUN or TURN server, and its URL.
        LocalServers: struct (Candidate * string)[]
        RemoteCandidates: Candidate[]
        SelectedPair: CandidatePair voption
    }

/// What RTCDtlsTransport shows, W3C WebRTC 1.0 §5.5.
[<NoComparison>]
type DtlsTransportInfo =
    {
        State: DtlsTransportState
        /// DER, the leaf first.
        RemoteCertificates: byte[][]
        /// `DTLS 1.2`; empty before the handshake is done.
        Version: string
        /// The suite's IANA name; empty before.
        CipherSuite: string
        /// The name of the group that keys were agreed on in, as IANA registers it; empty before.
        Group: string
        /// `client` or `server`; empty before the role is known.
        Role: string
    }

/// What RTCSctpTransport shows, W3C WebRTC 1.0 §6.1.
[<NoComparison>]
type SctpTransportInfo =
    {
        State: SctpTransportState
        /// Octets; `Int64.MaxValue` where there is no limit.
        MaxMessageSize: int64
        MaxChannels: int voption
    }

/// A candidate pair's figures, W3C webrtc-stats RTCIceCandidatePairStats.
[<NoComparison>]
type CandidatePairStats =
    {
        Local: string
        Remote: string
        /// frozen, waiting, in-progress, failed or succeeded.
        State: string
        Nominated: bool
        RequestsSent: int64
        RequestsReceived: int64
        ResponsesSent: int64
        ResponsesReceived: int64
        ConsentRequestsSent: int64
        /// Of the last answered check.
        CurrentRoundTripTime: Duration voption
        TotalRoundTripTime: Duration
        /// Of the peer's datagrams but STUN's, and ours to it.
        PacketsSent: int64
        BytesSent: int64
        PacketsReceived: int64
        BytesReceived: int64
        LastPacketSentAt: Instant voption
        LastPacketReceivedAt: Instant voption
    }

/// The association's figures: RTCSctpTransportStats and what helps to debug a slow channel.
[<NoComparison>]
type SctpStats =
    { SmoothedRoundTripTime: Duration voption
      CongestionWindow: int
      PeerReceiverWindow: int
      Mtu: int
      BufferedAmount: int64
      Retransmissions: int64 }

/// Inputs that were ignored, by layer and reason.
[<Struct; NoComparison>]
type DropCount =
    { Layer: Layer
      Reason: Drop
      Count: int64 }

/// What `GetStats` answers.
[<NoComparison>]
type Statistics =
    { At: Instant
      Ice: IceTransportInfo
      Dtls: DtlsTransportInfo
      Sctp: SctpTransportInfo
      Association: SctpStats voption
      Pairs: CandidatePairStats[]
      Channels: ChannelStats[]
      Media: MediaStatistics
      ChannelsOpened: int
      ChannelsClosed: int
      PacketsSent: int64
      BytesSent: int64
      PacketsReceived: int64
      BytesReceived: int64
      Drops: DropCount[] }

/// What a peer is told: datagrams, what the shell found out, callers' requests, and the passing of time.
[<NoComparison; NoEquality>]
type Input =
    /// Time has passed; due when `Peer.deadline` says so, harmless when not.
    | Tick
    /// `Bytes` are lent: read, or decrypted in place, during the step, never kept.
    | Datagram of Path: Path * Bytes: Memory<byte>
    /// A UDP socket was bound to the address of an interface; with continual gathering, at any time. `Preference` from 0 to 65535, higher is better, RFC 8445 §5.1.2.1.
    | PortOpened of Port: PortId * Local: Endpoint * Preference: int
    /// A socket is gone, its address perhaps with it.
    | PortClosed of Port: PortId
    /// A TCP listener was bound, to be told before `PortsComplete`. A connection that it accepts is the path of its port and
    /// the remote endpoint, and `PortClosed` is its end. `Preference` as of `PortOpened`.
    | ListenerOpened of Port: PortId * Local: Endpoint * Preference: int
    /// All sockets that `OpenPorts` asked for are open.
    | PortsComplete
    /// A stream that `OpenStream` asked for is connected, from this address of ours. Frames come and go as datagrams do.
    | StreamOpened of Port: PortId * Local: Endpoint
    /// A stream could not be opened, or has ended; or a connection that a listener accepted has. Nothing more comes by it.
    | StreamClosed of Path: Path * Reason: string
    /// What `VerifyCertificate` asked: ValueNone is yes, and otherwise why not.
    | CertificateVerified of Port: PortId * Refusal: string voption
    /// The addresses of a STUN or TURN server; several arrive as one.
    | ServerResolved of Url: string * Endpoints: Endpoint[]
    /// A server's name does not resolve.
    | ServerFailed of Url: string * Reason: string
    /// A remote candidate's name (`….local`) and its address, ValueNone where nobody answered.
    | NameResolved of Name: string * Address: Address voption
    | CreateOffer of Command: CommandId * IceRestart: bool
    | CreateAnswer of Command: CommandId
    /// ValueNone: implicit, as `setLocalDescription()` is. A type without SDP uses what was created last.
    | SetLocalDescription of Command: CommandId * Description: Description voption
    | SetRemoteDescription of Command: CommandId * Description: Description
    | AddIceCandidate of Command: CommandId * Candidate: CandidateInit
    | RestartIce of Command: CommandId
    | SetConfiguration of Command: CommandId * Configuration: Configuration
    /// RTCIceTransport's pairs are told of from now on, those that there are at once; and, where the application decides, nominations
    /// wait for `AnswerNomination`. W3C webrtc-extensions, "RTCIceTransport extensions".
    | WatchPairs of Decides: bool
    | AnswerNomination of Path: Path * Accepted: bool
    /// selectCandidatePair(), of a pair that was told of.
    | SelectCandidatePair of Command: CommandId * Path: Path
    /// removeCandidatePair().
    | RemoveCandidatePair of Command: CommandId * Path: Path
    /// Answered by `Answer.Channel`.
    | CreateDataChannel of Command: CommandId * Init: ChannelInit
    /// `Payload` belongs to the peer from here on: it is not copied, and must not change.
    | Send of Channel: ChannelHandle * Text: bool * Payload: ReadOnlyMemory<byte>
    | CloseChannel of Channel: ChannelHandle
    /// The application has taken this many octets of delivered messages: the receive window opens again.
    | Consumed of Octets: int
    /// The requests about transceivers are `Jsep`'s of the same name; the first two are answered by `Answer.Transceiver`.
    | AddTransceiver of Command: CommandId * Init: TransceiverInit
    | AddTrack of Command: CommandId * Kind: MediaKind * Track: string * Streams: string[]
    | RemoveTrack of Command: CommandId * Transceiver: TransceiverId
    | ReplaceTrack of Command: CommandId * Transceiver: TransceiverId * Track: string voption
    | SetDirection of Command: CommandId * Transceiver: TransceiverId * Direction: Direction
    | StopTransceiver of Command: CommandId * Transceiver: TransceiverId
    | SetCodecPreferences of Command: CommandId * Transceiver: TransceiverId * Codecs: RtpCodec[]
    | SetStreams of Command: CommandId * Transceiver: TransceiverId * Streams: string[]
    | SetParameters of Command: CommandId * Transceiver: TransceiverId * Encodings: EncodingParameters[]
    | SetHeaderExtensions of Command: CommandId * Transceiver: TransceiverId * Extensions: ExtensionCapability[]
    /// Packets of one encoding (its index), to be sent in order. SSRC and some header extensions are the sender's to set;
    /// payload types, as mapped, are those of `SendCodecs`. The memory belongs to the peer from here on.
    | SendRtp of Transceiver: TransceiverId * Encoding: int * Mapping: RtpMapping * Packets: ReadOnlyMemory<RtpPacket>
    /// As one compound packet where it must be, RFC 3550 §6.1, or reduced-size, RFC 5506.
    | SendRtcp of Packets: Rtcp[]
    /// Asks the peer for a key frame of what this receiver receives: PLI, or FIR where only that was negotiated. `Ssrc` 0: of all.
    | RequestKeyFrame of Transceiver: TransceiverId * Ssrc: uint32
    /// Whether frames wait until their packets are due, RTCRtpReceiver.jitterBufferTarget; ValueNone: they are made of packets as they
    /// come. `Target` 0: as long as the network asks for. Packets are delivered as they come, whatever it is; see `PacketsDue`.
    | SetJitterBuffer of Transceiver: TransceiverId * Target: Duration voption
    /// RTCDTMFSender.insertDTMF(), W3C WebRTC 1.0 §7.2; `Duration` and `Gap` are within W3C's bounds.
    | InsertDtmf of Command: CommandId * Transceiver: TransceiverId * Tones: string * Duration: Duration * Gap: Duration
    /// Answered by `Answer.Statistics`.
    | GetStats of Command: CommandId
    | Close of Command: CommandId

/// What a request is answered with when it succeeds.
[<NoComparison; NoEquality>]
type Answer =
    | Done
    | Created of Description
    | Channel of ChannelInfo
    | Transceiver of TransceiverInfo
    | Stats of Statistics

/// What users of the connection are told, in order.
[<NoComparison; NoEquality>]
type Event =
    | SignalingStateChanged of SignalingState
    /// Comes before the `SignalingStateChanged` and the reply of the operation that changed them.
    | DescriptionsChanged of Descriptions
    | NegotiationNeeded
    | ConnectionStateChanged of PeerConnectionState
    | IceConnectionStateChanged of IceTransportState
    | IceGatheringStateChanged of IceGatheringState
    /// An empty candidate line is the end of a generation; ValueNone, the end of all.
    | IceCandidate of LocalCandidate voption
    | IceCandidateError of CandidateError
    /// State, role, candidates or selected pair changed.
    | IceTransportChanged of IceTransportInfo
    /// icecandidatepairadd.
    | CandidatePairAdded of CandidatePair
    /// icecandidatepairremove, which is not cancelable: the pair is gone.
    | CandidatePairRemoved of CandidatePair
    /// icecandidatepairnominate: to be answered.
    | CandidatePairNominated of CandidatePair
    | DtlsTransportChanged of DtlsTransportInfo
    /// RTCDtlsTransport's `error`: the handshake failed or an alert came.
    | DtlsError of Fault
    | SctpTransportChanged of SctpTransportInfo
    /// The peer opened a channel; it is open.
    | ChannelAnnounced of ChannelInfo
    | ChannelOpened of Handle: ChannelHandle * Id: int
    | ChannelClosing of Handle: ChannelHandle
    /// With a fault, `error` comes before `close`.
    | ChannelClosed of Handle: ChannelHandle * Fault: Fault voption
    /// Octets of user data have left the queue: `bufferedAmount` falls by them.
    | BufferedAmountFell of Handle: ChannelHandle * Octets: int
    /// All transceivers, in order, because one of them changed or is new; comes before the reply.
    | TransceiversChanged of TransceiverInfo[]
    /// What the peer's description did to receivers' tracks, in W3C's order; behind `SignalingStateChanged`, before the reply.
    | TracksChanged of TrackChange[]
    /// Packets arrive at a receiver for the first time, or again after `ReceiverMuted`: its track is unmuted.
    | ReceiverUnmuted of Transceiver: TransceiverId
    /// A source of a receiver's, new: `Rid` is empty without simulcast.
    | SourceFound of Transceiver: TransceiverId * Ssrc: uint32 * Rid: string
    /// From now on whoever makes frames of this receiver's packets holds them until `PacketsDue`, or no more. All that is held is due
    /// before the latter.
    | JitterBufferChanged of Transceiver: TransceiverId * IsHeld: bool
    /// Packets of a source are due up to a sequence number; what is missing up to there does not come.
    | PacketsDue of Transceiver: TransceiverId * Ssrc: uint32 * UpTo: uint16
    /// RTCP that came, as the application may want to see it.
    | RtcpReceived of Rtcp[]
    /// The peer asks for a key frame of an encoding.
    | KeyFrameRequested of Transceiver: TransceiverId * Encoding: int
    /// What the network seems to carry towards the peer, bits a second, all media together.
    | BitrateEstimated of BitsPerSecond: int64
    /// Octets that a relay, ours or the peer's, has around each packet of the present path; 0 before the first.
    | PathOverheadChanged of Octets: int
    /// RTCDTMFToneChangeEvent, W3C WebRTC 1.0 §7.3: `Tone` is empty at the end, `Buffer` what is left.
    | ToneChanged of Transceiver: TransceiverId * Tone: string * Buffer: string
    /// A tone of the peer's, RFC 4733: it begins (ValueNone), or it has ended, and how long the peer says it has sounded.
    | ToneReceived of Transceiver: TransceiverId * Tone: string * Duration: Duration voption
    /// One line of a key log file, NSS format.
    | KeyLogged of Line: string
