using System.Net;
using System.Net.Sockets;
using System.Text;
using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>Who takes accepted connections; called on the loop's thread.</summary>
internal interface IStreamDirectory
{
    /// <summary>The peer that a STUN request with this user name fragment is for; null: nobody.</summary>
    IStreamOwner? Find(string fragment);
}

/// <summary>
/// A TCP listener, RFC 6544 §5.1, for one peer or, on a shared port, many. A connection belongs to the peer that its first frame names, which is a STUN
/// request (RFC 8445 §7.2.2); one that says nothing of the kind in time is closed.
/// </summary>
/// <remarks>
/// Bounds: connections that have not named a peer, the oldest of which makes room; connections a peer, of which the one that has been silent for longest
/// does, so that who knows no more than a fragment cannot keep the peer's own out; octets of each, by <see cref="StreamConnection"/>.
/// </remarks>
internal sealed class ListenerPort : IPort
{
    /// <summary>Connections that have not said whom they are for.</summary>
    public const int MaxUnnamed = 64;

    /// <summary>Connections of one peer.</summary>
    public const int MaxPerPeer = 32;

    /// <summary>How long a connection has for its first frame, microseconds.</summary>
    private const long FirstFramePatience = 10_000_000;

    /// <summary>How long nothing is accepted after the machine had no room for one more.</summary>
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(100);

    private readonly Socket _socket;
    private readonly Loop _loop;
    private readonly IStreamDirectory _directory;
    private readonly StackOptions _options;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _life = new();

    // The loop's thread only.
    private readonly Dictionary<Endpoint, Accepted> _named = [];
    private readonly List<Accepted> _unnamed = [];
    private bool _isSweeping;
    private Accepted? _reserved;

    private int _closed;

    private ListenerPort(int id, Socket socket, Loop loop, IStreamDirectory directory, StackOptions options)
    {
        Id = id;
        Local = ((IPEndPoint)socket.LocalEndPoint!).ToCore();
        _socket = socket;
        _loop = loop;
        _directory = directory;
        _options = options;
        _logger = options.LoggerFactory.CreateLogger<ListenerPort>();
    }

    /// <inheritdoc/>
    public int Id { get; }

    /// <inheritdoc/>
    public Endpoint Local { get; }

    /// <summary>Connections that belong to a peer; the loop's thread.</summary>
    public int Named => _named.Count;

    /// <summary>Connections that do not yet; the loop's thread.</summary>
    public int Unnamed => _unnamed.Count;

    /// <summary>Listens; any thread. Null: <c>error</c> says why.</summary>
    public static ListenerPort? TryBind(
        int id,
        IPAddress address,
        PortRange range,
        Loop loop,
        IStreamDirectory directory,
        StackOptions options,
        out string error
    ) =>
        StreamSockets.TryListen(address, range, out error) is { } socket
            ? new ListenerPort(id, socket, loop, directory, options)
            : null;

    /// <inheritdoc/>
    public void Begin() => _ = Accept();

    /// <inheritdoc/>
    public Span<byte> Reserve(in Endpoint remote, int size)
    {
        _reserved = _named.GetValueOrDefault(remote);
        return _reserved is { } accepted ? accepted.Connection.Reserve(size) : _loop.Scratch.AsSpan(0, size);
    }

    /// <inheritdoc/>
    public void Commit(int written)
    {
        if (_reserved is { } accepted)
            accepted.Connection.Commit(written);
        else
            Telemetry.PortDropped("no stream");
    }

    /// <inheritdoc/>
    public void AllowFragments(bool allowed) { }

    /// <inheritdoc/>
    public void Flush() { }

    /// <summary>Closes a peer's connections, because it is gone; on the loop's thread.</summary>
    public void Drop(IStreamOwner owner)
    {
        foreach (var (remote, accepted) in _named)
        {
            if (accepted.Owner != owner)
                continue;

            // A dictionary may be removed from while it is gone through.
            _named.Remove(remote);
            accepted.Connection.Dispose();
        }
    }

    /// <summary>Closes the listener and its connections; any thread.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
            return;

        _life.Cancel();
        _socket.Dispose();
        Log.PortClosed(_logger, EndpointModule.ToText(Local));

