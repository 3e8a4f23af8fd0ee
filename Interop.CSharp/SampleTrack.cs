using System.Reactive.Subjects;
using Hybrid.WebRtc.Media;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// A track that the application fills with what an encoder puts out: frames of one codec, which go in packets to every sender that
/// has negotiated it. It may be sent on any number of connections at once; frames are packetized once.
/// </summary>
/// <remarks>
/// Frames are dropped without a word while nothing is negotiated, the transceiver does not send, another codec was negotiated
/// (<see cref="RTCRtpSender.GetParameters"/> says which), or the track is not <see cref="MediaStreamTrack.Enabled"/> or has been stopped.
/// </remarks>
/// <example>
/// <code>
/// var camera = new SampleTrack("video/VP8");
/// connection.AddTrack(camera);
/// camera.OnKeyFrameRequest.Subscribe(_ => encoder.ForceKeyFrame());
/// foreach (var picture in pictures)
///     await camera.WriteAsync(encoder.Encode(picture), TimeSpan.FromMilliseconds(40));
/// </code>
/// </example>
public sealed class SampleTrack : MediaStreamTrack
{
    private readonly Lock _gate = new();
    private readonly Hub _hub;
    private readonly RtpFan _fan;
    private readonly RtpCodecTable _codecs;
    private readonly uint _start = (uint)Random.Shared.NextInt64(uint.MaxValue);
    private readonly List<Outlet> _outlets = [];
    private readonly Dictionary<string, Packetizer> _packetizers = [];

    /// <summary>A track of frames.</summary>
    /// <param name="mimeType">Their codec: <c>video/VP8</c>, <c>audio/opus</c>…</param>
    /// <param name="fmtp">Its format parameters, where senders may have negotiated several: H.264's profile, VP9's. Null: any; of H.264
    /// any profile in <c>packetization-mode=1</c>.</param>
    /// <param name="id">Its name; null: one that nobody else has.</param>
    /// <param name="label">For people to read.</param>
    /// <param name="maxPayloadSize">Octets of payload a packet may have; of video, less where it passes a relay, by what that has around
    /// a packet.</param>
    /// <param name="options">What the payload format leaves open.</param>
    /// <exception cref="NotSupportedException">The library has no payload format for that codec.</exception>
    public SampleTrack(
        string mimeType,
        string? fmtp = null,
        string? id = null,
        string label = "",
        int maxPayloadSize = Packetizer.DefaultPayloadSize,
        PayloadFormatOptions? options = null
    )
        : this(
            PayloadFormats.For(mimeType, fmtp, options),
            fmtp,
            id,
            label,
            new Hub(TimeProvider.System, maxPayloadSize)
        ) { }

    internal SampleTrack(PayloadFormat format, string? fmtp, string? id, string label, Hub hub)
        : base(format.IsVideo ? MediaKind.Video : MediaKind.Audio, id is null ? NewId() : CheckId(id), label)
    {
        Format = format;
        Codec = new RTCRtpCodec
        {
            MimeType = format.MimeType,
            ClockRate = format.ClockRate,
            // RFC 7587 §7: Opus says two, whatever it holds.
            Channels =
                Kind == MediaKind.Video ? null
                : format.MimeType.Equals("audio/opus", StringComparison.OrdinalIgnoreCase) ? 2
                : 1,
            // What frames are packetized by has to be what senders are asked for.
            SdpFmtpLine =
                fmtp
                ?? (
                    format.MimeType.Equals("video/H264", StringComparison.OrdinalIgnoreCase)
                        ? "packetization-mode=1"
                        : null
                ),
        };
        _codecs = RtpCodecTable.Of(Codec);
        _hub = hub;
        _fan = new RtpFan(Kind, hub.Time);
        hub.Add(this);
    }

    /// <summary>What frames are of.</summary>
    public RTCRtpCodec Codec { get; }

    /// <summary>The payload format.</summary>
    public PayloadFormat Format { get; }

    /// <summary>
    /// A sender's peer asks for a key frame: tell the encoder. Told on that sender's connection's context; several connections'
    /// requests come one at a time.
    /// </summary>
    public IObservable<KeyFrameRequest> OnKeyFrameRequest => _hub.KeyFrameRequests;

    /// <summary>What was written.</summary>
    internal FrameCount Frames => _hub.Frames;

    /// <summary>Sends a frame at once, of the one encoding.</summary>
    /// <param name="frame">As for the other.</param>
    /// <exception cref="ArgumentException">It is not a frame of this codec.</exception>
    public void Write(EncodedFrame frame) => Write(frame, "");

