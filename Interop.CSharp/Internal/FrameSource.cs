using System.Reactive.Disposables;
using System.Reactive.Linq;
using Hybrid.WebRtc.Media;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>Frames of a peer's track: packets of one source, put together by a builder of the codec they carry.</summary>
internal static class FrameSource
{
    public static IObservable<EncodedFrame> Of(RemoteTrack track, RTCRtpReceiver receiver, string? rid) =>
        Observable.Create<EncodedFrame>(observer =>
        {
            var frames = new Builder(track, receiver, rid, observer);
            var transform = receiver.Transform;
            if (transform is null)
                return track.Packets.Subscribe(frames.Push, observer.OnCompleted);

            var transformed = transform.Apply(frames.Encoded, track.Kind, receiver.MainMimeType).Subscribe(observer);
            return new CompositeDisposable(track.Packets.Subscribe(frames.Push, frames.Complete), transformed);
        });

    private sealed class Builder(
        RemoteTrack track,
        RTCRtpReceiver receiver,
        string? rid,
        IObserver<EncodedFrame> observer
    )
    {
        private readonly System.Reactive.Subjects.Subject<EncodedFrame> _encoded = new();
        private string? _rid = rid;
        private SampleBuilder? _builder;
        private PayloadFormat? _format;
        private byte _payloadType;
        private uint _ssrc;
        private bool _isWhole = true;

        /// <summary>What a transform takes.</summary>
        public IObservable<EncodedFrame> Encoded => _encoded;

        public void Complete() => _encoded.OnCompleted();

        public void Push(RtpBurst burst)
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

        /// <summary>False: no payload format is known of it. Telephone events, comfort noise and the like go by, and end no stream.</summary>
        private bool Begin(in RtpPacket packet)
        {
            if (receiver.CodecOf(packet.PayloadType) is not { } codec)
                return false;
            if (
                _format is not null
                && _builder is not null
                && packet.PayloadType != _payloadType
                && IsSide(codec.Codec.MimeType)
            )
                return false;
            if (!PayloadFormats.TryFor(codec.Codec.MimeType, codec.Codec.Fmtp, null, out var format))
                return false;
            if (_builder is { } before)
            {
                before.Flush();
                while (before.TryPop(out var frame))
                    Tell(frame);
            }
            _format = format;
            _payloadType = packet.PayloadType;
            _ssrc = packet.Ssrc;
            _builder = new SampleBuilder(
                format,
                new SampleBuilderOptions { KeepPackets = receiver.Transform is not null }
            );
            return true;
        }

        private static bool IsSide(string mimeType) =>
            mimeType.EndsWith("/telephone-event", StringComparison.OrdinalIgnoreCase)
            || mimeType.EndsWith("/CN", StringComparison.OrdinalIgnoreCase);

        private void Tell(EncodedFrame frame)
        {
            // What was lost may be what the frames after it refer to.
            if (track.Kind == MediaKind.Video)
            {
                if (frame.IsKeyFrame)
                    _isWhole = true;
                else if (frame.LostBefore > 0 && _isWhole)
                {
                    _isWhole = false;
                    track.RelayKeyFrameRequest(_rid ?? "");
                }
            }
            if (receiver.Transform is null)
                observer.OnNext(frame);
            else
                _encoded.OnNext(frame);
        }
    }
}
