using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack;
using Hybrid.WebRtc.Stack.Names;

namespace Hybrid.WebRtc;

/// <summary>
/// Finds out what a NAT or firewall between this machine and the Internet does, RFC 5780: for diagnosis (<c>Examples/Doctor</c>).
/// A connection needs none of it; ICE tries what works.
/// </summary>
public static class NatDiscovery
{
    /// <summary>
    /// Asks STUN servers over UDP. One that has a second address and port (RFC 5780) tells of mapping, filtering and hairpins; two that
    /// have not, of mapping alone. It takes a round trip where the servers say little, up to 15 s where something filters.
    /// </summary>
    /// <param name="urls">Servers, <c>stun:host</c> or <c>stun:host:port</c>.</param>
    /// <param name="timeProvider">Where time comes from; null: the system's clock.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>One report for each address family that a server has an address of, IPv4 first; without any there is none.</returns>
    /// <exception cref="RTCException"><c>SyntaxError</c>: one of the URLs is not a <c>stun:</c> URL.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static async Task<IReadOnlyList<NatReport>> DiscoverAsync(
        IEnumerable<string> urls,
        TimeProvider? timeProvider = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(urls);
        string[] all = [.. urls];

        foreach (var url in all)
        {
            if (
                ServerUrlModule.Parse(url)
                is not { IsSome: true, Value: { IsTurn: false, Transport: ServerTransport.Udp } }
            )
                throw new RTCException(
                    "SyntaxError",
                    $"\"{url}\" is not a STUN server that is asked over UDP: give stun:host or stun:host:port."
                );
        }

        var found = await Task.WhenAll(all.Select(url => Resolve(url, cancellationToken))).ConfigureAwait(false);
        var reports = await Task.WhenAll(
                new[] { AddressFamily.InterNetwork, AddressFamily.InterNetworkV6 }.Select(family =>
                    Examine(family, found, timeProvider ?? TimeProvider.System, cancellationToken)
                )
            )
            .ConfigureAwait(false);
        return [.. reports.OfType<NatReport>()];
    }

    private static async Task<(string Url, Endpoint[] Endpoints, string? Error)> Resolve(
        string url,
        CancellationToken cancellation
    )
    {
        try
        {
            return (url, await Resolver.Shared.ResolveServer(url, cancellation).ConfigureAwait(false), null);
        }
        catch (ResolverException e)
        {
            return (url, [], e.Message);
        }
    }

    private static async Task<NatReport?> Examine(
        AddressFamily family,
        (string Url, Endpoint[] Endpoints, string? Error)[] servers,
        TimeProvider time,
        CancellationToken cancellation
    )
    {
        var asked = servers
            .Select(server =>
                (
                    server.Url,
                    At: server.Endpoints.FirstOrDefault(e => e.Address.IsV4 == (family == AddressFamily.InterNetwork)),
                    Has: server.Endpoints.Any(e => e.Address.IsV4 == (family == AddressFamily.InterNetwork))
                )
            )
            .Where(server => server.Has)
            .ToArray();

        // Names that did not resolve are told with IPv4, so that they are told once.
        var lost = family == AddressFamily.InterNetwork ? servers.Where(server => server.Error is not null) : [];
        StunServerReport[] unresolved =
        [
            .. lost.Select(server => new StunServerReport(server.Url) { Error = server.Error }),
        ];

        if (asked.Length == 0)
            return unresolved.Length == 0 ? null : new NatReport(family) { Servers = unresolved };

        try
        {
            var (behaviour, local) = await NatDiscoveryHost
                .Run([.. asked.Select(server => server.At)], time, cancellation)
                .ConfigureAwait(false);

            return new NatReport(family)
            {
                Local = local,
                Mapping = (NatMapping)behaviour.Mapping,
                Filtering = (NatFiltering)behaviour.Filtering,
                Hairpins = behaviour.Hairpins is { IsSome: true, Value: var hairpins } ? hairpins : null,
                Servers = [.. behaviour.Servers.Zip(asked, (server, at) => ToReport(at.Url, server)), .. unresolved],
            };
        }
        catch (SocketException e)
        {
            return new NatReport(family)
            {
                Servers =
                [
                    .. asked.Select(server => new StunServerReport(server.Url)
                    {
                        Address = server.At.ToNet(),
                        Error = e.Message,
                    }),
                    .. unresolved,
                ],
            };
        }
    }

    private static StunServerReport ToReport(string url, Core.Stun.StunFinding found) =>
        new(url)
        {
            Address = found.Server.ToNet(),
            Mapped = found.Mapped is { IsSome: true, Value: var mapped } ? mapped.ToNet() : null,
            RoundTrip = found.Mapped.IsSome ? TimeSpan.FromMicroseconds(found.RoundTrip) : null,
            HasBehaviourDiscovery = found.HasDiscovery,
            Error =
                found.Mapped.IsSome ? null
                : found.ErrorCode != 0 ? $"refused with {found.ErrorCode}"
                : "no answer",
        };
}

