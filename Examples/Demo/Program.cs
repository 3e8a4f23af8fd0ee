using System.CommandLine;
using Hybrid.WebRtc.Demo;
using Hybrid.WebRtc.Examples;
using Spectre.Console;

var port = Site.PortOption();
var noPage = new Option<bool>("--no-page") { Description = "End after the two .NET peers have met." };

var command = new RootCommand("Two .NET peers meet over UDP; then a page for your browser.") { port, noPage };
command.SetAction(
    async (arguments, cancellation) =>
    {
        if (!await TwoPeers.MeetAsync(cancellation))
            return 1;

        if (arguments.GetValue(noPage))
            return 0;

        var room = new Room();
        var site = new Site("Demo", "A browser and a .NET program, connected by WebRTC.")
        {
            Attend = visitor => new Attendant(visitor, room).RunAsync(),
        };
        return await site.ServeAsync(arguments.GetValue(port), cancellation);
    }
);

// A log or a pipe gets plain lines of a sensible width.
if (!AnsiConsole.Profile.Out.IsTerminal)
    AnsiConsole.Profile.Width = 100;

return await command.Parse(args).InvokeAsync();
