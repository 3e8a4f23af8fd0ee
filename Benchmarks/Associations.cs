using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack;
using Microsoft.FSharp.Reflection;

namespace Hybrid.WebRtc.Benchmarks;

/// <summary>SCTP associations of the core, made and fed from C#.</summary>
internal static class Associations
{
    /// <summary>An association of the core's defaults.</summary>
    /// <param name="seed">The same seed makes the same association.</param>
    /// <param name="receiveWindow">Octets, however little the peer sends at first; null: the default.</param>
    public static SctpAssociation Create(long seed, int? receiveWindow = null)
    {
        var config = SctpConfigModule.create(SystemCiphers.Shared);
        if (receiveWindow is { } octets)
            config = With(config, octets, "ReceiveWindow", "MaxReceiveWindow");
        return Sctp.create(EntropyModule.ofNumber(seed), config);
    }

    /// <summary>A reliable, ordered message of octets on stream 1.</summary>
    public static SctpInput Send(ReadOnlyMemory<byte> payload, ushort stream = 1) =>
        SctpInput.NewSend(
            new OutgoingMessage(
                stream,
                ppid: 53,
                ordered: true,
                reliability: Reliability.Reliable,
                priority: 256,
                payload
            )
        );

    /// <summary>An F# record with some fields changed, which C# has no syntax for. Slow: for setting up.</summary>
    private static T With<T>(T record, object value, params string[] names)
        where T : notnull
    {
        var fields = FSharpType.GetRecordFields(typeof(T), null);
        var values = FSharpValue.GetRecordFields(record, null);
        for (var i = 0; i < fields.Length; i++)
        {
            if (names.Contains(fields[i].Name))
                values[i] = value;
        }

        return (T)FSharpValue.MakeRecord(typeof(T), values, null);
    }
}
