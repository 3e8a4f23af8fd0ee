using Hybrid.WebRtc.Benchmarks.Ceiling;
using Hybrid.WebRtc.Core;
using Microsoft.FSharp.Collections;

namespace Hybrid.WebRtc.Benchmarks.Curve;

/// <summary>A path: its rate, its round trip, and the part of the datagrams that it loses either way.</summary>
internal readonly record struct PathOf(double Mbit, int RttMilliseconds, double LossPercent)
{
    /// <summary>Bandwidth times delay, octets.</summary>
    public int BandwidthDelayProduct => (int)(Mbit * 1e6 / 8 * RttMilliseconds / 1e3);

    /// <summary>The bottleneck's queue: one bandwidth-delay product, at least 64 kB.</summary>
    public int Queue => Math.Max(BandwidthDelayProduct, 65_536);
}

/// <summary>One association over the simulated path: a sender that always has something to send, a receiver that takes everything at once.</summary>
internal sealed class Flow(long seed, int? receiveWindow)
{
    /// <summary>Sender and receiver.</summary>
    public SctpAssociation[] Ends { get; } =
    [Associations.Create(2 * seed, receiveWindow), Associations.Create((2 * seed) + 1, receiveWindow)];

    /// <summary>When each end next wants a tick.</summary>
    public long[] Deadlines { get; } = [long.MaxValue, long.MaxValue];

    /// <summary>Octets delivered.</summary>
    public long Delivered { get; set; }

    /// <summary>When something was last delivered.</summary>
    public long DeliveredAt { get; set; }

    /// <summary>The longest time between two deliveries.</summary>
    public long LongestGap { get; set; }

    public bool HasFailed { get; set; }
}

/// <summary>Associations over one path in virtual time. Imperative where the tests' simulated internet is a value: it carries gigabytes.</summary>
internal sealed class Simulation
{
    private const int Sender = 0;
    private const int Receiver = 1;

    /// <summary>Smaller than the bulk of the other scenarios, so that a slow path still delivers often.</summary>
    private readonly byte[] _message = new byte[16_384];

    /// <summary>What the application keeps queued.</summary>
    private const int Queued = 1 << 20;

    private readonly Flow[] _flows;
    private readonly Link[] _links;
    private long _now = 1_000_000;

    /// <param name="path">The path.</param>
    /// <param name="flows">Associations over it.</param>
    /// <param name="seed">Which datagrams are lost.</param>
    /// <param name="window">The receive window, octets; null: the library's default.</param>
    public Simulation(PathOf path, int flows, int seed, int? window = null)
    {
        var rate = path.Mbit * 1e6;
        var oneWay = path.RttMilliseconds * 1000L / 2;
        _flows = [.. Enumerable.Range(0, flows).Select(i => new Flow(seed + i, window))];
        _links =
        [
            new Link(rate, oneWay, path.Queue, path.LossPercent / 100, (ulong)seed + 77),
            new Link(rate, oneWay, path.Queue, path.LossPercent / 100, (ulong)seed + 78),
        ];
    }

    public IReadOnlyList<Flow> Flows => _flows;

    public long Now => _now;

    /// <summary>A flow connects; its sender sends from then on.</summary>
    public void Start(int flow)
    {
        _flows[flow].DeliveredAt = _now;
        Step(flow, Sender, SctpInput.Connect);
        Step(flow, Receiver, SctpInput.Connect);
        Refill(flow);
    }

    /// <summary>Lets virtual time pass, microseconds.</summary>
    public void Run(long microseconds)
    {
        var until = _now + microseconds;

        while (true)
        {
            var next = Math.Min(_links[0].Next, _links[1].Next);
            foreach (var flow in _flows)
                next = Math.Min(next, Math.Min(flow.Deadlines[0], flow.Deadlines[1]));
            if (next > until)
                break;
            _now = Math.Max(_now, next);
            Turn();
        }

        _now = until;
    }

    /// <summary>
    /// Stops while `count` data packets are on their way to the receiver of flow 0, and lets the sender know all that the
    /// receiver has said so far: the two ends, and the packets that the sender holds for outstanding, in order.
    /// </summary>
    public (SctpAssociation Sender, SctpAssociation Receiver, IReadOnlyList<byte[]> Outstanding) Freeze(int count)
    {
        for (var until = _now + 10_000_000; _links[0].Count < count; )
        {
            if (_now > until)
                throw new InvalidOperationException($"The window did not open to {count} packets.");
            Run(10);
        }

        while (_links[1].Count > 0)
        {
            var (_, buffer, length) = _links[1].Take();
            Step(0, Sender, SctpInput.NewReceived(buffer.AsMemory(0, length)));
        }

        var outstanding = new List<byte[]>();
        while (outstanding.Count < count)
        {
            var (_, buffer, length) = _links[0].Take();
            outstanding.Add(buffer[..length]);
        }

        return (_flows[0].Ends[Sender], _flows[0].Ends[Receiver], outstanding);
    }

    /// <summary>As the loop of the shell has it: takes what has arrived, then ticks whoever is due.</summary>
    private void Turn()
    {
        for (var direction = 0; direction < 2; direction++)
        {
            var link = _links[direction];
            while (link.Next <= _now)
            {
                var (flow, buffer, length) = link.Take();
                Step(flow, 1 - direction, SctpInput.NewReceived(buffer.AsMemory(0, length)));
                link.Return(buffer);
            }
        }

        for (var i = 0; i < _flows.Length; i++)
        {
            for (var end = 0; end < 2; end++)
            {
                if (_flows[i].Deadlines[end] <= _now)
                    Step(i, end, SctpInput.Tick);
            }

            Refill(i);
        }
    }

    /// <summary>The application's part: its queue is never empty.</summary>
    private void Refill(int flow)
    {
        while (!_flows[flow].HasFailed && Sctp.bufferedAmount(_flows[flow].Ends[Sender]) < Queued)
            Step(flow, Sender, Associations.Send(_message));
    }

    private void Step(int index, int end, SctpInput input)
    {
        var flow = _flows[index];
        var (state, outputs) = Sctp.step(_now, input, flow.Ends[end]);
        flow.Ends[end] = state;
        var consumed = 0;

        for (; !outputs.IsEmpty; outputs = outputs.Tail)
        {
            switch (outputs.Head)
            {
                case SctpOutput.Transmit transmit:
                    Transmit(index, end, transmit.Item);
                    break;
                case SctpOutput.Message message:
                    consumed += message.payload.Length;
                    break;
                case SctpOutput.Failed:
                    flow.HasFailed = true;
                    break;
            }
        }

        if (consumed > 0)
        {
            flow.Delivered += consumed;
            flow.LongestGap = Math.Max(flow.LongestGap, _now - flow.DeliveredAt);
            flow.DeliveredAt = _now;
            Step(index, end, SctpInput.NewConsumed(consumed));
        }
        else
        {
            flow.Deadlines[end] = Sctp.deadline(state);
        }
    }

    private void Transmit(int flow, int end, SctpPacket packet)
    {
        var link = _links[end];
        // Larger than the path carries: gone, as a probe for the path's MTU may be.
        if (Pipe.DatagramOf(SctpPacketModule.size(packet)) > Link.MaxPayload)
            return;
        var buffer = link.Rent();
        link.Send(_now, flow, buffer, SctpPacketModule.write(buffer, packet), Records.RecordOverhead);
    }
}
