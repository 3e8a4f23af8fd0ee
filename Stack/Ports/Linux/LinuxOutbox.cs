using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>
/// Where a loop's packets are built, one behind the other, until the turn is over. Datagrams of one size that follow each other by
/// one port to one remote, the last of which may be shorter, are a run, and a run leaves as one send.
/// </summary>
internal sealed unsafe class LinuxOutbox
{
    /// <summary>UDP_MAX_SEGMENTS: with more the send is refused.</summary>
    public const int MaxSegments = 64;

    /// <summary>The largest UDP payload over IPv4, which a run may not exceed either.</summary>
    public const int MaxLength = 65_507;

    /// <summary>Room for a run to grow in and a packet to be built behind it; small enough to stay in the processor's cache.</summary>
    private const int Size = 2 * 65_536;

    private const int MaxRuns = 32;

    private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(Size, pinned: true);
    private readonly Run[] _runs = new Run[MaxRuns];
    private readonly LinuxSends _sends = new();

    private int _count;
    private int _end;

    /// <summary>Room for one datagram, right behind the last one.</summary>
    public Span<byte> Reserve(int size)
    {
        if (_end + size > Size)
            Flush();

        return _bytes.AsSpan(_end, size);
    }

    /// <summary>The datagram that was built in the room reserved last.</summary>
    public void Commit(LinuxUdpPort port, in Endpoint remote, int written)
    {
        if (_count == 0 || !_runs[_count - 1].Takes(port, remote, written))
        {
            if (_count == MaxRuns)
            {
                // What is in hand now was built behind the others: they leave, it moves to the front.
                var start = _end;
                Flush();
                _bytes.AsSpan(start, written).CopyTo(_bytes);
            }

            _runs[_count++] = new Run(port, remote, _end, written, port.Segments);
        }

        ref var run = ref _runs[_count - 1];
        run.Add(written);
        _end += written;

        // A full run leaves at once: the other side may begin with it, and what is built next finds its place in the cache.
        if (run.IsFull)
            Flush();
    }

    /// <summary>Everything leaves.</summary>
    public void Flush()
    {
        var count = _count;
        _count = 0;
        _end = 0;

        for (var from = 0; from < count; )
        {
            var port = _runs[from].Port!;
            var to = from + 1;

            while (to < count && _runs[to].Port == port)
                to++;

            Send(port, _runs.AsSpan(from, to - from));
            from = to;
        }

        // No reference is kept: a closed port is not kept alive by the loop.
        _runs.AsSpan(0, count).Clear();
    }

    /// <summary>Sends again what a port's socket had no room for. False: it has none yet.</summary>
    public bool SendKept(LinuxUdpPort port)
    {
        while (port.Kept.First is { } kept)
        {
            if (!SendKept(port, kept))
                return false;

            port.Kept.Drop();
        }

        return true;
    }

    /// <summary>As it was committed: with or without leave to be fragmented.</summary>
    private bool SendKept(LinuxUdpPort port, KeptRuns.Item kept)
    {
        var differs = kept.Run.MayFragment != port.MayFragment;

        if (differs)
            port.SetFragmentation(kept.Run.MayFragment);

        try
        {
            fixed (byte* bytes = kept.Bytes)
                return SendOne(port, ref kept.Run, bytes + kept.Run.Start);
        }
        finally
        {
            if (differs)
                port.SetFragmentation(port.MayFragment);
        }
    }

