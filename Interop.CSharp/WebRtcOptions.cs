using System.Net;
using System.Net.Security;
using System.Reactive.Concurrency;
using System.Runtime.CompilerServices;
using Hybrid.WebRtc.Stack;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hybrid.WebRtc;

/// <summary>What a connection needs to know and W3C does not say, in one place. Every default is a good one.</summary>
public sealed record WebRtcOptions
{
    /// <summary>Connections that share a clock share its loops.</summary>
    private static readonly ConditionalWeakTable<TimeProvider, LoopGroup> LoopsByTime = [];

    /// <summary>The UDP ports to bind, one a connection and interface address. Default: any that is free.</summary>
    public WebRtcPortRange? Ports { get; init; }

    /// <summary>One UDP port for many connections, in place of <see cref="Ports"/>: a firewall needs one hole. Default: a port a connection.</summary>
    public WebRtcSharedPort? SharedPort { get; init; }

    /// <summary>
    /// How datagrams are sent and received. Default: the fastest way that works here. Of no effect on a connection with a
    /// <see cref="SharedPort"/>: the options that <see cref="WebRtcSharedPort.Open"/> was given decide.
    /// </summary>
    public WebRtcSockets Sockets { get; init; } = WebRtcSockets.Automatic;

    /// <summary>Which interfaces are used, by name, such as <c>eth0</c>. Default: all that are up.</summary>
    public Func<string, bool>? InterfaceFilter { get; init; }

    /// <summary>Which local addresses are used. Default: all that are usable.</summary>
    public Func<IPAddress, bool>? AddressFilter { get; init; }

    /// <summary>
    /// Which candidates are gathered and told to the peer; without <see cref="WebRtcCandidateTypes.PeerReflexive"/> addresses that only the peer's checks
    /// tell of are not used. At least one. <see cref="RTCConfiguration.IceTransportPolicy"/> narrows it further. Default: all.
    /// </summary>
    public WebRtcCandidateTypes CandidateTypes { get; init; } = WebRtcCandidateTypes.All;

    /// <summary>
    /// Where the peer's addresses may be: candidates and checks from elsewhere are not heeded, whatever its descriptions say. A relay of the peer's is at
    /// the relay's address. Default: none, which is anywhere.
    /// </summary>
    public IReadOnlyList<IPNetwork> AllowedRemotes { get; init; } = [];

    /// <summary>Where they may not be, though <see cref="AllowedRemotes"/> has them. Default: none.</summary>
    public IReadOnlyList<IPNetwork> DeniedRemotes { get; init; } = [];

    /// <summary>
    /// Whether the connection is a lite agent of ICE, RFC 8445 §2.5: it tells its host candidates, answers the peer's checks, sends none, and sends where the
    /// peer nominates. For servers that every peer can reach at their own addresses, or at <see cref="ExternalAddresses"/>; it spares them checks and timers. The peer
    /// should be a full agent, as browsers are. <c>disconnected</c> takes twice <see cref="DisconnectedAfter"/>: the peer's checks are all that it hears. Default false.
    /// </summary>
    public bool IceLite { get; init; }

    /// <summary>Whether <c>127.0.0.1</c> and <c>::1</c> become candidates: for two peers on one machine. Default false.</summary>
    public bool IncludeLoopback { get; init; }

    /// <summary>Whether a connection is made to the peer's TCP candidates where UDP does not pass, RFC 6544. W3C's browsers do. Default true.</summary>
    public bool IceTcp { get; init; } = true;

    /// <summary>Whether TURN servers that TCP or TLS reaches are asked for relayed addresses of TCP, too (RFC 6062). Needs <see cref="IceTcp"/>. Default false.</summary>
    public bool RelayTcp { get; init; }

    /// <summary>
    /// Whether the peer is told random names, <c>….local</c>, in place of the addresses of this host, as browsers do that have no camera
    /// permission: this machine answers for them on its link (multicast DNS, RFC 6762, RFC 8828 §5.2). Default false: servers have nothing to hide,
    /// and most networks of servers carry no multicast.
    /// </summary>
    public bool HideAddresses { get; init; }

