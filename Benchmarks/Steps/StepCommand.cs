using System.CommandLine;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>The price of the core's steps. Octets allocated are exact, and bounded by a test; times are for people.</summary>
internal static class StepCommand
{
    public static Command Create()
    {
        var ciphers = Options.Ciphers();
        var command = new Command("step", "Nanoseconds and bytes allocated of each machine's steps.") { ciphers };
        command.SetAction(arguments =>
            new Report("step")
                .With("steps", "a step", [.. Measure(arguments.ToSetting(ciphers: ciphers)).Select(m => m.ToFigures())])
                .Print(arguments.GetValue(Options.Json))
        );
        return command;
    }

    public static IReadOnlyList<Measured> Measure(Setting setting) =>
        [
            .. SctpSteps.Measure(),
            .. SackSteps.Measure(),
            .. DtlsSteps.Measure(setting),
            .. SrtpSteps.Measure(setting),
            .. IceSteps.Measure(setting),
            .. ChannelSteps.Measure(),
            .. JsepSteps.Measure(),
            .. PeerSteps.Measure(setting),
        ];
}
