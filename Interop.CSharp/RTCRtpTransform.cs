using System.Reactive.Linq;
using System.Text.Json.Serialization;
using Hybrid.WebRtc.Media;

namespace Hybrid.WebRtc;

/// <summary>
/// What encoded frames go through on their way from or to the application,
/// <see href="https://www.w3.org/TR/webrtc-encoded-transform/">webrtc-encoded-transform</see>: end-to-end encryption, metadata, filters. A
/// browser has streams here; this has a function, or a pipeline of Rx.
/// </summary>
/// <example>
/// <code>
/// sender.Transform = RTCRtpTransform.Of(frame =>
/// {
///     frame.Data = Encrypt(frame.Data);
///     return frame;
/// });
/// </code>
/// </example>
public sealed class RTCRtpTransform
{
    private readonly Func<IObservable<RTCEncodedFrame>, IObservable<RTCEncodedFrame>> _pipeline;

    private RTCRtpTransform(Func<IObservable<RTCEncodedFrame>, IObservable<RTCEncodedFrame>> pipeline) =>
        _pipeline = pipeline;

    /// <summary>Each frame by itself.</summary>
    /// <param name="each">Answers the frame that goes on; null: none does.</param>
    public static RTCRtpTransform Of(Func<RTCEncodedFrame, RTCEncodedFrame?> each)
    {
        ArgumentNullException.ThrowIfNull(each);
        return new(frames =>
            frames.Select(each).Where(static frame => frame is not null).Select(static frame => frame!)
        );
    }

    /// <summary>All frames as they come; made once for each stream.</summary>
    /// <param name="pipeline">Answers the frames that go on, each one of those given.</param>
    public static RTCRtpTransform Of(Func<IObservable<RTCEncodedFrame>, IObservable<RTCEncodedFrame>> pipeline)
    {
        ArgumentNullException.ThrowIfNull(pipeline);
        return new(pipeline);
    }

    internal IObservable<EncodedFrame> Apply(IObservable<EncodedFrame> frames, MediaKind kind, string mimeType) =>
        _pipeline(
                frames.Select<EncodedFrame, RTCEncodedFrame>(frame =>
                    kind == MediaKind.Video
                        ? new RTCEncodedVideoFrame(frame, mimeType)
                        : new RTCEncodedAudioFrame(frame, mimeType)
                )
            )
            .Select(static frame => frame.Inner);
}

/// <summary>An encoded frame on its way.</summary>
public abstract class RTCEncodedFrame
{
    private EncodedFrame _frame;

    private protected RTCEncodedFrame(EncodedFrame frame, string mimeType)
    {
        _frame = frame;
        MimeType = mimeType;
    }

    /// <summary>What the encoder put out; may be replaced.</summary>
    public ReadOnlyMemory<byte> Data
    {
        get => _frame.Data;
        set => _frame = _frame with { Data = value };
    }

    /// <summary>When it is shown or heard, in units of the RTP clock.</summary>
    public uint Timestamp => _frame.Timestamp;

    internal EncodedFrame Inner => _frame;

    private protected string MimeType { get; }

    private protected IReadOnlyList<uint> ContributingSources()
    {
        var csrcs = _frame.Csrcs.Span;
        var sources = new uint[csrcs.Length / 4];
        for (var i = 0; i < sources.Length; i++)
            sources[i] = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(csrcs[(4 * i)..]);
        return sources;
    }
}

/// <summary>A picture, <see href="https://www.w3.org/TR/webrtc-encoded-transform/#RTCEncodedVideoFrame-interface">RTCEncodedVideoFrame</see>.</summary>
public sealed class RTCEncodedVideoFrame : RTCEncodedFrame
{
    internal RTCEncodedVideoFrame(EncodedFrame frame, string mimeType)
        : base(frame, mimeType) { }

    /// <summary>Whether it needs others.</summary>
    public RTCEncodedVideoFrameType Type =>
        Inner.Data.IsEmpty ? RTCEncodedVideoFrameType.Empty
        : Inner.IsKeyFrame ? RTCEncodedVideoFrameType.Key
        : RTCEncodedVideoFrameType.Delta;

