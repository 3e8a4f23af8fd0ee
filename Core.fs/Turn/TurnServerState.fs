namespace Hybrid.WebRtc.Core.Turn

open System
open Hybrid.WebRtc.Core
open Hybrid.WebRtc.Core.Stun

/// What a server gives at most. `Int32.MaxValue` or `Int64.MaxValue`: no bound.
[<NoComparison>]
type TurnLimits =
    {
        /// The lifetime of an allocation whose client asks for none or for less, RFC 8656 §3.2. Default 600 s.
        DefaultLifetime: Duration
        /// The longest that a client can ask for; at least the default. RFC 8656 §7.2: no more than an hour. Default 3,600 s.
        MaxLifetime: Duration
        /// How long a nonce is good for, RFC 8656 §5: an hour at most. Default 3,600 s.
        NonceLifetime: Duration
        /// Allocations of one user; a reserved port counts as one. Default 100.
        AllocationsPerUser: int
        /// Allocations of the server; a reserved port counts as one. Default 10,000.
        Allocations: int
        /// Peer addresses that one allocation has permissions for. Default 256.
        Permissions: int
        /// Channels of one allocation. Default 256.
        Channels: int
        /// Octets a second that an allocation may carry, of both directions together; a burst of one second is let through, what
        /// is beyond is lost, or over TCP waits. Default none.
        OctetsPerSecond: int64
        /// Connections to and from peers of one allocation of TCP, RFC 6062; those that are being made count. Default 32.
        PeerConnections: int
        /// The same of the server. Default 10,000.
        AllPeerConnections: int
    }

/// The addresses and ports of NAT behaviour discovery, RFC 5780 §6: two addresses with the same two ports each.
[<NoComparison; NoEquality>]
type Discovery =
    {
        /// The listeners: (A1, P1), (A1, P2), (A2, P1), (A2, P2).
        Ports: PortId[]
        /// Their addresses as clients see them, in the same order.
        Endpoints: Endpoint[]
    }

/// Who may use a server. A user's name and password, and the realm, are taken as they are: OpaqueString (RFC 8265 §4.2) is the
/// caller's part.
[<NoComparison; NoEquality>]
type TurnCredentials =
    {
        /// Names and passwords.
        Users: struct (string * string)[]
        /// Secrets shared with who makes REST credentials (see `RestCredentials`). More than one while they are rotated.
        Secrets: string[]
    }

/// Everything that a server is made of, given once.
[<NoComparison; NoEquality>]
type TurnServerConfig =
    {
        Ciphers: ICiphers
        /// The Unix time of the shell's instant zero, microseconds: what REST credentials expire by.
        Epoch: int64
        /// REALM, RFC 8489 §14.9; the provider's domain name.
        Realm: string
        /// SOFTWARE, RFC 8489 §14.14; empty: none.
        Software: string
        /// Whether there are relayed addresses of IPv4,
        V4: bool
        /// and of IPv6.
        V6: bool
        Limits: TurnLimits
        Peers: PeerFilter
        /// The listeners of TCP and TLS, whose clients may have relayed addresses of TCP (RFC 6062); none: nobody may.
        TcpListeners: PortId[]
        /// Where clients are sent on to, with 300, once this server is full or drained; the first of the client's family is taken.
        Alternates: Endpoint[]
        Discovery: Discovery voption
    }

/// How a relayed port is to be chosen, RFC 8656 §7.2.
[<RequireQualifiedAccess; NoComparison>]
type RelayKind =
    | Any
    /// An even number.
    | Even
    /// An even number N, and the next one, N+1, as a relay of its own; both or neither.
    | Pair of Next: int
    /// A TCP port that listens, RFC 6062 §5.1; the others are of UDP.
    | Tcp

/// Why an allocation is over.
type DeallocationReason =
    /// The client gave it up.
    | Released = 0
    /// It was not refreshed in time.
    | Expired = 1
    /// The client's TCP or TLS connection ended.
    | Disconnected = 2
    /// Its socket broke.
    | RelayLost = 3

