using System.Text.Json;
using System.Text.Json.Serialization;

namespace Hybrid.WebRtc.Demo;

/// <summary>How things stand at the program's end, a few times a second.</summary>
/// <param name="At">Milliseconds on the program's clock.</param>
/// <param name="Received">Octets of bulk data that have arrived here.</param>
/// <param name="Media">Once a second only.</param>
internal sealed record Telemetry(double At, long Received, States States, MediaFigures? Media);

/// <summary>Of picture and sound, at the program's end.</summary>
/// <param name="Received">Octets of media that have arrived here.</param>
/// <param name="Lost">Packets of it that have not.</param>
/// <param name="RoundTripTime">Milliseconds, as measured from here.</param>
/// <param name="AvailableBitrate">What the path to the page is thought to carry, bits a second.</param>
internal sealed record MediaFigures(long Received, long Lost, double? RoundTripTime, long? AvailableBitrate);

/// <summary>The connection's states; as JSON they have their W3C names.</summary>
internal sealed record States(
    RTCSignalingState Signaling,
    RTCIceGatheringState Gathering,
    RTCIceConnectionState Ice,
    RTCDtlsTransportState? Dtls,
    RTCSctpTransportState? Sctp,
    RTCPeerConnectionState Connection
);

/// <summary>A line of the chat: a page sends the text alone; what it gets also names the sender.</summary>
internal sealed record ChatLine(string? From, string Text);

/// <summary>Asks for bulk data for so many seconds; 0 stops it.</summary>
internal sealed record BulkRequest(double Run);

/// <summary>Comes before a file's bytes.</summary>
internal sealed record FileHeader(string Name, long Size);

/// <summary>Comes after a file's bytes: what arrived here.</summary>
internal sealed record FileVerdict(long Size, string? Sha256, string? Error);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Telemetry))]
[JsonSerializable(typeof(ChatLine))]
[JsonSerializable(typeof(BulkRequest))]
[JsonSerializable(typeof(FileHeader))]
[JsonSerializable(typeof(FileVerdict))]
internal sealed partial class Json : JsonSerializerContext;
