namespace Hybrid.WebRtc.Media;

/// <summary>AV1, "RTP Payload Format For AV1" of the Alliance for Open Media.</summary>
internal sealed class Av1Format() : PayloadFormat("video/AV1", 90_000)
{
    public override IPacketizer CreatePacketizer() => new Av1Packetizer();

    public override IDepacketizer CreateDepacketizer() => new Av1Depacketizer();

    public override FrameInfo Inspect(ReadOnlySpan<byte> frame)
    {
        var info = new Obu.Summary();

        while (Obu.TryRead(ref frame, out var obu))
            info.Add(obu.Type, obu.Body);

        return new(info.IsKeyFrame, info.Width, info.Height, 0);
    }
}

/// <summary>
/// Splits a temporal unit, AV1 RTP §4. Its OBUs travel without sizes; temporal delimiters, tile lists and padding do not travel.
/// <code>
///      0 1 2 3 4 5 6 7
///     |Z|Y| W |N|-|-|-|  then OBU elements, each but the last behind its size in LEB128 (with W = 0 the last too)
/// </code>
/// </summary>
internal sealed class Av1Packetizer : IPacketizer
{
    /// <summary>W says how many elements there are up to this number.</summary>
    private const int MostCounted = 3;

    /// <summary>A new OBU begins in a packet only where so much of it fits.</summary>
    private const int LeastFragment = 8;

    private readonly List<Element> _obus = [];
    private readonly List<Piece> _pieces = [];

    public void Packetize(EncodedFrame frame, int maxPayloadSize, PayloadBuilder into)
    {
        var data = frame.Data.Span;
        var info = Collect(data);

        if (_obus.Count == 0)
            throw new ArgumentException("The temporal unit holds no OBU that travels.", nameof(frame));

        var total = 0;

        foreach (var obu in _obus)
            total += obu.Length + Leb128.Size(obu.Length);

        // The header takes one octet of each packet.
        var split = Split.Of(total, maxPayloadSize - 1);
        var target = Math.Min(maxPayloadSize, split.Size(0) + 2);
        into.Reserve(total + 8 * split.Count);

        var index = 0;
        var offset = 0;
        var first = true;

        while (index < _obus.Count)
        {
            var continues = offset > 0;
            var layer = _obus[index].Layer;
            _pieces.Clear();
            var used = 1;

            while (index < _obus.Count)
            {
                var obu = _obus[index];

                // Elements of one packet are of one layer, AV1 RTP §4.4.
                if (obu.Layer >= 0 && layer >= 0 && obu.Layer != layer)
                    break;

                layer = Math.Max(layer, obu.Layer);
                var left = obu.Length - offset;
                var room = target - used;

                // The size is written with the element once another follows, or where W does not count them.
                if (_pieces.Count >= MostCounted)
                    room -= Leb128.Size(Math.Max(0, room));

                if (room <= 0 || _pieces.Count > 0 && room < left && room < LeastFragment)
                    break;

                var take = Math.Min(room, left);
                _pieces.Add(new(index, offset, take));
                used += take + Leb128.Size(take);
                offset += take;

                if (offset < obu.Length)
                    break;

                index++;
                offset = 0;
            }

            var isNew = first && info.IsKeyFrame;
            Write(data, into, continues, offset > 0, isNew);
            first = false;
        }

        if (frame.EndsPicture)
            into.MarkLast();
    }

    /// <summary>The OBUs that travel, their headers as they will be.</summary>
    private Obu.Summary Collect(ReadOnlySpan<byte> data)
    {
        _obus.Clear();
        var info = new Obu.Summary();
        var rest = data;

        while (Obu.TryRead(ref rest, out var obu))
        {
            info.Add(obu.Type, obu.Body);

            if (obu.Type is Obu.TemporalDelimiter or Obu.TileList or Obu.Padding)
                continue;

            var headerAt = data.Length - rest.Length - obu.Length;
            var bodyAt = data.Length - rest.Length - obu.Body.Length;
            var headerSize = obu.HasExtension ? 2 : 1;
            var layer = obu.HasExtension ? data[headerAt + 1] >> 3 : -1;
            _obus.Add(new(headerAt, headerSize, bodyAt, headerSize + obu.Body.Length, layer));
        }

        if (!rest.IsEmpty)
            throw new ArgumentException(
                $"Octet {data.Length - rest.Length} of the temporal unit begins no OBU: low-overhead format with sizes, AV1 §5.2, was expected.",
                "frame"
            );

        return info;
    }

