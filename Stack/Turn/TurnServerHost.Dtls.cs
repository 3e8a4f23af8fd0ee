using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Turn;
using Hybrid.WebRtc.Stack.Ports;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack.Turn;

/// <content>Its clients that come by DTLS: the core's machine in front of the server's.</content>
internal sealed partial class TurnServerHost
{
    private readonly HashSet<int> _dtlsPorts = [];

    /// <summary>Null where no listener speaks DTLS.</summary>
    private DtlsClients.State? _dtls;

    private long DtlsDeadline => _dtls is { } clients ? DtlsClients.Deadline(clients) : long.MaxValue;

    private DtlsClients.State? NewDtls()
    {
        if (_dtlsPorts.Count == 0)
            return null;

        var (leaf, chain) = Shown();
        return DtlsClients.Create(
            RandomNumberGenerator.GetBytes(EntropyModule.SeedSize),
            new DtlsClientsConfig(
                SystemCiphers.Shared,
                chain,
                Certificate.From(leaf).Key,
                _settings.MaxConnections,
                (long)_settings.ConnectionPatience.TotalMicroseconds
            )
        );
    }

    /// <summary>The certificate that is shown, and with it those that lead to an authority.</summary>
    private (X509Certificate2 Leaf, byte[][] Chain) Shown()
    {
        if (_settings.Tls?.ServerCertificateContext is { } context)
            return (
                context.TargetCertificate,
                [context.TargetCertificate.RawData, .. context.IntermediateCertificates.Select(c => c.RawData)]
            );

        return _settings.Tls?.ServerCertificate is X509Certificate2 leaf
            ? (leaf, [leaf.RawData])
            : throw new ArgumentException("A listener that speaks DTLS needs a certificate with its private key.");
    }

    /// <summary>Steps the clients; what they say goes on to the server.</summary>
    private void FeedDtls(long now, DtlsClients.Input input)
    {
        if (_over || _dtls is null)
            return;

        Loop.Touch(_seat);

        try
        {
            (_dtls, var outputs) = DtlsClients.Step(now, input, _dtls);

            foreach (var output in outputs)
            {
                switch (output)
                {
                    case DtlsClients.Output.Data data:
                        Feed(now, TurnServerInput.NewReceived(data.Client, data.Bytes));
                        break;
                    case DtlsClients.Output.Transmit sent when _ports[sent.Client.Local] is { } port:
                        port.Commit(sent.Datagram.Write(port.Reserve(sent.Client.Remote, sent.Datagram.Size)));
                        break;
                    case DtlsClients.Output.Challenge sent when _ports[sent.Client.Local] is { } port:
                        sent.Datagram.CopyTo(port.Reserve(sent.Client.Remote, sent.Datagram.Length));
                        port.Commit(sent.Datagram.Length);
                        break;
                    case DtlsClients.Output.Gone gone:
                        Feed(now, TurnServerInput.NewDisconnected(gone.Client));
                        break;
                    case DtlsClients.Output.Ignored ignored:
                        TurnTelemetry.Ignored(ignored.Item);
                        break;
                }
            }
        }
        catch (Exception bug)
        {
            Loop.Evict(_seat, bug);
        }
    }

    private void Holds(Path client, bool allocation)
    {
        if (_dtls is not null && _dtlsPorts.Contains(client.Local))
            (_dtls, _) = DtlsClients.Step(Loop.Now, DtlsClients.Input.NewHolds(client, allocation), _dtls);
    }

    /// <summary>Writes a packet into a record in place; false where there is no connection.</summary>
    private bool TransmitSealed(Path client, TurnPacket packet, int size)
    {
        if (_dtls is null || _ports[client.Local] is not { } port)
            return false;

        (var leave, _dtls) = DtlsClients.Seal(Loop.Now, client, _dtls);

        if (!leave.IsSome)
            return false;

        var seal = leave.Value;
        var record = port.Reserve(client.Remote, size + seal.Overhead);
        port.Commit(seal.Write(record, packet.Write(record[seal.PlaintextOffset..])));
        return true;
    }
}
