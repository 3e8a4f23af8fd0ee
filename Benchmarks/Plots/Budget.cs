using Hybrid.WebRtc.Benchmarks.Reports;

namespace Hybrid.WebRtc.Benchmarks.Plots;

/// <summary>Where the time of a datagram goes, the processor time of both ends together: a bar for the ceiling, one for a data channel.</summary>
internal static class Budget
{
    private const int Width = 760;
    private const int Left = 120;
    private const int BarHeight = 40;

    private static readonly string[] _parts =
    [
        "kernel: send, receive",
        "AES-128-GCM",
        "CRC32c, copies",
        "acknowledgements",
        "core: steps of all layers",
        "loop, facade, GC, waking",
    ];

    public static string Draw(Measurement ceiling, Measurement channel, Measurement step)
    {
        const string title = "Time of a datagram, both ends, nanoseconds of processor time";
        (string Name, double[] Parts)[] bars =
        [
            ("ceiling", OfCeiling(ceiling)),
            ("data channel", OfChannel(ceiling, channel, step)),
        ];
        var most = bars.Max(bar => bar.Parts.Sum());
        var scale = (Width - Left - 90) / most;
        var svg = new Svg(Width, 250);
        svg.Text(16, 24, title, size: 15, bold: true);

        for (var i = 0; i < bars.Length; i++)
        {
            var y = 46 + (i * (BarHeight + 18));
            svg.Text(Left - 10, y + 25, bars[i].Name, "end");
            var x = (double)Left;

            for (var part = 0; part < _parts.Length; part++)
            {
                var wide = bars[i].Parts[part] * scale;
                svg.Bar(x, y, wide, BarHeight, Svg.Colours[part]);
                if (wide > 36)
                    svg.Text(x + (wide / 2), y + 25, $"{bars[i].Parts[part]:F0}", "middle", "#ffffff", 12, bold: true);
                x += wide;
            }

            svg.Text(x + 8, y + 25, $"{bars[i].Parts.Sum():F0} ns", bold: true);
        }

        for (var part = 0; part < _parts.Length; part++)
        {
            var (column, row) = (part % 3, part / 3);
            var (x, y) = (Left + (column * 205), 182 + (row * 28));
            svg.Bar(x, y, 12, 12, Svg.Colours[part]);
            svg.Text(x + 18, y + 11, _parts[part]);
        }

        return svg.Finish(title);
    }

    /// <summary>The bytes' work as it was measured alone, once at each end; the kernel's and the acknowledgements' as in the pipe.</summary>
    private static double[] OfCeiling(Measurement m) =>
        [
            m["sendNanoseconds"] + m["receiveNanoseconds"],
            m["sealNanoseconds"] + m["openNanoseconds"],
            2 * (m["crcNanoseconds"] + m["copyNanoseconds"]),
            m["acknowledgeNanoseconds"],
            0,
            0,
        ];

    /// <summary>Kernel and bytes' work are those of the ceiling; the core's part is that of its steps without the bytes' work; the rest is what is left of all.</summary>
    private static double[] OfChannel(Measurement ceiling, Measurement channel, Measurement step)
    {
        const double batch = 32;
        var parts = OfCeiling(ceiling);
        var ns = step.Rows("steps").ToDictionary(r => (string)r["step"]!, r => Markdown.D(r, "nanoseconds"));
        // Of a SACK, all is the core's here, its record included: one answers a whole batch.
        parts[3] = (ns["peerMakeSack"] + ns["peerTakeSack"]) / batch;
        var taken = ceiling["openNanoseconds"] + ceiling["crcNanoseconds"] + ceiling["copyNanoseconds"];
        parts[4] = ns["peerSend"] + Math.Max(0, ns["peerReceive"] - taken);
        var payload = channel["datagramBytes"] - 65;
        parts[5] = Math.Max(0, (channel["cpuSecondsPerGb"] * payload) - parts.Sum());
        return parts;
    }
}
