namespace Hybrid.WebRtc.PropertyTests

open System
open Hybrid.WebRtc.Core

/// Two peers, `'a'` and `'b'`, with an Internet of weather, NATs and STUN servers between them, and signalling that is
/// instantaneous and ordered. A machine too: the same seed tells the same story.
type World =
    {
        Now: Instant
        Net: Internet
        Tcp: Tcp<char>
        /// The STUN server that any name resolves to.
        Server: Endpoint voption
        /// What the link's hosts have announced.
        Names: Map<string, Address>
        Forger: Forger voption
        Ends: Map<char, End>
        NextPort: int
        NextCommand: CommandId
        /// Candidates that came before the description they go with, newest first: to whom, and what.
        Mail: (char * CandidateInit) list
        /// Every input, newest first: a journal in memory.
        Story: struct (Instant * char * Input) list
        /// Steps taken, so that a world that spins is caught.
        Steps: int
    }

[<RequireQualifiedAccess>]
module World =
    let config: PeerConfig = End.config

    let private other (who: char) =
        match who with
        | 'a' -> 'b'
        | 'b' -> 'a'
        | 'c' -> 'd'
        | _ -> 'c'

    /// A peer of its own seed.
    let peerOf (config: PeerConfig) (seed: int64) : Peer.State = End.peer config (Entropy.ofNumber seed)

    let private address (text: string) = (Address.parse text).Value

    let private world config (net: Internet) (entropy: Entropy) a b : World =
        { Now = 0L<us>
          Net = net
          Tcp = Tcp.create (Duration.milliseconds 20L)
          Server = ValueNone
          Names = Map.empty
          Forger = ValueNone
          Ends =
            Map.ofList
                [ 'a', End.create config (Entropy.split "a" entropy) a
                  'b', End.create config (Entropy.split "b" entropy) b ]
          NextPort = 1
          NextCommand = 1L
          Mail = []
          Story = []
          Steps = 0 }

    /// Two hosts on the Internet, each with an IPv4 and an IPv6 interface, in the weather given.
    let createOf (config: PeerConfig) (weather: Weather) (seed: int64) : World =
        let entropy = Entropy.ofNumber seed

        world
            config
            (Internet.create weather (Entropy.split "wire" entropy))
            entropy
            [ address "192.0.2.1"; address "2001:db8::1" ]
            [ address "198.51.100.1"; address "2001:db8:1::1" ]

    /// The same, which carry data only.
    let create (weather: Weather) (seed: int64) : World = createOf config weather seed

    /// Two hosts at home, each behind a NAT of its own, and a STUN server that both ask.
    let behindNats (a: NatKind) (b: NatKind) (weather: Weather) (seed: int64) : World =
        let entropy = Entropy.ofNumber seed
        let home, office = address "10.0.0.2", address "192.168.1.2"

        let server =
            { Address = address "203.0.113.3"
              Port = 3478us }

        let net =
            Internet.create weather (Entropy.split "wire" entropy)
            |> Internet.withNat 1 (Nat.create a false (address "192.0.2.1")) [ home ]
            |> Internet.withNat 2 (Nat.create b false (address "198.51.100.1")) [ office ]
            |> Internet.withServer server

        let config =
            { config with
                Configuration =
                    { config.Configuration with
                        IceServers =
                            [| { Urls = [| "stun:stun.example.org" |]
                                 Username = ValueNone
                                 Credential = ValueNone } |] } }

        { world config net entropy [ home ] [ office ] with
            Server = ValueSome server }

    /// With a forger on the path.
    let withForger (rate: float) (seed: int64) (world: World) : World =
        { world with
            Forger =
                ValueSome
                    { Rate = rate
                      Entropy = Entropy.ofNumber seed
                      Seen = [] } }

    /// Under another weather from now on.
    let under (weather: Weather) (world: World) : World =
        { world with
            Net = Internet.under weather world.Net }

    /// With two hosts more, `'c'` and `'d'`, each on the network of one of the first two.
    let withPair (config: PeerConfig) (seed: int64) (world: World) : World =
        let entropy = Entropy.ofNumber seed

        { world with
            Ends =
                world.Ends
                |> Map.add 'c' (End.create config (Entropy.split "c" entropy) [ address "192.0.2.2" ])
                |> Map.add 'd' (End.create config (Entropy.split "d" entropy) [ address "198.51.100.2" ]) }

    /// With a link that all pass which is sent by `'a'`, and by `'c'` where there is one, to the others. The way back has room
    /// for all.
    let withLink (link: Link) (world: World) : World =
        let from = [ 'a'; 'c' ] |> List.choose (fun who -> Map.tryFind who world.Ends)

        { world with
            Net = Internet.withLink 1 link (from |> List.collect _.Interfaces) world.Net }

    let link (world: World) : Link = Internet.link 1 world.Net

    /// The same world with one end changed.
    let change (who: char) (change: End -> End) (world: World) : World =
        { world with
            Ends = Map.add who (change world.Ends[who]) world.Ends }

    let rec private feed (who: char) (input: Input) (world: World) : World =
        let e = world.Ends[who]

        let told =
            match input with
            | Datagram(path, bytes) -> Datagram(path, Memory(bytes.ToArray()))
            | other -> other

        let struct (peer, outputs) = Peer.step world.Now input e.Peer

        let world =
            { world with
                Steps = world.Steps + 1
                Story = struct (world.Now, who, told) :: world.Story }
            |> change who (fun e -> { e with Peer = peer })

        let world = List.fold (perform who) world outputs

        // What was lent is gone once its outputs are performed.
        match input with
        | Datagram(_, bytes) -> bytes.Span.Fill 0xEEuy
        | _ -> ()

        world

    and private perform (who: char) (world: World) (output: Output) : World =
        let e = world.Ends[who]

        match output with
        | Transmit(path, packet) ->
            let write () =
                let bytes: byte[] = Array.zeroCreate packet.Size
                let written = packet.Write(Span bytes)

                if written <> bytes.Length then
                    failwithf "a packet said %d octets and wrote %d" bytes.Length written

                bytes

            match Map.tryFind path.Local e.Ports with
            | None ->
                { world with
                    Tcp = Tcp.send world.Now who path (write ()) world.Tcp }
            | Some source ->
                let bytes = write ()

                // Fragments pass everywhere.
                let size = if packet.MayFragment then 0 else bytes.Length

                { world with
                    Net = Internet.sendAs size world.Now { From = source; To = path.Remote } bytes world.Net }
        | TransmitRun(path, run) ->
            (world, [ 0 .. run.Count - 1 ])
            ||> List.fold (fun world i ->
                let bytes: byte[] = Array.zeroCreate (run.Size i)
                let written = run.Write(i, Span bytes)

                if written > bytes.Length || written = 0 then
                    failwithf "a packet said %d octets and wrote %d" bytes.Length written

                let bytes = bytes[.. written - 1]

                match Map.tryFind path.Local e.Ports with
                | Some source ->
                    { world with
                        Net = Internet.sendAs written world.Now { From = source; To = path.Remote } bytes world.Net }
                | None ->
                    { world with
                        Tcp = Tcp.send world.Now who path bytes world.Tcp })
        | OpenPorts ->
            let opened =
                e.Interfaces
                |> List.mapi (fun i address ->
                    let number = world.NextPort + i

                    number * 1<port>,
                    { Address = address
                      Port = uint16 (50_000 + number) },
                    100 - i)

            let listeners =
                if e.Listens then
                    opened
                    |> List.map (fun (id, at, preference) -> id + opened.Length * 1<port>, at, preference)
                else
                    []

            let add ports bound =
                (ports, bound) ||> List.fold (fun ports (id, at, _) -> Map.add id at ports)

            let world =
                { world with
                    NextPort = world.NextPort + opened.Length + listeners.Length }
                |> change who (fun e ->
                    { e with
                        Ports = add e.Ports opened
                        Listeners = add e.Listeners listeners })

            let world =
                (world, opened)
                ||> List.fold (fun world (id, at, preference) -> feed who (PortOpened(id, at, preference)) world)

            (world, listeners)
            ||> List.fold (fun world (id, at, preference) -> feed who (ListenerOpened(id, at, preference)) world)
            |> feed who PortsComplete
        | ClosePort port ->
            { world with
                Tcp = Tcp.close world.Now who port world.Tcp }
            |> change who (fun e ->
                { e with
                    Ports = Map.remove port e.Ports
                    Listeners = Map.remove port e.Listeners })
        | OpenStream(port, kind, from, _, _) when kind <> StreamKind.IceTcp ->
            let local =
                { e.Ports[from] with
                    Port = Internet.streamPorts + uint16 world.NextPort }

            { world with
                NextPort = world.NextPort + 1 }
            |> change who (fun e ->
                { e with
                    Ports = Map.add port local e.Ports })
            |> feed who (StreamOpened(port, local))
        | OpenStream(port, _, from, target, _) ->
            { world with
                Tcp = Tcp.connect world.Now who port e.Ports[from].Address target world.Net world.Tcp }
        | VerifyCertificate(port, name, chain) -> feed who (CertificateVerified(port, TurnDtls.refusal name chain)) world
        | ResolveServer url ->
            match world.Server with
            | ValueSome server -> feed who (ServerResolved(url, [| server |])) world
            | ValueNone -> feed who (ServerFailed(url, "no servers here")) world
        | ResolveName name -> feed who (NameResolved(name, ValueOption.ofOption (Map.tryFind name world.Names))) world
        | AnnounceName(name, address) ->
            { world with
                Names = Map.add name address world.Names }
        | Reply(command, answer) ->
            change
                who
                (fun e ->
                    { e with
                        Replies = Map.add command (Ok answer) e.Replies })
                world
        | Refuse(command, mistake) ->
            change
                who
                (fun e ->
                    { e with
                        Replies = Map.add command (Error mistake) e.Replies })
                world
        | Raise event ->
            let world = change who (fun e -> { e with Events = event :: e.Events }) world

            match event with
            | IceCandidate(ValueSome candidate) -> trickle who candidate world
            | _ -> world
        | Deliver(channel, text, payload) ->
            let world =
                change
                    who
                    (fun e ->
                        { e with
                            Messages = struct (channel, text, payload.ToArray()) :: e.Messages
                            MessageCount = e.MessageCount + 1 })
                    world

            if e.Consumes then
                feed who (Consumed payload.Length) world
            else
                world
        | DeliverRtp(transceiver, rid, packet) ->
            // Lent: what is kept is a copy.
            let kept =
                { packet with
                    Csrcs = ReadOnlyMemory(packet.Csrcs.ToArray())
                    Extensions = ReadOnlyMemory(packet.Extensions.ToArray())
                    Payload = ReadOnlyMemory(packet.Payload.ToArray()) }

            change
                who
                (fun e ->
                    { e with
                        Rtp = struct (world.Now, transceiver, rid, kept) :: e.Rtp })
                world
        | Ignored _ -> change who (fun e -> { e with Ignored = e.Ignored + 1 }) world
        | Ended ->
            change
                who
                (fun e ->
                    { e with
                        HasEnded = true
                        Ports = Map.empty })
                world

    /// Signalling carries a candidate to the other end, where it has a remote description to go with.
    and private trickle (who: char) (candidate: LocalCandidate) (world: World) : World =
        let other = other who
        let command = world.NextCommand

        let world =
            { world with
                NextCommand = command + 1L }
            |> feed other (AddIceCandidate(command, candidate.Candidate))

        match world.Ends[other].Replies[command] with
        | Error mistake when mistake.Name = ErrorName.InvalidStateError ->
            { world with
                Mail = (other, candidate.Candidate) :: world.Mail }
        | _ -> world

    /// From now on an end's process runs by a schedule: what comes while it does not waits, and so do its timers.
    let scheduled (who: char) (schedule: Schedule) (world: World) : World =
        change
            who
            (fun e ->
                { e with
                    Schedule =
                        ValueSome(
                            Schedule.at
                                world.Now
                                { schedule with
                                    From = world.Now
                                    Until = world.Now }
                        ) })
            world

    /// When an end's process next runs.
    let awake (now: Instant) (e: End) : Instant =
        match e.Schedule with
        | ValueSome schedule when now < Instant.never -> Schedule.awake now (Schedule.at now schedule)
        | _ -> now

    /// Gives an end an input.
    let tell (who: char) (input: Input) (world: World) : World = feed who input world

    /// Makes a request and answers what it was answered, at once.
    let ask (who: char) (request: CommandId -> Input) (world: World) : World * Result<Answer, Mistake> =
        let command = world.NextCommand

        let world =
            { world with
                NextCommand = command + 1L }
            |> feed who (request command)

        world, world.Ends[who].Replies[command]

    /// The same, of a request that is meant to succeed.
    let demand who request world : World * Answer =
        match ask who request world with
        | world, Ok answer -> world, answer
        | _, Error mistake -> failwithf "%O: %s" mistake.Name mistake.Message

    let private describe who request world =
        match demand who request world with
        | world, Created description -> world, description
        | _ -> failwith "no description"

    /// Sets a remote description, and gives the candidates that waited for it.
    let private setRemote who description world =
        let world, _ = demand who (fun c -> SetRemoteDescription(c, description)) world
        let waiting, others = world.Mail |> List.partition (fun (to', _) -> to' = who)

        ({ world with Mail = others }, List.rev waiting)
        ||> List.fold (fun world (_, candidate) -> demand who (fun c -> AddIceCandidate(c, candidate)) world |> fst)

    /// A channel of defaults.
    let channel label : ChannelInit =
        { Label = label
          Protocol = ""
          Ordered = true
          MaxPacketLifeTime = ValueNone
          MaxRetransmits = ValueNone
          Negotiated = false
          Id = ValueNone
          Priority = Priority.Low }

    let create' who init world : World * ChannelHandle =
        match demand who (fun c -> CreateDataChannel(c, init)) world with
        | world, Channel info -> world, info.Handle
        | _ -> failwith "no channel"

    /// When something next happens.
    let next (world: World) : Instant =
        (Instant.min (Internet.next world.Net) (Tcp.next world.Tcp), world.Ends)
        ||> Map.fold (fun soonest _ e ->
            let due = if e.Held.IsEmpty then Peer.deadline e.Peer else world.Now
            Instant.min soonest (awake (max world.Now due) e))

    /// What the forger sends along with a datagram, by the same way.
    let private forge who (path: Path) (genuine: byte[]) (world: World) : World =
        match world.Forger with
        | ValueNone -> world
        | ValueSome forger ->
            let forger =
                { forger with
                    Seen = List.truncate 64 (genuine :: forger.Seen) }

            let struct (drawn, entropy) = Entropy.unit forger.Entropy
            let forger = { forger with Entropy = entropy }

            if drawn >= forger.Rate then
                { world with Forger = ValueSome forger }
            else
                let struct (forged, forger) = Forger.forge genuine forger

                { world with Forger = ValueSome forger }
                |> feed who (Datagram(path, Memory forged))

    // Who listens for TCP at an endpoint.
    let private listener (world: World) (at: Endpoint) =
        world.Ends
        |> Map.tryPick (fun who e ->
            e.Listeners
            |> Map.tryPick (fun port bound -> if bound.Equals at then Some(struct (who, port)) else None))

    /// What has come by TCP.
    let rec private drainTcp (world: World) : World =
        let struct (events, tcp) =
            Tcp.receive world.Now (listener world) world.Net world.Tcp

        let world = { world with Tcp = tcp }

        match events with
        | ValueNone -> world
        | ValueSome events ->
            (world, events)
            ||> List.fold (fun world event ->
                match event with
                | TcpOpened(tcp, local) -> feed tcp.Who (StreamOpened(tcp.Path.Local, local)) world
                | TcpClosed tcp -> feed tcp.Who (StreamClosed(tcp.Path, "closed")) world
                | TcpArrived(tcp, frame) -> feed tcp.Who (Datagram(tcp.Path, Memory(Array.copy frame))) world)
            |> drainTcp

    /// What has arrived goes to whoever has the port, all of one instant first; then whoever is due ticks, once.
    let private turn (world: World) : World =
        // Kept, so that nobody has to draw from the beginning again.
        let world =
            (world, world.Ends)
            ||> Map.fold (fun world who e ->
                match e.Schedule with
                | ValueSome schedule when schedule.Until <= world.Now ->
                    change
                        who
                        (fun e ->
                            { e with
                                Schedule = ValueSome(Schedule.at world.Now schedule) })
                        world
                | _ -> world)

        let rec drain (world: World) =
            let struct (arrived, net) = Internet.receive world.Now world.Net
            let world = { world with Net = net }

            match arrived with
            | ValueNone -> world
            // A NAT or a server swallowed it.
            | ValueSome ValueNone -> drain world
            | ValueSome(ValueSome(struct (flow, bytes))) ->
                let receiver =
                    world.Ends
                    |> Map.tryPick (fun who e ->
                        e.Ports
                        |> Map.tryPick (fun port at -> if at.Equals flow.To then Some(who, port) else None))

                match receiver with
                | Some(who, port) when awake world.Now world.Ends[who] > world.Now ->
                    let path = { Local = port; Remote = flow.From }

                    world
                    |> change who (fun e ->
                        { e with
                            Held = struct (path, bytes) :: e.Held })
                    |> drain
                | Some(who, port) ->
                    let path = { Local = port; Remote = flow.From }

                    world
                    |> feed who (Datagram(path, Memory(Array.copy bytes)))
                    |> forge who path bytes
                    |> drain
                | None -> drain world

        let running (world: World) =
            [ for KeyValue(who, e) in world.Ends do
                  if awake world.Now e = world.Now then
                      who ]

        // What waited for a process comes first.
        let world =
            (world, running world)
            ||> List.fold (fun world who ->
                match world.Ends[who].Held with
                | [] -> world
                | held ->
                    (change who (fun e -> { e with Held = [] }) world, List.rev held)
                    ||> List.fold (fun world (struct (path, bytes)) -> feed who (Datagram(path, Memory bytes)) world))
            |> drain
            |> drainTcp

        (world, running world)
        ||> List.fold (fun world who ->
            if Peer.deadline world.Ends[who].Peer <= world.Now then
                feed who Tick world
            else
                world)

    /// Lets time pass until `until` holds; false where it has not by the time `limit`, counted from now, is over.
    let run (limit: Duration) (until: World -> bool) (world: World) : World * bool =
        let last = Instant.add limit world.Now

        let rec go (world: World) =
            if until world then
                world, true
            else
                let at = next world

                if at > last then
                    { world with Now = last }, until { world with Now = last }
                else
                    go (turn { world with Now = max world.Now at })

        go world

    /// Lets time pass.
    let pass (length: Duration) (world: World) : World =
        run length (fun _ -> false) world |> fst

    /// Offer and answer, `offerer` first, each changed on its way; the answer takes `travel` to arrive.
    let negotiateWith (change: Description -> Description) (travel: Duration) (offerer: char) (world: World) : World =
        let answerer = other offerer
        let world, offer = describe offerer (fun c -> CreateOffer(c, false)) world

        let world, _ =
            demand offerer (fun c -> SetLocalDescription(c, ValueSome offer)) world

        let world = setRemote answerer (change offer) world
        let world, answer = describe answerer CreateAnswer world

        let world, _ =
            demand answerer (fun c -> SetLocalDescription(c, ValueSome answer)) world

        world |> pass travel |> setRemote offerer (change answer)

    /// Offer and answer, `offerer` first.
    let negotiate (offerer: char) (world: World) : World = negotiateWith id 0L<us> offerer world

    /// Channels that an end was told are open, in that order.
    let openChannels (who: char) (world: World) : ChannelHandle list = End.openChannels world.Ends[who]

    /// Messages that an end was given, oldest first.
    let messages (who: char) (world: World) = List.rev world.Ends[who].Messages

    /// The connection state that an end was told last.
    let connection (who: char) (world: World) : PeerConnectionState = End.connection world.Ends[who]
