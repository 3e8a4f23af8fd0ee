using System.CommandLine;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>Small messages: how many a second one way, and how long one takes there and back.</summary>
internal static class MessageCommands
{
    public static Command Small()
    {
        var seconds = Options.Seconds(5);
        var size = Options.Size(100);
        var port = Options.Port();
        var ciphers = Options.Ciphers();
        var command = new Command("small", "Small messages one way, as many as go.") { seconds, size, port, ciphers };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                var options = arguments.ToSetting(port, ciphers).ToOptions();
                await using var run = await Run.StartAsync(options, new RTCDataChannelInit(), time, cancellation);
                await run.FlowAsync(arguments.GetValue(size), Run.Warm);
                var cost = Cost.Start();
                var (messages, _) = await run.FlowAsync(arguments.GetValue(size), time);
                var (wall, cpu) = cost();

                return new Report("small")
                    .With("messagesPerSecond", "messages/s", messages / wall.TotalSeconds)
                    .With("cpuMicrosecondsPerMessage", "CPU µs a message, both ends", cpu.TotalMicroseconds / messages)
                    .With("peakRssMb", "peak memory, MB", Cost.PeakRssMb)
                    .Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    public static Command Latency()
    {
        var seconds = Options.Seconds(5);
        var size = Options.Size(100);
        var port = Options.Port();
        var ciphers = Options.Ciphers();
        var command = new Command("latency", "A small message there and back, one at a time.")
        {
            seconds,
            size,
            port,
            ciphers,
        };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                var options = arguments.ToSetting(port, ciphers).ToOptions();
                await using var run = await Run.StartAsync(options, new RTCDataChannelInit(), time, cancellation);
                await run.EchoAsync(arguments.GetValue(size), Run.Warm);
                var cost = Cost.Start();
                var trips = await run.EchoAsync(arguments.GetValue(size), time);
                var (_, cpu) = cost();

                return new Report("latency")
                    .With("p50Microseconds", "half take less than, µs", Several.At(trips, 0.50))
                    .With("p99Microseconds", "99 % take less than, µs", Several.At(trips, 0.99))
                    .With("maxMicroseconds", "the slowest, µs", trips[^1])
                    .With("cpuMicrosecondsPerTrip", "CPU µs a round trip", cpu.TotalMicroseconds / trips.Count)
                    .With("trips", "round trips", trips.Count)
                    .Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }
}
