using System.Diagnostics;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Stack;

/// <summary>What inputs about media are made of, as octets and back.</summary>
internal static class MediaCodec
{
    /// <summary>Writes what may be negotiated.</summary>
    public static void Write(JournalBuffer to, MediaCapabilities value)
    {
        to.Array(value.Audio, codec => Write(to, codec));
        to.Array(value.Video, codec => Write(to, codec));
        to.Array(value.AudioExtensions, extension => Write(to, extension));
        to.Array(value.VideoExtensions, extension => Write(to, extension));
    }

    /// <summary>Reads what may be negotiated.</summary>
    public static MediaCapabilities ReadCapabilities(JournalCursor from) =>
        new(
            from.Array(() => ReadCapability(from)),
            from.Array(() => ReadCapability(from)),
            from.Array(() => ReadExtension(from)),
            from.Array(() => ReadExtension(from))
        );

    /// <summary>Writes what a transceiver is made from.</summary>
    public static void Write(JournalBuffer to, TransceiverInit value)
    {
        to.Number((int)value.Kind);
        to.Number((int)value.Direction);
        to.Array(value.Streams, to.Text);
        to.Array(value.Encodings, encoding => Write(to, encoding));
        to.MaybeText(value.Track);
    }

    /// <summary>Reads what a transceiver is made from.</summary>
    public static TransceiverInit ReadTransceiver(JournalCursor from) =>
        new(
            (MediaKind)from.Int32(),
            (Direction)from.Int32(),
            from.Array(from.Text),
            from.Array(() => ReadEncoding(from)),
            from.Option(from.Text)
        );

    /// <summary>Writes a codec.</summary>
    public static void Write(JournalBuffer to, RtpCodec value)
    {
        to.Text(value.MimeType);
        to.Number(value.ClockRate);
        to.MaybeNumber(value.Channels);
        to.Text(value.Fmtp);
    }

    /// <summary>Reads a codec.</summary>
    public static RtpCodec ReadCodec(JournalCursor from) =>
        new(from.Text(), from.Int32(), from.Option(from.Int32), from.Text());

    /// <summary>Writes an encoding. Fractions are written as their bits.</summary>
    public static void Write(JournalBuffer to, EncodingParameters value)
    {
        to.Text(value.Rid);
        to.Flag(value.Active);
        to.Option(value.Codec, codec => Write(to, codec));
        to.Option(value.MaxBitrate, to.Number);
        to.Option(value.MaxFramerate, rate => to.Number(BitConverter.DoubleToInt64Bits(rate)));
        to.Option(value.ScaleResolutionDownBy, scale => to.Number(BitConverter.DoubleToInt64Bits(scale)));
        to.Number((int)value.Priority);
        to.MaybeText(value.ScalabilityMode);
    }

    /// <summary>Reads an encoding.</summary>
    public static EncodingParameters ReadEncoding(JournalCursor from) =>
        new(
            from.Text(),
            from.Flag(),
            from.Option(() => ReadCodec(from)),
            from.Option(from.Number),
            from.Option(() => BitConverter.Int64BitsToDouble(from.Number())),
            from.Option(() => BitConverter.Int64BitsToDouble(from.Number())),
            (Priority)from.Int32(),
            from.Option(from.Text)
        );

    /// <summary>Writes a header extension.</summary>
    public static void Write(JournalBuffer to, ExtensionCapability value)
    {
        to.Text(value.Uri);
        to.Number((int)value.Direction);
    }

    /// <summary>Reads a header extension.</summary>
    public static ExtensionCapability ReadExtension(JournalCursor from) => new(from.Text(), (Direction)from.Int32());

    /// <summary>Writes a mapping.</summary>
    public static void Write(JournalBuffer to, RtpMapping value)
    {
        to.Octets(value.PayloadTypes);
        to.Number(value.SequenceOffset);
        to.Number(value.TimestampOffset);
    }

    /// <summary>Reads a mapping.</summary>
    public static RtpMapping ReadMapping(JournalCursor from) =>
        new(from.Octets(), (ushort)from.Number(), (uint)from.Number());

