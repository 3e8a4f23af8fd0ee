using System.Reactive;

namespace Hybrid.WebRtc;

/// <summary>
/// The association that data channels run over,
/// <see href="https://www.w3.org/TR/webrtc/#rtcsctptransport-interface">RTCSctpTransport</see>.
/// </summary>
public sealed class RTCSctpTransport
{
    private readonly Notifier<RTCSctpTransportState> _states;
    private volatile Core.SctpTransportInfo? _info;

    internal RTCSctpTransport(Notifications notify, RTCDtlsTransport transport)
    {
        Transport = transport;
        _states = notify.State(() => State);
    }

    /// <summary>What carries it.</summary>
    public RTCDtlsTransport Transport { get; }

    /// <summary>Where it stands.</summary>
    public RTCSctpTransportState State =>
        _info is { } info ? (RTCSctpTransportState)info.State : RTCSctpTransportState.Connecting;

    /// <summary>The largest message that may be sent, octets; <see cref="long.MaxValue"/> where there is no limit.</summary>
    public long MaxMessageSize => _info?.MaxMessageSize ?? 65_536;

    /// <summary>How many channels there can be at once; null until <see cref="RTCSctpTransportState.Connected"/>.</summary>
    public ushort? MaxChannels => _info?.MaxChannels.ToNumber();

    /// <summary>States as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCSctpTransportState> OnStateChange => _states;

    /// <summary>Whether descriptions have brought it into being.</summary>
    internal bool Exists => _info is not null;

    /// <summary>Takes over what the core says; answers what is to be told.</summary>
    internal Action Apply(Core.SctpTransportInfo info)
    {
        var isNew = _info is null || _info.State != info.State;
        _info = info;
        return () =>
        {
            if (isNew)
                _states.Tell((RTCSctpTransportState)info.State);
        };
    }

    internal void Close() =>
        _info = _info is { } info ? new(Core.SctpTransportState.Closed, info.MaxMessageSize, info.MaxChannels) : null;

    internal void Complete() => _states.Complete();
}

/// <summary>
/// The encrypted transport, <see href="https://www.w3.org/TR/webrtc/#rtcdtlstransport-interface">RTCDtlsTransport</see>.
/// </summary>
public sealed class RTCDtlsTransport
{
    private readonly Notifier<RTCDtlsTransportState> _states;
    private readonly Notifier<RTCErrorEvent> _errors;
    private volatile Core.DtlsTransportInfo? _info;

    internal RTCDtlsTransport(Notifications notify, RTCIceTransport iceTransport)
    {
        IceTransport = iceTransport;
        _states = notify.State(() => State);
        _errors = notify.Event<RTCErrorEvent>();
    }

    /// <summary>What carries it.</summary>
    public RTCIceTransport IceTransport { get; }

    /// <summary>Where it stands.</summary>
    public RTCDtlsTransportState State =>
        _info is { } info ? (RTCDtlsTransportState)info.State : RTCDtlsTransportState.New;

    /// <summary>The protocol's version, <c>DTLS 1.2</c> or <c>DTLS 1.3</c>; null until the handshake is done. Beyond W3C.</summary>
    public string? Version => _info is { Version: { Length: > 0 } version } ? version : null;

    /// <summary>The cipher suite's IANA name; null until the handshake is done. Beyond W3C.</summary>
    public string? CipherSuite => _info is { CipherSuite: { Length: > 0 } suite } ? suite : null;

    /// <summary>
    /// The group that keys were agreed on in, by its IANA name, such as <c>X25519MLKEM768</c> or <c>x25519</c>; null until the handshake is done.
    /// Beyond W3C.
    /// </summary>
    public string? Group => _info is { Group: { Length: > 0 } group } ? group : null;

    /// <summary>States as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCDtlsTransportState> OnStateChange => _states;

    /// <summary>The handshake failed, the fingerprint was wrong, or an alert ended the connection.</summary>
    public IObservable<RTCErrorEvent> OnError => _errors;

