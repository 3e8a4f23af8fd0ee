namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// Payload Data, RFC 9260 §3.3.1, and I-DATA, RFC 8260 §2.1, which takes its place where both ends know it. Kept apart from
/// the other chunks: there are a thousand of it for one of them.
///
///      0               8              16                              31
///     |   Type = 0    |  Res  |I|U|B|E|            Length             |
///     |                              TSN                              |
///     |      Stream Identifier S      |   Stream Sequence Number n    |
///     |                  Payload Protocol Identifier                  |
///     |                           User Data                           |
///
///      0               8              16                              31
///     |   Type = 64   |  Res  |I|U|B|E|       Length = Variable       |
///     |                              TSN                              |
///     |        Stream Identifier      |           Reserved            |
///     |                      Message Identifier                       |
///     |    Payload Protocol Identifier / Fragment Sequence Number     |
///     |                           User Data                           |
[<Struct; NoComparison; NoEquality>]
type internal Data =
    {
        /// I-DATA.
        Interleaved: bool
        Flags: byte
        Stream: uint16
        Tsn: Tsn
        /// Of DATA, the SSN.
        Mid: Mid
        /// 0 in the first fragment of an I-DATA message, and in DATA, whose fragments are numbered by TSN.
        Fsn: uint32
        /// 0 in all but the first fragment of an I-DATA message: the field holds the FSN there.
        Ppid: uint32
        /// A part of the user's message: lent when read, a reference into the message when sent.
        Payload: ReadOnlyMemory<byte>
    }

/// Flags of a DATA or I-DATA chunk, RFC 9260 §3.3.1.
[<RequireQualifiedAccess>]
module internal Flag =
    /// The last fragment of a message.
    [<Literal>]
    let End = 0x01uy

    /// The first fragment of a message.
    [<Literal>]
    let Begin = 0x02uy

    /// Unordered.
    [<Literal>]
    let Unordered = 0x04uy

    /// Acknowledge at once, RFC 7053.
    [<Literal>]
    let Immediate = 0x08uy

    /// A message in one chunk.
    [<Literal>]
    let Whole = 0x03uy

    let inline has (flag: byte) (flags: byte) = flags &&& flag <> 0uy

/// TSNs that arrived beyond the cumulative one, as offsets from it, both included. RFC 9260 §3.3.4.
[<Struct>]
type internal GapAckBlock = { Start: uint16; End: uint16 }

/// Selective Acknowledgement, RFC 9260 §3.3.4.
///
///      0               8              16                              31
///     |   Type = 3    |     Flags     |            Length             |
///     |                      Cumulative TSN Ack                       |
///     |          Advertised Receiver Window Credit (a_rwnd)           |
///     | Number of Gap Ack Blocks = N  |  Number of Duplicate TSNs = M |
///     |    Gap Ack Block #1 Start     |     Gap Ack Block #1 End      |
///     |                        Duplicate TSN 1                        |
[<Struct; NoComparison; NoEquality>]
type internal Sack =
    {
        CumulativeTsnAck: Tsn
        /// Octets that the sender of the SACK still has room for.
        AdvertisedReceiverWindow: uint32
        /// Ascending and apart, as `Chunk.read` has checked.
        GapAckBlocks: GapAckBlock[]
        DuplicateTsns: Tsn[]
    }

/// Initiation and its acknowledgement, RFC 9260 §3.3.2, §3.3.3.
///
///      0               8              16                              31
///     |   Type = 1, 2 |     Flags     |            Length             |
///     |                         Initiate Tag                          |
///     |          Advertised Receiver Window Credit (a_rwnd)           |
///     |  Number of Outbound Streams   |   Number of Inbound Streams   |
///     |                          Initial TSN                          |
///     |                          Parameters                           |
[<NoComparison; NoEquality>]
type internal Init =
    { InitiateTag: uint32
      AdvertisedReceiverWindow: uint32
      OutboundStreams: uint16
      InboundStreams: uint16
      InitialTsn: Tsn
      Parameters: Tlv list }

