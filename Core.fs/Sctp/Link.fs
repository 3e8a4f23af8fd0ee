namespace Hybrid.WebRtc.Core.Association

open Hybrid.WebRtc.Core

/// What an association is agreed to be, constant while it lasts, and what its path carries.
[<NoComparison; NoEquality>]
type internal Link =
    {
        Config: SctpConfig
        OwnTag: uint32
        Peer: Introduction
        /// Tells a restart of this association from an attack, RFC 9260 §5.2.2.
        TieTag: uint64
        OutboundStreams: int
        InboundStreams: int
        /// Packets of the peer may come without a checksum: we said so, RFC 9653 §5.3.
        Unchecked: bool
        /// Octets of the largest packet, as `PathMtu` has it.
        Mtu: int
        /// Whether packets with data may be fragmented on their way: `PathMtu.Fragments`.
        Fragments: bool
    }

    /// Messages travel in I-DATA.
    member link.Interleaves = link.Peer.Interleaves

    /// PMDCS, RFC 9260 §1.3: octets of chunks in a packet.
    member link.Segment = link.Mtu - SctpPacket.HeaderSize

[<RequireQualifiedAccess>]
module internal Link =
    /// COOKIE ECHO goes with its checksum, RFC 9653 §5.2: it is the first chunk of its packet.
    let private mustBeChecked (control: Chunk list) =
        match control with
        | CookieEcho _ :: _ -> true
        | _ -> false

    /// Octets up to which a chunk that outgrew the path takes control chunks along.
    [<Literal>]
    let private Largest = 65_000

    /// Whether a chunk of this size was cut when the path carried more, and may go beside `control` octets of others in a
    /// packet that is fragmented on its way, RFC 9260 §6.9.
    let outgrew (control: int) (size: int) (link: Link) : bool =
        size > link.Segment && (control = 0 || control + size <= Largest)

    /// A packet for the peer.
    let packet (control: Chunk list) (data: Data[]) (link: Link) : SctpOutput =
        SctpOutput.Transmit
            { SourcePort = link.Config.LocalPort
              DestinationPort = link.Config.RemotePort
              VerificationTag = link.Peer.Tag
              Control = control
              Data = data
              ZeroChecksum =
                link.Peer.ZeroChecksum
                && link.Config.ZeroChecksum
                && not (mustBeChecked control)
              MayFragment =
                data.Length > 0
                && (link.Fragments || (data.Length = 1 && Data.size data[0] > link.Segment)) }
