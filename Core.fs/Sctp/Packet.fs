namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open System.Numerics
open Hybrid.WebRtc.Core.Association

/// An SCTP packet as a value, RFC 9260 §3: what is to be sent, described. Its DATA chunks refer into the messages that
/// the application gave; nothing is copied before `SctpPacket.write`.
///
///      0                              16                             31
///     |     Source Port Number        |     Destination Port Number   |
///     |                      Verification Tag                         |
///     |                           Checksum                            |
///     |                           Chunks                              |
[<NoComparison; NoEquality>]
type SctpPacket =
    internal
        {
            SourcePort: uint16
            DestinationPort: uint16
            VerificationTag: uint32
            /// Precede the DATA chunks, RFC 9260 §6.10.
            Control: Chunk list
            Data: Data[]
        }

/// Packets to and from bytes.
[<RequireQualifiedAccess>]
module SctpPacket =
    /// Octets of the common header, RFC 9260 §3.1.
    [<Literal>]
    let HeaderSize = 12

    /// Octets on the wire.
    let size (packet: SctpPacket) : int =
        let mutable total = HeaderSize

        for chunk in packet.Control do
            total <- total + Chunk.size chunk

        for i in 0 .. packet.Data.Length - 1 do
            total <- total + Data.size packet.Data[i]

        total

    /// The checksum of a packet, whatever its checksum field holds: that counts as zero, RFC 9260 §6.8.
    let internal checksum (packet: ReadOnlySpan<byte>) : uint32 =
        let beforeField = Crc32c.add UInt32.MaxValue (packet.Slice(0, 8))
        let field = BitOperations.Crc32C(beforeField, 0u)
        ~~~(Crc32c.add field (packet.Slice HeaderSize))

    /// Encodes into lent memory of at least `size` octets, checksum included; answers the octets written.
    let write (into: Span<byte>) (packet: SctpPacket) : int =
        let mutable writer = Writer into
        writer.UInt16 packet.SourcePort
        writer.UInt16 packet.DestinationPort
        writer.UInt32 packet.VerificationTag
        writer.UInt32 0u

        for chunk in packet.Control do
            Chunk.write &writer chunk

        for i in 0 .. packet.Data.Length - 1 do
            Data.write &writer packet.Data[i]

        let written = writer.Written
        // Least significant octet first: the one field of SCTP that is not in network order, RFC 9260 Appendix A.
        BinaryPrimitives.WriteUInt32LittleEndian(into.Slice 8, checksum (Span.op_Implicit (into.Slice(0, written))))
        written

    /// Whether the bytes are long enough for a packet, and their checksum is right.
    let internal isIntact (bytes: ReadOnlySpan<byte>) : bool =
        bytes.Length >= HeaderSize + Chunk.HeaderSize
        && BinaryPrimitives.ReadUInt32LittleEndian(bytes.Slice 8) = checksum bytes

    /// The next chunk with its header, without its padding, and moves `rest` past it. ValueNone at the end, and where
    /// the chunk is partial, which ends the packet: RFC 9260 §6.10 has us drop it.
    let internal nextChunk (rest: byref<ReadOnlyMemory<byte>>) : ReadOnlyMemory<byte> voption =
        if rest.Length < Chunk.HeaderSize then
            rest <- ReadOnlyMemory.Empty
            ValueNone
        else
            let length = int (BinaryPrimitives.ReadUInt16BigEndian(rest.Span.Slice 2))

            if length < Chunk.HeaderSize || length > rest.Length then
                rest <- ReadOnlyMemory.Empty
                ValueNone
            else
                let whole = rest.Slice(0, length)
                rest <- rest.Slice(min rest.Length (Tlv.padded length))
                ValueSome whole
