using System.Net;
using Hybrid.WebRtc.Stack.Ports.Linux;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>
/// Tells a port that is of no more use from one that had bad luck. An error of a send may speak of one remote only, and one of a
/// receive of one datagram; that the port's own address has left the machine is what a vanished interface comes to.
/// </summary>
/// <param name="address">The port's address, with its zone.</param>
/// <param name="kernel">Who is asked for it; null: the sockets.</param>
internal sealed class PortHealth(IPAddress address, Kernel? kernel = null)
{
    /// <summary>Errors in a row, without one datagram between them, after which a port counts as broken.</summary>
    private const int TolerableErrors = 64;

    /// <summary>How often the address is looked for, at most: microseconds.</summary>
    private const long LookPause = 250_000;

    private int _errors;
    private long _lookedAt = -LookPause;

    /// <summary>A datagram was received.</summary>
    public void Received() => _errors = 0;

    /// <summary>A receive failed. Whether the port is broken.</summary>
    public bool ReceiveFailed(long now) => ++_errors > TolerableErrors || IsGone(now);

    /// <summary>A send failed in a way that a vanished interface explains. Whether the port is broken.</summary>
    public bool SendFailed(long now) => IsGone(now);

    private bool IsGone(long now)
    {
        if (now - _lookedAt < LookPause)
            return false;

        _lookedAt = now;
        return !(kernel?.Has(address) ?? UdpSockets.IsLocal(address));
    }
}
