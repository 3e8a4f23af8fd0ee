using System.Net;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack;

/// <content>Its addresses, which come and go. A <see cref="StackOptions.SharedPort"/> looks after its own, and tells.</content>
internal sealed partial class PeerHost
{
    // The loop's thread only.
    private IDisposable? _watching;

    /// <summary>Ports are being bound, so many times over.</summary>
    private int _binding;

    /// <summary>What was told while ports were being bound: looked at when they are.</summary>
    private Action? _deferred;

    private void WatchNetwork() => _watching ??= _options.Network.Listen(_options.NetworkWatchInterval, NetworkChanged);

    /// <summary>The watch tells; the thread pool.</summary>
    private void NetworkChanged(InterfaceSnapshot now)
    {
        if (_over)
            return;

        IReadOnlyList<UsableAddress> usable = [];

        try
        {
            if (_options.ContinualGathering)
                usable = now.Usable(_options);
        }
        catch (Exception e)
        {
            // A user's filter may throw.
            Log.PortRefused(_logger, "any address", e.Message);
        }

        Loop.Post(() => Move(now, usable));
    }

    /// <summary>Closes what is bound to addresses that are gone, and binds those that are new.</summary>
    private void Move(InterfaceSnapshot now, IReadOnlyList<UsableAddress> usable)
    {
        if (_over)
            return;

        var present = now.All.Select(each => each.Address.ToCore()).ToHashSet();

        // A port lives for as long as its address, even where that is not to be preferred any more.
        foreach (var port in _ports.Open.Concat(_ports.Streams).ToArray())
            if (!present.Contains(port.Local.Address) && IsGone(port))
                Lose(port);

        if (usable.Count == 0)
            return;

        if (_binding > 0)
        {
            _deferred = () => Move(now, usable);
            return;
        }

        var fresh = usable.Where(each => _ports.On(each.Address.ToCore()) is null).ToArray();

        if (fresh.Length == 0)
            return;

        foreach (var each in fresh)
            Log.AddressCame(_logger, _number, each.Address.ToString(), each.Interface);

        var wanted = fresh.Select(each => each.Address).ToHashSet();
        _binding++;
        Task.Run(() => Bind(wanted.Contains));
    }

    /// <summary>
    /// Whether this machine does not have a port's address any more. An interface that is down for a moment may keep its own, as when
    /// a wireless one changes its access point, and then ICE's checks tell.
    /// </summary>
    internal static bool IsGone(IPort port) => port.Local.Port != 0 && !UdpSockets.IsLocal(port.Local.Address.ToNet());

    private void Lose(IPort port)
    {
        Log.AddressGone(_logger, _number, EndpointModule.ToText(port.Local));

        if (port is StreamPort stream)
            stream.Ended("Its address is gone.");
        else
            Remove(port);
    }

    /// <summary>A port of datagrams is no more; false where that is known.</summary>
    private bool Remove(IPort port)
    {
        if (_ports.Remove(port.Id) is null)
            return false;

        Discard(port);
        _seat.Run(Loop.Now, Input.NewPortClosed(port.Id));
        return true;
    }

    /// <inheritdoc/>
    void IPortOwner.Appeared(in BoundPort bound)
    {
        // What is about to be taken over has it already.
        if (_options.ContinualGathering && !_over && _binding == 0)
            Adopt([bound]);
    }

    private void HasBound()
    {
        _binding--;

        if (_binding > 0 || _deferred is not { } deferred)
            return;

        _deferred = null;
        deferred();
    }
}