    /// <summary>
    /// Public addresses of this host where a NAT before it maps them one to one, as clouds have it: candidates tell of them without
    /// a STUN server. Default: none.
    /// </summary>
    public IReadOnlyList<WebRtcExternalAddress> ExternalAddresses { get; init; } = [];

    /// <summary>
    /// Whether peers may connect by TCP, too: a listener for each address, told as passive candidates (RFC 6544). For a server that
    /// is to be reached from networks without UDP; W3C's browsers have none. A <see cref="SharedPort"/> that was opened with it listens on its own
    /// number, for all connections that share it. Default false.
    /// </summary>
    public bool TcpListen { get; init; }

    /// <summary>The TCP ports to listen on, one a connection and interface address. Default: any that is free.</summary>
    public WebRtcPortRange? TcpPorts { get; init; }

    /// <summary>
    /// A proxy that TURN servers are reached through over TCP and TLS: <c>http://host:port</c> (CONNECT, RFC 9110 §9.3.6) or
    /// <c>socks5://host:port</c> (RFC 1928). Default: none.
    /// </summary>
    public Uri? Proxy { get; init; }

    /// <summary>Who we are to the <see cref="Proxy"/>. Default: nobody.</summary>
    public NetworkCredential? ProxyCredentials { get; init; }

    /// <summary>
    /// Whether the certificate of a <c>turns:</c> server will do. Called on the thread pool. Default: as the platform decides, which
    /// asks for a chain that it trusts and for the server's name.
    /// </summary>
    public RemoteCertificateValidationCallback? ServerCertificateValidation { get; init; }

    /// <summary>
    /// Whether addresses that appear while the connection lives, another network's say, become candidates of the same generation: the call
    /// moves there without a restart. <see cref="RTCPeerConnection.IceGatheringState"/> never becomes <c>complete</c> then, and nobody is told of
    /// an end of candidates, after which none might follow (RFC 8838 §13): send candidates as they come. Of no effect on a connection with a
    /// <see cref="SharedPort"/>. Default false, as the W3C has it.
    /// </summary>
    public bool ContinualGathering { get; init; }

    /// <summary>
    /// How often the addresses of this machine are looked at, beside whenever the system tells of a change; the shortest of a process's
    /// connections holds for all. Default 5 s; <see cref="Timeout.InfiniteTimeSpan"/>: never.
    /// </summary>
    public TimeSpan NetworkWatchInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Whether the controlling side may move the connection to a pair that turns out to be better, where the peer can follow:
    /// <c>a=ice-options:renomination</c>, draft-thatcher-ice-renomination. Default true.
    /// </summary>
    public bool Renomination { get; init; } = true;

    /// <summary>
    /// When the connection itself asks for an ICE restart: as <see cref="RTCPeerConnection.RestartIce"/> does, so
    /// <see cref="RTCPeerConnection.OnNegotiationNeeded"/> is told. Default <see cref="WebRtcIceRestart.Never"/>, as the W3C has it.
    /// </summary>
    public WebRtcIceRestart IceRestart { get; init; } = WebRtcIceRestart.Never;

