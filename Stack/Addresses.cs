using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>Between the core's addresses and those of System.Net.</summary>
internal static class Addresses
{
    /// <summary>What <c>::ffff:0:0/96</c> has in its middle, RFC 4291 §2.5.5.2.</summary>
    private const ulong Mapped = 0xffff_0000_0000;

    /// <summary>The core's form; a zone is left out.</summary>
    public static Address ToCore(this IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        address.TryWriteBytes(octets, out var count);
        return ToCore(octets[..count]);
    }

    /// <summary>From 4 or 16 octets in network order.</summary>
    public static Address ToCore(ReadOnlySpan<byte> octets) =>
        octets.Length == 4
            ? new Address(0, Mapped | BinaryPrimitives.ReadUInt32BigEndian(octets))
            : new Address(
                BinaryPrimitives.ReadUInt64BigEndian(octets),
                BinaryPrimitives.ReadUInt64BigEndian(octets[8..])
            );

    /// <summary>The core's form; a zone is left out.</summary>
    public static Endpoint ToCore(this IPEndPoint endpoint) => new(endpoint.Address.ToCore(), (ushort)endpoint.Port);

    /// <summary>System.Net's form, with a zone for link-local IPv6 addresses.</summary>
    public static IPAddress ToNet(this Address address, long zone = 0)
    {
        Span<byte> octets = stackalloc byte[16];

        if (address.IsV4)
        {
            BinaryPrimitives.WriteUInt32BigEndian(octets, (uint)address.Low);
            return new IPAddress(octets[..4]);
        }

        BinaryPrimitives.WriteUInt64BigEndian(octets, address.High);
        BinaryPrimitives.WriteUInt64BigEndian(octets[8..], address.Low);
        return AddressModule.IsLinkLocal(address) ? new IPAddress(octets, zone) : new IPAddress(octets);
    }

    /// <summary>System.Net's form, with a zone for link-local IPv6 addresses.</summary>
    public static IPEndPoint ToNet(this Endpoint endpoint, long zone = 0) =>
        new(endpoint.Address.ToNet(zone), endpoint.Port);

    /// <summary>Reads a socket's address without allocating. Its layout is the same on every platform from the port on:
    /// 2 port, 4 IPv4 address; or 2 port, 4 flow, 16 IPv6 address, 4 zone.</summary>
    public static Endpoint ToCore(this SocketAddress address)
    {
        var octets = address.Buffer.Span;
        var port = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
        var at = address.Family == AddressFamily.InterNetwork ? octets.Slice(4, 4) : octets.Slice(8, 16);
        return new Endpoint(ToCore(at), port);
    }
}
