namespace Hybrid.WebRtc.Core

open System

/// What the payload types of one BUNDLE group mean, RFC 9143 §9.1: none means two things, and a codec keeps the one that it
/// was first given. Immutable; at most 128 entries.
[<Sealed>]
type internal PayloadTypes(meanings: RtpCodec voption[]) =
    static member val None = PayloadTypes(Array.create 128 ValueNone)
    member _.At(payloadType: int) : RtpCodec voption = meanings[payloadType]

/// Codecs of a media section, RFC 9429 §5.2.1 and §5.3.1, RFC 3264 §6.1.
module internal Codecs =
    /// Those of a section's `m=` line, in its order: by `a=rtpmap`, else RFC 3551's for static types; with `a=fmtp` and
    /// `a=rtcp-fb`, those of `*` among them. Payload types that say nothing are passed over; of two equal ones the first counts.
    let ofMedia (media: SdpMedia) : RtpCodecParameters[] = Unchecked.defaultof<_>

    /// What is wrong with the formats of an RTP section, for a person to read; ValueNone: nothing is.
    let mistake (media: SdpMedia) : string voption = Unchecked.defaultof<_>

    /// With the payload types of a section (of a local description): those given first stay.
    let remember (codecs: RtpCodecParameters[]) (taken: PayloadTypes) : PayloadTypes = Unchecked.defaultof<_>

    /// The codecs of an offer's section, and the payload types with them. Those that were given a type keep it; what finds
    /// no free type is left out.
    let offer
        (capabilities: CodecCapability[])
        (preferences: RtpCodec[])
        (taken: PayloadTypes)
        : struct (RtpCodecParameters[] * PayloadTypes) =
        Unchecked.defaultof<_>

    /// The codecs of an answer's section, with the offer's payload types: in the offer's order, or by `preferences` where there
    /// are any. Empty, or without a primary codec: the section is to be rejected.
    let answer
        (capabilities: CodecCapability[])
        (preferences: RtpCodec[])
        (offered: RtpCodecParameters[])
        : RtpCodecParameters[] =
        Unchecked.defaultof<_>

    /// What a local and a remote description of one section have in common: `Send` as the remote has it (its order, payload
    /// types and parameters), `Receive` as the local has it. Feedback is what both name.
    let agreed
        (local: RtpCodecParameters[])
        (remote: RtpCodecParameters[])
        : struct (RtpCodecParameters[] * RtpCodecParameters[]) =
        Unchecked.defaultof<_>

    /// The formats of an `m=` line.
    let formats (codecs: RtpCodecParameters[]) : string[] = Unchecked.defaultof<_>

    /// `a=rtpmap`, `a=rtcp-fb` and `a=fmtp` of each.
    let attributes (codecs: RtpCodecParameters[]) : SdpAttribute[] = Unchecked.defaultof<_>

    /// Whether it carries media itself: not RTX, RED, FEC, comfort noise or DTMF.
    let isPrimary (codec: RtpCodec) : bool = Unchecked.defaultof<_>

    /// The payload type that an RTX one repairs, RFC 4588 §8.6.
    let apt (codec: RtpCodec) : int voption = Unchecked.defaultof<_>

    /// Preferences without what stands there twice; InvalidModificationError as W3C WebRTC 1.0 §5.4 has it.
    let checkPreferences (capabilities: CodecCapability[]) (preferences: RtpCodec[]) : Result<RtpCodec[], Mistake> =
        Unchecked.defaultof<_>
