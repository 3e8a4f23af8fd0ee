namespace Hybrid.WebRtc.Rtp

open System
open System.Text
open Hybrid.WebRtc.Core

/// What one RTCP packet has room for.
[<RequireQualifiedAccess>]
module internal RtcpLimits =
    /// Octets of the head: version, P, count, type, length.
    [<Literal>]
    let Head = 4

    /// The length field counts words of four octets, the head's excluded, RFC 3550 §6.4.1.
    [<Literal>]
    let MaxSize = 262_144

    /// Of the five bits behind V and P.
    [<Literal>]
    let MaxCount = 31

    /// How many of `count` items of a size fit behind `fixedSize` octets.
    let fitting (fixedSize: int) (itemSize: int) (count: int) : int =
        min count ((MaxSize - fixedSize) / itemSize)

    /// Octets up to the next multiple of four.
    let inline padded (length: int) = (length + 3) &&& ~~~3

/// Texts of at most 255 octets, as descriptions and reasons are, RFC 3550 §6.5 and §6.6.
[<RequireQualifiedAccess>]
module internal RtcpText =
    /// UTF-8, cut at a character's end where there is more than fits.
    let encode (text: string) : ReadOnlySpan<byte> =
        let bytes = Encoding.UTF8.GetBytes text

        if bytes.Length <= 255 then
            ReadOnlySpan bytes
        else
            let mutable cut = 255

            while cut > 0 && bytes[cut] &&& 0xC0uy = 0x80uy do
                cut <- cut - 1

            ReadOnlySpan(bytes, 0, cut)

    /// Octets that `encode` answers.
    let size (text: string) : int =
        let whole = Encoding.UTF8.GetByteCount text
        if whole <= 255 then whole else (encode text).Length

    /// The text of so many octets; what is not UTF-8 becomes U+FFFD.
    let read (reader: byref<Reader>) (length: int) : string =
        Encoding.UTF8.GetString(reader.Bytes length)

