namespace Hybrid.WebRtc.Media;

/// <summary>Reads bits, the most significant first. Past the end it reads zeros and says so in <see cref="Failed"/>.</summary>
/// <param name="bytes">What is read.</param>
/// <param name="emulationPrevention">
/// Whether the third octet of 00 00 03 is to be left out, as in a NAL unit, H.264 §7.4.1.
/// </param>
internal ref struct BitReader(ReadOnlySpan<byte> bytes, bool emulationPrevention = false)
{
    private readonly ReadOnlySpan<byte> _bytes = bytes;
    private int _at;
    private int _zeros;
    private int _current;
    private int _left;

    /// <summary>Whether more was asked for than there is.</summary>
    public bool Failed { get; private set; }

    /// <summary>One bit.</summary>
    public bool Bit()
    {
        if (_left == 0 && !Fetch())
            return false;

        return (_current >> --_left & 1) != 0;
    }

    /// <summary>Up to 32 bits.</summary>
    public uint Bits(int count)
    {
        var value = 0u;

        for (var i = 0; i < count; i++)
            value = value << 1 | (Bit() ? 1u : 0u);

        return value;
    }

    /// <summary>Passes over bits.</summary>
    public void Skip(int count)
    {
        for (var i = 0; i < count && !Failed; i++)
            Bit();
    }

    /// <summary>ue(v), H.264 §9.1; what does not fit into 31 bits is a failure.</summary>
    public int Ue()
    {
        var zeros = 0;

        while (!Failed && !Bit())
            zeros++;

        if (Failed || zeros > 30)
        {
            Failed = true;
            return 0;
        }

        return (int)((1u << zeros) - 1 + Bits(zeros));
    }

    /// <summary>se(v), H.264 §9.1.1.</summary>
    public int Se()
    {
        var value = Ue();
        return (value & 1) != 0 ? (value >> 1) + 1 : -(value >> 1);
    }

    private bool Fetch()
    {
        if (emulationPrevention && _zeros >= 2 && _at < _bytes.Length && _bytes[_at] == 3)
        {
            _at++;
            _zeros = 0;
        }

        if (_at >= _bytes.Length)
        {
            Failed = true;
            return false;
        }

        _current = _bytes[_at++];
        _zeros = _current == 0 ? _zeros + 1 : 0;
        _left = 8;
        return true;
    }
}
