namespace Hybrid.WebRtc.Core

open System

/// A live peer: its parts, what joins them, and what is told of them.
module internal Session =
    /// What the descriptions call for once there is a path.
    [<NoComparison; NoEquality>]
    type Handshake =
        { Role: DtlsRole
          Fingerprints: Fingerprint[] }

    /// Where datagrams go, and what waits until they can.
    [<NoComparison; NoEquality>]
    type Route =
        {
            /// The selected pair's path; before one is selected, the first that proved valid, RFC 8445 §12.1.
            Path: Path voption
            IsSelected: bool
            /// The handshake to begin on the first path.
            Handshake: Handshake voption
            /// The handshake to begin where the path is another one by then: what it belonged to is over.
            Renewal: struct (Handshake * Instant) voption
            /// The path has changed since a description of ours was set last.
            HasMoved: bool
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

    /// What changes seldom: apart from the rest, so that a step copies less.
    [<NoComparison; NoEquality>]
    type Aside =
        {
            Config: PeerConfig
            /// For the parts that are made later.
            Entropy: Entropy
            /// By which paths datagrams went out, and came in.
            Outward: Ways
            Inward: Ways
            /// How often each layer ignored an input for each reason.
            Drops: DropCount[]
        }

    /// A peer that is not closed: its parts, and what joins them.
    [<NoComparison; NoEquality>]
    type State =
        {
            Aside: Aside
            Jsep: Jsep.State
            Ice: Ice.State
            Relays: Turn.Relays.State
            Dtls: Dtls.State
            Sctp: Sctp.State voption
            Channels: Channels.State
            Media: MediaState
            Route: Route
            Shown: Shown
            /// Datagrams that went out.
            Traffic: Passed
        }

        member s.Config = s.Aside.Config

    let noDtls: DtlsTransportInfo =
        { State = DtlsTransportState.New
          RemoteCertificates = [||]
          Version = ""
          CipherSuite = ""
          Group = ""
          Role = "" }

    let noSctp: SctpTransportInfo =
        { State = SctpTransportState.Connecting
          MaxMessageSize = 0L
          MaxChannels = ValueNone }

    // --- What is told

    let raising event (s: State) : Step<State, Output> = Step.one (Raise event) s

    let ignored layer reason (s: State) : Step<State, Output> =
        Step.one
            (Ignored(layer, reason))
            { s with
                Aside =
                    { s.Aside with
                        Drops = Reports.drop layer reason s.Aside.Drops } }

    let tellIce (s: State) : Step<State, Output> =
        raising (IceTransportChanged(Reports.ice s.Ice)) s

    let tellDtls (info: DtlsTransportInfo) (s: State) : Step<State, Output> =
        { s with
            Shown = { s.Shown with Dtls = info } }
        |> raising (DtlsTransportChanged info)

    let tellSctp (info: SctpTransportInfo) (s: State) : Step<State, Output> =
        { s with
            Shown = { s.Shown with Sctp = info } }
        |> raising (SctpTransportChanged info)

    /// The connection's own states follow from those of its transports, W3C WebRTC 1.0 §4.3.2 to §4.3.4.
    let tellConnection (s: State) : Step<State, Output> =
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

    /// Where packets go, and what the first of them is in.
    [<Struct; NoComparison; NoEquality>]
    type Way =
        { Outer: Path
          Header: Turn.RelayHeader voption }

        /// The n-th packet of those that the way was asked for.
        member way.TransmitAt(n: int, packet: Packet) : Output =
            match way.Header with
            | ValueSome header -> Transmit(way.Outer, Packet.Relayed(header.After n, packet))
            | ValueNone -> Transmit(way.Outer, packet)

        member way.Transmit(packet: Packet) : Output = way.TransmitAt(0, packet)

        member way.Transmit(run: RtpRun) : Output =
            match way.Header with
            | ValueSome header -> TransmitRun(way.Outer, run.Via header)
            | ValueNone -> TransmitRun(way.Outer, run)

    /// One datagram more went out; connectivity checks do not count, webrtc-stats RTCTransportStats.
    let counted (now: Instant) (packet: Packet) (traffic: Passed) : Passed =
        match packet with
        | Packet.Stun _ -> traffic
        | _ -> Passed.add now 1 (int64 packet.Size) traffic

    /// Where `count` packets for a path of ICE's go, and what they are in where the path is a relay's. The outer option is
    /// ValueNone where the relay passes nothing on to the peer.
    let outward now (count: int) (path: Path) (s: State) : struct (Way voption * State) =
        if Turn.RelayPorts.isRelayed path.Local then
            let struct (wrapped, relays) = Turn.RelayTable.wrap now count path s.Relays

            match wrapped with
            | ValueSome(struct (outer, header)) ->
                struct (ValueSome { Outer = outer; Header = header }, { s with Relays = relays })
            | ValueNone -> struct (ValueNone, s)
        else
            struct (ValueSome { Outer = path; Header = ValueNone }, s)

    let transmit now path (packet: Packet) (s: State) : Step<State, Output> =
        match outward now 1 path s with
        | struct (ValueSome way, s) ->
            Step.one
                (way.Transmit packet)
                { s with
                    Traffic = counted now packet s.Traffic }
        | struct (ValueNone, s) -> Step.only s

    /// To the peer, by the best path known; without one, the packet is lost as on any network.
    let transmitOnRoute now (packet: Packet) (s: State) : Step<State, Output> =
        match s.Route.Path with
        | ValueSome path -> transmit now path packet s
        | ValueNone -> Step.only s

    /// A candidate line as events carry it.
    let line candidate ufrag (s: State) : CandidateInit =
        let struct (mid, index) =
            match Jsep.sectionOf ufrag s.Jsep with
            | ValueSome(struct (mid, index)) -> struct (mid, ValueSome index)
            | ValueNone -> struct (ValueNone, ValueNone)

        { Candidate = candidate
          SdpMid = mid
          SdpMLineIndex = index
          UsernameFragment = ValueSome ufrag }

    let private newDtls (config: PeerConfig) (entropy: Entropy) : Dtls.State =
        let usual =
            DtlsConfig.create config.Ciphers config.Identity.Certificate config.Identity.Key

        Dtls.create
            { DtlsOptions.set usual config.Options.Dtls with
                Mtu = config.Options.MaxDatagramSize
                KeyLog = config.Options.KeyLog
                SrtpProfiles = config.Options.SrtpProfiles }
            entropy

    let private newJsep (config: PeerConfig) (entropy: Entropy) : Jsep.State =
        let certificate = ReadOnlySpan config.Identity.Certificate

        Jsep.create
            { Configuration = config.Configuration
              Fingerprints =
                [| { Algorithm = "sha-256"
                     Value = Ciphers.hash config.Ciphers HashAlgorithm.Sha256 certificate } |]
              MaxMessageSize = int64 config.Options.MaxMessageSize
              SctpPort = 5000us
              Renomination = config.Options.Mobility.Renomination
              IceLite = config.Options.Scope.Lite
              Capabilities = config.Capabilities }
            entropy

    let private newIce (config: PeerConfig) (entropy: Entropy) : Ice.State =
        let agent =
            Ice.create
                { DisconnectedAfter = config.Options.DisconnectedAfter
                  FailedAfter = config.Options.FailedAfter
                  Scope = config.Options.Scope
                  Publication = config.Options.Publication
                  Tcp = config.Options.IceTcp
                  RelayTcp = config.Options.RelayTcp
                  Continual = config.Options.Mobility.ContinualGathering
                  Renomination = config.Options.Mobility.Renomination }
                entropy
                config.Ciphers

        let servers =
            Ice.SetServers(config.Configuration.IceServers, config.Configuration.IceTransportPolicy)

        let pool = Ice.SetPool(config.Configuration.IceCandidatePoolSize > 0)
        let struct (agent, _) = Ice.step 0L<us> servers agent
        let struct (agent, _) = Ice.step 0L<us> pool agent
        agent

    /// A session before its first input; `seed` is split among its parts.
    let create (config: PeerConfig) (seed: Entropy) : State =
        { Aside =
            { Config = config
              Entropy = Entropy.split "peer" seed
              Outward = Ways.none
              Inward = Ways.none
              Drops = [||] }
          Jsep = newJsep config (Entropy.split "jsep" seed)
          Ice = newIce config (Entropy.split "ice" seed)
          Relays = Turn.Relays.create config.Ciphers (Entropy.split "relays" seed)
          Dtls = newDtls config (Entropy.split "dtls" seed)
          Sctp = ValueNone
          Channels = Channels.create config.Options.MaxMessageSize
          Media =
            MediaSession.create
                { Ciphers = config.Ciphers
                  Estimate =
                    { Start = config.Options.StartBitrate
                      Min = config.Options.MinBitrate
                      Max = config.Options.MaxBitrate }
                  // Seconds from 1900 to 1970, RFC 868.
                  NtpOffset = Ntp.ofInstant (2_208_988_800UL <<< 32) (config.Options.Epoch * 1L<us>) }
                (Entropy.split "media" seed)
          Route =
            { Path = ValueNone
              IsSelected = false
              Handshake = ValueNone
              Renewal = ValueNone
              HasMoved = false
              SctpPort = ValueNone }
          Shown =
            { Connection = PeerConnectionState.New
              IceConnection = IceTransportState.New
              Gathering = IceGatheringState.New
              Dtls = noDtls
              Sctp = noSctp }
          Traffic = Passed.none }

    /// RTCDtlsRole.
    let nameOfRole (role: DtlsRole) : string =
        if role = DtlsRole.Client then "client" else "server"

    /// With a DTLS end that has not begun, in place of the present one.
    let freshDtls (s: State) : State =
        let struct (seed, entropy) = Entropy.bytes Entropy.SeedSize s.Aside.Entropy

        { s with
            Aside = { s.Aside with Entropy = entropy }
            Dtls = newDtls s.Config (Entropy.ofSeed (ReadOnlySpan seed))
            Shown = { s.Shown with Dtls = noDtls } }

    /// The username fragment of the present generation.
    let ourFragment (s: State) =
        match Ice.localCredentials s.Ice with
        | ValueSome credentials -> credentials.UsernameFragment
        | ValueNone -> ""

    /// What a path has around its packets, at either end's relay.
    let overhead (s: State) : int =
        match s.Route.Path, Ice.selectedPair s.Ice with
        | ValueSome path, _ when Turn.RelayPorts.isRelayed path.Local -> Turn.RelayTable.overhead path s.Relays
        // The peer's server has it on its way to the peer.
        | ValueSome path, ValueSome pair when pair.Path.Equals path && pair.Remote.Type.IsRelayed ->
            Turn.ChannelData.HeaderSize
        | _ -> 0

    /// `heard`: what came in.
    let statistics now (heard: Passed) (s: State) : Statistics =
        { At = now
          Ice = Reports.ice s.Ice
          Dtls = s.Shown.Dtls
          Sctp = s.Shown.Sctp
          Association = ValueOption.bind Reports.association s.Sctp
          Pairs = Reports.pairs (Ways.counts s.Traffic s.Aside.Outward) (Ways.counts heard s.Aside.Inward) s.Ice
          Channels = Channels.stats s.Channels
          Media = MediaReports.statistics s.Media
          ChannelsOpened = s.Channels.Book.Opened
          ChannelsClosed = s.Channels.Book.Closed
          PacketsSent = s.Traffic.Packets
          BytesSent = s.Traffic.Bytes
          PacketsReceived = heard.Packets
          BytesReceived = heard.Bytes
          Drops = Reports.drops s.Aside.Drops }
