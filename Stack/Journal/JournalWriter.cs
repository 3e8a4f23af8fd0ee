using System.Security.Cryptography;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>What a journal is made of, by the first octet of a record.</summary>
internal enum JournalRecord : byte
{
    /// <summary>The seed and the configuration. First, once.</summary>
    Header = 0,

    /// <summary>An instant and an input.</summary>
    Input = 1,

    /// <summary>A signature that the certificate's key made during the step of the last input.</summary>
    Signature = 2,

    /// <summary>An output of the last input: its kind, its size and the first 8 octets of its SHA-256.</summary>
    Output = 3,

    /// <summary>The step of the last input threw.</summary>
    Crash = 4,

    /// <summary>The journal reached its limit; the session went on.</summary>
    Limit = 5,

    /// <summary>The session ended.</summary>
    End = 6,
}

/// <summary>
/// Writes a session down: its seed, its configuration, and every input with its instant. That is all a session is, so
/// <see cref="JournalReplay"/> runs it again without sockets; digests of the outputs show whether it went the same way.
/// </summary>
/// <remarks>
/// <b>A journal holds secrets.</b> The seed yields the session's keys, so whoever reads a journal can decrypt the session; TURN
/// credentials, descriptions and every message are in it. The certificate's private key is not: the signatures
/// that it made are written instead. Keep a journal like a key, and send it to those only who may read all that.
/// <para>
/// Format: the eight octets <c>HWRTCJ05</c>, then records of one octet <see cref="JournalRecord"/>, a LEB128 length, and the
/// content. Records reach the stream at the end of each turn of the loop, so at most one turn is lost with the process, and
/// a record cut short at the end is no damage. Used on one thread at a time.
/// </para>
/// </remarks>
internal sealed class JournalWriter(Stream stream, long limit = long.MaxValue) : IDisposable
{
    /// <summary>Octets of an output's digest.</summary>
    public const int DigestSize = 8;

    private readonly JournalBuffer _records = new();
    private readonly JournalBuffer _content = new();
    private long _written;
    private bool _stopped;

    /// <summary>The first octets of every journal, its version included.</summary>
    public static ReadOnlySpan<byte> Magic => "HWRTCJ05"u8;

    /// <summary>The journal goes no further, though the session does: the stream failed, or the limit is reached.</summary>
    public event Action<string>? Stopped;

    /// <summary>Makes files in a folder, one a session, named by time and a random part, readable by their owner alone.</summary>
    public static Func<Stream> InFolder(string folder) =>
        () =>
        {
            Directory.CreateDirectory(folder);
            var name =
                $"{DateTime.UtcNow:yyyyMMdd-HHmmss}-{RandomNumberGenerator.GetHexString(8, lowercase: true)}.hwj";
            var options = new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                Share = FileShare.Read,
                BufferSize = 0,
            };

            if (!OperatingSystem.IsWindows())
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;

            return new FileStream(System.IO.Path.Combine(folder, name), options);
        };

    /// <summary>The digest of an output's octets, as records hold it.</summary>
    public static void Digest(ReadOnlySpan<byte> octets, Span<byte> into)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(octets, hash);
        hash[..DigestSize].CopyTo(into);
    }

    /// <summary>Writes what a session starts from. First, once.</summary>
    public void Begin(ReadOnlySpan<byte> seed, PeerConfig config)
    {
        Magic.CopyTo(_records.Take(Magic.Length));
        _content.Clear();
        _content.Octets(seed);
        _content.Octets(config.Identity.Certificate);
        _content.Array(config.Identity.Key.Schemes, scheme => _content.Number((int)scheme));
        InputCodec.Write(_content, config.Configuration);
        MediaCodec.Write(_content, config.Capabilities);
        InputCodec.Write(_content, config.Options);
        Append(JournalRecord.Header);
    }

    /// <summary>The configuration with a key whose signatures are written down.</summary>
    public PeerConfig Witness(PeerConfig config) =>
        new(
            config.Ciphers,
            new Identity(config.Identity.Certificate, new WitnessedKey(this, config.Identity.Key)),
            config.Configuration,
            config.Capabilities,
            config.Options
        );

    /// <summary>The shell with its outputs written down.</summary>
    public IShell Witness(IDatagramShell shell) => new WitnessedShell(this, shell);

    /// <summary>Writes an input, before its step, which may overwrite a datagram.</summary>
    public void Input(long now, Input input)
    {
        if (_stopped)
            return;

        _content.Clear();
        _content.Number(now);
        InputCodec.Write(_content, input);
        Append(JournalRecord.Input);
    }

    /// <summary>Writes that the last step threw.</summary>
    public void Crashed(Exception bug)
    {
        _content.Clear();
        _content.Text(bug.ToString());
        Append(JournalRecord.Crash);
    }

    /// <summary>Hands what was written to the stream.</summary>
    public void Flush()
    {
        if (_stopped || _records.Length == 0)
            return;

        try
        {
            stream.Write(_records.Written);
            stream.Flush();
            _written += _records.Length;
            _records.Clear();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or NotSupportedException)
        {
            Stop(e.Message);
            return;
        }

        if (_written >= limit)
        {
            _content.Clear();
            Append(JournalRecord.Limit);
            _written = long.MinValue;
            Flush();
            Stop("it has reached its limit");
        }
    }

    /// <summary>Ends the journal and closes the stream.</summary>
    public void Dispose()
    {
        if (_stopped)
            return;

        _content.Clear();
        Append(JournalRecord.End);
        _written = long.MinValue;
        Flush();
        Close();
    }

    private void Append(JournalRecord kind)
    {
        if (_stopped)
            return;

        _records.Byte((byte)kind);
        _records.Octets(_content.Written);
    }

    private void Stop(string reason)
    {
        Close();
        Stopped?.Invoke(reason);
    }

    private void Close()
    {
        if (_stopped)
            return;

        _stopped = true;

        try
        {
            stream.Dispose();
        }
        catch (IOException)
        {
            // The disk is full or gone; nothing more can be saved.
        }
    }

    private sealed class WitnessedShell(JournalWriter journal, IDatagramShell inner) : OutputWitness(inner)
    {
        protected override void Saw(OutputKind kind, ReadOnlySpan<byte> octets)
        {
            if (journal._stopped)
                return;

            var content = journal._content;
            content.Clear();
            content.Byte((byte)kind);
            content.Unsigned((ulong)octets.Length);
            Digest(octets, content.Take(DigestSize));
            journal.Append(JournalRecord.Output);
        }
    }

    private sealed class WitnessedKey(JournalWriter journal, ISigningKey inner) : ISigningKey
    {
        public SignatureScheme[] Schemes => inner.Schemes;

        public byte[] Sign(SignatureScheme scheme, ReadOnlySpan<byte> data)
        {
            var signature = inner.Sign(scheme, data);
            journal._content.Clear();
            journal._content.Octets(signature);
            journal.Append(JournalRecord.Signature);
            return signature;
        }
    }
}
