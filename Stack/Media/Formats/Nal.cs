using System.Buffers.Binary;

namespace Hybrid.WebRtc.Media;

/// <summary>H.264, RFC 6184; H.265, RFC 7798; H.266, RFC 9328.</summary>
/// <param name="mimeType">The MIME type.</param>
/// <param name="syntax">How it differs from the others.</param>
/// <param name="aggregates">Whether packets may be aggregates and fragments: not in H.264's single NAL unit mode, RFC 6184 §6.2.</param>
/// <param name="hasSets">Whether parameter sets were told in SDP, so that a key frame is whole without.</param>
/// <param name="options">What the format leaves to its user.</param>
internal sealed class NalFormat(
    string mimeType,
    NalSyntax syntax,
    bool aggregates,
    bool hasSets,
    PayloadFormatOptions options
) : PayloadFormat(mimeType, 90_000)
{
    /// <summary>
    /// H.264 with its <c>packetization-mode</c>, RFC 6184 §8.1. Where no parameters are given at all it is 1, which all browsers take, and
    /// which does not ask for slices as small as packets; where parameters leave it out, 0, as the RFC has it.
    /// </summary>
    public static NalFormat H264(string? fmtp, PayloadFormatOptions options)
    {
        var mode = Fmtp.Number(fmtp, "packetization-mode", fmtp is null ? 1 : 0);

        if (mode is not (0 or 1))
            throw new NotSupportedException(
                $"packetization-mode={mode} of video/H264: 0 (single NAL unit) and 1 (non-interleaved) are supported, RFC 6184 §6."
            );

        return new(
            "video/H264",
            new H264Syntax(),
            mode == 1,
            Fmtp.Value(fmtp, "sprop-parameter-sets") is not null,
            options
        );
    }

    /// <summary>H.265 or H.266, in decoding order and in one stream, RFC 7798 §7.1, RFC 9328 §7.2.</summary>
    public static NalFormat Later(string mimeType, NalSyntax syntax, string? fmtp, PayloadFormatOptions options)
    {
        if (Fmtp.Number(fmtp, "sprop-max-don-diff", 0) != 0)
            throw new NotSupportedException(
                $"sprop-max-don-diff above 0 of {mimeType}: NAL units are supported in decoding order only."
            );

        if (Fmtp.Value(fmtp, "tx-mode") is { } mode && !mode.Equals("SRST", StringComparison.OrdinalIgnoreCase))
            throw new NotSupportedException($"tx-mode={mode} of {mimeType}: SRST alone is supported.");

        return new(mimeType, syntax, true, Fmtp.Value(fmtp, "sprop-sps") is not null, options);
    }

    public override IPacketizer CreatePacketizer() => new NalPacketizer(MimeType, syntax, aggregates, options);

    public override IDepacketizer CreateDepacketizer() => new NalDepacketizer(syntax, options.Framing, hasSets);

    public override FrameInfo Inspect(ReadOnlySpan<byte> frame)
    {
        var units = new NalUnits(frame, options.Framing);
        var isKey = false;
        var (width, height) = (0, 0);

        while (units.TryNext(out var offset, out var length))
        {
            if (!syntax.TrySplit(frame.Slice(offset, length), out var header, out var body))
                continue;

            var role = syntax.RoleOf(header);
            isKey |= role.HasFlag(NalRole.Key);

            if (role.HasFlag(NalRole.Sequence))
                (width, height) = syntax.SizeOf(body);
        }

        return new(isKey, width, height, 0);
    }
}

/// <summary>The NAL units of a frame.</summary>
internal ref struct NalUnits(ReadOnlySpan<byte> frame, NalFraming framing)
{
    private readonly ReadOnlySpan<byte> _frame = frame;
    private int _at = framing == NalFraming.AnnexB ? AnnexB.First(frame) : 0;

    /// <summary>Whether the frame is not framed as it should be; <see cref="At"/> says where.</summary>
    public bool Failed { get; private set; }

    /// <summary>Where reading has come to.</summary>
    public readonly int At => Math.Max(0, _at);

    /// <summary>The next one that is not empty.</summary>
    public bool TryNext(out int offset, out int length)
    {
        (offset, length) = (0, 0);

        if (framing == NalFraming.AnnexB)
        {
            Failed = _at < 0;

            while (!Failed && AnnexB.TryNext(_frame, ref _at, out offset, out length))
                if (length > 0)
                    return true;

            return false;
        }

        while (_at < _frame.Length)
        {
            if (_frame.Length - _at < 4)
            {
                Failed = true;
                return false;
            }

            var size = BinaryPrimitives.ReadUInt32BigEndian(_frame[_at..]);

            if (size > _frame.Length - _at - 4)
            {
                Failed = true;
                return false;
            }

            (offset, length) = (_at + 4, (int)size);
            _at = offset + length;

            if (length > 0)
                return true;
        }

        return false;
    }
}

