using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Hybrid.WebRtc.Core;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>
/// The batched UDP port of Linux. Its loop waits for it in the kernel (<see cref="LinuxPoller"/>), many datagrams arrive by one call and are
/// handed over in place (<see cref="LinuxInbox"/>), and runs of equal datagrams leave as one send (<see cref="LinuxOutbox"/>).
/// </summary>
internal sealed unsafe class LinuxUdpPort : IPort, IDrain
{
    /// <summary>How long last words wait for room in the socket's buffer, microseconds.</summary>
    private const int LastPatience = 1_000;

    /// <summary>Runs refused in a row, after which the kernel is not asked to cut them any more.</summary>
    private const int TolerableRefusals = 3;

    private readonly Socket _socket;
    private readonly SafeSocketHandle _handle;
    private readonly Loop _loop;
    private readonly LinuxPoller _poller;
    private readonly IPortOwner _owner;
    private readonly ILogger _logger;
    private readonly PortHealth _health;
    private readonly string _name;
    private readonly bool _isV4;

    /// <summary>The poller's name for the port while it is watched; 0 before and after.</summary>
    private ulong _key;
    private volatile bool _closed;

    // The loop's thread only.
    private Endpoint _remote;
    private bool _fits;
    private bool _awaitsRoom;
    private int _refusals;
    private volatile string? _broken;

    private LinuxUdpPort(
        int id,
        Socket socket,
        IPAddress address,
        Loop loop,
        LinuxPoller poller,
        IPortOwner owner,
        StackOptions options
    )
    {
        Id = id;
        Local = ((IPEndPoint)socket.LocalEndPoint!).ToCore();
        Zone = address.AddressFamily == AddressFamily.InterNetworkV6 ? address.ScopeId : 0;
        Segments = poller.Kernel.Gso ? LinuxOutbox.MaxSegments : 1;
        _isV4 = address.AddressFamily == AddressFamily.InterNetwork;
        _socket = socket;
        _handle = socket.SafeHandle;
        _loop = loop;
        _poller = poller;
        _owner = owner;
        _health = new PortHealth(address, poller.Kernel);
        _logger = options.LoggerFactory.CreateLogger<LinuxUdpPort>();
        _name = EndpointModule.ToText(Local);
    }

    /// <inheritdoc/>
    public int Id { get; }

    /// <inheritdoc/>
    public Endpoint Local { get; }

    /// <summary>The zone of link-local addresses.</summary>
    public long Zone { get; }

    /// <summary>Datagrams that may leave as one send; 1 where the kernel does not cut.</summary>
    public int Segments { get; private set; }

    /// <summary>Whether it is closed: nothing more is handed over.</summary>
    public bool IsClosed => _closed;

    /// <summary>Whether IP may fragment what is committed now.</summary>
    public bool MayFragment { get; private set; }

    /// <summary>What the socket had no room for.</summary>
    public KeptRuns Kept { get; } = new();

    /// <summary>Batches whose tail was lost because they were larger than a slot.</summary>
    public long Truncated { get; set; }

    /// <summary>Datagrams given up because neither the socket nor <see cref="Kept"/> had room.</summary>
    public long Lost { get; private set; }

    /// <summary>Binds a port; any thread. Null: <c>error</c> says why.</summary>
    public static LinuxUdpPort? TryBind(
        int id,
        IPAddress address,
        PortRange range,
        Loop loop,
        LinuxPoller poller,
        IPortOwner owner,
        StackOptions options,
        out string error
    )
    {
        if (UdpSockets.TryBind(address, range, options, out error) is not { } socket)
            return null;

        if (poller.Kernel.Gro)
            Coalesce(socket);

        return new LinuxUdpPort(id, socket, address, loop, poller, owner, options);
    }

