using System.Net.Sockets;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>Whether IP fragments the datagrams of a socket, on this host or on their way, or drops those that are too large.</summary>
internal static class Fragmentation
{
    // Linux: ip(7), ipv6(7).
    private const int IpLevel = 0;
    private const int IpMtuDiscover = 10;
    private const int Ipv6Level = 41;
    private const int Ipv6MtuDiscover = 23;
    private const int Ipv6Mtu = 24;

    /// <summary>Never set the DF bit; fragment what is larger than the route's MTU.</summary>
    private const int PmtuDiscDont = 0;

    /// <summary>Always set the DF bit, and take no ICMP's word for the path's MTU: RFC 8899 has its own.</summary>
    private const int PmtuDiscProbe = 3;

    /// <summary>What every path of IPv6 carries, RFC 8200 §5: the size of fragments, since routers make none.</summary>
    private const int Ipv6MinimumMtu = 1280;

    /// <summary>Sets it for what the socket sends from now on. A platform that cannot is left as it is: there, probes may be fragmented.</summary>
    public static void Set(Socket socket, bool allowed)
    {
        try
        {
            if (!OperatingSystem.IsLinux())
            {
                if (socket.AddressFamily == AddressFamily.InterNetwork)
                    socket.DontFragment = !allowed;

                return;
            }

            var discover = allowed ? PmtuDiscDont : PmtuDiscProbe;

            if (socket.AddressFamily == AddressFamily.InterNetwork)
            {
                Set(socket, IpLevel, IpMtuDiscover, discover);
                return;
            }

            Set(socket, Ipv6Level, Ipv6MtuDiscover, discover);
            Set(socket, Ipv6Level, Ipv6Mtu, allowed ? Ipv6MinimumMtu : 0);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Not known here, or closed meanwhile.
        }
    }

    private static void Set(Socket socket, int level, int option, int value)
    {
        Span<byte> octets = stackalloc byte[sizeof(int)];
        BitConverter.TryWriteBytes(octets, value);
        socket.SetRawSocketOption(level, option, octets);
    }
}
