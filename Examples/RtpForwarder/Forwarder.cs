using System.Net;
using System.Net.Sockets;
using System.Reactive.Linq;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Examples;

/// <summary>One page at a time is forwarded, the latest that sends.</summary>
internal sealed class Forwarder(PlainRtp video, PlainRtp audio)
{
    /// <summary>Whoever receives cannot ask for a key frame: we do in its place, so that it can begin, and go on after a loss.</summary>
    private static readonly TimeSpan _keyFrameInterval = TimeSpan.FromSeconds(2);

    private Visitor? _latest;

    /// <summary>What is sent where, RFC 8866.</summary>
    public string Sdp =>
        $"""
            v=0
            o=- 0 0 IN IP4 127.0.0.1
            s=RtpForwarder
            t=0 0
            {video.Describe("video")}
            {audio.Describe("audio")}

            """.ReplaceLineEndings("\r\n");

    public async Task AttendAsync(Visitor visitor)
    {
        visitor.Peer.OnTrack.Subscribe(e =>
        {
            _latest = visitor;
            var to = e.Track.Kind == MediaKind.Video ? video : audio;
            e.Track.Packets.Where(_ => _latest == visitor).Subscribe(burst => to.Send(burst.Packets.Span));
            // Which instant an RTP timestamp means: without it picture and sound would drift apart.
            e.Track.OnRtcp.OfType<Rtcp.SenderReport>().Where(_ => _latest == visitor).Subscribe(to.Send);
            if (e.Track.Kind == MediaKind.Video)
                Observable
                    .Interval(_keyFrameInterval)
                    .TakeUntil(_ => visitor.Gone.IsCancellationRequested)
                    .Subscribe(_ => e.Track.RequestKeyFrame());
        });
        await visitor.ConnectedAsync();
        visitor.Send(new { Video = $"{video.To}", Audio = $"{audio.To}" });
        await Task.Delay(Timeout.Infinite, visitor.Gone);
    }
}

/// <summary>A stream of plain RTP.</summary>
/// <param name="to">Where its packets go; RTCP goes to the port behind it, RFC 3550 §11.</param>
/// <param name="payloadType">What they carry, whatever the browser called it.</param>
/// <param name="codec">As <c>a=rtpmap</c> has it.</param>
internal sealed class PlainRtp(IPEndPoint to, byte payloadType, string codec)
{
    private readonly UdpClient _socket = new(to.AddressFamily);
    private readonly IPEndPoint _rtcp = new(to.Address, to.Port + 1);

    public IPEndPoint To => to;

    public string Describe(string kind) =>
        $"""
            m={kind} {to.Port} RTP/AVP {payloadType}
            c=IN IP{(to.AddressFamily == AddressFamily.InterNetwork ? 4 : 6)} {to.Address}
            a=rtpmap:{payloadType} {codec}
            """;

    public void Send(ReadOnlySpan<RtpPacket> packets)
    {
        foreach (var packet in packets)
        {
            // Header extensions mean what this connection has negotiated, and nothing to others.
            var plain = packet.WithPayloadType(payloadType).WithExtensions(ExtensionMap.Empty);
            Send(plain.ToArray(), to);
        }
    }

    public void Send(Rtcp.SenderReport report)
    {
        // Alone: what the browser says about our own packets is not for others.
        var alone = Rtcp.NewSenderReport(report.Ssrc, report.Info, []);
        var bytes = new byte[RtcpCodec.Size(alone)];
        RtcpCodec.Write(alone, bytes);
        Send(bytes, _rtcp);
    }

    private void Send(byte[] datagram, IPEndPoint endpoint)
    {
        try
        {
            _socket.Send(datagram, endpoint);
        }
        catch (SocketException)
        {
            // Nobody listens there yet (ICMP says so), or the network is full: as RTP has it, the packet is lost.
        }
    }
}