    /// <inheritdoc/>
    public void Begin()
    {
        var fd = Enter();

        if (fd < 0)
            return;

        try
        {
            _poller.Add(this, fd, out _key);

            // Meanwhile closed by another thread, or broken on the loop's, which found nothing to take out.
            if (_closed || _broken is not null)
                Unwatch(fd);
        }
        finally
        {
            Exit();
        }
    }

    /// <inheritdoc/>
    public Span<byte> Reserve(in Endpoint remote, int size)
    {
        if (!remote.Equals(_remote))
        {
            _remote = remote;
            _fits = remote.Address.IsV4 == _isV4;
        }

        return _poller.Outbox.Reserve(size);
    }

    /// <inheritdoc/>
    public void Commit(int written)
    {
        // The family of a remote that the peer made up need not be ours.
        if (_fits)
            _poller.Outbox.Commit(this, _remote, written);
        else
            Telemetry.PortDropped("family");
    }

    /// <inheritdoc/>
    public void AllowFragments(bool allowed)
    {
        Flush();
        MayFragment = allowed;
        SetFragmentation(allowed);
    }

    /// <summary>Whether IP may fragment what the socket sends from now on, whatever is committed meanwhile.</summary>
    public void SetFragmentation(bool allowed) => Fragmentation.Set(_socket, allowed);

    /// <inheritdoc/>
    public void Flush() => _poller.Flush();

    /// <summary>Sees to what epoll tells of the socket. Answers how many datagrams were handed over.</summary>
    public int Serve(int events, long now)
    {
        if ((events & Libc.EpollOut) != 0)
            SendKept();

        if ((events & Libc.EpollError) != 0)
            _poller.Inbox.ForgetErrors(this);

        if ((events & ~Libc.EpollOut) == 0)
            return 0;

        var taken = _poller.Inbox.Receive(this, now);

        if (taken >= 0)
        {
            _health.Received();
            return taken;
        }

        // An ICMP error, mostly: it says nothing about the next datagram.
        if (_health.ReceiveFailed(now))
            Break(Marshal.GetPInvokeErrorMessage(-taken));

        return 1;
    }

    /// <summary>Hands one datagram over.</summary>
    public void Deliver(in Endpoint remote, Memory<byte> bytes, long now) => _owner.Received(this, remote, bytes, now);

    /// <summary>Sends again what there was no room for.</summary>
    public void SendKept()
    {
        if (_closed || !_poller.Outbox.SendKept(this) || !_awaitsRoom)
            return;

        _awaitsRoom = false;
        Watch(forRoom: false);
    }

    /// <summary>recvmmsg on its socket.</summary>
    public int Receive(Libc.Message* messages, int count, int flags)
    {
        var fd = Enter();

        if (fd < 0)
            return -Errno.Again;

        try
        {
            return _poller.Kernel.Receive(fd, messages, count, flags);
        }
        finally
        {
            Exit();
        }
    }

    /// <summary>sendmmsg on its socket. Once closed, everything counts as sent.</summary>
    public int Send(Libc.Message* messages, int count)
    {
        var fd = Enter();

        if (fd < 0)
            return count;

        try
        {
            return _poller.Kernel.Send(fd, messages, count);
        }
        finally
        {
            Exit();
        }
    }

    /// <summary>A run left.</summary>
    public void WasSent(in Run run)
    {
        if (run.Count > 1)
            _refusals = 0;
    }

    /// <summary>The kernel would not cut a run.</summary>
    public void SegmentsRefused(int error)
    {
        // A device that cannot is one thing; a path too narrow for these segments may widen.
        if (error != Errno.InputOutput && ++_refusals < TolerableRefusals)
            return;

        Segments = 1;
        Log.SegmentsRefused(_logger, _name, Marshal.GetPInvokeErrorMessage(error));
    }

