namespace Hybrid.WebRtc.Core

open System
open Hybrid.WebRtc.Rtp
open Hybrid.WebRtc.Core.Turn

/// A packet as the core describes it: `Size` octets, encoded and sealed by `Write` straight into the shell's buffer.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type Packet =
    internal
    | Stun of ICiphers * Stun.Outgoing
    /// Handshake messages and alerts.
    | Handshake of DtlsDatagram
    /// An SCTP packet in a record of its own, RFC 8261 §3.
    | Data of DtlsSeal * SctpPacket
    /// SRTCP, RFC 3711 §3.4.
    | Rtcp of SealedRtcp
    /// Another, for a TURN server to pass on, or to read.
    | Relayed of RelayHeader * Packet

    /// Octets that `Write` fills: the UDP payload.
    member packet.Size: int =
        match packet with
        | Stun(_, message) -> Stun.Outgoing.size message
        | Handshake datagram -> datagram.Size
        | Data(seal, sctp) -> SctpPacket.size sctp + seal.Overhead
        | Rtcp packet -> packet.Size
        | Relayed(header, packet) -> header.Size packet.Size

    /// Whether IP may fragment it, where the path or an interface carries less: false, and it is lost there. Path MTU
    /// discovery (RFC 8899) lives on that loss; a handshake's flights have no discovery of their own, RFC 6347 §4.1.1.1.
    member packet.MayFragment: bool =
        match packet with
        | Data(_, sctp) -> sctp.MayFragment
        | Handshake _ -> true
        | Relayed(_, packet) -> packet.MayFragment
        | Stun _
        | Rtcp _ -> false

    /// Whether it goes to somebody who has neither been signalled nor shown a password: a path that is not the peer's for it.
    member packet.IsToStranger: bool =
        match packet with
        | Stun(_, message) -> Stun.Outgoing.isRefusal message
        | Handshake _
        | Data _
        | Rtcp _
        | Relayed _ -> false

    /// Encodes and seals into lent memory of at least `Size` octets; answers the octets written. Call it once: a record's
    /// sequence number is spent by it.
    member packet.Write(into: Span<byte>) : int =
        match packet with
        | Stun(ciphers, message) -> Stun.Outgoing.write ciphers into message
        | Handshake datagram -> datagram.Write into
        | Rtcp packet -> packet.Write into
        | Data(seal, sctp) -> seal.Write(into, SctpPacket.write (into.Slice seal.PlaintextOffset) sctp)
        | Relayed(header, packet) -> header.Write(into, packet.Write(into.Slice header.Offset))

/// What a peer asks of the outside, in order.
[<NoComparison; NoEquality>]
type Output =
    | Transmit of Path: Path * Packet: Packet
    /// Packets of SRTP, one behind the other.
    | TransmitRun of Path: Path * Run: RtpRun
    /// Bind one socket per usable interface address; answered by `PortOpened`…, `PortsComplete`.
    | OpenPorts
    /// Closes a socket, a listener with its connections, or a stream.
    | ClosePort of Port: PortId
    /// Connect to `To`, from the address of the socket `From`. The core names the port; the path is (`Port`, `To`). Answered by
    /// `StreamOpened` or `StreamClosed`. `ServerName` is whom the certificate of a TLS server must name; empty without TLS.
    | OpenStream of Port: PortId * Kind: StreamKind * From: PortId * To: Endpoint * ServerName: string
    /// Whether this chain (DER, the leaf first) is of a server of this name or address: a TURN server's that is spoken to by DTLS.
    /// Answered by `CertificateVerified`.
    | VerifyCertificate of Port: PortId * ServerName: string * Chain: byte[][]
    /// Answered by `ServerResolved` or `ServerFailed`.
    | ResolveServer of Url: string
    /// Answered by `NameResolved`.
    | ResolveName of Name: string
    /// Answer the link's questions for this name with this address, RFC 6762, until `Ended`.
    | AnnounceName of Name: string * Address: Address
    | Reply of Command: CommandId * Answer: Answer
    | Refuse of Command: CommandId * Mistake: Mistake
    | Raise of Event: Event
    /// A whole message. `Payload` belongs to the receiver; answered by `Consumed` once the application has it.
    | Deliver of Channel: ChannelHandle * Text: bool * Payload: ReadOnlyMemory<byte>
    /// A packet of a receiver's: its memory is lent, to be copied before `DeliverRtp` returns. `Rid` is empty without simulcast.
    | DeliverRtp of Transceiver: TransceiverId * Rid: string * Packet: RtpPacket
    /// Noise: to be counted and logged at debug level.
    | Ignored of Layer: Layer * Reason: Drop
    /// The peer is over: release its sockets. Nothing follows.
    | Ended

/// The shell, as `Peer.Perform` calls it: one method per `Output`.
type IShell =
    /// <summary>See <c>Output.Transmit</c>.</summary>
    abstract Transmit: path: Path * packet: Packet -> unit
    /// <summary>See <c>Output.TransmitRun</c>.</summary>
    abstract TransmitRun: path: Path * run: RtpRun -> unit
    /// <summary>See <c>Output.OpenPorts</c>.</summary>
    abstract OpenPorts: unit -> unit
    /// <summary>See <c>Output.ClosePort</c>.</summary>
    abstract ClosePort: port: PortId -> unit
    /// <summary>See <c>Output.OpenStream</c>.</summary>
    abstract OpenStream: port: PortId * kind: StreamKind * from: PortId * ``to``: Endpoint * serverName: string -> unit
    /// <summary>See <c>Output.VerifyCertificate</c>.</summary>
    abstract VerifyCertificate: port: PortId * serverName: string * chain: byte[][] -> unit
    /// <summary>See <c>Output.ResolveServer</c>.</summary>
    abstract ResolveServer: url: string -> unit
    /// <summary>See <c>Output.ResolveName</c>.</summary>
    abstract ResolveName: name: string -> unit
    /// <summary>See <c>Output.AnnounceName</c>.</summary>
    abstract AnnounceName: name: string * address: Address -> unit
    /// <summary>See <c>Output.Reply</c>.</summary>
    abstract Reply: command: CommandId * answer: Answer -> unit
    /// <summary>See <c>Output.Refuse</c>.</summary>
    abstract Refuse: command: CommandId * mistake: Mistake -> unit
    /// <summary>See <c>Output.Raise</c>.</summary>
    abstract Raise: event: Event -> unit
    /// <summary>See <c>Output.Deliver</c>.</summary>
    abstract Deliver: channel: ChannelHandle * text: bool * payload: ReadOnlyMemory<byte> -> unit
    /// <summary>See <c>Output.DeliverRtp</c>.</summary>
    abstract DeliverRtp: transceiver: TransceiverId * rid: string * packet: inref<RtpPacket> -> unit
    /// <summary>See <c>Output.Ignored</c>.</summary>
    abstract Ignored: layer: Layer * reason: Drop -> unit
    /// <summary>See <c>Output.Ended</c>.</summary>
    abstract Ended: unit -> unit
