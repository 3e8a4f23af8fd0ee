using System.Security.Cryptography;
using Hybrid.WebRtc.Core;
using Org.BouncyCastle.Crypto.Parameters;

namespace Hybrid.WebRtc.Stack;

/// <summary>AES-GCM of the platform; the native context is made once a key. Nothing is allocated a packet.</summary>
/// <param name="key">16 or 32 octets.</param>
internal sealed class AesGcmKey(ReadOnlySpan<byte> key) : IAeadKey
{
    private const int TagSize = 16;

    private readonly AesGcm _gcm = new(key, TagSize);

    /// <inheritdoc />
    public void Seal(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, Span<byte> tag) =>
        _gcm.Encrypt(nonce, text, text, tag, associated);

    /// <inheritdoc />
    public bool Open(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, ReadOnlySpan<byte> tag)
    {
        try
        {
            _gcm.Decrypt(nonce, text, tag, text, associated);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _gcm.Dispose();
}

/// <summary>ChaCha20-Poly1305 (RFC 8439) of the platform. Nothing is allocated a packet.</summary>
/// <param name="key">32 octets.</param>
internal sealed class ChaCha20Poly1305Key(ReadOnlySpan<byte> key) : IAeadKey
{
    private readonly ChaCha20Poly1305 _cipher = new(key);

    /// <inheritdoc />
    public void Seal(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, Span<byte> tag) =>
        _cipher.Encrypt(nonce, text, text, tag, associated);

    /// <inheritdoc />
    public bool Open(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, ReadOnlySpan<byte> tag)
    {
        try
        {
            _cipher.Decrypt(nonce, text, tag, text, associated);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _cipher.Dispose();
}

/// <summary>ChaCha20-Poly1305 of BouncyCastle, for platforms that have none. It allocates a packet's worth each time.</summary>
/// <param name="key">32 octets.</param>
internal sealed class ManagedChaCha20Poly1305Key(ReadOnlySpan<byte> key) : IAeadKey
{
    private const int TagSize = 16;

    private readonly KeyParameter _key = new(key);

    /// <inheritdoc />
    public void Seal(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, Span<byte> tag)
    {
        var cipher = Start(encrypt: true, nonce, associated);
        Span<byte> sealedText = new byte[text.Length + TagSize];
        var written = cipher.ProcessBytes(text, sealedText);
        cipher.DoFinal(sealedText[written..]);
        sealedText[..text.Length].CopyTo(text);
        sealedText[text.Length..].CopyTo(tag);
    }

    /// <inheritdoc />
    public bool Open(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> associated, Span<byte> text, ReadOnlySpan<byte> tag)
    {
        var cipher = Start(encrypt: false, nonce, associated);
        var sealedText = new byte[text.Length + tag.Length];
        text.CopyTo(sealedText);
        tag.CopyTo(sealedText.AsSpan(text.Length));
        Span<byte> plain = new byte[sealedText.Length];
        try
        {
            var written = cipher.ProcessBytes(sealedText, plain);
            cipher.DoFinal(plain[written..]);
        }
        catch (Org.BouncyCastle.Crypto.InvalidCipherTextException)
        {
            return false;
        }

        plain[..text.Length].CopyTo(text);
        return true;
    }

    /// <inheritdoc />
    public void Dispose() { }

    private Org.BouncyCastle.Crypto.Modes.ChaCha20Poly1305 Start(
        bool encrypt,
        ReadOnlySpan<byte> nonce,
        ReadOnlySpan<byte> associated
    )
    {
        var cipher = new Org.BouncyCastle.Crypto.Modes.ChaCha20Poly1305();
        cipher.Init(encrypt, new AeadParameters(_key, TagSize * 8, nonce.ToArray()));
        cipher.ProcessAadBytes(associated);
        return cipher;
    }
}
