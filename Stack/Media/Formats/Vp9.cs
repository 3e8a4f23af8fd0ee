using System.Buffers.Binary;

namespace Hybrid.WebRtc.Media;

/// <summary>VP9, RFC 9628.</summary>
internal sealed class Vp9Format : PayloadFormat
{
    private readonly PayloadFormatOptions _options;

    public Vp9Format(PayloadFormatOptions options)
        : base("video/VP9", 90_000)
    {
        if (options.SpatialLayers is < 1 or > 8)
            throw new NotSupportedException(
                $"{options.SpatialLayers} spatial layers: VP9 has 1 to 8, RFC 9628 §4.2.1."
            );

        _options = options;
    }

    public override IPacketizer CreatePacketizer() => new Vp9Packetizer(_options);

    public override IDepacketizer CreateDepacketizer() => new Vp9Depacketizer();

    public override FrameInfo Inspect(ReadOnlySpan<byte> frame)
    {
        var (isKey, width, height) = Header(frame);
        return new(isKey, width, height, 0);
    }

    /// <summary>Whether a frame is a key frame, and its size: the uncompressed header, VP9 specification §6.2.</summary>
    internal static (bool IsKey, int Width, int Height) Header(ReadOnlySpan<byte> frame)
    {
        var bits = new BitReader(frame);

        if (bits.Bits(2) != 2)
            return default;

        var profile = (bits.Bit() ? 1 : 0) | (bits.Bit() ? 2 : 0);

        if (profile == 3)
            bits.Skip(1);

        var showExisting = bits.Bit();
        var isInter = bits.Bit();

        if (showExisting || isInter || bits.Failed)
            return default;

        bits.Skip(2);

        if (bits.Bits(24) != 0x498342)
            return default;

        if (profile >= 2)
            bits.Skip(1);

        const uint SRgb = 7;

        if (bits.Bits(3) != SRgb)
            bits.Skip((profile & 1) != 0 ? 4 : 1);
        else if ((profile & 1) != 0)
            bits.Skip(1);

        var width = (int)bits.Bits(16) + 1;
        var height = (int)bits.Bits(16) + 1;
        return bits.Failed ? (true, 0, 0) : (true, width, height);
    }
}

/// <summary>
/// Writes the payload descriptor of RFC 9628 §4.2. A stream without layers is written in non-flexible mode with TL0PICIDX and,
/// in key frames, a scalability structure, as browsers have it; one whose frames name layers in flexible mode, where each
/// picture refers to the last one of a lower temporal layer (of the base layer: to the last of that).
/// <code>
///      0 1 2 3 4 5 6 7
///     |I|P|L|F|B|E|V|Z|
///     |M| PICTURE ID  |  15 bits
///     | TID |U| SID |D|
///     |   TL0PICIDX   |  non-flexible mode
///     | P_DIFF      |N|  flexible mode, up to three
///     | SS            |
/// </code>
/// </summary>
internal sealed class Vp9Packetizer(PayloadFormatOptions options) : IPacketizer
{
    private readonly int[] _lastOfLayer = [-1, -1, -1, -1, -1, -1, -1, -1];
    private int _pictureId = (options.FirstPictureId ?? Random.Shared.Next(0x8000)) & 0x7FFF;
    private byte _tl0PicIdx;
    private bool _flexible;
    private bool _isKeyPicture;
    private bool _pictureOpen;

