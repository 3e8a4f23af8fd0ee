using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Stack.Ports.Linux;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>Makes the sockets of UDP ports, of either kind: bound, with buffers, and not blocking.</summary>
internal static class UdpSockets
{
    /// <summary>SIO_UDP_CONNRESET: whether Windows reports a peer's ICMP "port unreachable" as an error of the socket.</summary>
    private const int UdpConnectionReset = unchecked((int)0x9800000C);

    /// <summary>Whether the system refused buffers beyond its limit: asked of it once, since a refusal is an exception.</summary>
    private static volatile bool _mayNotForce;

    /// <summary>Binds a socket; any thread. A range is tried from a random place on, once around. Null: <c>error</c> says why.</summary>
    public static Socket? TryBind(IPAddress address, PortRange range, StackOptions options, out string error)
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
                return socket;
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

    /// <summary>Whether this machine has an address, as a bind to it tells. A few microseconds; any thread.</summary>
    public static bool IsLocal(IPAddress address)
    {
        try
        {
            using var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(new IPEndPoint(address, 0));
            return true;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode != SocketError.AddressNotAvailable;
        }
    }

    /// <summary>The options of every UDP socket, in one place: what holds for both kinds of port is set here.</summary>
    private static void Configure(Socket socket, StackOptions options)
    {
        if (socket.AddressFamily == AddressFamily.InterNetworkV6)
            socket.DualMode = false;

        if (OperatingSystem.IsWindows())
            socket.IOControl(UdpConnectionReset, [0, 0, 0, 0], null);

        if (options.ReusePort)
            socket.SetRawSocketOption(Libc.SocketLevel, Libc.ReusePort, BitConverter.GetBytes(1));

        socket.Blocking = false;
        Fragmentation.Set(socket, allowed: false);
        SetBuffers(socket, options.ReceiveBuffer, options.SendBuffer);
    }

    /// <summary>A burst of one connection's window should fit, which is more than most systems' limits; the privileged may pass them.</summary>
    private static void SetBuffers(Socket socket, int receive, int send)
    {
        if (OperatingSystem.IsLinux() && !_mayNotForce)
        {
            try
            {
                socket.SetRawSocketOption(Libc.SocketLevel, Libc.ReceiveBufferForce, BitConverter.GetBytes(receive));
                socket.SetRawSocketOption(Libc.SocketLevel, Libc.SendBufferForce, BitConverter.GetBytes(send));
                return;
            }
            catch (SocketException)
            {
                _mayNotForce = true;
            }
        }

        socket.ReceiveBufferSize = receive;
        socket.SendBufferSize = send;
    }
}