    /// <summary>The peer's certificates, DER, the leaf first; none until the handshake is done.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> GetRemoteCertificates() =>
        _info is { } info ? [.. info.RemoteCertificates.Select(der => new ReadOnlyMemory<byte>(der))] : [];

    /// <summary>Takes over what the core says; answers what is to be told.</summary>
    internal Action Apply(Core.DtlsTransportInfo info)
    {
        var isNew = State != (RTCDtlsTransportState)info.State;
        _info = info;
        return () =>
        {
            if (isNew)
                _states.Tell((RTCDtlsTransportState)info.State);
        };
    }

    internal void Fail(Core.Fault fault) => _errors.Tell(fault.ToW3C(RTCErrorDetailType.DtlsFailure));

    internal void Close()
    {
        var info = _info;
        _info = new(
            Core.DtlsTransportState.Closed,
            info?.RemoteCertificates ?? [],
            info?.Version ?? "",
            info?.CipherSuite ?? "",
            info?.Group ?? "",
            info?.Role ?? ""
        );
    }

    internal void Complete()
    {
        _states.Complete();
        _errors.Complete();
    }
}

/// <summary>
/// The search for a path, and the path, <see href="https://www.w3.org/TR/webrtc/#rtcicetransport-interface">RTCIceTransport</see>.
/// </summary>
public sealed partial class RTCIceTransport
{
    private readonly Notifier<RTCIceTransportState> _states;
    private readonly Notifier<RTCIceGathererState> _gatheringStates;
    private readonly Notifier<Unit> _pairChanges;
    private volatile Snapshot _now = new(null, null, RTCIceTransportState.New, 0);

    internal RTCIceTransport(Notifications notify, Func<Core.Input, bool> post, Func<Func<long, Core.Input>, Task> ask)
    {
        _post = post;
        _ask = ask;
        _states = notify.State(() => State);
        _gatheringStates = notify.State(() => GatheringState);
        _pairChanges = notify.Event<Unit>();
        _pairAdds = notify.Event<RTCIceCandidatePairEvent>(0);
        _pairRemoves = notify.Event<RTCIceCandidatePairEvent>(0);
        _pairNominations = notify.Event<RTCIceCandidatePairEvent>(0);
        OnIceCandidatePairAdd = new Watched(this, Watch.Pairs, _pairAdds);
        OnIceCandidatePairRemove = new Watched(this, Watch.Pairs, _pairRemoves);
        OnIceCandidatePairNominate = new Watched(this, Watch.PairsAndNominations, _pairNominations);
    }

    /// <summary>Who decides which pair is used.</summary>
    public RTCIceRole Role => _now.Info is { } info ? (RTCIceRole)info.Role : RTCIceRole.Unknown;

    /// <summary>What it carries: RTP, with RTCP where they are multiplexed, and data.</summary>
    public RTCIceComponent Component => RTCIceComponent.Rtp;

    /// <summary>Where it stands.</summary>
    public RTCIceTransportState State => _now.State;

    /// <summary>How far the gathering of local candidates is.</summary>
    public RTCIceGathererState GatheringState =>
        _now.Info is { } info ? (RTCIceGathererState)info.Gathering : RTCIceGathererState.New;

    /// <summary>States as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCIceTransportState> OnStateChange => _states;

    /// <summary>Gathering states as they change; a new subscriber is told the present one first.</summary>
    public IObservable<RTCIceGathererState> OnGatheringStateChange => _gatheringStates;

    /// <summary>Another pair was selected: see <see cref="GetSelectedCandidatePair"/>.</summary>
    public IObservable<Unit> OnSelectedCandidatePairChange => _pairChanges;

    /// <summary>How often another pair was selected.</summary>
    internal int PairChanges => _now.PairChanges;

    /// <summary>Local candidates of the present generation, as far as they were gathered.</summary>
    public IReadOnlyList<RTCIceCandidate> GetLocalCandidates() =>
        _now.Info is { } info ? [.. info.LocalCandidates.Select(each => Translate.Local(each, info))] : [];

    /// <summary>The peer's candidates, as far as they came.</summary>
    public IReadOnlyList<RTCIceCandidate> GetRemoteCandidates() =>
        [.. (_now.Info?.RemoteCandidates ?? []).Select(Translate.Candidate)];

