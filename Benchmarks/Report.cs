using System.Diagnostics;
using System.Globalization;
using System.Text;
using Spectre.Console;

namespace Hybrid.WebRtc.Benchmarks;

/// <summary>One scenario's figures, as a table for people or one line of JSON for programs.</summary>
internal sealed class Report(string scenario)
{
    private readonly List<(string Key, string Label, double Value)> _figures = [];

    /// <param name="key">The JSON member; its name ends in the unit.</param>
    /// <param name="label">What the table says.</param>
    /// <param name="value">Rounded to four digits when printed.</param>
    public Report With(string key, string label, double value)
    {
        _figures.Add((key, label, value));
        return this;
    }

    public void Print(bool json)
    {
        if (json)
        {
            var line = new StringBuilder($"{{\"scenario\":\"{scenario}\"");
            foreach (var (key, _, value) in _figures)
                line.Append($",\"{key}\":{Digits(value)}");
            Console.WriteLine(line.Append('}'));
            return;
        }

        var table = new Table()
            .Border(TableBorder.None)
            .HideHeaders()
            .AddColumn("")
            .AddColumn(new TableColumn("").RightAligned());
        foreach (var (_, label, value) in _figures)
            table.AddRow(label, Digits(value));
        AnsiConsole.MarkupLineInterpolated($"[bold]{scenario}[/]");
        AnsiConsole.Write(table);
    }

    /// <summary>Four significant digits are more than two runs have in common.</summary>
    private static string Digits(double value)
    {
        if (!double.IsFinite(value) || value == 0)
            return "0";
        var decimals = Math.Clamp(3 - (int)Math.Floor(Math.Log10(Math.Abs(value))), 0, 6);
        return Math.Round(value, decimals).ToString("0.######", CultureInfo.InvariantCulture);
    }
}

/// <summary>What a stretch of the process's life cost.</summary>
internal readonly record struct Cost(TimeSpan Wall, TimeSpan Cpu)
{
    /// <summary>Starts the clocks; call the result to read them.</summary>
    public static Func<Cost> Start()
    {
        var cpu = Environment.CpuUsage.TotalTime;
        var wall = Stopwatch.GetTimestamp();
        return () => new Cost(Stopwatch.GetElapsedTime(wall), Environment.CpuUsage.TotalTime - cpu);
    }

    /// <summary>The most memory that the process has held, megabytes.</summary>
    public static double PeakRssMb
    {
        get
        {
            using var process = Process.GetCurrentProcess();
            return process.PeakWorkingSet64 / 1e6;
        }
    }
}
