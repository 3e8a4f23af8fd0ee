namespace Hybrid.WebRtc.Benchmarks.Curve;

/// <summary>What one association makes of a path.</summary>
/// <param name="Path">The path.</param>
/// <param name="Mbit">Goodput once ten seconds have gone by: payload, Mbit/s, over the next five.</param>
/// <param name="FirstTenSecondsMbit">Goodput of the first ten seconds, set-up and slow start included.</param>
/// <param name="LongestGap">The longest time without a delivery after the first second, ms.</param>
internal sealed record Cell(PathOf Path, double Mbit, double FirstTenSecondsMbit, double LongestGap)
{
    public double LinkShare => Mbit / Path.Mbit;

    public Figure[] ToFigures() =>
        [
            new("linkMbitPerSecond", "link Mbit/s", Path.Mbit),
            new("rttMilliseconds", "RTT ms", Path.RttMilliseconds),
            new("lossPercent", "loss %", Path.LossPercent),
            new("goodputMbitPerSecond", "goodput Mbit/s", Mbit),
            new("linkShare", "of the link", LinkShare),
            new("firstTenSecondsMbitPerSecond", "first 10 s Mbit/s", FirstTenSecondsMbit),
            new("longestGapMilliseconds", "longest gap ms", LongestGap),
        ];
}

/// <summary>How two associations share a bottleneck over the second minute, the second beginning two seconds after the first.</summary>
internal sealed record Sharing(PathOf Path, double FirstMbit, double SecondMbit)
{
    /// <summary>The larger one's part: 0.5 is fair.</summary>
    public double LargerShare => Math.Max(FirstMbit, SecondMbit) / (FirstMbit + SecondMbit);

    public Figure[] ToFigures() =>
        [
            new("linkMbitPerSecond", "link Mbit/s", Path.Mbit),
            new("rttMilliseconds", "RTT ms", Path.RttMilliseconds),
            new("lossPercent", "loss %", Path.LossPercent),
            new("firstMbitPerSecond", "first Mbit/s", FirstMbit),
            new("secondMbitPerSecond", "second Mbit/s", SecondMbit),
            new("largerShare", "larger one's part", LargerShare),
        ];
}

/// <summary>Runs of the simulated path.</summary>
internal static class Curves
{
    private const int Second = 1_000_000;

    public static readonly double[] Links = [1000, 50];
    public static readonly int[] RoundTrips = [1, 20, 50, 100, 200];
    public static readonly double[] Losses = [0, 0.1, 1, 3];

    /// <summary>The paths that two flows share.</summary>
    public static readonly PathOf[] Shared = [new(50, 20, 0), new(50, 50, 0), new(50, 100, 0), new(50, 50, 0.1)];

    public static Cell Measure(PathOf path, int seed, int? window)
    {
        var simulation = new Simulation(path, 1, seed, window);
        var flow = simulation.Flows[0];
        simulation.Start(0);
        simulation.Run(Second);
        flow.LongestGap = 0;
        simulation.Run(9 * Second);
        var atTen = flow.Delivered;
        simulation.Run(5 * Second);
        var gap = Math.Max(flow.LongestGap, simulation.Now - flow.DeliveredAt);
        return new Cell(path, Mbit(flow.Delivered - atTen, 5), Mbit(atTen, 10), flow.HasFailed ? 15_000 : gap / 1000.0);
    }

    public static Sharing Share(PathOf path, int seed, int? window)
    {
        var simulation = new Simulation(path, 2, seed, window);
        simulation.Start(0);
        simulation.Run(2 * Second);
        simulation.Start(1);
        simulation.Run(58 * Second);
        var (first, second) = (simulation.Flows[0].Delivered, simulation.Flows[1].Delivered);
        simulation.Run(60 * Second);
        return new Sharing(
            path,
            Mbit(simulation.Flows[0].Delivered - first, 60),
            Mbit(simulation.Flows[1].Delivered - second, 60)
        );
    }

    private static double Mbit(long octets, double seconds) => octets * 8 / 1e6 / seconds;
}
