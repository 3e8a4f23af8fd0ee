using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>The kernel's form of an endpoint: sockaddr_in and sockaddr_in6. Family and zone are in the machine's own order.</summary>
internal static unsafe class SocketNames
{
    /// <summary>Octets of sockaddr_in6, the larger.</summary>
    public const int Size = 28;

    private const int SizeV4 = 16;
    private const ushort FamilyV4 = 2;
    private const ushort FamilyV6 = 10;

    /// <summary>Writes one; answers its octets. <paramref name="zone"/> is that of link-local addresses.</summary>
    public static uint Write(byte* into, in Endpoint endpoint, long zone)
    {
        var octets = new Span<byte>(into, Size);
        octets.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(octets[2..], endpoint.Port);

        if (endpoint.Address.IsV4)
        {
            Unsafe.WriteUnaligned(into, FamilyV4);
            BinaryPrimitives.WriteUInt32BigEndian(octets[4..], (uint)endpoint.Address.Low);
            return SizeV4;
        }

        Unsafe.WriteUnaligned(into, FamilyV6);
        BinaryPrimitives.WriteUInt64BigEndian(octets[8..], endpoint.Address.High);
        BinaryPrimitives.WriteUInt64BigEndian(octets[16..], endpoint.Address.Low);

        if (AddressModule.IsLinkLocal(endpoint.Address))
            Unsafe.WriteUnaligned(into + 24, (uint)zone);

        return Size;
    }

    /// <summary>Reads one.</summary>
    public static Endpoint Read(byte* from)
    {
        var octets = new ReadOnlySpan<byte>(from, Size);
        var at = Unsafe.ReadUnaligned<ushort>(from) == FamilyV4 ? octets.Slice(4, 4) : octets.Slice(8, 16);
        return new Endpoint(Addresses.ToCore(at), BinaryPrimitives.ReadUInt16BigEndian(octets[2..]));
    }
}
