using System.Net.Sockets;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>Shows what was found.</summary>
internal static class Report
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower) },
    };

    public static void Write(Facts facts, Verdict verdict)
    {
        var hosts = Titled("This machine's candidates", "protocol", "address", "port");
        foreach (var host in facts.Hosts)
            hosts.AddRow(Plain(host.Protocol), Plain(host.Address), Plain(host.Port));
        AnsiConsole.Write(hosts);

        var stun = Titled("STUN over UDP", "server", "address", "seen as", "round trip");
        foreach (var server in facts.Nats.SelectMany(n => n.Servers))
            stun.AddRow(
                Plain(server.Url),
                Plain(server.Address),
                Plain(server.Mapped?.ToString() ?? server.Error),
                Verdict.Ms(server.RoundTrip)
            );
        AnsiConsole.Write(stun);

        var nats = Titled("NAT", "family", "mapping", "filtering", "hairpins");
        foreach (var nat in facts.Nats.Where(n => n.Local is not null))
            nats.AddRow(
                nat.AddressFamily == AddressFamily.InterNetwork ? "IPv4" : "IPv6",
                Plain(nat.Mapping),
                Plain(nat.Filtering),
                nat.Hairpins is { } hairpins ? (hairpins ? "yes" : "no") : "–"
            );
        AnsiConsole.Write(nats);

        if (facts.Relays.Count > 0)
        {
            var relays = Titled("TURN", "server", "relayed address", "until it came", "round trip", "error");
            foreach (var relay in facts.Relays)
                relays.AddRow(
                    Plain(relay.Url),
                    Plain(relay.Relayed),
                    Verdict.Ms(relay.Allocated),
                    Verdict.Ms(relay.RoundTrip),
                    relay.RoundTrip is null ? Plain($"{relay.ErrorCode} {relay.Error}") : "–"
                );
            AnsiConsole.Write(relays);
        }

        foreach (var finding in verdict.Findings)
            AnsiConsole.MarkupLineInterpolated(
                finding.Severity switch
                {
                    Severity.Good => (FormattableString)$"[green]+[/] {finding.Text}",
                    Severity.Notice => $"[yellow]~[/] {finding.Text}",
                    _ => $"[red]![/] {finding.Text}",
                }
            );

        AnsiConsole.WriteLine();
        AnsiConsole.MarkupLineInterpolated(
            verdict.Works ? (FormattableString)$"[bold green]{verdict.Summary}[/]" : $"[bold red]{verdict.Summary}[/]"
        );
    }

    public static void WriteJson(Facts facts, Verdict verdict) =>
        Console.WriteLine(
            JsonSerializer.Serialize(
                new
                {
                    verdict.Works,
                    verdict.Summary,
                    verdict.Findings,
                    Hosts = facts.Hosts.Select(h => h.Candidate),
                    Nats = facts.Nats.Select(n => new
                    {
                        n.AddressFamily,
                        Local = n.Local?.ToString(),
                        n.Mapping,
                        n.Filtering,
                        n.Hairpins,
                        Servers = n.Servers.Select(s => new
                        {
                            s.Url,
                            Address = s.Address?.ToString(),
                            Mapped = s.Mapped?.ToString(),
                            RoundTripMilliseconds = s.RoundTrip?.TotalMilliseconds,
                            s.HasBehaviourDiscovery,
                            s.Error,
                        }),
                    }),
                    Relays = facts.Relays.Select(r => new
                    {
                        r.Url,
                        r.Relayed,
                        AllocatedMilliseconds = r.Allocated?.TotalMilliseconds,
                        RoundTripMilliseconds = r.RoundTrip?.TotalMilliseconds,
                        r.ErrorCode,
                        r.Error,
                    }),
                },
                Format
            )
        );

    private static Table Titled(string title, params string[] columns)
    {
        var table = new Table { Border = TableBorder.Rounded, Title = new TableTitle(title) };
        foreach (var column in columns)
            table.AddColumn(column);
        return table;
    }

    private static string Plain(object? value) => Markup.Escape(value?.ToString() ?? "–");
}
