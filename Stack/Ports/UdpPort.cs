using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>
/// The portable UDP port: a <see cref="Socket"/>, received from on the thread pool into leases that wait, up to a bound,
/// for the loop; sent from on the loop's thread, one datagram a call. Neither way allocates.
/// </summary>
internal sealed class UdpPort : IPort, IDrain
{
    /// <summary>Remote endpoints whose socket addresses are remembered; past it they are forgotten and made anew.</summary>
    private const int KnownRemotes = 256;

    /// <summary>Errors in a row, without one datagram between them, after which a port counts as broken.</summary>
    private const int TolerableErrors = 64;

    /// <summary>SIO_UDP_CONNRESET: whether Windows reports a peer's ICMP "port unreachable" as an error of the socket.</summary>
    private const int UdpConnectionReset = unchecked((int)0x9800000C);

    /// <summary>How long a send waits for room in the socket's buffer before its datagram is dropped.</summary>
    private const int SendTimeoutMilliseconds = 20;

    private readonly Socket _socket;
    private readonly Loop _loop;
    private readonly IPortOwner _owner;
    private readonly LeasePool _leases;
    private readonly ILogger _logger;
    private readonly int _queueLimit;
    private readonly long _zone;
    private readonly string _name;
    private readonly Dictionary<Endpoint, SocketAddress> _remotes = [];

    private readonly Lock _gate = new();

    // Guarded by _gate.
    private LeaseQueue _arrived;
    private bool _announced;
    private bool _closed;
    private string? _broken;

    // The loop's thread only.
    private SocketAddress? _sendTo;
    private Endpoint _sendToEndpoint;

    private UdpPort(int id, Socket socket, long zone, Loop loop, IPortOwner owner, StackOptions options)
    {
        Id = id;
        Local = ((IPEndPoint)socket.LocalEndPoint!).ToCore();
        _socket = socket;
        _zone = zone;
        _loop = loop;
        _owner = owner;
        _leases = options.Leases;
        _queueLimit = options.ReceiveQueue;
        _logger = options.LoggerFactory.CreateLogger<UdpPort>();
        _name = EndpointModule.ToText(Local);
    }

    /// <inheritdoc/>
    public int Id { get; }

    /// <inheritdoc/>
    public Endpoint Local { get; }

    /// <summary>Datagrams given up because the loop did not keep up, or memory ran out.</summary>
    public long Dropped { get; private set; }

    /// <summary>Binds a socket; any thread. A range is tried from a random place on, once around. Null: <c>error</c> says why.</summary>
    public static UdpPort? TryBind(
        int id,
        IPAddress address,
        PortRange range,
        Loop loop,
        IPortOwner owner,
        StackOptions options,
        out string error
    )
    {
        error = "";
        var tries = Math.Max(1, range.Count);
        var first = range.IsAny ? 0 : Random.Shared.Next(tries);

        for (var i = 0; i < tries; i++)
        {
            var port = range.IsAny ? 0 : range.First + (first + i) % tries;
            var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);

            try
            {
                Configure(socket, options);
                socket.Bind(new IPEndPoint(address, port));
                var zone = address.AddressFamily == AddressFamily.InterNetworkV6 ? address.ScopeId : 0;
                return new UdpPort(id, socket, zone, loop, owner, options);
            }
            catch (SocketException e)
            {
                socket.Dispose();
                error = e.Message;

                // Only a port that is taken makes the next one worth trying.
                if (e.SocketErrorCode is not (SocketError.AddressAlreadyInUse or SocketError.AccessDenied))
                    return null;
            }
        }

        if (!range.IsAny)
            error = $"all {tries} ports from {range.First} to {range.Last} are taken";