    /// <summary>Sends a frame at once.</summary>
    /// <param name="frame">
    /// Its <see cref="EncodedFrame.Timestamp"/> counts from where the application likes; the track adds a random start, RFC 3550 §5.1. Its
    /// memory must not change any more.
    /// </param>
    /// <param name="rid">Of which encoding; empty where there is one only.</param>
    /// <exception cref="ArgumentException">It is not a frame of this codec.</exception>
    public void Write(EncodedFrame frame, string rid)
    {
        ArgumentNullException.ThrowIfNull(frame);
        ArgumentNullException.ThrowIfNull(rid);
        _hub.Write(frame, rid);
    }

    /// <summary>Sends a frame at once, that follows the one before when that has lasted its time.</summary>
    /// <param name="data">The frame; its memory must not change any more.</param>
    /// <param name="duration">How long it lasts.</param>
    /// <param name="rid">Of which encoding; empty where there is one only.</param>
    /// <exception cref="ArgumentException">It is not a frame of this codec.</exception>
    public void Write(ReadOnlyMemory<byte> data, TimeSpan duration, string rid = "")
    {
        ArgumentNullException.ThrowIfNull(rid);
        _hub.Write(_hub.Next(data, duration, rid, Codec.ClockRate), rid);
    }

    /// <summary>The same, when its turn comes: once those before it have lasted their time. So a file plays as fast as it was made.</summary>
    public async Task WriteAsync(
        ReadOnlyMemory<byte> data,
        TimeSpan duration,
        string rid = "",
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(rid);
        if (_hub.Wait(rid, duration) is { Ticks: > 0 } wait)
            await Task.Delay(wait, _hub.Time, cancellationToken).ConfigureAwait(false);
        Write(data, duration, rid);
    }

    /// <summary>A track that is sent what this one is, enabled and stopped on its own.</summary>
    public override MediaStreamTrack Clone() => new SampleTrack(Format, Codec.SdpFmtpLine, null, Label, _hub);

    internal override void Bind(SenderFeed feed)
    {
        lock (_gate)
        {
            _outlets.Add(new Outlet(this, feed));
            _fan.Bind(feed);
        }
    }

    internal override void Unbind(SenderFeed feed)
    {
        lock (_gate)
        {
            if (_outlets.Find(each => each.Feed == feed) is not { } outlet)
                return;
            _outlets.Remove(outlet);
            outlet.Use(null);
            _fan.Unbind(feed);
        }
    }

    internal override void AskForKeyFrame(string rid) { }

    internal override void TellKeyFrameRequest(KeyFrameRequest request) => _hub.TellKeyFrameRequest(request);

    private void Pass(EncodedFrame frame, string rid)
    {
        if (!Flows)
            return;

        lock (_gate)
        {
            var isShared = false;
            var overhead = 0;
            foreach (var outlet in _outlets)
            {
                outlet.Use(outlet.Feed.Sender.Transform);
                if (outlet.Transforms)
                    continue;
                isShared = true;
                overhead = Math.Max(overhead, outlet.Feed.Overhead);
            }
            if (isShared)
            {
                if (!_packetizers.TryGetValue(rid, out var packetizer))
                    _packetizers[rid] = packetizer = NewPacketizer();
                packetizer.MaxPayloadSize = Room(overhead);
                Send(_fan, packetizer, frame, rid);
            }
            foreach (var outlet in _outlets)
                outlet.Push(frame, rid);
        }
    }

    private Packetizer NewPacketizer() => new(Format.CreatePacketizer(), _hub.MaxPayloadSize);

    /// <summary>
    /// Octets of payload where relays have so many around a packet: all senders get the same packets, and the longest way round
    /// decides. Sound cannot be cut, and stays as it is.
    /// </summary>
    private int Room(int overhead) =>
        Kind == MediaKind.Video
            ? Math.Max(Packetizer.SmallestPayloadSize, _hub.MaxPayloadSize - overhead)
            : _hub.MaxPayloadSize;

    private void Send(RtpFan fan, Packetizer packetizer, EncodedFrame frame, string rid) =>
        fan.Send(rid, packetizer, _codecs, packetizer.Packetize(frame with { Timestamp = frame.Timestamp + _start }));

    /// <summary>A sender: it gets the packets that all get, or packets of its own where it transforms frames.</summary>
    private sealed class Outlet(SampleTrack track, SenderFeed feed)
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<string, Subject<EncodedFrame>> _streams = [];
        private readonly List<IDisposable> _subscriptions = [];
        private RTCRtpTransform? _transform;
        private RtpFan? _own;

        public SenderFeed Feed => feed;

        public bool Transforms => _own is not null;