    /// <summary>How long without an answer until a connection is <c>disconnected</c>. Default 5 s.</summary>
    public TimeSpan DisconnectedAfter { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long without an answer until it is <c>failed</c>: consent expires, RFC 7675 §5.1. Default 30 s.</summary>
    public TimeSpan FailedAfter { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// The largest UDP payload that is sent before more is known of the path, octets, from 576 to 65,507. Default 1,200, which
    /// passes nearly everywhere.
    /// </summary>
    public int MaxDatagramSize { get; init; } = 1200;

    /// <summary>
    /// The largest UDP payload that path MTU discovery (RFC 8899) may find for data channels, octets, from <see cref="MaxDatagramSize"/>
    /// to 65,507. Equal to it: no discovery. Default 1,472, which fills a packet of Ethernet, or
    /// <see cref="MaxDatagramSize"/> where that is more. More than 2,000 asks for a peer that takes larger datagrams than this library does.
    /// </summary>
    public int? MtuDiscoveryLimit { get; init; }

    /// <summary>The largest message taken from the peer, octets, at least 1; the descriptions say so. Default 262,144, as browsers have it.</summary>
    public int MaxMessageSize { get; init; } = 262_144;

    /// <summary>
    /// Octets of messages that may be under way to the application before the peer has to wait, at least 65,536 and no less
    /// than <see cref="MaxMessageSize"/>. Default 8 MiB.
    /// </summary>
    public int ReceiveWindow { get; init; } = 8 * 1024 * 1024;

    /// <summary>
    /// What <see cref="ReceiveWindow"/> may grow to, octets, while the application keeps up with a peer that fills it in a round
    /// trip. Equal to it: the window stays. Default 32 MiB, which is 1 Gbit/s at 200 ms, or <see cref="ReceiveWindow"/> where that is more.
    /// </summary>
    public int? MaxReceiveWindow { get; init; }

    /// <summary>How data channels share a path that is full. Default: <see cref="WebRtcCongestionControl.Cubic"/>.</summary>
    public WebRtcCongestionControl CongestionControl { get; init; } = WebRtcCongestionControl.Cubic;

    /// <summary>
    /// Octets that <see cref="RTCDataChannel.Send(string)"/> may queue on one connection before it throws
    /// <c>OperationError</c>. Default 16 MiB.
    /// </summary>
    public int SendBuffer { get; init; } = 16 * 1024 * 1024;

    /// <summary>
    /// <see cref="RTCDataChannel.SendAsync(string, CancellationToken)"/> waits while its channel has more octets queued than
    /// this. Default 1 MiB.
    /// </summary>
    public int SendHighWaterMark { get; init; } = 1024 * 1024;

    /// <summary>Which codecs, header extensions and feedback may be negotiated. Default: what browsers have.</summary>
    public RTCMediaCapabilities Media { get; init; } = RTCMediaCapabilities.Default;

    /// <summary>What the estimate of the network's bandwidth begins with and stays within. Default: as browsers have it.</summary>
    public WebRtcBitrate Bitrate { get; init; } = new();

    /// <summary>
    /// How long receivers hold packets, where <see cref="RTCRtpReceiver.JitterBufferTarget"/> does not say, from 0 to 4 seconds. Default: null, they are
    /// handed on as they come.
    /// </summary>
    public TimeSpan? JitterBufferTarget { get; init; }

    /// <summary>
    /// Who sees RTP and RTCP between the application and the connection; each is made with the connection. Outgoing packets pass
    /// them in this order, incoming ones in the reverse. Default: none.
    /// </summary>
    public IReadOnlyList<Func<RTCPeerConnection, IRtpInterceptor>> Interceptors { get; init; } = [];

    /// <summary>The certificate to show where <see cref="RTCConfiguration.Certificates"/> names none. Default: one a process.</summary>
    public RTCCertificate? Certificate { get; init; }

    /// <summary>Who seals and opens packets. Default: whoever is fastest on this machine.</summary>
    public WebRtcCiphers Ciphers { get; init; } = WebRtcCiphers.Automatic;

    /// <summary>
    /// The oldest version of DTLS that is spoken. Above <see cref="MaxDtlsVersion"/> it is a <c>RangeError</c> of the connection's constructor.
    /// Default <see cref="WebRtcDtlsVersion.Dtls12"/>.
    /// </summary>
    public WebRtcDtlsVersion MinDtlsVersion { get; init; } =
        (WebRtcDtlsVersion)Core.Peer.DefaultOptions.Dtls.MinVersion;

    /// <summary>The newest version of DTLS that is spoken, which is preferred. Default: the newest there is.</summary>
    public WebRtcDtlsVersion MaxDtlsVersion { get; init; } =
        (WebRtcDtlsVersion)Core.Peer.DefaultOptions.Dtls.MaxVersion;

    /// <summary>
    /// Cipher suites of all versions of DTLS, in order of preference, none twice; those of a version that is not spoken do not count. Supported are
    /// <c>TLS_AES_128_GCM_SHA256</c>, <c>TLS_AES_256_GCM_SHA384</c> and <c>TLS_CHACHA20_POLY1305_SHA256</c> for 1.3; ECDHE with ECDSA or RSA and the
    /// same three for 1.2. A version without a suite is a <c>NotSupportedError</c> of the connection's constructor. Default: all of them, AES-128 first.
    /// </summary>
    public IReadOnlyList<TlsCipherSuite> DtlsCipherSuites { get; init; } =
    [.. Core.Peer.DefaultOptions.Dtls.Suites.Select(suite => (TlsCipherSuite)suite)];

    /// <summary>
    /// The groups that keys are agreed on in, in order of preference, at least one, none twice. <see cref="WebRtcDtlsGroup.X25519MLKEM768"/> is of DTLS 1.3;
    /// where 1.2 is spoken too, another is needed. Default: what browsers have, in their order.
    /// </summary>
    public IReadOnlyList<WebRtcDtlsGroup> DtlsGroups { get; init; } =
    [.. Core.Peer.DefaultOptions.Dtls.Groups.Select(group => (WebRtcDtlsGroup)group)];

    /// <summary>
    /// How media may be protected, in order of preference: offered by the DTLS client, chosen from by the server (RFC 5764 §4.1.2).
    /// At least one, none twice. Where both sides have none in common, media is neither sent nor received; data channels are not
    /// touched. Default: all there are, AES-GCM first.
    /// </summary>
    public IReadOnlyList<WebRtcSrtpProfile> SrtpProfiles { get; init; } =
    [
        WebRtcSrtpProfile.AeadAes256Gcm,
        WebRtcSrtpProfile.AeadAes128Gcm,
        WebRtcSrtpProfile.Aes128CmHmacSha1_80,
        WebRtcSrtpProfile.Aes128CmHmacSha1_32,
    ];

    /// <summary>
    /// Where every notification, every completion and every visible change of state happens. Default: a serial context that
    /// the connection has for itself on the thread pool.
    /// </summary>
    public SynchronizationContext? SynchronizationContext { get; init; }

    /// <summary>The same, for those who have an Rx scheduler. At most one of the two may be given.</summary>
    public IScheduler? Scheduler { get; init; }

    /// <summary>Where logs go. Noise from the network is logged at debug level. Default: nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>
    /// A folder in which everything that reaches a connection is recorded, one file a connection, so that it can be replayed
    /// without a network. The files hold the connections' secrets. Default: no journal.
    /// </summary>
    public string? JournalFolder { get; init; }

    /// <summary>
    /// A file that the secrets of every DTLS handshake are appended to in NSS key log format, so that Wireshark can read a capture. It is made
    /// for its owner alone. Whoever reads it can decrypt all that the connections carry: for debugging only. Nothing but this option turns it on, no
    /// environment variable either. Default: none.
    /// </summary>
    public string? KeyLogPath { get; init; }

    /// <summary>Where time comes from. Default: the system's clock.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>The shell's part of it.</summary>
    internal StackOptions ToStack() =>
        new()
        {
            Ports = Ports is { } range ? new PortRange(range.First, range.Last) : default,
            SharedPort = SharedPort?.Inner,
            TcpPorts =
                !TcpListen ? null
                : TcpPorts is { } ports ? new PortRange(ports.First, ports.Last)
                : default(PortRange),
            Proxy = Proxy is null
                ? null
                : new ProxySettings(
                    Proxy.Scheme == "http" ? ProxyKind.Http : ProxyKind.Socks5,
                    Proxy.IdnHost,
                    Proxy.Port,
                    ProxyCredentials?.UserName,
                    ProxyCredentials?.Password
                ),
            ServerCertificateValidation = ServerCertificateValidation,
            Sockets = Sockets == WebRtcSockets.Portable ? SocketKind.Portable : SocketKind.Automatic,
            InterfaceFilter = InterfaceFilter,
            AddressFilter = AddressFilter,
            IncludeLoopback = IncludeLoopback,
            ContinualGathering = ContinualGathering,
            NetworkWatchInterval = NetworkWatchInterval,
            Loops = ReferenceEquals(TimeProvider, TimeProvider.System)
                ? LoopGroup.Shared
                : LoopsByTime.GetValue(TimeProvider, static time => new LoopGroup(1, time)),
            LoggerFactory = LoggerFactory ?? NullLoggerFactory.Instance,
            Journal = JournalFolder is { } folder ? JournalWriter.InFolder(folder) : null,
        };

    /// <summary>The crypto capability that was chosen.</summary>
    /// <exception cref="PlatformNotSupportedException">The processor cannot do what was chosen.</exception>
    internal SystemCiphers ToCiphers() =>
        SystemCiphers.Of(
            Ciphers switch
            {
                WebRtcCiphers.Automatic => CipherChoice.Automatic,
                WebRtcCiphers.Platform => CipherChoice.Platform,
                WebRtcCiphers.Intrinsic => CipherChoice.Intrinsic,
                _ => throw new ArgumentOutOfRangeException(nameof(Ciphers)),
            }
        );

    /// <exception cref="ArgumentException">A value is out of its range.</exception>
    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(DisconnectedAfter, TimeSpan.Zero, nameof(DisconnectedAfter));
        ArgumentOutOfRangeException.ThrowIfLessThan(FailedAfter, DisconnectedAfter, nameof(FailedAfter));
        if (NetworkWatchInterval != Timeout.InfiniteTimeSpan)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(
                NetworkWatchInterval,
                TimeSpan.FromMilliseconds(100),
                nameof(NetworkWatchInterval)
            );
            ArgumentOutOfRangeException.ThrowIfGreaterThan(
                NetworkWatchInterval,
                TimeSpan.FromDays(1),
                nameof(NetworkWatchInterval)
            );
        }

        if (!Enum.IsDefined(IceRestart))
            throw new ArgumentOutOfRangeException(nameof(IceRestart), IceRestart, null);

        ArgumentNullException.ThrowIfNull(ExternalAddresses);
        if (
            ExternalAddresses.FirstOrDefault(e =>
                e.Local is { } local && local.AddressFamily != e.External.AddressFamily
            ) is
            { } odd
        )
        {
            throw new ArgumentException(
                $"ExternalAddresses map an address to one of its own family, and {odd.Local} and {odd.External} are of two.",
                nameof(ExternalAddresses)
            );
        }

        ArgumentNullException.ThrowIfNull(AllowedRemotes);
        ArgumentNullException.ThrowIfNull(DeniedRemotes);
        if (CandidateTypes == 0 || (CandidateTypes & ~WebRtcCandidateTypes.All) != 0)
        {
            throw new ArgumentOutOfRangeException(
                nameof(CandidateTypes),
                "CandidateTypes are at least one of WebRtcCandidateTypes' values."
            );
        }

        if (IceLite && !CandidateTypes.HasFlag(WebRtcCandidateTypes.Host))
            throw new ArgumentException(
                "A lite agent has host candidates: let CandidateTypes have Host.",
                nameof(CandidateTypes)
            );

        if (IceLite && !CandidateTypes.HasFlag(WebRtcCandidateTypes.PeerReflexive))
        {
            throw new ArgumentException(
                "A lite agent sends to where checks come from: let CandidateTypes have PeerReflexive.",
                nameof(CandidateTypes)
            );
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(MaxDatagramSize, 576, nameof(MaxDatagramSize));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxDatagramSize, 65_507, nameof(MaxDatagramSize));
        if (MtuDiscoveryLimit is { } limit)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(limit, MaxDatagramSize, nameof(MtuDiscoveryLimit));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, 65_507, nameof(MtuDiscoveryLimit));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(MaxMessageSize, 1, nameof(MaxMessageSize));
        ArgumentOutOfRangeException.ThrowIfLessThan(
            ReceiveWindow,
            Math.Max(65_536, MaxMessageSize),
            nameof(ReceiveWindow)
        );
        if (MaxReceiveWindow is { } most)
            ArgumentOutOfRangeException.ThrowIfLessThan(most, ReceiveWindow, nameof(MaxReceiveWindow));
        if (!Enum.IsDefined(CongestionControl))
        {
            throw new ArgumentOutOfRangeException(
                nameof(CongestionControl),
                "CongestionControl is one of WebRtcCongestionControl's values."
            );
        }

