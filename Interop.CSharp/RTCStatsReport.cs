using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Hybrid.WebRtc;

/// <summary>
/// Statistics by id, <see href="https://www.w3.org/TR/webrtc/#rtcstatsreport-object">RTCStatsReport</see>; ask
/// <c>OfType&lt;RTCTransportStats&gt;()</c> for one kind.
/// </summary>
public sealed partial class RTCStatsReport : IReadOnlyDictionary<string, RTCStats>
{
    private readonly Dictionary<string, RTCStats> _stats = [];

    private RTCStatsReport() { }

    /// <summary>How many there are.</summary>
    public int Count => _stats.Count;

    /// <summary>The ids.</summary>
    public IEnumerable<string> Keys => _stats.Keys;

    /// <summary>The statistics.</summary>
    public IEnumerable<RTCStats> Values => _stats.Values;

    /// <inheritdoc/>
    public RTCStats this[string key] => _stats[key];

    /// <inheritdoc/>
    public bool ContainsKey(string key) => _stats.ContainsKey(key);

    /// <inheritdoc/>
    public bool TryGetValue(string key, [MaybeNullWhen(false)] out RTCStats value) =>
        _stats.TryGetValue(key, out value);

    /// <summary>All of one kind.</summary>
    public IEnumerable<T> OfType<T>()
        where T : RTCStats => _stats.Values.OfType<T>();

    /// <summary>Ids and statistics.</summary>
    public IEnumerator<KeyValuePair<string, RTCStats>> GetEnumerator() => _stats.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>An object by id, with W3C's names, as <c>JSON.stringify(Object.fromEntries(report))</c> writes it.</summary>
    public string ToJson()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            foreach (var (id, stats) in _stats)
            {
                json.WritePropertyName(id);
                JsonSerializer.Serialize(json, stats, WebRtcJson.Default.GetTypeInfo(stats.GetType())!);
            }
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    internal static RTCStatsReport From(
        Core.Statistics core,
        DateTimeOffset at,
        RTCCertificate certificate,
        int pairChanges,
        Func<int, RTCRtpTransceiver?> transceiverOf
    )
    {
        const string transport = "T";
        var report = new RTCStatsReport();

        report.Add(
            new RTCPeerConnectionStats
            {
                Id = "P",
                Timestamp = at,
                DataChannelsOpened = core.ChannelsOpened,
                DataChannelsClosed = core.ChannelsClosed,
            }
        );

        var local = report.Add(Certificate(at, certificate.Inner.Der));
        var remote = core.Dtls.RemoteCertificates is [var leaf, ..] ? report.Add(Certificate(at, leaf)) : null;
        var selected = core.Ice.SelectedPair is { IsSome: true, Value: var pair }
            ? PairId(Core.CandidateModule.ToText(pair.Local), Core.CandidateModule.ToText(pair.Remote))
            : null;

        report.Add(
            new RTCTransportStats
            {
                Id = transport,
                Timestamp = at,
                PacketsSent = core.PacketsSent,
                PacketsReceived = core.PacketsReceived,
                BytesSent = core.BytesSent,
                BytesReceived = core.BytesReceived,
                IceRole = (RTCIceRole)core.Ice.Role,
                IceLocalUsernameFragment = core.Ice.LocalParameters.ToW3C()?.UsernameFragment,
                IceState = (RTCIceTransportState)core.Ice.State,
                DtlsState = (RTCDtlsTransportState)core.Dtls.State,
                DtlsRole = core.Dtls.Role is { Length: > 0 } role ? role : "unknown",
                TlsVersion = VersionOf(core.Dtls.Version),
                DtlsCipher = core.Dtls.CipherSuite is { Length: > 0 } suite ? suite : null,
                TlsGroup = core.Dtls.Group is { Length: > 0 } group ? group : null,
                SelectedCandidatePairId = selected,
                SelectedCandidatePairChanges = pairChanges,
                LocalCertificateId = local,
                RemoteCertificateId = remote,
                SrtpCipher = core.Media.SrtpCipher is { Length: > 0 } cipher ? cipher : null,
                CcfbMessagesSent = core.Media.CcfbSent,
                CcfbMessagesReceived = core.Media.CcfbReceived,
            }
        );

        var servers = new Dictionary<string, string>();
        foreach (var (candidate, url) in core.Ice.LocalServers)
            servers[Core.CandidateModule.ToText(candidate)] = url;
        foreach (
            var line in core
                .Ice.LocalCandidates.Select(Core.CandidateModule.ToText)
                .Concat(core.Pairs.Select(each => each.Local))
                .Distinct()
        )
            report.Add(Candidate(at, transport, line, servers.GetValueOrDefault(line), isLocal: true));
        foreach (
            var line in core
                .Ice.RemoteCandidates.Select(Core.CandidateModule.ToText)
                .Concat(core.Pairs.Select(each => each.Remote))
                .Distinct()
        )
            report.Add(Candidate(at, transport, line, null, isLocal: false));
        foreach (var each in core.Pairs)
        {
            var stats = Pair(at, transport, each, core.At);
            report.Add(
                stats.Id == selected
                    ? stats with
                    {
                        AvailableOutgoingBitrate = core.Media.AvailableOutgoingBitrate.OrNothing(),
                    }
                    : stats
            );
        }
        foreach (var each in core.Channels)
            report.Add(Channel(at, each));
        if (core.Association is { IsSome: true, Value: var association })
            report.Add(Association(at, transport, association));
        report.AddMedia(at, transport, core, transceiverOf);
        foreach (var each in core.Drops)
            report.Add(
                new RTCIgnoredStats
                {
                    Id = $"X{each.Layer}{each.Reason}",
                    Timestamp = at,
                    Layer = each.Layer.ToString(),
                    Reason = each.Reason.ToString(),
                    Count = each.Count,
                }
            );
        return report;
    }

