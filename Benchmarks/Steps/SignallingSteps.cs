using Hybrid.WebRtc.Core;
using Microsoft.FSharp.Core;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>Data channels over an association that is up.</summary>
internal static class ChannelSteps
{
    /// <summary>WebRTC Binary, RFC 8831 §8.</summary>
    private const uint Binary = 53;

    public static ChannelInit Negotiated { get; } =
        new(
            "benchmark",
            "",
            ordered: true,
            maxPacketLifeTime: default,
            maxRetransmits: default,
            negotiated: true,
            id: FSharpValueOption<int>.NewValueSome(1),
            priority: Priority.Low
        );

    public static IEnumerable<Measured> Measure()
    {
        var (state, created) = Channels.step(0, Channels.Input.NewCreate(1, Negotiated), Channels.create(262_144));
        var handle = ((Channels.Output.Created)created.Head).Info.Handle;
        (state, _) = Channels.step(0, Channels.Input.NewEstablished(Channels.Parity.Even, 65_535), state);
        var payload = new byte[100];

        yield return Meter.Repeat(
            "channelSend",
            "Channels: sending a message",
            () => Channels.step(0, Channels.Input.NewSend(handle, false, payload), state)
        );
        yield return Meter.Repeat(
            "channelDeliver",
            "Channels: delivering one",
            () => Channels.step(0, Channels.Input.NewReceived(1, Binary, payload), state)
        );
    }
}

/// <summary>A first offer.</summary>
internal static class JsepSteps
{
    public static IEnumerable<Measured> Measure()
    {
        var config = new Jsep.Config(
            Configurations.Default,
            [new Fingerprint("sha-256", new byte[32])],
            maxMessageSize: 262_144,
            sctpPort: 5000,
            renomination: true,
            iceLite: false,
            Capabilities.None
        );
        var (session, _) = Jsep.Step(Jsep.Input.NeedDataSection, Jsep.Create(config, EntropyModule.ofNumber(1)));

        yield return Meter.Repeat(
            "jsepCreateOffer",
            "JSEP: creating an offer",
            () => Jsep.Step(Jsep.Input.NewCreateOffer(1, false), session),
            times: 50
        );
    }
}
