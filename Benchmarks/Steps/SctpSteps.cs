using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>A bulk transfer between two associations, batch by batch: what each step of it costs, the packet's encoding apart.</summary>
internal sealed class SctpSteps
{
    /// <summary>Chunks of a message, and packets of a batch.</summary>
    private const int Batch = 32;

    /// <summary>More packets than any one tick sends.</summary>
    private const int Buffers = 256;

    /// <summary>Octets of a DATA chunk's header, RFC 9260 §3.3.1, or the 20 of I-DATA, RFC 8260 §2.1: the last chunk of a message may be 4 a packet short of full.</summary>
    private const int ChunkHeader = 20;

    private readonly Meter _send = new("sctpSend", "SCTP: sending one full DATA chunk (Send and Tick)");
    private readonly Meter _write = new("sctpWrite", "SCTP: encoding it, copy and checksum included");
    private readonly Meter _receive = new(
        "sctpReceive",
        "SCTP: receiving it, copy and checksum included; beside the message"
    );
    private readonly Meter _makeSack = new("sctpMakeSack", "SCTP: making the SACK of a batch (Tick)");
    private readonly Meter _takeSack = new("sctpTakeSack", "SCTP: taking that SACK, 32 chunks acknowledged");

    private readonly SctpAssociation[] _ends = [Associations.Create(1), Associations.Create(2)];
    private readonly List<SctpPacket> _packets = [];
    private readonly byte[][] _buffers = [.. Enumerable.Range(0, Buffers).Select(_ => new byte[65_536])];
    private readonly int[] _lengths = new int[Buffers];
    private byte[] _message = [];
    private long _now = 1_000_000;
    private int _delivered;

    public static IEnumerable<Measured> Measure()
    {
        Meter.Warm(Connected().Transfer);

        // The pair that is measured has a past of a length that no clock decided, so that its octets are always the same.
        var pair = Connected();
        for (var i = 0; i < 500; i++)
            pair.Transfer();

        Meter[] meters = [pair._send, pair._write, pair._receive, pair._makeSack, pair._takeSack];
        foreach (var meter in meters)
            meter.EndSlice();

        for (var slice = 0; slice < 40; slice++)
        {
            for (var i = 0; i < 50; i++)
                pair.Transfer();
            foreach (var meter in meters)
                meter.EndSlice();
        }

        return meters.Select(meter => meter.Result);
    }

    private static SctpSteps Connected()
    {
        var pair = new SctpSteps();
        pair.Connect();
        return pair;
    }

    private void Connect()
    {
        // One end is enough: the other answers.
        Step(0, SctpInput.Connect);

        for (var turn = 0; !IsUp(0) || !IsUp(1); turn++)
        {
            if (turn > 100)
                throw new InvalidOperationException("The association did not come up.");
            Exchange(turn % 2);
        }

        bool IsUp(int end) => Sctp.state(_ends[end]) == SctpState.Established;
    }

    /// <summary>One message of full chunks, sent, received and acknowledged.</summary>
    private void Transfer()
    {
        var size = Batch * (Sctp.mtu(_ends[0]) - SctpPacketModule.HeaderSize - ChunkHeader);
        if (_message.Length != size)
            _message = new byte[size];
        _delivered = 0;
        var queued = false;

        for (var turn = 0; _delivered < size; turn++)
        {
            if (turn > 1000)
                throw new InvalidOperationException("A message did not arrive.");

            // A small window, or a pacer, lets the batch go in several bursts.
            _now += 50;
            if (queued && Sctp.deadline(_ends[0]) > _now)
                _now = Math.Max(_now, Math.Min(Sctp.deadline(_ends[0]), Sctp.deadline(_ends[1])));

            _packets.Clear();
            _send.Start();
            if (!queued)
                Step(0, Associations.Send(_message));
            if (Sctp.deadline(_ends[0]) <= _now)
                Step(0, SctpInput.Tick);
            _send.Stop(queued ? 0 : Batch);
            queued = true;

            var count = _packets.Count;
            _write.Start();
            Write();
            _write.Stop(count);

            var before = _delivered;
            _receive.Start();
            for (var i = 0; i < count; i++)
                Step(1, SctpInput.NewReceived(_buffers[i].AsMemory(0, _lengths[i])));
            _receive.Stop(count, _delivered - before);

            _now += 50;
            _packets.Clear();
            _makeSack.Start();
            if (Sctp.deadline(_ends[1]) <= _now)
                Step(1, SctpInput.Tick);
            var sacks = _packets.Count;
            _makeSack.Stop(sacks);
            Write();

            _takeSack.Start();
            for (var i = 0; i < sacks; i++)
                Step(0, SctpInput.NewReceived(_buffers[i].AsMemory(0, _lengths[i])));
            _takeSack.Stop(sacks);
        }
    }

    /// <summary>What an end has to say goes to the other.</summary>
    private void Exchange(int from)
    {
        _now += 50;
        if (Sctp.deadline(_ends[from]) <= _now)
            Step(from, SctpInput.Tick);
        var count = _packets.Count;
        Write();
        _packets.Clear();
        for (var i = 0; i < count; i++)
            Step(1 - from, SctpInput.NewReceived(_buffers[i].AsMemory(0, _lengths[i])));
    }

    private void Write()
    {
        for (var i = 0; i < _packets.Count; i++)
            _lengths[i] = SctpPacketModule.write(_buffers[i], _packets[i]);
    }

    private void Step(int end, SctpInput input)
    {
        var (state, outputs) = Sctp.step(_now, input, _ends[end]);
        _ends[end] = state;
        var consumed = 0;

        for (; !outputs.IsEmpty; outputs = outputs.Tail)
        {
            if (outputs.Head is SctpOutput.Transmit transmit)
                _packets.Add(transmit.Item);
            else if (outputs.Head is SctpOutput.Message message)
                consumed += message.payload.Length;
        }

        if (consumed == 0)
            return;
        _delivered += consumed;
        Step(end, SctpInput.NewConsumed(consumed));
    }
}