        if (Proxy is not null && (!Proxy.IsAbsoluteUri || Proxy.Scheme is not ("http" or "socks5") || Proxy.Port <= 0))
        {
            throw new ArgumentException("Proxy is http://host:port or socks5://host:port.", nameof(Proxy));
        }

        if (Proxy is { UserInfo.Length: > 0 })
            throw new ArgumentException("Give the proxy's user name and password in ProxyCredentials.", nameof(Proxy));

        ArgumentNullException.ThrowIfNull(Media);
        ArgumentNullException.ThrowIfNull(Interceptors);
        ArgumentNullException.ThrowIfNull(Bitrate);
        Bitrate.Check();
        ArgumentNullException.ThrowIfNull(DtlsCipherSuites);
        ArgumentNullException.ThrowIfNull(DtlsGroups);
        ArgumentNullException.ThrowIfNull(SrtpProfiles);
        if (
            SrtpProfiles.Count == 0
            || !SrtpProfiles.All(Enum.IsDefined)
            || SrtpProfiles.Distinct().Count() < SrtpProfiles.Count
        )
        {
            throw new ArgumentException(
                "SrtpProfiles are at least one of WebRtcSrtpProfile's values, and none twice.",
                nameof(SrtpProfiles)
            );
        }

        if (JitterBufferTarget < TimeSpan.Zero || JitterBufferTarget > TimeSpan.FromSeconds(4))
        {
            throw new ArgumentOutOfRangeException(
                nameof(JitterBufferTarget),
                "JitterBufferTarget is null, or from 0 to 4 seconds."
            );
        }
        ArgumentOutOfRangeException.ThrowIfLessThan(SendBuffer, 1, nameof(SendBuffer));
        ArgumentOutOfRangeException.ThrowIfLessThan(SendHighWaterMark, 1, nameof(SendHighWaterMark));
        if (!Enum.IsDefined(Sockets))
            throw new ArgumentOutOfRangeException(nameof(Sockets), Sockets, null);

