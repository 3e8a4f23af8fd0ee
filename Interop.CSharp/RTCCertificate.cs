using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Hybrid.WebRtc.Stack;

namespace Hybrid.WebRtc;

/// <summary>
/// The certificate that a connection shows in DTLS, with its private key,
/// <see href="https://www.w3.org/TR/webrtc/#rtccertificate-interface">RTCCertificate</see>. Made by
/// <see cref="RTCPeerConnection.GenerateCertificateAsync"/>, or read from PEM. Immutable; connections may share it.
/// </summary>
public sealed class RTCCertificate
{
    internal RTCCertificate(Certificate inner) => Inner = inner;

    internal Certificate Inner { get; }

    /// <summary>When it expires. A connection cannot be made with it from then on.</summary>
    public DateTimeOffset Expires => Inner.NotAfter;

    /// <summary>Its fingerprints as descriptions carry them, RFC 8122 §5: one, of <c>sha-256</c>.</summary>
    public IReadOnlyList<RTCDtlsFingerprint> GetFingerprints() =>
        [new("sha-256", Inner.Fingerprint("sha-256").ToLowerInvariant())];

    /// <summary>The X.509 certificate, DER, without the private key.</summary>
    public byte[] ToDer() => [.. Inner.Der];

    /// <summary>
    /// The certificate and its private key (PKCS#8, not encrypted) as PEM: whoever has it can pose as this peer.
    /// </summary>
    public string ToPem() => Inner.ToPem();

    /// <summary>Reads what <see cref="ToPem"/> wrote: a certificate and its private key, ECDSA (P-256, P-384) or RSA.</summary>
    /// <exception cref="CryptographicException">The text holds no certificate, or no private key that fits it.</exception>
    /// <exception cref="ArgumentException">The key is of another kind.</exception>
    public static RTCCertificate FromPem(string pem) => new(Certificate.FromPem(pem));

    /// <summary>The certificate of one that has its private key: ECDSA (P-256, P-384) or RSA.</summary>
    /// <exception cref="ArgumentException">It has no private key, or one of another kind.</exception>
    public static RTCCertificate FromX509(X509Certificate2 certificate) => new(Certificate.From(certificate));
}

/// <summary>A certificate's fingerprint, <see href="https://www.w3.org/TR/webrtc/#dom-rtcdtlsfingerprint">RTCDtlsFingerprint</see>.</summary>
/// <param name="Algorithm">The hash function's name in lower case, such as <c>sha-256</c>.</param>
/// <param name="Value">Two lower-case hexadecimal digits an octet, separated by colons.</param>
public sealed record RTCDtlsFingerprint(string Algorithm, string Value);

/// <summary>
/// What key <see cref="RTCPeerConnection.GenerateCertificateAsync"/> makes: the two algorithms that
/// <see href="https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-generatecertificate">W3C</see> requires.
/// </summary>
public enum RTCCertificateAlgorithm
{
    /// <summary>ECDSA on P-256: small, and quick to make.</summary>
    EcdsaP256,

    /// <summary>RSASSA-PKCS1-v1_5 with 2048 bits and SHA-256: for peers that know nothing else.</summary>
    Rsa2048,
}
