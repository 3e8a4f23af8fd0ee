namespace Hybrid.WebRtc.Media;

/// <summary>
/// A stream, read ahead into one buffer. The buffer grows with what has arrived, never with what a length field claims.
/// </summary>
internal sealed class ByteSource(Stream stream)
{
    private const int Chunk = 64 * 1024;

    private byte[] _buffer = [];
    private int _start;
    private int _end;

    /// <summary>What was read and not consumed yet.</summary>
    public ReadOnlySpan<byte> Available => _buffer.AsSpan(_start, _end - _start);

    /// <summary>How far from where reading began the first octet available is.</summary>
    public long Offset { get; private set; }

    /// <summary>Whether the stream has ended: what is available is all there is.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>Goes on behind octets that are available.</summary>
    public void Consume(int octets)
    {
        _start += octets;
        Offset += octets;
    }

    /// <summary>Reads some more.</summary>
    public void Fill()
    {
        MakeRoom();
        Add(stream.Read(_buffer, _end, _buffer.Length - _end));
    }

    /// <summary>Reads some more.</summary>
    public async ValueTask FillAsync(CancellationToken cancellationToken)
    {
        MakeRoom();
        Add(await stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken).ConfigureAwait(false));
    }

    private void Add(int octets)
    {
        HasEnded = octets == 0;
        _end += octets;
    }

    private void MakeRoom()
    {
        var held = _end - _start;

        // Half of it free: what is moved was paid for by what has been consumed.
        if (_start > 0 && held <= _buffer.Length / 2)
        {
            _buffer.AsSpan(_start, held).CopyTo(_buffer);
            (_start, _end) = (0, held);
        }

        if (_buffer.Length - _end >= Chunk / 2)
            return;

        var larger = new byte[Math.Max(Chunk, 2 * held)];
        _buffer.AsSpan(_start, held).CopyTo(larger);
        (_buffer, _start, _end) = (larger, 0, held);
    }
}
