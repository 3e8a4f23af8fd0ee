using System.Net;
using System.Net.Sockets;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>Makes the sockets of streams.</summary>
internal static class StreamSockets
{
    /// <summary>Connections that the system holds until they are accepted.</summary>
    private const int Backlog = 128;

    /// <summary>IPPROTO_TCP, and TCP_NOTSENT_LOWAT of Linux.</summary>
    private const int TcpLevel = 6,
        NotSentLowWater = 25;

    /// <summary>
    /// Octets that the system may hold unsent. More would only be delay: what waits in <see cref="StreamConnection"/> can still be lost.
    /// </summary>
    private const int NotSent = 128 * 1024;

    /// <summary>A socket that listens; a range is tried from a random place on, once around. Null: <c>error</c> says why.</summary>
    public static Socket? TryListen(IPAddress address, PortRange range, out string error)
    {
        error = "";
        var tries = Math.Max(1, range.Count);
        var first = range.IsAny ? 0 : Random.Shared.Next(tries);

        for (var i = 0; i < tries; i++)
        {
            var socket = Make(address.AddressFamily);

            try
            {
                socket.Bind(new IPEndPoint(address, range.IsAny ? 0 : range.First + (first + i) % tries));
                socket.Listen(Backlog);
                return socket;
            }
            catch (SocketException e)
            {
                socket.Dispose();
                error = e.Message;

                if (e.SocketErrorCode is not (SocketError.AddressAlreadyInUse or SocketError.AccessDenied))
                    return null;
            }
        }

        return null;
    }

    /// <summary>A socket to connect with, from this address and any port.</summary>
    /// <exception cref="SocketException">The address is not this machine's any more.</exception>
    public static Socket From(IPAddress address, AddressFamily family)
    {
        var socket = Make(family);

        try
        {
            socket.Bind(new IPEndPoint(address, 0));
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Lets sockets connect from the port that this one listens on; see <see cref="Reusing"/>.</summary>
    public static void AllowReuse(Socket socket) =>
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);

    /// <summary>A socket to connect with, from a port that another listens on.</summary>
    /// <exception cref="SocketException">The system lets no other have the port.</exception>
    public static Socket Reusing(IPEndPoint local)
    {
        var socket = Make(local.AddressFamily);

        try
        {
            AllowReuse(socket);
            socket.Bind(local);
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>What holds for every connection, made or accepted.</summary>
    public static void Configure(Socket socket)
    {
        // Frames are collected a turn at a time already.
        socket.NoDelay = true;

        if (!OperatingSystem.IsLinux())
            return;

        try
        {
            socket.SetRawSocketOption(TcpLevel, NotSentLowWater, BitConverter.GetBytes(NotSent));
        }
        catch (SocketException)
        {
            // A system that only looks like Linux; what it holds is delay.
        }
    }

    private static Socket Make(AddressFamily family)
    {
        var socket = new Socket(family, SocketType.Stream, ProtocolType.Tcp);

        if (family == AddressFamily.InterNetworkV6)
            socket.DualMode = false;

        return socket;
    }
}
