using Hybrid.WebRtc.Benchmarks.Curve;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>A sender that takes a SACK of two chunks while many more are outstanding: the cost shall not depend on how many.</summary>
internal static class SackSteps
{
    /// <summary>10,000 packets and more are under way on it.</summary>
    private static readonly PathOf _path = new(10_000, 30, 0);

    public static IEnumerable<Measured> Measure()
    {
        foreach (var outstanding in (int[])[10, 100, 1_000, 10_000])
            yield return Plain(outstanding);
        yield return WithGaps(500);
    }

    private static Measured Plain(int count)
    {
        var simulation = Started();
        var (sender, receiver, outstanding) = simulation.Freeze(count);
        var sack = Answer(simulation.Now, receiver, outstanding.Take(2));
        return Meter.Repeat(
            $"sctpSack{count}",
            $"SCTP: taking a SACK of two chunks, {count:N0} outstanding",
            () => Sctp.step(simulation.Now, SctpInput.NewReceived(sack), sender)
        );
    }

    private static Measured WithGaps(int count)
    {
        var simulation = Started();
        var (sender, receiver, outstanding) = simulation.Freeze(count);
        // The first, and every second of the next eight.
        var sack = Answer(simulation.Now, receiver, outstanding.Where((_, i) => i < 9 && i % 2 == 0));
        return Meter.Repeat(
            "sctpSackFourGaps",
            $"SCTP: taking a SACK with four gaps, {count:N0} outstanding",
            () => Sctp.step(simulation.Now, SctpInput.NewReceived(sack), sender)
        );
    }

    private static Simulation Started()
    {
        var simulation = new Simulation(_path, 1, seed: 1, window: 128 << 20);
        simulation.Start(0);
        return simulation;
    }

    /// <summary>The SACK that a receiver answers these packets with.</summary>
    private static byte[] Answer(long now, SctpAssociation receiver, IEnumerable<byte[]> packets)
    {
        foreach (var packet in packets)
            (receiver, _) = Sctp.step(now, SctpInput.NewReceived(packet), receiver);

        var (_, outputs) = Sctp.step(Math.Max(now, Sctp.deadline(receiver)), SctpInput.Tick, receiver);
        var sack = outputs.OfType<SctpOutput.Transmit>().Single().Item;
        var bytes = new byte[SctpPacketModule.size(sack)];
        SctpPacketModule.write(bytes, sack);
        return bytes;
    }
}
