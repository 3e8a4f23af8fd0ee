using System.Buffers;
using System.Net.Security;
using System.Net.Sockets;

namespace Hybrid.WebRtc.Stack.Turn;

/// <summary>How fast the connections of one allocation may be together: what is beyond waits.</summary>
internal sealed class TurnPace(long octetsPerSecond, TimeProvider time)
{
    private readonly Lock _lock = new();
    private long _free = time.GetTimestamp();

    /// <summary>How long so many octets have to wait; any thread.</summary>
    public TimeSpan Take(int octets)
    {
        lock (_lock)
        {
            var now = time.GetTimestamp();

            // A second's worth may pass at once.
            _free = Math.Max(_free, now - time.TimestampFrequency) + octets * time.TimestampFrequency / octetsPerSecond;
            return _free <= now ? TimeSpan.Zero : time.GetElapsedTime(now, _free);
        }
    }
}

/// <summary>
/// A connection to or from a peer. Once a client's is joined to it, octets go both ways as they are (RFC 6062 §4.5): one buffer a direction, and the next
/// read when it has been written, so that a slow reader holds the sender up (§3). The end of one direction is passed on, and the other has its time to
/// finish.
/// </summary>
internal sealed class TurnPeer(Socket socket) : IDisposable
{
    /// <summary>Octets read at once.</summary>
    private const int Chunk = 16 * 1024;

    /// <summary>How long one direction may be silent once the other has ended.</summary>
    private static readonly TimeSpan HalfOpenPatience = TimeSpan.FromSeconds(10);

    private long _passed;

    /// <summary>The client's data connection, once there is one.</summary>
    public TurnConnection? Client { get; private set; }

    /// <summary>That this is the client's, though nothing is passed on yet.</summary>
    public void Join(TurnConnection client) => Client = client;

    /// <summary>Passes octets on both ways until it is over; any thread. Both are the caller's to close.</summary>
    /// <param name="client">The client's stream.</param>
    /// <param name="first">What has been read of it already.</param>
    /// <param name="pace">The allocation's bound; null: none.</param>
    public async Task RelayAsync(Stream client, byte[] first, TurnPace? pace)
    {
        await using var peer = new NetworkStream(socket, ownsSocket: false);
        var up = CopyAsync(client, first, peer, TurnTelemetry.StreamedToPeer, pace);
        var down = CopyAsync(peer, [], client, TurnTelemetry.StreamedToClient, pace);
        var ended = await Task.WhenAny(up, down).ConfigureAwait(false);
        var other = ended == up ? down : up;

        if (!await ended.ConfigureAwait(false))
            return;

        while (!other.IsCompleted)
        {
            var before = Interlocked.Read(ref _passed);
            await Task.WhenAny(other, Task.Delay(HalfOpenPatience)).ConfigureAwait(false);

            if (Interlocked.Read(ref _passed) == before)
                return;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // One that nothing came of is reset: closed in the ordinary way it would keep its two endpoints from each other for a minute, and a peer that
        // came before its permission could not be connected to afterwards.
        if (Client is null)
            Reset();

        socket.Dispose();
    }

    private void Reset()
    {
        try
        {
            socket.LingerState = new LingerOption(true, 0);
        }
        catch (SocketException)
        {
            // It has ended by itself.
        }
    }

    /// <summary>True: all that came has been passed on, and its end, too.</summary>
    private async Task<bool> CopyAsync(Stream from, byte[] first, Stream to, Action<int> count, TurnPace? pace)
    {
        try
        {
            if (first.Length > 0)
            {
                await to.WriteAsync(first).ConfigureAwait(false);
                count(first.Length);
            }

            while (await StepAsync(from, to, pace).ConfigureAwait(false) is > 0 and var octets)
            {
                Interlocked.Add(ref _passed, octets);
                count(octets);
            }

            await EndAsync(to).ConfigureAwait(false);
            return true;
        }
        catch (Exception e)
            when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // Broken, or closed by us.
            return false;
        }
    }

    private static async Task<int> StepAsync(Stream from, Stream to, TurnPace? pace)
    {
        // A connection that is silent holds no buffer.
        await from.ReadAsync(Memory<byte>.Empty).ConfigureAwait(false);
        var buffer = ArrayPool<byte>.Shared.Rent(Chunk);

        try
        {
            var count = await from.ReadAsync(buffer.AsMemory(0, Chunk)).ConfigureAwait(false);

            if (count > 0 && pace?.Take(count) is { } wait && wait > TimeSpan.Zero)
                await Task.Delay(wait).ConfigureAwait(false);

            await to.WriteAsync(buffer.AsMemory(0, count)).ConfigureAwait(false);
            return count;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task EndAsync(Stream to)
    {
        switch (to)
        {
            case SslStream tls:
                await tls.ShutdownAsync().ConfigureAwait(false);
                break;
            case NetworkStream plain:
                plain.Socket.Shutdown(SocketShutdown.Send);
                break;
        }
    }
}
