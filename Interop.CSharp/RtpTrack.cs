using System.Reactive.Subjects;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// A track that the application fills with RTP packets: what it received elsewhere, or has made itself. It may be sent on any number of
/// connections at once: a burst is handed to each sender as it is, and not copied.
/// </summary>
/// <remarks>
/// <para>
/// SSRC, payload type, mid, rid and other header extensions are each sender's to set; sequence numbers and timestamps are the
/// packets'. Where packets come from another source than before — <see cref="RemoteTrack.ForwardTo"/>, <see cref="Write(ReadOnlyMemory{RtpPacket}, string)"/>
/// after it, a replaced track — both are shifted, so that the receiver sees one stream go on.
/// </para>
/// <para>
/// Packets are dropped without a word while nothing is negotiated, the transceiver does not send, or the track is not
/// <see cref="MediaStreamTrack.Enabled"/> or has been stopped.
/// </para>
/// </remarks>
/// <example>
/// One publisher, many subscribers:
/// <code>
/// var shared = new RtpTrack(MediaKind.Video);
/// publisher.OnTrack.Subscribe(e => e.Track.ForwardTo(shared));
/// foreach (var subscriber in subscribers)
///     subscriber.AddTrack(shared);
/// </code>
/// </example>
public sealed class RtpTrack : MediaStreamTrack
{
    private readonly Lock _gate = new();
    private readonly RtpHub _hub;
    private readonly RtpFan _fan;
    private volatile RtpForward[] _forwards = [];

    /// <summary>A track without packets.</summary>
    /// <param name="kind">Sound or picture.</param>
    /// <param name="codec">
    /// What written packets hold, whatever their payload type: a sender that has negotiated it sends them, another one drops them. Null:
    /// written packets carry the payload types that the sender has negotiated. Forwarded packets bring their codec along.
    /// </param>
    /// <param name="id">Its name; null: one that nobody else has.</param>
    /// <param name="label">For people to read.</param>
    public RtpTrack(MediaKind kind, RTCRtpCodec? codec = null, string? id = null, string label = "")
        : this(kind, codec, id, label, TimeProvider.System, new RtpHub()) { }

    internal RtpTrack(MediaKind kind, RTCRtpCodec? codec, string? id, string label, TimeProvider time, RtpHub hub)
        : base(kind, id is null ? NewId() : CheckId(id), label)
    {
        Codec = codec;
        Time = time;
        _fan = new RtpFan(kind, time);
        _hub = hub;
        _hub.Add(this);
    }

    /// <summary>What written packets hold; null: their payload types are the sender's.</summary>
    public RTCRtpCodec? Codec { get; }

    /// <summary>
    /// A sender's peer asks for a key frame. Told on that sender's connection's context; several connections' requests come one
    /// at a time. Where packets are forwarded, their source has been asked already.
    /// </summary>
    public IObservable<KeyFrameRequest> OnKeyFrameRequest => _hub.KeyFrameRequests;

    internal TimeProvider Time { get; }

    /// <summary>Sends a packet, of the one encoding.</summary>
    /// <param name="packet">Its memory must not change any more.</param>
    public void Write(RtpPacket packet) => Write(new[] { packet });

    /// <summary>Sends a packet.</summary>
    /// <param name="packet">Its memory must not change any more.</param>
    /// <param name="rid">Of which encoding; empty where there is one only.</param>
    public void Write(RtpPacket packet, string rid) => Write(new[] { packet }, rid);

    /// <summary>Sends packets, of the one encoding.</summary>
    /// <param name="packets">As for the other.</param>
    public void Write(ReadOnlyMemory<RtpPacket> packets) => Write(packets, "");

    /// <summary>Sends packets: a frame's at once are cheaper than one by one.</summary>
    /// <param name="packets">In order. Neither they nor their memory must change any more.</param>
    /// <param name="rid">Of which encoding; empty where there is one only.</param>
    public void Write(ReadOnlyMemory<RtpPacket> packets, string rid)
    {
        ArgumentNullException.ThrowIfNull(rid);
        _hub.Send(rid, _hub, _hub.CodecsOf(this), packets);
    }

    /// <summary>A track that is sent what this one is, enabled and stopped on its own.</summary>
    public override MediaStreamTrack Clone() => new RtpTrack(Kind, Codec, null, Label, Time, _hub);

    internal override void Bind(SenderFeed feed) => _fan.Bind(feed);

    internal override void Unbind(SenderFeed feed) => _fan.Unbind(feed);

    internal override void AskForKeyFrame(string rid)
    {
        foreach (var forward in _forwards)
        {
            if (forward.Encoding == rid)
                forward.AskForKeyFrame();
        }
    }

    internal override void TellKeyFrameRequest(KeyFrameRequest request) => _hub.TellKeyFrameRequest(request);

    /// <summary>A forward takes an encoding over, from the one before.</summary>
    internal void Attach(RtpForward forward)
    {
        RtpForward? before;
        lock (_gate)
        {
            before = Array.Find(_forwards, other => other.Encoding == forward.Encoding);
            _forwards = [.. _forwards.Where(other => other != before), forward];
        }
        before?.Dispose();
    }

    internal void Detach(RtpForward forward)
    {
        lock (_gate)
            _forwards = Array.FindAll(_forwards, other => other != forward);
    }

    /// <summary>Whether an encoding had packets already.</summary>
    internal bool HasSent(string encoding) => _fan.HasSent(encoding);

    /// <summary>What a source has to send; to the clones, too.</summary>
    internal void Forward(string rid, object source, RtpCodecTable codecs, ReadOnlyMemory<RtpPacket> packets) =>
        _hub.Send(rid, source, codecs, packets);

    /// <summary>Sends on what reached the hub.</summary>
    internal void Pass(string rid, object source, RtpCodecTable codecs, ReadOnlyMemory<RtpPacket> packets)
    {
        if (Flows)
            _fan.Send(rid, source, codecs, packets);
        else
            _fan.Skip();
    }
}

/// <summary>What a track and its clones have in common: their source.</summary>
internal sealed class RtpHub
{
    private readonly Lock _gate = new();
    private readonly ISubject<KeyFrameRequest> _keyFrameRequests = Subject.Synchronize(new Subject<KeyFrameRequest>());
    private volatile RtpTrack[] _tracks = [];
    private RtpCodecTable? _codecs;

    public IObservable<KeyFrameRequest> KeyFrameRequests => _keyFrameRequests;

    public void Add(RtpTrack track)
    {
        lock (_gate)
            _tracks = [.. _tracks.Where(other => other.ReadyState == MediaStreamTrackState.Live), track];
    }

    /// <summary>One table for all bursts: who maps by it sees at a glance that nothing changed.</summary>
    public RtpCodecTable CodecsOf(RtpTrack track) => _codecs ??= RtpCodecTable.Of(track.Codec);

    public void Send(string rid, object source, RtpCodecTable codecs, ReadOnlyMemory<RtpPacket> packets)
    {
        foreach (var track in _tracks)
            track.Pass(rid, source, codecs, packets);
    }

    public void TellKeyFrameRequest(KeyFrameRequest request) => _keyFrameRequests.OnNext(request);
}
