namespace Hybrid.WebRtc.Core

open System

[<NoComparison; NoEquality>]
type PeerConfig =
    { Ciphers: ICiphers
      Identity: Identity
      Configuration: Configuration
      Options: PeerOptions }

[<RequireQualifiedAccess>]
module Peer =
    /// What the descriptions call for once there is a path.
    [<NoComparison; NoEquality>]
    type Handshake =
        { Role: DtlsRole
          Fingerprints: DtlsFingerprint[] }

    /// Where datagrams go, and what waits until they can.
    [<NoComparison; NoEquality>]
    type Route =
        {
            /// The selected pair's path; before one is selected, the first that proved valid, RFC 8445 §12.1.
            Path: Path voption
            IsSelected: bool
            /// The handshake to begin on the first path.
            Handshake: Handshake voption
            /// The peer's SCTP port: the association to begin when the handshake is done.
            SctpPort: uint16 voption
        }

    /// What was last told, so that only changes are.
    [<NoComparison; NoEquality>]
    type Shown =
        { Connection: PeerConnectionState
          IceConnection: IceTransportState
          Gathering: IceGatheringState
          Dtls: DtlsTransportInfo
          Sctp: SctpTransportInfo }

    /// What went through.
    [<NoComparison; NoEquality>]
    type Traffic =
        { PacketsSent: int64
          BytesSent: int64
          PacketsReceived: int64
          BytesReceived: int64 }

    /// A peer that is not closed: its parts, and what joins them.
    [<NoComparison; NoEquality>]
    type Session =
        {
            Config: PeerConfig
            /// For the parts that are made later.
            Entropy: Entropy
            Jsep: Jsep.State
            Ice: Ice.State
            Dtls: Dtls.State
            Sctp: Sctp.State voption
            Channels: Channels.State
            Route: Route
            Shown: Shown
            Traffic: Traffic
            /// How often each layer ignored an input for each reason.
            Drops: int64[]
        }

    [<NoComparison; NoEquality>]
    type State =
        | Live of Session
        | Over

    [<CompiledName "DefaultOptions">]
    let defaultOptions: PeerOptions =
        { DisconnectedAfter = Duration.seconds 5L
          FailedAfter = Duration.seconds 30L
          MaxDatagramSize = 1200
          ReceiveWindow = 8 * 1024 * 1024
          MaxMessageSize = 262_144
          SendBuffer = 16 * 1024 * 1024
          KeyLog = false }

    let private noDtls: DtlsTransportInfo =
        { State = DtlsTransportState.New
          RemoteCertificates = [||]
          Version = ""
          CipherSuite = ""
          Role = "" }

    let private noSctp: SctpTransportInfo =
        { State = SctpTransportState.Connecting
          MaxMessageSize = 0L
          MaxChannels = ValueNone }

    // --- What is told

    let private raising event (s: Session) : Step<Session, Output> = Step.one (Raise event) s

    let private ignored layer reason (s: Session) : Step<Session, Output> =
        Step.one
            (Ignored(layer, reason))
            { s with
                Drops = Reports.drop layer reason s.Drops }

    let private tellIce (s: Session) : Step<Session, Output> =
        raising (IceTransportChanged(Reports.ice s.Ice)) s

    let private tellDtls (info: DtlsTransportInfo) (s: Session) : Step<Session, Output> =
        { s with
            Shown = { s.Shown with Dtls = info } }
        |> raising (DtlsTransportChanged info)

    let private tellSctp (info: SctpTransportInfo) (s: Session) : Step<Session, Output> =
        { s with
            Shown = { s.Shown with Sctp = info } }
        |> raising (SctpTransportChanged info)

    /// The connection's own states follow from those of its transports, W3C WebRTC 1.0 §4.3.2 to §4.3.4.
    let private tellConnection (s: Session) : Step<Session, Output> =
        let ice = [| Ice.transportState s.Ice |]
        let iceConnection = ConnectionStates.iceConnection false ice
        let connection = ConnectionStates.peerConnection false ice [| s.Shown.Dtls.State |]
        let shown = s.Shown

        let s =
            { s with
                Shown =
                    { shown with
                        IceConnection = iceConnection
                        Connection = connection } }

        struct (s,
                [ if iceConnection <> shown.IceConnection then
                      Raise(IceConnectionStateChanged iceConnection)
                  if connection <> shown.Connection then
                      Raise(ConnectionStateChanged connection) ])

    // --- Datagrams out

    let private transmit path (packet: Packet) (s: Session) : Step<Session, Output> =
        let traffic = s.Traffic

        Step.one
            (Transmit(path, packet))
            { s with
                Traffic =
                    { traffic with
                        PacketsSent = traffic.PacketsSent + 1L
                        BytesSent = traffic.BytesSent + int64 packet.Size } }

    /// To the peer, by the best path known; without one, the packet is lost as on any network.
    let private transmitOnRoute (packet: Packet) (s: Session) : Step<Session, Output> =
        match s.Route.Path with
        | ValueSome path -> transmit path packet s
        | ValueNone -> Step.only s

    let private line candidate ufrag (s: Session) : CandidateInit =
        let struct (mid, index) =
            match Jsep.sectionOf ufrag s.Jsep with
            | ValueSome(struct (mid, index)) -> struct (mid, ValueSome index)
            | ValueNone -> struct (ValueNone, ValueNone)

        { Candidate = candidate
          SdpMid = mid
          SdpMLineIndex = index
          UsernameFragment = ValueSome ufrag }

    /// A DTLS end that has not begun.
    let private freshDtls (s: Session) : Session =
        let options = s.Config.Options
        let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize s.Entropy

        let config =
            { DtlsConfig.create s.Config.Ciphers s.Config.Identity.Certificate s.Config.Identity.Key with
                Mtu = options.MaxDatagramSize
                KeyLog = options.KeyLog }

        { s with
            Entropy = entropy
            Dtls = Dtls.create config (Entropy.ofSeed (ReadOnlySpan seed))
            Shown = { s.Shown with Dtls = noDtls } }

    let private ourFragment (s: Session) =
        match Ice.localCredentials s.Ice with
        | ValueSome credentials -> credentials.UsernameFragment
        | ValueNone -> ""

    // --- The parts, each with what its outputs mean to the others

    let rec private jsep now (input: Jsep.Input) (s: Session) : Step<Session, Output> =
        let struct (part, outputs) = Jsep.step input s.Jsep
        { s with Jsep = part } |> Step.route (onJsep now) outputs

    and private onJsep now (output: Jsep.Output) (s: Session) : Step<Session, Output> =
        match output with
        | Jsep.Reply(command, Ok Jsep.Done) -> Step.one (Reply(command, Done)) s
        | Jsep.Reply(command, Ok(Jsep.Created description)) -> Step.one (Reply(command, Created description)) s
        | Jsep.Reply(command, Error mistake) -> Step.one (Refuse(command, mistake)) s
        | Jsep.DescriptionsChanged descriptions -> raising (DescriptionsChanged descriptions) s
        | Jsep.SignalingStateChanged state -> raising (SignalingStateChanged state) s
        | Jsep.NegotiationNeeded -> raising NegotiationNeeded s
        | Jsep.Order order -> obey now order s
        | Jsep.Ignored reason -> ignored Layer.Jsep reason s

    /// What descriptions order of the transport.
    and private obey now (order: JsepOrder) (s: Session) : Step<Session, Output> =
        match order with
        | JsepOrder.SetIceRole controlling ->
            let role =
                if controlling then
                    IceRole.Controlling
                else
                    IceRole.Controlled

            ice now (Ice.SetRole role) s
        | JsepOrder.SetIceLocal c ->
            ice
                now
                (Ice.SetLocal
                    { UsernameFragment = c.UsernameFragment
                      Password = c.Password })
                s
        | JsepOrder.RollbackIceLocal _ -> ice now Ice.RollbackLocal s
        | JsepOrder.SetIceRemote(c, lite) ->
            ice
                now
                (Ice.SetRemote(
                    { UsernameFragment = c.UsernameFragment
                      Password = c.Password },
                    lite
                ))
                s
        | JsepOrder.Gather -> ice now Ice.Gather s
        | JsepOrder.AddRemoteCandidate(text, ufrag) ->
            match Candidate.parse text with
            | ValueSome candidate -> ice now (Ice.AddRemote(candidate, ValueSome ufrag)) s
            | ValueNone -> ignored Layer.Ice Drop.Malformed s
        | JsepOrder.EndOfRemoteCandidates _ -> ice now Ice.EndOfRemoteCandidates s
        | JsepOrder.StartDtls(role, fingerprints) ->
            let handshake =
                { Role =
                    if role = JsepDtlsRole.Client then
                        DtlsRole.Client
                    else
                        DtlsRole.Server
                  Fingerprints =
                    fingerprints
                    |> Array.map (fun f ->
                        { HashName = f.Algorithm
                          Digest = f.Value }
                        : DtlsFingerprint) }

            let s =
                match s.Shown.Dtls.State with
                | DtlsTransportState.New -> s
                // A second association replaces the first, RFC 8842 §4.
                | _ -> freshDtls s

            { s with
                Route =
                    { s.Route with
                        Handshake = ValueSome handshake } }
            |> startDtls now
        | JsepOrder.StartSctp(port, maxMessageSize) ->
            { s with
                Route =
                    { s.Route with
                        SctpPort = ValueSome port } }
            |> tellSctp
                { s.Shown.Sctp with
                    MaxMessageSize = maxMessageSize }
            |> Step.bind (startSctp now)
        | JsepOrder.Close -> loseAssociation now ValueNone s

    and private ice now (input: Ice.Input) (s: Session) : Step<Session, Output> =
        let struct (part, outputs) = Ice.step now input s.Ice

        match outputs with
        | [] -> Step.only { s with Ice = part }
        | _ -> { s with Ice = part } |> Step.route (onIce now) outputs

    and private onIce now (output: Ice.Output) (s: Session) : Step<Session, Output> =
        match output with
        | Ice.Transmit(path, message) -> transmit path (Packet.Stun(s.Config.Ciphers, message)) s
        | Ice.OpenPorts -> Step.one OpenPorts s
        | Ice.ClosePort port -> Step.one (ClosePort port) s
        | Ice.ResolveServer url -> Step.one (ResolveServer url) s
        | Ice.Resolve name -> Step.one (ResolveName name) s
        | Ice.Gathered(candidate, url) ->
            let text = Candidate.toText candidate
            let ufrag = ourFragment s

            jsep now (Jsep.LocalCandidate(text, ufrag)) s
            |> Step.bind (fun s ->
                raising
                    (IceCandidate(
                        ValueSome
                            { Candidate = line text ufrag s
                              Url = url }
                    ))
                    s)
            |> Step.bind tellIce
        | Ice.GatheringChanged state -> gathering now state s
        | Ice.ServerError(url, local, code, text) ->
            raising
                (IceCandidateError
                    { Address = local |> ValueOption.map (fun e -> Address.toText e.Address)
                      Port = local |> ValueOption.map (fun e -> int e.Port)
                      Url = url
                      Code = code
                      Text = text })
                s
        | Ice.StateChanged state ->
            let s =
                match state with
                // Consent is gone: nothing may be sent any more, RFC 7675 §5.1.
                | IceTransportState.Failed
                | IceTransportState.Closed ->
                    { s with
                        Route =
                            { s.Route with
                                Path = ValueNone
                                IsSelected = false } }
                | _ -> s

            tellIce s |> Step.bind tellConnection
        | Ice.RoleChanged _ -> tellIce s
        | Ice.Selected(_, _, path) ->
            { s with
                Route =
                    { s.Route with
                        Path = ValueSome path
                        IsSelected = true } }
            |> tellIce
            |> Step.bind (startDtls now)
        | Ice.Validated path ->
            if s.Route.Path.IsSome then
                Step.only s
            else
                { s with
                    Route = { s.Route with Path = ValueSome path } }
                |> startDtls now
        | Ice.Invalidated path ->
            if not s.Route.IsSelected && s.Route.Path = ValueSome path then
                Step.only
                    { s with
                        Route = { s.Route with Path = ValueNone } }
            else
                Step.only s
        | Ice.Ignored reason -> ignored Layer.Ice reason s

    /// W3C WebRTC 1.0 §4.3.2: the end of a generation is told as an empty candidate, then the state, then `null`.
    and private gathering now (state: IceGatheringState) (s: Session) : Step<Session, Output> =
        let ufrag = ourFragment s

        let told (s: Session) =
            { s with
                Shown = { s.Shown with Gathering = state } }
            |> tellIce
            |> Step.bind (raising (IceGatheringStateChanged state))

        match state with
        | IceGatheringState.Complete ->
            jsep now (Jsep.GatheringComplete ufrag) s
            |> Step.bind (fun s ->
                raising
                    (IceCandidate(
                        ValueSome
                            { Candidate = line "" ufrag s
                              Url = ValueNone }
                    ))
                    s)
            |> Step.bind told
            |> Step.bind (raising (IceCandidate ValueNone))
        | _ -> told s

    /// Begins the handshake that the descriptions call for: the server at once, the client as soon as there is a path.
    and private startDtls now (s: Session) : Step<Session, Output> =
        match s.Route.Handshake with
        | ValueSome handshake when s.Route.Path.IsSome || handshake.Role = DtlsRole.Server ->
            { s with
                Route = { s.Route with Handshake = ValueNone } }
            |> tellDtls
                { s.Shown.Dtls with
                    State = DtlsTransportState.Connecting
                    Role =
                        if handshake.Role = DtlsRole.Client then
                            "client"
                        else
                            "server" }
            |> Step.bind tellConnection
            |> Step.bind (dtls now (Dtls.Start(handshake.Role, handshake.Fingerprints)))
        | _ -> Step.only s

    and private dtls now (input: Dtls.Input) (s: Session) : Step<Session, Output> =
        let struct (part, outputs) = Dtls.step now input s.Dtls

        match outputs with
        | [] -> Step.only { s with Dtls = part }
        | _ -> { s with Dtls = part } |> Step.route (onDtls now) outputs

    and private onDtls now (output: Dtls.Output) (s: Session) : Step<Session, Output> =
        match output with
        | Dtls.Transmit flight -> transmitOnRoute (Packet.Handshake flight) s
        // Asked for by `seal`, which takes it itself.
        | Dtls.Sealed _ -> Step.only s
        | Dtls.Data plaintext -> sctp now (SctpInput.Received(Memory.op_Implicit plaintext)) s
        | Dtls.Connected c ->
            s
            |> tellDtls
                { s.Shown.Dtls with
                    State = DtlsTransportState.Connected
                    RemoteCertificates = c.RemoteCertificates
                    Version = c.Version
                    CipherSuite = c.SuiteName }
            |> Step.bind tellConnection
            |> Step.bind (startSctp now)
        | Dtls.Failed fault ->
            s
            |> tellDtls
                { s.Shown.Dtls with
                    State = DtlsTransportState.Failed }
            |> Step.bind (raising (DtlsError fault))
            |> Step.bind tellConnection
            |> Step.bind (loseAssociation now (ValueSome fault))
        | Dtls.Closed ->
            s
            |> tellDtls
                { s.Shown.Dtls with
                    State = DtlsTransportState.Closed }
            |> Step.bind tellConnection
            |> Step.bind (loseAssociation now ValueNone)
        | Dtls.KeyLog line -> raising (KeyLogged line) s
        | Dtls.Ignored reason -> ignored Layer.Dtls reason s

    /// Begins the association that the descriptions call for, once the handshake is done.
    and private startSctp now (s: Session) : Step<Session, Output> =
        match s.Sctp, s.Route.SctpPort with
        | ValueNone, ValueSome port when s.Shown.Dtls.State = DtlsTransportState.Connected ->
            let options = s.Config.Options

            let config =
                { SctpConfig.create s.Config.Ciphers with
                    RemotePort = port
                    // A DTLS 1.2 record takes at most 37 octets; SCTP packets are multiples of 4.
                    Mtu = (options.MaxDatagramSize - 37) &&& ~~~3
                    ReceiveWindow = options.ReceiveWindow
                    MaxMessageSize = options.MaxMessageSize }

            { s with
                Sctp = ValueSome(Sctp.create (Entropy.split "sctp" s.Entropy) config) }
            |> sctp now SctpInput.Connect
        | _ -> Step.only s

    and private sctp now (input: SctpInput) (s: Session) : Step<Session, Output> =
        match s.Sctp with
        | ValueNone -> ignored Layer.Sctp Drop.Unexpected s
        | ValueSome state ->
            let struct (part, outputs) = Sctp.step now input state

            match outputs with
            | [] -> Step.only { s with Sctp = ValueSome part }
            | _ -> { s with Sctp = ValueSome part } |> Step.route (onSctp now) outputs

    and private onSctp now (output: SctpOutput) (s: Session) : Step<Session, Output> =
        match output with
        | SctpOutput.Transmit packet -> seal now packet s
        | SctpOutput.Established(outbound, _) ->
            let parity =
                if s.Shown.Dtls.Role = "client" then
                    Channels.Even
                else
                    Channels.Odd

            s
            |> tellSctp
                { s.Shown.Sctp with
                    State = SctpTransportState.Connected
                    MaxChannels = ValueSome(outbound) }
            |> Step.bind (channels now (Channels.Established(parity, outbound)))
        | SctpOutput.Message(stream, ppid, payload) -> channels now (Channels.Received(stream, ppid, payload)) s
        | SctpOutput.Transmitted(stream, octets) -> channels now (Channels.Transmitted(stream, octets)) s
        | SctpOutput.IncomingReset streams -> channels now (Channels.IncomingReset streams) s
        | SctpOutput.OutgoingReset(streams, _) -> channels now (Channels.OutgoingReset streams) s
        | SctpOutput.Closed -> loseAssociation now ValueNone s
        | SctpOutput.Failed fault -> loseAssociation now (ValueSome fault) s
        | SctpOutput.Ignored reason -> ignored Layer.Sctp reason s

    /// One record of application data: DTLS spends a sequence number on it, and it is sealed when it is written.
    and private seal now packet (s: Session) : Step<Session, Output> =
        match Dtls.step now Dtls.Seal s.Dtls with
        | struct (part, [ Dtls.Sealed seal ]) -> transmitOnRoute (Packet.Data(seal, packet)) { s with Dtls = part }
        | struct (part, outputs) -> { s with Dtls = part } |> Step.route (onDtls now) outputs

    and private channels now (input: Channels.Input) (s: Session) : Step<Session, Output> =
        let struct (part, outputs) = Channels.step now input s.Channels
        { s with Channels = part } |> Step.route (onChannels now) outputs

    and private onChannels now (output: Channels.Output) (s: Session) : Step<Session, Output> =
        match output with
        | Channels.Created(command, info) ->
            Step.one (Reply(command, Channel info)) s
            |> Step.bind (jsep now Jsep.NeedDataSection)
        | Channels.Refused(command, mistake) -> Step.one (Refuse(command, mistake)) s
        | Channels.Queue message -> sctp now (SctpInput.Send message) s
        | Channels.Reset streams -> sctp now (SctpInput.Reset streams) s
        | Channels.Discarded octets -> sctp now (SctpInput.Consumed octets) s
        | Channels.Announced info -> raising (ChannelAnnounced info) s
        | Channels.Opened(handle, id) -> raising (ChannelOpened(handle, id)) s
        | Channels.ClosingBegan handle -> raising (ChannelClosing handle) s
        | Channels.Closed(handle, fault) -> raising (ChannelClosed(handle, fault)) s
        | Channels.BufferedAmountFell(handle, octets) -> raising (BufferedAmountFell(handle, octets)) s
        | Channels.Deliver(handle, text, payload) -> Step.one (Deliver(handle, text, payload)) s
        | Channels.Ignored reason -> ignored Layer.Data reason s

    /// The association is gone, and its channels with it.
    and private loseAssociation now fault (s: Session) : Step<Session, Output> =
        match s.Shown.Sctp.State with
        | SctpTransportState.Closed -> Step.only s
        | _ ->
            { s with Sctp = ValueNone }
            |> tellSctp
                { s.Shown.Sctp with
                    State = SctpTransportState.Closed }
            |> Step.bind (channels now (Channels.AssociationLost fault))

    // --- Requests and the passing of time

    /// W3C WebRTC 1.0 §4.4.1.6 setConfiguration: descriptions' part in JSEP, the servers for the next gathering in ICE.
    let private configure now command (configuration: Configuration) (s: Session) : Step<Session, Output> =
        let struct (s, outputs) = jsep now (Jsep.SetConfiguration(command, configuration)) s

        match outputs with
        | Reply _ :: _ ->
            let struct (s, more) =
                ice now (Ice.SetServers(configuration.IceServers, configuration.IceTransportPolicy)) s

            struct (s, outputs @ more)
        | _ -> struct (s, outputs)

    let private statistics now (s: Session) : Statistics =
        { At = now
          Ice = Reports.ice s.Ice
          Dtls = s.Shown.Dtls
          Sctp = s.Shown.Sctp
          Association = ValueOption.bind Reports.association s.Sctp
          Pairs = Reports.pairs s.Ice
          Channels = Channels.stats s.Channels
          ChannelsOpened = s.Channels.Opened
          ChannelsClosed = s.Channels.Closed
          PacketsSent = s.Traffic.PacketsSent
          BytesSent = s.Traffic.BytesSent
          PacketsReceived = s.Traffic.PacketsReceived
          BytesReceived = s.Traffic.BytesReceived
          Drops = Reports.drops s.Drops }

    let private received now path (bytes: Memory<byte>) (s: Session) : Step<Session, Output> =
        let traffic = s.Traffic

        let s =
            { s with
                Traffic =
                    { traffic with
                        PacketsReceived = traffic.PacketsReceived + 1L
                        BytesReceived = traffic.BytesReceived + int64 bytes.Length } }

        match Demultiplexing.kindOf (Span.op_Implicit bytes.Span) with
        | Demux.Stun -> ice now (Ice.Received(path, Memory.op_Implicit bytes)) s
        | Demux.Dtls when Ice.isValid path s.Ice -> dtls now (Dtls.Received bytes) s
        | Demux.Dtls
        | Demux.Rtp when not (Ice.isValid path s.Ice) -> ignored Layer.Demux Drop.Unvalidated s
        | _ -> ignored Layer.Demux Drop.Unsupported s

    /// Whoever is due.
    let private tick now (s: Session) : Step<Session, Output> =
        let whenDue deadline step (s: Session) =
            if deadline <= now then step s else Step.only s

        s
        |> whenDue (Ice.deadline s.Ice) (ice now Ice.Tick)
        |> Step.bind (fun s -> whenDue (Dtls.deadline s.Dtls) (dtls now Dtls.Tick) s)
        |> Step.bind (fun s ->
            match s.Sctp with
            | ValueSome state -> whenDue (Sctp.deadline state) (sctp now SctpInput.Tick) s
            | ValueNone -> Step.only s)

    /// W3C WebRTC 1.0 §4.4.2 close(): channels end first, so that the association's end is not told as their failure;
    /// then each transport says its goodbye, the innermost first.
    let private close now command (s: Session) : Step<State, Output> =
        let goodbye (s: Session) =
            match s.Sctp with
            // The association speaks when it is ticked.
            | ValueSome _ ->
                sctp now (SctpInput.Abort "Close called") s
                |> Step.bind (sctp now SctpInput.Tick)
            | ValueNone -> Step.only s

        let struct (_, outputs) =
            channels now (Channels.AssociationLost ValueNone) s
            |> Step.bind goodbye
            |> Step.bind (dtls now Dtls.Close)
            |> Step.bind (ice now Ice.Close)
            |> Step.bind (jsep now Jsep.Close)

        let closed =
            [ Raise(IceConnectionStateChanged IceTransportState.Closed)
              Raise(ConnectionStateChanged PeerConnectionState.Closed)
              Reply(command, Done)
              Ended ]

        struct (Over, outputs @ closed)

    let private live now (input: Input) (s: Session) : Step<Session, Output> =
        match input with
        | Tick -> tick now s
        | Datagram(path, bytes) -> received now path bytes s
        | PortOpened(port, local, preference) -> ice now (Ice.PortOpened(port, local, preference)) s
        | PortClosed port -> ice now (Ice.PortClosed port) s
        | PortsComplete -> ice now Ice.PortsComplete s
        | ServerResolved(url, endpoints) -> ice now (Ice.ServerResolved(url, endpoints)) s
        | ServerFailed(url, reason) -> ice now (Ice.ServerFailed(url, reason)) s
        | NameResolved(name, address) -> ice now (Ice.Resolved(name, address)) s
        | CreateOffer(command, restart) -> jsep now (Jsep.CreateOffer(command, restart)) s
        | CreateAnswer command -> jsep now (Jsep.CreateAnswer command) s
        | SetLocalDescription(command, description) -> jsep now (Jsep.SetLocalDescription(command, description)) s
        | SetRemoteDescription(command, description) -> jsep now (Jsep.SetRemoteDescription(command, description)) s
        | AddIceCandidate(command, candidate) -> jsep now (Jsep.AddIceCandidate(command, candidate)) s
        | RestartIce command -> jsep now (Jsep.RestartIce command) s
        | SetConfiguration(command, configuration) -> configure now command configuration s
        | CreateDataChannel(command, init) -> channels now (Channels.Create(command, init)) s
        | Send(channel, text, payload) -> channels now (Channels.Send(channel, text, payload)) s
        | CloseChannel channel -> channels now (Channels.Close channel) s
        | Consumed octets when s.Sctp.IsSome -> sctp now (SctpInput.Consumed octets) s
        | Consumed _ -> Step.only s
        | GetStats command -> Step.one (Reply(command, Stats(statistics now s))) s
        // Answered before, by `step`.
        | Close _ -> Step.only s

    /// A closed peer answers requests and is silent, W3C WebRTC 1.0 §4.4.2.
    let private over (input: Input) : Output list =
        match input with
        | Close command -> [ Reply(command, Done) ]
        | CreateOffer(command, _)
        | CreateAnswer command
        | SetLocalDescription(command, _)
        | SetRemoteDescription(command, _)
        | AddIceCandidate(command, _)
        | RestartIce command
        | SetConfiguration(command, _)
        | CreateDataChannel(command, _)
        | GetStats command ->
            [ Refuse(command, Mistake.create ErrorName.InvalidStateError "The connection is closed; make a new one.") ]
        | Datagram _ -> [ Ignored(Layer.Peer, Drop.Stale) ]
        | Tick
        | PortOpened _
        | PortClosed _
        | PortsComplete
        | ServerResolved _
        | ServerFailed _
        | NameResolved _
        | Send _
        | CloseChannel _
        | Consumed _ -> []

    [<CompiledName "Create">]
    let create (entropy: ReadOnlyMemory<byte>) (config: PeerConfig) : Result<State, Mistake> =
        match Configurations.check config.Configuration with
        | ValueSome mistake -> Error mistake
        | ValueNone ->
            let seed = Entropy.ofSeed entropy.Span
            let options = config.Options

            let fingerprint: SdpFingerprint =
                { Algorithm = "sha-256"
                  Value = Ciphers.hash config.Ciphers HashAlgorithm.Sha256 (ReadOnlySpan config.Identity.Certificate) }

            let jsepConfig: Jsep.Config =
                { Configuration = config.Configuration
                  Fingerprints = [| fingerprint |]
                  MaxMessageSize = int64 options.MaxMessageSize
                  SctpPort = 5000us }

            let iceOptions: IceOptions =
                { DisconnectedAfter = options.DisconnectedAfter
                  FailedAfter = options.FailedAfter }

            let agent = Ice.create iceOptions (Entropy.split "ice" seed) config.Ciphers

            let struct (agent, _) =
                Ice.step
                    0L<us>
                    (Ice.SetServers(config.Configuration.IceServers, config.Configuration.IceTransportPolicy))
                    agent

            let dtlsConfig =
                { DtlsConfig.create config.Ciphers config.Identity.Certificate config.Identity.Key with
                    Mtu = options.MaxDatagramSize
                    KeyLog = options.KeyLog }

            Ok(
                Live
                    { Config = config
                      Entropy = Entropy.split "peer" seed
                      Jsep = Jsep.create jsepConfig (Entropy.split "jsep" seed)
                      Ice = agent
                      Dtls = Dtls.create dtlsConfig (Entropy.split "dtls" seed)
                      Sctp = ValueNone
                      Channels = Channels.create options.MaxMessageSize
                      Route =
                        { Path = ValueNone
                          IsSelected = false
                          Handshake = ValueNone
                          SctpPort = ValueNone }
                      Shown =
                        { Connection = PeerConnectionState.New
                          IceConnection = IceTransportState.New
                          Gathering = IceGatheringState.New
                          Dtls = noDtls
                          Sctp = noSctp }
                      Traffic =
                        { PacketsSent = 0L
                          BytesSent = 0L
                          PacketsReceived = 0L
                          BytesReceived = 0L }
                      Drops = Reports.noDrops }
            )

    [<CompiledName "Deadline">]
    let deadline (state: State) : Instant =
        match state with
        | Over -> Instant.never
        | Live s ->
            let sctp =
                match s.Sctp with
                | ValueSome state -> Sctp.deadline state
                | ValueNone -> Instant.never

            Instant.min (Ice.deadline s.Ice) (Instant.min (Dtls.deadline s.Dtls) sctp)

    [<CompiledName "Step">]
    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match state, input with
        | Live s, Close command -> close now command s
        | Live s, _ ->
            let struct (s, outputs) = live now input s
            struct (Live s, outputs)
        | Over, _ -> struct (Over, over input)

    [<CompiledName "Perform">]
    let perform (shell: IShell) (outputs: Output list) : unit =
        for output in outputs do
            match output with
            | Transmit(path, packet) -> shell.Transmit(path, packet)
            | OpenPorts -> shell.OpenPorts()
            | ClosePort port -> shell.ClosePort port
            | ResolveServer url -> shell.ResolveServer url
            | ResolveName name -> shell.ResolveName name
            | Reply(command, answer) -> shell.Reply(command, answer)
            | Refuse(command, mistake) -> shell.Refuse(command, mistake)
            | Raise event -> shell.Raise event
            | Deliver(channel, text, payload) -> shell.Deliver(channel, text, payload)
            | Ignored(layer, reason) -> shell.Ignored(layer, reason)
            | Ended -> shell.Ended()

    [<CompiledName "UsernameFragments">]
    let usernameFragments (state: State) : string[] =
        match state with
        | Over -> [||]
        | Live s ->
            match Ice.localCredentials s.Ice with
            | ValueSome credentials -> [| credentials.UsernameFragment |]
            | ValueNone -> [||]

    [<CompiledName "RequestedFragment">]
    let requestedFragment (datagram: ReadOnlySpan<byte>) : string voption = Stun.Message.usernameFragment datagram
