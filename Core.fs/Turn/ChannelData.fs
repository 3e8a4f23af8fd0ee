namespace Hybrid.WebRtc.Core.Turn

open System
open System.Buffers.Binary

/// ChannelData, RFC 8656 §12.4: application data behind 4 octets.
///
///      0                   1                   2                   3
///     |         Channel Number        |            Length             |
///     |                       Application Data                     ....
///
/// Over TCP and TLS it is padded to a multiple of 4, which `Length` does not count (§12.5); over UDP it may be.
[<RequireQualifiedAccess>]
module ChannelData =
    /// Octets in front of the data.
    [<Literal>]
    let HeaderSize = 4

    /// The lowest channel number, RFC 8656 §12.
    [<Literal>]
    let FirstChannel = 0x4000us

    /// The highest that may be bound. RFC 8656 §12 leaves 0x5000 to 0xFFFF alone, which other protocols of the same port use.
    [<Literal>]
    let LastChannel = 0x4fffus

    /// The highest that clients of RFC 5766 §11 bind, and coturn's tools do: a server takes them, too, whose port has no
    /// protocol that would begin so.
    [<Literal>]
    let LastOldChannel = 0x7fffus

    /// Whether a server lets a client bind this number.
    let isChannel (number: uint16) : bool =
        number >= FirstChannel && number <= LastOldChannel

    /// Whether what a server received is ChannelData by its first octet, clients of RFC 5766 included.
    [<CompiledName "IsFromClient">]
    let isFromClient (datagram: ReadOnlySpan<byte>) : bool =
        datagram.Length >= HeaderSize && datagram[0] >= 0x40uy && datagram[0] <= 0x7fuy

    /// Whether a datagram is ChannelData by its first octet, RFC 8656 §12: cheap enough for every packet.
    [<CompiledName "IsChannelData">]
    let isChannelData (datagram: ReadOnlySpan<byte>) : bool =
        datagram.Length >= HeaderSize && datagram[0] >= 0x40uy && datagram[0] <= 0x4fuy

    let private parse (datagram: ReadOnlySpan<byte>) : struct (uint16 * int) voption =
        let length = int (BinaryPrimitives.ReadUInt16BigEndian(datagram.Slice 2))

        if HeaderSize + length > datagram.Length then
            ValueNone
        else
            ValueSome(struct (BinaryPrimitives.ReadUInt16BigEndian datagram, length))

    /// The channel's number and how many octets of data stand behind the header; ValueNone where it is no ChannelData, or
    /// shorter than it says.
    let read (datagram: ReadOnlySpan<byte>) : struct (uint16 * int) voption =
        if isChannelData datagram then parse datagram else ValueNone

    /// The same of what a server received.
    let readFromClient (datagram: ReadOnlySpan<byte>) : struct (uint16 * int) voption =
        if isFromClient datagram then parse datagram else ValueNone

    /// Writes the header of `length` octets of data.
    let writeHeader (into: Span<byte>) (number: uint16) (length: int) : unit =
        BinaryPrimitives.WriteUInt16BigEndian(into, number)
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 2, uint16 length)
