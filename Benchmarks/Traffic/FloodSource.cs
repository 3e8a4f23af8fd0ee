using System.Buffers.Binary;
using System.CommandLine;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>
/// Forged datagrams to a port of this machine, each from a random address of 127.0.0.0/8 and a random port: a program of its own, so that what it
/// costs is not taken for the receiver's. A raw socket where that is allowed, else a few hundred bound ones, each replaced after a while.
/// </summary>
internal static class FloodSource
{
    private const int Headers = 20 + 8;

    /// <summary>Datagrams that a bound socket sends before another takes its place.</summary>
    private const int PerSocket = 64;

    /// <summary>The kinds, as <c>--kind</c> names them; without it all of them take turns.</summary>
    public static readonly string[] Kinds = ["stranger", "password", "dtls", "srtp", "noise"];

    public static Command Create()
    {
        var port = Options.Within("--port", "The port that is flooded.", 0, 1, 65_535);
        var rate = Options.Within("--rate", "Datagrams a second.", 100_000, 1, 10_000_000);
        var seconds = Options.Seconds(5);
        var fragment = new Option<string>("--fragment") { Description = "A username fragment that is known there." };
        var kind = new Option<string>("--kind") { Description = "Only one kind." };
        var command = new Command("flood-source", "Sends forged datagrams; `flood` starts it.")
        {
            port,
            rate,
            seconds,
            fragment,
            kind,
        };
        command.Hidden = true;
        command.SetAction(arguments =>
        {
            var sent = Send(
                new IPEndPoint(IPAddress.Loopback, arguments.GetValue(port)),
                arguments.GetValue(rate),
                arguments.Time(seconds),
                arguments.GetValue(fragment) ?? "none",
                arguments.GetValue(kind)
            );
            Console.WriteLine(sent);
            return 0;
        });
        return command;
    }

    private static long Send(IPEndPoint target, int rate, TimeSpan time, string fragment, string? kind)
    {
        var random = new Random(1);
        var bodies = Kinds.Where(k => kind is null || k == kind).Select(k => Body(k, fragment, random)).ToArray();
        using var way = Way.Open(target, random);
        var began = Stopwatch.GetTimestamp();
        long sent = 0;

        for (var now = TimeSpan.Zero; now < time; now = Stopwatch.GetElapsedTime(began))
        {
            var due = (long)(now.TotalSeconds * rate);

            for (; sent < due; sent++)
            {
                var body = bodies[sent % bodies.Length];
                // A transaction of its own, or what stands in its place.
                random.NextBytes(body.AsSpan(8, 12));
                way.Send(body);
            }

            Thread.Sleep(1);
        }

        return sent;
    }

    /// <summary>The kinds: a check to nobody, one to a peer whose password it lacks, a ClientHello's record, SRTP, noise.</summary>
    private static byte[] Body(string kind, string fragment, Random random)
    {
        switch (kind)
        {
            case "stranger":
                return Check("zzzz", random);
            case "password":
                return Check(fragment, random);
            default:
                var body = new byte[kind == "srtp" ? 1_000 : 200];
                random.NextBytes(body);
                body[0] =
                    kind == "dtls" ? (byte)22
                    : kind == "srtp" ? (byte)0x80
                    : (byte)0xff;
                return body;
        }
    }

    /// <summary>A Binding request, RFC 8445 §7.2.2, whose MESSAGE-INTEGRITY is random. Without a FINGERPRINT, which would change with the transaction.</summary>
    private static byte[] Check(string fragment, Random random)
    {
        var name = Encoding.ASCII.GetBytes(fragment + ":forg");
        var padded = (name.Length + 3) / 4 * 4;
        var body = new byte[20 + 4 + padded + 8 + 12 + 24];
        BinaryPrimitives.WriteUInt16BigEndian(body, 0x0001);
        BinaryPrimitives.WriteUInt16BigEndian(body.AsSpan(2), (ushort)(body.Length - 20));
        BinaryPrimitives.WriteUInt32BigEndian(body.AsSpan(4), 0x2112a442);
        var at = Attribute(body, 20, 0x0006, name);
        at = Attribute(body, at, 0x0024, [0x6e, 0, 0xff, 0xff]);
        at = Attribute(body, at, 0x802a, new byte[8]);
        var tag = new byte[20];
        random.NextBytes(tag);
        Attribute(body, at, 0x0008, tag);
        return body;
    }

