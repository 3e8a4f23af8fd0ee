using System.Net.Sockets;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>Whom a connection's frames are for; called on the loop's thread.</summary>
internal interface IStreamSink
{
    /// <summary>A frame's datagram; lent for the call, and may be overwritten in it.</summary>
    void Frame(Memory<byte> datagram, long now);

    /// <summary>Nothing more comes, and nothing leaves any more. Once, and not where we closed it ourselves.</summary>
    void Ended(string reason);
}

/// <summary>
/// Frames on a connected stream, plain or TLS. No thread waits for it: an asynchronous look without a buffer finds that octets are there, they are read
/// into a lease, and the loop takes the frames from it; the next look begins when it has. What is sent is collected for a turn of the loop and leaves in
/// one write. What a slow reader leaves no room for is lost, as on UDP, and counted.
/// </summary>
internal sealed class StreamConnection : IDrain, IDisposable
{
    /// <summary>Octets that wait for the write before them, at most: the network's loss is what a sender learns its rate from.</summary>
    public const int QueueLimit = 256 * 1024;

    /// <summary>How long the last words have to leave, once it is closed.</summary>
    private static readonly TimeSpan Linger = TimeSpan.FromSeconds(1);

    private readonly Stream _stream;
    private StreamKind _kind;
    private readonly Loop _loop;
    private readonly LeasePool _leases;
    private readonly IStreamSink _sink;
    private readonly Action _flush;
    private readonly Action _wrote;
    private volatile bool _closed;

    // Whoever has the reading in hand: the asynchronous read, or, once it has told the loop, the loop's thread.
    private Lease? _lease;
    private int _filled;
    private volatile string? _ended;

    // The loop's thread only, and once it is closed, whoever closes it.
    private byte[] _queue = [];
    private int _queued;
    private byte[] _leaving = [];
    private Task _write = Task.CompletedTask;
    private int _reserved;
    private bool _isFlushing;
    private bool _isWriting;
    private bool _hasEnded;

    /// <summary>Takes a connected stream over; <see cref="Begin"/> starts it.</summary>
    public StreamConnection(Stream stream, StreamKind kind, Loop loop, LeasePool leases, IStreamSink sink)
    {
        _stream = stream;
        _kind = kind;
        _loop = loop;
        _leases = leases;
        _sink = sink;
        _flush = Flush;
        _wrote = Wrote;
    }

    /// <summary>Whether it was closed.</summary>
    public bool IsClosed => _closed;

    /// <summary>Starts to receive; any thread, once.</summary>
    public void Begin() => _ = Read();

    /// <summary>Memory for one datagram, sent by <see cref="Commit"/>.</summary>
    public Span<byte> Reserve(int size)
    {
        var total = Framing.SizeOf(_kind, size);

        if (_closed || _hasEnded || _queued + total > QueueLimit)
        {
            _reserved = -1;
            return _loop.Scratch.AsSpan(0, size);
        }

        _reserved = total;

        if (_queued + total > _queue.Length)
            Array.Resize(ref _queue, Math.Max(4_096, 2 * (_queued + total)));

        return _queue.AsSpan(_queued + Framing.OffsetOf(_kind), size);
    }

    /// <summary>Sends the first <paramref name="written"/> octets of what was reserved, when the turn is over.</summary>
    public void Commit(int written)
    {
        if (_reserved < 0)
        {
            Telemetry.PortDropped("stream full");
            return;
        }

        Framing.Seal(_kind, _queue.AsSpan(_queued), written);
        _queued += Framing.SizeOf(_kind, written);
        _reserved = -1;
        Telemetry.Sent(1, written);

        if (_isFlushing)
            return;

        // In the next turn, so that a turn's datagrams leave together.
        _isFlushing = true;
        _loop.Post(_flush);
    }

    /// <inheritdoc/>
    public void Drain(long now)
    {
        try
        {
            if (!_closed)
                Take(now);
        }
        catch (Exception bug)
        {
            // The owner's; the connection goes on, or it would be deaf for good.
            Log.LoopCrashed(_loop.Logger, bug);
            _filled = 0;
        }

        if (_filled == 0 || _closed)
            GiveBack();

        if (_closed)
            return;

        if (_ended is { } reason)
            End(reason);
        else
            _ = Read();
    }

