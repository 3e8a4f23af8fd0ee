namespace Hybrid.WebRtc.Rtp

open System
open System.Collections.Generic
open Hybrid.WebRtc.Core

/// Which header extension of one media section becomes which of another: a table from id to id, made once for each pair of maps.
/// What was not negotiated in `into` is left out. So is what means something on one hop only, and is each sender's own to
/// set: MID, RID, repaired RID, the transport-wide sequence number and the absolute send time; and what describes the encodings of the
/// peer's encoder: the dependency descriptor numbers frames across all of them, and the layers allocation lists them, so that who receives
/// one of them, or now one and now another, would wait for frames that never come. Immutable.
[<Sealed>]
type ExtensionTranslation(from: ExtensionMap, into: ExtensionMap) =
    let table = Array.zeroCreate<byte> 256

    do
        let ids = Dictionary<string, int>(StringComparer.Ordinal)

        for entry in into.Entries do
            if entry.Key > 0 && entry.Key < 256 then
                ids[entry.Value] <- entry.Key

        for entry in from.Entries do
            match HeaderExtensions.ofUri entry.Value with
            | HeaderExtension.Mid
            | HeaderExtension.Rid
            | HeaderExtension.RepairedRid
            | HeaderExtension.AbsSendTime
            | HeaderExtension.TransportCc
            | HeaderExtension.DependencyDescriptor
            | HeaderExtension.VideoLayersAllocation -> ()
            | _ ->
                let mutable id = 0

                if entry.Key > 0 && entry.Key < 256 && ids.TryGetValue(entry.Value, &id) then
                    table[entry.Key] <- byte id

    /// The map of the packets that it translates.
    member _.From = from
    /// The map of the packets that it makes.
    member _.Into = into
    /// The id that an element with an id from 1 to 255 leaves with; 0: it is left out.
    member _.At(id: int) : int = int table[id]

    /// The translation for a packet's map: this one while it fits.
    member t.For(map: ExtensionMap) : ExtensionTranslation =
        if Object.ReferenceEquals(map, from) then
            t
        else
            ExtensionTranslation(map, into)

/// The header extensions that a sender sets itself, encoded once: the same in each packet (MID, RID…), and room for the two
/// that differ in each, the absolute send time and the transport-wide sequence number, where the map has them. Immutable.
/// `elements`: one that the map's ids do not allow (1 to 255) or that is longer than 255 octets is left out; of equal ids
/// the first counts. `twoByte`: whether the two-byte form may be sent, that is whether `a=extmap-allow-mixed` was negotiated,
/// RFC 8285 §6; without it elements that do not fit the one-byte form are left out of packets.
[<Sealed>]
type SenderExtensions(map: ExtensionMap, twoByte: bool, elements: ExtensionElement[]) =
    let stamped extension =
        let id = map.IdOf extension
        if twoByte || id < 15 then id else 0

    let absSendTime = stamped HeaderExtension.AbsSendTime
    let transportCc = stamped HeaderExtension.TransportCc
    let sets = Array.zeroCreate<bool> 256

    let kept =
        [| for element in elements do
               if
                   element.IsValid
                   && not sets[element.Id]
                   && element.Id <> absSendTime
                   && element.Id <> transportCc
                   && (twoByte || element.FitsOneByte)
               then
                   sets[element.Id] <- true
                   element |]

    let fitsOneByte =
        kept |> Array.forall (fun element -> element.FitsOneByte)
        && absSendTime < 15
        && transportCc < 15

    let oneByteBlock =
        if fitsOneByte then
            ExtensionElements.encode false kept
        else
            Array.Empty()

    let twoByteBlock = ExtensionElements.encode true kept

    do
        sets[absSendTime] <- true
        sets[transportCc] <- true

    /// Nothing of its own, and nothing negotiated.
    static member val None = SenderExtensions(ExtensionMap.Empty, false, Array.Empty())

    /// With what identifies a stream, RFC 8843, 8851, 8852, as far as the map has it; empty: not sent.
    static member Identifying
        (map: ExtensionMap, twoByte: bool, mid: string, rid: string, repairedRid: string)
        : SenderExtensions =
        let element (extension: HeaderExtension) (text: string) =
            let data =
                if text = "" then
                    Array.Empty()
                else
                    Text.Encoding.UTF8.GetBytes text

            { Id = (if data.Length = 0 then 0 else map.IdOf extension)
              Data = ReadOnlyMemory data }

        SenderExtensions(
            map,
            twoByte,
            [| element HeaderExtension.Mid mid
               element HeaderExtension.Rid rid
               element HeaderExtension.RepairedRid repairedRid |]
        )

    /// The id of the absolute send time; 0: not sent.
    member _.AbsSendTimeId = absSendTime
    /// The id of the transport-wide sequence number; 0: not sent.
    member _.TransportCcId = transportCc
    /// Whether the two-byte form may be sent.
    member _.TwoByte = twoByte
    /// Whether all of its own fit the one-byte form.
    member internal _.FitsOneByte = fitsOneByte

    member internal _.Block(inTwoByteForm: bool) : byte[] =
        if inTwoByteForm then twoByteBlock else oneByteBlock

    /// Whether an element of a packet's own has to stand back.
    member internal _.Sets(id: int) : bool = sets[id]

