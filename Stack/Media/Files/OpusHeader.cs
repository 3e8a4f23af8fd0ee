using System.Buffers.Binary;
using System.Text;

namespace Hybrid.WebRtc.Media;

/// <summary>The first packet of Opus in Ogg, RFC 7845 §5.1.</summary>
public sealed record OpusHeader
{
    private const int FixedSize = 19;

    /// <summary>Output channels, 1 to 255. Default 2.</summary>
    public byte Channels { get; init; } = 2;

    /// <summary>Samples at 48 kHz to leave out at the beginning of what is decoded. Default 312, which is libopus's.</summary>
    public ushort PreSkip { get; init; } = 312;

    /// <summary>Samples a second of what was encoded; nothing depends on it. Default 48,000.</summary>
    public uint InputSampleRate { get; init; } = OpusPacket.ClockRate;

    /// <summary>Gain to apply, in 1/256 dB. Default 0.</summary>
    public short OutputGain { get; init; }

    /// <summary>What channels mean, §5.1.1: 0: mono or stereo, 1: Vorbis' order, 255: nothing. Default 0.</summary>
    public byte MappingFamily { get; init; }

    /// <summary>Of families other than 0: stream count, coupled count, and an octet a channel.</summary>
    public ReadOnlyMemory<byte> Mapping { get; init; }

    /// <summary>Whether a packet begins as this one does.</summary>
    internal static bool IsOne(ReadOnlySpan<byte> packet) => packet.StartsWith("OpusHead"u8);

    /// <summary>Null: it is malformed, or of another major version.</summary>
    internal static OpusHeader? Read(ReadOnlySpan<byte> packet)
    {
        // A reader of version 1 reads all up to 15, §5.1.
        if (packet.Length < FixedSize || !IsOne(packet) || packet[8] > 15 || packet[9] == 0)
            return null;

        var family = packet[18];

        if (family == 0 ? packet[9] > 2 : packet.Length < FixedSize + 2 + packet[9])
            return null;

        return new()
        {
            Channels = packet[9],
            PreSkip = BinaryPrimitives.ReadUInt16LittleEndian(packet[10..]),
            InputSampleRate = BinaryPrimitives.ReadUInt32LittleEndian(packet[12..]),
            OutputGain = BinaryPrimitives.ReadInt16LittleEndian(packet[16..]),
            MappingFamily = family,
            Mapping = family == 0 ? default : packet.Slice(FixedSize, 2 + packet[9]).ToArray(),
        };
    }

    internal byte[] Write()
    {
        var packet = new byte[FixedSize + Mapping.Length];
        "OpusHead"u8.CopyTo(packet);
        packet[8] = 1;
        packet[9] = Channels;
        BinaryPrimitives.WriteUInt16LittleEndian(packet.AsSpan(10), PreSkip);
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(12), InputSampleRate);
        BinaryPrimitives.WriteInt16LittleEndian(packet.AsSpan(16), OutputGain);
        packet[18] = MappingFamily;
        Mapping.CopyTo(packet.AsMemory(FixedSize));
        return packet;
    }
}

/// <summary>The second packet of Opus in Ogg, RFC 7845 §5.2.</summary>
/// <param name="Vendor">Which encoder made it.</param>
/// <param name="Comments"><c>NAME=value</c> each.</param>
public sealed record OpusTags(string Vendor, IReadOnlyList<string> Comments)
{
    /// <summary>Null: it is malformed.</summary>
    internal static OpusTags? Read(ReadOnlySpan<byte> packet)
    {
        if (!packet.StartsWith("OpusTags"u8))
            return null;

        packet = packet[8..];

        if (!TryTake(ref packet, out var vendor) || packet.Length < 4)
            return null;

        var count = BinaryPrimitives.ReadUInt32LittleEndian(packet);
        packet = packet[4..];

        // Each takes four octets at least.
        if (count > packet.Length / 4)
            return null;

        var comments = new string[count];

        for (var i = 0; i < comments.Length; i++)
            if (!TryTake(ref packet, out comments[i]))
                return null;

        return new(vendor, comments);
    }

    internal byte[] Write()
    {
        using var packet = new MemoryStream();
        packet.Write("OpusTags"u8);
        Put(packet, Vendor);
        Span<byte> count = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(count, Comments.Count);
        packet.Write(count);

        foreach (var comment in Comments)
            Put(packet, comment);

        return packet.ToArray();
    }

    private static void Put(MemoryStream packet, string text)
    {
        var octets = Encoding.UTF8.GetBytes(text);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, octets.Length);
        packet.Write(length);
        packet.Write(octets);
    }

    private static bool TryTake(ref ReadOnlySpan<byte> packet, out string text)
    {
        text = "";

        if (packet.Length < 4)
            return false;

        var length = BinaryPrimitives.ReadUInt32LittleEndian(packet);

        if (length > packet.Length - 4)
            return false;

        text = Encoding.UTF8.GetString(packet.Slice(4, (int)length));
        packet = packet[(4 + (int)length)..];
        return true;
    }
}
