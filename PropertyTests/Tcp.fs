namespace Hybrid.WebRtc.PropertyTests

open Hybrid.WebRtc.Core

/// One end of a TCP connection: whose, and the path by which it knows the connection.
[<Struct; NoComparison>]
type TcpEnd<'who> = { Who: 'who; Path: Path }

/// What happens to an end of a connection.
[<NoComparison>]
type TcpEvent<'who> =
    | TcpOpened of TcpEnd<'who> * local: Endpoint
    | TcpArrived of TcpEnd<'who> * frame: byte[]
    | TcpClosed of TcpEnd<'who>

[<NoComparison>]
type private Connection<'who> =
    {
        Caller: TcpEnd<'who>
        /// The client's own address and port, and how the server sees it.
        Own: Endpoint
        Seen: Endpoint
        /// ValueNone until the server's listener is found.
        Called: TcpEnd<'who> voption
        IsOver: bool
    }

[<NoComparison>]
type private TcpPacket =
    | Syn
    | SynAck
    | Frame of toCalled: bool * frame: byte[]
    | Fin of toCalled: bool

/// TCP between hosts, whole frames at a time: ordered, nothing lost, at a constant delay. A host behind a NAT connects to
/// others, and is connected to by those behind the same NAT only. A pure machine.
[<NoComparison; NoEquality>]
type Tcp<'who> =
    private
        {
            Delay: Duration
            /// Whether the network carries it.
            Carries: bool
            Connections: Map<int, Connection<'who>>
            /// In order of arrival.
            Wire: struct (Instant * int * TcpPacket) list
        }

[<RequireQualifiedAccess>]
module Tcp =
    let create (delay: Duration) : Tcp<'who> =
        { Delay = delay
          Carries = true
          Connections = Map.empty
          Wire = [] }

    /// A network that carries TCP, or from now on none.
    let carrying (carries: bool) (tcp: Tcp<'who>) : Tcp<'who> = { tcp with Carries = carries }

    let private post (now: Instant) (id: int) (packet: TcpPacket) (tcp: Tcp<'who>) : Tcp<'who> =
        { tcp with
            Wire = tcp.Wire @ [ struct (now + tcp.Delay, id, packet) ] }

    /// `who` connects; `port` is what it calls the stream.
    let connect now (who: 'who) (port: PortId) (from: Address) (target: Endpoint) (net: Internet) (tcp: Tcp<'who>) =
        let id = tcp.Connections.Count + 1

        let own =
            { Address = from
              Port = uint16 (30_000 + id) }

        let connection =
            { Caller =
                { Who = who
                  Path = { Local = port; Remote = target } }
              Own = own
              Seen =
                match Internet.outsideFrom from target.Address net with
                | ValueSome outside -> { own with Address = outside }
                | ValueNone -> own
              Called = ValueNone
              IsOver = false }

        { tcp with
            Connections = Map.add id connection tcp.Connections }
        |> post now id Syn

    let private find (who: 'who when 'who: equality) (path: Path) (tcp: Tcp<'who>) =
        let is (e: TcpEnd<'who>) = e.Who = who && e.Path.Equals path

        tcp.Connections
        |> Map.tryPick (fun id c ->
            if c.IsOver then
                None
            elif is c.Caller then
                Some(id, true)
            elif c.Called.IsSome && is c.Called.Value then
                Some(id, false)
            else
                None)

    /// Whether a path is of a connection.
    let has (who: 'who) (path: Path) (tcp: Tcp<'who>) : bool = (find who path tcp).IsSome

    /// A frame leaves an end. What has no connection is lost.
    let send now (who: 'who) (path: Path) (frame: byte[]) (tcp: Tcp<'who>) : Tcp<'who> =
        match find who path tcp with
        | Some(id, toServer) -> post now id (Frame(toServer, frame)) tcp
        | None -> tcp

    let private over (id: int) (tcp: Tcp<'who>) =
        { tcp with
            Connections = Map.change id (Option.map (fun c -> { c with IsOver = true })) tcp.Connections }

    /// An end closes its connections of a port: a stream, or all that a listener accepted.
    let close now (who: 'who) (port: PortId) (tcp: Tcp<'who>) : Tcp<'who> =
        let isOf (e: TcpEnd<'who>) = e.Who = who && e.Path.Local = port

        (tcp, tcp.Connections)
        ||> Map.fold (fun tcp id c ->
            if c.IsOver then
                tcp
            elif isOf c.Caller then
                tcp |> over id |> post now id (Fin true)
            elif c.Called.IsSome && isOf c.Called.Value then
                tcp |> over id |> post now id (Fin false)
            else
                tcp)

    /// The network ends every connection, as a firewall that restarts does.
    let cut now (tcp: Tcp<'who>) : Tcp<'who> =
        (tcp, tcp.Connections)
        ||> Map.fold (fun tcp id c ->
            if c.IsOver then
                tcp
            else
                tcp |> over id |> post now id (Fin true) |> post now id (Fin false))

    /// Whether two ends are of the same connection.
    let joins (a: 'who * Path) (b: 'who * Path) (tcp: Tcp<'who>) : bool =
        match find (fst a) (snd a) tcp, find (fst b) (snd b) tcp with
        | Some(one, isClient), Some(other, isOther) -> one = other && isClient <> isOther
        | _ -> false

    /// Connections that are open.
    let count (tcp: Tcp<'who>) : int =
        tcp.Connections |> Map.filter (fun _ c -> not c.IsOver) |> Map.count

    let next (tcp: Tcp<'who>) : Instant =
        match tcp.Wire with
        | struct (at, _, _) :: _ -> at
        | [] -> Instant.never

    /// What has happened by now, one at a time. `listener` finds who listens at an endpoint.
    let receive now (listener: Endpoint -> struct ('who * PortId) option) (net: Internet) (tcp: Tcp<'who>) =
        match tcp.Wire with
        | struct (at, id, packet) :: rest when at <= now ->
            let tcp = { tcp with Wire = rest }
            let c = tcp.Connections[id]
            let target = c.Caller.Path.Remote

            match packet with
            | Syn when c.IsOver -> struct (ValueSome [], tcp)
            // Swallowed by a firewall: nobody answers.
            | Syn when not tcp.Carries -> struct (ValueSome [], tcp)
            | Syn when not (Internet.isReachable c.Own.Address target.Address net) -> struct (ValueSome [], tcp)
            | Syn ->
                match listener target with
                | Some(struct (who, port)) ->
                    let server =
                        { Who = who
                          Path = { Local = port; Remote = c.Seen } }

                    struct (ValueSome [],
                            { tcp with
                                Connections = Map.add id { c with Called = ValueSome server } tcp.Connections }
                            |> post now id SynAck)
                | None -> struct (ValueSome [], tcp |> over id |> post now id (Fin false))
            | SynAck when c.IsOver -> struct (ValueSome [], tcp)
            | SynAck -> struct (ValueSome [ TcpOpened(c.Caller, c.Own) ], tcp)
            | Frame(_, _) when c.IsOver || not tcp.Carries -> struct (ValueSome [], tcp)
            | Frame(true, frame) -> struct (ValueSome [ TcpArrived(c.Called.Value, frame) ], tcp)
            | Frame(false, frame) -> struct (ValueSome [ TcpArrived(c.Caller, frame) ], tcp)
            | Fin true when c.Called.IsSome -> struct (ValueSome [ TcpClosed c.Called.Value ], over id tcp)
            | Fin true -> struct (ValueSome [], over id tcp)
            | Fin false -> struct (ValueSome [ TcpClosed c.Caller ], over id tcp)
        | _ -> struct (ValueNone, tcp)
