using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// A loop's part of a <see cref="SharedPort"/>: sockets of its own, one an address, and the peers that live on the loop. Datagrams are told apart
/// by <see cref="SharedPortTable{TMember}"/>, TCP connections by their first frame. Nothing here is locked.
/// </summary>
internal sealed class SharedLane : IPortOwner, IStreamDirectory, IDisposable
{
    private readonly SharedPortTable<IPortOwner> _table;
    private readonly LaneDirectory? _others;
    private readonly LeasePool _leases;

    /// <summary>Replaced, never changed, once it receives: any thread reads it.</summary>
    private volatile List<BoundPort> _bound = [];
    private volatile bool _closed;
    private NetworkWatch? _network;
    private int _portIds;
    private int _residents;

    /// <summary>Makes a lane without sockets.</summary>
    /// <param name="loop">The loop that carries its sockets and its peers.</param>
    /// <param name="leases">Memory for datagrams that several peers get, or another lane's.</param>
    /// <param name="others">What the port's other lanes know; null: there are none.</param>
    /// <param name="number">Its number there.</param>
    public SharedLane(Loop loop, LeasePool leases, LaneDirectory? others, int number)
    {
        Loop = loop;
        _leases = leases;
        _others = others;
        Number = number;
        Mail = new LaneMail(this, leases);
        _table = new SharedPortTable<IPortOwner>(others?.ObserverOf(number));
    }

    /// <summary>The loop that carries the lane and its peers.</summary>
    public Loop Loop { get; }

    /// <summary>Its number among the lanes.</summary>
    public int Number { get; }

    /// <summary>What other lanes received for peers of this one.</summary>
    public LaneMail Mail { get; }

    /// <summary>The sockets, one an address: of the same numbers in every lane.</summary>
    public IReadOnlyList<BoundPort> Bound => _bound;

    /// <summary>Peers that live here, or are about to; any thread.</summary>
    public int Residents => Volatile.Read(ref _residents);

    /// <summary>Peers that have asked for the port; on the loop's thread.</summary>
    public int Peers => _table.Count;

    /// <summary>Paths that they have claimed; on the loop's thread.</summary>
    public int Paths => _table.Paths;

    /// <summary>Counts a peer that is to live here until it is detached; any thread.</summary>
    public void Enter() => Interlocked.Increment(ref _residents);

    /// <summary>Takes a peer in; on the loop's thread.</summary>
    public void Attach(IPortOwner peer) => _table.Add(peer);

    /// <summary>Lets a peer go; on the loop's thread, once for each <see cref="Enter"/>.</summary>
    public void Detach(IPortOwner peer)
    {
        Interlocked.Decrement(ref _residents);
        _table.Remove(peer);

        if (peer is not IStreamOwner owner)
            return;

        foreach (var bound in _bound)
            (bound.Port as ListenerPort)?.Drop(owner);
    }

    /// <inheritdoc/>
    public IStreamOwner? Find(string fragment) => _table.ByFragment(fragment) as IStreamOwner;

    /// <summary>See <see cref="SharedPortTable{TMember}.Name"/>; on the loop's thread.</summary>
    public void Name(IPortOwner peer, string[] fragments) => _table.Name(peer, fragments);

    /// <summary>See <see cref="SharedPortTable{TMember}.Claim"/>; on the loop's thread.</summary>
    public void Claim(IPortOwner peer, in Path path) => _table.Claim(peer, path);

    /// <inheritdoc/>
    public void Received(IPort port, in Endpoint remote, Memory<byte> bytes, long now)
    {
        if (Peer.RequestedFragment(bytes.Span) is { IsEmpty: false } fragment)
        {
            if (_table.ByFragment(fragment) is { } addressed)
                addressed.Received(port, remote, bytes, now);
            else if (_others?.ByFragment(fragment) is { } lane)
                lane.Mail.Add(port.Id, remote, bytes.Span);
            else
                Telemetry.PortDropped("unknown fragment");

            return;
        }

        var path = new Path(port.Id, remote);
        var claimants = _table.ByPath(path);
        var isElsewhere = _others is not null && _others.Post(path, Number, bytes.Span);

        if (claimants.IsEmpty)
        {
            if (!isElsewhere)
                Telemetry.PortDropped("unknown path");

            return;
        }

        // A step may overwrite the bytes, so all but the first take copies.
        for (var i = 1; i < claimants.Length; i++)
        {
            var copy = _leases.Rent();
            bytes.CopyTo(copy.Memory);
            claimants[i].Received(port, remote, copy.Memory[..bytes.Length], now);
            _leases.Return(copy);
        }

        claimants[0].Received(port, remote, bytes, now);
    }

