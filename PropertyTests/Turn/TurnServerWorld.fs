/// A TURN server under virtual time, with a shell that opens every relay it is asked for, and clients that ask by hand.
module Hybrid.WebRtc.PropertyTests.Turn.TurnServerWorld

open System
open System.Collections.Generic
open Expecto
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun
open Hybrid.WebRtc.Core.Turn
open Hybrid.WebRtc.Stack

let ciphers: ICiphers = SystemCiphers.Shared

let seconds (n: int) : Duration = Duration.seconds (int64 n)

let endpoint (text: string) (port: int) : Endpoint =
    match Address.parse text with
    | ValueSome address ->
        { Address = address
          Port = uint16 port }
    | ValueNone -> failtest $"{text} is no address"

/// The Unix time of the worlds' beginning, seconds.
[<Literal>]
let Epoch = 1_800_000_000L

let config: TurnServerConfig =
    { Ciphers = ciphers
      Epoch = Epoch * 1_000_000L
      Realm = "example.org"
      Software = ""
      V4 = true
      V6 = true
      Limits = TurnServer.limits
      Peers = PeerFilter.standard
      TcpListeners = [||]
      Alternates = [||]
      Discovery = ValueNone }

let credentials: TurnCredentials =
    { Users = [| struct ("alice", "wonderland"); struct ("bob", "builder") |]
      Secrets = [||] }

/// How a client asks: which key its requests are protected with, and how.
type Style =
    | Md5
    | Sha256
    | HashedName

/// A response, with the bytes that it came in.
type Answer = { Message: Message; Bytes: byte[] }

/// A datagram that a relay sent to a peer.
type Relayed =
    { Relay: int
      Peer: Endpoint
      Data: byte[]
      MayFragment: bool }

/// A connection to or from a peer, as the shell has it.
type PeerStream =
    {
        Relay: int
        Peer: Endpoint
        /// The client's data connection that is joined to it.
        Client: Path voption
    }

type World(config: TurnServerConfig, credentials: TurnCredentials) =
    let mutable state = TurnServer.create (Array.create 32 5uy) config credentials
    let mutable now: Instant = seconds 1000
    let mutable nextPort = 49152
    let toClients = List<struct (Path * byte[])>()
    let toPeers = List<Relayed>()
    let events = List<TurnServerEvent>()
    let ignored = List<Drop>()
    let opened = Dictionary<int, Endpoint>()
    let asked = List<struct (int * bool * RelayKind)>()
    let peers = Dictionary<int, PeerStream>()

    let draw even =
        if even && nextPort % 2 = 1 then
            nextPort <- nextPort + 1

        nextPort <- nextPort + 1
        nextPort - 1

    let host v6 =
        if v6 then "2001:db8::5" else "198.51.100.5"

    member _.State = state
    member _.Now = now
    member _.ToClients = toClients
    member _.ToPeers = toPeers
    member _.Events = events
    member _.Ignored = ignored
    /// Relays that are open, by number.
    member _.Opened = opened
    /// Relays that were asked for and are not answered: only while `Opens` is false.
    member _.Asked = asked
    /// Connections to and from peers that are open, or are being made, by number.
    member _.Peers = peers
    /// Whether relays are opened as soon as they are asked for.
    member val Opens = true with get, set
    /// Whether a relay of this family can be had.
    member val Has: bool -> bool = (fun _ -> true) with get, set

    /// Opens a relay that was asked for, or does not.
    member this.Answer(struct (id, v6, kind): struct (int * bool * RelayKind)) : unit =
        if not (this.Has v6) then
            this.Feed(RelayFailed id)

            match kind with
            | RelayKind.Pair next -> this.Feed(RelayFailed next)
            | _ -> ()
        else
            let one id even =
                let relayed = endpoint (host v6) (draw even)
                opened[id] <- relayed
                this.Feed(RelayOpened(id, relayed))

            match kind with
            | RelayKind.Any
            | RelayKind.Tcp -> one id false
            | RelayKind.Even -> one id true
            | RelayKind.Pair next ->
                one id true
                one next false

    member this.Feed(input: TurnServerInput) : unit =
        let struct (next, outputs) = TurnServer.step now input state
        state <- next

        for output in outputs do
            match output with
            | Transmit(path, packet) ->
                let bytes = Array.zeroCreate packet.Size
                Expect.equal (packet.Write(Span bytes)) bytes.Length "write fills exactly size"
                toClients.Add(struct (path, bytes))
            | Forward(relay, peer, data, mayFragment) ->
                toPeers.Add
                    { Relay = relay
                      Peer = peer
                      Data = data.ToArray()
                      MayFragment = mayFragment }
            | OpenRelay(id, v6, kind) ->
                if this.Opens then
                    this.Answer(struct (id, v6, kind))
                else
                    asked.Add(struct (id, v6, kind))
            | CloseRelay id -> Expect.isTrue (opened.Remove id) "a relay that is closed was open"
            | ConnectPeer(relay, connection, peer) ->
                Expect.isTrue (opened.ContainsKey relay) "it connects from a relay that is open"

                peers.Add(
                    connection,
                    { Relay = relay
                      Peer = peer
                      Client = ValueNone }
                )
            | JoinPeer(connection, client, _) ->
                Expect.isTrue peers[connection].Client.IsNone "it is joined once"

                peers[connection] <-
                    { peers[connection] with
                        Client = ValueSome client }
            | ClosePeer connection -> Expect.isTrue (peers.Remove connection) "a connection that is closed was open"
            | Raise event -> events.Add event
            | Ignored reason -> ignored.Add reason

        // Lent bytes are not kept.
        match input with
        | Received(_, bytes)
        | RelayReceived(_, _, bytes) -> bytes.Span.Fill 0xdduy
        | _ -> ()

    /// A peer connects to a relay.
    member this.Accept(relay: int, peer: Endpoint, connection: int) : unit =
        peers.Add(
            connection,
            { Relay = relay
              Peer = peer
              Client = ValueNone }
        )

        this.Feed(PeerAccepted(relay, peer, connection))

    member this.Receive(path: Path, bytes: byte[]) : unit =
        this.Feed(Received(path, Memory(Array.copy bytes)))

    /// Time passes, with a tick for whatever comes due.
    member this.Pass(length: Duration) : unit =
        let until = now + length

        while TurnServer.deadline state <= until do
            now <- max now (TurnServer.deadline state)
            this.Feed Tick

        now <- until

    /// What has come for a client since the last time.
    member _.Take(path: Path) : byte[] list =
        let mine =
            [ for struct (p, bytes) in toClients do
                  if p.Equals path then
                      bytes ]

        toClients.RemoveAll(fun (struct (p, _)) -> p.Equals path) |> ignore
        mine

