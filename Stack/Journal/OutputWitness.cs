using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Rtp;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack;

/// <summary>A shell that also takes a datagram that is already written: a packet may be written only once.</summary>
internal interface IDatagramShell : IShell
{
    /// <summary>Sends octets as they are; they are lent. See <see cref="Packet.MayFragment"/> and <see cref="Packet.IsToStranger"/>.</summary>
    void Send(Path path, ReadOnlySpan<byte> bytes, bool mayFragment, bool isToStranger);
}

/// <summary>Stands between the core and the shell, and sees every output as octets. A new output breaks its build, as it should.</summary>
/// <param name="inner">The shell that acts; null: nobody does.</param>
internal abstract class OutputWitness(IDatagramShell? inner) : IShell
{
    private readonly JournalBuffer _seen = new();
    private byte[] _packet = new byte[2_048];

    /// <summary>An output, before the shell acts on it.</summary>
    protected abstract void Saw(OutputKind kind, ReadOnlySpan<byte> octets);

    /// <inheritdoc/>
    public void Transmit(Path path, Packet packet)
    {
        if (packet.Size > _packet.Length)
            _packet = new byte[packet.Size];

        var written = _packet.AsSpan(0, packet.Write(_packet));
        _seen.Clear();
        _seen.Path(path);
        _seen.Octets(written);
        Saw(OutputKind.Transmit, _seen.Written);
        inner?.Send(path, written, packet.MayFragment, packet.IsToStranger);
    }

    /// <inheritdoc/>
    public void TransmitRun(Path path, RtpRun run)
    {
        for (var i = 0; i < run.Count; i++)
        {
            if (run.Size(i) > _packet.Length)
                _packet = new byte[run.Size(i)];

            var written = _packet.AsSpan(0, run.Write(i, _packet));
            _seen.Clear();
            _seen.Path(path);
            _seen.Octets(written);
            Saw(OutputKind.Transmit, _seen.Written);
            inner?.Send(path, written, mayFragment: false, isToStranger: false);
        }
    }

    /// <inheritdoc/>
    public void OpenPorts()
    {
        Saw(OutputKind.OpenPorts, []);
        inner?.OpenPorts();
    }

    /// <inheritdoc/>
    public void ClosePort(int port)
    {
        _seen.Clear();
        _seen.Number(port);
        Saw(OutputKind.ClosePort, _seen.Written);
        inner?.ClosePort(port);
    }

    /// <inheritdoc/>
    public void OpenStream(int port, StreamKind kind, int from, Endpoint to, string serverName)
    {
        _seen.Clear();
        _seen.Number(port);
        _seen.Number((int)kind);
        _seen.Number(from);
        _seen.Endpoint(to);
        _seen.Text(serverName);
        Saw(OutputKind.OpenStream, _seen.Written);
        inner?.OpenStream(port, kind, from, to, serverName);
    }

    /// <inheritdoc/>
    public void VerifyCertificate(int port, string serverName, byte[][] chain)
    {
        _seen.Clear();
        _seen.Number(port);
        _seen.Text(serverName);
        _seen.Array(chain, certificate => _seen.Octets(certificate));
        Saw(OutputKind.VerifyCertificate, _seen.Written);
        inner?.VerifyCertificate(port, serverName, chain);
    }

    /// <inheritdoc/>
    public void ResolveServer(string url)
    {
        _seen.Clear();
        _seen.Text(url);
        Saw(OutputKind.ResolveServer, _seen.Written);
        inner?.ResolveServer(url);
    }

    /// <inheritdoc/>
    public void ResolveName(string name)
    {
        _seen.Clear();
        _seen.Text(name);
        Saw(OutputKind.ResolveName, _seen.Written);
        inner?.ResolveName(name);
    }

    /// <inheritdoc/>
    public void AnnounceName(string name, Address address)
    {
        _seen.Clear();
        _seen.Text(name);
        _seen.Address(address);
        Saw(OutputKind.AnnounceName, _seen.Written);
        inner?.AnnounceName(name, address);
    }

    /// <inheritdoc/>
    public void Reply(long command, Answer answer)
    {
        _seen.Clear();
        _seen.Number(command);
        OutputCodec.Write(_seen, answer);
        Saw(OutputKind.Reply, _seen.Written);
        inner?.Reply(command, answer);
    }

    /// <inheritdoc/>
    public void Refuse(long command, Mistake mistake)
    {
        _seen.Clear();
        _seen.Number(command);
        OutputCodec.Write(_seen, mistake);
        Saw(OutputKind.Refuse, _seen.Written);
        inner?.Refuse(command, mistake);
    }

    /// <inheritdoc/>
    public void Raise(Event happened)
    {
        _seen.Clear();
        OutputCodec.Write(_seen, happened);
        Saw(OutputKind.Raise, _seen.Written);
        inner?.Raise(happened);
    }

    /// <inheritdoc/>
    public void Deliver(int channel, bool text, ReadOnlyMemory<byte> payload)
    {
        _seen.Clear();
        _seen.Number(channel);
        _seen.Flag(text);
        _seen.Octets(payload.Span);
        Saw(OutputKind.Deliver, _seen.Written);
        inner?.Deliver(channel, text, payload);
    }

    /// <inheritdoc/>
    public void DeliverRtp(int transceiver, string rid, in RtpPacket packet)
    {
        _seen.Clear();
        _seen.Number(transceiver);
        _seen.Text(rid);
        MediaCodec.Write(_seen, packet);
        Saw(OutputKind.DeliverRtp, _seen.Written);
        inner?.DeliverRtp(transceiver, rid, packet);
    }

    /// <inheritdoc/>
    public void Ignored(Layer layer, Drop reason)
    {
        _seen.Clear();
        _seen.Number((int)layer);
        _seen.Number((int)reason);
        Saw(OutputKind.Ignored, _seen.Written);
        inner?.Ignored(layer, reason);
    }

    /// <inheritdoc/>
    public void Ended()
    {
        Saw(OutputKind.Ended, []);
        inner?.Ended();
    }
}
