using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>Whom an RTCP packet is about.</summary>
internal static class RtcpTargets
{
    /// <summary>Whether it is about a source that we send.</summary>
    public static bool AreSent(Rtcp packet, uint[] ssrcs) =>
        ssrcs.Length > 0
        && packet switch
        {
            Rtcp.SenderReport p => Array.Exists(p.Reports, each => ssrcs.Contains(each.Ssrc)),
            Rtcp.ReceiverReport p => Array.Exists(p.Reports, each => ssrcs.Contains(each.Ssrc)),
            Rtcp.Nack p => ssrcs.Contains(p.Media),
            Rtcp.RapidResynchronization p => ssrcs.Contains(p.Media),
            Rtcp.PictureLossIndication p => ssrcs.Contains(p.Media),
            Rtcp.SliceLossIndication p => ssrcs.Contains(p.Media),
            Rtcp.ReferencePictureSelection p => ssrcs.Contains(p.Media),
            Rtcp.FullIntraRequest p => Array.Exists(p.Entries, each => ssrcs.Contains(each.Ssrc)),
            Rtcp.Tmmbr p => Array.Exists(p.Entries, each => ssrcs.Contains(each.Ssrc)),
            Rtcp.ReceiverEstimatedMaxBitrate p => Array.Exists(p.Ssrcs, each => ssrcs.Contains(each)),
            Rtcp.CongestionFeedback p => Array.Exists(p.Streams, each => ssrcs.Contains(each.Ssrc)),
            Rtcp.TransportCc p => ssrcs.Contains(p.Item.Media),
            Rtcp.ExtendedReport p => Array.Exists(p.Blocks, each => IsAbout(each, ssrcs)),
            _ => false,
        };

    /// <summary>Whether it is said by a source of a peer's track.</summary>
    public static bool IsFrom(Rtcp packet, RemoteTrack track) =>
        packet switch
        {
            Rtcp.SenderReport p => track.HasSource(p.Ssrc),
            Rtcp.SourceDescription p => Array.Exists(p.Chunks, each => track.HasSource(each.Source)),
            Rtcp.Goodbye p => Array.Exists(p.Sources, track.HasSource),
            Rtcp.ApplicationDefined p => track.HasSource(p.Ssrc),
            Rtcp.Tmmbn p => Array.Exists(p.Entries, each => track.HasSource(each.Ssrc)) || track.HasSource(p.Sender),
            _ => false,
        };

    private static bool IsAbout(XrBlock block, uint[] ssrcs) =>
        block switch
        {
            XrBlock.LossRle b => ssrcs.Contains(b.Item.Ssrc),
            XrBlock.DuplicateRle b => ssrcs.Contains(b.Item.Ssrc),
            XrBlock.ReceiptTimes b => ssrcs.Contains(b.Ssrc),
            XrBlock.Dlrr b => Array.Exists(b.Item, each => ssrcs.Contains(each.Ssrc)),
            XrBlock.Summary b => ssrcs.Contains(b.Item.Ssrc),
            _ => false,
        };
}
