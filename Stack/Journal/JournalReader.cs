using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>Reads a journal record by record, whatever is in it: a damaged one costs no more memory than it has octets.</summary>
internal sealed class JournalReader
{
    /// <summary>No record of ours is larger: the largest holds one message.</summary>
    private const ulong MaxRecord = 1UL << 30;

    /// <summary>What is read, and so allocated, at a time.</summary>
    private const int Piece = 65_536;

    private readonly Stream _stream;

    /// <summary>Begins at the stream's place.</summary>
    /// <exception cref="JournalException">No journal begins there.</exception>
    public JournalReader(Stream stream)
    {
        _stream = stream;
        Span<byte> magic = stackalloc byte[JournalWriter.Magic.Length];

        if (stream.ReadAtLeast(magic, magic.Length, false) < magic.Length || !magic.SequenceEqual(JournalWriter.Magic))
            throw new JournalException("This is not a journal, or one of another version.");
    }

    /// <summary>Every input of a journal with its instant.</summary>
    public static IEnumerable<(long Now, Input Input)> Inputs(Stream stream)
    {
        var journal = new JournalReader(stream);

        while (journal.Next() is ({ } kind, var content))
            if (kind == JournalRecord.Input)
                yield return ReadInput(content);
    }

    /// <summary>The content of a record of kind <see cref="JournalRecord.Input"/>.</summary>
    public static (long Now, Input Input) ReadInput(byte[] content)
    {
        var record = new JournalCursor(content);
        return (record.Number(), InputCodec.Read(record));
    }

    /// <summary>The next record; its kind is null at the end, and where the last one was cut short.</summary>
    /// <exception cref="JournalException">The record is damaged.</exception>
    public (JournalRecord? Kind, byte[] Content) Next()
    {
        var kind = _stream.ReadByte();
        var length = 0UL;

        for (var shift = 0; ; shift += 7)
        {
            var part = _stream.ReadByte();

            if (part < 0)
                return (null, []);

            length |= (ulong)(part & 0x7f) << shift;

            if (part < 0x80)
                break;

            if (shift > 28)
                throw new JournalException("The journal is damaged: a record's length is absurd.");
        }

        if (length > MaxRecord || kind > (byte)JournalRecord.End)
            throw new JournalException("The journal is damaged: a record is of no known kind, or too long.");

        var content = new MemoryStream();
        var piece = new byte[(int)Math.Min(length, Piece)];

        while ((ulong)content.Length < length)
        {
            var wanted = (int)Math.Min((ulong)piece.Length, length - (ulong)content.Length);
            var got = _stream.Read(piece, 0, wanted);

            if (got == 0)
                return (null, []);

            content.Write(piece, 0, got);
        }

        return ((JournalRecord)kind, content.ToArray());
    }
}