/// The last message that was abandoned on a stream: ordered ones in FORWARD TSN, RFC 3758 §3.2, both kinds in I-FORWARD-TSN,
/// RFC 8260 §2.3.1.
[<Struct; NoComparison>]
type internal Skip =
    {
        Stream: uint16
        Unordered: bool
        /// Of FORWARD TSN, the SSN.
        Mid: Mid
    }

/// Every chunk but DATA and I-DATA. Memory is lent when read.
[<NoComparison; NoEquality>]
type internal Chunk =
    | Init of Init
    | InitAck of Init
    | Sack of Sack
    | Heartbeat of information: ReadOnlyMemory<byte>
    | HeartbeatAck of information: ReadOnlyMemory<byte>
    /// `reflected`: the T bit, the verification tag is the receiver's own, RFC 9260 §8.5.1.
    | Abort of reflected: bool * causes: Tlv list
    | Shutdown of cumulativeTsnAck: Tsn
    | ShutdownAck
    | Error of causes: Tlv list
    | CookieEcho of cookie: ReadOnlyMemory<byte>
    | CookieAck
    | ShutdownComplete of reflected: bool
    /// RFC 6525 §3.1, one or two of them.
    | Reconfig of Tlv list
    /// RFC 3758 §3.2.
    ///
    ///     |   Type = 192  |  Flags = 0x00 |        Length = Variable      |
    ///     |                      New Cumulative TSN                       |
    ///     |         Stream-1              |       Stream Sequence-1       |
    | ForwardTsn of newCumulativeTsn: Tsn * skipped: Skip[]
    /// RFC 8260 §2.3.1.
    ///
    ///     |   Type = 194  | Flags = 0x00  |      Length = Variable        |
    ///     |                       New Cumulative TSN                      |
    ///     |       Stream Identifier       |          Reserved           |U|
    ///     |                       Message Identifier                      |
    | IForwardTsn of newCumulativeTsn: Tsn * skipped: Skip[]
    /// Padding, RFC 4820 §3: `length` octets that mean nothing, after the header.
    ///
    ///     | Type = 0x84   |   Flags = 0   |             Length            |
    ///     |                         Padding Data                          |
    | Pad of length: int
    /// A type that we do not know; `whole` is the chunk with its header.
    | Unknown of kind: byte * whole: ReadOnlyMemory<byte>

/// Chunk types.
[<RequireQualifiedAccess>]
module internal Kind =
    [<Literal>]
    let Data = 0uy

    [<Literal>]
    let Init = 1uy

    [<Literal>]
    let InitAck = 2uy

    [<Literal>]
    let Sack = 3uy

    [<Literal>]
    let Heartbeat = 4uy

    [<Literal>]
    let HeartbeatAck = 5uy

    [<Literal>]
    let Abort = 6uy

    [<Literal>]
    let Shutdown = 7uy

    [<Literal>]
    let ShutdownAck = 8uy

    [<Literal>]
    let Error = 9uy

    [<Literal>]
    let CookieEcho = 10uy

    [<Literal>]
    let CookieAck = 11uy

    [<Literal>]
    let ShutdownComplete = 14uy

    /// RFC 8260 §2.1.
    [<Literal>]
    let IData = 0x40uy

    /// RFC 6525 §3.1.
    [<Literal>]
    let Reconfig = 0x82uy

    /// RFC 4820 §3.
    [<Literal>]
    let Pad = 0x84uy

    /// RFC 3758 §3.2.
    [<Literal>]
    let ForwardTsn = 0xc0uy

    /// RFC 8260 §2.3.1.
    [<Literal>]
    let IForwardTsn = 0xc2uy

