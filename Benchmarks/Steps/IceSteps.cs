using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Stun;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>What an agent does while a connection is idle: a consent check of the peer's comes, RFC 7675, and is answered.</summary>
internal static class IceSteps
{
    private const int Port = 1;

    public static IEnumerable<Measured> Measure(Setting setting)
    {
        Endpoint[] at = [new(Address("192.0.2.1"), 50_001), new(Address("198.51.100.1"), 50_002)];
        IceParameters[] credentials =
        [
            new("aaaa", "aaaaaaaaaaaaaaaaaaaaaaaa"),
            new("bbbb", "bbbbbbbbbbbbbbbbbbbbbbbb"),
        ];
        IceState[] ends =
        [
            Ice.Create(IceOptionsModule.defaults, EntropyModule.ofNumber(1), setting.Ciphers),
            Ice.Create(IceOptionsModule.defaults, EntropyModule.ofNumber(2), setting.Ciphers),
        ];

        long now = 1_000_000;
        var underWay = new Queue<(int To, byte[] Bytes)>();
        Core.Path[] heard = [new(Port, at[1]), new(Port, at[0])];
        byte[]? check = null;

        for (var end = 0; end < 2; end++)
        {
            Step(end, Ice.Input.NewSetRole(end == 0 ? IceRole.Controlling : IceRole.Controlled));
            Step(end, Ice.Input.NewSetLocal(credentials[end]));
            Step(end, Ice.Input.NewSetRemote(credentials[1 - end], false));
        }

        for (var end = 0; end < 2; end++)
        {
            Step(end, Ice.Input.Gather);
            Step(end, Ice.Input.NewPortOpened(Port, at[end], 100));
            Step(end, Ice.Input.PortsComplete);
        }

        // Until consent is asked for: 20 s are several of its rounds.
        while (now < 20_000_000)
        {
            now = Math.Max(now, Math.Min(Ice.Deadline(ends[0]), Ice.Deadline(ends[1])));
            for (var end = 0; end < 2; end++)
            {
                if (Ice.Deadline(ends[end]) <= now)
                    Step(end, Ice.Input.Tick);
            }

            while (underWay.TryDequeue(out var next))
            {
                // A request to the controlled end: once both are connected, a consent check.
                if (next.To == 1 && next.Bytes[0] == 0)
                    check = next.Bytes;
                Step(next.To, Ice.Input.NewReceived(heard[next.To], next.Bytes));
            }
        }

        if (
            check is null
            || Ice.TransportState(ends[1]) is not (IceTransportState.Connected or IceTransportState.Completed)
        )
            throw new InvalidOperationException("The agents did not connect.");

        var answering = ends[1];
        yield return Meter.Repeat(
            "iceConsentCheck",
            "ICE: taking a consent check, the answer described",
            () => Ice.Step(now, Ice.Input.NewReceived(heard[1], check), answering)
        );

        void Step(int end, Ice.Input input)
        {
            var (state, outputs) = Ice.Step(now, input, ends[end]);
            ends[end] = state;
            foreach (var output in outputs)
            {
                switch (output)
                {
                    case Ice.Output.Transmit { Message: var message }:
                        var bytes = new byte[OutgoingModule.Size(message)];
                        OutgoingModule.Write(setting.Ciphers, bytes, message);
                        underWay.Enqueue((1 - end, bytes));
                        break;
                    case Ice.Output.Gathered { Candidate: var candidate }:
                        Step(1 - end, Ice.Input.NewAddRemote(candidate, default));
                        break;
                }
            }
        }
    }

    private static Address Address(string text) => AddressModule.parse(text).Value;
}
