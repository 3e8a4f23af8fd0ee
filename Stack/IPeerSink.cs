using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// Whom a peer tells what happens: the facade. Everything is called on the loop's thread, one at a time and in order, so
/// an implementation hands on to a context of its own and returns. What it throws ends its peer, as a bug would.
/// </summary>
internal interface IPeerSink
{
    /// <summary>Something changed.</summary>
    void Raise(Event happened);

    /// <summary>A command succeeded. Not called for commands given by <see cref="PeerHost.AskAsync"/> or <see cref="PeerHost.Ask"/>.</summary>
    void Reply(long command, Answer answer);

    /// <summary>A command failed. Not called for commands given by <see cref="PeerHost.AskAsync"/> or <see cref="PeerHost.Ask"/>.</summary>
    void Refuse(long command, Mistake mistake);

    /// <summary>A whole message; the payload is the receiver's. Post <c>Consumed</c> once the application has it.</summary>
    void Message(int channel, bool text, ReadOnlyMemory<byte> payload);

    /// <summary>Packets of one receiver and one rid, in the order of their arrival; theirs to keep. <paramref name="rid"/> is empty without simulcast.</summary>
    void Rtp(int transceiver, string rid, ReadOnlyMemory<RtpPacket> packets);

    /// <summary>A turn in which something was told is over: a good time to wake whoever is to hear of it, once for all.</summary>
    void Settle();

    /// <summary>The peer is over and its ports are closed. Nothing follows; commands still waiting get no reply.</summary>
    /// <param name="bug">What it died of, if it was a bug of ours; null otherwise.</param>
    void Ended(Exception? bug);
}

/// <summary>A caller's mistake as an exception, for the facade to turn into the DOM exception it names.</summary>
internal sealed class MistakeException(Mistake mistake) : Exception(mistake.Message)
{
    /// <summary>The name, the message and the details.</summary>
    public Mistake Mistake { get; } = mistake;
}
