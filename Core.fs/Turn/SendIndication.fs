namespace Hybrid.WebRtc.Core.Turn

open System
open System.Buffers.Binary
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// What a Send indication says, RFC 8656 §11.1; the data where it stands in the datagram.
[<Struct; NoComparison; NoEquality>]
type internal SendIndication =
    { Peer: Endpoint
      DataAt: int
      DataLength: int
      MayFragment: bool }

/// Reading Send indications in place: each carries a packet, so none is made into a `Message`.
[<RequireQualifiedAccess>]
module internal SendIndication =
    [<Literal>]
    let private XorPeerAddress = 0x0012us

    [<Literal>]
    let private Data = 0x0013us

    [<Literal>]
    let private DontFragment = 0x001aus

    /// Whether a datagram is one, by its header.
    let isSend (datagram: ReadOnlySpan<byte>) : bool =
        Message.isStun datagram
        && BinaryPrimitives.ReadUInt16BigEndian datagram = Message.typeOf Class.Indication Method.Send

    /// ValueNone: an attribute overruns, the peer or the data is missing, or something must be understood and is not
    /// (RFC 8489 §6.3.2). Of several of one type only the first counts, RFC 8489 §14.
    let read (datagram: ReadOnlySpan<byte>) : SendIndication voption =
        let id =
            { High = BinaryPrimitives.ReadUInt32BigEndian(datagram.Slice 8)
              Low = BinaryPrimitives.ReadUInt64BigEndian(datagram.Slice 12) }

        let mutable reader = Reader(datagram.Slice Message.HeaderSize)
        let mutable peer = ValueNone
        let mutable at = -1
        let mutable length = 0
        let mutable mayFragment = true
        let mutable understood = true

        while understood && not reader.AtEnd do
            let kind = reader.UInt16()
            let size = int (reader.UInt16())
            let start = datagram.Length - reader.Remaining
            let value = reader.Bytes size
            reader.Skip(Attribute.padded size - size)

            if reader.Ok then
                match kind with
                | XorPeerAddress ->
                    if peer.IsNone then
                        peer <- Attribute.readXored id value
                        understood <- peer.IsSome
                | Data ->
                    if at < 0 then
                        at <- start
                        length <- size
                | DontFragment -> mayFragment <- false
                | _ -> understood <- not (Attribute.isComprehensionRequired kind)

        match peer with
        | ValueSome peer when understood && reader.Ok && at >= 0 ->
            ValueSome
                { Peer = peer
                  DataAt = at
                  DataLength = length
                  MayFragment = mayFragment }
        | _ -> ValueNone
