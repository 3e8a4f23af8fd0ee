using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Core.Stun;

namespace Hybrid.WebRtc.Stack.Names;

/// <summary>
/// Runs <see cref="NatDiscovery"/> with a socket of its own. It asks a few questions in a few seconds, so it needs neither a loop nor a
/// port of the data path.
/// </summary>
internal static class NatDiscoveryHost
{
    /// <summary>Asks these servers, all of one family, from one port.</summary>
    /// <returns>What was found, and the port's address.</returns>
    /// <exception cref="SocketException">There is no way to the first server: no address of that family, or no route.</exception>
    public static async Task<(NatBehaviour Found, IPEndPoint Local)> Run(
        Endpoint[] servers,
        TimeProvider time,
        CancellationToken cancellation
    )
    {
        using var socket = Bind(servers[0].ToNet());
        var local = (IPEndPoint)socket.LocalEndPoint!;
        var clock = new Clock(time);
        var state = NatDiscovery.Create(
            RandomNumberGenerator.GetBytes(EntropyModule.SeedSize),
            local.ToCore(),
            servers
        );
        var buffer = new byte[2048];
        var anyone = new IPEndPoint(
            local.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any,
            0
        );
        var receiving = socket.ReceiveFromAsync(buffer, anyone, cancellation).AsTask();
        NatBehaviour? found = null;

        Step(NatDiscoveryInput.Tick);

        while (found is null)
        {
            var wait = TimeSpan.FromMicroseconds(Math.Max(0, NatDiscovery.Deadline(state) - clock.Now));
            using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            var tick = Task.Delay(wait, time, over.Token);
            await Task.WhenAny(receiving, tick).ConfigureAwait(false);
            await over.CancelAsync().ConfigureAwait(false);
            cancellation.ThrowIfCancellationRequested();

            if (receiving.IsCompleted)
            {
                // ICMP errors of other servers are told by a receive on some platforms: they are silence.
                if (receiving.Status == TaskStatus.RanToCompletion)
                {
                    var (count, from) = (receiving.Result.ReceivedBytes, (IPEndPoint)receiving.Result.RemoteEndPoint);
                    Step(NatDiscoveryInput.NewReceived(from.ToCore(), buffer.AsMemory(0, count)));
                }
                receiving = socket.ReceiveFromAsync(buffer, anyone, cancellation).AsTask();
            }
            else
            {
                Step(NatDiscoveryInput.Tick);
            }
        }

        return (found, local);

        void Step(NatDiscoveryInput input)
        {
            var (next, outputs) = NatDiscovery.Step(clock.Now, input, state);
            state = next;

            foreach (var output in outputs)
            {
                switch (output)
                {
                    case NatDiscoveryOutput.Transmit transmit:
                        Send(socket, transmit);
                        break;
                    case NatDiscoveryOutput.Finished finished:
                        found = finished.Item;
                        break;
                }
            }
        }
    }

    /// <summary>On the address that packets to the server leave from: a socket that is bound to none does not know its own.</summary>
    private static Socket Bind(IPEndPoint server)
    {
        using var probe = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        probe.Connect(server);
        var socket = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);

        try
        {
            socket.Bind(new IPEndPoint(((IPEndPoint)probe.LocalEndPoint!).Address, 0));
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }

    private static void Send(Socket socket, NatDiscoveryOutput.Transmit transmit)
    {
        Span<byte> bytes = stackalloc byte[OutgoingModule.Size(transmit.Item2)];
        OutgoingModule.Write(SystemCiphers.Shared, bytes, transmit.Item2);

        try
        {
            socket.SendTo(bytes, transmit.To.ToNet());
        }
        catch (SocketException)
        {
            // No way to that one: it will be silent.
        }
    }
}
