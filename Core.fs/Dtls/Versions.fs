namespace Hybrid.WebRtc.Core

/// Versions of DTLS, by code point. Newer ones have smaller numbers.
type DtlsVersion =
    /// RFC 6347.
    | Dtls12 = 0xfefd
    /// RFC 9147.
    | Dtls13 = 0xfefc

/// Cipher suites that are offered and accepted, by code point: ephemeral keys and AEAD only.
type CipherSuite =
    // Of DTLS 1.3, RFC 8446 §B.4.
    | Aes128GcmSha256 = 0x1301
    | Aes256GcmSha384 = 0x1302
    | ChaCha20Poly1305Sha256 = 0x1303
    // Of DTLS 1.2, RFC 5289 and RFC 7905; RFC 8827 §6.5 demands the first.
    | EcdheEcdsaAes128GcmSha256 = 0xc02b
    | EcdheEcdsaAes256GcmSha384 = 0xc02c
    | EcdheRsaAes128GcmSha256 = 0xc02f
    | EcdheRsaAes256GcmSha384 = 0xc030
    | EcdheRsaChaCha20Poly1305Sha256 = 0xcca8
    | EcdheEcdsaChaCha20Poly1305Sha256 = 0xcca9

[<RequireQualifiedAccess>]
module internal DtlsVersion =
    /// For a person to read.
    let name (version: DtlsVersion) : string =
        match version with
        | DtlsVersion.Dtls13 -> "DTLS 1.3"
        | _ -> "DTLS 1.2"

    /// Whether a version lies within bounds.
    let isWithin (oldest: DtlsVersion) (newest: DtlsVersion) (version: DtlsVersion) : bool =
        int oldest >= int version && int version >= int newest
