using System.Diagnostics;
using System.Reactive.Linq;
using System.Reactive.Subjects;
using System.Reactive.Threading.Tasks;
using Spectre.Console;

namespace Hybrid.WebRtc.Demo;

/// <summary>Two peer connections in this process, over real UDP sockets: how soon they are connected, and what they move.</summary>
internal static class TwoPeers
{
    private const int MessageSize = 64 * 1024;
    private static readonly TimeSpan _bulk = TimeSpan.FromSeconds(1);

    /// <summary>Whether they met; if not, it has said why.</summary>
    public static async Task<bool> MeetAsync(CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(TimeSpan.FromSeconds(20));

        try
        {
            AnsiConsole.MarkupLine("[bold]Two .NET peers over UDP[/]");
            AnsiConsole.Write(await MeasureAsync(limit.Token));
            AnsiConsole.WriteLine();
            return true;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            AnsiConsole.MarkupLine("[red]They did not meet within 20 seconds.[/] Is UDP on this machine filtered?");
        }
        catch (RTCException e)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]They did not meet.[/] {e.Name}: {e.Message}");
        }

        return false;
    }

    private static async Task<Table> MeasureAsync(CancellationToken cancellation)
    {
        // A machine without a network still has its loopback interface; a browser would leave it out.
        var options = new WebRtcOptions { IncludeLoopback = true };
        var clock = Stopwatch.StartNew();

        await using var alice = new RTCPeerConnection(options: options);
        await using var bob = new RTCPeerConnection(options: options);

        var echo = alice.CreateDataChannel("echo");
        var bulk = alice.CreateDataChannel("bulk");
        using var arrived = new BehaviorSubject<long>(0);
        bob.OnDataChannel.Subscribe(e => Answer(e.Channel, arrived));

        await NegotiateAsync(alice, bob, cancellation);
        await Task.WhenAll(echo.WaitForOpenAsync(cancellation), bulk.WaitForOpenAsync(cancellation));
        var setUp = clock.Elapsed;

        var trips = await RoundTripsAsync(echo, 200, cancellation);
        var (bytes, time) = await BulkAsync(bulk, arrived, cancellation);

        var ice = alice.Sctp!.Transport.IceTransport;
        var pair = ice.GetSelectedCandidatePair()!;

        return new Table()
            .Border(TableBorder.None)
            .HideHeaders()
            .AddColumn(new TableColumn("").PadLeft(2).PadRight(4))
            .AddColumn(new TableColumn("").PadRight(4))
            .AddColumn("")
            .AddRow("set up", Milliseconds(setUp), "[grey]from nothing to two open channels: ICE, DTLS, SCTP[/]")
            .AddRow(
                "round trip",
                Milliseconds(trips[trips.Length / 2]),
                $"[grey]half of {trips.Length} were faster; 99 % took less than {Milliseconds(trips[trips.Length * 99 / 100])}[/]"
            )
            .AddRow(
                "moved",
                $"{bytes / 1e6:F0} MB",
                $"[grey]in {time.TotalSeconds:F2} s, {bytes / 1e6 / time.TotalSeconds:F0} MB/s, in messages of {MessageSize / 1024} KiB[/]"
            )
            .AddRow(
                "path",
                Markup.Escape($"{pair.Local.Protocol}".ToUpperInvariant()),
                $"[grey]{Endpoint(pair.Local)} to {Endpoint(pair.Remote)}[/]"
            );
    }

    /// <summary>Bob sends back what comes on <c>echo</c>, and counts what comes on <c>bulk</c>.</summary>
    private static void Answer(RTCDataChannel channel, BehaviorSubject<long> arrived)
    {
        if (channel.Label == "echo")
            channel.OnMessage.Subscribe(message => channel.Send(message.Data));
        else
            channel.OnMessage.Subscribe(message => arrived.OnNext(arrived.Value + message.Data.Length));
    }

    /// <summary>
    /// One offer, one answer. Both are exchanged once they hold all candidates: with no server to ask, that takes milliseconds.
    /// </summary>
    private static async Task NegotiateAsync(
        RTCPeerConnection alice,
        RTCPeerConnection bob,
        CancellationToken cancellation
    )
    {
        await alice.SetLocalDescriptionAsync();
        await alice.GatheringCompleteAsync(cancellation);
        await bob.SetRemoteDescriptionAsync(alice.LocalDescription!);
        await bob.SetLocalDescriptionAsync();
        await bob.GatheringCompleteAsync(cancellation);
        await alice.SetRemoteDescriptionAsync(bob.LocalDescription!);
    }

    private static async Task<TimeSpan[]> RoundTripsAsync(
        RTCDataChannel echo,
        int count,
        CancellationToken cancellation
    )
    {
        var message = new byte[100];
        var trips = new TimeSpan[count];
        var back = new SemaphoreSlim(0);
        using var subscription = echo.OnMessage.Subscribe(_ => back.Release());

        for (var i = 0; i < count; i++)
        {
            var sent = Stopwatch.GetTimestamp();
            echo.Send(message);
            await back.WaitAsync(cancellation);
            trips[i] = Stopwatch.GetElapsedTime(sent);
        }

        Array.Sort(trips);
        return trips;
    }

    private static async Task<(long Bytes, TimeSpan Time)> BulkAsync(
        RTCDataChannel bulk,
        BehaviorSubject<long> arrived,
        CancellationToken cancellation
    )
    {
        var message = new byte[MessageSize];
        var clock = Stopwatch.StartNew();
        long sent = 0;

        for (; clock.Elapsed < _bulk; sent += message.Length)
            await bulk.SendAsync(message, cancellation); // waits for room in the send buffer

        await arrived.FirstAsync(bytes => bytes >= sent).ToTask(cancellation);
        return (sent, clock.Elapsed);
    }

    private static string Milliseconds(TimeSpan time) =>
        time.TotalMilliseconds < 10 ? $"{time.TotalMilliseconds:F2} ms" : $"{time.TotalMilliseconds:F0} ms";

    private static string Endpoint(RTCIceCandidate candidate) => Markup.Escape($"{candidate.Address}:{candidate.Port}");
}
