namespace Hybrid.WebRtc.Core.Tls13

open System
open System.Buffers.Binary
open System.Runtime.InteropServices
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Tls

/// How sequence numbers are hidden, RFC 9147 §4.2.3: by a cipher's output for the first 16 octets of the ciphertext.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal SequenceMask =
    /// A block of AES. Counter mode whose counter is the sample makes it of zeros.
    | Aes of ICounterKey
    /// A block of ChaCha20, whose counter and nonce the sample is.
    | ChaCha20 of Key: byte[]

/// One direction's keys of an epoch.
[<NoComparison; NoEquality>]
type internal Protection13 =
    {
        Key: IAeadKey
        /// 12 octets.
        Iv: byte[]
        Mask: SequenceMask
    }

[<RequireQualifiedAccess>]
module internal Protection13 =
    let create (k: KeySchedule) (secret: byte[]) : Protection13 =
        let struct (key, iv, mask) = KeySchedule.traffic k secret

        { Key = k.Ciphers.Aead(Suite13.aead k.Suite, ReadOnlySpan key)
          Iv = iv
          Mask =
            match k.Suite with
            | CipherSuite.ChaCha20Poly1305Sha256 -> SequenceMask.ChaCha20 mask
            | _ -> SequenceMask.Aes(k.Ciphers.CounterMode(ReadOnlySpan mask)) }

/// A DTLSCiphertext as it lies in a datagram, RFC 9147 §4:
///
///      0 1 2 3 4 5 6 7
///     |0|0|1|C|S|L|E E| connection id | sequence number | length | encrypted record …
///            │ │ │ └┴─ the epoch's low bits
///            │ │ └ a length is there: else the record ends with the datagram
///            │ └ the sequence number's 16 low bits are there, else 8
///            └ a connection id is there
[<Struct; NoComparison; NoEquality>]
type internal Ciphertext =
    {
        /// The epoch's two low bits.
        EpochBits: int
        SequenceAt: int
        /// 1 or 2 octets.
        SequenceSize: int
        HeaderSize: int
        /// The whole record, header included; lent.
        Bytes: Memory<byte>
    }

