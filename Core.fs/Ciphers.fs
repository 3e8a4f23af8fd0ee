namespace Hybrid.WebRtc.Core

open System

/// Hash functions that the protocols name.
type HashAlgorithm =
    /// 16 octets; TURN's long-term credentials only.
    | Md5 = 0
    /// 20 octets; STUN MESSAGE-INTEGRITY, SRTP.
    | Sha1 = 1
    /// 32 octets.
    | Sha256 = 2
    /// 48 octets.
    | Sha384 = 3
    /// 64 octets.
    | Sha512 = 4

/// Authenticated ciphers of DTLS and SRTP. Nonces are 12 octets, tags 16.
type AeadAlgorithm =
    | Aes128Gcm = 0
    | Aes256Gcm = 1
    | ChaCha20Poly1305 = 2

/// Key agreement groups, by their code point in TLS NamedGroup (RFC 8422 §5.1.1).
type NamedGroup =
    | Secp256r1 = 0x0017
    | Secp384r1 = 0x0018
    | X25519 = 0x001d
    /// ML-KEM-768 (FIPS 203) and X25519 together, draft-ietf-tls-ecdhe-mlkem: safe while either of them is.
    | X25519MLKEM768 = 0x11ec

/// Signature schemes, by their code point in TLS SignatureScheme (RFC 8446 §4.2.3; in TLS 1.2 the pair of hash and signature).
type SignatureScheme =
    | RsaPkcs1Sha256 = 0x0401
    | RsaPkcs1Sha384 = 0x0501
    | RsaPkcs1Sha512 = 0x0601
    | EcdsaSecp256r1Sha256 = 0x0403
    | EcdsaSecp384r1Sha384 = 0x0503
    | RsaPssRsaeSha256 = 0x0804
    | RsaPssRsaeSha384 = 0x0805
    | RsaPssRsaeSha512 = 0x0806

/// A key of an authenticated cipher, made by `ICiphers.Aead`. Safe to use from one thread at a time.
type IAeadKey =
    inherit IDisposable

    /// Encrypts `text` in place and writes its 16-octet tag. `nonce` is 12 octets. `tag` and `text` do not overlap.
    abstract Seal:
        nonce: ReadOnlySpan<byte> * associated: ReadOnlySpan<byte> * text: Span<byte> * tag: Span<byte> -> unit

    /// Decrypts `text` in place. False, with `text` undefined, where the tag does not fit.
    abstract Open:
        nonce: ReadOnlySpan<byte> * associated: ReadOnlySpan<byte> * text: Span<byte> * tag: ReadOnlySpan<byte> -> bool

/// A key of AES in counter mode (SP 800-38A §6.5), made by `ICiphers.CounterMode`. Safe to use from one thread at a time.
type ICounterKey =
    inherit IDisposable

    /// Adds the key stream to `text` in place, which encrypts and decrypts. `counter` is the first counter block: 16 octets, a
    /// number in network order that is counted up modulo 2¹²⁸.
    abstract Apply: counter: ReadOnlySpan<byte> * text: Span<byte> -> unit

/// A key of HMAC (RFC 2104), made by `ICiphers.HmacSha1`, for many short messages. Safe to use from one thread at a time.
type IHmacKey =
    inherit IDisposable
    /// The HMAC of `first` and then `second`, of which `into` gets as many octets as it has room for, the leftmost first.
    abstract Compute: first: ReadOnlySpan<byte> * second: ReadOnlySpan<byte> * into: Span<byte> -> unit

/// Our half of a key agreement, made by `ICiphers.Agree` from a seed: the same seed makes the same key.
type IKeyShare =
    inherit IDisposable
    /// The public share as it goes on the wire: 32 octets for X25519, an uncompressed point (4, x, y) for the curves; 1,216 octets for
    /// X25519MLKEM768, the encapsulation key first.
    abstract Public: byte[]
    /// The shared secret with the share of a peer that answered ours; ValueNone where that is malformed, off the curve or of small
    /// order (RFC 7748 §6.1, RFC 8422 §5.11).
    abstract Secret: peer: ReadOnlySpan<byte> -> byte[] voption

