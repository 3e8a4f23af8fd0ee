using System.Buffers.Binary;
using System.Text;

namespace Hybrid.WebRtc.Media;

/// <summary>The header of an IVF file.</summary>
/// <param name="FourCc">The codec: <c>VP80</c>, <c>VP90</c>, <c>AV01</c>, or any other four characters.</param>
/// <param name="Width">Pixels across; a writer takes 0 for those of the first frame.</param>
/// <param name="Height">Pixels down; likewise.</param>
/// <param name="Rate">Ticks of the file's clock in <paramref name="Scale"/> seconds.</param>
/// <param name="Scale">Seconds that <paramref name="Rate"/> ticks take.</param>
/// <param name="FrameCount">Frames in the file, as far as whoever wrote it knew.</param>
public sealed record IvfHeader(
    string FourCc,
    int Width = 0,
    int Height = 0,
    uint Rate = 90_000,
    uint Scale = 1,
    uint FrameCount = 0
)
{
    internal const int Size = 32;

    /// <summary>The payload format of the codec; null where the library does not know it.</summary>
    public PayloadFormat? Format =>
        FourCc switch
        {
            "VP80" => PayloadFormats.For("video/VP8"),
            "VP90" => PayloadFormats.For("video/VP9"),
            "AV01" => PayloadFormats.For("video/AV1"),
            _ => null,
        };

    /// <summary>The header for a payload format: VP8, VP9 or AV1.</summary>
    /// <exception cref="NotSupportedException">It is another format.</exception>
    public static IvfHeader For(PayloadFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);

        return new(
            format.MimeType switch
            {
                "video/VP8" => "VP80",
                "video/VP9" => "VP90",
                "video/AV1" => "AV01",
                _ => throw new NotSupportedException($"{format.MimeType} in IVF: VP8, VP9 and AV1 are supported."),
            }
        );
    }
}

/// <summary>
/// Reads IVF: VP8, VP9 or AV1 with a time to each frame. Timestamps are in units of 90,000 a second; a duration is the time to the
/// next frame, for whose header the reader reads ahead.
/// </summary>
/// <param name="stream">From the file's first octet on; read forward only.</param>
/// <param name="leaveOpen">Whether disposing leaves the stream open.</param>
public sealed class IvfReader(Stream stream, bool leaveOpen = false) : MediaReader(stream, leaveOpen)
{
    private const int FrameHeaderSize = 12;
    private const uint ClockRate = 90_000;

    private IvfHeader? _header;
    private PayloadFormat? _format;
    private TimeSpan _duration;

    /// <inheritdoc/>
    public override PayloadFormat? Format => _format;

    /// <summary>The file's header; may be called at any time.</summary>
    /// <exception cref="InvalidDataException">It is none.</exception>
    public IvfHeader ReadHeader()
    {
        Start();
        return _header!;
    }

    /// <summary>The file's header; may be called at any time.</summary>
    /// <exception cref="InvalidDataException">It is none.</exception>
    public async ValueTask<IvfHeader> ReadHeaderAsync(CancellationToken cancellationToken = default)
    {
        await StartAsync(cancellationToken).ConfigureAwait(false);
        return _header!;
    }

    private protected override bool TryStart()
    {
        if (_header is not null)
            return true;

        if (!Has(IvfHeader.Size, "an IVF header"))
            return false;

        var header = Source.Available;

        if (!header.StartsWith("DKIF"u8))
            throw Damaged(0, "\"DKIF\", which begins an IVF file, was expected");

        if (BinaryPrimitives.ReadUInt16LittleEndian(header[4..]) is not 0 and var version)
            throw Damaged(4, $"IVF version 0 was expected, not {version}");

        var size = BinaryPrimitives.ReadUInt16LittleEndian(header[6..]);

        if (size < IvfHeader.Size)
            throw Damaged(6, $"a header of at least {IvfHeader.Size} octets was expected, not {size}");

        var rate = BinaryPrimitives.ReadUInt32LittleEndian(header[16..]);
        var scale = BinaryPrimitives.ReadUInt32LittleEndian(header[20..]);

        if (rate == 0 || scale == 0)
            throw Damaged(16, $"a time base was expected, not {scale}/{rate}");

        if (!Has(size, "an IVF header"))
            return false;

        _header = new(
            Encoding.Latin1.GetString(header.Slice(8, 4)),
            BinaryPrimitives.ReadUInt16LittleEndian(header[12..]),
            BinaryPrimitives.ReadUInt16LittleEndian(header[14..]),
            rate,
            scale,
            BinaryPrimitives.ReadUInt32LittleEndian(header[24..])
        );
        _format = _header.Format;
        Source.Consume(size);
        return true;
    }

