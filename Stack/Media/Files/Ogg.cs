using System.Buffers.Binary;

namespace Hybrid.WebRtc.Media;

/// <summary>
/// A page of Ogg, RFC 3533 §6.
/// <code>
///     "OggS" | version 0 | flags | granule position (8) | serial number (4) | sequence number (4) | CRC (4) | segments (1) | lacing values
/// </code>
/// </summary>
internal static class OggPage
{
    public const int HeaderSize = 27;
    public const int MostSegments = 255;

    /// <summary>The granule position of a page on which no packet ends, RFC 3533 §6.</summary>
    public const long NoPosition = -1;

    public const byte Continued = 1;
    public const byte Begins = 2;
    public const byte Ends = 4;

    private const int CrcAt = 22;
    private static readonly uint[] Table = MakeTable();

    /// <summary>The CRC of a page, its own field taken as zeros, RFC 3533 §6: 0x04C11DB7, not reflected, from 0.</summary>
    public static uint Crc(ReadOnlySpan<byte> page)
    {
        var crc = Update(0, page[..CrcAt]);
        crc = Update(crc, [0, 0, 0, 0]);
        return Update(crc, page[(CrcAt + 4)..]);
    }

    public static uint CrcOf(ReadOnlySpan<byte> page) => BinaryPrimitives.ReadUInt32LittleEndian(page[CrcAt..]);

    /// <summary>Writes a page.</summary>
    public static void Write(
        FrameWriter into,
        byte flags,
        long position,
        uint serial,
        uint sequence,
        ReadOnlySpan<byte> lacing,
        ReadOnlySpan<byte> body
    )
    {
        var start = into.Length;
        Span<byte> header = stackalloc byte[HeaderSize];
        header.Clear();
        "OggS"u8.CopyTo(header);
        header[5] = flags;
        BinaryPrimitives.WriteInt64LittleEndian(header[6..], position);
        BinaryPrimitives.WriteUInt32LittleEndian(header[14..], serial);
        BinaryPrimitives.WriteUInt32LittleEndian(header[18..], sequence);
        header[26] = (byte)lacing.Length;
        into.Append(header);
        into.Append(lacing);
        into.Append(body);
        var page = into.Written[start..];
        BinaryPrimitives.WriteUInt32LittleEndian(page[CrcAt..], Crc(page));
    }

    private static uint Update(uint crc, ReadOnlySpan<byte> octets)
    {
        foreach (var octet in octets)
            crc = crc << 8 ^ Table[(byte)(crc >> 24 ^ octet)];

        return crc;
    }

    private static uint[] MakeTable()
    {
        var table = new uint[256];

        for (var i = 0u; i < 256; i++)
        {
            var crc = i << 24;

            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 0x8000_0000) != 0 ? crc << 1 ^ 0x04C1_1DB7 : crc << 1;

            table[i] = crc;
        }

        return table;
    }
}

/// <summary>
/// Reads Opus from Ogg, RFC 3533 and RFC 7845: a frame is an Opus packet, its timestamp in units of 48,000 a second from 0 on.
/// Chained files are read as one; of multiplexed streams the first of Opus is read. Checksums are verified.
/// </summary>
/// <param name="stream">From the file's first octet on; read forward only.</param>
/// <param name="leaveOpen">Whether disposing leaves the stream open.</param>
public sealed class OggOpusReader(Stream stream, bool leaveOpen = false) : MediaReader(stream, leaveOpen)
{
    /// <summary>Octets that comments, with the pictures in them, may have.</summary>
    private const int MaxTagsSize = 16 * 1024 * 1024;

    /// <summary>The most that a packet may have: 61,440 octets for each of 255 streams are allowed, RFC 7845 §6; nobody has them.</summary>
    private const int MaxPacketSize = 1024 * 1024;

    private static readonly PayloadFormat Opus = PayloadFormats.For("audio/opus");

    private readonly FrameWriter _packet = new();
    private readonly Queue<EncodedFrame> _frames = new();
    private OpusHeader? _header;
    private OpusTags? _tags;
    private uint _serial;
    private uint _sequence;
    private bool _expectsTags;
    private bool _isOpen;

