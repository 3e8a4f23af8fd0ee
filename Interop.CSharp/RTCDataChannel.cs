using System.IO.Pipelines;
using System.Reactive;
using System.Text;

namespace Hybrid.WebRtc;

/// <summary>
/// A channel of messages between two peers,
/// <see href="https://www.w3.org/TR/webrtc/#rtcdatachannel">RTCDataChannel</see>. Every member may be used from any thread, and
/// from inside any notification.
/// </summary>
/// <remarks>
/// A message counts as read when its <see cref="OnMessage"/> notification has returned; a slow subscriber thereby slows the
/// sender down. What comes before anyone has subscribed is held for the first subscriber, up to a quarter of
/// <see cref="WebRtcOptions.ReceiveWindow"/> over all channels; beyond that it is discarded, and a warning logged.
/// </remarks>
public sealed class RTCDataChannel : IAsyncDisposable
{
    private readonly RTCPeerConnection _connection;
    private readonly Core.ChannelInit _init;
    private readonly Notifier<Unit> _opens;
    private readonly Notifier<Unit> _lows;
    private readonly Notifier<RTCErrorEvent> _errors;
    private readonly Notifier<Unit> _closings;
    private readonly Notifier<Unit> _closes;
    private readonly Notifier<MessageEvent> _messages;
    private readonly TaskCompletionSource _opened = new();
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ChannelViews? _views;

    // What is sent, in order.
    private readonly Lock _sending = new();
    private readonly Queue<Waiter> _waiting = new();
    private long _queued;
    private bool _isOver;

    // What users see.
    private volatile RTCDataChannelState _state = RTCDataChannelState.Connecting;
    private volatile int _id;
    private long _bufferedAmount;
    private long _lowThreshold;

    internal RTCDataChannel(RTCPeerConnection connection, Core.ChannelInfo info)
    {
        _connection = connection;
        _init = info.Init;
        _id = info.Init.Id.OrNothing() ?? -1;
        Handle = info.Handle;

        var notify = connection.Notify;
        _opens = notify.Event<Unit>();
        _lows = notify.Event<Unit>(held: 0);
        _errors = notify.Event<RTCErrorEvent>();
        _closings = notify.Event<Unit>();
        _closes = notify.Event<Unit>();
        _messages = new(notify.Context, notify.Logger, Hold, static message => message.Release());
    }

    /// <summary>The core's number for it.</summary>
    internal int Handle { get; }

    /// <summary>What tells it from others; need not be unique.</summary>
    public string Label => _init.Label;

    /// <summary>The name of a subprotocol; empty where there is none.</summary>
    public string Protocol => _init.Protocol;

    /// <summary>Whether messages arrive in the order they were sent.</summary>
    public bool Ordered => _init.Ordered;

    /// <summary>Milliseconds in which a message is sent and sent again; null: no limit.</summary>
    public ushort? MaxPacketLifeTime => _init.MaxPacketLifeTime.ToNumber();

    /// <summary>How often a message is sent again; null: no limit.</summary>
    public ushort? MaxRetransmits => _init.MaxRetransmits.ToNumber();

    /// <summary>Whether both sides made it, with one <see cref="Id"/>.</summary>
    public bool Negotiated => _init.Negotiated;

    /// <summary>How its data rank against other channels'.</summary>
    public RTCPriorityType Priority => (RTCPriorityType)_init.Priority;

    /// <summary>The SCTP stream, from 0 to 65,534; null until it is known, which is at the latest when the channel opens.</summary>
    public ushort? Id => _id is >= 0 and var id ? (ushort)id : null;

    /// <summary>Where it stands.</summary>
    public RTCDataChannelState ReadyState => _state;

    /// <summary>
    /// Octets that were sent and have not yet left for the network. Rises within <c>Send</c>; falls before a notification, as
    /// all state does.
    /// </summary>
    public long BufferedAmount => Interlocked.Read(ref _bufferedAmount);

