namespace Hybrid.WebRtc.Rtp

open System

/// How packets of one source become those of one sender, without being touched: an SFU sends the same packets to many, each
/// with numbers of its own. Made once for a run of packets; immutable.
[<NoComparison; NoEquality>]
type RtpMapping =
    {
        /// For each payload type from 0 to 127 the one to send it with; 255: not sent. Empty: all as they are.
        PayloadTypes: byte[]
        /// Added to sequence numbers, modulo 2¹⁶.
        SequenceOffset: uint16
        /// Added to timestamps, modulo 2³².
        TimestampOffset: uint32
    }

/// Mappings of packets.
[<RequireQualifiedAccess>]
module RtpMappings =
    /// Packets as they are.
    [<CompiledName "Identity">]
    let identity: RtpMapping =
        { PayloadTypes = Array.Empty()
          SequenceOffset = 0us
          TimestampOffset = 0u }

    /// The payload type that a packet leaves with; 255: none.
    let inline internal payloadType (given: byte) (mapping: RtpMapping) : byte =
        if mapping.PayloadTypes.Length = 0 then
            given
        else
            mapping.PayloadTypes[int (given &&& 0x7Fuy)]
