using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>Statistics of media as octets, one way only: every field takes part in a digest.</summary>
internal static class MediaStatsCodec
{
    /// <summary>Writes statistics.</summary>
    public static void Write(JournalBuffer to, MediaStatistics value)
    {
        to.Array(value.Inbound, inbound => Write(to, inbound));
        to.Array(value.Outbound, outbound => Write(to, outbound));
        to.Option(value.AvailableOutgoingBitrate, to.Number);
        to.Text(value.SrtpCipher);
        to.Number(value.CcfbSent);
        to.Number(value.CcfbReceived);
    }

    private static void Write(JournalBuffer to, InboundRtpStats value)
    {
        to.Number(value.Transceiver);
        to.Number(value.Ssrc);
        to.Text(value.Rid);
        to.Number(value.RtxSsrc);
        to.Number(value.FecSsrc);
        to.Option(value.Codec, codec => MediaCodec.Write(to, codec));
        to.Number(value.PacketsReceived);
        to.Number(value.PacketsLost);
        Fraction(to, value.Jitter);
        to.Number(value.BytesReceived);
        to.Number(value.HeaderBytesReceived);
        to.Option(value.LastPacketAt, to.Number);
        to.Number(value.PacketsDiscarded);
        to.Number(value.FecPacketsReceived);
        to.Number(value.FecBytesReceived);
        to.Number(value.FecPacketsDiscarded);
        to.Number(value.RetransmittedPacketsReceived);
        to.Number(value.RetransmittedBytesReceived);
        to.Number(value.NackCount);
        to.Number(value.FirCount);
        to.Number(value.PliCount);
        to.Number(value.FramesReceived);
        to.Number(value.JitterBufferDelay);
        to.Number(value.JitterBufferTargetDelay);
        to.Number(value.JitterBufferMinimumDelay);
        to.Number(value.JitterBufferEmitted);
        to.MaybeNumber(value.AudioLevel);
        to.Option(
            value.RemoteSender,
            remote =>
            {
                to.Number(remote.At);
                to.Number(remote.PacketsSent);
                to.Number(remote.BytesSent);
                to.Unsigned(remote.RemoteTimestamp);
                to.Number(remote.ReportsSent);
                to.Option(remote.RoundTripTime, to.Number);
                to.Number(remote.TotalRoundTripTime);
                to.Number(remote.RoundTripTimeMeasurements);
            }
        );
    }

    private static void Write(JournalBuffer to, OutboundRtpStats value)
    {
        to.Number(value.Transceiver);
        to.Number(value.Encoding);
        to.Text(value.Rid);
        to.Number(value.Ssrc);
        to.Number(value.RtxSsrc);
        to.Number(value.FecSsrc);
        to.Flag(value.Active);
        to.Option(value.Codec, codec => MediaCodec.Write(to, codec));
        to.Number(value.PacketsSent);
        to.Number(value.BytesSent);
        to.Number(value.HeaderBytesSent);
        to.Number(value.RetransmittedPacketsSent);
        to.Number(value.RetransmittedBytesSent);
        to.Number(value.FecPacketsSent);
        to.Number(value.FecBytesSent);
        to.Option(value.TargetBitrate, to.Number);
        to.Number(value.FramesSent);
        to.Number(value.HugeFramesSent);
        to.Number(value.TotalPacketSendDelay);
        to.Number(value.NackCount);
        to.Number(value.FirCount);
        to.Number(value.PliCount);
        to.Option(
            value.RemoteReceiver,
            remote =>
            {
                to.Number(remote.At);
                to.Number(remote.PacketsLost);
                Fraction(to, remote.FractionLost);
                Fraction(to, remote.Jitter);
                to.Option(remote.RoundTripTime, to.Number);
                to.Number(remote.TotalRoundTripTime);
                to.Number(remote.RoundTripTimeMeasurements);
            }
        );
    }

    private static void Fraction(JournalBuffer to, double value) => to.Number(BitConverter.DoubleToInt64Bits(value));
}
