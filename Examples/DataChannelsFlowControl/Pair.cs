using System.Diagnostics;
using System.Reactive.Linq;
using System.Reactive.Subjects;
using System.Reactive.Threading.Tasks;
using Hybrid.WebRtc;

/// <summary>Two connected peers with a channel between them; the receiver counts what comes.</summary>
internal sealed class Pair : IAsyncDisposable
{
    private readonly RTCPeerConnection _alice;
    private readonly RTCPeerConnection _bob;
    private readonly BehaviorSubject<long> _arrived = new(0);

    private Pair()
    {
        var options = new WebRtcOptions { IncludeLoopback = true };
        _alice = new RTCPeerConnection(options: options);
        _bob = new RTCPeerConnection(options: options);
        Sender = _alice.CreateDataChannel("bulk");
        _bob.OnDataChannel.Subscribe(e =>
            e.Channel.OnMessage.Subscribe(m => _arrived.OnNext(_arrived.Value + m.Data.Length))
        );
    }

    public RTCDataChannel Sender { get; }

    public static async Task<Pair> ConnectAsync(CancellationToken stop)
    {
        var pair = new Pair();
        await pair._alice.SetLocalDescriptionAsync();
        await pair._alice.GatheringCompleteAsync(stop);
        await pair._bob.SetRemoteDescriptionAsync(pair._alice.LocalDescription!);
        await pair._bob.SetLocalDescriptionAsync();
        await pair._bob.GatheringCompleteAsync(stop);
        await pair._alice.SetRemoteDescriptionAsync(pair._bob.LocalDescription!);
        await pair.Sender.WaitForOpenAsync(stop);
        return pair;
    }

    /// <summary>Runs a way of sending, waits until all of it has arrived, and prints the rate and the fullest buffer.</summary>
    public async Task MeasureAsync(string name, TimeSpan time, Func<Task<long>> send, CancellationToken stop)
    {
        var before = _arrived.Value;
        var clock = Stopwatch.StartNew();
        long fullest = 0;
        using var watch = Observable
            .Interval(TimeSpan.FromMilliseconds(10))
            .Subscribe(_ => fullest = Math.Max(fullest, Sender.BufferedAmount));

        var sent = await send();
        await _arrived.FirstAsync(arrived => arrived - before >= sent).ToTask(stop);

        var rate = sent / 1e6 / clock.Elapsed.TotalSeconds;
        Console.WriteLine(
            $"{name, -20}{sent / 1e6, 8:F0} MB in {clock.Elapsed.TotalSeconds:F2} s   {rate, 6:F1} MB/s   at most {fullest / 1e6:F2} MB queued"
        );
    }

    public async ValueTask DisposeAsync()
    {
        await _alice.DisposeAsync();
        await _bob.DisposeAsync();
        _arrived.Dispose();
    }
}
