namespace Hybrid.WebRtc.Core.Association

open System
open Hybrid.WebRtc.Core

/// What one end has told the other of itself in INIT or INIT ACK.
[<NoComparison; NoEquality>]
type internal Introduction =
    {
        Tag: uint32
        InitialTsn: Tsn
        /// a_rwnd.
        Window: uint32
        OutboundStreams: uint16
        InboundStreams: uint16
        /// Both ends know I-DATA, RFC 8260 §2.2.1: it carries all messages.
        Interleaves: bool
        /// Can be told of what is given up: by FORWARD TSN, RFC 3758 §3.3, or by I-FORWARD-TSN where `Interleaves`.
        ForwardTsn: bool
        /// Understands RE-CONFIG, RFC 6525 §5.1.1.
        Reconfig: bool
        /// Takes packets without a checksum, RFC 9653 §5.1.
        ZeroChecksum: bool
    }

/// What a State Cookie holds, RFC 9260 §5.1.3: all that an association is made of, so that INIT leaves no trace here.
[<NoComparison; NoEquality>]
type internal Cookie =
    {
        /// Ours, in the INIT ACK.
        OwnTag: uint32
        OwnInitialTsn: Tsn
        /// The peer's, from its INIT.
        Peer: Introduction
        /// Of the association that was there when the INIT came, RFC 9260 §5.2.2; zero where there was none.
        TieTag: uint64
        CreatedAt: Instant
    }

[<RequireQualifiedAccess>]
module internal Cookie =
    /// HMAC-SHA-256, cut to 128 bits as RFC 2104 §5 allows.
    [<Literal>]
    let private MacSize = 16

    [<Literal>]
    let private BodySize = 44

    let private mac (ciphers: ICiphers) (key: byte[]) (body: ReadOnlySpan<byte>) : byte[] =
        (Ciphers.hmac ciphers HashAlgorithm.Sha256 (ReadOnlySpan key) body)[.. MacSize - 1]

    /// The cookie as it goes to the peer and comes back.
    let write (ciphers: ICiphers) (key: byte[]) (cookie: Cookie) : byte[] =
        let bytes = Array.zeroCreate (BodySize + MacSize)
        let mutable writer = Writer(Span bytes)
        writer.UInt32 cookie.OwnTag
        writer.UInt32(Tsn.value cookie.OwnInitialTsn)
        writer.UInt32 cookie.Peer.Tag
        writer.UInt32(Tsn.value cookie.Peer.InitialTsn)
        writer.UInt32 cookie.Peer.Window
        writer.UInt16 cookie.Peer.OutboundStreams
        writer.UInt16 cookie.Peer.InboundStreams
        writer.Byte(if cookie.Peer.Interleaves then 1uy else 0uy)
        writer.Byte(if cookie.Peer.ForwardTsn then 1uy else 0uy)
        writer.Byte(if cookie.Peer.Reconfig then 1uy else 0uy)
        writer.Byte(if cookie.Peer.ZeroChecksum then 1uy else 0uy)
        writer.UInt64 cookie.TieTag
        writer.UInt64(uint64 cookie.CreatedAt)
        writer.Bytes(ReadOnlySpan(mac ciphers key (ReadOnlySpan(bytes, 0, BodySize))))
        bytes

    /// ValueNone: not one of ours.
    let read (ciphers: ICiphers) (key: byte[]) (bytes: ReadOnlySpan<byte>) : Cookie voption =
        if
            bytes.Length = BodySize + MacSize
            && Ciphers.equal (ReadOnlySpan(mac ciphers key (bytes.Slice(0, BodySize)))) (bytes.Slice(BodySize, MacSize))
        then
            let mutable reader = Reader bytes
            let ownTag = reader.UInt32()
            let ownTsn = reader.UInt32()
            let tag = reader.UInt32()
            let tsn = reader.UInt32()
            let window = reader.UInt32()
            let outbound = reader.UInt16()
            let inbound = reader.UInt16()
            let interleaves = reader.Byte() <> 0uy
            let forwardTsn = reader.Byte() <> 0uy
            let reconfig = reader.Byte() <> 0uy
            let zeroChecksum = reader.Byte() <> 0uy
            let tie = reader.UInt64()

            ValueSome
                { OwnTag = ownTag
                  OwnInitialTsn = Tsn ownTsn
                  Peer =
                    { Tag = tag
                      InitialTsn = Tsn tsn
                      Window = window
                      OutboundStreams = outbound
                      InboundStreams = inbound
                      Interleaves = interleaves
                      ForwardTsn = forwardTsn
                      Reconfig = reconfig
                      ZeroChecksum = zeroChecksum }
                  TieTag = tie
                  CreatedAt = int64 (reader.UInt64()) * 1L<us> }
        else
            ValueNone