    /// <summary>Samples since the beginning, over all links of the chain.</summary>
    private long _time;

    /// <summary>The granule position reached in this link; negative: no page of audio was read.</summary>
    private long _position;

    /// <inheritdoc/>
    public override PayloadFormat? Format => Opus;

    /// <summary>The header of the link that is being read, at first of the first; may be called at any time.</summary>
    /// <exception cref="InvalidDataException">There is none.</exception>
    public OpusHeader ReadHeader()
    {
        Start();
        return _header!;
    }

    /// <summary>The header of the link that is being read, at first of the first; may be called at any time.</summary>
    /// <exception cref="InvalidDataException">There is none.</exception>
    public async ValueTask<OpusHeader> ReadHeaderAsync(CancellationToken cancellationToken = default)
    {
        await StartAsync(cancellationToken).ConfigureAwait(false);
        return _header!;
    }

    /// <summary>The comments of the link that is being read; null before its header was.</summary>
    public OpusTags? Tags => _tags;

    private protected override bool TryStart()
    {
        while (_tags is null)
        {
            if (Source.Available.IsEmpty && Source.HasEnded)
                throw Damaged(Source.Offset, "an Ogg page of an Opus stream was expected; the file ends");

            if (!TryPage())
                return false;
        }

        return true;
    }

    private protected override Reading Step(out EncodedFrame? frame)
    {
        while (!_frames.TryDequeue(out frame))
        {
            if (Source.Available.IsEmpty && Source.HasEnded)
                return Reading.End;

            if (!TryPage())
                return Reading.NeedsMore;
        }

        return Reading.Done;
    }

    /// <summary>Reads a page. False: not all of it is available.</summary>
    private bool TryPage()
    {
        if (!Has(OggPage.HeaderSize, "a page's header"))
            return false;

        var page = Source.Available;

        if (!page.StartsWith("OggS"u8))
            throw Damaged(Source.Offset, "\"OggS\", which begins a page, was expected");

        if (page[4] != 0)
            throw Damaged(Source.Offset + 4, $"Ogg version 0 was expected, not {page[4]}");

        var segments = page[26];

        if (!Has(OggPage.HeaderSize + segments, "a page's header"))
            return false;

        var size = OggPage.HeaderSize + segments;

        foreach (var lacing in page.Slice(OggPage.HeaderSize, segments))
            size += lacing;

        if (!Has(size, "a page"))
            return false;

        page = page[..size];

        if (OggPage.Crc(page) != OggPage.CrcOf(page))
            throw Damaged(
                Source.Offset,
                $"a page with CRC {OggPage.Crc(page):X8} was expected, not {OggPage.CrcOf(page):X8}"
            );

        Take(page);
        Source.Consume(size);
        return true;
    }

    private void Take(ReadOnlySpan<byte> page)
    {
        var flags = page[5];
        var serial = BinaryPrimitives.ReadUInt32LittleEndian(page[14..]);
        var body = page[(OggPage.HeaderSize + page[26])..];

        if ((flags & OggPage.Begins) != 0)
        {
            // Another stream beside ours, unless ours has ended: then it is the next link of the chain.
            if (_isOpen || !OpusHeader.IsOne(body))
                return;

            BeginLink(serial);
        }
        else if (!_isOpen || serial != _serial)
            return;

        var sequence = BinaryPrimitives.ReadUInt32LittleEndian(page[18..]);

        if (_sequence != sequence && (flags & OggPage.Begins) == 0)
            throw Damaged(Source.Offset + 18, $"page {_sequence} of the stream was expected, not {sequence}");

        _sequence = sequence + 1;

        if (((flags & OggPage.Continued) != 0) != _packet.Length > 0)
            throw Damaged(
                Source.Offset + 5,
                _packet.Length > 0
                    ? "a page that goes on with a packet was expected"
                    : "a page that begins a packet was expected"
            );

        TakePackets(page.Slice(OggPage.HeaderSize, page[26]), body, BinaryPrimitives.ReadInt64LittleEndian(page[6..]));
        _isOpen = (flags & OggPage.Ends) == 0;
    }

