using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Hybrid.WebRtc.Benchmarks.Ceiling;

/// <summary>Whether a burst goes to the kernel as one buffer that it cuts up (UDP_SEGMENT, UDP_GRO), or one datagram a call.</summary>
internal enum PipeKind
{
    Batched,
    Plain,
}

/// <summary>When the receiver answers with a record of a SACK's size.</summary>
internal enum Acknowledging
{
    EverySecondPacket,
    OnceABatch,
}

/// <summary>Where the time of a datagram goes, nanoseconds of both ends.</summary>
internal readonly record struct Parts(double Make, double Send, double Receive, double Take, double Acknowledge)
{
    public double Total => Make + Send + Receive + Take + Acknowledge;
}

/// <summary>What a data path without protocol does: two sockets, two keys, one thread that is both ends. It is what the library's data path is compared with.</summary>
internal sealed class Pipe : IDisposable
{
    // linux/udp.h
    private const int SolUdp = 17;
    private const int UdpSegment = 103;
    private const int UdpGro = 104;

    /// <summary>More segments at once are refused (EMSGSIZE) or need more than a datagram can hold.</summary>
    private const int MaxSegments = 64;
    private const int MaxUdpPayload = 65_507;

    /// <summary>The octets of a SACK without gaps in its record: as many as those of a datagram without payload.</summary>
    private const int SackSize = Records.Overhead;

    private readonly int _datagram;
    private readonly int _burst;
    private readonly int _acks;
    private readonly bool _batched;
    private readonly Records _alice;
    private readonly Records _bob;
    private readonly Socket _sender;
    private readonly Socket _receiver;
    private readonly SocketAddress _toReceiver;
    private readonly SocketAddress _toSender;
    private readonly SocketAddress _from = new(AddressFamily.InterNetwork);
    private readonly byte[] _out = GC.AllocateArray<byte>(65_536, pinned: true);

    /// <summary>Room behind the last datagram: a receive that is offered less than what was joined cuts it off.</summary>
    private readonly byte[] _in = GC.AllocateArray<byte>(2 * 65_536, pinned: true);
    private readonly byte[] _message;
    private readonly byte[] _assembled;

    public Pipe(PipeKind kind, Setting setting, int datagram, int burst, Acknowledging acknowledging)
    {
        _batched = kind == PipeKind.Batched;
        _datagram = datagram;
        // A burst is one send, so it is bounded as one send is; plain bursts alike, so that the two can be compared, and
        // because they have to fit into the receive buffer.
        _burst = Math.Clamp(burst, 1, Math.Min(MaxSegments, MaxUdpPayload / datagram));
        _acks = acknowledging == Acknowledging.OnceABatch ? 1 : (_burst + 1) / 2;
        _message = new byte[_burst * (datagram - Records.Overhead)];
        _assembled = new byte[_message.Length];
        Random.Shared.NextBytes(_message);

        var keys = new byte[16];
        Random.Shared.NextBytes(keys);
        _alice = new Records(setting.Ciphers.Aead(Core.AeadAlgorithm.Aes128Gcm, keys));
        _bob = new Records(setting.Ciphers.Aead(Core.AeadAlgorithm.Aes128Gcm, keys));

        _sender = Bind();
        _receiver = Bind();
        _toReceiver = _receiver.LocalEndPoint!.Serialize();
        _toSender = _sender.LocalEndPoint!.Serialize();
        Segment(_sender, datagram);
        Segment(_receiver, SackSize);
    }

    /// <summary>Octets of payload in a datagram.</summary>
    public int Payload => _datagram - Records.Overhead;

    /// <summary>Datagrams in a burst.</summary>
    public int Burst => _burst;

    /// <summary>Whether the kernel cuts up and joins datagrams: Linux from 5.0 on.</summary>
    public static bool IsBatchingSupported { get; } = Probe();

    /// <summary>The octets of the datagram that carries an SCTP packet of this size.</summary>
    public static int DatagramOf(int sctpPacket) => sctpPacket + Records.RecordOverhead;