/// <summary>
/// Splits an access unit: NAL units that fit together go into one STAP-A or AP, those that fit alone go alone, others in fragments
/// (FU-A, FU) of equal size. Parameter sets thereby travel in one packet, with the beginning of their picture where it fits.
/// </summary>
internal sealed class NalPacketizer(string mimeType, NalSyntax syntax, bool aggregates, PayloadFormatOptions options)
    : IPacketizer
{
    /// <summary>Parameter sets remembered: more than any encoder has at a time.</summary>
    private const int MostSets = 64;

    private readonly List<ReadOnlyMemory<byte>> _units = [];
    private readonly List<ReadOnlyMemory<byte>> _sets = [];

    public void Packetize(EncodedFrame frame, int maxPayloadSize, PayloadBuilder into)
    {
        Collect(frame.Data);

        if (options.RepeatParameterSets)
            RepeatSets();

        var total = 0;

        foreach (var unit in _units)
            total += unit.Length + 3;

        into.Reserve(total + total / maxPayloadSize * 4);

        for (var i = 0; i < _units.Count; )
        {
            var together = aggregates ? Fitting(i, maxPayloadSize) : 1;

            if (together > 1)
                Aggregate(i, together, into);
            else if (_units[i].Length <= maxPayloadSize)
                _units[i].Span.CopyTo(into.Add(_units[i].Length));
            else if (aggregates)
                Fragment(_units[i].Span, maxPayloadSize, into);
            else
                throw new ArgumentException(
                    $"A NAL unit of {_units[i].Length} octets: packetization-mode 0 takes {maxPayloadSize}; encode smaller slices, or negotiate packetization-mode=1.",
                    nameof(frame)
                );

            i += together;
        }

        if (frame.EndsPicture)
            into.MarkLast();
    }

    private void Collect(ReadOnlyMemory<byte> data)
    {
        _units.Clear();
        var units = new NalUnits(data.Span, options.Framing);

        while (units.TryNext(out var offset, out var length))
        {
            var unit = data.Slice(offset, length);

            if (!syntax.TrySplit(unit.Span, out var header, out _))
                throw new ArgumentException($"The NAL unit at octet {offset} ends in its header.", "frame");

            if (!syntax.IsCarried(syntax.TypeOf(header)))
                throw new ArgumentException(
                    $"The NAL unit at octet {offset} has type {syntax.TypeOf(header)}, which {mimeType} packets give another meaning.",
                    "frame"
                );

            _units.Add(unit);
        }

        if (units.Failed)
            throw new ArgumentException(
                $"Octet {units.At} of the frame: "
                    + (
                        options.Framing == NalFraming.AnnexB
                            ? "a start code (Annex B) was expected; for units behind their length set Framing to LengthPrefixed."
                            : "four octets of length and so many octets were expected; for start codes set Framing to AnnexB."
                    ),
                "frame"
            );

        if (_units.Count == 0)
            throw new ArgumentException("The frame holds no NAL unit.", "frame");
    }

    /// <summary>Remembers the parameter sets of this access unit, or, where a key frame has none, puts those remembered before it.</summary>
    private void RepeatSets()
    {
        var present = NalRole.None;

        foreach (var unit in _units)
            present |= Role(unit);

        if (present.HasFlag(NalRole.ParameterSet))
        {
            Remember(renew: present.HasFlag(NalRole.Sequence));
            return;
        }

        if (present.HasFlag(NalRole.Key))
            _units.InsertRange(Role(_units[0]).HasFlag(NalRole.Delimiter) ? 1 : 0, _sets);
    }

    private void Remember(bool renew)
    {
        var known = 0;

        foreach (var unit in _units)
            if (Role(unit).HasFlag(NalRole.ParameterSet) && Knows(unit.Span))
                known++;
            else if (Role(unit).HasFlag(NalRole.ParameterSet))
                known = int.MinValue;

        // The usual case: the same ones as ever.
        if (known >= 0 && (!renew || known == _sets.Count))
            return;

        if (renew)
            _sets.Clear();

        foreach (var unit in _units)
            if (Role(unit).HasFlag(NalRole.ParameterSet) && !Knows(unit.Span) && _sets.Count < MostSets)
                _sets.Add(unit.ToArray());
    }

    private bool Knows(ReadOnlySpan<byte> unit)
    {
        foreach (var set in _sets)
            if (set.Span.SequenceEqual(unit))
                return true;

        return false;
    }

    private NalRole Role(ReadOnlyMemory<byte> unit) =>
        syntax.TrySplit(unit.Span, out var header, out _) ? syntax.RoleOf(header) : NalRole.None;

    /// <summary>How many NAL units from this one on fit into one aggregate; 1: none fits beside it.</summary>
    private int Fitting(int first, int maxPayloadSize)
    {
        var size = syntax.HeaderSize;
        var count = 0;

        while (first + count < _units.Count && size + 2 + _units[first + count].Length <= maxPayloadSize)
            size += 2 + _units[first + count++].Length;

        return Math.Max(1, count);
    }

    private void Aggregate(int first, int count, PayloadBuilder into)
    {
        var size = syntax.HeaderSize;

        for (var i = first; i < first + count; i++)
            size += 2 + _units[i].Length;

        var payload = into.Add(size);
        syntax.TrySplit(_units[first].Span, out var combined, out _);
        var at = syntax.HeaderSize;

        for (var i = first; i < first + count; i++)
        {
            var unit = _units[i].Span;
            syntax.TrySplit(unit, out var header, out _);
            combined = syntax.Combine(combined, header);
            BinaryPrimitives.WriteUInt16BigEndian(payload[at..], (ushort)unit.Length);
            unit.CopyTo(payload[(at + 2)..]);
            at += 2 + unit.Length;
        }

        syntax.WriteHeader(payload, combined);
    }

    private void Fragment(ReadOnlySpan<byte> unit, int maxPayloadSize, PayloadBuilder into)
    {
        syntax.TrySplit(unit, out var header, out var body);
        var overhead = syntax.HeaderSize + 1;
        var split = Split.Of(body.Length, maxPayloadSize - overhead);

        for (var i = 0; i < split.Count; i++)
        {
            var payload = into.Add(overhead + split.Size(i));
            syntax.WriteHeader(payload, syntax.WithType(header, syntax.FragmentType));
            payload[overhead - 1] = (byte)(
                (i == 0 ? 0x80 : 0) | (i == split.Count - 1 ? 0x40 : 0) | syntax.TypeOf(header)
            );
            body[..split.Size(i)].CopyTo(payload[overhead..]);
            body = body[split.Size(i)..];
        }
    }
}