    /// <summary>Writes packets.</summary>
    public static void Write(JournalBuffer to, ReadOnlySpan<RtpPacket> packets)
    {
        to.Unsigned((ulong)packets.Length);

        foreach (ref readonly var packet in packets)
            Write(to, packet);
    }

    /// <summary>Reads packets.</summary>
    public static RtpPacket[] ReadPackets(JournalCursor from)
    {
        var packets = new RtpPacket[from.Count()];

        for (var i = 0; i < packets.Length; i++)
            packets[i] = ReadPacket(from);

        return packets;
    }

    /// <summary>Writes a packet.</summary>
    public static void Write(JournalBuffer to, in RtpPacket value)
    {
        to.Flag(value.Marker);
        to.Byte(value.PayloadType);
        to.Number(value.SequenceNumber);
        to.Number(value.Timestamp);
        to.Number(value.Ssrc);
        to.Octets(value.Csrcs.Span);
        to.Number(value.ExtensionProfile);
        to.Octets(value.Extensions.Span);
        to.Array(
            value.Map?.Entries ?? [],
            entry =>
            {
                to.Number(entry.Key);
                to.Text(entry.Value);
            }
        );
        to.Octets(value.Payload.Span);
        to.Byte(value.Padding);
    }

    /// <summary>Writes a transceiver as its users see it.</summary>
    public static void Write(JournalBuffer to, TransceiverInfo value)
    {
        to.Number(value.Id);
        to.Number((int)value.Kind);
        to.MaybeText(value.Mid);
        to.Number((int)value.Direction);
        to.Option(value.CurrentDirection, direction => to.Number((int)direction));
        to.Flag(value.Stopping);
        to.Array(value.Encodings, encoding => Write(to, encoding));
        to.Array(value.SendCodecs, codec => Write(to, codec));
        to.Array(value.ReceiveCodecs, codec => Write(to, codec));
        to.Array(
            value.Extensions,
            extension =>
            {
                to.Text(extension.Uri);
                to.Number(extension.Id);
                to.Flag(extension.Encrypted);
            }
        );
        to.Text(value.ReceiverTrack);
        to.Array(value.RemoteStreams, to.Text);
        to.Flag(value.ReducedSize);
        to.Text(value.Cname);
        to.Flag(value.HeaderEncryption);
        to.Flag(value.CreatedByAddTrack);
        to.Array(value.Ssrcs, ssrc => to.Number(ssrc));
    }

    /// <summary>Writes what happened to a receiver's track.</summary>
    public static void Write(JournalBuffer to, TrackChange value)
    {
        switch (value)
        {
            case TrackChange.TrackAdded added:
                to.Byte(0);
                to.Number(added.Transceiver);
                to.Array(added.Streams, to.Text);
                break;
            case TrackChange.TrackRemoved removed:
                to.Byte(1);
                to.Number(removed.Transceiver);
                to.Array(removed.Streams, to.Text);
                break;
            case TrackChange.TrackEnded ended:
                to.Byte(2);
                to.Number(ended.Transceiver);
                break;
            default:
                throw new UnreachableException("A change of a track that the journal does not know.");
        }
    }

    /// <summary>Writes a codec as it was negotiated.</summary>
    public static void Write(JournalBuffer to, RtpCodecParameters value)
    {
        Write(to, value.Codec);
        to.Number(value.PayloadType);
        to.Array(value.Feedback, to.Text);
    }

    private static RtpPacket ReadPacket(JournalCursor from) =>
        new(
            from.Flag(),
            from.Byte(),
            (ushort)from.Number(),
            (uint)from.Number(),
            (uint)from.Number(),
            from.Octets(),
            (ushort)from.Number(),
            from.Octets(),
            new ExtensionMap(from.Array(() => KeyValuePair.Create(from.Int32() & 0xFF, from.Text()))),
            from.Octets(),
            from.Byte()
        );

    private static void Write(JournalBuffer to, CodecCapability value)
    {
        Write(to, value.Codec);
        to.MaybeNumber(value.PreferredPayloadType);
        to.Array(value.Feedback, to.Text);
        to.Flag(value.Retransmission);
    }

    private static CodecCapability ReadCapability(JournalCursor from) =>
        new(ReadCodec(from), from.Option(from.Int32), from.Array(from.Text), from.Flag());
}
