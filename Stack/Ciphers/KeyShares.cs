using System.Security.Cryptography;
using Hybrid.WebRtc.Core;
using Microsoft.FSharp.Core;
using Org.BouncyCastle.Asn1.Sec;
using Org.BouncyCastle.Asn1.X9;
using Org.BouncyCastle.Crypto.EC;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Math;
using Org.BouncyCastle.Math.EC.Multiplier;
using Org.BouncyCastle.Math.EC.Rfc7748;
using BcPoint = Org.BouncyCastle.Math.EC.ECPoint;

namespace Hybrid.WebRtc.Stack;

/// <summary>X25519, RFC 7748. The platform has none.</summary>
internal sealed class X25519Share : IKeyShare
{
    private readonly byte[] _private;
    private byte[]? _public;

    /// <summary>The share whose private key is the first 32 octets of the seed.</summary>
    public X25519Share(ReadOnlySpan<byte> seed) => _private = seed[..X25519.ScalarSize].ToArray();

    /// <inheritdoc />
    public byte[] Public => _public ??= Multiply();

    /// <inheritdoc />
    public FSharpValueOption<byte[]> Secret(ReadOnlySpan<byte> peer)
    {
        var secret = new byte[X25519.PointSize];

        // CalculateAgreement is false for the all-zero secret of a point of small order, RFC 7748 §6.1.
        return peer.Length == X25519.PointSize && X25519.CalculateAgreement(_private, peer, secret)
            ? FSharpValueOption<byte[]>.NewValueSome(secret)
            : FSharpValueOption<byte[]>.ValueNone;
    }

    /// <summary>Wipes the private key.</summary>
    public void Dispose() => CryptographicOperations.ZeroMemory(_private);

    // Where it is asked for: a handshake makes its share twice, and the second time wants the secret alone.
    private byte[] Multiply()
    {
        var made = new byte[X25519.PointSize];
        X25519.GeneratePublicKey(_private, made);
        return made;
    }
}

/// <summary>
/// ECDH over a NIST curve, RFC 8422 §5.10. The platform draws its own private keys, so a handshake would not replay:
/// here the private key follows from a seed.
/// </summary>
internal sealed class CurveShare : IKeyShare
{
    private readonly Curve _curve;
    private BigInteger? _private;
    private byte[]? _public;

    /// <summary>The share whose private key follows from 64 octets of seed.</summary>
    public CurveShare(Curve curve, ReadOnlySpan<byte> seed)
    {
        _curve = curve;

        // FIPS 186-5 A.2.1: at least 64 bits more than the order has make the bias of the remainder negligible.
        var order = curve.Domain.N;
        _private = new BigInteger(1, seed).Mod(order.Subtract(BigInteger.One)).Add(BigInteger.One);
    }

    /// <inheritdoc />
    public byte[] Public =>
        _public ??= new FixedPointCombMultiplier().Multiply(_curve.Domain.G, _private).GetEncoded(false);

    /// <inheritdoc />
    public FSharpValueOption<byte[]> Secret(ReadOnlySpan<byte> peer)
    {
        if (_private is null || !_curve.TryDecode(peer, out var point))
            return FSharpValueOption<byte[]>.ValueNone;

        // The order is prime and the cofactor 1, so a valid point that is not infinity makes no secret at infinity.
        var shared = point.Multiply(_private).Normalize();
        return FSharpValueOption<byte[]>.NewValueSome(shared.AffineXCoord.GetEncoded());
    }

    /// <summary>Lets go of the private key; the collector takes it.</summary>
    public void Dispose() => _private = null;
}

/// <summary>A NIST curve with BouncyCastle's fast arithmetic.</summary>
internal sealed class Curve(Org.BouncyCastle.Asn1.DerObjectIdentifier oid, X9ECParameters parameters)
{
    /// <summary>Octets in a coordinate.</summary>
    public int FieldSize => (Domain.Curve.FieldSize + 7) / 8;

    /// <summary>The curve by name, which keeps encodings of its keys short.</summary>
    public ECNamedDomainParameters Domain { get; } = new(oid, parameters);

    /// <summary>Reads an uncompressed point. False where it is malformed, infinity, or off the curve (RFC 8422 §5.11).</summary>
    public bool TryDecode(ReadOnlySpan<byte> encoded, out BcPoint point)
    {
        const byte Uncompressed = 4;
        point = Domain.Curve.Infinity;
        if (encoded.Length != 1 + 2 * FieldSize || encoded[0] != Uncompressed)
            return false;

        try
        {
            point = Domain.Curve.DecodePoint(encoded.ToArray());
            return point.IsValid() && !point.IsInfinity;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}

/// <summary>The curves of WebRTC. <c>CustomNamedCurves</c> is ten times faster than <c>SecNamedCurves</c>.</summary>
internal static class Curves
{
    /// <summary>secp256r1.</summary>
    public static Curve P256 { get; } =
        new(SecObjectIdentifiers.SecP256r1, CustomNamedCurves.GetByOid(SecObjectIdentifiers.SecP256r1));

    /// <summary>secp384r1.</summary>
    public static Curve P384 { get; } =
        new(SecObjectIdentifiers.SecP384r1, CustomNamedCurves.GetByOid(SecObjectIdentifiers.SecP384r1));
}
