using System.Net;
using System.Net.Security;
using Hybrid.WebRtc.Core.Turn;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>What clients reach a server by.</summary>
internal enum TurnTransport
{
    /// <summary>RFC 8656 §3.1.</summary>
    Udp,

    /// <summary>The same messages as a stream.</summary>
    Tcp,

    /// <summary>The same within TLS.</summary>
    Tls,

    /// <summary>The same as datagrams within DTLS, RFC 7350.</summary>
    Dtls,
}

/// <summary>An endpoint to listen on. The unspecified address stands for every address of the machine.</summary>
internal readonly record struct TurnListener(TurnTransport Transport, IPEndPoint Endpoint);

/// <summary>How a server does its part. The facade's <c>TurnServerOptions</c> maps to it, and has checked it.</summary>
internal sealed record TurnSettings
{
    /// <summary>Where it listens.</summary>
    public required IReadOnlyList<TurnListener> Listeners { get; init; }

    /// <summary>A second address and port for RFC 5780, beside those of the first UDP listener; null: no behaviour discovery.</summary>
    public IPEndPoint? Discovery { get; init; }

    /// <summary>Local addresses of relayed ports, at most one a family. None: the machine's best of each.</summary>
    public IReadOnlyList<IPAddress> RelayAddresses { get; init; } = [];

    /// <summary>Under which address the world sees a local one, where a NAT maps one to one.</summary>
    public IReadOnlyDictionary<IPAddress, IPAddress> External { get; init; } = new Dictionary<IPAddress, IPAddress>();

    /// <summary>Relayed ports.</summary>
    public PortRange RelayPorts { get; init; } = new(49_152, 65_535);

    /// <summary>Whether clients that come by TCP or TLS may have relayed ports of TCP (RFC 6062).</summary>
    public bool RelayTcp { get; init; }

    /// <summary>REALM.</summary>
    public required string Realm { get; init; }

    /// <summary>SOFTWARE; empty: none.</summary>
    public string Software { get; init; } = "";

    /// <summary>Quotas and lifetimes.</summary>
    public TurnLimits Limits { get; init; } = TurnServer.Limits;

    /// <summary>TCP and TLS connections at once, those without an allocation included.</summary>
    public int MaxConnections { get; init; } = 10_000;

    /// <summary>How long a connection may do without an allocation.</summary>
    public TimeSpan ConnectionPatience { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Which peers may be reached.</summary>
    public PeerFilter Peers { get; init; } = PeerFilterModule.Standard;

    /// <summary>Where clients are sent when this server is full or drained.</summary>
    public IReadOnlyList<IPEndPoint> Alternates { get; init; } = [];

    /// <summary>Who may use it.</summary>
    public required TurnCredentials Credentials { get; init; }

    /// <summary>Certificates and the like; not null where a listener speaks TLS or DTLS.</summary>
    public SslServerAuthenticationOptions? Tls { get; init; }

    /// <summary>Sockets, logging.</summary>
    public StackOptions Stack { get; init; } = StackOptions.Default;

    /// <summary>Where time comes from.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}