    private void Send(LinuxUdpPort port, Span<Run> runs)
    {
        var bytes = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_bytes));

        while (!runs.IsEmpty)
        {
            if (port.IsClosed)
            {
                Telemetry.PortDropped("closed");
                return;
            }

            // What waits goes first, or datagrams would overtake each other.
            if (!port.Kept.IsEmpty)
            {
                foreach (ref var run in runs)
                    port.Keep(run, _bytes.AsSpan(run.Start, run.Length));

                return;
            }

            var sent = _sends.Send(port, runs, bytes);

            if (sent > 0)
            {
                foreach (ref var run in runs[..sent])
                    Telemetry.Sent(run.Count, run.Length);

                port.WasSent(runs[sent - 1]);
                runs = runs[sent..];
            }
            else if (Answer(port, ref runs[0], bytes + runs[0].Start, -sent))
            {
                runs = runs[1..];
            }
            else
            {
                port.Keep(runs[0], _bytes.AsSpan(runs[0].Start, runs[0].Length));
                runs = runs[1..];
            }
        }
    }

    /// <summary>Sends one run. False: there is no room for it now.</summary>
    private bool SendOne(LinuxUdpPort port, ref Run run, byte* bytes)
    {
        var single = run with { Start = 0 };
        var sent = _sends.Send(port, new Span<Run>(ref single), bytes);

        if (sent <= 0)
            return Answer(port, ref run, bytes, -sent);

        Telemetry.Sent(run.Count, run.Length);
        port.WasSent(run);
        return true;
    }

    /// <summary>What to do about a run that was refused. True: it is dealt with. False: it should be tried again later.</summary>
    private bool Answer(LinuxUdpPort port, ref Run run, byte* bytes, int error)
    {
        if (error is Errno.Again or Errno.NoBuffers)
        {
            port.AwaitRoom(error);
            return false;
        }

        // The device cannot cut it, or a segment is larger than the path takes at once. Each datagram by itself tells.
        if (run.Count > 1 && error is Errno.MessageSize or Errno.Invalid or Errno.InputOutput)
        {
            port.SegmentsRefused(error);
            return SendSingly(port, ref run, bytes);
        }

        port.SendFailed(run.Count, error);
        return true;
    }

    /// <summary>Sends a run's datagrams one by one. False: there was no room, and the run begins at the first that is left.</summary>
    private bool SendSingly(LinuxUdpPort port, ref Run run, byte* bytes)
    {
        for (var at = 0; at < run.Length; at += run.Segment)
        {
            var length = Math.Min(run.Segment, run.Length - at);
            var single = new Run(port, run.Remote, at, length, segments: 1);
            single.Add(length);
            var sent = _sends.Send(port, new Span<Run>(ref single), bytes);

            if (sent > 0)
            {
                Telemetry.Sent(1, length);
            }
            else if (-sent is Errno.Again or Errno.NoBuffers)
            {
                port.AwaitRoom(-sent);
                run.SkipTo(at);
                return false;
            }
            else
            {
                port.SendFailed(1, -sent);
            }
        }

        return true;
    }
}

/// <summary>Datagrams of one size, the last of which may be shorter, to one remote by one port, one behind the other.</summary>
/// <param name="port">The port.</param>
/// <param name="remote">Whom they are for.</param>
/// <param name="start">Where the first begins.</param>
/// <param name="segment">Octets of the first, and so of each but the last.</param>
/// <param name="segments">The most that it may hold: 1 where the kernel is not to cut.</param>
internal struct Run(LinuxUdpPort port, in Endpoint remote, int start, int segment, int segments)
{
    private bool _isOver;

    public readonly LinuxUdpPort? Port => port;
    public readonly Endpoint Remote = remote;
    public readonly int Segment = segment;

    /// <summary>Whether IP may fragment its datagrams. Runs of both sorts never meet here: the port flushes between them, but may keep either.</summary>
    public readonly bool MayFragment = port.MayFragment;

    /// <summary>Where the first begins.</summary>
    public int Start = start;

    /// <summary>Octets of all of them.</summary>
    public int Length;

    /// <summary>How many.</summary>
    public int Count;

    /// <summary>Whether no further one may join.</summary>
    public readonly bool IsFull => segments > 1 && (Count == segments || Length + Segment > LinuxOutbox.MaxLength);

    /// <summary>Whether a datagram may join.</summary>
    public readonly bool Takes(LinuxUdpPort other, in Endpoint to, int size) =>
        !_isOver
        && Count < segments
        && size <= Segment
        && size > 0
        && Length + size <= LinuxOutbox.MaxLength
        && other == port
        && to.Equals(Remote);

    /// <summary>One has joined.</summary>
    public void Add(int size)
    {
        Length += size;
        Count++;
        _isOver = size < Segment;
    }

    /// <summary>Those before this octet are gone.</summary>
    public void SkipTo(int at)
    {
        Start += at;
        Length -= at;
        Count -= at / Segment;
    }
}
