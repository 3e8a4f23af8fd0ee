using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>
/// A candidate as it travels between peers,
/// <see href="https://www.w3.org/TR/webrtc/#dom-rtcicecandidateinit">RTCIceCandidateInit</see>. Its JSON is the browsers' own:
/// <c>{"candidate":"candidate:…","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"…"}</c>.
/// </summary>
public sealed record RTCIceCandidateInit
{
    /// <summary>The <c>candidate:…</c> line, RFC 8839 §5.1. Empty: there are no more candidates.</summary>
    [JsonPropertyName("candidate")]
    public string Candidate { get; init; } = "";

    /// <summary>The <c>a=mid</c> of the media section that it belongs to.</summary>
    [JsonPropertyName("sdpMid"), JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? SdpMid { get; init; }

    /// <summary>The index, from 0, of the media section that it belongs to.</summary>
    [JsonPropertyName("sdpMLineIndex"), JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public ushort? SdpMLineIndex { get; init; }

    /// <summary>The ICE generation that it belongs to, by its <c>a=ice-ufrag</c>.</summary>
    [JsonPropertyName("usernameFragment"), JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? UsernameFragment { get; init; }

    /// <summary>The JSON that a browser's <c>JSON.stringify(candidate)</c> writes.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, WebRtcJson.Default.RTCIceCandidateInit);

    /// <summary>Reads what <see cref="ToJson"/> or a browser wrote.</summary>
    /// <exception cref="JsonException">It is not such JSON.</exception>
    public static RTCIceCandidateInit FromJson(string json) =>
        JsonSerializer.Deserialize(json, WebRtcJson.Default.RTCIceCandidateInit)
        ?? throw new JsonException("null is no candidate; expected {\"candidate\":…,\"sdpMid\":…}.");
}

/// <summary>
/// A candidate: an address where a peer may be reached,
/// <see href="https://www.w3.org/TR/webrtc/#rtcicecandidate-interface">RTCIceCandidate</see>. The members that its line does not
/// tell, or all of them where the line does not parse, are null. Immutable.
/// </summary>
[JsonConverter(typeof(JsonShape))]
public sealed class RTCIceCandidate
{
    /// <summary>A candidate from its line and its place in the description.</summary>
    /// <exception cref="RTCException"><c>TypeError</c>: neither <c>SdpMid</c> nor <c>SdpMLineIndex</c> is given.</exception>
    public RTCIceCandidate(RTCIceCandidateInit init)
        : this(init, null)
    {
        if (init.SdpMid is null && init.SdpMLineIndex is null)
            throw Mistakes.Type("A candidate belongs to a media section: give SdpMid, SdpMLineIndex or both.");
    }

    /// <summary>A candidate that the core tells of; a transport's own have no place in a description.</summary>
    internal RTCIceCandidate(RTCIceCandidateInit init, string? url)
    {
        Candidate = init.Candidate;
        SdpMid = init.SdpMid;
        SdpMLineIndex = init.SdpMLineIndex;
        UsernameFragment = init.UsernameFragment;
        Url = url;

        if (!CandidateLine.TryParse(init.Candidate, out var line))
            return;

        Foundation = line.Foundation;
        Component = line.Component;
        Priority = line.Priority;
        Address = line.Address;
        Protocol = line.Protocol;
        Port = line.Port;
        Type = line.Type;
        TcpType = line.TcpType;
        RelatedAddress = line.RelatedAddress;
        RelatedPort = line.RelatedPort;
        UsernameFragment ??= line.UsernameFragment;
        RelayProtocol = url is null || line.Type != RTCIceCandidateType.Relay ? null : Relay(url);
    }

    /// <summary>The <c>candidate:…</c> line, RFC 8839 §5.1; empty at the end of a generation's candidates.</summary>
    public string Candidate { get; }

    /// <summary>The <c>a=mid</c> of the media section that it belongs to.</summary>
    public string? SdpMid { get; }

    /// <summary>The index, from 0, of the media section that it belongs to.</summary>
    public ushort? SdpMLineIndex { get; }

    /// <summary>Candidates of equal foundation share type, base address, protocol and server, RFC 8445 §5.1.1.3.</summary>
    public string? Foundation { get; }

    /// <summary>What it carries.</summary>
    public RTCIceComponent? Component { get; }

    /// <summary>From 1 to 2³¹-1, higher is better, RFC 8445 §5.1.2.</summary>
    public uint? Priority { get; }

    /// <summary>An IPv4 or IPv6 address, or an mDNS name that ends in <c>.local</c>.</summary>
    public string? Address { get; }

    /// <summary>Its transport protocol.</summary>
    public RTCIceProtocol? Protocol { get; }

    /// <summary>Its port.</summary>
    public ushort? Port { get; }

    /// <summary>How it came to be.</summary>
    public RTCIceCandidateType? Type { get; }

    /// <summary>Who opens the connection, where <see cref="Protocol"/> is TCP.</summary>
    public RTCIceTcpCandidateType? TcpType { get; }

    /// <summary>The base of a derived candidate: what was translated or relayed.</summary>
    public string? RelatedAddress { get; }

    /// <summary>The port of the base of a derived candidate.</summary>
    public ushort? RelatedPort { get; }

    /// <summary>The ICE generation that it belongs to, by its <c>a=ice-ufrag</c>.</summary>
    public string? UsernameFragment { get; }

    /// <summary>How the TURN server of a local <see cref="RTCIceCandidateType.Relay"/> candidate is spoken to.</summary>
    public RTCIceServerTransportProtocol? RelayProtocol { get; }

    /// <summary>The STUN or TURN server that a local candidate came from.</summary>
    public string? Url { get; }

    /// <summary>What is to be sent to the peer.</summary>
    public RTCIceCandidateInit ToInit() =>
        new()
        {
            Candidate = Candidate,
            SdpMid = SdpMid,
            SdpMLineIndex = SdpMLineIndex,
            UsernameFragment = UsernameFragment,
        };

    /// <summary>The JSON that a browser's <c>JSON.stringify(candidate)</c> writes.</summary>
    public string ToJson() => ToInit().ToJson();

    /// <summary>Reads what <see cref="ToJson"/> or a browser wrote.</summary>
    /// <exception cref="JsonException">It is not such JSON.</exception>
    /// <exception cref="RTCException"><c>TypeError</c>: it names no media section.</exception>
    public static RTCIceCandidate FromJson(string json) => new(RTCIceCandidateInit.FromJson(json));

    /// <summary>So that a candidate can be added where its <c>Init</c> is asked for.</summary>
    public static implicit operator RTCIceCandidateInit?(RTCIceCandidate? candidate) => candidate?.ToInit();

    /// <summary>The <c>candidate:…</c> line.</summary>
    public override string ToString() => Candidate;

    /// <summary>RFC 7065: <c>turns:</c> is TLS, else what <c>?transport=</c> says, else UDP.</summary>
    private static RTCIceServerTransportProtocol Relay(string url) =>
        url.StartsWith("turns:", StringComparison.OrdinalIgnoreCase) ? RTCIceServerTransportProtocol.Tls
        : url.EndsWith("transport=tcp", StringComparison.OrdinalIgnoreCase) ? RTCIceServerTransportProtocol.Tcp
        : RTCIceServerTransportProtocol.Udp;

    /// <summary>A candidate's JSON is its <c>Init</c>'s, in a user's own types too.</summary>
    internal sealed class JsonShape : JsonConverter<RTCIceCandidate>
    {
        public override RTCIceCandidate? Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options) =>
            JsonSerializer.Deserialize(ref reader, WebRtcJson.Default.RTCIceCandidateInit) is { } init
                ? new RTCIceCandidate(init, null)
                : null;

        public override void Write(Utf8JsonWriter writer, RTCIceCandidate candidate, JsonSerializerOptions options) =>
            JsonSerializer.Serialize(writer, candidate.ToInit(), WebRtcJson.Default.RTCIceCandidateInit);
    }
}

/// <summary>A parsed <c>candidate:</c> line, RFC 8839 §5.1.</summary>
internal sealed record CandidateLine
{
    public required string Foundation { get; init; }
    public required RTCIceComponent Component { get; init; }
    public required RTCIceProtocol Protocol { get; init; }
    public required uint Priority { get; init; }
    public required string Address { get; init; }
    public required ushort Port { get; init; }
    public required RTCIceCandidateType Type { get; init; }
    public RTCIceTcpCandidateType? TcpType { get; init; }
    public string? RelatedAddress { get; init; }
    public ushort? RelatedPort { get; init; }
    public string? UsernameFragment { get; init; }

    /// <summary>
    /// <code>candidate:foundation component protocol priority address port typ type [raddr a] [rport p] [name value]…</code>
    /// False where it is anything else.
    /// </summary>
    public static bool TryParse(string text, out CandidateLine line)
    {
        line = null!;
        var start =
            text.StartsWith("a=candidate:", StringComparison.Ordinal) ? 12
            : text.StartsWith("candidate:", StringComparison.Ordinal) ? 10
            : -1;
        if (start < 0)
            return false;

        var words = text[start..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (
            words.Length < 8
            || words[6] != "typ"
            || !int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var component)
            || component is not (1 or 2)
            || Protocols(words[2]) is not { } protocol
            || !uint.TryParse(words[3], NumberStyles.None, CultureInfo.InvariantCulture, out var priority)
            || !ushort.TryParse(words[5], NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            || Types(words[7]) is not { } type
        )
            return false;

        var extensions = words[8..];
        line = new CandidateLine
        {
            Foundation = words[0],
            Component = (RTCIceComponent)component,
            Protocol = protocol,
            Priority = priority,
            Address = words[4],
            Port = port,
            Type = type,
            TcpType = TcpTypes(ValueOf("tcptype")),
            RelatedAddress = ValueOf("raddr"),
            RelatedPort = ushort.TryParse(
                ValueOf("rport"),
                NumberStyles.None,
                CultureInfo.InvariantCulture,
                out var related
            )
                ? related
                : null,
            UsernameFragment = ValueOf("ufrag"),
        };
        return true;

        string? ValueOf(string name)
        {
            for (var i = 0; i + 1 < extensions.Length; i += 2)
                if (extensions[i] == name)
                    return extensions[i + 1];
            return null;
        }
    }

    private static RTCIceProtocol? Protocols(string word) =>
        word.Equals("udp", StringComparison.OrdinalIgnoreCase) ? RTCIceProtocol.Udp
        : word.Equals("tcp", StringComparison.OrdinalIgnoreCase) ? RTCIceProtocol.Tcp
        : null;

    private static RTCIceCandidateType? Types(string word) =>
        word switch
        {
            "host" => RTCIceCandidateType.Host,
            "srflx" => RTCIceCandidateType.Srflx,
            "prflx" => RTCIceCandidateType.Prflx,
            "relay" => RTCIceCandidateType.Relay,
            _ => null,
        };

    private static RTCIceTcpCandidateType? TcpTypes(string? word) =>
        word switch
        {
            "active" => RTCIceTcpCandidateType.Active,
            "passive" => RTCIceTcpCandidateType.Passive,
            "so" => RTCIceTcpCandidateType.So,
            _ => null,
        };
}