    private void Write(ReadOnlySpan<byte> data, PayloadBuilder into, bool continues, bool isContinued, bool isNew)
    {
        var counted = _pieces.Count <= MostCounted;
        var size = 1;

        for (var i = 0; i < _pieces.Count; i++)
            size += _pieces[i].Length + (counted && i == _pieces.Count - 1 ? 0 : Leb128.Size(_pieces[i].Length));

        var payload = into.Add(size);
        payload[0] = (byte)(
            (continues ? 0x80 : 0) | (isContinued ? 0x40 : 0) | (counted ? _pieces.Count << 4 : 0) | (isNew ? 8 : 0)
        );
        var at = 1;

        for (var i = 0; i < _pieces.Count; i++)
        {
            var piece = _pieces[i];

            if (!counted || i < _pieces.Count - 1)
                at += Leb128.Write(payload[at..], piece.Length);

            Copy(data, _obus[piece.Index], piece.Offset, payload.Slice(at, piece.Length));
            at += piece.Length;
        }
    }

    /// <summary>A part of an OBU without its size: header and body do not lie together in the temporal unit.</summary>
    private static void Copy(ReadOnlySpan<byte> data, Element obu, int offset, Span<byte> into)
    {
        if (offset < obu.HeaderSize)
        {
            var header = Math.Min(obu.HeaderSize - offset, into.Length);
            data.Slice(obu.HeaderAt + offset, header).CopyTo(into);

            if (offset == 0)
                into[0] &= unchecked((byte)~Obu.HasSize);

            into = into[header..];
            offset += header;
        }

        data.Slice(obu.BodyAt + offset - obu.HeaderSize, into.Length).CopyTo(into);
    }

    private readonly record struct Element(int HeaderAt, int HeaderSize, int BodyAt, int Length, int Layer);

    private readonly record struct Piece(int Index, int Offset, int Length);
}

/// <summary>Puts temporal units together, with their temporal delimiter and the sizes of their OBUs, AV1 §5.2.</summary>
internal sealed class Av1Depacketizer : IDepacketizer
{
    private int _start = -1;

    public PayloadInfo Inspect(ReadOnlySpan<byte> payload, bool marker)
    {
        var elements = new Elements(payload);
        var info = new Obu.Summary();
        int? spatial = null;
        int? temporal = null;
        var isFirst = true;
        var any = false;

        while (elements.TryNext(out var element, out var isLast))
        {
            any = true;

            if (!(isFirst && elements.Continues) && Obu.TrySplit(element, out var obu))
            {
                if (obu.HasExtension)
                {
                    temporal = element[1] >> 5;
                    spatial = element[1] >> 3 & 3;
                }

                info.Add(obu.Type, obu.Body);
            }

            isFirst = false;
        }

        if (elements.Failed || !any)
            return default;

        return new PayloadInfo
        {
            IsValid = true,
            Start =
                elements.Continues ? FrameStart.No
                : elements.StartsSequence ? FrameStart.Yes
                : FrameStart.Possible,
            EndsFrame = marker,
            IsKeyFrame = elements.StartsSequence,
            SpatialLayer = spatial,
            TemporalLayer = temporal,
            Width = info.Width,
            Height = info.Height,
        };
    }

    public void Begin() => _start = -1;

    public bool Append(ReadOnlySpan<byte> payload, FrameWriter into)
    {
        var elements = new Elements(payload);

        if (elements.Continues != _start >= 0)
            return false;

        if (into.Length == 0)
            into.Append([Obu.TemporalDelimiter << 3 | Obu.HasSize, 0]);

        while (elements.TryNext(out var element, out var isLast))
        {
            if (_start < 0)
                _start = into.Length;

            into.Append(element);

            if (!(isLast && elements.IsContinued) && !Close(into))
                return false;
        }

        return !elements.Failed;
    }

    public bool End(FrameWriter into) => _start < 0 && into.Length > 2;

