namespace Hybrid.WebRtc;

public sealed partial class RTCStatsReport
{
    /// <summary>What a sender's report begins with, W3C WebRTC 1.0 §8.5.</summary>
    internal static Func<RTCStats, bool> OutboundOf(int transceiver) =>
        stats => stats is RTCOutboundRtpStreamStats outbound && outbound.Transceiver == transceiver;

    /// <summary>What a receiver's report begins with.</summary>
    internal static Func<RTCStats, bool> InboundOf(int transceiver) =>
        stats => stats is RTCInboundRtpStreamStats inbound && inbound.Transceiver == transceiver;

    /// <summary>Some, and all that they refer to, directly or by others: W3C's stats selection algorithm.</summary>
    internal RTCStatsReport Of(Func<RTCStats, bool> chosen)
    {
        var part = new RTCStatsReport();
        var open = new Queue<RTCStats>(_stats.Values.Where(chosen));
        while (open.TryDequeue(out var stats))
        {
            if (!part._stats.TryAdd(stats.Id, stats))
                continue;
            foreach (var id in stats.References)
            {
                if (id is not null && _stats.TryGetValue(id, out var other))
                    open.Enqueue(other);
            }
        }
        return part;
    }

    private void AddMedia(
        DateTimeOffset at,
        string transport,
        Core.Statistics core,
        Func<int, RTCRtpTransceiver?> transceiverOf
    )
    {
        DateTimeOffset When(long instant) => Past(at, core.At, instant);

        foreach (var each in core.Media.Inbound)
        {
            if (transceiverOf(each.Transceiver) is { } transceiver)
                AddInbound(at, transport, each, transceiver, When);
        }
        foreach (var each in core.Media.Outbound)
        {
            if (transceiverOf(each.Transceiver) is { } transceiver)
                AddOutbound(at, transport, each, transceiver, When);
        }
    }

    private void AddInbound(
        DateTimeOffset at,
        string transport,
        Core.InboundRtpStats core,
        RTCRtpTransceiver transceiver,
        Func<long, DateTimeOffset> when
    )
    {
        var kind = transceiver.Kind;
        var isVideo = kind == MediaKind.Video;
        var letter = isVideo ? 'V' : 'A';
        var id = $"IT{letter}{core.Ssrc}";
        var codec = core.Codec is { IsSome: true, Value: var used } ? used : null;
        var codecId = codec is null ? null : AddCodec(at, transport, codec, 'I');
        string? remoteId = null;

        if (core.RemoteSender is { IsSome: true, Value: var sender })
        {
            remoteId = Add(
                new RTCRemoteOutboundRtpStreamStats
                {
                    Id = $"RO{letter}{core.Ssrc}",
                    Timestamp = when(sender.At),
                    Ssrc = core.Ssrc,
                    Kind = kind,
                    TransportId = transport,
                    CodecId = codecId,
                    LocalId = id,
                    PacketsSent = sender.PacketsSent,
                    BytesSent = sender.BytesSent,
                    RemoteTimestamp = sender.RemoteTimestamp == 0 ? null : RtpTime.OfNtp(sender.RemoteTimestamp),
                    ReportsSent = sender.ReportsSent,
                    RoundTripTime = Seconds(sender.RoundTripTime.OrNothing()),
                    TotalRoundTripTime = Seconds(sender.TotalRoundTripTime),
                    RoundTripTimeMeasurements = sender.RoundTripTimeMeasurements,
                }
            );
        }

        Add(
            new RTCInboundRtpStreamStats
            {
                Id = id,
                Timestamp = at,
                Transceiver = core.Transceiver,
                Ssrc = core.Ssrc,
                Kind = kind,
                TransportId = transport,
                CodecId = codecId,
                TrackIdentifier = transceiver.Receiver.Track.Id,
                Mid = transceiver.Mid,
                Rid = core.Rid.Length > 0 ? core.Rid : null,
                RemoteId = remoteId,
                PacketsReceived = core.PacketsReceived,
                PacketsLost = core.PacketsLost,
                Jitter = InSeconds(core.Jitter, codec),
                BytesReceived = core.BytesReceived,
                HeaderBytesReceived = core.HeaderBytesReceived,
                LastPacketReceivedTimestamp = core.LastPacketAt.OrNothing() is { } last ? when(last) : null,
                PacketsDiscarded = core.PacketsDiscarded,
                FecPacketsReceived = core.FecPacketsReceived,
                FecBytesReceived = core.FecBytesReceived,
                FecPacketsDiscarded = core.FecPacketsDiscarded,
                RetransmittedPacketsReceived = core.RetransmittedPacketsReceived,
                RetransmittedBytesReceived = core.RetransmittedBytesReceived,
                RtxSsrc = OrNull(core.RtxSsrc),
                FecSsrc = OrNull(core.FecSsrc),
                NackCount = core.NackCount,
                FirCount = isVideo ? core.FirCount : null,
                PliCount = isVideo ? core.PliCount : null,
                FramesReceived = isVideo ? core.FramesReceived : null,
                JitterBufferDelay = Seconds(core.JitterBufferDelay),
                JitterBufferTargetDelay = Seconds(core.JitterBufferTargetDelay),
                JitterBufferMinimumDelay = Seconds(core.JitterBufferMinimumDelay),
                JitterBufferEmittedCount = core.JitterBufferEmitted,
                AudioLevel = !isVideo && core.AudioLevel.OrNothing() is { } level ? RtpSources.Linear(level) : null,
            }
        );
    }

