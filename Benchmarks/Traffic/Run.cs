using System.Diagnostics;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>A connected pair, and a limit after which everything gives up.</summary>
internal sealed class Run(Pair pair, CancellationTokenSource limit) : IAsyncDisposable
{
    /// <summary>Nothing on loopback takes this long; what does has stalled.</summary>
    public static readonly TimeSpan Stall = TimeSpan.FromSeconds(10);

    /// <summary>Long enough for the JIT compiler's last word on the hot path, for the windows to open, and for the path's MTU to be known.</summary>
    public static readonly TimeSpan Warm = TimeSpan.FromSeconds(2);

    public Pair Pair => pair;

    public static async Task<Run> StartAsync(
        WebRtcOptions options,
        RTCDataChannelInit init,
        TimeSpan time,
        CancellationToken cancellation
    )
    {
        var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(time + Warm + (3 * Stall));
        return new Run(await Pair.ConnectAsync(options, init, limit.Token), limit);
    }

    /// <summary>Sends for a while, and waits until all of it has arrived.</summary>
    public async Task<(long Messages, long Bytes)> FlowAsync(int size, TimeSpan time)
    {
        var message = new byte[size];
        long sent = 0;
        long arrived = 0;
        long expected = long.MaxValue;
        var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        // One at a time and in order: a plain count will do, and the sum of two threads is compared once a message.
        using var counting = pair.Bob.OnMessage.Subscribe(_ =>
        {
            Volatile.Write(ref arrived, arrived + 1);
            if (arrived >= Volatile.Read(ref expected))
                all.TrySetResult();
        });

        // The clock is read once in 16 messages: small ones come by the million.
        for (var began = Stopwatch.GetTimestamp(); sent % 16 != 0 || Stopwatch.GetElapsedTime(began) < time; sent++)
        {
            var sending = pair.Alice.SendAsync(message, limit.Token);
            if (!sending.IsCompletedSuccessfully)
                await sending.ConfigureAwait(false);
        }

        Volatile.Write(ref expected, sent);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref arrived) >= sent)
            all.TrySetResult();

        await all.Task.WaitAsync(Stall, limit.Token);
        return (sent, sent * size);
    }

    /// <summary>
    /// Bob sends back what comes, and Alice's next message goes out from where the last one came in: no thread of the
    /// benchmark's own is woken in between. The times of the round trips, microseconds, in ascending order.
    /// </summary>
    public async Task<List<double>> EchoAsync(int size, TimeSpan time)
    {
        var message = new byte[size];
        var trips = new List<double>(1 << 18);
        var over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var began = Stopwatch.GetTimestamp();
        var sent = began;

        using var answering = pair.Bob.OnMessage.Subscribe(m => pair.Bob.Send(m.Data));
        using var measuring = pair.Alice.OnMessage.Subscribe(_ =>
        {
            var now = Stopwatch.GetTimestamp();
            trips.Add(Stopwatch.GetElapsedTime(sent, now).TotalMicroseconds);

            if (Stopwatch.GetElapsedTime(began, now) < time)
            {
                sent = Stopwatch.GetTimestamp();
                pair.Alice.Send(message);
            }
            else
            {
                over.TrySetResult();
            }
        });

        pair.Alice.Send(message);
        await over.Task.WaitAsync(time + Stall, limit.Token);
        trips.Sort();
        return trips;
    }

    public async ValueTask DisposeAsync()
    {
        await pair.DisposeAsync();
        limit.Dispose();
    }
}