[<RequireQualifiedAccess>]
module internal Ciphertext =
    /// The largest plaintext, RFC 9147 §4: 2^14, and the octet of its type, and padding.
    [<Literal>]
    let MaxInner = 16385

    /// The header that ours have: 16 bits of sequence number, a length, no connection id. What browsers send.
    [<Literal>]
    let HeaderSize = 5

    /// Octets that sealing adds to a plaintext: header, type and tag.
    [<Literal>]
    let Overhead = 22

    /// Whether a datagram's first octet is that of such a record, RFC 9147 §4.1.
    let isOne (first: byte) : bool = first &&& 0xe0uy = 0x20uy

    /// The first record of a datagram; ValueNone where it is none, or longer than what is there. `connectionId` is the length of
    /// ours, 0 where none was negotiated: then a record that has one is not for us (RFC 9147 §9).
    let first (connectionId: int) (datagram: Memory<byte>) : Ciphertext voption =
        let span = datagram.Span

        if span.Length = 0 || not (isOne span[0]) then
            ValueNone
        else
            let flags = int span[0]
            let hasId = flags &&& 0x10 <> 0
            let sequenceSize = if flags &&& 0x08 <> 0 then 2 else 1
            let sequenceAt = if hasId then 1 + connectionId else 1
            let hasLength = flags &&& 0x04 <> 0
            let headerSize = sequenceAt + sequenceSize + (if hasLength then 2 else 0)

            if (hasId && connectionId = 0) || span.Length < headerSize then
                ValueNone
            else
                let length =
                    if hasLength then
                        int (BinaryPrimitives.ReadUInt16BigEndian(Span.op_Implicit (span.Slice(headerSize - 2))))
                    else
                        span.Length - headerSize

                if length > span.Length - headerSize then
                    ValueNone
                else
                    ValueSome
                        { EpochBits = flags &&& 3
                          SequenceAt = sequenceAt
                          SequenceSize = sequenceSize
                          HeaderSize = headerSize
                          Bytes = datagram.Slice(0, headerSize + length) }

    /// The full number whose low bits these are and that is closest to the one that is due, RFC 9147 §4.2.2.
    let reconstruct (due: uint64) (bits: uint64) (size: int) : uint64 =
        let window = 1UL <<< (8 * size)
        let half = window >>> 1
        let candidate = (due &&& ~~~(window - 1UL)) ||| bits

        if candidate + half <= due then
            candidate + window
        elif candidate > due + half && candidate >= window then
            candidate - window
        else
            candidate

    /// Hides the sequence number, or shows it: the same mask does both. The sample is the first 16 octets behind the header.
    let private mask (protection: Protection13) (number: Span<byte>) (sample: ReadOnlySpan<byte>) =
        let mutable pad = 0UL
        let pad = MemoryMarshal.AsBytes(Span(&pad))

        match protection.Mask with
        | SequenceMask.Aes key -> key.Apply(sample, pad)
        | SequenceMask.ChaCha20 key ->
            let block = Array.zeroCreate 64
            let words = Array.zeroCreate 4

            for i in 0..3 do
                words[i] <- BinaryPrimitives.ReadUInt32LittleEndian(sample.Slice(4 * i))

            Entropy.block key words block

            ReadOnlySpan(block, 0, 8).CopyTo pad

        for i in 0 .. number.Length - 1 do
            number[i] <- number[i] ^^^ pad[i]

    /// Seals in place the plaintext of `length` octets that lies at `HeaderSize`; type and tag need 17 more behind it. Answers the
    /// octets of the record.
    let seal
        (protection: Protection13)
        (kind: ContentType)
        (epoch: uint64)
        (sequence: uint64)
        (into: Span<byte>)
        length
        =
        let inner = length + 1
        into[0] <- 0x2cuy ||| byte (epoch &&& 3UL)
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 1, uint16 sequence)
        BinaryPrimitives.WriteUInt16BigEndian(into.Slice 3, uint16 (inner + Record.TagSize))
        into[HeaderSize + length] <- byte kind
        let mutable block = UInt128.Zero
        let nonce = MemoryMarshal.AsBytes(Span(&block)).Slice(0, 12)
        Record.writeNonce nonce protection.Iv sequence

        // The header in the clear is the associated data, RFC 9147 §4.
        protection.Key.Seal(
            Span.op_Implicit nonce,
            Span.op_Implicit (into.Slice(0, HeaderSize)),
            into.Slice(HeaderSize, inner),
            into.Slice(HeaderSize + inner, Record.TagSize)
        )

        mask protection (into.Slice(1, 2)) (Span.op_Implicit (into.Slice(HeaderSize, 16)))
        HeaderSize + inner + Record.TagSize

    /// Opens a record in place: what it carries, its number, and its plaintext. `due` is one more than the highest number that
    /// came in its epoch. Its bytes are spent in any case.
    let openInPlace
        (protection: Protection13)
        (due: uint64)
        (record: Ciphertext)
        : Result<struct (ContentType * uint64 * Memory<byte>), Drop> =
        let bytes = record.Bytes.Span
        let inner = bytes.Length - record.HeaderSize - Record.TagSize

        if inner < 1 || inner > MaxInner then
            Error Drop.Malformed
        else
            let number = bytes.Slice(record.SequenceAt, record.SequenceSize)
            mask protection number (Span.op_Implicit (bytes.Slice(record.HeaderSize, 16)))

            let low =
                if record.SequenceSize = 2 then
                    uint64 (BinaryPrimitives.ReadUInt16BigEndian(Span.op_Implicit number))
                else
                    uint64 number[0]

            let sequence = reconstruct due low record.SequenceSize
            let mutable block = UInt128.Zero
            let nonce = MemoryMarshal.AsBytes(Span(&block)).Slice(0, 12)
            Record.writeNonce nonce protection.Iv sequence
            let text = bytes.Slice(record.HeaderSize, inner)

            if
                not (
                    protection.Key.Open(
                        Span.op_Implicit nonce,
                        Span.op_Implicit (bytes.Slice(0, record.HeaderSize)),
                        text,
                        Span.op_Implicit (bytes.Slice(record.HeaderSize + inner, Record.TagSize))
                    )
                )
            then
                Error Drop.Unauthentic
            else
                // The type is the last octet that is not padding, RFC 8446 §5.2.
                let last = text.LastIndexOfAnyExcept 0uy

                if last < 0 then
                    Error Drop.Malformed
                else
                    Ok(
                        struct (LanguagePrimitives.EnumOfValue text[last],
                                sequence,
                                record.Bytes.Slice(record.HeaderSize, last))
                    )
