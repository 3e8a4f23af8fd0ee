using System.Buffers.Binary;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc;

/// <summary>
/// Whom a receiver's packets came from in the last ten seconds, W3C WebRTC 1.0 §5.3. Noted by the loop's thread, once a burst and
/// source; what a packet says is read where someone asks.
/// </summary>
internal sealed class RtpSources(TimeProvider time)
{
    /// <summary>W3C §5.3: what is older is not told.</summary>
    private static readonly TimeSpan Kept = TimeSpan.FromSeconds(10);

    /// <summary>A peer that makes up more is not remembered whole.</summary>
    private const int Most = 64;

    private readonly Lock _gate = new();
    private readonly Dictionary<uint, Seen> _synchronization = [];
    private Dictionary<uint, Seen>? _contributing;

    /// <summary>Packets have come.</summary>
    public void Note(ReadOnlySpan<RtpPacket> packets)
    {
        var now = time.GetTimestamp();
        lock (_gate)
        {
            for (var i = packets.Length - 1; i >= 0; i--)
            {
                ref readonly var packet = ref packets[i];
                // The last of a source tells for all.
                if (i == packets.Length - 1 || packet.Ssrc != packets[i + 1].Ssrc)
                    Put(_synchronization, packet.Ssrc, packet, now, -1);
                if (packet.Csrcs.IsEmpty)
                    continue;
                _contributing ??= [];
                for (var csrc = 0; csrc < packet.CsrcCount; csrc++)
                    Put(_contributing, packet.CsrcAt(csrc), packet, now, csrc);
            }
        }
    }

    public IReadOnlyList<RTCRtpSynchronizationSource> Synchronization() =>
        Recent(_synchronization)
            .ConvertAll(each =>
            {
                var (captured, offset) = CaptureTime(each.Value.Packet);
                return new RTCRtpSynchronizationSource
                {
                    Source = each.Key,
                    Timestamp = each.At,
                    RtpTimestamp = each.Value.Packet.Timestamp,
                    AudioLevel = AudioLevel(each.Value.Packet),
                    CaptureTimestamp = captured,
                    SenderCaptureTimeOffset = offset,
                };
            });

    public IReadOnlyList<RTCRtpContributingSource> Contributing() =>
        Recent(_contributing)
            .ConvertAll(each =>
            {
                var (captured, offset) = CaptureTime(each.Value.Packet);
                return new RTCRtpContributingSource
                {
                    Source = each.Key,
                    Timestamp = each.At,
                    RtpTimestamp = each.Value.Packet.Timestamp,
                    AudioLevel = ContributorsLevel(each.Value.Packet, each.Value.Csrc),
                    CaptureTimestamp = captured,
                    SenderCaptureTimeOffset = offset,
                };
            });

    /// <summary>RFC 6464 §3 and RFC 6465 §3: -dBov in seven bits, 127 is silence. W3C has it linear.</summary>
    internal static double Linear(int level) => level >= 127 ? 0 : Math.Pow(10, -level / 20.0);

    private List<(uint Key, Seen Value, DateTimeOffset At)> Recent(Dictionary<uint, Seen>? seen)
    {
        var (now, at) = (time.GetTimestamp(), time.GetUtcNow());
        var recent = new List<(uint Key, Seen Value, DateTimeOffset At)>();
        lock (_gate)
        {
            foreach (var (key, value) in seen ?? [])
            {
                if (time.GetElapsedTime(value.At, now) is var age && age <= Kept)
                    recent.Add((key, value, at - age));
            }
        }
        recent.Sort(static (a, b) => b.Value.At.CompareTo(a.Value.At));
        return recent;
    }

    private void Put(Dictionary<uint, Seen> seen, uint source, in RtpPacket packet, long now, int csrc)
    {
        if (seen.Count >= Most && !seen.ContainsKey(source))
        {
            foreach (var (key, value) in seen)
            {
                if (time.GetElapsedTime(value.At, now) > Kept)
                    seen.Remove(key);
            }
            if (seen.Count >= Most)
                return;
        }
        seen[source] = new Seen(packet, now, csrc);
    }

    private static double? AudioLevel(in RtpPacket packet) =>
        packet.TryGetExtension(HeaderExtension.AudioLevel, out var value) && value.Length > 0
            ? Linear(value.Span[0] & 0x7F)
            : null;

    private static double? ContributorsLevel(in RtpPacket packet, int csrc) =>
        packet.TryGetExtension(HeaderExtension.CsrcAudioLevel, out var value) && value.Length > csrc
            ? Linear(value.Span[csrc] & 0x7F)
            : null;

    /// <summary>abs-capture-time: NTP of the capture, and where it is there the sender's offset, both 32.32 fixed point.</summary>
    private static (DateTimeOffset?, TimeSpan?) CaptureTime(in RtpPacket packet)
    {
        if (!packet.TryGetExtension(HeaderExtension.AbsCaptureTime, out var value) || value.Length < 8)
            return (null, null);
        var captured = RtpTime.OfNtp(BinaryPrimitives.ReadUInt64BigEndian(value.Span));
        return (
            captured,
            value.Length >= 16
                ? TimeSpan.FromSeconds(BinaryPrimitives.ReadInt64BigEndian(value.Span[8..]) / 4_294_967_296.0)
                : null
        );
    }

    private readonly record struct Seen(RtpPacket Packet, long At, int Csrc);
}

/// <summary>NTP, RFC 3550 §4.</summary>
internal static class RtpTime
{
    private static readonly DateTimeOffset Epoch = new(1900, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Seconds since 1900 in the upper 32 bits.</summary>
    public static DateTimeOffset OfNtp(ulong ntp) => Epoch.AddSeconds(ntp / 4_294_967_296.0);
}