/// What there is to tell of a server.
[<NoComparison>]
type TurnServerEvent =
    /// An allocation came to be; where there is one of each family, `Relayed` has two endpoints.
    | Allocated of Client: Path * Username: string * Relayed: Endpoint[]
    | Deallocated of Client: Path * Username: string * Reason: DeallocationReason
    /// A request was answered with an error of this code.
    | Refused of Client: Path * Code: int

/// A packet to a client as the core describes it: `Size` octets, encoded by `Write` straight into the shell's buffer.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type TurnPacket =
    internal
    | Response of ICiphers * Outgoing
    /// ChannelData with lent data.
    | Channel of Number: uint16 * Data: ReadOnlyMemory<byte>
    /// A Data indication with lent data, RFC 8656 §11.6.
    | Indication of TransactionId * Peer: Endpoint * Data: ReadOnlyMemory<byte>

    /// Octets that `Write` fills. ChannelData is not padded: over TCP and TLS the shell sees to it.
    member packet.Size: int =
        match packet with
        | Response(_, outgoing) -> Outgoing.size outgoing
        | Channel(_, data) -> ChannelData.HeaderSize + data.Length
        | Indication(_, peer, data) ->
            Message.HeaderSize
            + Attribute.size (XorPeerAddress peer)
            + 4
            + Attribute.padded data.Length

    /// Whether it carries a peer's data.
    member packet.IsData: bool =
        match packet with
        | Response _ -> false
        | Channel _
        | Indication _ -> true

    /// Encodes into lent memory of at least `Size` octets; answers the octets written.
    member packet.Write(into: Span<byte>) : int =
        match packet with
        | Response(ciphers, outgoing) -> Outgoing.write ciphers into outgoing
        | Channel(number, data) ->
            ChannelData.writeHeader into number data.Length
            data.Span.CopyTo(into.Slice ChannelData.HeaderSize)
            ChannelData.HeaderSize + data.Length
        | Indication(id, peer, data) ->
            let mutable writer = Writer into
            writer.UInt16(Message.typeOf Class.Indication Method.Data)
            writer.UInt16(uint16 (packet.Size - Message.HeaderSize))
            writer.UInt32 Message.MagicCookie
            writer.UInt32 id.High
            writer.UInt64 id.Low
            Attribute.write &writer id (XorPeerAddress peer)
            // DATA, RFC 8656 §18.4.
            writer.UInt16 0x0013us
            writer.UInt16(uint16 data.Length)
            writer.Bytes data.Span
            writer.Zeros(Attribute.padded data.Length - data.Length)
            writer.Written

/// A socket with a relayed transport address.
[<Struct; NoComparison; NoEquality>]
type internal Relay =
    {
        Id: int
        /// The relayed transport address, as peers see it.
        Endpoint: Endpoint
        /// Each family of a dual allocation has a time-to-expiry of its own, RFC 8656 §8.1.
        ExpiresAt: Instant
    }

/// A channel, RFC 8656 §12.
[<NoComparison; ReferenceEquality>]
type internal Channel =
    { Number: uint16
      Peer: Endpoint
      ExpiresAt: Instant }

/// Who asked, and how answers to them are protected.
[<NoComparison; NoEquality>]
type internal Caller =
    {
        /// As in USERNAME.
        Username: string
        /// Whom allocations are counted for: of REST credentials the name alone, which outlives them.
        User: string
        /// By algorithm; the key of the one in use.
        Algorithm: uint16
        Key: byte[]
        /// Of what leaves.
        Integrity: Integrity
    }

/// A request in hand.
[<NoComparison; NoEquality>]
type internal Request =
    {
        Path: Path
        Message: Message
        Integrity: Integrity
        /// Whether the request had one, and so shall the answer.
        Fingerprint: bool
    }

/// A relayed address that was asked for.
[<NoComparison; NoEquality>]
type internal Leg =
    | Unasked
    /// The shell is at it.
    | Asked of Id: int
    | Got of Relay
    /// With an error code: 440 or 508.
    | Denied of Code: int

