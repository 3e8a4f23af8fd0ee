using System.Net;
using System.Net.Security;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc.Stack;

/// <summary>UDP ports that may be bound, both ends included. <c>default</c>: any free one.</summary>
/// <param name="First">The lowest, from 1.</param>
/// <param name="Last">The highest, to 65535.</param>
internal readonly record struct PortRange(ushort First, ushort Last)
{
    /// <summary>Whether the operating system chooses.</summary>
    public bool IsAny => First == 0;

    /// <summary>How many there are.</summary>
    public int Count => IsAny ? 0 : Last - First + 1;
}

/// <summary>How datagrams are sent and received.</summary>
internal enum SocketKind
{
    /// <summary>In batches, by the calls of Linux, where they work; else portably.</summary>
    Automatic,

    /// <summary>By .NET's sockets alone, one datagram a call.</summary>
    Portable,
}

/// <summary>How the shell does its part. W3C's <c>RTCConfiguration</c> knows nothing of these; <c>WebRtcOptions</c> maps to them.</summary>
internal sealed record StackOptions
{
    /// <summary>Everything by default.</summary>
    public static StackOptions Default { get; } = new();

    /// <summary>Ports that a connection may bind. Default: any free one.</summary>
    public PortRange Ports { get; init; }

    /// <summary>Ports of TCP listeners, one a connection and address, RFC 6544; null (the default): none listens. A shared port
    /// that is opened with it listens on its own number.</summary>
    public PortRange? TcpPorts { get; init; }

    /// <summary>A proxy that connections to TURN servers over TCP and TLS are made through; null (the default): none.</summary>
    public ProxySettings? Proxy { get; init; }

    /// <summary>Whether a TLS server's certificate will do; null (the default): the platform decides.</summary>
    public RemoteCertificateValidationCallback? ServerCertificateValidation { get; init; }

    /// <summary>Whether several sockets of ours may have one number, each of a loop (SO_REUSEPORT); a <see cref="SharedPort"/>'s own affair.</summary>
    public bool ReusePort { get; init; }

    /// <summary>One UDP port that many connections share, in place of a port for each; its loops carry them all.</summary>
    public SharedPort? SharedPort { get; init; }

    /// <summary>Whether an interface of this name is used. Default: every one.</summary>
    public Func<string, bool>? InterfaceFilter { get; init; }

    /// <summary>Whether a local address is used. Default: every one.</summary>
    public Func<IPAddress, bool>? AddressFilter { get; init; }

    /// <summary>Whether loopback addresses are used even where there are others, against RFC 8445 §5.1.1.1. Default false.</summary>
    public bool IncludeLoopback { get; init; }

    /// <summary>Whether link-local addresses (<c>fe80::/10</c>, <c>169.254.0.0/16</c>) are used even where there are others. Default false.</summary>
    public bool IncludeLinkLocal { get; init; }

    /// <summary>Whether addresses that appear while a peer lives are bound, too: the core gathers continually. Default false.</summary>
    public bool ContinualGathering { get; init; }

    /// <summary>How often this machine's addresses are looked at, beside when the system tells of a change. Default 5 s;
    /// <see cref="Timeout.InfiniteTimeSpan"/>: never.</summary>
    public TimeSpan NetworkWatchInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Who watches this machine's addresses.</summary>
    public NetworkWatch Network { get; init; } = NetworkWatch.Shared;

    /// <summary>The loops that carry peers.</summary>
    public LoopGroup Loops { get; init; } = LoopGroup.Shared;

    /// <summary>How datagrams are sent and received.</summary>
    public SocketKind Sockets { get; init; }

    /// <summary>Buffers for what arrives at portable ports, one a port.</summary>
    public LeasePool Leases { get; init; } = LeasePool.Shared;

    /// <summary>Octets asked of the operating system for each socket's receive buffer. Default 4 MiB; it may give less.</summary>
    public int ReceiveBuffer { get; init; } = 4 * 1024 * 1024;

    /// <summary>Octets asked of the operating system for each socket's send buffer. Default 4 MiB; it may give less.</summary>
    public int SendBuffer { get; init; } = 4 * 1024 * 1024;

    /// <summary>Finds servers' and candidates' addresses.</summary>
    public Resolver Resolver { get; init; } = Resolver.Shared;

    /// <summary>Where log lines go.</summary>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    /// <summary>
    /// Makes the stream that a new connection's journal is written to; null (the default): none is kept.
    /// <b>A journal holds secrets</b>: whoever reads it can decrypt the session (see <see cref="JournalWriter"/>).
    /// </summary>
    public Func<Stream>? Journal { get; init; }

    /// <summary>Octets after which a journal stops. Default 256 MiB.</summary>
    public long JournalLimit { get; init; } = 256L * 1024 * 1024;
}