/// <summary>
/// Puts access units together. Read are single NAL units, STAP-A or AP, and FU-A or FU; H.264's interleaved packets (STAP-B,
/// MTAP, FU-B) and reserved types are malformed.
/// </summary>
internal sealed class NalDepacketizer(NalSyntax syntax, NalFraming framing, bool hasSets) : IDepacketizer
{
    private bool _open;
    private int _lengthAt;

    public PayloadInfo Inspect(ReadOnlySpan<byte> payload, bool marker)
    {
        if (!syntax.TrySplit(payload, out var header, out var body))
            return default;

        var info = new PayloadInfo
        {
            EndsFrame = marker,
            IsDiscardable = true,
            TemporalLayer = syntax.TemporalLayerOf(header),
        };

        var type = syntax.TypeOf(header);

        if (type == syntax.AggregateType)
        {
            for (var i = 0; !body.IsEmpty; i++)
            {
                if (!TryTake(ref body, out var unit, out var inner))
                    return default;

                info = Add(info, inner, unit, i == 0);
            }

            return info;
        }

        if (type == syntax.FragmentType)
        {
            if (body.Length < 2)
                return default;

            var restored = syntax.WithType(header, body[0] & syntax.FragmentTypeMask);

            if (!syntax.IsCarried(syntax.TypeOf(restored)))
                return default;

            var starts = (body[0] & 0x80) != 0;
            return Add(info, restored, starts ? body[1..] : default, starts);
        }

        return syntax.IsCarried(type) ? Add(info, header, body, true) : default;
    }

