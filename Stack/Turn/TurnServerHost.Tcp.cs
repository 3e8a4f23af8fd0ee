using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Turn;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>TCP to and from peers, RFC 6062.</summary>
internal sealed partial class TurnServerHost
{
    private readonly TurnTcpRelays _tcpRelays;

    /// <summary>By the allocation's client, where there is a bound.</summary>
    private readonly Dictionary<Path, TurnPace> _paces = [];

    /// <summary>A peer has connected to a relayed port; the loop's thread.</summary>
    public void PeerAccepted(int relay, Endpoint peer, int connection) =>
        Feed(Loop.Now, TurnServerInput.NewPeerAccepted(relay, peer, connection));

    /// <inheritdoc/>
    void ITurnServerShell.ConnectPeer(int relay, int connection, Endpoint peer) =>
        _tcpRelays.Connect(relay, connection, peer, _answers);

    /// <inheritdoc/>
    void ITurnServerShell.JoinPeer(int connection, Path client, Path control)
    {
        if (_tcpRelays[connection] is not { } peer || !_connections.TryGetValue(client, out var data))
        {
            _answers.Enqueue(TurnServerInput.NewPeerLost(connection));
            return;
        }

        // It may be silent from now on.
        data.HasAllocation = true;
        peer.Join(data);
        var pace = Pace(control);

        data.HandOff(
            async (stream, first) =>
            {
                try
                {
                    await peer.RelayAsync(stream, first, pace).ConfigureAwait(false);
                }
                finally
                {
                    Post(TurnServerInput.NewPeerLost(connection));
                }
            }
        );
    }

    /// <inheritdoc/>
    void ITurnServerShell.ClosePeer(int connection)
    {
        if (_tcpRelays.ClosePeer(connection)?.Client is { } client)
            Closed(client);
    }

    private TurnPace? Pace(Path control)
    {
        if (_settings.Limits.OctetsPerSecond == long.MaxValue)
            return null;

        if (!_paces.TryGetValue(control, out var pace))
            _paces.Add(control, pace = new TurnPace(_settings.Limits.OctetsPerSecond, _settings.Time));

        return pace;
    }
}