    /// <summary>
    /// When <see cref="BufferedAmount"/> falls to this many octets or fewer, from more, <see cref="OnBufferedAmountLow"/> is
    /// told. Default 0.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public long BufferedAmountLowThreshold
    {
        get => Interlocked.Read(ref _lowThreshold);
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            Interlocked.Exchange(ref _lowThreshold, value);
        }
    }

    /// <summary>It is open: messages can be sent. Told to a later first subscriber, too.</summary>
    public IObservable<Unit> OnOpen => _opens;

    /// <summary>A message came.</summary>
    public IObservable<MessageEvent> OnMessage => _messages;

    /// <summary><see cref="BufferedAmount"/> fell to <see cref="BufferedAmountLowThreshold"/> or below.</summary>
    public IObservable<Unit> OnBufferedAmountLow => _lows;

    /// <summary>It failed; <see cref="OnClose"/> follows.</summary>
    public IObservable<RTCErrorEvent> OnError => _errors;

    /// <summary>The peer, or the transport, has begun to close it.</summary>
    public IObservable<Unit> OnClosing => _closings;

    /// <summary>It is closed. Told to a later first subscriber, too. Not told where the connection itself was closed here, as W3C has it; all observables end then.</summary>
    public IObservable<Unit> OnClose => _closes;

    /// <summary>Sends a string.</summary>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: it is not open. <c>TypeError</c>: longer than the peer takes
    /// (<see cref="RTCSctpTransport.MaxMessageSize"/>). <c>OperationError</c>: more is queued than
    /// <see cref="WebRtcOptions.SendBuffer"/> allows; <see cref="SendAsync(string, CancellationToken)"/> waits instead.
    /// </exception>
    public void Send(string message)
    {
        ArgumentNullException.ThrowIfNull(message);
        Send(true, Encoding.UTF8.GetBytes(message));
    }

    /// <summary>Sends octets; they are copied.</summary>
    /// <exception cref="RTCException">As <see cref="Send(string)"/>.</exception>
    public void Send(ReadOnlySpan<byte> message)
    {
        CheckSize(message.Length);
        Send(false, message.ToArray());
    }

    /// <summary>Sends octets; they are copied.</summary>
    /// <exception cref="RTCException">As <see cref="Send(string)"/>.</exception>
    public void Send(ReadOnlyMemory<byte> message) => Send(message.Span);

    /// <summary>Sends octets; they are copied.</summary>
    /// <exception cref="RTCException">As <see cref="Send(string)"/>.</exception>
    public void Send(byte[] message)
    {
        ArgumentNullException.ThrowIfNull(message);
        Send(message.AsSpan());
    }

    // The overloads differ in their first, required parameter, as those of the base library do.
#pragma warning disable RS0026

    /// <summary>
    /// Sends a string as soon as no more than <see cref="WebRtcOptions.SendHighWaterMark"/> octets are queued on this channel.
    /// Messages keep the order of the calls.
    /// </summary>
    /// <param name="message">The string.</param>
    /// <param name="cancellationToken">Gives the message up if it still waits.</param>
    /// <returns>Ends when the message has been queued, not when it has arrived.</returns>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: it is not open, or closes meanwhile. <c>TypeError</c>: longer than the peer takes.</exception>
    public ValueTask SendAsync(string message, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(message);
        return SendAsync(true, Encoding.UTF8.GetBytes(message), isOwned: true, cancellationToken);
    }

    /// <summary>
    /// Sends octets as soon as no more than <see cref="WebRtcOptions.SendHighWaterMark"/> octets are queued on this channel.
    /// Messages keep the order of the calls.
    /// </summary>
    /// <param name="message">Not to be changed until the task has ended.</param>
    /// <param name="cancellationToken">Gives the message up if it still waits.</param>
    /// <returns>Ends when the message has been queued, not when it has arrived.</returns>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: it is not open, or closes meanwhile. <c>TypeError</c>: longer than the peer takes.</exception>
    public ValueTask SendAsync(ReadOnlyMemory<byte> message, CancellationToken cancellationToken = default) =>
        SendAsync(false, message, isOwned: false, cancellationToken);

