namespace Hybrid.WebRtc.Stack;

/// <summary>Whose AES-GCM and AES-CTR seal packets. All compute the same; a journal of one replays with another.</summary>
internal enum CipherChoice
{
    /// <summary>The processor's instructions where it has them, else the platform's library.</summary>
    Automatic,

    /// <summary>The platform's library.</summary>
    Platform,

    /// <summary>The processor's instructions.</summary>
    Intrinsic,
}
