using System.CommandLine;
using System.Text.Json.Nodes;
using Hybrid.WebRtc.Benchmarks.Reports;
using static Hybrid.WebRtc.Benchmarks.Reports.Markdown;

namespace Hybrid.WebRtc.Benchmarks.Plots;

/// <summary>Draws what docs/Performance.md shows, out of the figures of `all --json`: tables and plots are of one run.</summary>
internal static class PlotsCommand
{
    public static Command Create()
    {
        var from = new Option<FileInfo>("--from")
        {
            Description = "Figures of an earlier `all --json`. Default: measures what the plots need.",
        };
        from.AcceptExistingOnly();
        var into = new Option<DirectoryInfo>("--out")
        {
            Description = "The folder of the drawings. Default: docs/plots.",
            DefaultValueFactory = _ => new DirectoryInfo(System.IO.Path.Combine("docs", "plots")),
        };
        var command = new Command("plots", "Draws docs/plots/*.svg.") { from, into };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var all = arguments.GetValue(from) is { } file
                    ? AllCommand.Read(file)
                    : await MeasureAsync(cancellation);
                var folder = arguments.GetValue(into)!;
                folder.Create();

                foreach (var (name, drawing) in Draw(all))
                {
                    var path = System.IO.Path.Combine(folder.FullName, name);
                    await File.WriteAllTextAsync(path, drawing, cancellation);
                    await Console.Error.WriteLineAsync(path);
                }

                return 0;
            }
        );
        return command;
    }

    private static async Task<IReadOnlyDictionary<string, Measurement>> MeasureAsync(CancellationToken stop)
    {
        var all = new Dictionary<string, Measurement>();
        foreach (
            var command in (string[])
                [
                    AllCommand.Ceiling,
                    AllCommand.PlatformCeiling,
                    AllCommand.DataChannel,
                    AllCommand.Curve,
                    AllCommand.Step,
                ]
        )
            all[command] = await Measurement.RunAsync(command, 1, stop);
        return all;
    }

    /// <summary>Every drawing that the figures suffice for.</summary>
    private static IEnumerable<(string Name, string Drawing)> Draw(IReadOnlyDictionary<string, Measurement> all)
    {
        all.TryGetValue(AllCommand.Ceiling, out var ceiling);
        all.TryGetValue(AllCommand.DataChannel, out var channel);

        if (all.TryGetValue(AllCommand.Curve, out var curve))
        {
            foreach (var link in curve.Rows("cells").GroupBy(cell => D(cell, "linkMbitPerSecond")))
                yield return ($"goodput-{link.Key:F0}.svg", Goodput(link.Key, link));
        }

        if (ceiling is not null && all.TryGetValue(AllCommand.PlatformCeiling, out var platform))
            yield return ("bursts.svg", Bursts(ceiling, platform, channel));

        if (ceiling is not null && channel is not null && all.TryGetValue(AllCommand.Step, out var step))
            yield return ("budget.svg", Budget.Draw(ceiling, channel, step));
    }

    private static string Goodput(double link, IEnumerable<JsonObject> cells)
    {
        double[] ticks = link > 100 ? [0.1, 1, 10, 100, 1000] : [0.1, 0.5, 1, 5, 10, 50];
        var chart = new LineChart(
            $"Goodput of one association on a {link:F0} Mbit/s link, by round trip and loss",
            new Axis("round trip, ms", [1, 20, 50, 100, 200], IsLogarithmic: false),
            new Axis("Mbit/s", ticks, IsLogarithmic: true)
        );
        foreach (var line in cells.GroupBy(cell => D(cell, "lossPercent")))
            chart.With(
                $"{N(line.Key)} % loss",
                line.Select(c => (D(c, "rttMilliseconds"), D(c, "goodputMbitPerSecond")))
            );
        return chart.Draw();
    }

    private static string Bursts(Measurement ceiling, Measurement platform, Measurement? channel)
    {
        var most = ceiling.Rows("sweep").Max(row => D(row, "bestMbPerSecond"));
        var top = Math.Ceiling(Math.Max(most, channel?["mbPerSecond"] ?? 0) / 200) * 200;
        var chart = new LineChart(
            "The ceiling by burst: one thread, both ends, no protocol",
            new Axis("datagrams of 1,200 octets a burst", [1, 4, 8, 16, 32, 54], IsLogarithmic: true),
            new Axis("MB/s", [.. Enumerable.Range(0, 5).Select(i => top * i / 4)], IsLogarithmic: false)
        )
            .With("GSO/GRO", Points(ceiling, "bestMbPerSecond"))
            .With("platform's ciphers", Points(platform, "bestMbPerSecond"))
            .With("plain Socket", Points(ceiling, "plainBestMbPerSecond"));
        return (channel is null ? chart : chart.Mark("one data channel", channel["mbPerSecond"])).Draw();

        static IEnumerable<(double, double)> Points(Measurement m, string key) =>
            m.Rows("sweep").Select(row => (D(row, "burst"), D(row, key)));
    }
}
