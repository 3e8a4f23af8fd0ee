using System.Text.Json;

namespace Hybrid.WebRtc.Demo;

/// <summary>Bulk data for the throughput plot: counts what comes, and sends for as long as the page asks.</summary>
internal sealed class Bulk
{
    private const double MaxSeconds = 60;
    private static readonly byte[] _message = new byte[64 * 1024];

    private readonly RTCDataChannel _channel;
    private readonly CancellationToken _over;
    private CancellationTokenSource? _running;
    private long _received;

    public Bulk(RTCDataChannel channel, CancellationToken over)
    {
        _channel = channel;
        _over = over;
        Random.Shared.NextBytes(_message);
        channel.OnMessage.Subscribe(Receive);
    }

    /// <summary>Octets of bulk data so far.</summary>
    public long Received => Interlocked.Read(ref _received);

    private void Receive(MessageEvent message)
    {
        if (!message.IsText)
        {
            Interlocked.Add(ref _received, message.Data.Length);
            return;
        }

        _running?.Cancel();
        _running = null;

        if (ReadSeconds(message.Text!) is > 0 and var seconds)
        {
            _running = CancellationTokenSource.CreateLinkedTokenSource(_over);
            _running.CancelAfter(TimeSpan.FromSeconds(Math.Min(seconds, MaxSeconds)));
            _ = SendAsync(_running.Token);
        }
    }

    private async Task SendAsync(CancellationToken cancellation)
    {
        try
        {
            while (true)
                await _channel.SendAsync(_message, cancellation); // waits while the send buffer is full
        }
        catch (Exception e) when (e is OperationCanceledException or RTCException)
        {
            // The time is over, the page said stop, or it has gone.
        }
    }

    private static double ReadSeconds(string text)
    {
        try
        {
            return JsonSerializer.Deserialize(text, Json.Default.BulkRequest)?.Run ?? 0;
        }
        catch (JsonException)
        {
            return 0;
        }
    }
}
