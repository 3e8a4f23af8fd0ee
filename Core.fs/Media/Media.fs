namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp

/// Numbers a transceiver of one peer, with its sender and its receiver. Given by the core, never used twice.
type TransceiverId = int

/// `kind` of a MediaStreamTrack.
type MediaKind =
    | Audio = 0
    | Video = 1

/// RTCRtpTransceiverDirection, W3C WebRTC 1.0 §5.4.
type Direction =
    | SendRecv = 0
    | SendOnly = 1
    | RecvOnly = 2
    | Inactive = 3
    | Stopped = 4

/// RTCRtpCodec, W3C WebRTC 1.0 §5.2.10.
[<NoComparison>]
type RtpCodec =
    {
        /// `video/VP8`…, also `video/rtx`, `audio/red`, `video/flexfec-03`, `audio/telephone-event`.
        MimeType: string
        /// Hz.
        ClockRate: int
        Channels: int voption
        /// What follows the payload type in `a=fmtp`; empty: none.
        Fmtp: string
    }

/// RTCRtpCodecParameters, W3C WebRTC 1.0 §5.2.11, with its feedback.
[<NoComparison>]
type RtpCodecParameters =
    {
        Codec: RtpCodec
        PayloadType: int
        /// Of `a=rtcp-fb`: `nack`, `nack pli`, `transport-cc`…
        Feedback: string[]
    }

/// A codec that may be negotiated.
[<NoComparison>]
type CodecCapability =
    {
        Codec: RtpCodec
        /// The payload type offered where it is free; ValueNone: any dynamic one.
        PreferredPayloadType: int voption
        Feedback: string[]
        /// Whether an RTX payload type goes with it, RFC 4588.
        Retransmission: bool
    }

/// A header extension that may be negotiated.
[<NoComparison>]
type ExtensionCapability = { Uri: string; Direction: Direction }

/// What may be negotiated, in order of preference: pion's MediaEngine as a value.
[<NoComparison>]
type MediaCapabilities =
    { Audio: CodecCapability[]
      Video: CodecCapability[]
      AudioExtensions: ExtensionCapability[]
      VideoExtensions: ExtensionCapability[] }

/// RTCRtpEncodingParameters, W3C WebRTC 1.0 §5.2.6.
[<NoComparison>]
type EncodingParameters =
    {
        /// Empty where there is one encoding only.
        Rid: string
        Active: bool
        Codec: RtpCodec voption
        /// Bits a second.
        MaxBitrate: int64 voption
        MaxFramerate: float voption
        ScaleResolutionDownBy: float voption
        Priority: Priority
        ScalabilityMode: string voption
    }

/// RTCRtpTransceiverInit, W3C WebRTC 1.0 §5.1, with the track.
[<NoComparison>]
type TransceiverInit =
    {
        Kind: MediaKind
        Direction: Direction
        /// Ids of the MediaStreams that the sender's track belongs to.
        Streams: string[]
        Encodings: EncodingParameters[]
        /// The id of the sender's track; ValueNone: none yet.
        Track: string voption
    }

/// RTCRtpHeaderExtensionParameters, W3C WebRTC 1.0 §5.2.9.
[<NoComparison>]
type ExtensionParameters =
    {
        Uri: string
        /// 1 to 14, or to 255 with two-byte headers.
        Id: int
        Encrypted: bool
    }

/// A transceiver as its users see it, W3C WebRTC 1.0 §5.4.
[<NoComparison>]
type TransceiverInfo =
    {
        Id: TransceiverId
        Kind: MediaKind
        Mid: string voption
        Direction: Direction
        /// ValueNone before a negotiation.
        CurrentDirection: Direction voption
        /// `stop()` was called, and no description says so yet.
        Stopping: bool
        /// Of the sender.
        Encodings: EncodingParameters[]
        /// What may be sent, by the peer's preference and with its payload types; empty before a negotiation.
        SendCodecs: RtpCodecParameters[]
        /// What may arrive.
        ReceiveCodecs: RtpCodecParameters[]
        Extensions: ExtensionParameters[]
        /// The receiver's track, made with the transceiver, W3C §5.3.
        ReceiverTrack: string
        /// The streams that the peer says its track belongs to.
        RemoteStreams: string[]
        /// `a=rtcp-rsize` was agreed on.
        ReducedSize: bool
        Cname: string
        /// Cryptex (RFC 9335) was agreed on.
        HeaderEncryption: bool
        /// Neither a description of theirs nor `addTransceiver` made it: `addTrack` did.
        CreatedByAddTrack: bool
        /// Of the sender's encodings, in their order: what RTCP about them names.
        Ssrcs: uint32[]
    }

/// One encoding that a sender sends.
[<NoComparison>]
type SendEncoding =
    {
        Parameters: EncodingParameters
        Ssrc: uint32
        /// Of retransmissions, RFC 4588; 0: none negotiated.
        RtxSsrc: uint32
        /// Of FlexFEC; 0: none negotiated.
        FecSsrc: uint32
    }

/// A source that the peer declared by `a=ssrc` and `a=ssrc-group`.
[<NoComparison>]
type RemoteSource =
    {
        Ssrc: uint32
        /// 0: none.
        RtxSsrc: uint32
        /// 0: none.
        FecSsrc: uint32
    }

/// What two descriptions have agreed on for one transceiver.
[<NoComparison; NoEquality>]
type SectionPlan =
    {
        Transceiver: TransceiverId
        Mid: string
        Kind: MediaKind
        Sending: bool
        /// Whether packets of the peer's are awaited.
        Receiving: bool
        /// Whatever `Sending` says: SSRCs stay the same over a hold.
        Encodings: SendEncoding[]
        /// By the peer's preference, with its payload types; RTX, RED and FEC among them.
        SendCodecs: RtpCodecParameters[]
        /// With our payload types; those of our offer while there is no answer (early media).
        ReceiveCodecs: RtpCodecParameters[]
        Extensions: ExtensionMap
        ReducedSize: bool
        /// XR tells who only receives the round trip, RFC 3611 §5.1.
        ReceiverRoundTrip: bool
        HeaderEncryption: bool
        RemoteSources: RemoteSource[]
        /// The rids that the peer said it sends, those paused too; empty without simulcast.
        RemoteRids: string[]
    }

/// What all descriptions have agreed on about media.
[<NoComparison; NoEquality>]
type MediaPlan =
    {
        /// In the order of the descriptions; without stopped ones.
        Sections: SectionPlan[]
        /// Ours, of every SSRC, RFC 8834 §4.8.
        Cname: string
    }

/// What setting a description does to a receiver's track, W3C WebRTC 1.0 §4.4.1.5. In the order of the events.
[<NoComparison>]
type TrackChange =
    /// `track` event: the peer sends, and `Streams` are those of its track.
    | TrackAdded of Transceiver: TransceiverId * Streams: string[]
    /// The peer has stopped to send: the track is muted, and leaves `Streams`.
    | TrackRemoved of Transceiver: TransceiverId * Streams: string[]
    /// The transceiver was stopped: its track has ended.
    | TrackEnded of Transceiver: TransceiverId
