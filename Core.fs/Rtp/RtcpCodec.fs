namespace Hybrid.WebRtc.Rtp

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core

/// RTCP on the wire, RFC 3550 §6, compound or reduced-size (RFC 5506).
///
///      0               8              16                              31
///     |V=2|P|  Count  |     Type      |   Length (words behind these) |
///     |                            Content                            |
[<RequireQualifiedAccess>]
module RtcpCodec =
    /// Packets that the transport-wide feedback of one datagram may report on together. A run of 8,191 takes two octets: without
    /// a bound, 1,200 octets would become megabytes.
    [<Literal>]
    let MaxTransportStatuses = 16_384

    let private readOne (kind: byte) (count: int) (content: ReadOnlySpan<byte>) (budget: byref<int>) : Rtcp voption =
        match kind with
        | 200uy -> RtcpReports.readSenderReport count content
        | 201uy -> RtcpReports.readReceiverReport count content
        | 202uy -> RtcpReports.readDescription count content
        | 203uy -> RtcpReports.readGoodbye count content
        | 204uy -> RtcpReports.readApplication count content
        | 205uy -> RtcpFeedback.readTransport count content &budget
        | 206uy -> RtcpFeedback.readPayload count content
        | 207uy -> RtcpExtended.read content
        | _ -> ValueSome(OtherRtcp(kind, byte count, ReadOnlyMemory(content.ToArray())))

    /// Octets of padding that a packet ends with; -1: what it says cannot be. Not every sender pads to a multiple of four.
    let private paddingOf (packet: ReadOnlySpan<byte>) : int =
        if packet[0] &&& 0x20uy = 0uy then
            0
        else
            let padding = int packet[packet.Length - 1]

            if padding = 0 || padding > packet.Length - RtcpLimits.Head then
                -1
            else
                padding

    /// Reads a datagram of RTCP, decrypted: its packets in order, and how many were malformed. One whose content is malformed is
    /// passed over; where the length of one cannot be, what follows it is not looked at, and all that counts as one. Nothing of
    /// `bytes` is kept. Time and memory are linear in their length, and 64 KiB at most beside.
    [<CompiledName "Read">]
    let read (bytes: ReadOnlySpan<byte>) : struct (Rtcp[] * int) =
        let packets = ResizeArray<Rtcp>()
        let mutable malformed = 0
        let mutable budget = MaxTransportStatuses
        let mutable rest = bytes

        while rest.Length > 0 do
            let size =
                if rest.Length < RtcpLimits.Head || rest[0] >>> 6 <> 2uy then
                    Int32.MaxValue
                else
                    4 * (1 + int (BinaryPrimitives.ReadUInt16BigEndian(rest.Slice 2)))

            if size > rest.Length then
                malformed <- malformed + 1
                rest <- ReadOnlySpan<byte>.Empty
            else
                let packet = rest.Slice(0, size)
                let padding = paddingOf packet

                if padding < 0 then
                    malformed <- malformed + 1
                else
                    let content = packet.Slice(RtcpLimits.Head, size - RtcpLimits.Head - padding)

                    match readOne packet[1] (int (packet[0] &&& 0x1Fuy)) content &budget with
                    | ValueSome one -> packets.Add one
                    | ValueNone -> malformed <- malformed + 1

                rest <- rest.Slice size

        struct (packets.ToArray(), malformed)

    /// Whether a datagram is a compound packet as RFC 3550 §A.2 checks it: a report first, without padding, each packet of version 2,
    /// and lengths that end where the datagram does. Reduced-size RTCP (RFC 5506) need not be.
    [<CompiledName "IsCompound">]
    let isCompound (bytes: ReadOnlySpan<byte>) : bool =
        let mutable sound =
            bytes.Length >= RtcpLimits.Head
            && bytes[0] &&& 0xE0uy = 0x80uy
            && (bytes[1] = 200uy || bytes[1] = 201uy)

        let mutable rest = bytes

        while sound && rest.Length > 0 do
            sound <- rest.Length >= RtcpLimits.Head && rest[0] >>> 6 = 2uy

            if sound then
                let size = 4 * (1 + int (BinaryPrimitives.ReadUInt16BigEndian(rest.Slice 2)))
                sound <- size <= rest.Length

                if sound then
                    rest <- rest.Slice size

        sound

    let private listSize (fixedSize: int) (itemSize: int) (count: int) =
        fixedSize + itemSize * RtcpLimits.fitting fixedSize itemSize count

    let private dataSize (fixedSize: int) (data: ReadOnlyMemory<byte>) =
        fixedSize + RtcpLimits.padded (RtcpLimits.fitting fixedSize 1 data.Length)

    let private reports (reports: ReceptionReport[]) =
        RtcpReports.ReportSize * min RtcpLimits.MaxCount reports.Length

    let private descriptionSize (chunks: SdesChunk[]) =
        let mutable size = RtcpLimits.Head

        for i in 0 .. RtcpReports.chunksFitting RtcpLimits.MaxSize 0 chunks - 1 do
            size <- size + RtcpReports.chunkSize chunks[i]

        size

    let private congestionSize (streams: CcfbStream[]) =
        let mutable size = RtcpLimits.Head + 8

        for i in 0 .. RtcpFeedback.streamsFitting RtcpLimits.MaxSize 0 streams - 1 do
            size <- size + RtcpFeedback.streamSize streams[i].Packets.Length

        size

    let private extendedSize (blocks: XrBlock[]) =
        let mutable size = RtcpLimits.Head + 4

        for i in 0 .. RtcpExtended.blocksFitting RtcpLimits.MaxSize 0 blocks - 1 do
            size <- size + RtcpExtended.blockSize blocks[i]

        size

    /// Octets that `write` fills: a multiple of four.
    [<CompiledName "Size">]
    let size (packet: Rtcp) : int =
        let feedback = RtcpFeedback.Head

        match packet with
        | SenderReport(_, _, blocks) -> RtcpLimits.Head + 4 + RtcpReports.SenderInfoSize + reports blocks
        | ReceiverReport(_, blocks) -> RtcpLimits.Head + 4 + reports blocks
        | SourceDescription chunks -> descriptionSize chunks
        | Goodbye(sources, reason) ->
            RtcpLimits.Head
            + 4 * min RtcpLimits.MaxCount sources.Length
            + RtcpReports.reasonSize reason
        | ApplicationDefined(_, _, _, data) -> dataSize 12 data
        | Nack(_, _, lost) -> listSize feedback 4 lost.Length
        | RapidResynchronization _
        | PictureLossIndication _ -> feedback
        | TransportCc it -> feedback + RtcpTransportCc.size it.Packets
        | CongestionFeedback(_, streams, _) -> congestionSize streams
        | Tmmbr(_, entries)
        | Tmmbn(_, entries) -> listSize feedback 8 entries.Length
        | SliceLossIndication(_, _, slices) -> listSize feedback 4 slices.Length
        | ReferencePictureSelection(_, _, indication) -> dataSize feedback indication
        | FullIntraRequest(_, entries) -> listSize feedback 8 entries.Length
        | ReceiverEstimatedMaxBitrate(_, _, ssrcs) -> feedback + 8 + 4 * min RtcpFeedback.MaxRembSsrcs ssrcs.Length
        | ExtendedReport(_, blocks) -> extendedSize blocks
        | OtherRtcp(_, _, content) -> dataSize RtcpLimits.Head content

    /// The packet type, and the five bits of count or format.
    let private headOf (packet: Rtcp) : struct (byte * int) =
        match packet with
        | SenderReport(_, _, blocks) -> struct (200uy, min RtcpLimits.MaxCount blocks.Length)
        | ReceiverReport(_, blocks) -> struct (201uy, min RtcpLimits.MaxCount blocks.Length)
        | SourceDescription chunks -> struct (202uy, RtcpReports.chunksFitting RtcpLimits.MaxSize 0 chunks)
        | Goodbye(sources, _) -> struct (203uy, min RtcpLimits.MaxCount sources.Length)
        | ApplicationDefined(subtype, _, _, _) -> struct (204uy, int subtype)
        | Nack _ -> struct (205uy, 1)
        | Tmmbr _ -> struct (205uy, 3)
        | Tmmbn _ -> struct (205uy, 4)
        | RapidResynchronization _ -> struct (205uy, 5)
        | CongestionFeedback _ -> struct (205uy, 11)
        | TransportCc _ -> struct (205uy, 15)
        | PictureLossIndication _ -> struct (206uy, 1)
        | SliceLossIndication _ -> struct (206uy, 2)
        | ReferencePictureSelection _ -> struct (206uy, 3)
        | FullIntraRequest _ -> struct (206uy, 4)
        | ReceiverEstimatedMaxBitrate _ -> struct (206uy, 15)
        | ExtendedReport _ -> struct (207uy, 0)
        | OtherRtcp(kind, count, _) -> struct (kind, int count)

    let private writeData (writer: byref<Writer>) (size: int) (data: ReadOnlyMemory<byte>) : unit =
        let left = size - writer.Written
        let length = min left data.Length
        writer.Bytes(data.Span.Slice(0, length))
        writer.Zeros(left - length)

    let private writeContent (writer: byref<Writer>) (size: int) (packet: Rtcp) : unit =
        match packet with
        | SenderReport(ssrc, info, blocks) -> RtcpReports.writeSenderReport &writer ssrc info blocks
        | ReceiverReport(ssrc, blocks) -> RtcpReports.writeReceiverReport &writer ssrc blocks
        | SourceDescription chunks ->
            RtcpReports.writeDescription &writer chunks (RtcpReports.chunksFitting RtcpLimits.MaxSize 0 chunks)
        | Goodbye(sources, reason) -> RtcpReports.writeGoodbye &writer sources reason
        | ApplicationDefined(_, ssrc, name, data) ->
            RtcpReports.writeApplication &writer ssrc name (data.Span.Slice(0, min data.Length (size - 12)))
        | Nack(sender, media, lost) ->
            writer.UInt32 sender
            writer.UInt32 media

            for i in 0 .. RtcpLimits.fitting RtcpFeedback.Head 4 lost.Length - 1 do
                writer.UInt16 lost[i].PacketId
                writer.UInt16 lost[i].Bitmask
        | RapidResynchronization(sender, media)
        | PictureLossIndication(sender, media) ->
            writer.UInt32 sender
            writer.UInt32 media
        | TransportCc it ->
            writer.UInt32 it.Sender
            writer.UInt32 it.Media
            RtcpTransportCc.write &writer it
        | CongestionFeedback(sender, streams, timestamp) ->
            RtcpFeedback.writeCongestion &writer sender streams timestamp
        | Tmmbr(sender, entries)
        | Tmmbn(sender, entries) ->
            writer.UInt32 sender
            writer.UInt32 0u
            RtcpFeedback.writeTmmb &writer entries
        | SliceLossIndication(sender, media, slices) ->
            writer.UInt32 sender
            writer.UInt32 media

            for i in 0 .. RtcpLimits.fitting RtcpFeedback.Head 4 slices.Length - 1 do
                writer.UInt32 slices[i]
        | ReferencePictureSelection(sender, media, indication) ->
            writer.UInt32 sender
            writer.UInt32 media
            writeData &writer size indication
        | FullIntraRequest(sender, entries) ->
            writer.UInt32 sender
            writer.UInt32 0u
            RtcpFeedback.writeFir &writer entries
        | ReceiverEstimatedMaxBitrate(sender, bitrate, ssrcs) ->
            writer.UInt32 sender
            writer.UInt32 0u
            RtcpFeedback.writeRemb &writer bitrate ssrcs
        | ExtendedReport(ssrc, blocks) ->
            writer.UInt32 ssrc

            for i in 0 .. RtcpExtended.blocksFitting RtcpLimits.MaxSize 0 blocks - 1 do
                RtcpExtended.writeBlock &writer blocks[i]
        | OtherRtcp(_, _, content) -> writeData &writer size content

    /// Writes one packet into lent memory of at least `size` octets; answers the octets written. What no packet has room for is
    /// left out: reports, chunks and sources past the 31st (`split` makes more packets of them), texts past 255 octets, numbers
    /// outside of their fields.
    [<CompiledName "Write">]
    let write (packet: Rtcp) (into: Span<byte>) : int =
        let size = size packet
        let struct (kind, count) = headOf packet
        let mutable writer = Writer(into.Slice(0, size))
        writer.Byte(0x80uy ||| (byte count &&& 0x1Fuy))
        writer.Byte kind
        writer.UInt16(uint16 (size / 4 - 1))
        writeContent &writer size packet
        writer.Written

    /// Octets that `writeAll` fills.
    [<CompiledName "SizeAll">]
    let sizeAll (packets: Rtcp[]) : int =
        let mutable sum = 0

        for packet in packets do
            sum <- sum + size packet

        sum

    /// Writes packets one behind the other into lent memory of at least `sizeAll` octets; answers the octets written. A compound
    /// packet begins with a report, RFC 3550 §6.1: that is the caller's to see to.
    [<CompiledName "WriteAll">]
    let writeAll (packets: Rtcp[]) (into: Span<byte>) : int =
        let mutable written = 0

        for packet in packets do
            written <- written + write packet (into.Slice written)

        written
