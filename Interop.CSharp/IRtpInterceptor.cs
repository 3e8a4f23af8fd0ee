using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// Sees, and may change, all RTP and RTCP of one connection at the application's end of the chain: what is sent before
/// retransmission, FEC, pacing and encryption, what is received after them. Given by <see cref="WebRtcOptions.Interceptors"/>.
/// </summary>
/// <remarks>
/// <para>
/// Its methods are called on the threads that media runs on: outgoing ones on the thread that writes, incoming ones on the loop's,
/// one at a time for each sender and each receiver. They are quick, do not block, and keep what state they have safe. What they
/// throw while sending comes out of <c>Write</c>; what they throw while receiving is a bug that ends the connection.
/// </para>
/// <para>Packets are shared with other senders and must not be written to: who changes one hands on a new array. Empty: nothing goes on.</para>
/// </remarks>
/// <example>
/// Drops every tenth packet, to see what retransmission does:
/// <code>
/// sealed class Lossy : IRtpInterceptor
/// {
///     private int _count;
///
///     public ReadOnlyMemory&lt;RtpPacket&gt; OnOutgoing(RTCRtpSender sender, string rid, ReadOnlyMemory&lt;RtpPacket&gt; packets) =>
///         packets.ToArray().Where(_ => Interlocked.Increment(ref _count) % 10 != 0).ToArray();
/// }
///
/// var connection = new RTCPeerConnection(options: new() { Interceptors = [_ => new Lossy()] });
/// </code>
/// </example>
public interface IRtpInterceptor
{
    /// <summary>Packets are about to be sent, with their track's numbers.</summary>
    /// <param name="sender">Who sends them.</param>
    /// <param name="rid">Of which encoding; empty where there is one only.</param>
    /// <param name="packets">In order.</param>
    /// <returns>What is sent instead.</returns>
    ReadOnlyMemory<RtpPacket> OnOutgoing(RTCRtpSender sender, string rid, ReadOnlyMemory<RtpPacket> packets) => packets;

    /// <summary>Packets have come, and nobody else has seen them.</summary>
    /// <param name="receiver">Who received them.</param>
    /// <param name="rid">Of which of the peer's encodings; empty without simulcast.</param>
    /// <param name="packets">In the order of their arrival.</param>
    /// <returns>What the receiver's track gets instead.</returns>
    ReadOnlyMemory<RtpPacket> OnIncoming(RTCRtpReceiver receiver, string rid, ReadOnlyMemory<RtpPacket> packets) =>
        packets;

    /// <summary>The application is about to send RTCP; the library's own reports and feedback do not come by here.</summary>
    /// <returns>What is sent instead.</returns>
    IReadOnlyList<Rtcp> OnOutgoingRtcp(IReadOnlyList<Rtcp> packets) => packets;

    /// <summary>RTCP has come, of any kind; the library has acted on it already.</summary>
    /// <returns>What the application is told instead.</returns>
    IReadOnlyList<Rtcp> OnIncomingRtcp(IReadOnlyList<Rtcp> packets) => packets;
}
