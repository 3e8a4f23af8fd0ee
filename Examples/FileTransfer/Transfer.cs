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

/// <summary>A peer connection for one file, and a token that is cancelled when it is lost.</summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly CancellationToken _stop;
    private readonly CancellationTokenSource _lost;

    public Link(RTCConfiguration configuration, CancellationToken stop)
    {
        _stop = stop;
        _lost = CancellationTokenSource.CreateLinkedTokenSource(stop);
        // Loopback: both terminals may be on one machine that has no network.
        Peer = new RTCPeerConnection(configuration, new WebRtcOptions { IncludeLoopback = true });
        Peer.OnConnectionStateChange.Where(s => s == RTCPeerConnectionState.Failed).Subscribe(_ => _lost.Cancel());
    }

    public RTCPeerConnection Peer { get; }

    /// <summary>Cancelled by the user, or by the loss of the connection.</summary>
    public CancellationToken Token => _lost.Token;

    /// <summary>A channel that the other side closed means that it has gone.</summary>
    public void Watch(RTCDataChannel channel) => channel.OnClose.Subscribe(_ => _lost.Cancel());

    /// <summary>Runs the transfer; says "lost" where that is why it was cancelled.</summary>
    public async Task<T> RunAsync<T>(Func<Task<T>> transfer)
    {
        try
        {
            return await transfer();
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            throw new TransferException("The connection was lost.");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Peer.DisposeAsync();
        _lost.Dispose();
    }
}

/// <summary>Sends a file, and is done when the receiver has confirmed its hash.</summary>
internal sealed class Sender(FileInfo file, RTCConfiguration configuration)
{
    private const int MessageSize = 64 * 1024;
    private static readonly TimeSpan _connectWithin = TimeSpan.FromSeconds(30);

    public async Task RunAsync(ISignalling signalling, CancellationToken stop)
    {
        await using var link = new Link(configuration, stop);
        var hash = await link.RunAsync(() => TransferAsync(link, signalling));
        AnsiConsole.MarkupLineInterpolated($"[green]Sent.[/] SHA-256 {hash}, confirmed by the receiver.");
    }

    private async Task<string> TransferAsync(Link link, ISignalling signalling)
    {
        var peer = link.Peer;
        var channel = peer.CreateDataChannel("file");
        link.Watch(channel);

        await peer.SetLocalDescriptionAsync();
        await peer.GatheringCompleteAsync(link.Token);
        await peer.SetRemoteDescriptionAsync(await signalling.OfferAsync(peer.LocalDescription!, link.Token));
        await OpenAsync(channel, link.Token);

        var confirmed = channel.OnMessage.FirstAsync().ToTask(link.Token);
        var hash = await SendAsync(channel, link.Token);
        var theirs = JsonSerializer.Deserialize((await confirmed).Text ?? "{}", Json.Default.Trailer)?.Sha256;

        return theirs == hash
            ? hash
            : throw new TransferException($"It arrived changed: SHA-256 {hash} here, {theirs} there.");
    }

    private static async Task OpenAsync(RTCDataChannel channel, CancellationToken stop)
    {
        try
        {
            await channel.WaitForOpenAsync(stop).WaitAsync(_connectWithin, stop);
        }
        catch (TimeoutException)
        {
            throw new TransferException(
                $"No connection within {_connectWithin.TotalSeconds} s. In different networks both sides need --stun."
            );
        }
    }

    private async Task<string> SendAsync(RTCDataChannel channel, CancellationToken stop)
    {
        await using var content = file.OpenRead();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var size = content.Length;
        await channel.SendAsync(JsonSerializer.Serialize(new Header(file.Name, size), Json.Default.Header), stop);

        await Bar.ShowAsync(
            file.Name,
            size,
            async progress =>
            {
                var buffer = new byte[MessageSize];

                while (await content.ReadAsync(buffer, stop) is > 0 and var read)
                {
                    hash.AppendData(buffer, 0, read);
                    await channel.SendAsync(buffer.AsMemory(0, read), stop); // waits while the network is behind
                    progress(read);
                }
            }
        );

        var sha256 = Convert.ToHexStringLower(hash.GetHashAndReset());
        await channel.SendAsync(JsonSerializer.Serialize(new Trailer(sha256), Json.Default.Trailer), stop);
        return sha256;
    }
}

/// <summary>Receives one file. It appears under its name only once its hash is right.</summary>
internal sealed class Receiver(DirectoryInfo into, RTCConfiguration configuration)
{
    public async Task RunAsync(ISignalling signalling, CancellationToken stop)
    {
        await using var link = new Link(configuration, stop);
        var path = await link.RunAsync(() => TransferAsync(link, signalling));
        AnsiConsole.MarkupLineInterpolated($"[green]Received[/] {path}, its SHA-256 is the sender's.");

        // The sender goes first, once it has our confirmation; were we to go now, that could be lost.
        await Task.Delay(TimeSpan.FromSeconds(2), link.Token).ContinueWith(_ => { }, TaskScheduler.Default);
    }

    private async Task<string> TransferAsync(Link link, ISignalling signalling)
    {
        var arrived = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        link.Peer.OnDataChannel.Take(1)
            .Subscribe(e =>
            {
                Listen(e.Channel, arrived);
                link.Watch(e.Channel);
            });

        await signalling.AnswerAsync(
            async offer =>
            {
                await link.Peer.SetRemoteDescriptionAsync(offer);
                await link.Peer.SetLocalDescriptionAsync();
                await link.Peer.GatheringCompleteAsync(link.Token);
                return link.Peer.LocalDescription!;
            },
            link.Token
        );

        return await arrived.Task.WaitAsync(link.Token);
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
                    arrived.TrySetResult(file.Path);
                    channel.Send(JsonSerializer.Serialize(new Trailer(sha256), Json.Default.Trailer));
                }
            }
            catch (Exception e)
                when (e
                        is TransferException
                            or IOException
                            or UnauthorizedAccessException
                            or JsonException
                            or RTCException
                )
            {
                file?.Dispose();
                arrived.TrySetException(new TransferException(e.Message));
                channel.Close();
            }
        });
    }
}

/// <summary>A progress bar for one file.</summary>
internal static class Bar
{
    /// <param name="name">The file's.</param>
    /// <param name="size">Octets in all.</param>
    /// <param name="work">Is given what to call with the octets done since the last call.</param>
    public static Task ShowAsync(string name, long size, Func<Action<long>, Task> work) =>
        AnsiConsole
            .Progress()
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left },
                new ProgressBarColumn(),
                new PercentageColumn(),
                new TransferSpeedColumn(),
                new RemainingTimeColumn()
            )
            .StartAsync(async bars =>
            {
                var bar = bars.AddTask(Markup.Escape(name), maxValue: Math.Max(1, size));
                await work(done => bar.Increment(done));
                bar.Value = bar.MaxValue;
            });
}