        if (_loop.IsCurrent)
            CloseAll();
        else
            _loop.Post(CloseAll);
    }

    private void CloseAll()
    {
        foreach (var accepted in _named.Values)
            accepted.Connection.Dispose();

        foreach (var accepted in _unnamed)
            accepted.Connection.Dispose();

        _named.Clear();
        _unnamed.Clear();
    }

    private async Task Accept()
    {
        while (Volatile.Read(ref _closed) == 0)
        {
            try
            {
                var socket = await _socket.AcceptAsync(_life.Token).ConfigureAwait(false);
                _loop.Post(() => Admit(socket));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                // One that was gone before it was accepted, or no descriptors left.
                Log.AcceptFailed(_logger, EndpointModule.ToText(Local), e.Message);

                try
                {
                    await Task.Delay(AcceptPause, _life.Token).ConfigureAwait(false);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
            }
        }
    }

    private void Admit(Socket socket)
    {
        Accepted accepted;

        try
        {
            StreamSockets.Configure(socket);
            var remote = ((IPEndPoint)socket.RemoteEndPoint!).ToCore();
            accepted = new Accepted(this, remote, new NetworkStream(socket, ownsSocket: true));
        }
        catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
        {
            // Gone already.
            socket.Dispose();
            return;
        }

        if (Volatile.Read(ref _closed) != 0)
        {
            accepted.Connection.Dispose();
            return;
        }

        if (_unnamed.Count >= MaxUnnamed)
        {
            Telemetry.PortDropped("stream unnamed");
            _unnamed[0].Connection.Dispose();
            _unnamed.RemoveAt(0);
        }

        _unnamed.Add(accepted);
        accepted.Connection.Begin();

        if (!_isSweeping)
        {
            _isSweeping = true;
            _ = Sweep();
        }
    }

    /// <summary>One timer for all that have not named a peer, while there are any.</summary>
    private async Task Sweep()
    {
        try
        {
            await Task.Delay(TimeSpan.FromMicroseconds(FirstFramePatience / 4), _life.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return;
        }

        _loop.Post(() =>
        {
            var late = _loop.Now - FirstFramePatience;

            while (_unnamed.Count > 0 && _unnamed[0].HeardAt <= late)
            {
                Telemetry.PortDropped("stream silent");
                _unnamed[0].Connection.Dispose();
                _unnamed.RemoveAt(0);
            }

            _isSweeping = _unnamed.Count > 0;

            if (_isSweeping)
                _ = Sweep();
        });
    }

    /// <summary>The first frame says whose it is. False: nobody's, and it is closed.</summary>
    private bool Name(Accepted accepted, ReadOnlySpan<byte> first)
    {
        var fragment = Peer.RequestedFragment(first);
        var owner = fragment.IsEmpty ? null : _directory.Find(Encoding.UTF8.GetString(fragment));

        _unnamed.Remove(accepted);

        if (owner is null)
        {
            Telemetry.PortDropped("unknown fragment");
            accepted.Connection.Dispose();
            return false;
        }

        MakeRoom(owner);
        accepted.Owner = owner;
        _named[accepted.Remote] = accepted;
        return true;
    }

    /// <summary>Where a peer has as many connections as it may have, the one that has been silent for longest is closed.</summary>
    private void MakeRoom(IStreamOwner owner)
    {
        var count = 0;
        Accepted? silent = null;

        foreach (var other in _named.Values)
        {
            if (other.Owner != owner)
                continue;

            count++;

            if (silent is null || other.HeardAt < silent.HeardAt)
                silent = other;
        }

        if (count < MaxPerPeer || silent is null)
            return;

        Telemetry.PortDropped("stream of too many");
        silent.Connection.Dispose();
        silent.Ended("Too many connections.");
    }

    /// <summary>A connection that was accepted.</summary>
    private sealed class Accepted : IStreamSink
    {
        private readonly ListenerPort _port;

        public Accepted(ListenerPort port, in Endpoint remote, Stream stream)
        {
            _port = port;
            Remote = remote;
            HeardAt = port._loop.Now;
            Connection = new StreamConnection(stream, StreamKind.IceTcp, port._loop, port._options.Leases, this);
        }

        public Endpoint Remote { get; }

        public StreamConnection Connection { get; }

        /// <summary>Whose it is; null before its first frame.</summary>
        public IStreamOwner? Owner { get; set; }

        /// <summary>When its last frame came, or it did.</summary>
        public long HeardAt { get; private set; }

        public void Frame(Memory<byte> datagram, long now)
        {
            if (Owner is null && !_port.Name(this, datagram.Span))
                return;

            HeardAt = now;
            Owner!.Received(_port, Remote, datagram, now);
        }

        public void Ended(string reason)
        {
            _port._unnamed.Remove(this);

            if (Owner is null || !_port._named.TryGetValue(Remote, out var known) || known != this)
                return;

            _port._named.Remove(Remote);
            Owner.Ended(_port, new Path(_port.Id, Remote), reason);
        }
    }
}
