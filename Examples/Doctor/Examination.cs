using System.Diagnostics;
using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;

namespace Hybrid.WebRtc.Examples;

/// <summary>What was found.</summary>
/// <param name="Hosts">The candidates of this machine's own addresses.</param>
/// <param name="Nats">What STUN servers told, an address family each.</param>
/// <param name="Relays">What came of each TURN server.</param>
internal sealed record Facts(
    IReadOnlyList<RTCIceCandidate> Hosts,
    IReadOnlyList<NatReport> Nats,
    IReadOnlyList<RelayFacts> Relays
);

/// <summary>What came of one TURN server, over one transport.</summary>
internal sealed record RelayFacts(string Url)
{
    /// <summary>The relayed address it gave; null where it gave none.</summary>
    public string? Relayed { get; init; }

    /// <summary>Until it gave that.</summary>
    public TimeSpan? Allocated { get; init; }

    /// <summary>From one peer by the server to the other and back, both in this process; null where nothing passed.</summary>
    public TimeSpan? RoundTrip { get; init; }

    /// <summary>Its error, 300 to 699, or 701 where it was not reached; 0: none.</summary>
    public int ErrorCode { get; init; }

    /// <summary>What it said, or what happened.</summary>
    public string? Error { get; init; }
}

/// <summary>Tries what a connection needs, by the library's own means: what works here works in a call.</summary>
internal sealed class Examination
{
    public required IReadOnlyList<string> Stun { get; init; }
    public required IReadOnlyList<string> Turn { get; init; }
    public required string? Username { get; init; }
    public required string? Credential { get; init; }

    /// <summary>For one TURN server.</summary>
    public required TimeSpan Limit { get; init; }
    public required WebRtcOptions Options { get; init; }

    public async Task<Facts> RunAsync(Action<string> progress, CancellationToken stop)
    {
        var hosts = await HostsAsync(stop);
        progress($"Asking {Stun.Count} STUN servers; up to 15 s where something filters");
        var nats = await NatDiscovery.DiscoverAsync(Stun, cancellationToken: stop);
        var relays = new List<RelayFacts>();

        foreach (var url in Turn)
        {
            progress($"Talking by {url}");
            relays.Add(await RelayAsync(url, stop));
        }

        return new Facts(hosts, nats, relays);
    }

    private async Task<IReadOnlyList<RTCIceCandidate>> HostsAsync(CancellationToken stop)
    {
        await using var pc = new RTCPeerConnection(options: Options);
        var hosts = pc.OnIceCandidate.Select(e => e.Candidate).TakeWhile(c => c is not null).ToList().ToTask(stop);
        pc.CreateDataChannel("doctor");
        await pc.SetLocalDescriptionAsync();

        // An active candidate of TCP says that we can connect, and has no port of its own.
        return
        [
            .. (await hosts)
                .OfType<RTCIceCandidate>()
                .Where(c => c.Type == RTCIceCandidateType.Host && c.TcpType != RTCIceTcpCandidateType.Active),
        ];
    }

    /// <summary>Two peers in this process that have nothing but this server between them.</summary>
    private async Task<RelayFacts> RelayAsync(string url, CancellationToken stop)
    {
        var configuration = new RTCConfiguration
        {
            IceServers = [new RTCIceServer(url, Username, Credential)],
            IceTransportPolicy = RTCIceTransportPolicy.Relay,
        };
        await using var caller = new RTCPeerConnection(configuration, Options);
        await using var callee = new RTCPeerConnection(configuration, Options);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(Limit);
        var facts = new RelayFacts(url);
        var lockOfFacts = new Lock();
        var clock = Stopwatch.StartNew();

        caller.OnIceCandidateError.Subscribe(e => Note(f => f with { ErrorCode = e.ErrorCode, Error = e.ErrorText }));
        caller.OnIceCandidate.Subscribe(e =>
        {
            if (e.Candidate is { Type: RTCIceCandidateType.Relay } relayed)
                Note(f =>
                    f.Relayed is null
                        ? f with
                        {
                            Relayed = $"{relayed.Address}:{relayed.Port}",
                            Allocated = clock.Elapsed,
                        }
                        : f
                );
        });
        callee.OnDataChannel.Subscribe(e => e.Channel.OnMessage.Subscribe(m => e.Channel.Send(m.Data)));

        try
        {
            var channel = caller.CreateDataChannel("doctor");
            await caller.SetLocalDescriptionAsync();
            await caller.GatheringCompleteAsync(limit.Token);

            // Without an address there is nothing to wait for.
            if (facts.Relayed is null)
                return facts;

            await callee.SetRemoteDescriptionAsync(caller.LocalDescription!);
            await callee.SetLocalDescriptionAsync();
            await callee.GatheringCompleteAsync(limit.Token);
            await caller.SetRemoteDescriptionAsync(callee.LocalDescription!);
            await channel.WaitForOpenAsync(limit.Token);

            // The second message is the measurement: the first may wait for what the connection still has to do.
            for (var i = 0; i < 2; i++)
            {
                var echo = channel.OnMessage.FirstAsync().ToTask(limit.Token);
                clock.Restart();
                channel.Send("how far?");
                await echo;
            }

            return facts with
            {
                RoundTrip = clock.Elapsed,
            };
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return facts with { Error = facts.Error ?? $"nothing passed within {Limit.TotalSeconds} s" };
        }

        void Note(Func<RelayFacts, RelayFacts> change)
        {
            lock (lockOfFacts)
                facts = change(facts);
        }
    }
}
