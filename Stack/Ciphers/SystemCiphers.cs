using System.Security.Cryptography;
using Hybrid.WebRtc.Core;
using Microsoft.FSharp.Core;
using HashAlgorithm = Hybrid.WebRtc.Core.HashAlgorithm;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// The crypto capability over what the platform has, and BouncyCastle where it has nothing or is not deterministic:
/// X25519, key agreement from a seed, RFC 6979. AES-GCM and AES-CTR, which every packet goes through, are our own where the
/// processor does the work (<see cref="AesNiGcm"/>, <see cref="AesNiCtr"/>). Stateless: one instance of each choice serves the process.
/// </summary>
/// <remarks>Which code runs an algorithm is decided here and nowhere else.</remarks>
internal sealed class SystemCiphers : ICiphers
{
    private static readonly SystemCiphers OfPlatform = new(isIntrinsic: false);
    private static readonly SystemCiphers OfProcessor = new(isIntrinsic: true);

    private readonly bool _isIntrinsic;

    private SystemCiphers(bool isIntrinsic) => _isIntrinsic = isIntrinsic;

    /// <summary>The best that this machine has.</summary>
    public static SystemCiphers Shared => Of(CipherChoice.Automatic);

    /// <summary>The ciphers of a choice.</summary>
    /// <exception cref="PlatformNotSupportedException">The choice is <see cref="CipherChoice.Intrinsic"/>, and the processor cannot.</exception>
    public static SystemCiphers Of(CipherChoice choice) => Of(choice, AesNiGcm.IsSupported);

    /// <summary>The ciphers of a choice, on a processor that can or cannot.</summary>
    internal static SystemCiphers Of(CipherChoice choice, bool isSupported) =>
        choice switch
        {
            CipherChoice.Automatic => isSupported ? OfProcessor : OfPlatform,
            CipherChoice.Platform => OfPlatform,
            CipherChoice.Intrinsic when isSupported => OfProcessor,
            CipherChoice.Intrinsic => throw new PlatformNotSupportedException(
                "Intrinsic ciphers need an x86 processor with AES-NI, PCLMULQDQ and SSSE3, and a runtime that may use them. "
                    + "Choose Automatic or Platform."
            ),
            _ => throw new ArgumentOutOfRangeException(nameof(choice)),
        };

    /// <inheritdoc />
    public IAeadKey Aead(AeadAlgorithm algorithm, ReadOnlySpan<byte> key) =>
        algorithm switch
        {
            AeadAlgorithm.Aes128Gcm => Gcm(Sized(key, 16)),
            AeadAlgorithm.Aes256Gcm => Gcm(Sized(key, 32)),
            // Windows before 10 build 20142 has no ChaCha20-Poly1305.
            AeadAlgorithm.ChaCha20Poly1305 when ChaCha20Poly1305.IsSupported => new ChaCha20Poly1305Key(Sized(key, 32)),
            AeadAlgorithm.ChaCha20Poly1305 => new ManagedChaCha20Poly1305Key(Sized(key, 32)),
            _ => throw new ArgumentOutOfRangeException(nameof(algorithm)),
        };

    /// <inheritdoc />
    public void Hash(HashAlgorithm algorithm, ReadOnlySpan<byte> data, Span<byte> into)
    {
        _ = algorithm switch
        {
            HashAlgorithm.Md5 => MD5.HashData(data, into),
            HashAlgorithm.Sha1 => SHA1.HashData(data, into),
            HashAlgorithm.Sha256 => SHA256.HashData(data, into),
            HashAlgorithm.Sha384 => SHA384.HashData(data, into),
            HashAlgorithm.Sha512 => SHA512.HashData(data, into),
            _ => throw new ArgumentOutOfRangeException(nameof(algorithm)),
        };
    }

    /// <inheritdoc />
    public void Hmac(HashAlgorithm algorithm, ReadOnlySpan<byte> key, ReadOnlySpan<byte> data, Span<byte> into)
    {
        _ = algorithm switch
        {
            HashAlgorithm.Md5 => HMACMD5.HashData(key, data, into),
            HashAlgorithm.Sha1 => HMACSHA1.HashData(key, data, into),
            HashAlgorithm.Sha256 => HMACSHA256.HashData(key, data, into),
            HashAlgorithm.Sha384 => HMACSHA384.HashData(key, data, into),
            HashAlgorithm.Sha512 => HMACSHA512.HashData(key, data, into),
            _ => throw new ArgumentOutOfRangeException(nameof(algorithm)),
        };
    }

    /// <inheritdoc />
    public ICounterKey CounterMode(ReadOnlySpan<byte> key) => _isIntrinsic ? new AesNiCtr(key) : new AesCtrKey(key);

    /// <inheritdoc />
    public IHmacKey HmacSha1(ReadOnlySpan<byte> key) => new HmacSha1Key(key);

    /// <inheritdoc />
    public IKeyShare Agree(NamedGroup group, ReadOnlySpan<byte> seed) =>
        group switch
        {
            NamedGroup.X25519 => new X25519Share(seed),
            NamedGroup.Secp256r1 => new CurveShare(Curves.P256, seed),
            NamedGroup.Secp384r1 => new CurveShare(Curves.P384, seed),
            NamedGroup.X25519MLKEM768 => new HybridShare(seed),
            _ => throw new ArgumentOutOfRangeException(nameof(group)),
        };

    /// <inheritdoc />
    public FSharpValueOption<(byte[], byte[])> Answer(
        NamedGroup group,
        ReadOnlySpan<byte> seed,
        ReadOnlySpan<byte> peer
    )
    {
        if (group == NamedGroup.X25519MLKEM768)
            return HybridShare.Answer(seed, peer);

        using var share = Agree(group, seed);
        return share.Secret(peer) is { IsSome: true, Value: var secret }
            ? FSharpValueOption<(byte[], byte[])>.NewValueSome((share.Public, secret))
            : FSharpValueOption<(byte[], byte[])>.ValueNone;
    }

    /// <inheritdoc />
    public bool Verify(
        ReadOnlySpan<byte> certificate,
        SignatureScheme scheme,
        ReadOnlySpan<byte> data,
        ReadOnlySpan<byte> signature
    ) => Signatures.Verify(certificate, scheme, data, signature);

    private IAeadKey Gcm(ReadOnlySpan<byte> key) => _isIntrinsic ? new AesNiGcm(key) : new AesGcmKey(key);

    private static ReadOnlySpan<byte> Sized(ReadOnlySpan<byte> key, int size) =>
        key.Length == size ? key : throw new ArgumentException($"The key has {key.Length} octets, not {size}.");
}
