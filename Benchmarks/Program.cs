using System.CommandLine;
using Hybrid.WebRtc.Benchmarks;

var command = new RootCommand(
    "What Hybrid WebRTC does in a second, both ends in this process, over real UDP on loopback."
);
var json = new Option<bool>("--json") { Description = "One line of JSON instead of a table.", Recursive = true };
command.Add(json);

command.Add(Scenarios.DataChannel(json));
command.Add(Scenarios.Latency(json));
command.Add(Scenarios.Small(json));
command.Add(Scenarios.SetUp(json));

return await command.Parse(args).InvokeAsync();
