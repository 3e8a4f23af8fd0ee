using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using Hybrid.WebRtc.Core;
using Hybrid.WebRtc.Rtp;
using Hybrid.WebRtc.Stack.Ports;
using Microsoft.Extensions.Logging;
using Path = Hybrid.WebRtc.Core.Path;

namespace Hybrid.WebRtc.Stack;

/// <summary>
/// A peer at home: the core's state, the loop that steps it, its ports, and the sink that hears of it. Commands come in from any
/// thread by <see cref="Post"/>, <see cref="AskAsync"/> or <see cref="Ask"/>; all else happens on the loop's thread.
/// </summary>
internal sealed partial class PeerHost : IDatagramShell, ILoopMember, IPortOwner, IAsyncDisposable
{
    /// <summary>The largest UDP payload over IPv4.</summary>
    private const int LargestDatagram = 65_507;

    /// <summary>What the core charges to the window for a message beside its octets (<c>Reassembly.Overhead</c>).</summary>
    private const int MessageWeight = 128;

    /// <summary>The part of the receive window that may have been consumed without the core's knowing.</summary>
    private const int ConsumedPart = 16;

    /// <summary>Octets of the window that a peer needs beside a message to send it at all: a packet or two.</summary>
    private const int WindowSlack = 4_096;

    private static int _count;

    private readonly StackOptions _options;
    private readonly IPeerSink _sink;
    private readonly ILogger _logger;
    private readonly Seat _seat;
    private readonly IShell _shell;

    /// <summary>Its loop's part of the port that it shares; null: it has ports of its own.</summary>
    private readonly SharedLane? _lane;
    private readonly JournalWriter? _journal;
    private readonly long _consumedLimit;
    private readonly int _number = Interlocked.Increment(ref _count);
    private readonly PortSet _ports = new();
    private readonly CancellationTokenSource _life = new();

    // Small: the facade keeps its own table, so this one is empty mostly.
    private readonly ConcurrentDictionary<long, TaskCompletionSource<Answer>> _asked = new(1, 1);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Made with the first packet: most connections carry data only.
    private RtpInbox? _rtp;

    // Names that the link is told of; null: none.
    private List<string>? _names;

    private Peer.State _state;
    private long _commands;

    // Octets that the application has taken and the core has not heard of yet, and what they weigh in the window.
    private long _consumed;
    private long _consumedWeight;
    private int _portIds;
    private volatile bool _over;

    /// <summary>Whether a step's outputs are being performed: the loop's thread only.</summary>
    private bool _stepping;

    private PeerHost(PeerConfig config, StackOptions options, IPeerSink sink)
    {
        _options = options;
        _sink = sink;
        _consumedLimit = ConsumedLimit(config.Options);
        _logger = options.LoggerFactory.CreateLogger<PeerHost>();

        Rehearsal.Begin(config);
        _lane = options.SharedPort?.Emptiest();
        var loop = _lane?.Loop ?? options.Loops.Emptiest();
        config = config.At(loop.Epoch);
        var seed = RandomNumberGenerator.GetBytes(EntropyModule.SeedSize);

        if (options.Journal is not null)
        {
            _journal = new JournalWriter(options.Journal(), options.JournalLimit);
            _journal.Stopped += reason => Log.JournalStopped(_logger, _number, reason);
            _journal.Begin(seed, config);
            config = _journal.Witness(config);
            _shell = _journal.Witness(this);
        }
        else
        {
            _shell = this;
        }

        var created = Peer.Create(seed, config);

        if (created.IsError)
        {
            _journal?.Dispose();
            throw new MistakeException(created.ErrorValue);
        }

        _state = created.ResultValue;
        _lane?.Enter();
        _seat = loop.Join(this);
        Telemetry.PeersChanged(+1);

        // What it has to do before it is asked, such as to gather candidates ahead.
        if (Peer.Deadline(_state) < long.MaxValue)
            _seat.Post(Input.Tick);
    }

    /// <summary>Makes a peer and gives it a place in a loop. It lives until it is closed or stopped.</summary>
    /// <exception cref="MistakeException">The configuration is not valid.</exception>
    public static PeerHost Start(PeerConfig config, StackOptions options, IPeerSink sink) => new(config, options, sink);

    /// <summary>Completes when the peer is over, its ports closed and its journal written. Never fails.</summary>
    public Task Completion => _ended.Task;

    /// <summary>Whether it is over: nothing more is taken.</summary>
    public bool IsOver => _over;

    /// <summary>The loop that carries it.</summary>
    public Loop Loop => _seat.Loop;

    /// <inheritdoc/>
    public long Deadline => _over ? long.MaxValue : Peer.Deadline(_state);

    /// <summary>A number for a command, used once; any thread.</summary>
    public long NextCommandId() => Interlocked.Increment(ref _commands);

