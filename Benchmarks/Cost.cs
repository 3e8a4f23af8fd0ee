using System.Diagnostics;
using System.Globalization;

namespace Hybrid.WebRtc.Benchmarks;

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

    /// <summary>The memory that the process holds now, kB of 1,024 octets: the kernel's own count where there is one.</summary>
    public static double RssKb
    {
        get
        {
            if (!File.Exists("/proc/self/status"))
                return Environment.WorkingSet / 1024.0;

            var line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
            return double.Parse(
                line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
                CultureInfo.InvariantCulture
            );
        }
    }
}

/// <summary>The order statistics of several measurements.</summary>
internal static class Several
{
    /// <summary>The value that a part of the sorted values lies below.</summary>
    public static double At(IReadOnlyList<double> sorted, double part) =>
        sorted[(int)Math.Min(sorted.Count - 1, part * sorted.Count)];

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count % 2 == 1
            ? sorted[sorted.Count / 2]
            : (sorted[(sorted.Count / 2) - 1] + sorted[sorted.Count / 2]) / 2;
    }
}