    /// <summary>Sends bursts for a while; what a datagram cost, part by part, and how many arrived.</summary>
    public (long Datagrams, Parts Parts, TimeSpan Wall) Run(TimeSpan time)
    {
        long make = 0;
        long send = 0;
        long receive = 0;
        long take = 0;
        long acknowledge = 0;
        long datagrams = 0;
        var began = Stopwatch.GetTimestamp();

        while (Stopwatch.GetElapsedTime(began) < time)
        {
            var t0 = Stopwatch.GetTimestamp();
            for (var i = 0; i < _burst; i++)
                _alice.Make(_message.AsSpan(i * Payload, Payload), _out.AsSpan(i * _datagram, _datagram));
            var t1 = Stopwatch.GetTimestamp();
            Send(_sender, _toReceiver, _burst, _datagram);
            var t2 = Stopwatch.GetTimestamp();
            Receive(_receiver, _burst * _datagram);
            var t3 = Stopwatch.GetTimestamp();
            for (var i = 0; i < _burst; i++)
            {
                if (!_bob.Take(_in.AsSpan(i * _datagram, _datagram), _assembled.AsSpan(i * Payload, Payload)))
                    throw new InvalidOperationException("A datagram came out other than it went in.");
            }

            var t4 = Stopwatch.GetTimestamp();
            Acknowledge();
            var t5 = Stopwatch.GetTimestamp();
            make += t1 - t0;
            send += t2 - t1;
            receive += t3 - t2;
            take += t4 - t3;
            acknowledge += t5 - t4;
            datagrams += _burst;
        }

        return (
            datagrams,
            new Parts(Each(make), Each(send), Each(receive), Each(take), Each(acknowledge)),
            Stopwatch.GetElapsedTime(began)
        );

        double Each(long ticks) => Stopwatch.GetElapsedTime(0, ticks).TotalNanoseconds / datagrams;
    }

    /// <summary>The receiver's answer, sealed, sent, received and opened.</summary>
    private void Acknowledge()
    {
        // A SACK without gaps is as long as a chunk without payload: 12 octets of header and 16 of its own.
        for (var i = 0; i < _acks; i++)
            _bob.Make(default, _out.AsSpan(i * SackSize, SackSize));

        Send(_receiver, _toSender, _acks, SackSize);
        Receive(_sender, _acks * SackSize);

        for (var i = 0; i < _acks; i++)
        {
            if (!_alice.Take(_in.AsSpan(i * SackSize, SackSize), default))
                throw new InvalidOperationException("A SACK came out other than it went in.");
        }
    }

    private void Send(Socket socket, SocketAddress to, int count, int size)
    {
        if (_batched)
        {
            socket.SendTo(_out.AsSpan(0, count * size), SocketFlags.None, to);
            return;
        }

        for (var i = 0; i < count; i++)
            socket.SendTo(_out.AsSpan(i * size, size), SocketFlags.None, to);
    }

    /// <summary>On loopback what was sent has arrived; a call may bring one datagram, or many joined.</summary>
    private void Receive(Socket socket, int octets)
    {
        for (var got = 0; got < octets; )
            got += socket.ReceiveFrom(_in.AsSpan(got), SocketFlags.None, _from);
    }

    private Socket Bind()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)
        {
            // A burst that was lost after all ends the run with an exception, not with silence.
            ReceiveTimeout = 2000,
            ReceiveBufferSize = 4 << 20,
            SendBufferSize = 4 << 20,
        };
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        if (_batched)
            socket.SetRawSocketOption(SolUdp, UdpGro, BitConverter.GetBytes(1));
        return socket;
    }

    private void Segment(Socket socket, int size)
    {
        if (_batched)
            socket.SetRawSocketOption(SolUdp, UdpSegment, BitConverter.GetBytes(size));
    }

    private static bool Probe()
    {
        if (!OperatingSystem.IsLinux())
            return false;

        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.SetRawSocketOption(SolUdp, UdpSegment, BitConverter.GetBytes(1200));
            socket.SetRawSocketOption(SolUdp, UdpGro, BitConverter.GetBytes(1));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    public void Dispose()
    {
        _sender.Dispose();
        _receiver.Dispose();
        _alice.Dispose();
        _bob.Dispose();
    }
}
