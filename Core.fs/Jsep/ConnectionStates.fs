namespace Hybrid.WebRtc.Core

/// The states of a connection, derived from those of its transports: the tables of W3C WebRTC 1.0 §4.3.2 to §4.3.4,
/// row by row. A transport that serves several sections is given once.
[<RequireQualifiedAccess>]
module ConnectionStates =
    let private any (state: 'state) (states: 'state[]) = Array.contains state states

    let private all (among: 'state[]) (states: 'state[]) =
        Array.forall (fun s -> Array.contains s among) states

    /// RTCIceGatheringState, §4.3.2.
    [<CompiledName "IceGathering">]
    let iceGathering (transports: IceGatheringState[]) : IceGatheringState =
        if any IceGatheringState.Gathering transports then
            IceGatheringState.Gathering
        elif transports.Length = 0 || any IceGatheringState.New transports then
            IceGatheringState.New
        else
            IceGatheringState.Complete

    /// RTCIceConnectionState, §4.3.4.
    [<CompiledName "IceConnection">]
    let iceConnection (closed: bool) (transports: IceTransportState[]) : IceTransportState =
        if closed then
            IceTransportState.Closed
        elif any IceTransportState.Failed transports then
            IceTransportState.Failed
        elif any IceTransportState.Disconnected transports then
            IceTransportState.Disconnected
        elif all [| IceTransportState.New; IceTransportState.Closed |] transports then
            IceTransportState.New
        elif
            any IceTransportState.New transports
            || any IceTransportState.Checking transports
        then
            IceTransportState.Checking
        elif all [| IceTransportState.Completed; IceTransportState.Closed |] transports then
            IceTransportState.Completed
        else
            IceTransportState.Connected

    /// RTCPeerConnectionState, §4.3.3.
    [<CompiledName "PeerConnection">]
    let peerConnection (closed: bool) (ice: IceTransportState[]) (dtls: DtlsTransportState[]) : PeerConnectionState =
        if closed then
            PeerConnectionState.Closed
        elif any IceTransportState.Failed ice || any DtlsTransportState.Failed dtls then
            PeerConnectionState.Failed
        elif any IceTransportState.Disconnected ice then
            PeerConnectionState.Disconnected
        elif
            all [| IceTransportState.New; IceTransportState.Closed |] ice
            && all [| DtlsTransportState.New; DtlsTransportState.Closed |] dtls
        then
            PeerConnectionState.New
        elif
            all
                [| IceTransportState.Connected
                   IceTransportState.Completed
                   IceTransportState.Closed |]
                ice
            && all [| DtlsTransportState.Connected; DtlsTransportState.Closed |] dtls
        then
            PeerConnectionState.Connected
        else
            PeerConnectionState.Connecting
