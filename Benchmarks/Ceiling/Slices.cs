using System.Diagnostics;

namespace Hybrid.WebRtc.Benchmarks.Ceiling;

/// <summary>A pipe's figures over several slices of time.</summary>
internal sealed record Ceilings(
    string Name,
    double Min,
    double Median,
    double Best,
    double CpuSecondsPerGb,
    Parts Cheapest,
    int Burst,
    int Payload
);

/// <summary>Runs pipes slice by slice: on a shared machine the median says what was to be had, the best what the machine can do.</summary>
internal static class Slices
{
    /// <summary>The burst that the ceiling is quoted for.</summary>
    public const int UsualBurst = 32;

    /// <summary>Many short ones: on a busy machine some have the processor to themselves.</summary>
    private const int Count = 75;

    /// <summary>The ceiling that a setting is compared with: that of its own port, ciphers and datagrams.</summary>
    public static Ceilings Measure(Setting setting, int datagram, TimeSpan time) =>
        Measure(
            setting.Portable || !Pipe.IsBatchingSupported ? PipeKind.Plain : PipeKind.Batched,
            setting,
            datagram,
            UsualBurst,
            Acknowledging.EverySecondPacket,
            time
        );

    public static Ceilings Measure(
        PipeKind kind,
        Setting setting,
        int datagram,
        int burst,
        Acknowledging acknowledging,
        TimeSpan time
    )
    {
        using var pipe = new Pipe(kind, setting, datagram, burst, acknowledging);
        var slice = time / (Count + 2);
        pipe.Run(slice + slice); // warm

        var speeds = new List<double>();
        var cheapest = new Parts(double.MaxValue, 0, 0, 0, 0);
        long octets = 0;
        var cost = Cost.Start();

        for (var i = 0; i < Count; i++)
        {
            var (datagrams, parts, wall) = pipe.Run(slice);
            speeds.Add(datagrams * pipe.Payload / 1e6 / wall.TotalSeconds);
            octets += datagrams * pipe.Payload;
            if (parts.Total < cheapest.Total)
                cheapest = parts;
        }

        var cpu = cost().Cpu;
        return new Ceilings(
            kind == PipeKind.Batched ? "GSO/GRO" : "plain Socket",
            speeds.Min(),
            Several.Median(speeds),
            speeds.Max(),
            cpu.TotalSeconds / (octets / 1e9),
            cheapest,
            pipe.Burst,
            pipe.Payload
        );
    }

    /// <summary>What a piece of work takes, nanoseconds: the best of several slices.</summary>
    public static double Best(Action work, int times = 2000, int slices = 15)
    {
        var best = double.MaxValue;
        for (var slice = 0; slice < slices; slice++)
        {
            var began = Stopwatch.GetTimestamp();
            for (var i = 0; i < times; i++)
                work();
            best = Math.Min(best, Stopwatch.GetElapsedTime(began).TotalNanoseconds / times);
        }

        return best;
    }
}
