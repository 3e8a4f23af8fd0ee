namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open System.Numerics
open System.Runtime.InteropServices
open Hybrid.WebRtc.Rtp

/// Which of 109 packets a FEC packet protects, counted from its base.
[<Struct; NoComparison>]
type internal FecMask =
    {
        /// Bit i: packet i, from 0 to 63.
        Low: uint64
        /// Bit i: packet 64 + i, to 108.
        High: uint64
    }

/// Masks of FEC packets.
[<RequireQualifiedAccess>]
module internal FecMask =
    /// Packets that the longest mask covers: 15 + 31 + 63, draft-ietf-payload-flexible-fec-scheme-03 §4.2.
    [<Literal>]
    let Width = 109

    let none: FecMask = { Low = 0UL; High = 0UL }

    let contains (i: int) (mask: FecMask) : bool =
        if i < 64 then
            (mask.Low >>> i) &&& 1UL = 1UL
        else
            (mask.High >>> (i - 64)) &&& 1UL = 1UL

    let add (i: int) (mask: FecMask) : FecMask =
        if i < 64 then
            { mask with
                Low = mask.Low ||| (1UL <<< i) }
        else
            { mask with
                High = mask.High ||| (1UL <<< (i - 64)) }

    let remove (i: int) (mask: FecMask) : FecMask =
        if i < 64 then
            { mask with
                Low = mask.Low &&& ~~~(1UL <<< i) }
        else
            { mask with
                High = mask.High &&& ~~~(1UL <<< (i - 64)) }

    let count (mask: FecMask) : int =
        BitOperations.PopCount mask.Low + BitOperations.PopCount mask.High

    /// The lowest packet; 128 of none.
    let lowest (mask: FecMask) : int =
        if mask.Low <> 0UL then
            BitOperations.TrailingZeroCount mask.Low
        else
            64 + BitOperations.TrailingZeroCount mask.High

/// What a FEC packet says of itself.
[<Struct; NoComparison>]
type internal FecHeader =
    {
        /// Of the stream it protects.
        Ssrc: uint32
        BaseSequence: uint16
        Mask: FecMask
        /// Octets before the repair payload.
        Size: int
    }