/// What a sender puts in place of what a packet says of itself. The rest is the packet's: marker, CSRCs, payload, padding, and the
/// header extensions as `Translation` has them.
[<Struct; NoComparison; NoEquality>]
type RtpRewrite =
    {
        Ssrc: uint32
        SequenceNumber: uint16
        /// Added to the packet's timestamp, modulo 2³².
        TimestampOffset: uint32
        /// 0 to 127.
        PayloadType: byte
        /// From the packet's map to the sender's: `translation.For packet.Map`.
        Translation: ExtensionTranslation
        /// Set in place of the packet's.
        Own: SenderExtensions
        /// 24 bits, seconds in 6.18 fixed point; looked at only where `Own.AbsSendTimeId` is not 0.
        AbsSendTime: int
        /// Looked at only where `Own.TransportCcId` is not 0.
        TransportSequence: uint16
        /// The sequence number of the packet that a retransmission repeats, put before the payload, RFC 4588 §4; none: not one.
        OriginalSequence: uint16 voption
    }

/// Writes the packets that a sender sends. Called once a packet: allocates nothing, and walks the packet's header extensions
/// once in `size` and once in `write`.
[<RequireQualifiedAccess>]
module RtpWriter =
    /// A packet with more of header extensions than this leaves without them: it could not be sent whole anyway.
    [<Literal>]
    let private MaxExtensions = 16_384

    /// The block of elements, in which form and how long it is without padding; 0: none.
    let private measure (packet: inref<RtpPacket>) (rewrite: inref<RtpRewrite>) : struct (bool * int) =
        let own = rewrite.Own
        let mutable twoByte = not own.FitsOneByte
        // As one-byte elements; each is an octet longer as a two-byte one.
        let mutable length = 0
        let mutable count = 0

        if own.AbsSendTimeId <> 0 then
            length <- length + 4
            count <- count + 1

        if own.TransportCcId <> 0 then
            length <- length + 3
            count <- count + 1

        if packet.Extensions.Length > 0 && packet.Extensions.Length <= MaxExtensions then
            let mutable elements =
                ExtensionReader(packet.ExtensionProfile, packet.Extensions.Span)

            while elements.MoveNext() do
                let id = rewrite.Translation.At elements.Id

                if id <> 0 && not (own.Sets id) then
                    let fits = id < 15 && elements.Length > 0 && elements.Length <= 16

                    if fits || own.TwoByte then
                        twoByte <- twoByte || not fits
                        length <- length + 1 + elements.Length
                        count <- count + 1

        struct (twoByte, length + (if twoByte then count else 0) + (own.Block twoByte).Length)

    let inline private sizeWith (extensions: int) (packet: inref<RtpPacket>) (rewrite: inref<RtpRewrite>) =
        RtpHeader.FixedSize
        + 4 * packet.CsrcCount
        + (if extensions > 0 then
               4 + ExtensionElements.padded extensions
           else
               0)
        + (if rewrite.OriginalSequence.IsSome then 2 else 0)
        + packet.Payload.Length
        + int packet.Padding

    /// Octets that `write` fills with the same packet and rewrite: exactly. Time linear in the number of header extensions.
    [<CompiledName "Size">]
    let size (packet: inref<RtpPacket>) (rewrite: inref<RtpRewrite>) : int =
        let struct (_, extensions) = measure &packet &rewrite
        sizeWith extensions &packet &rewrite

    /// Writes the packet as the sender sends it into lent memory of at least `size` octets; answers the octets written. Its own
    /// header extensions come first, then the packet's in their order, in the one-byte form where all of them fit it, RFC 8285 §4.1.2.
    [<CompiledName "Write">]
    let write (packet: inref<RtpPacket>) (rewrite: inref<RtpRewrite>) (into: Span<byte>) : int =
        let own = rewrite.Own
        let struct (twoByte, extensions) = measure &packet &rewrite
        let mutable writer = Writer into

        writer.Byte(
            0x80uy
            ||| (if packet.Padding > 0uy then 0x20uy else 0uy)
            ||| (if extensions > 0 then 0x10uy else 0uy)
            ||| byte packet.CsrcCount
        )

        writer.Byte((rewrite.PayloadType &&& 0x7Fuy) ||| (if packet.Marker then 0x80uy else 0uy))
        writer.UInt16 rewrite.SequenceNumber
        writer.UInt32(packet.Timestamp + rewrite.TimestampOffset)
        writer.UInt32 rewrite.Ssrc
        writer.Bytes(packet.Csrcs.Span.Slice(0, 4 * packet.CsrcCount))

        if extensions > 0 then
            let length = ExtensionElements.padded extensions

            writer.UInt16(
                if twoByte then
                    ExtensionProfile.TwoByte
                else
                    ExtensionProfile.OneByte
            )

            writer.UInt16(uint16 (length / 4))
            writer.Bytes(ReadOnlySpan(own.Block twoByte))

            if own.AbsSendTimeId <> 0 then
                ExtensionElements.writeHead &writer twoByte own.AbsSendTimeId 3
                writer.UInt24 rewrite.AbsSendTime

            if own.TransportCcId <> 0 then
                ExtensionElements.writeHead &writer twoByte own.TransportCcId 2
                writer.UInt16 rewrite.TransportSequence

            if packet.Extensions.Length > 0 && packet.Extensions.Length <= MaxExtensions then
                let mutable elements =
                    ExtensionReader(packet.ExtensionProfile, packet.Extensions.Span)

                while elements.MoveNext() do
                    let id = rewrite.Translation.At elements.Id

                    if id <> 0 && not (own.Sets id) then
                        let fits = id < 15 && elements.Length > 0 && elements.Length <= 16

                        if fits || own.TwoByte then
                            ExtensionElements.writeHead &writer twoByte id elements.Length
                            writer.Bytes elements.Data

            writer.Zeros(length - extensions)

        match rewrite.OriginalSequence with
        | ValueSome original -> writer.UInt16 original
        | ValueNone -> ()

        writer.Bytes packet.Payload.Span

        if packet.Padding > 0uy then
            writer.Zeros(int packet.Padding - 1)
            writer.Byte packet.Padding

        writer.Written
