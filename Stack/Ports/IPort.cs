using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports;

/// <summary>
/// A bound socket. All but <see cref="Begin"/> and <see cref="IDisposable.Dispose"/> is called on its loop's thread. There, closing sends what is
/// held back; elsewhere it lets go of it. What arrives is handed to the <see cref="IPortOwner"/> there too, a batch at a time and straight from the socket.
/// </summary>
internal interface IPort : IDisposable
{
    /// <summary>Its number in the core's <c>Path.Local</c>.</summary>
    int Id { get; }

    /// <summary>The address and port that it is bound to.</summary>
    Endpoint Local { get; }

    /// <summary>Starts to receive; any thread, once.</summary>
    void Begin();

    /// <summary>
    /// Memory for one datagram of <paramref name="size"/> octets to <paramref name="remote"/>, to be filled and then
    /// sent by <see cref="Commit"/>. A port that batches answers the place right behind the last one, so that a run of
    /// equal sizes to one remote leaves as a single send.
    /// </summary>
    Span<byte> Reserve(in Endpoint remote, int size);

    /// <summary>Sends the first <paramref name="written"/> octets of what was reserved, at the latest when the turn is over.</summary>
    void Commit(int written);

    /// <summary>
    /// Whether IP may fragment what is committed from now on. Not unless this says so: a datagram that is too large for the path is lost,
    /// which is how the core learns the path's size (RFC 8899). Rare. What is held back leaves as it was committed.
    /// </summary>
    void AllowFragments(bool allowed);

    /// <summary>Whatever is held back leaves now. At the end of a turn the loop sees to it.</summary>
    void Flush();
}

/// <summary>Whom a port's datagrams are for: a peer, or a port shared by many.</summary>
internal interface IPortOwner
{
    /// <summary>A datagram; <paramref name="bytes"/> are lent for the call and may be overwritten in it.</summary>
    void Received(IPort port, in Endpoint remote, Memory<byte> bytes, long now);

    /// <summary>The port is of no more use: its interface is gone, perhaps. Called on the loop's thread, once.</summary>
    void Broken(IPort port, string reason);

    /// <summary>A shared port has come to another address. Called on the loop's thread.</summary>
    void Appeared(in BoundPort bound) { }
}
