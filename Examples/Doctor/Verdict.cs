using System.Globalization;
using System.Net.Sockets;

namespace Hybrid.WebRtc.Examples;

/// <summary>How bad it is.</summary>
internal enum Severity
{
    Good,
    Notice,
    Bad,
}

/// <summary>One thing to know, with the likely cause and what helps.</summary>
internal sealed record Finding(Severity Severity, string Text);

/// <summary>What follows from the facts.</summary>
/// <param name="Works">Whether a call to somebody outside of this network would come to be.</param>
/// <param name="Summary">The verdict, a sentence.</param>
/// <param name="Findings">Why.</param>
internal sealed record Verdict(bool Works, string Summary, IReadOnlyList<Finding> Findings)
{
    public static Verdict Of(Facts facts)
    {
        var findings = new List<Finding>();
        var v4 = facts.Nats.FirstOrDefault(n => n.AddressFamily == AddressFamily.InterNetwork);
        var isOut = facts.Nats.Any(n => n.Servers.Any(s => s.Mapped is not null));
        var relays = facts.Relays.Where(r => r.RoundTrip is not null).ToArray();
        var isFree = facts.Nats.Any(n =>
            n.Mapping is NatMapping.None or NatMapping.EndpointIndependent && n.Servers.Any(s => s.Mapped is not null)
        );

        if (facts.Hosts.Count == 0)
            findings.Add(
                new(
                    Severity.Bad,
                    "This machine has no address that a peer could be told: no network is up, or a filter takes all out."
                )
            );

        foreach (var nat in facts.Nats)
            Look(nat, findings);

        if (!isOut && facts.Nats.Count > 0)
            findings.Add(
                relays.Length > 0
                    ? new(
                        Severity.Notice,
                        "No STUN server answered, but a relay works: UDP to the outside is blocked, or the STUN servers are down."
                    )
                    : new(
                        Severity.Bad,
                        "No STUN server answered: a firewall blocks UDP, or the servers are down. A TURN server over TLS on port 443 passes most firewalls."
                    )
            );

        foreach (var relay in facts.Relays)
            findings.Add(Look(relay));

        if (isOut && !isFree && relays.Length == 0)
            findings.Add(
                new(
                    Severity.Bad,
                    facts.Relays.Count == 0
                        ? "Peers behind such a NAT too, or behind a strict one, are reached by a TURN server only, and none was given (--turn)."
                        : "Peers behind such a NAT too, or behind a strict one, are reached by a TURN server only, and none works."
                )
            );
        else if (isOut && facts.Relays.Count == 0)
            findings.Add(
                new(
                    Severity.Notice,
                    "No TURN server was given (--turn). Without one, peers behind symmetric NATs and in networks without UDP are not reached."
                )
            );

        if (isFree && relays.Length > 0)
            return new(true, "Good: most peers are met directly, and the rest by a relay.", findings);
        if (relays.Length > 0)
            return new(true, "Works, by relays mostly: calls go through the TURN server.", findings);
        if (isFree)
            return new(true, "Works with most peers, and with none that only a relay reaches.", findings);
        return new(
            false,
            isOut
                ? "Limited: only peers that are easy to reach are reached."
                : "Does not work: nothing from here reaches the outside.",
            findings
        );
    }

