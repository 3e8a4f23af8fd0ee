using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Stack;
using Microsoft.FSharp.Reflection;

namespace Hybrid.WebRtc.Benchmarks;

/// <summary>SCTP associations of the core, made and fed from C#.</summary>
internal static class Associations
{
    /// <summary>An association of the core's defaults with another receive window, octets.</summary>
    public static SctpAssociation Create(long seed, int receiveWindow) =>
        Sctp.create(
            EntropyModule.ofNumber(seed),
            With(SctpConfigModule.create(SystemCiphers.Shared), nameof(SctpConfig.ReceiveWindow), receiveWindow)
        );

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

    /// <summary>An F# record with one field changed, which C# has no syntax for. Slow: for setting up.</summary>
    public static T With<T>(T record, string field, object value)
        where T : notnull
    {
        var fields = FSharpType.GetRecordFields(typeof(T), null);
        var values = FSharpValue.GetRecordFields(record, null);
        values[Array.FindIndex(fields, f => f.Name == field)] = value;
        return (T)FSharpValue.MakeRecord(typeof(T), values, null);
    }
}