    private protected override Reading Step(out EncodedFrame? frame)
    {
        frame = null;

        if (Source.Available.IsEmpty && Source.HasEnded)
            return Reading.End;

        if (!Has(FrameHeaderSize, "a frame's header"))
            return Reading.NeedsMore;

        var size = BinaryPrimitives.ReadUInt32LittleEndian(Source.Available);

        if (size > MaxFrameSize)
            throw Damaged(Source.Offset, $"a frame of at most {MaxFrameSize} octets was expected, not of {size}");

        var whole = FrameHeaderSize + (int)size;

        if (!Has(whole, "a frame"))
            return Reading.NeedsMore;

        // The next frame's header, where there is one, says how long this one lasts.
        if (Source.Available.Length < whole + FrameHeaderSize && !Source.HasEnded)
            return Reading.NeedsMore;

        var time = BinaryPrimitives.ReadUInt64LittleEndian(Source.Available[4..]);

        if (Source.Available.Length >= whole + FrameHeaderSize)
        {
            var next = BinaryPrimitives.ReadUInt64LittleEndian(Source.Available[(whole + 4)..]);
            _duration = next > time ? Time.Span(next - time, _header!.Rate, _header.Scale) : TimeSpan.Zero;
        }

        var data = Source.Available.Slice(FrameHeaderSize, (int)size).ToArray();
        Source.Consume(whole);
        var info = _format?.Inspect(data) ?? default;

        frame = new()
        {
            Data = data,
            Timestamp = Time.Rescale(time, ClockRate * (ulong)_header!.Scale, _header.Rate),
            Duration = _duration,
            IsKeyFrame = info.IsKeyFrame,
            Width = info.Width,
            Height = info.Height,
        };
        return Reading.Done;
    }
}

/// <summary>
/// Writes IVF. The first frame has time 0. Where the stream can seek, the number of frames, and the size where it was not given, are
/// written into the header at the end.
/// </summary>
public sealed class IvfWriter : MediaWriter
{
    private const uint ClockRate = 90_000;

    private readonly IvfHeader _header;
    private readonly PayloadFormat? _format;
    private readonly long _start;
    private readonly Unwrapped _time = new();
    private int _width;
    private int _height;
    private uint _count;
    private bool _hasBegun;

    /// <summary>A writer to a stream, from where it is.</summary>
    /// <param name="stream">Takes the file.</param>
    /// <param name="header">What the file says of itself; see <see cref="IvfHeader.For"/>.</param>
    /// <param name="leaveOpen">Whether disposing leaves the stream open.</param>
    /// <exception cref="ArgumentException">The header cannot be written.</exception>
    public IvfWriter(Stream stream, IvfHeader header, bool leaveOpen = false)
        : base(stream, leaveOpen)
    {
        ArgumentNullException.ThrowIfNull(header);

        if (header.FourCc.Length != 4 || header.FourCc.Any(c => c > 0xFF))
            throw new ArgumentException(
                $"A code of four characters was expected, not \"{header.FourCc}\".",
                nameof(header)
            );

        if (header.Rate == 0 || header.Scale == 0)
            throw new ArgumentException($"A time base was expected, not {header.Scale}/{header.Rate}.", nameof(header));

        if (header.Width is < 0 or > ushort.MaxValue || header.Height is < 0 or > ushort.MaxValue)
            throw new ArgumentException($"{header.Width} × {header.Height}: at most 65,535 each.", nameof(header));

        _header = header;
        _format = header.Format;
        (_width, _height) = (header.Width, header.Height);
        _start = stream.CanSeek ? stream.Position : 0;
    }

    private protected override void Compose(EncodedFrame frame)
    {
        if (_width == 0 || _height == 0)
        {
            var info = _format?.Inspect(frame.Data.Span) ?? default;
            (_width, _height) = (info.Width, info.Height);
        }

        Begin();
        Span<byte> header = stackalloc byte[12];
        BinaryPrimitives.WriteInt32LittleEndian(header, frame.Data.Length);
        var time = (ulong)_time.Add(frame.Timestamp);
        BinaryPrimitives.WriteUInt64LittleEndian(
            header[4..],
            Time.Rescale64(time, _header.Rate, ClockRate * (ulong)_header.Scale)
        );
        Pending.Append(header);
        Pending.Append(frame.Data.Span);
        _count++;
    }

    private protected override void ComposeEnd() => Begin();

    private protected override void Mend()
    {
        if (!Stream.CanSeek)
            return;

        var end = Stream.Position;
        Stream.Position = _start;
        WriteHeader(_count);
        Stream.Write(Pending.Written);
        Pending.Truncate(0);
        Stream.Position = end;
    }

    private void Begin()
    {
        if (_hasBegun)
            return;

        _hasBegun = true;
        WriteHeader(_header.FrameCount);
    }

    private void WriteHeader(uint count)
    {
        Pending.Truncate(0);
        Span<byte> header = stackalloc byte[IvfHeader.Size];
        header.Clear();
        "DKIF"u8.CopyTo(header);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], IvfHeader.Size);
        Encoding.Latin1.GetBytes(_header.FourCc, header[8..]);
        BinaryPrimitives.WriteUInt16LittleEndian(header[12..], (ushort)_width);
        BinaryPrimitives.WriteUInt16LittleEndian(header[14..], (ushort)_height);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], _header.Rate);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], _header.Scale);
        BinaryPrimitives.WriteUInt32LittleEndian(header[24..], count);
        Pending.Append(header);
    }
}