    public void Packetize(EncodedFrame frame, int maxPayloadSize, PayloadBuilder into)
    {
        var data = frame.Data.Span;
        var temporal = frame.TemporalLayer ?? 0;
        var spatial = frame.SpatialLayer ?? 0;

        if (temporal is < 0 or > 7 || spatial is < 0 or > 7)
            throw new ArgumentException(
                $"Temporal layer {temporal}, spatial layer {spatial}: VP9 has 0 to 7, RFC 9628 §4.2.",
                nameof(frame)
            );

        var (_, width, height) = BeginPicture(frame, temporal);
        var reference = _flexible && !_isKeyPicture ? Reference(temporal) : 0;
        var hasStructure = _isKeyPicture && spatial == 0;

        var descriptor = 4 + (_flexible ? (reference > 0 ? 1 : 0) : 1);
        var structure = hasStructure ? (options.SpatialLayers > 1 ? 1 : 1 + 4 + 3) : 0;
        var split = Split.Of(data.Length, maxPayloadSize - descriptor, structure);
        into.Reserve(data.Length + structure + split.Count * descriptor);

        for (var i = 0; i < split.Count; i++)
        {
            // What the structure takes from the first packet is part of what was split.
            var extra = i == 0 ? structure : 0;
            var size = Math.Min(data.Length, split.Size(i) - extra);
            var payload = into.Add(descriptor + extra + size);
            var first = i == 0;
            var last = i == split.Count - 1;

            payload[0] = (byte)(
                0xA0
                | (_isKeyPicture ? 0 : 0x40)
                | (_flexible ? 0x10 : 0)
                | (first ? 8 : 0)
                | (last ? 4 : 0)
                | (extra > 0 ? 2 : 0)
            );
            BinaryPrimitives.WriteUInt16BigEndian(payload[1..], (ushort)(0x8000 | _pictureId));
            // D: an upper layer is taken to need the one below it.
            payload[3] = (byte)(temporal << 5 | spatial << 1 | (spatial > 0 ? 1 : 0));

            if (!_flexible)
                payload[4] = _tl0PicIdx;
            else if (reference > 0)
                payload[4] = (byte)(reference << 1);

            if (extra > 0)
                WriteStructure(payload.Slice(descriptor, extra), width, height);

            data[..size].CopyTo(payload[(descriptor + extra)..]);
            data = data[size..];
        }

        EndPicture(frame, temporal, into);
    }

    private (bool IsKey, int Width, int Height) BeginPicture(EncodedFrame frame, int temporal)
    {
        var header = Vp9Format.Header(frame.Data.Span);

        if (_pictureOpen)
            return header;

        _isKeyPicture = header.IsKey;

        if (_isKeyPicture)
        {
            // The mode may only change where nothing earlier is referred to, RFC 9628 §4.2.
            _flexible = frame.TemporalLayer is not null || frame.SpatialLayer is not null || options.SpatialLayers > 1;
            Array.Fill(_lastOfLayer, -1);
        }

        if (temporal == 0)
            _tl0PicIdx++;

        return header;
    }

    private void EndPicture(EncodedFrame frame, int temporal, PayloadBuilder into)
    {
        _pictureOpen = !frame.EndsPicture;

        if (_pictureOpen)
            return;

        into.MarkLast();
        _lastOfLayer[temporal] = _pictureId;
        _pictureId = (_pictureId + 1) & 0x7FFF;
    }

    /// <summary>How many pictures ago the one was that this one refers to, 1 to 127.</summary>
    private int Reference(int temporal)
    {
        var nearest = 0x8000;

        for (var layer = 0; layer < Math.Max(1, temporal); layer++)
            if (_lastOfLayer[layer] >= 0)
                nearest = Math.Min(nearest, (_pictureId - _lastOfLayer[layer]) & 0x7FFF);

        return Math.Clamp(nearest == 0x8000 ? 1 : nearest, 1, 127);
    }

    /// <summary>
    /// The scalability structure, RFC 9628 §4.2.1: the size, and that each picture refers to the one before; of several layers,
    /// which the pictures describe themselves, just how many.
    /// </summary>
    private void WriteStructure(Span<byte> into, int width, int height)
    {
        if (options.SpatialLayers > 1)
        {
            into[0] = (byte)(options.SpatialLayers - 1 << 5);
            return;
        }

        into[0] = 0x18;
        BinaryPrimitives.WriteUInt16BigEndian(into[1..], (ushort)width);
        BinaryPrimitives.WriteUInt16BigEndian(into[3..], (ushort)height);
        into[5] = 1;
        into[6] = 1 << 2;
        into[7] = 1;
    }
}

/// <summary>
/// Reads the payload descriptor of RFC 9628 §4.2 in both modes. A picture of several spatial layers becomes one superframe, VP9
/// specification annex B, as decoders want it.
/// </summary>
internal sealed class Vp9Depacketizer : IDepacketizer
{
    private const int MostLayers = 8;

    private readonly int[] _sizes = new int[MostLayers];
    private int _layers;
    private int _start;
    private bool _open;

    public PayloadInfo Inspect(ReadOnlySpan<byte> payload, bool marker)
    {
        if (!Descriptor.TryRead(payload, out var descriptor))
            return default;

        var begins = descriptor.Begins;
        var isBase = descriptor.SpatialLayer is null or 0;
        var isKey = begins && !descriptor.IsInter && isBase;
        var (_, width, height) = isKey ? Vp9Format.Header(payload[descriptor.Size..]) : default;

        return new PayloadInfo
        {
            IsValid = true,
            // A picture may begin with an upper layer, where the server between us sends no lower one.
            Start =
                !begins ? FrameStart.No
                : isBase ? FrameStart.Yes
                : FrameStart.Possible,
            EndsFrame = marker,
            IsKeyFrame = isKey,
            SpatialLayer = descriptor.SpatialLayer,
            TemporalLayer = descriptor.TemporalLayer,
            Width = width > 0 ? width : descriptor.Width,
            Height = height > 0 ? height : descriptor.Height,
        };
    }

