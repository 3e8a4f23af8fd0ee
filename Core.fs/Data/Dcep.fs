namespace Hybrid.WebRtc.Core

open System
open System.Text

/// DATA_CHANNEL_OPEN, RFC 8832 §5.1.
///
///      0               8              16                              31
///     |  Message Type |  Channel Type |            Priority           |
///     |                    Reliability Parameter                      |
///     |         Label Length          |       Protocol Length         |
///     |                             Label                             |
///     |                            Protocol                           |
[<NoComparison>]
type DcepOpen =
    {
        Ordered: bool
        Reliability: Reliability
        Priority: uint16
        /// At most 65,535 octets of UTF-8.
        Label: string
        /// At most 65,535 octets of UTF-8; an IANA WebSocket subprotocol name, or empty.
        Protocol: string
    }

/// A message of the Data Channel Establishment Protocol, RFC 8832 §5.
[<NoComparison>]
type Dcep =
    | Open of DcepOpen
    | Ack

/// SCTP payload protocol identifiers of data channels, RFC 8831 §8.
[<RequireQualifiedAccess>]
module Ppid =
    /// WebRTC DCEP.
    [<Literal>]
    let Dcep = 50u

    /// WebRTC String.
    [<Literal>]
    let String = 51u

    /// WebRTC Binary Partial (deprecated).
    [<Literal>]
    let BinaryPartial = 52u

    /// WebRTC Binary.
    [<Literal>]
    let Binary = 53u

    /// WebRTC String Partial (deprecated).
    [<Literal>]
    let StringPartial = 54u

    /// WebRTC String Empty: one octet, ignored, RFC 8831 §6.6.
    [<Literal>]
    let StringEmpty = 56u

    /// WebRTC Binary Empty: one octet, ignored.
    [<Literal>]
    let BinaryEmpty = 57u

/// The codec of RFC 8832.
[<RequireQualifiedAccess>]
module Dcep =
    /// DATA_CHANNEL_ACK, RFC 8832 §8.2.1.
    [<Literal>]
    let private AckType = 0x02uy

    /// DATA_CHANNEL_OPEN.
    [<Literal>]
    let private OpenType = 0x03uy

    /// The bit of a channel type that says unordered, RFC 8832 §8.2.2.
    [<Literal>]
    let private Unordered = 0x80uy

    /// Octets on the wire.
    let size (message: Dcep) : int =
        match message with
        | Ack -> 1
        | Open o -> 12 + Encoding.UTF8.GetByteCount o.Label + Encoding.UTF8.GetByteCount o.Protocol

    /// The message as bytes of its own.
    let write (message: Dcep) : byte[] =
        match message with
        | Ack -> [| AckType |]
        | Open o ->
            let bytes: byte[] = Array.zeroCreate (size message)
            let mutable writer = Writer(Span bytes)

            let struct (kind, parameter) =
                match o.Reliability with
                | Reliable -> struct (0x00uy, 0u)
                | MaxRetransmits count -> struct (0x01uy, uint32 count)
                | MaxLifetime length -> struct (0x02uy, uint32 (Duration.toMilliseconds length))

            let label = Encoding.UTF8.GetBytes o.Label
            let protocol = Encoding.UTF8.GetBytes o.Protocol
            writer.Byte OpenType
            writer.Byte(if o.Ordered then kind else kind ||| Unordered)
            writer.UInt16 o.Priority
            writer.UInt32 parameter
            writer.UInt16(uint16 label.Length)
            writer.UInt16(uint16 protocol.Length)
            writer.Bytes(ReadOnlySpan label)
            writer.Bytes(ReadOnlySpan protocol)
            bytes

    /// ValueNone: not a DCEP message, of an unknown channel type, or of another length than it says.
    let read (bytes: ReadOnlySpan<byte>) : Dcep voption =
        let mutable reader = Reader bytes

        match reader.Byte() with
        | AckType when bytes.Length = 1 -> ValueSome Ack
        | OpenType ->
            let kind = reader.Byte()
            let priority = reader.UInt16()
            let parameter = reader.UInt32()
            let labelLength = int (reader.UInt16())
            let protocolLength = int (reader.UInt16())
            let label = reader.Bytes labelLength
            let protocol = reader.Bytes protocolLength

            let reliability =
                match kind &&& ~~~Unordered with
                | 0x00uy -> ValueSome Reliable
                | 0x01uy -> ValueSome(MaxRetransmits(int (min parameter 0x7fffffffu)))
                | 0x02uy -> ValueSome(MaxLifetime(Duration.milliseconds (int64 parameter)))
                | _ -> ValueNone

            match reliability with
            | ValueSome reliability when reader.Ok && reader.Remaining = 0 ->
                ValueSome(
                    Open
                        { Ordered = kind &&& Unordered = 0uy
                          Reliability = reliability
                          Priority = priority
                          Label = Encoding.UTF8.GetString label
                          Protocol = Encoding.UTF8.GetString protocol }
                )
            | _ -> ValueNone
        | _ -> ValueNone
