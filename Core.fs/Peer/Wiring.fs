namespace Hybrid.WebRtc.Core

open System
open Microsoft.FSharp.Core.CompilerServices
open Hybrid.WebRtc.Core.Session

/// The parts of a peer, each stepped by one function, with what its outputs mean to the others.
module internal Wiring =
    let private handshakeOf (role: JsepDtlsRole) (fingerprints: Fingerprint[]) : Handshake =
        { Role =
            (if role = JsepDtlsRole.Client then
                 DtlsRole.Client
             else
                 DtlsRole.Server)
          Fingerprints = fingerprints }

    /// A peer that has made a new transport because a section is over is there within that time.
    let private renewable: Duration = Duration.seconds 30L

    /// Media that pauses longer than this is over, to data beside it.
    let private mediaPause: Duration = Duration.seconds 1L

    let rec jsep now (input: Jsep.Input) (s: State) : Step<State, Output> =
        let struct (part, outputs) = Jsep.step input s.Jsep
        { s with Jsep = part } |> Step.route (onJsep now) outputs

    and onJsep now (output: Jsep.Output) (s: State) : Step<State, Output> =
        match output with
        | Jsep.Reply(command, Ok Jsep.Done) -> Step.one (Reply(command, Done)) s
        | Jsep.Reply(command, Ok(Jsep.Created description)) -> Step.one (Reply(command, Created description)) s
        | Jsep.Reply(command, Ok(Jsep.Transceiver info)) -> Step.one (Reply(command, Transceiver info)) s
        | Jsep.Reply(command, Error mistake) -> Step.one (Refuse(command, mistake)) s
        | Jsep.DescriptionsChanged descriptions -> raising (DescriptionsChanged descriptions) s
        | Jsep.SignalingStateChanged state -> raising (SignalingStateChanged state) s
        | Jsep.TransceiversChanged infos -> raising (TransceiversChanged infos) s
        | Jsep.TracksChanged changes -> raising (TracksChanged changes) s
        | Jsep.NegotiationNeeded -> raising NegotiationNeeded s
        | Jsep.Order order -> obey now order s
        | Jsep.Ignored reason -> ignored Layer.Jsep reason s

    /// An association that begins as soon as there is a path. A second one replaces the first, RFC 8842 §4.
    and replaceDtls now (handshake: Handshake) (s: State) : Step<State, Output> =
        let s =
            match s.Shown.Dtls.State with
            | DtlsTransportState.New -> s
            | _ -> freshDtls s

        { s with
            Route =
                { s.Route with
                    Handshake = ValueSome handshake
                    Renewal = ValueNone } }
        |> startDtls now

    /// What descriptions order of the transport.
    and obey now (order: JsepOrder) (s: State) : Step<State, Output> =
        match order with
        | JsepOrder.SetIceRole controlling ->
            let role =
                if controlling then
                    IceRole.Controlling
                else
                    IceRole.Controlled

            ice now (Ice.SetRole role) s
        | JsepOrder.SetIceLocal credentials -> ice now (Ice.SetLocal credentials) s
        | JsepOrder.RollbackIceLocal _ -> ice now Ice.RollbackLocal s
        | JsepOrder.SetIceRemote(credentials, lite) ->
            // Another path is what a restart is for.
            { s with
                Route = { s.Route with Renewal = ValueNone } }
            |> ice now (Ice.SetRemote(credentials, lite))
        | JsepOrder.SetIceRenomination agreed -> ice now (Ice.SetRenomination agreed) s
        | JsepOrder.Gather -> ice now Ice.Gather s
        | JsepOrder.AddRemoteCandidate(text, ufrag) ->
            match Candidate.parse text with
            | ValueSome candidate -> ice now (Ice.AddRemote(candidate, ValueSome ufrag)) s
            | ValueNone -> ignored Layer.Ice Drop.Malformed s
        | JsepOrder.EndOfRemoteCandidates _ -> ice now Ice.EndOfRemoteCandidates s
        | JsepOrder.StartDtls(role, fingerprints) -> replaceDtls now (handshakeOf role fingerprints) s
        | JsepOrder.RenewDtls(role, fingerprints) ->
            let handshake = handshakeOf role fingerprints

            // The peer may have been faster than its answer.
            if s.Route.HasMoved then
                replaceDtls now handshake s
            else
                Step.only
                    { s with
                        Route =
                            { s.Route with
                                Renewal = ValueSome(struct (handshake, now + renewable)) } }
        | JsepOrder.StartSctp(port, maxMessageSize) ->
            { s with
                Route =
                    { s.Route with
                        SctpPort = ValueSome port } }
            |> tellSctp
                { s.Shown.Sctp with
                    MaxMessageSize = maxMessageSize }
            |> Step.bind (startSctp now)
        | JsepOrder.SetMedia plan -> media now (MediaInput.Plan plan) s
        | JsepOrder.CloseSctp
        | JsepOrder.Close -> loseAssociation now ValueNone s

    and ice now (input: Ice.Input) (s: State) : Step<State, Output> =
        let struct (part, outputs) = Ice.step now input s.Ice

        match outputs with
        | [] -> Step.only { s with Ice = part }
        | _ -> { s with Ice = part } |> Step.route (onIce now) outputs

    and onIce now (output: Ice.Output) (s: State) : Step<State, Output> =
        match output with
        | Ice.Transmit(path, message) -> transmit now path (Packet.Stun(s.Config.Ciphers, message)) s
        | Ice.Allocate request -> relays now (Turn.Relays.Allocate request) s
        | Ice.Permit path -> relays now (Turn.Relays.Permit path) s
        | Ice.Release port -> relays now (Turn.Relays.Release port) s
        | Ice.OpenPorts -> Step.one OpenPorts s
        | Ice.ClosePort port -> relays now (Turn.Relays.ClosePort port) s
        | Ice.OpenStream(port, from, remote) when Turn.RelayPorts.isRelayed from ->
            relays now (Turn.Relays.Connect({ Local = port; Remote = remote }, from)) s
        | Ice.OpenStream(port, from, remote) -> Step.one (OpenStream(port, StreamKind.IceTcp, from, remote, "")) s
        | Ice.ResolveServer url -> Step.one (ResolveServer url) s
        | Ice.Resolve name -> Step.one (ResolveName name) s
        | Ice.Announce(name, address) -> Step.one (AnnounceName(name, address)) s
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
        | Ice.Withdrawn candidate ->
            jsep now (Jsep.CandidateWithdrawn(Candidate.toText candidate, ourFragment s)) s
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

            tellIce s |> Step.bind tellConnection |> Step.bind (restartWhereAsked now state)
        | Ice.RoleChanged _ -> tellIce s
        | Ice.Selected(_, _, path) ->
            let isNew = s.Route.Path <> ValueSome path

            { s with
                Route =
                    { s.Route with
                        Path = ValueSome path
                        IsSelected = true } }
            |> tellIce
            |> Step.bind (fun s -> if isNew then bind now path s else Step.only s)
            |> Step.bind (fun s -> if isNew then reroute now s else Step.only s)
            |> Step.bind (startDtls now)
        | Ice.Validated path ->
            bind now path s
            |> Step.bind (fun s ->
                if s.Route.Path.IsSome then
                    Step.only s
                else
                    { s with
                        Route = { s.Route with Path = ValueSome path } }
                    |> reroute now
                    |> Step.bind (startDtls now))
        | Ice.Invalidated path ->
            // Where another is selected by now, it is that one's already.
            if s.Route.Path = ValueSome path then
                Step.only
                    { s with
                        Route =
                            { s.Route with
                                Path = ValueNone
                                IsSelected = false } }
            else
                Step.only s
        | Ice.PairFormed pair -> raising (CandidatePairAdded(Reports.pair pair)) s
        | Ice.PairGone pair -> raising (CandidatePairRemoved(Reports.pair pair)) s
        | Ice.Nominating pair -> raising (CandidatePairNominated(Reports.pair pair)) s
        | Ice.Ignored reason -> ignored Layer.Ice reason s

    /// An ICE restart, where the options ask for one in this state.
    and restartWhereAsked now (state: IceTransportState) (s: State) : Step<State, Output> =
        match s.Config.Options.Mobility.Restart, state with
        | IceRestartPolicy.OnDisconnected, (IceTransportState.Disconnected | IceTransportState.Failed)
        | IceRestartPolicy.OnFailed, IceTransportState.Failed -> jsep now Jsep.NeedIceRestart s
        | _ -> Step.only s

    /// Data goes by this path from now on: where it is a relay's, on a channel.
    and bind now (path: Path) (s: State) : Step<State, Output> =
        if Turn.RelayPorts.isRelayed path.Local then
            relays now (Turn.Relays.Bind path) s
        else
            Step.only s

    and relays now (input: Turn.Relays.Input) (s: State) : Step<State, Output> =
        let struct (part, outputs) = Turn.Relays.step now input s.Relays
        { s with Relays = part } |> Step.route (onRelays now) outputs

    and onRelays now (output: Turn.Relays.Output) (s: State) : Step<State, Output> =
        match output with
        | Turn.Relays.Transmit(path, message, around) ->
            let way = { Outer = path; Header = around }
            Step.one (way.Transmit(Packet.Stun(s.Config.Ciphers, message))) s
        | Turn.Relays.TransmitHandshake(path, datagram) -> Step.one (Transmit(path, Packet.Handshake datagram)) s
        | Turn.Relays.Unsealed(path, datagram) -> received now path datagram s
        | Turn.Relays.VerifyCertificate(port, name, chain) -> Step.one (VerifyCertificate(port, name, chain)) s
        | Turn.Relays.OpenStream(port, kind, from, server, name) ->
            Step.one (OpenStream(port, kind, from, server, name)) s
        | Turn.Relays.CloseNow port -> Step.one (ClosePort port) s
        | Turn.Relays.Allocated(port, relayed, mapped) -> ice now (Ice.Allocated(port, relayed, mapped)) s
        | Turn.Relays.Failed(port, code, text) -> ice now (Ice.NotAllocated(port, code, text)) s
        | Turn.Relays.Lost port -> ice now (Ice.Unallocated port) s
        | Turn.Relays.Connected(port, local) -> ice now (Ice.StreamOpened(port, local)) s
        | Turn.Relays.Disconnected path -> ice now (Ice.StreamClosed path) s
        | Turn.Relays.Refused path -> ice now (Ice.StreamRefused path) s
        | Turn.Relays.Bound path when s.Route.Path = ValueSome path ->
            media now (MediaInput.Wrapped(overhead s)) s
            |> Step.bind (fun s ->
                if s.Sctp.IsSome then
                    sctp now (SctpInput.Wrapped(overhead s)) s
                else
                    Step.only s)
        | Turn.Relays.Bound _ -> Step.only s
        | Turn.Relays.Ignored reason -> ignored Layer.Turn reason s

    /// A TURN server's own messages are for `Relays`; what it passes on is opened and unwrapped, each once, and goes its way.
    and received now path (bytes: Memory<byte>) (s: State) : Step<State, Output> =
        match Demultiplexing.kindOf (Span.op_Implicit bytes.Span) with
        | _ when Turn.RelayTable.carries path s.Relays -> unwrapped now path bytes s
        | _ when Turn.RelayPorts.isData path.Local ->
            relays now (Turn.Relays.Received(path, Memory.op_Implicit bytes)) s
        | Demux.TurnChannel when Turn.RelayTable.isServer path s.Relays -> unwrapped now path bytes s
        | Demux.Stun when
            Turn.RelayTable.isServer path s.Relays
            && Turn.DataIndication.isOne (Span.op_Implicit bytes.Span)
            ->
            unwrapped now path bytes s
        | Demux.Stun when
            Turn.RelayTable.isServer path s.Relays
            && Stun.Message.isStun (Span.op_Implicit bytes.Span)
            && not (Stun.Message.isBinding (Span.op_Implicit bytes.Span))
            ->
            relays now (Turn.Relays.Received(path, Memory.op_Implicit bytes)) s
        | Demux.Stun -> ice now (Ice.Received(path, Memory.op_Implicit bytes)) s
        | Demux.Dtls when Turn.RelayTable.isTunnel path s.Relays -> relays now (Turn.Relays.Record(path, bytes)) s
        | Demux.Dtls when Ice.isValid path s.Ice -> dtls now (Dtls.Received bytes) s
        | Demux.Rtp when Ice.isValid path s.Ice -> media now (MediaInput.Received bytes) s
        | Demux.Dtls
        | Demux.Rtp when not (Ice.isValid path s.Ice) -> ignored Layer.Demux Drop.Unvalidated s
        | _ -> ignored Layer.Demux Drop.Unsupported s

    and unwrapped now path (bytes: Memory<byte>) (s: State) : Step<State, Output> =
        match Turn.RelayTable.unwrap path bytes s.Relays with
        | ValueSome(struct (inner, packet)) -> received now inner packet s
        | ValueNone -> ignored Layer.Turn Drop.Unexpected s

    /// W3C WebRTC 1.0 §4.3.2: the end of a generation is told as an empty candidate, then the state, then `null`.
    and gathering now (state: IceGatheringState) (s: State) : Step<State, Output> =
        let ufrag = ourFragment s

        let told (s: State) =
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

    /// Begins the handshake that the descriptions call for, as soon as there is a path. The server waits for it too: a
    /// ClientHello that comes before is kept, and an answer to it that had no way to go would cost a retransmission.
    and startDtls now (s: State) : Step<State, Output> =
        match s.Route.Handshake with
        | ValueSome handshake when s.Route.Path.IsSome ->
            { s with
                Route = { s.Route with Handshake = ValueNone } }
            |> tellDtls
                { s.Shown.Dtls with
                    State = DtlsTransportState.Connecting
                    Role = nameOfRole handshake.Role }
            |> Step.bind tellConnection
            |> Step.bind (fun s -> dtls now (Dtls.Wrapped(overhead s)) s)
            |> Step.bind (dtls now (Dtls.Start(handshake.Role, handshake.Fingerprints)))
        | _ -> Step.only s

    and dtls now (input: Dtls.Input) (s: State) : Step<State, Output> =
        let struct (part, outputs) = Dtls.step now input s.Dtls

        match outputs, s.Sctp with
        | [], _ -> Step.only { s with Dtls = part }
        // Nearly every datagram, hence one change of the whole, not one a layer.
        | [ Dtls.Data plaintext ], ValueSome association ->
            let struct (association, outputs) =
                Sctp.step now (SctpInput.Received(Memory.op_Implicit plaintext)) association

            onAllSctp
                now
                outputs
                { s with
                    Dtls = part
                    Sctp = ValueSome association }
        | _ -> { s with Dtls = part } |> Step.route (onDtls now) outputs

    and onDtls now (output: Dtls.Output) (s: State) : Step<State, Output> =
        match output with
        | Dtls.Transmit flight -> transmitOnRoute now (Packet.Handshake flight) s
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
                    CipherSuite = c.SuiteName
                    Group = DtlsOptions.groupName c.Group }
            |> Step.bind tellConnection
            |> Step.bind (fun s ->
                match c.SrtpProfile, c.SrtpKeys with
                | ValueSome profile, ValueSome keys -> media now (MediaInput.Keys(profile, keys, c.Role)) s
                | _ -> Step.only s)
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
    and startSctp now (s: State) : Step<State, Output> =
        match s.Sctp, s.Route.SctpPort with
        | ValueNone, ValueSome port when s.Shown.Dtls.State = DtlsTransportState.Connected ->
            let options = s.Config.Options

            let config =
                { SctpConfig.create s.Config.Ciphers with
                    RemotePort = port
                    Mtu = SctpConfig.packetIn options.MaxDatagramSize
                    MaxMtu = SctpConfig.packetIn (max options.MaxDatagramSize options.MtuDiscoveryLimit)
                    Overhead = overhead s
                    ReceiveWindow = options.ReceiveWindow
                    MaxReceiveWindow = options.MaxReceiveWindow
                    CongestionControl = options.CongestionControl
                    MaxMessageSize = options.MaxMessageSize }

            { s with
                Sctp = ValueSome(Sctp.create (Entropy.split "sctp" s.Aside.Entropy) config) }
            |> sctp now SctpInput.Connect
        | _ -> Step.only s

    /// Another path: what is known of the one before is over.
    and reroute now (s: State) : Step<State, Output> =
        { s with
            Route = { s.Route with HasMoved = true }
            Aside =
                { s.Aside with
                    Outward =
                        (match s.Route.Path with
                         | ValueSome path -> Ways.turn path s.Traffic s.Aside.Outward
                         | ValueNone -> s.Aside.Outward) } }
        |> media now (MediaInput.PathChanged(overhead s))
        |> Step.bind (fun s ->
            if s.Sctp.IsSome then
                sctp now (SctpInput.PathChanged(overhead s)) s
            else
                Step.only s)
        |> Step.bind (fun s ->
            match s.Route.Renewal with
            | ValueSome(struct (handshake, until)) when now <= until -> replaceDtls now handshake s
            | _ -> Step.only s)

    and sctp now (input: SctpInput) (s: State) : Step<State, Output> =
        match s.Sctp with
        | ValueNone -> ignored Layer.Sctp Drop.Unexpected s
        | ValueSome state ->
            let struct (part, outputs) = Sctp.step now input state
            onAllSctp now outputs { s with Sctp = ValueSome part }

    /// What an association asks for, in order; of packets, a run at a time.
    and onAllSctp now (outputs: SctpOutput list) (s: State) : Step<State, Output> =
        let mutable asked = ListCollector<Output>()
        let mutable s = s
        let mutable rest = outputs

        while not rest.IsEmpty do
            match rest.Head with
            | SctpOutput.Transmit _ -> s <- seal now &rest &asked s
            | output ->
                let struct (next, more) = onSctp now output s
                s <- next
                asked.AddMany more
                rest <- rest.Tail

        struct (s, asked.Close())

    and onSctp now (output: SctpOutput) (s: State) : Step<State, Output> =
        match output with
        // Taken by `onAllSctp`.
        | SctpOutput.Transmit _ -> Step.only s
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

    /// Takes the packets that `rest` begins with, each for a record of application data: DTLS spends its sequence number
    /// now, and it is sealed when it is written. All of them at once, since a burst changes no more of a peer than a packet.
    and seal now (rest: byref<SctpOutput list>) (asked: byref<ListCollector<Output>>) (s: State) : State =
        let burst = rest
        let mutable count = 0

        while not rest.IsEmpty && rest.Head.IsTransmit do
            count <- count + 1
            rest <- rest.Tail

        match Dtls.step now (Dtls.Seal count) s.Dtls with
        | struct (part, [ Dtls.Sealed first ]) ->
            match s.Route.Path with
            // Without a path they are lost, as on any network.
            | ValueNone -> { s with Dtls = part }
            | ValueSome path ->
                let struct (way, s) = outward now count path s
                let mutable seal = first
                let mutable traffic = s.Traffic
                let mutable left = burst

                for n in 0 .. count - 1 do
                    match left.Head with
                    | SctpOutput.Transmit sctp ->
                        let packet = Packet.Data(seal, sctp)

                        match way with
                        | ValueSome way -> asked.Add(way.TransmitAt(n, packet))
                        | ValueNone -> ()

                        traffic <- counted now packet traffic
                        seal <- seal.Next
                    | _ -> ()

                    left <- left.Tail

                { s with
                    Dtls = part
                    Traffic = traffic }
        | struct (part, outputs) ->
            let struct (s, more) = Step.route (onDtls now) outputs { s with Dtls = part }
            asked.AddMany more
            s

    and channels now (input: Channels.Input) (s: State) : Step<State, Output> =
        let struct (part, outputs) = Channels.step now input s.Channels
        { s with Channels = part } |> Step.route (onChannels now) outputs

    and onChannels now (output: Channels.Output) (s: State) : Step<State, Output> =
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

    and media now (input: MediaInput) (s: State) : Step<State, Output> =
        let known =
            match s.Sctp with
            | ValueSome association -> MediaSession.beside (Sctp.gives association) s.Media
            | ValueNone -> s.Media

        let struct (part, outputs) = MediaSession.step now input known
        { s with Media = part } |> Step.route (onMedia now) outputs

    /// Data gives way to media that leaves by the same path.
    and besideMedia now (s: State) : State =
        match s.Sctp with
        | ValueSome association when Sctp.yieldsUntil association < now + mediaPause / 2L ->
            let struct (association, _) =
                Sctp.step now (SctpInput.Beside(now + mediaPause)) association

            { s with Sctp = ValueSome association }
        | _ -> s

    and onMedia now (output: MediaOutput) (s: State) : Step<State, Output> =
        match output with
        | MediaOutput.TransmitRun run ->
            match s.Route.Path with
            | ValueSome path ->
                match outward now run.Count path (besideMedia now s) with
                | struct (ValueSome way, s) ->
                    Step.one
                        (way.Transmit run)
                        { s with
                            Traffic = Passed.add now run.Count (int64 run.Octets) s.Traffic }
                | struct (ValueNone, s) -> Step.only s
            // Without a path they are lost, as on any network.
            | ValueNone -> Step.only s
        | MediaOutput.TransmitRtcp packet -> transmitOnRoute now (Packet.Rtcp packet) s
        | MediaOutput.Deliver(transceiver, rid, packet) -> Step.one (DeliverRtp(transceiver, rid, packet)) s
        | MediaOutput.Held(transceiver, isHeld) -> raising (JitterBufferChanged(transceiver, isHeld)) s
        | MediaOutput.Due(transceiver, ssrc, upTo) -> raising (PacketsDue(transceiver, ssrc, upTo)) s
        | MediaOutput.Unmuted transceiver -> raising (ReceiverUnmuted transceiver) s
        | MediaOutput.Found(transceiver, ssrc, rid) -> raising (SourceFound(transceiver, ssrc, rid)) s
        | MediaOutput.Heard packets -> raising (RtcpReceived packets) s
        | MediaOutput.KeyFrameWanted(transceiver, encoding) -> raising (KeyFrameRequested(transceiver, encoding)) s
        // Taken by the session itself.
        | MediaOutput.Unrepaired _ -> Step.only s
        | MediaOutput.ToneHeard(transceiver, tone, length) -> raising (ToneReceived(transceiver, string tone, length)) s
        | MediaOutput.Toned(transceiver, tone, buffer) -> raising (ToneChanged(transceiver, tone, buffer)) s
        | MediaOutput.Estimated bits -> raising (BitrateEstimated bits) s
        | MediaOutput.Wrapped octets -> raising (PathOverheadChanged octets) s
        | MediaOutput.Dropped(layer, reason) -> ignored layer reason s

    /// The association is gone, and its channels with it.
    and loseAssociation now fault (s: State) : Step<State, Output> =
        match s.Shown.Sctp.State with
        | SctpTransportState.Closed -> Step.only s
        | _ ->
            { s with Sctp = ValueNone }
            |> tellSctp
                { s.Shown.Sctp with
                    State = SctpTransportState.Closed }
            |> Step.bind (channels now (Channels.AssociationLost fault))
