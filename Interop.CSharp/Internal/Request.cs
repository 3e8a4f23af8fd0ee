namespace Hybrid.WebRtc;

/// <summary>A command that was given to the core and has no answer yet. Settled once.</summary>
internal abstract class Request
{
    private int _isSettled;

    /// <summary>The core's answer; on the loop's thread.</summary>
    public void Succeed(Core.Answer answer)
    {
        if (Interlocked.Exchange(ref _isSettled, 1) == 0)
            OnSuccess(answer);
    }

    /// <summary>It was refused, or will never be answered; on any thread.</summary>
    public void Fail(RTCException why)
    {
        if (Interlocked.Exchange(ref _isSettled, 1) == 0)
            OnFailure(why);
    }

    protected abstract void OnSuccess(Core.Answer answer);

    protected abstract void OnFailure(RTCException why);
}

/// <summary>
/// A W3C promise: settled on the connection's context, in order with the notifications. Who awaits it there goes on at once,
/// before the next notification, as a script does.
/// </summary>
internal sealed class Promise<T>(SerialContext context, Func<Core.Answer, T> read) : Request
{
    private readonly TaskCompletionSource<T> _source = new();

    public Task<T> Task => _source.Task;

    protected override void OnSuccess(Core.Answer answer) =>
        context.Post(() =>
        {
            try
            {
                _source.TrySetResult(read(answer));
            }
            catch (Exception e)
            {
                _source.TrySetException(e);
            }
        });

    protected override void OnFailure(RTCException why) => context.Post(() => _source.TrySetException(why));
}

/// <summary>A W3C method that answers at once: its caller waits, and the loop's thread, which waits for nobody, answers.</summary>
internal sealed class Call(Action<Core.Answer>? react) : Request
{
    private readonly TaskCompletionSource _source = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Waits for the answer.</summary>
    /// <exception cref="RTCException">It was refused.</exception>
    public void Wait() => _source.Task.GetAwaiter().GetResult();

    /// <summary>Before anything else that the core has to say.</summary>
    protected override void OnSuccess(Core.Answer answer)
    {
        react?.Invoke(answer);
        _source.SetResult();
    }

    protected override void OnFailure(RTCException why) => _source.SetException(why);
}
