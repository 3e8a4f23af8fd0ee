using System.Net;
using System.Net.Sockets;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack.Names;

namespace Hybrid.WebRtc.Stack;

/// <summary>How names are resolved.</summary>
internal sealed record ResolverOptions
{
    /// <summary>False: no name is looked up, only addresses in text are understood.</summary>
    public bool IsOn { get; init; } = true;

    /// <summary>How long a server's name is looked up for. Default 5 s.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Looks up a server's name. Default: the operating system's DNS.</summary>
    public Func<string, CancellationToken, Task<IPAddress[]>> Lookup { get; init; } = Dns.GetHostAddressesAsync;

    /// <summary>Asks the link for <c>….local</c> names.</summary>
    public MulticastDns MulticastDns { get; init; } = new();
}

/// <summary>Finds the addresses of servers (DNS) and of candidates (multicast DNS).</summary>
internal sealed class Resolver(ResolverOptions? options = null)
{
    private readonly ResolverOptions _options = options ?? new ResolverOptions();

    /// <summary>The resolver of every peer that names no other.</summary>
    public static Resolver Shared { get; } = new();

    /// <summary>The endpoints of a STUN or TURN server, IPv6 and IPv4, in the order that DNS gave them; one at least.</summary>
    /// <exception cref="ResolverException">The URL is not one, or its host does not resolve; the message says which.</exception>
    public async Task<Endpoint[]> ResolveServer(string url, CancellationToken cancellation)
    {
        if (ServerUrlModule.Parse(url) is not { IsSome: true, Value: var server })
            throw new ResolverException("not a STUN or TURN server's URL");

        var addresses = await AddressesOf(server.Host, cancellation).ConfigureAwait(false);
        var endpoints = addresses
            .Where(a => a.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6)
            .Select(a => new Endpoint(a.ToCore(), server.Port))
            .Distinct()
            .ToArray();

        return endpoints.Length > 0 ? endpoints : throw new ResolverException("the host has no address");
    }

    /// <summary>
    /// The address of a candidate that was given by name; null where nobody answers. Only the link is asked: a name that a
    /// peer made up is not looked up in the DNS, where the query would tell others of it.
    /// </summary>
    public Task<IPAddress?> ResolveCandidate(string name, CancellationToken cancellation) =>
        _options.IsOn ? _options.MulticastDns.Query(name, cancellation) : Task.FromResult<IPAddress?>(null);

    /// <summary>Answers the link's questions for a name of ours from now on; see <see cref="MulticastDns.Announce"/>.</summary>
    public void Announce(string name, IPAddress address)
    {
        if (_options.IsOn)
            _options.MulticastDns.Announce(name, address);
    }

    /// <summary>Answers for the name no more.</summary>
    public void Withdraw(string name)
    {
        if (_options.IsOn)
            _options.MulticastDns.Withdraw(name);
    }

    private async Task<IPAddress[]> AddressesOf(string host, CancellationToken cancellation)
    {
        if (IPAddress.TryParse(host, out var literal))
            return [literal];

        if (!_options.IsOn)
            throw new ResolverException("names are not looked up: the resolver is switched off");

        if (DnsMessage.IsLocalName(host))
            return await _options.MulticastDns.Query(host, cancellation).ConfigureAwait(false) is { } found
                ? [found]
                : throw new ResolverException("nobody on the link answers to the name");

        using var limited = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limited.CancelAfter(_options.Timeout);

        try
        {
            // Some platforms' lookups heed no cancellation: the wait ends in any case.
            return await _options.Lookup(host, limited.Token).WaitAsync(limited.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new ResolverException("the name was not resolved in time");
        }
        catch (SocketException e)
        {
            throw new ResolverException(e.Message);
        }
    }
}

/// <summary>Why a server cannot be found; the message goes to the <c>icecandidateerror</c> event.</summary>
internal sealed class ResolverException(string message) : Exception(message);
