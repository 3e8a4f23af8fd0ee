namespace Hybrid.WebRtc.PropertyTests

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Stack

/// Source and destination of a datagram.
[<Struct; NoComparison>]
type Flow = { From: Endpoint; To: Endpoint }

/// The kinds of NAT that RFC 3489 §5 named, in the terms of RFC 4787.
type NatKind =
    /// Endpoint-independent mapping and filtering.
    | FullCone
    /// Endpoint-independent mapping, address-dependent filtering.
    | RestrictedCone
    /// Endpoint-independent mapping, address- and port-dependent filtering.
    | PortRestrictedCone
    /// Address- and port-dependent mapping and filtering.
    | Symmetric

/// An endpoint as a key.
type private Key = (struct (uint64 * uint64 * uint16))

/// A mapping of a NAT.
[<NoComparison>]
type private Mapping =
    {
        Inside: Endpoint
        /// Whom the inside has sent to through this mapping: addresses, and addresses with ports.
        Called: Set<Key>
    }

/// A network address translator as a value.
[<NoComparison; NoEquality>]
type Nat =
    private
        {
            Kind: NatKind
            Hairpin: bool
            Outside: Address
            /// Inside (and for symmetric ones: destination) to outside port.
            Ports: Map<struct (Key * Key), uint16>
            Mappings: Map<uint16, Mapping>
            NextPort: uint16
        }

[<RequireQualifiedAccess>]
module Nat =
    let private key (e: Endpoint) : Key =
        struct (e.Address.High, e.Address.Low, e.Port)

    let private anyPort (e: Endpoint) : Key =
        struct (e.Address.High, e.Address.Low, 0us)

    let private noKey: Key = struct (0UL, 0UL, 0us)

    let create (kind: NatKind) (hairpin: bool) (outside: Address) : Nat =
        { Kind = kind
          Hairpin = hairpin
          Outside = outside
          Ports = Map.empty
          Mappings = Map.empty
          NextPort = 20000us }

    let outside (nat: Nat) = nat.Outside
    let hairpins (nat: Nat) = nat.Hairpin

    /// Forgets every mapping, as after a restart: what the inside sends next leaves from other ports.
    let rebind (nat: Nat) : Nat =
        { nat with
            Ports = Map.empty
            Mappings = Map.empty }

    /// A datagram leaves: its source becomes the NAT's, and its destination may answer.
    let outbound (flow: Flow) (nat: Nat) : struct (Flow * Nat) =
        let name =
            match nat.Kind with
            | Symmetric -> struct (key flow.From, key flow.To)
            | FullCone
            | RestrictedCone
            | PortRestrictedCone -> struct (key flow.From, noKey)

        let port, nat =
            match Map.tryFind name nat.Ports with
            | Some port -> port, nat
            | None ->
                let mapping =
                    { Inside = flow.From
                      Called = Set.empty }

                nat.NextPort,
                { nat with
                    Ports = Map.add name nat.NextPort nat.Ports
                    Mappings = Map.add nat.NextPort mapping nat.Mappings
                    // Not the next one: nobody is to guess.
                    NextPort = nat.NextPort + 7us }

        let mapping = nat.Mappings[port]

        let called = mapping.Called |> Set.add (key flow.To) |> Set.add (anyPort flow.To)

        let nat =
            { nat with
                Mappings = Map.add port { mapping with Called = called } nat.Mappings }

        let from: Endpoint = { Address = nat.Outside; Port = port }

        struct ({ flow with From = from }, nat)

    /// A datagram arrives at the outside: ValueNone where nothing is mapped, or the filter refuses the sender.
    let inbound (flow: Flow) (nat: Nat) : Flow voption =
        match Map.tryFind flow.To.Port nat.Mappings with
        | Some mapping ->
            let admitted =
                match nat.Kind with
                | FullCone -> true
                | RestrictedCone -> Set.contains (anyPort flow.From) mapping.Called
                | PortRestrictedCone
                | Symmetric -> Set.contains (key flow.From) mapping.Called

            if admitted then
                ValueSome { flow with To = mapping.Inside }
            else
                ValueNone
        | None -> ValueNone

