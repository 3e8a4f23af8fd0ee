using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Turn;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;
using Microsoft.FSharp.Core;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>
/// A TURN server at home: the core's state, a loop of its own that steps it, its listeners and its relayed ports. Everything but starting,
/// asking and stopping happens on the loop's thread.
/// </summary>
internal sealed partial class TurnServerHost : ILoopMember, IPortOwner, ITurnServerShell, IAsyncDisposable
{
    /// <summary>How often connections without an allocation are looked for, microseconds.</summary>
    private const long SweepEvery = 5_000_000;

    private readonly TurnSettings _settings;
    private readonly ILogger _logger;
    private readonly Seat _seat;
    private readonly TurnRelays _relays;
    private readonly PortSet _ports = new();
    private readonly List<TurnStreamListener> _streams = [];
    private readonly Dictionary<Path, TurnConnection> _connections = [];
    private readonly List<TurnConnection> _flushing = [];
    private readonly Queue<TurnServerInput> _answers = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private TurnServerState _state;
    private long _sweepAt = long.MaxValue;
    private int _admitted;
    private int _stopped;
    private bool _over;
    private volatile int _allocations;

    private TurnServerHost(TurnSettings settings)
    {
        _settings = settings;
        _logger = settings.Stack.LoggerFactory.CreateLogger<TurnServerHost>();
        Loop = new Loop(settings.Time) { Logger = _logger };

        var v4 = RelayAddress(AddressFamily.InterNetwork);
        var v6 = RelayAddress(AddressFamily.InterNetworkV6);
        _relays = new TurnRelays(settings, Loop, new RelayOwner(this), v4, v6);
        _tcpRelays = new TurnTcpRelays(settings, this, v4, v6);

        try
        {
            var listeners = Listen();
            _dtls = NewDtls();
            _state = TurnServer.Create(
                RandomNumberGenerator.GetBytes(EntropyModule.SeedSize),
                new TurnServerConfig(
                    SystemCiphers.Shared,
                    Loop.Epoch,
                    settings.Realm,
                    settings.Software,
                    v4 is not null,
                    v6 is not null,
                    settings.Limits,
                    settings.Peers,
                    settings.RelayTcp ? [.. _streams.Select(stream => stream.Id)] : [],
                    [.. settings.Alternates.Select(alternate => alternate.ToCore())],
                    Discovery(listeners)
                ),
                settings.Credentials
            );
            Endpoints = listeners;
        }
        catch
        {
            CloseListeners();
            throw;
        }

        _seat = Loop.Join(this);
    }

    /// <summary>The loop.</summary>
    public Loop Loop { get; }

    /// <summary>Where it listens, with the ports that were found where 0 was asked for.</summary>
    public IReadOnlyList<TurnListener> Endpoints { get; }

    /// <summary>Allocations that are, or are about to be; any thread.</summary>
    public int Allocations => _allocations;

    /// <inheritdoc/>
    public long Deadline =>
        _over ? long.MaxValue : Math.Min(Math.Min(_sweepAt, TurnServer.Deadline(_state)), DtlsDeadline);

    /// <summary>Binds everything and begins to serve.</summary>
    /// <exception cref="IOException">A listener's port is taken, or its address is not this machine's.</exception>
    public static TurnServerHost Start(TurnSettings settings)
    {
        var host = new TurnServerHost(settings);

        try
        {
            host.Begin();
        }
        catch
        {
            host._seat.Leave();
            host.CloseListeners();
            throw;
        }

        return host;
    }

    /// <summary>Gives the core an input, in order with all else; any thread.</summary>
    public void Post(TurnServerInput input) => Loop.Post(() => Feed(Loop.Now, input));

    /// <summary>Takes one more connection in, unless there are too many; any thread.</summary>
    public bool Admit()
    {
        if (Interlocked.Increment(ref _admitted) <= _settings.MaxConnections)
        {
            TurnTelemetry.ConnectionsChanged(+1);
            return true;
        }

        Interlocked.Decrement(ref _admitted);
        Telemetry.PortDropped("connections");
        return false;
    }

    /// <summary>A connection that was admitted is over; any thread.</summary>
    public void Dismiss()
    {
        Interlocked.Decrement(ref _admitted);
        TurnTelemetry.ConnectionsChanged(-1);
    }

