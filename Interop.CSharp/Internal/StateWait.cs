namespace Hybrid.WebRtc;

/// <summary>Waits until a state is reached.</summary>
internal sealed class StateWait<T>(Func<T, bool> isReached) : IObserver<T>
{
    private readonly TaskCompletionSource _reached = new();

    /// <summary>Ends when the state is reached; fails when the connection closes before.</summary>
    public static async Task For(IObservable<T> states, Func<T, bool> isReached, CancellationToken cancel)
    {
        var wait = new StateWait<T>(isReached);
        using (states.Subscribe(wait))
            await wait._reached.Task.WaitAsync(cancel).ConfigureAwait(false);
    }

    public void OnNext(T value)
    {
        if (isReached(value))
            _reached.TrySetResult();
    }

    public void OnError(Exception error) => _reached.TrySetException(error);

    public void OnCompleted() => _reached.TrySetException(Mistakes.ClosedMeanwhile());
}
