using System.CommandLine;
using Hybrid.WebRtc.Benchmarks;
using Hybrid.WebRtc.Benchmarks.Ceiling;
using Hybrid.WebRtc.Benchmarks.Curve;
using Hybrid.WebRtc.Benchmarks.Plots;
using Hybrid.WebRtc.Benchmarks.Reports;
using Hybrid.WebRtc.Benchmarks.Steps;
using Hybrid.WebRtc.Benchmarks.Traffic;

return await new RootCommand(
    "What Hybrid WebRTC does in a second, both ends in this process, over real UDP on loopback."
)
{
    Options.Json,
    CeilingCommand.Create(),
    DataChannelCommand.Create(),
    MessageCommands.Small(),
    MessageCommands.Latency(),
    MediaCommands.Rtp(),
    MediaCommands.Forward(),
    SetUpCommand.Create(),
    HandshakeCommand.Create(),
    ConnectionsCommand.Create(),
    FloodCommand.Create(),
    FloodSource.Create(),
    CurveCommand.Create(),
    StepCommand.Create(),
    AllCommand.Create(),
    PlotsCommand.Create(),
}
    .Parse(args)
    .InvokeAsync();
