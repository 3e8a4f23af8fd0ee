namespace Hybrid.WebRtc.Rtp

open System
open System.Buffers.Binary
open System.Collections.Generic
open System.Runtime.InteropServices
open Hybrid.WebRtc.Core

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
        enum<HeaderExtension>(max 0 (Array.IndexOf(uris, uri)))

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
    member _.At(id: int) : HeaderExtension = enum<HeaderExtension>(int known[id])

/// A typed value of a header extension, to be put into an element by `ExtensionElement.Of`.
type IHeaderExtension =
    /// Which one.
    abstract Extension: HeaderExtension
    /// Octets of data.
    abstract Size: int
    /// <summary>Encodes into lent memory of at least <c>Size</c> octets; answers the octets written.</summary>
    abstract Write: into: Span<byte> -> int

/// An element of a header extension, RFC 8285 §4.1.2: what `RtpPacket.WithExtensions` encodes.
[<Struct; NoComparison; NoEquality>]
type ExtensionElement =
    {
        /// 1 to 255; with another it is left out.
        Id: int
        /// 255 octets at most; with more it is left out.
        Data: ReadOnlyMemory<byte>
    }

    /// Whether it can be encoded in either form; without data, with more than 16 octets or an id above 14 only in the two-byte one.
    member internal element.IsValid =
        element.Id > 0 && element.Id < 256 && element.Data.Length < 256

    /// Whether it can be encoded in the one-byte form, RFC 8285 §4.2.
    member internal element.FitsOneByte =
        element.Id < 15 && element.Data.Length > 0 && element.Data.Length <= 16

    /// Octets of data as they are. Left out by `WithExtensions` where the map does not have the extension.
    static member Of(map: ExtensionMap, extension: HeaderExtension, data: ReadOnlyMemory<byte>) : ExtensionElement =
        { Id = map.IdOf extension; Data = data }

    /// A typed value, such as an `AudioLevel`. Left out by `WithExtensions` where the map does not have its extension.
    static member Of(map: ExtensionMap, value: IHeaderExtension) : ExtensionElement =
        let data = Array.zeroCreate<byte> value.Size
        let written = value.Write(Span data)

        { Id = map.IdOf value.Extension
          Data = ReadOnlyMemory(data, 0, written) }