    /// <summary>A connection is established; any thread.</summary>
    public void Connected(int listener, Endpoint remote, Stream stream) =>
        Loop.Post(() =>
        {
            var connection = new TurnConnection(this, new Path(listener, remote), stream);

            if (_over)
            {
                connection.Close();
                Dismiss();
                return;
            }

            // The client's port is free again, so its last connection has ended without our being told.
            if (_connections.TryGetValue(connection.Path, out var last))
                Closed(last);

            connection.PatientUntil = Loop.Now + (long)_settings.ConnectionPatience.TotalMicroseconds;
            _connections.Add(connection.Path, connection);

            if (_sweepAt == long.MaxValue)
                _sweepAt = Loop.Now + SweepEvery;

            Loop.Touch(_seat);
            connection.Begin();
        });

    /// <summary>A connection has ended, or shall.</summary>
    public void Closed(TurnConnection connection)
    {
        if (!_connections.Remove(connection.Path))
            return;

        connection.Close();
        Dismiss();

        // Not from within a step: writing may be what found out.
        var path = connection.Path;
        Loop.Post(() => Feed(Loop.Now, TurnServerInput.NewDisconnected(path)));
    }

    /// <summary>A connection has something to write when the turn is over.</summary>
    public void WillFlush(TurnConnection connection)
    {
        Loop.Touch(_seat);
        _flushing.Add(connection);
    }

    /// <summary>A message of a client's.</summary>
    public void Received(in Path path, Memory<byte> bytes, long now) =>
        Feed(now, TurnServerInput.NewReceived(path, bytes));

    /// <inheritdoc/>
    void IPortOwner.Received(IPort port, in Endpoint remote, Memory<byte> bytes, long now)
    {
        var path = new Path(port.Id, remote);

        if (_dtlsPorts.Contains(port.Id))
            FeedDtls(now, DtlsClients.Input.NewReceived(path, bytes));
        else
            Received(path, bytes, now);
    }

    /// <inheritdoc/>
    void IPortOwner.Broken(IPort port, string reason)
    {
        // The others go on; ICE clients of this one will find them.
        Log.TurnListenerLost(_logger, EndpointModule.ToText(port.Local), reason);
        _ports.Remove(port.Id)?.Dispose();
    }

    /// <inheritdoc/>
    void ILoopMember.Take(long now, Input input)
    {
        if (now >= _sweepAt)
            Sweep(now);

        if (now >= DtlsDeadline)
            FeedDtls(now, DtlsClients.Input.Tick);

        Feed(now, TurnServerInput.Tick);
    }

    /// <inheritdoc/>
    void ILoopMember.Settle()
    {
        foreach (var connection in _flushing)
            connection.Flush();

        _flushing.Clear();
        _ports.Flush();
        _allocations = _over ? 0 : TurnServer.Allocations(_state);
    }

    /// <inheritdoc/>
    void ILoopMember.Fail(Exception bug)
    {
        Log.TurnServerCrashed(_logger, bug);
        End();
    }

    /// <inheritdoc/>
    void ITurnServerShell.Transmit(Path path, TurnPacket packet)
    {
        var size = packet.Size;

        if (_dtlsPorts.Contains(path.Local))
        {
            if (!TransmitSealed(path, packet, size))
            {
                Telemetry.PortDropped("closed");
                return;
            }
        }
        else if (_ports[path.Local] is { } port)
        {
            port.Commit(packet.Write(port.Reserve(path.Remote, size)));
        }
        else if (_connections.TryGetValue(path, out var connection))
        {
            var room = connection.Reserve(size);

            if (room.IsEmpty)
            {
                Telemetry.PortDropped("room");
                return;
            }

            connection.Commit(packet.Write(room));
        }
        else
        {
            Telemetry.PortDropped("closed");
            return;
        }

        if (packet.IsData)
            TurnTelemetry.Returned(size);
    }

    /// <inheritdoc/>
    void ITurnServerShell.Forward(int relay, Endpoint peer, ReadOnlyMemory<byte> data, bool mayFragment)
    {
        if (_relays[relay] is not { } port)
            return;

        if (!mayFragment)
            port.AllowFragments(false);

        data.Span.CopyTo(port.Reserve(peer, data.Length));
        port.Commit(data.Length);

        if (!mayFragment)
            port.AllowFragments(true);

        TurnTelemetry.Forwarded(data.Length);
    }