    /// <summary>Writes the size of the OBU that was put together last.</summary>
    private bool Close(FrameWriter into)
    {
        var start = _start;
        _start = -1;
        var obu = into.Written[start..];

        if (!Obu.TrySplit(obu, out var parts))
            return false;

        // Not sent by who keeps to AV1 RTP §5, and ignored there.
        if (parts.Type is Obu.TemporalDelimiter or Obu.TileList)
        {
            into.Truncate(start);
            return true;
        }

        if ((obu[0] & Obu.HasSize) != 0)
            return true;

        obu[0] |= Obu.HasSize;
        Span<byte> size = stackalloc byte[Leb128.MaxSize];
        var header = parts.HasExtension ? 2 : 1;
        var length = Leb128.Write(size, obu.Length - header);
        into.Insert(start + header, size[..length]);
        return true;
    }

    /// <summary>The OBU elements of a payload.</summary>
    private ref struct Elements(ReadOnlySpan<byte> payload)
    {
        private ReadOnlySpan<byte> _rest = payload.IsEmpty ? payload : payload[1..];
        private readonly byte _header = payload.IsEmpty ? (byte)0 : payload[0];
        private int _read;

        /// <summary>Z: the first element goes on with an OBU of the packet before.</summary>
        public readonly bool Continues => (_header & 0x80) != 0;

        /// <summary>Y: the last element goes on in the next packet.</summary>
        public readonly bool IsContinued => (_header & 0x40) != 0;

        /// <summary>N: a coded video sequence begins.</summary>
        public readonly bool StartsSequence => (_header & 8) != 0;

        public bool Failed { get; private set; } = payload.Length < 2 || (payload[0] & 0x88) == 0x88;

        public bool TryNext(out ReadOnlySpan<byte> element, out bool isLast)
        {
            element = default;
            isLast = false;
            var counted = _header >> 4 & 3;

            if (Failed || _rest.IsEmpty && (counted == 0 || _read == counted))
                return false;

            if (counted > 0 && _read == counted - 1)
            {
                element = _rest;
                _rest = default;
            }
            else
            {
                if (!Leb128.TryRead(_rest, out var length, out var size) || length > _rest.Length - size)
                {
                    Failed = true;
                    return false;
                }

                element = _rest.Slice(size, length);
                _rest = _rest[(size + length)..];
            }

            _read++;
            isLast = counted > 0 ? _read == counted : _rest.IsEmpty;

            // An element without octets would be an OBU without a header.
            if (element.IsEmpty)
                Failed = true;

            return !Failed;
        }
    }
}

