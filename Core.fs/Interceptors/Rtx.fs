namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Rtp

/// Which payload type's packets an RTX payload type repeats: `apt`, RFC 4588 §8.1. Immutable.
[<Sealed>]
type internal RtxMap(codecs: RtpCodecParameters[]) =
    let original = Array.create 128 255uy
    let repair = Array.create 128 255uy

    do
        for parameters in codecs do
            if
                parameters.Codec.MimeType.EndsWith("/rtx", StringComparison.OrdinalIgnoreCase)
                && parameters.PayloadType >= 0
                && parameters.PayloadType < 128
            then
                for parameter in parameters.Codec.Fmtp.Split ';' do
                    let parameter = parameter.Trim()

                    if parameter.StartsWith("apt=", StringComparison.OrdinalIgnoreCase) then
                        match Byte.TryParse(parameter.Substring 4) with
                        | true, apt when apt < 128uy ->
                            original[parameters.PayloadType] <- apt
                            // The first of several wins, as the first codec of several does.
                            if repair[int apt] = 255uy then
                                repair[int apt] <- byte parameters.PayloadType
                        | _ -> ()

    /// No retransmission negotiated.
    static member val None = RtxMap(Array.Empty())

    /// The payload type to repeat a packet with; 255: none.
    member _.RepairOf(payloadType: byte) : byte = repair[int payloadType &&& 127]

    /// The payload type that an RTX payload type repeats; 255: it is not one.
    member _.OriginalOf(payloadType: byte) : byte = original[int payloadType &&& 127]

/// Retransmission in a stream of its own, RFC 4588 §4: an RTX packet is the original with another SSRC, sequence number and payload
/// type, and the original sequence number before its payload. Writing it is `RtpRewrite.OriginalSequence`.
[<RequireQualifiedAccess>]
module internal Rtx =
    /// The packet that an RTX packet repeats. `media`: the SSRC that its stream repeats. ValueNone: padding to probe the
    /// path with, or no RTX packet at all. The payload stays where it was.
    let unwrap (map: RtxMap) (media: uint32) (packet: inref<RtpPacket>) : RtpPacket voption =
        let original = map.OriginalOf packet.PayloadType

        if original = 255uy || packet.Payload.Length < 2 then
            ValueNone
        else
            ValueSome
                { packet with
                    Ssrc = media
                    PayloadType = original
                    SequenceNumber = BinaryPrimitives.ReadUInt16BigEndian packet.Payload.Span
                    Payload = packet.Payload.Slice 2
                    Padding = 0uy }

    /// A packet as its repetition, for those who write it without `RtpRewrite`: the payload is copied behind its number.
    let wrap (payloadType: byte) (ssrc: uint32) (sequence: uint16) (packet: inref<RtpPacket>) : RtpPacket =
        let payload: byte[] = Array.zeroCreate (2 + packet.Payload.Length)
        BinaryPrimitives.WriteUInt16BigEndian(Span payload, packet.SequenceNumber)
        packet.Payload.Span.CopyTo(Span(payload, 2, packet.Payload.Length))

        { packet with
            Ssrc = ssrc
            PayloadType = payloadType
            SequenceNumber = sequence
            Payload = ReadOnlyMemory payload
            Padding = 0uy }
