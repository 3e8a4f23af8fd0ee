using System.Text.Json;
using System.Text.Json.Serialization;

namespace Hybrid.WebRtc.Examples;

/// <summary>A message of the signalling socket; one member is set. <c>common/signalling.js</c> is the other end.</summary>
internal sealed record Signal
{
    public Hello? Hello { get; init; }
    public RTCSessionDescription? Description { get; init; }
    public RTCIceCandidateInit? Candidate { get; init; }
    public string? Error { get; init; }

    /// <summary>The example's own.</summary>
    public JsonElement? Message { get; init; }
}

/// <summary>What the page is told first: its number, and what it talks to.</summary>
internal sealed record Hello(int Page, string Runtime);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Signal))]
internal sealed partial class SignalJson : JsonSerializerContext;