/// Sender and receiver reports, descriptions, BYE and APP, RFC 3550 §6.4 to §6.7. A reader is given what lies behind the
/// head, without padding; a writer writes what lies behind the head.
[<RequireQualifiedAccess>]
module internal RtcpReports =
    /// Octets of a report block.
    [<Literal>]
    let ReportSize = 24

    /// Octets of what a sender says of itself.
    [<Literal>]
    let SenderInfoSize = 20

    let private readReport (reader: byref<Reader>) : ReceptionReport =
        { Ssrc = reader.UInt32()
          FractionLost = reader.Byte()
          // The sign of 24 bits.
          CumulativeLost = (reader.UInt24() <<< 8) >>> 8
          HighestSequence = reader.UInt32()
          Jitter = reader.UInt32()
          LastSenderReport = reader.UInt32()
          DelaySinceLastSenderReport = reader.UInt32() }

    /// ValueNone: fewer than the head counts. What follows them is a profile's own, RFC 3550 §6.4.3.
    let private readReports (count: int) (reader: byref<Reader>) : ReceptionReport[] voption =
        if not reader.Ok || reader.Remaining < count * ReportSize then
            ValueNone
        else
            let reports = Array.zeroCreate<ReceptionReport> count

            for i in 0 .. count - 1 do
                reports[i] <- readReport &reader

            ValueSome reports

    let private writeReports (writer: byref<Writer>) (reports: ReceptionReport[]) : unit =
        for i in 0 .. min RtcpLimits.MaxCount reports.Length - 1 do
            let report = reports[i]
            writer.UInt32 report.Ssrc
            writer.Byte report.FractionLost
            writer.UInt24(max -0x80_0000 (min 0x7F_FFFF report.CumulativeLost))
            writer.UInt32 report.HighestSequence
            writer.UInt32 report.Jitter
            writer.UInt32 report.LastSenderReport
            writer.UInt32 report.DelaySinceLastSenderReport

    let readSenderReport (count: int) (content: ReadOnlySpan<byte>) : Rtcp voption =
        let mutable reader = Reader content
        let ssrc = reader.UInt32()

        let info =
            { NtpTime = reader.UInt64()
              RtpTime = reader.UInt32()
              PacketCount = reader.UInt32()
              OctetCount = reader.UInt32() }

        match readReports count &reader with
        | ValueSome reports -> ValueSome(SenderReport(ssrc, info, reports))
        | ValueNone -> ValueNone

    let writeSenderReport
        (writer: byref<Writer>)
        (ssrc: uint32)
        (info: SenderInfo)
        (reports: ReceptionReport[])
        : unit =
        writer.UInt32 ssrc
        writer.UInt64 info.NtpTime
        writer.UInt32 info.RtpTime
        writer.UInt32 info.PacketCount
        writer.UInt32 info.OctetCount
        writeReports &writer reports

    let readReceiverReport (count: int) (content: ReadOnlySpan<byte>) : Rtcp voption =
        let mutable reader = Reader content
        let ssrc = reader.UInt32()

        match readReports count &reader with
        | ValueSome reports -> ValueSome(ReceiverReport(ssrc, reports))
        | ValueNone -> ValueNone

    let writeReceiverReport (writer: byref<Writer>) (ssrc: uint32) (reports: ReceptionReport[]) : unit =
        writer.UInt32 ssrc
        writeReports &writer reports

    /// Octets of a chunk, at least one octet of zero and padding included.
    let chunkSize (chunk: SdesChunk) : int =
        let mutable size = 4

        for item in chunk.Items do
            // Type 0 would end the list.
            if item.Type <> 0uy then
                size <- size + 2 + RtcpText.size item.Text

        RtcpLimits.padded (size + 1)

    let readDescription (count: int) (content: ReadOnlySpan<byte>) : Rtcp voption =
        let mutable reader = Reader content
        let chunks = ResizeArray<SdesChunk> count
        let mutable left = count

        while left > 0 && reader.Ok do
            let start = reader.Remaining
            let source = reader.UInt32()
            let items = ResizeArray<SdesItem>()
            let mutable kind = reader.Byte()

            while kind <> 0uy && reader.Ok do
                let length = int (reader.Byte())

                items.Add
                    { Type = kind
                      Text = RtcpText.read &reader length }

                kind <- reader.Byte()

            // The zeros up to the next multiple of four.
            let read = start - reader.Remaining
            reader.Skip(RtcpLimits.padded read - read)

            chunks.Add
                { Source = source
                  Items = items.ToArray() }

            left <- left - 1

        if reader.Ok then
            ValueSome(SourceDescription(chunks.ToArray()))
        else
            ValueNone

    let writeDescription (writer: byref<Writer>) (chunks: SdesChunk[]) (count: int) : unit =
        for i in 0 .. count - 1 do
            let start = writer.Written
            writer.UInt32 chunks[i].Source

            for item in chunks[i].Items do
                if item.Type <> 0uy then
                    let text = RtcpText.encode item.Text
                    writer.Byte item.Type
                    writer.Byte(byte text.Length)
                    writer.Bytes text

            let written = writer.Written - start
            writer.Zeros(RtcpLimits.padded (written + 1) - written)

    /// How many chunks fit, by count and by octets.
    let chunksFitting (limit: int) (from: int) (chunks: SdesChunk[]) : int =
        let mutable size = RtcpLimits.Head
        let mutable count = 0
        let mutable fits = true

        while fits && count < RtcpLimits.MaxCount && from + count < chunks.Length do
            size <- size + chunkSize chunks[from + count]
            fits <- size <= limit

            if fits then
                count <- count + 1

        count

    /// Octets of a reason, its length octet and padding included.
    let reasonSize (reason: string) : int =
        if reason = "" then
            0
        else
            RtcpLimits.padded (1 + RtcpText.size reason)

    let readGoodbye (count: int) (content: ReadOnlySpan<byte>) : Rtcp voption =
        let mutable reader = Reader content
        let sources = Array.zeroCreate<uint32> count

        for i in 0 .. count - 1 do
            sources[i] <- reader.UInt32()

        let reason =
            if reader.Ok && reader.Remaining > 0 then
                let length = int (reader.Byte())
                RtcpText.read &reader length
            else
                ""

        if reader.Ok then
            ValueSome(Goodbye(sources, reason))
        else
            ValueNone

    let writeGoodbye (writer: byref<Writer>) (sources: uint32[]) (reason: string) : unit =
        for i in 0 .. min RtcpLimits.MaxCount sources.Length - 1 do
            writer.UInt32 sources[i]

        if reason <> "" then
            let text = RtcpText.encode reason
            writer.Byte(byte text.Length)
            writer.Bytes text
            writer.Zeros(reasonSize reason - 1 - text.Length)

    let readApplication (subtype: int) (content: ReadOnlySpan<byte>) : Rtcp voption =
        if content.Length < 8 then
            ValueNone
        else
            let mutable reader = Reader content
            let ssrc = reader.UInt32()
            let name = Encoding.Latin1.GetString(reader.Bytes 4)
            ValueSome(ApplicationDefined(byte subtype, ssrc, name, ReadOnlyMemory(reader.ToEnd().ToArray())))

    let writeApplication (writer: byref<Writer>) (ssrc: uint32) (name: string) (data: ReadOnlySpan<byte>) : unit =
        writer.UInt32 ssrc

        // Four characters: a longer name is cut, a shorter one filled with spaces.
        for i in 0..3 do
            let character = if i < name.Length then name[i] else ' '
            writer.Byte(if character < '\u0100' then byte character else 0x3Fuy)

        writer.Bytes data
        writer.Zeros(RtcpLimits.padded data.Length - data.Length)
