using System.Security.Cryptography;
using System.Text.Json;
using System.Threading.Channels;

namespace Hybrid.WebRtc.Demo;

/// <summary>
/// One file: sends every byte back as it comes, and at the end the hash of what came. The page keeps at most 8 MiB between what it
/// sent and what it got back; one that does not is cut off, so the queue between receiving and sending is bounded.
/// </summary>
internal sealed class FileEcho
{
    private const long MaxAhead = 32 * 1024 * 1024;

    private readonly RTCDataChannel _channel;
    private readonly Channel<MessageEvent> _inbox = Channel.CreateUnbounded<MessageEvent>(
        new UnboundedChannelOptions { SingleReader = true, SingleWriter = true }
    );
    private long _waiting;

    public FileEcho(RTCDataChannel channel)
    {
        _channel = channel;
        channel.OnMessage.Subscribe(Receive, () => _inbox.Writer.TryComplete());
    }

    /// <summary>Ends with the file, or when the page closes the channel.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        try
        {
            var messages = _inbox.Reader;
            var header = ReadHeader(await messages.ReadAsync(cancellation));
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

            for (long received = 0; received < header.Size; )
            {
                var message = await messages.ReadAsync(cancellation);
                Interlocked.Add(ref _waiting, -message.Data.Length);
                received += message.Data.Length;
                hash.AppendData(message.Data.Span);
                await _channel.SendAsync(message.Data, cancellation);
            }

            await AnswerAsync(new FileVerdict(header.Size, Convert.ToHexStringLower(hash.GetHashAndReset()), null));
        }
        catch (JsonException e)
        {
            await AnswerAsync(new FileVerdict(0, null, e.Message));
        }
        catch (Exception e) when (e is OperationCanceledException or ChannelClosedException or RTCException)
        {
            // Cancelled by the page, or the page has gone.
        }
    }

    private void Receive(MessageEvent message)
    {
        if (Interlocked.Add(ref _waiting, message.Data.Length) > MaxAhead)
            _channel.Close();
        else
            _inbox.Writer.TryWrite(message);
    }

    private FileHeader ReadHeader(MessageEvent message)
    {
        Interlocked.Add(ref _waiting, -message.Data.Length);
        var header = message.IsText ? JsonSerializer.Deserialize(message.Text!, Json.Default.FileHeader) : null;
        return header is { Size: >= 0 } ? header : throw new JsonException("A file begins with its name and size.");
    }

    private ValueTask AnswerAsync(FileVerdict verdict) =>
        _channel.SendAsync(JsonSerializer.Serialize(verdict, Json.Default.FileVerdict));
}
