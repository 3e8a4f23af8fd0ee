using Hybrid.WebRtc;

namespace Hybrid.WebRtc.Examples;

/// <summary>
/// Seals frames between an encoder and its packets, and opens them again: whoever forwards the packets sees only sealed ones. XOR
/// keeps nothing secret. It stands for a cipher such as SFrame, RFC 9605, which would go in the same place.
/// </summary>
internal static class Cipher
{
    /// <summary>Seals and opens: XOR is its own inverse.</summary>
    public static RTCRtpTransform With(byte[] key) =>
        RTCRtpTransform.Of(frame =>
        {
            var data = frame.Data.ToArray();
            for (var i = ClearOctets(frame); i < data.Length; i++)
                data[i] ^= key[i % key.Length];
            frame.Data = data;
            return frame;
        });

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