let world () = World(config, credentials)

/// A client at an address of its own, behind one listener: it delivers datagrams, and takes what has come since.
type Client(path: Path, deliver: byte[] -> unit, take: unit -> byte[] list, name: string, password: string) =
    let mutable realm = ""
    let mutable nonce = ""
    let mutable drawn = Entropy.ofNumber (int64 (path.GetHashCode()))
    let mutable key: byte[] = [||]

    let id () =
        let struct (id, rest) = TransactionId.draw drawn
        drawn <- rest
        id

    member _.Path = path
    member val Style = Md5 with get, set

    member _.Nonce
        with get () = nonce
        and set value = nonce <- value

    /// What the credentials add to a request.
    member this.Credentials() : Attribute list =
        [ match this.Style with
          | Md5
          | Sha256 -> Username name
          | HashedName -> UserHash(Key.userHash ciphers name realm)
          Realm realm
          Nonce nonce
          match this.Style with
          | Md5 -> ()
          | Sha256
          | HashedName ->
              PasswordAlgorithms PasswordAlgorithm.all
              Attribute.PasswordAlgorithm(PasswordAlgorithm.Sha256, [||]) ]

    member _.Send(outgoing: Outgoing) : unit =
        let bytes = Array.zeroCreate (Outgoing.size outgoing)
        Outgoing.write ciphers (Span bytes) outgoing |> ignore
        deliver bytes

    /// Sends a message and takes the one answer that it has.
    member this.Exchange(outgoing: Outgoing) : Answer =
        this.Send outgoing

        match take () with
        | [ bytes ] ->
            match Message.read (ReadOnlySpan bytes) with
            | ValueSome message ->
                Expect.equal message.Transaction outgoing.Message.Transaction "it answers the request"
                { Message = message; Bytes = bytes }
            | ValueNone -> failtest "an answer that reads"
        | several -> failtest $"one answer, not {several.Length}"

    member _.Plain (method: Method) (attributes: Attribute list) : Outgoing =
        { Message = Message.request method (id ()) (List.toArray attributes)
          Integrity = Unprotected
          Fingerprint = false }

    /// A request as it stands, with what this client knows of the server.
    member this.Protected (method: Method) (attributes: Attribute list) : Outgoing =
        key <-
            match this.Style with
            | Md5 -> Key.longTerm ciphers name realm password
            | Sha256
            | HashedName -> Key.longTermSha256 ciphers name realm password

        { Message = Message.request method (id ()) (List.toArray (attributes @ this.Credentials()))
          Integrity = (if this.Style = Md5 then HmacSha1 key else HmacSha256 key)
          Fingerprint = false }

    /// Asks without credentials, and learns the realm and a nonce.
    member this.Meet() : Answer =
        let answer = this.Exchange(this.Plain Method.Allocate [ RequestedTransport 17uy ])

        for attribute in answer.Message.Attributes do
            match attribute with
            | Realm text -> realm <- text
            | Nonce text -> nonce <- text
            | _ -> ()

        answer

    /// A request with credentials, met before if need be; its answer is verified where it is protected.
    member this.Ask (method: Method) (attributes: Attribute list) : Answer =
        if nonce = "" then
            this.Meet() |> ignore

        let answer = this.Exchange(this.Protected method attributes)

        match Message.verify ciphers (ReadOnlySpan key) (ReadOnlySpan answer.Bytes) with
        | Verification.Wrong -> failtest "an answer that is protected with the same key"
        | Verification.Right
        | Verification.Absent -> answer

    member this.Allocate(attributes: Attribute list) : Answer =
        this.Ask Method.Allocate (RequestedTransport 17uy :: attributes)

    member this.Permit(peers: Endpoint list) : Answer =
        this.Ask Method.CreatePermission (List.map XorPeerAddress peers)

    member this.Bind (number: uint16) (peer: Endpoint) : Answer =
        this.Ask Method.ChannelBind [ ChannelNumber number; XorPeerAddress peer ]

    member this.Refresh(attributes: Attribute list) : Answer = this.Ask Method.Refresh attributes

    member _.SendTo (peer: Endpoint) (data: byte[]) (more: Attribute list) : unit =
        let message =
            { Message.request Method.Send (id ()) (List.toArray (XorPeerAddress peer :: Data data :: more)) with
                Class = Class.Indication }

        let outgoing =
            { Message = message
              Integrity = Unprotected
              Fingerprint = false }

        let bytes = Array.zeroCreate (Outgoing.size outgoing)
        Outgoing.write ciphers (Span bytes) outgoing |> ignore
        deliver bytes

    member _.SendOn (number: uint16) (data: byte[]) : unit =
        let bytes = Array.zeroCreate (4 + data.Length)
        ChannelData.writeHeader (Span bytes) number data.Length
        data.CopyTo(bytes, 4)
        deliver bytes

