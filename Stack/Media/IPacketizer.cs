namespace Hybrid.WebRtc.Media;

/// <summary>
/// The sending half of a payload format: splits a frame into payloads. It may keep what the format counts (picture ids), so one
/// belongs to one stream. Not safe for concurrent use.
/// </summary>
public interface IPacketizer
{
    /// <summary>Appends the payloads of a frame, each of at most <paramref name="maxPayloadSize"/> octets, of about equal size.</summary>
    /// <param name="frame">A frame of at least one octet.</param>
    /// <param name="maxPayloadSize">Octets a payload may have, at least <see cref="Packetizer.SmallestPayloadSize"/>.</param>
    /// <param name="into">Takes the payloads.</param>
    /// <exception cref="ArgumentException">The frame is not one of this format, or the format cannot carry it in that size.</exception>
    void Packetize(EncodedFrame frame, int maxPayloadSize, PayloadBuilder into);
}

/// <summary>
/// The receiving half of a payload format: tells what a payload is part of, and puts frames together. Never throws for what a
/// payload holds, and needs time linear in its size. <see cref="Inspect"/> keeps nothing; from <see cref="Begin"/> to
/// <see cref="End"/> one frame is put together. Not safe for concurrent use.
/// </summary>
public interface IDepacketizer
{
    /// <summary>What one payload says of its frame.</summary>
    /// <param name="payload">The payload of one packet, without padding.</param>
    /// <param name="marker">The packet's marker bit.</param>
    PayloadInfo Inspect(ReadOnlySpan<byte> payload, bool marker);

    /// <summary>Starts a frame; what was left of the one before is forgotten.</summary>
    void Begin();

    /// <summary>Adds the next payload of the frame, in order of sequence numbers. False: it is malformed, or does not follow.</summary>
    bool Append(ReadOnlySpan<byte> payload, FrameWriter into);

    /// <summary>Completes the frame. False: it is not whole.</summary>
    bool End(FrameWriter into);
}

/// <summary>Whether a payload is the first of its frame.</summary>
public enum FrameStart
{
    /// <summary>It is not.</summary>
    No,

    /// <summary>The payload does not tell: it is the first if the packet before it has another timestamp.</summary>
    Possible,

    /// <summary>It is.</summary>
    Yes,
}

/// <summary>What one payload says of its frame.</summary>
public readonly record struct PayloadInfo
{
    /// <summary>Whether it is well-formed as far as can be told from it alone. If not, nothing else of this is of meaning.</summary>
    public bool IsValid { get; init; }

    /// <summary>Whether it is the first of its frame.</summary>
    public FrameStart Start { get; init; }

    /// <summary>Whether it is known to be the last of its frame.</summary>
    public bool EndsFrame { get; init; }

    /// <summary>Whether its frame is decoded without any before it, as far as this payload shows.</summary>
    public bool IsKeyFrame { get; init; }

    /// <summary>Whether no other frame refers to this part of its frame.</summary>
    public bool IsDiscardable { get; init; }

    /// <summary>The spatial layer, from 0; null where it is not told.</summary>
    public int? SpatialLayer { get; init; }

    /// <summary>The temporal layer, from 0; null where it is not told.</summary>
    public int? TemporalLayer { get; init; }

    /// <summary>Pixels across, where this payload tells; else 0.</summary>
    public int Width { get; init; }

    /// <summary>Pixels down, where this payload tells; else 0.</summary>
    public int Height { get; init; }

    /// <summary>How long its audio lasts, in units of the RTP clock; 0 where it is not told.</summary>
    public int Duration { get; init; }
}

/// <summary>What a whole frame says of itself.</summary>
/// <param name="IsKeyFrame">Whether it is decoded without any frame before it.</param>
/// <param name="Width">Pixels across, where a key frame tells; else 0.</param>
/// <param name="Height">Pixels down, where a key frame tells; else 0.</param>
/// <param name="Duration">How long its audio lasts, in units of the RTP clock; 0 where it is not told.</param>
public readonly record struct FrameInfo(bool IsKeyFrame, int Width, int Height, int Duration);