/// <summary>An OBU, AV1 §5.3.</summary>
/// <param name="header">Its first octet.</param>
/// <param name="length">Octets of all of it.</param>
/// <param name="body">What is behind header and size.</param>
internal readonly ref struct Obu(byte header, int length, ReadOnlySpan<byte> body)
{
    public const int SequenceHeader = 1;
    public const int TemporalDelimiter = 2;
    public const int FrameHeader = 3;
    public const int Frame = 6;
    public const int TileList = 8;
    public const int Padding = 15;

    /// <summary>obu_has_size_field.</summary>
    public const int HasSize = 2;

    private const int Extension = 4;

    public int Type => header >> 3 & 15;
    public bool HasExtension => (header & Extension) != 0;
    public int Length => length;
    public ReadOnlySpan<byte> Body { get; } = body;

    /// <summary>Takes the next OBU of a stream in which each has its size. False: there is none.</summary>
    public static bool TryRead(scoped ref ReadOnlySpan<byte> rest, out Obu obu)
    {
        obu = default;

        if (rest.IsEmpty || (rest[0] & 0x80) != 0 || (rest[0] & HasSize) == 0)
            return false;

        var at = (rest[0] & Extension) != 0 ? 2 : 1;

        if (at >= rest.Length || !Leb128.TryRead(rest[at..], out var length, out var size))
            return false;

        at += size;

        if (length > rest.Length - at)
            return false;

        obu = new(rest[0], at + length, rest.Slice(at, length));
        rest = rest[(at + length)..];
        return true;
    }

    /// <summary>Splits the octets of one OBU, with or without size.</summary>
    public static bool TrySplit(ReadOnlySpan<byte> octets, out Obu obu)
    {
        obu = default;

        if (octets.IsEmpty || (octets[0] & 0x80) != 0)
            return false;

        var rest = octets;

        if ((octets[0] & HasSize) != 0)
            return TryRead(ref rest, out obu) && rest.IsEmpty;

        var at = (octets[0] & Extension) != 0 ? 2 : 1;

        if (at > octets.Length)
            return false;

        obu = new(octets[0], octets.Length, octets[at..]);
        return true;
    }

    /// <summary>What the OBUs of a temporal unit tell.</summary>
    public struct Summary
    {
        private bool _hasSequence;
        private bool _isReduced;
        private bool _sawFrame;

        /// <summary>Whether a sequence header is followed by a key frame that is shown, or will be.</summary>
        public bool IsKeyFrame { get; private set; }
        public int Width { get; private set; }
        public int Height { get; private set; }

        public void Add(int type, ReadOnlySpan<byte> body)
        {
            if (type == SequenceHeader)
                ReadSequence(body);
            else if (type is FrameHeader or Frame && !_sawFrame && !body.IsEmpty)
            {
                // show_existing_frame, frame_type (0: key), AV1 §5.9.2.
                IsKeyFrame = _hasSequence && (_isReduced || (body[0] & 0xE0) == 0);
                _sawFrame = true;
            }
        }

        /// <summary>sequence_header_obu, AV1 §5.5.1, as far as the size.</summary>
        private void ReadSequence(ReadOnlySpan<byte> body)
        {
            _hasSequence = true;
            var bits = new BitReader(body);
            bits.Skip(4);
            _isReduced = bits.Bit();

            if (_isReduced)
                bits.Skip(5);
            else
                SkipOperatingPoints(ref bits);

            var widthBits = (int)bits.Bits(4) + 1;
            var heightBits = (int)bits.Bits(4) + 1;
            var width = (int)bits.Bits(widthBits) + 1;
            var height = (int)bits.Bits(heightBits) + 1;
            (Width, Height) = bits.Failed ? (0, 0) : (width, height);
        }

        private static void SkipOperatingPoints(ref BitReader bits)
        {
            var hasDecoderModel = false;
            var delayBits = 0;

            if (bits.Bit())
            {
                bits.Skip(64);

                if (bits.Bit())
                    bits.Ue();

                hasDecoderModel = bits.Bit();

                if (hasDecoderModel)
                {
                    delayBits = (int)bits.Bits(5) + 1;
                    bits.Skip(32 + 5 + 5);
                }
            }

            var hasDisplayDelay = bits.Bit();
            var points = (int)bits.Bits(5) + 1;

            for (var i = 0; i < points && !bits.Failed; i++)
            {
                bits.Skip(12);

                if (bits.Bits(5) > 7)
                    bits.Skip(1);

                if (hasDecoderModel && bits.Bit())
                    bits.Skip(2 * delayBits + 1);

                if (hasDisplayDelay && bits.Bit())
                    bits.Skip(4);
            }
        }
    }
}

/// <summary>Little-endian base 128, AV1 §4.10.5.</summary>
internal static class Leb128
{
    /// <summary>Octets that 32 bits may take, padding to eight included.</summary>
    public const int MaxSize = 8;

    /// <summary>Octets of a number at its shortest.</summary>
    public static int Size(int value)
    {
        var size = 1;

        while ((value >>= 7) > 0)
            size++;

        return size;
    }

    /// <summary>Writes a number at its shortest; the octets written.</summary>
    public static int Write(Span<byte> into, int value)
    {
        var size = 0;

        do
        {
            into[size] = (byte)(value & 0x7F | (value > 0x7F ? 0x80 : 0));
            size++;
            value >>= 7;
        } while (value > 0);

        return size;
    }

    /// <summary>Reads a number. False: it ends too early, is longer than eight octets, or does not fit into 31 bits.</summary>
    public static bool TryRead(ReadOnlySpan<byte> from, out int value, out int size)
    {
        var sum = 0L;
        value = 0;

        for (size = 0; size < from.Length && size < MaxSize; )
        {
            sum |= (long)(from[size] & 0x7F) << (7 * size);

            if ((from[size++] & 0x80) != 0)
                continue;

            value = (int)sum;
            return sum <= int.MaxValue;
        }

        return false;
    }
}