/// An allocation, RFC 8656 §3.2. Its 5-tuple is its key.
[<NoComparison; NoEquality>]
type internal Allocation =
    {
        Caller: Caller
        /// The Allocate request, for its retransmissions, RFC 8656 §7.2, and what the answer said but for the lifetime.
        Created: TransactionId
        Answer: Attribute[]
        V4: Relay voption
        V6: Relay voption
        /// Whether its relays are of TCP: then there are connections, and neither channels nor Send indications.
        IsTcp: bool
        /// Its entry among the timers.
        Timer: int64
        Permissions: Trie<Address, Instant>
        /// The same channels by number and by peer.
        Numbers: Trie<int, Channel>
        Channels: Trie<Endpoint, Channel>
        /// The numbers of its connections by peer, RFC 6062 §5.2: one for each.
        Connections: Trie<Endpoint, int>
        /// Octets that may pass at once, and when that was so; only where there is a bound.
        Credit: struct (int64 * Instant)
    }

/// Sockets are being opened for an allocation.
[<NoComparison; NoEquality>]
type internal Opening =
    {
        Request: Request
        Caller: Caller
        Lifetime: Duration
        IsTcp: bool
        V4: Leg
        V6: Leg
        /// The port that is reserved beside, RFC 8656 §7.2.
        Next: Leg
    }

/// What is known of a 5-tuple.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal Flow =
    | Opening of Opening
    | Open of Allocation

/// A port that waits for the allocation it was reserved for, RFC 8656 §18.7.
[<NoComparison; NoEquality>]
type internal Reservation =
    { Relay: Relay
      User: string
      Timer: int64 }

/// How far a connection to or from a peer has come, RFC 6062 §5.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal ConnectionStage =
    /// The shell is at it; the Connect request waits for its answer.
    | Connecting of Request
    /// It waits for its ConnectionBind under this CONNECTION-ID.
    | Pending of Id: uint32
    /// A client's data connection is joined to it.
    | Joined of Client: Path

/// A connection to or from a peer.
[<NoComparison; NoEquality>]
type internal PeerConnection =
    {
        Number: int
        /// The control connection's 5-tuple, which is the allocation's.
        Owner: Path
        Peer: Endpoint
        Stage: ConnectionStage
        /// While it is connecting or pending.
        Timer: int64
    }

/// Whose a relay is.
[<NoComparison; NoEquality>]
type internal Owner =
    | OfFlow of Path
    | OfReservation of Token: uint64

/// What comes due.
[<NoComparison; NoEquality>]
type internal Due =
    | FlowDue of Path
    | ReservationDue of Token: uint64
    | ConnectionDue of Number: int

/// Users by name and by USERHASH, with both of their keys.
[<NoComparison; NoEquality>]
type internal UserKeys =
    { Name: string
      Md5: byte[]
      Sha256: byte[] }

[<NoComparison; NoEquality>]
type internal Credentials =
    {
        ByName: Trie<string, UserKeys>
        /// By USERHASH in base64.
        ByHash: Trie<string, UserKeys>
        Secrets: string[]
    }

/// Everything found by a key.
[<NoComparison; NoEquality>]
type internal TurnTables =
    {
        Flows: Trie<Path, Flow>
        Relays: Trie<int, Owner>
        Reservations: Trie<uint64, Reservation>
        /// By number.
        Connections: Trie<int, PeerConnection>
        /// The numbers of the pending ones by CONNECTION-ID, and of the joined ones by the client's data connection.
        Pending: Trie<uint32, int>
        Joined: Trie<Path, int>
        /// Allocations and reservations by user.
        Users: Trie<string, int>
        /// By when, in milliseconds, and a number in the low 20 bits that tells equals apart.
        Timers: Map<int64, Due>
    }

/// A server's whole state.
[<NoComparison; NoEquality>]
type TurnServerState =
    internal
        {
            Config: TurnServerConfig
            Credentials: Credentials
            /// What nonces are sealed with.
            NonceKey: byte[]
            Entropy: Entropy
            Held: TurnTables
            NextRelay: int
            /// Of those that we ask for; below 0.
            NextConnection: int
            NextTimer: int
            /// No new allocations.
            Draining: bool
        }

