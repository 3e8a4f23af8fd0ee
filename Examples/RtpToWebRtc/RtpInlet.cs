using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Media;
using Hybrid.WebRtc.Rtp;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>A UDP port that takes RTP, as a track.</summary>
internal sealed class RtpInlet
{
    /// <summary>The most that a browser's path is sure to carry, less what encryption adds.</summary>
    private const int MostPayload = 1_200;

    /// <summary>How much later the next sender's first packet is taken to be, in units of its clock.</summary>
    private const uint Pause = 3_000;

    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
    private uint _ssrc;
    private ushort _last;
    private uint _lastTimestamp;
    private ushort _shift;
    private uint _timestampShift;
    private bool _hasBegun;
    private bool _hasWarned;

    /// <summary>Listens on the loopback interface: whoever can send here is seen by every visitor.</summary>
    /// <param name="port">0 for any that is free.</param>
    /// <param name="kind">Picture or sound.</param>
    /// <param name="mimeType">What the packets hold, whatever their payload type.</param>
    /// <exception cref="SocketException">The port is taken.</exception>
    public RtpInlet(int port, MediaKind kind, string mimeType)
    {
        var format = PayloadFormats.For(mimeType);
        Track = new RtpTrack(
            kind,
            new RTCRtpCodec
            {
                MimeType = mimeType,
                ClockRate = format.ClockRate,
                Channels = kind == MediaKind.Audio ? 2 : null,
            }
        );
        // A key frame comes as a burst.
        _socket.ReceiveBufferSize = 4 * 1024 * 1024;
        _socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
        Port = ((IPEndPoint)_socket.LocalEndPoint!).Port;
        new Thread(Receive) { IsBackground = true, Name = $"RTP {Port}" }.Start();
    }

    public RtpTrack Track { get; }

    public int Port { get; }

    private void Receive()
    {
        var buffer = new byte[65_536];

        while (true)
        {
            int size;
            try
            {
                size = _socket.Receive(buffer);
            }
            catch (SocketException)
            {
                continue;
            }

            // A track keeps what it is given, for as long as a browser may ask for it again: each packet gets memory of its own.
            if (RtpPacket.TryParse(buffer.AsMemory(0, size).ToArray(), ExtensionMap.Empty, out var packet))
                Track.Write(Continue(packet));
        }
    }

    /// <summary>
    /// Where the sender was started again, with another SSRC, the numbers go on from the last: to the browsers it is one stream.
    /// </summary>
    private RtpPacket Continue(RtpPacket packet)
    {
        var isNew = !_hasBegun || packet.Ssrc != _ssrc;
        if (isNew)
        {
            if (_hasBegun)
            {
                _shift = (ushort)(_last + 1 - packet.SequenceNumber);
                _timestampShift = _lastTimestamp + Pause - packet.Timestamp;
            }

            AnsiConsole.MarkupLineInterpolated($"[green]{Track.Codec!.MimeType}[/] comes from SSRC {packet.Ssrc:x8}");
            (_hasBegun, _ssrc) = (true, packet.Ssrc);
        }

        if (packet.Payload.Length > MostPayload && !_hasWarned)
        {
            AnsiConsole.MarkupLine(
                "[yellow]Packets are larger than most paths carry. Give ffmpeg rtp://…?pkt_size=1200.[/]"
            );
            _hasWarned = true;
        }

        var moved = packet.WithNumbers((ushort)(packet.SequenceNumber + _shift), packet.Timestamp + _timestampShift);
        // By what comes late nothing goes on.
        if (isNew || (short)(moved.SequenceNumber - _last) > 0)
            (_last, _lastTimestamp) = (moved.SequenceNumber, moved.Timestamp);
        return moved;
    }
}
