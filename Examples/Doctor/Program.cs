// Why do connections stay in "checking"? Looks at this machine and its network as a connection would, and says what is in the way.
//
//   Doctor                                                          with public STUN servers
//   Doctor --stun stun:stun.example.org --turn turn:turn.example.org --turn turns:turn.example.org:443 --username alice --credential wonderland
//   Doctor … --json                                                 for a ticket, or for a program
//
// Ends with 0 where a call to the outside would work, with 1 where none would, with 2 where the arguments are wrong.

using System.CommandLine;
using Hybrid.WebRtc;
using Hybrid.WebRtc.Examples;
using Spectre.Console;

var stun = new Option<string[]>("--stun")
{
    Description = "A STUN server, stun:host:port. More than once: the more there are, the more is known.",
    DefaultValueFactory = _ => ["stun:stun.l.google.com:19302", "stun:stun.cloudflare.com:3478"],
};
var turn = new Option<string[]>("--turn")
{
    Description = "A TURN server: turn:host, turn:host?transport=tcp, turns:host:443. Each is tried by itself.",
};
var username = new Option<string?>("--username") { Description = "The name for the TURN servers." };
var credential = new Option<string?>("--credential") { Description = "Its password." };
var seconds = new Option<double>("--seconds")
{
    Description = "The longest that one TURN server is tried for.",
    DefaultValueFactory = _ => 20,
};
var loopback = new Option<bool>("--loopback") { Description = "Servers on this machine, too: for tests." };
var anyCertificate = new Option<bool>("--any-certificate")
{
    Description = "Accepts whatever certificate turns: servers show: for tests.",
};
var json = new Option<bool>("--json") { Description = "Prints what was found as JSON, and nothing else." };

var command = new RootCommand("Says why WebRTC connections do not come to be.")
{
    stun,
    turn,
    username,
    credential,
    seconds,
    loopback,
    anyCertificate,
    json,
};

command.SetAction(
    async (arguments, stop) =>
    {
        var examination = new Examination
        {
            Stun = arguments.GetValue(stun) ?? [],
            Turn = arguments.GetValue(turn) ?? [],
            Username = arguments.GetValue(username),
            Credential = arguments.GetValue(credential),
            Limit = TimeSpan.FromSeconds(arguments.GetValue(seconds)),
            Options = new WebRtcOptions
            {
                IncludeLoopback = arguments.GetValue(loopback),
                ServerCertificateValidation = arguments.GetValue(anyCertificate) ? (_, _, _, _) => true : null,
            },
        };

        try
        {
            var isJson = arguments.GetValue(json);
            var facts = isJson
                ? await examination.RunAsync(_ => { }, stop)
                : await AnsiConsole
                    .Status()
                    .StartAsync(
                        "Looking at this machine",
                        status => examination.RunAsync(step => status.Status(step), stop)
                    );
            var verdict = Verdict.Of(facts);

            if (isJson)
                Report.WriteJson(facts, verdict);
            else
                Report.Write(facts, verdict);

            return verdict.Works ? 0 : 1;
        }
        catch (RTCException e)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]{e.Name}:[/] {e.Message}");
            return 2;
        }
    }
);

return await command.Parse(args).InvokeAsync();
