using System.Collections;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>
/// What a connection is made with,
/// <see href="https://www.w3.org/TR/webrtc/#rtcconfiguration-dictionary">RTCConfiguration</see>. What W3C leaves open is in
/// <see cref="WebRtcOptions"/>.
/// </summary>
public sealed record RTCConfiguration
{
    /// <summary>STUN and TURN servers. Default: none, which reaches peers in the same network only.</summary>
    public IReadOnlyList<RTCIceServer> IceServers { get; init; } = [];

    /// <summary>Which candidates may be used. Default: all.</summary>
    public RTCIceTransportPolicy IceTransportPolicy { get; init; } = RTCIceTransportPolicy.All;

    /// <summary>How media share transports with a peer that knows nothing of BUNDLE. Cannot be changed later.</summary>
    public RTCBundlePolicy BundlePolicy { get; init; } = RTCBundlePolicy.Balanced;

    /// <summary>Whether RTP and RTCP share a port: always.</summary>
    public RTCRtcpMuxPolicy RtcpMuxPolicy { get; init; } = RTCRtcpMuxPolicy.Require;

    /// <summary>
    /// The certificate to show; the first that is there. Default: one that the process makes and shares between its
    /// connections. Cannot be changed later.
    /// </summary>
    public IReadOnlyList<RTCCertificate> Certificates { get; init; } = [];

    /// <summary>
    /// How many transports' candidates are gathered before the first description is set, from 0 to 255: they are there at once when it is. There is one
    /// transport, so any number above 0 is 1. Cannot be changed once a local description is set. Default 0.
    /// </summary>
    public byte IceCandidatePoolSize { get; init; }

    /// <summary>
    /// Whether RTP's header extensions and CSRCs are encrypted, RFC 9335, <see href="https://w3c.github.io/webrtc-extensions/#rtp-header-encryption">webrtc-extensions</see>. Default:
    /// where the peer can do it.
    /// </summary>
    public RTCRtpHeaderEncryptionPolicy RtpHeaderEncryptionPolicy { get; init; } =
        RTCRtpHeaderEncryptionPolicy.Negotiate;
}

/// <summary>
/// A STUN or TURN server, <see href="https://www.w3.org/TR/webrtc/#rtciceserver-dictionary">RTCIceServer</see>. Its JSON is the
/// browsers': <c>{"urls":["turn:…"],"username":"…","credential":"…"}</c>.
/// </summary>
public sealed record RTCIceServer
{
    /// <summary>A server to be filled in.</summary>
    public RTCIceServer() { }

    /// <summary>A server that asks for no credentials, or for these.</summary>
    /// <param name="urls">One URL or several; see <see cref="Urls"/>.</param>
    /// <param name="username">TURN's user name.</param>
    /// <param name="credential">TURN's password.</param>
    public RTCIceServer(RTCIceServerUrls urls, string? username = null, string? credential = null)
    {
        Urls = urls;
        Username = username;
        Credential = credential;
    }

    /// <summary>One URL or several, RFC 7064 and RFC 7065: <c>Urls = "stun:example.org"</c> or <c>Urls = ["…", "…"]</c>.</summary>
    /// <remarks>
    /// <c>stun:host[:port]</c> over UDP; <c>turn:host[:port]</c> over UDP, or over TCP with <c>?transport=tcp</c>; <c>turns:host[:port]</c>
    /// over TLS, or over DTLS with <c>?transport=udp</c>. Ports are 3478, and 5349 of <c>turns:</c>. <c>stuns:</c> is a URL, too, and is
    /// answered by <c>icecandidateerror</c> 701: it finds no candidate that is used.
    /// </remarks>
    [JsonPropertyName("urls")]
    public RTCIceServerUrls Urls { get; init; }

    /// <summary>TURN's user name; required for <c>turn:</c> and <c>turns:</c>.</summary>
    [JsonPropertyName("username"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Username { get; init; }

    /// <summary>TURN's password; required for <c>turn:</c> and <c>turns:</c>.</summary>
    [JsonPropertyName("credential"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Credential { get; init; }
}

/// <summary>One URL or several; W3C's <c>(DOMString or sequence&lt;DOMString&gt;)</c>. A string and a collection expression convert to it.</summary>
[CollectionBuilder(typeof(RTCIceServerUrls), nameof(From))]
[JsonConverter(typeof(JsonShape))]
public readonly struct RTCIceServerUrls : IReadOnlyList<string>
{
    private readonly string[]? _urls;

    private RTCIceServerUrls(string[] urls) => _urls = urls;

    private string[] Urls => _urls ?? [];

    /// <inheritdoc/>
    public int Count => Urls.Length;

    /// <inheritdoc/>
    public string this[int index] => Urls[index];

    /// <summary>Several URLs.</summary>
    public static RTCIceServerUrls From(ReadOnlySpan<string> urls) => new(urls.ToArray());

    /// <summary>One URL.</summary>
    public static implicit operator RTCIceServerUrls(string url) => new([url]);

    /// <summary>Several URLs.</summary>
    public static implicit operator RTCIceServerUrls(string[] urls) => new([.. urls]);

    /// <summary>Several URLs.</summary>
    public static implicit operator RTCIceServerUrls(List<string> urls) => new([.. urls]);

    /// <inheritdoc/>
    public IEnumerator<string> GetEnumerator() => ((IEnumerable<string>)Urls).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>The URLs, separated by commas.</summary>
    public override string ToString() => string.Join(", ", Urls);

    /// <summary>Reads a string or an array of strings; writes an array.</summary>
    internal sealed class JsonShape : JsonConverter<RTCIceServerUrls>
    {
        public override RTCIceServerUrls Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options)
        {
            if (reader.TokenType == JsonTokenType.String)
                return reader.GetString()!;
            if (reader.TokenType != JsonTokenType.StartArray)
                throw new JsonException("The URLs of an ICE server are a string or an array of strings.");

            var urls = new List<string>();
            while (reader.Read() && reader.TokenType == JsonTokenType.String)
                urls.Add(reader.GetString()!);
            return reader.TokenType == JsonTokenType.EndArray
                ? urls
                : throw new JsonException("The URLs of an ICE server are strings.");
        }

        public override void Write(Utf8JsonWriter writer, RTCIceServerUrls urls, JsonSerializerOptions options)
        {
            writer.WriteStartArray();
            foreach (var url in urls)
                writer.WriteStringValue(url);
            writer.WriteEndArray();
        }
    }
}

/// <summary>What <c>CreateOfferAsync</c> takes, <see href="https://www.w3.org/TR/webrtc/#dom-rtcofferoptions">RTCOfferOptions</see>.</summary>
public sealed record RTCOfferOptions
{
    /// <summary>Whether the offer restarts ICE: new credentials, new candidates, a new search for a path. Default false.</summary>
    public bool IceRestart { get; init; }
}

/// <summary>What <c>CreateAnswerAsync</c> takes, <see href="https://www.w3.org/TR/webrtc/#dom-rtcansweroptions">RTCAnswerOptions</see>; nothing, so far.</summary>
public sealed record RTCAnswerOptions;