        if (SynchronizationContext is not null && Scheduler is not null)
            throw new ArgumentException("Give SynchronizationContext or Scheduler, not both.");
    }
}

/// <summary>Bounds of the estimated bandwidth, all media of a connection together, bits a second.</summary>
public sealed record WebRtcBitrate
{
    /// <summary>What the network is taken for before anything is known of it. Default 300,000.</summary>
    public int Start { get; init; } = 300_000;

    /// <summary>Never below this, at least 1,000. Default 10,000.</summary>
    public int Min { get; init; } = 10_000;

    /// <summary>Never above this. Default 2,000,000,000.</summary>
    public int Max { get; init; } = 2_000_000_000;

    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Min, 1_000, nameof(Min));
        ArgumentOutOfRangeException.ThrowIfLessThan(Start, Min, nameof(Start));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Start, Max, nameof(Start));
    }
}

/// <summary>A range of ports, both ends included.</summary>
public readonly record struct WebRtcPortRange
{
    /// <summary>From the first to the last.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="first"/> is 0 or greater than <paramref name="last"/>.</exception>
    public WebRtcPortRange(ushort first, ushort last)
    {
        ArgumentOutOfRangeException.ThrowIfZero(first);
        ArgumentOutOfRangeException.ThrowIfLessThan(last, first);
        First = first;
        Last = last;
    }

    /// <summary>The lowest port, from 1.</summary>
    public ushort First { get; }

    /// <summary>The highest port.</summary>
    public ushort Last { get; }
}

