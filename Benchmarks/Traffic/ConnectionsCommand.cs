using System.CommandLine;
using System.Runtime;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>Many idle connections: the memory that each holds, and the processor time that all of them take while nothing is said.</summary>
internal static class ConnectionsCommand
{
    /// <summary>Set up at once: more only makes them wait for each other.</summary>
    private const int Lanes = 8;

    public static Command Create()
    {
        var count = Options.Within("--count", "Connections (RTCPeerConnection); two make a pair.", 1000, 2, 20_000);
        var seconds = Options.Seconds(10);
        var port = Options.Port();
        var command = new Command("connections", "Idle connections: memory and processor time of each.")
        {
            count,
            seconds,
            port,
        };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var options = arguments.ToSetting(port).ToOptions();
                var pairs = arguments.GetValue(count) / 2;
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
                limit.CancelAfter(arguments.Time(seconds) + (6 * Run.Stall) + TimeSpan.FromMilliseconds(50L * pairs));

                // What the process has once, it has before the baseline.
                await using (await Pair.ConnectAsync(options, new RTCDataChannelInit(), limit.Token)) { }
                var (rssBefore, heapBefore) = await SettledAsync(limit.Token);

                var all = await OpenAsync(options, pairs, limit.Token);
                var (rss, heap) = await SettledAsync(limit.Token);

                await Console.Error.WriteLineAsync("idle");
                await CompiledAsync(limit.Token);
                var cost = Cost.Start();
                await Task.Delay(arguments.Time(seconds), limit.Token);
                var (wall, cpu) = cost();

                await Console.Error.WriteLineAsync("closing");
                await Task.WhenAll(all.Select(pair => pair.DisposeAsync().AsTask()));

                var connections = 2 * pairs;
                var percent = 100 * cpu / wall;
                return new Report("connections")
                    .With("connections", "connections (RTCPeerConnection), both ends here", connections)
                    .With("rssKbPerConnection", "RSS kB a connection", (rss - rssBefore) / connections)
                    .With("rssKbPerPair", "RSS kB a pair", (rss - rssBefore) / pairs)
                    .With("heapKbPerConnection", "of that on the managed heap, kB", (heap - heapBefore) / connections)
                    .With("idleCpuPercent", "idle CPU of all, % of a core", percent)
                    .With("idleCpuPercentPerConnection", "idle CPU a connection, % of a core", percent / connections)
                    .With("baselineRssMb", "before, RSS MB", rssBefore / 1024)
                    .With("rssMb", "with all open, RSS MB", rss / 1024)
                    .Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    private static async Task<List<Pair>> OpenAsync(WebRtcOptions options, int pairs, CancellationToken stop)
    {
        var all = new List<Pair>(pairs);
        var begun = 0;
        var lanes = Enumerable
            .Range(0, Lanes)
            .Select(_ =>
                Task.Run(
                    async () =>
                    {
                        while (Interlocked.Increment(ref begun) <= pairs)
                        {
                            var pair = await Pair.ConnectAsync(options, new RTCDataChannelInit(), stop);
                            int open;
                            lock (all)
                            {
                                all.Add(pair);
                                open = all.Count;
                            }

                            if (open % 100 == 0 || open == pairs)
                                await Console.Error.WriteLineAsync($"{open} of {pairs} pairs are open");
                        }
                    },
                    stop
                )
            );
        await Task.WhenAll(lanes);
        return all;
    }

    /// <summary>Kilobytes, resident and on the heap, once the handshakes' garbage has gone.</summary>
    /// <summary>Waits, for half a minute at most, until the runtime compiles nothing any more: that is no cost of idling.</summary>
    private static async Task CompiledAsync(CancellationToken stop)
    {
        for (
            var (second, before) = (0, -1L);
            second < 30 && JitInfo.GetCompiledMethodCount() is var now && now != before;
            second++
        )
        {
            before = now;
            await Task.Delay(1000, stop);
        }
    }

    private static async Task<(double Rss, double Heap)> SettledAsync(CancellationToken stop)
    {
        // Timers of the set-up run out, caches of the pool are trimmed, finalizers run.
        for (var round = 0; round < 4; round++)
        {
            await Task.Delay(500, stop);
            GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
            GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }

        return (Cost.RssKb, GC.GetTotalMemory(forceFullCollection: true) / 1024.0);
    }
}
