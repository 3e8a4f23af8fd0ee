using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>Which key a certificate is made for, W3C WebRTC 1.0 §4.9.</summary>
internal enum CertificateKind
{
    /// <summary>ECDSA on P-256: small, and quick to make.</summary>
    EcdsaP256,

    /// <summary>RSASSA-PKCS1-v1_5 with 2048 bits: for peers that know nothing else.</summary>
    Rsa2048,
}

/// <summary>
/// The certificate that a peer shows in DTLS, with its private key. Self-signed: trust comes from the fingerprint that
/// signalling carries (RFC 8122), never from a name or an authority. Immutable, and safe to share between connections.
/// </summary>
internal sealed class Certificate
{
    /// <summary>A name that tells nothing about its owner, as browsers have it.</summary>
    private const string CommonName = "CN=WebRTC";

    private static readonly TimeSpan DefaultLifetime = TimeSpan.FromDays(30);

    /// <summary>A peer whose clock is behind by less than this still sees a valid certificate.</summary>
    private static readonly TimeSpan ClockSkew = TimeSpan.FromDays(1);

    private static readonly Lock Gate = new();
    private static Certificate? s_default;

    private readonly AsymmetricAlgorithm _privateKey;

    private Certificate(byte[] der, AsymmetricAlgorithm privateKey, DateTimeOffset notAfter)
    {
        Der = der;
        NotAfter = notAfter;
        _privateKey = privateKey;
        Key = privateKey switch
        {
            ECDsa ecdsa => new EcdsaSigningKey(ecdsa),
            RSA rsa => new RsaSigningKey(rsa),
            _ => throw new ArgumentException("A certificate's key is ECDSA or RSA."),
        };
    }

    /// <summary>The X.509 certificate. Not to be changed.</summary>
    public byte[] Der { get; }

    /// <summary>The private key, as the handshake uses it.</summary>
    public ISigningKey Key { get; }

    /// <summary>When it expires.</summary>
    public DateTimeOffset NotAfter { get; }

    /// <summary>
    /// The certificate that connections have when their user gives none: ECDSA P-256, made at first use, made anew
    /// half-way through its life.
    /// </summary>
    public static Certificate Default
    {
        get
        {
            lock (Gate)
                return s_default is { } made && made.NotAfter - DateTimeOffset.UtcNow > DefaultLifetime / 2
                    ? made
                    : s_default = Create();
        }
    }

    /// <summary>A new self-signed certificate.</summary>
    /// <param name="kind">Its key.</param>
    /// <param name="lifetime">From now; 30 days where it is null.</param>
    public static Certificate Create(CertificateKind kind = CertificateKind.EcdsaP256, TimeSpan? lifetime = null)
    {
        var now = DateTimeOffset.UtcNow;
        var notAfter = now + (lifetime ?? DefaultLifetime);
        AsymmetricAlgorithm key = kind switch
        {
            CertificateKind.EcdsaP256 => ECDsa.Create(ECCurve.NamedCurves.nistP256),
            CertificateKind.Rsa2048 => RSA.Create(2048),
            _ => throw new ArgumentOutOfRangeException(nameof(kind)),
        };
        var request = key switch
        {
            ECDsa ecdsa => new CertificateRequest(CommonName, ecdsa, HashAlgorithmName.SHA256),
            _ => new CertificateRequest(CommonName, (RSA)key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
        };

        // CreateSelfSigned draws a random serial number of its own.
        using var x509 = request.CreateSelfSigned(now - ClockSkew, notAfter);
        return new Certificate(x509.RawData, key, new DateTimeOffset(x509.NotAfter));
    }

    /// <summary>The certificate of one that has its private key: ECDSA on P-256 or P-384, or RSA.</summary>
    /// <exception cref="ArgumentException">It has no private key, or one of another kind.</exception>
    public static Certificate From(X509Certificate2 x509)
    {
        AsymmetricAlgorithm? key = (AsymmetricAlgorithm?)x509.GetECDsaPrivateKey() ?? x509.GetRSAPrivateKey();
        return key is null
            ? throw new ArgumentException("The certificate has no ECDSA or RSA private key.", nameof(x509))
            : new Certificate(x509.RawData, key, new DateTimeOffset(x509.NotAfter));
    }

    /// <summary>Reads what <see cref="ToPem"/> wrote: a certificate and its PKCS#8 private key.</summary>
    /// <exception cref="CryptographicException">The text holds no certificate, or no private key that fits it.</exception>
    public static Certificate FromPem(string pem)
    {
        using var x509 = X509Certificate2.CreateFromPem(pem, pem);
        return From(x509);
    }

    /// <summary>The certificate and its private key (PKCS#8, not encrypted) as PEM. Keep it secret.</summary>
    public string ToPem() =>
        PemEncoding.WriteString("CERTIFICATE", Der) + "\n" + _privateKey.ExportPkcs8PrivateKeyPem() + "\n";

    /// <summary>The fingerprint of the DER, as SDP prints it: <c>AB:CD:…</c>, RFC 8122 §5.</summary>
    /// <param name="algorithm"><c>sha-256</c>, <c>sha-384</c> or <c>sha-512</c>.</param>
    public string Fingerprint(string algorithm = "sha-256")
    {
        var hash = algorithm switch
        {
            "sha-256" => SHA256.HashData(Der),
            "sha-384" => SHA384.HashData(Der),
            "sha-512" => SHA512.HashData(Der),
            _ => throw new ArgumentException($"'{algorithm}' is not sha-256, sha-384 or sha-512.", nameof(algorithm)),
        };
        return string.Join(':', Convert.ToHexString(hash).Chunk(2).Select(pair => new string(pair)));
    }
}
