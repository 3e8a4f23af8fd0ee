namespace Hybrid.WebRtc.Core

/// Numbers a caller's request; its `Reply` carries the number back.
type CommandId = int64

/// Numbers a data channel of one peer, whether or not it has a stream yet. Given by the core, never used twice.
type ChannelHandle = int

/// RTCSdpType, W3C WebRTC 1.0 §4.6.1.
type SdpType =
    | Offer = 0
    | Pranswer = 1
    | Answer = 2
    | Rollback = 3

/// RTCSignalingState, W3C WebRTC 1.0 §4.3.1.
type SignalingState =
    | Stable = 0
    | HaveLocalOffer = 1
    | HaveRemoteOffer = 2
    | HaveLocalPranswer = 3
    | HaveRemotePranswer = 4
    | Closed = 5

/// RTCIceGatheringState and RTCIceGathererState, W3C WebRTC 1.0 §4.3.2 and §5.6.4.
type IceGatheringState =
    | New = 0
    | Gathering = 1
    | Complete = 2

/// RTCIceTransportState and RTCIceConnectionState, W3C WebRTC 1.0 §5.6.5 and §4.3.4.
type IceTransportState =
    | New = 0
    | Checking = 1
    | Connected = 2
    | Completed = 3
    | Disconnected = 4
    | Failed = 5
    | Closed = 6

/// RTCPeerConnectionState, W3C WebRTC 1.0 §4.3.3.
type PeerConnectionState =
    | New = 0
    | Connecting = 1
    | Connected = 2
    | Disconnected = 3
    | Failed = 4
    | Closed = 5

/// RTCDtlsTransportState, W3C WebRTC 1.0 §5.5.1.
type DtlsTransportState =
    | New = 0
    | Connecting = 1
    | Connected = 2
    | Closed = 3
    | Failed = 4

/// RTCSctpTransportState, W3C WebRTC 1.0 §6.1.2.
type SctpTransportState =
    | Connecting = 0
    | Connected = 1
    | Closed = 2

/// RTCIceRole, W3C WebRTC 1.0 §5.6.6.
type IceRole =
    | Unknown = 0
    | Controlling = 1
    | Controlled = 2

/// RTCBundlePolicy, W3C WebRTC 1.0 §4.2.5.
type BundlePolicy =
    | Balanced = 0
    | MaxCompat = 1
    | MaxBundle = 2

/// RTCRtpHeaderEncryptionPolicy, webrtc-extensions §11: Cryptex (RFC 9335).
type HeaderEncryptionPolicy =
    /// Offered, and used where the peer takes it.
    | Negotiate = 0
    /// A media section of the peer's without it is rejected.
    | Require = 1
    /// Not offered, nor taken.
    | Disable = 2

/// RTCIceTransportPolicy, W3C WebRTC 1.0 §4.2.4.
type IceTransportPolicy =
    | All = 0
    | Relay = 1

/// RTCPriorityType, W3C webrtc-priority; the DCEP numbers are RFC 8831 §6.4's.
type Priority =
    | VeryLow = 128
    | Low = 256
    | Medium = 512
    | High = 1024

/// RTCSessionDescriptionInit, W3C WebRTC 1.0 §4.6.2.
[<NoComparison>]
type Description = { Type: SdpType; Sdp: string }

/// The four descriptions, W3C WebRTC 1.0 §4.4.1.
[<NoComparison>]
type Descriptions =
    {
        CurrentLocal: Description voption
        PendingLocal: Description voption
        CurrentRemote: Description voption
        PendingRemote: Description voption
        /// Whether the remote said that it takes trickled candidates; ValueNone before its description.
        CanTrickle: bool voption
    }

/// RTCIceCandidateInit, W3C WebRTC 1.0 §4.8.1; an empty `Candidate` means that there are no more.
[<NoComparison>]
type CandidateInit =
    { Candidate: string
      SdpMid: string voption
      SdpMLineIndex: int voption
      UsernameFragment: string voption }

/// RTCIceParameters, W3C WebRTC 1.0 §5.6.2: username fragment and password of one side and one generation, RFC 8445 §5.3.
[<NoComparison>]
type IceParameters =
    { UsernameFragment: string
      Password: string }

/// RTCDtlsFingerprint, W3C WebRTC 1.0 §5.5.3: a certificate's fingerprint as signalling carries it, RFC 8122 §5.
[<NoComparison>]
type Fingerprint =
    {
        /// `sha-256`… in lower case.
        Algorithm: string
        Value: byte[]
    }

/// RTCIceServer, W3C WebRTC 1.0 §4.2.2.
[<NoComparison>]
type IceServer =
    { Urls: string[]
      Username: string voption
      Credential: string voption }

/// RTCConfiguration without what is the shell's own, W3C WebRTC 1.0 §4.2.1.
[<NoComparison>]
type Configuration =
    {
        IceServers: IceServer[]
        IceTransportPolicy: IceTransportPolicy
        BundlePolicy: BundlePolicy
        /// From 0 to 255.
        IceCandidatePoolSize: int
        /// Names the set of certificates, so that a change can be refused.
        Certificates: string[]
        HeaderEncryption: HeaderEncryptionPolicy
    }

/// RTCDataChannelInit, W3C WebRTC 1.0 §6.2.1, with the label.
[<NoComparison>]
type ChannelInit =
    {
        Label: string
        Protocol: string
        Ordered: bool
        /// Milliseconds, from 0 to 65535.
        MaxPacketLifeTime: int voption
        /// From 0 to 65535.
        MaxRetransmits: int voption
        Negotiated: bool
        /// The SCTP stream, from 0 to 65534.
        Id: int voption
        Priority: Priority
    }

/// A data channel as it came to be.
[<NoComparison>]
type ChannelInfo =
    {
        Handle: ChannelHandle
        /// `Id` is ValueNone until the DTLS role is known, RFC 8832 §6.
        Init: ChannelInit
    }

/// A data channel's figures, W3C webrtc-stats RTCDataChannelStats.
[<NoComparison>]
type ChannelStats =
    {
        Handle: ChannelHandle
        Label: string
        Protocol: string
        Id: int voption
        /// connecting, open, closing or closed.
        State: string
        MessagesSent: int64
        BytesSent: int64
        MessagesReceived: int64
        BytesReceived: int64
    }
