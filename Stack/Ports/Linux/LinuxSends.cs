using System.Runtime.CompilerServices;
using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>The message headers by which runs are sent, several by one call.</summary>
internal sealed unsafe class LinuxSends
{
    private const int Most = 32;
    private const int NameSize = 32;

    /// <summary>CMSG_SPACE of two octets.</summary>
    private const int ControlSize = 24;

    private readonly byte[] _names = GC.AllocateArray<byte>(Most * NameSize, pinned: true);
    private readonly byte[] _controls = GC.AllocateArray<byte>(Most * ControlSize, pinned: true);
    private readonly Libc.Message[] _messages = GC.AllocateArray<Libc.Message>(Most, pinned: true);
    private readonly Libc.Vector[] _vectors = GC.AllocateArray<Libc.Vector>(Most, pinned: true);

    // Whose names the places hold: mostly those of the turn before.
    private readonly Endpoint[] _endpoints = new Endpoint[Most];
    private readonly long[] _zones = new long[Most];

    /// <summary>Makes one, with all headers ready.</summary>
    public LinuxSends()
    {
        for (var i = 0; i < Most; i++)
        {
            _messages[i].Name = (byte*)Unsafe.AsPointer(ref _names[i * NameSize]);
            _messages[i].Vectors = (Libc.Vector*)Unsafe.AsPointer(ref _vectors[i]);
            _messages[i].VectorCount = 1;

            var header = (Libc.ControlHeader*)Unsafe.AsPointer(ref _controls[i * ControlSize]);
            header->Length = (nuint)(sizeof(Libc.ControlHeader) + sizeof(ushort));
            header->Level = Libc.UdpLevel;
            header->Type = Libc.UdpSegment;
            _messages[i].Control = (byte*)header;
        }
    }

    /// <summary>Sends runs of one port. Answers how many went, at least one, or the first one's error, negative.</summary>
    public int Send(LinuxUdpPort port, ReadOnlySpan<Run> runs, byte* bytes)
    {
        var count = Math.Min(runs.Length, Most);

        for (var i = 0; i < count; i++)
        {
            ref readonly var run = ref runs[i];
            ref var message = ref _messages[i];

            if (message.NameLength == 0 || _zones[i] != port.Zone || !run.Remote.Equals(_endpoints[i]))
            {
                message.NameLength = SocketNames.Write(message.Name, run.Remote, port.Zone);
                _endpoints[i] = run.Remote;
                _zones[i] = port.Zone;
            }

            _vectors[i].Base = bytes + run.Start;
            _vectors[i].Length = (nuint)run.Length;
            message.ControlLength = run.Count > 1 ? (nuint)ControlSize : 0;

            if (run.Count > 1)
                Unsafe.WriteUnaligned(message.Control + sizeof(Libc.ControlHeader), (ushort)run.Segment);
        }

        int sent;

        do sent = port.Send((Libc.Message*)Unsafe.AsPointer(ref _messages[0]), count);
        while (sent == -Errno.Interrupted);

        return sent;
    }
}
