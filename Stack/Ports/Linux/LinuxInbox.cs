using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>
/// What a loop's ports receive into: pinned slots, each with room for a whole GRO batch, and the message headers that point to
/// them. A slot's pages are touched, and so cost memory, only as far as something arrived in them.
/// </summary>
internal sealed unsafe class LinuxInbox
{
    /// <summary>Messages fetched by one call.</summary>
    private const int SlotCount = 16;

    /// <summary>The same, while each holds up to <see cref="LinuxOutbox.MaxSegments"/> datagrams.</summary>
    private const int CoalescedCount = 4;

    /// <summary>More than the one control message that is asked for.</summary>
    private const int ControlSize = 64;

    private readonly Kernel _kernel;
    private readonly byte[] _slots;
    private readonly byte[] _names = GC.AllocateArray<byte>(SlotCount * 32, pinned: true);
    private readonly byte[] _controls = GC.AllocateArray<byte>(SlotCount * ControlSize, pinned: true);
    private readonly Libc.Message[] _messages = GC.AllocateArray<Libc.Message>(SlotCount, pinned: true);
    private readonly Libc.Vector[] _vectors = GC.AllocateArray<Libc.Vector>(SlotCount, pinned: true);

    /// <summary>Whether the last datagrams came coalesced.</summary>
    private bool _coalesced;

    /// <summary>Headers that the kernel has written to since they were made ready.</summary>
    private int _used;

    /// <summary>Makes one, with all headers ready.</summary>
    public LinuxInbox(Kernel kernel)
    {
        _kernel = kernel;
        _slots = GC.AllocateUninitializedArray<byte>(SlotCount * kernel.SlotSize, pinned: true);

        for (var i = 0; i < SlotCount; i++)
        {
            _vectors[i].Base = At(_slots, i * kernel.SlotSize);
            _vectors[i].Length = (nuint)kernel.SlotSize;
            _messages[i].Name = At(_names, i * 32);
            _messages[i].Vectors = (Libc.Vector*)Unsafe.AsPointer(ref _vectors[i]);
            _messages[i].VectorCount = 1;
            _messages[i].Control = At(_controls, i * ControlSize);
        }

        _used = SlotCount;
    }

    /// <summary>
    /// Receives from a port until nothing is left there, or <see cref="LinuxPoller.PerPort"/> datagrams are taken, and hands each to
    /// its owner. An error, negative, is answered only where nothing was taken.
    /// </summary>
    public int Receive(LinuxUdpPort port, long now)
    {
        var taken = 0;

        while (taken < LinuxPoller.PerPort)
        {
            var asked = _coalesced ? CoalescedCount : SlotCount;
            var count = Fetch(port, asked);

            if (count <= 0)
                return taken > 0 || count == -Errno.Again ? taken : count;

            for (var i = 0; i < count; i++)
                taken += HandOver(port, i, now);

            if (count < asked)
                break;
        }

        return taken;
    }

    /// <summary>Takes what is in the socket's queue of errors, if anything, and forgets it.</summary>
    public void ForgetErrors(LinuxUdpPort port) => Fetch(port, SlotCount, Libc.ErrorQueue);

    private int Fetch(LinuxUdpPort port, int asked, int flags = 0)
    {
        for (var i = 0; i < _used; i++)
        {
            _messages[i].NameLength = SocketNames.Size;
            _messages[i].ControlLength = ControlSize;
            _messages[i].Flags = 0;
        }

        var messages = (Libc.Message*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_messages));
        var count = port.Receive(messages, asked, flags);
        _used = Math.Max(0, count);
        return count;
    }

    private int HandOver(LinuxUdpPort port, int i, long now)
    {
        ref var message = ref _messages[i];
        var length = (int)message.Length;
        var segment = SegmentSize(ref message);
        var truncated = (message.Flags & Libc.Truncated) != 0;

        // Where the sizes did not get through, nobody can tell the datagrams apart.
        if ((message.Flags & Libc.ControlTruncated) != 0 && segment == 0)
        {
            Telemetry.PortDropped("truncated");
            return 1;
        }

        _coalesced = segment > 0 && segment < length;

        if (segment == 0)
            segment = length;

        // What was cut off is lost, and so is the datagram across the cut; those before it are whole.
        if (truncated)
        {
            port.Truncated++;
            Telemetry.PortDropped("truncated");
            length = segment < length ? length / segment * segment : 0;
        }

        var remote = SocketNames.Read(message.Name);
        var start = i * _kernel.SlotSize;
        var count = 0;

        // A datagram may be empty.
        for (var at = 0; at < length || (at == 0 && !truncated); at += Math.Max(1, segment))
        {
            // The one before may have closed the port.
            if (port.IsClosed)
                break;

            port.Deliver(remote, _slots.AsMemory(start + at, Math.Min(segment, length - at)), now);
            count++;
        }

        Telemetry.Received(count, length);
        return Math.Max(1, count);
    }

    /// <summary>The size of the datagrams that came as one; 0: the kernel does not say, so there is one.</summary>
    private static int SegmentSize(ref Libc.Message message)
    {
        var header = (Libc.ControlHeader*)message.Control;

        // It is the only one that is asked for, hence the first.
        return
            message.ControlLength >= (nuint)(sizeof(Libc.ControlHeader) + sizeof(int))
            && header->Level == Libc.UdpLevel
            && header->Type == Libc.UdpGro
            ? Unsafe.ReadUnaligned<int>(message.Control + sizeof(Libc.ControlHeader))
            : 0;
    }

    private static byte* At(byte[] pinned, int i) => (byte*)Unsafe.AsPointer(ref pinned[i]);
}