        return null;
    }

    /// <summary>Starts to receive.</summary>
    public void Begin() => _ = Task.Run(Receive);

    /// <inheritdoc/>
    public Span<byte> Reserve(in Endpoint remote, int size)
    {
        if (_sendTo is null || !remote.Equals(_sendToEndpoint))
        {
            _sendTo = AddressOf(remote);
            _sendToEndpoint = remote;
        }

        return _loop.Scratch.AsSpan(0, size);
    }

    /// <inheritdoc/>
    public void Commit(int written)
    {
        // The family of a remote that the peer made up need not be ours.
        if (_sendTo!.Family != _socket.AddressFamily)
        {
            Telemetry.PortDropped("family");
            return;
        }

        try
        {
            _socket.SendTo(_loop.Scratch.AsSpan(0, written), SocketFlags.None, _sendTo);
            Telemetry.Sent(written);
        }
        catch (SocketException e)
        {
            // Unreachable, no buffers, too large: to the protocols above, a loss like any other.
            Telemetry.PortDropped("send");
            Log.SendFailed(_logger, _name, e.Message);
        }
        catch (ObjectDisposedException)
        {
            Telemetry.PortDropped("closed");
        }
    }

    /// <inheritdoc/>
    public void AllowFragments(bool allowed) => Fragmentation.Set(_socket, allowed);

    /// <inheritdoc/>
    public void Flush() { }

    /// <inheritdoc/>
    public void Drain(long now)
    {
        string? broken;

        // What arrives while these are handed over waits for the next turn, so that a flood starves nobody.
        LeaseQueue arrived;

        lock (_gate)
        {
            arrived = _arrived;
            _arrived = default;
            _announced = false;
            broken = _broken;
            _broken = null;
        }

        while (arrived.Take() is { } lease)
        {
            try
            {
                if (!_closed)
                    _owner.Received(this, lease.Remote, lease.Memory[..lease.Length], now);
            }
            finally
            {
                _leases.Return(lease);
            }
        }

        if (broken is not null && !_closed)
            _owner.Broken(this, broken);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_closed)
                return;

            _closed = true;

            while (_arrived.Take() is { } lease)
                _leases.Return(lease);
        }

        _socket.Dispose();
        Log.PortClosed(_logger, _name);
    }

    private static void Configure(Socket socket, StackOptions options)
    {
        if (socket.AddressFamily == AddressFamily.InterNetworkV6)
            socket.DualMode = false;

        if (OperatingSystem.IsWindows())
            socket.IOControl(UdpConnectionReset, [0, 0, 0, 0], null);

        Fragmentation.Set(socket, allowed: false);
        socket.SendTimeout = SendTimeoutMilliseconds;
        socket.ReceiveBufferSize = options.SocketBuffer;
        socket.SendBufferSize = options.SocketBuffer;
    }

    private SocketAddress AddressOf(in Endpoint remote)
    {
        if (!_remotes.TryGetValue(remote, out var address))
        {
            if (_remotes.Count >= KnownRemotes)
                _remotes.Clear();

            _remotes[remote] = address = remote.ToNet(_zone).Serialize();
        }

        return address;
    }

    private async Task Receive()
    {
        var from = new SocketAddress(_socket.AddressFamily);
        var lease = _leases.Rent();
        var errors = 0;

        try
        {
            while (true)
            {
                try
                {
                    lease.Length = await _socket.ReceiveFromAsync(lease.Memory, SocketFlags.None, from);
                    lease.Remote = from.ToCore();
                    errors = 0;
                }
                catch (SocketException e) when (e.SocketErrorCode != SocketError.OperationAborted && !_closed)
                {
                    // ICMP errors, and datagrams larger than the slot on Windows, say nothing about the next one.
                    if (++errors > TolerableErrors)
                    {
                        Break(e.Message);
                        return;
                    }

                    continue;
                }

                Telemetry.Received(lease.Length);

                if (Announce(lease))
                    lease = _leases.Rent();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed: the expected end.
        }
        finally
        {
            _leases.Return(lease);
        }
    }

    /// <summary>Queues a datagram for the loop. False: there is no room, the lease is free to receive into again.</summary>
    private bool Announce(Lease lease)
    {
        lock (_gate)
        {
            if (_closed)
                return false;

            if (_arrived.Count >= _queueLimit || _leases.IsExhausted)
            {
                Dropped++;
                Telemetry.PortDropped("queue");
                return false;
            }

            _arrived.Add(lease);

            if (_announced)
                return true;

            _announced = true;
        }

        _loop.Post(this);
        return true;
    }

    private void Break(string reason)
    {
        Log.ReceiveEnded(_logger, _name, reason);

        lock (_gate)
            _broken = reason;

        _loop.Post(this);
    }
}
