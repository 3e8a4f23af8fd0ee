using System.Diagnostics;
using Hybrid.WebRtc.Rtp;

namespace Hybrid.WebRtc.Benchmarks.Traffic;

/// <summary>
/// Packets written to a track as fast as those at the ends take them: so many are under way at most. Those are written from where the
/// last ones arrived, so no thread of the benchmark's own is woken in between.
/// </summary>
/// <param name="track">What is written to.</param>
/// <param name="ends">How often a packet arrives.</param>
/// <param name="window">Packets under way to one end at most.</param>
/// <param name="burst">Packets a write: those of a frame.</param>
internal sealed class PacketFlow(RtpTrack track, int ends, int window, int burst)
{
    /// <summary>Octets of a packet before it is sealed: header, the one header extension that is usual (mid), payload.</summary>
    public const int PacketSize = 1_200;

    private const int Headers = 20;

    /// <summary>What nothing has come of for so long is lost.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromMilliseconds(100);

    /// <summary>All 65,536 sequence numbers, made once: packets do not change when they have been written.</summary>
    private readonly RtpPacket[] _ring = Ring(burst);
    private readonly int _burst = burst;
    private readonly Lock _gate = new();
    private long _written;
    private long _arrived;
    private long _lost;
    private bool _flows;

    /// <summary>Packets written so far.</summary>
    public long Written => Volatile.Read(ref _written);

    /// <summary>Packets that have arrived, at all ends together.</summary>
    public long Arrived => Interlocked.Read(ref _arrived);

    /// <summary>Has a track's packets counted, and others written for them.</summary>
    public IDisposable Count(RemoteTrack end) =>
        end.Packets.Subscribe(packets =>
        {
            Interlocked.Add(ref _arrived, packets.Packets.Length);
            Fill();
        });

    /// <summary>Sends for a while.</summary>
    public async Task RunAsync(TimeSpan time, CancellationToken stop)
    {
        var began = Stopwatch.GetTimestamp();
        Volatile.Write(ref _flows, true);
        Fill();
        var (before, at) = (Arrived, began);
        while (Stopwatch.GetElapsedTime(began) < time)
        {
            await Task.Delay(20, stop);
            if (Arrived != before)
                (before, at) = (Arrived, Stopwatch.GetTimestamp());
            else if (Stopwatch.GetElapsedTime(at) > _patience)
                GiveUp();
        }
        Volatile.Write(ref _flows, false);
    }

    /// <summary>Waits until all has arrived that will.</summary>
    public async Task SettleAsync(CancellationToken stop)
    {
        for (long before = -1; Arrived < Written * ends && before != Arrived; )
        {
            before = Arrived;
            await Task.Delay(_patience, stop);
        }
    }

    private void GiveUp()
    {
        lock (_gate)
            _lost = (_written * ends) - Arrived;
        Fill();
    }

    private void Fill()
    {
        // Who is filling does so for the others, too.
        if (!Volatile.Read(ref _flows) || UnderWay > (long)ends * (window - _burst) || !_gate.TryEnter())
            return;

        try
        {
            while (Volatile.Read(ref _flows) && UnderWay <= (long)ends * (window - _burst))
            {
                track.Write(_ring.AsMemory((int)(_written & 0xFFFF), _burst));
                Volatile.Write(ref _written, _written + _burst);
            }
        }
        finally
        {
            _gate.Exit();
        }
    }

    private long UnderWay => (Written * ends) - Arrived - Volatile.Read(ref _lost);

    private static RtpPacket[] Ring(int burst)
    {
        var payload = new byte[PacketSize - Headers];
        Random.Shared.NextBytes(payload);
        var ring = new RtpPacket[65_536];
        for (var i = 0; i < ring.Length; i++)
            ring[i] = RtpPacket.Create(
                PayloadType,
                marker: i % burst == burst - 1,
                (ushort)i,
                (uint)(i / burst * 3_000),
                payload
            );
        return ring;
    }

    /// <summary>Any: the track says what the codec is.</summary>
    private const byte PayloadType = 96;

    /// <summary>A track that all is written to.</summary>
    public static RtpTrack Track() =>
        new(MediaKind.Video, new RTCRtpCodec { MimeType = "video/VP8", ClockRate = 90_000 });
}
