using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Hybrid.WebRtc.Core;
using Microsoft.FSharp.Core;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// Bytes of a journal being written. Numbers are LEB128 (signed ones in zigzag), texts and octets stand behind their length, a
/// value that may be absent behind 0 or 1.
/// </summary>
internal sealed class JournalBuffer
{
    private byte[] _bytes = new byte[512];

    /// <summary>Octets written.</summary>
    public int Length { get; private set; }

    /// <summary>What was written, until the next write.</summary>
    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, Length);

    /// <summary>Starts over.</summary>
    public void Clear() => Length = 0;

    /// <summary>The next octets, to be filled.</summary>
    public Span<byte> Take(int count)
    {
        if (Length + count > _bytes.Length)
            System.Array.Resize(ref _bytes, Math.Max(2 * _bytes.Length, Length + count));

        Length += count;
        return _bytes.AsSpan(Length - count, count);
    }

    /// <summary>One octet.</summary>
    public void Byte(byte value) => Take(1)[0] = value;

    /// <summary>0 or 1.</summary>
    public void Flag(bool value) => Byte(value ? (byte)1 : (byte)0);

    /// <summary>A number, in 1 to 10 octets.</summary>
    public void Unsigned(ulong value)
    {
        for (; value >= 0x80; value >>= 7)
            Byte((byte)(value | 0x80));

        Byte((byte)value);
    }

    /// <summary>A number of either sign.</summary>
    public void Number(long value) => Unsigned(((ulong)value << 1) ^ (ulong)(value >> 63));

    /// <summary>A number that may be absent.</summary>
    public void MaybeNumber(FSharpValueOption<int> value)
    {
        Flag(value.IsSome);

        if (value.IsSome)
            Number(value.Value);
    }

    /// <summary>Octets, with their count before them.</summary>
    public void Octets(ReadOnlySpan<byte> value)
    {
        Unsigned((ulong)value.Length);
        value.CopyTo(Take(value.Length));
    }

    /// <summary>A text, as the numbers of its UTF-16 units: lone surrogates, which a caller may well pass, survive.</summary>
    public void Text(string value)
    {
        Unsigned((ulong)value.Length);

        foreach (var c in value)
            Unsigned(c);
    }

    /// <summary>A text that may be absent.</summary>
    public void MaybeText(FSharpValueOption<string> value)
    {
        Flag(value.IsSome);

        if (value.IsSome)
            Text(value.Value);
    }

    /// <summary>Several values, with their count before them.</summary>
    public void Array<T>(T[] values, Action<T> write)
    {
        Unsigned((ulong)values.Length);

        foreach (var value in values)
            write(value);
    }

    /// <summary>A value that may be absent.</summary>
    public void Option<T>(FSharpValueOption<T> value, Action<T> write)
    {
        Flag(value.IsSome);

        if (value.IsSome)
            write(value.Value);
    }

    /// <summary>16 octets.</summary>
    public void Address(Address address)
    {
        BinaryPrimitives.WriteUInt64BigEndian(Take(8), address.High);
        BinaryPrimitives.WriteUInt64BigEndian(Take(8), address.Low);
    }

    /// <summary>Address and port.</summary>
    public void Endpoint(Endpoint endpoint)
    {
        Address(endpoint.Address);
        Unsigned(endpoint.Port);
    }

    /// <summary>Local port and remote endpoint.</summary>
    public void Path(Path path)
    {
        Number(path.Local);
        Endpoint(path.Remote);
    }
}

/// <summary>A journal that is not one, or is damaged.</summary>
internal sealed class JournalException(string message) : Exception(message);

/// <summary>Reads what <see cref="JournalBuffer"/> wrote.</summary>
/// <exception cref="JournalException">Thrown by every method past the end or on a value out of range.</exception>
internal sealed class JournalCursor(byte[] bytes)
{
    private int _at;

    /// <summary>Whether all is read.</summary>
    public bool IsAtEnd => _at == bytes.Length;

    /// <summary>The next octets.</summary>
    public ReadOnlySpan<byte> Take(int count)
    {
        if ((uint)count > (uint)(bytes.Length - _at))
            Damaged();

        _at += count;
        return bytes.AsSpan(_at - count, count);
    }

    /// <summary>One octet.</summary>
    public byte Byte() => Take(1)[0];

    /// <summary>0 or 1.</summary>
    public bool Flag() =>
        Byte() switch
        {
            0 => false,
            1 => true,
            _ => Damaged<bool>(),
        };

    /// <summary>See <see cref="JournalBuffer.Unsigned"/>.</summary>
    public ulong Unsigned()
    {
        var value = 0UL;

        for (var shift = 0; shift < 70; shift += 7)
        {
            var part = Byte();
            value |= (ulong)(part & 0x7f) << shift;

            if (part < 0x80)
                return value;
        }

        return Damaged<ulong>();
    }

    /// <summary>A number of either sign.</summary>
    public long Number()
    {
        var value = Unsigned();
        return (long)(value >> 1) ^ -(long)(value & 1);
    }

    /// <summary>A number of either sign in 32 bits.</summary>
    public int Int32() => Number() is >= int.MinValue and <= int.MaxValue and var value ? (int)value : Damaged<int>();

    /// <summary>A count of things that take an octet each at least.</summary>
    public int Count() => Unsigned() is var value && value <= (ulong)(bytes.Length - _at) ? (int)value : Damaged<int>();

    /// <summary>Octets, as a new array.</summary>
    public byte[] Octets() => Take(Count()).ToArray();

    /// <summary>A text.</summary>
    public string Text()
    {
        var text = new char[Count()];

        for (var i = 0; i < text.Length; i++)
            text[i] = (char)Unsigned();

        return new string(text);
    }

    /// <summary>Several values.</summary>
    public T[] Array<T>(Func<T> read)
    {
        var values = new T[Count()];

        for (var i = 0; i < values.Length; i++)
            values[i] = read();

        return values;
    }

    /// <summary>A value that may be absent.</summary>
    public FSharpValueOption<T> Option<T>(Func<T> read) =>
        Flag() ? FSharpValueOption<T>.Some(read()) : FSharpValueOption<T>.None;

    /// <summary>16 octets.</summary>
    public Address Address() =>
        new(BinaryPrimitives.ReadUInt64BigEndian(Take(8)), BinaryPrimitives.ReadUInt64BigEndian(Take(8)));

    /// <summary>Address and port.</summary>
    public Endpoint Endpoint() => new(Address(), (ushort)Unsigned());

    /// <summary>Local port and remote endpoint.</summary>
    public Path Path() => new(Int32(), Endpoint());

    [DoesNotReturn]
    private static void Damaged() =>
        throw new JournalException("The journal is damaged: a value runs past its record.");

    [DoesNotReturn]
    private static T Damaged<T>() => throw new JournalException("The journal is damaged: a value is out of range.");
}
