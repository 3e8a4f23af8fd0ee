using System.CommandLine;
using System.Diagnostics;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>New connections, from nothing to an open channel at both ends: one after the other, then several at once.</summary>
internal static class SetUpCommand
{
    public static Command Create()
    {
        var seconds = Options.Seconds(5);
        var parallel = Options.Within("--parallel", "How many are set up at once in the second half.", 8, 1, 1000);
        var port = Options.Port();
        var command = new Command("setup", "Connections, from nothing to an open channel.") { seconds, parallel, port };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                var options = arguments.ToSetting(port).ToOptions();
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
                limit.CancelAfter((2 * time) + Run.Warm + (3 * Run.Stall));

                var first = (await RepeatAsync(options, TimeSpan.Zero, limit.Token))[0];
                await RepeatAsync(options, time < Run.Warm ? time : Run.Warm, limit.Token); // warm: jitted

                var cost = Cost.Start();
                var alone = await RepeatAsync(options, time, limit.Token);
                var (wall, cpu) = cost();

                cost = Cost.Start();
                var lanes = Enumerable
                    .Range(0, arguments.GetValue(parallel))
                    .Select(_ => Task.Run(() => RepeatAsync(options, time, limit.Token), limit.Token));
                var together = (await Task.WhenAll(lanes)).SelectMany(times => times).ToList();
                var (wallTogether, cpuTogether) = cost();

                alone.Sort();
                together.Sort();
                return new Report("setup")
                    .With("openMilliseconds", "until open, ms (half take less)", Several.At(alone, 0.5))
                    .With("p99OpenMilliseconds", "99 % take less than, ms", Several.At(alone, 0.99))
                    .With("setupsPerSecond", "pairs/s, one at a time", alone.Count / wall.TotalSeconds)
                    .With("cpuMillisecondsPerSetup", "CPU ms a pair", cpu.TotalMilliseconds / alone.Count)
                    .With("parallel", "several at once", arguments.GetValue(parallel))
                    .With("parallelSetupsPerSecond", "pairs/s", together.Count / wallTogether.TotalSeconds)
                    .With("parallelOpenMilliseconds", "until open, ms", Several.At(together, 0.5))
                    .With(
                        "parallelCpuMillisecondsPerSetup",
                        "CPU ms a pair",
                        cpuTogether.TotalMilliseconds / together.Count
                    )
                    .With("firstOpenMilliseconds", "the process's first, ms", first)
                    .Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    /// <summary>Pairs one after the other for a while, at least one; how long each took until open, milliseconds.</summary>
    private static async Task<List<double>> RepeatAsync(WebRtcOptions options, TimeSpan time, CancellationToken stop)
    {
        var times = new List<double>();
        var init = new RTCDataChannelInit();
        var start = Stopwatch.GetTimestamp();

        do
        {
            var began = Stopwatch.GetTimestamp();
            var pair = await Pair.ConnectAsync(options, init, stop);
            times.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            await pair.DisposeAsync();
        } while (Stopwatch.GetElapsedTime(start) < time);

        return times;
    }
}