    /// <summary>The pair that is sent on; null where there is none.</summary>
    public RTCIceCandidatePair? GetSelectedCandidatePair() => _now.Pair;

    /// <summary>Our user name fragment and password; null before the first local description.</summary>
    public RTCIceParameters? GetLocalParameters() => _now.Info?.LocalParameters.ToW3C();

    /// <summary>The peer's user name fragment and password; null before its first description.</summary>
    public RTCIceParameters? GetRemoteParameters() => _now.Info?.RemoteParameters.ToW3C();

    /// <summary>Takes over what the core says; answers what is to be told.</summary>
    internal Action Apply(Core.IceTransportInfo info)
    {
        var old = _now;
        // Most changes leave the pair as it was, down to the same candidates.
        var isSame =
            old.Info is { SelectedPair: { IsSome: true, Value: var before } }
            && info.SelectedPair is { IsSome: true, Value: var after }
            && ReferenceEquals(before.Local, after.Local)
            && ReferenceEquals(before.Remote, after.Remote);
        var pair = isSame ? old.Pair : Translate.Pair(info);
        var isOtherPair = pair != old.Pair;
        var state = (RTCIceTransportState)info.State;
        var isOtherState = state != old.State;
        var isOtherGathering = GatheringState != (RTCIceGathererState)info.Gathering;
        _now = new(info, pair, state, old.PairChanges + (isOtherPair ? 1 : 0));
        return () =>
        {
            if (isOtherGathering)
                _gatheringStates.Tell((RTCIceGathererState)info.Gathering);
            // W3C has the pair change before the state that it brings about.
            if (isOtherPair)
                _pairChanges.Tell(Unit.Default);
            if (isOtherState)
                _states.Tell(state);
        };
    }

    internal void Close() => _now = _now with { State = RTCIceTransportState.Closed };

    internal void Complete()
    {
        _states.Complete();
        _gatheringStates.Complete();
        _pairChanges.Complete();
        CompletePairs();
    }

    private sealed record Snapshot(
        Core.IceTransportInfo? Info,
        RTCIceCandidatePair? Pair,
        RTCIceTransportState State,
        int PairChanges
    );
}

/// <summary>A local and a remote candidate, <see href="https://www.w3.org/TR/webrtc/#rtcicecandidatepair-interface">RTCIceCandidatePair</see>.</summary>
public sealed class RTCIceCandidatePair : IEquatable<RTCIceCandidatePair>
{
    internal RTCIceCandidatePair(RTCIceCandidate local, RTCIceCandidate remote, Core.Path path)
    {
        Path = path;
        Local = local;
        Remote = remote;
    }

    /// <summary>What the core knows it by.</summary>
    internal Core.Path Path { get; }

    /// <summary>Ours.</summary>
    public RTCIceCandidate Local { get; }

    /// <summary>The peer's.</summary>
    public RTCIceCandidate Remote { get; }

    /// <summary>Whether both candidates are the same.</summary>
    public bool Equals(RTCIceCandidatePair? other) =>
        other is not null && Local.Candidate == other.Local.Candidate && Remote.Candidate == other.Remote.Candidate;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as RTCIceCandidatePair);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Local.Candidate, Remote.Candidate);

    /// <summary>Whether both candidates are the same.</summary>
    public static bool operator ==(RTCIceCandidatePair? left, RTCIceCandidatePair? right) => Equals(left, right);

    /// <summary>Whether a candidate differs.</summary>
    public static bool operator !=(RTCIceCandidatePair? left, RTCIceCandidatePair? right) => !Equals(left, right);
}

/// <summary>The credentials of one side's ICE generation, <see href="https://www.w3.org/TR/webrtc/#rtciceparameters">RTCIceParameters</see>.</summary>
/// <param name="UsernameFragment">From 4 to 256 characters, RFC 8839 §5.4.</param>
/// <param name="Password">From 22 to 256 characters.</param>
public sealed record RTCIceParameters(string UsernameFragment, string Password);
