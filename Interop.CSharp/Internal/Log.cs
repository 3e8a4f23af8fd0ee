using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc;

/// <summary>What the facade has to say.</summary>
internal static partial class Log
{
    [LoggerMessage(101, LogLevel.Error, "A subscriber threw; the others and the connection go on")]
    public static partial void SubscriberThrew(ILogger logger, Exception exception);

    [LoggerMessage(
        102,
        LogLevel.Warning,
        "The given context takes nothing any more; notifications go to the thread pool"
    )]
    public static partial void ContextGone(ILogger logger, Exception exception);

    [LoggerMessage(
        103,
        LogLevel.Warning,
        "Data channel '{Label}': a message came, nobody has subscribed, and no more can be held"
    )]
    public static partial void MessageUnheard(ILogger logger, string label);

    [LoggerMessage(104, LogLevel.Warning, "The key log cannot be written")]
    public static partial void KeyLogFailed(ILogger logger, Exception exception);

    [LoggerMessage(
        105,
        LogLevel.Warning,
        "Track '{Track}': its observers are slower than the network, and packets are dropped"
    )]
    public static partial void PacketsUnheard(ILogger logger, string track);
}
