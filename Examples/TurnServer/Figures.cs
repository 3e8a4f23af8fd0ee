using System.Diagnostics.Metrics;

namespace Hybrid.WebRtc.Examples;

/// <summary>Listens to the library's meter, and says every few seconds what has changed.</summary>
internal sealed class Figures : IDisposable
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(5);

    private readonly MeterListener _listener = new();
    private long _allocations;
    private long _packets;
    private long _octets;
    private long _errors;

    public Figures()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (
                instrument.Meter.Name == "Hybrid.WebRtc"
                && instrument.Name.StartsWith("turn.", StringComparison.Ordinal)
            )
                listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>(Count);
        _listener.Start();
    }

    /// <summary>Tells until it is stopped.</summary>
    public async Task TellAsync(CancellationToken stop)
    {
        var last = "";
        using var timer = new PeriodicTimer(Every);

        while (await timer.WaitForNextTickAsync(stop))
        {
            var now = string.Create(
                System.Globalization.CultureInfo.InvariantCulture,
                $"allocations: {Volatile.Read(ref _allocations)}, relayed: {Volatile.Read(ref _packets)} packets, {Volatile.Read(ref _octets)} octets, errors: {Volatile.Read(ref _errors)}"
            );

            if (now != last)
                Console.WriteLine(now);

            last = now;
        }
    }

    public void Dispose() => _listener.Dispose();

    private void Count(Instrument instrument, long by, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state)
    {
        switch (instrument.Name)
        {
            case "turn.allocations":
                Interlocked.Add(ref _allocations, by);
                break;
            case "turn.packets":
                Interlocked.Add(ref _packets, by);
                break;
            case "turn.io":
                Interlocked.Add(ref _octets, by);
                break;
            case "turn.errors":
                Interlocked.Add(ref _errors, by);
                break;
        }
    }
}