    /// <inheritdoc/>
    void ITurnServerShell.OpenRelay(int relay, bool v6, RelayKind kind)
    {
        if (kind.IsTcp)
            _tcpRelays.Open(relay, v6, _answers);
        else
            _relays.Open(relay, v6, kind, _answers);
    }

    /// <inheritdoc/>
    void ITurnServerShell.CloseRelay(int relay)
    {
        _relays.Close(relay);
        _tcpRelays.Close(relay);
    }

    /// <inheritdoc/>
    void ITurnServerShell.Raise(TurnServerEvent happened)
    {
        switch (happened)
        {
            case TurnServerEvent.Allocated allocated:
                TurnTelemetry.AllocationsChanged(+1);
                Log.TurnAllocated(
                    _logger,
                    allocated.Username,
                    EndpointModule.ToText(allocated.Client.Remote),
                    string.Join(", ", allocated.Relayed.Select(EndpointModule.ToText))
                );

                if (_connections.TryGetValue(allocated.Client, out var holder))
                    holder.HasAllocation = true;

                Holds(allocated.Client, true);
                break;
            case TurnServerEvent.Deallocated deallocated:
                TurnTelemetry.AllocationsChanged(-1);
                Log.TurnDeallocated(
                    _logger,
                    deallocated.Username,
                    EndpointModule.ToText(deallocated.Client.Remote),
                    deallocated.Reason
                );

                if (_connections.TryGetValue(deallocated.Client, out var former))
                {
                    former.HasAllocation = false;
                    former.PatientUntil = Loop.Now + (long)_settings.ConnectionPatience.TotalMicroseconds;
                }

                _paces.Remove(deallocated.Client);
                Holds(deallocated.Client, false);
                break;
            case TurnServerEvent.Refused refused:
                TurnTelemetry.Refused(refused.Code);
                Log.TurnRefused(_logger, EndpointModule.ToText(refused.Client.Remote), refused.Code);
                break;
        }
    }