/// FlexFEC as browsers speak it, draft-ietf-payload-flexible-fec-scheme-03 §4.2 with a flexible mask (F = 0), of one stream:
///
///      0               8              16                              31
///     |0|0|P|X|  CC   |M| PT Recovery |        Length Recovery        |
///     |                          TS Recovery                          |
///     | SSRCCount = 1 |                   Reserved                    |
///     |                             SSRC                              |
///     |            SN Base            |k|          Mask [0-14]        |
///     |k|                   Mask [15-45] (optional)                   |
///     |k|                                                             |
///     |                     Mask [46-108] (optional)                  |
///
/// A set k ends the mask. All is the XOR of the protected packets as they are on the wire before SRTP, but with zeros where the
/// pacer, or a forwarder, writes late: libwebrtc protects and recovers them so.
[<RequireQualifiedAccess>]
module internal FlexFec =
    /// Octets of the header with the shortest mask.
    [<Literal>]
    let MinHeader = 20

    /// The header of a FEC packet's payload. ValueNone: too short, a retransmission (R), a fixed mask (F), or of more than one
    /// stream, none of which browsers send.
    let read (payload: ReadOnlySpan<byte>) : FecHeader voption =
        if payload.Length < MinHeader || payload[0] >= 0x40uy || payload[8] <> 1uy then
            ValueNone
        else
            let first = BinaryPrimitives.ReadUInt16BigEndian(payload.Slice 18)
            let mutable mask = FecMask.none
            let mutable size = MinHeader
            let mutable ok = true

            for i in 0..14 do
                if (first >>> (14 - i)) &&& 1us = 1us then
                    mask <- FecMask.add i mask

            if first &&& 0x8000us = 0us then
                if payload.Length < 24 then
                    ok <- false
                else
                    let second = BinaryPrimitives.ReadUInt32BigEndian(payload.Slice 20)
                    size <- 24

                    for i in 0..30 do
                        if (second >>> (30 - i)) &&& 1u = 1u then
                            mask <- FecMask.add (15 + i) mask

                    if second &&& 0x8000_0000u = 0u then
                        if payload.Length < 32 then
                            ok <- false
                        else
                            let third = BinaryPrimitives.ReadUInt64BigEndian(payload.Slice 24)
                            size <- 32
                            ok <- third >>> 63 = 1UL

                            for i in 0..62 do
                                if (third >>> (62 - i)) &&& 1UL = 1UL then
                                    mask <- FecMask.add (46 + i) mask

            if ok && FecMask.count mask > 0 then
                ValueSome
                    { Ssrc = BinaryPrimitives.ReadUInt32BigEndian(payload.Slice 12)
                      BaseSequence = BinaryPrimitives.ReadUInt16BigEndian(payload.Slice 16)
                      Mask = mask
                      Size = size }
            else
                ValueNone

    /// Octets of a header with this mask.
    let headerSize (mask: FecMask) : int =
        if mask.High <> 0UL || mask.Low >>> 46 <> 0UL then 32
        elif mask.Low >>> 15 <> 0UL then 24
        else MinHeader

    /// Writes what is not recovery: the stream, the base and the mask.
    let writeHeader (into: Span<byte>) (ssrc: uint32) (baseSequence: uint16) (mask: FecMask) : unit =
        let size = headerSize mask
        into[8] <- 1uy
        BinaryPrimitives.WriteUInt32BigEndian(into.Slice 12, ssrc)
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 16, baseSequence)
        let mutable first = if size = 20 then 0x8000us else 0us

        for i in 0..14 do
            if FecMask.contains i mask then
                first <- first ||| (1us <<< (14 - i))

        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 18, first)

        if size >= 24 then
            let mutable second = if size = 24 then 0x8000_0000u else 0u

            for i in 0..30 do
                if FecMask.contains (15 + i) mask then
                    second <- second ||| (1u <<< (30 - i))

            BinaryPrimitives.WriteUInt32BigEndian(into.Slice 20, second)

        if size = 32 then
            let mutable third = 1UL <<< 63

            for i in 0..62 do
                if FecMask.contains (46 + i) mask then
                    third <- third ||| (1UL <<< (62 - i))

            BinaryPrimitives.WriteUInt64BigEndian(into.Slice 24, third)

    /// `into ^= from`, as long as `from` is.
    let xor (from: ReadOnlySpan<byte>) (into: Span<byte>) : unit =
        let words = MemoryMarshal.Cast<byte, uint64> from
        let target = MemoryMarshal.Cast<byte, uint64>(into.Slice(0, from.Length))

        for i in 0 .. words.Length - 1 do
            target[i] <- target[i] ^^^ words[i]

        for i in 8 * words.Length .. from.Length - 1 do
            into[i] <- into[i] ^^^ from[i]

    /// XORs a packet of the wire into the ten octets of recovery and the repair payload behind the header.
    let protect (packet: ReadOnlySpan<byte>) (header: Span<byte>) (repair: Span<byte>) : unit =
        // P, X, CC, M and PT; the version's two bits stand for R and F.
        header[0] <- (header[0] ^^^ packet[0]) &&& 0x3Fuy
        header[1] <- header[1] ^^^ packet[1]
        let length = packet.Length - RtpHeader.FixedSize
        header[2] <- header[2] ^^^ byte (length >>> 8)
        header[3] <- header[3] ^^^ byte length
        xor (packet.Slice(4, 4)) (header.Slice(4, 4))
        xor (packet.Slice RtpHeader.FixedSize) repair

    /// Of `video-timing`, from where the pacer and forwarders write.
    [<Literal>]
    let private PacerDelta = 7

    /// A packet of the wire as it is protected: a copy, with zeros for what is written late. ValueNone: no RTP packet.
    let protectable (map: ExtensionMap) (packet: ReadOnlySpan<byte>) : byte[] voption =
        match RtpHeader.readSealed packet with
        | ValueNone -> ValueNone
        | ValueSome header ->
            let copy = packet.ToArray()

            if header.ExtensionLength > 0 then
                let block = Span(copy, header.ExtensionOffset, header.ExtensionLength)

                let mutable elements =
                    ExtensionReader(
                        header.ExtensionProfile,
                        packet.Slice(header.ExtensionOffset, header.ExtensionLength)
                    )

                while elements.MoveNext() do
                    match map.At elements.Id with
                    | HeaderExtension.AbsSendTime
                    | HeaderExtension.TransmissionOffset
                    | HeaderExtension.TransportCc -> block.Slice(elements.Offset, elements.Length).Clear()
                    | HeaderExtension.VideoTiming when elements.Length > PacerDelta ->
                        block.Slice(elements.Offset + PacerDelta, elements.Length - PacerDelta).Clear()
                    | _ -> ()

            ValueSome copy
