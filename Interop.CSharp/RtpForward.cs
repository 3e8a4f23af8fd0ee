using Hybrid.WebRtc.Media;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// Packets of a peer's track on their way into a track of ours, as <see cref="RemoteTrack.ForwardTo"/> has made it: the hot path of an
/// SFU, which goes from the socket to the senders without a detour by the connection's context.
/// </summary>
public sealed class RtpForward : IDisposable
{
    private readonly Lock _gate = new();
    private string? _rid;
    private string? _next;
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
        object run;
        RtpCodecTable table;
        lock (_gate)
        {
            if (_isOver)
                return;
            if (!_codecs.IsOf(codecs))
            {
                _codecs = RtpCodecTable.Of(codecs);
                _depacketizer = null;
            }

            _rid ??= rid;
            if (_next == rid && FirstOfKeyFrame(packets.Span) is >= 0 and var first)
            {
                _rid = rid;
                _next = null;
                _run = new object();
                packets = packets[first..];
            }
            if (_rid != rid)
                return;
            run = _run;
            table = _codecs;
        }
        Target.Forward(Encoding, run, table, packets);
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
            if (DepacketizerOf(packets[i].PayloadType) is not { } depacketizer)
                continue;
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
