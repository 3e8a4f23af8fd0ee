using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>A bulk transfer between two whole peers, batch by batch: what a datagram costs in all layers of the core together.</summary>
internal sealed class PeerSteps
{
    private const int Batch = 32;
    private const int Buffers = 256;

    private readonly Meter _send = new("peerSend", "Peer: describing one full datagram (Send and Tick)");
    private readonly Meter _write = new("peerWrite", "Peer: writing it: copy, checksum, seal");
    private readonly Meter _receive = new(
        "peerReceive",
        "Peer: receiving it: open, checksum, copy; beside the message"
    );
    private readonly Meter _makeSack = new("peerMakeSack", "Peer: the SACK of a batch, described and written");
    private readonly Meter _takeSack = new("peerTakeSack", "Peer: receiving that SACK");
    private readonly PeerPair _pair;
    private readonly byte[][] _buffers = [.. Enumerable.Range(0, Buffers).Select(_ => new byte[65_536])];
    private readonly int[] _lengths = new int[Buffers];

    /// <summary>As many full chunks as the batch has packets, at the packets' size of a datagram of 1,200 octets.</summary>
    private readonly byte[] _message = new byte[Batch * (1160 - 28)];

    private PeerSteps(Setting setting) => _pair = new PeerPair(setting) { Holds = true };

    public static IEnumerable<Measured> Measure(Setting setting)
    {
        Meter.Warm(new PeerSteps(setting).Transfer);

        // As with the associations: a past of a fixed length.
        var steps = new PeerSteps(setting);
        for (var i = 0; i < 500; i++)
            steps.Transfer();
        Meter[] meters = [steps._send, steps._write, steps._receive, steps._makeSack, steps._takeSack];
        foreach (var meter in meters)
            meter.EndSlice();

        for (var slice = 0; slice < 30; slice++)
        {
            for (var i = 0; i < 50; i++)
                steps.Transfer();
            foreach (var meter in meters)
                meter.EndSlice();
        }

        return meters.Select(meter => meter.Result);
    }

    private void Transfer()
    {
        var before = _pair.Delivered;
        var queued = false;

        for (var turn = 0; _pair.Delivered - before < _message.Length; turn++)
        {
            if (turn > 1000)
                throw new InvalidOperationException("A message did not arrive.");

            _pair.Wait(queued ? long.MaxValue : _pair.Now + 50);
            _pair.Held.Clear();
            _send.Start();
            if (!queued)
                _pair.Send(_message);
            _pair.Tick(0);
            var count = _pair.Held.Count;
            _send.Stop(count);
            queued = true;

            _write.Start();
            Write();
            _write.Stop(count);

            var delivered = _pair.Delivered;
            _receive.Start();
            for (var i = 0; i < count; i++)
                _pair.Receive(1, _buffers[i].AsMemory(0, _lengths[i]));
            _receive.Stop(count, _pair.Delivered - delivered);

            _pair.Wait(_pair.Now + 50);
            _pair.Held.Clear();
            _makeSack.Start();
            _pair.Tick(1);
            var sacks = _pair.Held.Count;
            Write();
            _makeSack.Stop(sacks);

            _takeSack.Start();
            for (var i = 0; i < sacks; i++)
                _pair.Receive(0, _buffers[i].AsMemory(0, _lengths[i]));
            _takeSack.Stop(sacks);
        }
    }

    private void Write()
    {
        for (var i = 0; i < _pair.Held.Count; i++)
            _lengths[i] = _pair.Held[i].Write(_buffers[i]);
    }
}
