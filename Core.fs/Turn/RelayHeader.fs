namespace Hybrid.WebRtc.Core.Turn

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// What goes around a packet that a relay is to pass on to a peer, or around a message for the relay itself: written in place,
/// in front of it and behind.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal RelayHeader =
    /// ChannelData, RFC 8656 §12.5: 4 octets.
    | Channel of Number: uint16
    /// A Send indication, RFC 8656 §11.1: 36 octets for a peer's IPv4 address, 48 for IPv6, and padding behind the packet.
    | Indication of Peer: Endpoint * Transaction: TransactionId
    /// A DTLS record around one of the others, or around a message for the server: 37 octets with AES-GCM.
    | Sealed of Seal: DtlsSeal * Inner: RelayHeader voption

    /// Octets in front of the packet.
    member header.Offset: int =
        match header with
        | Channel _ -> ChannelData.HeaderSize
        // Header, XOR-PEER-ADDRESS, and the header of DATA.
        | Indication(peer, _) -> Message.HeaderSize + Attribute.size (XorPeerAddress peer) + 4
        | Sealed(seal, ValueNone) -> seal.PlaintextOffset
        | Sealed(seal, ValueSome inner) -> seal.PlaintextOffset + inner.Offset

    /// Octets of the whole with a packet of `length` octets.
    member header.Size(length: int) : int =
        match header with
        | Channel _ -> ChannelData.HeaderSize + length
        | Indication _ -> header.Offset + Attribute.padded length
        | Sealed(seal, ValueNone) -> seal.Overhead + length
        | Sealed(seal, ValueSome inner) -> seal.Overhead + inner.Size length

    /// What the n-th packet behind this one has around it, of a run that it was asked for.
    member header.After(n: int) : RelayHeader =
        match header with
        | Channel _
        | Indication _ -> header
        | Sealed(seal, inner) -> Sealed(seal.After n, inner)

    /// Completes what stands at `Offset`, of `length` octets; answers the octets of the whole.
    member header.Write(into: Span<byte>, length: int) : int =
        match header with
        | Channel number ->
            ChannelData.writeHeader into number length
            ChannelData.HeaderSize + length
        | Indication(peer, id) ->
            let total = header.Size length
            let mutable writer = Writer into
            writer.UInt16(Message.typeOf Class.Indication Method.Send)
            writer.UInt16(uint16 (total - Message.HeaderSize))
            writer.UInt32 Message.MagicCookie
            writer.UInt32 id.High
            writer.UInt64 id.Low
            Attribute.write &writer id (XorPeerAddress peer)
            writer.UInt16 0x0013us
            writer.UInt16(uint16 length)
            into.Slice(header.Offset + length, total - header.Offset - length).Clear()
            total
        | Sealed(seal, ValueNone) -> seal.Write(into, length)
        | Sealed(seal, ValueSome inner) -> seal.Write(into, inner.Write(into.Slice seal.PlaintextOffset, length))

/// Data indications, RFC 8656 §11.4.
[<RequireQualifiedAccess>]
module internal DataIndication =
    /// Whether a STUN message is a Data indication by its type alone.
    let isOne (datagram: ReadOnlySpan<byte>) : bool =
        Message.isStun datagram
        && BinaryPrimitives.ReadUInt16BigEndian datagram = Message.typeOf Class.Indication Method.Data

    /// The peer, and where its packet stands in the indication: offset and length. ValueNone where one of the attributes is
    /// missing (an ICMP error, RFC 8656 §11.5, has no DATA), overruns, or must be understood and is not.
    let read (datagram: ReadOnlySpan<byte>) : struct (Endpoint * int * int) voption =
        let mutable peer = ValueNone
        let mutable offset = -1
        let mutable length = 0
        let mutable ok = isOne datagram

        if ok then
            let mutable reader = Reader(datagram.Slice Message.HeaderSize)
            let high = BinaryPrimitives.ReadUInt32BigEndian(datagram.Slice 8)
            let low = BinaryPrimitives.ReadUInt64BigEndian(datagram.Slice 12)

            while ok && not reader.AtEnd do
                let kind = reader.UInt16()
                let octets = int (reader.UInt16())
                let at = datagram.Length - reader.Remaining
                let value = reader.Bytes octets
                reader.Skip(Attribute.padded octets - octets)

                if not reader.Ok then
                    ok <- false
                elif kind = 0x0013us then
                    // Of several of one type the first counts, RFC 8489 §14.
                    if offset < 0 then
                        offset <- at
                        length <- octets
                elif kind = 0x0012us then
                    if peer.IsNone then
                        match Attribute.read { High = high; Low = low } kind value with
                        | ValueSome(XorPeerAddress endpoint) -> peer <- ValueSome endpoint
                        | _ -> ok <- false
                elif Attribute.isComprehensionRequired kind then
                    ok <- false

        match peer with
        | ValueSome endpoint when ok && offset >= 0 -> ValueSome(struct (endpoint, offset, length))
        | _ -> ValueNone
