using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Turn;
using Hybrid.WebRtc.Stack;
using Hybrid.WebRtc.Stack.Turn;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc;

/// <summary>What clients reach a TURN server by.</summary>
public enum TurnServerTransport
{
    /// <summary>UDP: <c>turn:</c> and <c>stun:</c>.</summary>
    Udp,

    /// <summary>TCP: <c>turn:…?transport=tcp</c>.</summary>
    Tcp,

    /// <summary>TLS over TCP: <c>turns:</c>.</summary>
    Tls,

    /// <summary>DTLS over UDP: <c>turns:…?transport=udp</c>, RFC 7350.</summary>
    Dtls,
}

/// <summary>An endpoint that a TURN server listens on.</summary>
/// <param name="Transport">UDP, TCP, TLS or DTLS.</param>
/// <param name="Endpoint">Address and port. <see cref="IPAddress.Any"/> and <see cref="IPAddress.IPv6Any"/> stand for every address of that family; port 0 for
/// any that is free.</param>
public sealed record TurnServerListener(TurnServerTransport Transport, IPEndPoint Endpoint);

/// <summary>What a TURN server gives at most. Every default is a good one.</summary>
public sealed record TurnServerLimits
{
    /// <summary>How long an allocation lasts whose client does not ask for longer, at least 1 s. Default 10 minutes, RFC 8656 §3.2.</summary>
    public TimeSpan DefaultLifetime { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>The longest a client can ask for, no less than <see cref="DefaultLifetime"/>. Default an hour, RFC 8656 §7.2.</summary>
    public TimeSpan MaxLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long a nonce is good for; then clients are given a new one. At least 1 s. Default an hour, RFC 8656 §5.</summary>
    public TimeSpan NonceLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Allocations of one user at once, at least 1. REST credentials are counted by the name behind the expiry. Default 100.</summary>
    public int AllocationsPerUser { get; init; } = 100;

    /// <summary>Allocations of the server at once, at least 1. Default 10,000.</summary>
    public int Allocations { get; init; } = 10_000;

    /// <summary>Peer addresses that one allocation may exchange data with at once, at least 1. Default 256.</summary>
    public int PermissionsPerAllocation { get; init; } = 256;

    /// <summary>Channels of one allocation at once, at least 1. Default 256.</summary>
    public int ChannelsPerAllocation { get; init; } = 256;

    /// <summary>
    /// Octets a second that one allocation may carry, both directions together, at least 1,500. A second's worth passes at once, what is beyond is lost,
    /// or of a relayed TCP connection waits.
    /// Default null: as many as there are.
    /// </summary>
    public long? OctetsPerSecond { get; init; }

    /// <summary>TCP and TLS connections at once, at least 1. Default 10,000.</summary>
    public int Connections { get; init; } = 10_000;

    /// <summary>TCP connections to and from peers of one allocation at once, at least 1; see <see cref="TurnServerOptions.RelayTcp"/>. Default 32.</summary>
    public int PeerConnectionsPerAllocation { get; init; } = 32;

    /// <summary>TCP connections to and from peers at once, at least 1. Default 10,000.</summary>
    public int PeerConnections { get; init; } = 10_000;

    internal void Check()
    {
        var second = TimeSpan.FromSeconds(1);
        ArgumentOutOfRangeException.ThrowIfLessThan(DefaultLifetime, second, nameof(DefaultLifetime));
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxLifetime, DefaultLifetime, nameof(MaxLifetime));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxLifetime, TimeSpan.FromDays(365), nameof(MaxLifetime));
        ArgumentOutOfRangeException.ThrowIfLessThan(NonceLifetime, second, nameof(NonceLifetime));
        ArgumentOutOfRangeException.ThrowIfLessThan(AllocationsPerUser, 1, nameof(AllocationsPerUser));
        ArgumentOutOfRangeException.ThrowIfLessThan(Allocations, 1, nameof(Allocations));
        ArgumentOutOfRangeException.ThrowIfLessThan(PermissionsPerAllocation, 1, nameof(PermissionsPerAllocation));
        ArgumentOutOfRangeException.ThrowIfLessThan(ChannelsPerAllocation, 1, nameof(ChannelsPerAllocation));
        ArgumentOutOfRangeException.ThrowIfLessThan(Connections, 1, nameof(Connections));
        ArgumentOutOfRangeException.ThrowIfLessThan(
            PeerConnectionsPerAllocation,
            1,
            nameof(PeerConnectionsPerAllocation)
        );
        ArgumentOutOfRangeException.ThrowIfLessThan(PeerConnections, 1, nameof(PeerConnections));

