namespace Hybrid.WebRtc.Rtp

open System
open Hybrid.WebRtc.Core

/// Transport-wide congestion control feedback, draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1: what lies behind the
/// two SSRCs.
///
///      0               8              16                              31
///     |     Base Sequence Number      |      Packet Status Count      |
///     |              Reference Time                   | Feedback Count|
///     |         Packet Chunk          |         Packet Chunk          |
///     |  Receive Delta (1 or 2 octets a received packet)  |   zeros   |
///
///     |0| S |       Run Length        |     one symbol, 0 to 8,191 times
///     |1|0|    14 symbols of 1 bit    |     0: not received, 1: small delta
///     |1|1|     7 symbols of 2 bits   |
[<RequireQualifiedAccess>]
module internal RtcpTransportCc =
    /// Octets before the chunks, the SSRCs not included.
    [<Literal>]
    let private FixedSize = 8

    [<Literal>]
    let private MaxRun = 0x1FFF

    /// Packets that the count field can say.
    [<Literal>]
    let private MaxPackets = 65_535

    /// 0: not received; 1: a delta of one octet, unsigned; 2: one of two octets, signed.
    let inline private symbol (arrival: PacketArrival) : int =
        if not arrival.Received then 0
        elif arrival.Delta >= 0s && arrival.Delta <= 255s then 1
        else 2

    /// The next chunk for the packets from `at`, and how many of them it covers: whichever form covers most.
    let private chunk (packets: PacketArrival[]) (count: int) (at: int) : struct (uint16 * int) =
        let first = symbol packets[at]
        let mutable run = 1

        while run < MaxRun && at + run < count && symbol packets[at + run] = first do
            run <- run + 1

        let ahead = min 14 (count - at)
        let mutable small = if first = 2 then 0 else min run ahead

        while small > 0 && small < ahead && symbol packets[at + small] <> 2 do
            small <- small + 1

        let vector = if small = ahead then ahead else min 7 (count - at)

        if run >= vector then
            struct (uint16 ((first <<< 13) ||| run), run)
        elif small = ahead then
            let mutable bits = 0x8000

            for i in 0 .. ahead - 1 do
                bits <- bits ||| (symbol packets[at + i] <<< (13 - i))

            struct (uint16 bits, ahead)
        else
            let mutable bits = 0xC000

            for i in 0 .. vector - 1 do
                bits <- bits ||| (symbol packets[at + i] <<< (12 - 2 * i))

            struct (uint16 bits, vector)

    /// Octets that `write` fills, padding included.
    let size (packets: PacketArrival[]) : int =
        let count = min MaxPackets packets.Length
        let mutable size = FixedSize
        let mutable at = 0

        while at < count do
            let struct (_, covered) = chunk packets count at
            size <- size + 2
            at <- at + covered

        for i in 0 .. count - 1 do
            size <- size + symbol packets[i]

        RtcpLimits.padded size

    let write (writer: byref<Writer>) (feedback: TransportFeedback) : unit =
        let packets = feedback.Packets
        let count = min MaxPackets packets.Length
        let start = writer.Written
        writer.UInt16 feedback.BaseSequence
        writer.UInt16(uint16 count)
        writer.UInt24 feedback.ReferenceTime
        writer.Byte feedback.FeedbackCount
        let mutable at = 0

        while at < count do
            let struct (bits, covered) = chunk packets count at
            writer.UInt16 bits
            at <- at + covered

        for i in 0 .. count - 1 do
            match symbol packets[i] with
            | 0 -> ()
            | 1 -> writer.Byte(byte packets[i].Delta)
            | _ -> writer.UInt16(uint16 packets[i].Delta)

        let written = writer.Written - start
        writer.Zeros(RtcpLimits.padded written - written)

    /// Puts one symbol into the list; its size stands in the delta's place for now.
    let inline private mark (packets: PacketArrival[]) (at: int) (symbol: int) : unit =
        packets[at] <-
            { Received = symbol <> 0
              Delta = int16 symbol }

    /// `budget`: packets that may still be reported on; less by what this one does. ValueNone: chunks or deltas are missing, a
    /// symbol is the reserved one, or the budget does not reach: a run of 8,191 takes two octets.
    let read
        (sender: uint32)
        (media: uint32)
        (content: ReadOnlySpan<byte>)
        (budget: byref<int>)
        : TransportFeedback voption =
        let mutable reader = Reader content
        let baseSequence = reader.UInt16()
        let count = int (reader.UInt16())
        let referenceTime = (reader.UInt24() <<< 8) >>> 8
        let feedbackCount = reader.Byte()

        if not reader.Ok || count > budget then
            ValueNone
        else
            budget <- budget - count
            let packets = Array.zeroCreate<PacketArrival> count
            let mutable at = 0
            let mutable sound = true

            while at < count && sound && reader.Ok do
                let bits = int (reader.UInt16())

                if bits &&& 0x8000 = 0 then
                    let last = min count (at + (bits &&& MaxRun))
                    let symbol = (bits >>> 13) &&& 3
                    sound <- symbol <> 3

                    while at < last do
                        mark packets at symbol
                        at <- at + 1
                else
                    let width = if bits &&& 0x4000 = 0 then 1 else 2
                    let mutable shift = 14 - width

                    while shift >= 0 && at < count do
                        let symbol = (bits >>> shift) &&& (if width = 1 then 1 else 3)
                        sound <- sound && symbol <> 3
                        mark packets at symbol
                        at <- at + 1
                        shift <- shift - width

            if sound && reader.Ok then
                for i in 0 .. count - 1 do
                    match packets[i].Delta with
                    | 0s -> ()
                    | 1s ->
                        packets[i] <-
                            { Received = true
                              Delta = int16 (reader.Byte()) }
                    | _ ->
                        packets[i] <-
                            { Received = true
                              Delta = int16 (reader.UInt16()) }

            if sound && reader.Ok then
                ValueSome
                    { Sender = sender
                      Media = media
                      BaseSequence = baseSequence
                      ReferenceTime = referenceTime
                      FeedbackCount = feedbackCount
                      Packets = packets }
            else
                ValueNone