/// Encoding elements into blocks.
[<RequireQualifiedAccess>]
module internal ExtensionElements =
    /// Octets up to the next multiple of four.
    let inline padded (length: int) = (length + 3) &&& ~~~3

    /// Writes the head of an element.
    let inline writeHead (writer: byref<Writer>) (twoByte: bool) (id: int) (length: int) =
        if twoByte then
            writer.Byte(byte id)
            writer.Byte(byte length)
        else
            writer.Byte(byte ((id <<< 4) ||| (length - 1)))

    /// The elements in one form, without padding.
    let encode (twoByte: bool) (elements: ExtensionElement[]) : byte[] =
        let head = if twoByte then 2 else 1
        let mutable size = 0

        for element in elements do
            size <- size + head + element.Data.Length

        let block = Array.zeroCreate<byte> size
        let mutable writer = Writer(Span block)

        for element in elements do
            writeHead &writer twoByte element.Id element.Data.Length
            writer.Bytes element.Data.Span

        block

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

    /// <summary>A packet without contributing sources, header extensions and padding. Its SSRC is zero: a sender sets its own.</summary>
    /// <param name="payloadType">0 to 127.</param>
    /// <param name="marker">For video the last packet of a frame, for audio the first of a talkspurt, as the payload format has it.</param>
    /// <param name="sequenceNumber">One more for each packet, modulo 65,536.</param>
    /// <param name="timestamp">In units of the payload type's clock rate.</param>
    /// <param name="payload">Must not change any more.</param>
    static member Create
        (payloadType: byte, marker: bool, sequenceNumber: uint16, timestamp: uint32, payload: ReadOnlyMemory<byte>)
        : RtpPacket =
        { Marker = marker
          PayloadType = payloadType &&& 0x7Fuy
          SequenceNumber = sequenceNumber
          Timestamp = timestamp
          Ssrc = 0u
          Csrcs = ReadOnlyMemory.Empty
          ExtensionProfile = 0us
          Extensions = ReadOnlyMemory.Empty
          Map = ExtensionMap.Empty
          Payload = payload
          Padding = 0uy }

    /// <summary>Reads a packet from its bytes, which it goes on using. False where they are none, see <c>RtpHeader.Read</c>.</summary>
    /// <param name="bytes">A whole packet, decrypted.</param>
    /// <param name="map">What the ids of its header extensions mean.</param>
    /// <param name="packet">The packet; an empty one where false is answered.</param>
    static member TryParse(bytes: ReadOnlyMemory<byte>, map: ExtensionMap, [<Out>] packet: byref<RtpPacket>) : bool =
        match RtpHeader.read bytes.Span with
        | ValueSome header ->
            packet <-
                { Marker = header.Marker
                  PayloadType = header.PayloadType
                  SequenceNumber = header.SequenceNumber
                  Timestamp = header.Timestamp
                  Ssrc = header.Ssrc
                  Csrcs = bytes.Slice(RtpHeader.FixedSize, 4 * header.CsrcCount)
                  ExtensionProfile = header.ExtensionProfile
                  Extensions = bytes.Slice(header.ExtensionOffset, header.ExtensionLength)
                  Map = map
                  Payload = bytes.Slice(header.PayloadOffset, header.PayloadLength)
                  Padding = byte header.PaddingLength }

            true
        | ValueNone ->
            packet <- RtpPacket.Create(0uy, false, 0us, 0u, ReadOnlyMemory.Empty)
            false

    /// Contributing sources, 0 to 15.
    member packet.CsrcCount: int = min 15 (packet.Csrcs.Length / 4)

    /// A contributing source, by its index from 0; 0 past the last.
    member packet.CsrcAt(index: int) : uint32 =
        if uint32 index < uint32 packet.CsrcCount then
            BinaryPrimitives.ReadUInt32BigEndian(packet.Csrcs.Span.Slice(4 * index))
        else
            0u

    /// <summary>Finds the data of a header extension by what the packet's map calls it; the first, where there are several.</summary>
    /// <param name="extension">Not <c>Other</c>: those have no name to be found by.</param>
    /// <param name="data">Lent like the packet; empty where false is answered.</param>
    member packet.TryGetExtension(extension: HeaderExtension, [<Out>] data: byref<ReadOnlyMemory<byte>>) : bool =
        let id = packet.Map.IdOf extension
        let mutable found = false
        data <- ReadOnlyMemory.Empty

        if id <> 0 then
            let mutable elements =
                ExtensionReader(packet.ExtensionProfile, packet.Extensions.Span)

            while not found && elements.MoveNext() do
                if elements.Id = id then
                    data <- packet.Extensions.Slice(elements.Offset, elements.Length)
                    found <- true

        found

    /// The packet with another SSRC.
    member packet.WithSsrc(ssrc: uint32) : RtpPacket =
        let same = packet
        { same with Ssrc = ssrc }

    /// The packet with other numbers.
    member packet.WithNumbers(sequenceNumber: uint16, timestamp: uint32) : RtpPacket =
        let same = packet

        { same with
            SequenceNumber = sequenceNumber
            Timestamp = timestamp }

    /// The packet with another payload type, 0 to 127.
    member packet.WithPayloadType(payloadType: byte) : RtpPacket =
        let same = packet

        { same with
            PayloadType = payloadType &&& 0x7Fuy }

    /// The packet with the marker set or not.
    member packet.WithMarker(marker: bool) : RtpPacket =
        let same = packet
        { same with Marker = marker }

    /// The packet with another payload.
    member packet.WithPayload(payload: ReadOnlyMemory<byte>) : RtpPacket =
        let same = packet
        { same with Payload = payload }

    /// The packet with so many octets of padding, their count octet included; 0: none.
    member packet.WithPadding(padding: byte) : RtpPacket =
        let same = packet
        { same with Padding = padding }

    /// The packet with these contributing sources; the first 15, where there are more.
    member packet.WithCsrcs([<ParamArray>] csrcs: uint32[]) : RtpPacket =
        let same = packet
        let bytes = Array.zeroCreate<byte>(4 * min 15 csrcs.Length)

        for i in 0 .. bytes.Length / 4 - 1 do
            BinaryPrimitives.WriteUInt32BigEndian(Span(bytes, 4 * i, 4), csrcs[i])

        { same with
            Csrcs = ReadOnlyMemory bytes }

    /// <summary>The packet with these header extensions and no others, RFC 8285: in the one-byte form where all of them fit it.</summary>
    /// <param name="map">What the ids mean.</param>
    /// <param name="elements">One whose id is not from 1 to 255, or whose data has more than 255 octets, is left out.</param>
    member packet.WithExtensions(map: ExtensionMap, [<ParamArray>] elements: ExtensionElement[]) : RtpPacket =
        let same = packet
        let valid = elements |> Array.filter (fun element -> element.IsValid)

        if valid.Length = 0 then
            { same with
                ExtensionProfile = 0us
                Extensions = ReadOnlyMemory.Empty
                Map = map }
        else
            let twoByte = not (valid |> Array.forall (fun element -> element.FitsOneByte))
            let block = ExtensionElements.encode twoByte valid
            let whole = Array.zeroCreate<byte>(ExtensionElements.padded block.Length)
            block.CopyTo(whole, 0)

            { same with
                ExtensionProfile =
                    (if twoByte then
                         ExtensionProfile.TwoByte
                     else
                         ExtensionProfile.OneByte)
                Extensions = ReadOnlyMemory whole
                Map = map }

    member private packet.HasExtension =
        packet.ExtensionProfile <> 0us || packet.Extensions.Length > 0

    /// Octets that `Write` fills.
    member packet.Size: int =
        RtpHeader.FixedSize
        + 4 * packet.CsrcCount
        + (if packet.HasExtension then
               4 + ExtensionElements.padded packet.Extensions.Length
           else
               0)
        + packet.Payload.Length
        + int packet.Padding

    /// <summary>Encodes the packet as it is: what RTP dumps and forwarders outside of WebRTC want.</summary>
    /// <param name="into">At least <c>Size</c> octets.</param>
    /// <returns>The octets written.</returns>
    member packet.Write(into: Span<byte>) : int =
        let mutable writer = Writer into

        writer.Byte(
            0x80uy
            ||| (if packet.Padding > 0uy then 0x20uy else 0uy)
            ||| (if packet.HasExtension then 0x10uy else 0uy)
            ||| byte packet.CsrcCount
        )

        writer.Byte((packet.PayloadType &&& 0x7Fuy) ||| (if packet.Marker then 0x80uy else 0uy))
        writer.UInt16 packet.SequenceNumber
        writer.UInt32 packet.Timestamp
        writer.UInt32 packet.Ssrc
        writer.Bytes(packet.Csrcs.Span.Slice(0, 4 * packet.CsrcCount))

        if packet.HasExtension then
            let length = ExtensionElements.padded packet.Extensions.Length
            writer.UInt16 packet.ExtensionProfile
            writer.UInt16(uint16 (length / 4))
            writer.Bytes packet.Extensions.Span
            writer.Zeros(length - packet.Extensions.Length)

        writer.Bytes packet.Payload.Span

        if packet.Padding > 0uy then
            writer.Zeros(int packet.Padding - 1)
            writer.Byte packet.Padding

        writer.Written

    /// The packet as it is, in bytes of its own.
    member packet.ToArray() : byte[] =
        let bytes = Array.zeroCreate<byte> packet.Size
        packet.Write(Span bytes) |> ignore
        bytes

/// Reading packets.
[<RequireQualifiedAccess>]
module RtpPackets =
    /// Reads a packet from decrypted bytes, which it goes on using: nothing is copied, nothing allocated. ValueNone: see `RtpHeader.read`.
    [<CompiledName "Read">]
    let read (bytes: ReadOnlyMemory<byte>) (map: ExtensionMap) : RtpPacket voption =
        let mutable packet = Unchecked.defaultof<RtpPacket>

        if RtpPacket.TryParse(bytes, map, &packet) then
            ValueSome packet
        else
            ValueNone