    private static void Look(NatReport nat, List<Finding> findings)
    {
        var family = nat.AddressFamily == AddressFamily.InterNetwork ? "IPv4" : "IPv6";

        foreach (var server in nat.Servers.Where(s => s.Error is not null))
            findings.Add(
                new(
                    Severity.Notice,
                    server.Address is null
                        ? $"{server.Url}: {server.Error}. Is the name right, and does DNS work here?"
                        : $"{server.Url} ({server.Address}): {server.Error}."
                )
            );

        switch (nat.Mapping)
        {
            case NatMapping.None:
                findings.Add(
                    nat.Filtering is NatFiltering.Unknown or NatFiltering.EndpointIndependent
                        ? new(Severity.Good, $"{family}: the address is public; no NAT is in the way.")
                        : new(
                            Severity.Good,
                            $"{family}: the address is public, and a firewall lets in only who was called. ICE calls first, so this does no harm."
                        )
                );
                break;
            case NatMapping.EndpointIndependent:
                findings.Add(
                    new(
                        Severity.Good,
                        $"{family}: a NAT that keeps one outside port for all peers ({Cone(nat.Filtering)}); direct ways to most peers."
                    )
                );
                break;
            case NatMapping.AddressDependent or NatMapping.AddressAndPortDependent:
                findings.Add(
                    new(
                        Severity.Notice,
                        $"{family}: a symmetric NAT: another outside port for each peer, so what STUN tells is of no use to peers behind strict NATs. Mobile networks and companies have such."
                    )
                );
                break;
            case NatMapping.Unknown when nat.Servers.Any(s => s.Mapped is not null):
                findings.Add(
                    new(
                        Severity.Good,
                        $"{family}: a NAT; which kind, one server without RFC 5780 cannot tell. Give another with --stun."
                    )
                );
                break;
        }

        if (nat.Hairpins == false)
            findings.Add(
                new(
                    Severity.Notice,
                    $"{family}: two behind this NAT do not reach each other by its outside address; in one network they meet by their inner ones."
                )
            );
    }

    private static Finding Look(RelayFacts relay) =>
        relay switch
        {
            { RoundTrip: { } there } => new(
                Severity.Good,
                $"{relay.Url} works: an address after {Ms(relay.Allocated)}, a round trip between two peers by it of {Ms(there)}."
            ),
            { Relayed: not null } => new(
                Severity.Bad,
                $"{relay.Url} gave {relay.Relayed}, but nothing passes by it: {relay.Error}. Its relayed ports are closed by a firewall, or it has a private address behind a NAT and was not told the public one."
            ),
            { ErrorCode: 401 } => new(
                Severity.Bad,
                $"{relay.Url} refuses the name or password (401). Credentials that a web service hands out expire: the number in the name is until when, in Unix time."
            ),
            { ErrorCode: 403 } => new(Severity.Bad, $"{relay.Url} forbids this (403): {relay.Error}."),
            { ErrorCode: 486 } => new(
                Severity.Bad,
                $"{relay.Url} has no more room for this user (486): too many calls at once, or ones that were not closed."
            ),
            { ErrorCode: 508 } => new(Severity.Bad, $"{relay.Url} has no ports or addresses left (508)."),
            { ErrorCode: 701 } => new(Severity.Bad, $"{relay.Url} is not reached: {relay.Error}. {Hint(relay.Url)}"),
            { ErrorCode: 0 } => new(
                Severity.Bad,
                $"{relay.Url}: {relay.Error ?? "no relayed address, and no reason"}. {Hint(relay.Url)}"
            ),
            _ => new(Severity.Bad, $"{relay.Url} refuses with {relay.ErrorCode}: {relay.Error}."),
        };

    private static string Hint(string url) =>
        url.StartsWith("turns:", StringComparison.OrdinalIgnoreCase)
            ? "Its certificate must be one this machine trusts, for the name in the URL."
        : url.Contains("transport=tcp", StringComparison.OrdinalIgnoreCase)
            ? "A firewall blocks the port, or nobody listens on it."
        : "A firewall blocks UDP to it, or nobody listens there: try ?transport=tcp, and turns: on port 443.";

    private static string Cone(NatFiltering filtering) =>
        filtering switch
        {
            NatFiltering.EndpointIndependent => "full cone",
            NatFiltering.AddressDependent => "restricted cone",
            NatFiltering.AddressAndPortDependent => "port-restricted cone",
            _ => "a cone",
        };

    public static string Ms(TimeSpan? time) =>
        time is { } t ? t.TotalMilliseconds.ToString("0.0", CultureInfo.InvariantCulture) + " ms" : "–";
}
