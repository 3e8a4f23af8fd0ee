using System.Runtime.CompilerServices;

namespace Hybrid.WebRtc.Media;

/// <summary>
/// Reads the frames of a file. Whatever the file holds, memory stays within <see cref="MaxFrameSize"/> and a little more, and what
/// is wrong with it is told by <see cref="InvalidDataException"/> with the offset and what was expected there. Not safe for
/// concurrent use.
/// </summary>
public abstract class MediaReader : IDisposable, IAsyncDisposable
{
    private readonly Stream _stream;
    private readonly bool _leaveOpen;

    private protected MediaReader(Stream stream, bool leaveOpen)
    {
        ArgumentNullException.ThrowIfNull(stream);

        if (!stream.CanRead)
            throw new ArgumentException("The stream cannot be read.", nameof(stream));

        _stream = stream;
        _leaveOpen = leaveOpen;
        Source = new(stream);
    }

    /// <summary>Octets that a frame may have; a longer one is taken for an error in the file. 64 MiB.</summary>
    public const int MaxFrameSize = 64 * 1024 * 1024;

    /// <summary>
    /// The payload format of the frames; null where the file holds a codec that the library does not know, or its header was not
    /// read yet.
    /// </summary>
    public abstract PayloadFormat? Format { get; }

    private protected ByteSource Source { get; }

    /// <summary>The next frame; null at the end of the file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged or ends too early.</exception>
    public EncodedFrame? Read()
    {
        Start();

        while (true)
            switch (Step(out var frame))
            {
                case Reading.Done:
                    return frame;
                case Reading.End:
                    return null;
                default:
                    Source.Fill();
                    break;
            }
    }

    /// <summary>The next frame; null at the end of the file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged or ends too early.</exception>
    public async ValueTask<EncodedFrame?> ReadAsync(CancellationToken cancellationToken = default)
    {
        await StartAsync(cancellationToken).ConfigureAwait(false);

        while (true)
            switch (Step(out var frame))
            {
                case Reading.Done:
                    return frame;
                case Reading.End:
                    return null;
                default:
                    await Source.FillAsync(cancellationToken).ConfigureAwait(false);
                    break;
            }
    }

    /// <summary>All frames that are left.</summary>
    public async IAsyncEnumerable<EncodedFrame> ReadAllAsync(
        [EnumeratorCancellation] CancellationToken cancellationToken = default
    )
    {
        while (await ReadAsync(cancellationToken).ConfigureAwait(false) is { } frame)
            yield return frame;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_leaveOpen)
            _stream.Dispose();

        GC.SuppressFinalize(this);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return _leaveOpen ? ValueTask.CompletedTask : _stream.DisposeAsync();
    }

    /// <summary>Reads the file's header, once.</summary>
    private protected void Start()
    {
        while (!TryStart())
            Source.Fill();
    }

    /// <summary>The same.</summary>
    private protected async ValueTask StartAsync(CancellationToken cancellationToken)
    {
        while (!TryStart())
            await Source.FillAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Whether the header was read, or can be from what is available.</summary>
    private protected virtual bool TryStart() => true;

    /// <summary>Goes on as far as what is available allows.</summary>
    private protected abstract Reading Step(out EncodedFrame? frame);

    /// <summary>Whether so many octets are available; the file must not end before.</summary>
    private protected bool Has(int octets, string what)
    {
        if (Source.Available.Length >= octets)
            return true;

        return Source.HasEnded
            ? throw Damaged(
                Source.Offset,
                $"{octets} octets of {what} were expected; the file ends after {Source.Available.Length}"
            )
            : false;
    }

    /// <summary>What is wrong, and where.</summary>
    private protected static InvalidDataException Damaged(long offset, string what) =>
        new($"At octet {offset}: {what}.");

    /// <summary>How far a step came.</summary>
    private protected enum Reading
    {
        /// <summary>More of the stream is needed.</summary>
        NeedsMore,

        /// <summary>There is a frame.</summary>
        Done,

        /// <summary>The file has ended.</summary>
        End,
    }
}

/// <summary>
/// Writes frames to a file. Disposing completes it, and closes the stream unless that was to be left open. Not safe for concurrent
/// use.
/// </summary>
public abstract class MediaWriter : IDisposable, IAsyncDisposable
{
    private readonly bool _leaveOpen;
    private bool _isComplete;

    private protected MediaWriter(Stream stream, bool leaveOpen)
    {
        ArgumentNullException.ThrowIfNull(stream);

        if (!stream.CanWrite)
            throw new ArgumentException("The stream cannot be written.", nameof(stream));

        Stream = stream;
        _leaveOpen = leaveOpen;
    }

    private protected Stream Stream { get; }

    /// <summary>What is to be written next.</summary>
    private protected FrameWriter Pending { get; } = new();

    /// <summary>Writes a frame.</summary>
    /// <exception cref="ArgumentException">The file cannot hold it.</exception>
    public void Write(EncodedFrame frame)
    {
        ArgumentNullException.ThrowIfNull(frame);
        ObjectDisposedException.ThrowIf(_isComplete, this);
        Compose(frame);
        Stream.Write(Pending.Written);
        Pending.Truncate(0);
    }

    /// <summary>Writes a frame.</summary>
    /// <exception cref="ArgumentException">The file cannot hold it.</exception>
    public async ValueTask WriteAsync(EncodedFrame frame, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(frame);
        ObjectDisposedException.ThrowIf(_isComplete, this);
        Compose(frame);
        await Stream.WriteAsync(Pending.Detach(), cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        GC.SuppressFinalize(this);

        if (_isComplete)
            return;

        _isComplete = true;

        try
        {
            ComposeEnd();
            Stream.Write(Pending.Written);
            Mend();
            Stream.Flush();
        }
        finally
        {
            if (!_leaveOpen)
                Stream.Dispose();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);

        if (_isComplete)
            return;

        _isComplete = true;

        try
        {
            ComposeEnd();
            await Stream.WriteAsync(Pending.Detach()).ConfigureAwait(false);
            Mend();
            await Stream.FlushAsync().ConfigureAwait(false);
        }
        finally
        {
            if (!_leaveOpen)
                await Stream.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Puts what a frame becomes behind what is pending.</summary>
    private protected abstract void Compose(EncodedFrame frame);

    /// <summary>The same for the end of the file.</summary>
    private protected abstract void ComposeEnd();

    /// <summary>Mends what stands at the beginning, where the stream can seek.</summary>
    private protected virtual void Mend() { }
}