        public void Use(RTCRtpTransform? transform)
        {
            if (ReferenceEquals(_transform, transform))
                return;
            _transform = transform;
            foreach (var subscription in _subscriptions)
                subscription.Dispose();
            _subscriptions.Clear();
            _streams.Clear();

            // Each takes over the numbers of the other.
            if (_own is { } before)
            {
                before.Unbind(feed);
                _own = null;
                track._fan.Bind(feed);
            }
            if (transform is not null)
            {
                track._fan.Unbind(feed);
                _own = new RtpFan(track.Kind, track._hub.Time);
                _own.Bind(feed);
            }
        }

        public void Push(EncodedFrame frame, string rid)
        {
            if (_own is not { } own || _transform is not { } transform)
                return;
            if (!_streams.TryGetValue(rid, out var stream))
            {
                _streams[rid] = stream = new Subject<EncodedFrame>();
                var packetizer = track.NewPacketizer();
                _subscriptions.Add(
                    transform
                        .Apply(stream, track.Kind, track.Codec.MimeType)
                        .Subscribe(transformed =>
                        {
                            lock (_gate)
                            {
                                packetizer.MaxPayloadSize = track.Room(feed.Overhead);
                                track.Send(own, packetizer, transformed, rid);
                            }
                        })
                );
            }
            stream.OnNext(frame);
        }
    }

    /// <summary>What was written, for statistics.</summary>
    internal readonly record struct FrameCount(long Count, int Width, int Height, double PerSecond);

    /// <summary>What a track and its clones have in common: what was written, and when.</summary>
    internal sealed class Hub(TimeProvider time, int maxPayloadSize)
    {
        private static readonly TimeSpan MostLate = TimeSpan.FromMilliseconds(200);

        private readonly Lock _gate = new();
        private readonly ISubject<KeyFrameRequest> _keyFrameRequests = Subject.Synchronize(
            new Subject<KeyFrameRequest>()
        );
        private readonly Dictionary<string, (double Clock, long Due, bool IsDue)> _turns = [];
        private readonly Queue<long> _lastSecond = new();
        private volatile SampleTrack[] _tracks = [];
        private long _count;
        private int _width;
        private int _height;

        public TimeProvider Time => time;

        public int MaxPayloadSize => maxPayloadSize;

        public IObservable<KeyFrameRequest> KeyFrameRequests => _keyFrameRequests;

        public FrameCount Frames
        {
            get
            {
                lock (_gate)
                {
                    Forget();
                    return new(_count, _width, _height, _lastSecond.Count);
                }
            }
        }

        public void Add(SampleTrack track)
        {
            lock (_gate)
                _tracks = [.. _tracks.Where(other => other.ReadyState == MediaStreamTrackState.Live), track];
        }

        public void TellKeyFrameRequest(KeyFrameRequest request) => _keyFrameRequests.OnNext(request);

        /// <summary>A frame behind those before.</summary>
        public EncodedFrame Next(ReadOnlyMemory<byte> data, TimeSpan duration, string rid, int clockRate)
        {
            lock (_gate)
            {
                var turn = _turns.GetValueOrDefault(rid);
                _turns[rid] = turn with { Clock = turn.Clock + duration.TotalSeconds * clockRate };
                return new EncodedFrame
                {
                    Data = data,
                    Timestamp = (uint)(long)turn.Clock,
                    Duration = duration,
                };
            }
        }

        /// <summary>How long until a frame's turn.</summary>
        public TimeSpan Wait(string rid, TimeSpan duration)
        {
            var now = time.GetTimestamp();
            lock (_gate)
            {
                var turn = _turns.GetValueOrDefault(rid);
                var wait = turn.IsDue ? time.GetElapsedTime(now, turn.Due) : TimeSpan.Zero;
                // Who comes a little late catches up, who comes very late does not, for that would be a burst.
                var start = turn.IsDue && wait > -MostLate ? turn.Due : now;
                _turns[rid] = turn with
                {
                    Due = start + (long)(duration.TotalSeconds * time.TimestampFrequency),
                    IsDue = true,
                };
                return wait;
            }
        }

        public void Write(EncodedFrame frame, string rid)
        {
            var tracks = _tracks;
            lock (_gate)
            {
                _count++;
                _lastSecond.Enqueue(time.GetTimestamp());
                Forget();
                if (
                    tracks is [{ Kind: MediaKind.Video } video, ..]
                    && video.Format.Inspect(frame.Data.Span) is { Width: > 0 } info
                )
                    (_width, _height) = (info.Width, info.Height);
            }
            foreach (var track in tracks)
                track.Pass(frame, rid);
        }

        private void Forget()
        {
            var now = time.GetTimestamp();
            while (_lastSecond.TryPeek(out var at) && time.GetElapsedTime(at, now) > TimeSpan.FromSeconds(1))
                _lastSecond.Dequeue();
        }
    }
}