[<RequireQualifiedAccess>]
module internal Data =
    /// Octets before the user's in DATA.
    [<Literal>]
    let HeaderSize = 16

    /// The same in I-DATA.
    [<Literal>]
    let InterleavedHeaderSize = 20

    /// Octets before the user's.
    let inline headerSize (interleaved: bool) =
        if interleaved then InterleavedHeaderSize else HeaderSize

    /// Octets on the wire of a chunk with this much user data, padding included.
    let inline sizeOf (interleaved: bool) (payload: int) =
        Tlv.padded (headerSize interleaved + payload)

    let size (data: Data) : int =
        sizeOf data.Interleaved data.Payload.Length

    /// The type of the chunks that carry messages.
    let inline kind (interleaved: bool) =
        if interleaved then Kind.IData else Kind.Data

    let write (writer: byref<Writer>) (data: Data) : unit =
        let length = data.Payload.Length
        writer.Byte(kind data.Interleaved)
        writer.Byte data.Flags
        writer.UInt16(uint16 (headerSize data.Interleaved + length))
        writer.UInt32(Tsn.value data.Tsn)
        writer.UInt16 data.Stream

        if data.Interleaved then
            writer.UInt16 0us
            writer.UInt32(Mid.value data.Mid)

            writer.UInt32(
                if Flag.has Flag.Begin data.Flags then
                    data.Ppid
                else
                    data.Fsn
            )
        else
            writer.UInt16(Ssn.value (Mid.toSsn data.Mid))
            writer.UInt32 data.Ppid

        writer.Bytes data.Payload.Span
        writer.Zeros(Tlv.padded length - length)

    /// ValueNone: shorter than its header. `whole` is the chunk with its header, without padding.
    let read (whole: ReadOnlyMemory<byte>) : Data voption =
        let mutable reader = Reader(whole.Span)
        let interleaved = reader.Byte() = Kind.IData
        let flags = reader.Byte()
        reader.Skip 2
        let tsn = reader.UInt32()
        let stream = reader.UInt16()
        let ssn = reader.UInt16()
        let mid = if interleaved then reader.UInt32() else uint32 ssn
        // PPID or FSN.
        let last = reader.UInt32()
        let isFsn = interleaved && not (Flag.has Flag.Begin flags)

        if reader.Ok then
            ValueSome
                { Interleaved = interleaved
                  Flags = flags
                  Stream = stream
                  Tsn = Tsn tsn
                  Mid = Mid mid
                  Fsn = if isFsn then last else 0u
                  Ppid = if isFsn then 0u else last
                  Payload = whole.Slice(headerSize interleaved) }
        else
            ValueNone