        if (OctetsPerSecond is { } rate)
            ArgumentOutOfRangeException.ThrowIfLessThan(rate, 1_500, nameof(OctetsPerSecond));
    }

    internal TurnLimits ToCore() =>
        new(
            Microseconds(DefaultLifetime),
            Microseconds(MaxLifetime),
            Microseconds(NonceLifetime),
            AllocationsPerUser,
            Allocations,
            PermissionsPerAllocation,
            ChannelsPerAllocation,
            OctetsPerSecond ?? long.MaxValue,
            PeerConnectionsPerAllocation,
            PeerConnections
        );

    private static long Microseconds(TimeSpan time) => time.Ticks / TimeSpan.TicksPerMicrosecond;
}

/// <summary>How a <see cref="TurnServer"/> listens, whom it serves and what it relays.</summary>
public sealed record TurnServerOptions
{
    /// <summary>The domain of passwords, RFC 8489 §14.9: best the provider's domain name.</summary>
    public required string Realm { get; init; }

    /// <summary>Where it listens. Default: UDP and TCP on port 3478 of every IPv4 address.</summary>
    public IReadOnlyList<TurnServerListener> Listeners { get; init; } =
    [
        new(TurnServerTransport.Udp, new IPEndPoint(IPAddress.Any, 3478)),
        new(TurnServerTransport.Tcp, new IPEndPoint(IPAddress.Any, 3478)),
    ];

