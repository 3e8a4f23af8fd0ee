namespace Hybrid.WebRtc.Core.Tls13

open System
open System.Text
open Hybrid.WebRtc.Core

/// What a suite of 1.3 stands for.
[<RequireQualifiedAccess>]
module internal Suite13 =
    /// In the order in which ours are offered. AES first: its every packet is sealed by the processor.
    let all: CipherSuite[] =
        [| CipherSuite.Aes128GcmSha256
           CipherSuite.Aes256GcmSha384
           CipherSuite.ChaCha20Poly1305Sha256 |]

    /// Whether a suite is of 1.3.
    let isOne (suite: CipherSuite) : bool = Array.contains suite all

    /// As IANA registers it.
    let name (suite: CipherSuite) : string =
        match suite with
        | CipherSuite.Aes128GcmSha256 -> "TLS_AES_128_GCM_SHA256"
        | CipherSuite.Aes256GcmSha384 -> "TLS_AES_256_GCM_SHA384"
        | _ -> "TLS_CHACHA20_POLY1305_SHA256"

    let aead (suite: CipherSuite) : AeadAlgorithm =
        match suite with
        | CipherSuite.Aes128GcmSha256 -> AeadAlgorithm.Aes128Gcm
        | CipherSuite.Aes256GcmSha384 -> AeadAlgorithm.Aes256Gcm
        | _ -> AeadAlgorithm.ChaCha20Poly1305

    let keySize (suite: CipherSuite) : int =
        if suite = CipherSuite.Aes128GcmSha256 then 16 else 32

    /// Of HKDF and of the transcript.
    let hash (suite: CipherSuite) : HashAlgorithm =
        if suite = CipherSuite.Aes256GcmSha384 then
            HashAlgorithm.Sha384
        else
            HashAlgorithm.Sha256

    /// Records that one key may seal, RFC 8446 §5.5 and RFC 9147 §4.5.3: with AES-GCM 2^24.5 full ones.
    let sealLimit (suite: CipherSuite) : uint64 =
        match aead suite with
        | AeadAlgorithm.ChaCha20Poly1305 -> UInt64.MaxValue
        | _ -> 23_726_566UL

    /// Records that may fail to open under one key before the connection ends, RFC 9147 §4.5.3: 2^36.
    let forgeryLimit: uint64 = 1UL <<< 36

/// HKDF, RFC 5869, with the labels of TLS 1.3, RFC 8446 §7.1.
[<RequireQualifiedAccess>]
module internal Hkdf =
    /// HKDF-Extract, RFC 5869 §2.2.
    let extract (ciphers: ICiphers) (hash: HashAlgorithm) (salt: byte[]) (secret: byte[]) : byte[] =
        Ciphers.hmac ciphers hash (ReadOnlySpan salt) (ReadOnlySpan secret)

    /// HKDF-Expand, RFC 5869 §2.3. `length` is 255 hashes at most.
    let expand (ciphers: ICiphers) (hash: HashAlgorithm) (secret: byte[]) (info: byte[]) (length: int) : byte[] =
        let into = Array.zeroCreate length
        let mutable block = Array.empty
        let mutable filled = 0
        let mutable counter = 1uy

        while filled < length do
            let input = Array.concat [| block; info; [| counter |] |]
            block <- Ciphers.hmac ciphers hash (ReadOnlySpan secret) (ReadOnlySpan input)
            let n = min block.Length (length - filled)
            Array.blit block 0 into filled n
            filled <- filled + n
            counter <- counter + 1uy

        into

    /// HKDF-Expand-Label, RFC 8446 §7.1. `prefix` is "tls13 ", or "dtls13" (RFC 9147 §5.9).
    let expandLabel ciphers hash (prefix: string) (secret: byte[]) (label: string) (context: byte[]) (length: int) =
        let label = Encoding.ASCII.GetBytes(prefix + label)
        let info = Array.zeroCreate (4 + label.Length + context.Length)
        let mutable w = Writer(Span info)
        w.UInt16(uint16 length)
        w.Byte(byte label.Length)
        w.Bytes(ReadOnlySpan label)
        w.Byte(byte context.Length)
        w.Bytes(ReadOnlySpan context)
        expand ciphers hash secret info length

