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
    public string Candidate
    {
        get;
        // JSON's null passes the type by.
        init => field = value ?? "";
    } = "";

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
    // A connection tells of many candidates, and few are looked into: the line, or what it says, is made when it is asked for.
    private string? _text;
    private Core.Candidate? _line;
    private string? _fragment;
    private bool _isUnreadable;

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
        _text = init.Candidate;
        SdpMid = init.SdpMid;
        SdpMLineIndex = init.SdpMLineIndex;
        _fragment = init.UsernameFragment;
        Url = url;
    }

    /// <summary>A transport's own, which has no place in a description.</summary>
    internal RTCIceCandidate(Core.Candidate line, string? url)
    {
        _line = line;
        Url = url;
    }

    /// <summary>The <c>candidate:…</c> line, RFC 8839 §5.1; empty at the end of a generation's candidates.</summary>
    public string Candidate => _text ??= Core.CandidateModule.ToText(_line!);

    /// <summary>The <c>a=mid</c> of the media section that it belongs to.</summary>
    public string? SdpMid { get; }

    /// <summary>The index, from 0, of the media section that it belongs to.</summary>
    public ushort? SdpMLineIndex { get; }

    /// <summary>Candidates of equal foundation share type, base address, protocol and server, RFC 8445 §5.1.1.3.</summary>
    public string? Foundation => Line?.Foundation;

    /// <summary>What it carries.</summary>
    public RTCIceComponent? Component => Line is { Component: 1 or 2 } line ? (RTCIceComponent)line.Component : null;

    /// <summary>From 1 to 2³¹-1, higher is better, RFC 8445 §5.1.2.</summary>
    public uint? Priority => Line?.Priority;

    /// <summary>An IPv4 or IPv6 address, or an mDNS name that ends in <c>.local</c>.</summary>
    public string? Address => Line is { } line ? Text(line.Host) : null;

    /// <summary>Its transport protocol.</summary>
    public RTCIceProtocol? Protocol =>
        Line?.Transport switch
        {
            { IsUdp: true } => RTCIceProtocol.Udp,
            { IsTcp: true } => RTCIceProtocol.Tcp,
            _ => null,
        };

    /// <summary>Its port.</summary>
    public ushort? Port => Line?.Port;

    /// <summary>How it came to be.</summary>
    public RTCIceCandidateType? Type => Line is { } line ? Types(line.Type) : null;

    /// <summary>Who opens the connection, where <see cref="Protocol"/> is TCP.</summary>
    public RTCIceTcpCandidateType? TcpType =>
        Line?.Transport is Core.CandidateTransport.Tcp tcp ? TcpTypes(tcp.Item) : null;

    /// <summary>The base of a derived candidate: what was translated or relayed.</summary>
    public string? RelatedAddress => Line?.Related is { IsSome: true, Value: var related } ? Text(related.Host) : null;

    /// <summary>The port of the base of a derived candidate.</summary>
    public ushort? RelatedPort => Line?.Related is { IsSome: true, Value: var related } ? related.Port : null;

    /// <summary>The ICE generation that it belongs to, by its <c>a=ice-ufrag</c>.</summary>
    public string? UsernameFragment =>
        _fragment ??= Line is { } line ? Core.CandidateModule.UsernameFragment(line).OrNull() : null;

    /// <summary>How the TURN server of a local <see cref="RTCIceCandidateType.Relay"/> candidate is spoken to.</summary>
    public RTCIceServerTransportProtocol? RelayProtocol =>
        Url is null || Type != RTCIceCandidateType.Relay ? null : Relay(Url);

    /// <summary>The STUN or TURN server that a local candidate came from.</summary>
    public string? Url { get; }

    /// <summary>What the line says; null where it does not parse.</summary>
    private Core.Candidate? Line
    {
        get
        {
            // Twice the same, where two threads ask at once.
            if (_line is null && !_isUnreadable)
            {
                if (Core.CandidateModule.Parse(_text!) is { IsSome: true, Value: var line })
                    _line = line;
                else
                    _isUnreadable = true;
            }

            return _line;
        }
    }

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

    private static string Text(Core.CandidateHost host) =>
        host switch
        {
            Core.CandidateHost.Ip ip => Core.AddressModule.ToText(ip.Item),
            Core.CandidateHost.Name name => name.Item,
            _ => throw new InvalidOperationException("Not a candidate's host."),
        };

    private static RTCIceCandidateType Types(Core.CandidateType type) =>
        type.IsHost ? RTCIceCandidateType.Host
        : type.IsServerReflexive ? RTCIceCandidateType.Srflx
        : type.IsPeerReflexive ? RTCIceCandidateType.Prflx
        : RTCIceCandidateType.Relay;

    private static RTCIceTcpCandidateType TcpTypes(Core.TcpType type) =>
        type.IsActive ? RTCIceTcpCandidateType.Active
        : type.IsPassive ? RTCIceTcpCandidateType.Passive
        : RTCIceTcpCandidateType.So;

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
