using System.Formats.Asn1;
using System.Security.Cryptography;
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

    /// <summary>Whether a scheme is RSA-PSS, RFC 8446 §4.2.3.</summary>
    public static bool IsPss(SignatureScheme scheme) =>
        scheme
            is SignatureScheme.RsaPssRsaeSha256
                or SignatureScheme.RsaPssRsaeSha384
                or SignatureScheme.RsaPssRsaeSha512;

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
            var key = SubjectPublicKeyInfo(certificate);
            var hash = HashOf(scheme);
            switch (scheme)
            {
                // In TLS 1.2 the scheme names the hash alone; the curve is the key's (RFC 8422 §5.1.3).
                case SignatureScheme.EcdsaSecp256r1Sha256:
                case SignatureScheme.EcdsaSecp384r1Sha384:
                    using (var ecdsa = Ecdsa(key))
                        return ecdsa.VerifyData(data, signature, hash, DSASignatureFormat.Rfc3279DerSequence);

                case SignatureScheme.RsaPkcs1Sha256:
                case SignatureScheme.RsaPkcs1Sha384:
                case SignatureScheme.RsaPkcs1Sha512:
                    return VerifyRsa(key, data, signature, hash, RSASignaturePadding.Pkcs1);

                case SignatureScheme.RsaPssRsaeSha256:
                case SignatureScheme.RsaPssRsaeSha384:
                case SignatureScheme.RsaPssRsaeSha512:
                    return VerifyRsa(key, data, signature, hash, RSASignaturePadding.Pss);

                default:
                    return false;
            }
        }
        catch (Exception e)
            when (e is CryptographicException or AsnContentException or ArgumentException or NotSupportedException)
        {
            // A certificate or key that the platform cannot read.
            return false;
        }
    }

    /// <summary>
    /// The public key in a certificate, RFC 5280 §4.1, and nothing else of it: who the peer is the fingerprint tells (RFC 8122),
    /// so names, extensions and the certificate's own signature say nothing. The platform's reader of certificates takes longer over
    /// them than the signature does.
    /// </summary>
    /// <exception cref="AsnContentException">It is no certificate.</exception>
    private static ReadOnlySpan<byte> SubjectPublicKeyInfo(ReadOnlySpan<byte> certificate)
    {
        const AsnEncodingRules Der = AsnEncodingRules.DER;
        AsnDecoder.ReadSequence(certificate, Der, out var offset, out var length, out var end);

        if (end != certificate.Length)
            throw new AsnContentException();

        AsnDecoder.ReadSequence(certificate.Slice(offset, length), Der, out var at, out length, out _);
        var fields = certificate.Slice(offset + at, length);

        // version [0], absent in version 1.
        if (Asn1Tag.Decode(fields, out _).HasSameClassAndValue(new Asn1Tag(TagClass.ContextSpecific, 0)))
            fields = After(fields);

        // serialNumber, signature, issuer, validity, subject.
        for (var i = 0; i < 5; i++)
            fields = After(fields);

        AsnDecoder.ReadSequence(fields, Der, out _, out _, out var key);
        return fields[..key];

        static ReadOnlySpan<byte> After(ReadOnlySpan<byte> fields)
        {
            AsnDecoder.ReadEncodedValue(fields, Der, out _, out _, out var next);
            return fields[next..];
        }
    }

    /// <summary>SubjectPublicKeyInfo up to the coordinates: id-ecPublicKey, prime256v1, an uncompressed point, RFC 5480 §2.</summary>
    private static readonly byte[] P256Prefix = Convert.FromHexString(
        "3059301306072A8648CE3D020106082A8648CE3D03010703420004"
    );

    private static ECDsa Ecdsa(ReadOnlySpan<byte> key)
    {
        const int Coordinate = 32;

        // Nearly every peer's. The platform takes coordinates in half the time that it takes the same key in DER, and checks
        // that they are on the curve.
        if (key.StartsWith(P256Prefix) && key.Length == P256Prefix.Length + 2 * Coordinate)
        {
            var point = key[P256Prefix.Length..];
            var x = point[..Coordinate].ToArray();
            var y = point[Coordinate..].ToArray();
            return ECDsa.Create(
                new ECParameters
                {
                    Curve = ECCurve.NamedCurves.nistP256,
                    Q = new() { X = x, Y = y },
                }
            );
        }

        var ecdsa = ECDsa.Create();

        try
        {
            ecdsa.ImportSubjectPublicKeyInfo(key, out _);
            return ecdsa;
        }
        catch
        {
            ecdsa.Dispose();
            throw;
        }
    }

    private static bool VerifyRsa(
        ReadOnlySpan<byte> key,
        ReadOnlySpan<byte> data,
        ReadOnlySpan<byte> signature,
        HashAlgorithmName hash,
        RSASignaturePadding padding
    )
    {
        using var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(key, out _);
        return rsa.KeySize is >= SmallestRsa and <= LargestRsa && rsa.VerifyData(data, signature, hash, padding);
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

/// <summary>
/// RSA PKCS#1 v1.5, which is deterministic, for DTLS 1.2, and RSA-PSS, whose salt is drawn, for 1.3: a journal has the signatures, so that
/// either replays.
/// </summary>
/// <param name="key">With its private part; lent for as long as this lives.</param>
internal sealed class RsaSigningKey(RSA key) : ISigningKey
{
    // RSA objects do not promise to serve several threads, and a certificate serves every loop.
    private readonly Lock _gate = new();

    /// <inheritdoc />
    public SignatureScheme[] Schemes { get; } =
    [
        SignatureScheme.RsaPkcs1Sha256,
        SignatureScheme.RsaPkcs1Sha384,
        SignatureScheme.RsaPkcs1Sha512,
        SignatureScheme.RsaPssRsaeSha256,
        SignatureScheme.RsaPssRsaeSha384,
        SignatureScheme.RsaPssRsaeSha512,
    ];

    /// <inheritdoc />
    public byte[] Sign(SignatureScheme scheme, ReadOnlySpan<byte> data)
    {
        var padding = Signatures.IsPss(scheme) ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1;

        lock (_gate)
            return key.SignData(data.ToArray(), Signatures.HashOf(scheme), padding);
    }
}
