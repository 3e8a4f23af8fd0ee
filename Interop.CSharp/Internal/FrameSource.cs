using System.Reactive.Disposables;
using System.Reactive.Linq;
using System.Reactive.Subjects;
using Hybrid.WebRtc.Media;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>Frames of a peer's track: packets of one source, put together by a builder of the codec they carry.</summary>
internal static class FrameSource
{
    public static IObservable<EncodedFrame> Of(RemoteTrack track, RTCRtpReceiver receiver, string? rid) =>
        Observable.Create<EncodedFrame>(observer =>
        {
            if (receiver.Transform is not { } transform)
                return new Builder(track, receiver, rid, observer, keepPackets: false).Run();

            var encoded = new Subject<EncodedFrame>();
            return new CompositeDisposable(
                transform.Apply(encoded, track.Kind, receiver.MainMimeType).Subscribe(observer),
                new Builder(track, receiver, rid, encoded, keepPackets: true).Run()
            );
        });

    /// <summary>Takes bursts, tells frames: at once, or of packets that are due where a jitter buffer was asked for.</summary>
    private sealed class Builder(
        RemoteTrack track,
        RTCRtpReceiver receiver,
        string? rid,
        IObserver<EncodedFrame> frames,
        bool keepPackets
    ) : IObserver<RtpBurst>
    {
        /// <summary>A peer that makes no key frames at all, because its encoder refreshes little by little, is asked so often.</summary>
        private const int MostRequests = 10;

        /// <summary>Packets that wait until they are due: beyond what the jitter buffer of the core holds.</summary>
        private const int MostWaiting = 4_096;

        // By their unwrapped sequence numbers; of one source.
        private readonly PriorityQueue<Waiting, long> _waiting = new();
        private long _highest;
        private uint _waitingSsrc;
        private bool _isHeld;

        private string? _rid = rid;
        private SampleBuilder? _builder;
        private byte _payloadType;
        private uint _ssrc;
        private int _requestsLeft = MostRequests;

        public IDisposable Run()
        {
            var dues = track.Dues.Subscribe(OnDue);
            return new CompositeDisposable(dues, track.Packets.Subscribe(this));
        }

        public void OnError(Exception error) => frames.OnError(error);

        public void OnCompleted() => frames.OnCompleted();

        public void OnNext(RtpBurst burst)
        {
            _rid ??= burst.Rid;
            if (burst.Rid != _rid)
                return;
            var now = track.Connection.Time.GetUtcNow();
            foreach (ref readonly var packet in burst.Packets.Span)
            {
                if (burst.IsHeld)
                    Wait(new(packet, now));
                else
                    Take(packet, now, isHeld: false);
            }
        }

        private void OnDue(RtpDue due)
        {
            if (due.Ssrc == _waitingSsrc)
                Release(_highest + (short)(due.UpTo - (ushort)_highest));
        }

        private void Wait(in Waiting packet)
        {
            if (packet.Packet.Ssrc != _waitingSsrc || _waiting.Count >= MostWaiting)
                Release(long.MaxValue);
            if (_waiting.Count == 0 && packet.Packet.Ssrc != _waitingSsrc)
            {
                _waitingSsrc = packet.Packet.Ssrc;
                _highest = packet.Packet.SequenceNumber;
            }

            var number = _highest + (short)(packet.Packet.SequenceNumber - (ushort)_highest);
            _highest = Math.Max(_highest, number);
            _waiting.Enqueue(packet, number);
        }

        /// <summary>Takes what waits, up to a number.</summary>
        private void Release(long upTo)
        {
            while (_waiting.TryPeek(out _, out var number) && number <= upTo)
            {
                var (packet, at) = _waiting.Dequeue();
                Take(packet, at, isHeld: true);
            }
        }

        private void Take(in RtpPacket packet, DateTimeOffset at, bool isHeld)
        {
            if ((IsOfAnotherStream(packet) || isHeld != _isHeld) && !Begin(packet, isHeld))
                return;
            _builder!.Push(packet, at);
            while (_builder.TryPop(out var frame))
                Tell(frame);
        }

        private bool IsOfAnotherStream(in RtpPacket packet) =>
            _builder is null || packet.PayloadType != _payloadType || packet.Ssrc != _ssrc;

        /// <summary>False: no payload format is known of it. Telephone events and comfort noise go by, and end no stream.</summary>
        private bool Begin(in RtpPacket packet, bool isHeld)
        {
            if (
                receiver.CodecOf(packet.PayloadType) is not { } codec
                || IsSide(codec.Codec.MimeType)
                || !PayloadFormats.TryFor(codec.Codec.MimeType, codec.Codec.Fmtp, null, out var format)
            )
                return false;

            if (_builder is { } before)
            {
                before.Flush();
                while (before.TryPop(out var frame))
                    Tell(frame);
            }
            _payloadType = packet.PayloadType;
            _ssrc = packet.Ssrc;
            _isHeld = isHeld;
            var options = new SampleBuilderOptions { KeepPackets = keepPackets };
            // What is missing when the next frame is due does not come.
            _builder = new SampleBuilder(format, isHeld ? options with { MaxLate = TimeSpan.Zero } : options);
            _requestsLeft = MostRequests;
            return true;
        }

        private readonly record struct Waiting(RtpPacket Packet, DateTimeOffset At);

        private static bool IsSide(string mimeType) =>
            mimeType.EndsWith("/telephone-event", StringComparison.OrdinalIgnoreCase)
            || mimeType.EndsWith("/CN", StringComparison.OrdinalIgnoreCase);

        private void Tell(EncodedFrame frame)
        {
            if (track.Kind == MediaKind.Video)
                SeeToKeyFrames(frame);
            frames.OnNext(frame);
        }

        /// <summary>Whoever begins, or has lost what others may refer to, needs one.</summary>
        private void SeeToKeyFrames(EncodedFrame frame)
        {
            if (frame.LostBefore > 0)
                _requestsLeft = MostRequests;
            if (frame.IsKeyFrame)
                _requestsLeft = 0;
            if (_requestsLeft > 0 && track.RelayKeyFrameRequest(_rid ?? ""))
                _requestsLeft--;
        }
    }
}