/// <summary>
/// One UDP port number, on every usable address, for many connections: a server behind a firewall opens one hole. Datagrams are
/// told apart by ICE's user name fragments, then by address. With <see cref="WebRtcOptions.TcpListen"/> the same number of TCP, too.
/// </summary>
public sealed class WebRtcSharedPort : IDisposable
{
    private WebRtcSharedPort(SharedPort inner) => Inner = inner;

    internal SharedPort Inner { get; }

    /// <summary>The number.</summary>
    public int Port => Inner.Port;

    /// <summary>Binds the number.</summary>
    /// <param name="port">The number; 0: any that is free.</param>
    /// <param name="options">Filters, loopback, sockets and logger; null: the defaults.</param>
    /// <param name="loops">
    /// Threads that carry the port and share its connections, each with a socket of its own (SO_REUSEPORT): for more traffic than one processor
    /// carries. At least 1, and at most one a processor is used; on Linux only, and not with <see cref="WebRtcOptions.TcpListen"/>: elsewhere it is 1.
    /// </param>
    /// <exception cref="System.Net.Sockets.SocketException">The number is taken, or there is no address to bind it to.</exception>
    /// <exception cref="ArgumentException">A value of the options is out of its range.</exception>
    public static WebRtcSharedPort Open(ushort port, WebRtcOptions? options = null, int loops = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(loops, 1);
        options ??= new();
        options.Check();
        return new(Stack.SharedPort.Open(port, options.ToStack(), loops));
    }

