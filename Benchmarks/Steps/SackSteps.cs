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

    private static Measured Plain(int count) =>
        Cheapest($"sctpSack{count}", $"SCTP: taking a SACK of two chunks, {count:N0} outstanding", count, i => i < 2);

    /// <summary>The first, and every second of the next eight.</summary>
    private static Measured WithGaps(int count) =>
        Cheapest(
            "sctpSackFourGaps",
            $"SCTP: taking a SACK with four gaps, {count:N0} outstanding",
            count,
            i => i < 9 && i % 2 == 0
        );

    /// <summary>
    /// At three places of the transfer: a SACK that ends a message may cost some octets more, whatever is outstanding.
    /// </summary>
    private static Measured Cheapest(string step, string label, int count, Func<int, bool> arrives) =>
        ((int[])[count + 2, count + 7, count + 12])
            .Select(outstanding =>
            {
                var simulation = Started();
                var (sender, receiver, packets) = simulation.Freeze(outstanding);
                // The first of a flight is the one whose round trip is measured: it and its neighbour are out of the way.
                (receiver, var first) = Answer(simulation.Now, receiver, packets.Take(2));
                (sender, _) = Sctp.step(simulation.Now, SctpInput.NewReceived(first), sender);
                var (_, sack) = Answer(simulation.Now, receiver, packets.Skip(2).Where((_, i) => arrives(i)));
                return Meter.Repeat(step, label, () => Sctp.step(simulation.Now, SctpInput.NewReceived(sack), sender));
            })
            .MinBy(measured => measured.Bytes)!;

    private static Simulation Started()
    {
        var simulation = new Simulation(_path, 1, seed: 1, window: 128 << 20);
        simulation.Start(0);
        return simulation;
    }

    /// <summary>The SACK that a receiver answers these packets with.</summary>
    private static (SctpAssociation Receiver, byte[] Sack) Answer(
        long now,
        SctpAssociation receiver,
        IEnumerable<byte[]> packets
    )
    {
        foreach (var packet in packets)
            (receiver, _) = Sctp.step(now, SctpInput.NewReceived(packet), receiver);

        (receiver, var outputs) = Sctp.step(Math.Max(now, Sctp.deadline(receiver)), SctpInput.Tick, receiver);
        var sack = outputs.OfType<SctpOutput.Transmit>().Single().Item;
        var bytes = new byte[SctpPacketModule.size(sack)];
        SctpPacketModule.write(bytes, sack);
        return (receiver, bytes);
    }
}
