namespace Hybrid.WebRtc.Rtp

open System
open System.Buffers.Binary
open System.Runtime.CompilerServices

/// The header of an RTP packet, RFC 3550 §5.1 and §5.3.1, with where the rest of the packet lies: nothing is copied.
///
///      0               8              16                              31
///     |V=2|P|X|  CC   |M|     PT      |       Sequence Number         |
///     |                           Timestamp                           |
///     |            Synchronization Source (SSRC) Identifier           |
///     |            Contributing Source (CSRC) Identifiers…            |
///     |      Defined by Profile       |  Length (in words of 4 octets)|
///     |                      Header Extension…                        |
[<Struct; NoComparison; NoEquality>]
type RtpHeader =
    {
        Marker: bool
        /// 0 to 127.
        PayloadType: byte
        SequenceNumber: uint16
        Timestamp: uint32
        Ssrc: uint32
        /// 0 to 15; they begin at octet 12.
        CsrcCount: int
        /// Whether the X bit is set.
        HasExtension: bool
        /// "Defined by profile", RFC 8285 §4.2 and §4.3; 0 without an extension.
        ExtensionProfile: uint16
        /// Where the elements begin, behind the extension's own four octets.
        ExtensionOffset: int
        /// In octets; a multiple of four.
        ExtensionLength: int
        /// The length of the header, CSRCs and extension included.
        PayloadOffset: int
        /// Octets of payload, without padding; of what is sealed: all that follows the header.
        PayloadLength: int
        /// Whether the P bit is set.
        HasPadding: bool
        /// Octets of padding behind the payload, their count octet included; 0 where they are still sealed.
        PaddingLength: int
    }

/// Reading headers.
[<RequireQualifiedAccess>]
module RtpHeader =
    /// Octets of the fixed part.
    [<Literal>]
    let FixedSize = 12

    /// Reads the header of a packet whose payload is still encrypted, RFC 3711 §3.1: the count of padding is not to be seen yet.
    /// ValueNone: not version 2, or shorter than it says.
    [<CompiledName "ReadSealed">]
    let readSealed (bytes: ReadOnlySpan<byte>) : RtpHeader voption =
        if bytes.Length < FixedSize || bytes[0] >>> 6 <> 2uy then
            ValueNone
        else
            let csrcs = int (bytes[0] &&& 0x0Fuy)
            let hasExtension = bytes[0] &&& 0x10uy <> 0uy
            let behindCsrcs = FixedSize + 4 * csrcs
            let extensionOffset = if hasExtension then behindCsrcs + 4 else behindCsrcs

            if extensionOffset > bytes.Length then
                ValueNone
            else
                let mutable profile = 0us
                let mutable extensionLength = 0

                if hasExtension then
                    profile <- BinaryPrimitives.ReadUInt16BigEndian(bytes.Slice behindCsrcs)
                    extensionLength <- 4 * int (BinaryPrimitives.ReadUInt16BigEndian(bytes.Slice(behindCsrcs + 2)))

                let payloadOffset = extensionOffset + extensionLength

                if payloadOffset > bytes.Length then
                    ValueNone
                else
                    ValueSome
                        { Marker = bytes[1] &&& 0x80uy <> 0uy
                          PayloadType = bytes[1] &&& 0x7Fuy
                          SequenceNumber = BinaryPrimitives.ReadUInt16BigEndian(bytes.Slice 2)
                          Timestamp = BinaryPrimitives.ReadUInt32BigEndian(bytes.Slice 4)
                          Ssrc = BinaryPrimitives.ReadUInt32BigEndian(bytes.Slice 8)
                          CsrcCount = csrcs
                          HasExtension = hasExtension
                          ExtensionProfile = profile
                          ExtensionOffset = extensionOffset
                          ExtensionLength = extensionLength
                          PayloadOffset = payloadOffset
                          PayloadLength = bytes.Length - payloadOffset
                          HasPadding = bytes[0] &&& 0x20uy <> 0uy
                          PaddingLength = 0 }

    /// Reads the header of a packet that is all there to see. ValueNone: not version 2, shorter than it says, or with padding
    /// of no octet or of more than there are behind the header, RFC 3550 §A.1.
    [<CompiledName "Read">]
    let read (bytes: ReadOnlySpan<byte>) : RtpHeader voption =
        match readSealed bytes with
        | ValueSome header when header.HasPadding ->
            let padding = int bytes[bytes.Length - 1]

            if padding = 0 || padding > header.PayloadLength then
                ValueNone
            else
                ValueSome
                    { header with
                        PayloadLength = header.PayloadLength - padding
                        PaddingLength = padding }
        | answer -> answer

