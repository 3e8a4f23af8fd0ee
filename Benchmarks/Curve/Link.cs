namespace Hybrid.WebRtc.Benchmarks.Curve;

/// <summary>
/// One direction of a path: a queue that drops what does not fit, a bottleneck that serves it at its rate, a delay, and
/// random loss. First in, first out; all that is under way lies in one ring.
/// </summary>
/// <param name="bitsPerSecond">The bottleneck's rate.</param>
/// <param name="delay">From the bottleneck to the other end, microseconds.</param>
/// <param name="queue">Octets that wait for the bottleneck at most.</param>
/// <param name="loss">Datagrams that are lost behind the bottleneck, from 0 to 1.</param>
/// <param name="seed">The same seed loses the same datagrams.</param>
internal sealed class Link(double bitsPerSecond, long delay, int queue, double loss, ulong seed)
{
    private readonly double _nanosecondsPerOctet = 8e9 / bitsPerSecond;
    private readonly Stack<byte[]> _buffers = new();
    private (long Arrival, int Flow, byte[] Buffer, int Length)[] _ring = new (long, int, byte[], int)[1024];
    private int _first;
    private int _count;
    private double _freeAt;
    private ulong _state = (seed * 0x9e3779b97f4a7c15) | 1;

    /// <summary>Octets of IP and UDP in front of every datagram.</summary>
    private const int Headers = 28;

    /// <summary>The largest UDP payload that the path carries: Ethernet's.</summary>
    public const int MaxPayload = 1472;

    /// <summary>When the next datagram arrives; <see cref="long.MaxValue"/> where none is under way.</summary>
    public long Next => _count == 0 ? long.MaxValue : _ring[_first].Arrival;

    /// <summary>Datagrams under way.</summary>
    public int Count => _count;

    /// <summary>A buffer to write a datagram into, for <see cref="Send"/>.</summary>
    public byte[] Rent() => _buffers.TryPop(out var buffer) ? buffer : new byte[MaxPayload];

    /// <summary>What was taken has been read.</summary>
    public void Return(byte[] buffer) => _buffers.Push(buffer);

    /// <summary>Sends `length` octets, and `overhead` that are not in the buffer but travel as well.</summary>
    public void Send(long now, int flow, byte[] buffer, int length, int overhead)
    {
        var wire = length + overhead + Headers;
        var start = Math.Max(_freeAt, now * 1000.0);
        var waiting = (start - (now * 1000.0)) / _nanosecondsPerOctet;

        if (waiting + wire > queue)
        {
            _buffers.Push(buffer);
            return;
        }

        _freeAt = start + (wire * _nanosecondsPerOctet);

        if (loss > 0 && Draw() < loss)
        {
            _buffers.Push(buffer);
            return;
        }

        if (_count == _ring.Length)
            Grow();
        _ring[(_first + _count++) & (_ring.Length - 1)] = (
            (long)Math.Ceiling(_freeAt / 1000) + delay,
            flow,
            buffer,
            length
        );
    }

    /// <summary>The next datagram, which has arrived.</summary>
    public (int Flow, byte[] Buffer, int Length) Take()
    {
        var (_, flow, buffer, length) = _ring[_first];
        _first = (_first + 1) & (_ring.Length - 1);
        _count--;
        return (flow, buffer, length);
    }

    private void Grow()
    {
        var larger = new (long, int, byte[], int)[2 * _ring.Length];
        for (var i = 0; i < _count; i++)
            larger[i] = _ring[(_first + i) & (_ring.Length - 1)];
        _ring = larger;
        _first = 0;
    }

    /// <summary>xorshift64*, from 0 up to 1.</summary>
    private double Draw()
    {
        _state ^= _state >> 12;
        _state ^= _state << 25;
        _state ^= _state >> 27;
        return ((_state * 0x2545f4914f6cdd1d) >> 11) / 9007199254740992.0;
    }
}
