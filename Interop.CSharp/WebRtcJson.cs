using System.Text.Json.Serialization;

namespace Hybrid.WebRtc;

/// <summary>What is written as JSON, without reflection.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull
)]
[JsonSerializable(typeof(RTCSessionDescription))]
[JsonSerializable(typeof(RTCIceCandidateInit))]
[JsonSerializable(typeof(RTCIceServer))]
[JsonSerializable(typeof(RTCPeerConnectionStats))]
[JsonSerializable(typeof(RTCTransportStats))]
[JsonSerializable(typeof(RTCIceCandidatePairStats))]
[JsonSerializable(typeof(RTCIceCandidateStats))]
[JsonSerializable(typeof(RTCCertificateStats))]
[JsonSerializable(typeof(RTCDataChannelStats))]
[JsonSerializable(typeof(RTCSctpTransportStats))]
[JsonSerializable(typeof(RTCIgnoredStats))]
[JsonSerializable(typeof(RTCInboundRtpStreamStats))]
[JsonSerializable(typeof(RTCOutboundRtpStreamStats))]
[JsonSerializable(typeof(RTCRemoteInboundRtpStreamStats))]
[JsonSerializable(typeof(RTCRemoteOutboundRtpStreamStats))]
[JsonSerializable(typeof(RTCCodecStats))]
[JsonSerializable(typeof(RTCAudioSourceStats))]
[JsonSerializable(typeof(RTCVideoSourceStats))]
internal sealed partial class WebRtcJson : JsonSerializerContext;
