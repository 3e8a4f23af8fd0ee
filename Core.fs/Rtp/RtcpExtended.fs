namespace Hybrid.WebRtc.Rtp

open System
open Hybrid.WebRtc.Core

/// The blocks of extended reports, RFC 3611 §3 and §4.
///
///      0               8              16                              31
///     |      BT       | Type-specific |  Length (words behind these)  |
///     |                             Content                           |
[<RequireQualifiedAccess>]
module internal RtcpExtended =
    [<Literal>]
    let private BlockHead = 4

    /// Of a block's content, as its length field counts.
    [<Literal>]
    let private MaxContent = 262_140

    /// Octets of voice metrics, RFC 3611 §4.7.
    [<Literal>]
    let private VoipSize = 32

    let private items (fixedSize: int) (itemSize: int) (count: int) =
        min count ((MaxContent - fixedSize) / itemSize)

    let private contentSize (block: XrBlock) : int =
        match block with
        | LossRle rle
        | DuplicateRle rle -> RtcpLimits.padded (8 + 2 * items 8 2 rle.Chunks.Length)
        | ReceiptTimes(_, _, _, _, times) -> 8 + 4 * items 8 4 times.Length
        | ReceiverReferenceTime _ -> 8
        | Dlrr entries -> 12 * items 0 12 entries.Length
        | Summary _ -> 36
        | VoipMetrics _ -> VoipSize
        | OtherBlock(_, _, content) -> RtcpLimits.padded (min MaxContent content.Length)

    /// Octets of a block.
    let blockSize (block: XrBlock) : int = BlockHead + contentSize block

    /// How many blocks fit behind the SSRC.
    let blocksFitting (limit: int) (from: int) (blocks: XrBlock[]) : int =
        let mutable size = RtcpLimits.Head + 4
        let mutable count = 0
        let mutable fits = true

        while fits && from + count < blocks.Length do
            size <- size + blockSize blocks[from + count]
            fits <- size <= limit

            if fits then
                count <- count + 1

        count

    let private writeRun (writer: byref<Writer>) (ssrc: uint32) (beginSequence: uint16) (endSequence: uint16) : unit =
        writer.UInt32 ssrc
        writer.UInt16 beginSequence
        writer.UInt16 endSequence

    let private writeRle (writer: byref<Writer>) (rle: XrRle) : unit =
        writeRun &writer rle.Ssrc rle.Begin rle.End
        let count = items 8 2 rle.Chunks.Length

        for i in 0 .. count - 1 do
            writer.UInt16 rle.Chunks[i]

        // A null chunk fills the last word, RFC 3611 §4.1.3.
        writer.Zeros(2 * (count &&& 1))

    let private writeSummary (writer: byref<Writer>) (summary: XrSummary) : unit =
        writeRun &writer summary.Ssrc summary.Begin summary.End
        writer.UInt32 summary.LostPackets
        writer.UInt32 summary.DuplicatePackets
        writer.UInt32 summary.MinJitter
        writer.UInt32 summary.MaxJitter
        writer.UInt32 summary.MeanJitter
        writer.UInt32 summary.DeviationJitter
        writer.Byte summary.MinTtl
        writer.Byte summary.MaxTtl
        writer.Byte summary.MeanTtl
        writer.Byte summary.DeviationTtl

    let private typeOf (block: XrBlock) : struct (byte * byte) =
        match block with
        | LossRle rle -> struct (1uy, rle.Thinning &&& 0x0Fuy)
        | DuplicateRle rle -> struct (2uy, rle.Thinning &&& 0x0Fuy)
        | ReceiptTimes(_, thinning, _, _, _) -> struct (3uy, thinning &&& 0x0Fuy)
        | ReceiverReferenceTime _ -> struct (4uy, 0uy)
        | Dlrr _ -> struct (5uy, 0uy)
        | Summary summary -> struct (6uy, summary.Flags)
        | VoipMetrics _ -> struct (7uy, 0uy)
        | OtherBlock(kind, specific, _) -> struct (kind, specific)

    let writeBlock (writer: byref<Writer>) (block: XrBlock) : unit =
        let struct (kind, specific) = typeOf block
        let size = contentSize block
        writer.Byte kind
        writer.Byte specific
        writer.UInt16(uint16 (size / 4))

        match block with
        | LossRle rle
        | DuplicateRle rle -> writeRle &writer rle
        | ReceiptTimes(ssrc, _, beginSequence, endSequence, times) ->
            writeRun &writer ssrc beginSequence endSequence

            for i in 0 .. items 8 4 times.Length - 1 do
                writer.UInt32 times[i]
        | ReceiverReferenceTime time -> writer.UInt64 time
        | Dlrr entries ->
            for i in 0 .. items 0 12 entries.Length - 1 do
                writer.UInt32 entries[i].Ssrc
                writer.UInt32 entries[i].LastReceiverReport
                writer.UInt32 entries[i].DelaySinceLastReceiverReport
        | Summary summary -> writeSummary &writer summary
        | VoipMetrics content
        | OtherBlock(_, _, content) ->
            let length = min size content.Length
            writer.Bytes(content.Span.Slice(0, length))
            writer.Zeros(size - length)

    let private readRle (specific: byte) (reader: byref<Reader>) : XrRle =
        let ssrc = reader.UInt32()
        let beginSequence = reader.UInt16()
        let endSequence = reader.UInt16()
        let chunks = Array.zeroCreate<uint16>(reader.Remaining / 2)

        for i in 0 .. chunks.Length - 1 do
            chunks[i] <- reader.UInt16()

        { Ssrc = ssrc
          Thinning = specific &&& 0x0Fuy
          Begin = beginSequence
          End = endSequence
          Chunks = chunks }

    let private readTimes (specific: byte) (reader: byref<Reader>) : XrBlock =
        let ssrc = reader.UInt32()
        let beginSequence = reader.UInt16()
        let endSequence = reader.UInt16()
        let times = Array.zeroCreate<uint32>(reader.Remaining / 4)

        for i in 0 .. times.Length - 1 do
            times[i] <- reader.UInt32()

        ReceiptTimes(ssrc, specific &&& 0x0Fuy, beginSequence, endSequence, times)

    let private readDlrr (reader: byref<Reader>) : XrBlock =
        let entries = Array.zeroCreate<DlrrEntry>(reader.Remaining / 12)

        for i in 0 .. entries.Length - 1 do
            entries[i] <-
                { Ssrc = reader.UInt32()
                  LastReceiverReport = reader.UInt32()
                  DelaySinceLastReceiverReport = reader.UInt32() }

        Dlrr entries

    let private readSummary (specific: byte) (reader: byref<Reader>) : XrBlock =
        Summary
            { Ssrc = reader.UInt32()
              Flags = specific
              Begin = reader.UInt16()
              End = reader.UInt16()
              LostPackets = reader.UInt32()
              DuplicatePackets = reader.UInt32()
              MinJitter = reader.UInt32()
              MaxJitter = reader.UInt32()
              MeanJitter = reader.UInt32()
              DeviationJitter = reader.UInt32()
              MinTtl = reader.Byte()
              MaxTtl = reader.Byte()
              MeanTtl = reader.Byte()
              DeviationTtl = reader.Byte() }

    /// A block whose length is not what its type wants stays as it is, RFC 3611 §3: the others count.
    let private readBlock (kind: byte) (specific: byte) (content: ReadOnlySpan<byte>) : XrBlock =
        let mutable reader = Reader content

        match kind with
        | 1uy when content.Length >= 8 -> LossRle(readRle specific &reader)
        | 2uy when content.Length >= 8 -> DuplicateRle(readRle specific &reader)
        | 3uy when content.Length >= 8 -> readTimes specific &reader
        | 4uy when content.Length = 8 -> ReceiverReferenceTime(reader.UInt64())
        | 5uy when content.Length % 12 = 0 -> readDlrr &reader
        | 6uy when content.Length = 36 -> readSummary specific &reader
        | 7uy when content.Length = VoipSize -> VoipMetrics(ReadOnlyMemory(content.ToArray()))
        | _ -> OtherBlock(kind, specific, ReadOnlyMemory(content.ToArray()))

    /// What lies behind an extended report's head. ValueNone: a block reaches past the end.
    let read (content: ReadOnlySpan<byte>) : Rtcp voption =
        let mutable reader = Reader content
        let ssrc = reader.UInt32()
        let blocks = ResizeArray<XrBlock>()

        while not reader.AtEnd do
            let kind = reader.Byte()
            let specific = reader.Byte()
            let length = 4 * int (reader.UInt16())
            let content = reader.Bytes length

            if reader.Ok then
                blocks.Add(readBlock kind specific content)

        if reader.Ok then
            ValueSome(ExtendedReport(ssrc, blocks.ToArray()))
        else
            ValueNone
