using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Hybrid.WebRtc.Media;

/// <summary>The header of an rtpdump file, as rtptools defines it.</summary>
/// <param name="Start">When the first packet was taken, to a microsecond.</param>
/// <param name="Source">Where the packets were received, IPv4; the file's first line has it too.</param>
public sealed record RtpDumpHeader(DateTimeOffset Start, IPEndPoint Source);

/// <summary>A packet in an rtpdump file.</summary>
/// <param name="Offset">When it was taken, since the start, to a millisecond; at most 49 days.</param>
/// <param name="IsRtcp">Whether it is RTCP, and not RTP.</param>
/// <param name="Data">The packet, from its first octet.</param>
/// <param name="Length">Octets that an RTP packet had; more than <paramref name="Data"/> where the file keeps headers only.</param>
public readonly record struct RtpDumpPacket(TimeSpan Offset, bool IsRtcp, ReadOnlyMemory<byte> Data, int Length);

/// <summary>
/// Reads the files of rtpdump and rtpplay (<c>#!rtpplay1.0</c>), RTP and RTCP. Memory stays within one packet. Not safe for concurrent
/// use.
/// </summary>
/// <param name="stream">From the file's first octet on; read forward only.</param>
public sealed class RtpDumpReader(Stream stream)
{
    private const int MaxLine = 256;
    private const int HeaderSize = 16;
    private const int PacketHeaderSize = 8;

    private readonly ByteSource _source = new(stream ?? throw new ArgumentNullException(nameof(stream)));
    private RtpDumpHeader? _header;

    /// <summary>The file's header; may be called at any time.</summary>
    /// <exception cref="InvalidDataException">It is none.</exception>
    public RtpDumpHeader ReadHeader()
    {
        while (!TryStart())
            _source.Fill();

        return _header!;
    }

    /// <summary>The next packet; null at the end of the file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged or ends too early.</exception>
    public RtpDumpPacket? Read()
    {
        ReadHeader();

        while (true)
        {
            if (TryRead(out var packet))
                return packet;

            if (_source.HasEnded)
                return null;

            _source.Fill();
        }
    }