/// <summary>What was found with one address family.</summary>
/// <param name="AddressFamily">IPv4 (<c>InterNetwork</c>) or IPv6 (<c>InterNetworkV6</c>).</param>
public sealed record NatReport(AddressFamily AddressFamily)
{
    /// <summary>The port that was asked from; null where there was no way to any server.</summary>
    public IPEndPoint? Local { get; init; }

    /// <summary>How outside ports are chosen.</summary>
    public NatMapping Mapping { get; init; }

    /// <summary>Who is let in.</summary>
    public NatFiltering Filtering { get; init; }

    /// <summary>Whether two behind the NAT reach each other by their outside addresses, RFC 4787 §6; null: no NAT, or not known.</summary>
    public bool? Hairpins { get; init; }

    /// <summary>What each server answered, in the order they were given.</summary>
    public IReadOnlyList<StunServerReport> Servers { get; init; } = [];
}

/// <summary>What came of asking one STUN server.</summary>
/// <param name="Url">As it was given.</param>
public sealed record StunServerReport(string Url)
{
    /// <summary>Where its name led; null where it did not resolve.</summary>
    public IPEndPoint? Address { get; init; }

    /// <summary>Our outside address, as the server saw it; null where it did not answer.</summary>
    public IPEndPoint? Mapped { get; init; }

    /// <summary>From the last request to its answer.</summary>
    public TimeSpan? RoundTrip { get; init; }

    /// <summary>Whether it can test more than the outside address, RFC 5780 §6.</summary>
    public bool HasBehaviourDiscovery { get; init; }

    /// <summary>Why there is no answer; null where there is one.</summary>
    public string? Error { get; init; }
}

/// <summary>How a NAT chooses the outside port for what one socket sends to several, RFC 4787 §4.1.</summary>
public enum NatMapping
{
    /// <summary>Too few servers answered to tell.</summary>
    Unknown = 0,

    /// <summary>No NAT: the outside address is the machine's own.</summary>
    None = 1,

    /// <summary>One outside port for all: what a STUN server tells is good for every peer.</summary>
    EndpointIndependent = 2,

    /// <summary>Another one for each address; also told where servers without RFC 5780 saw different ones.</summary>
    AddressDependent = 3,

    /// <summary>Another one for each address and port.</summary>
    AddressAndPortDependent = 4,
}

/// <summary>From whom a NAT or firewall lets datagrams in to a port that has sent, RFC 4787 §5.</summary>
public enum NatFiltering
{
    /// <summary>No server that answered can test it.</summary>
    Unknown = 0,

    /// <summary>From everybody.</summary>
    EndpointIndependent = 1,

    /// <summary>From addresses that were sent to.</summary>
    AddressDependent = 2,

    /// <summary>From addresses and ports that were sent to.</summary>
    AddressAndPortDependent = 3,
}
