using System.Globalization;
using System.Text;
using System.Text.Json;
using Spectre.Console;

namespace Hybrid.WebRtc.Benchmarks;

/// <summary>A named figure: its member in JSON, whose name ends in the unit, and what the table says.</summary>
internal readonly record struct Figure(string Key, string Label, double Value, string? Text = null)
{
    /// <summary>In a table.</summary>
    public string Shown => Text ?? Report.Digits(Value);

    /// <summary>In JSON.</summary>
    public string Json => Text is null ? Report.Digits(Value) : JsonSerializer.Serialize(Text);
}

/// <summary>One scenario's figures, as a table for people or one line of JSON for programs.</summary>
internal sealed class Report(string scenario)
{
    private readonly List<(string Key, string Label, string Shown, string Json)> _figures = [];
    private readonly List<(string Key, string Title, IReadOnlyList<Figure[]> Rows)> _lists = [];

    /// <param name="key">The JSON member; its name ends in the unit.</param>
    /// <param name="label">What the table says.</param>
    /// <param name="value">Rounded to four digits when printed; null: it could not be measured, and is left out.</param>
    public Report With(string key, string label, double? value)
    {
        if (value is { } number)
            _figures.Add((key, label, Digits(number), Digits(number)));
        return this;
    }

    /// <summary>A setting that the figures depend on.</summary>
    public Report With(string key, string label, string value)
    {
        _figures.Add((key, label, value, JsonSerializer.Serialize(value)));
        return this;
    }

    /// <summary>Figures of one kind for several settings: an array in JSON, a table of its own for people.</summary>
    public Report With(string key, string title, IReadOnlyList<Figure[]> rows)
    {
        if (rows.Count > 0)
            _lists.Add((key, title, rows));
        return this;
    }

    /// <summary>The figures as one line of JSON.</summary>
    public string ToJson()
    {
        var line = new StringBuilder($"{{\"scenario\":\"{scenario}\"");
        foreach (var (key, _, _, json) in _figures)
            line.Append($",\"{key}\":{json}");

        foreach (var (key, _, rows) in _lists)
        {
            var objects = rows.Select(row => "{" + string.Join(',', row.Select(f => $"\"{f.Key}\":{f.Json}")) + "}");
            line.Append($",\"{key}\":[{string.Join(',', objects)}]");
        }

        return line.Append('}').ToString();
    }

    /// <summary>Prints the line of JSON, or the tables.</summary>
    public int Print(bool json)
    {
        if (json)
        {
            Console.WriteLine(ToJson());
            return 0;
        }

        // A file has no width, and lines that are wrapped for none cannot be read.
        if (Console.IsOutputRedirected)
            AnsiConsole.Profile.Width = 160;
        AnsiConsole.MarkupLineInterpolated($"[bold]{scenario}[/]");
        var table = Plain().HideHeaders().AddColumn("").AddColumn(new TableColumn("").RightAligned());
        foreach (var (_, label, shown, _) in _figures)
            table.AddRow(Markup.Escape(label), Markup.Escape(shown));
        if (_figures.Count > 0)
            AnsiConsole.Write(table);

        foreach (var (_, title, rows) in _lists)
        {
            AnsiConsole.MarkupLineInterpolated($"[italic]{title}[/]");
            var list = Plain();
            foreach (var figure in rows[0])
            {
                var column = new TableColumn(Markup.Escape(figure.Label)) { NoWrap = true };
                list.AddColumn(figure.Text is null ? column.RightAligned() : column);
            }

            foreach (var row in rows)
                list.AddRow([.. row.Select(f => f.Shown)]);
            AnsiConsole.Write(list);
        }

        return 0;
    }

    private static Table Plain() => new Table().Border(TableBorder.None);

    /// <summary>Four significant digits are more than two runs have in common.</summary>
    public static string Digits(double value)
    {
        if (!double.IsFinite(value) || value == 0)
            return "0";
        var decimals = Math.Clamp(3 - (int)Math.Floor(Math.Log10(Math.Abs(value))), 0, 6);
        return Math.Round(value, decimals).ToString("0.######", CultureInfo.InvariantCulture);
    }
}
