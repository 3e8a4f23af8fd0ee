using System.Collections.Concurrent;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>
/// A port that many connections share, and strangers who flood it: what the flood costs the process that is flooded, and what its connections
/// notice of it.
/// </summary>
internal static class FloodCommand
{
    /// <summary>Between two messages of a connection: as often as audio.</summary>
    private static readonly TimeSpan _pace = TimeSpan.FromMilliseconds(20);

    public static Command Create()
    {
        var rate = Options.Within("--rate", "Forged datagrams a second.", 100_000, 1, 10_000_000);
        var pairs = Options.Within("--pairs", "Connections on the port; their other ends are here, too.", 10, 1, 1_000);
        var seconds = Options.Seconds(5);
        var port = Options.Port();
        var loops = Options.Within("--loops", "Loops that carry the port.", 1, 1, 64);
        var kind = new Option<string>("--kind") { Description = "Only one kind of forged datagram." };
        kind.AcceptOnlyFromAmong(FloodSource.Kinds);
        var command = new Command("flood", "Forged datagrams at a port that many connections share.")
        {
            rate,
            pairs,
            seconds,
            port,
            loops,
            kind,
        };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                var options = arguments.ToSetting(port).ToOptions() with
                {
                    AddressFilter = a => a.Equals(IPAddress.Loopback),
                };
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
                limit.CancelAfter((4 * time) + (6 * Run.Stall));
                using var shared = WebRtcSharedPort.Open(0, options, arguments.GetValue(loops));
                var server = new WebRtcOptions { SharedPort = shared };
                var all = new List<Pair>();

                for (var i = 0; i < arguments.GetValue(pairs); i++)
                    all.Add(await Pair.ConnectAsync(options, server, new RTCDataChannelInit(), limit.Token));

                var source = new Source(shared.Port, all[0].Fragment, arguments.GetValue(kind));
                // Warm: the paths of a flood are compiled, and the buffers of the port are touched.
                await Task.WhenAll(
                    TalkAsync(all, time, limit.Token),
                    source.SendAsync(arguments.GetValue(rate), time, limit.Token)
                );
                await TalkAsync(all, Run.Warm, limit.Token);
                var calm = await MeasureAsync(() => TalkAsync(all, time, limit.Token));
                var lostBefore = KernelLost(shared.Port);
                var sent = 0L;
                var flood = await MeasureAsync(async () =>
                {
                    var flooding = source.SendAsync(
                        arguments.GetValue(rate),
                        time + TimeSpan.FromSeconds(1),
                        limit.Token
                    );
                    // Once it runs.
                    await Task.Delay(500, limit.Token);
                    var talked = await TalkAsync(all, time, limit.Token);
                    sent = await flooding;
                    return talked;
                });
                var lost = KernelLost(shared.Port) - lostBefore;
                await TalkAsync(all, TimeSpan.FromSeconds(0.5), limit.Token);
                var after = HeapKb();

                foreach (var pair in all)
                    await pair.DisposeAsync();

                return new Report("flood")
                    .With("connections", "connections on the port", all.Count)
                    .With("datagramsPerSecond", "forged datagrams/s that were sent", sent / (time.TotalSeconds + 1))
                    .With("lostInKernelPercent", "of them lost for want of room, %", 100.0 * lost / Math.Max(1, sent))
                    .With("calmCpuPercent", "CPU without, % of a core", calm.CpuPercent)
                    .With("floodCpuPercent", "CPU during the flood, % of a core", flood.CpuPercent)
                    .With("addedCpuPercent", "the flood's part, % of a core", flood.CpuPercent - calm.CpuPercent)
                    .With(
                        "allocatedBytesPerDatagram",
                        "bytes allocated a forged datagram",
                        Math.Max(0, flood.Allocated - calm.Allocated * flood.Seconds / calm.Seconds) / Math.Max(1, sent)
                    )
                    .With("heapGrowthKb", "the managed heap's growth, kB", after - calm.HeapKb)
                    .With("rssGrowthKb", "RSS growth, kB", flood.RssKb - calm.RssKb)
                    .With("calmP50Microseconds", "round trips without: half take less than, µs", calm.P50)
                    .With("calmP99Microseconds", "99 % take less than, µs", calm.P99)
                    .With("floodP50Microseconds", "during the flood: half take less than, µs", flood.P50)
                    .With("floodP99Microseconds", "99 % take less than, µs", flood.P99)
                    .With("floodMaxMicroseconds", "the longest, µs", flood.Max)
                    .Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    /// <summary>Every pair sends a small message every 20 ms, which comes back. The times of the round trips, microseconds, in ascending order.</summary>
    private static async Task<List<double>> TalkAsync(List<Pair> pairs, TimeSpan time, CancellationToken stop)
    {
        var trips = new ConcurrentQueue<double>();
        var sent = new long[pairs.Count];
        var subscriptions = new List<IDisposable>();

        for (var i = 0; i < pairs.Count; i++)
        {
            var (at, pair) = (i, pairs[i]);
            subscriptions.Add(pair.Bob.OnMessage.Subscribe(m => pair.Bob.Send(m.Data)));
            subscriptions.Add(
                pair.Alice.OnMessage.Subscribe(_ =>
                    trips.Enqueue(Stopwatch.GetElapsedTime(Volatile.Read(ref sent[at])).TotalMicroseconds)
                )
            );
        }

        var message = new byte[100];
        var rounds = 0;
        using var timer = new PeriodicTimer(_pace);

        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < time; rounds++)
        {
            for (var i = 0; i < pairs.Count; i++)
            {
                Volatile.Write(ref sent[i], Stopwatch.GetTimestamp());
                pairs[i].Alice.Send(message);
            }

            await timer.WaitForNextTickAsync(stop);
        }

        for (var waited = 0; trips.Count < rounds * pairs.Count; waited++)
        {
            if (waited > 1_000)
                throw new TimeoutException($"{trips.Count} of {rounds * pairs.Count} messages came back.");
            await Task.Delay(10, stop);
        }

        subscriptions.ForEach(s => s.Dispose());
        return [.. trips.Order()];
    }

