using System.CommandLine;
using System.Security.Cryptography;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Benchmarks.Ceiling;

/// <summary>The data path without protocol: the kernel, AES-128-GCM, CRC32c and two copies. Nothing that does all of these can be faster on this machine.</summary>
internal static class CeilingCommand
{
    /// <summary>The bursts of the plot.</summary>
    private static readonly int[] _bursts = [1, 4, 8, 16, 32, 54];

    public static Command Create()
    {
        var seconds = Options.Seconds(3);
        var datagram = Options.Within("--datagram", "Octets of a datagram, 65 of them no payload.", 1200, 576, 32_000);
        var burst = Options.Within("--burst", "Datagrams that are sent at once.", Slices.UsualBurst, 1, 64);
        var ciphers = Options.Ciphers();
        var sweep = new Option<bool>("--sweep") { Description = "Also bursts of 1, 4, 8, 16, 32 and 54." };
        var once = new Option<bool>("--once-a-batch")
        {
            Description = "One acknowledgement a burst instead of one every second datagram.",
        };
        var command = new Command(
            "ceiling",
            "What the machine could do: kernel, ciphers, checksum, copies; no protocol."
        )
        {
            seconds,
            datagram,
            burst,
            ciphers,
            sweep,
            once,
        };

        command.SetAction(arguments =>
        {
            var time = arguments.Time(seconds);
            var setting = arguments.ToSetting(ciphers: ciphers);
            var octets = arguments.GetValue(datagram);
            var acknowledging = arguments.GetValue(once) ? Acknowledging.OnceABatch : Acknowledging.EverySecondPacket;
            var report = new Report("ceiling").With("datagramBytes", "octets a datagram", octets);

            if (Pipe.IsBatchingSupported)
            {
                var batched = Of(PipeKind.Batched, arguments.GetValue(burst), time);
                report
                    .With("payloadBytes", "of them payload", batched.Payload)
                    .With("burst", "datagrams a burst", batched.Burst)
                    .With("mbPerSecond", "GSO/GRO, one thread both ends: MB/s", batched.Median)
                    .With("minMbPerSecond", "the slowest slice", batched.Min)
                    .With("bestMbPerSecond", "the best slice", batched.Best)
                    .With("cpuSecondsPerGb", "CPU s a GB", batched.CpuSecondsPerGb);
                Add(report, "", batched.Cheapest);
            }

            var plain = Of(PipeKind.Plain, arguments.GetValue(burst), time);
            report
                .With("plainMbPerSecond", "plain Socket, one thread both ends: MB/s", plain.Median)
                .With("plainMinMbPerSecond", "the slowest slice", plain.Min)
                .With("plainBestMbPerSecond", "the best slice", plain.Best)
                .With("plainCpuSecondsPerGb", "CPU s a GB", plain.CpuSecondsPerGb);
            Add(report, "plain", plain.Cheapest);
            AddWork(report, setting, octets);

            if (arguments.GetValue(sweep) && Pipe.IsBatchingSupported)
                report.With("sweep", "by burst", Sweep(setting, octets, acknowledging, time));

            return report.Print(arguments.GetValue(Options.Json));

            Ceilings Of(PipeKind kind, int count, TimeSpan span) =>
                Slices.Measure(kind, setting, octets, count, acknowledging, span);
        });
        return command;
    }

    /// <summary>Throughput by burst, of both pipes.</summary>
    private static IReadOnlyList<Figure[]> Sweep(
        Setting setting,
        int datagram,
        Acknowledging acknowledging,
        TimeSpan time
    ) =>
        [
            .. _bursts.Select(count =>
            {
                var batched = Slices.Measure(PipeKind.Batched, setting, datagram, count, acknowledging, time / 2);
                var plain = Slices.Measure(PipeKind.Plain, setting, datagram, count, acknowledging, time / 2);
                return new Figure[]
                {
                    new("burst", "datagrams a burst", batched.Burst),
                    new("mbPerSecond", "GSO/GRO MB/s", batched.Median),
                    new("bestMbPerSecond", "best", batched.Best),
                    new("plainMbPerSecond", "plain Socket MB/s", plain.Median),
                    new("plainBestMbPerSecond", "best", plain.Best),
                };
            }),
        ];

    /// <summary>The parts of the best slice.</summary>
    private static void Add(Report report, string prefix, Parts parts)
    {
        report
            .With(Key("nanosecondsPerDatagram"), "ns a datagram, best slice", parts.Total)
            .With(Key("makeNanoseconds"), "  copy, CRC32c, seal", parts.Make)
            .With(Key("sendNanoseconds"), "  send", parts.Send)
            .With(Key("receiveNanoseconds"), "  receive", parts.Receive)
            .With(Key("takeNanoseconds"), "  open, CRC32c, copy", parts.Take)
            .With(Key("acknowledgeNanoseconds"), "  acknowledgements", parts.Acknowledge);

        string Key(string name) => prefix == "" ? name : prefix + char.ToUpperInvariant(name[0]) + name[1..];
    }

    /// <summary>The bytes' work alone.</summary>
    private static void AddWork(Report report, Setting setting, int datagram)
    {
        using var records = new Records(
            setting.Ciphers.Aead(AeadAlgorithm.Aes128Gcm, RandomNumberGenerator.GetBytes(16))
        );
        var work = RandomNumberGenerator.GetBytes(datagram);
        var sealedOnce = new byte[datagram];
        var payload = new byte[datagram - Records.Overhead];
        records.Make(payload, sealedOnce);

        var copy = Slices.Best(() => sealedOnce.CopyTo(work, 0));
        report
            .With(
                "sealNanoseconds",
                "AES-128-GCM seal alone, ns",
                Slices.Best(() => records.Seal(work.AsSpan(21..^16), work))
            )
            .With(
                "openNanoseconds",
                "AES-128-GCM open alone, ns",
                Slices.Best(() =>
                {
                    sealedOnce.CopyTo(work, 0);
                    records.Open(work.AsSpan(21..^16), work);
                }) - copy
            )
            .With("crcNanoseconds", "CRC32c alone, ns", Slices.Best(() => Records.Crc32C(work)))
            .With("copyNanoseconds", "a copy alone, ns", copy);
    }
}
