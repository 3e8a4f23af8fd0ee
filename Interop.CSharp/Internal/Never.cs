using System.Reactive.Disposables;

namespace Hybrid.WebRtc;

/// <summary>An event that an object has by W3C, and that never happens to it.</summary>
internal sealed class Never<T> : IObservable<T>
{
    public static readonly Never<T> Instance = new();

    public IDisposable Subscribe(IObserver<T> observer)
    {
        ArgumentNullException.ThrowIfNull(observer);
        return Disposable.Empty;
    }
}
