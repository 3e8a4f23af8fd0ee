using System.Diagnostics;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>What one step costs: time is the best of many slices, octets allocated are exact.</summary>
internal sealed record Measured(string Step, string Label, double Nanoseconds, double Bytes)
{
    public Figure[] ToFigures() =>
        [
            new("step", "step", 0, Step),
            new("what", "what", 0, Label),
            new("nanoseconds", "ns", Nanoseconds),
            new("allocatedBytes", "bytes allocated", Bytes),
        ];
}

/// <summary>Adds up the time and the allocated octets of one kind of step, slice by slice.</summary>
internal sealed class Meter(string step, string label)
{
    private long _began;
    private long _allocatedBefore;
    private long _ticks;
    private long _bytes;
    private long _count;
    private double _best = double.MaxValue;
    private double _last;

    public Measured Result => new(step, label, _best, _last);

    public void Start()
    {
        _allocatedBefore = GC.GetAllocatedBytesForCurrentThread();
        _began = Stopwatch.GetTimestamp();
    }

    /// <param name="count">Steps since <see cref="Start"/>.</param>
    /// <param name="others">Octets allocated meanwhile that are not the machine's: a message's own.</param>
    public void Stop(int count, long others = 0)
    {
        _ticks += Stopwatch.GetTimestamp() - _began;
        _bytes += GC.GetAllocatedBytesForCurrentThread() - _allocatedBefore - others;
        _count += count;
    }

    /// <summary>The slice is over. The octets are those of the last slice, when all code has its last form.</summary>
    public void EndSlice()
    {
        if (_count > 0)
        {
            _best = Math.Min(_best, Stopwatch.GetElapsedTime(0, _ticks).TotalNanoseconds / _count);
            _last = (double)_bytes / _count;
        }

        (_ticks, _bytes, _count) = (0, 0, 0);
    }

    /// <summary>Measures a step that leads from one and the same state every time: states are values.</summary>
    public static Measured Repeat(string step, string label, Action work, int slices = 30, int times = 300)
    {
        var meter = new Meter(step, label);
        Warm(work);

        for (var slice = 0; slice < slices; slice++)
        {
            meter.Start();
            for (var i = 0; i < times; i++)
                work();
            meter.Stop(times);
            meter.EndSlice();
        }

        return meter.Result;
    }

    /// <summary>Until the JIT compiler has had its last word, which it says in the background.</summary>
    public static void Warm(Action work)
    {
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < TimeSpan.FromMilliseconds(400); )
            work();
    }
}
