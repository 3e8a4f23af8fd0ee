// A file from one terminal to another, peer to peer. The two find each other over HTTP, or by copy and paste:
//
//   FileTransfer receive --into DIR --listen 8081            FileTransfer send FILE --to http://127.0.0.1:8081
//   FileTransfer receive --into DIR                          FileTransfer send FILE
//
// Each ends with 0 once the file has arrived and its hash is right, and with 1 when not.

using System.CommandLine;
using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;
using Spectre.Console;

var file = new Argument<FileInfo>("file") { Description = "The file to send." };
file.AcceptExistingOnly();
var to = new Option<Uri?>("--to")
{
    Description = "Where the receiver listens, such as http://127.0.0.1:8081. Without it: copy and paste.",
    CustomParser = result =>
    {
        if (
            Uri.TryCreate(result.Tokens.Single().Value, UriKind.Absolute, out var url)
            && url.Scheme is ("http" or "https")
        )
            return url;
        result.AddError("--to takes an http:// address.");
        return null;
    },
};
var send = new Command("send", "Sends a file.") { file, to };

var into = new Option<DirectoryInfo>("--into")
{
    Description = "The directory for the file.",
    DefaultValueFactory = _ => new DirectoryInfo("."),
};
var listen = new Option<int?>("--listen")
{
    Description = "Waits for the sender on this HTTP port. Without it: copy and paste.",
};
var any = new Option<bool>("--any-interface") { Description = "Listens on every interface, not on 127.0.0.1 alone." };
var receive = new Command("receive", "Receives one file.") { into, listen, any };

var stun = new Option<string[]>("--stun")
{
    Description = "A STUN server, such as stun:stun.example.org, for peers in different networks.",
    Recursive = true,
};

var command = new RootCommand("A file from one terminal to another, over WebRTC.") { send, receive, stun };

send.SetAction(
    (arguments, stop) =>
        RunAsync(async () =>
        {
            await using ISignalling signalling = arguments.GetValue(to) is { } url ? new HttpSender(url) : new Pasted();
            await new Sender(arguments.GetRequiredValue(file), Configuration(arguments)).RunAsync(signalling, stop);
        })
);

receive.SetAction(
    (arguments, stop) =>
        RunAsync(async () =>
        {
            await using ISignalling signalling = arguments.GetValue(listen) is { } port
                ? new HttpReceiver(port, arguments.GetValue(any))
                : new Pasted();
            await new Receiver(arguments.GetRequiredValue(into), Configuration(arguments)).RunAsync(signalling, stop);
        })
);

if (!AnsiConsole.Profile.Out.IsTerminal)
    AnsiConsole.Profile.Width = 160;

return await command.Parse(args).InvokeAsync();

RTCConfiguration Configuration(ParseResult arguments) =>
    arguments.GetValue(stun) is { Length: > 0 } urls
        ? new RTCConfiguration { IceServers = [new RTCIceServer(urls)] }
        : new RTCConfiguration();

static async Task<int> RunAsync(Func<Task> transfer)
{
    try
    {
        await transfer();
        return 0;
    }
    catch (Exception e) when (e is TransferException or RTCException or IOException or HttpRequestException)
    {
        AnsiConsole.MarkupLineInterpolated($"[red]Failed:[/] {e.Message}");
        return 1;
    }
}
