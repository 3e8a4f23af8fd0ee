using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>
/// The portable UDP port: a <see cref="Socket"/>, and nothing that is not everywhere. An asynchronous look at the first
/// datagram of a batch wakes the loop; the loop itself then takes all that there is, straight from the socket, so a batch
/// costs one wake-up and no queue, and a port that hears nothing holds no buffer. Sending is one datagram a call. Neither way allocates.
/// </summary>
internal sealed class UdpPort : IPort, IDrain
{
    /// <summary>Remote endpoints whose socket addresses are remembered; past it they are forgotten and made anew.</summary>
    private const int KnownRemotes = 256;

    /// <summary>Datagrams taken in a turn, after which others and their ticks have theirs.</summary>
    private const int PerTurn = 256;

    /// <summary>How long a send waits for room in the socket's buffer before its datagram is dropped, microseconds.</summary>
    private const int SendPatience = 1_000;

    /// <summary>How long, after there was none, the next ones are dropped without waiting: the loop has others to see to.</summary>
    private const int NoPatience = 10_000;

    /// <summary>
    /// What looks are received into, by all ports at once: nobody reads it. On Windows a datagram that is larger than what it is looked at
    /// through is an exception, so nearly every one fits there; elsewhere an octet does.
    /// </summary>
    private static readonly byte[] _glimpse = GC.AllocateArray<byte>(
        OperatingSystem.IsWindows() ? 2_048 : 1,
        pinned: true
    );

    private readonly Socket _socket;
    private readonly Loop _loop;
    private readonly IPortOwner _owner;
    private readonly LeasePool _leases;
    private readonly ILogger _logger;
    private readonly PortHealth _health;
    private readonly long _zone;
    private readonly string _name;
    private readonly Dictionary<Endpoint, SocketAddress> _remotes = [];
    private readonly SocketAddress _from;
    private readonly Action _arrived;
    private volatile bool _begun;
    private volatile bool _closed;

    // Whoever has the receiving in hand: the asynchronous look, or, once it has told the loop, the loop's thread.
    private ConfiguredValueTaskAwaitable<int>.ConfiguredValueTaskAwaiter _first;
    private bool _awaited;
    private string? _broken;

    // The loop's thread only.
    private long _impatientUntil;
    private SocketAddress? _sendTo;
    private Endpoint _sendToEndpoint;

    private UdpPort(int id, Socket socket, IPAddress address, Loop loop, IPortOwner owner, StackOptions options)
    {
        Id = id;
        Local = ((IPEndPoint)socket.LocalEndPoint!).ToCore();
        _socket = socket;
        _zone = address.AddressFamily == AddressFamily.InterNetworkV6 ? address.ScopeId : 0;
        _loop = loop;
        _owner = owner;
        _leases = options.Leases;
        _health = new PortHealth(address);
        _logger = options.LoggerFactory.CreateLogger<UdpPort>();
        _name = EndpointModule.ToText(Local);
        _from = new SocketAddress(socket.AddressFamily);
        _arrived = Arrived;
    }

    /// <inheritdoc/>
    public int Id { get; }

    /// <inheritdoc/>
    public Endpoint Local { get; }

    /// <summary>Binds a port; any thread. Null: <c>error</c> says why.</summary>
    public static UdpPort? TryBind(
        int id,
        IPAddress address,
        PortRange range,
        Loop loop,
        IPortOwner owner,
        StackOptions options,
        out string error
    ) =>
        UdpSockets.TryBind(address, range, options, out error) is { } socket
            ? new UdpPort(id, socket, address, loop, owner, options)
            : null;