/// A STUN server, RFC 8489 §12, as a function.
[<RequireQualifiedAccess>]
module StunServer =
    /// The answer to a Binding request; ValueNone to anything else.
    let answer (source: Endpoint) (datagram: byte[]) : byte[] voption =
        match Message.read (ReadOnlySpan datagram) with
        | ValueSome message when message.Class.IsRequest && message.Method = Method.Binding ->
            let outgoing =
                { Message = Message.success message [| XorMappedAddress source; Software "simulated" |]
                  Integrity = Unprotected
                  Fingerprint = true }

            let bytes = Array.zeroCreate (Outgoing.size outgoing)
            Outgoing.write SystemCiphers.Shared (Span bytes) outgoing |> ignore
            ValueSome bytes
        | _ -> ValueNone

/// Networks behind NATs, an Internet between them, and STUN servers on it. A pure machine: `send` and `receive`.
/// A datagram is bytes and endpoints; what they say is the users' business.
[<NoComparison; NoEquality>]
type Internet =
    private
        {
            Wire: Wire<Flow>
            Nats: Map<int, Nat>
            /// Which NAT an inside address is behind. Others are on the Internet itself.
            Behind: Map<struct (uint64 * uint64), int>
            /// Links by number, and which one datagrams from an address pass before they are on the wire.
            Links: Map<int, Link>
            Uplinks: Map<struct (uint64 * uint64), int>
            /// How much longer datagrams from an address take than the weather says.
            Detours: Map<struct (uint64 * uint64), Duration>
            /// Directions of streams, as they are on the wire, and when the last piece of each arrives.
            Streams: Map<struct (struct (uint64 * uint64) * uint16 * struct (uint64 * uint64) * uint16), Instant>
            Servers: Endpoint list
            Turns: SmallServer list
            /// Hosts that no UDP passes to or from.
            Firewalled: Set<struct (uint64 * uint64)>
            /// What hosts have sent, newest first, where it is watched: as it left them.
            Watched: Flow list voption
        }

