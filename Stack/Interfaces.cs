using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack;

/// <summary>What kind of network an interface leads to, best first.</summary>
internal enum NetworkKind
{
    /// <summary>Ethernet and whatever else has a wire, or is not known.</summary>
    Wired,

    /// <summary>IEEE 802.11.</summary>
    Wireless,

    /// <summary>Mobile data.</summary>
    Cellular,

    /// <summary>A VPN or tunnel, or a bridge to virtual machines and containers: a detour, if it leads anywhere at all.</summary>
    Virtual,

    /// <summary>This machine alone.</summary>
    Loopback,
}

/// <summary>One address of one interface.</summary>
internal readonly record struct InterfaceAddress(string Interface, NetworkKind Kind, IPAddress Address)
{
    /// <summary>The interface's number, as IPv6 multicast needs it; 0 where it is not known.</summary>
    public int Index { get; init; }

    /// <summary>An IPv6 privacy address, RFC 8981.</summary>
    public bool IsTemporary { get; init; }

    /// <summary>An IPv6 address past its preferred lifetime, RFC 4862 §5.5.4.</summary>
    public bool IsDeprecated { get; init; }

    /// <summary>Whether it is of no use beyond the link without a zone.</summary>
    public bool IsLinkLocal => Core.AddressModule.IsLinkLocal(Address.ToCore());
}

/// <summary>An address to bind a port to.</summary>
/// <param name="Address">The address, with its zone where it is link-local.</param>
/// <param name="Interface">The interface's name.</param>
/// <param name="Preference">From 0 to 65535, all different, higher is better: RFC 8445 §5.1.2.1's local preference.</param>
internal readonly record struct UsableAddress(IPAddress Address, string Interface, int Preference);

/// <summary>The addresses of this machine, and which of them a peer shall use.</summary>
internal static class Interfaces
{
    /// <summary>Names that virtual interfaces have, whatever type the operating system gives them.</summary>
    private static readonly string[] VirtualNames =
    [
        "tun",
        "tap",
        "wg",
        "ppp",
        "utun",
        "ipsec",
        "tailscale",
        "zt",
        "gpd",
        "docker",
        "br-",
        "veth",
        "virbr",
        "vmnet",
        "vboxnet",
        "vEthernet",
        "lxc",
        "cni",
        "cali",
        "flannel",
        "podman",
    ];

    /// <summary>Addresses to bind ports to, best first; from what is known where that is fresh.</summary>
    public static IReadOnlyList<UsableAddress> Usable(StackOptions options)
    {
        try
        {
            return options.Network.Present().Usable(options);
        }
        catch (Exception e) when (e is NetworkInformationException or IOException or PlatformNotSupportedException)
        {
            Log.InterfacesUnknown(options.LoggerFactory.CreateLogger("Hybrid.WebRtc.Stack.Interfaces"), e.Message);
            return Choose([], options);
        }
    }

    /// <summary>
    /// Chooses and orders. Left out, RFC 8445 §5.1.1.1: loopback and link-local addresses unless asked for, or when there
    /// are no others; site-local and IPv4-mapped addresses; an address that lets its owner be tracked where the same prefix has a
    /// temporary one; and deprecated ones unless there are no others. Order: the kind of network, then IPv6 and IPv4 in turn, RFC 8421 §4.
    /// </summary>
    public static IReadOnlyList<UsableAddress> Choose(IReadOnlyList<InterfaceAddress> all, StackOptions options)
    {
        var allowed = all.Where(a => IsUnicast(a.Address))
            .Where(a => options.InterfaceFilter?.Invoke(a.Interface) ?? true)
            .Where(a => options.AddressFilter?.Invoke(a.Address) ?? true)
            .DistinctBy(a => a.Address)
            .ToList();

        var global = allowed.Where(a => a.Kind != NetworkKind.Loopback && !a.IsLinkLocal).ToList();

        if (global.Any(a => !a.IsDeprecated))
            global.RemoveAll(a => a.IsDeprecated);

        global.RemoveAll(a => !a.IsTemporary && global.Any(other => IsTemporaryTwin(other, a)));

        var linkLocal = allowed.Where(a => a.Kind != NetworkKind.Loopback && a.IsLinkLocal).ToList();
        var loopback = allowed.Where(a => a.Kind == NetworkKind.Loopback).ToList();
        var chosen = InOrder(global);

        if (options.IncludeLinkLocal || chosen.Count == 0)
            chosen.AddRange(InOrder(linkLocal));

        if (options.IncludeLoopback || chosen.Count == 0)
            chosen.AddRange(InOrder(loopback));

        return [.. chosen.Select((a, i) => new UsableAddress(a.Address, a.Interface, Math.Max(0, 65_535 - i)))];
    }

