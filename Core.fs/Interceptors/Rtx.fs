namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Rtp

/// Retransmission payload types, RFC 4588 §8: which repeats which.
[<NoComparison; NoEquality>]
type internal RtxPairs =
    {
        /// For each payload type that of its retransmissions; 255: none.
        Rtx: byte[]
        /// For each payload type that it repeats; 255: it is not one of retransmissions.
        Original: byte[]
    }

/// The retransmission payload format, RFC 4588 §4.
[<RequireQualifiedAccess>]
module internal Rtx =
    /// As `apt` says in the codecs named `rtx`.
    let pairs (codecs: RtpCodecParameters[]) : RtxPairs =
        let rtx = Array.create 128 255uy
        let original = Array.create 128 255uy

        for codec in codecs do
            if Fmtp.isRtx codec.Codec && codec.PayloadType < 128 then
                match Fmtp.apt codec.Codec with
                | ValueSome apt ->
                    rtx[apt] <- byte codec.PayloadType
                    original[codec.PayloadType] <- byte apt
                | ValueNone -> ()

        { Rtx = rtx; Original = original }

    /// The packet that a retransmission repeats; ValueNone where it repeats none: padding, or too short.
    let unwrap (ssrc: uint32) (payloadType: byte) (packet: inref<RtpPacket>) : RtpPacket voption =
        if packet.Payload.Length < 2 then
            ValueNone
        else
            ValueSome
                { packet with
                    PayloadType = payloadType
                    Ssrc = ssrc
                    SequenceNumber = BinaryPrimitives.ReadUInt16BigEndian packet.Payload.Span
                    Payload = packet.Payload.Slice 2 }
