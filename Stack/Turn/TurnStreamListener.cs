using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>A TCP port that clients connect to, with or without TLS. Connections are accepted, and TLS agreed on, away from the loop.</summary>
internal sealed class TurnStreamListener : IDisposable
{
    /// <summary>How long a client may take to agree on TLS.</summary>
    private static readonly TimeSpan HandshakePatience = TimeSpan.FromSeconds(10);

    /// <summary>How long accepting pauses where the system has no descriptor or memory left.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>Connections that wait to be accepted.</summary>
    private const int Backlog = 512;

    private readonly TurnServerHost _host;
    private readonly Socket _socket;
    private readonly SslServerAuthenticationOptions? _tls;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _life = new();

    private TurnStreamListener(
        int id,
        TurnTransport transport,
        Socket socket,
        TurnServerHost host,
        SslServerAuthenticationOptions? tls,
        ILogger logger
    )
    {
        Id = id;
        Transport = transport;
        Local = (IPEndPoint)socket.LocalEndPoint!;
        _socket = socket;
        _host = host;
        _tls = tls;
        _logger = logger;
    }

    /// <summary>Its number in <c>Path.Local</c>.</summary>
    public int Id { get; }

    /// <summary>TCP or TLS.</summary>
    public TurnTransport Transport { get; }

    /// <summary>Where it listens.</summary>
    public IPEndPoint Local { get; }

    /// <summary>Binds and listens; accepts nothing yet.</summary>
    /// <exception cref="SocketException">The port is taken, or the address is not this machine's.</exception>
    public static TurnStreamListener Open(
        int id,
        TurnListener listener,
        TurnServerHost host,
        SslServerAuthenticationOptions? tls,
        ILogger logger
    )
    {
        var socket = new Socket(listener.Endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);

        try
        {
            if (listener.Endpoint.AddressFamily == AddressFamily.InterNetworkV6)
                socket.DualMode = false;

            socket.Bind(listener.Endpoint);
            socket.Listen(Backlog);
            return new TurnStreamListener(id, listener.Transport, socket, host, tls, logger);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Starts to accept.</summary>
    public void Begin() => _ = AcceptAsync();

    /// <inheritdoc/>
    public void Dispose()
    {
        _life.Cancel();
        _socket.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_life.IsCancellationRequested)
        {
            try
            {
                var accepted = await _socket.AcceptAsync(_life.Token).ConfigureAwait(false);
                _ = GreetAsync(accepted);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                Log.TurnAcceptFailed(_logger, Local.ToString(), e.Message);
                await Task.Delay(Pause).ConfigureAwait(false);
            }
        }
    }

    private async Task GreetAsync(Socket socket)
    {
        // Counted from here on: a handshake is work, too.
        if (!_host.Admit())
        {
            socket.Dispose();
            return;
        }

        Stream? stream = null;

        try
        {
            // Each message is written as soon as there is one.
            socket.NoDelay = true;
            var remote = ((IPEndPoint)socket.RemoteEndPoint!).ToCore();
            stream = new NetworkStream(socket, ownsSocket: true);

            if (_tls is not null)
                stream = await EncryptAsync(stream, _tls).ConfigureAwait(false);

            _host.Connected(Id, remote, stream);
        }
        catch (Exception e)
            when (e
                    is IOException
                        or AuthenticationException
                        or OperationCanceledException
                        or ObjectDisposedException
                        or SocketException
                        or InvalidOperationException
            )
        {
            Log.TurnGreetingFailed(_logger, Local.ToString(), e.Message);

            if (stream is null)
                socket.Dispose();
            else
                await stream.DisposeAsync().ConfigureAwait(false);

            _host.Dismiss();
        }
    }

    private async Task<Stream> EncryptAsync(Stream plain, SslServerAuthenticationOptions tls)
    {
        var encrypted = new SslStream(plain);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(_life.Token);
        patience.CancelAfter(HandshakePatience);

        try
        {
            await encrypted.AuthenticateAsServerAsync(tls, patience.Token).ConfigureAwait(false);
            return encrypted;
        }
        catch
        {
            await encrypted.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}
