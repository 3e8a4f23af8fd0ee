using System.Security.Cryptography;
using Hybrid.WebRtc.Core;
using Microsoft.FSharp.Core;
using Org.BouncyCastle.Crypto.Kems;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Security;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// ML-KEM-768, FIPS 203, from given seeds. The platform has it where OpenSSL is 3.5 or later, and draws its own randomness, so that a
/// handshake would not replay.
/// </summary>
internal static class MlKem768
{
    /// <summary>Octets of an encapsulation key.</summary>
    public const int KeySize = 1184;

    /// <summary>Octets of a ciphertext.</summary>
    public const int CiphertextSize = 1088;

    /// <summary>Octets of a shared secret, and of m, the randomness of an encapsulation.</summary>
    public const int SecretSize = 32;

    /// <summary>Octets of a key's seed, d and z.</summary>
    public const int SeedSize = 64;

    private const int Modulus = 3329;

    /// <summary>ML-KEM.KeyGen_internal(d, z), FIPS 203 §6.1.</summary>
    public static MLKemPrivateKeyParameters Generate(ReadOnlySpan<byte> seed) =>
        MLKemPrivateKeyParameters.FromSeed(MLKemParameters.ml_kem_768, seed.ToArray());

    /// <summary>ML-KEM.Decaps, FIPS 203 §7.3; a ciphertext that was not made for the key makes a secret that nobody knows.</summary>
    public static byte[] Decapsulate(MLKemPrivateKeyParameters key, ReadOnlySpan<byte> ciphertext)
    {
        var kem = new MLKemDecapsulator(MLKemParameters.ml_kem_768);
        kem.Init(key);
        var secret = new byte[SecretSize];
        kem.Decapsulate(ciphertext.ToArray(), 0, CiphertextSize, secret, 0, SecretSize);
        return secret;
    }

    /// <summary>ML-KEM.Encaps with m given, FIPS 203 §6.2; null where the key fails the check of §7.2.</summary>
    public static (byte[] Ciphertext, byte[] Secret)? Encapsulate(ReadOnlySpan<byte> key, ReadOnlySpan<byte> m)
    {
        if (key.Length != KeySize || !IsReduced(key))
            return null;

        var kem = new MLKemEncapsulator(MLKemParameters.ml_kem_768);
        kem.Init(
            new ParametersWithRandom(
                MLKemPublicKeyParameters.FromEncoding(MLKemParameters.ml_kem_768, key.ToArray()),
                new GivenRandom(m.ToArray())
            )
        );
        var ciphertext = new byte[CiphertextSize];
        var secret = new byte[SecretSize];
        kem.Encapsulate(ciphertext, 0, CiphertextSize, secret, 0, SecretSize);
        return (ciphertext, secret);
    }

    /// <summary>The modulus check: every number of 12 bits is below q, FIPS 203 §7.2.</summary>
    private static bool IsReduced(ReadOnlySpan<byte> key)
    {
        for (var i = 0; i + 3 <= KeySize - 32; i += 3)
        {
            var first = key[i] | ((key[i + 1] & 0x0f) << 8);
            var second = (key[i + 1] >> 4) | (key[i + 2] << 4);

            if (first >= Modulus || second >= Modulus)
                return false;
        }

        return true;
    }

    /// <summary>Answers the octets that were given to it, once.</summary>
    private sealed class GivenRandom(byte[] octets) : SecureRandom(null)
    {
        private int _taken;

        public override void NextBytes(byte[] buf) => NextBytes(buf.AsSpan());

        public override void NextBytes(byte[] buf, int off, int len) => NextBytes(buf.AsSpan(off, len));

        public override void NextBytes(Span<byte> buffer)
        {
            octets.AsSpan(_taken, buffer.Length).CopyTo(buffer);
            _taken += buffer.Length;
        }
    }
}

/// <summary>
/// X25519MLKEM768, draft-ietf-tls-ecdhe-mlkem: shares and secrets of both, one behind the other, ML-KEM's first.
/// </summary>
internal sealed class HybridShare : IKeyShare
{
    private readonly X25519Share _curve;
    private MLKemPrivateKeyParameters? _key;
    private byte[]? _public;

    /// <summary>The share whose keys follow from 64 octets of seed.</summary>
    public HybridShare(ReadOnlySpan<byte> seed)
    {
        Span<byte> seeds = stackalloc byte[MlKem768.SeedSize + 32];
        Expand(seed, seeds);
        _key = MlKem768.Generate(seeds[..MlKem768.SeedSize]);
        _curve = new X25519Share(seeds[MlKem768.SeedSize..]);
        CryptographicOperations.ZeroMemory(seeds);
    }

    /// <inheritdoc />
    public byte[] Public => _public ??= [.. _key!.GetPublicKeyEncoded(), .. _curve.Public];

    /// <inheritdoc />
    public FSharpValueOption<byte[]> Secret(ReadOnlySpan<byte> peer)
    {
        if (_key is null || peer.Length != MlKem768.CiphertextSize + 32)
            return FSharpValueOption<byte[]>.ValueNone;

        return _curve.Secret(peer[MlKem768.CiphertextSize..]) is { IsSome: true, Value: var curve }
            ? FSharpValueOption<byte[]>.NewValueSome([
                .. MlKem768.Decapsulate(_key, peer[..MlKem768.CiphertextSize]),
                .. curve,
            ])
            : FSharpValueOption<byte[]>.ValueNone;
    }

    /// <summary>What answers a peer's share: ours, and the secret.</summary>
    public static FSharpValueOption<(byte[] Share, byte[] Secret)> Answer(
        ReadOnlySpan<byte> seed,
        ReadOnlySpan<byte> peer
    )
    {
        Span<byte> seeds = stackalloc byte[MlKem768.SecretSize + 32];
        Expand(seed, seeds);
        using var curve = new X25519Share(seeds[MlKem768.SecretSize..]);

        return
            peer.Length == MlKem768.KeySize + 32
            && MlKem768.Encapsulate(peer[..MlKem768.KeySize], seeds[..MlKem768.SecretSize]) is { } made
            && curve.Secret(peer[MlKem768.KeySize..]) is { IsSome: true, Value: var shared }
            ? FSharpValueOption<(byte[], byte[])>.NewValueSome(
                ([.. made.Ciphertext, .. curve.Public], [.. made.Secret, .. shared])
            )
            : FSharpValueOption<(byte[], byte[])>.ValueNone;
    }

    /// <summary>Lets go of the keys.</summary>
    public void Dispose()
    {
        _key = null;
        _curve.Dispose();
    }

    private static void Expand(ReadOnlySpan<byte> seed, Span<byte> into) =>
        HKDF.Expand(HashAlgorithmName.SHA512, seed, into, "X25519MLKEM768"u8);
}
