using System.Buffers;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>
/// A client's TCP or TLS connection. What arrives is read into one buffer and handed over message by message and in place; what leaves is
/// gathered during a turn and written at its end. All of it happens on the loop's thread; only waiting is done elsewhere.
/// </summary>
internal sealed class TurnConnection : IDrain
{
    /// <summary>Octets that may wait to be written; what finds no room is lost, as a datagram would be.</summary>
    private const int MaxPending = 1024 * 1024;

    private const int FirstBuffer = 4_096;

    /// <summary>What a buffer grows to where it keeps being filled.</summary>
    private const int LastBuffer = 65_536;

    private readonly TurnServerHost _host;
    private readonly Stream _stream;

    /// <summary>Whether each message is a record of its own: some clients, coturn's among them, take a record for a message.</summary>
    private readonly bool _oneByOne;
    private readonly Action _arrived;
    private readonly Action _wrote;

    private byte[] _incoming = ArrayPool<byte>.Shared.Rent(FirstBuffer);
    private int _filled;
    private ConfiguredValueTaskAwaitable<int>.ConfiguredValueTaskAwaiter _read;
    private bool _reading;

    private byte[] _outgoing = [];
    private int _pending;
    private byte[] _leaving = [];
    private int _leavingFrom;
    private int _leavingTo;
    private ConfiguredValueTaskAwaitable.ConfiguredValueTaskAwaiter _write;
    private bool _writing;
    private bool _queued;
    private bool _closed;

    /// <summary>Who takes the stream over once our last answer has left.</summary>
    private Func<Stream, byte[], Task>? _heir;
    private byte[]? _rest;

    /// <summary>A connection that is established, TLS included.</summary>
    public TurnConnection(TurnServerHost host, Path path, Stream stream)
    {
        _host = host;
        _stream = stream;
        _oneByOne = stream is SslStream;
        Path = path;
        _arrived = () => _host.Loop.Post(this);
        _wrote = () => _host.Loop.Post(Written);
    }

    /// <summary>The client's 5-tuple.</summary>
    public Path Path { get; }

    /// <summary>Whether the client has an allocation: then the connection may be silent.</summary>
    public bool HasAllocation { get; set; }

    /// <summary>When it will have done without an allocation for too long.</summary>
    public long PatientUntil { get; set; }

    /// <summary>Starts to read, once.</summary>
    public void Begin() => Read();

    /// <summary>
    /// From the message that is being handed over on, what arrives are no messages. Once what was committed has left, the stream is <paramref name="heir"/>'s,
    /// with what has been read beyond that message; to close it is still ours.
    /// </summary>
    public void HandOff(Func<Stream, byte[], Task> heir) => _heir = heir;

    /// <summary>Room for a message of so many octets, to be filled and then sent by <see cref="Commit"/>; empty where there is none.</summary>
    public Span<byte> Reserve(int size)
    {
        var needed = _pending + TurnFraming.Padded(size);

        if (_closed || needed + _leavingTo - _leavingFrom > MaxPending)
            return default;

        if (needed > _outgoing.Length)
            Grow(ref _outgoing, _pending, Math.Max(needed, FirstBuffer));

        return _outgoing.AsSpan(_pending, size);
    }

    /// <summary>The message that was built in the room reserved last; it leaves at the end of the turn.</summary>
    public void Commit(int written)
    {
        var padded = TurnFraming.Padded(written);
        _outgoing.AsSpan(_pending + written, padded - written).Clear();
        _pending += padded;

        if (_queued)
            return;

        _queued = true;
        _host.WillFlush(this);
    }

    /// <summary>What was gathered leaves, or follows what is leaving.</summary>
    public void Flush()
    {
        _queued = false;

        while (!_closed && !_writing && _leavingTo - _leavingFrom + _pending > 0)
        {
            var next = NextToLeave();
            _writing = true;

            try
            {
                _write = _stream.WriteAsync(next).ConfigureAwait(false).GetAwaiter();
            }
            catch (Exception e) when (IsEnd(e))
            {
                _writing = false;
                _host.Closed(this);
                return;
            }

            if (_write.IsCompleted)
                EndWrite();
            else
                _write.UnsafeOnCompleted(_wrote);
        }

        if (_closed || _writing || _heir is not { } heir || _rest is not { } rest)
            return;

        _heir = null;
        Return(ref _outgoing);
        Return(ref _leaving);
        _ = heir(_stream, rest);
    }

