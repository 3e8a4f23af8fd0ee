using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc;

/// <content>
/// Candidate pairs in the hands of the application,
/// <see href="https://w3c.github.io/webrtc-extensions/#rtcicetransport-extensions">WebRTC Extensions, RTCIceTransport</see>.
/// </content>
public sealed partial class RTCIceTransport
{
    private readonly Lock _watchGate = new();
    private readonly Func<Input, bool> _post;
    private readonly Func<Func<long, Input>, Task> _ask;
    private readonly Notifier<RTCIceCandidatePairEvent> _pairAdds;
    private readonly Notifier<RTCIceCandidatePairEvent> _pairRemoves;
    private readonly Notifier<RTCIceCandidatePairEvent> _pairNominations;
    private Watch _watch;

    /// <summary>[[ProposalPending]]: handlers are being asked.</summary>
    private volatile bool _isProposing;

    private enum Watch
    {
        None,
        Pairs,
        PairsAndNominations,
    }

    /// <summary>A pair was formed; whoever subscribes first is told of those that there are.</summary>
    public IObservable<RTCIceCandidatePairEvent> OnIceCandidatePairAdd { get; }

    /// <summary>A pair is gone: its address has vanished, ICE has restarted, or the application has removed it. Never cancelable.</summary>
    public IObservable<RTCIceCandidatePairEvent> OnIceCandidatePairRemove { get; }

    /// <summary>
    /// The controlling side is about to nominate a pair. A handler may prevent that, before it returns: data then goes by the pair
    /// that works, and the application selects one by <see cref="SelectCandidatePairAsync"/>.
    /// </summary>
    public IObservable<RTCIceCandidatePairEvent> OnIceCandidatePairNominate { get; }

    /// <summary>
    /// Has data go by another pair. Where this side is the controlling one it nominates that pair, and the other side follows: at once where both
    /// renominate (<see cref="WebRtcOptions.Renomination"/>), else as its implementation does. It is not changed by itself for as long as it works.
    /// </summary>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: the connection is closed, the transport is new, failed or closed, or a nomination is being decided.
    /// <c>NotFoundError</c>: there is no such pair any more. <c>OperationError</c>: no check of it has been answered within 30 s.
    /// </exception>
    public Task SelectCandidatePairAsync(RTCIceCandidatePair candidatePair)
    {
        ArgumentNullException.ThrowIfNull(candidatePair);
        return Check() ?? _ask(id => Input.NewSelectCandidatePair(id, candidatePair.Path));
    }

    /// <summary>
    /// Removes a pair: no check is sent by it or answered, and no data. Where data went by it, another that works takes its place.
    /// <see cref="OnIceCandidatePairRemove"/> is told before this ends.
    /// </summary>
    /// <exception cref="RTCException">
    /// <c>InvalidStateError</c>: as <see cref="SelectCandidatePairAsync"/>. <c>NotFoundError</c>: there is no such pair any more.
    /// </exception>
    public Task RemoveCandidatePairAsync(RTCIceCandidatePair candidatePair)
    {
        ArgumentNullException.ThrowIfNull(candidatePair);
        return Check() ?? _ask(id => Input.NewRemoveCandidatePair(id, candidatePair.Path));
    }

    /// <summary>On the context.</summary>
    internal void TellAdded(CandidatePair pair) => _pairAdds.Tell(new(Translate.Pair(pair, _now.Info), false));

    /// <summary>On the context.</summary>
    internal void TellRemoved(CandidatePair pair) => _pairRemoves.Tell(new(Translate.Pair(pair, _now.Info), false));

    /// <summary>Asks handlers whether a pair is to be nominated, and has it done; on the context.</summary>
    internal void Propose(CandidatePair pair)
    {
        var proposal = new RTCIceCandidatePairEvent(Translate.Pair(pair, _now.Info), true);
        _isProposing = true;

        try
        {
            _pairNominations.Tell(proposal);
        }
        finally
        {
            _isProposing = false;
        }

        _post(Input.NewAnswerNomination(pair.Path, !proposal.DefaultPrevented));
    }

    private void CompletePairs()
    {
        _pairAdds.Complete();
        _pairRemoves.Complete();
        _pairNominations.Complete();
    }

    /// <summary>The state that both methods ask for; null: it is the right one.</summary>
    private Task? Check()
    {
        if (_isProposing)
            return Refuse("A nomination is being decided; do it when the handler has returned.");

        return State is RTCIceTransportState.New or RTCIceTransportState.Failed or RTCIceTransportState.Closed
            ? Refuse($"The transport is {State}; pairs are selected and removed while it is connected or checks.")
            : null;

        static Task Refuse(string why) => Task.FromException(new RTCException("InvalidStateError", why));
    }

    private void Begin(Watch wanted)
    {
        lock (_watchGate)
        {
            if (_watch >= wanted)
                return;

            _watch = wanted;
            _post(Input.NewWatchPairs(wanted == Watch.PairsAndNominations));
        }
    }

    /// <summary>Events that the core tells of from the first subscription on.</summary>
    private sealed class Watched(RTCIceTransport transport, Watch watch, Notifier<RTCIceCandidatePairEvent> inner)
        : IObservable<RTCIceCandidatePairEvent>
    {
        public IDisposable Subscribe(IObserver<RTCIceCandidatePairEvent> observer)
        {
            var subscription = inner.Subscribe(observer);
            transport.Begin(watch);
            return subscription;
        }
    }
}

/// <summary>
/// What happens to a candidate pair,
/// <see href="https://w3c.github.io/webrtc-extensions/#rtcicecandidatepairevent">RTCIceCandidatePairEvent</see>.
/// </summary>
public sealed class RTCIceCandidatePairEvent
{
    internal RTCIceCandidatePairEvent(RTCIceCandidatePair candidatePair, bool cancelable)
    {
        CandidatePair = candidatePair;
        Cancelable = cancelable;
    }

    /// <summary>The pair.</summary>
    public RTCIceCandidatePair CandidatePair { get; }

    /// <summary>Whether it can be prevented.</summary>
    public bool Cancelable { get; }

    /// <summary>Whether a handler has prevented it.</summary>
    public bool DefaultPrevented { get; private set; }

    /// <summary>Prevents it, where it is <see cref="Cancelable"/>; of effect until the handler returns.</summary>
    public void PreventDefault() => DefaultPrevented |= Cancelable;
}