    /// <summary>The next packet; null at the end of the file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged or ends too early.</exception>
    public async ValueTask<RtpDumpPacket?> ReadAsync(CancellationToken cancellationToken = default)
    {
        while (!TryStart())
            await _source.FillAsync(cancellationToken).ConfigureAwait(false);

        while (true)
        {
            if (TryRead(out var packet))
                return packet;

            if (_source.HasEnded)
                return null;

            await _source.FillAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private bool TryStart()
    {
        if (_header is not null)
            return true;

        var available = _source.Available;
        var line = available.IndexOf((byte)'\n');

        if (line < 0 ? available.Length > MaxLine || _source.HasEnded : !available.StartsWith("#!rtpplay1.0 "u8))
            throw Damaged(0, "a line \"#!rtpplay1.0 address/port\" was expected");

        if (line < 0)
            return false;

        if (available.Length - line - 1 < HeaderSize)
            return _source.HasEnded ? throw Damaged(line + 1, $"a header of {HeaderSize} octets was expected") : false;

        var header = available.Slice(line + 1, HeaderSize);
        var seconds = BinaryPrimitives.ReadUInt32BigEndian(header);
        var microseconds = BinaryPrimitives.ReadUInt32BigEndian(header[4..]);

        if (microseconds >= 1_000_000)
            throw Damaged(line + 5, $"microseconds below 1,000,000 were expected, not {microseconds}");

        _header = new(
            DateTimeOffset.UnixEpoch.AddSeconds(seconds).AddMicroseconds(microseconds),
            new IPEndPoint(new IPAddress(header.Slice(8, 4)), BinaryPrimitives.ReadUInt16BigEndian(header[12..]))
        );
        _source.Consume(line + 1 + HeaderSize);
        return true;
    }

    private bool TryRead(out RtpDumpPacket packet)
    {
        packet = default;
        var available = _source.Available;

        if (available.Length < PacketHeaderSize)
            return _source.HasEnded && !available.IsEmpty
                ? throw Damaged(_source.Offset, $"a packet's header of {PacketHeaderSize} octets was expected")
                : false;

        var size = BinaryPrimitives.ReadUInt16BigEndian(available);
        var length = BinaryPrimitives.ReadUInt16BigEndian(available[2..]);

        if (size < PacketHeaderSize)
            throw Damaged(_source.Offset, $"a length of at least {PacketHeaderSize} was expected, not {size}");

        if (available.Length < size)
            return _source.HasEnded
                ? throw Damaged(
                    _source.Offset,
                    $"{size} octets of a packet were expected; the file ends after {available.Length}"
                )
                : false;

        packet = new(
            TimeSpan.FromMilliseconds(BinaryPrimitives.ReadUInt32BigEndian(available[4..])),
            // RTCP has no length of its own here: its header tells it.
            length == 0,
            available[PacketHeaderSize..size].ToArray(),
            length == 0 ? size - PacketHeaderSize : length
        );
        _source.Consume(size);
        return true;
    }

    private static InvalidDataException Damaged(long offset, string what) => new($"At octet {offset}: {what}.");
}

/// <summary>Writes files for rtpdump and rtpplay, RTP and RTCP. Each packet is written at once. Not safe for concurrent use.</summary>
public sealed class RtpDumpWriter
{
    /// <summary>The most octets of a packet: its length with eight more has 16 bits.</summary>
    public const int MaxPacketSize = ushort.MaxValue - 8;

    private readonly Stream _stream;
    private readonly RtpDumpHeader _header;
    private bool _hasBegun;

    /// <summary>A writer to a stream, which stays the caller's to close.</summary>
    /// <exception cref="ArgumentException">The header's time is outside of 1970 to 2106, or its address is not IPv4.</exception>
    public RtpDumpWriter(Stream stream, RtpDumpHeader header)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(header);

        if (header.Start.ToUnixTimeSeconds() is < 0 or > uint.MaxValue)
            throw new ArgumentException($"{header.Start:O}: a time from 1970 to 2106 was expected.", nameof(header));

        if (header.Source.AddressFamily != AddressFamily.InterNetwork)
            throw new ArgumentException($"{header.Source}: an IPv4 address was expected.", nameof(header));

        _stream = stream;
        _header = header;
    }

    /// <summary>Writes a packet.</summary>
    /// <param name="offset">When it was taken, since the header's start; kept to a millisecond.</param>
    /// <param name="isRtcp">Whether it is RTCP, and not RTP.</param>
    /// <param name="data">The packet, from its first octet, 1 to <see cref="MaxPacketSize"/> octets.</param>
    public void Write(TimeSpan offset, bool isRtcp, ReadOnlySpan<byte> data) =>
        _stream.Write(Compose(offset, isRtcp, data));

    /// <summary>Writes a packet.</summary>
    /// <param name="offset">When it was taken, since the header's start; kept to a millisecond.</param>
    /// <param name="isRtcp">Whether it is RTCP, and not RTP.</param>
    /// <param name="data">The packet, from its first octet, 1 to <see cref="MaxPacketSize"/> octets.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public ValueTask WriteAsync(
        TimeSpan offset,
        bool isRtcp,
        ReadOnlyMemory<byte> data,
        CancellationToken cancellationToken = default
    ) => _stream.WriteAsync(Compose(offset, isRtcp, data.Span), cancellationToken);

    private byte[] Compose(TimeSpan offset, bool isRtcp, ReadOnlySpan<byte> data)
    {
        ArgumentOutOfRangeException.ThrowIfZero(data.Length, nameof(data));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(data.Length, MaxPacketSize, nameof(data));
        ArgumentOutOfRangeException.ThrowIfLessThan(offset, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset.TotalMilliseconds, uint.MaxValue, nameof(offset));

        var before = _hasBegun ? [] : Header();
        _hasBegun = true;
        var octets = new byte[before.Length + 8 + data.Length];
        before.CopyTo(octets, 0);
        var packet = octets.AsSpan(before.Length);
        BinaryPrimitives.WriteUInt16BigEndian(packet, (ushort)(8 + data.Length));
        BinaryPrimitives.WriteUInt16BigEndian(packet[2..], (ushort)(isRtcp ? 0 : data.Length));
        BinaryPrimitives.WriteUInt32BigEndian(packet[4..], (uint)offset.TotalMilliseconds);
        data.CopyTo(packet[8..]);
        return octets;
    }

    private byte[] Header()
    {
        var line = string.Create(
            CultureInfo.InvariantCulture,
            $"#!rtpplay1.0 {_header.Source.Address}/{_header.Source.Port}\n"
        );
        var octets = new byte[line.Length + 16];
        Encoding.ASCII.GetBytes(line, octets);
        var header = octets.AsSpan(line.Length);
        BinaryPrimitives.WriteUInt32BigEndian(header, (uint)_header.Start.ToUnixTimeSeconds());
        var microseconds = _header.Start.UtcTicks % TimeSpan.TicksPerSecond / TimeSpan.TicksPerMicrosecond;
        BinaryPrimitives.WriteUInt32BigEndian(header[4..], (uint)microseconds);
        _header.Source.Address.TryWriteBytes(header[8..], out _);
        BinaryPrimitives.WriteUInt16BigEndian(header[12..], (ushort)_header.Source.Port);
        return octets;
    }
}