    private static async Task<Measured> MeasureAsync(Func<Task<List<double>>> work)
    {
        var allocated = GC.GetTotalAllocatedBytes();
        var cost = Cost.Start();
        var trips = await work();
        var (wall, cpu) = cost();
        allocated = GC.GetTotalAllocatedBytes() - allocated;
        return new Measured(
            wall.TotalSeconds,
            100 * cpu / wall,
            allocated,
            HeapKb(),
            Cost.RssKb,
            Several.At(trips, 0.5),
            Several.At(trips, 0.99),
            trips[^1]
        );
    }

    private static double HeapKb() => GC.GetTotalMemory(forceFullCollection: true) / 1024.0;

    /// <summary>Datagrams that the kernel had no room for at this port, where it tells.</summary>
    private static long KernelLost(int port)
    {
        if (!File.Exists("/proc/net/udp"))
            return 0;

        var line = File.ReadLines("/proc/net/udp")
            .FirstOrDefault(l => l.Contains($"0100007F:{port:X4} ", StringComparison.Ordinal));
        return line is null
            ? 0
            : long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^1], CultureInfo.InvariantCulture);
    }

    private readonly record struct Measured(
        double Seconds,
        double CpuPercent,
        long Allocated,
        double HeapKb,
        double RssKb,
        double P50,
        double P99,
        double Max
    );

    /// <summary>The flood, in a process of its own.</summary>
    private sealed class Source(int port, string fragment, string? kind)
    {
        public async Task<long> SendAsync(int rate, TimeSpan time, CancellationToken stop)
        {
            var program = Environment.ProcessPath ?? "dotnet";
            var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };

            if (System.IO.Path.GetFileNameWithoutExtension(program) == "dotnet")
                start.ArgumentList.Add(Environment.GetCommandLineArgs()[0]);

            string[] arguments =
            [
                "flood-source",
                "--port",
                port.ToString(CultureInfo.InvariantCulture),
                "--rate",
                rate.ToString(CultureInfo.InvariantCulture),
                "--seconds",
                time.TotalSeconds.ToString(CultureInfo.InvariantCulture),
                "--fragment",
                fragment,
                .. kind is null ? Array.Empty<string>() : ["--kind", kind],
            ];

            foreach (var argument in arguments)
                start.ArgumentList.Add(argument);

            using var process =
                Process.Start(start) ?? throw new InvalidOperationException($"{program} does not start.");

            try
            {
                var output = await process.StandardOutput.ReadToEndAsync(stop);
                await process.WaitForExitAsync(stop);
                return long.Parse(output, CultureInfo.InvariantCulture);
            }
            finally
            {
                if (!process.HasExited)
                    process.Kill();
            }
        }
    }
}