    private static int Attribute(byte[] body, int at, ushort type, byte[] value)
    {
        BinaryPrimitives.WriteUInt16BigEndian(body.AsSpan(at), type);
        BinaryPrimitives.WriteUInt16BigEndian(body.AsSpan(at + 2), (ushort)value.Length);
        value.CopyTo(body, at + 4);
        return at + 4 + ((value.Length + 3) / 4 * 4);
    }

    /// <summary>How they leave.</summary>
    private abstract class Way : IDisposable
    {
        public static Way Open(IPEndPoint target, Random random)
        {
            try
            {
                return new Raw(target, random);
            }
            catch (SocketException)
            {
                return new Bound(target, random);
            }
        }

        public abstract void Send(ReadOnlySpan<byte> body);

        public abstract void Dispose();
    }

    /// <summary>With IP and UDP headers of our own (RFC 791, 768), without a UDP checksum.</summary>
    private sealed class Raw : Way
    {
        private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Raw, ProtocolType.Raw);
        private readonly SocketAddress _to;
        private readonly Random _random;
        private readonly byte[] _packet = new byte[2_048];

        public Raw(IPEndPoint target, Random random)
        {
            _to = new IPEndPoint(target.Address, 0).Serialize();
            _random = random;
            _packet[0] = 0x45;
            _packet[8] = 64;
            _packet[9] = 17;
            target.Address.TryWriteBytes(_packet.AsSpan(16), out _);
            BinaryPrimitives.WriteUInt16BigEndian(_packet.AsSpan(22), (ushort)target.Port);
        }

        public override void Send(ReadOnlySpan<byte> body)
        {
            // 127.1.0.0 and above: 127.0.0.1 may be somebody.
            BinaryPrimitives.WriteInt32BigEndian(_packet.AsSpan(12), 0x7f010000 + _random.Next(0xfe0000));
            BinaryPrimitives.WriteUInt16BigEndian(_packet.AsSpan(20), (ushort)_random.Next(1_024, 65_536));
            BinaryPrimitives.WriteUInt16BigEndian(_packet.AsSpan(24), (ushort)(8 + body.Length));
            body.CopyTo(_packet.AsSpan(Headers));
            _socket.SendTo(_packet.AsSpan(0, Headers + body.Length), SocketFlags.None, _to);
        }

        public override void Dispose() => _socket.Dispose();
    }

    private sealed class Bound(IPEndPoint target, Random random) : Way
    {
        private readonly (Socket Socket, int Left)[] _sockets = new (Socket, int)[256];
        private readonly SocketAddress _to = target.Serialize();

        public override void Send(ReadOnlySpan<byte> body)
        {
            ref var place = ref _sockets[random.Next(_sockets.Length)];

            if (place.Left-- <= 0)
            {
                place.Socket?.Dispose();
                place = (new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp), PerSocket);
                place.Socket.Bind(
                    new IPEndPoint(
                        OperatingSystem.IsLinux()
                            ? new IPAddress([
                                127,
                                (byte)random.Next(1, 255),
                                (byte)random.Next(256),
                                (byte)random.Next(256),
                            ])
                            : IPAddress.Loopback,
                        0
                    )
                );
            }

            place.Socket.SendTo(body, SocketFlags.None, _to);
        }

        public override void Dispose()
        {
            foreach (var (socket, _) in _sockets)
                socket?.Dispose();
        }
    }
}
