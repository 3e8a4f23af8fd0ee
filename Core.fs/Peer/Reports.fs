namespace Hybrid.WebRtc.Core

/// What the parts of a peer look like from outside: the values behind RTCIceTransport and the statistics.
module internal Reports =
    let private pair (pair: IcePair) : CandidatePair =
        { Local = Candidate.toText pair.Local
          Remote = Candidate.toText pair.Remote
          Path = pair.Path }

    /// RTCIceTransport, W3C WebRTC 1.0 §5.6.
    let ice (ice: Ice.State) : IceTransportInfo =
        { State = Ice.transportState ice
          Gathering = Ice.gatheringState ice
          Role = Ice.role ice
          LocalParameters = Ice.localCredentials ice
          RemoteParameters = Ice.remoteCredentials ice
          LocalCandidates = Array.map Candidate.toText (Ice.localCandidates ice)
          RemoteCandidates = Array.map Candidate.toText (Ice.remoteCandidates ice)
          SelectedPair = ValueOption.map pair (Ice.selectedPair ice) }

    let private stateText (state: PairState) =
        match state with
        | PairState.Frozen -> "frozen"
        | PairState.Waiting -> "waiting"
        | PairState.InProgress -> "in-progress"
        | PairState.Succeeded -> "succeeded"
        | PairState.Failed -> "failed"

    /// RTCIceCandidatePairStats of every pair of the present generation.
    let pairs (ice: Ice.State) : CandidatePairStats[] =
        Ice.pairs ice
        |> Array.map (fun pair ->
            { Local = Candidate.toText pair.Local
              Remote = Candidate.toText pair.Remote
              State = stateText pair.State
              Nominated = pair.Nominated
              RequestsSent = pair.Counters.RequestsSent
              RequestsReceived = pair.Counters.RequestsReceived
              ResponsesSent = pair.Counters.ResponsesSent
              ResponsesReceived = pair.Counters.ResponsesReceived
              ConsentRequestsSent = pair.Counters.ConsentRequestsSent
              CurrentRoundTripTime = pair.Counters.CurrentRoundTripTime
              TotalRoundTripTime = pair.Counters.TotalRoundTripTime })

    /// The association's figures; ValueNone before it is up.
    let association (sctp: Sctp.State) : SctpStats voption =
        Sctp.figures sctp
        |> ValueOption.map (fun figures ->
            { SmoothedRoundTripTime = figures.SmoothedRoundTripTime
              CongestionWindow = figures.CongestionWindow
              PeerReceiverWindow = figures.PeerReceiverWindow
              Mtu = Sctp.mtu sctp
              BufferedAmount = Sctp.bufferedAmount sctp
              Retransmissions = figures.Retransmissions })

    /// Reasons to ignore an input: how many `Drop` has.
    [<Literal>]
    let private Reasons = 8

    /// No input ignored yet.
    let noDrops: int64[] = Array.zeroCreate (11 * Reasons)

    /// One more input ignored.
    let drop (layer: Layer) (reason: Drop) (drops: int64[]) : int64[] =
        let drops = Array.copy drops
        let at = int layer * Reasons + int reason
        drops[at] <- drops[at] + 1L
        drops

    /// The counts that are not zero.
    let drops (drops: int64[]) : DropCount[] =
        drops
        |> Array.indexed
        |> Array.filter (fun (_, count) -> count > 0L)
        |> Array.map (fun (at, count) ->
            { Layer = enum (at / Reasons)
              Reason = enum (at % Reasons)
              Count = count })
