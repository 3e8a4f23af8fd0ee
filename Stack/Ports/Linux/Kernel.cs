using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Hybrid.WebRtc.Stack.Ports.Linux;

/// <summary>The calls that may be made to fail.</summary>
internal enum KernelCall
{
    /// <summary>sendmmsg whose first message the kernel is to cut into several datagrams.</summary>
    SendSegments,

    /// <summary>sendmmsg whose first message is one datagram.</summary>
    Send,

    /// <summary>recvmmsg.</summary>
    Receive,

    /// <summary>The bind that asks whether an address is still there.</summary>
    Bind,

    /// <summary>epoll_ctl that is to watch a port.</summary>
    Watch,
}

/// <summary>
/// The kernel as it is here: which of its faster ways work, found out once, and the few calls of the hot path. Every call answers
/// what Linux does, an error as its negative number. A test makes one that lacks a feature, or that fails on demand.
/// </summary>
internal sealed unsafe class Kernel
{
    private static readonly Lazy<Kernel?> Probed = new(Probe);

    /// <summary>This machine's; null where batched ports do not work at all.</summary>
    public static Kernel? Here => Probed.Value;

    /// <summary>Whether datagrams may arrive coalesced (UDP_GRO, Linux 5.0).</summary>
    public bool Gro { get; init; }

    /// <summary>Whether a run of datagrams may leave as one send (UDP_SEGMENT, Linux 4.18).</summary>
    public bool Gso { get; init; }

    /// <summary>Whether a sleep may end within a millisecond (epoll_pwait2, Linux 5.11).</summary>
    public bool FineTimeouts { get; init; }

    /// <summary>Octets of a slot to receive into: no GRO batch is larger than the default.</summary>
    public int SlotSize { get; init; } = 65_536;

    /// <summary>Asked before each call; an answer above zero is the error that the call fails with.</summary>
    public Func<KernelCall, int>? Fault { get; init; }

    /// <summary>epoll's event is packed on x86-64 alone.</summary>
    public static int EventStride { get; } = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;

    /// <summary>Where in an event its key is.</summary>
    public static int EventKeyAt { get; } = EventStride - 8;

    /// <summary>Waits for events, at most so many microseconds; below zero: as long as it takes.</summary>
    public int Wait(int epoll, byte* events, int count, long microseconds)
    {
        int found;

        if (FineTimeouts && microseconds > 0)
        {
            var timeout = new Libc.TimeSpec
            {
                Seconds = (nint)(microseconds / 1_000_000),
                Nanoseconds = (nint)(microseconds % 1_000_000 * 1_000),
            };
            found = Libc.EpollWait2(epoll, events, count, &timeout, null);
        }
        else
        {
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            var milliseconds = microseconds < 0 ? -1 : (int)Math.Min((microseconds + 999) / 1_000, int.MaxValue);
            found = Libc.EpollWait(epoll, events, count, milliseconds);
        }

        return Answer(found);
    }

    /// <summary>Receives what is there, without waiting.</summary>
    public int Receive(int fd, Libc.Message* messages, int count, int flags = 0) =>
        Failing(KernelCall.Receive, out var error)
            ? error
            : Answer(Libc.ReceiveMessages(fd, messages, (uint)count, Libc.DoNotWait | flags, null));

    /// <summary>Sends as many messages as the kernel takes, without waiting.</summary>
    public int Send(int fd, Libc.Message* messages, int count)
    {
        var call = messages->ControlLength > 0 ? KernelCall.SendSegments : KernelCall.Send;
        return Failing(call, out var error)
            ? error
            : Answer(Libc.SendMessages(fd, messages, (uint)count, Libc.DoNotWait | Libc.NoSignal));
    }

    /// <summary>Whether this machine still has the address: a socket can be bound to it.</summary>
    public bool Has(IPAddress address) =>
        Failing(KernelCall.Bind, out var error) ? error != -Errno.AddressNotAvailable : UdpSockets.IsLocal(address);

    /// <summary>Whether a test says that there is no room to watch a port in.</summary>
    public bool RefusesToWatch => Failing(KernelCall.Watch, out _);

    private bool Failing(KernelCall call, out int error)
    {
        error = Fault is null ? 0 : -Fault(call);
        return error < 0;
    }

    private static int Answer(int result) => result >= 0 ? result : -Marshal.GetLastPInvokeError();

    /// <summary>Tries each feature once. Containers forbid calls that the kernel has, so its version would say nothing.</summary>
    private static Kernel? Probe()
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
            return null;

        try
        {
            using var poller = new LinuxPoller(new Kernel());
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            return Works(poller, socket) is { } fine
                ? new Kernel
                {
                    FineTimeouts = fine,
                    Gro = Allows(socket, Libc.UdpGro),
                    Gso = Allows(socket, Libc.UdpSegment),
                }
                : null;
        }
        catch (Exception e)
            when (e is SocketException or IOException or DllNotFoundException or EntryPointNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Null: what every batched port needs is missing. Else whether a wait may be finer than a millisecond.</summary>
    private static bool? Works(LinuxPoller poller, Socket socket)
    {
        var fd = (int)socket.SafeHandle.DangerousGetHandle();
        Libc.Message none = default;

        if (poller.Look() < 0 || new Kernel().Receive(fd, &none, 1) != -Errno.Again)
            return null;

        // Nothing to send is still refused by a kernel, or a sandbox, that does not know the call.
        if (Answer(Libc.SendMessages(fd, &none, 0, Libc.DoNotWait)) != 0)
            return null;

        try
        {
            return poller.Look(fine: true) >= 0;
        }
        catch (EntryPointNotFoundException)
        {
            return false;
        }
    }

    private static bool Allows(Socket socket, int option)
    {
        try
        {
            socket.SetRawSocketOption(Libc.UdpLevel, option, [0, 0, 0, 0]);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
