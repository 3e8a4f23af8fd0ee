using System.Security.Cryptography;
using System.Text;
using Hybrid.WebRtc;

namespace Hybrid.WebRtc.Examples;

/// <summary>
/// Seals frames between an encoder and its packets, and opens them again: whoever forwards the packets sees only sealed ones. AES-256-GCM
/// by a key that is a phrase's SHA-256; a sealed frame is its clear octets, the rest encrypted, a tag of 16 and a nonce of 12. A product
/// would take SFrame, RFC 9605, which counts nonces and changes keys, and would go in the same place.
/// </summary>
internal sealed class Cipher(string phrase)
{
    private const int Tag = 16;
    private const int Nonce = 12;

    private readonly byte[] _key = SHA256.HashData(Encoding.UTF8.GetBytes(phrase));

    /// <summary>For one sender: a cipher of its own, since streams come on threads of their own.</summary>
    public RTCRtpTransform Sealing()
    {
        var cipher = new AesGcm(_key, Tag);
        return RTCRtpTransform.Of(frame =>
        {
            var given = frame.Data.Span;
            var clear = Math.Min(ClearOctets(frame), given.Length);
            var made = new byte[given.Length + Tag + Nonce];
            var nonce = made.AsSpan(given.Length + Tag);
            RandomNumberGenerator.Fill(nonce);
            given[..clear].CopyTo(made);
            cipher.Encrypt(
                nonce,
                given[clear..],
                made.AsSpan(clear, given.Length - clear),
                made.AsSpan(given.Length, Tag),
                given[..clear]
            );
            frame.Data = made;
            return frame;
        });
    }

    /// <summary>For one receiver: a frame that another key sealed goes no further.</summary>
    public RTCRtpTransform Opening()
    {
        var cipher = new AesGcm(_key, Tag);
        return RTCRtpTransform.Of(frame =>
        {
            var given = frame.Data.Span;
            var clear = ClearOctets(frame);
            var length = given.Length - Tag - Nonce;
            if (length < clear)
                return null;
            var made = new byte[length];
            given[..clear].CopyTo(made);
            try
            {
                cipher.Decrypt(
                    given[(length + Tag)..],
                    given[clear..length],
                    given.Slice(length, Tag),
                    made.AsSpan(clear),
                    given[..clear]
                );
            }
            catch (AuthenticationTagMismatchException)
            {
                return null;
            }
            frame.Data = made;
            return frame;
        });
    }

    /// <summary>
    /// What stays readable, here as in <c>worker.js</c>: who forwards or depacketizes VP8 looks for key frames and their size in the
    /// first octets, RFC 6386 §9.1, and the first octet of Opus says how long the packet lasts, RFC 6716 §3.1.
    /// </summary>
    private static int ClearOctets(RTCEncodedFrame frame) =>
        frame switch
        {
            RTCEncodedVideoFrame { Data.Span: [var first, ..] } => (first & 1) == 0 ? 10 : 3,
            RTCEncodedAudioFrame => 1,
            _ => 0,
        };
}
