namespace Hybrid.WebRtc.Rtp

open System
open System.Collections.Generic

/// RTP header extensions that are known by name. The number is ours: the id on the wire is negotiated, RFC 8285 §5.
type HeaderExtension =
    /// One whose URI is not among the others'.
    | Other = 0
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`, RFC 9143 §15.2.
    | Mid = 1
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`, RFC 8852 §3.1.
    | Rid = 2
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`, RFC 8852 §3.2.
    | RepairedRid = 3
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level`, RFC 6464.
    | AudioLevel = 4
    /// `urn:ietf:params:rtp-hdrext:csrc-audio-level`, RFC 6465.
    | CsrcAudioLevel = 5
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    | AbsSendTime = 6
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`.
    | AbsCaptureTime = 7
    /// `urn:ietf:params:rtp-hdrext:toffset`, RFC 5450.
    | TransmissionOffset = 8
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    | TransportCc = 9
    /// `urn:3gpp:video-orientation`.
    | VideoOrientation = 10
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`.
    | PlayoutDelay = 11
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-content-type`.
    | VideoContentType = 12
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-timing`.
    | VideoTiming = 13
    /// `http://www.webrtc.org/experiments/rtp-hdrext/color-space`.
    | ColorSpace = 14
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`.
    | DependencyDescriptor = 15
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00`.
    | VideoLayersAllocation = 16

/// URIs of header extensions.
[<RequireQualifiedAccess>]
module HeaderExtensions =
    let private uris =
        [| ""
           "urn:ietf:params:rtp-hdrext:sdes:mid"
           "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
           "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
           "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
           "urn:ietf:params:rtp-hdrext:csrc-audio-level"
           "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
           "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
           "urn:ietf:params:rtp-hdrext:toffset"
           "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
           "urn:3gpp:video-orientation"
           "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
           "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
           "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"
           "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
           "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
           "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00" |]

    /// The URI of a known extension; empty for `Other`.
    [<CompiledName "Uri">]
    let uri (extension: HeaderExtension) : string = uris[int extension]

    /// The extension of a URI, `Other` where it is not known.
    [<CompiledName "Parse">]
    let ofUri (uri: string) : HeaderExtension =
        enum<HeaderExtension> (max 0 (Array.IndexOf(uris, uri)))

/// What the ids of header extensions mean in one media section, as negotiated by `a=extmap`, RFC 8285 §5. Immutable.
[<Sealed>]
type ExtensionMap(entries: KeyValuePair<int, string>[]) =
    let known = Array.zeroCreate<byte> 256
    let ids = Array.zeroCreate<byte> 17

    do
        for entry in entries do
            let extension = HeaderExtensions.ofUri entry.Value

            if entry.Key > 0 && entry.Key < 256 && extension <> HeaderExtension.Other then
                known[entry.Key] <- byte extension
                ids[int extension] <- byte entry.Key

    /// A map of nothing.
    static member val Empty = ExtensionMap(Array.Empty())

    /// Ids and URIs, in the order of negotiation.
    member _.Entries = entries

    /// The id of a known extension; 0 where it was not negotiated.
    member _.IdOf(extension: HeaderExtension) : int = int ids[int extension]

    /// What an id from 1 to 255 stands for; `Other` where the URI is not known or nothing was negotiated.
    member _.At(id: int) : HeaderExtension = enum<HeaderExtension> (int known[id])

/// An RTP packet, RFC 3550 §5.1, as a value: the header's fields and the memory that the rest lies in. A packet that the
/// library delivered is the receiver's to keep; one that is given to a sender must not change any more.
[<Struct; NoComparison; NoEquality>]
type RtpPacket =
    {
        Marker: bool
        /// 0 to 127.
        PayloadType: byte
        SequenceNumber: uint16
        /// In units of the payload type's clock.
        Timestamp: uint32
        /// A sender sets its own.
        Ssrc: uint32
        /// Contributing sources, four octets each, 15 at most.
        Csrcs: ReadOnlyMemory<byte>
        /// 0xBEDE: one-byte elements, 0x1000 to 0x100F: two-byte, RFC 8285 §4.2 and §4.3; other values are a profile's own; 0: none.
        ExtensionProfile: uint16
        /// The elements as they are on the wire, without the four octets before them; a multiple of four.
        Extensions: ReadOnlyMemory<byte>
        /// What the ids in `Extensions` mean.
        Map: ExtensionMap
        Payload: ReadOnlyMemory<byte>
        /// Octets of padding behind the payload, their count octet included; 0: none.
        Padding: byte
    }