    /// <summary>Users by name, and their passwords. Without users and <see cref="SharedSecrets"/> it is a STUN server, and relays for nobody.</summary>
    public IReadOnlyDictionary<string, string> Users { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// Secrets that are shared with who hands out credentials that expire (<see cref="TurnServer.CreateCredential"/>,
    /// draft-uberti-behave-turn-rest). More than one while they are rotated.
    /// </summary>
    public IReadOnlyList<string> SharedSecrets { get; init; } = [];

    /// <summary>Certificate and whatever else TLS needs; its certificate selector may renew it at run time. Needed where a listener speaks TLS.</summary>
    public SslServerAuthenticationOptions? Tls { get; init; }

    /// <summary>The ports that are relayed. Default 49152 to 65535, RFC 8656 §7.2.</summary>
    public WebRtcPortRange RelayPorts { get; init; } = new(49_152, 65_535);

    /// <summary>
    /// The addresses of this machine that are relayed, one of each family at most. A family that is not among them is not served.
    /// Default: the best address of each family that the machine has.
    /// </summary>
    public IReadOnlyList<IPAddress> RelayAddresses { get; init; } = [];

    /// <summary>
    /// Under which address the world sees one of this machine, where a NAT maps one to one, as clouds do. The keys are local addresses.
    /// Ports stay.
    /// </summary>
    public IReadOnlyDictionary<IPAddress, IPAddress> ExternalAddresses { get; init; } =
        new Dictionary<IPAddress, IPAddress>();

    /// <summary>
    /// Whether clients that come by TCP or TLS may have relayed ports of TCP, to connect to peers and be connected to (RFC 6062). Peers are filtered as they are
    /// for UDP. Default false: no browser asks for one, and a client can speak to any public service by it, under this server's address.
    /// </summary>
    public bool RelayTcp { get; init; }

    /// <summary>Whether peers on this machine may be reached (<c>127.0.0.0/8</c>, <c>::1</c>). Default false: its services would be open to every client.</summary>
    public bool AllowLoopbackPeers { get; init; }

    /// <summary>
    /// Whether peers of private networks may be reached (RFC 1918, RFC 6598, RFC 4193). Default false: whatever the operator's network hides would be
    /// open to every client.
    /// </summary>
    public bool AllowPrivatePeers { get; init; }

    /// <summary>Whether peers with link-local addresses may be reached. Default false: among them are clouds' metadata services.</summary>
    public bool AllowLinkLocalPeers { get; init; }

    /// <summary>Peers that may be reached, whatever the others say.</summary>
    public IReadOnlyList<IPNetwork> AllowedPeers { get; init; } = [];

    /// <summary>Peers that may not be reached, beside multicast and reserved addresses, and those above.</summary>
    public IReadOnlyList<IPNetwork> DeniedPeers { get; init; } = [];

    /// <summary>Quotas and lifetimes.</summary>
    public TurnServerLimits Limits { get; init; } = new();

    /// <summary>Where clients are sent on to once this server is full or drained, the first of the client's family. Default: nowhere.</summary>
    public IReadOnlyList<IPEndPoint> AlternateServers { get; init; } = [];

    /// <summary>
    /// A second address and a second port, beside those of the first UDP listener, for clients that find out how their NAT behaves (RFC 5780).
    /// That listener then names one address. Default null: there is no discovery.
    /// </summary>
    public IPEndPoint? BehaviourDiscovery { get; init; }

    /// <summary>What the server calls itself, RFC 8489 §14.14. Default: nothing.</summary>
    public string Software { get; init; } = "";

    /// <summary>How datagrams are sent and received. Default: the fastest way that works here.</summary>
    public WebRtcSockets Sockets { get; init; } = WebRtcSockets.Automatic;

    /// <summary>Where logs go. Allocations are logged as information, refusals at debug level. Default: nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>Where time comes from. Default: the system's clock.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <exception cref="ArgumentException">A value is out of its range, or two do not fit.</exception>
    internal void Check()
    {
        ArgumentException.ThrowIfNullOrEmpty(Realm);
        ArgumentNullException.ThrowIfNull(Limits);
        Limits.Check();

        if (Realm.Length > 127)
            throw new ArgumentException("Realm has at most 127 characters.", nameof(Realm));

        if (Software.Length > 127)
            throw new ArgumentException("Software has at most 127 characters.", nameof(Software));

        if (Listeners.Count == 0)
            throw new ArgumentException("Listeners name at least one endpoint.", nameof(Listeners));

        if (!Listeners.All(listener => Enum.IsDefined(listener.Transport)))
            throw new ArgumentException(
                "Each listener's transport is one of TurnServerTransport's values.",
                nameof(Listeners)
            );

        if (Tls is null && Listeners.Any(listener => listener.Transport == TurnServerTransport.Tls))
            throw new ArgumentException(
                "A listener speaks TLS, so Tls names a certificate, or how one is chosen.",
                nameof(Tls)
            );

        if (
            Tls is not { ServerCertificateContext: not null } and not { ServerCertificate: X509Certificate2 }
            && Listeners.Any(listener => listener.Transport == TurnServerTransport.Dtls)
        )
            throw new ArgumentException(
                "A listener speaks DTLS, so Tls has a ServerCertificate (an X509Certificate2 with its private key) or a ServerCertificateContext.",
                nameof(Tls)
            );

        if (
            RelayTcp
            && !Listeners.Any(listener => listener.Transport is TurnServerTransport.Tcp or TurnServerTransport.Tls)
        )
            throw new ArgumentException(
                "RelayTcp needs a listener of TCP or TLS: relayed ports of TCP are given to clients that come by these.",
                nameof(RelayTcp)
            );

        CheckUsers(Users, SharedSecrets);

        if (RelayPorts.First == 0)
            throw new ArgumentException("RelayPorts is a range from 1 to 65535.", nameof(RelayPorts));

        if (RelayAddresses.DistinctBy(address => address.AddressFamily).Count() < RelayAddresses.Count)
            throw new ArgumentException(
                "RelayAddresses name one address of each family at most.",
                nameof(RelayAddresses)
            );

        if (RelayAddresses.Any(IsUnspecified) || ExternalAddresses.Keys.Any(IsUnspecified))
            throw new ArgumentException(
                "RelayAddresses and the keys of ExternalAddresses are addresses of this machine, not the unspecified one: peers are told them.",
                nameof(RelayAddresses)
            );

        if (ExternalAddresses.Any(pair => pair.Key.AddressFamily != pair.Value.AddressFamily))
            throw new ArgumentException(
                "ExternalAddresses map an address to one of the same family.",
                nameof(ExternalAddresses)
            );

        CheckDiscovery();

        if (!Enum.IsDefined(Sockets))
            throw new ArgumentOutOfRangeException(nameof(Sockets), Sockets, null);
    }

    internal static void CheckUsers(IReadOnlyDictionary<string, string> users, IReadOnlyList<string> secrets)
    {
        if (users.Any(user => user.Key.Length is 0 or > 508 || user.Value.Length == 0))
            throw new ArgumentException("Users have names of 1 to 508 characters, and passwords.", nameof(users));

        if (secrets.Any(string.IsNullOrEmpty))
            throw new ArgumentException("SharedSecrets are not empty.", nameof(secrets));
    }

    internal static TurnCredentials ToCredentials(
        IReadOnlyDictionary<string, string> users,
        IReadOnlyList<string> secrets
    ) =>
        // NFC is what OpaqueString (RFC 8265 §4.2.1) leaves to do for passwords that people have typed.
        new([.. users.Select(user => (user.Key.Normalize(), user.Value.Normalize()))], [.. secrets]);

    internal TurnSettings ToStack() =>
        new()
        {
            Listeners =
            [
                .. Listeners.Select(listener => new TurnListener((TurnTransport)listener.Transport, listener.Endpoint)),
            ],
            Discovery = BehaviourDiscovery,
            RelayAddresses = RelayAddresses,
            External = ExternalAddresses,
            RelayPorts = new PortRange(RelayPorts.First, RelayPorts.Last),
            RelayTcp = RelayTcp,
            Realm = Realm,
            Software = Software,
            Limits = Limits.ToCore(),
            MaxConnections = Limits.Connections,
            Peers = ToFilter(),
            Alternates = AlternateServers,
            Credentials = ToCredentials(Users, SharedSecrets),
            Tls = Tls,
            Time = TimeProvider,
            Stack = StackOptions.Default with
            {
                Sockets = Sockets == WebRtcSockets.Portable ? SocketKind.Portable : SocketKind.Automatic,
                LoggerFactory = LoggerFactory ?? NullLoggerFactory.Instance,
            },
        };

    private static bool IsUnspecified(IPAddress address) =>
        address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);

