namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Core.Session
open Hybrid.WebRtc.Core.Wiring

[<RequireQualifiedAccess>]
module Peer =
    [<NoComparison; NoEquality>]
    type State =
        /// With the datagrams that came in, whatever became of them.
        | Live of Session.State * Passed
        /// Closed, but for what TURN servers are still to be told.
        | Leaving of Session.State
        | Over

    [<CompiledName "DefaultOptions">]
    let defaultOptions: PeerOptions =
        { DisconnectedAfter = Duration.seconds 5L
          FailedAfter = Duration.seconds 30L
          MaxDatagramSize = 1200
          MtuDiscoveryLimit = 1472
          ReceiveWindow = 8 * 1024 * 1024
          MaxReceiveWindow = 32 * 1024 * 1024
          CongestionControl = CongestionControl.Cubic
          MaxMessageSize = 262_144
          SendBuffer = 16 * 1024 * 1024
          StartBitrate = 300_000
          MinBitrate = 10_000
          MaxBitrate = 2_000_000_000
          Epoch = 0L
          KeyLog = false
          SrtpProfiles = DtlsConfig.srtpProfiles
          Dtls = DtlsOptions.defaults
          IceTcp = true
          RelayTcp = false
          Publication = Publication.plain
          Scope = IceScope.everything
          Mobility = MobilityOptions.defaults }

    /// W3C WebRTC 1.0 §4.4.1.6 setConfiguration: descriptions' part in JSEP, the servers for the next gathering in ICE.
    let private configure now command (configuration: Configuration) (s: Session.State) : Step<Session.State, Output> =
        match Configurations.check s.Config.Options.Scope.Lite configuration with
        | ValueSome mistake -> Step.one (Refuse(command, mistake)) s
        | ValueNone ->
            let struct (s, outputs) = jsep now (Jsep.SetConfiguration(command, configuration)) s

            match outputs with
            | Reply _ :: _ ->
                ice now (Ice.SetServers(configuration.IceServers, configuration.IceTransportPolicy)) s
                |> Step.bind (ice now (Ice.SetPool(configuration.IceCandidatePoolSize > 0)))
                |> fun (struct (s, more)) -> struct (s, outputs @ more)
            | _ -> struct (s, outputs)

    /// Without a path, the association's time stands still: ICE decides when a connection is lost, and until its caller restarts
    /// ICE or closes, retransmissions that go nowhere shall not end the channels and lose what they hold (RFC 9260 §8.1 would).
    let private associationDeadline (s: Session.State) : Instant =
        match s.Sctp, s.Route.Path with
        | ValueSome state, ValueSome _ -> Sctp.deadline state
        | _ -> Instant.never

    /// Whoever is due.
    let private tick now (s: Session.State) : Step<Session.State, Output> =
        let whenDue deadline step (s: Session.State) =
            if deadline <= now then step s else Step.only s

        s
        |> whenDue (Ice.deadline s.Ice) (ice now Ice.Tick)
        |> Step.bind (fun s -> whenDue (Turn.Relays.deadline s.Relays) (relays now Turn.Relays.Tick) s)
        |> Step.bind (fun s -> whenDue (Dtls.deadline s.Dtls) (dtls now Dtls.Tick) s)
        |> Step.bind (fun s -> whenDue (associationDeadline s) (sctp now SctpInput.Tick) s)
        |> Step.bind (fun s -> whenDue (MediaSession.deadline s.Media) (media now MediaInput.Tick) s)

    // Its sockets are needed until allocations are given back, which takes a round trip, and 1.75 s at most.
    let private left (struct (s, outputs): Step<Session.State, Output>) : Step<State, Output> =
        if Turn.Relays.isEmpty s.Relays then
            struct (Over, outputs @ [ Ended ])
        else
            struct (Leaving s, outputs)

    /// W3C WebRTC 1.0 §4.4.2 close(): channels end first, so that the association's end is not told as their failure;
    /// then each transport says its goodbye, the innermost first.
    let private close now command (s: Session.State) : Step<State, Output> =
        let goodbye (s: Session.State) =
            match s.Sctp with
            // The association speaks when it is ticked.
            | ValueSome _ ->
                sctp now (SctpInput.Abort "Close called") s
                |> Step.bind (sctp now SctpInput.Tick)
            | ValueNone -> Step.only s

        let struct (s, outputs) =
            channels now (Channels.AssociationLost ValueNone) s
            |> Step.bind (media now MediaInput.Close)
            |> Step.bind goodbye
            |> Step.bind (dtls now Dtls.Close)
            |> Step.bind (ice now Ice.Close)
            |> Step.bind (jsep now Jsep.Close)

        let closed =
            [ Raise(IceConnectionStateChanged IceTransportState.Closed)
              Raise(ConnectionStateChanged PeerConnectionState.Closed)
              Reply(command, Done) ]

        left (struct (s, outputs @ closed))

    /// Notes the path that a datagram came by, where that is another one than before.
    let private from (path: Path) (octets: int) (heard: Passed) (s: Session.State) : Session.State =
        let ways = s.Aside.Inward

        if Ways.isPresent path ways then
            s
        else
            { s with
                Aside =
                    { s.Aside with
                        Inward =
                            (if Ice.isValid path s.Ice then
                                 Ways.turn path heard ways
                             else
                                 Ways.skip octets ways) } }

    let private noPair command (s: Session.State) : Step<Session.State, Output> =
        Step.one (Refuse(command, Mistake.create ErrorName.NotFoundError "There is no such pair, or not any more.")) s

    /// One that has not worked is checked, so that it may be selected soon.
    let private selectPair now command (path: Path) (s: Session.State) : Step<Session.State, Output> =
        if not (Ice.hasPair path s.Ice) then
            noPair command s
        else
            let answer =
                if Ice.isUsable now path s.Ice then
                    Reply(command, Done)
                else
                    Refuse(
                        command,
                        Mistake.create
                            ErrorName.OperationError
                            "No check of this pair has been answered lately; it is checked now, so try again."
                    )

            ice now (Ice.SelectPair path) s |> Step.bind (Step.one answer)

    let private live now (input: Input) (heard: Passed) (s: Session.State) : Step<Session.State, Output> =
        match input with
        | Tick -> tick now s
        | Datagram(path, bytes) -> received now path bytes s
        | PortOpened(port, local, preference) -> ice now (Ice.PortOpened(port, local, preference)) s
        | PortClosed port ->
            relays now (Turn.Relays.PortClosed port) s
            |> Step.bind (ice now (Ice.PortClosed port))
        | PortsComplete -> ice now Ice.PortsComplete s
        | StreamOpened(port, _) when Turn.RelayPorts.isRelayed port -> relays now (Turn.Relays.StreamOpened port) s
        | StreamClosed(path, reason) when Turn.RelayPorts.isRelayed path.Local ->
            relays now (Turn.Relays.StreamClosed(path.Local, reason)) s
        | ListenerOpened(port, local, preference) -> ice now (Ice.ListenerOpened(port, local, preference)) s
        | StreamOpened(port, local) -> ice now (Ice.StreamOpened(port, local)) s
        | StreamClosed(path, _) -> ice now (Ice.StreamClosed path) s
        | CertificateVerified(port, refusal) -> relays now (Turn.Relays.CertificateVerified(port, refusal)) s
        | ServerResolved(url, endpoints) -> ice now (Ice.ServerResolved(url, endpoints)) s
        | ServerFailed(url, reason) -> ice now (Ice.ServerFailed(url, reason)) s
        | NameResolved(name, address) -> ice now (Ice.Resolved(name, address)) s
        | CreateOffer(command, restart) -> jsep now (Jsep.CreateOffer(command, restart)) s
        | CreateAnswer command -> jsep now (Jsep.CreateAnswer command) s
        | SetLocalDescription(command, description) ->
            { s with
                Route = { s.Route with HasMoved = false } }
            |> jsep now (Jsep.SetLocalDescription(command, description))
        | SetRemoteDescription(command, description) -> jsep now (Jsep.SetRemoteDescription(command, description)) s
        | AddIceCandidate(command, candidate) -> jsep now (Jsep.AddIceCandidate(command, candidate)) s
        | RestartIce command -> jsep now (Jsep.RestartIce command) s
        | SetConfiguration(command, configuration) -> configure now command configuration s
        | WatchPairs decides -> ice now (Ice.WatchPairs decides) s
        | AnswerNomination(path, accepted) -> ice now (Ice.AnswerNomination(path, accepted)) s
        | SelectCandidatePair(command, path) -> selectPair now command path s
        | RemoveCandidatePair(command, path) ->
            if Ice.hasPair path s.Ice then
                ice now (Ice.RemovePair path) s |> Step.bind (Step.one (Reply(command, Done)))
            else
                noPair command s
        | CreateDataChannel(command, init) -> channels now (Channels.Create(command, init)) s
        | Send(channel, text, payload) -> channels now (Channels.Send(channel, text, payload)) s
        | CloseChannel channel -> channels now (Channels.Close channel) s
        | Consumed octets when s.Sctp.IsSome -> sctp now (SctpInput.Consumed octets) s
        | Consumed _ -> Step.only s
        | AddTransceiver(command, init) -> jsep now (Jsep.AddTransceiver(command, init)) s
        | AddTrack(command, kind, track, streams) -> jsep now (Jsep.AddTrack(command, kind, track, streams)) s
        | RemoveTrack(command, id) -> jsep now (Jsep.RemoveTrack(command, id)) s
        | ReplaceTrack(command, id, track) -> jsep now (Jsep.ReplaceTrack(command, id, track)) s
        | SetDirection(command, id, direction) -> jsep now (Jsep.SetDirection(command, id, direction)) s
        | StopTransceiver(command, id) -> jsep now (Jsep.StopTransceiver(command, id)) s
        | SetCodecPreferences(command, id, codecs) -> jsep now (Jsep.SetCodecPreferences(command, id, codecs)) s
        | SetStreams(command, id, streams) -> jsep now (Jsep.SetStreams(command, id, streams)) s
        | SetParameters(command, id, encodings) -> jsep now (Jsep.SetParameters(command, id, encodings)) s
        | SetHeaderExtensions(command, id, extensions) -> jsep now (Jsep.SetHeaderExtensions(command, id, extensions)) s
        | SendRtp(transceiver, encoding, mapping, packets) ->
            media now (MediaInput.Send(transceiver, encoding, mapping, packets)) s
        | SendRtcp packets -> media now (MediaInput.SendRtcp packets) s
        | RequestKeyFrame(transceiver, ssrc) -> media now (MediaInput.RequestKeyFrame(transceiver, ssrc)) s
        | InsertDtmf(command, transceiver, tones, length, gap) when MediaTones.canInsert transceiver s.Media ->
            media now (MediaInput.InsertDtmf(transceiver, tones, length, gap)) s
            |> Step.bind (Step.one (Reply(command, Done)))
        | InsertDtmf(command, _, _, _, _) ->
            Step.one
                (Refuse(
                    command,
                    Mistake.create
                        ErrorName.InvalidStateError
                        "The sender sends no sound that telephone-event was negotiated for; see canInsertDTMF."
                ))
                s
        | SetJitterBuffer(transceiver, target) -> media now (MediaInput.SetJitterBuffer(transceiver, target)) s
        | GetStats command -> Step.one (Reply(command, Stats(statistics now heard s))) s
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
        | SelectCandidatePair(command, _)
        | RemoveCandidatePair(command, _)
        | CreateDataChannel(command, _)
        | AddTransceiver(command, _)
        | AddTrack(command, _, _, _)
        | RemoveTrack(command, _)
        | ReplaceTrack(command, _, _)
        | SetDirection(command, _, _)
        | StopTransceiver(command, _)
        | SetCodecPreferences(command, _, _)
        | SetStreams(command, _, _)
        | SetParameters(command, _, _)
        | SetHeaderExtensions(command, _, _)
        | InsertDtmf(command, _, _, _, _)
        | GetStats command ->
            [ Refuse(command, Mistake.create ErrorName.InvalidStateError "The connection is closed; make a new one.") ]
        | Datagram _ -> [ Ignored(Layer.Peer, Drop.Stale) ]
        | Tick
        | PortOpened _
        | PortClosed _
        | ListenerOpened _
        | PortsComplete
        | StreamOpened _
        | StreamClosed _
        | CertificateVerified _
        | ServerResolved _
        | ServerFailed _
        | NameResolved _
        | WatchPairs _
        | AnswerNomination _
        | Send _
        | CloseChannel _
        | Consumed _
        | SendRtp _
        | SendRtcp _
        | RequestKeyFrame _
        | SetJitterBuffer _ -> []

    // What reaches the allocations that are given back.
    let private leaving now (input: Input) (s: Session.State) : Step<State, Output> =
        match input with
        | Tick -> relays now Turn.Relays.Tick s |> left
        | Datagram(path, bytes) -> received now path bytes s |> left
        | PortClosed port -> relays now (Turn.Relays.PortClosed port) s |> left
        | StreamOpened(port, _) when Turn.RelayPorts.isRelayed port ->
            relays now (Turn.Relays.StreamOpened port) s |> left
        | StreamClosed(path, reason) when Turn.RelayPorts.isRelayed path.Local ->
            relays now (Turn.Relays.StreamClosed(path.Local, reason)) s |> left
        | _ -> struct (Leaving s, over input)

    [<CompiledName "Create">]
    let create (entropy: ReadOnlyMemory<byte>) (config: PeerConfig) : Result<State, Mistake> =
        match
            Configurations.check config.Options.Scope.Lite config.Configuration, DtlsOptions.check config.Options.Dtls
        with
        | ValueSome mistake, _
        | ValueNone, ValueSome mistake -> Error mistake
        | ValueNone, ValueNone -> Ok(Live(Session.create config (Entropy.ofSeed entropy.Span), Passed.none))

    [<CompiledName "Deadline">]
    let deadline (state: State) : Instant =
        match state with
        | Over -> Instant.never
        | Leaving s -> Turn.Relays.deadline s.Relays
        | Live(s, _) ->
            Instant.min
                (Instant.min (Ice.deadline s.Ice) (MediaSession.deadline s.Media))
                (Instant.min
                    (Instant.min (Dtls.deadline s.Dtls) (Turn.Relays.deadline s.Relays))
                    (associationDeadline s))

    [<CompiledName "Step">]
    let step (now: Instant) (input: Input) (state: State) : Step<State, Output> =
        match state, input with
        | Live(s, _), Close command -> close now command s
        | Live(s, heard), _ ->
            let struct (s, heard) =
                match input with
                | Datagram(path, bytes) when Demultiplexing.kindOf (Span.op_Implicit bytes.Span) <> Demux.Stun ->
                    struct (from path bytes.Length heard s, Passed.add now 1 (int64 bytes.Length) heard)
                | _ -> struct (s, heard)

            let struct (s, outputs) = live now input heard s
            struct (Live(s, heard), outputs)
        | Leaving s, _ -> leaving now input s
        | Over, _ -> struct (Over, over input)

    [<CompiledName "Perform">]
    let perform (shell: IShell) (outputs: Output list) : unit =
        for output in outputs do
            match output with
            | Transmit(path, packet) -> shell.Transmit(path, packet)
            | TransmitRun(path, run) -> shell.TransmitRun(path, run)
            | OpenPorts -> shell.OpenPorts()
            | ClosePort port -> shell.ClosePort port
            | OpenStream(port, kind, from, remote, name) -> shell.OpenStream(port, kind, from, remote, name)
            | VerifyCertificate(port, name, chain) -> shell.VerifyCertificate(port, name, chain)
            | ResolveServer url -> shell.ResolveServer url
            | ResolveName name -> shell.ResolveName name
            | AnnounceName(name, address) -> shell.AnnounceName(name, address)
            | Reply(command, answer) -> shell.Reply(command, answer)
            | Refuse(command, mistake) -> shell.Refuse(command, mistake)
            | Raise event -> shell.Raise event
            | Deliver(channel, text, payload) -> shell.Deliver(channel, text, payload)
            | DeliverRtp(transceiver, rid, packet) -> shell.DeliverRtp(transceiver, rid, &packet)
            | Ignored(layer, reason) -> shell.Ignored(layer, reason)
            | Ended -> shell.Ended()

    [<CompiledName "UsernameFragments">]
    let usernameFragments (state: State) : string[] =
        match state with
        | Leaving _
        | Over -> [||]
        | Live(s, _) -> Ice.usernameFragments s.Ice

    [<CompiledName "RequestedFragment">]
    let requestedFragment (datagram: ReadOnlySpan<byte>) : ReadOnlySpan<byte> = Stun.Message.fragmentOctets datagram
