using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Hybrid.WebRtc.Core;
using Org.BouncyCastle.Crypto.Digests;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Crypto.Signers;
using BcInteger = Org.BouncyCastle.Math.BigInteger;

namespace Hybrid.WebRtc.Stack;

/// <summary>Signatures as TLS makes and checks them.</summary>
internal static class Signatures
{
    /// <summary>Below 2048 bits RFC 9325 §4.5 forbids; above 8192 a peer would buy our time too cheaply.</summary>
    private const int SmallestRsa = 2048,
        LargestRsa = 8192;

    /// <summary>The hash of a scheme, RFC 8446 §4.2.3.</summary>
    public static HashAlgorithmName HashOf(SignatureScheme scheme) =>
        scheme switch
        {
            SignatureScheme.RsaPkcs1Sha256
            or SignatureScheme.EcdsaSecp256r1Sha256
            or SignatureScheme.RsaPssRsaeSha256 => HashAlgorithmName.SHA256,
            SignatureScheme.RsaPkcs1Sha384
            or SignatureScheme.EcdsaSecp384r1Sha384
            or SignatureScheme.RsaPssRsaeSha384 => HashAlgorithmName.SHA384,
            _ => HashAlgorithmName.SHA512,
        };

    /// <summary>Whether the certificate's key made the signature. Never throws: all four come from the peer.</summary>
    public static bool Verify(
        ReadOnlySpan<byte> certificate,
        SignatureScheme scheme,
        ReadOnlySpan<byte> data,
        ReadOnlySpan<byte> signature
    )
    {
        try
        {
            using var x509 = X509CertificateLoader.LoadCertificate(certificate);
            var hash = HashOf(scheme);
            switch (scheme)
            {
                // In TLS 1.2 the scheme names the hash alone; the curve is the key's (RFC 8422 §5.1.3).
                case SignatureScheme.EcdsaSecp256r1Sha256:
                case SignatureScheme.EcdsaSecp384r1Sha384:
                    using (var ecdsa = x509.GetECDsaPublicKey())
                        return ecdsa is not null
                            && ecdsa.VerifyData(data, signature, hash, DSASignatureFormat.Rfc3279DerSequence);

                case SignatureScheme.RsaPkcs1Sha256:
                case SignatureScheme.RsaPkcs1Sha384:
                case SignatureScheme.RsaPkcs1Sha512:
                    return VerifyRsa(x509, data, signature, hash, RSASignaturePadding.Pkcs1);

                case SignatureScheme.RsaPssRsaeSha256:
                case SignatureScheme.RsaPssRsaeSha384:
                case SignatureScheme.RsaPssRsaeSha512:
                    return VerifyRsa(x509, data, signature, hash, RSASignaturePadding.Pss);

                default:
                    return false;
            }
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or NotSupportedException)
        {
            // A certificate or key that the platform cannot read.
            return false;
        }
    }

    private static bool VerifyRsa(
        X509Certificate2 x509,
        ReadOnlySpan<byte> data,
        ReadOnlySpan<byte> signature,
        HashAlgorithmName hash,
        RSASignaturePadding padding
    )
    {
        using var rsa = x509.GetRSAPublicKey();
        return rsa is { KeySize: >= SmallestRsa and <= LargestRsa } && rsa.VerifyData(data, signature, hash, padding);
    }
}

/// <summary>ECDSA with the nonce of RFC 6979: the same message has the same signature, so a handshake replays.</summary>
internal sealed class EcdsaSigningKey : ISigningKey
{
    private readonly ECPrivateKeyParameters _key;

    /// <summary>The key of an ECDSA private key on P-256 or P-384.</summary>
    /// <exception cref="ArgumentException">The key is on another curve, or has no private part.</exception>
    public EcdsaSigningKey(ECDsa key)
    {
        (var curve, Schemes) = key.KeySize switch
        {
            256 => (Curves.P256, new[] { SignatureScheme.EcdsaSecp256r1Sha256 }),
            384 => (Curves.P384, [SignatureScheme.EcdsaSecp384r1Sha384, SignatureScheme.EcdsaSecp256r1Sha256]),
            var bits => throw new ArgumentException(
                $"An ECDSA key is on P-256 or P-384, not on a curve of {bits} bits."
            ),
        };

        var parameters = key.ExportParameters(includePrivateParameters: true);
        _key = new ECPrivateKeyParameters(new BcInteger(1, parameters.D), curve.Domain);
        CryptographicOperations.ZeroMemory(parameters.D);
    }

    /// <inheritdoc />
    public SignatureScheme[] Schemes { get; }

    /// <inheritdoc />
    public byte[] Sign(SignatureScheme scheme, ReadOnlySpan<byte> data)
    {
        var hash = Signatures.HashOf(scheme);
        var isSha256 = hash == HashAlgorithmName.SHA256;
        var digest = CryptographicOperations.HashData(hash, data);
        var signer = new ECDsaSigner(new HMacDsaKCalculator(isSha256 ? new Sha256Digest() : new Sha384Digest()));
        signer.Init(true, _key);
        var rs = signer.GenerateSignature(digest);
        return StandardDsaEncoding.Instance.Encode(signer.Order, rs[0], rs[1]);
    }
}

/// <summary>RSA PKCS#1 v1.5, which is deterministic. RSA-PSS draws a salt, so it is checked but not made here.</summary>
/// <param name="key">With its private part; lent for as long as this lives.</param>
internal sealed class RsaSigningKey(RSA key) : ISigningKey
{
    // RSA objects do not promise to serve several threads, and a certificate serves every loop.
    private readonly Lock _gate = new();

    /// <inheritdoc />
    public SignatureScheme[] Schemes { get; } =
    [SignatureScheme.RsaPkcs1Sha256, SignatureScheme.RsaPkcs1Sha384, SignatureScheme.RsaPkcs1Sha512];

    /// <inheritdoc />
    public byte[] Sign(SignatureScheme scheme, ReadOnlySpan<byte> data)
    {
        lock (_gate)
            return key.SignData(data.ToArray(), Signatures.HashOf(scheme), RSASignaturePadding.Pkcs1);
    }
}