    /// <summary>Datagrams did not leave: to the protocols above, a loss like any other.</summary>
    public void SendFailed(int count, int error)
    {
        Telemetry.PortDropped("send", count);

        if (_logger.IsEnabled(LogLevel.Debug))
            Log.SendFailed(_logger, _name, Marshal.GetPInvokeErrorMessage(error));

        if (
            error
                is Errno.Invalid
                    or Errno.NoDevice
                    or Errno.NetworkDown
                    or Errno.NetworkUnreachable
                    or Errno.AddressNotAvailable
            && _health.SendFailed(_loop.Now)
        )
            Break(Marshal.GetPInvokeErrorMessage(error));
    }

    /// <summary>Has itself told when there is room again.</summary>
    public void AwaitRoom(int error)
    {
        if (error == Errno.NoBuffers || _key == 0)
        {
            _poller.RetryLater(this, _loop.Now);
        }
        else if (!_awaitsRoom)
        {
            _awaitsRoom = true;
            Watch(forRoom: true);
        }
    }

    /// <summary>Keeps a run until there is room.</summary>
    public void Keep(in Run run, ReadOnlySpan<byte> bytes)
    {
        if (!Kept.Add(run, bytes))
            GiveUp(run.Count);
    }

    /// <inheritdoc/>
    void IDrain.Drain(long now)
    {
        if (_broken is { } reason && !_closed)
            _owner.Broken(this, reason);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // A peer's last words are written in the step that closes its ports.
        if (_loop.IsCurrent && !_closed)
        {
            _poller.Flush();
            SendLast();
        }

        if (Interlocked.Exchange(ref _closed, true))
            return;

        Unwatch((int)_handle.DangerousGetHandle());
        // Waits, if need be, until a call that is being made on it has come back.
        _socket.Dispose();
        Log.PortClosed(_logger, _name);
    }

    /// <summary>Last words that there was no room for have one more chance; what is left is given up, and counted.</summary>
    private void SendLast()
    {
        if (Kept.IsEmpty)
            return;

        try
        {
            if (!_poller.Outbox.SendKept(this))
            {
                _socket.Poll(LastPatience, SelectMode.SelectWrite);
                _poller.Outbox.SendKept(this);
            }
        }
        catch (ObjectDisposedException)
        {
            // Closed meanwhile by another thread.
        }

        GiveUp(Kept.Clear());
    }

    private void GiveUp(int datagrams)
    {
        if (datagrams == 0)
            return;

        Lost += datagrams;
        Telemetry.PortDropped("no room", datagrams);
    }

    /// <summary>Tells the owner, but not from within a flush: a member that has settled would be touched again.</summary>
    private void Break(string reason)
    {
        if (_broken is not null)
            return;

        _broken = reason;
        Log.ReceiveEnded(_logger, _name, reason);
        _loop.Post(this);

        if (Enter() is var fd and >= 0)
        {
            Unwatch(fd);
            Exit();
        }
    }

    private void Watch(bool forRoom)
    {
        var fd = Enter();

        if (fd < 0)
            return;

        try
        {
            if (_key != 0)
                _poller.AwaitRoom(_key, fd, forRoom);
        }
        finally
        {
            Exit();
        }
    }

    private void Unwatch(int fd)
    {
        var key = Interlocked.Exchange(ref _key, 0);

        if (key != 0)
            _poller.Remove(key, fd);
    }

    /// <summary>Keeps the descriptor from being closed, and so from being another's, during a call. Below zero: it is closed.</summary>
    private int Enter()
    {
        if (_closed)
            return -1;

        try
        {
            var entered = false;
            _handle.DangerousAddRef(ref entered);
            return (int)_handle.DangerousGetHandle();
        }
        catch (ObjectDisposedException)
        {
            return -1;
        }
    }

    private void Exit() => _handle.DangerousRelease();

    private static void Coalesce(Socket socket)
    {
        try
        {
            socket.SetRawSocketOption(Libc.UdpLevel, Libc.UdpGro, BitConverter.GetBytes(1));
        }
        catch (SocketException)
        {
            // The probe said that it works; without it, datagrams come singly.
        }
    }
}