    /// <summary>Queues an input; any thread, never blocks. False: the peer is over, the input came to nothing.</summary>
    public bool Post(Input input)
    {
        if (_over)
            return false;

        if (input is Input.Consumed consumed)
            Consume(consumed.Octets);
        else
            _seat.Post(input);

        return true;
    }

    /// <summary>
    /// Octets that may be consumed without the core's knowing: a message of the largest size fits into the window beside them, or
    /// it could stay closed for good. 0: the core hears of each message.
    /// </summary>
    internal static long ConsumedLimit(PeerOptions options)
    {
        // As the core has it: two messages fit in any case.
        var window = Math.Max(options.ReceiveWindow, 2L * options.MaxMessageSize);
        return Math.Clamp(window - options.MaxMessageSize - WindowSlack - MessageWeight, 0, window / ConsumedPart);
    }

    /// <summary>
    /// The core hears of consumed messages once they weigh something: the window that the peer sees is that much smaller, never
    /// closed by it. So a message that is taken wakes no loop.
    /// </summary>
    private void Consume(int octets)
    {
        var weight = Interlocked.Add(ref _consumedWeight, octets + MessageWeight);
        Interlocked.Add(ref _consumed, octets);

        if (weight < _consumedLimit || Interlocked.Exchange(ref _consumed, 0) is not (> 0 and var total))
            return;

        Interlocked.Exchange(ref _consumedWeight, 0);
        _seat.Post(Input.NewConsumed((int)Math.Min(total, int.MaxValue)));
    }

    /// <summary>Gives a command and answers its reply, which comes to the caller and not to the sink; any thread.</summary>
    /// <param name="command">Makes the input from the command's number.</param>
    /// <exception cref="MistakeException">The command was refused, or the peer is over.</exception>
    public Task<Answer> AskAsync(Func<long, Input> command)
    {
        var id = NextCommandId();
        var asked = Expect(id);

        // Over, or over while we posted: Release may have looked before we were in the table.
        if (!Post(command(id)) || _over)
            Settle(id, Gone());

        return asked;
    }

    /// <summary>
    /// Gives a command and waits for its reply, for the few W3C methods that answer at once (<c>createDataChannel</c>). The wait is
    /// a turn of the loop, and needs no thread but the loop's. On the peer's own loop the command is carried out
    /// in place, ahead of what is queued.
    /// </summary>
    /// <exception cref="MistakeException">The command was refused, or the peer is over.</exception>
    /// <exception cref="InvalidOperationException">Called on the thread of another loop, where waiting could deadlock, or from
    /// within a method of the sink, where the step before is not done.</exception>
    public Answer Ask(Func<long, Input> command)
    {
        if (Loop.Current is null)
            return AskAsync(command).GetAwaiter().GetResult();

        if (!Loop.IsCurrent || _stepping)
            throw new InvalidOperationException("A loop's thread waits neither for another loop nor within a step.");

        var id = NextCommandId();
        var asked = Expect(id);
        _seat.Run(Loop.Now, command(id));

        if (!asked.IsCompleted)
            Settle(
                id,
                _over ? Gone() : new InvalidOperationException("The command is not one that is answered at once.")
            );

        return asked.GetAwaiter().GetResult();
    }

    /// <summary>Ends the peer without a word to the other side: its ports close, waiting commands fail; any thread.</summary>
    public void Stop() => Loop.Post(() => Release(null));

    /// <summary>Stops the peer and waits until it is over.</summary>
    public async ValueTask DisposeAsync()
    {
        Stop();
        await Completion.ConfigureAwait(false);
    }

    /// <summary>Does, on the loop's thread, what the core might have asked: for tests, and with the isolation of a step.</summary>
    internal void Perform(Microsoft.FSharp.Collections.FSharpList<Output> outputs)
    {
        Loop.Touch(_seat);

        try
        {
            Peer.Perform(_shell, outputs);
        }
        catch (Exception bug)
        {
            Loop.Evict(_seat, bug);
        }
    }

    /// <inheritdoc/>
    void ILoopMember.Take(long now, Input input)
    {
        _stepping = true;
        _journal?.Input(now, input);
        (_state, var outputs) = Peer.Step(now, input, _state);

        if (!outputs.IsEmpty)
            Peer.Perform(_shell, outputs);

        _stepping = false;

        // A fragment comes with a command, a description's mostly; a packet brings none.
        if (_lane is { } lane && !_over && IsRare(input))
            lane.Name(this, Peer.UsernameFragments(_state));
    }

    /// <inheritdoc/>
    void ILoopMember.Settle()
    {
        // The ports are flushed once, by the loop, when all have settled.
        _rtp?.Flush();
        _sink.Settle();
        _journal?.Flush();
    }