    private void BeginLink(uint serial)
    {
        _serial = serial;
        _isOpen = true;
        _expectsTags = false;
        _header = null;
        _tags = null;
        _position = -1;
        _packet.Truncate(0);
    }

    private void TakePackets(ReadOnlySpan<byte> lacing, ReadOnlySpan<byte> body, long position)
    {
        var first = _frames.Count;
        var duration = 0L;

        foreach (var length in lacing)
        {
            if (_packet.Length + length > (_expectsTags ? MaxTagsSize : MaxPacketSize))
                throw Damaged(Source.Offset, "a packet of a size that Opus has was expected");

            _packet.Append(body[..length]);
            body = body[length..];

            if (length < 255)
                duration += TakePacket();
        }

        if (duration > 0)
            Place(first, duration, position);
    }

    /// <summary>Takes the packet that was put together; how long it lasts.</summary>
    private int TakePacket()
    {
        var packet = _packet.Written;

        if (_header is null)
        {
            _header =
                OpusHeader.Read(packet)
                ?? throw Damaged(Source.Offset, "an OpusHead packet (RFC 7845 §5.1) was expected");
            _expectsTags = true;
            _packet.Truncate(0);
            return 0;
        }

        if (_tags is null)
        {
            _tags =
                OpusTags.Read(packet)
                ?? throw Damaged(Source.Offset, "an OpusTags packet (RFC 7845 §5.2) was expected");
            _expectsTags = false;
            _packet.Detach();
            return 0;
        }

        if (!OpusPacket.TryRead(packet, out var info))
            throw Damaged(Source.Offset, "an Opus packet (RFC 6716 §3) was expected in the page");

        _frames.Enqueue(
            new()
            {
                Data = packet.ToArray(),
                Duration = TimeSpan.FromTicks(info.Duration * TimeSpan.TicksPerSecond / OpusPacket.ClockRate),
                IsKeyFrame = true,
            }
        );
        _packet.Truncate(0);
        return info.Duration;
    }

    /// <summary>Gives the packets that end on a page their timestamps: its granule position is where the last of them ends.</summary>
    private void Place(int first, long duration, long position)
    {
        // A hole in the stream, RFC 7845 §4.1; at the beginning of a link, whatever it is, there is none.
        if (_position >= 0 && position != OggPage.NoPosition && position - duration > _position)
        {
            _time += position - duration - _position;
            _position = position - duration;
        }

        _position = Math.Max(0, _position) + duration;

        if (position != OggPage.NoPosition && position > _position)
            _position = position;

        for (var left = _frames.Count; left > 0; left--)
        {
            var frame = _frames.Dequeue();

            if (first-- <= 0)
            {
                frame = frame with { Timestamp = (uint)_time };
                _time += (long)Math.Round(frame.Duration.TotalSeconds * OpusPacket.ClockRate);
            }

            _frames.Enqueue(frame);
        }
    }
}

/// <summary>
/// Writes Opus to Ogg, RFC 3533 and RFC 7845: pages of up to a second. Where timestamps, in units of 48,000 a second, leave a hole of
/// up to ten seconds, it is filled with packets without data, for which decoders conceal, RFC 7845 §4.1.
/// </summary>
public sealed class OggOpusWriter : MediaWriter
{
    /// <summary>A page's duration, RFC 7845 §6 has one second as the most that is sensible.</summary>
    private const int PageDuration = OpusPacket.ClockRate;

    private const int LongestFilled = 10 * OpusPacket.ClockRate;

    private readonly OpusHeader _header;
    private readonly OpusTags _tags;
    private readonly uint _serial;
    private readonly FrameWriter _body = new();
    private readonly List<byte> _lacing = new(OggPage.MostSegments);
    private readonly Unwrapped _clock = new();
    private long _position;
    private long _pageStart;
    private uint _sequence;
    private bool _hasBegun;