/// A listener of the server's.
let udp: PortId = LanguagePrimitives.Int32WithMeasure 1

/// A client of a world's.
let clientOn (world: World) (path: Path) (name: string) (password: string) =
    Client(path, (fun bytes -> world.Receive(path, bytes)), (fun () -> world.Take path), name, password)

let clientAt (world: World) (address: string) (port: int) (name: string) (password: string) =
    clientOn
        world
        { Local = udp
          Remote = endpoint address port }
        name
        password

let alice (world: World) =
    clientAt world "203.0.113.7" 4000 "alice" "wonderland"

let bob (world: World) =
    clientAt world "203.0.113.8" 4000 "bob" "builder"

/// The error code; 0 where it is a success.
let code (answer: Answer) : int =
    match Message.errorCode answer.Message with
    | ValueSome(struct (code, _)) -> code
    | ValueNone ->
        Expect.isTrue answer.Message.Class.IsSuccess "no error is a success"
        0

let succeeds (answer: Answer) : unit =
    Expect.equal (code answer) 0 "it succeeds"

/// What `choose` makes of the first attribute it answers for.
let picked (choose: Attribute -> 'a voption) (message: Message) : 'a voption =
    message.Attributes
    |> Array.tryPick (choose >> ValueOption.toOption)
    |> ValueOption.ofOption

let relayed (answer: Answer) : Endpoint list =
    [ for attribute in answer.Message.Attributes do
          match attribute with
          | XorRelayedAddress e -> e
          | _ -> () ]

let lifetime (answer: Answer) : uint32 =
    match
        answer.Message
        |> picked (function
            | Lifetime n -> ValueSome n
            | _ -> ValueNone)
    with
    | ValueSome n -> n
    | ValueNone -> failtest "a LIFETIME"

/// The relay's number, by its endpoint.
let relayAt (world: World) (endpoint: Endpoint) : int =
    world.Opened
    |> Seq.pick (fun pair -> if pair.Value.Equals endpoint then Some pair.Key else None)

/// A client with an allocation, and the number of its relay.
let allocated (world: World) =
    let client = alice world
    let answer = client.Allocate []
    succeeds answer
    struct (client, relayAt world (List.head (relayed answer)))

/// The same as an indication.
let asIndication (outgoing: Outgoing) : Outgoing =
    { outgoing with
        Message =
            { outgoing.Message with
                Class = Class.Indication } }
