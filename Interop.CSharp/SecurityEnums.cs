namespace Hybrid.WebRtc;

/// <summary>Who seals and opens packets with AES-GCM. All compute the same; the rest of the cryptography is the platform's in any case.</summary>
public enum WebRtcCiphers
{
    /// <summary>The processor's instructions where it has them, else the platform's library.</summary>
    Automatic,

    /// <summary>The platform's library (OpenSSL, CNG, CryptoKit), for those whose rules name it.</summary>
    Platform,

    /// <summary>The processor's instructions: x86 with AES-NI and PCLMULQDQ. Where it has none, making a connection throws <see cref="PlatformNotSupportedException"/>.</summary>
    Intrinsic,
}

/// <summary>Versions of DTLS, by their number on the wire: the newer, the smaller.</summary>
public enum WebRtcDtlsVersion
{
    /// <summary>RFC 6347: what every peer has.</summary>
    Dtls12 = 0xfefd,

    /// <summary>RFC 9147.</summary>
    Dtls13 = 0xfefc,
}

/// <summary>Groups that keys are agreed on in, by their code point in TLS, RFC 8446 §4.2.7.</summary>
public enum WebRtcDtlsGroup
{
    /// <summary>The NIST's curve P-256.</summary>
    Secp256r1 = 0x0017,

    /// <summary>The NIST's curve P-384.</summary>
    Secp384r1 = 0x0018,

    /// <summary>Curve25519, RFC 7748.</summary>
    X25519 = 0x001d,

    /// <summary>
    /// ML-KEM-768 (FIPS 203) and X25519 together, draft-ietf-tls-ecdhe-mlkem: safe while either of them is, against a quantum computer, too. Of DTLS 1.3.
    /// </summary>
    X25519MLKEM768 = 0x11ec,
}

/// <summary>SRTP protection profiles, by their code point in <c>use_srtp</c>, RFC 5764 §4.1.2 and RFC 7714 §14.2.</summary>
public enum WebRtcSrtpProfile
{
    /// <summary>AES-128 in counter mode, a tag of 80 bits: what every peer has.</summary>
    Aes128CmHmacSha1_80 = 1,

    /// <summary>The same with a tag of 32 bits.</summary>
    Aes128CmHmacSha1_32 = 2,

    /// <summary>AES-128 in Galois/counter mode.</summary>
    AeadAes128Gcm = 7,

    /// <summary>AES-256 in Galois/counter mode.</summary>
    AeadAes256Gcm = 8,
}
