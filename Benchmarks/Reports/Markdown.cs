using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace Hybrid.WebRtc.Benchmarks.Reports;

/// <summary>The tables of docs/Performance.md, ready to be pasted.</summary>
internal static class Markdown
{
    public static string Of(IReadOnlyDictionary<string, Measurement> all)
    {
        var text = new StringBuilder();
        text.Append(Summary(all));
        if (all.TryGetValue(AllCommand.Ceiling, out var ceiling))
            text.Append(Parts(ceiling));
        if (all.TryGetValue(AllCommand.Curve, out var curve))
            text.Append(Curve(curve));
        if (all.TryGetValue(AllCommand.Step, out var step))
            text.Append(Steps(step));
        return text.ToString();
    }

    private static StringBuilder Summary(IReadOnlyDictionary<string, Measurement> all)
    {
        var text = new StringBuilder("| what | measured | command |\n|---|---|---|\n");

        foreach (var (command, m) in all)
        {
            var (what, measured) = Row(command, m);
            if (what != "")
                text.Append(CultureInfo.InvariantCulture, $"| {what} | {measured} | `bench {command}` |\n");
        }

        return text.Append('\n');
    }

    private static (string What, string Measured) Row(string command, Measurement m) =>
        command switch
        {
            AllCommand.Ceiling or AllCommand.PlatformCeiling => (
                command == AllCommand.Ceiling ? "the ceiling" : "the ceiling with the platform's ciphers",
                $"{N(m["mbPerSecond"])} MB/s ({N(m["minMbPerSecond"])} to {N(m["bestMbPerSecond"])}), "
                    + $"{N(m["cpuSecondsPerGb"])} CPU s a GB; plain `Socket` {N(m["plainMbPerSecond"])} MB/s, "
                    + $"{N(m["plainCpuSecondsPerGb"])} CPU s a GB"
            ),
            AllCommand.DataChannel => Bulk("one data channel, 64 KiB messages, reliable and ordered", m),
            AllCommand.Portable => Bulk("the same through the portable port", m),
            AllCommand.Platform => Bulk("the same with the platform's ciphers", m),
            AllCommand.Unordered => Bulk("the same unordered", m),
            AllCommand.Small => (
                "100-byte messages",
                $"{m["messagesPerSecond"].ToString("N0", CultureInfo.InvariantCulture)} a second, "
                    + $"{N(m["cpuMicrosecondsPerMessage"])} CPU µs each"
            ),
            AllCommand.Latency => (
                "100-byte echo",
                $"p50 {N(m["p50Microseconds"])} µs, p99 {N(m["p99Microseconds"])} µs"
            ),
            AllCommand.SetUp => (
                "a pair, from nothing to an open channel",
                $"{N(m["openMilliseconds"])} ms; {N(m["setupsPerSecond"])} a second one at a time, "
                    + $"{N(m["parallelSetupsPerSecond"])} with {N(m["parallel"])} at once; "
                    + $"the first in a process {N(m["firstOpenMilliseconds"])} ms"
            ),
            AllCommand.Handshake => (
                "a DTLS handshake, CPU of both ends",
                $"1.2 with P-256 {N(m["p256MicrosecondsPerPair"])} µs, with X25519 {N(m["x25519MicrosecondsPerPair"])} µs; "
                    + $"1.3 with X25519 {N(m["classicalMicrosecondsPerPair"])} µs, "
                    + $"with X25519MLKEM768 {N(m["hybridMicrosecondsPerPair"])} µs; a pair of connections on loopback opens in "
                    + $"{N(m["setUpDtls12Milliseconds"])} ms with 1.2, {N(m["setUpDtls13Milliseconds"])} ms with 1.3"
            ),
            AllCommand.Connections => (
                $"{N(m["connections"])} idle connections",
                $"{N(m["rssKbPerConnection"])} kB RSS each ({N(m["rssKbPerPair"])} a pair), "
                    + $"idle CPU of all {N(m["idleCpuPercent"])} % of a core"
            ),
            _ => ("", ""),
        };

