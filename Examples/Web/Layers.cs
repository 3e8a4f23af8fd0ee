using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Examples;

/// <summary>For programs that switch between the encodings of a browser's simulcast.</summary>
public static class Layers
{
    /// <summary>
    /// What browsers have, but for two header extensions that speak of one encoding: the dependency descriptor numbers its frames, and the
    /// layers allocation lists its siblings. A receiver that is switched to another encoding would wait for frames that never come.
    /// </summary>
    public static RTCMediaCapabilities Switchable { get; } =
        RTCMediaCapabilities
            .Default.WithoutHeaderExtension(MediaKind.Video, HeaderExtensions.Uri(HeaderExtension.DependencyDescriptor))
            .WithoutHeaderExtension(MediaKind.Video, HeaderExtensions.Uri(HeaderExtension.VideoLayersAllocation));
}
