using System.Globalization;
using System.Text;

namespace Hybrid.WebRtc.Benchmarks.Plots;

/// <summary>A drawing, written by hand. Its colours are of middle lightness and it has no background, so that it reads on white and on black.</summary>
internal sealed class Svg(int width, int height)
{
    public const string Ink = "#7c8594";

    /// <summary>One a series, told apart by lightness too.</summary>
    public static readonly string[] Colours = ["#3b82f6", "#e07b12", "#1f9d63", "#e0484f", "#8b5cf6", "#7c8594"];

    private readonly StringBuilder _body = new();

    public int Width => width;

    public int Height => height;

    public void Line(
        double x1,
        double y1,
        double x2,
        double y2,
        string colour = Ink,
        double opacity = 1,
        string dash = ""
    )
    {
        var dashes = dash == "" ? "" : $" stroke-dasharray=\"{dash}\"";
        Add(
            $"<line x1=\"{N(x1)}\" y1=\"{N(y1)}\" x2=\"{N(x2)}\" y2=\"{N(y2)}\" stroke=\"{colour}\" stroke-opacity=\"{N(opacity)}\"{dashes}/>"
        );
    }

    /// <param name="anchor">start, middle or end.</param>
    public void Text(
        double x,
        double y,
        string text,
        string anchor = "start",
        string colour = Ink,
        int size = 13,
        bool bold = false
    )
    {
        var weight = bold ? " font-weight=\"600\"" : "";
        Add(
            $"<text x=\"{N(x)}\" y=\"{N(y)}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{colour}\"{weight}>{Escape(text)}</text>"
        );
    }

    /// <summary>A line through points, each with a dot.</summary>
    public void Path(IReadOnlyList<(double X, double Y)> points, string colour)
    {
        var list = string.Join(' ', points.Select(p => $"{N(p.X)},{N(p.Y)}"));
        Add(
            $"<polyline points=\"{list}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>"
        );
        foreach (var (x, y) in points)
            Add($"<circle cx=\"{N(x)}\" cy=\"{N(y)}\" r=\"3.5\" fill=\"{colour}\"/>");
    }

    public void Bar(double x, double y, double w, double h, string colour) =>
        Add($"<rect x=\"{N(x)}\" y=\"{N(y)}\" width=\"{N(w)}\" height=\"{N(h)}\" fill=\"{colour}\"/>");

    public string Finish(string title)
    {
        var open =
            $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" "
            + "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\">";
        return $"{open}\n<title>{Escape(title)}</title>\n{_body}</svg>\n";
    }

    private void Add(string element) => _body.Append(element).Append('\n');

    private static string N(double value) => Math.Round(value, 1).ToString("0.#", CultureInfo.InvariantCulture);

    private static string Escape(string text) =>
        text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal);
}