    /// <summary>A writer to a stream.</summary>
    /// <param name="stream">Takes the file.</param>
    /// <param name="header">What the file says of itself; null: stereo.</param>
    /// <param name="tags">Comments; null: none.</param>
    /// <param name="serial">The stream's number in the file; null: a random one.</param>
    /// <param name="leaveOpen">Whether disposing leaves the stream open.</param>
    /// <exception cref="ArgumentException">The header cannot be written.</exception>
    public OggOpusWriter(
        Stream stream,
        OpusHeader? header = null,
        OpusTags? tags = null,
        uint? serial = null,
        bool leaveOpen = false
    )
        : base(stream, leaveOpen)
    {
        _header = header ?? new();
        _tags = tags ?? new("Hybrid.WebRtc", []);
        _serial = serial ?? (uint)Random.Shared.NextInt64(1L << 32);

        if (OpusHeader.Read(_header.Write()) is null)
            throw new ArgumentException(
                "Family 0 has 1 or 2 channels, others 1 to 255 and a mapping of two octets more than channels, RFC 7845 §5.1.",
                nameof(header)
            );
    }

    private protected override void Compose(EncodedFrame frame)
    {
        var packet = frame.Data.Span;

        if (!OpusPacket.TryRead(packet, out var info))
            throw new ArgumentException("The frame is no Opus packet, RFC 6716 §3.", nameof(frame));

        // One page takes a packet of that size; longer ones nobody has.
        if (packet.Length >= 255 * (OggPage.MostSegments - 1))
            throw new ArgumentException($"An Opus packet of {packet.Length} octets is too large.", nameof(frame));

        Begin();
        FillHole(_clock.Add(frame.Timestamp), packet[0], info.FrameSize);
        Add(packet, info.Duration);
    }

    private protected override void ComposeEnd()
    {
        Begin();
        Flush(OggPage.Ends);
    }

    private void Begin()
    {
        if (_hasBegun)
            return;

        _hasBegun = true;
        // Each header has pages of its own, RFC 7845 §3.
        AddHeader(_header.Write(), OggPage.Begins);
        AddHeader(_tags.Write(), 0);
    }

    private void AddHeader(ReadOnlySpan<byte> packet, byte flags)
    {
        var left = packet.Length / 255 + 1;

        while (left > 0)
        {
            var count = Math.Min(OggPage.MostSegments, left);
            left -= count;

            for (var i = 0; i < count; i++)
                _lacing.Add(left == 0 && i == count - 1 ? (byte)(packet.Length % 255) : (byte)255);

            var size = Math.Min(packet.Length, 255 * count);
            _body.Append(packet[..size]);
            packet = packet[size..];
            Write(flags, left == 0 ? 0 : OggPage.NoPosition);
            flags = OggPage.Continued;
        }
    }

    private void FillHole(long time, byte toc, int frameSize)
    {
        var hole = time - _position;

        if (hole > LongestFilled)
        {
            Flush(0);
            _position = time;
            _pageStart = time;
            return;
        }

        // Code 0 with no octets: a frame that was not sent.
        ReadOnlySpan<byte> empty = [(byte)(toc & 0xFC)];

        for (; hole >= frameSize; hole -= frameSize)
            Add(empty, frameSize);
    }

    private void Add(ReadOnlySpan<byte> packet, int duration)
    {
        var segments = packet.Length / 255 + 1;

        if (_lacing.Count + segments > OggPage.MostSegments || _position + duration - _pageStart > PageDuration)
            Flush(0);

        for (var i = 1; i < segments; i++)
            _lacing.Add(255);

        _lacing.Add((byte)(packet.Length % 255));
        _body.Append(packet);
        _position += duration;
    }

    private void Flush(byte flags)
    {
        if (_lacing.Count == 0 && flags == 0)
            return;

        Write(flags, _position);
        _pageStart = _position;
    }

    private void Write(byte flags, long position)
    {
        OggPage.Write(
            Pending,
            flags,
            position,
            _serial,
            _sequence++,
            System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_lacing),
            _body.Written
        );
        _lacing.Clear();
        _body.Truncate(0);
    }
}