#pragma warning restore RS0026

    /// <summary>Waits until it is open.</summary>
    /// <exception cref="RTCException"><c>InvalidStateError</c>: it closed before.</exception>
    public Task WaitForOpenAsync(CancellationToken cancellationToken = default) =>
        _opened.Task.WaitAsync(cancellationToken);

    /// <summary>
    /// Begins to close it, <see href="https://www.w3.org/TR/webrtc/#dom-rtcdatachannel-close">WebRTC §6.2</see>: what was sent
    /// before still leaves. Does nothing where it is closing already.
    /// </summary>
    public void Close()
    {
        lock (_sending)
        {
            if (_isOver || _state is RTCDataChannelState.Closing or RTCDataChannelState.Closed)
                return;
            _state = RTCDataChannelState.Closing;
            _connection.Post(Core.Input.NewCloseChannel(Handle));
        }
        GiveUpWaiting();
    }

    /// <summary>Closes it, and waits until both sides have.</summary>
    public Task CloseAsync(CancellationToken cancellationToken = default)
    {
        Close();
        return _closed.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Begins to close it, as <see cref="Close"/> does; waits for nothing.</summary>
    public ValueTask DisposeAsync()
    {
        Close();
        return ValueTask.CompletedTask;
    }

    /// <summary>
    /// The channel as a pipe: octets in, octets out, with back-pressure both ways. Reading ends when the channel closes;
    /// completing the output closes it. Where a message begins is lost, and a string is its UTF-8. Always the same pipe.
    /// </summary>
    /// <remarks>Ask for it before messages come: inside <c>OnDataChannel</c>, or before the channel opens.</remarks>
    public IDuplexPipe AsDuplexPipe() => Views();

    /// <summary>
    /// The channel as a stream: octets in, octets out, with back-pressure both ways. Each write is a message, or several
    /// where it is longer than 64 KiB or than the peer takes. Reading ends when the channel closes; disposing closes it.
    /// </summary>
    /// <remarks>Ask for it before messages come: inside <c>OnDataChannel</c>, or before the channel opens. Shares its input with <see cref="AsDuplexPipe"/>.</remarks>
    public Stream AsStream() => new ChannelStream(this, Views());

    /// <summary>The label.</summary>
    public override string ToString() => Label;

    /// <summary>The largest message that may be sent.</summary>
    internal long MaxMessageSize => _connection.MaxMessageSize;

    /// <summary>Octets of a message that the application is done with.</summary>
    internal void Consumed(int octets)
    {
        if (octets > 0)
            _connection.Post(Core.Input.NewConsumed(octets));
    }

    /// <summary>Octets that no longer wait for a first subscriber.</summary>
    internal void Unhold(int octets) => _connection.Unhold(octets);

    // From here on: what the connection has to tell.

    /// <summary>A message, on the context.</summary>
    internal void Receive(MessageEvent message)
    {
        if (!_connection.IsClosed)
            _messages.Tell(message);
    }

    /// <summary>It is open; on the context. An announced channel is open before its <c>OnDataChannel</c>, and tells so after it.</summary>
    internal void SetOpen(int? id)
    {
        lock (_sending)
        {
            _id = id ?? _id;
            if (_state == RTCDataChannelState.Connecting && !_isOver)
                _state = RTCDataChannelState.Open;
        }
    }

    /// <summary>Tells that it is open; on the context.</summary>
    internal void TellOpen()
    {
        if (_state != RTCDataChannelState.Open || _opened.Task.IsCompleted)
            return;
        _opens.Tell(Unit.Default);
        _opened.TrySetResult();
    }

    /// <summary>The peer or the transport closes it; on the context.</summary>
    internal void StartClosing()
    {
        lock (_sending)
        {
            // W3C tells only of what did not begin with our own Close.
            if (_state is RTCDataChannelState.Closing or RTCDataChannelState.Closed)
                return;
            _state = RTCDataChannelState.Closing;
        }
        GiveUpWaiting();
        _closings.Tell(Unit.Default);
    }

    /// <summary>It has closed; on the context.</summary>
    internal void FinishClosing(Core.Fault? fault)
    {
        _state = RTCDataChannelState.Closed;
        if (fault is not null)
            _errors.Tell(fault.ToW3C(RTCErrorDetailType.DataChannelFailure));
        _closes.Tell(Unit.Default);
        Complete();
    }

    /// <summary>Nothing follows; on the context.</summary>
    internal void Complete()
    {
        _state = RTCDataChannelState.Closed;
        // Nobody may ever come for them, and the receive window must not wait for it.
        foreach (var message in _messages.Held())
            message.Release();

        _messages.Complete();
        _opens.Complete();
        _lows.Complete();
        _errors.Complete();
        _closings.Complete();
        _closes.Complete();

        if (_opened.TrySetException(Mistakes.InvalidState("The data channel closed before it was open.")))
            _ = _opened.Task.Exception;
        _closed.TrySetResult();
    }

    /// <summary>Octets have left; on the context.</summary>
    internal void TellFell(int octets)
    {
        var now = Interlocked.Add(ref _bufferedAmount, -octets);
        var threshold = BufferedAmountLowThreshold;
        if (now <= threshold && now + octets > threshold)
            _lows.Tell(Unit.Default);
    }

    /// <summary>Octets have left, there may be room for who waits; on the loop's thread.</summary>
    internal void Fell(int octets)
    {
        lock (_sending)
        {
            _queued -= octets;
            while (_waiting.TryPeek(out var waiter) && (waiter.IsGivenUp || HasRoom(waiter.Payload.Length)))
            {
                _waiting.Dequeue();
                if (waiter.IsGivenUp)
                    continue;
                Queue(waiter.IsText, waiter.IsOwned ? waiter.Payload : waiter.Payload.ToArray());
                waiter.Settle(null);
            }
        }
    }

    /// <summary>The core has forgotten it, on the loop's thread; or the connection was closed, on any.</summary>
    /// <returns>Octets that will never leave.</returns>
    internal long End()
    {
        long left;
        lock (_sending)
        {
            _isOver = true;
            left = _queued;
            _queued = 0;
        }
        GiveUpWaiting();
        return left;
    }

    /// <summary>The connection was closed: at once, without a notification. On any thread.</summary>
    internal void Shut()
    {
        lock (_sending)
            _state = RTCDataChannelState.Closed;
        End();
        _closed.TrySetResult();
    }

    private ChannelViews Views()
    {
        if (_views is { } views)
            return views;
        var made = new ChannelViews(this);
        if (Interlocked.CompareExchange(ref _views, made, null) is { } other)
            return other;
        made.Start();
        return made;
    }

    private bool Hold(MessageEvent message, int held)
    {
        if (_state == RTCDataChannelState.Closed)
            return true;
        if (_connection.TryHold(message.Data.Length))
        {
            message.IsHeld = true;
            return true;
        }
        Log.MessageUnheard(_connection.Notify.Logger, Label);
        return false;
    }

    private void Send(bool isText, ReadOnlyMemory<byte> payload)
    {
        CheckSize(payload.Length);
        lock (_sending)
        {
            CheckOpen();
            if (!_connection.TryReserve(payload.Length))
                throw Mistakes.Operation(
                    "The send buffer is full: wait for OnBufferedAmountLow, use SendAsync, or raise WebRtcOptions.SendBuffer."
                );
            Enqueue(isText, payload);
        }
    }

    private ValueTask SendAsync(bool isText, ReadOnlyMemory<byte> payload, bool isOwned, CancellationToken cancel)
    {
        if (cancel.IsCancellationRequested)
            return ValueTask.FromCanceled(cancel);

        Waiter waiter;
        try
        {
            CheckSize(payload.Length);
            lock (_sending)
            {
                CheckOpen();
                if (_waiting.Count == 0 && HasRoom(payload.Length))
                {
                    Queue(isText, isOwned ? payload : payload.ToArray());
                    return ValueTask.CompletedTask;
                }
                waiter = new Waiter(_connection.Notify.Context, isText, payload, isOwned);
                _waiting.Enqueue(waiter);
            }
        }
        catch (RTCException e)
        {
            return ValueTask.FromException(e);
        }

        return waiter.WaitAsync(cancel);
    }

    private void CheckSize(long octets)
    {
        if (octets > MaxMessageSize)
            throw Mistakes.Type(
                $"The message has {octets} octets; the peer takes at most {MaxMessageSize} (RTCSctpTransport.MaxMessageSize)."
            );
    }

    private void CheckOpen()
    {
        if (_state != RTCDataChannelState.Open || _isOver)
            throw Mistakes.InvalidState(
                _state == RTCDataChannelState.Connecting
                    ? "The data channel is not open yet: wait for OnOpen or WaitForOpenAsync."
                    : "The data channel is closing or closed."
            );
    }

    /// <summary>A channel's first message always has room, or one beyond the mark would wait for ever.</summary>
    private bool HasRoom(int octets) => _queued == 0 || _queued + octets <= _connection.SendHighWaterMark;

    private void Queue(bool isText, ReadOnlyMemory<byte> payload)
    {
        _connection.Reserve(payload.Length);
        Enqueue(isText, payload);
    }

    private void Enqueue(bool isText, ReadOnlyMemory<byte> payload)
    {
        _queued += payload.Length;
        Interlocked.Add(ref _bufferedAmount, payload.Length);
        _connection.Post(Core.Input.NewSend(Handle, isText, payload));
    }

    private void GiveUpWaiting()
    {
        lock (_sending)
            while (_waiting.TryDequeue(out var waiter))
                waiter.Settle(Mistakes.InvalidState("The data channel closed before the message could be sent."));
    }

    /// <summary>A message that waits for room.</summary>
    private sealed class Waiter(SerialContext context, bool isText, ReadOnlyMemory<byte> payload, bool isOwned)
    {
        private readonly TaskCompletionSource _done = new();
        private int _isSettled;

        public bool IsText => isText;
        public ReadOnlyMemory<byte> Payload => payload;
        public bool IsOwned => isOwned;
        public bool IsGivenUp => Volatile.Read(ref _isSettled) != 0;

        /// <summary>Ends the wait, on the context; null is success.</summary>
        public void Settle(Exception? failure)
        {
            if (Interlocked.Exchange(ref _isSettled, 1) != 0)
                return;
            context.Post(() =>
            {
                if (failure is null)
                    _done.TrySetResult();
                else if (failure is OperationCanceledException cancelled)
                    _done.TrySetCanceled(cancelled.CancellationToken);
                else
                    _done.TrySetException(failure);
            });
        }

        public async ValueTask WaitAsync(CancellationToken cancel)
        {
            await using (
                cancel.UnsafeRegister(_ => Settle(new OperationCanceledException(cancel)), null).ConfigureAwait(false)
            )
                await _done.Task.ConfigureAwait(false);
        }
    }
}