    /// <inheritdoc/>
    void ILoopMember.Fail(Exception bug)
    {
        Log.PeerCrashed(_logger, _number, bug);
        _journal?.Crashed(bug);
        Release(bug);
    }

    /// <inheritdoc/>
    void IPortOwner.Received(IPort port, in Endpoint remote, Memory<byte> bytes, long now) =>
        _seat.Run(now, Input.NewDatagram(new Path(port.Id, remote), bytes));

    /// <inheritdoc/>
    void IPortOwner.Broken(IPort port, string reason)
    {
        if (!Remove(port))
            return;

        // A send may have found the address gone sooner than the watch did, and it may be back already.
        if (_options.ContinualGathering && _watching is not null)
            _options.Network.Doubt();
    }

    /// <inheritdoc/>
    void IShell.Transmit(Path path, Packet packet)
    {
        var size = packet.Size;

        if (Outlet(path, size, packet.IsToStranger) is not { } port)
            return;

        if (!packet.MayFragment)
        {
            port.Commit(packet.Write(port.Reserve(path.Remote, size)));
            return;
        }

        port.AllowFragments(true);

        try
        {
            port.Commit(packet.Write(port.Reserve(path.Remote, size)));
        }
        finally
        {
            // The port may be others' too, who go on when this peer has failed.
            port.AllowFragments(false);
        }
    }

    /// <inheritdoc/>
    void IShell.TransmitRun(Path path, RtpRun run)
    {
        for (var i = 0; i < run.Count; i++)
        {
            var size = run.Size(i);

            if (Outlet(path, size, isToStranger: false) is not { } port)
                continue;

            // Nothing written: the keys are spent.
            if (run.Write(i, port.Reserve(path.Remote, size)) is > 0 and var written)
                port.Commit(written);
        }
    }

    /// <inheritdoc/>
    void IDatagramShell.Send(Path path, ReadOnlySpan<byte> bytes, bool mayFragment, bool isToStranger)
    {
        if (Outlet(path, bytes.Length, isToStranger) is not { } port)
            return;

        if (mayFragment)
            port.AllowFragments(true);

        try
        {
            bytes.CopyTo(port.Reserve(path.Remote, bytes.Length));
            port.Commit(bytes.Length);
        }
        finally
        {
            if (mayFragment)
                port.AllowFragments(false);
        }
    }

    /// <inheritdoc/>
    void IShell.OpenPorts()
    {
        if (_lane is { } lane)
        {
            lane.Attach(this);
            lane.Name(this, Peer.UsernameFragments(_state));
            _binding++;
            Loop.Post(() =>
            {
                _binding--;
                Adopt(lane.Bound);
            });
            return;
        }

        WatchNetwork();
        _binding++;

        // To list interfaces takes milliseconds, filters are a user's code, and a range may have to be searched: away from the loop.
        // Where none of it is to be done, binding takes less than a thread of the pool takes to wake up.
        if (
            _options
                is { InterfaceFilter: null, AddressFilter: null, Ports.IsAny: true, TcpPorts: null or { IsAny: true } }
            && InterfaceSnapshot.IsFresh
            && ReferenceEquals(_options.Network, NetworkWatch.Shared)
        )
            Bind(_ => true);
        else
            Task.Run(() => Bind(_ => true));
    }

    /// <inheritdoc/>
    void IShell.ClosePort(int port) => Discard(_ports.Remove(port));

    /// <inheritdoc/>
    void IShell.ResolveServer(string url) => _ = Resolve(url);

    /// <inheritdoc/>
    void IShell.ResolveName(string name) => _ = ResolveCandidate(name);

    /// <inheritdoc/>
    void IShell.AnnounceName(string name, Address address)
    {
        (_names ??= []).Add(name);
        _options.Resolver.Announce(name, address.ToNet());
    }

    /// <inheritdoc/>
    void IShell.Reply(long command, Answer answer)
    {
        if (_asked.TryRemove(command, out var asked))
            asked.TrySetResult(answer);
        else
            _sink.Reply(command, answer);
    }

    /// <inheritdoc/>
    void IShell.Refuse(long command, Mistake mistake)
    {
        if (!Settle(command, new MistakeException(mistake)))
            _sink.Refuse(command, mistake);
    }

    /// <inheritdoc/>
    void IShell.Raise(Event happened)
    {
        // In the order that the core told.
        _rtp?.Flush();
        _sink.Raise(happened);
    }

    /// <inheritdoc/>
    void IShell.Deliver(int channel, bool text, ReadOnlyMemory<byte> payload) => _sink.Message(channel, text, payload);

    /// <inheritdoc/>
    void IShell.DeliverRtp(int transceiver, string rid, in RtpPacket packet) =>
        (_rtp ??= new RtpInbox(_sink)).Add(transceiver, rid, packet);

