using System.Buffers;
using System.IO.Pipelines;

namespace Hybrid.WebRtc;

/// <summary>A data channel as a pipe. Octets that its reader has not taken count against the receive window.</summary>
internal sealed class ChannelViews : IDuplexPipe, IObserver<MessageEvent>
{
    /// <summary>The largest message that a view sends: large enough to be quick, small enough for every peer.</summary>
    public const int LargestMessage = 65_536;

    private readonly RTCDataChannel _channel;
    private readonly System.Threading.Channels.Channel<MessageEvent> _received =
        System.Threading.Channels.Channel.CreateUnbounded<MessageEvent>(
            new() { SingleReader = true, SingleWriter = true }
        );

    // The pipes' own work is done on the thread pool, whatever context their user has.
    private readonly Pipe _in = new(new PipeOptions(useSynchronizationContext: false));
    private readonly Pipe _out = new(new PipeOptions(useSynchronizationContext: false));

    public ChannelViews(RTCDataChannel channel) => _channel = channel;

    public PipeReader Input => _in.Reader;

    public PipeWriter Output => _out.Writer;

    public void Start()
    {
        _channel.OnMessage.Subscribe(this);
        _ = Task.Run(ReceiveAsync);
        _ = Task.Run(SendAsync);
    }

    public void OnNext(MessageEvent message)
    {
        message.Claim();
        _received.Writer.TryWrite(message);
    }

    public void OnError(Exception error) => _received.Writer.TryComplete(error);

    public void OnCompleted()
    {
        _received.Writer.TryComplete();
        _out.Reader.CancelPendingRead();
    }

    private async Task ReceiveAsync()
    {
        Exception? failure = null;
        var isRead = true;
        try
        {
            await foreach (var message in _received.Reader.ReadAllAsync().ConfigureAwait(false))
            {
                // Once nobody reads, the rest is let go, so that it does not hold up the other channels.
                if (isRead)
                    isRead = !(await _in.Writer.WriteAsync(message.Data).ConfigureAwait(false)).IsCompleted;
                message.Release();
            }
        }
        catch (Exception e)
        {
            failure = e;
        }
        await _in.Writer.CompleteAsync(failure).ConfigureAwait(false);
    }

    private async Task SendAsync()
    {
        Exception? failure = null;
        try
        {
            await _channel.WaitForOpenAsync().ConfigureAwait(false);
            while (true)
            {
                var read = await _out.Reader.ReadAsync().ConfigureAwait(false);
                if (read.IsCanceled)
                    throw Mistakes.InvalidState("The data channel closed.");
                var buffer = read.Buffer;
                while (!buffer.IsEmpty)
                {
                    var message = buffer.Slice(0, Math.Min(buffer.Length, MessageSize(_channel)));
                    await _channel
                        .SendAsync(message.IsSingleSegment ? message.First : message.ToArray())
                        .ConfigureAwait(false);
                    buffer = buffer.Slice(message.End);
                }
                _out.Reader.AdvanceTo(buffer.End);
                if (read.IsCompleted)
                    break;
            }
        }
        catch (Exception e)
        {
            failure = e;
        }
        await _out.Reader.CompleteAsync(failure).ConfigureAwait(false);
        _channel.Close();
    }

    /// <summary>Octets of a full message.</summary>
    public static int MessageSize(RTCDataChannel channel) => (int)Math.Min(LargestMessage, channel.MaxMessageSize);
}

/// <summary>A data channel as a stream.</summary>
internal sealed class ChannelStream(RTCDataChannel channel, IDuplexPipe pipe) : Stream
{
    private readonly Stream _input = pipe.Input.AsStream(leaveOpen: true);
    private bool _isDisposed;

    public override bool CanRead => !_isDisposed;

    public override bool CanWrite => !_isDisposed;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return _input.ReadAsync(buffer, cancellationToken);
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override int Read(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        return ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();
    }

    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer,
        CancellationToken cancellationToken = default
    )
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        try
        {
            await channel.WaitForOpenAsync(cancellationToken).ConfigureAwait(false);
            while (!buffer.IsEmpty)
            {
                var size = Math.Min(buffer.Length, ChannelViews.MessageSize(channel));
                await channel.SendAsync(buffer[..size], cancellationToken).ConfigureAwait(false);
                buffer = buffer[size..];
            }
        }
        catch (RTCException e)
        {
            throw new IOException("The data channel cannot be written to: " + e.Message, e);
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override void Write(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        WriteAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();
    }

    public override void Flush() { }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (!_isDisposed && disposing)
        {
            _isDisposed = true;
            pipe.Input.Complete();
            channel.Close();
        }
        base.Dispose(disposing);
    }
}