[<RequireQualifiedAccess>]
module internal Chunk =
    /// Octets of a chunk's header.
    [<Literal>]
    let HeaderSize = 4

    /// Octets that one skipped stream takes in FORWARD TSN or I-FORWARD-TSN.
    let skipSize (interleaved: bool) : int = if interleaved then 8 else 4

    /// Octets from header to end without padding: the Length field.
    let private length (chunk: Chunk) : int =
        match chunk with
        | Init init
        | InitAck init -> 20 + Tlv.sizeOfAll init.Parameters
        | Sack sack -> 16 + 4 * sack.GapAckBlocks.Length + 4 * sack.DuplicateTsns.Length
        // The information is a TLV of its own, which its writer has made.
        | Heartbeat information
        | HeartbeatAck information -> HeaderSize + information.Length
        | Abort(_, causes)
        | Error causes -> HeaderSize + Tlv.sizeOfAll causes
        | Shutdown _ -> 8
        | ShutdownAck
        | CookieAck
        | ShutdownComplete _ -> HeaderSize
        | CookieEcho cookie -> HeaderSize + cookie.Length
        | Reconfig parameters -> HeaderSize + Tlv.sizeOfAll parameters
        | ForwardTsn(_, skipped) -> 8 + skipSize false * skipped.Length
        | IForwardTsn(_, skipped) -> 8 + skipSize true * skipped.Length
        | Pad length -> HeaderSize + length
        | Unknown(_, whole) -> whole.Length

    /// Octets on the wire, padding included; a multiple of 4.
    let size (chunk: Chunk) : int = Tlv.padded (length chunk)

    let private kind (chunk: Chunk) : byte =
        match chunk with
        | Init _ -> Kind.Init
        | InitAck _ -> Kind.InitAck
        | Sack _ -> Kind.Sack
        | Heartbeat _ -> Kind.Heartbeat
        | HeartbeatAck _ -> Kind.HeartbeatAck
        | Abort _ -> Kind.Abort
        | Shutdown _ -> Kind.Shutdown
        | ShutdownAck -> Kind.ShutdownAck
        | Error _ -> Kind.Error
        | CookieEcho _ -> Kind.CookieEcho
        | CookieAck -> Kind.CookieAck
        | ShutdownComplete _ -> Kind.ShutdownComplete
        | Reconfig _ -> Kind.Reconfig
        | ForwardTsn _ -> Kind.ForwardTsn
        | IForwardTsn _ -> Kind.IForwardTsn
        | Pad _ -> Kind.Pad
        | Unknown(kind, _) -> kind

    let private writeSack (writer: byref<Writer>) (sack: Sack) : unit =
        writer.UInt32(Tsn.value sack.CumulativeTsnAck)
        writer.UInt32 sack.AdvertisedReceiverWindow
        writer.UInt16(uint16 sack.GapAckBlocks.Length)
        writer.UInt16(uint16 sack.DuplicateTsns.Length)

        for block in sack.GapAckBlocks do
            writer.UInt16 block.Start
            writer.UInt16 block.End

        for tsn in sack.DuplicateTsns do
            writer.UInt32(Tsn.value tsn)

    let private writeInit (writer: byref<Writer>) (init: Init) : unit =
        writer.UInt32 init.InitiateTag
        writer.UInt32 init.AdvertisedReceiverWindow
        writer.UInt16 init.OutboundStreams
        writer.UInt16 init.InboundStreams
        writer.UInt32(Tsn.value init.InitialTsn)
        Tlv.writeAll &writer init.Parameters

    /// Writes `size` octets.
    let write (writer: byref<Writer>) (chunk: Chunk) : unit =
        let length = length chunk

        match chunk with
        | Unknown(_, whole) -> writer.Bytes whole.Span
        | _ ->
            writer.Byte(kind chunk)

            writer.Byte(
                match chunk with
                | Abort(true, _)
                | ShutdownComplete true -> 1uy
                | _ -> 0uy
            )

            writer.UInt16(uint16 length)

            match chunk with
            | Init init
            | InitAck init -> writeInit &writer init
            | Sack sack -> writeSack &writer sack
            | Heartbeat bytes
            | HeartbeatAck bytes
            | CookieEcho bytes -> writer.Bytes bytes.Span
            | Abort(_, tlvs)
            | Error tlvs
            | Reconfig tlvs -> Tlv.writeAll &writer tlvs
            | Shutdown tsn -> writer.UInt32(Tsn.value tsn)
            | ForwardTsn(tsn, skipped) ->
                writer.UInt32(Tsn.value tsn)

                for skip in skipped do
                    writer.UInt16 skip.Stream
                    writer.UInt16(Ssn.value (Mid.toSsn skip.Mid))
            | IForwardTsn(tsn, skipped) ->
                writer.UInt32(Tsn.value tsn)

                for skip in skipped do
                    writer.UInt16 skip.Stream
                    writer.UInt16(if skip.Unordered then 1us else 0us)
                    writer.UInt32(Mid.value skip.Mid)
            | Pad length -> writer.Zeros length
            | ShutdownAck
            | CookieAck
            | ShutdownComplete _
            | Unknown _ -> ()

        writer.Zeros(Tlv.padded length - length)

    let private readInit (body: ReadOnlyMemory<byte>) : Init voption =
        let mutable reader = Reader(body.Span)
        let tag = reader.UInt32()
        let window = reader.UInt32()
        let outbound = reader.UInt16()
        let inbound = reader.UInt16()
        let tsn = reader.UInt32()

        if reader.Ok then
            match Tlv.readAll (body.Slice 16) with
            | ValueSome parameters ->
                ValueSome
                    { InitiateTag = tag
                      AdvertisedReceiverWindow = window
                      OutboundStreams = outbound
                      InboundStreams = inbound
                      InitialTsn = Tsn tsn
                      Parameters = parameters }
            | ValueNone -> ValueNone
        else
            ValueNone

    /// Gap ack blocks of a SACK that are looked at: more than any receiver keeps, and a bound to what a peer can make of one packet.
    [<Literal>]
    let private MaxGapAckBlocks = 1024

    /// ValueNone, too, where blocks overlap or descend: the packet's sender counts wrongly, or is not who it seems.
    let private readSack (body: ReadOnlyMemory<byte>) : Sack voption =
        let mutable reader = Reader(body.Span)
        let cumulative = reader.UInt32()
        let window = reader.UInt32()
        let blocks = int (reader.UInt16())
        let duplicates = int (reader.UInt16())

        if not reader.Ok || reader.Remaining < 4 * (blocks + duplicates) then
            ValueNone
        else
            // What goes beyond counts as not reported, which a receiver may do.
            let kept = min blocks MaxGapAckBlocks

            let gaps: GapAckBlock[] = if kept = 0 then Array.Empty() else Array.zeroCreate kept

            let mutable previous = 0
            let mutable ascending = true

            for i in 0 .. blocks - 1 do
                let first = reader.UInt16()
                let last = reader.UInt16()
                ascending <- ascending && int first > previous && last >= first
                previous <- int last

                if i < kept then
                    gaps[i] <- { Start = first; End = last }

            let tsns: Tsn[] =
                if duplicates = 0 then
                    Array.Empty()
                else
                    Array.zeroCreate duplicates

            for i in 0 .. duplicates - 1 do
                tsns[i] <- Tsn(reader.UInt32())

            if ascending then
                ValueSome
                    { CumulativeTsnAck = Tsn cumulative
                      AdvertisedReceiverWindow = window
                      GapAckBlocks = gaps
                      DuplicateTsns = tsns }
            else
                ValueNone

    let private readForwardTsn (interleaved: bool) (body: ReadOnlyMemory<byte>) : Chunk voption =
        let mutable reader = Reader(body.Span)
        let tsn = Tsn(reader.UInt32())

        if reader.Ok then
            let skipped: Skip[] = Array.zeroCreate (reader.Remaining / skipSize interleaved)

            for i in 0 .. skipped.Length - 1 do
                let stream = reader.UInt16()
                let second = reader.UInt16()

                skipped[i] <-
                    { Stream = stream
                      Unordered = interleaved && second &&& 1us <> 0us
                      Mid =
                        if interleaved then
                            Mid(reader.UInt32())
                        else
                            Mid.ofSsn (Ssn second) }

            ValueSome(
                if interleaved then
                    IForwardTsn(tsn, skipped)
                else
                    ForwardTsn(tsn, skipped)
            )
        else
            ValueNone

    /// Any chunk but DATA and I-DATA. `whole` is the chunk with its header, without padding, at least `HeaderSize` octets.
    /// ValueNone where it is shorter than its type asks for, or its parameters do not fit.
    let read (whole: ReadOnlyMemory<byte>) : Chunk voption =
        let kind = whole.Span[0]
        let reflected = whole.Span[1] &&& 1uy <> 0uy
        let body = whole.Slice HeaderSize

        match kind with
        | Kind.Init -> readInit body |> ValueOption.map Init
        | Kind.InitAck -> readInit body |> ValueOption.map InitAck
        | Kind.Sack ->
            match readSack body with
            | ValueSome sack -> ValueSome(Sack sack)
            | ValueNone -> ValueNone
        | Kind.Heartbeat -> ValueSome(Heartbeat body)
        | Kind.HeartbeatAck -> ValueSome(HeartbeatAck body)
        | Kind.Abort -> Tlv.readAll body |> ValueOption.map (fun causes -> Abort(reflected, causes))
        | Kind.Shutdown when body.Length >= 4 ->
            let mutable reader = Reader(body.Span)
            ValueSome(Shutdown(Tsn(reader.UInt32())))
        | Kind.Shutdown -> ValueNone
        | Kind.ShutdownAck -> ValueSome ShutdownAck
        | Kind.Error -> Tlv.readAll body |> ValueOption.map Error
        | Kind.CookieEcho -> ValueSome(CookieEcho body)
        | Kind.CookieAck -> ValueSome CookieAck
        | Kind.ShutdownComplete -> ValueSome(ShutdownComplete reflected)
        | Kind.Reconfig -> Tlv.readAll body |> ValueOption.map Reconfig
        | Kind.ForwardTsn -> readForwardTsn false body
        | Kind.IForwardTsn -> readForwardTsn true body
        | Kind.Pad -> ValueSome(Pad body.Length)
        | _ -> ValueSome(Unknown(kind, whole))
