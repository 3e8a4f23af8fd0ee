using System.CommandLine;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack;

namespace Hybrid.WebRtc.Benchmarks;

/// <summary>How the connections of a scenario are made. What the command line says becomes what the library is told here, and nowhere else.</summary>
internal sealed record Setting
{
    /// <summary>Whether the portable port is forced; else the best that the system has.</summary>
    public bool Portable { get; init; }

    /// <summary>Whether the platform's ciphers are forced; else the fastest that the processor has.</summary>
    public bool PlatformCiphers { get; init; }

    /// <summary>The largest UDP payload sent, octets; null: the library's default.</summary>
    public int? Datagram { get; init; }

    /// <summary>Both ends on loopback.</summary>
    public WebRtcOptions ToOptions()
    {
        var options = new WebRtcOptions
        {
            IncludeLoopback = true,
            Sockets = Portable ? WebRtcSockets.Portable : WebRtcSockets.Automatic,
            Ciphers = PlatformCiphers ? WebRtcCiphers.Platform : WebRtcCiphers.Automatic,
        };
        // A size that was asked for is kept to: nothing larger is looked for.
        return Datagram is { } octets ? options with { MaxDatagramSize = octets, MtuDiscoveryLimit = octets } : options;
    }

    /// <summary>The ciphers of scenarios that need no connection.</summary>
    public ICiphers Ciphers => SystemCiphers.Of(PlatformCiphers ? CipherChoice.Platform : CipherChoice.Automatic);
}

/// <summary>The options that several scenarios share.</summary>
internal static class Options
{
    public static Option<bool> Json { get; } =
        new("--json") { Description = "One line of JSON instead of a table.", Recursive = true };

    public static Option<double> Seconds(double usual) =>
        Within("--seconds", "How long to measure.", usual, 0.1, 3600.0);

    public static Option<int> Size(int usual) => Within("--size", "Octets a message.", usual, 1, 262_144);

    public static Option<int> Datagram() =>
        Within("--datagram", "The largest UDP payload, octets. Default: the library's.", 0, 576, 65_507);

    public static Option<string> Port() => Among("--port", "Which port carries the datagrams.", "batched", "portable");

    public static Option<string> Ciphers() => Among("--ciphers", "Who encrypts.", "intrinsic", "platform");

    /// <summary>A number with bounds; its default need not lie within them.</summary>
    public static Option<T> Within<T>(string name, string description, T usual, T least, T most)
        where T : IComparable<T>
    {
        var option = new Option<T>(name)
        {
            Description = $"{description} From {least} to {most}.",
            DefaultValueFactory = _ => usual,
        };
        option.Validators.Add(result =>
        {
            if (
                result is { Implicit: false }
                && result.GetValue(option) is { } value
                && (value.CompareTo(least) < 0 || value.CompareTo(most) > 0)
            )
                result.AddError($"{name} must be from {least} to {most}.");
        });
        return option;
    }

    private static Option<string> Among(string name, string description, string usual, string other)
    {
        var option = new Option<string>(name)
        {
            Description = $"{description} {usual} or {other}; {usual} falls back where the machine cannot.",
            DefaultValueFactory = _ => usual,
        };
        option.AcceptOnlyFromAmong(usual, other);
        return option;
    }

    /// <summary>What was asked for; options that a command lacks keep their defaults.</summary>
    public static Setting ToSetting(
        this ParseResult arguments,
        Option<string>? port = null,
        Option<string>? ciphers = null,
        Option<int>? datagram = null
    ) =>
        new()
        {
            Portable = port is not null && arguments.GetValue(port) == "portable",
            PlatformCiphers = ciphers is not null && arguments.GetValue(ciphers) == "platform",
            Datagram = datagram is not null && arguments.GetValue(datagram) is > 0 and var octets ? octets : null,
        };

    /// <summary>How long a scenario measures, in time.</summary>
    public static TimeSpan Time(this ParseResult arguments, Option<double> seconds) =>
        TimeSpan.FromSeconds(arguments.GetValue(seconds));
}
