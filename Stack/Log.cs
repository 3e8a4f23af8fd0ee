using Microsoft.Extensions.Logging;

namespace Hybrid.WebRtc.Stack;

/// <summary>Everything the shell has to say, in one place. Noise from peers is said at debug level only.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Debug, "Peer {Peer}: ignored an input, {Layer}: {Reason}")]
    public static partial void Ignored(ILogger logger, int peer, string layer, string reason);

    [LoggerMessage(2, LogLevel.Error, "Peer {Peer} failed on a bug of ours; its journal would show it")]
    public static partial void PeerCrashed(ILogger logger, int peer, Exception bug);

    [LoggerMessage(3, LogLevel.Error, "A loop caught an exception of its own and goes on")]
    public static partial void LoopCrashed(ILogger logger, Exception bug);

    [LoggerMessage(4, LogLevel.Debug, "Port {Local} opened on {Interface}, preference {Preference}")]
    public static partial void PortOpened(ILogger logger, string local, string @interface, int preference);

    [LoggerMessage(5, LogLevel.Debug, "Port {Local} closed")]
    public static partial void PortClosed(ILogger logger, string local);

    [LoggerMessage(6, LogLevel.Warning, "No port could be bound on {Address}: {Reason}")]
    public static partial void PortRefused(ILogger logger, string address, string reason);

    [LoggerMessage(7, LogLevel.Debug, "Port {Local}: sending failed, {Reason}")]
    public static partial void SendFailed(ILogger logger, string local, string reason);

    [LoggerMessage(8, LogLevel.Warning, "Port {Local} receives no more: {Reason}")]
    public static partial void ReceiveEnded(ILogger logger, string local, string reason);

    [LoggerMessage(9, LogLevel.Debug, "Server {Url} is {Endpoints}")]
    public static partial void ServerResolved(ILogger logger, string url, string endpoints);

    [LoggerMessage(10, LogLevel.Warning, "Server {Url} does not resolve: {Reason}")]
    public static partial void ServerFailed(ILogger logger, string url, string reason);

    [LoggerMessage(11, LogLevel.Debug, "Name {Name} resolves to {Address}")]
    public static partial void NameResolved(ILogger logger, string name, string address);

    [LoggerMessage(12, LogLevel.Debug, "Multicast DNS: {What}")]
    public static partial void MulticastDns(ILogger logger, string what);

    [LoggerMessage(13, LogLevel.Warning, "Peer {Peer}: its journal stops here: {Reason}")]
    public static partial void JournalStopped(ILogger logger, int peer, string reason);

    [LoggerMessage(14, LogLevel.Debug, "Peer {Peer} ended")]
    public static partial void PeerEnded(ILogger logger, int peer);

    [LoggerMessage(15, LogLevel.Warning, "The interfaces cannot be listed: {Reason}")]
    public static partial void InterfacesUnknown(ILogger logger, string reason);

    [LoggerMessage(30, LogLevel.Debug, "The system tells of no changes of addresses: {Reason}")]
    public static partial void NetworkSilent(ILogger logger, string reason);

    [LoggerMessage(31, LogLevel.Information, "Peer {Peer}: the address of {Local} is gone")]
    public static partial void AddressGone(ILogger logger, int peer, string local);

    [LoggerMessage(32, LogLevel.Information, "Peer {Peer}: {Address} on {Interface} is new")]
    public static partial void AddressCame(ILogger logger, int peer, string address, string @interface);

    [LoggerMessage(16, LogLevel.Debug, "Port {Local} sends its datagrams singly from now on: {Reason}")]
    public static partial void SegmentsRefused(ILogger logger, string local, string reason);

    [LoggerMessage(17, LogLevel.Debug, "Stream from {Local} to {Remote} is open")]
    public static partial void StreamOpened(ILogger logger, string local, string remote);

    [LoggerMessage(18, LogLevel.Debug, "Stream with {Remote} has ended: {Reason}")]
    public static partial void StreamEnded(ILogger logger, string remote, string reason);

    [LoggerMessage(19, LogLevel.Debug, "Port {Local}: a connection was not accepted, {Reason}")]
    public static partial void AcceptFailed(ILogger logger, string local, string reason);

    [LoggerMessage(20, LogLevel.Information, "TURN: {User} at {Client} is relayed by {Relayed}")]
    public static partial void TurnAllocated(ILogger logger, string user, string client, string relayed);

    [LoggerMessage(21, LogLevel.Information, "TURN: the allocation of {User} at {Client} has ended: {Reason}")]
    public static partial void TurnDeallocated(
        ILogger logger,
        string user,
        string client,
        Core.Turn.DeallocationReason reason
    );

    [LoggerMessage(22, LogLevel.Debug, "TURN: a request of {Client} was answered with {Code}")]
    public static partial void TurnRefused(ILogger logger, string client, int code);

    [LoggerMessage(23, LogLevel.Warning, "TURN: listener {Local} accepts nothing for a moment: {Reason}")]
    public static partial void TurnAcceptFailed(ILogger logger, string local, string reason);

    [LoggerMessage(24, LogLevel.Debug, "TURN: a connection to {Local} came to nothing: {Reason}")]
    public static partial void TurnGreetingFailed(ILogger logger, string local, string reason);

    [LoggerMessage(25, LogLevel.Warning, "TURN: listener {Local} is of no more use: {Reason}")]
    public static partial void TurnListenerLost(ILogger logger, string local, string reason);

    [LoggerMessage(26, LogLevel.Error, "The TURN server failed on a bug of ours")]
    public static partial void TurnServerCrashed(ILogger logger, Exception bug);
}
