using Hybrid.WebRtc.Media;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// Packets of a peer's track on their way into a track of ours, as <see cref="RemoteTrack.ForwardTo"/> has made it: the hot path of an
/// SFU, which goes from the socket to the senders without a detour by the connection's context.
/// </summary>
public sealed class RtpForward : IDisposable
{
    /// <summary>A key frame that does not come is asked for again: requests are lost, and browsers pass over one that follows another within 300 ms.</summary>
    private const uint AskAgain = 45_000;

    private readonly Lock _gate = new();
    private string? _rid;
    private string? _next;
    private bool _isAwaited;
    private uint? _askedAt;
    private object _run = new();
    private RtpCodecTable _codecs = RtpCodecTable.AsIs;
    private IDepacketizer? _depacketizer;
    private byte _depacketizes;
    private bool _isOver;

    internal RtpForward(RemoteTrack source, RtpTrack target, string? rid, string encoding)
    {
        Source = source;
        Target = target;
        Encoding = encoding;
        _rid = rid;
        _isAwaited = target.Kind == MediaKind.Video && target.HasSent(encoding);
    }

    /// <summary>Where packets come from.</summary>
    public RemoteTrack Source { get; }

    /// <summary>Where they go to.</summary>
    public RtpTrack Target { get; }

    /// <summary>Which encoding of <see cref="Target"/> they become; empty where it has one only.</summary>
    public string Encoding { get; }

    /// <summary>Which of the peer's simulcast encodings is forwarded; empty without simulcast, null before the first packet where none was asked for.</summary>
    public string? Rid
    {
        get
        {
            lock (_gate)
                return _rid;
        }
    }

    /// <summary>
    /// Goes on with another of the peer's encodings, from its next key frame on, which is asked for. Until it comes, the present
    /// one is forwarded. Receivers see one stream: sequence numbers and timestamps go on.
    /// </summary>
    /// <param name="rid">Of the encoding.</param>
    public void SwitchTo(string rid)
    {
        ArgumentNullException.ThrowIfNull(rid);
        lock (_gate)
        {
            if (_isOver)
                return;
            _next = rid == _rid ? null : rid;
            _askedAt = null;
            if (_next is null)
                return;
        }
        Source.RequestKeyFrame(rid);
    }

    /// <summary>Forwards nothing more.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_isOver)
                return;
            _isOver = true;
        }
        Source.Detach(this);
        Target.Detach(this);
    }

    /// <summary>A burst of the peer's; on its loop's thread.</summary>
    internal void Pass(string rid, ReadOnlyMemory<RtpPacket> packets, Core.RtpCodecParameters[] codecs)
    {
        object? run;
        RtpCodecTable table;
        var asks = false;
        lock (_gate)
        {
            if (_isOver || packets.IsEmpty)
                return;
            if (!_codecs.IsOf(codecs))
            {
                _codecs = RtpCodecTable.Of(codecs);
                _depacketizer = null;
            }

            _rid ??= rid;
            if (_next == rid || (_isAwaited && _rid == rid))
            {
                if (FirstOfKeyFrame(packets.Span) is >= 0 and var first)
                {
                    _rid = rid;
                    _next = null;
                    _isAwaited = false;
                    _run = new object();
                    packets = packets[first..];
                }
                else
                {
                    asks = IsTimeToAsk(packets.Span[0].Timestamp);
                }
            }
            // Receivers who still have another source's frames would take frames of this one for their continuation.
            run = _rid == rid && !_isAwaited ? _run : null;
            table = _codecs;
        }
        if (asks)
            Source.RequestKeyFrame(rid);
        if (run is not null)
            Target.Forward(Encoding, run, table, packets);
    }

    /// <summary>By the clock of pictures, 90 kHz: from the first packet on that was none of a key frame's.</summary>
    private bool IsTimeToAsk(uint timestamp)
    {
        var isTime = _askedAt is { } before && timestamp - before is >= AskAgain and < 1U << 31;
        if (isTime || _askedAt is null)
            _askedAt = timestamp;
        return isTime;
    }

    /// <summary>Somebody who receives it cannot go on without.</summary>
    internal void AskForKeyFrame()
    {
        string? rid;
        lock (_gate)
            rid = _next ?? _rid;
        Source.RelayKeyFrameRequest(rid ?? "");
    }

    /// <summary>Where a key frame begins, a parameter set before it included; of sound, at once. Negative: nowhere.</summary>
    private int FirstOfKeyFrame(ReadOnlySpan<RtpPacket> packets)
    {
        if (Source.Kind == MediaKind.Audio)
            return packets.IsEmpty ? -1 : 0;
        for (var i = 0; i < packets.Length; i++)
        {
            // Of a format that is not known nothing tells a key frame: it may as well be now.
            if (DepacketizerOf(packets[i].PayloadType) is not { } depacketizer)
                return i;
            var info = depacketizer.Inspect(packets[i].Payload.Span, packets[i].Marker);
            if (info is { IsValid: true, Start: not FrameStart.No } && (info.IsKeyFrame || info.Width > 0))
                return i;
        }
        return -1;
    }

    private IDepacketizer? DepacketizerOf(byte payloadType)
    {
        if (_depacketizer is { } known && _depacketizes == payloadType)
            return known;
        _depacketizes = payloadType;
        return _depacketizer =
            _codecs.Find(payloadType) is { } codec
            && PayloadFormats.TryFor(codec.Codec.MimeType, codec.Codec.Fmtp, null, out var format)
                ? format.CreateDepacketizer()
                : null;
    }
}