    /// <summary>Closes the port. Close the connections that use it before.</summary>
    public void Dispose() => Inner.Dispose();
}

/// <summary>A public address that a local one is reached by.</summary>
/// <param name="External">What peers send to. Ports are the same on both sides of the NAT.</param>
/// <param name="Local">The local address behind it; null: any of its family.</param>
public sealed record WebRtcExternalAddress(IPAddress External, IPAddress? Local = null)
{
    /// <summary>
    /// Whether host candidates have it in place of the local address (default), which peers on the same private network cannot use then;
    /// else a server-reflexive candidate has it beside each.
    /// </summary>
    public bool Replaces { get; init; } = true;
}

/// <summary>Kinds of ICE candidates, RFC 8445 §4, as a set.</summary>
[Flags]
public enum WebRtcCandidateTypes
{
    /// <summary>None of them.</summary>
    None = 0,

    /// <summary>Addresses of this host.</summary>
    Host = 1,

    /// <summary>What a STUN server sees of them behind a NAT.</summary>
    ServerReflexive = 2,

    /// <summary>What checks tell of.</summary>
    PeerReflexive = 4,

    /// <summary>Addresses on a TURN server.</summary>
    Relayed = 8,

    /// <summary>All of them.</summary>
    All = Host | ServerReflexive | PeerReflexive | Relayed,
}

/// <summary>When a connection itself asks for an ICE restart.</summary>
public enum WebRtcIceRestart
{
    /// <summary>Only the application does.</summary>
    Never,

    /// <summary>When ICE has failed.</summary>
    OnFailed,

    /// <summary>
    /// As soon as it is disconnected. It may come back by itself, and a restart does not hinder that: the former pair serves until the new
    /// generation has one.
    /// </summary>
    OnDisconnected,
}

/// <summary>How a data channel's sender reacts to a path that is full.</summary>
public enum WebRtcCongestionControl
{
    /// <summary>
    /// RFC 9438: long and fast paths fill as quickly as short ones. Loss that no full queue explains, up to 2 %, does not slow it down.
    /// </summary>
    Cubic,

    /// <summary>RFC 9260 §7.2: what TCP did in 1999; any loss halves the rate.</summary>
    NewReno,

    /// <summary>
    /// RFC 6817: takes what others leave of a path, for transfers in the background. Beside audio and video of the same connection
    /// data is sent like that whatever is chosen.
    /// </summary>
    Ledbat,
}

/// <summary>How datagrams are sent and received.</summary>
public enum WebRtcSockets
{
    /// <summary>
    /// In batches where the operating system can: on Linux by <c>epoll</c>, <c>recvmmsg</c> and <c>sendmmsg</c>, with the kernel joining and cutting
    /// runs of datagrams (GRO, GSO) where it does that. Each of these is tried once, when first needed; elsewhere it is <see cref="Portable"/>.
    /// </summary>
    Automatic,

    /// <summary>By .NET's sockets alone, one datagram a call, as on Windows and macOS. It costs several times the processor time under load.</summary>
    Portable,
}
