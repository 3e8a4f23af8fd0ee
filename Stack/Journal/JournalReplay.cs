using System.Globalization;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack;

/// <summary>How a replay went.</summary>
/// <param name="Inputs">Inputs that were stepped.</param>
/// <param name="Outputs">Outputs that were compared and found equal.</param>
/// <param name="IsWhole">Whether the journal has its end; false: the process died, or the limit was reached.</param>
/// <param name="Difference">Where the replay first went another way, for a person to read; null: nowhere.</param>
/// <param name="Crash">What the recorded session died of; null: of no bug.</param>
internal sealed record ReplayResult(long Inputs, long Outputs, bool IsWhole, string? Difference, string? Crash);

/// <summary>
/// Runs a journal again, without sockets and as fast as it goes, and compares every output with the recorded one. With equal
/// ciphers and an equal core they are all equal; the first that is not is reported.
/// </summary>
internal sealed class JournalReplay : OutputWitness
{
    private readonly JournalReader _journal;
    private readonly Queue<byte[]> _signatures = new();
    private readonly Queue<byte[]> _expected = new();

    private Peer.State? _state;
    private long _inputs;
    private long _outputs;
    private string _step = "creating the peer";
    private string? _difference;
    private bool _isCutShort;

    private JournalReplay(JournalReader journal)
        : base(null) => _journal = journal;

    /// <summary>Replays the rest of a stream, from the journal's first octet on.</summary>
    /// <param name="stream">The journal.</param>
    /// <param name="ciphers">The ciphers that the session had, or any that compute the same.</param>
    /// <param name="stepped">Told of each input and the instant before it is stepped; for a debugger's eye.</param>
    /// <exception cref="JournalException">The stream is not a journal, or is damaged.</exception>
    public static ReplayResult Run(Stream stream, ICiphers ciphers, Action<long, Input>? stepped = null) =>
        new JournalReplay(new JournalReader(stream)).Run(ciphers, stepped);

    /// <inheritdoc/>
    protected override void Saw(OutputKind kind, ReadOnlySpan<byte> octets)
    {
        if (_difference is not null)
            return;

        if (!_expected.TryDequeue(out var record))
        {
            // The last step's records may be lost with the process that wrote them.
            if (!_isCutShort)
                Differs($"{kind} of {octets.Length} octets, where nothing more was recorded");

            return;
        }

        if (Compare(record, kind, octets) is { } difference)
            Differs(difference);
        else
            _outputs++;
    }

    /// <summary>How an output differs from the recorded one, for a person to read; null: not at all.</summary>
    internal static string? Compare(byte[] record, OutputKind kind, ReadOnlySpan<byte> octets)
    {
        var expected = new JournalCursor(record);
        var expectedKind = (OutputKind)expected.Byte();
        var expectedSize = expected.Unsigned();
        Span<byte> digest = stackalloc byte[JournalWriter.DigestSize];
        JournalWriter.Digest(octets, digest);

        if (kind != expectedKind)
            return $"{kind} of {octets.Length} octets, where {expectedKind} of {expectedSize} was recorded";

        if ((ulong)octets.Length != expectedSize)
            return $"{kind} has {octets.Length} octets, recorded were {expectedSize}";

        return digest.SequenceEqual(expected.Take(JournalWriter.DigestSize))
            ? null
            : $"{kind} of {octets.Length} octets has other content than the recorded one";
    }

    private ReplayResult Run(ICiphers ciphers, Action<long, Input>? stepped)
    {
        var (kind, content) = _journal.Next();

        if (kind != JournalRecord.Header)
            throw new JournalException("The journal has no header.");

        var (seed, config) = ReadHeader(new JournalCursor(content), ciphers);
        (kind, content) = Gather();
        var created = Peer.Create(seed, config);

        if (created.IsError)
            return Result(kind) with { Difference = "creating the peer: " + created.ErrorValue.Message };

        _state = created.ResultValue;

        while (kind == JournalRecord.Input && _difference is null)
        {
            var (now, input) = JournalReader.ReadInput(content);
            _inputs++;
            _step = string.Create(
                CultureInfo.InvariantCulture,
                $"input {_inputs} ({InputCodec.NameOf(input)}) at {now / 1e6:F6} s"
            );
            (kind, content) = Gather();
            stepped?.Invoke(now, input);

            if (Step(now, input) is { } bug)
                return kind == JournalRecord.Crash
                    ? Result(kind) with
                    {
                        Crash = new JournalCursor(content).Text(),
                    }
                    : Result(kind) with
                    {
                        Difference = $"{_step}: the step threw: {bug}",
                    };

            if (_difference is null && _expected.Count + _signatures.Count > 0)
                Differs(
                    $"{_expected.Count} outputs and {_signatures.Count} signatures were recorded that did not come"
                );
        }

        return kind == JournalRecord.Crash
            ? Result(kind) with
            {
                Crash = new JournalCursor(content).Text(),
            }
            : Result(kind);
    }

    private Exception? Step(long now, Input input)
    {
        try
        {
            (_state, var outputs) = Peer.Step(now, input, _state!);
            Peer.Perform(this, outputs);
            return null;
        }
        catch (Exception bug) when (bug is not JournalException)
        {
            return bug;
        }
    }

    private ReplayResult Result(JournalRecord? last) =>
        new(_inputs, _outputs, last is JournalRecord.End or JournalRecord.Crash, _difference, null);

    private void Differs(string what) => _difference ??= $"{_step}: {what}";

    private (byte[] Seed, PeerConfig Config) ReadHeader(JournalCursor header, ICiphers ciphers)
    {
        var seed = header.Octets();
        var certificate = header.Octets();
        var schemes = header.Array(() => (SignatureScheme)header.Int32());
        var identity = new Identity(certificate, new RecordedKey(this, schemes));
        var configuration = InputCodec.ReadConfiguration(header);
        var capabilities = MediaCodec.ReadCapabilities(header);
        return (seed, new PeerConfig(ciphers, identity, configuration, capabilities, InputCodec.ReadOptions(header)));
    }

    /// <summary>Collects what was recorded of one step, and answers the record that follows it.</summary>
    private (JournalRecord? Kind, byte[] Content) Gather()
    {
        while (true)
        {
            var (kind, content) = _journal.Next();

            switch (kind)
            {
                case JournalRecord.Output:
                    _expected.Enqueue(content);
                    break;
                case JournalRecord.Signature:
                    _signatures.Enqueue(content);
                    break;
                default:
                    _isCutShort = kind is null;
                    return (kind, content);
            }
        }
    }

    /// <summary>The certificate's key of a replay: it knows the signatures that were made, in order.</summary>
    private sealed class RecordedKey(JournalReplay replay, SignatureScheme[] schemes) : ISigningKey
    {
        public SignatureScheme[] Schemes => schemes;

        public byte[] Sign(SignatureScheme scheme, ReadOnlySpan<byte> data)
        {
            if (replay._signatures.TryDequeue(out var record))
                return new JournalCursor(record).Octets();

            replay.Differs("a signature is asked for that was not recorded");
            return [];
        }
    }
}
