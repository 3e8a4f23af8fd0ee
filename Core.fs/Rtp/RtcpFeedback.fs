namespace Hybrid.WebRtc.Rtp

open System
open System.Numerics
open Hybrid.WebRtc.Core

/// Lost sequence numbers as a NACK says them, RFC 4585 §6.2.1: one, and the 16 behind it bit by bit.
[<RequireQualifiedAccess>]
module NackPairs =
    /// Fills pairs with lost sequence numbers, as many as there is room for; answers how many pairs that made.
    /// `lost`: ascending modulo 2¹⁶ (RFC 1982), each within 2¹⁵ of the one before.
    [<CompiledName "Fill">]
    let fill (lost: ReadOnlySpan<uint16>) (into: Span<NackPair>) : int =
        let mutable made = 0
        let mutable i = 0

        while i < lost.Length && made < into.Length do
            let first = lost[i]
            let mutable bits = 0us
            i <- i + 1

            // One that is repeated is `first` again, 0 ahead.
            while i < lost.Length && lost[i] - first <= 16us do
                if lost[i] <> first then
                    bits <- bits ||| (1us <<< int (lost[i] - first - 1us))

                i <- i + 1

            into[made] <- { PacketId = first; Bitmask = bits }
            made <- made + 1

        made

    /// How many pairs `fill` makes of all of them.
    [<CompiledName "Count">]
    let count (lost: ReadOnlySpan<uint16>) : int =
        let mutable made = 0
        let mutable i = 0

        while i < lost.Length do
            let first = lost[i]
            made <- made + 1

            while i < lost.Length && lost[i] - first <= 16us do
                i <- i + 1

        made

    /// The pairs of lost sequence numbers, ascending as `fill` wants them.
    [<CompiledName "OfLost">]
    let ofLost (lost: ReadOnlySpan<uint16>) : NackPair[] =
        let pairs = Array.zeroCreate<NackPair>(count lost)
        fill lost (Span pairs) |> ignore
        pairs

    /// How many sequence numbers pairs name.
    [<CompiledName "CountLost">]
    let countLost (pairs: NackPair[]) : int =
        let mutable lost = 0

        for pair in pairs do
            lost <- lost + 1 + BitOperations.PopCount(uint32 pair.Bitmask)

        lost

    /// The sequence numbers that pairs name, each pair's ascending modulo 2¹⁶.
    [<CompiledName "ToLost">]
    let toLost (pairs: NackPair[]) : uint16[] =
        let lost = Array.zeroCreate<uint16>(countLost pairs)
        let mutable at = 0

        for pair in pairs do
            lost[at] <- pair.PacketId
            at <- at + 1
            let mutable bits = uint32 pair.Bitmask

            while bits <> 0u do
                lost[at] <- pair.PacketId + 1us + uint16 (BitOperations.TrailingZeroCount bits)
                at <- at + 1
                bits <- bits &&& (bits - 1u)

        lost

/// Bitrates as a mantissa and a power of two.
[<RequireQualifiedAccess>]
module internal RtcpBitrate =
    /// The nearest that a mantissa of so many bits can say, not above: the upper bits are the exponent.
    let encode (mantissaBits: int) (bitrate: uint64) : struct (uint32 * uint32) =
        let exponent = max 0 (64 - BitOperations.LeadingZeroCount bitrate - mantissaBits)
        struct (uint32 exponent, uint32 (bitrate >>> exponent))

    /// The most that 64 bits can say, where it is more.
    let decode (exponent: uint32) (mantissa: uint32) : uint64 =
        let exponent = int exponent

        if mantissa = 0u then
            0UL
        elif exponent > BitOperations.LeadingZeroCount(uint64 mantissa) then
            UInt64.MaxValue
        else
            uint64 mantissa <<< exponent

