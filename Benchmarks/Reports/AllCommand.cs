using System.CommandLine;

namespace Hybrid.WebRtc.Benchmarks.Reports;

/// <summary>Every scenario, each in a process of its own: the figures that docs/Performance.md is made of.</summary>
internal static class AllCommand
{
    public const string Ceiling = "ceiling --sweep";
    public const string PlatformCeiling = "ceiling --sweep --ciphers platform";
    public const string DataChannel = "datachannel";
    public const string Portable = "datachannel --port portable";
    public const string Platform = "datachannel --ciphers platform";
    public const string Unordered = "datachannel --unordered";
    public const string Small = "small";
    public const string Latency = "latency";
    public const string SetUp = "setup";
    public const string Handshake = "handshake";
    public const string Connections = "connections --count 1000";
    public const string Curve = "curve";
    public const string Step = "step";

    /// <summary>In the order of the report. What is simulated or counted is the same in every run, so one will do.</summary>
    private static readonly (string Command, bool Repeats)[] _plan =
    [
        (Ceiling, true),
        (PlatformCeiling, true),
        (DataChannel, true),
        (Portable, true),
        (Platform, true),
        (Unordered, true),
        (Small, true),
        (Latency, true),
        (SetUp, true),
        (Handshake, true),
        (Connections, false),
        (Curve, false),
        (Step, false),
    ];

    public static Command Create()
    {
        var runs = Options.Within("--runs", "How often what varies is run; the figures are medians.", 3, 1, 99);
        var from = new Option<FileInfo>("--from")
        {
            Description = "Figures of an earlier `all --json`, to be printed anew.",
        };
        from.AcceptExistingOnly();
        var command = new Command("all", "Everything, as Markdown; with --json, a line of JSON each.") { runs, from };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var json = arguments.GetValue(Options.Json);
                var all = arguments.GetValue(from) is { } file
                    ? Read(file)
                    : await RunAsync(arguments.GetValue(runs), json, cancellation);
                if (!json)
                    Console.Write(Markdown.Of(all));
                return 0;
            }
        );
        return command;
    }

    /// <summary>The lines of a file, by their commands. Lines that are no JSON, such as a build's, are passed over.</summary>
    public static IReadOnlyDictionary<string, Measurement> Read(FileInfo file) =>
        File.ReadLines(file.FullName)
            .Where(line => line.StartsWith('{'))
            .Select(Measurement.Parse)
            .ToDictionary(m => m.Command);

    /// <summary>Runs the plan; each line is printed as soon as it is known, so that a long run that is ended keeps what it has.</summary>
    private static async Task<IReadOnlyDictionary<string, Measurement>> RunAsync(
        int runs,
        bool json,
        CancellationToken stop
    )
    {
        var all = new Dictionary<string, Measurement>();

        foreach (var (command, repeats) in _plan)
        {
            all[command] = await Measurement.RunAsync(command, repeats ? runs : 1, stop);
            if (json)
                Console.WriteLine(all[command].ToJson());
        }

        return all;
    }
}
