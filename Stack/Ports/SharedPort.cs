using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// One UDP port number, on every usable address, for many connections: a server behind a firewall opens one hole. The same of TCP,
/// where <see cref="StackOptions.TcpPorts"/> asks for it. All its peers live on one loop with it, so nothing here is locked. Datagrams are told apart
/// by <see cref="SharedPortTable{TMember}"/>, connections by their first frame.
/// </summary>
internal sealed class SharedPort : IPortOwner, IStreamDirectory, IDisposable
{
    /// <summary>Port numbers that are tried when any would do and some address already uses the first found.</summary>
    private const int Tries = 16;

    private readonly SharedPortTable<IPortOwner> _table = new();
    private readonly LeasePool _leases;
    private List<BoundPort> _bound = [];
    private int _portIds;

    private SharedPort(Loop loop, LeasePool leases)
    {
        Loop = loop;
        _leases = leases;
    }

    /// <summary>The loop that carries the port and its peers.</summary>
    public Loop Loop { get; }

    /// <summary>The sockets, one an address.</summary>
    public IReadOnlyList<BoundPort> Bound => _bound;

    /// <summary>The number.</summary>
    public int Port => _bound[0].Port!.Local.Port;

    /// <summary>Binds the number on every usable address; any thread.</summary>
    /// <param name="port">The number; 0: any that is free on all of them.</param>
    /// <param name="options">Filters, loops, buffers. Its <see cref="StackOptions.SharedPort"/> plays no part.</param>
    /// <exception cref="SocketException">The number is taken, or there is no address to bind it to.</exception>
    public static SharedPort Open(ushort port, StackOptions options)
    {
        for (var i = 0; i < (port == 0 ? Tries : 1); i++)
        {
            var shared = new SharedPort(options.Loops.Emptiest(), options.Leases);

            if (shared.TryBind(port, options))
                return shared;

            shared.Dispose();
        }

        throw new SocketException((int)SocketError.AddressAlreadyInUse);
    }

    /// <summary>Takes a peer in; on the loop's thread.</summary>
    public void Attach(IPortOwner peer) => _table.Add(peer);

    /// <summary>Lets a peer go; on the loop's thread.</summary>
    public void Detach(IPortOwner peer)
    {
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
        if (Peer.RequestedFragment(bytes.Span) is { IsValueSome: true, Value: var fragment })
        {
            if (_table.ByFragment(fragment) is { } addressed)
                addressed.Received(port, remote, bytes, now);
            else
                Telemetry.PortDropped("unknown fragment");

            return;
        }

        var claimants = _table.ByPath(new Path(port.Id, remote));

        if (claimants.IsEmpty)
        {
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

    /// <inheritdoc/>
    public void Broken(IPort port, string reason) => port.Dispose();

    /// <summary>Closes the port; its peers hear nothing more by it. Any thread.</summary>
    public void Dispose()
    {
        foreach (var bound in _bound)
            bound.Port?.Dispose();
    }

    private bool TryBind(ushort port, StackOptions options)
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

        if (options.TcpPorts is not null)
        {
            range = new PortRange((ushort)Port, (ushort)Port);
            _bound.AddRange(PortSet.Listen(options, Loop, this, range, NextPortId, _ => true));

            if (_bound.Exists(bound => bound.Port is null))
                return false;
        }

        try
        {
            foreach (var bound in _bound)
                bound.Port!.Begin();
        }
        catch (IOException e)
        {
            // No room to watch one more socket in; who called disposes what is bound.
            Log.PortRefused(
                options.LoggerFactory.CreateLogger<SharedPort>(),
                EndpointModule.ToText(_bound[0].Port!.Local),
                e.Message
            );
            return false;
        }

        return true;
    }

    private int NextPortId() => ++_portIds;

    private static bool Flip(ref bool flag)
    {
        var was = flag;
        flag = false;
        return was;
    }
}
