namespace Hybrid.WebRtc.Media;

/// <summary>Collects the payloads of one frame, one behind the other in one slab of memory.</summary>
public sealed class PayloadBuilder
{
    private byte[] _slab = [];
    private Part[] _parts = new Part[8];
    private int _length;

    /// <summary>Payloads so far.</summary>
    public int Count { get; private set; }

    /// <summary>Octets of all of them.</summary>
    public int Length => _length;

    /// <summary>Makes room at once for payloads of so many octets in all, which saves a copy later.</summary>
    public void Reserve(int octets)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(octets);

        if (_slab.Length - _length < octets)
            Array.Resize(ref _slab, checked(_length + octets));
    }

    /// <summary>Adds a payload, to be written into the span before anything else is added.</summary>
    /// <param name="size">Octets of it.</param>
    /// <param name="timestampOffset">How much later than the frame it begins, in units of the RTP clock: for audio that was split.</param>
    public Span<byte> Add(int size, uint timestampOffset = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(size);

        if (_slab.Length - _length < size)
            Array.Resize(ref _slab, checked(Math.Max(_length + size, 2 * _slab.Length)));

        if (Count == _parts.Length)
            Array.Resize(ref _parts, 2 * Count);

        _parts[Count++] = new(_length, size, timestampOffset, false);
        _length += size;
        return _slab.AsSpan(_length - size, size);
    }

    /// <summary>Has the packet of the last payload bear the marker bit.</summary>
    public void MarkLast()
    {
        if (Count > 0)
            _parts[Count - 1] = _parts[Count - 1] with { Marker = true };
    }

    /// <summary>A payload, as it is now.</summary>
    public ReadOnlyMemory<byte> this[int index] =>
        index >= 0 && index < Count
            ? _slab.AsMemory(_parts[index].Offset, _parts[index].Size)
            : throw new ArgumentOutOfRangeException(nameof(index));

    /// <summary>Whether the packet of a payload bears the marker bit.</summary>
    public bool HasMarker(int index) => _parts[index].Marker;

    /// <summary>How much later than the frame a payload begins.</summary>
    public uint TimestampOffset(int index) => _parts[index].TimestampOffset;

    /// <summary>Forgets everything; payloads that were handed out keep their memory.</summary>
    public void Clear()
    {
        _slab = [];
        _length = 0;
        Count = 0;
    }

    private readonly record struct Part(int Offset, int Size, uint TimestampOffset, bool Marker);
}
