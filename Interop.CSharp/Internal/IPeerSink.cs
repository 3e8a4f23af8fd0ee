namespace Hybrid.WebRtc;

/// <summary>Whom a peer tells what happens. Stands in for the shell's own until that has landed.</summary>
internal interface IPeerSink
{
    void Raise(Core.Event happened);
    void Reply(long command, Core.Answer answer);
    void Refuse(long command, Core.Mistake mistake);
    void Message(int channel, bool text, ReadOnlyMemory<byte> payload);
    void Ended(Exception? bug);
}