[<RequireQualifiedAccess>]
module Internet =
    let private key (a: Address) = struct (a.High, a.Low)

    let create (weather: Weather) (entropy: Entropy) : Internet =
        { Wire = Wire.create weather entropy
          Nats = Map.empty
          Behind = Map.empty
          Links = Map.empty
          Uplinks = Map.empty
          Detours = Map.empty
          Streams = Map.empty
          Servers = []
          Turns = []
          Firewalled = Set.empty
          Watched = ValueNone }

    /// With a NAT, by number, and the addresses behind it.
    let withNat (number: int) (nat: Nat) (inside: Address list) (net: Internet) : Internet =
        { net with
            Nats = Map.add number nat net.Nats
            Behind =
                (net.Behind, inside)
                ||> List.fold (fun behind address -> Map.add (key address) number behind) }

    /// With a STUN server at a public endpoint.
    let withServer (server: Endpoint) (net: Internet) : Internet =
        { net with
            Servers = server :: net.Servers }

    /// With a TURN server, in place of one at the same endpoint.
    let withTurn (server: SmallServer) (net: Internet) : Internet =
        { net with
            Turns =
                server
                :: (net.Turns |> List.filter (fun other -> not (other.At.Equals server.At))) }

    /// The TURN server at an endpoint.
    let turnAt (at: Endpoint) (net: Internet) : SmallServer =
        net.Turns |> List.find (fun server -> server.At.Equals at)

    /// Watches what hosts send from now on.
    let watching (net: Internet) : Internet = { net with Watched = ValueSome [] }

    /// What they have sent since, newest first.
    let watched (net: Internet) : Flow list =
        net.Watched |> ValueOption.defaultValue []

    /// With a firewall around a host that lets no UDP pass.
    let withoutUdp (host: Address) (net: Internet) : Internet =
        { net with
            Firewalled = Set.add (key host) net.Firewalled }

    /// Local ports of streams to TURN servers, whose frames are carried as datagrams are: in order, and late where they would be lost.
    let streamPorts = 30_000us

    let private isOfStream (e: Endpoint) =
        e.Port >= streamPorts && e.Port < streamPorts + 1_000us

    /// With a link, by number, that all pass which is sent from some addresses.
    let withLink (number: int) (link: Link) (from: Address list) (net: Internet) : Internet =
        { net with
            Links = Map.add number link net.Links
            Uplinks =
                (net.Uplinks, from)
                ||> List.fold (fun uplinks address -> Map.add (key address) number uplinks) }

    /// With a way that takes longer for what is sent from some addresses.
    let withDetour (longer: Duration) (from: Address list) (net: Internet) : Internet =
        { net with
            Detours =
                (net.Detours, from)
                ||> List.fold (fun detours address -> Map.add (key address) longer detours) }

    /// A link as it is now.
    let link (number: int) (net: Internet) : Link = net.Links[number]

    /// Under another weather.
    let under (weather: Weather) (net: Internet) : Internet =
        { net with
            Wire = Wire.under weather net.Wire }

    /// With a NAT that has forgotten its mappings.
    let rebind (number: int) (net: Internet) : Internet =
        { net with
            Nats = Map.change number (Option.map Nat.rebind) net.Nats }

    let private natOf (address: Address) (net: Internet) : int voption =
        match Map.tryFind (key address) net.Behind with
        | Some number -> ValueSome number
        | None -> ValueNone

    let private outsideOf (address: Address) (net: Internet) : int voption =
        net.Nats
        |> Map.tryFindKey (fun _ nat -> (Nat.outside nat).Equals address)
        |> ValueOption.ofOption

    /// The address that a host seems to have to another: its NAT's, where it is behind one that the other is not.
    let outsideFrom (from: Address) (target: Address) (net: Internet) : Address voption =
        match natOf from net, natOf target net with
        | ValueSome mine, ValueSome theirs when mine = theirs -> ValueNone
        | ValueSome mine, _ -> ValueSome(Nat.outside net.Nats[mine])
        | ValueNone, _ -> ValueNone

    /// Whether a host that listens is to be reached: not from outside of its NAT.
    let isReachable (from: Address) (target: Address) (net: Internet) : bool =
        match natOf from net, natOf target net with
        | _, ValueNone -> true
        | ValueSome mine, ValueSome theirs -> mine = theirs
        | ValueNone, ValueSome _ -> false

    /// A host sends what the path takes for `size` octets. Within one network directly; out of it through its NAT.
    let sendAs (size: int) (now: Instant) (flow: Flow) (bytes: byte[]) (net: Internet) : Internet =
        let net =
            match net.Watched with
            | ValueSome flows ->
                { net with
                    Watched = ValueSome(flow :: flows) }
            | ValueNone -> net

        // A stream's frames pass a firewall that UDP does not.
        let isBlocked (e: Endpoint) =
            not net.Firewalled.IsEmpty
            && Set.contains (key e.Address) net.Firewalled
            && not (isOfStream e)

        let direction (from: Endpoint) (towards: Endpoint) =
            struct (key from.Address, from.Port, key towards.Address, towards.Port)

        let isStream (onWire: Flow) =
            isOfStream flow.From
            || (not net.Streams.IsEmpty
                && net.Streams.ContainsKey(direction onWire.To onWire.From))

        let inOrder (flow: Flow) (net: Internet) =
            let name = direction flow.From flow.To

            let last = Map.tryFind name net.Streams |> Option.defaultValue 0L<us>

            let struct (at, wire) = Wire.sendInOrder last now flow bytes net.Wire

            { net with
                Wire = wire
                Streams = Map.add name at net.Streams }

        let onto flow net =
            let longer =
                Map.tryFind (key flow.From.Address) net.Detours |> Option.defaultValue 0L<us>

            match Map.tryFind (key flow.From.Address) net.Uplinks with
            | _ when isStream flow -> inOrder flow net
            | None ->
                { net with
                    Wire = Wire.sendAs size (now + longer) flow bytes net.Wire }
            | Some number ->
                let struct (left, link) = Link.send now size net.Links[number]

                let net =
                    { net with
                        Links = Map.add number link net.Links }

                match left with
                | ValueSome at ->
                    { net with
                        Wire = Wire.sendAs size (at + longer) flow bytes net.Wire }
                | ValueNone -> net

        // A NAT may itself be behind another.
        let rec leave (flow: Flow) (net: Internet) =
            match natOf flow.From.Address net, natOf flow.To.Address net with
            | ValueSome mine, ValueSome theirs when mine = theirs -> onto flow net
            | ValueNone, ValueNone -> onto flow net
            // Another network's inside is not to be reached.
            | ValueNone, ValueSome _ -> net
            | ValueSome number, _ ->
                let nat = net.Nats[number]

                if flow.To.Address.Equals(Nat.outside nat) && not (Nat.hairpins nat) then
                    net
                else
                    let struct (flow, nat) = Nat.outbound flow nat

                    { net with
                        Nats = Map.add number nat net.Nats }
                    |> leave flow

        if isBlocked flow.From || isBlocked flow.To then
            net
        else
            leave flow net

    /// A host sends a datagram.
    let send (now: Instant) (flow: Flow) (bytes: byte[]) (net: Internet) : Internet =
        sendAs bytes.Length now flow bytes net

    /// When the next datagram arrives.
    let next (net: Internet) : Instant = Wire.next net.Wire

    /// What reaches a TURN server. From one of its relayed addresses to another there is no wire; what it sends may be
    /// fragmented, as nobody asks it for DONT-FRAGMENT.
    let rec private serve now (flow: Flow) (bytes: byte[]) (server: SmallServer) (net: Internet) : Internet =
        let server, sent = SmallServer.receive now flow.From flow.To bytes server

        (withTurn server net, sent)
        ||> List.fold (fun net (struct (source, destination, bytes)) ->
            let flow = { From = source; To = destination }
            let server = turnAt server.At net

            if SmallServer.owns destination server then
                serve now flow bytes server net
            else
                sendAs 0 now flow bytes net)

    let rec private deliver (flow: Flow) (net: Internet) : Flow voption =
        match outsideOf flow.To.Address net with
        | ValueSome number ->
            Nat.inbound flow net.Nats[number]
            |> ValueOption.bind (fun flow -> deliver flow net)
        | ValueNone -> ValueSome flow

    /// What has arrived at a host by now, one at a time: ValueNone when nothing is left. The outer option; the inner
    /// one is ValueNone for a datagram that a NAT or a server swallowed.
    let receive (now: Instant) (net: Internet) : struct (struct (Flow * byte[]) voption voption * Internet) =
        let struct (arrived, wire) = Wire.receive now net.Wire
        let net = { net with Wire = wire }

        match arrived with
        | ValueNone -> struct (ValueNone, net)
        | ValueSome(struct (flow, bytes)) ->
            match deliver flow net with
            | ValueNone -> struct (ValueSome ValueNone, net)
            | ValueSome flow when net.Servers |> List.exists (fun s -> s.Equals flow.To) ->
                match StunServer.answer flow.From bytes with
                | ValueSome answer ->
                    struct (ValueSome ValueNone, send now { From = flow.To; To = flow.From } answer net)
                | ValueNone -> struct (ValueSome ValueNone, net)
            | ValueSome flow ->
                match net.Turns |> List.tryFind (SmallServer.owns flow.To) with
                | Some server -> struct (ValueSome ValueNone, serve now flow bytes server net)
                | None -> struct (ValueSome(ValueSome(struct (flow, bytes))), net)

    /// Where a datagram sent now would come out if nothing went wrong: at whom, and from whom it would seem to be.
    let trace (now: Instant) (flow: Flow) (net: Internet) : Flow voption =
        let calm =
            { net with
                Wire = Wire.create Weather.fair (Entropy.ofNumber 0L) }

        let net = send now flow [||] calm
        let struct (arrived, _) = receive Instant.never net

        match arrived with
        | ValueSome(ValueSome(struct (flow, _))) -> ValueSome flow
        | _ -> ValueNone
