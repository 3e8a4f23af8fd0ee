using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>A transfer that cannot go on; the message is for the user.</summary>
internal sealed class TransferException(string message) : Exception(message);

/// <summary>The sender's first message.</summary>
internal sealed record Header(string Name, long Size);

/// <summary>The sender's last message, and the receiver's answer to it: the hash of what was sent, and of what arrived.</summary>
internal sealed record Trailer(string Sha256);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(Header))]
[JsonSerializable(typeof(Trailer))]
internal sealed partial class Json : JsonSerializerContext;

/// <summary>What both sides have: a peer connection that reaches its peer on this machine too, and a progress bar.</summary>
internal abstract class Transfer(RTCConfiguration configuration)
{
    protected static readonly TimeSpan ConnectWithin = TimeSpan.FromSeconds(30);

    protected RTCPeerConnection Connect() => new(configuration, new WebRtcOptions { IncludeLoopback = true });

    /// <summary>Ends with an error as soon as the connection is lost.</summary>
    protected static Task LostAsync(RTCPeerConnection peer, CancellationToken stop) =>
        peer
            .OnConnectionStateChange.Where(s => s is RTCPeerConnectionState.Failed or RTCPeerConnectionState.Closed)
            .Take(1)
            .SelectMany(_ =>
                Observable.Throw<RTCPeerConnectionState>(new TransferException("The connection was lost."))
            )
            .ToTask(stop);

    protected static Progress Bar() =>
        AnsiConsole
            .Progress()
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left },
                new ProgressBarColumn(),
                new PercentageColumn(),
                new TransferSpeedColumn(),
                new RemainingTimeColumn()
            );
}

/// <summary>Sends a file, and is done when the receiver has confirmed its hash.</summary>
internal sealed class Sender(FileInfo file, RTCConfiguration configuration) : Transfer(configuration)
{
    private const int MessageSize = 64 * 1024;

    public async Task RunAsync(ISignalling signalling, CancellationToken stop)
    {
        await using var peer = Connect();
        await using var _ = signalling;
        var channel = peer.CreateDataChannel("file");
        var confirmed = channel.OnMessage.Where(m => m.IsText).FirstAsync().ToTask(stop);

        await peer.SetLocalDescriptionAsync();
        await peer.GatheringCompleteAsync(stop);
        var answer = await signalling.OfferAsync(peer.LocalDescription!, stop);
        await peer.SetRemoteDescriptionAsync(answer);
        var lost = LostAsync(peer, stop);
        await Either(OpenAsync(channel, stop), lost);

        var hash = await Either(SendAsync(channel, stop), lost);
        var theirs = JsonSerializer.Deserialize((await Either(confirmed, lost)).Text!, Json.Default.Trailer)?.Sha256;

        if (theirs != hash)
            throw new TransferException($"It arrived changed: SHA-256 {hash} here, {theirs} there.");

        AnsiConsole.MarkupLineInterpolated($"[green]Sent.[/] SHA-256 {hash}, confirmed by the receiver.");
    }

    private async Task<string> SendAsync(RTCDataChannel channel, CancellationToken stop)
    {
        await using var content = new FileStream(
            file.FullName,
            FileMode.Open,
            FileAccess.Read,
            FileShare.Read,
            0,
            useAsync: true
        );
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var size = content.Length;
        await channel.SendAsync(JsonSerializer.Serialize(new Header(file.Name, size), Json.Default.Header), stop);

        await Bar()
            .StartAsync(async bars =>
            {
                var bar = bars.AddTask(Markup.Escape(file.Name), maxValue: Math.Max(1, size));
                var buffer = new byte[MessageSize];

                while (await content.ReadAsync(buffer, stop) is > 0 and var read)
                {
                    hash.AppendData(buffer, 0, read);
                    await channel.SendAsync(buffer.AsMemory(0, read), stop); // waits while the network is behind
                    bar.Increment(read);
                }

                bar.Value = bar.MaxValue;
            });

        var sha256 = Convert.ToHexStringLower(hash.GetHashAndReset());
        await channel.SendAsync(JsonSerializer.Serialize(new Trailer(sha256), Json.Default.Trailer), stop);
        return sha256;
    }

    private static async Task OpenAsync(RTCDataChannel channel, CancellationToken stop)
    {
        try
        {
            await channel.WaitForOpenAsync(stop).WaitAsync(ConnectWithin, stop);
        }
        catch (TimeoutException)
        {
            throw new TransferException(
                $"No connection within {ConnectWithin.TotalSeconds} s. In different networks both sides need a --stun server."
            );
        }
    }

    private static async Task Either(Task work, Task lost) => await await Task.WhenAny(work, lost);

    private static async Task<T> Either<T>(Task<T> work, Task lost)
    {
        await Either((Task)work, lost);
        return await work;
    }
}

/// <summary>Receives one file. It appears under its name only once its hash is right.</summary>
internal sealed class Receiver(DirectoryInfo into, RTCConfiguration configuration) : Transfer(configuration)
{
    public async Task RunAsync(ISignalling signalling, CancellationToken stop)
    {
        await using var peer = Connect();
        var arrived = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var _ = peer.OnDataChannel.Take(1).Subscribe(e => Listen(e.Channel, arrived));

        await signalling.AnswerAsync(
            async offer =>
            {
                await peer.SetRemoteDescriptionAsync(offer);
                await peer.SetLocalDescriptionAsync();
                await peer.GatheringCompleteAsync(stop);
                return peer.LocalDescription!;
            },
            stop
        );

        var path = await await Task.WhenAny(arrived.Task, LostAsync(peer, stop).ContinueWith<string>(Rethrow, stop));
        AnsiConsole.MarkupLineInterpolated($"[green]Received[/] {path}, its SHA-256 is the sender's.");

        // The sender closes once it has our confirmation; to go sooner could lose it.
        await Task.WhenAny(LostAsync(peer, stop), Task.Delay(TimeSpan.FromSeconds(2), stop));
    }

    /// <summary>
    /// Takes the messages where they are notified, one after the other. The next one, and with it the sender, waits until the disk
    /// has this one: a slow disk slows the sender down instead of filling the memory.
    /// </summary>
    private void Listen(RTCDataChannel channel, TaskCompletionSource<string> arrived)
    {
        IncomingFile? file = null;

        channel.OnMessage.Subscribe(message =>
        {
            try
            {
                if (!message.IsText)
                    (file ?? throw new TransferException("The bytes came before the name.")).Write(message.Data.Span);
                else if (file is null)
                    file = IncomingFile.Begin(into, JsonSerializer.Deserialize(message.Text!, Json.Default.Header));
                else
                {
                    var sha256 = file.End(JsonSerializer.Deserialize(message.Text!, Json.Default.Trailer)?.Sha256);
                    channel.Send(JsonSerializer.Serialize(new Trailer(sha256), Json.Default.Trailer));
                    arrived.TrySetResult(file.Path);
                }
            }
            catch (Exception e)
                when (e is TransferException or IOException or UnauthorizedAccessException or JsonException)
            {
                file?.Dispose();
                arrived.TrySetException(new TransferException(e.Message));
                channel.Close();
            }
        });
    }

    private static string Rethrow(Task lost)
    {
        lost.GetAwaiter().GetResult();
        return "";
    }
}