    private void CheckDiscovery()
    {
        if (BehaviourDiscovery is not { } other)
            return;

        var first = Listeners.FirstOrDefault(listener => listener.Transport == TurnServerTransport.Udp)?.Endpoint;

        if (
            first is null
            || IsUnspecified(first.Address)
            || IsUnspecified(other.Address)
            || first.AddressFamily != other.AddressFamily
            || first.Address.Equals(other.Address)
            || first.Port == other.Port
            || other.Port == 0
        )
        {
            throw new ArgumentException(
                "BehaviourDiscovery is another address and another port than those of the first UDP listener, of the same family; both name an address of this machine.",
                nameof(BehaviourDiscovery)
            );
        }
    }

    private PeerFilter ToFilter()
    {
        List<Prefix> denied =
        [
            .. PeerFilterModule.Multicast,
            .. PeerFilterModule.Reserved,
            .. Translate.ToPrefixes(DeniedPeers),
        ];

        if (!AllowLoopbackPeers)
            denied.AddRange(PeerFilterModule.Loopback);

        if (!AllowPrivatePeers)
            denied.AddRange(PeerFilterModule.PrivateUse);

        if (!AllowLinkLocalPeers)
            denied.AddRange(PeerFilterModule.LinkLocal);

        return new PeerFilter(Translate.ToPrefixes(AllowedPeers), [.. denied]);
    }
}