    private static RTCCertificateStats Certificate(DateTimeOffset at, byte[] der)
    {
        var fingerprint = Convert.ToHexString(SHA256.HashData(der)).Chunk(2).Select(octet => new string(octet));
        var value = string.Join(':', fingerprint);
        return new RTCCertificateStats
        {
            Id = "CF" + value,
            Timestamp = at,
            Fingerprint = value,
            FingerprintAlgorithm = "sha-256",
            Base64Certificate = Convert.ToBase64String(der),
        };
    }

    private static RTCIceCandidateStats Candidate(
        DateTimeOffset at,
        string transport,
        string line,
        string? url,
        bool isLocal
    )
    {
        var candidate = Translate.Candidate(line, url);
        return new RTCIceCandidateStats(isLocal ? "local-candidate" : "remote-candidate")
        {
            Id = CandidateId(line),
            Timestamp = at,
            TransportId = transport,
            Address = candidate.Address,
            Port = candidate.Port,
            Protocol = candidate.Protocol,
            CandidateType = candidate.Type,
            Priority = candidate.Priority,
            Foundation = candidate.Foundation,
            RelatedAddress = candidate.RelatedAddress,
            RelatedPort = candidate.RelatedPort,
            UsernameFragment = candidate.UsernameFragment,
            TcpType = candidate.TcpType,
            Url = url,
            RelayProtocol = candidate.RelayProtocol,
        };
    }

    /// <summary>An instant of the core's, whose clock has an epoch of its own.</summary>
    private static DateTimeOffset Past(DateTimeOffset at, long now, long instant) =>
        at - Translate.ToTimeSpan(now - instant);

    private static RTCIceCandidatePairStats Pair(
        DateTimeOffset at,
        string transport,
        Core.CandidatePairStats core,
        long now
    ) =>
        new()
        {
            Id = PairId(core.Local, core.Remote),
            Timestamp = at,
            TransportId = transport,
            LocalCandidateId = CandidateId(core.Local),
            RemoteCandidateId = CandidateId(core.Remote),
            State = core.State,
            Nominated = core.Nominated,
            RequestsSent = core.RequestsSent,
            RequestsReceived = core.RequestsReceived,
            ResponsesSent = core.ResponsesSent,
            ResponsesReceived = core.ResponsesReceived,
            ConsentRequestsSent = core.ConsentRequestsSent,
            CurrentRoundTripTime = core.CurrentRoundTripTime is { IsSome: true, Value: var rtt } ? Seconds(rtt) : null,
            TotalRoundTripTime = Seconds(core.TotalRoundTripTime),
            PacketsSent = core.PacketsSent,
            BytesSent = core.BytesSent,
            PacketsReceived = core.PacketsReceived,
            BytesReceived = core.BytesReceived,
            LastPacketSentTimestamp = core.LastPacketSentAt.OrNothing() is { } sent ? Past(at, now, sent) : null,
            LastPacketReceivedTimestamp = core.LastPacketReceivedAt.OrNothing() is { } came
                ? Past(at, now, came)
                : null,
        };

    private static RTCDataChannelStats Channel(DateTimeOffset at, Core.ChannelStats core) =>
        new()
        {
            Id = "D" + core.Handle,
            Timestamp = at,
            Label = core.Label,
            Protocol = core.Protocol,
            DataChannelIdentifier = core.Id.ToNumber(),
            State = core.State switch
            {
                "connecting" => RTCDataChannelState.Connecting,
                "open" => RTCDataChannelState.Open,
                "closing" => RTCDataChannelState.Closing,
                _ => RTCDataChannelState.Closed,
            },
            MessagesSent = core.MessagesSent,
            BytesSent = core.BytesSent,
            MessagesReceived = core.MessagesReceived,
            BytesReceived = core.BytesReceived,
        };

    private static RTCSctpTransportStats Association(DateTimeOffset at, string transport, Core.SctpStats core) =>
        new()
        {
            Id = "S",
            Timestamp = at,
            TransportId = transport,
            SmoothedRoundTripTime = core.SmoothedRoundTripTime is { IsSome: true, Value: var rtt }
                ? Seconds(rtt)
                : null,
            CongestionWindow = core.CongestionWindow,
            ReceiverWindow = core.PeerReceiverWindow,
            Mtu = core.Mtu,
            BufferedAmount = core.BufferedAmount,
            Retransmissions = core.Retransmissions,
        };

    private static double Seconds(long microseconds) => microseconds / 1e6;

    /// <summary>webrtc-stats has the two octets of the wire, in hexadecimal.</summary>
    private static string? VersionOf(string version) =>
        version switch
        {
            "DTLS 1.2" => "FEFD",
            "DTLS 1.3" => "FEFC",
            _ => null,
        };

    private static string PairId(string local, string remote) => $"CP{Hash(local)}_{Hash(remote)}";

    private static string CandidateId(string line) => "I" + Hash(line);

    /// <summary>The same candidate has the same id in every report.</summary>
    private static string Hash(string line) =>
        Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(line)).AsSpan(0, 6));

    private string Add(RTCStats stats)
    {
        _stats[stats.Id] = stats;
        return stats.Id;
    }
}
