using System.Diagnostics;
using System.Text.Json.Nodes;

namespace Hybrid.WebRtc.Benchmarks.Reports;

/// <summary>A scenario that was run, by its command line, and its figures: of several runs, the medians.</summary>
internal sealed record Measurement(string Command, JsonObject Figures)
{
    /// <summary>The figure of a name; 0 where it is missing.</summary>
    public double this[string key] => Figures[key]?.GetValue<double>() ?? 0;

    /// <summary>The rows of a list; none where it is missing.</summary>
    public IEnumerable<JsonObject> Rows(string key) => (Figures[key] as JsonArray ?? []).OfType<JsonObject>();

    /// <summary>One line of JSON, the command first.</summary>
    public string ToJson()
    {
        var line = new JsonObject { ["command"] = Command };
        foreach (var (key, value) in Figures)
            line[key] = value?.DeepClone();
        return line.ToJsonString();
    }

    public static Measurement Parse(string line)
    {
        var figures =
            JsonNode.Parse(line) as JsonObject ?? throw new FormatException($"This is no line of JSON: {line}");
        var command = (string?)figures["command"] ?? throw new FormatException("A line names no command.");
        figures.Remove("command");
        return new Measurement(command, figures);
    }

    /// <summary>Runs a scenario in processes of its own, so that no other has warmed or filled them.</summary>
    public static async Task<Measurement> RunAsync(string command, int runs, CancellationToken stop)
    {
        var results = new List<JsonObject>();

        for (var run = 0; run < runs; run++)
        {
            await Console.Error.WriteLineAsync($"{command} ({run + 1} of {runs})");
            results.Add(await RunOnceAsync(command, stop));
        }

        var median = (JsonObject)results[^1].DeepClone();
        foreach (var (key, value) in results[^1])
        {
            if (value is JsonValue number && number.TryGetValue<double>(out _))
                median[key] = Several.Median(results.Select(r => r[key]?.GetValue<double>() ?? 0));
        }

        return new Measurement(command, median);
    }

    private static async Task<JsonObject> RunOnceAsync(string command, CancellationToken stop)
    {
        var program = Environment.ProcessPath ?? "dotnet";
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        // `dotnet Benchmarks.dll` names dotnet; a program of its own names itself.
        if (System.IO.Path.GetFileNameWithoutExtension(program) == "dotnet")
            start.ArgumentList.Add(Environment.GetCommandLineArgs()[0]);
        foreach (var argument in command.Split(' '))
            start.ArgumentList.Add(argument);
        start.ArgumentList.Add("--json");

        using var process = Process.Start(start) ?? throw new InvalidOperationException($"{program} does not start.");

        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(stop);
            await process.WaitForExitAsync(stop);
            if (process.ExitCode != 0)
                throw new InvalidOperationException($"{command} ended with {process.ExitCode}: {output}");
            return JsonNode.Parse(output) as JsonObject
                ?? throw new InvalidOperationException($"{command} wrote no figures.");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