    private static (string, string) Bulk(string what, Measurement m) =>
        (
            what,
            $"{N(m["mbPerSecond"])} MB/s, {N(m["cpuSecondsPerGb"])} CPU s a GB, "
                + $"{N(100 * m["ratioToCeiling"])} % of the ceiling ({m.Figures["ceiling"]})"
        );

    private static StringBuilder Parts(Measurement ceiling)
    {
        var text = new StringBuilder("| of a datagram, ns, both ends | GSO/GRO | plain `Socket` |\n|---|---|---|\n");
        foreach (
            var (key, label) in ((string, string)[])
                [
                    ("makeNanoseconds", "copy, CRC32c, seal"),
                    ("sendNanoseconds", "send"),
                    ("receiveNanoseconds", "receive"),
                    ("takeNanoseconds", "open, CRC32c, copy"),
                    ("acknowledgeNanoseconds", "acknowledgements"),
                    ("nanosecondsPerDatagram", "all"),
                ]
        )
        {
            var plain = "plain" + char.ToUpperInvariant(key[0]) + key[1..];
            text.Append(CultureInfo.InvariantCulture, $"| {label} | {N(ceiling[key])} | {N(ceiling[plain])} |\n");
        }

        return text.Append('\n');
    }

    /// <summary>A table a link: a row for each round trip, a column for each loss, goodput in Mbit/s.</summary>
    private static StringBuilder Curve(Measurement curve)
    {
        var text = new StringBuilder();

        foreach (var link in curve.Rows("cells").GroupBy(cell => D(cell, "linkMbitPerSecond")))
        {
            var losses = link.Select(cell => D(cell, "lossPercent")).Distinct().ToList();
            text.Append(CultureInfo.InvariantCulture, $"| {N(link.Key)} Mbit/s |");
            foreach (var loss in losses)
                text.Append(CultureInfo.InvariantCulture, $" {N(loss)} % loss |");
            text.Append("\n|---|").Append(string.Concat(losses.Select(_ => "---|"))).Append('\n');

            foreach (var roundTrip in link.GroupBy(cell => D(cell, "rttMilliseconds")))
            {
                text.Append(CultureInfo.InvariantCulture, $"| {N(roundTrip.Key)} ms |");
                foreach (var cell in roundTrip)
                    text.Append(CultureInfo.InvariantCulture, $" {N(D(cell, "goodputMbitPerSecond"))} |");
                text.Append('\n');
            }

            text.Append('\n');
        }

        text.Append("| two flows | first | second | the larger one's part |\n|---|---|---|---|\n");
        foreach (var row in curve.Rows("sharing"))
        {
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {N(D(row, "linkMbitPerSecond"))} Mbit/s, {N(D(row, "rttMilliseconds"))} ms, {N(D(row, "lossPercent"))} % | "
            );
            text.Append(
                CultureInfo.InvariantCulture,
                $"{N(D(row, "firstMbitPerSecond"))} | {N(D(row, "secondMbitPerSecond"))} | {N(100 * D(row, "largerShare"))} % |\n"
            );
        }

        return text.Append('\n');
    }

    private static StringBuilder Steps(Measurement step)
    {
        var text = new StringBuilder("| step | ns | bytes allocated |\n|---|---|---|\n");
        foreach (var row in step.Rows("steps"))
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {row["what"]} | {N(D(row, "nanoseconds"))} | {N(D(row, "allocatedBytes"))} |\n"
            );
        return text;
    }

    public static double D(JsonObject row, string key) => row[key]?.GetValue<double>() ?? 0;

    /// <summary>Three digits that count.</summary>
    public static string N(double value)
    {
        if (value == 0)
            return "0";
        var decimals = Math.Clamp(2 - (int)Math.Floor(Math.Log10(Math.Abs(value))), 0, 4);
        return Math.Round(value, decimals).ToString("0.####", CultureInfo.InvariantCulture);
    }
}
