using System.CommandLine;
using System.Diagnostics;

namespace Hybrid.WebRtc.Benchmarks;

/// <summary>The scenarios, a subcommand each. Every one is bounded: it ends by itself, with an error where nothing moves.</summary>
internal static class Scenarios
{
    /// <summary>Nothing on loopback takes this long; what does has stalled.</summary>
    private static readonly TimeSpan _stall = TimeSpan.FromSeconds(10);

    /// <summary>Bulk one way: how much arrives, at what price in processor time, both ends together.</summary>
    public static Command DataChannel(Option<bool> json)
    {
        var seconds = Seconds(10);
        var size = Size(64 * 1024);
        var unordered = new Option<bool>("--unordered") { Description = "Messages may overtake each other." };
        var command = new Command("datachannel", "Bulk data one way, for a while.") { seconds, size, unordered };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = TimeSpan.FromSeconds(arguments.GetValue(seconds));
                var init = new RTCDataChannelInit { Ordered = !arguments.GetValue(unordered) };
                await using var run = await Run.StartAsync(init, time, cancellation);

                await run.FlowAsync(arguments.GetValue(size), TimeSpan.FromSeconds(1)); // warm: jitted, window open
                var cost = Cost.Start();
                var (messages, bytes) = await run.FlowAsync(arguments.GetValue(size), time);
                var (wall, cpu) = cost();

                new Report("datachannel")
                    .With("mbPerSecond", "MB/s", bytes / 1e6 / wall.TotalSeconds)
                    .With("cpuSecondsPerGb", "CPU s a GB, both ends", cpu.TotalSeconds / (bytes / 1e9))
                    .With("peakRssMb", "peak memory, MB", Cost.PeakRssMb)
                    .With("messages", "messages", messages)
                    .With("seconds", "seconds", wall.TotalSeconds)
                    .Print(arguments.GetValue(json));
                return 0;
            }
        );
        return command;
    }

    /// <summary>Messages of 100 octets: how many a second.</summary>
    public static Command Small(Option<bool> json)
    {
        var seconds = Seconds(5);
        var size = Size(100);
        var command = new Command("small", "Small messages one way, as many as go.") { seconds, size };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = TimeSpan.FromSeconds(arguments.GetValue(seconds));
                await using var run = await Run.StartAsync(new RTCDataChannelInit(), time, cancellation);

                await run.FlowAsync(arguments.GetValue(size), TimeSpan.FromSeconds(1));
                var cost = Cost.Start();
                var (messages, _) = await run.FlowAsync(arguments.GetValue(size), time);
                var (wall, cpu) = cost();

                new Report("small")
                    .With("messagesPerSecond", "messages/s", messages / wall.TotalSeconds)
                    .With("cpuMicrosecondsPerMessage", "CPU µs a message, both ends", cpu.TotalMicroseconds / messages)
                    .With("peakRssMb", "peak memory, MB", Cost.PeakRssMb)
                    .Print(arguments.GetValue(json));
                return 0;
            }
        );
        return command;
    }

    /// <summary>A message of 100 octets there and back, one at a time.</summary>
    public static Command Latency(Option<bool> json)
    {
        var seconds = Seconds(5);
        var size = Size(100);
        var command = new Command("latency", "A small message there and back, one at a time.") { seconds, size };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = TimeSpan.FromSeconds(arguments.GetValue(seconds));
                await using var run = await Run.StartAsync(new RTCDataChannelInit(), time, cancellation);

                await run.EchoAsync(arguments.GetValue(size), TimeSpan.FromSeconds(1));
                var trips = await run.EchoAsync(arguments.GetValue(size), time);
                trips.Sort();

                new Report("latency")
                    .With("p50Microseconds", "half take less than, µs", At(0.50))
                    .With("p99Microseconds", "99 % take less than, µs", At(0.99))
                    .With("maxMicroseconds", "the slowest, µs", At(1))
                    .With("trips", "round trips", trips.Count)
                    .Print(arguments.GetValue(json));
                return 0;

                double At(double part) =>
                    Stopwatch
                        .GetElapsedTime(0, trips[(int)Math.Min(trips.Count - 1, part * trips.Count)])
                        .TotalMicroseconds;
            }
        );
        return command;
    }

    /// <summary>New connections, one after the other: from nothing to an open channel at both ends.</summary>
    public static Command SetUp(Option<bool> json)
    {
        var seconds = Seconds(5);
        var command = new Command("setup", "Connections, from nothing to an open channel.") { seconds };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = TimeSpan.FromSeconds(arguments.GetValue(seconds));
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
                limit.CancelAfter(time + _stall + _stall);
                var init = new RTCDataChannelInit();

                var began = Stopwatch.GetTimestamp();
                await (await Pair.ConnectAsync(init, limit.Token)).DisposeAsync();
                var cold = Stopwatch.GetElapsedTime(began);

                var cost = Cost.Start();
                var times = new List<double>();

                while (cost().Wall < time)
                {
                    began = Stopwatch.GetTimestamp();
                    var pair = await Pair.ConnectAsync(init, limit.Token);
                    times.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
                    await pair.DisposeAsync();
                }

                var (wall, cpu) = cost();
                times.Sort();

                new Report("setup")
                    .With("openMs", "until open, ms (half take less)", times[times.Count / 2])
                    .With("setUpsPerSecond", "set-ups/s, one at a time", times.Count / wall.TotalSeconds)
                    .With("cpuMsPerSetUp", "CPU ms a set-up, both ends", cpu.TotalMilliseconds / times.Count)
                    .With("firstOpenMs", "the process's first, ms", cold.TotalMilliseconds)
                    .Print(arguments.GetValue(json));
                return 0;
            }
        );
        return command;
    }

    private static Option<double> Seconds(double usual)
    {
        var option = new Option<double>("--seconds")
        {
            Description = "How long to measure.",
            DefaultValueFactory = _ => usual,
        };
        option.Validators.Add(result =>
        {
            if (result.GetValue(option) is not (>= 0.1 and <= 3600))
                result.AddError("--seconds must be from 0.1 to 3600.");
        });
        return option;
    }

    private static Option<int> Size(int usual)
    {
        var option = new Option<int>("--size") { Description = "Octets a message.", DefaultValueFactory = _ => usual };
        option.Validators.Add(result =>
        {
            if (result.GetValue(option) is < 1 or > 262_144)
                result.AddError("--size must be from 1 to 262144.");
        });
        return option;
    }

    /// <summary>A connected pair, and a limit after which everything gives up.</summary>
    private sealed class Run(Pair pair, CancellationTokenSource limit) : IAsyncDisposable
    {
        public static async Task<Run> StartAsync(RTCDataChannelInit init, TimeSpan time, CancellationToken cancellation)
        {
            var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            limit.CancelAfter(time + _stall + _stall);
            return new Run(await Pair.ConnectAsync(init, limit.Token), limit);
        }

        /// <summary>Sends for a while, and waits until all of it has arrived.</summary>
        public async Task<(long Messages, long Bytes)> FlowAsync(int size, TimeSpan time)
        {
            var message = new byte[size];
            long sent = 0;
            long arrived = 0;
            long expected = long.MaxValue;
            var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

            using var counting = pair.Bob.OnMessage.Subscribe(_ =>
            {
                if (Interlocked.Increment(ref arrived) >= Volatile.Read(ref expected))
                    all.TrySetResult();
            });

            for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < time; sent++)
                await pair.Alice.SendAsync(message, limit.Token);

            Volatile.Write(ref expected, sent);
            if (Interlocked.Read(ref arrived) >= sent)
                all.TrySetResult();

            await all.Task.WaitAsync(_stall, limit.Token);
            return (sent, sent * size);
        }

        /// <summary>Bob sends back what comes; the times of the round trips, in ticks of the stopwatch.</summary>
        public async Task<List<long>> EchoAsync(int size, TimeSpan time)
        {
            var message = new byte[size];
            var trips = new List<long>(1 << 17);
            var back = new SemaphoreSlim(0);
            using var answering = pair.Bob.OnMessage.Subscribe(m => pair.Bob.Send(m.Data));
            using var waiting = pair.Alice.OnMessage.Subscribe(_ => back.Release());

            for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < time; )
            {
                var sent = Stopwatch.GetTimestamp();
                pair.Alice.Send(message);
                if (!await back.WaitAsync(_stall, limit.Token))
                    throw new TimeoutException("A message was not answered.");
                trips.Add(Stopwatch.GetTimestamp() - sent);
            }

            return trips;
        }

        public async ValueTask DisposeAsync()
        {
            await pair.DisposeAsync();
            limit.Dispose();
        }
    }
}
