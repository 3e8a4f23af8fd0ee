using System.CommandLine;

namespace Hybrid.WebRtc.Benchmarks.Curve;

/// <summary>Goodput by round trip and loss over a simulated path, on virtual time: the same figures on every machine.</summary>
internal static class CurveCommand
{
    public static Command Create()
    {
        var quick = new Option<bool>("--quick") { Description = "The slow link, and two cells of the fast one." };
        var link = Options.Within("--link", "One link only, Mbit/s.", 0.0, 0.1, 10_000.0);
        var rtt = Options.Within("--rtt", "One round trip only, ms.", 0, 1, 2000);
        var loss = Options.Within("--loss", "One loss only, %.", -1.0, 0.0, 50.0);
        var seed = Options.Within("--seed", "Which datagrams are lost.", 1, 1, int.MaxValue);
        var window = Options.Within(
            "--window",
            "The receive window, octets. Default: the library's.",
            0,
            65_536,
            1 << 30
        );
        var command = new Command("curve", "Goodput by round trip and loss, simulated, on virtual time.")
        {
            quick,
            link,
            rtt,
            loss,
            seed,
            window,
        };

        command.SetAction(arguments =>
        {
            var one = arguments.GetValue(rtt) > 0 || arguments.GetValue(loss) >= 0 || arguments.GetValue(link) > 0;
            var paths = Paths(
                    arguments.GetValue(link) is > 0 and var mbit ? [mbit] : Curves.Links,
                    arguments.GetValue(rtt) is > 0 and var milliseconds ? [milliseconds] : Curves.RoundTrips,
                    arguments.GetValue(loss) is >= 0 and var percent ? [percent] : Curves.Losses
                )
                .Where(path => !arguments.GetValue(quick) || IsQuick(path));

            int? octets = arguments.GetValue(window) is > 0 and var given ? given : null;
            var cells = Measure(paths, arguments.GetValue(seed), octets);
            var sharing = one
                ? []
                : Curves.Shared.Select(path => Curves.Share(path, arguments.GetValue(seed), octets)).ToList();
            return Report(cells, sharing).Print(arguments.GetValue(Options.Json));
        });
        return command;
    }

    private static Report Report(IReadOnlyList<Cell> cells, IReadOnlyList<Sharing> sharing) =>
        new Report("curve")
            .With("cells", "one association", [.. cells.Select(cell => cell.ToFigures())])
            .With("sharing", "two associations, from 20 s to 60 s", [.. sharing.Select(s => s.ToFigures())]);

    private static List<Cell> Measure(IEnumerable<PathOf> paths, int seed, int? window)
    {
        var cells = new List<Cell>();
        foreach (var path in paths)
        {
            cells.Add(Curves.Measure(path, seed, window));
            Console.Error.WriteLine(
                $"{path.Mbit} Mbit/s, {path.RttMilliseconds} ms, {path.LossPercent} %: {cells[^1].Mbit:F1} Mbit/s"
            );
        }

        return cells;
    }

    private static IEnumerable<PathOf> Paths(double[] links, int[] roundTrips, double[] losses) =>
        from link in links
        from roundTrip in roundTrips
        from loss in losses
        select new PathOf(link, roundTrip, loss);

    private static bool IsQuick(PathOf path) =>
        path.Mbit < 1000 || (path.RttMilliseconds == 50 && path.LossPercent is 0 or 0.1);
}
