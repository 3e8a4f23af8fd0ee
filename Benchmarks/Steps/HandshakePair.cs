using System.Diagnostics;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>What a handshake is to be: a version and a group, and nothing else offered.</summary>
internal readonly record struct HandshakeKind(DtlsVersion Version, NamedGroup Group)
{
    /// <summary>As a finished handshake names it.</summary>
    public string VersionName => Version == DtlsVersion.Dtls13 ? "DTLS 1.3" : "DTLS 1.2";
}

/// <summary>Handshakes of two DTLS machines in memory, both ends showing a certificate, on virtual time.</summary>
internal sealed class HandshakePair
{
    private readonly DtlsConfig _config;
    private readonly Fingerprint[] _trusted;
    private readonly HandshakeKind _kind;
    private readonly Dtls.State[] _ends = new Dtls.State[2];
    private readonly DtlsConnected?[] _connected = new DtlsConnected?[2];
    private readonly Queue<(int To, byte[] Bytes)> _underWay = new();
    private readonly long[] _ticks = new long[2];
    private long _now;
    private long _seed;

    public HandshakePair(Setting setting, HandshakeKind kind)
    {
        var certificate = Certificate.Default;
        var usual = DtlsConfigModule.Create(setting.Ciphers, certificate.Der, certificate.Key);
        _kind = kind;
        _config = DtlsOptionsModule.Set(usual, new DtlsOptions(kind.Version, kind.Version, usual.Suites, [kind.Group]));
        _trusted = [new("sha-256", Convert.FromHexString(certificate.Fingerprint().Replace(":", "")))];
    }

    /// <summary>Time in the client's steps and in the server's so far, in ticks of <see cref="Stopwatch"/>.</summary>
    public (long Client, long Server) Ticks => (_ticks[0], _ticks[1]);

    /// <summary>Datagrams of the last handshake, both ways.</summary>
    public int Datagrams { get; private set; }

    /// <summary>One handshake from nothing until both ends are connected. False: it came to something else than was asked for.</summary>
    public bool Run()
    {
        _now = 0;
        Datagrams = 0;
        Array.Clear(_connected);
        _underWay.Clear();
        _ends[0] = Dtls.create(_config, EntropyModule.ofNumber(++_seed));
        _ends[1] = Dtls.create(_config, EntropyModule.ofNumber(++_seed));
        Step(1, Dtls.Input.NewStart(DtlsRole.Server, _trusted));
        Step(0, Dtls.Input.NewStart(DtlsRole.Client, _trusted));

        // What is still under way when both are connected, acknowledgements of the last flight, is part of it.
        while (_underWay.TryDequeue(out var next) || Waits(out next))
        {
            if (next.Bytes is null)
            {
                Step(0, Dtls.Input.Tick);
                Step(1, Dtls.Input.Tick);
            }
            else
            {
                Step(next.To, Dtls.Input.NewReceived(next.Bytes));
            }
        }

        return _connected is [{ } client, { } server] && Fits(client) && Fits(server);
    }

    private bool Fits(DtlsConnected connected) =>
        connected.Version == _kind.VersionName && connected.Group == _kind.Group;

    /// <summary>Whether the handshake is still on, and time has gone on to what is due.</summary>
    private bool Waits(out (int, byte[]) nothing)
    {
        nothing = default;
        var due = Math.Min(Dtls.deadline(_ends[0]), Dtls.deadline(_ends[1]));
        // 60 s: a machine gives up then.
        if (_connected is [not null, not null] || due > 61_000_000)
            return false;
        _now = Math.Max(_now, due);
        return true;
    }

    private void Step(int end, Dtls.Input input)
    {
        var began = Stopwatch.GetTimestamp();
        var (state, outputs) = Dtls.step(_now, input, _ends[end]);
        _ends[end] = state;

        foreach (var output in outputs)
        {
            switch (output)
            {
                case Dtls.Output.Transmit { Item: var datagram }:
                    var bytes = new byte[datagram.Size];
                    datagram.Write(bytes);
                    _underWay.Enqueue((1 - end, bytes));
                    Datagrams++;
                    break;
                case Dtls.Output.Connected { Item: var connected }:
                    _connected[end] = connected;
                    break;
            }
        }

        _ticks[end] += Stopwatch.GetTimestamp() - began;
    }
}
