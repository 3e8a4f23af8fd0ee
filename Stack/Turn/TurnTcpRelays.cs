using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Turn;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>
/// Relayed ports of TCP, and the connections to and from peers that they have (RFC 6062). The loop's thread only; what waits, waits elsewhere. Of a
/// connection that no client's is joined to nothing is read, so the system's receive window is all that a peer can fill.
/// </summary>
internal sealed class TurnTcpRelays(TurnSettings settings, TurnServerHost host, IPAddress? v4, IPAddress? v6)
{
    /// <summary>How long accepting pauses where the system has no descriptor or memory left.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly Dictionary<int, Socket> _open = [];
    private readonly Dictionary<int, TurnPeer> _peers = [];
    private readonly ILogger _logger = settings.Stack.LoggerFactory.CreateLogger<TurnTcpRelays>();

    private int _accepted;

    /// <summary>Connections to and from peers, those that are being made included.</summary>
    public int Peers => _peers.Count;

    /// <summary>Opens what the core asks for; the answer goes to <paramref name="answers"/>.</summary>
    public void Open(int id, bool isV6, Queue<TurnServerInput> answers)
    {
        if ((isV6 ? v6 : v4) is not { } address || TryListen(address) is not { } socket)
        {
            answers.Enqueue(TurnServerInput.NewRelayFailed(id));
            return;
        }

        _open.Add(id, socket);
        _ = AcceptAsync(id, socket);
        var local = (IPEndPoint)socket.LocalEndPoint!;
        var seen = settings.External.GetValueOrDefault(local.Address, local.Address);
        answers.Enqueue(TurnServerInput.NewRelayOpened(id, new IPEndPoint(seen, local.Port).ToCore()));
    }

    /// <summary>Closes a port; harmless where it is closed already, or never was of TCP.</summary>
    public void Close(int id)
    {
        if (_open.Remove(id, out var socket))
            socket.Dispose();
    }

    /// <summary>Connects to a peer from a relayed port; the answer goes to <paramref name="answers"/>, or comes later.</summary>
    public void Connect(int relay, int connection, Endpoint peer, Queue<TurnServerInput> answers)
    {
        Socket? socket = null;

        try
        {
            if (_open.TryGetValue(relay, out var listener))
            {
                var local = (IPEndPoint)listener.LocalEndPoint!;
                socket = StreamSockets.Reusing(local);
                Keep(connection, new TurnPeer(socket));
                _ = ConnectAsync(connection, socket, peer.ToNet());
                return;
            }
        }
        catch (SocketException e)
        {
            Log.PortRefused(_logger, EndpointModule.ToText(peer), e.Message);
            socket?.Dispose();
        }

        answers.Enqueue(TurnServerInput.NewPeerLost(connection));
    }

    /// <summary>The connection of this number; null where there is none, or none any more.</summary>
    public TurnPeer? this[int connection] => _peers.GetValueOrDefault(connection);

    /// <summary>Closes a connection; harmless where it is closed already.</summary>
    public TurnPeer? ClosePeer(int connection)
    {
        if (!_peers.Remove(connection, out var peer))
            return null;

        peer.Dispose();
        TurnTelemetry.PeerConnectionsChanged(-1);
        return peer;
    }

    /// <summary>Closes everything.</summary>
    public void Clear()
    {
        foreach (var socket in _open.Values)
            socket.Dispose();

        foreach (var connection in _peers.Keys.ToArray())
            ClosePeer(connection);

        _open.Clear();
    }

    private Socket? TryListen(IPAddress address)
    {
        if (StreamSockets.TryListen(address, settings.RelayPorts, out var error) is not { } socket)
        {
            Log.PortRefused(_logger, address.ToString(), error);
            return null;
        }

        // Only now, so that two relays never find the same port, and connections can be made from it.
        StreamSockets.AllowReuse(socket);
        return socket;
    }

    private void Keep(int connection, TurnPeer peer)
    {
        _peers.Add(connection, peer);
        TurnTelemetry.PeerConnectionsChanged(+1);
    }

    private async Task ConnectAsync(int connection, Socket socket, IPEndPoint peer)
    {
        try
        {
            await socket.ConnectAsync(peer).ConfigureAwait(false);
            socket.NoDelay = true;
            host.Post(TurnServerInput.NewPeerConnected(connection));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Closed by us, too: then the core knows of it no more, and counts this as stale.
            host.Post(TurnServerInput.NewPeerLost(connection));
        }
    }

    private async Task AcceptAsync(int relay, Socket listener)
    {
        while (true)
        {
            try
            {
                var socket = await listener.AcceptAsync().ConfigureAwait(false);

                // One after the other: who connects faster than the loop looks at it waits in the system's queue.
                var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                host.Loop.Post(() =>
                {
                    Accepted(relay, socket);
                    seen.SetResult();
                });
                await seen.Task.ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                if (listener.SafeHandle.IsClosed)
                    return;

                Log.TurnAcceptFailed(_logger, "a relayed port", e.Message);
                await Task.Delay(Pause).ConfigureAwait(false);
            }
        }
    }

    private void Accepted(int relay, Socket socket)
    {
        Endpoint remote;

        try
        {
            socket.NoDelay = true;
            remote = ((IPEndPoint)socket.RemoteEndPoint!).ToCore();
        }
        catch (SocketException)
        {
            // Gone before we looked.
            socket.Dispose();
            return;
        }

        if (!_open.ContainsKey(relay))
        {
            socket.Dispose();
            return;
        }

        var connection = ++_accepted;
        Keep(connection, new TurnPeer(socket));
        host.PeerAccepted(relay, remote, connection);
    }
}