    /// <summary>A datagram that another lane's socket received for a peer of this one's, as if it had come by our own.</summary>
    public void HandedOver(int portId, in Endpoint remote, Memory<byte> bytes, long now)
    {
        foreach (var bound in _bound)
        {
            if (bound.Port is not { } port || port.Id != portId)
                continue;

            if (Peer.RequestedFragment(bytes.Span) is { IsEmpty: false } fragment)
            {
                _table.ByFragment(fragment)?.Received(port, remote, bytes, now);
                return;
            }

            // Rarely more than one: those after the first see what the first has left.
            foreach (var claimant in _table.ByPath(new Path(portId, remote)))
                claimant.Received(port, remote, bytes, now);

            return;
        }
    }

    /// <inheritdoc/>
    public void Broken(IPort port, string reason)
    {
        if (!Lose(port, reason))
            return;

        // A send may have found the address gone sooner than the watch did, and it may be back already.
        _network?.Doubt();
    }

    /// <summary>Closes what is bound to addresses that are gone, and has the peers know; on the loop's thread.</summary>
    public void LoseAllBut(HashSet<Address> present)
    {
        foreach (var bound in _bound)
            if (bound.Port is { } port && !present.Contains(port.Local.Address) && PeerHost.IsGone(port))
                Lose(port, "Its address is gone.");
    }

    /// <summary>A socket more, which does not receive yet, and has the peers know; on the loop's thread.</summary>
    public void Take(BoundPort fresh, StackOptions options)
    {
        var port = fresh.Port!;

        if (_closed || _bound.Exists(other => IsSame(other, fresh)) || !TryBegin(port, options))
        {
            port.Dispose();
            return;
        }

        _bound = [.. _bound, fresh];

        foreach (var peer in _table.Members.ToArray())
            peer.Appeared(fresh);
    }

    /// <summary>Closes the sockets; peers hear nothing more by them. Any thread.</summary>
    public void Dispose()
    {
        _closed = true;

        foreach (var bound in _bound)
            bound.Port?.Dispose();
    }

    /// <summary>Binds the number on every usable address; any thread. False: something is taken, and nothing is of use.</summary>
    public bool TryBind(ushort port, StackOptions options)
    {
        var range = new PortRange(port, port);

        // The first address finds the number, the others must have it too.
        var first = true;
        _bound = PortSet.Bind(options, Loop, this, range, NextPortId, _ => port != 0 || Flip(ref first));

        if (port == 0 && _bound is [{ Port: { } finder }])
        {
            var found = finder.Local;
            range = new PortRange(found.Port, found.Port);
            _bound.AddRange(
                PortSet.Bind(options, Loop, this, range, NextPortId, address => !address.ToCore().Equals(found.Address))
            );
        }

        if (_bound.Count == 0 || _bound.Exists(bound => bound.Port is null))
            return false;

        if (options.TcpPorts is null)
            return true;

        var number = _bound[0].Port!.Local.Port;
        range = new PortRange(number, number);
        _bound.AddRange(PortSet.Listen(options, Loop, this, range, NextPortId, _ => true));
        return !_bound.Exists(bound => bound.Port is null);
    }

    /// <summary>Has the sockets receive. False: there is no room to watch them in.</summary>
    public bool TryBegin(StackOptions options)
    {
        _network = options.Network;
        return _bound.TrueForAll(bound => TryBegin(bound.Port!, options));
    }

    /// <summary>Whether two are bound to one address.</summary>
    public static bool IsSame(BoundPort a, BoundPort b) =>
        a.Listens == b.Listens && a.Usable.Address.Equals(b.Usable.Address);

    // Who called disposes what is bound.
    private static bool TryBegin(IPort port, StackOptions options)
    {
        try
        {
            port.Begin();
            return true;
        }
        catch (IOException e)
        {
            // No room to watch one more socket in.
            Log.PortRefused(
                options.LoggerFactory.CreateLogger<SharedPort>(),
                EndpointModule.ToText(port.Local),
                e.Message
            );
            return false;
        }
    }

    // Once: several things find a socket gone.
    private bool Lose(IPort port, string reason)
    {
        if (!_bound.Exists(bound => ReferenceEquals(bound.Port, port)))
            return false;

        _bound = _bound.FindAll(bound => !ReferenceEquals(bound.Port, port));

        foreach (var peer in _table.Members.ToArray())
            peer.Broken(port, reason);

        port.Dispose();
        return true;
    }

    /// <summary>Numbers that were given, the last one: those of all lanes are the same.</summary>
    public int PortIds => _portIds;

    private int NextPortId() => ++_portIds;

    private static bool Flip(ref bool flag)
    {
        var was = flag;
        flag = false;
        return was;
    }
}
