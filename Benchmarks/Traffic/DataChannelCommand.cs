using System.CommandLine;
using Hybrid.WebRtc.Benchmarks.Ceiling;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>Bulk one way: how much arrives, at what price in processor time, both ends together, and how much that is of what this machine could do.</summary>
internal static class DataChannelCommand
{
    public static Command Create()
    {
        var seconds = Options.Seconds(10);
        var size = Options.Size(64 * 1024);
        var unordered = new Option<bool>("--unordered") { Description = "Messages may overtake each other." };
        var port = Options.Port();
        var ciphers = Options.Ciphers();
        var datagram = Options.Datagram();
        var command = new Command("datachannel", "Bulk data one way, and its part of the ceiling.")
        {
            seconds,
            size,
            unordered,
            port,
            ciphers,
            datagram,
        };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                var setting = arguments.ToSetting(port, ciphers, datagram);
                var init = new RTCDataChannelInit { Ordered = !arguments.GetValue(unordered) };
                var report = await MeasureAsync(setting, init, arguments.GetValue(size), time, cancellation);
                return report.Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    private static async Task<Report> MeasureAsync(
        Setting setting,
        RTCDataChannelInit init,
        int size,
        TimeSpan time,
        CancellationToken cancellation
    )
    {
        var ceilings = time / 4 < TimeSpan.FromSeconds(1.5) ? time / 4 : TimeSpan.FromSeconds(1.5);
        await using var run = await Run.StartAsync(setting.ToOptions(), init, time + (2 * ceilings), cancellation);
        await run.FlowAsync(size, Run.Warm);

        // Discovery of the path's MTU may have made the packets larger: the ceiling is that of the same size.
        var datagram = Pipe.DatagramOf((int)(await run.Pair.AssociationAsync()).Mtu);
        var before = Slices.Measure(setting, datagram, ceilings);

        var cost = Cost.Start();
        var (messages, bytes) = await run.FlowAsync(size, time);
        var (wall, cpu) = cost();

        var after = Slices.Measure(setting, datagram, ceilings);
        var association = await run.Pair.AssociationAsync();
        var mbPerSecond = bytes / 1e6 / wall.TotalSeconds;
        var cpuSecondsPerGb = cpu.TotalSeconds / (bytes / 1e9);
        var ceiling = (before.Median + after.Median) / 2;
        var cheapest = (before.CpuSecondsPerGb + after.CpuSecondsPerGb) / 2;

        return new Report("datachannel")
            .With("mbPerSecond", "MB/s", mbPerSecond)
            .With("cpuSecondsPerGb", "CPU s a GB, both ends", cpuSecondsPerGb)
            .With("ratioToCeiling", "of the ceiling, MB/s to MB/s", mbPerSecond / ceiling)
            .With("cpuRatioToCeiling", "of the ceiling, MB a CPU second", cheapest / cpuSecondsPerGb)
            .With("ceilingMbPerSecond", "the ceiling just before and after, MB/s", ceiling)
            .With("ceilingCpuSecondsPerGb", "its CPU s a GB", cheapest)
            .With("ceiling", "which ceiling", before.Name)
            .With("datagramBytes", "octets a datagram", datagram)
            .With("retransmissions", "chunks sent again, ever", association.Retransmissions)
            .With("peakRssMb", "peak memory, MB", Cost.PeakRssMb)
            .With("messages", "messages", messages)
            .With("seconds", "seconds", wall.TotalSeconds);
    }
}