    private void AddOutbound(
        DateTimeOffset at,
        string transport,
        Core.OutboundRtpStats core,
        RTCRtpTransceiver transceiver,
        Func<long, DateTimeOffset> when
    )
    {
        var kind = transceiver.Kind;
        var isVideo = kind == MediaKind.Video;
        var letter = isVideo ? 'V' : 'A';
        var id = $"OT{letter}{core.Ssrc}";
        var codec = core.Codec is { IsSome: true, Value: var used } ? used : null;
        var codecId = codec is null ? null : AddCodec(at, transport, codec, 'O');
        var track = transceiver.Sender.Track;
        var frames = isVideo && track is SampleTrack samples ? samples.Frames : (SampleTrack.FrameCount?)null;
        string? remoteId = null;

        if (core.RemoteReceiver is { IsSome: true, Value: var receiver })
        {
            remoteId = Add(
                new RTCRemoteInboundRtpStreamStats
                {
                    Id = $"RI{letter}{core.Ssrc}",
                    Timestamp = when(receiver.At),
                    Ssrc = core.Ssrc,
                    Kind = kind,
                    TransportId = transport,
                    CodecId = codecId,
                    LocalId = id,
                    PacketsLost = receiver.PacketsLost,
                    Jitter = InSeconds(receiver.Jitter, codec),
                    FractionLost = receiver.FractionLost,
                    RoundTripTime = Seconds(receiver.RoundTripTime.OrNothing()),
                    TotalRoundTripTime = Seconds(receiver.TotalRoundTripTime),
                    RoundTripTimeMeasurements = receiver.RoundTripTimeMeasurements,
                }
            );
        }

        var encodings = transceiver.Info.Encodings;
        Add(
            new RTCOutboundRtpStreamStats
            {
                Id = id,
                Timestamp = at,
                Transceiver = core.Transceiver,
                Ssrc = core.Ssrc,
                Kind = kind,
                TransportId = transport,
                CodecId = codecId,
                Mid = transceiver.Mid,
                MediaSourceId = track is null ? null : AddSource(at, transceiver, track, frames),
                RemoteId = remoteId,
                Rid = core.Rid.Length > 0 ? core.Rid : null,
                EncodingIndex = core.Encoding,
                PacketsSent = core.PacketsSent,
                BytesSent = core.BytesSent,
                HeaderBytesSent = core.HeaderBytesSent,
                RetransmittedPacketsSent = core.RetransmittedPacketsSent,
                RetransmittedBytesSent = core.RetransmittedBytesSent,
                RtxSsrc = OrNull(core.RtxSsrc),
                FecSsrc = OrNull(core.FecSsrc),
                FecPacketsSent = core.FecPacketsSent,
                FecBytesSent = core.FecBytesSent,
                TargetBitrate = core.TargetBitrate.OrNothing(),
                FramesSent = isVideo ? core.FramesSent : null,
                HugeFramesSent = isVideo ? core.HugeFramesSent : null,
                TotalPacketSendDelay = Seconds(core.TotalPacketSendDelay),
                NackCount = core.NackCount,
                FirCount = isVideo ? core.FirCount : null,
                PliCount = isVideo ? core.PliCount : null,
                Active = core.Active,
                ScalabilityMode =
                    core.Encoding < encodings.Length ? encodings[core.Encoding].ScalabilityMode.OrNull() : null,
                FrameWidth = frames is { Width: > 0 } ? frames.Value.Width : null,
                FrameHeight = frames is { Height: > 0 } ? frames.Value.Height : null,
                FramesPerSecond = frames?.PerSecond,
            }
        );
    }

    private string AddSource(
        DateTimeOffset at,
        RTCRtpTransceiver transceiver,
        MediaStreamTrack track,
        SampleTrack.FrameCount? frames
    )
    {
        var id = $"S{(track.Kind == MediaKind.Video ? 'V' : 'A')}{transceiver.Id}_{Hash(track.Id)}";
        return Add(
            track.Kind == MediaKind.Audio
                ? new RTCAudioSourceStats
                {
                    Id = id,
                    Timestamp = at,
                    TrackIdentifier = track.Id,
                    Kind = track.Kind,
                }
                : new RTCVideoSourceStats
                {
                    Id = id,
                    Timestamp = at,
                    TrackIdentifier = track.Id,
                    Kind = track.Kind,
                    Width = frames is { Width: > 0 } ? frames.Value.Width : null,
                    Height = frames is { Height: > 0 } ? frames.Value.Height : null,
                    Frames = frames?.Count,
                    FramesPerSecond = frames?.PerSecond,
                }
        );
    }

    /// <summary>Codecs of both ways are apart, as in browsers: the same payload type may differ in its parameters.</summary>
    private string AddCodec(DateTimeOffset at, string transport, Core.RtpCodecParameters codec, char way) =>
        Add(
            new RTCCodecStats
            {
                Id = $"C{way}{transport}_{codec.PayloadType}_{Hash(codec.Codec.MimeType + codec.Codec.Fmtp)}",
                Timestamp = at,
                PayloadType = codec.PayloadType,
                TransportId = transport,
                MimeType = codec.Codec.MimeType,
                ClockRate = codec.Codec.ClockRate,
                Channels = codec.Codec.Channels.OrNothing(),
                SdpFmtpLine = codec.Codec.Fmtp.Length > 0 ? codec.Codec.Fmtp : null,
            }
        );

    private static double? InSeconds(double units, Core.RtpCodecParameters? codec) =>
        codec is { Codec.ClockRate: > 0 and var rate } ? units / rate : null;

    private static double? Seconds(long? microseconds) => microseconds is { } there ? Seconds(there) : null;

    private static uint? OrNull(uint ssrc) => ssrc == 0 ? null : ssrc;
}
