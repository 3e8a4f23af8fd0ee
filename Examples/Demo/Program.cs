using System.CommandLine;
using Hybrid.WebRtc.Demo;
using Spectre.Console;

var port = new Option<int>("--port")
{
    Description = "The TCP port of the page, on 127.0.0.1 only.",
    DefaultValueFactory = _ => 8080,
};
port.Validators.Add(result =>
{
    if (result.GetValue(port) is < 0 or > 65535)
        result.AddError("--port must be from 0 (any free one) to 65535.");
});

var noPage = new Option<bool>("--no-page") { Description = "End after the two .NET peers have met." };

var command = new RootCommand("Two .NET peers meet over UDP; then a page for your browser.") { port, noPage };
command.SetAction(
    async (arguments, cancellation) =>
    {
        if (!await TwoPeers.MeetAsync(cancellation))
            return 1;

        return arguments.GetValue(noPage) ? 0 : await Page.ServeAsync(arguments.GetValue(port), cancellation);
    }
);

// A log or a pipe gets plain lines of a sensible width.
if (!AnsiConsole.Profile.Out.IsTerminal)
    AnsiConsole.Profile.Width = 100;

return await command.Parse(args).InvokeAsync();
