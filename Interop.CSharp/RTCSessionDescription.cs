using System.Text.Json;
using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>
/// An offer, an answer, or a rollback: W3C's
/// <see href="https://www.w3.org/TR/webrtc/#rtcsessiondescription-class">RTCSessionDescription</see> and its <c>Init</c> in one.
/// Its JSON is the browsers' own: <c>{"type":"offer","sdp":"v=0…"}</c>.
/// </summary>
/// <param name="Type">What it is.</param>
/// <param name="Sdp">The SDP, RFC 8866; empty for a rollback, and where <c>SetLocalDescriptionAsync</c> is to use what was created last.</param>
public sealed record RTCSessionDescription(
    [property: JsonPropertyName("type"), JsonRequired] RTCSdpType Type,
    [property: JsonPropertyName("sdp")] string Sdp = ""
)
{
    /// <summary>The JSON that a browser's <c>JSON.stringify(description)</c> writes.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, WebRtcJson.Default.RTCSessionDescription);

    /// <summary>Reads what <see cref="ToJson"/> or a browser wrote.</summary>
    /// <exception cref="JsonException">It is not such JSON.</exception>
    public static RTCSessionDescription FromJson(string json) =>
        JsonSerializer.Deserialize(json, WebRtcJson.Default.RTCSessionDescription)
        ?? throw new JsonException("null is no session description; expected {\"type\":…,\"sdp\":…}.");
}
