using System.Buffers.Binary;

namespace Hybrid.WebRtc.Media;

/// <summary>VP8, RFC 7741.</summary>
internal sealed class Vp8Format(PayloadFormatOptions options) : PayloadFormat("video/VP8", 90_000)
{
    public override IPacketizer CreatePacketizer() => new Vp8Packetizer(options.FirstPictureId);

    public override IDepacketizer CreateDepacketizer() => new Vp8Depacketizer();

    public override FrameInfo Inspect(ReadOnlySpan<byte> frame)
    {
        var (isKey, width, height) = Vp8Depacketizer.Header(frame);
        return new(isKey, width, height, 0);
    }
}

/// <summary>
/// Writes the payload descriptor of RFC 7741 §4.2 with a picture id of 15 bits, and the layer where the frame names one.
/// <code>
///      0 1 2 3 4 5 6 7
///     |X|R|N|S|R| PID |
///     |I|L|T|K| RSV   |
///     |M| PictureID   |  15 bits
///     |   TL0PICIDX   |
///     |TID|Y| KEYIDX  |
/// </code>
/// </summary>
internal sealed class Vp8Packetizer(int? firstPictureId) : IPacketizer
{
    private int _pictureId = (firstPictureId ?? Random.Shared.Next(0x8000)) & 0x7FFF;
    private byte _tl0PicIdx;

    public void Packetize(EncodedFrame frame, int maxPayloadSize, PayloadBuilder into)
    {
        var data = frame.Data.Span;
        var layer = frame.TemporalLayer;

        if (layer is < 0 or > 3)
            throw new ArgumentException($"Temporal layer {layer}: VP8 has 0 to 3, RFC 7741 §4.2.", nameof(frame));

        // TL0PICIDX counts the frames of the base layer.
        if (layer == 0)
            _tl0PicIdx++;

        var descriptor = layer is null ? 4 : 6;
        var split = Split.Of(data.Length, maxPayloadSize - descriptor);
        into.Reserve(data.Length + split.Count * descriptor);

        for (var i = 0; i < split.Count; i++)
        {
            var payload = into.Add(descriptor + split.Size(i));
            payload[0] = (byte)(0x80 | (frame.IsDiscardable ? 0x20 : 0) | (i == 0 ? 0x10 : 0));
            payload[1] = (byte)(layer is null ? 0x80 : 0xE0);
            BinaryPrimitives.WriteUInt16BigEndian(payload[2..], (ushort)(0x8000 | _pictureId));

            if (layer is { } tid)
            {
                payload[4] = _tl0PicIdx;
                payload[5] = (byte)(tid << 6);
            }

            data[..split.Size(i)].CopyTo(payload[descriptor..]);
            data = data[split.Size(i)..];
        }

        into.MarkLast();
        _pictureId = (_pictureId + 1) & 0x7FFF;
    }
}

/// <summary>Reads the payload descriptor of RFC 7741 §4.2 and the header of a key frame, RFC 6386 §9.1.</summary>
internal sealed class Vp8Depacketizer : IDepacketizer
{
    public PayloadInfo Inspect(ReadOnlySpan<byte> payload, bool marker)
    {
        var size = DescriptorSize(payload, out var temporalLayer);

        if (size < 0)
            return default;

        // S says that a partition begins, and the first partition is where the frame begins.
        var starts = (payload[0] & 0x17) == 0x10;
        var (isKey, width, height) = starts ? Header(payload[size..]) : default;

        return new PayloadInfo
        {
            IsValid = true,
            Start = starts ? FrameStart.Yes : FrameStart.No,
            EndsFrame = marker,
            IsKeyFrame = isKey,
            IsDiscardable = (payload[0] & 0x20) != 0,
            TemporalLayer = temporalLayer,
            Width = width,
            Height = height,
        };
    }

    public void Begin() { }

    public bool Append(ReadOnlySpan<byte> payload, FrameWriter into)
    {
        var size = DescriptorSize(payload, out _);

        if (size < 0)
            return false;

        into.Append(payload[size..]);
        return true;
    }

    public bool End(FrameWriter into) => into.Length > 0;

    /// <summary>Whether a frame is a key frame, and its size, RFC 6386 §9.1.</summary>
    public static (bool IsKey, int Width, int Height) Header(ReadOnlySpan<byte> frame)
    {
        if (frame.IsEmpty || (frame[0] & 1) != 0)
            return default;

        return frame is [_, _, _, 0x9D, 0x01, 0x2A, _, _, _, _, ..]
            ? (
                true,
                BinaryPrimitives.ReadUInt16LittleEndian(frame[6..]) & 0x3FFF,
                BinaryPrimitives.ReadUInt16LittleEndian(frame[8..]) & 0x3FFF
            )
            : (true, 0, 0);
    }

    /// <summary>Octets before the frame's; negative: the payload ends within them or with them.</summary>
    private static int DescriptorSize(ReadOnlySpan<byte> payload, out int? temporalLayer)
    {
        temporalLayer = null;

        if (payload.IsEmpty)
            return -1;

        var size = 1;

        if ((payload[0] & 0x80) != 0)
        {
            if (payload.Length < 2)
                return -1;

            var extensions = payload[1];
            size = 2;

            if ((extensions & 0x80) != 0)
            {
                if (payload.Length <= size)
                    return -1;

                size += (payload[size] & 0x80) != 0 ? 2 : 1;
            }

            if ((extensions & 0x40) != 0)
                size++;

            if ((extensions & 0x30) != 0)
            {
                if (payload.Length <= size)
                    return -1;

                if ((extensions & 0x20) != 0)
                    temporalLayer = payload[size] >> 6;

                size++;
            }
        }

        return size < payload.Length ? size : -1;
    }
}
