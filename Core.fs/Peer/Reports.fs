namespace Hybrid.WebRtc.Core

/// What the parts of a peer look like from outside: the values behind RTCIceTransport and the statistics.
module internal Reports =
    let pair (pair: IcePair) : CandidatePair =
        { Local = pair.Local
          Remote = pair.Remote
          Path = pair.Path }

    /// RTCIceTransport, W3C WebRTC 1.0 §5.6. It is told at every change, and read by few: candidates become lines where
    /// they are asked for.
    let ice (ice: Ice.State) : IceTransportInfo =
        { State = Ice.transportState ice
          Gathering = Ice.gatheringState ice
          Role = Ice.role ice
          LocalParameters = Ice.localCredentials ice
          RemoteParameters = Ice.remoteCredentials ice
          LocalCandidates = Ice.localCandidates ice
          LocalServers = Ice.localServers ice
          RemoteCandidates = Ice.remoteCandidates ice
          SelectedPair = ValueOption.map pair (Ice.selectedPair ice) }

    let private stateText (state: PairState) =
        match state with
        | PairState.Frozen -> "frozen"
        | PairState.Waiting -> "waiting"
        | PairState.InProgress -> "in-progress"
        | PairState.Succeeded -> "succeeded"
        | PairState.Failed -> "failed"

    /// RTCIceCandidatePairStats of every pair of the present generation.
    let pairs (sent: PathCount[]) (received: PathCount[]) (ice: Ice.State) : CandidatePairStats[] =
        Ice.pairs ice
        |> Array.map (fun pair ->
            let sent, received = Ways.find pair.Path sent, Ways.find pair.Path received

            let of' (pick: PathCount -> int64) (count: PathCount voption) =
                match count with
                | ValueSome count -> pick count
                | ValueNone -> 0L

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
              TotalRoundTripTime = pair.Counters.TotalRoundTripTime
              PacketsSent = of' _.Packets sent
              BytesSent = of' _.Bytes sent
              PacketsReceived = of' _.Packets received
              BytesReceived = of' _.Bytes received
              LastPacketSentAt = sent |> ValueOption.map _.At
              LastPacketReceivedAt = received |> ValueOption.map _.At })

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

    /// One more input ignored. A connection sees few of the layers' reasons, so only those have a place.
    let drop (layer: Layer) (reason: Drop) (drops: DropCount[]) : DropCount[] =
        let mutable at = 0

        while at < drops.Length && (drops[at].Layer <> layer || drops[at].Reason <> reason) do
            at <- at + 1

        let counted = Array.zeroCreate (max drops.Length (at + 1))
        Array.blit drops 0 counted 0 drops.Length

        counted[at] <-
            { Layer = layer
              Reason = reason
              Count = if at < drops.Length then drops[at].Count + 1L else 1L }

        counted

    /// The counts, by layer and reason.
    let drops (drops: DropCount[]) : DropCount[] =
        Array.sortBy (fun drop -> struct (int drop.Layer, int drop.Reason)) drops
