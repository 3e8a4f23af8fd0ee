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
                return track.Packets.Subscribe(new Builder(track, receiver, rid, observer, keepPackets: false));

            var encoded = new Subject<EncodedFrame>();
            return new CompositeDisposable(
                transform.Apply(encoded, track.Kind, receiver.MainMimeType).Subscribe(observer),
                track.Packets.Subscribe(new Builder(track, receiver, rid, encoded, keepPackets: true))
            );
        });

    /// <summary>Takes bursts, tells frames.</summary>
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

        private string? _rid = rid;
        private SampleBuilder? _builder;
        private byte _payloadType;
        private uint _ssrc;
        private int _requestsLeft = MostRequests;

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
                if (IsOfAnotherStream(packet) && !Begin(packet))
                    continue;
                _builder!.Push(packet, now);
                while (_builder.TryPop(out var frame))
                    Tell(frame);
            }
        }

        private bool IsOfAnotherStream(in RtpPacket packet) =>
            _builder is null || packet.PayloadType != _payloadType || packet.Ssrc != _ssrc;

        /// <summary>False: no payload format is known of it. Telephone events and comfort noise go by, and end no stream.</summary>
        private bool Begin(in RtpPacket packet)
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
            _builder = new SampleBuilder(format, new SampleBuilderOptions { KeepPackets = keepPackets });
            _requestsLeft = MostRequests;
            return true;
        }

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
