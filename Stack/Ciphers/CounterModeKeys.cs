using System.Buffers.Binary;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// AES in counter mode (SP 800-38A §6.5) of the platform, which has only single blocks: counter blocks are encrypted many at
/// once. Nothing is allocated a packet.
/// </summary>
internal sealed class AesCtrKey : ICounterKey
{
    private const int BlockSize = 16;

    /// <summary>A packet of 1,500 octets in one call.</summary>
    private const int BatchSize = 96 * BlockSize;

    private readonly byte[] _counters = new byte[BatchSize];
    private readonly byte[] _stream = GC.AllocateArray<byte>(BatchSize, pinned: true);
    private readonly Aes _aes = Aes.Create();
    private readonly ICryptoTransform _encryptor;

    /// <param name="key">16 or 32 octets.</param>
    /// <exception cref="ArgumentException">The key has another size.</exception>
    public AesCtrKey(ReadOnlySpan<byte> key)
    {
        if (key.Length is not (16 or 32))
            throw new ArgumentException($"The key has {key.Length} octets, not 16 or 32.");
        _aes.SetKey(key);
        _aes.Mode = CipherMode.ECB;
        _aes.Padding = PaddingMode.None;
        _encryptor = _aes.CreateEncryptor();
    }

    /// <inheritdoc />
    /// <exception cref="ArgumentException">The counter has not 16 octets.</exception>
    public void Apply(ReadOnlySpan<byte> counter, Span<byte> text)
    {
        if (counter.Length != BlockSize)
            throw new ArgumentException($"A counter block has {BlockSize} octets, not {counter.Length}.");
        var next = BinaryPrimitives.ReadUInt128BigEndian(counter);
        while (!text.IsEmpty)
        {
            var part = Math.Min(text.Length, BatchSize);
            var blocks = (part + BlockSize - 1) / BlockSize * BlockSize;
            for (var at = 0; at < blocks; at += BlockSize)
                BinaryPrimitives.WriteUInt128BigEndian(_counters.AsSpan(at), next++);
            _encryptor.TransformBlock(_counters, 0, blocks, _stream, 0);
            Add(_stream, text[..part]);
            text = text[part..];
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _encryptor.Dispose();
        _aes.Dispose();
        CryptographicOperations.ZeroMemory(_stream);
    }

    private static void Add(ReadOnlySpan<byte> stream, Span<byte> text)
    {
        while (text.Length >= BlockSize)
        {
            (Vector128.Create<byte>(text) ^ Vector128.Create(stream)).CopyTo(text);
            text = text[BlockSize..];
            stream = stream[BlockSize..];
        }

        for (var i = 0; i < text.Length; i++)
            text[i] ^= stream[i];
    }
}

/// <summary>HMAC-SHA1 of the platform, whose native context is made once a key. Nothing is allocated a message.</summary>
/// <param name="key">Of any size.</param>
internal sealed class HmacSha1Key(ReadOnlySpan<byte> key) : IHmacKey
{
    private const int TagSize = 20;

    private readonly IncrementalHash _hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA1, key);

    /// <inheritdoc />
    public void Compute(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, Span<byte> into)
    {
        Span<byte> tag = stackalloc byte[TagSize];
        _hash.AppendData(first);
        _hash.AppendData(second);
        _hash.GetHashAndReset(tag);
        tag[..into.Length].CopyTo(into);
    }

    /// <inheritdoc />
    public void Dispose() => _hash.Dispose();
}