    /// <summary>What else is known of it.</summary>
    public RTCEncodedVideoFrameMetadata GetMetadata() =>
        new()
        {
            Width = Inner.Width > 0 ? Inner.Width : null,
            Height = Inner.Height > 0 ? Inner.Height : null,
            SpatialIndex = Inner.SpatialLayer,
            TemporalIndex = Inner.TemporalLayer,
            SynchronizationSource = Inner.Ssrc,
            PayloadType = Inner.PayloadType,
            ContributingSources = ContributingSources(),
            RtpTimestamp = Inner.Timestamp,
            ReceiveTime = Inner.ReceivedAt,
            MimeType = MimeType,
        };
}

/// <summary>A piece of sound, <see href="https://www.w3.org/TR/webrtc-encoded-transform/#RTCEncodedAudioFrame-interface">RTCEncodedAudioFrame</see>.</summary>
public sealed class RTCEncodedAudioFrame : RTCEncodedFrame
{
    internal RTCEncodedAudioFrame(EncodedFrame frame, string mimeType)
        : base(frame, mimeType) { }

    /// <summary>What else is known of it.</summary>
    public RTCEncodedAudioFrameMetadata GetMetadata() =>
        new()
        {
            SynchronizationSource = Inner.Ssrc,
            PayloadType = Inner.PayloadType,
            ContributingSources = ContributingSources(),
            SequenceNumber = Inner.PacketCount > 0 ? Inner.FirstSequenceNumber : null,
            RtpTimestamp = Inner.Timestamp,
            ReceiveTime = Inner.ReceivedAt,
            MimeType = MimeType,
        };
}

/// <summary>Whether a frame needs others, <see href="https://www.w3.org/TR/webrtc-encoded-transform/#dom-rtcencodedvideoframetype">RTCEncodedVideoFrameType</see>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RTCEncodedVideoFrameType>))]
public enum RTCEncodedVideoFrameType
{
    /// <summary><c>empty</c>: it has no data.</summary>
    [JsonStringEnumMemberName("empty")]
    Empty,

    /// <summary><c>key</c>: it needs none.</summary>
    [JsonStringEnumMemberName("key")]
    Key,

    /// <summary><c>delta</c>: it needs others before it.</summary>
    [JsonStringEnumMemberName("delta")]
    Delta,
}

/// <summary>What is known of any frame.</summary>
public abstract record RTCEncodedFrameMetadata
{
    private protected RTCEncodedFrameMetadata() { }

    /// <summary>The source that it came from; 0 where it comes from here.</summary>
    public uint SynchronizationSource { get; init; }

    /// <summary>What its packets carry; 0 where it has had none.</summary>
    public byte PayloadType { get; init; }

    /// <summary>Of its first packet.</summary>
    public required IReadOnlyList<uint> ContributingSources { get; init; }

    /// <summary>In units of the RTP clock.</summary>
    public uint RtpTimestamp { get; init; }

    /// <summary>When its last packet came; null where it comes from here.</summary>
    public DateTimeOffset? ReceiveTime { get; init; }

    /// <summary>Its codec.</summary>
    public required string MimeType { get; init; }
}

/// <summary>Of a picture, <see href="https://www.w3.org/TR/webrtc-encoded-transform/#RTCEncodedVideoFrameMetadata">RTCEncodedVideoFrameMetadata</see>.</summary>
public sealed record RTCEncodedVideoFrameMetadata : RTCEncodedFrameMetadata
{
    /// <summary>Pixels across, where it says so.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels down, where it says so.</summary>
    public int? Height { get; init; }

    /// <summary>Its spatial layer, where it says so.</summary>
    public int? SpatialIndex { get; init; }

    /// <summary>Its temporal layer, where it says so.</summary>
    public int? TemporalIndex { get; init; }
}

/// <summary>Of sound, <see href="https://www.w3.org/TR/webrtc-encoded-transform/#RTCEncodedAudioFrameMetadata">RTCEncodedAudioFrameMetadata</see>.</summary>
public sealed record RTCEncodedAudioFrameMetadata : RTCEncodedFrameMetadata
{
    /// <summary>Of its packet; null where it comes from here.</summary>
    public ushort? SequenceNumber { get; init; }
}