    public void Begin()
    {
        _layers = 0;
        _open = false;
    }

    public bool Append(ReadOnlySpan<byte> payload, FrameWriter into)
    {
        if (!Descriptor.TryRead(payload, out var descriptor) || descriptor.Begins == _open)
            return false;

        if (descriptor.Begins)
        {
            if (_layers == MostLayers)
                return false;

            _start = into.Length;
        }

        into.Append(payload[descriptor.Size..]);
        _open = !descriptor.Ends;

        if (descriptor.Ends)
            _sizes[_layers++] = into.Length - _start;

        return true;
    }

    public bool End(FrameWriter into)
    {
        if (_open || _layers == 0)
            return false;

        if (_layers > 1)
            WriteIndex(into);

        return true;
    }

    private void WriteIndex(FrameWriter into)
    {
        // An index of the encoder's own cannot stand within another.
        if ((into.Written[^1] & 0xE0) == 0xC0)
            return;

        var marker = (byte)(0xC0 | 3 << 3 | _layers - 1);
        into.Append(marker);
        Span<byte> size = stackalloc byte[4];

        for (var i = 0; i < _layers; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(size, _sizes[i]);
            into.Append(size);
        }

        into.Append(marker);
    }

    private ref struct Descriptor
    {
        public int Size;
        public bool Begins;
        public bool Ends;
        public bool IsInter;
        public int? SpatialLayer;
        public int? TemporalLayer;
        public int Width;
        public int Height;

        /// <summary>False: the payload ends within the descriptor or with it.</summary>
        public static bool TryRead(ReadOnlySpan<byte> payload, out Descriptor descriptor)
        {
            descriptor = default;

            if (payload.IsEmpty)
                return false;

            var flags = payload[0];
            var isFlexible = (flags & 0x10) != 0;
            descriptor.IsInter = (flags & 0x40) != 0;
            descriptor.Begins = (flags & 8) != 0;
            descriptor.Ends = (flags & 4) != 0;
            var at = 1;

            if ((flags & 0x80) != 0)
            {
                if (at >= payload.Length)
                    return false;

                at += (payload[at] & 0x80) != 0 ? 2 : 1;
            }

            if ((flags & 0x20) != 0)
            {
                if (at >= payload.Length)
                    return false;

                descriptor.TemporalLayer = payload[at] >> 5;
                descriptor.SpatialLayer = payload[at] >> 1 & 7;
                at += isFlexible ? 1 : 2;
            }

            if (isFlexible && descriptor.IsInter)
            {
                // Up to three differences; the lowest bit says that one more follows.
                for (var i = 0; ; i++)
                {
                    if (i == 3 || at >= payload.Length)
                        return false;

                    if ((payload[at++] & 1) == 0)
                        break;
                }
            }

            if ((flags & 2) != 0 && !ReadStructure(payload, ref at, ref descriptor))
                return false;

            descriptor.Size = at;
            return at < payload.Length;
        }

        /// <summary>The scalability structure, RFC 9628 §4.2.1; the size kept is that of the highest layer.</summary>
        private static bool ReadStructure(ReadOnlySpan<byte> payload, ref int at, ref Descriptor descriptor)
        {
            if (at >= payload.Length)
                return false;

            var layers = (payload[at] >> 5) + 1;
            var hasSizes = (payload[at] & 0x10) != 0;
            var hasGroup = (payload[at] & 8) != 0;
            at++;

            if (hasSizes)
            {
                if (payload.Length - at < 4 * layers)
                    return false;

                at += 4 * layers;
                descriptor.Width = BinaryPrimitives.ReadUInt16BigEndian(payload[(at - 4)..]);
                descriptor.Height = BinaryPrimitives.ReadUInt16BigEndian(payload[(at - 2)..]);
            }

            if (hasGroup)
            {
                if (at >= payload.Length)
                    return false;

                for (var pictures = payload[at++]; pictures > 0; pictures--)
                {
                    if (at >= payload.Length)
                        return false;

                    at += 1 + (payload[at] >> 2 & 3);
                }
            }

            return true;
        }
    }
}