/// The key schedule, RFC 8446 §7.1, without PSKs:
///
///     0 ─Extract─▶ early ─"derived"─Extract with the shared secret─▶ handshake ─"derived"─Extract─▶ master
///                                                                       │                             │
///                                              "c hs traffic", "s hs traffic"     "c ap traffic", "s ap traffic", "exp master"
[<NoComparison; NoEquality>]
type internal KeySchedule =
    {
        Ciphers: ICiphers
        Suite: CipherSuite
        /// Of the labels.
        Prefix: string
    }

[<RequireQualifiedAccess>]
module internal KeySchedule =
    /// DTLS 1.3's, RFC 9147 §5.9.
    let create (ciphers: ICiphers) (suite: CipherSuite) : KeySchedule =
        { Ciphers = ciphers
          Suite = suite
          Prefix = "dtls13" }

    let private hash (k: KeySchedule) = Suite13.hash k.Suite

    let private hashSize (k: KeySchedule) = Ciphers.hashSize (hash k)

    let private label (k: KeySchedule) secret name context length =
        Hkdf.expandLabel k.Ciphers (hash k) k.Prefix secret name context length

    /// The hash of a transcript: of messages as TLS has them, without the fields of DTLS (RFC 9147 §5.2).
    let transcript (k: KeySchedule) (messages: byte[]) : byte[] =
        Ciphers.hash k.Ciphers (hash k) (ReadOnlySpan messages)

    /// Derive-Secret with a transcript's hash.
    let derive (k: KeySchedule) (secret: byte[]) (name: string) (transcriptHash: byte[]) : byte[] =
        label k secret name transcriptHash (hashSize k)

    let private next (k: KeySchedule) (secret: byte[]) (input: byte[]) : byte[] =
        Hkdf.extract k.Ciphers (hash k) (derive k secret "derived" (transcript k [||])) input

    /// The handshake secret, of what the key agreement made.
    let handshake (k: KeySchedule) (shared: byte[]) : byte[] =
        let zeros = Array.zeroCreate (hashSize k)
        next k (Hkdf.extract k.Ciphers (hash k) zeros zeros) shared

    /// The master secret.
    let master (k: KeySchedule) (handshake: byte[]) : byte[] =
        next k handshake (Array.zeroCreate (hashSize k))

    /// The verify_data of a Finished, RFC 8446 §4.4.4. `traffic` is the sender's handshake traffic secret.
    let finished (k: KeySchedule) (traffic: byte[]) (transcriptHash: byte[]) : byte[] =
        let key = label k traffic "finished" [||] (hashSize k)
        Ciphers.hmac k.Ciphers (hash k) (ReadOnlySpan key) (ReadOnlySpan transcriptHash)

    /// The traffic secret after a KeyUpdate, RFC 8446 §7.2.
    let update (k: KeySchedule) (traffic: byte[]) : byte[] =
        label k traffic "traffic upd" [||] (hashSize k)

    /// Keying material, RFC 8446 §7.5. `exporter` is the exporter master secret.
    let export (k: KeySchedule) (exporter: byte[]) (name: string) (context: byte[]) (length: int) : byte[] =
        label k (derive k exporter name (transcript k [||])) "exporter" (transcript k context) length

    /// A traffic secret's key, IV and key for sequence numbers, RFC 8446 §7.3 and RFC 9147 §4.2.3.
    let traffic (k: KeySchedule) (secret: byte[]) : struct (byte[] * byte[] * byte[]) =
        let size = Suite13.keySize k.Suite
        struct (label k secret "key" [||] size, label k secret "iv" [||] 12, label k secret "sn" [||] size)