    /// <inheritdoc/>
    public void Begin()
    {
        if (_closed)
            return;

        _begun = true;
        _loop.CountPort(1);
        Await();
    }

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
            try
            {
                Send(written);
            }
            catch (SocketException e) when (HasNoRoom(e) && _loop.Now >= _impatientUntil)
            {
                _impatientUntil = _loop.Now + NoPatience;
                _socket.Poll(SendPatience, SelectMode.SelectWrite);
                Send(written);
                _impatientUntil = 0;
            }
        }
        catch (SocketException e)
        {
            // Unreachable, no buffers, too large: to the protocols above, a loss like any other.
            Telemetry.PortDropped("send");
            Log.SendFailed(_logger, _name, e.Message);

            if (SpeaksOfTheInterface(e.SocketErrorCode) && _health.SendFailed(_loop.Now))
                Break(e.Message);
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
        if (_broken is { } reason)
        {
            if (!_closed)
                _owner.Broken(this, reason);

            return;
        }

        try
        {
            Take(now);
        }
        catch (SocketException e) when (!_closed)
        {
            // ICMP errors say nothing about the next datagram, and one that was there may have failed its checksum. That the
            // system gave up receiving says all.
            if (
                e.SocketErrorCode == SocketError.OperationAborted
                || e.SocketErrorCode != SocketError.WouldBlock && _health.ReceiveFailed(now)
            )
            {
                Break(e.Message);
                return;
            }
        }
        catch (Exception e) when (_closed && e is SocketException or ObjectDisposedException)
        {
            // Closed: the expected end.
            return;
        }
        catch (Exception bug)
        {
            // The owner's, or no memory. The port goes on, or it would be deaf for good.
            Log.LoopCrashed(_loop.Logger, bug);
        }

        if (!_closed)
            Continue();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, true))
            return;

        if (_begun)
            _loop.CountPort(-1);

        // A look that is under way ends with it.
        _socket.Dispose();
        Log.PortClosed(_logger, _name);
    }

    /// <summary>Has the next datagram tell the loop.</summary>
    private void Await()
    {
        try
        {
            _awaited = true;
            _first = _socket.ReceiveFromAsync(_glimpse, SocketFlags.Peek, _from).ConfigureAwait(false).GetAwaiter();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return;
        }

        if (_first.IsCompleted)
            Arrived();
        else
            _first.UnsafeOnCompleted(_arrived);
    }

    private void Arrived()
    {
        if (!_closed)
        {
            _loop.Post(this);
            return;
        }

        // The loop may be gone with its last member, so the port ends here.
        try
        {
            _first.GetResult();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed: the expected end.
        }
    }

    /// <summary>Hands over the datagrams that have come.</summary>
    private void Take(long now)
    {
        var taken = 0;
        var octets = 0;
        var lease = _leases.Rent();

        try
        {
            var isFirst = _awaited;

            if (isFirst)
            {
                _awaited = false;
                Looked();
            }

            // A datagram that waits is counted with its octets; an empty one is not, but the first is known to be there.
            for (; taken < PerTurn && !_closed && (isFirst || _socket.Available > 0); isFirst = false)
            {
                var length = _socket.ReceiveFrom(lease.Memory.Span, SocketFlags.None, _from);
                taken++;
                octets += length;
                _health.Received();
                _owner.Received(this, _from.ToCore(), lease.Memory[..length], now);
            }
        }
        finally
        {
            _leases.Return(lease);

            if (taken > 0)
                Telemetry.Received(taken, octets);
        }
    }

    /// <summary>The look is over. What is larger than <see cref="_glimpse"/> may be an error, and is there all the same.</summary>
    private void Looked()
    {
        try
        {
            _first.GetResult();
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.MessageSize) { }
    }

    /// <summary>What has come by now waits for the next turn, so that a flood starves nobody; else the next one is awaited.</summary>
    private void Continue()
    {
        bool more;

        try
        {
            more = _socket.Available > 0;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            more = false;
        }

        if (more)
            _loop.Post(this);
        else
            Await();
    }

    private void Send(int written)
    {
        _socket.SendTo(_loop.Scratch.AsSpan(0, written), SocketFlags.None, _sendTo!);
        Telemetry.Sent(1, written);
    }

    /// <summary>Tells the owner, in the next turn: a step that sends must not be stepped into.</summary>
    private void Break(string reason)
    {
        if (_broken is not null)
            return;

        _broken = reason;
        Log.ReceiveEnded(_logger, _name, reason);
        _loop.Post(this);
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

    private static bool HasNoRoom(SocketException e) =>
        e.SocketErrorCode is SocketError.WouldBlock or SocketError.NoBufferSpaceAvailable;

    private static bool SpeaksOfTheInterface(SocketError error) =>
        error
            is SocketError.InvalidArgument
                or SocketError.NetworkDown
                or SocketError.NetworkUnreachable
                or SocketError.AddressNotAvailable;
}
