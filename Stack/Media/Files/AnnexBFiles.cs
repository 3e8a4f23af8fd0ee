namespace Hybrid.WebRtc.Media;

/// <summary>
/// Reads a raw stream of H.264, H.265 or H.266 (Annex B of each): a frame is an access unit, its NAL units behind start codes of four
/// octets whatever they had. Such a file has no times, so frames follow each other at the given rate.
/// </summary>
public sealed class AnnexBReader : MediaReader
{
    private readonly NalSyntax _syntax;
    private readonly PayloadFormat _format;
    private readonly double _frameRate;
    private readonly FrameWriter _unit = new();
    private long _count;
    private int _scanned;
    private bool _hasStarted;
    private bool _hasPicture;

    /// <summary>A reader of a stream.</summary>
    /// <param name="stream">From the file's first octet on; read forward only.</param>
    /// <param name="mimeType"><c>video/H264</c>, <c>video/H265</c> or <c>video/H266</c>, letter case aside.</param>
    /// <param name="frameRate">Frames a second.</param>
    /// <param name="leaveOpen">Whether disposing leaves the stream open.</param>
    /// <exception cref="NotSupportedException">It is another format.</exception>
    public AnnexBReader(Stream stream, string mimeType, double frameRate = 30, bool leaveOpen = false)
        : base(stream, leaveOpen)
    {
        ArgumentNullException.ThrowIfNull(mimeType);

        if (!(frameRate > 0 && frameRate <= 90_000))
            throw new ArgumentOutOfRangeException(
                nameof(frameRate),
                frameRate,
                "More than 0 and at most 90,000 frames a second."
            );

        _syntax = mimeType.ToUpperInvariant() switch
        {
            "VIDEO/H264" => new H264Syntax(),
            "VIDEO/H265" => new H265Syntax(),
            "VIDEO/H266" => new H266Syntax(),
            _ => throw new NotSupportedException($"{mimeType}: Annex B is of video/H264, video/H265 and video/H266."),
        };
        _format = PayloadFormats.For(mimeType);
        _frameRate = frameRate;
    }

    /// <inheritdoc/>
    public override PayloadFormat? Format => _format;

    private protected override bool TryStart()
    {
        if (_hasStarted)
            return true;

        // Any number of zeros, and then a start code.
        var zeros = Source.Available.IndexOfAnyExcept((byte)0);

        if (zeros < 0)
        {
            if (!Source.HasEnded)
                Source.Consume(Math.Max(0, Source.Available.Length - 2));

            _hasStarted = Source.HasEnded;
            return _hasStarted;
        }

        if (zeros < 2 || Source.Available[zeros] != 1)
            throw Damaged(Source.Offset + zeros, "a start code (00 00 01) was expected");

        Source.Consume(zeros + 1);
        _hasStarted = true;
        return true;
    }

    private protected override Reading Step(out EncodedFrame? frame)
    {
        frame = null;

        // What is available begins behind a start code.
        while (true)
        {
            var available = Source.Available;
            var code = available[_scanned..].IndexOf((ReadOnlySpan<byte>)[0, 0, 1]);

            if (code < 0 && !Source.HasEnded)
            {
                _scanned = Math.Max(0, available.Length - 2);

                return _scanned > MaxFrameSize
                    ? throw Damaged(Source.Offset, $"a NAL unit of at most {MaxFrameSize} octets was expected")
                    : Reading.NeedsMore;
            }

            var end = code < 0 ? available.Length : _scanned + code;
            var unit = available[..(available[..end].LastIndexOfAnyExcept((byte)0) + 1)];

            if (_hasPicture && Opens(unit))
            {
                // It begins the next access unit, and waits where it is; the search for its end does not begin anew.
                _scanned = end;
                frame = Take();
                return Reading.Done;
            }

            if (!unit.IsEmpty)
                Add(unit);

            Source.Consume(Math.Min(available.Length, end + 3));
            _scanned = 0;

            if (code >= 0)
                continue;

            if (_unit.Length == 0)
                return Reading.End;

            frame = Take();
            return Reading.Done;
        }
    }

    private bool Opens(ReadOnlySpan<byte> unit)
    {
        if (!_syntax.TrySplit(unit, out var header, out var body))
            return false;

        var role = _syntax.RoleOf(header);
        return role.HasFlag(NalRole.Opens) || role.HasFlag(NalRole.Picture) && _syntax.BeginsPicture(body);
    }

    private void Add(ReadOnlySpan<byte> unit)
    {
        if (_unit.Length + unit.Length > MaxFrameSize)
            throw Damaged(Source.Offset, $"an access unit of at most {MaxFrameSize} octets was expected");

        if (!_syntax.TrySplit(unit, out var header, out _))
            throw Damaged(Source.Offset, $"a NAL unit of at least {_syntax.HeaderSize} octets was expected");

        _hasPicture |= _syntax.RoleOf(header).HasFlag(NalRole.Picture);
        _unit.Append(AnnexB.StartCode);
        _unit.Append(unit);
    }

    private EncodedFrame Take()
    {
        var capacity = _unit.Length;
        var data = _unit.Detach();
        _unit.Reserve(Math.Min(capacity, 1 << 20));
        _hasPicture = false;
        var info = _format.Inspect(data.Span);
        var index = _count++;

        return new()
        {
            Data = data,
            Timestamp = (uint)(ulong)Math.Round(index * 90_000 / _frameRate),
            Duration = TimeSpan.FromSeconds(1 / _frameRate),
            IsKeyFrame = info.IsKeyFrame,
            Width = info.Width,
            Height = info.Height,
        };
    }
}

/// <summary>
/// Writes a raw stream of H.264, H.265 or H.266 (Annex B of each). Times are not kept: the format has none.
/// </summary>
/// <param name="stream">Takes the file.</param>
/// <param name="framing">How NAL units are told apart in the frames given.</param>
/// <param name="leaveOpen">Whether disposing leaves the stream open.</param>
public sealed class AnnexBWriter(Stream stream, NalFraming framing = NalFraming.AnnexB, bool leaveOpen = false)
    : MediaWriter(stream, leaveOpen)
{
    private protected override void Compose(EncodedFrame frame)
    {
        var data = frame.Data.Span;
        var units = new NalUnits(data, framing);

        while (units.TryNext(out var offset, out var length))
        {
            Pending.Append(AnnexB.StartCode);
            Pending.Append(data.Slice(offset, length));
        }

        if (!units.Failed && Pending.Length > 0)
            return;

        Pending.Truncate(0);
        throw new ArgumentException(
            $"Octet {units.At} of the frame: a NAL unit was expected, framed as {framing}.",
            nameof(frame)
        );
    }

    private protected override void ComposeEnd() { }
}
