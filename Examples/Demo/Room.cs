using System.Collections.Concurrent;
using System.Text.Json;

namespace Hybrid.WebRtc.Demo;

/// <summary>The chat room of all open pages and the program, which relays, and answers a few commands.</summary>
internal sealed class Room
{
    private const string Program = "Program";
    private readonly ConcurrentDictionary<int, RTCDataChannel> _members = new();

    /// <summary>Joins a page's chat channel; <paramref name="stats"/> answers its <c>/stats</c>.</summary>
    public void Join(int page, RTCDataChannel channel, Func<Task<string>> stats)
    {
        // The messages end with the channel, whoever closed it: the page, the network, or we.
        channel.OnMessage.Subscribe(message => Hear(page, message.Text, stats), () => Leave(page));

        Tell(
            channel,
            Program,
            $"Hello, page {page}. What you write reaches every open page. /help lists what I answer."
        );
        Broadcast(page, Program, $"Page {page} has joined.");
        _members[page] = channel;
    }

    private void Leave(int page)
    {
        if (_members.TryRemove(page, out _))
            Broadcast(page, Program, $"Page {page} has left.");
    }

    private async void Hear(int page, string? message, Func<Task<string>> stats)
    {
        if (!_members.TryGetValue(page, out var channel) || Read(message) is not { } text)
            return;

        if (!text.StartsWith('/'))
        {
            Broadcast(page, $"Page {page}", text);
            if (_members.Count == 1)
                Tell(channel, Program, "Read. You are the only page here: open a second tab, and it will read along.");
            return;
        }

        Tell(
            channel,
            Program,
            text switch
            {
                "/time" => $"It is {DateTime.Now:HH:mm:ss.fff} here.",
                "/who" => $"Open pages: {string.Join(", ", _members.Keys.Order())}.",
                "/stats" => await stats(),
                _ => "/time  my clock\n/who  the open pages\n/stats  the connection, as I see it",
            }
        );
    }

    /// <summary>The text of a message; null where it is none of ours.</summary>
    private static string? Read(string? message)
    {
        try
        {
            var text = message is null ? null : JsonSerializer.Deserialize(message, Json.Default.ChatLine)?.Text;
            return text is { Length: > 0 and <= 2000 } ? text : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private void Broadcast(int except, string from, string text)
    {
        foreach (var (page, channel) in _members)
        {
            if (page != except)
                Tell(channel, from, text);
        }
    }

    private static void Tell(RTCDataChannel channel, string from, string text)
    {
        try
        {
            channel.Send(JsonSerializer.Serialize(new ChatLine(from, text), Json.Default.ChatLine));
        }
        catch (RTCException)
        {
            // The page is just closing, or does not read: it misses the line.
        }
    }
}