    /// <summary>Every address of every interface that is up, loopback included.</summary>
    public static IReadOnlyList<InterfaceAddress> All()
    {
        var flags = LinuxFlags();
        var found = new List<InterfaceAddress>();

        foreach (var nic in NetworkInterface.GetAllNetworkInterfaces())
        {
            // Linux says Unknown of loopback and of many tunnels.
            if (nic.OperationalStatus is not (OperationalStatus.Up or OperationalStatus.Unknown))
                continue;

            var properties = nic.GetIPProperties();

            foreach (var unicast in properties.UnicastAddresses)
            {
                var (temporary, deprecated, usable) = LifeOf(unicast, flags);

                if (usable)
                    found.Add(
                        new InterfaceAddress(nic.Name, KindOf(nic), unicast.Address)
                        {
                            Index = nic.Supports(NetworkInterfaceComponent.IPv6)
                                ? properties.GetIPv6Properties().Index
                                : 0,
                            IsTemporary = temporary,
                            IsDeprecated = deprecated,
                        }
                    );
            }
        }

        return found;
    }

    private static bool IsUnicast(IPAddress a) =>
        !a.IsIPv6Multicast
        && !a.IsIPv6SiteLocal
        && !a.IsIPv4MappedToIPv6
        && !a.Equals(IPAddress.Any)
        && !a.Equals(IPAddress.IPv6Any)
        && a.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6;

    /// <summary>Whether <paramref name="other"/> is a temporary address in the /64 of <paramref name="address"/>, on the same interface.</summary>
    private static bool IsTemporaryTwin(in InterfaceAddress other, in InterfaceAddress address) =>
        other.IsTemporary
        && other.Interface == address.Interface
        && address.Address.AddressFamily == AddressFamily.InterNetworkV6
        && other.Address.GetAddressBytes().AsSpan(0, 8).SequenceEqual(address.Address.GetAddressBytes().AsSpan(0, 8));

    private static List<InterfaceAddress> InOrder(IEnumerable<InterfaceAddress> addresses)
    {
        var ordered = new List<InterfaceAddress>();

        foreach (var kind in addresses.GroupBy(a => a.Kind).OrderBy(kind => kind.Key))
        {
            var v6 = kind.Where(a => a.Address.AddressFamily == AddressFamily.InterNetworkV6).ToList();
            var v4 = kind.Where(a => a.Address.AddressFamily == AddressFamily.InterNetwork).ToList();

            for (var i = 0; i < Math.Max(v6.Count, v4.Count); i++)
            {
                if (i < v6.Count)
                    ordered.Add(v6[i]);

                if (i < v4.Count)
                    ordered.Add(v4[i]);
            }
        }

        return ordered;
    }

    private static NetworkKind KindOf(NetworkInterface nic) =>
        nic.NetworkInterfaceType switch
        {
            NetworkInterfaceType.Loopback => NetworkKind.Loopback,
            NetworkInterfaceType.Tunnel or NetworkInterfaceType.Ppp => NetworkKind.Virtual,
            _ when VirtualNames.Any(name => nic.Name.StartsWith(name, StringComparison.Ordinal)) => NetworkKind.Virtual,
            NetworkInterfaceType.Wireless80211 => NetworkKind.Wireless,
            NetworkInterfaceType.Wwanpp or NetworkInterfaceType.Wwanpp2 or NetworkInterfaceType.Wman =>
                NetworkKind.Cellular,
            _ => NetworkKind.Wired,
        };

    private static (bool Temporary, bool Deprecated, bool Usable) LifeOf(
        UnicastIPAddressInformation address,
        Dictionary<IPAddress, int> linuxFlags
    )
    {
        if (OperatingSystem.IsWindows())
        {
            var state = address.DuplicateAddressDetectionState;
            return (
                address.SuffixOrigin == SuffixOrigin.Random,
                state == DuplicateAddressDetectionState.Deprecated,
                state is DuplicateAddressDetectionState.Preferred or DuplicateAddressDetectionState.Deprecated
            );
        }

        // Flags of <linux/if_addr.h>: TEMPORARY 0x01, DADFAILED 0x08, DEPRECATED 0x20, TENTATIVE 0x40.
        linuxFlags.TryGetValue(new IPAddress(address.Address.GetAddressBytes()), out var flags);
        return ((flags & 0x01) != 0, (flags & 0x20) != 0, (flags & 0x48) == 0);
    }

    /// <summary>The flags of IPv6 addresses, which .NET shows on Windows only: <c>address index prefix scope flags name</c> a line.</summary>
    private static Dictionary<IPAddress, int> LinuxFlags()
    {
        var flags = new Dictionary<IPAddress, int>();

        if (!OperatingSystem.IsLinux() || !File.Exists("/proc/net/if_inet6"))
            return flags;

        foreach (var line in File.ReadLines("/proc/net/if_inet6"))
        {
            var columns = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);

            if (
                columns is [{ Length: 32 } address, _, _, _, var flag, ..]
                && int.TryParse(flag, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)
            )
                flags[new IPAddress(Convert.FromHexString(address))] = value;
        }

        return flags;
    }
}
