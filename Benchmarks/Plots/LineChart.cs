namespace Hybrid.WebRtc.Benchmarks.Plots;

/// <summary>An axis: what its ticks are, and whether equal distances are equal ratios.</summary>
internal sealed record Axis(string Label, double[] Ticks, bool IsLogarithmic)
{
    /// <summary>Where a value lies between the first tick (0) and the last (1).</summary>
    public double Place(double value)
    {
        var (low, high) = (Ticks[0], Ticks[^1]);
        value = Math.Clamp(value, low, high);
        return IsLogarithmic ? Math.Log(value / low) / Math.Log(high / low) : (value - low) / (high - low);
    }
}

/// <summary>Lines over two axes, each named at its right end.</summary>
internal sealed class LineChart(string title, Axis across, Axis up)
{
    private const int Width = 760;
    private const int Height = 400;
    private const int Left = 70;
    private const int Right = 190;
    private const int Top = 46;
    private const int Bottom = 56;

    private readonly List<(string Name, IReadOnlyList<(double X, double Y)> Points)> _lines = [];
    private readonly List<(string Name, double Y)> _marks = [];

    public LineChart With(string name, IEnumerable<(double X, double Y)> points)
    {
        _lines.Add((name, [.. points]));
        return this;
    }

    /// <summary>A dashed line at one height.</summary>
    public LineChart Mark(string name, double y)
    {
        _marks.Add((name, y));
        return this;
    }

    public string Draw()
    {
        var svg = new Svg(Width, Height);
        svg.Text(Left, 24, title, size: 15, bold: true);

        foreach (var tick in up.Ticks)
        {
            svg.Line(Left, Y(tick), Width - Right, Y(tick), opacity: tick == up.Ticks[0] ? 1 : 0.25);
            svg.Text(Left - 8, Y(tick) + 4, Report.Digits(tick), "end");
        }

        foreach (var tick in across.Ticks)
            svg.Text(X(tick), Height - Bottom + 20, Report.Digits(tick), "middle");
        svg.Text((Left + Width - Right) / 2.0, Height - 12, across.Label, "middle");
        svg.Text(Left, Top - 8, up.Label, "start", size: 12);

        var labels = new List<(string Name, string Colour, double Y)>();
        foreach (var (name, y) in _marks)
        {
            svg.Line(Left, Y(y), Width - Right, Y(y), Svg.Ink, dash: "6 4");
            labels.Add((name, Svg.Ink, Y(y)));
        }

        for (var i = 0; i < _lines.Count; i++)
        {
            var colour = Svg.Colours[i];
            svg.Path([.. _lines[i].Points.Select(p => (X(p.X), Y(p.Y)))], colour);
            labels.Add((_lines[i].Name, colour, Y(_lines[i].Points[^1].Y)));
        }

        // Names that would lie on each other move apart, downwards.
        var free = double.MinValue;
        foreach (var (name, colour, y) in labels.OrderBy(l => l.Y))
        {
            var at = Math.Max(y, free);
            svg.Text(Width - Right + 12, at + 4, name, colour: colour, bold: true);
            free = at + 17;
        }

        return svg.Finish(title);
    }

    private double X(double value) => Left + (across.Place(value) * (Width - Right - Left));

    private double Y(double value) => Height - Bottom - (up.Place(value) * (Height - Bottom - Top));
}