    /// <inheritdoc/>
    void IShell.Ignored(Layer layer, Drop reason)
    {
        Telemetry.Ignored(layer, reason);
        Log.Ignored(_logger, _number, Telemetry.NameOf(layer), Telemetry.NameOf(reason));
    }

    /// <inheritdoc/>
    void IShell.Ended() => Release(null);

    /// <summary>Whether an input may change the username fragments; those of the hot path do not.</summary>
    private static bool IsRare(Input input) =>
        !(input.IsDatagram || input.IsTick || input.IsSend || input.IsSendRtp || input.IsConsumed);

    private static MistakeException Gone() =>
        new(MistakeModule.create(ErrorName.InvalidStateError, "The connection is closed."));

    /// <summary>The port that a datagram leaves by; null, and counted, where it cannot leave.</summary>
    private IPort? Outlet(Path path, int size, bool isToStranger)
    {
        if (size > LargestDatagram || _ports[path.Local] is not { } port)
        {
            Telemetry.PortDropped("no port");
            return null;
        }

        // A connection has its owner already; and what a stranger sends next is not this peer's because it was refused.
        if (_lane is { } lane && !isToStranger && port is not (StreamPort or ListenerPort))
            lane.Claim(this, path);

        return port;
    }

    /// <summary>Binds this peer's ports on the addresses that are wanted; any thread. They are taken over in the loop's next turn.</summary>
    private void Bind(Func<System.Net.IPAddress, bool> wanted)
    {
        List<BoundPort> bound = [];

        try
        {
            bound = PortSet.Bind(_options, Loop, this, _options.Ports, NextPortId, wanted);

            if (_options.TcpPorts is { } range)
                bound.AddRange(PortSet.Listen(_options, Loop, this, range, NextPortId, wanted));
        }
        catch (Exception e)
        {
            // A user's filter may throw.
            Log.PortRefused(_logger, "any address", e.Message);
        }
        finally
        {
            Loop.Post(() =>
            {
                Adopt(bound);
                HasBound();
            });
        }
    }

    private int NextPortId() => Interlocked.Increment(ref _portIds);

    /// <summary>Closes a port, unless it is others' too.</summary>
    private void Discard(IPort? port)
    {
        if (_lane is null || port is StreamPort)
            port?.Dispose();
    }

    /// <summary>Takes over ports that were bound, tells the core of each, and that there are no more.</summary>
    private void Adopt(IReadOnlyList<BoundPort> bound)
    {
        foreach (var (usable, fresh, listens) in bound)
        {
            if (_over)
            {
                Discard(fresh);
                continue;
            }

            // A restart gathers from ports of its own (RFC 8445 §9); where the range has none left, the former serve on.
            var begun = fresh is not null && Begins(fresh) ? fresh : null;

            if ((begun ?? _ports.On(usable.Address.ToCore(), listens)) is not { } port)
                continue;

            _ports.Add(port);
            _seat.Run(
                Loop.Now,
                listens
                    ? Input.NewListenerOpened(port.Id, port.Local, usable.Preference)
                    : Input.NewPortOpened(port.Id, port.Local, usable.Preference)
            );
        }

        _seat.Run(Loop.Now, Input.PortsComplete);
    }

    /// <summary>Has a port receive. False: the machine has no room for it, and it is closed.</summary>
    private bool Begins(IPort port)
    {
        // Others' too: it has begun.
        if (_lane is not null)
            return true;

        try
        {
            port.Begin();
            return true;
        }
        catch (Exception e)
        {
            Log.PortRefused(_logger, EndpointModule.ToText(port.Local), e.Message);
            port.Dispose();
            return false;
        }
    }

    private Task<Answer> Expect(long command) =>
        (_asked[command] = new TaskCompletionSource<Answer>(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

    private bool Settle(long command, Exception error) =>
        _asked.TryRemove(command, out var asked) && asked.TrySetException(error);

    /// <summary>The end, whatever its cause: everything held is given back. Once, on the loop's thread.</summary>
    private void Release(Exception? bug)
    {
        if (_over)
            return;

        _over = true;
        _seat.Leave();
        _life.Cancel();
        _watching?.Dispose();

        if (_lane is { } lane)
        {
            lane.Detach(this);
            _ports.ClearStreams();
        }
        else
        {
            _ports.Flush();
            _ports.Clear();
        }

        foreach (var name in _names ?? [])
            _options.Resolver.Withdraw(name);

        _journal?.Dispose();

        foreach (var command in _asked.Keys)
            Settle(command, Gone());

        Telemetry.PeersChanged(-1);
        Log.PeerEnded(_logger, _number);

        try
        {
            _sink.Ended(bug);
        }
        finally
        {
            _ended.TrySetResult();
        }
    }
}
