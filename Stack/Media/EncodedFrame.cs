using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Media;

/// <summary>
/// What an encoder put out for one instant: a picture with all its layers, or a piece of audio. <see cref="SampleBuilder"/> and
/// the readers of files make them, <see cref="Packetizer"/> takes them. Immutable; <c>frame with { Data = … }</c> changes one.
/// </summary>
/// <remarks>
/// Who sends sets <see cref="Data"/> and <see cref="Timestamp"/>, and the layers where the encoder has some. All else is for who
/// receives.
/// </remarks>
public sealed record EncodedFrame
{
    /// <summary>
    /// The frame as its decoder takes it: H.264, H.265 and H.266 as Annex-B byte streams (or length-prefixed, see
    /// <see cref="NalFraming"/>), AV1 as a temporal unit of OBUs with sizes, VP9 as a frame or superframe, anything else as it is.
    /// Not to be changed while a packet of it may still be sent.
    /// </summary>
    public ReadOnlyMemory<byte> Data { get; init; }

    /// <summary>When it is shown, in units of the RTP clock, RFC 3550 §5.1: 90,000 a second for video. Wraps.</summary>
    public uint Timestamp { get; init; }

    /// <summary>
    /// How long it lasts; zero where that is not known. Of received video: the time to the next frame where that has begun to
    /// arrive, else the time since the one before.
    /// </summary>
    public TimeSpan Duration { get; init; }

    /// <summary>Whether it is decoded without any frame before it. Always so for audio.</summary>
    public bool IsKeyFrame { get; init; }

    /// <summary>Whether no other frame refers to it, as far as the payload format says so.</summary>
    public bool IsDiscardable { get; init; }

    /// <summary>The spatial layer, from 0; of a received picture of several, the highest. Null: not known.</summary>
    public int? SpatialLayer { get; init; }

    /// <summary>The temporal layer, from 0. Null: not known.</summary>
    public int? TemporalLayer { get; init; }

    /// <summary>
    /// False where another spatial layer of the same picture, with the same timestamp, is sent next: its last packet then bears
    /// no marker. Default true.
    /// </summary>
    public bool EndsPicture { get; init; } = true;

    /// <summary>Pixels across, where a key frame says so cheaply; else 0.</summary>
    public int Width { get; init; }

    /// <summary>Pixels down, where a key frame says so cheaply; else 0.</summary>
    public int Height { get; init; }

    /// <summary>Of the first packet.</summary>
    public ushort FirstSequenceNumber { get; init; }

    /// <summary>Of the last packet.</summary>
    public ushort LastSequenceNumber { get; init; }

    /// <summary>Packets it came in, those of mere padding not counted. 0: it did not come in packets.</summary>
    public int PacketCount { get; init; }

    /// <summary>Packets that were lost, or dropped with their incomplete frame, between the frame delivered before and this one.</summary>
    public int LostBefore { get; init; }

    /// <summary>When its last packet arrived. Null: not known.</summary>
    public DateTimeOffset? ReceivedAt { get; init; }

    /// <summary>The source it came from.</summary>
    public uint Ssrc { get; init; }

    /// <summary>The payload type of its packets, 0 to 127.</summary>
    public byte PayloadType { get; init; }

    /// <summary>Contributing sources of its first packet, four octets each.</summary>
    public ReadOnlyMemory<byte> Csrcs { get; init; }

    /// <summary>Its packets, with their header extensions, where <see cref="SampleBuilderOptions.KeepPackets"/> asks for them.</summary>
    public ReadOnlyMemory<RtpPacket> Packets { get; init; }
}
