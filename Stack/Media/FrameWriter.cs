namespace Hybrid.WebRtc.Media;

/// <summary>The memory in which an <see cref="IDepacketizer"/> puts a frame together: it grows, and what was written may be mended.</summary>
/// <param name="capacity">Octets to make room for at once.</param>
public sealed class FrameWriter(int capacity = 0)
{
    private byte[] _buffer = capacity == 0 ? [] : new byte[capacity];

    /// <summary>Octets written.</summary>
    public int Length { get; private set; }

    /// <summary>What was written; not to be used once more was.</summary>
    public Span<byte> Written => _buffer.AsSpan(0, Length);

    /// <summary>Makes room for so many octets more, which saves a copy later.</summary>
    public void Reserve(int octets)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(octets);

        if (_buffer.Length - Length < octets)
            Array.Resize(ref _buffer, checked(Length + octets));
    }

    /// <summary>Adds octets.</summary>
    public void Append(ReadOnlySpan<byte> octets) => octets.CopyTo(Extend(octets.Length));

    /// <summary>Adds one octet.</summary>
    public void Append(byte octet) => Extend(1)[0] = octet;

    /// <summary>Adds octets in the midst, and moves those behind them.</summary>
    public void Insert(int at, ReadOnlySpan<byte> octets)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)at, (uint)Length, nameof(at));
        var behind = Length - at;
        Extend(octets.Length);
        _buffer.AsSpan(at, behind).CopyTo(_buffer.AsSpan(at + octets.Length));
        octets.CopyTo(_buffer.AsSpan(at));
    }

    /// <summary>Takes back what was written last.</summary>
    public void Truncate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)length, (uint)Length, nameof(length));
        Length = length;
    }

    /// <summary>Hands over what was written, and begins anew.</summary>
    public ReadOnlyMemory<byte> Detach()
    {
        var frame = _buffer.AsMemory(0, Length);
        _buffer = [];
        Length = 0;
        return frame;
    }

    private Span<byte> Extend(int octets)
    {
        if (_buffer.Length - Length < octets)
            Array.Resize(ref _buffer, checked(Math.Max(Length + octets, 2 * _buffer.Length)));

        Length += octets;
        return _buffer.AsSpan(Length - octets, octets);
    }
}
