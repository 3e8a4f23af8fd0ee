using System.Buffers;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>
/// What a socket had no room for, copied, until it has: bounded, for to the protocols above a packet that comes late is worse than one
/// that is lost. It allocates, but only where the machine cannot send as fast as it is asked to.
/// </summary>
internal sealed class KeptRuns
{
    /// <summary>Octets kept for one port.</summary>
    public const int Limit = 256 * 1024;

    private readonly Queue<Item> _items = new();
    private int _octets;

    /// <summary>Whether nothing waits.</summary>
    public bool IsEmpty => _items.Count == 0;

    /// <summary>The first, or null.</summary>
    public Item? First => _items.Count == 0 ? null : _items.Peek();

    /// <summary>Keeps a copy of a run. False: there is no room here either.</summary>
    public bool Add(in Run run, ReadOnlySpan<byte> bytes)
    {
        if (_octets + bytes.Length > Limit)
            return false;

        var copy = ArrayPool<byte>.Shared.Rent(bytes.Length);
        bytes.CopyTo(copy);
        _items.Enqueue(new Item(run, copy));
        _octets += bytes.Length;
        return true;
    }

    /// <summary>The first is dealt with.</summary>
    public void Drop()
    {
        var item = _items.Dequeue();
        _octets -= item.Octets;
        ArrayPool<byte>.Shared.Return(item.Bytes);
    }

    /// <summary>Nothing waits any more. Answers how many datagrams did.</summary>
    public int Clear()
    {
        var datagrams = 0;

        while (First is { } item)
        {
            datagrams += item.Run.Count;
            Drop();
        }

        return datagrams;
    }

    /// <summary>A run and its octets, which begin at the run's start.</summary>
    internal sealed class Item(Run run, byte[] bytes)
    {
        private Run _run = run with { Start = 0 };

        public byte[] Bytes => bytes;

        /// <summary>Octets that were taken in.</summary>
        public int Octets { get; } = run.Length;

        /// <summary>What is left of the run.</summary>
        public ref Run Run => ref _run;
    }
}