/// Telling RTP and RTCP apart where they share a port.
[<RequireQualifiedAccess>]
module RtpDemux =
    /// Whether a datagram that is RTP or RTCP by its first octet (RFC 7983 §7) is RTCP: packet types 192 to 223, which are what
    /// payload types 64 to 95 look like with the marker set, RFC 5761 §4.
    [<CompiledName "IsRtcp">]
    let isRtcp (bytes: ReadOnlySpan<byte>) : bool =
        bytes.Length >= 2 && (bytes[1] &&& 0x7Fuy) - 64uy < 32uy

/// The two forms of header extensions, RFC 8285 §4.1.2.
[<RequireQualifiedAccess>]
module ExtensionProfile =
    /// RFC 8285 §4.2.
    [<Literal>]
    let OneByte = 0xBEDEus

    /// With the application's four bits zero, RFC 8285 §4.3.
    [<Literal>]
    let TwoByte = 0x1000us

    /// Whether the elements are of the two-byte form, whatever the application's bits say.
    let inline internal isTwoByte (profile: uint16) = profile &&& 0xFFF0us = TwoByte

/// Walks the elements of a header extension, RFC 8285, each once, in order, without copying:
///
///     let mutable elements = ExtensionReader(profile, bytes)
///     while elements.MoveNext() do … elements.Id … elements.Data
///
/// Padding is passed over. The walk ends at an element that does not fit, at one-byte id 15, and at one-byte id 0 with a
/// length; what came before counts (§4.2). A profile of neither form has no elements.
[<Struct; IsByRefLike; NoComparison; NoEquality>]
type ExtensionReader =
    val private elements: ReadOnlySpan<byte>
    val private twoByte: bool
    val mutable private next: int
    val mutable private id: int
    val mutable private offset: int
    val mutable private length: int

    new(profile: uint16, elements: ReadOnlySpan<byte>) =
        let twoByte = ExtensionProfile.isTwoByte profile

        { elements =
            (if twoByte || profile = ExtensionProfile.OneByte then
                 elements
             else
                 ReadOnlySpan<byte>.Empty)
          twoByte = twoByte
          next = 0
          id = 0
          offset = 0
          length = 0 }

    /// 1 to 14 in the one-byte form, 1 to 255 in the two-byte form.
    member r.Id = r.id
    /// Where the data begins, from the first element's first octet.
    member r.Offset = r.offset
    /// Octets of data: 1 to 16 in the one-byte form, 0 to 255 in the two-byte form.
    member r.Length = r.length
    /// The data, lent.
    member r.Data: ReadOnlySpan<byte> = r.elements.Slice(r.offset, r.length)

    /// To the next element; false at the end.
    member r.MoveNext() : bool =
        while r.next < r.elements.Length && r.elements[r.next] = 0uy do
            r.next <- r.next + 1

        let head = r.next

        if head >= r.elements.Length then
            false
        else
            if not r.twoByte then
                r.id <- int (r.elements[head] >>> 4)
                r.offset <- head + 1
                r.length <- 1 + int (r.elements[head] &&& 0x0Fuy)
            elif head + 1 < r.elements.Length then
                r.id <- int r.elements[head]
                r.offset <- head + 2
                r.length <- int r.elements[head + 1]
            else
                r.id <- 0

            let reserved = r.id = 0 || (not r.twoByte && r.id = 15)

            if reserved || r.length > r.elements.Length - r.offset then
                r.next <- r.elements.Length
                r.offset <- 0
                r.length <- 0
                false
            else
                r.next <- r.offset + r.length
                true