    /// <summary>Hands over the messages that have arrived, and waits for more.</summary>
    public void Drain(long now)
    {
        if (!_reading)
            return;

        _reading = false;
        var count = 0;

        try
        {
            count = _read.GetResult();
        }
        catch (Exception e) when (IsEnd(e))
        {
            // Gone, or closed by us: the same as its end.
        }

        if (_closed)
        {
            Return(ref _incoming);
            return;
        }

        _filled += count;

        if (count > 0 && HandOver(now))
        {
            if (_rest is null)
                Read();
            else
                Return(ref _incoming);
        }
        else if (!_closed)
            _host.Closed(this);
        else if (!_reading)
            Return(ref _incoming);
    }

    /// <summary>Closes it. Nothing more is handed over.</summary>
    public void Close()
    {
        if (_closed)
            return;

        _closed = true;

        // Ends what is under way; whoever is told of that gives the buffer back.
        _stream.Dispose();

        if (!_writing)
            Return(ref _leaving);

        Return(ref _outgoing);
    }

    private static bool IsEnd(Exception e) =>
        e is IOException or ObjectDisposedException or SocketException or InvalidOperationException;

    private static void Return(ref byte[] buffer)
    {
        if (buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(buffer);

        buffer = [];
    }

    private static void Grow(ref byte[] buffer, int kept, int size)
    {
        var larger = ArrayPool<byte>.Shared.Rent(size);
        buffer.AsSpan(0, kept).CopyTo(larger);
        Return(ref buffer);
        buffer = larger;
    }

    private void Read()
    {
        try
        {
            _read = _stream.ReadAsync(_incoming.AsMemory(_filled)).ConfigureAwait(false).GetAwaiter();
        }
        catch (Exception e) when (IsEnd(e))
        {
            _host.Closed(this);
            return;
        }

        _reading = true;

        // What is there already waits for the next turn, so that one client does not starve the others.
        if (_read.IsCompleted)
            _arrived();
        else
            _read.UnsafeOnCompleted(_arrived);
    }

    private ReadOnlyMemory<byte> NextToLeave()
    {
        if (_leavingFrom == _leavingTo)
        {
            (_outgoing, _leaving) = (_leaving, _outgoing);
            (_leavingFrom, _leavingTo, _pending) = (0, _pending, 0);
        }

        var length = _oneByOne ? TurnFraming.Length(_leaving.AsSpan(_leavingFrom)) : _leavingTo - _leavingFrom;
        var next = _leaving.AsMemory(_leavingFrom, length);
        _leavingFrom += length;
        return next;
    }

    /// <summary>False: what arrived are no messages, or the connection was closed over one of them.</summary>
    private bool HandOver(long now)
    {
        var at = 0;
        var needed = _filled == _incoming.Length ? Math.Min(LastBuffer, 2 * _filled) : 0;

        while (_filled - at >= TurnFraming.Prefix)
        {
            var length = TurnFraming.Length(_incoming.AsSpan(at));

            if (length < 0)
                return false;

            if (length > _filled - at)
            {
                needed = Math.Max(needed, length);
                break;
            }

            _host.Received(Path, _incoming.AsMemory(at, length), now);
            at += length;

            if (_closed)
                return false;

            if (_heir is not null)
            {
                _rest = _incoming.AsSpan(at, _filled - at).ToArray();
                return true;
            }
        }

        _filled -= at;
        _incoming.AsSpan(at, _filled).CopyTo(_incoming);

        if (needed > _incoming.Length)
            Grow(ref _incoming, _filled, needed);

        return true;
    }

    private void Written()
    {
        EndWrite();
        Flush();
    }

    private void EndWrite()
    {
        _writing = false;

        try
        {
            _write.GetResult();
        }
        catch (Exception e) when (IsEnd(e))
        {
            if (!_closed)
                _host.Closed(this);
        }

        if (_closed)
            Return(ref _leaving);
    }
}