/// What a server is told.
[<NoComparison; NoEquality>]
type TurnServerInput =
    /// A datagram, or a whole message of a stream without the padding of RFC 8656 §12.5. `Path.Local` is the listener, which tells
    /// the transport, so that the path is the 5-tuple. Lent.
    | Received of Path: Path * Bytes: Memory<byte>
    /// A datagram of a peer's to a relayed address. Lent.
    | RelayReceived of Relay: int * Peer: Endpoint * Bytes: Memory<byte>
    /// Answers `OpenRelay`, with the address that peers see.
    | RelayOpened of Relay: int * Relayed: Endpoint
    /// Answers `OpenRelay`: no port, or no address of that family.
    | RelayFailed of Relay: int
    /// The relay's socket is of no more use; `CloseRelay` follows.
    | RelayLost of Relay: int
    /// A client's TCP or TLS connection is over.
    | Disconnected of Path: Path
    /// Answers `ConnectPeer`: it is established, and nothing is read from it yet.
    | PeerConnected of Connection: int
    /// A connection to or from a peer failed or has ended; `ClosePeer` follows.
    | PeerLost of Connection: int
    /// A relay of TCP has accepted a connection, of which nothing is read yet. The shell gives it a number above 0.
    | PeerAccepted of Relay: int * Peer: Endpoint * Connection: int
    /// From now on these are the credentials. Allocations that are there stay, and are refreshed with the credentials they were made with.
    | SetCredentials of Credentials: TurnCredentials
    /// Whether new allocations are refused: with 300 where there is an alternate server, else with 486.
    | Drain of Draining: bool
    | Tick

/// What a server asks of the outside, in order.
[<NoComparison; NoEquality>]
type TurnServerOutput =
    /// To a client. Lent data is within: write it before the next step.
    | Transmit of Path: Path * Packet: TurnPacket
    /// To a peer, from a relayed address; `Data` is lent. Without `MayFragment` the DF bit is set, RFC 8656 §14.
    | Forward of Relay: int * Peer: Endpoint * Data: ReadOnlyMemory<byte> * MayFragment: bool
    /// Bind a socket; answered by `RelayOpened` or `RelayFailed`, of `RelayKind.Pair` for both.
    | OpenRelay of Relay: int * V6: bool * Kind: RelayKind
    | CloseRelay of Relay: int
    /// Connect to a peer from a relay's address; answered by `PeerConnected` or `PeerLost`.
    | ConnectPeer of Relay: int * Connection: int * Peer: Endpoint
    /// From now on what arrives at one is passed on to the other as it is, with whatever has arrived before, and no more is `Received` on
    /// `Client`. The server answers on it just before, and that leaves first. `Control` is the allocation's client.
    | JoinPeer of Connection: int * Client: Path * Control: Path
    /// Close a connection to or from a peer, and the client's data connection that is joined to it.
    | ClosePeer of Connection: int
    | Raise of Event: TurnServerEvent
    /// Noise: to be counted.
    | Ignored of Reason: Drop

/// The shell, as `TurnServer.Perform` calls it: one method per output.
type ITurnServerShell =
    /// <summary>See <c>TurnServerOutput.Transmit</c>.</summary>
    abstract Transmit: path: Path * packet: TurnPacket -> unit
    /// <summary>See <c>TurnServerOutput.Forward</c>.</summary>
    abstract Forward: relay: int * peer: Endpoint * data: ReadOnlyMemory<byte> * mayFragment: bool -> unit
    /// <summary>See <c>TurnServerOutput.OpenRelay</c>.</summary>
    abstract OpenRelay: relay: int * v6: bool * kind: RelayKind -> unit
    /// <summary>See <c>TurnServerOutput.CloseRelay</c>.</summary>
    abstract CloseRelay: relay: int -> unit
    /// <summary>See <c>TurnServerOutput.ConnectPeer</c>.</summary>
    abstract ConnectPeer: relay: int * connection: int * peer: Endpoint -> unit
    /// <summary>See <c>TurnServerOutput.JoinPeer</c>.</summary>
    abstract JoinPeer: connection: int * client: Path * control: Path -> unit
    /// <summary>See <c>TurnServerOutput.ClosePeer</c>.</summary>
    abstract ClosePeer: connection: int -> unit
    /// <summary>See <c>TurnServerOutput.Raise</c>.</summary>
    abstract Raise: event: TurnServerEvent -> unit
    /// <summary>See <c>TurnServerOutput.Ignored</c>.</summary>
    abstract Ignored: reason: Drop -> unit
