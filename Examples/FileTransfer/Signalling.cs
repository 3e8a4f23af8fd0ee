using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Spectre.Console;

namespace Hybrid.WebRtc.Examples;

/// <summary>
/// How two peers exchange an offer for an answer. Each description holds all of its side's candidates, so one message each way is
/// enough, and even a person can carry it.
/// </summary>
internal interface ISignalling : IAsyncDisposable
{
    /// <summary>The offering side: gives the offer, gets the answer.</summary>
    Task<RTCSessionDescription> OfferAsync(RTCSessionDescription offer, CancellationToken stop);

    /// <summary>The answering side: gets an offer, and gives what <paramref name="answer"/> makes of it.</summary>
    Task AnswerAsync(Func<RTCSessionDescription, Task<RTCSessionDescription>> answer, CancellationToken stop);
}

/// <summary>Copy and paste: a line of Base64 each way.</summary>
internal sealed class Pasted : ISignalling
{
    public async Task<RTCSessionDescription> OfferAsync(RTCSessionDescription offer, CancellationToken stop)
    {
        Show("Paste this into the receiver's terminal:", offer);
        return await AskAsync("Then paste what it answers here:", stop);
    }

    public async Task AnswerAsync(
        Func<RTCSessionDescription, Task<RTCSessionDescription>> answer,
        CancellationToken stop
    )
    {
        var offer = await AskAsync("Paste what the sender shows:", stop);
        Show("Paste this into the sender's terminal:", await answer(offer));
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static void Show(string what, RTCSessionDescription description)
    {
        AnsiConsole.MarkupLineInterpolated($"[bold]{what}[/]");
        // Past the console's line wrapping: it must stay one line.
        Console.Out.WriteLine(Convert.ToBase64String(Encoding.UTF8.GetBytes(description.ToJson())));
    }

    private static async Task<RTCSessionDescription> AskAsync(string what, CancellationToken stop)
    {
        AnsiConsole.MarkupLineInterpolated($"[bold]{what}[/]");

        try
        {
            var line = await Console.In.ReadLineAsync(stop) ?? throw new TransferException("Nothing was pasted.");
            return RTCSessionDescription.FromJson(Encoding.UTF8.GetString(Convert.FromBase64String(line.Trim())));
        }
        catch (Exception e) when (e is FormatException or JsonException)
        {
            throw new TransferException("That is not what the other terminal shows: copy the whole line.");
        }
    }
}

/// <summary>The sender's half of HTTP: the offer is the body of a POST, the answer its response.</summary>
internal sealed class HttpSender(Uri receiver) : ISignalling
{
    private readonly HttpClient _client = new() { Timeout = TimeSpan.FromSeconds(30) };

    public async Task<RTCSessionDescription> OfferAsync(RTCSessionDescription offer, CancellationToken stop)
    {
        using var body = new StringContent(offer.ToJson(), Encoding.UTF8, "application/json");
        using var response = await _client.PostAsync(receiver, body, stop);
        response.EnsureSuccessStatusCode();
        return RTCSessionDescription.FromJson(await response.Content.ReadAsStringAsync(stop));
    }

    public Task AnswerAsync(Func<RTCSessionDescription, Task<RTCSessionDescription>> answer, CancellationToken stop) =>
        throw new NotSupportedException("A sender offers.");

    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>The receiver's half: waits for one POST.</summary>
internal sealed class HttpReceiver : ISignalling
{
    private const int MaxOffer = 256 * 1024;
    private readonly HttpListener _listener = new();

    /// <param name="port">The TCP port; 0 for any that is free.</param>
    /// <param name="anyInterface">Every interface, not 127.0.0.1 alone.</param>
    public HttpReceiver(int port, bool anyInterface)
    {
        port = port == 0 ? FreePort() : port;
        var url = $"http://{(anyInterface ? "+" : "127.0.0.1")}:{port}/";
        _listener.Prefixes.Add(url);

        try
        {
            _listener.Start();
        }
        catch (HttpListenerException e)
        {
            throw new TransferException($"Port {port} cannot be used: {e.Message}");
        }

        AnsiConsole.MarkupLineInterpolated($"Waiting for a sender on {url}");
    }

    public Task<RTCSessionDescription> OfferAsync(RTCSessionDescription offer, CancellationToken stop) =>
        throw new NotSupportedException("A receiver answers.");

    public async Task AnswerAsync(
        Func<RTCSessionDescription, Task<RTCSessionDescription>> answer,
        CancellationToken stop
    )
    {
        while (true)
        {
            var context = await _listener.GetContextAsync().WaitAsync(stop);

            try
            {
                var offer = await ReadAsync(context.Request, stop);
                var body = Encoding.UTF8.GetBytes((await answer(offer)).ToJson());
                context.Response.ContentType = "application/json";
                await context.Response.OutputStream.WriteAsync(body, stop);
                context.Response.Close();
                return;
            }
            catch (Exception e) when (e is JsonException or RTCException)
            {
                // Whoever that was, it was no sender. The next one may be.
                context.Response.StatusCode = (int)HttpStatusCode.BadRequest;
                context.Response.Close();
            }
        }
    }

    public ValueTask DisposeAsync()
    {
        _listener.Close();
        return ValueTask.CompletedTask;
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    private static async Task<RTCSessionDescription> ReadAsync(HttpListenerRequest request, CancellationToken stop)
    {
        if (request.HttpMethod != "POST" || request.ContentLength64 is < 0 or > MaxOffer)
            throw new JsonException("An offer is POSTed.");

        using var reader = new StreamReader(request.InputStream, Encoding.UTF8);
        return RTCSessionDescription.FromJson(await reader.ReadToEndAsync(stop));
    }
}
