using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>Whom streams are for: a peer. Called on the loop's thread.</summary>
internal interface IStreamOwner : IPortOwner
{
    /// <summary>A stream is connected, from this address.</summary>
    void Opened(StreamPort port, in Endpoint local);

    /// <summary>A stream was not to be had or has ended, or a connection that a listener accepted has.</summary>
    void Ended(IPort port, in Path path, string reason);
}

/// <summary>
/// A stream that the core asked for, by the number that the core gave it: TCP, or TLS over it, perhaps through a proxy. It connects away from
/// the loop; what is sent before it is open is lost.
/// </summary>
internal sealed class StreamPort : IPort, IStreamSink
{
    /// <summary>How long a connection has to be made, proxy and TLS included.</summary>
    private static readonly TimeSpan ConnectPatience = TimeSpan.FromSeconds(30);

    private readonly StreamKind _kind;
    private readonly Endpoint _remote;
    private readonly string _serverName;
    private readonly Loop _loop;
    private readonly IStreamOwner _owner;
    private readonly StackOptions _options;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _life = new(ConnectPatience);
    private StreamConnection? _connection;
    private bool _closed;

    private StreamPort(
        int id,
        StreamKind kind,
        in Endpoint remote,
        string serverName,
        Loop loop,
        IStreamOwner owner,
        StackOptions options
    )
    {
        Id = id;
        _kind = kind;
        _remote = remote;
        _serverName = serverName;
        _loop = loop;
        _owner = owner;
        _options = options;
        _logger = options.LoggerFactory.CreateLogger<StreamPort>();
    }

    /// <inheritdoc/>
    public int Id { get; }

    /// <summary>Where it is connected from, once it is.</summary>
    public Endpoint Local { get; private set; }

    /// <summary>Begins to connect, from the address of a port of ours; on the loop's thread.</summary>
    /// <param name="id">The core's number.</param>
    /// <param name="kind">How datagrams are framed.</param>
    /// <param name="from">The port whose address it connects from; null: it is gone, and the stream ends at once.</param>
    /// <param name="remote">Where to.</param>
    /// <param name="serverName">Whom the certificate must name.</param>
    /// <param name="loop">The peer's loop.</param>
    /// <param name="owner">The peer.</param>
    /// <param name="options">Proxy, certificates, leases.</param>
    public static StreamPort Open(
        int id,
        StreamKind kind,
        IPort? from,
        in Endpoint remote,
        string serverName,
        Loop loop,
        IStreamOwner owner,
        StackOptions options
    )
    {
        var port = new StreamPort(id, kind, remote, serverName, loop, owner, options);

        if (from is null)
            loop.Post(() => port.Ended("The socket that it was to connect from is gone."));
        else
        {
            var address = from.Local.Address;
            _ = Task.Run(() => port.Connect(address));
        }

        return port;
    }

    /// <inheritdoc/>
    public void Begin() { }

    /// <inheritdoc/>
    public Span<byte> Reserve(in Endpoint remote, int size) =>
        _connection is { } connection && remote.Equals(_remote)
            ? connection.Reserve(size)
            : _loop.Scratch.AsSpan(0, size);

    /// <inheritdoc/>
    public void Commit(int written)
    {
        if (_connection is { } connection)
            connection.Commit(written);
        else
            Telemetry.PortDropped("stream not open");
    }

    /// <inheritdoc/>
    public void AllowFragments(bool allowed) { }

    /// <inheritdoc/>
    public void Flush() { }

    /// <inheritdoc/>
    public void Frame(Memory<byte> datagram, long now) => _owner.Received(this, _remote, datagram, now);

    /// <inheritdoc/>
    public void Ended(string reason)
    {
        if (_closed)
            return;

        Dispose();
        Log.StreamEnded(_logger, EndpointModule.ToText(_remote), reason);
        _owner.Ended(this, new Path(Id, _remote), reason);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_closed)
            return;

        _closed = true;
        _connection?.Dispose();
        _life.Cancel();
    }

    private async Task Connect(Address from)
    {
        Stream? stream = null;

        try
        {
            (stream, var local) = await Reach(from).ConfigureAwait(false);

            if (_kind is StreamKind.TurnTls or StreamKind.TurnDataTls)
                stream = await Secure(stream).ConfigureAwait(false);

            var open = stream;
            stream = null;
            _loop.Post(() => Take(open, local));
        }
        catch (Exception e)
        {
            var reason = e is OperationCanceledException ? "It took too long." : e.Message;
            _loop.Post(() => Ended(reason));
        }
        finally
        {
            stream?.Dispose();
        }
    }

    /// <summary>A connection to the remote, through the proxy where one is to be used.</summary>
    private async Task<(Stream Stream, Endpoint Local)> Reach(Address from)
    {
        var proxy = _kind == StreamKind.IceTcp ? null : _options.Proxy;
        var target = _remote.ToNet();
        // Which way a proxy is reached is the system's to know.
        var socket = proxy is null
            ? StreamSockets.From(from.ToNet(), target.AddressFamily)
            : new Socket(SocketType.Stream, ProtocolType.Tcp);

        try
        {
            if (proxy is null)
                await socket.ConnectAsync(target, _life.Token).ConfigureAwait(false);
            else
                await socket.ConnectAsync(proxy.Host, proxy.Port, _life.Token).ConfigureAwait(false);

            StreamSockets.Configure(socket);
            var local = ((IPEndPoint)socket.LocalEndPoint!).ToCore();
            var stream = new NetworkStream(socket, ownsSocket: true);

            if (proxy is not null)
                await StreamProxy.Ask(stream, proxy, target, _life.Token).ConfigureAwait(false);

            return (stream, local);
        }
        catch (Exception)
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>TLS over it, RFC 8656 §3.1: the certificate names the server, or the option's callback says that it will do.</summary>
    private async Task<Stream> Secure(Stream inner)
    {
        var secure = new SslStream(inner, leaveInnerStreamOpen: false);

        try
        {
            var authentication = new SslClientAuthenticationOptions
            {
                TargetHost = _serverName,
                RemoteCertificateValidationCallback = _options.ServerCertificateValidation,
            };
            await secure.AuthenticateAsClientAsync(authentication, _life.Token).ConfigureAwait(false);
            return secure;
        }
        catch (Exception)
        {
            await secure.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>It is connected; on the loop's thread.</summary>
    private void Take(Stream stream, Endpoint local)
    {
        if (_closed)
        {
            stream.Dispose();
            return;
        }

        // Nothing is left to be patient for.
        _life.CancelAfter(Timeout.InfiniteTimeSpan);
        Local = local;
        _connection = new StreamConnection(stream, _kind, _loop, _options.Leases, this);
        Log.StreamOpened(_logger, EndpointModule.ToText(local), EndpointModule.ToText(_remote));
        _owner.Opened(this, local);

        if (!_closed)
            _connection.Begin();
    }
}