/// The private key of a certificate. ECDSA signatures are deterministic (RFC 6979); those that are not a journal has, so that a handshake
/// replays.
type ISigningKey =
    /// The schemes that this key can sign with, best first.
    abstract Schemes: SignatureScheme[]
    /// The signature of `data`, as TLS carries it (DER for ECDSA). `scheme` is one of `Schemes`.
    abstract Sign: scheme: SignatureScheme * data: ReadOnlySpan<byte> -> byte[]

/// The crypto capability: deterministic functions over spans, implemented outside the core. Nothing here throws at a peer's behest.
type ICiphers =
    /// A key of 16 (Aes128Gcm) or 32 octets.
    abstract Aead: algorithm: AeadAlgorithm * key: ReadOnlySpan<byte> -> IAeadKey
    /// The hash of `data`, into memory of exactly the hash's size.
    abstract Hash: algorithm: HashAlgorithm * data: ReadOnlySpan<byte> * into: Span<byte> -> unit

    /// HMAC (RFC 2104) of `data`, into memory of exactly the hash's size.
    abstract Hmac:
        algorithm: HashAlgorithm * key: ReadOnlySpan<byte> * data: ReadOnlySpan<byte> * into: Span<byte> -> unit

    /// A key of AES in counter mode, of 16 or 32 octets.
    abstract CounterMode: key: ReadOnlySpan<byte> -> ICounterKey
    /// A key of HMAC-SHA1, of any size.
    abstract HmacSha1: key: ReadOnlySpan<byte> -> IHmacKey

    /// Our half of a key agreement; `seed` is 64 octets of entropy, the same seed makes the same key.
    abstract Agree: group: NamedGroup * seed: ReadOnlySpan<byte> -> IKeyShare

    /// Answers a peer's share: our share for the wire, and the shared secret. ValueNone where the peer's is malformed, off the curve
    /// or of small order. `seed` is 64 octets of entropy. With a group of Diffie-Hellman both sides do the same; with ML-KEM this side
    /// encapsulates a secret to the peer's key, so that the share is 1,120 octets, the ciphertext first.
    abstract Answer:
        group: NamedGroup * seed: ReadOnlySpan<byte> * peer: ReadOnlySpan<byte> -> struct (byte[] * byte[]) voption

    /// Whether `signature` over `data` was made by the key of this X.509 certificate (DER). False, too, where the
    /// certificate does not parse or its key does not fit the scheme.
    abstract Verify:
        certificate: ReadOnlySpan<byte> *
        scheme: SignatureScheme *
        data: ReadOnlySpan<byte> *
        signature: ReadOnlySpan<byte> ->
            bool

/// Hashes and comparisons in terms of the capability.
[<RequireQualifiedAccess>]
module Ciphers =
    /// Octets of a hash.
    let hashSize (algorithm: HashAlgorithm) : int =
        match algorithm with
        | HashAlgorithm.Md5 -> 16
        | HashAlgorithm.Sha1 -> 20
        | HashAlgorithm.Sha256 -> 32
        | HashAlgorithm.Sha384 -> 48
        | _ -> 64

    /// The hash of `data` as a new array.
    let hash (ciphers: ICiphers) (algorithm: HashAlgorithm) (data: ReadOnlySpan<byte>) : byte[] =
        let into = Array.zeroCreate<byte>(hashSize algorithm)
        ciphers.Hash(algorithm, data, into)
        into

    /// The HMAC of `data` as a new array.
    let hmac (ciphers: ICiphers) (algorithm: HashAlgorithm) (key: ReadOnlySpan<byte>) (data: ReadOnlySpan<byte>) =
        let into = Array.zeroCreate<byte>(hashSize algorithm)
        ciphers.Hmac(algorithm, key, data, into)
        into

    /// Equality in a time that depends on the lengths only.
    let equal (a: ReadOnlySpan<byte>) (b: ReadOnlySpan<byte>) : bool =
        let mutable difference = a.Length ^^^ b.Length

        for i in 0 .. min a.Length b.Length - 1 do
            difference <- difference ||| int (a[i] ^^^ b[i])

        difference = 0
