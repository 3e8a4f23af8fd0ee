namespace Hybrid.WebRtc.Core.Tls

open System
open System.Buffers.Binary
open System.Runtime.InteropServices
open Hybrid.WebRtc.Core
open Microsoft.FSharp.Core.CompilerServices

/// What lies one behind the other: the records of a datagram, the fragments of a handshake record.
[<RequireQualifiedAccess>]
module internal Parts =
    /// Lets `take` act on the bytes until none are left, at least once: it answers what it leaves of them, and a step. Joins the
    /// outputs, in order; those of a single part, which is the rule, as they are.
    let inline each
        ([<InlineIfLambda>] take: Memory<byte> -> 'state -> struct (Memory<byte> * Step<'state, 'output>))
        (bytes: Memory<byte>)
        (state: 'state)
        : Step<'state, 'output> =
        let mutable rest = bytes
        let mutable state = state
        let mutable first = []
        let mutable others = ListCollector<'output>()
        let mutable taken = 0

        while taken = 0 || not rest.IsEmpty do
            let struct (left, struct (next, outputs)) = take rest state
            rest <- left
            state <- next

            if taken = 0 && rest.IsEmpty then
                first <- outputs
            else
                others.AddMany outputs

            taken <- taken + 1

        struct (state, (if taken = 1 then first else others.Close()))

/// What a record carries, RFC 6347 §4.1, RFC 5246 §6.2.1.
type internal ContentType =
    | ChangeCipherSpec = 20uy
    | Alert = 21uy
    | Handshake = 22uy
    | ApplicationData = 23uy
    /// DTLS 1.3, RFC 9147 §7.
    | Ack = 26uy

/// One direction's keys of an epoch, RFC 5246 §6.3.
[<NoComparison; NoEquality>]
type internal Protection =
    {
        Key: IAeadKey
        /// 12 octets, to which the record's counter is added by exclusive or.
        Iv: byte[]
        /// Octets of nonce in each record: 8 for AES-GCM (RFC 5288 §3), none for ChaCha20-Poly1305 (RFC 7905 §2).
        ExplicitNonce: int
    }

/// The sliding window against replayed records, RFC 6347 §4.1.2.6: the 64 newest sequence numbers of an epoch.
[<Struct; NoComparison; NoEquality>]
type internal ReplayWindow =
    {
        /// One more than the highest that was received.
        Next: uint64
        /// Bit i: whether `Next - 1 - i` was received.
        Seen: uint64
    }

[<RequireQualifiedAccess>]
module internal ReplayWindow =
    let empty: ReplayWindow = { Next = 0UL; Seen = 0UL }

    /// Whether a record of this number has not been received, as far as the window reaches back.
    let isNew (sequence: uint64) (window: ReplayWindow) : bool =
        sequence >= window.Next
        || (let back = window.Next - 1UL - sequence
            back < 64UL && (window.Seen >>> int back) &&& 1UL = 0UL)

    /// The window once a record has been authenticated.
    let mark (sequence: uint64) (window: ReplayWindow) : ReplayWindow =
        if sequence >= window.Next then
            let ahead = sequence - window.Next + 1UL
            // .NET takes shift counts modulo 64.
            let kept = if ahead < 64UL then window.Seen <<< int ahead else 0UL

            { Next = sequence + 1UL
              Seen = kept ||| 1UL }
        else
            { window with
                Seen = window.Seen ||| (1UL <<< int (window.Next - 1UL - sequence)) }

/// A record as it lies in a datagram, RFC 6347 §4.1.
///
///      0        1                3        5                      11       13
///     |  type  |     version     |  epoch |   sequence number    | length | fragment …
[<Struct; NoComparison; NoEquality>]
type internal Record =
    {
        Type: ContentType
        Epoch: uint16
        /// 48 bits.
        Sequence: uint64
        /// The whole record, header included; lent.
        Bytes: Memory<byte>
    }

[<RequireQualifiedAccess>]
module internal Record =
    [<Literal>]
    let HeaderSize = 13

    /// Of every AEAD that is offered.
    [<Literal>]
    let TagSize = 16

    /// DTLS 1.2.
    [<Literal>]
    let Version = 0xfefdus

    /// DTLS 1.0: the version of the records of a first ClientHello, which every server takes, RFC 5246 §E.1.
    [<Literal>]
    let OldestVersion = 0xfeffus

    /// The largest plaintext, RFC 5246 §6.2.1.
    [<Literal>]
    let MaxPlaintext = 16384

    /// What AEAD may add to it, RFC 5246 §6.2.3.
    [<Literal>]
    let MaxExpansion = 1024

    /// Sequence numbers have 48 bits; an epoch ends before they wrap, RFC 6347 §4.1.
    [<Literal>]
    let LastSequence = 0xffffffffffffUL

    /// Sealed records are of our version. In the clear only the major version counts: a first hello may say an older one.
    let private isKnown (version: uint16) (epoch: uint16) =
        version = Version || (epoch = 0us && version >>> 8 = 0xfeus)

    /// The first record of a datagram; ValueNone where it is no DTLS record, or longer than what is there.
    let first (datagram: Memory<byte>) : Record voption =
        let mutable r = Reader(Span.op_Implicit datagram.Span)
        let kind = r.Byte()
        let version = r.UInt16()
        let epoch = r.UInt16()
        let sequence = r.UInt48()
        let length = int (r.UInt16())

        if
            r.Ok
            && isKnown version epoch
            && length <= r.Remaining
            && length <= MaxPlaintext + MaxExpansion
        then
            ValueSome
                { Type = LanguagePrimitives.EnumOfValue kind
                  Epoch = epoch
                  Sequence = sequence
                  Bytes = datagram.Slice(0, HeaderSize + length) }
        else
            ValueNone

    /// What follows the header.
    let fragment (record: Record) : Memory<byte> = record.Bytes.Slice HeaderSize

    /// The epoch and the sequence number, which the protocol treats as one number of 64 bits.
    let private counter (epoch: uint16) (sequence: uint64) = (uint64 epoch <<< 48) ||| sequence

    let writeHeader (into: Span<byte>) (kind: ContentType) version (epoch: uint16) (sequence: uint64) (length: int) =
        let mutable w = Writer into
        w.Byte(byte kind)
        w.UInt16 version
        w.UInt64(counter epoch sequence)
        w.UInt16(uint16 length)

    /// The additional data of RFC 5246 §6.2.3.3. It is as long as the header and takes its place while the record is
    /// sealed or opened, so that no packet needs memory of its own.
    let private writeAssociated (into: Span<byte>) (kind: ContentType) (counter: uint64) (length: int) =
        let mutable w = Writer into
        w.UInt64 counter
        w.Byte(byte kind)
        w.UInt16 Version
        w.UInt16(uint16 length)

    /// RFC 5288 §3: salt, then the 8 octets in the record; RFC 7905 §2 and RFC 8446 §5.3: the IV, to which the counter is added.
    /// With zeros behind the salt all are this.
    let writeNonce (into: Span<byte>) (iv: byte[]) (counter: uint64) =
        ReadOnlySpan(iv).CopyTo into
        let tail = into.Slice(4, 8)

        BinaryPrimitives.WriteUInt64BigEndian(
            tail,
            BinaryPrimitives.ReadUInt64BigEndian(Span.op_Implicit tail) ^^^ counter
        )

    /// Where the plaintext lies in a record that is to be sealed.
    let plaintextOffset (protection: Protection) = HeaderSize + protection.ExplicitNonce

    /// Octets that sealing adds to a plaintext.
    let overhead (protection: Protection) = plaintextOffset protection + TagSize

    /// Seals in place the plaintext at `plaintextOffset`, and writes the header before it and the tag behind it.
    /// Answers the octets of the record.
    let seal (protection: Protection) (kind: ContentType) (epoch: uint16) (sequence: uint64) (into: Span<byte>) length =
        let counter = counter epoch sequence
        let offset = plaintextOffset protection
        let mutable block = UInt128.Zero
        let nonce = MemoryMarshal.AsBytes(Span(&block)).Slice(0, 12)
        writeNonce nonce protection.Iv counter
        let header = into.Slice(0, HeaderSize)
        writeAssociated header kind counter length

        protection.Key.Seal(
            Span.op_Implicit nonce,
            Span.op_Implicit header,
            into.Slice(offset, length),
            into.Slice(offset + length, TagSize)
        )

        if protection.ExplicitNonce > 0 then
            BinaryPrimitives.WriteUInt64BigEndian(into.Slice(HeaderSize, 8), counter)

        writeHeader header kind Version epoch sequence (protection.ExplicitNonce + length + TagSize)
        offset + length + TagSize

    /// Opens a record in place and answers its plaintext. Its bytes are spent: the header is overwritten.
    let openInPlace (protection: Protection) (record: Record) : Result<Memory<byte>, Drop> =
        let offset = plaintextOffset protection
        let length = record.Bytes.Length - offset - TagSize

        if length < 0 || length > MaxPlaintext then
            Error Drop.Malformed
        else
            let bytes = record.Bytes.Span
            let counter = counter record.Epoch record.Sequence
            let mutable block = UInt128.Zero
            let nonce = MemoryMarshal.AsBytes(Span(&block)).Slice(0, 12)

            let spoken =
                if protection.ExplicitNonce > 0 then
                    BinaryPrimitives.ReadUInt64BigEndian(Span.op_Implicit (bytes.Slice(HeaderSize, 8)))
                else
                    counter

            writeNonce nonce protection.Iv spoken
            let header = bytes.Slice(0, HeaderSize)
            writeAssociated header record.Type counter length

            if
                protection.Key.Open(
                    Span.op_Implicit nonce,
                    Span.op_Implicit header,
                    bytes.Slice(offset, length),
                    Span.op_Implicit (bytes.Slice(offset + length, TagSize))
                )
            then
                Ok(record.Bytes.Slice(offset, length))
            else
                Error Drop.Unauthentic