    /// <summary>Closes it, once what was committed has left or has had its time; any thread. The sink hears nothing more.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, true))
            return;

        _ = Close();
    }

    /// <summary>Hands over every whole frame.</summary>
    private void Take(long now)
    {
        var at = 0;
        var frames = 0;
        var octets = 0;

        while (!_closed && _lease is { } lease)
        {
            var frame = Framing.Read(_kind, lease.Memory.Span[at.._filled]);

            if (frame.Status == FrameStatus.Malformed)
            {
                Telemetry.PortDropped("stream malformed");
                _ended ??= "What came is not framed as it should be.";
                at = _filled;
            }

            if (frame.Status != FrameStatus.Whole)
                break;

            if (frame.Length > 0)
            {
                frames++;
                octets += frame.Length;
                // Before anything is sent that this frame is the occasion of.
                _kind = Framing.After(_kind, lease.Memory.Span.Slice(at + frame.Offset, frame.Length));
                _sink.Frame(lease.Memory.Slice(at + frame.Offset, frame.Length), now);
            }

            at += frame.Total;
        }

        if (frames > 0)
            Telemetry.Received(frames, octets);

        _filled -= at;

        if (_filled > 0 && at > 0 && _lease is { } kept)
            kept.Memory.Slice(at, _filled).CopyTo(kept.Memory);
    }

    private async Task Read()
    {
        try
        {
            // A connection that is silent holds no buffer.
            if (_filled == 0)
            {
                await _stream.ReadAsync(Memory<byte>.Empty).ConfigureAwait(false);
                _lease ??= _leases.Rent();
            }

            var read = await _stream.ReadAsync(_lease!.Memory[_filled..]).ConfigureAwait(false);

            if (read == 0)
                _ended = "The other side has closed the connection.";

            _filled += read;
        }
        catch (Exception e)
        {
            _ended = e.Message;
        }

        // The loop may be gone with its last member, so a closed connection ends here.
        if (_closed)
            GiveBack();
        else
            _loop.Post(this);
    }

    private void GiveBack()
    {
        if (Interlocked.Exchange(ref _lease, null) is { } lease)
            _leases.Return(lease);
    }

    private void End(string reason)
    {
        if (_hasEnded)
            return;

        _hasEnded = true;
        Dispose();
        _sink.Ended(reason);
    }

    private void Flush()
    {
        _isFlushing = false;

        if (_closed || _queued == 0 || _isWriting)
            return;

        (_queue, _leaving) = (_leaving, _queue);
        _write = Write(_leaving.AsMemory(0, _queued));
        _queued = 0;

        // Mostly the system has room, and it is done.
        if (_write.IsCompleted && _ended is null)
            return;

        _isWriting = true;
        _ = Tell(_write);
    }

    private async Task Write(Memory<byte> octets)
    {
        try
        {
            await _stream.WriteAsync(octets).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _ended = e.Message;
        }
    }

    private async Task Tell(Task write)
    {
        await write.ConfigureAwait(false);

        if (!_closed)
            _loop.Post(_wrote);
    }

    private void Wrote()
    {
        _isWriting = false;

        if (_closed)
            return;

        if (_ended is { } reason)
            End(reason);
        else
            Flush();
    }

    private async Task Close()
    {
        try
        {
            await _write.WaitAsync(Linger).ConfigureAwait(false);

            if (_queued > 0 && _ended is null)
            {
                using var patience = new CancellationTokenSource(Linger);
                await _stream.WriteAsync(_queue.AsMemory(0, _queued), patience.Token).ConfigureAwait(false);
            }
        }
        catch (Exception e)
            when (e
                    is IOException
                        or TimeoutException
                        or OperationCanceledException
                        or SocketException
                        or ObjectDisposedException
                        or InvalidOperationException
                        or NotSupportedException
            )
        {
            // Nobody listens any more.
        }
        finally
        {
            // The read that is under way ends with it.
            await _stream.DisposeAsync().ConfigureAwait(false);
        }
    }
}