/// Feedback messages, RFC 4585 §6.1, RFC 5104 §4, RFC 6051 §3.2, RFC 8888 §3.1 and REMB. A reader is given what lies behind the
/// head, without padding; a writer writes what lies behind the head.
[<RequireQualifiedAccess>]
module internal RtcpFeedback =
    /// Octets of the head and the two SSRCs.
    [<Literal>]
    let Head = 12

    /// Packets of one source that a report may have, RFC 8888 §3.1.
    [<Literal>]
    let MaxArrivals = 16_384

    /// Octets of a source and its range, RFC 8888 §3.1.
    [<Literal>]
    let StreamHead = 8

    /// Sources that a REMB can name.
    [<Literal>]
    let MaxRembSsrcs = 255

    let private remb = 0x52454D42u // "REMB"

    let readNack (sender: uint32) (media: uint32) (reader: byref<Reader>) : Rtcp =
        let pairs = Array.zeroCreate<NackPair>(reader.Remaining / 4)

        for i in 0 .. pairs.Length - 1 do
            pairs[i] <-
                { PacketId = reader.UInt16()
                  Bitmask = reader.UInt16() }

        Nack(sender, media, pairs)

    let private readTmmb (reader: byref<Reader>) : TmmbEntry[] =
        let entries = Array.zeroCreate<TmmbEntry>(reader.Remaining / 8)

        for i in 0 .. entries.Length - 1 do
            let ssrc = reader.UInt32()
            let packed = reader.UInt32()

            entries[i] <-
                { Ssrc = ssrc
                  MaxBitrate = RtcpBitrate.decode (packed >>> 26) ((packed >>> 9) &&& 0x1_FFFFu)
                  Overhead = int (packed &&& 0x1FFu) }

        entries

    let writeTmmb (writer: byref<Writer>) (entries: TmmbEntry[]) : unit =
        for i in 0 .. RtcpLimits.fitting Head 8 entries.Length - 1 do
            let struct (exponent, mantissa) = RtcpBitrate.encode 17 entries[i].MaxBitrate
            writer.UInt32 entries[i].Ssrc

            writer.UInt32(
                (exponent <<< 26)
                ||| (mantissa <<< 9)
                ||| uint32 (max 0 (min 0x1FF entries[i].Overhead))
            )

    let private readFir (sender: uint32) (reader: byref<Reader>) : Rtcp =
        let entries = Array.zeroCreate<FirEntry>(reader.Remaining / 8)

        for i in 0 .. entries.Length - 1 do
            entries[i] <-
                { Ssrc = reader.UInt32()
                  Sequence = reader.Byte() }

            reader.Skip 3

        FullIntraRequest(sender, entries)

    let writeFir (writer: byref<Writer>) (entries: FirEntry[]) : unit =
        for i in 0 .. RtcpLimits.fitting Head 8 entries.Length - 1 do
            writer.UInt32 entries[i].Ssrc
            writer.Byte entries[i].Sequence
            writer.Zeros 3

    let private readSlices (sender: uint32) (media: uint32) (reader: byref<Reader>) : Rtcp =
        let slices = Array.zeroCreate<uint32>(reader.Remaining / 4)

        for i in 0 .. slices.Length - 1 do
            slices[i] <- reader.UInt32()

        SliceLossIndication(sender, media, slices)

    let private readRemb (sender: uint32) (reader: byref<Reader>) : Rtcp voption =
        let count = int (reader.Byte())
        let packed = reader.UInt24()

        if not reader.Ok || reader.Remaining < 4 * count then
            ValueNone
        else
            let ssrcs = Array.zeroCreate<uint32> count

            for i in 0 .. count - 1 do
                ssrcs[i] <- reader.UInt32()

            let bitrate =
                RtcpBitrate.decode (uint32 packed >>> 18) (uint32 packed &&& 0x3_FFFFu)

            ValueSome(ReceiverEstimatedMaxBitrate(sender, bitrate, ssrcs))

    let writeRemb (writer: byref<Writer>) (bitrate: uint64) (ssrcs: uint32[]) : unit =
        let count = min MaxRembSsrcs ssrcs.Length
        let struct (exponent, mantissa) = RtcpBitrate.encode 18 bitrate
        writer.UInt32 remb
        writer.Byte(byte count)
        writer.UInt24(int ((exponent <<< 18) ||| mantissa))

        for i in 0 .. count - 1 do
            writer.UInt32 ssrcs[i]

    let private readArrivals (count: int) (reader: byref<Reader>) : CcfbArrival[] =
        let arrivals = Array.zeroCreate<CcfbArrival> count

        for i in 0 .. count - 1 do
            let bits = reader.UInt16()

            // What is said of a packet not received is to be ignored.
            if bits &&& 0x8000us <> 0us then
                arrivals[i] <-
                    { Received = true
                      Ecn = byte (bits >>> 13) &&& 3uy
                      ArrivalOffset = bits &&& 0x1FFFus }

        reader.Skip(2 * (count &&& 1))
        arrivals

    /// What lies behind the head, RFC 8888 §3.1.
    let readCongestion (content: ReadOnlySpan<byte>) : Rtcp voption =
        let mutable reader = Reader content
        let sender = reader.UInt32()
        let streams = ResizeArray<CcfbStream>()
        let mutable sound = true

        while sound && reader.Ok && reader.Remaining > 4 do
            let ssrc = reader.UInt32()
            let first = reader.UInt16()
            let count = int (reader.UInt16())
            sound <- reader.Ok && count <= MaxArrivals && reader.Remaining >= 2 * count

            if sound then
                streams.Add
                    { Ssrc = ssrc
                      BeginSequence = first
                      Packets = readArrivals count &reader }

        let timestamp = reader.UInt32()

        if sound && reader.Ok then
            ValueSome(CongestionFeedback(sender, streams.ToArray(), timestamp))
        else
            ValueNone

    /// Octets of what is reported of a source, with so many packets.
    let streamSize (count: int) : int =
        StreamHead + RtcpLimits.padded (2 * min MaxArrivals count)

    /// How many sources fit between the head and the timestamp.
    let streamsFitting (limit: int) (from: int) (streams: CcfbStream[]) : int =
        let mutable size = RtcpLimits.Head + 8
        let mutable count = 0
        let mutable fits = true

        while fits && from + count < streams.Length do
            size <- size + streamSize streams[from + count].Packets.Length
            fits <- size <= limit

            if fits then
                count <- count + 1

        count

    let writeCongestion (writer: byref<Writer>) (sender: uint32) (streams: CcfbStream[]) (timestamp: uint32) : unit =
        writer.UInt32 sender

        for i in 0 .. streamsFitting RtcpLimits.MaxSize 0 streams - 1 do
            let packets = streams[i].Packets
            let count = min MaxArrivals packets.Length
            writer.UInt32 streams[i].Ssrc
            writer.UInt16 streams[i].BeginSequence
            writer.UInt16(uint16 count)

            for j in 0 .. count - 1 do
                let arrival = packets[j]

                writer.UInt16(
                    if arrival.Received then
                        0x8000us
                        ||| (uint16 (arrival.Ecn &&& 3uy) <<< 13)
                        ||| min 0x1FFFus arrival.ArrivalOffset
                    else
                        0us
                )

            writer.Zeros(2 * (count &&& 1))

        writer.UInt32 timestamp

    /// A message of the transport layer (type 205) by its format; other formats are kept as they are.
    let readTransport (format: int) (content: ReadOnlySpan<byte>) (budget: byref<int>) : Rtcp voption =
        let mutable reader = Reader content
        let sender = reader.UInt32()
        let media = reader.UInt32()

        if format = 11 then
            readCongestion content
        elif not reader.Ok then
            ValueNone
        else
            match format with
            | 1 -> ValueSome(readNack sender media &reader)
            | 3 -> ValueSome(Tmmbr(sender, readTmmb &reader))
            | 4 -> ValueSome(Tmmbn(sender, readTmmb &reader))
            | 5 -> ValueSome(RapidResynchronization(sender, media))
            | 15 ->
                match RtcpTransportCc.read sender media (reader.ToEnd()) &budget with
                | ValueSome feedback -> ValueSome(TransportCc feedback)
                | ValueNone -> ValueNone
            | _ -> ValueSome(OtherRtcp(205uy, byte format, ReadOnlyMemory(content.ToArray())))

    /// A payload-specific message (type 206) by its format; other formats are kept as they are.
    let readPayload (format: int) (content: ReadOnlySpan<byte>) : Rtcp voption =
        let mutable reader = Reader content
        let sender = reader.UInt32()
        let media = reader.UInt32()

        if not reader.Ok then
            ValueNone
        else
            match format with
            | 1 -> ValueSome(PictureLossIndication(sender, media))
            | 2 -> ValueSome(readSlices sender media &reader)
            | 3 -> ValueSome(ReferencePictureSelection(sender, media, ReadOnlyMemory(reader.ToEnd().ToArray())))
            | 4 -> ValueSome(readFir sender &reader)
            | 15 when reader.UInt32() = remb -> readRemb sender &reader
            | _ -> ValueSome(OtherRtcp(206uy, byte format, ReadOnlyMemory(content.ToArray())))
