namespace Hybrid.WebRtc.Core

open System
open System.Buffers.Binary
open System.Runtime.InteropServices

/// How packets are protected, by the octets of the master key.
[<RequireQualifiedAccess>]
type internal SrtpTransform =
    /// AES in counter mode and HMAC-SHA1, RFC 3711 §4.1.1 and §4.2.1, RFC 6188 §2; 16 or 32. An RTP packet's tag has
    /// `RtpTag` octets, an RTCP packet's always ten (RFC 5764 §4.1.2).
    | CounterMode of KeySize: int * RtpTag: int
    /// AES-GCM, RFC 7714; 16 or 32.
    | Gcm of KeySize: int

/// The session keys of RTP or of RTCP in one direction. A salt is what a packet's SSRC and index are added to to get its
/// IV, RFC 3711 §4.1.1, RFC 7714 §8.1: its first eight octets, and its other four or six with zeros behind them.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal SrtpCipher =
    | CounterMode of Cipher: ICounterKey * Mac: IHmacKey * TagSize: int * SaltHead: uint64 * SaltTail: uint64
    | Gcm of Cipher: IAeadKey * SaltHead: uint64 * SaltTail: uint64

/// What keys a derivation is for, RFC 3711 §4.3.1: the first of three labels, of cipher, authentication and salt.
type internal SrtpLabel =
    | Rtp = 0uy
    | Rtcp = 3uy

[<RequireQualifiedAccess>]
module internal SrtpTransform =
    /// Of AES-GCM, RFC 7714 §13.
    [<Literal>]
    let private GcmTagSize = 16

    /// Of an RTCP packet with HMAC-SHA1, whatever RTP's is, RFC 5764 §4.1.2.
    [<Literal>]
    let private RtcpTagSize = 10

    /// Of HMAC-SHA1's key, RFC 3711 §8.2.
    [<Literal>]
    let private AuthenticationKeySize = 20

    let ofProfile (profile: SrtpProfile) : SrtpTransform =
        match profile with
        | SrtpProfile.AeadAes128Gcm -> SrtpTransform.Gcm 16
        | SrtpProfile.AeadAes256Gcm -> SrtpTransform.Gcm 32
        | SrtpProfile.Aes128CmHmacSha1_32 -> SrtpTransform.CounterMode(16, 4)
        | _ -> SrtpTransform.CounterMode(16, 10)

    /// Octets of an RTP packet's tag.
    let rtpTagSize (transform: SrtpTransform) : int =
        match transform with
        | SrtpTransform.CounterMode(_, tag) -> tag
        | SrtpTransform.Gcm _ -> GcmTagSize

    /// Octets of an RTCP packet's tag.
    let rtcpTagSize (transform: SrtpTransform) : int =
        match transform with
        | SrtpTransform.CounterMode _ -> RtcpTagSize
        | SrtpTransform.Gcm _ -> GcmTagSize

    /// The first octets of the key stream that `label` selects, RFC 3711 §4.3.1 and §4.3.3, with a key derivation rate of
    /// zero; `prf` has the master key. A salt of 12 octets is one of 14 that ends in zeros.
    let derive (prf: ICounterKey) (salt: byte[]) (label: byte) (size: int) : byte[] =
        let counter = Array.zeroCreate<byte> 16
        Array.blit salt 0 counter 0 salt.Length
        counter[7] <- counter[7] ^^^ label
        let key = Array.zeroCreate<byte> size
        prf.Apply(ReadOnlySpan counter, Span key)
        key

    /// The cipher of session keys: `macKey` is that of HMAC-SHA1, `tagSize` that of its tags, and the salt has 14 or 12 octets.
    let cipher (ciphers: ICiphers) transform (cipherKey: byte[]) (macKey: byte[]) (tagSize: int) (salt: byte[]) =
        let block = Array.zeroCreate<byte> 16
        Array.blit salt 0 block 0 salt.Length
        let head = BinaryPrimitives.ReadUInt64BigEndian(ReadOnlySpan block)
        let tail = BinaryPrimitives.ReadUInt64BigEndian(ReadOnlySpan(block, 8, 8))

        match transform with
        | SrtpTransform.CounterMode _ ->
            let key = ciphers.CounterMode(ReadOnlySpan cipherKey)
            SrtpCipher.CounterMode(key, ciphers.HmacSha1(ReadOnlySpan macKey), tagSize, head, tail)
        | SrtpTransform.Gcm 32 ->
            SrtpCipher.Gcm(ciphers.Aead(AeadAlgorithm.Aes256Gcm, ReadOnlySpan cipherKey), head, tail)
        | SrtpTransform.Gcm _ ->
            SrtpCipher.Gcm(ciphers.Aead(AeadAlgorithm.Aes128Gcm, ReadOnlySpan cipherKey), head, tail)

    /// The session keys that a master key and salt give.
    let keys
        (ciphers: ICiphers)
        (transform: SrtpTransform)
        (key: byte[])
        (salt: byte[])
        (labels: SrtpLabel)
        : SrtpCipher =
        use prf = ciphers.CounterMode(ReadOnlySpan key)

        let derived part size =
            derive prf salt (byte labels + part) size

        let cipherKey = derived 0uy key.Length
        let macKey = derived 1uy AuthenticationKeySize

        let tagSize =
            if labels = SrtpLabel.Rtp then
                rtpTagSize transform
            else
                rtcpTagSize transform

        let made =
            cipher ciphers transform cipherKey macKey tagSize (derived 2uy salt.Length)

        Array.Clear cipherKey
        Array.Clear macKey
        made

