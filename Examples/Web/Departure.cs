using System.Reactive;
using System.Reactive.Linq;
using System.Reactive.Threading.Tasks;

namespace Hybrid.WebRtc.Examples;

/// <summary>How a connection is seen to be over where no signalling says so.</summary>
public static class Departure
{
    /// <summary>
    /// Ends once the other side has gone: it closed, which DTLS tells, or its consent has run out, RFC 7675. Also once we have closed.
    /// </summary>
    /// <param name="peer">Described by both sides.</param>
    /// <param name="stop">Ends the wait by <see cref="OperationCanceledException"/>.</param>
    public static Task DepartureAsync(this RTCPeerConnection peer, CancellationToken stop = default)
    {
        var failed = peer.OnConnectionStateChange.Where(state =>
            state is RTCPeerConnectionState.Failed or RTCPeerConnectionState.Closed
        );
        var transport = peer.GetTransceivers()
            .Select(each => each.Receiver.Transport)
            .FirstOrDefault(each => each is not null);
        var closed = (transport?.OnStateChange ?? Observable.Empty<RTCDtlsTransportState>()).Where(state =>
            state is RTCDtlsTransportState.Closed or RTCDtlsTransportState.Failed
        );
        // Closing our own ends both without an event.
        return failed
            .Select(_ => Unit.Default)
            .Merge(closed.Select(_ => Unit.Default))
            .FirstOrDefaultAsync()
            .ToTask(stop);
    }
}