    public void Begin() => _open = false;

    public bool Append(ReadOnlySpan<byte> payload, FrameWriter into)
    {
        if (!syntax.TrySplit(payload, out var header, out var body))
            return false;

        var type = syntax.TypeOf(header);

        if (type == syntax.FragmentType)
            return AppendFragment(header, body, into);

        if (_open)
            return false;

        if (type == syntax.AggregateType)
        {
            if (body.IsEmpty)
                return false;

            while (!body.IsEmpty)
            {
                if (!TryTake(ref body, out var unit, out var inner))
                    return false;

                AppendUnit(inner, unit, into);
            }

            return true;
        }

        if (!syntax.IsCarried(type))
            return false;

        AppendUnit(header, body, into);
        return true;
    }

    public bool End(FrameWriter into) => !_open && into.Length > 0;

    private bool AppendFragment(int header, ReadOnlySpan<byte> body, FrameWriter into)
    {
        if (body.Length < 2)
            return false;

        var starts = (body[0] & 0x80) != 0;
        var type = body[0] & syntax.FragmentTypeMask;

        if (starts == _open || !syntax.IsCarried(type))
            return false;

        if (starts)
        {
            _lengthAt = into.Length;
            StartUnit(syntax.WithType(header, type), 0, into);
        }

        into.Append(body[1..]);
        _open = (body[0] & 0x40) == 0;

        if (!_open && framing == NalFraming.LengthPrefixed)
            BinaryPrimitives.WriteInt32BigEndian(into.Written[_lengthAt..], into.Length - _lengthAt - 4);

        return true;
    }

    private void AppendUnit(int header, ReadOnlySpan<byte> body, FrameWriter into)
    {
        StartUnit(header, syntax.HeaderSize + body.Length, into);
        into.Append(body);
    }

    private void StartUnit(int header, int length, FrameWriter into)
    {
        Span<byte> octets = stackalloc byte[6];

        if (framing == NalFraming.AnnexB)
            AnnexB.StartCode.CopyTo(octets);
        else
            BinaryPrimitives.WriteInt32BigEndian(octets, length);

        syntax.WriteHeader(octets[4..], header);
        into.Append(octets[..(4 + syntax.HeaderSize)]);
    }

    /// <summary>Takes a NAL unit of an aggregate, behind its length. False: the aggregate is malformed.</summary>
    private bool TryTake(ref ReadOnlySpan<byte> rest, out ReadOnlySpan<byte> body, out int header)
    {
        body = default;
        header = 0;

        if (rest.Length < 2)
            return false;

        var length = BinaryPrimitives.ReadUInt16BigEndian(rest);

        if (length < syntax.HeaderSize || length > rest.Length - 2)
            return false;

        var unit = rest.Slice(2, length);
        rest = rest[(2 + length)..];
        header = syntax.HeaderSize == 1 ? unit[0] : BinaryPrimitives.ReadUInt16BigEndian(unit);
        body = unit[syntax.HeaderSize..];
        return syntax.IsCarried(syntax.TypeOf(header));
    }

    private PayloadInfo Add(PayloadInfo info, int header, ReadOnlySpan<byte> body, bool first)
    {
        var role = syntax.RoleOf(header);
        var isKey = role.HasFlag(NalRole.Key);
        var start = info.Start;

        if (first)
            start =
                role.HasFlag(NalRole.First) || hasSets && isKey && syntax.BeginsPicture(body)
                    ? FrameStart.Yes
                    : FrameStart.Possible;

        var (width, height) = role.HasFlag(NalRole.Sequence) ? syntax.SizeOf(body) : (info.Width, info.Height);

        return info with
        {
            IsValid = true,
            Start = start,
            IsKeyFrame = info.IsKeyFrame || isKey,
            IsDiscardable = info.IsDiscardable && role.HasFlag(NalRole.Discardable),
            Width = width,
            Height = height,
        };
    }
}