[<RequireQualifiedAccess>]
module internal SrtpCipher =
    let dispose (cipher: SrtpCipher) : unit =
        match cipher with
        | SrtpCipher.CounterMode(cipher, mac, _, _, _) ->
            cipher.Dispose()
            mac.Dispose()
        | SrtpCipher.Gcm(cipher, _, _) -> cipher.Dispose()

    /// The first counter block, RFC 3711 §4.1.1. `index` has 48 or 31 bits.
    let private writeCounter (into: Span<byte>) (head: uint64) (tail: uint64) (ssrc: uint32) (index: uint64) =
        BinaryPrimitives.WriteUInt64BigEndian(into, head ^^^ uint64 ssrc)
        BinaryPrimitives.WriteUInt64BigEndian(into.Slice 8, tail ^^^ (index <<< 16))

    /// The nonce, RFC 7714 §8.1 and §9.1: 12 octets of the 16. `index` has 48 or 31 bits.
    let private writeNonce (into: Span<byte>) (head: uint64) (tail: uint64) (ssrc: uint32) (index: uint64) =
        BinaryPrimitives.WriteUInt64BigEndian(into, head ^^^ (uint64 ssrc <<< 16) ^^^ (index >>> 32))
        BinaryPrimitives.WriteUInt64BigEndian(into.Slice 8, tail ^^^ (index <<< 32))

    /// Adds the key stream to `text`.
    let applyCounter (key: ICounterKey) head tail ssrc index (text: Span<byte>) =
        let mutable block = UInt128.Zero
        let counter = MemoryMarshal.AsBytes(Span(&block))
        writeCounter counter head tail ssrc index
        key.Apply(Span.op_Implicit counter, text)

    /// Seals `text` and writes its tag.
    let sealGcm
        (key: IAeadKey)
        head
        tail
        ssrc
        index
        (associated: ReadOnlySpan<byte>)
        (text: Span<byte>)
        (tag: Span<byte>)
        =
        let mutable block = UInt128.Zero
        let nonce = MemoryMarshal.AsBytes(Span(&block))
        writeNonce nonce head tail ssrc index
        key.Seal(Span.op_Implicit (nonce.Slice(0, 12)), associated, text, tag)

    /// Opens `text`; false where its tag does not fit.
    let openGcm
        (key: IAeadKey)
        head
        tail
        ssrc
        index
        (associated: ReadOnlySpan<byte>)
        (text: Span<byte>)
        (tag: ReadOnlySpan<byte>)
        : bool =
        let mutable block = UInt128.Zero
        let nonce = MemoryMarshal.AsBytes(Span(&block))
        writeNonce nonce head tail ssrc index
        key.Open(Span.op_Implicit (nonce.Slice(0, 12)), associated, text, tag)

    /// What RTCP authenticates but does not encrypt: the eight octets in the clear, and the index with its flag, RFC 7714 §9.2.
    let private writeAssociated (into: Span<byte>) (clear: ReadOnlySpan<byte>) (flagged: uint32) =
        clear.CopyTo into
        BinaryPrimitives.WriteUInt32BigEndian(into.Slice clear.Length, flagged)

    /// Seals an RTCP packet; `flagged` is its index with the E flag before it.
    let sealGcmIndexed key head tail ssrc (flagged: uint32) (clear: ReadOnlySpan<byte>) (text: Span<byte>) tag =
        let mutable block = UInt128.Zero
        let associated = MemoryMarshal.AsBytes(Span(&block)).Slice(0, clear.Length + 4)
        writeAssociated associated clear flagged
        let index = uint64 (flagged &&& 0x7fffffffu)
        sealGcm key head tail ssrc index (Span.op_Implicit associated) text tag

    /// Opens an RTCP packet; false where its tag does not fit.
    let openGcmIndexed key head tail ssrc (flagged: uint32) (clear: ReadOnlySpan<byte>) (text: Span<byte>) tag : bool =
        let mutable block = UInt128.Zero
        let associated = MemoryMarshal.AsBytes(Span(&block)).Slice(0, clear.Length + 4)
        writeAssociated associated clear flagged
        let index = uint64 (flagged &&& 0x7fffffffu)
        openGcm key head tail ssrc index (Span.op_Implicit associated) text tag

    /// The tag of an RTP packet: over it and its rollover counter, RFC 3711 §4.2.
    let tagRtp (mac: IHmacKey) (packet: ReadOnlySpan<byte>) (index: uint64) (into: Span<byte>) =
        let mutable counter = 0u
        let rollover = MemoryMarshal.AsBytes(Span(&counter))
        BinaryPrimitives.WriteUInt32BigEndian(rollover, uint32 (index >>> 16))
        mac.Compute(packet, Span.op_Implicit rollover, into)

    /// Whether a tag is that of an RTP packet.
    let fitsRtp (mac: IHmacKey) (packet: ReadOnlySpan<byte>) (index: uint64) (tag: ReadOnlySpan<byte>) : bool =
        let mutable block = UInt128.Zero
        let right = MemoryMarshal.AsBytes(Span(&block)).Slice(0, tag.Length)
        tagRtp mac packet index right
        Ciphers.equal (Span.op_Implicit right) tag

    /// Whether a tag is that of an RTCP packet, its index included.
    let fitsRtcp (mac: IHmacKey) (packet: ReadOnlySpan<byte>) (tag: ReadOnlySpan<byte>) : bool =
        let mutable block = UInt128.Zero
        let right = MemoryMarshal.AsBytes(Span(&block)).Slice(0, tag.Length)
        mac.Compute(packet, ReadOnlySpan.Empty, right)
        Ciphers.equal (Span.op_Implicit right) tag