    /// <inheritdoc/>
    void ITurnServerShell.Ignored(Drop reason) => TurnTelemetry.Ignored(reason);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _stopped, 1) == 0)
            Loop.Post(() =>
            {
                _seat.Leave();
                End();
            });

        await _ended.Task.ConfigureAwait(false);
    }

    private void Begin()
    {
        foreach (var port in _ports.Open)
        {
            port.AllowFragments(true);
            port.Begin();
        }

        foreach (var stream in _streams)
            stream.Begin();

        // A loop's thread starts with the first thing to do, and what arrives at a port that it waits for itself is none.
        Loop.Post(static () => { });
    }

    /// <summary>Steps the core, and again with whatever its outputs were answered with at once.</summary>
    private void Feed(long now, TurnServerInput input)
    {
        if (_over)
            return;

        Loop.Touch(_seat);

        try
        {
            Step(now, input);

            while (_answers.TryDequeue(out var answer))
                Step(now, answer);
        }
        catch (Exception bug)
        {
            Loop.Evict(_seat, bug);
        }
    }

    private void Step(long now, TurnServerInput input)
    {
        (_state, var outputs) = TurnServer.Step(now, input, _state);
        TurnServer.Perform(this, outputs);
    }

    /// <summary>Closes connections that have done without an allocation for too long: descriptors are scarce.</summary>
    private void Sweep(long now)
    {
        List<TurnConnection>? idle = null;

        foreach (var connection in _connections.Values)
            if (!connection.HasAllocation && now >= connection.PatientUntil)
                (idle ??= []).Add(connection);

        foreach (var connection in idle ?? [])
            Closed(connection);

        _sweepAt = _connections.Count > 0 ? now + SweepEvery : long.MaxValue;
    }

    private void End()
    {
        if (_over)
            return;

        FeedDtls(Loop.Now, DtlsClients.Input.Close);
        _ports.Flush();
        _over = true;
        TurnTelemetry.AllocationsChanged(-TurnServer.Allocations(_state));
        _allocations = 0;
        CloseListeners();

        foreach (var connection in _connections.Values)
        {
            connection.Close();
            Dismiss();
        }

        _connections.Clear();
        _relays.Clear();
        _tcpRelays.Clear();
        _ended.TrySetResult();
    }

    private void CloseListeners()
    {
        foreach (var stream in _streams)
            stream.Dispose();

        _ports.Clear();
    }

    /// <summary>Binds every listener.</summary>
    private List<TurnListener> Listen()
    {
        var bound = new List<TurnListener>();
        var wanted = _settings.Listeners.SelectMany(Addresses).ToList();
        var ids = 0;

        if (_settings.Discovery is { } other)
        {
            // RFC 5780 §6: (A1, P1), (A1, P2), (A2, P1), (A2, P2), and they come first.
            var first = wanted.FindIndex(listener => listener.Transport == TurnTransport.Udp);
            var primary = Bind(++ids, wanted[first]);
            wanted.RemoveAt(first);
            bound.Add(primary);
            bound.Add(Bind(++ids, new(TurnTransport.Udp, new(primary.Endpoint.Address, other.Port))));
            bound.Add(Bind(++ids, new(TurnTransport.Udp, new(other.Address, primary.Endpoint.Port))));
            bound.Add(Bind(++ids, new(TurnTransport.Udp, other)));
        }

        foreach (var listener in wanted)
            bound.Add(Bind(++ids, listener));

        return bound;
    }

    private TurnListener Bind(int id, TurnListener listener)
    {
        if (listener.Transport is TurnTransport.Udp or TurnTransport.Dtls)
        {
            var port = (ushort)listener.Endpoint.Port;
            var address = listener.Endpoint.Address;
            var range = port == 0 ? default : new PortRange(port, port);
            var bound =
                PortSet.TryBind(id, address, range, Loop, this, _settings.Stack, out var error)
                ?? throw new IOException($"No UDP port could be bound on {listener.Endpoint}: {error}");
            _ports.Add(bound);

            if (listener.Transport == TurnTransport.Dtls)
                _dtlsPorts.Add(id);

            return new TurnListener(listener.Transport, bound.Local.ToNet());
        }

        try
        {
            var tls = listener.Transport == TurnTransport.Tls ? _settings.Tls : null;
            var stream = TurnStreamListener.Open(id, listener, this, tls, _logger);
            _streams.Add(stream);
            return new TurnListener(listener.Transport, stream.Local);
        }
        catch (SocketException e)
        {
            throw new IOException($"No TCP port could be bound on {listener.Endpoint}: {e.Message}", e);
        }
    }

    /// <summary>A UDP socket on the unspecified address would answer from whichever address the system likes: so one for each of them.</summary>
    private IEnumerable<TurnListener> Addresses(TurnListener listener)
    {
        var address = listener.Endpoint.Address;

        if (listener.Transport is not (TurnTransport.Udp or TurnTransport.Dtls) || !IsUnspecified(address))
            return [listener];

        return Interfaces
            .Usable(_settings.Stack with { IncludeLoopback = true })
            .Where(usable => usable.Address.AddressFamily == address.AddressFamily)
            .Select(usable => listener with { Endpoint = new(usable.Address, listener.Endpoint.Port) });
    }

    private static bool IsUnspecified(IPAddress address) =>
        address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);

    private FSharpValueOption<Discovery> Discovery(List<TurnListener> listeners)
    {
        if (_settings.Discovery is null)
            return default;

        return FSharpValueOption<Discovery>.NewValueSome(
            new Discovery([1, 2, 3, 4], [.. listeners.Take(4).Select(l => Seen(l.Endpoint).ToCore())])
        );
    }

    private IPEndPoint Seen(IPEndPoint local) =>
        _settings.External.TryGetValue(local.Address, out var seen) ? new IPEndPoint(seen, local.Port) : local;

    private IPAddress? RelayAddress(AddressFamily family) =>
        _settings.RelayAddresses.Count > 0
            ? _settings.RelayAddresses.FirstOrDefault(address => address.AddressFamily == family)
            : Interfaces
                .Usable(_settings.Stack)
                .Select(usable => usable.Address)
                .FirstOrDefault(address => address.AddressFamily == family);

    /// <summary>Whom the relayed ports are for. Their numbers are the core's.</summary>
    private sealed class RelayOwner(TurnServerHost host) : IPortOwner
    {
        public void Received(IPort port, in Endpoint remote, Memory<byte> bytes, long now) =>
            host.Feed(now, TurnServerInput.NewRelayReceived(port.Id, remote, bytes));

        public void Broken(IPort port, string reason) =>
            host.Feed(host.Loop.Now, TurnServerInput.NewRelayLost(port.Id));
    }
}
