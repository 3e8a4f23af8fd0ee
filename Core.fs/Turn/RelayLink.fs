namespace Hybrid.WebRtc.Core.Turn

open Hybrid.WebRtc.Core

/// An allocation that ICE asks for. Its ports are the core's, even and negative: its addresses of either family, and the stream
/// that it travels by where it does (with DTLS, the core's own tunnel). The first names the allocation.
[<NoComparison; NoEquality>]
type RelayRequest =
    {
        V4: PortId
        V6: PortId
        Stream: PortId
        /// The socket that it is asked for from, or whose interface the stream leaves by.
        From: PortId
        Transport: ServerTransport
        Server: Endpoint
        /// Of the URL; what a certificate must name.
        ServerName: string
        Username: string
        Password: string
        /// Whether its addresses are of TCP, RFC 6062.
        RelaysTcp: bool
    }

/// An allocation of a peer's, and how messages reach its server.
[<NoComparison; NoEquality>]
type internal RelayLink =
    {
        Request: RelayRequest
        /// By which its messages go and come: of a socket, or of a stream, which a tunnel counts as.
        Path: Path
        /// Where it is reached by DTLS.
        Tunnel: DtlsTunnel.State voption
        Turn: TurnClient.State
        /// Where its addresses are of TCP.
        Tcp: TcpConnections.State voption
        /// Whether its socket is to be closed once it has left: nothing else uses it any more.
        IsLast: bool
    }

/// The numbers of a peer's relays. All are even and negative, see `PortId`.
[<RequireQualifiedAccess>]
module internal RelayPorts =
    /// Whether a port is one that ICE has on a server.
    let inline isRelayed (port: PortId) : bool = port < 0<port> && int port &&& 1 = 0

    // Connections that ICE makes from a relay are numbered as its other streams are, this much lower; our streams to servers that carry
    // them follow further down. What a peer allocates in its life comes nowhere near.
    let private relayedStreams = 0x20000000<port>

    /// The first stream to a server that carries a connection.
    let firstData: PortId = -0x40000000<port>

    /// The number of a connection from a relay, in place of that of a stream.
    let ofStream (stream: PortId) : PortId = stream - 1<port> - relayedStreams

    /// Whether a port is a stream to a server that carries, or shall carry, a connection to or from a peer.
    let isData (port: PortId) : bool = port <= firstData && isRelayed port
