using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>A record sealed and opened, after a handshake in memory.</summary>
internal static class DtlsSteps
{
    /// <summary>An SCTP packet's size where a datagram has 1,200 octets.</summary>
    private const int Plaintext = 1160;

    public static IEnumerable<Measured> Measure(Setting setting)
    {
        var certificate = Certificate.Default;
        var config = DtlsConfigModule.Create(setting.Ciphers, certificate.Der, certificate.Key);
        Fingerprint[] trusted =
        [
            new Fingerprint("sha-256", Convert.FromHexString(certificate.Fingerprint().Replace(":", ""))),
        ];
        Dtls.State[] ends =
        [
            Dtls.create(config, EntropyModule.ofNumber(1)),
            Dtls.create(config, EntropyModule.ofNumber(2)),
        ];

        var underWay = new Queue<(int To, byte[] Bytes)>();
        Step(1, Dtls.Input.NewStart(DtlsRole.Server, trusted));
        Step(0, Dtls.Input.NewStart(DtlsRole.Client, trusted));
        while (underWay.TryDequeue(out var next))
            Step(next.To, Dtls.Input.NewReceived(next.Bytes));

        var (client, server) = (ends[0], ends[1]);
        var record = SealFrom(client);
        var buffer = new byte[Plaintext + record.Overhead];
        var length = record.Write(buffer, Plaintext);
        var received = buffer[..length];
        var work = new byte[length];

        yield return Meter.Repeat(
            "dtlsSeal",
            "DTLS: asking for one record (Seal)",
            () => Dtls.step(0, Dtls.Input.NewSeal(1), client)
        );
        yield return Meter.Repeat("dtlsWrite", "DTLS: sealing its 1,160 octets", () => record.Write(buffer, Plaintext));
        yield return Meter.Repeat(
            "dtlsReceive",
            "DTLS: opening one of 1,160 octets (Received), a copy included",
            () =>
            {
                received.CopyTo(work, 0);
                Dtls.step(0, Dtls.Input.NewReceived(work), server);
            }
        );

        void Step(int end, Dtls.Input input)
        {
            var (state, outputs) = Dtls.step(0, input, ends[end]);
            ends[end] = state;
            foreach (var output in outputs)
            {
                if (output is not Dtls.Output.Transmit { Item: var datagram })
                    continue;
                var bytes = new byte[datagram.Size];
                datagram.Write(bytes);
                underWay.Enqueue((1 - end, bytes));
            }
        }
    }

    private static DtlsSeal SealFrom(Dtls.State state)
    {
        var (_, outputs) = Dtls.step(0, Dtls.Input.NewSeal(1), state);
        return outputs.OfType<Dtls.Output.Sealed>().Single().Item;
    }
}
