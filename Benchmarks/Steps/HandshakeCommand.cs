using System.CommandLine;
using System.Diagnostics;
using Hybrid.WebRtc.Benchmarks.Traffic;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>
/// What a DTLS handshake costs each end, by version and group, two machines in memory; and how long a pair of connections takes on loopback with
/// each version. A version that was not agreed on has no figure.
/// </summary>
internal static class HandshakeCommand
{
    private static readonly (string Key, string Label, HandshakeKind Kind)[] _kinds =
    [
        ("p256", "DTLS 1.2, P-256", new(DtlsVersion.Dtls12, NamedGroup.Secp256r1)),
        ("x25519", "DTLS 1.2, X25519", new(DtlsVersion.Dtls12, NamedGroup.X25519)),
        ("classical", "DTLS 1.3, X25519", new(DtlsVersion.Dtls13, NamedGroup.X25519)),
        ("hybrid", "DTLS 1.3, X25519MLKEM768", new(DtlsVersion.Dtls13, NamedGroup.X25519MLKEM768)),
    ];

    public static Command Create()
    {
        var seconds = Options.Seconds(3);
        var setups = Options.Within(
            "--setups",
            "How many pairs are set up on loopback with each version.",
            200,
            1,
            100_000
        );
        var ciphers = Options.Ciphers();
        var command = new Command("handshake", "DTLS handshakes by version and group, and set-up with each version.")
        {
            seconds,
            setups,
            ciphers,
        };

        command.SetAction(
            async (arguments, cancellation) =>
            {
                var time = arguments.Time(seconds);
                var setting = arguments.ToSetting(ciphers: ciphers);
                var report = new Report("handshake");
                foreach (var (key, label, kind) in _kinds)
                    Measure(report, key, label, new HandshakePair(setting, kind), time);

                var count = arguments.GetValue(setups);
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
                limit.CancelAfter((3 * TimeSpan.FromSeconds(count)) + Run.Stall);
                foreach (var (key, label, median) in await SetUpAsync(setting.ToOptions(), count, limit.Token))
                    report.With(key, label, median);
                return report.Print(arguments.GetValue(Options.Json));
            }
        );
        return command;
    }

    /// <summary>The process's CPU time a handshake, and its parts by how long each end's steps took.</summary>
    private static void Measure(Report report, string key, string label, HandshakePair pair, TimeSpan time)
    {
        if (!pair.Run())
        {
            Console.Error.WriteLine($"{label}: not what the machines agree on; no figure.");
            return;
        }

        Repeat(pair, time < Run.Warm ? time : Run.Warm); // warm: jitted
        var (clientBefore, serverBefore) = pair.Ticks;
        var cost = Cost.Start();
        var count = Repeat(pair, time);
        var each = cost().Cpu.TotalMicroseconds / count;
        var client = (double)(pair.Ticks.Client - clientBefore);
        var server = (double)(pair.Ticks.Server - serverBefore);
        report
            .With($"{key}MicrosecondsPerPair", $"{label}: CPU µs, both ends", each)
            .With($"{key}ClientMicroseconds", $"{label}: the client's", each * client / (client + server))
            .With($"{key}ServerMicroseconds", $"{label}: the server's", each * server / (client + server))
            .With($"{key}Datagrams", $"{label}: datagrams", pair.Datagrams);
    }

    private static int Repeat(HandshakePair pair, TimeSpan time)
    {
        var start = Stopwatch.GetTimestamp();
        var count = 0;

        do
        {
            if (!pair.Run())
                throw new InvalidOperationException("A handshake came to something else than those before.");
            count++;
        } while (Stopwatch.GetElapsedTime(start) < time);

        return count;
    }

    /// <summary>
    /// Pairs of each kind in turn, in another order each time, so that the machine's moods meet all; the median of how long they took until open,
    /// milliseconds.
    /// </summary>
    private static async Task<IEnumerable<(string Key, string Label, double? Median)>> SetUpAsync(
        WebRtcOptions options,
        int count,
        CancellationToken stop
    )
    {
        var of13 = options with { MaxDtlsVersion = WebRtcDtlsVersion.Dtls13 };
        (string Key, string Label, string Version, WebRtcOptions Options, List<double> Times)[] kinds =
        [
            (
                "setUpDtls12Milliseconds",
                "until open with DTLS 1.2 and X25519, ms (half take less)",
                "DTLS 1.2",
                options with
                {
                    MaxDtlsVersion = WebRtcDtlsVersion.Dtls12,
                },
                []
            ),
            (
                "setUpP256Milliseconds",
                "until open with DTLS 1.2 and P-256, ms",
                "DTLS 1.2",
                options with
                {
                    MaxDtlsVersion = WebRtcDtlsVersion.Dtls12,
                    DtlsGroups = [WebRtcDtlsGroup.Secp256r1],
                },
                []
            ),
            ("setUpDtls13Milliseconds", "until open with DTLS 1.3, ms", "DTLS 1.3", of13, []),
            (
                "setUpClassicalMilliseconds",
                "until open with DTLS 1.3 and X25519, ms",
                "DTLS 1.3",
                of13 with
                {
                    DtlsGroups = [WebRtcDtlsGroup.X25519],
                },
                []
            ),
        ];

        var warm = Math.Max(1, count / 4);
        for (var round = 0; round < warm + count; round++)
        {
            for (var turn = 0; turn < kinds.Length; turn++)
            {
                var kind = kinds[(round + turn) % kinds.Length];
                var began = Stopwatch.GetTimestamp();
                await using var pair = await Traffic.Pair.ConnectAsync(kind.Options, new RTCDataChannelInit(), stop);
                var took = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
                if (round >= warm && pair.Version == kind.Version)
                    kind.Times.Add(took);
            }
        }

        return kinds.Select(kind =>
            (kind.Key, kind.Label, kind.Times.Count > 0 ? Several.Median(kind.Times) : (double?)null)
        );
    }
}
